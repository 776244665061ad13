//! VK: what its API answers, what its events hold.

use std::collections::HashSet;

use serde_json::json;
use turnkey_storage::Fence;

use super::super::vk;
use super::*;
use crate::author::message::{Attachment, Button, ChatKind, Contact, FileKind, Keyboard, Press};

#[test]
fn answers_of_vks_api_are_told_apart() {
    let of = |code: i64| {
        let body = json!({"error": {"error_code": code, "error_msg": SECRET}});
        meaning(vk::outcome(&answered(200, &body.to_string()), SECRET))
    };
    let ok = vk::outcome(&answered(200, r#"{"response":5}"#), SECRET);
    assert_eq!(meaning(ok), ("ok", 0));
    for refused in [7, 15, 100, 911, 914] {
        assert_eq!(of(refused), ("refused", 0), "{refused}");
    }
    for gone in [900, 901, 902, 917, 945] {
        assert_eq!(of(gone), ("unreachable", 0), "{gone}");
    }
    // Of one message of several.
    let of_one = json!({"response": [{"peer_id": 7, "message_id": 0, "conversation_message_id": 0,
        "error": {"code": 901, "description": "x"}}]});
    let of_one = vk::outcome(&answered(200, &of_one.to_string()), SECRET);
    assert_eq!(meaning(of_one), ("unreachable", 0));
    let taken =
        json!({"response": [{"peer_id": 7, "message_id": 5, "conversation_message_id": 3}]});
    let taken = vk::outcome(&answered(200, &taken.to_string()), SECRET).unwrap();
    assert_eq!(taken, Sent::message("3"));
    for later in [1, 10, 32, 36] {
        assert_eq!(of(later), ("retry", 0), "{later}");
    }
    for token in [5, 14, 17, 27, 28] {
        assert_eq!(of(token), ("away", 0), "{token}");
    }
    assert_eq!(
        [of(6), of(29), of(9)],
        [("all", 0), ("all", 0), ("chat", 0)]
    );
    for strange in ["", "{}", "[]"] {
        let strange = vk::outcome(&answered(200, strange), SECRET);
        assert_eq!(meaning(strange), ("away", 0));
    }
}

#[test]
fn a_reply_has_one_random_id() {
    let id = |turn, index| ReplyId {
        turn: Fence(turn),
        index,
    };
    let mut all = HashSet::new();
    for turn in 1..=100 {
        for index in 0..10 {
            for update in ["", "a"] {
                let random = vk::random_id(id(turn, index), update);
                assert_eq!(random, vk::random_id(id(turn, index), update));
                assert!((1..1 << 31).contains(&random));
                assert!(all.insert(random), "{turn} {index} {update}");
            }
        }
    }
}

fn event(kind: &str, object: &serde_json::Value) -> Vec<Update> {
    let event = json!({"type": kind, "group_id": 77, "v": "5.199", "event_id": "e1",
        "secret": SECRET, "object": object});
    match receive(channel("vk").as_ref(), event.to_string().as_bytes()) {
        Ok(Received::Updates(updates)) => updates,
        Ok(Received::Answer(answer)) if answer.body == b"ok" => Vec::new(),
        other => panic!("{other:?}"),
    }
}

fn message(attachments: &serde_json::Value) -> serde_json::Value {
    json!({"id": 1, "date": 1_700_000_000, "from_id": 9, "peer_id": 9, "out": 0,
        "text": "under it", "attachments": attachments})
}

#[test]
fn a_photo_that_is_not_as_described_costs_no_text() {
    let photo = |sizes: serde_json::Value| json!([{"type": "photo", "photo": {"id": 1, "owner_id": 9, "sizes": sizes}}]);
    for (attachments, pictures, url) in [
        (
            photo(json!([{"type": "s", "width": 75, "height": 50}])),
            1,
            None,
        ),
        (
            photo(json!([{"url": "a", "width": 1, "height": 1}, {"width": 9, "height": 9}])),
            1,
            Some("a"),
        ),
        (
            photo(json!([{"url": "a", "width": -1, "height": "x"}, {"url": "b"}, 5, null])),
            1,
            Some("b"),
        ),
        (photo(json!(null)), 1, None),
        (
            json!([{"type": "photo", "photo": null}, 7, {"type": "photo", "photo": {}}]),
            0,
            None,
        ),
        (json!("none"), 0, None),
        (json!(null), 0, None),
    ] {
        let object = json!({"message": message(&attachments), "client_info": {}});
        let update = event("message_new", &object).remove(0);
        assert_eq!(
            (update.text.as_str(), update.kind),
            ("under it", Kind::Message)
        );
        assert_eq!(update.files.len(), pictures, "{attachments}");
        let found = update
            .files
            .first()
            .and_then(|picture| picture.url.as_deref());
        assert_eq!(found, url, "{attachments}");
    }
    // With nothing else to go by it is kept.
    let mut bare = message(&json!([{"type": "photo", "photo": {}}]));
    bare["text"] = json!("");
    assert_eq!(
        event("message_new", &json!({"message": bare}))[0].kind,
        Kind::Unreadable
    );
}

/// Without its id it would run again each time it comes; so it is kept, under an id that
/// is made of it.
#[test]
fn an_event_without_an_id_is_kept() {
    for id in [
        "",
        r#""event_id":null,"#,
        r#""event_id":[1],"#,
        r#""event_id":"","#,
    ] {
        let body = format!(
            r#"{{"type":"message_new",{id}"group_id":"x","secret":"{SECRET}","object":{{"message":{{"from_id":9,"text":"hi"}}}}}}"#
        );
        let found = updates("vk", &body);
        assert_eq!(
            (found[0].kind, found[0].dialog.user_id.as_str()),
            (Kind::Unreadable, "9")
        );
        assert!(
            found[0].text.contains("choose version 5.199"),
            "{}",
            found[0].text
        );
        assert_eq!(found[0].id, updates("vk", &body)[0].id);
    }
}

#[test]
fn edits_are_of_a_kind_of_their_own() {
    // The object of an edit is the message itself.
    for object in [message(&json!([])), json!({"message": message(&json!([]))})] {
        let update = event("message_edit", &object).remove(0);
        assert_eq!(
            (update.kind, update.text.as_str()),
            (Kind::Edited, "under it")
        );
        assert_eq!(event("message_new", &object)[0].kind, Kind::Message);
    }
    let mut own = message(&json!([]));
    own["out"] = json!(1);
    assert!(
        event("message_edit", &own).is_empty(),
        "what the bot edited"
    );
}

fn new(fields: Value) -> Update {
    let mut message = message(&json!([]));
    message["text"] = json!("");
    for (name, value) in fields.as_object().unwrap() {
        message[name] = value.clone();
    }
    event(
        "message_new",
        &json!({"message": message, "client_info": {"lang_id": 3}}),
    )
    .remove(0)
}

#[test]
fn each_type_of_attachment_is_heard() {
    let of = |attached: Value| new(json!({"attachments": [attached]}));
    let sizes =
        json!([{"url": "s", "width": 1, "height": 1}, {"url": "l", "width": 9, "height": 9}]);
    for (attached, kind, id, url, name) in [
        (
            json!({"type": "photo", "photo": {"id": 5, "owner_id": 7, "access_key": "k",
                "sizes": sizes}}),
            FileKind::Photo,
            Some("photo7_5_k"),
            Some("l"),
            None,
        ),
        (
            json!({"type": "doc", "doc": {"id": 5, "owner_id": 7, "title": "a.pdf", "ext": "pdf",
                "size": 99, "url": "u", "type": 1, "access_key": ""}}),
            FileKind::Document,
            Some("doc7_5"),
            Some("u"),
            Some("a.pdf"),
        ),
        (
            json!({"type": "doc", "doc": {"id": 5, "owner_id": 7, "title": "a.gif", "url": "u",
                "type": 3}}),
            FileKind::Animation,
            Some("doc7_5"),
            Some("u"),
            Some("a.gif"),
        ),
        (
            json!({"type": "audio_message", "audio_message": {"id": 5, "owner_id": 7,
                "duration": 3, "link_mp3": "m", "link_ogg": "o", "access_key": "k"}}),
            FileKind::Voice,
            Some("audio_message7_5_k"),
            Some("o"),
            None,
        ),
        (
            json!({"type": "audio", "audio": {"id": 5, "owner_id": 7, "artist": "A", "title": "B",
                "url": ""}}),
            FileKind::Audio,
            Some("audio7_5"),
            Some(""),
            Some("A – B"),
        ),
        (
            json!({"type": "video", "video": {"id": 5, "owner_id": 7, "title": "V"}}),
            FileKind::Video,
            Some("video7_5"),
            None,
            Some("V"),
        ),
        (
            json!({"type": "sticker", "sticker": {"sticker_id": 9, "product_id": 1,
                "images": sizes}}),
            FileKind::Sticker,
            Some("9"),
            Some("l"),
            None,
        ),
        (
            json!({"type": "graffiti", "graffiti": {"id": 5, "owner_id": 7, "url": "g"}}),
            FileKind::Photo,
            Some("graffiti7_5"),
            Some("g"),
            None,
        ),
    ] {
        let update = of(attached.clone());
        let [file] = update.files.as_slice() else {
            panic!("{attached}: {:?}", update.files);
        };
        assert_eq!(update.kind, Kind::Message);
        assert_eq!((file.kind, file.id.as_deref()), (kind, id), "{attached}");
        assert_eq!(
            (file.url.as_deref(), file.name.as_deref()),
            (url, name),
            "{attached}"
        );
    }
    let link = of(json!({"type": "link", "link": {"url": "https://example.org"}}));
    assert_eq!(link.text, "https://example.org");
    for other in ["wall", "poll", "market", "story"] {
        let update = of(json!({"type": other, other: {"id": 1}}));
        assert_eq!(
            (update.kind, update.text.as_str()),
            (Kind::Message, ""),
            "{other}"
        );
    }
}

#[test]
fn what_is_beside_a_text_is_heard() {
    let place = new(json!({"geo": {"type": "point",
        "coordinates": {"latitude": 48.5, "longitude": 16.25}, "place": {"title": "Vienna"}}}));
    let place = place.location.unwrap();
    assert_eq!(
        (place.latitude, place.title.as_deref()),
        (48.5, Some("Vienna"))
    );
    let old = new(json!({"geo": {"type": "point", "coordinates": "48.5 16.25"}}));
    assert_eq!(old.location.unwrap().longitude, 16.25);
    let answer = new(
        json!({"text": "yes", "conversation_message_id": 31, "reply_message":
        {"conversation_message_id": 30, "from_id": -1, "text": "tea?"}}),
    );
    assert_eq!(answer.message, "31");
    let quoted = answer.quoted.unwrap();
    assert_eq!(
        (quoted.message.as_str(), quoted.text.as_str()),
        ("30", "tea?")
    );
    assert_eq!(quoted.sender.as_deref(), Some("-1"));
    let sender = answer.sender.unwrap();
    assert_eq!(sender.language.as_deref(), Some("en"));
    let passed_on = new(json!({"fwd_messages": [{"from_id": 5, "text": "one"},
        {"from_id": 6, "text": "two", "attachments": [{"type": "sticker",
        "sticker": {"sticker_id": 9}}]}]}));
    assert_eq!(
        (passed_on.text.as_str(), passed_on.files.len()),
        ("one\ntwo", 1)
    );
    assert_eq!(passed_on.forwarded.unwrap().id.as_deref(), Some("5"));
    let group = new(json!({"text": "hi", "peer_id": 2_000_000_001_i64}));
    let chat = group.chat.unwrap();
    assert_eq!(
        (chat.kind, chat.id.as_str()),
        (ChatKind::Group, "2000000001")
    );
    assert_eq!(group.address, "2000000001");
    assert_eq!(group.dialog.user_id, "9");
}

#[test]
fn each_event_is_of_its_kind() {
    let of = |kind: &str, object: Value| {
        let update = event(kind, &object).into_iter().next()?;
        Some((update.kind, update.event, update.text))
    };
    let expect =
        |kind: Kind, event: &str, text: &str| Some((kind, event.to_owned(), text.to_owned()));
    assert_eq!(
        of("message_allow", json!({"user_id": 9, "key": "k"})),
        expect(Kind::Joined, "message_allow", "k")
    );
    assert_eq!(
        of("message_deny", json!({"user_id": 9})),
        expect(Kind::Left, "message_deny", "")
    );
    assert_eq!(
        of(
            "message_reaction_event",
            json!({"reacted_id": 9, "peer_id": 9, "cmid": 4,
            "reaction_id": 16})
        ),
        expect(Kind::Reaction, "message_reaction_event", "16")
    );
    assert_eq!(
        of("group_join", json!({"user_id": 9, "join_type": "request"})),
        expect(Kind::JoinRequest, "group_join", "")
    );
    for other in ["group_leave", "user_block", "wall_reply_new"] {
        let object = match other {
            "wall_reply_new" => json!({"id": 1, "from_id": 9, "text": "x"}),
            _ => json!({"user_id": 9}),
        };
        assert_eq!(of(other, object), expect(Kind::Other, other, ""));
    }
    // The community's own, and what says nothing.
    for silent in [
        (
            "message_reply",
            json!({"from_id": 9, "peer_id": 9, "text": "x"}),
        ),
        ("message_read", json!({"from_id": 9, "peer_id": 9})),
        (
            "message_typing_state",
            json!({"from_id": 9, "to_id": -1, "state": "typing"}),
        ),
        ("wall_post_new", json!({"from_id": -77, "text": "x"})),
    ] {
        assert_eq!(of(silent.0, silent.1), None);
    }
    let happened = |action: Value| {
        let update = new(json!({"peer_id": 2_000_000_001_i64, "action": action}));
        (update.kind, update.event)
    };
    for (action, kind) in [
        (
            json!({"type": "chat_invite_user", "member_id": -77}),
            Kind::Joined,
        ),
        (
            json!({"type": "chat_kick_user", "member_id": -77}),
            Kind::Left,
        ),
        (
            json!({"type": "chat_kick_user", "member_id": 9}),
            Kind::Left,
        ),
        (
            json!({"type": "chat_kick_user", "member_id": 8}),
            Kind::Other,
        ),
        (
            json!({"type": "chat_title_update", "text": "T"}),
            Kind::Other,
        ),
    ] {
        let name = action["type"].as_str().unwrap().to_owned();
        assert_eq!(happened(action), (kind, name));
    }
    let start = new(json!({"text": "Start", "ref": "r42", "payload": "{\"command\":\"start\"}"}));
    assert_eq!((start.kind, start.text.as_str()), (Kind::Opened, "r42"));
}

/// A press has a ticket, which is not the event's id; it is answered whatever the handler
/// says, and once.
#[test]
fn a_press_is_answered() {
    let object = json!({"user_id": 9, "peer_id": 2_000_000_001_i64, "event_id": "ticket",
        "payload": {"button": "tea"}, "conversation_message_id": 12});
    let update = event("message_event", &object).remove(0);
    assert_eq!((update.kind, update.text.as_str()), (Kind::Button, "tea"));
    assert_eq!(
        (update.id.0.as_str(), update.message.as_str()),
        ("e1", "12")
    );
    assert_eq!(update.within, r#"{"event_id":"ticket","user_id":9}"#);
    let vk = channel("vk");
    let toast = |text: &str| Action::Toast {
        text: text.to_owned(),
        alert: false,
    };
    let plan = vk.plan(&update, &["hi".into()]).unwrap();
    assert_eq!(plan.send, [toast(""), "hi".into()]);
    let plan = vk.plan(&update, &["hi".into(), toast("Saved")]).unwrap();
    assert_eq!(plan.send, ["hi".into(), toast("Saved")]);
    assert_eq!(vk.plan_late(&update, &[]).unwrap(), [toast("")]);
    let plain = new(json!({"text": "hi"}));
    assert!(vk.plan(&plain, &[]).unwrap().send.is_empty());
}

#[test]
fn what_vk_lacks_is_refused_or_said_otherwise() {
    let vk = channel("vk");
    for (reply, part) in [
        (Reply::from("x").protected(), "forwarded"),
        (Reply::photo("an id"), "photo7_5"),
        (
            Reply::from("x").button("a", "1").keyboard(Keyboard::Remove),
            "either buttons or a keyboard",
        ),
        (
            Reply::from("x").row([Button::that("Call", Press::Phone("+43".to_owned()))]),
            "calls a number",
        ),
        (
            Reply::from("x").button("a", "\"".repeat(200)),
            "too long for VK",
        ),
        (
            Reply::from("x").row((0..11).map(|n| Button::new("a", n.to_string()))),
            "11 buttons",
        ),
    ] {
        let error = vk.fit(&reply).unwrap_err();
        assert!(error.contains(part), "{error}");
    }
    let card = Reply::contact(Contact::new("+43", "Ann"));
    assert_eq!(vk.fit(&card).unwrap(), ["Ann: +43".into()]);
    // A voice message stands alone.
    let voice = Attachment::new(FileKind::Voice, "https://e.org/a.ogg");
    let files = [
        voice,
        Attachment::photo("photo7_5"),
        Attachment::photo("photo7_6"),
    ];
    let messages = vk.fit(&Reply::files(files).caption("look")).unwrap();
    let files: Vec<_> = messages
        .iter()
        .map(|m| (m.files.len(), m.text.as_str()))
        .collect();
    assert_eq!(files, [(1, ""), (2, "look")]);
}
