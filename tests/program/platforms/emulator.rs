//! A second opinion: the examples against somebody else's idea of Telegram, the npm
//! package that `scripts/emulator` installs, by webhook and by polling. Skipped, and
//! said so, where it cannot be installed.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};

use serde_json::{Value, json};

use crate::harness::bot::{Bot, SOON, Setup, skipped};
use crate::harness::client::{once, post};

const TOKEN: &str = "12345:secret-of-the-bot";

/// Serves until it is dropped.
struct Emulator {
    port: u16,
    child: Child,
    /// It leaves when this ends.
    input: Option<ChildStdin>,
    ids: std::cell::Cell<u64>,
}

impl Emulator {
    fn start() -> Option<Self> {
        let script =
            Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../..")).join("scripts/emulator");
        let mut child = Command::new(script)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a shell");
        let mut url = String::new();
        let mut output = BufReader::new(child.stdout.take().expect("piped"));
        output.read_line(&mut url).expect("text");
        let port = url
            .trim()
            .rsplit_once(':')
            .and_then(|(_, port)| port.parse().ok());
        let Some(port) = port else {
            drop(child.wait());
            skipped("the emulator tests, since it could not be installed (see above)");
            return None;
        };
        let input = child.stdin.take();
        let ids = std::cell::Cell::new(0);
        Some(Emulator {
            port,
            child,
            input,
            ids,
        })
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// A bot that takes this for Telegram.
    fn configure(&self, setup: Setup) -> Setup {
        let setup = setup.args(&["--telegram-api-url", &self.url()]);
        setup.env("TURNKEY_TELEGRAM_TOKEN", TOKEN)
    }

    async fn ask(&self, path: &str, body: Value) -> Value {
        let answer = once(self.port, post(path, body.to_string())).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        answer.json()
    }

    fn common(&self, user: u64) -> Value {
        self.ids.set(self.ids.get() + 1);
        json!({"botToken": TOKEN, "date": 1_700_000_000 + self.ids.get(),
            "from": {"id": user, "first_name": "Ann", "is_bot": false},
            "chat": {"id": user, "first_name": "Ann", "type": "private"}})
    }

    async fn says(&self, user: u64, text: &str) {
        let mut message = self.common(user);
        message["text"] = text.into();
        self.ask("/sendMessage", message).await;
    }

    async fn presses(&self, user: u64, data: &str) {
        let mut query = self.common(user);
        query["message"] = json!({"message_id": 1, "chat": query["chat"]});
        query["data"] = data.into();
        self.ask("/sendCallback", query).await;
    }

    /// The next messages that the bot sends to a user, so many.
    async fn hears(&self, user: u64, count: usize) -> Vec<Value> {
        let mut heard = Vec::new();
        let deadline = std::time::Instant::now() + SOON;
        while heard.len() < count {
            assert!(
                std::time::Instant::now() < deadline,
                "user {user} heard only {heard:?}"
            );
            let question = json!({"token": TOKEN, "chatId": user});
            let new = self.ask("/getUpdates", question).await;
            let new = new["result"].as_array().cloned().expect("a list");
            heard.extend(new.into_iter().map(|update| update["message"].clone()));
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        assert_eq!(heard.len(), count, "{heard:?}");
        heard
    }

    async fn hears_text(&self, user: u64) -> String {
        let message = self.hears(user, 1).await.remove(0);
        message["text"].as_str().expect("a text").to_owned()
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        drop(self.input.take());
        drop(self.child.wait());
    }
}

fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address").port()
}

/// The data of a message's buttons, one in a row.
fn buttons(message: &Value) -> Vec<&str> {
    let rows = message["reply_markup"]["inline_keyboard"].as_array();
    let rows = rows.into_iter().flatten();
    rows.filter_map(|row| row[0]["callback_data"].as_str())
        .collect()
}

/// Registered by the bot itself, which is all there is to do.
async fn by_webhook(emulator: &Emulator, setup: Setup) -> Bot {
    // It has to know its address before it has one.
    let port = free_port();
    let setup = setup.without_port().args(&["--port", &port.to_string()]);
    let address = format!("http://127.0.0.1:{port}");
    let setup = emulator.configure(setup.args(&["--public-url", &address, "-v"]));
    let bot = setup.start().await;
    bot.wait_for_stderr("posts to").await;
    bot
}

/// With nothing but a token.
async fn by_polling(emulator: &Emulator, setup: Setup) -> Bot {
    emulator.configure(setup.without_port()).start().await
}

async fn echoes(emulator: &Emulator) {
    for n in 0..20 {
        let text = format!("hello {n}, привет 😀");
        emulator.says(7 + n % 2, &text).await;
        assert_eq!(emulator.hears_text(7 + n % 2).await, text);
    }
}

async fn books(emulator: &Emulator) {
    emulator.says(7, "hello").await;
    let asked = emulator.hears(7, 1).await.remove(0);
    assert_eq!(asked["text"], "When would you like to come?");
    let offered = buttons(&asked);
    assert_eq!(offered.len(), 4);
    emulator.presses(7, offered[0]).await;
    let told = emulator.hears(7, 2).await;
    assert_eq!(told[0]["text"], "Mon 10:00 is yours.");
    emulator.says(8, "hello").await;
    let asked = emulator.hears(8, 1).await.remove(0);
    assert_eq!(buttons(&asked), offered[1..]);
    emulator.presses(8, offered[0]).await;
    assert!(
        emulator
            .hears_text(8)
            .await
            .starts_with("Somebody was quicker.")
    );
    emulator.says(7, "when?").await;
    let asked = emulator.hears(7, 1).await.remove(0);
    assert_eq!(asked["text"], "You have Mon 10:00.");
    emulator.presses(7, buttons(&asked)[0]).await;
    assert_eq!(emulator.hears_text(7).await, "Mon 10:00 is cancelled.");
}

#[tokio::test]
async fn the_echo_bot_by_webhook() {
    let Some(emulator) = Emulator::start() else {
        return;
    };
    let bot = by_webhook(&emulator, Setup::echo()).await;
    echoes(&emulator).await;
    bot.stop().await.assert_sound();
}

#[tokio::test]
async fn the_booking_bot_by_webhook() {
    let Some(emulator) = Emulator::start() else {
        return;
    };
    let setup = Setup::booking().env("BOOKING_CALENDAR_MS", "200");
    let bot = by_webhook(&emulator, setup).await;
    books(&emulator).await;
    bot.stop().await.assert_sound();
}

#[tokio::test]
async fn the_echo_bot_by_polling() {
    let Some(emulator) = Emulator::start() else {
        return;
    };
    let bot = by_polling(&emulator, Setup::echo()).await;
    echoes(&emulator).await;
    bot.stop().await.assert_sound();
}

#[tokio::test]
async fn the_booking_bot_by_polling() {
    let Some(emulator) = Emulator::start() else {
        return;
    };
    let setup = Setup::booking().env("BOOKING_CALENDAR_MS", "200");
    let bot = by_polling(&emulator, setup).await;
    books(&emulator).await;
    bot.stop().await.assert_sound();
}
