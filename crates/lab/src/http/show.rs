//! The results of `bench turn` and `bench timers`: every run, their medians, as a table or JSON.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Serialize;

use super::super::measure::NOISY;
use super::super::measure::{FileSystem, Machine, Percentiles, SyncTimes};
use super::super::stats::median;
use super::timers::Fired;
use super::{HttpOptions, tell};
use turnkey_report::figures::{short, thousands, time};
use turnkey_text::output;

/// All runs.
#[derive(Serialize)]
pub(super) struct Results {
    program: &'static str,
    pub(super) interrupted: bool,
    machine: Machine,
    file_system: FileSystem,
    disk_sync: SyncTimes,
    settings: Settings,
    medians: Vec<Median>,
    pub(super) runs: Vec<Run>,
}

#[derive(Serialize)]
struct Settings {
    /// None: a bot of its own.
    url: Option<String>,
    workers: Option<usize>,
    sync: Option<String>,
    users: u64,
    seconds: f64,
    warm_up_seconds: f64,
    repeat: usize,
    /// How many wait, and how many come due in a second.
    timers: Option<(u64, u64)>,
}

/// One run.
#[derive(Clone, Default, Serialize)]
pub(super) struct Run {
    pub(super) connections: usize,
    /// That each turn keeps.
    pub(super) steps: u32,
    /// From 1.
    pub(super) repeat: usize,
    pub(super) failed: Option<String>,
    pub(super) seconds: f64,
    /// Answered 200 within the window.
    pub(super) turns: u64,
    pub(super) turns_per_second: f64,
    pub(super) latency_us: Percentiles,
    /// By status, or what went wrong; warm-up included.
    pub(super) answers: BTreeMap<String, u64>,
    pub(super) acknowledged: u64,
    pub(super) uncertain: u64,
    /// None when nobody could look: another's bot, or one that does not count.
    pub(super) sum_of_counters: Option<u64>,
    pub(super) bot_cpu_us_per_turn: Option<f64>,
    pub(super) generator_cpu_us_per_turn: Option<f64>,
    pub(super) others_share: Option<f64>,
    /// Whether timers came due meanwhile.
    pub(super) with_timers: bool,
    pub(super) timers: Option<Fired>,
}

/// The middle of the runs with as many connections, timers beside them or not, and as many steps.
#[derive(Serialize)]
struct Median {
    connections: usize,
    steps: u32,
    with_timers: bool,
    timers_late_us: Option<Percentiles>,
    runs: usize,
    turns_per_second: f64,
    least_turns_per_second: f64,
    most_turns_per_second: f64,
    latency_us: Percentiles,
    bot_cpu_us_per_turn: Option<f64>,
    others_share: Option<f64>,
}

impl Results {
    pub(super) fn new(
        machine: Machine,
        file_system: FileSystem,
        disk_sync: SyncTimes,
        options: &HttpOptions,
    ) -> Self {
        let own = options.url.is_none();
        Results {
            program: concat!("turnkey ", env!("CARGO_PKG_VERSION")),
            interrupted: false,
            machine,
            file_system,
            disk_sync,
            settings: Settings {
                url: options.url.clone(),
                workers: own.then_some(options.workers),
                sync: own.then(|| options.sync.clone()),
                users: options.users,
                seconds: options.seconds,
                warm_up_seconds: options.warm_up,
                repeat: options.repeat,
                timers: options.timers.map(|timers| (timers.waiting, timers.rate)),
            },
            medians: Vec::new(),
            runs: Vec::new(),
        }
    }

    pub(super) fn announce(&self, runs: usize) {
        let machine = &self.machine;
        tell(&format!(
            "{}, {} processors, {}; {} on {}, a sync of 4 KiB takes {}.",
            machine.processor,
            machine.processors,
            machine.kernel,
            self.file_system.kind,
            self.file_system.device,
            time(self.disk_sync.append_us)
        ));
        if self.file_system.is_memory() && self.settings.url.is_none() {
            tell(
                "warning: the database is in memory: a sync costs nothing there; name a directory on a disk with --directory",
            );
        }
        if cfg!(debug_assertions) {
            tell("warning: a debug build: build with --release to compare");
        }
        let each = self.settings.warm_up_seconds + self.settings.seconds + 1.0;
        tell(&format!(
            "{runs} runs, about {:.0} s in all.",
            each * runs as f64
        ));
    }

    pub(super) fn ended(&mut self, run: Run) {
        match &run.failed {
            Some(sentence) => tell(&format!(
                "FAILED {} connections{}, repeat {}: {sentence}",
                run.connections,
                kept(run.steps),
                run.repeat
            )),
            None => {
                let timers = match &run.timers {
                    Some(fired) => format!(
                        "; {} timers, each once, late p99 {}",
                        thousands(fired.timers as f64),
                        time(fired.late_us.p99)
                    ),
                    None => String::new(),
                };
                tell(&format!(
                    "{} connections{}, repeat {}: {} turns/s, p99 {}{timers}",
                    run.connections,
                    kept(run.steps),
                    run.repeat,
                    thousands(run.turns_per_second),
                    time(run.latency_us.p99)
                ));
            }
        }
        self.runs.push(run);
    }

    pub(super) fn ok(&self) -> bool {
        self.runs.iter().all(|run| run.failed.is_none())
    }

    fn summarize(&mut self) {
        let mut seen = Vec::new();
        for run in &self.runs {
            let case = (run.connections, run.steps, run.with_timers);
            if !seen.contains(&case) {
                seen.push(case);
            }
        }
        let runs = &self.runs;
        self.medians = seen.into_iter().map(|case| middle(runs, case)).collect();
    }

    pub(super) fn present(&mut self, json: bool) -> crate::error::Result<()> {
        self.summarize();
        if json {
            return Ok(output::print(
                &(serde_json::to_string_pretty(self)? + "\n"),
            )?);
        }
        Ok(output::print(&self.table())?)
    }

    fn table(&self) -> String {
        if self.runs.is_empty() {
            return self.verdict();
        }
        let mut text = format!(
            "\n{:>11}  {:>9}  {:>19}  {:>8}  {:>8}  {:>8}  {:>8}  {:>10}\n",
            "connections", "turns/s", "(min-max)", "p50", "p99", "p99.9", "max", "bot CPU us"
        );
        for row in &self.medians {
            let range = format!(
                "({}-{})",
                thousands(row.least_turns_per_second),
                thousands(row.most_turns_per_second)
            );
            let l = &row.latency_us;
            let _ = write!(
                text,
                "{:>11}  {:>9}  {range:>19}  {:>8}  {:>8}  {:>8}  {:>8}  {:>10}",
                row.connections,
                thousands(row.turns_per_second),
                time(l.p50),
                time(l.p99),
                time(l.p99_9),
                time(l.max),
                short(row.bot_cpu_us_per_turn)
            );
            text.push_str(kept(row.steps));
            if let Some(late) = &row.timers_late_us {
                let _ = write!(
                    text,
                    "  timers late: p50 {}, p99 {}, max {}",
                    time(late.p50),
                    time(late.p99),
                    time(late.max)
                );
            }
            if let Some(share) = row.others_share.filter(|share| *share > NOISY) {
                let _ = write!(text, "  noisy: {:.0} % by others", share * 100.0);
            }
            text.push('\n');
        }
        let mut answers = BTreeMap::<&str, u64>::new();
        for (kind, count) in self.runs.iter().flat_map(|run| &run.answers) {
            *answers.entry(kind).or_default() += count;
        }
        let answers: Vec<String> = answers.iter().map(|(k, n)| format!("{k}: {n}")).collect();
        let _ = writeln!(text, "\nAnswers: {}.", answers.join(", "));
        self.compare(&mut text);
        text.push_str(&self.verdict());
        text
    }

    /// With timers and without, where both were measured.
    fn compare(&self, text: &mut String) {
        let Some((waiting, rate)) = self.settings.timers else {
            return;
        };
        for with in self.medians.iter().filter(|row| row.with_timers) {
            let without = |row: &&Median| row.connections == with.connections && !row.with_timers;
            if let Some(without) = self.medians.iter().find(without) {
                let _ = writeln!(
                    text,
                    "{} connections, {} timers waiting and {} a second firing: {:.2} of the turns without.",
                    with.connections,
                    thousands(waiting as f64),
                    thousands(rate as f64),
                    with.turns_per_second / without.turns_per_second.max(1.0)
                );
            }
        }
    }

    fn verdict(&self) -> String {
        let failed: Vec<&str> = self
            .runs
            .iter()
            .filter_map(|run| run.failed.as_deref())
            .collect();
        if !failed.is_empty() {
            return format!("FAILED: {}.\n", failed.join("; "));
        }
        let mut text = String::new();
        if self.runs.iter().all(|run| run.sum_of_counters.is_some()) && !self.runs.is_empty() {
            text.push_str("No turn was lost: after each run the counters in the database added up to the answers.\n");
        } else if !self.runs.is_empty() {
            text.push_str("Not checked whether a turn was lost: the states cannot be read as counters from here.\n");
        }
        if self.interrupted {
            let _ = writeln!(text, "Interrupted after {} runs.", self.runs.len());
        }
        text
    }
}

/// What is said of runs whose turns keep steps.
fn kept(steps: u32) -> &'static str {
    match steps {
        0 => "",
        _ => " with a step",
    }
}

/// How many connections, how many steps, and whether timers came due.
type Case = (usize, u32, bool);

fn middle(all: &[Run], (connections, steps, with_timers): Case) -> Median {
    let is_of_it = |run: &&Run| {
        (run.connections, run.steps, run.with_timers) == (connections, steps, with_timers)
            && run.failed.is_none()
    };
    let runs: Vec<&Run> = all.iter().filter(is_of_it).collect();
    let late: Vec<Percentiles> = runs
        .iter()
        .filter_map(|run| run.timers.map(|fired| fired.late_us))
        .collect();
    let of = |pick: fn(&Run) -> f64| {
        median(&runs.iter().map(|run| pick(run)).collect::<Vec<f64>>()).unwrap_or_default()
    };
    let speeds = || runs.iter().map(|run| run.turns_per_second);
    Median {
        connections,
        steps,
        with_timers,
        timers_late_us: (!late.is_empty()).then(|| middle_of(&late)),
        runs: runs.len(),
        turns_per_second: of(|run| run.turns_per_second),
        least_turns_per_second: speeds().reduce(f64::min).unwrap_or_default(),
        most_turns_per_second: speeds().reduce(f64::max).unwrap_or_default(),
        latency_us: middle_of(&runs.iter().map(|run| run.latency_us).collect::<Vec<_>>()),
        bot_cpu_us_per_turn: median(
            &runs
                .iter()
                .filter_map(|run| run.bot_cpu_us_per_turn)
                .collect::<Vec<f64>>(),
        ),
        others_share: runs
            .iter()
            .filter_map(|run| run.others_share)
            .reduce(f64::max),
    }
}

/// The middle of each percentile.
fn middle_of(all: &[Percentiles]) -> Percentiles {
    let of = |pick: fn(&Percentiles) -> f64| {
        median(&all.iter().map(pick).collect::<Vec<f64>>()).unwrap_or_default()
    };
    Percentiles {
        p50: of(|one| one.p50),
        p90: of(|one| one.p90),
        p99: of(|one| one.p99),
        p99_9: of(|one| one.p99_9),
        max: of(|one| one.max),
    }
}
