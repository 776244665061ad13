//! The tables of a database, and how an older one becomes a current one.
//!
//! [`prepare`] is called once at each start, on every box; a named lock of the server
//! lets one of them do the work and the others find it done. Migrations of Turnkey and
//! of the bot's author go through the same list, recorded in `turnkey_migration`.
//!
//! MySQL commits each DDL statement implicitly. So a migration is recorded before it starts,
//! and marked when it has ended: an interrupted one is noticed, and refused with advice.
//! Turnkey's own migrations can be applied again.

use mysql_async::prelude::Queryable;

use super::conn::{Columns, Conn, Tried};
use super::copy;
use super::errors::{self, Failed};
use super::literal::Sql;
use super::server::Server;
use super::session::Purpose;
use crate::lanes::wire::Failure;
use crate::migration::{self, Whose};
use crate::{Error, OpenError, Remedy, Result, Sync};

/// Turnkey's own migrations, oldest first. Never change one that was released; each
/// must do no harm when it is applied again after it was cut off.
const MIGRATIONS: &[&str] = &[
    include_str!("schema.sql"),
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
];

/// The oldest servers: both know how to lay out an index on our keys, roll back a
/// single change of a table that fails, and keep AUTO_INCREMENT over a restart.
const OLDEST_MARIADB: (u32, u32) = (10, 6);
const OLDEST_MYSQL: (u32, u32) = (8, 0);

/// For another box to finish its migrations, in seconds.
const MIGRATING: u32 = 600;

/// Brings a database up to date. `author` are the bot's own migrations, oldest first.
///
/// # Errors
/// [`Error::Open`] with a sentence that names the remedy.
pub async fn prepare(server: &Server, sync: Sync, author: &[String]) -> Result<()> {
    let mut conn = connect(server).await?;
    let fail = |e: Failed| errors::open(server, &e);
    if let Some(problem) = durability(&mut conn, sync).await.map_err(fail)? {
        let problem = problem.with_prefix(format_args!("cannot use {server}: "));
        return Err(Error::Open(problem));
    }
    if let Some(problem) = copy::obstacle(&mut conn).await.map_err(fail)? {
        return Err(Error::open(format!("cannot use {server}: {problem}")));
    }
    drop(conn);
    bring_up_to_date(server, author).await
}

/// [`prepare`] for whoever copies into the database.
pub(super) async fn bring_up_to_date(server: &Server, author: &[String]) -> Result<()> {
    let mut conn = connect(server).await?;
    let fail = |e: Failed| errors::open(server, &e);
    // Of this session: it ends with the connection, whatever happens.
    let lock = Sql::new(&format!(
        "SELECT GET_LOCK(LEFT(CONCAT('turnkey_migrate_',DATABASE()),64),{MIGRATING})"
    ));
    let answers = conn.run(&lock).await.map_err(fail)?;
    let locked = answers.first().and_then(|answer| answer.rows.first());
    if locked.is_none_or(|row| row.is_null(0) || !matches!(row.number::<u8>(0), Ok(1))) {
        return Err(Error::Open(
            OpenError::new(format!(
                "cannot use {server}: another program has been migrating it for {} minutes",
                MIGRATING / 60
            ))
            .remedy("see what it does (SHOW PROCESSLIST)"),
        ));
    }
    conn.run(&Sql::new(
        "CREATE TABLE IF NOT EXISTS turnkey_migration (
            owner VARCHAR(20) NOT NULL,
            number INT UNSIGNED NOT NULL,
            `sql` LONGTEXT NOT NULL,
            applied_at BIGINT NOT NULL,
            ended_at BIGINT,
            PRIMARY KEY (owner, number)
        ) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin",
    ))
    .await
    .map_err(fail)?;
    migrate(&mut conn, server, Whose::Program, MIGRATIONS).await?;
    migrate(&mut conn, server, Whose::Bot, author).await
}

/// A connection for a tool, to a server that will do.
pub(super) async fn connect(server: &Server) -> Result<Conn> {
    let fail = |e: Failed| errors::open(server, &e);
    let mut conn = server.open(Purpose::Ours).await.map_err(fail)?;
    let about = "SELECT VERSION(),(SELECT SUPPORT FROM information_schema.ENGINES WHERE ENGINE='InnoDB'),\
                 @@innodb_page_size,@@log_bin AND @@binlog_format='STATEMENT',@@character_set_database";
    let answers = conn.run(&Sql::new(about)).await.map_err(fail)?;
    let row = answers
        .into_iter()
        .next()
        .and_then(|answer| answer.rows.into_iter().next());
    let mut row = row.ok_or_else(|| fail(Failed::Odd("the server tells nothing of itself")))?;
    let version = row.text(0).map_err(fail)?;
    let maria = version.contains("MariaDB");
    let (name, oldest) = match maria {
        true => ("MariaDB", OLDEST_MARIADB),
        false => ("MySQL", OLDEST_MYSQL),
    };
    let number = numbers(&version);
    if number < oldest {
        return Err(Error::open(format!(
            "{server} is {name} {}.{}; {}.{} or newer is needed",
            number.0, number.1, oldest.0, oldest.1
        )));
    }
    let innodb = !row.is_null(1) && row.text(1).map_err(fail)? != "NO";
    if !innodb {
        return Err(Error::Open(
            OpenError::new(format!("{server} has no InnoDB, which keeps transactions"))
                .remedy("enable it"),
        ));
    }
    if row.number::<u32>(2).map_err(fail)? < 8192 {
        return Err(Error::Open(
            OpenError::new(format!(
                "{server} has an innodb_page_size below 8 KiB, too small for our keys"
            ))
            .remedy("use a server with the default of 16 KiB"),
        ));
    }
    if !row.is_null(3) && row.number::<u8>(3).map_err(fail)? == 1 {
        return Err(Error::Open(
            OpenError::new(format!(
                "{server} logs statements, with which concurrent turns cannot be logged in order"
            ))
            .remedy("set binlog_format=ROW (or MIXED)"),
        ));
    }
    let characters = row.text(4).map_err(fail)?;
    if characters != "utf8mb4" {
        return Err(Error::Open(OpenError::new(format!(
            "the database {server} is encoded in {characters}, which cannot hold every text in the bot's own tables"
        )).remedy("ALTER DATABASE it CHARACTER SET utf8mb4")));
    }
    Ok(conn)
}

/// The first two numbers of `8.0.36` or `10.11.6-MariaDB`, or `5.5.5-10.11.6-MariaDB` as
/// some proxies say.
fn numbers(version: &str) -> (u32, u32) {
    let version = version.strip_prefix("5.5.5-").unwrap_or(version);
    let mut numbers = version
        .split(|c: char| !c.is_ascii_digit())
        .map(|n| n.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

/// Why an acknowledged turn would not survive what it should, if so.
pub(super) async fn durability(conn: &mut Conn, sync: Sync) -> Tried<Option<OpenError>> {
    if sync == Sync::Normal {
        return Ok(None);
    }
    let ask = "SELECT @@innodb_flush_log_at_trx_commit,@@log_bin,@@sync_binlog";
    let answers = conn.run(&Sql::new(ask)).await?;
    let row = answers.first().and_then(|answer| answer.rows.first());
    let row = row.ok_or(Failed::Odd("the server tells nothing of itself"))?;
    let (flush, logs, sync_log): (u32, u32, u32) = (row.number(0)?, row.number(1)?, row.number(2)?);
    let wrong = match (flush, logs, sync_log) {
        (1, 0, _) | (1, _, 1) => return Ok(None),
        (1, _, n) => format!("with its binary log and sync_binlog={n}"),
        (n, _, _) => format!("with innodb_flush_log_at_trx_commit={n}"),
    };
    let setting = wrong.rsplit(' ').next().and_then(|s| s.split('=').next());
    let problem = format!("{wrong} it acknowledges what a power cut may take back");
    let set = format!("set {}=1 on the server", setting.unwrap_or_default());
    Ok(Some(
        OpenError::new(problem)
            .remedy(set)
            .remedy(Remedy::SyncNormal),
    ))
}

/// What is wrong with the schema, if anything.
pub(super) async fn problem(conn: &mut Conn) -> Tried<Option<String>> {
    if !exists(conn, "turnkey_migration").await? {
        return Ok(Some("no bot has been run on it yet".to_owned()));
    }
    if copy::is_unfinished(conn).await? {
        return Ok(Some(crate::copy::UNFINISHED.to_owned()));
    }
    let ask = "SELECT COUNT(*) FROM turnkey_migration \
               WHERE owner='turnkey' AND ended_at IS NOT NULL";
    let applied = count(conn, ask).await?;
    Ok(migration::problem(applied as usize, MIGRATIONS.len()))
}

/// Which rows of information_schema.TABLES are tables of the database, and no views.
pub(super) const TABLES: &str =
    "TABLE_SCHEMA=DATABASE() AND TABLE_TYPE IN ('BASE TABLE','SYSTEM VERSIONED')";

/// Whether there is a table of ours with this name.
pub(super) async fn exists(conn: &mut Conn, table: &str) -> Tried<bool> {
    let mut ask = Sql::new("SELECT COUNT(*) FROM information_schema.TABLES WHERE ");
    ask.push(TABLES).push(" AND TABLE_NAME=").text(table);
    Ok(count(conn, &ask.0).await? > 0)
}

/// The number that a question answers.
pub(super) async fn count(conn: &mut Conn, ask: &str) -> Tried<u64> {
    let answers = conn.run(&Sql::new(ask)).await?;
    let row = answers.first().and_then(|answer| answer.rows.first());
    row.map_or(Ok(0), |row| row.number(0))
}

async fn migrate<M: AsRef<str>>(
    conn: &mut Conn,
    server: &Server,
    whose: Whose,
    list: &[M],
) -> Result<()> {
    let fail = |e: Failed| errors::open(server, &e);
    let owner = match whose {
        Whose::Program => "turnkey",
        Whose::Bot => "bot",
    };
    let ask = format!(
        "SELECT `sql`,ended_at FROM turnkey_migration WHERE owner='{owner}' ORDER BY number"
    );
    let mut recorded = Vec::new();
    let mut cut_off = false;
    for answer in conn.run(&Sql::new(&ask)).await.map_err(fail)? {
        for mut row in answer.rows {
            cut_off |= row.is_null(1);
            recorded.push(row.text(0).map_err(fail)?);
        }
    }
    if cut_off {
        let number = recorded.len();
        if whose == Whose::Bot {
            return Err(half_applied(server, number));
        }
        recorded.pop();
    }
    let done = migration::done(whose, server, &recorded, list)?;
    for (index, sql) in list.iter().enumerate().skip(done) {
        let number = index + 1;
        let sql = sql.as_ref();
        let mut begin = Sql::new("REPLACE INTO turnkey_migration VALUES (");
        begin
            .text(owner)
            .push(&format!(",{number},"))
            .text(sql)
            .push(&format!(",{},NULL)", crate::unix_ms()));
        conn.run(&begin).await.map_err(fail)?;
        match apply(conn, sql).await {
            Ok(()) => {
                let end = format!(
                    "UPDATE turnkey_migration SET ended_at={} WHERE owner='{owner}' AND number={number}",
                    crate::unix_ms()
                );
                conn.run(&Sql::new(&end)).await.map_err(fail)?;
            }
            Err((_, error)) if whose == Whose::Program => return Err(fail(error)),
            // Nothing of it was done: it may be corrected and tried again.
            Err((0, error)) if !error.is_lost() => {
                let forget = format!(
                    "DELETE FROM turnkey_migration WHERE owner='{owner}' AND number={number}"
                );
                conn.run(&Sql::new(&forget)).await.map_err(fail)?;
                let reason = format!("{}; it must be written in MySQL's SQL", error.words());
                return Err(migration::failed(whose, number, server, reason));
            }
            Err((before, error)) => {
                let reason = format!(
                    "{} (in its statement {}, after those before it had taken effect); {}",
                    error.words(),
                    before + 1,
                    remedy(number)
                );
                return Err(migration::failed(whose, number, server, reason));
            }
        }
    }
    Ok(())
}

/// Executes a migration; with a failure, how many of its statements were done before.
async fn apply(conn: &mut Conn, sql: &str) -> std::result::Result<(), (usize, Failed)> {
    let applied = async {
        let mut done = 0;
        let mut result = conn.my.query_iter(sql).await.map_err(|e| (0, e))?;
        loop {
            let read = result.collect::<mysql_async::Row>().await;
            read.map_err(|e| (done, e))?;
            done += 1;
            if result.is_empty() {
                // An error of a later statement is kept back until here.
                return result.drop_result().await.map_err(|e| (done, e));
            }
        }
    };
    let applied: std::result::Result<(), (usize, mysql_async::Error)> = applied.await;
    if let Err((done, error)) = applied {
        conn.roll_back_if_there().await.map_err(|e| (done, e))?;
        return Err((done, Failed::My(error)));
    }
    Ok(())
}

fn remedy(number: usize) -> String {
    format!(
        "complete it by hand and UPDATE turnkey_migration SET ended_at=1 WHERE owner='bot' AND number={number}, or undo what it did and DELETE that row"
    )
}

fn half_applied(server: &Server, number: usize) -> Error {
    Error::open(format!(
        "migration {number} of the bot was begun on {server} and did not end, so a part of it may have taken effect; {}",
        remedy(number)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read() {
        for (text, number) in [
            ("8.0.36", (8, 0)),
            ("8.4.0-log", (8, 4)),
            ("10.11.19-MariaDB-0+deb12u1", (10, 11)),
            ("5.5.5-10.6.4-MariaDB", (10, 6)),
            ("5.7.44", (5, 7)),
            ("", (0, 0)),
        ] {
            assert_eq!(numbers(text), number);
        }
    }
}
