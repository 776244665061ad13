//! The steps that every start shares, with a master and without: sockets, the database, root's
//! rights, certificates, the log process, the first lines.
//!
//! Called by `process/master/start.rs` and `process/single.rs`, in the order of this file.
//! Invariants: the database's lock is taken before the sockets, and both before a program
//! started as root gives up root's rights; the database is opened only after that; no thread is
//! started.

use std::net::SocketAddr;
use std::sync::atomic::AtomicU64;

use turnkey_storage::{Database, clock};

use crate::author::every::Declared;
use crate::author::start_error::StartError;
use crate::channels::{check_channels, check_names};
use crate::config::{Config, Tls};
use crate::handlers::Author;
use crate::net::acme;
use crate::net::listener::{Listener, Purpose};
use crate::net::tls;
use crate::operator::backup;
use crate::operator::banner;
use crate::process::database;
use crate::process::lock_note::LockNote;
use crate::process::logfile::LogProcess;
use crate::process::{pages, privileges, signals, sockets};
use crate::shared::lines::say;
use crate::shared::scoreboard::{Scoreboard, Shared};

/// What is there before the program does anything.
pub(crate) struct Found {
    pub(crate) listeners: Vec<Listener>,
    /// They outlive this program: the init system has them, too.
    pub(crate) sockets_stay: bool,
    /// That of the program which this one takes over from.
    pub(crate) database: Option<Database>,
}

impl Found {
    /// What the init system gives, if there is one that gives something.
    ///
    /// # Errors
    /// As [`sockets::given`].
    pub(crate) fn at_an_ordinary_start() -> crate::StartResult<Self> {
        let listeners = sockets::given()?;
        Ok(Found {
            sockets_stay: !listeners.is_empty(),
            listeners,
            database: None,
        })
    }
}

/// What a program has to itself before it forks or starts a thread.
pub(crate) struct Claimed {
    pub(crate) listeners: Vec<Listener>,
    pub(crate) sockets_stay: bool,
    /// Locked, and not opened yet.
    pub(crate) database: Database,
    pub(crate) log_process: LogProcess,
}

/// The very first: what is wrong with the author's program, and a Ctrl-C ends it.
///
/// # Errors
/// Two channels have one name, a schedule is none; what the system says.
pub(crate) fn begin(author: &Author) -> crate::StartResult<()> {
    pages::only_small();
    check_names(&author.channels)?;
    check_channels(author.overlap.channels(), &author.channels)?;
    Declared::read_all(&author.every).map_err(StartError::Refused)?;
    signals::before_the_start()
}

/// Takes what the bot needs for itself, and then has the rights that it keeps.
///
/// # Errors
/// With the remedy: what is taken, not there, not allowed or of no use.
pub(crate) fn claim(config: &Config, found: Found) -> crate::StartResult<Claimed> {
    let Found {
        mut listeners,
        sockets_stay,
        database,
    } = found;
    let is_taken_over = database.is_some();
    // Before the sockets: the children of a master that was killed finish within a few
    // seconds, and hold both.
    let database = match database {
        None if config.database.is_some() => Some(privileges::lent(config, || {
            privileges::must_reach(config)?;
            database::take(config)
        })??),
        found => found,
    };
    sockets::open(config, &mut listeners)?;
    privileges::give_up(config)?;
    let log_process = LogProcess::start()?;
    // A new one in the temporary directory is made by the user that the bot has become.
    let database = match database {
        Some(database) => database,
        None => database::take(config)?,
    };
    backup::check(config)?;
    if !is_taken_over {
        database::note(&database, &LockNote::this());
    }
    let beside = database
        .files()
        .map(|files| tls::kept::beside(&files.database));
    if let Some(beside) = &beside
        && !matches!(config.tls, Some(Tls::Files { .. }))
    {
        tls::kept::forget(beside);
    }
    if let Some(tls) = &config.tls {
        tls::check(tls, beside.as_deref())?;
        if let Tls::Acme(acme) = tls {
            acme::check(acme)?;
        }
    }
    Ok(Claimed {
        listeners,
        sockets_stay,
        database,
        log_process,
    })
}

/// Tries the author's handler out, then creates or migrates the database. It is opened and
/// closed again.
///
/// # Errors
/// The handler's, and the storage's.
pub(crate) fn prepare(
    config: &Config,
    database: &Database,
    author: &Author,
) -> crate::StartResult<()> {
    author.try_out(config)?;
    let kept = database.prepare(&author.migrations)?;
    banner::kept(kept.as_deref());
    Ok(())
}

/// The scoreboard in these words, which are zero; the clock of all processes is in it.
pub(crate) fn scoreboard(words: &'static [AtomicU64]) -> Scoreboard {
    let scoreboard = Scoreboard::new(words);
    clock::share([Shared::ClockOurs, Shared::ClockWall].map(|word| scoreboard.word(word)));
    scoreboard
}

/// What the first lines of a bot that serves tell.
pub(crate) struct Served {
    /// The names of the author's channels.
    own_channels: Vec<String>,
    /// The public's address and the operators'; none for a file.
    bound: (Option<SocketAddr>, Option<SocketAddr>),
}

impl Served {
    pub(crate) fn of(author: &Author, listeners: &[Listener]) -> Self {
        let bound = |purpose| {
            let mut all = listeners.iter();
            all.find(|listener| listener.purpose == purpose)
                .and_then(Listener::local_addr)
        };
        let names = author.channels.iter().map(|(name, _)| name.clone());
        Served {
            own_channels: names.collect(),
            bound: (bound(Purpose::Public), bound(Purpose::Admin)),
        }
    }

    /// Says that the bot serves, and by how many processes.
    pub(crate) fn announce(&self, config: &Config, processes: &str, database: &Database) {
        banner::announce(config, &self.own_channels, self.bound, processes, database);
        if let Some(remark) = privileges::remark(config) {
            say!("{remark}");
        }
    }
}
