//! What comes in and what goes out: plain data that every other part uses.
//!
//! | file | subject |
//! | --- | --- |
//! | `update.rs` | one incoming message or event |
//! | `kind.rs` | what sort it is, and which a handler hears |
//! | `content.rs` | what can be in it: files, places, people |
//! | `reply.rs`, `attachment.rs`, `button.rs` | what a handler says: text, files, buttons |
//! | `action.rs` | what a turn asks for: a reply, an edit, a call … and how the outbox keeps it |
//! | `target.rs` | which message is meant |
//! | `timer.rs` | what is to be done later |
//! | `called.rs` | callbacks: what others start a turn with |
//! | `styled.rs`, `markup.rs`, `html.rs` | bold, links and lists, however they are written |
//! | `object.rs` | reading what must be a JSON object |
//!
//! Imports nothing of ours but the storage crate's keys and the author's `Error`. The inbox and
//! the outbox keep all of this as JSON, which outlives the version that wrote it: each new field
//! needs a default.

mod action;
mod attachment;
mod button;
mod called;
mod content;
mod html;
mod kind;
mod markup;
mod object;
mod reply;
mod styled;
mod target;
mod timer;
mod update;

pub use turnkey_storage::DialogKey;

#[cfg(feature = "any-language")]
pub(crate) use self::action::Verb;
pub use self::action::{Action, Outgoing};
pub use self::attachment::{Attachment, MAX_BYTES, Source};
pub use self::button::{Button, Keyboard, Press, Request};
pub use self::called::{Called, Presser};
pub(crate) use self::called::{NewCallback, PATH as CALLBACK_PATH, Token, Use, address, base};
pub use self::content::{
    Chat, ChatKind, Contact, File, FileKind, Forwarded, Location, Quoted, Sender,
};
pub use self::kind::{Hears, Kind};
pub(crate) use self::object::Object;
pub use self::reply::{Format, Reply};
pub use self::styled::{Span, Style, Styled};
pub use self::target::Target;
pub use self::timer::{Delay, Timer};
pub(crate) use self::timer::{LONGEST_DELAY, SetTimer, TimerChange, When};
pub use self::update::{MAX_UPDATE_ID, MAX_USER_ID, Rpc, Update, UpdateId};
