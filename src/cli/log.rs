//! The log: lines on stderr or in a file, for people or machines.
//!
//! Written synchronously: a writer with a thread would not survive the fork.

use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::writer::BoxMakeWriter;

use crate::config::{Config, LogFormat};
use crate::logfile::LogFile;
use crate::privileges;

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
    let (writer, colours) = match &config.log_file {
        None => {
            let is_terminal = std::io::IsTerminal::is_terminal(&std::io::stderr());
            (BoxMakeWriter::new(std::io::stderr), is_terminal)
        }
        Some(path) => {
            // It will be opened anew by the user that the bot becomes.
            let opened = privileges::with_rights_of(config.user.as_deref(), || LogFile::open(path));
            let file = opened.map_err(|e| anyhow::anyhow!("{e}"))?.map_err(|e| {
                anyhow::anyhow!(
                    "cannot write to --log-file {}: {e}; give a file in a directory that this user may write to",
                    path.display()
                )
            })?;
            (BoxMakeWriter::new(move || file.current()), false)
        }
    };
    let builder = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(writer)
        .with_target(false)
        // A log pipe that is gone must not bring down the program.
        .log_internal_errors(false)
        .with_ansi(colours);
    match config.log {
        LogFormat::Text => builder.init(),
        LogFormat::Json => builder.json().init(),
    }
    Ok(())
}
