//! How old rows go.

use turnkey_storage::retention::{Kept, Sweep};
use turnkey_storage::{Commit, ReplyId, messages, taken};

use crate::common::{begin, dialog, last, until};
use crate::engine::{Client, Engine};
use crate::keeping::now_ms;
use crate::steps::count;

/// A whole round: how many rows went, in how many steps.
async fn sweep(client: &Client, kept: Kept, cutoff: i64) -> (u64, u32) {
    let mut sweep = Sweep::of(kept);
    let (mut gone, mut steps) = (0, 0);
    loop {
        let step = sweep.step(&**client, cutoff).await.unwrap();
        gone += step.gone;
        steps += 1;
        assert!(steps < 10, "it does not end");
        if step.over {
            return (gone, steps);
        }
    }
}

async fn a_sweep_deletes_what_is_old_and_comes_to_an_end(engine: &dyn Engine) {
    let client = engine.open();
    for n in 0..1100 {
        let kept = Commit {
            history: Some(n.to_string()),
            ..last(&format!("u{n:04}"), "1")
        };
        let mut grant = begin(&*client, &dialog(n % 7), &kept.update)
            .await
            .grant
            .unwrap();
        client.commit(&mut grant, kept).await.unwrap();
    }
    let round = async |kept, cutoff| sweep(&client, kept, cutoff).await;
    // Young rows stay.
    assert_eq!(round(Kept::Updates, 1000).await, (0, 3));
    assert_eq!(round(Kept::History, 1000).await, (0, 1));
    assert_eq!(count(&client, "turnkey_seen").await, 1100);
    let later = now_ms() + 60_000;
    assert_eq!(round(Kept::Updates, later).await, (1100, 3));
    assert_eq!(round(Kept::History, later).await, (1100, 3));
    assert_eq!(count(&client, "turnkey_seen").await, 0);
    assert_eq!(count(&client, "turnkey_history").await, 0);
    assert_eq!(round(Kept::Updates, later).await, (0, 1));
}

/// Their keys are longer than an id, and several rows share its start.
async fn a_sweep_forgets_old_names_and_what_was_taken_long_ago(engine: &dyn Engine) {
    let client = engine.open();
    let (ann, bob) = (dialog("ann"), dialog("bob \0"));
    for n in 0..1100 {
        let of = if n % 11 == 0 { &bob } else { &ann };
        messages::set(&*client, of, &format!("order {n:04}"), "1")
            .await
            .unwrap();
    }
    let many: Vec<_> = (0..40).map(|n| format!("reply {n}")).collect();
    for user in [&ann, &bob] {
        let mut grant = begin(&*client, user, &user.user_id).await.grant.unwrap();
        let commit = Commit {
            replies: many.clone(),
            ..last(&user.user_id, "1")
        };
        let turn = grant.fence();
        client.commit(&mut grant, commit).await.unwrap();
        for index in 0..40 {
            let id = ReplyId { turn, index };
            let kept = taken::keep(&*client, user, id, "message", None);
            kept.await.unwrap();
        }
    }
    let round = async |kept, cutoff| sweep(&client, kept, cutoff).await;
    assert_eq!(round(Kept::Names, 1000).await, (0, 3));
    assert_eq!(round(Kept::Taken, 1000).await, (0, 1));
    // A moment later some are used again, and some are new.
    let cutoff = after(now_ms()).await;
    messages::used(&*client, &ann, "order 0001").await.unwrap();
    messages::used(&*client, &ann, "unknown").await.unwrap();
    messages::set(&*client, &ann, "order 0500", "2")
        .await
        .unwrap();
    messages::set(&*client, &bob, "a new one", "3")
        .await
        .unwrap();
    assert_eq!(round(Kept::Names, cutoff).await, (1098, 3));
    assert_eq!(round(Kept::Names, cutoff).await, (0, 1));
    for (of, name, message) in [
        (&ann, "order 0001", "1"),
        (&ann, "order 0500", "2"),
        (&bob, "a new one", "3"),
    ] {
        let found = messages::find(&*client, of, name).await.unwrap();
        assert_eq!(found.as_deref(), Some(message), "{name}");
    }
    assert_eq!(count(&client, "turnkey_message").await, 3);
    assert_eq!(round(Kept::Taken, cutoff).await, (80, 1));
    assert_eq!(count(&client, "turnkey_taken").await, 0);
    assert_eq!(count(&client, "turnkey_outbox").await, 80);
}

/// A moment that is later than this one, once it has come.
async fn after(moment: i64) -> i64 {
    until("a later moment", async || now_ms() > moment).await;
    now_ms()
}

on_every_engine! {
    a_sweep_deletes_what_is_old_and_comes_to_an_end
    a_sweep_forgets_old_names_and_what_was_taken_long_ago
}
