//! Prints panic messages without waiting for their reader.
//!
//! The standard library's own hook waits for stderr. An author's hook is left alone.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::panic::{self, PanicHookInfo};

/// Takes the place of the standard library's hook, if nobody else has.
pub(super) fn tell() {
    let hook = panic::take_hook();
    // Taken twice, it is the standard library's: both are the same function then.
    let standard = panic::take_hook();
    let is_standard = std::ptr::eq(&raw const *hook, &raw const *standard);
    panic::set_hook(if is_standard { Box::new(say) } else { hook });
}

fn say(panic: &PanicHookInfo<'_>) {
    let thread = std::thread::current();
    let name = thread.name().unwrap_or("<unnamed>");
    let trace = Backtrace::capture();
    let trace = match trace.status() {
        BacktraceStatus::Captured => format!("stack backtrace:\n{trace}"),
        _ => "note: run with `RUST_BACKTRACE=1` environment variable to display a backtrace\n"
            .to_owned(),
    };
    super::print(&format!("\nthread '{name}' {panic}\n{trace}"));
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One test: there is one hook in a process.
    #[test]
    fn an_authors_hook_stays_and_the_standard_one_goes() {
        let before = panic::take_hook();
        let standard = panic::take_hook();
        tell();
        let ours = panic::take_hook();
        assert!(!std::ptr::eq(&raw const *ours, &raw const *standard));
        panic::set_hook(Box::new(|_| {}));
        tell();
        let kept = panic::take_hook();
        assert!(!std::ptr::eq(&raw const *kept, &raw const *standard));
        assert!(!std::ptr::eq(&raw const *kept, &raw const *ours));
        panic::set_hook(before);
    }
}
