//! All that is known of the running program, as one value: `/status.json` is its JSON,
//! the page and `/metrics` are drawn from it, `turnkey top` reads it back.
//!
//! Made by [`super::Admin::status`] for each request, from the scoreboard (words of
//! shared memory) and the cached look into the database. Holds no secret: see
//! `settings.rs`. Units: what ends in `_ms` is in milliseconds since 1970, times are in
//! seconds.

use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use turnkey_storage::admin::{COUNTED, Queues};

use super::Admin;
use super::history::{Look, Percentiles, Series};
use crate::scoreboard::{Field, Scoreboard, Shared, Slot, unix_ms};

/// A child that gave no sign of life for longer is silent: it blocks, or is stopped.
const SILENT: Duration = Duration::from_secs(4);

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Status {
    pub(crate) version: String,
    /// `webhooks` or `polling`.
    pub(crate) updater: String,
    pub(crate) now_ms: u64,
    pub(crate) since_ms: u64,
    /// The database's address, without a password.
    pub(crate) storage: String,
    /// Why it is not ready; none when it is.
    pub(crate) not_ready: Option<String>,
    pub(crate) workers: Vec<Process>,
    /// None when the database has no writer of ours.
    pub(crate) writer: Option<Process>,
    /// Starts of children over the program's life, and those after a crash.
    pub(crate) starts: u64,
    pub(crate) crashes: u64,
    pub(crate) requests: Requests,
    pub(crate) turns: Turns,
    /// None when the database has no writer of ours.
    pub(crate) commits: Option<Commits>,
    pub(crate) replies: Replies,
    /// None when the database does not answer.
    pub(crate) queues: Option<Waiting>,
    /// None without `--backup-dir`.
    pub(crate) backup: Option<Backup>,
    /// Name and value, without secrets.
    pub(crate) settings: Vec<(String, String)>,
    pub(crate) series: Series,
}

/// A child.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Process {
    /// `worker 0`, `writer`.
    pub(crate) name: String,
    pub(crate) state: State,
    pub(crate) pid: u64,
    pub(crate) since_ms: u64,
    /// Since it last gave a sign of life.
    pub(crate) silent_seconds: Option<f64>,
    pub(crate) in_flight: u64,
    pub(crate) connections: u64,
    pub(crate) requests: u64,
    pub(crate) turns: u64,
    /// Children that were started in its place, this one included.
    pub(crate) starts: u64,
    /// Those that ended without being asked to.
    pub(crate) crashes: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum State {
    /// It serves.
    Serving,
    /// It has not begun to accept, or does so no more.
    Idle,
    /// It gives no sign of life.
    Silent,
    /// It is dead, and no other has taken its place yet.
    Gone,
}

impl State {
    pub(crate) fn name(self) -> &'static str {
        match self {
            State::Serving => "serving",
            State::Idle => "starting or leaving",
            State::Silent => "silent",
            State::Gone => "gone",
        }
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Requests {
    pub(crate) total: u64,
    pub(crate) per_second: f64,
    pub(crate) accepted: u64,
    pub(crate) connections: u64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Turns {
    pub(crate) total: u64,
    pub(crate) failed: u64,
    pub(crate) per_second: f64,
    /// From arrival to commit, over the last minute.
    pub(crate) duration: Percentiles,
    pub(crate) in_flight: u64,
    /// Updates behind another of their dialog.
    pub(crate) waiting: u64,
    pub(crate) longest: Option<Longest>,
    /// Updates that went to the inbox, and to the dead letters.
    pub(crate) inboxed: u64,
    pub(crate) buried: u64,
}

/// Who waits, and how long so far.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Longest {
    pub(crate) dialog: String,
    pub(crate) seconds: f64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Commits {
    pub(crate) total: u64,
    pub(crate) per_second: f64,
    pub(crate) turns_per_commit: Option<f64>,
    pub(crate) syncs: u64,
    /// What commits waited for the disk, over the last minute.
    pub(crate) sync: Percentiles,
    pub(crate) slowest_sync: f64,
    pub(crate) checkpoints: u64,
    /// Bytes in the write-ahead log.
    pub(crate) wal_bytes: u64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Replies {
    pub(crate) sent: u64,
    pub(crate) sending: u64,
    pub(crate) refused: u64,
    /// How often a platform said "too many" (429).
    pub(crate) too_many: u64,
}

/// What is in the database and should not stay there; counted up to `counted`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Waiting {
    pub(crate) counted: u64,
    pub(crate) inbox: u64,
    pub(crate) outbox: u64,
    pub(crate) dead: u64,
    pub(crate) oldest_update: Option<Longest>,
    pub(crate) oldest_reply: Option<Longest>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Backup {
    pub(crate) dir: String,
    /// The newest file there, if there is any.
    pub(crate) newest: Option<String>,
    pub(crate) at_ms: Option<u64>,
}

impl Admin {
    /// How things are now.
    pub(crate) async fn status(&self) -> Status {
        let queues = self.queues.get(&self.bot.storage).await;
        let board = self.board;
        let writer = board.writer();
        let look = Look::now(board);
        let rates = self.history.rates(&look);
        let workers: Vec<Process> = board
            .workers()
            .enumerate()
            .filter(|(_, slot)| slot.get(Field::Pid) != 0)
            .map(|(index, slot)| process(format!("worker {index}"), slot, false))
            .collect();
        let writer_process = self
            .has_writer
            .then(|| process("writer".to_owned(), writer, true));
        let all = || board.workers().chain(self.has_writer.then_some(writer));
        let commits = self.has_writer.then(|| {
            let commits = writer.get(Field::Commits);
            Commits {
                total: commits,
                per_second: rates.commits,
                turns_per_commit: (commits > 0)
                    .then(|| writer.get(Field::Turns) as f64 / commits as f64),
                syncs: writer.get(Field::Syncs),
                sync: rates.sync_times,
                slowest_sync: writer.histogram().most_us() as f64 / 1e6,
                checkpoints: writer.get(Field::Checkpoints),
                wal_bytes: writer.get(Field::LogBytes),
            }
        });
        Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            updater: self.updater.to_owned(),
            now_ms: unix_ms(),
            since_ms: board.shared(Shared::Since),
            storage: self.database.clone(),
            not_ready: not_ready(&workers, writer_process.as_ref(), queues.as_ref().err()),
            starts: all().map(|slot| slot.get(Field::Lives)).sum(),
            crashes: all().map(|slot| slot.get(Field::Crashes)).sum(),
            workers,
            writer: writer_process,
            requests: Requests {
                total: board.sum(Field::Requests),
                per_second: rates.requests,
                accepted: board.sum(Field::Accepted),
                connections: board.sum(Field::Connections),
            },
            turns: Turns {
                total: board.sum(Field::Turns),
                failed: board.sum(Field::Failed),
                per_second: rates.turns,
                duration: rates.turn_times,
                in_flight: board.sum(Field::InFlight),
                waiting: writer.get(Field::Waiting),
                longest: longest(board),
                inboxed: board.sum(Field::Inboxed),
                buried: board.sum(Field::Buried),
            },
            commits,
            replies: Replies {
                sent: board.sum(Field::Replies),
                sending: board.sum(Field::Sending),
                refused: board.sum(Field::Refused),
                too_many: board.sum(Field::TooMany),
            },
            queues: queues.ok().map(waiting),
            backup: self.backup_dir.as_deref().map(newest_backup),
            settings: self.settings.clone(),
            series: self.history.series(),
        }
    }
}

fn process(name: String, slot: Slot, is_writer: bool) -> Process {
    let silent = slot.silent_for();
    let is_silent = silent.is_some_and(|ms| Duration::from_millis(ms) > SILENT);
    let state = match (slot.get(Field::Pid), silent) {
        (0, _) => State::Gone,
        _ if is_silent => State::Silent,
        (_, Some(_)) if is_writer || slot.get(Field::Accepting) == 1 => State::Serving,
        _ => State::Idle,
    };
    Process {
        name,
        state,
        pid: slot.get(Field::Pid),
        since_ms: slot.get(Field::Started),
        silent_seconds: silent.map(|ms| ms as f64 / 1000.0),
        in_flight: slot.get(Field::InFlight),
        connections: slot.get(Field::Connections),
        requests: slot.get(Field::Requests),
        turns: slot.get(Field::Turns),
        starts: slot.get(Field::Lives),
        crashes: slot.get(Field::Crashes),
    }
}

/// Why updates that come now would not be handled; none when they would.
fn not_ready(
    workers: &[Process],
    writer: Option<&Process>,
    database: Option<&String>,
) -> Option<String> {
    if let Some(writer) = writer
        && writer.state != State::Serving
    {
        return Some(format!("the writer is {}", writer.state.name()));
    }
    let serving = |worker: &Process| worker.state == State::Serving;
    if !workers.iter().any(serving) {
        return Some("no worker serves".to_owned());
    }
    database.cloned()
}

fn longest(board: Scoreboard) -> Option<Longest> {
    let waiting = board.workers().filter_map(|slot| slot.longest().get());
    let (since_us, dialog) = waiting.min_by_key(|(since, _)| *since)?;
    Some(Longest {
        dialog,
        seconds: age(since_us / 1000),
    })
}

fn waiting(queues: Queues) -> Waiting {
    let since = |(dialog, ms): (turnkey_storage::DialogKey, i64)| Longest {
        dialog: dialog.to_string(),
        seconds: age(u64::try_from(ms).unwrap_or_default()),
    };
    Waiting {
        counted: COUNTED,
        inbox: queues.inbox,
        outbox: queues.outbox,
        dead: queues.dead,
        oldest_update: queues
            .oldest_update
            .map(|(who, us)| since((who, us / 1000))),
        oldest_reply: queues.oldest_reply.map(since),
    }
}

/// Seconds since then, of milliseconds since 1970.
fn age(since_ms: u64) -> f64 {
    unix_ms().saturating_sub(since_ms) as f64 / 1000.0
}

/// The newest file of the directory whose name does not say that it is unfinished.
fn newest_backup(dir: &std::path::Path) -> Backup {
    let files = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let newest = files
        .filter_map(|file| {
            let name = file.file_name().to_string_lossy().into_owned();
            let meta = file.metadata().ok()?;
            let is_whole = meta.is_file() && name.ends_with(".db") && !name.starts_with('.');
            is_whole.then_some((meta.modified().ok()?, name))
        })
        .max();
    let ms = |at: SystemTime| {
        at.duration_since(SystemTime::UNIX_EPOCH)
            .map_or(0, |since| since.as_millis() as u64)
    };
    Backup {
        dir: dir.display().to_string(),
        at_ms: newest.as_ref().map(|(at, _)| ms(*at)),
        newest: newest.map(|(_, name)| name),
    }
}
