//! Each fault that is planted is found with its likely cause, and its healthy twin has none.

use std::os::unix::fs::symlink;
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;
use turnkey_drill::{Cause, Drill, Mode, Report, Request, Scenario, Verdict};

use super::rollouts::Running;
use super::{faulty, run, server, short};

/// How many of a cause were found.
pub(super) fn found(report: &Report, cause: Cause) -> u64 {
    let all = report.rounds.iter().flat_map(|round| &round.findings);
    let of_cause = all.filter(|finding| finding.cause == cause);
    of_cause.map(|finding| finding.number).sum()
}

/// It is found, explained in the text, and the twin is clean.
pub(super) fn assert_found(faulty: Drill, cause: Cause, twin: Drill) -> Report {
    let report = run(faulty);
    assert!(found(&report, cause) > 0, "{cause:?} in {report}");
    assert!(!report.is_clean(), "{report}");
    let text = report.to_string();
    assert!(
        text.contains("Why, and what helps:") && text.contains("docs/DRILL.md#"),
        "{text}"
    );
    let twin = run(twin);
    twin.assert_clean();
    assert_eq!(
        twin.rounds.iter().map(|r| r.findings.len()).sum::<usize>(),
        0
    );
    report
}

fn slow(drill: Drill) -> Drill {
    drill.mode(Mode::New).slow(Request::get("/slow"), 3)
}

#[test]
fn a_process_that_leaves_before_its_requests_are_answered() {
    let early = slow(server("leaves-early"));
    let report = assert_found(early, Cause::LeftEarly, slow(server("perfect")));
    let (answered, all) = report.rounds[0].slow_answered;
    assert!(answered < all, "{report}");
}

#[test]
fn answers_that_are_torn_when_the_process_leaves() {
    let streamed = |kind| {
        server(kind)
            .mode(Mode::New)
            .slow(Request::get("/stream"), 3)
    };
    assert_found(
        streamed("leaves-early"),
        Cause::TornAnswer,
        streamed("perfect"),
    );
}

#[test]
fn requests_that_are_dropped_at_the_signal() {
    let drill = |kind| slow(server(kind)).scenario(Scenario::Term);
    let report = run(drill("drops"));
    run(drill("perfect")).assert_clean();
    // Those that are slow are dropped last, when the process leaves, or before; those that
    // were held may not have been accepted.
    let causes = [
        Cause::Backlog,
        Cause::Dropped,
        Cause::LeftEarly,
        Cause::TornBody,
    ];
    let found_of_all: u64 = causes.iter().map(|cause| found(&report, *cause)).sum();
    assert!(found_of_all > 0, "{report}");
    assert_eq!(found_of_all, report.total(Verdict::Cut), "{report}");
    let kept = |kind| server(kind).mode(Mode::KeepAlive).scenario(Scenario::Term);
    assert_found(kept("drops"), Cause::IdleConnection, kept("perfect"));
}

#[test]
fn a_listener_that_nobody_serves() {
    let drill = |kind| server(kind).mode(Mode::New).scenario(Scenario::Term);
    assert_found(drill("dead-backlog"), Cause::DeadBacklog, drill("perfect"));
}

#[test]
fn errors_after_the_signal() {
    let drill = |kind| server(kind).mode(Mode::New);
    assert_found(drill("errors"), Cause::Errors, drill("perfect"));
}

#[test]
fn a_child_that_holds_the_port() {
    let drill = |kind| server(kind).mode(Mode::KeepAlive);
    let report = assert_found(drill("orphan-with-port"), Cause::PortHeld, drill("perfect"));
    assert_eq!(found(&report, Cause::LeftBehind), 0, "{report}");
    assert!(found(&run(drill("orphan")), Cause::LeftBehind) > 0);
}

#[test]
fn a_shell_that_keeps_the_signal_to_itself() {
    let in_a_shell = |script: &str| {
        let script = script.replace("SERVER", &faulty().display().to_string());
        short(Drill::command(["/bin/sh", "-c", &script]))
            .mode(Mode::KeepAlive)
            .scenario(Scenario::Term)
            .limit(Duration::from_secs(3))
    };
    let twin = || in_a_shell("exec SERVER perfect");
    let dies = assert_found(in_a_shell("SERVER perfect; true"), Cause::Shell, twin());
    assert!(dies.to_string().contains("exec"), "{dies}");
    // As PID 1 does, for which the kernel ignores what it does not handle.
    let deaf = in_a_shell("trap : TERM; SERVER perfect; true");
    assert_found(deaf, Cause::Shell, twin());
}

/// The kernel gives the first process of a PID namespace no signal that it does not handle,
/// as in a container.
#[test]
fn a_shell_that_is_pid_1() {
    let made = Command::new("unshare")
        .args(["--pid", "--fork", "true"])
        .status();
    if !made.is_ok_and(|status| status.success()) {
        eprintln!("SKIPPED: this user may make no PID namespace");
        return;
    }
    let server = Running::start_with(|port| {
        let script = format!("{} perfect {port}; true", faulty().display());
        let mut unshare = Command::new("unshare");
        unshare.args(["--pid", "--fork", "--kill-child", "sh", "-c", &script]);
        unshare
    });
    let shell = server.only_child();
    let drill = short(Drill::attach(shell))
        .scenario(Scenario::Term)
        .limit(Duration::from_secs(1));
    let report = run(drill);
    assert_eq!(found(&report, Cause::Shell), 1, "{report}");
    assert_eq!(report.total(Verdict::Cut), 0, "{report}");
}

#[test]
fn a_server_that_is_killed_when_its_time_is_over() {
    let drill = |kind| server(kind).scenario(Scenario::Term);
    let time = Duration::from_millis(700);
    let killed = drill("stays").mode(Mode::New).stop_timeout(time);
    let twin = drill("perfect").stop_timeout(Duration::from_secs(30));
    let report = assert_found(killed, Cause::Killed, twin);
    let round = &report.rounds[0];
    assert!(
        round.killed_at_stop_timeout && !round.killed_at_limit,
        "{report}"
    );
    assert!(
        report.to_string().contains("as a container would"),
        "{report}"
    );
}

#[test]
fn a_server_that_says_it_is_ready_until_it_refuses() {
    let drill = |kind| server(kind).ready_path("/ready").scenario(Scenario::Term);
    let report = assert_found(
        drill("lies-that-ready"),
        Cause::ReadyToTheEnd,
        drill("perfect"),
    );
    assert!(
        report
            .rounds
            .iter()
            .all(|round| round.unready_after_s.is_none())
    );
    let honest = run(drill("perfect"));
    assert!(
        honest
            .rounds
            .iter()
            .all(|round| round.unready_after_s.is_some())
    );
}

/// It is no fault of a server that it obeys.
#[test]
fn a_signal_that_stops_at_once_by_design() {
    let directory = TempDir::new().unwrap();
    let nginx = directory.path().join("nginx");
    symlink(faulty(), &nginx).unwrap();
    let drill = |signal| {
        let words = [nginx.as_os_str(), "drops".as_ref()];
        short(Drill::command(words))
            .mode(Mode::New)
            .scenario(signal)
    };
    let report = run(drill(Scenario::Term));
    assert!(found(&report, Cause::ByDesign) > 0, "{report}");
    assert_eq!(found(&report, Cause::Dropped), 0, "{report}");
    let text = report.to_string();
    assert!(
        text.contains("graceful is QUIT") && text.contains("--scenario graceful"),
        "{text}"
    );
    // What is cut by the graceful signal is not excused. It does not handle this one.
    let graceful = run(drill(Scenario::Graceful));
    assert_eq!(graceful.rounds[0].scenario, "quit to master");
    assert!(graceful.total(Verdict::Cut) > 0 && found(&graceful, Cause::ByDesign) == 0);
}

#[test]
fn goodbyes_of_http2() {
    let drill = |kind| server(kind).http2().streams(4).mode(Mode::KeepAlive);
    assert_found(drill("drops-stream"), Cause::Promised, drill("perfect"));
    assert_found(drill("no-goaway"), Cause::NoGoaway, drill("perfect"));
    let at_once = run(drill("goes-away-at-once"));
    assert!(found(&at_once, Cause::GoawayAtOnce) > 0, "{at_once}");
    assert!(at_once.to_string().contains("two steps"), "{at_once}");
}
