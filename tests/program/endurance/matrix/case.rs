//! One case of the matrix: start, bring all to the point, kill, heal, count.

use std::sync::Arc;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::points::{ACK_AFTER, Point, Stage};
use crate::harness::api::Api;
use crate::harness::bot::{Bot, SOON, Setup, count_of, until};
use crate::harness::client::once;
use crate::harness::engine::Engine;
use crate::harness::fake::{Fake, KINDS, Kind, Rules, Update};

/// Recovery takes a few seconds; the rest is for a busy machine.
const HEALED: Duration = Duration::from_secs(60);

/// What is killed, one after another.
pub(super) fn victims(engine: &Engine) -> Vec<Victim> {
    let all = [Victim::Worker, Victim::Writer, Victim::Everything];
    let is_there = |victim: &Victim| *victim != Victim::Writer || engine.has_writer();
    all.into_iter().filter(is_there).collect()
}

/// What is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Victim {
    /// The one that has all the requests.
    Worker,
    Writer,
    Everything,
}

impl std::fmt::Display for Victim {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Victim::Worker => "worker",
            Victim::Writer => "writer",
            Victim::Everything => "everything",
        })
    }
}

/// Replies, and how many were sent more than once.
#[derive(Debug, Default)]
pub(super) struct Sums {
    pub(super) replies: usize,
    pub(super) telegram_sent: usize,
    pub(super) telegram_rode: usize,
    pub(super) viber: usize,
    pub(super) facebook: usize,
    pub(super) vk: usize,
    pub(super) http: usize,
}

/// A user of a case.
#[derive(Clone, Copy)]
pub(super) struct User {
    pub(super) kind: Kind,
    pub(super) id: u64,
    /// Is told three things, not one.
    pub(super) many: bool,
}

impl User {
    pub(super) fn all() -> Vec<User> {
        let user = |id: u64| User {
            kind: KINDS[id as usize / 2],
            id: 100 + id,
            many: id.is_multiple_of(2),
        };
        (0..10).map(user).collect()
    }

    /// How many of the first turn's replies are calls.
    pub(super) fn calls(self) -> usize {
        match (self.kind, self.many) {
            (Kind::Http, _) | (Kind::Telegram, false) => 0,
            (_, many) => {
                if many {
                    3
                } else {
                    1
                }
            }
        }
    }

    pub(super) fn chat(self) -> String {
        self.id.to_string()
    }

    pub(super) fn says(self, turn: u64, text: &str) -> Update {
        Update {
            kind: self.kind,
            user: self.id,
            id: self.id * 10 + turn,
            text: text.to_owned(),
        }
    }

    fn first_replies(self) -> &'static [&'static str] {
        if self.many {
            &["1.1", "1.2", "1.3"]
        } else {
            &["1: hi"]
        }
    }
}

pub(super) async fn run(engine: &Engine, point: Point, victim: Victim) -> Sums {
    let api = Arc::new(Api::start());
    let (setup, url) = engine.setup().await;
    let ack_after = match point.is_accepted() {
        true => ACK_AFTER,
        // Everything is done with the turn.
        false => Duration::from_secs(3600),
    };
    let ack_after = format!("{}ms", ack_after.as_millis());
    let setup = api.configure(setup.args(&["--workers", "2", "--ack-after", &ack_after]));
    let bot = setup.start().await;
    let port = bot.port.to_string();
    let again = setup.without_port().args(&["--port", &port]);
    let rules = Rules::default();
    let fake = Fake::start(bot.port, &api, rules);

    let mut stage = Stage::new(&bot, &api, &fake, url).await;
    stage.bring_to(&bot, point).await;
    let bot = strike(bot, victim, &again, &mut stage).await;
    stage.let_go().await;

    fake.idle(HEALED).await;
    let all = User::all();
    let first =
        |user: &User| distinct(&api.received(&user.chat())).starts_with(user.first_replies());
    until("the replies of the first turns", HEALED, || {
        all.iter().all(first)
    })
    .await;
    stage.says_the_next();
    fake.idle(HEALED).await;
    let expected = |user: &User| [user.first_replies(), &["2: hi"]].concat();
    let done = |user: &User| distinct(&api.received(&user.chat())) == expected(user);
    until("the replies of the second turns", HEALED, || {
        all.iter().all(done)
    })
    .await;

    // Everything comes once more: it is known, and nothing happens.
    let before = api.calls().len();
    for user in &all {
        for (turn, text) in [(1, stage.text(user)), (2, "hi".to_owned())] {
            let request = user.says(turn, &text).request();
            assert_eq!(once(bot.port, request).await.status, 200);
        }
    }
    let setup = bot.stop().await;
    assert_eq!(
        api.calls().len(),
        before,
        "a known update was answered by a call"
    );
    let lines = setup.dump(&[]);
    assert_eq!(lines.len(), all.len(), "{point}, {victim}: {lines:?}");
    assert!(
        lines.iter().all(|line| count_of(line) == 2),
        "{point}, {victim}: {lines:?}"
    );
    setup.assert_sound();
    sums(&api, &all)
}

/// Kills, and waits until what was killed is replaced; the bot that goes on.
async fn strike(bot: Bot, victim: Victim, again: &Setup, stage: &mut Stage<'_>) -> Bot {
    let (name, pid) = match victim {
        Victim::Worker => ("turnkey: worker 0", stage.worker),
        Victim::Writer => ("turnkey: writer", bot.writer().await),
        Victim::Everything => {
            bot.kill_all().await;
            // What holds the database would hold the start.
            stage.let_go().await;
            return again.start().await;
        }
    };
    kill(Pid::from_raw(pid), Signal::SIGKILL).expect("it lives");
    bot.successor(name, pid).await;
    bot
}

/// Without the repetitions of what stands before it. A repetition anywhere else stays
/// and spoils the order.
fn distinct(received: &[String]) -> Vec<&str> {
    let mut texts: Vec<&str> = received.iter().map(String::as_str).collect();
    texts.dedup();
    texts
}

fn sums(api: &Api, all: &[User]) -> Sums {
    let mut sums = Sums::default();
    let calls = api.calls();
    for user in all {
        let chat = user.chat();
        let mut last = None;
        for call in calls
            .iter()
            .filter(|call| call.accepted && call.chat == chat)
        {
            if last.replace(&call.text) != Some(&call.text) {
                sums.replies += 1;
                continue;
            }
            let twice = match (user.kind, call.is_ours()) {
                (Kind::Telegram, true) => &mut sums.telegram_sent,
                (Kind::Telegram, false) => &mut sums.telegram_rode,
                (Kind::Viber, _) => &mut sums.viber,
                (Kind::Facebook, _) => &mut sums.facebook,
                (Kind::Vk, _) => &mut sums.vk,
                (Kind::Http, _) => &mut sums.http,
            };
            *twice += 1;
        }
    }
    assert_eq!(sums.vk, 0, "VK knows each by its random_id");
    assert_eq!(
        (sums.telegram_rode, sums.http),
        (0, 0),
        "an answer is done once"
    );
    sums
}

/// Waits until nothing moves any more: every byte was read, and each process sleeps or
/// was stopped by us.
pub(super) async fn quiet(bot: &Bot) {
    let mut seen = 0;
    until("a bot at rest", SOON, || {
        seen = if bot.is_at_rest() { seen + 1 } else { 0 };
        seen == 3
    })
    .await;
}
