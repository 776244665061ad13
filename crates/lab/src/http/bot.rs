//! A bot of our own: this program's `run`, on a free port of the loopback interface.
//!
//! Called by `process.rs` in a keeper, which stops it when its input ends: also when
//! the benchmark is killed.

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use nix::sys::signal::Signal;

use super::super::order::Serving;
use super::super::servers::Running;
use crate::error::Error;

/// Starts it and waits until it says where it listens.
pub(in super::super) fn start(
    storage: &str,
    workers: usize,
    sync: &str,
) -> crate::error::Result<Running> {
    let mut command = Command::new(std::env::current_exe()?);
    // What is set for the user's own bot is not meant for this one.
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("TURNKEY_") {
            command.env_remove(name);
        }
    }
    let mut child = command
        .args(["run", "--host", "127.0.0.1", "--port", "0", "--quiet"])
        .args(["--workers", &workers.to_string(), "--sync", sync])
        .args(["--storage", storage])
        .args(["--max-connections", "20000", "--max-turns", "20000"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()?;
    let stderr = child.stderr.take();
    let mut running = Running::new(child, Signal::SIGTERM);
    let mut said = Vec::new();
    let mut lines =
        BufReader::new(stderr.ok_or_else(|| Error::msg("a bot without stderr"))?).lines();
    let url = loop {
        match lines.next().transpose()? {
            Some(line) => match address(&line) {
                Some(url) => break url,
                None => said.push(line),
            },
            None => {
                return Err(Error::Start(format!(
                    "the bot did not start: {}",
                    said.join("; ")
                )));
            }
        }
    };
    // A pipe that nobody reads would stop it.
    std::thread::Builder::new()
        .name("stderr".to_owned())
        .spawn(move || lines.map_while(Result::ok).for_each(drop))?;
    running.serving = Serving {
        url,
        pid: running.pid(),
        settings: Vec::new(),
    };
    Ok(running)
}

/// The address in `Started webhooks updater on http://127.0.0.1:1 (…`.
fn address(line: &str) -> Option<String> {
    let (_, rest) = line.strip_prefix("Started ")?.split_once(" on ")?;
    let url = rest.split(' ').next()?;
    url.starts_with("http://").then(|| url.to_owned())
}

#[cfg(test)]
mod tests {
    use super::address;

    #[test]
    fn the_address_is_found_in_the_first_line() {
        let line = "Started webhooks updater on http://127.0.0.1:4711 (2 workers, sqlite:x). Press";
        assert_eq!(address(line).as_deref(), Some("http://127.0.0.1:4711"));
        assert_eq!(address("error: the port is in use"), None);
    }
}
