//! Facebook: what its API answers, what its events hold.

use std::time::Duration;

use serde_json::json;

use super::super::facebook;
use super::*;
use crate::author::message::{Button, Contact, FileKind, Location, Press, Request};

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
    for refused in [10, 100, 200] {
        assert_eq!(of(400, refused), ("refused", 0), "{refused}");
    }
    for later in [1, 2, 341, 368] {
        assert_eq!(of(400, later), ("retry", 0), "{later}");
    }
    assert_eq!(of(400, 551), ("unreachable", 0));
    let of_sort = |code: i64, subcode: i64| {
        let body = json!({"error": {"message": "x", "code": code, "error_subcode": subcode}});
        meaning(facebook::outcome(&answered(400, &body.to_string()), SECRET))
    };
    assert_eq!(of_sort(100, 2_018_001), ("unreachable", 0), "no such user");
    assert_eq!(
        of_sort(10, 2_018_278),
        ("refused", 0),
        "the 24 hours are over"
    );
    assert_eq!(
        of_sort(10, 1_893_063),
        ("away", 0),
        "the page is restricted"
    );
    let taken = r#"{"recipient_id":"1","message_id":"m_5"}"#;
    let sent = facebook::outcome(&answered(200, taken), SECRET).unwrap();
    assert_eq!(sent, Sent::message("m_5"));
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

fn said(fields: Value) -> Update {
    let mut event = json!({"sender": {"id": "1"}, "recipient": {"id": "2"}, "timestamp": 5});
    for (name, value) in fields.as_object().unwrap() {
        event[name] = value.clone();
    }
    one(&event.to_string())
}

fn message(fields: Value) -> Update {
    let mut message = json!({"mid": "m"});
    for (name, value) in fields.as_object().unwrap() {
        message[name] = value.clone();
    }
    said(json!({"message": message}))
}

#[test]
fn each_type_of_attachment_is_heard() {
    for (sort, url, kind, name) in [
        ("image", "https://c/1.jpg", FileKind::Photo, None),
        ("audio", "https://c/a.mp4", FileKind::Voice, None),
        ("video", "https://c/v.mp4", FileKind::Video, None),
        (
            "file",
            "https://c/x/my%20bill.pdf?oh=1",
            FileKind::Document,
            Some("my bill.pdf"),
        ),
        ("sticker", "https://c/s.png", FileKind::Sticker, None),
    ] {
        let update = message(json!({"attachments": [{"type": sort, "payload": {"url": url}}]}));
        assert_eq!(
            (update.kind, update.text.as_str()),
            (Kind::Message, ""),
            "{sort}"
        );
        let file = &update.files[0];
        assert_eq!(
            (file.kind, file.url.as_deref()),
            (kind, Some(url)),
            "{sort}"
        );
        assert_eq!(file.name.as_deref(), name);
    }
    // Before August 2026 a sticker was an image; the thumb is one.
    let thumb = message(json!({"attachments": [{"type": "image",
        "payload": {"url": "u", "sticker_id": 369_239_263_222_822_u64}}]}));
    assert_eq!(thumb.files[0].kind, FileKind::Sticker);
    assert_eq!(thumb.files[0].id.as_deref(), Some("369239263222822"));
    let place = message(json!({"attachments": [{"type": "location", "title": "Here",
        "payload": {"coordinates": {"lat": 48.5, "long": 16.25}}}]}));
    let place = place.location.unwrap();
    assert_eq!((place.latitude, place.longitude), (48.5, 16.25));
    // What was shared is elsewhere: its address is what is said.
    for sort in ["fallback", "reel", "ig_post", "post"] {
        let shared = message(json!({"attachments": [{"type": sort, "payload": {"url": "u"}}]}));
        assert_eq!(
            (shared.kind, shared.text.as_str()),
            (Kind::Message, "u"),
            "{sort}"
        );
    }
    for bare in [
        json!({"type": "template"}),
        json!({"type": "appointment_booking"}),
    ] {
        let update = message(json!({"attachments": [bare]}));
        assert_eq!((update.kind, update.text.as_str()), (Kind::Message, ""));
    }
    let answer = message(json!({"text": "yes", "reply_to": {"mid": "m_0"}}));
    assert_eq!(answer.quoted.unwrap().message, "m_0");
    assert_eq!(
        (answer.message.as_str(), answer.event.as_str()),
        ("m", "message")
    );
}

#[test]
fn what_is_no_message_is_heard_too() {
    let of = |fields: Value| {
        let update = said(fields);
        (update.kind, update.event, update.text, update.message)
    };
    let expect = |kind: Kind, event: &str, text: &str, message: &str| {
        let [event, text, message] = [event, text, message].map(str::to_owned);
        (kind, event, text, message)
    };
    assert_eq!(
        of(
            json!({"reaction": {"reaction": "love", "emoji": "❤", "action": "react", "mid": "m_1"}})
        ),
        expect(Kind::Reaction, "reaction", "❤", "m_1")
    );
    assert_eq!(
        of(
            json!({"reaction": {"reaction": "love", "emoji": "❤", "action": "unreact",
            "mid": "m_1"}})
        ),
        expect(Kind::Reaction, "reaction", "", "m_1")
    );
    assert_eq!(
        of(json!({"referral": {"ref": "r42", "source": "SHORTLINK", "type": "OPEN_THREAD"}})),
        expect(Kind::Opened, "referral", "r42", "")
    );
    assert_eq!(
        of(json!({"optin": {"type": "notification_messages", "payload": "p"}})),
        expect(Kind::Opened, "optin", "p", "")
    );
    let start = json!({"postback": {"title": "Get started", "payload": "go", "mid": "m_2"}});
    assert_eq!(
        of(start.clone()),
        expect(Kind::Button, "postback", "go", "m_2")
    );
    let mut linked = start;
    linked["postback"]["referral"] = json!({"ref": "r42"});
    assert_eq!(of(linked), expect(Kind::Opened, "postback", "r42", "m_2"));
    assert_eq!(
        of(json!({"pass_thread_control": {"new_owner_app_id": "1"}})),
        expect(Kind::Other, "pass_thread_control", "", "")
    );
    for silent in [
        json!({"delivery": {"watermark": 1}}),
        json!({"read": {"watermark": 1}}),
    ] {
        let mut event = json!({"sender": {"id": "1"}, "recipient": {"id": "2"}, "timestamp": 5});
        for (name, value) in silent.as_object().unwrap() {
            event[name] = value.clone();
        }
        assert!(updates("facebook", &batch(&event.to_string())).is_empty());
    }
}

/// Another app answers: it is read, and what a handler says all the same is not sent.
#[test]
fn what_stands_by_is_not_answered() {
    let body = json!({"object": "page", "entry": [{"id": "1", "time": 1, "standby": [
        {"sender": {"id": "1"}, "recipient": {"id": "2"}, "timestamp": 5,
            "message": {"mid": "m", "text": "hi"}}]}]});
    let update = updates("facebook", &body.to_string()).remove(0);
    assert_eq!(
        (update.kind, update.event.as_str(), update.text.as_str()),
        (Kind::Other, "standby.message", "hi")
    );
    let call = Action::Call {
        method: "me/take_thread_control".to_owned(),
        params: Value::Null,
        name: None,
    };
    let channel = channel("facebook");
    let plan = channel
        .plan(&update, &["hello".into(), call.clone()])
        .unwrap();
    assert_eq!(plan.send, [call]);
    assert!(channel.typing(&update).is_none());
}

#[test]
fn a_number_that_was_asked_for_is_a_contact() {
    let shared = message(json!({"text": "+431234567", "quick_reply": {"payload": "+431234567"}}));
    let contact = shared.contact.unwrap();
    assert_eq!(
        (shared.kind, contact.phone.as_str()),
        (Kind::Message, "+431234567")
    );
    assert_eq!(contact.user_id.as_deref(), Some("1"), "their own");
    let pressed = message(json!({"text": "Tea", "quick_reply": {"payload": "tea:1"}}));
    assert_eq!(
        (pressed.kind, pressed.text.as_str()),
        (Kind::Button, "tea:1")
    );
    // A key of a keyboard says its label.
    let payload = r#"{"turnkey":"say"}"#;
    let key = message(json!({"text": "Tea", "quick_reply": {"payload": payload}}));
    assert_eq!((key.kind, key.text.as_str()), (Kind::Message, "Tea"));
}

#[test]
fn what_messenger_lacks_is_refused_or_said_otherwise() {
    let messenger = channel("facebook");
    let link = |n: usize| Button::link(format!("Page {n}"), "https://example.org");
    for (reply, part) in [
        (Reply::from("x").protected(), "forwarded"),
        (Reply::from("x").row((0..4).map(link)), "takes 3"),
        (
            Reply::from("x").row((0..14).map(|n| Button::new("a", n.to_string()))),
            "takes 13",
        ),
        (
            Reply::photo("https://e.org/a.png").row([link(1)]),
            "give the reply a text",
        ),
        (
            Reply::from("x").row([Button::that("Where?", Press::Request(Request::Location))]),
            "where somebody is",
        ),
    ] {
        let error = messenger.fit(&reply).unwrap_err();
        assert!(error.contains(part), "{error}");
    }
    let long = Reply::from("word ".repeat(300)).row([link(1)]);
    let fitting = messenger.fit(&long).unwrap();
    assert!(fitting.last().unwrap().text.len() <= 640);
    assert_eq!(fitting.last().unwrap().buttons.len(), 1);
    let mut place = Reply::location(Location::new(48.2, 16.37));
    place.contact = Some(Contact::new("+43", "Ann"));
    let said = messenger.fit(&place).unwrap().remove(0);
    assert!(
        said.text.contains("48.2%2C16.37\nAnn: +43"),
        "{}",
        said.text
    );
    let delete = Action::Delete {
        message: "menu".into(),
    };
    assert!(
        messenger
            .can(&delete)
            .unwrap_err()
            .contains("cannot delete")
    );
    for (method, can) in [
        ("me/messages", true),
        ("GET 123", true),
        ("me/../x", false),
        ("me?x=1", false),
        ("", false),
    ] {
        let call = Action::Call {
            method: method.to_owned(),
            params: Value::Null,
            name: None,
        };
        let said = messenger.can(&call);
        assert_eq!(said.is_ok(), can, "{method}");
        assert!(!said.is_err_and(|why| why.contains("  ")), "{method}");
    }
}
