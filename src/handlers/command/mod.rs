//! Handlers in any language: a command that speaks the protocol of `docs/HANDLERS.md`.
//!
//! Called through [`AnyHandler`]. Each worker has processes of its own; lanes, locks,
//! attempts and commits stay in the worker, and a handler process holds nothing that matters.
//!
//! | file | what |
//! | --- | --- |
//! | `plan.rs` | how a process is started, and what it inherits |
//! | `interpreter.rs` | who runs a file: `bot.py`, `bot.mjs` |
//! | `sdk.rs` | the SDKs that we carry |
//! | `conversation.rs` | one process that is spoken to without a runtime |
//! | `trial.rs` | one is tried before anything is forked |
//! | `conformance/` | the conformance list: `turnkey handler check` |
//! | `wire/` | lines, to and fro |
//! | `printed.rs` | what a process prints |
//! | `process/` | one process, from its start to its end |
//! | `mailbox.rs` | what a turn hears of its process |
//! | `schedule.rs` | which turn goes where, and when |
//! | `pool.rs` | a worker's processes, kept alive |
//! | `watch.rs` | new code is noticed |

mod conformance;
mod conversation;
mod interpreter;
mod mailbox;
mod plan;
mod pool;
mod printed;
mod process;
mod schedule;
mod sdk;
mod trial;
mod watch;
mod wire;

use std::cell::OnceCell;
use std::pin::Pin;
use std::rc::Rc;

pub(crate) use self::conformance::{Conformance, Introduced, Outcome, Patience, Verdict};
pub(crate) use self::interpreter::find;
pub(crate) use self::plan::Plan;
use self::pool::Pool;
pub(crate) use self::sdk::Carried;
use self::watch::Watch;
use super::{AnyHandler, Call, Returned, RunEnd, Starting, Wishes};
use crate::author::error::Error;
use crate::author::message::base;
use crate::author::start_error::StartResult;
use crate::config::Config;

/// A handler that is a command.
pub(crate) struct Command {
    plan: Plan,
    /// In a worker.
    pool: OnceCell<Rc<Pool>>,
}

impl Command {
    pub(crate) fn new(plan: Plan) -> Self {
        Command {
            plan,
            pool: OnceCell::new(),
        }
    }
}

impl AnyHandler for Command {
    fn call(&self, call: Call) -> Pin<Box<dyn Future<Output = Returned> + '_>> {
        Box::pin(async move {
            let mut call = call;
            let mut interruption = std::mem::take(&mut call.interruption);
            let outcome = match self.pool.get() {
                Some(pool) => pool.run(&call, &mut interruption).await,
                None => RunEnd::Ended(Err(Error::msg("no handler was started"))),
            };
            Returned {
                state: call.state,
                grant: call.grant,
                outcome,
            }
        })
    }

    fn try_out(&self, config: &Config) -> StartResult {
        trial::run(&self.plan, config.handler_start)
    }

    fn start<'a>(
        &'a self,
        starting: Starting<'a>,
    ) -> Pin<Box<dyn Future<Output = StartResult<Wishes>> + 'a>> {
        Box::pin(async move {
            let Starting {
                config,
                worker,
                is_first,
                groups,
            } = starting;
            // Before the handler reads its files.
            let watch = (is_first && config.watch).then(|| Watch::new(self.plan.directory.clone()));
            let (pool, wishes) = Pool::start(
                self.plan.clone(),
                (worker, groups),
                config.public_url.as_deref().map(base),
                config.handlers,
                config.handler_start,
            )
            .await?;
            // A worker starts once.
            drop(self.pool.set(pool));
            if let Some(watch) = watch {
                tokio::task::spawn_local(watch.run());
            }
            Ok(wishes)
        })
    }

    fn trouble(&self) -> Option<String> {
        self.pool.get()?.trouble()
    }

    fn stop(&self) -> Pin<Box<dyn Future<Output = ()> + '_>> {
        Box::pin(async move {
            if let Some(pool) = self.pool.get() {
                pool.stop().await;
            }
        })
    }
}
