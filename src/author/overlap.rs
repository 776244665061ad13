//! [`Overlap`]: what becomes of messages of one dialog that come faster than they are handled;
//! [`Overlaps`]: of those of each channel; [`OverlapChange`]: what a turn says of its dialog's.
//!
//! Obeyed by `turn/gathering.rs`. Messages that may have to wait for others are taken into the
//! inbox and answered at once, so that waiting costs no update and survives any crash. Only
//! messages are gathered: a pressed button, say, is a turn of its own, in its place in the
//! order. A channel whose caller waits for the turn's answer (`http`) has one turn for each.

use std::fmt;
use std::time::Duration;

use crate::author::message::{Kind, Update};

/// How long the parts of an album are waited for, from the last on. Telegram and VK send them
/// one by one, each after the one before was answered.
const ALBUM: Duration = Duration::from_secs(1);

/// Milliseconds of a burst's longest window: ten minutes.
const LONGEST: u64 = 600_000;

/// What becomes of messages of one dialog that come shortly after each other. Where several
/// are one turn, [`Turn::updates`](crate::Turn::updates) has each of them.
///
/// ```
/// use turnkey::Overlap;
///
/// assert_eq!(Overlap::named("burst 1500ms"), Some(Overlap::burst(1500)));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Overlap {
    /// Each is a turn of its own.
    #[default]
    Each,
    /// The parts of an album are one turn; all else is as with [`Overlap::Each`].
    Albums,
    /// What comes until the user has been quiet for so long is one turn. Made by
    /// [`Overlap::burst`].
    #[non_exhaustive]
    Burst(Duration),
    /// What came while the turn before was under way is one turn, for the newest of them.
    Latest,
    /// A message that comes while the handler runs ends that run, which has no effect and is no
    /// attempt: the handler is called again, for what it had and the new message as one turn.
    /// After ten such runs in a row one is left to end, so that a user who never falls silent is
    /// answered, too.
    ///
    /// A run that has begun a [`step`](crate::Turn::step) is left to end, too: what was paid stays
    /// what it was paid for.
    ///
    /// In Rust the handler's future is dropped. In other languages the turn is cancelled, and
    /// the next run begins once the handler has ended: what it answers then is ignored.
    Interrupt,
}

impl Overlap {
    /// What comes until the user has been quiet for so many milliseconds is one turn: five
    /// quick messages are one call of a language model. A user who never falls silent is
    /// answered after ten times as long; a turn has at most fifty messages.
    ///
    /// # Panics
    /// Unless it is 1 to 600,000 milliseconds, which is ten minutes: a bot that asks for more does
    /// not start, and one that asks for it in a constant is not compiled. [`Overlap::named`] is
    /// for what is only known later.
    pub const fn burst(milliseconds: u64) -> Self {
        assert!(
            is_window(milliseconds),
            "the window of a burst has 1 to 600,000 milliseconds"
        );
        Overlap::Burst(Duration::from_millis(milliseconds))
    }

    /// The one of this name: `each`, `albums`, `latest`, `interrupt`, or `burst` with a time of
    /// up to ten minutes: `burst 1500ms`, `burst 2s`, `burst 10m`.
    pub fn named(name: &str) -> Option<Self> {
        let Some(window) = name.strip_prefix("burst ") else {
            return match name {
                "each" => Some(Overlap::Each),
                "albums" => Some(Overlap::Albums),
                "latest" => Some(Overlap::Latest),
                "interrupt" => Some(Overlap::Interrupt),
                _ => None,
            };
        };
        let units = [("ms", 1), ("s", 1000), ("m", 60_000)];
        let (number, unit) = units
            .into_iter()
            .find_map(|(unit, ms)| Some((window.strip_suffix(unit)?, ms)))?;
        if !number.bytes().all(|byte| byte.is_ascii_digit()) {
            return None; // Such as `+2`, which is a number, too.
        }
        let milliseconds = number.parse::<u64>().ok()?.checked_mul(unit)?;
        is_window(milliseconds).then(|| Overlap::burst(milliseconds))
    }

    /// How long this update waits for others that belong to it; none if it has a turn of its
    /// own.
    pub(crate) fn window(self, update: &Update) -> Option<Duration> {
        if update.kind != Kind::Message {
            return None;
        }
        match self {
            Overlap::Each => None,
            Overlap::Albums => (!update.album.is_empty()).then_some(ALBUM),
            Overlap::Burst(window) => Some(window),
            Overlap::Latest | Overlap::Interrupt => Some(Duration::ZERO),
        }
    }

    /// Whether the next message belongs to the turn of the one before. Both must come from the
    /// same place: the replies go there.
    pub(crate) fn joins(self, update: &Update, next: &Update) -> bool {
        self.window(update).is_some()
            && self.window(next).is_some()
            && (self != Overlap::Albums || update.album == next.album)
            && (&update.user, &update.address, &update.within)
                == (&next.user, &next.address, &next.within)
    }
}

const fn is_window(milliseconds: u64) -> bool {
    1 <= milliseconds && milliseconds <= LONGEST
}

impl fmt::Display for Overlap {
    /// Its name, which [`Overlap::named`] reads.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Overlap::Each => f.write_str("each"),
            Overlap::Albums => f.write_str("albums"),
            Overlap::Burst(window) => write!(f, "burst {}ms", window.as_millis()),
            Overlap::Latest => f.write_str("latest"),
            Overlap::Interrupt => f.write_str("interrupt"),
        }
    }
}

/// What a turn changes for its dialog.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OverlapChange {
    /// From now on it is this.
    Set(Overlap),
    /// From now on it is again what the app says.
    Forget,
}

impl From<Option<Overlap>> for OverlapChange {
    fn from(overlap: Option<Overlap>) -> Self {
        overlap.map_or(OverlapChange::Forget, OverlapChange::Set)
    }
}

/// What becomes of such messages on each channel.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Overlaps {
    everywhere: Overlap,
    /// Where it is another; each channel once.
    on: Vec<(String, Overlap)>,
}

impl Overlaps {
    /// On channels that have none of their own.
    pub(crate) fn everywhere(&mut self, overlap: Overlap) {
        self.everywhere = overlap;
    }

    /// On this channel. The last one counts.
    pub(crate) fn set(&mut self, channel: String, overlap: Overlap) {
        self.on.retain(|(name, _)| *name != channel);
        self.on.push((channel, overlap));
    }

    /// That of a channel.
    pub(crate) fn on(&self, channel: &str) -> Overlap {
        let own = self.on.iter().find(|(name, _)| name == channel);
        own.map_or(self.everywhere, |(_, overlap)| *overlap)
    }

    /// The channels that have one of their own.
    pub(crate) fn channels(&self) -> impl Iterator<Item = &str> {
        self.on.iter().map(|(name, _)| name.as_str())
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use turnkey_storage::DialogKey;

    use super::*;

    #[test]
    fn names_are_read() {
        for (name, overlap) in [
            ("each", Some(Overlap::Each)),
            ("albums", Some(Overlap::Albums)),
            ("latest", Some(Overlap::Latest)),
            ("burst 1500ms", Some(Overlap::burst(1500))),
            ("burst 2s", Some(Overlap::burst(2000))),
            ("burst 10m", Some(Overlap::burst(600_000))),
            ("burst 600s", Some(Overlap::burst(600_000))),
            ("interrupt", Some(Overlap::Interrupt)),
            ("burst 11m", None),
            ("burst 601s", None),
            ("burst 600001ms", None),
            ("burst +2s", None),
            ("burst 1h", None),
            ("burst m", None),
            ("burst 0s", None),
            ("burst", None),
            ("burst 18446744073709551615m", None),
            ("Albums", None),
        ] {
            assert_eq!(Overlap::named(name), overlap, "{name}");
            let again = overlap.map(|overlap| Overlap::named(&overlap.to_string()));
            assert_eq!(again.unwrap_or_default(), overlap, "{name}");
        }
    }

    #[test]
    #[should_panic(expected = "1 to 600,000 milliseconds")]
    fn a_window_that_is_too_long_is_no_window() {
        Overlap::burst(600_001);
    }

    #[test]
    fn a_channel_has_its_own() {
        let mut overlaps = Overlaps::default();
        assert_eq!(overlaps.on("telegram"), Overlap::Each);
        overlaps.set("telegram".to_owned(), Overlap::Latest);
        overlaps.set("telegram".to_owned(), Overlap::Interrupt);
        overlaps.everywhere(Overlap::Albums);
        assert_eq!(overlaps.on("telegram"), Overlap::Interrupt);
        assert_eq!(overlaps.on("vk"), Overlap::Albums);
        assert_eq!(overlaps.channels().collect::<Vec<_>>(), ["telegram"]);
    }

    #[test]
    fn what_belongs_together() {
        let message = || Update::new(DialogKey::new("telegram", "7"), "1", "hi", Bytes::new());
        let album = |album: &str| Update {
            album: album.to_owned(),
            ..message()
        };
        let button = Update {
            kind: Kind::Button,
            ..message()
        };
        let elsewhere = Update {
            within: "4".to_owned(),
            ..message()
        };
        assert!(Overlap::Albums.joins(&album("a"), &album("a")));
        assert!(!Overlap::Albums.joins(&album("a"), &album("b")));
        assert!(!Overlap::Albums.joins(&album("a"), &message()));
        assert!(!Overlap::Albums.joins(&message(), &message()));
        for overlap in [Overlap::burst(10), Overlap::Latest, Overlap::Interrupt] {
            assert!(overlap.joins(&message(), &album("a")));
            assert!(!overlap.joins(&message(), &button));
            assert!(!overlap.joins(&message(), &elsewhere));
        }
        assert!(!Overlap::Each.joins(&message(), &message()));
    }
}
