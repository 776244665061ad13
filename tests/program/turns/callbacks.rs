//! Callbacks, `Turn::callback`: addresses that others post to; and questions in another dialog,
//! `Turn::ask_in`.

use http_body_util::Full;
use hyper::Request;
use hyper::body::Bytes;
use serde_json::{Value, json};

use crate::harness::api::{Api, Call};
use crate::harness::bot::{Bot, SOON, Setup, skipped, until};
use crate::harness::client::{Answer, once, post, say};
use crate::harness::programs::has;
use crate::harness::telegram::{text, webhook};
use crate::platforms::{polling, webhooks};

const URL: &str = "https://bot.test";

/// What Telegram posts with, which a bot with an address of its own wants.
const SECRET: &str = "what_Telegram_posts_with";

fn setup(api: &Api, args: &[&str]) -> Setup {
    let setup = Setup::commands().args(&["--workers", "2", "--public-url", URL, "-v"]);
    let setup = setup.env("TURNKEY_TELEGRAM_SECRET", SECRET);
    api.configure(setup).args(args)
}

/// The answer to an update of Telegram's.
async fn told(bot: &Bot, update: &Value) -> Answer {
    let mut request = webhook(update);
    let secret = SECRET.parse().expect("a header");
    let name = "x-telegram-bot-api-secret-token";
    request.headers_mut().insert(name, secret);
    let answer = once(bot.port, request).await;
    assert_eq!(answer.status, 200);
    answer
}

/// What rides in the answer; null where nothing does.
async fn says(bot: &Bot, update: u64, user: u64, said: &str) -> Value {
    let answer = told(bot, &text(update, user, said)).await;
    match answer.text().as_str() {
        "" => Value::Null,
        _ => answer.json()["text"].clone(),
    }
}

/// The path of a new address.
async fn opened(bot: &Bot, update: u64, user: u64, wanted: &str) -> String {
    let address = says(bot, update, user, &format!("callback {wanted}")).await;
    let address = address.as_str().expect("an address");
    let path = address.strip_prefix(URL).expect("one of this bot's");
    assert_eq!(path.len(), "/callback/".len() + 32, "{path}");
    path.to_owned()
}

async fn posted(bot: &Bot, path: &str, body: impl Into<Bytes>) -> u16 {
    once(bot.port, post(path, body)).await.status
}

fn request(method: &str, path: &str) -> Request<Full<Bytes>> {
    let mut request = post(path, "");
    *request.method_mut() = method.parse().expect("a method");
    request
}

#[tokio::test]
async fn who_posts_to_an_address_starts_one_turn() {
    let api = Api::start();
    let bot = setup(&api, &[]).start().await;
    let path = opened(&bot, 1, 7, "paid 2d").await;
    for method in ["GET", "HEAD", "PUT"] {
        let answer = once(bot.port, request(method, &path)).await;
        assert_eq!((answer.status, answer.header("allow")), (405, "POST"));
    }
    for body in [r#"{"sum":[7,null]}"#, r#"{"sum":[7,null]}"#, "other"] {
        assert_eq!(posted(&bot, &path, body).await, 200);
    }
    let paid = r#"2: callback paid application/json {"sum":[7,null]}"#;
    api.receives("7", &[paid]).await;
    // At once, and in both workers.
    let path = opened(&bot, 2, 7, "raced").await;
    let posts = (0..8).map(|_| posted(&bot, &path, "7"));
    let mut all = tokio::task::JoinSet::new();
    for _ in posts {
        let (port, path) = (bot.port, path.clone());
        all.spawn(async move { once(port, post(&path, "7")).await.status });
    }
    assert_eq!(all.join_all().await, [200; 8]);
    let raced = "4: callback raced application/json 7";
    api.receives("7", &[paid, raced]).await;
    assert_eq!(posted(&bot, &path, "7").await, 200);
    assert_eq!(says(&bot, 3, 7, "hi").await, "5: hi");
    assert_eq!(api.received("7").len(), 2);
    let token = path.rsplit('/').next().expect("a token");
    assert!(!bot.stderr().contains(token));
    bot.stop().await.assert_sound();
}

#[tokio::test]
async fn whatever_is_posted_comes_through() {
    let api = Api::start();
    let bot = setup(&api, &["--max-body", "4096"]).start().await;
    let mut said = Vec::new();
    for (n, body, expected) in [
        (1, &b""[..], "null"),
        (2, b"a=1&b=%20", r#""a=1&b=%20""#),
        (3, b"\xff\0", r#"{"base64":"/wA="}"#),
    ] {
        let path = opened(&bot, n, 7, "paid").await;
        assert_eq!(posted(&bot, &path, body).await, 200);
        said.push(format!(
            "{}: callback paid application/json {expected}",
            n * 2
        ));
        let said: Vec<&str> = said.iter().map(String::as_str).collect();
        api.receives("7", &said).await;
    }
    let path = opened(&bot, 9, 8, "paid").await;
    assert_eq!(posted(&bot, &path, vec![b'x'; 4097]).await, 413);
    assert_eq!(posted(&bot, &path, vec![b'x'; 2000]).await, 200);
    bot.stop().await;
}

#[tokio::test]
async fn an_address_that_is_none_is_refused_and_none_is_told() {
    let api = Api::start();
    let bot = setup(&api, &["--max-attempts", "1"]).start().await;
    let late = opened(&bot, 1, 7, "late 0s").await;
    assert_eq!(posted(&bot, &late, "{}").await, 410);
    let forged = format!("/callback/{}", "x".repeat(32));
    for path in [
        &forged,
        "/callback/",
        "/callback/x",
        "/callback",
        "/callback/a/b",
    ] {
        assert_eq!(posted(&bot, path, "{}").await, 404, "{path}");
    }
    bot.wait_for_stderr("/callback/(secret)").await;
    let token = late.rsplit('/').next().expect("a token");
    for secret in [token, &"x".repeat(32)] {
        assert!(!bot.stderr().contains(secret), "{}", bot.stderr());
    }
    // Of plain HTTP there is nobody to tell what came.
    let address = say(bot.port, "ann", "callback paid")
        .await
        .replies()
        .remove(0);
    let path = address.strip_prefix(URL).expect("one of this bot's");
    assert_eq!(posted(&bot, path, "{}").await, 200);
    bot.wait_for_stderr("replies ride in answers, and a callback has none")
        .await;
    // What cannot be opened fails its turn, by name.
    for (update, wanted, why) in [
        (2, "paid 367d", "is to be open for more than a year"),
        (3, "paid soon", "is no time such as 500ms"),
    ] {
        says(&bot, update, 7, &format!("callback {wanted}")).await;
        bot.wait_for_stderr(why).await;
    }
    let setup = bot.stop().await;
    let text = |column: &str| -> String {
        let ask = format!("SELECT group_concat({column}) FROM turnkey_callback");
        let file = setup.open_database();
        file.query_row(&ask, [], |row| row.get(0)).expect("a row")
    };
    for column in ["hash", "name", "taken", "CAST(body AS TEXT)"] {
        assert!(!text(column).contains(token), "{column}");
    }
}

#[tokio::test]
async fn without_an_address_of_its_own_a_bot_has_no_callbacks() {
    let api = Api::start();
    let setup = Setup::commands().args(&["--max-attempts", "1"]);
    let bot = api.configure(setup).start().await;
    says(&bot, 1, 7, "callback paid").await;
    bot.wait_for_stderr("is reached: set --public-url").await;
    bot.stop().await;
}

#[tokio::test]
async fn a_dialog_has_so_many_callbacks() {
    let api = Api::start();
    let bot = setup(&api, &["--max-attempts", "1"]).start().await;
    let first = opened(&bot, 1, 7, "c1").await;
    says(&bot, 2, 7, "callbacks 90").await;
    says(&bot, 3, 7, "callbacks 9").await;
    says(&bot, 4, 7, "callbacks 1").await;
    bot.wait_for_stderr("this dialog would have 101 callbacks open; 100 is the limit")
        .await;
    says(&bot, 5, 8, "callbacks 100").await;
    // One that was taken is not open any more.
    assert_eq!(posted(&bot, &first, "{}").await, 200);
    says(&bot, 6, 7, "callbacks 1").await;
    says(&bot, 7, 7, "callbacks 1").await;
    let setup = bot.stop().await;
    let ask = "SELECT count(*) FROM turnkey_callback";
    let file = setup.open_database();
    let rows = file.query_row(ask, [], |row| row.get(0));
    assert_eq!(rows, Ok(201));
}

/// What `callbacks list` prints, an object a line.
fn listed(bot: &Bot, of: &[&str]) -> Vec<Value> {
    let list = ["callbacks", "list", "--json"];
    bot.setup.listed(&[&list, of].concat())
}

#[tokio::test]
async fn operators_see_what_is_open_and_take_it_away() {
    let api = Api::start();
    let bot = setup(&api, &[]).start().await;
    let path = opened(&bot, 1, 7, "paid").await;
    let question = "asks telegram 8 approve Let in?";
    assert_eq!(says(&bot, 2, 9, question).await, "asked");
    let names = |of: &[&str]| {
        let all = listed(&bot, of);
        let name = |line: &Value| line["name"].as_str().unwrap_or_default().to_owned();
        all.iter().map(name).collect::<Vec<_>>()
    };
    assert_eq!(names(&[]), ["paid", "approve"]);
    assert_eq!(names(&["telegram", "9"]), ["approve"]);
    let token = path.rsplit('/').next().expect("a token");
    let all = listed(&bot, &["telegram", "7"]);
    assert!(!all[0].to_string().contains(token));
    let drop = |hash: &str| bot.setup.tool(&["callbacks", "drop", hash]);
    let hash = all[0]["hash"].as_str().expect("a hash");
    assert_eq!(drop(hash).code, Some(0));
    let none = drop(hash);
    assert_eq!(none.code, Some(2));
    assert!(none.stderr.contains("no callback has the hash"), "{none:?}");
    assert_eq!(posted(&bot, &path, "{}").await, 404);
    let text = bot.setup.tool(&["callbacks", "list"]).stdout;
    assert!(
        text.starts_with("telegram 9  approve open for 6 days  "),
        "{text}"
    );
    // A dialog that is forgotten has none.
    let reset = bot.setup.tool(&["dialogs", "reset", "telegram", "9"]);
    assert_eq!(reset.code, Some(0), "{}", reset.stderr);
    assert_eq!(names(&[]), [""; 0]);
    bot.stop().await.assert_sound();
}

/// Killed between the 200 and the turn: it is in the inbox, and runs once.
#[tokio::test]
async fn a_callback_outlives_the_death_of_all() {
    let api = Api::start();
    let bot = setup(&api, &["--ack-after", "50ms"]).start().await;
    let path = opened(&bot, 1, 7, "paid").await;
    let question = "asks telegram 8 approve Let in?";
    assert_eq!(says(&bot, 2, 7, question).await, "asked");
    let data = data_of(&api, "8").await;
    let gate = bot.setup.path("gate");
    let slow = format!("gate {} slow", gate.display());
    says(&bot, 3, 7, &slow).await;
    assert_eq!(posted(&bot, &path, "{}").await, 200);
    assert_eq!(toast(&press(&bot, 4, 8, 8, &data[0]).await), "✓ Yes");
    assert!(api.received("7").is_empty());
    let setup = bot.kill_all().await;
    // As if the press had been killed between its two transactions.
    let forget = "DELETE FROM turnkey_seen WHERE channel = 'telegram' AND id = '4'";
    assert_eq!(setup.open_database().execute(forget, []), Ok(1));
    std::fs::write(&gate, "").expect("the gate opens");
    let bot = setup.start().await;
    presses(&api, &bot, 4, &data[0], "✓ Yes").await;
    let all = [
        "3: slow",
        "4: callback paid application/json {}",
        "5: callback approve yes:1 by telegram:8",
    ];
    api.receives("7", &all).await;
    assert_eq!(posted(&bot, &path, "{}").await, 200);
    presses(&api, &bot, 5, &data[1], "This was answered before: Yes").await;
    assert_eq!(says(&bot, 6, 7, "hi").await, "6: hi");
    bot.stop().await.assert_sound();
}

/// The data of the buttons of the question that a chat shows, and that nothing else is there.
async fn data_of(api: &Api, chat: &str) -> Vec<String> {
    until("the question", SOON, || !api.shown(chat).is_empty()).await;
    let shown = api.shown(chat);
    let keyboard = &shown[0].message["reply_markup"]["inline_keyboard"];
    assert_eq!(keyboard[0][1]["url"], "https://example.org/who");
    let data = [&keyboard[0][0], &keyboard[1][0]];
    let data = data.map(|button| button["callback_data"].as_str().expect("data").to_owned());
    for data in &data {
        assert!(data.len() <= 64 && !data.contains("yes"), "{data}");
    }
    data.into()
}

fn pressed(update: u64, user: u64, chat: i64, data: &str) -> Value {
    let kind = if chat < 0 { "supergroup" } else { "private" };
    json!({"update_id": update, "callback_query": {"id": format!("q{update}"), "data": data,
        "chat_instance": "1", "from": {"id": user, "is_bot": false, "first_name": "Bob"},
        "message": {"message_id": 1001, "date": 1, "text": "old",
            "chat": {"id": chat, "type": kind, "title": "S"}}}})
}

async fn press(bot: &Bot, update: u64, user: u64, chat: i64, data: &str) -> Answer {
    told(bot, &pressed(update, user, chat, data)).await
}

fn toast(answer: &Answer) -> String {
    let answer = answer.json();
    assert_eq!(answer["method"], "answerCallbackQuery", "{answer}");
    answer["text"].as_str().unwrap_or_default().to_owned()
}

/// Presses as user 8 and waits for these words, which may come in a call of their own.
async fn presses(api: &Api, bot: &Bot, update: u64, data: &str, words: &str) {
    let answer = press(bot, update, 8, 8, data).await;
    if !answer.text().is_empty() {
        return assert_eq!(toast(&answer), words);
    }
    let question = json!(format!("q{update}"));
    let is_it = |fields: &Value| fields["callback_query_id"] == question && fields["text"] == words;
    until(words, SOON, || {
        let calls = api.queues.registrations();
        calls.iter().any(|call| is_it(&call.fields))
    })
    .await;
}

#[tokio::test]
async fn a_press_in_another_dialog_is_a_turn_of_whoever_asked() {
    let api = Api::start();
    let bot = setup(&api, &[]).start().await;
    let question = "asks telegram 8 approve Let in?";
    assert_eq!(says(&bot, 1, 7, question).await, "asked");
    let data = data_of(&api, "8").await;
    // Elsewhere, where it was forwarded to, and a number that no button has.
    let closed = "This question is no longer open.";
    assert_eq!(toast(&press(&bot, 2, 9, 9, &data[0]).await), closed);
    let odd = data[0].replace(":0", ":2");
    assert_eq!(toast(&press(&bot, 3, 8, 8, &odd).await), closed);
    assert_eq!(toast(&press(&bot, 4, 8, 8, &data[1]).await), "✓ No");
    api.receives("7", &["2: callback approve no:1 by telegram:8"])
        .await;
    until("its buttons go", SOON, || {
        api.shown("8")[0].message["text"] == "Let in?\n\n✓ No"
    })
    .await;
    let link = json!([[{"text": "Who?", "url": "https://example.org/who"}]]);
    let shown = api.shown("8");
    assert_eq!(shown[0].message["reply_markup"]["inline_keyboard"], link);
    let before = "This was answered before: No";
    assert_eq!(toast(&press(&bot, 5, 8, 8, &data[0]).await), before);
    // The same press again has the same answer.
    assert_eq!(toast(&press(&bot, 4, 8, 8, &data[1]).await), "✓ No");
    // No handler has run in these dialogs.
    assert_eq!(says(&bot, 6, 8, "hi").await, "1: hi");
    assert_eq!(says(&bot, 7, 7, "hi").await, "3: hi");
    // An address is no button, and a button no address.
    let path = opened(&bot, 8, 7, "paid").await;
    let token = path.rsplit('/').next().expect("a token");
    let forged = format!("turnkey:{token}:0");
    assert_eq!(toast(&press(&bot, 9, 7, 7, &forged).await), closed);
    let token = data[0].split(':').nth(1).expect("a token");
    assert_eq!(posted(&bot, &format!("/callback/{token}"), "{}").await, 404);
    assert!(!bot.stderr().contains(token));
    bot.stop().await.assert_sound();
}

/// In a group, two press at the same moment, in two workers: one turn, and each is told.
#[tokio::test]
async fn the_first_press_counts() {
    let api = Api::start();
    let bot = setup(&api, &[]).start().await;
    for round in 0..6 {
        let (asker, group) = (100 + round, -1000 - round as i64);
        let question = format!("asks telegram 8@{group} approve Let in?");
        assert_eq!(says(&bot, round * 10, asker, &question).await, "asked");
        let data = data_of(&api, &group.to_string()).await;
        let both = tokio::join!(
            press(&bot, round * 10 + 1, 8, group, &data[0]),
            press(&bot, round * 10 + 2, 9, group, &data[1]),
        );
        let said = [toast(&both.0), toast(&both.1)];
        let (first, who) = match said[0].starts_with('✓') {
            true => ("Yes", format!("yes:1 by telegram:8@{group}")),
            false => ("No", format!("no:1 by telegram:9@{group}")),
        };
        assert!(said.contains(&format!("✓ {first}")), "{said:?}");
        let before = format!("This was answered before: {first}");
        assert!(said.contains(&before), "{said:?}");
        let told = format!("2: callback approve {who}");
        api.receives(&asker.to_string(), &[&told]).await;
        assert_eq!(says(&bot, round * 10 + 3, asker, "hi").await, "3: hi");
    }
    bot.stop().await.assert_sound();
}

/// The data of the first button of the question in a call.
fn first_data(calls: &[Call], chat: &str) -> Option<(String, Value)> {
    let asked = calls.iter().find(|call| call.chat == chat)?.body.clone();
    let text = asked.to_string();
    let data = &text[text.find("turnkey:")?..];
    let is_data = |c: char| c.is_ascii_alphanumeric() || "-_:".contains(c);
    let length = data.find(|c| !is_data(c))?;
    Some((data[..length].to_owned(), asked))
}

#[tokio::test]
async fn a_question_is_answered_on_each_platform() {
    let api = Api::start();
    let setup = Setup::commands().args(&["--workers", "2"]);
    let bot = api.configure(setup).start().await;
    let mut expected = Vec::new();
    for (n, channel) in (1..).zip(["viber", "facebook", "vk"]) {
        let user = format!("{}", 800 + n);
        let question = format!("asks {channel} {user} approve Let in?");
        assert_eq!(says(&bot, n, 7, &question).await, "asked");
        until("the question", SOON, || {
            first_data(&api.calls(), &user).is_some()
        })
        .await;
        let (data, asked) = first_data(&api.calls(), &user).expect("it is there");
        let request = |id: u64, data: &str| match channel {
            "viber" => {
                let tracking = asked["tracking_data"].clone();
                let press = json!({"type": "text", "text": data, "tracking_data": tracking});
                webhooks::viber(&webhooks::viber_message(id, &user, press))
            }
            "facebook" => {
                let press =
                    json!({"postback": {"title": "Yes", "payload": data, "mid": format!("m{id}")}});
                webhooks::facebook(webhooks::batch(&[webhooks::facebook_event(&user, press)]))
            }
            _ => {
                let press = json!({"user_id": 803, "peer_id": 803, "event_id": format!("t{id}"),
                    "payload": {"button": data}, "conversation_message_id": 1});
                webhooks::vk_event("message_event", &format!("e{id}"), press)
            }
        };
        assert_eq!(once(bot.port, request(1, &data)).await.status, 200);
        expected.push(format!(
            "{}: callback approve yes:1 by {channel}:{user}",
            n * 2
        ));
        let said: Vec<&str> = expected.iter().map(String::as_str).collect();
        api.receives("7", &said).await;
        // Whoever presses later is told.
        assert_eq!(once(bot.port, request(2, &data)).await.status, 200);
        until("a word of it", SOON, || {
            let before = "This was answered before: Yes";
            api.calls().iter().any(|call| {
                let is_here = call.chat == user || call.body["user_id"] == user;
                is_here && call.body.to_string().contains(before)
            })
        })
        .await;
    }
    let edited = api.called("messages.edit");
    assert_eq!(edited[0]["message"], "Let in?\n\n✓ Yes");
    bot.stop().await.assert_sound();
}

#[tokio::test]
async fn questions_are_asked_and_answered_where_updates_are_polled() {
    let api = Api::start();
    let bot = polling::telegram(&api, Setup::commands()).start().await;
    api.queues
        .push([text(1, 7, "asks telegram 8 approve Let in?")]);
    let data = data_of(&api, "8").await;
    api.queues.push([pressed(2, 8, 8, &data[0])]);
    api.receives("7", &["asked", "2: callback approve yes:1 by telegram:8"])
        .await;
    let answers = api.queues.registrations();
    assert_eq!(answers[0].fields["text"], "✓ Yes");
    bot.stop().await.assert_sound();
}

#[tokio::test]
async fn so_it_is_in_python_and_javascript() {
    for (file, interpreter) in [("commands.py", "python3"), ("commands.mjs", "node")] {
        if !has(interpreter) {
            skipped(&format!("callbacks in {file}: {interpreter} is missing"));
            continue;
        }
        let api = Api::start();
        let setup = Setup::handled_by(file).args(&["--workers", "2", "--public-url", URL]);
        let setup = setup.env("TURNKEY_TELEGRAM_SECRET", SECRET);
        let bot = api.configure(setup).start().await;
        let path = opened(&bot, 1, 7, "paid 2d").await;
        for _ in 0..2 {
            assert_eq!(posted(&bot, &path, r#"{"sum":7}"#).await, 200);
        }
        let paid = r#"2: callback paid application/json {"sum":7}"#;
        api.receives("7", &[paid]).await;
        let question = "asks telegram 8 approve Let in?";
        assert_eq!(says(&bot, 2, 9, question).await, "asked");
        let data = data_of(&api, "8").await;
        presses(&api, &bot, 3, &data[1], "✓ No").await;
        api.receives("9", &["2: callback approve no:1 by telegram:8"])
            .await;
        let late = opened(&bot, 4, 10, "late 0s").await;
        assert_eq!(posted(&bot, &late, "").await, 410);
        bot.stop().await.assert_sound();
    }
}

#[tokio::test]
async fn what_cannot_be_asked_is_refused_by_name() {
    let api = Api::start();
    let bot = setup(&api, &["--max-attempts", "1"]).start().await;
    let long = "x".repeat(5000);
    for (update, asks, why) in [
        (1, "nowhere 8 approve x", "no channel \"nowhere\""),
        (2, "http 8 approve x", "\"http\" has nobody to send to"),
        (
            3,
            &format!("telegram 8 approve {long}"),
            "a question is one message",
        ),
        (
            4,
            &format!("telegram 8 {} x", &long[..65]),
            "name has 1 to 64 bytes",
        ),
    ] {
        says(&bot, update, 7, &format!("asks {asks}")).await;
        bot.wait_for_stderr(why).await;
    }
    assert!(api.shown("8").is_empty());
    bot.stop().await.assert_sound();
}
