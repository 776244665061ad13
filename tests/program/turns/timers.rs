//! Timers: `Turn::after`, `at`, `cancel`, and the command `timers`.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::api::Api;
use crate::harness::bot::{Bot, SOON, Setup, until};
use crate::harness::client::once;
use crate::harness::telegram::{text, webhook};

async fn start(api: &Api, args: &[&str]) -> Bot {
    let setup = Setup::commands().args(&["--workers", "2"]).args(args);
    api.configure(setup).start().await
}

/// What rides in the answer; null where nothing does.
pub(super) async fn says(bot: &Bot, update: u64, user: u64, said: &str) -> Value {
    let answer = once(bot.port, webhook(&text(update, user, said))).await;
    assert_eq!(answer.status, 200);
    match answer.text().as_str() {
        "" => Value::Null,
        _ => answer.json()["text"].clone(),
    }
}

/// What the command prints, an object a line.
pub(super) fn listed(bot: &Bot) -> Vec<Value> {
    bot.setup.listed(&["timers", "list", "--json"])
}

#[tokio::test]
async fn a_timer_runs_a_turn_of_its_dialog() {
    let api = Api::start();
    let bot = start(&api, &[]).await;
    says(&bot, 1, 7, "after 300ms tea green").await;
    says(&bot, 2, 7, "after 1ms cake big").await;
    says(&bot, 3, 8, "after 0s tea black").await;
    api.receives("7", &["3: timer cake \"big\"", "4: timer tea \"green\""])
        .await;
    api.receives("8", &["2: timer tea \"black\""]).await;
    assert_eq!(says(&bot, 4, 7, "hi").await, "5: hi");
    assert!(listed(&bot).is_empty());
    bot.stop().await.assert_sound();
}

/// It is set with its turn's commit, replaced by its name, and taken away.
#[tokio::test]
async fn a_timer_is_replaced_and_cancelled() {
    let api = Api::start();
    let bot = start(&api, &["--max-attempts", "1"]).await;
    says(&bot, 1, 7, "after 2d tea green").await;
    says(&bot, 2, 7, "after 3h cake big").await;
    says(&bot, 3, 7, "after 1h tea black").await;
    says(&bot, 4, 7, "cancel cake").await;
    let left = listed(&bot);
    assert_eq!(left.len(), 1, "{left:?}");
    assert_eq!(
        (&left[0]["name"], &left[0]["user_id"]),
        (&json!("tea"), &json!("7"))
    );
    // A turn that fails sets nothing, and says why.
    for (update, wrong, why) in [
        (5, "after soon tea x", "is no time such as 500ms"),
        (6, "after 4000d tea x", "more than ten years"),
        (7, "after 1h  x", "a timer's name has 1 to 64 bytes"),
    ] {
        says(&bot, update, 7, wrong).await;
        bot.wait_for_stderr(why).await;
    }
    assert_eq!(listed(&bot), left);
    // An operator has it fire.
    let fire = |name: &str| bot.setup.tool(&["timers", "fire", "telegram", "7", name]);
    let none = fire("cake");
    assert_eq!(none.code, Some(2), "{}", none.stderr);
    assert!(
        none.stderr.contains("telegram:7 has no timer \"cake\""),
        "{}",
        none.stderr
    );
    assert_eq!(fire("tea").code, Some(0));
    api.receives("7", &["5: timer tea \"black\""]).await;
    says(&bot, 8, 7, "after 1h tea x").await;
    let drop = bot.setup.tool(&["timers", "drop", "telegram", "7", "tea"]);
    assert_eq!(drop.code, Some(0), "{}", drop.stderr);
    assert!(listed(&bot).is_empty());
    bot.stop().await.assert_sound();
}

/// What was due while nothing ran is due at the next start: once, and in order.
#[tokio::test]
async fn timers_survive_the_death_of_all() {
    let api = Api::start();
    let bot = start(&api, &[]).await;
    for user in 1..=20 {
        says(&bot, user, 100 + user, "after 1s tea x").await;
    }
    let set = Instant::now();
    let setup = bot.kill_all().await;
    until("all are due", SOON, || {
        set.elapsed() > Duration::from_secs(1)
    })
    .await;
    let bot = setup.start().await;
    for user in 1..=20 {
        let user = (100 + user).to_string();
        let fired = || {
            let said = api.received(&user);
            said.iter()
                .filter(|said| *said == "2: timer tea \"x\"")
                .count()
        };
        until("it fires", SOON, || fired() > 0).await;
        assert_eq!(fired(), 1);
    }
    assert!(listed(&bot).is_empty());
    bot.stop().await.assert_sound();
}

/// A timer waits behind a turn of its dialog that is under way, as an update does.
#[tokio::test]
async fn a_timer_keeps_the_order_of_its_dialog() {
    let api = Api::start();
    let bot = start(&api, &["--ack-after", "50ms"]).await;
    says(&bot, 1, 7, "after 1s tea x").await;
    let gate = bot.setup.path("gate");
    says(&bot, 2, 7, &format!("gate {} slow", gate.display())).await;
    until("it has fired", SOON, || listed(&bot).is_empty()).await;
    assert!(api.received("7").is_empty());
    std::fs::write(&gate, "").expect("the gate opens");
    api.receives("7", &["2: slow", "3: timer tea \"x\""]).await;
    bot.stop().await.assert_sound();
}

#[tokio::test]
async fn a_dialog_has_so_many_timers() {
    let api = Api::start();
    let bot = start(&api, &["--max-attempts", "1"]).await;
    for n in 1..=100 {
        says(&bot, n, 7, &format!("after 1h t{n} x")).await;
    }
    says(&bot, 200, 7, "after 1h more x").await;
    bot.wait_for_stderr("this dialog would have 101 timers; 100 is the limit")
        .await;
    says(&bot, 201, 7, "after 1h t7 x").await;
    says(&bot, 202, 8, "after 1h t7 x").await;
    assert_eq!(listed(&bot).len(), 101);
    bot.stop().await.assert_sound();
}
