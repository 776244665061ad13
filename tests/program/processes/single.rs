//! `--single-process` does the same in one process.

use nix::sys::signal::Signal;

use crate::harness::bot::{Bot, Setup};
use crate::harness::client::say;
use crate::processes::stop;
use crate::turns::dedupe;
use crate::turns::order;

async fn one_process(args: &[&str]) -> Bot {
    let bot = Setup::commands()
        .args(&["--single-process"])
        .args(args)
        .start()
        .await;
    assert_eq!(bot.processes().len(), 1, "{:?}", bot.processes());
    bot
}

#[tokio::test]
async fn order_dedupe_and_restart_in_one_process() {
    let bot = one_process(&[]).await;
    dedupe::same_id_same_answer(&bot).await;
    dedupe::same_id_in_flight(&bot).await;
    order::senders_at_once(&bot, "one", 16, 10).await;
    bot.setup.assert_sound();
    for text in ["fail", "panic", "order "] {
        assert_eq!(say(bot.port, "bob", text).await.status, 503);
    }
    assert_eq!(say(bot.port, "bob", "hi").await.number(), 1);
    let bot = bot.stop().await.start().await;
    assert_eq!(say(bot.port, "one", "hi").await.number(), 161);
    // With workers, on the same file.
    let setup = bot.kill_all().await;
    let bot = Setup::commands()
        .storage(Some(setup.database()))
        .args(&["--workers", "2"])
        .start()
        .await;
    assert_eq!(say(bot.port, "one", "hi").await.number(), 162);
    bot.stop().await.assert_sound();
}

#[tokio::test]
async fn one_process_finishes_what_is_in_flight() {
    stop::assert_graceful(one_process(&[]).await, |bot| {
        bot.signal_group(Signal::SIGINT)
    })
    .await;
    stop::assert_graceful(one_process(&[]).await, |bot| bot.signal(Signal::SIGTERM)).await;
}

#[tokio::test]
async fn a_second_ctrl_c_forces_one_process() {
    stop::assert_forced(one_process(&[]).await).await;
}

#[tokio::test]
async fn the_grace_time_of_one_process_ends() {
    stop::assert_cut(one_process(&["--grace", "1s"]).await).await;
}
