//! Handler processes start with their worker and end with it, whatever happens to either.

use std::time::Duration;

use nix::sys::signal::Signal;

use super::{handlers, kill_now, mark, odd};
use crate::harness::bot::{Bot, SOON, Setup, until};
use crate::harness::client::{begin, hand_in, join, message, once, say};
use crate::harness::load::Load;
use crate::harness::proc::stat;
use crate::harness::programs::has;

/// So many kills in a test of every day; TEST_KILLS for more.
const KILLS: u32 = 40;

async fn none_is_left(bot: &Bot) {
    until("the end of all handlers", SOON, || handlers(bot).is_empty()).await;
}

/// As many as were asked for, each in a group of its own, and their children end with them.
#[tokio::test]
async fn a_stop_leaves_nothing_behind() {
    let Some(setup) = odd(4) else { return };
    let bot = setup
        .args(&["--workers", "2", "--handlers", "2"])
        .start()
        .await;
    let all = handlers(&bot);
    assert_eq!(all.len(), 4);
    for pid in &all {
        assert_eq!(stat(*pid).expect("it lives").group, *pid);
    }
    assert_eq!(say(bot.port, "ann", "child").await.number(), 1);
    assert_eq!(handlers(&bot).len(), 5);
    // As a terminal does.
    bot.signal_group(Signal::SIGINT);
    let mut bot = bot;
    assert_eq!(bot.ended(SOON).await, 0, "{}", bot.stderr());
    none_is_left(&bot).await;
}

/// A shell between us and the handler, which lives longer than it, and children: killed with
/// the worker, and with the master.
#[tokio::test]
async fn a_kill_leaves_nothing_behind() {
    for victim in ["worker", "master", "all"] {
        if !has("python3") {
            return;
        }
        let script = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../tests/program/handlers/odd.py"
        );
        // Not the last command: the shell stays.
        let shell = format!("python3 {script} \"$0\" 4; exit $?");
        let setup = Setup::handled(&["--", "sh", "-c", &shell]);
        let mark = mark(&setup);
        let mut bot = setup.handler_args(&[&mark]).start().await;
        assert_eq!(say(bot.port, "ann", "child").await.number(), 1);
        let before = handlers(&bot);
        assert_eq!(before.len(), 3, "a shell, the handler, its child");
        // It hangs, and does not notice the end of its pipe.
        let hung = begin(bot.port, "eve", "hang").await;
        match victim {
            "worker" => {
                kill_now(bot.worker(0).await);
                until("the handlers of the dead worker", SOON, || {
                    handlers(&bot).iter().all(|pid| !before.contains(pid))
                })
                .await;
                assert_eq!(say(bot.port, "ann", "hi").await.number(), 2);
                bot.stop().await;
            }
            "master" => {
                bot.signal(Signal::SIGKILL);
                bot.ended(SOON).await;
                none_is_left(&bot).await;
            }
            _ => {
                bot.signal_group(Signal::SIGKILL);
                bot.ended(SOON).await;
                // The kernel ends what the worker started; whoever was started by that has a
                // pipe that ends.
                until("the handler", SOON, || handlers(&bot).len() <= 1).await;
                handlers(&bot).into_iter().for_each(kill_now);
            }
        }
        hung.abort();
    }
}

/// New code is taken up, and nobody waits.
#[tokio::test]
async fn a_reload_takes_up_new_code_without_a_gap() {
    if !has("python3") {
        return;
    }
    let setup = Setup::handled(&["bot.py"]);
    let code = |word: &str| {
        format!(
            "import turnkey\n\ndef handle(turn):\n    turn.state['n'] = turn.state.get('n', 0) + 1\n    \
             turn.reply(f\"{{turn.state['n']}}: {word}\")\n\nturnkey.run(handle)\n"
        )
    };
    setup.write("bot.py", &code("old"));
    let bot = setup.clone().args(&["--workers", "2"]).start().await;
    let load = Load::start(bot.port);
    assert_eq!(say(bot.port, "ann", "").await.replies(), ["1: old"]);
    setup.write("bot.py", &code("new"));
    bot.signal(Signal::SIGHUP);
    bot.wait_for_stderr("Reloaded").await;
    assert_eq!(say(bot.port, "ann", "").await.replies(), ["2: new"]);
    // A slip of the finger changes nothing.
    setup.write("bot.py", "import turnkey\nturnkey.run(");
    bot.signal(Signal::SIGHUP);
    bot.wait_for_stderr("SyntaxError").await;
    bot.wait_for_stderr("Reload failed").await;
    assert_eq!(say(bot.port, "ann", "").await.replies(), ["3: new"]);
    load.end_unharmed().await;
    bot.stop().await.assert_sound();
}

/// A file that changes is new code, with --watch.
#[tokio::test]
async fn a_change_is_noticed_with_watch() {
    if !has("python3") {
        return;
    }
    let setup = Setup::handled(&["bot.py"]);
    let code = |word: &str| {
        format!("import turnkey, words\nturnkey.run(lambda turn: turn.reply(words.WORD))\n# {word}")
    };
    setup.write("words.py", "WORD = 'old'\n");
    setup.write("bot.py", &code(""));
    let bot = setup.clone().args(&["--watch"]).start().await;
    assert_eq!(say(bot.port, "ann", "").await.replies(), ["old"]);
    setup.write("words.py", "WORD = 'newer'\n");
    bot.wait_for_stderr("Reloaded").await;
    assert_eq!(say(bot.port, "ann", "").await.replies(), ["newer"]);
    bot.stop().await.assert_sound();
}

/// Handlers are killed at random under load: each message takes effect once, in order.
#[tokio::test]
async fn kills_of_handlers_lose_and_repeat_nothing() {
    let Some(setup) = odd(8) else { return };
    let kills = std::env::var("TEST_KILLS").ok();
    let kills = kills.map_or(KILLS, |n| n.parse().expect("a number"));
    let args = [
        "--workers",
        "2",
        "--handlers",
        "2",
        "--max-attempts",
        "1000",
    ];
    let bot = setup.args(&args).start().await;
    let load = Load::start(bot.port);
    let mut last = 0;
    for n in 0..kills {
        let some = handlers(&bot);
        if let Some(pid) = some.get(n as usize % some.len().max(1)) {
            kill_now(*pid);
        }
        let what = format!("turns after {n} kills");
        until(&what, Duration::from_secs(60), || {
            load.so_far().0 > last + 20
        })
        .await;
        last = load.so_far().0;
    }
    let verdict = load.end().await;
    assert!(
        verdict.cut.is_empty() && verdict.refused == 0,
        "{verdict:?}"
    );
    println!(
        "{kills} kills, {} answered, {} sent again",
        verdict.answered, verdict.busy
    );
    assert_eq!(verdict.busy, 0, "nobody is told to come again");
    assert_eq!(bot.setup.sum(), verdict.answered);
    bot.stop().await.assert_sound();
}

/// Handlers that start when there is nothing to do, and wait for each other.
#[tokio::test]
async fn a_handler_that_dies_idle_is_replaced() {
    let Some(setup) = odd(4) else { return };
    let bot = setup.start().await;
    for n in 1..=3 {
        let before = handlers(&bot);
        before.iter().copied().for_each(kill_now);
        until("another", SOON, || {
            let now = handlers(&bot);
            !now.is_empty() && now != before
        })
        .await;
        let request = message("ann", "hi", Some(&n.to_string()));
        assert_eq!(once(bot.port, request).await.number(), n);
    }
    bot.stop().await.assert_sound();
}

/// One that cannot start any more: its turns wait, checks say so, and once it is mended they
/// are done.
#[tokio::test]
async fn a_handler_that_cannot_start_again_is_told_and_waited_for() {
    if !has("python3") {
        return;
    }
    let setup = Setup::handled(&["bot.py"]);
    let code = "import os, turnkey\n\ndef handle(turn):\n    turn.state['n'] = turn.state.get('n', 0) + 1\n    \
         if turn.text == 'die' and turn.attempt == 1:\n        os._exit(1)\n    \
         turn.reply(f\"{turn.state['n']}\")\n\nturnkey.run(handle)\n";
    setup.write("bot.py", code);
    let bot = setup
        .clone()
        .args(&["--admin", "unix:admin.sock"])
        .start()
        .await;
    assert_eq!(say(bot.port, "ann", "hi").await.replies(), ["1"]);
    setup.write("bot.py", "import nothing_of_this_name");
    hand_in(bot.port, "ann", "die", "d").await;
    bot.wait_for_stderr("No module named 'nothing_of_this_name'")
        .await;
    let waits = begin(bot.port, "bob", "hi").await;
    let ready = || {
        let path = setup.path("admin.sock");
        let asked = std::process::Command::new("curl")
            .args([
                "-s",
                "--unix-socket",
                &path.display().to_string(),
                "http://localhost/readyz",
            ])
            .output()
            .expect("curl");
        String::from_utf8_lossy(&asked.stdout).into_owned()
    };
    until("it says that it is not ready", SOON, || {
        ready().contains("no handler runs: the handler bot.py[")
    })
    .await;
    setup.write("bot.py", code);
    assert_eq!(join(waits).await.expect("an answer").replies(), ["1"]);
    until("it is ready", SOON, || !ready().contains("no handler runs")).await;
    assert_eq!(say(bot.port, "ann", "hi").await.replies(), ["3"]);
    bot.stop().await.assert_sound();
}

/// Thousands of slow turns in one process: all are answered, and what is beyond the limit is
/// told to come back.
#[tokio::test]
async fn thousands_of_slow_turns_run_in_one_process() {
    if !has("python3") {
        return;
    }
    crate::harness::proc::raise_open_files();
    let bot = Setup::handled_by("commands.py").args(&["--workers", "1", "--max-turns", "2000"]);
    let bot = bot.start().await;
    let mut tasks = Vec::new();
    for user in 0..2100 {
        tasks.push(begin(bot.port, &format!("user-{user}"), "sleep 2000").await);
    }
    let (mut answered, mut refused) = (0, 0);
    for task in tasks {
        let answer = join(task).await.expect("an answer");
        match answer.status {
            200 => answered += 1,
            503 => {
                assert_ne!(answer.header("retry-after"), "");
                refused += 1;
            }
            other => panic!("{other}: {}", answer.text()),
        }
    }
    assert_eq!(
        (answered + refused, answered >= 2000),
        (2100, true),
        "{answered}"
    );
    assert_eq!(bot.setup.sum(), answered);
    bot.stop().await.assert_sound();
}

/// What a process may have of huge pages, in the kernel's words.
fn huge_pages(pid: i32) -> Option<String> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("THP_enabled:"));
    line.and_then(|line| line.split_whitespace().nth(1))
        .map(str::to_owned)
}

/// Our processes are content with small pages, which halves an idle bot's memory; a handler's
/// interpreter has whatever the system gives, also after an upgrade.
#[tokio::test]
async fn huge_pages_are_left_to_handlers() {
    let Some(setup) = odd(1) else { return };
    let bot = setup.start().await;
    let before = huge_pages(std::process::id() as i32);
    if before.as_deref() != Some("1") {
        eprintln!("skipped: no huge pages here to be without ({before:?})");
        return;
    }
    assert_eq!(huge_pages(bot.worker(0).await), Some("0".to_owned()));
    assert_eq!(huge_pages(handlers(&bot)[0]), before);
    bot.signal(Signal::SIGUSR2);
    let new = bot.successor_program().await;
    bot.wait_for_stderr("serves from now on").await;
    // The new program, whose arguments are the same, is none.
    let others = || {
        let mut all = handlers(&bot);
        all.retain(|pid| *pid != new);
        all
    };
    until("the end of the old handler", SOON, || others().len() == 1).await;
    assert_eq!(huge_pages(new), Some("0".to_owned()));
    assert_eq!(huge_pages(others()[0]), before);
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(new), Signal::SIGTERM).unwrap();
    bot.gone(SOON).await;
}
