//! Drafts, which are messages on VK: the first text of a turn is sent, the next ones edit it, and
//! the turn's first reply takes its place.
//!
//! Called by `mod.rs`. Where a reply cannot be edited in (it quotes, or brings a keyboard or a
//! place), it is sent, and the draft deleted; a draft that no reply has replaced is deleted once
//! its handler has ended. Best effort: what is shown is known to this worker alone. Invariant:
//! whoever takes a draft out of [`Drafts`] is alone with its message, and waits for the call that
//! is under way. Bounds: a draft for each turn under way; one that was left over is forgotten
//! after [`OLD`]; a draft takes a place of the bot's limit only if one is free.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

use super::super::{SendError, Sent};
use super::{Vk, outgoing};
use crate::author::message::{Reply, Update};
use crate::channels::Channel;

/// No turn takes so long, nor does a reply wait for so long in a worker.
const OLD: Duration = Duration::from_secs(3600);

/// What is shown of turns under way, by the ids of their updates.
#[derive(Default)]
pub(super) struct Drafts(RefCell<HashMap<String, Draft>>);

/// What one turn shows.
#[derive(Clone)]
pub(super) struct Draft {
    /// The message, once it is sent.
    message: Rc<Mutex<Option<String>>>,
    since: Instant,
}

impl Drafts {
    /// The draft of this update, a new one if there is none.
    fn of(&self, update: &str) -> Draft {
        let mut all = self.0.borrow_mut();
        if let Some(draft) = all.get(update) {
            return draft.clone();
        }
        all.retain(|_, draft| draft.since.elapsed() < OLD);
        let draft = Draft {
            message: Rc::default(),
            since: Instant::now(),
        };
        all.insert(update.to_owned(), draft.clone());
        draft
    }

    fn has(&self, update: &str, draft: &Draft) -> bool {
        let all = self.0.borrow();
        all.get(update)
            .is_some_and(|known| Rc::ptr_eq(&known.message, &draft.message))
    }

    /// Takes the draft of this update out, if it shows one.
    pub(super) fn take(&self, update: &str) -> Option<Draft> {
        self.0.borrow_mut().remove(update)
    }

    fn put_back(&self, update: &str, draft: Draft) {
        self.0.borrow_mut().insert(update.to_owned(), draft);
    }
}

impl Vk {
    /// Shows a text, if there is room for a call now.
    pub(super) async fn show_draft(&self, update: &Update, text: &str) -> Result<Sent, SendError> {
        if self.pace.bot(self.rate(), Duration::ZERO).is_err() {
            return Ok(Sent::default());
        }
        let (peer, id) = (update.address.as_str(), update.id.0.as_str());
        let draft = self.drafts.of(id);
        let mut message = draft.message.lock().await;
        if !self.drafts.has(id, &draft) {
            // It was taken meanwhile.
            return Ok(Sent::default());
        }
        let reply = outgoing::draft(text);
        let Some(shown) = message.as_deref() else {
            let key = fastrand::u32(1..1 << 31);
            let sent = self.reply(key, peer, &reply).await?;
            message.clone_from(&sent.message);
            return match sent.message {
                Some(_) => Ok(sent),
                None => Err(SendError::Refused("VK does not say its number".to_owned())),
            };
        };
        match self.edit(peer, shown, &reply).await? {
            Sent {
                gone: Some(reason), ..
            } => Err(SendError::Refused(reason)),
            edited => Ok(edited),
        }
    }

    /// Says a reply where a draft is shown.
    pub(super) async fn replace_draft(
        &self,
        draft: Draft,
        (update, peer, key): (&str, &str, u32),
        reply: &Reply,
    ) -> Result<Sent, SendError> {
        let Some(shown) = draft.message.lock().await.clone() else {
            return self.reply(key, peer, reply).await;
        };
        if outgoing::can_be_edited_in(reply) {
            match self.edit(peer, &shown, reply).await {
                Ok(Sent { gone: None, .. }) => return Ok(Sent::message(shown)),
                // It is sent as any other.
                Ok(_) | Err(SendError::Refused(_)) => {}
                Err(error) => {
                    self.drafts.put_back(update, draft);
                    return Err(error);
                }
            }
        }
        let sent = match self.reply(key, peer, reply).await {
            Ok(sent) => sent,
            Err(error) => {
                self.drafts.put_back(update, draft);
                return Err(error);
            }
        };
        self.delete_draft(peer, &shown).await;
        Ok(sent)
    }

    /// Takes away what is shown of a turn.
    pub(super) async fn take_draft_away(&self, update: &Update) {
        let Some(draft) = self.drafts.take(&update.id.0) else {
            return;
        };
        if let Some(shown) = draft.message.lock().await.take() {
            self.delete_draft(&update.address, &shown).await;
        }
    }

    async fn delete_draft(&self, peer: &str, message: &str) {
        let deleted = async {
            self.take_place().await?;
            self.delete(peer, message).await
        };
        if let Err(error) = deleted.await {
            tracing::debug!("vk: a draft in {peer} is not taken away: {error}");
        }
    }
}
