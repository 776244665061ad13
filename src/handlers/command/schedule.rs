//! Which turn goes to which handler process, and when. Plain data: no process, no clock.
//!
//! Called by `pool.rs` at each change; it then asks [`Schedule::next`] until there is
//! nothing to do. Invariants: a process has never more turns in hand than it said it can
//! run; the turns of a process that died run again in **quarantine**, in a process that
//! has nothing else in hand: at first one at a time, so that the one which kills it is
//! found; while that goes well two, four, eight … at a time, so that many slow turns need
//! not wait for each other. Bounds: [`MOST_BYTES`] in hand of a process. How many wait is
//! bounded by whoever starts turns (`--max-turns`).

use std::collections::VecDeque;

/// Bytes of turns that a process has in hand; one turn is always allowed.
const MOST_BYTES: usize = 64 << 20;

/// Whether a turn may have killed a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Suspicion {
    None,
    /// It was in hand of one that died.
    Suspect,
}

/// A handler process, or the place of one that is not there now.
#[derive(Default)]
struct ProcessPlace {
    /// Turns that it runs at once; 0 while there is none.
    capacity: usize,
    in_hand: usize,
    bytes: usize,
    quarantine: Option<Quarantine>,
}

/// A process that is kept for suspects.
struct Quarantine {
    /// At once.
    width: usize,
    /// Ended well since the width grew.
    well: usize,
}

/// What waits: `T` is how it is told that it may go.
struct Waiting<T> {
    ticket: T,
    bytes: usize,
}

/// A turn that may go.
pub(super) struct Go<T> {
    pub(super) ticket: T,
    pub(super) place: usize,
    pub(super) bytes: usize,
}

/// All processes of a worker, and what waits for them.
pub(super) struct Schedule<T> {
    places: Vec<ProcessPlace>,
    fresh: VecDeque<Waiting<T>>,
    suspects: VecDeque<Waiting<T>>,
}

impl<T> Schedule<T> {
    pub(super) fn new(places: usize) -> Self {
        Schedule {
            places: (0..places).map(|_| ProcessPlace::default()).collect(),
            fresh: VecDeque::new(),
            suspects: VecDeque::new(),
        }
    }

    /// A process is ready and runs so many turns at once.
    pub(super) fn ready(&mut self, place: usize, capacity: usize) {
        self.places[place] = ProcessPlace {
            capacity,
            ..ProcessPlace::default()
        };
    }

    /// It is gone, and with it all that it had in hand.
    pub(super) fn gone(&mut self, place: usize) {
        self.places[place] = ProcessPlace::default();
    }

    /// A turn waits for its process.
    pub(super) fn wait(&mut self, ticket: T, bytes: usize, suspicion: Suspicion) {
        let waiting = Waiting { ticket, bytes };
        match suspicion {
            Suspicion::None => self.fresh.push_back(waiting),
            Suspicion::Suspect => self.suspects.push_back(waiting),
        }
    }

    /// A turn has been answered.
    pub(super) fn answered(&mut self, place: usize, bytes: usize) {
        let place = &mut self.places[place];
        debug_assert!(place.in_hand > 0, "an answer to no turn");
        place.in_hand = place.in_hand.saturating_sub(1);
        place.bytes = place.bytes.saturating_sub(bytes);
        if let Some(quarantine) = &mut place.quarantine {
            quarantine.well += 1;
            if quarantine.well >= quarantine.width {
                quarantine.width = quarantine.width.saturating_mul(2);
                quarantine.well = 0;
            }
        }
    }

    /// A place at once, for a turn that is no suspect, if nobody waits.
    pub(super) fn at_once(&mut self, bytes: usize) -> Option<usize> {
        if !self.fresh.is_empty() || !self.suspects.is_empty() {
            return None;
        }
        let place = self.with_room(bytes)?;
        self.take(place, bytes);
        Some(place)
    }

    /// The next turn that may go; to be called until there is none.
    pub(super) fn next(&mut self) -> Option<Go<T>> {
        self.next_suspect().or_else(|| self.next_fresh())
    }

    fn next_suspect(&mut self) -> Option<Go<T>> {
        if self.suspects.is_empty() {
            for place in &mut self.places {
                if place.in_hand == 0 {
                    place.quarantine = None;
                }
            }
            return None;
        }
        let kept = self.places.iter().position(|p| p.quarantine.is_some());
        // The one that is idle soonest.
        let chosen = kept.or_else(|| self.least_loaded(|place| place.capacity > 0))?;
        let place = &mut self.places[chosen];
        let is_idle = place.in_hand == 0;
        let quarantine = match &mut place.quarantine {
            Some(quarantine) => quarantine,
            // What it has in hand ends first.
            None if !is_idle => {
                place.quarantine = Some(Quarantine { width: 0, well: 0 });
                return None;
            }
            none => none.insert(Quarantine { width: 0, well: 0 }),
        };
        if quarantine.width == 0 {
            if !is_idle {
                return None;
            }
            *quarantine = Quarantine { width: 1, well: 0 };
        }
        let most = quarantine.width.min(place.capacity);
        let has_room = place.in_hand < most && place.has_room_for(self.suspects.front()?.bytes);
        let waiting = has_room.then(|| self.suspects.pop_front())??;
        Some(self.send(chosen, waiting))
    }

    fn next_fresh(&mut self) -> Option<Go<T>> {
        let bytes = self.fresh.front()?.bytes;
        let chosen = self.with_room(bytes)?;
        let waiting = self.fresh.pop_front()?;
        Some(self.send(chosen, waiting))
    }

    fn with_room(&self, bytes: usize) -> Option<usize> {
        self.least_loaded(|place| {
            place.quarantine.is_none()
                && place.in_hand < place.capacity
                && place.has_room_for(bytes)
        })
    }

    fn least_loaded(&self, is_fit: impl Fn(&ProcessPlace) -> bool) -> Option<usize> {
        let fit = self
            .places
            .iter()
            .enumerate()
            .filter(|(_, place)| is_fit(place));
        fit.min_by_key(|(_, place)| place.in_hand).map(|(at, _)| at)
    }

    fn send(&mut self, place: usize, waiting: Waiting<T>) -> Go<T> {
        let Waiting { ticket, bytes } = waiting;
        self.take(place, bytes);
        Go {
            ticket,
            place,
            bytes,
        }
    }

    fn take(&mut self, place: usize, bytes: usize) {
        let place = &mut self.places[place];
        place.in_hand += 1;
        place.bytes += bytes;
        debug_assert!(
            place.in_hand <= place.capacity,
            "more turns than it can run"
        );
    }
}

impl ProcessPlace {
    fn has_room_for(&self, bytes: usize) -> bool {
        self.in_hand == 0 || self.bytes + bytes <= MOST_BYTES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drain(schedule: &mut Schedule<u32>) -> Vec<(usize, u32)> {
        let go = |go: Go<u32>| (go.place, go.ticket);
        std::iter::from_fn(|| schedule.next()).map(go).collect()
    }

    fn waiting(places: usize, turns: std::ops::Range<u32>) -> Schedule<u32> {
        let mut schedule = Schedule::new(places);
        turns.for_each(|turn| schedule.wait(turn, 1, Suspicion::None));
        schedule
    }

    #[test]
    fn a_process_gets_what_it_can_run() {
        let mut schedule = waiting(2, 0..5);
        assert_eq!(drain(&mut schedule), []);
        schedule.ready(1, 2);
        assert_eq!(drain(&mut schedule), [(1, 0), (1, 1)]);
        schedule.ready(0, 1);
        assert_eq!(drain(&mut schedule), [(0, 2)]);
        schedule.answered(1, 1);
        assert_eq!(drain(&mut schedule), [(1, 3)]);
    }

    #[test]
    fn suspects_run_alone_at_first() {
        let mut schedule = waiting(1, 0..2);
        schedule.ready(0, 10);
        assert_eq!(drain(&mut schedule).len(), 2);
        schedule.gone(0);
        (10..20).for_each(|turn| schedule.wait(turn, 1, Suspicion::Suspect));
        schedule.wait(30, 1, Suspicion::None);
        schedule.ready(0, 10);
        let mut sizes = Vec::new();
        let mut order = Vec::new();
        loop {
            let sent = drain(&mut schedule);
            if sent.is_empty() {
                break;
            }
            sizes.push(sent.len());
            order.extend(sent.iter().map(|(_, turn)| *turn));
            sent.iter().for_each(|_| schedule.answered(0, 1));
        }
        assert_eq!(sizes, [1, 2, 4, 3, 1]);
        assert_eq!(order, [10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 30]);
    }

    #[test]
    fn another_process_serves_the_rest_meanwhile() {
        let mut schedule = waiting(2, 0..2);
        (0..2).for_each(|place| schedule.ready(place, 10));
        assert_eq!(drain(&mut schedule), [(0, 0), (1, 1)]);
        schedule.gone(0);
        schedule.wait(0, 1, Suspicion::Suspect);
        schedule.wait(2, 1, Suspicion::None);
        schedule.ready(0, 10);
        assert_eq!(drain(&mut schedule), [(0, 0), (1, 2)]);
        schedule.wait(3, 1, Suspicion::None);
        assert_eq!(drain(&mut schedule), [(1, 3)]);
        schedule.answered(0, 1);
        schedule.wait(4, 1, Suspicion::None);
        assert_eq!(drain(&mut schedule), [(0, 4)]);
    }

    #[test]
    fn what_runs_ends_before_a_suspect_begins() {
        let mut schedule = waiting(1, 0..1);
        schedule.ready(0, 10);
        assert_eq!(drain(&mut schedule), [(0, 0)]);
        schedule.wait(1, 1, Suspicion::Suspect);
        schedule.wait(2, 1, Suspicion::None);
        assert_eq!(drain(&mut schedule), []);
        schedule.answered(0, 1);
        assert_eq!(drain(&mut schedule), [(0, 1)]);
        schedule.answered(0, 1);
        assert_eq!(drain(&mut schedule), [(0, 2)]);
    }

    #[test]
    fn bytes_in_hand_are_bounded() {
        let mut schedule = Schedule::new(1);
        schedule.ready(0, 10);
        schedule.wait(0, 2 * MOST_BYTES, Suspicion::None);
        schedule.wait(1, 1, Suspicion::None);
        assert_eq!(drain(&mut schedule), [(0, 0)]);
        schedule.answered(0, 2 * MOST_BYTES);
        assert_eq!(drain(&mut schedule), [(0, 1)]);
    }
}
