//! A plain transaction for each turn, over a pool of connections: what `mysql-plain` and
//! `postgres-plain` have in common, so that they are measured alike.
//!
//! Called by `mod.rs` with an engine's connection. Bound: that of [`Pool`].

use super::super::measure::Meter;
use super::super::order::{Load, Window};
use super::super::state::{self, Random};
use super::lanes::{self, Pool};

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
    lanes::local(async {
        let pool = Pool::open(load, C::open).await?;
        let meter = Meter::new(start()?)?;
        let meter = lanes::run(load, meter, |lane, pace, meter| {
            let (pool, load) = (pool.clone(), load.clone());
            async move {
                let mut random = Random::new(load.seed.wrapping_add(lane as u64 * 7919));
                while let Some(began) = pace.next().await {
                    let user = state::user_id(random.below(load.users));
                    let mut connection = pool.take().await?;
                    let ended = connection.turn(&user, load.state_bytes).await?;
                    let failed = !matches!(ended, Ended::Acknowledged);
                    note(ended, &mut meter.borrow_mut(), began);
                    if failed {
                        connection.roll_back().await?;
                    }
                    pool.give_back(connection);
                }
                Ok(())
            }
        });
        let meter = meter.await?;
        for connection in pool.leave() {
            connection.close().await?;
        }
        Ok(meter)
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
