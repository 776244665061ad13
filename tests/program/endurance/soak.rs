//! Kills at random for minutes, under load from all platforms, with calls that fail,
//! requests that are cut off and updates that come twice. In the end every update took
//! effect exactly once, each user's in order, and every reply was sent, in order.
//!
//! A short one is a test like the others; `scripts/soak` runs longer ones, by means of
//! the variables `SOAK_KILLS`, `SOAK_SEED` and `SOAK_STORAGE`.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::harness::api::{Api, Weather};
use crate::harness::bot::{Bot, SOON, Setup, count_of, until};
use crate::harness::engine::Engine;
use crate::harness::fake::{Fake, Figures, KINDS, Kind, Rules, Update};
use crate::platforms::polling;

const WORKERS: usize = 3;

/// Of each platform: so many that none is sent more than Telegram allows.
const USERS: u64 = 25;

/// Between two updates, of whatever users.
const PACE: Duration = Duration::from_millis(15);

/// More are not posted before some are answered.
const MOST_WAITING: u64 = 200;

/// What was sent may wait for a platform that said "in a second", more than once.
const SETTLED: Duration = Duration::from_secs(120);

pub(super) fn setting<T: std::str::FromStr>(name: &str, otherwise: T) -> T {
    let value = std::env::var(name).ok();
    value.map_or(otherwise, |text| {
        text.parse().ok().expect("a setting of the soak")
    })
}

#[tokio::test]
async fn kills_at_random_lose_and_repeat_nothing() {
    let engine = match setting("SOAK_STORAGE", "sqlite".to_owned()).as_str() {
        "postgres" => match Engine::postgres() {
            Some(engine) => engine,
            None => return,
        },
        _ => Engine::Sqlite,
    };
    let (kills, seed) = (setting("SOAK_KILLS", 40), setting("SOAK_SEED", 1));
    let api = Arc::new(Api::start());
    let setup = engine.setup().await.0;
    let setup = setup.args(&["--workers", &WORKERS.to_string()]);
    // Slow turns go through the inbox; nobody but us is to blame for failed attempts.
    let setup = setup.args(&["--ack-after", "30ms", "--max-attempts", "1000"]);
    let mut bot = api.configure(setup).start().await;
    let again = bot.setup.clone().without_port();
    let again = again.args(&["--port", &bot.port.to_string()]);
    api.weather(Weather {
        flood: 0.002,
        broken: 0.01,
        lost: 0.01,
        reset: 0.01,
        slow: 0.1,
    });
    let rules = Rules {
        duplicates: 0.03,
        hang_ups: 0.02,
        overtakes: 0.05,
        batch: 5,
        seed,
        ..Rules::default()
    };
    let fake = Arc::new(Fake::start(bot.port, &api, rules));
    let posts = fake.clone();
    let load = Load::start(&KINDS, seed, move |update| match update {
        Some(update) => {
            posts.says(update);
            true
        }
        None => posts.waiting() < MOST_WAITING,
    });

    let started = Instant::now();
    let mut killer = Killer::new(seed, WORKERS, engine.has_writer());
    bot = killer.strike_often(kills, bot, &again, &api).await;
    let took = started.elapsed();
    let posted = load.end().await;
    fake.idle(SETTLED).await;
    let sums = posted.settle(bot, &api).await;
    let figures = fake.figures();
    let line = format!(
        "SOAK {} | {} in {} s | {} updates in {} requests: {} without an answer, {} \"later\" | {}",
        engine.name(),
        killer.done(),
        took.as_secs(),
        Figures::get(&figures.updates),
        Figures::get(&figures.requests),
        Figures::get(&figures.unanswered),
        Figures::get(&figures.refused),
        sums
    );
    say(&line);
}

/// The same while the bot asks Telegram and VK: a queue moves over what is committed.
#[tokio::test]
async fn kills_at_random_while_it_polls() {
    let (kills, seed) = (setting("SOAK_KILLS", 40) / 2, setting("SOAK_SEED", 1));
    let api = Arc::new(Api::start());
    let again = polling::both(&api, Setup::commands());
    let mut bot = again.start().await;
    let queues = api.queues.clone();
    let load = Load::start(
        &[Kind::Telegram, Kind::Vk],
        seed,
        move |update| match update {
            Some(Update {
                kind: Kind::Vk,
                user,
                id,
                text,
            }) => {
                queues.push_vk([polling::vk_event(id, user, &text)]);
                true
            }
            Some(Update { user, id, text, .. }) => {
                queues.push([crate::harness::telegram::text(id, user, &text)]);
                true
            }
            None => queues.kept() < MOST_WAITING as usize,
        },
    );
    let mut killer = Killer::new(seed, 1, true);
    bot = killer.strike_often(kills, bot, &again, &api).await;
    let posted = load.end().await;
    until("an empty queue", SETTLED, || api.queues.kept() == 0).await;
    let sums = posted.settle(bot, &api).await;
    say(&format!(
        "SOAK sqlite, polling | {} | {sums}",
        killer.done()
    ));
}

/// Past the test runner, which swallows what a passing test prints.
pub(super) fn say(line: &str) {
    writeln!(std::io::stderr(), "{line}").expect("stderr");
}

/// Chooses whom to kill.
pub(super) struct Killer {
    random: fastrand::Rng,
    places: usize,
    has_writer: bool,
    killed: Vec<i32>,
    workers: u64,
    writers: u64,
    masters: u64,
    everything: u64,
}

impl Killer {
    pub(super) fn new(seed: u64, places: usize, has_writer: bool) -> Self {
        Killer {
            random: fastrand::Rng::with_seed(seed),
            places,
            has_writer,
            killed: Vec::new(),
            workers: 0,
            writers: 0,
            masters: 0,
            everything: 0,
        }
    }

    fn count(&self) -> u64 {
        self.workers + self.writers + self.masters + self.everything
    }

    pub(super) fn done(&self) -> String {
        format!(
            "{} kills ({} workers, {} writers, {} masters, {} everything)",
            self.count(),
            self.workers,
            self.writers,
            self.masters,
            self.everything
        )
    }

    /// A process of this name that we have not killed yet: the last one may still be
    /// there for a moment.
    async fn alive(&mut self, bot: &Bot, name: &str) -> i32 {
        let mut pid = bot.child(name).await;
        while self.killed.contains(&pid) {
            tokio::time::sleep(Duration::from_millis(1)).await;
            pid = bot.child(name).await;
        }
        // Numbers are used again, but not so soon.
        self.killed.truncate(20);
        self.killed.insert(0, pid);
        pid
    }

    pub(super) async fn strike_often(
        &mut self,
        kills: u64,
        mut bot: Bot,
        again: &Setup,
        api: &Api,
    ) -> Bot {
        for _ in 0..kills {
            bot = self.strike(bot, again).await;
            if self.count().is_multiple_of(100) {
                say(&format!(
                    "{}; {} replies are sent",
                    self.done(),
                    api.accepted()
                ));
            }
        }
        bot
    }

    /// One kill, at a moment of no meaning; the bot that goes on. The program as a whole
    /// often enough that no place becomes hopeless: then it would give up, and rightly.
    async fn strike(&mut self, mut bot: Bot, again: &Setup) -> Bot {
        tokio::time::sleep(Duration::from_millis(self.random.u64(0..200))).await;
        match self.random.u32(0..100) {
            0..20 => {
                self.everything += 1;
                bot.kill_all().await;
                again.start().await
            }
            20..30 => {
                self.masters += 1;
                kill_9(bot.pid());
                bot.ended(SOON).await;
                // Its children finish what they have, and leave; until then the port
                // is theirs.
                bot.gone(Duration::from_secs(30)).await;
                again.start().await
            }
            30..55 if self.has_writer => {
                self.writers += 1;
                let writer = self.alive(&bot, "turnkey: writer").await;
                kill_9(writer);
                bot
            }
            _ => {
                self.workers += 1;
                let name = format!("turnkey: worker {}", self.random.usize(0..self.places));
                let worker = self.alive(&bot, &name).await;
                kill_9(worker);
                bot
            }
        }
    }
}

fn kill_9(pid: i32) {
    // It may have ended meanwhile.
    kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap_or(());
}

/// Users who go on talking until they are told to stop.
struct Load {
    stop: Arc<AtomicBool>,
    task: tokio::task::JoinHandle<Posted>,
}

impl Load {
    /// `post` posts an update; asked without one, it says whether it would.
    fn start(
        kinds: &'static [Kind],
        seed: u64,
        post: impl Fn(Option<Update>) -> bool + Send + 'static,
    ) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let task = tokio::spawn(async move {
            let mut random = fastrand::Rng::with_seed(seed);
            let mut posted = Posted::default();
            let mut ids = 0;
            while !stopped.load(Ordering::Relaxed) {
                tokio::time::sleep(PACE).await;
                if !post(None) {
                    continue;
                }
                ids += 1;
                let user = random.u64(0..USERS * kinds.len() as u64);
                let kind = kinds[(user / USERS) as usize];
                let of_user = posted.0.entry((kind, 1000 + user)).or_default();
                let n = of_user.len() + 1;
                let text = match random.u32(0..100) {
                    0..20 => "many 2".to_owned(),
                    20..30 => format!("order tea-{n}"),
                    30..40 => format!("sleep {}", random.u64(1..60)),
                    _ => format!("message {n}"),
                };
                of_user.push(text.clone());
                let user = 1000 + user;
                post(Some(Update {
                    kind,
                    user,
                    id: ids,
                    text,
                }));
            }
            posted
        });
        Load { stop, task }
    }

    async fn end(self) -> Posted {
        self.stop.store(true, Ordering::Relaxed);
        crate::harness::client::join(self.task).await
    }
}

/// What each user has said, in order.
#[derive(Default)]
struct Posted(BTreeMap<(Kind, u64), Vec<String>>);

impl Posted {
    /// What was sent twice, once all replies are there; panics if they are not in order.
    fn check(&self, api: &Api) -> Option<String> {
        let mut received: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for call in api.calls().into_iter().filter(|call| call.accepted) {
            received.entry(call.chat).or_default().push(call.text);
        }
        let mut twice: BTreeMap<&str, usize> = BTreeMap::new();
        let mut replies = 0;
        for ((kind, user), said) in &self.0 {
            let mut heard = received.remove(&user.to_string()).unwrap_or_default();
            let all = heard.len();
            heard.dedup();
            *twice.entry(kind.name()).or_default() += all - heard.len();
            replies += heard.len();
            if !are_replies(*kind, *user, said, &heard) {
                return None;
            }
        }
        assert!(
            received.is_empty(),
            "strangers were written to: {received:?}"
        );
        let once = ["vk", "http"]
            .iter()
            .all(|kind| *twice.get(kind).unwrap_or(&0) == 0);
        assert!(once, "{twice:?}");
        Some(format!("{replies} replies | sent twice: {twice:?}"))
    }

    /// Waits for the last reply, stops the bot, checks everything; what was sent twice.
    async fn settle(&self, bot: Bot, api: &Api) -> String {
        api.calm();
        let mut sums = None;
        until("every reply", SETTLED, || {
            sums = self.check(api);
            sums.is_some()
        })
        .await;
        let setup = bot.stop().await;
        self.assert_counts(&setup);
        setup.assert_sound();
        sums.expect("it was waited for")
    }

    fn assert_counts(&self, setup: &Setup) {
        let counts: BTreeMap<String, u64> = setup
            .dump(&[])
            .iter()
            .map(|line| {
                (
                    line["user_id"].as_str().expect("a user").to_owned(),
                    count_of(line),
                )
            })
            .collect();
        for ((kind, user), said) in &self.0 {
            let count = counts.get(&user.to_string()).copied().unwrap_or(0);
            assert_eq!(count, said.len() as u64, "{kind:?} {user}");
        }
        assert_eq!(counts.len(), self.0.len());
    }
}

/// The replies to all that a user has said, each once and in order. False if some are
/// missing.
fn are_replies(kind: Kind, user: u64, said: &[String], heard: &[String]) -> bool {
    let mut said_and_not_answered: Vec<&str> = said.iter().map(String::as_str).collect();
    let mut heard_of = heard.iter();
    for n in 1..=said.len() {
        let Some(reply) = heard_of.next() else {
            return false;
        };
        let text = if *reply == format!("{n}.1") {
            let second = heard_of.next();
            assert!(
                second.is_none_or(|text| *text == format!("{n}.2")),
                "{kind:?} {user}: {second:?} after {reply:?}"
            );
            if second.is_none() {
                return false;
            }
            "many 2"
        } else {
            let text = reply.strip_prefix(&format!("{n}: "));
            text.unwrap_or_else(|| {
                panic!("{kind:?} {user}: {reply:?} is no answer to {n}: {heard:?}")
            })
        };
        if kind.is_in_order() {
            assert_eq!(text, said[n - 1], "{kind:?} {user}, update {n}");
        }
        let place = said_and_not_answered.iter().position(|said| *said == text);
        let place = place.unwrap_or_else(|| panic!("{kind:?} {user}: {text:?} was answered twice"));
        said_and_not_answered.swap_remove(place);
    }
    assert!(
        heard_of.next().is_none(),
        "{kind:?} {user}: more replies than there should be"
    );
    true
}
