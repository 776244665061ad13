//! Stops and deaths of servers that lose, double or leave behind what they admit.

use std::fs;
use std::net::TcpListener;
use std::time::Duration;

use turnkey_drill::{Drill, Exit, Mode, Round, Scenario, Verdict};

use super::{run, server};

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
        let refused = round.number(Verdict::Refused);
        assert_eq!(round.counts.values().sum::<u64>(), round.requests + refused);
        let under_way: u64 = round.under_way.values().sum();
        assert_eq!(under_way, round.in_flight_at_signal as u64);
    }
    assert!(report.to_string().contains("Clean: 12 rounds."), "{report}");
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
        let text = report.to_string();
        assert!(text.contains("under way at the signal"), "{text}");
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
    assert!(
        left[0].name.ends_with("server_with_faults child"),
        "{left:?}"
    );
    assert!(!report.is_clean());
    // Whoever adopted it may not have waited for it yet.
    let stat = fs::read_to_string(format!("/proc/{}/stat", left[0].pid));
    assert!(stat.is_err() || stat.is_ok_and(|stat| stat.contains(") Z ")));
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
    let missing = refused(Drill::command(["/no/such/program"]));
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
