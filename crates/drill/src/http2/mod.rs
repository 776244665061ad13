//! HTTP/2: requests as streams of a connection that they share.
//!
//! h2 speaks the protocol; `tap.rs` watches the frames beside it, so that it is known
//! whether the server had promised to answer (RFC 9113, 6.8). A decent client: it opens
//! another connection once it has read a GOAWAY, and never sends a request twice.
//!
//! Called by `client/mod.rs`. Bounds: each request has a time limit; the windows below.

mod tap;

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::time::Instant;

use bytes::Bytes;
use h2::client::{Builder, ResponseFuture, SendRequest};
use h2::{RecvStream, SendStream};
use tokio::sync::Mutex;
use tokio::time::{sleep, sleep_until, timeout_at};

use super::aim::Aim;
use super::client::{Client, Order};
use super::connect::{self, Opened};
use super::record::{Birth, End, Kind, Micros, Record};
use super::template::Paced;
use tap::{ALL_STREAMS, Seen, Tap};

/// Bytes of answers that may be under way.
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 8 << 20;

/// A connection that requests share.
pub(super) struct Link {
    sender: SendRequest<Bytes>,
    pub(super) seen: Watch,
    birth: Birth,
    /// Requests so far.
    served: Cell<u64>,
}

/// The place of a connection that several clients share. Who finds it empty fills it, and
/// the others wait for that.
pub(super) type Shared = Mutex<Option<Rc<Link>>>;

/// What is known of a connection, also after its end.
#[derive(Clone)]
pub(super) struct Watch(Rc<RefCell<Seen>>);

/// How a server took leave of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leave {
    /// It did not.
    None,
    /// GOAWAY for all streams first, then with the last one.
    InTwoSteps,
    /// One GOAWAY, which turned away what was on its way.
    AtOnce,
    /// The connection ended without one.
    Silent,
}

impl Watch {
    /// How the server took leave after this moment.
    pub(super) fn leave(&self, since: Micros) -> Leave {
        let seen = self.0.borrow();
        match (seen.goaways.first(), seen.ended) {
            (Some(first), _) if first.at < since => Leave::None,
            (Some(first), _) if first.last == ALL_STREAMS => Leave::InTwoSteps,
            (Some(_), _) => Leave::AtOnce,
            (None, Some((at, _))) if at >= since => Leave::Silent,
            (None, _) => Leave::None,
        }
    }
}

impl Link {
    /// Whether a decent client would still use it.
    pub(super) fn is_usable(&self) -> bool {
        self.seen.0.borrow().is_usable()
    }

    /// With the library's greeting sent; the server's need not have come.
    pub(super) async fn over(opened: Opened, base: Instant) -> Result<Self, End> {
        let (tap, seen) = Tap::on(opened.stream, base);
        let shaken = Builder::new()
            .initial_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .enable_push(false)
            .handshake::<_, Bytes>(tap)
            .await;
        let (sender, connection) = shaken.map_err(|_| seen.borrow().why_unused())?;
        // It ends when the server, the network or the last sender does.
        tokio::task::spawn_local(async move { drop(connection.await) });
        Ok(Link {
            sender,
            seen: Watch(seen),
            birth: opened.birth,
            served: Cell::new(0),
        })
    }
}

/// Sends one request and reads its answer; the connection, if it can be used again.
pub(super) async fn request(
    client: &Client,
    aim: &Aim,
    mut kept: Option<Rc<Link>>,
    order: &Order<'_>,
) -> (Record, Option<Rc<Link>>) {
    let mut record = order.record(client.now());
    let deadline = Instant::now() + client.timeout;
    loop {
        let mut shared = match order.shared {
            Some(shared) => Some(shared.lock().await),
            None => None,
        };
        let known = match &shared {
            Some(shared) => (**shared).clone(),
            None => kept.take(),
        };
        let known = known.filter(|link| link.is_usable());
        let is_kept = known.is_some();
        let link = match known {
            Some(link) => link,
            None => {
                record.start = client.now();
                match connect(client, aim, order, &mut record, deadline).await {
                    Some(link) => link,
                    None => return (record, None),
                }
            }
        };
        if let Some(shared) = &mut shared {
            **shared = Some(link.clone());
        }
        drop(shared);
        record.reused = link.served.get() > 0;
        record.over(link.birth);
        match stream(client, aim, &link, order, &mut record, deadline).await {
            // It ended before the request began: a decent client opens another.
            Progress::Unbegun if is_kept => continue,
            Progress::Unbegun => record.outcome = link.seen.0.borrow().why_unused(),
            Progress::Ended(end) => record.outcome = end,
        }
        record.end = client.now();
        let kept = link.is_usable() && order.keep_alive;
        return (record, kept.then_some(link));
    }
}

/// None: the record says why.
async fn connect(
    client: &Client,
    aim: &Aim,
    order: &Order<'_>,
    record: &mut Record,
    deadline: Instant,
) -> Option<Rc<Link>> {
    let opened = connect::open(aim, client.base, deadline, order.pause_on_connecting()).await;
    let linked = match opened {
        Err(failed) => Err(record.not_opened(failed)),
        Ok(opened) if opened.stream.protocol().is_some_and(|name| name != b"h2") => {
            record.detail = Some("it chose another protocol than HTTP/2".into());
            Err(End::NoTls)
        }
        Ok(opened) => {
            record.over(opened.birth);
            // Who was not held before the handshake is held after it.
            if let Some(hold) = order.hold.filter(|hold| hold.at == Kind::Connect) {
                sleep_until(hold.until.into()).await;
            }
            Link::over(opened, client.base).await
        }
    };
    match linked {
        Ok(link) => {
            let link = Rc::new(link);
            client.watch(link.seen.clone());
            Some(link)
        }
        Err(end) => {
            record.outcome = end;
            record.end = client.now();
            None
        }
    }
}

enum Progress {
    /// No stream was opened.
    Unbegun,
    Ended(End),
}

async fn stream(
    client: &Client,
    aim: &Aim,
    link: &Link,
    order: &Order<'_>,
    record: &mut Record,
    deadline: Instant,
) -> Progress {
    let held_until = |kind: Kind| order.hold.filter(|hold| hold.at == kind).map(|h| h.until);
    // The half of a head cannot be sent: a connection that has said nothing but its greeting.
    if let Some(until) = held_until(Kind::Head) {
        sleep_until(until.into()).await;
    }
    let ready = timeout_at(deadline.into(), link.sender.clone().ready()).await;
    let mut sender = match ready {
        Err(_) => return Progress::Ended(End::TimedOut),
        Ok(Err(_)) => return Progress::Unbegun,
        Ok(Ok(sender)) => sender,
    };
    let Some(head) = order.message.http2(aim.scheme(), &aim.host) else {
        return Progress::Ended(End::Local);
    };
    let body = order.message.body.clone();
    let is_all = body.is_empty() && order.upload.is_none();
    let Ok((response, sending)) = sender.send_request(head, is_all) else {
        return Progress::Unbegun;
    };
    drop(sender);
    link.served.set(link.served.get() + 1);
    let id = response.stream_id().as_u32();
    record.stream = Some(id);
    record.size = 1 + order.upload.map_or(body.len(), |paced| paced.size);
    let exchange = async {
        let response = match order.upload {
            Some(paced) => upload(sending, response, paced, record, client).await?,
            None => {
                send(sending, body, held_until(Kind::Body), record, client).await?;
                response.await?
            }
        };
        record.first_read = Some(client.now());
        record.early = order.upload.is_some() && record.all_sent.is_none();
        record.read = 1;
        record.heard(client.backend.as_ref(), &response);
        if let Some(until) = held_until(Kind::Read) {
            sleep_until(until.into()).await;
        }
        let in_head = grpc_status(response.headers());
        let in_trailers = read(response.into_body(), order, record).await?;
        record.grpc_status = in_trailers.or(in_head);
        Ok::<(), h2::Error>(())
    };
    let ended = timeout_at(deadline.into(), exchange).await;
    let mut seen = link.seen.0.borrow_mut();
    record.first_sent = seen.sent(id);
    record.sent += usize::from(record.first_sent.is_some());
    let end = match ended {
        Err(_) => End::TimedOut,
        Ok(Ok(())) if order.message.is_grpc && record.grpc_status.is_none() => End::NoStatus,
        Ok(Ok(())) => End::Complete,
        Ok(Err(_)) => seen.why(id),
    };
    seen.forget(id);
    Progress::Ended(end)
}

async fn send(
    mut sending: SendStream<Bytes>,
    body: Bytes,
    pause: Option<Instant>,
    record: &mut Record,
    client: &Client,
) -> Result<(), h2::Error> {
    if !body.is_empty() {
        let half = body.len() / 2;
        if let Some(until) = pause {
            sending.send_data(body.slice(..half), false)?;
            record.sent = half;
            sleep_until(until.into()).await;
            sending.send_data(body.slice(half..), true)?;
        } else {
            sending.send_data(body.clone(), true)?;
        }
        record.sent = body.len();
    }
    record.all_sent = Some(client.now());
    Ok(())
}

/// A large body in pieces, until an answer comes or all is sent.
async fn upload(
    mut sending: SendStream<Bytes>,
    response: ResponseFuture,
    paced: Paced,
    record: &mut Record,
    client: &Client,
) -> Result<http::Response<RecvStream>, h2::Error> {
    let body = async {
        for piece in paced.pieces() {
            sleep(paced.pause()).await;
            let mut rest = piece;
            while !rest.is_empty() {
                sending.reserve_capacity(rest.len());
                let Some(room) = poll_fn(|context| sending.poll_capacity(context)).await else {
                    return Ok(());
                };
                let part = rest.split_to(room?.min(rest.len()));
                record.sent += part.len();
                let is_last = record.sent == paced.size;
                sending.send_data(part, is_last)?;
            }
        }
        record.all_sent = Some(client.now());
        Ok::<(), h2::Error>(())
    };
    tokio::pin!(response);
    tokio::select! {
        biased;
        early = &mut response => return early,
        // Why it could not be sent, the answer says.
        _ = body => {}
    }
    response.await
}

/// The status of gRPC in the trailers, if there is one.
async fn read(
    mut body: RecvStream,
    order: &Order<'_>,
    record: &mut Record,
) -> Result<Option<u32>, h2::Error> {
    while let Some(bytes) = body.data().await {
        let bytes = bytes?;
        record.read += bytes.len();
        if let Some(events) = order.events {
            events.borrow_mut().feed(&bytes);
        }
        body.flow_control().release_capacity(bytes.len())?;
    }
    let trailers = body.trailers().await?;
    Ok(trailers.as_ref().and_then(grpc_status))
}

fn grpc_status(fields: &http::HeaderMap) -> Option<u32> {
    fields.get("grpc-status")?.to_str().ok()?.parse().ok()
}
