//! Viber, Facebook and VK: real requests in, real calls out, duplicates, forgeries,
//! batches, photos and buttons.

use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use http_body_util::Full;
use hyper::Request;
use serde_json::{Value, json};
use sha2::Sha256;

use crate::harness::api::{Api, Call, FACEBOOK_SECRET, Mood, VIBER_TOKEN, VK_SECRET};
use crate::harness::bot::{Bot, SOON, Setup, until};
use crate::harness::client::{Answer, once, post};

/// The page that Facebook's token is of.
pub(crate) const PAGE: &str = "1067280970047460";

/// HMAC-SHA256 in hex.
pub(crate) fn signature(key: &str, bytes: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(key.as_bytes()).expect("any key");
    mac.update(bytes);
    hex::encode(mac.finalize().into_bytes())
}

/// A request with one more header.
pub(super) fn with(
    path: &str,
    body: impl Into<Bytes>,
    name: &'static str,
    value: &str,
) -> Request<Full<Bytes>> {
    let mut request = post(path, body);
    let value = value.parse().expect("a header");
    request.headers_mut().insert(name, value);
    request
}

pub(crate) fn viber(event: &Value) -> Request<Full<Bytes>> {
    let body = event.to_string();
    let signature = signature(VIBER_TOKEN, body.as_bytes());
    with("/viber", body, "x-viber-content-signature", &signature)
}

pub(crate) fn viber_message(token: u64, user: &str, message: Value) -> Value {
    json!({"event": "message", "timestamp": 1_457_764_197_627_u64, "message_token": token,
        "sender": {"id": user, "name": "John", "language": "en", "api_version": 1},
        "message": message})
}

pub(crate) fn viber_text(token: u64, user: &str, text: &str) -> Value {
    viber_message(token, user, json!({"type": "text", "text": text}))
}

pub(crate) fn facebook(body: impl Into<Bytes>) -> Request<Full<Bytes>> {
    let body = body.into();
    let signature = format!("sha256={}", signature(FACEBOOK_SECRET, &body));
    with("/facebook", body, "x-hub-signature-256", &signature)
}

/// A batch with one entry for each event.
pub(crate) fn batch(events: &[Value]) -> String {
    let entry = |event: &Value| json!({"id": PAGE, "time": 1, "messaging": [event]});
    let entries: Vec<_> = events.iter().map(entry).collect();
    json!({"object": "page", "entry": entries}).to_string()
}

pub(crate) fn facebook_event(user: &str, fields: Value) -> Value {
    let mut event = json!({"sender": {"id": user}, "recipient": {"id": PAGE},
        "timestamp": 1_762_902_671_768_u64});
    for (name, value) in fields.as_object().expect("an object") {
        event[name] = value.clone();
    }
    event
}

pub(crate) fn facebook_text(mid: &str, user: &str, text: &str) -> Value {
    facebook_event(user, json!({"message": {"mid": mid, "text": text}}))
}

pub(crate) fn vk_event(kind: &str, id: &str, object: Value) -> Request<Full<Bytes>> {
    let body = json!({"group_id": 1, "type": kind, "event_id": id, "v": "5.199",
        "object": object, "secret": VK_SECRET});
    post("/vk", body.to_string())
}

pub(crate) fn vk_message(id: &str, user: u64, fields: Value) -> Request<Full<Bytes>> {
    let mut message = json!({"date": 1_700_000_000, "from_id": user, "id": 1, "peer_id": user,
        "conversation_message_id": 1, "text": "", "attachments": []});
    for (name, value) in fields.as_object().expect("an object") {
        message[name] = value.clone();
    }
    vk_event(
        "message_new",
        id,
        json!({"message": message, "client_info": {}}),
    )
}

/// The request in which VK posts a message of a user.
pub(crate) fn vk(id: &str, user: u64, text: &str) -> Request<Full<Bytes>> {
    vk_message(id, user, json!({"text": text}))
}

pub(crate) async fn told(bot: &Bot, request: Request<Full<Bytes>>, answer: &str) -> Answer {
    let given = once(bot.port, request).await;
    assert_eq!((given.status, given.text().as_str()), (200, answer));
    given
}

/// The call after the first `before` ones.
pub(super) async fn call(api: &Api, before: usize) -> Call {
    until("a call", SOON, || api.calls().len() > before).await;
    api.calls().swap_remove(before)
}

pub(super) async fn start(api: &Api) -> Bot {
    let setup = Setup::commands().args(&["--workers", "2"]);
    api.configure(setup).start().await
}

#[tokio::test]
async fn channels_are_served_when_their_secrets_are_there() {
    let api = Api::start();
    let bot = start(&api).await;
    let line = "Serving /http, /telegram, /viber, /facebook, /vk.\n";
    assert!(bot.stderr().starts_with(line), "{}", bot.stderr());
    bot.stop().await;
    let bot = Setup::counter().start().await;
    for path in ["/viber", "/facebook", "/vk"] {
        assert_eq!(once(bot.port, post(path, "{}")).await.status, 404, "{path}");
    }
    bot.stop().await;
    let half = Setup::counter()
        .env("TURNKEY_VK_TOKEN", "s3cret")
        .run_to_end();
    assert_eq!(half.code, Some(2), "{half:?}");
    assert!(half.stderr.contains("TURNKEY_VK_SECRET"), "{half:?}");
    assert!(!half.stderr.contains("s3cret"), "{half:?}");
}

/// Nothing that is forged reaches a handler, and what it holds does not matter.
#[tokio::test]
async fn forgeries_are_refused() {
    let api = Api::start();
    let bot = start(&api).await;
    let viber_body = viber_text(1, "u", "hi").to_string();
    let facebook_body = batch(&[facebook_text("m", "u", "hi")]);
    let mut forged = vec![
        post("/viber", viber_body.clone()),
        post("/facebook", facebook_body.clone()),
        post("/vk", "{"),
        post("/vk", "{}"),
        post(
            "/vk",
            r#"{"type":"message_new","event_id":"1","object":{"message":{"from_id":1,"text":"hi"}}}"#,
        ),
        post("/vk", r#"{"type":"message_new","secret":"","object":{}}"#),
        post(
            "/vk",
            r#"{"type":"confirmation","type":"message_new","object":{}}"#,
        ),
    ];
    let right = signature(VIBER_TOKEN, viber_body.as_bytes());
    for wrong in [
        "",
        "00",
        "zz",
        &right[1..],
        &format!("{right}00"),
        &signature("other", viber_body.as_bytes()),
    ] {
        forged.push(with(
            "/viber",
            viber_body.clone(),
            "x-viber-content-signature",
            wrong,
        ));
    }
    forged.push(with(
        "/viber",
        format!("{viber_body} "),
        "x-viber-content-signature",
        &right,
    ));
    let right = signature(FACEBOOK_SECRET, facebook_body.as_bytes());
    for wrong in [
        &right,
        &format!("sha1={right}"),
        "sha256=",
        &format!("sha256={}", &right[2..]),
    ] {
        forged.push(with(
            "/facebook",
            facebook_body.clone(),
            "x-hub-signature-256",
            wrong,
        ));
    }
    forged.push(with(
        "/facebook",
        "rubbish",
        "x-hub-signature-256",
        &format!("sha256={right}"),
    ));
    for request in forged {
        let path = request.uri().path().to_owned();
        let answer = once(bot.port, request).await;
        assert_eq!(answer.status, 401, "{path}: {}", answer.text());
        assert!(!answer.text().contains(VK_SECRET));
    }
    assert!(bot.stop().await.dump(&[]).is_empty());
    assert!(api.calls().is_empty());
}

#[tokio::test]
async fn addresses_are_confirmed() {
    let api = Api::start();
    let bot = start(&api).await;
    // VK leaves the secret out here.
    let asked = post("/vk", r#"{"type":"confirmation","group_id":1}"#);
    let answer = told(&bot, asked, "c0nf1rm").await;
    assert_eq!(answer.header("content-type"), "text/plain");
    let webhook = json!({"event": "webhook", "timestamp": 1, "message_token": 1});
    told(&bot, viber(&webhook), "").await;
    let get = |query: &str| {
        let request = Request::get(format!("/facebook{query}")).header("host", "x");
        request.body(Full::default()).unwrap()
    };
    let right = "?hub.mode=subscribe&hub.challenge=1158201444&hub.verify_token=verify+me";
    told(&bot, get(right), "1158201444").await;
    for wrong in [
        "",
        "?hub.mode=subscribe&hub.challenge=1&hub.verify_token=verify",
        "?hub.mode=subscribe&hub.challenge=1",
        "?hub.mode=other&hub.challenge=1&hub.verify_token=verify+me",
        "?hub.mode=subscribe&hub.verify_token=verify+me",
    ] {
        let answer = once(bot.port, get(wrong)).await;
        assert_eq!(answer.status, 403, "{wrong}");
    }
    let mut request = get(right);
    *request.method_mut() = hyper::Method::PUT;
    let answer = once(bot.port, request).await;
    assert_eq!((answer.status, answer.header("allow")), (405, "GET, POST"));
    bot.stop().await;
}

#[tokio::test]
async fn viber_takes_messages_and_welcomes() {
    let api = Api::start();
    let bot = start(&api).await;
    // Larger than 2^53; their neighbours are other messages.
    let token = 4_912_661_846_655_238_145;
    for _ in 0..3 {
        told(
            &bot,
            viber(&viber_text(token, "01234567890A=", "hi 😀\0")),
            "",
        )
        .await;
    }
    told(
        &bot,
        viber(&viber_text(token + 1, "01234567890A=", "hi")),
        "",
    )
    .await;
    until("two replies", SOON, || api.accepted() == 2).await;
    assert_eq!(api.received("01234567890A="), ["1: hi 😀\0", "2: hi"]);
    assert_eq!(
        api.calls()[0].body,
        json!({"receiver": "01234567890A=", "type": "text", "text": "1: hi 😀\0",
            "sender": {"name": "Bot"}})
    );
    let started = json!({"event": "conversation_started", "timestamp": 1, "message_token": token,
        "type": "open", "context": "from the flyer", "subscribed": false,
        "user": {"id": "new", "name": "John"}});
    let first = once(bot.port, viber(&started)).await;
    assert_eq!(
        first.json(),
        json!({"type": "text", "text": "1: opened from the flyer", "sender": {"name": "Bot"}})
    );
    let bot = bot.kill_all().await.start().await;
    let again = once(bot.port, viber(&started)).await;
    assert_eq!((again.status, again.body), (200, first.body));
    for _ in 0..3 {
        for kind in ["delivered", "seen", "failed"] {
            let event =
                json!({"event": kind, "timestamp": 1, "message_token": 1, "user_id": "new"});
            told(&bot, viber(&event), "").await;
        }
        let sticker = viber_message(9, "new", json!({"type": "sticker", "sticker_id": 46105}));
        told(&bot, viber(&sticker), "").await;
    }
    until("a third reply", SOON, || api.accepted() == 3).await;
    assert_eq!(api.received("new"), ["2: sticker, 46105, , "]);
    for kind in ["seen", "delivered"] {
        // Once in each worker that saw one.
        let lines = bot
            .stderr()
            .matches(&format!("viber updates of kind {kind:?}"))
            .count();
        assert!((1..=2).contains(&lines), "{kind}: {lines}");
    }
    assert_eq!(api.calls().len(), 3);
    bot.stop().await.assert_sound();
}

#[tokio::test]
async fn viber_photos_and_buttons() {
    let api = Api::start();
    let bot = start(&api).await;
    let photo = json!({"type": "picture", "media": "http://dl.viber.com/1.jpg", "text": "a cat"});
    told(&bot, viber(&viber_message(1, "u", photo)), "").await;
    assert_eq!(
        call(&api, 0).await.text,
        "1: 1 photos, http://dl.viber.com/1.jpg, a cat"
    );
    told(&bot, viber(&viber_text(2, "u", "ask Tea?")), "").await;
    let asked = call(&api, 1).await.body;
    let button = |label: &str, data: &str| {
        json!({"Columns": 6, "Rows": 1, "Text": label, "ActionType": "reply",
            "ActionBody": data, "Silent": true})
    };
    assert_eq!(
        asked["keyboard"],
        json!({"Type": "keyboard", "Buttons": [button("Yes", "yes:1"), button("No", "no")]})
    );
    // Viber returns the tracking data with whatever the user says next.
    let next = |token, text: &str| {
        let message =
            json!({"type": "text", "text": text, "tracking_data": asked["tracking_data"]});
        viber(&viber_message(token, "u", message))
    };
    told(&bot, next(3, "yes:1"), "").await;
    told(&bot, next(4, "hello"), "").await;
    told(
        &bot,
        viber(&viber_text(5, "u", "photo https://example.org/cat.jpg")),
        "",
    )
    .await;
    let sent = call(&api, 4).await.body;
    assert_eq!(api.received("u")[2..4], ["3: button yes:1", "4: hello"]);
    assert_eq!(
        (&sent["type"], &sent["media"], &sent["text"]),
        (
            &json!("picture"),
            &json!("https://example.org/cat.jpg"),
            &json!("look")
        )
    );
    bot.stop().await;
}

/// The handler of one fails: the others are committed, and when Facebook sends the
/// batch again only that one runs.
#[tokio::test]
async fn a_facebook_batch_is_acknowledged_when_all_of_it_is_committed() {
    let api = Api::start();
    let setup = Setup::commands().args(&["--workers", "2", "--ack-after", "60s"]);
    let bot = api.configure(setup).start().await;
    let events = [
        facebook_text("m_1", "1", "hi"),
        facebook_text("m_2", "2", "try 2"),
        facebook_text("m_3", "3", "hi"),
        // It waits behind one that fails at first.
        facebook_text("m_4", "2", "hi"),
        facebook_text("m_5", "3", "hi again"),
        facebook_event("3", json!({"delivery": {"mids": ["m_0"], "watermark": 1}})),
        facebook_event("3", json!({"read": {"watermark": 1}})),
        facebook_event(
            "3",
            json!({"message": {"mid": "m_6", "text": "mine", "is_echo": true}}),
        ),
    ];
    for _ in 0..2 {
        told(&bot, facebook(batch(&events)), "").await;
    }
    until("five replies", SOON, || api.accepted() == 5).await;
    assert_eq!(api.received("1"), ["1: hi"]);
    assert_eq!(api.received("2"), ["1: try 2 (attempt 2)", "2: hi"]);
    assert_eq!(api.received("3"), ["1: hi", "2: hi again"]);
    assert_eq!(
        api.calls()[0].body["messaging_type"],
        "RESPONSE",
        "{:?}",
        api.calls()[0]
    );
    for kind in ["delivery", "read"] {
        assert!(
            bot.stderr()
                .contains(&format!("facebook updates of kind {kind:?}"))
        );
    }
    let setup = bot.stop().await;
    assert_eq!(
        (setup.count("1"), setup.count("2"), setup.count("3")),
        (1, 2, 2)
    );
    assert_eq!(api.calls().len(), 5);
    setup.assert_sound();
}

/// A batch is larger than other bodies may be; users run beside each other.
#[tokio::test]
async fn a_large_facebook_batch_is_taken() {
    let api = Api::start();
    let bot = start(&api).await;
    let filler = "x".repeat(3000);
    let event = |n: usize| {
        let mut event = facebook_text(&format!("m_{n}"), &format!("{}", n % 50), "sleep 1");
        event["filler"] = json!(filler);
        event
    };
    let events: Vec<_> = (0..1000).map(event).collect();
    let body = batch(&events);
    assert!(body.len() > 3 << 20);
    told(&bot, facebook(body.clone()), "").await;
    told(&bot, facebook(body), "").await;
    let setup = bot.stop().await;
    assert_eq!(setup.sum(), 1000);
    for user in 0..50 {
        let numbers: Vec<_> = api.received(&user.to_string());
        let expected: Vec<_> = (1..=20).map(|n| format!("{n}: sleep 1")).collect();
        assert_eq!(numbers, expected, "user {user}");
    }
}

#[tokio::test]
async fn facebook_photos_and_buttons() {
    let api = Api::start();
    let bot = start(&api).await;
    // Meta signs the escaped text.
    let escaped = r#"{"object":"page","entry":[{"messaging":[{"sender":{"id":"u"},"timestamp":1762902671768,"message":{"mid":"m_1","text":"\u043f\u0440\u0438\u0432\u0435\u0442 \ud83d\ude00"}}]}]}"#;
    told(&bot, facebook(escaped), "").await;
    assert_eq!(call(&api, 0).await.text, "1: привет 😀");
    let image =
        |n: u8| json!({"type": "image", "payload": {"url": format!("https://cdn/{n}.jpg")}});
    let events = [
        facebook_event(
            "u",
            json!({"message": {"mid": "m_2", "attachments": [image(1), image(2)]}}),
        ),
        facebook_event(
            "u",
            json!({"message": {"mid": "m_3", "text": "Yes", "quick_reply": {"payload": "yes:1"}}}),
        ),
        // Without a mid, time and sender tell it from others.
        facebook_event(
            "u",
            json!({"postback": {"title": "Start", "payload": "start"}}),
        ),
        facebook_event(
            "u",
            json!({"message": {"mid": "m_4", "attachments": [{"type": "audio",
                "payload": {"url": "https://cdn/a.mp4"}}]}}),
        ),
        facebook_text("m_5", "u", "ask Tea?"),
        facebook_text("m_6", "u", "photo https://example.org/cat.jpg"),
    ];
    for _ in 0..2 {
        told(&bot, facebook(batch(&events)), "").await;
    }
    until("eight calls", SOON, || api.calls().len() == 8).await;
    assert_eq!(
        api.received("u")[1..6],
        [
            "2: 2 photos, https://cdn/1.jpg, ",
            "3: button yes:1",
            "4: button start",
            "5: voice, https://cdn/a.mp4, , ",
            "Tea?"
        ]
    );
    let calls = api.calls();
    let quick = |title: &str, payload: &str| json!({"content_type": "text", "title": title, "payload": payload});
    assert_eq!(
        calls[5].body["message"],
        json!({"text": "Tea?", "quick_replies": [quick("Yes", "yes:1"), quick("No", "no")]})
    );
    assert_eq!(
        calls[6].body["message"],
        json!({"attachment": {"type": "image", "payload": {"url": "https://example.org/cat.jpg"}}})
    );
    assert_eq!(
        calls[7].body["message"],
        json!({"text": "look", "quick_replies": [quick("More", "more")]})
    );
    assert_eq!(bot.stop().await.count("u"), 7);
}

/// The answer to a call is lost: the call is made again with the same `random_id`, and
/// VK knows it. Also by another program on the same file.
#[tokio::test]
async fn vk_gets_each_reply_once() {
    let api = Api::start();
    let bot = start(&api).await;
    api.be("7", &[Mood::Lost, Mood::Well, Mood::Lost, Mood::Hanging]);
    let answer = told(&bot, vk("e1", 7, "many 3"), "ok").await;
    assert_eq!(answer.header("content-type"), "text/plain");
    until("a call that hangs", SOON, || api.calls().len() == 4).await;
    let bot = bot.kill_all().await.start().await;
    for _ in 0..3 {
        told(&bot, vk("e1", 7, "many 3"), "ok").await;
    }
    told(&bot, vk("e2", 7, "hi"), "ok").await;
    until("four replies", SOON, || api.accepted() == 4).await;
    assert_eq!(api.received("7"), ["1.1", "1.2", "1.3", "2: hi"]);
    let ids = |text: &str| -> Vec<u32> {
        let calls = api.calls().into_iter().filter(|call| call.text == text);
        let mut ids: Vec<u32> = calls
            .map(|call| call.body["random_id"].as_str().unwrap().parse().unwrap())
            .collect();
        assert!(ids.iter().all(|id| (1..1 << 31).contains(id)), "{ids:?}");
        ids.dedup();
        ids
    };
    let all: std::collections::HashSet<_> = ["1.1", "1.2", "1.3", "2: hi"]
        .into_iter()
        .flat_map(ids)
        .collect();
    assert_eq!(all.len(), 4, "one for each reply: {all:?}");
    assert!(api.calls().len() >= 7);
    let setup = bot.stop().await;
    assert_eq!(setup.count("7"), 2);
    setup.assert_sound();
}

#[tokio::test]
async fn vk_photos_and_buttons() {
    let api = Api::start();
    let bot = start(&api).await;
    let photo = json!({"attachments": [{"type": "photo", "photo": {"id": 5, "owner_id": 7,
        "access_key": "k", "sizes": [{"url": "https://small", "width": 1, "height": 1},
        {"url": "https://large", "width": 9, "height": 9}]}}]});
    told(&bot, vk_message("1", 7, photo), "ok").await;
    told(&bot, vk("2", 7, "ask Tea?"), "ok").await;
    let asked = call(&api, 1).await.body;
    let keyboard: Value = serde_json::from_str(asked["keyboard"].as_str().unwrap()).unwrap();
    assert_eq!(keyboard["inline"], true);
    let yes = &keyboard["buttons"][0][0]["action"];
    assert_eq!(
        (&yes["type"], &yes["label"]),
        (&json!("callback"), &json!("Yes"))
    );
    assert_eq!(keyboard["buttons"][1][0]["action"]["label"], "No");
    let pressed = json!({"text": "Yes", "payload": yes["payload"]});
    told(&bot, vk_message("3", 7, pressed), "ok").await;
    let start = json!({"text": "Start", "payload": r#"{"command":"start"}"#});
    told(&bot, vk_message("4", 7, start), "ok").await;
    // In a chat of many, replies go to the chat.
    let chat = json!({"peer_id": 2_000_000_001, "payload": r#"{"button":"more"}"#});
    told(&bot, vk_message("5", 7, chat), "ok").await;
    told(
        &bot,
        vk("6", 7, &format!("photo {}/elsewhere/cat.jpg", api.url())),
        "ok",
    )
    .await;
    told(&bot, vk("7", 7, "photo photo7_5_k"), "ok").await;
    until("three calls more", SOON, || api.accepted() == 10).await;
    assert_eq!(
        api.received("7"),
        [
            "1: 1 photos, https://large, ",
            "Tea?",
            "3: button yes:1",
            "4: opened ",
            "look",
            "look"
        ]
    );
    assert_eq!(api.received("2000000001"), ["1: button more"]);
    let calls = api.calls();
    assert_eq!(calls[8].body["attachment"], "photo-1_7_k");
    assert_eq!(calls[9].body["attachment"], "photo7_5_k");
    for _ in 0..3 {
        told(&bot, vk_event("wall_post_new", "9", json!({})), "ok").await;
    }
    bot.wait_for_stderr("vk updates of kind \"wall_post_new\"")
        .await;
    bot.stop().await;
}
