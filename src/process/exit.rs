//! Exit codes, for scripts and init systems.

/// A clean stop: nothing was cut off.
pub(crate) const CLEAN: u8 = 0;
/// It stopped, but turns were cut off at the end of the grace time; or a tool
/// found something wrong.
pub(crate) const CUT: u8 = 1;
/// Bad flags or settings, or something that is needed cannot be had.
pub(crate) const BAD_START: u8 = 2;
/// A worker or the writer could not start.
pub(crate) const CANNOT_START: u8 = 3;
/// Workers died again and again.
pub(crate) const CRASH_LOOP: u8 = 4;
/// What was asked for was done, but standard output did not take what there is to say.
pub(crate) const NO_OUTPUT: u8 = 74;
/// The master itself failed.
pub(crate) const BUG: u8 = 70;
/// A worker's, to its master: told by SIGABRT to say what it has in hand, and end.
pub(crate) const ABORTED: u8 = 134;
/// A child's, to its master: nothing is wrong, start another at once.
pub(crate) const START_OVER: u8 = 75;
/// Forced by a second Ctrl-C.
pub(crate) const INTERRUPTED: u8 = 130;
/// Forced by SIGQUIT.
pub(crate) const QUIT: u8 = 131;
