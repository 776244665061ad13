//! The load: clients that send one request after another, slow ones beside them, some that
//! are held in the middle of their request when the signal comes, and in `lasting.rs` those
//! whose connections last.
//!
//! One thread with an event loop: a server under test on a small machine needs the
//! others. Called by `round/`. Bounds: the clients of the plan; a request ends at its
//! time limit; records are bounded by `recorder.rs`.

mod errands;
mod lasting;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::task::{JoinSet, LocalSet};
use tokio::time::sleep;

use crate::aim::Aim;
use crate::client::{Client, Connection, Hold, Order};
use crate::connect::Idle;
use crate::http2::{Leave, Shared};
use crate::plan::{Mode, Plan};
use crate::random::Random;
use crate::record::{End, Kind, Micros, Record};
use crate::recorder::{Recorded, Recorder};
use crate::template::{Counters, Request};
use turnkey_report::Error;

use errands::Errand;

/// The number of the first request; those before it are for the probes.
const FIRST: u64 = 1000;

/// After a refusal, before the next try.
const AGAIN: Duration = Duration::from_millis(10);

/// The longest time before the signal at which a request that is held begins.
const EARLIEST: Duration = Duration::from_millis(60);

/// Between two questions for readiness.
const READY_EVERY: Duration = Duration::from_millis(20);

/// The number of the client that asks them: a multiple of all numbers of URLs, so that it
/// asks the first.
const READINESS: usize = 232_792_560;

/// What a round's load needs beside the plan.
pub(super) struct Setting {
    /// Clients are spread over these.
    pub(super) aims: Vec<Aim>,
    pub(super) request: Request,
    pub(super) mode: Mode,
    pub(super) round: usize,
    pub(super) seed: u64,
    /// When the signal is to be sent.
    pub(super) due: Instant,
}

/// How far the load goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Until {
    Told,
    /// No new request; those under way end by themselves.
    Finish,
}

/// A load under way.
pub(super) struct Load {
    base: Instant,
    signalled: Arc<AtomicU64>,
    until: watch::Sender<Until>,
    thread: JoinHandle<turnkey_report::Result<Recorded>>,
}

impl Load {
    pub(super) fn start(plan: &Plan, setting: Setting) -> turnkey_report::Result<Self> {
        let base = Instant::now();
        let (until, told) = watch::channel(Until::Told);
        let signalled = Arc::new(AtomicU64::new(0));
        let (plan, marked) = (plan.clone(), signalled.clone());
        let thread = std::thread::Builder::new()
            .name("load".to_owned())
            .spawn(move || Generator::new(plan, setting, base, marked, told).run())?;
        Ok(Load {
            base,
            signalled,
            until,
            thread,
        })
    }

    pub(super) fn now(&self) -> Micros {
        self.base.elapsed().as_micros() as Micros
    }

    /// A moment of the same clock.
    pub(super) fn moment(&self, at: Instant) -> Micros {
        at.saturating_duration_since(self.base).as_micros() as Micros
    }

    /// The signal goes out now: from here on every record is kept.
    pub(super) fn signalled(&self) -> Micros {
        let now = self.now().max(1);
        self.signalled.store(now, Ordering::Release);
        now
    }

    pub(super) fn is_over(&self) -> bool {
        self.thread.is_finished()
    }

    /// No new requests.
    pub(super) fn finish(&self) {
        self.until.send_replace(Until::Finish);
    }

    /// Waits for the last request.
    pub(super) fn join(self) -> turnkey_report::Result<Recorded> {
        self.finish();
        self.thread
            .join()
            .map_err(|_| Error::msg("a thread of the load panicked"))?
    }
}

struct Generator {
    client: Client,
    /// Connections of HTTP/2 that clients share.
    links: Vec<Shared>,
    signalled: Arc<AtomicU64>,
    /// The number of the next request.
    next: Cell<u64>,
    recorder: RefCell<Recorder>,
    plan: Plan,
    setting: Setting,
    told: watch::Receiver<Until>,
}

impl Generator {
    fn new(
        plan: Plan,
        setting: Setting,
        base: Instant,
        signalled: Arc<AtomicU64>,
        told: watch::Receiver<Until>,
    ) -> Self {
        let clients = plan.clients();
        let of_each_aim = clients.div_ceil(setting.aims.len()).div_ceil(plan.streams);
        let links = of_each_aim * setting.aims.len();
        Generator {
            client: Client::new(plan.timeout, base, plan.backend_header.as_deref()),
            links: (0..links).map(|_| Shared::default()).collect(),
            next: Cell::new(FIRST),
            recorder: RefCell::new(Recorder::new(signalled.clone(), plan.expected.clone())),
            signalled,
            plan,
            setting,
            told,
        }
    }

    /// That which this client shares with others to the same address.
    fn link(&self, client: usize) -> Option<&Shared> {
        let aims = self.setting.aims.len();
        let number = client / aims / self.plan.streams;
        self.links.get(number * aims + client % aims)
    }

    fn run(self) -> turnkey_report::Result<Recorded> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let generator = Rc::new(self);
        let all_are_well = LocalSet::new().block_on(&runtime, async {
            let mut clients = JoinSet::new();
            if let Some(path) = &generator.plan.ready_path {
                let (generator, request) = (generator.clone(), Request::get(path.as_str()));
                clients.spawn_local(async move { generator.readiness(&request).await });
            }
            for lasting in generator.lasting() {
                let generator = generator.clone();
                clients.spawn_local(async move { generator.last(&lasting).await });
            }
            for errand in generator.errands() {
                let generator = generator.clone();
                clients.spawn_local(async move { generator.steady(&errand).await });
            }
            for errand in generator.held_errands() {
                let generator = generator.clone();
                clients.spawn_local(async move { generator.held(&errand).await });
            }
            let mut all_are_well = true;
            while let Some(ended) = clients.join_next().await {
                all_are_well &= ended.is_ok();
            }
            all_are_well
        });
        drop(runtime);
        if !all_are_well {
            return Err(Error::msg("a client of the load panicked"));
        }
        let generator = Rc::try_unwrap(generator).map_err(|_| Error::msg("a client is left"))?;
        let signal = generator.signalled.load(Ordering::Acquire);
        let mut recorded = generator.recorder.into_inner().into_recorded();
        for watch in generator.client.watched() {
            match watch.leave(signal) {
                Leave::None => {}
                Leave::InTwoSteps => recorded.leaves.in_two_steps += 1,
                Leave::AtOnce => recorded.leaves.at_once += 1,
                Leave::Silent => recorded.leaves.silent += 1,
            }
        }
        Ok(recorded)
    }

    fn is_told_to_end(&self) -> bool {
        *self.told.borrow() != Until::Told
    }

    fn random(&self, client: usize) -> Random {
        Random::new(self.setting.seed.wrapping_add(client as u64 * 7919 + 1))
    }

    /// Of a new request.
    fn counters(&self, errand: &Errand) -> Counters<'_> {
        let n = self.next.get();
        self.next.set(n + 1);
        Counters {
            n,
            client: errand.client,
            round: self.setting.round,
            run: &self.plan.run,
        }
    }

    /// Where its requests go, and the number of that address.
    fn aim(&self, errand: &Errand) -> (usize, &Aim) {
        let which = errand.client % self.setting.aims.len();
        (which, &self.setting.aims[which])
    }

    async fn send(
        &self,
        errand: &Errand,
        kept: Option<Connection>,
        hold: Option<Hold>,
    ) -> (Record, Option<Connection>) {
        let counters = self.counters(errand);
        let (which, aim) = self.aim(errand);
        let upload = self.upload(errand);
        let message = errand.request.message(&counters);
        let message = match &upload {
            Some(paced) => message.uploading(paced),
            None => message,
        };
        let order = Order {
            aim: which,
            keep_alive: errand.keep_alive,
            upload,
            shared: match hold {
                None if errand.keep_alive => self.link(errand.client),
                _ => None,
            },
            hold,
            ..Order::plain(&counters, errand.kind, &message)
        };
        self.client.request(aim, kept, &order).await
    }

    /// One request after another until told to end.
    async fn steady(&self, errand: &Errand) {
        let mut random = self.random(errand.client);
        // All at the same moment would be a burst, not a load.
        let spread = errand.every.max(errand.think).max(Duration::from_millis(2));
        self.pause(random.part_of(spread)).await;
        let mut kept: Option<Connection> = None;
        // Its last request: a second answer may still come.
        let mut last: Option<Record> = None;
        while !self.is_told_to_end() {
            let begun = Instant::now();
            if let Some(mut connection) = kept.take() {
                match connection.look().await {
                    Idle::Open => kept = Some(connection),
                    Idle::Closed => {}
                    Idle::Bytes => last.iter_mut().for_each(|record| record.extra = true),
                }
            }
            self.keep(last.take());
            let (record, connection) = self.send(errand, kept.take(), None).await;
            let nobody = record.connected.is_none();
            kept = connection;
            last = Some(record);
            let pause = match nobody {
                true => AGAIN,
                // Half to one and a half times, so that clients do not fall into step.
                false => (errand.think / 2 + random.part_of(errand.think))
                    .max(errand.every.saturating_sub(begun.elapsed())),
            };
            self.pause(pause).await;
        }
        if let Some(mut connection) = kept
            && matches!(connection.look().await, Idle::Bytes)
        {
            last.iter_mut().for_each(|record| record.extra = true);
        }
        self.keep(last);
    }

    /// One request that begins shortly before the signal and goes on after it.
    async fn held(&self, errand: &Errand) {
        let mut random = self.random(errand.client);
        let begin = self.setting.due - random.part_of(EARLIEST);
        self.pause(begin.saturating_duration_since(Instant::now()))
            .await;
        if self.is_told_to_end() {
            return;
        }
        let until = self.setting.due + random.part_of(self.plan.latency);
        let hold = Hold {
            at: errand.kind,
            until,
        };
        let (record, _) = self.send(errand, None, Some(hold)).await;
        self.keep(Some(record));
    }

    /// Asks again and again whether the server calls itself ready, as balancers do, though
    /// more often.
    async fn readiness(&self, request: &Request) {
        let errand = Errand {
            client: READINESS,
            kind: Kind::Steady,
            request: request.clone(),
            keep_alive: false,
            every: Duration::ZERO,
            think: Duration::ZERO,
        };
        while !self.is_told_to_end() {
            let (record, _) = self.send(&errand, None, None).await;
            self.recorder.borrow_mut().asked_for_readiness(&record);
            self.pause(READY_EVERY).await;
        }
    }

    fn keep(&self, record: Option<Record>) {
        if let Some(record) = record {
            self.recorder.borrow_mut().keep(record);
        }
    }

    /// Or until told to end.
    async fn pause(&self, time: Duration) {
        let mut told = self.told.clone();
        tokio::select! {
            () = sleep(time) => {}
            _ = told.wait_for(|until| *until != Until::Told) => {}
        }
    }
}

/// One request before the load: whether the server answers, and how.
pub(super) fn probe(
    client: Client,
    aim: &Aim,
    request: &Request,
    counters: &Counters<'_>,
) -> turnkey_report::Result<Record> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let message = request.message(counters);
    let order = Order::plain(counters, Kind::Steady, &message);
    let asked = client.request(aim, None, &order);
    Ok(LocalSet::new().block_on(&runtime, asked).0)
}

/// Whether a probe was answered.
pub(super) fn is_answer(record: &Record) -> bool {
    record.outcome == End::Complete
}
