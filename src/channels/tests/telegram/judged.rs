//! The sample updates of other libraries' tests: each is read, and as those libraries read it.
//! They are fetched by `scripts/judges`, which names their file in `TURNKEY_UPDATES`; without
//! that there is nothing to read.

use super::*;
use crate::author::message::Hears;

/// Says how it went, beside the tests' own words.
fn note(words: &str) {
    let mut stderr = std::io::stderr();
    drop(std::io::Write::write_all(
        &mut stderr,
        format!("{words}\n").as_bytes(),
    ));
}

#[test]
fn others_samples_are_read_as_they_read_them() {
    let Some(path) = std::env::var_os("TURNKEY_UPDATES") else {
        note("SKIPPED: no samples of others; see scripts/judges");
        return;
    };
    let lines = std::fs::read_to_string(path).unwrap();
    let telegram = telegram_bot();
    let mut read = 0;
    for line in lines.lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        let (body, expect) = (line["update"].to_string(), &line["expect"]);
        let Ok(Received::Updates(mut found)) = receive(telegram.as_ref(), body.as_bytes()) else {
            panic!("refused: {line}");
        };
        let update = found.remove(0);
        assert!(found.is_empty());
        assert_ne!(update.kind, Kind::Unreadable, "{}: {line}", update.text);
        assert!(Hears::only(Kind::ALL).hears(update.kind));
        let field = expect["field"].as_str().unwrap();
        // A plain message is the only one without a name of its own.
        let is_plain = field == "message" && update.kind == Kind::Message;
        assert!(is_plain || !update.event.is_empty(), "{line}");
        let says_something = !update.text.is_empty()
            || !update.files.is_empty()
            || update.location.is_some()
            || update.contact.is_some();
        let is_named = update.event.contains('.') || update.event == "successful_payment";
        assert!(!is_plain || says_something || is_named, "{line}");
        if let Some(text) = expect["text"].as_str() {
            let text = text.to_owned();
            assert_eq!(update.text, text, "{line}");
        }
        if let Some(file) = expect["file"].as_str() {
            assert_eq!(update.files[0].id.as_deref(), Some(file), "{line}");
        }
        if let Some(message) = expect["message"].as_str() {
            assert_eq!(update.message, message, "{line}");
        }
        let is_anybodys = ["new_chat_members", "left_chat_member", "chat_member"];
        let is_shared = ["1087968824", "136817688", "777000"];
        if let Some(from) = expect["from"].as_str()
            && !is_anybodys
                .iter()
                .any(|event| update.event.ends_with(event))
            && !is_shared.contains(&from)
        {
            assert_eq!(update.dialog.user_id, from, "{line}");
        }
        // A handler can say something to it, or is told why not.
        let plan = telegram.plan(&update, &["a".into(), "b".into()]);
        assert_eq!(plan.is_ok(), !update.address.is_empty(), "{line}");
        read += 1;
    }
    assert!(read > 500, "{read} samples");
    note(&format!("{read} samples are read"));
}
