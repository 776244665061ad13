//! A text that grows while a handler works: a language model's answer, say.
//!
//! Made by [`Turn::draft`](crate::Turn::draft). Best effort: drafts are never stored, never sent
//! again and delay nothing; the last one is forgotten when the turn's replies are on their way.
//! Bound: one call each [`PAUSE`] with the newest text.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::author::message::Update;
use crate::author::platform::Platform;

/// Between two drafts. Telegram names no rate; its clients refresh every 1 to 1.5 s, and what
/// came every half second was refused for minutes.
const PAUSE: Duration = Duration::from_millis(1500);

/// The drafts of one turn. Dropped, they end.
pub(crate) struct Drafts {
    text: watch::Sender<String>,
    task: JoinHandle<()>,
}

impl Drafts {
    /// Shows a first text.
    pub(crate) fn start(platform: Rc<dyn Platform>, update: Arc<Update>, text: String) -> Self {
        let (text, mut newest) = watch::channel(text);
        let task = tokio::task::spawn_local(async move {
            loop {
                let text = newest.borrow_and_update().clone();
                if !platform.draft(&update, &text).await {
                    return;
                }
                tokio::time::sleep(PAUSE).await;
                if newest.changed().await.is_err() {
                    return;
                }
            }
        });
        Drafts { text, task }
    }

    /// Shows this instead.
    pub(crate) fn show(&self, text: String) {
        self.text.send_replace(text);
    }
}

impl Drop for Drafts {
    fn drop(&mut self) {
        self.task.abort();
    }
}
