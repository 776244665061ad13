//! The clock that orders updates and decides when something is due.
//!
//! Used by [`Arrival`](crate::Arrival) and by all code that writes or reads `due` in the inbox.
//! It gives microseconds since 1970, for people to read, but follows the machine's monotonic
//! clock: setting the wall clock does not make it jump back, so no later update can overtake an
//! earlier one, and none is put off.
//!
//! Invariants: it never goes back while the program runs, in any of its processes (they share
//! two words, see [`share`]); after a start it is later than every arrival in the inbox
//! ([`not_before`]). If the wall clock is set forward, it follows, so that displayed times are
//! right again; if it is set back, this clock waits for it.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::time::{ClockId, clock_gettime};

/// Smaller steps are how a wall clock is kept right, and not worth a word.
const STEP_US: i64 = 2_000_000;

/// What is added to the machine's clock: two's complement, 0 while nobody has asked.
static OWN: [AtomicU64; 2] = [AtomicU64::new(0), AtomicU64::new(0)];

static SHARED: OnceLock<[&'static AtomicU64; 2]> = OnceLock::new();

/// Has all processes of a program keep one clock, in two words that they share. To be
/// called once, before the first fork.
pub fn share(words: [&'static AtomicU64; 2]) {
    let words = SHARED.get_or_init(|| words);
    // It begins where this process is.
    words[0].fetch_max(offset(), SeqCst);
}

fn words() -> [&'static AtomicU64; 2] {
    match SHARED.get() {
        Some(words) => *words,
        None => [&OWN[0], &OWN[1]],
    }
}

/// Microseconds since the machine was started, also those in which it slept.
fn running_us() -> i64 {
    clock_gettime(ClockId::CLOCK_BOOTTIME)
        .map_or(0, |t| t.tv_sec() * 1_000_000 + t.tv_nsec() / 1000)
}

fn wall_us() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_micros() as i64)
}

/// What leads from the machine's clock to the wall's now; at least 1, so that 0 is nothing.
fn to_wall() -> u64 {
    (wall_us() - running_us()).max(1).unsigned_abs()
}

fn offset() -> u64 {
    match words()[0].load(SeqCst) {
        0 => {
            let now = to_wall();
            words()[0].fetch_max(now, SeqCst).max(now)
        }
        offset => offset,
    }
}

/// Now, in microseconds since 1970.
pub fn now_us() -> i64 {
    running_us() + offset() as i64
}

/// Now, in milliseconds since 1970.
pub fn now_ms() -> i64 {
    now_us() / 1000
}

/// From now on it is later than this: what arrived by an earlier clock stays earlier.
pub fn not_before(us: i64) {
    let least = us.saturating_add(1).saturating_sub(running_us());
    offset();
    words()[0].fetch_max(least.max(1).unsigned_abs(), SeqCst);
}

/// A wall clock that was set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Jump {
    /// By so much.
    Forward(Duration),
    /// By so much.
    Back(Duration),
}

/// Looks at the wall clock: what happened to it since some process looked last. Each jump
/// is told once.
pub fn follow() -> Option<Jump> {
    step(words(), to_wall())
}

fn step([ours, seen]: [&AtomicU64; 2], wall: u64) -> Option<Jump> {
    ours.fetch_max(wall, SeqCst);
    let before = seen.swap(wall, SeqCst);
    let by = (wall as i64).saturating_sub(before as i64);
    if before == 0 || by.abs() < STEP_US {
        return None;
    }
    let size = Duration::from_micros(by.unsigned_abs());
    Some(match by > 0 {
        true => Jump::Forward(size),
        false => Jump::Back(size),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_follows_forward_and_never_goes_back() {
        let [ours, seen] = [AtomicU64::new(0), AtomicU64::new(0)];
        let day = 86_400_000_000;
        let start = 1_000 * day;
        let look = |wall| (step([&ours, &seen], wall), ours.load(SeqCst));
        assert_eq!(look(start), (None, start));
        assert_eq!(
            look(start + 1_000_000),
            (None, start + 1_000_000),
            "a small step"
        );
        let ahead = start + day;
        let forward = Jump::Forward(Duration::from_micros(day - 1_000_000));
        assert_eq!(look(ahead), (Some(forward), ahead));
        assert_eq!(look(ahead), (None, ahead), "told once");
        let back = Jump::Back(Duration::from_micros(day));
        assert_eq!(look(start), (Some(back), ahead), "it waits");
        assert_eq!(look(start), (None, ahead));
    }

    #[test]
    fn it_is_later_than_what_is_there() {
        let then = now_us() + 3_600_000_000;
        not_before(then);
        assert!(now_us() > then);
        let now = now_us();
        not_before(0);
        assert!(now_us() >= now);
    }
}
