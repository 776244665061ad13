//! The setup of all our sessions: on a writable server, with our own settings, whatever the
//! defaults of the server, the database and the user are.
//!
//! Used by `server.rs` for each connection it makes. Settings are made by `SET` once the
//! session is connected, not by startup parameters, which poolers such as PgBouncer refuse. The
//! settings that durability depends on are read back.
//!
//! Deliberately not set: `search_path` (it says where the tables are), unless it is empty;
//! `TimeZone`, `role`, and what only a superuser may set.

use std::fmt::Write as _;

use tokio_postgres::{Client, SimpleQueryMessage, SimpleQueryRow};

use super::errors::Failed;
use crate::lanes::bounds::MAX_STATEMENT;
use crate::{OpenError, Remedy, Sync};

type Tried<T> = std::result::Result<T, Failed>;

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Turns, many at once.
    Lane,
    /// The author's own SQL.
    Author,
    /// To show that this process lives.
    Keeper,
    /// To create and migrate.
    Prepare,
    /// To look, which a server that only reads will do for, or to copy.
    Tool,
}

/// What every session has. A name that the server does not know yet is passed over.
const EVERYWHERE: &[(&str, &str)] = &[
    ("default_transaction_isolation", "read committed"),
    ("default_transaction_deferrable", "off"),
    ("lock_timeout", "0"),
    ("idle_session_timeout", "0"),
    ("transaction_timeout", "0"),
    // One that failed would take the connection with it.
    ("exit_on_error", "off"),
    // How statements are read.
    ("standard_conforming_strings", "on"),
    ("transform_null_equals", "off"),
    ("array_nulls", "on"),
    ("row_security", "on"),
    // How values look that the author casts to text.
    ("DateStyle", "ISO"),
    ("IntervalStyle", "postgres"),
    ("bytea_output", "hex"),
    ("extra_float_digits", "1"),
];

/// Each statement of a lane finds its rows by key. The planner does not know how many
/// turns there will be, and plans once for all calls.
const LANE: &[(&str, &str)] = &[
    ("enable_seqscan", "off"),
    ("enable_indexscan", "on"),
    ("enable_hashjoin", "off"),
    ("enable_mergejoin", "off"),
    ("enable_nestloop", "on"),
    ("jit", "off"),
    ("plan_cache_mode", "force_generic_plan"),
];

/// Sets what a session for this purpose needs.
fn settings(purpose: Purpose, sync: Sync) -> String {
    let statement = match purpose {
        Purpose::Author => MAX_STATEMENT.as_millis(),
        _ => 0,
    };
    // One that waits inside a transaction holds rows of others.
    let idle = match purpose {
        Purpose::Author => "10000",
        _ => "0",
    };
    let commit = match sync {
        Sync::Full => "on",
        Sync::Normal => "off",
    };
    let mut values = EVERYWHERE.to_vec();
    values.push(("idle_in_transaction_session_timeout", idle));
    values.push(("synchronous_commit", commit));
    match purpose {
        Purpose::Lane => values.extend_from_slice(LANE),
        Purpose::Keeper => values.push(("jit", "off")),
        Purpose::Author | Purpose::Prepare | Purpose::Tool => {}
    }
    let mut list = String::new();
    for (name, value) in values {
        let comma = if list.is_empty() { "" } else { "," };
        write!(list, "{comma}('{name}','{value}')").unwrap_or_default();
    }
    // A default of read only, of this user, this database or this start of the server, is
    // one more odd default. In the server's file it is how a whole server is made read
    // only while it runs, by providers when its disk fills up and in a failover: that
    // stays. An empty search_path names no place at all; where it names one that is not
    // there, it is not guessed.
    format!(
        "SET statement_timeout = 0;
         SELECT pg_catalog.set_config(v.name, v.value, false)
         FROM (VALUES {list}) AS v (name, value)
         JOIN pg_catalog.pg_settings s ON pg_catalog.lower(s.name) = pg_catalog.lower(v.name);
         SELECT pg_catalog.set_config(s.name, 'off', false) FROM pg_catalog.pg_settings s
         WHERE s.name = 'default_transaction_read_only' AND s.setting = 'on'
             AND s.source <> 'configuration file';
         SELECT pg_catalog.set_config('search_path', 'public', false)
         WHERE pg_catalog.btrim(pg_catalog.current_setting('search_path'), ' \"') = '';
         SET statement_timeout = {statement};
         SELECT pg_catalog.pg_backend_pid()"
    )
}

const READ_BACK: &str = "SELECT pg_catalog.pg_backend_pid(), pg_catalog.current_setting('synchronous_commit'), \
     pg_catalog.current_setting('transaction_read_only'), pg_catalog.pg_is_in_recovery()";

/// Makes a new connection's session one of ours.
pub(super) async fn set_up(
    client: &Client,
    purpose: Purpose,
    sync: Sync,
    read_write: bool,
) -> Tried<()> {
    let made_in = last_row(client, &settings(purpose, sync)).await?;
    let read = last_row(client, READ_BACK).await?;
    let is = |column, value| read.get(column) == Some(value);
    let commit = match sync {
        Sync::Full => "on",
        Sync::Normal => "off",
    };
    // Another server process answers than the one whose settings were made.
    if made_in.get(0) != read.get(0) || !is(1, commit) {
        return Err(Failed::Shared);
    }
    match (read_write && is(2, "on"), is(3, "t")) {
        (true, true) => Err(Failed::ReadOnly("it is a standby")),
        (true, false) => Err(Failed::ReadOnly(
            "default_transaction_read_only = on in its configuration",
        )),
        (false, _) => Ok(()),
    }
}

/// The server process that a session is, and so itself: a pooler that shares sessions
/// answers from one and then another, or from the same to two who ask.
pub(super) async fn process(client: &Client) -> Tried<String> {
    let row = last_row(client, "SELECT pg_catalog.pg_backend_pid()").await?;
    Ok(row.get(0).unwrap_or_default().to_owned())
}

/// Whether these two are one session, or none of their own.
pub(super) async fn are_shared(a: &Client, b: &Client) -> Tried<bool> {
    let (first, second) = (process(a).await?, process(b).await?);
    for _ in 0..2 {
        if process(a).await? != first || process(b).await? != second {
            return Ok(true);
        }
    }
    Ok(first == second)
}

/// The last row that statements without parameters answer; nothing is prepared.
async fn last_row(client: &Client, sql: &str) -> Tried<SimpleQueryRow> {
    let answers = client.simple_query(sql).await?;
    let rows = answers.into_iter().filter_map(|answer| match answer {
        SimpleQueryMessage::Row(row) => Some(row),
        _ => None,
    });
    rows.last().ok_or(Failed::Shared)
}

/// What an acknowledged turn may not survive on this server, if anything.
pub(super) async fn weaknesses(
    client: &Client,
    sync: Sync,
    several_hosts: bool,
) -> std::result::Result<Vec<OpenError>, tokio_postgres::Error> {
    if sync == Sync::Normal {
        return Ok(Vec::new());
    }
    // Whoever may not see the state of a standby still sees that there is one.
    let row = client
        .query_one(
            "SELECT current_setting('fsync') = 'off', current_setting('full_page_writes') = 'off',
                 btrim(current_setting('synchronous_standby_names')) = '' AND NOT pg_is_in_recovery(),
                 (SELECT count(*) FROM pg_stat_replication
                     WHERE state IS NULL OR state IN ('streaming', 'catchup'))",
            &[],
        )
        .await?;
    let mut found = Vec::new();
    for (column, setting) in [(0, "fsync"), (1, "full_page_writes")] {
        if row.get(column) {
            let problem =
                format!("with {setting}=off it acknowledges what a power cut may take back");
            found.push(
                OpenError::new(problem)
                    .remedy(format!("set {setting}=on on the server"))
                    .remedy(Remedy::SyncNormal),
            );
        }
    }
    if row.get(2) && (several_hosts || row.get::<_, i64>(3) > 0) {
        found.push(
            OpenError::new(
                "its standby is not synchronous, so one that takes over may lack turns that \
                 were acknowledged",
            )
            .remedy("set synchronous_standby_names on the server"),
        );
    }
    Ok(found)
}
