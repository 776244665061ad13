//! A process of ours from the outside: started, told what to do, heard, ended.
//!
//! Used by `run.rs`, `laboratory.rs` and `http/`; `process.rs` is the other end.
//! Invariant: no process outlives its [`Process`], nor this program: it leaves when its
//! input ends. Bound: whoever waits says for how long.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use super::order::{Line, Order};
use crate::error::Error;
use turnkey_report::stop::Stop;

/// For a keeper to stop its server or bot: longer than it gives them itself.
const KEEPER_LEAVES: Duration = Duration::from_secs(90);

/// A process of ours (`process.rs`). Dropping it ends it.
pub(super) struct Process {
    child: Child,
    input: Option<ChildStdin>,
    lines: Receiver<String>,
    /// How long it may take to leave: a keeper first stops what it keeps.
    leave: Duration,
}

/// Why no answer came.
pub(super) enum NoAnswer {
    Interrupted,
    Failed(Error),
}

impl<E: Into<Error>> From<E> for NoAnswer {
    fn from(error: E) -> Self {
        NoAnswer::Failed(error.into())
    }
}

pub(super) type Answer<T> = Result<T, NoAnswer>;

pub(super) fn failed<T>(sentence: impl Into<String>) -> Answer<T> {
    Err(NoAnswer::Failed(Error::Start(sentence.into())))
}

impl Process {
    pub(super) fn start(order: &Order) -> crate::error::Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(["bench", "process"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // A terminal's Ctrl-C comes to the laboratory alone.
            .process_group(0)
            .spawn()
            .map_err(|e| Error::Start(format!("cannot start a process: {e}")))?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(Error::msg("a process without pipes"));
        };
        let (sender, lines) = channel();
        std::thread::Builder::new()
            .name("answers".to_owned())
            .spawn(move || {
                for line in BufReader::new(output).lines().map_while(Result::ok) {
                    if sender.send(line).is_err() {
                        return;
                    }
                }
            })?;
        let keeps = matches!(order, Order::Serve { .. } | Order::Bot { .. });
        let mut process = Process {
            child,
            input: Some(input),
            lines,
            leave: if keeps { KEEPER_LEAVES } else { Duration::ZERO },
        };
        process.tell(order)?;
        Ok(process)
    }

    pub(super) fn tell(&mut self, what: &impl serde::Serialize) -> crate::error::Result<()> {
        if let Some(input) = &mut self.input {
            writeln!(input, "{}", serde_json::to_string(what)?)?;
        }
        Ok(())
    }

    /// Closes its input: it finishes and leaves.
    pub(super) fn let_go(&mut self) {
        self.input = None;
    }

    /// Its next line.
    pub(super) fn answer(&self, patience: Duration, stop: &Stop) -> Answer<Line> {
        let deadline = Instant::now() + patience;
        loop {
            match self.lines.recv_timeout(Duration::from_millis(20)) {
                Ok(line) => match serde_json::from_str(&line)? {
                    Line::Error(sentence) => return failed(sentence),
                    line => return Ok(line),
                },
                Err(_) if stop.asked() => return Err(NoAnswer::Interrupted),
                Err(RecvTimeoutError::Disconnected) => {
                    return failed("a process ended without an answer");
                }
                Err(RecvTimeoutError::Timeout) if Instant::now() >= deadline => {
                    return failed(format!("no answer within {} s", patience.as_secs()));
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits for its end.
    pub(super) fn wait(&mut self, patience: Duration) {
        let deadline = Instant::now() + patience;
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.input = None;
        self.wait(self.leave);
        drop(self.child.kill()); // It may be gone.
        drop(self.child.wait());
    }
}
