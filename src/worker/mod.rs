//! A worker: takes in requests, runs turns, sends replies.
//!
//! The body of a worker process ([`run`]), or of the one process under
//! `--single-process`. Start order: runtime, storage, channels, then the
//! listeners, then "ready", then polling and registering. Drain order: accept what is queued, finish requests,
//! turns and their replies, leave. Bounds: the limits of [`Config`].

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

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;
use turnkey_storage::Owner;

use self::accept::Door;
pub(crate) use self::requests::Requests;
use crate::channels::{self, Channels};
use crate::config::{Config, Tls, Updater};
use crate::handlers::Author;
use crate::net::acme;
use crate::net::listener::{Listener, Purpose};
use crate::net::tls::{self, Certificates, Tickets};
use crate::operator::admin::Admin;
use crate::operator::backup;
use crate::shared::command_line::Commands;
use crate::shared::lines;
use crate::shared::scoreboard::{Field, Scoreboard, Shared};
use crate::turn::context::{Bot, Limits};
use crate::turn::receipt::Inbox;
use crate::turn::recovery;
use crate::turn::send;
use crate::updaters::{account as whose, polling, registration};
use turnkey_storage::Database;

/// Between two signs of life. They are given by the runtime itself, so one that
/// is blocked gives none.
const HEARTBEAT: Duration = Duration::from_secs(1);

/// Open files besides connections and replies: the database's, and what libraries
/// need.
const OTHER_FILES: u64 = 256;

/// For the pauses of an earlier run, before connections are accepted.
const RECALL: Duration = Duration::from_secs(5);

/// The part of the grace time in which a draining worker lets handlers of accepted
/// updates go on. What has not ended then is in the inbox, and is handled again after the
/// next start; so nothing of it is cut off.
const PATIENCE: f32 = 0.75;

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
    pub(crate) author: Author,
    pub(crate) database: &'a Database,
    pub(crate) listeners: Vec<Listener>,
    pub(crate) scoreboard: Scoreboard,
    /// Where it notes what it has in hand.
    pub(crate) requests: Requests,
    /// What all workers seal sessions of HTTPS with.
    pub(crate) tickets: Tickets,
}

impl Worker<'_> {
    /// Serves until `stop` resolves and everything in hand is finished. `ready`
    /// is called once connections are accepted.
    ///
    /// # Errors
    /// [`crate::Error::Start`] when it cannot start.
    pub(crate) fn run(
        self,
        ready: impl FnOnce(),
        stop: impl AsyncFnOnce() -> Leave,
    ) -> crate::Result<()> {
        raise_open_files(self.config);
        // A number drawn in the master would be drawn again in each worker.
        fastrand::seed(self.owner.0 ^ u64::from(std::process::id()).rotate_left(32));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let local = tokio::task::LocalSet::new();
        let result = local.block_on(&runtime, self.serve(ready, stop));
        drop(local);
        // A read that is still under way is not waited for.
        runtime.shutdown_background();
        result
    }

    async fn serve(
        self,
        ready: impl FnOnce(),
        stop: impl AsyncFnOnce() -> Leave,
    ) -> crate::Result<()> {
        let slot = self.scoreboard.worker(self.slot);
        let (drain, draining) = watch::channel(false);
        let storage = self
            .database
            .connect(self.owner)
            .map_err(crate::Error::start)?;
        let bot = Rc::new(Bot {
            inbox: Inbox::new(
                storage.clone(),
                self.config.pending,
                Commands::of(&self.database.url()),
                self.config.ack_after,
                draining.clone(),
                slot,
            ),
            storage,
            handler: self.author.handler,
            channels: Channels::open(self.config, &self.author.channels, self.scoreboard.pacer())?,
            user_lock: self.author.user_lock.map(|make| make()).transpose()?,
            limits: Limits {
                turns: self.config.max_turns,
                lock_wait: self.config.lock_wait,
                turn_timeout: self.config.turn_timeout,
                attempts: self.config.max_attempts,
                reply_attempts: self.config.max_reply_attempts,
                reply_age: self.config.max_reply_age.0,
            },
            history: self.config.history,
            edits: self.author.edits,
            limiter: self
                .scoreboard
                .limiter(self.config.rates.user, self.config.rates.address),
            slot,
            body_bytes: Cell::new(0),
            draining: draining.clone(),
        });
        slot.introduce();
        let beating = bot.clone();
        let beat = tokio::task::spawn_local(async move {
            loop {
                slot.beat();
                lines::flow();
                match beating.inbox.longest() {
                    Some((since, dialog)) => {
                        let since = u64::try_from(since).unwrap_or(1);
                        slot.longest().set(since, &dialog.to_string());
                    }
                    None => slot.longest().clear(),
                }
                tokio::time::sleep(HEARTBEAT).await;
            }
        });
        if tokio::time::timeout(RECALL, send::recall_pauses(&bot))
            .await
            .is_err()
        {
            tracing::warn!("pauses of an earlier run are not known yet: the database is slow");
        }
        let resume = tokio::task::spawn_local(recovery::look_for_unsent(bot.clone()));
        let goes_on = tokio::time::timeout(RECALL, recovery::go_on_from_the_inbox(&bot));
        let goes_on = goes_on.await.unwrap_or(false);
        let recovery = tokio::task::spawn_local(recovery::look_for_pending(bot.clone(), goes_on));
        let sweep = self.is_first.then(|| {
            let (seen, history) = (
                self.config.keep_seen.0,
                self.config.keep_history.map(|age| age.0),
            );
            tokio::task::spawn_local(retention::run(bot.clone(), seen, history))
        });
        let backups = self.config.backup.clone().filter(|_| self.is_first);
        let backups = backups
            .zip(self.database.files().cloned())
            .map(|(config, files)| {
                tokio::task::spawn_local(backup::run(config, files.database, self.scoreboard))
            });
        let mut looking = JoinSet::new();
        let certificates = self
            .config
            .tls
            .as_ref()
            .map(Certificates::open)
            .transpose()?;
        if let Some(certificates) = &certificates {
            let files = self.database.files().filter(|_| self.is_first);
            let is_kept = matches!(self.config.tls, Some(Tls::Files { .. }));
            let beside = files.filter(|_| is_kept);
            let beside = beside.map(|files| tls::kept::beside(&files.database));
            looking.spawn_local(certificates.clone().keep_current(beside));
        }
        let tickets = self.tickets;
        let tls = certificates
            .clone()
            .map(|certificates| tls::acceptor(certificates, tickets))
            .transpose()?;
        let server = Rc::new(server::Server::new(
            serving::Serving::new(bot.clone(), self.config, self.requests, tls),
            self.scoreboard,
            self.slot,
            draining,
        ));
        let mut accepting = Vec::new();
        let is_public = |listener: &Listener| listener.purpose == Purpose::Public;
        let (public, operators) = self.listeners.into_iter().partition::<Vec<_>, _>(is_public);
        // Until this worker ends, so that its drain can be watched; but once others serve
        // on, it is for them to answer.
        let (relieve, relieved) = watch::channel(false);
        let mut administering = JoinSet::new();
        if !operators.is_empty() {
            let (url, has_writer) = (self.database.url(), self.database.files().is_some());
            let admin = Admin::new(
                bot.clone(),
                self.scoreboard,
                self.config,
                url,
                has_writer,
                certificates.clone(),
            );
            administering.spawn_local(admin.serve(operators, relieved));
        }
        for listener in public {
            let door = Door::open(listener)?;
            accepting.push(tokio::task::spawn_local(server.clone().accept(door)));
        }
        slot.set(Field::Accepting, 1);
        // It listens for signals from its first poll on: that must be before
        // anybody can know that this runs, and send one.
        let mut stop = pin!(stop());
        let asked = poll_fn(|cx| Poll::Ready(stop.as_mut().poll(cx))).await;
        ready();
        let mut registering = JoinSet::new();
        if let (true, Some(url)) = (self.is_first, &self.config.public_url) {
            for platform in channels::registered(self.config, self.author.edits)? {
                let (bot, url, certificates) = (bot.clone(), url.clone(), certificates.clone());
                registering.spawn_local(async move {
                    if let Some(certificates) = certificates {
                        certificates.awaited().await;
                    }
                    registration::run(bot, platform, url).await;
                });
            }
        }
        if self.is_first && self.config.updater == Updater::Webhooks {
            for account in channels::accounts(self.config)? {
                registering.spawn_local(whose::learn(bot.clone(), account));
            }
        }
        let mut ordering = JoinSet::new();
        if let (true, Some(Tls::Acme(acme))) = (self.is_first, &self.config.tls) {
            ordering.spawn_local(acme::run(acme.clone(), bot.draining.clone()));
        }
        let mut polling = JoinSet::new();
        if self.config.updater == Updater::Polling {
            for source in channels::polled(self.config, self.author.edits)? {
                let worked = match source.channel() {
                    "vk" => Shared::VkWorked,
                    _ => Shared::TelegramWorked,
                };
                let worked = self.scoreboard.word(worked);
                polling.spawn_local(polling::run(bot.clone(), source, worked));
            }
        }
        let mut polled = Ok(());
        let leave = match asked {
            Poll::Ready(leave) => leave,
            Poll::Pending => tokio::select! {
                leave = stop.as_mut() => leave,
                failed = first_failure(&mut polling) => {
                    polled = failed;
                    Leave::Stop
                }
            },
        };

        server.leave(leave);
        slot.set(Field::Accepting, 0);
        resume.abort();
        registering.abort_all();
        recovery.abort();
        if let Some(sweep) = sweep {
            sweep.abort();
        }
        if let Some(backups) = backups {
            backups.abort(); // The process that makes one is killed with it.
        }
        if leave == Leave::Stop {
            // Nobody would be there to answer a check.
            ordering.abort_all();
        }
        relieve.send_replace(leave == Leave::Replaced);
        drain.send_replace(true);
        while polling.join_next().await.is_some() {}
        for task in accepting {
            // A listener that failed has said so.
            drop(task.await);
        }
        let patience = Instant::now() + self.config.grace.mul_f32(PATIENCE);
        while slot.get(Field::Connections) > 0 || slot.get(Field::InFlight) > 0 {
            let in_hand = bot.inbox.in_hand();
            let rest = slot.get(Field::InFlight).saturating_sub(in_hand);
            if slot.get(Field::Connections) == 0 && rest == 0 && Instant::now() >= patience {
                tracing::info!("{in_hand} updates stay in the inbox for the next start");
                break;
            }
            tokio::time::sleep(DRAIN_LOOK).await;
        }
        // A certificate that is being got: whoever serves on answers the checks.
        while let Ok(Some(_)) = tokio::time::timeout_at(patience, ordering.join_next()).await {}
        relieve.send_replace(true);
        while administering.join_next().await.is_some() {}
        beat.abort();
        polled
    }
}

/// Resolves with the first platform that cannot be asked ever; not at all without.
async fn first_failure(polling: &mut JoinSet<crate::Result<()>>) -> crate::Result<()> {
    while let Some(ended) = polling.join_next().await {
        match ended {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return Err(error),
            Err(panic) => return Err(crate::Error::msg(format!("polling ended: {panic}"))),
        }
    }
    std::future::pending().await
}

/// Each connection and each reply on its way is an open file, and many systems
/// allow 1024 at first. Best effort: at the limit, connections wait.
fn raise_open_files(config: &Config) {
    let wanted = (config.server.connections + config.max_turns) as u64 + OTHER_FILES;
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
