//! Steps: results that a handler has kept while it runs.
//!
//! `turn.rs` runs the handler with [`during`], which writes what the handler asks for; the task
//! that owns the receipt does it, so that it never races with the acceptance of the update or
//! with the commit. The first step of a turn takes the update into the inbox, if it is not there:
//! from then on no crash loses it, and whoever waits only for that is answered. A later attempt
//! is given what is kept: by this worker from memory, by another from the database, which is
//! asked only where the row in the inbox says that there may be some. A turn of several messages
//! stays as it is from its first step on (`gathering.rs`). Invariants: nothing of
//! this costs a turn without steps a read or a write; the commit takes the steps away. Bounds:
//! those of `author/steps.rs`, and the inbox's, which steps may fill twice over: an update whose
//! payment was made is refused last.

use std::future::Future;
use std::pin::pin;

use turnkey_storage::inbox::Bounds;
use turnkey_storage::steps::{self, Kept, NOTE, Place};
use turnkey_storage::{Change, Error as StorageError, Result};

use crate::author::steps::Wish;
use crate::turn::context::Bot;
use crate::turn::receipt::Receipt;
use crate::turn::told;

/// So many times the bounds of the inbox.
const ROOM: u32 = 2;

/// Reads what earlier attempts of other workers kept, if they may have kept something. Called
/// before each attempt.
///
/// # Errors
/// The storage is away.
pub(super) async fn read(bot: &Bot, receipt: &mut Receipt<'_>) -> Result<()> {
    if !receipt.may_have_steps {
        return Ok(());
    }
    let update = receipt.update.clone();
    let mut found = steps::of(&*bot.storage, &update.dialog, &update.id.0).await?;
    receipt.may_have_steps = false;
    if let Some(at) = found.iter().position(|step| step.name == NOTE) {
        let note = found.swap_remove(at);
        receipt.together = serde_json::from_str(&note.value).ok();
    }
    receipt.steps.found(found);
    Ok(())
}

/// What a commit changes: it takes the steps away.
pub(super) fn forgotten(receipt: &Receipt<'_>) -> Vec<Change> {
    match receipt.steps.is_empty() {
        true => Vec::new(),
        false => steps::forget(&receipt.update.dialog, &receipt.update.id.0).into(),
    }
}

/// What is to be written while a handler runs.
enum Due {
    Step(Wish),
    /// `--ack-after` is over.
    Accept,
    /// The worker leaves.
    Uncharge,
}

/// Runs a handler, and keeps what it asks for. Should `--ack-after` end meanwhile, the update is
/// accepted. The work goes on while something is written, but what comes after waits.
pub(super) async fn during<T>(receipt: &mut Receipt<'_>, work: impl Future<Output = T>) -> T {
    let steps = receipt.steps.clone();
    let mut work = pin!(work);
    let done = loop {
        let due = tokio::select! {
            biased;
            done = &mut work => break done,
            wish = steps.asked() => Due::Step(wish),
            () = receipt.accept_is_due() => Due::Accept,
            () = receipt.is_left_behind() => Due::Uncharge,
        };
        let mut written = Box::pin(async {
            match due {
                Due::Step(wish) => keep(receipt, wish).await,
                Due::Accept => receipt.accept().await,
                Due::Uncharge => receipt.uncharge().await,
            }
        });
        tokio::select! {
            biased;
            done = &mut work => {
                written.await;
                break done;
            }
            () = &mut written => {}
        }
    };
    // A handler that was cut off asks for nothing twice: it has happened.
    while let Some(wish) = steps.take() {
        keep(receipt, wish).await;
    }
    done
}

/// Keeps a step, and says what stands.
async fn keep(receipt: &mut Receipt<'_>, wish: Wish) {
    let Wish { step, answer } = wish;
    let name = &step.name;
    let stands = match write(receipt, &step).await {
        Ok(Kept::New) => Ok(receipt.steps.stands(step.name, step.value)),
        Ok(Kept::Before(value)) => Ok(receipt.steps.stands(step.name, value)),
        Err(StorageError::Stale) => {
            receipt.is_overtaken = true;
            Err(format!(
                "step {name:?} is not kept: this update was done by another turn"
            ))
        }
        Err(error) => Err(format!(
            "step {name:?} is not kept: {}",
            told::of_storage(&error)
        )),
    };
    // Whoever asked may be gone.
    drop(answer.send(stands));
}

async fn write(receipt: &mut Receipt<'_>, step: &steps::Step) -> Result<Kept> {
    let update = receipt.update.clone();
    let (dialog, id) = (&update.dialog, &update.id.0);
    let storage = receipt.storage();
    if receipt.is_accepted() {
        let together = receipt.together.as_ref();
        let together = together.filter(|_| receipt.steps.is_empty());
        let note = together.and_then(|ids| serde_json::to_string(ids).ok());
        let place = Place::Inbox {
            attempt: receipt.noted_attempts(),
            note: note.as_deref(),
        };
        return steps::keep(&*storage, dialog, id, step, place).await;
    }
    let row = match receipt.row() {
        Ok(row) => row,
        Err(error) => return Err(StorageError::Unavailable(error.to_string())),
    };
    let Bounds { per_dialog, all } = receipt.bounds();
    let bounds = Bounds {
        per_dialog: per_dialog.saturating_mul(ROOM),
        all: all.saturating_mul(ROOM),
    };
    let place = Place::Arrival(&row, bounds);
    let kept = steps::keep(&*storage, dialog, id, step, place).await?;
    receipt.is_in_the_inbox();
    Ok(kept)
}
