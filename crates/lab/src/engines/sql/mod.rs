//! A workload on each engine that can run plain SQL.
//!
//! | file | what |
//! | --- | --- |
//! | `mod.rs` | which engine does it how, and what they have in common |
//! | `lite.rs` | `sqlite-direct`, `sqlite-naive` |
//! | `ours.rs` | Turnkey's engines, through the `Storage` contract |
//! | `server.rs` | `postgres-plain`, `mysql-plain`: pools of connections |
//! | `postgres.rs` `mysql.rs` | a connection of each |

mod lite;
mod mysql;
mod ours;
mod postgres;
mod server;

use std::collections::BTreeMap;

use turnkey_storage::Value;

use super::super::measure::Meter;
use super::super::order::{Load, Window};
use super::super::workload::{Dialect, Draws, Prepared, Source, Workload};
use super::Engine;
use crate::error::Error;

/// Rows that are made in one transaction.
const FILLING: u64 = 1000;

/// A transaction, ready for a driver.
pub(super) struct Ready {
    pub(super) statements: Vec<Prepared>,
    pub(super) parameters: BTreeMap<String, Source>,
    pub(super) read_only: bool,
}

/// The transactions of a workload, in order.
fn ready(workload: &Workload, dialect: Dialect) -> crate::error::Result<Vec<Ready>> {
    let of = |transaction: &super::super::workload::Transaction| {
        Ok(Ready {
            statements: prepared(transaction.sql.statements(dialect), dialect)?,
            parameters: transaction.parameters.clone(),
            read_only: transaction.read_only,
        })
    };
    workload.transactions.iter().map(of).collect()
}

fn prepared(
    statements: Option<Vec<String>>,
    dialect: Dialect,
) -> crate::error::Result<Vec<Prepared>> {
    let statements = statements
        .ok_or_else(|| Error::Start(format!("the workload has no SQL for {}", dialect.name())))?;
    let each = statements.iter().map(|sql| Prepared::new(sql, dialect));
    Ok(each.collect())
}

/// The values of a statement's parameters, in its order.
fn values(statement: &Prepared, drawn: &BTreeMap<String, Value>) -> Vec<Value> {
    let value = |name: &String| drawn.get(name).cloned().unwrap_or(Value::Null);
    statement.names.iter().map(value).collect()
}

/// What one process draws.
fn draws(load: &Load, workload: &Workload) -> Draws {
    let place = (load.process, load.processes);
    Draws::new(workload, load.seed, place, load.in_flight)
}

/// The statements that make the tables.
fn tables(workload: &Workload, dialect: Dialect) -> crate::error::Result<Vec<String>> {
    let mut all = Vec::new();
    for table in &workload.tables {
        let create = prepared(table.create.statements(dialect), dialect)?;
        all.extend(create.into_iter().map(|statement| statement.sql));
    }
    Ok(all)
}

/// The same for `prepare` of Turnkey's engines: their migrations.
pub(crate) fn migrations(workload: &Workload, engine: Engine) -> crate::error::Result<Vec<String>> {
    match engine.dialect() {
        Some(dialect) => tables(workload, dialect),
        None => Ok(Vec::new()),
    }
}

/// One statement of one row that a table is filled with.
type Row = (Prepared, Vec<Value>);

/// All rows of all tables, in parts of [`FILLING`]: each part is handed on.
fn rows(
    load: &Load,
    workload: &Workload,
    dialect: Dialect,
    mut part: impl FnMut(Vec<Row>) -> crate::error::Result<()>,
) -> crate::error::Result<()> {
    let draws = draws(load, workload);
    for table in &workload.tables {
        let Some(insert) = &table.insert else {
            continue;
        };
        let statements = prepared(insert.statements(dialect), dialect)?;
        let mut row = 0;
        while row < table.rows {
            let end = (row + FILLING).min(table.rows);
            let mut all = Vec::new();
            for number in row..end {
                let mut drawn = draws.all(&table.parameters, 0);
                drawn.insert("row".to_owned(), Value::Integer(number as i64));
                for statement in &statements {
                    all.push((statement.clone(), values(statement, &drawn)));
                }
            }
            part(all)?;
            row = end;
        }
    }
    Ok(())
}

pub(super) fn fill(load: &Load, workload: &Workload) -> crate::error::Result<()> {
    match load.engine {
        Engine::SqliteDirect | Engine::SqliteNaive => lite::fill(load, workload),
        Engine::PostgresPlain => server::fill::<postgres::Postgres>(load, workload),
        Engine::MysqlPlain => server::fill::<mysql::Mysql>(load, workload),
        _ => ours::fill(load, workload),
    }
}

pub(super) fn turns(
    load: &Load,
    workload: &Workload,
    start: impl FnOnce() -> crate::error::Result<Window>,
) -> crate::error::Result<Meter> {
    match load.engine {
        Engine::SqliteDirect | Engine::SqliteNaive => lite::turns(load, workload, start),
        Engine::PostgresPlain => server::turns::<postgres::Postgres>(load, workload, start),
        Engine::MysqlPlain => server::turns::<mysql::Mysql>(load, workload, start),
        _ => ours::turns(load, workload, start),
    }
}

pub(super) fn invariants(load: &Load, workload: &Workload) -> crate::error::Result<Vec<i64>> {
    let Some(dialect) = load.engine.dialect() else {
        return Ok(Vec::new());
    };
    let mut queries = Vec::new();
    for invariant in &workload.invariants {
        queries.extend(prepared(invariant.sql.statements(dialect), dialect)?);
    }
    match dialect {
        Dialect::Sqlite => lite::ask(load, &queries),
        Dialect::Postgres => server::ask::<postgres::Postgres>(load, &queries),
        Dialect::Mysql => server::ask::<mysql::Mysql>(load, &queries),
    }
}
