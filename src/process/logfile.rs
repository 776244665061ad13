//! The process that writes log lines to files: the only one that may wait for a disk.
//!
//! Started by the master, or by `single.rs`, before there is a second thread, and only if the
//! log's destination may block (`lines.rs`). It reads lines from a socket that all processes
//! send to without waiting, and writes them until the last of these has ended. It has no other
//! file open, no signal stops it, and nobody waits for it longer than [`LAST_MOMENT`]: a
//! process that hangs in a write to a dead disk cannot even be killed. If it dies it is
//! replaced, after [`AGAIN`] at the earliest; meanwhile lines wait in the socket. Bounds: what
//! the socket holds, at most [`BUFFER`] bytes.

use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::stat::Mode;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, dup2_stderr, dup2_stdin, dup2_stdout};
use socket2::{Domain, Socket, Type};

use super::sys::{self, Forked};
use crate::shared::lines;

/// Bytes of the socket's buffer, as far as the kernel allows it.
const BUFFER: usize = 1024 * 1024;

/// Before another is started.
const AGAIN: Duration = Duration::from_secs(1);

/// How long the end of the program waits for the last lines.
const LAST_MOMENT: Duration = Duration::from_millis(500);

/// Between two looks at whether it has ended.
const LOOK: Duration = Duration::from_millis(2);

/// The process, if one is needed.
pub(crate) struct LogProcess {
    /// What it reads; kept for the next one.
    from: Option<Socket>,
    pid: Option<Pid>,
    started: Instant,
}

impl LogProcess {
    /// Starts it if something is slow; from then on lines go through it.
    ///
    /// # Errors
    /// What the system says.
    pub(crate) fn start() -> std::io::Result<Self> {
        let mut process = LogProcess {
            from: None,
            pid: None,
            started: Instant::now(),
        };
        if lines::slow().is_empty() {
            return Ok(process);
        }
        let (to, from) = Socket::pair(Domain::UNIX, Type::SEQPACKET, None)?;
        to.set_send_buffer_size(BUFFER)?;
        process.pid = Some(fork(&from)?);
        process.from = Some(from);
        lines::through(Some(to));
        Ok(process)
    }

    /// Notes that a child has ended; whether it was this one.
    pub(crate) fn bury(&mut self, pid: Pid) -> bool {
        let is_ours = self.pid == Some(pid);
        if is_ours {
            self.pid = None;
        }
        is_ours
    }

    /// Starts another if it has died.
    pub(crate) fn keep(&mut self) {
        let (Some(from), None) = (&self.from, self.pid) else {
            return;
        };
        if self.started.elapsed() < AGAIN {
            return;
        }
        self.started = Instant::now();
        match fork(from) {
            Ok(pid) => {
                self.pid = Some(pid);
                tracing::error!("the process that writes the log ended; started another");
            }
            Err(error) => tracing::debug!("cannot start the log's process: {error}"),
        }
    }
}

/// The last lines are written before the program ends, if that goes.
impl Drop for LogProcess {
    fn drop(&mut self) {
        lines::finish(LAST_MOMENT);
        let Some(pid) = self.pid else { return };
        lines::through(None);
        let deadline = Instant::now() + LAST_MOMENT;
        while let Ok(WaitStatus::StillAlive) | Err(Errno::EINTR) =
            waitpid(pid, Some(WaitPidFlag::WNOHANG))
        {
            if Instant::now() >= deadline {
                return;
            }
            std::thread::sleep(LOOK);
        }
    }
}

fn fork(from: &Socket) -> std::io::Result<Pid> {
    match sys::fork()? {
        Forked::Master(pid) => Ok(pid),
        Forked::Child => {
            let code = i32::from(write_lines(from).is_err());
            sys::exit_child(code)
        }
    }
}

/// The rest of its life.
fn write_lines(from: &Socket) -> std::io::Result<()> {
    lines::become_log_process();
    // It ends when the others have: whoever stops the program stops them.
    for signal in Signal::iterator() {
        if !matches!(signal, Signal::SIGKILL | Signal::SIGSTOP | Signal::SIGCHLD) {
            sys::ignore(signal)?;
        }
    }
    SigSet::all().thread_unblock()?;
    sys::set_title("log");
    let slow = lines::slow();
    // An empty root has no such file: then it keeps what it was given.
    if let Ok(nothing) = open("/dev/null", OFlag::O_RDWR, Mode::empty()) {
        dup2_stdin(&nothing)?;
        dup2_stdout(&nothing)?;
        if !slow.contains(&std::io::stderr().as_raw_fd()) {
            dup2_stderr(&nothing)?;
        }
    }
    // Sockets that others wait for the end of, the lock on the database.
    sys::close_others(&[slow, vec![from.as_raw_fd()]].concat());
    let mut message = vec![0; 1 + lines::LONGEST];
    loop {
        match nix::unistd::read(from, &mut message) {
            Ok(0) => return Ok(()),
            Ok(count) => lines::write_out(&message[..count]),
            Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}
