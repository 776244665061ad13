//! `--do`: a command of the user's that is run in the middle of the load, such as a rolling
//! restart, and what became of it.
//!
//! Used by `round/`. It runs in a process group of its own, so that it can be ended at
//! `--do-limit`; what it leaves running on purpose (a server in the background) is left
//! alone.

use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use serde::Serialize;

use super::output::Output;
use super::plan::Plan;
use super::shell::Exit;
use turnkey_report::Error;

/// For its last lines to arrive.
const LAST_LINES: Duration = Duration::from_millis(30);

/// What became of the command of `--do`.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct DoneBy {
    /// As it was given.
    pub command: String,
    /// How it ended; none when it was ended at `--do-limit`.
    pub exit: Option<Exit>,
    /// How long it took.
    pub seconds: f64,
    /// What it printed.
    pub output: String,
}

impl DoneBy {
    /// What is wrong with it, in a sentence.
    pub(super) fn problem(&self) -> Option<String> {
        match self.exit {
            Some(Exit::Code(0)) => None,
            Some(exit) => Some(format!("`{}` ended with {exit}", self.command)),
            None => Some(format!(
                "`{}` did not end within {} s (--do-limit) and was killed",
                self.command, self.seconds as u64
            )),
        }
    }
}

/// The command while it runs.
pub(super) struct Deed {
    command: String,
    child: Child,
    begun: Instant,
    ended: Option<(Instant, Option<Exit>)>,
    limit: Duration,
    output: Arc<Mutex<Output>>,
}

impl Deed {
    /// # Errors
    /// [`Error::Start`] when there is no shell to run it.
    pub(super) fn start(command: &str, plan: &Plan) -> turnkey_report::Result<Self> {
        let mut shell = Command::new("/bin/sh");
        shell
            .args(["-c", command])
            .envs(plan.envs.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0);
        if let Some(directory) = &plan.directory {
            shell.current_dir(directory);
        }
        let child = shell
            .spawn()
            .map_err(|e| Error::Start(format!("cannot run --do: {e}")))?;
        let mut deed = Deed {
            command: command.to_owned(),
            child,
            begun: Instant::now(),
            ended: None,
            limit: plan.do_limit,
            output: Arc::default(),
        };
        // Not waited for: what it leaves in the background may keep them open.
        if let Some(stdout) = deed.child.stdout.take() {
            Output::follow(stdout, &deed.output)?;
        }
        if let Some(stderr) = deed.child.stderr.take() {
            Output::follow(stderr, &deed.output)?;
        }
        Ok(deed)
    }

    /// When it ended, once it has; ends it at its limit.
    pub(super) fn ended(&mut self) -> Option<Instant> {
        if self.ended.is_none() {
            let now = Instant::now();
            if let Ok(Some(status)) = self.child.try_wait() {
                self.ended = Some((now, Some(status.into())));
            } else if self.begun.elapsed() >= self.limit {
                self.kill();
                self.ended = Some((now, None));
            }
        }
        self.ended.map(|(at, _)| at)
    }

    fn kill(&mut self) {
        // It may be gone, which is what is wanted.
        let group = Pid::from_raw(self.child.id() as i32);
        let _ = killpg(group, Signal::SIGKILL);
        drop(self.child.wait());
    }

    pub(super) fn result(&self) -> DoneBy {
        std::thread::sleep(LAST_LINES);
        let (at, exit) = self.ended.unwrap_or((Instant::now(), None));
        let output = self.output.lock().unwrap_or_else(PoisonError::into_inner);
        DoneBy {
            command: self.command.clone(),
            exit,
            seconds: (at - self.begun).as_secs_f64(),
            output: output.text(),
        }
    }
}

impl Drop for Deed {
    /// The drill was stopped: so is this.
    fn drop(&mut self) {
        if self.ended.is_none() {
            self.kill();
        }
    }
}
