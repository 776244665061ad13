//! Looking into a database from outside: for `dump` and `check`.
//!
//! Has its own connection and only reads, so it works whether bots run or not.

use serde_json::value::RawValue;

use super::conn::{Columns, Conn, Tried};
use super::errors::{self, Failed};
use super::literal::Sql;
use super::schema;
use super::server::Server;
use crate::inspect::HANDLED;
use crate::lanes::findings;
use crate::{DialogLine, Error, Finding, Result};

/// Dialogs read at a time.
const PORTION: u64 = 1000;

async fn open(server: &Server) -> Result<Conn> {
    let mut conn = schema::connect(server).await?;
    match schema::problem(&mut conn).await {
        Ok(None) => Ok(conn),
        Ok(Some(problem)) => Err(Error::open(format!("cannot read {server}: {problem}"))),
        Err(e) => Err(errors::open(server, &e)),
    }
}

/// Hands every dialog to `each`, in the order of their first messages, as of one
/// moment. Stops at `each`'s first error.
///
/// # Errors
/// [`Error::Open`] when the database is not ours; else what `each` returned.
pub async fn dump<E: From<Error>>(
    server: &Server,
    with_history: bool,
    mut each: impl FnMut(DialogLine) -> std::result::Result<(), E>,
) -> std::result::Result<(), E> {
    let mut conn = open(server).await?;
    let failed = |e: Failed| errors::open(server, &e);
    conn.run(&Sql::new(
        "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ;
         START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY",
    ))
    .await
    .map_err(failed)?;
    let mut from = 0;
    loop {
        let portion = portion(&mut conn, from, with_history).await;
        let Some((last, lines)) = portion.map_err(failed)? else {
            return Ok(());
        };
        from = last + 1;
        for line in lines {
            each(line)?;
        }
    }
}

/// Some dialogs from this id on, and the last one's id.
async fn portion(
    conn: &mut Conn,
    from: u64,
    with_history: bool,
) -> Tried<Option<(u64, Vec<DialogLine>)>> {
    let ask = format!(
        "SELECT id,user_id,channel,state,updated_at FROM turnkey_dialog FORCE INDEX (id) \
         WHERE id>={from} ORDER BY id LIMIT {PORTION}"
    );
    let mut last = None;
    let mut lines = Vec::new();
    for answer in conn.run(&Sql::new(&ask)).await? {
        for mut row in answer.rows {
            last = Some(row.number(0)?);
            lines.push(DialogLine {
                dialog: row.dialog(1)?,
                state: row.text(3)?,
                updated_at: row.number(4)?,
                history: Vec::new(),
            });
        }
    }
    let Some(last) = last else {
        return Ok(None);
    };
    if with_history {
        // The history has no index by dialog: for each portion it is read once.
        let ask = format!(
            "SELECT h.user_id,h.channel,h.turn FROM turnkey_history h JOIN turnkey_dialog d \
             ON d.user_id=h.user_id AND d.channel=h.channel \
             WHERE d.id BETWEEN {from} AND {last} ORDER BY h.id"
        );
        let places: std::collections::HashMap<_, _> = lines
            .iter()
            .enumerate()
            .map(|(place, line)| (line.dialog.clone(), place))
            .collect();
        for answer in conn.run(&Sql::new(&ask)).await? {
            for mut row in answer.rows {
                if let Some(place) = places.get(&row.dialog(0)?) {
                    lines[*place].history.push(row.text(2)?);
                }
            }
        }
    }
    Ok(Some((last, lines)))
}

/// Verifies a database: schema, states, no lock rows of processes that are gone. An
/// empty answer means all is well. Damage to its pages is the server's to find.
///
/// # Errors
/// [`Error::Open`] when it is not a database of ours at all.
pub async fn check(server: &Server) -> Result<Vec<Finding>> {
    let mut conn = open(server).await?;
    look(&mut conn)
        .await
        .map_err(|e: Failed| errors::open(server, &e))
}

async fn look(conn: &mut Conn) -> Tried<Vec<Finding>> {
    let mut all = Vec::new();
    let ask = "SELECT COUNT(*) FROM turnkey_outbox o WHERE NOT EXISTS (SELECT 1 \
               FROM turnkey_dialog d WHERE d.user_id=o.user_id AND d.channel=o.channel)";
    all.extend(Finding::orphans(schema::count(conn, ask).await?));
    let ask = "SELECT COUNT(*) FROM turnkey_lock l WHERE l.waiters<>(SELECT COUNT(*) \
               FROM turnkey_waiter w WHERE w.user_id=l.user_id AND w.channel=l.channel)";
    all.extend(findings::miscounted(schema::count(conn, ask).await?));
    all.extend(Finding::handled(schema::count(conn, HANDLED).await?));
    // Those of a process that died this moment are freed within the second.
    let ask = "SELECT COUNT(*) FROM turnkey_lock WHERE IS_FREE_LOCK(CONCAT('turnkey_',owner))";
    if schema::count(conn, ask).await? > 0 {
        tokio::time::sleep(findings::FREED).await;
        all.extend(findings::dead(schema::count(conn, ask).await?));
    }
    let mut bad_states = 0;
    let mut from = 0;
    while let Some((last, lines)) = portion(conn, from, false).await? {
        from = last + 1;
        for line in lines {
            bad_states += u64::from(serde_json::from_str::<&RawValue>(&line.state).is_err());
        }
    }
    all.extend(Finding::bad_states(bad_states, "database"));
    Ok(all)
}
