//! The stand-in for a shell from the outside: a terminal, a session on it, the server in
//! its foreground.
//!
//! Used by `round.rs`. Invariant: nothing that was started here outlives its
//! [`Session`], nor the drill: the stand-in kills all when its input ends.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use nix::fcntl::OFlag;
use nix::pty::{grantpt, posix_openpt, ptsname_r, unlockpt};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use super::family::{Family, MARK};
use super::output::Output;
use super::plan::Plan;
use super::shell::{self, Exit, Word};
use turnkey_report::Error;

/// For the stand-in to do what takes it milliseconds.
const SOON: Duration = Duration::from_secs(20);

/// What a terminal sends for Ctrl-C.
const CTRL_C: &[u8] = b"\x03";

/// A server in the foreground of its own terminal.
pub(super) struct Session {
    child: Child,
    terminal: File,
    words: Receiver<(Instant, Word)>,
    left: Option<(Instant, Exit)>,
    /// The server's first process.
    pub(super) master: i32,
    pub(super) family: Family,
    output: Arc<Mutex<Output>>,
}

impl Session {
    /// # Errors
    /// [`Error::Start`] when the system gives no terminal or process.
    pub(super) fn start(plan: &Plan, round: usize) -> turnkey_report::Result<Self> {
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
        let mut command = Command::new(shell_program(plan)?);
        command
            .args([shell::COMMAND, "--terminal", &name, "--"])
            .args(&plan.command)
            .envs(plan.envs.iter().map(|(name, value)| (name, value)))
            .env(MARK, &mark)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        if let Some(directory) = &plan.directory {
            command.current_dir(directory);
        }
        let mut child = command
            .spawn()
            .map_err(|e| Error::Start(format!("cannot start a process: {e}")))?;
        let said = child.stdout.take();
        let said = BufReader::new(said.ok_or_else(|| Error::msg("a process without stdout"))?);
        let (sender, words) = channel();
        thread("words", move || {
            for line in said.lines().map_while(Result::ok) {
                let at = Instant::now();
                let word = serde_json::from_str(&line)
                    .unwrap_or_else(|_| Word::Failed(format!("{line:?} was not expected")));
                if sender.send((at, word)).is_err() {
                    return;
                }
            }
        })?;
        let output = Arc::new(Mutex::new(Output::default()));
        let (reader, into) = (terminal.try_clone()?, output.clone());
        thread("output", move || Output::read(reader, &into))?;
        let mut session = Session {
            family: Family::new(child.id() as i32, mark),
            child,
            terminal,
            words,
            left: None,
            master: 0,
            output,
        };
        session.master = match session.words.recv_timeout(SOON) {
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

    /// Presses Ctrl-C.
    pub(super) fn press_ctrl_c(&mut self) -> turnkey_report::Result<()> {
        Ok(self.terminal.write_all(CTRL_C)?)
    }

    /// Signals every process of the server's group. Its number is ours: the first
    /// process is not waited for before the end.
    pub(super) fn signal_group(&self, signal: Signal) -> turnkey_report::Result<()> {
        Ok(killpg(Pid::from_raw(self.master), signal)?)
    }

    /// Signals the first process, likewise.
    pub(super) fn signal_master(&self, signal: Signal) -> turnkey_report::Result<()> {
        Ok(nix::sys::signal::kill(Pid::from_raw(self.master), signal)?)
    }

    /// When and how the first process ended, if it has within this time.
    pub(super) fn left(&mut self, wait: Duration) -> Option<(Instant, Exit)> {
        if self.left.is_none() {
            match self.words.recv_timeout(wait) {
                Ok((at, Word::Left(exit))) => self.left = Some((at, exit)),
                Ok(_) | Err(RecvTimeoutError::Timeout) => {}
                // The stand-in is gone, and so is everything.
                Err(RecvTimeoutError::Disconnected) => {
                    self.left = Some((Instant::now(), Exit::Signal(Signal::SIGKILL as i32)));
                }
            }
        }
        self.left
    }

    /// What it printed so far.
    pub(super) fn output(&self) -> Output {
        self.output
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl Drop for Session {
    /// Kills what is left.
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let deadline = Instant::now() + SOON;
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(2));
        }
        // It may be gone, which is what is wanted.
        drop(self.child.kill());
        drop(self.child.wait());
        self.family.kill();
    }
}

fn thread(name: &str, work: impl FnOnce() + Send + 'static) -> turnkey_report::Result<()> {
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(work)?;
    Ok(())
}

/// The program that plays the shell.
fn shell_program(plan: &Plan) -> turnkey_report::Result<PathBuf> {
    match &plan.shell {
        Some(program) => Ok(program.clone()),
        None => Ok(std::env::current_exe()?),
    }
}

fn no_shell(session: &Session) -> Error {
    let printed = session.output().text();
    Error::Start(format!(
        "the process that stands in for a shell did not start the command; it is a program with \
         Turnkey's command line and the feature drill: name one with Drill::shell. {printed}"
    ))
}
