//! A conversation with one handler process, without a runtime: lines to it, lines from it,
//! and what it prints meanwhile.
//!
//! Called by `trial.rs` and by `conformance/`; a worker's processes are in `process/`.
//! Invariants: writing never waits for a handler that does not read, so neither side can hold
//! up the other; when the conversation is dropped the process is killed with its group.
//! Bounds: [`LONGEST_LINE`], the last lines that it printed (`printed.rs`); each wait has a deadline.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Child, ExitStatus};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;
use nix::unistd::Pid;

use super::plan::{Plan, ended, remedy, signal_group};
use super::pool::no_hello;
use super::printed::{LastLines, take_line};
use super::process::GOING;
use super::sdk::Carried;
use super::wire::{self, Hello, LONGEST_LINE, Line};
use crate::author::start_error::{StartError, StartResult};

/// Between two looks at the clock, and at whether it still lives.
const LOOK: Duration = Duration::from_millis(50);

/// Bytes that are read at once.
const PIECE: usize = 64 << 10;

/// What comes next from a handler.
pub(super) enum Next {
    /// A line, without its line feed.
    Line(Vec<u8>),
    /// It broke the protocol below the level of lines: how.
    Broken(String),
    /// It has ended, and all that it said was heard.
    Ended(ExitStatus),
    /// Nothing within the time.
    Nothing,
}

/// A process and our ends of its pipes.
pub(super) struct Conversation<'a> {
    child: Child,
    /// What the process finds with us, as long as it lives.
    _sdk: &'a Carried,
    /// None once it is closed, by us or by the process.
    to: Option<File>,
    /// None once the process has closed its end.
    from: Option<File>,
    printed: [Option<File>; 2],
    unsent: Vec<u8>,
    answers: Vec<u8>,
    /// Bytes of the answers in which there is no line feed.
    searched: usize,
    text: [Vec<u8>; 2],
    kept: LastLines,
    /// The pipe to it ends once all is sent.
    is_closing: bool,
    /// It has closed a pipe: when, and what that is called.
    closed: Option<(Instant, String)>,
}

impl<'a> Conversation<'a> {
    /// Starts a handler and says nothing to it yet.
    ///
    /// # Errors
    /// [`StartError::Refused`]: there is no such program. Or the system has no process or
    /// file for it.
    pub(super) fn start(plan: &Plan, sdk: &'a Carried) -> StartResult<Self> {
        let (mut command, pipes) = plan.command(sdk)?;
        let mut child = command
            .spawn()
            .map_err(|e| StartError::Refused(plan.not_started(&e)))?;
        let (to, from) = pipes.ours();
        let printed = [
            child.stdout.take().map(|out| OwnedFd::from(out).into()),
            child.stderr.take().map(|err| OwnedFd::from(err).into()),
        ];
        let conversation = Conversation {
            child,
            _sdk: sdk,
            to: Some(to.into()),
            from: Some(from.into()),
            printed,
            unsent: Vec::new(),
            answers: Vec::new(),
            searched: 0,
            text: [Vec::new(), Vec::new()],
            kept: LastLines::default(),
            is_closing: false,
            closed: None,
        };
        if let Some(to) = &conversation.to {
            fcntl(to, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        }
        Ok(conversation)
    }

    /// Has a line sent, as far as the process reads.
    pub(super) fn say(&mut self, line: &[u8]) {
        self.unsent.extend_from_slice(line);
    }

    /// Ends the pipe to it, once all is sent.
    pub(super) fn close(&mut self) {
        self.is_closing = true;
        self.send();
    }

    /// Signals it and all that it has started.
    pub(super) fn signal(&self, signal: Signal) {
        signal_group(Pid::from_raw(self.child.id().cast_signed()), signal);
    }

    /// Waits for its hello.
    ///
    /// # Errors
    /// It comes too late, is none, or never comes: in words.
    pub(super) fn hello(&mut self, patience: Duration) -> Result<Hello, String> {
        let until = Instant::now() + patience;
        let broken = |how: String| format!("it broke the protocol: {how}");
        loop {
            match self.next(until) {
                Next::Line(line) => match wire::read(&line).map_err(broken)? {
                    Line::Hello(hello) => return Ok(hello),
                    Line::Log(_) => {}
                    _ => return Err(broken("a line before hello".to_owned())),
                },
                Next::Broken(how) => return Err(broken(how)),
                Next::Ended(status) if status.success() => {
                    return Err("it ended and had not called turnkey.run, or said hello".to_owned());
                }
                Next::Ended(status) => return Err(ended(status)),
                Next::Nothing => return Err(no_hello(patience)),
            }
        }
    }

    /// What it says next.
    pub(super) fn next(&mut self, until: Instant) -> Next {
        loop {
            if let Some(next) = self.take_answer() {
                return next;
            }
            // Looked at before it is read: what it said before its end counts.
            let status = match self.child.try_wait() {
                Ok(status) => status,
                Err(error) => return Next::Broken(format!("it is gone: {error}")),
            };
            let left = until.saturating_duration_since(Instant::now());
            let is_more = match self.exchange(left.min(LOOK)) {
                Ok(is_more) => is_more,
                Err(error) => return Next::Broken(error.to_string()),
            };
            match (status, &self.closed) {
                (Some(status), _) if !is_more => return Next::Ended(status),
                // If it is ending, its status says more.
                (None, Some((when, what))) if !self.is_closing && when.elapsed() > GOING => {
                    return Next::Broken(what.clone());
                }
                _ if left.is_zero() => return self.take_answer().unwrap_or(Next::Nothing),
                _ => {}
            }
        }
    }

    /// The next whole line that was read.
    fn take_answer(&mut self) -> Option<Next> {
        let found = self.answers[self.searched..]
            .iter()
            .position(|b| *b == b'\n');
        let at = found.map(|at| self.searched + at);
        if at.unwrap_or(self.answers.len()) > LONGEST_LINE {
            return Some(Next::Broken(wire::too_long()));
        }
        self.searched = match at {
            Some(_) => 0,
            None => self.answers.len(),
        };
        let mut line: Vec<u8> = self.answers.drain(..=at?).collect();
        line.pop();
        Some(Next::Line(line))
    }

    /// Whether it left a line without an end.
    pub(super) fn is_cut_off(&self) -> bool {
        !self.answers.is_empty()
    }

    /// The last lines that it printed.
    pub(super) fn printed(&mut self) -> impl Iterator<Item = &str> {
        self.keep_lines(true);
        self.kept.iter()
    }

    /// The last lines that it printed, to be shown below a sentence, with what helps against
    /// them if that is known.
    pub(super) fn last_lines(&mut self) -> String {
        self.keep_lines(true);
        let lines = self.kept.indented();
        let remedy = remedy(&lines);
        lines + &remedy
    }

    fn keep_lines(&mut self, is_over: bool) {
        for text in &mut self.text {
            while let Some(line) = take_line(text, is_over) {
                self.kept.keep(line);
            }
        }
    }

    /// Writes and reads what can be, waiting a moment for it; false when there was nothing
    /// to read.
    fn exchange(&mut self, wait: Duration) -> io::Result<bool> {
        self.send();
        let wait = PollTimeout::try_from(wait).unwrap_or(PollTimeout::MAX);
        let to_write = match self.unsent.is_empty() {
            false => PollFlags::POLLOUT,
            // Its end is told all the same.
            true => PollFlags::empty(),
        };
        let files = [
            (self.from.as_ref(), PollFlags::POLLIN),
            (self.printed[0].as_ref(), PollFlags::POLLIN),
            (self.printed[1].as_ref(), PollFlags::POLLIN),
            (self.to.as_ref(), to_write),
        ];
        let ready: [bool; 4] = {
            let mut polled: Vec<_> = files
                .iter()
                .filter_map(|(file, flags)| Some(PollFd::new((*file)?.as_fd(), *flags)))
                .collect();
            match poll(&mut polled, wait) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
            let mut polled = polled.iter();
            files.map(|(file, _)| {
                file.is_some() && polled.next().is_some_and(|p| p.any() == Some(true))
            })
        };
        let mut is_more = false;
        if let (Some(file), true) = (&mut self.from, ready[0]) {
            match read_some(file, &mut self.answers)? {
                true => is_more = true,
                false => {
                    self.from = None;
                    self.was_closed(wire::CLOSED.to_owned());
                }
            }
        }
        for at in 0..2 {
            if let (Some(file), true) = (&mut self.printed[at], ready[at + 1]) {
                match read_some(file, &mut self.text[at])? {
                    true => is_more = true,
                    false => self.printed[at] = None,
                }
            }
        }
        if ready[3] && self.unsent.is_empty() {
            self.to = None;
            self.was_closed(wire::unread(&Errno::EPIPE.into()));
        }
        self.keep_lines(false);
        Ok(is_more)
    }

    /// Writes as much as the process takes now.
    fn send(&mut self) {
        let mut sent = 0;
        while let Some(to) = self.to.as_mut().filter(|_| sent < self.unsent.len()) {
            match to.write(&self.unsent[sent..]) {
                Ok(bytes) => sent += bytes,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => {
                    self.to = None;
                    self.was_closed(wire::unread(&error));
                }
            }
        }
        self.unsent.drain(..sent);
        if self.to.is_none() || self.is_closing && self.unsent.is_empty() {
            self.to = None;
            self.unsent.clear();
        }
    }

    /// The first that it closes counts.
    fn was_closed(&mut self, what: String) {
        self.closed.get_or_insert((Instant::now(), what));
    }
}

impl Drop for Conversation<'_> {
    fn drop(&mut self) {
        self.signal(Signal::SIGKILL);
        // It is killed, or was waited for before.
        drop(self.child.wait());
    }
}

fn read_some(file: &mut File, into: &mut Vec<u8>) -> io::Result<bool> {
    let mut piece = [0; PIECE];
    match file.read(&mut piece) {
        Ok(bytes) => {
            into.extend(&piece[..bytes]);
            Ok(bytes > 0)
        }
        Err(error) if error.kind() == ErrorKind::Interrupted => Ok(true),
        Err(error) => Err(error),
    }
}
