//! [`Overlap`]: what becomes of messages of one dialog that come faster than they are handled.
//!
//! Obeyed by `turn/gathering.rs`. Messages that may have to wait for others are taken into the
//! inbox and answered at once, so that waiting costs no update and survives any crash. Only
//! messages are gathered: a pressed button, say, is a turn of its own, in its place in the
//! order. A channel whose caller waits for the turn's answer (`http`) has one turn for each.

use std::time::Duration;

use crate::author::message::{Kind, Update};

/// How long the parts of an album are waited for, from the last on. Telegram and VK send them
/// one by one, each after the one before was answered.
const ALBUM: Duration = Duration::from_secs(1);

/// The longest window of a burst.
const LONGEST: Duration = Duration::from_secs(30);

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
    Burst(Duration),
    /// What came while the turn before was under way is one turn, for the newest of them.
    Latest,
}

impl Overlap {
    /// What comes until the user has been quiet for so many milliseconds is one turn: five
    /// quick messages are one call of a language model. At most 30,000; a user who never falls
    /// silent is answered after ten times as long, or fifty messages.
    pub fn burst(milliseconds: u64) -> Self {
        Overlap::Burst(Duration::from_millis(milliseconds).min(LONGEST))
    }

    /// The one of this name: `each`, `albums`, `latest`, `burst 1500ms`, `burst 2s`.
    pub fn named(name: &str) -> Option<Self> {
        let Some(window) = name.strip_prefix("burst ") else {
            return match name {
                "each" => Some(Overlap::Each),
                "albums" => Some(Overlap::Albums),
                "latest" => Some(Overlap::Latest),
                _ => None,
            };
        };
        let milliseconds = match window.strip_suffix("ms") {
            Some(number) => number.parse().ok()?,
            None => window
                .strip_suffix('s')?
                .parse::<u64>()
                .ok()?
                .checked_mul(1000)?,
        };
        let is_window = (1..=LONGEST.as_millis() as u64).contains(&milliseconds);
        is_window.then(|| Overlap::burst(milliseconds))
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
            Overlap::Latest => Some(Duration::ZERO),
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
            ("burst 30s", Some(Overlap::burst(30_000))),
            ("burst 31s", None),
            ("burst 0s", None),
            ("burst", None),
            ("burst 18446744073709551615s", None),
            ("Albums", None),
        ] {
            assert_eq!(Overlap::named(name), overlap, "{name}");
        }
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
        for overlap in [Overlap::burst(10), Overlap::Latest] {
            assert!(overlap.joins(&message(), &album("a")));
            assert!(!overlap.joins(&message(), &button));
            assert!(!overlap.joins(&message(), &elsewhere));
        }
        assert!(!Overlap::Each.joins(&message(), &message()));
    }
}
