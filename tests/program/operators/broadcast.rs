//! `turnkey broadcast`: everybody once, whatever is killed; others first; who is not reached.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::harness::api::{Api, Mood};
use crate::harness::bot::{Bot, SOON, Setup, until};
use crate::harness::client::once;
use crate::harness::telegram::{text, webhook};
use crate::operators::admin::{admin_port, get};

/// The first of the users that a broadcast goes to.
const FIRST: u64 = 1000;

const HELLO: &str = "hello everybody";

/// A bot on all platforms, of which Telegram takes so many messages a second.
fn setup(api: &Api, rate: u32) -> Setup {
    let setup = Setup::commands().args(&["--telegram-rate", &rate.to_string()]);
    let admin = ["--workers", "2", "--admin", "127.0.0.1:0"];
    api.configure(setup.args(&admin))
}

/// So many users who have said something.
async fn known(bot: &Bot, users: u64) {
    for user in FIRST..FIRST + users {
        once(bot.port, webhook(&text(user, user, "silent"))).await;
    }
}

/// Runs `broadcast` on the bot's database: what it printed.
fn broadcast(setup: &Setup, args: &[&str]) -> String {
    let ended = setup.tool(&[&["broadcast"], args].concat());
    assert_eq!(ended.code, Some(0), "{args:?}: {}", ended.stderr);
    ended.stdout
}

fn show(setup: &Setup, id: u64) -> Value {
    let shown = broadcast(setup, &["show", &id.to_string(), "--json"]);
    serde_json::from_str(&shown).expect("JSON")
}

fn is(setup: &Setup, id: u64, state: &str) -> bool {
    show(setup, id)["state"] == state
}

/// How often each user got it.
fn got(api: &Api) -> BTreeMap<String, usize> {
    let mut got = BTreeMap::new();
    for call in api.calls() {
        if call.accepted && call.text == HELLO {
            *got.entry(call.chat).or_default() += 1;
        }
    }
    got
}

#[tokio::test]
async fn everybody_gets_it_once_although_everything_is_killed() {
    let api = Api::start();
    let bot = setup(&api, 100).start().await;
    known(&bot, 300).await;
    let made = broadcast(&bot.setup, &["--text", HELLO, "--rate", "100", "--json"]);
    assert!(made.contains("\"dialogs\":300"), "{made}");
    until("a third has it", SOON, || got(&api).len() >= 100).await;
    let setup = bot.kill_all().await;
    let before = got(&api);
    assert!(before.len() < 300, "all were there before the kill");
    let bot = setup.start().await;
    until("it is done", SOON * 2, || is(&bot.setup, 1, "done")).await;
    let shown = show(&bot.setup, 1);
    assert_eq!(
        (&shown["queued"], &shown["sent"], &shown["failed"]),
        (&300.into(), &300.into(), &0.into()),
        "{shown}"
    );
    let got = got(&api);
    assert_eq!(got.len(), 300);
    // Telegram knows no key: what was under way at the kill may come twice, and no more.
    assert!(got.values().all(|times| *times <= 2), "{got:?}");
    let twice = got.values().filter(|times| **times == 2).count();
    assert!(twice <= 130, "{twice} came twice");
    // Without a kill nobody gets a second one.
    broadcast(&bot.setup, &["--text", "again", "--rate", "100"]);
    until("it is done", SOON * 2, || is(&bot.setup, 2, "done")).await;
    let again: Vec<_> = api
        .calls()
        .into_iter()
        .filter(|call| call.text == "again")
        .collect();
    assert_eq!(again.len(), 300);
    bot.stop().await.assert_sound();
}

#[tokio::test]
async fn it_is_paused_resumed_and_stopped() {
    let api = Api::start();
    let setup = setup(&api, 30);
    let bot = setup.start().await;
    known(&bot, 100).await;
    // Made while no bot runs.
    let setup = bot.stop().await;
    broadcast(&setup, &["--text", HELLO, "--rate", "10"]);
    let bot = setup.start().await;
    until("some have it", SOON, || got(&api).len() >= 5).await;
    let paused = broadcast(&bot.setup, &["pause", "1"]);
    assert!(paused.starts_with("1  paused"), "{paused}");
    let at_rest = || {
        let shown = show(&bot.setup, 1);
        shown["sent"] == shown["queued"]
    };
    until("what was queued went out", SOON, at_rest).await;
    let queued = show(&bot.setup, 1)["queued"].clone();
    let port = admin_port(&bot);
    let page = get(port, "/status").await.text();
    assert!(page.contains("1, paused"), "{page}");
    let metrics = get(port, "/metrics").await.text();
    assert!(
        metrics.contains("turnkey_broadcasts{state=\"paused\"} 1"),
        "{metrics}"
    );
    let sent = format!("turnkey_broadcast_dialogs{{state=\"sent\"}} {queued}\n");
    assert!(metrics.contains(&sent), "{metrics}");
    let shown = show(&bot.setup, 1);
    assert_eq!(shown["queued"], queued, "it goes on");
    let left = 100 - queued.as_u64().unwrap();
    assert_eq!(shown["left"], left);
    let told = broadcast(&bot.setup, &["show", "1"]);
    let line = format!("1  paused  {queued} sent, 0 failed, {left} to go\n");
    assert!(told.starts_with(&line), "{told}");
    assert!(got(&api).len() < 100);

    let resumed = broadcast(&bot.setup, &["resume", "1"]);
    assert!(resumed.starts_with("1  running"), "{resumed}");
    let more = queued.as_u64().unwrap() as usize;
    until("more have it", SOON, || got(&api).len() > more).await;
    broadcast(&bot.setup, &["stop", "1"]);
    until("what is under way has ended", SOON, || {
        let shown = show(&bot.setup, 1);
        shown["sent"].as_u64() >= shown["queued"].as_u64()
    })
    .await;
    assert!(got(&api).len() < 100, "it was stopped");
    for action in ["resume", "pause"] {
        let refused = bot.setup.tool(&["broadcast", action, "1"]);
        assert_eq!(refused.code, Some(2));
        assert!(refused.stderr.contains("is stopped"), "{}", refused.stderr);
    }
    let unknown = bot.setup.tool(&["broadcast", "show", "7"]);
    assert!(
        unknown.stderr.contains("broadcast list"),
        "{}",
        unknown.stderr
    );
    assert!(got(&api).values().all(|times| *times == 1));
}

#[tokio::test]
async fn who_has_blocked_the_bot_is_listed() {
    let api = Api::start();
    let bot = setup(&api, 30).start().await;
    known(&bot, 5).await;
    for user in ["1001", "1003"] {
        api.be(user, &[Mood::Blocked]);
    }
    broadcast(&bot.setup, &["--text", HELLO, "--rate", "30"]);
    let followed = broadcast(&bot.setup, &["show", "1", "--follow"]);
    let last = followed.lines().last().unwrap_or_default();
    assert_eq!(last, "1  done  3 sent, 2 failed");
    let failed = broadcast(&bot.setup, &["failed", "1"]);
    let failed: Vec<_> = failed.lines().collect();
    assert_eq!(failed.len(), 2, "{failed:?}");
    assert!(failed[0].starts_with("telegram:1001  "), "{failed:?}");
    assert!(failed[1].contains("blocked"), "{failed:?}");
    assert_eq!(got(&api).len(), 3);
}

#[tokio::test]
async fn who_talks_with_the_bot_comes_first() {
    let api = Api::start();
    let bot = setup(&api, 10).start().await;
    known(&bot, 150).await;
    // All that the channel takes.
    broadcast(&bot.setup, &["--text", HELLO, "--rate", "10"]);
    until("it is under way", SOON, || got(&api).len() >= 30).await;
    for round in 0..3 {
        let before = api.calls().len();
        // The first of them rides in the answer.
        once(bot.port, webhook(&text(round, 7, "many 3"))).await;
        let theirs = || {
            let calls = api.calls();
            let places = calls
                .iter()
                .enumerate()
                .filter(|(_, call)| call.chat == "7");
            places.map(|(place, _)| place).collect::<Vec<_>>()
        };
        let so_many = 2 * (round as usize + 1);
        until("they have answers", SOON, || theirs().len() == so_many).await;
        // One for each that was in line before, and those of the time that the turn took.
        let last = *theirs().last().unwrap();
        assert!(last < before + 15, "behind {} others", last - before);
    }
    let left = 150 - got(&api).len();
    assert!(left >= 30, "the broadcast was over: {left} left");
}

#[tokio::test]
async fn it_goes_to_those_who_were_chosen() {
    let api = Api::start();
    let bot = setup(&api, 30).start().await;
    known(&bot, 6).await;
    for user in [FIRST + 1, FIRST + 4] {
        once(bot.port, webhook(&text(9000 + user, user, "order tea"))).await;
    }
    // A dialog in a group.
    let sent = bot.setup.tool(&["send", "telegram", "1000@-100", "hi"]);
    assert_eq!(sent.code, Some(0), "{}", sent.stderr);
    until("the group has it", SOON, || api.received("-100") == ["hi"]).await;
    let ordered = "user_id IN (SELECT user_id FROM orders)";
    for (args, number) in [
        (&[][..], "6 dialogs"),
        (&["--groups"], "7 dialogs"),
        (&["--where", ordered], "2 dialogs"),
        (&["--where", ordered, "--channel", "viber"], "0 dialogs"),
        (&["--where", "user_id = '1002'"], "1 dialog"),
    ] {
        let would = broadcast(
            &bot.setup,
            &[&["--text", HELLO, "--dry-run"], args].concat(),
        );
        assert_eq!(would, format!("it would go to {number}\n"), "{args:?}");
    }
    assert_eq!(broadcast(&bot.setup, &["list"]), "");
    for (args, why) in [
        (&["--text", HELLO, "--where", "nope = 1"][..], "nope"),
        (
            &["--text", HELLO, "--where", "1 = 1; DELETE FROM orders"],
            "--where",
        ),
        (&["--text", HELLO, "--where", " "], "--where is empty"),
        (
            &["--text", HELLO, "--channel", "nowhere"],
            "would reach nobody",
        ),
        (&["--text", ""], "empty"),
        (&["--text", "<p>", "--format", "html"], "<p>"),
        (&["--text", HELLO, "--rate", "0"], "--rate"),
        (&[], "give a text"),
    ] {
        let refused = bot.setup.tool(&[&["broadcast"], args].concat());
        assert_eq!(refused.code, Some(2), "{args:?}: {}", refused.stdout);
        assert!(refused.stderr.contains(why), "{args:?}: {}", refused.stderr);
    }
    broadcast(&bot.setup, &["--text", HELLO, "--where", ordered]);
    until("it is done", SOON, || is(&bot.setup, 1, "done")).await;
    let chosen: Vec<_> = got(&api).into_keys().collect();
    assert_eq!(chosen, ["1001", "1004"]);
    let shown = broadcast(&bot.setup, &["show", "1"]);
    assert!(shown.contains(ordered) && shown.contains(HELLO), "{shown}");
}
