//! Texts from the database as the pages show them: moments, JSON, and no more of a text than a page
//! has room for.
//!
//! Bound: [`SHOWN`] bytes of a text.

use std::borrow::Cow;

use serde_json::Value;

use super::escape;
use super::figures::{self, bytes};
use crate::shared::clock::unix_ms;

/// Bytes of a text that are shown.
const SHOWN: usize = 64 << 10;

/// How long ago, with the moment as a hint.
pub(super) fn ago(ms: i64) -> String {
    figures::ago(unix_ms(), u64::try_from(ms).unwrap_or_default())
}

/// As much of a text as is shown, as HTML; behind this gap it says how much is not.
pub(super) fn shown(text: &str, gap: &str) -> String {
    let mut end = text.len().min(SHOWN);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let start = escape(&text[..end]);
    match (text.len() - end) as u64 {
        0 => start,
        rest => format!("{start}{gap}… and {} more", bytes(rest)),
    }
}

/// JSON, or what was meant to be; `name` is for those who do not see it.
pub(super) fn json(name: &str, text: &str) -> String {
    let pretty =
        serde_json::from_str::<Value>(text).and_then(|value| serde_json::to_string_pretty(&value));
    let text = pretty.map_or(Cow::Borrowed(text), Cow::Owned);
    // As long as it is, it can be scrolled.
    format!(
        "<pre tabindex=\"0\" role=\"region\" aria-label=\"{name}\">{}</pre>",
        shown(&text, "\n")
    )
}
