//! The lock table against a model so simple that it is plainly right.
//!
//! Drives [`LockTable`] with long random sequences of operations and compares
//! every answer, every holder and the number of waiters with the model's.

#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use turnkey_storage::sqlite::locks::{Granted, LockTable, MAX_WAITERS, Requested};
use turnkey_storage::{DialogKey, Fence, Owner};

/// The table starts here; restored grants come from before.
const BASE: u64 = 1 << 40;

#[derive(Clone, Debug)]
enum Step {
    Request {
        dialog: u8,
        owner: u64,
        arrived: u64,
    },
    /// By the holder, with the fence it was given.
    Release {
        dialog: u8,
    },
    /// With a fence that is `off` by that much.
    WrongRelease {
        dialog: u8,
        off: i64,
    },
    /// The waiter at this place of the queue, if there is one.
    Cancel {
        dialog: u8,
        place: usize,
    },
    OwnerGone {
        owner: u64,
    },
    Restore {
        dialog: u8,
        owner: u64,
        fence: u64,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let dialog = 0..6_u8;
    let owner = 1..5_u64;
    prop_oneof![
        8 => (dialog.clone(), owner.clone(), 0..50_u64)
            .prop_map(|(dialog, owner, arrived)| Step::Request { dialog, owner, arrived }),
        6 => dialog.clone().prop_map(|dialog| Step::Release { dialog }),
        1 => (dialog.clone(), prop_oneof![-3..0_i64, 1..4_i64])
            .prop_map(|(dialog, off)| Step::WrongRelease { dialog, off }),
        2 => (dialog.clone(), 0..4_usize)
            .prop_map(|(dialog, place)| Step::Cancel { dialog, place }),
        1 => owner.clone().prop_map(|owner| Step::OwnerGone { owner }),
        1 => (dialog, owner, 1..1000_u64)
            .prop_map(|(dialog, owner, fence)| Step::Restore { dialog, owner, fence }),
    ]
}

#[derive(Default)]
struct Lock {
    holder: Option<(u64, u64)>,
    /// Owner, arrival, number.
    queue: Vec<(u64, u64, usize)>,
}

struct Model {
    locks: Vec<Lock>,
    last_fence: u64,
}

impl Model {
    fn grant_next(&mut self, dialog: usize) -> Option<(usize, u64)> {
        self.locks[dialog].holder = None;
        if self.locks[dialog].queue.is_empty() {
            return None;
        }
        let (owner, _, number) = self.locks[dialog].queue.remove(0);
        self.last_fence += 1;
        self.locks[dialog].holder = Some((owner, self.last_fence));
        Some((number, self.last_fence))
    }
}

fn key(dialog: usize) -> DialogKey {
    DialogKey::new("http", dialog.to_string())
}

fn plain(granted: Granted<usize>) -> (DialogKey, usize, u64) {
    ((*granted.dialog).clone(), granted.waiter, granted.fence.0)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_table_does_what_the_model_does(steps in proptest::collection::vec(step(), 1000..1500)) {
        let mut table: LockTable<usize> = LockTable::new(Fence(BASE));
        let mut model = Model {
            locks: (0..6).map(|_| Lock::default()).collect(),
            last_fence: BASE,
        };
        for (number, step) in steps.into_iter().enumerate() {
            match step {
                Step::Request { dialog, owner, arrived } => {
                    let d = usize::from(dialog);
                    let got = table.request(&key(d), Owner(owner), arrived, number);
                    let lock = &mut model.locks[d];
                    let expected = if lock.holder.is_none() {
                        model.last_fence += 1;
                        lock.holder = Some((owner, model.last_fence));
                        Requested::Granted(Fence(model.last_fence))
                    } else if lock.queue.len() == MAX_WAITERS {
                        Requested::Refused
                    } else {
                        lock.queue.push((owner, arrived, number));
                        lock.queue.sort_by_key(|(_, arrived, _)| *arrived); // Stable.
                        Requested::Queued
                    };
                    prop_assert_eq!(got, expected);
                }
                Step::Release { dialog } => {
                    let d = usize::from(dialog);
                    let fence = model.locks[d].holder.map_or(7, |(_, fence)| fence);
                    let got = table.release(&key(d), Fence(fence)).map(plain);
                    let expected = model.locks[d]
                        .holder
                        .and_then(|_| model.grant_next(d))
                        .map(|(waiter, fence)| (key(d), waiter, fence));
                    prop_assert_eq!(got, expected);
                }
                Step::WrongRelease { dialog, off } => {
                    let d = usize::from(dialog);
                    let right = model.locks[d].holder.map_or(BASE, |(_, fence)| fence);
                    let wrong = right.saturating_add_signed(off);
                    prop_assume!(wrong != right);
                    prop_assert_eq!(table.release(&key(d), Fence(wrong)), None);
                }
                Step::Cancel { dialog, place } => {
                    let d = usize::from(dialog);
                    let queue = &mut model.locks[d].queue;
                    let whom = queue.get(place).map_or(usize::MAX, |(_, _, number)| *number);
                    let got = table.cancel(&key(d), |waiter| *waiter == whom);
                    let expected = (place < queue.len()).then(|| queue.remove(place).2);
                    prop_assert_eq!(got, expected);
                }
                Step::OwnerGone { owner } => {
                    let mut got: Vec<_> = table.owner_gone(Owner(owner)).into_iter().map(plain).collect();
                    for lock in &mut model.locks {
                        lock.queue.retain(|(other, _, _)| *other != owner);
                    }
                    // The order among dialogs, and so their fences, is free: take
                    // the table's, and check that all else fits.
                    got.sort_by_key(|(_, _, fence)| *fence);
                    for (dialog, waiter, fence) in got {
                        let d: usize = dialog.user_id.parse().unwrap();
                        prop_assert_eq!(model.locks[d].holder.map(|(o, _)| o), Some(owner));
                        prop_assert_eq!(model.grant_next(d), Some((waiter, fence)));
                    }
                    for d in 0..model.locks.len() {
                        if model.locks[d].holder.is_some_and(|(o, _)| o == owner) {
                            // Not granted by the table: then nobody may wait.
                            prop_assert_eq!(model.grant_next(d), None);
                        }
                    }
                }
                Step::Restore { dialog, owner, fence } => {
                    let d = usize::from(dialog);
                    table.restore(&key(d), Owner(owner), Fence(fence));
                    if model.locks[d].holder.is_none_or(|(_, held)| held < fence) {
                        model.locks[d].holder = Some((owner, fence));
                    }
                }
            }
            let waiting: usize = model.locks.iter().map(|lock| lock.queue.len()).sum();
            prop_assert_eq!(table.waiting(), waiting);
            for (d, lock) in model.locks.iter().enumerate() {
                let holder = table.holder(&key(d)).map(|h| (h.owner.0, h.fence.0));
                prop_assert_eq!(holder, lock.holder);
                prop_assert!(lock.holder.is_some() || lock.queue.is_empty());
            }
            let held = model.locks.iter().filter(|lock| lock.holder.is_some()).count();
            prop_assert_eq!(table.holders().count(), held);
        }
    }
}
