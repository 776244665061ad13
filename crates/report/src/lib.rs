//! What the reports of measurements share: drawing, the page, files, figures, what the
//! machine is, and Ctrl-C.
//!
//! Used by `turnkey-drill` and `turnkey-lab`, and of no use alone. Knows nothing of what
//! is measured.

mod error;
pub mod figures;
pub mod files;
pub mod machine;
pub mod page;
pub mod stop;
pub mod svg;

pub use error::{Error, Result};

/// Writes a line to stderr, if there is one: whoever watches may have gone.
#[macro_export]
macro_rules! say {
    ($($argument:tt)*) => {{
        use std::io::Write;
        // In one piece: other processes write there, too.
        let line = format!("{}\n", format_args!($($argument)*));
        drop(std::io::stderr().write_all(line.as_bytes()));
    }};
}
