//! A dialog as a conversation: both sides in the order of time, and in their places what waits, what
//! failed and what was given up.
//!
//! Called by `dialogs.rs`. With `--history` the past is there; without, what the database has: the
//! inbox, the outbox, dead letters and dead replies. Bounds: the turns that it is given, [`OPEN`]
//! rows of each of the others.

use std::fmt::Write as _;

use turnkey_storage::admin::{self, DialogDetail, OutboxLine};
use turnkey_storage::dead::{self, DeadLetter};
use turnkey_storage::replies::{self, DeadReply};
use turnkey_storage::{DialogKey, Pending, Storage, inbox};
use turnkey_text::numbers::counted;

use super::bubble::Message;
use super::escape;
use super::figures::{seconds, time};
use super::texts::{ago, json};
use crate::author::message::{Kind, Outgoing, Update};
use crate::shared::clock::unix_ms;
use crate::turn::past::Past;

/// Rows of the inbox, the outbox, dead letters and dead replies, each.
const OPEN: u32 = 50;

/// Whose a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Who {
    User,
    Bot,
    /// Nobody said it: it happened.
    Event,
}

/// One line of the conversation.
struct Line {
    /// Milliseconds since 1970.
    at: i64,
    who: Who,
    /// The update that it came with, or answers.
    update: String,
    message: Message,
    /// HTML: what went wrong, or has not happened yet.
    notes: Vec<String>,
    /// A turn that cannot be read is shown as it is.
    raw: Option<String>,
}

impl Line {
    fn new(at: i64, who: Who, update: &str, message: Message) -> Self {
        Line {
            at,
            who,
            update: update.to_owned(),
            message,
            notes: Vec::new(),
            raw: None,
        }
    }

    /// What cannot be read, as it is.
    fn raw(at: i64, who: Who, update: &str, raw: String) -> Self {
        Line {
            raw: Some(raw),
            ..Line::new(at, who, update, Message::default())
        }
    }

    /// With these notes.
    fn noted(self, notes: Vec<String>) -> Self {
        Line { notes, ..self }
    }
}

/// What the database has beside the history.
pub(super) struct Open {
    pending: Vec<Pending>,
    unsent: Vec<OutboxLine>,
    letters: Vec<DeadLetter>,
    dead_replies: Vec<DeadReply>,
}

impl Open {
    /// What is known of a dialog that has had no turn; none where there is nothing of it.
    pub(super) fn detail(&self, dialog: &DialogKey) -> Option<DialogDetail> {
        let (pending, unsent) = (self.pending.len() as u64, self.unsent.len() as u64);
        let failed = self.letters.len() + self.dead_replies.len();
        (pending + unsent + failed as u64 > 0).then(|| DialogDetail {
            dialog: dialog.clone(),
            state: None,
            updated_at: 0,
            person: None,
            history: Vec::new(),
            moments: Vec::new(),
            unsent,
            pending,
        })
    }
}

/// Asks for it.
pub(super) async fn open(
    storage: &dyn Storage,
    dialog: &DialogKey,
) -> turnkey_storage::Result<Open> {
    Ok(Open {
        pending: inbox::of_dialog(storage, dialog, OPEN).await?,
        unsent: admin::unsent_of(storage, dialog, OPEN).await?,
        letters: dead::of_dialog(storage, dialog, OPEN).await?,
        dead_replies: replies::dead_of(storage, dialog, OPEN).await?,
    })
}

/// The conversation; `name` is the user's.
pub(super) fn html(found: &DialogDetail, open: &Open, name: &str) -> String {
    let mut talk = Talk::default();
    for (turn, at) in found.history.iter().zip(&found.moments) {
        talk.past(turn, *at);
    }
    for letter in &open.letters {
        talk.letter(letter);
    }
    for row in &open.pending {
        talk.pending(row);
    }
    for reply in &open.dead_replies {
        let tries = counted(reply.attempts.into(), "attempt");
        let why = escape(&reply.error);
        let note = format!(
            "<a class=\"bad\" href=\"/status/dead\">Not sent, given up</a> after {tries}: {why}"
        );
        talk.reply(&reply.body, reply.since, note);
    }
    for reply in &open.unsent {
        let note = match (&reply.error, reply.attempts) {
            (Some(error), tries @ 1..) => format!(
                "<b class=\"bad\">Not sent yet</b>, {}: {}",
                counted(tries.into(), "attempt"),
                escape(error)
            ),
            _ => "Not sent yet".to_owned(),
        };
        talk.reply(&reply.body, reply.since, note);
    }
    talk.html(name)
}

#[derive(Default)]
struct Talk {
    lines: Vec<Line>,
}

impl Talk {
    fn past(&mut self, turn: &str, at: i64) {
        let Ok(past) = serde_json::from_str::<Past>(turn) else {
            let raw = json("The turn", turn);
            return self.lines.push(Line::raw(at, Who::Event, "", raw));
        };
        let arrived = if past.arrived > 0 { past.arrived } else { at };
        let mut notes = Vec::new();
        if past.attempts > 1 {
            let tries = counted(past.attempts.into(), "attempt");
            let why = past
                .error
                .as_deref()
                .map(first_line)
                .filter(|why| !why.is_empty());
            let why = why.map(|why| format!("; before: {why}"));
            notes.push(format!("Handled after {tries}{}", why.unwrap_or_default()));
        }
        self.heard(&past, arrived, notes);
        for action in &past.replies {
            let message = Message::of(action);
            let line = Line::new(at, Who::Bot, &past.update_id, message);
            self.lines.push(line);
        }
    }

    /// What came in, with what is to be told of it.
    fn heard(&mut self, past: &Past, at: i64, notes: Vec<String>) {
        let content = |text: &str| {
            let (location, contact) = (past.location.as_ref(), past.contact.as_ref());
            Message::heard(text, &past.files, location, contact)
        };
        let event = |words: String| (Who::Event, Message::heard(&words, &[], None, None));
        let (who, message) = match past.kind {
            // Only what it says is of interest, and that comes next.
            Kind::Relayed if notes.is_empty() => return,
            Kind::Relayed => event("Something that another turn or a command says here".to_owned()),
            Kind::Message => {
                self.press(&past.text, true);
                (Who::User, content(&past.text))
            }
            Kind::Button => {
                let label = self.press(&past.text, false);
                let mut message = content(label.as_deref().unwrap_or(&past.text));
                message.verb = Some("pressed a button".to_owned());
                (Who::User, message)
            }
            Kind::Timer => event(format!("The timer {:?} was due", past.name)),
            Kind::Callback => event(format!("The callback {:?} came", past.name)),
            Kind::Rpc => event(format!("Another system asked for {:?}", past.name)),
            Kind::Opened => event("The user opened the conversation".to_owned()),
            Kind::Joined => event("The user, or somebody, joined".to_owned()),
            Kind::Left => event("The user blocked the bot, or left".to_owned()),
            Kind::Unreadable => event(format!("It cannot be read: {}", past.text)),
            kind => {
                let mut message = content(&past.text);
                message.verb = Some(match past.name.as_str() {
                    "" => kind.name().replace('_', " "),
                    name => format!("{} ({name})", kind.name().replace('_', " ")),
                });
                (Who::User, message)
            }
        };
        let line = Line::new(at, who, &past.update_id, message);
        self.lines.push(line.noted(notes));
    }

    /// Marks the latest button with this data, or of a keyboard with this label; its label.
    fn press(&mut self, pressed: &str, on_a_keyboard: bool) -> Option<String> {
        let mut before = self.lines.iter_mut().rev();
        let label = match on_a_keyboard {
            // A keyboard is there until another comes.
            true => {
                let line = before.find(|line| line.message.is_keyboard)?;
                line.message.press(pressed)
            }
            false => before
                .filter(|line| !line.message.is_keyboard)
                .find_map(|line| line.message.press(pressed)),
        };
        label.map(str::to_owned)
    }

    /// An update that is no turn of the history: it waits, or was given up.
    fn update(&mut self, id: &str, body: &[u8], arrived: i64, note: String) {
        let known = self
            .lines
            .iter_mut()
            .find(|line| line.who != Who::Bot && line.update == id);
        if let Some(line) = known {
            return line.notes.push(note);
        }
        let at = arrived / 1000;
        match serde_json::from_slice::<Update>(body) {
            Ok(update) => self.heard(&Past::heard(&update, Vec::new()), at, vec![note]),
            Err(_) => {
                let raw = json("The update", &String::from_utf8_lossy(body));
                let line = Line::raw(at, Who::Event, id, raw);
                self.lines.push(line.noted(vec![note]));
            }
        }
    }

    fn letter(&mut self, letter: &DeadLetter) {
        let tries = counted(letter.attempts.into(), "attempt");
        let why = first_line(&letter.error);
        let note =
            format!("<a class=\"bad\" href=\"/status/dead\">Given up</a> after {tries}: {why}");
        self.update(&letter.update, &letter.body, letter.arrived, note);
    }

    fn pending(&mut self, row: &Pending) {
        let note = match (&row.error, row.attempts % inbox::GIVING_UP) {
            (Some(error), tries @ 1..) => {
                let now = unix_ms();
                let due = u64::try_from(row.due).unwrap_or_default();
                let again = match due > now {
                    true => {
                        let left = (due - now) as f64 / 1000.0;
                        time(due, "", &format!("again in {}", seconds(left)))
                    }
                    false => "again soon".to_owned(),
                };
                format!(
                    "<b class=\"bad\">Failed</b>, {}: {}; {again}",
                    counted(tries.into(), "attempt"),
                    first_line(error)
                )
            }
            _ => "In the inbox: its turn is not over".to_owned(),
        };
        self.update(&row.update, &row.body, row.arrived, note);
    }

    /// A reply that is not sent: beside what the history says of it, if it is there.
    fn reply(&mut self, body: &str, since: i64, note: String) {
        let Ok(out) = serde_json::from_str::<Outgoing>(body) else {
            let line = Line::raw(since, Who::Bot, "", json("The reply", body));
            return self.lines.push(line.noted(vec![note]));
        };
        let message = Message::of(&out.action);
        let known = self.lines.iter_mut().find(|line| {
            let is_it = line.who == Who::Bot && line.update == out.update;
            is_it && line.notes.is_empty() && line.message.text == message.text
        });
        match known {
            Some(line) => line.notes.push(note),
            None => {
                let line = Line::new(since, Who::Bot, &out.update, message);
                self.lines.push(line.noted(vec![note]));
            }
        }
    }

    fn html(mut self, name: &str) -> String {
        if self.lines.is_empty() {
            return String::new();
        }
        self.lines.sort_by_key(|line| line.at);
        let mut html = String::from("<ol class=\"talk\">");
        for line in &self.lines {
            let (class, who) = match line.who {
                Who::User => ("user", format!("{} · ", escape(name))),
                Who::Bot => ("bot", "Bot · ".to_owned()),
                Who::Event => ("event", String::new()),
            };
            let body = match &line.raw {
                Some(raw) => raw.clone(),
                None => line.message.html(),
            };
            let _ = write!(
                html,
                "<li class=\"{class}\">{body}<p class=\"when\">{who}{}</p>",
                ago(line.at)
            );
            for note in &line.notes {
                let _ = write!(html, "<p class=\"trouble\">{note}</p>");
            }
            html.push_str("</li>");
        }
        html.push_str("</ol>");
        html
    }
}

/// An error without its trace, which is in the log, as HTML.
fn first_line(error: &str) -> String {
    escape(error.lines().next().unwrap_or_default())
}

#[cfg(test)]
mod tests;
