//! What `dump` and `check` of every engine tell. Plain data.

use crate::DialogKey;

/// One dialog as it stands in the database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DialogLine {
    /// Whose it is.
    pub dialog: DialogKey,
    /// JSON text.
    pub state: String,
    /// Milliseconds since 1970.
    pub updated_at: i64,
    /// The turns that were kept, oldest first, each as JSON text.
    pub history: Vec<String>,
}

/// Something that is wrong with a database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What, in a sentence.
    pub problem: String,
    /// What to do about it.
    pub remedy: String,
}
