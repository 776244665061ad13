//! What the benchmarks share: a SQLite database with its writer, and a turn.

#![allow(dead_code, missing_docs, unreachable_pub, clippy::unwrap_used)] // Each uses a part; a benchmark may panic.

use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use criterion::Criterion;
use tokio::runtime::Runtime;
use turnkey_storage::sqlite::{FileLock, Files, SqliteStorage, Writer, connect, prepare};
use turnkey_storage::{
    Arrival, Begin, Commit, DialogKey, Grant, LockAfter, Owner, Result, Storage, Sync,
};

/// Dialogs; each turn is of the next one.
const DIALOGS: u64 = 10_000;

/// Longer than anything here takes.
const WAIT: Duration = Duration::from_secs(30);

/// A database and its writer, which dropping this stops. Clients must be dropped
/// before: it waits for them to hang up.
pub struct Served {
    files: Files,
    stop: Option<UnixStream>,
    writer: Option<JoinHandle<Result<()>>>,
    _lock: FileLock,
    _directory: tempfile::TempDir,
}

impl Served {
    pub fn start() -> Self {
        let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let files = Files::of(&directory.path().join("bot.db"));
        let lock = files.lock().unwrap();
        prepare(&files.database, Sync::Full, &[]).unwrap();
        let writer = Writer {
            files: files.clone(),
            file: None,
            sync: Sync::Full,
            listener: files.bind(&lock).unwrap(),
            expected: Vec::new(),
            monitor: Box::new(|_| {}),
        };
        let (stop, stopped) = UnixStream::pair().unwrap();
        Served {
            files,
            stop: Some(stop),
            writer: Some(std::thread::spawn(move || writer.run(stopped.as_fd()))),
            _lock: lock,
            _directory: directory,
        }
    }

    pub fn connect(&self, runtime: &Runtime) -> Arc<SqliteStorage> {
        let storage = runtime.block_on(async { connect(&self.files, Owner(1)) });
        Arc::new(storage.unwrap())
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.stop = None;
        self.writer.take().unwrap().join().unwrap().unwrap();
    }
}

/// One thread for all turns, as in a worker.
pub fn client_runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}

pub fn begin(number: u64) -> Begin {
    Begin {
        dialog: DialogKey::new("http", format!("u{}", number % DIALOGS)),
        update: Some(format!("m{number}")),
        arrived: Arrival::now(),
        wait: WAIT,
    }
}

/// The turn with this number.
pub async fn turn(storage: &dyn Storage, number: u64) {
    let mut grant = storage
        .begin(begin(number))
        .await
        .unwrap()
        .granted()
        .unwrap()
        .grant;
    commit(storage, &mut grant, number).await;
}

/// Its second half.
pub async fn commit(storage: &dyn Storage, grant: &mut Grant, number: u64) {
    let commit = Commit {
        update: format!("m{number}"),
        answer: br#"{"replies":[{"text":"1: hi"}]}"#.to_vec(),
        state: format!(r#"{{"count":{number}}}"#),
        lock: LockAfter::GivenBack,
        ..Commit::default()
    };
    storage.commit(grant, commit).await.unwrap();
}

pub fn short() -> Criterion {
    Criterion::default()
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(4))
        .sample_size(20)
}
