//! One handler is tried before anything is forked, so that a syntax error or a missing
//! interpreter ends the start, once, with what the interpreter said.
//!
//! Called in a child that ends (`process/startup.rs`), without a runtime. Bounds:
//! `--handler-start`, and what [`KEPT`] lines hold.

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Child, ExitStatus};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;
use nix::unistd::Pid;

use super::plan::{Plan, ended, remedy, signal_group};
use super::pool::no_hello;
use super::process::take_line;
use super::sdk::Carried;
use super::wire::{self, LONGEST_LINE, Line};
use crate::author::start_error::{StartError, StartResult};

/// Lines of what it printed that are shown.
const KEPT: usize = 40;

/// Between two looks at the clock.
const LOOK: Duration = Duration::from_millis(50);

/// How long it may take to leave again.
const LEAVE: Duration = Duration::from_secs(1);

/// Starts a handler, waits for its hello, and has it leave.
///
/// # Errors
/// [`StartError::Refused`]: why it does not start, and its last lines.
pub(super) fn run(plan: &Plan, patience: Duration) -> StartResult {
    let sdk = Carried::new()?;
    let (mut command, pipes) = plan.command(&sdk)?;
    let mut child = command
        .spawn()
        .map_err(|e| StartError::Refused(plan.not_started(&e)))?;
    let (to, from) = pipes.ours();
    let mut heard = Heard {
        from: from.into(),
        printed: [
            child.stdout.take().map(|out| OwnedFd::from(out).into()),
            child.stderr.take().map(|err| OwnedFd::from(err).into()),
        ],
        answers: Vec::new(),
        text: [Vec::new(), Vec::new()],
    };
    let mut to = File::from(to);
    // One that does not read is one that says no hello.
    drop(to.write_all(&wire::hello(0)));
    let result = heard.hello(&mut child, Instant::now() + patience, patience);
    // The end of its pipe is what it leaves at.
    drop(to);
    let until = Instant::now() + LEAVE;
    while result.is_ok() && matches!(child.try_wait(), Ok(None)) && Instant::now() < until {
        heard.read(LOOK)?;
    }
    let leader = Pid::from_raw(child.id().cast_signed());
    signal_group(leader, Signal::SIGKILL);
    child.wait()?;
    result.map_err(|why| {
        let name = &plan.name;
        let printed = heard.last_lines();
        let remedy = remedy(&printed);
        StartError::Refused(format!(
            "the handler {name} did not start: {why}{printed}{remedy}"
        ))
    })
}

/// What comes from it.
struct Heard {
    from: File,
    printed: [Option<File>; 2],
    answers: Vec<u8>,
    text: [Vec<u8>; 2],
}

impl Heard {
    /// Waits for a hello.
    fn hello(
        &mut self,
        child: &mut Child,
        until: Instant,
        patience: Duration,
    ) -> std::result::Result<(), String> {
        loop {
            while let Some(at) = self.answers.iter().position(|b| *b == b'\n') {
                let line: Vec<u8> = self.answers.drain(..=at).collect();
                match wire::read(&line[..at]) {
                    Ok(Line::Hello(_)) => return Ok(()),
                    Ok(Line::Log(_)) => {}
                    Ok(_) => return Err("it broke the protocol: a line before hello".to_owned()),
                    Err(reason) => return Err(format!("it broke the protocol: {reason}")),
                }
            }
            if self.answers.len() > LONGEST_LINE {
                return Err("it broke the protocol: a line without an end".to_owned());
            }
            // Looked at before it is read: what it said before its end counts.
            let status = child.try_wait().map_err(|e| e.to_string())?;
            let is_more = self.read(LOOK).map_err(|e| e.to_string())?;
            match status {
                Some(status) if !is_more => return Err(before_hello(status)),
                _ if Instant::now() >= until => return Err(no_hello(patience)),
                _ => {}
            }
        }
    }

    /// Reads what there is, waiting a moment for it; false when there was nothing.
    fn read(&mut self, wait: Duration) -> std::io::Result<bool> {
        let wait = PollTimeout::try_from(wait).unwrap_or(PollTimeout::MAX);
        let files = [
            Some(&self.from),
            self.printed[0].as_ref(),
            self.printed[1].as_ref(),
        ];
        let ready: [bool; 3] = {
            let there: Vec<_> = files.iter().flatten().collect();
            let mut polled: Vec<_> = there
                .iter()
                .map(|file| PollFd::new(file.as_fd(), PollFlags::POLLIN))
                .collect();
            match poll(&mut polled, wait) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
            let mut polled = polled.iter();
            files.map(|file| file.is_some() && polled.next().is_some_and(|p| p.any() == Some(true)))
        };
        let mut is_more = false;
        if ready[0] {
            is_more |= read_some(&mut self.from, &mut self.answers)?;
        }
        for at in 0..2 {
            if let (Some(file), true) = (&mut self.printed[at], ready[at + 1]) {
                match read_some(file, &mut self.text[at])? {
                    true => is_more = true,
                    false => self.printed[at] = None,
                }
            }
        }
        if !is_more && ready[0] {
            // It has closed its end: poll returns at once.
            std::thread::sleep(LOOK);
        }
        Ok(is_more)
    }

    fn last_lines(&mut self) -> String {
        let mut lines = Vec::new();
        for text in &mut self.text {
            while let Some(line) = take_line(text, true) {
                lines.push(format!("\n  {line}"));
            }
        }
        let skipped = lines.len().saturating_sub(KEPT);
        lines.split_off(skipped).concat()
    }
}

fn before_hello(status: ExitStatus) -> String {
    match status.success() {
        true => "it ended and had not called turnkey.run, or said hello".to_owned(),
        false => ended(status),
    }
}

fn read_some(file: &mut File, into: &mut Vec<u8>) -> std::io::Result<bool> {
    let mut piece = [0; 16 << 10];
    match file.read(&mut piece) {
        Ok(bytes) => {
            into.extend(&piece[..bytes]);
            Ok(bytes > 0)
        }
        Err(error) if error.kind() == ErrorKind::Interrupted => Ok(true),
        Err(error) => Err(error),
    }
}
