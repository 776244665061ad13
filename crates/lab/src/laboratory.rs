//! The whole laboratory: surroundings, all runs in turn, table and files.
//!
//! Called by `crates/tool/src/bench/`. Whatever ends it, Ctrl-C included, what was measured is
//! shown and written, and nothing is left behind: databases are in a temporary
//! directory, servers end with their keepers.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use super::child::NoAnswer;
use super::engines::Engine;
use super::measure::{Device, FileSystem, Machine, SyncTimes, sync_times};
use super::options::StorageOptions;
use super::plan::Plan;
use super::progress::{Progress, words};
use super::run::Bench;
use super::{
    Outcome, commit, keepers, report, results, stored, summary, table, workload as workloads,
};
use crate::error::Error;
use turnkey_report::files::reason;
use turnkey_report::say;
use turnkey_report::stop::Stop;
use turnkey_text::numbers::counted;
use turnkey_text::output;

/// Measures all of it.
///
/// # Errors
/// [`Error::Start`] with a sentence, before the first run. A run that fails is part of
/// the results.
pub fn bench(options: &StorageOptions) -> crate::error::Result<Outcome> {
    let plan = Plan::new(options)?;
    if let Some(out) = &options.out {
        report::make_directory(out)?;
    }
    let place = temporary_directory(options.directory.as_deref())?;
    let directory = place.path();
    let stop = Stop::on_signals()?;
    let machine = Machine::this();
    let file_system = FileSystem::of(directory);
    let disk_sync = sync_times(directory)
        .map_err(|e| Error::Start(format!("cannot write to {}: {e}", directory.display())))?;
    let mut results = results::Results {
        format: results::FORMAT,
        program: concat!("turnkey ", env!("CARGO_PKG_VERSION")).to_owned(),
        commit: commit::this(),
        command: options.command.clone(),
        started_at: SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_millis() as u64),
        interrupted: false,
        ok: true,
        warnings: warnings(&plan, &machine, &file_system),
        machine,
        file_system,
        disk_sync,
        versions: BTreeMap::new(),
        setup: BTreeMap::new(),
        engines: plan
            .engines
            .iter()
            .map(|engine| (plan.name(*engine).to_owned(), about(&plan, *engine)))
            .collect(),
        settings: plan.settings(),
        in_force: BTreeMap::new(),
        medians: Vec::new(),
        knees: Vec::new(),
        effects: Vec::new(),
        runs: Vec::new(),
    };
    sqlite_facts(&mut results)?;
    let keepers = match keepers::start(&plan, options, directory, &stop) {
        Ok(keepers) => keepers,
        Err(NoAnswer::Interrupted) => return Ok(Outcome::Interrupted),
        Err(NoAnswer::Failed(error)) => return Err(error),
    };
    let servers = keepers::connect_all(&plan, options, &keepers, &mut results)?;
    announce(&results, &plan);
    let device = Device::of(directory);
    let bench = Bench {
        plan: &plan,
        directory,
        device: device.as_ref(),
        servers: &servers,
        stop: &stop,
    };
    results.interrupted = !all_runs(&bench, &mut results);
    summary::conclude(&mut results);
    results.ok = results.runs.iter().all(results::Run::is_good);
    drop(servers);
    drop(keepers);
    present(&results, options)?;
    Ok(if results.interrupted {
        Outcome::Interrupted
    } else if results.ok {
        Outcome::Good
    } else {
        Outcome::Failed
    })
}

/// Draws the report of a `results.json` again, or of several a site: a page that lists them,
/// and a directory for each.
///
/// # Errors
/// [`Error::Start`] with a sentence: not readable, of a newer format, `out` not writable.
pub fn redraw(files: &[PathBuf], out: &Path, page: bool) -> crate::error::Result<()> {
    let results = files
        .iter()
        .map(|file| stored::read(file))
        .collect::<crate::error::Result<Vec<_>>>()?;
    report::make_directory(out)?;
    let written = match (&results[..], page) {
        ([only], false) => report::write(only, out)?,
        (_, true) => report::write_site(files, &results, out)?,
        _ => {
            return Err(Error::Start(format!(
                "{} results make no single report; write --page for a site of all of them",
                results.len()
            )));
        }
    };
    for path in written {
        say!("wrote {}", path.display());
    }
    Ok(())
}

/// The published schema of `results.json`.
///
/// # Errors
/// When stdout cannot be written to.
pub fn schema() -> crate::error::Result<()> {
    Ok(output::print(results::SCHEMA)?)
}

/// The text of a workload that comes with the program, to begin one's own with.
///
/// # Errors
/// [`Error::Start`] when there is none of this name.
pub fn workload(name: &str) -> crate::error::Result<()> {
    let text = workloads::shipped::text(name).ok_or_else(|| {
        let names = workloads::shipped::names();
        Error::Start(match name {
            workloads::TURN => format!("{name} is built in and has no file; try {}", names[2]),
            _ => format!(
                "there is no workload {name:?}; there are {}",
                names.join(", ")
            ),
        })
    })?;
    Ok(output::print(text)?)
}

/// Whether all of them were measured.
fn all_runs(bench: &Bench<'_>, results: &mut results::Results) -> bool {
    let begun = Instant::now();
    let plan = bench.plan;
    let mut progress = Progress::new(plan.cases().len() * plan.repeat);
    for repeat in 1..=plan.repeat {
        for case in &plan.cases_of(repeat) {
            let what = progress.name(plan, case, repeat);
            progress.show(&what);
            let Some(measured) = bench.measure(case, repeat, || progress.show(&what)) else {
                progress.clear();
                return false;
            };
            let mut run = measured.run;
            progress.ended(&what, &run);
            run.ended_after_seconds = begun.elapsed().as_secs_f64();
            let name = results::engine_with(&run.engine, &run.situation);
            results.in_force.entry(name).or_insert(measured.in_force);
            results.runs.push(run);
            if bench.stop.asked() {
                progress.clear();
                return false;
            }
        }
    }
    true
}

/// What an engine does, for the report.
fn about(plan: &Plan, engine: Engine) -> String {
    match plan.foreign_of(engine) {
        Some(known) => format!("{} The command: {}", engine.about(), known.command),
        None => engine.about().to_owned(),
    }
}

pub(super) fn temporary_directory(
    parent: Option<&Path>,
) -> crate::error::Result<tempfile::TempDir> {
    let parent = parent.unwrap_or(Path::new("."));
    // As people see it in messages; one that is not there is named as it was given.
    let parent = &parent.canonicalize().unwrap_or_else(|_| parent.to_owned());
    tempfile::Builder::new()
        .prefix("turnkey-bench-")
        .tempdir_in(parent)
        .map_err(|e| {
            Error::Start(format!(
                "cannot make a directory in {}: {}; name another with --directory",
                parent.display(),
                reason(&e)
            ))
        })
}

fn sqlite_facts(results: &mut results::Results) -> crate::error::Result<()> {
    let conn = rusqlite::Connection::open_in_memory()?;
    let options = conn
        .prepare("PRAGMA compile_options")?
        .query_map([], |row| row.get(0))?
        .collect::<Result<Vec<String>, _>>()?;
    let versions = &mut results.versions;
    versions.insert("SQLite".to_owned(), rusqlite::version().to_owned());
    results.setup.insert("SQLite".to_owned(), options);
    Ok(())
}

fn warnings(plan: &Plan, machine: &Machine, file_system: &FileSystem) -> Vec<String> {
    let mut warnings = Vec::new();
    if file_system.is_memory() {
        warnings.push(format!(
            "the databases are on {}, in memory: a sync costs nothing there; name a directory on a disk with --directory",
            file_system.kind
        ));
    }
    if cfg!(debug_assertions) {
        warnings.push("a debug build: build with --release to compare".to_owned());
    }
    let most = plan.processes.iter().max().copied().unwrap_or_default();
    if most > machine.processors {
        warnings.push(format!(
            "{most} processes on {} processors: they share them, with the writer or the server too",
            machine.processors
        ));
    }
    warnings
}

fn announce(results: &results::Results, plan: &Plan) {
    let SyncTimes {
        append_us,
        overwrite_us,
    } = results.disk_sync;
    for line in table::machine_lines(results) {
        say!("{line}");
    }
    say!("A sync of 4 KiB takes {append_us:.0} us (appended), {overwrite_us:.0} us (overwritten).");
    for warning in &results.warnings {
        say!("warning: {warning}");
    }
    say!(
        "{} of {} s, with what is around about {}. Ctrl-C stops and keeps what was measured.",
        counted((plan.cases().len() * plan.repeat) as u64, "run"),
        plan.seconds,
        words(plan.estimate())
    );
}

fn present(results: &results::Results, options: &StorageOptions) -> crate::error::Result<()> {
    if let Some(out) = &options.out {
        for path in report::write(results, out)? {
            say!("wrote {}", path.display());
        }
    }
    let text = if options.json {
        let mut summary = serde_json::to_value(results)?;
        if let Some(object) = summary.as_object_mut() {
            object.remove("runs");
            let failed: Vec<_> = results.runs.iter().filter(|run| !run.is_good()).collect();
            object.insert("failed_runs".to_owned(), serde_json::to_value(failed)?);
            object.remove("in_force");
        }
        serde_json::to_string_pretty(&summary)? + "\n"
    } else {
        table::render(results)
    };
    Ok(output::print(&text)?)
}
