//! Facebook: what its API answers, what its events hold.

use serde_json::json;

use super::super::facebook;
use super::*;

#[test]
fn answers_of_facebooks_api_are_told_apart() {
    let of = |status, code: i64| {
        let body = json!({"error": {"message": "x", "code": code, "error_subcode": 1}});
        meaning(facebook::outcome(
            &answered(status, &body.to_string()),
            SECRET,
        ))
    };
    assert_eq!(of(200, 0), ("ok", 0));
    for refused in [10, 100, 200, 551] {
        assert_eq!(of(400, refused), ("refused", 0), "{refused}");
    }
    for later in [1, 2, 341, 368] {
        assert_eq!(of(400, later), ("retry", 0), "{later}");
    }
    assert_eq!(of(400, 190), ("away", 0));
    for too_many in [4, 17, 32, 613, 80006] {
        assert_eq!(of(400, too_many), ("all", 0), "{too_many}");
    }
    assert_eq!(of(503, 100), ("retry", 0));
    let mut flood = answered(429, "");
    flood.retry_after = Some(Duration::from_secs(7));
    assert_eq!(meaning(facebook::outcome(&flood, SECRET)), ("all", 7));
}

fn batch(event: &str) -> String {
    format!(r#"{{"object":"page","entry":[{{"id":"1","time":1,"messaging":[{event}]}}]}}"#)
}

fn one(event: &str) -> Update {
    let mut found = updates("facebook", &batch(event));
    assert_eq!(found.len(), 1, "{event}");
    found.remove(0)
}

/// Without an id of Facebook's, and even without a time, two events are two, and one that
/// comes again is one.
#[test]
fn events_without_an_id_are_told_apart() {
    let said = |text: &str| {
        format!(
            r#"{{"sender":{{"id":"77"}},"recipient":{{"id":"1"}},"message":{{"text":"{text}"}}}}"#
        )
    };
    let (first, second) = (one(&said("one")), one(&said("two")));
    assert_ne!(first.id, second.id);
    assert_eq!(first.id, one(&said("one")).id);
    let otherwise = r#"{"message":{"text":"one"}, "recipient":{"id":"1"}, "sender":{"id":"77"}}"#;
    assert_eq!(first.id, one(otherwise).id, "however it is written");
}

#[test]
fn fields_may_be_written_otherwise() {
    for time in [
        "1536239175164",
        "1536239175164.0",
        "\"1536239175164\"",
        "{}",
        "[true]",
        "null",
        "1.5e12",
    ] {
        let event = format!(
            r#"{{"sender":{{"id":24523}},"timestamp":{time},"message":{{"mid":"m","text":"hello","attachments":null,"is_echo":null,"quick_reply":null}}}}"#
        );
        let update = one(&event);
        assert_eq!(
            (update.text.as_str(), update.kind),
            ("hello", Kind::Message),
            "{time}"
        );
        assert_eq!(
            (update.dialog.user_id.as_str(), update.id.0.as_str()),
            ("24523", "m")
        );
    }
    let nothing = r#"{"sender":{"id":"1"},"message":{"mid":"m","text":"x","is_echo":"true"}}"#;
    assert!(updates("facebook", &batch(nothing)).is_empty(), "an echo");
}

#[test]
fn the_test_button_of_the_settings_starts_a_turn() {
    let test = json!({"object": "page", "entry": [{"id": "0", "time": 1_700_000_000, "changes": [{
        "field": "messages", "value": {"sender": {"id": "12334"}, "recipient": {"id": "23245"},
        "timestamp": "1527459824", "message": {"mid": "test_message_id", "text": "test_message"}}}]}]});
    let found = updates("facebook", &test.to_string());
    assert_eq!(found.len(), 1);
    assert_eq!(
        (found[0].text.as_str(), found[0].address.as_str()),
        ("test_message", "12334")
    );
    let feed = json!({"object": "page", "entry": [{"id": "0", "changes": [
        {"field": "feed", "value": {"item": "post"}}]}]});
    assert!(updates("facebook", &feed.to_string()).is_empty());
}

#[test]
fn edits_are_of_a_kind_of_their_own() {
    let edit = |number: u8| {
        let event = format!(
            r#"{{"sender":{{"id":"1"}},"timestamp":5,"message_edit":{{"mid":"m","text":"new","num_edit":{number}}}}}"#
        );
        one(&event)
    };
    let first = edit(1);
    assert_eq!((first.kind, first.text.as_str()), (Kind::Edited, "new"));
    assert_eq!(
        (first.id.0.as_str(), edit(2).id.0.as_str()),
        ("m:edit:1", "m:edit:2")
    );
}

#[test]
fn a_sticker_is_a_picture() {
    let update = one(
        r#"{"sender":{"id":"1"},"message":{"mid":"m","attachments":[{"type":"sticker","payload":{"url":"u","sticker_id":369239263222822}}]}}"#,
    );
    assert_eq!(update.files[0].url.as_deref(), Some("u"));
}
