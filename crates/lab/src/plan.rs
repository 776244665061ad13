//! What a laboratory measures: the options, checked against their bounds, and the list
//! of runs that follows from them.
//!
//! Made by `crates/tool/src/bench/`, obeyed by `laboratory.rs`, kept in `results.json` as
//! [`Settings`].

use std::collections::BTreeMap;
use std::time::Duration;

use super::engines::{CEILING_BATCH, Engine};
use super::options::{Foreign, StorageOptions, foreign, list, rates, refuse, within, workload};
use super::order::{Stall, SyncLevel};
use super::results::{Settings, Situation};
use super::settings::{self, Choice};
use super::workload::{TURN, Workload};
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
/// Turns in flight where none are named: next when one ends, or on a schedule, in which
/// they are only the most at a time.
const CLOSED: [usize; 2] = [1, 16];
const OPEN: [usize; 1] = [64];

/// Connections of a server's plain engine in all processes together: on a few processors
/// more are slower, and fewer leave it waiting for the disk.
const PLAIN_CONNECTIONS: usize = 16;

/// Starting processes, making users, checking the sum: a guess for the estimate.
const AROUND_A_RUN: f64 = 0.8;

/// What is measured.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) engines: Vec<Engine>,
    /// What [`Engine::Foreign`] counts.
    pub(crate) foreign: Vec<Foreign>,
    pub(crate) processes: Vec<usize>,
    /// Turns at any time in each process.
    pub(crate) in_flight: Vec<usize>,
    /// Turns that are due in a second; none: the next begins when one ends.
    pub(crate) rates: Vec<u64>,
    pub(crate) sync: Vec<SyncLevel>,
    pub(crate) users: u64,
    pub(crate) state_bytes: Vec<usize>,
    /// With the text of its file; none: turns.
    pub(crate) workload: Option<(Workload, String)>,
    pub(crate) skew: Option<f64>,
    pub(crate) pragmas: Vec<Choice>,
    pub(crate) server_settings: Vec<Choice>,
    /// Of the measured window.
    pub(crate) seconds: f64,
    /// Before it.
    pub(crate) warm_up_seconds: f64,
    pub(crate) repeat: usize,
    /// Connections a process of a plain engine; none: [`Plan::pool_of`] chooses.
    pub(crate) pool: Option<usize>,
    pub(crate) stall: Option<Stall>,
}

/// One engine in one situation, before it is repeated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Case {
    pub(crate) engine: Engine,
    pub(crate) sync: SyncLevel,
    pub(crate) processes: usize,
    pub(crate) in_flight: usize,
    pub(crate) rate: Option<u64>,
    pub(crate) state_bytes: usize,
    pub(crate) settings: BTreeMap<String, String>,
}

impl Case {
    /// As the results have it.
    pub(crate) fn situation(&self) -> Situation {
        Situation {
            sync: self.sync.name().to_owned(),
            processes: self.processes,
            in_flight: self.in_flight,
            rate: self.rate,
            state_bytes: self.state_bytes,
            settings: self.settings.clone(),
        }
    }
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
        let foreign = foreign(&options.engine_commands)?;
        engines.extend((0..foreign.len()).map(Engine::Foreign));
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
        let rates = rates(&options.rates)?;
        let in_flight: &[usize] = match (options.in_flight.is_empty(), rates.is_empty()) {
            (false, _) => &options.in_flight,
            (true, true) => &CLOSED,
            (true, false) => &OPEN,
        };
        let seconds = within("--seconds", options.seconds, 0.1, MAX_SECONDS)?;
        let (least, most) = (*STATE_BYTES.start(), *STATE_BYTES.end());
        let plan = Plan {
            engines,
            foreign,
            processes: list("--processes", &options.processes, 1, MAX_PROCESSES)?,
            in_flight: list("--in-flight", in_flight, 1, MAX_IN_FLIGHT)?,
            rates,
            sync,
            users: within("--users", options.users, 1, MAX_USERS)?,
            state_bytes: list("--state-bytes", &options.state_bytes, least, most)?,
            workload: workload(options)?,
            skew: options.skew,
            pragmas: settings::choices("--pragma", &options.pragmas)?,
            server_settings: settings::choices("-c", &options.server_settings)?,
            seconds,
            warm_up_seconds: within("--warm-up", options.warm_up, 0.0, MAX_SECONDS)?,
            repeat: within("--repeat", options.repeat, 1, MAX_REPEAT)?,
            pool: options
                .pool
                .map(|pool| within("--plain-pool", pool, 1, MAX_POOL))
                .transpose()?,
            stall: options.stall.map(|lasting| Stall {
                after: (seconds * 1e9 / 3.0) as u64,
                lasting: (lasting * 1e9) as u64,
            }),
        };
        settings::check_pragmas(&plan.pragmas)?;
        plan.check_engines(options)?;
        let runs = plan.cases().len() * plan.repeat;
        if runs > MAX_RUNS {
            return refuse(format!(
                "these lists make {runs} runs, and {MAX_RUNS} is the most; shorten one of them"
            ));
        }
        Ok(plan)
    }

    /// That each engine can do what is asked.
    fn check_engines(&self, options: &StorageOptions) -> crate::error::Result<()> {
        if self.workload.is_some() && self.state_bytes.len() > 1 {
            return refuse(format!(
                "--state-bytes: only the workload {TURN} has states; a file says what its rows hold"
            ));
        }
        for engine in &self.engines {
            let name = self.name(*engine);
            if let Some(kind) = engine.server()
                && options.server(kind).is_none()
                && !options.start_servers
            {
                return refuse(format!(
                    "{name} needs a server: name one with {} URL, or let --start-servers start one",
                    kind.flag()
                ));
            }
            if engine.only_once() && (!self.rates.is_empty() || self.workload.is_some()) {
                return refuse(format!(
                    "{name} knows only turns, one after another: leave it out with --rate and --workload"
                ));
            }
            if let Some((workload, _)) = &self.workload {
                let Some(dialect) = engine.dialect() else {
                    return refuse(format!(
                        "{name} speaks no SQL of ours, and so knows only the workload {TURN}: leave it out"
                    ));
                };
                workload.runs_on(dialect).map_err(Error::Start)?;
            }
        }
        for (flag, choices, what) in [
            ("--pragma", &self.pragmas, "SQLite"),
            ("-c", &self.server_settings, "PostgreSQL"),
        ] {
            for (name, _) in choices {
                let takes = |engine: &&Engine| engine.takes(flag, name);
                if !self.engines.iter().any(|engine| takes(&engine)) {
                    return refuse(format!(
                        "{flag} {name}: none of --engines is one of {what} that takes it"
                    ));
                }
            }
        }
        Ok(())
    }

    /// An engine's name on the command line.
    pub(crate) fn name(&self, engine: Engine) -> &str {
        let foreign = || self.foreign_of(engine).map(|known| known.name.as_str());
        engine.name().or_else(foreign).unwrap_or_default()
    }

    /// The program of an engine of somebody else.
    pub(crate) fn foreign_of(&self, engine: Engine) -> Option<&Foreign> {
        match engine {
            Engine::Foreign(number) => self.foreign.get(number),
            _ => None,
        }
    }

    /// As the results have it.
    pub(crate) fn settings(&self) -> Settings {
        let names = |engine: &Engine| self.name(*engine).to_owned();
        Settings {
            engines: self.engines.iter().map(names).collect(),
            processes: self.processes.clone(),
            in_flight: self.in_flight.clone(),
            sync: self
                .sync
                .iter()
                .map(|level| level.name().to_owned())
                .collect(),
            rates: self.rates.clone(),
            users: self.users,
            state_bytes: self.state_bytes.clone(),
            seconds: self.seconds,
            warm_up_seconds: self.warm_up_seconds,
            repeat: self.repeat,
            pool: self.pool,
            workload: match &self.workload {
                Some((workload, _)) => workload.name.clone(),
                None => TURN.to_owned(),
            },
            workload_file: self.workload.as_ref().map(|(_, text)| text.clone()),
            skew: self.skew,
            pragmas: self.pragmas.clone(),
            server_settings: self.server_settings.clone(),
        }
    }

    /// The combinations of settings that an engine is measured with.
    fn settings_of(&self, engine: Engine) -> Vec<BTreeMap<String, String>> {
        let pragmas = settings::combinations(&self.pragmas, |name| engine.takes("--pragma", name));
        let server = settings::combinations(&self.server_settings, |name| engine.takes("-c", name));
        let joined = pragmas.iter().flat_map(|one| {
            server.iter().map(move |other| {
                let mut all = one.clone();
                all.extend(other.clone());
                all
            })
        });
        joined.collect()
    }

    /// The combinations of settings of PostgreSQL: a private server each.
    pub(crate) fn server_combinations(&self) -> Vec<BTreeMap<String, String>> {
        settings::combinations(&self.server_settings, |_| true)
    }

    /// All situations of one repeat, in the order in which they run: in each situation
    /// all engines with all their settings, one after another, so that a drift of the
    /// machine hits all alike.
    pub(crate) fn cases(&self) -> Vec<Case> {
        let mut cases = Vec::new();
        let rates: Vec<Option<u64>> = match self.rates.is_empty() {
            true => vec![None],
            false => self.rates.iter().copied().map(Some).collect(),
        };
        for &sync in &self.sync {
            for &state_bytes in &self.state_bytes {
                let mut add = |engine: Engine, processes, in_flight, rate| {
                    for settings in self.settings_of(engine) {
                        cases.push(Case {
                            engine,
                            sync,
                            processes,
                            in_flight,
                            rate,
                            state_bytes,
                            settings,
                        });
                    }
                };
                for &engine in self.engines.iter().filter(|engine| engine.only_once()) {
                    add(engine, 1, CEILING_BATCH, None);
                }
                for &processes in &self.processes {
                    for &in_flight in &self.in_flight {
                        for &rate in &rates {
                            for &engine in self.engines.iter().filter(|e| !e.only_once()) {
                                add(engine, processes, in_flight, rate);
                            }
                        }
                    }
                }
            }
        }
        cases
    }

    /// The cases of a repeat, from 1: every second one goes backwards, so that what drifts
    /// within a repeat does not always hit the same ones.
    pub(crate) fn cases_of(&self, repeat: usize) -> Vec<Case> {
        let mut cases = self.cases();
        if repeat.is_multiple_of(2) {
            cases.reverse();
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
        let rows = self.workload.as_ref().map(|(workload, _)| {
            let rows = workload.tables.iter().map(|table| table.rows);
            rows.sum::<u64>() as f64 / 100_000.0
        });
        let users = rows.unwrap_or(self.users as f64 / 20_000.0);
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
            state_bytes: vec![200],
            workload: TURN.to_owned(),
            seconds: 1.0,
            warm_up: 0.5,
            repeat: 2,
            ..StorageOptions::default()
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
        let mut back = plan.cases_of(2);
        back.reverse();
        assert_eq!((back, plan.cases_of(1)), (cases.clone(), cases));
    }

    #[test]
    fn settings_are_those_that_an_engine_takes() {
        let mut wanted = options();
        wanted.pragmas = vec![
            "page_size=1024,4096".into(),
            "wal_autocheckpoint=1,2".into(),
        ];
        wanted.sync = vec!["full".into()];
        wanted.processes = vec![1];
        wanted.in_flight = vec![1];
        let plan = Plan::new(&wanted).unwrap();
        let of = |engine| {
            plan.cases()
                .iter()
                .filter(|case| case.engine == engine)
                .count()
        };
        assert_eq!(of(Engine::SqliteDirect), 4);
        // The writer checkpoints by itself.
        assert_eq!(of(Engine::Sqlite), 2);
        wanted.engines = vec!["sqlite".into()];
        let said = Plan::new(&wanted).unwrap_err().to_string();
        assert!(said.contains("wal_autocheckpoint"), "{said}");
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
            ("--state-bytes", |o| o.state_bytes = vec![1 << 30]),
            ("--rate", |o| o.rates = vec!["fast".into()]),
            ("--rate", |o| {
                o.engines = vec!["sqlite-ceiling".into()];
                o.rates = vec!["5".into()];
            }),
            ("--workload", |o| o.workload = "nothing".into()),
            ("--skew", |o| o.skew = Some(0.99)),
            ("--state-bytes", |o| {
                o.engines = vec!["sqlite".into()];
                o.workload = "bank".into();
                o.state_bytes = vec![200, 4096];
            }),
            ("--pragma", |o| o.pragmas = vec!["page_size=1000".into()]),
            ("-c", |o| o.server_settings = vec!["work_mem=1MB".into()]),
            ("--engine-command", |o| o.engine_commands = vec!["".into()]),
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
                rate: None,
                state_bytes: 200,
                settings: BTreeMap::new(),
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
