//! A small Telegram for tests: a bot polls it as it polls the real one, and what the bot calls
//! is kept for the test to read.
//!
//! Made by authors' tests, given to a bot with `Launch::telegram`. A server on a free port of
//! this machine, in a thread that ends with it. Bound: ten seconds for each wait.

use std::net::TcpListener;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Instant;

use bytes::Bytes;
use serde_json::{Map, Value, json};
use tokio::sync::oneshot;
use tokio::task::LocalSet;

use super::telegram_api::{Shared, State, TOKEN, TelegramCall, number, person, rows, serve, shown};
use super::{PATIENCE, PAUSE};
use crate::author::error::{Error, Result};

/// A Telegram for tests. See [`guide::testing`](crate::guide::testing).
///
/// ```no_run
/// # fn main() -> turnkey::Result<()> {
/// # let program = "target/debug/bot"; // In a test: env!("CARGO_BIN_EXE_bot").
/// use turnkey::testing::{Program, Telegram};
///
/// let telegram = Telegram::start()?;
/// let bot = Program::of(program).telegram(&telegram).start()?;
/// telegram.says(42, "/start");
/// assert!(telegram.next(42)?.text().contains("Hello"));
/// bot.stop()
/// # }
/// ```
pub struct Telegram {
    port: u16,
    shared: Arc<Shared>,
    stop: Option<oneshot::Sender<()>>,
    server: Option<JoinHandle<()>>,
}

impl Telegram {
    /// The bot's token there.
    pub const TOKEN: &'static str = TOKEN;

    /// Starts it.
    ///
    /// # Errors
    /// The system has no port or no thread.
    pub fn start() -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        listener.set_nonblocking(true)?;
        let port = listener.local_addr()?.port();
        let shared = Arc::new(Shared::default());
        let (stop, stopped) = oneshot::channel();
        let served = shared.clone();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let server = std::thread::Builder::new()
            .name("telegram".to_owned())
            .spawn(move || {
                LocalSet::new().block_on(&runtime, async {
                    tokio::select! {
                        () = serve(listener, served) => {}
                        _ = stopped => {}
                    }
                });
            })?;
        Ok(Telegram {
            port,
            shared,
            stop: Some(stop),
            server: Some(server),
        })
    }

    /// Its address, for `--telegram-api-url`.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// A user writes to the bot, in private.
    pub fn says(&self, user: i64, text: &str) {
        let text = Map::from_iter([("text".to_owned(), text.into())]);
        self.message_of(user, text);
    }

    /// A user sends something else, in private: fields of Telegram's `Message`, such as
    /// `{"photo": [{"file_id": "x", …}], "caption": "…"}`.
    ///
    /// # Errors
    /// They are no object.
    pub fn message(&self, user: i64, fields: Value) -> Result<()> {
        let Value::Object(fields) = fields else {
            return Err(Error::msg("a message's fields are a JSON object"));
        };
        self.message_of(user, fields);
        Ok(())
    }

    fn message_of(&self, user: i64, fields: Map<String, Value>) {
        let mut state = self.shared.state();
        let mut message = shown(state.next(), user);
        message["from"] = person(user);
        if let Some(all) = message.as_object_mut() {
            all.extend(fields);
        }
        state.push(json!({ "message": message }));
        self.shared.came.notify_waiters();
    }

    /// A user presses the button that carries this data, under the last message to them that
    /// has it.
    ///
    /// # Errors
    /// They have no such button.
    pub fn presses(&self, user: i64, data: &str) -> Result<()> {
        let mut state = self.shared.state();
        let has = |call: &&TelegramCall| {
            let keyboard = &call.params["reply_markup"]["inline_keyboard"];
            let mut buttons = rows(keyboard).flat_map(rows);
            call.chat() == Some(user) && buttons.any(|button| button["callback_data"] == data)
        };
        let Some(call) = state.calls.iter().rev().find(has) else {
            return Err(Error::msg(format!("{user} has no button with {data:?}")));
        };
        let mut message = shown(number(&call.params["message_id"]).unwrap_or(1), user);
        message["text"] = call.text().into();
        let id = state.next().to_string();
        state.push(json!({ "callback_query": {
            "id": id, "from": person(user), "message": message,
            "chat_instance": "1", "data": data,
        } }));
        self.shared.came.notify_waiters();
        Ok(())
    }

    /// Any update, as Telegram writes it; its `update_id` is given here.
    ///
    /// # Errors
    /// It is no object.
    pub fn update(&self, update: Value) -> Result<()> {
        if !update.is_object() {
            return Err(Error::msg("an update is a JSON object"));
        }
        self.shared.state().push(update);
        self.shared.came.notify_waiters();
        Ok(())
    }

    /// What [`Turn::download`](crate::Turn::download) fetches for a file of this id.
    pub fn file(&self, id: &str, bytes: impl Into<Vec<u8>>) {
        let bytes = Bytes::from(bytes.into());
        self.shared.state().files.insert(id.to_owned(), bytes);
    }

    /// Refuses the next call of this method with a status and these words, such as 403 and
    /// `Forbidden: bot was blocked by the user`.
    pub fn refuse(&self, method: &str, status: u16, words: &str) {
        let mut state = self.shared.state();
        let next = state.refusals.entry(method.to_owned()).or_default();
        next.push_back((status, words.to_owned()));
    }

    /// All that the bot has called so far, in order; polls and questions of the start are left
    /// out.
    pub fn calls(&self) -> Vec<TelegramCall> {
        self.shared.state().calls.clone()
    }

    /// The next message that the bot sends to this user, or has sent: each is returned once.
    /// Drafts and "is typing" are no messages: [`call`](Telegram::call) and
    /// [`calls`](Telegram::calls) have them.
    ///
    /// # Errors
    /// None came within ten seconds.
    pub fn next(&self, user: i64) -> Result<TelegramCall> {
        self.wait(&format!("a message to {user}"), |state| {
            let read = state.read.entry(user).or_default();
            let of_user = |call: &&TelegramCall| call.sends() && call.chat() == Some(user);
            let next = state.calls.iter().filter(of_user).nth(*read).cloned();
            *read += usize::from(next.is_some());
            next
        })
    }

    /// The first call of which this is true, once there is one.
    ///
    /// # Errors
    /// None came within ten seconds.
    pub fn call(&self, what: &str, is_it: impl Fn(&TelegramCall) -> bool) -> Result<TelegramCall> {
        self.wait(what, |state| {
            let mut calls = state.calls.iter();
            calls.find(|call| is_it(call)).cloned()
        })
    }

    fn wait<T>(&self, what: &str, look: impl Fn(&mut State) -> Option<T>) -> Result<T> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let mut state = self.shared.state();
            if let Some(found) = look(&mut state) {
                return Ok(found);
            }
            if Instant::now() > deadline {
                return Err(Error::msg(format!(
                    "{what} did not come within {PATIENCE:?}; the bot called {:?}",
                    state.calls
                )));
            }
            drop(state);
            std::thread::sleep(PAUSE);
        }
    }
}

impl Drop for Telegram {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(server) = self.server.take() {
            drop(server.join());
        }
    }
}
