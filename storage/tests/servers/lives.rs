//! Processes that die or freeze, and servers that go and come back.

use std::io::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use tokio::task::JoinSet;
use turnkey_storage::{Error, Statement, Value};

use crate::common::server::{Kind, TestServer};
use crate::common::{Brings, asks, begin, block_on, count_to, dialog, last, turn, until};
use crate::processes::{Process, open};

fn the_locks_of_a_killed_process_are_freed_within_two_seconds(kind: Kind) {
    let Some(server) = TestServer::shared(kind) else {
        return;
    };
    block_on(async {
        let url = server.url(&server.prepared(&[]).await);
        let (a, b) = (open(&url), open(&url));
        let first = begin(&*a, &dialog("line"), "first").await.grant.unwrap();
        let order = Arc::new(std::sync::Mutex::new(Vec::new()));
        let mut line = JoinSet::new();
        let mut process = None;
        // The dead process stands in the middle of the line.
        for n in 0..10 {
            if n == 5 {
                process = Some(Process::start(&url));
            }
            let (storage, order) = ([&a, &b][n % 2].clone(), order.clone());
            line.spawn(async move {
                let begun = begin(&*storage, &dialog("line"), &format!("u{n}")).await;
                order.lock().unwrap().push(n);
                let mut grant = begun.grant.unwrap();
                let commit = last(&format!("u{n}"), &n.to_string());
                storage.commit(&mut grant, commit).await.unwrap();
            });
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        process.as_ref().unwrap().signal(Signal::SIGKILL);
        let killed = Instant::now();
        drop(first);
        for n in 0..5 {
            turn(&*b, &dialog(n), &format!("after {n}"), "1").await;
        }
        line.join_all().await;
        let freed = killed.elapsed();
        assert!(freed < Duration::from_secs(2), "{freed:?}");
        assert_eq!(*order.lock().unwrap(), Vec::from_iter(0..10));
        assert_eq!(kind.check(&url).await.unwrap(), []);
    });
}

fn a_frozen_process_loses_its_locks_and_its_late_commit_is_refused(kind: Kind) {
    let Some(server) = TestServer::shared(kind) else {
        return;
    };
    block_on(async {
        let lease = Duration::from_secs(3);
        let url = server.url(&server.prepared(&[]).await);
        let url = format!("{url}{}lease=3", if url.contains('?') { '&' } else { '?' });
        let storage = open(&url);
        let mut process = Process::start(&url);
        process.signal(Signal::SIGSTOP);
        let frozen = Instant::now();
        turn(&*storage, &dialog(0), "after", "1").await;
        let freed = frozen.elapsed();
        // Not the ten seconds that are the default.
        assert!(freed > lease / 2 && freed < lease * 2, "{freed:?}");
        process.signal(Signal::SIGCONT);
        writeln!(process.child.stdin.as_ref().unwrap()).unwrap();
        assert_eq!(process.says(), "Err(Stale)");
        assert_eq!(
            turn(&*storage, &dialog(0), "last", "2").await.as_deref(),
            Some("1")
        );
    });
}

fn a_server_that_goes_and_comes_back_loses_nothing(kind: Kind) {
    let Some(server) = TestServer::start(kind) else {
        return;
    };
    block_on(async {
        let name = server
            .prepared(&["CREATE TABLE note (body VARCHAR(100) PRIMARY KEY)"])
            .await;
        let clients = [open(&server.url(&name)), open(&server.url(&name))];
        let mut tasks = JoinSet::new();
        for user in 0..40 {
            let storage = clients[user % 2].clone();
            tasks.spawn(count_to(storage, user.to_string(), 150, Brings::of(user)));
        }
        let mut stops = 0;
        while stops < 3 {
            tokio::time::sleep(Duration::from_millis(300)).await;
            assert!(!tasks.is_empty());
            tokio::task::block_in_place(|| server.stop());
            if stops == 2 {
                // Away for so long that callers are told.
                tokio::time::sleep(Duration::from_millis(2500)).await;
                let asked = Instant::now();
                let away = clients[0]
                    .begin(asks(&dialog("away"), "u"))
                    .await
                    .map(crate::common::flat);
                assert!(matches!(away, Err(Error::Unavailable(_))), "{away:?}");
                assert!(asked.elapsed() < Duration::from_secs(2));
            }
            tokio::task::block_in_place(|| server.start_again());
            stops += 1;
        }
        tasks.join_all().await;
        let query = |sql: &str| Statement::new(sql, ());
        let sum =
            query("SELECT sum(CAST(state AS DECIMAL)) AS n, count(*) AS users FROM turnkey_dialog");
        let rows = clients[0].query(None, sum).await.unwrap();
        assert_eq!(
            rows[0].values(),
            [Value::Integer(40 * 150), Value::Integer(40)]
        );
        let notes = clients[0]
            .query(None, query("SELECT count(*) FROM note"))
            .await
            .unwrap();
        assert_eq!(notes[0].values(), [Value::Integer(10 * 150)]);
        let relayed = clients[0]
            .query(None, query("SELECT count(*) FROM turnkey_inbox"))
            .await
            .unwrap();
        assert_eq!(relayed[0].values(), [Value::Integer(20 * 150)]);
        if kind == Kind::Mysql {
            // After each start of the server 1024 were skipped, or more.
            let last = query("SELECT max(n) > 4 * 1024 FROM turnkey_fence");
            let rows = clients[0].query(None, last).await.unwrap();
            assert_eq!(rows[0].values(), [Value::Integer(1)]);
            until("old fences are pruned", async || {
                let old = query(
                    "SELECT count(*) FROM turnkey_fence
                     WHERE n < (SELECT max(n) - 1024 FROM turnkey_fence)",
                );
                clients[1].query(None, old).await.unwrap()[0].values() == [Value::Integer(0)]
            })
            .await;
        }
        until("no lock is left", async || {
            let locks = query("SELECT count(*) FROM turnkey_lock");
            clients[1].query(None, locks).await.unwrap()[0].values() == [Value::Integer(0)]
        })
        .await;
    });
}

on_every_server! {
    the_locks_of_a_killed_process_are_freed_within_two_seconds
    a_frozen_process_loses_its_locks_and_its_late_commit_is_refused
    a_server_that_goes_and_comes_back_loses_nothing
}
