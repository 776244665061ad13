//! `--single-process`: one worker, and the writer, if any, as a thread, for debugging.
//!
//! Called by `cli/run.rs`. The same code as with workers, without a master: what
//! the master does for a child (replace it, kill it when it hangs) nobody does
//! here, save that a writer that ends is started again.

use std::future::{Future, poll_fn};
use std::os::unix::net::{UnixListener, UnixStream};
use std::pin::pin;
use std::process::ExitCode;
use std::sync::OnceLock;
use std::sync::atomic::AtomicU64;
use std::task::Poll;
use std::time::{Duration, Instant};

use nix::sys::signal::{SigSet, Signal};
use tokio::signal::unix::{SignalKind, signal};
use turnkey_storage::sqlite::{self, Files};
use turnkey_storage::{Owner, clock};

use crate::author::error::Error;
use crate::channels::check_names;
use crate::config::{Config, Tls};
use crate::handlers::Author;
use crate::net::acme;
use crate::net::listener::{Listener, Purpose};
use crate::net::tls;
use crate::operator::backup;
use crate::operator::banner::{self, Cut};
use crate::process::database;
use crate::process::exit::{self, LAST_LINES};
use crate::process::lock_note::Running;
use crate::process::logfile::Pump;
use crate::process::privileges;
use crate::process::writer;
use crate::process::{signals, sockets};
use crate::shared::lines;
use crate::shared::lines::say;
use crate::shared::numbers::counted;
use crate::shared::scoreboard::{Field, Scoreboard, Shared, Slot};
use crate::worker::{Leave, Requests, Worker};
use turnkey_storage::Database;

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
    signals::before_the_start()?;
    let own: Vec<String> = author.channels.iter().map(|c| c.0.clone()).collect();
    let mut listeners = sockets::given()?;
    let sockets_stay = !listeners.is_empty();
    sockets::open(config, &mut listeners)?;
    privileges::give_up(config)?;
    // Dropped last: the last lines are written then.
    let _pump = Pump::start()?;
    let database = database::take(config)?;
    backup::check(config)?;
    database::note(&database, &Running::this());
    if let Some(tls) = &config.tls {
        tls::check(tls)?;
        if let Tls::Acme(acme) = tls {
            acme::check(acme)?;
        }
    }
    banner::kept(
        database
            .prepare(&author.migrations)
            .map_err(Error::start)?
            .as_deref(),
    );
    database.remember_file().map_err(Error::start)?;
    // From here on there is something to clean up: a signal waits until the worker
    // listens for it. Threads inherit this.
    let held = signals::hold(&[
        Signal::SIGINT,
        Signal::SIGTERM,
        Signal::SIGHUP,
        Signal::SIGQUIT,
    ])?;
    let writer_listener = database.bind().map_err(Error::start)?;
    let needs_writer = writer_listener.as_ref().zip(database.files());
    let words = WORDS.get_or_init(|| {
        let zero = || AtomicU64::new(0);
        std::iter::repeat_with(zero)
            .take(Scoreboard::words(1))
            .collect()
    });
    let scoreboard = Scoreboard::new(words);
    scoreboard.open(0);
    let tickets = tls::Tickets::new()?;
    clock::share([Shared::ClockOurs, Shared::ClockWall].map(|word| scoreboard.word(word)));
    let (lifeline, stop) = UnixStream::pair()?;
    let owner = sqlite::random_owner().map_err(Error::start)?;
    let operators = listeners
        .iter()
        .filter(|listener| listener.purpose == Purpose::Admin)
        .map(Listener::try_clone)
        .collect::<Result<Vec<_>, _>>()?;
    let door = listeners
        .iter()
        .map(Listener::try_clone)
        .collect::<Result<Vec<_>, _>>()?;
    let bound = |purpose| {
        let mut all = listeners.iter();
        all.find(|listener| listener.purpose == purpose)
            .and_then(Listener::local_addr)
    };
    let bound = (bound(Purpose::Public), bound(Purpose::Admin));
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
        let requests = Requests::default();
        let in_hand = requests.clone();
        let asked = OnceLock::new();
        let worker = Worker {
            is_first: true,
            slot: 0,
            owner,
            config,
            database: &database,
            listeners,
            scoreboard,
            requests,
            tickets,
        };
        let served = worker.run(
            author,
            || {
                banner::announce(config, &own, bound, "single process", &database);
                if let Some(remark) = privileges::remark() {
                    say!("{remark}");
                }
            },
            async || {
                let forced = asked_to_stop(&held).await;
                let since = *asked.get_or_init(Instant::now);
                let files = database.files().cloned();
                let has_writer = needs_writer.is_some();
                let end = move |code: u8| -> ! {
                    // What is not committed did not happen.
                    drop(files.map(|files| files.remove_socket()));
                    let list = in_hand.list();
                    let mut lines = list.lines().map(str::to_owned);
                    let requests = lines.next().and_then(|count| count.parse().ok());
                    let cut = Cut {
                        count: scoreboard.sum(Field::InFlight).max(requests.unwrap_or(0)),
                        names: lines.collect(),
                    };
                    banner::goodbye(scoreboard, has_writer, &cut, since.elapsed());
                    lines::finish(LAST_LINES);
                    std::process::exit(code.into())
                };
                if forced {
                    end(exit::QUIT);
                }
                let turns = counted(scoreboard.sum(Field::InFlight), "turn");
                let grace = config.grace;
                say!(
                    "Stopping: {turns} in flight, at most {} s. Press Ctrl-C again to force.",
                    grace.as_secs_f32()
                );
                if !sockets_stay {
                    sockets::refuse_newcomers(&door);
                }
                drop(door);
                tokio::task::spawn_local(async move {
                    let code = tokio::select! {
                        () = arrives(SignalKind::interrupt()) => exit::INTERRUPTED,
                        () = arrives(SignalKind::quit()) => exit::QUIT,
                        () = tokio::time::sleep(grace) => exit::CUT,
                    };
                    end(code);
                });
                Leave::Stop
            },
        );
        // Closing the line stops the writer.
        drop(lifeline);
        let written = writer
            .join()
            .unwrap_or_else(|_| Err(Error::Start("the writer panicked".to_owned())));
        sockets::remove_admin(&operators);
        database.leave();
        served?;
        written?;
        let took = asked.get().map_or(Duration::ZERO, Instant::elapsed);
        let nothing = Cut::default();
        banner::goodbye(scoreboard, needs_writer.is_some(), &nothing, took);
        let is_lost = banner::is_lost(scoreboard);
        Ok(ExitCode::from(if is_lost {
            exit::CUT
        } else {
            exit::CLEAN
        }))
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
        let file = database.file();
        let sync = database.sync;
        match writer::run((files, file), sync, listener, expected, slot, stop, || {}) {
            Ok(()) => return Ok(()),
            Err(turnkey_storage::Error::Undone(reason)) => {
                tracing::warn!("the writer starts over: {reason}");
                in_a_row = 0;
            }
            Err(error) => {
                slot.add(Field::Crashes, 1);
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
    lines::finish(LAST_LINES);
    // Turns cannot be committed any more; what was acknowledged is safe.
    std::process::exit(exit::CRASH_LOOP.into());
}

/// Resolves when the program is to stop; true when at once. Nothing is re-read here, so
/// SIGHUP can only mean that the terminal was closed.
async fn asked_to_stop(held: &SigSet) -> bool {
    let asked = async {
        tokio::select! {
            () = reopen_log() => false,
            () = arrives(SignalKind::interrupt()) => false,
            () = arrives(SignalKind::terminate()) => false,
            () = arrives(SignalKind::hangup()) => false,
            () = arrives(SignalKind::quit()) => true,
        }
    };
    let mut asked = pin!(asked);
    // The first poll installs the handlers.
    if let Poll::Ready(forced) = poll_fn(|cx| Poll::Ready(asked.as_mut().poll(cx))).await {
        return forced;
    }
    if let Err(error) = held.thread_unblock() {
        tracing::error!("cannot take in signals: {error}");
    }
    asked.await
}

/// On each SIGUSR1; it never ends.
async fn reopen_log() {
    loop {
        arrives(SignalKind::user_defined1()).await;
        lines::reopen();
    }
}

async fn arrives(kind: SignalKind) {
    match signal(kind) {
        Ok(mut signal) => {
            signal.recv().await;
        }
        Err(error) => {
            tracing::warn!("cannot listen for a signal: {error}");
            std::future::pending().await
        }
    }
}
