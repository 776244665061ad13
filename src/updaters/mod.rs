//! How updates arrive. Each updater turns what it received into turns and tells
//! the platform how they ended.

pub(crate) mod status;
pub(crate) mod webhooks;
