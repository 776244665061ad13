//! A real bot that runs, as [`Setup`] says. Whatever happens to a test, the bot and its children
//! are killed when [`Bot`] is dropped, and a test that fails prints what the bot wrote.

use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::proc::{established, pids, sockets, stat, title, unread_bytes};
pub(crate) use super::programs::{Ended, LATER, SOON, example, finish, skipped};
pub(crate) use super::setup::{Setup, count_of, url};
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;

/// Waits for a condition; the message says what did not happen.
pub(crate) async fn until(what: &str, limit: Duration, mut happened: impl FnMut() -> bool) {
    let deadline = Instant::now() + limit;
    while !happened() {
        assert!(Instant::now() < deadline, "not within {limit:?}: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// A bot that does what it is told, in two workers.
pub(crate) async fn two_workers(args: &[&str]) -> Bot {
    let setup = Setup::commands().args(&["--workers", "2"]).args(args);
    setup.start().await
}

impl Setup {
    /// Starts it and waits until it says so.
    pub(crate) async fn start(&self) -> Bot {
        let mut bot = self.spawn();
        bot.wait_until_started().await;
        bot
    }

    /// Starts it and does not wait.
    pub(crate) fn spawn(&self) -> Bot {
        self.spawn_as(self.run())
    }

    /// As [`Setup::start`], with a command that starts it.
    pub(crate) async fn start_as(&self, command: Command) -> Bot {
        let mut bot = self.spawn_as(command);
        bot.wait_until_started().await;
        bot
    }

    pub(crate) fn spawn_as(&self, mut command: Command) -> Bot {
        let mut child = command
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|e| panic!("cannot start {}: {e}", self.program.display()));
        let pipe = child.stderr.take().expect("stderr is piped");
        let text = Arc::new(Mutex::new(String::new()));
        let written = text.clone();
        let reader = std::thread::spawn(move || {
            let mut lines = BufReader::new(pipe);
            let mut line = Vec::new();
            while lines.read_until(b'\n', &mut line).is_ok_and(|n| n > 0) {
                let mut text = written.lock().expect("no panic under this lock");
                text.push_str(&String::from_utf8_lossy(&line));
                line.clear();
            }
        });
        Bot {
            setup: self.clone(),
            child,
            port: 0,
            text,
            reader: Some(reader),
        }
    }

    /// With a stderr that the test reads, or does not read.
    pub(crate) fn spawn_into(&self, stderr: impl Into<Stdio>) -> Bot {
        let child = self.run().stdout(Stdio::null()).stderr(stderr).spawn();
        Bot {
            setup: self.clone(),
            child: child.unwrap_or_else(|e| panic!("cannot start {:?}: {e}", self.program)),
            port: 0,
            text: Arc::default(),
            reader: None,
        }
    }
}

/// A running bot.
pub(crate) struct Bot {
    pub(crate) setup: Setup,
    child: Child,
    pub(crate) port: u16,
    text: Arc<Mutex<String>>,
    reader: Option<JoinHandle<()>>,
}

impl Bot {
    async fn wait_until_started(&mut self) {
        let deadline = Instant::now() + SOON;
        loop {
            if let Some(port) = started_port(&self.stderr()) {
                self.port = port;
                return;
            }
            let others = ["Started polling updater", "updater on unix:"];
            if others.iter().any(|other| self.stderr().contains(other)) {
                return;
            }
            let ended = self.child.try_wait().expect("our own child");
            assert!(ended.is_none(), "it ended instead of starting: {ended:?}");
            assert!(Instant::now() < deadline, "it did not start");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// What it has written so far.
    pub(crate) fn stderr(&self) -> String {
        self.text.lock().expect("no panic under this lock").clone()
    }

    /// Waits until it has written something.
    pub(crate) async fn wait_for_stderr(&self, part: &str) {
        let what = format!("{part:?} on its stderr");
        until(&what, SOON, || self.stderr().contains(part)).await;
    }

    /// The first process: the master, or all there is.
    pub(crate) fn pid(&self) -> i32 {
        self.child.id() as i32
    }

    /// Every process of it that lives, and the title of each.
    pub(crate) fn processes(&self) -> Vec<(i32, String)> {
        let mut found: Vec<_> = pids()
            .into_iter()
            .filter(|pid| stat(*pid).is_some_and(|s| s.group == self.pid() && s.state != 'Z'))
            .map(|pid| (pid, title(pid)))
            .collect();
        found.sort_unstable();
        found
    }

    /// Goes on with the program that took over from this one, once it has: it is no
    /// child of the test's.
    pub(crate) async fn successor_program(&self) -> i32 {
        self.wait_for_stderr(" starts as process ").await;
        let text = self.stderr();
        let (_, rest) = text
            .rsplit_once(" starts as process ")
            .expect("it is there");
        let (pid, _) = rest.split_once('.').expect("a number and a dot");
        pid.parse().expect("a number")
    }

    /// The children of any process of it that have this name.
    pub(crate) fn all_named(&self, name: &str) -> Vec<i32> {
        let mut processes = self.processes();
        processes.retain(|(_, title)| title.starts_with(name));
        processes.into_iter().map(|(pid, _)| pid).collect()
    }

    /// The children of the master that live.
    pub(crate) fn children(&self) -> Vec<(i32, String)> {
        let mut processes = self.processes();
        processes.retain(|(pid, _)| stat(*pid).is_some_and(|s| s.parent == self.pid()));
        processes
    }

    fn named(&self, name: &str) -> Option<i32> {
        let children = self.children();
        let found = children.iter().find(|(_, title)| title == name);
        found.map(|(pid, _)| *pid)
    }

    /// The pid of a child such as `turnkey: worker 0`, once there is one.
    pub(crate) async fn child(&self, name: &str) -> i32 {
        let what = format!("a process {name:?} among {:?}", self.processes());
        let mut found = None;
        until(&what, SOON, || {
            found = self.named(name);
            found.is_some()
        })
        .await;
        found.expect("it was waited for")
    }

    pub(crate) async fn writer(&self) -> i32 {
        self.child("turnkey: writer").await
    }

    pub(crate) async fn worker(&self, index: usize) -> i32 {
        self.child(&format!("turnkey: worker {index}")).await
    }

    /// Waits until another process has taken a child's place; its pid.
    pub(crate) async fn successor(&self, name: &str, of: i32) -> i32 {
        let what = format!("a successor of {name} (process {of})");
        until(&what, SOON, || {
            self.named(name).is_some_and(|pid| pid != of)
        })
        .await;
        self.child(name).await
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.pid()), signal).expect("it lives");
    }

    /// What a terminal does with Ctrl-C.
    pub(crate) fn signal_group(&self, signal: Signal) {
        killpg(Pid::from_raw(self.pid()), signal).expect("it lives");
    }

    /// Waits for the end of the first process: its exit code, or minus the signal
    /// that ended it. If nobody else has its stderr, all that it wrote is read then.
    pub(crate) async fn ended(&mut self, limit: Duration) -> i32 {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(status) = self.child.try_wait().expect("our own child") {
                self.read_out(Duration::from_secs(2)).await;
                return status
                    .code()
                    .unwrap_or_else(|| -status.signal().unwrap_or_default());
            }
            assert!(
                Instant::now() < deadline,
                "it did not end within {limit:?}; there are {:?}",
                self.processes()
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Waits until the thread that reads its stderr is at the end, which is some time after
    /// the program's on a busy machine; not while another process may still write there.
    async fn read_out(&self, limit: Duration) {
        let deadline = Instant::now() + limit;
        while let Some(reader) = &self.reader
            && !reader.is_finished()
            && self.processes().is_empty()
            && Instant::now() < deadline
        {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Waits until no process of it is left.
    pub(crate) async fn gone(&self, limit: Duration) {
        let what = format!("the end of all of {:?}", self.processes());
        until(&what, limit, || self.processes().is_empty()).await;
    }

    /// Stops it gracefully; it must end with code 0, at once, and leave nothing.
    pub(crate) async fn stop(self) -> Setup {
        self.stop_and_read().await.0
    }

    /// The same, and all that it has written.
    pub(crate) async fn stop_and_read(mut self) -> (Setup, String) {
        self.signal(Signal::SIGTERM);
        let code = self.ended(SOON).await;
        self.gone(Duration::from_secs(2)).await;
        let stderr = self.stderr();
        assert_eq!(code, 0, "exit code of a graceful stop");
        assert!(!stderr.contains("panicked at src"), "a panic of ours");
        assert!(!self.socket().exists(), "the writer's socket is left");
        (self.setup.clone(), stderr)
    }

    /// Kills everything at once, as a power cut would.
    pub(crate) async fn kill_all(mut self) -> Setup {
        self.signal_group(Signal::SIGKILL);
        self.ended(SOON).await;
        self.gone(SOON).await;
        self.setup.clone()
    }

    pub(crate) fn socket(&self) -> PathBuf {
        let mut path = self
            .setup
            .storage
            .clone()
            .unwrap_or_default()
            .into_os_string();
        path.push("-writer");
        PathBuf::from(path)
    }

    /// Waits until every byte that was sent to it is read, and all its processes
    /// sleep: what was sent before has been taken in, in that order.
    pub(crate) async fn settled(&self) {
        until("a bot that has read everything and sleeps", SOON, || {
            unread_bytes(self.port) == 0
                && self
                    .processes()
                    .iter()
                    .all(|(pid, _)| stat(*pid).is_some_and(|s| s.state == 'S'))
        })
        .await;
    }

    /// Every byte was read, and each process sleeps or was stopped by a signal.
    pub(crate) fn is_at_rest(&self) -> bool {
        let rests = |pid: &i32| stat(*pid).is_some_and(|s| ['S', 'T'].contains(&s.state));
        self.unread() == 0 && self.processes().iter().all(|(pid, _)| rests(pid))
    }

    /// Bytes and connections at its port that nobody has read yet.
    pub(crate) fn unread(&self) -> u64 {
        unread_bytes(self.port)
    }

    /// Connections that anybody has with it.
    pub(crate) fn connections_now(&self) -> usize {
        established(self.port).len()
    }

    /// Connections that a process of it has.
    pub(crate) fn connections_of(&self, pid: i32) -> usize {
        let (inodes, sockets) = (established(self.port), sockets(pid));
        inodes
            .iter()
            .filter(|inode| sockets.contains(*inode))
            .count()
    }

    /// Connections that each worker has, by index.
    pub(crate) async fn connections(&self, workers: usize) -> Vec<usize> {
        let mut counts = Vec::new();
        for index in 0..workers {
            counts.push(self.connections_of(self.worker(index).await));
        }
        counts
    }
}

impl Drop for Bot {
    fn drop(&mut self) {
        killpg(Pid::from_raw(self.pid()), Signal::SIGKILL).unwrap_or(()); // It may be gone.
        drop(self.child.wait());
        let deadline = Instant::now() + Duration::from_secs(5);
        while !self.processes().is_empty() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(5));
        }
        if let Some(reader) = self.reader.take() {
            drop(reader.join());
        }
        if std::thread::panicking() {
            eprintln!("--- the bot wrote:\n{}---", self.stderr());
        }
    }
}

/// The port in a line such as `Started webhooks updater on http://localhost:1 (…`.
pub(crate) fn started_port(stderr: &str) -> Option<u16> {
    let line = stderr.lines().find(|line| line.starts_with("Started "))?;
    let (_, rest) = line.split_once("://")?;
    let (address, _) = rest.split_once(' ')?;
    address.rsplit_once(':')?.1.parse().ok()
}
