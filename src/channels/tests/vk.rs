//! VK: what its API answers, what its events hold.

use std::collections::HashSet;

use serde_json::json;
use turnkey_storage::Fence;

use super::super::vk;
use super::*;

#[test]
fn answers_of_vks_api_are_told_apart() {
    let of = |code: i64| {
        let body = json!({"error": {"error_code": code, "error_msg": SECRET}});
        meaning(vk::outcome(&answered(200, &body.to_string()), SECRET))
    };
    let ok = vk::outcome(&answered(200, r#"{"response":5}"#), SECRET);
    assert_eq!(meaning(ok), ("ok", 0));
    for refused in [7, 100, 901, 902, 914, 917] {
        assert_eq!(of(refused), ("refused", 0), "{refused}");
    }
    for later in [1, 10] {
        assert_eq!(of(later), ("retry", 0), "{later}");
    }
    for token in [5, 27, 28] {
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
