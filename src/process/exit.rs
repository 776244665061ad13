//! The end of a process: exit codes, for scripts and init systems, and the last lines.

use std::time::Duration;

use crate::author::start_error::StartError;

/// How long an ending process waits for somebody to read what it still has to say.
pub(crate) const LAST_LINES: Duration = Duration::from_millis(50);

/// A clean stop: nothing was cut off.
pub const CLEAN: u8 = 0;
/// It stopped, but turns were cut off at the end of the grace time; or a tool
/// found something wrong.
pub const CUT: u8 = 1;
/// Bad flags or settings, a token that is not known, no right: what only a person can mend.
pub(crate) const BAD_START: u8 = 2;
/// A worker or the writer could not start.
pub(crate) const CANNOT_START: u8 = 3;
/// Workers died again and again.
pub(crate) const CRASH_LOOP: u8 = 4;
/// What was asked for was done, but standard output did not take what there is to say.
pub(crate) const NO_OUTPUT: u8 = 74;
/// Something that is needed is not there yet and may be later: a start that is worth
/// another try. EX_TEMPFAIL of sysexits(3).
pub(crate) const NOT_YET: u8 = 75;
/// The master itself failed.
pub(crate) const BUG: u8 = 70;
/// A worker's, to its master: told by SIGABRT to say what it has in hand, and end.
pub(crate) const ABORTED: u8 = 134;
/// A child's, to its master: nothing is wrong, start another at once.
pub(crate) const START_OVER: u8 = 76;
/// Forced by a second Ctrl-C.
pub const INTERRUPTED: u8 = 130;
/// Forced by SIGQUIT.
pub(crate) const QUIT: u8 = 131;

/// The code of a start that failed.
pub(crate) fn of_start(error: &StartError) -> u8 {
    match error {
        StartError::NotYet(_) => NOT_YET,
        StartError::Refused(_) | StartError::Token(_) => BAD_START,
    }
}
