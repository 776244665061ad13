//! Many turns at once.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::task::JoinSet;
use turnkey_storage::{Commit, Error, Grant, LockAfter, Value};

use crate::common::{asks, begin, dialog, last, turn};
use crate::engine::{Client, Engine};
use crate::steps::{arrived, count, no_lock_rows, rows, started};

async fn a_flood_on_one_dialog_is_refused(engine: &dyn Engine) {
    let (a, b) = (engine.open(), engine.open());
    let held = begin(&*a, &dialog(1), "u").await.grant.unwrap();
    let mut waiting = JoinSet::new();
    for n in 0..1000 {
        let (client, begin) = (a.clone(), asks(&dialog(1), &format!("u{n}")));
        waiting.spawn(
            started(async move { client.begin(begin).await.map(crate::common::flat) }).await,
        );
    }
    arrived(&a).await;
    for client in [&a, &b] {
        let refused = client
            .begin(asks(&dialog(1), "one too many"))
            .await
            .map(crate::common::flat);
        assert!(matches!(refused, Err(Error::Busy(_))), "{refused:?}");
    }
    turn(&*b, &dialog(2), "another user", "1").await;
    drop(held);
    let mut served = 0;
    while let Some(begun) = waiting.join_next().await {
        served += u32::from(begun.unwrap().unwrap().grant.is_some());
    }
    assert_eq!(served, 1000);
}

async fn ten_thousand_turns_in_flight(engine: &dyn Engine) {
    let client = engine.open();
    let all = Arc::new(tokio::sync::Barrier::new(10_000));
    let mut tasks = JoinSet::new();
    for n in 0..10_000 {
        let (client, all) = (client.clone(), all.clone());
        tasks.spawn(async move {
            let update = format!("u{n}");
            let mut grant = begin(&*client, &dialog(n), &update).await.grant.unwrap();
            // All of them hold their locks at once.
            all.wait().await;
            client.commit(&mut grant, last(&update, "1")).await.unwrap();
        });
    }
    tasks.join_all().await;
    assert_eq!(count(&client, "turnkey_dialog").await, 10_000);
    no_lock_rows(&client).await;
}

async fn no_update_is_lost_on_hot_dialogs(engine: &dyn Engine) {
    let clients: Vec<Client> = (0..5).map(|_| engine.open()).collect();
    let mut tasks = JoinSet::new();
    for task in 0..50_usize {
        let client = clients[task % clients.len()].clone();
        tasks.spawn(async move {
            let mut acknowledged: HashMap<String, i64> = HashMap::new();
            for round in 0..40 {
                let user = match round % 3 {
                    0 => format!("cold{}", (task * 40 + round) % 200),
                    _ => format!("hot{}", (task + round) % 5),
                };
                let update = format!("{task}.{round}");
                let begun = begin(&*client, &dialog(&user), &update).await;
                let n: i64 = begun.state.as_deref().unwrap_or("0").parse().unwrap();
                let mut grant: Grant = begun.grant.unwrap();
                if round % 7 == 0 {
                    tokio::task::yield_now().await; // A handler that takes a while.
                }
                if round % 11 == 0 {
                    continue; // A handler that fails: nothing changes.
                }
                let commit = Commit {
                    lock: match round % 2 == 0 {
                        true => LockAfter::GivenBack,
                        false => LockAfter::Kept,
                    },
                    ..last(&update, &(n + 1).to_string())
                };
                client.commit(&mut grant, commit).await.unwrap();
                *acknowledged.entry(user).or_default() += 1;
            }
            acknowledged
        });
    }
    let mut sums: HashMap<String, i64> = HashMap::new();
    for acknowledged in tasks.join_all().await {
        for (user, n) in acknowledged {
            *sums.entry(user).or_default() += n;
        }
    }
    let stored: HashMap<String, i64> =
        rows(&clients[0], "SELECT user_id, state FROM turnkey_dialog")
            .await
            .into_iter()
            .map(|row| match &row[..] {
                [Value::Text(user), Value::Text(state)] => (user.clone(), state.parse().unwrap()),
                // MySQL's engine keeps its keys as bytes.
                [Value::Blob(user), Value::Text(state)] => {
                    let user = String::from_utf8(user.clone()).unwrap();
                    (user, state.parse().unwrap())
                }
                other => panic!("{other:?}"),
            })
            .collect();
    assert_eq!(stored, sums);
    no_lock_rows(&clients[0]).await;
}

on_every_engine! {
    a_flood_on_one_dialog_is_refused
    ten_thousand_turns_in_flight
    no_update_is_lost_on_hot_dialogs
}
