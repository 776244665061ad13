//! What `upgrade`, `reload` and `stop` share: finding a running bot, and waiting until it
//! has obeyed.
//!
//! The master's process id is in the lock file (`process/lock_note.rs`). It is signalled only
//! if it holds that file: by now the id may belong to another process, or to another container.
//! With `--pid` there is no such line, so only what `/proc` shows of processes is checked, and
//! where it hides them, whether they are there. `upgrade` and `reload` leave a process alone that
//! their signal would kill, because it has no handler for it. Bounds: `--timeout`, [`LOOK`],
//! [`NO_CHILD`].

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use clap::Args;
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use turnkey_storage::sqlite::Files;

use super::storage;
use crate::config;
use crate::process::lock_note::LockNote;

/// Between two looks.
const LOOK: Duration = Duration::from_millis(10);

/// How long a process named by --pid has to start another one.
const NO_CHILD: Duration = Duration::from_secs(5);

#[derive(Args)]
pub(super) struct Which {
    /// The database of the running bot, such as sqlite:bot.db.
    #[arg(
        long,
        env = "TURNKEY_STORAGE",
        hide_env_values = true,
        value_name = "URL",
        required_unless_present = "pid"
    )]
    storage: Option<String>,

    /// The bot's first process. Needed where the database is no SQLite file: there is no
    /// lock file to find it by.
    #[arg(long, value_name = "PID", value_parser = clap::value_parser!(i32).range(1..))]
    pid: Option<i32>,

    /// How long to wait for it, such as 60s.
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = config::duration)]
    pub(super) timeout: Duration,

    /// Print the result as JSON.
    #[arg(long)]
    pub(super) json: bool,
}

/// A running bot.
pub(super) struct Target {
    pub(super) pid: i32,
    /// What it left in the lock file, and where that is.
    noted: Option<(Files, LockNote)>,
}

/// How it went on.
pub(super) enum Went {
    /// Well; the process that serves now.
    Well(i32),
    /// Not, and why.
    Badly(String),
}

impl Which {
    /// Finds the bot.
    pub(super) fn find(&self) -> anyhow::Result<Target> {
        if let Some(pid) = self.pid {
            if !is_there(pid) {
                bail!("there is no process {pid}; name the bot's first one with --pid");
            }
            return Ok(Target { pid, noted: None });
        }
        let address = storage::address(self.storage.as_deref().unwrap_or_default())?;
        let Some(path) = address.file() else {
            bail!(
                "{address} has no lock file to find the bot by; name its first process with --pid"
            );
        };
        let files = Files::of(path);
        let Some(line) = files.note()? else {
            bail!("no bot uses {address}; start it with `run`");
        };
        let running: LockNote = serde_json::from_str(&line).map_err(|_| {
            anyhow::anyhow!(
                "{address} is in use, but not by a bot that says which process it is: a command works on it, or an older version; name the bot's first process with --pid"
            )
        })?;
        if !holds(running.pid, &files.lock) {
            bail!(
                "{address} is in use, but process {} is not the bot's (any more): it was killed and its workers still finish, or it runs in another container, or its files may only be looked at by root (--user): run this as root, or name its first process with --pid",
                running.pid
            );
        }
        Ok(Target {
            pid: running.pid,
            noted: Some((files, running)),
        })
    }
}

impl Target {
    /// Sends a signal that only a master waits for.
    pub(super) fn ask_master(&self, signal: Signal, what: &str) -> anyhow::Result<()> {
        if !waits_for(self.pid, signal) {
            bail!(
                "process {} takes no {what}: it runs with --single-process, does not serve yet, or is no bot; stop it and start it anew",
                self.pid
            );
        }
        self.send(signal)
    }

    pub(super) fn send(&self, signal: Signal) -> anyhow::Result<()> {
        kill(Pid::from_raw(self.pid), signal)
            .with_context(|| format!("cannot send {signal} to process {}", self.pid))
    }

    /// Whether it leaves word of how a reload went.
    pub(super) fn leaves_word(&self) -> bool {
        self.noted.is_some()
    }

    /// Waits until another program serves.
    pub(super) fn wait_for_successor(&self, limit: Duration) -> anyhow::Result<Went> {
        match &self.noted {
            Some((files, before)) => wait_for_note(files, limit, |now| {
                if now.failures > before.failures && now.pid == before.pid {
                    Some(Went::Badly(now.why.clone()))
                } else {
                    (now.pid != before.pid && now.serves).then_some(Went::Well(now.pid))
                }
            }),
            None => wait_for_child(self.pid, limit),
        }
    }

    /// Waits until the settings were read again.
    pub(super) fn wait_for_reload(&self, limit: Duration) -> anyhow::Result<Went> {
        let Some((files, before)) = &self.noted else {
            return Ok(Went::Well(self.pid));
        };
        wait_for_note(files, limit, |now| {
            if now.failures > before.failures {
                Some(Went::Badly(now.why.clone()))
            } else {
                (now.reloads > before.reloads).then_some(Went::Well(now.pid))
            }
        })
    }

    /// Waits until nothing of it is left.
    pub(super) fn wait_for_end(&self, limit: Duration) -> anyhow::Result<Went> {
        let deadline = Instant::now() + limit;
        loop {
            let is_over = match &self.noted {
                Some((files, _)) => !files.is_served()?,
                None => !is_there(self.pid),
            };
            if is_over {
                return Ok(Went::Well(self.pid));
            }
            if Instant::now() >= deadline {
                return Ok(late(limit));
            }
            std::thread::sleep(LOOK);
        }
    }
}

fn late(limit: Duration) -> Went {
    Went::Badly(format!(
        "it took longer than {} s (--timeout), and may still go on; the bot's log says more",
        limit.as_secs_f32()
    ))
}

fn wait_for_note(
    files: &Files,
    limit: Duration,
    mut judge: impl FnMut(&LockNote) -> Option<Went>,
) -> anyhow::Result<Went> {
    let deadline = Instant::now() + limit;
    loop {
        let Some(line) = files.note()? else {
            return Ok(Went::Badly(
                "the bot has ended; its log says why".to_owned(),
            ));
        };
        // It may be about to be written.
        if let Ok(now) = serde_json::from_str(&line)
            && let Some(went) = judge(&now)
        {
            return Ok(went);
        }
        if Instant::now() >= deadline {
            return Ok(late(limit));
        }
        std::thread::sleep(LOOK);
    }
}

/// A new program is the old one's child until the old one has left.
fn wait_for_child(pid: i32, limit: Duration) -> anyhow::Result<Went> {
    let begun = Instant::now();
    let mut child = None;
    loop {
        child = child.or_else(|| successor(pid));
        match child {
            Some(child) if !is_there(pid) => {
                return Ok(if is_there(child) {
                    Went::Well(child)
                } else {
                    Went::Badly("both programs have ended; the log says why".to_owned())
                });
            }
            Some(child) if !is_there(child) => {
                return Ok(Went::Badly(format!(
                    "the new program (process {child}) has ended, process {pid} goes on; its log says why"
                )));
            }
            None if !is_there(pid) => {
                return Ok(Went::Badly(
                    "the bot has ended; its log says why".to_owned(),
                ));
            }
            None if begun.elapsed() > NO_CHILD => {
                return Ok(Went::Badly(format!(
                    "process {pid} has started no new program, or it ended at once; its log says why"
                )));
            }
            _ => {}
        }
        if begun.elapsed() >= limit {
            return Ok(late(limit));
        }
        std::thread::sleep(LOOK);
    }
}

/// The child of a master that is none of its own workers: those have titles.
fn successor(master: i32) -> Option<i32> {
    let pids = fs::read_dir("/proc").ok()?;
    pids.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .find(|pid| {
            let is_child =
                stat(*pid).is_some_and(|(state, parent)| parent == master && state != "Z");
            let title = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let same_name = fs::read(format!("/proc/{master}/comm")).ok()
                == fs::read(format!("/proc/{pid}/comm")).ok();
            is_child && same_name && !title.starts_with(b"turnkey: ")
        })
}

/// State and parent of a process, of proc(5)'s stat.
fn stat(pid: i32) -> Option<(String, i32)> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name is in parentheses and may hold spaces.
    let mut fields = text[text.rfind(')')? + 1..].split_whitespace();
    Some((fields.next()?.to_owned(), fields.next()?.parse().ok()?))
}

/// It lives: a process that has ended and was not buried does not. systemd hides processes
/// of another user namespace (`ProtectProc=invisible`), and gives each command of a unit a
/// namespace of its own (`PrivateUsers=yes`): then the answer to an empty signal tells.
fn is_there(pid: i32) -> bool {
    match stat(pid) {
        Some((state, _)) => state != "Z",
        None => kill(Pid::from_raw(pid), None) != Err(Errno::ESRCH),
    }
}

/// Whether a process has a file open.
fn holds(pid: i32, file: &Path) -> bool {
    let Ok(wanted) = fs::metadata(file) else {
        return false;
    };
    let Ok(open) = fs::read_dir(format!("/proc/{pid}/fd")) else {
        return false;
    };
    open.filter_map(|entry| fs::metadata(entry.ok()?.path()).ok())
        .any(|open| open.dev() == wanted.dev() && open.ino() == wanted.ino())
}

/// Whether a process blocks a signal, as a master does that reads them from a file.
fn waits_for(pid: i32, signal: Signal) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let blocked = status.lines().find_map(|line| line.strip_prefix("SigBlk:"));
    blocked
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .is_some_and(|mask| mask & (1 << (signal as u64 - 1)) != 0)
}
