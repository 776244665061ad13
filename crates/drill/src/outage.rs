//! How long nobody took a connection, seen from the clients of one address.
//!
//! Written by the recorder, read when a server that should go on refused somebody
//! (`--allow-refused`).

use super::record::{Micros, Record};

/// From the first refusal until a connection came about again.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Outages {
    since: Option<Micros>,
    last_refusal: Micros,
    longest: Micros,
}

impl Outages {
    /// One more request.
    pub(super) fn add(&mut self, record: &Record) {
        if record.connected.is_none() {
            self.since.get_or_insert(record.start);
            self.last_refusal = self.last_refusal.max(record.end);
            return;
        }
        // A connection from before says nothing; requests end out of order.
        let opened = record.opened.filter(|_| !record.reused);
        if let (Some(since), Some(opened)) = (self.since, opened)
            && opened > since
        {
            self.longest = self.longest.max(opened - since);
            self.since = None;
        }
    }

    /// The longest one; one that did not end lasted until its last refusal.
    pub(super) fn longest(&self) -> Micros {
        let open = self.since.map_or(0, |since| self.last_refusal - since);
        self.longest.max(open)
    }
}

#[cfg(test)]
mod tests {
    use super::super::record::End;
    use super::super::record::tests::record;
    use super::*;

    #[test]
    fn from_the_first_refusal_to_the_next_connection() {
        let mut outages = Outages::default();
        let at = |start, opened| Record {
            start,
            end: start + 10,
            opened,
            connected: opened,
            ..record(End::Complete)
        };
        outages.add(&at(100, Some(100)));
        assert_eq!(outages.longest(), 0);
        outages.add(&at(200, None));
        // Opened before the refusal, over after it.
        outages.add(&at(150, Some(150)));
        outages.add(&at(300, None));
        assert_eq!(outages.longest(), 110);
        outages.add(&at(500, Some(505)));
        assert_eq!(outages.longest(), 305);
        outages.add(&at(600, None));
        assert_eq!(outages.longest(), 305);
    }
}
