//! The inbox: updates that were accepted and whose turn is still to come.

use turnkey_storage::inbox::{Bounds, Pending, UpdateState};
use turnkey_storage::{Commit, DialogKey, Error, LockAfter, Origin, Seen, Statement, inbox};

use crate::common::{begin, dialog, last};
use crate::engine::{Client, Engine};
use crate::keeping::{accept, begin_at, due, earlier, now_ms, pending, state};
use crate::steps::{arrived, begin_later, count, keep};

async fn what_is_in_the_inbox_goes_first_in_the_order_of_arrival(engine: &dyn Engine) {
    let (a, b) = (engine.open(), engine.open());
    let (second, first) = (pending(1, "u2", 2000), pending(1, "u1", 1000));
    accept(&a, &second).await;
    accept(&b, &first).await;
    accept(&b, &pending(2, "u3", 500)).await;
    let listed = async |dialog: Option<&DialogKey>, limit| {
        let list = inbox::list(&*a, dialog, limit).await.unwrap();
        Vec::from_iter(list.into_iter().map(|waiting| waiting.update))
    };
    assert_eq!(listed(None, 9).await, ["u3", "u1", "u2"]);
    assert_eq!(listed(None, 1).await, ["u3"]);
    assert_eq!(listed(Some(&dialog(1)), 9).await, ["u1", "u2"]);
    let oldest = |update, at| earlier(&b, 1, update, at);
    assert_eq!(oldest(None, 0).await, Some(first.clone()));
    assert_eq!(oldest(Some("u9"), 9000).await, Some(first.clone()));
    assert_eq!(oldest(Some("u9"), 1500).await, Some(first.clone()));
    assert_eq!(oldest(Some("u2"), 2000).await, Some(first.clone()));
    // What arrived before it, and it itself, waits for nothing.
    assert_eq!(oldest(Some("u9"), 999).await, None);
    assert_eq!(oldest(Some("u1"), 1000).await, None);
    // Of those of one moment the ids decide, so that each has one place.
    assert_eq!(oldest(Some("u0"), 1000).await, None);
    assert_eq!(oldest(Some("u9"), 1000).await, Some(first.clone()));
    // A turn of this moment knows of it too, and one of another dialog does not.
    let begun = begin(&*a, &dialog(1), "u9").await;
    assert_eq!(begun.earlier, Some(first));
    drop(begun);
    assert_eq!(
        begin(&*a, &DialogKey::new("viber", "1"), "u9")
            .await
            .earlier,
        None
    );
}

async fn one_that_waited_for_the_lock_learns_what_came_meanwhile(engine: &dyn Engine) {
    let (a, b) = (engine.open(), engine.open());
    let grant = begin(&*a, &dialog(1), "u1").await.grant.unwrap();
    let waiting = begin_later(&b, &dialog(1), "u2").await;
    arrived(&b).await;
    let update = pending(1, "u1", 1000);
    accept(&a, &update).await;
    a.end(grant, Vec::new()).await.unwrap();
    let begun = waiting.await.unwrap().unwrap();
    assert_eq!(begun.earlier, Some(update));
}

async fn a_commit_takes_its_update_out_of_the_inbox(engine: &dyn Engine) {
    let client = engine.open();
    let (first, second) = (pending(1, "u1", 1000), pending(1, "u2", 2000));
    accept(&client, &first).await;
    accept(&client, &second).await;
    assert_eq!(state(&client, "u1").await, UpdateState::Pending);
    let mut grant = begin_at(&client, 1, None, 0).await.grant.unwrap();
    // A commit that fails leaves it there.
    let failing = Commit {
        statements: vec![Statement::new("INSERT INTO nowhere VALUES (1)", ())],
        origin: Origin::Inbox,
        ..keep("u1", "1")
    };
    let error = client.commit(&mut grant, failing).await.unwrap_err();
    assert!(matches!(error, Error::Statement(_)), "{error}");
    assert_eq!(state(&client, "u1").await, UpdateState::Pending);
    let commit = |update: &str, lock| Commit {
        origin: Origin::Inbox,
        lock,
        ..last(update, "1")
    };
    client
        .commit(&mut grant, commit("u1", LockAfter::Kept))
        .await
        .unwrap();
    let done = UpdateState::Done(Seen {
        digest: b"digest".to_vec(),
        answer: b"answer".to_vec(),
    });
    assert_eq!(state(&client, "u1").await, done);
    assert_eq!(count(&client, "turnkey_inbox").await, 1);
    // With statements of the author's too, under the same lock.
    let with_note = Commit {
        statements: vec![Statement::new("INSERT INTO note VALUES ('x')", ())],
        ..commit("u2", LockAfter::GivenBack)
    };
    client.commit(&mut grant, with_note).await.unwrap();
    assert_eq!(count(&client, "turnkey_inbox").await, 0);
    assert_eq!(earlier(&client, 1, None, 0).await, None);
    // A late copy of it does not come in again.
    accept(&client, &first).await;
    assert_eq!(count(&client, "turnkey_inbox").await, 0);
    assert_eq!(state(&client, "u7").await, UpdateState::Unknown);
}

async fn many_commits_take_out_what_is_theirs(engine: &dyn Engine) {
    let client = engine.open();
    let mut turns = tokio::task::JoinSet::new();
    for user in 0..40 {
        let (client, update) = (client.clone(), format!("u{user}"));
        turns.spawn(async move {
            let is_pending = user % 2 == 0;
            accept(&client, &pending(user, &update, 1000)).await;
            let mut grant = begin_at(&client, user, Some(&update), 1000)
                .await
                .grant
                .unwrap();
            let commit = Commit {
                origin: match is_pending {
                    true => Origin::Inbox,
                    false => Origin::Arrival,
                },
                ..last(if is_pending { &update } else { "other" }, "1")
            };
            // Another turn has this id already.
            let done = client.commit(&mut grant, commit).await;
            assert!(matches!(done, Ok(()) | Err(Error::Seen)), "{done:?}");
        });
    }
    while let Some(done) = turns.join_next().await {
        done.unwrap();
    }
    assert_eq!(count(&client, "turnkey_inbox").await, 20);
    assert_eq!(count(&client, "turnkey_seen").await, 21);
}

async fn the_inbox_takes_an_update_once_and_up_to_its_bounds(engine: &dyn Engine) {
    let client = engine.open();
    let tight = Bounds {
        per_dialog: 2,
        all: 3,
    };
    let put = async |user, update: &str| {
        inbox::accept(&*client, &pending(user, update, 1000), tight).await
    };
    put(1, "u1").await.unwrap();
    put(1, "u1").await.unwrap();
    put(1, "u2").await.unwrap();
    assert_eq!(count(&client, "turnkey_inbox").await, 2);
    assert!(matches!(put(1, "u3").await, Err(Error::Busy(_))));
    // One that is there already is no more at a bound than it was before.
    put(1, "u2").await.unwrap();
    put(2, "u4").await.unwrap();
    assert!(matches!(put(2, "u5").await, Err(Error::Busy(_))));
    assert_eq!(count(&client, "turnkey_inbox").await, 3);
    // At the same time it is one row too.
    let others: Vec<Client> = (0..4).map(|_| engine.open()).collect();
    let mut tasks = tokio::task::JoinSet::new();
    for client in others {
        tasks.spawn(async move { accept(&client, &pending(7, "u7", 1000)).await });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
    assert_eq!(count(&client, "turnkey_inbox").await, 4);
}

async fn what_dialogs_say_to_each_other_leaves_the_inbox_its_room(engine: &dyn Engine) {
    let client = engine.open();
    let of = |update: &str| Pending {
        dialog: DialogKey::new("telegram", "1"),
        ..pending(1, update, 1000)
    };
    let said = ["relay:a", "relay:b", "broadcast:1:1"].map(of);
    inbox::relay(&*client, &said).await.unwrap();
    let tight = Bounds {
        per_dialog: 1,
        all: 1,
    };
    let put = async |update: &str| inbox::accept(&*client, &of(update), tight).await;
    put("u1").await.unwrap();
    assert!(matches!(put("u2").await, Err(Error::Busy(_))));
    // Ids of this channel are its callers' to choose.
    let chosen = pending(1, "relay:c", 1000);
    assert!(inbox::accept(&*client, &chosen, tight).await.is_err());
}

/// No pause is that long: it was put off by a clock that was wrong.
async fn what_is_due_too_late_is_due_now(engine: &dyn Engine) {
    let client = engine.open();
    let day = 86_400_000;
    let put_off = Pending {
        due: now_ms() + day,
        ..pending(1, "u1", 1000)
    };
    accept(&client, &put_off).await;
    assert_eq!(due(&client).await, [dialog(1)]);
    let found = earlier(&client, 1, None, 2000).await.unwrap();
    assert!(found.pause().is_zero());
    // One that waits for others may do so for ten minutes, one that failed may not.
    let waits = Pending {
        due: now_ms() + inbox::LONGEST_WINDOW.as_millis() as i64,
        ..pending(3, "u3", 3000)
    };
    accept(&client, &waits).await;
    assert_eq!(due(&client).await, [dialog(1)]);
    assert_eq!(earlier(&client, 3, None, 4000).await, None);
    inbox::note_failure(&*client, &dialog(3), "u3", 1, "no luck", waits.due)
        .await
        .unwrap();
    assert_eq!(due(&client).await, [dialog(1), dialog(3)]);
    // Whoever takes updates goes on from what arrived by that clock.
    let ahead = (now_ms() + day) * 1000;
    accept(&client, &pending(2, "u2", ahead)).await;
    assert_eq!(inbox::latest_arrival(&*client).await.unwrap(), Some(ahead));
}

async fn the_inbox_says_which_dialogs_are_due(engine: &dyn Engine) {
    let client = engine.open();
    assert_eq!(due(&client).await, []);
    let later = |update| Pending {
        due: now_ms() + 45_000,
        ..update
    };
    accept(&client, &pending(1, "u1", 3000)).await;
    accept(&client, &pending(2, "u2", 1000)).await;
    accept(&client, &later(pending(3, "u3", 2000))).await;
    // Due, but behind one that is not.
    accept(&client, &pending(3, "u4", 2001)).await;
    assert_eq!(due(&client).await, [dialog(2), dialog(1)]);
    let one = inbox::due_dialogs(&*client, 1).await.unwrap();
    assert_eq!(one, [dialog(2)]);
    assert_eq!(earlier(&client, 3, None, 0).await, None);
    let before = earlier(&client, 3, Some("u4"), 2001).await;
    assert_eq!(before.map(|p| p.update).as_deref(), Some("u3"));
    // A turn under way will look by itself.
    let grant = begin(&*client, &dialog(2), "u9").await.grant.unwrap();
    assert_eq!(due(&client).await, [dialog(1)]);
    client.end(grant, Vec::new()).await.unwrap();
    // Failed: not before then, and the reason is kept.
    let then = now_ms() + 45_000;
    inbox::note_failure(&*client, &dialog(2), "u2", 3, "no \0 luck", then)
        .await
        .unwrap();
    assert_eq!(due(&client).await, [dialog(1)]);
    let failed = Pending {
        attempts: 3,
        due: then,
        error: Some("no \0 luck".to_owned()),
        ..pending(2, "u2", 1000)
    };
    assert_eq!(earlier(&client, 2, Some("u9"), 9000).await, Some(failed));
}

on_every_engine! {
    what_dialogs_say_to_each_other_leaves_the_inbox_its_room
    what_is_in_the_inbox_goes_first_in_the_order_of_arrival
    one_that_waited_for_the_lock_learns_what_came_meanwhile
    a_commit_takes_its_update_out_of_the_inbox
    many_commits_take_out_what_is_theirs
    the_inbox_takes_an_update_once_and_up_to_its_bounds
    what_is_due_too_late_is_due_now
    the_inbox_says_which_dialogs_are_due
}
