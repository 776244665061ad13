//! Reads JSON as platforms really send it, not only as they document it: a null is an absent
//! field, a number may be a string and a string a number, invalid UTF-8 and lone surrogates
//! become U+FFFD. Platforms pass on what a user's client sent; with a strict reader one user
//! could block all others.
//!
//! Used by the channels on bodies that were verified unchanged, and by `client.rs` on the
//! platforms' answers. Invariant: JSON that can be read strictly is left as it is, byte for
//! byte. Bound: a body grows to three times its size at most.

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;
use serde::de::{DeserializeOwned, Error, IgnoredAny, MapAccess, SeqAccess, Unexpected, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::incoming::what_it_is;

/// Integers below this are exact as floating-point numbers, and no others are they.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// What stands for half of a surrogate pair.
const REPLACED: &str = "\\ufffd";

/// The same JSON, as text that every parser takes.
pub(super) fn readable(body: &Bytes) -> Bytes {
    // Packed, or of another encoding: whoever reads it says so.
    if what_it_is(body).is_some() {
        return body.clone();
    }
    let text = String::from_utf8_lossy(body);
    match (mend(&text), text) {
        (Some(mended), _) => mended.into(),
        (None, Cow::Owned(text)) => text.into(),
        (None, Cow::Borrowed(_)) => body.clone(),
    }
}

/// Replaces, in its strings, halves of surrogate pairs and control characters that are
/// not escaped. None when there are none.
fn mend(json: &str) -> Option<String> {
    let is_suspicious =
        json.bytes().any(|byte| byte < b' ') || json.contains("\\ud") || json.contains("\\uD");
    if !is_suspicious {
        return None;
    }
    let bytes = json.as_bytes();
    let mut mended = String::new();
    let mut is_in_string = false;
    // What stands before this place is in `mended`.
    let mut copied = 0;
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let (length, with) = match byte {
            b'"' => {
                is_in_string = !is_in_string;
                (1, None)
            }
            b'\\' if is_in_string => escape(json, at),
            0..b' ' if is_in_string => (1, Some(format!("\\u{byte:04x}"))),
            _ => (1, None),
        };
        if let Some(with) = with {
            mended.push_str(json.get(copied..at)?);
            mended.push_str(&with);
            copied = at + length;
        }
        at += length;
    }
    if copied == 0 {
        return None;
    }
    mended.push_str(json.get(copied..)?);
    Some(mended)
}

/// The bytes of an escape, and what stands in its place.
fn escape(json: &str, at: usize) -> (usize, Option<String>) {
    match unit(json, at) {
        None => (2, None),
        Some(0xd800..0xdc00) if matches!(unit(json, at + 6), Some(0xdc00..0xe000)) => (12, None),
        Some(0xd800..0xe000) => (6, Some(REPLACED.to_owned())),
        Some(_) => (6, None),
    }
}

/// The UTF-16 unit that is escaped at this place.
fn unit(json: &str, at: usize) -> Option<u16> {
    let digits = json.get(at..at + 6)?.strip_prefix("\\u")?;
    u16::from_str_radix(digits, 16).ok()
}

/// A text or a number, as text.
struct AsText;

impl Visitor<'_> for AsText {
    type Value = Option<String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text or a number")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Some(text.to_owned()))
    }

    fn visit_string<E: Error>(self, text: String) -> Result<Self::Value, E> {
        Ok(Some(text))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Self::Value, E> {
        Ok(Some(number.to_string()))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Self::Value, E> {
        Ok(Some(number.to_string()))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Self::Value, E> {
        // Its neighbours would have the same text.
        if number.abs() >= EXACT {
            return Err(E::invalid_value(Unexpected::Float(number), &self));
        }
        Ok(Some(number.to_string()))
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }
}

/// The same; none for anything else.
struct AsAnyText;

impl<'de> Visitor<'de> for AsAnyText {
    type Value = Option<String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("anything")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Some(text.to_owned()))
    }

    fn visit_string<E: Error>(self, text: String) -> Result<Self::Value, E> {
        Ok(Some(text))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Self::Value, E> {
        Ok(Some(number.to_string()))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Self::Value, E> {
        Ok(Some(number.to_string()))
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(None)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(None)
    }
}

/// A number or a text that holds one.
struct AsNumber;

impl Visitor<'_> for AsNumber {
    type Value = Option<i64>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a whole number")
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Self::Value, E> {
        Ok(Some(number))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Self::Value, E> {
        let narrow = i64::try_from(number);
        narrow
            .map(Some)
            .map_err(|_| E::invalid_value(Unexpected::Unsigned(number), &self))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Self::Value, E> {
        if number.fract() != 0.0 || number.abs() >= EXACT {
            return Err(E::invalid_value(Unexpected::Float(number), &self));
        }
        Ok(Some(number as i64))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        let number = text.trim().parse();
        // What the text says is a user's, and is in no error.
        number
            .map(Some)
            .map_err(|_| E::invalid_type(Unexpected::Other("a text"), &self))
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }
}

/// Yes or no, in the ways in which programs write them.
struct AsFlag;

impl Visitor<'_> for AsFlag {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("true or false")
    }

    fn visit_bool<E: Error>(self, is_set: bool) -> Result<bool, E> {
        Ok(is_set)
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<bool, E> {
        Ok(number != 0)
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<bool, E> {
        Ok(number != 0)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<bool, E> {
        match text {
            "true" | "1" => Ok(true),
            "false" | "0" | "" => Ok(false),
            _ => Err(E::invalid_type(Unexpected::Other("a text"), &self)),
        }
    }

    fn visit_unit<E: Error>(self) -> Result<bool, E> {
        Ok(false)
    }
}

/// A text that may be missing.
pub(super) fn text<'de, D: Deserializer<'de>>(json: D) -> Result<Option<String>, D::Error> {
    json.deserialize_any(AsText)
}

/// As [`text`], and none for what is neither text nor number: it is worth no dead letter.
pub(super) fn any_text<'de, D: Deserializer<'de>>(json: D) -> Result<Option<String>, D::Error> {
    json.deserialize_any(AsAnyText)
}

/// A number that may be missing.
pub(super) fn number<'de, D: Deserializer<'de>>(json: D) -> Result<Option<i64>, D::Error> {
    json.deserialize_any(AsNumber)
}

/// Something that is or is not so; missing, it is not.
pub(super) fn flag<'de, D: Deserializer<'de>>(json: D) -> Result<bool, D::Error> {
    json.deserialize_any(AsFlag)
}

/// An object, a list or nothing: where it is null, what its type has for nothing.
pub(super) fn or_default<'de, D, T>(json: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Option::deserialize(json).map(Option::unwrap_or_default)
}

/// What helps and is not needed: none when it is missing or cannot be read.
pub(super) fn maybe<'de, D, T>(json: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: DeserializeOwned,
{
    let raw = <&RawValue>::deserialize(json)?;
    Ok(serde_json::from_str(raw.get()).ok())
}

/// An id that must be there: a text, or a number of any length.
#[derive(Clone, Debug)]
pub(super) struct Id(pub(super) String);

impl<'de> Deserialize<'de> for Id {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        let raw = <&RawValue>::deserialize(json)?.get();
        let is_digits = raw.bytes().all(|b| b.is_ascii_digit() || b == b'-');
        let id = match raw.parse::<f64>() {
            Ok(number) if !is_digits && number.fract() == 0.0 && number.abs() < EXACT => {
                number.to_string()
            }
            // Its own digits: as a number it would be its neighbours', too.
            Ok(_) => raw.to_owned(),
            Err(_) => serde_json::from_str(raw).map_err(D::Error::custom)?,
        };
        match id.is_empty() {
            false => Ok(Id(id)),
            true => Err(D::Error::custom("an id that is empty")),
        }
    }
}

/// A number that must be there.
#[derive(Clone, Copy, Debug, serde::Serialize)]
pub(super) struct Number(pub(super) i64);

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        let number = number(json)?;
        number
            .map(Number)
            .ok_or_else(|| D::Error::custom("a number that is null"))
    }
}

/// A number that may have a fraction, and must be there: as such or as a text.
#[derive(Clone, Copy, Debug)]
pub(super) struct Real(pub(super) f64);

impl<'de> Deserialize<'de> for Real {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        let raw = <&RawValue>::deserialize(json)?.get();
        let number = raw.trim_matches('"').trim().parse::<f64>();
        match number {
            Ok(number) if number.is_finite() => Ok(Real(number)),
            _ => Err(D::Error::custom("no number")),
        }
    }
}

/// Something that an update has or has not, or has in a form that cannot be read: then the
/// rest is read all the same, and whoever needs it says that it is strange.
#[derive(Debug, Default)]
pub(super) enum Part<T> {
    #[default]
    None,
    Some(T),
    Strange,
}

impl<T> Part<T> {
    /// It, if it can be read.
    pub(super) fn readable(self) -> Option<T> {
        match self {
            Part::Some(part) => Some(part),
            Part::None | Part::Strange => None,
        }
    }

    pub(super) fn is_strange(&self) -> bool {
        matches!(self, Part::Strange)
    }
}

impl<'de, T: DeserializeOwned> Deserialize<'de> for Part<T> {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        let raw = <&RawValue>::deserialize(json)?;
        Ok(match serde_json::from_str::<Option<T>>(raw.get()) {
            Ok(Some(part)) => Part::Some(part),
            Ok(None) => Part::None,
            Err(_) => Part::Strange,
        })
    }
}

/// The elements of a list that can be read: what is beside a text must not be why nobody
/// reads the text.
#[derive(Debug)]
pub(super) struct List<T> {
    pub(super) items: Vec<T>,
    /// It is no list, or has elements that cannot be read.
    pub(super) is_strange: bool,
}

impl<T> Default for List<T> {
    fn default() -> Self {
        List {
            items: Vec::new(),
            is_strange: false,
        }
    }
}

impl<'de, T: DeserializeOwned> Deserialize<'de> for List<T> {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        let raw = <&RawValue>::deserialize(json)?;
        let elements = serde_json::from_str::<Option<Vec<Option<&RawValue>>>>(raw.get());
        let mut list = List {
            is_strange: elements.is_err(),
            ..List::default()
        };
        let elements = elements.ok().flatten().unwrap_or_default();
        for element in elements.into_iter().flatten() {
            match serde_json::from_str(element.get()) {
                Ok(item) => list.items.push(item),
                Err(_) => list.is_strange = true,
            }
        }
        Ok(list)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn mended(body: &[u8]) -> Value {
        let body = readable(&Bytes::copy_from_slice(body));
        serde_json::from_slice(&body).expect("JSON")
    }

    #[test]
    fn what_a_client_sent_is_no_reason_to_read_nothing() {
        assert_eq!(mended(b"[\"a\xff\xfeb\"]"), json!(["a\u{fffd}\u{fffd}b"]));
        for half in ["\\ud800", "\\uDC00", "\\udc00\\ud800", "\\ud800\\u0041"] {
            let value = mended(format!("{{\"a\":\"x{half}y\"}}").as_bytes());
            let text = value["a"].as_str().unwrap();
            assert!(
                text.starts_with("x\u{fffd}") && text.ends_with('y'),
                "{text}"
            );
        }
        assert_eq!(mended(b"[\"a\nb\x01\"]"), json!(["a\nb\u{1}"]));
    }

    #[test]
    fn what_is_right_stays_as_it_is() {
        for right in [
            "{\n\t\"a\": \"\\ud83d\\ude00 \\\\ud800 \\\"\" }",
            "\"\\uD83D\\uDE00\"",
            "plain",
            "\"\\",
            "\"\\ud8",
        ] {
            let body = Bytes::from_static(right.as_bytes());
            let same = readable(&body);
            assert_eq!(same, body);
            assert_eq!(same.as_ptr(), body.as_ptr(), "not even copied");
        }
    }

    #[derive(Debug, Deserialize)]
    struct Fields {
        id: Id,
        #[serde(default, deserialize_with = "text")]
        text: Option<String>,
        #[serde(default, deserialize_with = "number")]
        number: Option<i64>,
        #[serde(default, deserialize_with = "flag")]
        flag: bool,
        #[serde(default)]
        list: List<String>,
    }

    fn fields(json: &str) -> Result<Fields, serde_json::Error> {
        serde_json::from_str(json)
    }

    #[test]
    fn numbers_are_texts_and_texts_numbers() {
        let found = fields(r#"{"id":7,"text":1.5,"number":"-12","flag":1,"list":["a",null,5]}"#);
        let found = found.unwrap();
        assert_eq!(
            (found.id.0.as_str(), found.text.as_deref()),
            ("7", Some("1.5"))
        );
        assert_eq!((found.number, found.flag), (Some(-12), true));
        assert_eq!(
            (found.list.items.as_slice(), found.list.is_strange),
            (&["a".to_owned()][..], true)
        );
        let none =
            r#"{"id":"18446744073709551615","text":null,"number":null,"flag":null,"list":null}"#;
        let found = fields(none).unwrap();
        assert_eq!(found.id.0, u64::MAX.to_string());
        assert!(found.text.is_none() && found.number.is_none() && !found.flag);
        assert!(found.list.items.is_empty() && !found.list.is_strange);
        assert_eq!(
            fields(r#"{"id":1536239175164.0}"#).unwrap().id.0,
            "1536239175164"
        );
        for (number, id) in [
            ("123456789012345678901234", "123456789012345678901234"),
            ("18446744073709551615", "18446744073709551615"),
            ("9007199254740993", "9007199254740993"),
            ("1.5e2", "150"),
            ("-7", "-7"),
        ] {
            let json = format!(r#"{{"id":{number}}}"#);
            assert_eq!(fields(&json).unwrap().id.0, id);
        }
        assert!(fields(r#"{"id":"a","list":{}}"#).unwrap().list.is_strange);
        for wrong in [
            r#"{}"#,
            r#"{"id":null}"#,
            r#"{"id":""}"#,
            r#"{"id":[1]}"#,
            r#"{"id":true}"#,
            // Others would have the same text.
            r#"{"id":"a","text":123456789012345678901234}"#,
            r#"{"id":"a","text":{}}"#,
            r#"{"id":"a","number":"secret"}"#,
            r#"{"id":"a","number":1.5}"#,
        ] {
            let error = fields(wrong).unwrap_err().to_string();
            assert!(!error.contains("secret"), "{error}");
        }
    }

    proptest! {
        /// A string of any bytes is a string.
        #[test]
        fn any_bytes_in_a_string_can_be_read(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            let inner: Vec<u8> = bytes.into_iter().filter(|b| !b"\"\\".contains(b)).collect();
            let text = String::from_utf8_lossy(&inner).into_owned();
            let body = [&b"\""[..], &inner, b"\""].concat();
            prop_assert_eq!(mended(&body), Value::from(text));
        }

        /// Escaped units of UTF-16 are what UTF-16 takes them for.
        #[test]
        fn any_units_in_a_string_can_be_read(
            units in prop::collection::vec(
                prop_oneof![any::<u16>(), 0xd800_u16..0xe000, 0x20_u16..0x7f], 0..20)
        ) {
            let escaped: String = units.iter().map(|unit| format!("\\u{unit:04x}")).collect();
            let body = format!("[1,\"{escaped}\"]");
            prop_assert_eq!(mended(body.as_bytes()), json!([1, String::from_utf16_lossy(&units)]));
        }

        /// What can be read strictly is the same.
        #[test]
        fn strict_json_is_left_alone(text in any::<String>()) {
            let body = Bytes::from(json!({ "a": text }).to_string());
            prop_assert_eq!(readable(&body), body);
        }
    }
}
