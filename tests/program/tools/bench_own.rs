//! `turnkey bench` asked one's own question: a rate, settings, a workload, an engine, two
//! results, a notebook. Speeds are not looked at: this machine may be busy.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::harness::bot::{LATER, Setup, finish, skipped};

use super::bench::{LONG, assert_checked, assert_nobody_is_left, names, read, storage};

/// One process, one turn at a time.
const ONE: [&str; 4] = ["--processes", "1", "--in-flight", "1"];

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

/// An engine that does nothing for a second of three: whoever asks the next question only
/// after the last answer hardly notices, and says p99 is fine. Users who come all the same
/// wait.
#[test]
fn a_stall_shows_in_an_open_loop_and_hides_in_a_closed_one() {
    if !cfg!(debug_assertions) {
        return skipped("bench storage --plant-stall: only a debug build has it");
    }
    for engine in ["sqlite", "sqlite-direct"] {
        let setup = Setup::counter();
        let p99 = |more: &[&str]| {
            let fixed = "bench storage --json --processes 1 --users 50 --sync normal --repeat 1 \
                         --warm-up 0.1 --seconds 3 --plant-stall 1 --engines";
            let mut args: Vec<&str> = fixed.split_whitespace().collect();
            args.push(engine);
            args.extend(more);
            let ended = setup.bare_within(&args, LONG);
            assert_eq!(ended.code, Some(0), "{}", ended.stderr);
            let json: Value = serde_json::from_str(&ended.stdout).unwrap();
            let latency = &json["medians"][0]["latency_us"];
            let ms = |name: &str| latency[name].as_f64().unwrap() / 1000.0;
            assert!(ms("max") >= 900.0, "the stall is there: {latency}");
            (ms("p99"), json.clone())
        };
        let (closed, _) = p99(&["--in-flight", "1"]);
        // So few that any machine keeps up with them, the stall apart.
        let (open, json) = p99(&["--rate", "100", "--in-flight", "64"]);
        assert!(closed < 300.0, "{engine}: p99 {closed} ms in a closed loop");
        assert!(open > 700.0, "{engine}: p99 {open} ms in an open loop");
        assert_eq!(json["medians"][0]["rate"], 100, "{json:#}");
    }
}

#[test]
fn a_sweep_of_rates_finds_where_an_engine_breaks() {
    let setup = Setup::counter();
    // No disk syncs so often.
    let rates = ["--rate", "20,5000000", "--out", "report"];
    let fixed = ["--engines", "sqlite-direct,sqlite", "--processes", "1"];
    let (code, json, stderr) = storage(&setup, &[&fixed[..], &rates].concat());
    assert_eq!(code, Some(0), "{stderr}");
    let knees = json["knees"].as_array().unwrap();
    assert_eq!(knees.len(), 2, "{json:#}");
    for knee in knees {
        // A machine that stands still may fall behind at once.
        assert!(knee["fell_behind"].is_u64(), "{knee:#}");
    }
    let out = setup.path("report");
    let run = &read(&out.join("results.json"))["runs"];
    let fast = run
        .as_array()
        .unwrap()
        .iter()
        .find(|run| run["rate"] == 5_000_000);
    let fast = fast.expect("a run");
    assert!(fast["not_begun"].as_u64() > Some(0), "{fast:#}");
    assert!(fast["due"].as_u64() > fast["turns"].as_u64(), "{fast:#}");
    for chart in ["latency-by-load-full.svg", "completed-by-load-full.svg"] {
        assert!(names(&out).contains(&chart.to_owned()), "{chart}");
    }
    let again = setup.bare(&["bench", "report", "report/results.json", "--out", "again"]);
    assert_eq!(again.code, Some(0), "{}", again.stderr);
    let page = |name: &str| fs::read_to_string(setup.path(name).join("report.html")).unwrap();
    assert_eq!(page("report"), page("again"));
    assert!(page("report").contains("Where it breaks"));
}

#[test]
fn settings_make_a_matrix_and_are_in_force() {
    let setup = Setup::counter();
    let fixed = [
        "--engines",
        "sqlite,sqlite-direct",
        "--state-bytes",
        "200,4096",
    ];
    let matrix = [
        "--pragma",
        "page_size=1024,8192",
        "--pragma",
        "wal_autocheckpoint=500,1000",
    ];
    let (code, json, stderr) = storage(
        &setup,
        &[&fixed[..], &matrix, &ONE, &["--out", "report"]].concat(),
    );
    assert_eq!(code, Some(0), "{stderr}");
    // The writer checkpoints by itself: 2 sizes of a page; the other 4 settings; 2 states.
    assert_eq!(json["medians"].as_array().unwrap().len(), 12, "{json:#}");
    let results = read(&setup.path("report").join("results.json"));
    assert_checked(&results, 12);
    let in_force = results["in_force"].as_object().unwrap();
    for (engine, size) in [
        ("sqlite page_size=8192", "8192"),
        (
            "sqlite-direct page_size=1024 wal_autocheckpoint=500",
            "1024",
        ),
    ] {
        assert_eq!(in_force[engine]["page_size"], size, "{in_force:#?}");
    }
    let direct = &in_force["sqlite-direct page_size=1024 wal_autocheckpoint=500"];
    assert_eq!(direct["wal_autocheckpoint"], "500");
    assert_eq!(direct["synchronous"], "2");
    let effects = results["effects"].as_array().unwrap();
    assert_eq!(effects.len(), 3, "{effects:#?}");
    // 2 sizes of a state x 2 of the other setting; one repeat.
    assert_eq!(effects[1]["pairs"], 4, "{effects:#?}");
    let command = results["command"].as_array().unwrap();
    assert!(
        command.contains(&Value::from("page_size=1024,8192")),
        "{command:?}"
    );
}

#[test]
fn workloads_run_on_every_engine_of_sqlite_and_hold() {
    let setup = Setup::counter();
    let engines = ["--engines", "sqlite,sqlite-direct,sqlite-naive"];
    let load = ["--processes", "2", "--in-flight", "2", "--out", "report"];
    for workload in ["bank", "queue", "ycsb-e", "multiwriter-bulk"] {
        let args = [&["--workload", workload], &engines[..], &load].concat();
        let (code, json, stderr) = storage(&setup, &args);
        assert_eq!(code, Some(0), "{workload}: {stderr}");
        assert_eq!(json["settings"]["workload"], workload);
        let results = read(&setup.path("report").join("results.json"));
        for run in results["runs"].as_array().unwrap() {
            assert!(run["failed"].is_null(), "{workload}: {run:#}");
            assert!(run["turns"].as_u64() > Some(0), "{workload}: {run:#}");
            assert!(!run["invariants"].as_array().unwrap().is_empty(), "{run:#}");
            let kinds = run["transactions"].as_object().unwrap().values();
            let all: u64 = kinds
                .map(|kind| kind["acknowledged"].as_u64().unwrap())
                .sum();
            assert_eq!(run["acknowledged"], all, "{run:#}");
        }
    }
    assert_nobody_is_left(setup.dir.path());
}

#[test]
fn a_broken_invariant_fails_the_run_and_one_s_own_file_is_read() {
    let setup = Setup::counter();
    let printed = setup.bare(&["bench", "workload", "append"]);
    assert_eq!(printed.code, Some(0), "{}", printed.stderr);
    let mine = printed
        .stdout
        .replace("plus = { append = 1 }", "plus = { append = 2 }");
    fs::write(setup.path("mine.toml"), mine).unwrap();
    let engine = ["--engines", "sqlite-direct", "--workload", "mine.toml"];
    let (code, json, stderr) = storage(&setup, &[&engine[..], &ONE].concat());
    assert_eq!(code, Some(1), "{stderr}");
    let failed = json["failed_runs"][0]["failed"].as_str().unwrap();
    assert!(failed.contains("an invariant is broken"), "{failed}");
    for (args, word) in [
        (&["--workload", "nothing"][..], "there are turn, append"),
        (&["--workload", "ycsb-a", "--skew", "-1"], "--skew"),
        (
            &["--workload", "bank", "--engines", "sqlite-ceiling"],
            "only turns",
        ),
    ] {
        let ended = setup.bare(&[&["bench", "storage"], args].concat());
        assert_eq!(ended.code, Some(2), "{args:?}: {}", ended.stderr);
        assert!(ended.stderr.contains(word), "{args:?}: {}", ended.stderr);
    }
}

#[test]
fn an_engine_of_others_is_measured_and_checked() {
    let setup = Setup::counter();
    let engine = root().join("examples/engines/sqlite.py");
    let command = format!("python=python3 {}", engine.display());
    let args = ["--engines", "sqlite-direct", "--engine-command", &command];
    let load = ["--processes", "2", "--in-flight", "1", "--out", "report"];
    let (code, json, stderr) = storage(&setup, &[&args[..], &load].concat());
    assert_eq!(code, Some(0), "{stderr}");
    assert_eq!(json["medians"][1]["engine"], "python");
    let results = read(&setup.path("report").join("results.json"));
    assert_checked(&results, 2);
    // And on a schedule.
    let args = [
        "--engines",
        "sqlite-direct",
        "--engine-command",
        &command,
        "--rate",
        "50",
    ];
    let (code, json, stderr) = storage(&setup, &[&args[..], &ONE].concat());
    assert_eq!(code, Some(0), "{stderr}");
    assert_eq!(json["medians"][1]["rate"], 50, "{json:#}");

    // One that says that it has done more.
    let text = fs::read_to_string(&engine).unwrap();
    let lies = text.replace("\"done\"]", "f\"t {now()} {now()}\", \"done\"]");
    assert_ne!(lies, text);
    fs::write(setup.path("lies.py"), lies).unwrap();
    fs::write(setup.path("dies.py"), "print('hello', flush=True)").unwrap();
    for (name, said) in [("lies", "acknowledged turns were lost"), ("dies", "hello")] {
        let command = format!(
            "{name}=python3 {}",
            setup.path(&format!("{name}.py")).display()
        );
        let args = ["--engines", "sqlite-direct", "--engine-command", &command];
        let (code, json, _) = storage(&setup, &[&args[..], &ONE].concat());
        assert_eq!(code, Some(1), "{name}");
        let failed = json["failed_runs"][0]["failed"].as_str().unwrap();
        assert!(failed.contains(said), "{name}: {failed}");
    }
    assert_nobody_is_left(setup.dir.path());
}

/// Results whose figures are known: five runs, with so many turns a second more or less.
fn made_up(setup: &Setup, name: &str, factor: f64) {
    let sample = root().join("crates/lab/src/report/sample.json");
    let mut results = read(&sample);
    let runs = results["runs"].as_array().unwrap().clone();
    let repeats = (1..=5).flat_map(|repeat| {
        runs.iter().map(move |run| {
            let mut run = run.clone();
            let speed = run["turns_per_second"].as_f64().unwrap();
            let wobble = 1.0 + f64::from(repeat) / 500.0;
            run["turns_per_second"] = (speed * factor * wobble).into();
            run["repeat"] = repeat.into();
            run
        })
    });
    results["runs"] = Value::Array(repeats.collect());
    fs::write(setup.path(name), results.to_string()).unwrap();
}

#[test]
fn two_results_are_compared_for_ci() {
    let setup = Setup::counter();
    made_up(&setup, "a.json", 1.0);
    made_up(&setup, "same.json", 1.001);
    made_up(&setup, "slow.json", 0.8);
    let compare = |args: &[&str]| setup.bare(&[&["bench", "compare"], args].concat());
    let same = compare(&["a.json", "same.json"]);
    assert_eq!(same.code, Some(0), "{}{}", same.stdout, same.stderr);
    assert!(
        same.stdout.contains("no difference shown"),
        "{}",
        same.stdout
    );
    let slow = compare(&["a.json", "slow.json"]);
    assert_eq!(slow.code, Some(1), "{}{}", slow.stdout, slow.stderr);
    assert!(slow.stdout.contains("WORSE"), "{}", slow.stdout);
    let lenient = compare(&["--threshold", "30", "a.json", "slow.json"]);
    assert_eq!(lenient.code, Some(0), "{}", lenient.stdout);
    let better = compare(&["--json", "slow.json", "a.json"]);
    assert_eq!(better.code, Some(0), "{}", better.stdout);
    let json: Value = serde_json::from_str(&better.stdout).unwrap();
    assert_eq!(json["changes"][0]["change"], "better", "{json:#}");
    fs::write(setup.path("newer.json"), "{\"format\":99}").unwrap();
    for (args, word) in [
        (&["a.json", "none.json"][..], "none.json"),
        (&["a.json", "newer.json"], "newer turnkey"),
        (&["--metrics", "p75", "a.json", "a.json"], "p99.9"),
        (&["--threshold", "-1", "a.json", "a.json"], "--threshold"),
    ] {
        let ended = compare(args);
        assert_eq!(ended.code, Some(2), "{args:?}: {}", ended.stderr);
        assert!(ended.stderr.contains(word), "{args:?}: {}", ended.stderr);
    }
}

#[test]
fn results_are_a_site_a_schema_and_a_notebook() {
    let setup = Setup::counter();
    let engines = [
        "--engines",
        "sqlite,sqlite-direct",
        "--postgres",
        "postgres://a:secret@b/c",
    ];
    let load = ["--processes", "2", "--in-flight", "2", "--out", "one"];
    let (code, _, stderr) = storage(&setup, &[&engines[..], &load].concat());
    assert_eq!(code, Some(0), "{stderr}");
    let results = fs::read_to_string(setup.path("one").join("results.json")).unwrap();
    assert!(!results.contains("secret"), "no address of a server");
    fs::create_dir(setup.path("two")).unwrap();
    made_up(&setup, "two/results.json", 1.0);
    let both = ["one/results.json", "two/results.json"];
    let site = setup.bare(&[&["bench", "report", "--page", "--out", "site"], &both[..]].concat());
    assert_eq!(site.code, Some(0), "{}", site.stderr);
    assert_eq!(names(&setup.path("site")), ["index.html", "one", "two"]);
    let refused = setup.bare(&[&["bench", "report", "--out", "r"], &both[..]].concat());
    assert_eq!(refused.code, Some(2));
    assert!(refused.stderr.contains("--page"), "{}", refused.stderr);
    let schema = setup.bare(&["bench", "schema"]);
    let schema: Value = serde_json::from_str(&schema.stdout).unwrap();
    assert!(schema["properties"]["runs"].is_object());

    let mut where_ = Command::new(root().join("scripts/judges"));
    where_.args(["where", "notebook"]);
    let found = finish(where_, LATER);
    if found.code != Some(0) {
        return skipped("the judges of notebook are missing (scripts/judges install)");
    }
    let mut notebook = Command::new(Path::new(found.stdout.trim_end()).join("venv/bin/python"));
    let example = root().join("examples/laboratory.py");
    notebook.arg(example).arg(setup.path("one"));
    let ended = finish(notebook, LONG);
    assert_eq!(ended.code, Some(0), "{}{}", ended.stdout, ended.stderr);
    for word in ["median", "sqlite-direct", "p99"] {
        assert!(ended.stdout.contains(word), "{word}: {}", ended.stdout);
    }
}
