//! An update comes again while its first turn still runs, in another worker, and is
//! accepted there. The first turn's answer has nobody to go to: what would have ridden in
//! it must be sent.

use std::path::PathBuf;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::harness::api::Api;
use crate::harness::bot::{Bot, SOON, Setup, until};
use crate::harness::client::{begin_request, once};
use crate::harness::engine::Engine;
use crate::harness::telegram::{text, webhook};

fn signal(pid: i32, signal: Signal) {
    kill(Pid::from_raw(pid), signal).expect("it lives");
}

async fn a_reply_that_rode_to_nobody_is_sent(engine: Engine) {
    let api = Api::start();
    let setup = engine.setup().await.0;
    let setup = setup.args(&["--workers", "2", "--ack-after", "300ms"]);
    let bot: Bot = api.configure(setup).start().await;
    let setup: &Setup = &bot.setup;
    let gate: PathBuf = setup.path("gate");
    let workers = [bot.worker(0).await, bot.worker(1).await];
    let update = text(1, 7, &format!("gate {} hi", gate.display()));

    // The first time, to worker 0, which then stands still.
    signal(workers[1], Signal::SIGSTOP);
    let first = begin_request(bot.port, webhook(&update)).await;
    let at_gate = setup.path("gate.telegram.7");
    until("the handler runs", SOON, || at_gate.exists()).await;
    signal(workers[0], Signal::SIGSTOP);
    signal(workers[1], Signal::SIGCONT);
    // Telegram gave up on it, and posts again.
    first.abort();
    let again = once(bot.port, webhook(&update)).await;
    assert_eq!(
        (again.status, again.text().as_str()),
        (200, ""),
        "it is accepted"
    );

    std::fs::write(&gate, "").expect("a file");
    signal(workers[0], Signal::SIGCONT);
    until("the reply", SOON, || api.received("7") == ["1: hi"]).await;
    assert_eq!(bot.stop().await.count("7"), 1);
}

#[tokio::test]
async fn on_sqlite() {
    a_reply_that_rode_to_nobody_is_sent(Engine::Sqlite).await;
}

#[tokio::test]
async fn on_postgres() {
    // None: it has said why it cannot run here.
    if let Some(engine) = Engine::postgres() {
        a_reply_that_rode_to_nobody_is_sent(engine).await;
    }
}
