//! What is dead, hangs or was asleep: who is replaced, when, and when it is given up.

use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::harness::bot::{Bot, SOON, Setup, until};
use crate::harness::client::{begin, join, say};
use crate::harness::load::Load;

fn signal(pid: i32, signal: Signal) {
    kill(Pid::from_raw(pid), signal).expect("it lives");
}

/// Kills a worker as soon as it is there, so often or until the program ends.
async fn kill_again_and_again(bot: &Bot, index: usize, times: usize) {
    let name = format!("turnkey: worker {index}");
    let mut last = 0;
    for _ in 0..times {
        let deadline = Instant::now() + SOON;
        let pid = loop {
            match bot.all_named(&name).first() {
                Some(pid) if *pid != last => break *pid,
                _ => {}
            }
            if bot.stderr().contains("giving up") {
                return;
            }
            assert!(Instant::now() < deadline, "{name} has no successor");
            tokio::time::sleep(Duration::from_millis(2)).await;
        };
        signal(pid, Signal::SIGKILL);
        last = pid;
    }
}

#[tokio::test]
async fn a_crash_loop_ends_with_code_4() {
    let mut bot = Setup::counter().start().await;
    kill_again_and_again(&bot, 0, 10).await;
    assert_eq!(bot.ended(SOON).await, 4);
    bot.gone(SOON).await;
    let stderr = bot.stderr();
    assert!(stderr.contains("killed from outside"), "{stderr}");
    assert!(stderr.contains("giving up"), "{stderr}");
    assert_eq!(stderr.matches("starting another").count(), 6, "{stderr}");
    assert!(!bot.socket().exists());
    bot.setup.assert_sound();
}

#[tokio::test]
async fn while_one_worker_lives_it_goes_on() {
    let bot = Setup::counter().args(&["--workers", "2"]).start().await;
    kill_again_and_again(&bot, 0, 7).await;
    assert_eq!(say(bot.port, "ann", "hi").await.number(), 1);
    assert!(!bot.stderr().contains("giving up"), "{}", bot.stderr());
    bot.stop().await.assert_sound();
}

#[tokio::test]
async fn a_worker_that_cannot_start_is_code_3() {
    let setup = Setup::counter().env("TURNKEY_TELEGRAM_TOKEN", "1:a b");
    let ended = setup.run_to_end();
    assert_eq!(ended.code, Some(3), "{ended:?}");
    assert!(ended.stderr.contains("before it served"), "{ended:?}");
    assert!(!ended.stderr.contains("a b"), "a secret: {ended:?}");
}

/// It tells what it hangs on, although its only thread is blocked.
#[tokio::test]
async fn a_worker_that_hangs_tells_what_it_has_in_hand() {
    let args = ["--workers", "2", "--worker-timeout", "3s"];
    let bot = Setup::commands().args(&args).start().await;
    let spin = begin(bot.port, "ann", "spin 20000").await;
    bot.wait_for_stderr("gave no sign of life").await;
    bot.wait_for_stderr("exited with code 134 (1; POST /http for ")
        .await;
    assert!(join(spin).await.is_err());
    assert_eq!(say(bot.port, "ann", "hi").await.number(), 1);
    bot.stop().await.assert_sound();
}

/// One that is stopped cannot tell anything; it is killed all the same.
#[tokio::test]
async fn a_stopped_worker_is_replaced() {
    let args = ["--workers", "2", "--worker-timeout", "3s"];
    let bot = Setup::commands().args(&args).start().await;
    let worker = bot.worker(0).await;
    signal(worker, Signal::SIGSTOP);
    bot.successor("turnkey: worker 0", worker).await;
    for n in 1..=20 {
        assert_eq!(say(bot.port, "ann", "hi").await.number(), n);
    }
    bot.stop().await.assert_sound();
}

/// Its dialog is given to another worker meanwhile; when it wakes, its commit comes
/// too late. The master sleeps, too: nobody kills the worker.
#[tokio::test]
async fn a_worker_that_wakes_too_late_changes_nothing() {
    let setup = Setup::commands().args(&["--workers", "2", "--turn-timeout", "30s"]);
    let bot = setup.start().await;
    let slow = begin(bot.port, "ann", "sleep 1000").await;
    bot.settled().await;
    // Whoever has it.
    let workers = [bot.worker(0).await, bot.worker(1).await];
    bot.signal(Signal::SIGSTOP);
    for pid in workers {
        signal(pid, Signal::SIGSTOP);
    }
    // The successor of its writer waits two seconds for it, then frees its lock.
    signal(bot.writer().await, Signal::SIGKILL);
    bot.signal(Signal::SIGCONT);
    bot.wait_for_stderr("took over from the last writer: 0 locks")
        .await;
    for pid in workers {
        signal(pid, Signal::SIGCONT);
    }
    // It runs again with a new lock, or was refused: once, in any case.
    let answer = join(slow).await;
    let counted = u64::from(answer.is_ok_and(|answer| answer.status == 200));
    assert_eq!(bot.setup.sum(), counted);
    assert_eq!(say(bot.port, "ann", "hi").await.number(), counted + 1);
    bot.stop().await.assert_sound();
}

/// Ctrl-Z stops everybody; after `fg` nobody is taken for hung.
#[tokio::test]
async fn a_program_that_slept_is_not_hung() {
    let args = ["--workers", "2", "--worker-timeout", "3s"];
    let bot = Setup::counter().args(&args).start().await;
    let before = bot.processes();
    for _ in 0..2 {
        bot.signal_group(Signal::SIGSTOP);
        tokio::time::sleep(Duration::from_millis(4500)).await;
        bot.signal_group(Signal::SIGCONT);
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    assert_eq!(say(bot.port, "ann", "hi").await.number(), 1);
    assert_eq!(bot.processes(), before);
    assert!(!bot.stderr().contains("ERROR"), "{}", bot.stderr());
    bot.stop().await;
}

/// After `kill -9` of the master everybody leaves by himself, and whoever got in is
/// answered.
#[tokio::test]
async fn a_killed_master_leaves_nothing_and_cuts_nobody() {
    for _ in 0..3 {
        let mut bot = Setup::counter().args(&["--workers", "2"]).start().await;
        let load = Load::start(bot.port);
        tokio::time::sleep(Duration::from_millis(300)).await;
        bot.signal(Signal::SIGKILL);
        assert_eq!(bot.ended(SOON).await, -(Signal::SIGKILL as i32));
        bot.gone(Duration::from_secs(7)).await;
        let verdict = load.end().await;
        assert!(verdict.cut.is_empty(), "{verdict:?}");
        assert_eq!(bot.setup.sum(), verdict.answered);
        // The same port is free, and nothing holds the file.
        let port = bot.port.to_string();
        let again = bot.setup.clone().without_port().args(&["--port", &port]);
        again.start().await.stop().await.assert_sound();
    }
}

/// What a killed worker had not accepted is served by the other.
#[tokio::test]
async fn a_killed_worker_takes_only_what_it_had_in_hand() {
    let bot = Setup::commands().args(&["--workers", "2"]).start().await;
    let victim = bot.worker(0).await;
    // Neither accepts: all of these wait in the queue.
    let other = bot.worker(1).await;
    for pid in [victim, other] {
        signal(pid, Signal::SIGSTOP);
    }
    let mut tasks = Vec::new();
    for user in 0..30 {
        tasks.push(begin(bot.port, &format!("user-{user}"), "hi").await);
    }
    signal(victim, Signal::SIGKILL);
    signal(other, Signal::SIGCONT);
    for task in tasks {
        assert_eq!(join(task).await.expect("an answer").number(), 1);
    }
    bot.successor("turnkey: worker 0", victim).await;
    until("all are counted", SOON, || bot.setup.sum() == 30).await;
    bot.stop().await.assert_sound();
}
