//! What must not have happened before the program obeys its command line.
//!
//! Called by `cli/mod.rs` first of all. Invariant: inside an async runtime no command runs,
//! whatever it is: the runtime's threads could not be forked beside, and each command has a
//! runtime of its own, which cannot start within another.

use crate::author::start_error::{StartError, StartResult};

/// Whether the program is where it can fork.
///
/// # Errors
/// It is inside an async runtime; with what to write instead.
pub(crate) fn check() -> StartResult {
    if tokio::runtime::Handle::try_current().is_err() {
        return Ok(());
    }
    Err(StartError::Refused(format!(
        "main is async (#[tokio::main]), and processes cannot be forked inside a runtime: each \
         worker starts its own, in which the handler may do all that is async. Write a plain \
         main:\n{MAIN}"
    )))
}

/// The three lines.
const MAIN: &str = "
    fn main() -> std::process::ExitCode {
        App::new(handle).run()
    }";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_runtime_is_noticed_and_the_remedy_is_told() {
        assert_eq!(check(), Ok(()));
        let runtime = tokio::runtime::Builder::new_current_thread();
        let inside = { runtime }.build().unwrap().block_on(async { check() });
        let Err(StartError::Refused(words)) = inside else {
            panic!("{inside:?}")
        };
        assert!(words.contains("#[tokio::main]"), "{words}");
        assert!(words.ends_with(MAIN), "{words}");
    }
}
