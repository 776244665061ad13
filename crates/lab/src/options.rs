//! The options of a laboratory as they come from the command line, and how each is read.
//!
//! Used by `plan.rs`, which puts them together, and by `http/` for its lists. Every refusal is a
//! sentence that names the option.

use std::path::PathBuf;

use super::engines::Engine;
use super::servers::Kind;
use super::workload::{self, TURN, Workload};
use crate::error::Error;

/// Values of one list.
const MAX_VALUES: usize = 64;

/// Turns a second in all processes together.
const MAX_RATE: u64 = 10_000_000;

/// As they come from the command line.
#[derive(Clone, Debug, Default)]
pub struct StorageOptions {
    /// Engines to compare, by name.
    pub engines: Vec<String>,
    /// Engines of others: `NAME=COMMAND`.
    pub engine_commands: Vec<String>,
    /// Client processes, for each case.
    pub processes: Vec<usize>,
    /// Turns at any time in each process, for each case; none: what fits the load.
    pub in_flight: Vec<usize>,
    /// Turns that are due in a second, for each case: numbers, or `FROM..TO`.
    pub rates: Vec<String>,
    /// What commits survive, for each case: `full` or `normal`.
    pub sync: Vec<String>,
    /// Users that take turns, by chance.
    pub users: u64,
    /// Bytes of a state, for each case.
    pub state_bytes: Vec<usize>,
    /// `turn`, another one that comes with the program, or a file.
    pub workload: String,
    /// Of all zipfian choices of a workload.
    pub skew: Option<f64>,
    /// Pragmas of SQLite: `NAME=VALUE,VALUE`.
    pub pragmas: Vec<String>,
    /// Settings of PostgreSQL: the same.
    pub server_settings: Vec<String>,
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
    /// Seconds in the middle of each run in which nothing may begin: what the tests plant.
    pub stall: Option<f64>,
    /// What repeats the measurement, word by word, without addresses of servers.
    pub command: Vec<String>,
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

/// An engine of somebody else: a program that speaks the protocol of `engines/foreign.rs`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Foreign {
    pub(crate) name: String,
    pub(crate) command: String,
}

pub(super) fn refuse<T>(sentence: String) -> crate::error::Result<T> {
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

/// What is done instead of turns.
pub(super) fn workload(
    options: &StorageOptions,
) -> crate::error::Result<Option<(Workload, String)>> {
    let mut found = workload::load(&options.workload)?;
    if let Some(skew) = options.skew {
        let skew = within("--skew", skew, 0.01, 9.99)?;
        match &mut found {
            Some((workload, _)) => workload.set_skew(skew),
            None => {
                return refuse(format!(
                    "--skew is for a --workload with zipfian choices; {TURN} chooses its users evenly"
                ));
            }
        }
    }
    Ok(found)
}

/// Points of a sweep that is given by its ends.
const SWEEP: usize = 8;

/// Numbers, `FROM..TO` or `FROM..TO/POINTS`, in rising order.
pub(super) fn rates(given: &[String]) -> crate::error::Result<Vec<u64>> {
    let mut all = Vec::new();
    for text in given {
        let wrong = || {
            Error::Start(format!(
                "--rate {text}: write turns a second, such as 5000, or a sweep, such as 1000..50000 or \
                 1000..50000/12 for twelve points"
            ))
        };
        let number = |text: &str| {
            let number = text.trim().parse::<u64>().map_err(|_| wrong())?;
            within("--rate", number, 1, MAX_RATE)
        };
        let Some((from, to)) = text.split_once("..") else {
            all.push(number(text)?);
            continue;
        };
        let (to, points) = match to.split_once('/') {
            Some((to, points)) => (to, points.trim().parse().map_err(|_| wrong())?),
            None => (to, SWEEP),
        };
        let (from, to) = (number(from)?, number(to)?);
        if from >= to || !(2..=MAX_VALUES).contains(&points) {
            return Err(wrong());
        }
        // The same factor from each to the next.
        let factor = (to as f64 / from as f64).powf(1.0 / (points - 1) as f64);
        all.extend((0..points).map(|n| round(from as f64 * factor.powi(n as i32))));
    }
    all.sort_unstable();
    all.dedup();
    if all.len() > MAX_VALUES {
        return refuse(format!("--rate takes at most {MAX_VALUES} rates"));
    }
    Ok(all)
}

/// To three digits, so that people can say it.
fn round(number: f64) -> u64 {
    let unit = 10f64.powf((number.log10().floor() - 2.0).max(0.0));
    ((number / unit).round() * unit) as u64
}

/// `NAME=COMMAND`, or a command that is its own name.
pub(super) fn foreign(given: &[String]) -> crate::error::Result<Vec<Foreign>> {
    let mut all: Vec<Foreign> = Vec::new();
    for text in given {
        let is_name = |name: &str| {
            !name.is_empty()
                && name
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
        };
        let (name, command) = match text.split_once('=') {
            Some((name, command)) if is_name(name) => (name.to_owned(), command),
            _ => {
                let program = text.split_whitespace().next().unwrap_or_default();
                let name = program.rsplit('/').next().unwrap_or_default().to_owned();
                (name, text.as_str())
            }
        };
        if command.trim().is_empty() || name.is_empty() {
            return refuse(format!(
                "--engine-command {text:?} names no program; write NAME='./my-engine --option'"
            ));
        }
        let is_ours = Engine::ALL
            .iter()
            .any(|engine| engine.name() == Some(name.as_str()));
        if is_ours || all.iter().any(|known| known.name == name) {
            return refuse(format!(
                "--engine-command {text:?}: there is an engine {name:?} already; give it another name: NAME='{command}'"
            ));
        }
        all.push(Foreign {
            name,
            command: command.to_owned(),
        });
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sweep_rises_by_the_same_factor() {
        let of = |texts: &[&str]| {
            let texts: Vec<String> = texts.iter().map(|&text| text.to_owned()).collect();
            rates(&texts)
        };
        assert_eq!(of(&["5000", "100", "5000"]).unwrap(), [100, 5000]);
        assert_eq!(of(&["1000..8000/4"]).unwrap(), [1000, 2000, 4000, 8000]);
        let sweep = of(&["1000..50000"]).unwrap();
        assert_eq!((sweep.len(), sweep[0], sweep[7]), (8, 1000, 50_000));
        for wrong in ["fast", "0", "5..1", "1..", "1..9/1", "99999999999"] {
            let said = of(&[wrong]).unwrap_err().to_string();
            assert!(said.contains("--rate"), "{wrong}: {said}");
        }
    }

    #[test]
    fn a_foreign_engine_has_a_name_of_its_own() {
        let given = |text: &str| foreign(&[text.to_owned()]);
        let named = |text| given(text).unwrap().remove(0);
        assert_eq!(named("mine=./engine --a=b").name, "mine");
        assert_eq!(named("./engines/turso --a=b").name, "turso");
        assert_eq!(
            named("./engines/turso --a=b").command,
            "./engines/turso --a=b"
        );
        assert!(given("sqlite=./x").is_err() && given(" ").is_err() && given("x=").is_err());
    }
}
