//! Everything before the master's loop: what is claimed, prepared and opened, in order.
//!
//! Called by [`run`](super::run). The steps shared with `--single-process` are in
//! `process/startup.rs`. Invariant: the database is not opened here but in a short-lived child
//! (`prepare.rs`), so nothing of it crosses a fork.

use std::time::Instant;

use super::child::{Place, Role};
use super::given;
use super::predecessor::Predecessor;
use super::prepare::{self, Prepared};
use super::program::Program;
use super::reload::Rolling;
use super::terminal::Terminal;
use super::upgrade::Alive;
use super::watch::Watch;
use super::{Master, Phase, Reread, SLOTS};
use crate::config::Config;
use crate::handlers::Author;
use crate::net::tls;
use crate::operator::banner::Cut;
use crate::process::exit;
use crate::process::lock_note::LockNote;
use crate::process::startup::{self, Claimed, Found, Served};
use crate::process::{signals, sys};
use crate::shared::clock::unix_ms;
use crate::shared::lines::say;
use crate::shared::scoreboard::{Scoreboard, Shared};

/// How it went.
pub(super) enum Started {
    Master(Box<Master>),
    /// It said why; the exit code.
    Ended(u8),
}

/// Does all that comes before the first child that stays.
///
/// # Errors
/// With the remedy.
pub(super) fn start(
    config: Config,
    reread: Reread,
    author: Author,
    workers: usize,
) -> crate::StartResult<Started> {
    let brought = given::brought();
    startup::begin(&author)?;
    let program = Program::this();
    let mut predecessor = Predecessor::find()?;
    let found = match &mut predecessor {
        Some(before) => before.leave(&config)?,
        None => Found::at_an_ordinary_start()?,
    };
    let Claimed {
        listeners,
        sockets_stay,
        database,
        log_process,
    } = startup::claim(&config, found)?;
    if config.user.is_some()
        && let Err(error) = reread()
    {
        tracing::warn!("SIGHUP will not be able to read the settings again: {error}");
    }
    let signals = signals::watch()?;
    match prepare::prepare(&config, &database, &author, &signals, &mut predecessor)? {
        Prepared::Done => {}
        Prepared::Failed(code) => return Ok(Started::Ended(code)),
        Prepared::Stopped => {
            say!("Stopped before it served.");
            return Ok(Started::Ended(exit::CLEAN));
        }
    }
    database.remember_file()?;
    let writer_listener = match &mut predecessor {
        Some(before) => before.take_writer_listener()?,
        None => database.bind()?,
    };
    Ok(Started::Master(Box::new(Master {
        scoreboard: scoreboard(predecessor.is_some())?,
        places: places(writer_listener.is_some(), workers),
        served: Served::of(&author, &listeners),
        config,
        reread,
        author: Some(author),
        brought,
        database,
        listeners,
        sockets_stay,
        writer_listener,
        alive: Alive::new()?,
        signals,
        terminal: Terminal::find(),
        log_process,
        program,
        children: Vec::new(),
        expected: Vec::new(),
        phase: Phase::Starting,
        rolling: Rolling::default(),
        upgrade: None,
        predecessor,
        watch: Watch::new(),
        lock_note: LockNote::this(),
        tickets: tls::Tickets::new()?,
        next_owner: first_owner(),
        stop_asked: None,
        told: Instant::now(),
        started: Instant::now(),
        code: exit::CLEAN,
        cut: Cut::default(),
    })))
}

/// What the processes share.
fn scoreboard(is_upgrade: bool) -> crate::StartResult<Scoreboard> {
    let words = sys::shared_words(Scoreboard::words(SLOTS))?;
    let scoreboard = startup::scoreboard(words);
    scoreboard.share(Shared::Others, is_upgrade.into());
    // An upgrade goes on with what has worked: it is no start that a person watches.
    scoreboard.share(Shared::TelegramWorked, is_upgrade.into());
    scoreboard.share(Shared::VkWorked, is_upgrade.into());
    Ok(scoreboard)
}

/// The writer's comes first: workers need it.
fn places(has_writer: bool, workers: usize) -> Vec<Place> {
    let writer = has_writer.then(|| Place::new(Role::Writer));
    let workers = (0..workers).map(|index| Place::new(Role::Worker(index)));
    writer.into_iter().chain(workers).collect()
}

/// Numbers of lives never repeat, not even across restarts of the program.
fn first_owner() -> u64 {
    let ms = unix_ms();
    // 41 bits of milliseconds, 22 for the lives of a run: within an i64.
    (ms << 22) | 1
}
