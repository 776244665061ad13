//! A turn that travels alone: its lock and what it needs to know in one short text, its commit
//! in another.
//!
//! Called by `wire.rs` when a lane has one order of a kind. These texts do what those for many
//! turns do, in half the statements: one join reads all that a plain turn needs, and each write
//! asks with `ROW_COUNT()` whether the one before it hit, so that no statement only checks. A
//! commit frees its lock first. What cannot be done so (somebody waits for the lock, or
//! anything is not as it should be) changes nothing, and is done in the general way: two round
//! trips more for whoever has a successor in the queue.

use super::calls::Calls;
use super::conn::{Columns, Tried};
use super::errors::Failed;
use super::literal::Sql;
use super::writing::{FENCES, kept_beside};
use crate::lanes::wire::{Ask, Asked, Found, MAX_WAITERS, Reading, Turn, Wire};
use crate::{Fence, LockAfter, Seen, unix_ms};

/// "Column cannot be null": the write before this one did not hit.
const MISSED: u16 = 1048;

impl Calls {
    /// Takes one lock, or a place in its queue.
    pub(super) async fn begin_alone(&mut self, owner: i64, ask: &Ask) -> Tried<Asked> {
        let answer = self.conn.run(&begin(owner, ask)).await?.into_iter().nth(5);
        let row = answer.and_then(|answer| answer.rows.into_iter().next());
        let mut row = row.ok_or(Failed::Odd("a lock row is not there"))?;
        if (row.number(0)?, row.number(1)?) != (owner, ask.ticket) {
            if row.number::<i32>(3)? <= MAX_WAITERS {
                return Ok(Asked::Queued);
            }
            let place = (ask.ticket, ask.dialog.clone());
            self.cancel(owner, &[place]).await?;
            return Ok(Asked::Refused);
        }
        let fence = Fence(row.number(2)?);
        if row.number::<u8>(8)? != 0 {
            return self.granted_with_more(ask, fence).await;
        }
        let (version, state) = match row.is_null(4) {
            true => (0, None),
            false => (row.number(4)?, Some(row.text(5)?)),
        };
        let seen = match row.is_null(6) {
            true => None,
            false => Some(Seen {
                digest: row.bytes(6)?,
                answer: row.bytes(7)?,
            }),
        };
        Ok(Asked::Granted(Found {
            fence,
            version,
            state,
            seen,
            unsent: Vec::new(),
            oldest: None,
        }))
    }

    /// Something is in the dialog's outbox or inbox. It is read under the lock, so it is no
    /// older than what was read before.
    async fn granted_with_more(&mut self, ask: &Ask, fence: Fence) -> Tried<Asked> {
        let reading = Reading {
            ticket: ask.ticket,
            dialog: ask.dialog.clone(),
            update: ask.update.clone(),
            fence,
        };
        let read = self.read(&[reading]).await?.pop();
        let (_, found) = read.ok_or(Failed::Odd("what was asked for was not read"))?;
        Ok(Asked::Granted(found))
    }

    /// Writes one turn, if all is as it nearly always is; if not, it changes nothing.
    pub(super) async fn commit_alone(&mut self, turn: &Turn) -> Tried<bool> {
        debug_assert!(turn.commit.relays.is_empty(), "lanes carry none");
        match self.conn.run(&commit(turn)).await {
            Ok(_) => Ok(true),
            Err(error) if error.is_duplicate() || error.code() == Some(MISSED) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// The sixth of its statements answers with the lock's row and what the turn needs to know.
fn begin(owner: i64, ask: &Ask) -> Sql {
    let dialog = &ask.dialog;
    let mut sql = Sql::new(
        "START TRANSACTION; INSERT INTO turnkey_lock \
         (user_id,channel,owner,ticket,fence,since,waiters) VALUES (",
    );
    sql.key(dialog)
        .push(&format!(",{owner},{},0,{},0)", ask.ticket, unix_ms()))
        // The row is locked either way, and the fence is drawn after that.
        .push(" ON DUPLICATE KEY UPDATE waiters=waiters+1;")
        .push("INSERT INTO turnkey_fence VALUES (NULL);")
        .push(&format!(
            "UPDATE turnkey_lock FORCE INDEX (PRIMARY) SET fence=LAST_INSERT_ID()*{FENCES} WHERE "
        ))
        .of("", dialog)
        .push(&format!(" AND owner={owner} AND ticket={};", ask.ticket))
        .push(
            "INSERT INTO turnkey_waiter (user_id,channel,arrived,owner,ticket) \
             SELECT user_id,channel,",
        )
        .arrival(ask.arrived)
        .push(&format!(
            ",{owner},{} FROM turnkey_lock FORCE INDEX (PRIMARY) WHERE ",
            ask.ticket
        ))
        .of("", dialog)
        .push(&format!(" AND (owner<>{owner} OR ticket<>{});", ask.ticket));
    sql.push("SELECT l.owner,l.ticket,l.fence,l.waiters,d.version,d.state,")
        .push(match ask.update {
            Some(_) => "s.digest,s.answer,",
            None => "NULL,NULL,",
        })
        // Joins cost half of what EXISTS does.
        .push(
            "o.n IS NOT NULL OR i.arrived IS NOT NULL FROM turnkey_lock l FORCE INDEX (PRIMARY) \
             LEFT JOIN turnkey_dialog d FORCE INDEX (PRIMARY) ON ",
        )
        .of("d.", dialog);
    if let Some(update) = &ask.update {
        sql.push(" LEFT JOIN turnkey_seen s FORCE INDEX (PRIMARY) ON s.id=")
            .bytes(update.as_bytes())
            .push(" AND s.channel=")
            .bytes(dialog.channel.as_bytes());
    }
    sql.push(" LEFT JOIN turnkey_outbox o FORCE INDEX (PRIMARY) ON ")
        .of("o.", dialog)
        .push(" LEFT JOIN turnkey_inbox i FORCE INDEX (turnkey_inbox_order) ON ")
        .of("i.", dialog)
        .push(" WHERE ")
        .of("l.", dialog)
        .push(" LIMIT 1; COMMIT");
    sql
}

fn commit(turn: &Turn) -> Sql {
    let (dialog, fence, now) = (&turn.dialog, turn.fence.0, unix_ms());
    let mut sql = Sql::new("START TRANSACTION;");
    // First, as everybody does: until the end nobody else gets at the dialog.
    let held = match turn.commit.lock {
        LockAfter::GivenBack => {
            sql.push("DELETE l FROM turnkey_lock l FORCE INDEX (PRIMARY) WHERE ")
                .of("l.", dialog)
                .push(&format!(" AND fence={fence} AND waiters=0;"));
            "ROW_COUNT()=1"
        }
        LockAfter::Kept => {
            sql.push("SELECT COUNT(*) INTO @n FROM turnkey_lock FORCE INDEX (PRIMARY) WHERE ")
                .of("", dialog)
                .push(&format!(" AND fence={fence} FOR UPDATE;"));
            "@n=1"
        }
    };
    if turn.version == 0 {
        sql.push("INSERT INTO turnkey_dialog (user_id,channel,version,state,updated_at) VALUES (")
            .key(dialog)
            .push(&format!(",IF({held},{fence},NULL),"))
            .text(&turn.commit.state)
            .push(&format!(",{now});"));
    } else {
        sql.push(&format!(
            "UPDATE turnkey_dialog FORCE INDEX (PRIMARY) SET version={fence},state="
        ))
        .text(&turn.commit.state)
        .push(&format!(",updated_at={now} WHERE "))
        .of("", dialog)
        .push(&format!(" AND version={} AND {held};", turn.version));
    }
    sql.push("INSERT INTO turnkey_seen (id,channel,fence,at,digest,answer) VALUES (")
        .bytes(turn.commit.update.as_bytes())
        .push(",")
        .bytes(dialog.channel.as_bytes())
        .push(&format!(",IF(ROW_COUNT()=1,{fence},NULL),{now},"))
        .bytes(&turn.commit.digest)
        .push(",")
        .bytes(&turn.commit.answer)
        .push(");");
    kept_beside(&mut sql, &[turn], now);
    sql.push("COMMIT");
    sql
}
