//! Whether the server called itself ready, and when that changed: what a balancer knows.
//!
//! Written by the recorder from the answers of `--ready-path`, read by the diagnosis.
//! Bound: [`MAX_CHANGES`].

use super::record::{End, Micros, Record};

/// Changes that are kept; one that flickers has been seen by then.
const MAX_CHANGES: usize = 1_000;

/// What it says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Says {
    Ready,
    /// An answer other than 200 to 299.
    NotReady,
    /// No answer.
    Nothing,
}

/// Its changes, each from the moment when it was said.
#[derive(Clone, Debug, Default)]
pub(super) struct Readiness {
    changes: Vec<(Micros, Says)>,
}

impl Readiness {
    /// One more answer.
    pub(super) fn add(&mut self, record: &Record) {
        let says = match (record.outcome, record.status) {
            (End::Complete, Some(200..=299)) => Says::Ready,
            (End::Complete, _) => Says::NotReady,
            _ => Says::Nothing,
        };
        let is_new = self.changes.last().is_none_or(|(_, last)| *last != says);
        if is_new && self.changes.len() < MAX_CHANGES {
            // When it was said: the question may be older than the signal.
            let at = record.first_read.unwrap_or(record.end);
            self.changes.push((at, says));
        }
    }

    pub(super) fn is_known(&self) -> bool {
        !self.changes.is_empty()
    }

    /// What it said last at this moment.
    pub(super) fn at(&self, moment: Micros) -> Option<Says> {
        let before = self.changes.iter().take_while(|(from, _)| *from <= moment);
        before.last().map(|(_, says)| *says)
    }

    /// When it first said after this moment that it is not ready.
    pub(super) fn turned_away(&self, after: Micros) -> Option<Micros> {
        self.changes
            .iter()
            .find(|(from, says)| *from >= after && *says == Says::NotReady)
            .map(|(from, _)| *from)
    }

    /// Whether it said that it is ready from one moment to another.
    pub(super) fn is_ready_throughout(&self, from: Micros, until: Micros) -> bool {
        let changes = self.changes.iter();
        let mut between = changes.filter(|(at, _)| *at > from && *at <= until);
        self.at(from) == Some(Says::Ready) && between.next().is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::super::record::tests::record;
    use super::*;

    #[test]
    fn changes_are_kept_and_found() {
        let mut readiness = Readiness::default();
        for (end, outcome, status) in [
            (10, End::Complete, Some(200)),
            (20, End::Complete, Some(204)),
            (30, End::Complete, Some(503)),
            (40, End::Refused, None),
        ] {
            readiness.add(&Record {
                end,
                status,
                ..record(outcome)
            });
        }
        assert_eq!(readiness.changes.len(), 3);
        assert_eq!(readiness.at(9), None);
        assert_eq!(readiness.at(29), Some(Says::Ready));
        assert_eq!(readiness.at(99), Some(Says::Nothing));
        assert_eq!(readiness.turned_away(15), Some(30));
        assert!(readiness.is_ready_throughout(10, 29));
        assert!(!readiness.is_ready_throughout(10, 30));
    }
}
