//! Another library beside us: pywa writes the same for the same, and reads our samples as we do.

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

/// Another library writes the same for the same, and reads our samples as we do. It runs where
/// `PYWA_PYTHON`, else python3, has pywa (`pip install pywa`).
#[test]
fn pywa_agrees() {
    use std::io::Write;
    use std::process::{Command, Stdio};
    let python = std::env::var("PYWA_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let imports = Command::new(&python).args(["-c", "import pywa"]).output();
    if !imports.is_ok_and(|tried| tried.status.success()) {
        return drop(writeln!(
            std::io::stderr(),
            "SKIPPED: no pywa; pip install pywa"
        ));
    }
    let script = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/src/channels/tests/whatsapp/pywa_says.py"
    );
    let mut child = Command::new(&python)
        .arg(script)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let media = json!({"id": "1", "mime_type": "image/jpeg", "sha256": "x", "caption": "c"});
    let samples = [
        message(json!({"type": "text", "text": {"body": "hi"}})),
        message(json!({"type": "image", "image": media})),
        message(json!({"type": "location", "location": {"latitude": 1.0, "longitude": 2.0}})),
    ];
    child
        .stdin
        .take()
        .unwrap()
        .write_all(samples.join("\n").as_bytes())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    let lines = String::from_utf8(output.stdout).unwrap();
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
        file(FileKind::Voice, "https://e.org/a.ogg"),
        file(FileKind::Sticker, "https://e.org/a.webp"),
        Reply::location(place),
        Reply::from("Where?").row([ask(Request::Location)]),
        Reply::from("Call?").row([ask(Request::Contact)]),
        Reply::contact(Contact::new("+431", "Ann")),
    ];
    assert_eq!(theirs.len(), ours.len());
    for (theirs, ours) in theirs.into_iter().zip(ours) {
        let mut theirs = bare(theirs);
        // Of one section nobody sees the title.
        if let Some(section) = theirs.pointer_mut("/interactive/action/sections/0") {
            section.as_object_mut().unwrap().remove("title");
        }
        assert_eq!(said(ours), [theirs]);
    }
    for (sample, read) in samples.iter().zip(lines) {
        let update = updates("whatsapp", sample).remove(0);
        let ours = json!([
            update.id.0,
            update.dialog.user_id,
            update.event,
            update.text
        ]);
        assert_eq!(serde_json::from_str::<Value>(read).unwrap(), ours);
    }
}
