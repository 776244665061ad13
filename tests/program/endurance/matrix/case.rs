//! One case of the matrix: start, bring all to the point, kill, heal, count.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::points::{ACK_AFTER, Point, Stage};
use crate::harness::api::{Api, Upload};
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
    /// Edits that a platform took twice, which nobody sees.
    pub(super) edits: usize,
}

/// What the users of a case say first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Script {
    /// Plain texts: one of two users is told three things, the other one.
    Texts,
    /// Everything else that a turn can say to somebody: [`VERBS`].
    Verbs,
}

/// What is said in [`Script::Verbs`], in this order: a message with a name, its edit, a file
/// of the box, bytes, and something to somebody else, whose dialog is another one.
pub(super) const VERBS: [&str; 5] = ["named", "edited", "file", "bytes", TOLD];

const TOLD: &str = "told";

/// A user of a case.
#[derive(Clone, Copy)]
pub(super) struct User {
    pub(super) kind: Kind,
    pub(super) id: u64,
    /// Is told three things, not one.
    many: bool,
    script: Script,
}

impl User {
    pub(super) fn all(script: Script) -> Vec<User> {
        let user = |id: u64| User {
            kind: KINDS[id as usize / 2],
            id: 100 + id,
            many: id.is_multiple_of(2),
            script,
        };
        let all = (0..10).map(user);
        // Nothing can be said to a caller of plain HTTP who does not wait for it.
        all.filter(|user| script == Script::Texts || user.kind != Kind::Http)
            .collect()
    }

    /// What of [`VERBS`] the platform has.
    fn verbs(self) -> &'static [&'static str] {
        match self.kind {
            Kind::Telegram | Kind::Vk => &VERBS,
            _ => &["named", TOLD],
        }
    }

    /// What the user says first, and in [`Script::Verbs`] is told of this file.
    pub(super) fn first(self, file: &Path) -> String {
        match (self.script, self.many) {
            (Script::Texts, true) => "many 3".to_owned(),
            (Script::Texts, false) => "hi".to_owned(),
            (Script::Verbs, _) => {
                let verbs = self.verbs().join(" ");
                format!("verbs {} {} {verbs}", file.display(), self.other())
            }
        }
    }

    /// What the user says next.
    pub(super) fn next(self) -> &'static str {
        match self.edits() {
            true => "verbs - - edited",
            false => "hi",
        }
    }

    fn edits(self) -> bool {
        self.script == Script::Verbs && self.verbs().contains(&"edited")
    }

    /// How many of the first turn's replies are calls.
    pub(super) fn calls(self) -> usize {
        match (self.script, self.kind, self.many) {
            (Script::Verbs, ..) => self.verbs().len() - 1,
            (_, Kind::Http, _) | (_, Kind::Telegram, false) => 0,
            (.., true) => 3,
            (.., false) => 1,
        }
    }

    /// Which call the n-th thing of the first turn is: the chat, and the place there. None: the
    /// user is not told it.
    pub(super) fn call(self, n: usize) -> Option<(String, usize)> {
        if self.script == Script::Texts {
            return (n <= self.calls()).then(|| (self.chat(), n));
        }
        let verb = VERBS[n - 1];
        let place = self.verbs().iter().position(|own| *own == verb)? + 1;
        Some(match verb {
            TOLD => (self.other(), 1),
            _ => (self.chat(), place),
        })
    }

    pub(super) fn chat(self) -> String {
        self.id.to_string()
    }

    /// Whom the user's turn says something to.
    fn other(self) -> String {
        (self.id + 1000).to_string()
    }

    pub(super) fn says(self, turn: u64, text: &str) -> Update {
        Update {
            kind: self.kind,
            user: self.id,
            id: self.id * 10 + turn,
            text: text.to_owned(),
        }
    }

    fn first_replies(self) -> Vec<String> {
        match (self.script, self.many) {
            (Script::Texts, true) => (1..=3).map(|n| format!("1.{n}")).collect(),
            (Script::Texts, false) => vec!["1: hi".to_owned()],
            (Script::Verbs, _) => {
                let own = self.verbs().iter().filter(|verb| **verb != TOLD);
                own.map(|verb| format!("1.{verb}")).collect()
            }
        }
    }

    fn second_reply(self) -> String {
        let said = if self.edits() { "2.edited" } else { "2: hi" };
        said.to_owned()
    }
}

/// Whether each user's chat, and that of whom the user's turn speaks to, has it all in order.
fn have(api: &Api, users: &[User], second: bool) -> bool {
    users.iter().all(|user| {
        let mut expected = user.first_replies();
        if second {
            expected.push(user.second_reply());
        }
        let told =
            user.script == Script::Texts || distinct(&api.received(&user.other())) == ["1.told"];
        let own = distinct(&api.received(&user.chat()));
        told && own.starts_with(&expected) && (!second || own.len() == expected.len())
    })
}

/// What a case of this script is at this point.
pub(super) fn name(script: Script, point: Point) -> String {
    match (script, point) {
        (Script::Verbs, Point::Called(n) | Point::Taken(n) | Point::Mark(n)) => {
            format!("{point} ({})", VERBS[n - 1])
        }
        _ => point.to_string(),
    }
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
    stage.bring_to(&bot, point).await;
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

    // Everything comes once more: it is known, and nothing happens.
    let before = api.calls().len();
    for user in &all {
        for (turn, text) in [(1, stage.text(user)), (2, user.next().to_owned())] {
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

/// Without the repetitions of what stands before it. A repetition anywhere else stays
/// and spoils the order.
fn distinct(received: &[String]) -> Vec<String> {
    let mut texts = received.to_vec();
    texts.dedup();
    texts
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
