//! The charts of a sweep: latency and what is completed, over what is due.
//!
//! Called by `charts.rs` instead of the others where there are rates. All axes are
//! logarithmic; marks are 95 % intervals of the medians.

use super::super::results::{Median, engine_with};
use super::super::verdict::count;
use super::charts::{Chart, Sheet, label};
use super::panels::{PLOT, Plot, Plots, compact, round_time};
use turnkey_report::figures::{thousands, time};
use turnkey_report::svg::{Anchor, Svg};

/// A scale of powers of ten along one side of a panel.
struct Scale {
    from: f64,
    to: f64,
    start: f64,
    length: f64,
}

impl Scale {
    fn new(least: f64, most: f64, start: f64, length: f64) -> Self {
        let from = least.max(1e-3).log10();
        Scale {
            from,
            to: most.max(least).log10().max(from + 0.3),
            start,
            length,
        }
    }

    fn at(&self, value: f64) -> f64 {
        let share = (value.max(1e-3).log10() - self.from) / (self.to - self.from);
        self.start + share * self.length
    }
}

/// Both charts.
pub(super) fn draw(sheet: &Sheet<'_>) -> Vec<Chart> {
    let panels = sheet.values(|row| row.situation.processes);
    let rates: Vec<f64> = sheet
        .rows
        .iter()
        .filter_map(|row| row.situation.rate)
        .map(|rate| rate as f64)
        .collect();
    let least = rates.iter().copied().fold(f64::MAX, f64::min);
    let most = rates.iter().copied().fold(0.0, f64::max);
    if panels.is_empty() || least >= most {
        return Vec::new();
    }
    vec![
        latency(sheet, &panels, (least, most)),
        completed(sheet, &panels, (least, most)),
    ]
}

/// The rows of one engine in one panel, by rate.
fn line<'a>(sheet: &Sheet<'a>, engine: &str, processes: usize) -> Vec<&'a Median> {
    let mut rows: Vec<&Median> = sheet
        .rows
        .iter()
        .filter(|row| label(row) == engine && row.situation.processes == processes)
        .copied()
        .collect();
    rows.sort_by_key(|row| (row.situation.in_flight, row.situation.rate));
    rows
}

/// The rates below a panel.
fn across(svg: &mut Svg, plot: &Plot, sheet: &Sheet<'_>, x: &Scale) {
    let mut last = f64::MIN;
    for rate in &sheet.results.settings.rates {
        let at = x.at(*rate as f64);
        // Labels that would cover each other are left out.
        if at - last > 36.0 {
            let label = compact(*rate as f64);
            svg.text(at, plot.bottom() + 18.0, "tick", Anchor::Middle, &label);
            last = at;
        }
    }
    plot.below(svg, "turns/s due");
}

fn latency(sheet: &Sheet<'_>, panels: &[usize], (least, most): (f64, f64)) -> Chart {
    let about = sheet.about("Lower is better. From when a turn was due. Dots: p99; thin: p50.");
    let mut svg = sheet.start("Latency, by load", &about);
    let plots = Plots::new(panels.len());
    let all = |pick: fn(&Median) -> f64| sheet.rows.iter().map(move |row| pick(row));
    let low = all(|row| row.latency_us.p50).fold(f64::MAX, f64::min);
    let high = all(|row| row.latency_us.p99).fold(1.0, f64::max);
    let (low, high) = (
        10f64.powf(low.max(1.0).log10().floor()),
        10f64.powf(high.log10().ceil()),
    );
    for (n, processes) in panels.iter().enumerate() {
        let plot = plots.at(n);
        plot.name(&mut svg, &count(*processes, "process", "processes"));
        let y = Scale::new(low, high, plot.bottom(), -PLOT);
        let x = Scale::new(least, most, plot.x + 12.0, plot.width - 24.0);
        grid(&mut svg, &plot, &y, round_time);
        across(&mut svg, &plot, sheet, &x);
        for engine in sheet.engines() {
            let colour = sheet.colour(&engine);
            let rows = line(sheet, &engine, *processes);
            let points = |pick: fn(&Median) -> f64| -> Vec<(f64, f64)> {
                let at = |row: &&Median| {
                    (
                        x.at(row.situation.rate.unwrap_or(1) as f64),
                        y.at(pick(row)),
                    )
                };
                rows.iter().map(at).collect()
            };
            svg.path(&points(|row| row.latency_us.p50), colour, 1.0);
            svg.path(&points(|row| row.latency_us.p99), colour, 2.5);
            for (row, (x, at)) in rows.iter().zip(points(|row| row.latency_us.p99)) {
                if let Some(interval) = row.p99_us_interval {
                    svg.error_bar(x, y.at(interval.low), y.at(interval.high));
                }
                let hint = format!(
                    "{engine}, {}: p50 {}, p99 {}",
                    row.situation.short(),
                    time(row.latency_us.p50),
                    time(row.latency_us.p99)
                );
                svg.dot(x, at, 4.0, colour, &hint);
            }
            knee(&mut svg, sheet, &engine, *processes, &plot, &x);
        }
    }
    Chart {
        sync: sheet.sync.to_owned(),
        name: sheet.name("latency-by-load"),
        caption: "What a turn waits for when more of them are due. Dashed: the highest rate that the engine kept up with.".to_owned(),
        svg: svg.finish(plots.height()),
    }
}

/// Lines at the powers of ten, with their labels.
fn grid(svg: &mut Svg, plot: &Plot, y: &Scale, label: fn(f64) -> String) {
    let mut power = y.from.ceil();
    while power <= y.to + 0.001 {
        let value = 10f64.powf(power);
        let at = y.at(value);
        svg.line((plot.x, at), (plot.x + plot.width, at), "grid");
        svg.text(plot.x - 7.0, at + 4.0, "tick", Anchor::End, &label(value));
        power += 1.0;
    }
}

/// A dashed line where an engine was last seen to keep up.
fn knee(svg: &mut Svg, sheet: &Sheet<'_>, engine: &str, processes: usize, plot: &Plot, x: &Scale) {
    let found = sheet.results.knees.iter().find(|knee| {
        engine_with(&knee.engine, &knee.situation) == engine
            && knee.situation.processes == processes
            && knee.situation.sync == sheet.sync
    });
    if let Some((kept, _)) = found.and_then(|knee| knee.kept_up.zip(knee.fell_behind)) {
        let at = x.at(kept as f64);
        svg.dashed((at, plot.y), (at, plot.bottom()), sheet.colour(engine));
    }
}

fn completed(sheet: &Sheet<'_>, panels: &[usize], (least, most): (f64, f64)) -> Chart {
    let about = sheet.about("On the grey line everything that was due was done.");
    let mut svg = sheet.start("Completed, by load", &about);
    let plots = Plots::new(panels.len());
    for (n, processes) in panels.iter().enumerate() {
        let plot = plots.at(n);
        plot.name(&mut svg, &count(*processes, "process", "processes"));
        plot.beside(&mut svg, "turns/s completed");
        let x = Scale::new(least, most, plot.x + 12.0, plot.width - 24.0);
        let speeds = sheet.rows.iter().map(|row| row.turns_per_second);
        let slowest = speeds.fold(least, f64::min).max(1.0);
        let power = |value: f64| 10f64.powf(value);
        let (low, high) = (power(slowest.log10().floor()), power(most.log10().ceil()));
        let y = Scale::new(low, high, plot.bottom(), -PLOT);
        grid(&mut svg, &plot, &y, compact);
        across(&mut svg, &plot, sheet, &x);
        let y = |speed: f64| y.at(speed);
        let mut before: Option<(f64, f64)> = None;
        for rate in &sheet.results.settings.rates {
            let here = (x.at(*rate as f64), y(*rate as f64));
            if let Some(before) = before {
                svg.line(before, here, "axis");
            }
            before = Some(here);
        }
        for engine in sheet.engines() {
            let rows = line(sheet, &engine, *processes);
            let at = |row: &&Median| {
                let rate = row.situation.rate.unwrap_or(1) as f64;
                (x.at(rate), y(row.turns_per_second))
            };
            let points: Vec<(f64, f64)> = rows.iter().map(at).collect();
            svg.path(&points, sheet.colour(&engine), 2.5);
            for (row, (x, at)) in rows.iter().zip(points) {
                if let Some(interval) = row.turns_per_second_interval {
                    svg.error_bar(x, y(interval.low), y(interval.high));
                }
                let speed = thousands(row.turns_per_second);
                let hint = format!("{engine}, {}: {speed} turns/s", row.situation.short());
                svg.dot(x, at, 4.0, sheet.colour(&engine), &hint);
            }
        }
    }
    Chart {
        sync: sheet.sync.to_owned(),
        name: sheet.name("completed-by-load"),
        caption: "Where a line leaves the grey one, the engine falls behind.".to_owned(),
        svg: svg.finish(plots.height()),
    }
}
