//! `outbox`: replies that were committed and not yet sent, and dead replies, which were given
//! up.

use std::process::ExitCode;
use std::str::FromStr;

use clap::{ArgGroup, Args, Subcommand};
use serde_json::{Value, json};
use turnkey_storage::admin::{self, OutboxLine};
use turnkey_storage::replies::{self, DeadReply};
use turnkey_storage::{Fence, ReplyId, Storage};

use super::operator::{Operator, one_line, print};
use crate::process::exit;
use turnkey_text::numbers::counted;

/// Replies read at a time.
const PORTION: u32 = 500;

#[derive(Args)]
pub(super) struct Outbox {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// List the replies that wait to be sent, then the dead ones, the oldest turns first.
    List(List),
    /// Show one with its body and why it failed last.
    Show(One),
    /// Have a dead one sent again, as if it had never failed. It may come after newer ones.
    Retry(Retry),
    /// Throw one away, dead or waiting; those behind it go on.
    Drop(One),
}

#[derive(Args)]
struct List {
    /// Only the dead ones.
    #[arg(long, conflicts_with = "waiting")]
    dead: bool,
    /// Only those that wait to be sent.
    #[arg(long)]
    waiting: bool,
    #[command(flatten)]
    operator: Operator,
}

#[derive(Args)]
struct One {
    /// The reply, as `outbox list` shows it: TURN.NUMBER.
    reply: Reply,
    #[command(flatten)]
    operator: Operator,
}

#[derive(Args)]
#[command(group = ArgGroup::new("which").required(true).args(["reply", "all"]))]
struct Retry {
    /// The reply, as `outbox list` shows it: TURN.NUMBER.
    reply: Option<Reply>,
    /// All dead replies.
    #[arg(long)]
    all: bool,
    /// With --all: only those of this channel, such as telegram, after an outage of it.
    #[arg(long, requires = "all")]
    channel: Option<String>,
    #[command(flatten)]
    operator: Operator,
}

/// A reply's place as people write it.
#[derive(Clone, Copy)]
struct Reply(ReplyId);

impl FromStr for Reply {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = || {
            let (turn, index) = text.split_once('.')?;
            // Fences are numbers that SQL knows.
            let turn: i64 = turn.parse().ok().filter(|turn| *turn > 0)?;
            Some(ReplyId {
                turn: Fence(turn as u64),
                index: index.parse().ok()?,
            })
        };
        parts().map(Reply).ok_or_else(|| {
            "a reply is written TURN.NUMBER, such as 4711.0; `outbox list` shows them".to_owned()
        })
    }
}

impl std::fmt::Display for Reply {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.0.turn.0, self.0.index)
    }
}

impl Outbox {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        match self.action {
            Action::List(list) => list.run()?,
            Action::Show(one) => one.show()?,
            Action::Retry(retry) => retry.run()?,
            Action::Drop(one) => one.discard()?,
        }
        Ok(ExitCode::from(exit::CLEAN))
    }
}

impl List {
    fn run(&self) -> anyhow::Result<()> {
        let as_json = self.operator.json;
        self.operator.work(async |storage| {
            if !self.dead {
                list_waiting(storage, as_json).await?;
            }
            if !self.waiting {
                list_dead(storage, as_json).await?;
            }
            Ok(())
        })
    }
}

async fn list_waiting(storage: &dyn Storage, as_json: bool) -> anyhow::Result<()> {
    let mut after = None;
    loop {
        let found = admin::outbox(storage, after, PORTION).await?;
        for line in &found {
            print(as_json, &shown_waiting(line), || text_of_waiting(line))?;
        }
        after = found.last().map(|line| line.id);
        if found.len() < PORTION as usize {
            return Ok(());
        }
    }
}

async fn list_dead(storage: &dyn Storage, as_json: bool) -> anyhow::Result<()> {
    let mut after = None;
    loop {
        let found = replies::list(storage, after, PORTION).await?;
        for dead in &found {
            print(as_json, &shown_dead(dead), || text_of_dead(dead))?;
        }
        after = found.last().map(|dead| dead.id);
        if found.len() < PORTION as usize {
            return Ok(());
        }
    }
}

impl One {
    fn show(&self) -> anyhow::Result<()> {
        let id = self.reply.0;
        let (waits, dead) = self.operator.work(async |storage| {
            let waits = admin::unsent(storage, id).await?;
            Ok((waits, replies::get(storage, id).await?))
        })?;
        if let Some(line) = waits {
            return print(self.operator.json, &shown_waiting(&line), || {
                text_of_waiting(&line)
            });
        }
        let dead = dead.ok_or_else(|| unknown(self.reply))?;
        print(self.operator.json, &shown_dead(&dead), || {
            text_of_dead(&dead)
        })
    }

    fn discard(&self) -> anyhow::Result<()> {
        let drop =
            async |storage: &dyn Storage| Ok(replies::drop_reply(storage, self.reply.0).await?);
        if !self.operator.work(drop)? {
            return Err(unknown(self.reply));
        }
        let shown = json!({ "reply": self.reply.to_string(), "dropped": true });
        print(self.operator.json, &shown, || {
            format!("{} is thrown away", self.reply)
        })
    }
}

impl Retry {
    fn run(&self) -> anyhow::Result<()> {
        let as_json = self.operator.json;
        let done = |reply: Reply| {
            let shown = json!({ "reply": reply.to_string(), "retried": true });
            print(as_json, &shown, || {
                format!("{reply} waits to be sent again; a running bot sends it next")
            })
        };
        self.operator.work(async |storage| {
            if let Some(reply) = self.reply {
                return match replies::retry(storage, reply.0).await? {
                    true => done(reply),
                    false => Err(unknown(reply)),
                };
            }
            let mut after = None;
            loop {
                let found = replies::list(storage, after, PORTION).await?;
                let is_meant = |dead: &&replies::DeadReply| {
                    let channel = self.channel.as_ref();
                    channel.is_none_or(|channel| *channel == dead.dialog.channel)
                };
                for dead in found.iter().filter(is_meant) {
                    // One that was dropped meanwhile is none of ours.
                    if replies::retry(storage, dead.id).await? {
                        done(Reply(dead.id))?;
                    }
                }
                after = found.last().map(|dead| dead.id);
                if found.len() < PORTION as usize {
                    return Ok(());
                }
            }
        })
    }
}

fn unknown(reply: Reply) -> anyhow::Error {
    anyhow::anyhow!("there is no reply {reply} that waits or is dead; `outbox list` shows them")
}

fn shown_waiting(line: &OutboxLine) -> Value {
    json!({
        "reply": Reply(line.id).to_string(),
        "dead": false,
        "channel": line.dialog.channel,
        "user_id": line.dialog.user_id,
        "turn": line.id.turn.0,
        "index": line.id.index,
        "body": line.body,
        "since": line.since,
        "attempts": line.attempts,
        "error": line.error,
    })
}

fn shown_dead(dead: &DeadReply) -> Value {
    json!({
        "reply": Reply(dead.id).to_string(),
        "dead": true,
        "channel": dead.dialog.channel,
        "user_id": dead.dialog.user_id,
        "turn": dead.id.turn.0,
        "index": dead.id.index,
        "body": dead.body,
        "since": dead.since,
        "attempts": dead.attempts,
        "error": dead.error,
        "died_ms": dead.died,
    })
}

fn text_of_waiting(line: &OutboxLine) -> String {
    let failed = match &line.error {
        Some(error) => format!(
            " ({}, {})",
            counted(line.attempts.into(), "attempt"),
            one_line(error)
        ),
        None => String::new(),
    };
    format!(
        "{}  {}: {}{failed}",
        Reply(line.id),
        one_line(&line.dialog.to_string()),
        one_line(&line.body)
    )
}

fn text_of_dead(dead: &DeadReply) -> String {
    format!(
        "{}  {}: {} (dead after {}, {})",
        Reply(dead.id),
        one_line(&dead.dialog.to_string()),
        one_line(&dead.body),
        counted(dead.attempts.into(), "attempt"),
        one_line(&dead.error)
    )
}
