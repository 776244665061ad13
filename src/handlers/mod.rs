//! Who runs the author's code: one file for each kind of handler.
//!
//! Called by `turn/turn.rs`, which knows no state type and no language.

pub(crate) mod rust;
