//! Messages between the master and its children: single bytes over a socketpair, which also
//! shows each side that the other is alive.
//!
//! Imports nothing of ours.

/// Child to master, and a new master to the one it replaces: I serve.
pub(crate) const READY: u8 = b'R';

/// Child to master: what I had in hand, as text, follows until the end of the line.
pub(crate) const LAST_WORDS: u8 = b'W';

/// A new master to the one it replaces: the database has to be changed first, and
/// for that everybody must have left it.
pub(crate) const YIELD: u8 = b'Y';

/// Master to child: finish what you have, and leave.
pub(crate) const DRAIN: u8 = b'D';

/// Master to worker: the same; others serve on, and what is still in the queue of
/// connections is theirs.
pub(crate) const LEAVE: u8 = b'L';
