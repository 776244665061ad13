//! What is no message of somebody's: a pressed button, a member who comes or goes, a reaction,
//! a question that wants an answer. <https://core.telegram.org/bots/api#update>
//!
//! Called by `incoming/mod.rs`. All of these are read by one type: they share the fields that
//! say whose they are and where. What is not known yet is read likewise, so that a new kind of
//! update is a turn on the day it comes.

use serde::Deserialize;

use super::super::super::lenient::{self, Id, List, Number, Part};
use super::super::within::Within;
use super::parts::{DirectTopic, LocationJson};
use super::who::{Place, User, Who};
use crate::author::message::{Kind, Location};

/// The fields of an update that is no message.
#[derive(Deserialize)]
pub(super) struct Event {
    #[serde(default, deserialize_with = "lenient::maybe")]
    id: Option<Id>,
    #[serde(default)]
    from: Part<User>,
    #[serde(default)]
    user: Part<User>,
    /// Who reacts in a chat's name.
    #[serde(default)]
    actor_chat: Part<Place>,
    /// Who votes in a chat's name.
    #[serde(default)]
    voter_chat: Part<Place>,
    #[serde(default)]
    chat: Part<Place>,
    /// Where the bot may write to that user.
    #[serde(default, deserialize_with = "lenient::any_text")]
    user_chat_id: Option<String>,

    #[serde(default, deserialize_with = "lenient::any_text")]
    message_id: Option<String>,
    #[serde(default)]
    message_ids: List<Number>,
    #[serde(default, deserialize_with = "lenient::any_text")]
    inline_message_id: Option<String>,
    #[serde(default, deserialize_with = "lenient::any_text")]
    business_connection_id: Option<String>,
    #[serde(default, deserialize_with = "lenient::maybe")]
    message_thread_id: Option<Number>,

    /// Of a callback query: the message that the button is under; with its chat only when
    /// it is too old; absent when it was sent in inline mode.
    #[serde(default)]
    message: Part<Under>,
    #[serde(default, deserialize_with = "lenient::text")]
    data: Option<String>,
    #[serde(default, deserialize_with = "lenient::any_text")]
    game_short_name: Option<String>,

    #[serde(default, deserialize_with = "lenient::any_text")]
    query: Option<String>,
    #[serde(default, deserialize_with = "lenient::any_text")]
    invoice_payload: Option<String>,
    #[serde(default, deserialize_with = "lenient::any_text")]
    paid_media_payload: Option<String>,
    #[serde(default)]
    location: Part<LocationJson>,

    #[serde(default)]
    old_chat_member: Part<Member>,
    #[serde(default)]
    new_chat_member: Part<Member>,
    #[serde(default)]
    old_reaction: List<Reaction>,
    #[serde(default)]
    new_reaction: List<Reaction>,
    #[serde(default)]
    boost: Part<Boost>,
    #[serde(default)]
    source: Part<BoostSource>,
}

/// The message that a button is under.
#[derive(Deserialize)]
struct Under {
    #[serde(default, deserialize_with = "lenient::any_text")]
    message_id: Option<String>,
    chat: Place,
    #[serde(default, deserialize_with = "lenient::number")]
    message_thread_id: Option<i64>,
    #[serde(default, deserialize_with = "lenient::flag")]
    is_topic_message: bool,
    #[serde(default)]
    direct_messages_topic: Part<DirectTopic>,
    #[serde(default, deserialize_with = "lenient::text")]
    business_connection_id: Option<String>,
}

/// <https://core.telegram.org/bots/api#chatmember>
#[derive(Deserialize)]
struct Member {
    user: Option<User>,
    #[serde(default, deserialize_with = "lenient::any_text")]
    status: Option<String>,
    /// Of one who is restricted.
    #[serde(default, deserialize_with = "lenient::flag")]
    is_member: bool,
}

/// <https://core.telegram.org/bots/api#reactiontype>
#[derive(Deserialize, PartialEq)]
struct Reaction {
    #[serde(default, rename = "type", deserialize_with = "lenient::any_text")]
    kind: Option<String>,
    #[serde(default, deserialize_with = "lenient::any_text")]
    emoji: Option<String>,
    #[serde(default, deserialize_with = "lenient::any_text")]
    custom_emoji_id: Option<String>,
}

#[derive(Deserialize)]
struct Boost {
    #[serde(default)]
    source: Part<BoostSource>,
}

#[derive(Deserialize)]
struct BoostSource {
    #[serde(default)]
    user: Part<User>,
}

/// What an event turned out to be.
pub(super) struct Happened {
    pub(super) kind: Kind,
    /// What is behind the update's field, such as a game's button.
    pub(super) detail: Option<&'static str>,
    /// None: it is nobody's.
    pub(super) who: Option<Who>,
    pub(super) chat: Option<Place>,
    /// Where replies go; empty where there is no such place.
    pub(super) address: String,
    pub(super) within: Within,
    pub(super) message: String,
    pub(super) text: String,
    pub(super) location: Option<Location>,
    /// Its own id, where it has one.
    pub(super) id: Option<String>,
}

impl Member {
    fn is_in(&self) -> bool {
        match self.status.as_deref() {
            Some("creator" | "administrator" | "member") => true,
            Some("restricted") => self.is_member,
            _ => false,
        }
    }
}

impl Reaction {
    /// The emoji; the id of one that is not Unicode's; `paid` for a star.
    fn sign(self) -> Option<String> {
        self.emoji.or(self.custom_emoji_id).or(self.kind)
    }
}

impl Event {
    /// What it is. `name`: the field of the update that it stands in.
    ///
    /// # Errors
    /// What is missing, in a sentence.
    pub(super) fn happened(self, name: &str) -> Result<Happened, String> {
        if name == "callback_query" {
            return self.pressed();
        }
        let mut event = self;
        let kind = event.kind(name);
        let subject = match name {
            // The one who came or went, not the one who let them in.
            "chat_member" => match &mut event.new_chat_member {
                Part::Some(member) => member.user.take(),
                _ => None,
            },
            _ => None,
        };
        let chat = std::mem::take(&mut event.chat).readable();
        let who = subject.map(Who::from).or_else(|| event.who(chat.as_ref()));
        let address = match (&event.user_chat_id, &chat, &who) {
            (Some(address), ..) => address.clone(),
            (None, Some(chat), _) => chat.id.0.to_string(),
            (None, None, Some(who)) => who.id.to_string(),
            (None, None, None) => String::new(),
        };
        Ok(Happened {
            kind,
            detail: None,
            who,
            chat,
            address,
            within: Within {
                message_thread_id: event.message_thread_id.map(|thread| thread.0),
                business_connection_id: event.business_connection_id.take(),
                ..Within::default()
            },
            message: event.message_name(),
            location: std::mem::take(&mut event.location)
                .readable()
                .map(Location::from),
            id: event.id.take().map(|id| id.0),
            text: event.text(),
        })
    }

    fn pressed(self) -> Result<Happened, String> {
        let from = match self.from {
            Part::Some(from) => Who::from(from),
            _ => return Err("a button that nobody pressed".to_owned()),
        };
        let (text, detail) = match (self.data, self.game_short_name) {
            (Some(data), _) => (data, None),
            (None, Some(game)) => (game, Some("game_short_name")),
            (None, None) => return Err("a button without data".to_owned()),
        };
        let mut pressed = Happened {
            kind: Kind::Button,
            detail,
            address: from.id.to_string(),
            who: Some(from),
            chat: None,
            within: Within::default(),
            message: self.inline_message_id.unwrap_or_default(),
            text,
            location: None,
            id: None,
        };
        match self.message {
            Part::None => {}
            Part::Strange => return Err("a button under a message that cannot be read".to_owned()),
            Part::Some(under) => {
                pressed.address = under.chat.id.0.to_string();
                pressed.message = under.message_id.unwrap_or_default();
                pressed.within = Within::of(
                    under.message_thread_id,
                    under.is_topic_message,
                    under
                        .direct_messages_topic
                        .readable()
                        .map(|topic| topic.topic_id.0),
                    under.business_connection_id,
                );
                pressed.chat = Some(under.chat);
            }
        }
        Ok(pressed)
    }

    fn kind(&self, name: &str) -> Kind {
        match name {
            "my_chat_member" | "chat_member" => {
                let is_in = |member: &Part<Member>| match member {
                    Part::Some(member) => member.is_in(),
                    _ => false,
                };
                match (is_in(&self.old_chat_member), is_in(&self.new_chat_member)) {
                    (false, true) => Kind::Joined,
                    (true, false) => Kind::Left,
                    // Other rights, say.
                    _ => Kind::Other,
                }
            }
            "message_reaction" => Kind::Reaction,
            "inline_query" | "chosen_inline_result" => Kind::Inline,
            "shipping_query" | "pre_checkout_query" => Kind::Payment,
            "chat_join_request" => Kind::JoinRequest,
            "business_connection" | "deleted_business_messages" => Kind::Business,
            _ => Kind::Other,
        }
    }

    fn who(&mut self, chat: Option<&Place>) -> Option<Who> {
        let user = |part: Part<User>| part.readable().filter(|user| !user.is_shared());
        let from = user(std::mem::take(&mut self.from));
        let from = from.or_else(|| user(std::mem::take(&mut self.user)));
        if let Some(user) = from {
            return Some(user.into());
        }
        for part in [&mut self.actor_chat, &mut self.voter_chat] {
            if let Part::Some(place) = std::mem::take(part) {
                return Some((&place).into());
            }
        }
        let boost = std::mem::take(&mut self.boost).readable();
        let source = match boost {
            Some(boost) => boost.source,
            None => std::mem::take(&mut self.source),
        };
        match source.readable().and_then(|source| source.user.readable()) {
            Some(user) => Some(user.into()),
            None => chat.map(Who::from),
        }
    }

    fn message_name(&mut self) -> String {
        let first = self.message_ids.items.first();
        let first = first.map(|id| id.0.to_string());
        let message = self.message_id.take().or(self.inline_message_id.take());
        message.or(first).unwrap_or_default()
    }

    fn text(self) -> String {
        let old = self.old_reaction.items;
        let mut now = self.new_reaction.items;
        // The one that is new; what is left, where one was taken back.
        let new = now.iter().rposition(|reaction| !old.contains(reaction));
        let sign = match new {
            Some(place) => now.swap_remove(place).sign(),
            None => None,
        };
        self.query
            .or(self.invoice_payload)
            .or(self.paid_media_payload)
            .or(sign)
            .unwrap_or_default()
    }
}
