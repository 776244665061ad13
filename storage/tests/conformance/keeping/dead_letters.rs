//! Updates that were given up.

use turnkey_storage::dead::DeadLetter;
use turnkey_storage::inbox::{Pending, UpdateState};
use turnkey_storage::{Commit, Error, Origin, dead};

use crate::common::{begin, dialog, last, turn};
use crate::engine::Engine;
use crate::keeping::{accept, begin_at, due, earlier, letter, pending, state};
use crate::steps::count;

async fn an_update_that_is_buried_is_answered_and_out_of_the_way(engine: &dyn Engine) {
    let client = engine.open();
    let update = pending(1, "u1", 1000);
    accept(&client, &update).await;
    let letter = letter(&update);
    dead::bury(&*client, &letter).await.unwrap();
    dead::bury(&*client, &letter).await.unwrap();
    assert_eq!(
        state(&client, "u1").await,
        UpdateState::Dead(letter.error.clone())
    );
    assert_eq!(count(&client, "turnkey_inbox").await, 0);
    assert_eq!(due(&client).await, []);
    let begun = begin(&*client, &dialog(1), "u1").await;
    assert!(begun.grant.is_none());
    assert_eq!(begun.seen.unwrap().answer, letter.answer);
    assert_eq!(
        dead::get(&*client, "http", "u1").await.unwrap(),
        Some(letter.clone())
    );
    assert_eq!(dead::get(&*client, "viber", "u1").await.unwrap(), None);
    // A turn that was slower than the burial does not commit.
    let mut grant = begin(&*client, &dialog(1), "u2").await.grant.unwrap();
    let error = client
        .commit(&mut grant, last("u1", "1"))
        .await
        .unwrap_err();
    assert_eq!(error, Error::Seen);
    drop(grant);
    // And one that was faster is not buried.
    turn(&*client, &dialog(1), "u3", "1").await;
    let late = self::letter(&pending(1, "u3", 2000));
    dead::bury(&*client, &late).await.unwrap();
    assert_eq!(dead::get(&*client, "http", "u3").await.unwrap(), None);
    assert!(matches!(state(&client, "u3").await, UpdateState::Done(_)));
}

async fn a_commit_may_bury_its_update(engine: &dyn Engine) {
    let client = engine.open();
    let update = pending(1, "u1", 1000);
    accept(&client, &update).await;
    let letter = letter(&update);
    let mut grant = begin_at(&client, 1, Some("u1"), 1000).await.grant.unwrap();
    let commit = Commit {
        origin: Origin::Inbox,
        replies: vec!["sorry".to_owned()],
        changes: dead::with_commit(&letter).into(),
        ..last("u1", "7")
    };
    let answer = commit.answer.clone();
    client.commit(&mut grant, commit.clone()).await.unwrap();
    assert_eq!(
        dead::get(&*client, "http", "u1").await.unwrap(),
        Some(letter.clone())
    );
    assert_eq!(count(&client, "turnkey_inbox").await, 0);
    assert_eq!(count(&client, "turnkey_outbox").await, 1);
    drop(grant);
    // Sent again it is known, and is what was committed.
    let begun = begin(&*client, &dialog(1), "u1").await;
    assert_eq!(begun.seen.unwrap().answer, answer);
    assert_eq!(begun.unsent.len(), 1);
    drop(begun.grant);
    // By hand it is tried again, and its turn commits.
    assert!(dead::retry(&*client, "http", "u1").await.unwrap());
    let mut grant = begin_at(&client, 1, Some("u1"), 1000).await.grant.unwrap();
    let commit = Commit {
        origin: Origin::Inbox,
        ..last("u1", "8")
    };
    client.commit(&mut grant, commit).await.unwrap();
    assert_eq!(count(&client, "turnkey_dead").await, 0);
    assert!(matches!(state(&client, "u1").await, UpdateState::Done(_)));
}

async fn dead_letters_are_listed_tried_again_and_dropped(engine: &dyn Engine) {
    let client = engine.open();
    let mut letters = Vec::new();
    for (n, id) in ["u2", "u1", "u3"].iter().enumerate() {
        let update = pending(1, id, 1000 + n as i64);
        accept(&client, &update).await;
        // Two of the same moment.
        let letter = DeadLetter {
            died: 5000 + n as i64 / 2,
            ..letter(&update)
        };
        dead::bury(&*client, &letter).await.unwrap();
        letters.push(letter);
    }
    letters.swap(0, 1);
    let list = dead::list(&*client, None, 2).await.unwrap();
    assert_eq!(list, letters[..2]);
    let place = list[1].place();
    let rest = dead::list(&*client, Some(&place), 2).await.unwrap();
    assert_eq!(rest, letters[2..]);
    assert!(!dead::retry(&*client, "http", "none").await.unwrap());
    assert!(dead::retry(&*client, "http", "u1").await.unwrap());
    assert!(!dead::retry(&*client, "http", "u1").await.unwrap());
    assert_eq!(state(&client, "u1").await, UpdateState::Pending);
    let back = earlier(&client, 1, None, 0).await.unwrap();
    let as_new = Pending {
        due: back.due,
        ..pending(1, "u1", 1001)
    };
    assert_eq!(back, as_new);
    assert_eq!(due(&client).await, [dialog(1)]);
    let mut grant = begin_at(&client, 1, Some("u1"), 1001).await.grant.unwrap();
    let commit = Commit {
        origin: Origin::Inbox,
        ..last("u1", "1")
    };
    client.commit(&mut grant, commit).await.unwrap();
    assert!(dead::drop_letter(&*client, "http", "u2").await.unwrap());
    assert!(!dead::drop_letter(&*client, "http", "u2").await.unwrap());
    // Its id stays known: the platform's copy is not run.
    assert!(begin(&*client, &dialog(1), "u2").await.grant.is_none());
    assert_eq!(dead::list(&*client, None, 9).await.unwrap(), letters[2..]);
}

on_every_engine! {
    an_update_that_is_buried_is_answered_and_out_of_the_way
    a_commit_may_bury_its_update
    dead_letters_are_listed_tried_again_and_dropped
}
