//! A bot whose `main` is async, as a program with tokio often begins: it is refused.
//!
//! Built for the whole-program tests of starts that fail.

use std::process::ExitCode;

use turnkey::{App, Turn};

async fn handle(_: &mut Turn<()>) -> turnkey::Result<()> {
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    App::new(handle).run()
}
