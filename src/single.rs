//! `--single-process`: one worker, and the writer, if any, as a thread, for debugging.
//!
//! Called by `cli/run.rs`. The same code as with workers, without a master: what
//! the master does for a child (replace it, kill it when it hangs) nobody does
//! here, save that a writer that ends is started again.

use std::io::Write;
use std::net::TcpListener;
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::ExitCode;
use std::sync::OnceLock;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use turnkey_storage::Owner;
use turnkey_storage::sqlite::{self, Files};

use crate::app::Author;
use crate::channels::check_names;
use crate::config::Config;
use crate::database::{self, Database};
use crate::error::Error;
use crate::master::listeners;
use crate::notices::{self, say};
use crate::scoreboard::{Scoreboard, Slot};
use crate::worker::{Worker, either, terminated};
use crate::{exit, writer};

/// Before a writer that ended is started again.
const RESTART: Duration = Duration::from_millis(100);

/// Writers that end young, one after another, before the program gives up.
const HOPELESS: u32 = 12;

/// A writer that ends sooner may be one that cannot live.
const SHORT_LIFE: Duration = Duration::from_secs(10);

static WORDS: OnceLock<Vec<AtomicU64>> = OnceLock::new();

/// Runs until it is stopped.
///
/// # Errors
/// [`Error::Start`] when it cannot start.
pub(crate) fn run(config: &Config, author: Author) -> crate::Result<ExitCode> {
    check_names(&author.channels)?;
    let own: Vec<String> = author.channels.iter().map(|c| c.0.clone()).collect();
    let listeners = listeners::open(config)?;
    let database = Database::take(config)?;
    database.prepare(&author.migrations)?;
    let writer_listener = database.bind()?;
    let needs_writer = writer_listener.as_ref().zip(database.files());
    let words = WORDS.get_or_init(|| {
        let zero = || AtomicU64::new(0);
        std::iter::repeat_with(zero)
            .take(Scoreboard::words(1))
            .collect()
    });
    let scoreboard = Scoreboard::new(words);
    let (lifeline, stop) = UnixStream::pair()?;
    let owner = sqlite::random_owner().map_err(database::start_error)?;
    let door = listeners
        .iter()
        .map(TcpListener::try_clone)
        .collect::<Result<Vec<_>, _>>()?;
    let port = listeners.first().map(TcpListener::local_addr).transpose()?;
    std::thread::scope(|scope| {
        let writer = std::thread::Builder::new()
            .name("writer".to_owned())
            .spawn_scoped(scope, || match needs_writer {
                Some((listener, files)) => keep_writing(
                    &database,
                    files,
                    listener,
                    owner,
                    scoreboard.writer(),
                    &stop,
                ),
                None => Ok(()),
            })?;
        let worker = Worker {
            index: 0,
            owner,
            config,
            author,
            database: &database,
            listeners,
            scoreboard,
        };
        let served = worker.run(
            || notices::announce(config, &own, port, "single process", &database),
            async || {
                asked_to_stop().await;
                listeners::refuse_newcomers(&door);
                drop(door);
                say!("Stopping. Press Ctrl-C again to force.");
                let grace = config.grace;
                let files = database.files().cloned();
                tokio::task::spawn_local(async move {
                    let code = tokio::select! {
                        () = interrupted() => exit::INTERRUPTED,
                        () = tokio::time::sleep(grace) => exit::CUT,
                    };
                    // What is not committed did not happen.
                    drop(files.map(|files| files.remove_socket()));
                    std::process::exit(code.into());
                });
            },
        );
        // Closing the line stops the writer.
        drop(lifeline);
        let written = writer
            .join()
            .unwrap_or_else(|_| Err(Error::Start("the writer panicked".to_owned())));
        database.leave();
        served?;
        written?;
        say!(
            "Stopped: {}.",
            notices::totals(scoreboard, needs_writer.is_some())
        );
        Ok(ExitCode::from(exit::CLEAN))
    })
}

/// Runs writers, one after another, until one ends as asked.
fn keep_writing(
    database: &Database,
    files: &Files,
    listener: &UnixListener,
    owner: Owner,
    slot: Slot,
    stop: &UnixStream,
) -> crate::Result<()> {
    let mut expected = Vec::new();
    let mut in_a_row = 0;
    while in_a_row < HOPELESS {
        slot.start_life();
        let started = Instant::now();
        let listener = listener.try_clone()?;
        match writer::run(files, database.sync, listener, expected, slot, stop, || {}) {
            Ok(()) => return Ok(()),
            Err(turnkey_storage::Error::Undone(reason)) => {
                tracing::warn!("the writer starts over: {reason}");
                in_a_row = 0;
            }
            Err(error) => {
                tracing::error!("the writer ended, starting another: {error}");
                in_a_row = if started.elapsed() < SHORT_LIFE {
                    in_a_row + 1
                } else {
                    1
                };
                std::thread::sleep(RESTART);
            }
        }
        expected = vec![owner];
    }
    say!("error: the writer ended {HOPELESS} times in a row: giving up");
    database.leave();
    // Turns cannot be committed any more; what was acknowledged is safe.
    std::process::exit(exit::CRASH_LOOP.into());
}

async fn asked_to_stop() {
    either(interrupted(), terminated()).await;
}

async fn interrupted() {
    if let Err(error) = tokio::signal::ctrl_c().await {
        let mut stderr = std::io::stderr();
        drop(writeln!(stderr, "cannot listen for Ctrl-C: {error}"));
        std::future::pending::<()>().await;
    }
}
