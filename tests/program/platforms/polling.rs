//! Polling: the platform's queue moves over what is committed, and nothing is lost or
//! counted twice, whatever is killed or away.

use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::harness::api::{Api, TOKEN, VK_TOKEN};
use crate::harness::bot::{Bot, SOON, Setup, until};
use crate::harness::queues::Weather;
use crate::harness::telegram::text;

/// A bot that polls Telegram.
pub(crate) fn telegram(api: &Api, setup: Setup) -> Setup {
    setup
        .without_port()
        .args(&["--telegram-api-url", &api.url()])
        .env("TURNKEY_TELEGRAM_TOKEN", TOKEN)
}

/// A bot that polls VK.
pub(crate) fn vk(api: &Api, setup: Setup) -> Setup {
    setup
        .without_port()
        .args(&["--vk-api-url", &api.url()])
        .env("TURNKEY_VK_TOKEN", VK_TOKEN)
}

/// A bot that polls both.
pub(crate) fn both(api: &Api, setup: Setup) -> Setup {
    vk(api, telegram(api, setup)).args(&["--updater", "polling"])
}

pub(crate) fn vk_event(id: u64, user: u64, text: &str) -> Value {
    json!({"group_id": 1, "type": "message_new", "event_id": format!("e{id}"), "v": "5.199",
        "object": {"message": {"date": 1, "from_id": user, "id": 1, "peer_id": user,
            "conversation_message_id": 1, "text": text, "attachments": []}, "client_info": {}}})
}

/// Whoever listens needs a socket, which is bound at the start; a setting that means
/// webhooks would leave a bot that neither asks nor listens.
#[tokio::test]
async fn a_reload_that_means_webhooks_is_refused() {
    let api = Api::start();
    let setup = telegram(&api, Setup::commands());
    let path = setup.path("turnkey.toml");
    std::fs::write(&path, "").unwrap();
    let bot = setup
        .args(&["--config", path.to_str().unwrap()])
        .start()
        .await;
    std::fs::write(&path, "telegram-secret = \"s\"\n").unwrap();
    bot.signal(Signal::SIGHUP);
    bot.wait_for_stderr("Reload failed, the old settings and 1 worker stay: with these settings updates arrive by webhooks instead of polling, which takes a restart").await;
    api.queues.push([text(1, 7, "hi")]);
    until("a reply", SOON, || api.accepted() == 1).await;
    std::fs::write(&path, "max-turns = 7\n").unwrap();
    bot.signal(Signal::SIGHUP);
    bot.wait_for_stderr("Reloaded: 1 worker").await;
    bot.stop().await.assert_sound();
}

async fn all_kept_by_us(api: &Api) {
    until("an empty queue", SOON, || api.queues.kept() == 0).await;
}

#[tokio::test]
async fn a_token_is_all_it_takes() {
    let api = Api::start();
    let bot = telegram(&api, Setup::commands()).start().await;
    let lines = bot.stderr();
    assert!(lines.starts_with("Asking Telegram for updates"), "{lines}");
    assert!(lines.contains("Started polling updater (1 worker, sqlite:"));
    assert!(!lines.contains("port"), "there is none: {lines}");
    api.queues.push((1..=3).map(|id| text(id, 7, "hi")));
    let pressed = json!({"update_id": 4, "callback_query": {"id": "q1", "from": {"id": 7},
        "message": {"message_id": 1, "chat": {"id": 7}}, "data": "yes"}});
    let sticker = json!({"update_id": 5, "message": {"from": {"id": 7}, "chat": {"id": 7},
        "sticker": {"file_id": "x"}}});
    api.queues.push([pressed, sticker, text(6, 8, "hi")]);
    until("5 replies", SOON, || api.accepted() == 5).await;
    let to_ann = ["1: hi", "2: hi", "3: hi", "4: button yes"];
    assert_eq!(api.received("7"), to_ann);
    assert_eq!(api.received("8"), ["1: hi"]);
    all_kept_by_us(&api).await;
    // A pressed button stops waiting.
    let called = |method: &str| {
        let calls = api.queues.registrations();
        calls.iter().filter(|call| call.method == method).count()
    };
    until("an answer to the button", SOON, || {
        called("answerCallbackQuery") == 1
    })
    .await;
    assert_eq!(
        api.queues.registrations()[0].fields["callback_query_id"],
        "q1"
    );
    bot.stop().await.assert_sound();
}

/// Whoever is slow holds up nobody else, and their own messages keep their order.
#[tokio::test]
async fn users_run_beside_each_other_and_each_in_order() {
    let api = Api::start();
    let bot = telegram(&api, Setup::commands()).start().await;
    let mut updates = vec![text(1, 7, "sleep 3000")];
    for n in 0..40 {
        updates.push(text(2 + n, 7 + n % 4, &format!("n{n}")));
    }
    let asked = Instant::now();
    api.queues.push(updates);
    until("30 replies to the others", SOON, || {
        (8..=10)
            .map(|user| api.received(&user.to_string()).len())
            .sum::<usize>()
            >= 15
    })
    .await;
    assert!(asked.elapsed() < Duration::from_secs(3), "they waited");
    assert!(api.received("7").is_empty());
    // While it runs new ones come through, and the platform keeps all of them.
    api.queues.push([text(100, 99, "late")]);
    until("a reply to a newcomer", SOON, || {
        api.received("99").len() == 1
    })
    .await;
    assert!(api.queues.kept() >= 41);
    all_kept_by_us(&api).await;
    let setup = bot.stop().await;
    assert_eq!((setup.count("7"), setup.count("8")), (11, 10));
    let of = |user: u64| {
        let texts = (0..40).filter(|n| 7 + n % 4 == user);
        let first = u64::from(user == 7);
        let numbered = texts.zip(1 + first..);
        numbered
            .map(|(n, count)| format!("{count}: n{n}"))
            .collect::<Vec<_>>()
    };
    let got = api.received("8");
    assert_eq!(got, of(8)[..got.len()], "in order");
}

/// A handler that fails holds back its user, not the others; nothing is given up.
#[tokio::test]
async fn what_fails_is_tried_again() {
    let api = Api::start();
    let bot = telegram(&api, Setup::commands()).start().await;
    api.queues
        .push([text(1, 7, "fail"), text(2, 7, "after"), text(3, 8, "hi")]);
    until("a reply to the other", SOON, || {
        api.received("8") == ["1: hi"]
    })
    .await;
    until("a second attempt", SOON, || {
        bot.stderr().matches("update 1 failed").count() >= 2
    })
    .await;
    assert_eq!(api.queues.kept(), 3);
    assert!(api.received("7").is_empty());
    let setup = bot.stop().await;
    assert_eq!((setup.count("7"), setup.count("8")), (0, 1));
}

/// kill -9 in the middle of a batch, again and again: each is counted once.
#[tokio::test]
async fn a_killed_worker_loses_and_repeats_nothing() {
    let api = Api::start();
    let bot = telegram(&api, Setup::counter()).start().await;
    const UPDATES: u64 = 600;
    let mut pid = bot.worker(0).await;
    for batch in 0..3 {
        let ids = batch * 200 + 1..=(batch + 1) * 200;
        api.queues
            .push(ids.map(|id| text(id, 1000 + id % 50, "hi")));
        let half = UPDATES as usize / 3 / 2;
        until("half of the batch", SOON, || {
            api.accepted() > batch as usize * 200 + half / 4
        })
        .await;
        kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
        pid = bot.successor("turnkey: worker 0", pid).await;
    }
    all_kept_by_us(&api).await;
    // And everything at once.
    api.queues
        .push((601..=700).map(|id| text(id, 1000 + id % 50, "hi")));
    let bot = bot.kill_all().await.start().await;
    all_kept_by_us(&api).await;
    let setup = bot.stop().await;
    assert_eq!(setup.sum(), UPDATES + 100);
    for user in 1000..1050 {
        assert_eq!(setup.count(&user.to_string()), 14, "{user}");
    }
    setup.assert_sound();
}

/// Ctrl-C during a long poll: it leaves at once. During a turn: that is finished, and the
/// platform told, so that a run on another database does not handle it again.
#[tokio::test]
async fn ctrl_c_leaves_at_once_and_nothing_half_done() {
    let api = Api::start();
    let bot = telegram(&api, Setup::commands()).start().await;
    until("a long poll", SOON, || api.queues.waiting() == 1).await;
    let asked = Instant::now();
    let setup = stop_by_ctrl_c(bot).await;
    let took = asked.elapsed();
    assert!(took < Duration::from_secs(4), "it took {took:?}");
    until("no long poll", SOON, || api.queues.waiting() == 0).await;

    let bot = setup.start().await;
    api.queues.push([
        text(1, 7, "sleep 4000"),
        text(2, 7, "next"),
        text(3, 8, "hi"),
    ]);
    until("a reply to the other", SOON, || {
        api.received("8").len() == 1
    })
    .await;
    let setup = stop_by_ctrl_c(bot).await;
    assert_eq!((setup.count("7"), setup.count("8")), (1, 1));
    // The next is not ours yet, nor what stands behind it.
    assert_eq!(api.queues.kept(), 2);
    let bot = setup.start().await;
    all_kept_by_us(&api).await;
    let setup = bot.stop().await;
    assert_eq!((setup.count("7"), setup.count("8")), (2, 1));
    assert_eq!(api.received("7"), ["1: sleep 4000", "2: next"]);
}

async fn stop_by_ctrl_c(mut bot: Bot) -> Setup {
    bot.signal_group(Signal::SIGINT);
    assert_eq!(bot.ended(SOON).await, 0, "{}", bot.stderr());
    bot.setup.clone()
}

#[tokio::test]
async fn an_outage_is_waited_out() {
    let api = Api::start();
    api.queues.weather(Weather::Away);
    let bot = telegram(&api, Setup::counter()).start().await;
    bot.wait_for_stderr("cannot ask Telegram for updates, trying again: 502")
        .await;
    until("a few attempts", SOON, || api.queues.asks().len() >= 3).await;
    let asks = api.queues.asks();
    assert!(
        asks[2].at - asks[1].at >= Duration::from_millis(450),
        "it backs off"
    );
    api.queues.push([text(1, 7, "hi")]);
    api.queues.weather(Weather::Fine);
    until("a reply", SOON, || api.received("7") == ["1: hi"]).await;
    bot.wait_for_stderr("Telegram gives updates again").await;
    let said = bot.stderr().matches("cannot ask Telegram").count();
    assert_eq!(said, 1, "once: {}", bot.stderr());
    bot.stop().await;
}

#[tokio::test]
async fn a_webhook_is_in_the_way() {
    let api = Api::start();
    api.queues.has_webhook(true);
    let bot = telegram(&api, Setup::counter()).start().await;
    bot.wait_for_stderr("--delete-webhook").await;
    assert!(api.queues.is_posted_to(), "nobody asked to delete it");
    let setup = bot.stop().await;
    api.queues.push([text(1, 7, "hi")]);
    let bot = setup.args(&["--delete-webhook"]).start().await;
    until("a reply", SOON, || api.received("7") == ["1: hi"]).await;
    assert!(!api.queues.is_posted_to());
    bot.stop().await;
}

#[tokio::test]
async fn a_second_poller_is_named() {
    let api = Api::start();
    let bot = telegram(&api, Setup::counter()).start().await;
    until("a long poll", SOON, || api.queues.waiting() == 1).await;
    api.queues.second_poller();
    bot.wait_for_stderr("another program polls this bot's updates")
        .await;
    api.queues.push([text(1, 7, "hi")]);
    until("a reply", SOON, || api.received("7") == ["1: hi"]).await;
    bot.stop().await;
}

/// Exit code 2 and a sentence with the remedy, without the token.
#[tokio::test]
async fn a_wrong_token_ends_the_program() {
    let api = Api::start();
    api.queues.weather(Weather::Unauthorized);
    for (setup, variable) in [
        (telegram(&api, Setup::counter()), "TURNKEY_TELEGRAM_TOKEN"),
        (vk(&api, Setup::counter()), "TURNKEY_VK_TOKEN"),
        (
            telegram(&api, Setup::counter()).env("TURNKEY_TELEGRAM_TOKEN", "1:never"),
            "TURNKEY_TELEGRAM_TOKEN",
        ),
    ] {
        let mut bot = setup.spawn();
        let code = bot.ended(SOON).await;
        let said = bot.stderr();
        assert_eq!(code, 2, "{said}");
        assert!(
            said.contains("error: ") && said.contains(variable),
            "{said}"
        );
        for secret in [TOKEN, VK_TOKEN, "1:never"] {
            assert!(!said.contains(secret), "{said}");
        }
    }
}

#[tokio::test]
async fn vk_is_polled_and_its_mark_survives() {
    let api = Api::start();
    let bot = vk(&api, Setup::counter()).start().await;
    assert!(
        bot.stderr().starts_with("Asking VK for updates"),
        "{}",
        bot.stderr()
    );
    until("a long poll", SOON, || api.queues.waiting() == 1).await;
    api.queues.push_vk((1..=3).map(|id| vk_event(id, 7, "hi")));
    until("3 replies", SOON, || api.received("7").len() == 3).await;
    // The key expires; the mark stands.
    api.queues.expire_vk(false);
    api.queues.push_vk([vk_event(4, 7, "hi")]);
    until("a reply", SOON, || api.received("7").len() == 4).await;
    // What comes while the bot is away, or is killed, is there when it is back.
    let setup = bot.stop().await;
    api.queues.push_vk((5..=6).map(|id| vk_event(id, 7, "hi")));
    let bot = setup.start().await;
    until("2 more", SOON, || api.received("7").len() == 6).await;
    api.queues
        .push_vk((7..=20).map(|id| vk_event(id, 7 + id % 3, "hi")));
    let setup = bot.kill_all().await;
    api.queues.expire_vk(false);
    let bot = setup.start().await;
    until("all", SOON, || api.accepted() == 20).await;
    let setup = bot.stop().await;
    assert_eq!(setup.sum(), 20);
    // VK has forgotten what came meanwhile, and says so.
    api.queues.push_vk([vk_event(21, 7, "lost")]);
    api.queues.expire_vk(true);
    let bot = setup.start().await;
    bot.wait_for_stderr("messages may be lost").await;
    until("a long poll", SOON, || api.queues.waiting() == 1).await;
    api.queues.push_vk([vk_event(22, 7, "hi")]);
    until("a reply", SOON, || api.accepted() == 21).await;
    bot.stop().await;
}

#[test]
fn polling_and_the_web_side_are_opposites() {
    let api_free = |setup: Setup| setup.env("TURNKEY_TELEGRAM_TOKEN", TOKEN);
    for (args, part) in [
        (&["--port", "0"][..], "--port"),
        (&["--workers", "2", "--host", "::1"], "--host, --workers"),
        (&["--fast"], "--fast"),
        (&["--single-process"], "--single-process"),
        (&["--public-url", "https://bot.test"], "--public-url"),
    ] {
        let setup = api_free(Setup::counter().without_port());
        let ended = setup
            .args(&["--updater", "polling"])
            .args(args)
            .run_to_end();
        assert_eq!(ended.code, Some(2), "{ended:?}");
        assert!(ended.stderr.contains(part), "{part}: {}", ended.stderr);
        assert!(!ended.stderr.contains(TOKEN));
    }
    let none = Setup::counter()
        .without_port()
        .args(&["--updater", "polling"]);
    assert!(none.run_to_end().stderr.contains("TURNKEY_TELEGRAM_TOKEN"));
    let delete = Setup::counter().args(&["--delete-webhook"]).run_to_end();
    assert!(delete.stderr.contains("--delete-webhook"), "{delete:?}");
}
