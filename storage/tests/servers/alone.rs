//! Turns that travel alone, one in flight in each process: their calls are other ones than
//! those for many turns, and both kinds meet on the same rows.

use std::sync::{Arc, Mutex};

use tokio::task::JoinSet;
use turnkey_storage::{
    Commit, Error, Fence, LockAfter, Origin, Pending, Statement, Storage, inbox,
};

use crate::common::server::{Kind, TestServer};
use crate::common::{asks, begin, block_on, dialog, last, turn, until};
use crate::processes::open;

async fn count(storage: &dyn Storage, of: &str) -> i64 {
    let sql = format!("SELECT count(*) AS n FROM {of}");
    let rows = storage.query(None, Statement::new(sql, ())).await.unwrap();
    rows[0].get("n").unwrap()
}

/// One turn that counts, or fails; whoever holds the dialog writes down its fence.
async fn step(storage: &dyn Storage, user: &str, update: &str, fences: &Mutex<Vec<Fence>>) {
    let begun = begin(storage, &dialog(user), update).await;
    let mut grant = begun.grant.unwrap();
    fences.lock().unwrap().push(grant.fence());
    let n: u32 = begun.state.map_or(0, |state| state.parse().unwrap());
    let commit = last(update, &(n + 1).to_string());
    storage.commit(&mut grant, commit).await.unwrap();
}

fn lone_turns_and_batches_take_turns_on_one_dialog(kind: Kind) {
    let Some(server) = TestServer::shared(kind) else {
        return;
    };
    block_on(async {
        let url = server.url(&server.prepared(&[]).await);
        let fences: Arc<Mutex<Vec<Fence>>> = Arc::default();
        let mut processes = JoinSet::new();
        for process in 0..3 {
            let (storage, fences) = (open(&url), fences.clone());
            processes.spawn(async move {
                for n in 0..60 {
                    if process < 2 {
                        step(&*storage, "hot", &format!("{process}.{n}"), &fences).await;
                        continue;
                    }
                    // Many at once, of which one is for the same dialog.
                    let mut batch = JoinSet::new();
                    for m in 0..8 {
                        let (storage, fences) = (storage.clone(), fences.clone());
                        batch.spawn(async move {
                            let update = format!("{process}.{n}.{m}");
                            match m {
                                0 => step(&*storage, "hot", &update, &fences).await,
                                _ => drop(turn(&*storage, &dialog(m), &update, "1").await),
                            }
                        });
                    }
                    batch.join_all().await;
                }
            });
        }
        processes.join_all().await;
        let storage = open(&url);
        let begun = begin(&*storage, &dialog("hot"), "the last").await;
        assert_eq!(begun.state.as_deref(), Some("180"));
        drop(begun);
        let fences = std::mem::take(&mut *fences.lock().unwrap());
        assert_eq!(fences.len(), 180);
        assert!(fences.is_sorted_by(|a, b| a < b), "{fences:?}");
        until("all locks are given back", async || {
            count(&*storage, "turnkey_lock").await == 0
                && count(&*storage, "turnkey_waiter").await == 0
        })
        .await;
        assert_eq!(kind.check(&url).await.unwrap(), []);
    });
}

fn a_lone_commit_that_cannot_stand_changes_nothing(kind: Kind) {
    let Some(server) = TestServer::shared(kind) else {
        return;
    };
    block_on(async {
        let name = server.prepared(&[]).await;
        let storage = open(&server.url(&name));
        turn(&*storage, &dialog("other"), "anothers", "1").await;
        let taken_away = "DELETE FROM turnkey_lock";
        let overtaken = "UPDATE turnkey_dialog SET version = version + 1";
        let made = "INSERT INTO turnkey_dialog (user_id, channel, version, state, updated_at)
             VALUES ('new', 'http', 1, '1', 1)";
        for (user, update, meanwhile, error) in [
            ("known", "u1", taken_away, Error::Stale),
            ("known", "u2", overtaken, Error::Stale),
            ("known", "anothers", "SELECT 1", Error::Seen),
            ("new", "u3", taken_away, Error::Stale),
            ("new", "u4", made, Error::Stale),
        ] {
            for lock in [LockAfter::Kept, LockAfter::GivenBack] {
                let all = "DELETE FROM turnkey_dialog; DELETE FROM turnkey_lock";
                server.sql(&name, all).await;
                if user == "known" {
                    turn(&*storage, &dialog(user), &format!("{update} {lock:?}"), "1").await;
                }
                let asked = asks(&dialog(user), "begun");
                let begun = storage.begin(asked).await.map(crate::common::flat);
                let mut grant = begun.unwrap().grant.unwrap();
                server.sql(&name, meanwhile).await;
                let commit = Commit {
                    lock,
                    replies: vec!["hi".to_owned()],
                    history: Some("{}".to_owned()),
                    ..last(update, "2")
                };
                let refused = storage.commit(&mut grant, commit).await;
                let case = format!("{user} {update} {lock:?}");
                assert_eq!(refused, Err(error.clone()), "{case}");
                let state = "turnkey_dialog WHERE state = '2'";
                assert_eq!(count(&*storage, state).await, 0, "{case}");
                let seen = format!("turnkey_seen WHERE id = '{update}'");
                let others = i64::from(update == "anothers");
                assert_eq!(count(&*storage, &seen).await, others, "{case}");
                assert_eq!(count(&*storage, "turnkey_outbox").await, 0, "{case}");
                assert_eq!(count(&*storage, "turnkey_history").await, 0, "{case}");
            }
        }
    });
}

fn a_lone_turn_hands_its_lock_to_who_waits_in_another_process(kind: Kind) {
    let Some(server) = TestServer::shared(kind) else {
        return;
    };
    block_on(async {
        let url = server.url(&server.prepared(&[]).await);
        let (a, b) = (open(&url), open(&url));
        for lock in [LockAfter::Kept, LockAfter::GivenBack] {
            let (first, second) = (format!("a {lock:?}"), format!("b {lock:?}"));
            let mut held = begin(&*a, &dialog(1), &first).await.grant.unwrap();
            let (waits, asked) = (b.clone(), asks(&dialog(1), &second));
            let waits = tokio::spawn(async move { waits.begin(asked).await });
            until("it waits", async || count(&*a, "turnkey_waiter").await == 1).await;
            let commit = Commit {
                lock,
                ..last(&first, &first)
            };
            a.commit(&mut held, commit).await.unwrap();
            assert_eq!(
                count(&*a, "turnkey_waiter").await == 1 && !waits.is_finished(),
                lock == LockAfter::Kept
            );
            let fence = held.fence();
            if lock == LockAfter::Kept {
                a.end(held, Vec::new()).await.unwrap();
            }
            let begun = waits.await.unwrap().map(crate::common::flat).unwrap();
            assert_eq!(begun.state.as_deref(), Some(&*first));
            let mut grant = begun.grant.unwrap();
            assert!(grant.fence() > fence);
            b.commit(&mut grant, last(&second, &second)).await.unwrap();
        }
        assert_eq!(count(&*a, "turnkey_lock").await, 0);
    });
}

fn a_lone_turn_finds_and_leaves_what_it_should(kind: Kind) {
    let Some(server) = TestServer::shared(kind) else {
        return;
    };
    block_on(async {
        let storage = open(&server.url(&server.prepared(&[]).await));
        let pending = Pending {
            dialog: dialog(1),
            update: "early".to_owned(),
            arrived: 1,
            body: b"body".to_vec(),
            attempts: 1,
            due: 1,
            error: None,
        };
        inbox::relay(&*storage, std::slice::from_ref(&pending))
            .await
            .unwrap();
        // A dialog that is not known has an inbox, too.
        let begun = begin(&*storage, &dialog(1), "late").await;
        assert_eq!(begun.earlier.unwrap().update, "early");
        drop(begun.grant);
        let mut grant = begin(&*storage, &dialog(1), "early").await.grant.unwrap();
        let commit = Commit {
            origin: Origin::Inbox,
            replies: vec!["one".to_owned(), "t'w\\o".to_owned()],
            history: Some(r#"{"said":"it's"}"#.to_owned()),
            ..last("early", "1")
        };
        storage.commit(&mut grant, commit).await.unwrap();
        assert_eq!(count(&*storage, "turnkey_inbox").await, 0);
        assert_eq!(count(&*storage, "turnkey_history").await, 1);
        // Whose answer is asked for again gets the replies with it.
        for (update, seen) in [("early", true), ("late", false)] {
            let begun = begin(&*storage, &dialog(1), update).await;
            let bodies: Vec<&str> = begun.unsent.iter().map(|r| &*r.body).collect();
            assert_eq!(bodies, ["one", "t'w\\o"]);
            assert_eq!(begun.seen.is_some(), seen);
            assert_eq!(begun.state.as_deref(), Some("1"));
        }
        let asked = turnkey_storage::Begin {
            update: None,
            ..asks(&dialog(1), "")
        };
        let begun = storage.begin(asked).await.map(crate::common::flat).unwrap();
        let ids = begun.unsent.iter().map(|reply| reply.id).collect();
        storage.end(begun.grant.unwrap(), ids).await.unwrap();
        assert_eq!(count(&*storage, "turnkey_outbox").await, 0);
    });
}

on_every_server! {
    lone_turns_and_batches_take_turns_on_one_dialog
    a_lone_commit_that_cannot_stand_changes_nothing
    a_lone_turn_hands_its_lock_to_who_waits_in_another_process
    a_lone_turn_finds_and_leaves_what_it_should
}
