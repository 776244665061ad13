//! Handles a database file that is taken away while it is open: removed, renamed, replaced.
//!
//! Part of the writer's loop. Once this is noticed nothing is acknowledged any more: a commit
//! would go to a file without a name, which is gone at the end. What was acknowledged before is
//! saved beside it ([`crate::sqlite::rescue`]). Every request is refused with the reason until
//! the bot is started again, or the files are back in their places: then a new writer starts
//! with them. Also here: the writer's socket, which is simply made again.
//!
//! Bounds: a look every [`LOOK`] and before each commit; a rescue that fails is tried
//! again after [`AGAIN`].

use std::fs;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::time::{Duration, Instant};

use super::turns::Attempt;
use super::{LISTENER, Running, SOCKET_AGAIN, poisoned};
use crate::sqlite::Files;
use crate::sqlite::files::{ShortPath, bind_private};
use crate::sqlite::presence::Missing;
use crate::sqlite::protocol::{Request, Response};
use crate::sqlite::rescue::{self, Rescued};
use crate::{Error, LockAfter, Result};

/// Between two looks while nothing is committed.
pub(super) const LOOK: Duration = Duration::from_millis(500);

/// After a rescue that failed, for lack of room say.
const AGAIN: Duration = Duration::from_secs(10);

/// The file was taken away: how far the rescue has got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// It is being written.
    Saving,
    /// It could not be written yet.
    NotKept,
    /// Only a name beside the database was missing: all is in the database.
    InPlace,
    /// All is in `bot.db-rescued-N`.
    Kept(u32),
}

/// While it is.
pub(super) struct Loss {
    /// What is missing, as a sentence for whoever asks.
    pub(super) reason: String,
    rescue: Option<Receiver<Result<Rescued>>>,
    /// When the last rescue failed.
    failed: Option<Instant>,
    /// It was tried again since the stop began.
    tried_at_stop: bool,
}

impl Running<'_> {
    /// Looks whether the file is still where it was; true when a commit may be made.
    pub(super) fn is_in_place(&mut self) -> Result<bool> {
        if self.loss.is_some() {
            return Ok(false);
        }
        match self.presence.missing() {
            None => Ok(true),
            Some(missing) => {
                self.lose(&missing)?;
                Ok(false)
            }
        }
    }

    /// What is to be done from time to time.
    pub(super) fn look_for_files(&mut self) -> Result<()> {
        if self.looked.elapsed() < LOOK {
            return Ok(());
        }
        self.looked = Instant::now();
        if self.is_in_place()? {
            self.keep_socket();
            return Ok(());
        }
        self.follow_rescue()
    }

    /// From here on nothing is acknowledged.
    fn lose(&mut self, missing: &Missing) -> Result<()> {
        // What is on its way to the disk was committed while the file was there.
        self.finish_sync()?;
        if self.batch.open.is_some() {
            self.statements.rollback().map_err(poisoned)?;
        }
        tracing::error!(
            "{missing}: turns are refused from now on; what the open file holds is being saved"
        );
        self.loss = Some(Loss {
            reason: missing.to_string(),
            rescue: None,
            failed: None,
            tried_at_stop: false,
        });
        self.undo_batch(&self.refusal())?;
        self.end_alone()?;
        self.begin_rescue()
    }

    fn begin_rescue(&mut self) -> Result<()> {
        let (to, outcome) = channel();
        let database = self.files.database.clone();
        let is_beside = self
            .presence
            .missing()
            .is_some_and(|missing| missing.beside);
        let in_place = is_beside && !self.presence.is_replaced();
        self.checkpointer.with_connection(move |conn| {
            let saved = match in_place {
                true => rescue::into_the_file(conn).or_else(|_| rescue::beside_it(conn, &database)),
                false => rescue::beside_it(conn, &database),
            };
            // Nobody waits for it any more at a forced end.
            drop(to.send(saved));
        })?;
        if let Some(loss) = &mut self.loss {
            loss.rescue = Some(outcome);
        }
        self.stats.taken = Some(Taken::Saving);
        Ok(())
    }

    pub(super) fn is_saving(&self) -> bool {
        self.loss.as_ref().is_some_and(|loss| loss.rescue.is_some())
    }

    /// Hears how the rescue went, tries it again, and notices when the files are back.
    pub(super) fn follow_rescue(&mut self) -> Result<()> {
        let Some(loss) = &mut self.loss else {
            return Ok(());
        };
        let Some(rescue) = &loss.rescue else {
            let is_back = self.presence.missing().is_none();
            if is_back && self.stopping.is_none() {
                return Err(Error::Undone("the database's files are back".to_owned()));
            }
            let last = self.stopping.is_some() && !loss.tried_at_stop;
            let again = loss.failed.is_some_and(|at| at.elapsed() >= AGAIN || last);
            loss.tried_at_stop |= last;
            if again && !is_back {
                return self.begin_rescue();
            }
            return Ok(());
        };
        let saved = match rescue.try_recv() {
            Err(TryRecvError::Empty) => return Ok(()),
            Err(TryRecvError::Disconnected) => Err(Error::open("its thread ended".to_owned())),
            Ok(saved) => saved,
        };
        loss.rescue = None;
        let database = self.files.database.display();
        self.stats.taken = Some(match saved {
            Ok(Rescued::InPlace) => {
                loss.failed = None;
                tracing::error!(
                    "everything that was acknowledged is in {database}: start the bot again"
                );
                Taken::InPlace
            }
            Ok(Rescued::File(file, number, dialogs)) => {
                loss.failed = None;
                let file = file.display();
                tracing::error!(
                    "everything that was acknowledged is in {file} ({dialogs} dialogs): stop the bot, let `turnkey restore` put this file in the place of {database}, start it again"
                );
                Taken::Kept(number)
            }
            Err(error) => {
                if loss.failed.replace(Instant::now()).is_none() {
                    tracing::error!(
                        "what the open file holds cannot be saved: {error}; it is lost when the bot stops, so make room (tried again every {} s)",
                        AGAIN.as_secs()
                    );
                }
                Taken::NotKept
            }
        });
        Ok(())
    }

    /// What everybody is answered.
    pub(super) fn refusal(&self) -> Error {
        let reason = match &self.loss {
            Some(loss) => loss.reason.clone(),
            None => "the database is not in its place".to_owned(),
        };
        Error::Unavailable(reason)
    }

    /// Answers a request while the file is lost.
    pub(super) fn refuse(&mut self, token: u64, id: u64, request: Request<'_>) -> Result<()> {
        let answer = match request {
            // What gives up a place or asks who is there does not touch the file.
            other @ (Request::Cancel { .. } | Request::Owners) => {
                return self.execute_any(token, id, other, Attempt::First);
            }
            Request::Unsent { .. } | Request::Due { .. } => Response::Dialogs(Vec::new()),
            Request::Sent {
                dialog,
                fence,
                replies,
                lock,
            } => {
                if lock == LockAfter::GivenBack {
                    self.release(&dialog, fence);
                }
                match replies.is_empty() {
                    true => Response::Done,
                    false => Response::Failed(self.refusal()),
                }
            }
            // Also what may come to be asked one day.
            _ => Response::Failed(self.refusal()),
        };
        self.answer(token, id, &answer);
        self.grant_ready()
    }

    /// Makes the socket anew if its name is gone, at which new workers and commands look
    /// for it. The one that was there before goes on: workers that come back to it wait in
    /// its queue.
    pub(super) fn keep_socket(&mut self) {
        let socket = &self.files.socket;
        match fs::symlink_metadata(socket) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
            _ => return,
        }
        match bind_private(&ShortPath::of(socket).path) {
            Ok(listener) => self.listen_too(listener),
            Err(error) => {
                if !std::mem::replace(&mut self.socket_failed, true) {
                    let socket = socket.display();
                    tracing::error!("{socket} is gone and cannot be made anew: {error}");
                }
            }
        }
    }

    fn listen_too(&mut self, listener: UnixListener) {
        let watched = listener
            .set_nonblocking(true)
            .map_err(poisoned)
            .and_then(|()| self.watch(&listener, SOCKET_AGAIN));
        match watched {
            Ok(()) => {
                tracing::warn!(
                    "somebody removed {}: made anew",
                    self.files.socket.display()
                );
                self.socket_failed = false;
                // The one before, if this is not the first, has no name either.
                self.socket_again = Some(listener);
            }
            Err(error) => tracing::error!("the writer's socket cannot be watched: {error}"),
        }
    }

    /// Accepts at the socket that was there first, or at the one made since.
    pub(super) fn accept_at(&mut self, which: u64) -> Result<()> {
        let listener = match (which, &self.socket_again) {
            (LISTENER, _) => &self.listener,
            (_, Some(again)) => again,
            (_, None) => return Ok(()),
        };
        let listener = listener.try_clone().map_err(poisoned)?;
        self.accept(&listener)
    }
}

/// Before a writer serves: a socket that nobody listens to any more, since it was made by
/// the writer before, makes room for a new one.
pub(super) fn clear_dead_socket(files: &Files) {
    let path = ShortPath::of(&files.socket);
    let refused = |e: &std::io::Error| e.kind() == std::io::ErrorKind::ConnectionRefused;
    if UnixStream::connect(&path.path).is_err_and(|e| refused(&e)) {
        // Whoever holds the file's lock is we: nobody else may listen there.
        drop(files.remove_socket());
    }
}
