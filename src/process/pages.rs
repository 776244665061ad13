//! The pages in which this program's memory comes: small ones.
//!
//! Called by `startup.rs` before anything is forked, and by `sys.rs` for what a handler is to
//! become. A huge page is two megabytes, and whoever uses a few kilobytes here and there in an
//! allocator's arena gets many of them: an idle bot with two workers took 34 MiB with them and
//! takes 15 without, each of 6,000 connections that were kept alive 16 KiB and 10. Turns/s: the same within the noise
//! (`bench turn`, 32 and 128 connections, three runs of each in turn).

use std::sync::atomic::{AtomicBool, Ordering};

use nix::sys::prctl;

/// We have changed what was there before.
static CHANGED: AtomicBool = AtomicBool::new(false);

/// From now on this process and all that it starts get no huge pages. Best effort.
pub(crate) fn only_small() {
    if prctl::get_thp_disable() == Ok(false) && prctl::set_thp_disable(true).is_ok() {
        CHANGED.store(true, Ordering::Relaxed);
    }
}

/// As it was before [`only_small`]: for another program. Async-signal-safe. Best effort.
pub(crate) fn as_before() {
    if CHANGED.load(Ordering::Relaxed) {
        let _ = prctl::set_thp_disable(false);
    }
}
