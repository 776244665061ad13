//! The workers' connections: accepting, receiving, answering, their end.
//!
//! Part of the writer's loop. Bounds: while more than [`MUCH_OUTPUT`] bytes of answers wait for
//! a worker, its requests are not read; if it takes none for [`STALLED`], it is disconnected.

use std::io::{ErrorKind, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::{Duration, Instant};

use nix::sys::epoll::{EpollEvent, EpollFlags};
use nix::sys::socket::{Shutdown, shutdown};

use super::turns::Attempt;
use super::{Running, poisoned};
use crate::sqlite::protocol::{self, Greeting, Request, Response};
use crate::{Error, Owner, Result};

/// Bytes of answers that wait for a worker to read them. Above it the worker's own
/// requests wait in its socket.
const MUCH_OUTPUT: usize = 8 << 20;

/// How long a worker may leave answers unread (it is stopped, or its machine
/// swaps). Then the connection is closed and its locks go to others.
const STALLED: Duration = Duration::from_secs(10);

/// How long a writer that leaves waits for answers to be taken.
const LEAVING: Duration = Duration::from_secs(1);

/// One worker.
pub(super) struct Peer {
    pub(super) stream: UnixStream,
    /// Known after its first message.
    pub(super) owner: Option<Owner>,
    /// Requests it sends again because an earlier writer did not answer them.
    pub(super) resends: usize,
    /// Bytes of a frame that has not arrived whole.
    pub(super) input: Vec<u8>,
    /// Whole frames that wait for the end of a transaction of somebody's own.
    pub(super) aside: Vec<u8>,
    /// Answers that may leave.
    pub(super) output: Vec<u8>,
    /// Answers that wait for the commit of the batch.
    pub(super) held_back: Vec<u8>,
    /// Answers of the batch before, which is on its way to the disk.
    pub(super) syncing: Vec<u8>,
    /// How much of `output` has left.
    sent: usize,
    /// Since when it takes no more.
    stalled: Option<Instant>,
    /// When it was answered, if it has not asked since.
    answered: Option<Instant>,
    /// What is watched of the socket.
    interest: EpollFlags,
}

/// Why a worker's messages are not executed.
enum Fault {
    /// It sends what no worker of ours does: it is cut off.
    Peer(String),
    /// The writer must end.
    Writer(Error),
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Fault::Writer(error)
    }
}

impl Peer {
    /// Whether it was answered not longer ago than that, and has not asked since.
    pub(super) fn is_expected(&self, within: Duration) -> bool {
        self.answered.is_some_and(|since| since.elapsed() < within)
    }

    /// Sends as much as the socket takes.
    fn send(&mut self) {
        while self.sent < self.output.len() {
            match self.stream.write(&self.output[self.sent..]) {
                Ok(count) => {
                    self.sent += count;
                    self.stalled = None;
                }
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) if e.kind() == ErrorKind::WouldBlock => {
                    self.stalled.get_or_insert_with(Instant::now);
                    return;
                }
                // Its end is noticed by the next read.
                Err(_) => break,
            }
        }
        self.output.clear();
        self.sent = 0;
    }
}

impl Running<'_> {
    /// Connected workers; a tool that looks in is none.
    pub(super) fn workers(&self) -> usize {
        self.connections
            .values()
            .filter(|peer| peer.owner.is_some_and(|owner| owner.0 != 0))
            .count()
    }

    pub(super) fn accept(&mut self, listener: &UnixListener) -> Result<()> {
        loop {
            let stream = match listener.accept() {
                Ok((stream, _)) => stream,
                Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(e) if e.kind() == ErrorKind::Interrupted => continue,
                Err(e) => return Err(poisoned(e)),
            };
            stream.set_nonblocking(true).map_err(poisoned)?;
            let token = self.next_token;
            self.next_token += 1;
            self.watch(&stream, token)?;
            self.connections.insert(
                token,
                Peer {
                    stream,
                    owner: None,
                    resends: 0,
                    input: Vec::new(),
                    aside: Vec::new(),
                    output: Vec::new(),
                    held_back: Vec::new(),
                    syncing: Vec::new(),
                    sent: 0,
                    stalled: None,
                    answered: None,
                    interest: EpollFlags::EPOLLIN,
                },
            );
        }
    }

    /// Takes what a worker sent, and executes it.
    pub(super) fn receive(&mut self, token: u64) -> Result<()> {
        let Some(peer) = self.connections.get_mut(&token) else {
            return Ok(());
        };
        match peer.stream.read(&mut self.scratch) {
            Ok(0) => return self.hang_up(token),
            Ok(count) => {
                peer.answered = None;
                peer.input.extend_from_slice(&self.scratch[..count]);
            }
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
                return Ok(());
            }
            Err(_) => return self.hang_up(token),
        }
        self.execute_input(token)
    }

    /// Executes the whole frames of a worker's input.
    pub(super) fn execute_input(&mut self, token: u64) -> Result<()> {
        let Some(peer) = self.connections.get_mut(&token) else {
            return Ok(());
        };
        let input = std::mem::take(&mut peer.input);
        let mut used = 0;
        let outcome = self.execute_frames(token, &input, &mut used);
        if let Some(peer) = self.connections.get_mut(&token) {
            // Whole frames are the rule; then this keeps the allocation.
            peer.input = input;
            peer.input.drain(..used);
        }
        match outcome {
            Ok(()) => Ok(()),
            Err(Fault::Peer(reason)) => {
                tracing::error!("closing a connection to the writer: {reason}");
                self.hang_up(token)
            }
            Err(Fault::Writer(error)) => Err(error),
        }
    }

    fn execute_frames(
        &mut self,
        token: u64,
        input: &[u8],
        used: &mut usize,
    ) -> std::result::Result<(), Fault> {
        let nonsense = |e: Error| Fault::Peer(e.to_string());
        while let Some((body, length)) = protocol::next_frame(&input[*used..]).map_err(nonsense)? {
            let known = self
                .connections
                .get(&token)
                .is_some_and(|peer| peer.owner.is_some());
            if !known {
                let (_, greeting) = Greeting::decode(body)
                    .map_err(|_| Fault::Peer("its first message was no greeting".to_owned()))?;
                *used += length;
                self.greet(token, &greeting)?;
                continue;
            }
            if self.recovery.is_some() {
                return Ok(()); // Executed in order, once all workers are back.
            }
            let (id, request) = Request::decode(body).map_err(nonsense)?;
            *used += length;
            if self.alone.is_held()
                && self.put_aside(token, &request, &input[*used - length..*used])
            {
                continue;
            }
            self.execute(token, id, request, Attempt::First)?;
        }
        Ok(())
    }

    fn greet(&mut self, token: u64, greeting: &Greeting) -> std::result::Result<(), Fault> {
        let Greeting::Hello {
            version,
            owner,
            resends,
            held,
        } = greeting;
        if *version != protocol::VERSION {
            return Err(Fault::Peer(format!(
                "it speaks version {version} of the protocol, this writer {}",
                protocol::VERSION
            )));
        }
        // Its old connection, if the news of its end comes after the new one.
        let old: Vec<u64> = self
            .connections
            .iter()
            .filter(|(t, peer)| **t != token && owner.0 != 0 && peer.owner == Some(*owner))
            .map(|(t, _)| *t)
            .collect();
        for old in old {
            self.hang_up(old)?;
        }
        for (dialog, fence) in held {
            self.locks.restore(dialog, *owner, *fence);
        }
        if let Some(peer) = self.connections.get_mut(&token) {
            peer.owner = Some(*owner);
            peer.resends = *resends as usize;
        }
        Ok(self.grant_ready()?)
    }

    pub(super) fn answer(&mut self, token: u64, request: u64, answer: &Response) {
        if let Some(peer) = self.connections.get_mut(&token) {
            answer.encode(request, &mut peer.output);
        }
    }

    /// Sends what may leave. A worker that takes nothing for long is cut off.
    pub(super) fn flush(&mut self) {
        for (token, peer) in &mut self.connections {
            if peer.output.is_empty() {
                continue;
            }
            peer.send();
            if peer.output.is_empty() {
                peer.answered = Some(Instant::now());
            }
            let mut interest = EpollFlags::empty();
            interest.set(
                EpollFlags::EPOLLIN,
                peer.output.len() - peer.sent < MUCH_OUTPUT,
            );
            interest.set(EpollFlags::EPOLLOUT, !peer.output.is_empty());
            let mut cut_off = peer.stalled.is_some_and(|since| since.elapsed() > STALLED);
            if interest != peer.interest {
                peer.interest = interest;
                let mut event = EpollEvent::new(interest, *token);
                cut_off |= self.epoll.modify(&peer.stream, &mut event).is_err();
            }
            if cut_off {
                tracing::error!("a worker does not read its answers: cut off");
                // The next read sees the end and frees its locks.
                if let Err(error) = peer.stream.shutdown(std::net::Shutdown::Both) {
                    tracing::debug!("its connection is gone already: {error}");
                }
            }
        }
    }

    /// A worker's connection ended: its locks go to the next in line.
    pub(super) fn hang_up(&mut self, token: u64) -> Result<()> {
        let Some(peer) = self.connections.remove(&token) else {
            return Ok(());
        };
        if let Some(owner) = peer.owner.filter(|owner| owner.0 != 0) {
            let freed = self.locks.owner_gone(owner);
            self.ready.extend(freed);
            self.grant_ready()?;
        }
        self.leave_line(token)
    }

    /// Accepts nobody any more: who comes from now on is refused, and who came is told as all.
    pub(super) fn close_door(&mut self) -> Result<()> {
        shutdown(self.listener.as_raw_fd(), Shutdown::Read).map_err(poisoned)?;
        let listener = self.listener.try_clone().map_err(poisoned)?;
        // It ends with an error, since the socket is shut.
        drop(self.accept(&listener));
        Ok(())
    }

    /// Tells everybody that what they have no answer to was not executed, and sends what
    /// they are still owed.
    pub(super) fn say_leaving(&mut self) -> Result<()> {
        self.finish_sync()?;
        for peer in self.connections.values_mut() {
            Response::Leaving.encode(0, &mut peer.output);
        }
        let deadline = Instant::now() + LEAVING;
        self.flush();
        while self
            .connections
            .values()
            .any(|peer| !peer.output.is_empty())
            && Instant::now() < deadline
        {
            std::thread::sleep(LEAVING / 100);
            self.flush();
        }
        Ok(())
    }
}
