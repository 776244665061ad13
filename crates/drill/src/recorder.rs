//! The records of a round, within bounds.
//!
//! Before the signal, whole answers are only counted once they are a second old; what
//! failed is always kept. Refusals come by the hundred: beyond some they are counted, too.
//! What is beyond a bound is counted by its outcome and judged without its details.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;

use super::events::Events;
use super::outage::Outages;
use super::plan::MAX_URLS;
use super::readiness::Readiness;
use super::record::{End, Micros, Record};
use super::verdict::Expected;
use super::websocket::Messages;

/// Records of one round: some 10 MiB.
const MAX_RECORDS: usize = 60_000;

/// Refusals that are kept as records.
const MAX_REFUSALS: u64 = 2_000;

/// Backends whose answers are counted.
const MAX_BACKENDS: usize = 100;

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
    expected: Expected,
    /// By address.
    outages: Vec<Outages>,
    out: Recorded,
}

/// All that is known of a round's requests.
#[derive(Default)]
pub(super) struct Recorded {
    pub(super) records: Vec<Record>,
    /// Whole answers that are only counted.
    pub(super) answered: u64,
    /// Those of them whose requests began after the signal.
    pub(super) answered_later: u64,
    /// Connections that nobody took after the signal, and are only counted.
    pub(super) refused: u64,
    /// Records that were beyond the bound: the round cannot be judged.
    pub(super) dropped: u64,
    pub(super) of_clients: OfClients,
    pub(super) first_refusal: Option<Micros>,
    /// The longest time in which nobody took a connection.
    pub(super) outage: Micros,
    pub(super) readiness: Readiness,
    pub(super) leaves: Leaves,
    pub(super) early_answers: u64,
    pub(super) messages: Messages,
    pub(super) events: EventCounts,
    /// Who answered: before the signal, and after it.
    pub(super) backends: BTreeMap<Arc<str>, (u64, u64)>,
    /// Answers by status.
    pub(super) statuses: BTreeMap<u16, u64>,
}

/// Events of all streams of a round.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct EventCounts {
    /// Whole ones.
    pub received: u64,
    /// Streams that went on, after an end, with the event that follows.
    pub resumed: u64,
    /// Streams that went on with another one, though `Last-Event-ID` was sent.
    pub not_resumed: u64,
}

/// How a server took leave of its connections of HTTP/2, after the signal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Leaves {
    /// GOAWAY for all streams first, later with the last one: nothing was turned away.
    pub in_two_steps: u64,
    /// With one GOAWAY, which turns away what is on its way.
    pub at_once: u64,
    /// The connection ended without GOAWAY.
    pub silent: u64,
}

impl Recorder {
    pub(super) fn new(signalled: Arc<AtomicU64>, expected: Expected) -> Self {
        Recorder {
            signalled,
            records: VecDeque::new(),
            refusals: 0,
            expected,
            outages: vec![Outages::default(); MAX_URLS],
            out: Recorded::default(),
        }
    }

    /// A request has ended.
    pub(super) fn keep(&mut self, record: Record) {
        let signal = self.signalled.load(Ordering::Acquire);
        let is_after = signal > 0 && record.end >= signal;
        let (out, whole) = (&mut self.out, record.outcome == End::Complete);
        out.early_answers += u64::from(record.early);
        if let Some(outages) = self.outages.get_mut(record.aim) {
            outages.add(&record);
        }
        if let Some(name) = &record.backend
            && (out.backends.len() < MAX_BACKENDS || out.backends.contains_key(name))
        {
            let (before, after) = out.backends.entry(name.clone()).or_default();
            *(if is_after { after } else { before }) += 1;
        }
        if let Some(status) = record.status.filter(|_| whole) {
            *out.statuses.entry(status).or_default() += 1;
        }
        out.of_clients
            .entry(record.client)
            .or_default()
            .add(&record);
        let is_refusal = record.connected.is_none() && is_after;
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
                && first.is_plain_answer(&self.expected)
            {
                self.records.pop_front();
                out.answered += 1;
            }
        }
        if self.records.len() < MAX_RECORDS {
            self.records.push_back(record);
        } else if record.is_plain_answer(&self.expected) {
            out.answered += 1;
            out.answered_later += u64::from(signal > 0 && record.start > signal);
        } else if is_refusal {
            out.refused += 1;
        } else {
            out.dropped += 1;
        }
    }

    /// An answer of `--ready-path`, which is none of the load's.
    pub(super) fn asked_for_readiness(&mut self, record: &Record) {
        self.out.readiness.add(record);
    }

    /// What went over one WebSocket.
    pub(super) fn messages(&mut self, messages: &Messages) {
        self.out.messages.add(messages);
    }

    /// What came over one stream.
    pub(super) fn events(&mut self, events: &Events) {
        let counts = &mut self.out.events;
        counts.received += events.received;
        counts.resumed += u64::from(events.is_resumed == Some(true));
        counts.not_resumed += u64::from(events.is_resumed == Some(false));
    }

    pub(super) fn into_recorded(mut self) -> Recorded {
        self.out.records = self.records.into();
        let longest = self.outages.iter().map(Outages::longest).max();
        self.out.outage = longest.unwrap_or_default();
        self.out
    }
}

impl Record {
    fn is_plain_answer(&self, expected: &Expected) -> bool {
        let is_right = self.status.is_some_and(|status| expected.takes(status));
        self.outcome == End::Complete && !self.extra && is_right
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
        let mut recorder = Recorder::new(signalled.clone(), Expected::default());
        recorder.keep(answer(1, 1000));
        recorder.keep(Record {
            n: 2,
            ..record(End::Reset)
        });
        recorder.keep(answer(3, 3_000_000));
        signalled.store(3_000_001, Ordering::Release);
        recorder.keep(answer(4, 9_000_000));
        let out = recorder.into_recorded();
        let numbers: Vec<u64> = out.records.iter().map(|record| record.n).collect();
        assert_eq!((out.answered, numbers), (1, vec![2, 3, 4]));
        let told = Told {
            acknowledged: 3,
            uncertain: 1,
        };
        assert_eq!(out.of_clients[&0], told);
        assert_eq!(out.statuses[&200], 3);
    }

    #[test]
    fn refusals_beyond_a_bound_are_counted() {
        let mut recorder = Recorder::new(Arc::new(AtomicU64::new(10)), Expected::default());
        for n in 0..MAX_REFUSALS + 50 {
            recorder.keep(Record {
                n,
                connected: None,
                sent: 0,
                ..record(End::Refused)
            });
        }
        let out = recorder.into_recorded();
        assert_eq!(out.records.len() as u64, MAX_REFUSALS);
        assert_eq!((out.refused, out.first_refusal), (50, Some(1100)));
    }
}
