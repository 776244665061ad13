//! Polls the platform for updates.
//!
//! Run by the worker, one [`run`] for each platform (`channels/poll.rs`), as long as it lives.
//! Updates of one dialog run one after another, different dialogs in parallel. An update is
//! confirmed to the platform, or the mark moves past it, only when it is done: committed, or
//! seen before. If its turn fails or cannot start, it is tried again, and the later updates of
//! its dialog wait; updates after it come again after a crash and are recognised by their ids.
//! A worker that stops drops its pending poll at once and finishes the running turns. Bounds:
//! [`MAX_OPEN`] unfinished updates, or as many as the platform returns after its first
//! unconfirmed one. A user above `--rate-per-user` waits in its lane: nothing is refused, and
//! others go on until that many updates are open.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::convert::Infallible;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use bytes::Bytes;
use hyper::HeaderMap;
use tokio::sync::Notify;
use tokio::time::Instant;
use turnkey_storage::{Arrival, marks};

use super::window::{Window, WindowPlace};
use crate::author::message::{DialogKey, Update};
use crate::author::start_error::StartError;
use crate::channels::poll::{Batch, Mark, Poll, PollError};
use crate::channels::{Received, unreadable};
use crate::shared::backoff::Backoff;
use crate::shared::drain;
use crate::shared::pacing::Pace;
use crate::shared::scrub::told;
use crate::turn::context::Bot;
use crate::turn::receipt::Answer;
use crate::turn::turn;

/// How long a platform may wait for something to tell. Telegram takes up to 50 s, VK up
/// to 90; many a router forgets a silent connection after a minute.
const LONG_POLL: Duration = Duration::from_secs(25);

/// Updates that are not done; beyond it nothing is asked.
const MAX_OPEN: usize = 1000;

/// While updates are open, a platform that gives them again is asked not more often than
/// this: Telegram gives only one update to who asks for the same within half a second.
const ASK_AGAIN: Duration = Duration::from_millis(600);

/// And not less often.
const ASK_AT_LAST: Duration = Duration::from_secs(1);

/// Pauses while the platform is away.
const AWAY: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));

/// Pauses while a token that worked is not taken.
const REFUSED: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// Pauses while somebody else gets the updates.
const TAKEN: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(30));

/// Pauses before an update whose turn could not be had, or failed, is tried again.
const AGAIN: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(60));

/// The longest that a platform may ask to be left alone for.
const LONGEST_AWAY: Duration = Duration::from_secs(300);

/// What an update turned out to hold.
enum Read {
    Update(Box<Update>),
    /// Nothing for a handler: the platform is called with this.
    Answer(Vec<u8>),
    Nothing,
}

/// What the parts of a poller share.
struct Poller {
    bot: Rc<Bot>,
    source: Box<dyn Poll>,
    window: RefCell<Window>,
    /// What waits behind an update of its dialog; a dialog is here while one runs.
    lanes: RefCell<HashMap<DialogKey, VecDeque<(WindowPlace, Update)>>>,
    /// An update is done.
    moved: Notify,
    /// The mark that was kept, or that the platform was told, last.
    kept: Cell<Option<Mark>>,
    /// Not zero once the platform has given updates, or none, in this run of the program:
    /// to any worker, with any token.
    worked: &'static AtomicU64,
}

/// Asks a platform until the worker leaves. `worked` is shared by all workers and zero at
/// the start.
///
/// # Errors
/// [`StartError::Token`] when the platform does not know the token, and nothing has worked
/// before: then only a person can mend it. Later it may be the platform's own trouble, or
/// a token that was exchanged: it is asked again.
pub(crate) async fn run(
    bot: Rc<Bot>,
    source: Box<dyn Poll>,
    worked: &'static AtomicU64,
) -> crate::StartResult<()> {
    let mut draining = bot.draining.clone();
    let kept = if source.forgets() {
        None
    } else {
        tokio::select! {
            kept = recall(&bot, source.as_ref()) => kept,
            () = drain::begins(&mut draining) => return Ok(()),
        }
    };
    let poller = Rc::new(Poller {
        bot,
        source,
        window: RefCell::new(Window::new(kept)),
        lanes: RefCell::default(),
        moved: Notify::new(),
        kept: Cell::new(kept),
        worked,
    });
    let asked = tokio::select! {
        asked = poller.ask_on(kept) => asked,
        never = poller.keep_marks() => match never {},
        () = drain::begins(&mut draining) => Ok(()),
    };
    poller.leave().await;
    asked
}

impl Poller {
    /// Asks again and again. Returns only when there is no use in it.
    async fn ask_on(self: &Rc<Self>, mut next: Option<Mark>) -> crate::StartResult<()> {
        let platform = self.source.platform();
        let (mut away, mut taken) = (backoff(AWAY), backoff(TAKEN));
        let mut refused = backoff(REFUSED);
        loop {
            let low = self.window.borrow().low();
            let has_open = self.window.borrow().len() > 0;
            let (from, wait) = match self.source.forgets() {
                // What is open comes at once, with whatever is new.
                true if has_open => (low, Duration::ZERO),
                true => (low, LONG_POLL),
                false => (next, LONG_POLL),
            };
            let asked = Instant::now();
            if self.source.forgets() {
                self.kept.set(from);
            }
            match self.source.ask(from, wait).await {
                Ok(batch) => {
                    self.worked.store(1, Relaxed);
                    if let Some(pace) = self.pace() {
                        pace.note_poll();
                    }
                    let all = [&mut away, &mut taken, &mut refused];
                    if all.iter().any(|backoff| !backoff.is_fresh()) {
                        tracing::info!("{platform} gives updates again");
                    }
                    all.into_iter().for_each(Backoff::reset);
                    next = batch.next;
                    if batch.updates.is_empty() && asked.elapsed() < ASK_AGAIN {
                        // A server that does not wait.
                        tokio::time::sleep(ASK_AGAIN).await;
                    }
                    self.take(batch);
                }
                Err(PollError::Token(sentence)) if self.worked.load(Relaxed) == 0 => {
                    return Err(StartError::Token(sentence));
                }
                Err(PollError::Token(sentence)) => {
                    self.note_trouble(&sentence);
                    if refused.is_fresh() {
                        tracing::error!(
                            "{platform} gave updates before and refuses the token now, asking again until it takes it: {sentence}"
                        );
                    } else {
                        tracing::debug!("{platform} still refuses the token: {sentence}");
                    }
                    tokio::time::sleep(refused.pause()).await;
                }
                Err(PollError::Taken(sentence)) => {
                    self.note_trouble(&sentence);
                    if taken.is_fresh() {
                        tracing::error!("{sentence}; asking again until it is so");
                    }
                    tokio::time::sleep(taken.pause()).await;
                }
                Err(PollError::Away { reason, after }) => {
                    self.note_trouble(&reason);
                    if away.is_fresh() {
                        tracing::warn!("cannot ask {platform} for updates, trying again: {reason}");
                    } else {
                        tracing::debug!("cannot ask {platform} for updates: {reason}");
                    }
                    let pause = away.pause();
                    let pause = after.map_or(pause, |after| pause.max(after.min(LONGEST_AWAY)));
                    tokio::time::sleep(pause).await;
                }
            }
            self.worth_asking(from, asked).await;
        }
    }

    /// What all workers know of the channel.
    fn pace(&self) -> Option<Pace> {
        let outlet = self.bot.channels.outlet_named(self.source.channel())?;
        Some(outlet.pace)
    }

    fn note_trouble(&self, reason: &str) {
        if let Some(pace) = self.pace() {
            pace.note_trouble(&told(reason));
        }
    }

    /// Resolves when asking may bring something new.
    async fn worth_asking(&self, from: Option<Mark>, asked: Instant) {
        loop {
            let (open, low) = {
                let window = self.window.borrow();
                (window.len(), window.low())
            };
            let deadline = match self.source.forgets() {
                true if open == 0 => return,
                true if low != from => asked + ASK_AGAIN,
                true => asked + ASK_AT_LAST,
                false if open < MAX_OPEN => return,
                false => asked + LONG_POLL,
            };
            if self.source.forgets() && Instant::now() >= deadline {
                return;
            }
            tokio::select! {
                () = self.moved.notified() => {}
                () = tokio::time::sleep_until(deadline) => {}
            }
        }
    }

    /// Puts new updates into the lanes of their dialogs.
    fn take(self: &Rc<Self>, batch: Batch) {
        if let Some(id) = self.source.account()
            && let Some(outlet) = self.bot.channels.outlet_named(self.source.channel())
        {
            outlet.pace.set_account(id);
        }
        if batch.updates.is_empty() {
            self.window.borrow_mut().restart(batch.next);
            return self.moved.notify_waiters();
        }
        for (mark, raw) in batch.updates {
            if self.source.forgets() && self.window.borrow().holds(mark) {
                continue;
            }
            let place = self.window.borrow_mut().push(mark);
            let update = match self.read(&raw) {
                Read::Update(update) => *update,
                Read::Answer(answer) => {
                    let poller = self.clone();
                    tokio::task::spawn_local(async move {
                        poller.call(answer).await;
                        poller.done(place);
                    });
                    continue;
                }
                Read::Nothing => {
                    self.done(place);
                    continue;
                }
            };
            let dialog = update.dialog.clone();
            let mut lanes = self.lanes.borrow_mut();
            if let Some(lane) = lanes.get_mut(&dialog) {
                lane.push_back((place, update));
            } else {
                lanes.insert(dialog, VecDeque::new());
                tokio::task::spawn_local(self.clone().run_lane(place, update));
            }
        }
    }

    /// What the channel reads of an update.
    fn read(&self, raw: &Bytes) -> Read {
        let name = self.source.channel();
        let Some(channel) = self.bot.channels.named(name) else {
            return Read::Nothing;
        };
        match channel.parse(&HeaderMap::new(), raw) {
            // No platform that is polled refuses late.
            Ok(Received::Updates(mut updates) | Received::WithEnds(mut updates, _)) => {
                match updates.pop() {
                    Some(mut update) => {
                        self.bot.dialog_by.apply(&mut update);
                        Read::Update(Box::new(update))
                    }
                    None => Read::Nothing,
                }
            }
            Ok(Received::Async(update)) => Read::Update(update),
            Ok(Received::Answer(answer)) if answer.body.is_empty() => Read::Nothing,
            Ok(Received::Answer(answer)) => Read::Answer(answer.body),
            // Its place in the queue moves on: so it is kept where somebody can look.
            Err(refusal) => Read::Update(Box::new(unreadable(name, &refusal.reason, raw))),
        }
    }

    /// Runs the updates of a dialog, one after another, until none is left or the worker
    /// leaves.
    async fn run_lane(self: Rc<Self>, mut place: WindowPlace, mut update: Update) {
        let dialog = update.dialog.clone();
        while self.run_turn(Arc::new(update)).await {
            self.done(place);
            let mut lanes = self.lanes.borrow_mut();
            let next = lanes.get_mut(&dialog).and_then(VecDeque::pop_front);
            let Some(next) = next else {
                lanes.remove(&dialog);
                return;
            };
            (place, update) = next;
        }
    }

    /// Runs an update's turn until it is ours; false when the worker leaves before.
    async fn run_turn(&self, update: Arc<Update>) -> bool {
        let arrived = Arrival::now();
        let mut again = backoff(AGAIN);
        let mut draining = self.bot.draining.clone();
        let dialog = &update.dialog;
        while let Err(wait) = self.bot.limiter.user(&dialog.channel, &dialog.user_id) {
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = drain::begins(&mut draining) => return false,
            }
        }
        while !*draining.borrow() {
            match turn::start(&self.bot, update.clone(), arrived).await {
                // Accepted: it is in the inbox, and so ours.
                Ok(Answer::Committed(answer) | Answer::Accepted(answer)) => {
                    if !answer.is_empty() {
                        self.call(answer).await;
                    }
                    return true;
                }
                Ok(Answer::Seen(_)) => {
                    self.bot.limiter.forgive(&dialog.channel, &dialog.user_id);
                    return true;
                }
                Ok(Answer::Busy(reason)) => {
                    tracing::debug!("{dialog} update {} has to wait: {reason}", update.id);
                }
                // `turn.rs` has said why; or the worker is leaving.
                Ok(Answer::Failed) | Err(_) => {}
            }
            tokio::select! {
                () = tokio::time::sleep(again.pause()) => {}
                () = drain::begins(&mut draining) => return false,
            }
        }
        false
    }

    /// What would ride in the answer to a webhook. It matters to nobody's state, and is
    /// not tried again.
    async fn call(&self, answer: Vec<u8>) {
        if let Err(PollError::Away { reason, .. }) = self.source.call(answer).await {
            tracing::debug!("a button goes on waiting: {reason}");
        }
    }

    fn done(&self, place: WindowPlace) {
        self.window.borrow_mut().done(place);
        self.moved.notify_waiters();
    }

    /// Keeps marks that the platform does not, as they move. Never returns.
    async fn keep_marks(&self) -> Infallible {
        loop {
            let moved = self.moved.notified();
            if !self.source.forgets() {
                self.keep_mark().await;
            }
            moved.await;
        }
    }

    async fn keep_mark(&self) {
        let low = self.window.borrow().low();
        let (Some(mark), true) = (low, low != self.kept.get()) else {
            return;
        };
        let storage = self.bot.storage.as_ref();
        match marks::set(storage, self.source.channel(), mark).await {
            Ok(()) => self.kept.set(low),
            // The next one is kept; after a crash before that, ids tell what was done.
            Err(error) => tracing::debug!("a mark is not kept: {error}"),
        }
    }

    /// Finishes what runs, then tells the platform: a run on another database would not
    /// know these updates.
    async fn leave(&self) {
        while !self.lanes.borrow().is_empty() && self.is_running() {
            tokio::select! {
                () = self.moved.notified() => {}
                () = tokio::time::sleep(Duration::from_millis(10)) => {}
            }
        }
        if !self.source.forgets() {
            return self.keep_mark().await;
        }
        let low = self.window.borrow().low();
        if let (Some(mark), true) = (low, low != self.kept.get()) {
            // Whether it arrives: they come again otherwise, and are known.
            drop(self.source.confirm(mark).await);
        }
    }

    /// Whether turns of this worker are in flight.
    fn is_running(&self) -> bool {
        self.bot
            .slot
            .get(crate::shared::scoreboard::Field::InFlight)
            > 0
    }
}

fn backoff((first, longest): (Duration, Duration)) -> Backoff {
    Backoff::new(first, longest)
}

/// The mark that an earlier run has kept, once the storage can be asked.
async fn recall(bot: &Bot, source: &dyn Poll) -> Option<Mark> {
    let mut away = backoff(AWAY);
    loop {
        match marks::get(bot.storage.as_ref(), source.channel()).await {
            Ok(kept) => return kept,
            Err(error) => {
                tracing::warn!("cannot read where to go on asking: {error}");
                tokio::time::sleep(away.pause()).await;
            }
        }
    }
}
