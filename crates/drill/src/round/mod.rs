//! One round: start the server, load it, do something to it, see what becomes of every
//! request and of every process. Here up to the signal; `watch.rs` has what comes after it,
//! `finish.rs` the judgement.
//!
//! Called by `run.rs`. Bounds: each wait has a limit of the plan. Whatever happens, the
//! server is gone when this returns.

mod finish;
mod watch;

use std::collections::{BTreeMap, HashSet};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::aim::{self, Aim};
use crate::deed::Deed;
use crate::family::{self, Process, sockets};
use crate::load::{Load, Setting};
use crate::plan::{Mode, Plan};
use crate::random::Random;
use crate::ready;
use crate::record::Micros;
use crate::results::Round;
use crate::scenario::{Act, Scenario, To};
use crate::session::Session;
use crate::sockets::{connections, listeners};
use crate::verdict::Moments;
use turnkey_report::Error;
use turnkey_report::stop::Stop;

/// How often the table of connections is read to find those of a process that stands still.
const LOOKS_AT_TABLE: usize = 4;

/// Between two looks at what happens.
const LOOK: Duration = Duration::from_millis(10);

/// Before the signal: how long it is watched which workers have connections.
const WATCH: Duration = Duration::from_millis(300);

/// The same, while none has been seen to have one.
const WATCH_AT_MOST: Duration = Duration::from_secs(3);

/// How many workers may leave by themselves before one can be signalled.
const WORKERS: usize = 3;

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
                let how = left
                    .exit
                    .map_or(String::new(), |exit| format!(", with {exit}"));
                return Err(Error::Start(format!(
                    "the command left under load, before any signal{how}; it printed:\n{}",
                    self.session.output().text()
                )));
            }
        }
        Ok(!self.stop.asked())
    }

    /// A process that is not the first and has connections. Where all are short, it may take
    /// a while until one is seen.
    fn worker(&mut self) -> turnkey_report::Result<Process> {
        let mut busy: BTreeMap<i32, Process> = BTreeMap::new();
        let begun = Instant::now();
        while begun.elapsed() < WATCH || (busy.is_empty() && begun.elapsed() < WATCH_AT_MOST) {
            let inodes: HashSet<u64> = connections(self.port).iter().map(|s| s.inode).collect();
            for process in self.session.family.members() {
                let is_master = process.pid == self.session.master;
                if !is_master && !sockets(process.pid).is_disjoint(&inodes) {
                    busy.insert(process.pid, process);
                }
            }
            std::thread::sleep(LOOK);
            // Connections may be too short to be seen: then whoever can take them.
            if busy.is_empty() && begun.elapsed() >= WATCH {
                busy.extend(self.listeners().into_iter().map(|p| (p.pid, p)));
            }
        }
        let workers: Vec<Process> = busy.into_values().collect();
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
        let inodes = listeners(self.port);
        let mut members = self.session.family.members();
        let master = self.session.master;
        members.retain(|p| p.pid != master && !sockets(p.pid).is_disjoint(&inodes));
        members
    }

    /// Does it.
    fn act(&mut self) -> turnkey_report::Result<Done> {
        let done = self.before(None);
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
            Act::Send(signal, To::Worker) => return self.act_on_a_worker(signal),
            Act::Do(command) => {
                self.moments.signal = Some(self.load.signalled());
                self.deed = Some(Deed::start(&command, self.plan)?);
            }
        }
        self.seen.told_to_leave = self.moments.signal;
        Ok(done)
    }

    /// What is there before it.
    fn before(&mut self, worker: Option<Process>) -> Done {
        self.seen.printed = self.session.output().len();
        self.seen.first_is_a_shell = is_a_shell(&family::name(self.session.master));
        let members = self.session.family.members();
        Done {
            members: members.iter().map(|p| (p.pid, p.began)).collect(),
            worker,
        }
    }

    /// To a worker that is there: one may leave by itself just then, and another comes.
    fn act_on_a_worker(&mut self, signal: Signal) -> turnkey_report::Result<Done> {
        for _ in 0..WORKERS {
            let worker = self.worker()?;
            let done = self.before(Some(worker.clone()));
            if self.hit(&worker, signal) {
                self.seen.told_to_leave = self.moments.signal;
                return Ok(done);
            }
        }
        Err(Error::Start(format!(
            "{WORKERS} workers left before they could be signalled"
        )))
    }

    /// Whether it was still there. A worker that is to die or to hang is stopped first, to see
    /// exactly which connections it holds: these cannot be saved.
    fn hit(&mut self, worker: &Process, signal: Signal) -> bool {
        // Of one that left before it could be hit.
        self.moments.held.clear();
        let family = &mut self.session.family;
        if !matches!(signal, Signal::SIGKILL | Signal::SIGSTOP) {
            self.moments.signal = Some(self.load.signalled());
            return family.signal(worker, signal);
        }
        if !family.freeze(worker) {
            return false;
        }
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
        family.signal(worker, signal)
    }
}

/// Whether this is a shell that runs something else.
fn is_a_shell(name: &str) -> bool {
    let program = name.split(' ').next().unwrap_or_default();
    let program = program.rsplit('/').next().unwrap_or_default();
    let names = ["sh", "dash", "bash", "ash", "ksh", "zsh", "busybox"];
    names.contains(&program.trim_start_matches('-'))
}
