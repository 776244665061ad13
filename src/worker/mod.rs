//! A worker: accepts requests, runs turns, sends replies.
//!
//! The body of a worker process ([`run`]), or of the one process under `--single-process`.
//! Start order: runtime, storage, channels, then the listeners, then "ready", then polling and
//! registering. Drain order: accept what is queued, finish requests, turns and their replies,
//! exit. Background tasks are in `tasks.rs`. Bounds: the limits of [`Config`].

mod accept;
mod address;
mod connection;
mod exchange;
mod http1;
mod http2;
mod requests;
pub(crate) mod retention;
mod routes;
mod server;
mod serving;
mod tasks;

use std::cell::{Cell, OnceCell};
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::sync::watch;
use tokio::time::Instant;
use turnkey_storage::Owner;

pub(crate) use self::requests::Requests;
use self::server::Server;
use self::serving::Serving;
use self::tasks::Tasks;
use crate::author::every::Declared;
use crate::author::start_error::StartError;
use crate::channels::{Channels, check_channels};
use crate::config::{Config, OTHER_FILES};
use crate::handlers::{Author, Starting, Wishes};
use crate::net::listener::Listener;
use crate::net::tls::{self, Certificates, Tickets};
use crate::shared::hints::Commands;
use crate::shared::scoreboard::{Field, Scoreboard};
use crate::turn::context::{Bot, GivenUp, Limits};
use crate::turn::receipt::Inbox;
use turnkey_storage::Database;
use turnkey_text::numbers::counted;

/// The part of the grace time in which a draining worker lets handlers of accepted
/// updates go on. What has not ended then is in the inbox, and is handled again after the
/// next start; so nothing of it is cut off.
const PATIENCE: f32 = 0.75;

/// How long it may take to write that they are no attempts; an eighth of the grace time at most.
const LAST_NOTES: Duration = Duration::from_secs(1);

/// Between two looks at whether a draining worker is done.
const DRAIN_LOOK: Duration = Duration::from_millis(5);

/// Why a worker leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Leave {
    /// The program stops: whoever is in the queue of connections is answered first.
    Stop,
    /// Others serve on: the queue is theirs.
    Replaced,
}

/// What a worker is started with.
pub(crate) struct Worker<'a> {
    /// It does what one worker does for all: registers webhooks, gets certificates.
    pub(crate) is_first: bool,
    /// Its place on the scoreboard.
    pub(crate) slot: usize,
    pub(crate) owner: Owner,
    pub(crate) config: &'a Config,
    pub(crate) database: &'a Database,
    pub(crate) listeners: Vec<Listener>,
    pub(crate) scoreboard: Scoreboard,
    /// Where it notes what it has in hand.
    pub(crate) requests: Requests,
    /// What all workers seal sessions of HTTPS with.
    pub(crate) tickets: Tickets,
}

impl Worker<'_> {
    /// Serves the author's bot until `stop` resolves and everything in hand is finished.
    /// `ready` is called once connections are accepted.
    ///
    /// # Errors
    /// It cannot start, or there is no use in polling.
    pub(crate) fn run(
        self,
        author: Author,
        ready: impl FnOnce(),
        stop: impl AsyncFnOnce() -> Leave,
    ) -> crate::StartResult<()> {
        raise_open_files(self.config);
        // A number drawn in the master would be drawn again in each worker.
        fastrand::seed(self.owner.0 ^ u64::from(std::process::id()).rotate_left(32));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let local = tokio::task::LocalSet::new();
        let groups = self.scoreboard.worker(self.slot).groups();
        let result = local.block_on(&runtime, self.serve(author, ready, stop));
        // None is left after an ordinary stop.
        groups.kill();
        drop(local);
        // A read that is still under way is not waited for.
        runtime.shutdown_background();
        result
    }

    async fn serve(
        mut self,
        author: Author,
        ready: impl FnOnce(),
        stop: impl AsyncFnOnce() -> Leave,
    ) -> crate::StartResult<()> {
        let slot = self.scoreboard.worker(self.slot);
        let (drain, draining) = watch::channel(false);
        let starting = Starting {
            config: self.config,
            worker: self.slot,
            is_first: self.is_first,
            groups: slot.groups(),
        };
        let wishes = {
            let mut start = author.handler.start(starting);
            loop {
                // It may take longer than a worker may be silent.
                slot.beat();
                tokio::select! {
                    wishes = &mut start => break wishes?,
                    () = tokio::time::sleep(tasks::HEARTBEAT) => {}
                }
            }
        };
        let bot = self.bot(author, wishes, draining.clone())?;
        slot.introduce();
        let mut tasks = Tasks::new();
        let certificates = tasks::before_serving(&self, &bot, &mut tasks).await?;
        let server = self.server(&bot, certificates.clone(), draining)?;
        let listeners = std::mem::take(&mut self.listeners);
        let needed = (&bot, &certificates);
        tasks::at_the_listeners(&self, listeners, &server, needed, &mut tasks)?;
        slot.set(Field::Accepting, 1);
        // It listens for signals from its first poll on: that must be before
        // anybody can know that this runs, and send one.
        let mut stop = pin!(stop());
        let asked = poll_fn(|cx| Poll::Ready(stop.as_mut().poll(cx))).await;
        ready();
        tasks::once_it_serves(&self, &bot, certificates, &mut tasks)?;
        let (leave, polled) = match asked {
            Poll::Ready(leave) => (leave, Ok(())),
            Poll::Pending => tokio::select! {
                leave = stop.as_mut() => (leave, Ok(())),
                failed = tasks.first_failure() => (Leave::Stop, failed),
            },
        };

        server.leave(leave);
        slot.set(Field::Accepting, 0);
        tasks.leave(leave);
        drain.send_replace(true);
        tasks.drained().await;
        let patience = Instant::now() + self.config.grace.mul_f32(PATIENCE);
        let last_notes = LAST_NOTES.min(self.config.grace / 8);
        finish_what_is_in_hand(&bot, patience, last_notes).await;
        bot.handler.stop().await;
        tasks.finish(patience).await;
        polled
    }

    /// What turns are run with.
    fn bot(
        &self,
        author: Author,
        wishes: Wishes,
        draining: watch::Receiver<bool>,
    ) -> crate::StartResult<Rc<Bot>> {
        let slot = self.scoreboard.worker(self.slot);
        let config = self.config;
        let storage = self.database.connect(self.owner)?;
        let overlap = wishes.overlap.unwrap_or(author.overlap);
        check_channels(overlap.channels(), &author.channels)?;
        Ok(Rc::new(Bot {
            inbox: Inbox::new(
                storage.clone(),
                config.pending,
                Commands::of(&self.database.url()),
                config.ack_after,
                draining.clone(),
                (slot, self.scoreboard.arrivals()),
            ),
            storage,
            handler: author.handler,
            given_up: match author.given_up {
                Some(other) => GivenUp::Other(other),
                None if wishes.given_up => GivenUp::Handler,
                None => GivenUp::Nobody,
            },
            channels: Rc::new(Channels::open(
                config,
                &author.channels,
                self.scoreboard.pacer(),
            )?),
            user_lock: author.user_lock.map(|make| make()).transpose()?,
            limits: Limits {
                turns: config.max_turns,
                lock_wait: config.lock_wait,
                typing: config.typing,
                turn_timeout: config.turn_timeout,
                attempts: config.max_attempts,
                reply_attempts: config.max_reply_attempts,
                reply_age: config.max_reply_age.0,
            },
            history: config.history,
            hears: wishes.hears.unwrap_or(author.hears),
            dialog_by: wishes.dialog_by.unwrap_or(author.dialog_by),
            overlap,
            every: Declared::read_all(&wishes.every.unwrap_or(author.every))
                .map_err(StartError::Refused)?,
            inherits: OnceCell::new(),
            limiter: self
                .scoreboard
                .limiter(config.rates.user, config.rates.address),
            met: self.scoreboard.met(),
            slot,
            body_bytes: Cell::new(0),
            draining,
        }))
    }

    /// What connections are served with.
    fn server(
        &self,
        bot: &Rc<Bot>,
        certificates: Option<Arc<Certificates>>,
        draining: watch::Receiver<bool>,
    ) -> crate::StartResult<Rc<Server>> {
        let tls = certificates
            .map(|certificates| tls::acceptor(certificates, self.tickets.clone()))
            .transpose()?;
        let requests = self.requests.clone();
        Ok(Rc::new(Server::new(
            Serving::new(bot.clone(), self.config, requests, tls),
            self.scoreboard,
            self.slot,
            draining,
        )))
    }
}

/// Resolves when every connection is closed and every turn has ended; or when only updates
/// are left whose rows in the inbox outlive this worker, and its patience is over. A moment is
/// left to write into these that this was no attempt.
async fn finish_what_is_in_hand(bot: &Bot, patience: Instant, last_notes: Duration) {
    let slot = bot.slot;
    let mut is_over = false;
    while slot.get(Field::Connections) > 0 || slot.get(Field::InFlight) > 0 {
        let in_hand = bot.inbox.in_hand();
        let rest = slot.get(Field::InFlight).saturating_sub(in_hand);
        let now = Instant::now();
        if now >= patience && !is_over {
            is_over = true;
            bot.inbox.leave();
        }
        let is_noted = bot.inbox.is_left() || now >= patience + last_notes;
        if slot.get(Field::Connections) == 0 && rest == 0 && is_over && is_noted {
            let left = counted(in_hand, "update");
            tracing::info!("left in the inbox, for the next start: {left}");
            break;
        }
        tokio::time::sleep(DRAIN_LOOK).await;
    }
}

/// Each connection and each reply on its way is an open file, and many systems
/// allow 1024 at first. Best effort: at the limit, connections wait.
fn raise_open_files(config: &Config) {
    let wanted = (config.server.connections + config.max_turns + OTHER_FILES) as u64;
    let raised = getrlimit(Resource::RLIMIT_NOFILE).and_then(|(now, most)| {
        setrlimit(Resource::RLIMIT_NOFILE, wanted.min(most).max(now), most)
    });
    if let Err(error) = raised {
        tracing::debug!("cannot raise the limit of open files: {error}");
    }
}

/// Resolves on SIGTERM, which an init system sends to every process at once.
pub(crate) async fn terminated() {
    use tokio::signal::unix::{SignalKind, signal};
    match signal(SignalKind::terminate()) {
        Ok(mut terminate) => {
            terminate.recv().await;
        }
        Err(error) => {
            tracing::warn!("cannot listen for SIGTERM: {error}");
            std::future::pending().await
        }
    }
}
