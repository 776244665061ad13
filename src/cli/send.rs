//! `send`: says something to one dialog, while the bot runs or not.

use std::process::ExitCode;

use anyhow::bail;
use clap::Args;
use serde_json::json;
use turnkey_storage::broadcasts::{self, Audience};
use turnkey_storage::{DialogKey, Storage, inbox};

use super::operator::{Operator, print};
use super::said::Said;
use crate::author::message::{MAX_UPDATE_ID, MAX_USER_ID};
use crate::channels;
use crate::handlers::Author;
use crate::process::exit;
use crate::shared::clock::since_1970;
use crate::turn::relay;

/// See the command's help.
#[derive(Args)]
pub(super) struct Send {
    /// The channel, such as telegram.
    channel: String,
    /// The user's id, as `dialogs list` shows it.
    user_id: String,
    /// What is said.
    text: Option<String>,
    #[command(flatten)]
    said: Said,
    /// A name of your own for this message: what was said under it before is not said again.
    #[arg(long)]
    id: Option<String>,
    #[command(flatten)]
    operator: Operator,
}

impl Send {
    pub(super) fn run(&self, author: &Author) -> anyhow::Result<ExitCode> {
        let reply = self.said.reply(self.text.as_deref(), Some(&self.channel))?;
        if self.user_id.is_empty() || self.user_id.len() > MAX_USER_ID {
            bail!("a user's id has 1 to {MAX_USER_ID} bytes");
        }
        let id = match &self.id {
            Some(id) => format!("{}cli:{}:{id}", relay::PREFIX, self.user_id),
            None => format!("{}cli:{}", relay::PREFIX, made_up()),
        };
        if id.len() > MAX_UPDATE_ID {
            bail!("--id is too long");
        }
        let to = DialogKey::new(self.channel.as_str(), self.user_id.as_str());
        let address = channels::address(&self.channel, &self.user_id);
        let row = relay::to_inbox(to, address, id, &reply).map_err(anyhow::Error::msg)?;
        let served = channels::is_ours(&self.channel)
            || author
                .channels
                .iter()
                .any(|(name, _)| *name == self.channel);
        let new = self.operator.work(async |storage| {
            if !served {
                self.look_for_channel(storage).await?;
            }
            Ok(inbox::relay(storage, &[row]).await?)
        })?;
        let shown = json!({
            "channel": self.channel, "user_id": self.user_id, "accepted": new == 1,
        });
        print(self.operator.json, &shown, || match new {
            0 => "it was said before under this --id".to_owned(),
            _ => "accepted; a running bot sends it next, else one does when it starts".to_owned(),
        })?;
        Ok(ExitCode::from(exit::CLEAN))
    }

    /// A channel of another program's author, perhaps: then the database has dialogs of it.
    async fn look_for_channel(&self, storage: &dyn Storage) -> anyhow::Result<()> {
        let audience = Audience {
            channel: Some(self.channel.clone()),
            groups: true,
            ..Audience::default()
        };
        if broadcasts::count(storage, &audience).await? == 0 {
            let ours = channels::PLATFORMS.join(", ");
            let channel = &self.channel;
            bail!("there is no channel {channel:?}: give one of {ours}, or one of your own");
        }
        Ok(())
    }
}

/// No other call's: a moment and a process.
fn made_up() -> String {
    format!("{:x}-{:x}", since_1970().as_nanos(), std::process::id())
}
