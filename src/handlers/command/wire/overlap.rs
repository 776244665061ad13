//! What a hello says of messages that come shortly after each other: a name for all channels, or
//! an object of names by channel.
//!
//! Called by `read.rs`. Bound: [`MOST`] channels.

use serde_json::Value;

use crate::author::overlap::{Overlap, Overlaps};

/// Channels that are named; a program has fewer.
const MOST: usize = 64;

/// All channels that are not named.
const OTHERS: &str = "*";

/// What it can be.
pub(super) const OVERLAPS: &str = "it can be each, albums, latest, interrupt, and burst with a time up to 10 minutes, such as \"burst 1500ms\"";

/// Reads the field `overlap` of a hello.
///
/// # Errors
/// It is neither, or a name is none: in a sentence.
pub(super) fn overlaps(value: &Value) -> Result<Overlaps, String> {
    let mut overlaps = Overlaps::default();
    match value {
        Value::String(name) => overlaps.everywhere(named("hello.overlap", name)?),
        Value::Object(channels) if channels.len() <= MOST => {
            for (channel, name) in channels {
                let field = format!("hello.overlap.{channel}");
                let Value::String(name) = name else {
                    return Err(format!("{field} is {name}; it must be a text"));
                };
                let overlap = named(&field, name)?;
                match channel.as_str() {
                    OTHERS => overlaps.everywhere(overlap),
                    _ => overlaps.set(channel.clone(), overlap),
                }
            }
        }
        Value::Object(_) => {
            return Err(format!("hello.overlap names more than {MOST} channels"));
        }
        other => {
            return Err(format!(
                "hello.overlap is {other}; it must be a text, or an object of texts by channel"
            ));
        }
    }
    Ok(overlaps)
}

fn named(field: &str, name: &str) -> Result<Overlap, String> {
    Overlap::named(name).ok_or_else(|| format!("{field} is {name:?}; {OVERLAPS}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_channel_may_have_its_own() {
        let all = overlaps(&json!("latest")).unwrap();
        assert_eq!(all.on("telegram"), Overlap::Latest);
        let some = overlaps(&json!({"telegram": "burst 2m", "*": "albums"})).unwrap();
        assert_eq!(some.on("telegram"), Overlap::burst(120_000));
        assert_eq!(some.on("vk"), Overlap::Albums);
        let others = overlaps(&json!({"telegram": "interrupt"})).unwrap();
        assert_eq!(others.on("vk"), Overlap::Each);
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (value, expected) in [
            (json!(7), "hello.overlap is 7; it must be a text"),
            (json!("burst"), "hello.overlap is \"burst\"; it can be"),
            (json!({"vk": 7}), "hello.overlap.vk is 7"),
            (
                json!({"*": "burst 11m"}),
                "hello.overlap.* is \"burst 11m\"",
            ),
        ] {
            let error = overlaps(&value).unwrap_err();
            assert!(error.starts_with(expected), "{error}");
        }
    }
}
