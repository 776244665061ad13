//! The platform of a conversation: answers what a turn asks at once, as the test says.
//!
//! Made by `conversation.rs`. Without an answer each question is refused, with words that say
//! how to give one.

use std::cell::RefCell;
use std::collections::HashMap;
use std::path::PathBuf;

use serde_json::Value;

use crate::author::message::{File, Update};
use crate::author::platform::{Asked, Ended, Platform, Shown};

/// Where the addresses of callbacks begin.
pub(super) const CALLBACKS: &str = "https://bot.example";

type Answer = Box<dyn Fn(&str, &Value) -> Result<Value, String>>;

#[derive(Default)]
pub(super) struct Fake {
    pub(super) answer: RefCell<Option<Answer>>,
    /// By their ids or addresses.
    pub(super) files: RefCell<HashMap<String, Vec<u8>>>,
    /// What the last turn showed.
    pub(super) drafts: RefCell<Vec<String>>,
}

impl Fake {
    fn bytes(&self, file: &File, limit: u64) -> Result<Vec<u8>, String> {
        let files = self.files.borrow();
        let known = [&file.id, &file.url].into_iter().flatten();
        let bytes = { known }
            .find_map(|name| files.get(name))
            .ok_or("the file is not there: Conversation::file has the bytes of files")?;
        match bytes.len() as u64 > limit {
            true => Err(format!("the file has more than {limit} bytes")),
            false => Ok(bytes.clone()),
        }
    }
}

impl Platform for Fake {
    fn callbacks(&self) -> Option<&str> {
        Some(CALLBACKS)
    }

    fn ask<'a>(&'a self, _: &'a Update, method: String, params: Value) -> Asked<'a, Value> {
        let answer = match &*self.answer.borrow() {
            Some(answer) => answer(&method, &params),
            None => Err(format!(
                "nobody answers {method}: Conversation::answering says what turn.ask is told"
            )),
        };
        Box::pin(std::future::ready(answer))
    }

    fn draft<'a>(&'a self, _: &'a Update, text: &'a str) -> Shown<'a> {
        self.drafts.borrow_mut().push(text.to_owned());
        Box::pin(std::future::ready(true))
    }

    fn end_draft<'a>(&'a self, _: &'a Update) -> Option<Ended<'a>> {
        None
    }

    fn download<'a>(&'a self, _: &'a str, file: &'a File, limit: usize) -> Asked<'a, Vec<u8>> {
        Box::pin(std::future::ready(self.bytes(file, limit as u64)))
    }

    fn download_to<'a>(
        &'a self,
        _: &'a str,
        file: &'a File,
        path: PathBuf,
        limit: u64,
    ) -> Asked<'a, u64> {
        let written = self.bytes(file, limit).and_then(|bytes| {
            let mut new = std::fs::File::create_new(&path)
                .map_err(|e| format!("cannot write {}: {e}", path.display()))?;
            std::io::Write::write_all(&mut new, &bytes)
                .map_err(|e| format!("cannot write {}: {e}", path.display()))?;
            Ok(bytes.len() as u64)
        });
        Box::pin(std::future::ready(written))
    }
}
