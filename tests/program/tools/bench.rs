//! `bench`: short real measurements, what they check and leave behind, bad options.
//! Speeds are not looked at: this machine may be busy.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::harness::bot::{SOON, Setup, skipped, until};
use crate::harness::proc::inhabitants;

/// For a measurement of a few short runs on a busy machine.
pub(super) const LONG: Duration = Duration::from_secs(120);

pub(super) const SHORT: [&str; 8] = [
    // On a busy machine a shorter window may go by without a turn.
    "--seconds",
    "1",
    "--warm-up",
    "0.1",
    "--users",
    "50",
    "--repeat",
    "1",
];

pub(super) fn storage(setup: &Setup, args: &[&str]) -> (Option<i32>, Value, String) {
    let all = [&["bench", "storage", "--json"], &SHORT[..], args].concat();
    let ended = setup.bare_within(&all, LONG);
    let json = serde_json::from_str(&ended.stdout).unwrap_or(Value::Null);
    (ended.code, json, ended.stderr)
}

/// Every median is of good runs, and its figures fit each other.
pub(super) fn assert_sound(json: &Value, rows: usize) {
    let medians = json["medians"].as_array().expect("medians");
    assert_eq!(medians.len(), rows, "{json:#}");
    for row in medians {
        assert_eq!(row["failed"], 0, "{json:#}");
        let number = |value: &Value| value.as_f64().unwrap_or_else(|| panic!("{row:#}"));
        assert!(number(&row["turns_per_second"]) > 0.0, "{row:#}");
        let latencies = &row["latency_us"];
        let order = ["p50", "p90", "p99", "p99_9", "max"].map(|name| number(&latencies[name]));
        assert!(order[0] > 0.0 && order.is_sorted(), "{row:#}");
        assert!(number(&row["turns_per_commit"]) > 0.0, "{row:#}");
    }
    assert_eq!(json["ok"], true);
    assert_eq!(json["interrupted"], false);
}

/// The counters of every run add up to what was acknowledged.
pub(super) fn assert_checked(results: &Value, runs: usize) {
    let found = results["runs"].as_array().expect("runs");
    assert_eq!(found.len(), runs);
    for run in found {
        assert!(run["failed"].is_null(), "{run:#}");
        assert!(run["turns"].as_u64() > Some(0), "{run:#}");
        assert!(
            run["acknowledged"].as_u64() >= run["turns"].as_u64(),
            "{run:#}"
        );
        assert_eq!(run["sum_of_counters"], run["acknowledged"], "{run:#}");
        let of_processes = run["turns_of_processes"].as_array().unwrap();
        assert_eq!(
            of_processes.len() as u64,
            run["processes"].as_u64().unwrap()
        );
    }
}

pub(super) fn read(path: &Path) -> Value {
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

pub(super) fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// Nobody is left of a laboratory that has ended, nor comes back: what it killed may need
/// a moment for its end on a busy machine.
pub(super) fn assert_nobody_is_left(directory: &Path) {
    let deadline = Instant::now() + SOON;
    while !inhabitants(directory).is_empty() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(inhabitants(directory), [""; 0]);
}

#[test]
fn engines_are_measured_checked_and_reported() {
    let setup = Setup::counter();
    let (code, json, stderr) = storage(
        &setup,
        &[
            "--engines",
            "sqlite,sqlite-direct,sqlite-naive,sqlite-ceiling",
            "--processes",
            "1,2",
            "--in-flight",
            "4",
            "--out",
            "report",
        ],
    );
    assert_eq!(code, Some(0), "{stderr}");
    assert_sound(&json, 7);
    assert!(json.get("runs").is_none(), "the summary only");
    let out = setup.path("report");
    let results = read(&out.join("results.json"));
    assert_checked(&results, 7);
    assert!(results["disk_sync"]["append_us"].as_f64() > Some(0.0));
    assert!(results["versions"]["SQLite"].is_string());
    let ours = &results["runs"][1];
    assert_eq!(ours["engine"], "sqlite");
    assert_eq!(ours["syncs_source"], "the writer's counter");
    assert!(ours["cpu_us_per_turn"]["writer"].is_number(), "{ours:#}");
    for row in json["medians"].as_array().unwrap() {
        let direct = row["engine"] == "sqlite-direct";
        let ratio = &row["ratio_to_sqlite_direct"];
        // Others may happen to be as fast; the ceiling has nothing beside it.
        let is_right = if direct { *ratio == 1.0 } else { *ratio != 0.0 };
        assert!(is_right, "{row:#}");
    }

    // Drawn again, it is the same report.
    let again = setup.bare(&["bench", "report", "report/results.json", "--out", "again"]);
    assert_eq!(again.code, Some(0), "{}", again.stderr);
    assert_eq!(names(&out), names(&setup.path("again")));
    for name in ["report.html", "throughput-by-processes-full.svg"] {
        let text = fs::read_to_string(out.join(name)).unwrap();
        assert_eq!(
            text,
            fs::read_to_string(setup.path("again").join(name)).unwrap()
        );
    }
    assert_eq!(
        names(setup.dir.path()),
        ["again", "report"],
        "nothing else is left"
    );
}

#[test]
fn the_table_is_for_people() {
    let setup = Setup::counter();
    let args = ["bench", "storage", "--engines", "sqlite,sqlite-direct"];
    let more = ["--processes", "2", "--in-flight", "2", "--sync", "normal"];
    let ended = setup.bare_within(&[&args, &SHORT[..], &more].concat(), LONG);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let table = &ended.stdout;
    assert!(
        table.contains("2 processes, 2 turns in flight in each, sync normal"),
        "{table}"
    );
    assert!(
        table.contains("No turn was lost: after each of the 2 runs"),
        "{table}"
    );
    assert!(
        ended.stderr.contains("A sync of 4 KiB takes"),
        "{}",
        ended.stderr
    );
    assert!(
        ended.stderr.contains("2/2  sqlite-direct, 2 x 2, normal"),
        "{}",
        ended.stderr
    );
}

/// Bytes written to the block device below a directory; none where there is no such.
pub(super) fn device_bytes(directory: &Path) -> Option<u64> {
    use std::os::unix::fs::MetadataExt;
    let device = fs::metadata(directory).unwrap().dev();
    let (major, minor) = (nix::sys::stat::major(device), nix::sys::stat::minor(device));
    let stat = fs::read_to_string(format!("/sys/dev/block/{major}:{minor}/stat")).ok()?;
    let sectors: u64 = stat.split_whitespace().nth(6)?.parse().ok()?;
    Some(sectors * 512)
}

/// What the kernel calls "written" by a process is what was made dirty: on kernels with
/// large folios ten times what reaches the device.
#[test]
fn what_was_written_is_what_reached_the_device() {
    let setup = Setup::counter();
    let before = device_bytes(setup.dir.path());
    let engines = ["--engines", "sqlite-direct", "--processes", "1"];
    let more = ["--in-flight", "1", "--out", "report"];
    let (code, json, stderr) = storage(&setup, &[&engines[..], &more].concat());
    assert_eq!(code, Some(0), "{stderr}");
    let told = &json["medians"][0]["device_bytes_per_turn"];
    let Some(before) = before else {
        assert!(told.is_null(), "{json:#}");
        return skipped("bytes written: the temporary directory is on no block device");
    };
    let all = device_bytes(setup.dir.path()).unwrap() - before;
    let run = &read(&setup.path("report").join("results.json"))["runs"][0];
    let turns = run["acknowledged"].as_f64().unwrap();
    let each = told.as_f64().expect("a figure");
    // A turn writes a page of the log at least; and all of them no more than was written.
    assert!(each >= 4096.0, "{run:#}");
    assert!(
        each * turns <= all as f64,
        "{each} x {turns}, {all}: {run:#}"
    );
}

#[test]
fn bad_options_are_refused_in_a_sentence() {
    let setup = Setup::counter();
    fs::write(setup.path("file"), "x").unwrap();
    for (args, word) in [
        (&["--engines", "sqlite,oracle"][..], "oracle"),
        (&["--processes", "0"], "--processes"),
        (&["--processes", "100000"], "--processes"),
        (&["--in-flight", "0"], "--in-flight"),
        (&["--sync", "sometimes"], "--sync"),
        (&["--seconds", "0"], "--seconds"),
        (&["--seconds", "-1"], "--seconds"),
        (&["--seconds", "nan"], "--seconds"),
        (&["--repeat", "0"], "--repeat"),
        (&["--users", "0"], "--users"),
        (&["--state-bytes", "99999999999"], "--state-bytes"),
        (&["--out", "file"], "--out"),
        (
            &["--directory", "nowhere"],
            "there is no such directory; name another with --directory",
        ),
    ] {
        let ended = setup.bare(&[&["bench", "storage"], args].concat());
        assert_eq!(ended.code, Some(2), "{args:?}: {}", ended.stderr);
        assert!(ended.stderr.contains(word), "{args:?}: {}", ended.stderr);
        assert_eq!(
            ended.stderr.trim_end().lines().count(),
            1,
            "{}",
            ended.stderr
        );
    }
    for (args, word) in [
        (
            &["report", "nowhere.json", "--out", "r"][..],
            "nowhere.json",
        ),
        (&["report", "file", "--out", "r"], "JSON"),
        (&["turn", "--url", "https://localhost"], "--url"),
        (&["turn", "--connections", "0"], "--connections"),
        (&["turn", "--sync", "off"], "--sync"),
        (&["process"], "turnkey bench storage"),
    ] {
        let ended = setup.bare(&[&["bench"], args].concat());
        assert_ne!(ended.code, Some(0), "{args:?}");
        let said = ended.stderr + &ended.stdout;
        assert!(said.contains(word), "{args:?}: {said}");
    }
    assert_eq!(names(setup.dir.path()), ["file"]);
}

/// A laboratory in the middle of a long run.
pub(super) async fn under_way(setup: &Setup) -> Child {
    let child = setup
        .command()
        .args([
            "bench",
            "storage",
            "--engines",
            "sqlite",
            "--processes",
            "2",
            "--in-flight",
            "4",
        ])
        .args([
            "--users",
            "50",
            "--seconds",
            "600",
            "--repeat",
            "1",
            "--out",
            "report",
        ])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .unwrap();
    // Itself, a writer and two clients.
    until("four processes", LONG, || {
        inhabitants(setup.dir.path()).len() == 4
    })
    .await;
    child
}

#[tokio::test]
async fn ctrl_c_writes_what_there_is_and_leaves_nothing() {
    let setup = Setup::counter();
    let mut laboratory = under_way(&setup).await;
    kill(Pid::from_raw(laboratory.id() as i32), Signal::SIGINT).unwrap();
    let mut status = None;
    until("its end", LONG, || {
        status = laboratory.try_wait().unwrap();
        status.is_some()
    })
    .await;
    assert_eq!(status.unwrap().code(), Some(130));
    assert_nobody_is_left(setup.dir.path());
    assert_eq!(names(setup.dir.path()), ["report"]);
    let results = read(&setup.path("report").join("results.json"));
    assert_eq!(results["interrupted"], true);
    assert_eq!(results["runs"], Value::Array(Vec::new()));
}

/// A laboratory of five seconds, whose turns are short: the file is free between them.
pub(super) fn brief(setup: &Setup) -> Child {
    let options = "bench storage --engines sqlite-direct --processes 1 --in-flight 1 --users 1 \
                   --sync normal --seconds 5 --repeat 1 --out report";
    setup
        .command()
        .args(options.split_whitespace())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .unwrap()
}

/// Somebody takes turns back while they are counted, as a lost update would.
#[tokio::test]
async fn a_lost_turn_is_found() {
    let setup = Setup::counter();
    let database = || {
        let inside = |path: std::path::PathBuf, prefix: &str| {
            let mut entries = fs::read_dir(path).ok()?.flatten();
            let named =
                |entry: &fs::DirEntry| entry.file_name().to_string_lossy().starts_with(prefix);
            entries.find(named).map(|entry| entry.path())
        };
        let run = inside(inside(setup.dir.path().into(), "turnkey-bench-")?, "run-")?;
        rusqlite::Connection::open(run.join("bench.db")).ok()
    };
    let taken_back =
        "UPDATE state SET state = '{\"count\":0}' WHERE state NOT LIKE '{\"count\":0%'";
    let (mut laboratory, mut is_taken) = (brief(&setup), false);
    // A busy machine may let a whole laboratory go by before this gets its moment.
    for _ in 0..5 {
        until("a turn to take back", LONG, || {
            is_taken = database().is_some_and(|conn| {
                // It is free for a moment between two turns only: SQLite's own patience,
                // which sleeps, may miss all of them. Or the table is not there yet: again.
                conn.busy_timeout(Duration::ZERO).unwrap();
                (0..10_000).any(|_| conn.execute(taken_back, []).is_ok_and(|rows| rows == 1))
            });
            is_taken || laboratory.try_wait().unwrap().is_some()
        })
        .await;
        if is_taken {
            break;
        }
        laboratory = brief(&setup);
    }
    assert!(is_taken, "no turn could be taken back");
    let mut status = None;
    until("its end", LONG, || {
        status = laboratory.try_wait().unwrap();
        status.is_some()
    })
    .await;
    assert_eq!(status.unwrap().code(), Some(1));
    let mut table = String::new();
    let mut stdout = laboratory.stdout.take().unwrap();
    std::io::Read::read_to_string(&mut stdout, &mut table).unwrap();
    assert!(table.contains("FAILED sqlite-direct"), "{table}");
    assert!(table.contains("acknowledged turns were lost"), "{table}");
    let results = read(&setup.path("report").join("results.json"));
    assert_eq!(results["ok"], false);
    assert_eq!(results["medians"][0]["runs"], 0);
    let page = fs::read_to_string(setup.path("report").join("report.html")).unwrap();
    assert!(page.contains("acknowledged turns were lost"));
}

#[tokio::test]
async fn a_killed_laboratory_leaves_no_process() {
    let setup = Setup::counter();
    let mut laboratory = under_way(&setup).await;
    laboratory.kill().unwrap();
    laboratory.wait().unwrap();
    until("nobody is left", LONG, || {
        inhabitants(setup.dir.path()).is_empty()
    })
    .await;
}

#[test]
fn whole_turns_are_measured_on_a_bot_of_its_own() {
    let setup = Setup::counter();
    let args = [
        "bench",
        "turn",
        "--json",
        "--connections",
        "2,8",
        "--workers",
        "1",
    ];
    let ended = setup.bare_within(&[&args, &SHORT[..]].concat(), LONG);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let json: Value = serde_json::from_str(&ended.stdout).unwrap();
    let runs = json["runs"].as_array().unwrap();
    assert_eq!(runs.len(), 2);
    for run in runs {
        assert!(run["turns"].as_u64() > Some(0), "{run:#}");
        assert_eq!(run["sum_of_counters"], run["acknowledged"], "{run:#}");
        assert_eq!(run["answers"]["200"], run["acknowledged"], "{run:#}");
        assert!(run["bot_cpu_us_per_turn"].is_number(), "{run:#}");
    }
    assert_nobody_is_left(setup.dir.path());
    assert_eq!(names(setup.dir.path()), [""; 0]);
}

#[tokio::test]
async fn whole_turns_are_measured_on_a_bot_that_runs() {
    let bot = Setup::counter()
        .env("TURNKEY_HTTP_TOKEN", "secret")
        .start()
        .await;
    let url = format!("http://localhost:{}", bot.port);
    let args = ["bench", "turn", "--url", &url, "--connections", "4"];
    let args = [&args, &SHORT[..]].concat();
    let ended = bot.setup.bare_within(&args, LONG);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(ended.stdout.contains("Answers: 200: "), "{}", ended.stdout);
    assert!(!ended.stdout.contains("401"), "{}", ended.stdout);
    let stranger = Setup::counter().bare_within(&args, LONG);
    assert_eq!(
        stranger.code,
        Some(1),
        "without the token: {}",
        stranger.stdout
    );
    assert!(stranger.stdout.contains("401"), "{}", stranger.stdout);
    bot.stop().await;
}

#[test]
fn timers_are_measured_beside_messages() {
    let setup = Setup::counter();
    let args = [
        "bench",
        "timers",
        "--json",
        "--connections",
        "2",
        "--workers",
        "1",
        "--waiting",
        "1000",
        "--rate",
        "20",
    ];
    let ended = setup.bare_within(&[&args, &SHORT[..]].concat(), LONG);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let json: Value = serde_json::from_str(&ended.stdout).unwrap();
    let runs = json["runs"].as_array().unwrap();
    let with: Vec<&Value> = runs.iter().map(|run| &run["with_timers"]).collect();
    assert_eq!(with, [&Value::from(false), &Value::from(true)]);
    assert!(runs[0]["timers"].is_null(), "{json:#}");
    // 20 a second, for 1.1 s; each is counted once, beside the messages.
    assert_eq!(runs[1]["timers"]["timers"], 22, "{json:#}");
    let sum = runs[1]["acknowledged"].as_u64().map(|n| n + 22);
    assert_eq!(runs[1]["sum_of_counters"].as_u64(), sum, "{json:#}");
    assert!(runs[1]["timers"]["late_us"]["p50"].as_f64() > Some(0.0));
    assert_nobody_is_left(setup.dir.path());
}
