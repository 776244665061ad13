//! A client: one request, in the protocol of its address, and what exactly became of it.
//!
//! It is a decent client: before it uses a connection again it looks whether the server has
//! closed it, and then opens another. It never sends a request twice.
//!
//! Called by `load/`; `http1.rs` and `http2/` do the work. Bound: each request has a time
//! limit.

mod http1;

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::aim::Aim;
use crate::connect::{Failed, Idle};
use crate::events::Events;
use crate::http2::{self, Link, Shared, Watch};
use crate::record::{End, Kind, Micros, Record};
use crate::template::{Counters, Message, Paced};

pub(super) use http1::Exchange;

/// Connections of HTTP/2 about which something is kept.
const MAX_WATCHED: usize = 10_000;

/// How long requests may take, and what is looked for in their answers.
#[derive(Clone)]
pub(super) struct Client {
    pub(super) timeout: Duration,
    /// Moments count from here.
    pub(super) base: Instant,
    /// The header field that names who answered, in small letters.
    pub(super) backend: Option<Arc<str>>,
    watched: Rc<RefCell<Vec<Watch>>>,
}

/// A connection between two requests.
pub(super) enum Connection {
    Http1(Box<http1::Connection>),
    /// Others may have requests under way on it.
    Http2(Rc<Link>),
}

/// A request that pauses in the middle of its life.
#[derive(Clone, Copy)]
pub(super) struct Hold {
    pub(super) at: Kind,
    pub(super) until: Instant,
}

/// What to send.
pub(super) struct Order<'a> {
    pub(super) n: u64,
    pub(super) client: usize,
    pub(super) kind: Kind,
    pub(super) aim: usize,
    pub(super) message: &'a Message,
    pub(super) keep_alive: bool,
    /// A large body, in place of the message's.
    pub(super) upload: Option<Paced>,
    /// Where the events of its answer are looked at.
    pub(super) events: Option<&'a RefCell<Events>>,
    /// The connection of HTTP/2 that it shares with others.
    pub(super) shared: Option<&'a Shared>,
    pub(super) hold: Option<Hold>,
}

impl Connection {
    pub(super) async fn look(&mut self) -> Idle {
        match self {
            Connection::Http1(connection) => connection.look().await,
            Connection::Http2(link) if link.is_usable() => Idle::Open,
            Connection::Http2(_) => Idle::Closed,
        }
    }
}

impl Client {
    pub(super) fn new(timeout: Duration, base: Instant, backend: Option<&str>) -> Self {
        Client {
            timeout,
            base,
            backend: backend.map(Into::into),
            watched: Rc::default(),
        }
    }

    pub(super) fn with_timeout(&self, timeout: Duration) -> Self {
        Client {
            timeout,
            ..self.clone()
        }
    }

    pub(super) fn now(&self) -> Micros {
        self.base.elapsed().as_micros() as Micros
    }

    /// A connection whose end is of interest.
    pub(super) fn watch(&self, watch: Watch) {
        let mut watched = self.watched.borrow_mut();
        if watched.len() < MAX_WATCHED {
            watched.push(watch);
        }
    }

    /// All such connections.
    pub(super) fn watched(&self) -> Vec<Watch> {
        self.watched.borrow().clone()
    }

    /// Sends one request and reads its answer; the connection, if it can be used again.
    pub(super) async fn request(
        &self,
        aim: &Aim,
        kept: Option<Connection>,
        order: &Order<'_>,
    ) -> (Record, Option<Connection>) {
        if aim.http2 {
            let kept = match kept {
                Some(Connection::Http2(link)) => Some(link),
                _ => None,
            };
            let (record, link) = http2::request(self, aim, kept, order).await;
            return (record, link.map(Connection::Http2));
        }
        let kept = match kept {
            Some(Connection::Http1(connection)) => Some(*connection),
            _ => None,
        };
        let (record, connection) = http1::request(self, aim, kept, order).await;
        let boxed = |connection| Connection::Http1(Box::new(connection));
        (record, connection.map(boxed))
    }
}

impl<'a> Order<'a> {
    /// For the first address, on a connection of its own.
    pub(super) fn plain(counters: &Counters<'_>, kind: Kind, message: &'a Message) -> Self {
        Order {
            n: counters.n,
            client: counters.client,
            kind,
            aim: 0,
            message,
            keep_alive: false,
            upload: None,
            events: None,
            shared: None,
            hold: None,
        }
    }

    /// Of which nothing is known yet.
    pub(super) fn record(&self, start: Micros) -> Record {
        Record::begun(self.n, self.client, self.kind, self.aim, start)
    }

    /// Who is held after connecting pauses before the handshake of TLS; every other one
    /// after it.
    pub(super) fn pause_on_connecting(&self) -> Option<Instant> {
        let hold = self.hold.filter(|hold| hold.at == Kind::Connect);
        hold.filter(|_| self.n.is_multiple_of(2))
            .map(|hold| hold.until)
    }
}

impl Record {
    /// Notes what is known of a connection that did not come about.
    pub(super) fn not_opened(&mut self, failed: Failed) -> End {
        match failed.birth {
            Some(birth) => self.over(birth),
            None => self.over_none(),
        }
        self.detail = failed.why.map(Into::into);
        failed.end
    }

    /// Notes what the head of an answer says.
    pub(super) fn heard<B>(&mut self, backend: Option<&Arc<str>>, answer: &http::Response<B>) {
        self.status = Some(answer.status().as_u16());
        self.retry_after = answer.headers().contains_key(http::header::RETRY_AFTER);
        let named = backend.and_then(|field| answer.headers().get(&**field));
        self.backend = named.and_then(|value| value.to_str().ok()).map(Into::into);
    }
}
