//! Waiting that ends when the worker is leaving.
//!
//! Every worker has one channel that becomes `true` when its drain begins.

use std::time::Duration;

use tokio::sync::watch;

/// Resolves when the worker is leaving, or is gone.
pub(crate) async fn begins(draining: &mut watch::Receiver<bool>) {
    // Its result is a lock on the value: not to be held while somebody waits. An error
    // means that the worker is gone: the same.
    drop(draining.wait_for(|drains| *drains).await);
}

/// Sleeps; false when the worker began to leave meanwhile. A pause may be longer than a
/// stop may take.
pub(crate) async fn sleep(draining: &watch::Receiver<bool>, pause: Duration) -> bool {
    if pause.is_zero() {
        return true;
    }
    let mut draining = draining.clone();
    tokio::select! {
        biased;
        () = begins(&mut draining) => false,
        () = tokio::time::sleep(pause) => true,
    }
}
