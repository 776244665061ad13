//! What authors see: the errors, updates and replies, the turn, user locks.
//!
//! Plain data and traits: nothing here runs a turn. Imports nothing of ours but the storage
//! crate and `shared/`.

mod asking;
mod coming_back;
pub(crate) mod dialog_by;
pub(crate) mod drafts;
pub(crate) mod error;
pub(crate) mod every;
mod hearing;
mod later;
pub(crate) mod list;
pub(crate) mod message;
pub(crate) mod newer;
pub(crate) mod overlap;
mod own_sql;
pub(crate) mod platform;
mod quick_messages;
mod saying;
pub(crate) mod schedule;
pub(crate) mod start_error;
pub(crate) mod steps;
pub(crate) mod turn;
pub(crate) mod user_lock;
