//! Processes: start, stop, signals, supervision, reload, upgrade, privileges, the log.

pub(crate) mod crash;
pub(crate) mod descriptors;
pub(crate) mod log_lines;
pub(crate) mod log_reader;
pub(crate) mod nohup;
pub(crate) mod privileges;
pub(crate) mod reload;
pub(crate) mod signals;
pub(crate) mod single;
pub(crate) mod start;
pub(crate) mod startup;
pub(crate) mod stop;
pub(crate) mod supervise;
pub(crate) mod systemd;
pub(crate) mod upgrade;
