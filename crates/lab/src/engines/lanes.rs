//! Turns in flight: a lane for each of them, beside the schedule that all follow; and the
//! connections that lanes share.
//!
//! Used by every engine that waits for another process: `ours.rs`, `plain.rs` and what is
//! beside them in `sql/`. Bounds: `in_flight` lanes in a process; in a [`Pool`] `pool`
//! connections.

use std::cell::RefCell;
use std::rc::Rc;

use tokio::sync::Semaphore;
use tokio::task::{JoinSet, LocalSet};

use super::super::measure::Meter;
use super::super::order::Load;
use super::super::pace::Pace;
use crate::error::Error;

/// A process's one thread, on which [`run`] can start lanes.
pub(super) fn local<T>(
    work: impl Future<Output = crate::error::Result<T>>,
) -> crate::error::Result<T> {
    let runtime = super::runtime()?;
    LocalSet::new().block_on(&runtime, work)
}

/// Until all lanes have ended, beside their schedule, if there is one. Within [`local`].
pub(super) async fn run<F: Future<Output = crate::error::Result<()>> + 'static>(
    load: &Load,
    meter: Meter,
    lane: impl Fn(usize, Rc<Pace>, Rc<RefCell<Meter>>) -> F,
) -> crate::error::Result<Meter> {
    let pace = Rc::new(Pace::new(load, meter.window()));
    let meter = Rc::new(RefCell::new(meter));
    let mut lanes = JoinSet::new();
    for number in 0..load.in_flight {
        lanes.spawn_local(lane(number, pace.clone(), meter.clone()));
    }
    let ended = async {
        while let Some(ended) = lanes.join_next().await {
            ended??;
        }
        Ok::<_, Error>(())
    };
    tokio::try_join!(pace.run(), ended)?;
    pace.end(&mut meter.borrow_mut());
    let meter = Rc::try_unwrap(meter).map_err(|_| Error::msg("a lane is left"))?;
    Ok(meter.into_inner())
}

/// Connections that are lent to one lane at a time: first come, first served. A turn waits
/// for one in line, and its wait counts.
pub(super) struct Pool<C> {
    free: Semaphore,
    idle: RefCell<Vec<C>>,
}

impl<C> Pool<C> {
    pub(super) async fn open(
        load: &Load,
        open: impl AsyncFn(&Load) -> crate::error::Result<C>,
    ) -> crate::error::Result<Rc<Self>> {
        let mut idle = Vec::new();
        for _ in 0..load.pool.min(load.in_flight).max(1) {
            idle.push(open(load).await?);
        }
        Ok(Rc::new(Pool {
            free: Semaphore::new(idle.len()),
            idle: RefCell::new(idle),
        }))
    }

    pub(super) async fn take(&self) -> crate::error::Result<C> {
        self.free.acquire().await?.forget();
        let connection = self.idle.borrow_mut().pop();
        connection.ok_or_else(|| Error::msg("a permit without a connection"))
    }

    /// Whoever does not give it back has ended the measurement.
    pub(super) fn give_back(&self, connection: C) {
        self.idle.borrow_mut().push(connection);
        self.free.add_permits(1);
    }

    /// All of them, at the end.
    pub(super) fn leave(&self) -> Vec<C> {
        self.idle.take()
    }
}
