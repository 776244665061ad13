//! The engines that are compared: one file for each way to write.
//!
//! Used by `process.rs` for a child's part and by `run.rs` for the rest. A new engine
//! gets a name here, and, when it is reached by URL through the `Storage` contract,
//! nothing else: `ours.rs` opens it through `database.rs`.

mod ceiling;
mod direct;
mod foreign;
mod lanes;
mod mysql;
mod ours;
mod plain;
mod postgres;
mod sql;

use serde::{Deserialize, Serialize};

use super::measure::Meter;
use super::order::{Load, Window};
use super::servers::Kind;
use super::settings;
use super::workload::{Dialect, Workload};
use crate::error::Error;

/// A way to keep states.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Engine {
    Sqlite,
    SqliteDirect,
    SqliteNaive,
    SqliteCeiling,
    Postgres,
    PostgresPlain,
    Mysql,
    MysqlPlain,
    /// A program of somebody else, by its place in the plan.
    Foreign(usize),
}

impl Engine {
    /// Those that are built in.
    pub(crate) const ALL: &[Engine] = &[
        Engine::Sqlite,
        Engine::SqliteDirect,
        Engine::SqliteNaive,
        Engine::SqliteCeiling,
        Engine::Postgres,
        Engine::PostgresPlain,
        Engine::Mysql,
        Engine::MysqlPlain,
    ];

    /// As on the command line; only the plan knows what a foreign one is called.
    pub(crate) fn name(self) -> Option<&'static str> {
        Some(match self {
            Engine::Sqlite => "sqlite",
            Engine::SqliteDirect => "sqlite-direct",
            Engine::SqliteNaive => "sqlite-naive",
            Engine::SqliteCeiling => "sqlite-ceiling",
            Engine::Postgres => "postgres",
            Engine::PostgresPlain => "postgres-plain",
            Engine::Mysql => "mysql",
            Engine::MysqlPlain => "mysql-plain",
            Engine::Foreign(_) => return None,
        })
    }

    /// The SQL that it runs; none: it knows only turns.
    pub(crate) fn dialect(self) -> Option<Dialect> {
        match self {
            Engine::Sqlite | Engine::SqliteDirect | Engine::SqliteNaive => Some(Dialect::Sqlite),
            Engine::Postgres | Engine::PostgresPlain => Some(Dialect::Postgres),
            Engine::Mysql | Engine::MysqlPlain => Some(Dialect::Mysql),
            Engine::SqliteCeiling | Engine::Foreign(_) => None,
        }
    }

    /// Whether a setting of an option (`--pragma`, `-c`) means something to it.
    pub(crate) fn takes(self, flag: &str, name: &str) -> bool {
        match self {
            Engine::SqliteDirect | Engine::SqliteNaive => flag == "--pragma",
            Engine::Sqlite | Engine::SqliteCeiling => {
                flag == "--pragma" && settings::is_for_our_writer(name)
            }
            Engine::Postgres | Engine::PostgresPlain => flag == "-c",
            Engine::Mysql | Engine::MysqlPlain | Engine::Foreign(_) => false,
        }
    }

    /// What it does, for the report.
    pub(crate) fn about(self) -> &'static str {
        match self {
            Engine::Sqlite => {
                "Turnkey's engine for SQLite: clients in every process, one writer process, \
                 group commit. Each turn also keeps its update id and answer, so that a repeated \
                 message takes effect once."
            }
            Engine::SqliteDirect => {
                "The best without a queue: WAL, BEGIN IMMEDIATE, prepared statements, busy timeout \
                 5 s. One connection a process, which takes its turns one after another: SQLite has \
                 one writer at a time, and more connections only wait for it. One transaction a \
                 turn; no update ids."
            }
            Engine::SqliteNaive => {
                "What most people write: WAL, deferred BEGIN, SELECT, UPSERT, COMMIT, statements \
                 prepared each time, busy timeout 5 s; on SQLITE_BUSY it rolls back and tries again \
                 after up to a millisecond. One connection a process; no update ids."
            }
            Engine::SqliteCeiling => {
                "What the file can do: the writer's own SQL in one process and one thread, 64 turns \
                 a transaction, no sockets and no locks. Not a way to run a bot."
            }
            Engine::Postgres => {
                "Turnkey's engine for PostgreSQL: calls of many turns travel together on two \
                 connections a process. Update ids, locks and fences as with SQLite."
            }
            Engine::PostgresPlain => {
                "A transaction a turn: BEGIN and SELECT ... FOR UPDATE in one round trip, UPDATE and \
                 COMMIT in another, prepared, on a pool of connections. No update ids."
            }
            Engine::Mysql => {
                "Turnkey's engine for MySQL and MariaDB: statements of many turns travel in one text \
                 and share a transaction. Update ids, locks and fences as with SQLite."
            }
            Engine::MysqlPlain => {
                "A transaction a turn: BEGIN and SELECT ... FOR UPDATE in one round trip, UPDATE and \
                 COMMIT in another, as texts of two statements, on a pool of connections. No update ids."
            }
            Engine::Foreign(_) => {
                "A program of somebody else, which speaks the laboratory's protocol. Its latencies are \
                 its own word; its sum is checked like the others'."
            }
        }
    }

    /// Through the `Storage` contract, opened by its address.
    pub(crate) fn is_ours(self) -> bool {
        matches!(self, Engine::Sqlite | Engine::Postgres | Engine::Mysql)
    }

    /// It has a writer process.
    pub(crate) fn has_writer(self) -> bool {
        self == Engine::Sqlite
    }

    /// The server it needs.
    pub(crate) fn server(self) -> Option<Kind> {
        match self {
            Engine::Postgres | Engine::PostgresPlain => Some(Kind::Postgres),
            Engine::Mysql | Engine::MysqlPlain => Some(Kind::Mysql),
            _ => None,
        }
    }

    /// Whether a combination is measured: the ceiling has one process, and its batch
    /// takes the place of turns in flight.
    pub(crate) fn only_once(self) -> bool {
        self == Engine::SqliteCeiling
    }
}

impl std::str::FromStr for Engine {
    type Err = Error;

    fn from_str(name: &str) -> crate::error::Result<Self> {
        let known = || Engine::ALL.iter().filter_map(|engine| engine.name());
        Engine::ALL
            .iter()
            .find(|engine| engine.name() == Some(name))
            .copied()
            .ok_or_else(|| {
                Error::Start(format!(
                    "--engines: {name:?} is none; there are {}",
                    known().collect::<Vec<_>>().join(", ")
                ))
            })
    }
}

/// Turns of a batch of the ceiling; `Plan` shows it as turns in flight.
pub(crate) const CEILING_BATCH: usize = 64;

/// Makes the tables of a fresh database and a state with counter 0 for each user.
/// Of a workload: its tables and their rows.
pub(crate) fn fill(load: &Load) -> crate::error::Result<()> {
    if let Some(workload) = &load.workload {
        return sql::fill(load, workload);
    }
    match load.engine {
        Engine::Foreign(_) => foreign::fill(load),
        Engine::SqliteDirect | Engine::SqliteNaive => direct::fill(load),
        Engine::SqliteCeiling => ceiling::fill(load),
        Engine::PostgresPlain => postgres::fill(load),
        Engine::MysqlPlain => mysql::fill(load),
        _ => ours::fill(load),
    }
}

/// One process's turns. `start` is called when it is ready and returns when all are.
pub(crate) fn turns(
    load: &Load,
    start: impl FnOnce() -> crate::error::Result<Window>,
) -> crate::error::Result<Meter> {
    if let Some(workload) = &load.workload {
        return sql::turns(load, workload, start);
    }
    match load.engine {
        Engine::Foreign(_) => foreign::turns(load, start),
        Engine::SqliteDirect => direct::turns(load, direct::immediate, start),
        Engine::SqliteNaive => direct::turns(load, direct::deferred, start),
        Engine::SqliteCeiling => ceiling::turns(load, start),
        Engine::PostgresPlain => plain::turns::<postgres::Prepared>(load, start),
        Engine::MysqlPlain => plain::turns::<mysql_async::Conn>(load, start),
        _ => ours::turns(load, start),
    }
}

/// The sum of all counters in the database.
pub(crate) fn sum(load: &Load) -> crate::error::Result<u64> {
    match load.engine {
        Engine::Foreign(_) => foreign::sum(load),
        Engine::SqliteDirect | Engine::SqliteNaive => direct::sum(load),
        Engine::PostgresPlain => postgres::sum(load),
        Engine::MysqlPlain => mysql::sum(load),
        _ => ours::sum(load),
    }
}

pub(crate) use sql::migrations;

/// What the queries of a workload's invariants answer, in order.
pub(crate) fn invariants(load: &Load, workload: &Workload) -> crate::error::Result<Vec<i64>> {
    sql::invariants(load, workload)
}

fn runtime() -> crate::error::Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?)
}
