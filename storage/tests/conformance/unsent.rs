//! Replies that are stored and not sent yet.

use turnkey_storage::{Begin, Commit, ReplyId};

use crate::common::{asks, begin, dialog};
use crate::engine::Engine;
use crate::steps::{arrived, count, keep};

async fn unsent_replies_come_back_in_order(engine: &dyn Engine) {
    let (a, b) = (engine.open(), engine.open());
    let mut committed = Vec::new();
    let bodies = |unsent: &[turnkey_storage::Unsent]| -> Vec<String> {
        unsent.iter().map(|reply| reply.body.clone()).collect()
    };
    for n in 0..3 {
        let begun = begin(&*a, &dialog(1), &format!("u{n}")).await;
        assert_eq!(bodies(&begun.unsent), committed);
        let mut grant = begun.grant.unwrap();
        let replies: Vec<_> = (0..12).map(|i| format!("{n}.{i}")).collect();
        committed.extend(replies.clone());
        let commit = Commit {
            replies,
            ..keep(&format!("u{n}"), "1")
        };
        a.commit(&mut grant, commit).await.unwrap();
        // The turn dies here: whoever comes next sends them.
    }
    // Seen, but with something left to send: that comes with the lock.
    let begun = begin(&*b, &dialog(1), "u0").await;
    assert_eq!(begun.seen.unwrap().answer, b"answer");
    assert_eq!(bodies(&begun.unsent), committed);
    let grant = begun.grant.unwrap();
    let ids: Vec<ReplyId> = begun.unsent.iter().map(|reply| reply.id).collect();
    assert!(ids.is_sorted());
    b.sent(&grant, ids[..5].to_vec()).await.unwrap();
    b.sent(&grant, ids[..5].to_vec()).await.unwrap(); // Again: no harm.
    b.sent(&grant, Vec::new()).await.unwrap();
    drop(grant);
    // Without an update: only to send.
    let only_send = Begin {
        update: None,
        ..asks(&dialog(1), "")
    };
    let begun = a
        .begin(only_send.clone())
        .await
        .map(crate::common::flat)
        .unwrap();
    assert_eq!(bodies(&begun.unsent), committed[5..]);
    a.end(begun.grant.unwrap(), ids[5..].to_vec())
        .await
        .unwrap();
    let begun = b.begin(only_send).await.map(crate::common::flat).unwrap();
    assert_eq!(begun.unsent, []);
    drop(begun);
    assert!(begin(&*a, &dialog(1), "u0").await.grant.is_none());
    assert_eq!(count(&a, "turnkey_outbox").await, 0);
}

async fn dialogs_with_unsent_are_those_without_a_turn(engine: &dyn Engine) {
    let (a, b) = (engine.open(), engine.open());
    let mut held = Vec::new();
    for n in 0..6 {
        let mut grant = begin(&*a, &dialog(n), &format!("u{n}"))
            .await
            .grant
            .unwrap();
        let commit = Commit {
            replies: if n == 5 {
                vec![]
            } else {
                vec!["hello".into(), "you".into()]
            },
            ..keep(&format!("u{n}"), "1")
        };
        a.commit(&mut grant, commit).await.unwrap();
        if n % 2 == 0 {
            held.push(grant);
        }
    }
    arrived(&a).await; // The drops.
    let users = async |limit| -> Vec<String> {
        let dialogs = b.dialogs_with_unsent(limit).await.unwrap();
        dialogs.into_iter().map(|d| d.user_id).collect()
    };
    assert_eq!(users(10).await, ["1", "3"]);
    assert_eq!(users(1).await, ["1"]);
    assert_eq!(users(0).await, [""; 0]);
    held.clear();
    arrived(&a).await;
    assert_eq!(users(10).await, ["0", "1", "2", "3", "4"]);
    drop(a);
}

on_every_engine! {
    unsent_replies_come_back_in_order
    dialogs_with_unsent_are_those_without_a_turn
}
