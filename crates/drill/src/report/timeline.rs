//! The timeline: one lane for each request around the signal, those that were cut in red.
//!
//! Bound: [`LANES`] requests; failures first, then those that were under way at the
//! signal, then what came after it.

use super::super::record::{Kind, Micros, Record};
use super::super::results::{Report, Round, Showing};
use super::super::verdict::Verdict;
use turnkey_report::svg::{Anchor, Svg};

const WIDTH: f64 = 1000.0;
const LEFT: f64 = 24.0;
const RIGHT: f64 = 24.0;
const TOP: f64 = 132.0;

/// Lanes of a drawing, and their height.
const LANES: usize = 120;
const LANE: f64 = 6.0;

/// The rank of those that were over before the signal, and how many of them are shown.
const EARLIER: u8 = 5;
const FEW: usize = 16;

/// Refused ones look all the same.
const REFUSED: usize = 12;

/// What is shown before the signal, and at most after it.
const BEFORE: Micros = 80_000;
const AFTER: Micros = 12_000_000;

/// A drawing.
pub(super) struct Timeline {
    /// With its ending.
    pub(super) file: String,
    pub(super) caption: String,
    pub(super) svg: String,
}

pub(super) fn draw(report: &Report) -> Vec<Timeline> {
    let shown = report.rounds.iter().filter_map(|round| {
        let showing = round.showing.as_ref()?;
        Some(timeline(round, showing))
    });
    shown.collect()
}

fn timeline(round: &Round, showing: &Showing) -> Timeline {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
    let name: String = round.scenario.chars().map(plain).collect();
    let name = name.trim_matches('-');
    Timeline {
        file: format!("timeline-{name}-{}.svg", round.load),
        caption: format!(
            "{} under the load {}, round {}: {} of {} requests, a line each, one below the other as they \
             began. A line goes from the request's begin to its end; a red one was cut or not answered. \
             Whoever points at one with the mouse reads what became of it.",
            round.scenario,
            round.load,
            round.repeat,
            chosen(showing).len(),
            round.requests
        ),
        svg: Drawing::new(round, showing).finish(),
    }
}

/// What is drawn first when not all can be.
fn rank(record: &Record, showing: &Showing) -> u8 {
    let verdict = record.verdict(&showing.moments);
    match () {
        () if verdict.is_failure() => 0,
        () if matches!(verdict, Verdict::WithWorker | Verdict::Forced) => 1,
        () if record.spans(showing.moments.signal) => 2,
        () if record.kind != Kind::Steady => 3,
        () if Some(record.start) > showing.moments.signal => 4,
        () => EARLIER,
    }
}

fn chosen(showing: &Showing) -> Vec<&Record> {
    let signal = showing.moments.signal.unwrap_or_default();
    let near = |record: &&Record| {
        record.end + BEFORE >= signal && record.start <= signal.saturating_add(AFTER)
    };
    let mut refused = 0;
    let few = |record: &&Record| {
        let is_refusal = record.verdict(&showing.moments) == Verdict::Refused;
        refused += usize::from(is_refusal);
        !is_refusal || refused <= REFUSED
    };
    let mut records: Vec<&Record> = showing.records.iter().filter(near).filter(few).collect();
    // The last ones before the signal, the first ones after it.
    let order = |record: &&Record| match rank(record, showing) {
        EARLIER => (EARLIER, Micros::MAX - record.start),
        rank => (rank, record.start),
    };
    records.sort_by_key(order);
    let earlier = records
        .iter()
        .filter(|r| rank(r, showing) == EARLIER)
        .count();
    records.truncate(records.len() - earlier.saturating_sub(FEW));
    records.truncate(LANES);
    records.sort_by_key(|record| record.start);
    records
}

struct Drawing<'a> {
    svg: Svg,
    showing: &'a Showing,
    signal: Micros,
    from: Micros,
    until: Micros,
    bottom: f64,
}

impl<'a> Drawing<'a> {
    fn new(round: &Round, showing: &'a Showing) -> Self {
        let signal = showing.moments.signal.unwrap_or_default();
        let records = chosen(showing);
        let last = records
            .iter()
            .map(|record| record.end)
            .max()
            .unwrap_or(signal);
        let last = last.max(showing.left.unwrap_or_default());
        let from = signal.saturating_sub(BEFORE);
        let until = last.clamp(signal + 4 * BEFORE, signal + AFTER);
        let title = format!(
            "{} · {} · every request around the signal",
            round.scenario, round.load
        );
        let mut svg = Svg::new(WIDTH, &title);
        svg.text(LEFT, 32.0, "title", Anchor::Start, &title);
        let mut drawing = Drawing {
            svg,
            showing,
            signal,
            from,
            until: until + (until - from) / 30,
            bottom: TOP + LANE * records.len() as f64 + 6.0,
        };
        drawing.about(round);
        drawing.axis();
        for (lane, record) in records.iter().enumerate() {
            drawing.lane(TOP + LANE * lane as f64, record);
        }
        drawing.moments();
        drawing
    }

    fn finish(self) -> String {
        self.svg.finish(self.bottom + 44.0)
    }

    fn x(&self, moment: Micros) -> f64 {
        let moment = moment.clamp(self.from, self.until);
        let share = (moment - self.from) as f64 / (self.until - self.from).max(1) as f64;
        LEFT + share * (WIDTH - LEFT - RIGHT)
    }

    /// What was counted, and what the colours mean.
    fn about(&mut self, round: &Round) {
        let counts: Vec<String> = Verdict::ALL
            .into_iter()
            .filter(|verdict| round.number(*verdict) > 0)
            .map(|verdict| format!("{} {}", round.number(verdict), verdict))
            .collect();
        self.svg
            .text(LEFT, 53.0, "sub", Anchor::Start, &counts.join(", "));
        let mut x = LEFT;
        let legend = [
            ("pale", "connecting"),
            ("c6", "sending"),
            ("c0", "waiting"),
            ("c4", "reading"),
            ("bad", "cut or unanswered"),
            ("c1", "lost as it must be"),
            ("c3", "refused"),
        ];
        for (colour, text) in legend {
            self.bar(x, 66.0, (12.0, 12.0), colour, text);
            self.svg.text(x + 18.0, 76.5, "legend", Anchor::Start, text);
            x += 18.0 + 7.2 * text.len() as f64 + 18.0;
        }
    }

    fn bar(&mut self, x: f64, y: f64, size: (f64, f64), colour: &str, hint: &str) {
        match colour.strip_prefix('c').and_then(|n| n.parse().ok()) {
            Some(number) => self.svg.bar(x, y, size, number, hint),
            None => self.svg.bar_in(x, y, size, colour, hint),
        }
    }

    fn axis(&mut self) {
        let span = (self.until - self.signal) as f64 / 1e6;
        let step = [0.05, 0.1, 0.2, 0.5, 1.0, 2.0]
            .into_iter()
            .find(|step| span / step <= 10.0)
            .unwrap_or(5.0);
        let mut at = 0.0;
        while at <= span {
            let x = self.x(self.signal + (at * 1e6) as Micros);
            self.svg.line((x, TOP - 6.0), (x, self.bottom), "grid");
            let digits = if step < 0.1 { 2 } else { 1 };
            self.svg.text(
                x,
                self.bottom + 16.0,
                "tick",
                Anchor::Middle,
                &format!("{at:.digits$}"),
            );
            at += step;
        }
        let middle = WIDTH / 2.0;
        self.svg.text(
            middle,
            self.bottom + 34.0,
            "sub",
            Anchor::Middle,
            "seconds after the signal",
        );
    }

    fn lane(&mut self, y: f64, record: &Record) {
        let verdict = record.verdict(&self.showing.moments);
        let hint = self.hint(record, verdict);
        let (start, end) = (self.x(record.start), self.x(record.end));
        let height = LANE - 1.5;
        let connected = record.connected.map_or(end, |moment| self.x(moment));
        let whole = match verdict {
            Verdict::Refused => Some("c3"),
            Verdict::WithWorker | Verdict::Forced => Some("c1"),
            verdict if verdict.is_failure() => Some("bad"),
            _ => None,
        };
        if let Some(colour) = whole {
            let least = 3.0;
            self.bar(start, y, ((end - start).max(least), height), colour, &hint);
            return;
        }
        let sent = record.all_sent.map_or(end, |moment| self.x(moment));
        let read = record.first_read.map_or(end, |moment| self.x(moment));
        let parts = [
            (start, connected, "pale"),
            (connected.max(start), sent, "c6"),
            (sent, read, "c0"),
            (read, end, "c4"),
        ];
        // One that is too short to be seen gets a dot of what it mostly did.
        if end - start < 2.0 {
            self.bar(start, y, (2.0, height), "c0", &hint);
            return;
        }
        for (from, to, colour) in parts {
            if to > from {
                self.bar(from, y, (to - from, height), colour, &hint);
            }
        }
    }

    fn hint(&self, record: &Record, verdict: Verdict) -> String {
        let ms = |moment: Micros| (moment as f64 - self.signal as f64) / 1000.0;
        let how = match verdict {
            Verdict::Cut | Verdict::WithWorker | Verdict::Forced => format!(": {}", record.how()),
            _ => record
                .status
                .map_or(String::new(), |status| format!(" ({status})")),
        };
        format!(
            "request {} of client {}, {}, {:.1} to {:.1} ms, {} of {} bytes sent, {} read: {verdict}{how}",
            record.n,
            record.client,
            record.kind.name(),
            ms(record.start),
            ms(record.end),
            record.sent,
            record.size,
            record.read,
        )
    }

    /// Vertical lines, each with its name in a row of its own.
    fn moments(&mut self) {
        let moments = [
            (Some(self.signal), "signal", "mark"),
            (self.showing.moments.second, "second signal", "mark"),
            (self.showing.stopped_listening, "nobody listens", "soft"),
            (self.showing.successor, "new worker serves", "soft"),
            (self.showing.left, "left", "soft"),
        ];
        let mut ends = [f64::MIN; 2];
        for (moment, name, class) in moments {
            let Some(moment) = moment else { continue };
            if moment > self.until {
                continue;
            }
            let x = self.x(moment);
            self.svg.line((x, TOP - 10.0), (x, self.bottom), class);
            let width = 7.0 * name.len() as f64;
            let (from, anchor) = match x + width > WIDTH - RIGHT {
                true => (x - width, Anchor::End),
                false => (x, Anchor::Start),
            };
            let row = ends.iter().position(|end| *end < from).unwrap_or(1);
            ends[row] = from + width + 8.0;
            self.svg
                .text(x, TOP - 14.0 - 15.0 * row as f64, "value", anchor, name);
        }
    }
}
