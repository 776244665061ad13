//! What a turn hears of the process that runs it.
//!
//! The process (`process/turns.rs`) has one end, the turn's task the other; both are in the worker's
//! one thread. Bound: whoever puts something in looks at [`Mailbox::waiting`] before; of what is
//! put with [`Mailbox::put_newest`] there is one.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::task::{Poll, Waker};

/// One turn's; dropping nothing closes it, [`Mailbox::close`] does.
pub(super) struct Mailbox<T> {
    events: RefCell<VecDeque<T>>,
    newest: Cell<Option<T>>,
    closed: Cell<bool>,
    waker: Cell<Option<Waker>>,
}

impl<T> Mailbox<T> {
    pub(super) fn new() -> Self {
        Mailbox {
            events: RefCell::new(VecDeque::new()),
            newest: Cell::new(None),
            closed: Cell::new(false),
            waker: Cell::new(None),
        }
    }

    /// Events that nobody has taken yet, without the newest of those of which only that counts.
    pub(super) fn waiting(&self) -> usize {
        self.events.borrow().len()
    }

    pub(super) fn put(&self, event: T) {
        self.events.borrow_mut().push_back(event);
        self.wake();
    }

    /// Puts in one of which only the newest counts. All others are taken before it.
    pub(super) fn put_newest(&self, event: T) {
        self.newest.set(Some(event));
        self.wake();
    }

    /// Nothing will come any more.
    pub(super) fn close(&self) {
        self.closed.set(true);
        self.wake();
    }

    fn wake(&self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    /// The next event; none when it is closed and all are taken.
    pub(super) async fn next(&self) -> Option<T> {
        poll_fn(|context| {
            if let Some(event) = self.events.borrow_mut().pop_front() {
                return Poll::Ready(Some(event));
            }
            if let Some(event) = self.newest.take() {
                return Poll::Ready(Some(event));
            }
            if self.closed.get() {
                return Poll::Ready(None);
            }
            self.waker.set(Some(context.waker().clone()));
            Poll::Pending
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn of_those_put_newest_the_last_is_taken_after_all_others() {
        let mailbox = Mailbox::new();
        mailbox.put_newest("draft 1");
        mailbox.put("question 1");
        mailbox.put_newest("draft 2");
        mailbox.put("question 2");
        assert_eq!(mailbox.waiting(), 2);
        mailbox.close();
        for event in ["question 1", "question 2", "draft 2"] {
            assert_eq!(mailbox.next().await, Some(event));
        }
        assert_eq!(mailbox.next().await, None);
    }
}
