//! Who speaks with the bot in a case of the matrix, what they say, and what they must be told.

use std::path::Path;

use super::points::Point;
use crate::harness::api::Api;
use crate::harness::fake::{KINDS, Kind, Update};

/// What the users of a case say first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Script {
    /// Plain texts: one of two users is told three things, the other one.
    Texts,
    /// Everything else that a turn can say to somebody: [`VERBS`].
    Verbs,
    /// One text; then everybody is told [`HELLO`].
    Broadcast,
}

/// What is said in [`Script::Verbs`], in this order: a message with a name, its edit, a file
/// of the box, bytes, and something to somebody else, whose dialog is another one.
pub(super) const VERBS: [&str; 5] = ["named", "edited", "file", "bytes", TOLD];

const TOLD: &str = "told";

pub(super) const HELLO: &str = "hello everybody";

/// A user of a case.
#[derive(Clone, Copy)]
pub(super) struct User {
    pub(super) kind: Kind,
    pub(super) id: u64,
    /// Is told three things, not one.
    many: bool,
    pub(super) script: Script,
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
            (Script::Texts, false) | (Script::Broadcast, _) => "hi".to_owned(),
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
        if self.script != Script::Verbs {
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
    pub(super) fn other(self) -> String {
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
            (Script::Broadcast, _) => vec!["1: hi".to_owned(), HELLO.to_owned()],
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
pub(super) fn have(api: &Api, users: &[User], second: bool) -> bool {
    users.iter().all(|user| {
        let mut expected = user.first_replies();
        if second {
            expected.push(user.second_reply());
        }
        let told =
            user.script != Script::Verbs || distinct(&api.received(&user.other())) == ["1.told"];
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
        (Script::Verbs, _) => format!("{point} (all)"),
        (Script::Broadcast, Point::Received) => "broadcast, made".to_owned(),
        (Script::Broadcast, _) => format!("broadcast, {point}"),
        _ => point.to_string(),
    }
}

/// Without the repetitions of what stands before it. A repetition anywhere else stays
/// and spoils the order.
fn distinct(received: &[String]) -> Vec<String> {
    let mut texts = received.to_vec();
    texts.dedup();
    texts
}
