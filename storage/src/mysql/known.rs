//! Reads what turns need to know, for many turns at once.
//!
//! Called by `wire.rs` under the locks of these dialogs.

use std::collections::HashMap;

use super::conn::{Columns, StatementResult, Tried};
use super::literal::Sql;
use crate::lanes::wire::Found;
use crate::{DialogKey, Fence, Pending, ReplyId, Seen, Unsent};

/// Asks what turns need to know; [`Known::collect`] takes the answers.
pub(super) fn look_up<'a>(
    sql: &mut Sql,
    dialogs: &[&DialogKey],
    updates: impl Iterator<Item = (&'a DialogKey, Option<&'a str>)>,
) {
    sql.push(
        "SELECT user_id,channel,version,state FROM turnkey_dialog FORCE INDEX (PRIMARY) WHERE ",
    )
    .among(dialogs.iter().copied())
    .push("; SELECT user_id,channel,turn,n,body FROM turnkey_outbox FORCE INDEX (PRIMARY) WHERE ")
    .among(dialogs.iter().copied())
    .push(" ORDER BY user_id,channel,turn,n;");
    // The oldest of each dialog in the inbox, but for those that were committed while they
    // came in.
    let open = |row: &str| {
        format!(
            "NOT EXISTS (SELECT 1 FROM turnkey_seen s WHERE s.id={row}.id AND s.channel={row}.channel)"
        )
    };
    sql.push(
        "SELECT user_id,channel,id,arrived,body,attempts,due,error FROM turnkey_inbox i \
         FORCE INDEX (turnkey_inbox_order) WHERE ",
    )
    .among(dialogs.iter().copied())
    .push(&format!(
        " AND {} AND NOT EXISTS (SELECT 1 FROM turnkey_inbox b WHERE b.user_id=i.user_id \
         AND b.channel=i.channel AND (b.arrived<i.arrived OR (b.arrived=i.arrived AND b.id<i.id)) \
         AND {});",
        open("i"),
        open("b")
    ));
    let updates: Vec<_> = updates
        .filter_map(|(dialog, id)| Some((dialog, id?)))
        .collect();
    if !updates.is_empty() {
        sql.push(
            "SELECT id,channel,digest,answer FROM turnkey_seen FORCE INDEX (PRIMARY) \
             WHERE (id,channel) IN (",
        )
        .list(updates, |sql, (dialog, id)| {
            sql.push("(")
                .bytes(id.as_bytes())
                .push(",")
                .bytes(dialog.channel.as_bytes())
                .push(")");
        })
        .push(");");
    }
}

/// What was found for the dialogs of a batch.
#[derive(Default)]
pub(super) struct Known {
    states: HashMap<DialogKey, (u64, String)>,
    unsent: HashMap<DialogKey, Vec<Unsent>>,
    pending: HashMap<DialogKey, Pending>,
    /// By channel and update.
    seen: HashMap<(String, String), Seen>,
}

impl Known {
    pub(super) fn collect(mut answers: impl Iterator<Item = StatementResult>) -> Tried<Self> {
        let mut known = Known::default();
        let mut rows = || answers.next().map(|a| a.rows).unwrap_or_default();
        for mut row in rows() {
            let state = (row.number(2)?, row.text(3)?);
            known.states.insert(row.dialog(0)?, state);
        }
        for mut row in rows() {
            let unsent = Unsent {
                id: ReplyId {
                    turn: Fence(row.number(2)?),
                    index: row.number(3)?,
                },
                body: row.text(4)?,
            };
            known.unsent.entry(row.dialog(0)?).or_default().push(unsent);
        }
        for mut row in rows() {
            let dialog = row.dialog(0)?;
            let pending = Pending {
                dialog: dialog.clone(),
                update: row.text(2)?,
                arrived: row.number(3)?,
                body: row.bytes(4)?,
                attempts: row.number(5)?,
                due: row.number(6)?,
                error: match row.is_null(7) {
                    true => None,
                    false => Some(row.text(7)?),
                },
            };
            known.pending.insert(dialog, pending);
        }
        for mut row in rows() {
            let seen = Seen {
                digest: row.bytes(2)?,
                answer: row.bytes(3)?,
            };
            known.seen.insert((row.text(1)?, row.text(0)?), seen);
        }
        Ok(known)
    }

    pub(super) fn take(&mut self, dialog: &DialogKey, update: Option<&str>, fence: Fence) -> Found {
        let state = self.states.remove(dialog);
        let seen = update.and_then(|id| {
            let key = (dialog.channel.clone(), id.to_owned());
            // Two dialogs of a batch may have the same update.
            self.seen.get(&key).cloned()
        });
        Found {
            fence,
            version: state.as_ref().map_or(0, |(version, _)| *version),
            state: state.map(|(_, state)| state),
            seen,
            unsent: self.unsent.remove(dialog).unwrap_or_default(),
            oldest: self.pending.remove(dialog),
        }
    }
}
