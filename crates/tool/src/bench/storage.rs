//! `bench storage`: its options and its help.
//!
//! Called by `mod.rs`; what is asked for is checked by the laboratory.

use std::path::PathBuf;

use clap::Args;
use turnkey_lab::{StorageOptions, known_engines, known_workloads};

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
  turnkey bench storage --engines sqlite --engine-command 'redb=./target/release/engine-redb'", known_engines(), known_workloads()))]
pub(super) struct Storage {
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

impl Storage {
    pub(super) fn options(self) -> StorageOptions {
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
    let given = std::env::args_os().skip(1);
    let mut given = given.map(|word| word.to_string_lossy().into_owned());
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
