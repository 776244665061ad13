//! The program `turnkey`: new projects, the drill, the laboratory, packages.

pub(crate) mod bench;
pub(crate) mod bench_own;
pub(crate) mod bench_servers;
pub(crate) mod drill;
pub(crate) mod drill_pages;
pub(crate) mod drill_systemd;
pub(crate) mod new;
pub(crate) mod new_handlers;
pub(crate) mod packages;
pub(crate) mod packaging;
pub(crate) mod testing;
