//! A workload on Turnkey's engines, as a bot's handler would do it: each transaction is a
//! turn of a dialog of its own client, whose statements travel with its commit. What only
//! reads asks a question, which takes no lock.
//!
//! A `SELECT` among statements that write is asked before the commit, outside its
//! transaction: a handler reads so, too. Its update's id and answer are kept as always.

use std::rc::Rc;

use turnkey_storage::{Begun, Commit, Statement, Storage};

use super::super::super::measure::{self, Meter};
use super::super::super::order::{Load, Window};
use super::super::super::workload::{Dialect, Workload};
use super::super::lanes;
use super::super::ours::{begin, commit, is_certain, kind, open, prepare};
use super::{Ready, draws, ready, rows, tables, values};
use crate::error::Error;

/// The state of a client's dialog: this is not about states.
const STATE: &str = "{}";

fn dialect(load: &Load) -> crate::error::Result<Dialect> {
    load.engine
        .dialect()
        .ok_or_else(|| Error::msg("an engine without SQL"))
}

pub(super) fn fill(load: &Load, workload: &Workload) -> crate::error::Result<()> {
    let dialect = dialect(load)?;
    prepare(load, &tables(workload, dialect)?)?;
    let runtime = super::super::runtime()?;
    let storage = runtime.block_on(async { open(load) })?;
    let mut part = 0;
    rows(load, workload, dialect, |all| {
        part += 1;
        let statements = all
            .into_iter()
            .map(|(statement, values)| Statement::new(statement.sql, values));
        let statements = statements.collect();
        runtime
            .block_on(turn(
                &*storage,
                u64::MAX,
                &format!("fill-{part}"),
                statements,
            ))?
            .map_err(|(_, error)| Error::start(error))
    })
}

/// A turn of this client, which commits these statements. The inner failure is the
/// storage's, and whether the turn may have been committed all the same.
async fn turn(
    storage: &dyn Storage,
    client: u64,
    update: &str,
    statements: Vec<Statement>,
) -> crate::error::Result<Result<(), (bool, turnkey_storage::Error)>> {
    let mut granted = match storage.begin(begin(client, update)).await {
        Ok(Begun::Granted(granted)) => granted,
        Ok(Begun::Seen(_)) => return Err(Error::Start("an update's id came twice".to_owned())),
        Err(error) => return Ok(Err((false, error))),
    };
    let commit = Commit {
        statements,
        ..commit(update.to_owned(), STATE.to_owned())
    };
    let committed = storage.commit(&mut granted.grant, commit).await;
    Ok(committed.map_err(|error| (!is_certain(&error), error)))
}

pub(super) fn turns(
    load: &Load,
    workload: &Workload,
    start: impl FnOnce() -> crate::error::Result<Window>,
) -> crate::error::Result<Meter> {
    let transactions = Rc::new(ready(workload, dialect(load)?)?);
    let draws = Rc::new(draws(load, workload));
    lanes::local(async {
        let storage = open(load)?;
        storage.dialogs_with_unsent(1).await.map_err(Error::start)?;
        let meter = Meter::of_kinds(start()?, &workload.names())?;
        let meter = lanes::run(load, meter, |lane, pace, meter| {
            let storage = storage.clone();
            let (transactions, draws) = (transactions.clone(), draws.clone());
            let client = (load.process * load.in_flight + lane) as u64;
            async move {
                while let Some(began) = pace.next().await {
                    let number = draws.transaction();
                    let Some(transaction) = transactions.get(number) else {
                        return Err(Error::msg("a transaction that is not there"));
                    };
                    let drawn = draws.all(&transaction.parameters, lane);
                    let ended = once(&*storage, transaction, &drawn, client).await?;
                    let mut meter = meter.borrow_mut();
                    match ended {
                        Ok(()) => meter.acknowledge_kind(number, began),
                        Err((uncertain, error)) => {
                            if uncertain {
                                meter.uncertain_kind(number);
                            }
                            meter.error(kind(&error));
                        }
                    }
                }
                Ok(())
            }
        });
        meter.await
    })
}

async fn once(
    storage: &dyn Storage,
    transaction: &Ready,
    drawn: &std::collections::BTreeMap<String, turnkey_storage::Value>,
    client: u64,
) -> crate::error::Result<Result<(), (bool, turnkey_storage::Error)>> {
    let mut writes = Vec::new();
    for statement in &transaction.statements {
        let ready = Statement::new(statement.sql.clone(), values(statement, drawn));
        match statement.reads {
            true => {
                if let Err(error) = storage.query(None, ready).await {
                    return Ok(Err((false, error)));
                }
            }
            false => writes.push(ready),
        }
    }
    if writes.is_empty() {
        return Ok(Ok(()));
    }
    let update = format!("{}.{client}", measure::now());
    turn(storage, client, &update, writes).await
}
