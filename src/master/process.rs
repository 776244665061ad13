//! A child's side of the fork: what it lets go of, and what it becomes.
//!
//! Entered from [`Master::fork_child`](super::Master) in the new process, which
//! never returns up the master's stack: what stands there is the master's to end.

use std::io::Write;
use std::os::unix::net::UnixStream;

use nix::sys::prctl;
use nix::sys::signal::{SigSet, Signal};
use nix::unistd::{Pid, getppid};
use tokio::io::AsyncReadExt;
use turnkey_storage::Owner;

use super::child::Role;
use super::{Master, ORPHAN_GRACE, sys};
use crate::control::{DRAIN, READY};
use crate::error::Error;
use crate::notices::say;
use crate::worker::{Worker, either, terminated};
use crate::{exit, writer};

impl Master<'_> {
    /// The rest of a child's life.
    pub(super) fn be_child(
        &mut self,
        master: Pid,
        role: Role,
        owner: Owner,
        lifeline: UnixStream,
    ) -> ! {
        let lived = self.become_child(master, role).and_then(|()| match role {
            Role::Writer => self.be_writer(lifeline),
            Role::Worker(index) => self.be_worker(index, owner, lifeline),
        });
        let code = match lived {
            Ok(()) => exit::CLEAN,
            Err(Error::Storage(turnkey_storage::Error::Undone(reason))) => {
                tracing::warn!("{role}: starting over: {reason}");
                exit::START_OVER
            }
            Err(Error::Token(sentence)) => {
                say!("error: {sentence}");
                exit::BAD_START
            }
            Err(error) => {
                tracing::error!("{role}: {error}");
                exit::CANNOT_START
            }
        };
        sys::exit_child(code.into())
    }

    /// The first thing in a child: lets go of what is the master's.
    fn become_child(&mut self, master: Pid, role: Role) -> crate::Result<()> {
        // Ctrl-C goes to the whole foreground group; only the master decides.
        // Ignored before it is unblocked: there is no moment in between. So it
        // is with the others, save SIGTERM, which means the same as DRAIN.
        for signal in [Signal::SIGINT, Signal::SIGQUIT, Signal::SIGHUP] {
            sys::ignore(signal)?;
        }
        // A second belt; the first is the lifeline.
        prctl::set_pdeathsig(Signal::SIGTERM)?;
        if getppid() != master {
            return Err(Error::Start("the master is gone".to_owned()));
        }
        sys::set_title(&role.to_string());
        SigSet::all().thread_unblock()?;
        Ok(())
    }

    /// The writer's process.
    fn be_writer(&mut self, lifeline: UnixStream) -> crate::Result<()> {
        sys::ignore(Signal::SIGTERM)?; // It leaves after the workers.
        let expected = self.living_workers();
        self.places.clear();
        self.listeners.clear();
        let (Some(listener), Some(files)) = (&self.writer_listener, self.database.files()) else {
            return Err(Error::Start("this database has no writer".to_owned()));
        };
        let listener = listener.try_clone()?;
        let sync = self.database.sync;
        lifeline.set_nonblocking(true)?;
        let slot = self.scoreboard.writer();
        let to_master = lifeline.try_clone()?;
        let ready = move || ready(&to_master);
        writer::run(files, sync, listener, expected, slot, &lifeline, ready).map_err(Error::Storage)
    }

    /// A worker's process.
    fn be_worker(&mut self, index: usize, owner: Owner, lifeline: UnixStream) -> crate::Result<()> {
        self.places.clear();
        let author = self
            .author
            .take()
            .ok_or_else(|| Error::Start("a worker was started in a child".to_owned()))?;
        lifeline.set_nonblocking(true)?;
        let to_master = lifeline.try_clone()?;
        let grace = self.config.grace;
        let worker = Worker {
            index,
            owner,
            config: self.config,
            author,
            database: &self.database,
            listeners: std::mem::take(&mut self.listeners),
            scoreboard: self.scoreboard,
        };
        worker.run(
            move || ready(&to_master),
            async move || {
                either(told_to_drain(lifeline), terminated()).await;
                // The master cuts off what takes longer. Should it be gone, nobody
                // else does.
                let rest = grace + ORPHAN_GRACE;
                tokio::task::spawn_local(async move {
                    tokio::time::sleep(rest).await;
                    sys::exit_child(exit::CUT.into());
                });
            },
        )
    }

    /// The workers that a new writer will hear from again.
    fn living_workers(&self) -> Vec<Owner> {
        self.workers()
            .filter_map(|place| place.child.as_ref())
            .map(|child| child.owner)
            .collect()
    }
}

/// Tells the master. Should that fail, the master is gone, and the lifeline says so.
fn ready(mut to_master: &UnixStream) {
    drop(to_master.write_all(&[READY]));
}

/// Resolves when the master says so, or is gone.
async fn told_to_drain(lifeline: UnixStream) {
    let Ok(mut lifeline) = tokio::net::UnixStream::from_std(lifeline) else {
        return;
    };
    let mut byte = [0];
    while let Ok(1) = lifeline.read(&mut byte).await {
        if byte[0] == DRAIN {
            return;
        }
    }
}
