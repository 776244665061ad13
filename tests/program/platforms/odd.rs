//! Whatever is posted, rightly signed, to a running bot: the answer is never 5xx, no
//! process dies, nothing panics. All channels and `/rpc`; the parsers alone get random
//! bytes in `src/channels/tests/`.

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::Full;
use hyper::Request;
use serde_json::{Value, json};

use crate::harness::api::{Api, FACEBOOK_SECRET, VIBER_TOKEN, VK_SECRET};
use crate::harness::client::{Connection, join, post};
use crate::harness::engine::Engine;
use crate::platforms::webhooks::signature;

const RPC_TOKEN: &str = "token of the shop";

/// Stands in a template where something odd goes; never a part of JSON.
const HERE: &str = "\u{1}HERE\u{1}";

/// What a value may be in JSON's own words, and more than one would think of.
fn oddities() -> Vec<String> {
    let long = "x".repeat(5000);
    let mut odd: Vec<String> = [
        "null",
        "true",
        "0",
        "-0",
        "-1",
        "1e308",
        "1e400",
        "-1e-400",
        "0.1",
        "9007199254740993",
        "18446744073709551615",
        "18446744073709551616",
        "-9223372036854775809",
        "123456789012345678901234567890123456789012345678901234567890",
        "\"\"",
        "\" \"",
        r#""\u0000""#,
        r#""a\u0000b""#,
        r#""\ud800""#,
        r#""\udc00\ud800""#,
        r#""\uffff""#,
        "\"😀\u{202e}\u{feff}\"",
        "\"\u{7f}\u{80}\"",
        "[]",
        "{}",
        "[null]",
        "[[[[]]]]",
        r#"{"":{"":""}}"#,
        r#"{"id":1,"id":2}"#,
        r#"{"id":{"id":{"id":1}}}"#,
        "NaN",
        "'x'",
        "",
    ]
    .map(str::to_owned)
    .to_vec();
    odd.push(format!("\"{long}\""));
    odd.push(format!("{}{}", "[".repeat(120), "]".repeat(120)));
    odd.push(format!("{}{}", "[".repeat(2_000), "]".repeat(2_000)));
    odd.push("{\"a\":".repeat(2_000));
    odd.push("7".repeat(5000));
    odd
}

/// Bodies that are not the platforms' at all.
fn bodies() -> Vec<Bytes> {
    let mut all: Vec<Bytes> = oddities().into_iter().map(Bytes::from).collect();
    all.push(Bytes::from_static(b"\xff\xfe\x00"));
    all.push(Bytes::from_static(b"{\"\xc3\x28\":1}"));
    all.push(Bytes::from_static(b"\xef\xbb\xbf{}"));
    all.push(Bytes::from(vec![0; 70_000]));
    let mut random = fastrand::Rng::with_seed(3);
    for length in [1, 7, 100, 1000] {
        all.push((0..length).map(|_| random.u8(..)).collect());
    }
    all
}

/// A body with a hole in each place of a sample, one after another.
fn templates(sample: &Value) -> Vec<String> {
    fn places(value: &Value, path: &str, found: &mut Vec<String>) {
        found.push(path.to_owned());
        match value {
            Value::Object(fields) => {
                for (name, value) in fields {
                    places(value, &format!("{path}/{name}"), found);
                }
            }
            Value::Array(items) => {
                for (index, value) in items.iter().enumerate() {
                    places(value, &format!("{path}/{index}"), found);
                }
            }
            _ => {}
        }
    }
    let mut found = Vec::new();
    places(sample, "", &mut found);
    let hole = serde_json::to_string(HERE).expect("a string");
    let with_hole = |path: &String| {
        let mut sample = sample.clone();
        *sample.pointer_mut(path).expect("it is there") = HERE.into();
        sample.to_string().replace(&hole, HERE)
    };
    found.iter().map(with_hole).collect()
}

/// Where to post, and samples of what is posted there.
fn targets() -> Vec<(&'static str, Vec<Value>)> {
    let message = json!({"message_id": 1, "date": 1_700_000_000, "text": "hi",
        "from": {"id": 1, "is_bot": false}, "chat": {"id": 1, "type": "private"}});
    let photo = json!({"message_id": 1, "chat": {"id": 1}, "caption": "a cat",
        "photo": [{"file_id": "x", "width": 1, "height": 1}]});
    let vk = |message: Value| {
        json!({"group_id": 1, "type": "message_new", "event_id": "e", "v": "5.199",
            "object": {"message": message, "client_info": {}}, "secret": VK_SECRET})
    };
    vec![
        (
            "/http",
            vec![
                json!({"user_id": "ann", "text": "hi", "id": "1"}),
                json!({"user_id": "ann", "button": "x"}),
                json!({"user_id": "ann", "photo": "https://example.org/1.jpg"}),
            ],
        ),
        (
            "/telegram",
            vec![
                json!({"update_id": 1, "message": message}),
                json!({"update_id": 1, "edited_message": photo}),
                json!({"update_id": 1, "callback_query": {"id": "q", "from": {"id": 1},
                    "message": {"message_id": 1, "chat": {"id": 1}}, "data": "x"}}),
            ],
        ),
        (
            "/viber",
            vec![
                json!({"event": "message", "timestamp": 1, "message_token": 1,
                    "sender": {"id": "u", "name": "x"}, "message": {"type": "text", "text": "hi",
                    "tracking_data": "x"}}),
                json!({"event": "message", "timestamp": 1, "message_token": 1,
                    "sender": {"id": "u"}, "message": {"type": "picture", "media": "x"}}),
                json!({"event": "conversation_started", "timestamp": 1, "message_token": 1,
                    "type": "open", "context": "x", "user": {"id": "u"}, "subscribed": false}),
                json!({"event": "failed", "message_token": 1, "user_id": "u", "desc": "x"}),
            ],
        ),
        (
            "/facebook",
            vec![
                json!({"object": "page", "entry": [{"id": "1", "time": 1, "messaging": [
                    {"sender": {"id": "u"}, "recipient": {"id": "1"}, "timestamp": 1,
                        "message": {"mid": "m", "text": "hi", "quick_reply": {"payload": "x"},
                        "attachments": [{"type": "image", "payload": {"url": "x"}}]}},
                    {"sender": {"id": "u"}, "timestamp": 1, "postback": {"title": "x", "payload": "x"}}
                ]}]}),
            ],
        ),
        (
            "/vk",
            vec![
                vk(
                    json!({"date": 1, "from_id": 1, "id": 1, "peer_id": 1, "text": "hi",
                    "payload": "{\"button\":\"x\"}", "attachments": [{"type": "photo",
                    "photo": {"id": 5, "owner_id": 7, "access_key": "k",
                    "sizes": [{"url": "x", "width": 1, "height": 1}]}}]}),
                ),
                json!({"type": "confirmation", "group_id": 1}),
            ],
        ),
        (
            "/rpc/telegram/USER",
            vec![json!({"jsonrpc": "2.0", "id": "1", "method": "paid", "params": {"order": 1}})],
        ),
        (
            "/rpc/vk/%00%ff",
            vec![json!({"jsonrpc": "2.0", "id": 1, "method": "paid", "params": [1]})],
        ),
    ]
}

/// As the platform would post it.
fn signed(path: &str, body: Bytes) -> Request<Full<Bytes>> {
    let signatures = [
        ("x-viber-content-signature", signature(VIBER_TOKEN, &body)),
        (
            "x-hub-signature-256",
            format!("sha256={}", signature(FACEBOOK_SECRET, &body)),
        ),
        ("authorization", format!("Bearer {RPC_TOKEN}")),
    ];
    let mut request = post(path, body);
    for (name, value) in signatures {
        let value = value.parse().expect("a header");
        request.headers_mut().insert(name, value);
    }
    request
}

async fn nothing_odd_is_our_fault(engine: Engine) {
    let api = Api::start();
    // Replies are of no interest here, and platforms take them slowly.
    let setup = engine
        .setup()
        .await
        .0
        .args(&["--workers", "2", "--max-turns", "100000"]);
    let setup = setup.env("TURNKEY_RPC_TOKEN", RPC_TOKEN);
    let bot = api.configure(setup).start().await;
    let workers = [bot.worker(0).await, bot.worker(1).await];
    let oddities = Arc::new(oddities());
    let mut tasks = Vec::new();
    for (path, samples) in targets() {
        let (oddities, port) = (oddities.clone(), bot.port);
        tasks.push(tokio::spawn(async move {
            let mut connection = Connection::open(port).await;
            let mut all = bodies();
            for template in samples.iter().flat_map(templates) {
                all.extend(
                    oddities
                        .iter()
                        .map(|odd| Bytes::from(template.replace(HERE, odd))),
                );
            }
            let mut faults = Vec::new();
            for (n, body) in all.iter().enumerate() {
                // Another user and update each time, where the sample's are left.
                let text = String::from_utf8_lossy(body).into_owned();
                let body = match std::str::from_utf8(body) {
                    Ok(_) => Bytes::from(others(&text, n)),
                    Err(_) => body.clone(),
                };
                let path = path.replace("USER", &n.to_string());
                // Closed: refused before the body was read.
                let Ok(answer) = connection.try_send(signed(&path, body)).await else {
                    connection = Connection::open(port).await;
                    continue;
                };
                if answer.status >= 500 {
                    let text: String = text.chars().take(300).collect();
                    faults.push(format!(
                        "{path}: {} {}: {text}",
                        answer.status,
                        answer.text()
                    ));
                }
            }
            (path, all.len(), faults)
        }));
    }
    let mut faults = Vec::new();
    for task in tasks {
        let (path, sent, found) = join(task).await;
        assert!(sent > 100, "{path}");
        faults.extend(found);
    }
    let now = [bot.worker(0).await, bot.worker(1).await];
    assert_eq!(now, workers, "a worker died");
    assert!(!bot.stderr().contains("panicked"));
    assert!(
        faults.is_empty(),
        "{} faults: {:#?}",
        faults.len(),
        &faults[..faults.len().min(10)]
    );
    bot.kill_all().await;
}

/// The same body with other users and updates.
fn others(body: &str, n: usize) -> String {
    let n = n + 1000;
    body.replace("\"ann\"", &format!("\"ann {n}\""))
        .replace("\"from\":{\"id\":1", &format!("\"from\":{{\"id\":{n}"))
        .replace("\"chat\":{\"id\":1", &format!("\"chat\":{{\"id\":{n}"))
        .replace("\"update_id\":1", &format!("\"update_id\":{n}"))
        .replace("\"message_token\":1", &format!("\"message_token\":{n}"))
        .replace("{\"id\":\"u\"", &format!("{{\"id\":\"u{n}\""))
        .replace("\"mid\":\"m\"", &format!("\"mid\":\"m{n}\""))
        .replace("\"event_id\":\"e\"", &format!("\"event_id\":\"e{n}\""))
        .replace("\"from_id\":1", &format!("\"from_id\":{n}"))
        .replace("\"peer_id\":1", &format!("\"peer_id\":{n}"))
        .replace("\"id\":\"1\"", &format!("\"id\":\"{n}\""))
}

#[tokio::test]
async fn on_sqlite() {
    nothing_odd_is_our_fault(Engine::Sqlite).await;
}

#[tokio::test]
async fn on_postgres() {
    // None: it has said why it cannot run here.
    if let Some(engine) = Engine::postgres() {
        nothing_odd_is_our_fault(engine).await;
    }
}
