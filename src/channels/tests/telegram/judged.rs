//! What aiogram and python-telegram-bot say of us: they know every call that our tests make,
//! field by field, and the sample updates of their own tests we read as they do.

use std::process::Command;

use super::super::judged::{Judges, note};
use super::calls::{CHAT, any};
use super::*;
use crate::author::message::Hears;

/// All the calls of the tests of Telegram, which this program is: it runs them once more.
#[test]
fn others_know_every_call() {
    let Some(judges) = Judges::of("telegram") else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let calls = folder.path().join("calls.jsonl");
    let tests = module_path!().split_once("::").unwrap().1;
    let tests = tests.strip_suffix("judged").unwrap();
    // One that fails does so in its own name, too.
    Command::new(std::env::current_exe().unwrap())
        .args([tests, "--skip", "judged::"])
        .env("TURNKEY_DUMP_CALLS", &calls)
        .output()
        .unwrap();
    let filled = folder.path().join("filled.json");
    let methods = judges.say("calls.py", &["methods"], "");
    std::fs::write(&filled, filled_in(&methods)).unwrap();
    let files = [calls.to_str().unwrap(), filled.to_str().unwrap()];
    note(
        judges
            .say("calls.py", &["judge", files[0], files[1]], "")
            .trim_end(),
    );
}

/// For which of these methods, one a line, the chat is filled in: a JSON object.
fn filled_in(methods: &str) -> String {
    let filled: serde_json::Map<String, Value> = methods
        .lines()
        .filter_map(|method| {
            let call = any(method, Value::Null);
            telegram_bot().can(&call).ok()?;
            let call = telegram::call_of(&call, CHAT, "");
            let is_filled = call.ok()?.1.get("chat_id").is_some();
            Some((method.to_lowercase(), is_filled.into()))
        })
        .collect();
    Value::Object(filled).to_string()
}

#[test]
fn others_samples_are_read_as_they_read_them() {
    let Some(judges) = Judges::of("telegram") else {
        return;
    };
    let lines = judges.file("updates.jsonl");
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
    note(&format!(
        "{read} sample updates of others are read as they read them"
    ));
}
