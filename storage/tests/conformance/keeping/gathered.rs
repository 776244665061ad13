//! Updates of the inbox that one turn handles together.

use turnkey_storage::inbox::{self, Pending, UpdateState};
use turnkey_storage::{Commit, Origin};

use crate::common::{dialog, last, turn};
use crate::engine::Engine;
use crate::keeping::{accept, begin_at, due, pending, state};
use crate::steps::{book, count};

async fn one_commit_handles_several_updates(engine: &dyn Engine) {
    let (a, b) = (engine.open(), engine.open());
    let all = [
        pending(1, "u1", 1000),
        Pending {
            body: vec![0, 255, b'\''],
            ..pending(1, "u\0 2'\\", 2000)
        },
        pending(1, "u3", 3000),
    ];
    for pending in all.iter().chain([&pending(2, "u4", 1500)]) {
        accept(&a, pending).await;
    }
    let begun = begin_at(&a, 1, None, 0).await;
    assert_eq!(begun.earlier.as_ref(), Some(&all[0]));
    let mut grant = begun.grant.unwrap();
    assert_eq!(inbox::of_dialog(&*b, &dialog(1), 10).await.unwrap(), all);
    assert_eq!(
        inbox::of_dialog(&*b, &dialog(1), 2).await.unwrap(),
        all[..2]
    );
    let commit = Commit {
        origin: Origin::Inbox,
        // With the author's own SQL, and without, there is one commit.
        statements: vec![book("ann", 2)],
        changes: inbox::handled(&dialog(1), &all[1].update, grant.fence(), b"d2", b"a2").into(),
        ..last("u1", "1")
    };
    a.commit(&mut grant, commit).await.unwrap();
    for (update, answer) in [("u1", &b"answer"[..]), (&*all[1].update, b"a2")] {
        let UpdateState::Done(seen) = state(&b, update).await else {
            panic!("{update:?} is not done");
        };
        assert_eq!(seen.answer, answer);
    }
    assert_eq!(due(&b).await, [dialog(2), dialog(1)]);
    let left = inbox::of_dialog(&*b, &dialog(1), 10).await.unwrap();
    assert_eq!(left, all[2..]);
    // Whoever brings it again learns that it is done.
    let begun = begin_at(&b, 1, Some(&all[1].update), 9000).await;
    assert_eq!(begun.seen.unwrap().digest, b"d2");
    assert_eq!(count(&a, "booking").await, 1);
}

async fn a_commit_that_fails_handles_none(engine: &dyn Engine) {
    let client = engine.open();
    for (n, update) in ["u1", "u2"].into_iter().enumerate() {
        accept(&client, &pending(1, update, 1000 + n as i64)).await;
    }
    let mut grant = begin_at(&client, 1, None, 0).await.grant.unwrap();
    let commit = Commit {
        origin: Origin::Inbox,
        statements: vec![book("ann", 2), book("ann", 3)],
        changes: inbox::handled(&dialog(1), "u2", grant.fence(), b"", b"").into(),
        ..last("u1", "1")
    };
    client.commit(&mut grant, commit).await.unwrap_err();
    drop(grant);
    for update in ["u1", "u2"] {
        assert!(matches!(state(&client, update).await, UpdateState::Pending));
    }
    assert_eq!(count(&client, "booking").await, 0);
}

async fn what_waits_for_others_is_put_off(engine: &dyn Engine) {
    let client = engine.open();
    let now = turnkey_storage::clock::now_ms();
    let waiting = |update: &str, due: i64| Pending {
        due,
        ..pending(1, update, now * 1000)
    };
    accept(&client, &waiting("due", now - 1)).await;
    accept(&client, &waiting("waits", now + 5000)).await;
    let failed = Pending {
        attempts: 1,
        ..waiting("failed", now + 6000)
    };
    accept(&client, &failed).await;
    accept(
        &client,
        &Pending {
            arrived: (now - 60_000) * 1000,
            ..waiting("old", now + 5000)
        },
    )
    .await;
    inbox::put_off(&*client, &dialog(1), now - 1000, now, now + 10_000)
        .await
        .unwrap();
    let rows = inbox::of_dialog(&*client, &dialog(1), 10).await.unwrap();
    let mut dues: Vec<_> = rows.iter().map(|r| (&*r.update, r.due - now)).collect();
    dues.sort_unstable();
    assert_eq!(
        dues,
        [
            ("due", -1),
            ("failed", 6000),
            ("old", 5000),
            ("waits", 10_000)
        ]
    );
    // Nothing else of the dialog waits for it.
    turn(&*client, &dialog(2), "u1", "1").await;
}

on_every_engine! {
    one_commit_handles_several_updates
    a_commit_that_fails_handles_none
    what_waits_for_others_is_put_off
}
