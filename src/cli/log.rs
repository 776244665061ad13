//! The log: lines on stderr or in a file, for people or machines.
//!
//! Written through `lines.rs`, which never waits and needs no thread (a thread would not
//! survive the fork). Each event is one line, so what a user wrote, in their id for instance,
//! cannot look like a line of ours; secrets are removed from it.

use std::fmt::{self, Write as _};
use std::io::{self, Write};

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::{Config, LogFormat};
use crate::process::privileges;
use crate::process::sys;
use crate::shared::lines::{self, Log};
use crate::shared::logfile::LogFile;
use crate::shared::{notable, scrub};

/// Starts logging: to stderr, or to a file. To be called once, before the first fork.
///
/// # Errors
/// The file cannot be opened.
pub(super) fn start(config: &Config, verbose: u8, quiet: bool) -> anyhow::Result<()> {
    let level = match (quiet, verbose) {
        (true, _) => LevelFilter::ERROR,
        (false, 0) => LevelFilter::INFO,
        (false, 1) => LevelFilter::DEBUG,
        (false, _) => LevelFilter::TRACE,
    };
    let file = match &config.log_file {
        None => None,
        Some(path) => {
            // It will be opened anew by the user that the bot becomes.
            let opened = privileges::lent(config, || LogFile::open(path));
            let file = opened?.map_err(|e| {
                anyhow::anyhow!(
                    "cannot write to --log-file {}: {e}; give a file in a directory that this user may write to",
                    path.display()
                )
            })?;
            Some(file)
        }
    };
    let colours = file.is_none() && std::io::IsTerminal::is_terminal(&std::io::stderr());
    lines::start(sys::shared_words(lines::WORDS)?, file);
    notable::start(sys::shared_words(notable::WORDS)?);
    let builder = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(|| OneLine(Log))
        .with_target(false)
        // A log pipe that is gone must not bring down the program.
        .log_internal_errors(false)
        .with_ansi(colours);
    match config.log {
        LogFormat::Text => builder.finish().with(Notable).init(),
        LogFormat::Json => builder.json().finish().with(Notable).init(),
    }
    Ok(())
}

/// Keeps warnings and errors where operators see them: on the status page.
struct Notable;

impl<S: Subscriber> Layer<S> for Notable {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let level = *event.metadata().level();
        if level > Level::WARN {
            return;
        }
        let mut words = Words(String::new());
        event.record(&mut words);
        notable::keep(level == Level::ERROR, &scrub::told(&words.0));
    }
}

/// The message of an event, and what stands with it.
struct Words(String);

impl Visit for Words {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing to a String does not fail.
        let _ = match field.name() {
            "message" => write!(self.0, "{value:?}"),
            name => write!(self.0, " {name}={value:?}"),
        };
    }
}

/// Writes an event, which comes in one piece, as one line. Escape sequences in what is
/// told were replaced before; those that are left are our own colours.
struct OneLine<W>(W);

impl<W: Write> Write for OneLine<W> {
    fn write(&mut self, whole: &[u8]) -> io::Result<usize> {
        let event = &*scrub::told_bytes(whole);
        let line = event.strip_suffix(b"\n").unwrap_or(event);
        let is_odd = |byte: &u8| byte.is_ascii_control() && ![b'\t', 0x1b].contains(byte);
        if !line.iter().any(is_odd) {
            self.0.write_all(event)?;
            return Ok(whole.len());
        }
        let mut plain = Vec::with_capacity(event.len() + 16);
        for byte in line {
            match is_odd(byte) {
                true => plain.extend(byte.escape_ascii()),
                false => plain.push(*byte),
            }
        }
        plain.extend(&event[line.len()..]);
        self.0.write_all(&plain)?;
        Ok(whole.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}
