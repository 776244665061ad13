//! The pages in which this program's memory comes: small ones.
//!
//! Called by `startup.rs` before anything is forked, and by `sys.rs` for what a handler is to
//! become. A huge page has two megabytes, and an allocator that uses a few kilobytes here and
//! there gets many of them: the writer and two workers of an idle bot took 30 MiB with them and
//! take 17 without; turns/s stayed the same within the noise (`bench turn`, 32 and 128
//! connections, three runs of each in turn). Mimalloc's feature `no_thp` only keeps that
//! allocator from asking for them; here they are forbidden to any.

use nix::sys::prctl;

/// From now on this process and all that it starts get no huge pages. Best effort: a kernel
/// without them has nothing to forbid.
pub(crate) fn only_small() {
    let _ = prctl::set_thp_disable(true);
}

/// What the system gives, for another program. Async-signal-safe. Best effort.
#[cfg(feature = "any-language")]
pub(crate) fn any() {
    let _ = prctl::set_thp_disable(false);
}
