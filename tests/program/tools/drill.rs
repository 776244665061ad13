//! The drill as a command: its options, files and ends; and on our own bot, which must lose
//! nothing. What it says of faulty servers is tested in `crates/drill/tests/drill/`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::LazyLock;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::TempDir;
use turnkey::drill::{Drill, Exit, Mode, Report, Request, Scenario, To, Verdict};

use crate::harness::bot::{SOON, Setup, example, until};
use crate::harness::certificate::Authority;
use crate::harness::proc::inhabitants;

/// For a drill of a few rounds on a busy machine.
const LONG: Duration = Duration::from_secs(180);

const TURNKEY: &str = env!("CARGO_BIN_EXE_turnkey");

fn faulty() -> &'static PathBuf {
    static EXAMPLE: LazyLock<PathBuf> = LazyLock::new(|| example("faulty"));
    &EXAMPLE
}

/// A short drill with limits that a busy machine keeps.
fn short(drill: Drill) -> Drill {
    drill
        .before(Duration::from_millis(300))
        .after(Duration::from_millis(500))
        .timeout(Duration::from_secs(30))
        .limit(Duration::from_secs(60))
        .connections(8)
}

fn run(drill: Drill) -> Report {
    let report = drill.run().expect("a server that can be drilled");
    assert!(report.total(Verdict::Answered) > 0, "{report}");
    assert_eq!(report.total(Verdict::NotSent), 0, "{report}");
    report
}

#[test]
fn bad_options_are_refused() {
    let setup = Setup::counter();
    let cases: [(&[&str], &str); 20] = [
        (&[], "name the server's command"),
        (&["--scenario", "ctrl-d", "--", "x"], "usr2"),
        (&["--signal", "FOO", "--", "x"], "no signal"),
        (&["--to", "group", "--", "x"], "--signal"),
        (&["--repeat", "0", "--", "x"], "--repeat is between"),
        (
            &["--connections", "9999", "--", "x"],
            "--connections is between",
        ),
        (&["--rate", "0", "--", "x"], "--rate"),
        (&["--path", "x", "--", "x"], "no path"),
        (&["--slow-connections", "3", "--", "x"], "--slow-path"),
        (
            &["--slow-connections", "0", "--", "/no/such/program"],
            "cannot start /no/such/program",
        ),
        (
            &["--expect-status", "99", "--", "x"],
            "--expect-status takes",
        ),
        (&["--header", "x", "--", "x"], "Name: value"),
        (
            &["--url", "http://192.0.2.1:80", "--", "x"],
            "--i-know 192.0.2.1",
        ),
        (&["--url", "ftp://localhost", "--", "x"], "--url takes"),
        (
            &["--url", "http://127.0.0.1:1", "--scenario", "term"],
            "--do 'COMMAND'",
        ),
        (&["--attach", "1", "--", "x"], "cannot be used with"),
        (&["--grpc", "/a.B/C", "--", "x"], "--http2"),
        (&["--allow-cut", "some", "--", "x"], "0.1%"),
        (
            &["--baseline", "/no/such/file", "--", "x"],
            "--baseline /no/such/file",
        ),
        (&["--", "/no/such/program"], "cannot start /no/such/program"),
    ];
    for (args, words) in cases {
        let ended = setup.bare(&[&["drill"], args].concat());
        assert_eq!(ended.code, Some(2), "{args:?}: {ended:?}");
        assert!(ended.stderr.contains(words), "{args:?}: {}", ended.stderr);
    }
    let help = setup.bare(&["drill", "--help"]).stdout;
    for words in [
        "gunicorn",
        "double-ctrl-c",
        "{client}",
        "Exit codes",
        "--body: {n} is another number",
        r#"--body '{"n":{n}}'"#,
    ] {
        assert!(help.contains(words), "{words}");
    }
    assert!(!setup.bare(&["--help"]).stdout.contains("drill-shell"));
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

#[test]
fn tables_json_junit_and_a_report_that_needs_nothing_else() {
    let setup = Setup::counter();
    let program = faulty().to_str().unwrap();
    let args = [
        "drill",
        "--before",
        "300ms",
        "--timeout",
        "30s",
        "--limit",
        "60s",
        "--json",
        "--load",
        "new",
        "--out",
        "report",
        "--junit",
        "drill.xml",
        "--body",
        "{\"n\":{n}}",
        "--slow-path",
        "/slow",
        "--scenario",
        "term",
        "--signal",
        "int",
        "--to",
        "group",
        "--",
        program,
    ];
    let ended = setup.bare_within(&[&args[..], &["drops"]].concat(), LONG);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let json: Value = serde_json::from_str(&ended.stdout).unwrap();
    let rounds = json["rounds"].as_array().unwrap();
    assert_eq!(rounds.len(), 2, "{json:#}");
    assert_eq!(rounds[1]["scenario"], "int to group");
    let cut: u64 = rounds
        .iter()
        .map(|round| round["counts"]["cut"].as_u64().unwrap())
        .sum();
    assert!(cut > 0);
    assert_eq!(
        ended
            .stderr
            .lines()
            .filter(|line| line.contains("NOT CLEAN"))
            .count(),
        2
    );

    let page = read(&setup.path("report/report.html"));
    assert!(page.contains("requests under way at the signal"));
    assert!(page.contains("Why, and what helps") && page.contains("prefers-color-scheme:dark"));
    for outside in ["<script", "src=", "href=", "@import", "url("] {
        assert!(!page.contains(outside), "{outside}");
    }
    for name in ["timeline-term-new.svg", "timeline-int-to-group-new.svg"] {
        let svg = read(&setup.path("report").join(name));
        assert!(
            svg.contains("class=\"bad\"") && svg.ends_with("</svg>\n"),
            "{name}"
        );
        assert!(page.contains(svg.lines().nth(1).unwrap()));
    }
    assert!(page.contains("of 2 rounds are not clean"), "{page}");
    let saved: Value = serde_json::from_str(&read(&setup.path("report/results.json"))).unwrap();
    assert_eq!(saved["rounds"], json["rounds"]);
    let xml = read(&setup.path("drill.xml"));
    assert!(xml.contains("tests=\"2\" failures=\"2\""), "{xml}");
    assert_eq!(xml.matches("<testcase ").count(), 2);

    let clean = setup.bare_within(&[&args[..7], &["--", program, "perfect"]].concat(), LONG);
    assert_eq!(clean.code, Some(0), "{clean:?}");
}

/// A drill that goes on for long, once its server is under load.
async fn long_drill(setup: &Setup) -> Child {
    let child = setup
        .command()
        .args(["drill", "--before", "60s", "--load", "new", "--"])
        .arg(faulty())
        .arg("orphan")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let here = || inhabitants(setup.dir.path());
    until("a server under load", SOON, || {
        here().contains(&format!("{} orphan ", faulty().display()))
    })
    .await;
    child
}

#[tokio::test]
async fn a_drill_that_is_killed_leaves_nothing() {
    let setup = Setup::counter();
    let mut child = long_drill(&setup).await;
    child.kill().unwrap();
    child.wait().unwrap();
    let what = format!("nobody left of {:?}", inhabitants(setup.dir.path()));
    until(&what, SOON, || inhabitants(setup.dir.path()).is_empty()).await;
}

#[tokio::test]
async fn ctrl_c_ends_a_drill() {
    let setup = Setup::counter();
    let mut child = long_drill(&setup).await;
    kill(Pid::from_raw(child.id() as i32), Signal::SIGINT).unwrap();
    until("its end", SOON, || child.try_wait().unwrap().is_some()).await;
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert_eq!(inhabitants(setup.dir.path()), Vec::<String>::new());
}

/// Our own bot with two workers, in a directory of its own.
fn bot(directory: &TempDir, args: &[&str]) -> Drill {
    let storage = format!("sqlite:{}", directory.path().join("bot.db").display());
    let drill = Drill::bot(TURNKEY)
        .args(["--workers", "2", "--storage", &storage])
        .args(args)
        .directory(directory.path());
    short(drill)
}

/// Nothing lost by any measure.
fn assert_nothing_lost(report: &Report) {
    report.assert_clean();
    for round in &report.rounds {
        assert_eq!(round.number(Verdict::Cut), 0, "{report}");
        let check = round.storage.as_ref().expect("a database was checked");
        assert!(check.counted && check.acknowledged > 0, "{check:?}");
        assert_eq!((check.lost, check.twice), (0, 0), "{check:?}");
    }
}

#[test]
fn our_bot_stops_without_loss() {
    let directory = TempDir::new().unwrap();
    let report = run(bot(&directory, &[])
        .scenario(Scenario::CtrlC)
        .scenario(Scenario::Term)
        .scenario(Scenario::TermGroup)
        .scenario(Scenario::DoubleCtrlC));
    assert_nothing_lost(&report);
    for round in report
        .rounds
        .iter()
        .filter(|r| r.scenario != "double-ctrl-c")
    {
        assert_eq!(round.exit, Some(Exit::Code(0)), "{report}");
    }
}

fn write_root(authority: &Authority, directory: &Path) -> PathBuf {
    let file = directory.join("root.pem");
    fs::write(&file, authority.root_pem()).unwrap();
    file
}

/// Handshakes, streams of HTTP/2 and bodies under way are treated no worse than requests
/// in the clear.
#[test]
fn our_bot_loses_nothing_over_https() {
    for http2 in [false, true] {
        let directory = TempDir::new().unwrap();
        let authority = Authority::new();
        let (cert, key) = authority.issue(directory.path());
        let ca = write_root(&authority, directory.path());
        let tls = [
            "--tls-cert",
            cert.to_str().unwrap(),
            "--tls-key",
            key.to_str().unwrap(),
        ];
        let drill = bot(&directory, &tls).https().ca(ca);
        let drill = match http2 {
            true => drill.http2().streams(4),
            false => drill,
        };
        let report = run(drill
            // No message: turned down, at the latest when a worker that leaves has waited for
            // the rest of it for two seconds.
            .upload("/http", 100_000, 3)
            .upload_time(Duration::from_secs(4))
            .expect_status([200, 415])
            .scenario(Scenario::CtrlC)
            .scenario(Scenario::Term)
            .scenario(Scenario::Hup));
        assert_nothing_lost(&report);
        for round in &report.rounds {
            let left = round.leaves.at_once + round.leaves.silent;
            assert_eq!(left, 0, "{report}");
            assert!(round.findings.is_empty(), "{report}");
            if http2 && round.load == "keep-alive" && round.scenario == "term" {
                assert!(round.leaves.in_two_steps > 0, "{report}");
            }
        }
    }
}

/// Turns that take their time, and a second Ctrl-C that does not wait for them.
#[test]
fn a_second_ctrl_c_cuts_only_what_is_slow() {
    let directory = TempDir::new().unwrap();
    let slow = Request::post(
        "/http",
        r#"{"user_id":"drill-{run}-{round}-{client}","text":"sleep 20000","id":"{run}-{round}-{n}"}"#,
    );
    let storage = format!("sqlite:{}", directory.path().join("bot.db").display());
    let report = run(short(Drill::bot(example("commands")))
        .args(["--workers", "2", "--storage", &storage])
        .slow(slow, 2)
        .scenario(Scenario::DoubleCtrlC));
    report.assert_clean();
    for round in &report.rounds {
        assert_eq!(round.number(Verdict::Forced), 2, "{report}");
        assert_eq!(round.exit, Some(Exit::Code(130)), "{report}");
        assert_eq!(round.slow_answered, (0, 2));
        let check = round.storage.as_ref().expect("a database was checked");
        assert!(check.acknowledged > 0 && check.uncertain >= 2, "{check:?}");
    }
}

#[test]
fn our_bot_survives_the_death_of_its_parts() {
    let directory = TempDir::new().unwrap();
    let report = run(bot(&directory, &["--worker-timeout", "3s"])
        .scenario(Scenario::KillWorker)
        .scenario(Scenario::StopWorker)
        .scenario(Scenario::KillMaster)
        .scenario(Scenario::Signal {
            name: "TERM".to_owned(),
            to: To::Worker,
            stops: false,
        }));
    assert_nothing_lost(&report);
    let named = |name: &'static str| report.rounds.iter().filter(move |r| r.scenario == name);
    for round in named("kill-worker").chain(named("stop-worker")) {
        assert!(round.replaced_after_s.is_some(), "{report}");
        assert_eq!(round.exit, Some(Exit::Code(0)), "{report}");
    }
    for round in named("kill-master") {
        assert_eq!(round.exit, Some(Exit::Signal(9)), "{report}");
    }
}

/// Handshakes keep the drill's clients busy: they hear of connections that the killed worker
/// had taken when it is dead already. These are lost with it, and no others.
#[test]
fn a_killed_worker_takes_only_its_own_connections_over_http2() {
    let directory = TempDir::new().unwrap();
    let authority = Authority::new();
    let (cert, key) = authority.issue(directory.path());
    let tls = ["--tls-cert", cert.to_str().unwrap()];
    let tls = [&tls[..], &["--tls-key", key.to_str().unwrap()]].concat();
    let report = run(bot(&directory, &tls)
        .https()
        .ca(write_root(&authority, directory.path()))
        .http2()
        .connections(16)
        .mode(Mode::New)
        .scenario(Scenario::KillWorker)
        .repeat(3));
    assert_nothing_lost(&report);
    assert!(report.total(Verdict::WithWorker) > 0, "{report}");
}

#[test]
fn our_bot_reloads_and_upgrades_without_loss() {
    let directory = TempDir::new().unwrap();
    let report = run(bot(&directory, &[])
        .scenario(Scenario::Hup)
        .scenario(Scenario::Usr2));
    assert_nothing_lost(&report);
    for round in &report.rounds {
        assert!(round.replaced_after_s.is_some(), "{report}");
        assert_eq!(round.number(Verdict::Refused), 0, "{report}");
    }
}
