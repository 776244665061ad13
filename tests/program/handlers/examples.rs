//! The examples in other languages, as they are: the same conversation as with the bot in
//! Rust (`turns/booking.rs`), and many users who wait for a slow language model at once.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use serde_json::json;

use crate::harness::bot::{Bot, Setup};
use crate::harness::client::{begin, join, once, post, say};
use crate::harness::programs::has;
use crate::harness::server::{Kind, TestServer};

/// Who asks the model at once.
const USERS: usize = 200;

async fn presses(bot: &Bot, visitor: &str, button: &str) -> Vec<String> {
    let body = json!({ "user_id": visitor, "button": button });
    once(bot.port, post("/http", body.to_string()))
        .await
        .replies()
}

async fn books(setup: Setup) {
    let setup = setup.env("BOOKING_CALENDAR_MS", "1");
    let bot = setup.args(&["--workers", "2"]).start().await;
    let asked = say(bot.port, "ann", "hello").await;
    assert_eq!(asked.replies(), ["When would you like to come?"]);
    assert_eq!(asked.buttons().len(), 4);
    let booked = presses(&bot, "ann", "book Mon 11:00").await;
    assert_eq!(booked[0], "Mon 11:00 is yours.");
    assert_eq!(
        presses(&bot, "ann", "book Tue 10:00").await,
        ["You have Mon 11:00."]
    );
    let strange = presses(&bot, "bob", "book Sun 10:00").await;
    assert_eq!(strange, ["Somebody was quicker. What about another hour?"]);
    let left = say(bot.port, "bob", "hello").await;
    assert_eq!(
        left.buttons(),
        ["book Mon 10:00", "book Tue 10:00", "book Tue 11:00"]
    );
    let cancelled = presses(&bot, "ann", "cancel Mon 11:00").await;
    assert_eq!(cancelled, ["Mon 11:00 is cancelled."]);
    bot.stop().await;
}

#[tokio::test]
async fn booking_is_the_same_bot_in_each_language() {
    for (interpreter, file) in [("python3", "booking.py"), ("node", "booking.mjs")] {
        if !has(interpreter) {
            continue;
        }
        books(Setup::example_in(file)).await;
        if let Some(server) = TestServer::shared(Kind::Postgres) {
            let database = server.create().await;
            books(Setup::example_in(file).on(server.url(&database))).await;
        }
    }
}

#[tokio::test]
async fn counters_count_in_each_language() {
    for (interpreter, words) in [
        ("python3", &["counter.py"][..]),
        ("node", &["counter.mjs"]),
        ("ruby", &["--", "ruby", "counter.rb"]),
    ] {
        if !has(interpreter) {
            continue;
        }
        let setup = match words {
            [file] => Setup::example_in(file),
            _ => {
                let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/handlers/");
                Setup::handled(&["--", "ruby", &format!("{folder}counter.rb")])
            }
        };
        let bot = setup.start().await;
        assert_eq!(say(bot.port, "ann", "hi").await.replies(), ["1: hi"]);
        assert_eq!(say(bot.port, "ann", "ho").await.replies(), ["2: ho"]);
        bot.stop().await.assert_sound();
    }
}

/// A language model that takes its time; ended with the test.
struct Model {
    program: Child,
    url: String,
}

impl Model {
    fn start() -> Self {
        let script = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../examples/handlers/fake_model.py"
        );
        let mut program = Command::new("python3")
            .args([script, "0"])
            .env("PYTHONUNBUFFERED", "1")
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3");
        let mut line = String::new();
        let out = program.stdout.take().expect("it is piped");
        BufReader::new(out).read_line(&mut line).expect("a line");
        let url = line
            .split_whitespace()
            .find(|word| word.starts_with("http://"));
        let url = url
            .unwrap_or_else(|| panic!("no address in {line:?}"))
            .to_owned();
        Model { program, url }
    }
}

impl Drop for Model {
    fn drop(&mut self) {
        self.program.kill().unwrap_or(());
        drop(self.program.wait());
    }
}

#[tokio::test]
async fn many_users_wait_for_a_model_in_one_process() {
    if !has("python3") {
        return;
    }
    let model = Model::start();
    let setup = Setup::example_in("streaming.py").env("MODEL_URL", &model.url);
    let bot = setup.start().await;
    let began = Instant::now();
    let mut asked = Vec::new();
    for user in 0..USERS {
        asked.push(begin(bot.port, &format!("user-{user}"), "what is this all about").await);
    }
    for answer in asked {
        let answer = join(answer).await.expect("an answer");
        assert_eq!(answer.replies(), ["You said: what is this all about"]);
    }
    // Seven words of 100 ms each: one after another they would take minutes.
    assert!(began.elapsed().as_secs() < 60, "{:?}", began.elapsed());
    bot.stop().await.assert_sound();
}
