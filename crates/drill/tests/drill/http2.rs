//! HTTP/2 in the clear: what GOAWAY promises, and what becomes of it.

use turnkey_drill::{Drill, Mode, Report, Scenario, Verdict};

use super::{run, server};

fn drill(kind: &str) -> Drill {
    server(kind).http2().streams(4)
}

fn how(report: &Report, words: &str) -> u64 {
    let all = report.rounds.iter().flat_map(|round| &round.cut_how);
    let found = all.filter(|(how, _)| how.contains(words));
    found.map(|(_, number)| number).sum()
}

#[test]
fn a_server_that_says_goodbye_in_two_steps_is_clean() {
    let report = run(drill("perfect")
        .scenario(Scenario::CtrlC)
        .scenario(Scenario::Term)
        .repeat(2));
    report.assert_clean();
    for round in &report.rounds {
        assert_eq!(round.leaves.at_once + round.leaves.silent, 0, "{round:?}");
        assert_eq!(round.statuses.keys().collect::<Vec<_>>(), [&200]);
    }
    let kept = report.rounds.iter().filter(|r| r.load == "keep-alive");
    assert!(kept.map(|round| round.leaves.in_two_steps).sum::<u64>() > 0);
}

#[test]
fn requests_with_bodies_go_over_http2() {
    use turnkey_drill::Request;
    let report = run(drill("perfect").request(Request::post("/", "x".repeat(200_000))));
    report.assert_clean();
}

#[test]
fn one_goaway_at_once_declines_and_cuts_nothing() {
    let report = run(drill("goes-away-at-once").mode(Mode::KeepAlive).repeat(2));
    assert_eq!(report.total(Verdict::Cut), 0, "{report}");
    assert!(report.rounds.iter().all(|round| round.leaves.at_once > 0));
}

#[test]
fn a_stream_that_goaway_promised_and_nobody_answered_is_cut() {
    let report = run(drill("drops-stream").mode(Mode::KeepAlive));
    assert!(report.total(Verdict::Cut) > 0, "{report}");
    assert!(how(&report, "GOAWAY had promised") > 0, "{report}");
}

#[test]
fn an_end_without_goaway_is_cut() {
    let report = run(drill("no-goaway"));
    assert!(report.total(Verdict::Cut) > 0, "{report}");
    assert!(report.rounds.iter().any(|round| round.leaves.silent > 0));
    assert_eq!(how(&report, "GOAWAY"), 0, "{report}");
}
