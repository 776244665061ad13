//! What a client saw of one request.
//!
//! The clients write records; `verdict.rs` says what they mean once the round is over.

use std::sync::Arc;

/// A moment: microseconds since the load began.
pub(super) type Micros = u64;

/// Which of the load's requests it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Of the steady load.
    Steady,
    /// To `--slow-path`.
    Slow,
    /// Connected before the signal; the first byte goes out after it.
    Connect,
    /// Half of its head goes out before the signal.
    Head,
    /// Half of its body goes out before the signal.
    Body,
    /// Its answer is read after the signal.
    Read,
    /// A large body that takes its time.
    Upload,
    /// An answer in pieces.
    Stream,
    WebSocket,
    /// Server-sent events.
    Events,
}

impl Kind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Kind::Steady => "steady",
            Kind::Slow => "slow",
            Kind::Connect => "held after connecting",
            Kind::Head => "held in its head",
            Kind::Body => "held in its body",
            Kind::Read => "held while reading",
            Kind::Upload => "upload",
            Kind::Stream => "streamed",
            Kind::WebSocket => "WebSocket",
            Kind::Events => "events",
        }
    }
}

/// How a request ended, as its client saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The whole answer is here.
    Complete,
    /// The system said that nobody listens.
    Refused,
    /// No connection came about in time: nobody took it.
    NotConnected,
    /// The connection was reset.
    Reset,
    /// The connection was closed.
    Closed,
    /// No whole answer in time.
    TimedOut,
    /// What came was not the protocol.
    Malformed,
    /// No TLS: no trust, or no protocol in common.
    NoTls,
    /// HTTP/2: above the last stream of a GOAWAY, or reset as refused. The server did
    /// nothing, and the client may try again (RFC 9113, 6.8 and 8.7).
    NotBegun,
    /// HTTP/2: the connection ended, though GOAWAY had promised an answer.
    Promised,
    /// HTTP/2: the stream alone was reset, with this code.
    StreamReset(u32),
    /// gRPC: the answer ended without its status.
    NoStatus,
    /// What lasts was ended as it should: the client knows, and comes again.
    Told,
    /// WebSocket: closed with a code that says something else.
    ClosedWith(u16),
    /// WebSocket: texts were sent, and did not come back before the close frame.
    LostMessages,
    /// Ended in the middle of an event.
    TornEvent,
    /// The drill's own machine could not: no free port, no file descriptor.
    Local,
}

/// Which connection it is, and since when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Birth {
    /// The client's port.
    pub(super) port: u16,
    /// When its client began to connect: the server cannot have had it earlier.
    pub(super) dialled: Micros,
    /// When its client heard that it is there. A busy client hears it late: the server may
    /// have had it well before.
    pub(super) opened: Micros,
}

/// One request.
#[derive(Clone, Debug)]
pub(super) struct Record {
    pub(super) n: u64,
    pub(super) client: usize,
    pub(super) kind: Kind,
    /// Which of the addresses it was sent to.
    pub(super) aim: usize,
    /// On a connection that had carried a request before.
    pub(super) reused: bool,
    /// The number of its stream, in HTTP/2.
    pub(super) stream: Option<u32>,
    /// The client's port; 0 before there is one.
    pub(super) port: u16,
    /// When the client began to connect, and when it heard that the connection is there.
    pub(super) dialled: Option<Micros>,
    pub(super) opened: Option<Micros>,
    pub(super) start: Micros,
    pub(super) connected: Option<Micros>,
    pub(super) first_sent: Option<Micros>,
    pub(super) all_sent: Option<Micros>,
    pub(super) first_read: Option<Micros>,
    pub(super) end: Micros,
    /// Bytes of the request, those that went out, those of the answer that came.
    pub(super) size: usize,
    pub(super) sent: usize,
    pub(super) read: usize,
    pub(super) status: Option<u16>,
    pub(super) retry_after: bool,
    /// The status in the trailers of gRPC.
    pub(super) grpc_status: Option<u32>,
    /// The answer came before all of the body was sent.
    pub(super) early: bool,
    /// More came than one answer.
    pub(super) extra: bool,
    /// Who answered, as the header field of `--load-balancer` says.
    pub(super) backend: Option<Arc<str>>,
    /// More about its end, for a person.
    pub(super) detail: Option<Arc<str>>,
    pub(super) outcome: End,
}

impl Record {
    /// Of which nothing is known yet.
    pub(super) fn begun(n: u64, client: usize, kind: Kind, aim: usize, start: Micros) -> Self {
        Record {
            n,
            client,
            kind,
            aim,
            reused: false,
            stream: None,
            port: 0,
            dialled: None,
            opened: None,
            start,
            connected: None,
            first_sent: None,
            all_sent: None,
            first_read: None,
            end: start,
            size: 0,
            sent: 0,
            read: 0,
            status: None,
            retry_after: false,
            grpc_status: None,
            early: false,
            extra: false,
            backend: None,
            detail: None,
            outcome: End::Complete,
        }
    }

    /// Notes its connection.
    pub(super) fn over(&mut self, birth: Birth) {
        self.port = birth.port;
        self.dialled = Some(birth.dialled);
        self.opened = Some(birth.opened);
        self.connected = Some(birth.opened.max(self.start));
    }

    /// It needs another connection, which is not there yet.
    pub(super) fn over_none(&mut self) {
        self.port = 0;
        self.dialled = None;
        self.opened = None;
        self.connected = None;
    }

    /// Whether it was under way at this moment.
    pub(super) fn spans(&self, moment: Option<Micros>) -> bool {
        moment.is_some_and(|moment| self.start <= moment && self.end >= moment)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Begun at 900, ended at 1100, with a signal at 1000 in the tests that know one.
    pub(in super::super) fn record(outcome: End) -> Record {
        Record {
            port: 4711,
            dialled: Some(905),
            opened: Some(910),
            connected: Some(910),
            first_sent: Some(920),
            all_sent: Some(930),
            end: 1100,
            size: 100,
            sent: 100,
            outcome,
            ..Record::begun(1, 0, Kind::Steady, 0, 900)
        }
    }
}
