//! What all processes of a bot share (the map made before the first fork and the
//! budgets in it), and the small things that every room uses.
//!
//! Imports nothing of ours from other rooms.

pub(crate) mod arrivals;
pub(crate) mod backoff;
pub(crate) mod clock;
pub(crate) mod drain;
pub(crate) mod hints;
pub(crate) mod lines;
pub(crate) mod logfile;
pub(crate) mod met;
pub(crate) mod notable;
pub(crate) mod pacing;
pub(crate) mod rate;
pub(crate) mod remedies;
pub(crate) mod scoreboard;
pub(crate) mod scrub;
pub(crate) mod taken;
pub(crate) mod trends;
