//! Criterion: what the parts of the writer's queue cost, without any HTTP. One writer
//! thread, one client process, a database on the disk that holds the target directory,
//! every commit synced.
//!
//! | name | one iteration |
//! | --- | --- |
//! | commit/N at once | N commits of N dialogs, sent together: mostly one batch |
//! | lock | a grant and its end, with no commit between |
//! | round trip | the smallest question that the writer answers |
//!
//! `cargo bench -p turnkey-storage --bench writer`.

#![allow(missing_docs, clippy::unwrap_used)] // A benchmark may panic.

mod common;

use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use tokio::task::JoinSet;
use turnkey_storage::Storage;

use common::{Served, begin, client_runtime, commit, short};

fn commits(criterion: &mut Criterion) {
    let served = Served::start();
    let runtime = client_runtime();
    let storage = served.connect(&runtime);
    let mut number = 0;
    let mut group = criterion.benchmark_group("commit");
    for at_once in [1, 4, 16, 64, 256] {
        group.throughput(Throughput::Elements(at_once));
        group.bench_function(format!("{at_once} at once"), |bencher| {
            bencher.iter_custom(|iterations| {
                let mut spent = Duration::ZERO;
                for _ in 0..iterations {
                    runtime.block_on(async {
                        let mut grants = Vec::new();
                        for _ in 0..at_once {
                            number += 1;
                            let begun = storage.begin(begin(number)).await.unwrap();
                            grants.push((number, begun.granted().unwrap().grant));
                        }
                        let start = Instant::now();
                        let mut commits = JoinSet::new();
                        for (number, mut grant) in grants {
                            let storage = storage.clone();
                            commits
                                .spawn(async move { commit(&*storage, &mut grant, number).await });
                        }
                        commits.join_all().await;
                        spent += start.elapsed();
                    });
                }
                spent
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
                storage
                    .end(begun.granted().unwrap().grant, Vec::new())
                    .await
                    .unwrap();
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

criterion_group! { name = benches; config = short(); targets = commits, lock, round_trip }
criterion_main!(benches);
