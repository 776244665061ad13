//! A user lock of one's own: a file for each user, locked with `flock`. Another program
//! of the same machine that locks the same file keeps the bot away from that user.
//!
//! In one worker there is a queue for each user, first come, first served; whoever is
//! first in it then tries for the file, now and then while another process has it. The
//! kernel frees the file when its holder dies. The files are empty and stay.
//!
//! Run it: `LOCKS=/tmp/locks cargo run --example custom_lock -- run --workers 2`

use std::cell::RefCell;
use std::collections::HashMap;
use std::fs::{File, TryLockError};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::PathBuf;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::{Mutex, OwnedMutexGuard};
use turnkey::{DialogKey, Held, LockFuture, Turn, UserLock};

/// Between two looks at a file that another process has locked.
const LOOK: Duration = Duration::from_millis(5);

/// The queues of users with a turn under way; each is gone with its last turn.
type Queues = RefCell<HashMap<DialogKey, std::sync::Weak<Mutex<()>>>>;

pub(crate) struct FileLock {
    directory: PathBuf,
    queues: Rc<Queues>,
}

/// What a turn holds. Dropped from top to bottom: the file is free before the next one
/// in the queue is woken.
struct Locked {
    _file: File,
    _first: First,
}

/// A place in a user's queue.
struct First {
    user: DialogKey,
    queues: Weak<Queues>,
    guard: Option<OwnedMutexGuard<()>>,
}

impl FileLock {
    pub(crate) fn new(directory: impl Into<PathBuf>) -> turnkey::Result<Self> {
        let directory = directory.into();
        std::fs::create_dir_all(&directory)?;
        Ok(FileLock {
            directory,
            queues: Rc::default(),
        })
    }

    async fn first(&self, user: &DialogKey) -> First {
        let queue = {
            let mut queues = self.queues.borrow_mut();
            let queue = queues.get(user).and_then(std::sync::Weak::upgrade);
            queue.unwrap_or_else(|| {
                let queue = Arc::new(Mutex::new(()));
                queues.insert(user.clone(), Arc::downgrade(&queue));
                queue
            })
        };
        // A place in the queue, left should this wait be given up.
        let mut first = First {
            user: user.clone(),
            queues: Rc::downgrade(&self.queues),
            guard: None,
        };
        first.guard = Some(queue.lock_owned().await);
        first
    }

    async fn lock(&self, user: &DialogKey) -> turnkey::Result<Locked> {
        let first = self.first(user).await;
        let mut hasher = DefaultHasher::new();
        user.hash(&mut hasher);
        let name = format!("{}-{:016x}", user.channel, hasher.finish());
        let file = File::options()
            .write(true)
            .create(true)
            .truncate(false)
            .open(self.directory.join(name))?;
        loop {
            match file.try_lock() {
                Ok(()) => {
                    return Ok(Locked {
                        _file: file,
                        _first: first,
                    });
                }
                Err(TryLockError::WouldBlock) => tokio::time::sleep(LOOK).await,
                Err(TryLockError::Error(error)) => return Err(error.into()),
            }
        }
    }
}

impl Drop for First {
    fn drop(&mut self) {
        drop(self.guard.take());
        if let Some(queues) = self.queues.upgrade() {
            let mut queues = queues.borrow_mut();
            if queues
                .get(&self.user)
                .is_some_and(|q| q.strong_count() == 0)
            {
                queues.remove(&self.user);
            }
        }
    }
}

impl UserLock for FileLock {
    fn acquire<'a>(&'a self, user: &'a DialogKey) -> LockFuture<'a> {
        Box::pin(async move { Ok(Box::new(self.lock(user).await?) as Box<dyn Held>) })
    }
}

#[derive(Default, Serialize, Deserialize)]
struct Counter {
    count: u64,
}

async fn count(turn: &mut Turn<Counter>) -> turnkey::Result<()> {
    turn.state.count += 1;
    let n = turn.state.count;
    turn.reply(format!("{n}: {}", turn.text()));
    Ok(())
}

fn main() -> std::process::ExitCode {
    let directory = std::env::var("LOCKS").unwrap_or_else(|_| "locks".to_owned());
    turnkey::App::new(count)
        .user_lock(move || FileLock::new(&directory))
        .run()
}
