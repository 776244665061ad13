//! The one answer that is owed to an update's sender; and the inbox: updates that were answered
//! before their turn was committed, because it took longer than `--ack-after`.
//!
//! A [`Receipt`] belongs to the one task that runs its update's turn, so writing to the inbox
//! and committing never race: the task writes to the inbox while the handler runs, and waits
//! for that before it commits. Invariants: 200 leaves only after the row is durable; an
//! accepted update leaves the inbox only with its commit or as a dead letter. An accepted turn
//! that cannot go on simply ends: the dialog's next turn or `recovery.rs` finds its row.
//! Bounds: `--max-pending`, `--max-pending-per-user`.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{oneshot, watch};
use tokio::time::Instant;
pub(crate) use turnkey_storage::clock::now_ms;
use turnkey_storage::clock::now_us;
use turnkey_storage::inbox::{self, Bounds, Pending, UpdateState};
use turnkey_storage::{Arrival, Seen, Storage};

use crate::author::message::{DialogKey, Update};
use crate::author::steps::Steps;
use crate::shared::arrivals::Arrivals;
use crate::shared::drain;
use crate::shared::hints::Commands;
use crate::shared::scoreboard::{Field, Slot};
use crate::turn::told;

/// Between two looks at whether a turn of its dialog wants to know of newer updates.
const WANTED_LOOK: Duration = Duration::from_millis(25);

/// The same while no turn ever wanted that.
const FIRST_LOOK: Duration = Duration::from_millis(250);

/// How a turn ended, for whoever brought the update.
#[derive(Debug)]
pub(crate) enum Answer {
    /// It is committed; this is the channel's answer to it.
    Committed(Vec<u8>),
    /// It was committed earlier, with this answer to this digest.
    Seen(Seen),
    /// It is in our hands and need not be sent again: in the inbox, or given up. This is
    /// the channel's plain answer.
    Accepted(Vec<u8>),
    /// Not now: too many turns, the lock is taken, the storage is away.
    Busy(String),
    /// The handler failed; nothing was changed.
    Failed,
}

/// A worker's way to the inbox.
pub(crate) struct Inbox {
    pub(crate) storage: Arc<dyn Storage>,
    pub(crate) bounds: Bounds,
    /// How an operator looks at what is in the database.
    pub(crate) commands: Commands,
    /// How long a platform waits for a commit.
    pub(crate) ack_after: Duration,
    /// The worker is leaving.
    pub(crate) draining: watch::Receiver<bool>,
    /// The worker's patience is over: a handler that runs now is no attempt, if it does not end
    /// well.
    leaves: watch::Sender<bool>,
    /// Of how many updates in hand that was written.
    uncharged: Cell<u64>,
    /// Who wants to know of newer updates.
    pub(crate) arrivals: Arrivals,
    /// Turns in flight whose updates are in the inbox: nothing is lost with them.
    in_hand: Cell<u64>,
    /// The updates of all receipts, by their arrival; the second number tells those of
    /// one moment apart.
    under_way: RefCell<BTreeMap<ArrivalOrder, Arc<Update>>>,
    receipts: Cell<u64>,
    /// This worker's counters.
    pub(crate) slot: Slot,
}

/// Microseconds since 1970, and a number.
type ArrivalOrder = (i64, u64);

/// What is known of an attempt that was none.
const STOPPED: &str = "the bot was stopped while it was handled";

/// What whoever brought an update waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WaitsFor {
    /// The commit, until `--ack-after` is over; then for a row in the inbox.
    Commit,
    /// The turn's own answer, however long it takes.
    Answer,
    /// A row in the inbox, at once.
    Row,
}

/// See the module's page.
pub(crate) struct Receipt<'a> {
    pub(crate) update: Arc<Update>,
    pub(crate) arrived: Arrival,
    /// Attempts that were begun, the one under way included; see [`GIVING_UP`](inbox::GIVING_UP).
    pub(crate) attempts: u32,
    /// What they are without the one under way.
    pub(super) attempts_before: u32,
    /// The worker left while a handler ran, and the row says so.
    pub(super) is_uncharged: bool,
    /// Found in the inbox: whoever began it is gone, perhaps because of it.
    pub(crate) is_recovered: bool,
    /// Why the last attempt failed.
    pub(crate) error: Option<String>,
    /// Not to be tried before; milliseconds since 1970.
    pub(crate) due: i64,
    inbox: &'a Inbox,
    /// None once answered, or when nobody ever waited.
    caller: Option<oneshot::Sender<Answer>>,
    /// When it is written to the inbox; none when never, or when that was tried.
    accept_at: Option<Instant>,
    /// The channel's plain answer.
    plain: Vec<u8>,
    is_accepted: bool,
    place: ArrivalOrder,
    /// What the turn has kept before its commit.
    pub(super) steps: Rc<Steps>,
    /// An earlier attempt may have kept some that are not read yet.
    pub(super) may_have_steps: bool,
    /// The messages of its turn, where it may have several: once there are steps, none joins and
    /// none leaves.
    pub(super) together: Option<Vec<String>>,
    /// A step could not be kept, since another turn has done this update.
    pub(super) is_overtaken: bool,
}

impl Inbox {
    pub(crate) fn new(
        storage: Arc<dyn Storage>,
        bounds: Bounds,
        commands: Commands,
        ack_after: Duration,
        draining: watch::Receiver<bool>,
        (slot, arrivals): (Slot, Arrivals),
    ) -> Self {
        Inbox {
            storage,
            bounds,
            commands,
            ack_after,
            draining,
            leaves: watch::Sender::new(false),
            uncharged: Cell::new(0),
            arrivals,
            in_hand: Cell::new(0),
            under_way: RefCell::default(),
            receipts: Cell::new(0),
            slot,
        }
    }

    /// The update under way that arrived first: when (microseconds since 1970), and whose
    /// it is.
    pub(crate) fn longest(&self) -> Option<(i64, DialogKey)> {
        let under_way = self.under_way.borrow();
        let ((arrived, _), update) = under_way.first_key_value()?;
        Some((*arrived, update.dialog.clone()))
    }

    /// Turns in flight whose updates are in the inbox.
    pub(crate) fn in_hand(&self) -> u64 {
        self.in_hand.get()
    }

    /// Has it written for each update in the inbox that its handler, which goes on as long as the
    /// worker lives, is no attempt.
    pub(crate) fn leave(&self) {
        self.leaves.send_replace(true);
    }

    /// Of all that are in hand that was written.
    pub(crate) fn is_left(&self) -> bool {
        self.uncharged.get() >= self.in_hand()
    }

    /// Sleeps; false when the worker began to leave meanwhile.
    pub(crate) async fn sleep(&self, pause: Duration) -> bool {
        drain::sleep(&self.draining, pause).await
    }
}

impl<'a> Receipt<'a> {
    /// For an update that just came in. `plain` is the channel's answer to one that was
    /// accepted.
    pub(crate) fn new(
        inbox: &'a Inbox,
        update: Arc<Update>,
        arrived: Arrival,
        plain: Vec<u8>,
        waits_for: WaitsFor,
        caller: oneshot::Sender<Answer>,
    ) -> Self {
        let since = now_us().saturating_sub(arrived.unix_us()).max(0);
        let left = inbox
            .ack_after
            .saturating_sub(Duration::from_micros(since as u64));
        let place = (arrived.unix_us(), inbox.receipts.get());
        inbox.receipts.set(place.1.wrapping_add(1));
        inbox.under_way.borrow_mut().insert(place, update.clone());
        Receipt {
            update,
            arrived,
            attempts: 0,
            attempts_before: 0,
            is_uncharged: false,
            is_recovered: false,
            error: None,
            due: 0,
            inbox,
            caller: Some(caller),
            accept_at: match waits_for {
                WaitsFor::Commit => Some(Instant::now() + left),
                WaitsFor::Answer | WaitsFor::Row => None,
            },
            plain,
            is_accepted: false,
            place,
            steps: Rc::default(),
            may_have_steps: false,
            together: None,
            is_overtaken: false,
        }
    }

    /// How long ago it arrived.
    pub(crate) fn age(&self) -> Duration {
        let us = now_us().saturating_sub(self.arrived.unix_us());
        Duration::from_micros(u64::try_from(us).unwrap_or_default())
    }

    /// For an update found in the inbox.
    pub(crate) fn recovered(inbox: &'a Inbox, update: Arc<Update>, row: Pending) -> Self {
        inbox.in_hand.set(inbox.in_hand.get() + 1);
        let (sender, _) = oneshot::channel();
        let arrived = Arrival::at(row.arrived);
        let mut receipt =
            Receipt::new(inbox, update, arrived, Vec::new(), WaitsFor::Answer, sender);
        receipt.caller = None;
        receipt.is_recovered = true;
        receipt.is_accepted = true;
        receipt.may_have_steps = may_have_steps(&row);
        receipt.attempts = row.attempts;
        receipt.error = row.error;
        receipt.due = row.due;
        receipt
    }

    /// Its update is in the inbox, and answered for.
    pub(crate) fn is_accepted(&self) -> bool {
        self.is_accepted
    }

    /// Whoever brought it still waits, and for its turn's own answer.
    pub(crate) fn waits_for_answer(&self) -> bool {
        self.caller.is_some() && self.accept_at.is_none()
    }

    /// It was answered otherwise than with 200: it will come again.
    pub(crate) fn is_refused(&self) -> bool {
        self.caller.is_none() && !self.is_accepted
    }

    /// Answers, unless that was done. Whoever brought the update may have hung up: the
    /// turn stands all the same.
    pub(crate) fn answer(&mut self, answer: Answer) {
        if let Some(caller) = self.caller.take() {
            drop(caller.send(answer));
        }
        self.accept_at = None;
    }

    /// It is out of the inbox.
    pub(crate) fn settled(&mut self) {
        if std::mem::replace(&mut self.is_accepted, false) {
            self.inbox.in_hand.set(self.inbox.in_hand() - 1);
            if std::mem::take(&mut self.is_uncharged) {
                let uncharged = self.inbox.uncharged.get();
                self.inbox.uncharged.set(uncharged.saturating_sub(1));
            }
        }
    }

    /// Answers that it is in our hands.
    pub(crate) fn answer_accepted(&mut self) {
        let plain = std::mem::take(&mut self.plain);
        self.answer(Answer::Accepted(plain));
    }

    /// The row that it has in the inbox.
    ///
    /// # Errors
    /// It cannot be written as JSON.
    pub(super) fn row(&self) -> serde_json::Result<Pending> {
        Ok(Pending {
            arrived: self.arrived.unix_us(),
            attempts: self.noted_attempts(),
            due: self.due,
            error: self.error.clone(),
            ..row_of(&self.update)?
        })
    }

    pub(super) fn storage(&self) -> Arc<dyn Storage> {
        self.inbox.storage.clone()
    }

    pub(super) fn bounds(&self) -> Bounds {
        self.inbox.bounds
    }

    /// The attempts that its row has.
    pub(super) fn noted_attempts(&self) -> u32 {
        match self.is_uncharged {
            true => self.attempts_before,
            false => self.attempts,
        }
    }

    /// Resolves when the worker leaves and its update is in the inbox.
    pub(super) async fn is_left_behind(&self) {
        if !self.is_accepted || self.is_uncharged {
            return std::future::pending().await;
        }
        drain::begins(&mut self.inbox.leaves.subscribe()).await;
    }

    /// Writes that the attempt under way is none.
    pub(super) async fn uncharge(&mut self) {
        self.is_uncharged = true;
        let error = self.error.as_deref().unwrap_or(STOPPED);
        if self.note(self.attempts_before, error, now_ms()).await {
            self.inbox.uncharged.set(self.inbox.uncharged.get() + 1);
        }
    }

    /// Writes into its row how often it was tried, why that failed, and when it is due. False:
    /// that could not be written.
    pub(super) async fn note(&self, attempts: u32, error: &str, due: i64) -> bool {
        let Update { dialog, id, .. } = &*self.update;
        let storage = &*self.inbox.storage;
        match inbox::note_failure(storage, dialog, &id.0, attempts, error, due).await {
            Ok(()) => true,
            Err(error) => {
                tracing::warn!("{dialog} update {id}: its attempt cannot be noted: {error}");
                false
            }
        }
    }

    /// Its row is there.
    fn enter(&mut self) {
        self.is_accepted = true;
        self.inbox.in_hand.set(self.inbox.in_hand() + 1);
        self.inbox.slot.add(Field::Inboxed, 1);
        self.inbox.arrivals.came(&self.update.dialog);
    }

    /// It got there otherwise than by [`Receipt::accept`]: it is answered now, unless its sender
    /// waits for the turn's own answer.
    pub(super) fn is_in_the_inbox(&mut self) {
        self.enter();
        if !self.waits_for_answer() {
            self.answer_accepted();
        }
    }

    /// Resolves when it is to be accepted.
    pub(super) async fn accept_is_due(&self) {
        match self.accept_at {
            Some(at) => self.is_to_be_accepted(at).await,
            None => std::future::pending().await,
        }
    }

    /// Writes the update to the inbox and answers.
    pub(crate) async fn accept(&mut self) {
        self.accept_at = None;
        let row = match self.row() {
            Ok(row) => row,
            Err(error) => return self.answer(Answer::Busy(error.to_string())),
        };
        match inbox::accept(&*self.inbox.storage, &row, self.inbox.bounds).await {
            Ok(()) => match self.how_it_ended().await {
                // Another task committed it: what rode in its answer rides again.
                Some(seen) => self.answer(Answer::Seen(seen)),
                None => {
                    self.enter();
                    self.answer_accepted();
                }
            },
            Err(error) => self.answer(Answer::Busy(told::of_storage(&error))),
        }
    }

    /// The answer of its commit, should it be committed by now; that it is not the one in
    /// the inbox, should another came before under its id.
    async fn how_it_ended(&self) -> Option<Seen> {
        let (storage, channel) = (&*self.inbox.storage, &self.update.dialog.channel);
        let id = &self.update.id.0;
        let found = match inbox::state_of(storage, channel, id).await {
            Ok(UpdateState::Done(seen)) => return Some(seen),
            // Where ids are the platform's own, they do not lie.
            Ok(UpdateState::Pending) if !self.update.digest.is_empty() => {
                inbox::body_of(storage, channel, id).await
            }
            Ok(_) => return None,
            Err(error) => Err(error),
        };
        match found {
            Ok(body) => {
                let other: Update = serde_json::from_slice(&body?).ok()?;
                (other.digest != self.update.digest).then(|| Seen {
                    digest: other.digest,
                    answer: Vec::new(),
                })
            }
            // It is in the inbox all the same.
            Err(error) => {
                tracing::warn!("cannot ask what became of an update: {error}");
                None
            }
        }
    }

    /// Until the update is to be in the inbox: at that moment, or as soon as a turn of its dialog
    /// wants to know of newer ones. That is another one, which is to know of this; or its own:
    /// most platforms send the next one when they have the answer to this.
    fn is_to_be_accepted(&self, at: Instant) -> impl Future<Output = ()> + use<> {
        let (arrivals, update) = (self.inbox.arrivals, self.update.clone());
        async move {
            while Instant::now() < at && !arrivals.is_wanted(&update.dialog) {
                let tick = match arrivals.is_used() {
                    true => WANTED_LOOK,
                    false => FIRST_LOOK,
                };
                tokio::time::sleep_until(at.min(Instant::now() + tick)).await;
            }
        }
    }

    /// Does some of the turn's work. Should the update have to be accepted meanwhile, it is; the
    /// work goes on while it is written, but what comes after waits.
    pub(crate) async fn during<T>(&mut self, work: impl Future<Output = T>) -> T {
        let Some(at) = self.accept_at else {
            return work.await;
        };
        let is_to_be_accepted = self.is_to_be_accepted(at);
        let mut work = pin!(work);
        tokio::select! {
            biased;
            done = &mut work => return done,
            () = is_to_be_accepted => {}
        }
        tokio::join!(work, self.accept()).0
    }

    /// Waits for something that is not the turn's own, such as the dialog's lock. None:
    /// there is nothing to wait for any more, since the update was answered and either
    /// will come again, or is done, or is in the inbox while the worker leaves.
    pub(crate) async fn wait<T>(&mut self, work: impl Future<Output = T>) -> Option<T> {
        let mut work = pin!(work);
        if let Some(at) = self.accept_at {
            let is_to_be_accepted = self.is_to_be_accepted(at);
            tokio::select! {
                biased;
                done = &mut work => return Some(done),
                () = is_to_be_accepted => {}
            }
            let mut accept = pin!(self.accept());
            let done = tokio::select! {
                biased;
                () = &mut accept => None,
                done = &mut work => Some(done),
            };
            if done.is_some() {
                accept.await;
                return done;
            }
        }
        if self.is_refused() {
            return None;
        }
        if !self.is_accepted {
            return Some(work.await);
        }
        let mut draining = self.inbox.draining.clone();
        tokio::select! {
            biased;
            done = &mut work => Some(done),
            () = drain::begins(&mut draining) => None,
        }
    }

    /// Waits behind an older update. Whoever wants the turn's own answer waits until
    /// `patience`; the older one is finished even so. False: this turn is not to go on.
    pub(crate) async fn behind(
        &mut self,
        patience: Instant,
        older: impl Future<Output = bool>,
    ) -> bool {
        if !self.waits_for_answer() {
            return self.during(older).await && !self.is_refused();
        }
        let mut older = pin!(older);
        tokio::select! {
            biased;
            done = &mut older => return done,
            () = tokio::time::sleep_until(patience) => {}
        }
        self.answer(Answer::Busy(
            "an earlier update of this user takes long".to_owned(),
        ));
        older.await;
        false
    }
}

impl Drop for Receipt<'_> {
    fn drop(&mut self) {
        self.settled();
        self.inbox.under_way.borrow_mut().remove(&self.place);
    }
}

/// Whether an earlier attempt at an update may have kept steps: a row that was tried says so, and
/// one that was given up with steps has its error.
pub(super) fn may_have_steps(row: &Pending) -> bool {
    row.attempts > 0 || row.error.is_some()
}

/// The row of the inbox that keeps an update: one that arrives now and was not tried yet.
///
/// # Errors
/// It cannot be written as JSON.
pub(super) fn row_of(update: &Update) -> serde_json::Result<Pending> {
    Ok(Pending {
        dialog: update.dialog.clone(),
        update: update.id.0.clone(),
        arrived: now_us(),
        body: serde_json::to_vec(update)?,
        attempts: 0,
        due: 0,
        error: None,
    })
}
