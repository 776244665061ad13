//! What the webhooks bring: texts, files, places, buttons, and what is no message.

use super::*;
use crate::author::message::{ChatKind, FileKind};

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
