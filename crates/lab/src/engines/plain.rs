//! A plain transaction for each turn, over a pool of connections: what `mysql-plain` and
//! `postgres-plain` have in common, so that they are measured alike.
//!
//! Called by `mod.rs` with an engine's connection. Bounds: `pool` connections a process;
//! a turn waits for one in line, and its wait counts.

use std::cell::RefCell;
use std::rc::Rc;

use tokio::sync::Semaphore;
use tokio::task::{JoinSet, LocalSet};

use super::super::measure::Meter;
use super::super::order::{Load, Window};
use super::super::pace::Pace;
use super::super::state::{self, Random};
use crate::error::Error;

/// How a turn ended. What is told is the kind of error.
pub(super) enum Ended {
    Acknowledged,
    /// It had no effect.
    Refused(String),
    /// It may have been committed.
    Uncertain(String),
}

/// A connection that does one turn at a time.
pub(super) trait Connection: Sized {
    async fn open(load: &Load) -> crate::error::Result<Self>;

    /// An error ends the measurement.
    async fn turn(&mut self, user: &str, state_bytes: usize) -> crate::error::Result<Ended>;

    /// After a turn that was not acknowledged.
    async fn roll_back(&mut self) -> crate::error::Result<()>;

    async fn close(self) -> crate::error::Result<()>;
}

pub(super) fn turns<C: Connection + 'static>(
    load: &Load,
    start: impl FnOnce() -> crate::error::Result<Window>,
) -> crate::error::Result<Meter> {
    let runtime = super::runtime()?;
    LocalSet::new().block_on(&runtime, async {
        let mut pool = Vec::new();
        for _ in 0..load.pool.min(load.in_flight).max(1) {
            pool.push(C::open(load).await?);
        }
        // First come, first served.
        let free = Rc::new(Semaphore::new(pool.len()));
        let pool = Rc::new(RefCell::new(pool));
        let meter = Rc::new(RefCell::new(Meter::new(start()?)?));
        let pace = Rc::new(Pace::new(load, meter.borrow().window()));
        let mut lanes = JoinSet::new();
        for lane in 0..load.in_flight {
            let (pool, free, meter, load) =
                (pool.clone(), free.clone(), meter.clone(), load.clone());
            let pace = pace.clone();
            lanes.spawn_local(async move {
                let mut random = Random::new(load.seed.wrapping_add(lane as u64 * 7919));
                while let Some(began) = pace.next().await {
                    let user = state::user_id(random.below(load.users));
                    let _permit = free.acquire().await?;
                    let Some(mut connection) = pool.borrow_mut().pop() else {
                        return Err(Error::msg("a permit without a connection"));
                    };
                    let ended = connection.turn(&user, load.state_bytes).await?;
                    let failed = !matches!(ended, Ended::Acknowledged);
                    note(ended, &mut meter.borrow_mut(), began);
                    if failed {
                        connection.roll_back().await?;
                    }
                    pool.borrow_mut().push(connection);
                }
                Ok::<_, Error>(())
            });
        }
        super::all_lanes(lanes, &pace, &meter).await?;
        for connection in pool.take() {
            connection.close().await?;
        }
        let meter = Rc::try_unwrap(meter).map_err(|_| Error::msg("a lane is left"))?;
        Ok(meter.into_inner())
    })
}

fn note(ended: Ended, meter: &mut Meter, began: u64) {
    match ended {
        Ended::Acknowledged => meter.acknowledge(began),
        Ended::Refused(kind) => meter.error(kind),
        Ended::Uncertain(kind) => {
            meter.error(kind);
            meter.uncertain();
        }
    }
}
