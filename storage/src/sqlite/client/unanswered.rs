//! The requests that are not answered yet, and the locks that are held.
//!
//! Written to by the callers (`mod.rs`), sent and settled by the connection (`connection.rs`).
//! A request is remembered until it is answered: when the writer dies, its successor is told
//! which locks are held, and gets the request again. Bound: [`MAX_UNANSWERED`] requests.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use foldhash::HashMap;
use tokio::sync::{Notify, oneshot};

use crate::sqlite::protocol::{self, Greeting, Locked, Request, Response};
use crate::{Begun, DialogKey, Error, Fence, Grant, Granted, LockAfter, Owner, Release, Result};

/// Requests without an answer. Turns in flight are bounded far below by whoever
/// calls; this is the last resort for those who do not.
const MAX_UNANSWERED: usize = 100_000;

/// With more unanswered than this, or more locks held, nobody is lonely: answers come together,
/// and whoever sleeps until then is woken up once for all. When only the unanswered counted, a
/// worker with four turns at any time took 15 % more processor time a turn.
const LONE: usize = 2;

/// Is told that there is no writer to connect to.
pub(crate) type NoWriter = Box<dyn Fn() + Send + Sync>;

/// What the callers and the connection of a process share.
pub(super) struct Shared {
    pub(super) socket: PathBuf,
    owner: Owner,
    pub(super) no_writer: NoWriter,
    state: Mutex<ClientState>,
    /// There is something to send, or the client is closed.
    pub(super) wake: Notify,
}

#[derive(Debug, Default)]
pub(super) struct ClientState {
    last_request: u64,
    unanswered: BTreeMap<u64, Unanswered>,
    /// Locks held, by what the writer is to be told after a restart.
    held: HashMap<Fence, DialogKey>,
    /// Frames to send.
    pub(super) output: Vec<u8>,
    pub(super) connected: bool,
    /// The writer has said that it leaves: what it has not answered it has not executed.
    left: bool,
    pub(super) closed: bool,
}

#[derive(Debug)]
struct Unanswered {
    frame: Vec<u8>,
    then: Then,
    resend: Resend,
}

/// What an answer takes its time for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Awaited {
    /// A lock, which is nearly always free.
    Lock,
    /// A commit, and so a sync.
    Disk,
}

/// What becomes of a request when the writer dies before it answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Resend {
    /// It goes to the next writer.
    Yes,
    /// It fails, since a second time may take effect a second time; unless the writer has said
    /// that it was not executed.
    IfNotExecuted,
    /// It fails: its transaction is gone with the writer.
    No,
}

/// Which lock an answer gives back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ends {
    Nothing,
    /// A commit's, if it succeeds; else the caller still has the grant.
    IfDone(Fence),
    /// Whatever the answer is.
    Always(Fence),
}

/// What an answer changes here, and who gets it.
pub(super) enum Then {
    Begin(DialogKey, oneshot::Sender<Result<Begun>>),
    Done(Ends, Option<oneshot::Sender<Result<()>>>),
    /// It changes nothing.
    Asked(Asked),
}

/// Takes the answer to its caller.
pub(super) type Asked = Box<dyn FnOnce(Result<Response>) + Send>;

impl std::fmt::Debug for Then {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Then::Begin(..) => "Begin",
            Then::Done(..) => "Done",
            Then::Asked(_) => "Asked",
        })
    }
}

/// An answer on its way to its caller. Sent outside the mutex: when nobody takes
/// it, a grant inside is dropped, which takes the mutex to give the lock back.
enum Delivery {
    Begun(oneshot::Sender<Result<Begun>>, Result<Begun>),
    Done(oneshot::Sender<Result<()>>, Result<()>),
    Asked(Asked, Result<Response>),
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared")
            .field("socket", &self.socket)
            .field("owner", &self.owner)
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}

impl Release for Shared {
    fn release(&self, dialog: DialogKey, fence: Fence) {
        let request = Request::Sent {
            dialog,
            fence,
            replies: Vec::new(),
            lock: LockAfter::GivenBack,
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
    pub(super) fn new(socket: PathBuf, owner: Owner, no_writer: NoWriter) -> Self {
        Shared {
            socket,
            owner,
            no_writer,
            state: Mutex::default(),
            wake: Notify::new(),
        }
    }

    /// No code that can panic runs under this mutex.
    pub(super) fn lock(&self) -> MutexGuard<'_, ClientState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is awaited, when all is sent and so few answers are awaited that their callers have
    /// nothing else to do meanwhile.
    pub(super) fn lone(&self) -> Option<Awaited> {
        let state = self.lock();
        let few = (1..=LONE).contains(&state.unanswered.len()) && state.held.len() <= LONE;
        if !few || !state.output.is_empty() {
            return None;
        }
        let is_begin = |one: &Unanswered| matches!(one.then, Then::Begin(..));
        Some(match state.unanswered.values().all(is_begin) {
            true => Awaited::Lock,
            false => Awaited::Disk,
        })
    }

    /// Sends a request and remembers it until it is answered; its number.
    pub(super) fn send(&self, request: &Request<'_>, then: Then) -> Result<u64> {
        let mut state = self.lock();
        if state.closed {
            return Err(closed());
        }
        // Others wait for what is given back: a lock, or the writer.
        let giving_back = matches!(then, Then::Done(Ends::IfDone(_) | Ends::Always(_), _))
            || matches!(request, Request::Close { .. });
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
        let resend = match request {
            Request::Write { key: None, .. } => Resend::IfNotExecuted,
            Request::Inside { .. } => Resend::No,
            _ => Resend::Yes,
        };
        let unanswered = Unanswered {
            frame,
            then,
            resend,
        };
        state.unanswered.insert(id, unanswered);
        Ok(id)
    }

    /// Sends a request that has no answer and need not arrive.
    pub(super) fn notify(&self, request: &Request<'_>) {
        let mut state = self.lock();
        if state.connected {
            let id = state.next_request();
            request.encode(id, &mut state.output);
            self.wake.notify_one();
        }
    }

    /// Nobody waits for this request any more, and no other writer is to get it.
    pub(super) fn forget(&self, id: u64) {
        self.lock().unanswered.remove(&id);
    }

    /// Connected: greets, and sends again what was not answered.
    pub(super) fn greet(&self) {
        let mut state = self.lock();
        let state = &mut *state;
        state.connected = true;
        state.left = false;
        state.output.clear();
        let hello = Greeting::Hello {
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
    pub(super) fn hung_up(&self) {
        let mut state = self.lock();
        state.connected = false;
        let left = state.left;
        let is_lost = |unanswered: &Unanswered| match unanswered.resend {
            Resend::Yes => false,
            Resend::IfNotExecuted => !left,
            Resend::No => true,
        };
        let lost: Vec<Unanswered> = state
            .unanswered
            .extract_if(.., |_, unanswered| is_lost(unanswered))
            .map(|(_, unanswered)| unanswered)
            .collect();
        drop(state);
        for unanswered in lost {
            let error = match unanswered.resend {
                Resend::No => Error::Stale,
                _ => Error::Unavailable(
                    "the writer died before it answered; the statements may have taken effect"
                        .to_owned(),
                ),
            };
            match unanswered.then {
                Then::Done(_, Some(to)) => drop(to.send(Err(error))),
                Then::Asked(to) => to(Err(error)),
                Then::Begin(..) | Then::Done(_, None) => {}
            }
        }
        (self.no_writer)();
    }

    /// Takes the whole answers of `input`; how many bytes they were.
    pub(super) fn take_answers(self: &Arc<Self>, input: &[u8]) -> Result<usize> {
        let mut used = 0;
        let mut deliveries = Vec::new();
        let mut state = self.lock();
        while let Some((body, length)) = protocol::next_frame(&input[used..])? {
            used += length;
            let (id, response) = Response::decode(body)?;
            if matches!(response, Response::Leaving) {
                state.left = true;
            }
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
                Delivery::Asked(to, answer) => to(answer),
            }
        }
        Ok(used)
    }

    fn settle(
        self: &Arc<Self>,
        state: &mut ClientState,
        then: Then,
        response: Response,
    ) -> Option<Delivery> {
        match then {
            Then::Begin(dialog, to) => {
                let answer = match response {
                    Response::Begun(locked) => Ok(self.granted(state, dialog, locked)),
                    Response::Seen(seen) => Ok(Begun::Seen(seen)),
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
            Then::Asked(to) => {
                let answer = match response {
                    Response::Failed(error) => Err(error),
                    other => Ok(other),
                };
                Some(Delivery::Asked(to, answer))
            }
        }
    }

    /// A lock that is held from now on.
    fn granted(
        self: &Arc<Self>,
        state: &mut ClientState,
        dialog: DialogKey,
        locked: Locked,
    ) -> Begun {
        let before = state.held.insert(locked.fence, dialog.clone());
        debug_assert!(before.is_none(), "a fence was given twice");
        let release: Weak<Shared> = Arc::downgrade(self);
        Begun::Granted(Granted {
            grant: Grant {
                dialog,
                fence: locked.fence,
                version: locked.version,
                open: locked.open,
                release,
            },
            seen: locked.seen,
            state: crate::unless_forgotten(locked.version, locked.state),
            unsent: locked.unsent,
            earlier: locked.earlier,
        })
    }
}

impl ClientState {
    fn next_request(&mut self) -> u64 {
        self.last_request += 1;
        self.last_request
    }
}

pub(super) fn closed() -> Error {
    Error::Unavailable("the storage was closed".to_owned())
}

/// The writer answers something else than was asked.
pub(super) fn unexpected() -> Error {
    Error::Unavailable("the writer gave the answer of another question".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A lock that the client still counted as held would be taken again when the
    /// next writer asks, and never be given back.
    #[test]
    fn a_lock_that_was_given_back_is_not_held() {
        let shared = Arc::new(Shared::new(PathBuf::new(), Owner(1), Box::new(|| {})));
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

    /// Its end is what all others wait for.
    #[test]
    fn the_end_of_a_transaction_is_always_sent() {
        let shared = Shared::new(PathBuf::new(), Owner(1), Box::new(|| {}));
        let send = |request| shared.send(request, Then::Done(Ends::Nothing, None));
        for _ in 0..MAX_UNANSWERED {
            send(&Request::Barrier).unwrap();
        }
        let refused = send(&Request::Barrier).unwrap_err();
        assert!(matches!(refused, Error::Busy(_)), "{refused}");
        let close = Request::Close {
            transaction: 1,
            key: Some("k"),
        };
        send(&close).unwrap();
    }
}
