//! Whole turns over HTTP: `turnkey bench turn`, and with timers beside them: `bench timers`.
//!
//! | file | what |
//! | --- | --- |
//! | `mod.rs` | the options, all runs in turn |
//! | `load.rs` | messages over kept-alive connections |
//! | `timers.rs` | timers that wait, and that come due meanwhile |
//! | `bot.rs` | a bot of our own, started for a run |
//! | `show.rs` | the results, as a table or JSON |
//!
//! Each run of a bot of our own has a new database; at its end the counters in it must
//! add up to the messages that were answered 200. Nothing is sent anywhere but to the
//! loopback interface, or to the host that `--url` names.

mod bot;
mod load;
mod show;
mod timers;

use std::path::PathBuf;
use std::time::Duration;

pub(super) use bot::start as start_bot;

use super::child::{NoAnswer, Process};
use super::measure::{self, FileSystem, Machine, Percentiles, Usage, sync_times};
use super::options::{list, within};
use super::order::{Line, Order, Serving, Window};
use super::{Outcome, check, laboratory, state};
use crate::error::Error;
use load::{Load, Target};
use show::{Results, Run};
pub use timers::{MakeTimer, Timers};
use turnkey_report::say;
use turnkey_report::stop::Stop;

/// Connections of one run.
const MAX_CONNECTIONS: usize = 16_384;

/// What a message says whose turn keeps a step, in the bot of the program `turnkey`.
pub const STEP: &str = "step";

/// What any other says.
const PLAIN: &str = "hi";

/// For the bot to start.
const PATIENCE: Duration = Duration::from_secs(30);

/// For it to start, before the first timer is due.
const AHEAD: Duration = Duration::from_secs(8);

/// For it to finish and leave.
const LEAVE: Duration = Duration::from_secs(30);

/// As they come from the command line.
#[derive(Clone, Debug)]
pub struct HttpOptions {
    /// A bot that runs already.
    pub url: Option<String>,
    /// Workers of a bot that is started.
    pub workers: usize,
    /// Where its database is made.
    pub directory: Option<PathBuf>,
    /// What its commits survive: `full` or `normal`.
    pub sync: String,
    /// Connections at a time, for each case.
    pub connections: Vec<usize>,
    /// Users that take turns, by chance.
    pub users: u64,
    /// Length of a run.
    pub seconds: f64,
    /// Seconds before it that do not count.
    pub warm_up: f64,
    /// Runs of each case; the medians are shown.
    pub repeat: usize,
    /// Each run a second time, with turns that keep a step.
    pub step: bool,
    /// Print the results as JSON.
    pub json: bool,
    /// Of `POST /http`.
    pub token: Option<String>,
    /// Each case is measured without them and with them.
    pub timers: Option<Timers>,
}

impl HttpOptions {
    fn check(&self) -> crate::error::Result<Vec<usize>> {
        within("--workers", self.workers, 1, crate::MAX_WORKERS)?;
        within("--users", self.users, 1, 10_000_000)?;
        within("--seconds", self.seconds, 0.1, 3600.0)?;
        within("--warm-up", self.warm_up, 0.0, 3600.0)?;
        within("--repeat", self.repeat, 1, 100)?;
        if let Some(timers) = self.timers {
            within("--waiting", timers.waiting, 0, 10_000_000)?;
            within("--rate", timers.rate, 1, 100_000)?;
        }
        if !matches!(self.sync.as_str(), "full" | "normal") {
            return Err(Error::Start(format!(
                "--sync takes full or normal, not {:?}",
                self.sync
            )));
        }
        list("--connections", &self.connections, 1, MAX_CONNECTIONS)
    }
}

/// Measures whole turns.
///
/// # Errors
/// [`Error::Start`] with a sentence: bad options, or the bot does not start.
pub fn bench(options: &HttpOptions) -> crate::error::Result<Outcome> {
    let connections = options.check()?;
    let target = options.url.as_deref().map(Target::parse).transpose()?;
    let stop = Stop::on_signals()?;
    let place = laboratory::temporary_directory(options.directory.as_deref())?;
    let mut results = Results::new(
        Machine::this(),
        FileSystem::of(place.path()),
        sync_times(place.path())?,
        options,
    );
    let steps: &[u32] = if options.step { &[0, 1] } else { &[0] };
    let cases: Vec<(usize, u32, Option<Timers>)> = connections
        .into_iter()
        .flat_map(|connections| {
            let plain = steps.iter().map(move |steps| (connections, *steps, None));
            let with = options.timers.map(|timers| (connections, 0, Some(timers)));
            plain.chain(with)
        })
        .collect();
    results.announce(cases.len() * options.repeat);
    'all: for repeat in 1..=options.repeat {
        for &(connections, steps, timers) in &cases {
            let mut run = Run {
                connections,
                steps,
                repeat,
                with_timers: timers.is_some(),
                ..Run::default()
            };
            let place = place.path();
            match measure(options, timers, target.as_ref(), place, &mut run, &stop) {
                Ok(()) => {}
                Err(NoAnswer::Failed(error)) if results.runs.is_empty() => return Err(error),
                Err(NoAnswer::Failed(error)) => run.failed = Some(error.to_string()),
                Err(NoAnswer::Interrupted) => {
                    results.interrupted = true;
                    break 'all;
                }
            }
            results.ended(run);
        }
    }
    results.present(options.json)?;
    Ok(if results.interrupted {
        Outcome::Interrupted
    } else if results.ok() {
        Outcome::Good
    } else {
        Outcome::Failed
    })
}

fn measure(
    options: &HttpOptions,
    timers: Option<Timers>,
    target: Option<&Target>,
    place: &std::path::Path,
    run: &mut Run,
    stop: &Stop,
) -> Result<(), NoAnswer> {
    let directory = tempfile::Builder::new().prefix("bot-").tempdir_in(place)?;
    let storage = format!("sqlite:{}", directory.path().join("bot.db").display());
    let warm_up = Duration::from_secs_f64(options.warm_up);
    let lasting = warm_up + Duration::from_secs_f64(options.seconds);
    let mut plan = None;
    if let Some(timers) = timers {
        timers.fill(&storage)?;
        let timers = plan.insert(timers.plan(AHEAD, lasting));
        timers.fill(&storage)?;
    }
    let mut keeper = None;
    let own;
    let target = match target {
        Some(target) => target,
        None => {
            let order = Order::Bot {
                storage: storage.clone(),
                workers: options.workers,
                sync: options.sync.clone(),
            };
            let process = Process::start(&order)?;
            let serving = match process.answer(PATIENCE, stop)? {
                Line::Serving(serving) => serving,
                other => return Err(Error::msg(format!("the bot's keeper said {other:?}")).into()),
            };
            own = Target::parse(&serving.url)?;
            keeper = Some((process, serving));
            &own
        }
    };
    let ahead = plan.map_or(Duration::ZERO, |plan| plan.left());
    let begin = measure::now() + ahead.as_nanos() as u64;
    sleep_until(begin, stop)?;
    let from = begin + warm_up.as_nanos() as u64;
    let window = Window {
        begin,
        from,
        until: from + (options.seconds * 1e9) as u64,
    };
    let load = Load {
        target: target.clone(),
        // The answers tell apart whose messages these are when the bot is not ours.
        token: keeper.is_none().then(|| options.token.clone()).flatten(),
        connections: run.connections,
        users: options.users,
        text: if run.steps > 0 { STEP } else { PLAIN },
        window,
        seed: run.repeat as u64,
    };
    let pid = keeper.as_ref().map(|(_, serving)| serving.pid);
    let generator = load.start(stop)?;
    sleep_until(window.from, stop)?;
    let first = look(pid);
    sleep_until(window.until, stop)?;
    let last = look(pid);
    let (loaded, latencies) = generator.finish()?;
    run.turns = loaded.turns;
    run.turns_per_second = loaded.turns as f64 / options.seconds;
    run.seconds = options.seconds;
    run.latency_us = Percentiles::of(&latencies);
    run.acknowledged = loaded.acknowledged;
    run.uncertain = loaded.uncertain;
    run.answers = loaded.errors;
    run.answers.insert("200".to_owned(), loaded.acknowledged);
    costs(run, &first, &last);
    if loaded.turns == 0 {
        run.failed = Some("no message was answered 200 in time".to_owned());
    }
    let Some((mut process, Serving { .. })) = keeper else {
        return Ok(());
    };
    if let Some(plan) = plan {
        plan.wait(&storage, stop)?;
    }
    process.let_go();
    process.wait(LEAVE);
    drop(process);
    let fired = plan.map(|plan| plan.fired(&storage, warm_up)).transpose();
    match fired {
        Ok(fired) => run.timers = fired,
        Err(error) => run.failed = Some(error.to_string()),
    }
    run.sum_of_counters = sum(&storage)?;
    let all = run.acknowledged + run.timers.map_or(0, |fired| fired.timers);
    if let Some(sum) = run.sum_of_counters
        && run.failed.is_none()
        && let Err(sentence) = check::counters(sum, all, run.uncertain)
    {
        run.failed = Some(sentence);
    }
    Ok(())
}

fn sleep_until(moment: u64, stop: &Stop) -> Result<(), NoAnswer> {
    let left = Duration::from_nanos(moment.saturating_sub(measure::now()));
    if stop.sleep(left) {
        return Err(NoAnswer::Interrupted);
    }
    Ok(())
}

/// What had been used at a moment.
struct Look {
    bot: Option<Usage>,
    own: Usage,
    machine: Option<(f64, f64)>,
}

fn look(pid: Option<u32>) -> Look {
    Look {
        bot: pid.map(|pid| measure::usage(&measure::tree(pid), true)),
        own: measure::usage(&[std::process::id()], false),
        machine: measure::machine_time(),
    }
}

fn costs(run: &mut Run, first: &Look, last: &Look) {
    let spent = |a: &Usage, b: &Usage| (b.cpu - a.cpu).max(0.0);
    let own = spent(&first.own, &last.own);
    let bot = first.bot.zip(last.bot).map(|(a, b)| spent(&a, &b));
    let each = |seconds: f64| (run.turns > 0).then(|| seconds * 1e6 / run.turns as f64);
    (run.bot_cpu_us_per_turn, run.generator_cpu_us_per_turn) = (bot.and_then(each), each(own));
    if let Some(((all_before, busy_before), (all, busy))) = first.machine.zip(last.machine)
        && all > all_before
        && let Some(bot) = bot
    {
        let others = (busy - busy_before - bot - own) / (all - all_before);
        run.others_share = Some(others.clamp(0.0, 1.0));
    }
}

/// The sum of all counters; none when this bot's states are no counters.
fn sum(storage: &str) -> crate::error::Result<Option<u64>> {
    let mut sum = Some(0);
    turnkey_storage::tools::dump(
        &storage
            .parse()
            .map_err(|e: turnkey_storage::Error| Error::start(e))?,
        false,
        |line| {
            let count = state::count(Some(&line.state)).ok();
            sum = sum.zip(count).map(|(sum, count)| sum + count);
            Ok::<_, Unreadable>(())
        },
    )
    .map_err(|Unreadable(why)| Error::Start(format!("cannot read the counters: {why}")))?;
    Ok(sum)
}

/// Why the database could not be read.
struct Unreadable(String);

impl From<turnkey_storage::Error> for Unreadable {
    fn from(error: turnkey_storage::Error) -> Self {
        Unreadable(error.to_string())
    }
}

impl From<std::io::Error> for Unreadable {
    fn from(error: std::io::Error) -> Self {
        Unreadable(error.to_string())
    }
}

/// One line a run, for whoever waits.
fn tell(line: &str) {
    say!("{line}");
}
