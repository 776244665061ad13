//! What messages hold.

use super::*;
use crate::author::message::{
    ChatKind, Contact, File, FileKind, Forwarded, Location, Quoted, Span, Style,
};

fn private(fields: &Value) -> Update {
    let mut message = json!({"message_id": 5, "date": 1,
        "from": {"id": 600, "is_bot": false, "first_name": "Ann", "last_name": "Bee",
            "username": "ann", "language_code": "pt-br"},
        "chat": {"id": 600, "type": "private", "first_name": "Ann"}});
    for (name, value) in fields.as_object().unwrap() {
        message[name] = value.clone();
    }
    one(&json!({"update_id": 1, "message": message}))
}

#[test]
fn who_said_it_and_where() {
    let update = private(&json!({"text": "hi"}));
    let sender = update.sender.unwrap();
    assert_eq!(sender.name, "Ann Bee");
    assert_eq!(sender.username.as_deref(), Some("ann"));
    assert_eq!(sender.language.as_deref(), Some("pt-br"));
    let chat = update.chat.unwrap();
    assert_eq!((chat.id.as_str(), chat.kind), ("600", ChatKind::Private));
    assert_eq!((update.message.as_str(), update.event.as_str()), ("5", ""));
    // In a topic of a group; and "General", which is none.
    let topic = said(&json!({"message_thread_id": 42, "is_topic_message": true}));
    let chat = topic.chat.unwrap();
    assert_eq!(
        (chat.kind, chat.title.as_deref()),
        (ChatKind::Group, Some("S"))
    );
    assert_eq!(chat.topic.as_deref(), Some("42"));
    let general = said(&json!({"message_thread_id": 1, "is_topic_message": true}));
    assert_eq!(general.chat.unwrap().topic, None);
    // Names that cannot be read are no reason to read nothing.
    let odd =
        private(&json!({"text": "hi", "from": {"id": 600, "first_name": ["x"], "username": {}}}));
    assert_eq!((odd.kind, odd.text.as_str()), (Kind::Message, "hi"));
}

#[test]
fn a_channels_post_is_the_channels() {
    let post = json!({"message_id": 5, "date": 1, "text": "news",
        "sender_chat": {"id": -1009, "type": "channel", "title": "News", "username": "news"},
        "chat": {"id": -1009, "type": "channel", "title": "News"}});
    let update = one(&json!({"update_id": 1, "channel_post": post}));
    assert_eq!(
        (update.kind, update.event.as_str()),
        (Kind::Message, "channel_post")
    );
    assert_eq!(update.dialog.user_id, "-1009");
    assert_eq!(update.sender.unwrap().username.as_deref(), Some("news"));
    assert_eq!(update.chat.unwrap().kind, ChatKind::Channel);
}

#[test]
fn files_of_all_sorts_are_read() {
    let about = |id: &str| {
        json!({"file_id": id, "file_unique_id": "u", "file_name": "a.pdf",
        "mime_type": "application/pdf", "file_size": 5_000_000_000_u64, "duration": 1})
    };
    for (field, kind) in [
        ("animation", FileKind::Animation),
        ("document", FileKind::Document),
        ("audio", FileKind::Audio),
        ("voice", FileKind::Voice),
        ("video", FileKind::Video),
        ("video_note", FileKind::VideoNote),
        ("sticker", FileKind::Sticker),
    ] {
        let mut fields = json!({ field: about("f") });
        if field == "animation" {
            // For programs that do not know of animations.
            fields["document"] = about("f");
        }
        let update = private(&fields);
        let expected = File {
            id: Some("f".to_owned()),
            name: Some("a.pdf".to_owned()),
            media_type: Some("application/pdf".to_owned()),
            size: Some(5_000_000_000),
            ..File::new(kind)
        };
        assert_eq!(update.files, [expected], "{field}");
        assert_eq!((update.kind, update.event.as_str()), (Kind::Message, ""));
    }
    let sizes = json!({"photo": [{"file_id": "s", "file_size": 1}, {"file_id": "l", "file_size": "2"}],
        "caption": "look", "media_group_id": 13_579_u64});
    let photo = private(&sizes);
    assert_eq!((photo.files.len(), photo.files[0].size), (1, Some(2)));
    assert_eq!(
        (photo.text.as_str(), photo.album.as_str()),
        ("look", "13579")
    );
    // A size that cannot be read is no reason not to have the file.
    let odd = private(&json!({"document": {"file_id": "d", "file_size": "?", "file_name": 5}}));
    assert_eq!(
        (odd.files[0].size, odd.files[0].name.as_deref()),
        (None, Some("5"))
    );
}

#[test]
fn places_and_contacts_are_read() {
    let place = json!({"latitude": 48.2, "longitude": "16.37"});
    let update = private(&json!({"location": place}));
    assert_eq!(update.location, Some(Location::new(48.2, 16.37)));
    let venue = json!({"location": place, "title": "Café", "address": "Street 5"});
    let update = private(&json!({"location": place, "venue": venue}));
    let location = update.location.unwrap();
    assert_eq!(location.title.as_deref(), Some("Café"));
    assert_eq!(location.address.as_deref(), Some("Street 5"));
    let contact =
        json!({"phone_number": "+43", "first_name": "Ann", "last_name": "Bee", "user_id": 600});
    let update = private(&json!({ "contact": contact }));
    let mut expected = Contact::new("+43", "Ann Bee");
    expected.user_id = Some("600".to_owned());
    assert_eq!(update.contact, Some(expected));
    assert_eq!(update.event, "");
}

/// Places are counted in UTF-16 units there, in bytes here.
#[test]
fn formatting_is_read() {
    let entities = json!([{"type": "bold", "offset": 3, "length": 2},
        {"type": "text_link", "offset": 0, "length": 2, "url": "https://example.org"},
        {"type": "hashtag", "offset": 0, "length": 1}]);
    for (text, spans) in [("text", "entities"), ("caption", "caption_entities")] {
        let mut fields = json!({ spans: entities });
        fields[text] = json!("😀 öx");
        if text == "caption" {
            fields["voice"] = json!({"file_id": "v"});
        }
        let update = private(&fields);
        let expected = [
            Span {
                start: 5,
                end: 8,
                style: Style::Bold,
            },
            Span {
                start: 0,
                end: 4,
                style: Style::Link("https://example.org".to_owned()),
            },
        ];
        assert_eq!(update.spans, expected);
        assert_eq!(update.markup(), "[😀](<https://example.org>) **öx**");
    }
    for odd in [
        json!("x"),
        json!([5, {}]),
        json!({"type": "bold"}),
        Value::Null,
    ] {
        let update = private(&json!({"text": "hi", "entities": odd}));
        assert_eq!((update.text.as_str(), update.spans.len()), ("hi", 0));
    }
}

#[test]
fn what_is_answered_and_forwarded_is_read() {
    let update = private(
        &json!({"text": "yes", "reply_to_message": {"message_id": 3, "date": 1,
        "from": {"id": 12345, "is_bot": true, "first_name": "Bot"},
        "chat": {"id": 600, "type": "private"}, "text": "Tea or coffee?"},
        "quote": {"text": "Tea", "position": 0}}),
    );
    let quoted = Quoted {
        message: "3".to_owned(),
        text: "Tea".to_owned(),
        sender: Some("12345".to_owned()),
    };
    assert_eq!(update.quoted, Some(quoted));
    let elsewhere = private(&json!({"text": "yes", "external_reply": {"message_id": 9,
        "origin": {"type": "channel", "chat": {"id": -1009, "type": "channel", "title": "News"}, "message_id": 9, "date": 1}}}));
    let quoted = elsewhere.quoted.unwrap();
    assert_eq!(
        (quoted.message.as_str(), quoted.sender.as_deref()),
        ("9", Some("-1009"))
    );
    // What stands for the topic is no message that was answered.
    let topic = said(&json!({"message_thread_id": 42, "is_topic_message": true,
        "reply_to_message": {"message_id": 42, "chat": {"id": -1}, "forum_topic_created": {"name": "T"}}}));
    assert_eq!(topic.quoted, None);
    for (origin, id, name) in [
        (
            json!({"type": "user", "sender_user": {"id": 7, "first_name": "B", "last_name": "C"}}),
            Some("7"),
            "B C",
        ),
        (
            json!({"type": "hidden_user", "sender_user_name": "Hidden"}),
            None,
            "Hidden",
        ),
        (
            json!({"type": "chat", "sender_chat": {"id": -7, "title": "G"}}),
            Some("-7"),
            "G",
        ),
        (
            json!({"type": "channel", "chat": {"id": -8, "title": "N"}, "message_id": 1}),
            Some("-8"),
            "N",
        ),
    ] {
        let update = private(&json!({"text": "x", "forward_origin": origin}));
        let id = id.map(str::to_owned);
        assert_eq!(
            update.forwarded,
            Some(Forwarded {
                id,
                name: name.to_owned()
            })
        );
    }
    let odd =
        private(&json!({"text": "x", "forward_origin": 5, "reply_to_message": [], "quote": "x"}));
    assert_eq!(
        (odd.text.as_str(), odd.forwarded, odd.quoted),
        ("x", None, None)
    );
}

/// A content that we do not know is a turn all the same, and is named.
#[test]
fn other_contents_are_named() {
    for (fields, event, text) in [
        (
            json!({"dice": {"emoji": "🎲", "value": 3}, "has_protected_content": true}),
            "message.dice",
            "",
        ),
        (
            json!({"poll": {"id": "1", "question": "?"}, "via_bot": {"id": 1}}),
            "message.poll",
            "",
        ),
        (
            json!({"hologram": {"file_id": "x"}, "effect_id": "7"}),
            "message.hologram",
            "",
        ),
        (
            json!({"paid_media": {"star_count": 1}, "caption": "pay"}),
            "message.paid_media",
            "pay",
        ),
        (
            json!({"web_app_data": {"data": "{\"n\":1}", "button_text": "Open"}}),
            "message.web_app_data",
            "{\"n\":1}",
        ),
        (
            json!({"successful_payment": {"currency": "XTR", "total_amount": 1, "invoice_payload": "order-7"}}),
            "successful_payment",
            "order-7",
        ),
        (
            json!({"users_shared": {"request_id": 1, "users": []}}),
            "message.users_shared",
            "",
        ),
        (json!({}), "message.empty", ""),
    ] {
        let update = private(&fields);
        assert_eq!(update.kind, Kind::Message, "{fields}");
        assert_eq!((update.event.as_str(), update.text.as_str()), (event, text));
        assert!(update.files.is_empty());
    }
    // A text that is empty is a text.
    assert_eq!(private(&json!({"text": ""})).event, "");
    // Nobody said these.
    for field in [
        "pinned_message",
        "new_chat_title",
        "forum_topic_created",
        "video_chat_participants_invited",
        "migrate_from_chat_id",
    ] {
        let value = match field {
            "migrate_from_chat_id" => json!(-5),
            _ => json!({"message_id": 1}),
        };
        let update = private(&json!({ field: value }));
        assert_eq!(
            (update.kind, update.event),
            (Kind::Other, format!("message.{field}"))
        );
    }
}

/// What is there and cannot be read is kept, unless there is something else to read.
#[test]
fn a_content_that_cannot_be_read_is_kept() {
    for fields in [
        json!({"document": "x"}),
        json!({"photo": [{"width": 1}]}),
        json!({"location": {"latitude": "north"}}),
        json!({"voice": {"file_id": ""}}),
        json!({"text": {}}),
    ] {
        let update = private(&fields);
        assert_eq!(update.kind, Kind::Unreadable, "{fields}");
        assert_eq!(update.id.0, "1");
    }
    // Why, with the field.
    let odd = private(&json!({"text": {}}));
    assert!(odd.text.contains("`message.text`"), "{}", odd.text);
    let said = private(&json!({"voice": {"file_id": ""}, "caption": "listen"}));
    assert_eq!((said.kind, said.text.as_str()), (Kind::Message, "listen"));
}

#[test]
fn edits_keep_what_they_hold() {
    let voice = json!({"voice": {"file_id": "v"}, "caption": "b", "text": null});
    for event in ["edited_message", "edited_channel_post"] {
        let update = one(&json!({"update_id": 1, event: message(&voice)}));
        assert_eq!((update.kind, update.event.as_str()), (Kind::Edited, event));
        assert_eq!((update.text.as_str(), update.files.len()), ("b", 1));
    }
}

/// In a business account's chats: what the customer says is said to the bot, what the owner
/// writes is not.
#[test]
fn a_business_chat_is_its_customers() {
    let of = |from: i64, event: &str| {
        let fields = json!({"from": {"id": from}, "chat": {"id": 600, "type": "private"},
            "business_connection_id": "b"});
        one(&json!({"update_id": 1, event: message(&fields)}))
    };
    let update = of(600, "business_message");
    assert_eq!(
        (update.kind, update.address.as_str()),
        (Kind::Message, "600")
    );
    assert_eq!(update.within, r#"{"business_connection_id":"b"}"#);
    assert_eq!(of(600, "edited_business_message").kind, Kind::Edited);
    for event in ["business_message", "edited_business_message"] {
        let owners = of(1, event);
        assert_eq!(
            (owners.kind, owners.event.as_str()),
            (Kind::Business, event)
        );
        assert_eq!(
            (owners.dialog.user_id.as_str(), owners.text.as_str()),
            ("1", "hi")
        );
    }
}

/// A message tells who came or went; of the bot itself another update does.
#[test]
fn members_come_and_go_by_message() {
    let bot: i64 = 12345;
    let telegram = telegram_bot();
    let of = |fields: &Value| {
        let mut message = message(fields);
        message["text"] = Value::Null;
        let body = json!({"update_id": 1, "message": message}).to_string();
        match receive(telegram.as_ref(), body.as_bytes()) {
            Ok(Received::Updates(mut updates)) => updates.remove(0),
            other => panic!("{other:?}"),
        }
    };
    let member = |id: i64| json!({"id": id, "is_bot": false, "first_name": "M"});
    let joined = of(&json!({"new_chat_members": [member(bot), member(7), member(8)]}));
    assert_eq!(
        (joined.kind, joined.event.as_str()),
        (Kind::Joined, "message.new_chat_members")
    );
    assert_eq!(joined.dialog.user_id, "7");
    assert_eq!(joined.sender.unwrap().name, "M");
    let left = of(&json!({"left_chat_member": member(7)}));
    assert_eq!((left.kind, left.dialog.user_id.as_str()), (Kind::Left, "7"));
    for own in [
        json!({"new_chat_members": [member(bot)]}),
        json!({"left_chat_member": member(bot)}),
    ] {
        assert_eq!(of(&own).kind, Kind::Other);
    }
}

/// What a group is called since it became a supergroup is known from then on.
#[test]
fn a_group_tells_its_new_id() {
    let telegram = telegram_bot();
    let moved = json!({"update_id": 1, "message": {"message_id": 1, "date": 1, "from": {"id": 600},
        "chat": {"id": -777, "type": "group"}, "migrate_to_chat_id": -1_000_000_000_777_i64}});
    receive(telegram.as_ref(), moved.to_string().as_bytes()).unwrap();
    let said = json!({"update_id": 2, "message": {"message_id": 1, "date": 1, "from": {"id": 600},
        "chat": {"id": -777, "type": "group"}, "text": "hi"}});
    let Ok(Received::Updates(updates)) = receive(telegram.as_ref(), said.to_string().as_bytes())
    else {
        panic!("an update");
    };
    let plan = telegram.plan(&updates[0], &["hi".into()]).unwrap();
    let call: Value = serde_json::from_slice(&plan.answer).unwrap();
    assert_eq!(call["chat_id"], "-1000000000777");
}
