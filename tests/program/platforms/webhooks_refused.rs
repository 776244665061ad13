//! What the platforms refuse, and what is refused to them; secrets that nobody is told.

use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use crate::harness::api::{self, Api, Mood, SECRETS};
use crate::harness::bot::{Bot, SOON, Setup, until};
use crate::harness::client::{once, post};
use crate::harness::telegram;

use super::webhooks::*;

/// What a platform says will never be: the reply is given up, the next one goes out.
/// What it says will be later: it waits as told.
#[tokio::test]
async fn each_platforms_refusals_and_floods() {
    let api = Api::start();
    let bot = start(&api).await;
    for user in ["101", "102", "103"] {
        api.be(user, &[Mood::Blocked, Mood::Flood(1), Mood::Well]);
    }
    told(&bot, viber(&viber_text(1, "101", "many 2")), "").await;
    told(
        &bot,
        facebook(batch(&[facebook_text("m_1", "102", "many 2")])),
        "",
    )
    .await;
    told(&bot, vk("e1", 103, "many 2"), "ok").await;
    until("three replies", SOON, || api.accepted() == 3).await;
    for user in ["101", "102", "103"] {
        assert_eq!(api.received(user), ["1.2"], "{user}");
        let calls: Vec<_> = api.calls().into_iter().filter(|c| c.chat == user).collect();
        assert_eq!(calls.len(), 3, "{user}: {calls:?}");
        let pause = calls[2].at - calls[1].at;
        assert!(pause >= Duration::from_millis(990), "{user}: {pause:?}");
    }
    until("three refusals", SOON, || {
        bot.stderr().matches("blocked by the user").count() == 3
    })
    .await;
    assert_no_secrets(&bot);
    bot.stop().await;
}

fn assert_no_secrets(bot: &Bot) {
    let written = bot.stderr();
    for (name, secret) in SECRETS {
        // As it is, and as it stands in an address.
        let escaped: String = form_urlencoded::byte_serialize(secret.as_bytes()).collect();
        let is_shown = written.contains(secret) || written.contains(&escaped);
        assert!(!is_shown, "{name} is in the log: {written}");
    }
}

/// Not even at the highest level, with APIs that cannot be reached.
#[tokio::test]
async fn secrets_are_in_no_log() {
    // Nobody listens on the first port.
    let setup = api::configure(Setup::commands().args(&["-vv"]), "http://127.0.0.1:1");
    let bot = setup.start().await;
    let many = telegram::text(1, 100, "many 2");
    once(bot.port, telegram::webhook(&many)).await;
    told(&bot, viber(&viber_text(1, "101", "hi")), "").await;
    told(
        &bot,
        facebook(batch(&[facebook_text("m", "102", "hi")])),
        "",
    )
    .await;
    told(&bot, vk("e1", 103, "hi"), "ok").await;
    until("four failures", SOON, || {
        bot.stderr().matches("cannot send yet").count() == 4
    })
    .await;
    assert_no_secrets(&bot);
    bot.stop().await;
}

/// Seconds for most, a date for VK. (A turn that fails is tried again here; what is asked
/// for again is what there is no room for.)
#[tokio::test]
async fn what_has_no_room_is_asked_for_again_in_the_platforms_words() {
    let api = Api::start();
    let args = ["--ack-after", "200ms", "--max-pending", "1"];
    let bot = api.configure(Setup::commands().args(&args)).start().await;
    told(&bot, viber(&viber_text(1, "1", "sleep 30000")), "").await;
    // Fails soon, and would have to wait in the inbox for its next attempt.
    let refused = once(bot.port, viber(&viber_text(2, "2", "fail"))).await;
    assert_eq!((refused.status, refused.header("retry-after")), (503, "1"));
    let before = SystemTime::now();
    let refused = once(bot.port, vk("e1", 1, "sleep 30000")).await;
    assert_eq!(refused.status, 503);
    let when = httpdate::parse_http_date(refused.header("retry-after")).expect("a date");
    assert!(when > before && when < before + Duration::from_secs(30));
    drop(bot.kill_all().await);
}

/// A reply that the platform would never take is the author's mistake: told so in the
/// log, and nothing is half done.
#[tokio::test]
async fn a_reply_that_no_platform_takes_fails_the_turn() {
    let api = Api::start();
    let setup = Setup::commands().args(&["--max-attempts", "1"]);
    let bot = api.configure(setup).start().await;
    let photo = format!("photo https://{}", "x".repeat(2000));
    told(&bot, vk("e2", 1, &photo), "ok").await;
    bot.wait_for_stderr("reply 1: the address of a photo has 1 to 2000 bytes")
        .await;
    bot.wait_for_stderr(" dead show vk e2 --storage ").await;
    assert!(bot.stop().await.dump(&[]).is_empty());
    assert!(api.calls().is_empty());
}

/// The same as fields of plain HTTP.
#[tokio::test]
async fn http_photos_and_buttons() {
    let bot = Setup::commands().start().await;
    let say = async |fields: Value| {
        let mut body = json!({"user_id": "ann"});
        for (name, value) in fields.as_object().expect("an object") {
            body[name] = value.clone();
        }
        once(bot.port, post("/http", body.to_string())).await
    };
    let asked = say(json!({"text": "ask Tea?"})).await;
    assert_eq!(
        asked.text(),
        r#"{"replies":[{"text":"Tea?","buttons":[{"label":"Yes","data":"yes:1"},{"label":"No","data":"no"}]}]}"#
    );
    let pressed = say(json!({"button": "yes:1"})).await;
    assert_eq!(pressed.replies(), ["2: button yes:1"]);
    let photo = say(json!({"photo": "https://example.org/1.jpg"})).await;
    assert_eq!(
        photo.replies(),
        ["3: 1 photos, https://example.org/1.jpg, "]
    );
    let photo = say(json!({"text": "photo https://example.org/2.jpg"})).await;
    assert_eq!(
        photo.text(),
        r#"{"replies":[{"text":"look","files":[{"type":"photo","url":"https://example.org/2.jpg"}],"buttons":[{"label":"More","data":"more"}]}]}"#
    );
    bot.stop().await;
}
