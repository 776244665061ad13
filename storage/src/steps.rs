//! Steps: results that a turn has kept before its commit, so that a later attempt need not work
//! for them again.
//!
//! [`keep`] is one transaction: the result is written if the turn's update is in the inbox, into
//! which it is taken first if it is not there yet. So a step never outlives the turn that it
//! belongs to: the commit takes the update out of the inbox and its steps away
//! ([`forget`]), and whoever comes later finds no row. Of two results under one name the first
//! stands. An update that is given up keeps its steps, for whoever tries it again
//! ([`dead::retry`](crate::dead::retry)). The caller limits how many there are, and how long;
//! the bound here is [`MAX_NAME`], which the key has room for.

use crate::inbox::{self, Bounds, Pending, UpdateState};
use crate::{Change, DialogKey, Error, Result, Statement, Storage, Value, clock, done};

/// Bytes of a step's name.
pub const MAX_NAME: usize = 64;

/// The name of what is kept beside the steps: no step has it.
pub const NOTE: &str = "";

/// A step of the turn of an update.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Its name within the turn.
    pub name: String,
    /// Its result, as JSON text.
    pub value: String,
}

/// Where the update of a turn is when it keeps a step.
#[derive(Clone, Copy, Debug)]
pub enum Place<'a> {
    /// It is in the inbox, and this attempt at it is under way.
    Inbox {
        /// From 1.
        attempt: u32,
        /// A note that is kept with the first step, under the name [`NOTE`].
        note: Option<&'a str>,
    },
    /// Nowhere yet: it is taken into the inbox in the same transaction.
    Arrival(&'a Pending, Bounds),
}

/// What became of a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kept {
    /// It is kept, and its update is in the inbox with it.
    New,
    /// Another result was kept under this name before, and stands.
    Before(String),
}

/// Keeps a step of a turn. It is durable when this returns.
///
/// # Errors
/// [`Error::Stale`]: the update is done, by another turn; nothing is kept.
/// [`Error::Seen`]: another dialog has an update of this id in the inbox; likewise.
/// [`Error::Busy`] when the inbox is at one of its bounds; else as [`Storage::commit`].
pub async fn keep(
    storage: &dyn Storage,
    dialog: &DialogKey,
    update: &str,
    step: &Step,
    place: Place<'_>,
) -> Result<Kept> {
    let (attempt, note) = match place {
        Place::Inbox { attempt, note } => (attempt, note),
        Place::Arrival(row, bounds) => {
            let statements = vec![
                inbox::acceptance(row, bounds),
                insert(dialog, update, step, Some(row.arrived)),
            ];
            if storage.own(statements).await?.ends_with(&[1]) {
                return Ok(Kept::New);
            }
            // The answer of the first time was lost, or somebody else was sooner.
            match inbox::state_of(storage, &dialog.channel, update).await? {
                UpdateState::Pending => (row.attempts, None),
                UpdateState::Unknown => return Err(inbox::too_many()),
                UpdateState::Done(_) | UpdateState::Dead(_) => return Err(Error::Stale),
            }
        }
    };
    // Its row first: a commit that takes it out is waited for, or waits. The attempt says that
    // there may be steps to whoever finds the row.
    let hold = Statement::new(
        "UPDATE turnkey_inbox SET attempts = ?1 WHERE id = ?2 AND channel = ?3 AND user_id = ?4",
        (attempt, update, &dialog.channel, &dialog.user_id),
    );
    let mut statements = vec![hold, insert(dialog, update, step, None)];
    statements.extend(note.map(|note| {
        let note = Step {
            name: NOTE.to_owned(),
            value: note.to_owned(),
        };
        insert(dialog, update, &note, None)
    }));
    if storage.own(statements).await?.get(1) == Some(&1) {
        return Ok(Kept::New);
    }
    let before = of(storage, dialog, update).await?;
    match before.into_iter().find(|before| before.name == step.name) {
        Some(before) if before.value == step.value => Ok(Kept::New),
        Some(before) => Ok(Kept::Before(before.value)),
        None => match inbox::state_of(storage, &dialog.channel, update).await? {
            UpdateState::Pending => Err(Error::Seen),
            _ => Err(Error::Stale),
        },
    }
}

/// Writes a step of an update that is in the inbox; of one that arrived at this moment, if that
/// matters.
fn insert(dialog: &DialogKey, update: &str, step: &Step, arrived: Option<i64>) -> Statement {
    let mut params = vec![
        Value::from(update),
        Value::from(&dialog.channel),
        Value::from(&step.name),
        Value::from(&dialog.user_id),
        Value::from(&step.value),
        Value::from(clock::now_ms()),
    ];
    let of_that_moment = match arrived {
        Some(arrived) => {
            params.push(Value::from(arrived));
            "AND i.arrived = ?7"
        }
        None => "",
    };
    Statement::new(
        format!(
            "INSERT INTO turnkey_step (id, channel, name, user_id, value, at)
             SELECT ?1, ?2, ?3, ?4, ?5, ?6 FROM (SELECT 1 AS one) t
             WHERE EXISTS (SELECT 1 FROM turnkey_inbox i
                     WHERE i.id = ?1 AND i.channel = ?2 AND i.user_id = ?4 {of_that_moment})
                 AND NOT EXISTS (SELECT 1 FROM turnkey_step s
                     WHERE s.id = ?1 AND s.channel = ?2 AND s.name = ?3)"
        ),
        params,
    )
}

/// The steps of an update, in the order of their names; and the note, if there is one.
///
/// # Errors
/// [`Error::Unavailable`].
pub async fn of(storage: &dyn Storage, dialog: &DialogKey, update: &str) -> Result<Vec<Step>> {
    let ask = Statement::new(
        "SELECT name, value FROM turnkey_step
         WHERE id = ?1 AND channel = ?2 AND user_id = ?3 ORDER BY name",
        (update, &dialog.channel, &dialog.user_id),
    );
    let rows = storage.own_query(ask).await?;
    let step = |row: &crate::Row| {
        Ok(Step {
            name: row.key("name")?,
            value: row.get("value")?,
        })
    };
    rows.iter().map(step).collect()
}

/// Takes the steps of an update away, with the commit of its turn.
pub fn forget(dialog: &DialogKey, update: &str) -> [Change; 2] {
    // Its row first: whoever keeps a step at this moment has it.
    let hold = Statement::new(
        "UPDATE turnkey_inbox SET attempts = attempts WHERE id = ?1 AND channel = ?2",
        (update, &dialog.channel),
    );
    [
        Change(hold),
        Change(done::take_steps(&dialog.channel, update)),
    ]
}
