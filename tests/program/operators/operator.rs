//! What an operator asks of a database, while its bot runs and after.

use std::sync::Arc;

use serde_json::Value;
use turnkey_storage::dead::{self, DeadLetter};
use turnkey_storage::inbox::{self, Bounds};
use turnkey_storage::sqlite::{Files, connect, random_owner};
use turnkey_storage::{DialogKey, Pending, Storage, clock};

use crate::harness::bot::{Setup, url};
use crate::harness::client::say;

/// A dead letter, as a turn that failed too often leaves it.
pub(crate) async fn bury(storage: Arc<dyn Storage>, update: &str) {
    let letter = DeadLetter {
        dialog: DialogKey::new("http", "ann"),
        update: update.to_owned(),
        arrived: 1_000,
        digest: Vec::new(),
        answer: Vec::new(),
        body: b"{\"text\":\"boom\"}".to_vec(),
        error: "the handler failed".to_owned(),
        attempts: 5,
        died: 2_000,
    };
    dead::bury(&*storage, &letter).await.unwrap();
}

/// Runs a command on the bot's database; what it printed.
fn ask(setup: &Setup, args: &[&str]) -> String {
    let storage = url(&setup.database());
    let ended = setup.bare(&[args, &["--storage", &storage]].concat());
    assert_eq!(ended.code, Some(0), "{args:?}: {}", ended.stderr);
    ended.stdout
}

/// The same for one that is refused; what it said.
fn refused(setup: &Setup, args: &[&str]) -> String {
    let storage = url(&setup.database());
    let ended = setup.bare(&[args, &["--storage", &storage]].concat());
    assert_ne!(ended.code, Some(0), "{args:?}: {}", ended.stdout);
    assert_eq!(ended.stdout, "");
    ended.stderr
}

#[tokio::test]
async fn dialogs_and_dead_letters_of_a_running_and_of_a_stopped_bot() {
    let bot = Setup::counter().start().await;
    assert_eq!(say(bot.port, "ann", "hi").await.number(), 1);
    let files = Files::of(&bot.setup.database());
    let storage = Arc::new(connect(&files, random_owner().unwrap()).unwrap());
    bury(storage.clone(), "u1").await;
    bury(storage.clone(), "u2").await;
    let later = Pending {
        dialog: DialogKey::new("http", "carl"),
        update: "later".to_owned(),
        arrived: clock::now_ms() * 1000,
        body: b"{}".to_vec(),
        attempts: 0,
        due: clock::now_ms() + 600_000,
        error: None,
    };
    inbox::accept(
        &*storage,
        &later,
        Bounds {
            per_dialog: 1,
            all: 1,
        },
    )
    .await
    .unwrap();
    drop(storage);

    let list = ask(&bot.setup, &["inbox", "list", "--json"]);
    let line: Value = serde_json::from_str(&list).unwrap();
    assert_eq!(line["update"], "later");
    let pause = line["pause_ms"].as_u64().unwrap();
    assert!((1..=600_000).contains(&pause), "{list}");
    let line = ask(&bot.setup, &["inbox", "list", "http", "carl"]);
    assert!(line.contains("http carl  update later  for "), "{line}");
    assert_eq!(ask(&bot.setup, &["inbox", "list", "http", "ann"]), "");

    let list = ask(&bot.setup, &["dead", "list", "--json"]);
    assert_eq!(list.lines().count(), 2, "{list}");
    let shown = ask(&bot.setup, &["dead", "show", "http", "u1"]);
    assert!(shown.contains("boom") && shown.contains("the handler failed"));
    ask(&bot.setup, &["dead", "drop", "http", "u1"]);
    let gone = refused(&bot.setup, &["dead", "drop", "http", "u1"]);
    assert!(gone.contains("no dead letter u1 of http"), "{gone}");
    let dialogs = ask(&bot.setup, &["dialogs", "list", "--user", "nn"]);
    assert!(dialogs.contains("http:ann"), "{dialogs}");
    assert_eq!(ask(&bot.setup, &["dialogs", "list", "--user", "bob"]), "");
    assert_eq!(ask(&bot.setup, &["outbox", "list"]), "");
    // Its next turn starts anew.
    ask(&bot.setup, &["dialogs", "reset", "http", "ann"]);
    assert_eq!(say(bot.port, "ann", "hi").await.number(), 1);

    let setup = bot.stop().await;
    let shown = ask(&setup, &["dialogs", "show", "http", "ann", "--json"]);
    let shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(
        (&shown["user_id"], &shown["unsent"]),
        (&"ann".into(), &0.into())
    );
    assert!(ask(&setup, &["dead", "retry", "http", "u2"]).contains("inbox"));
    assert_eq!(ask(&setup, &["dead", "list"]), "");
    ask(&setup, &["dialogs", "reset", "http", "ann"]);
    let none = refused(&setup, &["dialogs", "show", "http", "zoe"]);
    assert!(none.contains("dialogs list"), "{none}");
    setup.assert_sound();
}

#[test]
fn a_file_that_is_not_there_is_not_made() {
    let setup = Setup::counter();
    let said = refused(&setup, &["dead", "list"]);
    assert!(said.contains("there is no file"), "{said}");
    assert!(!setup.database().exists());
}

/// A bot that has tables of its own, and does not run.
#[tokio::test]
async fn a_stopped_bot_with_migrations_can_be_looked_at() {
    let bot = Setup::commands().start().await;
    say(bot.port, "ann", "order tea").await.number();
    let setup = bot.stop().await;
    for args in [["dialogs", "list"], ["dead", "list"]] {
        let ended = setup.tool(&args);
        assert_eq!(ended.code, Some(0), "{ended:?}");
    }
    setup.start().await.stop().await.assert_sound();
}
