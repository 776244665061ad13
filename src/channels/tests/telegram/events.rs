//! What is no message of somebody's.

use super::*;

fn user() -> Value {
    json!({"id": 600, "is_bot": false, "first_name": "Ann", "language_code": "de"})
}

fn group() -> Value {
    json!({"id": -1005, "type": "supergroup", "title": "G"})
}

fn event(name: &str, fields: &Value) -> Update {
    let update = one(&json!({"update_id": 1, name: fields}));
    assert_eq!(update.id.0, "1");
    update
}

fn member_update(name: &str, old: &str, new: &str, chat: Value) -> Update {
    let member = |status: &str| match status.split_once('+') {
        Some((status, _)) => {
            json!({"status": status, "user": {"id": 7, "first_name": "B"}, "is_member": true})
        }
        None => json!({"status": status, "user": {"id": 7, "first_name": "B"}}),
    };
    event(
        name,
        &json!({"chat": chat, "from": user(), "date": 1,
        "old_chat_member": member(old), "new_chat_member": member(new)}),
    )
}

#[test]
fn members_come_and_go() {
    let private = || json!({"id": 600, "type": "private"});
    for (old, new, kind) in [
        ("member", "kicked", Kind::Left),
        ("kicked", "member", Kind::Joined),
        ("left", "administrator", Kind::Joined),
        ("restricted+", "left", Kind::Left),
        ("left", "restricted", Kind::Other),
        ("left", "restricted+", Kind::Joined),
        ("member", "administrator", Kind::Other),
        ("creator", "creator", Kind::Other),
    ] {
        for (name, chat, whose, address) in [
            ("my_chat_member", private(), "600", "600"),
            ("my_chat_member", group(), "600", "-1005"),
            // The one who came, not the one who let them in.
            ("chat_member", group(), "7", "-1005"),
        ] {
            let update = member_update(name, old, new, chat);
            assert_eq!(
                (update.kind, update.event.as_str()),
                (kind, name),
                "{old} {new}"
            );
            assert_eq!(
                (update.dialog.user_id.as_str(), update.address.as_str()),
                (whose, address)
            );
        }
    }
}

#[test]
fn a_press_names_its_message() {
    let update = pressed(&json!({}));
    assert_eq!(
        (update.kind, update.event.as_str()),
        (Kind::Button, "callback_query")
    );
    assert_eq!((update.message.as_str(), update.text.as_str()), ("5", "x"));
    assert_eq!(update.chat.unwrap().id, "-1000000000503");
    // Too old to be shown.
    let old = event(
        "callback_query",
        &json!({"id": "q", "from": user(), "data": "x", "chat_instance": "1",
        "message": {"chat": group(), "message_id": 9, "date": 0}}),
    );
    assert_eq!((old.message.as_str(), old.address.as_str()), ("9", "-1005"));
    // Sent in inline mode: in no chat of ours.
    let inline = event(
        "callback_query",
        &json!({"id": "q", "from": user(), "data": "x", "chat_instance": "1",
        "inline_message_id": "AgAA_w"}),
    );
    assert_eq!(
        (inline.message.as_str(), inline.address.as_str()),
        ("AgAA_w", "600")
    );
    assert!(inline.chat.is_none());
    let game = event(
        "callback_query",
        &json!({"id": "q", "from": user(), "game_short_name": "chess",
        "chat_instance": "1", "message": {"chat": group(), "message_id": 9, "date": 1}}),
    );
    assert_eq!((game.kind, game.text.as_str()), (Kind::Button, "chess"));
    assert_eq!(game.event, "callback_query.game_short_name");
    for broken in [
        json!({"id": "q", "data": "x"}),
        json!({"id": "q", "from": user()}),
        json!({"id": "q", "from": user(), "data": "x", "message": {"chat": 5}}),
    ] {
        let update = event("callback_query", &broken);
        assert_eq!(update.kind, Kind::Unreadable);
        // It waits no longer, either.
        let answer = telegram_bot().unheard(&update);
        let call: Value = serde_json::from_slice(&answer).unwrap();
        assert_eq!(
            call,
            json!({"method": "answerCallbackQuery", "callback_query_id": "q"})
        );
    }
}

#[test]
fn reactions_are_signs() {
    let of = |old: Value, new: Value| {
        let update = event(
            "message_reaction",
            &json!({"chat": group(), "message_id": 9, "date": 1,
            "user": user(), "old_reaction": old, "new_reaction": new}),
        );
        assert_eq!(
            (update.kind, update.message.as_str()),
            (Kind::Reaction, "9")
        );
        assert_eq!(
            (update.dialog.user_id.as_str(), update.address.as_str()),
            ("600", "-1005")
        );
        update.text
    };
    let sign = |emoji: &str| json!({"type": "emoji", "emoji": emoji});
    assert_eq!(of(json!([]), json!([sign("👍")])), "👍");
    assert_eq!(of(json!([sign("👍")]), json!([sign("👍"), sign("❤")])), "❤");
    assert_eq!(of(json!([sign("👍")]), json!([])), "");
    assert_eq!(of(json!([sign("👍"), sign("❤")]), json!([sign("👍")])), "");
    assert_eq!(
        of(
            json!([]),
            json!([{"type": "custom_emoji", "custom_emoji_id": "57"}])
        ),
        "57"
    );
    assert_eq!(of(json!([]), json!([{"type": "paid"}])), "paid");
    let channels = event(
        "message_reaction",
        &json!({"chat": group(), "message_id": 9, "date": 1,
        "actor_chat": {"id": -9, "type": "channel", "title": "N"}, "old_reaction": [], "new_reaction": []}),
    );
    assert_eq!(channels.dialog.user_id, "-9");
}

#[test]
fn questions_are_read() {
    let query = event(
        "inline_query",
        &json!({"id": "i", "from": user(), "query": "cats", "offset": "",
        "location": {"latitude": 1.5, "longitude": 2}}),
    );
    assert_eq!(
        (query.kind, query.text.as_str(), query.address.as_str()),
        (Kind::Inline, "cats", "600")
    );
    assert_eq!(query.location.unwrap().latitude, 1.5);
    let chosen = event(
        "chosen_inline_result",
        &json!({"result_id": "1", "from": user(), "query": "cats",
        "inline_message_id": "AgAA_w"}),
    );
    assert_eq!(
        (chosen.kind, chosen.message.as_str()),
        (Kind::Inline, "AgAA_w")
    );
    for name in ["shipping_query", "pre_checkout_query"] {
        let update = event(
            name,
            &json!({"id": "p", "from": user(), "invoice_payload": "order-7",
            "currency": "EUR", "total_amount": 700}),
        );
        assert_eq!(
            (update.kind, update.text.as_str()),
            (Kind::Payment, "order-7")
        );
        assert_eq!(update.sender.unwrap().language.as_deref(), Some("de"));
    }
    // Replies go to the asker, not into the group.
    let asks = event(
        "chat_join_request",
        &json!({"chat": group(), "from": user(), "user_chat_id": 601, "date": 1}),
    );
    assert_eq!(
        (asks.kind, asks.address.as_str()),
        (Kind::JoinRequest, "601")
    );
    assert_eq!(asks.chat.unwrap().id, "-1005");
}

#[test]
fn a_business_account_is_heard() {
    let connected = event(
        "business_connection",
        &json!({"id": "b", "user": user(), "user_chat_id": 600,
        "date": 1, "is_enabled": true}),
    );
    assert_eq!(
        (connected.kind, connected.dialog.user_id.as_str()),
        (Kind::Business, "600")
    );
    let deleted = event(
        "deleted_business_messages",
        &json!({"business_connection_id": "b",
        "chat": {"id": 700, "type": "private", "first_name": "C"}, "message_ids": [3, 4]}),
    );
    assert_eq!(
        (
            deleted.kind,
            deleted.message.as_str(),
            deleted.address.as_str()
        ),
        (Kind::Business, "3", "700")
    );
    assert_eq!(deleted.within, r#"{"business_connection_id":"b"}"#);
}

/// Also those that do not exist yet.
#[test]
fn everything_else_has_its_name() {
    for (name, fields, whose, address) in [
        (
            "poll_answer",
            json!({"poll_id": "1", "user": user(), "option_ids": [0]}),
            "600",
            "600",
        ),
        (
            "poll_answer",
            json!({"poll_id": "1", "voter_chat": group(), "option_ids": [0]}),
            "-1005",
            "-1005",
        ),
        (
            "poll",
            json!({"id": "77", "question": "?", "options": []}),
            "poll:77",
            "",
        ),
        (
            "purchased_paid_media",
            json!({"from": user(), "paid_media_payload": "x"}),
            "600",
            "600",
        ),
        (
            "message_reaction_count",
            json!({"chat": group(), "message_id": 1, "date": 1, "reactions": []}),
            "-1005",
            "-1005",
        ),
        (
            "chat_boost",
            json!({"chat": group(), "boost": {"boost_id": "1", "source": {"source": "premium", "user": user()}}}),
            "600",
            "-1005",
        ),
        (
            "removed_chat_boost",
            json!({"chat": group(), "boost_id": "1", "source": {"source": "giveaway"}}),
            "-1005",
            "-1005",
        ),
        (
            "managed_bot",
            json!({"user": user(), "bot": {"id": 1}}),
            "600",
            "600",
        ),
        (
            "subscription",
            json!({"user": user(), "invoice_payload": "x", "state": "y"}),
            "600",
            "600",
        ),
        (
            "stopped_message_generation",
            json!({"chat": {"id": 600, "type": "private"}, "draft_id": 1}),
            "600",
            "600",
        ),
        (
            "guest_message",
            message(&json!({})),
            "600",
            "-1000000000503",
        ),
        (
            "holographic_message",
            message(&json!({})),
            "600",
            "-1000000000503",
        ),
        (
            "telepathy",
            json!({"from": user(), "thought": "?"}),
            "600",
            "600",
        ),
        ("silence", json!({}), "silence:1", ""),
    ] {
        let update = event(name, &fields);
        assert_eq!((update.kind, update.event.as_str()), (Kind::Other, name));
        assert_eq!(
            (update.dialog.user_id.as_str(), update.address.as_str()),
            (whose, address),
            "{name}"
        );
    }
    // Where nobody could be replied to, a reply is refused before anything is committed.
    let poll = event("poll", &json!({"id": "77"}));
    let error = telegram_bot().plan(&poll, &["hi".into()]).unwrap_err();
    assert!(error.contains("poll"), "{error}");
    assert!(telegram_bot().typing(&poll).is_none());
    // What has no content is kept; so is what is no object.
    for odd in [
        json!({"update_id": 1}),
        json!({"update_id": 1, "telepathy": 5}),
        json!({"update_id": 1, "poll": null}),
    ] {
        assert_eq!(one(&odd).kind, Kind::Unreadable, "{odd}");
    }
}

/// Updates with most of what there can be in one.
fn rich() -> Vec<Value> {
    let file = json!({"file_id": "f", "file_name": "a", "mime_type": "a/b", "file_size": 5});
    let place = json!({"latitude": 1.5, "longitude": 2});
    let everything = json!({"caption": "😀 x", "caption_entities": [{"type": "bold", "offset": 0, "length": 2}],
        "document": file, "voice": file, "photo": [file], "venue": {"location": place, "title": "t"},
        "contact": {"phone_number": "+43", "first_name": "A", "user_id": 7},
        "reply_to_message": {"message_id": 3, "from": user(), "text": "q"}, "quote": {"text": "q"},
        "external_reply": {"message_id": 9, "origin": {"sender_chat": {"id": -7, "title": "G"}}},
        "forward_origin": {"type": "user", "sender_user": user()}, "media_group_id": "1",
        "message_thread_id": 5, "is_topic_message": true, "text": null,
        "new_chat_members": [user()], "migrate_to_chat_id": -5});
    let text = json!({"text": "a😀b", "entities": [{"type": "pre", "offset": 1, "length": 2, "language": "x"}]});
    let member = json!({"status": "restricted", "is_member": true, "user": user()});
    vec![
        json!({"update_id": 1, "message": message(&everything)}),
        json!({"update_id": 1, "edited_message": message(&text)}),
        json!({"update_id": 1, "business_message": message(&everything)}),
        json!({"update_id": 1, "callback_query": {"id": "q", "from": user(), "data": "x",
            "message": message(&text), "inline_message_id": "i", "game_short_name": "g"}}),
        json!({"update_id": 1, "chat_member": {"chat": group(), "from": user(), "date": 1,
            "old_chat_member": member, "new_chat_member": member}}),
        json!({"update_id": 1, "message_reaction": {"chat": group(), "message_id": 9, "user": user(),
            "old_reaction": [{"type": "emoji", "emoji": "👍"}], "new_reaction": [{"type": "paid"}]}}),
        json!({"update_id": 1, "pre_checkout_query": {"id": "p", "from": user(), "invoice_payload": "x"}}),
        json!({"update_id": 1, "chat_boost": {"chat": group(), "boost": {"source": {"user": user()}}}}),
        json!({"update_id": 1, "deleted_business_messages": {"business_connection_id": "b",
            "chat": group(), "message_ids": [1, 2]}}),
        json!({"update_id": 1, "poll": {"id": "1"}}),
    ]
}

proptest! {
    /// Whatever is in their fields: each is one update, to which something can be said if it is
    /// of a chat.
    #[test]
    fn nothing_in_an_update_is_harmful(
        sample in prop::sample::select(rich()),
        mutations in prop::collection::vec(
            (prop::collection::vec(0..16_usize, 1..7), prop::option::of(any_json())), 1..5),
    ) {
        let mut body = sample;
        for (path, with) in &mutations {
            mutate(&mut body, path, with);
        }
        let telegram = telegram_bot();
        match receive(telegram.as_ref(), body.to_string().as_bytes()) {
            Err(refusal) => prop_assert_eq!(refusal.status, StatusCode::BAD_REQUEST),
            Ok(Received::Updates(updates)) => {
                prop_assert_eq!(updates.len(), 1);
                let update = &updates[0];
                prop_assert!((1..=MAX_USER_ID).contains(&update.dialog.user_id.len()));
                let toast = Action::Toast { text: "t".to_owned(), alert: false };
                let said = ["a".into(), toast];
                let planned = telegram.plan(update, &said).is_ok();
                prop_assert!(planned || update.address.is_empty());
                prop_assert_eq!(telegram.plan_late(update, &said).is_ok(), planned);
                drop(telegram.typing(update));
                drop(update.markup());
            }
            Ok(other) => prop_assert!(false, "{:?}", other),
        }
    }
}
