//! Updates that are not as the platforms describe them, of all platforms: what can be read
//! is read, what cannot is kept, and nothing else of its batch suffers.

use proptest::prelude::*;
use serde_json::Value;

use super::*;

/// The same, as a program writes it that takes numbers for texts, texts for numbers, and
/// null for nothing.
fn written_otherwise(value: &mut Value, dice: &mut impl FnMut() -> bool) {
    match value {
        Value::Number(number) if dice() => *value = Value::from(number.to_string()),
        Value::String(text) => {
            let number = text.parse::<i64>().ok();
            if let Some(number) = number.filter(|number| number.to_string() == *text)
                && dice()
            {
                *value = Value::from(number);
            }
        }
        Value::Bool(is_set) if dice() => *value = Value::from(u8::from(*is_set)),
        Value::Array(items) => items
            .iter_mut()
            .for_each(|item| written_otherwise(item, dice)),
        Value::Object(fields) => {
            fields
                .values_mut()
                .for_each(|field| written_otherwise(field, dice));
            for absent in [
                "attachments",
                "photo",
                "is_echo",
                "payload",
                "caption",
                "data",
            ] {
                if !fields.contains_key(absent) && dice() {
                    fields.insert(absent.to_owned(), Value::Null);
                }
            }
        }
        _ => {}
    }
}

/// What a handler gets of these updates. Without an id of the platform's own an update has
/// one that is made of its JSON.
fn essence(updates: Vec<Update>) -> Vec<Update> {
    let mut updates = updates;
    for update in &mut updates {
        update.raw = Bytes::new();
        if let Some((id, _)) = update.id.0.split_once(":Button:") {
            update.id.0 = id.to_owned();
        }
    }
    updates
}

/// Bytes that are no UTF-8, or half of a surrogate pair, in a text of a sample.
fn with_a_clients_bytes(body: &str, mark: &str, bytes: &[u8]) -> Vec<u8> {
    let (before, after) = body.split_once(mark).unwrap();
    [before.as_bytes(), bytes, after.as_bytes()].concat()
}

/// Wherever in its texts: it is read, and what cannot be is U+FFFD.
#[test]
fn a_clients_bytes_are_no_reason_to_refuse() {
    for (sample, mark, expected) in [
        (2, "/start", "/st\u{fffd}"),
        (3, "a cat", "/st\u{fffd}"),
        (4, "Data from button callback", "/st\u{fffd}"),
        (5, "a message to the service", "/st\u{fffd}"),
        (7, "context information", "/st\u{fffd}"),
        (9, "hello", "/st\u{fffd}"),
        (11, "test\",", "/st\u{fffd}"),
        // In a field of which nothing is read.
        (2, "Test Lastname", "/start"),
        (5, "John McClane", "a message to the service"),
        (11, "c68d0e5e8a47ffc6ffc0a2d3c9a7fcd7c0e9a2d3", "test"),
    ] {
        let (name, body) = SAMPLES[sample];
        for bytes in [&b"/st\xff"[..], b"/st\\ud800", b"/st\\uDFFF"] {
            let end = mark.strip_prefix("test").unwrap_or_default();
            let body = with_a_clients_bytes(body, mark, &[bytes, end.as_bytes()].concat());
            let found = match receive(channel(name).as_ref(), &body) {
                Ok(Received::Updates(updates)) => updates,
                other => panic!("{name} {mark}: {other:?}"),
            };
            assert_eq!(found[0].text, expected, "{name} {mark}");
            assert_ne!(found[0].kind, Kind::Unreadable, "{name} {mark}");
            let raw: Value = serde_json::from_slice(found[0].raw()).unwrap();
            assert!(raw.is_object());
        }
    }
}

/// The envelope is good, what is in it is not: it is for the dead letters, with its
/// user where that much can be read, and the rest of its batch is read.
#[test]
fn what_cannot_be_read_is_kept() {
    let event = |user: &str, message: &str| {
        format!(r#"{{"sender":{{"id":{user}}},"timestamp":1,"message":{message}}}"#)
    };
    let batch = |events: &[String]| {
        format!(
            r#"{{"object":"page","entry":[5,{{"messaging":[{}]}}]}}"#,
            events.join(",")
        )
    };
    let events = [
        event("[]", r#"{"mid":"a","text":"x"}"#),
        event("7", r#"{"mid":"b","text":["x"]}"#),
        event("7", r#"{"mid":"c","attachments":"x"}"#),
        event("7", r#"{"mid":"d","text":"good"}"#),
    ];
    let found = updates("facebook", &batch(&events));
    let users: Vec<_> = found.iter().map(|u| u.dialog.user_id.as_str()).collect();
    assert_eq!(users, ["?", "?", "7", "7", "7"]);
    let kinds: Vec<_> = found.iter().map(|u| u.kind).collect();
    let bad = Kind::Unreadable;
    assert_eq!(kinds, [bad, bad, bad, bad, Kind::Message]);
    assert_eq!(found[1].raw(), events[0].as_bytes());
    assert_eq!(
        found,
        updates("facebook", &batch(&events)),
        "the same ids again"
    );
    for (name, body, id) in [
        ("telegram", r#"{"update_id":5,"message":{"chat":"x"}}"#, "5"),
        (
            "telegram",
            r#"{"update_id":6,"message":{"chat":{"id":1},"text":{}}}"#,
            "6",
        ),
        ("telegram", r#"{"update_id":7,"callback_query":"x"}"#, "7"),
        (
            "viber",
            r#"{"event":"message","message_token":8,"sender":{}}"#,
            "8-message",
        ),
        (
            "viber",
            r#"{"event":"conversation_started","message_token":"9","user":null}"#,
            "9-conversation_started",
        ),
        (
            "vk",
            r#"{"type":"message_new","event_id":"e","secret":"s3cret","object":{"message":{"text":"x"}}}"#,
            "e",
        ),
        (
            "vk",
            r#"{"type":"message_new","event_id":"f","secret":"s3cret"}"#,
            "f",
        ),
    ] {
        let found = updates(name, body);
        assert_eq!(found.len(), 1, "{body}");
        assert_eq!((found[0].kind, found[0].id.0.as_str()), (bad, id), "{body}");
        assert_eq!(found[0].raw(), body.as_bytes());
        assert!(!found[0].text.is_empty(), "why?");
    }
    // What is no update at all is refused.
    for name in ["telegram", "viber", "facebook"] {
        for body in ["", "[", "5", "{\"a\":"] {
            let refused = receive(channel(name).as_ref(), body.as_bytes()).unwrap_err();
            assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{name} {body}");
        }
    }
}

proptest! {
    /// Numbers as texts, texts as numbers, null for nothing: the same is understood.
    #[test]
    fn samples_written_otherwise_mean_the_same(
        sample in prop::sample::select(&SAMPLES[2..13]),
        dice in prop::collection::vec(any::<bool>(), 64),
    ) {
        let (name, body) = sample;
        prop_assume!(!body.contains("\"failed\""));
        let mut otherwise: Value = serde_json::from_str(body).unwrap();
        let mut dice = dice.into_iter().cycle();
        written_otherwise(&mut otherwise, &mut || dice.next().unwrap_or(false));
        let body = essence(updates(name, body));
        prop_assert_eq!(essence(updates(name, &otherwise.to_string())), body);
    }
}
