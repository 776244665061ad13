//! Looking again and again for what is about to come, instead of sleeping.
//!
//! Used on both sides of the writer's socket, and by the writer before a sync that others may
//! share. Waking up a sleeping process takes 20 to 40 us,
//! four times in a lone turn: with full sync that was a third of it, without syncs two thirds.
//! With both sides spinning, 1 process with 1 turn in flight went from 247 to 166 us a turn with
//! full sync (3 runs of 3 s) and from 81 to 36 us without, with 60 % of the processor time of before.
//! Whoever has nothing else to do and expects something within [`SPIN`] looks again instead, and
//! between two looks gives the processor to whoever waits for it.
//!
//! It must not cost others anything. So it backs off when spins are in vain, and far when another
//! process wanted the processor meanwhile; and there is none on a single processor.
//! Bounds: [`SPIN`] for a spin, or what its owner says; [`MOST_SKIPPED`] chances passed over after one in vain; [`PAUSE`].

use std::time::{Duration, Instant};

/// How long one spins at most: longer than a commit with its sync takes on a disk of the
/// quick sort (0.1 to 0.25 ms here).
const SPIN: Duration = Duration::from_micros(400);

/// When letting others go first takes longer, another process had the processor: with nobody
/// there it takes one or two microseconds.
const CROWDED: Duration = Duration::from_micros(20);

/// When it takes longer than this, one with real work had it, for a slice of some milliseconds:
/// whoever only sleeps is woken up earlier than that.
const TAKEN: Duration = Duration::from_micros(500);

/// Then there is no spin for so long, which keeps what is lost to a hundredth. With pauses of 16
/// turns instead, beside 18 busy processes, a lone turn took up to half as long again.
const PAUSE: Duration = Duration::from_millis(250);

/// A spin in vain lets one chance pass before the next, then two, four, up to so many.
const MOST_SKIPPED: u32 = 64;

/// One that another process ended lets so many times as many pass: others need the processor
/// more. With 16 processes on 2 processors nothing was left of a gain, nor of a loss.
const WORSE: u32 = 16;

/// Whether to spin, by how it went before.
#[derive(Debug)]
pub(super) struct Spinner {
    /// The longest spin.
    limit: Duration,
    /// Chances to pass over after the next spin in vain; none with one processor.
    penalty: Option<u32>,
    /// Chances still to pass over.
    skip: u32,
    /// While it spins: since when.
    begun: Option<Instant>,
    /// After another process had the processor: no spin before that.
    not_before: Option<Instant>,
}

impl Spinner {
    pub(super) fn new() -> Self {
        Self::of_at_most(SPIN)
    }

    /// One that spins no longer than this.
    pub(super) fn of_at_most(limit: Duration) -> Self {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Spinner {
            limit,
            penalty: (processors > 1).then_some(1),
            skip: 0,
            begun: None,
            not_before: None,
        }
    }

    /// Something small is expected: spins, if that is likely to pay.
    pub(super) fn chance(&mut self) {
        if self.penalty.is_none() {
            return;
        }
        match self.skip.checked_sub(1) {
            Some(left) => self.skip = left,
            None => {
                let now = Instant::now();
                if self.not_before.is_none_or(|time| now >= time) {
                    self.begun = Some(now);
                }
            }
        }
    }

    pub(super) fn is_spinning(&self) -> bool {
        self.begun.is_some()
    }

    /// Lets other processes go first; ends the spin when its time is over or when one of
    /// them wanted the processor.
    pub(super) fn give_way(&mut self) {
        let Some(begun) = self.begun else {
            return;
        };
        let before = Instant::now();
        if before - begun >= self.limit {
            return self.in_vain(1);
        }
        std::thread::yield_now();
        let away = before.elapsed();
        if away > TAKEN {
            self.not_before = Some(before + away + PAUSE);
        }
        if away > CROWDED {
            self.in_vain(WORSE);
        }
    }

    /// It came.
    pub(super) fn came(&mut self) {
        if self.begun.take().is_some() {
            self.penalty = Some(1);
        }
    }

    /// What was hoped for came, be it not all of it: what was in vain before counts no more.
    pub(super) fn paid(&mut self) {
        self.penalty = self.penalty.map(|_| 1);
        self.skip = 0;
    }

    /// It did not come, and will not.
    pub(super) fn missed(&mut self) {
        if self.is_spinning() {
            self.in_vain(1);
        }
    }

    /// There is something else to do than to wait.
    pub(super) fn stop(&mut self) {
        self.begun = None;
    }

    fn in_vain(&mut self, times: u32) {
        self.begun = None;
        if let Some(penalty) = self.penalty {
            self.skip = penalty.saturating_mul(times).min(MOST_SKIPPED);
            self.penalty = Some((self.skip * 2).min(MOST_SKIPPED));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spinner(penalty: Option<u32>) -> Spinner {
        Spinner {
            limit: SPIN,
            penalty,
            skip: 0,
            begun: None,
            not_before: None,
        }
    }

    /// Chances until the next spin.
    fn passed_over(spinner: &mut Spinner) -> u32 {
        (0..)
            .find(|_| {
                spinner.chance();
                spinner.is_spinning()
            })
            .unwrap()
    }

    #[test]
    fn spins_in_vain_become_rare_and_one_that_paid_makes_up() {
        let mut one = spinner(Some(1));
        let mut passed = Vec::new();
        for _ in 0..9 {
            passed.push(passed_over(&mut one));
            one.in_vain(1);
        }
        assert_eq!(passed, [0, 1, 2, 4, 8, 16, 32, 64, 64]);
        assert_eq!(passed_over(&mut one), MOST_SKIPPED);
        one.came();
        assert_eq!(passed_over(&mut one), 0);
        one.in_vain(WORSE);
        assert_eq!(passed_over(&mut one), WORSE);
    }

    #[test]
    fn what_came_in_part_makes_up_too_and_what_did_not_come_does_not() {
        let mut one = spinner(Some(1));
        one.missed();
        assert_eq!(passed_over(&mut one), 0, "it did not spin");
        one.missed();
        assert_eq!(passed_over(&mut one), 1);
        one.in_vain(1);
        one.paid();
        assert_eq!(passed_over(&mut one), 0);
        let mut none = spinner(None);
        none.paid();
        none.chance();
        assert!(!none.is_spinning());
    }

    #[test]
    fn a_spin_ends_by_itself() {
        let mut one = spinner(Some(1));
        one.chance();
        let begun = Instant::now();
        while one.is_spinning() {
            one.give_way();
        }
        // A machine may be slow, but each look is one.
        assert!(begun.elapsed() < Duration::from_secs(10));
        assert!(one.skip > 0);
    }

    #[test]
    fn a_single_processor_never_spins() {
        let mut one = spinner(None);
        one.chance();
        assert!(!one.is_spinning());
    }
}
