//! The number of workers: one choice from three settings.

use crate::config::settings::Settings;
use crate::config::{Processes, refuse};

/// What was chosen; that it is not too many the table sees to.
///
/// # Errors
/// More than one was.
pub(super) fn chosen(settings: &Settings) -> crate::StartResult<Processes> {
    let fast = settings.fast.unwrap_or(false);
    let single = settings.single_process.unwrap_or(false);
    match (settings.workers, fast, single) {
        (None, false, false) => Ok(Processes::Workers(1)),
        (None, true, false) => Ok(Processes::Workers(num_cpus::get())),
        (None, false, true) => Ok(Processes::Single),
        (Some(count), false, false) => Ok(Processes::Workers(count)),
        (Some(_), true, _) => {
            refuse("--workers and --fast both say how many workers; give one of them")
        }
        (Some(_), _, true) => {
            refuse("--single-process has no workers; leave out --workers or --single-process")
        }
        (None, true, true) => refuse("--fast and --single-process are opposites; give one of them"),
    }
}
