//! What we call: each action as a method and its parameters. With `TURNKEY_DUMP_CALLS` set
//! to a file the calls are written there, a JSON object a line: `judged.rs` has other
//! programs' models of the Bot API read them.

use std::io::Write;

use super::*;
use crate::author::message::{
    Attachment, Button, Contact, FileKind, Keyboard, Location, Press, Request, Target,
};

pub(super) const CHAT: &str = "-1001";

/// The call of an action that fits as it is.
fn call_within(action: Action, within: &str) -> (String, Value, usize) {
    let fitting = telegram_bot().fit_all(&[action]).unwrap();
    assert_eq!(fitting.len(), 1, "{fitting:?}");
    let (method, params, uploads) = telegram::call_of(&fitting[0], CHAT, within).unwrap();
    dump(&method, &params);
    (method, params, uploads)
}

fn call(action: impl Into<Action>) -> (String, Value) {
    let (method, params, _) = call_within(action.into(), "");
    (method, params)
}

pub(super) fn dump(method: &str, params: &Value) {
    let Some(path) = std::env::var_os("TURNKEY_DUMP_CALLS") else {
        return;
    };
    let line = format!("{}\n", json!({"method": method, "params": params}));
    let file = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(path);
    file.unwrap().write_all(line.as_bytes()).unwrap();
}

fn edit(message: &str, reply: impl Into<Reply>) -> Action {
    Action::Edit {
        message: Target::Message(message.to_owned()),
        reply: reply.into(),
    }
}

fn refused(action: impl Into<Action>) -> String {
    telegram_bot().fit_all(&[action.into()]).unwrap_err()
}

pub(super) fn any(method: &str, params: Value) -> Action {
    Action::Call {
        method: method.to_owned(),
        params,
        name: None,
    }
}

#[test]
fn texts() {
    assert_eq!(
        call("hi"),
        (
            "sendMessage".to_owned(),
            json!({"chat_id": CHAT, "text": "hi"})
        )
    );
    let (_, params) = call(
        Reply::markup("**😀** [b](https://e.org) _i_ ~~s~~ `c`\n```rust\nx\n```\n> q")
            .silent()
            .protected()
            .no_preview()
            .quoting(Target::Message("55".to_owned())),
    );
    assert_eq!(params["text"], "😀 b i s c\n\nx\n\nq");
    assert_eq!(
        params["entities"],
        json!([{"type": "bold", "offset": 0, "length": 2},
            {"type": "text_link", "offset": 3, "length": 1, "url": "https://e.org"},
            {"type": "italic", "offset": 5, "length": 1},
            {"type": "strikethrough", "offset": 7, "length": 1},
            {"type": "code", "offset": 9, "length": 1},
            {"type": "pre", "offset": 12, "length": 1, "language": "rust"},
            {"type": "blockquote", "offset": 15, "length": 1}])
    );
    assert_eq!(params["disable_notification"], true);
    assert_eq!(params["protect_content"], true);
    assert_eq!(params["link_preview_options"], json!({"is_disabled": true}));
    assert_eq!(
        params["reply_parameters"],
        json!({"message_id": 55, "allow_sending_without_reply": true})
    );
    assert!(params.get("parse_mode").is_none());
    let (_, html) = call(Reply::html("<u>a</u> <b>b</b>"));
    assert_eq!(html["entities"][0]["type"], "underline");
    // Of another chat.
    let (_, quoted) = call(Reply::from("x").quoting(Target::Message("-1002/5".to_owned())));
    assert_eq!(quoted["reply_parameters"]["chat_id"], "-1002");
    let (_, quoted) = call(Reply::from("x").quoting(Target::Message("-1001/5".to_owned())));
    assert!(quoted["reply_parameters"].get("chat_id").is_none());
}

#[test]
fn replies_go_where_the_message_was() {
    let within =
        r#"{"message_thread_id":42,"direct_messages_topic_id":7,"business_connection_id":"b"}"#;
    for reply in [
        Reply::from("x"),
        Reply::photo("https://e.org/1.png"),
        Reply::files([Attachment::photo("a"), Attachment::photo("b")]),
        Reply::location(Location::new(1.0, 2.0)),
    ] {
        let (method, params, _) = call_within(reply.into(), within);
        assert_eq!(params["message_thread_id"], 42, "{method}");
        assert_eq!(params["direct_messages_topic_id"], 7);
        assert_eq!(params["business_connection_id"], "b");
    }
    let (_, params, _) = call_within(edit("5", "x"), within);
    assert_eq!(
        params,
        json!({"chat_id": CHAT, "message_id": 5, "text": "x", "business_connection_id": "b"})
    );
    let gone = Action::Delete {
        message: Target::Message("5".to_owned()),
    };
    let (method, params, _) = call_within(gone, within);
    assert_eq!(
        (method.as_str(), params),
        (
            "deleteBusinessMessages",
            json!({"business_connection_id": "b", "message_ids": [5]})
        )
    );
    let (_, params, _) = call_within(
        any("sendDice", json!({"emoji": "🎲"})),
        r#"{"message_thread_id":42}"#,
    );
    assert_eq!(
        params,
        json!({"chat_id": CHAT, "emoji": "🎲", "message_thread_id": 42})
    );
}

#[test]
fn buttons_and_keyboards() {
    let (_, params) = call(
        Reply::from("x")
            .row([Button::new("a", "1"), Button::link("b", "https://e.org")])
            .row([Button::that(
                "c",
                Press::WebApp("https://e.org/app".to_owned()),
            )]),
    );
    assert_eq!(
        params["reply_markup"],
        json!({"inline_keyboard": [
            [{"text": "a", "callback_data": "1"}, {"text": "b", "url": "https://e.org"}],
            [{"text": "c", "web_app": {"url": "https://e.org/app"}}]]})
    );
    let keys = || {
        vec![vec![
            Button::that("say", Press::Say),
            Button::that("me", Press::Request(Request::Contact)),
            Button::that("here", Press::Request(Request::Location)),
            Button::that("app", Press::WebApp("https://e.org/app".to_owned())),
        ]]
    };
    let (_, params) = call(Reply::from("x").keyboard(Keyboard::Rows(keys())));
    let rows = json!([[{"text": "say"}, {"text": "me", "request_contact": true},
        {"text": "here", "request_location": true}, {"text": "app", "web_app": {"url": "https://e.org/app"}}]]);
    assert_eq!(
        params["reply_markup"],
        json!({"keyboard": rows, "resize_keyboard": true})
    );
    let (_, params) = call(Reply::from("x").keyboard(Keyboard::Once(keys())));
    assert_eq!(params["reply_markup"]["one_time_keyboard"], true);
    let (_, params) = call(Reply::photo("id").keyboard(Keyboard::Remove));
    assert_eq!(params["reply_markup"], json!({"remove_keyboard": true}));
    // More than the apps show in a row go on in the next.
    let wide = Reply::from("x").row((0..20).map(|n| Button::new(n.to_string(), "1")));
    let (_, params) = call(wide);
    let rows = params["reply_markup"]["inline_keyboard"]
        .as_array()
        .unwrap();
    assert_eq!(
        rows.iter()
            .map(|row| row.as_array().unwrap().len())
            .collect::<Vec<_>>(),
        [8, 8, 4]
    );

    let under = |press| refused(Reply::from("x").row([Button::that("b", press)]));
    assert!(under(Press::Phone("+43".to_owned())).contains("call a number"));
    assert!(under(Press::Request(Request::Contact)).contains("keyboard"));
    assert!(under(Press::Say).contains("keyboard"));
    let key = |press| {
        refused(Reply::from("x").keyboard(Keyboard::Rows(vec![vec![Button::that("k", press)]])))
    };
    for press in [
        Press::Data("1".to_owned()),
        Press::Link("https://e.org".to_owned()),
        Press::Phone("1".to_owned()),
    ] {
        assert!(key(press).contains("\"k\""));
    }
    assert!(refused(Reply::from("x").keyboard(Keyboard::Rows(Vec::new()))).contains("Remove"));
    let both = Reply::from("x").button("a", "1").keyboard(Keyboard::Remove);
    assert!(refused(both).contains("either buttons or a keyboard"));
    assert!(refused(Reply::from("x").button("a", "x".repeat(65))).contains("64"));
}

#[test]
fn files() {
    for (kind, method, field) in [
        (FileKind::Photo, "sendPhoto", "photo"),
        (FileKind::Document, "sendDocument", "document"),
        (FileKind::Voice, "sendVoice", "voice"),
        (FileKind::Audio, "sendAudio", "audio"),
        (FileKind::Video, "sendVideo", "video"),
        (FileKind::Animation, "sendAnimation", "animation"),
    ] {
        for from in ["https://e.org/1", "AgACAgQAAx"] {
            let reply = Reply::file(Attachment::new(kind, from))
                .caption("c")
                .button("a", "1");
            let (called, params) = call(reply);
            assert_eq!(called, method);
            assert_eq!(
                params,
                json!({"chat_id": CHAT, field: from, "caption": "c",
                "reply_markup": {"inline_keyboard": [[{"text": "a", "callback_data": "1"}]]}})
            );
        }
        let from_the_box = Reply::file(Attachment::new(kind, "/srv/a.bin"));
        let bytes = Reply::file(Attachment::bytes(kind, "a.bin", [1, 2]));
        for reply in [from_the_box, bytes] {
            let (called, params, uploads) = call_within(reply.into(), "");
            assert_eq!((called.as_str(), uploads), (method, 1));
            assert_eq!(params[field], "attach://file0");
        }
    }
    for (kind, method, field) in [
        (FileKind::Sticker, "sendSticker", "sticker"),
        (FileKind::VideoNote, "sendVideoNote", "video_note"),
    ] {
        let (called, params) = call(Reply::file(Attachment::id(kind, "x")));
        assert_eq!(
            (called.as_str(), params),
            (method, json!({"chat_id": CHAT, field: "x"}))
        );
        // These have no text: it follows.
        let said = Reply::file(Attachment::id(kind, "x"))
            .caption("c")
            .button("a", "1");
        let messages = telegram_bot().fit(&said).unwrap();
        assert_eq!(
            messages,
            [
                Reply::file(Attachment::id(kind, "x")),
                Reply::from("c").button("a", "1")
            ]
        );
    }
    let note = Attachment::new(FileKind::VideoNote, "https://e.org/1");
    assert!(refused(Reply::file(note)).contains("video notes"));
    let markup = Reply {
        format: crate::author::message::Format::Markup,
        ..Reply::photo("x").caption("**b**")
    };
    let (_, params) = call(markup);
    assert_eq!(
        params["caption_entities"],
        json!([{"type": "bold", "offset": 0, "length": 1}])
    );
}

#[test]
fn albums() {
    let photo = |name: &str| Attachment::photo(format!("https://e.org/{name}"));
    let video = Attachment::new(FileKind::Video, "/srv/v.mp4");
    let album = Reply::files([photo("1"), video, photo("3")])
        .caption("c")
        .silent();
    let (method, params, uploads) = call_within(album.into(), "");
    assert_eq!((method.as_str(), uploads), ("sendMediaGroup", 1));
    assert_eq!(
        params,
        json!({"chat_id": CHAT, "disable_notification": true, "media": [
            {"type": "photo", "media": "https://e.org/1", "caption": "c"},
            {"type": "video", "media": "attach://file0"},
            {"type": "photo", "media": "https://e.org/3"}]})
    );
    // What cannot be together is not, in the author's order.
    let document = |name: &str| Attachment::id(FileKind::Document, name);
    let mixed = [
        photo("1"),
        photo("2"),
        document("3"),
        document("4"),
        Attachment::id(FileKind::Voice, "5"),
        Attachment::id(FileKind::Voice, "6"),
        photo("7"),
    ];
    let messages = telegram_bot()
        .fit(&Reply::files(mixed).caption("c"))
        .unwrap();
    let sizes: Vec<_> = messages.iter().map(|message| message.files.len()).collect();
    assert_eq!(sizes, [2, 2, 1, 1, 1]);
    assert_eq!(messages[0].text, "c");
    for message in messages {
        call(message);
    }
    let many = Reply::files((0..23).map(|n| photo(&n.to_string())));
    let messages = telegram_bot().fit(&many).unwrap();
    assert_eq!(
        messages
            .iter()
            .map(|message| message.files.len())
            .collect::<Vec<_>>(),
        [10, 10, 3]
    );
    // An album has no buttons: its text has.
    let asks = Reply::files([photo("1"), photo("2")])
        .caption("Which?")
        .button("1", "1")
        .named("ask");
    let messages = telegram_bot().fit(&asks).unwrap();
    assert_eq!(
        messages[1],
        Reply::from("Which?").button("1", "1").named("ask")
    );
    let mute = Reply::files([photo("1"), photo("2")]).button("1", "1");
    assert!(refused(mute).contains("album"));
}

#[test]
fn places_and_contacts() {
    let mut place = Location::new(48.2, 16.37);
    let (method, params) = call(Reply::location(place.clone()));
    assert_eq!(
        (method.as_str(), params),
        (
            "sendLocation",
            json!({"chat_id": CHAT, "latitude": 48.2, "longitude": 16.37})
        )
    );
    place.title = Some("Café".to_owned());
    let (method, params) = call(Reply::location(place.clone()));
    assert_eq!(
        (method.as_str(), &params["title"], &params["address"]),
        ("sendVenue", &json!("Café"), &json!(""))
    );
    place.address = Some("Street 5".to_owned());
    let (_, params) = call(Reply::location(place.clone()));
    assert_eq!(params["address"], "Street 5");
    let (method, params) = call(Reply::contact(Contact::new("+43", "Ann Bee")).button("a", "1"));
    assert_eq!(method, "sendContact");
    assert_eq!(
        (&params["phone_number"], &params["first_name"]),
        (&json!("+43"), &json!("Ann Bee"))
    );
    let (_, params) = call(Reply::contact(Contact::new("+43", "")));
    assert_eq!(params["first_name"], "+43");
    let with_text = Reply {
        text: "Here".to_owned(),
        ..Reply::location(place)
    };
    assert_eq!(telegram_bot().fit(&with_text).unwrap().len(), 2);
}

#[test]
fn edits_and_deletions() {
    let menu = || Reply::markup("**new**").button("a", "1");
    let buttons = json!({"inline_keyboard": [[{"text": "a", "callback_data": "1"}]]});
    let (method, params) = call(edit("-1002/5", menu()));
    assert_eq!(method, "editMessageText");
    assert_eq!(
        params,
        json!({"chat_id": "-1002", "message_id": 5, "text": "new",
        "entities": [{"type": "bold", "offset": 0, "length": 3}], "reply_markup": buttons})
    );
    let (_, params) = call(edit("AgAA_w", menu()));
    assert_eq!(
        (&params["inline_message_id"], params.get("chat_id")),
        (&json!("AgAA_w"), None)
    );
    for kind in [
        FileKind::Photo,
        FileKind::Document,
        FileKind::Audio,
        FileKind::Video,
        FileKind::Animation,
    ] {
        let file = Reply::file(Attachment::new(kind, "/srv/1.bin")).caption("c");
        let (method, params, uploads) = call_within(edit("5", file), "");
        assert_eq!((method.as_str(), uploads), ("editMessageMedia", 1));
        assert_eq!(
            params,
            json!({"chat_id": CHAT, "message_id": 5,
            "media": {"type": kind.name(), "media": "attach://file0", "caption": "c"}})
        );
    }
    // The buttons alone, and none any more.
    let (method, params) = call(edit("5", Reply::default().button("a", "1")));
    assert_eq!(
        (method.as_str(), &params["reply_markup"]),
        ("editMessageReplyMarkup", &buttons)
    );
    let (method, params) = call(edit("5", Reply::default()));
    assert_eq!(
        (method.as_str(), params),
        (
            "editMessageReplyMarkup",
            json!({"chat_id": CHAT, "message_id": 5})
        )
    );
    for (reply, why) in [
        (Reply::from("x").keyboard(Keyboard::Remove), "no keyboard"),
        (Reply::location(Location::new(1.0, 2.0)), "no place"),
        (
            Reply::file(Attachment::id(FileKind::Sticker, "x")),
            "no sticker",
        ),
        (
            Reply::files([Attachment::photo("a"), Attachment::photo("b")]).caption("x"),
            "",
        ),
        (Reply::from("x".repeat(5000)), "one message"),
        (Reply::from("  "), "a text or a file"),
    ] {
        let files = reply.files.len();
        let refused = telegram_bot().fit_all(&[edit("5", reply)]);
        match files {
            2 => assert!(refused.unwrap_err().contains("album")),
            _ => assert!(refused.unwrap_err().contains(why), "{why}"),
        }
    }
    let (method, params) = call(Action::Delete {
        message: Target::Message("-1002/5".to_owned()),
    });
    assert_eq!(
        (method.as_str(), params),
        (
            "deleteMessage",
            json!({"chat_id": "-1002", "message_id": 5})
        )
    );
    let inline = Action::Delete {
        message: Target::Message("AgAA_w".to_owned()),
    };
    assert!(
        telegram::call_of(&inline, CHAT, "")
            .unwrap_err()
            .contains("only be edited")
    );
}

/// The chat is filled in where a method is about one and none is named.
#[test]
fn any_method_can_be_called() {
    let invoice = json!({"title": "Tea", "description": "Green", "payload": "7", "currency": "XTR",
        "prices": [{"label": "Tea", "amount": 1}]});
    let (method, params) = call(any("sendInvoice", invoice));
    assert_eq!(
        (method.as_str(), &params["chat_id"]),
        ("sendInvoice", &json!(CHAT))
    );
    for method in [
        "getChatMember",
        "banChatMember",
        "pinChatMessage",
        "setMessageReaction",
        "createForumTopic",
        "editMessageText",
        "deleteMessages",
        "approveChatJoinRequest",
        "stopPoll",
        "sendChatAction",
        "leaveChat",
        "unpinAllChatMessages",
        "restrictChatMember",
        "setChatTitle",
        "getChat",
        "sendGift",
        "SENDDICE",
    ] {
        let (_, params, _) = telegram::call_of(&any(method, Value::Null), CHAT, "").unwrap();
        assert_eq!(params, json!({"chat_id": CHAT}), "{method}");
    }
    for method in [
        "getMe",
        "answerInlineQuery",
        "setMyCommands",
        "getFile",
        "setChatMenuButton",
        "refundStarPayment",
        "getUserProfilePhotos",
        "deleteMyCommands",
        "deleteStickerSet",
        "sendChatJoinRequestWebApp",
    ] {
        let (_, params, _) = telegram::call_of(&any(method, Value::Null), CHAT, "").unwrap();
        assert_eq!(params, json!({}), "{method}");
    }
    let to_others = json!({"chat_id": 7, "message_id": 5});
    let (_, params) = call(any("forwardMessage", to_others));
    assert_eq!(
        params,
        json!({"chat_id": 7, "message_id": 5, "from_chat_id": CHAT})
    );
    let (_, params) = call(any(
        "editMessageText",
        json!({"inline_message_id": "x", "text": "y"}),
    ));
    assert!(params.get("chat_id").is_none());
    let (_, params) = call(any("sendGift", json!({"user_id": 7, "gift_id": "1"})));
    assert!(params.get("chat_id").is_none());
    for (method, params) in [
        ("", Value::Null),
        ("send/../x", Value::Null),
        ("getUpdates", Value::Null),
        ("setWebhook", json!({})),
        ("logOut", json!({})),
        ("sendDice", json!([1])),
    ] {
        assert!(!refused(any(method, params)).is_empty(), "{method}");
    }
    // Who asks to be let in is written to in private; the group is meant all the same.
    let asks = one(
        &json!({"update_id": 1, "chat_join_request": {"chat": {"id": -1005, "type": "group"},
        "from": {"id": 600}, "user_chat_id": 600, "date": 1}}),
    );
    let lets_in = any("approveChatJoinRequest", json!({"user_id": 600}));
    let plan = telegram_bot()
        .plan(&asks, &[lets_in, any("sendDice", Value::Null)])
        .unwrap();
    let params = |action: &Action| match action {
        Action::Call { params, .. } => params.clone(),
        other => panic!("{other:?}"),
    };
    assert_eq!(
        params(&plan.send[0]),
        json!({"user_id": 600, "chat_id": "-1005"})
    );
    assert_eq!(params(&plan.send[1]), json!({}));
}

#[test]
fn long_texts_are_cut_without_breaking_their_formatting() {
    let bold = format!("**{}**", "word ".repeat(1500).trim());
    let messages = telegram_bot().fit(&Reply::markup(bold)).unwrap();
    assert!(messages.len() == 2 && messages.iter().all(|message| message.spans.len() == 1));
    // More formatting than a message may have: it goes on in the next.
    let many = "*i* ".repeat(250);
    let messages = telegram_bot().fit(&Reply::markup(many)).unwrap();
    let spans: Vec<_> = messages.iter().map(|message| message.spans.len()).collect();
    assert_eq!(spans, [100, 100, 50]);
    let caption = Reply::photo("x").caption("c".repeat(1500)).button("a", "1");
    let messages = telegram_bot().fit(&caption).unwrap();
    assert_eq!(
        (messages[0].text.len(), messages[1].text.len()),
        (1024, 476)
    );
    assert_eq!(
        (messages[0].buttons.len(), messages[1].buttons.len()),
        (0, 1)
    );
}
