//! What WhatsApp posts: the four levels of a body, and whose each message is
//! (<https://developers.facebook.com/docs/whatsapp/cloud-api/webhooks/components>).
//!
//! Called by `mod.rs`. Invariants: each list is read to its end (a body may hold messages of
//! several users); a message to our number that can be read is an update, whatever it is; what
//! became of the bot's own messages is none, but for those that were refused after all: it ends
//! what is kept of them.

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::super::incoming::{
    NotHandled, dialog, digest, parse_json, read_json, unreadable, update_id,
};
use super::super::lenient::{self, Id, List, or_default};
use super::super::{End, Refusal, ReplyEnd};
use super::api::{Api, ApiError, GROUP};
use super::said::{Message, Said, said};
use crate::author::message::{Chat, ChatKind, Kind, Sender, Update};

/// How [`Update::event`] begins of what another app is to answer.
const STANDBY: &str = "standby.";

/// How the ids of updates begin that say what failed; no message's does.
const FAILED: &str = "failed:";

/// What all bodies are about.
const OBJECT: &str = "whatsapp_business_account";

#[derive(Deserialize)]
struct Batch<'a> {
    #[serde(default, deserialize_with = "lenient::text")]
    object: Option<String>,
    #[serde(borrow, default, deserialize_with = "or_default")]
    entry: Vec<&'a RawValue>,
}

#[derive(Deserialize)]
struct Entry<'a> {
    #[serde(borrow, default, deserialize_with = "or_default")]
    changes: Vec<&'a RawValue>,
}

#[derive(Deserialize)]
struct Change<'a> {
    #[serde(default, deserialize_with = "lenient::text")]
    field: Option<String>,
    #[serde(borrow)]
    value: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Value<'a> {
    #[serde(default, deserialize_with = "lenient::maybe")]
    metadata: Option<Metadata>,
    #[serde(default)]
    contacts: List<Person>,
    #[serde(borrow, default, deserialize_with = "or_default")]
    messages: Vec<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "or_default")]
    statuses: Vec<&'a RawValue>,
    #[serde(default)]
    errors: List<ApiError>,
}

#[derive(Deserialize)]
struct Metadata {
    phone_number_id: Id,
}

/// Somebody who wrote.
#[derive(Deserialize)]
struct Person {
    #[serde(default, deserialize_with = "lenient::maybe")]
    profile: Option<Profile>,
    #[serde(default, deserialize_with = "lenient::text")]
    wa_id: Option<String>,
    #[serde(default, deserialize_with = "lenient::text")]
    user_id: Option<String>,
}

#[derive(Deserialize)]
struct Profile {
    #[serde(default, deserialize_with = "lenient::text")]
    name: Option<String>,
    #[serde(default, deserialize_with = "lenient::text")]
    username: Option<String>,
}

/// What is read of a message whose other fields cannot be.
#[derive(Deserialize)]
struct SentBy {
    #[serde(default, deserialize_with = "lenient::maybe")]
    id: Option<Id>,
    #[serde(default, deserialize_with = "lenient::maybe")]
    from: Option<Id>,
    #[serde(default, deserialize_with = "lenient::maybe")]
    from_user_id: Option<Id>,
}

/// What became of a message of the bot's.
#[derive(Deserialize)]
struct Status {
    #[serde(default, deserialize_with = "lenient::text")]
    id: Option<String>,
    #[serde(default, deserialize_with = "lenient::text")]
    status: Option<String>,
    #[serde(default, deserialize_with = "lenient::text")]
    recipient_id: Option<String>,
    #[serde(default, deserialize_with = "lenient::text")]
    recipient_user_id: Option<String>,
    #[serde(default, deserialize_with = "lenient::text")]
    recipient_type: Option<String>,
    #[serde(default, deserialize_with = "lenient::text")]
    biz_opaque_callback_data: Option<String>,
    #[serde(default)]
    errors: List<ApiError>,
}

/// Reads one body.
pub(super) struct Reader<'a> {
    number: &'a str,
    api: &'a Api,
    not_handled: &'a NotHandled,
    body: &'a Bytes,
    pub(super) updates: Vec<Update>,
    pub(super) ends: Vec<ReplyEnd>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(
        number: &'a str,
        api: &'a Api,
        not_handled: &'a NotHandled,
        body: &'a Bytes,
    ) -> Self {
        Reader {
            number,
            api,
            not_handled,
            body,
            updates: Vec::new(),
            ends: Vec::new(),
        }
    }

    /// # Errors
    /// 400: it is no JSON, or none of that form.
    pub(super) fn read(&mut self) -> Result<(), Refusal> {
        let batch: Batch<'_> = parse_json(self.body)?;
        let object = batch.object.unwrap_or_default();
        if object != OBJECT {
            self.not_handled.log(format!("object {object}"));
            return Ok(());
        }
        for raw in batch.entry {
            match read_json::<Entry<'_>>(raw.get().as_bytes()) {
                Ok(entry) => entry.changes.into_iter().for_each(|raw| self.change(raw)),
                Err(reason) => self.leave(raw, &reason),
            }
        }
        Ok(())
    }

    /// What cannot be read, with whose it is if that much can be.
    fn leave(&mut self, raw: &RawValue, reason: &str) {
        let sent = serde_json::from_str::<SentBy>(raw.get()).ok();
        let (id, user) = sent.map_or((None, None), |sent| {
            let user = sent.from_user_id.or(sent.from);
            (sent.id.map(|id| id.0), user.map(|id| id.0))
        });
        let raw = self.body.slice_ref(raw.get().as_bytes());
        self.updates
            .push(unreadable("whatsapp", user, id, reason, raw));
    }

    fn change(&mut self, raw: &RawValue) {
        let (field, value) = match read_json::<Change<'_>>(raw.get().as_bytes()) {
            Ok(Change { field, value }) => (field.unwrap_or_default(), value),
            Err(reason) => return self.leave(raw, &reason),
        };
        let is_standby = match field.as_str() {
            "messages" => false,
            "standby" => true,
            // What the owner writes on the phone, templates, the account: no user said it.
            _ => return self.not_handled.log(format!("changes.{field}")),
        };
        let Some(value_raw) = value else {
            return self.not_handled.log("messages without a value");
        };
        let value: Value<'_> = match read_json(value_raw.get().as_bytes()) {
            Ok(value) => value,
            Err(reason) => return self.leave(value_raw, &reason),
        };
        let number = value.metadata.map(|metadata| metadata.phone_number_id.0);
        if let Some(theirs) = number.filter(|number| number != self.number) {
            // A reply would go out from our number. Those beside it are taken.
            if !value.messages.is_empty() {
                let ours = self.number;
                let reason = self.not_handled.stranger("phone number", &theirs, ours);
                self.leave(value_raw, &reason);
            }
            return;
        }
        for error in &value.errors.items {
            let error = self.api.in_words(error);
            self.not_handled.log(format!("errors {error}"));
        }
        for raw in value.messages {
            self.message(raw, &value.contacts.items, is_standby);
        }
        for raw in value.statuses {
            self.status(raw);
        }
    }

    fn message(&mut self, raw: &RawValue, people: &[Person], is_standby: bool) {
        match read_json::<Message>(raw.get().as_bytes()) {
            Ok(message) => match self.update(message, raw, people, is_standby) {
                Ok(update) => self.updates.push(update),
                Err(reason) => self.leave(raw, &reason),
            },
            Err(reason) => self.leave(raw, &reason),
        }
    }

    /// # Errors
    /// It cannot be read, for this reason.
    fn update(
        &self,
        mut message: Message,
        raw: &RawValue,
        people: &[Person],
        is_standby: bool,
    ) -> Result<Update, String> {
        let by_number = message.from.take().filter(|number| !number.is_empty());
        let by_id = message.from_user_id.take().filter(|id| !id.is_empty());
        let person = whose(people, by_number.as_deref(), by_id.as_deref());
        let by_id = by_id.or_else(|| person.and_then(|person| person.user_id.clone()));
        let id = message.id.take().filter(|id| !id.is_empty());
        let group = message.group_id.take().filter(|id| !id.is_empty());
        let Said {
            mut kind,
            mut event,
            text,
            files,
            location,
            contact,
            quoted,
            forwarded,
            message: meant,
            moved,
        } = said(message, id.as_deref())?;
        let before = by_id.or(by_number);
        let user = moved.to.or_else(|| before.clone());
        let user = user.ok_or("missing field `from`")?;
        let formerly = moved.from.or(before).filter(|before| *before != user);
        if is_standby {
            kind = Kind::Other;
            event.insert_str(0, STANDBY);
        }
        let raw = self.body.slice_ref(raw.get().as_bytes());
        let id = id.unwrap_or_else(|| format!("{user}:{}", digest(&raw)));
        let mut update = Update {
            kind,
            event,
            files,
            location,
            contact,
            quoted,
            forwarded,
            formerly: formerly.unwrap_or_default(),
            message: meant,
            sender: person.and_then(sender),
            ..Update::new(dialog("whatsapp", user)?, update_id(id).0, text, raw)
        };
        if let Some(group) = group {
            update.address = format!("{GROUP}{group}");
            update.chat = Some(Chat {
                id: update.address.clone(),
                kind: ChatKind::Group,
                ..Chat::default()
            });
        }
        Ok(update)
    }

    /// Of a message of the bot's. That one was sent is no news, that it arrived none for a
    /// handler: three such come of each.
    fn status(&mut self, raw: &RawValue) {
        let Ok(status) = read_json::<Status>(raw.get().as_bytes()) else {
            return self.not_handled.log("a status that cannot be read");
        };
        let message = status.id.unwrap_or_default();
        let key = status.biz_opaque_callback_data.unwrap_or_default();
        match status.status.as_deref() {
            Some("failed") => {}
            // The first of these may be left out.
            Some("delivered" | "read" | "played") => {
                return self.ends.push(ReplyEnd::new(key, message, End::Arrived));
            }
            _ => return,
        }
        let whose = match (status.recipient_user_id, status.recipient_id) {
            (_, Some(group)) if status.recipient_type.as_deref() == Some("group") => {
                Some(format!("{GROUP}{group}"))
            }
            (Some(id), _) if !id.is_empty() => Some(id),
            (_, number) => number,
        };
        let Some(dialog) = whose.and_then(|user| dialog("whatsapp", user).ok()) else {
            return self.leave(raw, "a status of nobody's message");
        };
        let reason = match status.errors.items.first() {
            Some(error) => self.api.in_words(error),
            None => "failed, without a reason".to_owned(),
        };
        let raw = self.body.slice_ref(raw.get().as_bytes());
        let id = match message.is_empty() {
            true => format!("{FAILED}{}", digest(&raw)),
            false => format!("{FAILED}{message}"),
        };
        // For authors who want to know, such as that a template is needed now. What they said
        // of that, and fails too, is told nobody: it would go on for ever.
        if !key.starts_with(FAILED) {
            self.updates.push(Update {
                kind: Kind::Other,
                event: "failed".to_owned(),
                message: message.clone(),
                ..Update::new(dialog.clone(), update_id(id).0, reason.clone(), raw)
            });
        }
        let end = End::Refused { dialog, reason };
        self.ends.push(ReplyEnd::new(key, message, end));
    }
}

/// Of the people of a value, the one who wrote a message.
fn whose<'a>(people: &'a [Person], number: Option<&str>, id: Option<&str>) -> Option<&'a Person> {
    let is =
        |known: &Option<String>, given: Option<&str>| given.is_some() && known.as_deref() == given;
    people
        .iter()
        .find(|person| is(&person.user_id, id) || is(&person.wa_id, number))
}

fn sender(person: &Person) -> Option<Sender> {
    let profile = person.profile.as_ref()?;
    Some(Sender {
        name: profile.name.clone().unwrap_or_default(),
        username: profile.username.clone(),
        ..Sender::default()
    })
}
