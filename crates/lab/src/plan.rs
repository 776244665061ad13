//! What a laboratory measures: the options, checked against their bounds, and the list
//! of runs that follows from them.
//!
//! Made by `crates/tool/src/bench.rs`, obeyed by `laboratory.rs`, kept in `results.json`.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::engines::{CEILING_BATCH, Engine};
use super::order::SyncLevel;
use super::servers::Kind;
use crate::error::Error;

/// Far beyond what one machine can use; each is a real process.
const MAX_PROCESSES: usize = 128;
/// Turns in flight of one process.
const MAX_IN_FLIGHT: usize = 4096;
const MAX_USERS: u64 = 10_000_000;
/// The smallest state holds its counter.
const STATE_BYTES: std::ops::RangeInclusive<usize> = 16..=262_144;
/// Seconds of one run.
const MAX_SECONDS: f64 = 3600.0;
const MAX_REPEAT: usize = 100;
const MAX_POOL: usize = 64;
/// Runs of one laboratory.
const MAX_RUNS: usize = 20_000;
/// Values of one list.
const MAX_VALUES: usize = 64;

/// Connections of a server's plain engine in all processes together: on a few processors
/// more are slower, and fewer leave it waiting for the disk.
const PLAIN_CONNECTIONS: usize = 16;

/// Starting processes, making users, checking the sum: a guess for the estimate.
const AROUND_A_RUN: f64 = 0.8;

/// As they come from the command line.
#[derive(Clone, Debug)]
pub struct StorageOptions {
    /// Engines to compare, by name.
    pub engines: Vec<String>,
    /// Client processes, for each case.
    pub processes: Vec<usize>,
    /// Turns at any time in each process, for each case.
    pub in_flight: Vec<usize>,
    /// What commits survive, for each case: `full` or `normal`.
    pub sync: Vec<String>,
    /// Users that take turns, by chance.
    pub users: u64,
    /// Bytes of a state.
    pub state_bytes: usize,
    /// Length of a run.
    pub seconds: f64,
    /// Seconds before it that do not count.
    pub warm_up: f64,
    /// Runs of each case; the medians are shown.
    pub repeat: usize,
    /// Connections of a process to a server.
    pub pool: Option<usize>,
    /// Where databases are made.
    pub directory: Option<PathBuf>,
    /// Address of a MySQL or MariaDB server.
    pub mysql: Option<String>,
    /// Address of a PostgreSQL server.
    pub postgres: Option<String>,
    /// Start private servers for the engines that need one.
    pub start_servers: bool,
    /// Where the report is written.
    pub out: Option<PathBuf>,
    /// Print the results as JSON.
    pub json: bool,
}

impl StorageOptions {
    /// The server of this kind that was named.
    pub(super) fn server(&self, kind: Kind) -> Option<&String> {
        match kind {
            Kind::Mysql => self.mysql.as_ref(),
            Kind::Postgres => self.postgres.as_ref(),
        }
    }
}

/// What is measured.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Plan {
    pub(crate) engines: Vec<Engine>,
    pub(crate) processes: Vec<usize>,
    /// Turns at any time in each process.
    pub(crate) in_flight: Vec<usize>,
    pub(crate) sync: Vec<SyncLevel>,
    pub(crate) users: u64,
    pub(crate) state_bytes: usize,
    /// Of the measured window.
    pub(crate) seconds: f64,
    /// Before it.
    pub(crate) warm_up_seconds: f64,
    pub(crate) repeat: usize,
    /// Connections a process of a plain engine; none: [`Plan::pool_of`] chooses.
    pub(crate) pool: Option<usize>,
}

/// One engine in one situation, before it is repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Case {
    pub(crate) engine: Engine,
    pub(crate) sync: SyncLevel,
    pub(crate) processes: usize,
    pub(crate) in_flight: usize,
}

fn refuse<T>(sentence: String) -> crate::error::Result<T> {
    Err(Error::Start(sentence))
}

/// Values in their order, each once, each within bounds.
pub(super) fn list<T: Copy + PartialEq + PartialOrd + std::fmt::Display>(
    flag: &str,
    values: &[T],
    least: T,
    most: T,
) -> crate::error::Result<Vec<T>> {
    let mut checked = Vec::new();
    for &value in values {
        if value < least || value > most {
            return refuse(format!("{flag} takes {least} to {most}, not {value}"));
        }
        if !checked.contains(&value) {
            checked.push(value);
        }
    }
    if checked.is_empty() || checked.len() > MAX_VALUES {
        return refuse(format!("{flag} takes 1 to {MAX_VALUES} values"));
    }
    Ok(checked)
}

pub(super) fn within<T: Copy + PartialOrd + std::fmt::Display>(
    flag: &str,
    value: T,
    least: T,
    most: T,
) -> crate::error::Result<T> {
    // Written so that NaN is refused.
    if value >= least && value <= most {
        return Ok(value);
    }
    refuse(format!("{flag} takes {least} to {most}, not {value}"))
}

impl Plan {
    /// # Errors
    /// [`Error::Start`]: a sentence for the first option that is out of its bounds.
    pub(crate) fn new(options: &StorageOptions) -> crate::error::Result<Self> {
        let mut engines = Vec::new();
        for name in &options.engines {
            let engine: Engine = name.trim().parse()?;
            if !engines.contains(&engine) {
                engines.push(engine);
            }
        }
        if engines.is_empty() {
            return refuse("--engines names none".to_owned());
        }
        let mut sync = Vec::new();
        for name in &options.sync {
            let level = match name.trim() {
                "full" => SyncLevel::Full,
                "normal" => SyncLevel::Normal,
                other => return refuse(format!("--sync takes full and normal, not {other:?}")),
            };
            if !sync.contains(&level) {
                sync.push(level);
            }
        }
        if sync.is_empty() {
            return refuse("--sync names no level; write full, normal or both".to_owned());
        }
        let plan = Plan {
            engines,
            processes: list("--processes", &options.processes, 1, MAX_PROCESSES)?,
            in_flight: list("--in-flight", &options.in_flight, 1, MAX_IN_FLIGHT)?,
            sync,
            users: within("--users", options.users, 1, MAX_USERS)?,
            state_bytes: within(
                "--state-bytes",
                options.state_bytes,
                *STATE_BYTES.start(),
                *STATE_BYTES.end(),
            )?,
            seconds: within("--seconds", options.seconds, 0.1, MAX_SECONDS)?,
            warm_up_seconds: within("--warm-up", options.warm_up, 0.0, MAX_SECONDS)?,
            repeat: within("--repeat", options.repeat, 1, MAX_REPEAT)?,
            pool: options
                .pool
                .map(|pool| within("--plain-pool", pool, 1, MAX_POOL))
                .transpose()?,
        };
        let runs = plan.cases().len() * plan.repeat;
        if runs > MAX_RUNS {
            return refuse(format!(
                "these lists make {runs} runs, and {MAX_RUNS} is the most; shorten one of them"
            ));
        }
        for engine in &plan.engines {
            if let Some(kind) = engine.server()
                && options.server(kind).is_none()
                && !options.start_servers
            {
                return refuse(format!(
                    "{} needs a server: name one with {} URL, or let --start-servers start one",
                    engine.name(),
                    kind.flag()
                ));
            }
        }
        Ok(plan)
    }

    /// All situations of one repeat, in the order in which they run: in each situation
    /// all engines, one after another, so that a drift of the machine hits all alike.
    pub(crate) fn cases(&self) -> Vec<Case> {
        let mut cases = Vec::new();
        for &sync in &self.sync {
            for engine in self.engines.iter().filter(|engine| engine.only_once()) {
                cases.push(Case {
                    engine: *engine,
                    sync,
                    processes: 1,
                    in_flight: CEILING_BATCH,
                });
            }
            for &processes in &self.processes {
                for &in_flight in &self.in_flight {
                    for engine in self.engines.iter().filter(|engine| !engine.only_once()) {
                        cases.push(Case {
                            engine: *engine,
                            sync,
                            processes,
                            in_flight,
                        });
                    }
                }
            }
        }
        cases
    }

    /// Connections of a plain engine's process.
    pub(crate) fn pool_of(&self, case: &Case) -> usize {
        let fair = (PLAIN_CONNECTIONS / case.processes).clamp(1, 8);
        self.pool.unwrap_or(fair).min(case.in_flight)
    }

    /// How long all of it will take.
    pub(crate) fn estimate(&self) -> Duration {
        let users = self.users as f64 / 20_000.0;
        let each = self.warm_up_seconds + self.seconds + AROUND_A_RUN + users;
        Duration::from_secs_f64(each * (self.cases().len() * self.repeat) as f64)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in super::super) fn options() -> StorageOptions {
        StorageOptions {
            engines: vec![
                "sqlite".into(),
                "sqlite-direct".into(),
                "sqlite-ceiling".into(),
            ],
            processes: vec![1, 4, 4],
            in_flight: vec![1, 16],
            sync: vec!["full".into(), "normal".into()],
            users: 100,
            state_bytes: 200,
            seconds: 1.0,
            warm_up: 0.5,
            repeat: 2,
            pool: None,
            directory: None,
            mysql: None,
            postgres: None,
            start_servers: false,
            out: None,
            json: false,
        }
    }

    #[test]
    fn engines_take_turns_within_a_situation() {
        let plan = Plan::new(&options()).unwrap();
        assert_eq!(plan.processes, [1, 4]);
        let cases = plan.cases();
        // For each sync: the ceiling once, then 2 x 2 situations of two engines.
        assert_eq!(cases.len(), 2 * (1 + 8));
        assert_eq!(cases[0].engine, Engine::SqliteCeiling);
        assert_eq!(cases[1].engine, Engine::Sqlite);
        assert_eq!(cases[2].engine, Engine::SqliteDirect);
        assert_eq!((cases[1].in_flight, cases[3].in_flight), (1, 16));
        assert!(plan.estimate() > Duration::from_secs(18 * 3));
    }

    #[test]
    fn what_is_out_of_bounds_is_named() {
        type Change = fn(&mut StorageOptions);
        let cases: &[(&str, Change)] = &[
            ("--engines", |o| o.engines = vec!["oracle".into()]),
            ("--engines", |o| o.engines.clear()),
            ("--processes", |o| o.processes = vec![0]),
            ("--processes", |o| o.processes = vec![1000]),
            ("--in-flight", |o| o.in_flight = vec![0]),
            ("--sync", |o| o.sync = vec!["off".into()]),
            ("--users", |o| o.users = 0),
            ("--state-bytes", |o| o.state_bytes = 1 << 30),
            ("--seconds", |o| o.seconds = 0.0),
            ("--seconds", |o| o.seconds = f64::NAN),
            ("--warm-up", |o| o.warm_up = -1.0),
            ("--repeat", |o| o.repeat = 0),
            ("--plain-pool", |o| o.pool = Some(0)),
        ];
        for (word, change) in cases {
            let mut wrong = options();
            change(&mut wrong);
            let said = Plan::new(&wrong).unwrap_err().to_string();
            assert!(said.contains(word), "{word}: {said}");
            assert!(!said.contains('\n'), "{said}");
        }
    }

    #[test]
    fn a_server_must_be_named_or_started() {
        let mut wanted = options();
        wanted.engines = vec!["postgres".into()];
        let said = Plan::new(&wanted).unwrap_err().to_string();
        assert!(said.contains("--start-servers"), "{said}");
        wanted.start_servers = true;
        assert!(Plan::new(&wanted).is_ok());
    }

    #[test]
    fn plain_connections_are_shared_out() {
        let plan = Plan::new(&options()).unwrap();
        let pool = |processes, in_flight| {
            plan.pool_of(&Case {
                engine: Engine::PostgresPlain,
                sync: SyncLevel::Full,
                processes,
                in_flight,
            })
        };
        assert_eq!(
            [
                pool(1, 64),
                pool(1, 1),
                pool(4, 64),
                pool(16, 64),
                pool(64, 64)
            ],
            [8, 1, 4, 1, 1]
        );
    }
}
