//! All that is known of the running program, as one value: `/status.json` is its JSON, the page
//! and `/metrics` are made from it, `turnkey top` reads it back.
//!
//! Made by [`super::Admin::figures`] for each request, from the scoreboard (shared memory) and
//! the cached database queries. Holds no secret: settings are as `Config::shown` returns them.
//! Units: fields that end in `_ms` are milliseconds since 1970, durations are seconds.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, SystemTime};

use nix::sys::statvfs::statvfs;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use turnkey_storage::admin::{COUNTED, Queues};
use turnkey_storage::broadcasts::Broadcast;

use super::Admin;
use super::history::{Look, Percentiles};
use super::later::Later;
use super::problem::{Disk, More, Problem};
use super::queues::Outcome;
use super::series::Series;
use super::whose::{self, ChannelState, LogLine, Talkers};
use crate::author::message::Kind;
use crate::shared::clock::unix_ms;
use crate::shared::notable;
use crate::shared::scoreboard::{Field, Scoreboard, Shared, Slot};
use crate::shared::trends::Span;

/// A child that gave no sign of life for longer is silent: it blocks, or is stopped.
const SILENT: Duration = Duration::from_secs(4);

/// How long a writer may be away before the bot is not ready: longer than one is replaced.
const REPLACED: Duration = Duration::from_secs(1);

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Status {
    /// The bot's name.
    #[serde(default)]
    pub(crate) name: String,
    pub(crate) version: String,
    /// `webhooks` or `polling`.
    pub(crate) updater: String,
    pub(crate) now_ms: u64,
    pub(crate) since_ms: u64,
    /// The database's address, without a password.
    pub(crate) storage: String,
    /// Why it is not ready; none when it is.
    pub(crate) not_ready: Option<String>,
    /// What is wrong, the most urgent first.
    #[serde(default)]
    pub(crate) problems: Vec<Problem>,
    /// The last warnings and errors of the log, the newest first.
    #[serde(default)]
    pub(crate) log: Vec<LogLine>,
    /// Where the whole log is; none for standard error.
    #[serde(default)]
    pub(crate) log_file: Option<String>,
    #[serde(default)]
    pub(crate) channels: Vec<ChannelState>,
    /// None when the database does not answer.
    #[serde(default)]
    pub(crate) talkers: Option<Talkers>,
    /// None when the database is no file.
    #[serde(default)]
    pub(crate) disk: Option<Disk>,
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
    /// Those that run or are paused.
    #[serde(default)]
    pub(crate) broadcasts: Vec<Broadcasting>,
    /// None when the database does not answer.
    #[serde(default)]
    pub(crate) later: Option<Later>,
    /// None without `--backup-dir`.
    pub(crate) backup: Option<Backup>,
    /// None without HTTPS.
    pub(crate) certificate: Option<Ends>,
    /// Name and value, without secrets.
    pub(crate) settings: Vec<(String, String)>,
    pub(crate) series: Series,
}

/// A child.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Process {
    /// `worker 0`, `writer`.
    pub(crate) name: String,
    pub(crate) state: ProcessState,
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
pub(crate) enum ProcessState {
    /// It serves.
    Serving,
    /// It has not begun to accept, or does so no more.
    Idle,
    /// It gives no sign of life.
    Silent,
    /// It is dead, and no other has taken its place yet.
    Gone,
}

impl ProcessState {
    pub(crate) fn name(self) -> &'static str {
        match self {
            ProcessState::Serving => "serving",
            ProcessState::Idle => "starting or leaving",
            ProcessState::Silent => "silent",
            ProcessState::Gone => "gone",
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
    /// Turns since the start, by kind of update; only those that there were.
    #[serde(default)]
    pub(crate) by_kind: BTreeMap<String, u64>,
    /// Updates that the handler does not hear, by kind; only those that came.
    #[serde(default)]
    pub(crate) unheard: BTreeMap<String, u64>,
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
    /// Replies that were given up.
    #[serde(default)]
    pub(crate) buried: u64,
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
    #[serde(default)]
    pub(crate) dead_replies: u64,
    pub(crate) oldest_update: Option<Longest>,
    pub(crate) oldest_reply: Option<Longest>,
}

/// A broadcast that has not ended, and the dialogs that it was put into the inbox for, that it
/// reached, and that it could not reach.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Broadcasting {
    pub(crate) id: u64,
    /// `running` or `paused`.
    pub(crate) state: String,
    pub(crate) queued: u64,
    pub(crate) sent: u64,
    pub(crate) failed: u64,
    /// Why it was paused by itself, or what it leaves out.
    pub(crate) trouble: Option<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Backup {
    pub(crate) dir: String,
    /// When the newest was made, as this program knows.
    pub(crate) at_ms: Option<u64>,
    /// Those that could not be made.
    pub(crate) failures: u64,
}

/// The certificate that is served.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Ends {
    /// Until it ends, less than zero when it has; none before there is one.
    pub(crate) seconds: Option<f64>,
    /// Why the files that are configured are not served, but the pair before.
    #[serde(default)]
    pub(crate) problem: Option<String>,
}

impl Admin {
    /// Why it is not ready. A writer that is being replaced is waited for, as turns do.
    pub(super) async fn not_ready(&self) -> Option<String> {
        let deadline = Instant::now() + REPLACED;
        loop {
            let (status, _) = self.figures(Span::default()).await;
            let is_away =
                |writer: &Process| matches!(writer.state, ProcessState::Gone | ProcessState::Idle);
            let is_replaced = self.file.is_some() && status.writer.as_ref().is_none_or(is_away);
            if status.not_ready.is_none() || !is_replaced || Instant::now() >= deadline {
                return status.not_ready;
            }
            tokio::time::sleep(REPLACED / 50).await;
        }
    }

    /// Why the certificate that is configured is not served.
    pub(super) fn certificate_problem(&self) -> Option<String> {
        self.certificates.as_ref()?.problem()
    }

    /// How things are now, but for what is wrong, and what only that is found from.
    pub(super) async fn figures(&self, span: Span) -> (Status, More) {
        let Outcome {
            queues,
            broadcasts,
            later,
            letters,
            replies,
            is_unsynchronised,
            cannot_write,
        } = self.queues.get(&self.bot.storage).await;
        let talkers = self.queues.people(&self.bot.storage).await;
        let board = self.board;
        let writer = board.writer();
        let is_held_up = writer.get(Field::HeldUp) == 1;
        let cannot_write = cannot_write.map(|why| match is_held_up {
            true => "another program holds the write lock of the database's file".to_owned(),
            false => why,
        });
        // Whoever writes knows more of what happened to a file than a question that failed.
        let trouble = cannot_write.or_else(|| queues.as_ref().err().cloned());
        let trouble = trouble.or_else(|| self.bot.handler.trouble());
        let look = Look::now(board);
        let rates = self.history.rates(&look);
        let workers: Vec<Process> = board
            .workers()
            .enumerate()
            .filter(|(_, slot)| slot.get(Field::Pid) != 0)
            .map(|(index, slot)| process(format!("worker {index}"), slot, false))
            .collect();
        let writer_process = self
            .file
            .is_some()
            .then(|| process("writer".to_owned(), writer, true));
        let all = || board.workers().chain(self.file.is_some().then_some(writer));
        let commits = self.file.is_some().then(|| {
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
        let status = Status {
            name: self.name.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            updater: self.updater.to_owned(),
            now_ms: unix_ms(),
            since_ms: board.shared(Shared::Since),
            storage: self.database.clone(),
            not_ready: match board.shared(Shared::Others) {
                0 => not_ready(&workers, writer_process.as_ref(), trouble),
                // In an upgrade one of two programs serves, and this may be the other.
                _ => trouble,
            },
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
                by_kind: whose::by_kind(board),
                unheard: unheard(&board),
            },
            commits,
            replies: Replies {
                sent: board.sum(Field::Replies),
                sending: board.sum(Field::Sending),
                refused: board.sum(Field::Refused),
                buried: board.sum(Field::BuriedReplies),
                too_many: board.sum(Field::TooMany),
            },
            queues: queues.ok().map(waiting),
            broadcasts: broadcasts.iter().map(broadcasting).collect(),
            later: later.map(|later| Later::of(&later, board.sum(Field::LeftOut))),
            backup: self.backup_dir.clone().map(|dir| Backup {
                dir,
                at_ms: Some(board.shared(Shared::BackupAt)).filter(|at| *at > 0),
                failures: board.shared(Shared::BackupFailures),
            }),
            certificate: self.certificates.as_ref().map(|certificates| Ends {
                seconds: certificates.valid_until().map(until),
                problem: certificates.problem(),
            }),
            settings: self.settings.clone(),
            series: Series::of(span, &board.trends().points(span, &look.sample)),
            channels: self.channels(),
            talkers: talkers.as_ref().map(Talkers::of),
            problems: Vec::new(),
            log: notable::last().into_iter().map(whose::line).collect(),
            log_file: self.log_file.clone(),
            disk: self.file.as_deref().and_then(disk),
        };
        let more = More {
            letters,
            replies,
            is_unsynchronised,
        };
        (status, more)
    }
}

/// How full the disk of this file is.
fn disk(file: &Path) -> Option<Disk> {
    let about = statvfs(file).ok()?;
    // As df(1) counts: what only root can write to is no room.
    let (all, free) = (about.blocks(), about.blocks_free());
    let (used, room) = (all.saturating_sub(free), about.blocks_available());
    let used_percent = (used * 100).div_ceil((used + room).max(1));
    Some(Disk {
        used_percent,
        free: room * about.fragment_size(),
    })
}

fn process(name: String, slot: Slot, is_writer: bool) -> Process {
    let silent = slot.silent_for();
    let is_silent = silent.is_some_and(|ms| Duration::from_millis(ms) > SILENT);
    let state = match (slot.get(Field::Pid), silent) {
        (0, _) => ProcessState::Gone,
        _ if is_silent => ProcessState::Silent,
        (_, Some(_)) if is_writer || slot.get(Field::Accepting) == 1 => ProcessState::Serving,
        _ => ProcessState::Idle,
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
    database: Option<String>,
) -> Option<String> {
    if let Some(writer) = writer
        && writer.state != ProcessState::Serving
    {
        return Some(format!("the writer is {}", writer.state.name()));
    }
    let serving = |worker: &Process| worker.state == ProcessState::Serving;
    if !workers.iter().any(serving) {
        return Some("no worker serves".to_owned());
    }
    database
}

/// Updates that the handler does not hear, by kind.
fn unheard(board: &Scoreboard) -> BTreeMap<String, u64> {
    let count = |kind: Kind| -> u64 {
        let of = |slot: Slot| slot.unheard().get(kind as usize);
        board.workers().map(of).sum()
    };
    let counted = Kind::ALL
        .into_iter()
        .map(|kind| (kind.name().to_owned(), count(kind)));
    counted.filter(|(_, count)| *count > 0).collect()
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
        dead_replies: queues.dead_replies,
        oldest_update: queues
            .oldest_update
            .map(|(who, us)| since((who, us / 1000))),
        oldest_reply: queues.oldest_reply.map(since),
    }
}

fn broadcasting(broadcast: &Broadcast) -> Broadcasting {
    Broadcasting {
        id: broadcast.id,
        state: broadcast.state.name().to_owned(),
        queued: broadcast.queued,
        sent: broadcast.sent,
        failed: broadcast.failed,
        trouble: broadcast.trouble.clone(),
    }
}

/// Seconds until then.
fn until(end: SystemTime) -> f64 {
    match end.duration_since(SystemTime::now()) {
        Ok(rest) => rest.as_secs_f64(),
        Err(over) => -over.duration().as_secs_f64(),
    }
}

/// Seconds since then, of milliseconds since 1970.
fn age(since_ms: u64) -> f64 {
    unix_ms().saturating_sub(since_ms) as f64 / 1000.0
}
