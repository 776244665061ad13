//! The handler processes of a worker: kept alive, and given turns.
//!
//! Called by `mod.rs`. Each process has a place; one that is gone gets a successor there,
//! at once, or after a pause that grows while they die young. Invariants: a turn that
//! was in hand of a process that died runs again and is not charged for it, unless it was
//! alone there; whoever waits is told in the order in which they came. Bounds: `--handlers`
//! processes, [`LONGEST_PAUSE`], [`MOST_CULPRITS`].

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

use super::plan::Plan;
use super::process::{Blame, Process, Ran, Started};
use super::schedule::{Go, Schedule, Suspicion};
use super::sdk::Carried;
use super::wire::Hello;
use crate::author::error::{Error, Result};
use crate::author::message::{Update, UpdateId};
use crate::author::start_error::{StartError, StartResult};
use crate::handlers::{Call, Interruption, RunEnd, Wishes};
use crate::shared::backoff::Backoff;
use crate::shared::scoreboard::Groups;
use turnkey_storage::DialogKey;

/// A process that lives longer did not die young.
const YOUNG: Duration = Duration::from_secs(10);

/// Before a successor of one that died young, at first and at most.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// How long it may take to replace a process before that is worth a word.
const REPLACED: Duration = Duration::from_secs(2);

/// Updates that are remembered for having killed a process alone: they never run beside
/// others again.
const MOST_CULPRITS: usize = 256;

/// All of a worker's.
pub(super) struct Pool {
    plan: Plan,
    sdk: Carried,
    worker: usize,
    /// Where the addresses of callbacks begin.
    callbacks: Option<String>,
    groups: Groups,
    patience: Duration,
    schedule: RefCell<Schedule<oneshot::Sender<Permit>>>,
    places: RefCell<Vec<Option<Rc<Process>>>>,
    culprits: RefCell<VecDeque<(DialogKey, UpdateId)>>,
    leaving: Cell<bool>,
    left: Notify,
    running: Cell<usize>,
    /// Since when none can run turns, and why the last one does not.
    none: RefCell<Option<(Instant, String)>>,
}

/// A turn's right to run in a process. Dropped, the next one may.
pub(super) struct Permit {
    pool: Rc<Pool>,
    place: usize,
    process: Rc<Process>,
    bytes: usize,
}

impl Drop for Permit {
    fn drop(&mut self) {
        // One that is gone has nothing in hand any more.
        if !self.process.is_gone() {
            self.pool
                .schedule
                .borrow_mut()
                .answered(self.place, self.bytes);
            self.pool.dispatch();
        }
    }
}

impl Pool {
    /// Starts so many processes; resolves when all have said hello.
    ///
    /// # Errors
    /// The first that does not: why, and its last lines.
    pub(super) async fn start(
        plan: Plan,
        (worker, groups): (usize, Groups),
        callbacks: Option<String>,
        count: usize,
        patience: Duration,
    ) -> StartResult<(Rc<Self>, Wishes)> {
        let pool = Rc::new(Pool {
            plan,
            sdk: Carried::new()?,
            worker,
            callbacks,
            groups,
            patience,
            schedule: RefCell::new(Schedule::new(count)),
            places: RefCell::new(vec![None; count]),
            culprits: RefCell::new(VecDeque::new()),
            leaving: Cell::new(false),
            left: Notify::new(),
            running: Cell::new(count),
            none: RefCell::new(None),
        });
        let mut first = Vec::new();
        for place in 0..count {
            let (said, hello) = oneshot::channel();
            tokio::task::spawn_local(pool.clone().keep(place, said));
            first.push(hello);
        }
        let mut wishes = Wishes::default();
        for hello in first {
            match hello.await {
                Ok(Ok(said)) => wishes = said,
                Ok(Err(reason)) => return Err(StartError::Refused(reason)),
                Err(_) => return Err(Error::msg("a handler's keeper ended").into()),
            }
        }
        Ok((pool, wishes))
    }

    /// Keeps a process in a place, one after another, until the worker leaves.
    async fn keep(
        self: Rc<Self>,
        place: usize,
        first: oneshot::Sender<std::result::Result<Wishes, String>>,
    ) {
        let mut first = Some(first);
        let mut backoff = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE);
        while !self.leaving.get() {
            let begun = Instant::now();
            let why = match self.say_hello(place).await {
                Ok((started, hello)) => {
                    if let Some(first) = first.take() {
                        drop(first.send(Ok(hello.wishes())));
                    }
                    self.serve(place, started, &hello).await
                }
                Err(reason) => {
                    if let Some(first) = first.take() {
                        drop(first.send(Err(reason)));
                        break;
                    }
                    reason
                }
            };
            self.groups.set(place, 0);
            if self.leaving.get() {
                break;
            }
            if begun.elapsed() >= YOUNG {
                backoff.reset();
            }
            let pause = match backoff.is_fresh() {
                true => {
                    backoff.pause();
                    Duration::ZERO
                }
                false => backoff.pause(),
            };
            tracing::error!("{why}; starting another in {} ms", pause.as_millis());
            if self.places.borrow().iter().all(Option::is_none) {
                let mut none = self.none.borrow_mut();
                let since = none.take().map_or_else(Instant::now, |(since, _)| since);
                *none = Some((since, why));
            }
            tokio::select! {
                () = self.left.notified() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
        self.running.set(self.running.get() - 1);
        self.left.notify_waiters();
    }

    /// Starts a process and waits for its hello.
    async fn say_hello(&self, place: usize) -> std::result::Result<(Started, Hello), String> {
        let mut started = Process::start(
            &self.plan,
            &self.sdk,
            (self.worker, self.callbacks.as_deref()),
        )?;
        let process = started.process.clone();
        self.groups.set(place, process.leader());
        let why = tokio::select! {
            hello = &mut started.hello => match hello {
                Ok(hello) => return Ok((started, hello)),
                Err(_) => (&mut started.end).await.unwrap_or_default(),
            },
            // Nothing is awaited between the look at `leaving` in `keep` and here.
            () = self.left.notified() => {
                process.kill();
                drop((&mut started.end).await);
                return Err("the worker leaves".to_owned());
            }
            () = tokio::time::sleep(self.patience) => {
                process.kill();
                drop((&mut started.end).await);
                no_hello(self.patience)
            }
        };
        Err(format!(
            "the handler {} did not start: {why}{}",
            process.title(),
            process.last_lines()
        ))
    }

    /// Gives a process turns until it is gone; why it is.
    async fn serve(self: &Rc<Self>, place: usize, started: Started, hello: &Hello) -> String {
        let Started { process, end, .. } = started;
        tracing::debug!(
            "the handler {} runs {} turns at once",
            process.title(),
            hello.concurrency
        );
        self.places.borrow_mut()[place] = Some(process.clone());
        self.schedule.borrow_mut().ready(place, hello.concurrency);
        self.none.take();
        if self.leaving.get() {
            process.leave();
        }
        self.dispatch();
        let why = end.await.unwrap_or_default();
        self.schedule.borrow_mut().gone(place);
        self.places.borrow_mut()[place] = None;
        // What waits may go elsewhere.
        self.dispatch();
        format!("the handler {}: {why}", process.title())
    }

    /// Hands out places to whoever waits.
    fn dispatch(self: &Rc<Self>) {
        self.forget_the_gone();
        loop {
            let next = self.schedule.borrow_mut().next();
            let Some(Go {
                ticket,
                place,
                bytes,
            }) = next
            else {
                return;
            };
            if let Some(permit) = self.permit(place, bytes) {
                // Whoever is gone meanwhile gives it back by not taking it.
                drop(ticket.send(permit));
            }
        }
    }

    /// Runs a turn, again and again should its process die by another's doing.
    pub(super) async fn run(
        self: &Rc<Self>,
        call: &Call,
        interruption: &mut Interruption,
    ) -> RunEnd {
        let bytes = weight(call);
        let mut suspicion = match self.is_culprit(&call.update) {
            true => Suspicion::Suspect,
            false => Suspicion::None,
        };
        loop {
            // After the death of a process, before the next one.
            if interruption.has_come() {
                return RunEnd::Interrupted;
            }
            let permit = match self.at_once(bytes, suspicion) {
                Some(permit) => permit,
                None => {
                    let permit = tokio::select! {
                        biased;
                        permit = self.wait(bytes, suspicion) => permit,
                        () = interruption.comes() => return RunEnd::Interrupted,
                    };
                    match permit {
                        Ok(permit) => permit,
                        Err(error) => return RunEnd::Ended(Err(error)),
                    }
                }
            };
            match permit.process.run(call, interruption).await {
                Ran::Answered(outcome) => return RunEnd::Ended(outcome),
                Ran::Interrupted => return RunEnd::Interrupted,
                // Somebody may have killed the process: its sender is told of a failure only
                // when that happens again.
                Ran::Died(Blame::Alone, _) if suspicion == Suspicion::None => {
                    suspicion = Suspicion::Suspect;
                }
                Ran::Died(Blame::Alone, why) => {
                    self.remember(&call.update);
                    return RunEnd::Ended(Err(Error::msg(why)));
                }
                Ran::Died(Blame::Suspect, _) => suspicion = Suspicion::Suspect,
                Ran::Died(Blame::None, _) => {}
            }
        }
    }

    /// A place for a turn, if there is one now.
    fn at_once(self: &Rc<Self>, bytes: usize, suspicion: Suspicion) -> Option<Permit> {
        if suspicion != Suspicion::None {
            return None;
        }
        self.forget_the_gone();
        let place = self.schedule.borrow_mut().at_once(bytes)?;
        self.permit(place, bytes)
    }

    /// Waits for a place.
    async fn wait(self: &Rc<Self>, bytes: usize, suspicion: Suspicion) -> Result<Permit> {
        let (ticket, permit) = oneshot::channel();
        self.schedule.borrow_mut().wait(ticket, bytes, suspicion);
        self.dispatch();
        permit
            .await
            .map_err(|_| Error::msg("the worker has no handler any more"))
    }

    fn permit(self: &Rc<Self>, place: usize, bytes: usize) -> Option<Permit> {
        let process = self.places.borrow()[place].clone();
        debug_assert!(process.is_some(), "a turn for a place without a process");
        Some(Permit {
            pool: self.clone(),
            place,
            process: process?,
            bytes,
        })
    }

    /// One that has ended, and is not buried yet, gets no more turns.
    fn forget_the_gone(&self) {
        for (place, process) in self.places.borrow().iter().enumerate() {
            if process.as_ref().is_some_and(|process| process.is_gone()) {
                self.schedule.borrow_mut().gone(place);
            }
        }
    }

    fn is_culprit(&self, update: &Update) -> bool {
        let culprits = self.culprits.borrow();
        culprits
            .iter()
            .any(|(dialog, id)| *dialog == update.dialog && *id == update.id)
    }

    fn remember(&self, update: &Update) {
        if self.is_culprit(update) {
            return;
        }
        let mut culprits = self.culprits.borrow_mut();
        if culprits.len() == MOST_CULPRITS {
            culprits.pop_front();
        }
        culprits.push_back((update.dialog.clone(), update.id.clone()));
    }

    /// Why no process runs turns, when that has been so for longer than a replacement takes.
    pub(super) fn trouble(&self) -> Option<String> {
        let none = self.none.borrow();
        let (since, why) = none.as_ref()?;
        (since.elapsed() > REPLACED).then(|| {
            let first = why.lines().next().unwrap_or_default();
            format!("no handler runs: {first}")
        })
    }

    /// Has all processes leave; resolves when they have. No turn runs any more.
    pub(super) async fn stop(&self) {
        self.leaving.set(true);
        for process in self.places.borrow().iter().flatten() {
            process.leave();
        }
        self.left.notify_waiters();
        while self.running.get() > 0 {
            self.left.notified().await;
        }
    }
}

/// What a turn takes in memory, about.
fn weight(call: &Call) -> usize {
    let Update { text, raw, .. } = &*call.update;
    call.state.as_ref().map_or(0, String::len) + text.len() + raw.len()
}

/// What is said of a process that says nothing.
pub(super) fn no_hello(patience: Duration) -> String {
    format!(
        "it said no hello within {} s (--handler-start); does it call turnkey.run, or speak the protocol of docs/HANDLERS.md?",
        patience.as_secs_f32()
    )
}
