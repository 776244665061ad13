//! Every number of a laboratory, as `results.json` keeps it. Plain data.
//!
//! Written by `laboratory.rs`, read again by `turnkey bench report` and `turnkey bench
//! compare`. Fields that are null could not be measured there; units are in the names. The
//! format is published (`results.schema.json` beside this file, printed by `turnkey bench
//! schema`): a field is added, never renamed or given another meaning, without
//! a new [`FORMAT`].

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};

use super::measure::{FileSystem, Machine, Percentiles, SyncTimes};
use super::stats::Interval;

/// The format of the file; a reader refuses a newer one, and reads an older one.
pub(crate) const FORMAT: u32 = 2;

/// The published schema of this format.
pub(crate) const SCHEMA: &str = include_str!("results.schema.json");

/// A laboratory.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Results {
    pub(crate) format: u32,
    /// Name and version of this program.
    pub(crate) program: String,
    /// The commit that it was built of, with `-dirty` if there was more.
    #[serde(default)]
    pub(crate) commit: Option<String>,
    /// What repeats it. Addresses of servers are left out: they may hold passwords.
    #[serde(default)]
    pub(crate) command: Vec<String>,
    /// Milliseconds since 1970.
    pub(crate) started_at: u64,
    /// Ctrl-C came before the end.
    pub(crate) interrupted: bool,
    /// Whether no run failed or lost a turn.
    pub(crate) ok: bool,
    pub(crate) machine: Machine,
    pub(crate) file_system: FileSystem,
    pub(crate) disk_sync: SyncTimes,
    pub(crate) settings: Settings,
    /// Of libraries and servers.
    pub(crate) versions: BTreeMap<String, String>,
    /// How libraries and servers were set up.
    pub(crate) setup: BTreeMap<String, Vec<String>>,
    /// Every setting that an engine had, by engine (with the settings that were chosen for
    /// it, if some were), then by name.
    #[serde(default)]
    pub(crate) in_force: BTreeMap<String, BTreeMap<String, String>>,
    /// What each engine does.
    pub(crate) engines: BTreeMap<String, String>,
    pub(crate) warnings: Vec<String>,
    /// Made of `runs`, as are `knees` and `effects`.
    #[serde(default)]
    pub(crate) medians: Vec<Median>,
    /// Of a sweep of rates.
    #[serde(default)]
    pub(crate) knees: Vec<Knee>,
    /// Of a matrix of settings.
    #[serde(default)]
    pub(crate) effects: Vec<Effect>,
    pub(crate) runs: Vec<Run>,
}

/// What was asked for.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Settings {
    pub(crate) engines: Vec<String>,
    pub(crate) processes: Vec<usize>,
    pub(crate) in_flight: Vec<usize>,
    pub(crate) sync: Vec<String>,
    /// Turns a second that are due; none: the next begins when one ends.
    #[serde(default)]
    pub(crate) rates: Vec<u64>,
    pub(crate) users: u64,
    #[serde(deserialize_with = "one_or_more")]
    pub(crate) state_bytes: Vec<usize>,
    pub(crate) seconds: f64,
    pub(crate) warm_up_seconds: f64,
    pub(crate) repeat: usize,
    /// Connections a process of a plain engine.
    pub(crate) pool: Option<usize>,
    /// Its name.
    #[serde(default = "turn")]
    pub(crate) workload: String,
    /// The file of a workload, as it was.
    #[serde(default)]
    pub(crate) workload_file: Option<String>,
    /// Of zipfian choices, where it was set for all.
    #[serde(default)]
    pub(crate) skew: Option<f64>,
    /// Pragmas of SQLite: each name with its values.
    #[serde(default)]
    pub(crate) pragmas: Vec<(String, Vec<String>)>,
    /// Of a private or named PostgreSQL server: the same.
    #[serde(default)]
    pub(crate) server_settings: Vec<(String, Vec<String>)>,
}

fn turn() -> String {
    "turn".to_owned()
}

/// Format 1 had one size of a state.
fn one_or_more<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<usize>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum OneOrMore {
        One(usize),
        More(Vec<usize>),
    }
    Ok(match OneOrMore::deserialize(from)? {
        OneOrMore::One(bytes) => vec![bytes],
        OneOrMore::More(sizes) => sizes,
    })
}

impl Results {
    /// This program, then what it measured, with their versions.
    pub(crate) fn versions_line(&self) -> String {
        let mut line = self.program.clone();
        if let Some(commit) = &self.commit {
            line += &format!(" ({commit})");
        }
        for (name, version) in &self.versions {
            line += &format!(", {name} {version}");
        }
        line
    }

    /// The command that repeats it, for a shell.
    pub(crate) fn command_line(&self) -> String {
        let quoted = self.command.iter().map(|word| {
            let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./,=:@%+".contains(c);
            match !word.is_empty() && word.chars().all(is_plain) {
                true => word.clone(),
                false => format!("'{}'", word.replace('\'', "'\\''")),
            }
        });
        quoted.collect::<Vec<_>>().join(" ")
    }

    pub(crate) fn sync_levels(&self) -> Vec<&str> {
        self.settings.sync.iter().map(String::as_str).collect()
    }
}

/// All that two engines must have alike to be compared.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Situation {
    pub(crate) sync: String,
    pub(crate) processes: usize,
    pub(crate) in_flight: usize,
    /// Turns a second that are due; none: the next begins when one ends.
    pub(crate) rate: Option<u64>,
    pub(crate) state_bytes: usize,
    /// Those that were chosen, of this engine.
    pub(crate) settings: BTreeMap<String, String>,
}

impl Situation {
    /// The same for an engine that knows other settings: none of those that both know
    /// differs.
    pub(crate) fn is_beside(&self, other: &Situation) -> bool {
        let agrees = |(name, value): (&String, &String)| {
            other.settings.get(name).is_none_or(|there| there == value)
        };
        self.is_alike(other) && self.settings.iter().all(agrees)
    }

    /// The same, whatever the settings.
    pub(crate) fn is_alike(&self, other: &Situation) -> bool {
        (
            &self.sync,
            self.processes,
            self.in_flight,
            self.rate,
            self.state_bytes,
        ) == (
            &other.sync,
            other.processes,
            other.in_flight,
            other.rate,
            other.state_bytes,
        )
    }

    /// What all engines in it have alike.
    pub(crate) fn without_settings(&self) -> Situation {
        Situation {
            settings: BTreeMap::new(),
            ..self.clone()
        }
    }

    /// In short, as `4 x 16 at 5,000/s`.
    pub(crate) fn short(&self) -> String {
        let mut text = format!("{} x {}", self.processes, self.in_flight);
        if let Some(rate) = self.rate {
            text += &format!(" at {}/s", turnkey_report::figures::thousands(rate as f64));
        }
        text
    }
}

/// An engine with the settings that were chosen for it.
pub(crate) fn engine_with(engine: &str, situation: &Situation) -> String {
    with_settings(engine, &situation.settings)
}

/// A name with settings, if there are some, as `sqlite page_size=4096`.
pub(crate) fn with_settings(name: &str, settings: &BTreeMap<String, String>) -> String {
    match settings.is_empty() {
        true => name.to_owned(),
        false => format!("{name} {}", settings_line(settings)),
    }
}

/// As `page_size=4096 cache_size=-2000`.
pub(crate) fn settings_line(settings: &BTreeMap<String, String>) -> String {
    let pairs = settings
        .iter()
        .map(|(name, value)| format!("{name}={value}"));
    pairs.collect::<Vec<_>>().join(" ")
}

/// An engine in a situation, as people say it: `sqlite page_size=4096, 4 x 16, full`.
pub(crate) fn case_name(engine: &str, situation: &Situation) -> String {
    format!(
        "{}, {}, {}",
        engine_with(engine, situation),
        situation.short(),
        situation.sync
    )
}

/// One run.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Run {
    pub(crate) engine: String,
    #[serde(flatten)]
    pub(crate) situation: Situation,
    /// From 1.
    pub(crate) repeat: usize,
    /// Seconds from the start of the laboratory to the end of this run.
    pub(crate) ended_after_seconds: f64,
    /// Why it does not count: it could not be measured, or turns were lost.
    pub(crate) failed: Option<String>,
    /// Of the window.
    pub(crate) seconds: f64,
    /// Acknowledged within the window.
    pub(crate) turns: u64,
    pub(crate) turns_per_second: f64,
    /// Of a schedule: turns that were due within the window.
    pub(crate) due: Option<u64>,
    /// Those of them that had not begun at its end. Their latencies are what they had
    /// waited by then.
    pub(crate) not_begun: u64,
    pub(crate) latency_us: Percentiles,
    /// Latencies as [microseconds, count], to two digits.
    pub(crate) latency_histogram: Vec<(f64, u64)>,
    /// Part by part of the window.
    pub(crate) series: Series,
    /// The turns of each process: how evenly they were served.
    pub(crate) turns_of_processes: Vec<u64>,
    /// The slowest process's turns over those of an even share.
    pub(crate) slowest_share: Option<f64>,
    /// Processes with less than a tenth of an even share.
    pub(crate) starved_processes: usize,
    pub(crate) errors: BTreeMap<String, u64>,
    /// With warm-up and what ended after the window: what the counters must show.
    pub(crate) acknowledged: u64,
    pub(crate) uncertain: u64,
    /// Of the workload `turn`.
    pub(crate) sum_of_counters: Option<u64>,
    /// Of another workload, by name.
    pub(crate) transactions: BTreeMap<String, Transaction>,
    /// Of another workload: what had to hold at the end.
    pub(crate) invariants: Vec<Invariant>,
    /// Transactions.
    pub(crate) turns_per_commit: Option<f64>,
    pub(crate) syncs_per_turn: Option<f64>,
    /// Where `syncs_per_turn` comes from.
    pub(crate) syncs_source: Option<String>,
    /// Flushes of the whole device, from /sys/dev/block.
    pub(crate) device_flushes_per_turn: Option<f64>,
    /// What reached the block device, other programs' too, from /sys/dev/block; with
    /// warm-up, for each acknowledged turn. None: it cannot be measured here.
    pub(crate) device_bytes_per_turn: Option<f64>,
    pub(crate) cpu_us_per_turn: CpuPerTurn,
    /// Share of the machine that others used (and the kernel's own threads), 0 to 1.
    pub(crate) others_share: Option<f64>,
    /// Connections of each process, of a plain engine.
    pub(crate) pool: Option<usize>,
}

/// What happened when, within the window.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Series {
    /// Of each part.
    pub(crate) part_ms: f64,
    /// That ended in it.
    pub(crate) turns: Vec<u64>,
    /// The longest latency of those.
    pub(crate) max_us: Vec<f64>,
}

/// One kind of transaction of a workload.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Transaction {
    /// Acknowledged within the window.
    pub(crate) turns: u64,
    pub(crate) acknowledged: u64,
    pub(crate) uncertain: u64,
    pub(crate) latency_us: Percentiles,
}

/// What a query had to say at the end, and what it said.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Invariant {
    pub(crate) sql: String,
    pub(crate) least: i64,
    pub(crate) most: i64,
    pub(crate) found: i64,
}

/// Microseconds of processor time for a turn, from /proc/PID/stat.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct CpuPerTurn {
    pub(crate) clients: Option<f64>,
    pub(crate) writer: Option<f64>,
    pub(crate) server: Option<f64>,
    /// None when a part of it is not known: the server is on another machine.
    pub(crate) total: Option<f64>,
}

impl Run {
    pub(crate) fn is_good(&self) -> bool {
        self.failed.is_none()
    }
}

/// The middle of the repeats of one situation.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Median {
    pub(crate) engine: String,
    #[serde(flatten)]
    pub(crate) situation: Situation,
    pub(crate) runs: usize,
    pub(crate) failed: usize,
    pub(crate) turns_per_second: f64,
    pub(crate) least_turns_per_second: f64,
    pub(crate) most_turns_per_second: f64,
    /// Of the median; none after a single run.
    pub(crate) turns_per_second_interval: Option<Interval>,
    /// Of a schedule: the part of what was due that ended in the window.
    pub(crate) completed_share: Option<f64>,
    pub(crate) latency_us: Percentiles,
    pub(crate) p99_us_interval: Option<Interval>,
    /// The slowest process's turns over those of an even share.
    pub(crate) slowest_share: Option<f64>,
    /// Runs in which a process had less than a tenth of its share.
    pub(crate) starved_runs: usize,
    pub(crate) cpu_us_per_turn: CpuPerTurn,
    pub(crate) turns_per_commit: Option<f64>,
    pub(crate) syncs_per_turn: Option<f64>,
    pub(crate) device_bytes_per_turn: Option<f64>,
    /// The largest of all runs: one noisy run makes a figure doubtful.
    pub(crate) others_share: Option<f64>,
    /// Of all runs together.
    pub(crate) errors: u64,
    pub(crate) errors_by_kind: BTreeMap<String, u64>,
    /// Beside every other engine in the same situation.
    pub(crate) comparisons: Vec<Comparison>,
    /// Turns a second over those of sqlite-direct, in the same situation; none where a
    /// process of either starved.
    pub(crate) ratio_to_sqlite_direct: Option<f64>,
    pub(crate) ratio_to_postgres: Option<f64>,
}

impl Median {
    /// In most of its runs a process got next to nothing.
    pub(crate) fn is_starved(&self) -> bool {
        self.starved_runs * 2 > self.runs
    }

    pub(crate) fn beside(&self, engine: &str) -> Option<&Comparison> {
        self.comparisons.iter().find(|other| other.engine == engine)
    }
}

/// What can be said about two figures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Verdict {
    Faster,
    Slower,
    /// Their intervals overlap.
    NoDifferenceShown,
    /// Fewer than four of one of them.
    #[default]
    TooFewRuns,
    /// A process of one of them got next to nothing, so they do not compare like with
    /// like.
    Starved,
}

impl Verdict {
    pub(crate) fn words(self) -> &'static str {
        match self {
            Verdict::Faster => "faster",
            Verdict::Slower => "slower",
            Verdict::NoDifferenceShown => "no difference shown",
            Verdict::TooFewRuns => "too few runs to tell",
            Verdict::Starved => "starved: not comparable",
        }
    }
}

/// An engine beside another one in the same situation.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Comparison {
    /// The other one.
    pub(crate) engine: String,
    pub(crate) settings: BTreeMap<String, String>,
    /// Turns a second over its.
    pub(crate) ratio: f64,
    pub(crate) interval: Option<Interval>,
    pub(crate) verdict: Verdict,
}

/// Where an engine falls behind what is due.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Knee {
    pub(crate) engine: String,
    /// Its rate says nothing.
    #[serde(flatten)]
    pub(crate) situation: Situation,
    /// The highest rate up to which it kept up at every rate.
    pub(crate) kept_up: Option<u64>,
    /// The next one, at which it did not; none: it kept up with all.
    pub(crate) fell_behind: Option<u64>,
    /// At `kept_up`.
    pub(crate) p99_us: Option<f64>,
}

/// What one value of a setting does, beside the first one of its list.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Effect {
    pub(crate) engine: String,
    pub(crate) setting: String,
    pub(crate) value: String,
    pub(crate) against: String,
    /// Pairs of runs of the same repeat that differ in nothing else.
    pub(crate) pairs: usize,
    /// The geometric mean of turns a second over turns a second.
    pub(crate) ratio: f64,
    pub(crate) interval: Option<Interval>,
    pub(crate) p99_ratio: f64,
    pub(crate) p99_interval: Option<Interval>,
    pub(crate) verdict: Verdict,
    pub(crate) p99_verdict: Verdict,
}
