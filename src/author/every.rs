//! Schedules of the bot's own: [`Every`] as its author writes one, [`Declared`] as it was read.
//!
//! Written with `App::every`, or said in a handler's hello; read at the start, and again in each
//! worker. Bounds: [`schedules::MOST`], [`timers::MAX_NAME`].

use serde::Deserialize;
use turnkey_storage::{schedules, timers};

use crate::author::schedule::Schedule;

/// A schedule of the bot's own, as its author writes it.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Every {
    pub(crate) name: String,
    pub(crate) cron: String,
    pub(crate) zone: String,
}

/// A schedule of the bot's own.
#[derive(Clone, Debug)]
pub(crate) struct Declared {
    pub(crate) name: String,
    pub(crate) schedule: Schedule,
}

impl Declared {
    /// Reads all that a bot has.
    ///
    /// # Errors
    /// A sentence: which is wrong, and how.
    pub(crate) fn read_all(every: &[Every]) -> Result<Vec<Self>, String> {
        if every.len() > schedules::MOST {
            let (all, most) = (every.len(), schedules::MOST);
            return Err(format!("there are {all} schedules; {most} is the limit"));
        }
        let read = |(place, one): (usize, &Every)| {
            let name = &one.name;
            if name.is_empty() || name.len() > timers::MAX_NAME {
                return Err(format!(
                    "a schedule's name has 1 to {} bytes",
                    timers::MAX_NAME
                ));
            }
            if every.iter().take(place).any(|other| other.name == *name) {
                return Err(format!("there are two schedules {name:?}"));
            }
            let schedule = Schedule::new(&one.cron, &one.zone);
            Ok(Declared {
                name: name.clone(),
                schedule: schedule.map_err(|why| format!("the schedule {name:?}: {why}"))?,
            })
        };
        every.iter().enumerate().map(read).collect()
    }
}
