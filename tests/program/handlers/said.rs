//! What a handler may say, and what becomes of what it may not.

use super::odd;
use crate::harness::bot::{Bot, Setup};
use crate::harness::client::{hand_in, message, once, say};
use crate::harness::engine::Engine;
use crate::harness::programs::has;

async fn error_of(bot: &Bot, text: &str) -> String {
    let before = bot.stderr().len();
    let id = format!("x{before}");
    let answer = once(bot.port, message("ann", text, Some(&id))).await;
    assert_eq!(answer.status, 503, "{text}: {}", answer.text());
    bot.wait_for_stderr(&format!("update {id} failed")).await;
    bot.stderr()[before..].to_owned()
}

/// A field of the wrong type fails its turn, and is named; nothing else happens.
#[tokio::test]
async fn a_wrong_answer_fails_its_turn_and_names_the_field() {
    let Some(setup) = odd(4) else { return };
    let bot = setup.start().await;
    assert_eq!(say(bot.port, "ann", "hi").await.number(), 1);
    for (text, expected) in [
        (
            r#"reply [{"text":7}]"#,
            "replies[0].text: invalid type: integer `7`, expected a string",
        ),
        (r#"reply "hi""#, "replies: invalid type"),
        (
            r#"reply [{}]"#,
            "replies[0] has neither text nor files, location or contact",
        ),
        (
            r#"reply [{"text":"a","edit":"b","delete":"c"}]"#,
            "replies[0]: it has both edit and delete",
        ),
        (
            r#"reply [{"picture":"u"}]"#,
            "replies[0] has picture, which is none of its fields",
        ),
        ("state 7", "state must be an object, not 7"),
        (r#"state {"a":"\ud800"}"#, "state: "),
        ("sql [[7]]", "sql[0][0]: invalid type"),
        (
            r#"sql [["INSERT INTO none VALUES (1)",[]]]"#,
            "its SQL failed: no such table",
        ),
        (
            r#"fail {"error":"no tea today","trace":"  in kettle.py"}"#,
            r"no tea today\n  in kettle.py",
        ),
        (r#"fail {}"#, "fail: missing field `error`"),
    ] {
        let error = error_of(&bot, text).await;
        assert!(error.contains(expected), "{text}: {error}");
    }
    assert_eq!(say(bot.port, "ann", "hi").await.number(), 2);
    assert!(
        !bot.stderr().contains("starting another"),
        "{}",
        bot.stderr()
    );
    bot.stop().await.assert_sound();
}

#[tokio::test]
async fn a_turn_may_be_put_off_or_given_up() {
    let Some(setup) = odd(4) else { return };
    let bot = setup.args(&["--max-attempts", "9"]).start().await;
    hand_in(
        bot.port,
        "ann",
        r#"fail {"error":"no","give_up":true}"#,
        "a",
    )
    .await;
    bot.wait_for_stderr("update a was given up after 1 attempt: no")
        .await;
    bot.stop().await.assert_sound();
}

/// An exception is told where an operator looks, with the author's line.
#[tokio::test]
async fn an_exception_is_kept_with_its_traceback() {
    if !has("python3") {
        return;
    }
    let code = "import turnkey\n\ndef price(tea):\n    return {'green': 3}[tea]\n\ndef handle(turn):\n    \
         turn.reply(f'{price(turn.text)}')\n\nturnkey.run(handle)\n";
    let bot = Setup::in_python(code)
        .args(&["--max-attempts", "1"])
        .start()
        .await;
    assert_eq!(say(bot.port, "ann", "green").await.replies(), ["3"]);
    hand_in(bot.port, "ann", "<b>black", "b").await;
    bot.wait_for_stderr("update b was given up after 1 attempt: KeyError: '<b>black'")
        .await;
    let shown = bot.setup.tool(&["dead", "show", "http", "b"]).stdout;
    let first = shown.lines().next().unwrap_or_default();
    assert!(
        first.ends_with("1 attempt: KeyError: '<b>black'"),
        "{shown}"
    );
    assert!(shown.contains("bot.py\", line 4, in price\n"), "{shown}");
    assert!(!shown.contains("_threads.py"), "{shown}");
    assert_eq!(shown.matches("KeyError").count(), 1, "{shown}");
    let listed = bot.setup.tool(&["dead", "list"]).stdout;
    assert_eq!(listed.lines().count(), 1, "{listed}");
    // At the attempt, and not once more when it is given up.
    let log = bot.stderr();
    assert_eq!(log.matches("in price").count(), 1, "{log}");
    bot.stop().await.assert_sound();
}

/// Questions are answered while the turn runs, and change nothing.
#[tokio::test]
async fn questions_are_answered_and_change_nothing() {
    let Some(setup) = odd(4) else { return };
    std::fs::create_dir(setup.path("migrations")).expect("migrations");
    let table = "CREATE TABLE t (n INTEGER, x REAL, s TEXT, b BLOB);
        INSERT INTO t VALUES (9007199254740993, 1.5, 'ä', x'ff'), (1, NULL, NULL, NULL)";
    std::fs::write(setup.path("migrations/0001.sql"), table).expect("a migration");
    let bot = setup.args(&["--migrations", "migrations"]).start().await;
    let asked = async |text: &str| {
        let answer = say(bot.port, "ann", text).await;
        let said = answer.replies().remove(0);
        serde_json::from_str::<serde_json::Value>(&said).expect("JSON")
    };
    let answer = asked("ask SELECT n, x, s, b FROM t ORDER BY n").await;
    assert_eq!(
        answer["rows"],
        serde_json::json!([
            {"n": 1, "x": null, "s": null, "b": null},
            {"n": {"integer": "9007199254740993"}, "x": 1.5, "s": "ä", "b": {"base64": "/w=="}},
        ])
    );
    let answer = asked("ask DELETE FROM t").await;
    assert!(answer["error"].is_string(), "{answer}");
    let answer = asked("ask SELECT count(*) AS n FROM t").await;
    assert_eq!(answer["rows"][0]["n"], 2);
    let answer = say(bot.port, "bob", "asks 50 SELECT 1").await;
    assert_eq!(answer.replies(), ["50 answers"]);
    bot.stop().await.assert_sound();
}

/// What it prints are lines of the log, whatever is in them, and nothing of ours is told it.
#[tokio::test]
async fn what_it_prints_is_logged_and_our_secrets_are_not_its() {
    let Some(setup) = odd(4) else { return };
    let bot = setup
        .args(&["--admin", "127.0.0.1:0"])
        .env("TURNKEY_TELEGRAM_TOKEN", "12345:secret")
        .env("TURNKEY_TELEGRAM_SECRET", "hush")
        .env("TURNKEY_ADMIN_TOKEN", "hush")
        .env("CREDENTIALS_DIRECTORY", "/run/credentials")
        .env("OWN_SETTING", "1")
        .start()
        .await;
    assert_eq!(say(bot.port, "ann", "binary").await.number(), 1);
    bot.wait_for_stderr("odd.py[").await;
    assert!(!bot.stderr().contains("\x1b[31m"), "{:?}", bot.stderr());
    let answer = say(bot.port, "ann", "environment")
        .await
        .replies()
        .remove(0);
    let names: Vec<_> = answer.split(' ').collect();
    let ours = names.iter().filter(|name| name.starts_with("TURNKEY_"));
    assert_eq!(
        ours.collect::<Vec<_>>(),
        [&"TURNKEY_PIPES", &"TURNKEY_PROTOCOL"]
    );
    assert!(names.contains(&"OWN_SETTING") && !names.contains(&"CREDENTIALS_DIRECTORY"));
    bot.stop().await.assert_sound();
}

/// State, statements and questions on a server.
#[tokio::test]
async fn handlers_work_on_postgres_too() {
    let Some(engine) = Engine::postgres() else {
        return;
    };
    let Some(odd) = odd(4) else { return };
    let (_, address) = engine.setup().await;
    let setup = odd.on(address.expect("a server's address"));
    std::fs::create_dir(setup.path("migrations")).expect("migrations");
    std::fs::write(setup.path("migrations/1.sql"), "CREATE TABLE t (n BIGINT)").expect("1.sql");
    let bot = setup.args(&["--migrations", "migrations", "--workers", "2"]);
    let bot = bot.start().await;
    let insert = r#"sql [["INSERT INTO t VALUES (?1)",[7]]]"#;
    assert_eq!(say(bot.port, "ann", insert).await.number(), 1);
    let rows = say(bot.port, "ann", "ask SELECT n FROM t").await.replies();
    assert!(rows[0].contains(r#""rows": [{"n": 7}]"#), "{rows:?}");
    assert_eq!(say(bot.port, "ann", "hi").await.number(), 3);
    bot.stop().await;
}
