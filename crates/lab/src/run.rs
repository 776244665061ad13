//! One run: starts its processes, lets them begin at the same moment, looks at the
//! machine at both ends of the window, checks the counters. `tally.rs` adds up.
//!
//! Called by `laboratory.rs`. Invariant: when [`Bench::measure`] returns, whatever happened,
//! its processes have ended and its database is gone. Bounds: [`PATIENCE`] for a
//! process to get ready and to answer.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use super::check;
use super::child::{Answer, NoAnswer, Process, failed};
use super::engines::{self, Engine};
use super::measure::{self, Device};
use super::order::{Line, Load, Loaded, Order, Window, Written};
use super::plan::{Case, Plan};
use super::results::Run;
use super::servers::{Admin, Counters, Kind};
use super::tally::{self, Sample};
use turnkey_report::say;
use turnkey_report::stop::Stop;

/// For a process to get ready, or to answer after the window.
const PATIENCE: Duration = Duration::from_secs(60);

/// For users to be made: ten million take minutes.
const FILLING: Duration = Duration::from_secs(1800);

/// From the last word to all processes until the first turn.
const HEAD_START: Duration = Duration::from_millis(50);

/// What a run needs to know of its surroundings.
pub(super) struct Bench<'a> {
    pub(super) plan: &'a Plan,
    pub(super) directory: &'a Path,
    pub(super) device: Option<&'a Device>,
    pub(super) servers: &'a [Server],
    pub(super) stop: &'a Stop,
}

/// A server that engines are measured on.
pub(super) struct Server {
    pub(super) kind: Kind,
    pub(super) admin: Box<dyn Admin>,
    /// Its first process, on this machine.
    pub(super) pid: Option<u32>,
    /// Its files are in the laboratory's directory.
    pub(super) is_private: bool,
    /// Those of `-c` that it was started with.
    pub(super) settings: BTreeMap<String, String>,
}

/// Where a run's states are; dropping it removes them.
enum Place<'a> {
    Directory { _kept: tempfile::TempDir },
    Database { server: &'a Server, name: String },
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if let Place::Database { server, name } = self
            && let Err(error) = server.admin.remove(name)
        {
            say!("warning: {error}");
        }
    }
}

/// A run, and the settings that its engine had.
pub(super) struct Measured {
    pub(super) run: Run,
    pub(super) in_force: BTreeMap<String, String>,
}

impl Bench<'_> {
    /// Measures a case once. `during` is called while it waits.
    ///
    /// # Errors
    /// None when it was interrupted. A run that failed is a [`Run`] that says so.
    pub(super) fn measure(
        &self,
        case: &Case,
        repeat: usize,
        during: impl Fn(),
    ) -> Option<Measured> {
        let mut run = Run {
            engine: self.plan.name(case.engine).to_owned(),
            situation: case.situation(),
            repeat,
            ..Run::default()
        };
        let mut in_force = BTreeMap::new();
        match self.try_measure(case, repeat, &mut run, &mut in_force, during) {
            Ok(()) => {}
            Err(NoAnswer::Interrupted) => return None,
            Err(NoAnswer::Failed(error)) => run.failed = Some(error.to_string()),
        }
        Some(Measured { run, in_force })
    }

    fn server(&self, case: &Case) -> Option<&Server> {
        let kind = case.engine.server()?;
        let fits = |server: &&Server| {
            let mut settings = server.settings.iter();
            server.kind == kind
                && settings.all(|(name, value)| case.settings.get(name) == Some(value))
        };
        self.servers.iter().find(fits)
    }

    fn place(&self, case: &Case) -> crate::error::Result<(Place<'_>, String)> {
        if let Some(server) = self.server(case) {
            let random =
                turnkey_storage::sqlite::random_owner().map_err(crate::error::Error::start)?;
            let name = format!("turnkey_bench_{:x}", random.0);
            server.admin.set_durability(case.sync)?;
            let url = server.admin.create(&name)?;
            if server.settings.is_empty() && case.engine.takes("-c", "") {
                server.admin.set_settings(&name, &case.settings)?;
            }
            return Ok((Place::Database { server, name }, url));
        }
        let directory = tempfile::Builder::new()
            .prefix("run-")
            .tempdir_in(self.directory)?;
        let url = format!("sqlite:{}", directory.path().join("bench.db").display());
        Ok((Place::Directory { _kept: directory }, url))
    }

    fn try_measure(
        &self,
        case: &Case,
        repeat: usize,
        run: &mut Run,
        in_force: &mut BTreeMap<String, String>,
        during: impl Fn(),
    ) -> Answer<()> {
        let (place, url) = self.place(case)?;
        let takes_pragma = |name: &str| case.engine.takes("--pragma", name);
        let pragmas = case.settings.iter().filter(|(name, _)| takes_pragma(name));
        let load = Load {
            engine: case.engine,
            url,
            sync: case.sync,
            users: self.plan.users,
            state_bytes: case.state_bytes,
            in_flight: case.in_flight,
            pool: self.plan.pool_of(case),
            // The same users in every engine.
            seed: repeat as u64 * 1_000_003,
            process: 0,
            processes: case.processes,
            rate: case.rate,
            stall: self.plan.stall,
            pragmas: pragmas.map(|(n, v)| (n.clone(), v.clone())).collect(),
            workload: self
                .plan
                .workload
                .as_ref()
                .map(|(workload, _)| workload.clone()),
            command: self
                .plan
                .foreign_of(case.engine)
                .map(|known| known.command.clone()),
        };
        if case.engine.server().is_some() && !case.engine.is_ours() {
            run.pool = Some(load.pool);
        }
        let mut writer = None;
        if case.engine.has_writer() {
            let process = Process::start(&Order::Write(load.clone()))?;
            process.answer(PATIENCE, self.stop)?;
            writer = Some(process);
        }
        let mut filling = Process::start(&Order::Fill(load.clone()))?;
        filling.answer(FILLING, self.stop)?;
        filling.wait(PATIENCE);
        drop(filling);
        let before = self.server_counters(&place)?;
        let mut clients = Vec::new();
        for process in 0..case.processes {
            let mut load = load.clone();
            load.seed += process as u64 * 97;
            load.process = process;
            clients.push(Process::start(&Order::Load(load))?);
        }
        for client in &clients {
            client.answer(PATIENCE, self.stop)?;
        }
        let device_before = self.device_bytes(case);
        let begin = measure::now() + HEAD_START.as_nanos() as u64;
        let from = begin + Duration::from_secs_f64(self.plan.warm_up_seconds).as_nanos() as u64;
        let window = Window {
            begin,
            from,
            until: from + Duration::from_secs_f64(self.plan.seconds).as_nanos() as u64,
        };
        for process in writer.iter_mut().chain(&mut clients) {
            process.tell(&window)?;
        }
        let pids: Vec<u32> = clients.iter().map(Process::pid).collect();
        let writer_pid = writer.as_ref().map(Process::pid);
        self.sleep_until(window.from, &during)?;
        let first = self.sample(&pids, writer_pid, case);
        self.sleep_until(window.until, &during)?;
        let last = self.sample(&pids, writer_pid, case);
        let mut loaded = Vec::new();
        for client in &clients {
            match client.answer(PATIENCE, self.stop)? {
                Line::Loaded(answer) => loaded.push(answer),
                other => return failed(format!("an answer that was not asked for: {other:?}")),
            }
        }
        let device_after = self.device_bytes(case);
        for client in &mut clients {
            client.let_go();
            client.wait(PATIENCE);
        }
        drop(clients);
        let mut written = None;
        if let Some(mut process) = writer {
            process.let_go();
            match process.answer(PATIENCE, self.stop)? {
                Line::Written(answer) => written = Some(answer),
                other => return failed(format!("an answer that was not asked for: {other:?}")),
            }
            process.wait(PATIENCE);
        }
        tally::add_up(run, &loaded, &window, self.plan.seconds)?;
        if let Some(part) = loaded.first() {
            in_force.clone_from(&part.in_force);
        }
        tally::per_turn(run, &first, &last, case.engine);
        run.device_bytes_per_turn = device_before
            .zip(device_after)
            .filter(|_| run.acknowledged > 0)
            .map(|(a, b)| b.saturating_sub(a) as f64 / run.acknowledged as f64);
        self.commits_and_syncs(run, &loaded, written, before, &place)?;
        if in_force.is_empty() {
            *in_force = self.settings_in_force(case, &load)?;
        }
        if let Err(sentence) = self.check(run, &load)? {
            run.failed = Some(sentence);
        } else if run.turns == 0 {
            run.failed = Some(format!("no turn ended within {} s", self.plan.seconds));
        }
        Ok(())
    }

    /// What the database says of the acknowledged turns.
    fn check(&self, run: &mut Run, load: &Load) -> crate::error::Result<Result<(), String>> {
        let Some(workload) = &load.workload else {
            let sum = engines::sum(load)?;
            run.sum_of_counters = Some(sum);
            return Ok(check::counters(sum, run.acknowledged, run.uncertain));
        };
        let found = engines::invariants(load, workload)?;
        run.invariants = check::invariants(workload, load.engine, &run.transactions, &found);
        Ok(check::hold(&run.invariants))
    }

    /// What somebody else can see of the settings: of a file, or of a server.
    fn settings_in_force(
        &self,
        case: &Case,
        load: &Load,
    ) -> crate::error::Result<BTreeMap<String, String>> {
        if let Some(server) = self.server(case) {
            return server.admin.in_force();
        }
        if !load.path().exists() {
            return Ok(BTreeMap::new());
        }
        let conn = rusqlite::Connection::open(load.path())?;
        let mut found = super::settings::in_force(&conn)?;
        // Those of the writer's connection, not of this one.
        found.retain(|name, _| super::settings::is_of_file(name) || name == "journal_mode");
        found.extend(load.pragmas.clone());
        Ok(found)
    }

    fn sleep_until(&self, moment: u64, during: impl Fn()) -> Answer<()> {
        loop {
            let left = Duration::from_nanos(moment.saturating_sub(measure::now()));
            if left.is_zero() {
                return Ok(());
            }
            if self.stop.sleep(left.min(Duration::from_millis(200))) {
                return Err(NoAnswer::Interrupted);
            }
            // Not at the end: the sample must be on time.
            if left > Duration::from_millis(300) {
                during();
            }
        }
    }

    fn sample(&self, clients: &[u32], writer: Option<u32>, case: &Case) -> Sample {
        let server = self
            .server(case)
            .and_then(|server| server.pid)
            .map(|pid| measure::usage(&measure::tree(pid), true));
        Sample {
            at: measure::now(),
            clients: match case.engine {
                // With the program that each of them has started.
                Engine::Foreign(_) => {
                    let trees: Vec<u32> =
                        clients.iter().flat_map(|pid| measure::tree(*pid)).collect();
                    measure::usage(&trees, false)
                }
                _ => measure::usage(clients, false),
            },
            writer: measure::usage(writer.as_slice(), false),
            server,
            own: measure::usage(&[std::process::id()], false),
            machine: measure::machine_time(),
            flushes: self.device.and_then(Device::flushes),
        }
    }

    /// What was written to the device so far, once what is dirty has reached it; none where
    /// the database is somewhere else, or on no block device.
    fn device_bytes(&self, case: &Case) -> Option<u64> {
        let is_here = self.server(case).is_none_or(|server| server.is_private);
        let device = self.device.filter(|_| is_here)?;
        measure::write_back(self.directory).ok()?;
        device.written()
    }

    /// Commits and syncs, from whoever knows them best.
    fn commits_and_syncs(
        &self,
        run: &mut Run,
        loaded: &[Loaded],
        written: Option<Written>,
        before: Option<Counters>,
        place: &Place<'_>,
    ) -> crate::error::Result<()> {
        let ratio = |a: u64, b: u64| (b > 0).then(|| a as f64 / b as f64);
        if let Some(written) = written {
            run.turns_per_commit = ratio(written.turns, written.commits);
            run.syncs_per_turn = ratio(written.syncs, written.turns);
            run.syncs_source = Some("the writer's counter".to_owned());
        } else if let Some((commits, syncs)) =
            loaded.first().and_then(|part| part.commits.zip(part.syncs))
        {
            run.turns_per_commit = ratio(run.turns, commits);
            run.syncs_per_turn = ratio(syncs, run.turns);
            run.syncs_source = Some("counted at each commit and checkpoint".to_owned());
        } else if let Some(before) = before {
            if let Some(after) = self.server_counters(place)? {
                let commits = after.commits.saturating_sub(before.commits);
                run.turns_per_commit = ratio(run.acknowledged, commits);
                let syncs = after.syncs.saturating_sub(before.syncs);
                run.syncs_per_turn = ratio(syncs, run.acknowledged);
                run.syncs_source = Some(after.source.to_owned());
            }
        } else if matches!(place, Place::Directory { .. }) {
            // A transaction is a turn.
            run.turns_per_commit = Some(1.0);
            run.syncs_per_turn = run.device_flushes_per_turn;
            run.syncs_source = run
                .device_flushes_per_turn
                .map(|_| "flushes of the whole device, /sys/dev/block".to_owned());
        }
        Ok(())
    }

    fn server_counters(&self, place: &Place<'_>) -> crate::error::Result<Option<Counters>> {
        let Place::Database { server, name } = place else {
            return Ok(None);
        };
        server.admin.wait_until_left(name)?;
        server.admin.counters(name)
    }
}
