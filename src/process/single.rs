//! `--single-process`: one worker, and the writer, if any, as a thread, for debugging.
//!
//! Called by `cli/run.rs`. The same code as with workers, but no master: nobody replaces the
//! worker or kills it when it hangs. Only a writer that ends is started again.

use std::cell::OnceCell;
use std::future::{Future, poll_fn};
use std::os::unix::net::{UnixListener, UnixStream};
use std::pin::pin;
use std::process::ExitCode;
use std::rc::Rc;
use std::sync::OnceLock;
use std::sync::atomic::AtomicU64;
use std::task::Poll;
use std::time::{Duration, Instant};

use nix::sys::signal::{SigSet, Signal};
use tokio::signal::unix::{SignalKind, signal};
use turnkey_storage::sqlite::{self, Files};
use turnkey_storage::{Database, Owner};

use crate::author::start_error::StartError;
use crate::config::Config;
use crate::handlers::Author;
use crate::net::listener::{Listener, Purpose};
use crate::net::tls;
use crate::operator::banner::{self, Cut};
use crate::process::exit::{self, LAST_LINES};
use crate::process::startup::{self, Claimed, Found, Served};
use crate::process::{signals, sockets, writer};
use crate::shared::lines;
use crate::shared::lines::say;
use crate::shared::scoreboard::{Field, Scoreboard, Slot};
use crate::worker::{Leave, Requests, Worker};
use turnkey_text::numbers::counted;

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
/// It cannot start.
pub(crate) fn run(config: &Config, author: Author) -> crate::StartResult<ExitCode> {
    startup::begin(&author)?;
    let Claimed {
        // Named first, so dropped last: the last lines are written then.
        log_process: _last,
        listeners,
        sockets_stay,
        database,
    } = startup::claim(config, Found::at_an_ordinary_start()?)?;
    startup::prepare(config, &database, &author)?;
    database.remember_file()?;
    // From here on there is something to clean up: a signal waits until the worker
    // listens for it. Threads inherit this.
    let held = signals::hold(&[
        Signal::SIGINT,
        Signal::SIGTERM,
        Signal::SIGHUP,
        Signal::SIGQUIT,
    ])?;
    let writer_listener = database.bind()?;
    let scoreboard = startup::scoreboard(words());
    scoreboard.open(0);
    let served = Served::of(&author, &listeners);
    let clones = |which: fn(&Listener) -> bool| {
        let clones = listeners
            .iter()
            .filter(|l| which(l))
            .map(Listener::try_clone);
        clones.collect::<Result<Vec<_>, _>>()
    };
    let operators = clones(|listener| listener.purpose == Purpose::Admin)?;
    // Sockets that outlive the program stay open for newcomers.
    let door = if sockets_stay {
        Vec::new()
    } else {
        clones(|_| true)?
    };
    let end = Rc::new(End {
        grace: config.grace,
        files: database
            .files()
            .filter(|_| writer_listener.is_some())
            .cloned(),
        scoreboard,
        requests: Requests::default(),
        asked: OnceCell::new(),
    });
    let worker = Worker {
        is_first: true,
        slot: 0,
        owner: sqlite::random_owner()?,
        config,
        database: &database,
        listeners,
        scoreboard,
        requests: end.requests.clone(),
        tickets: tls::Tickets::new()?,
    };
    let writer = writer_listener.as_ref().zip(database.files());
    let (worked, written) = with_a_writer(writer, &database, (worker.owner, scoreboard), || {
        worker.run(
            author,
            || served.announce(config, "single process", &database),
            async || {
                end.wait(&held).await;
                end.begin(door)
            },
        )
    })?;
    sockets::remove_admin(&operators);
    database.leave();
    worked?;
    written?;
    Ok(end.of_all())
}

/// Words of the scoreboard, for the rest of the program's life.
fn words() -> &'static [AtomicU64] {
    WORDS.get_or_init(|| {
        let zero = || AtomicU64::new(0);
        std::iter::repeat_with(zero)
            .take(Scoreboard::words(1))
            .collect()
    })
}

/// Does something while a thread writes, if this database has a writer; how the one went,
/// and the other.
///
/// # Errors
/// There is no thread to be had.
fn with_a_writer(
    writer: Option<(&UnixListener, &Files)>,
    database: &Database,
    (owner, scoreboard): (Owner, Scoreboard),
    work: impl FnOnce() -> crate::StartResult<()>,
) -> crate::StartResult<(crate::StartResult<()>, crate::StartResult<()>)> {
    let (lifeline, stop) = UnixStream::pair()?;
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new()
            .name("writer".to_owned())
            .spawn_scoped(scope, || match writer {
                Some((listener, files)) => {
                    keep_writing(database, files, listener, owner, scoreboard.writer(), &stop)
                }
                None => Ok(()),
            })?;
        let worked = work();
        // Closing the line stops the writer.
        drop(lifeline);
        let written = thread
            .join()
            .unwrap_or_else(|_| Err(StartError::Refused("the writer panicked".to_owned())));
        Ok((worked, written))
    })
}

/// What the program's end takes.
struct End {
    grace: Duration,
    /// Of a database that has a writer.
    files: Option<Files>,
    scoreboard: Scoreboard,
    requests: Requests,
    /// When somebody asked for it.
    asked: OnceCell<Instant>,
}

impl End {
    /// Resolves when the program is to stop; does not when it is to end at once.
    async fn wait(&self, held: &SigSet) {
        let forced = asked_to_stop(held).await;
        self.asked.get_or_init(Instant::now);
        if forced {
            self.at_once(exit::QUIT);
        }
    }

    /// Says so, closes the door, and has what takes too long cut off.
    fn begin(self: &Rc<Self>, door: Vec<Listener>) -> Leave {
        let turns = counted(self.scoreboard.sum(Field::InFlight), "turn");
        say!(
            "Stopping: {turns} in flight, at most {} s. Press Ctrl-C again to force.",
            self.grace.as_secs_f32()
        );
        sockets::refuse_newcomers(&door);
        drop(door);
        let end = self.clone();
        tokio::task::spawn_local(async move {
            let code = tokio::select! {
                () = arrives(SignalKind::interrupt()) => exit::INTERRUPTED,
                () = arrives(SignalKind::quit()) => exit::QUIT,
                () = tokio::time::sleep(end.grace) => exit::CUT,
            };
            end.at_once(code);
        });
        Leave::Stop
    }

    /// Ends the program. What is not committed did not happen.
    fn at_once(&self, code: u8) -> ! {
        self.scoreboard.worker(0).groups().kill();
        drop(self.files.as_ref().map(Files::remove_socket));
        let list = self.requests.list();
        let mut lines = list.lines().map(str::to_owned);
        let requests = lines.next().and_then(|count| count.parse().ok());
        let cut = Cut {
            count: self
                .scoreboard
                .sum(Field::InFlight)
                .max(requests.unwrap_or(0)),
            names: lines.collect(),
        };
        self.say_goodbye(&cut);
        lines::finish(LAST_LINES);
        std::process::exit(code.into())
    }

    /// Everything in hand is done.
    fn of_all(&self) -> ExitCode {
        self.say_goodbye(&Cut::default());
        let is_lost = banner::is_lost(self.scoreboard);
        ExitCode::from(if is_lost { exit::CUT } else { exit::CLEAN })
    }

    fn say_goodbye(&self, cut: &Cut) {
        let took = self.asked.get().map_or(Duration::ZERO, Instant::elapsed);
        banner::goodbye(self.scoreboard, self.files.is_some(), cut, took);
    }
}

/// Runs writers, one after another, until one ends as asked.
fn keep_writing(
    database: &Database,
    files: &Files,
    listener: &UnixListener,
    owner: Owner,
    slot: Slot,
    stop: &UnixStream,
) -> crate::StartResult<()> {
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
            () = arrives(SignalKind::hangup()), if !signals::ignores_hang_up() => false,
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
