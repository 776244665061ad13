//! A support desk on Telegram: customers write to the bot in private, and the people who answer
//! sit in a group with topics, one topic for each customer.
//!
//! It has what a larger bot has: a menu that is changed in place, languages, files both ways, a
//! group, a table of its own. Nothing here thinks of crashes, of messages that come twice or of
//! two people at the same moment. `handlers/desk.py` and `handlers/desk.mjs` are the same bot in
//! Python and JavaScript.
//!
//! ```sh
//! DESK_GROUP=-1001234567890 TURNKEY_TELEGRAM_TOKEN=12345:ABC… cargo run --example desk -- run \
//!   --storage sqlite:desk.db
//! ```
//!
//! The bot must be an administrator of that group who may manage topics. Something for all
//! customers, while the bot runs:
//!
//! ```sh
//! turnkey broadcast --storage sqlite:desk.db --channel telegram \
//!   --where 'user_id IN (SELECT customer FROM topics)' --text 'We are closed on Monday.'
//! ```

use std::process::ExitCode;

use serde::{Deserialize, Serialize};
use serde_json::json;
use turnkey::{App, Attachment, Button, ChatKind, Kind, Reply, Turn};

/// Which topic is whose.
const MIGRATIONS: [&str; 1] = ["CREATE TABLE topics (
        topic VARCHAR(20) PRIMARY KEY,
        customer VARCHAR(64) NOT NULL UNIQUE
    )"];

/// What the desk says, in its languages.
struct Words {
    name: &'static str,
    welcome: &'static str,
    language: &'static str,
    saved: &'static str,
    back: &'static str,
    received: &'static str,
}

const LANGUAGES: [(&str, Words); 2] = [
    (
        "en",
        Words {
            name: "English",
            welcome: "Write what you would like to know, or send a photo or a document.",
            language: "Language",
            saved: "Saved",
            back: "Back",
            received: "Thank you. Somebody will answer here.",
        },
    ),
    (
        "de",
        Words {
            name: "Deutsch",
            welcome: "Schreiben Sie uns, was Sie wissen möchten, oder schicken Sie ein Foto oder ein Dokument.",
            language: "Sprache",
            saved: "Gespeichert",
            back: "Zurück",
            received: "Danke. Sie bekommen hier Antwort.",
        },
    ),
];

/// What the desk remembers of a customer.
#[derive(Default, Serialize, Deserialize)]
struct Customer {
    language: Option<String>,
    /// The topic in which they are answered.
    topic: Option<String>,
}

impl Customer {
    fn words(&self) -> &'static Words {
        let language = self.language.as_deref().unwrap_or("en");
        let found = LANGUAGES.iter().find(|(code, _)| *code == language);
        &found.unwrap_or(&LANGUAGES[0]).1
    }
}

async fn answer(turn: &mut Turn<Customer>, group: &str) -> turnkey::Result<()> {
    let chat = turn.chat().cloned().unwrap_or_default();
    if chat.kind != ChatKind::Private {
        return match chat.topic {
            Some(topic) if chat.id == group => to_customer(turn, &topic).await,
            // Another group, or talk beside the topics.
            _ => Ok(()),
        };
    }
    // They opened the chat, or blocked the bot.
    if !matches!(turn.kind(), Kind::Message | Kind::Button) {
        return Ok(());
    }
    if turn.state.language.is_none() {
        let language = turn.sender().and_then(|sender| sender.language.clone());
        turn.state.language = language;
    }
    match turn.button().map(str::to_owned).as_deref() {
        Some("languages") => {
            let rows = LANGUAGES
                .iter()
                .map(|(code, words)| [Button::new(words.name, format!("language {code}"))]);
            let menu = rows.fold(Reply::from(turn.state.words().language), Reply::row);
            let back = Button::new(turn.state.words().back, "menu");
            turn.edit_pressed(menu.row([back]));
        }
        Some("menu") => turn.edit_pressed(menu(turn.state.words())),
        Some(pressed) => {
            if let Some(language) = pressed.strip_prefix("language ") {
                turn.state.language = Some(language.to_owned());
                turn.toast(turn.state.words().saved);
                turn.edit_pressed(menu(turn.state.words()));
            }
        }
        None if turn.command() == Some("start") => {
            // One menu at a time.
            turn.delete("menu");
            turn.reply(menu(turn.state.words()).named("menu"));
        }
        None => to_group(turn, group).await?,
    }
    Ok(())
}

fn menu(words: &Words) -> Reply {
    Reply::markup(format!("**{}**", words.welcome)).row([Button::new(words.language, "languages")])
}

/// What a customer says is copied into their topic.
async fn to_group(turn: &mut Turn<Customer>, group: &str) -> turnkey::Result<()> {
    let topic = match turn.state.topic.clone() {
        Some(topic) => topic,
        None => open_topic(turn, group).await?,
    };
    let message: i64 = turn.update().message.parse()?;
    let topic: i64 = topic.parse()?;
    let from = turn.update().address.clone();
    turn.call(
        "copyMessage",
        json!({
            "chat_id": group, "message_thread_id": topic,
            "from_chat_id": from, "message_id": message,
        }),
    );
    turn.reply(Reply::from(turn.state.words().received).silent());
    Ok(())
}

/// Opens a topic for a customer who has none.
async fn open_topic(turn: &mut Turn<Customer>, group: &str) -> turnkey::Result<String> {
    let user = turn.user_id().to_owned();
    let name = turn.sender().map_or("", |sender| &sender.name);
    let name = format!("{name} ({user})");
    // It is opened at once. Should this turn fail after that, the next attempt opens another
    // one: the first stays empty, and nothing is lost.
    let opened = turn
        .ask(
            "createForumTopic",
            json!({ "chat_id": group, "name": name }),
        )
        .await?;
    let topic = opened["message_thread_id"].to_string();
    turn.execute(
        "INSERT INTO topics (topic, customer) VALUES (?1, ?2)",
        (topic.as_str(), user.as_str()),
    );
    turn.state.topic = Some(topic.clone());
    Ok(topic)
}

/// What is said in a topic goes to its customer.
async fn to_customer(turn: &mut Turn<Customer>, topic: &str) -> turnkey::Result<()> {
    let rows = turn
        .query("SELECT customer FROM topics WHERE topic = ?1", [topic])
        .await?;
    let Some(row) = rows.first() else {
        return Ok(());
    };
    let customer: String = row.get("customer")?;
    let files = turn.files().iter().filter_map(|file| {
        let id = file.id.as_deref()?;
        Some(Attachment::id(file.kind, id))
    });
    let files: Vec<_> = files.collect();
    if turn.text().is_empty() && files.is_empty() {
        return Ok(());
    }
    let mut reply = Reply::markup(turn.markup());
    reply.files = files;
    turn.send_to("telegram", customer, reply);
    Ok(())
}

fn main() -> ExitCode {
    let Ok(group) = std::env::var("DESK_GROUP") else {
        eprintln!("set DESK_GROUP to the id of the group with topics, such as -1001234567890");
        return ExitCode::from(2);
    };
    let group: &'static str = Box::leak(group.into_boxed_str());
    App::new(async move |turn: &mut Turn<Customer>| answer(turn, group).await)
        .migrations(MIGRATIONS)
        .run()
}
