//! The processes of a run, from the inside: `turnkey bench process`, which no person
//! calls.
//!
//! Reads an order as a line of JSON, says when it is ready, does it and answers. When
//! its input ends, because the laboratory closed it or died, it leaves. Invariant:
//! nothing but [`Line`]s on stdout.

use std::io::{BufRead, BufReader, Stdin, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use turnkey_storage::sqlite::{self, Writer, WriterStats};

use super::order::{Line, Load, Order, Window, Written};
use super::{engines, http, measure, servers};
use crate::error::Error;
use turnkey_storage::Address;
use turnkey_storage::Database;

/// After its input has ended, for a writer whose clients do not hang up.
const LEAVE: Duration = Duration::from_secs(5);

/// Obeys one order.
pub fn main() -> ExitCode {
    let mut input = BufReader::new(std::io::stdin());
    match obey(&mut input) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            drop(say(&Line::Error(error.to_string()))); // Nobody may be left to read it.
            ExitCode::FAILURE
        }
    }
}

fn say(line: &Line) -> crate::error::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{}", serde_json::to_string(line)?)?;
    Ok(out.flush()?)
}

fn obey(input: &mut BufReader<Stdin>) -> crate::error::Result<()> {
    let Some(order) = read::<Order>(input)? else {
        return Err(Error::Start(
            "this command is for the laboratory itself; try turnkey bench storage".to_owned(),
        ));
    };
    match order {
        Order::Fill(load) => {
            leave_with_the_input(|| std::process::exit(1))?;
            engines::fill(&load)?;
            say(&Line::Ready)
        }
        Order::Load(load) => {
            let meter = engines::turns(&load, || {
                say(&Line::Ready)?;
                let window = read::<Window>(input)?
                    .ok_or_else(|| Error::Start("the laboratory has gone".to_owned()))?;
                leave_with_the_input(|| std::process::exit(1))?;
                sleep_until(window.begin);
                Ok(window)
            })?;
            say(&Line::Loaded(meter.into_loaded()))
        }
        Order::Write(load) => write(&load),
        Order::Serve {
            kind,
            directory,
            settings,
        } => keep(servers::start(kind, &directory, &settings)?, input),
        Order::Bot {
            storage,
            workers,
            sync,
        } => keep(http::start_bot(&storage, workers, &sync)?, input),
    }
}

/// Until the input ends.
fn keep(mut running: servers::Running, input: &mut impl BufRead) -> crate::error::Result<()> {
    say(&Line::Serving(running.serving.clone()))?;
    while read::<serde_json::Value>(input)?.is_some() {}
    running.stop()
}

/// The next line, or none at the end.
fn read<T: serde::de::DeserializeOwned>(
    input: &mut impl BufRead,
) -> crate::error::Result<Option<T>> {
    let mut line = String::new();
    if input.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    Ok(Some(serde_json::from_str(&line)?))
}

/// From here on the input brings nothing but its end. A line that is already in
/// the buffer of the caller would be missed: there is none by the protocol.
fn leave_with_the_input(leave: impl FnOnce() + Send + 'static) -> crate::error::Result<()> {
    std::thread::Builder::new()
        .name("lifeline".to_owned())
        .spawn(move || {
            let mut rest = String::new();
            while std::io::stdin().read_line(&mut rest).is_ok_and(|n| n > 0) {
                rest.clear();
            }
            leave();
        })?;
    Ok(())
}

fn sleep_until(moment: u64) {
    std::thread::sleep(Duration::from_nanos(moment.saturating_sub(measure::now())));
}

/// What the writer had done at both ends of the window.
#[derive(Default)]
struct Seen {
    before: Option<WriterStats>,
    last: WriterStats,
}

/// The real writer of the engine, with a monitor that looks at the clock.
fn write(load: &Load) -> crate::error::Result<()> {
    let database = Database::at(
        &load.url.parse::<Address>().map_err(Error::start)?,
        load.sync.storage(),
    )
    .map_err(Error::start)?;
    sqlite::trial::set(load.pragmas.clone());
    let migrations = match &load.workload {
        Some(workload) => engines::migrations(workload, load.engine)?,
        None => Vec::new(),
    };
    database.prepare(&migrations).map_err(Error::start)?;
    let (Some(listener), Some(files)) = (database.bind().map_err(Error::start)?, database.files())
    else {
        return Err(Error::Start("this engine has no writer".to_owned()));
    };
    let (stop, stopped) = UnixStream::pair()?;
    // Both 0 until the window is known.
    let window = Arc::new((AtomicU64::new(0), AtomicU64::new(0)));
    let seen = Arc::new(Mutex::new(Seen::default()));
    let announced = AtomicBool::new(false);
    let monitor = {
        let (window, seen) = (window.clone(), seen.clone());
        move |stats: &WriterStats| {
            if stats.serving && !announced.swap(true, Ordering::Relaxed) {
                drop(say(&Line::Ready)); // The end of the input will tell.
            }
            let from = window.0.load(Ordering::Acquire);
            let until = window.1.load(Ordering::Acquire);
            let now = measure::now();
            let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
            if from == 0 || now < from {
                seen.last = *stats;
            } else if now < until {
                let last = seen.last;
                seen.before.get_or_insert(last);
                seen.last = *stats;
            }
        }
    };
    std::thread::Builder::new()
        .name("lifeline".to_owned())
        .spawn(move || {
            let mut input = BufReader::new(std::io::stdin());
            if let Ok(Some(told)) = read::<Window>(&mut input) {
                window.1.store(told.until, Ordering::Release);
                window.0.store(told.from, Ordering::Release);
                while matches!(read::<serde_json::Value>(&mut input), Ok(Some(_))) {}
            }
            drop(stop);
            std::thread::sleep(LEAVE);
            std::process::exit(1);
        })?;
    let writer = Writer {
        files: files.clone(),
        file: None,
        sync: load.sync.storage(),
        listener,
        expected: Vec::new(),
        monitor: Box::new(monitor),
    };
    writer.run(stopped.as_fd()).map_err(Error::start)?;
    database.leave();
    let seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
    let before = seen.before.unwrap_or(seen.last);
    say(&Line::Written(Written {
        turns: seen.last.turns - before.turns,
        commits: seen.last.commits - before.commits,
        syncs: seen.last.syncs - before.syncs,
        checkpoints: seen.last.checkpoints - before.checkpoints,
    }))
}
