//! Replies that a platform took and may still refuse.

use turnkey_storage::replies::{self, DeadReply};
use turnkey_storage::taken::{self, Taken};
use turnkey_storage::{Commit, Fence, ReplyId, Storage};

use crate::common::{begin, dialog};
use crate::engine::{Client, Engine};
use crate::keeping::now_ms;
use crate::steps::{count, keep};

/// A turn of this user with so many replies, each of which was taken as `message N` and marked
/// as sent.
async fn taken_replies(client: &Client, user: &str, many: u32) -> Vec<ReplyId> {
    let update = format!("of {user}");
    let mut grant = begin(&**client, &dialog(user), &update)
        .await
        .grant
        .unwrap();
    let turn = grant.fence();
    let commit = Commit {
        replies: (0..many).map(|n| format!("\0{user} says {n}")).collect(),
        ..keep(&update, "1")
    };
    client.commit(&mut grant, commit).await.unwrap();
    let ids: Vec<_> = (0..many).map(|index| ReplyId { turn, index }).collect();
    for id in &ids {
        let message = format!("message {}", id.index);
        taken::keep(&**client, &dialog(user), *id, &message, None)
            .await
            .unwrap();
        client.sent(&grant, vec![*id]).await.unwrap();
    }
    client.end(grant, Vec::new()).await.unwrap();
    assert_eq!(count(client, "turnkey_outbox").await, 0);
    ids
}

async fn a_reply_that_is_refused_later_becomes_a_dead_one(engine: &dyn Engine) {
    let client = engine.open();
    let before = now_ms();
    let ids = taken_replies(&client, "ann", 3).await;
    let storage: &dyn Storage = &*client;
    let found = taken::find(&*engine.open(), ids[0]).await.unwrap().unwrap();
    assert!((before..=now_ms()).contains(&found.at), "{found:?}");
    let wanted = Taken {
        dialog: dialog("ann"),
        id: ids[0],
        body: "\0ann says 0".to_owned(),
        message: "message 0".to_owned(),
        at: found.at,
    };
    assert_eq!(found, wanted);
    // Another message than the latest: nothing happens.
    let refused = async |id, message: &str, why: &str| {
        let refused = taken::refused(storage, id, message, why).await;
        refused.unwrap()
    };
    assert!(!refused(ids[0], "message 1", "no").await);
    assert!(!refused(ids[0], "", "no").await);
    assert_eq!(count(&client, "turnkey_dead_reply").await, 0);
    // Said twice, it counts once.
    assert!(refused(ids[0], "message 0", "\0 131047").await);
    assert!(!refused(ids[0], "message 0", "again").await);
    let dead = replies::dead_of(storage, &dialog("ann"), 9).await.unwrap();
    let wanted = DeadReply {
        dialog: dialog("ann"),
        id: ids[0],
        body: "\0ann says 0".to_owned(),
        error: "\0 131047".to_owned(),
        attempts: 1,
        since: found.at,
        died: dead[0].died,
    };
    assert_eq!(dead, [wanted]);
    assert_eq!(taken::find(storage, ids[0]).await.unwrap(), None);
    assert_eq!(count(&client, "turnkey_taken").await, 2);
    // It can be sent again, and refused again, as another message.
    assert!(replies::retry(storage, ids[0]).await.unwrap());
    assert_eq!(count(&client, "turnkey_dead_reply").await, 0);
    let grant = begin(storage, &dialog("ann"), "next").await.grant.unwrap();
    let ann = dialog("ann");
    for message in ["message 7", "message 8"] {
        let kept = taken::keep(storage, &ann, ids[0], message, None).await;
        kept.unwrap();
    }
    client.sent(&grant, vec![ids[0]]).await.unwrap();
    assert!(!refused(ids[0], "message 7", "no").await);
    assert!(refused(ids[0], "message 8", "no").await);
    assert_eq!(count(&client, "turnkey_dead_reply").await, 1);
}

async fn what_arrived_is_not_kept(engine: &dyn Engine) {
    let client = engine.open();
    let ids = taken_replies(&client, "ann", 3).await;
    let storage: &dyn Storage = &*client;
    let elsewhere = ReplyId {
        turn: Fence(1 << 40),
        index: 0,
    };
    let arrived = [
        (ids[0], "message 0"),
        (ids[1], "another"),
        (ids[2], "message 2"),
        (elsewhere, "message 0"),
    ];
    // Of one body there may be hundreds.
    let many: Vec<_> = arrived.iter().cycle().take(450).copied().collect();
    taken::forget(storage, &many).await.unwrap();
    taken::forget(storage, &[]).await.unwrap();
    assert_eq!(count(&client, "turnkey_taken").await, 1);
    assert!(taken::find(storage, ids[1]).await.unwrap().is_some());
    let late = taken::refused(storage, ids[0], "message 0", "no").await;
    assert!(!late.unwrap());
    // What is not in the outbox is not kept, nor what was kept of it before.
    for (user, id) in [("ann", ids[0]), ("bob", ids[1]), ("bob", elsewhere)] {
        taken::keep(storage, &dialog(user), id, "message 0", None)
            .await
            .unwrap();
    }
    assert_eq!(count(&client, "turnkey_taken").await, 0);
}

on_every_engine! {
    a_reply_that_is_refused_later_becomes_a_dead_one
    what_arrived_is_not_kept
}
