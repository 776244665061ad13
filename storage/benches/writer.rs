//! Criterion: what the writer's queue costs, without any HTTP. One writer thread,
//! one client process, a database on the disk that holds the target directory,
//! every commit synced.
//!
//! | name | one iteration |
//! | --- | --- |
//! | turn/N in flight | one turn (lock, read, commit, unlock), N at any time |
//! | lock | a grant and its end, with no commit between |
//! | round trip | the smallest question that the writer answers |
//!
//! `cargo bench -p turnkey-storage --bench writer`.

#![allow(missing_docs, clippy::unwrap_used)] // A benchmark may panic.

use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use criterion::{Criterion, SamplingMode, Throughput, criterion_group, criterion_main};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;
use turnkey_storage::sqlite::{FileLock, Files, SqliteStorage, Writer, connect, prepare};
use turnkey_storage::{Arrival, Begin, Commit, DialogKey, Owner, Result, Storage, Sync};

/// Dialogs; each turn is of the next one.
const DIALOGS: u64 = 10_000;

/// Longer than anything here takes.
const WAIT: Duration = Duration::from_secs(30);

/// A database and its writer, which dropping this stops. Clients must be dropped
/// before: it waits for them to hang up.
struct Served {
    files: Files,
    stop: Option<UnixStream>,
    writer: Option<JoinHandle<Result<()>>>,
    _lock: FileLock,
    _directory: tempfile::TempDir,
}

impl Served {
    fn start() -> Self {
        let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let files = Files::of(&directory.path().join("bot.db"));
        let lock = files.lock().unwrap();
        prepare(&files.database, Sync::Full, &[]).unwrap();
        let writer = Writer {
            database: files.database.clone(),
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

    fn connect(&self, runtime: &Runtime) -> Arc<SqliteStorage> {
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
fn client_runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}

fn begin(number: u64) -> Begin {
    Begin {
        dialog: DialogKey::new("http", format!("u{}", number % DIALOGS)),
        update: Some(format!("m{number}")),
        arrived: Arrival::now(),
        wait: WAIT,
    }
}

/// The turn with this number.
async fn turn(storage: &SqliteStorage, number: u64) {
    let mut grant = storage.begin(begin(number)).await.unwrap().grant.unwrap();
    let commit = Commit {
        update: format!("m{number}"),
        answer: br#"{"replies":[{"text":"1: hi"}]}"#.to_vec(),
        state: format!(r#"{{"count":{number}}}"#),
        end: true,
        ..Commit::default()
    };
    storage.commit(&mut grant, commit).await.unwrap();
}

fn turns(criterion: &mut Criterion) {
    let served = Served::start();
    let runtime = client_runtime();
    let storage = served.connect(&runtime);
    let number = Arc::new(AtomicU64::new(0));
    let mut group = criterion.benchmark_group("turn");
    group.sampling_mode(SamplingMode::Flat); // As many turns in every sample.
    group.throughput(Throughput::Elements(1));
    for in_flight in [1, 16, 64] {
        group.bench_function(format!("{in_flight} in flight"), |bencher| {
            bencher.iter_custom(|turns| {
                let start = Instant::now();
                runtime.block_on(async {
                    let end = number.load(Relaxed) + turns;
                    let mut lanes = JoinSet::new();
                    for _ in 0..in_flight {
                        let (storage, number) = (storage.clone(), number.clone());
                        lanes.spawn(async move {
                            while number.load(Relaxed) < end {
                                let next = number.fetch_add(1, Relaxed);
                                turn(&storage, next).await;
                            }
                        });
                    }
                    lanes.join_all().await;
                });
                start.elapsed()
            });
        });
    }
    group.finish();
}

fn lock(criterion: &mut Criterion) {
    let served = Served::start();
    let runtime = client_runtime();
    let storage = served.connect(&runtime);
    let mut number = 0;
    criterion.bench_function("lock", |bencher| {
        bencher.iter(|| {
            number += 1;
            runtime.block_on(async {
                let begun = storage.begin(begin(number)).await.unwrap();
                storage.end(begun.grant.unwrap(), Vec::new()).await.unwrap();
            });
        });
    });
}

fn round_trip(criterion: &mut Criterion) {
    let served = Served::start();
    let runtime = client_runtime();
    let storage = served.connect(&runtime);
    criterion.bench_function("round trip", |bencher| {
        bencher.iter(|| runtime.block_on(storage.owners()).unwrap());
    });
}

fn short() -> Criterion {
    Criterion::default()
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(4))
        .sample_size(20)
}

criterion_group! { name = benches; config = short(); targets = turns, lock, round_trip }
criterion_main!(benches);
