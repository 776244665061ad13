//! A text that grows while a handler works: a language model's answer, say.
//!
//! Made by [`Turn::draft`](crate::Turn::draft). Best effort: drafts are never stored, never sent
//! again and delay nothing; the last one is forgotten when the turn's replies are on their way.
//! Where a draft is a message, the call under way is brought to its end, and what no reply has
//! replaced is taken away after [`GRACE`]. Bound: one call each [`PAUSE`] with the newest text.

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

/// From a handler's end: its reply is on its way.
const GRACE: Duration = Duration::from_secs(2);

/// The drafts of one turn. Dropped, they end.
pub(crate) struct Drafts {
    text: watch::Sender<String>,
    /// Until what is shown is taken away; none where it goes by itself.
    task: Option<JoinHandle<()>>,
}

impl Drafts {
    /// Shows a first text.
    pub(crate) fn start(platform: Rc<dyn Platform>, update: Arc<Update>, text: String) -> Self {
        let (text, newest) = watch::channel(text);
        let stays = platform.end_draft(&update).is_some();
        let task = tokio::task::spawn_local(async move {
            let mut end = newest.clone();
            show(&*platform, &update, newest).await;
            if stays {
                closed(&mut end).await;
                tokio::time::sleep(GRACE).await;
            }
            if let Some(end) = platform.end_draft(&update) {
                end.await;
            }
        });
        Drafts {
            text,
            task: (!stays).then_some(task),
        }
    }

    /// Shows this instead.
    pub(crate) fn show(&self, text: String) {
        self.text.send_replace(text);
    }
}

/// Shows the newest text, again and again, until the turn ends or the platform shows none.
async fn show(platform: &dyn Platform, update: &Update, mut newest: watch::Receiver<String>) {
    let mut end = newest.clone();
    // A handler may end before its first draft is shown.
    while newest.has_changed().is_ok() {
        let text = newest.borrow_and_update().clone();
        if !platform.draft(update, &text).await {
            return;
        }
        tokio::select! {
            () = closed(&mut end) => return,
            () = tokio::time::sleep(PAUSE) => {}
        }
        if newest.changed().await.is_err() {
            return;
        }
    }
}

/// Until the turn's handler has ended.
async fn closed(text: &mut watch::Receiver<String>) {
    while text.changed().await.is_ok() {}
}

impl Drop for Drafts {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}
