//! The tables of a database, and how an older one becomes a current one.
//!
//! [`prepare`] is called once at each start, on every box; an advisory lock lets one
//! of them do the work and the others find it done. Migrations of Turnkey and of the
//! bot's author go through the same list, each in a transaction of its own, recorded
//! in `turnkey_migration`.

use tokio_postgres::{Client, Transaction};

use super::errors::Failed;
use super::server::Server;
use super::session::Purpose;
use super::{copy, errors, session};
use crate::migration::{self, Whose};
use crate::{Error, Result, Sync};

/// Turnkey's own migrations, oldest first. Never change one that was released.
const MIGRATIONS: &[&str] = &[
    include_str!("schema.sql"),
    include_str!("functions.sql"),
    include_str!("replies.sql"),
    include_str!("marks.sql"),
    include_str!("messages.sql"),
    include_str!("broadcasts.sql"),
    include_str!("taken.sql"),
    include_str!("timers.sql"),
    include_str!("steps.sql"),
    include_str!("overlaps.sql"),
    include_str!("schedules.sql"),
    include_str!("callbacks.sql"),
    include_str!("people.sql"),
    include_str!("alone.sql"),
];

/// The oldest server that this is tried with has a larger number; functions and
/// statements here need nothing newer.
const OLDEST: i32 = 120_000;

/// "turnkey" in ASCII: whoever migrates holds the advisory lock of this number.
const MIGRATING: i64 = 0x0074_7572_6e6b_6579;

/// Brings a database up to date. `author` are the bot's own migrations, oldest first.
///
/// # Errors
/// [`Error::Open`] with a sentence that names the remedy.
pub async fn prepare(server: &Server, sync: Sync, author: &[String]) -> Result<()> {
    let client = connect(server, Purpose::Prepare).await?;
    let weak = session::weaknesses(&client, sync, server.has_several_hosts()).await;
    for weakness in weak.map_err(|e| errors::open(server, &e))? {
        tracing::warn!("{server}: {weakness}");
    }
    match copy::obstacle(&client).await {
        Ok(None) => bring_up_to_date(server, author).await,
        Ok(Some(problem)) => Err(Error::open(format!("cannot use {server}: {problem}"))),
        Err(e) => Err(errors::open(server, &e)),
    }
}

/// [`prepare`] for whoever copies into the database.
pub(super) async fn bring_up_to_date(server: &Server, author: &[String]) -> Result<()> {
    let mut client = connect(server, Purpose::Prepare).await?;
    let fail = |e: &tokio_postgres::Error| errors::open(server, e);
    // Of this session: it ends with the connection, whatever happens.
    client
        .execute("SELECT pg_advisory_lock($1)", &[&MIGRATING])
        .await
        .map_err(|e| fail(&e))?;
    client
        .batch_execute(
            "CREATE TABLE IF NOT EXISTS turnkey_migration (
                owner TEXT NOT NULL,
                number BIGINT NOT NULL,
                sql TEXT NOT NULL,
                applied_at BIGINT NOT NULL,
                PRIMARY KEY (owner, number)
            )",
        )
        .await
        .map_err(|e| fail(&e))?;
    migrate(&mut client, server, Whose::Program, MIGRATIONS).await?;
    migrate(&mut client, server, Whose::Bot, author).await
}

/// A connection to a server that will do.
pub(super) async fn connect(server: &Server, purpose: Purpose) -> Result<Client> {
    let fail = |e: &tokio_postgres::Error| errors::open(server, e);
    let client = server.client(purpose, Sync::Full).await;
    let client = client.map_err(|e| errors::not_opened(server, &e))?;
    // Only a second one shows that the first is not its session's only user. Where there
    // is no room for a second, what needs one will say so.
    let shared = match server.client(purpose, Sync::Full).await {
        Ok(other) => session::are_shared(&client, &other).await,
        Err(Failed::Shared) => Ok(true),
        Err(_) => Ok(false),
    };
    if shared.map_err(|e| errors::not_opened(server, &e))? {
        return Err(errors::not_opened(server, &Failed::Shared));
    }
    let row = client
        .query_one(
            "SELECT current_setting('server_version_num')::integer, current_setting('server_encoding')",
            &[],
        )
        .await
        .map_err(|e| fail(&e))?;
    let (version, encoding): (i32, String) = (row.get(0), row.get(1));
    if version < OLDEST {
        return Err(Error::open(format!(
            "{server} is PostgreSQL {}; {} or newer is needed",
            version / 10_000,
            OLDEST / 10_000
        )));
    }
    if encoding != "UTF8" {
        return Err(Error::open(format!(
            "the database {server} is encoded in {encoding}; create one in UTF8 (createdb --encoding UTF8 --template template0)"
        )));
    }
    Ok(client)
}

/// What is wrong with the schema, if anything.
pub(super) async fn problem(
    client: &Client,
) -> std::result::Result<Option<String>, tokio_postgres::Error> {
    let row = client
        .query_one("SELECT to_regclass('turnkey_migration') IS NOT NULL", &[])
        .await?;
    if !row.get::<_, bool>(0) {
        return Ok(Some("no bot has been run on it yet".to_owned()));
    }
    if copy::is_unfinished(client).await? {
        return Ok(Some(crate::copy::UNFINISHED.to_owned()));
    }
    let row = client
        .query_one(
            "SELECT count(*) FROM turnkey_migration WHERE owner = 'turnkey'",
            &[],
        )
        .await?;
    Ok(migration::problem(
        row.get::<_, i64>(0) as usize,
        MIGRATIONS.len(),
    ))
}

async fn migrate<M: AsRef<str>>(
    client: &mut Client,
    server: &Server,
    whose: Whose,
    list: &[M],
) -> Result<()> {
    let owner = match whose {
        Whose::Program => "turnkey",
        Whose::Bot => "bot",
    };
    let recorded = client
        .query(
            "SELECT sql FROM turnkey_migration WHERE owner = $1 ORDER BY number",
            &[&owner],
        )
        .await
        .map_err(|e| errors::open(server, &e))?;
    let recorded: Vec<String> = recorded.iter().map(|row| row.get(0)).collect();
    let done = migration::done(whose, server, &recorded, list)?;
    for (index, sql) in list.iter().enumerate().skip(done) {
        let number = index + 1;
        let applied = async {
            let tx = client.transaction().await?;
            apply(&tx, owner, number as i64, sql.as_ref()).await?;
            tx.commit().await
        };
        applied.await.map_err(|e| match whose {
            Whose::Program => errors::open(server, &e),
            Whose::Bot => {
                let reason = errors::words(&e);
                let reason = format!("{reason}; it must be written in PostgreSQL's SQL");
                migration::failed(whose, number, server, reason)
            }
        })?;
    }
    Ok(())
}

async fn apply(
    tx: &Transaction<'_>,
    owner: &str,
    number: i64,
    sql: &str,
) -> std::result::Result<(), tokio_postgres::Error> {
    tx.batch_execute(sql).await?;
    tx.execute(
        "INSERT INTO turnkey_migration VALUES ($1, $2, $3, $4)",
        &[&owner, &number, &sql, &crate::unix_ms()],
    )
    .await?;
    Ok(())
}
