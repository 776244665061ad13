//! Databases and disks under a running bot.

pub(crate) mod backup;
pub(crate) mod copy;
pub(crate) mod disk;
pub(crate) mod litestream;
pub(crate) mod read_only;
pub(crate) mod servers;
pub(crate) mod taken;
pub(crate) mod unwell;
