//! The lines between a worker and a handler process: `docs/HANDLERS.md` has them all.
//!
//! Used by `process/`, which speaks to a worker's processes, and by `conversation.rs`,
//! `trial.rs` and `conformance/`, which speak to one without a runtime. Invariant: two kinds of
//! fault are told apart. A line that breaks the protocol ends its process ([`read`]); an answer
//! with a field of the wrong type fails its turn alone ([`done`], [`fail`]). Bounds:
//! [`LONGEST_LINE`], [`MOST_AT_ONCE`], [`LONGEST_NAME`], [`LONGEST_ERROR`], [`DEEPEST`].
//!
//! | file | what |
//! | --- | --- |
//! | `read.rs` | a line from the handler |
//! | `answer.rs` | what the answer to a turn holds |
//! | `question.rs` | what a turn asks while it runs, and the answers |
//! | `write.rs` | lines to the handler |
//! | `value.rs` | SQL values and rows as JSON, both ways |
//! | `overlap.rs` | what a hello says of quick messages |
//! | `json.rs` | parts of a line, with errors that name the field |

mod answer;
mod json;
mod overlap;
mod question;
mod read;
mod value;
mod write;

use std::rc::Rc;

use serde::Deserialize;
use serde_json::value::RawValue;

pub(super) use self::answer::{done, fail, read_done, read_fail};
pub(super) use self::question::{
    Asked, Look, Number, Question, Wish, dead, downloaded, kept, newer, refused, result, rows,
};
pub(super) use self::read::read;
pub(super) use self::write::{cancel, drain, hello, interrupt, line, ping, turn};
use crate::author::dialog_by::DialogBy;
use crate::author::every::Every;
use crate::author::message::{Hears, Kind, Update};
use crate::handlers::Wishes;

/// The version of the protocol.
pub(super) const PROTOCOL: u32 = 1;

/// Bytes of a line, in either direction.
pub(super) const LONGEST_LINE: usize = 16 << 20;

/// Turns that a process may say it runs at once.
const MOST_AT_ONCE: usize = 65_536;

/// Bytes of a process's name.
const LONGEST_NAME: usize = 64;

/// Bytes of an error with its trace: what the dead letter keeps.
const LONGEST_ERROR: usize = 64 << 10;

/// Levels of lists and objects in a state: readers in every language follow that many.
pub(super) const DEEPEST: usize = 100;

/// What breaks the protocol below the level of lines: descriptor 4 is at its end.
pub(super) const CLOSED: &str = "it closed descriptor 4 and lives on";

/// Likewise: a line without an end.
pub(super) fn too_long() -> String {
    format!("a line of more than {LONGEST_LINE} bytes")
}

/// Likewise: descriptor 3 takes nothing.
pub(super) fn unread(error: &std::io::Error) -> String {
    format!("it does not read turns: {error}")
}

/// What a handler says of itself.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Hello {
    pub(super) protocol: u32,
    #[serde(default)]
    pub(super) name: String,
    #[serde(default = "one")]
    pub(super) concurrency: usize,
    #[serde(default)]
    pub(super) raw: bool,
    #[serde(default)]
    pub(super) hears: Vec<String>,
    #[serde(default)]
    pub(super) dialog_by: Option<String>,
    #[serde(default)]
    pub(super) overlap: Option<serde_json::Value>,
    #[serde(default)]
    pub(super) every: Option<Vec<Every>>,
    #[serde(default)]
    pub(super) given_up: bool,
}

fn one() -> usize {
    1
}

impl Hello {
    /// What it says of itself.
    pub(super) fn wishes(&self) -> Wishes {
        Wishes {
            hears: self.hears(),
            dialog_by: self.dialog_by.as_deref().and_then(DialogBy::named),
            // It was read before, in `checked`.
            overlap: self
                .overlap
                .as_ref()
                .and_then(|said| overlap::overlaps(said).ok()),
            every: self.every.clone(),
            given_up: self.given_up,
        }
    }

    /// The kinds of update that it hears; none if it leaves that to the program.
    pub(super) fn hears(&self) -> Option<Hears> {
        let kinds = self.hears.iter().filter_map(|kind| Kind::named(kind));
        (!self.hears.is_empty()).then(|| Hears::only(kinds))
    }
}

/// A line from a handler.
pub(super) enum Line {
    Hello(Hello),
    /// How a turn ended.
    Answer(u64, TurnEnd),
    Question(u64, Question),
    /// A text of a turn that still grows; or why it is none.
    Draft(u64, Result<String, String>),
    /// With the number of its ping.
    Pong(u64),
    Log(Log),
}

/// How a turn ended, not looked at yet.
pub(super) enum TurnEnd {
    Done(Box<RawValue>),
    Fail(Box<RawValue>),
}

/// A line for the log.
#[derive(Deserialize)]
pub(super) struct Log {
    #[serde(default)]
    pub(super) level: String,
    pub(super) text: String,
}

/// A failure as a handler writes it.
#[derive(Deserialize)]
pub(super) struct Fail {
    pub(super) error: String,
    #[serde(default)]
    trace: String,
    #[serde(default)]
    pub(super) retry_in: Option<f64>,
    #[serde(default)]
    give_up: bool,
}

/// What a turn begins with.
pub(super) struct Given<'a> {
    pub(super) id: u64,
    pub(super) update: &'a Update,
    pub(super) attempt: u32,
    pub(super) is_last_attempt: bool,
    /// Why the update is given up, if the turn is about that.
    pub(super) given_up: Option<&'a str>,
    pub(super) state: Option<&'a str>,
    /// The platform's own JSON goes along.
    pub(super) raw: bool,
    /// What earlier attempts have kept.
    pub(super) steps: &'a [(String, Rc<str>)],
}

/// At most so many bytes of a text.
pub(super) fn cut(mut text: String, most: usize) -> String {
    if text.len() > most {
        text.truncate(text.floor_char_boundary(most));
        text.push_str(" …");
    }
    text
}
