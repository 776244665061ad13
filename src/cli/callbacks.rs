//! `callbacks`: who is still to come back, for operators: list, take one away.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::{Value, json};
use turnkey_storage::Storage;
use turnkey_storage::callbacks::{self, Callback};

use super::operator::{List, Operator, one_line, print, roughly};
use crate::process::exit;
use crate::shared::clock::unix_ms;

#[derive(Args)]
pub(super) struct Callbacks {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// List the callbacks and questions that are open, those that end first at the top.
    List(List),
    /// Take one away: whoever comes with it is told that there is none.
    Drop(One),
}

#[derive(Args)]
struct One {
    /// The hash of its secret, as `callbacks list` shows it.
    hash: String,
    #[command(flatten)]
    operator: Operator,
}

impl Callbacks {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        match self.action {
            Action::List(asked) => list(&asked)?,
            Action::Drop(one) => one.discard()?,
        }
        Ok(ExitCode::from(exit::CLEAN))
    }
}

fn list(asked: &List) -> anyhow::Result<()> {
    let dialog = asked.dialog();
    let now = unix_ms() as i64;
    let list = async |storage: &dyn Storage| {
        Ok(callbacks::list(storage, dialog.as_ref(), now, asked.limit).await?)
    };
    for callback in asked.operator.work(list)? {
        print(asked.operator.json, &shown(&callback), || {
            text_of(&callback, now)
        })?;
    }
    Ok(())
}

impl One {
    fn discard(&self) -> anyhow::Result<()> {
        let drop =
            async |storage: &dyn Storage| Ok(callbacks::drop_callback(storage, &self.hash).await?);
        if !self.operator.work(drop)? {
            anyhow::bail!(
                "no callback has the hash {:?}; `callbacks list` shows them",
                self.hash
            );
        }
        let shown = json!({ "hash": self.hash, "dropped": true });
        print(self.operator.json, &shown, || {
            format!("{} is taken away", one_line(&self.hash))
        })
    }
}

fn shown(callback: &Callback) -> Value {
    json!({
        "channel": callback.dialog.channel,
        "user_id": callback.dialog.user_id,
        "name": callback.name,
        "expires_ms": callback.expires,
        "hash": callback.hash,
    })
}

fn text_of(callback: &Callback, now: i64) -> String {
    format!(
        "{} {}  {} open for {}  {}",
        callback.dialog.channel,
        one_line(&callback.dialog.user_id),
        one_line(&callback.name),
        roughly((callback.expires - now) / 1000),
        one_line(&callback.hash)
    )
}
