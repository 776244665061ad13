//! A client that is killed, and a whole program.

use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::task::JoinSet;
use turnkey_storage::sqlite::check;
use turnkey_storage::{Commit, LockAfter, Owner, Statement, Storage};

use crate::common::{Served, begin, block_on, dialog, last, until};
use crate::processes::{TABLES, WriterProcess, as_child, count_up};

#[test]
fn a_killed_client_frees_its_locks() {
    let served = Served::start(TABLES);
    let done = Arc::new(AtomicBool::new(false));
    let mut acknowledged: HashMap<String, u64> = HashMap::new();
    let mut in_flight = 0;
    block_on(async {
        let clients = [Arc::new(served.open()), Arc::new(served.open())];
        let mut tasks = JoinSet::new();
        for task in 0..16_usize {
            let (client, done) = (clients[task % 2].clone(), done.clone());
            tasks.spawn(async move {
                let mut acknowledged: HashMap<String, u64> = HashMap::new();
                for round in 0.. {
                    if done.load(Ordering::Relaxed) {
                        break;
                    }
                    let user = format!("user{}", (task + round) % 5);
                    count_up(&*client, &user, &format!("{task}.{round}")).await;
                    *acknowledged.entry(user).or_default() += 1;
                }
                acknowledged
            });
        }
        for life in 0..6 {
            let mut child = as_child("client", &served.files.database, &[Owner(1000 + life)])
                .stdout(Stdio::piped())
                .spawn()
                .unwrap();
            let output = BufReader::new(child.stdout.take().unwrap());
            let mut seen = 0;
            for line in output.lines() {
                if let Some(user) = line.unwrap().strip_prefix("ack ") {
                    *acknowledged.entry(user.to_owned()).or_default() += 1;
                    seen += 1;
                    if seen == 100 {
                        child.kill().unwrap(); // What it printed before is still read.
                    }
                }
            }
            child.wait().unwrap();
            in_flight += 16;
        }
        let turns = served.stats().turns;
        until("the others go on", async || {
            served.stats().turns > turns + 100
        })
        .await;
        done.store(true, Ordering::Relaxed);
        for task in tasks.join_all().await {
            for (user, n) in task {
                *acknowledged.entry(user).or_default() += n;
            }
        }
        // While it is served, so the rows must be gone, not only unowned.
        let count = "SELECT COUNT(*) FROM turnkey_lock";
        until("no lock row is left", async || {
            let count =
                clients[0].read(move |conn| conn.query_row(count, [], |row| row.get::<_, i64>(0)));
            count.await.unwrap() == 0
        })
        .await;
        assert_eq!(check(&served.files.database).await.unwrap(), []);
        let mut stored = 0;
        for user in 0..5 {
            let begun = begin(&*clients[0], &dialog(format!("user{user}")), "end").await;
            stored += begun.state.unwrap().parse::<u64>().unwrap();
        }
        let known: u64 = acknowledged.values().sum();
        assert!(
            (known..=known + in_flight).contains(&stored),
            "{known} {stored}"
        );
    });
    served.finish();
}

#[test]
fn a_killed_program_leaves_what_it_committed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("bot.db");
    let mut fences = Vec::new();
    for life in 0..4_u64 {
        let mut served = Served::at(&path, TABLES);
        let writer = (life % 2 == 0).then(|| WriterProcess::start(&served, &[]));
        if writer.is_none() {
            served.start_writer(Vec::new());
        }
        block_on(async {
            let client = served.open();
            let begun = begin(&client, &dialog(1), &format!("u{life}")).await;
            let state = (life > 0).then(|| (life - 1).to_string());
            assert_eq!(begun.state, state);
            let unsent: Vec<_> = begun
                .unsent
                .iter()
                .map(|reply| reply.body.clone())
                .collect();
            assert_eq!(
                unsent,
                Vec::from_iter((0..life).map(|life| format!("reply {life}")))
            );
            let mut grant = begun.grant.unwrap();
            fences.push(grant.fence());
            let commit = Commit {
                replies: vec![format!("reply {life}")],
                lock: LockAfter::Kept,
                ..last(&format!("u{life}"), &life.to_string())
            };
            client.commit(&mut grant, commit).await.unwrap();
            for old in 0..=life {
                let other = dialog(format!("other{old}"));
                let begun = begin(&client, &other, &format!("u{old}")).await;
                assert!(begun.seen.is_some());
            }
            let sql = Statement::new("SELECT 1 FROM turnkey_lock WHERE user_id = '1'", ());
            assert_eq!(client.query(None, sql).await.unwrap().len(), 1);
            match writer {
                // All at once, with the lock in the file.
                Some(writer) => writer.kill(),
                None => drop(grant),
            }
        });
        if life % 2 == 1 {
            served.stop_writer().unwrap();
        }
    }
    assert!(fences.is_sorted_by(|a, b| a < b), "{fences:?}");
    let mut served = Served::at(&path, TABLES);
    served.start_writer(Vec::new());
    served.finish();
}
