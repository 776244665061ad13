//! What a reply becomes, and what is refused.

use super::*;
use crate::author::message::{
    Attachment, Button, Contact, FileKind, Keyboard, Location, Press, Request, Target,
};

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
