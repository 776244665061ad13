//! `broadcast`: says something to many dialogs, and looks after what is being said.
//!
//! It writes a row, which a running bot works off (`turn/broadcast.rs`). Works while a bot runs
//! or not.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use turnkey_storage::broadcasts::{self, Audience, Broadcast as Row, New, State};
use turnkey_storage::{DialogKey, Error, Storage, tools};
use turnkey_text::numbers::{counted, grouped};

use super::operator::{Operator, one_line, print};
use super::said::Said;
use super::storage;
use crate::process::exit;

/// Failures read at a time.
const PORTION: u32 = 500;

/// Between two lines of `show --follow`.
const FOLLOW: Duration = Duration::from_secs(1);

/// Bytes of what is said: each dialog's update carries it.
const MAX_BODY: usize = 1 << 20;

#[derive(Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct Broadcast {
    #[command(subcommand)]
    action: Option<Action>,
    #[command(flatten)]
    make: Make,
}

#[derive(Subcommand)]
enum Action {
    /// List the broadcasts, the newest first.
    List(Operator),
    /// Show how far one is.
    Show(Show),
    /// Say nothing to further dialogs until it is resumed.
    Pause(One),
    /// Go on with one that is paused.
    Resume(One),
    /// End one: who has not got it does not get it.
    Stop(One),
    /// List whom it could not reach, and why.
    Failed(One),
}

#[derive(Args)]
struct Make {
    /// What is said.
    #[arg(long)]
    text: Option<String>,
    #[command(flatten)]
    said: Said,
    /// Only to dialogs of this channel, such as telegram; else to those of all channels that
    /// the bot can send to.
    #[arg(long)]
    channel: Option<String>,
    /// Only to dialogs for which this condition holds: SQL on user_id, channel and your own
    /// tables, such as "user_id IN (SELECT user_id FROM orders)".
    #[arg(long = "where", value_name = "SQL")]
    filter: Option<String>,
    /// Also to dialogs that take place in groups.
    #[arg(long)]
    groups: bool,
    /// Dialogs a second, at most what the platform allows; else a third of that.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=500))]
    rate: Option<u32>,
    /// Say nothing; only count the dialogs that it would go to.
    #[arg(long)]
    dry_run: bool,
    // Not [`Operator`]: it would be asked of the subcommands' callers twice.
    /// The database, such as sqlite:bot.db, postgres://user:password@host/db or
    /// mysql://user:password@host/db.
    #[arg(
        long,
        env = "TURNKEY_STORAGE",
        hide_env_values = true,
        value_name = "URL"
    )]
    storage: Option<String>,
    /// Print JSON, one object a line.
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
struct One {
    /// Its number, as `broadcast list` shows it.
    id: u64,
    #[command(flatten)]
    operator: Operator,
}

#[derive(Args)]
struct Show {
    #[command(flatten)]
    one: One,
    /// Show it again each second, until it has ended or is paused.
    #[arg(long)]
    follow: bool,
}

impl Broadcast {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        match self.action {
            None => self.make.run()?,
            Some(Action::List(operator)) => list(&operator)?,
            Some(Action::Show(show)) => show.run()?,
            Some(Action::Pause(one)) => one.set(State::Paused)?,
            Some(Action::Resume(one)) => one.set(State::Running)?,
            Some(Action::Stop(one)) => one.set(State::Stopped)?,
            Some(Action::Failed(one)) => one.failed()?,
        }
        Ok(ExitCode::from(exit::CLEAN))
    }
}

impl Make {
    fn run(self) -> anyhow::Result<()> {
        let new = self.made_of()?;
        let Some(url) = &self.storage else {
            bail!("say which database: --storage sqlite:bot.db, or TURNKEY_STORAGE");
        };
        let address = storage::address(url)?;
        let (id, dialogs) = tools::operate(&address, async |storage| {
            let dialogs = match broadcasts::count(storage, &new.audience).await {
                // What is ours of the question is of no use to them.
                Err(Error::Statement(why)) if new.audience.filter.is_some() => {
                    let why = why.split(" in SELECT ").next().unwrap_or_default();
                    bail!("--where cannot be used: {why}");
                }
                counted => counted?,
            };
            if self.dry_run {
                return Ok((None, dialogs));
            }
            if dialogs == 0 {
                bail!("it would reach nobody: no dialog is like that (`dialogs list`)");
            }
            Ok((Some(broadcasts::create(storage, &new).await?), dialogs))
        })?;
        let of = counted(dialogs, "dialog");
        print(
            self.json,
            &json!({ "id": id, "dialogs": dialogs }),
            || match id {
                None => format!("it would go to {of}"),
                Some(id) => format!(
                    "broadcast {id} goes to {of}: a running bot begins now, else one does when it \
                 starts; see `broadcast show {id} --follow`"
                ),
            },
        )
    }

    fn made_of(&self) -> anyhow::Result<New> {
        let channel = self.channel.as_deref();
        let reply = self.said.reply(self.text.as_deref(), channel)?;
        let body = serde_json::to_string(&reply).context("it cannot be written as JSON")?;
        if body.len() > MAX_BODY {
            bail!(
                "it has {} bytes as JSON; {MAX_BODY} is the limit, since each dialog gets a copy: \
                 name files by their address or the platform's id",
                body.len()
            );
        }
        if self
            .filter
            .as_ref()
            .is_some_and(|sql| sql.trim().is_empty())
        {
            bail!("--where is empty");
        }
        Ok(New {
            audience: Audience {
                channel: self.channel.clone(),
                filter: self.filter.clone(),
                groups: self.groups,
            },
            body,
            rate: self.rate,
        })
    }
}

fn list(operator: &Operator) -> anyhow::Result<()> {
    let all = operator.work(async |storage| {
        let limit = u32::try_from(broadcasts::KEPT).unwrap_or(u32::MAX);
        Ok(broadcasts::list(storage, limit).await?)
    })?;
    for row in &all {
        print(operator.json, &shown(row, false), || line(row, None))?;
    }
    Ok(())
}

impl Show {
    fn run(&self) -> anyhow::Result<()> {
        let One { operator, .. } = &self.one;
        let mut last = None;
        loop {
            // Opened anew each time: a bot that is to start must find its database free.
            let (row, left) = operator.work(async |storage| {
                let row = self.one.find(storage).await?;
                let left = match row.state {
                    // A condition that is wrong by now is what pauses it.
                    State::Running | State::Paused => broadcasts::left(storage, &row).await.ok(),
                    State::Done | State::Stopped => None,
                };
                Ok((row, left))
            })?;
            let is_over = row.state != State::Running;
            if last.as_ref() != Some(&row) {
                let mut shown = shown(&row, !self.follow);
                shown["left"] = json!(left);
                print(operator.json, &shown, || match self.follow {
                    true => line(&row, left),
                    false => whole(&row, left),
                })?;
            }
            if is_over || !self.follow {
                return Ok(());
            }
            last = Some(row);
            std::thread::sleep(FOLLOW);
        }
    }
}

impl One {
    fn unknown(&self) -> anyhow::Error {
        anyhow::anyhow!(
            "there is no broadcast {}; `broadcast list` shows them",
            self.id
        )
    }

    async fn find(&self, storage: &dyn Storage) -> anyhow::Result<Row> {
        let found = broadcasts::get(storage, self.id).await?;
        found.ok_or_else(|| self.unknown())
    }

    fn set(&self, state: State) -> anyhow::Result<()> {
        let row = self.operator.work(async |storage| {
            let now = broadcasts::set_state(storage, self.id, state, None).await?;
            match now {
                None => return Err(self.unknown()),
                Some(now) if now != state => {
                    bail!("broadcast {} is {}", self.id, now.name())
                }
                Some(_) => {}
            }
            self.find(storage).await
        })?;
        print(self.operator.json, &shown(&row, false), || line(&row, None))
    }

    fn failed(&self) -> anyhow::Result<()> {
        self.operator.work(async |storage| {
            let row = self.find(storage).await?;
            let (mut after, mut listed): (Option<DialogKey>, u64) = (None, 0);
            loop {
                let failures =
                    broadcasts::failures(storage, self.id, after.as_ref(), PORTION).await?;
                for failure in &failures {
                    let shown = json!({
                        "channel": failure.dialog.channel,
                        "user_id": failure.dialog.user_id,
                        "reason": failure.reason,
                        "at_ms": failure.at,
                    });
                    print(self.operator.json, &shown, || {
                        let dialog = one_line(&failure.dialog.to_string());
                        format!("{dialog}  {}", one_line(&failure.reason))
                    })?;
                }
                listed += failures.len() as u64;
                after = failures.last().map(|failure| failure.dialog.clone());
                if failures.len() < PORTION as usize {
                    break;
                }
            }
            if row.failed > listed && !self.operator.json {
                let more = grouped(row.failed - listed);
                print(false, &(), || {
                    format!("and {more} more, which were only counted")
                })?;
            }
            Ok(())
        })
    }
}

/// One line for a person. `left`: dialogs ahead of it, where they were counted.
fn line(row: &Row, left: Option<u64>) -> String {
    let mut line = format!(
        "{}  {}  {} sent, {} failed",
        row.id,
        row.state.name(),
        grouped(row.sent),
        grouped(row.failed)
    );
    match (row.open(), row.state) {
        (0, _) => {}
        (open, State::Done) => line.push_str(&format!(", {} dropped", grouped(open))),
        (open, _) => line.push_str(&format!(", {} under way", grouped(open))),
    }
    if let Some(left) = left {
        line.push_str(&format!(", {} to go", grouped(left)));
    }
    if let Some(trouble) = &row.trouble {
        line.push_str(&format!(": {}", one_line(trouble)));
    }
    line
}

/// All that is known of it, for a person.
fn whole(row: &Row, left: Option<u64>) -> String {
    let New {
        audience,
        body,
        rate,
    } = &row.made_of;
    let mut whole = line(row, left);
    let channel = audience.channel.as_deref().unwrap_or("all channels");
    whole.push_str(&format!("\nto: {}", one_line(channel)));
    if let Some(filter) = &audience.filter {
        whole.push_str(&format!(", where {}", one_line(filter)));
    }
    if audience.groups {
        whole.push_str(", groups too");
    }
    if let Some(rate) = rate {
        whole.push_str(&format!("\nrate: {rate} a second"));
    }
    if !row.after.user_id.is_empty() {
        whole.push_str(&format!(
            "\nso far up to: {}",
            one_line(&row.after.to_string())
        ));
    }
    whole.push_str(&format!("\nsaid: {}", one_line(body)));
    whole
}

fn shown(row: &Row, with_body: bool) -> Value {
    let New {
        audience,
        body,
        rate,
    } = &row.made_of;
    let mut shown = json!({
        "id": row.id,
        "state": row.state.name(),
        "queued": row.queued,
        "sent": row.sent,
        "failed": row.failed,
        "trouble": row.trouble,
        "channel": audience.channel,
        "where": audience.filter,
        "groups": audience.groups,
        "rate": rate,
        "made_us": row.made_at,
    });
    if with_body {
        shown["said"] = serde_json::from_str(body).unwrap_or_else(|_| Value::from(body.as_str()));
    }
    shown
}
