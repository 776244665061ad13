//! Criterion: a whole turn (lock, read, commit, unlock) on each engine, side by side,
//! without any HTTP, every commit synced. SQLite on the disk that holds the target
//! directory; a server where a variable names it:
//!
//! `TURNKEY_BENCH_POSTGRES=postgres://... TURNKEY_BENCH_MYSQL=mysql://... cargo bench -p
//! turnkey-storage --bench engines` (`scripts/services` starts either).

#![allow(missing_docs, clippy::unwrap_used)] // A benchmark may panic.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use criterion::{Criterion, SamplingMode, Throughput, criterion_group, criterion_main};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;
use turnkey_storage::{Storage, Sync};

use common::{Served, client_runtime, short, turn};

fn sqlite(criterion: &mut Criterion) {
    let served = Served::start();
    let runtime = client_runtime();
    let storage = served.connect(&runtime);
    turns(criterion, &runtime, storage, "sqlite");
}

/// Tables of ours are made in the database that the variable names, and stay there.
fn postgres(criterion: &mut Criterion) {
    let Ok(url) = std::env::var("TURNKEY_BENCH_POSTGRES") else {
        eprintln!(
            "postgres: skipped; TURNKEY_BENCH_POSTGRES=postgres://... names a database for it"
        );
        return;
    };
    let server = turnkey_storage::postgres::Server::parse(&url).unwrap();
    let runtime = client_runtime();
    let storage = runtime.block_on(async {
        turnkey_storage::postgres::prepare(&server, Sync::Full, &[])
            .await
            .unwrap();
        turnkey_storage::postgres::connect(&server, Sync::Full).unwrap()
    });
    turns(criterion, &runtime, Arc::new(storage), "postgres");
}

/// As [`postgres`].
fn mysql(criterion: &mut Criterion) {
    let Ok(url) = std::env::var("TURNKEY_BENCH_MYSQL") else {
        eprintln!("mysql: skipped; TURNKEY_BENCH_MYSQL=mysql://... names a database for it");
        return;
    };
    let server = turnkey_storage::mysql::Server::parse(&url).unwrap();
    let runtime = client_runtime();
    let storage = runtime.block_on(async {
        turnkey_storage::mysql::prepare(&server, Sync::Full, &[])
            .await
            .unwrap();
        turnkey_storage::mysql::connect(&server, Sync::Full).unwrap()
    });
    turns(criterion, &runtime, Arc::new(storage), "mysql");
}

/// Greater in each run: a server's database remembers the update ids of the last one.
fn first_number() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    now.as_micros() as u64
}

/// One client with so many turns at any time.
fn turns<S: Storage + 'static>(
    criterion: &mut Criterion,
    runtime: &Runtime,
    storage: Arc<S>,
    engine: &str,
) {
    let number = Arc::new(AtomicU64::new(first_number()));
    let mut group = criterion.benchmark_group(format!("turn/{engine}"));
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
                                turn(&*storage, next).await;
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

criterion_group! { name = benches; config = short(); targets = sqlite, postgres, mysql }
criterion_main!(benches);
