//! The records of a round, within bounds.
//!
//! Before the signal, whole answers are only counted once they are a second old; what
//! failed is always kept. Refusals come by the hundred: beyond some they are counted, too.
//! What is beyond a bound is counted by its outcome and judged without its details.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::record::{End, Kind, Micros, Record};

/// Records of one round: some 10 MiB.
const MAX_RECORDS: usize = 60_000;

/// Refusals that are kept as records.
const MAX_REFUSALS: u64 = 2_000;

/// Whole answers older than this are only counted while there was no signal.
const RECENT: Micros = 1_000_000;

/// Acknowledged messages of a client whose count alone is kept.
pub(super) type OfClients = BTreeMap<usize, Told>;

/// What one client was told, for the check of the storage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Told {
    /// Requests with an answer of 200 to 299.
    pub(super) acknowledged: u64,
    /// Sent, but what became of them is not known.
    pub(super) uncertain: u64,
}

impl Told {
    /// What became of one more request.
    pub(super) fn add(&mut self, record: &Record) {
        let whole = record.outcome == End::Complete;
        match record.status {
            Some(200..=299) if whole => self.acknowledged += 1,
            // Nothing of it was sent, or it was turned down.
            _ if record.sent == 0 => {}
            Some(400..=499) if whole => {}
            _ => self.uncertain += 1,
        }
    }
}

pub(super) struct Recorder {
    /// When the signal was sent; 0 before.
    signalled: Arc<AtomicU64>,
    records: VecDeque<Record>,
    refusals: u64,
    open: BTreeMap<u64, (usize, Kind, Micros)>,
    out: Recorded,
}

/// All that is known of a round's requests.
#[derive(Default)]
pub(super) struct Recorded {
    pub(super) records: Vec<Record>,
    /// Whole answers that are only counted.
    pub(super) answered: u64,
    /// Connections that nobody took after the signal, and are only counted.
    pub(super) refused: u64,
    /// Records that were beyond the bound: the round cannot be judged.
    pub(super) dropped: u64,
    pub(super) of_clients: OfClients,
    pub(super) first_refusal: Option<Micros>,
    /// Answers by status.
    pub(super) statuses: BTreeMap<u16, u64>,
    /// The next free number.
    pub(super) next: u64,
}

impl Recorder {
    pub(super) fn new(signalled: Arc<AtomicU64>) -> Self {
        Recorder {
            signalled,
            records: VecDeque::new(),
            refusals: 0,
            open: BTreeMap::new(),
            out: Recorded::default(),
        }
    }

    /// A request goes out.
    pub(super) fn begin(&mut self, n: u64, client: usize, kind: Kind, now: Micros) {
        self.open.insert(n, (client, kind, now));
    }

    /// A request has ended.
    pub(super) fn keep(&mut self, record: Record) {
        self.open.remove(&record.n);
        let signal = self.signalled.load(Ordering::Acquire);
        let (out, whole) = (&mut self.out, record.outcome == End::Complete);
        if let Some(status) = record.status.filter(|_| whole) {
            *out.statuses.entry(status).or_default() += 1;
        }
        out.of_clients
            .entry(record.client)
            .or_default()
            .add(&record);
        let is_refusal = record.connected.is_none() && signal > 0 && record.end >= signal;
        if is_refusal {
            out.first_refusal.get_or_insert(record.end);
            if self.refusals >= MAX_REFUSALS {
                out.refused += 1;
                return;
            }
            self.refusals += 1;
        }
        if signal == 0 {
            let old = record.end.saturating_sub(RECENT);
            while let Some(first) = self.records.front()
                && first.end < old
                && first.is_plain_answer()
            {
                self.records.pop_front();
                out.answered += 1;
            }
        }
        if self.records.len() < MAX_RECORDS {
            self.records.push_back(record);
        } else if record.is_plain_answer() {
            out.answered += 1;
        } else if is_refusal {
            out.refused += 1;
        } else {
            out.dropped += 1;
        }
    }

    /// `next` is the first number that was not used.
    pub(super) fn into_recorded(mut self, next: u64) -> Recorded {
        // Under way when the load was abandoned.
        for (n, (client, kind, start)) in std::mem::take(&mut self.open) {
            self.out.of_clients.entry(client).or_default().uncertain += 1;
            self.records
                .push_back(Record::abandoned(n, client, kind, start));
        }
        self.out.records = self.records.into();
        self.out.next = next;
        self.out
    }
}

impl Record {
    fn is_plain_answer(&self) -> bool {
        self.outcome == End::Complete && !self.extra && self.status.is_some_and(|s| s < 500)
    }

    /// One whose end nobody saw. It counts as sent.
    fn abandoned(n: u64, client: usize, kind: Kind, start: Micros) -> Self {
        Record {
            n,
            client,
            kind,
            reused: false,
            port: 0,
            opened: None,
            start,
            connected: Some(start),
            first_sent: None,
            all_sent: None,
            first_read: None,
            end: start,
            size: 0,
            sent: 0,
            read: 0,
            status: None,
            retry_after: false,
            extra: false,
            outcome: End::Abandoned,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::record::tests::record;
    use super::*;

    fn answer(n: u64, end: Micros) -> Record {
        Record {
            n,
            end,
            status: Some(200),
            ..record(End::Complete)
        }
    }

    #[test]
    fn old_answers_are_counted_and_failures_kept() {
        let signalled = Arc::new(AtomicU64::new(0));
        let mut recorder = Recorder::new(signalled.clone());
        recorder.keep(answer(1, 1000));
        recorder.keep(Record {
            n: 2,
            ..record(End::Reset)
        });
        recorder.keep(answer(3, 3_000_000));
        signalled.store(3_000_001, Ordering::Release);
        recorder.keep(answer(4, 9_000_000));
        recorder.begin(5, 0, Kind::Slow, 9_000_001);
        let out = recorder.into_recorded(6);
        let numbers: Vec<u64> = out.records.iter().map(|record| record.n).collect();
        assert_eq!((out.answered, numbers), (1, vec![2, 3, 4, 5]));
        let told = Told {
            acknowledged: 3,
            uncertain: 2,
        };
        assert_eq!(out.of_clients[&0], told);
        assert_eq!(out.statuses[&200], 3);
    }

    #[test]
    fn refusals_beyond_a_bound_are_counted() {
        let mut recorder = Recorder::new(Arc::new(AtomicU64::new(10)));
        for n in 0..MAX_REFUSALS + 50 {
            recorder.keep(Record {
                n,
                connected: None,
                sent: 0,
                ..record(End::Refused)
            });
        }
        let out = recorder.into_recorded(0);
        assert_eq!(out.records.len() as u64, MAX_REFUSALS);
        assert_eq!((out.refused, out.first_refusal), (50, Some(1100)));
    }
}
