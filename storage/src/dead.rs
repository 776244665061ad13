//! Dead letters: updates whose turns failed too often.
//!
//! [`bury`] puts an update there, so that its dialog goes on; an operator looks at it,
//! and has it tried again or drops it. The update's id is remembered as of one that was
//! handled, so that a platform that sends it again gets its answer.

use crate::{DialogKey, Error, Result, Storage};

/// An update that was given up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// Whose it is.
    pub dialog: DialogKey,
    /// Its id within its channel.
    pub update: String,
    /// When it arrived, in microseconds since 1970.
    pub arrived: i64,
    /// A digest of the update, to tell another one under the same id; may be empty.
    pub digest: Vec<u8>,
    /// What to answer when it comes again.
    pub answer: Vec<u8>,
    /// The update, as its caller wrote it.
    pub body: Vec<u8>,
    /// Why it failed last.
    pub error: String,
    /// How often it failed.
    pub attempts: u32,
    /// When it was given up, in milliseconds since 1970.
    pub died: i64,
}

/// The place of a letter in the list: when it died, its channel and its update's id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct After {
    /// [`DeadLetter::died`].
    pub died: i64,
    /// The channel.
    pub channel: String,
    /// [`DeadLetter::update`].
    pub update: String,
}

impl DeadLetter {
    /// Its place: [`list`] goes on behind it.
    pub fn place(&self) -> After {
        After {
            died: self.died,
            channel: self.dialog.channel.clone(),
            update: self.update.clone(),
        }
    }
}

/// Gives an update up: takes it out of the inbox, if it is there, and remembers its id
/// with `answer`. Nothing but the first happens when it was committed meanwhile.
///
/// # Errors
/// As [`Storage::commit`].
pub async fn bury(storage: &dyn Storage, letter: &DeadLetter) -> Result<()> {
    let _ = (storage, letter);
    Err(Error::Unavailable("not yet".to_owned()))
}

/// Up to `limit` letters behind `after`, the oldest first.
///
/// # Errors
/// [`Error::Unavailable`].
pub async fn list(
    storage: &dyn Storage,
    after: Option<&After>,
    limit: u32,
) -> Result<Vec<DeadLetter>> {
    let _ = (storage, after, limit);
    Err(Error::Unavailable("not yet".to_owned()))
}

/// The letter of this update.
///
/// # Errors
/// [`Error::Unavailable`].
pub async fn get(storage: &dyn Storage, channel: &str, update: &str) -> Result<Option<DeadLetter>> {
    let _ = (storage, channel, update);
    Err(Error::Unavailable("not yet".to_owned()))
}

/// Puts a letter back into the inbox, as if it had never been tried; false when there is
/// none.
///
/// # Errors
/// As [`Storage::commit`].
pub async fn retry(storage: &dyn Storage, channel: &str, update: &str) -> Result<bool> {
    let _ = (storage, channel, update);
    Err(Error::Unavailable("not yet".to_owned()))
}

/// Throws a letter away; its id stays remembered. False when there is none.
///
/// # Errors
/// As [`Storage::commit`].
pub async fn drop_letter(storage: &dyn Storage, channel: &str, update: &str) -> Result<bool> {
    let _ = (storage, channel, update);
    Err(Error::Unavailable("not yet".to_owned()))
}
