//! A worker: takes in requests, runs turns, sends replies.
//!
//! The body of a worker process ([`run`]), or of the one process under
//! `--single-process`. Start order: runtime, storage, channels, then the
//! listeners, then "ready". Drain order: accept what is queued, finish requests,
//! turns and their replies, leave. Bounds: the limits of [`Config`].

mod connection;
mod routes;
mod server;

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::net::TcpListener;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::sync::watch;
use tokio::time::Instant;
use turnkey_storage::Owner;

use crate::app::Author;
use crate::channels::Channels;
use crate::config::Config;
use crate::database::Database;
use crate::inbox::Inbox;
use crate::outbox;
use crate::recovery;
use crate::scoreboard::{Field, Scoreboard};
use crate::sweep;
use crate::turn::{Bot, Limits};

/// Between two signs of life. They are given by the runtime itself, so one that
/// is blocked gives none.
const HEARTBEAT: Duration = Duration::from_secs(1);

/// Open files besides connections and replies: the database's, and what libraries
/// need.
const OTHER_FILES: u64 = 256;

/// The part of the grace time in which a draining worker lets handlers of accepted
/// updates go on. What has not ended then is in the inbox, and is handled again after the
/// next start; so nothing of it is cut off.
const PATIENCE: f32 = 0.75;

/// Between two looks at whether a draining worker is done.
const DRAIN_LOOK: Duration = Duration::from_millis(5);

/// What a worker is started with.
pub(crate) struct Worker<'a> {
    pub(crate) index: usize,
    pub(crate) owner: Owner,
    pub(crate) config: &'a Config,
    pub(crate) author: Author,
    pub(crate) database: &'a Database,
    pub(crate) listeners: Vec<TcpListener>,
    pub(crate) scoreboard: Scoreboard,
}

impl Worker<'_> {
    /// Serves until `stop` resolves and everything in hand is finished. `ready`
    /// is called once connections are accepted.
    ///
    /// # Errors
    /// [`crate::Error::Start`] when it cannot start.
    pub(crate) fn run(self, ready: impl FnOnce(), stop: impl AsyncFnOnce()) -> crate::Result<()> {
        raise_open_files(self.config);
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

    async fn serve(self, ready: impl FnOnce(), stop: impl AsyncFnOnce()) -> crate::Result<()> {
        let slot = self.scoreboard.worker(self.index);
        let (drain, draining) = watch::channel(false);
        let storage = self.database.connect(self.owner)?;
        let bot = Rc::new(Bot {
            inbox: Inbox::new(
                storage.clone(),
                self.config.pending,
                self.config.ack_after,
                draining.clone(),
            ),
            storage,
            handler: self.author.handler,
            channels: Channels::open(self.config)?,
            limits: Limits {
                turns: self.config.max_turns,
                lock_wait: self.config.lock_wait,
                turn_timeout: self.config.turn_timeout,
                attempts: self.config.max_attempts,
            },
            history: self.config.history,
            slot,
            body_bytes: Cell::new(0),
            draining: draining.clone(),
        });
        let beat = tokio::task::spawn_local(async move {
            loop {
                slot.beat();
                tokio::time::sleep(HEARTBEAT).await;
            }
        });
        let resume = tokio::task::spawn_local(outbox::look_for_unsent(bot.clone()));
        let recovery = tokio::task::spawn_local(recovery::look_for_pending(bot.clone()));
        let sweep = (self.index == 0).then(|| {
            let (seen, history) = (self.config.keep_seen, self.config.keep_history);
            tokio::task::spawn_local(sweep::run(bot.clone(), seen, history))
        });
        let server = Rc::new(server::Server::new(
            bot.clone(),
            self.config.server,
            self.scoreboard,
            self.index,
            draining,
        ));
        let mut accepting = Vec::new();
        for listener in self.listeners {
            accepting.push(tokio::task::spawn_local(server.clone().accept(listener)));
        }
        slot.set(Field::Accepting, 1);
        // It listens for signals from its first poll on: that must be before
        // anybody can know that this runs, and send one.
        let mut stop = pin!(stop());
        let asked = poll_fn(|cx| Poll::Ready(stop.as_mut().poll(cx).is_ready())).await;
        ready();
        if !asked {
            stop.await;
        }

        slot.set(Field::Accepting, 0);
        resume.abort();
        recovery.abort();
        if let Some(sweep) = sweep {
            sweep.abort();
        }
        drain.send_replace(true);
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
        beat.abort();
        Ok(())
    }
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

/// Resolves with the first of two events.
pub(crate) async fn either(a: impl Future<Output = ()>, b: impl Future<Output = ()>) {
    tokio::select! { () = a => {}, () = b => {} }
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
