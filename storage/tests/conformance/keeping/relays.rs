//! Updates for other dialogs, which enter the inbox with a commit.

use turnkey_storage::inbox::{self, Pending, UpdateState};
use turnkey_storage::{Commit, Error, LockAfter, Origin, Statement, admin};

use crate::common::{asks, begin, dialog, last, turn};
use crate::engine::{Client, Engine};
use crate::keeping::{accept, begin_at, due, earlier, pending, state};
use crate::steps::{arrived, begin_later, book, count, keep};

/// A commit that ends its turn and relays these.
fn relaying(update: &str, relays: Vec<Pending>) -> Commit {
    Commit {
        relays,
        ..last(update, "1")
    }
}

/// A turn for the oldest of a dialog in the inbox, which it is.
async fn next(client: &Client, user: u32) -> Pending {
    let begun = begin_at(client, user, None, 0).await;
    let oldest = begun.earlier.unwrap();
    let mut grant = begun.grant.unwrap();
    let commit = Commit {
        origin: Origin::Inbox,
        ..last(&oldest.update, "1")
    };
    client.commit(&mut grant, commit).await.unwrap();
    oldest
}

async fn relays_arrive_with_their_commit(engine: &dyn Engine) {
    let (a, b) = (engine.open(), engine.open());
    let mut grant = begin(&*a, &dialog(1), "u1").await.grant.unwrap();
    let all = vec![
        pending(2, "r3", 3000),
        pending(3, "r4", 2500),
        Pending {
            attempts: 2,
            error: Some("it \0 failed; 'so'".to_owned()),
            ..pending(2, "r2", 2000)
        },
        pending(2, "r1", 1000),
        Pending {
            body: Vec::new(),
            ..pending(4, "r\0 é'\\", 4000)
        },
    ];
    assert_eq!(due(&b).await, []);
    a.commit(&mut grant, relaying("u1", all.clone()))
        .await
        .unwrap();
    assert_eq!(due(&b).await, [dialog(2), dialog(3), dialog(4)]);
    // In the order of their arrival, whatever that of the commit was.
    for n in [3, 2, 0] {
        assert_eq!(next(&b, 2).await, all[n]);
    }
    assert_eq!(earlier(&b, 2, None, 0).await, None);
    assert_eq!(earlier(&a, 3, Some("u9"), 9000).await, Some(all[1].clone()));
    assert_eq!(next(&a, 4).await, all[4]);
    assert_eq!(due(&a).await, [dialog(3)]);
    // The rest of the turn is there as ever.
    let begun = begin(&*b, &dialog(1), "u1").await;
    assert_eq!(begun.seen.unwrap().answer, b"answer");
    assert_eq!(turn(&*b, &dialog(1), "u2", "2").await.as_deref(), Some("1"));
}

async fn relays_go_with_all_else_that_a_commit_has(engine: &dyn Engine) {
    let client = engine.open();
    accept(&client, &pending(1, "u1", 1000)).await;
    let mut grant = begin_at(&client, 1, None, 0).await.grant.unwrap();
    let commit = Commit {
        statements: vec![book("ann", 2)],
        replies: vec!["hello".to_owned(), "there".to_owned()],
        history: Some("{}".to_owned()),
        origin: Origin::Inbox,
        lock: LockAfter::Kept,
        ..relaying("u1", vec![pending(2, "r1", 2000)])
    };
    client.commit(&mut grant, commit).await.unwrap();
    for (table, rows) in [
        ("turnkey_inbox", 1),
        ("turnkey_outbox", 2),
        ("turnkey_history", 1),
        ("booking", 1),
    ] {
        assert_eq!(count(&client, table).await, rows, "{table}");
    }
    // More than one commit of a turn, and the second under the same ids.
    let second = Commit {
        relays: vec![pending(2, "r1", 2000), pending(2, "r2", 2001)],
        ..last("u2", "2")
    };
    client.commit(&mut grant, second).await.unwrap();
    assert_eq!(next(&client, 2).await, pending(2, "r1", 2000));
    assert_eq!(next(&client, 2).await, pending(2, "r2", 2001));
    assert_eq!(count(&client, "turnkey_inbox").await, 0);
}

async fn a_relay_that_is_known_already_is_left_alone(engine: &dyn Engine) {
    let client = engine.open();
    turn(&*client, &dialog(2), "handled", "1").await;
    let waits = Pending {
        attempts: 3,
        ..pending(2, "waits", 1000)
    };
    accept(&client, &waits).await;
    let relays = vec![
        pending(2, "handled", 2000),
        pending(2, "waits", 2000),
        pending(3, "waits", 2000),
        pending(2, "new", 3000),
        pending(2, "new", 4000),
        // Its own: it is handled by this very commit.
        pending(1, "u1", 5000),
    ];
    let mut grant = begin(&*client, &dialog(1), "u1").await.grant.unwrap();
    client
        .commit(&mut grant, relaying("u1", relays.clone()))
        .await
        .unwrap();
    assert_eq!(count(&client, "turnkey_inbox").await, 2);
    assert_eq!(due(&client).await, [dialog(2)]);
    assert_eq!(next(&client, 2).await, waits);
    // Another turn relays the same, of which one has been handled since.
    let mut grant = begin(&*client, &dialog(1), "u2").await.grant.unwrap();
    client
        .commit(&mut grant, relaying("u2", relays))
        .await
        .unwrap();
    assert_eq!(next(&client, 2).await, pending(2, "new", 3000));
    assert_eq!(count(&client, "turnkey_inbox").await, 0);
    // An id is one within its channel.
    let mut elsewhere = pending(2, "new", 1000);
    elsewhere.dialog.channel = "viber".to_owned();
    let mut grant = begin(&*client, &dialog(1), "u3").await.grant.unwrap();
    client
        .commit(&mut grant, relaying("u3", vec![elsewhere.clone()]))
        .await
        .unwrap();
    assert_eq!(due(&client).await, [elsewhere.dialog]);
}

async fn a_commit_that_fails_relays_nothing(engine: &dyn Engine) {
    let client = engine.open();
    turn(&*client, &dialog(1), "u0", "0").await;
    let relay = || vec![pending(2, "r1", 1000), pending(1, "r2", 1000)];
    let mut grant = begin(&*client, &dialog(1), "u1").await.grant.unwrap();
    for statements in [
        vec![Statement::new("INSERT INTO nowhere VALUES (1)", ())],
        vec![book("ann", 1), book("ann", 2)],
        // That the relays may be written to our tables is not the author's to use.
        vec![Statement::new("DELETE FROM turnkey_inbox", ())],
    ] {
        let failing = Commit {
            statements,
            ..relaying("u1", relay())
        };
        let failed = client.commit(&mut grant, failing).await;
        assert!(matches!(failed, Err(Error::Statement(_))), "{failed:?}");
        assert_eq!(count(&client, "turnkey_inbox").await, 0);
        assert_eq!(count(&client, "booking").await, 0);
    }
    // The update was committed elsewhere meanwhile.
    turn(&*client, &dialog(3), "elsewhere", "1").await;
    let seen = client
        .commit(&mut grant, relaying("elsewhere", relay()))
        .await;
    assert_eq!(seen, Err(Error::Seen));
    assert_eq!(count(&client, "turnkey_inbox").await, 0);
    // The state is not the one that was read.
    assert!(admin::reset(&*client, &dialog(1)).await.unwrap());
    let stale = client.commit(&mut grant, relaying("u1", relay())).await;
    assert_eq!(stale, Err(Error::Stale));
    drop(grant);
    assert_eq!(count(&client, "turnkey_inbox").await, 0);
    assert_eq!(state(&client, "u1").await, UpdateState::Unknown);
    // Done at last, it relays them once.
    let mut grant = begin(&*client, &dialog(1), "u1").await.grant.unwrap();
    client
        .commit(&mut grant, relaying("u1", relay()))
        .await
        .unwrap();
    assert_eq!(count(&client, "turnkey_inbox").await, 2);
}

async fn a_late_fence_relays_nothing(engine: &dyn Engine) {
    let (a, b) = (engine.open(), engine.open());
    turn(&*a, &dialog(1), "u0", "0").await;
    let grant = begin(&*a, &dialog(1), "u1").await.grant.unwrap();
    // Two of one lock: the second of them is late once the first has given it back.
    let mut late = grant;
    a.commit(&mut late, keep("u1", "1")).await.unwrap();
    let waiting = begin_later(&b, &dialog(1), "u2").await;
    arrived(&b).await;
    a.commit(&mut late, last("u1b", "2")).await.unwrap();
    let mut current = waiting.await.unwrap().unwrap().grant.unwrap();
    let relay = vec![pending(2, "r1", 1000)];
    let stale = a.commit(&mut late, relaying("u3", relay.clone())).await;
    assert_eq!(stale, Err(Error::Stale));
    assert_eq!(count(&a, "turnkey_inbox").await, 0);
    b.commit(&mut current, relaying("u2", relay)).await.unwrap();
    assert_eq!(due(&a).await, [dialog(2)]);
}

async fn a_turn_may_relay_to_its_own_dialog(engine: &dyn Engine) {
    let (a, b) = (engine.open(), engine.open());
    let begun = begin_at(&a, 1, Some("u1"), 1000).await;
    let mut grant = begun.grant.unwrap();
    // Whoever waits for the lock learns of it, as it was there before.
    let waiting = begin_later(&b, &dialog(1), "u2").await;
    arrived(&b).await;
    let relays = vec![pending(1, "r2", 2001), pending(1, "r1", 2000)];
    a.commit(&mut grant, relaying("u1", relays)).await.unwrap();
    let begun = waiting.await.unwrap().unwrap();
    assert_eq!(begun.earlier, Some(pending(1, "r1", 2000)));
    assert_eq!(due(&a).await, [], "its turn is under way");
    b.end(begun.grant.unwrap(), Vec::new()).await.unwrap();
    assert_eq!(due(&a).await, [dialog(1)]);
    for id in ["r1", "r2"] {
        assert_eq!(next(&a, 1).await.update, id);
    }
    // The lock is kept: the holder goes on, and then it is their turn.
    let mut grant = begin(&*a, &dialog(1), "u3").await.grant.unwrap();
    let commit = Commit {
        lock: LockAfter::Kept,
        ..relaying("u3", vec![pending(1, "r3", 3000)])
    };
    a.commit(&mut grant, commit).await.unwrap();
    assert_eq!(due(&b).await, []);
    a.end(grant, Vec::new()).await.unwrap();
    assert_eq!(due(&b).await, [dialog(1)]);
}

async fn many_commits_relay_to_each_other(engine: &dyn Engine) {
    let clients = [engine.open(), engine.open()];
    let mut turns = tokio::task::JoinSet::new();
    for user in 0..40_u32 {
        let client = clients[user as usize % 2].clone();
        turns.spawn(async move {
            for round in 0..5 {
                let update = format!("u{user}.{round}");
                let begun = client.begin(asks(&dialog(user), &update)).await;
                let mut grant = begun.unwrap().granted().unwrap().grant;
                // Some have none, and one of each is everybody's, in two orders.
                let mut relays = vec![
                    pending((user + 1) % 40, &format!("r{user}.{round}"), 1000),
                    pending(99, &format!("all.{round}"), 1000),
                    pending(98, &format!("all of {round}"), 1000),
                ];
                match user % 4 {
                    0 => relays.clear(),
                    1 => relays.reverse(),
                    _ => {}
                }
                let commit = Commit {
                    statements: match user % 3 {
                        0 => vec![book(&update, 1)],
                        _ => Vec::new(),
                    },
                    ..relaying(&update, relays)
                };
                client.commit(&mut grant, commit).await.unwrap();
            }
        });
    }
    while let Some(done) = turns.join_next().await {
        done.unwrap();
    }
    let client = &clients[0];
    assert_eq!(count(client, "turnkey_inbox").await, 30 * 5 + 10);
    assert_eq!(count(client, "turnkey_seen").await, 200);
    assert_eq!(count(client, "booking").await, 14 * 5);
    assert_eq!(due(client).await.len(), 32);
}

async fn one_commit_may_relay_to_many(engine: &dyn Engine) {
    let client = engine.open();
    let mut grant = begin(&*client, &dialog("all"), "u1").await.grant.unwrap();
    let relays = (0..1000)
        .map(|n| pending(n, &format!("r{n}"), i64::from(n)))
        .collect();
    client
        .commit(&mut grant, relaying("u1", relays))
        .await
        .unwrap();
    assert_eq!(count(&client, "turnkey_inbox").await, 1000);
    let first: Vec<_> = (0..100).map(dialog).collect();
    assert_eq!(due(&client).await, first);
}

async fn updates_are_relayed_outside_of_a_turn(engine: &dyn Engine) {
    let client = engine.open();
    assert_eq!(inbox::relay(&*client, &[]).await.unwrap(), 0);
    turn(&*client, &dialog(2), "handled", "1").await;
    let rows = [
        pending(3, "r3", 3000),
        pending(2, "r2", 2000),
        pending(2, "r1", 1000),
        pending(2, "handled", 500),
        pending(2, "r1", 4000),
    ];
    assert_eq!(inbox::relay(&*client, &rows).await.unwrap(), 3);
    assert_eq!(inbox::relay(&*client, &rows).await.unwrap(), 0);
    assert_eq!(due(&client).await, [dialog(2), dialog(3)]);
    assert_eq!(next(&client, 2).await, rows[2]);
    assert_eq!(next(&client, 2).await, rows[1]);
    assert_eq!(inbox::relay(&*client, &rows).await.unwrap(), 0);
    // No bounds; and at the same time they come in once.
    let many: Vec<_> = (0..300)
        .map(|n| pending(n % 7, &format!("m{n}"), 1000))
        .collect();
    let mut tasks = tokio::task::JoinSet::new();
    for turned in [false, true, false, true] {
        let (client, mut many) = (engine.open(), many.clone());
        if turned {
            many.reverse();
        }
        tasks.spawn(async move { inbox::relay(&*client, &many).await.unwrap() });
    }
    assert_eq!(tasks.join_all().await.iter().sum::<u64>(), 300);
    assert_eq!(count(&client, "turnkey_inbox").await, 301);
}

on_every_engine! {
    relays_arrive_with_their_commit
    relays_go_with_all_else_that_a_commit_has
    a_relay_that_is_known_already_is_left_alone
    a_commit_that_fails_relays_nothing
    a_late_fence_relays_nothing
    a_turn_may_relay_to_its_own_dialog
    many_commits_relay_to_each_other
    one_commit_may_relay_to_many
    updates_are_relayed_outside_of_a_turn
}
