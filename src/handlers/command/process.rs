//! One handler process, from its start to its end.
//!
//! Started by `pool.rs`, in the worker's only thread: the kernel kills the process when
//! that thread ends. Two pipes lead to it; what it prints becomes lines of the log. Invariants:
//! each turn that was sent gets exactly one end, its answer or the process's; a process
//! that breaks the protocol is killed with its group and nothing more of it is read.
//! Bounds: [`LONGEST_LINE`], [`MOST_QUESTIONS`], [`CANCEL_GRACE`], [`PONG`], [`LEAVE`].

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::io;
use std::pin::pin;
use std::process::ExitStatus;
use std::rc::Rc;
use std::time::Duration;

use nix::sys::signal::Signal;
use nix::unistd::Pid;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::pipe;
use tokio::process::{Child, Command};
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::mailbox::Mailbox;
use super::plan::{Plan, ended, signal_group};
use super::printed::{self, LastLines};
use super::sdk::Carried;
use super::wire::{
    self, Asked, Given, Hello, LONGEST_LINE, Line, Look, Number, Question, TurnEnd, Wish,
};
use crate::author::drafts::Drafts;
use crate::author::error::{Error, Result};
use crate::author::turn::dead_replies;
use crate::handlers::{Call, Handled};

/// Questions of one turn that are not answered yet; one more is answered with an error.
const MOST_QUESTIONS: usize = 64;

/// Bytes that it has not read yet: all its turns, and answers to their questions.
const MOST_UNREAD: usize = 256 << 20;

/// How long a turn that is over its time may still take to say so.
pub(super) const CANCEL_GRACE: Duration = Duration::from_secs(5);

/// An idle process is asked for a sign of life when it gave none for so long.
const QUIET: Duration = Duration::from_secs(5);

/// How long the answer may take.
pub(super) const PONG: Duration = Duration::from_secs(10);

/// How long a process has after the end of its pipe, and again after SIGTERM.
pub(super) const LEAVE: Duration = Duration::from_secs(1);

/// How long what a dead process wrote is read, should somebody else hold its pipe open.
const LAST_READ: Duration = Duration::from_secs(1);

/// How long a process that closed a pipe has until its end must be seen.
pub(super) const GOING: Duration = Duration::from_millis(100);

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
        worker: usize,
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
            outbox: RefCell::new(wire::hello(worker)),
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

    /// Runs a turn in it. Dropped, the turn is still the process's until it is answered.
    pub(super) async fn run(self: &Rc<Self>, call: &Call) -> Ran {
        let id = self.next_id.replace(self.next_id.get() + 1);
        let given = Given {
            id,
            update: &call.update,
            attempt: call.attempt,
            state: call.state.as_deref(),
            raw: self.raw.get(),
        };
        let line = match wire::turn(&given) {
            Ok(line) => line,
            Err(error) => return Ran::Answered(Err(error)),
        };
        let events = Rc::new(Mailbox::new());
        if self.is_gone() {
            return Ran::Died(Blame::None, "it was already ending".to_owned());
        }
        self.in_hand.borrow_mut().insert(id, events.clone());
        self.write(&line);
        let mut deadline = pin!(tokio::time::sleep(call.timeout));
        let mut is_late = false;
        // The database is asked one thing after another, the platform all at once.
        let mut waiting: VecDeque<(Number, Look)> = VecDeque::new();
        let mut asked = None;
        let mut platform: Option<JoinSet<()>> = None;
        let mut drafts: Option<Drafts> = None;
        let over = || "the turn is over its time".to_owned();
        loop {
            if asked.is_none()
                && let Some((number, look)) = waiting.pop_front()
            {
                asked = Some(Box::pin(self.look(call, id, number, look)));
            }
            tokio::select! {
                event = events.next() => match event {
                    Some(Event::Answer(_)) if is_late => {
                        return Ran::Answered(Err(Error::Timeout(call.timeout)));
                    }
                    Some(Event::Answer(TurnEnd::Done(done))) => {
                        return Ran::Answered(wire::done(&done, call.state.as_deref()));
                    }
                    Some(Event::Answer(TurnEnd::Fail(fail))) => {
                        return Ran::Answered(Err(wire::fail(&fail)));
                    }
                    Some(Event::Question(question)) if is_late => {
                        self.write(&wire::refused(id, question.number, over()));
                    }
                    Some(Event::Question(Question { number, asked: what })) => {
                        let open = waiting.len() + usize::from(asked.is_some()) + open(&mut platform);
                        match what {
                            _ if open >= MOST_QUESTIONS => {
                                self.write(&wire::refused(id, number, too_many()));
                            }
                            Ok(Asked::Storage(look)) => waiting.push_back((number, look)),
                            Ok(Asked::Platform(wish)) => {
                                let platform = platform.get_or_insert_default();
                                platform.spawn_local(self.ask(call, id, number, wish));
                            }
                            Err(reason) => self.write(&wire::refused(id, number, reason)),
                        }
                    }
                    Some(Event::Draft(_)) if is_late => {}
                    Some(Event::Draft(text)) => match &drafts {
                        Some(drafts) => drafts.show(text),
                        None => {
                            let (platform, update) = (call.platform.clone(), call.update.clone());
                            drafts = Some(Drafts::start(platform, update, text));
                        }
                    },
                    None if is_late => return Ran::Answered(Err(Error::Timeout(call.timeout))),
                    None => return self.died(),
                },
                () = async { if let Some(asked) = &mut asked { asked.await } }, if asked.is_some() => {
                    asked = None;
                }
                () = &mut deadline => {
                    if is_late {
                        self.end(Cause::Late);
                        // Its end comes as the end of the events.
                        deadline.as_mut().reset(Instant::now() + CANCEL_GRACE);
                    } else {
                        is_late = true;
                        for (number, _) in waiting.drain(..) {
                            self.write(&wire::refused(id, number, over()));
                        }
                        // What is asked of the platform ends with the turn.
                        (platform, drafts) = (None, None);
                        self.write(&wire::cancel(id));
                        deadline.as_mut().reset(Instant::now() + CANCEL_GRACE);
                    }
                }
            }
        }
    }

    /// Looks something up, and writes the answer.
    async fn look(&self, call: &Call, id: u64, number: Number, look: Look) {
        let answer = match look {
            Look::Rows(statement) => {
                let rows = call.storage.query(Some(&call.grant), statement).await;
                wire::rows(id, number, rows.map_err(|error| error.to_string()))
            }
            Look::DeadReplies => {
                let dead = dead_replies(&*call.storage, &call.update.dialog).await;
                wire::dead(id, number, dead.map_err(|error| error.to_string()))
            }
        };
        self.write(&answer);
    }

    /// Asks the platform, and writes the answer.
    fn ask(
        self: &Rc<Self>,
        call: &Call,
        id: u64,
        number: Number,
        wish: Wish,
    ) -> impl Future<Output = ()> + use<> {
        let (process, update) = (self.clone(), call.update.clone());
        let platform = call.platform.clone();
        async move {
            let answer = match wish {
                Wish::Result { method, params } => {
                    let result = platform.ask(&update, method, params).await;
                    wire::result(id, number, result)
                }
                Wish::File { file, path, limit } => {
                    let channel = &update.dialog.channel;
                    let size = platform.download_to(channel, &file, path.clone(), limit);
                    wire::downloaded(id, number, &path, size.await)
                }
            };
            process.write(&answer);
        }
    }

    /// What its end means to a turn that it had in hand.
    fn died(&self) -> Ran {
        let cause = self.cause.borrow().clone();
        let why = cause.as_ref().map(ToString::to_string).unwrap_or_default();
        let blame = match cause {
            Some(Cause::Ended(_) | Cause::Protocol(_)) if self.had_one.get() => Blame::Alone,
            // Of a process that hangs, the oldest turn is late first, and may not be the one.
            Some(Cause::Ended(_) | Cause::Protocol(_) | Cause::Late) => Blame::Suspect,
            _ => Blame::None,
        };
        Ran::Died(blame, format!("its handler {}: {why}", self.title()))
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

    async fn live(
        self: Rc<Self>,
        mut child: Child,
        (to, from): (pipe::Sender, pipe::Receiver),
        said: oneshot::Sender<Hello>,
        output: [Option<tokio::task::JoinHandle<()>>; 2],
    ) -> String {
        let cause = {
            let mut reading = pin!(self.read(from, said));
            let mut writing = pin!(self.write_all(to));
            let mut is_written = false;
            let exited = loop {
                tokio::select! {
                    biased;
                    () = self.kill.notified() => break None,
                    cause = &mut reading => {
                        self.cause.borrow_mut().get_or_insert(cause);
                        break None;
                    }
                    () = &mut writing, if !is_written => is_written = true,
                    status = child.wait() => break Some(status),
                    // One that does not read is not waited for.
                    () = self.has_had_its_time(), if !is_written => is_written = true,
                    () = self.is_silent() => self.end(Cause::Silent),
                    () = tokio::time::sleep(LEAVE), if is_written => {
                        signal_group(self.leader, Signal::SIGTERM);
                        tokio::select! {
                            status = child.wait() => break Some(status),
                            () = tokio::time::sleep(LEAVE) => break None,
                        }
                    }
                }
            };
            self.gone.set(true);
            // It is gone, or of no use any more; what it has started is gone with it.
            signal_group(self.leader, Signal::SIGKILL);
            let status = match exited {
                Some(status) => status,
                None => {
                    // It may have left its group.
                    child.start_kill().ok();
                    child.wait().await
                }
            };
            if self.closing.get() {
                self.cause.borrow_mut().get_or_insert(Cause::Asked);
            }
            // What it wrote before it died counts.
            if self.cause.borrow().is_none() {
                drop(tokio::time::timeout(LAST_READ, reading).await);
            }
            how(status)
        };
        self.cause.borrow_mut().get_or_insert(Cause::Ended(cause));
        for mut task in output.into_iter().flatten() {
            // Somebody else may hold the pipe open.
            if tokio::time::timeout(LAST_READ, &mut task).await.is_err() {
                task.abort();
            }
        }
        self.let_go();
        let cause = self.cause.borrow();
        cause.as_ref().map(ToString::to_string).unwrap_or_default()
    }

    /// Reads what it says, until it is to be ended: why.
    async fn read(&self, mut from: pipe::Receiver, said: oneshot::Sender<Hello>) -> Cause {
        let mut said = Some(said);
        let mut buffer = Vec::with_capacity(64 << 10);
        let mut searched = 0;
        loop {
            let mut begin = 0;
            while let Some(at) = buffer[searched..].iter().position(|b| *b == b'\n') {
                let end = searched + at;
                let line = &buffer[begin..end];
                if line.len() > LONGEST_LINE {
                    return Cause::Protocol(wire::too_long());
                }
                if let Err(reason) = self.hear(line, &mut said) {
                    return Cause::Protocol(reason);
                }
                (begin, searched) = (end + 1, end + 1);
            }
            buffer.drain(..begin);
            searched = buffer.len();
            if buffer.len() > LONGEST_LINE {
                return Cause::Protocol(wire::too_long());
            }
            match from.read_buf(&mut buffer).await {
                Ok(0) if self.closing.get() => std::future::pending().await,
                // It ended, most likely: how, its status tells.
                Ok(0) => {
                    tokio::time::sleep(GOING).await;
                    return Cause::Protocol(wire::CLOSED.to_owned());
                }
                Ok(_) => {}
                Err(error) => return Cause::Protocol(format!("descriptor 4: {error}")),
            }
        }
    }

    /// Hears one line.
    fn hear(
        &self,
        line: &[u8],
        said: &mut Option<oneshot::Sender<Hello>>,
    ) -> std::result::Result<(), String> {
        self.heard.set(Instant::now());
        let line = wire::read(line)?;
        if said.is_some() && !matches!(line, Line::Hello(_) | Line::Log(_)) {
            return Err("a line before hello".to_owned());
        }
        match line {
            Line::Hello(hello) => {
                let said = said.take().ok_or("a second hello")?;
                self.greeted.set(true);
                self.raw.set(hello.raw);
                if !hello.name.is_empty() {
                    *self.title.borrow_mut() = format!("{}[{}]", hello.name, self.leader);
                }
                // Nobody waits any more: it comes too late, and is being ended.
                drop(said.send(hello));
            }
            Line::Answer(id, answer) => {
                let turn = self.in_hand.borrow_mut().remove(&id);
                let turn = turn.ok_or_else(|| {
                    format!(
                        "an answer to turn {id}, which is not in hand, or had its answer before"
                    )
                })?;
                turn.put(Event::Answer(answer));
            }
            Line::Question(id, question) => {
                let turn = self.in_hand.borrow().get(&id).cloned();
                let turn =
                    turn.ok_or_else(|| format!("a question of turn {id}, which is not in hand"))?;
                if turn.waiting() < MOST_QUESTIONS {
                    turn.put(Event::Question(question));
                } else {
                    self.write(&wire::refused(id, question.number, too_many()));
                }
            }
            Line::Draft(id, text) => {
                let turn = self.in_hand.borrow().get(&id).cloned();
                let turn =
                    turn.ok_or_else(|| format!("a draft of turn {id}, which is not in hand"))?;
                // A newer one comes, or the reply.
                if turn.waiting() < MOST_QUESTIONS {
                    turn.put(Event::Draft(text));
                }
            }
            Line::Pong(_) => {}
            Line::Log(log) => self.log(log),
        }
        Ok(())
    }

    fn log(&self, log: wire::Log) {
        let (title, text) = (self.title.borrow(), wire::cut(log.text, printed::LONGEST));
        match log.level.as_str() {
            "error" => tracing::error!("{title}: {text}"),
            "warn" | "warning" => tracing::warn!("{title}: {text}"),
            "debug" => tracing::debug!("{title}: {text}"),
            _ => tracing::info!("{title}: {text}"),
        }
    }

    /// What it prints goes to the log.
    fn hear_printed(
        self: &Rc<Self>,
        from: impl AsyncRead + Unpin + 'static,
    ) -> tokio::task::JoinHandle<()> {
        let process = self.clone();
        tokio::task::spawn_local(printed::each_line(from, move |line| {
            tracing::info!("{}: {line}", process.title.borrow());
            process.printed.borrow_mut().keep(line);
        }))
    }

    /// Writes what is in the outbox, as much at once as there is, until the worker leaves
    /// or the process no longer reads.
    async fn write_all(&self, mut to: pipe::Sender) {
        loop {
            let lines = std::mem::take(&mut *self.outbox.borrow_mut());
            if lines.is_empty() {
                if self.closing.get() {
                    return;
                }
                self.wake.notified().await;
                continue;
            }
            if let Err(error) = to.write_all(&lines).await {
                if !self.closing.get() {
                    // If it has ended, its status says more.
                    tokio::time::sleep(GOING).await;
                    self.end(Cause::Protocol(wire::unread(&error)));
                }
                return std::future::pending().await;
            }
        }
    }

    /// Resolves a while after it was told to leave.
    async fn has_had_its_time(&self) {
        self.told.notified().await;
        tokio::time::sleep(LEAVE).await;
    }

    /// Resolves when an idle process has not answered a ping. One that runs turns has their
    /// time-outs instead.
    async fn is_silent(&self) {
        let mut number = 0;
        loop {
            tokio::time::sleep_until(self.heard.get() + QUIET).await;
            if self.heard.get().elapsed() < QUIET {
                continue;
            }
            let is_busy = !self.in_hand.borrow().is_empty();
            if !self.greeted.get() || self.closing.get() || is_busy {
                tokio::time::sleep(QUIET).await;
                continue;
            }
            number += 1;
            self.write(&wire::ping(number));
            let asked = Instant::now();
            tokio::time::sleep(PONG).await;
            if self.heard.get() < asked && self.in_hand.borrow().is_empty() {
                return;
            }
        }
    }
}

/// How many of these still run.
fn open(tasks: &mut Option<JoinSet<()>>) -> usize {
    let Some(tasks) = tasks else { return 0 };
    while tasks.try_join_next().is_some() {}
    tasks.len()
}

fn too_many() -> String {
    format!("more than {MOST_QUESTIONS} questions at once")
}

fn how(status: io::Result<ExitStatus>) -> String {
    match status {
        Ok(status) => ended(status),
        Err(error) => format!("it is gone: {error}"),
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
