//! A worker's side of the writer's socket.
//!
//! Made by [`super::connect`], used through [`crate::Storage`]. All calls of a
//! process share one connection. A request is remembered until it is answered:
//! when the writer dies, the client connects to its successor, tells which locks
//! it holds and sends again what was not answered, so its callers notice nothing.
//!
//! Bounds: [`MAX_UNANSWERED`] requests; a call fails with [`Error::Unavailable`]
//! after [`PATIENCE`] without an answer.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use foldhash::HashMap;
use tokio::io::Interest;
use tokio::net::UnixStream;
use tokio::sync::{Notify, oneshot};

use super::files::ShortPath;
use super::protocol::{self, CommitRequest, Request, Response};
use crate::{
    Begin, Begun, Commit, DialogKey, Error, Fence, Grant, Granted, Owner, Release, ReplyId, Result,
    Statement,
};

/// Requests without an answer. Turns in flight are bounded far below by whoever
/// calls; this is the last resort for those who do not.
const MAX_UNANSWERED: usize = 100_000;

/// How long a call waits for a writer that does not answer. A dead one is
/// replaced in milliseconds, a hung one in the worker time-out.
const PATIENCE: Duration = Duration::from_secs(10);

/// Between two attempts to connect.
const RECONNECT: Duration = Duration::from_millis(10);

const READ: usize = 64 << 10;

/// A connection to the writer.
#[derive(Debug)]
pub(crate) struct WriterClient {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    socket: PathBuf,
    owner: Owner,
    state: Mutex<State>,
    /// There is something to send, or the client is closed.
    wake: Notify,
}

#[derive(Debug, Default)]
struct State {
    last_request: u64,
    unanswered: BTreeMap<u64, Unanswered>,
    /// Locks held, by what the writer is to be told after a restart.
    held: HashMap<Fence, DialogKey>,
    /// Frames to send.
    output: Vec<u8>,
    connected: bool,
    closed: bool,
}

#[derive(Debug)]
struct Unanswered {
    frame: Vec<u8>,
    then: Then,
    /// Not to be sent again: a second time would take effect a second time.
    once: bool,
}

/// Which lock an answer gives back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ends {
    Nothing,
    /// A commit's, if it succeeds; else the caller still has the grant.
    IfDone(Fence),
    /// Whatever the answer is.
    Always(Fence),
}

/// What an answer changes here, and who gets it.
#[derive(Debug)]
enum Then {
    Begin(DialogKey, oneshot::Sender<Result<Begun>>),
    Done(Ends, Option<oneshot::Sender<Result<()>>>),
    Dialogs(oneshot::Sender<Result<Vec<DialogKey>>>),
    Owners(oneshot::Sender<Result<Vec<Owner>>>),
    Changed(oneshot::Sender<Result<Vec<u64>>>),
}

/// An answer on its way to its caller. Sent outside the mutex: when nobody takes
/// it, a grant inside is dropped, which takes the mutex to give the lock back.
#[expect(
    clippy::large_enum_variant,
    reason = "short-lived; a box would cost every turn an allocation"
)]
enum Delivery {
    Begun(oneshot::Sender<Result<Begun>>, Result<Begun>),
    Done(oneshot::Sender<Result<()>>, Result<()>),
    Dialogs(
        oneshot::Sender<Result<Vec<DialogKey>>>,
        Result<Vec<DialogKey>>,
    ),
    Owners(oneshot::Sender<Result<Vec<Owner>>>, Result<Vec<Owner>>),
    Changed(oneshot::Sender<Result<Vec<u64>>>, Result<Vec<u64>>),
}

impl WriterClient {
    /// Starts connecting; requests made meanwhile wait.
    pub(crate) fn new(socket: PathBuf, owner: Owner) -> Self {
        let shared = Arc::new(Shared {
            socket,
            owner,
            state: Mutex::default(),
            wake: Notify::new(),
        });
        tokio::spawn(drive(shared.clone()));
        WriterClient { shared }
    }

    pub(crate) async fn begin(&self, begin: Begin) -> Result<Begun> {
        let (sender, receiver) = oneshot::channel();
        let request = Request::Begin {
            dialog: begin.dialog.clone(),
            update: begin.update.as_deref(),
            arrived: begin.arrived.order,
            unix_us: begin.arrived.unix_us(),
        };
        let id = self
            .shared
            .send(&request, Then::Begin(begin.dialog.clone(), sender))?;
        let mut place = Place {
            shared: &self.shared,
            dialog: begin.dialog,
            begin: id,
            answered: false,
        };
        match tokio::time::timeout(begin.wait, receiver).await {
            Ok(answer) => {
                place.answered = true;
                answer.unwrap_or_else(|_| Err(closed()))
            }
            Err(_) if !self.shared.lock().connected => Err(no_answer()),
            Err(_) => Err(Error::Busy(
                "an earlier update of this user takes long".to_owned(),
            )),
        }
    }

    pub(crate) async fn commit(&self, grant: &mut Grant, commit: Commit) -> Result<()> {
        let request = Request::Commit(CommitRequest {
            dialog: grant.dialog.clone(),
            fence: grant.fence,
            read_version: grant.version,
            update: &commit.update,
            digest: &commit.digest,
            answer: &commit.answer,
            state: &commit.state,
            history: commit.history.as_deref(),
            replies: commit.replies.iter().map(String::as_str).collect(),
            statements: commit.statements,
            end: commit.end,
        });
        let ends = match commit.end {
            true => Ends::IfDone(grant.fence),
            false => Ends::Nothing,
        };
        self.done(&request, ends).await?;
        grant.version = grant.fence.0;
        if commit.end {
            grant.release = disarmed();
        }
        Ok(())
    }

    pub(crate) async fn sent(&self, grant: &Grant, replies: Vec<ReplyId>) -> Result<()> {
        let request = Request::Sent {
            dialog: grant.dialog.clone(),
            fence: grant.fence,
            replies,
            end: false,
        };
        self.done(&request, Ends::Nothing).await
    }

    pub(crate) async fn end(&self, mut grant: Grant, replies: Vec<ReplyId>) -> Result<()> {
        grant.release = disarmed();
        let request = Request::Sent {
            dialog: grant.dialog.clone(),
            fence: grant.fence,
            replies,
            end: true,
        };
        self.done(&request, Ends::Always(grant.fence)).await
    }

    pub(crate) async fn write(&self, statements: Vec<Statement>) -> Result<()> {
        self.done(&Request::Write { statements }, Ends::Nothing)
            .await
    }

    pub(crate) async fn barrier(&self) -> Result<()> {
        self.done(&Request::Barrier, Ends::Nothing).await
    }

    pub(crate) async fn dialogs_with_unsent(&self, limit: u32) -> Result<Vec<DialogKey>> {
        let (sender, receiver) = oneshot::channel();
        self.shared
            .send(&Request::Unsent { limit }, Then::Dialogs(sender))?;
        patiently(receiver).await
    }

    pub(crate) async fn owners(&self) -> Result<Vec<Owner>> {
        let (sender, receiver) = oneshot::channel();
        self.shared.send(&Request::Owners, Then::Owners(sender))?;
        patiently(receiver).await
    }

    pub(crate) async fn own(&self, statements: Vec<Statement>) -> Result<Vec<u64>> {
        let (sender, receiver) = oneshot::channel();
        self.shared
            .send(&Request::Own { statements }, Then::Changed(sender))?;
        patiently(receiver).await
    }

    pub(crate) async fn due(&self, limit: u32) -> Result<Vec<DialogKey>> {
        let (sender, receiver) = oneshot::channel();
        let now = crate::clock::now_ms();
        self.shared
            .send(&Request::Due { limit, now }, Then::Dialogs(sender))?;
        patiently(receiver).await
    }

    async fn done(&self, request: &Request<'_>, ends: Ends) -> Result<()> {
        let (sender, receiver) = oneshot::channel();
        self.shared.send(request, Then::Done(ends, Some(sender)))?;
        patiently(receiver).await
    }
}

/// A place in a dialog's queue. Dropping it gives the place up, be it that the wait
/// ran out or that the caller went away; a grant that crosses this is dropped, and
/// so given back.
struct Place<'a> {
    shared: &'a Shared,
    dialog: DialogKey,
    begin: u64,
    answered: bool,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if !self.answered {
            self.shared.notify(&Request::Cancel {
                dialog: self.dialog.clone(),
                begin: self.begin,
            });
        }
    }
}

impl Drop for WriterClient {
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.wake.notify_one();
    }
}

impl Release for Shared {
    fn release(&self, dialog: DialogKey, fence: Fence) {
        let request = Request::Sent {
            dialog,
            fence,
            replies: Vec::new(),
            end: true,
        };
        // Refused only when the client is closed, which frees every lock.
        if self
            .send(&request, Then::Done(Ends::Always(fence), None))
            .is_err()
        {
            tracing::debug!("a lock was dropped after its storage was closed");
        }
    }
}

impl Shared {
    /// No code that can panic runs under this mutex.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends a request and remembers it until it is answered; its number.
    fn send(&self, request: &Request<'_>, then: Then) -> Result<u64> {
        let mut state = self.lock();
        if state.closed {
            return Err(closed());
        }
        let giving_back = matches!(then, Then::Done(Ends::IfDone(_) | Ends::Always(_), _));
        if state.unanswered.len() >= MAX_UNANSWERED && !giving_back {
            return Err(Error::Busy(format!(
                "{MAX_UNANSWERED} requests to the writer are unanswered"
            )));
        }
        let id = state.next_request();
        let mut frame = Vec::with_capacity(256);
        request.encode(id, &mut frame);
        if frame.len() > protocol::MAX_REQUEST {
            return Err(Error::Statement(format!(
                "a turn of {} MiB is too large to store; {} MiB is the limit",
                frame.len() >> 20,
                protocol::MAX_REQUEST >> 20
            )));
        }
        if state.connected {
            state.output.extend_from_slice(&frame);
            self.wake.notify_one();
        }
        let once = matches!(request, Request::Write { .. });
        state
            .unanswered
            .insert(id, Unanswered { frame, then, once });
        Ok(id)
    }

    /// Sends a request that has no answer and need not arrive.
    fn notify(&self, request: &Request<'_>) {
        let mut state = self.lock();
        if state.connected {
            let id = state.next_request();
            request.encode(id, &mut state.output);
            self.wake.notify_one();
        }
    }

    /// Connected: greets, and sends again what was not answered.
    fn greet(&self) {
        let mut state = self.lock();
        let state = &mut *state;
        state.connected = true;
        state.output.clear();
        let hello = Request::Hello {
            version: protocol::VERSION,
            owner: self.owner,
            resends: state.unanswered.len() as u32,
            held: state
                .held
                .iter()
                .map(|(fence, dialog)| (dialog.clone(), *fence))
                .collect(),
        };
        hello.encode(0, &mut state.output);
        for unanswered in state.unanswered.values() {
            state.output.extend_from_slice(&unanswered.frame);
        }
    }

    /// The connection ended: what must not be sent again fails.
    fn hung_up(&self) {
        let mut state = self.lock();
        state.connected = false;
        let lost: Vec<Unanswered> = state
            .unanswered
            .extract_if(.., |_, unanswered| unanswered.once)
            .map(|(_, unanswered)| unanswered)
            .collect();
        drop(state);
        for unanswered in lost {
            if let Then::Done(_, Some(to)) = unanswered.then {
                drop(
                    to.send(Err(Error::Unavailable(
                        "the writer died before it answered; the statements may have taken effect"
                            .to_owned(),
                    ))),
                );
            }
        }
    }

    /// Takes the whole answers of `input`; how many bytes they were.
    fn take_answers(self: &Arc<Self>, input: &[u8]) -> Result<usize> {
        let mut used = 0;
        let mut deliveries = Vec::new();
        let mut state = self.lock();
        while let Some((body, length)) = protocol::next_frame(&input[used..])? {
            used += length;
            let (id, response) = Response::decode(body)?;
            if let Some(unanswered) = state.unanswered.remove(&id) {
                deliveries.extend(self.settle(&mut state, unanswered.then, response));
            }
        }
        drop(state);
        for delivery in deliveries {
            // An answer nobody waits for any more is dropped here.
            match delivery {
                Delivery::Begun(to, answer) => drop(to.send(answer)),
                Delivery::Done(to, answer) => drop(to.send(answer)),
                Delivery::Dialogs(to, answer) => drop(to.send(answer)),
                Delivery::Owners(to, answer) => drop(to.send(answer)),
                Delivery::Changed(to, answer) => drop(to.send(answer)),
            }
        }
        Ok(used)
    }

    fn settle(
        self: &Arc<Self>,
        state: &mut State,
        then: Then,
        response: Response,
    ) -> Option<Delivery> {
        match then {
            Then::Begin(dialog, to) => {
                let answer = match response {
                    Response::Begun {
                        fence,
                        version,
                        open,
                        state: text,
                        seen,
                        unsent,
                        earlier,
                    } => match (fence, seen) {
                        (Some(fence), seen) => {
                            state.held.insert(fence, dialog.clone());
                            let release: Weak<Shared> = Arc::downgrade(self);
                            Ok(Begun::Granted(Granted {
                                grant: Grant {
                                    dialog,
                                    fence,
                                    version,
                                    open,
                                    release,
                                },
                                seen,
                                state: crate::unless_forgotten(version, text),
                                unsent,
                                earlier,
                            }))
                        }
                        (None, Some(seen)) => Ok(Begun::Seen(seen)),
                        (None, None) => Err(unexpected()),
                    },
                    Response::Failed(error) => Err(error),
                    _ => Err(unexpected()),
                };
                Some(Delivery::Begun(to, answer))
            }
            Then::Done(ends, to) => {
                let answer = match response {
                    Response::Done => Ok(()),
                    Response::Failed(error) => Err(error),
                    _ => Err(unexpected()),
                };
                match ends {
                    Ends::IfDone(fence) if answer.is_ok() => drop(state.held.remove(&fence)),
                    Ends::Always(fence) => drop(state.held.remove(&fence)),
                    Ends::IfDone(_) | Ends::Nothing => {}
                }
                to.map(|to| Delivery::Done(to, answer))
            }
            Then::Dialogs(to) => Some(Delivery::Dialogs(
                to,
                match response {
                    Response::Dialogs(dialogs) => Ok(dialogs),
                    Response::Failed(error) => Err(error),
                    _ => Err(unexpected()),
                },
            )),
            Then::Owners(to) => Some(Delivery::Owners(
                to,
                match response {
                    Response::Owners(owners) => Ok(owners),
                    Response::Failed(error) => Err(error),
                    _ => Err(unexpected()),
                },
            )),
            Then::Changed(to) => Some(Delivery::Changed(
                to,
                match response {
                    Response::Changed(rows) => Ok(rows),
                    Response::Failed(error) => Err(error),
                    _ => Err(unexpected()),
                },
            )),
        }
    }
}

impl State {
    fn next_request(&mut self) -> u64 {
        self.last_request += 1;
        self.last_request
    }
}

/// Keeps the connection until the client is dropped.
async fn drive(shared: Arc<Shared>) {
    let mut warned = false;
    while !shared.lock().closed {
        let socket = ShortPath::of(&shared.socket);
        let stream = match UnixStream::connect(&socket.path).await {
            Ok(stream) => stream,
            Err(error) => {
                if !std::mem::replace(&mut warned, true) {
                    tracing::warn!("waiting for the writer: {error}");
                }
                tokio::time::sleep(RECONNECT).await;
                continue;
            }
        };
        warned = false;
        shared.greet();
        let error = converse(&shared, &stream).await;
        shared.hung_up();
        match error {
            Some(error) => tracing::warn!("the writer is gone ({error}), connecting to the next"),
            None => return,
        }
        // A writer that closes every connection must not be hammered.
        tokio::time::sleep(RECONNECT).await;
    }
}

/// Sends and receives until the connection breaks; none when the client is closed.
async fn converse(shared: &Arc<Shared>, stream: &UnixStream) -> Option<std::io::Error> {
    let mut input: Vec<u8> = Vec::new();
    let mut buffer = vec![0; READ];
    let mut output: Vec<u8> = Vec::new();
    let mut sent = 0;
    loop {
        if sent == output.len() {
            output.clear();
            sent = 0;
            let mut state = shared.lock();
            if state.closed && state.output.is_empty() {
                return None;
            }
            std::mem::swap(&mut output, &mut state.output);
        }
        while sent < output.len() {
            match stream.try_write(&output[sent..]) {
                Ok(count) => sent += count,
                Err(e) if e.kind() == ErrorKind::WouldBlock => break,
                // What the writer answered before it died can still be read.
                Err(_) => sent = output.len(),
            }
        }
        let interest = if sent < output.len() {
            Interest::READABLE | Interest::WRITABLE
        } else {
            Interest::READABLE
        };
        tokio::select! {
            ready = stream.ready(interest) => {
                if let Err(e) = ready {
                    return Some(e);
                }
            }
            () = shared.wake.notified() => continue,
        }
        loop {
            match stream.try_read(&mut buffer) {
                Ok(0) => return Some(ErrorKind::UnexpectedEof.into()),
                Ok(count) => {
                    input.extend_from_slice(&buffer[..count]);
                    match shared.take_answers(&input) {
                        Ok(used) => drop(input.drain(..used)),
                        Err(e) => return Some(std::io::Error::other(e)),
                    }
                }
                Err(e) if e.kind() == ErrorKind::WouldBlock => break,
                Err(e) => return Some(e),
            }
        }
    }
}

async fn patiently<T>(receiver: oneshot::Receiver<Result<T>>) -> Result<T> {
    match tokio::time::timeout(PATIENCE, receiver).await {
        Ok(answer) => answer.unwrap_or_else(|_| Err(closed())),
        Err(_) => Err(no_answer()),
    }
}

fn no_answer() -> Error {
    Error::Unavailable("the writer does not answer".to_owned())
}

fn closed() -> Error {
    Error::Unavailable("the storage was closed".to_owned())
}

fn unexpected() -> Error {
    Error::Unavailable("the writer gave the answer of another question".to_owned())
}

fn disarmed() -> Weak<dyn Release> {
    Weak::<Shared>::new()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A lock that the client still counted as held would be taken again when the
    /// next writer asks, and never be given back.
    #[test]
    fn a_lock_that_was_given_back_is_not_held() {
        let shared = Arc::new(Shared {
            socket: PathBuf::new(),
            owner: Owner(1),
            state: Mutex::default(),
            wake: Notify::new(),
        });
        let failed = || Response::Failed(Error::Full);
        for (ends, response, left) in [
            (Ends::Nothing, Response::Done, 1),
            (Ends::IfDone(Fence(1)), failed(), 1),
            (Ends::IfDone(Fence(1)), Response::Done, 0),
            (Ends::Always(Fence(1)), failed(), 0),
            (Ends::Always(Fence(1)), Response::Done, 0),
        ] {
            let mut state = shared.lock();
            state.held.insert(Fence(1), DialogKey::new("http", "1"));
            shared.settle(&mut state, Then::Done(ends, None), response);
            assert_eq!(state.held.len(), left, "{ends:?}");
        }
    }
}
