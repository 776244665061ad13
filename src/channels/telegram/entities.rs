//! Formatting in Telegram's form: entities, whose places are counted in UTF-16 units
//! (<https://core.telegram.org/bots/api#messageentity>).
//!
//! Used in both directions. Texts are sent with entities and never with a `parse_mode`: they
//! cannot fail to be read, and nothing need be escaped. What Telegram marks by itself (links,
//! mentions, hashtags) is no formatting. Bound: linear in the text and the entities.

use serde::{Deserialize, Serialize};

use super::super::lenient;
use crate::author::message::{Span, Style, Styled};

/// Entities of one message; Telegram leaves out what is beyond that.
pub(super) const MOST: usize = 100;

/// Where a link leads that mentions somebody without a user name.
const MENTION: &str = "tg://user?id=";

#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct Entity {
    #[serde(rename = "type")]
    kind: String,
    offset: lenient::Number,
    length: lenient::Number,
    /// Of a `text_link`.
    #[serde(
        default,
        deserialize_with = "lenient::any_text",
        skip_serializing_if = "Option::is_none"
    )]
    url: Option<String>,
    /// Of a `pre`.
    #[serde(
        default,
        deserialize_with = "lenient::any_text",
        skip_serializing_if = "Option::is_none"
    )]
    language: Option<String>,
    /// Of a `text_mention`.
    #[serde(default, skip_serializing)]
    user: Option<Mentioned>,
}

#[derive(Clone, Debug, Deserialize)]
struct Mentioned {
    id: lenient::Number,
}

impl Entity {
    fn style(&self) -> Option<Style> {
        Some(match self.kind.as_str() {
            "bold" => Style::Bold,
            "italic" => Style::Italic,
            "underline" => Style::Underline,
            "strikethrough" => Style::Strike,
            "spoiler" => Style::Spoiler,
            "code" => Style::Code,
            "pre" => Style::Pre(self.language.clone().unwrap_or_default()),
            "text_link" => Style::Link(self.url.clone()?),
            "text_mention" => Style::Link(format!("{MENTION}{}", self.user.as_ref()?.id.0)),
            "blockquote" | "expandable_blockquote" => Style::Quote,
            _ => return None,
        })
    }
}

/// The formatting of a text that a user sent.
pub(super) fn spans(text: &str, entities: &[Entity]) -> Vec<Span> {
    let looks = entities.iter().filter_map(|entity| {
        let start = usize::try_from(entity.offset.0).ok()?;
        let length = usize::try_from(entity.length.0).ok()?;
        Some((start, start.checked_add(length)?, entity.style()?))
    });
    let mut looks = looks.peekable();
    if looks.peek().is_none() {
        return Vec::new();
    }
    let bytes = bytes_of_units(text);
    let byte = |unit: usize| bytes.get(unit).map_or(text.len(), |byte| *byte);
    let spans = looks.map(|(start, end, style)| Span {
        start: byte(start),
        end: byte(end),
        style,
    });
    Styled::new(text, spans.collect()).spans
}

/// The byte at which the character of each unit begins.
fn bytes_of_units(text: &str) -> Vec<usize> {
    let units = text.char_indices();
    units
        .flat_map(|(at, character)| std::iter::repeat_n(at, character.len_utf16()))
        .collect()
}

/// Entities of a text that is sent.
pub(super) fn entities(text: &str, spans: &[Span]) -> Vec<Entity> {
    if spans.is_empty() {
        return Vec::new();
    }
    let mut places: Vec<usize> = spans
        .iter()
        .flat_map(|span| [span.start, span.end])
        .collect();
    places.sort_unstable();
    places.dedup();
    let units = units_of_bytes(text, &places);
    let unit = |byte: usize| match places.binary_search(&byte) {
        Ok(place) => units.get(place).copied().unwrap_or_default(),
        Err(_) => 0,
    };
    spans
        .iter()
        .map(|span| {
            let (start, end) = (unit(span.start), unit(span.end));
            let (kind, url, language) = match &span.style {
                Style::Bold => ("bold", None, None),
                Style::Italic => ("italic", None, None),
                Style::Underline => ("underline", None, None),
                Style::Strike => ("strikethrough", None, None),
                Style::Spoiler => ("spoiler", None, None),
                Style::Code => ("code", None, None),
                Style::Pre(language) => {
                    let language = Some(language.clone()).filter(|name| !name.is_empty());
                    ("pre", None, language)
                }
                Style::Link(address) => ("text_link", Some(address.clone()), None),
                Style::Quote => ("blockquote", None, None),
            };
            Entity {
                kind: kind.to_owned(),
                offset: lenient::Number(start),
                length: lenient::Number(end - start),
                url,
                language,
                user: None,
            }
        })
        .collect()
}

/// The units before each of these bytes, which are in order.
fn units_of_bytes(text: &str, places: &[usize]) -> Vec<i64> {
    let mut units = 0;
    let mut at = 0;
    places
        .iter()
        .map(|place| {
            let between = text.get(at..*place).unwrap_or_default();
            units += between.chars().map(char::len_utf16).sum::<usize>() as i64;
            at = *place;
            units
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> Vec<Span> {
        let looks = [
            Style::Bold,
            Style::Italic,
            Style::Underline,
            Style::Strike,
            Style::Spoiler,
            Style::Code,
            Style::Pre(String::new()),
            Style::Pre("rust".to_owned()),
            Style::Link("https://example.org".to_owned()),
            Style::Quote,
        ];
        let spans = looks.into_iter().map(|style| Span {
            start: 5,
            end: 10,
            style,
        });
        spans.collect()
    }

    #[test]
    fn what_is_sent_comes_back_the_same() {
        let text = "a😀ö😀b";
        let mut spans = all();
        // The emoji has four bytes and two units.
        for span in &mut spans {
            (span.start, span.end) = (1, 7);
        }
        let sent = entities(text, &spans);
        let json = serde_json::to_value(&sent).unwrap();
        assert_eq!(
            (&json[0]["offset"], &json[0]["length"]),
            (&1.into(), &3.into())
        );
        assert_eq!(json[7]["language"], "rust");
        assert_eq!(json[0].as_object().unwrap().len(), 3);
        let read: Vec<Entity> = serde_json::from_value(json).unwrap();
        assert_eq!(super::spans(text, &read), spans);
    }

    #[test]
    fn what_is_no_formatting_or_does_not_fit_is_left_out() {
        let read = |json| {
            let entities: Vec<Entity> = serde_json::from_value(json).unwrap();
            super::spans("a😀b", &entities)
        };
        let entity = |kind: &str, offset: i64, length: i64| serde_json::json!([{"type": kind, "offset": offset, "length": length}]);
        assert!(read(entity("hashtag", 0, 1)).is_empty());
        assert!(read(entity("text_link", 0, 1)).is_empty());
        assert!(read(entity("bold", -1, 1)).is_empty());
        assert!(read(entity("bold", 0, -1)).is_empty());
        assert!(read(entity("bold", 9, 9)).is_empty());
        assert!(read(entity("bold", 0, 0)).is_empty());
        let far = read(entity("bold", 3, i64::MAX));
        assert_eq!((far[0].start, far[0].end), (5, 6));
        let mention = serde_json::json!([{"type": "text_mention", "offset": "0", "length": 1,
            "user": {"id": 7, "first_name": "A"}}]);
        assert_eq!(
            read(mention)[0].style,
            Style::Link("tg://user?id=7".to_owned())
        );
    }
}
