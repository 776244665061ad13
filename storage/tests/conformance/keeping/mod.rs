//! What a database keeps beside turns: the inbox, dead letters, replies that were given up
//! or may be refused later, pauses, marks, names, broadcasts, timers and schedules; what an operator asks of it; and how old rows go.

mod broadcasts;
mod dead_letters;
mod gathered;
mod inbox_rows;
mod kept_steps;
mod messages;
mod old_rows;
mod operators;
mod overlaps;
mod pauses;
mod relays;
mod replies;
mod schedules;
mod taken;
mod timers;

use std::time::{SystemTime, UNIX_EPOCH};

use turnkey_storage::dead::DeadLetter;
use turnkey_storage::inbox::{Bounds, Pending, UpdateState};
use turnkey_storage::{Arrival, Begin, DialogKey, inbox};

use crate::common::{asks, dialog};
use crate::engine::Client;

const ROOMY: Bounds = Bounds {
    per_dialog: 100,
    all: 1000,
};

pub(crate) fn now_ms() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_millis() as i64
}

/// Due now, arrived at this moment.
pub(crate) fn pending(user: u32, update: &str, arrived: i64) -> Pending {
    Pending {
        dialog: dialog(user),
        update: update.to_owned(),
        arrived,
        body: format!("\0body of {update}").into_bytes(),
        attempts: 0,
        due: 0,
        error: None,
    }
}

pub(crate) fn letter(pending: &Pending) -> DeadLetter {
    DeadLetter {
        dialog: pending.dialog.clone(),
        update: pending.update.clone(),
        arrived: pending.arrived,
        digest: b"digest".to_vec(),
        answer: b"an\0swer".to_vec(),
        body: pending.body.clone(),
        error: "it \0 failed; 'so'".to_owned(),
        attempts: 5,
        died: now_ms(),
    }
}

pub(crate) async fn accept(client: &Client, update: &Pending) {
    inbox::accept(&**client, update, ROOMY).await.unwrap();
}

pub(crate) async fn begin_at(
    client: &Client,
    user: u32,
    update: Option<&str>,
    unix_us: i64,
) -> crate::common::Flat {
    let begin = Begin {
        update: update.map(str::to_owned),
        arrived: Arrival::at(unix_us),
        ..asks(&dialog(user), "")
    };
    client.begin(begin).await.map(crate::common::flat).unwrap()
}

/// What goes before this update; the lock is given back.
pub(crate) async fn earlier(
    client: &Client,
    user: u32,
    update: Option<&str>,
    unix_us: i64,
) -> Option<Pending> {
    let begun = begin_at(client, user, update, unix_us).await;
    client.end(begun.grant.unwrap(), Vec::new()).await.unwrap();
    begun.earlier
}

pub(crate) async fn state(client: &Client, update: &str) -> UpdateState {
    inbox::state_of(&**client, "http", update).await.unwrap()
}

pub(crate) async fn due(client: &Client) -> Vec<DialogKey> {
    inbox::due_dialogs(&**client, 100).await.unwrap()
}
