//! The charts of a report: which figures go where.
//!
//! For each sync level and size of a state: turns a second by processes, the same by turns
//! in flight, latencies and processor time in the busiest situation; of a sweep of rates
//! what `load.rs` draws instead. A chart that would show nothing is left out.

use super::super::judge::CEILING;
use super::super::results::{Median, Results, engine_with};
use super::super::verdict::{count, durability};
use super::panels::{FILLED, LEFT, LEGIBLE, Plots, TOP, WIDTH, compact, plain, round_time};
use turnkey_report::figures::{short, thousands, time};
use turnkey_report::svg::{Anchor, Svg, steps};

/// A chart that is drawn.
pub(super) struct Chart {
    /// Its sync level.
    pub(super) sync: String,
    /// Its file, without `.svg`.
    pub(super) name: String,
    /// What it shows, in a sentence.
    pub(super) caption: String,
    pub(super) svg: String,
}

/// A bar that its figure fits on.
const WIDE: f64 = 34.0;

/// The sheets of all charts: one for each sync level and size of a state.
pub(super) fn sheets(results: &Results) -> Vec<Sheet<'_>> {
    let mut sheets = Vec::new();
    for sync in results.sync_levels() {
        for &bytes in &results.settings.state_bytes {
            let rows: Vec<&Median> = results
                .medians
                .iter()
                .filter(|row| row.situation.sync == sync && row.runs > 0)
                .filter(|row| row.situation.state_bytes == bytes)
                .collect();
            sheets.push(Sheet {
                results,
                sync,
                bytes: (results.settings.state_bytes.len() > 1).then_some(bytes),
                rows,
            });
        }
    }
    sheets
}

/// The charts of a sheet without rates.
pub(super) fn draw(sheet: &Sheet<'_>) -> Vec<Chart> {
    let all = [
        sheet.by_processes(),
        sheet.by_in_flight(),
        sheet.latencies(),
        sheet.processor(),
    ];
    all.into_iter().flatten().collect()
}

/// What is known at one sync level, of one size of a state.
pub(super) struct Sheet<'a> {
    pub(super) results: &'a Results,
    pub(super) sync: &'a str,
    /// Where there are several.
    bytes: Option<usize>,
    pub(super) rows: Vec<&'a Median>,
}

/// A row's engine, with its settings.
pub(super) fn label(row: &Median) -> String {
    engine_with(&row.engine, &row.situation)
}

impl<'a> Sheet<'a> {
    /// Engines with their settings, in the order in which they were named.
    pub(super) fn engines(&self) -> Vec<String> {
        let rows = self.rows.iter().filter(|row| row.engine != CEILING);
        self.in_order(rows.copied())
    }

    fn in_order<'b>(&self, rows: impl Iterator<Item = &'b Median>) -> Vec<String> {
        let place = |engine: &str| {
            let engines = &self.results.settings.engines;
            engines.iter().position(|known| known == engine)
        };
        let mut found: Vec<(Option<usize>, String)> = Vec::new();
        for row in rows {
            let label = label(row);
            if !found.iter().any(|(_, known)| *known == label) {
                found.push((place(&row.engine), label));
            }
        }
        found.sort_by_key(|(place, _)| *place);
        found.into_iter().map(|(_, label)| label).collect()
    }

    /// The same colour in every chart of a report.
    pub(super) fn colour(&self, label: &str) -> usize {
        let all = self.in_order(self.results.medians.iter());
        all.iter()
            .position(|known| known == label)
            .unwrap_or_default()
    }

    fn ceiling(&self) -> Option<&'a Median> {
        self.rows.iter().find(|row| row.engine == CEILING).copied()
    }

    fn row(&self, engine: &str, processes: usize, in_flight: usize) -> Option<&'a Median> {
        self.rows
            .iter()
            .find(|row| {
                label(row) == engine
                    && row.situation.processes == processes
                    && row.situation.in_flight == in_flight
            })
            .copied()
    }

    pub(super) fn values(&self, pick: fn(&Median) -> usize) -> Vec<usize> {
        let mut values: Vec<usize> = self
            .rows
            .iter()
            .filter(|row| row.engine != CEILING)
            .map(|row| pick(row))
            .collect();
        values.sort_unstable();
        values.dedup();
        values
    }

    /// A chart's file.
    pub(super) fn name(&self, what: &str) -> String {
        match self.bytes {
            None => format!("{what}-{}", self.sync),
            Some(bytes) => format!("{what}-{}-{bytes}-bytes", self.sync),
        }
    }

    /// The most processes and the most turns in flight.
    fn busiest(&self) -> Option<(usize, usize)> {
        self.rows
            .iter()
            .filter(|row| row.engine != CEILING)
            .map(|row| (row.situation.processes, row.situation.in_flight))
            .max_by_key(|(processes, in_flight)| (processes * in_flight, *processes))
    }

    pub(super) fn start(&self, title: &str, about: &str) -> Svg {
        let mut svg = Svg::new(WIDTH, title);
        svg.text(LEFT, 32.0, "title", Anchor::Start, title);
        svg.text(LEFT, 53.0, "sub", Anchor::Start, about);
        let mut x = LEFT;
        for engine in self.engines() {
            svg.bar(x, 66.0, (12.0, 12.0), self.colour(&engine), &engine);
            svg.text(x + 18.0, 76.5, "legend", Anchor::Start, &engine);
            x += 18.0 + 7.4 * engine.len() as f64 + 22.0;
        }
        svg
    }

    pub(super) fn about(&self, rest: &str) -> String {
        let sync = format!("Sync {}: {}.", self.sync, durability(self.sync));
        match self.bytes {
            None => format!("{sync} {rest}"),
            Some(bytes) => format!("{sync} States of {bytes} bytes. {rest}"),
        }
    }

    /// Bars: groups of processes, one panel for each number in flight.
    fn by_processes(&self) -> Option<Chart> {
        let (engines, panels) = (self.engines(), self.values(|row| row.situation.in_flight));
        let groups = self.values(|row| row.situation.processes);
        if engines.is_empty() {
            return None;
        }
        let title = "Turns a second, by number of processes";
        let mut svg = self.start(
            title,
            &self.about("Higher is better. Marks: 95 % intervals of the medians."),
        );
        let plots = Plots::of_bars(panels.len(), groups.len() * engines.len());
        for (n, in_flight) in panels.iter().enumerate() {
            let plot = plots.at(n);
            let turns = count(*in_flight, "turn", "turns");
            let name = format!("{turns} in flight in each process");
            let in_panel =
                |row: &&&Median| row.situation.in_flight == *in_flight && row.engine != CEILING;
            let most = self.rows.iter().filter(in_panel).map(|row| ends(row).1);
            let most = most.fold(0.0, f64::max);
            let group = plot.width / groups.len() as f64;
            let bar = (group * FILLED / engines.len() as f64).min(46.0);
            // Room for the figure of the highest bar.
            let room = if bar >= WIDE { 1.07 } else { 1.18 };
            let scale = plot.frame(&mut svg, &name, most * room, "turns/s", "processes");
            for (g, processes) in groups.iter().enumerate() {
                let middle = plot.x + group * (g as f64 + 0.5);
                svg.text(
                    middle,
                    plot.bottom() + 18.0,
                    "tick",
                    Anchor::Middle,
                    &processes.to_string(),
                );
                let first = middle - bar * engines.len() as f64 / 2.0;
                for (e, engine) in engines.iter().enumerate() {
                    let Some(row) = self.row(engine, *processes, *in_flight) else {
                        continue;
                    };
                    let x = first + bar * e as f64;
                    let top = plot.bottom() - row.turns_per_second * scale;
                    let hint = format!(
                        "{engine}, {processes} x {in_flight}: {} turns/s ({} to {})",
                        thousands(row.turns_per_second),
                        thousands(ends(row).0),
                        thousands(ends(row).1)
                    );
                    let size = ((bar - 2.0).max(bar * 0.7), plot.bottom() - top);
                    svg.bar(x + 1.0, top, size, self.colour(engine), &hint);
                    let y = |speed: f64| plot.bottom() - speed * scale;
                    let (low, high) = (y(ends(row).0), y(ends(row).1));
                    svg.error_bar(x + bar / 2.0, low, high);
                    let label = compact(row.turns_per_second);
                    if bar >= WIDE {
                        svg.text(x + bar / 2.0, high - 5.0, "value", Anchor::Middle, &label);
                    } else if bar >= LEGIBLE {
                        svg.value_up(x + bar / 2.0 + 4.0, high - 5.0, &label);
                    }
                }
            }
        }
        Some(Chart {
            sync: self.sync.to_owned(),
            name: self.name("throughput-by-processes"),
            caption: "How many turns all processes together complete in a second.".to_owned(),
            svg: svg.finish(plots.height()),
        })
    }

    /// Lines over turns in flight, one panel for the fewest and one for the most processes.
    fn by_in_flight(&self) -> Option<Chart> {
        let engines = self.engines();
        let points = self.values(|row| row.situation.in_flight);
        let all = self.values(|row| row.situation.processes);
        let mut panels = vec![*all.first()?, *all.last()?];
        panels.dedup();
        if engines.is_empty() || points.len() < 2 {
            return None;
        }
        let title = "Turns a second, by turns in flight";
        let mut svg = self.start(
            title,
            &self.about("More waiting turns: larger batches, where an engine makes batches."),
        );
        let plots = Plots::new(panels.len());
        for (n, processes) in panels.iter().enumerate() {
            let plot = plots.at(n);
            let name = count(*processes, "process", "processes");
            let in_panel =
                |row: &&&Median| row.situation.processes == *processes && row.engine != CEILING;
            let most = self.rows.iter().filter(in_panel).map(|row| ends(row).1);
            let most = most.fold(0.0, f64::max);
            let scale = plot.frame(
                &mut svg,
                &name,
                most,
                "turns/s",
                "turns in flight in each process",
            );
            let step = plot.width / points.len() as f64;
            let x = |p: usize| plot.x + step * (p as f64 + 0.5);
            for (p, in_flight) in points.iter().enumerate() {
                svg.text(
                    x(p),
                    plot.bottom() + 18.0,
                    "tick",
                    Anchor::Middle,
                    &in_flight.to_string(),
                );
            }
            for engine in &engines {
                let found: Vec<(f64, f64, &Median)> = points
                    .iter()
                    .enumerate()
                    .filter_map(|(p, in_flight)| {
                        let row = self.row(engine, *processes, *in_flight)?;
                        Some((x(p), plot.bottom() - row.turns_per_second * scale, row))
                    })
                    .collect();
                let line: Vec<(f64, f64)> = found.iter().map(|(x, y, _)| (*x, *y)).collect();
                svg.path(&line, self.colour(engine), 2.5);
                for (x, y, row) in found {
                    let speed = thousands(row.turns_per_second);
                    let hint = format!("{engine}, {}: {speed} turns/s", row.situation.short());
                    let at = |speed: f64| plot.bottom() - speed * scale;
                    svg.error_bar(x, at(ends(row).0), at(ends(row).1));
                    svg.dot(x, y, 4.0, self.colour(engine), &hint);
                }
            }
        }
        Some(Chart {
            sync: self.sync.to_owned(),
            name: self.name("scaling-in-flight"),
            caption: "What each engine makes of more turns that wait at the same time.".to_owned(),
            svg: svg.finish(plots.height()),
        })
    }

    /// Dots on a logarithmic axis: p50, p99, p99.9, max in the busiest situation.
    fn latencies(&self) -> Option<Chart> {
        let (processes, in_flight) = self.busiest()?;
        let title = format!("Latency of a turn: {}", situation(processes, in_flight));
        let rows: Vec<&Median> = self
            .engines()
            .iter()
            .filter_map(|engine| self.row(engine, processes, in_flight))
            .collect();
        let about = self.about("Left is better. The scale is logarithmic.");
        let mut svg = self.start(&title, &about);
        let least = rows
            .iter()
            .map(|row| row.latency_us.p50)
            .fold(f64::MAX, f64::min);
        let most = rows
            .iter()
            .map(|row| row.latency_us.max)
            .fold(1.0, f64::max);
        let from = least.max(1.0).log10().floor();
        let to = most.log10().ceil().max(from + 1.0);
        let (left, right) = (150.0, WIDTH - 330.0);
        let x = |us: f64| left + (us.max(1.0).log10() - from) / (to - from) * (right - left);
        // Figures stand in columns: beside their dots they would cover each other.
        let columns = [0.0, 78.0, 156.0, 234.0].map(|offset| right + 84.0 + offset);
        let each = 34.0;
        let bottom = TOP + 12.0 + each * rows.len() as f64;
        let mut power = from;
        while power <= to {
            let us = 10f64.powf(power);
            svg.line((x(us), TOP), (x(us), bottom), "grid");
            let label = round_time(us);
            svg.text(x(us), bottom + 18.0, "tick", Anchor::Middle, &label);
            power += 1.0;
        }
        for (name, column) in ["p50", "p99", "p99.9", "max"].into_iter().zip(columns) {
            svg.text(column, TOP + 2.0, "sub", Anchor::End, name);
        }
        for (n, row) in rows.iter().enumerate() {
            let y = TOP + 12.0 + each * (n as f64 + 0.5);
            let colour = self.colour(&label(row));
            svg.text(LEFT, y + 4.0, "panel", Anchor::Start, &label(row));
            let l = &row.latency_us;
            svg.path(&[(x(l.p50), y), (x(l.max), y)], colour, 2.0);
            let marks = [
                ("p50", l.p50, 7.0),
                ("p99", l.p99, 5.5),
                ("p99.9", l.p99_9, 4.5),
                ("max", l.max, 3.5),
            ];
            for ((name, us, radius), column) in marks.into_iter().zip(columns) {
                let hint = format!("{} {name}: {}", row.engine, time(us));
                svg.dot(x(us), y, radius, colour, &hint);
                svg.text(column, y + 4.0, "value", Anchor::End, &time(us));
            }
        }
        svg.text(
            (left + right) / 2.0,
            bottom + 40.0,
            "sub",
            Anchor::Middle,
            "latency of a turn; dots from large to small: p50, p99, p99.9, max",
        );
        Some(Chart {
            sync: self.sync.to_owned(),
            name: self.name("latency"),
            caption: "Half of all turns are faster than p50; one in a hundred is slower than p99, one in a thousand than p99.9.".to_owned(),
            svg: svg.finish(bottom + 58.0),
        })
    }

    /// Bars from the left, in parts, in the busiest situation.
    fn processor(&self) -> Option<Chart> {
        let (processes, in_flight) = self.busiest()?;
        let known = |row: &&Median| row.cpu_us_per_turn.total.is_some();
        let mut rows: Vec<&Median> = self
            .engines()
            .iter()
            .filter_map(|engine| self.row(engine, processes, in_flight))
            .filter(known)
            .collect();
        rows.extend(self.ceiling().filter(known));
        if rows.is_empty() {
            return None;
        }
        let title = format!(
            "Processor time of a turn: {}",
            situation(processes, in_flight)
        );
        let about = self.about("Lower is better. Shades: clients (full), writer or server (pale).");
        let mut svg = self.start(&title, &about);
        let most = rows
            .iter()
            .filter_map(|row| row.cpu_us_per_turn.total)
            .fold(0.0, f64::max);
        let steps = steps(most, 6);
        let (left, right) = (150.0, WIDTH - 90.0);
        let scale = (right - left) / steps.last().copied().unwrap_or(1.0);
        let each = 36.0;
        let bottom = TOP + each * rows.len() as f64;
        for step in &steps {
            let x = left + step * scale;
            svg.line((x, TOP), (x, bottom), "grid");
            svg.text(x, bottom + 18.0, "tick", Anchor::Middle, &plain(*step));
        }
        for (n, row) in rows.iter().enumerate() {
            let y = TOP + each * n as f64 + 6.0;
            let colour = self.colour(&label(row));
            svg.text(LEFT, y + 17.0, "panel", Anchor::Start, &label(row));
            let cpu = &row.cpu_us_per_turn;
            let mut x = left;
            let parts = [
                ("clients", cpu.clients, 1.0),
                ("writer", cpu.writer, 0.55),
                ("server", cpu.server, 0.55),
            ];
            for (part, us, opacity) in parts {
                let width = us.unwrap_or_default() * scale;
                if width > 0.0 {
                    let hint = format!("{} {part}: {} us a turn", row.engine, short(us));
                    svg.bar_of(x, y, (width, each - 12.0), colour, opacity, &hint);
                    x += width;
                }
            }
            let label = format!("{} us", short(cpu.total));
            svg.text(x + 6.0, y + 17.0, "value", Anchor::Start, &label);
        }
        svg.text(
            (left + right) / 2.0,
            bottom + 40.0,
            "sub",
            Anchor::Middle,
            "microseconds of processor time for a turn, all processes together",
        );
        Some(Chart {
            sync: self.sync.to_owned(),
            name: self.name("processor-time"),
            caption:
                "What a turn costs the machine, the writer's and the server's processes included."
                    .to_owned(),
            svg: svg.finish(bottom + 58.0),
        })
    }
}

/// The ends of a median's interval; of a single run the figure itself.
fn ends(row: &Median) -> (f64, f64) {
    match row.turns_per_second_interval {
        Some(interval) => (interval.low, interval.high),
        None => (row.turns_per_second, row.turns_per_second),
    }
}

/// In words.
fn situation(processes: usize, in_flight: usize) -> String {
    format!(
        "{}, {} in flight in each",
        count(processes, "process", "processes"),
        count(in_flight, "turn", "turns")
    )
}

#[cfg(test)]
mod tests {
    use super::super::tests::sample;
    use super::*;

    fn all(results: &Results) -> Vec<Chart> {
        sheets(results).iter().flat_map(draw).collect()
    }

    /// Tags open and close in order, attributes are quoted, and every figure is one.
    fn assert_well_formed(svg: &str) {
        let mut open = Vec::new();
        let mut rest = svg;
        while let Some(start) = rest.find('<') {
            let end = start + rest[start..].find('>').expect("a tag's end");
            let tag = &rest[start + 1..end];
            if let Some(name) = tag.strip_prefix('/') {
                assert_eq!(open.pop(), Some(name), "in {svg}");
            } else {
                assert_eq!(tag.matches('"').count() % 2, 0, "{tag}");
                let name = tag.split([' ', '/']).next().unwrap();
                if !tag.ends_with('/') {
                    open.push(name);
                }
            }
            rest = &rest[end + 1..];
        }
        assert!(open.is_empty(), "{open:?} are not closed");
        assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
    }

    #[test]
    fn charts_are_well_formed_and_show_the_figures() {
        let results = sample();
        let charts = all(&results);
        let names: Vec<&str> = charts.iter().map(|chart| chart.name.as_str()).collect();
        assert!(names.contains(&"throughput-by-processes-full"), "{names:?}");
        assert!(names.contains(&"latency-full"), "{names:?}");
        for chart in &charts {
            assert_well_formed(&chart.svg);
        }
        let bars = &charts[0].svg;
        for row in results.medians.iter().filter(|row| row.engine != CEILING) {
            if row.situation.sync == "full" {
                let figure = thousands(row.turns_per_second);
                assert!(bars.contains(&figure), "{figure} is not in the chart");
            }
        }
    }

    #[test]
    fn results_without_a_good_run_make_no_chart() {
        let mut results = sample();
        for median in &mut results.medians {
            median.runs = 0;
        }
        assert!(all(&results).is_empty());
        results.medians.clear();
        assert!(all(&results).is_empty());
    }
}
