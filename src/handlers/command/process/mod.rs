//! One handler process, from its start to its end.
//!
//! Started by `pool.rs`, in the worker's only thread: the kernel kills the process when
//! that thread ends. Two pipes lead to it; what it prints becomes lines of the log. Invariants:
//! each turn that was sent gets exactly one end, its answer or the process's; a process
//! that breaks the protocol is killed with its group and nothing more of it is read.
//! Bounds: [`MOST_UNREAD`], [`CANCEL_GRACE`], [`PONG`], [`LEAVE`], and those of each file:
//!
//! | file | what |
//! | --- | --- |
//! | `turns.rs` | a turn: its questions, its drafts, its end |
//! | `pipes.rs` | the lines in both directions, and what it prints |
//! | `life.rs` | until it ends, is killed or leaves |

mod life;
mod pipes;
mod turns;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use nix::unistd::Pid;
use tokio::net::unix::pipe;
use tokio::process::Command;
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

use super::mailbox::Mailbox;
use super::plan::Plan;
use super::printed::LastLines;
use super::sdk::Carried;
use super::wire::{self, Hello, Question, TurnEnd};
use crate::author::error::Result;
use crate::handlers::Handled;

/// Bytes that it has not read yet: all its turns, and answers to their questions.
const MOST_UNREAD: usize = 256 << 20;

/// How long a turn that is over its time may still take to say so.
pub(super) const CANCEL_GRACE: Duration = Duration::from_secs(5);

/// How long the answer may take.
pub(super) const PONG: Duration = Duration::from_secs(10);

/// How long a process has after the end of its pipe, and again after SIGTERM.
pub(super) const LEAVE: Duration = Duration::from_secs(1);

/// How long a process that closed a pipe has until its end must be seen.
pub(super) const GOING: Duration = Duration::from_millis(500);

/// Why a process ends.
#[derive(Clone, Debug)]
enum Cause {
    /// By itself, or by somebody else's doing.
    Ended(String),
    /// It broke the protocol.
    Protocol(String),
    /// A turn took too long, and was not answered after that either.
    Late,
    /// An idle process gave no sign of life.
    Silent,
    /// The worker has no more use for it.
    Asked,
}

/// What the end of a process means to a turn that it had in hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Blame {
    /// Another turn was the reason, or none.
    None,
    /// It may have been the reason.
    Suspect,
    /// It was the only one in hand.
    Alone,
}

/// How a turn ended in a process.
pub(super) enum Ran {
    Answered(Result<Handled>),
    /// Something newer came, and the turn has ended since, however it did.
    Interrupted,
    /// The process is gone; why, in words.
    Died(Blame, String),
}

/// What a turn hears of its process; then comes the process's end.
enum Event {
    Answer(TurnEnd),
    Question(Question),
    Draft(String),
}

/// A process that has said hello, or is about to.
pub(super) struct Process {
    title: RefCell<String>,
    leader: Pid,
    /// What is to be written; the end is the worker's leave.
    outbox: RefCell<Vec<u8>>,
    closing: Cell<bool>,
    wake: Notify,
    in_hand: RefCell<HashMap<u64, Rc<Mailbox<Event>>>>,
    next_id: Cell<u64>,
    /// It is gone, and had one turn in hand.
    had_one: Cell<bool>,
    heard: Cell<Instant>,
    /// It has said hello.
    greeted: Cell<bool>,
    /// It was told to leave.
    told: Notify,
    raw: Cell<bool>,
    cause: RefCell<Option<Cause>>,
    gone: Cell<bool>,
    kill: Notify,
    printed: RefCell<LastLines>,
}

/// One that was started: it, its hello, and its end.
pub(super) struct Started {
    pub(super) process: Rc<Process>,
    pub(super) hello: oneshot::Receiver<Hello>,
    /// Resolves with the reason, when it is gone and its turns know.
    pub(super) end: tokio::task::JoinHandle<String>,
}

impl Process {
    /// Starts one. It is spoken to from then on by a task of its own.
    ///
    /// # Errors
    /// The system has no process for it, or there is no such program: in words.
    pub(super) fn start(
        plan: &Plan,
        sdk: &Carried,
        (worker, callbacks): (usize, Option<&str>),
    ) -> std::result::Result<Started, String> {
        let (command, pipes) = plan.command(sdk).map_err(|e| plan.not_started(&e))?;
        let mut command = Command::from(command);
        command.kill_on_drop(true);
        let mut child = command.spawn().map_err(|e| plan.not_started(&e))?;
        let (to, from) = pipes.ours();
        let failed = |e: io::Error| format!("cannot talk to the handler: {e}");
        let to = pipe::Sender::from_owned_fd(to).map_err(failed)?;
        let from = pipe::Receiver::from_owned_fd(from).map_err(failed)?;
        let id = child.id().and_then(|id| i32::try_from(id).ok());
        let leader = Pid::from_raw(id.ok_or("the handler ended at once")?);
        let process = Rc::new(Process {
            title: RefCell::new(format!("{}[{leader}]", plan.name)),
            leader,
            outbox: RefCell::new(wire::hello(worker, callbacks)),
            closing: Cell::new(false),
            wake: Notify::new(),
            in_hand: RefCell::new(HashMap::new()),
            next_id: Cell::new(1),
            had_one: Cell::new(false),
            heard: Cell::new(Instant::now()),
            greeted: Cell::new(false),
            told: Notify::new(),
            raw: Cell::new(false),
            cause: RefCell::new(None),
            gone: Cell::new(false),
            kill: Notify::new(),
            printed: RefCell::default(),
        });
        let output = [
            child.stdout.take().map(|out| process.hear_printed(out)),
            child.stderr.take().map(|err| process.hear_printed(err)),
        ];
        let (said, hello) = oneshot::channel();
        let life = process.clone().live(child, (to, from), said, output);
        Ok(Started {
            process,
            hello,
            end: tokio::task::spawn_local(life),
        })
    }

    /// Its process id, which is its group's, too.
    pub(super) fn leader(&self) -> u64 {
        u64::from(self.leader.as_raw().unsigned_abs())
    }

    /// `bot.py[1234]`
    pub(super) fn title(&self) -> String {
        self.title.borrow().clone()
    }

    /// Whether it has ended, or is about to: it gets nothing more.
    pub(super) fn is_gone(&self) -> bool {
        self.gone.get() || self.cause.borrow().is_some()
    }

    /// The last lines that it printed, for an error.
    pub(super) fn last_lines(&self) -> String {
        self.printed.borrow().indented()
    }

    /// Its turns learn that it is gone.
    fn let_go(&self) {
        let turns = std::mem::take(&mut *self.in_hand.borrow_mut());
        self.had_one.set(turns.len() == 1);
        turns.values().for_each(|turn| turn.close());
    }

    fn write(&self, line: &[u8]) {
        let is_full = {
            let mut outbox = self.outbox.borrow_mut();
            let is_full = outbox.len() + line.len() > MOST_UNREAD;
            if !is_full {
                outbox.extend_from_slice(line);
            }
            is_full
        };
        if is_full {
            return self.end(Cause::Protocol("it does not read its turns".to_owned()));
        }
        self.wake.notify_one();
    }

    /// Has it killed. The first cause counts.
    fn end(&self, cause: Cause) {
        self.cause.borrow_mut().get_or_insert(cause);
        self.kill.notify_one();
    }

    /// Has it leave: no more turns, then the end of the pipe.
    pub(super) fn leave(&self) {
        self.write(&wire::drain());
        self.closing.set(true);
        self.wake.notify_one();
        self.told.notify_one();
    }

    /// Kills it, as one that is of no use: it did not say hello in time.
    pub(super) fn kill(&self) {
        self.end(Cause::Asked);
    }
}

impl std::fmt::Display for Cause {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Cause::Ended(how) => f.write_str(how),
            Cause::Protocol(fault) => write!(f, "it broke the protocol: {fault}"),
            Cause::Late => f.write_str("a turn did not end after its time-out"),
            Cause::Silent => f.write_str("it answered no ping"),
            Cause::Asked => f.write_str("it was told to end"),
        }
    }
}
