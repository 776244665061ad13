//! Tools with which authors test their bots and locks.
//!
//! The program itself does not use this. [`say`] and [`Conversation`] run a handler without a
//! process. [`Program`] starts a bot's real program and talks to it, over HTTP or through a
//! [`Telegram`] of the test's own. [`check_user_lock`] tests a [`UserLock`] in all cases that
//! the program relies on. The guide leads from one to the other:
//! [`guide::testing`](crate::guide::testing). Bound: ten seconds for each wait.

mod conversation;
mod launch;
mod platform;
mod program;
mod request;
mod said;
mod storage;
mod telegram;
mod telegram_api;

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::rc::Rc;
use std::time::Duration;

use tokio::task::{LocalSet, spawn_local, yield_now};

use crate::author::error::{Error, Result};
use crate::author::message::DialogKey;
use crate::author::user_lock::{Held, UserLock};

pub use self::conversation::{Conversation, say};
pub use self::launch::Launch;
pub use self::program::Program;
pub use self::request::Answer;
pub use self::said::Said;
pub use self::telegram::Telegram;
pub use self::telegram_api::TelegramCall;

/// For what must happen: a lock may look again only now and then.
const PATIENCE: Duration = Duration::from_secs(10);

/// Between two looks at something that takes milliseconds.
const PAUSE: Duration = Duration::from_millis(5);

/// For what must not happen.
const A_WHILE: Duration = Duration::from_millis(200);

/// Turns of a case with many.
const MANY: usize = 40;

/// Tries out a user lock. `make` is called twice, as two workers would: what one holds,
/// the other must wait for. Call it in a test of yours; it takes about a second.
///
/// ```
/// # use std::rc::Rc;
/// # use turnkey::{DialogKey, Held, LockFuture, UserLock};
/// /// Not a lock: everybody gets it.
/// struct Open;
///
/// impl UserLock for Open {
///     fn acquire<'a>(&'a self, _: &'a DialogKey) -> LockFuture<'a> {
///         Box::pin(async { Ok(Box::new(()) as Box<dyn Held>) })
///     }
/// }
///
/// assert!(turnkey::testing::check_user_lock(|| Ok(Open)).is_err());
/// ```
///
/// # Errors
/// Which of the promises it does not keep.
pub fn check_user_lock<L: UserLock + 'static>(make: impl Fn() -> Result<L>) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let lock: Rc<dyn UserLock> = Rc::new(make()?);
    let other: Rc<dyn UserLock> = Rc::new(make()?);
    let cases = async {
        one_holder(&lock, &lock, "in one worker").await?;
        one_holder(&lock, &other, "in two workers").await?;
        nobody_else_waits(&lock, &other).await?;
        first_come_first_served(&lock).await?;
        waiting_is_given_up(&lock, &other).await?;
        a_panic_gives_it_back(&lock, &other).await?;
        many(&lock, &other).await
    };
    LocalSet::new().block_on(&runtime, cases)
}

fn user(name: &str) -> DialogKey {
    DialogKey::new("testing", name)
}

/// What must happen.
async fn soon<T>(promise: &str, what: impl Future<Output = T>) -> Result<T> {
    tokio::time::timeout(PATIENCE, what)
        .await
        .map_err(|_| Error::msg(format!("{promise}: it did not happen within {PATIENCE:?}")))
}

async fn take(lock: &Rc<dyn UserLock>, name: &str, promise: &str) -> Result<Box<dyn Held>> {
    soon(promise, lock.acquire(&user(name))).await?
}

/// Somebody who holds the lock must keep others away for a while.
async fn is_kept_away(lock: &Rc<dyn UserLock>, name: &str) -> bool {
    let name = user(name);
    let acquired = tokio::time::timeout(A_WHILE, lock.acquire(&name)).await;
    acquired.is_err()
}

async fn one_holder(lock: &Rc<dyn UserLock>, other: &Rc<dyn UserLock>, where_: &str) -> Result<()> {
    let promise = format!("one holder, {where_}");
    let held = take(lock, "ann", &promise).await?;
    if !is_kept_away(other, "ann").await {
        return Err(Error::msg(format!("{promise}: a second one got it")));
    }
    drop(held);
    drop(take(other, "ann", &format!("{promise}: given back")).await?);
    Ok(())
}

async fn nobody_else_waits(lock: &Rc<dyn UserLock>, other: &Rc<dyn UserLock>) -> Result<()> {
    let promise = "nobody else waits";
    let held = take(lock, "ann", promise).await?;
    for lock in [lock, other] {
        for n in 0..MANY {
            drop(take(lock, &format!("bob {n}"), promise).await?);
        }
        // The same name on another channel is another user.
        let ann = DialogKey::new("testing2", "ann");
        drop(soon(promise, lock.acquire(&ann)).await??);
    }
    drop(held);
    Ok(())
}

async fn first_come_first_served(lock: &Rc<dyn UserLock>) -> Result<()> {
    let promise = "first come, first served";
    let held = take(lock, "ann", promise).await?;
    let served = Rc::new(RefCell::new(Vec::new()));
    let mut turns = Vec::new();
    for n in 0..MANY {
        let (lock, served) = (lock.clone(), served.clone());
        turns.push(spawn_local(async move {
            let held = lock.acquire(&user("ann")).await;
            served.borrow_mut().push(n);
            yield_now().await;
            held.map(drop)
        }));
        // It is in line before the next one comes.
        yield_now().await;
    }
    drop(held);
    for turn in turns {
        soon(promise, turn).await?.map_err(Error::from)??;
    }
    match served.borrow().is_sorted() {
        true => Ok(()),
        false => Err(Error::msg(format!(
            "{promise}: it was {:?}",
            served.borrow()
        ))),
    }
}

async fn waiting_is_given_up(lock: &Rc<dyn UserLock>, other: &Rc<dyn UserLock>) -> Result<()> {
    let promise = "waiting can be given up";
    let held = take(lock, "ann", promise).await?;
    for waiting in [lock, other, lock, other] {
        if !is_kept_away(waiting, "ann").await {
            return Err(Error::msg(format!("{promise}: a second one got it")));
        }
    }
    drop(held);
    for lock in [lock, other] {
        drop(take(lock, "ann", &format!("{promise}: the next gets it")).await?);
    }
    Ok(())
}

async fn a_panic_gives_it_back(lock: &Rc<dyn UserLock>, other: &Rc<dyn UserLock>) -> Result<()> {
    let promise = "a turn that is cut off gives it back";
    let holder = {
        let lock = lock.clone();
        spawn_local(async move {
            let held = lock.acquire(&user("ann")).await;
            std::future::pending::<()>().await;
            drop(held);
        })
    };
    // Until it holds it.
    yield_now().await;
    tokio::time::sleep(A_WHILE).await;
    holder.abort();
    drop(holder.await);
    drop(take(other, "ann", promise).await?);
    Ok(())
}

/// Turns of both workers read, wait, and write.
async fn many(lock: &Rc<dyn UserLock>, other: &Rc<dyn UserLock>) -> Result<()> {
    let promise = "one holder, among many turns";
    let count = Rc::new(Cell::new(0));
    let mut turns = Vec::new();
    for n in 0..MANY {
        let lock = if n % 2 == 0 { lock } else { other }.clone();
        let count = count.clone();
        turns.push(spawn_local(async move {
            let held = lock.acquire(&user("ann")).await?;
            let before = count.get();
            for _ in 0..n % 5 {
                yield_now().await;
            }
            count.set(before + 1);
            drop(held);
            Ok::<_, Error>(())
        }));
    }
    for turn in turns {
        soon(promise, turn).await?.map_err(Error::from)??;
    }
    match count.get() {
        MANY => Ok(()),
        counted => Err(Error::msg(format!(
            "{promise}: {MANY} counted to {counted}"
        ))),
    }
}
