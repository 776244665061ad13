//! Updates that come twice, to the same dialog or to another.

use turnkey_storage::{Commit, DialogKey, Error, LockAfter, Seen};

use crate::common::{begin, dialog, last, turn};
use crate::engine::Engine;
use crate::steps::{arrived, begin_later, book, count, no_lock_rows};

async fn a_seen_update_gets_its_stored_answer(engine: &dyn Engine) {
    let (a, b) = (engine.open(), engine.open());
    let seen = Seen {
        digest: vec![0, 1, 255, b'\''],
        answer: (0..=255).collect(),
    };
    let mut grant = begin(&*a, &dialog(1), "u1").await.grant.unwrap();
    let commit = Commit {
        digest: seen.digest.clone(),
        answer: seen.answer.clone(),
        ..last("u1", "1")
    };
    a.commit(&mut grant, commit).await.unwrap();
    for client in [&a, &b] {
        for dialog in [dialog(1), dialog(2)] {
            let begun = begin(&**client, &dialog, "u1").await;
            assert_eq!(begun.seen.as_ref(), Some(&seen));
            assert!(begun.grant.is_none() && begun.unsent.is_empty());
        }
    }
    // The id belongs to its channel.
    let begun = begin(&*a, &DialogKey::new("viber", "1"), "u1").await;
    assert!(begun.seen.is_none() && begun.grant.is_some());
    // Empty digest and answer are an answer all the same.
    let mut grant = begin(&*a, &dialog(1), "u2").await.grant.unwrap();
    let commit = Commit {
        update: "u2".into(),
        state: "2".into(),
        lock: LockAfter::GivenBack,
        ..Commit::default()
    };
    a.commit(&mut grant, commit).await.unwrap();
    let again = begin(&*b, &dialog(1), "u2").await.seen.unwrap();
    assert_eq!((again.digest, again.answer), (Vec::new(), Vec::new()));
    drop(begun);
    no_lock_rows(&a).await;
}

async fn an_update_of_another_dialog_is_seen_at_commit(engine: &dyn Engine) {
    let (a, b) = (engine.open(), engine.open());
    let mut one = begin(&*a, &dialog(1), "u").await.grant.unwrap();
    let mut two = begin(&*b, &dialog(2), "u").await.grant.unwrap();
    a.commit(&mut one, last("u", "1")).await.unwrap();
    let commit = Commit {
        statements: vec![book("two", 2)],
        ..last("u", "2")
    };
    assert_eq!(b.commit(&mut two, commit).await, Err(Error::Seen));
    assert_eq!(count(&a, "booking").await, 0);
    // The lock is still held, and the turn may do something else.
    b.commit(&mut two, last("other", "2")).await.unwrap();
    assert_eq!(turn(&*a, &dialog(2), "u3", "3").await.as_deref(), Some("2"));
}

async fn a_duplicate_in_flight_waits(engine: &dyn Engine) {
    let (a, b) = (engine.open(), engine.open());
    for round in 0..20 {
        let update = format!("u{round}");
        let mut grant = begin(&*a, &dialog(1), &update).await.grant.unwrap();
        let same = begin_later(&b, &dialog(1), &update).await;
        arrived(&b).await;
        assert!(!same.is_finished());
        a.commit(&mut grant, last(&update, "1")).await.unwrap();
        let begun = same.await.unwrap().unwrap();
        assert_eq!(begun.seen.unwrap().answer, b"answer");
        assert!(begun.grant.is_none());
    }
    // When the first one fails, the duplicate is a turn like any other.
    let grant = begin(&*a, &dialog(1), "failed").await.grant.unwrap();
    let same = begin_later(&b, &dialog(1), "failed").await;
    drop(grant);
    let begun = same.await.unwrap().unwrap();
    assert!(begun.seen.is_none() && begun.grant.is_some());
}

on_every_engine! {
    a_seen_update_gets_its_stored_answer
    an_update_of_another_dialog_is_seen_at_commit
    a_duplicate_in_flight_waits
}
