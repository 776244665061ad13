//! Cases of the conformance list about replies that fail, and their end.

use turnkey_storage::replies::{self, DeadReply, Waiting};
use turnkey_storage::{Commit, Fence, ReplyId, Storage, admin, reasons};

use crate::common::{begin, dialog};
use crate::engine::{Client, Engine};
use crate::steps::{count, keep};

/// A turn of this user that leaves so many replies; their places.
async fn leave(client: &Client, user: u32, update: &str, many: u32) -> Vec<ReplyId> {
    let mut grant = begin(&**client, &dialog(user), update).await.grant.unwrap();
    let turn = grant.fence();
    let commit = Commit {
        replies: (0..many).map(|n| format!("\0{update} reply {n}")).collect(),
        ..keep(update, "1")
    };
    client.commit(&mut grant, commit).await.unwrap();
    (0..many).map(|index| ReplyId { turn, index }).collect()
}

async fn unsent(client: &Client, user: u32, update: &str) -> Vec<String> {
    let begun = begin(&**client, &dialog(user), update).await;
    begun.unsent.into_iter().map(|reply| reply.body).collect()
}

async fn a_reply_that_is_given_up_is_out_of_the_way(engine: &dyn Engine) {
    let client = engine.open();
    let ids = leave(&client, 1, "u1", 3).await;
    let storage: &dyn Storage = &*client;
    let of = dialog(1);
    let fresh = replies::waiting(storage, &of, ids[0])
        .await
        .unwrap()
        .unwrap();
    assert_eq!(fresh.attempts, 0);
    let detail = admin::dialog(storage, &of, 0).await.unwrap().unwrap();
    assert_eq!(
        fresh.since, detail.updated_at,
        "its age is that of its turn"
    );
    let failed = Waiting {
        attempts: 7,
        ..fresh.clone()
    };
    // Noted twice, as when its answer was lost.
    for _ in 0..2 {
        let noted = replies::note(storage, &of, ids[0], &failed, "\0 it says no");
        noted.await.unwrap();
    }
    let waits = replies::waiting(&*engine.open(), &of, ids[0])
        .await
        .unwrap();
    assert_eq!(waits, Some(failed.clone()));
    let line = admin::unsent(storage, ids[0]).await.unwrap().unwrap();
    assert_eq!(
        (line.attempts, line.error.as_deref()),
        (7, Some("\0 it says no"))
    );
    for _ in 0..2 {
        replies::bury(storage, &of, ids[0], &failed, "\0 no")
            .await
            .unwrap();
    }
    // Of another dialog, or not there: nothing happens.
    replies::bury(storage, &dialog(2), ids[1], &failed, "no")
        .await
        .unwrap();
    assert_eq!(replies::waiting(storage, &of, ids[0]).await.unwrap(), None);
    let late = replies::note(storage, &of, ids[0], &failed, "late");
    late.await.unwrap();
    let dead = replies::list(storage, None, 9).await.unwrap();
    let died = dead[0].died;
    assert!(died >= fresh.since, "{dead:?}");
    let wanted = DeadReply {
        dialog: of.clone(),
        id: ids[0],
        body: "\0u1 reply 0".to_owned(),
        error: "\0 no".to_owned(),
        attempts: 7,
        since: fresh.since,
        died,
    };
    assert_eq!(dead, std::slice::from_ref(&wanted));
    assert_eq!(replies::get(storage, ids[0]).await.unwrap(), Some(wanted));
    assert_eq!(admin::queues(storage).await.unwrap().dead_replies, 1);
    // The dialog goes on with what is left.
    assert_eq!(
        unsent(&client, 1, "u2").await,
        ["\0u1 reply 1", "\0u1 reply 2"]
    );
}

async fn why_replies_died_is_told_by_channel_and_reason(engine: &dyn Engine) {
    let client = engine.open();
    let storage: &dyn Storage = &*client;
    assert_eq!(reasons::of_replies(storage).await.unwrap(), []);
    let failed = Waiting {
        attempts: 1,
        since: 1,
    };
    for (user, error) in [(1, "blocked"), (2, "too long\n at 1"), (3, "blocked")] {
        let id = leave(&client, user, &format!("u{user}"), 1).await[0];
        let of = dialog(user);
        let buried = replies::bury(storage, &of, id, &failed, error);
        buried.await.unwrap();
    }
    let told = reasons::of_replies(storage).await.unwrap();
    let told: Vec<_> = told.iter().map(|r| (&*r.error, r.count)).collect();
    assert_eq!(told, [("blocked", 2), ("too long", 1)]);
    assert_eq!(reasons::of_letters(storage).await.unwrap(), []);
}

async fn dead_replies_are_listed_tried_again_and_dropped(engine: &dyn Engine) {
    let client = engine.open();
    let storage: &dyn Storage = &*client;
    let ids = [
        leave(&client, 1, "u1", 2).await,
        leave(&client, 2, "u2", 2).await,
    ]
    .concat();
    let failed = Waiting {
        attempts: 3,
        since: 5,
    };
    for (id, user) in ids.iter().zip([1, 1, 2, 2]) {
        replies::bury(storage, &dialog(user), *id, &failed, "no")
            .await
            .unwrap();
    }
    assert_eq!(count(&client, "turnkey_outbox").await, 0);
    assert_eq!(storage.dialogs_with_unsent(9).await.unwrap(), []);
    let listed = async |after, limit| {
        let list = replies::list(storage, after, limit).await.unwrap();
        list.into_iter().map(|dead| dead.id).collect::<Vec<_>>()
    };
    assert_eq!(listed(None, 9).await, ids);
    assert_eq!(listed(Some(ids[0]), 2).await, ids[1..3]);

    assert!(replies::retry(storage, ids[1]).await.unwrap());
    assert_eq!(listed(None, 9).await, [ids[0], ids[2], ids[3]]);
    // Whoever looks for what waits finds it, its failures forgotten.
    assert_eq!(storage.dialogs_with_unsent(9).await.unwrap(), [dialog(1)]);
    let waits = replies::waiting(storage, &dialog(1), ids[1]).await.unwrap();
    let waits = waits.unwrap();
    assert!(waits.attempts == 0 && waits.since > 5, "{waits:?}");
    assert_eq!(unsent(&client, 1, "u3").await, ["\0u1 reply 1"]);
    // One that waits: its attempts begin anew.
    replies::note(storage, &dialog(1), ids[1], &failed, "no")
        .await
        .unwrap();
    assert!(replies::retry(storage, ids[1]).await.unwrap());
    let line = admin::unsent(storage, ids[1]).await.unwrap().unwrap();
    assert_eq!((line.attempts, line.error), (0, None));

    // A waiting one is dropped as a dead one is.
    for id in [ids[1], ids[2]] {
        assert!(replies::drop_reply(storage, id).await.unwrap());
        assert!(!replies::drop_reply(storage, id).await.unwrap());
        assert!(!replies::retry(storage, id).await.unwrap());
    }
    assert_eq!(listed(None, 9).await, [ids[0], ids[3]]);
    assert_eq!(unsent(&client, 1, "u4").await, [""; 0]);
    assert_eq!(storage.dialogs_with_unsent(9).await.unwrap(), []);
    let none = ReplyId {
        turn: Fence(1 << 40),
        index: 0,
    };
    assert!(!replies::retry(storage, none).await.unwrap());
    assert_eq!(admin::unsent(storage, none).await.unwrap(), None);
}

async fn it_is_known_whether_a_turn_was_overtaken(engine: &dyn Engine) {
    let client = engine.open();
    let storage: &dyn Storage = &*client;
    let overtaken = async |user: u32, update: &str| {
        let found = replies::overtaken(storage, &dialog(user), update).await;
        found.unwrap()
    };
    assert_eq!(overtaken(1, "u1").await, None);
    let first = leave(&client, 1, "u1", 0).await;
    assert!(first.is_empty());
    leave(&client, 2, "other", 0).await;
    assert_eq!(overtaken(1, "u1").await, None);
    assert!(admin::reset(storage, &dialog(1)).await.unwrap());
    assert_eq!(overtaken(1, "u1").await, None, "it is still the last");
    let newer = leave(&client, 1, "u2", 1).await;
    let turn = overtaken(1, "u1").await.expect("u2 was newer");
    assert!(turn < newer[0].turn);
    assert_eq!(overtaken(1, "u2").await, None);

    let id = ReplyId { turn, index: 0 };
    for error in ["too late", "and again"] {
        let missed = replies::miss(storage, &dialog(1), id, "\0body", error).await;
        missed.unwrap();
    }
    let dead = replies::list(storage, None, 9).await.unwrap();
    assert_eq!(dead.len(), 1);
    assert_eq!(
        (dead[0].body.as_str(), dead[0].error.as_str(), dead[0].id),
        ("\0body", "too late", id)
    );
    // An operator may have it sent all the same.
    assert!(replies::retry(storage, id).await.unwrap());
    assert_eq!(unsent(&client, 1, "u3").await, ["\0body", "\0u2 reply 0"]);
}

on_every_engine! {
    a_reply_that_is_given_up_is_out_of_the_way
    why_replies_died_is_told_by_channel_and_reason
    dead_replies_are_listed_tried_again_and_dropped
    it_is_known_whether_a_turn_was_overtaken
}
