//! WhatsApp: real requests in, real calls out, files both ways, and what is refused later.

use bytes::Bytes;
use http_body_util::Full;
use hyper::Request;
use serde_json::{Value, json};

use crate::harness::api::whatsapp::{
    MEDIA, NUMBER, VERIFY_TOKEN, WHATSAPP_SECRET, WHATSAPP_TOKEN, whatsapp,
};
use crate::harness::api::{Api, Call, Mood};
use crate::harness::bot::{Bot, SOON, Setup, until};
use crate::harness::client::{once, post};
use crate::operators::admin::{self, admin_port, get};
use crate::platforms::webhooks::{call, signature, told, with};
use crate::turns::dead_replies::{listed, name, outbox};

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
    let ask = text("wamid.1", "photo https://example.org/1.jpg");
    told(&bot, value(json!({"messages": [ask]})), "").await;
    let photo = call(&api, 0).await.body;
    let link = json!({"type": "image", "image": {"link": "https://example.org/1.jpg"}});
    assert_eq!(photo["interactive"]["header"], link, "{photo}");
    let sent = message(
        "wamid.2",
        json!({"type": "image", "image": {"id": MEDIA, "mime_type": "image/jpeg", "caption": "nice"}}),
    );
    told(&bot, value(json!({"messages": [sent]})), "").await;
    assert!(call(&api, 1).await.text.contains("nice"));
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

/// A status of the message that this call sent.
fn status(call: &Call, message: &str, status: &str) -> Request<Full<Bytes>> {
    let key = &call.body["biz_opaque_callback_data"];
    let errors = json!([{"code": 131_047, "title": "Re-engagement message",
        "error_data": {"details": "more than 24 hours have passed"}}]);
    let mut status = json!({"id": message, "status": status, "recipient_id": "16505551234",
        "recipient_user_id": USER, "biz_opaque_callback_data": key});
    if status["status"] == "failed" {
        status["errors"] = errors;
    }
    value(json!({"statuses": [status]}))
}

#[tokio::test]
async fn what_whatsapp_refuses_later_is_a_dead_reply() {
    let api = Api::start();
    let setup = whatsapp(admin::setup(Setup::commands()), &api.url());
    let bot = setup.start().await;
    let port = admin_port(&bot);
    let two = || value(json!({"messages": [text("wamid.in1", "many 2")]}));
    told(&bot, two(), "").await;
    let (first, second) = (call(&api, 0).await, call(&api, 1).await);
    until("nothing waits", SOON, || {
        listed(&bot.setup, &["--waiting"]).is_empty()
    })
    .await;
    told(&bot, status(&second, "wamid.2", "delivered"), "").await;
    // It comes again when WhatsApp did not get our answer.
    for _ in 0..2 {
        told(&bot, status(&first, "wamid.1", "failed"), "").await;
    }
    bot.wait_for_stderr(
        "was refused later: 131047: Re-engagement message (more than 24 hours have passed) (",
    )
    .await;
    let dead = listed(&bot.setup, &["--dead"]);
    let [reply] = dead.as_slice() else {
        panic!("{dead:?}");
    };
    let show = format!("outbox show {} --storage ", name(reply));
    assert!(bot.stderr().contains(&show), "{}", bot.stderr());
    assert_eq!(reply["user_id"], USER);
    let shown = outbox(&bot.setup, &["show", name(reply)]);
    assert!(shown.contains("1.1") && shown.contains("131047"), "{shown}");
    let page = get(port, "/status/dead").await.text();
    assert!(
        page.contains(name(reply)) && page.contains("131047"),
        "{page}"
    );
    let metrics = get(port, "/metrics").await.text();
    for line in ["turnkey_dead_replies 1", "turnkey_replies_buried_total 1"] {
        assert!(metrics.contains(&format!("\n{line}")), "{metrics}");
    }
    let asks = value(json!({"messages": [text("wamid.in2", "dead")]}));
    told(&bot, asks, "").await;
    assert_eq!(call(&api, 2).await.text, "1 dead");

    // Nothing is kept of what arrived.
    told(&bot, status(&second, "wamid.2", "failed"), "").await;
    let key = second.body["biz_opaque_callback_data"].as_str().unwrap();
    bot.wait_for_stderr(&format!("(reply {key})")).await;
    assert_eq!(listed(&bot.setup, &["--dead"]), dead);

    // The user has written: it is sent, and refused once more as another message.
    outbox(&bot.setup, &["retry", name(reply)]);
    let again = call(&api, 3).await;
    assert_eq!((&*again.text, &again.body), ("1.1", &first.body));
    until("it is sent", SOON, || listed(&bot.setup, &[]).is_empty()).await;
    told(&bot, status(&first, "wamid.1", "failed"), "").await;
    assert!(listed(&bot.setup, &[]).is_empty());
    told(&bot, status(&again, "wamid.4", "sent"), "").await;
    told(&bot, status(&again, "wamid.4", "failed"), "").await;
    let dead = listed(&bot.setup, &["--dead"]);
    assert!(dead.len() == 1 && name(&dead[0]) == name(reply), "{dead:?}");
    let setup = bot.stop().await;
    setup.assert_sound();
}

/// The platform may be faster than our mark that the reply was sent.
#[tokio::test]
async fn a_refusal_that_comes_before_the_mark_is_asked_for_again() {
    let api = Api::start();
    let bot = start(&api).await;
    api.be(USER, &[Mood::Taken]);
    let hi = value(json!({"messages": [text("wamid.in1", "hi")]}));
    told(&bot, hi, "").await;
    let said = call(&api, 0).await;
    let early = once(bot.port, status(&said, "wamid.1", "failed")).await;
    assert_eq!(early.status, 503, "{}", early.text());
    assert!(listed(&bot.setup, &["--dead"]).is_empty());
    api.release();
    until("it is sent", SOON, || listed(&bot.setup, &[]).is_empty()).await;
    told(&bot, status(&said, "wamid.1", "failed"), "").await;
    assert_eq!(listed(&bot.setup, &["--dead"]).len(), 1);
    assert_eq!(api.calls().len(), 1);
    let setup = bot.stop().await;
    setup.assert_sound();
}

/// What a broadcast said is counted, and nobody's to send again.
#[tokio::test]
async fn a_broadcast_counts_what_whatsapp_refuses_later() {
    let api = Api::start();
    let bot = start(&api).await;
    let hi = value(json!({"messages": [text("wamid.in1", "silent")]}));
    told(&bot, hi, "").await;
    let made = bot.setup.tool(&["broadcast", "--text", "hello everybody"]);
    assert_eq!(made.code, Some(0), "{}", made.stderr);
    let said = call(&api, 0).await;
    let shown = || -> Value {
        let shown = bot.setup.tool(&["broadcast", "show", "1", "--json"]);
        serde_json::from_str(&shown.stdout).expect("JSON")
    };
    until("it counts", SOON, || shown()["sent"] == 1).await;
    for _ in 0..2 {
        told(&bot, status(&said, "wamid.1", "failed"), "").await;
        let shown = shown();
        assert_eq!(
            (&shown["sent"], &shown["failed"]),
            (&json!(0), &json!(1)),
            "{shown}"
        );
    }
    assert!(listed(&bot.setup, &[]).is_empty());
    let setup = bot.stop().await;
    setup.assert_sound();
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
