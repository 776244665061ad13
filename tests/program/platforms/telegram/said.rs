//! What a handler says is what the chat shows; names of messages outlive turns and programs.

use super::*;
use crate::harness::api::Mood;

#[tokio::test]
async fn a_menu_is_edited_in_its_place() {
    let api = Api::start();
    let bot = start(&api).await;
    let menu = json!([{"text": "first"}, {"text": "*Tea*?", "format": "markup", "name": "menu",
        "buttons": [[{"label": "Yes", "data": "y"}, {"label": "Page", "url": "https://example.org"}]]}]);
    tell(&bot, &asked(1, 7, &menu)).await;
    until("both", SOON, || texts(&api, "7") == ["first", "Tea?"]).await;
    let message = &api.shown("7")[1].message;
    assert_eq!(
        message["entities"],
        json!([{"type": "italic", "offset": 0, "length": 3}])
    );
    assert_eq!(
        message["reply_markup"],
        json!({"inline_keyboard": [[{"text": "Yes", "callback_data": "y"},
            {"text": "Page", "url": "https://example.org"}]]})
    );
    // Another turn, and another program.
    let bot = bot.stop().await.start().await;
    tell(
        &bot,
        &asked(
            2,
            7,
            &json!([{"edit": "menu", "text": "Coffee?"}, {"text": "last"}]),
        ),
    )
    .await;
    until("an edit", SOON, || {
        texts(&api, "7") == ["first", "Coffee?", "last"]
    })
    .await;
    assert!(api.shown("7")[1].message.get("reply_markup").is_none());
    // The same once more is no error.
    tell(
        &bot,
        &asked(3, 7, &json!([{"edit": "menu", "text": "Coffee?"}])),
    )
    .await;
    // Only its buttons.
    let buttons = json!([{"edit": "menu", "buttons": [{"label": "A", "data": "a"}]}]);
    tell(&bot, &asked(4, 7, &buttons)).await;
    until("buttons", SOON, || {
        api.shown("7")[1].message["reply_markup"]["inline_keyboard"][0][0]["text"] == "A"
    })
    .await;
    tell(
        &bot,
        &asked(5, 7, &json!([{"delete": "menu"}, {"text": "gone"}])),
    )
    .await;
    until("a deletion", SOON, || {
        texts(&api, "7") == ["first", "last", "gone"]
    })
    .await;
    // The name is gone with it, and nothing is called.
    let before = api.calls().len();
    tell(
        &bot,
        &asked(
            6,
            7,
            &json!([{"edit": "menu", "text": "?"}, {"text": "end"}]),
        ),
    )
    .await;
    until("the end", SOON, || texts(&api, "7").len() == 4).await;
    assert_eq!(api.calls().len(), before + 1);
    bot.stop().await.assert_sound();
}

/// A message that somebody deleted meanwhile is told in the log, and holds up nothing.
#[tokio::test]
async fn a_message_that_is_gone_is_no_error() {
    let api = Api::start();
    let bot = start(&api).await;
    let names = json!([{"text": "a", "name": "a"}, {"text": "b", "name": "b"}]);
    tell(&bot, &asked(1, 7, &names)).await;
    until("both", SOON, || api.shown("7").len() == 2).await;
    let words = "Bad Request: message to edit not found";
    api.be("7", &[Mood::Says(400, words)]);
    tell(
        &bot,
        &asked(
            2,
            7,
            &json!([{"edit": "a", "text": "x"}, {"delete": "b"}, {"text": "c"}]),
        ),
    )
    .await;
    until("the others", SOON, || texts(&api, "7") == ["a", "c"]).await;
    bot.wait_for_stderr("is gone").await;
    bot.stop().await.assert_sound();
}

/// Which of them it is Telegram tells: a file's text is its caption.
#[tokio::test]
async fn the_text_of_a_file_is_edited_likewise() {
    let api = Api::start();
    let bot = start(&api).await;
    let photo = json!([{"text": "old", "name": "p", "files": [{"url": "https://e.org/1.jpg"}]}]);
    tell(&bot, &asked(1, 7, &photo)).await;
    until("a photo", SOON, || texts(&api, "7") == ["old"]).await;
    tell(&bot, &asked(2, 7, &json!([{"edit": "p", "text": "new"}]))).await;
    until("a caption", SOON, || texts(&api, "7") == ["new"]).await;
    let swapped = json!([{"edit": "p", "text": "film", "files": [{"type": "video", "id": "v"}]}]);
    tell(&bot, &asked(3, 7, &swapped)).await;
    until("a film", SOON, || {
        api.shown("7")[0].message["video"]["file_id"] == "v"
    })
    .await;
    let methods: Vec<_> = api.calls().into_iter().map(|call| call.method).collect();
    assert_eq!(
        methods,
        [
            "sendPhoto",
            "editMessageText",
            "editMessageCaption",
            "editMessageMedia"
        ]
    );
    bot.stop().await.assert_sound();
}

#[tokio::test]
async fn everything_that_a_reply_can_have_goes_out() {
    let api = Api::start();
    let bot = start(&api).await;
    let all = json!([
        {"text": "quiet", "quote": true, "silent": true, "protected": true, "no_preview": true},
        {"text": "keys", "keyboard": {"once": [[{"label": "Me", "request": "contact"}, {"label": "Hi"}]]}},
        {"text": "none", "keyboard": "remove"},
        {"location": {"latitude": 1.5, "longitude": 2.5, "title": "Café", "address": "Street 5"}},
        {"contact": {"phone": "+43", "name": "Ann"}},
        {"files": [{"type": "sticker", "id": "s"}], "text": "look"},
    ]);
    tell(&bot, &asked(5, 7, &all)).await;
    let calls = calls(&api, 7).await;
    let methods: Vec<_> = calls.iter().map(|call| call.method.as_str()).collect();
    assert_eq!(
        methods,
        [
            "sendMessage",
            "sendMessage",
            "sendMessage",
            "sendVenue",
            "sendContact",
            "sendSticker",
            "sendMessage"
        ]
    );
    let quiet = &calls[0].body;
    assert_eq!(quiet["reply_parameters"]["message_id"], 5);
    assert_eq!(quiet["disable_notification"], true);
    assert_eq!(quiet["protect_content"], true);
    assert_eq!(
        calls[1].body["reply_markup"]["keyboard"][0][0]["request_contact"],
        true
    );
    bot.stop().await.assert_sound();
}

/// What Telegram would never take fails the turn, in a sentence; nothing is sent.
#[tokio::test]
async fn what_telegram_never_takes_fails_the_turn() {
    let api = Api::start();
    let bot = start_with(&api, &["--max-attempts", "1"]).await;
    for (number, (action, why)) in [
        (
            json!({"text": "x", "buttons": [{"label": "Call", "phone": "+43"}]}),
            "call a number",
        ),
        (
            json!({"files": [{"type": "video_note", "url": "https://e.org/1"}]}),
            "video notes",
        ),
        (json!({"toast": "x".repeat(300)}), "200 characters"),
        (json!({"call": "getUpdates"}), "where the bot's updates go"),
        (
            json!({"edit": {"message": "5"}, "keyboard": "remove"}),
            "no keyboard",
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let update = asked(number as u64 + 1, 7, &json!([{"text": "first"}, action]));
        once(bot.port, webhook(&update)).await;
        bot.wait_for_stderr(why).await;
    }
    assert!(api.calls().is_empty(), "{:?}", api.calls());
    bot.stop().await.assert_sound();
}

/// Any method, in the replies' order; and an answer at once.
#[tokio::test]
async fn any_method_can_be_called() {
    let api = Api::start();
    let bot = start(&api).await;
    let calls_one = json!([{"text": "a"}, {"call": "sendDice", "params": {"emoji": "🎲"}, "name": "dice"},
        {"text": "b"}]);
    tell(&bot, &asked(1, 7, &calls_one)).await;
    let made = calls(&api, 3).await;
    let methods: Vec<_> = made.iter().map(|call| call.method.as_str()).collect();
    assert_eq!(methods, ["sendMessage", "sendDice", "sendMessage"]);
    assert_eq!(made[1].body, json!({"chat_id": "7", "emoji": "🎲"}));
    // What it sent has its name, also where it was sent elsewhere.
    let elsewhere = json!([{"delete": "dice"}, {"call": "sendMessage", "name": "there",
        "params": {"chat_id": 99, "text": "hi"}}]);
    tell(&bot, &asked(2, 7, &elsewhere)).await;
    until("a deletion", SOON, || texts(&api, "7") == ["a", "b"]).await;
    until("a message there", SOON, || texts(&api, "99") == ["hi"]).await;
    tell(
        &bot,
        &asked(3, 7, &json!([{"edit": "there", "text": "ho"}])),
    )
    .await;
    until("an edit there", SOON, || texts(&api, "99") == ["ho"]).await;
    // An answer now: of this chat, if none is named.
    let member = tell(&bot, &text(4, 8, "call getChatMember {\"user_id\":7}")).await;
    let said: Value = serde_json::from_str(member.json()["text"].as_str().unwrap()).unwrap();
    assert_eq!(said["status"], "member");
    let asked_with = api.calls().pop().unwrap().body;
    assert_eq!(asked_with, json!({"chat_id": "8", "user_id": 7}));
    let unknown = tell(&bot, &text(5, 8, "call getTea")).await;
    let said = unknown.json()["text"].as_str().unwrap().to_owned();
    assert!(
        said.contains("method not found") && !said.contains("12345"),
        "{said}"
    );
    // A method that there is not is no reason to wait.
    tell(
        &bot,
        &asked(6, 7, &json!([{"call": "brewTea"}, {"text": "on"}])),
    )
    .await;
    until("what follows", SOON, || {
        texts(&api, "7").ends_with(&["on".to_owned()])
    })
    .await;
    bot.stop().await.assert_sound();
}

/// Edits and deletions follow a group to its new id as replies do.
#[tokio::test]
async fn a_group_that_moved_is_followed() {
    let api = Api::start();
    let bot = start(&api).await;
    let in_group = |update: u64, actions: Value| {
        let mut update = asked(update, 7, &actions);
        update["message"]["chat"] = json!({"id": -777, "type": "group", "title": "G"});
        update
    };
    api.be("-777", &[Mood::Moved(-1_000_000_000_777)]);
    tell(
        &bot,
        &in_group(1, json!([{"text": "a", "name": "a"}, {"text": "b"}])),
    )
    .await;
    let new = "-1000000000777";
    until("both", SOON, || texts(&api, new) == ["a", "b"]).await;
    tell(
        &bot,
        &in_group(2, json!([{"edit": "a", "text": "c"}, {"call": "sendDice"}])),
    )
    .await;
    until("an edit", SOON, || texts(&api, new).len() == 3).await;
    assert_eq!(texts(&api, new)[..2], ["c", "b"]);
    assert_eq!(
        api.calls()
            .iter()
            .filter(|call| call.chat == "-777")
            .count(),
        1
    );
    bot.stop().await.assert_sound();
}

/// "Wrong file_id" also stands for a server that was busy: asked once more, then believed.
#[tokio::test]
async fn a_file_that_is_refused_is_tried_once_more() {
    let api = Api::start();
    let bot = start(&api).await;
    let busy = Mood::Says(
        400,
        "Bad Request: wrong file_id or the file is temporarily unavailable",
    );
    let photo = json!([{"files": [{"id": "p"}]}, {"text": "end"}]);
    api.be("7", &[busy]);
    tell(&bot, &asked(1, 7, &photo)).await;
    until("both", SOON, || texts(&api, "7") == ["?", "end"]).await;
    api.be("7", &[busy, busy]);
    tell(&bot, &asked(2, 7, &photo)).await;
    until("the second", SOON, || {
        texts(&api, "7") == ["?", "end", "end"]
    })
    .await;
    assert_eq!(api.calls().len(), 6);
    bot.stop().await.assert_sound();
}
