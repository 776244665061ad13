//! Looking into a database from outside: for `dump` and `check`.
//!
//! Has its own connection and only reads, so it works whether bots run or not.

use serde_json::value::RawValue;

use super::server::Server;
use super::session::Purpose;
use super::text::original;
use super::{errors, schema};
use crate::inspect::HANDLED;
use crate::lanes::findings;
use crate::{DialogKey, DialogLine, Error, Finding, Result};

/// Dialogs read at a time.
const PORTION: i64 = 5000;

async fn open(server: &Server) -> Result<tokio_postgres::Client> {
    let client = schema::connect(server, Purpose::Tool).await?;
    match schema::problem(&client).await {
        Ok(None) => Ok(client),
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
    let mut client = open(server).await?;
    let failed = |e: tokio_postgres::Error| errors::open(server, &e);
    let tx = client
        .build_transaction()
        .isolation_level(tokio_postgres::IsolationLevel::RepeatableRead)
        .read_only(true)
        .start()
        .await
        .map_err(failed)?;
    let mut from = i64::MIN;
    // The history has no index by dialog: for each portion it is read once.
    let sql = if with_history {
        "WITH d AS MATERIALIZED (SELECT * FROM turnkey_dialog WHERE id >= $1 ORDER BY id LIMIT $2),
         h AS (SELECT dialog, array_agg(turn ORDER BY id) AS turns FROM turnkey_history
             WHERE dialog IN (SELECT id FROM d) GROUP BY dialog)
         SELECT d.id, d.channel, d.user_id, d.state, d.updated_at, coalesce(h.turns, '{}')
         FROM d LEFT JOIN h ON h.dialog = d.id ORDER BY d.id"
    } else {
        "SELECT id, channel, user_id, state, updated_at, '{}'::text[]
         FROM turnkey_dialog WHERE id >= $1 ORDER BY id LIMIT $2"
    };
    loop {
        let rows = tx.query(sql, &[&from, &PORTION]).await.map_err(failed)?;
        let Some(last) = rows.last() else { break };
        from = last.get::<_, i64>(0) + 1;
        for row in &rows {
            let history: Vec<String> = row.get(5);
            each(DialogLine {
                dialog: DialogKey {
                    channel: original(row.get(1)),
                    user_id: original(row.get(2)),
                },
                state: original(row.get(3)),
                updated_at: row.get(4),
                history: history.into_iter().map(original).collect(),
            })?;
        }
    }
    Ok(())
}

/// Verifies a database: schema, states, no lock rows of processes that are gone. An
/// empty answer means all is well. Damage to its pages is the server's to find.
///
/// # Errors
/// [`Error::Open`] when it is not a database of ours at all.
pub async fn check(server: &Server) -> Result<Vec<Finding>> {
    let client = open(server).await?;
    let failed = |e: tokio_postgres::Error| errors::open(server, &e);
    let mut all = Vec::new();
    let count = async |sql: &str| -> Result<u64> {
        let row = client.query_one(sql, &[]).await.map_err(failed)?;
        Ok(row.get::<_, i64>(0) as u64)
    };
    all.extend(Finding::orphans(
        count(
            "SELECT count(*) FROM turnkey_outbox o
             WHERE NOT EXISTS (SELECT 1 FROM turnkey_dialog d WHERE d.id = o.dialog)",
        )
        .await?,
    ));
    all.extend(findings::miscounted(
        count(
            "SELECT count(*) FROM turnkey_lock l
             WHERE l.waiters <> (SELECT count(*) FROM turnkey_waiter w
                 WHERE w.user_id = l.user_id AND w.channel = l.channel)",
        )
        .await?,
    ));
    all.extend(Finding::handled(count(HANDLED).await?));
    // Those of a process that died this moment are freed within the second.
    let dead = "SELECT count(*) FROM turnkey_lock l
         WHERE NOT EXISTS (SELECT 1 FROM pg_locks p
             WHERE p.locktype = 'advisory' AND p.objsubid = 1
               AND ((p.classid::bigint << 32) | p.objid::bigint) = l.owner
               AND p.database = (SELECT oid FROM pg_database WHERE datname = current_database()))";
    if count(dead).await? > 0 {
        tokio::time::sleep(findings::FREED).await;
        all.extend(findings::dead(count(dead).await?));
    }
    let mut bad_states = 0_u64;
    let mut from = i64::MIN;
    loop {
        let rows = client
            .query(
                "SELECT id, state FROM turnkey_dialog WHERE id >= $1 ORDER BY id LIMIT $2",
                &[&from, &PORTION],
            )
            .await
            .map_err(failed)?;
        let Some(last) = rows.last() else { break };
        from = last.get::<_, i64>(0) + 1;
        for row in &rows {
            let state = original(row.get(1));
            bad_states += u64::from(serde_json::from_str::<&RawValue>(&state).is_err());
        }
    }
    all.extend(Finding::bad_states(bad_states, "database"));
    Ok(all)
}
