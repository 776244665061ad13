//! A WebSocket (RFC 6455): texts that should come back, those that the server sends by
//! itself, and how the connection ended.
//!
//! Called by `load/lasting.rs`. The server is taken for one that echoes once it has returned
//! a text. Bounds: an echo has the time limit of a request; [`PENDING`] are under way.

use std::collections::VecDeque;
use std::io;
use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use serde::Serialize;
use tokio::sync::watch;
use tokio::time::{sleep_until, timeout_at};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::tungstenite::http::{HeaderName, HeaderValue, Request};
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

use super::aim::Aim;
use super::client::{Client, Order};
use super::connect::{self, Stream};
use super::load::Until;
use super::record::{End, Record};

/// A text that was sent so shortly before the close frame came may have crossed it.
const CROSSED: Duration = Duration::from_millis(50);

/// Texts under way on one connection.
const PENDING: usize = 100;

/// For the server's half of a goodbye.
const GOODBYE: Duration = Duration::from_secs(2);

/// Messages of all WebSockets of a round.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Messages {
    /// Texts that were sent.
    pub sent: u64,
    /// Those that came back.
    pub echoed: u64,
    /// Sent well before the end, to a server that echoes, and never answered.
    pub lost: u64,
    /// Sent just before the end: the server may have read them or not.
    pub crossed: u64,
    /// Messages that the server sent by itself.
    pub pushed: u64,
}

impl Messages {
    pub(super) fn add(&mut self, other: &Messages) {
        self.sent += other.sent;
        self.echoed += other.echoed;
        self.lost += other.lost;
        self.crossed += other.crossed;
        self.pushed += other.pushed;
    }
}

/// One connection, until the server or the load ends it.
pub(super) async fn live(
    client: &Client,
    aim: &Aim,
    order: &Order<'_>,
    every: Duration,
    told: watch::Receiver<Until>,
) -> (Record, Messages) {
    let mut record = order.record(client.now());
    let deadline = Instant::now() + client.timeout;
    let socket = match greet(client, aim, order, &mut record, deadline).await {
        Ok(socket) => socket,
        Err(end) => {
            record.outcome = end;
            record.end = client.now();
            return (record, Messages::default());
        }
    };
    record.first_read = Some(client.now());
    let mut life = Life {
        socket,
        timeout: client.timeout,
        pending: VecDeque::new(),
        messages: Messages::default(),
    };
    record.outcome = life.run(order, every, told).await;
    record.end = client.now();
    record.sent = life.messages.sent as usize;
    record.size = record.sent;
    record.read = (life.messages.echoed + life.messages.pushed) as usize;
    (record, life.messages)
}

/// Connects and agrees on the protocol.
async fn greet(
    client: &Client,
    aim: &Aim,
    order: &Order<'_>,
    record: &mut Record,
    deadline: Instant,
) -> Result<WebSocketStream<Stream>, End> {
    let opened = connect::open(aim, client.base, deadline, None).await;
    let opened = opened.map_err(|failed| record.not_opened(failed))?;
    record.over(opened.birth);
    let request = request(aim, order).ok_or(End::Local)?;
    record.size = 1;
    let shaken = timeout_at(deadline.into(), client_async(request, opened.stream)).await;
    record.sent = 1;
    record.all_sent = Some(client.now());
    match shaken {
        Err(_) => Err(End::TimedOut),
        Ok(Ok((socket, _))) => {
            // Over its handshake it is as good as answered.
            record.status = Some(200);
            Ok(socket)
        }
        Ok(Err(Error::Http(answer))) => {
            record.heard(client.backend.as_ref(), &answer);
            Err(End::Complete)
        }
        Ok(Err(error)) => Err(end_of(&error)),
    }
}

fn request(aim: &Aim, order: &Order<'_>) -> Option<Request<()>> {
    let scheme = match aim.tls {
        Some(_) => "wss",
        None => "ws",
    };
    let url = format!("{scheme}://{}{}", aim.host, order.message.path);
    let mut request = url.into_client_request().ok()?;
    for (name, value) in &order.message.headers {
        let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
        request
            .headers_mut()
            .insert(name, HeaderValue::from_str(value).ok()?);
    }
    Some(request)
}

fn end_of(error: &Error) -> End {
    match error {
        Error::Io(e) if e.kind() == io::ErrorKind::UnexpectedEof => End::Closed,
        Error::Io(_) => End::Reset,
        Error::ConnectionClosed | Error::AlreadyClosed => End::Closed,
        Error::Protocol(
            ProtocolError::ResetWithoutClosingHandshake | ProtocolError::HandshakeIncomplete,
        ) => End::Closed,
        _ => End::Malformed,
    }
}

struct Life {
    socket: WebSocketStream<Stream>,
    timeout: Duration,
    /// Texts that should come back, with the moment when they went out.
    pending: VecDeque<(String, Instant)>,
    messages: Messages,
}

impl Life {
    async fn run(
        &mut self,
        order: &Order<'_>,
        every: Duration,
        mut told: watch::Receiver<Until>,
    ) -> End {
        let mut next = Instant::now();
        let mut number: u64 = 0;
        loop {
            let oldest = self.pending.front().map(|(_, sent)| *sent + self.timeout);
            tokio::select! {
                biased;
                came = self.socket.next() => {
                    if let Some(end) = self.take(came).await {
                        return end;
                    }
                }
                _ = told.wait_for(|until| *until != Until::Told) => return self.leave().await,
                () = sleep_until(oldest.unwrap_or(next).into()), if oldest.is_some_and(|at| at <= next) => {
                    if let Some(end) = self.not_echoed() {
                        return end;
                    }
                }
                () = sleep_until(next.into()) => {
                    next += every;
                    number += 1;
                    if self.pending.len() < PENDING {
                        let text = format!("drill {} {number}", order.n);
                        // What went wrong is read next.
                        if self.socket.send(Message::text(text.as_str())).await.is_ok() {
                            self.messages.sent += 1;
                            self.pending.push_back((text, Instant::now()));
                        }
                    }
                }
            }
        }
    }

    /// A server that has never echoed is none that should.
    fn not_echoed(&mut self) -> Option<End> {
        if self.messages.echoed == 0 {
            self.pending.clear();
            return None;
        }
        self.messages.lost += 1;
        Some(End::TimedOut)
    }

    /// Something came; whether the connection has ended.
    async fn take(&mut self, came: Option<Result<Message, Error>>) -> Option<End> {
        match came {
            Some(Ok(Message::Text(text))) => {
                let is_it = |(sent, _): &(String, Instant)| sent == text.as_str();
                match self.pending.iter().position(is_it) {
                    Some(at) => {
                        self.pending.remove(at);
                        self.messages.echoed += 1;
                    }
                    None => self.messages.pushed += 1,
                }
                None
            }
            Some(Ok(Message::Binary(_))) => {
                self.messages.pushed += 1;
                None
            }
            Some(Ok(Message::Close(frame))) => {
                let code = frame.map_or(CloseCode::Status, |frame| frame.code);
                let lost = self.count_lost();
                // The answer to it goes out while the end is read.
                drop(tokio::time::timeout(GOODBYE, self.socket.next()).await);
                let is_told = matches!(
                    code,
                    CloseCode::Normal | CloseCode::Away | CloseCode::Restart | CloseCode::Again
                );
                Some(match (lost, is_told) {
                    (1.., _) => End::LostMessages,
                    (0, true) => End::Told,
                    (0, false) => End::ClosedWith(code.into()),
                })
            }
            Some(Ok(_)) => None,
            Some(Err(error)) => {
                self.count_lost();
                Some(end_of(&error))
            }
            None => Some(End::Closed),
        }
    }

    /// What should have come back and cannot any more.
    fn count_lost(&mut self) -> u64 {
        let now = Instant::now();
        let old = |(_, sent): &&(String, Instant)| now - *sent >= CROSSED;
        let lost = self.pending.iter().filter(old).count() as u64;
        if self.messages.echoed == 0 {
            return 0;
        }
        self.messages.lost += lost;
        self.messages.crossed += self.pending.len() as u64 - lost;
        lost
    }

    /// The load is over: a goodbye, and the server's.
    async fn leave(&mut self) -> End {
        let deadline = Instant::now() + GOODBYE;
        while self.messages.echoed > 0 && !self.pending.is_empty() {
            match timeout_at(deadline.into(), self.socket.next()).await {
                Err(_) => return self.not_echoed().unwrap_or(End::Complete),
                Ok(came) => {
                    if let Some(end) = self.take(came).await {
                        return end;
                    }
                }
            }
        }
        drop(timeout_at(deadline.into(), self.socket.close(None)).await);
        End::Complete
    }
}
