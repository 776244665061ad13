//! `bench`: the storage laboratory, its report, whole turns over HTTP, timers.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};

use turnkey::tool::exit;
use turnkey_lab::{self as bench, CompareOptions, HttpOptions, Outcome, StorageOptions};
use turnkey_text::output::Unwritable;

#[derive(Args)]
pub(crate) struct Bench {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Compare storage engines: real processes, real turns, every turn checked.
    Storage(Box<Storage>),
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
#[command(after_help = format!("\
Engines:
{}

Workloads (`bench workload NAME` prints the file of one):
{}

The workload `turn`: a turn takes the lock of one of --users users, reads the state,
adds one to its counter, writes it and gives the lock back. After each run the counters
must add up to the acknowledged turns, and every invariant of another workload must
hold; a run that lost something is printed as FAILED.

Without --rate the next turn begins when one ends: an engine that stalls is asked less,
and its p99 hides the stall. With --rate turns are due on a schedule, and a latency
counts from when its turn was due: use it to ask what users would feel, and at which
rate an engine breaks. docs/LABORATORY.md has the method.

Exit codes: 0 measured, nothing lost; 1 a run failed; 2 bad options or no place to
write; 130 stopped by Ctrl-C, what was measured is shown and written.

Examples:
  turnkey bench storage
  turnkey bench storage --engines sqlite,postgres,postgres-plain --start-servers --out report/
  turnkey bench storage --rate 1000..50000 --processes 2 --out sweep/
  turnkey bench storage --engines sqlite,sqlite-direct --state-bytes 4096 --pragma page_size=1024,4096,16384
  turnkey bench storage --engines postgres --start-servers -c wal_compression=off,lz4
  turnkey bench storage --workload bank --processes 4
  turnkey bench storage --workload my.toml --engines sqlite-direct,postgres-plain --start-servers
  turnkey bench storage --engines sqlite --engine-command 'redb=./target/release/engine-redb'", bench::known_engines(), bench::known_workloads()))]
struct Storage {
    /// Engines to compare.
    #[arg(
        long,
        value_name = "NAMES",
        value_delimiter = ',',
        default_value = "sqlite,sqlite-direct,sqlite-naive"
    )]
    engines: Vec<String>,

    /// An engine of your own beside them: a program that speaks the protocol of
    /// docs/ENGINES.md. May be given several times.
    #[arg(long, value_name = "NAME=COMMAND")]
    engine_command: Vec<String>,

    /// What is done: turn, another that comes with the program, or a TOML file.
    #[arg(long, value_name = "NAME|FILE", default_value = "turn")]
    workload: String,

    /// How uneven zipfian choices of the workload are: 0.99 is YCSB's, more is more uneven.
    #[arg(long, value_name = "S", allow_negative_numbers = true)]
    skew: Option<f64>,

    /// Turns that are due in a second, in all processes together, however fast the engine
    /// is: numbers, or a sweep such as 1000..50000 (8 rates, each the same factor above the
    /// one before) or 1000..50000/12.
    #[arg(long, value_name = "N,...|A..B", value_delimiter = ',')]
    rate: Vec<String>,

    /// Numbers of client processes.
    #[arg(
        long,
        value_name = "N,...",
        value_delimiter = ',',
        default_value = "1,2,4,8"
    )]
    processes: Vec<usize>,

    /// Numbers of turns at any time in each process; with --rate the most at a time
    /// [default: 1,16; with --rate 64].
    #[arg(long, value_name = "N,...", value_delimiter = ',')]
    in_flight: Vec<usize>,

    /// What a commit survives: full, a power cut; normal, the death of the program.
    #[arg(
        long,
        value_name = "LEVELS",
        value_delimiter = ',',
        default_value = "full"
    )]
    sync: Vec<String>,

    /// Users, each with a state.
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    users: u64,

    /// Sizes of a state.
    #[arg(
        long,
        value_name = "BYTES,...",
        value_delimiter = ',',
        default_value = "200"
    )]
    state_bytes: Vec<usize>,

    /// A pragma of the SQLite engines, with values to compare: page_size=1024,4096. Several
    /// make a matrix; the first value is what the others are compared with.
    #[arg(long, value_name = "NAME=VALUE,...")]
    pragma: Vec<String>,

    /// A setting of the PostgreSQL engines, in the same way: any with --start-servers, those
    /// of a database on a server that is named.
    #[arg(short = 'c', value_name = "NAME=VALUE,...")]
    server_settings: Vec<String>,

    /// Seconds that are measured in each run.
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = 2.0,
        allow_negative_numbers = true
    )]
    seconds: f64,

    /// Seconds before them.
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = 0.5,
        allow_negative_numbers = true
    )]
    warm_up: f64,

    /// Runs of each situation, taken in turn; the table shows their medians. With fewer than
    /// 4 no difference is claimed.
    #[arg(long, value_name = "N", default_value_t = 5)]
    repeat: usize,

    /// Connections of each process of a plain engine [default: 16 in all, at most 8 each].
    #[arg(long, value_name = "N")]
    plain_pool: Option<usize>,

    /// Where databases and private servers go [default: a new directory here].
    #[arg(long, value_name = "DIR")]
    directory: Option<PathBuf>,

    /// A MySQL or MariaDB server to measure: each run makes a database of its own there
    /// and drops it.
    #[arg(
        long,
        value_name = "URL",
        env = "TURNKEY_BENCH_MYSQL",
        hide_env_values = true
    )]
    mysql: Option<String>,

    /// A PostgreSQL server to measure: each run makes a database of its own there and
    /// drops it.
    #[arg(
        long,
        value_name = "URL",
        env = "TURNKEY_BENCH_POSTGRES",
        hide_env_values = true
    )]
    postgres: Option<String>,

    /// Start private servers from the programs that are installed, instead of those that
    /// are named, and stop them at the end.
    #[arg(long)]
    start_servers: bool,

    /// Write results.json, runs.csv, report.html and the charts there.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,

    /// Print the medians as JSON instead of the table.
    #[arg(long)]
    json: bool,

    /// Seconds in which nothing begins, a third into the window: only a test build has it.
    #[cfg(debug_assertions)]
    #[arg(long, value_name = "SECONDS", hide = true)]
    plant_stall: Option<f64>,
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

impl Storage {
    fn options(self) -> StorageOptions {
        StorageOptions {
            engines: self.engines,
            engine_commands: self.engine_command,
            workload: self.workload,
            skew: self.skew,
            rates: self.rate,
            pragmas: self.pragma,
            server_settings: self.server_settings,
            #[cfg(debug_assertions)]
            stall: self.plant_stall,
            #[cfg(not(debug_assertions))]
            stall: None,
            command: command_line(),
            processes: self.processes,
            in_flight: self.in_flight,
            sync: self.sync,
            users: self.users,
            state_bytes: self.state_bytes,
            seconds: self.seconds,
            warm_up: self.warm_up,
            repeat: self.repeat,
            pool: self.plain_pool,
            directory: self.directory,
            mysql: self.mysql,
            postgres: self.postgres,
            start_servers: self.start_servers,
            out: self.out,
            json: self.json,
        }
    }
}

/// What was typed, without the addresses of servers, which may hold passwords.
fn command_line() -> Vec<String> {
    const SECRET: [&str; 2] = ["--mysql", "--postgres"];
    let mut words = vec!["turnkey".to_owned()];
    let mut given = std::env::args().skip(1);
    while let Some(word) = given.next() {
        let name = word.split('=').next().unwrap_or_default();
        if !SECRET.contains(&name) {
            words.push(word);
        } else if name == word {
            given.next();
        }
    }
    words
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
