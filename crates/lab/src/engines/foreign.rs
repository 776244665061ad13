//! A program of somebody else as an engine: `--engine-command './my-engine'`.
//!
//! Lines go both ways over its stdin and stdout; docs/ENGINES.md is the protocol. The
//! program takes the turns itself and says of each when it began and when it was
//! acknowledged, so that no pipe stands between them. One is started for each client
//! process, one to make the users, one to add up the counters.
//!
//! Its clock is ours (CLOCK_MONOTONIC), its latencies are its own word, and its sum must be
//! right like every other's. Invariant: it ends with its input; whoever does not is killed
//! when [`Program`] is dropped. Bound: [`PATIENCE`] for it to leave.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;

use super::super::measure::Meter;
use super::super::order::{Load, Window};
use crate::error::Error;

/// For a program to leave after its input has ended.
const PATIENCE: Duration = Duration::from_secs(5);

/// Characters of a program's line that are shown.
const SHOWN: usize = 200;

/// The protocol's version.
const VERSION: u32 = 1;

struct Program {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    command: String,
}

impl Program {
    /// Starts it and opens the database.
    fn open(load: &Load) -> crate::error::Result<Self> {
        let command = load
            .command
            .clone()
            .ok_or_else(|| Error::msg("a foreign engine without a command"))?;
        let mut child = Command::new("sh")
            .args(["-c", &format!("exec {command}")])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|e| Error::Start(format!("--engine-command {command}: {e}")))?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(Error::msg("a program without pipes"));
        };
        let mut program = Program {
            child,
            input: Some(input),
            output: BufReader::new(output),
            command,
        };
        let path = load.path();
        let directory = path.parent().unwrap_or(&path);
        program.say(
            "open",
            &json!({
                "version": VERSION,
                "directory": directory,
                "sync": load.sync.name(),
                "users": load.users,
                "state_bytes": load.state_bytes,
                "in_flight": load.in_flight,
                "process": load.process,
                "processes": load.processes,
            }),
        )?;
        program.expect("ready")?;
        Ok(program)
    }

    fn say(&mut self, verb: &str, what: &serde_json::Value) -> crate::error::Result<()> {
        let gone = format!("--engine-command {}: it ended before {verb}", self.command);
        let Some(input) = &mut self.input else {
            return Err(Error::Start(gone));
        };
        writeln!(input, "{verb} {what}")
            .and_then(|()| input.flush())
            .map_err(|_| Error::Start(gone))
    }

    fn line(&mut self) -> crate::error::Result<String> {
        let mut line = String::new();
        if self.output.read_line(&mut line)? == 0 {
            return Err(Error::Start(format!(
                "--engine-command {}: it ended without an answer; its stderr says why",
                self.command
            )));
        }
        Ok(line.trim_end().to_owned())
    }

    fn wrong(&self, line: &str, expected: &str) -> Error {
        let line: String = line.chars().take(SHOWN).collect();
        match line.strip_prefix("error ") {
            Some(sentence) => Error::Start(format!("{}: {sentence}", self.command)),
            None => Error::Start(format!(
                "--engine-command {}: expected {expected}, and it said {line:?}; docs/ENGINES.md is the protocol",
                self.command
            )),
        }
    }

    /// A line of this word; what is behind it.
    fn expect(&mut self, word: &str) -> crate::error::Result<String> {
        let line = self.line()?;
        match line.strip_prefix(word) {
            Some(rest) if rest.is_empty() || rest.starts_with(' ') => Ok(rest.trim().to_owned()),
            _ => Err(self.wrong(&line, word)),
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.input = None;
        let deadline = Instant::now() + PATIENCE;
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(2));
        }
        drop(self.child.kill()); // It may be gone.
        drop(self.child.wait());
    }
}

pub(super) fn fill(load: &Load) -> crate::error::Result<()> {
    let mut program = Program::open(load)?;
    program.say("fill", &json!({}))?;
    program.expect("filled").map(drop)
}

pub(super) fn sum(load: &Load) -> crate::error::Result<u64> {
    let mut program = Program::open(load)?;
    program.say("sum", &json!({}))?;
    let sum = program.expect("sum")?;
    sum.parse().map_err(|_| program.wrong(&sum, "sum NUMBER"))
}

pub(super) fn turns(
    load: &Load,
    start: impl FnOnce() -> crate::error::Result<Window>,
) -> crate::error::Result<Meter> {
    let mut program = Program::open(load)?;
    let window = start()?;
    let mut meter = Meter::new(window)?;
    program.say(
        "run",
        &json!({
            "begin": window.begin,
            "until": window.until,
            "seed": load.seed,
            // Of this process.
            "rate": load.rate.map(|rate| rate as f64 / load.processes as f64),
        }),
    )?;
    loop {
        let line = program.line()?;
        let mut words = line.split(' ');
        let number = |word: Option<&str>| word.and_then(|word| word.parse::<u64>().ok());
        match words.next() {
            Some("t") => match (number(words.next()), number(words.next())) {
                (Some(began), Some(ended)) if began <= ended => {
                    meter.acknowledge_at(began, ended);
                }
                _ => return Err(program.wrong(&line, "t BEGAN ENDED")),
            },
            Some("late") => match number(words.next()) {
                Some(due) => meter.not_begun(due, window.until.max(due)),
                None => return Err(program.wrong(&line, "late DUE")),
            },
            Some("fail") => meter.error(words.next().unwrap_or("failed")),
            Some("uncertain") => meter.uncertain(),
            Some("done") => break,
            _ => return Err(program.wrong(&line, "t, late, fail, uncertain or done")),
        }
    }
    if let Some(rate) = load.rate {
        let seconds = (window.until - window.from) as f64 / 1e9;
        meter.due((rate as f64 / load.processes as f64 * seconds).round() as u64);
    }
    Ok(meter)
}
