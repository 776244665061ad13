//! No secret leaves the program, whoever wrote the text: an error of an author's own
//! client, a panic, a user. And what an error tells of its causes is told.

use serde_json::json;

use crate::harness::api::{Api, SECRETS};
use crate::harness::bot::{Setup, url};
use crate::harness::client::{message, once, post};
use crate::harness::telegram;
use crate::operators::admin::{self, admin_port, get};

/// As a text may hold them: as it is, in an address, in a page.
fn forms(secret: &str) -> [String; 3] {
    let escaped = form_urlencoded::byte_serialize(secret.as_bytes()).collect();
    let html = secret
        .replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
        .replace('\'', "&#39;");
    [secret.to_owned(), escaped, html]
}

/// Those that are long enough to be looked for, with some that must be escaped.
fn secrets() -> Vec<(&'static str, String)> {
    let known = SECRETS.iter();
    let known = known.filter(|(name, _)| *name != "VK_CONFIRMATION");
    let mut all: Vec<_> = known
        .map(|(name, secret)| (*name, (*secret).to_owned()))
        .collect();
    all.push(("HTTP_TOKEN", "a/b \"c'&%d".to_owned()));
    all.push(("RPC_TOKEN", "ge heim{}<x>|^12".to_owned()));
    all
}

fn assert_clean(what: &str, text: &str) {
    for (name, secret) in secrets() {
        for form in forms(&secret) {
            assert!(!text.contains(&form), "{name} is in {what}: {text}");
        }
    }
    // Without the bot's number it is as good.
    assert!(!text.contains("secret-of-the-bot"), "{what}: {text}");
}

async fn nothing_leaks(args: &[&str]) {
    let api = Api::start();
    let mut setup = Setup::commands().args(&["-vv", "--max-attempts", "1", "--history"]);
    setup = api.configure(admin::setup(setup.args(args)));
    for (name, secret) in secrets() {
        setup = setup.env(&format!("TURNKEY_{name}"), secret);
    }
    // In a header it must be ASCII.
    let bearer = "Bearer a/b \"c'&%d";
    let bot = setup.start().await;
    let port = admin_port(&bot);
    let mut asked = 0;
    for (name, secret) in secrets() {
        for form in forms(&secret) {
            for told in [
                format!("fail https://api.example.org/bot{form}/getMe refused"),
                format!("panic {form}"),
                format!("sleep {form}"),
                form.clone(),
            ] {
                asked += 1;
                let mut request = message("ann", &told, Some(&format!("u{asked}")));
                let headers = request.headers_mut();
                headers.insert("authorization", bearer.parse().unwrap());
                let answer = once(bot.port, request).await;
                assert_ne!(answer.status, 401);
                assert_clean(&format!("the answer about {name}"), &answer.text());
                // What fails there is a dead letter.
                let hook = telegram::webhook(&telegram::text(100 + asked, 9, &told));
                let answer = once(bot.port, hook).await;
                assert_clean(&format!("what rides, of {name}"), &answer.text());
            }
        }
    }
    let token = SECRETS[0].1;
    let hook = telegram::webhook(&telegram::text(1, 7, &format!("hi {token}")));
    let riding = once(bot.port, hook).await.text();
    assert!(riding.contains("1: hi (secret)"), "{riding}");
    let hook = telegram::webhook(&telegram::text(2, 7, &format!("ask {token}?")));
    assert_clean("a button's question", &once(bot.port, hook).await.text());
    let odd = post(&format!("/{token}"), json!({"user_id": token}).to_string());
    assert_clean("a refusal", &once(bot.port, odd).await.text());

    bot.wait_for_stderr("told to panic").await;
    let log = bot.stderr();
    assert_clean("the log", &log);
    // The cause, which says what happened, and where a token stood in it.
    let cause = "told to fail: https://api.example.org/bot(secret)/getMe refused";
    assert!(log.contains(cause), "{log}");
    for path in [
        "/status",
        "/status.json",
        "/status/dead",
        "/status/dialogs",
        "/status/dialogs/http/ann",
        "/status/dialogs/telegram/7",
        "/metrics",
        "/readyz",
    ] {
        assert_clean(path, &get(port, path).await.text());
    }
    let dead = get(port, "/status/dead").await.text();
    assert!(dead.contains("told to fail: https"), "{dead}");
    let setup = bot.stop().await;
    let storage = url(&setup.database());
    let list = setup.bare(&["dead", "list", "--storage", &storage]).stdout;
    assert!(list.contains("told to panic"), "{list}");
    // The list shows errors, and no bodies.
    assert_clean("the dead letters' errors", &list);
    let dump = setup.dump(&["--history"]);
    for line in &dump {
        for turn in line["history"].as_array().expect("turns") {
            let replies = turn["replies"].to_string();
            assert_clean("the replies of the history", &replies);
        }
    }
}

#[tokio::test]
async fn no_secret_leaves_whoever_wrote_the_text() {
    nothing_leaks(&[]).await;
}

#[tokio::test]
async fn nor_in_a_log_of_json() {
    nothing_leaks(&["--log", "json"]).await;
}
