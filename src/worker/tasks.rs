//! The background tasks of a worker, when each starts and how it ends. The only other tasks in
//! a worker are those of one connection, one turn or one reply, and the timer that cuts off a
//! worker which exits too slowly (`process/master/life.rs`, `process/single.rs`).
//!
//! | task | of | starts | ends |
//! | --- | --- | --- | --- |
//! | sign of life | each worker | first | last |
//! | abandoned replies and updates | each | before it serves | cut |
//! | retention, broadcasts, timers, backups | the first | before it serves | cut |
//! | new certificates noticed | each, with HTTPS | before it serves | last |
//! | operators answered | each, with `--admin` | with the listeners | relieved |
//! | connections accepted | each, for each listener | with the listeners | drained |
//! | registration, whose the tokens are | the first | once it serves | cut |
//! | certificates got | the first, with `--tls-domain` | once it serves | handed on |
//! | polling | each, for each platform | once it serves | drained |
//!
//! The words of the last column are those of [`End`]. Bounds: as many as the table says.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::accept::Door;
use super::server::Server;
use super::{Leave, Worker, retention};
use crate::channels;
use crate::config::{Tls, Updater};
use crate::net::acme;
use crate::net::listener::{Listener, Purpose};
use crate::net::tls::{self, Certificates};
use crate::operator::admin::Admin;
use crate::operator::backup;
use crate::shared::lines;
use crate::shared::scoreboard::Shared;
use crate::turn::alarm;
use crate::turn::broadcast;
use crate::turn::context::Bot;
use crate::turn::recovery;
use crate::turn::send;
use crate::updaters::{account as whose, own_name, polling, registration};

/// Between two signs of life. They are given by the runtime itself, so one that
/// is blocked gives none.
pub(super) const HEARTBEAT: Duration = Duration::from_secs(1);

/// For the pauses of an earlier run, and for what it left in the inbox, before
/// connections are accepted.
const RECALL: Duration = Duration::from_secs(5);

/// How a task ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// It is cut off when the worker begins to leave: another worker, or the next start,
    /// takes it up.
    Cut,
    /// It notices that the worker drains, finishes, and is waited for.
    Drained,
    /// The same while others serve on, but only for as long as the worker has patience. It
    /// is cut off when the program stops.
    HandedOn,
    /// When operators are no longer answered here: by others at once, by nobody once all
    /// is done. It is waited for.
    Relieved,
    /// It is cut off after everything else.
    Last,
}

/// Those of one worker.
pub(super) struct Tasks {
    cut: JoinSet<()>,
    drained: JoinSet<()>,
    handed_on: JoinSet<()>,
    relieved: JoinSet<()>,
    last: JoinSet<()>,
    /// Drained, too; and the first that fails ends the worker.
    polling: JoinSet<crate::StartResult<()>>,
    relieve: watch::Sender<bool>,
}

impl Tasks {
    pub(super) fn new() -> Self {
        Tasks {
            cut: JoinSet::new(),
            drained: JoinSet::new(),
            handed_on: JoinSet::new(),
            relieved: JoinSet::new(),
            last: JoinSet::new(),
            polling: JoinSet::new(),
            relieve: watch::Sender::new(false),
        }
    }

    fn start(&mut self, end: End, task: impl Future<Output = ()> + 'static) {
        let tasks = match end {
            End::Cut => &mut self.cut,
            End::Drained => &mut self.drained,
            End::HandedOn => &mut self.handed_on,
            End::Relieved => &mut self.relieved,
            End::Last => &mut self.last,
        };
        tasks.spawn_local(task);
    }

    /// Resolves with the first platform that cannot be asked ever; not at all without.
    pub(super) async fn first_failure(&mut self) -> crate::StartResult<()> {
        while let Some(ended) = self.polling.join_next().await {
            match ended {
                Ok(Ok(())) => {}
                Ok(Err(error)) => return Err(error),
                Err(panic) => {
                    return Err(crate::StartError::Refused(format!(
                        "polling ended: {panic}"
                    )));
                }
            }
        }
        std::future::pending().await
    }

    /// The worker begins to leave. To be called before it drains.
    pub(super) fn leave(&mut self, leave: Leave) {
        self.cut.abort_all();
        if leave == Leave::Stop {
            // Nobody would be there to answer a check.
            self.handed_on.abort_all();
        }
        self.relieve.send_replace(leave == Leave::Replaced);
    }

    /// Resolves when nothing new is taken in any more. The worker drains.
    pub(super) async fn drained(&mut self) {
        while self.polling.join_next().await.is_some() {}
        // A listener that failed has said so.
        while self.drained.join_next().await.is_some() {}
    }

    /// Everything in hand is done; resolves when the tasks are, too.
    pub(super) async fn finish(mut self, patience: Instant) {
        // A certificate that is being got: whoever serves on answers the checks.
        while let Ok(Some(_)) = tokio::time::timeout_at(patience, self.handed_on.join_next()).await
        {
        }
        self.relieve.send_replace(true);
        while self.relieved.join_next().await.is_some() {}
        // What is left is cut off.
    }
}

/// Starts what goes before serving, in this order.
pub(super) async fn before_serving(
    worker: &Worker<'_>,
    bot: &Rc<Bot>,
    tasks: &mut Tasks,
) -> crate::StartResult<Option<Arc<Certificates>>> {
    tasks.start(End::Last, give_signs_of_life(bot.clone()));
    if tokio::time::timeout(RECALL, send::recall_pauses(bot))
        .await
        .is_err()
    {
        tracing::warn!("pauses of an earlier run are not known yet: the database is slow");
    }
    tasks.start(End::Cut, recovery::look_for_unsent(bot.clone()));
    let goes_on = tokio::time::timeout(RECALL, recovery::go_on_from_the_inbox(bot));
    let goes_on = goes_on.await.unwrap_or(false);
    tasks.start(End::Cut, recovery::look_for_pending(bot.clone(), goes_on));
    let config = worker.config;
    if worker.is_first {
        tasks.start(
            End::Cut,
            retention::run(bot.clone(), retention::kept(config)),
        );
        tasks.start(End::Cut, broadcast::run(bot.clone()));
        tasks.start(End::Cut, alarm::run(bot.clone()));
        if let (Some(backups), Some(files)) = (&config.backup, worker.database.files()) {
            // The process that makes one is killed with it.
            let (backups, file) = (backups.clone(), files.database.clone());
            tasks.start(End::Cut, backup::run(backups, file, worker.scoreboard));
        }
    }
    let certificates = config.tls.as_ref().map(Certificates::open).transpose()?;
    if let Some(certificates) = &certificates {
        // The first keeps the last good pair of files beside the database.
        let is_kept = worker.is_first && matches!(config.tls, Some(Tls::Files { .. }));
        let files = worker.database.files().filter(|_| is_kept);
        let beside = files.map(|files| tls::kept::beside(&files.database));
        tasks.start(End::Last, certificates.clone().keep_current(beside));
    }
    Ok(certificates)
}

/// Lets connections in.
pub(super) fn at_the_listeners(
    worker: &Worker<'_>,
    listeners: Vec<Listener>,
    server: &Rc<Server>,
    (bot, certificates): (&Rc<Bot>, &Option<Arc<Certificates>>),
    tasks: &mut Tasks,
) -> crate::StartResult<()> {
    let is_public = |listener: &Listener| listener.purpose == Purpose::Public;
    let (public, operators) = listeners.into_iter().partition::<Vec<_>, _>(is_public);
    if !operators.is_empty() {
        let admin = Admin::new(
            bot.clone(),
            worker.scoreboard,
            worker.config,
            worker.database.url(),
            worker.database.files().map(|files| files.database.clone()),
            certificates.clone(),
        );
        let relieved = tasks.relieve.subscribe();
        tasks.start(End::Relieved, admin.serve(operators, relieved));
    }
    for listener in public {
        let door = Door::open(listener)?;
        tasks.start(End::Drained, server.clone().accept(door));
    }
    Ok(())
}

/// Turns to the platforms, which may call back at once.
pub(super) fn once_it_serves(
    worker: &Worker<'_>,
    bot: &Rc<Bot>,
    certificates: Option<Arc<Certificates>>,
    tasks: &mut Tasks,
) -> crate::StartResult<()> {
    let config = worker.config;
    if let (true, Some(url)) = (worker.is_first, &config.public_url) {
        for platform in channels::registered(config, bot.hears)? {
            let (bot, url, certificates) = (bot.clone(), url.clone(), certificates.clone());
            tasks.start(End::Cut, async move {
                if let Some(certificates) = certificates {
                    certificates.awaited().await;
                }
                registration::run(bot, platform, url).await;
            });
        }
    }
    if worker.is_first && config.updater == Updater::Webhooks {
        for account in channels::accounts(config)? {
            tasks.start(End::Cut, whose::learn(bot.clone(), account));
        }
    }
    if worker.is_first && config.admin.is_some() {
        for outlet in bot.channels.outlets() {
            let channel = outlet.name.to_owned();
            tasks.start(End::Cut, own_name::learn(bot.clone(), channel));
        }
    }
    if let (true, Some(Tls::Acme(acme))) = (worker.is_first, &config.tls) {
        tasks.start(End::HandedOn, acme::run(acme.clone(), bot.draining.clone()));
    }
    if config.updater == Updater::Polling {
        for source in channels::polled(config, bot.hears)? {
            let worked = match source.channel() {
                "vk" => Shared::VkWorked,
                _ => Shared::TelegramWorked,
            };
            let worked = worker.scoreboard.word(worked);
            tasks
                .polling
                .spawn_local(polling::run(bot.clone(), source, worked));
        }
    }
    Ok(())
}

/// On the scoreboard, once a second; and what the worker takes longest for.
async fn give_signs_of_life(bot: Rc<Bot>) {
    let slot = bot.slot;
    loop {
        slot.beat();
        lines::flow();
        match bot.inbox.longest() {
            Some((since, dialog)) => {
                let since = u64::try_from(since).unwrap_or(1);
                slot.longest().set(since, &dialog.to_string());
            }
            None => slot.longest().clear(),
        }
        tokio::time::sleep(HEARTBEAT).await;
    }
}
