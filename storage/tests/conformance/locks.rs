//! Whose turn it is: the order of those who wait, and locks that are lost, late or dropped.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::task::JoinSet;
use turnkey_storage::{Arrival, Begin, Error};

use crate::common::{LONG, asks, begin, dialog, last, turn, until};
use crate::engine::Engine;
use crate::steps::{arrived, begin_later, count, keep, no_lock_rows, started};

async fn waiters_are_served_in_order_of_arrival(engine: &dyn Engine) {
    let clients = [engine.open(), engine.open()];
    let held = begin(&*clients[0], &dialog(1), "first")
        .await
        .grant
        .unwrap();
    let order = Arc::new(Mutex::new(Vec::new()));
    let mut tasks = JoinSet::new();
    for n in 0..20_usize {
        let (client, order) = (clients[n % 3 % 2].clone(), order.clone());
        let future = started(async move {
            let begun = begin(&*client, &dialog(1), &format!("u{n}")).await;
            order.lock().unwrap().push(n);
            let mut grant = begun.grant.unwrap();
            let state = format!("{n}");
            // Some end with the commit, some after it, some without one.
            match n % 3 {
                0 => {
                    let commit = last(&format!("u{n}"), &state);
                    client.commit(&mut grant, commit).await.unwrap();
                }
                1 => {
                    let commit = keep(&format!("u{n}"), &state);
                    client.commit(&mut grant, commit).await.unwrap();
                    client.end(grant, Vec::new()).await.unwrap();
                }
                _ => drop(grant),
            }
        });
        tasks.spawn(future.await);
    }
    for client in &clients {
        arrived(client).await;
    }
    drop(held);
    tasks.join_all().await;
    assert_eq!(*order.lock().unwrap(), Vec::from_iter(0..20));
}

async fn dialogs_do_not_wait_for_each_other(engine: &dyn Engine) {
    let (a, b) = (engine.open(), engine.open());
    let held = begin(&*a, &dialog("slow"), "u").await.grant.unwrap();
    let waits = begin_later(&a, &dialog("slow"), "u2").await;
    for n in 0..50 {
        // By the client whose own turn is slow, and by another one.
        for (who, client) in [("a", &a), ("b", &b)] {
            turn(&**client, &dialog(n), &format!("{who}{n}"), "1").await;
        }
    }
    assert!(!waits.is_finished());
    drop(held);
    assert!(waits.await.unwrap().unwrap().grant.is_some());
}

async fn a_dropped_grant_gives_the_lock_back(engine: &dyn Engine) {
    let (a, b) = (engine.open(), engine.open());
    let held = begin(&*a, &dialog(1), "u1").await;
    let waits = begin_later(&b, &dialog(1), "u2").await;
    arrived(&b).await;
    drop(held);
    drop(waits.await.unwrap().unwrap());
    assert_eq!(turn(&*a, &dialog(1), "u3", "1").await, None);
    no_lock_rows(&a).await;
}

async fn a_late_fence_is_refused(engine: &dyn Engine) {
    let (a, b) = (engine.open(), engine.open());
    turn(&*a, &dialog(1), "u0", "0").await;
    let mut late = begin(&*a, &dialog(1), "u1").await.grant.unwrap();
    let waits = begin_later(&b, &dialog(1), "u2").await;
    arrived(&b).await;
    // The life of `a` ends, `b` takes over; what `a` had on its way comes after.
    drop(a);
    let begun = waits.await.unwrap().unwrap();
    let mut grant = begun.grant.unwrap();
    assert!(grant.fence() > late.fence());
    for commit in [keep("u1", "late"), last("u1", "late")] {
        let refused = b.commit(&mut late, commit).await;
        assert_eq!(refused, Err(Error::Stale));
    }
    // Nor does it give away a lock that is another's by now.
    b.end(late, Vec::new()).await.unwrap();
    let third = begin_later(&b, &dialog(1), "u3").await;
    arrived(&b).await;
    assert!(!third.is_finished());
    b.commit(&mut grant, last("u2", "2")).await.unwrap();
    let begun = third.await.unwrap().unwrap();
    assert_eq!(begun.state.as_deref(), Some("2"));
}

async fn locks_of_a_dead_owner_are_freed(engine: &dyn Engine) {
    let (a, b) = (engine.open(), engine.open());
    let (mut grants, mut waiting) = (Vec::new(), Vec::new());
    for n in 0..20 {
        grants.push(begin(&*a, &dialog(n), "u").await.grant.unwrap());
        waiting.push(begin_later(&a, &dialog(n), "dead too").await);
    }
    until("the rows are in the file", async || {
        count(&b, "turnkey_lock").await == 20
    })
    .await;
    for waits in waiting {
        waits.abort(); // Each has a clone of `a`.
        assert!(waits.await.unwrap_err().is_cancelled());
    }
    drop(a);
    no_lock_rows(&b).await;
    for n in 0..20 {
        turn(&*b, &dialog(n), &format!("u{n}"), "1").await;
    }
}

/// A turn that begins again keeps its place, though its request comes later.
async fn an_earlier_arrival_is_served_earlier(engine: &dyn Engine) {
    let (a, b) = (engine.open(), engine.open());
    let held = begin(&*a, &dialog(1), "u1").await.grant.unwrap();
    let earlier = Begin {
        arrived: Arrival::now(),
        ..asks(&dialog(1), "again")
    };
    tokio::time::sleep(Duration::from_millis(20)).await;
    let later = begin_later(&a, &dialog(1), "u2").await;
    arrived(&a).await;
    let client = b.clone();
    let again = tokio::spawn(
        started(async move { client.begin(earlier).await.map(crate::common::flat) }).await,
    );
    arrived(&b).await;
    drop(held);
    let first = again.await.unwrap().unwrap().grant.unwrap();
    let second_waits = !later.is_finished();
    let second = tokio::spawn(async move { later.await.unwrap().unwrap().grant.unwrap() });
    let fence = first.fence();
    drop(first);
    assert!(second_waits && second.await.unwrap().fence() > fence);
}

async fn a_wait_that_runs_out_is_busy(engine: &dyn Engine) {
    let (a, b) = (engine.open(), engine.open());
    let held = begin(&*a, &dialog(1), "u1").await.grant.unwrap();
    for client in [&a, &b] {
        arrived(client).await; // Connected, or it would be "not there".
        let short = Begin {
            arrived: Arrival::now(),
            wait: Duration::from_millis(30),
            ..asks(&dialog(1), "short")
        };
        let busy = client.begin(short).await.map(crate::common::flat);
        assert!(matches!(busy, Err(Error::Busy(_))), "{busy:?}");
    }
    let waits = begin_later(&b, &dialog(1), "u2").await;
    arrived(&b).await;
    drop(held);
    drop(waits.await.unwrap().unwrap());
    // Time-outs and grants that cross each other leave no lock behind.
    let mut tasks = JoinSet::new();
    for n in 0..200_u64 {
        let client = if n % 2 == 0 { a.clone() } else { b.clone() };
        tasks.spawn(async move {
            let short = Begin {
                arrived: Arrival::now(),
                wait: Duration::from_micros(n * 20),
                ..asks(&dialog(n % 3), &format!("x{n}"))
            };
            match client.begin(short).await.map(crate::common::flat) {
                Ok(begun) => drop(begun.grant.unwrap()),
                Err(Error::Busy(_)) => {}
                Err(other) => panic!("{other}"),
            }
        });
    }
    tasks.join_all().await;
    for n in 0..3 {
        turn(&*a, &dialog(n), &format!("last{n}"), "1").await;
    }
    no_lock_rows(&a).await;
}

async fn abandoned_begins_leave_no_lock(engine: &dyn Engine) {
    let (a, b) = (engine.open(), engine.open());
    let held = begin(&*a, &dialog(0), "held").await.grant.unwrap();
    for n in 0..300_u64 {
        // Dialog 0 is held: these wait. The others are granted at about the
        // moment in which their caller goes away.
        let client = if n % 2 == 0 { &a } else { &b };
        let future = started({
            let (client, begin) = (client.clone(), asks(&dialog(n % 4), &format!("u{n}")));
            async move { client.begin(begin).await.map(crate::common::flat) }
        });
        let future = future.await;
        match n % 3 {
            0 => drop(future),
            1 => {
                let task = tokio::spawn(future);
                tokio::task::yield_now().await;
                task.abort();
            }
            _ => drop(tokio::time::timeout(Duration::from_micros(n * 5), future).await),
        }
    }
    // They gave their places up too: there is room for a thousand others.
    for n in 0..1001 {
        let (client, begin) = (a.clone(), asks(&dialog(0), &format!("flood{n}")));
        drop(started(async move { client.begin(begin).await.map(crate::common::flat) }).await);
    }
    let waits = begin_later(&a, &dialog(0), "not refused").await;
    arrived(&a).await;
    drop(held);
    drop(waits.await.unwrap().unwrap());
    for n in 0..4 {
        let begun = tokio::time::timeout(LONG, begin(&*b, &dialog(n), "last")).await;
        drop(begun.expect("somebody still holds it"));
    }
    no_lock_rows(&a).await;
}

async fn a_client_in_use_may_be_dropped(engine: &dyn Engine) {
    let (a, b) = (engine.open(), engine.open());
    let grant = begin(&*a, &dialog(1), "u1").await.grant.unwrap();
    drop(a);
    drop(grant); // Its storage is gone: nothing happens.
    turn(&*b, &dialog(1), "u2", "1").await;
}

on_every_engine! {
    waiters_are_served_in_order_of_arrival
    dialogs_do_not_wait_for_each_other
    a_dropped_grant_gives_the_lock_back
    a_late_fence_is_refused
    locks_of_a_dead_owner_are_freed
    an_earlier_arrival_is_served_earlier
    a_wait_that_runs_out_is_busy
    abandoned_begins_leave_no_lock
    a_client_in_use_may_be_dropped
}
