//! What the master and its children say to each other: single bytes over a
//! socketpair, which is also each side's proof that the other lives.
//!
//! Imports nothing of ours.

/// Child to master: I serve.
pub(crate) const READY: u8 = b'R';

/// Master to child: finish what you have, and leave.
pub(crate) const DRAIN: u8 = b'D';
