//! A `results.json`, read again.
//!
//! Called by `compare.rs` and for `turnkey bench report`. What follows from the runs is
//! concluded anew: a file of an earlier format has all that one of this has.

use std::path::Path;

use super::results::{FORMAT, Results};
use super::summary;
use crate::error::Error;

/// Reads a `results.json` of this or an earlier format, and concludes anew.
///
/// # Errors
/// [`Error::Start`] with a sentence.
pub(super) fn read(file: &Path) -> crate::error::Result<Results> {
    let refuse = |why: String| Error::Start(format!("{}: {why}", file.display()));
    let text = std::fs::read_to_string(file).map_err(|e| refuse(e.to_string()))?;
    let format = serde_json::from_str::<serde_json::Value>(&text)
        .map_err(|e| refuse(format!("is not JSON: {e}")))?["format"]
        .as_u64();
    match format {
        Some(format) if format > u64::from(FORMAT) => {
            return Err(refuse(format!(
                "has format {format}, of a newer turnkey; this one reads up to {FORMAT}"
            )));
        }
        Some(1..) => {}
        _ => {
            return Err(refuse(
                "is not a results.json of turnkey bench storage".to_owned(),
            ));
        }
    }
    let mut results: Results = serde_json::from_str(&text).map_err(|e| refuse(e.to_string()))?;
    summary::conclude(&mut results);
    Ok(results)
}
