//! Parts of a line of JSON, read so that an error names the field.
//!
//! Called by `read.rs`, `question.rs` and `answer.rs`. Bound: [`DEEPEST`].

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::DEEPEST;

/// Reads a part of a line; an error names the field.
pub(super) fn field<T: DeserializeOwned>(name: &str, raw: &RawValue) -> Result<T, String> {
    let mut text = serde_json::Deserializer::from_str(raw.get());
    serde_path_to_error::deserialize(&mut text).map_err(|e| {
        let path = e.path().to_string();
        let inner = without_place(&e.inner().to_string());
        match path.as_str() {
            "." if name.is_empty() => inner,
            "." => format!("{name}: {inner}"),
            _ if name.is_empty() => format!("{path}: {inner}"),
            index if index.starts_with('[') => format!("{name}{index}: {inner}"),
            _ => format!("{name}.{path}: {inner}"),
        }
    })
}

/// Line and column within a part of a line help nobody.
pub(super) fn without_place(error: &str) -> String {
    let end = error.rfind(" at line ").unwrap_or(error.len());
    error[..end].to_owned()
}

/// A field that is `null` is not one that was left out.
pub(super) fn even_null<'de: 'a, 'a, D: Deserializer<'de>>(
    from: D,
) -> Result<Option<&'a RawValue>, D::Error> {
    <&RawValue>::deserialize(from).map(Some)
}

/// JSON that is stored, and must be read by every language later.
pub(super) fn lasting<'a>(name: &str, json: &'a str) -> Result<&'a str, String> {
    if levels(json) > DEEPEST {
        return Err(format!(
            "{name} has more than {DEEPEST} levels of lists and objects"
        ));
    }
    // A half of a pair of surrogates is let through as it stands. Few texts need the second
    // look.
    if json.contains("\\ud") || json.contains("\\uD") {
        serde_json::from_str::<serde_json::Value>(json)
            .map_err(|e| format!("{name}: {}", without_place(&e.to_string())))?;
    }
    Ok(json)
}

/// How deep lists and objects are within each other in a text that is JSON.
fn levels(json: &str) -> usize {
    let (mut now, mut most) = (0_usize, 0);
    let mut in_text = false;
    let mut bytes = json.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' if in_text => drop(bytes.next()),
            b'"' => in_text = !in_text,
            b'{' | b'[' if !in_text => {
                now += 1;
                most = most.max(now);
            }
            b'}' | b']' if !in_text => now = now.saturating_sub(1),
            _ => {}
        }
    }
    most
}
