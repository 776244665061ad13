//! For the people who run the bot: the status page and metrics, backups, the lines at start and
//! end.
//!
//! May use every room below; started by the worker and the process room.

pub(crate) mod admin;
pub(crate) mod backup;
pub(crate) mod banner;
