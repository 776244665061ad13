//! WhatsApp: each kind of message that its webhooks bring, what a reply becomes, and what its
//! API's errors mean.

mod judged;

use serde_json::{Value, json};

use super::super::whatsapp;
use super::*;
use crate::author::message::{
    Attachment, Button, ChatKind, Contact, FileKind, Keyboard, Location, Press, Request, Target,
};

const NUMBER: &str = "106540352242922";
const USER: &str = "US.13491208655302741918";

/// A body with this value.
fn body(value: Value) -> String {
    let mut full = json!({
        "messaging_product": "whatsapp",
        "metadata": {"display_phone_number": "15550783881", "phone_number_id": NUMBER},
    });
    for (field, part) in value.as_object().unwrap() {
        full[field] = part.clone();
    }
    json!({"object": "whatsapp_business_account", "entry": [{"id": "102290129340398",
        "changes": [{"value": full, "field": "messages"}]}]})
    .to_string()
}

/// A message of Sheena's with these fields.
fn message(fields: Value) -> String {
    let mut message = json!({"from": "16505551234", "from_user_id": USER, "id": "wamid.HBg=",
        "timestamp": "1749416383"});
    for (field, part) in fields.as_object().unwrap() {
        message[field] = part.clone();
    }
    let person = json!({"profile": {"name": "Sheena", "username": "sheena"},
        "wa_id": "16505551234", "user_id": USER});
    body(json!({"contacts": [person], "messages": [message]}))
}

fn one(fields: Value) -> Update {
    let mut found = updates("whatsapp", &message(fields.clone()));
    assert_eq!(found.len(), 1, "{fields}");
    found.remove(0)
}

#[test]
fn texts_and_who_wrote_them() {
    let update = one(json!({"type": "text", "text": {"body": "hi"},
        "context": {"from": "15550783881", "id": "wamid.Q="}}));
    assert_eq!((update.kind, update.text.as_str()), (Kind::Message, "hi"));
    assert_eq!(update.dialog.user_id, USER);
    assert_eq!(
        (update.address.as_str(), update.message.as_str()),
        (USER, "wamid.HBg=")
    );
    assert_eq!(update.id.0, "wamid.HBg=");
    let sender = update.sender.unwrap();
    assert_eq!(
        (sender.name.as_str(), sender.username.as_deref()),
        ("Sheena", Some("sheena"))
    );
    let quoted = update.quoted.unwrap();
    assert_eq!(
        (quoted.message.as_str(), quoted.sender.as_deref()),
        ("wamid.Q=", Some("15550783881"))
    );
    let forwarded = one(json!({"type": "text", "text": {"body": "x"},
        "context": {"frequently_forwarded": true}}));
    assert!(forwarded.forwarded.is_some() && forwarded.quoted.is_none());
    // An ad that led here is in the raw JSON.
    let of_an_ad = one(json!({"type": "text", "text": {"body": "x"},
        "referral": {"source_type": "ad", "ctwa_clid": "c"}}));
    assert!(String::from_utf8_lossy(of_an_ad.raw()).contains("ctwa_clid"));
}

/// A user with a name may have no number, and one of before has no id.
#[test]
fn users_are_known_by_their_id_else_by_their_number() {
    let text = json!({"id": "wamid.1", "type": "text", "text": {"body": "hi"}});
    let of = |fields: Value, people: Value| {
        let mut message = text.clone();
        for (field, part) in fields.as_object().unwrap() {
            message[field] = part.clone();
        }
        let body = body(json!({"contacts": people, "messages": [message]}));
        let update = updates("whatsapp", &body).remove(0);
        (update.kind, update.dialog.user_id)
    };
    let known = (Kind::Message, USER.to_owned());
    let nobody = json!([]);
    assert_eq!(of(json!({"from_user_id": USER}), nobody.clone()), known);
    assert_eq!(
        of(
            json!({"from": "1650"}),
            json!([{"wa_id": "1650", "user_id": USER}])
        ),
        known
    );
    assert_eq!(
        of(json!({"from": "1650"}), nobody.clone()),
        (Kind::Message, "1650".to_owned())
    );
    assert_eq!(of(json!({}), nobody).0, Kind::Unreadable);
}

#[test]
fn files_of_all_sorts() {
    for (sort, content, kind) in [
        (
            "image",
            json!({"id": "1", "mime_type": "image/jpeg", "caption": "c"}),
            FileKind::Photo,
        ),
        (
            "video",
            json!({"id": "1", "mime_type": "image/jpeg", "caption": "c"}),
            FileKind::Video,
        ),
        (
            "document",
            json!({"id": "1", "mime_type": "image/jpeg", "caption": "c", "filename": "a.jpg"}),
            FileKind::Document,
        ),
        ("audio", json!({"id": "1", "voice": false}), FileKind::Audio),
        ("audio", json!({"id": "1", "voice": true}), FileKind::Voice),
        (
            "sticker",
            json!({"id": "1", "animated": false}),
            FileKind::Sticker,
        ),
    ] {
        let update = one(json!({"type": sort, sort: content}));
        let file = &update.files[0];
        assert_eq!((file.kind, file.id.as_deref()), (kind, Some("1")), "{sort}");
        if content["caption"] == "c" {
            assert_eq!(update.text, "c");
            assert_eq!(file.media_type.as_deref(), Some("image/jpeg"));
        }
        assert_eq!(file.name.is_some(), sort == "document");
    }
    let lost = one(json!({"type": "image", "image": {"mime_type": "image/jpeg"}}));
    assert_eq!(
        (lost.kind, lost.dialog.user_id.as_str()),
        (Kind::Unreadable, USER)
    );
}

#[test]
fn places_and_contacts() {
    let place = json!({"latitude": 48.2, "longitude": "16.37", "name": "Café", "address": "A 5"});
    let update = one(json!({"type": "location", "location": place}));
    let location = update.location.unwrap();
    assert_eq!((location.latitude, location.longitude), (48.2, 16.37));
    assert_eq!(
        (location.title.as_deref(), location.address.as_deref()),
        (Some("Café"), Some("A 5"))
    );
    let cards = json!([{"name": {"formatted_name": "Ann B", "first_name": "Ann"},
        "phones": [{"phone": "+43 1", "wa_id": "431", "type": "CELL"}]}, {"name": null}]);
    let contact = one(json!({"type": "contacts", "contacts": cards}))
        .contact
        .unwrap();
    assert_eq!(
        (contact.phone.as_str(), contact.name.as_str()),
        ("+43 1", "Ann B")
    );
    assert_eq!(contact.user_id.as_deref(), Some("431"));
}

#[test]
fn buttons_of_all_sorts() {
    let context = json!({"from": "15550783881", "id": "wamid.menu"});
    for (fields, data) in [
        (
            json!({"type": "interactive", "context": context, "interactive": {
                "type": "button_reply", "button_reply": {"id": "tea:1", "title": "Tea"}}}),
            "tea:1",
        ),
        (
            json!({"type": "interactive", "context": context, "interactive": {
                "type": "list_reply", "list_reply": {"id": "7", "title": "Tea", "description": ""}}}),
            "7",
        ),
        (
            json!({"type": "button", "context": context,
                "button": {"payload": "stop", "text": "Stop"}}),
            "stop",
        ),
        (
            json!({"type": "interactive", "context": context, "interactive": {
                "type": "nfm_reply", "nfm_reply": {"name": "flow", "body": "Sent",
                    "response_json": "{\"a\":1}"}}}),
            "{\"a\":1}",
        ),
    ] {
        let update = one(fields);
        assert_eq!(
            (update.button(), update.message.as_str()),
            (Some(data), "wamid.menu")
        );
        assert!(update.quoted.is_none());
    }
    let without = one(json!({"type": "button", "button": {"payload": null, "text": "Stop"}}));
    assert_eq!(
        (without.button(), without.message.as_str()),
        (Some("Stop"), "")
    );
    // One that says its label.
    let said = one(
        json!({"type": "interactive", "interactive": {"type": "button_reply",
        "button_reply": {"id": "turnkey:say:0", "title": "Tea"}}}),
    );
    assert_eq!((said.kind, said.text.as_str()), (Kind::Message, "Tea"));
}

#[test]
fn what_is_no_message_has_a_kind() {
    let reaction = one(json!({"type": "reaction",
        "reaction": {"message_id": "wamid.bot", "emoji": "👍"}}));
    assert_eq!(
        (reaction.kind, reaction.text.as_str()),
        (Kind::Reaction, "👍")
    );
    assert_eq!(reaction.message, "wamid.bot");
    let taken_back = one(json!({"type": "reaction", "reaction": {"message_id": "wamid.bot"}}));
    assert_eq!(
        (taken_back.kind, taken_back.text.as_str()),
        (Kind::Reaction, "")
    );
    let edit = one(
        json!({"type": "edit", "edit": {"original_message_id": "wamid.old",
        "message": {"type": "text", "text": {"body": "new"}}}}),
    );
    assert_eq!(
        (edit.kind, edit.text.as_str(), edit.message.as_str()),
        (Kind::Edited, "new", "wamid.old")
    );
    assert_eq!(
        (edit.event.as_str(), edit.id.0.as_str()),
        ("edit", "wamid.HBg=")
    );
    let opened = one(json!({"type": "request_welcome"}));
    assert_eq!(opened.kind, Kind::Opened);
    for (fields, event) in [
        (
            json!({"type": "revoke", "revoke": {"original_message_id": "wamid.old"}}),
            "revoke",
        ),
        (
            json!({"type": "order", "order": {"catalog_id": "1", "text": "soon", "product_items": []}}),
            "order",
        ),
        (
            json!({"type": "unsupported", "errors": [{"code": 131_051}]}),
            "unsupported",
        ),
        (
            json!({"type": "unsupported", "unsupported": {"type": "poll_creation"}}),
            "unsupported.poll_creation",
        ),
        (json!({"type": "interactive"}), "interactive"),
        (
            json!({"type": "interactive", "interactive": {"type": "call_permission_reply"}}),
            "interactive.call_permission_reply",
        ),
        (
            json!({"type": "of_next_year", "of_next_year": {}}),
            "of_next_year",
        ),
        (json!({}), ""),
    ] {
        let update = one(fields);
        assert_eq!((update.kind, update.event.as_str()), (Kind::Other, event));
        assert_eq!(update.dialog.user_id, USER);
    }
}

/// Who has another number has another id: the dialog's update says which it had.
#[test]
fn a_user_who_moved_is_the_new_one() {
    let of = |system: Value, more: Value| {
        let mut message = json!({"id": "wamid.s", "type": "system", "system": system});
        for (field, part) in more.as_object().unwrap() {
            message[field] = part.clone();
        }
        let update = updates("whatsapp", &body(json!({"messages": [message]}))).remove(0);
        assert_eq!(update.kind, Kind::Other);
        (update.event, update.formerly, update.dialog.user_id)
    };
    let expect = |event: &str, from: &str, to: &str| {
        (format!("system.{event}"), from.to_owned(), to.to_owned())
    };
    assert_eq!(
        of(
            json!({"type": "user_changed_user_id", "user_id": "US.2", "previous_user_id": "US.1"}),
            json!({"from_user_id": "US.2"})
        ),
        expect("user_changed_user_id", "US.1", "US.2")
    );
    for field in ["wa_id", "new_wa_id"] {
        assert_eq!(
            of(
                json!({"type": "user_changed_number", field: "222"}),
                json!({"from": "111"})
            ),
            expect("user_changed_number", "111", "222")
        );
    }
    let identity = json!({"type": "customer_identity_changed", "body": "x"});
    assert_eq!(
        of(identity, json!({"from": "111"})),
        expect("customer_identity_changed", "", "111")
    );
}

#[test]
fn every_message_of_a_body_is_read() {
    let text = |id: &str, from: &str| json!({"id": id, "from": from, "type": "text", "text": {"body": id}});
    let value = |messages: Value| {
        json!({"field": "messages", "value": {"metadata": {"phone_number_id": NUMBER},
            "messages": messages}})
    };
    let body = json!({"object": "whatsapp_business_account", "entry": [
        {"id": "1", "changes": [value(json!([text("a", "1"), text("b", "2")])), value(json!([text("c", "1")]))]},
        {"id": "1", "changes": [value(json!([text("d", "3"), {"id": "e", "from": "3", "type": "text", "text": []}]))]},
        {"id": "1", "changes": [{"field": "message_template_status_update", "value": {}},
            {"field": "smb_message_echoes", "value": {"message_echoes": [text("f", "4")]}}]},
    ]});
    let found = updates("whatsapp", &body.to_string());
    let ids: Vec<_> = found
        .iter()
        .map(|update| (update.id.0.as_str(), update.kind))
        .collect();
    use Kind::{Message, Unreadable};
    assert_eq!(
        ids,
        [
            ("a", Message),
            ("b", Message),
            ("c", Message),
            ("d", Message),
            ("e", Unreadable)
        ]
    );
    assert!(found[0].raw().starts_with(b"{") && found[0].raw().ends_with(b"}"));
    assert_eq!(found[4].dialog.user_id, "3");
}

#[test]
fn messages_to_another_number_are_kept_aside() {
    let ours = message(json!({"type": "text", "text": {"body": "hi"}}));
    let theirs = ours.replace(NUMBER, "5");
    let found = updates("whatsapp", &theirs);
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].kind, Kind::Unreadable);
    assert!(
        found[0].text.contains("phone number 5"),
        "{}",
        found[0].text
    );
    let delivered = body(json!({"statuses": [{"id": "wamid.1", "status": "delivered",
        "recipient_id": "1"}]}));
    assert!(updates("whatsapp", &delivered.replace(NUMBER, "5")).is_empty());
    assert!(updates("whatsapp", r#"{"object":"page","entry":[]}"#).is_empty());
}

#[test]
fn groups_are_answered_in_the_group() {
    let update = one(json!({"type": "text", "text": {"body": "hi"}, "group_id": "Y2Fw"}));
    let chat = update.chat.unwrap();
    assert_eq!(
        (chat.kind, chat.id.as_str()),
        (ChatKind::Group, "group:Y2Fw")
    );
    assert_eq!(update.address, "group:Y2Fw");
    let channel = channel("whatsapp");
    assert_eq!(channel.address("US.1@group:Y2Fw"), "group:Y2Fw");
    assert_eq!(channel.address(USER), USER);
}

/// Sent, delivered and read come of each message, and are no news.
#[test]
fn only_what_failed_is_heard_of_statuses() {
    let status = |status: &str, fields: Value| {
        let mut all = json!({"id": "wamid.bot", "status": status, "timestamp": "1",
            "recipient_id": "16505551234", "recipient_user_id": USER,
            "biz_opaque_callback_data": "wamid.1-7-0"});
        for (field, part) in fields.as_object().unwrap() {
            all[field] = part.clone();
        }
        body(json!({"statuses": [all]}))
    };
    let received = |body: &str| receive(channel("whatsapp").as_ref(), body.as_bytes());
    let sent = received(&status("sent", json!({})));
    assert!(
        matches!(&sent, Ok(Received::Updates(none)) if none.is_empty()),
        "{sent:?}"
    );
    for usual in ["delivered", "read", "played"] {
        let Ok(Received::WithEnds(updates, ends)) = received(&status(usual, json!({}))) else {
            panic!("{usual}")
        };
        assert!(updates.is_empty());
        let arrived = ReplyEnd::new("wamid.1-7-0", "wamid.bot", End::Arrived);
        assert_eq!(ends, [arrived]);
    }
    let errors = json!({"errors": [{"code": 131_047, "title": "Re-engagement message",
        "message": "Re-engagement message", "error_data": {"details": "more than 24 hours"}}]});
    let failed = status("failed", errors);
    let Ok(Received::WithEnds(updates, ends)) = received(&failed) else {
        panic!("{failed}");
    };
    let reason = "131047: Re-engagement message (more than 24 hours)";
    let refused = End::Refused {
        dialog: DialogKey::new("whatsapp", USER),
        reason: reason.to_owned(),
    };
    assert_eq!(ends, [ReplyEnd::new("wamid.1-7-0", "wamid.bot", refused)]);
    let update = &updates[0];
    assert_eq!(
        (update.kind, update.event.as_str(), update.text.as_str()),
        (Kind::Other, "failed", reason)
    );
    assert_eq!(
        (update.message.as_str(), update.id.0.as_str()),
        ("wamid.bot", "failed:wamid.bot")
    );
    assert!(channel("whatsapp").typing(update).is_none());
    // What was said of that and failed, too, does not go round in circles.
    let again = status(
        "failed",
        json!({"biz_opaque_callback_data": "failed:wamid.bot-8-0"}),
    );
    let received = received(&again);
    assert!(
        matches!(&received, Ok(Received::WithEnds(none, one)) if none.is_empty() && one.len() == 1),
        "{received:?}"
    );
}

#[test]
fn answers_of_whatsapps_api_are_told_apart() {
    let of = |status, code: i64| {
        let body = json!({"error": {"message": "x", "code": code, "error_subcode": 1,
            "error_data": {"messaging_product": "whatsapp", "details": "d"}}});
        meaning(whatsapp::outcome(
            &answered(status, &body.to_string()),
            SECRET,
        ))
    };
    for refused in [
        100, 131_008, 131_009, 131_047, 131_049, 131_050, 131_051, 132_001, 470,
    ] {
        assert_eq!(of(400, refused), ("refused", 0), "{refused}");
    }
    for unreachable in [131_021, 131_026, 131_030] {
        assert_eq!(of(400, unreachable), ("unreachable", 0), "{unreachable}");
    }
    for later in [1, 2, 131_000, 131_016, 131_057] {
        assert_eq!(of(500, later), ("retry", 0), "{later}");
    }
    for away in [0, 3, 10, 190, 200, 299, 368, 131_031, 131_042] {
        assert_eq!(of(401, away), ("away", 0), "{away}");
    }
    for too_many in [4, 80_007, 130_429, 133_016] {
        assert_eq!(of(400, too_many), ("all", 0), "{too_many}");
    }
    assert_eq!(of(400, 131_048), ("all", 3600));
    assert_eq!(of(400, 131_056), ("chat", 6));
    assert_eq!(of(503, 999), ("retry", 0));
    let taken = json!({"messaging_product": "whatsapp", "contacts": [{"input": "1", "wa_id": "1"}],
        "messages": [{"id": "wamid.x", "message_status": "accepted"}]});
    let sent = whatsapp::outcome(&answered(200, &taken.to_string()), SECRET).unwrap();
    assert_eq!(sent, Sent::message("wamid.x"));
}

/// What a reply becomes, as WhatsApp is told.
fn said(reply: Reply) -> Vec<Value> {
    let messages = channel("whatsapp").fit(&reply).unwrap();
    let written = messages
        .iter()
        .map(|message| whatsapp::message(message, None).unwrap());
    written.collect()
}

fn refused(reply: Reply) -> String {
    channel("whatsapp").fit(&reply).unwrap_err()
}

#[test]
fn texts_have_whatsapps_marks() {
    assert_eq!(
        said("a *b*".into()),
        [json!({"type": "text", "text": {"body": "a *b*", "preview_url": true}})]
    );
    let marked = Reply::markup("**a** [b](https://e.org)")
        .no_preview()
        .quoting(Target::Message("wamid.1".into()));
    assert_eq!(
        said(marked),
        [
            json!({"type": "text", "text": {"body": "*a* b (https://e.org)", "preview_url": false},
            "context": {"message_id": "wamid.1"}})
        ]
    );
    // It counts with its marks.
    let long = "**word** ".repeat(700);
    let parts = said(Reply::markup(long.as_str()));
    assert!(parts.len() > 1);
    let lengths = parts
        .iter()
        .map(|part| part["text"]["body"].as_str().unwrap().len());
    assert!(lengths.max() <= Some(4096));
    assert!(refused(Reply::from("x").protected()).contains("forwarded"));
}

#[test]
fn files_go_by_address_or_id() {
    let url = "https://e.org/a.jpg";
    assert_eq!(
        said(Reply::photo(url).caption("c")),
        [json!({"type": "image", "image": {"link": url, "caption": "c"}})]
    );
    let of = |kind, from: &str| said(Reply::file(Attachment::new(kind, from))).remove(0);
    assert_eq!(
        of(FileKind::Voice, "77"),
        json!({"type": "audio", "audio": {"id": "77", "voice": true}})
    );
    assert_eq!(
        of(FileKind::Audio, "77"),
        json!({"type": "audio", "audio": {"id": "77"}})
    );
    assert_eq!(
        of(FileKind::Sticker, "77"),
        json!({"type": "sticker", "sticker": {"id": "77"}})
    );
    assert_eq!(
        of(FileKind::VideoNote, "77"),
        json!({"type": "video", "video": {"id": "77"}})
    );
    let document = "https://e.org/bill.pdf";
    assert_eq!(
        of(FileKind::Document, document),
        json!({"type": "document", "document": {"link": document, "filename": "bill.pdf"}})
    );
    assert_eq!(
        of(FileKind::Animation, "https://e.org/a.gif")["type"],
        "document"
    );
    // What has no caption is followed by its text.
    let voice = Reply::file(Attachment::new(FileKind::Voice, "77")).caption("c");
    let parts = said(voice);
    assert_eq!((parts.len(), &parts[1]["text"]["body"]), (2, &json!("c")));
    // Once uploaded it has an id.
    let bytes = Reply::file(Attachment::bytes(FileKind::Photo, "a.png", [1, 2]));
    let fitting = channel("whatsapp").fit(&bytes).unwrap();
    assert_eq!(
        whatsapp::message(&fitting[0], Some("88")),
        Ok(json!({"type": "image", "image": {"id": "88"}}))
    );
    assert!(whatsapp::message(&fitting[0], None).is_err());
}

#[test]
fn places_and_contacts_are_said() {
    let mut location = Location::new(48.2, 16.37);
    location.title = Some("Café".to_owned());
    assert_eq!(
        said(Reply::location(location)),
        [
            json!({"type": "location", "location": {"latitude": 48.2, "longitude": 16.37, "name": "Café"}})
        ]
    );
    assert_eq!(
        said(Reply::contact(Contact::new("+431", "Ann"))),
        [
            json!({"type": "contacts", "contacts": [{"name": {"formatted_name": "Ann", "first_name": "Ann"},
            "phones": [{"phone": "+431", "type": "CELL"}]}]})
        ]
    );
}

fn with_buttons(count: usize) -> Reply {
    (0..count).fold(Reply::from("?"), |reply, n| {
        reply.button(format!("B{n}"), n.to_string())
    })
}

#[test]
fn buttons_are_what_fits() {
    let three = said(with_buttons(3)).remove(0);
    assert_eq!(three["interactive"]["type"], "button");
    assert_eq!(
        three["interactive"]["action"]["buttons"][2],
        json!({"type": "reply", "reply": {"id": "2", "title": "B2"}})
    );
    assert_eq!(three["interactive"]["body"], json!({"text": "?"}));
    let ten = said(with_buttons(10)).remove(0);
    assert_eq!(ten["interactive"]["type"], "list");
    let rows = &ten["interactive"]["action"]["sections"][0]["rows"];
    assert_eq!(
        (rows.as_array().unwrap().len(), &rows[9]),
        (10, &json!({"id": "9", "title": "B9"}))
    );
    let refusal = refused(with_buttons(11));
    assert!(refusal.contains("11 buttons"), "{refusal}");
    let long = said(with_buttons(4).button("A label of more than 24 units", "x")).remove(0);
    assert_eq!(
        long["interactive"]["action"]["sections"][0]["rows"][4],
        json!({"id": "x", "title": "A label of more than 24…",
            "description": "A label of more than 24 units"})
    );
    let photo = said(
        Reply::photo("https://e.org/a.jpg")
            .caption("c")
            .button("Yes", "1"),
    )
    .remove(0);
    assert_eq!(
        photo["interactive"]["header"],
        json!({"type": "image", "image": {"link": "https://e.org/a.jpg"}})
    );
    // Where a file cannot stand above buttons, its text does.
    let mut list = with_buttons(4);
    list.files = vec![Attachment::photo("https://e.org/a.jpg")];
    let parts = said(list);
    assert_eq!(
        (&parts[0]["type"], &parts[1]["interactive"]["type"]),
        (&json!("image"), &json!("list"))
    );
    let long = said(Reply::from("x ".repeat(2000)).button("Yes", "1"));
    let last = long.last().unwrap()["interactive"]["body"]["text"]
        .as_str()
        .unwrap();
    assert!(last.len() <= 1024 && long.len() > 1);
    for (reply, why) in [
        (
            Reply::photo("https://e.org/a.jpg").button("Yes", "1"),
            "under a text",
        ),
        (
            Reply::from("x").button("Yes", "1").button("No", "1"),
            "cannot tell",
        ),
        (
            Reply::from("x").button("Yes", "1").button("Yes", "2"),
            "the label",
        ),
        (Reply::from("x").button("a", "x".repeat(257)), "257 bytes"),
        (with_buttons(4).button("a", "x".repeat(201)), "201 bytes"),
    ] {
        let refusal = refused(reply);
        assert!(refusal.contains(why), "{refusal}");
    }
}

#[test]
fn buttons_of_other_sorts_have_substitutes() {
    let link = || Button::link("The menu", "https://e.org/menu");
    let alone = said(Reply::from("?").row([link()])).remove(0);
    assert_eq!(
        alone["interactive"]["action"],
        json!({"name": "cta_url", "parameters": {"display_text": "The menu", "url": "https://e.org/menu"}})
    );
    let beside = said(Reply::from("?").row([link(), Button::new("Tea", "tea")])).remove(0);
    assert_eq!(
        beside["interactive"]["body"]["text"],
        "?\nThe menu: https://e.org/menu"
    );
    assert_eq!(
        beside["interactive"]["action"]["buttons"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    let ask = |request| Button::that("Share", Press::Request(request));
    let place = said(Reply::from("Where?").row([ask(Request::Location)])).remove(0);
    assert_eq!(place["interactive"]["type"], "location_request_message");
    let number = said(Reply::from("Call?").row([ask(Request::Contact)])).remove(0);
    assert_eq!(number["interactive"]["type"], "request_contact_info");
    let two = Reply::from("?").row([ask(Request::Location), Button::new("No", "no")]);
    assert!(refused(two).contains("the only one"));
    let phone = Button::that("Call us", Press::Phone("+431".to_owned()));
    assert_eq!(
        said(Reply::from("?").row([phone]))[0]["text"]["body"],
        "?\nCall us: +431"
    );
    let keys = Keyboard::Rows(vec![vec![Button::that("Tea", Press::Say)]]);
    let keys = said(Reply::from("?").keyboard(keys)).remove(0);
    assert_eq!(
        keys["interactive"]["action"]["buttons"][0]["reply"]["id"],
        "turnkey:say:0"
    );
    let removed = said(Reply::from("bye").keyboard(Keyboard::Remove)).remove(0);
    assert_eq!(removed["type"], "text");
}

#[test]
fn what_whatsapp_cannot_do_is_refused() {
    let channel = channel("whatsapp");
    let call = |method: &str, params: Value| {
        channel.can(&Action::Call {
            method: method.to_owned(),
            params,
            name: None,
        })
    };
    let edit = Action::Edit {
        message: Target::This,
        reply: "x".into(),
    };
    assert!(channel.can(&edit).unwrap_err().contains("cannot edit"));
    let delete = Action::Delete {
        message: Target::This,
    };
    assert!(channel.can(&delete).unwrap_err().contains("cannot delete"));
    assert_eq!(
        call("messages", json!({"type": "template", "template": {}})),
        Ok(())
    );
    assert_eq!(call("GET /123", Value::Null), Ok(()));
    for wrong in ["", "/", "//e.org", "../x", "a b", "GET "] {
        assert!(call(wrong, Value::Null).is_err(), "{wrong:?}");
    }
    assert!(call("messages", json!([])).is_err());
}
