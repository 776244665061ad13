//! Processes: the master, the one process of `--single-process`, the writer, and what
//! they need of the system.
//!
//! Called by `cli/run.rs`. Only this room forks, and only `sys.rs` is unsafe.

pub(crate) mod arguments;
pub(crate) mod beginning;
pub(crate) mod database;
pub(crate) mod exit;
pub(crate) mod lifeline;
pub(crate) mod lock_note;
pub(crate) mod logfile;
pub(crate) mod master;
pub(crate) mod pages;
pub(crate) mod privileges;
pub(crate) mod signals;
pub(crate) mod single;
pub(crate) mod sockets;
pub(crate) mod startup;
pub(crate) mod sys;
pub(crate) mod systemd;
pub(crate) mod writer;
