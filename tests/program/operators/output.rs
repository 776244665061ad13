//! Standard output that takes nothing: every command, on a full disk, a closed descriptor
//! and a pipe whose reader has left.

use std::collections::BTreeSet;
use std::fs;
use std::process::{Output, Stdio};
use std::sync::Arc;

use turnkey_storage::callbacks::{self, Callback};
use turnkey_storage::sqlite::{Files, connect, random_owner};
use turnkey_storage::timers::{self, Timer};
use turnkey_storage::{Arrival, Begin, Commit, DialogKey, LockAfter, Storage};

use crate::harness::bot::{SOON, Setup, example, url};
use crate::harness::client::say;
use crate::harness::programs::has;
use crate::operators::admin::{admin_port, setup};
use crate::operators::operator::bury;

/// What stands in the place of standard output.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Place {
    Full,
    Closed,
    /// A pipe that nobody reads any more.
    Left,
}

const PLACES: [Place; 3] = [Place::Full, Place::Closed, Place::Left];

/// Runs a command to its end.
fn run(setup: &Setup, place: Place, args: &[&str]) -> Output {
    // In the place of a harness that has a limit for piped output alone.
    let mut command = setup.command_of("timeout");
    command.arg("120");
    if place == Place::Closed {
        command.args(["sh", "-c", "exec \"$0\" \"$@\" >&-"]);
    }
    command.arg(setup.program()).args(args);
    match place {
        Place::Full => command.stdout(fs::File::create("/dev/full").unwrap()),
        Place::Closed => command.stdout(Stdio::null()),
        Place::Left => command.stdout(std::io::pipe().unwrap().1),
    };
    command.output().unwrap()
}

/// Ends as it should: with a sentence, or quietly.
fn assert_told(setup: &Setup, place: Place, args: &[&str]) {
    let ended = run(setup, place, args);
    let stderr = String::from_utf8_lossy(&ended.stderr);
    let what = format!("{place:?} {args:?}: {:?}: {stderr}", ended.status);
    assert!(!stderr.contains("panicked"), "{what}");
    let why = match place {
        Place::Full => "error: cannot write to standard output: No space left on device",
        Place::Closed => "error: cannot write to standard output: Bad file descriptor",
        Place::Left => {
            assert_eq!(ended.status.code(), Some(0), "{what}");
            assert!(!stderr.contains("error"), "{what}");
            return;
        }
    };
    assert_eq!(ended.status.code(), Some(74), "{what}");
    assert_eq!(stderr.matches(why).count(), 1, "{what}");
}

/// The names of all commands, as `--help` lists them.
fn commands(setup: &Setup) -> BTreeSet<String> {
    let help = setup.bare(&["--help"]).stdout;
    let (_, list) = help.split_once("Commands:\n").expect("a list");
    let (list, _) = list.split_once("\n\n").expect("its end");
    list.lines()
        .filter_map(|line| line.strip_prefix("  ")?.split(' ').next())
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect()
}

/// A turn of bob's that sets these timers, and opens callbacks with these hashes.
async fn set_timers(storage: &dyn Storage, names: &[&str], hashes: &[&str]) {
    let dialog = DialogKey::new("http", "bob");
    let begin = Begin {
        dialog: dialog.clone(),
        update: Some("sets".to_owned()),
        arrived: Arrival::now(),
        wait: SOON,
    };
    let granted = storage.begin(begin).await.unwrap().granted();
    let set = |name: &&str| {
        let timer = Timer {
            dialog: dialog.clone(),
            name: (*name).to_owned(),
            due: i64::MAX,
            update: format!("timer:{name}"),
            schedule: None,
        };
        timers::set(&timer, b"{}")
    };
    let open = |hash: &&str| {
        callbacks::open(&Callback {
            hash: (*hash).to_owned(),
            dialog: dialog.clone(),
            name: "paid".to_owned(),
            expires: i64::MAX,
            taken: String::new(),
            body: b"{}".to_vec(),
        })
    };
    let set = names.iter().flat_map(set);
    let commit = Commit {
        update: "sets".to_owned(),
        state: "{}".to_owned(),
        lock: LockAfter::GivenBack,
        changes: set.chain(hashes.iter().map(open)).collect(),
        ..Commit::default()
    };
    let mut grant = granted.unwrap().grant;
    storage.commit(&mut grant, commit).await.unwrap();
}

#[tokio::test]
async fn output_that_takes_nothing_is_told_by_every_command() {
    let bot = setup(Setup::counter()).args(&["--history"]).start().await;
    say(bot.port, "ann", "hi").await.number();
    let storage = url(&bot.setup.database());
    let files = Files::of(&bot.setup.database());
    let engine = Arc::new(connect(&files, random_owner().unwrap()).unwrap());
    for update in ["kept", "r0", "r1", "r2", "d0", "d1", "d2"] {
        bury(engine.clone(), update).await;
    }
    let timers = ["kept", "f0", "f1", "f2", "t0", "t1", "t2"];
    set_timers(&*engine, &timers, &["kept", "c0", "c1", "c2"]).await;
    drop(engine);
    let copied = bot
        .setup
        .bare(&["backup", "--storage", &storage, "copy.db"]);
    assert_eq!(copied.code, Some(0), "{copied:?}");
    let admin = format!("127.0.0.1:{}", admin_port(&bot));
    let faulty = example("faulty");
    let faulty = faulty.to_str().unwrap();
    let handler = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../tests/program/handlers/faulty.py"
    );

    let mut covered = BTreeSet::new();
    let mut told = |place, args: &[&str]| {
        covered.insert(args[0].to_owned());
        assert_told(&bot.setup, place, args);
    };
    for (n, place) in PLACES.into_iter().enumerate() {
        let on = ["--storage", storage.as_str()];
        let named = |what: &str| format!("{what}{n}");
        for args in [
            &["--help"][..],
            &["--version"],
            &["help", "drill"],
            &["handler", "check", "--help"],
            &["dump", "--help"],
            &["completions", "zsh"],
            &["man"],
            &["man", "--out", &named("pages")],
            &["systemd"],
            &["systemd", "--socket"],
            &["new", "mybot", "--path", &named("mybot")],
            &["top", "--once", "--admin", &admin],
            &["top", "--json", "--admin", &admin],
        ] {
            told(place, args);
        }
        for args in [
            &["dump"][..],
            &["dump", "--history"],
            &["check"],
            &["check", "--json"],
            &["dead", "list"],
            &["dead", "show", "http", "kept", "--json"],
            &["dead", "retry", "http", &named("r")],
            &["dead", "drop", "http", &named("d")],
            &["timers", "list"],
            &["timers", "fire", "http", "bob", &named("f")],
            &["timers", "drop", "http", "bob", &named("t")],
            &["callbacks", "list"],
            &["callbacks", "drop", &named("c")],
            &["dialogs", "list"],
            &["send", "telegram", "ann", "hi"],
            &["broadcast", "--text", "hi", "--dry-run"],
            &["dialogs", "show", "http", "ann"],
            &["backup", &named("backup.db")],
            &["backup", "--dir", &named("backups"), "--json"],
            &["reload"],
            &["dialogs", "reset", "http", "ann"],
        ] {
            told(place, &[args, &on].concat());
        }
        if has("python3") {
            let check = ["handler", "check", "--case", "hello"];
            told(
                place,
                &[&check[..], &["--", "python3", handler, "well"]].concat(),
            );
        }
        let to = url(&bot.setup.path(&named("restored.db")));
        told(place, &["restore", "copy.db", "--storage", &to]);
        let to = url(&bot.setup.path(&named("target.db")));
        told(place, &["copy", "--from", "sqlite:copy.db", "--to", &to]);
        // A turn for the next round: `reset` left none.
        say(bot.port, "ann", "hi").await.number();
    }
    let bench = ["bench", "storage", "--engines", "sqlite-direct"];
    let short = ["--processes", "1", "--in-flight", "1", "--seconds", "0.1"];
    let shorter = ["--warm-up", "0.1", "--users", "5", "--repeat", "1"];
    told(Place::Full, &[&bench[..], &short, &shorter].concat());
    for place in PLACES {
        told(place, &["bench", "schema"]);
        told(place, &["bench", "workload", "bank"]);
    }
    let drill = ["drill", "--before", "100ms", "--load", "new", "--json"];
    for place in [Place::Full, Place::Left] {
        told(place, &[&drill[..], &["--", faulty, "perfect"]].concat());
    }
    // What they do is done, whoever can be told of it.
    told(Place::Full, &["upgrade", "--storage", &storage]);
    told(Place::Full, &["stop", "--storage", &storage]);

    // It prints to stderr; an inbox and an outbox that are empty print nothing. In the place of `handler
    // exec` another program prints.
    covered.extend(["run", "inbox", "outbox"].map(str::to_owned));
    let missing = &commands(&bot.setup) - &covered;
    assert!(missing.is_empty(), "not tried: {missing:?}");
    bot.gone(SOON).await;
    for n in 0..3 {
        assert!(bot.setup.path(&format!("backup.db{n}")).exists());
        assert!(bot.setup.path(&format!("restored.db{n}")).exists());
    }
}

/// A list that is longer than a pipe holds, of which one line is wanted.
#[tokio::test]
async fn the_first_line_of_many_is_enough() {
    let bot = Setup::counter().start().await;
    for n in 0..40 {
        say(bot.port, &format!("{n}{}", "x".repeat(200)), "hi")
            .await
            .number();
    }
    let setup = bot.stop().await;
    for args in ["dump", "dialogs list --json"] {
        let mut shell = setup.command_of("bash");
        shell.args([
            "-c",
            &format!("set -o pipefail; \"$0\" {args} --storage \"$1\" | head -1"),
        ]);
        shell.arg(setup.program()).arg(url(&setup.database()));
        let ended = crate::harness::bot::finish(shell, crate::harness::bot::SOON);
        assert_eq!((ended.code, &*ended.stderr), (Some(0), ""), "{args}");
        assert_eq!(ended.stdout.lines().count(), 1, "{args}");
    }
}

/// `println!` panics where [`output_that_takes_nothing_is_told_by_every_command`] looks,
/// and where it does not.
#[test]
fn nothing_prints_past_the_one_place_that_does() {
    let allowed = [
        "crates/text/src/output.rs",
        // Its own protocol, which no person reads.
        "crates/lab/src/process.rs",
        "crates/drill/src/shell.rs",
    ];
    let root = std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."));
    let crates = ["src", "crates", "storage/src"];
    let mut pending: Vec<_> = crates.iter().map(|name| root.join(name)).collect();
    let mut files = 0;
    while let Some(directory) = pending.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            // Tests may say what they leave out.
            if path.ends_with("tests") {
                continue;
            }
            if path.is_dir() {
                pending.push(path);
                continue;
            }
            let name = path.strip_prefix(root).unwrap().to_str().unwrap();
            if !name.ends_with(".rs") || allowed.contains(&name) {
                continue;
            }
            files += 1;
            for (n, line) in fs::read_to_string(&path).unwrap().lines().enumerate() {
                let code = line.split("//").next().unwrap_or_default();
                for word in ["println!", "print!(", "stdout().lock", "stdout().write"] {
                    assert!(!code.contains(word), "{name}:{}: {line}", n + 1);
                }
            }
        }
    }
    assert!(files > 200, "only {files} files were read");
}
