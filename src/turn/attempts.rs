//! How often an update is tried, with which pauses, and what becomes of one that is given up.
//!
//! Called by `turn.rs`, which holds the dialog's lock during the pauses too, so later updates
//! cannot overtake. (A lock that is held while nothing runs costs only its row; if the worker
//! dies in a pause, the lock is freed and the row in the inbox says when the update is due.) An
//! attempt at an update from the inbox is counted before it runs, so one that kills its worker
//! is given up in the end (`giving_up.rs`). Bounds: `--max-attempts`, [`LONGEST_PAUSE`].

use std::time::Duration;

use turnkey_storage::broadcasts;
use turnkey_storage::dead::{self, DeadLetter};
use turnkey_storage::inbox::{self as row, GIVING_UP, LONGEST_PAUSE};
use turnkey_storage::{Arrival, Seen};

use crate::author::error::Error;
use crate::author::message::Update;
use crate::channels::Channels;
use crate::shared::backoff::jitter;
use crate::shared::scoreboard::Field;
use crate::shared::scrub::told;
use crate::turn::receipt::{Answer, Inbox, Receipt, now_ms};
use turnkey_text::numbers::counted;

/// After the first failure; doubled after each further one. Each is cut by up to a half,
/// at random: those who failed together do not come back together. With the default of
/// `--max-attempts` the last attempt comes one to two minutes after the first: an outage of a
/// minute is survived.
const FIRST_PAUSE: Duration = Duration::from_millis(500);

/// What is known of an attempt that never came back.
const DIED: &str = "its process ended while it was handled";

/// What comes next.
pub(crate) enum Next {
    /// An attempt.
    Attempt,
    /// None any more: it is to be given up, for this reason.
    GiveUp(String),
    /// Nothing: the update stays in the inbox, or comes again.
    Over,
}

/// What attempts have to do with.
#[derive(Clone, Copy)]
pub(crate) struct Attempts<'a> {
    pub(crate) inbox: &'a Inbox,
    pub(crate) channels: &'a Channels,
    /// `--max-attempts`
    pub(crate) most: u32,
}

impl Attempts<'_> {
    /// Counts the attempt that follows, if there is one.
    pub(crate) async fn start(self, receipt: &mut Receipt<'_>) -> Next {
        if receipt.attempts >= self.most {
            let error = receipt.error.take();
            return Next::GiveUp(error.unwrap_or_else(|| DIED.to_owned()));
        }
        receipt.attempts_before = receipt.attempts;
        if receipt.is_recovered {
            let attempts = receipt.attempts + 1;
            if !receipt.note(attempts, DIED, now_ms()).await {
                return Next::Over;
            }
        }
        receipt.attempts += 1;
        Next::Attempt
    }

    /// The attempt was none: its lock was lost.
    pub(crate) fn undo(self, receipt: &mut Receipt<'_>) {
        receipt.attempts = receipt.attempts.saturating_sub(1);
    }

    /// An attempt failed. The pause before another one is over when this says so.
    pub(crate) async fn failed(self, receipt: &mut Receipt<'_>, error: &Error) -> Next {
        let update = receipt.update.clone();
        let (wished, is_final) = (error.pause(), error.is_final());
        // It is stored, and shown to operators.
        let error = told(&error.to_string()).into_owned();
        let which = format!(
            "{} update {} failed (attempt {} of {})",
            update.dialog, update.id, receipt.attempts, self.most
        );
        match wished {
            // Its author has thought of it: where it came from is in the row.
            Some(_) => tracing::warn!("{which}: {}", error.lines().next().unwrap_or_default()),
            None => tracing::error!("{which}: {error}"),
        }
        // One that is in the inbox is tried again, and its sender waits for that.
        if receipt.waits_for_answer() && !receipt.is_accepted() {
            // What went wrong is the author's business, not the sender's: it is in the
            // log.
            receipt.answer(Answer::Failed);
        }
        if receipt.is_refused() {
            return Next::Over;
        }
        if receipt.attempts >= self.most || is_final {
            return Next::GiveUp(error);
        }
        let pause = wished.unwrap_or_else(|| pause_after(receipt.attempts));
        receipt.due = now_ms() + pause.as_millis() as i64;
        receipt.error = Some(error.clone());
        if receipt.is_accepted() {
            receipt.note(receipt.attempts, &error, receipt.due).await;
        }
        if receipt.during(self.inbox.sleep(pause)).await {
            return Next::Attempt;
        }
        receipt.answer(Answer::Busy("the worker is stopping".to_owned()));
        Next::Over
    }

    /// Takes an update out of the inbox that turned out to be done: another task, perhaps
    /// of another worker, was sooner.
    pub(crate) async fn take_out(self, receipt: &mut Receipt<'_>) {
        if !receipt.is_accepted() {
            return;
        }
        let Update { dialog, id, .. } = &*receipt.update;
        match row::forget(&*self.inbox.storage, &dialog.channel, &id.0).await {
            Ok(()) => receipt.settled(),
            Err(error) => tracing::warn!("an update that is done stays in the inbox: {error}"),
        }
    }

    fn letter(self, update: &Update, arrived: Arrival, attempts: u32, error: String) -> DeadLetter {
        DeadLetter {
            dialog: update.dialog.clone(),
            update: update.id.0.clone(),
            arrived: arrived.unix_us(),
            digest: update.digest.clone(),
            answer: self.channels.of(&update.dialog).given_up(update),
            body: serde_json::to_vec(update).unwrap_or_default(),
            error,
            attempts,
            died: now_ms(),
        }
    }

    /// The letter of an update that is tried no more.
    pub(super) fn letter_of(self, receipt: &Receipt<'_>, error: &str) -> DeadLetter {
        let attempts = receipt.attempts % GIVING_UP;
        self.letter(&receipt.update, receipt.arrived, attempts, error.to_owned())
    }

    /// Gives an update up: it goes to the dead letters, and to whoever sends it again it
    /// is done.
    pub(super) async fn bury(self, receipt: &mut Receipt<'_>, error: &str) {
        let letter = self.letter_of(receipt, error);
        if self.bury_letter(&letter).await {
            match receipt.waits_for_answer() {
                // As if it asked again.
                true => receipt.answer(Answer::Seen(Seen {
                    digest: letter.digest,
                    answer: letter.answer,
                })),
                false => receipt.answer_accepted(),
            }
            receipt.settled();
        } else {
            receipt.answer(Answer::Busy("the storage is away".to_owned()));
        }
    }

    /// Gives up what came in and cannot be read. False: that could not be written.
    pub(crate) async fn bury_unread(self, update: &Update, arrived: Arrival) -> bool {
        let error = format!("it cannot be read: {}", update.text);
        self.bury_letter(&self.letter(update, arrived, 0, error))
            .await
    }

    /// Gives up an update of the inbox that cannot be read: another version wrote it, or
    /// it could not be read when it came in.
    pub(crate) async fn bury_unreadable(self, row: row::Pending, reason: &str) -> bool {
        let letter = DeadLetter {
            dialog: row.dialog,
            update: row.update,
            arrived: row.arrived,
            digest: Vec::new(),
            answer: Vec::new(),
            body: row.body,
            error: format!("it cannot be read: {reason}"),
            attempts: row.attempts % GIVING_UP,
            died: now_ms(),
        };
        self.bury_letter(&letter).await
    }

    async fn bury_letter(self, letter: &DeadLetter) -> bool {
        let DeadLetter { dialog, update, .. } = letter;
        let storage = &*self.inbox.storage;
        let buried = match broadcasts::of_update(update) {
            Some(broadcast) => broadcasts::bury_update(storage, broadcast, letter).await,
            None => dead::bury(storage, letter).await,
        };
        match buried {
            Ok(()) => {
                self.buried(letter);
                true
            }
            Err(error) => {
                tracing::warn!("{dialog} update {update} cannot be given up yet: {error}");
                false
            }
        }
    }

    /// Counts a letter that was written, and tells of it.
    pub(super) fn buried(self, letter: &DeadLetter) {
        let DeadLetter {
            dialog,
            update,
            attempts,
            error,
            ..
        } = letter;
        self.inbox.slot.add(Field::Buried, 1);
        let show = ["dead", "show", &dialog.channel, update];
        let show = self.inbox.commands.line(&show);
        // Its trace is in the line of the attempt, and in the letter.
        let error = error.lines().next().unwrap_or_default();
        match attempts {
            0 => tracing::error!(
                "{dialog} update {update} became a dead letter at once: {error} ({show})"
            ),
            _ => tracing::error!(
                "{dialog} update {update} was given up after {}: {error} ({show})",
                counted(u64::from(*attempts), "attempt")
            ),
        }
    }
}

fn pause_after(attempts: u32) -> Duration {
    let doubled = FIRST_PAUSE * 2_u32.saturating_pow(attempts.saturating_sub(1).min(16));
    let longest = doubled.min(LONGEST_PAUSE);
    jitter(longest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Settings;

    #[test]
    fn a_minute_without_what_a_handler_needs_is_survived() {
        let most = Settings::default().validate(false).unwrap().max_attempts;
        let pauses = |_| (1..most).map(pause_after).sum::<Duration>();
        let shortest = (0..1000).map(pauses).min();
        assert!(shortest > Some(Duration::from_secs(60)), "{shortest:?}");
    }

    #[test]
    fn pauses_grow_up_to_a_limit() {
        for (attempts, most) in [(1, 500), (2, 1000), (5, 8000), (7, 30_000), (40, 30_000)] {
            let pause = pause_after(attempts).as_millis();
            assert!((most / 2..=most).contains(&pause), "{attempts}: {pause}");
        }
    }
}
