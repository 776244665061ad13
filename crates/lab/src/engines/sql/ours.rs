//! A workload on Turnkey's engines, as a bot's handler would do it: each transaction is a
//! turn of a dialog of its own client, whose statements travel with its commit. What only
//! reads asks a question, which takes no lock.
//!
//! A `SELECT` among statements that write is asked before the commit, outside its
//! transaction: a handler reads so, too. Its update's id and answer are kept as always.

use std::cell::RefCell;
use std::rc::Rc;

use tokio::task::{JoinSet, LocalSet};
use turnkey_storage::{Begun, Commit, Statement, Storage};

use super::super::super::measure::{self, Meter};
use super::super::super::order::{Load, Window};
use super::super::super::pace::Pace;
use super::super::super::workload::{Dialect, Workload};
use super::super::ours::{begin, commit, kind, open};
use super::{Ready, draws, migrations, ready, rows, values};
use crate::error::Error;
use turnkey_storage::Address;

/// The state of a client's dialog: this is not about states.
const STATE: &str = "{}";

fn dialect(load: &Load) -> crate::error::Result<Dialect> {
    load.engine
        .dialect()
        .ok_or_else(|| Error::msg("an engine without SQL"))
}

pub(super) fn fill(load: &Load, workload: &Workload) -> crate::error::Result<()> {
    if !load.engine.has_writer() {
        let address = load.url.parse::<Address>().map_err(Error::start)?;
        let migrations = migrations(workload, load.engine)?;
        turnkey_storage::Database::at(&address, load.sync.storage())
            .and_then(|database| database.prepare(&migrations))
            .map_err(Error::start)?;
    }
    let dialect = dialect(load)?;
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
    use turnkey_storage::Error as E;
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
    Ok(committed.map_err(|error| {
        let is_certain = matches!(error, E::Stale | E::Full | E::Statement(_));
        (!is_certain, error)
    }))
}

pub(super) fn turns(
    load: &Load,
    workload: &Workload,
    start: impl FnOnce() -> crate::error::Result<Window>,
) -> crate::error::Result<Meter> {
    let transactions = Rc::new(ready(workload, dialect(load)?)?);
    let draws = Rc::new(draws(load, workload));
    let runtime = super::super::runtime()?;
    LocalSet::new().block_on(&runtime, async {
        let storage = open(load)?;
        storage.dialogs_with_unsent(1).await.map_err(Error::start)?;
        let meter = Meter::of_kinds(start()?, &workload.names())?;
        let meter = Rc::new(RefCell::new(meter));
        let pace = Rc::new(Pace::new(load, meter.borrow().window()));
        let mut lanes = JoinSet::new();
        for lane in 0..load.in_flight {
            let (storage, meter, pace) = (storage.clone(), meter.clone(), pace.clone());
            let (transactions, draws) = (transactions.clone(), draws.clone());
            let client = (load.process * load.in_flight + lane) as u64;
            lanes.spawn_local(async move {
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
                Ok::<_, Error>(())
            });
        }
        super::super::all_lanes(lanes, &pace, &meter).await?;
        let meter = Rc::try_unwrap(meter).map_err(|_| Error::msg("a lane is left"))?;
        Ok(meter.into_inner())
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
