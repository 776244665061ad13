//! When turns begin: the next when one ends (closed loop), or on a schedule that does not
//! wait for anybody (open loop).
//!
//! Used by every engine's load. In an open loop a turn's latency counts from when it was
//! due: what a stalled engine could not begin is not left out (coordinated omission), and
//! what it has not begun at the end counts with the time it has waited so far. Bound: only
//! numbers are kept of what is due, whatever the rate.

use std::cell::Cell;
use std::os::fd::AsFd;
use std::time::Duration;

use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use tokio::net::unix::pipe::Receiver;
use tokio::sync::Semaphore;

use super::measure::{self, Meter};
use super::order::{Load, Stall, Window};

/// The moments at which one process's turns are due.
#[derive(Clone, Copy, Debug)]
struct Schedule {
    begin: u64,
    until: u64,
    /// Between two turns of this process, in nanoseconds.
    step: f64,
    /// Of its first one: the processes take turns.
    first: f64,
}

impl Schedule {
    fn due(&self, number: u64) -> u64 {
        self.begin + (self.first + self.step * number as f64) as u64
    }

    /// How many are due by then.
    fn count(&self, moment: u64) -> u64 {
        let since = moment.min(self.until).saturating_sub(self.begin) as f64 - self.first;
        if since < 0.0 {
            return 0;
        }
        (since / self.step) as u64 + 1
    }
}

/// Lets turns begin.
pub(crate) struct Pace {
    window: Window,
    schedule: Option<Schedule>,
    stall: Option<Stall>,
    /// Of a schedule: due, and not begun.
    due: Semaphore,
    begun: Cell<u64>,
}

impl Pace {
    pub(crate) fn new(load: &Load, window: Window) -> Self {
        let schedule = load.rate.map(|rate| {
            let between = 1e9 / rate as f64;
            Schedule {
                begin: window.begin,
                until: window.until,
                step: between * load.processes as f64,
                first: between * load.process as f64,
            }
        });
        Pace {
            window,
            schedule,
            stall: load.stall,
            due: Semaphore::new(0),
            begun: Cell::new(0),
        }
    }

    fn take(&self) -> u64 {
        let number = self.begun.get();
        self.begun.set(number + 1);
        number
    }

    /// How long nothing may begin from now on.
    fn stalled(&self) -> Option<Duration> {
        let stall = self.stall?;
        let from = self.window.from + stall.after;
        let now = measure::now();
        (from..from + stall.lasting)
            .contains(&now)
            .then(|| Duration::from_nanos(from + stall.lasting - now))
    }

    /// Waits for the next turn: the moment from which its latency counts, or none when
    /// the window is over.
    pub(crate) async fn next(&self) -> Option<u64> {
        let began = match self.schedule {
            None if measure::now() >= self.window.until => return None,
            None => measure::now(),
            Some(schedule) => {
                self.due.acquire().await.ok()?.forget();
                schedule.due(self.take())
            }
        };
        if let Some(time) = self.stalled() {
            tokio::time::sleep(time).await;
        }
        Some(began)
    }

    /// The same for an engine that does one thing at a time. `joined` is when the turn
    /// joined its queue, in a closed loop.
    pub(crate) fn next_blocking(&self, joined: u64) -> Option<u64> {
        if measure::now() >= self.window.until {
            return None;
        }
        let began = match self.schedule {
            None => joined,
            Some(schedule) => {
                let due = schedule.due(self.begun.get());
                if due >= self.window.until {
                    return None;
                }
                let left = due.saturating_sub(measure::now());
                if left > 0 {
                    std::thread::sleep(Duration::from_nanos(left));
                }
                self.take();
                due
            }
        };
        if let Some(time) = self.stalled() {
            std::thread::sleep(time);
        }
        Some(began)
    }

    /// Says what is due, until the window is over. Beside the lanes that call
    /// [`Self::next`].
    pub(crate) async fn run(&self) -> crate::error::Result<()> {
        let Some(schedule) = self.schedule else {
            return Ok(());
        };
        // Tokio's own timers are a millisecond apart.
        let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, TimerFlags::TFD_NONBLOCK)?;
        // To tokio it is something that can be read when the time has come.
        let rung = timer.as_fd().try_clone_to_owned()?;
        let rung = Receiver::from_owned_fd_unchecked(rung)?;
        let mut released = 0;
        while measure::now() < self.window.until {
            let count = schedule.count(measure::now());
            self.due.add_permits((count - released) as usize);
            released = count;
            let next = schedule.due(released).min(self.window.until);
            let left = next.saturating_sub(measure::now());
            if left == 0 {
                tokio::task::yield_now().await;
                continue;
            }
            let after = TimeSpec::from_duration(Duration::from_nanos(left));
            timer.set(Expiration::OneShot(after), TimerSetTimeFlags::empty())?;
            rung.readable().await?;
            // How often it rang is of no interest; without reading it would go on.
            drop(rung.try_read(&mut [0; 8]));
        }
        self.due.close();
        Ok(())
    }

    /// At the end: what was due and not begun counts with the time that it has waited.
    pub(crate) fn end(&self, meter: &mut Meter) {
        let Some(schedule) = self.schedule else {
            return;
        };
        let all = schedule.count(self.window.until.saturating_sub(1));
        let before = schedule.count(self.window.from.saturating_sub(1));
        meter.due(all - before);
        let now = measure::now();
        for number in self.begun.get()..all {
            meter.not_begun(schedule.due(number), now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule(process: usize) -> Schedule {
        Schedule {
            begin: 1000,
            until: 1_000_001_000,
            step: 2e6,
            first: 1e6 * process as f64,
        }
    }

    #[test]
    fn processes_take_turns_and_keep_the_rate() {
        let (a, b) = (schedule(0), schedule(1));
        assert_eq!((a.due(0), b.due(0), a.due(1)), (1000, 1_001_000, 2_001_000));
        // 1,000 a second in two processes, for a second.
        assert_eq!(a.count(a.until - 1), 500);
        assert_eq!(b.count(b.until - 1), 500);
        assert_eq!((a.count(0), b.count(1000), a.count(1000)), (1, 0, 1));
        for number in [0, 7, 499] {
            assert_eq!(a.count(a.due(number)), number + 1);
        }
    }
}
