//! The requests that a worker is answering, to tell why it does not end.
//!
//! Noted by `connection.rs`. When the worker is to be cut off, a separate thread logs them
//! (`process/master/life.rs`), even if the worker hangs. Bounds: one entry for each busy
//! connection; [`NAMED`] of them are named.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use hyper::{Method, Uri};

use crate::shared::scrub;

/// Requests that are named; the others are counted.
const NAMED: usize = 5;

/// Characters of a path that are shown.
const PATH: usize = 48;

/// The requests that a worker is answering. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Requests(Arc<Mutex<Table>>);

#[derive(Default)]
struct Table {
    /// The next key: keys rise, so the oldest request comes first.
    next: u64,
    open: BTreeMap<u64, Entry>,
}

struct Entry {
    method: Method,
    uri: Uri,
    since: Instant,
}

impl Requests {
    /// Notes a request until the guard is dropped.
    pub(super) fn enter(&self, method: &Method, uri: &Uri) -> Noted {
        let mut table = self.table();
        let key = table.next;
        table.next += 1;
        let entry = Entry {
            method: method.clone(),
            uri: uri.clone(),
            since: Instant::now(),
        };
        table.open.insert(key, entry);
        Noted {
            open: table.open.len(),
            requests: self.clone(),
            key,
        }
    }

    /// Their number, then the oldest of them by name, one a line:
    /// `7`, `POST /http for 8.0 s`, …
    pub(crate) fn list(&self) -> String {
        let table = self.table();
        let mut text = table.open.len().to_string();
        for entry in table.open.values().take(NAMED) {
            // Never the query: it may hold a secret. Nor a callback's token.
            let path: String = scrub::told(entry.uri.path()).chars().take(PATH).collect();
            let seconds = entry.since.elapsed().as_secs_f32();
            text.push_str(&format!("\n{} {path} for {seconds:.1} s", entry.method));
        }
        text
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request that is being answered.
pub(super) struct Noted {
    /// How many were, when it came: it is one of them.
    pub(super) open: usize,
    requests: Requests,
    key: u64,
}

impl Drop for Noted {
    fn drop(&mut self) {
        let noted = self.requests.table().open.remove(&self.key);
        debug_assert!(noted.is_some(), "noted once, dropped once");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_come_first_and_the_query_is_not_shown() {
        let requests = Requests::default();
        let uri: Uri = "/http?token=secret".parse().unwrap();
        let noted: Vec<Noted> = (0..7)
            .map(|_| requests.enter(&Method::POST, &uri))
            .collect();
        let list = requests.list();
        let lines: Vec<&str> = list.lines().collect();
        assert_eq!((lines[0], lines.len()), ("7", 1 + NAMED));
        assert!(lines[1].starts_with("POST /http for "), "{list}");
        assert!(!list.contains("secret"), "{list}");
        drop(noted);
        assert_eq!(requests.list(), "0");
    }
}
