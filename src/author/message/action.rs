//! [`Action`]: one thing that a turn asks for, and [`Outgoing`]: how the outbox keeps it.

use serde::{Deserialize, Serialize, Serializer};
use turnkey_storage::{Fence, ReplyId};

use super::reply::Reply;
use super::target::Target;
use super::timer::Delay;
use super::update::Update;

/// One thing that a turn asks for. All of them go through the outbox: in order, after the
/// commit, tried again until the platform has it.
///
/// ```
/// use turnkey::{Action, Turn, testing};
///
/// async fn handle(turn: &mut Turn<()>) -> turnkey::Result<()> {
///     turn.reply("Noted.");
///     turn.send_to("telegram", "4242", turn.text());
///     Ok(())
/// }
///
/// # fn main() -> turnkey::Result<()> {
/// let said = testing::say(handle, (), "Help!")?;
/// assert_eq!(said.actions[0], Action::from("Noted."));
/// assert!(matches!(&said.actions[1], Action::SendTo { user, .. } if user == "4242"));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(try_from = "Flat")]
#[non_exhaustive]
pub enum Action {
    /// Says something.
    Reply(Reply),
    /// Puts this in the place of a message of the bot's.
    Edit {
        /// Which.
        message: Target,
        /// What it is from now on.
        reply: Reply,
    },
    /// Takes a message away.
    Delete {
        /// Which.
        message: Target,
    },
    /// Shows a few words over the chat to whoever pressed the button.
    Toast {
        /// The words.
        text: String,
        /// In a window that must be closed.
        alert: bool,
    },
    /// Calls any method of the platform.
    Call {
        /// Its name, such as `sendInvoice`.
        method: String,
        /// What it is called with, as JSON.
        params: serde_json::Value,
        /// The message that it sends has this name from now on.
        name: Option<String>,
    },
    /// Says something to another dialog, in that dialog's order.
    SendTo {
        /// The channel.
        channel: String,
        /// The user, as the channel names them.
        user: String,
        /// What.
        reply: Reply,
    },
    /// Asks something of another dialog; the button that is pressed there comes back.
    AskIn {
        /// The channel.
        channel: String,
        /// The user, as the channel names them.
        user: String,
        /// What, with buttons.
        question: Reply,
        /// Under which name the answer comes back.
        name: String,
        /// For how long it may be answered; the usual time if it is left out.
        valid: Option<Delay>,
    },
}

impl<T: Into<Reply>> From<T> for Action {
    fn from(reply: T) -> Self {
        Action::Reply(reply.into())
    }
}

/// The fields that make JSON another action than a reply.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Verb {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    edit: Option<Target>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    delete: Option<Target>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    toast: Option<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    alert: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    call: Option<String>,
    #[serde(default, skip_serializing_if = "serde_json::Value::is_null")]
    params: serde_json::Value,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    send_to: Option<SomebodyElse>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ask_in: Option<Asked>,
}

/// Another dialog.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct SomebodyElse {
    channel: String,
    user: String,
}

/// Another dialog that is asked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Asked {
    channel: String,
    user: String,
    name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    valid: Option<Delay>,
}

#[derive(Clone, Serialize, Deserialize)]
struct Flat {
    #[serde(flatten)]
    verb: Verb,
    #[serde(flatten)]
    reply: Reply,
}

impl Verb {
    /// What it says, with the reply that stands beside it.
    ///
    /// # Errors
    /// It says two things at once.
    pub(crate) fn with(self, reply: Reply) -> Result<Action, String> {
        let Verb {
            edit,
            delete,
            toast,
            alert,
            call,
            params,
            send_to,
            ask_in,
        } = self;
        let verbs = [
            ("edit", edit.is_some()),
            ("delete", delete.is_some()),
            ("toast", toast.is_some()),
            ("call", call.is_some()),
            ("send_to", send_to.is_some()),
            ("ask_in", ask_in.is_some()),
        ];
        let mut said = verbs.iter().filter(|(_, is_said)| *is_said);
        if let (Some((one, _)), Some((other, _))) = (said.next(), said.next()) {
            return Err(format!("it has both {one} and {other}"));
        }
        if let Some(asked) = ask_in {
            return Ok(Action::AskIn {
                channel: asked.channel,
                user: asked.user,
                question: reply,
                name: asked.name,
                valid: asked.valid,
            });
        }
        Ok(match (edit, delete, toast, call, send_to) {
            (Some(message), ..) => Action::Edit { message, reply },
            (_, Some(message), ..) => Action::Delete { message },
            (_, _, Some(text), ..) => Action::Toast { text, alert },
            (.., Some(method), _) => Action::Call {
                method,
                params,
                name: reply.name,
            },
            (.., Some(SomebodyElse { channel, user })) => Action::SendTo {
                channel,
                user,
                reply,
            },
            _ => Action::Reply(reply),
        })
    }
}

impl TryFrom<Flat> for Action {
    type Error = String;

    fn try_from(flat: Flat) -> Result<Self, String> {
        flat.verb.with(flat.reply)
    }
}

impl Serialize for Action {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            // Most are: no copy is made.
            Action::Reply(reply) => reply.serialize(to),
            other => Flat::from(other.clone()).serialize(to),
        }
    }
}

impl From<Action> for Flat {
    fn from(action: Action) -> Self {
        let mut verb = Verb::default();
        let reply = match action {
            Action::Reply(reply) => reply,
            Action::Edit { message, reply } => {
                verb.edit = Some(message);
                reply
            }
            Action::Delete { message } => {
                verb.delete = Some(message);
                Reply::default()
            }
            Action::Toast { text, alert } => {
                verb.toast = Some(text);
                verb.alert = alert;
                Reply::default()
            }
            Action::Call {
                method,
                params,
                name,
            } => {
                verb.call = Some(method);
                verb.params = params;
                Reply {
                    name,
                    ..Reply::default()
                }
            }
            Action::SendTo {
                channel,
                user,
                reply,
            } => {
                verb.send_to = Some(SomebodyElse { channel, user });
                reply
            }
            Action::AskIn {
                channel,
                user,
                question,
                name,
                valid,
            } => {
                verb.ask_in = Some(Asked {
                    channel,
                    user,
                    name,
                    valid,
                });
                question
            }
        };
        Flat { verb, reply }
    }
}

/// An action on its way: what the outbox stores. Rows of earlier versions have fewer
/// fields, so each new one needs a default.
///
/// ```
/// use turnkey::{Outgoing, ReplyId};
///
/// /// What a channel of your own posts for a reply.
/// fn body(id: ReplyId, outgoing: &Outgoing) -> serde_json::Value {
///     serde_json::json!({ "to": outgoing.to, "text": outgoing.text(), "key": outgoing.key(id) })
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Outgoing {
    /// Where to, in the channel's terms: [`Update::address`](crate::Update::address).
    pub to: String,
    /// Where in that chat: [`Update::within`](crate::Update::within).
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub within: String,
    /// The id of the update that it answers.
    #[serde(default)]
    pub update: String,
    /// What.
    #[serde(flatten)]
    pub action: Action,
}

impl Outgoing {
    /// An action that answers an update: it goes where that came from.
    pub(crate) fn answering(update: &Update, action: Action) -> Self {
        Outgoing {
            to: update.address.clone(),
            within: update.within.clone(),
            update: update.id.0.clone(),
            action,
        }
    }

    /// What is said, if it is a reply or an edit; empty for anything else.
    pub fn text(&self) -> &str {
        match &self.action {
            Action::Reply(reply) | Action::Edit { reply, .. } => &reply.text,
            _ => "",
        }
    }

    /// A key of this action, the same at each attempt to send it, and no other's. The
    /// update is part of it: a new database counts its turns from the start again.
    pub fn key(&self, id: ReplyId) -> String {
        format!("{}-{}-{}", self.update, id.turn.0, id.index)
    }

    /// The update and the place in a [`key`](Outgoing::key), if it is one.
    pub(crate) fn read_key(key: &str) -> Option<(&str, ReplyId)> {
        let (rest, index) = key.rsplit_once('-')?;
        let (update, turn) = rest.rsplit_once('-')?;
        let turn = Fence(turn.parse().ok()?);
        let index = index.parse().ok()?;
        Some((update, ReplyId { turn, index }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_the_first_version_can_be_read() {
        let row: Outgoing = serde_json::from_str(r#"{"to":"7","text":"1: hi"}"#).unwrap();
        assert_eq!((row.to.as_str(), row.update.as_str()), ("7", ""));
        assert_eq!(row.action, "1: hi".into());
        let json = serde_json::to_string(&row).unwrap();
        assert_eq!(json, r#"{"to":"7","update":"","text":"1: hi"}"#);
    }

    #[test]
    fn each_action_comes_back_from_the_outbox() {
        let menu = || Target::from("menu");
        for action in [
            Action::from(Reply::from("x").named("menu")),
            Action::Edit {
                message: menu(),
                reply: "y".into(),
            },
            Action::Delete {
                message: Target::Message("7".to_owned()),
            },
            Action::Delete {
                message: Target::This,
            },
            Action::Toast {
                text: "Saved".to_owned(),
                alert: true,
            },
            Action::Call {
                method: "sendInvoice".to_owned(),
                params: serde_json::json!({"title": "Tea"}),
                name: Some("bill".to_owned()),
            },
            Action::SendTo {
                channel: "vk".to_owned(),
                user: "8".to_owned(),
                reply: "z".into(),
            },
            Action::AskIn {
                channel: "vk".to_owned(),
                user: "8".to_owned(),
                question: Reply::from("z?").button("a", "1"),
                name: "approve".to_owned(),
                valid: Some("2d".into()),
            },
        ] {
            let out = Outgoing {
                to: "7".to_owned(),
                within: String::new(),
                update: "u".to_owned(),
                action,
            };
            let json = serde_json::to_string(&out).unwrap();
            assert_eq!(
                serde_json::from_str::<Outgoing>(&json).unwrap(),
                out,
                "{json}"
            );
        }
    }

    #[test]
    fn a_key_says_which_action_it_is_of() {
        let id = ReplyId {
            turn: Fence(1 << 40),
            index: 3,
        };
        for update in ["wamid.1", "a-7-0", "", "-", "é-"] {
            let out = Outgoing {
                to: String::new(),
                within: String::new(),
                update: update.to_owned(),
                action: "x".into(),
            };
            assert_eq!(Outgoing::read_key(&out.key(id)), Some((update, id)));
        }
        for other in ["", "x", "1-2", "u-1-", "u--1", "u-x-1", "u-1-4294967296"] {
            assert_eq!(Outgoing::read_key(other), None, "{other}");
        }
    }

    #[test]
    fn two_things_at_once_are_refused() {
        let error = serde_json::from_str::<Action>(r#"{"edit":"a","delete":"a"}"#);
        let error = error.unwrap_err().to_string();
        assert!(error.contains("both edit and delete"), "{error}");
    }
}
