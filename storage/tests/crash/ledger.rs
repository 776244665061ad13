//! Turns of many kinds, and what the tasks that run them know of each dialog.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use turnkey_storage::sqlite::SqliteStorage;
use turnkey_storage::{Commit, LockAfter, ReplyId, Statement, Storage};

use crate::common::{begin, dialog, last};

/// What the tasks of a test know of one dialog.
#[derive(Default)]
pub(crate) struct Ledger {
    pub(crate) acknowledged: u64,
    /// Replies in the order in which they were "sent".
    pub(crate) sent: Vec<u64>,
}

pub(crate) type Ledgers = Arc<Mutex<HashMap<String, Ledger>>>;

/// One turn out of many kinds. The state is `[turns, replies]`.
pub(crate) async fn mixed_turn(
    client: &SqliteStorage,
    ledgers: &Ledgers,
    user: &str,
    update: &str,
    kind: u64,
) {
    let begun = begin(client, &dialog(user), update).await;
    assert!(
        begun.seen.is_none(),
        "an update was counted before its turn: {update}"
    );
    let mut grant = begun.grant.unwrap();
    let send = |replies: &[(ReplyId, String)]| -> Vec<ReplyId> {
        let mut ledgers = ledgers.lock().unwrap();
        let ledger = ledgers.entry(user.to_owned()).or_default();
        ledger
            .sent
            .extend(replies.iter().map(|(_, body)| body.parse::<u64>().unwrap()));
        replies.iter().map(|(id, _)| *id).collect()
    };
    if !begun.unsent.is_empty() {
        let unsent: Vec<_> = begun.unsent.into_iter().map(|r| (r.id, r.body)).collect();
        let ids = send(&unsent);
        client.sent(&grant, ids).await.unwrap();
    }
    let text = begun.state.unwrap_or_else(|| "[0,0]".to_owned());
    let (turns, replied) = text[1..text.len() - 1].split_once(',').unwrap();
    let (turns, mut replied): (u64, u64) = (turns.parse().unwrap(), replied.parse().unwrap());
    if kind % 10 == 9 {
        return; // The handler fails.
    }
    let mut replies = Vec::new();
    if kind.is_multiple_of(3) {
        for _ in 0..=kind % 2 {
            replied += 1;
            replies.push(replied.to_string());
        }
    }
    let ids: Vec<_> = (0..)
        .map(|index| ReplyId {
            turn: grant.fence(),
            index,
        })
        .zip(replies.clone())
        .collect();
    let commit = Commit {
        lock: match replies.is_empty() && kind % 4 != 3 {
            true => LockAfter::GivenBack,
            false => LockAfter::Kept,
        },
        replies,
        statements: match kind % 2 {
            0 => vec![],
            // Fails when it is run twice.
            _ => vec![Statement::new(
                "INSERT INTO ledger VALUES (?1, ?2)",
                (update, user),
            )],
        },
        ..last(update, &format!("[{},{replied}]", turns + 1))
    };
    client.commit(&mut grant, commit).await.unwrap();
    ledgers
        .lock()
        .unwrap()
        .entry(user.to_owned())
        .or_default()
        .acknowledged += 1;
    if !ids.is_empty() && !kind.is_multiple_of(5) {
        let ids = send(&ids);
        client.end(grant, ids).await.unwrap();
    }
    // Else the grant is dropped: the replies wait for the next turn.
}
