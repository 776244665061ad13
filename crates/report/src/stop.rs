//! Ctrl-C: noticed by a thread, obeyed by whoever waits.
//!
//! Used by the laboratory and the drill. The signals are caught, not blocked: what is blocked
//! would stay so in every program that is started from here. Children are in process
//! groups of their own, so that a terminal's Ctrl-C comes here alone.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};

/// Whether to stop. Cheap to clone.
#[derive(Clone, Default)]
pub struct Stop(Arc<(Mutex<bool>, Condvar)>);

impl Stop {
    /// Starts to listen for SIGINT, SIGTERM and SIGHUP.
    ///
    /// # Errors
    /// When the system gives no thread or handler.
    pub fn on_signals() -> crate::Result<Self> {
        let stop = Stop::default();
        let told = stop.clone();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let (mut interrupted, mut terminated, mut hung_up) = {
            let _context = runtime.enter();
            (
                signal(SignalKind::interrupt())?,
                signal(SignalKind::terminate())?,
                signal(SignalKind::hangup())?,
            )
        };
        std::thread::Builder::new()
            .name("signals".to_owned())
            .spawn(move || {
                runtime.block_on(async {
                    tokio::select! {
                        _ = interrupted.recv() => {}
                        _ = terminated.recv() => {}
                        _ = hung_up.recv() => {}
                    }
                });
                told.now();
            })?;
        Ok(stop)
    }

    /// Stops everybody who asks.
    pub fn now(&self) {
        *self.0.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.0.1.notify_all();
    }

    /// Whether to stop.
    pub fn asked(&self) -> bool {
        *self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sleeps, or returns earlier when asked to stop; whether it was.
    pub fn sleep(&self, time: Duration) -> bool {
        let asked = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.0.1.wait_timeout_while(asked, time, |asked| !*asked);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }
}
