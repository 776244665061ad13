//! What is said, as `send` and `broadcast` take it: a text, or a file with a whole reply.
//!
//! Invariant: what comes out can be said, as far as it can be known here. A field that no reply
//! has is an error: a person wrote the file, and what they meant would be missing from the
//! message, perhaps a thousand times. Bound: [`MAX_FILE`].

use std::path::PathBuf;

use anyhow::{Context, anyhow, bail};
use clap::{Args, ValueEnum};
use serde_json::Value;

use crate::author::message::{Object, Reply};
use crate::channels;
use crate::turn::relay;

/// Bytes of a file with a reply.
const MAX_FILE: u64 = 4 << 20;

#[derive(Args)]
pub(super) struct Said {
    /// How TEXT is written.
    #[arg(long, value_enum, default_value_t = Format::Plain)]
    format: Format,
    /// A whole reply as JSON, with files and buttons, instead of a text: the fields are those
    /// of a reply in docs/HANDLERS.md.
    #[arg(long, value_name = "FILE.json")]
    file: Option<PathBuf>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Format {
    /// As it is shown.
    Plain,
    /// **bold**, [links](https://example.org) …
    Markup,
    /// HTML, as far as chats can show it.
    Html,
}

impl Said {
    /// The reply. `channel`: where it goes, if it is one channel.
    ///
    /// # Errors
    /// There is none, there are two, the file cannot be read, or nobody could be told this.
    pub(super) fn reply(&self, text: Option<&str>, channel: Option<&str>) -> anyhow::Result<Reply> {
        let reply = match (text, &self.file) {
            (Some(_), Some(_)) => bail!("give either a text or --file, not both"),
            (None, None) => bail!("give a text, or a whole reply with --file FILE.json"),
            (Some(""), None) => bail!("the text is empty"),
            (Some(text), None) => match self.format {
                Format::Plain => Reply::plain(text),
                Format::Markup => Reply::markup(text),
                Format::Html => Reply::html(text),
            },
            (None, Some(path)) => {
                let shown = path.display();
                let size = std::fs::metadata(path)
                    .with_context(|| format!("--file {shown} cannot be read"))?
                    .len();
                if size > MAX_FILE {
                    bail!("--file {shown} has {size} bytes; {MAX_FILE} is the limit");
                }
                let json = std::fs::read(path)
                    .with_context(|| format!("--file {shown} cannot be read"))?;
                read(&json).map_err(|why| anyhow!("--file {shown} is no reply: {why}"))?
            }
        };
        relay::check(&reply).map_err(anyhow::Error::msg)?;
        channels::sayable(channel, &reply).map_err(anyhow::Error::msg)?;
        Ok(reply)
    }
}

/// Reads a whole reply.
///
/// # Errors
/// What is wrong and where, in a sentence.
fn read(json: &[u8]) -> Result<Reply, String> {
    let mut text = serde_json::Deserializer::from_slice(json);
    let read: Result<Object<Reply>, _> = serde_path_to_error::deserialize(&mut text);
    let Object(reply) = read.map_err(|error| match error.path().to_string().as_str() {
        "." => error.inner().to_string(),
        path => format!("{path}: {}", error.inner()),
    })?;
    text.end().map_err(|e| e.to_string())?;
    if reply.text.is_empty() && !reply.has_content() {
        return Err("it has neither text nor files, location or contact".to_owned());
    }
    let given = serde_json::from_slice(json).map_err(|e| e.to_string())?;
    let taken = serde_json::to_value(&reply).map_err(|e| e.to_string())?;
    match left_out(&given, &taken) {
        None => Ok(reply),
        Some(field) => Err(format!(
            "there is no field {field:?} there; docs/HANDLERS.md has the fields of a reply"
        )),
    }
}

/// The first field of what was given that is not in what was made of it.
fn left_out<'a>(given: &'a Value, taken: &Value) -> Option<&'a str> {
    match (given, taken) {
        (Value::Object(given), Value::Object(taken)) => {
            given.iter().find_map(|(name, value)| {
                match taken.get(known_as(name)) {
                    Some(taken) => left_out(value, taken),
                    // What is as it would be anyway is not written again.
                    None if is_nothing(value) || name == "format" => None,
                    None => Some(name.as_str()),
                }
            })
        }
        // A row of one button is written as the button alone, and may be given so.
        (Value::Array(row), Value::Object(_)) => match row.as_slice() {
            [one] => left_out(one, taken),
            _ => None,
        },
        (Value::Array(given), Value::Array(taken)) => {
            let mut both = given.iter().zip(taken);
            both.find_map(|(given, taken)| left_out(given, taken))
        }
        _ => None,
    }
}

/// The name that a field has today.
fn known_as(name: &str) -> &str {
    match name {
        "picture" => "files",
        name => name,
    }
}

fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Array(items) => items.is_empty(),
        Value::String(text) => text.is_empty(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_replies_are_read() {
        for json in [
            r#"{"text":"hi","format":"plain","silent":false,"buttons":[],"name":null}"#,
            r#"{"text":"hi","buttons":[[{"label":"Yes","data":"y"}],{"label":"No","data":"n"}]}"#,
            r#"{"text":"hi","buttons":[[{"label":"a","data":"a"},{"label":"b","url":"https://b"}]]}"#,
            r#"{"files":[{"url":"https://example.org/1.jpg"},{"type":"voice","id":"7","name":"n"}]}"#,
            r#"{"files":[{"type":"document","base64":"aGk=","name":"a.txt","media_type":"text/plain"}]}"#,
            r#"{"text":"","picture":"https://example.org/1.jpg"}"#,
            r#"{"location":{"latitude":1,"longitude":2.5,"title":"here","address":"there"}}"#,
            r#"{"contact":{"phone":"+1","name":"Ann","user_id":"7"},"protected":true}"#,
            r#"{"text":"a","keyboard":{"rows":[[{"label":"b"}],[{"label":"c","request":"contact"}]]}}"#,
            r#"{"text":"a","keyboard":"remove","quote":{"message":"7"},"no_preview":true}"#,
            r#"{"text":"ab","spans":[{"start":0,"end":1,"style":"bold"}]}"#,
        ] {
            let read = read(json.as_bytes());
            assert!(read.is_ok(), "{json}: {read:?}");
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (json, why) in [
            ("hi", "expected value at line 1"),
            ("", "EOF"),
            ("null", "expected an object"),
            (r#"[{"text":"a"}]"#, "expected an object"),
            (r#"{"text":7}"#, "text: invalid type: integer `7`"),
            (r#"{"text":"a"} b"#, "trailing"),
            (
                r#"{"text":"a","format":"mrkup"}"#,
                "format: unknown variant `mrkup`",
            ),
            (r#"{"txt":"a"}"#, "neither text nor"),
            (
                r#"{"text":"a","button":[[{"label":"b","data":"c"}]]}"#,
                "no field \"button\"",
            ),
            (r#"{"text":"a","toast":"b"}"#, "no field \"toast\""),
            (
                r#"{"text":"a","buttons":[[{"label":"b","callback_data":"c"}]]}"#,
                "no field \"callback_data\"",
            ),
            (
                r#"{"text":"a","buttons":[[],[{"label":"b","data":"c"},{"label":"d","data":"e","f":1}]]}"#,
                "no field \"f\"",
            ),
            (
                r#"{"files":[{"url":"https://a","caption":"c"}]}"#,
                "no field \"caption\"",
            ),
            (
                r#"{"location":{"latitude":1,"longitude":2,"name":"c"}}"#,
                "no field \"name\"",
            ),
        ] {
            let refused = read(json.as_bytes()).unwrap_err();
            assert!(refused.contains(why), "{json}: {refused}");
        }
    }
}
