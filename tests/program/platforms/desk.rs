//! The support desk of the examples, in each language, against a Telegram that keeps messages:
//! a menu that is edited in its place, a topic for each customer, files and formatting both
//! ways; and a `kill -9` of everything in the midst of each step.

use serde_json::{Value, json};

use super::polling;
use crate::harness::api::{Api, Mood, Shown};
use crate::harness::bot::{Bot, LATER, Setup, until};
use crate::harness::programs::has;

/// The group in which people answer.
const GROUP: &str = "-1001234567890";

const WELCOME: &str = "Write what you would like to know, or send a photo or a document.";
const WILLKOMMEN: &str =
    "Schreiben Sie uns, was Sie wissen möchten, oder schicken Sie ein Foto oder ein Dokument.";
const RECEIVED: &str = "Danke. Sie bekommen hier Antwort.";

/// A message of the customer with this content; its number is the update's.
fn of_customer(update: u64, content: Value) -> Value {
    message(
        update,
        7,
        json!({"id": 7, "type": "private", "first_name": "Ann"}),
        content,
    )
}

/// A message of somebody who answers, in a group.
fn of_group(update: u64, group: &str, content: Value) -> Value {
    let group: i64 = group.parse().expect("a number");
    let chat = json!({"id": group, "type": "supergroup", "title": "Desk", "is_forum": true});
    message(update, 900, chat, content)
}

/// The same, in a topic.
fn of_topic(update: u64, topic: u64, mut content: Value) -> Value {
    content["message_thread_id"] = topic.into();
    content["is_topic_message"] = true.into();
    of_group(update, GROUP, content)
}

fn message(update: u64, user: u64, chat: Value, content: Value) -> Value {
    let mut message = content;
    message["message_id"] = update.into();
    message["date"] = 1_700_000_000.into();
    message["chat"] = chat;
    message["from"] = json!({"id": user, "is_bot": false, "first_name": "Ann",
        "language_code": "en"});
    json!({"update_id": update, "message": message})
}

/// The bot, as a member of this sort.
fn member(status: &str) -> Value {
    json!({"status": status, "user": {"id": 12345, "is_bot": true, "first_name": "Bot"}})
}

fn pressed(update: u64, message: u64, data: &str) -> Value {
    json!({"update_id": update, "callback_query": {"id": format!("q{update}"), "data": data,
        "chat_instance": "1",
        "from": {"id": 7, "is_bot": false, "first_name": "Ann", "language_code": "en"},
        "message": {"message_id": message, "date": 1, "text": "old",
            "chat": {"id": 7, "type": "private", "first_name": "Ann"}}}})
}

/// What the customer sees, once it is so many messages.
async fn sees(api: &Api, count: usize) -> Vec<Shown> {
    let what = format!("{count} messages to the customer");
    until(&what, LATER, || api.shown("7").len() >= count).await;
    let shown = api.shown("7");
    assert_eq!(shown.len(), count, "{shown:?}");
    shown
}

/// Waits until the menu has this text: it is still the customer's only message.
async fn menu(api: &Api, text: &str) -> Shown {
    until(text, LATER, || {
        let shown = api.shown("7");
        shown
            .first()
            .is_some_and(|menu| menu.message["text"] == text)
    })
    .await;
    sees(api, 1).await.remove(0)
}

/// The data of a message's buttons, a row each.
fn buttons(shown: &Shown) -> Vec<&str> {
    let rows = shown.message["reply_markup"]["inline_keyboard"].as_array();
    let rows = rows.into_iter().flatten();
    rows.filter_map(|row| row[0]["callback_data"].as_str())
        .collect()
}

/// The messages that were copied into the group, in order, and the topics of the copies.
fn copies(api: &Api) -> Vec<Value> {
    let calls = api.calls().into_iter();
    calls
        .filter(|call| call.method == "copyMessage" && call.accepted)
        .map(|call| call.body)
        .collect()
}

/// Kills all of it, once there are so many calls of this method: the last one hangs.
async fn killed(api: &Api, bot: Bot, method: &str, calls: usize) -> Bot {
    let what = format!("{calls} calls of {method}");
    until(&what, LATER, || api.called(method).len() >= calls).await;
    bot.kill_all().await.start().await
}

async fn answers(setup: Setup) {
    let api = Api::start();
    let setup = polling::telegram(&api, setup.env("DESK_GROUP", GROUP));
    let bot = setup.start().await;

    // The menu is changed in its place. Whoever only unblocks the bot has said nothing.
    let unblocked = json!({"update_id": 100, "my_chat_member": {
        "chat": {"id": 7, "type": "private", "first_name": "Ann"}, "date": 1,
        "from": {"id": 7, "is_bot": false, "first_name": "Ann"},
        "old_chat_member": member("kicked"), "new_chat_member": member("member")}});
    api.queues
        .push([unblocked, of_customer(101, json!({"text": "/start"}))]);
    let shown = menu(&api, WELCOME).await;
    let bold = |text: &str| json!([{"type": "bold", "offset": 0, "length": text.len()}]);
    assert_eq!(shown.message["entities"], bold(WELCOME));
    assert_eq!(buttons(&shown), ["languages"]);
    api.queues.push([pressed(102, shown.id, "languages")]);
    let languages = menu(&api, "Language").await;
    assert_eq!(
        (languages.id, buttons(&languages)),
        (shown.id, vec!["language en", "language de", "menu"])
    );
    api.queues.push([pressed(103, shown.id, "menu")]);
    menu(&api, WELCOME).await;
    api.queues.push([pressed(104, shown.id, "language de")]);
    let shown = menu(&api, WILLKOMMEN).await;
    assert_eq!(buttons(&shown), ["languages"]);
    let presses = || {
        let calls = api.queues.registrations().into_iter();
        let presses = calls.filter(|call| call.method == "answerCallbackQuery");
        presses.map(|call| call.fields).collect::<Vec<_>>()
    };
    until("three answers", LATER, || presses().len() == 3).await;
    let toast = json!({"callback_query_id": "q104", "text": "Gespeichert"});
    assert_eq!(presses()[2], toast);

    // A topic is opened, and the copy is on its way when everything dies.
    api.be(GROUP, &[Mood::Well, Mood::Hanging]);
    api.queues
        .push([of_customer(105, json!({"text": "Hallo?"}))]);
    let bot = killed(&api, bot, "copyMessage", 1).await;
    assert_eq!(sees(&api, 2).await[1].message["text"], RECEIVED);
    let topics = api.called("createForumTopic");
    assert_eq!(topics, [json!({"chat_id": GROUP, "name": "Ann (7)"})]);
    let topic = api.shown(GROUP)[0].message["message_thread_id"].clone();
    let copy = |message: u64| {
        json!({"chat_id": GROUP, "message_thread_id": topic, "from_chat_id": "7",
            "message_id": message})
    };
    assert_eq!(copies(&api), [copy(105)]);

    // The same with a photo; what dies is the answer.
    api.be("7", &[Mood::Hanging]);
    let photo = json!([{"file_id": "shoe", "file_unique_id": "s", "width": 1, "height": 1}]);
    api.queues.push([of_customer(106, json!({"photo": photo}))]);
    let bot = killed(&api, bot, "sendMessage", 3).await;
    assert_eq!(sees(&api, 3).await[2].message["text"], RECEIVED);
    assert_eq!(copies(&api), [copy(105), copy(106)]);

    // What is said in the topic reaches the customer, and nothing else does.
    let topic = topic.as_u64().expect("a number");
    let elsewhere = json!({"text": "to nobody", "message_thread_id": topic,
        "is_topic_message": true});
    api.be("7", &[Mood::Hanging]);
    api.queues.push([
        of_group(107, GROUP, json!({"text": "to all"})),
        of_group(108, "-1009", elsewhere),
        of_topic(109, topic + 50, json!({"text": "to a stranger"})),
        of_topic(
            110,
            topic,
            json!({"text": "Ab 10:00, *pünktlich*!",
                "entities": [{"type": "bold", "offset": 3, "length": 5}]}),
        ),
        of_topic(
            111,
            topic,
            json!({"caption": "Die Rechnung", "document": {"file_id": "bill",
                "file_unique_id": "b", "file_name": "bill.pdf"}}),
        ),
    ]);
    let bot = killed(&api, bot, "sendMessage", 5).await;
    let shown = sees(&api, 5).await;
    assert_eq!(shown[3].message["text"], "Ab 10:00, *pünktlich*!");
    let bold = json!([{"type": "bold", "offset": 3, "length": 5}]);
    assert_eq!(shown[3].message["entities"], bold);
    assert_eq!(shown[4].message["document"]["file_id"], "bill");
    assert_eq!(shown[4].message["caption"], "Die Rechnung");

    // Another menu takes the place of the first.
    api.queues
        .push([of_customer(112, json!({"text": "/start"}))]);
    until("another menu", LATER, || {
        let shown = api.shown("7");
        shown.len() == 5 && shown[4].message["text"] == WILLKOMMEN
    })
    .await;
    assert_eq!(api.called("createForumTopic").len(), 1);
    assert_eq!(copies(&api).len(), 2);

    // Something for all customers, which whoever answers is not.
    let to_all = bot.setup.tool(&[
        "broadcast",
        "--channel",
        "telegram",
        "--where",
        "user_id IN (SELECT customer FROM topics)",
        "--text",
        "We are closed on Monday.",
    ]);
    assert_eq!(to_all.code, Some(0), "{to_all:?}");
    let shown = sees(&api, 6).await;
    assert_eq!(shown[5].message["text"], "We are closed on Monday.");
    assert!(api.shown("900").is_empty());
    let failed = bot.setup.tool(&["dead", "list"]);
    assert_eq!((failed.code, failed.stdout.as_str()), (Some(0), ""));
    let setup = bot.stop().await;
    let rows = setup.open_database().query_row(
        "SELECT count(*), min(topic), min(customer) FROM topics",
        [],
        |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
    );
    let row: (u32, String, String) = rows.expect("a row");
    assert_eq!(row, (1, topic.to_string(), "7".to_owned()));
    setup.assert_sound();
}

#[tokio::test]
async fn the_desk_answers_in_rust() {
    answers(Setup::desk()).await;
}

#[tokio::test]
async fn the_desk_answers_in_python() {
    if has("python3") {
        answers(Setup::example_in("desk.py")).await;
    }
}

#[tokio::test]
async fn the_desk_answers_in_javascript() {
    if has("node") {
        answers(Setup::example_in("desk.mjs")).await;
    }
}
