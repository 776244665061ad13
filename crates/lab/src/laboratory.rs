//! The whole laboratory: surroundings, all runs in turn, table and files.
//!
//! Called by `crates/tool/src/bench.rs`. Whatever ends it, Ctrl-C included, what was measured is
//! shown and written, and nothing is left behind: databases are in a temporary
//! directory, servers end with their keepers.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::child::{NoAnswer, Process};
use super::measure::{Device, FileSystem, Machine, SyncTimes, sync_times};
use super::plan::{Plan, StorageOptions};
use super::progress::{Progress, words};
use super::run::{Bench, Server};
use super::{Outcome, order, report, results, servers, summary, table};
use crate::error::Error;
use turnkey_report::files::reason;
use turnkey_report::say;
use turnkey_report::stop::Stop;
use turnkey_text::numbers::counted;
use turnkey_text::output;

/// For a private server to be made and started.
const SERVER_PATIENCE: Duration = Duration::from_secs(180);

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
            .map(|engine| (engine.name().to_owned(), engine.about().to_owned()))
            .collect(),
        settings: plan.clone(),
        medians: Vec::new(),
        runs: Vec::new(),
    };
    sqlite_facts(&mut results)?;
    let keepers = match start_servers(&plan, options, directory, &stop) {
        Ok(keepers) => keepers,
        Err(NoAnswer::Interrupted) => return Ok(Outcome::Interrupted),
        Err(NoAnswer::Failed(error)) => return Err(error),
    };
    let servers = connect_servers(&plan, options, &keepers, &mut results)?;
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
    results.medians = summary::summarize(&results.runs);
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

/// Draws the report of a `results.json` again.
///
/// # Errors
/// [`Error::Start`] with a sentence: not readable, not of this format, `out` not
/// writable.
pub fn redraw(file: &Path, out: &Path) -> crate::error::Result<()> {
    let refuse = |why: String| Error::Start(format!("{}: {why}", file.display()));
    let text = fs::read_to_string(file).map_err(|e| refuse(e.to_string()))?;
    let format = serde_json::from_str::<serde_json::Value>(&text)
        .map_err(|e| refuse(format!("is not JSON: {e}")))?["format"]
        .as_u64();
    if format != Some(results::FORMAT.into()) {
        return Err(refuse(
            "is not a results.json of this version of turnkey bench storage".to_owned(),
        ));
    }
    let results = serde_json::from_str(&text).map_err(|e| refuse(e.to_string()))?;
    report::make_directory(out)?;
    for path in report::write(&results, out)? {
        say!("wrote {}", path.display());
    }
    Ok(())
}

/// Whether all of them were measured.
fn all_runs(bench: &Bench<'_>, results: &mut results::Results) -> bool {
    let cases = bench.plan.cases();
    let mut progress = Progress::new(cases.len() * bench.plan.repeat);
    for repeat in 1..=bench.plan.repeat {
        for case in &cases {
            progress.show(case, repeat);
            let Some(run) = bench.measure(case, repeat, || progress.show(case, repeat)) else {
                progress.clear();
                return false;
            };
            progress.ended(case, repeat, &run);
            results.runs.push(run);
            if bench.stop.asked() {
                progress.clear();
                return false;
            }
        }
    }
    true
}

/// Keepers of private servers, each with what it serves.
type Keepers = Vec<(servers::Kind, Process, order::Serving)>;

fn start_servers(
    plan: &Plan,
    options: &StorageOptions,
    directory: &Path,
    stop: &Stop,
) -> Result<Keepers, NoAnswer> {
    let mut keepers = Keepers::new();
    if !options.start_servers {
        return Ok(keepers);
    }
    // The server's user must be able to enter.
    fs::set_permissions(directory, fs::Permissions::from_mode(0o755))?;
    for kind in plan.engines.iter().filter_map(|engine| engine.server()) {
        if keepers.iter().any(|(started, ..)| *started == kind) {
            continue;
        }
        say!("Starting a private {} server ...", kind.name());
        let home = directory.join(format!("server-{}", keepers.len()));
        fs::create_dir(&home)?;
        let order = order::Order::Serve {
            kind,
            directory: home,
        };
        let process = Process::start(&order)?;
        match process.answer(SERVER_PATIENCE, stop)? {
            order::Line::Serving(serving) => keepers.push((kind, process, serving)),
            other => {
                return Err(NoAnswer::Failed(Error::Start(format!(
                    "the private server's keeper said {other:?}"
                ))));
            }
        }
    }
    Ok(keepers)
}

/// Connects to the servers that the plan needs, private or named.
fn connect_servers(
    plan: &Plan,
    options: &StorageOptions,
    keepers: &Keepers,
    results: &mut results::Results,
) -> crate::error::Result<Vec<Server>> {
    let mut servers: Vec<Server> = Vec::new();
    for kind in plan.engines.iter().filter_map(|engine| engine.server()) {
        if servers.iter().any(|known| known.kind == kind) {
            continue;
        }
        let private = keepers.iter().find(|(kept, ..)| *kept == kind);
        let private = private.map(|(_, _, serving)| serving);
        let named = options.server(kind);
        let Some(url) = private.map_or(named, |serving| Some(&serving.url)) else {
            return Err(Error::Start(format!("no {} server is named", kind.name())));
        };
        let admin = servers::admin(kind, url, private.is_some())?;
        for sync in &plan.sync {
            admin.set_durability(*sync)?;
        }
        let (version, mut settings) = admin.about()?;
        results.versions.insert(kind.name().to_owned(), version);
        settings.push(match private {
            Some(serving) => format!(
                "a private server on a Unix socket; beyond the defaults: {}",
                serving.settings.join(", ")
            ),
            None => "a server that was named".to_owned(),
        });
        results.setup.insert(kind.name().to_owned(), settings);
        let pid = private
            .map(|serving| serving.pid)
            .or_else(|| admin.local_pid());
        if pid.is_none() {
            results.warnings.push(format!(
                "the {} server's processes are not on this machine: its processor time is not known",
                kind.name()
            ));
        }
        servers.push(Server {
            kind,
            admin,
            pid,
            is_private: private.is_some(),
        });
    }
    Ok(servers)
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
        }
        serde_json::to_string_pretty(&summary)? + "\n"
    } else {
        table::render(results)
    };
    Ok(output::print(&text)?)
}
