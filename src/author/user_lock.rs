//! A user lock that the author provides, taken before the database's.
//!
//! The database's lock alone keeps every promise of a turn. An author adds another
//! ([`App::user_lock`](crate::App::user_lock)) if a second system with its own lock serves the
//! same users. `turn.rs` takes it before a turn begins, waits for it at most `--lock-wait`, and
//! drops it when the turn has ended, however it ended. `testing.rs` tests such a lock.

use std::future::Future;
use std::pin::Pin;

use crate::author::error::Result;
use crate::author::message::DialogKey;

/// What [`UserLock::acquire`] returns.
pub type LockFuture<'a> = Pin<Box<dyn Future<Output = Result<Box<dyn Held>>> + 'a>>;

/// A lock for each user, with a queue.
///
/// * **One holder.** Whoever acquires a user's lock waits until the last holder's
///   [`Held`] was dropped, in whichever worker that is.
/// * **First come, first served**, in one worker at least.
/// * **Nobody else waits.** A user's lock holds up no other user.
/// * **Waiting can be given up**: the future is dropped when `--lock-wait` is over. It
///   then leaves the queue, and holds nothing.
/// * **A dead worker holds nothing.**
///
/// One is made in each worker, after the fork, and stays on its one thread. Waiting must
/// not block that thread. `examples/custom_lock.rs` has a whole one, and
/// [`testing::check_user_lock`](crate::testing::check_user_lock) tries a lock out.
///
/// ```
/// use std::sync::Arc;
/// use turnkey::{DialogKey, Held, LockFuture, UserLock};
///
/// /// One lock for everybody: right, and slow.
/// struct Everybody(Arc<tokio::sync::Mutex<()>>);
///
/// impl UserLock for Everybody {
///     fn acquire<'a>(&'a self, _: &'a DialogKey) -> LockFuture<'a> {
///         Box::pin(async {
///             let held: Box<dyn Held> = Box::new(self.0.clone().lock_owned().await);
///             Ok(held)
///         })
///     }
/// }
/// ```
pub trait UserLock {
    /// Waits for the lock of a user.
    ///
    /// # Errors
    /// When it cannot be had. The update is then refused, and the platform sends it again.
    fn acquire<'a>(&'a self, user: &'a DialogKey) -> LockFuture<'a>;
}

/// A lock that is held; dropping it gives it back. Any type is one: it is its `Drop`
/// that counts.
pub trait Held {}

impl<T> Held for T {}

/// Makes a lock, in each worker after the fork.
pub(crate) type LockFactory = Box<dyn Fn() -> Result<Box<dyn UserLock>>>;
