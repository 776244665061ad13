//! Backups that a running bot makes of its SQLite file: `--backup-dir`.
//!
//! Run by the first worker only, which starts this program's own `backup --dir` as a separate
//! process, for three reasons. SQLite's locks are POSIX locks, which a process loses on a file
//! when it closes *any* handle on it: in a worker or the writer, a copy could release the bot's
//! locks. The worker's one thread stays free for turns, and the copy has a lower priority. A
//! copy that hangs or crashes takes nobody with it.
//!
//! The process inherits none of our files, ends with the worker, and is killed after [`LIMIT`].
//! It decides, under a lock and by the names in the directory, whether a backup is due: so a
//! replaced worker neither forgets a backup nor makes two, and the schedule survives a restart.
//! Invariants: an error is logged as a warning and ends nothing; the next attempt then comes
//! sooner than the next backup would: see [`after_failure`]. Bounds: one process at a time,
//! [`LIMIT`], [`WORDS`] of its output.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::Command;
use turnkey_storage::sqlite::BackupDirectory;
use turnkey_storage::tools;

use crate::config::{BackupConfig, Config};
use crate::shared::scoreboard::{Scoreboard, Shared};
use crate::shared::taken::taken;

/// A backup that takes longer than an hour is given up.
const LIMIT: Duration = Duration::from_secs(3600);

/// Bytes of what the process says.
const WORDS: u64 = 16 << 10;

/// After a failure at the latest.
const RETRY: Duration = Duration::from_secs(300);

/// While another process makes one: the last worker's, which is about to be killed, or a
/// person's.
const BUSY: Duration = Duration::from_secs(2);

/// Between two looks at the clock, which may be set and goes on while a machine sleeps.
const LOOK: Duration = Duration::from_secs(30);

/// What became of it: the last line that the process prints with `--json`.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Outcome {
    /// The new backup; none when it was not time yet, or another process makes one.
    pub(crate) file: Option<PathBuf>,
    /// Its size.
    pub(crate) bytes: u64,
    /// Dialogs in it.
    pub(crate) dialogs: u64,
    /// When the newest was made: seconds since 1970, 0 for never.
    pub(crate) newest: u64,
    /// Another process makes one.
    pub(crate) busy: bool,
}

/// Refuses a directory that cannot be written to; makes it if there is none.
///
/// # Errors
/// With the remedy.
pub(crate) fn check(config: &Config) -> crate::StartResult<()> {
    let (Some(backup), Some(address)) = (&config.backup, &config.database) else {
        return Ok(());
    };
    let directory = tools::backups_of(address, &backup.dir)?;
    Ok(directory.check()?)
}

/// Makes a backup in a directory if the newest is older than `every`: what `backup --dir`
/// does.
///
/// # Errors
/// When it cannot be made.
pub(crate) fn make(
    directory: &BackupDirectory,
    every: Option<Duration>,
    keep: usize,
    progress: impl FnMut(u64, u64),
) -> turnkey_storage::Result<Outcome> {
    let mut outcome = Outcome {
        file: None,
        bytes: 0,
        dialogs: 0,
        newest: directory.newest()?.unwrap_or(0),
        busy: false,
    };
    let Some(lock) = directory.lock()? else {
        outcome.busy = true;
        return Ok(outcome);
    };
    // Whoever had the lock may have made one.
    outcome.newest = directory.newest()?.unwrap_or(0);
    let age = now().saturating_sub(outcome.newest);
    if every.is_some_and(|every| age < every.as_secs()) {
        return Ok(outcome);
    }
    let (file, made) = directory.make(&lock, keep, progress)?;
    outcome.newest = directory.newest()?.unwrap_or(outcome.newest);
    (outcome.bytes, outcome.dialogs) = (made.bytes, made.dialogs);
    outcome.file = Some(file);
    Ok(outcome)
}

/// Has backups made until the worker leaves.
pub(crate) async fn run(config: BackupConfig, database: PathBuf, scoreboard: Scoreboard) {
    loop {
        let outcome = match taken(scoreboard.writer()) {
            None => attempt(&config, &database).await,
            // It may be another database, and the oldest backups make room for the new.
            Some(_) => Err("the database's file was taken away".to_owned()),
        };
        let pause = match outcome {
            Ok(outcome) => {
                let at = scoreboard.word(Shared::BackupAt);
                at.store(outcome.newest * 1000, Relaxed);
                if let Some(file) = &outcome.file {
                    let (file, dialogs) = (file.display(), outcome.dialogs);
                    tracing::info!("backup {file}: {dialogs} dialogs, {} bytes", outcome.bytes);
                }
                if outcome.busy {
                    BUSY
                } else {
                    let age = Duration::from_secs(now().saturating_sub(outcome.newest));
                    let pause = config.every.saturating_sub(age);
                    tracing::debug!("the next backup is due in {} s", pause.as_secs());
                    pause
                }
            }
            Err(reason) => {
                let failures = scoreboard.word(Shared::BackupFailures);
                failures.fetch_add(1, Relaxed);
                let pause = after_failure(config.every);
                tracing::warn!(
                    "no backup in {}: {reason}; again in {} s",
                    config.dir.display(),
                    pause.as_secs()
                );
                pause
            }
        };
        sleep_by_the_clock(pause).await;
    }
}

/// A tenth of the time between two backups, 1 s at least and 5 minutes at most.
fn after_failure(every: Duration) -> Duration {
    (every / 10).clamp(Duration::from_secs(1), RETRY)
}

/// Until so much later by the wall clock; when that was set back, until now.
async fn sleep_by_the_clock(pause: Duration) {
    let begun = SystemTime::now();
    loop {
        match begun.elapsed() {
            Ok(slept) if slept < pause => {
                // Rounded up: the names count whole seconds.
                let rest = (pause - slept).max(Duration::from_millis(20));
                tokio::time::sleep(rest.min(LOOK)).await;
            }
            _ => return,
        }
    }
}

/// Starts the process and waits for it. Dropped, it kills it.
async fn attempt(config: &BackupConfig, database: &Path) -> Result<Outcome, String> {
    let mut storage = std::ffi::OsString::from("sqlite:");
    storage.push(database);
    // The program that runs, also when another was installed in its place meanwhile.
    let mut child = Command::new("/proc/self/exe")
        .arg0("turnkey: backup")
        .arg("backup")
        .arg("--storage")
        .arg(storage)
        .arg("--dir")
        .arg(&config.dir)
        .args(["--keep", &config.keep.to_string()])
        .args(["--every", &format!("{}ms", config.every.as_millis())])
        .args(["--json", "--parent", &std::process::id().to_string()])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|e| format!("cannot start a process for it: {e}"))?;
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let work = async { tokio::join!(words(stdout), words(stderr), child.wait()) };
    let Ok((said, complaint, status)) = tokio::time::timeout(LIMIT, work).await else {
        return Err(format!("it took longer than {} s", LIMIT.as_secs()));
    };
    let failed = |e: io::Error| format!("the process cannot be listened to: {e}");
    let (said, complaint, status) = (
        said.map_err(failed)?,
        complaint.map_err(failed)?,
        status.map_err(failed)?,
    );
    let last = said.lines().rfind(|line| line.starts_with('{'));
    match last.and_then(|line| serde_json::from_str(line).ok()) {
        Some(outcome) if status.success() => Ok(outcome),
        _ => {
            let last = complaint.lines().rfind(|line| !line.trim().is_empty());
            let last = last.map(|line| line.trim_start_matches("error: ").to_owned());
            Err(last.unwrap_or_else(|| format!("the process ended with {status}")))
        }
    }
}

async fn words(pipe: Option<impl AsyncRead + Unpin>) -> io::Result<String> {
    let mut text = Vec::new();
    if let Some(pipe) = pipe {
        pipe.take(WORDS).read_to_end(&mut text).await?;
    }
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// Seconds since 1970.
fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_attempt_comes_sooner_than_the_next_backup() {
        let after = |seconds| after_failure(Duration::from_secs(seconds)).as_secs();
        assert_eq!(after(1), 1);
        assert_eq!(after(60), 6);
        assert_eq!(after(3600), 300);
        assert_eq!(after(24 * 3600), 300);
    }
}
