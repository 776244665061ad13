//! Exponential backoff: pauses that grow with each failure, with jitter, so that callers that
//! failed together do not retry together.

use std::time::Duration;

/// Doubles from a first to a longest pause.
pub(crate) struct Backoff {
    first: Duration,
    longest: Duration,
    next: Duration,
}

impl Backoff {
    pub(crate) fn new(first: Duration, longest: Duration) -> Self {
        Backoff {
            first,
            longest,
            next: first,
        }
    }

    /// Whether nothing has failed since it last worked.
    pub(crate) fn is_fresh(&self) -> bool {
        self.next == self.first
    }

    /// It works.
    pub(crate) fn reset(&mut self) {
        self.next = self.first;
    }

    /// How long to wait now: between a half of the pause and the whole.
    pub(crate) fn pause(&mut self) -> Duration {
        let pause = self.next;
        self.next = (pause * 2).min(self.longest);
        jitter(pause)
    }

    /// The same; longer where somebody asks for it, up to the longest.
    pub(crate) fn pause_for(&mut self, asked: Option<Duration>) -> Duration {
        let pause = self.pause();
        asked.map_or(pause, |asked| pause.max(asked.min(self.longest)))
    }
}

/// Between a half of a pause and the whole, by chance: those who failed together do not
/// come back together.
pub(crate) fn jitter(pause: Duration) -> Duration {
    pause.mul_f64(0.5 + fastrand::f64() / 2.0)
}
