//! `bench`: the storage laboratory, its report, whole turns over HTTP, timers.
//!
//! | file | what |
//! | --- | --- |
//! | `mod.rs` | the commands but one |
//! | `storage.rs` | `bench storage` |

mod storage;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};

use turnkey::tool::exit;
use turnkey_lab::{self as bench, CompareOptions, HttpOptions, Outcome};
use turnkey_text::output::Unwritable;

#[derive(Args)]
pub(crate) struct Bench {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Compare storage engines: real processes, real turns, every turn checked.
    Storage(Box<storage::Storage>),
    /// Draw the report of a results.json again, or a site of several.
    Report(Report),
    /// Say what changed between two results.json: for CI.
    Compare(Compare),
    /// Print the JSON Schema of results.json.
    Schema,
    /// Print a workload that comes with the program, to begin your own with.
    Workload(Workload),
    /// Measure whole turns over HTTP, of this bot or of one that runs.
    Turn(Turn),
    /// Measure timers that come due while messages come in.
    Timers(Timers),
    /// A process of the laboratory; no person calls it.
    #[command(hide = true)]
    Process,
}

#[derive(Args)]
#[command(after_help = "\
A figure is better or worse if the change is beyond --threshold and the 95 % intervals of
the two medians do not overlap; that takes at least 4 runs of each. Between two
measurements nothing is taken in turn: what the machines differ in is printed first, and a
machine that was busier looks like a change.

Exit codes: 0 nothing got worse; 1 something got worse, or failed that did not fail before;
2 bad options, or nothing in common.

Examples:
  turnkey bench compare main/results.json branch/results.json
  turnkey bench compare --threshold 5 --metrics turns,p99,p99.9 a.json b.json")]
struct Compare {
    /// The earlier results.json.
    before: PathBuf,

    /// The later results.json.
    after: PathBuf,

    /// Percents by which a figure may get worse.
    #[arg(
        long,
        value_name = "PERCENT",
        default_value_t = 10.0,
        allow_negative_numbers = true
    )]
    threshold: f64,

    /// Figures to compare: turns, p50, p99, p99.9, cpu.
    #[arg(
        long,
        value_name = "NAMES",
        value_delimiter = ',',
        default_value = "turns,p99"
    )]
    metrics: Vec<String>,

    /// Print it as JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
struct Workload {
    /// Its name, such as bank.
    name: String,
}

#[derive(Args)]
struct Report {
    /// The results.json of `bench storage --out`; several with --page.
    #[arg(required = true)]
    results: Vec<PathBuf>,

    /// Write a static site: a page that lists them, and each one's report.
    #[arg(long)]
    page: bool,

    /// Where the report goes.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

#[derive(Args)]
#[command(after_help = "\
Posts messages of random users to POST /http over connections that are kept alive, each
message with an id of its own, the next when the one before is answered. Without --url
it starts this bot itself, on a new database, and compares the counters in it with the
answers at the end.

Exit codes: 0 measured, nothing lost; 1 a turn was lost or no answer was a 200; 2 bad
options, or the bot does not answer; 130 stopped by Ctrl-C.

Examples:
  turnkey bench turn
  turnkey bench turn --workers 4 --connections 64 --seconds 10
  turnkey bench turn --connections 64 --step
  TURNKEY_HTTP_TOKEN=secret turnkey bench turn --url http://127.0.0.1:8080")]
struct Turn {
    /// A bot that runs. Its database keeps the messages.
    #[arg(long, value_name = "URL")]
    url: Option<String>,

    /// Workers of the bot that is started.
    #[arg(long, value_name = "N", default_value_t = 2, conflicts_with = "url")]
    workers: usize,

    /// Where the database of that bot is kept [default: a new SQLite file here].
    #[arg(long, value_name = "DIR", conflicts_with = "url")]
    directory: Option<PathBuf>,

    /// What its commits survive: full or normal.
    #[arg(
        long,
        value_name = "LEVEL",
        default_value = "full",
        conflicts_with = "url"
    )]
    sync: String,

    /// Numbers of connections.
    #[arg(
        long,
        value_name = "N,...",
        value_delimiter = ',',
        default_value = "32,128"
    )]
    connections: Vec<usize>,

    /// Seconds that are measured in each run.
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = 5.0,
        allow_negative_numbers = true
    )]
    seconds: f64,

    /// Each run a second time with turns that keep a step (`turn.step`), beside those without. The
    /// bot of --url must know the word: this program's own does.
    #[arg(long)]
    step: bool,

    #[command(flatten)]
    runs: Runs,
}

#[derive(Args)]
#[command(after_help = "\
Each case is measured twice, on a new database each time: messages alone, as `bench turn`
sends them; and messages while --waiting timers wait and --rate timers come due in every
second, each in a dialog of its own. A timer is late by the time from when it was due to the
commit of its turn. At the end the counters in the database must add up to the answers and
the timers: none was lost, none fired twice.

Exit codes: 0 measured, nothing lost; 1 a turn or a timer was lost; 2 bad options; 130
stopped by Ctrl-C.

Examples:
  turnkey bench timers
  turnkey bench timers --waiting 10000 --rate 1000 --connections 8")]
struct Timers {
    /// Timers that wait.
    #[arg(long, value_name = "N", default_value_t = 1_000_000)]
    waiting: u64,

    /// Timers that come due in a second.
    #[arg(long, value_name = "N", default_value_t = 5000)]
    rate: u64,

    /// Workers of the bot.
    #[arg(long, value_name = "N", default_value_t = 2)]
    workers: usize,

    /// Where its database is kept [default: a new SQLite file here].
    #[arg(long, value_name = "DIR")]
    directory: Option<PathBuf>,

    /// What its commits survive: full or normal.
    #[arg(long, value_name = "LEVEL", default_value = "full")]
    sync: String,

    /// Numbers of connections over which messages come.
    #[arg(
        long,
        value_name = "N,...",
        value_delimiter = ',',
        default_value = "8,32"
    )]
    connections: Vec<usize>,

    /// Seconds that are measured in each run.
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = 10.0,
        allow_negative_numbers = true
    )]
    seconds: f64,

    #[command(flatten)]
    runs: Runs,
}

/// What `turn` and `timers` have alike.
#[derive(Args)]
struct Runs {
    /// Users that write.
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    users: u64,

    /// Seconds before them.
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = 1.0,
        allow_negative_numbers = true
    )]
    warm_up: f64,

    /// Runs of each case.
    #[arg(long, value_name = "N", default_value_t = 3)]
    repeat: usize,

    /// Print the results as JSON.
    #[arg(long)]
    json: bool,
}

impl Bench {
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let outcome = match self.command {
            Command::Process => return Ok(bench::process()),
            Command::Report(report) => {
                let drawn = bench::redraw(&report.results, &report.out, report.page);
                drawn.map(|()| Outcome::Good)
            }
            Command::Storage(storage) => bench::storage(&storage.options()),
            Command::Compare(compare) => bench::compare(&CompareOptions {
                before: compare.before,
                after: compare.after,
                threshold: compare.threshold,
                metrics: compare.metrics,
                json: compare.json,
            }),
            Command::Schema => bench::schema().map(|()| Outcome::Good),
            Command::Workload(workload) => bench::workload(&workload.name).map(|()| Outcome::Good),
            Command::Turn(turn) => bench::http(&turn.options()),
            Command::Timers(timers) => bench::http(&timers.options()),
        };
        Ok(ExitCode::from(match outcome.map_err(said)? {
            Outcome::Good => exit::CLEAN,
            Outcome::Failed => exit::CUT,
            Outcome::Interrupted => exit::INTERRUPTED,
        }))
    }
}

/// An error of the laboratory as one of the command line, which keeps what it is.
fn said(error: turnkey_lab::Error) -> anyhow::Error {
    match error {
        turnkey_lab::Error::System(error) => match error.downcast::<Unwritable>() {
            Ok(unwritable) => (*unwritable).into(),
            Err(error) => anyhow::anyhow!("{error}"),
        },
        error => anyhow::anyhow!("{error}"),
    }
}

impl Turn {
    fn options(self) -> HttpOptions {
        HttpOptions {
            url: self.url,
            workers: self.workers,
            directory: self.directory,
            sync: self.sync,
            connections: self.connections,
            users: self.runs.users,
            seconds: self.seconds,
            warm_up: self.runs.warm_up,
            repeat: self.runs.repeat,
            step: self.step,
            json: self.runs.json,
            token: std::env::var("TURNKEY_HTTP_TOKEN").ok(),
            timers: None,
        }
    }
}

impl Timers {
    fn options(self) -> HttpOptions {
        HttpOptions {
            url: None,
            workers: self.workers,
            directory: self.directory,
            sync: self.sync,
            connections: self.connections,
            users: self.runs.users,
            seconds: self.seconds,
            warm_up: self.runs.warm_up,
            repeat: self.runs.repeat,
            step: false,
            json: self.runs.json,
            token: None,
            timers: Some(bench::Timers {
                waiting: self.waiting,
                rate: self.rate,
                make: turnkey::tool::timer,
            }),
        }
    }
}
