//! The server as the drill holds it: in the foreground of a terminal of its own, with a
//! stand-in for a shell, seen from the outside; or attached, if it ran before; or only an
//! address.
//!
//! Used by `round/`. Invariants: nothing that was started here outlives its
//! [`Session`], nor the drill: the stand-in kills all when its input ends. What was not
//! started here is not ended here.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use nix::fcntl::OFlag;
use nix::pty::{grantpt, posix_openpt, ptsname_r, unlockpt};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::{Pid, getpgid, getpgrp};

use super::family::{Family, MARK};
use super::output::Output;
use super::plan::Plan;
use super::posix;
use super::shell::{self, Exit, Word};
use turnkey_report::Error;

/// For the stand-in to do what takes it milliseconds.
const SOON: Duration = Duration::from_secs(20);

/// What a terminal sends for Ctrl-C.
const CTRL_C: &[u8] = b"\x03";

/// A server.
pub(super) struct Session {
    origin: Origin,
    left: Option<Left>,
    /// The server's first process; 0 where none is known.
    pub(super) master: i32,
    pub(super) family: Family,
}

/// That the first process ended.
#[derive(Clone, Copy, Debug)]
pub(super) struct Left {
    pub(super) at: Instant,
    /// Only a parent is told.
    pub(super) exit: Option<Exit>,
}

/// How it came to be.
enum Origin {
    Started(Box<Started>),
    Attached,
    Elsewhere,
}

/// In the foreground of its own terminal.
struct Started {
    child: Child,
    /// Beside a stand-in that does not notice the drill's end itself.
    watchman: Option<Child>,
    terminal: File,
    words: Receiver<(Instant, Word)>,
    output: Arc<Mutex<Output>>,
}

impl Session {
    /// As the plan says: starts the command, attaches to a process, or neither.
    ///
    /// # Errors
    /// [`Error::Start`] when the system gives no terminal or process, or there is no such
    /// process.
    pub(super) fn open(plan: &Plan, round: usize) -> turnkey_report::Result<Self> {
        if !plan.command.is_empty() {
            return Session::start(plan, round);
        }
        let (origin, master, family) = match plan.attach {
            None => (Origin::Elsewhere, 0, Family::none()),
            Some(pid) => {
                let family = Family::attached(pid).ok_or_else(|| {
                    Error::Start(format!("there is no process {pid} to attach to"))
                })?;
                (Origin::Attached, pid, family)
            }
        };
        Ok(Session {
            origin,
            left: None,
            master,
            family,
        })
    }

    fn start(plan: &Plan, round: usize) -> turnkey_report::Result<Self> {
        let cannot = |what: &str, e: std::io::Error| {
            Error::Start(format!(
                "cannot {what}: {e}; the drill needs a terminal of its own (/dev/ptmx)"
            ))
        };
        let terminal = posix_openpt(OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC)
            .map_err(|e| cannot("make a terminal", e.into()))?;
        grantpt(&terminal).map_err(|e| cannot("make a terminal", e.into()))?;
        unlockpt(&terminal).map_err(|e| cannot("make a terminal", e.into()))?;
        let name = ptsname_r(&terminal).map_err(|e| cannot("name a terminal", e.into()))?;
        let terminal = File::from(OwnedFd::from(terminal));
        let mark = format!("{}-{round}", plan.run);
        let mut command = match &plan.shell {
            Some(program) => {
                let mut command = Command::new(program);
                command
                    .args([shell::COMMAND, "--terminal", &name, "--"])
                    .args(&plan.command)
                    .stdin(Stdio::piped())
                    .stderr(Stdio::null());
                command
            }
            None => {
                let open = || {
                    let mut options = OpenOptions::new();
                    options
                        .read(true)
                        .write(true)
                        .custom_flags(OFlag::O_NOCTTY.bits());
                    options.open(&name)
                };
                let mut command = posix::leader(&plan.command);
                command.stdin(open()?).stderr(open()?);
                command
            }
        };
        command
            .envs(plan.envs.iter().map(|(name, value)| (name, value)))
            .env(MARK, &mark)
            .stdout(Stdio::piped());
        if let Some(directory) = &plan.directory {
            command.current_dir(directory);
        }
        let mut child = command.spawn().map_err(|e| {
            let program = command.get_program().to_string_lossy();
            Error::Start(format!("cannot start {program}, to make a session: {e}"))
        })?;
        let watchman = match plan.shell {
            Some(_) => None,
            None => Some(posix::watchman(child.id(), &mark)?),
        };
        let said = child.stdout.take();
        let said = BufReader::new(said.ok_or_else(|| Error::msg("a process without stdout"))?);
        let (sender, words) = channel();
        let listen = move || {
            for line in said.lines().map_while(Result::ok) {
                let at = Instant::now();
                let word = serde_json::from_str(&line)
                    .unwrap_or_else(|_| Word::Failed(format!("{line:?} was not expected")));
                if sender.send((at, word)).is_err() {
                    return;
                }
            }
        };
        std::thread::Builder::new()
            .name("words".to_owned())
            .spawn(listen)?;
        let output = Arc::new(Mutex::new(Output::default()));
        Output::follow(terminal.try_clone()?, &output)?;
        let family = Family::new(child.id() as i32, mark);
        let first = words.recv_timeout(SOON);
        let mut session = Session {
            origin: Origin::Started(Box::new(Started {
                child,
                terminal,
                watchman,
                words,
                output,
            })),
            left: None,
            master: 0,
            family,
        };
        session.master = match first {
            Ok((_, Word::Started(pid))) => pid,
            Ok((_, Word::Failed(sentence))) => {
                return Err(Error::Start(format!(
                    "cannot start the command: {sentence}"
                )));
            }
            Ok((_, Word::Left(_))) | Err(_) => return Err(no_shell(&session)),
        };
        Ok(session)
    }

    /// Whether its processes were started here, and are to end here.
    pub(super) fn is_ours(&self) -> bool {
        matches!(self.origin, Origin::Started(_))
    }

    /// Presses Ctrl-C; without a terminal of ours, does what it does.
    pub(super) fn press_ctrl_c(&mut self) -> turnkey_report::Result<()> {
        match &mut self.origin {
            Origin::Started(started) => Ok(started.terminal.write_all(CTRL_C)?),
            _ => self.signal_group(Signal::SIGINT),
        }
    }

    /// Signals every process of the server's group. If the server was started here, the
    /// number is ours: the first process is not waited for before the end.
    pub(super) fn signal_group(&self, signal: Signal) -> turnkey_report::Result<()> {
        let master = Pid::from_raw(self.master);
        let group = match self.is_ours() {
            true => master,
            false => getpgid(Some(master))?,
        };
        if group == getpgrp() {
            return Err(Error::Start(format!(
                "process {} is in the drill's own process group, which a signal to the group would \
                 hit; start it with setsid",
                self.master
            )));
        }
        Ok(killpg(group, signal)?)
    }

    /// Signals the first process, likewise.
    pub(super) fn signal_master(&self, signal: Signal) -> turnkey_report::Result<()> {
        Ok(nix::sys::signal::kill(Pid::from_raw(self.master), signal)?)
    }

    /// When and how the first process ended, if it has within this time.
    pub(super) fn left(&mut self, wait: Duration) -> Option<Left> {
        if self.left.is_some() {
            return self.left;
        }
        let left = |at, exit| Some(Left { at, exit });
        self.left = match &self.origin {
            Origin::Elsewhere => None,
            Origin::Attached => {
                std::thread::sleep(wait);
                let is_there = self.family.has(self.master);
                (!is_there).then(Instant::now).and_then(|at| left(at, None))
            }
            Origin::Started(started) => match started.words.recv_timeout(wait) {
                Ok((at, Word::Left(exit))) => left(at, Some(exit)),
                Ok(_) | Err(RecvTimeoutError::Timeout) => None,
                // The stand-in is gone, and so is everything.
                Err(RecvTimeoutError::Disconnected) => {
                    left(Instant::now(), Some(Exit::Signal(Signal::SIGKILL as i32)))
                }
            },
        };
        self.left
    }

    /// What it printed so far; nothing is known of what was not started here.
    pub(super) fn output(&self) -> Output {
        match &self.origin {
            Origin::Started(started) => started
                .output
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .clone(),
            _ => Output::default(),
        }
    }
}

impl Drop for Session {
    /// Kills what is left of what was started.
    fn drop(&mut self) {
        let Origin::Started(started) = &mut self.origin else {
            return;
        };
        drop(started.child.stdin.take());
        if let Some(watchman) = &mut started.watchman {
            drop(started.child.kill());
            drop(watchman.stdin.take());
            drop(watchman.wait());
        }
        let deadline = Instant::now() + SOON;
        while matches!(started.child.try_wait(), Ok(None)) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(2));
        }
        // It may be gone, which is what is wanted.
        drop(started.child.kill());
        drop(started.child.wait());
        self.family.kill();
    }
}

fn no_shell(session: &Session) -> Error {
    let printed = session.output().text();
    Error::Start(format!(
        "the process that stands in for a shell did not start the command; it is a program with \
         Turnkey's command line and the feature drill: name one with Drill::shell. {printed}"
    ))
}
