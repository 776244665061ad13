//! A bot's real program, started for a test on a free port with a new database.
//!
//! Blocking, with the standard library's sockets, so that it works in any test. Bounds: ten
//! seconds for the start, an answer and the stop each. However a test ends, the program and its
//! children are killed when [`Program`] is dropped.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use serde::Deserialize;
use serde_json::json;

use super::PATIENCE;
use crate::author::error::{Error, Result};
use crate::author::message::Reply;

/// Between two looks at something that takes milliseconds.
const PAUSE: Duration = Duration::from_millis(5);

/// A bot that runs: `POST /http` is its channel.
///
/// ```no_run
/// # fn main() -> turnkey::Result<()> {
/// # let program = "target/debug/bot"; // In a test: env!("CARGO_BIN_EXE_bot").
/// let bot = turnkey::testing::Program::start(program, &["--workers", "2"])?;
/// let replies = bot.say("ann", "/start")?;
/// assert!(replies[0].text.contains("Hello"));
/// // The state is in the file: another life goes on with it.
/// let bot = bot.restart()?;
/// bot.press("ann", "again")?;
/// bot.stop()
/// # }
/// ```
#[derive(Debug)]
pub struct Program {
    program: PathBuf,
    arguments: Vec<String>,
    directory: Arc<tempfile::TempDir>,
    child: Child,
    port: u16,
    stderr: Arc<Mutex<String>>,
}

#[derive(Deserialize)]
struct Replies {
    replies: Vec<Reply>,
}

impl Program {
    /// Starts a program made with [`App`](crate::App), such as
    /// `env!("CARGO_BIN_EXE_bot")`, with further arguments of `run`. It listens on a free
    /// port, keeps its states in a temporary directory, and sees no `TURNKEY_` variable:
    /// a token that is set where the tests run does not reach it.
    ///
    /// # Errors
    /// It ended, or did not start within ten seconds; with what it wrote.
    pub fn start(program: impl AsRef<Path>, arguments: &[&str]) -> Result<Self> {
        let arguments = arguments.iter().map(|word| (*word).to_owned()).collect();
        let directory = tempfile::Builder::new().prefix("turnkey-").tempdir()?;
        Self::launch(program.as_ref().to_owned(), arguments, Arc::new(directory))
    }

    fn launch(
        program: PathBuf,
        arguments: Vec<String>,
        directory: Arc<tempfile::TempDir>,
    ) -> Result<Self> {
        let mut command = Command::new(&program);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("TURNKEY_") {
                command.env_remove(name);
            }
        }
        let storage = directory.path().join("bot.db");
        let mut child = command
            .args(["run", "--host", "127.0.0.1", "--port", "0", "--storage"])
            .arg(format!("sqlite:{}", storage.display()))
            .args(&arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            // So that the whole family can be killed, and a Ctrl-C is the tests' own.
            .process_group(0)
            .spawn()
            .map_err(|e| Error::msg(format!("cannot start {}: {e}", program.display())))?;
        let stderr = Arc::new(Mutex::new(String::new()));
        if let Some(pipe) = child.stderr.take() {
            let into = stderr.clone();
            std::thread::spawn(move || collect(pipe, &into));
        }
        let mut started = Program {
            program,
            arguments,
            directory,
            child,
            port: 0,
            stderr,
        };
        started.port = started.wait_for_port()?;
        Ok(started)
    }

    fn wait_for_port(&mut self) -> Result<u16> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(port) = announced(&self.stderr()) {
                return Ok(port);
            }
            let failed = match self.child.try_wait()? {
                Some(status) => format!("ended at its start ({status})"),
                None if Instant::now() > deadline => {
                    format!("did not start within {PATIENCE:?}")
                }
                None => {
                    std::thread::sleep(PAUSE);
                    continue;
                }
            };
            return Err(self.failed(&failed));
        }
    }

    /// What it has written to its stderr so far: its log.
    pub fn stderr(&self) -> String {
        let text = self.stderr.lock().unwrap_or_else(PoisonError::into_inner);
        text.clone()
    }

    /// The port of its `POST /http` on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// A user writes; what they are answered.
    ///
    /// # Errors
    /// No answer within ten seconds, or another than 200: the handler failed.
    pub fn say(&self, user: &str, text: &str) -> Result<Vec<Reply>> {
        self.post(&json!({ "user_id": user, "text": text }))
    }

    /// A user presses a button that carries this data; what they are answered.
    ///
    /// # Errors
    /// As [`Program::say`].
    pub fn press(&self, user: &str, data: &str) -> Result<Vec<Reply>> {
        self.post(&json!({ "user_id": user, "button": data }))
    }

    fn post(&self, body: &serde_json::Value) -> Result<Vec<Reply>> {
        let body = body.to_string();
        let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        write!(
            stream,
            "POST /http HTTP/1.1\r\nHost: bot\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        )?;
        let mut answer = String::new();
        stream
            .read_to_string(&mut answer)
            .map_err(|e| self.failed(&format!("did not answer {body} ({e})")))?;
        let (head, content) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        if !head.starts_with("HTTP/1.1 200 ") {
            let status = head.lines().next().unwrap_or("nothing");
            return Err(self.failed(&format!("answered {body} with {status}: {content}")));
        }
        Ok(serde_json::from_str::<Replies>(content)?.replies)
    }

    /// Presses Ctrl-C and waits: it must end well, with nothing cut off.
    ///
    /// # Errors
    /// It did not end within ten seconds, or with another exit code than 0.
    pub fn stop(mut self) -> Result<()> {
        self.interrupt()
    }

    /// Stops it as [`Program::stop`] does and starts it again on the same database.
    ///
    /// # Errors
    /// Those of the stop and of the start.
    pub fn restart(mut self) -> Result<Self> {
        self.interrupt()?;
        let directory = self.directory.clone();
        Self::launch(self.program.clone(), self.arguments.clone(), directory)
    }

    fn interrupt(&mut self) -> Result<()> {
        killpg(self.group(), Signal::SIGINT)?;
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.child.try_wait()? {
                Some(status) if status.success() => return Ok(()),
                Some(status) => return Err(self.failed(&format!("ended with {status}"))),
                None if Instant::now() > deadline => {
                    return Err(self.failed(&format!("did not stop within {PATIENCE:?}")));
                }
                None => std::thread::sleep(PAUSE),
            }
        }
    }

    fn group(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).unwrap_or(i32::MAX))
    }

    fn failed(&self, how: &str) -> Error {
        let (program, wrote) = (self.program.display(), self.stderr());
        Error::msg(format!("{program} {how}; it wrote:\n{wrote}"))
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // After a stop nobody is left: then there is no such group, and nothing to do.
        if killpg(self.group(), Signal::SIGKILL).is_ok() {
            drop(self.child.wait());
        }
    }
}

/// Copies what a program writes, to its end.
fn collect(pipe: ChildStderr, into: &Mutex<String>) {
    let mut lines = BufReader::new(pipe);
    let mut line = Vec::new();
    while lines.read_until(b'\n', &mut line).is_ok_and(|n| n > 0) {
        let mut text = into.lock().unwrap_or_else(PoisonError::into_inner);
        text.push_str(&String::from_utf8_lossy(&line));
        line.clear();
    }
}

/// The port in the line that says where it serves.
fn announced(text: &str) -> Option<u16> {
    let line = text.lines().find(|line| line.starts_with("Started "))?;
    let (_, rest) = line.split_once("://")?;
    let (address, _) = rest.split_once(' ')?;
    address.rsplit_once(':')?.1.parse().ok()
}
