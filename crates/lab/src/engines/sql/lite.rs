//! A workload on SQLite without a queue: `sqlite-direct` takes the write lock first and
//! keeps its statements prepared; `sqlite-naive` takes it when it first writes, and prepares
//! each time.

use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, ToSql, TransactionBehavior, params_from_iter};
use turnkey_storage::Value;

use super::super::super::measure::Meter;
use super::super::super::order::{Load, Window};
use super::super::super::settings;
use super::super::super::workload::{Dialect, Prepared, Workload};
use super::super::Engine;
use super::super::direct::{self, Failure};
use super::{Ready, draws, ready, rows, tables, values};
use crate::error::Error;

/// A value on its way to SQLite.
struct Param<'a>(&'a Value);

impl ToSql for Param<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self.0 {
            Value::Null => ValueRef::Null,
            Value::Integer(number) => ValueRef::Integer(*number),
            Value::Real(number) => ValueRef::Real(*number),
            Value::Text(text) => ValueRef::Text(text.as_bytes()),
            Value::Blob(bytes) => ValueRef::Blob(bytes),
        }))
    }
}

pub(super) fn fill(load: &Load, workload: &Workload) -> crate::error::Result<()> {
    let mut conn = direct::open(load)?;
    for sql in tables(workload, Dialect::Sqlite)? {
        conn.execute_batch(&sql)?;
    }
    rows(load, workload, Dialect::Sqlite, |part| {
        let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
        for (statement, values) in &part {
            tx.prepare_cached(&statement.sql)?
                .execute(params_from_iter(values.iter().map(Param)))?;
        }
        Ok(tx.commit()?)
    })
}

/// One statement; its rows are all fetched.
fn step(
    conn: &Connection,
    statement: &Prepared,
    values: &[Value],
    cached: bool,
) -> rusqlite::Result<()> {
    let run = |prepared: &mut rusqlite::Statement<'_>| {
        let mut rows = prepared.query(params_from_iter(values.iter().map(Param)))?;
        while rows.next()?.is_some() {}
        Ok(())
    };
    match cached {
        true => run(&mut *conn.prepare_cached(&statement.sql)?),
        false => run(&mut conn.prepare(&statement.sql)?),
    }
}

pub(super) fn turns(
    load: &Load,
    workload: &Workload,
    start: impl FnOnce() -> crate::error::Result<Window>,
) -> crate::error::Result<Meter> {
    let conn = direct::open(load)?;
    conn.set_prepared_statement_cache_capacity(256);
    let transactions = ready(workload, Dialect::Sqlite)?;
    let draws = draws(load, workload);
    let in_force = settings::in_force(&conn)?;
    let mut meter = Meter::of_kinds(start()?, &workload.names())?;
    meter.in_force(in_force);
    let is_best = load.engine == Engine::SqliteDirect;
    let mut lane = 0;
    direct::one_after_another(load, &conn, &mut meter, |meter, began, wait| {
        // One client at a time has the connection: they take turns.
        lane = (lane + 1) % load.in_flight;
        let kind = draws.transaction();
        let Some(transaction) = transactions.get(kind) else {
            return Err(Error::msg("a transaction that is not there"));
        };
        let drawn = draws.all(&transaction.parameters, lane);
        loop {
            match once(&conn, transaction, &drawn, is_best) {
                Ok(()) => {
                    meter.acknowledge_kind(kind, began);
                    return Ok(());
                }
                Err(failure) => {
                    if !direct::again(failure, &conn, meter, wait)? {
                        return Ok(());
                    }
                }
            }
        }
    })?;
    Ok(meter)
}

fn once(
    conn: &Connection,
    transaction: &Ready,
    drawn: &std::collections::BTreeMap<String, Value>,
    is_best: bool,
) -> Result<(), Failure> {
    // A lone statement is a transaction by itself, and waits for the lock as BEGIN
    // IMMEDIATE does.
    let alone = transaction.statements.len() == 1;
    let begin = match is_best && !transaction.read_only {
        true => "BEGIN IMMEDIATE",
        false => "BEGIN",
    };
    if !alone {
        conn.prepare_cached(begin)?.execute([])?;
    }
    for statement in &transaction.statements {
        step(conn, statement, &values(statement, drawn), is_best)?;
    }
    if !alone {
        conn.prepare_cached("COMMIT")?.execute([])?;
    }
    Ok(())
}

/// What queries of one whole number answer.
pub(super) fn ask(load: &Load, queries: &[Prepared]) -> crate::error::Result<Vec<i64>> {
    let conn = Connection::open(load.path())?;
    let ask = |query: &Prepared| {
        conn.query_row(&query.sql, [], |row| row.get::<_, Option<i64>>(0))
            .map(Option::unwrap_or_default)
            .map_err(|e| Error::Start(format!("the invariant {:?}: {e}", query.sql)))
    };
    queries.iter().map(ask).collect()
}
