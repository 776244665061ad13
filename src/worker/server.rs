//! Accepts connections from the shared listeners and has them served.
//!
//! Run by [`super::Worker`], one [`Server::accept`] for each listener. Workers
//! share one queue of connections; a worker that holds more than its share lets
//! the others go first (see [`Server::is_ahead`]).
//!
//! Bounds: `--max-connections`; up to [`OVERFLOW`] more are answered 503; beyond
//! them connections wait in the kernel's queue.

use std::cell::Cell;
use std::io::ErrorKind;
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::accept::{Accepted, Door};
use super::serving::Serving;
use super::{Leave, connection};
use crate::shared::scoreboard::{Field, Scoreboard, Slot};
use turnkey_text::numbers::grouped;

/// Connections above the limit that are told so.
const OVERFLOW: u64 = 64;

/// Connections that a worker may be ahead of the least loaded one before it lets
/// it go first. Connections that come and go differ by several at any moment; with
/// 64 that stay, 36 to 28 is even enough.
const LEAD: u64 = 8;

/// How long a worker that is ahead leaves the queue to the others before it
/// looks: at first, so that a burst is shared out in milliseconds, and at last,
/// so that an idle worker sleeps.
const FIRST_LOOK: Duration = Duration::from_millis(1);
const LAST_LOOK: Duration = Duration::from_millis(10);

/// After so many looks at a connection that nobody took, it takes it. A sibling
/// that is stuck costs a new connection some milliseconds, no more.
const LEFT: u32 = 2;

/// A sibling silent for longer is not waited for (milliseconds).
const ALIVE: u64 = 3000;

/// How long a draining worker goes on looking for connections that the kernel
/// has completed.
const SETTLE: Duration = Duration::from_millis(20);

/// How long it does so at most, should the kernel go on completing connections:
/// when nobody told it not to (the master was killed).
const CLOSE: Duration = Duration::from_secs(1);

/// Between two lines about connections that cannot be accepted.
const SAY_AGAIN: Duration = Duration::from_secs(10);

/// Before the next attempt when the process has no more files to open.
const OUT_OF_FILES: Duration = Duration::from_millis(100);

pub(super) struct Server {
    serving: Rc<Serving>,
    scoreboard: Scoreboard,
    index: usize,
    slot: Slot,
    draining: watch::Receiver<bool>,
    leave: Cell<Leave>,
    refused: Cell<Refused>,
}

impl Server {
    pub(super) fn new(
        serving: Serving,
        scoreboard: Scoreboard,
        index: usize,
        draining: watch::Receiver<bool>,
    ) -> Self {
        Server {
            serving: Rc::new(serving),
            slot: scoreboard.worker(index),
            scoreboard,
            index,
            draining,
            leave: Cell::new(Leave::Stop),
            refused: Cell::default(),
        }
    }

    /// To be called before the drain begins.
    pub(super) fn leave(&self, leave: Leave) {
        self.leave.set(leave);
    }

    /// Accepts until the worker drains and the queue stays empty.
    pub(super) async fn accept(self: Rc<Self>, door: Door) {
        let mut draining = self.draining.clone();
        loop {
            let accepted = tokio::select! {
                accepted = self.accept_in_turn(&door) => accepted,
                _ = draining.wait_for(|drain| *drain) => break,
            };
            self.take(accepted).await;
        }
        if self.leave.get() == Leave::Replaced {
            return;
        }
        // What the kernel has completed is answered too.
        let closing = Instant::now() + CLOSE;
        while let Ok(accepted) =
            tokio::time::timeout_at(closing.min(Instant::now() + SETTLE), door.accept()).await
        {
            self.take(accepted).await;
        }
        for accepted in door.close() {
            self.take(accepted).await;
        }
    }

    /// The next connection that is this worker's to take.
    async fn accept_in_turn(&self, door: &Door) -> std::io::Result<Accepted> {
        let mut look = FIRST_LOOK;
        let mut left = 0;
        loop {
            let full = self.slot.get(Field::Connections)
                >= self.serving.limits.connections as u64 + OVERFLOW;
            let leave_it = left < LEFT && self.is_ahead();
            if !full && !leave_it {
                return door.accept().await;
            }
            tokio::time::sleep(look).await;
            if door.is_pending() {
                left += 1;
            } else {
                left = 0;
                look = (look * 2).min(LAST_LOOK);
            }
        }
    }

    async fn take(self: &Rc<Self>, accepted: std::io::Result<Accepted>) {
        let accepted = match accepted {
            Ok(accepted) => accepted,
            Err(error) => return self.accept_failed(&error).await,
        };
        if let Accepted::Tcp(stream, _) = &accepted
            && let Err(error) = stream.set_nodelay(true)
        {
            tracing::debug!("a connection broke while it was accepted: {error}");
            return;
        }
        self.slot.add(Field::Accepted, 1);
        let open = Open::new(self.slot);
        let full = self.slot.get(Field::Connections) > self.serving.limits.connections as u64;
        let serving = self.serving.clone();
        let draining = self.draining.clone();
        tokio::task::spawn_local(async move {
            connection::serve(serving, accepted, full, draining).await;
            drop(open);
        });
    }

    async fn accept_failed(&self, error: &std::io::Error) {
        match error.kind() {
            // The client gave up before we came to it.
            ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset | ErrorKind::Interrupted => {}
            _ => {
                let (refused, line) = self.refused.get().add(error);
                self.refused.set(refused);
                if let Some(line) = line {
                    tracing::error!("cannot accept a connection: {line}");
                }
                tokio::time::sleep(OUT_OF_FILES).await;
            }
        }
    }

    /// Whether a worker that is alive has clearly fewer connections than this
    /// one. Left to itself the first to wake takes a whole burst, and keeps it
    /// for as long as the clients keep their connections alive.
    fn is_ahead(&self) -> bool {
        let mine = self.slot.get(Field::Connections);
        let least = self
            .scoreboard
            .workers()
            .enumerate()
            .filter(|(index, slot)| {
                *index != self.index
                    && slot.get(Field::Accepting) == 1
                    && slot.silent_for().is_some_and(|silent| silent < ALIVE)
            })
            .map(|(_, slot)| slot.get(Field::Connections))
            .min();
        least.is_some_and(|least| mine > least + LEAD)
    }
}

/// Connections that could not be accepted: one line, then a count.
#[derive(Clone, Copy, Default)]
struct Refused {
    /// When something was last said.
    said: Option<Instant>,
    /// How many since.
    count: u64,
}

impl Refused {
    /// One more; the line about it, if one is due.
    fn add(mut self, error: &std::io::Error) -> (Self, Option<String>) {
        self.count += 1;
        if self.said.is_some_and(|said| said.elapsed() < SAY_AGAIN) {
            return (self, None);
        }
        let line = match self.said {
            None => error.to_string(),
            Some(_) => format!("{error} ({} in the meantime)", grouped(self.count)),
        };
        let said = Some(Instant::now());
        (Refused { said, count: 0 }, Some(line))
    }
}

/// Counts a connection while it is open.
struct Open(Slot);

impl Open {
    fn new(slot: Slot) -> Self {
        slot.add(Field::Connections, 1);
        Open(slot)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.subtract(Field::Connections, 1);
    }
}
