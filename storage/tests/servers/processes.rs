//! A process of the tests is this test binary, started again with [`CHILD`] set.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use turnkey_storage::{Error, Storage};

use crate::common::server::Kind;
use crate::common::{asks, begin, dialog, last};

/// The address that a child process works on.
const CHILD: &str = "TURNKEY_TEST_CHILD";

pub(crate) fn open(url: &str) -> Arc<dyn Storage> {
    let kind = match url.starts_with("mysql:") {
        true => Kind::Mysql,
        false => Kind::Postgres,
    };
    kind.open(url)
}

/// A process that holds the locks of dialogs 0 to 4, waits for dialog "line", and
/// tries to commit dialog 0 when it is told to.
pub(crate) struct Process {
    pub(crate) child: Child,
    pub(crate) said: BufReader<ChildStdout>,
}

impl Process {
    pub(crate) fn start(url: &str) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "processes::child", "--nocapture", "--quiet"])
            .env(CHILD, url)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let said = BufReader::new(child.stdout.take().unwrap());
        let mut process = Process { child, said };
        assert_eq!(process.says(), "held");
        process
    }

    pub(crate) fn says(&mut self) -> String {
        let mut line = String::new();
        while self.said.read_line(&mut line).unwrap() > 0 {
            if let Some(word) = line.trim().strip_prefix("child: ") {
                return word.to_owned();
            }
            line.clear();
        }
        panic!("the child process ended");
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id() as i32), signal).unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// The body of a [`Process`]; as a test it does nothing.
#[test]
fn child() {
    let Ok(url) = std::env::var(CHILD) else {
        return;
    };
    let say = |word: &str| {
        let mut out = std::io::stdout();
        writeln!(out, "\nchild: {word}").unwrap();
        out.flush().unwrap();
    };
    crate::common::runtime().block_on(async {
        let storage = open(&url);
        let mut held = Vec::new();
        for n in 0..5 {
            held.push(begin(&*storage, &dialog(n), "child").await.grant.unwrap());
        }
        let waits = storage.clone();
        let _waits = tokio::spawn(async move {
            waits
                .begin(asks(&dialog("line"), "child"))
                .await
                .map(crate::common::flat)
        });
        tokio::time::sleep(Duration::from_millis(200)).await;
        say("held");
        let told =
            tokio::task::spawn_blocking(|| std::io::stdin().read_line(&mut String::new()).unwrap());
        told.await.unwrap();
        let late = storage.commit(&mut held[0], last("child", "9")).await;
        say(&format!("{late:?}"));
        std::future::pending::<()>().await;
    });
}

/// A database cannot be used, and these words help.
pub(crate) async fn assert_refused(kind: Kind, url: &str, words: &str) {
    let error = kind.prepare(url, &[]).await.unwrap_err();
    let (sentence, may_pass) = match error {
        Error::Open(why) => (why.to_string(), false),
        Error::NotYet(why) => (why.to_string(), true),
        other => panic!("{other:?}"),
    };
    // Nobody listens, or it has no room: a start is worth another try. The rest is a
    // person's to mend.
    let passes = ["start the server", "raise max_connections"];
    let passes = passes.iter().any(|remedy| sentence.contains(remedy));
    assert_eq!(may_pass, passes, "{sentence}");
    assert!(!sentence.contains("wrong"), "{sentence}");
    assert!(sentence.contains(words), "{sentence}");
}

/// It is a database that no bot has been run on.
pub(crate) async fn assert_unprepared(kind: Kind, url: &str) {
    let Err(Error::Open(why)) = kind.check(url).await else {
        panic!("it can be used");
    };
    assert!(why.to_string().contains("no bot has been run"), "{why}");
}
