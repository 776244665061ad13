//! Turnkey: bots and webhooks, handled strictly one turn at a time for each user,
//! by several processes, with every user's state in one SQLite file.
//!
//! ```no_run
//! use serde::{Deserialize, Serialize};
//! use turnkey::Turn;
//!
//! #[derive(Default, Serialize, Deserialize)]
//! struct Counter {
//!     count: u64,
//! }
//!
//! async fn count(turn: &mut Turn<Counter>) -> turnkey::Result<()> {
//!     turn.state.count += 1;
//!     turn.reply(format!("{}: {}", turn.state.count, turn.text()));
//!     Ok(())
//! }
//!
//! fn main() -> std::process::ExitCode {
//!     turnkey::App::new(count).run()
//! }
//! ```
//!
//! This program has its own command line; `--help` explains it. What a handler may rely on:
//!
//! * **One turn at a time.** Two handlers of one user never run at once, and they run in the
//!   order in which the messages arrived, whichever process accepted them.
//! * **All or nothing.** State, replies and your own SQL
//!   ([`Turn::execute`]) take effect together when the handler returns `Ok`, and
//!   not at all when it fails or panics.
//! * **Once.** A message that a platform sends again gets its stored answer; the
//!   handler does not run a second time.
//! * **Nothing acknowledged is lost.** The platform gets 200 once the turn is on the disk; if
//!   that takes longer than `--ack-after`, once the update itself is. Then the update is
//!   handled in its order, whatever happens.
//! * **Again after a failure.** An error, a panic or a timeout changes nothing, and the update
//!   is tried again ([`Turn::attempt`]), up to `--max-attempts` times.
//!
//! The [`guide`] leads from here to a bot in operation. A bot can add its own [`Channel`]s to
//! the platforms that Turnkey knows, and its own [`UserLock`].
//!
//! # Features
//!
//! SQLite, every platform and HTTPS are always there. None of these is on by default:
//!
//! | feature | adds |
//! | --- | --- |
//! | `any-language` | handlers in any language: `run bot.py`, `run bot.mjs`, `run -- COMMAND`, `handler check` |
//! | `postgres` | `--storage postgres://…`: many boxes |
//! | `mysql` | `--storage mysql://…`: MySQL and MariaDB, many boxes |
//! | `top` | the command `top`: a running bot, live in the terminal |
//! | `mimalloc` | `turnkey::MiMalloc`, an allocator for `#[global_allocator]`: 15 % fewer instructions a turn than with glibc's |
//! | `jiff` | `Timestamp`, `Date`, `Time` and `DateTime` of the crate `jiff` as parameters and columns of your own SQL |
//! | `drill` | `turnkey::drill`: tests of a bot's own shutdown, a dev-dependency |

mod app;
mod author;
mod channels;
mod cli;
mod config;
pub mod guide;
mod handlers;
mod net;
mod operator;
mod process;
mod shared;
pub mod testing;
#[doc(hidden)]
pub mod tool;
mod turn;
mod updaters;
mod worker;

/// An allocator that takes a twentieth of a turn's instructions where glibc's takes a
/// sixth. A program chooses it with `#[global_allocator]`.
#[cfg(feature = "mimalloc")]
pub use mimalloc::MiMalloc;
/// Tests of a bot's own shutdown.
#[cfg(feature = "drill")]
pub use turnkey_drill as drill;

pub use app::App;
pub use author::dialog_by::DialogBy;
pub use author::error::{Error, Result};
pub use author::message::{
    Action, Attachment, Button, Called, Chat, ChatKind, Contact, Delay, DialogKey, File, FileKind,
    Format, Forwarded, Hears, Keyboard, Kind, Location, MAX_BYTES, MAX_UPDATE_ID, MAX_USER_ID,
    Outgoing, Press, Presser, Quoted, Reply, Request, Rpc, Sender, Source, Span, Style, Styled,
    Target, Timer, Update, UpdateId,
};
pub use author::overlap::Overlap;
pub use author::start_error::StartError;
pub(crate) use author::start_error::StartResult;
pub use author::turn::{DeadReply, MAX_REPLIES, Turn};
pub use author::user_lock::{Held, LockFuture, UserLock};
pub use channels::{
    AskFuture, Channel, End, FileAddress, LocateFuture, NameFuture, Plan, PlatformAnswer, Received,
    Refusal, ReplyEnd, SendError, SendFuture, Sent, is_signed, same_secret,
};
pub use shared::pacing::Rate;
pub use turnkey_storage::{Column, Fence, FromValue, Params, ReplyId, Row, Seen, Value};

/// What a [`Channel`] is given: a request's body.
pub use bytes::Bytes;
/// What a [`Channel`] is given and answers with.
pub use hyper::{HeaderMap, StatusCode};
