//! WhatsApp: real requests in, real calls out, files both ways, and what is refused later.

use bytes::Bytes;
use http_body_util::Full;
use hyper::Request;
use serde_json::{Value, json};

use crate::harness::api::whatsapp::{
    MEDIA, NUMBER, VERIFY_TOKEN, WHATSAPP_SECRET, WHATSAPP_TOKEN, whatsapp,
};
use crate::harness::api::{Api, Mood};
use crate::harness::bot::{Bot, SOON, Setup, until};
use crate::harness::client::{once, post};
use crate::platforms::webhooks::{call, signature, told, with};

const USER: &str = "US.13491208655302741918";

fn signed(body: impl Into<Bytes>) -> Request<Full<Bytes>> {
    let body = body.into();
    let signature = format!("sha256={}", signature(WHATSAPP_SECRET, &body));
    with("/whatsapp", body, "x-hub-signature-256", &signature)
}

fn value(fields: Value) -> Request<Full<Bytes>> {
    let mut value = json!({"messaging_product": "whatsapp",
        "metadata": {"display_phone_number": "15550783881", "phone_number_id": NUMBER}});
    for (name, field) in fields.as_object().expect("an object") {
        value[name] = field.clone();
    }
    let body = json!({"object": "whatsapp_business_account", "entry": [{"id": "1",
        "changes": [{"field": "messages", "value": value}]}]});
    signed(body.to_string())
}

fn message(id: &str, fields: Value) -> Value {
    let mut message = json!({"id": id, "from": "16505551234", "from_user_id": USER,
        "timestamp": "1749416383"});
    for (name, field) in fields.as_object().expect("an object") {
        message[name] = field.clone();
    }
    message
}

fn text(id: &str, text: &str) -> Value {
    message(id, json!({"type": "text", "text": {"body": text}}))
}

async fn start(api: &Api) -> Bot {
    let setup = Setup::commands().args(&["--workers", "2"]);
    whatsapp(setup, &api.url()).start().await
}

#[tokio::test]
async fn whatsapp_takes_messages_and_answers_them() {
    let api = Api::start();
    let bot = start(&api).await;
    let lines = bot.stderr();
    assert!(lines.contains("/telegram, /whatsapp.\n"), "{lines}");
    let get = |query: &str| {
        let request = Request::get(format!("/whatsapp?{query}")).header("host", "x");
        request.body(Full::default()).unwrap()
    };
    let token = VERIFY_TOKEN.replace(' ', "+");
    let right = format!("hub.mode=subscribe&hub.challenge=77&hub.verify_token={token}");
    told(&bot, get(&right), "77").await;
    let wrong = "hub.mode=subscribe&hub.challenge=77&hub.verify_token=other";
    assert_eq!(once(bot.port, get(wrong)).await.status, 403);
    let forged = post("/whatsapp", r#"{"object":"whatsapp_business_account"}"#);
    assert_eq!(once(bot.port, forged).await.status, 401);

    // Two in one body, which comes again.
    let both = || value(json!({"messages": [text("wamid.1", "hi"), text("wamid.2", "ask Tea?")]}));
    for _ in 0..2 {
        told(&bot, both(), "").await;
    }
    let first = call(&api, 0).await;
    assert_eq!(first.body["recipient"], USER, "{}", first.body);
    assert_eq!(first.body["text"]["body"], "1: hi");
    assert_eq!(first.body["messaging_product"], "whatsapp");
    let key = first.body["biz_opaque_callback_data"].as_str().unwrap();
    assert!(key.starts_with("wamid.1-"), "{key}");
    let second = call(&api, 1).await;
    assert_eq!(
        second.body["interactive"]["type"], "button",
        "{}",
        second.body
    );
    let reply = &second.body["interactive"]["action"]["buttons"][0]["reply"];
    let pressed = message(
        "wamid.3",
        json!({"type": "interactive", "context": {"id": "wamid.bot"},
            "interactive": {"type": "button_reply", "button_reply": reply}}),
    );
    told(&bot, value(json!({"messages": [pressed]})), "").await;
    let said = call(&api, 2).await.text;
    let data = reply["id"].as_str().unwrap();
    assert!(said.contains(data), "{said}");
    // Three such come of each.
    for status in ["sent", "delivered", "read"] {
        let status = json!({"id": "wamid.1", "status": status, "recipient_id": "16505551234"});
        told(&bot, value(json!({"statuses": [status]})), "").await;
    }
    assert_eq!(api.calls().len(), 3);
    assert!(!bot.stderr().contains("not handled"), "{}", bot.stderr());
    bot.stop().await;
}

/// A file above buttons; one that a user sent; and what the platform has against a user.
#[tokio::test]
async fn whatsapp_has_files_and_refusals() {
    let api = Api::start();
    let bot = start(&api).await;
    let ask = text("wamid.1", "picture https://example.org/1.jpg");
    told(&bot, value(json!({"messages": [ask]})), "").await;
    let photo = call(&api, 0).await.body;
    let link = json!({"type": "image", "image": {"link": "https://example.org/1.jpg"}});
    assert_eq!(photo["interactive"]["header"], link, "{photo}");
    let sent = message(
        "wamid.2",
        json!({"type": "image", "image": {"id": MEDIA, "mime_type": "image/jpeg", "caption": "look"}}),
    );
    told(&bot, value(json!({"messages": [sent]})), "").await;
    assert!(call(&api, 1).await.text.contains("look"));
    // Of a type that nobody knows, and one that cannot be read.
    let odd = [
        message("wamid.3", json!({"type": "of_next_year"})),
        message("wamid.4", json!({"type": "text", "text": []})),
    ];
    told(&bot, value(json!({"messages": odd})), "").await;
    let letters = bot.setup.tool(&["dead", "list"]).stdout;
    assert!(
        letters.contains("wamid.4") && !letters.contains("wamid.3"),
        "{letters}"
    );
    // Refused at once, and later.
    api.be(USER, &[Mood::Failing, Mood::Blocked]);
    told(
        &bot,
        value(json!({"messages": [text("wamid.5", "hi")]})),
        "",
    )
    .await;
    bot.wait_for_stderr("a reply was refused for good: 131026")
        .await;
    let status = json!({"id": "wamid.bot", "status": "failed", "recipient_id": "16505551234",
        "recipient_user_id": USER, "biz_opaque_callback_data": "wamid.1-7-0",
        "errors": [{"code": 131_047, "title": "Re-engagement message",
            "error_data": {"details": "more than 24 hours have passed"}}]});
    told(&bot, value(json!({"statuses": [status]})), "").await;
    let line = format!(
        "whatsapp:{USER}: a reply that was taken was refused later: 131047: Re-engagement message \
         (more than 24 hours have passed) (reply wamid.1-7-0)"
    );
    bot.wait_for_stderr(&line).await;
    until("three attempts", SOON, || api.calls().len() == 4).await;
    let said = bot.stderr();
    assert!(
        !said.contains(WHATSAPP_TOKEN) && !said.contains(WHATSAPP_SECRET),
        "{said}"
    );
    bot.stop().await;
}

#[test]
fn whatsapp_needs_all_of_its_settings() {
    let none = "http://localhost:1";
    let without = whatsapp(Setup::counter(), none).without_env("TURNKEY_WHATSAPP_SECRET");
    let ended = without.run_to_end();
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(
        ended.stderr.contains("TURNKEY_WHATSAPP_SECRET"),
        "{ended:?}"
    );
    let number = Setup::counter().args(&["--whatsapp-phone-number-id", NUMBER]);
    let ended = number.run_to_end();
    assert!(ended.stderr.contains("TURNKEY_WHATSAPP_TOKEN"), "{ended:?}");
    let polling = whatsapp(Setup::counter(), none)
        .args(&["--updater", "polling"])
        .without_port()
        .env("TURNKEY_TELEGRAM_TOKEN", "12345:secret-of-the-bot");
    let ended = polling.run_to_end();
    assert!(
        ended.stderr.contains("WhatsApp cannot be polled"),
        "{ended:?}"
    );
    let no_id = Setup::counter().args(&["--whatsapp-phone-number-id", "+43 1"]);
    let ended = no_id.run_to_end();
    assert!(ended.stderr.contains("an id in digits"), "{ended:?}");
}
