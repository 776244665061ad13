//! `send`: says something to one dialog, while the bot runs or not.

use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::{Args, ValueEnum};
use serde_json::json;
use turnkey_storage::{DialogKey, inbox};

use super::operator::{Operator, print};
use crate::author::message::{MAX_UPDATE_ID, MAX_USER_ID, Reply};
use crate::channels;
use crate::process::exit;
use crate::shared::clock::since_1970;
use crate::turn::relay;

/// Bytes of a file with a reply.
const MAX_FILE: u64 = 4 << 20;

/// What is said, as `send` and `broadcast` take it.
#[derive(Args)]
pub(super) struct Said {
    /// How TEXT is written.
    #[arg(long, value_enum, default_value_t = Format::Plain)]
    format: Format,
    /// A whole reply as JSON, with files and buttons, instead of a text: the fields are those
    /// of a reply in docs/HANDLERS.md.
    #[arg(long, value_name = "FILE.json")]
    file: Option<std::path::PathBuf>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Format {
    /// As it is shown.
    Plain,
    /// **bold**, [links](https://example.org) …
    Markup,
    /// HTML, as far as chats can show it.
    Html,
}

impl Said {
    /// The reply.
    ///
    /// # Errors
    /// There is none, there are two, or the file cannot be read.
    pub(super) fn reply(&self, text: Option<&str>) -> anyhow::Result<Reply> {
        match (text, &self.file) {
            (Some(_), Some(_)) => bail!("give either a text or --file, not both"),
            (None, None) => bail!("give a text, or a whole reply with --file FILE.json"),
            (Some(""), None) => bail!("the text is empty"),
            (Some(text), None) => Ok(match self.format {
                Format::Plain => Reply::plain(text),
                Format::Markup => Reply::markup(text),
                Format::Html => Reply::html(text),
            }),
            (None, Some(path)) => {
                let shown = path.display();
                let size = std::fs::metadata(path)
                    .with_context(|| format!("--file {shown} cannot be read"))?
                    .len();
                if size > MAX_FILE {
                    bail!("--file {shown} has {size} bytes; {MAX_FILE} is the limit");
                }
                let json = std::fs::read(path)
                    .with_context(|| format!("--file {shown} cannot be read"))?;
                let reply: Reply = serde_json::from_slice(&json)
                    .with_context(|| format!("--file {shown} is no reply"))?;
                if reply.text.is_empty() && !reply.has_content() {
                    bail!("--file {shown} has neither text nor files, location or contact");
                }
                Ok(reply)
            }
        }
    }
}

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
    pub(super) fn run(&self) -> anyhow::Result<ExitCode> {
        let reply = self.said.reply(self.text.as_deref())?;
        // HTML that no chat shows is refused here, not in the bot's log.
        reply.styled().map_err(anyhow::Error::msg)?;
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
        let new = self
            .operator
            .work(async |storage| Ok(inbox::relay(storage, &[row]).await?))?;
        let shown = json!({
            "channel": self.channel, "user_id": self.user_id, "accepted": new == 1,
        });
        print(self.operator.json, &shown, || match new {
            0 => "it was said before under this --id".to_owned(),
            _ => "accepted; a running bot sends it next, else one does when it starts".to_owned(),
        })?;
        Ok(ExitCode::from(exit::CLEAN))
    }
}

/// No other call's: a moment and a process.
fn made_up() -> String {
    format!("{:x}-{:x}", since_1970().as_nanos(), std::process::id())
}
