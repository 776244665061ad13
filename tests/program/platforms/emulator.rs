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
        self.presses_under(user, 1, data).await;
    }

    /// Presses a button under the message with this number.
    async fn presses_under(&self, user: u64, message: u64, data: &str) {
        let mut query = self.common(user);
        query["message"] = json!({"message_id": message, "chat": query["chat"]});
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

    /// The bot's messages that a user's chat shows, as they are now: each one's number, and what
    /// is in it.
    async fn shown(&self, user: u64) -> Vec<(u64, Value)> {
        let all = self
            .ask("/getUpdatesHistory", json!({ "token": TOKEN }))
            .await;
        let all = all["result"].as_array().expect("a list").iter();
        // A bot says where by `chat_id`, a user by `chat`.
        let of_bot = all.filter(|one| one["message"]["chat_id"] == json!(user.to_string()));
        of_bot
            .map(|one| {
                let number = one["messageId"].as_u64().expect("a number");
                (number, one["message"].clone())
            })
            .collect()
    }

    /// Waits until a user's chat shows one message of the bot's, with this text.
    async fn shows(&self, user: u64, text: &str) -> (u64, Value) {
        let deadline = std::time::Instant::now() + SOON;
        loop {
            let mut shown = self.shown(user).await;
            if shown.len() == 1 && shown[0].1["text"] == text {
                return shown.remove(0);
            }
            assert!(std::time::Instant::now() < deadline, "it shows {shown:?}");
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
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

/// The desk's menu; the package has no groups with topics.
async fn has_a_menu(emulator: &Emulator) {
    const WELCOME: &str = "Write what you would like to know, or send a photo or a document.";
    emulator.says(7, "/start").await;
    let (number, menu) = emulator.shows(7, WELCOME).await;
    assert_eq!(buttons(&menu), ["languages"]);
    emulator.presses_under(7, number, "languages").await;
    let (same, languages) = emulator.shows(7, "Language").await;
    assert_eq!(same, number);
    let data = ["language en", "language de", "menu"];
    assert_eq!(buttons(&languages), data);
    emulator.presses_under(7, number, "language de").await;
    const WILLKOMMEN: &str =
        "Schreiben Sie uns, was Sie wissen möchten, oder schicken Sie ein Foto oder ein Dokument.";
    emulator.shows(7, WILLKOMMEN).await;
    emulator.presses_under(7, number, "language en").await;
    emulator.shows(7, WELCOME).await;
    // The next one takes its place.
    emulator.says(7, "/start").await;
    let deadline = std::time::Instant::now() + SOON;
    while emulator.shows(7, WELCOME).await.0 == number {
        assert!(std::time::Instant::now() < deadline, "the first one stays");
    }
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

#[tokio::test]
async fn the_desk_by_webhook() {
    let Some(emulator) = Emulator::start() else {
        return;
    };
    let bot = by_webhook(&emulator, Setup::desk().env("DESK_GROUP", "-1009")).await;
    has_a_menu(&emulator).await;
    bot.stop().await.assert_sound();
}

#[tokio::test]
async fn the_desk_by_polling() {
    let Some(emulator) = Emulator::start() else {
        return;
    };
    let bot = by_polling(&emulator, Setup::desk().env("DESK_GROUP", "-1009")).await;
    has_a_menu(&emulator).await;
    bot.stop().await.assert_sound();
}
