//! The author's way in: a handler becomes a program with the whole command line.

use std::process::ExitCode;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::Result;
use crate::handler::{AnyHandler, Turn, Typed};

/// What the author brings.
pub(crate) struct Author {
    pub(crate) handler: Box<dyn AnyHandler>,
    pub(crate) migrations: Vec<String>,
}

/// A bot: a handler and what it needs.
pub struct App {
    author: Author,
}

impl App {
    /// A bot that handles every update with `handler`. The state `S` is any type
    /// that serde can store, one value for each user.
    pub fn new<S, F>(handler: F) -> Self
    where
        S: Default + Serialize + DeserializeOwned + 'static,
        F: AsyncFn(&mut Turn<S>) -> Result<()> + 'static,
    {
        App {
            author: Author {
                handler: Box::new(Typed::new(handler)),
                migrations: Vec::new(),
            },
        }
    }

    /// Tables of your own: SQL scripts, oldest first. Each is applied once to a
    /// database, in a transaction, when the program starts. Never change one
    /// that was released: add another.
    #[must_use]
    pub fn migrations<T: Into<String>>(mut self, scripts: impl IntoIterator<Item = T>) -> Self {
        self.author.migrations = scripts.into_iter().map(Into::into).collect();
        self
    }

    /// Obeys the command line, until the program is stopped.
    pub fn run(self) -> ExitCode {
        crate::cli::main(self.author)
    }
}
