//! One update, from begin to end: `turn.rs` is the order, the other files are its parts.
//!
//! Called by `updaters/`, which bring updates, and by the worker's tasks.

pub(crate) mod alarm;
mod asking;
pub(crate) mod attempts;
pub(crate) mod broadcast;
pub(crate) mod calling;
pub(crate) mod context;
mod gathering;
mod giving_up;
mod inherited;
pub(crate) mod late;
mod left;
mod meeting;
pub(crate) mod names;
pub(crate) mod outcome;
pub(crate) mod past;
pub(crate) mod receipt;
pub(crate) mod recovery;
pub(crate) mod relay;
pub(crate) mod riding;
pub(crate) mod send;
mod stepping;
pub(crate) mod ticking;
pub(crate) mod timing;
pub(crate) mod told;
#[expect(clippy::module_inception, reason = "the room is named after its heart")]
pub(crate) mod turn;
mod typing;
