//! The example `booking`, as it is: two visitors want the same hour, everything is killed while
//! the slow calendar is asked, and the owner agrees days before the visitor is reminded.
//! `emulator.rs` has it on Telegram.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::harness::api::Api;
use crate::harness::bot::{Bot, SOON, Setup, until};
use crate::harness::client::{Answer, join, once, post, try_once};
use crate::harness::clock::{set_clock, with_a_clock};
use crate::harness::telegram::webhook;

fn booking(calendar_ms: u64) -> Setup {
    let setup = Setup::booking().env("BOOKING_CALENDAR_MS", calendar_ms.to_string());
    setup.args(&["--workers", "2"])
}

/// Sends what a visitor does until it is answered 200, as a platform would.
async fn insist(port: u16, visitor: &str, what: Value) -> Answer {
    let mut body = json!({"user_id": visitor, "id": format!("{visitor} {what}")});
    for (name, value) in what.as_object().expect("an object") {
        body[name] = value.clone();
    }
    let insist = async {
        loop {
            match try_once(port, post("/http", body.to_string())).await {
                Ok(answer) if answer.status == 200 => return answer,
                Ok(answer) => assert_eq!(answer.status, 503, "{}", answer.text()),
                Err(_) => {}
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(SOON, insist).await.expect("an answer")
}

async fn says(bot: &Bot, visitor: &str, text: &str) -> Answer {
    insist(bot.port, visitor, json!({ "text": text })).await
}

async fn presses(bot: &Bot, visitor: &str, data: &str) -> Answer {
    insist(bot.port, visitor, json!({ "button": data })).await
}

#[tokio::test]
async fn an_hour_is_booked_and_cancelled() {
    let bot = booking(1).start().await;
    let asked = says(&bot, "ann", "hello").await;
    assert_eq!(asked.replies(), ["When would you like to come?"]);
    assert_eq!(asked.buttons().len(), 4);
    let booked = presses(&bot, "ann", "book Mon 11:00").await;
    assert_eq!(booked.replies()[0], "Mon 11:00 is yours.");
    // An old button of her own, and one that nobody offered.
    let again = presses(&bot, "ann", "book Tue 10:00").await;
    assert_eq!(again.replies(), ["You have Mon 11:00."]);
    let strange = presses(&bot, "bob", "book Sun 10:00").await;
    assert_eq!(
        strange.replies(),
        ["Somebody was quicker. What about another hour?"]
    );
    assert_eq!(
        strange.buttons(),
        ["book Mon 10:00", "book Tue 10:00", "book Tue 11:00"]
    );
    let cancelled = presses(&bot, "ann", "cancel Mon 11:00").await;
    assert_eq!(cancelled.replies(), ["Mon 11:00 is cancelled."]);
    assert_eq!(says(&bot, "bob", "hello").await.buttons().len(), 4);
    bot.stop().await.assert_sound();
}

/// Both pass the look at the table, both ask the calendar: one row fits.
#[tokio::test]
async fn two_visitors_cannot_have_the_same_hour() {
    let bot = booking(500).start().await;
    let port = bot.port;
    let press = |visitor: &'static str| {
        let pressed = json!({"button": "book Mon 10:00"});
        tokio::spawn(async move { insist(port, visitor, pressed).await.replies() })
    };
    let (ann, bob) = (press("ann"), press("bob"));
    let mut heard = [join(ann).await.remove(0), join(bob).await.remove(0)];
    heard.sort_unstable();
    assert_eq!(
        heard,
        [
            "Mon 10:00 is yours.",
            "Somebody was quicker. What about another hour?"
        ]
    );
    bot.stop().await.assert_sound();
}

#[tokio::test]
async fn a_kill_while_the_calendar_is_asked_books_once() {
    let setup = booking(1500);
    let bot = setup.start().await;
    let port = bot.port;
    let again = setup.without_port().args(&["--port", &port.to_string()]);
    let pressed = json!({"button": "book Mon 10:00"});
    let waiting = tokio::spawn(async move { insist(port, "ann", pressed).await });
    until("the request is there", SOON, || bot.connections_now() > 0).await;
    bot.settled().await;
    bot.kill_all().await;
    let bot = again.start().await;
    assert_eq!(join(waiting).await.replies()[0], "Mon 10:00 is yours.");
    let seen = once(bot.port, post("/http", r#"{"user_id":"ann","text":"hi"}"#)).await;
    assert_eq!(seen.replies(), ["You have Mon 10:00."]);
    assert_eq!(says(&bot, "bob", "hello").await.buttons().len(), 3);
    bot.stop().await.assert_sound();
}

/// Seconds from now until the next Wednesday, noon.
fn until_wednesday() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    // 1970 began on a Thursday.
    let noon = (6 * 24 + 12) * 3600;
    let week = 7 * 24 * 3600;
    week - (now.as_secs() - noon) % week
}

/// The owner is asked by buttons; the reminder comes an hour before, and everything was killed
/// in between.
#[tokio::test]
async fn the_owner_agrees_and_the_visitor_is_reminded() {
    let api = Api::start();
    let setup = api.configure(booking(1)).env("BOOKING_OWNER", "telegram:8");
    let Some(setup) = with_a_clock(setup) else {
        return;
    };
    let wednesday = until_wednesday();
    set_clock(&setup, &format!("+{wednesday}"));
    let bot = setup.start().await;
    let press = async |bot: &Bot, update: u64, user: u64, data: &str| {
        let pressed = json!({"update_id": update, "callback_query": {
            "id": update.to_string(), "chat_instance": "1", "data": data,
            "from": {"id": user, "is_bot": false, "first_name": "Ann"},
            "message": {"message_id": 5, "date": 1_700_000_000, "text": "?",
                "chat": {"id": user, "type": "private", "first_name": "Ann"}},
        }});
        assert_eq!(once(bot.port, webhook(&pressed)).await.status, 200);
    };
    press(&bot, 1, 7, "book Mon 10:00").await;
    let question = "Ann would like Mon 10:00. Is that all right?";
    api.receives("8", &[question]).await;
    let asked = api.called("sendMessage");
    let asked = asked.iter().find(|call| call["text"] == question);
    let yes = &asked.expect("the question")["reply_markup"]["inline_keyboard"][0][0];
    press(&bot, 2, 8, yes["callback_data"].as_str().expect("data")).await;
    let booked = [
        "Mon 10:00 is yours.",
        "Write to me if you have to cancel. See you!",
    ];
    let has_all = |api: &Api, all: &[&str]| {
        let received = api.received("7");
        all.iter().all(|said| received.iter().any(|r| r == said))
    };
    until("it is booked", SOON, || has_all(&api, &booked)).await;
    let setup = bot.kill_all().await;
    let listed = setup.tool(&["timers", "list", "--json"]);
    assert!(listed.stdout.contains("reminder"), "{}", listed.stdout);
    // On Monday, a minute before nine.
    let monday = wednesday + (4 * 24 + 21) * 3600;
    set_clock(&setup, &format!("+{}", monday - 60));
    let bot = setup.start().await;
    bot.settled().await;
    assert!(!has_all(&api, &["Do not forget: Mon 10:00."]));
    set_clock(&bot.setup, &format!("+{monday}"));
    until("the reminder", SOON, || {
        has_all(&api, &["Do not forget: Mon 10:00."])
    })
    .await;
    bot.stop().await.assert_sound();
}
