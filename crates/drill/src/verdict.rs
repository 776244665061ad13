//! What became of a request: the one place where it is decided, for all protocols.
//!
//! A client writes down what it saw ([`Record`]); when a round is over and it is known when
//! the signal was sent and which connections the hit worker held, each record gets its
//! [`Verdict`]. Used by `results.rs`, the diagnosis and the timeline.

use std::collections::HashSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::record::{End, Kind, Micros, Record};

/// Which statuses are the right answer: those that were named, else 200 to 299.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Expected(pub(super) Vec<u16>);

impl Expected {
    pub(super) fn takes(&self, status: u16) -> bool {
        match self.0.as_slice() {
            [] => (200..300).contains(&status),
            named => named.contains(&status),
        }
    }
}

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Verdict {
    /// The whole answer came, with a status that was expected.
    Answered,
    /// The server said "not now", and the client knows: 503 with `Retry-After`; in HTTP/2 a
    /// stream above the last one of GOAWAY, or reset with REFUSED_STREAM.
    Declined,
    /// Something that lasts (a WebSocket, a stream of events) was ended by the server as it
    /// should be: with a close frame, between two events.
    Told,
    /// No connection after the signal: the request never began. Fine at a stop.
    Refused,
    /// In the hands of the worker that was killed or stopped: nobody could save it.
    WithWorker,
    /// Cut by the second signal, which asks for just that.
    Forced,
    /// Accepted or sent, then reset or closed without a whole answer.
    Cut,
    /// More than one answer came.
    Twice,
    /// Another answer of 500 or above.
    Error,
    /// A whole answer below 500 with a status that was not expected.
    Unexpected,
    /// No whole answer in time, on a connection that stood.
    TimedOut,
    /// No connection while the server should have served.
    Unreachable,
    /// The drill's machine could not send it: says nothing of the server.
    NotSent,
}

impl Verdict {
    pub(super) const ALL: [Verdict; 13] = [
        Verdict::Answered,
        Verdict::Declined,
        Verdict::Told,
        Verdict::Refused,
        Verdict::WithWorker,
        Verdict::Forced,
        Verdict::Cut,
        Verdict::Twice,
        Verdict::Error,
        Verdict::Unexpected,
        Verdict::TimedOut,
        Verdict::Unreachable,
        Verdict::NotSent,
    ];

    /// Whether it counts against the server.
    #[must_use]
    pub fn is_failure(self) -> bool {
        matches!(
            self,
            Verdict::Cut
                | Verdict::Twice
                | Verdict::Error
                | Verdict::Unexpected
                | Verdict::TimedOut
                | Verdict::Unreachable
        )
    }

    /// In words, after a number of requests.
    pub(super) fn words(self) -> &'static str {
        match self {
            Verdict::Answered => "answered",
            Verdict::Declined => "declined",
            Verdict::Told => "told that the connection ends",
            Verdict::Refused => "refused after the signal",
            Verdict::WithWorker => "lost with the worker that was hit",
            Verdict::Forced => "cut by the second signal",
            Verdict::Cut => "cut",
            Verdict::Twice => "answered twice",
            Verdict::Error => "answered with an error",
            Verdict::Unexpected => "answered with another status than expected",
            Verdict::TimedOut => "not answered in time",
            Verdict::Unreachable => "refused while the server should serve",
            Verdict::NotSent => "not sent by the drill",
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.words())
    }
}

/// gRPC's status for "try again".
const UNAVAILABLE: u32 = 14;

/// What must be known to judge.
#[derive(Clone, Debug, Default)]
pub(super) struct Moments {
    pub(super) signal: Option<Micros>,
    /// Of a double Ctrl-C.
    pub(super) second: Option<Micros>,
    /// Whether refusals are fine after the signal: it should stop, or may for a moment.
    pub(super) may_refuse: bool,
    /// Statuses of a right answer.
    pub(super) expected: Expected,
    /// Client ports of the connections that the hit worker held.
    pub(super) held: HashSet<u16>,
}

impl Record {
    /// Judges it.
    pub(super) fn verdict(&self, moments: &Moments) -> Verdict {
        let after = |moment: Option<Micros>| moment.is_some_and(|moment| self.end >= moment);
        // Not when its client heard that it was connected: one that is busy with TLS hears
        // it after the signal, and the worker had taken it before.
        let held =
            self.port != 0 && moments.held.contains(&self.port) && self.dialled <= moments.signal;
        let lost = |otherwise| match () {
            () if held => Verdict::WithWorker,
            () if after(moments.second) => Verdict::Forced,
            () => otherwise,
        };
        match self.outcome {
            End::Complete if self.extra => Verdict::Twice,
            End::Complete if self.grpc_status == Some(UNAVAILABLE) => Verdict::Declined,
            End::Complete if self.grpc_status.is_some_and(|status| status != 0) => Verdict::Error,
            End::Told => Verdict::Told,
            // What lasts was there until its client left.
            End::Complete
                if matches!(self.kind, Kind::WebSocket | Kind::Events)
                    && self.status == Some(200) =>
            {
                Verdict::Answered
            }
            End::Complete => match self.status {
                Some(status) if moments.expected.takes(status) => Verdict::Answered,
                Some(503) if self.retry_after => Verdict::Declined,
                Some(status) if status >= 500 => Verdict::Error,
                _ => Verdict::Unexpected,
            },
            End::Refused | End::NotConnected
                if self.connected.is_none() && moments.may_refuse && after(moments.signal) =>
            {
                Verdict::Refused
            }
            End::Refused => Verdict::Unreachable,
            End::NotConnected | End::TimedOut => lost(Verdict::TimedOut),
            End::NotBegun => Verdict::Declined,
            End::Reset
            | End::Closed
            | End::Malformed
            | End::NoTls
            | End::Promised
            | End::StreamReset(_)
            | End::NoStatus
            | End::ClosedWith(_)
            | End::LostMessages
            | End::TornEvent => lost(Verdict::Cut),
            End::Local => Verdict::NotSent,
        }
    }

    /// How far a cut one had got, in words: what tells one bug from another.
    pub(super) fn how(&self) -> String {
        let what = match self.outcome {
            End::Reset => "reset".to_owned(),
            End::Malformed => "answered with something that is not the protocol".to_owned(),
            End::NoTls => "turned away by TLS".to_owned(),
            End::Promised => "closed, though GOAWAY had promised an answer,".to_owned(),
            End::NoStatus => "ended without grpc-status".to_owned(),
            End::ClosedWith(code) => format!("closed with code {code}"),
            End::LostMessages => {
                return "closed with a close frame, and texts that were sent before had not come back"
                    .to_owned();
            }
            End::TornEvent => return "ended in the middle of an event".to_owned(),
            End::StreamReset(code) => format!("reset as a stream ({})", stream_error(code)),
            _ => "closed".to_owned(),
        };
        let connection = if self.reused { "kept-alive" } else { "new" };
        if matches!(self.kind, Kind::WebSocket | Kind::Events) {
            let kind = self.kind.name();
            return match self.outcome {
                End::Closed => format!("{kind}: closed without a goodbye"),
                _ => format!("{kind}: {what}"),
            };
        }
        let when = if self.read > 0 {
            "in the middle of its answer"
        } else if self.sent == 0 {
            "before the request was sent"
        } else if self.sent < self.size {
            "before all of the request was sent"
        } else {
            "before any answer"
        };
        format!("{what} {when}, on a {connection} connection")
    }
}

/// RFC 9113, 7.
fn stream_error(code: u32) -> String {
    let names = [
        "NO_ERROR",
        "PROTOCOL_ERROR",
        "INTERNAL_ERROR",
        "FLOW_CONTROL_ERROR",
        "SETTINGS_TIMEOUT",
        "STREAM_CLOSED",
        "FRAME_SIZE_ERROR",
        "REFUSED_STREAM",
        "CANCEL",
        "COMPRESSION_ERROR",
        "CONNECT_ERROR",
        "ENHANCE_YOUR_CALM",
        "INADEQUATE_SECURITY",
        "HTTP_1_1_REQUIRED",
    ];
    match names.get(code as usize) {
        Some(name) => (*name).to_owned(),
        None => format!("error {code}"),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::record::tests::record;
    use super::*;

    /// The signal comes while [`record`] is under way.
    pub(in super::super) fn moments() -> Moments {
        Moments {
            signal: Some(1000),
            may_refuse: true,
            ..Moments::default()
        }
    }

    fn unconnected(outcome: End) -> Record {
        Record {
            connected: None,
            dialled: None,
            opened: None,
            port: 0,
            sent: 0,
            ..record(outcome)
        }
    }

    #[test]
    fn answers() {
        let answer = |status, retry_after, extra| {
            let record = Record {
                status: Some(status),
                retry_after,
                extra,
                ..record(End::Complete)
            };
            record.verdict(&moments())
        };
        assert_eq!(answer(200, false, false), Verdict::Answered);
        assert_eq!(answer(204, false, false), Verdict::Answered);
        for other in [302, 404, 429] {
            assert_eq!(answer(other, false, false), Verdict::Unexpected);
        }
        let told = Moments {
            expected: Expected(vec![302, 503]),
            ..moments()
        };
        let answer_to = |status| {
            let record = Record {
                status: Some(status),
                retry_after: true,
                ..record(End::Complete)
            };
            record.verdict(&told)
        };
        assert_eq!(answer_to(302), Verdict::Answered);
        assert_eq!(answer_to(503), Verdict::Answered);
        assert_eq!(answer_to(200), Verdict::Unexpected);
        assert_eq!(answer(503, true, false), Verdict::Declined);
        assert_eq!(answer(503, false, false), Verdict::Error);
        assert_eq!(answer(502, true, false), Verdict::Error);
        assert_eq!(answer(200, false, true), Verdict::Twice);
    }

    #[test]
    fn refusals_are_fine_after_a_signal_that_stops() {
        let refused = unconnected(End::Refused);
        assert_eq!(refused.verdict(&moments()), Verdict::Refused);
        let goes_on = Moments {
            may_refuse: false,
            ..moments()
        };
        assert_eq!(refused.verdict(&goes_on), Verdict::Unreachable);
        let before = Record {
            end: 999,
            ..refused
        };
        assert_eq!(before.verdict(&moments()), Verdict::Unreachable);
        // The handshake that nobody answers, and the one that was answered.
        let late = unconnected(End::NotConnected);
        assert_eq!(late.verdict(&moments()), Verdict::Refused);
        assert_eq!(late.verdict(&goes_on), Verdict::TimedOut);
        assert_eq!(record(End::TimedOut).verdict(&moments()), Verdict::TimedOut);
    }

    #[test]
    fn what_was_accepted_and_closed_is_cut_whoever_closed_it() {
        for outcome in [End::Reset, End::Closed, End::Malformed] {
            assert_eq!(record(outcome).verdict(&moments()), Verdict::Cut);
        }
        let forced = Moments {
            second: Some(1050),
            ..moments()
        };
        assert_eq!(record(End::Reset).verdict(&forced), Verdict::Forced);
        let early = Record {
            end: 1049,
            ..record(End::Reset)
        };
        assert_eq!(early.verdict(&forced), Verdict::Cut);
        let held = Moments {
            held: HashSet::from([4711]),
            ..moments()
        };
        assert_eq!(record(End::Reset).verdict(&held), Verdict::WithWorker);
        // A busy client heard of the connection after the signal.
        let heard_late = Record {
            opened: Some(1090),
            ..record(End::Reset)
        };
        assert_eq!(heard_late.verdict(&held), Verdict::WithWorker);
        // A later connection from the same port is another one.
        let later = Record {
            dialled: Some(1001),
            opened: Some(1002),
            ..record(End::Reset)
        };
        assert_eq!(later.verdict(&held), Verdict::Cut);
    }

    #[test]
    fn how_a_request_was_cut() {
        assert_eq!(
            record(End::Closed).how(),
            "closed before any answer, on a new connection"
        );
        let half = Record {
            sent: 50,
            reused: true,
            ..record(End::Reset)
        };
        assert_eq!(
            half.how(),
            "reset before all of the request was sent, on a kept-alive connection"
        );
    }
}
