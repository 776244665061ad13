//! How a handler process is started: the program, its arguments, what it inherits.
//!
//! Made by `cli/run.rs` before anything is forked; used by `trial.rs` in a child that ends
//! and by `process/` in each worker. Invariants: a handler has none of our variables,
//! secrets among them; it leads a process group of its own, so the terminal's Ctrl-C is
//! not for it; it is killed with the thread that started it.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use nix::fcntl::OFlag;
use nix::sys::signal::{Signal, killpg};
use nix::sys::stat::fstat;
use nix::unistd::{Pid, pipe2};

use super::sdk::{Carried, SDK};
use super::wire::PROTOCOL;

/// Where a handler reads turns, and where it writes answers.
const TURNS: RawFd = 3;
const ANSWERS: RawFd = 4;

/// What systemd tells us, and no handler.
const INIT_SYSTEM: [&str; 9] = [
    "NOTIFY_SOCKET",
    "LISTEN_FDS",
    "LISTEN_PID",
    "LISTEN_FDNAMES",
    "CREDENTIALS_DIRECTORY",
    "WATCHDOG_PID",
    "WATCHDOG_USEC",
    "MAINPID",
    "FDSTORE",
];

/// What a command needs before it becomes the handler, which only `sys.rs` may do: files
/// under these numbers, the system's own signals, this limit of open files, and its end
/// with our thread.
pub(crate) type Guard = fn(&mut Command, Vec<(RawFd, RawFd)>, u64);

/// How to start a handler.
#[derive(Clone)]
pub(crate) struct Plan {
    pub(crate) program: PathBuf,
    pub(crate) arguments: Vec<OsString>,
    /// How it is called until it says so itself: `bot.py`.
    pub(crate) name: String,
    /// Where its files are.
    pub(crate) directory: PathBuf,
    pub(crate) guard: Guard,
    /// The limit of open files that we were started with.
    pub(crate) open_files: u64,
}

/// Our ends of the pipes of a process that was started, which has the others.
pub(super) struct Pipes {
    pub(super) to: OwnedFd,
    pub(super) from: OwnedFd,
    /// The handler's; to be dropped once it has been started.
    _theirs: Theirs,
}

struct Theirs {
    _turns: OwnedFd,
    _answers: OwnedFd,
    _low: Vec<File>,
}

impl Pipes {
    /// Our ends, once the process has been started.
    pub(super) fn ours(self) -> (OwnedFd, OwnedFd) {
        (self.to, self.from)
    }
}

impl Plan {
    /// A command that is ready to be started, and the pipes to it.
    ///
    /// # Errors
    /// No more files.
    pub(super) fn command(&self, sdk: &Carried) -> io::Result<(Command, Pipes)> {
        let (turns, to) = pipe2(OFlag::O_CLOEXEC)?;
        let (from, answers) = pipe2(OFlag::O_CLOEXEC)?;
        let mut command = Command::new(&self.program);
        command
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0);
        for (name, _) in std::env::vars_os() {
            if name.as_encoded_bytes().starts_with(b"TURNKEY_") {
                command.env_remove(name);
            }
        }
        INIT_SYSTEM.iter().for_each(|name| {
            command.env_remove(name);
        });
        let inodes = [fstat(&turns)?.st_ino, fstat(&answers)?.st_ino];
        command
            .env("TURNKEY_PROTOCOL", PROTOCOL.to_string())
            .env("TURNKEY_PIPES", format!("{}:{}", inodes[0], inodes[1]))
            .env("PYTHONUNBUFFERED", "1");
        sdk.add_to(&mut command);
        let files = vec![
            (turns.as_raw_fd(), TURNS),
            (answers.as_raw_fd(), ANSWERS),
            (sdk.zip(), SDK),
        ];
        // The pipe by which the standard library learns of a failed exec must have none of
        // these numbers.
        let mut low = Vec::new();
        loop {
            let file = File::open("/dev/null")?;
            if file.as_raw_fd() > SDK {
                break;
            }
            low.push(file);
        }
        (self.guard)(&mut command, files, self.open_files);
        let theirs = Theirs {
            _turns: turns,
            _answers: answers,
            _low: low,
        };
        Ok((
            command,
            Pipes {
                to,
                from,
                _theirs: theirs,
            },
        ))
    }

    /// Why it cannot be started at all.
    pub(super) fn not_started(&self, error: &io::Error) -> String {
        let program = self.program.display();
        match error.kind() {
            io::ErrorKind::NotFound => format!(
                "cannot start the handler: there is no program {program}; install it, or name another: turnkey run -- COMMAND"
            ),
            io::ErrorKind::PermissionDenied => format!(
                "cannot start the handler: {program} may not be executed; chmod +x, or name its interpreter: turnkey run -- COMMAND"
            ),
            _ => format!("cannot start the handler {program}: {error}"),
        }
    }
}

/// What interpreters say, and what helps. Each was met by running it.
const REMEDIES: [(&str, &str); 3] = [
    (
        "is not allowed in NODE_OPTIONS",
        "Node.js 18.19, 20.6 or newer is needed; or install the SDK (npm install) and name the command: turnkey run -- node bot.mjs",
    ),
    (
        "Cannot use import statement outside a module",
        "name it bot.mjs, or put \"type\": \"module\" into package.json",
    ),
    (
        "does not provide an export named 'run'",
        "an installed package that is called turnkey is not this SDK: remove it",
    ),
];

/// What helps against what a handler printed, if that is known.
pub(super) fn remedy(printed: &str) -> String {
    let known = REMEDIES.iter().find(|(said, _)| printed.contains(said));
    known.map_or_else(String::new, |(_, remedy)| format!("\n  ({remedy})"))
}

/// Signals a handler and all that it has started; if they are gone, nothing.
pub(super) fn signal_group(leader: Pid, signal: Signal) {
    // The only error is that nobody is left.
    killpg(leader, signal).ok();
}

/// How a process ended, in words.
pub(super) fn ended(status: std::process::ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt;
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("it ended with exit code {code}"),
        (_, Some(number)) => match Signal::try_from(number) {
            Ok(signal) => format!("it was killed by {signal}"),
            Err(_) => format!("it was killed by signal {number}"),
        },
        _ => "it ended".to_owned(),
    }
}
