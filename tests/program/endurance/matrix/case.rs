//! One case of the matrix: start, bring all to the point, kill, heal, count.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::broadcast;
use super::points::{ACK_AFTER, Point, Stage};
use super::user::{Script, User, have};
use crate::harness::api::{Api, Upload};
use crate::harness::bot::{Bot, SOON, Setup, count_of, until};
use crate::harness::client::once;
use crate::harness::engine::Engine;
use crate::harness::fake::{Fake, Kind, Rules};

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
    /// Edits that a platform took twice, which nobody sees.
    pub(super) edits: usize,
}

pub(super) async fn run(engine: &Engine, script: Script, point: Point, victim: Victim) -> Sums {
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

    let all = User::all(script);
    let mut stage = Stage::new(&bot, &api, &fake, all.clone(), url).await;
    match script {
        Script::Broadcast => stage.broadcast_to(&bot, point).await,
        _ => stage.bring_to(&bot, point).await,
    }
    let bot = strike(bot, victim, &again, &mut stage).await;
    stage.let_go().await;

    fake.idle(HEALED).await;
    until("the replies of the first turns", HEALED, || {
        have(&api, &all, false)
    })
    .await;
    stage.says_the_next();
    fake.idle(HEALED).await;
    until("the replies of the second turns", HEALED, || {
        have(&api, &all, true)
    })
    .await;

    if script == Script::Broadcast {
        broadcast::ends(&bot.setup, all.len()).await;
    }

    // What a slow platform took without an answer in time is on its way once more.
    until("an empty outbox", HEALED, || {
        bot.setup.tool(&["outbox", "list"]).stdout.is_empty()
    })
    .await;

    // Everything comes once more: it is known, and nothing happens.
    let before = api.calls().len();
    for user in &all {
        for (turn, text) in [(1, stage.text(user)), (2, user.next().to_owned())] {
            let request = user.says(turn, &text).request();
            assert_eq!(once(bot.port, request).await.status, 200);
        }
    }
    let refused = bot.stderr().contains("refused for good");
    assert!(
        !refused,
        "a call that was made twice was taken for a wrong one"
    );
    let setup = bot.stop().await;
    let more = &api.calls()[before..];
    assert!(
        more.is_empty(),
        "a known update was answered by a call: {more:?}"
    );
    let mut lines = setup.dump(&[]);
    // Who was only told something has no counter.
    lines.retain(|line| all.iter().any(|user| line["user_id"] == user.chat()));
    assert_eq!(lines.len(), all.len(), "{point}, {victim}: {lines:?}");
    assert!(
        lines.iter().all(|line| count_of(line) == 2),
        "{point}, {victim}: {lines:?}"
    );
    setup.assert_sound();
    if script == Script::Verbs {
        assert_shown(&api, &all, stage.file());
    }
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

/// The message that has a name was edited by both turns, and what was uploaded is whole.
fn assert_shown(api: &Api, all: &[User], file: &Path) {
    let file = std::fs::read(file).expect("the file");
    for user in all.iter().filter(|user| user.kind == Kind::Telegram) {
        let shown = api.shown(&user.chat());
        let has = |text: &str| {
            shown
                .iter()
                .filter(|one| one.message["text"] == text)
                .count()
        };
        assert_eq!((has("2.edited"), has("1.edited")), (1, 0), "{shown:?}");
    }
    for call in api.calls() {
        let expected: &[u8] = match call.text.as_str() {
            "1.file" => &file,
            "1.bytes" => &[0, 255],
            _ => continue,
        };
        let whole = |upload: &Upload| upload.bytes == expected;
        assert!(call.uploads.iter().all(whole), "{call:?}");
    }
}

fn sums(api: &Api, all: &[User]) -> Sums {
    let mut sums = Sums::default();
    let calls = api.calls();
    for user in all {
        for chat in [user.chat(), user.other()] {
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
                    // Nobody sees that it was made twice.
                    _ if call.text.ends_with(".edited") => &mut sums.edits,
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
