//! What lasts: WebSockets, server-sent events, streamed answers, calls of gRPC.

use std::time::Duration;

use turnkey_drill::{Cause, Drill, Mode, Report, Request, Scenario, Verdict};

use super::causes::{assert_found, found};
use super::{run, server};

fn websockets(kind: &str) -> Drill {
    server(kind)
        .mode(Mode::KeepAlive)
        .websocket("/ws", 4)
        .message_every(Duration::from_millis(20))
}

#[test]
fn websockets_that_are_told_lose_nothing() {
    let report = run(websockets("perfect")
        .scenario(Scenario::CtrlC)
        .scenario(Scenario::Term));
    report.assert_clean();
    for round in &report.rounds {
        assert_eq!(round.number(Verdict::Told), 4, "{report}");
        let messages = round.messages;
        assert!(messages.echoed > 4 && messages.pushed > 0, "{messages:?}");
        assert_eq!(messages.lost, 0, "{messages:?}");
        assert_eq!(
            messages.sent,
            messages.echoed + messages.crossed,
            "{messages:?}"
        );
    }
}

#[test]
fn websockets_without_a_goodbye_are_cut() {
    let report = assert_found(
        websockets("websocket-silent"),
        Cause::NoCloseFrame,
        websockets("perfect"),
    );
    assert_eq!(report.total(Verdict::Cut), 4, "{report}");
    let text = report.to_string();
    assert!(
        text.contains("WebSocket: closed without a goodbye"),
        "{text}"
    );
}

#[test]
fn texts_that_nobody_answers_are_lost() {
    let deaf = websockets("websocket-deaf");
    let report = assert_found(deaf, Cause::LostMessages, websockets("perfect"));
    assert!(
        report.rounds[0].messages.lost > 4,
        "{:?}",
        report.rounds[0].messages
    );
}

fn events(kind: &str) -> Drill {
    server(kind).mode(Mode::KeepAlive).events("/events", 4)
}

#[test]
fn events_end_between_two_and_go_on() {
    let report = run(events("perfect"));
    report.assert_clean();
    let round = &report.rounds[0];
    assert_eq!(round.number(Verdict::Told), 4, "{report}");
    assert!(round.events.received > 40, "{:?}", round.events);
}

#[test]
fn events_and_answers_that_are_torn_are_cut() {
    let report = assert_found(events("torn"), Cause::TornEvent, events("perfect"));
    assert_eq!(report.total(Verdict::Cut), 4, "{report}");
    let streamed = |kind| {
        let drill = server(kind).mode(Mode::New);
        drill.stream(Request::get("/stream"), 3)
    };
    assert_found(streamed("torn"), Cause::TornAnswer, streamed("perfect"));
}

fn calls(kind: &str) -> Drill {
    let call = || Request::grpc("/drill.Echo/Say", [8, 1]);
    server(kind).http2().request(call()).stream(call(), 2)
}

fn statuses(report: &Report) -> Vec<u16> {
    let all = report.rounds.iter().flat_map(|round| round.statuses.keys());
    all.copied().collect()
}

#[test]
fn calls_of_grpc_end_with_a_status() {
    let report = assert_found(calls("grpc-torn"), Cause::TornAnswer, calls("grpc"));
    assert!(
        report.to_string().contains("without grpc-status"),
        "{report}"
    );
    assert!(statuses(&report).iter().all(|status| *status == 200));
    let said = calls("perfect").start_timeout(Duration::from_millis(500));
    let said = said.run().unwrap_err().to_string();
    assert!(said.contains("grpc-status"), "{said}");
    let plain = server("grpc").request(Request::grpc("/a.B/C", [])).run();
    assert!(plain.unwrap_err().to_string().contains("--http2"));
    assert_eq!(found(&report, Cause::NoGoaway), 0);
}
