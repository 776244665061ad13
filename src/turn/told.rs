//! What a caller is told about a storage failure, and what the log says about it.
//!
//! Called wherever such a failure becomes an answer: `turn.rs`, `receipt.rs`, the status of
//! an update. Invariant: the caller, who may be anybody, gets a sentence of ours; the
//! database's words (names of statements and servers, advice to the operator) are in
//! the log alone. Bound: a line every [`PAUSE`] in each process, the others are counted.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use turnkey_storage::Error;

/// Between two lines.
const PAUSE: Duration = Duration::from_secs(5);

/// What to say to whoever waits for a turn that the storage did not take.
pub(crate) fn of_storage(error: &Error) -> String {
    let sentence = match error {
        // Our own words about the user's other messages: nothing is wrong.
        Error::Busy(_) => return error.to_string(),
        Error::Full => "there is no room in the storage just now; send it again later",
        _ => "the storage takes no messages just now; send it again later",
    };
    log("the storage", error);
    sentence.to_owned()
}

/// The same of the author's lock.
pub(crate) fn of_user_lock(error: &dyn std::fmt::Display) -> String {
    log("the user lock", error);
    "the user lock cannot be had just now; send it again later".to_owned()
}

/// The same of an earlier turn's replies, which come first. The words are a platform's.
pub(crate) fn of_replies(error: &dyn std::fmt::Display) -> String {
    log("the sending of earlier replies", error);
    "replies of an earlier turn cannot be sent yet; send it again later".to_owned()
}

fn log(what: &str, error: &dyn std::fmt::Display) {
    if let Some(others) = LINES
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .next(Instant::now())
    {
        let more = match others {
            0 => String::new(),
            n => format!(" (and {n} more since the last such line)"),
        };
        tracing::warn!("a message is answered 503, {what} has failed: {error}{more}");
    }
}

static LINES: Mutex<Lines> = Mutex::new(Lines {
    last: None,
    others: 0,
});

/// Counts lines that are not written.
struct Lines {
    last: Option<Instant>,
    others: u64,
}

impl Lines {
    /// How many were passed over, if another one is to be written.
    fn next(&mut self, now: Instant) -> Option<u64> {
        if self
            .last
            .is_some_and(|last| now.duration_since(last) < PAUSE)
        {
            self.others += 1;
            return None;
        }
        self.last = Some(now);
        Some(std::mem::take(&mut self.others))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_told_the_words_of_a_database() {
        let words = "PostgreSQL: prepared statement \"s7\" of bot@db1 does not exist";
        for error in [
            Error::Unavailable(words.to_owned()),
            Error::Open(words.into()),
            Error::Undone(words.to_owned()),
            Error::Poisoned(words.to_owned()),
            Error::Statement(words.to_owned()),
            Error::Full,
            Error::Stale,
        ] {
            let told = of_storage(&error);
            assert!(told.ends_with("send it again later"), "{told}");
            assert!(!told.contains("s7") && !told.contains("db1"), "{told}");
        }
        let busy = Error::Busy("an earlier update of this user takes long".to_owned());
        assert!(of_storage(&busy).contains("takes long"));
    }

    #[test]
    fn lines_are_bounded_and_the_others_counted() {
        let mut lines = Lines {
            last: None,
            others: 0,
        };
        let start = Instant::now();
        assert_eq!(lines.next(start), Some(0));
        for _ in 0..1000 {
            assert_eq!(lines.next(start + PAUSE / 2), None);
        }
        assert_eq!(lines.next(start + PAUSE), Some(1000));
        assert_eq!(lines.next(start + PAUSE * 2), Some(0));
    }
}
