//! Replies that a platform does not take: each has an end, its user's next one goes on,
//! and an operator sees, sends again or drops it.

use std::time::Duration;

use serde_json::Value;

use crate::harness::api::{Api, Mood};
use crate::harness::bot::{Bot, SOON, Setup, until, url};
use crate::harness::client::once;
use crate::harness::telegram::{text, webhook};
use crate::operators::admin::{self, admin_port, get};
use crate::platforms::webhooks::{batch, facebook, facebook_text, told, viber, viber_text, vk};

/// Runs `outbox` on the bot's database; what it printed.
pub(crate) fn outbox(setup: &Setup, args: &[&str]) -> String {
    let storage = url(&setup.database());
    let ended = setup.bare(&[&["outbox"], args, &["--storage", &storage]].concat());
    assert_eq!(ended.code, Some(0), "{args:?}: {}", ended.stderr);
    ended.stdout
}

/// The same, as JSON.
pub(crate) fn listed(setup: &Setup, args: &[&str]) -> Vec<Value> {
    let printed = outbox(setup, &[&["list", "--json"], args].concat());
    printed
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect()
}

pub(crate) fn name(reply: &Value) -> &str {
    reply["reply"].as_str().expect("its name")
}

/// Has the bot say two things to the user of this number on each platform.
async fn say_two(bot: &Bot, round: u64) {
    once(bot.port, webhook(&text(round, 100, "many 2"))).await;
    told(bot, viber(&viber_text(round, "101", "many 2")), "").await;
    let event = facebook_text(&format!("m{round}"), "102", "many 2");
    told(bot, facebook(batch(&[event])), "").await;
    told(bot, vk(&format!("e{round}"), 103, "many 2"), "ok").await;
}

const CHATS: [&str; 4] = ["100", "101", "102", "103"];

#[tokio::test]
async fn a_reply_that_fails_for_ever_has_an_end_on_every_platform() {
    let api = Api::start();
    let setup = Setup::commands().args(&["--max-reply-attempts", "3"]);
    let bot = api.configure(admin::setup(setup)).start().await;
    let port = admin_port(&bot);
    for chat in CHATS {
        api.be(chat, &[Mood::Failing, Mood::Failing, Mood::Failing]);
    }
    say_two(&bot, 1).await;
    // The second reply, and the next turn, go on.
    say_two(&bot, 2).await;
    until("the others", SOON, || {
        let through = |chat: &&str| api.received(chat) == ["1.2", "2.1", "2.2"];
        CHATS.iter().all(through)
    })
    .await;
    let tries = |chat: &str| {
        let calls = api.calls().into_iter();
        calls.filter(|c| c.chat == chat && c.text == "1.1").count()
    };
    assert_eq!(CHATS.map(tries), [3; 4]);
    bot.wait_for_stderr("a reply was given up after 3 attempts")
        .await;

    let dead = listed(&bot.setup, &["--dead"]);
    assert_eq!(dead.len(), 4, "{dead:?}");
    for reply in &dead {
        let error = reply["error"].as_str().expect("a reason");
        assert!(error.contains("it fails"), "{reply}");
        assert!(
            bot.stderr()
                .contains(&format!("outbox show {} --storage ", name(reply)))
        );
    }
    assert!(listed(&bot.setup, &["--waiting"]).is_empty());
    let page = get(port, "/status/dead").await.text();
    let metrics = get(port, "/metrics").await.text();
    for reply in &dead {
        assert!(page.contains(name(reply)), "{page}");
    }
    assert!(metrics.contains("\nturnkey_dead_replies 4"), "{metrics}");
    assert!(
        metrics.contains("\nturnkey_replies_buried_total 4"),
        "{metrics}"
    );

    // While it runs: one is shown, dropped, one sent again.
    let [first, second, ..] = dead.as_slice() else {
        panic!("four were there");
    };
    let shown = outbox(&bot.setup, &["show", name(first)]);
    assert!(
        shown.contains("1.1") && shown.contains("it fails"),
        "{shown}"
    );
    outbox(&bot.setup, &["drop", name(first)]);
    outbox(&bot.setup, &["retry", name(second)]);
    let chat = CHATS[1];
    assert_eq!(second["user_id"], chat);
    until("it", SOON, || api.received(chat).last().unwrap() == "1.1").await;
    // The rest while it is stopped.
    let setup = bot.stop().await;
    for gone in [first, second] {
        let storage = url(&setup.database());
        let args = ["outbox", "drop", name(gone), "--storage", &storage];
        let ended = setup.bare(&args);
        assert_ne!(ended.code, Some(0));
        assert!(ended.stderr.contains("outbox list"), "{}", ended.stderr);
    }
    outbox(&setup, &["retry", "--all"]);
    assert_eq!(listed(&setup, &[]).len(), 2);
    let bot = setup.start().await;
    until("all but one", SOON, || api.accepted() == 15).await;
    let setup = bot.stop().await;
    assert!(listed(&setup, &[]).is_empty());
    assert_eq!(api.received(CHATS[0]), ["1.2", "2.1", "2.2"]);
    setup.assert_sound();
}

/// What the platform does not even answer says nothing of a reply, unless others get
/// through.
#[tokio::test]
async fn only_a_reply_that_fails_alone_uses_up_its_attempts() {
    let api = Api::start();
    let setup = Setup::commands().args(&["--workers", "1", "--max-reply-attempts", "2"]);
    let bot = api.configure(setup).start().await;
    api.be("7", &[Mood::Broken, Mood::Reset, Mood::Broken, Mood::Reset]);
    once(bot.port, webhook(&text(1, 7, "many 2"))).await;
    until("both", SOON, || api.received("7") == ["1.1", "1.2"]).await;
    assert!(listed(&bot.setup, &[]).is_empty());

    api.be("8", &[Mood::Reset; 50]);
    once(bot.port, webhook(&text(2, 8, "many 1"))).await;
    once(
        bot.port,
        webhook(&text(3, 8, "photo https://example.org/1.jpg")),
    )
    .await;
    let mut others = 0;
    while !bot
        .stderr()
        .contains("a reply was given up after 2 attempts")
    {
        // A reply to a button is sent, not given in the answer.
        let pressed = serde_json::json!({"update_id": 100 + others, "callback_query": {
            "id": "q", "from": {"id": 1000 + others}, "data": "hi"}});
        once(bot.port, webhook(&pressed)).await;
        others += 1;
        assert!(others < 2000, "{}", bot.stderr());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    drop(bot.kill_all().await);
}

#[tokio::test]
async fn a_reply_that_is_too_old_has_an_end_whatever_keeps_it() {
    let api = Api::start();
    let setup = Setup::commands().args(&["--max-reply-age", "1s"]);
    let bot = api.configure(setup).start().await;
    api.be("7", &[Mood::Reset; 100]);
    once(bot.port, webhook(&text(1, 7, "many 2"))).await;
    // It waits for those before it, and rides in its answer.
    let next = once(bot.port, webhook(&text(2, 7, "hi"))).await;
    assert!(next.text().contains("2: hi"), "{}", next.text());
    let dead = listed(&bot.setup, &[]);
    assert_eq!(dead.len(), 2, "{dead:?}");
    assert!(dead.iter().all(|reply| reply["attempts"] == 0), "{dead:?}");
    bot.stop().await.assert_sound();
}

/// Telegram accepted it and says 500: again would be a second message.
#[tokio::test]
async fn a_message_that_was_deleted_at_once_is_not_sent_again() {
    let api = Api::start();
    let bot = api.configure(Setup::commands()).start().await;
    api.be("7", &[Mood::Deleted]);
    once(bot.port, webhook(&text(1, 7, "many 2"))).await;
    until("the second", SOON, || api.calls().len() == 2).await;
    assert_eq!(api.received("7"), ["1.1", "1.2"]);
    assert!(listed(&bot.setup, &[]).is_empty());
    bot.stop().await;
}

#[tokio::test]
async fn a_reply_that_still_waits_can_be_dropped() {
    let api = Api::start();
    let bot = api.configure(Setup::commands()).start().await;
    api.be("7", &[Mood::Failing; 100]);
    once(bot.port, webhook(&text(1, 7, "many 2"))).await;
    let failed = || {
        let waiting = listed(&bot.setup, &["--waiting"]);
        waiting.first().is_some_and(|reply| reply["attempts"] != 0)
    };
    until("a failure", SOON, failed).await;
    let waiting = listed(&bot.setup, &[]);
    assert!(
        waiting[0]["error"].as_str().unwrap().contains("it fails"),
        "{waiting:?}"
    );
    outbox(&bot.setup, &["drop", name(&waiting[0])]);
    until("the next one's turn", SOON, || {
        api.calls().last().is_some_and(|call| call.text == "1.2")
    })
    .await;
    api.be("7", &[]);
    until("it", SOON, || api.received("7") == ["1.2"]).await;
    bot.stop().await.assert_sound();
}

#[test]
fn a_reply_s_name_is_checked() {
    let setup = Setup::commands();
    for odd in ["", "1", "x.0", "1.x", "-1.0", "99999999999999999999.0"] {
        let ended = setup.bare(&["outbox", "show", "--storage", "sqlite:x.db", "--", odd]);
        assert_eq!(ended.code, Some(2), "{odd}: {ended:?}");
        assert!(ended.stderr.contains("TURN.NUMBER"), "{}", ended.stderr);
    }
}
