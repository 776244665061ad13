//! `systemd`, `completions` and `man`: what is printed for other programs, read by them.
//! And `testing::Program`, with which an author starts a bot.

use std::fs;
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use turnkey::testing::Program;

use crate::harness::bot::{Ended, SOON, Setup, finish, skipped};

/// Installing a package.
const INSTALL: Duration = Duration::from_secs(300);

/// Runs another program to its end.
fn tool(program: &str, args: &[&str]) -> Ended {
    let mut command = Command::new(program);
    command.args(args);
    finish(command, Duration::from_secs(60))
}

/// Whether a program is there, if need be from a package.
fn has(program: &str, package: &str) -> bool {
    /// Packages are installed one after the other.
    static ONE: Mutex<()> = Mutex::new(());
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let is_there = || tool("sh", &["-c", &format!("command -v {program}")]).code == Some(0);
    if !is_there() && nix::unistd::geteuid().is_root() {
        let mut install = Command::new("sh");
        install.env("DEBIAN_FRONTEND", "noninteractive");
        install.args(["-c", &format!(
            "command -v apt-get && {{ apt-get install -y -qq --no-install-recommends {package} || {{ apt-get update -qq; apt-get install -y -qq --no-install-recommends {package}; }}; }} >&2"
        )]);
        finish(install, INSTALL);
    }
    let there = is_there();
    if !there {
        skipped(&format!("{program} is missing (package {package})"));
    }
    there
}

fn print(setup: &Setup, args: &[&str]) -> String {
    let ended = setup.bare(args);
    assert_eq!(ended.code, Some(0), "{args:?}: {ended:?}");
    ended.stdout
}

#[test]
fn systemd_takes_the_units_without_a_complaint() {
    // Where ProtectHome= and PrivateTmp= do not hide it.
    let setup = Setup::counter();
    let own: &[&[&str]] = &[
        &[],
        &["--user", "root"],
        &["--", "--workers", "2", "--port", "80", "--grace", "1m"],
        &[
            "--",
            "--listen",
            "unix:/run/bot/http.sock",
            "--backup-dir",
            "/srv/my backups/100%",
        ],
        &[
            "--",
            "--public-url",
            "https://bot.example.org/$x\"",
            "--storage",
            "sqlite:/var/lib/bot/bot.db",
        ],
    ];
    if !has("systemd-analyze", "systemd") {
        return;
    }
    for args in own {
        let (before, after) = match args.first() {
            Some(&"--") => (&[][..], *args),
            _ => (*args, &[][..]),
        };
        let service = [&["systemd", "--name", "bot"][..], before, after].concat();
        let socket = [&["systemd", "--name", "bot", "--socket"][..], before, after].concat();
        let files = [setup.path("bot.service"), setup.path("bot.socket")];
        fs::write(&files[0], print(&setup, &service)).unwrap();
        fs::write(&files[1], print(&setup, &socket)).unwrap();
        let names = files.each_ref().map(|path| path.to_str().unwrap());
        let verified = tool("systemd-analyze", &["verify", names[0], names[1]]);
        assert_eq!(verified.code, Some(0), "{args:?}: {verified:?}");
        // Other units of this machine may be complained about.
        let ours: Vec<&str> = verified
            .stderr
            .lines()
            .filter(|l| l.contains("bot."))
            .collect();
        assert!(ours.is_empty(), "{args:?}: {ours:?}");
        // In tenths; the worst is 100. Older ones cannot say it of a file.
        let rated = tool(
            "systemd-analyze",
            &["security", "--offline=true", "--threshold=25", names[0]],
        );
        let unknown = rated.stderr.contains("unrecognized option");
        assert!(rated.code == Some(0) || unknown, "{args:?}: {rated:?}");
    }
}

/// What docs/OPERATING.md says of the unit's exposure is what systemd 252 says.
#[test]
fn the_units_exposure_is_what_the_docs_say() {
    let version = tool("systemd-analyze", &["--version"]);
    if !version.stdout.starts_with("systemd 252 ") {
        return skipped("the unit's exposure: takes systemd 252");
    }
    let page = include_str!("../../../docs/OPERATING.md");
    let (_, rest) = page.split_once("of systemd 252 gives it ").unwrap();
    let mut numbers = rest
        .split([' ', '('])
        .filter(|word| word.parse::<f32>().is_ok());
    let setup = Setup::counter();
    for args in [&[][..], &["--", "--port", "80"]] {
        let file = setup.path("bot.service");
        let unit = print(&setup, &[&["systemd", "--name", "bot"], args].concat());
        fs::write(&file, unit).unwrap();
        let rated = tool(
            "systemd-analyze",
            &[
                "security",
                "--offline=true",
                "--no-pager",
                file.to_str().unwrap(),
            ],
        );
        let (_, printed) = rated.stdout.split_once("bot.service: ").unwrap();
        assert_eq!(printed.split(' ').next(), numbers.next(), "{args:?}");
    }
}

#[test]
fn a_unit_says_what_its_bot_needs() {
    let setup = Setup::counter();
    let unit = |args: &[&str]| print(&setup, &[&["systemd", "--name", "bot"], args].concat());
    let has = |text: &str, line: &str| text.lines().any(|l| l == line);

    let plain = unit(&[]);
    assert!(
        has(&plain, "DynamicUser=yes") && has(&plain, "CapabilityBoundingSet="),
        "{plain}"
    );
    assert!(
        has(&plain, "Environment=TURNKEY_STORAGE=sqlite:bot.db"),
        "{plain}"
    );
    assert!(has(&plain, "TimeoutStopSec=18"), "--grace is 8 s: {plain}");
    let start = format!("ExecStart={} run", setup.program().display());
    assert!(has(&plain, &start), "{plain}");

    let own = unit(&[
        "--user",
        "ann",
        "--program",
        "/opt/a b/bot",
        "--",
        "--port=443",
        "--storage",
        "postgres://u:p%25@h/d",
        "--grace",
        "90s",
    ]);
    assert!(
        has(&own, "User=ann") && !own.contains("DynamicUser=yes"),
        "{own}"
    );
    assert!(
        has(&own, "AmbientCapabilities=CAP_NET_BIND_SERVICE"),
        "{own}"
    );
    assert!(
        !own.contains("PrivateUsers=yes") && !own.contains("TURNKEY_STORAGE"),
        "{own}"
    );
    assert!(has(&own, "TimeoutStopSec=100"), "{own}");
    let odd =
        "ExecStart=\"/opt/a b/bot\" run --port=443 --storage postgres://u:p%%25@h/d --grace 90s";
    assert!(has(&own, odd), "{own}");

    let sealed = "MemoryDenyWriteExecute=yes";
    assert!(has(&plain, sealed), "{plain}");
    let python = unit(&["--", "/opt/bot/bot.py", "--workers", "2"]);
    let start = format!("{start} /opt/bot/bot.py --workers 2");
    assert!(has(&python, &start) && has(&python, sealed), "{python}");
    // Node.js cannot live with it.
    let node = unit(&["--", "/opt/bot/bot.mjs"]);
    assert!(!has(&node, sealed), "{node}");

    // The file's settings count, this shell's variables do not.
    let file = setup.path("bot.toml");
    fs::write(&file, "port = 80\nbackup-dir = \"/backups\"\n").unwrap();
    let elsewhere = setup
        .clone()
        .env("TURNKEY_PORT", "8443")
        .env("TURNKEY_GRACE", "20s");
    let args = [
        "systemd",
        "--name",
        "bot",
        "--",
        "--config",
        file.to_str().unwrap(),
    ];
    let filed = print(&elsewhere, &args);
    assert!(
        has(&filed, "AmbientCapabilities=CAP_NET_BIND_SERVICE"),
        "{filed}"
    );
    assert!(
        has(&filed, "ReadWritePaths=/backups") && has(&filed, "TimeoutStopSec=18"),
        "{filed}"
    );

    let socket = unit(&["--socket"]);
    assert!(
        has(&socket, "ListenStream=127.0.0.1:8080") && has(&socket, "ListenStream=[::1]:8080"),
        "{socket}"
    );
    let socket = unit(&["--socket", "--", "--listen", "unix:/run/bot.sock"]);
    assert!(has(&socket, "ListenStream=/run/bot.sock"), "{socket}");
}

#[test]
fn what_makes_no_unit_is_refused_with_a_remedy() {
    let setup = Setup::counter();
    for (args, says) in [
        (&["--name", "a b"][..], "--name"),
        (&["--user", "no/body"], "--user"),
        (&["--program", "bot"], "/usr/local/bin/bot"),
        (&["--", "--workrs", "2"], "--workers"),
        (&["--", "--user", "ann"], "--user ann before the --"),
        (&["--", "--config", "nothing.toml"], "nothing.toml"),
        (&["--socket", "--", "--port", "0"], "needs a port"),
        (
            &["--socket", "--", "--updater", "polling"],
            "leave out --socket",
        ),
        (&["--socket", "--", "--host", "bot.example.org"], "0.0.0.0"),
        (&["--socket", "--", "--listen", "unix:a.sock"], "whole path"),
    ] {
        let ended = setup.bare(&[&["systemd"], args].concat());
        assert_eq!(ended.code, Some(2), "{args:?}: {ended:?}");
        assert!(
            ended.stderr.contains(says) && ended.stdout.is_empty(),
            "{args:?}: {ended:?}"
        );
    }
    // Nothing hides a program at home but the unit itself.
    let ended = setup.bare(&["systemd", "--program", "/home/ann/bot"]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(
        ended.stderr.contains("--program /usr/local/bin/bot"),
        "{ended:?}"
    );
}

#[test]
fn bash_completes_the_command_line() {
    let setup = Setup::counter();
    fs::write(
        setup.path("completions"),
        print(&setup, &["completions", "bash"]),
    )
    .unwrap();
    let complete = |words: &str| {
        let script = format!(
            "set -e; . ./completions; COMP_WORDS=({words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
            at=$(complete -p turnkey); at=${{at##*-F }}; at=${{at%% *}}
            $at turnkey \"${{COMP_WORDS[COMP_CWORD]}}\" \"${{COMP_WORDS[COMP_CWORD-1]}}\"
            printf '%s\\n' \"${{COMPREPLY[@]}}\""
        );
        let mut bash = setup.command_of("bash");
        bash.args(["--norc", "-c", &script]);
        let ended = finish(bash, SOON);
        assert_eq!(ended.code, Some(0), "{words}: {ended:?}");
        ended.stdout.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(complete("turnkey ru"), ["run"]);
    assert_eq!(
        complete("turnkey run --work"),
        ["--workers", "--worker-timeout"]
    );
    assert_eq!(complete("turnkey run --sync f"), ["full"]);
    assert_eq!(complete("turnkey dead l"), ["list"]);
    assert!(
        !complete("turnkey d")
            .iter()
            .any(|word| word.contains("shell")),
        "a hidden one"
    );
    for shell in ["zsh", "fish"] {
        assert!(
            print(&setup, &["completions", shell]).contains("worker-timeout"),
            "{shell}"
        );
    }
    let unknown = setup.bare(&["completions", "dos"]);
    assert_eq!(unknown.code, Some(2), "{unknown:?}");
    // A bot has a name of its own.
    let mine = Setup::counter().copied();
    assert!(print(&mine, &["completions", "bash"]).contains("complete -F _bot "));
}

#[test]
fn manual_pages_of_every_command() {
    let setup = Setup::counter();
    let ended = setup.bare(&["man", "--out", "share/man1"]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let pages: Vec<_> = fs::read_dir(setup.path("share/man1"))
        .unwrap()
        .map(|e| e.unwrap().path())
        .collect();
    let named = |name: &str| pages.iter().any(|page| page.ends_with(name));
    for name in [
        "turnkey.1",
        "turnkey-run.1",
        "turnkey-dead-list.1",
        "turnkey-systemd.1",
    ] {
        assert!(named(name), "{name} is not among {pages:?}");
    }
    assert!(
        !named("turnkey-drill-shell.1") && !named("turnkey-help.1"),
        "{pages:?}"
    );
    let run = fs::read_to_string(setup.path("share/man1/turnkey-run.1")).unwrap();
    assert!(run.contains("worker\\-timeout") && run.is_ascii(), "{run}");
    let one = print(&setup, &["man"]);
    assert!(
        one.contains(".TH TURNKEY 1") && one.contains("turnkey\\-run(1)"),
        "{one}"
    );
    if has("groff", "groff-base") {
        for page in &pages {
            let set = tool(
                "groff",
                &["-ww", "-man", "-Tutf8", "-z", page.to_str().unwrap()],
            );
            assert_eq!((set.code, set.stderr.as_str()), (Some(0), ""), "{page:?}");
        }
    }
    let refused = setup.bare(&["man", "--out", "/dev/null/man"]);
    assert_eq!(refused.code, Some(2), "{refused:?}");
}

#[test]
fn an_author_starts_and_asks_a_bot() {
    let bot = Program::start(env!("CARGO_BIN_EXE_turnkey"), &["--workers", "2"]).unwrap();
    assert_eq!(bot.say("ann", "hi").unwrap()[0].text, "1: hi");
    assert_eq!(bot.press("ann", "tea").unwrap()[0].text, "2: tea");
    assert_ne!(bot.port(), 0);
    assert!(bot.stderr().contains("Started webhooks updater"));
    let bot = bot.restart().unwrap();
    assert_eq!(bot.say("ann", "hi").unwrap()[0].text, "3: hi");
    let error = bot.say("", "hi").unwrap_err().to_string();
    assert!(
        error.contains("400") && error.contains("user_id"),
        "{error}"
    );
    bot.stop().unwrap();
}

#[test]
fn an_author_is_told_why_a_bot_does_not_start() {
    let error = Program::start(env!("CARGO_BIN_EXE_turnkey"), &["--workers", "0"]).unwrap_err();
    let error = error.to_string();
    assert!(error.contains("--workers takes 1 to"), "{error}");
    let error = Program::start("/nowhere/bot", &[]).unwrap_err().to_string();
    assert!(error.contains("cannot start /nowhere/bot"), "{error}");
}
