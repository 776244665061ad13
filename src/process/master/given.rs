//! What a child is given at its fork. It keeps these things and nothing else: not its siblings'
//! lifelines, the upgrade's pipes, the terminal, the master's signalfd, nor files inherited
//! from the program's parent.
//!
//! Made by [`Master::give`](super::Master) in the new process; `life.rs` then closes every file
//! that is not in [`Given::files`] and goes on with this alone. Invariant: a child neither uses
//! nor drops what the master owned in memory. A [`Given`] borrows the master for as long as it
//! lives, which prevents use; the child ends by `_exit`, so nothing is dropped.

use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::os::unix::net::{UnixListener, UnixStream};

use nix::unistd::Pid;
use turnkey_storage::{Database, Owner};

use super::Master;
use super::child::Role;
use crate::config::Config;
use crate::handlers::Author;
use crate::net::listener::Listener;
use crate::net::tls::Tickets;
use crate::process::sys;
use crate::shared::lines;
use crate::shared::scoreboard::Scoreboard;

/// All that a child has of the master's.
pub(super) struct Given<'a> {
    pub(super) master: Pid,
    pub(super) lifeline: UnixStream,
    pub(super) config: &'a Config,
    /// With its share of the lock on the file.
    pub(super) database: &'a Database,
    pub(super) scoreboard: Scoreboard,
    pub(super) job: Job,
}

/// What it is to do, and what that takes.
#[expect(
    clippy::large_enum_variant,
    reason = "one in a process's life: a box would save nothing"
)]
pub(super) enum Job {
    Write(Writing),
    Work(Working),
}

pub(super) struct Writing {
    pub(super) listener: UnixListener,
    /// The workers that it waits for.
    pub(super) expected: Vec<Owner>,
    /// Its share of the pipe by which a successor knows that it is gone.
    pub(super) alive: Option<OwnedFd>,
}

pub(super) struct Working {
    pub(super) index: usize,
    /// Its place on the scoreboard.
    pub(super) slot: usize,
    pub(super) owner: Owner,
    pub(super) author: Author,
    /// What the author's handler may use: see [`brought`].
    pub(super) brought: Vec<RawFd>,
    pub(super) listeners: Vec<Listener>,
    /// The sockets outlive this program.
    pub(super) sockets_stay: bool,
    pub(super) tickets: Tickets,
}

impl Given<'_> {
    pub(super) fn role(&self) -> Role {
        match &self.job {
            Job::Write(_) => Role::Writer,
            Job::Work(working) => Role::Worker(working.index),
        }
    }

    /// The files in it. Each field is named, so that none can be forgotten.
    pub(super) fn files(&self) -> Vec<RawFd> {
        let Given {
            master: _,
            lifeline,
            config: _,
            database,
            scoreboard: _,
            job,
        } = self;
        let mut files = of_everybody(database);
        files.push(lifeline.as_raw_fd());
        match job {
            Job::Write(Writing {
                listener,
                expected: _,
                alive,
            }) => {
                files.push(listener.as_raw_fd());
                files.extend(alive.as_ref().map(AsRawFd::as_raw_fd));
            }
            Job::Work(Working {
                index: _,
                slot: _,
                owner: _,
                author: _,
                brought,
                listeners,
                sockets_stay: _,
                tickets: _,
            }) => {
                files.extend(brought);
                files.extend(listeners.iter().map(AsRawFd::as_raw_fd));
            }
        }
        files
    }
}

/// What every child keeps: the ways of what it says, and its share of the lock on the
/// database's file.
pub(super) fn of_everybody(database: &Database) -> Vec<RawFd> {
    let mut files = lines::ways();
    files.extend(database.lock().map(|lock| lock.as_fd().as_raw_fd()));
    files
}

/// What the author's program had opened before it called us; handlers may use it. To be
/// called before the master opens anything.
pub(super) fn brought() -> Vec<RawFd> {
    let ours = [lines::ways(), lines::slow()].concat();
    let mut brought = sys::own_files();
    brought.retain(|file| !ours.contains(file));
    brought
}

impl Master {
    /// In a child: takes what it needs out of the master's memory. None if somebody has
    /// taken it before, which only a child could have done.
    pub(super) fn give(
        &mut self,
        master: Pid,
        role: Role,
        slot: usize,
        owner: Owner,
        lifeline: UnixStream,
    ) -> Option<Given<'_>> {
        let job = match role {
            Role::Writer => Job::Write(Writing {
                listener: self.writer_listener.take()?,
                expected: std::mem::take(&mut self.expected),
                alive: self.alive.0.take(),
            }),
            Role::Worker(index) => Job::Work(Working {
                index,
                slot,
                owner,
                author: self.author.take()?,
                brought: std::mem::take(&mut self.brought),
                listeners: std::mem::take(&mut self.listeners),
                sockets_stay: self.sockets_stay,
                tickets: self.tickets.clone(),
            }),
        };
        Some(Given {
            master,
            lifeline,
            config: &self.config,
            database: &self.database,
            scoreboard: self.scoreboard,
            job,
        })
    }

    /// The workers that a new writer will hear from again.
    pub(super) fn living_workers(&self) -> Vec<Owner> {
        let workers = self.children.iter().filter(|child| child.is_worker());
        workers.map(|child| child.owner).collect()
    }
}
