//! What pywa says of us: it writes the same for the same meaning, and reads our samples of
//! each kind of message as we do. It reads only the first message of a body.

use super::super::judged::{Judges, note};
use super::*;
use crate::author::message::{
    Attachment, Button, Contact, FileKind, Location, Press, Request, Target,
};

/// Without what says nothing, and without whom it is for.
fn bare(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let kept = fields.into_iter().filter(|(name, field)| {
                let addresses = ["messaging_product", "recipient_type", "recipient"];
                !field.is_null() && field != &json!([]) && !addresses.contains(&name.as_str())
            });
            kept.map(|(name, field)| (name, bare(field))).collect()
        }
        Value::Array(items) => items.into_iter().map(bare).collect(),
        other => other,
    }
}

/// A message of each kind that pywa knows.
fn samples() -> Vec<Value> {
    let context = json!({"from": "15550783881", "id": "wamid.menu"});
    let file = json!({"id": "1", "mime_type": "x/y", "sha256": "x"});
    let captioned = json!({"id": "1", "mime_type": "x/y", "sha256": "x", "caption": "c"});
    let document =
        json!({"id": "1", "mime_type": "x/y", "sha256": "x", "caption": "c", "filename": "a.pdf"});
    let voice = json!({"id": "1", "mime_type": "audio/ogg", "sha256": "x", "voice": true});
    let sticker = json!({"id": "1", "mime_type": "image/webp", "sha256": "x", "animated": false});
    let card = json!({"name": {"formatted_name": "Ann B", "first_name": "Ann"},
        "phones": [{"phone": "+43 1", "wa_id": "431", "type": "CELL"}]});
    let pressed = json!({"type": "button_reply", "button_reply": {"id": "tea:1", "title": "Tea"}});
    let chosen = json!({"type": "list_reply",
        "list_reply": {"id": "7", "title": "Tea", "description": "green"}});
    vec![
        json!({"type": "text", "text": {"body": "hi"}}),
        json!({"type": "text", "text": {"body": "Я тут 😀"}, "context": context}),
        json!({"type": "text", "text": {"body": "x"}, "context": {"forwarded": true}}),
        json!({"type": "image", "image": captioned}),
        json!({"type": "video", "video": captioned}),
        json!({"type": "document", "document": document}),
        json!({"type": "audio", "audio": file}),
        json!({"type": "audio", "audio": voice}),
        json!({"type": "sticker", "sticker": sticker}),
        json!({"type": "location", "location": {"latitude": 48.5, "longitude": 16.25}}),
        json!({"type": "contacts", "contacts": [card]}),
        json!({"type": "reaction", "reaction": {"message_id": "wamid.bot", "emoji": "👍"}}),
        json!({"type": "reaction", "reaction": {"message_id": "wamid.bot"}}),
        json!({"type": "interactive", "context": context, "interactive": pressed}),
        json!({"type": "interactive", "context": context, "interactive": chosen}),
        json!({"type": "button", "context": context, "button": {"payload": "s", "text": "S"}}),
        json!({"type": "edit", "edit": {"original_message_id": "wamid.old",
            "message": {"type": "text", "text": {"body": "new"}}}}),
        json!({"type": "revoke", "revoke": {"original_message_id": "wamid.old"}}),
        json!({"type": "request_welcome"}),
        json!({"type": "unsupported", "unsupported": {"type": "poll_creation"},
            "errors": [{"code": 131_051, "title": "x", "message": "x",
                "error_data": {"details": "x"}}]}),
    ]
}

/// What we read in it, by the names that `whatsapp.py` has for it.
fn read(update: &Update) -> Value {
    let place = update.location.as_ref();
    let kind = match update.kind {
        Kind::Message => "message",
        Kind::Button => "button",
        Kind::Reaction => "reaction",
        Kind::Edited => "edited",
        Kind::Opened => "opened",
        _ => "other",
    };
    json!({
        "kind": kind,
        "id": update.id.0,
        "user": update.dialog.user_id,
        "name": update.sender.as_ref().map(|sender| sender.name.as_str()),
        "text": update.text,
        "file": update.files.first().and_then(|file| file.id.as_deref()),
        "place": place.map(|place| [place.latitude, place.longitude]),
        "phone": update.contact.as_ref().map(|contact| contact.phone.as_str()),
        "data": update.button(),
        "about": update.message,
        "quoted": update.quoted.as_ref().map(|quoted| quoted.message.as_str()),
        "forwarded": update.forwarded.is_some(),
    })
}

#[test]
fn pywa_writes_and_reads_the_same() {
    let Some(judges) = Judges::of("whatsapp") else {
        return;
    };
    let samples = samples();
    let bodies: Vec<String> = samples
        .iter()
        .map(|fields| message(fields.clone()))
        .collect();
    let lines = judges.say("whatsapp.py", &[], &bodies.join("\n"));
    let mut lines = lines.lines();
    let theirs: Vec<Value> = serde_json::from_str(lines.next().unwrap()).unwrap();

    let url = "https://e.org/a.jpg";
    let file = |kind, from: &str| Reply::file(Attachment::new(kind, from));
    let mut place = Location::new(48.2, 16.37);
    place.title = Some("Café".to_owned());
    place.address = Some("A 5".to_owned());
    let ask = |request| Button::that("Share", Press::Request(request));
    let ours = [
        Reply::from("hi").quoting(Target::Message("wamid.1".into())),
        with_buttons(3),
        with_buttons(4),
        Reply::from("?").row([Button::link("The menu", "https://e.org/menu")]),
        Reply::photo(url).caption("c"),
        Reply::photo(url).caption("c").button("Yes", "1"),
        file(FileKind::Document, "https://e.org/bill.pdf"),
        file(FileKind::Video, "https://e.org/a.mp4").caption("c"),
        file(FileKind::Audio, "https://e.org/a.mp3"),
        file(FileKind::Voice, "https://e.org/a.ogg"),
        file(FileKind::Sticker, "https://e.org/a.webp"),
        Reply::location(place),
        Reply::from("Where?").row([ask(Request::Location)]),
        Reply::from("Call?").row([ask(Request::Contact)]),
        Reply::contact(Contact::new("+431", "Ann")),
    ];
    assert_eq!(theirs.len(), ours.len());
    let written = ours.len();
    for (theirs, ours) in theirs.into_iter().zip(ours) {
        let mut theirs = bare(theirs);
        // Of one section nobody sees the title.
        if let Some(section) = theirs.pointer_mut("/interactive/action/sections/0") {
            section.as_object_mut().unwrap().remove("title");
        }
        assert_eq!(said(ours), [theirs]);
    }
    let readings: Vec<Value> = lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(readings.len(), samples.len());
    for (fields, theirs) in samples.iter().zip(&readings) {
        assert_eq!(read(&one(fields.clone())), *theirs, "{fields}");
    }
    let read = readings.len();
    note(&format!(
        "pywa writes {written} replies and reads {read} messages as we do"
    ));
}
