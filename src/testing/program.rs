//! A bot's real program, started for a test on a free port with a new database.
//!
//! Blocking, with the standard library's sockets, so that it works in any test. Bounds: ten
//! seconds for the start, an answer and the stop each. However a test ends, the program and its
//! children are killed when [`Program`] is dropped.

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStderr, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use serde::Deserialize;
use serde_json::{Value, json};

use super::launch::{HTTP_TOKEN, Launch, RPC_TOKEN};
use super::request::{self, Answer};
use super::{PATIENCE, PAUSE};
use crate::author::error::{Error, Result};
use crate::author::message::Reply;

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
    launch: Launch,
    directory: Arc<tempfile::TempDir>,
    child: Child,
    port: u16,
    stderr: Arc<Mutex<String>>,
}

#[derive(Deserialize)]
struct Replies {
    replies: Vec<Reply>,
}

impl Launch {
    /// Starts it on a free port, with a database of its own in a temporary directory.
    ///
    /// # Errors
    /// It ended, or did not start within ten seconds; with what it wrote.
    pub fn start(self) -> Result<Program> {
        let directory = tempfile::Builder::new().prefix("turnkey-").tempdir()?;
        Program::launch(self, Arc::new(directory))
    }
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
        Self::of(program).args(arguments).start()
    }

    /// As [`Program::start`], for a program that is to have more than arguments: variables, a
    /// [`Telegram`](super::Telegram).
    pub fn of(program: impl AsRef<Path>) -> Launch {
        Launch::new(program.as_ref())
    }

    fn launch(launch: Launch, directory: Arc<tempfile::TempDir>) -> Result<Self> {
        let mut command = launch.command(directory.path());
        let mut child = command
            .args(["run", "--host", "127.0.0.1", "--port", "0"])
            .args(&launch.arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            // So that the whole family can be killed, and a Ctrl-C is the tests' own.
            .process_group(0)
            .spawn()
            .map_err(|e| Error::msg(format!("cannot start {}: {e}", launch.program.display())))?;
        let stderr = Arc::new(Mutex::new(String::new()));
        if let Some(pipe) = child.stderr.take() {
            let into = stderr.clone();
            std::thread::spawn(move || collect(pipe, &into));
        }
        let mut started = Program {
            launch,
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
        self.send(user, json!({ "text": text }))
    }

    /// A user presses a button that carries this data; what they are answered.
    ///
    /// # Errors
    /// As [`Program::say`].
    pub fn press(&self, user: &str, data: &str) -> Result<Vec<Reply>> {
        self.send(user, json!({ "button": data }))
    }

    /// A user sends anything that `POST /http` takes, as fields of its JSON: `photo`, `files`,
    /// `location`, `contact`, `text`, `id`.
    ///
    /// ```no_run
    /// # fn main() -> turnkey::Result<()> {
    /// # let bot = turnkey::testing::Program::start("target/debug/bot", &[])?;
    /// use serde_json::json;
    ///
    /// let photo = "https://example.org/us.jpg";
    /// bot.send("ann", json!({ "photo": photo, "text": "Us at the sea" }))?;
    /// bot.send("ann", json!({ "location": { "latitude": 48.2, "longitude": 16.4 } }))?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Program::say`].
    pub fn send(&self, user: &str, fields: Value) -> Result<Vec<Reply>> {
        let Value::Object(mut body) = fields else {
            return Err(Error::msg("what is sent is a JSON object"));
        };
        body.insert("user_id".to_owned(), user.into());
        let body = Value::Object(body).to_string();
        let token = self.launch.token(HTTP_TOKEN);
        let answer = self.post("/http", &[("Authorization", &token)], &body)?;
        match answer.status {
            200 => Ok(serde_json::from_str::<Replies>(&answer.body)?.replies),
            _ => Err(self.failed(&format!(
                "answered {body} with {}: {}",
                answer.status, answer.body
            ))),
        }
    }

    /// Posts to any path of the bot, such as an update as a platform posts it: to `/telegram`,
    /// `/viber`, `/vk`, or a channel of your own, with the headers that it is to be believed by.
    ///
    /// # Errors
    /// No answer within ten seconds.
    pub fn post(&self, path: &str, headers: &[(&str, &str)], body: &str) -> Result<Answer> {
        request::post(self.port, path, headers, body)
            .map_err(|e| self.failed(&format!("did not answer {body} ({e})")))
    }

    /// Another system calls a method for a user, by `POST /rpc/CHANNEL/USER`: the result.
    ///
    /// # Errors
    /// No answer within ten seconds, or the error of the call.
    pub fn rpc(&self, channel: &str, user: &str, method: &str, params: Value) -> Result<Value> {
        let user = percent_encoding::utf8_percent_encode(user, percent_encoding::NON_ALPHANUMERIC);
        let path = format!("/rpc/{channel}/{user}");
        let body = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        let token = self.launch.token(RPC_TOKEN);
        let answer = self.post(&path, &[("Authorization", &token)], &body.to_string())?;
        let said: Value = serde_json::from_str(&answer.body).unwrap_or_default();
        match (answer.status, said.get("result")) {
            (200, Some(result)) => Ok(result.clone()),
            _ => Err(self.failed(&format!(
                "answered {path} with {}: {}",
                answer.status, answer.body
            ))),
        }
    }

    /// A timer or schedule of this user is due now, whatever the clock says: `timers fire`.
    /// The bot runs its turn within a second; on `http` there is nobody to tell, so look at a
    /// [`Telegram`](super::Telegram), or at what is said next.
    ///
    /// # Errors
    /// There is no such timer.
    pub fn fire(&self, channel: &str, user: &str, name: &str) -> Result<()> {
        self.command(&["timers", "fire", channel, user, name])
            .map(drop)
    }

    /// What another command of the program prints, about the database of this one: `dump`,
    /// `dead list --json`, `outbox list` …
    ///
    /// # Errors
    /// It ended with another exit code than 0; with what it wrote.
    pub fn command(&self, words: &[&str]) -> Result<String> {
        let mut command = self.launch.command(self.directory.path());
        let ended = command.args(words).stdin(Stdio::null()).output()?;
        match ended.status.success() {
            true => Ok(String::from_utf8_lossy(&ended.stdout).into_owned()),
            false => Err(Error::msg(format!(
                "{words:?} ended with {}: {}",
                ended.status,
                String::from_utf8_lossy(&ended.stderr)
            ))),
        }
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
        Self::launch(self.launch.clone(), directory)
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
        let (program, wrote) = (self.launch.program.display(), self.stderr());
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
