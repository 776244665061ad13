//! The figures of the last five minutes, hour and day, in the shared map: what the charts of the
//! status page show, the same whichever worker is asked, however young it is.
//!
//! Every worker with an admin address looks once a second ([`Trends::look`]); whoever finds that a
//! step of a [`Span`] is over makes its point, of the counters that `/metrics` tells. A reader adds
//! the step that is not over yet. Numbers of points are written as in `notable.rs`, so that one that
//! is half written is left out. A worker that is frozen for a whole step between taking a point and
//! writing it may spoil that point. Bound: [`WORDS`] words, 31 KiB, for [`POINTS`] points of each.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::{Ordering::Acquire, Ordering::Relaxed, Ordering::Release, fence};
use std::time::Duration;

use crate::shared::clock::monotonic_ms;
use crate::shared::scoreboard::{BUCKETS, percentile};

/// Points of a span.
pub(crate) const POINTS: usize = 150;

/// Words of a point: its number, when it ended, how long it was, turns, commits, the median and the
/// 99th percentile in microseconds, gauges.
const POINT: usize = 8;

/// Words of a span: when its step is over, how many points there were, the gauges' highest so far,
/// when the step began, counters then; the points.
const SPAN: usize = FIRST + POINTS * POINT;
const DUE: usize = 0;
const MADE: usize = 1;
const IN_FLIGHT: usize = 2;
const WAITING: usize = 3;
const SINCE: usize = 4;
const TURNS: usize = 5;
const COMMITS: usize = 6;
const TIMES: usize = 7;
const FIRST: usize = (TIMES + BUCKETS).next_multiple_of(8);

/// Words that the whole takes in the shared map.
pub(crate) const WORDS: usize = 3 * SPAN;

/// What a chart shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Span {
    #[default]
    Minutes,
    Hour,
    Day,
}

impl Span {
    pub(crate) const ALL: [Span; 3] = [Span::Minutes, Span::Hour, Span::Day];

    /// As it is written: `5m`, `1h`, `1d`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Span::Minutes => "5m",
            Span::Hour => "1h",
            Span::Day => "1d",
        }
    }

    /// The one of this name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Span::ALL.into_iter().find(|span| span.name() == name)
    }

    /// How long it is.
    pub(crate) fn length(self) -> Duration {
        Duration::from_secs(match self {
            Span::Minutes => 5 * 60,
            Span::Hour => 3600,
            Span::Day => 86_400,
        })
    }

    /// Milliseconds of a point.
    fn step(self) -> u64 {
        self.length().as_millis() as u64 / POINTS as u64
    }
}

/// The counters at one moment.
#[derive(Clone)]
pub(crate) struct Sample {
    pub(crate) turns: u64,
    pub(crate) commits: u64,
    pub(crate) in_flight: u64,
    pub(crate) waiting: u64,
    pub(crate) turn_times: [u64; BUCKETS],
}

/// A step of a span.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Point {
    /// How long ago it ended, and how long it was.
    pub(crate) age: Duration,
    pub(crate) length: Duration,
    /// In it.
    pub(crate) turns: u64,
    pub(crate) commits: u64,
    /// Of its turns, in seconds; none when there were none.
    pub(crate) p50: Option<f64>,
    pub(crate) p99: Option<f64>,
    /// The highest in it.
    pub(crate) in_flight: u64,
    pub(crate) waiting: u64,
}

/// See the module's page.
#[derive(Clone, Copy)]
pub(crate) struct Trends {
    words: &'static [AtomicU64],
}

/// A step that is over, or not yet.
struct Made {
    length: u64,
    turns: u64,
    commits: u64,
    p50: u64,
    p99: u64,
    in_flight: u64,
    waiting: u64,
}

impl Trends {
    /// Over [`WORDS`] words of the shared map.
    pub(crate) fn new(words: &'static [AtomicU64]) -> Self {
        Trends { words }
    }

    /// Once a second, in each worker.
    pub(crate) fn look(&self, sample: &Sample) {
        self.look_at(monotonic_ms(), sample);
    }

    /// The points of a span, the oldest first, the one under way at the end.
    pub(crate) fn points(&self, span: Span, sample: &Sample) -> Vec<Point> {
        self.points_at(monotonic_ms(), span, sample)
    }

    fn look_at(&self, now: u64, sample: &Sample) {
        for span in Span::ALL {
            let words = self.span(span);
            words[IN_FLIGHT].fetch_max(sample.in_flight, Relaxed);
            words[WAITING].fetch_max(sample.waiting, Relaxed);
            let due = words[DUE].load(Relaxed);
            if now < due {
                continue;
            }
            let step = span.step();
            // Should nobody have looked for long, that was one long step.
            let next = match due {
                0 => now + step,
                due => due + ((now - due) / step + 1) * step,
            };
            let taken = words[DUE].compare_exchange(due, next, Relaxed, Relaxed);
            if taken.is_err() {
                continue; // Another worker makes it.
            }
            if due != 0 {
                write(words, now, &made(words, now, sample));
            }
            words[SINCE].store(now, Relaxed);
            words[TURNS].store(sample.turns, Relaxed);
            words[COMMITS].store(sample.commits, Relaxed);
            for (word, count) in words[TIMES..].iter().zip(sample.turn_times) {
                word.store(count, Relaxed);
            }
            words[IN_FLIGHT].store(sample.in_flight, Relaxed);
            words[WAITING].store(sample.waiting, Relaxed);
        }
    }

    fn points_at(&self, now: u64, span: Span, sample: &Sample) -> Vec<Point> {
        let words = self.span(span);
        let newest = words[MADE].load(Relaxed);
        let oldest = newest.saturating_sub(POINTS as u64 - 1).max(1);
        let longest = span.length().as_millis() as u64;
        let mut points: Vec<Point> = (oldest..=newest)
            .filter_map(|number| read(words, number))
            .filter(|(ended, _)| now.saturating_sub(*ended) < longest)
            .map(|(ended, made)| made.point(now.saturating_sub(ended)))
            .collect();
        if words[DUE].load(Relaxed) != 0 {
            let open = made(words, now, sample);
            // Of a moment nothing can be told a second.
            if open.length >= span.step() / 2 || points.is_empty() && open.length > 0 {
                points.push(open.point(0));
            }
        }
        points
    }

    fn span(&self, span: Span) -> &'static [AtomicU64] {
        &self.words[span as usize * SPAN..][..SPAN]
    }
}

/// The step that began when the words say.
fn made(words: &[AtomicU64], now: u64, sample: &Sample) -> Made {
    let since = |word: usize, value: u64| value.saturating_sub(words[word].load(Relaxed));
    let times: [u64; BUCKETS] = std::array::from_fn(|n| since(TIMES + n, sample.turn_times[n]));
    let us = |share| percentile(&times, share).map_or(0, |seconds| (seconds * 1e6) as u64);
    Made {
        length: since(SINCE, now),
        turns: since(TURNS, sample.turns),
        commits: since(COMMITS, sample.commits),
        p50: us(0.5),
        p99: us(0.99),
        in_flight: words[IN_FLIGHT].load(Relaxed).max(sample.in_flight),
        waiting: words[WAITING].load(Relaxed).max(sample.waiting),
    }
}

fn place(words: &[AtomicU64], number: u64) -> &[AtomicU64] {
    &words[FIRST + (number % POINTS as u64) as usize * POINT..][..POINT]
}

fn write(words: &[AtomicU64], ended: u64, made: &Made) {
    let number = words[MADE].fetch_add(1, Relaxed) + 1;
    let place = place(words, number);
    // Odd while it is being written; also when the writer died amid it.
    place[0].store(number << 1 | 1, Relaxed);
    fence(Release);
    let gauges =
        made.in_flight.min(u64::from(u32::MAX)) << 32 | made.waiting.min(u64::from(u32::MAX));
    let values = [
        ended,
        made.length,
        made.turns,
        made.commits,
        made.p50,
        made.p99,
        gauges,
    ];
    for (word, value) in place[1..].iter().zip(values) {
        word.store(value, Relaxed);
    }
    place[0].store(number << 1, Release);
}

/// When it ended, and what it was; none when it is being written.
fn read(words: &[AtomicU64], number: u64) -> Option<(u64, Made)> {
    let place = place(words, number);
    let before = place[0].load(Acquire);
    let [ended, length, turns, commits, p50, p99, gauges] =
        std::array::from_fn(|n| place[n + 1].load(Relaxed));
    fence(Acquire);
    let is_whole = before == number << 1 && place[0].load(Relaxed) == before;
    let made = Made {
        length,
        turns,
        commits,
        p50,
        p99,
        in_flight: gauges >> 32,
        waiting: gauges & u64::from(u32::MAX),
    };
    is_whole.then_some((ended, made))
}

impl Made {
    fn point(&self, age: u64) -> Point {
        let seconds = |us: u64| (us > 0).then(|| us as f64 / 1e6);
        Point {
            age: Duration::from_millis(age),
            length: Duration::from_millis(self.length),
            turns: self.turns,
            commits: self.commits,
            p50: seconds(self.p50),
            p99: seconds(self.p99),
            in_flight: self.in_flight,
            waiting: self.waiting,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trends() -> Trends {
        let words: Vec<AtomicU64> = (0..WORDS).map(|_| AtomicU64::new(0)).collect();
        Trends::new(Vec::leak(words))
    }

    /// A bot that makes so many turns a second, and had so many in flight.
    fn at(second: u64, rate: u64, in_flight: u64) -> Sample {
        let mut turn_times = [0; BUCKETS];
        turn_times[20] = second * rate;
        Sample {
            turns: second * rate,
            commits: second * rate / 2,
            in_flight,
            waiting: 0,
            turn_times,
        }
    }

    #[test]
    fn each_span_has_its_points_and_no_more() {
        let trends = trends();
        let seconds = 2 * 86_400;
        let start = 1_000_000;
        for second in 0..=seconds {
            // Two workers look, and one point is made.
            for _ in 0..2 {
                let in_flight = u64::from(second == seconds - 90) * 7;
                trends.look_at(start + second * 1000, &at(second, 10, in_flight));
            }
        }
        let now = start + seconds * 1000;
        for (span, step) in [(Span::Minutes, 2), (Span::Hour, 24), (Span::Day, 576)] {
            let points = trends.points_at(now, span, &at(seconds, 10, 0));
            assert!(
                (POINTS - 2..=POINTS + 1).contains(&points.len()),
                "{}",
                points.len()
            );
            let covered: Duration = points.iter().map(|point| point.length).sum();
            let turns: u64 = points.iter().map(|point| point.turns).sum();
            assert_eq!(turns, covered.as_secs() * 10);
            let whole = &points[1..points.len() - 1];
            assert!(
                whole.iter().all(|p| p.length.as_secs() == step),
                "{whole:?}"
            );
            assert!(points.is_sorted_by(|a, b| a.age > b.age));
            assert!(whole.iter().all(|p| p.p50.is_some_and(|p| p > 0.0)));
            let highest = points.iter().map(|point| point.in_flight).max();
            assert_eq!(highest, Some(7), "however short it was");
        }
    }

    #[test]
    fn the_step_under_way_is_told_and_a_long_silence_is_one_step() {
        let trends = trends();
        let points = |now, second| trends.points_at(now, Span::Day, &at(second, 10, 0));
        assert_eq!(points(1000, 0), []);
        trends.look_at(1000, &at(0, 10, 0));
        assert_eq!(points(6000, 5)[0].turns, 50);
        // The machine slept.
        trends.look_at(10_001_000, &at(10_000, 10, 0));
        let told = points(10_001_000, 10_000);
        assert_eq!((told.len(), told[0].length.as_secs()), (1, 10_000));
        // A point that is half written is left out.
        trends.span(Span::Day)[FIRST + POINT].store(3, Relaxed);
        assert_eq!(points(10_001_000, 10_000), []);
    }
}
