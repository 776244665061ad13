//! The stand-in for a shell: leads a session with a terminal of its own and runs the
//! server in the foreground of it, as a person's shell does. From the inside.
//!
//! Started by `session.rs` as a hidden command of a program of ours. A process of its
//! own, because a controlling terminal belongs to the leader of a session, and because
//! the kernel hangs up on the foreground group when that leader dies: were the server
//! the leader itself, the death of its first process would be a hangup for all others.
//!
//! Invariants: the server's first process is not waited for before the drill says so;
//! until then its number and its group's cannot be given to others. When the drill ends,
//! however it ends, our input does, and everything that was started here is killed.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{Write, stdin, stdout};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use nix::sys::signal::{SigSet, SigmaskHow, sigprocmask};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::{Pid, getpgrp, setsid, tcgetpgrp, tcsetpgrp};
use serde::{Deserialize, Serialize};

use super::family::{Family, MARK};

/// For the foreground to be ours.
const FOREGROUND: Duration = Duration::from_secs(10);

/// The command could not be started; what shells use.
pub(super) const CANNOT_START: i32 = 127;

/// What it says, a line of JSON each.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Word {
    /// The process number of the server's first process.
    Started(i32),
    Left(Exit),
    Failed(String),
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Exit {
    /// By itself, with this exit code.
    Code(i32),
    /// By this signal.
    Signal(i32),
}

/// The arguments of the hidden command.
pub struct Role {
    /// The terminal to take; none for the process that becomes the server.
    pub terminal: Option<OsString>,
    /// The server, and its arguments.
    pub command: Vec<OsString>,
}

/// Plays its part.
pub fn main(role: &Role) -> ExitCode {
    let Some((program, args)) = role.command.split_first() else {
        return ExitCode::FAILURE;
    };
    let Some(terminal) = &role.terminal else {
        return become_the_server(program, args);
    };
    match lead(Path::new(terminal), &role.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            drop(say(&Word::Failed(error.to_string()))); // Nobody may be left to read it.
            ExitCode::FAILURE
        }
    }
}

fn say(word: &Word) -> turnkey_report::Result<()> {
    let mut out = stdout().lock();
    writeln!(out, "{}", serde_json::to_string(word)?)?;
    Ok(out.flush()?)
}

/// In the server's place: waits until it is in the foreground, since servers ask for
/// that when they start.
fn become_the_server(program: &OsString, args: &[OsString]) -> ExitCode {
    let deadline = Instant::now() + FOREGROUND;
    while tcgetpgrp(stdin()) != Ok(getpgrp()) && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(1));
    }
    let error = Command::new(program).args(args).exec();
    let name = program.to_string_lossy();
    drop(writeln!(std::io::stderr(), "cannot start {name}: {error}"));
    ExitCode::from(CANNOT_START as u8)
}

fn lead(terminal: &Path, command: &[OsString]) -> turnkey_report::Result<()> {
    let session = setsid()?;
    // The first terminal that the leader of a session opens becomes its own.
    let tty = OpenOptions::new().read(true).write(true).open(terminal)?;
    let copy = |tty: &File| tty.try_clone();
    let server = Command::new(std::env::current_exe()?)
        .arg(COMMAND)
        .arg("--")
        .args(command)
        .stdin(copy(&tty)?)
        .stdout(copy(&tty)?)
        .stderr(copy(&tty)?)
        .process_group(0)
        .spawn()?;
    let pid = Pid::from_raw(server.id() as i32);
    tcsetpgrp(&tty, pid)?;
    // Whatever the terminal or the drill sends to the group is not for us. After the
    // start: a mask is inherited.
    sigprocmask(SigmaskHow::SIG_BLOCK, Some(&SigSet::all()), None)?;
    say(&Word::Started(pid.as_raw()))?;
    std::thread::Builder::new()
        .name("wait".to_owned())
        .spawn(move || {
            let word = match wait(pid) {
                Ok(exit) => Word::Left(exit),
                Err(error) => Word::Failed(error.to_string()),
            };
            drop(say(&word)); // Nobody may be left to read it.
        })?;
    let mut line = String::new();
    // A line or the end, it is all the same: the drill is over.
    drop(stdin().read_line(&mut line));
    let mark = std::env::var(MARK).unwrap_or_default();
    Family::new(session.as_raw(), mark).kill();
    Ok(())
}

/// Waits for the end and leaves the process number taken.
fn wait(pid: Pid) -> nix::Result<Exit> {
    let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT;
    loop {
        match waitid(Id::Pid(pid), flags) {
            Ok(WaitStatus::Exited(_, code)) => return Ok(Exit::Code(code)),
            Ok(WaitStatus::Signaled(_, signal, _)) => return Ok(Exit::Signal(signal as i32)),
            Ok(_) | Err(nix::Error::EINTR) => {}
            Err(error) => return Err(error),
        }
    }
}

impl From<std::process::ExitStatus> for Exit {
    fn from(status: std::process::ExitStatus) -> Self {
        match status.code() {
            Some(code) => Exit::Code(code),
            None => Exit::Signal(status.signal().unwrap_or_default()),
        }
    }
}

/// The hidden command of every program of ours.
pub const COMMAND: &str = "drill-shell";

impl std::fmt::Display for Exit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Exit::Code(code) => write!(f, "{code}"),
            Exit::Signal(number) => match nix::sys::signal::Signal::try_from(*number) {
                Ok(signal) => write!(f, "{}", signal.as_str()),
                Err(_) => write!(f, "signal {number}"),
            },
        }
    }
}
