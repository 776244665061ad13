//! Viber: what its API answers, what its events hold.

use serde_json::json;

use super::super::viber;
use super::*;
use crate::author::message::{Attachment, Button, Contact, FileKind, Keyboard, Location, Press};

#[test]
fn answers_of_vibers_api_are_told_apart() {
    let of = |status: i64| {
        let body = json!({"status": status, "status_message": SECRET}).to_string();
        meaning(viber::outcome(&answered(200, &body), SECRET))
    };
    assert_eq!(of(0), ("ok", 0));
    for refused in [3, 4, 11, 13] {
        assert_eq!(of(refused), ("refused", 0), "{refused}");
    }
    for gone in [5, 6] {
        assert_eq!(of(gone), ("unreachable", 0), "{gone}");
    }
    for account in [1, 2, 7, 8, 9, 10, 15, 19] {
        assert_eq!(of(account), ("away", 0), "{account}");
    }
    for later in [24, 99] {
        assert_eq!(of(later), ("retry", 0), "{later}");
    }
    // A hundred messages to somebody who says nothing: nobody else waits for that.
    assert_eq!(of(12), ("chat", 0));
    let taken = r#"{"status":"0","message_token":5741311803571721087}"#;
    let sent = viber::outcome(&answered(200, taken), "").unwrap();
    assert_eq!(sent, Sent::message("5741311803571721087"));
    assert_eq!(meaning(viber::outcome(&answered(200, ""), "")), ("away", 0));
}

#[test]
fn a_message_token_may_be_a_text() {
    let body = |token: &str| {
        format!(
            r#"{{"event":"message","message_token":{token},"sender":{{"id":"u"}},"message":{{"type":"text","text":"hi"}}}}"#
        )
    };
    let number = updates("viber", &body("18446744073709551615"));
    assert_eq!(number[0].id.0, "18446744073709551615-message");
    let text = updates("viber", &body(r#""18446744073709551615""#));
    assert_eq!(text[0].id, number[0].id, "the same, however it is written");
    let float = updates("viber", &body("4.912661846655238145e18"));
    assert_eq!(float[0].id.0, "4.912661846655238145e18-message");
    assert_eq!(
        updates("viber", &body("[]"))[0].kind,
        Kind::Unreadable,
        "kept"
    );
    // A text is not lost with a picture's address.
    let picture = r#"{"event":"message","message_token":1,"sender":{"id":"u"},"message":{"type":"picture","text":"look","media":null}}"#;
    let found = updates("viber", picture).remove(0);
    assert_eq!((found.text.as_str(), found.files.len()), ("look", 0));
}

fn message(message: Value) -> Update {
    let event = json!({"event": "message", "timestamp": 1, "message_token": 7,
        "sender": {"id": "u", "name": "John", "language": "en", "country": "UK"},
        "message": message});
    updates("viber", &event.to_string()).remove(0)
}

/// Each type of message that Viber documents.
#[test]
fn each_type_of_message_is_heard() {
    for (sent, kind, url, name) in [
        (
            json!({"type": "picture", "media": "https://v/1.jpg", "file_name": "1.jpg"}),
            FileKind::Photo,
            Some("https://v/1.jpg"),
            Some("1.jpg"),
        ),
        (
            json!({"type": "video", "media": "https://v/1.mp4", "size": "99", "duration": 3}),
            FileKind::Video,
            Some("https://v/1.mp4"),
            None,
        ),
        (
            json!({"type": "file", "media": "https://v/a", "file_name": "a.pdf", "file_size": 99}),
            FileKind::Document,
            Some("https://v/a"),
            Some("a.pdf"),
        ),
        (
            json!({"type": "sticker", "sticker_id": 46105, "media": "https://v/s.png"}),
            FileKind::Sticker,
            Some("https://v/s.png"),
            None,
        ),
    ] {
        let update = message(sent.clone());
        assert_eq!(
            (update.kind, update.event.as_str()),
            (Kind::Message, "message")
        );
        assert_eq!(update.message, "7");
        let [file] = update.files.as_slice() else {
            panic!("{sent}: {:?}", update.files);
        };
        assert_eq!((file.kind, file.url.as_deref()), (kind, url), "{sent}");
        assert_eq!(file.name.as_deref(), name);
        assert_eq!(
            file.size.is_some(),
            sent.get("size").or(sent.get("file_size")).is_some()
        );
        let sender = update.sender.unwrap();
        assert_eq!(
            (sender.name.as_str(), sender.language.as_deref()),
            ("John", Some("en"))
        );
    }
    let place = message(json!({"type": "location", "location": {"lat": 50.5, "lon": "6.25"}}));
    assert_eq!(place.location, Some(Location::new(50.5, 6.25)));
    let card = json!({"type": "contact", "contact": {"name": "Ann", "phone_number": 4312}});
    assert_eq!(message(card).contact, Some(Contact::new("4312", "Ann")));
    let link = message(json!({"type": "url", "media": "https://example.org"}));
    assert_eq!(link.text, "https://example.org");
    // A message all the same.
    let odd = message(json!({"type": "rich_media", "rich_media": {}}));
    assert_eq!((odd.kind, odd.text.as_str()), (Kind::Message, ""));
    for bad in [
        json!({"type": "location", "location": {"lat": "x", "lon": 1}}),
        json!({"type": "contact", "contact": null}),
        json!({"type": "video"}),
        json!({"type": "text"}),
    ] {
        assert_eq!(message(bad.clone()).kind, Kind::Unreadable, "{bad}");
    }
}

#[test]
fn who_comes_and_goes_is_heard() {
    let of = |event: Value| {
        let found = match receive(channel("viber").as_ref(), event.to_string().as_bytes()) {
            Ok(Received::Updates(updates)) => updates,
            Ok(Received::Answer(_)) => return None,
            other => panic!("{other:?}"),
        };
        let update = found.into_iter().next()?;
        Some((update.kind, update.event, update.dialog.user_id))
    };
    let user = json!({"id": "u", "name": "John"});
    for (event, kind) in [
        (
            json!({"event": "subscribed", "message_token": 1, "user": user}),
            Kind::Joined,
        ),
        (
            json!({"event": "unsubscribed", "message_token": 1, "user_id": "u"}),
            Kind::Left,
        ),
        (
            json!({"event": "conversation_started", "message_token": 1, "user": user}),
            Kind::Opened,
        ),
        (
            json!({"event": "failed", "message_token": 1, "user_id": "u", "desc": "x"}),
            Kind::Other,
        ),
        (
            json!({"event": "client_status", "message_token": 1, "user": user}),
            Kind::Other,
        ),
    ] {
        let name = event["event"].as_str().unwrap().to_owned();
        assert_eq!(of(event), Some((kind, name, "u".to_owned())));
    }
    for event in ["delivered", "seen", "webhook"] {
        assert_eq!(
            of(json!({"event": event, "message_token": 1, "user_id": "u"})),
            None
        );
    }
}

#[test]
fn what_viber_lacks_is_refused_or_said_otherwise() {
    let viber = channel("viber");
    let fit = |reply: Reply| viber.fit(&reply);
    for (reply, part) in [
        (Reply::photo("/srv/a.png"), "address"),
        (Reply::photo("an id"), "address"),
        (Reply::from("x").protected(), "forwarded"),
        (
            Reply::from("x").row([Button::that("Call", Press::Phone("+43".to_owned()))]),
            "contact",
        ),
    ] {
        let error = fit(reply).unwrap_err();
        assert!(error.contains("Viber") && error.contains(part), "{error}");
    }
    let edit = Action::Edit {
        message: "menu".into(),
        reply: "x".into(),
    };
    assert!(viber.can(&edit).unwrap_err().contains("cannot edit"));
    let call = |method: &str| {
        viber.can(&Action::Call {
            method: method.to_owned(),
            params: Value::Null,
            name: None,
        })
    };
    assert!(call("get_account_info").is_ok() && call("../x").is_err());
    // Only a picture has a text of its own.
    let film = Reply::file(Attachment::new(FileKind::Video, "https://e.org/a.mp4"));
    let texts: Vec<_> = fit(film.caption("look")).unwrap();
    assert_eq!((texts.len(), texts[1].text.as_str()), (2, "look"));
    let keys = Keyboard::Rows(vec![vec![Button::that("Yes", Press::Say)]]);
    let asked = fit(Reply::markup("**Tea**?").keyboard(keys))
        .unwrap()
        .remove(0);
    assert_eq!((asked.text.as_str(), asked.buttons.len()), ("Tea?", 1));
    assert_eq!(asked.keyboard, None);
}
