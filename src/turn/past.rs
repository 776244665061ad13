//! A turn as the history keeps it, with `--history`: what came in, what was said, and what went wrong
//! before. Read by the status page (`operator/admin/page/talk.rs`) and by people.
//!
//! Made by `outcome.rs` for the commit. What is as it is mostly is left out, so that a plain turn
//! costs no more than its texts. Addresses of files, which may hold a token, are not kept.

use serde::{Deserialize, Serialize};
use turnkey_storage::inbox::GIVING_UP;

use crate::author::message::{Action, Contact, File, Kind, Location, Update};
use crate::turn::receipt::Receipt;

/// A turn that is over. Rows of earlier versions have the first three fields.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Past {
    pub(crate) update_id: String,
    /// As [`Update::text`].
    pub(crate) text: String,
    pub(crate) replies: Vec<Action>,
    #[serde(default, skip_serializing_if = "is_message")]
    pub(crate) kind: Kind,
    /// The name of the timer or the callback, the method that was asked for, the platform's name
    /// for an event.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) name: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) files: Vec<File>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) location: Option<Location>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) contact: Option<Contact>,
    /// When it arrived, in milliseconds since 1970; 0 where that is not kept.
    #[serde(default)]
    pub(crate) arrived: i64,
    /// How often it was tried, if more than once, and why it failed last.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(crate) attempts: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<String>,
}

fn is_message(kind: &Kind) -> bool {
    *kind == Kind::Message
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}

impl Past {
    /// A turn for this update, which says this.
    pub(super) fn of(receipt: &Receipt<'_>, update: &Update, replies: Vec<Action>) -> Self {
        let attempts = receipt.attempts % GIVING_UP;
        let is_first = attempts <= 1;
        Past {
            arrived: receipt.arrived.unix_us() / 1000,
            attempts: if is_first { 0 } else { attempts },
            error: receipt
                .error
                .as_deref()
                .filter(|_| !is_first)
                .and_then(|error| {
                    // Its trace is in the log.
                    error.lines().next().map(str::to_owned)
                }),
            ..Past::heard(update, replies)
        }
    }

    /// What came in with an update.
    pub(crate) fn heard(update: &Update, replies: Vec<Action>) -> Self {
        let name = match update.kind {
            Kind::Timer => update.timer().map(|timer| timer.name),
            Kind::Callback => update.called().map(|called| called.name),
            Kind::Rpc => update.rpc().map(|rpc| rpc.method),
            Kind::Message | Kind::Button => None,
            _ => Some(update.event.clone()),
        };
        let files = update.files.iter().map(|file| File {
            url: None,
            ..file.clone()
        });
        Past {
            update_id: update.id.0.clone(),
            text: update.text.clone(),
            replies,
            kind: update.kind,
            name: name.unwrap_or_default(),
            files: files.collect(),
            location: update.location.clone(),
            contact: update.contact.clone(),
            arrived: 0,
            attempts: 0,
            error: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_of_earlier_versions_can_be_read() {
        let row = r#"{"update_id":"1","text":"hi","replies":[{"text":"1: hi"}]}"#;
        let past: Past = serde_json::from_str(row).unwrap();
        assert_eq!((past.kind, past.replies.len()), (Kind::Message, 1));
        assert_eq!((past.arrived, past.attempts), (0, 0));
    }
}
