//! The life of a handler process: until it ends, is killed, or is told to leave; and its end.
//!
//! Spawned by `mod.rs`. Invariants: it is killed with its group, and its turns learn of its end
//! when what it wrote before was read. Bounds: [`PONG`], [`LEAVE`], [`LAST_READ`].

use std::io;
use std::pin::pin;
use std::process::ExitStatus;
use std::rc::Rc;
use std::time::Duration;

use nix::sys::signal::Signal;
use tokio::net::unix::pipe;
use tokio::process::Child;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::super::plan::{ended, signal_group};
use super::super::wire::{self, Hello};
use super::{Cause, LEAVE, PONG, Process};

/// An idle process is asked for a sign of life when it gave none for so long.
const QUIET: Duration = Duration::from_secs(5);

/// How long what a dead process wrote is read, should somebody else hold its pipe open.
const LAST_READ: Duration = Duration::from_secs(1);

impl Process {
    pub(super) async fn live(
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

fn how(status: io::Result<ExitStatus>) -> String {
    match status {
        Ok(status) => ended(status),
        Err(error) => format!("it is gone: {error}"),
    }
}
