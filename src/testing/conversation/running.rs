//! How a conversation's turns run: through the handler, JSON and the SQLite engine.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::OnceLock;
use std::sync::atomic::AtomicU64;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::runtime::{Builder, Handle};
use tokio::task::LocalSet;
use tokio::time::Instant;
use turnkey_storage::{Arrival, Begin, Commit, Granted, LockAfter, Storage};

use super::Conversation;
use crate::author::error::{Error, Result};
use crate::author::message::{Action, DialogKey, Kind, TimerChange, Update};
use crate::author::newer::Newer;
use crate::handlers::{Call, Handled, Interruption, RunEnd};
use crate::shared::arrivals::{Arrivals, WORDS};
use crate::testing::PATIENCE;
use crate::testing::said::Said;
use crate::testing::storage::Own;
use crate::turn::{outcome, relay, timing};

/// The channel whose replies ride in its answers.
const HTTP: &str = "http";

impl<S> Conversation<S>
where
    S: Default + Serialize + DeserializeOwned + 'static,
{
    pub(super) fn begin(&mut self, user: &str) -> Result<Granted> {
        self.count += 1;
        let dialog = DialogKey::new(&self.channel, user);
        let update = format!("state {}", self.count);
        self.run(async |storage| begin(storage, dialog, update).await)?
    }

    /// Does something with the storage, which is there from the first time on.
    pub(super) fn run<T>(&mut self, work: impl AsyncFnOnce(&dyn Storage) -> T) -> Result<T> {
        if Handle::try_current().is_ok() {
            return Err(Error::msg(
                "a Conversation blocks, which an async runtime forbids: write #[test] fn, not \
                 #[tokio::test] async fn",
            ));
        }
        let (local, runtime) = match &mut self.world {
            Some(world) => world,
            none => none.insert((
                LocalSet::new(),
                Builder::new_current_thread().enable_all().build()?,
            )),
        };
        let (own, migrations) = (&mut self.own, &self.migrations);
        local.block_on(runtime, async {
            let own = match own {
                Some(own) => own,
                none => none.insert(Own::open(migrations)?),
            };
            let Some(storage) = &own.storage else {
                return Err(Error::msg("the conversation has ended"));
            };
            Ok(work(&**storage).await)
        })
    }

    /// Runs the last update.
    pub(super) fn attempt(&mut self) -> Result<Said<S>> {
        // The storage, before it is shared.
        self.run(async |_| ())?;
        let (
            Some(last),
            Some(Own {
                storage: Some(storage),
                ..
            }),
        ) = (&self.last, &self.own)
        else {
            return Err(Error::msg("there is nothing to run"));
        };
        let (update, attempt, steps) = (last.update.clone(), last.attempt, last.steps.clone());
        let (storage, platform) = (storage.clone(), self.platform.clone());
        platform.drafts.borrow_mut().clear();
        let (Some((local, runtime)), handler) = (&self.world, &self.handler) else {
            return Err(Error::msg("there is nowhere to run"));
        };
        let (handled, state) = local.block_on(runtime, async {
            let granted = begin(&*storage, update.dialog.clone(), update.id.0.clone()).await?;
            let call = Call {
                update: update.clone(),
                attempt,
                is_last_attempt: false,
                given_up: None,
                state: granted.state,
                storage: storage.clone(),
                grant: granted.grant,
                timeout: PATIENCE,
                platform,
                steps: steps.clone(),
                newer: Newer::new(arrivals(), Instant::now() + PATIENCE),
                interruption: Interruption::default(),
            };
            steps.begin_attempt();
            let mut returned = steps.serve(handler.call(call)).await;
            let mut handled = match returned.outcome {
                RunEnd::Ended(handled) => handled?,
                RunEnd::Interrupted => return Err(Error::msg("the turn was interrupted")),
            };
            for action in &mut handled.actions {
                outcome::reply_unless_pressed(action, &update);
            }
            check_timers(&update, &handled)?;
            check_sent(&update, &handled)?;
            let commit = Commit {
                update: update.id.0.clone(),
                state: handled.state.clone(),
                statements: std::mem::take(&mut handled.statements),
                lock: LockAfter::GivenBack,
                ..Commit::default()
            };
            let committed = storage.commit(&mut returned.grant, commit).await;
            committed.map_err(Error::Storage)?;
            let state: S = serde_json::from_str(&handled.state)?;
            Ok::<_, Error>((handled, state))
        })?;
        if let Some(last) = &mut self.last {
            last.is_done = true;
            // Before the handler's own changes: it may have set it again.
            if let Some(name) = last.timer.take()
                && let Some(timers) = self.timers.get_mut(&update.dialog)
            {
                timers.remove(&name);
            }
        }
        self.keep(&update, handled.timers, handled.callbacks, &handled.actions);
        let kept =
            |(name, value): (String, Rc<str>)| Some((name, serde_json::from_str(&value).ok()?));
        let timers = self.timers.get(&update.dialog);
        Ok(Said {
            state,
            actions: handled.actions,
            steps: steps.all().into_iter().filter_map(kept).collect(),
            timers: timers
                .into_iter()
                .flat_map(BTreeMap::keys)
                .cloned()
                .collect(),
            drafts: self.platform.drafts.take(),
        })
    }
}

/// What would fail a turn's commit in a bot fails it here.
fn check_timers(update: &Update, handled: &Handled) -> Result<()> {
    for change in &handled.timers {
        if let TimerChange::Set { name, when, data } = change {
            timing::row(update, name.clone(), when.clone(), data.clone()).map_err(Error::msg)?;
        }
    }
    Ok(())
}

/// Likewise: what is said where nothing can be sent, and what no dialog would take of another.
fn check_sent(update: &Update, handled: &Handled) -> Result<()> {
    for (index, action) in handled.actions.iter().enumerate() {
        let (channel, reply) = match action {
            Action::SendTo { channel, reply, .. } => (channel, reply),
            Action::AskIn {
                channel, question, ..
            } => (channel, question),
            _ => continue,
        };
        let checked = match channel.as_str() {
            HTTP => Err(relay::nobody(channel)),
            _ => relay::check(reply),
        };
        checked.map_err(|why| Error::msg(format!("reply {}: {why}", index + 1)))?;
    }
    let of_itself = matches!(update.kind, Kind::Timer | Kind::Callback);
    let own = |action: &Action| !matches!(action, Action::SendTo { .. } | Action::AskIn { .. });
    let channel = &update.dialog.channel;
    if of_itself && channel == HTTP && handled.actions.iter().any(own) {
        return Err(Error::msg(format!(
            "{}, and a {} has none",
            relay::nobody(channel),
            update.kind.name()
        )));
    }
    Ok(())
}

async fn begin(storage: &dyn Storage, dialog: DialogKey, update: String) -> Result<Granted> {
    let begin = Begin {
        dialog,
        update: Some(update),
        arrived: Arrival::now(),
        wait: PATIENCE,
    };
    let begun = storage.begin(begin).await.map_err(Error::Storage)?;
    let seen = || Error::msg("an update of this id was handled before");
    let granted = begun.granted().ok_or_else(seen)?;
    match granted.seen {
        Some(_) => Err(seen()),
        None => Ok(granted),
    }
}

/// Words that no other process looks at.
fn arrivals() -> Arrivals {
    static OURS: OnceLock<Vec<AtomicU64>> = OnceLock::new();
    let new = || std::iter::repeat_with(|| AtomicU64::new(0));
    Arrivals::new(OURS.get_or_init(|| new().take(WORDS).collect()))
}
