//! Text for people: numbers as they write them, words as a shell reads them, characters that
//! pages may not hold, and standard output that neither panics nor loses a line without a
//! word.
//!
//! Used by the framework's commands, the drill, the laboratory and the tool. Imports
//! nothing of ours.

mod characters;
pub mod numbers;
pub mod output;
mod shell;

pub use characters::is_noncharacter;
pub use shell::{program_name, quoted};
