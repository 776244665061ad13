//! One round: start the server, load it, do something to it, see what becomes of every
//! request and of every process.
//!
//! Called by `run.rs`. Bounds: each wait has a limit of the plan. Whatever happens, the
//! server is gone when this returns.

use std::collections::{BTreeMap, HashSet};
use std::net::TcpListener;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::aim::{self, Aim};
use super::deed::Deed;
use super::diagnosis::{self, Facts};
use super::family::{self, Process, sockets};
use super::load::{Load, Setting};
use super::output::Traces;
use super::plan::{Mode, Plan};
use super::random::Random;
use super::ready::{self, PROBE, Ready};
use super::record::Micros;
use super::recorder::{Recorded, Told};
use super::results::{Round, Showing};
use super::scenario::{Act, Scenario, To};
use super::session::Session;
use super::sockets::{connections, is_listening, listening};
use super::storage;
use super::verdict::{Moments, Verdict};
use super::witness;
use turnkey_report::Error;
use turnkey_report::stop::Stop;

/// How often the table of connections is read to find those of a process that stands still.
const LOOKS_AT_TABLE: usize = 4;

/// Between two looks at what happens.
const LOOK: Duration = Duration::from_millis(10);

/// Before the signal: how long it is watched which workers have connections.
const WATCH: Duration = Duration::from_millis(300);

/// After the end of the first process: when others are counted.
const EARLY: Duration = Duration::from_millis(300);
const LATE: Duration = Duration::from_secs(2);

/// For new workers after a signal that asks for them, beyond `--after`.
const PATIENCE: Duration = Duration::from_secs(3);

/// What is tried in this round.
#[derive(Clone)]
pub(super) struct Case {
    pub(super) scenario: Scenario,
    pub(super) mode: Mode,
    pub(super) repeat: usize,
    /// Of all rounds, from 1.
    pub(super) round: usize,
    pub(super) seed: u64,
}

/// Runs it; none when asked to stop.
///
/// # Errors
/// [`Error::Start`] when the server cannot be drilled.
pub(super) fn run(plan: &Plan, case: &Case, stop: &Stop) -> turnkey_report::Result<Option<Round>> {
    let places = aim::places(plan)?;
    if !plan.command.is_empty() {
        aim::must_be_free(&places)?;
    }
    let mut session = Session::open(plan, case.round)?;
    let Some(ready) = ready::wait(plan, &places, &mut session, case.round, stop)? else {
        return Ok(None);
    };
    let mut random = Random::new(case.seed);
    let before = plan.before + random.part_of(plan.before / 2);
    let due = Instant::now() + before;
    let setting = Setting {
        aims: ready.aims.clone(),
        request: ready.request.clone(),
        mode: case.mode,
        round: case.round,
        seed: random.next(),
        due,
        first: 1000,
    };
    let load = Load::start(plan, setting)?;
    let Some(aim) = ready.aims.first().cloned() else {
        return Err(Error::msg("a load without an address"));
    };
    let mut drill = Drill {
        plan,
        case,
        stop,
        session,
        load,
        port: aim.address.port(),
        aim,
        deed: None,
        random,
        moments: Moments {
            may_refuse: case.scenario.stops(),
            expected: plan.expected.clone(),
            ..Moments::default()
        },
        seen: Seen::default(),
    };
    if !drill.wait_until(due)? {
        return Ok(None);
    }
    let done = drill.act()?;
    let over = match case.scenario.stops() {
        true => drill.watch_it_stop()?,
        false => drill.watch_it_go_on(&done)?,
    };
    if !over {
        return Ok(None);
    }
    drill.finish(&ready).map(Some)
}

/// What was seen of the server after the signal.
#[derive(Default)]
struct Seen {
    /// Bytes of its output before the signal.
    printed: usize,
    stopped_listening: Option<Micros>,
    left: Option<Micros>,
    /// When no process was left.
    gone: Option<Micros>,
    /// The moment from which leaving is measured.
    told_to_leave: Option<Micros>,
    successor: Option<Micros>,
    killed: bool,
    /// When `--stop-timeout` was over.
    killed_at: Option<Micros>,
    first_is_a_shell: bool,
    left_early: usize,
    left_behind: Vec<Process>,
    gone_though_it_should_stay: bool,
}

/// What was there at the signal.
struct Done {
    members: HashSet<(i32, u64)>,
    worker: Option<Process>,
}

struct Drill<'a> {
    plan: &'a Plan,
    case: &'a Case,
    stop: &'a Stop,
    session: Session,
    load: Load,
    port: u16,
    aim: Aim,
    /// The command of `--do`, once it runs.
    deed: Option<Deed>,
    random: Random,
    moments: Moments,
    seen: Seen,
}

impl Drill<'_> {
    /// The load alone, until shortly before the signal; whether it goes on.
    fn wait_until(&mut self, due: Instant) -> turnkey_report::Result<bool> {
        let watch = match self.case.scenario.hits_a_worker() {
            true => WATCH,
            false => Duration::ZERO,
        };
        while let Some(left) = (due - watch).checked_duration_since(Instant::now()) {
            if self.stop.sleep(left.min(LOOK)) {
                return Ok(false);
            }
            if let Some(left) = self.session.left(Duration::ZERO) {
                let how = left.exit.map_or(String::new(), |exit| format!(", with {exit}"));
                return Err(Error::Start(format!(
                    "the command left under load, before any signal{how}; it printed:\n{}",
                    self.session.output().text()
                )));
            }
        }
        Ok(!self.stop.asked())
    }

    /// A process that is not the first and has connections.
    fn worker(&mut self) -> turnkey_report::Result<Process> {
        let mut busy: BTreeMap<i32, Process> = BTreeMap::new();
        let until = Instant::now() + WATCH;
        while Instant::now() < until {
            let inodes: HashSet<u64> = connections(self.port).iter().map(|s| s.inode).collect();
            for process in self.session.family.members() {
                let is_master = process.pid == self.session.master;
                if !is_master && !sockets(process.pid).is_disjoint(&inodes) {
                    busy.insert(process.pid, process);
                }
            }
            std::thread::sleep(LOOK);
        }
        let mut workers: Vec<Process> = busy.into_values().collect();
        if workers.is_empty() {
            // Connections may be too short to be seen: then whoever can take them.
            workers = self.listeners();
        }
        if workers.is_empty() {
            return Err(Error::Start(format!(
                "{} needs a server with worker processes: no process but the first one has taken a \
                 connection; start it with more workers",
                self.case.scenario
            )));
        }
        let chosen = self.random.below(workers.len());
        Ok(workers[chosen].clone())
    }

    /// Processes beside the first that listen on the port.
    fn listeners(&mut self) -> Vec<Process> {
        let inodes: HashSet<u64> = listening()
            .iter()
            .filter(|socket| socket.local.port() == self.port)
            .map(|socket| socket.inode)
            .collect();
        let mut members = self.session.family.members();
        let master = self.session.master;
        members.retain(|p| p.pid != master && !sockets(p.pid).is_disjoint(&inodes));
        members
    }

    /// Does it.
    fn act(&mut self) -> turnkey_report::Result<Done> {
        let worker = match self.case.scenario.hits_a_worker() {
            true => Some(self.worker()?),
            false => None,
        };
        let members = self.session.family.members();
        self.seen.printed = self.session.output().len();
        self.seen.first_is_a_shell = is_a_shell(&family::name(self.session.master));
        match self.case.scenario.act()? {
            Act::CtrlC => {
                self.moments.signal = Some(self.load.signalled());
                self.session.press_ctrl_c()?;
            }
            Act::Send(signal, To::Master) => {
                self.moments.signal = Some(self.load.signalled());
                self.session.signal_master(signal)?;
            }
            Act::Send(signal, To::Group) => {
                self.moments.signal = Some(self.load.signalled());
                self.session.signal_group(signal)?;
            }
            Act::Send(signal, To::Worker) => self.hit(worker.as_ref(), signal)?,
            Act::Do(command) => {
                self.moments.signal = Some(self.load.signalled());
                self.deed = Some(Deed::start(&command, self.plan)?);
            }
        }
        self.seen.told_to_leave = self.moments.signal;
        Ok(Done {
            members: members.iter().map(|p| (p.pid, p.began)).collect(),
            worker,
        })
    }

    /// A worker that is to die or to hang is stopped first, to see exactly which
    /// connections it holds: these cannot be saved.
    fn hit(&mut self, worker: Option<&Process>, signal: Signal) -> turnkey_report::Result<()> {
        let worker = worker.ok_or_else(|| Error::msg("no worker was chosen"))?;
        let gone = || Error::Start("the worker left before it could be signalled".to_owned());
        let family = &mut self.session.family;
        if !matches!(signal, Signal::SIGKILL | Signal::SIGSTOP) {
            self.moments.signal = Some(self.load.signalled());
            return family.signal(worker, signal).then_some(()).ok_or_else(gone);
        }
        let stopped = family.freeze(worker);
        self.moments.signal = Some(self.load.signalled());
        let held = sockets(worker.pid);
        // The kernel's table changes while it is read, and a line may be passed over.
        for _ in 0..LOOKS_AT_TABLE {
            let held = connections(self.port)
                .into_iter()
                .filter(|socket| held.contains(&socket.inode))
                .map(|socket| socket.remote_port);
            self.moments.held.extend(held);
        }
        let hit = stopped && family.signal(worker, signal);
        hit.then_some(()).ok_or_else(gone)
    }

    fn since_signal(&self) -> Duration {
        let signal = self.moments.signal.unwrap_or_default();
        Duration::from_micros(self.load.now().saturating_sub(signal))
    }

    fn look_at_the_port(&mut self) {
        if self.seen.stopped_listening.is_none() && !is_listening(self.port) {
            self.seen.stopped_listening = Some(self.load.now());
        }
    }

    /// Until all processes are gone or the limit; whether the round goes on.
    fn watch_it_stop(&mut self) -> turnkey_report::Result<bool> {
        let kills = self.case.scenario == Scenario::KillMaster;
        let mut is_alone = false;
        loop {
            let wait = if self.seen.left.is_some() {
                Duration::ZERO
            } else {
                LOOK
            };
            if let Some(left) = self.session.left(wait) {
                self.seen.left = Some(self.load.moment(left.at));
            }
            self.look_at_the_port();
            if self.case.scenario == Scenario::DoubleCtrlC
                && self.moments.second.is_none()
                && self.seen.left.is_none()
                && self.since_signal() >= self.plan.gap
            {
                self.moments.second = Some(self.load.now());
                self.session.press_ctrl_c()?;
            }
            let is_late = self.plan.stop_timeout.is_some_and(|t| self.since_signal() >= t);
            if is_late && self.seen.killed_at.is_none() && self.seen.gone.is_none() {
                self.seen.killed_at = Some(self.load.now());
                self.session.family.kill_all();
            }
            if let Some(left) = self.seen.left {
                let since = Duration::from_micros(self.load.now() - left);
                is_alone = self.session.family.members().is_empty();
                if is_alone && self.seen.gone.is_none() {
                    self.seen.gone = Some(self.load.now());
                }
                if since >= EARLY && self.seen.left_early == 0 && since < EARLY + 10 * LOOK {
                    self.seen.left_early = self.session.family.members().len();
                }
                // Whose master is killed may finish what they have.
                let enough = if kills { self.plan.limit } else { LATE };
                if (is_alone && since >= EARLY) || since >= enough {
                    break;
                }
                // Orphans that serve on would be loaded for ever.
                if since >= LATE {
                    self.load.finish();
                }
                if self.stop.sleep(LOOK) {
                    return Ok(false);
                }
            } else if self.since_signal() >= self.plan.limit {
                self.seen.killed = true;
                // What is cut by our own SIGKILL is not the server's doing: what is under
                // way may end by itself, within its own time limit.
                self.load.finish();
                while !self.load.is_over() {
                    if self.stop.sleep(LOOK) {
                        return Ok(false);
                    }
                }
                break;
            }
            if self.stop.asked() {
                return Ok(false);
            }
        }
        if !is_alone && !self.seen.killed {
            self.seen.left_behind = self.session.family.members();
        }
        self.load.finish();
        Ok(true)
    }

    /// The load goes on until it is known whether the server does; then it is stopped.
    fn watch_it_go_on(&mut self, done: &Done) -> turnkey_report::Result<bool> {
        let needed = self.case.scenario.needs_a_successor();
        loop {
            if self.stop.sleep(LOOK) {
                return Ok(false);
            }
            if let Some(deed) = &mut self.deed {
                // Whatever it starts or stops, and wherever: it is over when it says so.
                match deed.ended() {
                    Some(at) if at.elapsed() >= self.plan.after => break,
                    _ => continue,
                }
            }
            if self.seen.successor.is_none() && self.is_succeeded(done) {
                self.seen.successor = Some(self.load.now());
            }
            let since = self.since_signal();
            let limit = match needed {
                true => self.plan.replace_limit,
                false => self.plan.after + PATIENCE,
            };
            let known = self.seen.successor.is_some();
            if since >= self.plan.after && (known || since >= limit) {
                break;
            }
            if !is_listening(self.port) && self.session.family.members().is_empty() {
                self.seen.gone_though_it_should_stay = true;
                self.seen.gone = Some(self.load.now());
                self.seen.left = self.seen.gone;
                self.load.finish();
                return Ok(true);
            }
        }
        self.load.finish();
        while !self.load.is_over() {
            if self.stop.sleep(LOOK) {
                return Ok(false);
            }
        }
        match self.session.is_ours() {
            true => self.end_it(done),
            false => Ok(true),
        }
    }

    /// Whether a process that was not there has taken a connection.
    fn is_succeeded(&mut self, done: &Done) -> bool {
        let new: Vec<Process> = self
            .session
            .family
            .members()
            .into_iter()
            .filter(|process| !done.members.contains(&(process.pid, process.began)))
            .collect();
        if new.is_empty() {
            return false;
        }
        let pids: Vec<i32> = new.iter().map(|process| process.pid).collect();
        witness::is_taken_by(self.aim.address, &self.aim.host, &pids)
    }

    /// SIGTERM to whoever leads, once nobody asks anything any more.
    fn end_it(&mut self, done: &Done) -> turnkey_report::Result<bool> {
        let members = self.session.family.members();
        let pids: HashSet<i32> = members.iter().map(|process| process.pid).collect();
        self.seen.told_to_leave = Some(self.load.now());
        for process in members
            .iter()
            .filter(|process| !pids.contains(&process.parent))
        {
            self.session.family.signal(process, Signal::SIGTERM);
        }
        // One that hangs and was never replaced could not even hear of it.
        if let Some(worker) = &done.worker {
            self.session.family.signal(worker, Signal::SIGCONT);
        }
        loop {
            self.look_at_the_port();
            let left = self.session.left(Duration::ZERO);
            let first = left.is_some();
            if first && self.session.family.members().is_empty() {
                self.seen.gone = Some(self.load.now());
                // After an upgrade, the first process left long ago.
                self.seen.left = self.seen.gone;
                return Ok(true);
            }
            let told = self.seen.told_to_leave.unwrap_or_default();
            if Duration::from_micros(self.load.now() - told) >= self.plan.limit {
                self.seen.killed = !first;
                self.seen.left_behind = match first {
                    true => self.session.family.members(),
                    false => Vec::new(),
                };
                return Ok(true);
            }
            if self.stop.sleep(LOOK) {
                return Ok(false);
            }
        }
    }

    /// What the diagnosis needs beside the requests.
    fn facts(&mut self) -> Facts {
        let listeners: HashSet<u64> = listening()
            .iter()
            .filter(|socket| socket.local.port() == self.port)
            .map(|socket| socket.inode)
            .collect();
        let holds = |process: &Process| !sockets(process.pid).is_disjoint(&listeners);
        let scenario = &self.case.scenario;
        let asked = scenario.asks_with();
        Facts {
            by_design: match (self.plan.known(), asked) {
                (Some(known), Some(signal)) => !known.finishes_on(signal),
                _ => false,
            },
            stops: scenario.stops(),
            killed: self.seen.killed_at,
            left: self.seen.left,
            stopped_listening: self.seen.stopped_listening,
            first_is_a_shell: self.seen.first_is_a_shell,
            killed_at_limit: self.seen.killed,
            left_behind: self.seen.left_behind.len() as u64,
            port_is_held: self.seen.left_behind.iter().any(holds),
            goes_on: scenario.is_done_by_command(),
        }
    }

    /// Everything is over: collects what is known.
    fn finish(mut self, ready: &Ready) -> turnkey_report::Result<Round> {
        // Before anything is killed here.
        let facts = self.facts();
        let recorded = self.load.join()?;
        let left = self.session.left(Duration::ZERO);
        let exit = left.and_then(|left| left.exit);
        if self.seen.killed || !self.seen.left_behind.is_empty() {
            self.session.family.kill();
        }
        // The last lines may still be on their way.
        std::thread::sleep(Duration::from_millis(30));
        let output = self.session.output();
        // What was not started here may have a successor, or listen for others, too.
        let is_alone = self.session.is_ours() && self.seen.left_behind.is_empty();
        let port_is_free = is_alone.then(|| {
            // Servers allow the reuse of an address, too.
            TcpListener::bind(self.aim.address).is_ok()
        });
        let outage = Duration::from_micros(recorded.outage);
        self.moments.may_refuse |= outage <= self.plan.allow_refused;
        let storage = match &ready.storage {
            Some(place) => {
                let told = with_probes(&recorded, ready);
                Some(storage::check(
                    place,
                    &self.plan.run,
                    self.case.round,
                    &told,
                )?)
            }
            None => None,
        };
        let seconds =
            |from: Option<Micros>, to: Option<Micros>| Some(to?.saturating_sub(from?) as f64 / 1e6);
        let (signal, seen) = (self.moments.signal, self.seen);
        let first_refusal = recorded.first_refusal;
        let counts = Round::count(&recorded, &self.moments);
        let (under_way, later) = Round::around(&recorded, &self.moments);
        let refused = counts.get(&Verdict::Refused).copied().unwrap_or_default();
        let mut round = Round {
            scenario: self.case.scenario.to_string(),
            load: self.case.mode.name(),
            repeat: self.case.repeat,
            seed: self.case.seed,
            port: self.port,
            signal_after_s: signal.unwrap_or_default() as f64 / 1e6,
            requests: counts.values().sum::<u64>() - refused,
            in_flight_at_signal: Round::in_flight(&recorded, signal),
            counts,
            under_way,
            later,
            cut_how: Round::how(&recorded, &self.moments),
            statuses: recorded.statuses.clone(),
            slow_answered: Round::slow(&recorded, &self.moments),
            refused_after_s: seconds(signal, first_refusal),
            stopped_listening_after_s: seconds(seen.told_to_leave, seen.stopped_listening),
            left_after_s: seconds(seen.told_to_leave, seen.left),
            gone_after_s: seconds(seen.told_to_leave, seen.gone),
            exit: exit.filter(|_| !seen.killed),
            killed_at_limit: seen.killed,
            replaced_after_s: seconds(signal, seen.successor),
            left_early: seen.left_early,
            left_behind: seen.left_behind,
            port_is_free,
            traces: Traces::find(&output.text_after(seen.printed)),
            output: output.text(),
            longest_refusal_s: outage.as_secs_f64(),
            done_by: self.deed.as_ref().map(Deed::result),
            backends: recorded
                .backends
                .iter()
                .map(|(name, counts)| (name.to_string(), *counts))
                .collect(),
            leaves: recorded.leaves,
            early_answers: recorded.early_answers,
            messages: recorded.messages,
            events: recorded.events,
            unready_after_s: seconds(
                signal,
                recorded.readiness.turned_away(signal.unwrap_or_default()),
            ),
            storage,
            killed_at_stop_timeout: seen.killed_at.is_some(),
            findings: diagnosis::findings(&recorded, &self.moments, &facts),
            allowed: Vec::new(),
            problems: Vec::new(),
            showing: None,
        };
        round.judge(
            &self.case.scenario,
            seen.gone_though_it_should_stay,
            recorded.dropped,
            self.plan,
        );
        round.showing = Some(Showing {
            records: recorded.records,
            moments: self.moments,
            stopped_listening: seen.stopped_listening,
            left: seen.left,
            successor: seen.successor,
        });
        Ok(round)
    }
}

/// Whether this is a shell that runs something else.
fn is_a_shell(name: &str) -> bool {
    let program = name.split(' ').next().unwrap_or_default();
    let program = program.rsplit('/').next().unwrap_or_default();
    let names = ["sh", "dash", "bash", "ash", "ksh", "zsh", "busybox"];
    names.contains(&program.trim_start_matches('-'))
}

/// What the clients were told, with those that asked first.
fn with_probes(recorded: &Recorded, ready: &Ready) -> super::recorder::OfClients {
    let mut told = recorded.of_clients.clone();
    let mut probe = Told::default();
    for record in &ready.probes {
        probe.add(record);
    }
    told.insert(PROBE, probe);
    told
}
