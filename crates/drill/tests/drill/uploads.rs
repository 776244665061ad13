//! Large bodies under way: read to their end, reset, or turned away early.

use std::time::Duration;

use turnkey_drill::{Cause, Drill, Mode, Scenario, Verdict};

use super::causes::assert_found;
use super::{run, server};

fn uploads(kind: &str) -> Drill {
    server(kind)
        .upload("/upload", 400_000, 4)
        .upload_time(Duration::from_millis(800))
}

#[test]
fn uploads_that_are_read_to_their_end_are_clean() {
    for drill in [uploads("perfect"), uploads("perfect").http2()] {
        let report = run(drill.scenario(Scenario::Term));
        report.assert_clean();
        assert!(report.rounds.iter().all(|round| round.early_answers == 0));
    }
}

#[test]
fn uploads_that_are_reset_are_cut() {
    let drill = |kind| uploads(kind).mode(Mode::New).scenario(Scenario::Term);
    let report = assert_found(drill("upload-reset"), Cause::TornBody, drill("perfect"));
    let how = &report.rounds[0].cut_how;
    let whole = how
        .keys()
        .any(|how| how.contains("before all of the request was sent"));
    assert!(whole, "{how:?}");
}

/// An answer before the body was read: heard, or lost in a reset.
#[test]
fn early_answers_are_heard_or_lost() {
    let drill = |kind| uploads(kind).mode(Mode::New).expect_status([200, 413]);
    let report = run(drill("too-large"));
    report.assert_clean();
    let round = &report.rounds[0];
    assert!(round.early_answers > 0 && round.statuses[&413] >= round.early_answers);
    let report = run(drill("too-large-reset"));
    assert!(report.total(Verdict::Cut) > 0, "{report}");
    assert_eq!(report.rounds[0].early_answers, 0, "{report}");
}
