//! [`Platform`]: what a turn may ask of the platform at once.
//!
//! Implemented by the channels' registry, called by [`Turn`](super::turn::Turn) and, for
//! handlers in other languages, by `handlers/command`. Bounds: ten seconds for a question, the
//! caller's limit for a download.

use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;

use crate::author::message::{File, Update};

/// What comes of a question, or a sentence why it was not answered; without secrets.
pub(crate) type Asked<'a, T> = Pin<Box<dyn Future<Output = Result<T, String>> + 'a>>;

/// Whether it was shown.
pub(crate) type Shown<'a> = Pin<Box<dyn Future<Output = bool> + 'a>>;

/// Until it is done, or given up.
pub(crate) type Ended<'a> = Pin<Box<dyn Future<Output = ()> + 'a>>;

/// See the module's page.
pub(crate) trait Platform {
    /// Where the addresses of callbacks begin: none without `--public-url`.
    fn callbacks(&self) -> Option<&str> {
        None
    }

    /// Calls a method of the platform from which this update came.
    fn ask<'a>(
        &'a self,
        update: &'a Update,
        method: String,
        params: serde_json::Value,
    ) -> Asked<'a, serde_json::Value>;

    /// Shows a text that is not final; false where the platform shows no such thing, or
    /// refuses.
    fn draft<'a>(&'a self, update: &'a Update, text: &'a str) -> Shown<'a>;

    /// Takes away what was shown so, unless a reply took its place; none where it goes by itself.
    fn end_draft<'a>(&'a self, update: &'a Update) -> Option<Ended<'a>>;

    /// Fetches a file into memory.
    fn download<'a>(&'a self, channel: &'a str, file: &'a File, limit: usize)
    -> Asked<'a, Vec<u8>>;

    /// Fetches a file into one of the box; the bytes written.
    fn download_to<'a>(
        &'a self,
        channel: &'a str,
        file: &'a File,
        path: PathBuf,
        limit: u64,
    ) -> Asked<'a, u64>;
}
