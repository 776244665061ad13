//! What each cause means and what helps, in the words of the report.
//!
//! Read by `diagnosis/mod.rs`. Every cause has a section in docs/DRILL.md.

use serde::Serialize;

/// Why something was lost, most likely.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Cause {
    /// A known server stops at once on this signal.
    ByDesign,
    /// `--stop-timeout` was over.
    Killed,
    /// The first process is a shell that does not pass signals on.
    Shell,
    /// The process ended while requests were under way.
    LeftEarly,
    /// Requests that were being worked on were dropped.
    Dropped,
    /// The answer ended in its middle.
    TornAnswer,
    /// The request's body was not read to its end.
    TornBody,
    /// A kept-alive connection was closed while a request was on its way.
    IdleConnection,
    /// Connections that waited to be accepted were closed with the listener.
    Backlog,
    /// The kernel went on accepting for a listener that nobody served.
    DeadBacklog,
    /// GOAWAY promised answers that did not come.
    Promised,
    /// Streams were reset one by one.
    StreamReset,
    /// A connection of HTTP/2 ended without GOAWAY.
    NoGoaway,
    /// One GOAWAY turned away what was on its way.
    GoawayAtOnce,
    /// A WebSocket ended without a close frame.
    NoCloseFrame,
    /// Texts on a WebSocket were not answered before it was closed.
    LostMessages,
    /// A stream ended in the middle of an event, or of a message.
    TornEvent,
    /// TLS failed under load.
    Tls,
    /// Nobody listened for a moment.
    Gap,
    /// A balancer answered for a backend that was gone.
    Balancer,
    /// The server answered with errors after the signal.
    Errors,
    /// The server was open and did not answer.
    Hung,
    /// It called itself ready until it refused.
    ReadyToTheEnd,
    /// Requests failed while it called itself ready.
    ReadyTooEarly,
    /// Processes were left behind.
    LeftBehind,
    /// Something holds the port.
    PortHeld,
}

impl Cause {
    #[cfg(test)]
    pub(super) const ALL: [Cause; 26] = [
        Cause::ByDesign,
        Cause::Killed,
        Cause::Shell,
        Cause::LeftEarly,
        Cause::Dropped,
        Cause::TornAnswer,
        Cause::TornBody,
        Cause::IdleConnection,
        Cause::Backlog,
        Cause::DeadBacklog,
        Cause::Promised,
        Cause::StreamReset,
        Cause::NoGoaway,
        Cause::GoawayAtOnce,
        Cause::NoCloseFrame,
        Cause::LostMessages,
        Cause::TornEvent,
        Cause::Tls,
        Cause::Gap,
        Cause::Balancer,
        Cause::Errors,
        Cause::Hung,
        Cause::ReadyToTheEnd,
        Cause::ReadyTooEarly,
        Cause::LeftBehind,
        Cause::PortHeld,
    ];

    /// The section of docs/DRILL.md.
    pub(super) fn section(self) -> &'static str {
        match self {
            Cause::ByDesign => "a-signal-that-stops-at-once",
            Cause::Killed => "killed-before-it-was-done",
            Cause::Shell => "a-shell-in-between",
            Cause::LeftEarly | Cause::Dropped | Cause::TornAnswer => "work-that-was-dropped",
            Cause::TornBody => "bodies-that-nobody-read",
            Cause::IdleConnection => "idle-connections",
            Cause::Backlog | Cause::DeadBacklog => "the-accept-queue",
            Cause::Promised | Cause::StreamReset | Cause::NoGoaway | Cause::GoawayAtOnce => {
                "goaway"
            }
            Cause::NoCloseFrame | Cause::LostMessages | Cause::TornEvent => {
                "websockets-and-streams"
            }
            Cause::Tls => "tls-under-load",
            Cause::Gap => "a-gap",
            Cause::Balancer | Cause::ReadyToTheEnd | Cause::ReadyTooEarly => {
                "balancers-and-readiness"
            }
            Cause::Errors | Cause::Hung => "errors-while-stopping",
            Cause::LeftBehind | Cause::PortHeld => "left-behind",
        }
    }

    /// What was seen, after a number of requests, processes or connections; why, most likely;
    /// what helps.
    pub(super) fn advice(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Cause::ByDesign => (
                "cut by a signal that stops this server at once",
                "its documentation calls another signal graceful",
                "send that one: in systemd KillSignal=, in a container STOPSIGNAL or stop_signal",
            ),
            Cause::Killed => (
                "cut when the time to stop was over",
                "the server was still finishing when SIGKILL came",
                "give it longer (systemd TimeoutStopSec=, docker stop -t, terminationGracePeriodSeconds), or its drain a shorter limit than that",
            ),
            Cause::Shell => (
                "with a shell as the first process, which kept the signal to itself",
                "the first process is a shell; it does not pass SIGTERM on, and as PID 1 ignores it",
                "start the server in the shell's place: `exec server …`, or the exec form of CMD",
            ),
            Cause::LeftEarly => (
                "under way when the process ended",
                "nothing waited for requests under way",
                "on the signal stop accepting, wait for the requests under way, then exit",
            ),
            Cause::Dropped => (
                "worked on at the signal and dropped, while the process went on",
                "handlers were cancelled, or their connections closed, at once",
                "wait for requests under way before connections are closed or tasks cancelled",
            ),
            Cause::TornAnswer => (
                "closed in the middle of the answer",
                "the connection was closed, or the process ended, while the answer was being written",
                "count an answer as finished when its last byte has been sent, and wait for that",
            ),
            Cause::TornBody => (
                "closed while the request's body was on its way",
                "the server gave up on bodies that it had not read to their end",
                "read bodies under way to their end; turn new ones away with 503 and Retry-After",
            ),
            Cause::IdleConnection => (
                "on a kept-alive connection that was closed while the request was on its way",
                "idle connections were closed at once, and the client could not know yet",
                "keep idle connections open for a moment (linger), answer what still comes with `Connection: close`, then close",
            ),
            Cause::Backlog => (
                "accepted by the kernel, and closed before the server read the request",
                "the listener was closed while connections waited in its queue",
                "accept until the queue is empty, then close the listener, and answer what came",
            ),
            Cause::DeadBacklog => (
                "accepted by the kernel for a server that took nobody any more",
                "a copy of the listening socket stayed open (in the master, or in workers that were draining), so clients connected and waited for nothing",
                "close every copy of the listener first, and accept what waits in its queue",
            ),
            Cause::Promised => (
                "at or below the last stream of GOAWAY, and never answered",
                "the connection was closed right after GOAWAY, not after its streams",
                "close the connection when the last stream that GOAWAY named has ended",
            ),
            Cause::StreamReset => (
                "reset as a stream, after the request was sent",
                "handlers were cancelled at once",
                "let streams under way end; reset new ones with REFUSED_STREAM",
            ),
            Cause::NoGoaway => (
                "on a connection of HTTP/2 that ended without GOAWAY",
                "the client cannot know which requests were carried out, so it may repeat none",
                "send GOAWAY, then wait for its streams before the connection is closed",
            ),
            Cause::GoawayAtOnce => (
                "left with one GOAWAY, at once (connections of HTTP/2)",
                "what clients had just sent was turned away (declined), and not all of them try again",
                "two steps (RFC 9113, 6.8): GOAWAY with stream 2^31-1, a round trip later GOAWAY with the last stream",
            ),
            Cause::NoCloseFrame => (
                "on a WebSocket that ended without a close frame, or with a code for something else",
                "nobody told the connections that the server stops; clients see 1006, an error",
                "on the signal send each a close frame with 1001 or 1012, and wait for the answer",
            ),
            Cause::LostMessages => (
                "on a WebSocket that was closed before texts were answered that had been sent well before",
                "messages that had been read, or waited in the kernel, were dropped",
                "answer what has arrived, then send the close frame",
            ),
            Cause::TornEvent => (
                "in a stream of events, which ended in the middle of one",
                "the writer was cancelled while it wrote",
                "end streams between two events, and end the answer properly (the last chunk)",
            ),
            Cause::Tls => (
                "turned away by TLS under load",
                "a certificate was replaced by one that is not trusted, or its files were read half-written",
                "replace certificate and key together, by renaming files",
            ),
            Cause::Gap => (
                "refused: nobody listened",
                "the old process had left before the new one listened",
                "start the new one first, on the same socket (socket activation, SO_REUSEPORT) or behind a balancer; or allow the gap with --allow-refused",
            ),
            Cause::Balancer => (
                "answered by a balancer with 502, 503 or 504",
                "the balancer still sent requests to a backend that was gone",
                "readiness first, then wait: answer `not ready` and serve on for as long as the balancer needs to notice, then stop",
            ),
            Cause::Errors => (
                "answered with an error after the signal",
                "something that handlers need (a pool, a queue, an event loop) was closed before they were done",
                "close such things last, when no request is under way",
            ),
            Cause::Hung => (
                "not answered in time, on a connection that stood",
                "a request waits for something that does not come any more",
                "give every wait of a handler a limit that is shorter than the drain",
            ),
            Cause::ReadyToTheEnd => (
                "went from ready to refusing without a word between",
                "it never said that it is leaving, so a balancer goes on sending until requests fail",
                "readiness first, then wait: answer `not ready` and serve on for as long as the balancer needs to notice, then stop",
            ),
            Cause::ReadyTooEarly => (
                "failed while it said that it is ready",
                "readiness is asked of something other than what serves",
                "say `ready` when a request would be answered, and not before",
            ),
            Cause::LeftBehind => (
                "left behind when the first process had gone",
                "nobody waits for it, or it does not hear of the end",
                "stop and wait for children; let them watch for the end of their parent",
            ),
            Cause::PortHeld => (
                "left behind with the port still open",
                "a child was given a copy of the listening socket",
                "open sockets close-on-exec, and close the listener in children that do not serve",
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cause_has_a_section_in_the_docs() {
        let docs = include_str!("../../../../docs/DRILL.md");
        let anchors: Vec<String> = docs
            .lines()
            .filter_map(|line| line.trim_start_matches('#').strip_prefix(' '))
            .map(|title| title.to_lowercase().replace(' ', "-"))
            .collect();
        for cause in Cause::ALL {
            assert!(
                anchors.iter().any(|a| a == cause.section()),
                "{}",
                cause.section()
            );
        }
    }
}
