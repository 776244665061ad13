//! `--public-url`: each platform is told the address once for each start, when the bot
//! answers; the log says what only a person can do.

use std::time::Duration;

use crate::harness::api::{Api, TOKEN, VK_SECRET};
use crate::harness::bot::{SOON, Setup, until};
use crate::harness::client::once;
use crate::harness::queues::Registration;
use crate::harness::telegram::{text, webhook};

const URL: &str = "https://bot.test/";

fn of(all: &[Registration], method: &str) -> Vec<serde_json::Value> {
    let of_method = all.iter().filter(|call| call.method == method);
    of_method.map(|call| call.fields.clone()).collect()
}

#[tokio::test]
async fn each_platform_is_told_once() {
    let api = Api::start();
    let setup = Setup::counter().args(&["--workers", "3", "--public-url", URL]);
    let setup = api.configure(setup).without_env("TURNKEY_VK_CONFIRMATION");
    let bot = setup.start().await;
    api.queues.bot_port(bot.port);
    let lines = bot.stderr();
    assert!(
        lines.contains("Facebook takes an address from the app's owner only"),
        "{lines}"
    );
    assert!(lines.contains("enter https://bot.test/facebook"), "{lines}");
    for platform in ["Telegram", "Viber", "VK"] {
        bot.wait_for_stderr(&format!("{platform} posts to https://bot.test/"))
            .await;
    }
    // A worker that takes another's place does not do it again.
    let pid = bot.worker(0).await;
    let kill = nix::sys::signal::kill;
    kill(
        nix::unistd::Pid::from_raw(pid),
        nix::sys::signal::Signal::SIGKILL,
    )
    .unwrap();
    bot.successor("turnkey: worker 0", pid).await;
    bot.wait_for_stderr("starting another").await;
    let all = api.queues.registrations();
    for method in [
        "setWebhook",
        "set_webhook",
        "addCallbackServer",
        "setCallbackSettings",
    ] {
        assert_eq!(of(&all, method).len(), 1, "{method}: {all:?}");
    }
    let telegram = &of(&all, "setWebhook")[0];
    assert_eq!(telegram["url"], "https://bot.test/telegram");
    assert!(telegram["allowed_updates"].as_array().is_some_and(|kinds| {
        kinds.contains(&"message".into()) && !kinds.contains(&"edited_message".into())
    }));
    let viber = &of(&all, "set_webhook")[0];
    assert_eq!(viber["url"], "https://bot.test/viber");
    // What the bot hears, and no more.
    let events = ["conversation_started", "subscribed", "unsubscribed"];
    assert_eq!(viber["event_types"], serde_json::json!(events));
    let asked = &of(&all, "setCallbackSettings")[0];
    for (event, is_asked) in [
        ("message_new", "1"),
        ("message_event", "1"),
        ("message_deny", "1"),
        ("message_edit", "0"),
        ("message_reaction_event", "0"),
        ("group_leave", "0"),
    ] {
        assert_eq!(asked[event], is_asked, "{event}");
    }
    let vk = &of(&all, "addCallbackServer")[0];
    assert_eq!(
        (&vk["url"], &vk["secret_key"]),
        (&"https://bot.test/vk".into(), &VK_SECRET.into())
    );
    assert_eq!(of(&all, "setCallbackSettings")[0]["server_id"], "7");

    // No secret was set: one was made, every worker asks for it, and it gives nothing away.
    let secret = telegram["secret_token"].as_str().unwrap();
    assert!(secret.len() >= 32 && !TOKEN.contains(secret));
    for n in 0..12 {
        assert_eq!(once(bot.port, webhook(&text(n, 7, "hi"))).await.status, 401);
        let mut genuine = webhook(&text(n, 7, "hi"));
        let name = "x-telegram-bot-api-secret-token";
        genuine.headers_mut().insert(name, secret.parse().unwrap());
        assert_eq!(once(bot.port, genuine).await.status, 200);
    }
    assert!(!bot.stderr().contains(secret));
    // Once for each start.
    let bot = bot.stop().await.start().await;
    api.queues.bot_port(bot.port);
    let again = |method: &str| of(&api.queues.registrations(), method).len();
    until("a second registration", SOON, || {
        again("setWebhook") == 2 && again("setCallbackSettings") == 2
    })
    .await;
    // VK knows the address already.
    let edited = &of(&api.queues.registrations(), "editCallbackServer")[0];
    assert_eq!(edited["server_id"], "7");
    assert_eq!(again("addCallbackServer"), 1);
    bot.stop().await;
}

/// What does not work is said once, and tried again while the bot serves.
#[tokio::test]
async fn a_failure_is_tried_again() {
    let api = Api::start();
    api.queues.refuse_registrations(2);
    let setup = Setup::counter()
        .args(&["--public-url", URL, "--telegram-api-url", &api.url()])
        .env("TURNKEY_TELEGRAM_TOKEN", TOKEN)
        .env("TURNKEY_TELEGRAM_SECRET", "s3cret-of-ours");
    let bot = setup.start().await;
    bot.wait_for_stderr("cannot register https://bot.test/telegram with Telegram, trying again: 400 Bad Request: Bad Request: bad webhook").await;
    until("a registration", Duration::from_secs(40), || {
        !api.queues.registrations().is_empty()
    })
    .await;
    let secret = api.queues.registrations()[0].fields["secret_token"].clone();
    assert_eq!(secret, "s3cret-of-ours");
    bot.wait_for_stderr("Telegram posts to").await;
    assert_eq!(
        bot.stderr().matches("cannot register").count(),
        1,
        "{}",
        bot.stderr()
    );
    bot.stop().await;
}

/// Without `--public-url` nothing is registered, and what to register is said.
#[tokio::test]
async fn what_to_register_is_said() {
    let api = Api::start();
    let bot = api.configure(Setup::counter()).start().await;
    bot.wait_for_stderr("https://YOUR.HOST/viber with Viber")
        .await;
    assert!(bot.stderr().contains("--public-url"), "{}", bot.stderr());
    assert!(api.queues.registrations().is_empty());
    bot.stop().await;
}
