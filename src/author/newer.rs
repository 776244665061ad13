//! Whether something newer of a dialog has come while a turn of it runs.
//!
//! Asked by [`Turn::newer`](crate::Turn::newer), by handlers in other languages, and by
//! `turn/gathering.rs` for [`Overlap::Interrupt`](crate::Overlap::Interrupt). What tells is the
//! inbox; the words of `shared/arrivals.rs` only say when to look. Bounds: one look each
//! [`TICK`] at most, and one each [`LOOK`] at least, which is how an update that came to another
//! box is seen; [`MOST`] updates a look; no look after the turn's time is over.

use std::time::Duration;

use tokio::time::Instant;
use turnkey_storage::inbox;
use turnkey_storage::{Result, Storage};

use crate::author::message::{Kind, Update};
use crate::shared::arrivals::Arrivals;

/// Between two looks at the words.
const TICK: Duration = Duration::from_millis(25);

/// Between two looks into the inbox for which there is no sign.
const LOOK: Duration = Duration::from_secs(1);

/// How long a wish to know holds; it is renewed with each look at the words.
const WISH: Duration = Duration::from_secs(2);

/// That of a handler which only looks now and then.
const LONG_WISH: Duration = Duration::from_secs(30);

/// Updates of a dialog that are looked at.
const MOST: u32 = 50;

/// A turn's way to know.
#[derive(Clone, Copy)]
pub(crate) struct Newer {
    arrivals: Arrivals,
    /// The turn is over then, whatever it does.
    until: Instant,
}

impl Newer {
    pub(crate) fn new(arrivals: Arrivals, until: Instant) -> Self {
        Newer { arrivals, until }
    }

    /// Resolves once there is something newer than `update`, which the turn is about.
    pub(crate) async fn came(self, storage: &dyn Storage, update: &Update) {
        let is_there = async || is_newer(storage, update).await;
        self.until_there(update, None, is_there).await;
    }

    /// Whether there is, as far as is known. From now on it is known soon.
    pub(crate) async fn has_come(self, storage: &dyn Storage, update: &Update) -> Result<bool> {
        self.arrivals.want(&update.dialog, LONG_WISH);
        is_newer(storage, update).await
    }

    /// Resolves once `is_there` says so, which is asked whenever the inbox may have changed
    /// since `seen`, a count of before the last look into it; at first if there is none.
    pub(crate) async fn until_there(
        self,
        update: &Update,
        mut seen: Option<u64>,
        is_there: impl AsyncFn() -> Result<bool>,
    ) {
        let dialog = &update.dialog;
        let mut looked = Instant::now();
        while Instant::now() < self.until {
            self.arrivals.want(dialog, WISH);
            let count = self.arrivals.count(dialog);
            if seen != Some(count) || looked.elapsed() >= LOOK {
                (seen, looked) = (Some(count), Instant::now());
                match is_there().await {
                    Ok(true) => return,
                    Ok(false) => {}
                    Err(error) => {
                        tracing::debug!("{dialog}: cannot look for newer updates: {error}");
                    }
                }
            }
            tokio::time::sleep(TICK).await;
        }
        std::future::pending().await
    }
}

/// Whether an update of the dialog is in the inbox that the user sent, and that the turn of
/// this one does not have. Older ones are not there: they come before it.
async fn is_newer(storage: &dyn Storage, update: &Update) -> Result<bool> {
    let rows = inbox::of_dialog(storage, &update.dialog, MOST).await?;
    let is_news = |row: &inbox::Pending| is_news(update, &row.update, &row.body);
    Ok(rows.iter().any(is_news))
}

fn is_news(update: &Update, id: &str, body: &[u8]) -> bool {
    let is_own = update.updates().iter().any(|own| own.id.0 == id);
    let kind = || serde_json::from_slice(body).map(|update: Update| update.kind);
    // What others say, and what the clock says, is no news of the user.
    let is_of_others = |kind| {
        matches!(
            kind,
            Kind::Relayed | Kind::Timer | Kind::Callback | Kind::Rpc
        )
    };
    !is_own && kind().is_ok_and(|kind| !is_of_others(kind))
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use bytes::Bytes;

    use super::*;
    use crate::shared::arrivals::tests::{arrivals, sharing};

    fn update(id: &str, kind: Kind) -> Update {
        let dialog = turnkey_storage::DialogKey::new("telegram", "7");
        Update {
            kind,
            ..Update::new(dialog, id, "hi", Bytes::new())
        }
    }

    #[test]
    fn only_what_the_user_sent_since_is_newer() {
        let parts = vec![update("1", Kind::Message), update("2", Kind::Message)];
        let turn = Update::together(parts);
        for (id, kind, is_newer) in [
            ("1", Kind::Message, false),
            ("2", Kind::Message, false),
            ("3", Kind::Message, true),
            ("3", Kind::Button, true),
            ("3", Kind::Timer, false),
            ("3", Kind::Relayed, false),
            ("3", Kind::Callback, false),
            ("3", Kind::Rpc, false),
        ] {
            let body = serde_json::to_vec(&update(id, kind)).unwrap();
            assert_eq!(is_news(&turn, id, &body), is_newer, "{id} {kind:?}");
        }
    }

    /// Another dialog's arrivals are worth a look, and nothing else.
    #[tokio::test]
    async fn a_dialog_that_shares_its_words_is_no_news() {
        let arrivals = arrivals();
        let (_, other) = sharing(arrivals);
        let hour = Duration::from_secs(3600);
        let newer = Newer::new(arrivals, Instant::now() + hour);
        let mine = update("1", Kind::Message);
        let (looks, is_there) = (Cell::new(0), Cell::new(false));
        let came = newer.until_there(&mine, Some(arrivals.count(&mine.dialog)), async || {
            looks.set(looks.get() + 1);
            Ok(is_there.get())
        });
        let mut came = std::pin::pin!(came);
        let wait = async |came: &mut std::pin::Pin<&mut _>| {
            tokio::time::timeout(TICK * 4, came).await.is_ok()
        };
        assert!(!wait(&mut came).await);
        assert_eq!(looks.get(), 0);
        assert!(arrivals.is_wanted(&mine.dialog));
        arrivals.came(&other);
        assert!(!wait(&mut came).await);
        assert_eq!(looks.get(), 1);
        is_there.set(true);
        arrivals.came(&mine.dialog);
        assert!(wait(&mut came).await);
    }

    /// What came to another box raises no count here.
    #[tokio::test]
    async fn the_inbox_is_looked_at_without_a_sign_until_the_turn_is_over() {
        let newer = Newer::new(arrivals(), Instant::now() + LOOK * 3 / 2);
        let looks = Cell::new(0);
        let mine = update("1", Kind::Message);
        let came = newer.until_there(&mine, None, async || {
            looks.set(looks.get() + 1);
            Ok(looks.get() == 2)
        });
        came.await;
        let never = newer.until_there(&mine, None, async || {
            looks.set(looks.get() + 1);
            Ok(false)
        });
        assert!(tokio::time::timeout(LOOK * 2, never).await.is_err());
        assert_eq!(looks.get(), 3);
    }
}
