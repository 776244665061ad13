//! A private PostgreSQL server for the tests of a binary (also of the framework's), started by
//! `scripts/services` and gone when the process ends (its input closes), and a
//! database of its own for each test.

#![allow(dead_code, clippy::unwrap_used)] // Each binary uses a part of it.

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock};

use turnkey_storage::postgres::{Server, prepare};

/// Serves until it is dropped, or the process ends.
pub(crate) struct TestServer {
    /// Without the database's name.
    base: String,
    talk: Mutex<(ChildStdin, BufReader<ChildStdout>)>,
    child: Child,
    databases: AtomicU64,
}

impl TestServer {
    /// None when there are no server programs on this machine; says so, past the
    /// test harness, which hides what passing tests print.
    pub(crate) fn start() -> Option<Self> {
        Self::start_with(&[], None)
    }

    /// With more parameters (`name=value`), and on a port of TCP's too: then the
    /// addresses that this gives, which have none, do not lead there.
    pub(crate) fn start_with(parameters: &[String], port: Option<u16>) -> Option<Self> {
        let mut root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
        while !root.join("scripts/services").exists() {
            assert!(root.pop(), "scripts/services is not there");
        }
        let mut command = Command::new(root.join("scripts/services"));
        command.args(["postgres", "-c", "fsync=off"]);
        for parameter in parameters {
            command.args(["-c", parameter]);
        }
        if let Some(port) = port {
            command.env("PGPORT", port.to_string());
            command.args(["-c", "listen_addresses=localhost"]);
        }
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let stdin = child.stdin.take().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut url = String::new();
        stdout.read_line(&mut url).unwrap();
        if url.is_empty() {
            let said =
                "SKIPPED: the PostgreSQL tests, since no server could be started (see above)\n";
            std::io::stderr().write_all(said.as_bytes()).unwrap();
            child.wait().unwrap();
            return None;
        }
        let base = url.trim().rsplit_once('/').unwrap().0.to_owned();
        Some(TestServer {
            base,
            talk: Mutex::new((stdin, stdout)),
            child,
            databases: AtomicU64::new(0),
        })
    }

    /// The one that the tests of this binary share.
    pub(crate) fn shared() -> Option<&'static Self> {
        static SHARED: OnceLock<Option<TestServer>> = OnceLock::new();
        SHARED.get_or_init(TestServer::start).as_ref()
    }

    pub(crate) fn url(&self, database: &str) -> String {
        format!("{}/{database}", self.base)
    }

    /// The address with another user and password.
    pub(crate) fn url_as(&self, who: &str, database: &str) -> String {
        self.url(database).replace("turnkey@", &format!("{who}@"))
    }

    /// Makes an empty database; its name.
    pub(crate) async fn create(&self) -> String {
        let name = format!("test_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        self.sql("postgres", &format!("CREATE DATABASE {name}"))
            .await;
        name
    }

    /// An empty database with our tables and the author's.
    pub(crate) async fn prepared(&self, author: &[&str]) -> String {
        let name = self.create().await;
        let author: Vec<String> = author.iter().map(|sql| (*sql).to_owned()).collect();
        let server = Server::parse(&self.url(&name)).unwrap();
        prepare(&server, &author).await.unwrap();
        name
    }

    pub(crate) async fn sql(&self, database: &str, sql: &str) {
        let (client, connection) =
            tokio_postgres::connect(&self.url(database), tokio_postgres::NoTls)
                .await
                .unwrap();
        let connection = tokio::spawn(connection);
        client.batch_execute(sql).await.unwrap();
        drop(client);
        connection.await.unwrap().unwrap();
    }

    /// Stops it at once, as a crash would.
    pub(crate) fn stop(&self) {
        assert_eq!(self.tell("stop"), "stopped");
    }

    pub(crate) fn start_again(&self) {
        assert_eq!(self.tell("start"), "ready");
    }

    fn tell(&self, order: &str) -> String {
        let mut talk = self.talk.lock().unwrap();
        writeln!(talk.0, "{order}").unwrap();
        let mut answer = String::new();
        talk.1.read_line(&mut answer).unwrap();
        answer.trim().to_owned()
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        // Its input ends too late for this: after the wait.
        let script = nix::unistd::Pid::from_raw(self.child.id() as i32);
        nix::sys::signal::kill(script, nix::sys::signal::Signal::SIGTERM).unwrap();
        drop(self.child.wait());
    }
}
