//! `upgrade`, `reload` and `stop`: they find the bot by its database, and tell how it
//! went.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::harness::bot::{Bot, Ended, SOON, Setup, until};
use crate::harness::client::{begin, join, say};
use crate::harness::load::Load;

/// Runs a command beside the test's own traffic.
async fn command(setup: &Setup, args: &[&str]) -> Ended {
    let args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
    let setup = setup.clone();
    let run = move || {
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        if args.contains(&"--pid") {
            setup.bare_within(&args, SOON)
        } else {
            setup.tool(&args)
        }
    };
    tokio::task::spawn_blocking(run).await.unwrap()
}

/// Puts a script where the program is.
fn install_script(setup: &Setup, text: &str) {
    let script = setup.path("script");
    fs::write(&script, text).unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    setup.install(&script);
}

/// The old program, of which the test knows, has left; so must the last one.
async fn stop_last(mut bot: Bot) -> Setup {
    let stopped = command(&bot.setup, &["stop"]).await;
    assert_eq!(stopped.code, Some(0), "{stopped:?}");
    assert!(
        stopped.stdout.starts_with("Stopped: process "),
        "{stopped:?}"
    );
    assert!(bot.ended(SOON).await == 0);
    bot.gone(SOON).await;
    bot.setup.clone()
}

#[tokio::test]
async fn upgrades_by_the_command_lose_nothing() {
    let bot = Setup::counter().args(&["--workers", "2"]).start().await;
    let load = Load::start(bot.port);
    let mut serving = bot.pid();
    // The third finds what the first and second have left.
    for _ in 0..3 {
        let upgraded = command(&bot.setup, &["upgrade", "--json"]).await;
        assert_eq!(upgraded.code, Some(0), "{upgraded:?}");
        let said: serde_json::Value = serde_json::from_str(&upgraded.stdout).unwrap();
        assert_eq!(said["old"], serving, "{said}");
        assert_ne!(said["pid"], serving, "{said}");
        let old = serving;
        serving = said["pid"].as_i64().unwrap() as i32;
        // Only then does the new one take the next.
        until("the old program's end", SOON, || {
            crate::harness::proc::stat(old).is_none_or(|stat| stat.state == 'Z')
        })
        .await;
        bot.wait_for_stderr("Stopped: ").await;
    }
    let answered = load.end_unharmed().await;
    assert_eq!(bot.setup.sum(), answered);
    stop_last(bot).await.assert_sound();
}

#[tokio::test]
async fn an_upgrade_that_fails_is_told_and_the_old_program_goes_on() {
    let setup = Setup::counter().args(&["--workers", "2"]).copied();
    let good = Setup::counter();
    let bot = setup.start().await;
    let load = Load::start(bot.port);
    // The command is another copy of the program: the bot's own is what fails.
    let (storage, pid) = (
        crate::harness::bot::url(&setup.database()),
        bot.pid().to_string(),
    );
    let by_file = ["upgrade", "--storage", &storage];
    let by_pid = ["upgrade", "--pid", &pid];
    let run = async |args: &[&str]| {
        let args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
        let good = good.clone();
        let run = move || {
            let args: Vec<&str> = args.iter().map(String::as_str).collect();
            good.bare_within(&args, SOON)
        };
        tokio::task::spawn_blocking(run).await.unwrap()
    };
    for script in ["#!/bin/sh\nexit 1\n", "no program"] {
        install_script(&setup, script);
        let failed = run(&by_file).await;
        assert_eq!(failed.code, Some(1), "{failed:?}");
        assert!(
            failed
                .stdout
                .contains("the new program ended before it served"),
            "{failed:?}"
        );
    }
    install_script(&setup, "#!/bin/sh\nsleep 0.3\nexit 1\n");
    let failed = run(&by_pid).await;
    assert_eq!(failed.code, Some(1), "{failed:?}");
    assert!(failed.stdout.contains("goes on"), "{failed:?}");
    // One that hangs, and somebody who does not want to wait that long.
    install_script(&setup, "#!/bin/sh\nexec sleep 60\n");
    let late = run(&[&by_file[..], &["--timeout", "300ms"]].concat()).await;
    assert_eq!(late.code, Some(1), "{late:?}");
    assert!(late.stdout.contains("took longer than 0.3 s"), "{late:?}");
    let not_now = run(&by_file).await;
    assert_eq!(not_now.code, Some(1), "{not_now:?}");
    assert!(not_now.stdout.contains("not now"), "{not_now:?}");
    let hanging = bot.successor_program().await;
    kill(Pid::from_raw(hanging), Signal::SIGKILL).unwrap();
    until("its end is noticed", SOON, || {
        bot.stderr().matches("Upgrade failed").count() == 4
    })
    .await;

    setup.install(good.program());
    let upgraded = run(&by_pid).await;
    assert_eq!(upgraded.code, Some(0), "{upgraded:?}");
    let answered = load.end_unharmed().await;
    assert_eq!(bot.setup.sum(), answered);
    stop_last(bot).await.assert_sound();
}

/// The new program has a migration: a backup first, and nobody is refused.
#[tokio::test]
async fn an_upgrade_that_changes_tables_is_waited_for() {
    let setup = Setup::counter().args(&["--workers", "2"]).copied();
    let bot = setup.start().await;
    let load = Load::start(bot.port);
    until("a turn", SOON, || setup.sum() > 0).await;
    setup.install(Setup::commands().program());
    let upgraded = command(&setup, &["upgrade"]).await;
    assert_eq!(upgraded.code, Some(0), "{upgraded:?}");
    assert!(
        upgraded.stdout.starts_with("Upgraded: process "),
        "{upgraded:?}"
    );
    bot.wait_for_stderr("as it was before, it is in").await;
    let answered = load.end_unharmed().await;
    assert_eq!(setup.sum(), answered);
    stop_last(bot).await;
}

#[tokio::test]
async fn a_reload_says_how_it_went() {
    let setup = Setup::counter();
    let config = setup.path("bot.toml");
    fs::write(&config, "workers = 1\n").unwrap();
    let setup = setup.args(&["--config", config.to_str().unwrap()]);
    let bot = setup.start().await;
    let load = Load::start(bot.port);
    fs::write(&config, "workers = 2\n").unwrap();
    let reloaded = command(&setup, &["reload"]).await;
    assert_eq!(reloaded.code, Some(0), "{reloaded:?}");
    bot.worker(1).await;
    fs::write(&config, "workers = zwei\n").unwrap();
    let failed = command(&setup, &["reload"]).await;
    assert_eq!(failed.code, Some(1), "{failed:?}");
    assert!(failed.stdout.contains("bot.toml is wrong"), "{failed:?}");
    fs::write(&config, "workers = 1\n").unwrap();
    let pid = bot.pid().to_string();
    let sent = command(&setup, &["reload", "--pid", &pid]).await;
    assert_eq!(sent.code, Some(0), "{sent:?}");
    assert!(sent.stdout.contains("its log says"), "{sent:?}");
    until("one worker", SOON, || {
        bot.all_named("turnkey: worker").len() == 1
    })
    .await;
    load.end_unharmed().await;
    stop_last(bot).await.assert_sound();
}

#[tokio::test]
async fn what_is_no_such_bot_is_left_alone() {
    let setup = Setup::counter();
    for command in ["upgrade", "reload", "stop"] {
        let nobody = setup.tool(&[command]);
        assert_eq!(nobody.code, Some(2), "{nobody:?}");
        assert!(nobody.stderr.contains("no bot uses"), "{nobody:?}");
        let server = setup.bare(&[command, "--storage", "postgres://ann@host/db"]);
        assert_eq!(server.code, Some(2), "{server:?}");
        assert!(server.stderr.contains("--pid"), "{server:?}");
        let neither = setup.bare(&[command]);
        assert_eq!(neither.code, Some(2), "{neither:?}");
    }
    // SIGUSR2 would end this one.
    let mut sleeping = setup.command_of("sleep").arg("60").spawn().unwrap();
    let pid = sleeping.id().to_string();
    let refused = setup.bare(&["upgrade", "--pid", &pid]);
    assert_eq!(refused.code, Some(2), "{refused:?}");
    assert!(refused.stderr.contains("takes no upgrade"), "{refused:?}");
    assert!(sleeping.try_wait().unwrap().is_none(), "it lives");
    sleeping.kill().unwrap();
    sleeping.wait().unwrap();
    let gone = setup.bare(&["stop", "--pid", &pid]);
    assert!(gone.stderr.contains("there is no process"), "{gone:?}");

    // One process has nobody who would start another.
    let mut bot = setup.clone().args(&["--single-process"]).start().await;
    for what in ["upgrade", "reload"] {
        let refused = command(&setup, &[what]).await;
        assert_eq!(refused.code, Some(2), "{refused:?}");
        assert!(refused.stderr.contains("--single-process"), "{refused:?}");
    }
    assert_eq!(say(bot.port, "ann", "hi").await.number(), 1);
    let stopped = command(&setup, &["stop"]).await;
    assert_eq!(stopped.code, Some(0), "{stopped:?}");
    assert_eq!(bot.ended(SOON).await, 0);
}

/// Its number may be another process's by the time somebody reads it.
#[tokio::test]
async fn a_master_that_was_killed_is_not_signalled() {
    let mut bot = Setup::commands().args(&["--workers", "1"]).start().await;
    let slow = begin(bot.port, "ann", "sleep 2500").await;
    bot.settled().await;
    kill(Pid::from_raw(bot.pid()), Signal::SIGKILL).unwrap();
    bot.ended(SOON).await;
    let refused = command(&bot.setup, &["stop"]).await;
    assert_eq!(refused.code, Some(2), "{refused:?}");
    assert!(
        refused.stderr.contains("its workers still finish"),
        "{refused:?}"
    );
    assert_eq!(join(slow).await.unwrap().number(), 1);
    bot.gone(SOON).await;
}
