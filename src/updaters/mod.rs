//! How updates arrive. Each updater turns what it received into turns and tells
//! the platform how they ended.

pub(crate) mod account;
pub(crate) mod body;
pub(crate) mod callback;
pub(crate) mod own_name;
pub(crate) mod polling;
pub(crate) mod registration;
pub(crate) mod rpc;
pub(crate) mod status;
pub(crate) mod webhooks;
mod window;
