//! The tables of a database, and how an older one becomes a current one.
//!
//! [`prepare`] is called once at each start, on every box; an advisory lock lets one
//! of them do the work and the others find it done. Migrations of Turnkey and of the
//! bot's author go through the same list, each in a transaction of its own, recorded
//! in `turnkey_migration`.

use tokio_postgres::{Client, Transaction};

use super::server::{Purpose, Server};
use super::{copy, errors};
use crate::{Error, Result, Sync};

/// Turnkey's own migrations, oldest first. Never change one that was released.
const MIGRATIONS: &[&str] = &[include_str!("schema.sql"), include_str!("functions.sql")];

/// The oldest server that this is tried with has a larger number; functions and
/// statements here need nothing newer.
const OLDEST: i32 = 120_000;

/// "turnkey" in ASCII: whoever migrates holds the advisory lock of this number.
const MIGRATING: i64 = 0x0074_7572_6e6b_6579;

/// Brings a database up to date. `author` are the bot's own migrations, oldest first.
///
/// # Errors
/// [`Error::Open`] with a sentence that names the remedy.
pub async fn prepare(server: &Server, author: &[String]) -> Result<()> {
    let client = connect(server).await?;
    match copy::obstacle(&client).await {
        Ok(None) => bring_up_to_date(server, author).await,
        Ok(Some(problem)) => Err(Error::Open(format!("cannot use {server}: {problem}"))),
        Err(e) => Err(errors::open(server, &e)),
    }
}

/// [`prepare`] for whoever copies into the database.
pub(super) async fn bring_up_to_date(server: &Server, author: &[String]) -> Result<()> {
    let mut client = connect(server).await?;
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
    let ours: Vec<String> = MIGRATIONS.iter().map(|sql| (*sql).to_owned()).collect();
    migrate(&mut client, server, "turnkey", &ours).await?;
    migrate(&mut client, server, "bot", author).await
}

/// A connection for a tool, to a server that will do.
pub(super) async fn connect(server: &Server) -> Result<Client> {
    let fail = |e: &tokio_postgres::Error| errors::open(server, e);
    let client = server
        .client(Purpose::Tool, Sync::Full)
        .await
        .map_err(|e| fail(&e))?;
    let row = client
        .query_one(
            "SELECT current_setting('server_version_num')::integer, current_setting('server_encoding')",
            &[],
        )
        .await
        .map_err(|e| fail(&e))?;
    let (version, encoding): (i32, String) = (row.get(0), row.get(1));
    if version < OLDEST {
        return Err(Error::Open(format!(
            "{server} is PostgreSQL {}; {} or newer is needed",
            version / 10_000,
            OLDEST / 10_000
        )));
    }
    if encoding != "UTF8" {
        return Err(Error::Open(format!(
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
    let known = MIGRATIONS.len() as i64;
    Ok(match row.get::<_, i64>(0) {
        n if n > known => Some(newer()),
        n if n < known => Some("it was made by an older version; start the bot once".to_owned()),
        _ => None,
    })
}

fn newer() -> String {
    "it was made by a newer version of turnkey; use that one".to_owned()
}

async fn migrate(client: &mut Client, server: &Server, owner: &str, list: &[String]) -> Result<()> {
    let fail = |e: &tokio_postgres::Error| errors::open(server, e);
    let recorded = client
        .query(
            "SELECT sql FROM turnkey_migration WHERE owner = $1 ORDER BY number",
            &[&owner],
        )
        .await
        .map_err(|e| fail(&e))?;
    if recorded.len() > list.len() {
        return Err(Error::Open(if owner == "turnkey" {
            format!("cannot use {server}: {}", newer())
        } else {
            format!(
                "{server} has {} migrations of the bot, this program knows {}; it was made by a newer version of the bot: run that one",
                recorded.len(),
                list.len()
            )
        }));
    }
    for (index, sql) in list.iter().enumerate() {
        let number = index as i64 + 1;
        match recorded.get(index) {
            Some(row) if row.get::<_, &str>(0) != sql => {
                return Err(Error::Open(format!(
                    "migration {number} of the {} was changed after {server} had applied it; restore its text and add a new migration instead",
                    if owner == "turnkey" { "program" } else { "bot" },
                )));
            }
            Some(_) => continue,
            None => {}
        }
        let applied = async {
            let tx = client.transaction().await?;
            apply(&tx, owner, number, sql).await?;
            tx.commit().await
        };
        applied.await.map_err(|e| match errors::open(server, &e) {
            error if owner == "turnkey" => error,
            _ => Error::Open(format!(
                "migration {number} of the bot failed on {server}: {}; it must be written in PostgreSQL's SQL",
                errors::words(&e)
            )),
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
