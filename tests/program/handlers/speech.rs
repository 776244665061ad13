//! One list of what a turn can hear and say, with the same bot in Rust, Python and JavaScript:
//! `examples/commands.rs`, `commands.py`, `commands.mjs`. What is said must be the same to the
//! last field, whichever language says it.

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::has;
use crate::harness::bot::{Bot, Setup};
use crate::harness::client::{once, post};

/// The bot in each language that is there.
fn bots() -> Vec<Setup> {
    let mut bots = vec![Setup::commands_in_rust()];
    for (interpreter, file) in [("python3", "commands.py"), ("node", "commands.mjs")] {
        if has(interpreter) {
            bots.push(Setup::handled_by(file));
        }
    }
    bots
}

/// What a user is answered, who sends this.
async fn told(bot: &Bot, body: &Value) -> Value {
    let mut whole = json!({"user_id": "ann"});
    let (Value::Object(whole_fields), Value::Object(fields)) = (&mut whole, body) else {
        panic!("no object: {body}");
    };
    whole_fields.extend(fields.clone());
    let answer = once(bot.port, post("/http", whole.to_string())).await;
    match answer.status {
        200 => answer.json()["replies"].clone(),
        status => json!(status),
    }
}

/// A server of the web with one file, of so many bytes.
async fn file_server(bytes: usize) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = [0; 4096];
            drop(stream.read(&mut request).await);
            let head =
                format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {bytes}\r\n\r\n");
            let answer = [head.into_bytes(), vec![b'x'; bytes]].concat();
            drop(stream.write_all(&answer).await);
        }
    });
    format!("http://127.0.0.1:{port}/file")
}

/// What is sent, and what comes back.
fn list() -> Vec<(Value, Value)> {
    let text = |text: &str| json!({ "text": text });
    let more = json!({"label": "More", "data": "more"});
    let by_id = json!({"message": "7"});
    vec![
        (text("hi"), json!([{"text": "1: hi"}])),
        (text("many 2"), json!([{"text": "2.1"}, {"text": "2.2"}])),
        (
            text("rich **Tea** *or* coffee"),
            json!([{
                "text": "Tea or coffee",
                "spans": [
                    {"start": 0, "end": 3, "style": "bold"},
                    {"start": 4, "end": 6, "style": "italic"},
                ],
                "buttons": [
                    [
                        {"label": "Tea", "data": "tea"},
                        {"label": "Menu", "url": "https://example.org/menu"},
                    ],
                    more,
                ],
                "quote": by_id, "silent": true, "no_preview": true, "protected": true,
                "name": "menu",
            }]),
        ),
        (
            text("html <b>x</b> &lt;"),
            json!([{"text": "x <", "spans": [{"start": 0, "end": 1, "style": "bold"}]}]),
        ),
        // What no chat can show fails the turn, in each language.
        (text("html <table>"), json!(503)),
        (
            text("keys"),
            json!([{"text": "Pick", "keyboard": {"once": [
                [{"label": "One"}],
                [{"label": "Two"}, {"label": "Me", "request": "contact"}],
            ]}}]),
        ),
        (
            text("no keys"),
            json!([{"text": "Gone", "keyboard": "remove"}]),
        ),
        (
            text("photo https://example.org/1.jpg"),
            json!([{
                "text": "look",
                "files": [{"type": "photo", "url": "https://example.org/1.jpg"}],
                "buttons": [more],
            }]),
        ),
        (
            text("album"),
            json!([{"text": "look", "files": [
                {"type": "photo", "url": "https://example.org/1.jpg"},
                {"type": "document", "path": "/srv/2.pdf", "name": "two.pdf"},
                {"type": "voice", "id": "three"},
                {"type": "audio", "base64": "AP8=", "name": "4.mp3"},
            ]}]),
        ),
        (
            text("where"),
            json!([{"text": "",
                "location": {"latitude": 48.25, "longitude": -16.5, "title": "Café"}}]),
        ),
        (
            text("who"),
            json!([{"text": "", "contact": {"phone": "+43 1 234", "name": "Ann"}}]),
        ),
        (
            text("edit x"),
            json!([
                {"edit": "menu", "text": "x", "buttons": [more]},
                {"edit": by_id, "text": "x"},
            ]),
        ),
        // No button was pressed: it is a reply.
        (text("pressed x"), json!([{"text": "x"}])),
        (
            text("delete"),
            json!([{"delete": "menu", "text": ""}, {"delete": by_id, "text": ""}]),
        ),
        (text("toast x"), json!([{"toast": "x", "text": ""}])),
        (
            text("alert x"),
            json!([{"toast": "x", "alert": true, "text": ""}]),
        ),
        (
            text("call sendDice"),
            json!([
                {"call": "sendDice", "params": {"list": [1, null]}, "text": ""},
                {"call": "sendDice", "params": {"list": [1, null]}, "name": "dice", "text": ""},
            ]),
        ),
        (
            text("member 7"),
            json!([{"text": "no answer: the channel \"http\" has no methods to call"}]),
        ),
        (text("draft so far"), json!([{"text": "so far."}])),
        (text("dead"), json!([{"text": "0 dead"}])),
        (
            text("about a *b* c_d"),
            json!([{"text": "message||about a \\*b\\* c\\_d||||||"}]),
        ),
        (
            json!({"photo": "https://example.org/1.jpg", "text": "a cat"}),
            json!([{"text": "21: 1 photos, https://example.org/1.jpg, a cat"}]),
        ),
        (
            json!({"files": [
                {"type": "voice", "id": "v", "name": "a.ogg", "media_type": "audio/ogg", "size": 3},
                {"type": "video_note", "id": "n"},
            ]}),
            json!([{"text": "22: voice video_note, v, a.ogg, "}]),
        ),
        (
            json!({"location": {"latitude": 48.25, "longitude": -16.5, "title": "Café"}}),
            json!([{"text": "23: at 48.25 -16.5 Café"}]),
        ),
        (
            json!({"contact": {"phone": "+43 1 234", "name": "Ann"}}),
            json!([{"text": "24: contact +43 1 234 Ann"}]),
        ),
        (
            json!({"button": "tea"}),
            json!([{"text": "25: button tea"}]),
        ),
    ]
}

#[tokio::test]
async fn the_same_list_passes_in_each_language() {
    for setup in bots() {
        let bot = setup.args(&["--max-attempts", "9"]).start().await;
        for (body, expected) in list() {
            assert_eq!(
                told(&bot, &body).await,
                expected,
                "{body}: {}",
                bot.stderr()
            );
        }
        bot.stop().await;
    }
}

#[tokio::test]
async fn files_are_fetched_in_each_language() {
    let url = file_server(700).await;
    let large = file_server(2000).await;
    for setup in bots() {
        let bot = setup.start().await;
        let saved = bot.setup.path("saved");
        let send = |text: String, url: &str| json!({"text": text, "files": [{"type": "document", "url": url}]});
        let fetch = || "fetch".to_owned();
        let save = || format!("save {}", saved.display());
        for (body, expected) in [
            (send(fetch(), &url), "700 bytes".to_owned()),
            (
                send(fetch(), &large),
                "no file: the file has more than 1000 bytes".to_owned(),
            ),
            (
                send(save(), &large),
                "no file: the file has more than 1000 bytes".to_owned(),
            ),
            (send(save(), &url), "700 bytes".to_owned()),
            (
                send(save(), &url),
                format!(
                    "no file: cannot write {}: File exists (os error 17)",
                    saved.display()
                ),
            ),
        ] {
            let said = told(&bot, &body).await;
            assert_eq!(said[0]["text"], expected, "{body}: {}", bot.stderr());
        }
        let bytes = std::fs::read(&saved).expect("the file");
        assert_eq!(bytes, vec![b'x'; 700]);
        bot.stop().await;
    }
}
