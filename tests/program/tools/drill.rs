//! The drill: on servers that lose, double or leave behind what they admit, to see that
//! it finds just that; on bad input; and on our own bot, which must lose nothing.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::LazyLock;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::TempDir;
use turnkey::drill::{Drill, Exit, Mode, Report, Request, Round, Scenario, To, Verdict};

use crate::harness::bot::{SOON, Setup, example, until};
use crate::harness::proc::inhabitants;
use crate::harness::proc::stat;

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

fn server(kind: &str) -> Drill {
    let words = [faulty().as_os_str(), kind.as_ref()];
    short(Drill::command(words).shell(TURNKEY))
}

fn run(drill: Drill) -> Report {
    let report = drill.run().expect("a server that can be drilled");
    assert!(report.total(Verdict::Answered) > 0, "{report}");
    assert_eq!(report.total(Verdict::NotSent), 0, "{report}");
    report
}

/// What the server itself says.
fn faults(round: &Round) -> u64 {
    let said = round
        .output
        .lines()
        .find_map(|line| line.strip_suffix(" faults"));
    let number = said.unwrap_or_else(|| panic!("no faults in {:?}", round.output));
    // The terminal's ^C stands before the first word.
    number.trim_start_matches("^C").parse().expect("a number")
}

#[test]
fn a_server_that_stops_as_it_should_is_clean() {
    let report = run(server("perfect")
        .scenario(Scenario::CtrlC)
        .scenario(Scenario::Term)
        .scenario(Scenario::TermGroup)
        .repeat(2));
    report.assert_clean();
    assert_eq!(report.rounds.len(), 12);
    let in_flight: usize = report.rounds.iter().map(|r| r.in_flight_at_signal).sum();
    assert!(in_flight > 12, "requests were under way: {in_flight}");
    for round in &report.rounds {
        assert_eq!(round.exit, Some(Exit::Code(0)));
        assert_eq!(round.port_is_free, Some(true));
        assert!(round.left_after_s.is_some() && round.gone_after_s.is_some());
        assert_eq!(round.counts.values().sum::<u64>(), round.requests);
    }
    assert!(report.to_string().contains("Clean: 12 rounds"), "{report}");
}

#[test]
fn exactly_what_was_dropped_is_found() {
    for scenario in [Scenario::CtrlC, Scenario::Term] {
        let report = run(server("drops").mode(Mode::New).scenario(scenario));
        let round = &report.rounds[0];
        assert!(round.number(Verdict::Cut) > 0, "{report}");
        assert_eq!(round.number(Verdict::Cut), faults(round), "{report}");
        assert_eq!(round.cut_how.values().sum::<u64>(), faults(round));
        assert!(!report.is_clean());
        assert!(report.to_string().contains("requests were cut"), "{report}");
    }
    let kept = run(server("drops").mode(Mode::KeepAlive));
    assert!(kept.total(Verdict::Cut) > 0, "{kept}");
}

#[test]
fn second_answers_are_found() {
    for mode in [Mode::KeepAlive, Mode::New] {
        let report = run(server("twice").mode(mode));
        let round = &report.rounds[0];
        assert!(round.number(Verdict::Twice) > 0, "{report}");
        assert_eq!(round.number(Verdict::Twice), faults(round), "{report}");
        assert_eq!(round.number(Verdict::Cut), 0, "{report}");
    }
}

#[test]
fn errors_count_and_not_now_does_not() {
    let errors = run(server("errors").mode(Mode::New));
    assert!(
        errors.total(Verdict::Error) > 0 && !errors.is_clean(),
        "{errors}"
    );
    let declines = run(server("declines").mode(Mode::New));
    assert!(declines.total(Verdict::Declined) > 0, "{declines}");
    declines.assert_clean();
}

#[test]
fn a_process_that_is_left_behind_is_found_and_ended() {
    let report = run(server("orphan").mode(Mode::New));
    let left = &report.rounds[0].left_behind;
    assert_eq!(left.len(), 1, "{report}");
    assert!(left[0].name.ends_with("faulty child"), "{left:?}");
    assert!(!report.is_clean());
    // Whoever adopted it may not have waited for it yet.
    assert!(stat(left[0].pid).is_none_or(|stat| stat.state == 'Z'));
}

#[test]
fn a_traceback_is_counted_and_shown() {
    let report = run(server("trace").mode(Mode::New));
    let traces = &report.rounds[0].traces;
    assert_eq!(traces.count, 1, "{:?}", report.rounds[0].output);
    assert!(traces.shown[0].contains("RuntimeError"), "{traces:?}");
    assert_eq!(report.total(Verdict::Cut), 0);
    assert!(!report.is_clean());
}

#[test]
fn a_server_that_does_not_leave_is_killed_at_the_limit() {
    let limit = Duration::from_secs(1);
    let report = run(server("stays").limit(limit).repeat(2));
    for round in &report.rounds {
        assert!(round.killed_at_limit && round.exit.is_none(), "{report}");
        // It answered everything: requests that were under way at the limit, too.
        assert_eq!(
            round.problems,
            ["it did not leave within 1 s and was killed"],
            "{report}"
        );
        assert_eq!(round.number(Verdict::Answered), round.requests, "{report}");
    }
}

/// Clients that wait for a connection when the limit is over began no request: they are
/// refused, as those before them.
#[test]
fn who_was_connecting_at_the_limit_was_not_left_without_an_answer() {
    let report = run(server("hides")
        .mode(Mode::New)
        .limit(Duration::from_secs(1))
        .timeout(Duration::from_secs(3)));
    let round = &report.rounds[0];
    assert!(round.killed_at_limit, "{report}");
    assert_eq!(round.number(Verdict::TimedOut), 0, "{report}");
    assert!(round.number(Verdict::Refused) >= 8, "{report}");
    assert_eq!(
        round.problems,
        ["it did not leave within 1 s and was killed"],
        "{report}"
    );
}

/// A load of redirections would say nothing of the server.
#[test]
fn an_answer_that_nobody_expected_is_not_clean() {
    let refused = server("redirects").run().expect_err("no drill").to_string();
    assert!(
        refused.contains("was answered with 302") && refused.contains("--expect-status 302"),
        "{refused}"
    );
    let told = run(server("redirects").mode(Mode::New).expect_status([302]));
    told.assert_clean();
    // What answers rightly at first, and not under load.
    let mixed = server("perfect")
        .mode(Mode::New)
        .expect_status([200, 302])
        .run()
        .unwrap();
    mixed.assert_clean();
    let other = server("errors")
        .mode(Mode::New)
        .expect_status([200, 500])
        .run()
        .unwrap();
    other.assert_clean();
}

#[test]
fn what_cannot_be_drilled_is_said_in_a_sentence() {
    let wait = Duration::from_millis(500);
    let refused = |drill: Drill| drill.run().expect_err("no drill").to_string();
    let deaf = refused(server("deaf").start_timeout(wait));
    assert!(
        deaf.contains("did not listen on any port within 0.5 s"),
        "{deaf}"
    );
    let exits = refused(server("exits"));
    assert!(
        exits.contains("left with exit code 3 before its port answered"),
        "{exits}"
    );
    assert!(exits.contains("there is no database"), "{exits}");
    let missing = refused(Drill::command(["/no/such/program"]).shell(TURNKEY));
    assert!(
        missing.contains("cannot start /no/such/program"),
        "{missing}"
    );
    let single = refused(server("perfect").scenario(Scenario::KillWorker));
    assert!(
        single.contains("needs a server with worker processes"),
        "{single}"
    );
    let no_shell = refused(server("perfect").shell("/bin/true"));
    assert!(no_shell.contains("stands in for a shell"), "{no_shell}");
}

#[test]
fn a_port_of_somebody_else_is_left_alone() {
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = other.local_addr().unwrap().port();
    let said = server("perfect").port(port).run().unwrap_err().to_string();
    assert!(said.contains("something already listens on"), "{said}");
}

#[test]
fn bad_options_are_refused() {
    let setup = Setup::counter();
    let cases: [(&[&str], &str); 15] = [
        (&[], "COMMAND"),
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
        (&["--url", "https://localhost", "--", "x"], "--url takes"),
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
    assert!(page.contains("requests were cut") && page.contains("prefers-color-scheme:dark"));
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
