//! Whose bot it is: its channels and how they are, who talks to it, and about what.
//!
//! Called for each status. Channels are read from shared memory; who talks is asked of the database
//! (`queues.rs`), once a minute at most.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use turnkey_storage::people::People;

use super::Admin;
use crate::author::message::Kind;
use crate::shared::notable;
use crate::shared::scoreboard::{Scoreboard, Slot};

/// Kinds that no handler chooses, and that it is given all the same.
const ALWAYS: [Kind; 3] = [Kind::Rpc, Kind::Timer, Kind::Callback];

/// A warning or an error of the log, without secrets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LogLine {
    pub(crate) at_ms: u64,
    /// `WARN` or `ERROR`.
    pub(crate) level: String,
    pub(crate) text: String,
}

/// A channel that the bot serves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ChannelState {
    pub(crate) name: String,
    /// What the platform calls the bot, once it has told.
    #[serde(default)]
    pub(crate) own_name: Option<String>,
    /// Turns since the start.
    pub(crate) turns: u64,
    /// When an update came last.
    pub(crate) last_update_ms: Option<u64>,
    /// The address that is registered with the platform.
    pub(crate) webhook: Option<String>,
    /// Until when the platform was polled.
    pub(crate) polled_ms: Option<u64>,
    /// What the platform said last that was no success.
    pub(crate) last_error: Option<LogLine>,
}

/// Who talks to the bot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Talkers {
    /// Dialogs that were looked at; as many or more where the next says so.
    pub(crate) counted: u64,
    pub(crate) dialogs: u64,
    /// Dialogs of a user alone, not in a group.
    pub(crate) users: u64,
    /// Dialogs, of those, that had a turn since midnight (UTC).
    pub(crate) active_today: u64,
}

impl Talkers {
    pub(super) fn of(people: &People) -> Self {
        Talkers {
            counted: turnkey_storage::people::COUNTED,
            dialogs: people.dialogs,
            users: people.users,
            active_today: people.active,
        }
    }
}

impl Admin {
    /// The channels, by name.
    pub(super) fn channels(&self) -> Vec<ChannelState> {
        let mut all: Vec<ChannelState> = self
            .bot
            .channels
            .outlets()
            .map(|outlet| {
                let (name, pace) = (outlet.name, outlet.pace);
                let of = |slot: Slot| slot.tallies().of_channel(pace.number());
                let url = self.public_url.as_deref();
                ChannelState {
                    name: name.to_owned(),
                    own_name: pace.own_name(),
                    turns: self.board.workers().map(of).sum(),
                    last_update_ms: pace.updated_ms(),
                    webhook: url
                        .filter(|_| pace.registered() != 0)
                        .map(|url| format!("{}/{name}", url.trim_end_matches('/'))),
                    polled_ms: pace.polled_ms(),
                    last_error: pace.trouble().map(line),
                }
            })
            .collect();
        all.sort_by(|a, b| a.name.cmp(&b.name));
        all
    }
}

/// What the platforms call the bot, such as `Tea (@tea_bot) on telegram, Tea on vk`; empty where none
/// has told.
pub(crate) fn known_as(channels: &[ChannelState]) -> String {
    let told = channels.iter().filter_map(|channel| {
        let name = channel.own_name.as_deref()?;
        Some(format!("{name} on {}", channel.name))
    });
    told.collect::<Vec<_>>().join(", ")
}

/// Turns by kind of update; only those that there were.
pub(super) fn by_kind(board: Scoreboard) -> BTreeMap<String, u64> {
    let count = |kind: Kind| -> u64 {
        let of = |slot: Slot| slot.tallies().of_kind(kind as usize);
        board.workers().map(of).sum()
    };
    let all = Kind::ALL.into_iter().chain(ALWAYS);
    let counted = all.map(|kind| (kind.name().to_owned(), count(kind)));
    counted.filter(|(_, count)| *count > 0).collect()
}

/// For the status.
pub(super) fn line(line: notable::Line) -> LogLine {
    LogLine {
        at_ms: line.at_ms,
        level: if line.is_error { "ERROR" } else { "WARN" }.to_owned(),
        text: line.text,
    }
}
