//! A child's side of the fork: what it becomes, with what it was given.
//!
//! [`live`] is entered from [`Master::fork_child`](super::Master) in the new process, which
//! never returns up the master's stack, not even by a panic: the values there belong to the
//! master, and their files are closed here. Bounds: `--grace` for a worker's end, or
//! [`ORPHAN_GRACE`] when its master is gone; [`WRITER_GRACE`] more for a writer's.

use std::io::Write;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::prctl;
use nix::sys::signal::{SigSet, Signal};
use nix::unistd::{Pid, getppid};
use tokio::io::AsyncReadExt;
use turnkey_storage::Database;

use super::child::Role;
use super::given::{Given, Job, Working, Writing};
use super::stop::WRITER_GRACE;
use crate::author::start_error::StartError;
use crate::config::Config;
use crate::net::listener::Listener;
use crate::process::exit::{self, LAST_LINES};
use crate::process::lifeline::{DRAIN, LAST_WORDS, LEAVE, READY};
use crate::process::{sockets, sys, writer};
use crate::shared::lines;
use crate::shared::lines::say;
use crate::shared::scoreboard::{Scoreboard, Shared, Slot};
use crate::worker::{Leave, Requests, Worker, terminated};

/// How long children go on at most once their master is gone: nobody is left who
/// would cut them off.
const ORPHAN_GRACE: Duration = Duration::from_secs(5);

/// How much longer than the grace time a worker lives if its master forgets it.
const FORGOTTEN: Duration = Duration::from_secs(2);

/// What the master said last.
enum Told {
    Drain,
    Leave,
    /// Nothing: it is gone.
    Gone,
    /// Nothing: SIGTERM came, from an init system or an administrator.
    Terminate,
}

/// The rest of a child's life.
pub(super) fn live(given: Given<'_>) -> ! {
    lines::forget();
    sys::close_others(&given.files());
    let role = given.role();
    let last_line = given.lifeline.try_clone();
    let life = AssertUnwindSafe(|| {
        become_child(given.master, role)?;
        let Given {
            master,
            lifeline,
            config,
            database,
            scoreboard,
            job,
        } = given;
        lifeline.set_nonblocking(true)?;
        match job {
            Job::Write(writing) => be_writer(
                writing,
                lifeline,
                config.grace,
                database,
                scoreboard.writer(),
            ),
            Job::Work(working) => {
                be_worker(working, (lifeline, master), config, database, scoreboard)
            }
        }
    });
    // The hook has printed what a panic said.
    let lived =
        catch_unwind(life).unwrap_or_else(|_| Err(StartError::Refused("it panicked".to_owned())));
    let code = match lived {
        Ok(code) => code,
        Err(StartError::Token(sentence)) => {
            say!("error: {sentence}");
            exit::BAD_START
        }
        Err(error) => {
            tracing::error!("{role}: {error}");
            if let Ok(line) = &last_line {
                last_words(line, &error.to_string());
            }
            exit::CANNOT_START
        }
    };
    lines::finish(LAST_LINES);
    sys::exit_child(code.into())
}

/// Signals, the master's death and the name are those of a child from now on.
fn become_child(master: Pid, role: Role) -> crate::StartResult<()> {
    // Ctrl-C goes to the whole foreground group; only the master decides.
    // Ignored before it is unblocked: there is no moment in between. So it
    // is with the others, save SIGTERM, which a worker takes for DRAIN, and a
    // writer, which leaves after the workers, ignores.
    for signal in [
        Signal::SIGINT,
        Signal::SIGQUIT,
        Signal::SIGHUP,
        Signal::SIGUSR1,
        Signal::SIGUSR2,
        Signal::SIGTTIN,
        Signal::SIGTTOU,
    ] {
        sys::ignore(signal)?;
    }
    if role == Role::Writer {
        sys::ignore(Signal::SIGTERM)?;
    }
    // A second belt; the first is the lifeline.
    prctl::set_pdeathsig(Signal::SIGTERM)?;
    if getppid() != master {
        return Err(StartError::Refused("the master is gone".to_owned()));
    }
    sys::set_title(&role.to_string());
    SigSet::all().thread_unblock()?;
    Ok(())
}

/// The writer's process; its exit code.
fn be_writer(
    writing: Writing,
    lifeline: UnixStream,
    grace: Duration,
    database: &Database,
    slot: Slot,
) -> crate::StartResult<u8> {
    let Writing {
        listener,
        expected,
        alive,
    } = writing;
    // Open until this process has ended, not until this function has.
    std::mem::forget(alive);
    let files = database
        .files()
        .ok_or_else(|| StartError::Refused("this database has no writer".to_owned()))?;
    let to_master = lifeline.try_clone()?;
    let line = lifeline.try_clone()?;
    let longest = grace.min(ORPHAN_GRACE) + WRITER_GRACE;
    std::thread::Builder::new()
        .name("orphan".to_owned())
        .spawn(move || end_without_master(&line, longest))?;
    let written = writer::run(
        (files, database.file()),
        database.sync,
        listener,
        expected,
        slot,
        &lifeline,
        move || ready(&to_master),
    );
    match written {
        Ok(()) => Ok(exit::CLEAN),
        Err(turnkey_storage::Error::Undone(reason)) => {
            tracing::warn!("{}: starting over: {reason}", Role::Writer);
            Ok(exit::START_OVER)
        }
        Err(error) => Err(error.into()),
    }
}

/// A worker's process; its exit code.
fn be_worker(
    working: Working,
    (lifeline, master): (UnixStream, Pid),
    config: &Config,
    database: &Database,
    scoreboard: Scoreboard,
) -> crate::StartResult<u8> {
    let to_master = lifeline.try_clone()?;
    let requests = Requests::default();
    tell_when_aborted(requests.clone(), lifeline.try_clone()?)?;
    // Only to close the door, should the master be gone; let go of when the
    // drain begins, so that it does not keep the sockets open.
    let door: Vec<Listener> = if working.sockets_stay {
        Vec::new()
    } else {
        let clones = working.listeners.iter().map(Listener::try_clone);
        clones.collect::<Result<_, _>>()?
    };
    let grace = config.grace;
    let at_the_end = requests.clone();
    let groups = scoreboard.worker(working.slot).groups();
    let worker = Worker {
        is_first: working.index == 0,
        slot: working.slot,
        owner: working.owner,
        config,
        database,
        listeners: working.listeners,
        scoreboard,
        requests,
        tickets: working.tickets,
    };
    worker.run(
        working.author,
        move || ready(&to_master),
        async move || {
            let mut told = tokio::select! {
                told = told(lifeline) => told,
                () = terminated() => Told::Terminate,
            };
            if getppid() != master {
                told = Told::Gone; // Its SIGTERM was the second belt.
            }
            let (leave, rest) = match told {
                Told::Leave => (Leave::Replaced, grace + FORGOTTEN),
                Told::Drain | Told::Terminate => (Leave::Stop, grace + FORGOTTEN),
                Told::Gone => {
                    tracing::warn!("the master is gone: finishing what is in hand");
                    close_door(&door, scoreboard);
                    (Leave::Stop, grace.min(ORPHAN_GRACE))
                }
            };
            drop(door);
            // The master cuts off what takes longer. Should it be gone, nobody
            // else does.
            tokio::task::spawn_local(async move {
                tokio::time::sleep(rest).await;
                let list = at_the_end.list().replace('\n', "; ");
                tracing::error!("the grace time is over, cut off: {list}");
                groups.kill();
                lines::finish(LAST_LINES);
                sys::exit_child(exit::CUT.into());
            });
            leave
        },
    )?;
    Ok(exit::CLEAN)
}

/// Lets nobody in any more, unless another program serves them.
fn close_door(door: &[Listener], scoreboard: Scoreboard) {
    if scoreboard.shared(Shared::Others) == 0 {
        sockets::refuse_newcomers(door);
    }
}

/// Tells the master. Should that fail, the master is gone, and the lifeline says so.
fn ready(mut to_master: &UnixStream) {
    drop(to_master.write_all(&[READY]));
}

/// As [`ready`], in a child that ends.
fn last_words(mut to_master: &UnixStream, words: &str) {
    drop(to_master.write_all(&[&[LAST_WORDS], words.as_bytes()].concat()));
}

/// SIGABRT comes from the master when it has waited long enough. A thread of its own
/// answers, so that a worker which hangs tells all the same what it hangs on.
fn tell_when_aborted(requests: Requests, to_master: UnixStream) -> crate::StartResult<()> {
    let mut abort = SigSet::empty();
    abort.add(Signal::SIGABRT);
    // Before there is another thread: all inherit it.
    abort.thread_block()?;
    std::thread::Builder::new()
        .name("abort".to_owned())
        .spawn(move || {
            while abort.wait().is_err() {}
            last_words(&to_master, &requests.list());
            sys::exit_child(exit::ABORTED.into())
        })?;
    Ok(())
}

/// Ends a writer whose master is gone and whose workers do not leave, or are those of
/// a successor that wants to start a writer of its own.
fn end_without_master(lifeline: &UnixStream, longest: Duration) {
    loop {
        let mut line = [PollFd::new(lifeline.as_fd(), PollFlags::empty())];
        match poll(&mut line, PollTimeout::NONE) {
            Ok(_) if is_hung_up(&line) => break,
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(_) => return,
        }
    }
    std::thread::sleep(longest);
    tracing::warn!("the master is gone: the writer ends; what it acknowledged is safe");
    lines::finish(LAST_LINES);
    sys::exit_child(exit::CUT.into());
}

fn is_hung_up(line: &[PollFd<'_>]) -> bool {
    let hung_up = |fd: &PollFd<'_>| {
        fd.revents()
            .is_some_and(|events| events.intersects(PollFlags::POLLHUP | PollFlags::POLLERR))
    };
    line.iter().any(hung_up)
}

/// Resolves when the master says something, or is gone.
async fn told(lifeline: UnixStream) -> Told {
    let Ok(mut lifeline) = tokio::net::UnixStream::from_std(lifeline) else {
        return Told::Gone;
    };
    let mut byte = [0];
    while let Ok(1) = lifeline.read(&mut byte).await {
        match byte[0] {
            DRAIN => return Told::Drain,
            LEAVE => return Told::Leave,
            _ => {}
        }
    }
    Told::Gone
}
