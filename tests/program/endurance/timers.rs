//! Kills at random while users set timers: each fires, and takes effect once.
//!
//! Every message sets one, due within half a second; some are replaced before they fire. A
//! user's state counts messages and timers, so one that fired twice, or never, shows in the end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::soak::{Killer, say, setting};
use crate::harness::api::Api;
use crate::harness::bot::{Setup, until};
use crate::harness::client::{join, try_once};
use crate::harness::telegram::{text, webhook};

const USERS: u64 = 10;

/// Replies to one user are a second apart; there may be dozens of timers.
const SETTLED: Duration = Duration::from_secs(240);

/// Posts until it is answered with 200, as Telegram does.
async fn post(port: u16, update: u64, user: u64, said: &str) {
    loop {
        let posted = try_once(port, webhook(&text(update, user, said))).await;
        if posted.is_ok_and(|answer| answer.status == 200) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn kills_at_random_lose_and_repeat_no_timer() {
    let (kills, seed) = (setting("SOAK_KILLS", 40) / 2, setting("SOAK_SEED", 1));
    let api = Api::start();
    let setup = Setup::commands().args(&["--workers", "2", "--max-attempts", "1000"]);
    let bot = api.configure(setup).start().await;
    let port = bot.port;
    let again = bot.setup.clone().without_port();
    let again = again.args(&["--port", &port.to_string()]);
    let stop = Arc::new(AtomicBool::new(false));
    let users: Vec<_> = (1..=USERS)
        .map(|user| {
            let stop = stop.clone();
            tokio::spawn(async move {
                let mut random = fastrand::Rng::with_seed(seed + user);
                let mut set = 0;
                while !stop.load(Ordering::Relaxed) {
                    set += 1;
                    let update = user * 1000 + set * 2;
                    // Replaced at once by another one of its name.
                    if random.u32(0..4) == 0 {
                        let said = format!("after 1h t{set} never");
                        post(port, update - 1, user, &said).await;
                    } else {
                        post(port, update - 1, user, "cancel nothing").await;
                    }
                    let said = format!("after {}ms t{set} x", random.u64(0..500));
                    post(port, update, user, &said).await;
                    tokio::time::sleep(Duration::from_millis(random.u64(100..900))).await;
                }
                set
            })
        })
        .collect();
    let mut killer = Killer::new(seed, 2, true);
    let bot = killer.strike_often(kills, bot, &again, &api).await;
    stop.store(true, Ordering::Relaxed);
    let mut all = 0;
    for (user, posted) in (1..).zip(users) {
        let set = join(posted).await;
        all += set;
        let chat = user.to_string();
        until("all timers have fired", SETTLED, || {
            let received = api.received(&chat);
            (1..=set).all(|n| {
                let timer = format!(": timer t{n} \"x\"");
                received.iter().any(|said| said.ends_with(&timer))
            })
        })
        .await;
        // Two messages and one timer each; the first reply may ride in the answer.
        post(port, user * 1000 + 999, user, "many 2").await;
        let last = format!("{}.2", set * 3 + 1);
        until(&last, SETTLED, || api.received(&chat).contains(&last)).await;
    }
    let left = bot.setup.tool(&["timers", "list"]);
    assert_eq!(left.stdout, "");
    bot.stop().await.assert_sound();
    say(&format!(
        "SOAK sqlite, timers | {} | {all} timers, each once",
        killer.done()
    ));
}
