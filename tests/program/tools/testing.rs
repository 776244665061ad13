//! `turnkey::testing`, with which authors test their bots: the real program, a Telegram of the
//! test's own, timers, other systems.

use serde_json::json;
use turnkey::testing::{Program, Telegram};

use crate::harness::bot::example;

const ANN: i64 = 42;

#[test]
fn a_bot_lives_on_a_telegram_of_the_tests() {
    let telegram = Telegram::start().unwrap();
    let bot = Program::of(example("commands"))
        .telegram(&telegram)
        .start()
        .unwrap();
    let is_told = |part: &str| {
        let call = telegram.next(ANN).unwrap();
        assert!(call.text().ends_with(part), "{part}: {call:?}");
    };

    // What users do.
    telegram.says(ANN, "hi");
    is_told("1: hi");
    telegram.says(ANN, "ask Tea?");
    is_told("Tea?");
    telegram.presses(ANN, "yes:1").unwrap();
    is_told("button yes:1");
    assert!(telegram.presses(ANN, "maybe").is_err());
    telegram.file("p", [1, 2, 3]);
    let photo = json!({ "file_id": "p", "file_unique_id": "p", "width": 1, "height": 1 });
    telegram
        .message(ANN, json!({ "photo": [photo], "caption": "fetch" }))
        .unwrap();
    is_told("3 bytes");
    telegram
        .update(json!({ "my_chat_member": {
            "chat": { "id": ANN, "type": "private", "first_name": "Ann" },
            "from": { "id": ANN, "is_bot": false, "first_name": "Ann" }, "date": 1,
            "old_chat_member": { "status": "kicked", "user": { "id": 12345 }, "until_date": 0 },
            "new_chat_member": { "status": "member", "user": { "id": 12345 } },
        } }))
        .unwrap();
    is_told("joined ");

    // What a refusal does.
    telegram.refuse("sendMessage", 500, "Internal Server Error");
    telegram.says(ANN, "ho");
    is_told(": ho");

    // The clock need not move.
    telegram.says(ANN, "after 1h tea green");
    telegram.says(ANN, "set");
    is_told(": set");
    bot.fire("telegram", "42", "tea").unwrap();
    is_told("timer tea \"green\"");
    let none = bot.fire("telegram", "42", "tea").unwrap_err().to_string();
    assert!(none.contains("has no timer"), "{none}");

    // Another system, and `/http` beside it.
    bot.rpc("telegram", "42", "paid", json!({ "eur": 3 }))
        .unwrap();
    is_told("rpc paid {\"eur\":3}");
    let replies = bot.say("bob", "hi").unwrap();
    assert_eq!(replies[0].text, "1: hi");
    assert!(bot.command(&["dump"]).unwrap().contains("telegram"));
    let made = telegram.calls();
    assert!(made.iter().all(|call| call.method != "getUpdates"));
    bot.stop().unwrap();
}

#[test]
fn variables_files_and_raw_updates_reach_the_program() {
    let telegram = Telegram::start().unwrap();
    let bot = Program::of(example("commands"))
        .variable("COMMANDS_EDITS", "1")
        .variable("TURNKEY_TELEGRAM_TOKEN", Telegram::TOKEN)
        .variable("TURNKEY_TELEGRAM_API_URL", telegram.url())
        .variable("TURNKEY_TELEGRAM_SECRET", "secret")
        .variable("TURNKEY_UPDATER", "webhooks")
        .start()
        .unwrap();
    let photo = json!({ "photo": "https://example.org/us.jpg", "text": "the sea" });
    let replies = bot.send("ann", photo).unwrap();
    assert_eq!(
        replies[0].text,
        "1: 1 photos, https://example.org/us.jpg, the sea"
    );
    let place = json!({ "location": { "latitude": 48.5, "longitude": 16.5 } });
    let replies = bot.send("ann", place).unwrap();
    assert!(replies[0].text.contains("at 48.5 16.5"), "{replies:?}");

    let edited = json!({ "update_id": 1, "edited_message": {
        "message_id": 1, "date": 1, "edit_date": 2, "text": "two",
        "from": { "id": ANN, "is_bot": false, "first_name": "Ann" },
        "chat": { "id": ANN, "type": "private", "first_name": "Ann" },
    } })
    .to_string();
    let posted = bot.post("/telegram", &[], &edited).unwrap();
    assert_eq!(posted.status, 401, "{posted:?}");
    let header = ("X-Telegram-Bot-Api-Secret-Token", "secret");
    let posted = bot.post("/telegram", &[header], &edited).unwrap();
    assert_eq!(posted.status, 200, "{posted:?}");
    assert!(posted.body.contains("edited two"), "{posted:?}");
    bot.stop().unwrap();
}
