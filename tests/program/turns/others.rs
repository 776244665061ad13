//! What one dialog says to another, from a turn or from the command line; and dialogs in
//! groups, which are the author's choice.

use serde_json::{Value, json};

use crate::harness::api::Api;
use crate::harness::bot::{SOON, Setup, until};
use crate::harness::client::once;
use crate::harness::programs::Ended;
use crate::harness::telegram::{text, webhook};

/// A message in a group.
fn in_group(update: u64, user: u64, chat: i64, said: &str) -> Value {
    let mut update = text(update, user, said);
    update["message"]["chat"] = json!({"id": chat, "type": "supergroup", "title": "S"});
    update
}

#[tokio::test]
async fn a_turn_says_something_to_another_user() {
    let api = Api::start();
    let bot = api.configure(Setup::commands()).start().await;
    // Others' rows of the same name are not this one's.
    let told = once(bot.port, webhook(&text(1, 5, "tell telegram 6 hi Bob"))).await;
    assert_eq!(told.json()["text"], "1: told");
    until("Bob has it", SOON, || api.received("6") == ["hi Bob"]).await;
    // It is no turn of Bob's handler.
    let said = once(bot.port, webhook(&text(2, 6, "hi"))).await;
    assert_eq!(said.json()["text"], "1: hi");
    // The same update again says nothing again.
    once(bot.port, webhook(&text(1, 5, "tell telegram 6 hi Bob"))).await;
    let said = once(bot.port, webhook(&text(3, 6, "hi"))).await;
    assert_eq!(said.json()["text"], "2: hi");
    assert_eq!(api.received("6"), ["hi Bob"]);
}

#[tokio::test]
async fn who_cannot_be_told_is_refused_by_name() {
    let api = Api::start();
    let setup = Setup::commands().args(&["--max-attempts", "1"]);
    let bot = api.configure(setup).start().await;
    for (to, why) in [
        ("nowhere 6 hi", "no channel \"nowhere\""),
        ("http 6 hi", "\"http\" has nobody to send to"),
    ] {
        let update = text(why.len() as u64, 5, &format!("tell {to}"));
        once(bot.port, webhook(&update)).await;
        until("a word of it", SOON, || bot.stderr().contains(why)).await;
    }
    assert!(api.calls().is_empty());
}

/// What is said to somebody is in the inbox with the turn's commit: no kill loses it.
#[tokio::test]
async fn what_was_said_to_others_outlives_a_kill() {
    let api = Api::start();
    let bot = api.configure(Setup::commands()).start().await;
    for n in 0..40 {
        let said = format!("tell telegram {} hi", 100 + n);
        once(bot.port, webhook(&text(n, 5, &said))).await;
    }
    let setup = bot.kill_all().await;
    let _bot = setup.start().await;
    until("everybody has it", SOON, || {
        (0..40).all(|n| !api.received(&(100 + n).to_string()).is_empty())
    })
    .await;
    let twice = (0..40).filter(|n| api.received(&(100 + n).to_string()).len() > 1);
    // Telegram knows no key: what was under way at the kill may come twice.
    assert!(twice.count() <= 40);
}

#[tokio::test]
async fn a_user_in_a_group_has_a_state_of_their_own() {
    let api = Api::start();
    let bot = api.configure(Setup::commands()).start().await;
    let answer = async |update: Value| {
        let said = once(bot.port, webhook(&update)).await.json();
        (said["text"].clone(), said["chat_id"].clone())
    };
    assert_eq!(answer(text(1, 5, "a")).await, (json!("1: a"), json!("5")));
    assert_eq!(
        answer(in_group(2, 5, -100, "b")).await,
        (json!("1: b"), json!("-100"))
    );
    assert_eq!(answer(in_group(3, 5, -200, "c")).await.0, "1: c");
    assert_eq!(answer(in_group(4, 5, -100, "d")).await.0, "2: d");
    assert_eq!(answer(text(5, 5, "e")).await.0, "2: e");
    // Somebody says something there.
    once(
        bot.port,
        webhook(&text(6, 7, "tell telegram 5@-100 hi there")),
    )
    .await;
    until("the group has it", SOON, || {
        api.received("-100").contains(&"hi there".to_owned())
    })
    .await;
}

#[tokio::test]
async fn a_group_or_a_user_may_have_one_state() {
    for (by, counts) in [("chat", [1, 1, 2]), ("user", [1, 2, 1])] {
        let api = Api::start();
        let setup = Setup::commands().env("COMMANDS_DIALOG_BY", by);
        let bot = api.configure(setup).start().await;
        for (update, count) in [
            text(1, 5, "x"),
            in_group(2, 5, -300, "x"),
            in_group(3, 6, -300, "x"),
        ]
        .into_iter()
        .zip(counts)
        {
            let said = once(bot.port, webhook(&update)).await.json();
            assert_eq!(said["text"], format!("{count}: x"), "{by}");
        }
    }
}

#[tokio::test]
async fn the_command_line_says_something() {
    let api = Api::start();
    let bot = api.configure(Setup::commands()).start().await;
    let send = |args: &[&str]| {
        let mut all = vec!["send"];
        all.extend(args);
        bot.setup.tool(&all)
    };
    let said = send(&["telegram", "6", "**hi**", "--format", "markup", "--id", "a"]);
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    until("Bob has it", SOON, || api.received("6") == ["hi"]).await;
    let again = send(&["telegram", "6", "hi", "--id", "a", "--json"]);
    assert!(
        again.stdout.contains("\"accepted\":false"),
        "{}",
        again.stdout
    );
    let file = bot.setup.path("reply.json");
    let file = file.to_str().unwrap();
    for (args, why) in [
        (&["telegram", "6"][..], "give a text"),
        (&["telegram", "6", ""], "empty"),
        (&["telegram", "6", " \u{200b}\n"], "blank"),
        (&["telegram", "6", "<b> </b>", "--format", "html"], "blank"),
        (&["telegram", "6", "<p>", "--format", "html"], "<p>"),
        (&["telegram", "", "hi"], "user's id"),
        (&["telegrm", "6", "hi"], "no channel \"telegrm\""),
        (&["http", "6", "hi"], "nobody can be sent to"),
        (&["cron", "tea", "hi"], "nobody can be sent to"),
        (&["telegram", "6", "--file", "none.json"], "No such file"),
    ] {
        refused(&send(args), why);
    }
    for (reply, why) in [
        (r#"{"text":"a","button":[]}, "#, "trailing"),
        (r#"{"text":"a","button":"b"}"#, "no field \"button\""),
        (r#"{"text":"a","quote":true}"#, "no message to quote"),
        (r#"{"text":"a","name":""}"#, "name has 1 to"),
        (
            r#"{"text":"a","buttons":[{"label":"b","phone":"+1"}]}"#,
            "no buttons that call",
        ),
        (
            r#"{"files":[{"type":"photo","path":"1.jpg"}]}"#,
            "must be absolute",
        ),
    ] {
        std::fs::write(file, reply).unwrap();
        refused(&send(&["telegram", "6", "--file", file]), why);
        let broadcast = ["broadcast", "--channel", "telegram", "--file", file];
        refused(&bot.setup.tool(&broadcast), why);
    }
    assert_eq!(api.received("6"), ["hi"]);
    // A channel that this program does not know, whose dialogs are there.
    let setup = bot.stop().await;
    let known = "UPDATE turnkey_dialog SET channel = 'desk' WHERE user_id = '6'";
    assert_eq!(setup.open_database().execute(known, ()).unwrap(), 1);
    let said = setup.tool(&["send", "desk", "6", "hi"]);
    assert_eq!(said.code, Some(0), "{}", said.stderr);
}

/// One sentence, which says this.
fn refused(ended: &Ended, why: &str) {
    assert_eq!(ended.code, Some(2), "{why}: {}", ended.stdout);
    let said = &ended.stderr;
    assert!(said.contains(why) && said.lines().count() == 1, "{said}");
}
