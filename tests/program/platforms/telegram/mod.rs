//! Telegram: whatever a user does is heard, and whatever a handler says goes out as Telegram
//! takes it; with a fake Telegram that keeps the messages (`harness/api/telegram.rs`).

mod files;
mod heard;
mod presses;
mod said;

use serde_json::{Value, json};

use crate::harness::api::{Api, Call};
use crate::harness::bot::{Bot, SOON, Setup, until};
use crate::harness::client::{Answer, once};
use crate::harness::telegram::{text, webhook};

async fn start(api: &Api) -> Bot {
    start_with(api, &[]).await
}

async fn start_with(api: &Api, args: &[&str]) -> Bot {
    let setup = Setup::anything().args(&["--workers", "1"]).args(args);
    api.configure(setup).start().await
}

async fn tell(bot: &Bot, update: &Value) -> Answer {
    let answer = once(bot.port, webhook(update)).await;
    assert_eq!(answer.status, 200, "{update}: {}", answer.text());
    answer
}

/// Asks a user's bot to do these actions.
fn asked(update: u64, user: u64, actions: &Value) -> Value {
    text(update, user, &format!("do {actions}"))
}

/// A button pressed under a message of a private chat; its data are words for the bot.
fn pressed(update: u64, user: u64, message: u64, data: &str) -> Value {
    json!({"update_id": update, "callback_query": {"id": format!("q{update}"), "data": data,
        "chat_instance": "1", "from": {"id": user, "is_bot": false, "first_name": "Ann"},
        "message": {"message_id": message, "date": 1, "text": "old",
            "chat": {"id": user, "type": "private"}}}})
}

/// All calls, once there are so many.
async fn calls(api: &Api, count: usize) -> Vec<Call> {
    let what = format!("{count} calls");
    until(&what, SOON, || api.calls().len() >= count).await;
    api.calls()
}

/// The texts and captions that a chat shows.
fn texts(api: &Api, chat: &str) -> Vec<String> {
    let shown = api.shown(chat).into_iter();
    let text = |message: &Value| {
        let text = message.get("text").or(message.get("caption"));
        text.and_then(Value::as_str).unwrap_or("?").to_owned()
    };
    shown.map(|shown| text(&shown.message)).collect()
}
