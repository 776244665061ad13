//! Long lives: random kills, the crash matrix, a day in small.

mod callbacks;
pub(crate) mod day;
pub(crate) mod matrix;
pub(crate) mod soak;
mod timers;
