//! Processes that tests start and kill. A writer or a client is this binary again: the test
//! [`child`] is its body. The test's own process is the supervisor: it keeps the listening
//! socket and starts the next writer on it.

use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::runtime::Runtime;
use tokio::task::JoinSet;
use turnkey_storage::sqlite::{Files, Writer, connect};
use turnkey_storage::{Owner, Storage, Sync};

use crate::common::{Served, begin, dialog, last, until};

const TASK: &str = "TURNKEY_TEST_TASK";

const PATH: &str = "TURNKEY_TEST_PATH";

/// The writer's expected owners, or the client's own.
const OWNERS: &str = "TURNKEY_TEST_OWNERS";

/// How often the writer is killed.
pub(crate) const KILLS: u64 = 25;

pub(crate) const TABLES: &[&str] = &[
    "CREATE TABLE ledger (id TEXT PRIMARY KEY, user TEXT NOT NULL) STRICT",
    "CREATE TABLE tally (n INTEGER NOT NULL) STRICT; INSERT INTO tally VALUES (0)",
    "CREATE TABLE bulk (body BLOB)",
];

pub(crate) fn as_child(task: &str, path: &Path, owners: &[Owner]) -> Command {
    let owners: Vec<String> = owners.iter().map(|owner| owner.0.to_string()).collect();
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["processes::child", "--exact", "--nocapture"])
        .env(TASK, task)
        .env(PATH, path)
        .env(OWNERS, owners.join(","));
    command
}

/// Not a test: the body of a process that a test starts, and kills.
#[test]
pub(crate) fn child() {
    let Ok(task) = std::env::var(TASK) else {
        return;
    };
    let path = PathBuf::from(std::env::var_os(PATH).unwrap());
    let owners = std::env::var(OWNERS).unwrap();
    let owners = owners.split(',').filter(|owner| !owner.is_empty());
    let owners: Vec<Owner> = owners.map(|owner| Owner(owner.parse().unwrap())).collect();
    match task.as_str() {
        "writer" => {
            let listener = std::io::stdin().as_fd().try_clone_to_owned().unwrap();
            let stop = std::io::stdout().as_fd().try_clone_to_owned().unwrap();
            let writer = Writer {
                files: Files::of(&path),
                file: None,
                sync: Sync::Full,
                listener: UnixListener::from(listener),
                expected: owners,
                monitor: Box::new(|_| {}),
            };
            let ended = writer.run(stop.as_fd());
            // Not through the test harness: it would write to the stop socket.
            std::process::exit(match ended {
                Ok(()) => 0,
                Err(error) => {
                    eprintln!("the writer ended: {error}");
                    1
                }
            });
        }
        "client" => {
            let runtime = crate::common::runtime();
            runtime.block_on(async {
                let client = Arc::new(connect(&Files::of(&path), owners[0]).unwrap());
                let mut tasks = JoinSet::new();
                for task in 0..16_u64 {
                    let client = client.clone();
                    let owner = owners[0].0;
                    tasks.spawn(async move {
                        for round in 0.. {
                            let user = format!("user{}", (task + round) % 5);
                            count_up(&*client, &user, &format!("{owner}.{task}.{round}")).await;
                            let mut out = std::io::stdout().lock();
                            out.write_all(format!("ack {user}\n").as_bytes()).unwrap();
                        }
                    });
                }
                tasks.join_all().await;
            });
        }
        other => panic!("{other}"),
    }
}

/// A turn that adds one to the number in the state.
pub(crate) async fn count_up(storage: &dyn Storage, user: &str, update: &str) {
    let begun = begin(storage, &dialog(user), update).await;
    let n: u64 = begun.state.as_deref().unwrap_or("0").parse().unwrap();
    let mut grant = begun.grant.unwrap();
    let commit = last(update, &(n + 1).to_string());
    storage.commit(&mut grant, commit).await.unwrap();
}

pub(crate) struct WriterProcess {
    pub(crate) child: Child,
    pub(crate) stop: UnixStream,
}

impl WriterProcess {
    pub(crate) fn start(served: &Served, expected: &[Owner]) -> Self {
        let (stop, theirs) = UnixStream::pair().unwrap();
        let listener = OwnedFd::from(served.listener.try_clone().unwrap());
        let child = as_child("writer", &served.files.database, expected)
            .stdin(Stdio::from(listener))
            .stdout(Stdio::from(OwnedFd::from(theirs)))
            .spawn()
            .unwrap();
        WriterProcess { child, stop }
    }

    /// SIGKILL.
    pub(crate) fn kill(mut self) {
        assert!(
            self.child.try_wait().unwrap().is_none(),
            "it ended by itself"
        );
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub(crate) fn stop(mut self) {
        drop(self.stop);
        assert!(self.child.wait().unwrap().success());
    }
}

/// Kills the writer [`KILLS`] times, each time after more was acknowledged. The last one runs.
pub(crate) fn kill_often(
    first: WriterProcess,
    served: &Served,
    owner: Owner,
    runtime: &Runtime,
    acked: &AtomicU64,
) -> WriterProcess {
    let mut writer = first;
    for kill in 0..KILLS {
        let before = acked.load(Ordering::Relaxed);
        runtime.block_on(until("some work is done", async || {
            acked.load(Ordering::Relaxed) > before + 20 + kill
        }));
        writer.kill();
        writer = WriterProcess::start(served, &[owner]);
    }
    writer
}
