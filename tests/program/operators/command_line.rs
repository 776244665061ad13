//! Flags, variables and the file; what is printed; the other subcommands.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::harness::bot::{SOON, Setup, until};
use crate::harness::client::{begin, join, say};
use crate::harness::proc::stat;

#[tokio::test]
async fn the_port_that_was_picked_is_printed() {
    let bot = Setup::counter().start().await;
    assert_ne!(bot.port, 0);
    let stderr = bot.stderr();
    // These tests may run as root, which is remarked upon.
    let lines: Vec<_> = stderr.lines().filter(|l| !l.contains("as root")).collect();
    let expected = format!(
        "Serving /http, /telegram.\nStarted webhooks updater on http://localhost:{} (1 worker, sqlite:{}). Press Ctrl-C to exit.",
        bot.port,
        bot.setup.database().display()
    );
    assert_eq!(lines.join("\n"), expected);
    assert_eq!(say(bot.port, "ann", "hi").await.number(), 1);
    bot.stop().await;
}

/// The flag wins over the variable, the variable over the file.
#[tokio::test]
async fn flag_variable_file() {
    let setup = Setup::counter();
    let file = setup.path("turnkey.toml");
    fs::write(
        &file,
        "workers = 3\nmax-body = 100\nhttp-token = \"from file\"\nlog = \"json\"\n",
    )
    .unwrap();
    let with_file = setup.clone().args(&["--config", file.to_str().unwrap()]);
    let bot = with_file.start().await;
    assert_eq!(bot.children().len(), 4);
    let answer = say(bot.port, "ann", "hi").await;
    assert_eq!(answer.status, 401, "the file's token is asked for");
    assert_eq!(say(bot.port, "ann", &"x".repeat(200)).await.status, 413);
    bot.stop().await;

    let bot = with_file
        .clone()
        .env("TURNKEY_WORKERS", "2")
        .env("TURNKEY_MAX_BODY", "1000")
        .start()
        .await;
    assert_eq!(bot.children().len(), 3);
    assert_eq!(say(bot.port, "ann", &"x".repeat(200)).await.status, 401);
    bot.stop().await;

    let bot = with_file
        .env("TURNKEY_WORKERS", "2")
        .env("TURNKEY_HTTP_TOKEN", "from variable")
        .args(&["--workers", "1"])
        .start()
        .await;
    assert_eq!(bot.children().len(), 2);
    bot.stop().await;

    let by_variable = setup.env("TURNKEY_CONFIG", file.to_str().unwrap());
    let bot = by_variable.args(&["--single-process"]).start().await;
    assert_eq!(
        bot.processes().len(),
        1,
        "the flag silences the file's workers"
    );
    bot.stop().await;
}

#[tokio::test]
async fn a_flag_silences_the_variables_choice_of_processes() {
    let bot = Setup::counter()
        .env("TURNKEY_WORKERS", "2")
        .args(&["--single-process"])
        .start()
        .await;
    assert_eq!(bot.processes().len(), 1);
    bot.stop().await;
}

/// Whoever wires an unset variable into a secret would otherwise run an open bot.
#[test]
fn an_empty_secret_is_refused() {
    for name in [
        "TELEGRAM_TOKEN",
        "TELEGRAM_SECRET",
        "HTTP_TOKEN",
        "VIBER_TOKEN",
        "FACEBOOK_SECRET",
        "FACEBOOK_VERIFY_TOKEN",
        "VK_SECRET",
        "VK_CONFIRMATION",
    ] {
        let setup = Setup::counter().env(&format!("TURNKEY_{name}"), "");
        let ended = setup.run_to_end();
        assert_eq!(ended.code, Some(2), "{ended:?}");
        assert!(
            ended.stderr.contains(name) && ended.stderr.contains("empty"),
            "{ended:?}"
        );
    }
}

#[tokio::test]
async fn fast_is_a_worker_for_each_processor() {
    let bot = Setup::counter().args(&["--fast"]).start().await;
    let processors = std::thread::available_parallelism().unwrap().get();
    assert_eq!(bot.children().len(), processors + 1);
    bot.stop().await;
}

#[tokio::test]
async fn without_a_storage_the_file_is_temporary_private_and_kept() {
    let setup = Setup::counter().storage(None);
    let directory = setup.path("tmp");
    fs::create_dir(&directory).unwrap();
    let setup = setup.env("TMPDIR", directory.to_str().unwrap());
    let mut found = Vec::new();
    for run in 1..=2 {
        let mut bot = setup.start().await;
        assert_eq!(say(bot.port, "ann", "hi").await.number(), 1, "a new file");
        bot.signal(nix::sys::signal::Signal::SIGTERM);
        assert_eq!(bot.ended(SOON).await, 0);
        found = fs::read_dir(&directory)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_some_and(|extension| extension == "db"))
            .collect();
        assert_eq!(found.len(), run, "{found:?}");
    }
    for path in found {
        let name = path.file_name().unwrap().to_str().unwrap();
        assert!(name.starts_with("turnkey-"), "{name}");
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        assert_eq!(setup.clone().storage(Some(path)).count("ann"), 1);
    }
}

#[tokio::test]
async fn all_files_are_private() {
    let bot = Setup::counter().start().await;
    say(bot.port, "ann", "hi").await.number();
    let mut names = Vec::new();
    for entry in fs::read_dir(bot.setup.dir.path()).unwrap() {
        let entry = entry.unwrap();
        let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{entry:?}");
        names.push(entry.file_name().into_string().unwrap());
    }
    names.sort();
    assert_eq!(
        names,
        [
            "bot.db",
            "bot.db-lock",
            "bot.db-shm",
            "bot.db-wal",
            "bot.db-writer"
        ]
    );
    bot.stop().await;
}

#[tokio::test]
async fn dump_and_check_while_the_bot_runs_and_after() {
    let bot = Setup::commands()
        .args(&["--workers", "2", "--history"])
        .start()
        .await;
    let port = bot.port;
    for n in 1..=3 {
        assert_eq!(say(port, "ann", "hi").await.number(), n);
    }
    say(port, "b\"ob", "many 2").await;
    // A lock is held meanwhile, by a worker that lives.
    let slow = begin(port, "eve", "sleep 4000").await;
    bot.settled().await;
    bot.setup.assert_sound();
    let check = |json: &[&str]| bot.setup.tool(&[&["check"], json].concat());
    assert!(
        check(&[]).stdout.ends_with("bot.db: all is well\n"),
        "{:?}",
        check(&[])
    );
    let json: Value = serde_json::from_str(&check(&["--json"]).stdout).unwrap();
    assert_eq!(
        (&json["ok"], &json["findings"]),
        (&true.into(), &Vec::<Value>::new().into())
    );
    let while_it_runs = bot.setup.dump(&["--history"]);
    assert_eq!(while_it_runs.len(), 2);
    assert_eq!(join(slow).await.unwrap().status, 200);
    let setup = bot.stop().await;
    let after = setup.dump(&["--history"]);
    assert_eq!((after.len(), &after[..2]), (3, &while_it_runs[..]));
    let ann = &after[0];
    assert_eq!(
        (ann["channel"].as_str(), ann["user_id"].as_str()),
        (Some("http"), Some("ann"))
    );
    assert_eq!(ann["state"]["count"], 3);
    assert!(ann["updated_at"].as_u64().unwrap() > 1_700_000_000_000);
    let history = ann["history"].as_array().unwrap();
    assert_eq!(history.len(), 3);
    assert_eq!(
        (&history[1]["text"], &history[1]["replies"][0]["text"]),
        (&"hi".into(), &"2: hi".into())
    );
    assert_eq!(after[1]["user_id"], "b\"ob");
    assert_eq!(
        after[1]["history"][0]["replies"].as_array().unwrap().len(),
        2
    );
    assert!(setup.dump(&[])[0].get("history").is_none());
    setup.assert_sound();
}

#[tokio::test]
async fn check_tells_good_from_bad_from_unreadable() {
    let bot = Setup::counter().start().await;
    say(bot.port, "ann", "hi").await.number();
    let setup = bot.kill_all().await;
    setup.assert_sound();
    let conn = setup.open_database();
    conn.execute("UPDATE turnkey_dialog SET state = 'rubbish'", [])
        .unwrap();
    drop(conn);
    let check = setup.tool(&["check"]);
    assert_eq!(check.code, Some(1), "{check:?}");
    assert!(check.stdout.contains("not JSON"), "{}", check.stdout);
    let json: Value = serde_json::from_str(&setup.tool(&["check", "--json"]).stdout).unwrap();
    assert_eq!(json["ok"], false);
    let dump = setup.tool(&["dump"]);
    assert_eq!(dump.code, Some(2), "{dump:?}");
    assert!(dump.stderr.contains("http:ann is not JSON"), "{dump:?}");
    // Such a user's turns fail, all others' go on.
    let bot = setup.start().await;
    let failed = say(bot.port, "ann", "hi").await;
    assert_eq!(failed.status, 503);
    until("the reason", SOON, || {
        bot.stderr().contains("the stored state does not fit")
    })
    .await;
    assert_eq!(say(bot.port, "bob", "hi").await.number(), 1);
    let setup = bot.stop().await;
    let nothing = setup.clone().storage(Some(setup.path("nothing.db")));
    for tool in ["check", "dump"] {
        let ended = nothing.tool(&[tool]);
        assert_eq!(ended.code, Some(2), "{ended:?}");
        assert!(ended.stderr.contains("there is no file"), "{ended:?}");
    }
    assert!(!setup.path("nothing.db").exists());
    // The variable serves the tools, too.
    let ended = setup
        .clone()
        .on(crate::harness::bot::url(&setup.database()))
        .tool(&["check"]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
}

#[tokio::test]
async fn the_log_for_machines_and_the_quiet_one() {
    let bot = Setup::commands().args(&["--log", "json"]).start().await;
    say(bot.port, "ann", "fail").await;
    until("a line of JSON", SOON, || {
        bot.stderr().lines().any(|line| line.starts_with('{'))
    })
    .await;
    let stderr = bot.stderr();
    let line = stderr
        .lines()
        .find(|line| line.starts_with('{'))
        .expect("a line of JSON");
    let json: Value = serde_json::from_str(line).unwrap();
    assert_eq!(json["level"], "ERROR");
    assert!(
        json["fields"]["message"]
            .as_str()
            .unwrap()
            .contains("told to fail")
    );
    bot.stop().await;

    let update = serde_json::json!({"update_id": 1, "poll": {}});
    for (flags, logged) in [(&["-q"][..], false), (&[], true), (&["-v"], true)] {
        let bot = Setup::commands().args(flags).start().await;
        crate::harness::client::once(bot.port, crate::harness::telegram::webhook(&update)).await;
        say(bot.port, "ann", "fail").await;
        // An error is logged in any case, and after the other line.
        bot.wait_for_stderr("told to fail").await;
        let poll = bot.stderr().contains("such as \"poll\"");
        assert_eq!(poll, logged, "{flags:?}");
        bot.stop().await;
    }
}

#[test]
fn help_and_version() {
    let setup = Setup::counter();
    for args in [
        &["--help"][..],
        &["help"],
        &["run", "--help"],
        &["dump", "--help"],
    ] {
        let ended = setup.bare(args);
        assert_eq!(ended.code, Some(0), "{ended:?}");
        assert!(ended.stdout.contains("Usage"), "{ended:?}");
    }
    assert!(
        setup
            .bare(&["--version"])
            .stdout
            .contains(env!("CARGO_PKG_VERSION"))
    );
    let run = setup.bare(&["run", "--help"]).stdout;
    for word in [
        "TURNKEY_HTTP_TOKEN",
        "Exit codes",
        "--worker-timeout",
        "curl",
    ] {
        assert!(run.contains(word), "{word}");
    }
    for args in [&[][..], &["rnu"], &["dump"]] {
        let ended = setup.bare(args);
        assert_eq!(ended.code, Some(2), "{args:?}: {ended:?}");
    }
}

/// Four processes that have nothing to do take next to no processor time.
#[tokio::test]
async fn an_idle_bot_sleeps() {
    let bot = Setup::counter().args(&["--workers", "2"]).start().await;
    say(bot.port, "ann", "hi").await.number();
    let ticks = || -> u64 {
        let processes = bot.processes();
        assert_eq!(processes.len(), 4, "{processes:?}");
        processes
            .iter()
            .filter_map(|(pid, _)| stat(*pid))
            .map(|s| s.ticks)
            .sum()
    };
    bot.settled().await;
    let (before, from) = (ticks(), Instant::now());
    until("two seconds", SOON, || {
        from.elapsed() > Duration::from_secs(2)
    })
    .await;
    let used = ticks() - before;
    // Of 10 ms each; a busy loop takes 200.
    assert!(used <= 6, "{used} ticks in two seconds");
    // Nor does it grow: one worker of an idle bot is small.
    let pid = bot.worker(0).await;
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let resident = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .unwrap();
    let kilobytes: u64 = resident.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(kilobytes < 64 << 10, "{kilobytes} kB");
    bot.stop().await;
}
