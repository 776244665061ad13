//! Kills at random while users open callbacks and others post to them: each takes effect once.
//!
//! What a message opened is posted to until it is answered 200, often by two at once, and again
//! later. A user's state counts messages and callbacks, so one that ran twice, or never, shows in
//! the end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http_body_util::Full;
use hyper::Request;
use hyper::body::Bytes;

use super::soak::{Killer, say, setting};
use crate::harness::api::Api;
use crate::harness::bot::{LATER, Setup, until};
use crate::harness::client::{Answer, join, message, post, try_once};

const USERS: u64 = 8;

/// Where the bot's addresses begin.
const URL: &str = "https://bot.test";

/// Asks until it is answered with 200, as whoever posts does.
async fn answered(port: u16, request: impl Fn() -> Request<Full<Bytes>>) -> Answer {
    loop {
        let answer = try_once(port, request()).await;
        if let Ok(answer) = answer
            && answer.status == 200
        {
            return answer;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn kills_at_random_lose_and_repeat_no_callback() {
    let (kills, seed) = (setting("SOAK_KILLS", 40) / 2, setting("SOAK_SEED", 1));
    let api = Api::start();
    let args = ["--workers", "2", "--max-attempts", "1000"];
    let setup = Setup::commands().args(&args).args(&["--public-url", URL]);
    let bot = setup.start().await;
    let port = bot.port;
    let again = bot.setup.clone().without_port();
    let again = again.args(&["--port", &port.to_string()]);
    let stop = Arc::new(AtomicBool::new(false));
    let users: Vec<_> = (1..=USERS)
        .map(|user| {
            let stop = stop.clone();
            tokio::spawn(async move {
                let mut random = fastrand::Rng::with_seed(seed + user);
                let name = format!("u{user}");
                let mut opened = 0;
                while !stop.load(Ordering::Relaxed) {
                    opened += 1;
                    let id = format!("{name}-{opened}");
                    let open = || message(&name, "callback quiet", Some(&id));
                    let address = answered(port, open).await.replies().remove(0);
                    let path = address.strip_prefix(URL).expect("one of this bot's");
                    let come = || post(path, "{}");
                    if random.bool() {
                        tokio::join!(answered(port, come), answered(port, come));
                    }
                    answered(port, come).await;
                    tokio::time::sleep(Duration::from_millis(random.u64(0..50))).await;
                }
                opened
            })
        })
        .collect();
    let mut killer = Killer::new(seed, 2, true);
    let bot = killer.strike_often(kills, bot, &again, &api).await;
    stop.store(true, Ordering::Relaxed);
    let mut all = 0;
    for (user, opened) in (1..).zip(users) {
        let opened = join(opened).await;
        all += opened;
        // A message and a callback each.
        let what = format!("u{user} has had {opened} callbacks");
        until(&what, LATER, || {
            bot.setup.count(&format!("u{user}")) == opened * 2
        })
        .await;
    }
    let open = bot.setup.tool(&["callbacks", "list"]);
    assert_eq!(open.stdout, "");
    bot.stop().await.assert_sound();
    say(&format!(
        "SOAK sqlite, callbacks | {} | {all} callbacks, each once",
        killer.done()
    ));
}
