//! The lock table: who holds which dialog, who waits, in which order.
//!
//! Plain data without input or output. The writer (`writer/`) owns one
//! and saves its holders as rows of `turnkey_lock`, inside the transaction of
//! each batch. `tests/model.rs` checks it against a simple model.
//!
//! Invariants: a dialog has at most one holder; waiters are served in the order
//! in which their updates arrived; fences only rise; a dialog with waiters has a
//! holder. Bounds: [`MAX_WAITERS`] for each dialog.

use std::collections::VecDeque;
use std::rc::Rc;

use foldhash::HashMap;

use crate::{DialogKey, FORGOTTEN, Fence, Owner};

/// Waiters of one dialog; one more is refused. A person does not send a thousand
/// messages while one is handled: whoever does is flooding.
pub const MAX_WAITERS: usize = 1000;

/// What became of a request for a lock.
#[derive(Debug, PartialEq, Eq)]
pub enum Requested {
    /// The lock is the caller's.
    Granted(Fence),
    /// Somebody holds it; [`LockTable::release`] will name the waiter.
    Queued,
    /// [`MAX_WAITERS`] wait already.
    Refused,
}

/// A waiter that became the holder.
#[derive(Debug, PartialEq, Eq)]
pub struct Granted<W> {
    /// Whose lock it is now.
    pub dialog: Rc<DialogKey>,
    /// The number of the grant.
    pub fence: Fence,
    /// What [`LockTable::request`] was given.
    pub waiter: W,
}

/// The holder of a dialog.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Which worker's life.
    pub owner: Owner,
    /// The number of the grant.
    pub fence: Fence,
    /// Milliseconds since 1970.
    pub since: i64,
    /// The dialog's row, where the writer knows it. It saves a search.
    pub(crate) row: Option<i64>,
}

/// A row of `turnkey_lock` that the file lacks or has too much.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum RowChange {
    Insert(Rc<DialogKey>, Holder),
    Delete(Rc<DialogKey>),
}

#[derive(Debug)]
struct Waiter<W> {
    owner: Owner,
    arrived: u64,
    waiter: W,
}

#[derive(Debug)]
struct Lock<W> {
    holder: Option<Holder>,
    waiters: VecDeque<Waiter<W>>,
    /// The fence of the row in the file, if there is one.
    saved: Option<Fence>,
    /// The batch in which the dialog was last committed to.
    committed_in: u64,
    /// The dialog stands in `changed`.
    dirty: bool,
}

impl<W> Default for Lock<W> {
    fn default() -> Self {
        Lock {
            holder: None,
            waiters: VecDeque::new(),
            saved: None,
            committed_in: 0,
            dirty: false,
        }
    }
}

/// See the module's page. `W` is what a waiter is remembered by.
#[derive(Debug)]
pub struct LockTable<W> {
    locks: HashMap<Rc<DialogKey>, Lock<W>>,
    changed: Vec<Rc<DialogKey>>,
    last_fence: u64,
    waiting: usize,
}

impl<W> LockTable<W> {
    /// An empty table whose first grant has the number after `last_fence`.
    pub fn new(last_fence: Fence) -> Self {
        LockTable {
            locks: HashMap::default(),
            changed: Vec::new(),
            last_fence: last_fence.0,
            waiting: 0,
        }
    }

    /// Takes the lock for `owner`, or a place in the queue. `arrived` orders the
    /// queue: an update that came earlier is served earlier, also when its
    /// request took longer to get here.
    pub fn request(
        &mut self,
        dialog: &DialogKey,
        owner: Owner,
        arrived: u64,
        waiter: W,
    ) -> Requested {
        let (key, lock) = Self::entry(&mut self.locks, dialog);
        if lock.holder.is_some() {
            if lock.waiters.len() >= MAX_WAITERS {
                return Requested::Refused;
            }
            self.waiting += 1;
            let place = lock.waiters.partition_point(|w| w.arrived <= arrived);
            lock.waiters.insert(
                place,
                Waiter {
                    owner,
                    arrived,
                    waiter,
                },
            );
            return Requested::Queued;
        }
        let fence = Self::next_fence(&mut self.last_fence);
        lock.debug_check(fence);
        lock.hold(owner, fence);
        Self::touch(&mut self.changed, key, lock);
        Requested::Granted(fence)
    }

    /// The dialog's holder.
    pub fn holder(&self, dialog: &DialogKey) -> Option<&Holder> {
        self.locks.get(dialog)?.holder.as_ref()
    }

    /// Notes in which batch the dialog was committed to.
    pub(crate) fn note_commit(&mut self, dialog: &DialogKey, batch: u64) {
        if let Some(lock) = self.locks.get_mut(dialog) {
            lock.committed_in = batch;
        }
    }

    /// Whether the dialog was committed to in this batch.
    pub(crate) fn committed_in(&self, dialog: &DialogKey, batch: u64) -> bool {
        self.locks
            .get(dialog)
            .is_some_and(|lock| lock.committed_in == batch)
    }

    pub(crate) fn holder_mut(&mut self, dialog: &DialogKey) -> Option<&mut Holder> {
        self.locks.get_mut(dialog)?.holder.as_mut()
    }

    /// Gives the lock back and grants it to the first in the queue. Nothing
    /// happens when the grant with this fence does not hold it (any more).
    pub fn release(&mut self, dialog: &DialogKey, fence: Fence) -> Option<Granted<W>> {
        let key = self.locks.get_key_value(dialog)?.0.clone();
        let lock = self.locks.get_mut(dialog)?;
        if lock.holder.as_ref()?.fence != fence {
            return None;
        }
        lock.holder = None;
        Self::touch(&mut self.changed, key.clone(), lock);
        let next = lock.waiters.pop_front()?;
        self.waiting -= 1;
        let fence = Self::next_fence(&mut self.last_fence);
        lock.debug_check(fence);
        lock.hold(next.owner, fence);
        Some(Granted {
            dialog: key,
            fence,
            waiter: next.waiter,
        })
    }

    /// Takes a waiter out of the queue.
    pub fn cancel(&mut self, dialog: &DialogKey, is: impl Fn(&W) -> bool) -> Option<W> {
        let waiters = &mut self.locks.get_mut(dialog)?.waiters;
        let place = waiters.iter().position(|w| is(&w.waiter))?;
        self.waiting -= 1;
        waiters.remove(place).map(|w| w.waiter)
    }

    /// A worker's life ended: its places in queues are dropped, its locks go to
    /// the next in line.
    pub fn owner_gone(&mut self, owner: Owner) -> Vec<Granted<W>> {
        let mut freed = Vec::new();
        for (key, lock) in &mut self.locks {
            let before = lock.waiters.len();
            lock.waiters.retain(|w| w.owner != owner);
            self.waiting -= before - lock.waiters.len();
            if let Some(holder) = lock.holder.filter(|h| h.owner == owner) {
                freed.push((key.clone(), holder.fence));
            }
        }
        debug_assert_eq!(
            self.waiting,
            self.locks
                .values()
                .map(|lock| lock.waiters.len())
                .sum::<usize>(),
            "waiters are counted"
        );
        freed
            .into_iter()
            .filter_map(|(key, fence)| self.release(&key, fence))
            .collect()
    }

    /// Restores a grant that a writer before this one gave. Of two grants of a
    /// dialog the later one stands.
    pub fn restore(&mut self, dialog: &DialogKey, owner: Owner, fence: Fence) {
        let (key, lock) = Self::entry(&mut self.locks, dialog);
        if lock.holder.is_none_or(|h| h.fence < fence) {
            lock.hold(owner, fence);
            Self::touch(&mut self.changed, key, lock);
        }
    }

    /// Waiters of all dialogs.
    pub fn waiting(&self) -> usize {
        self.waiting
    }

    /// Every holder.
    pub fn holders(&self) -> impl Iterator<Item = (&DialogKey, &Holder)> {
        self.locks
            .iter()
            .filter_map(|(key, lock)| Some((&**key, lock.holder.as_ref()?)))
    }

    /// Notes that the file has a row for this dialog (when it is opened).
    pub(crate) fn note_saved(&mut self, dialog: &DialogKey, fence: Fence) {
        let (key, lock) = Self::entry(&mut self.locks, dialog);
        lock.saved = Some(fence);
        Self::touch(&mut self.changed, key, lock);
    }

    /// Whether the file may differ from the holders of this moment.
    pub(crate) fn has_changes(&self) -> bool {
        !self.changed.is_empty()
    }

    /// The rows to write so that the file shows the holders of this moment.
    pub(crate) fn row_changes(&self, changes: &mut Vec<RowChange>) {
        for key in &self.changed {
            let Some(lock) = self.locks.get(key) else {
                continue;
            };
            match (&lock.holder, lock.saved) {
                (Some(holder), saved) if saved != Some(holder.fence) => {
                    changes.push(RowChange::Insert(key.clone(), *holder));
                }
                (None, Some(_)) => changes.push(RowChange::Delete(key.clone())),
                _ => {}
            }
        }
    }

    /// The rows of the last [`row_changes`](Self::row_changes) are in the file.
    pub(crate) fn rows_saved(&mut self) {
        for key in self.changed.drain(..) {
            let Some(lock) = self.locks.get_mut(&key) else {
                continue;
            };
            lock.dirty = false;
            lock.saved = lock.holder.as_ref().map(|h| h.fence);
            if lock.saved.is_none() {
                debug_assert!(lock.waiters.is_empty(), "they wait for nobody");
                self.locks.remove(&key);
            }
        }
    }

    /// Forgets the rows of dialogs: the transaction that made them is undone.
    pub(crate) fn forget_rows(&mut self) {
        for lock in self.locks.values_mut() {
            if let Some(holder) = &mut lock.holder {
                holder.row = None;
            }
        }
    }

    fn entry<'a>(
        locks: &'a mut HashMap<Rc<DialogKey>, Lock<W>>,
        dialog: &DialogKey,
    ) -> (Rc<DialogKey>, &'a mut Lock<W>) {
        let key = match locks.get_key_value(dialog) {
            Some((key, _)) => key.clone(),
            None => Rc::new(dialog.clone()),
        };
        let lock = locks.entry(key.clone()).or_default();
        (key, lock)
    }

    fn next_fence(last: &mut u64) -> Fence {
        *last += 1;
        debug_assert!(*last & FORGOTTEN == 0, "fences have run out");
        Fence(*last)
    }

    fn touch(changed: &mut Vec<Rc<DialogKey>>, key: Rc<DialogKey>, lock: &mut Lock<W>) {
        if !lock.dirty {
            lock.dirty = true;
            changed.push(key);
        }
    }
}

impl<W> Lock<W> {
    /// A new grant: fences rise, and nobody holds it.
    fn debug_check(&self, fence: Fence) {
        debug_assert!(self.holder.is_none(), "one holder at a time");
        debug_assert!(self.saved.is_none_or(|saved| saved < fence), "fences rise");
    }

    fn hold(&mut self, owner: Owner, fence: Fence) {
        self.holder = Some(Holder {
            owner,
            fence,
            since: crate::unix_ms(),
            row: None,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(user: u64) -> DialogKey {
        DialogKey::new("http", user.to_string())
    }

    fn save(table: &mut LockTable<u64>) -> Vec<RowChange> {
        let mut changes = Vec::new();
        table.row_changes(&mut changes);
        table.rows_saved();
        changes
    }

    /// A bot has far more users than turns under way: the table must forget them.
    #[test]
    fn a_dialog_without_holder_is_forgotten_once_its_row_is_gone() {
        let mut table: LockTable<u64> = LockTable::new(Fence(0));
        table.note_saved(&key(999), Fence(0)); // Left by an earlier writer.
        for user in 0..100 {
            table.request(&key(user), Owner(1), user, user);
            if user % 3 == 0 {
                save(&mut table);
            }
            if user % 2 == 0 {
                table.request(&key(user), Owner(2), user, user);
                assert_eq!(table.cancel(&key(user), |w| *w == user), Some(user));
            }
            if user % 4 < 2 {
                table.release(&key(user), Fence(user + 1));
            }
        }
        assert_eq!(table.owner_gone(Owner(1)), []);
        assert!(table.has_changes());
        assert!(!save(&mut table).is_empty());
        assert!(table.locks.is_empty() && !table.has_changes());
        assert_eq!(table.waiting(), 0);
    }

    #[test]
    fn the_rows_follow_the_holders() {
        let mut table: LockTable<u64> = LockTable::new(Fence(0));
        table.request(&key(1), Owner(1), 1, 1);
        table.request(&key(1), Owner(2), 2, 2);
        let first = table
            .release(&key(1), Fence(1))
            .map(|granted| granted.fence);
        assert_eq!(first, Some(Fence(2)));
        // Two holders within a batch: one row, the second's.
        let changes = save(&mut table);
        assert!(matches!(&changes[..], [RowChange::Insert(_, h)] if h.fence == Fence(2)));
        assert_eq!(save(&mut table), []);
        // Not saved: the same change is asked for again.
        table.release(&key(1), Fence(2));
        table.row_changes(&mut Vec::new());
        assert!(matches!(&save(&mut table)[..], [RowChange::Delete(_)]));
        // A grant that came and went within a batch leaves no trace.
        table.request(&key(1), Owner(1), 3, 3);
        table.release(&key(1), Fence(3));
        assert_eq!(save(&mut table), []);
        // A holder that is told of again by its worker needs no new row.
        table.note_saved(&key(5), Fence(3));
        table.restore(&key(5), Owner(1), Fence(3));
        assert_eq!(save(&mut table), []);
        assert_eq!(table.locks.len(), 1);
    }
}
