//! What rides in the answer, what is sent, and in which order.

use super::calls::dump;
use super::*;
use crate::author::message::Button;
use crate::author::message::{Keyboard, Press, Request, Target};

fn toast(text: &str) -> Action {
    Action::Toast {
        text: text.to_owned(),
        alert: false,
    }
}

fn call(method: &str, params: Value) -> Action {
    Action::Call {
        method: method.to_owned(),
        params,
        name: None,
    }
}

fn json_of(answer: &[u8]) -> Value {
    let call: Value = serde_json::from_slice(answer).unwrap_or_default();
    if let (Some(method), mut params) = (call["method"].as_str(), call.clone()) {
        params.as_object_mut().unwrap().remove("method");
        dump(method, &params);
    }
    call
}

/// In a chat of its own: tests beside this one use up the places of others.
fn press() -> Update {
    let mut update = pressed(&json!({}));
    update.address = "-5151".to_owned();
    update
}

#[test]
fn a_press_is_answered_once() {
    let telegram = telegram_bot();
    let plain = json!({"method": "answerCallbackQuery", "callback_query_id": "q"});
    let plan = telegram.plan(&press(), &["hi".into()]).unwrap();
    assert_eq!(
        (json_of(&plan.answer), plan.send),
        (plain.clone(), vec!["hi".into()])
    );
    let plan = telegram
        .plan(&press(), &["hi".into(), toast("Saved")])
        .unwrap();
    let said = json!({"method": "answerCallbackQuery", "callback_query_id": "q", "text": "Saved"});
    assert_eq!(
        (json_of(&plan.answer), plan.send),
        (said, vec!["hi".into()])
    );
    let alert = Action::Toast {
        text: "Stop".to_owned(),
        alert: true,
    };
    let plan = telegram.plan(&press(), &[alert]).unwrap();
    assert_eq!(json_of(&plan.answer)["show_alert"], true);
    // The author's own answer, of a game say.
    let opens = call("answerCallbackQuery", json!({"url": "https://example.org"}));
    let plan = telegram
        .plan(&press(), &[opens.clone(), "hi".into()])
        .unwrap();
    assert_eq!(json_of(&plan.answer)["callback_query_id"], "q");
    assert_eq!(
        (json_of(&plan.answer)["url"].as_str(), plan.send.len()),
        (Some("https://example.org"), 1)
    );
    for twice in [vec![toast("a"), toast("b")], vec![toast("a"), opens]] {
        let error = telegram.plan(&press(), &twice).unwrap_err();
        assert!(error.contains("once"), "{error}");
    }
    let long = telegram
        .plan(&press(), &[toast(&"x".repeat(201))])
        .unwrap_err();
    assert!(long.contains("200 characters"), "{long}");
    // Of a turn that takes long the answer comes with its commit: a call, and the first one.
    assert!(telegram.accepted(&press()).is_empty());
    let late = telegram
        .plan_late(&press(), &["hi".into(), toast("Saved")])
        .unwrap();
    let said = call(
        "answerCallbackQuery",
        json!({"callback_query_id": "q", "text": "Saved"}),
    );
    assert_eq!(late, [said, "hi".into()]);
    let late = telegram.plan_late(&press(), &["hi".into()]).unwrap();
    let ended = call("answerCallbackQuery", json!({"callback_query_id": "q"}));
    assert_eq!(late, [ended, "hi".into()]);
    // Where no turn runs it waits no longer, too.
    assert_eq!(json_of(&telegram.unheard(&press())), plain);
    assert_eq!(json_of(&telegram.given_up(&press())), plain);
}

/// Where nothing was pressed a toast is said.
#[test]
fn a_toast_over_nothing_is_a_message() {
    let mut update = said(&json!({}));
    update.address = "-5252".to_owned();
    let plan = telegram_bot()
        .plan(&update, &["a".into(), toast("Saved"), toast(" ")])
        .unwrap();
    assert_eq!(plan.send, ["a".into(), "Saved".into()]);
}

/// A question before a payment is answered before anything else is done.
#[test]
fn questions_are_answered_first() {
    let from = json!({"id": 600, "first_name": "A"});
    for (name, method, field) in [
        (
            "pre_checkout_query",
            "answerPreCheckoutQuery",
            "pre_checkout_query_id",
        ),
        ("shipping_query", "answerShippingQuery", "shipping_query_id"),
        ("inline_query", "answerInlineQuery", "inline_query_id"),
    ] {
        let update = one(
            &json!({"update_id": 1, name: {"id": "p", "from": from, "query": "", "invoice_payload": "x"}}),
        );
        let said = match name {
            "inline_query" => json!({"results": []}),
            _ => json!({"ok": true}),
        };
        let mut named = said.clone();
        named[field] = json!("p");
        let actions = ["thanks".into(), call(method, said)];
        let plan = telegram_bot().plan(&update, &actions).unwrap();
        let mut rides = named.clone();
        rides["method"] = json!(method);
        assert_eq!(json_of(&plan.answer), rides);
        assert_eq!(plan.send, ["thanks".into()]);
        let late = telegram_bot().plan_late(&update, &actions).unwrap();
        assert_eq!(late, [call(method, named), "thanks".into()]);
        // Polled: a call, so that it is tried again.
        let plan = polling().plan(&update, &actions).unwrap();
        assert!(plan.answer.is_empty());
        assert_eq!(plan.send, late);
    }
    let plan = polling()
        .plan(&press(), &["hi".into(), toast("Saved")])
        .unwrap();
    assert!(plan.answer.is_empty() && plan.send.len() == 2);
    let plan = polling().plan(&press(), &["hi".into()]).unwrap();
    assert_eq!(json_of(&plan.answer)["method"], "answerCallbackQuery");
}

/// Also with everything that a text can have.
#[test]
fn what_rode_is_what_was_said() {
    let telegram = telegram_bot();
    let mut update = said(&json!({}));
    let keys = || {
        vec![
            vec![
                Button::that("Me", Press::Request(Request::Contact)),
                Button::that("Yes", Press::Say),
            ],
            vec![
                Button::that("Where", Press::Request(Request::Location)),
                Button::that("App", Press::WebApp("https://e.org".to_owned())),
            ],
        ]
    };
    for (chat, reply) in [
        Reply::markup("**a** [b](https://e.org) `😀`\n> q")
            .silent()
            .protected()
            .no_preview(),
        Reply::from("x")
            .row([Button::new("a", "1"), Button::link("b", "https://e.org")])
            .row([Button::that("c", Press::WebApp("https://e.org".to_owned()))]),
        Reply::from("x").keyboard(Keyboard::Rows(keys())),
        Reply::from("x").keyboard(Keyboard::Once(keys())),
        Reply::from("x").keyboard(Keyboard::Remove),
        Reply::from("x").quoting(Target::Message("5".to_owned())),
        Reply::from("x").quoting(Target::Message("-1001/5".to_owned())),
    ]
    .into_iter()
    .enumerate()
    {
        update.address = format!("88{chat}");
        let plan = telegram.plan(&update, &[reply.clone().into()]).unwrap();
        let expected = telegram.fit(&reply).unwrap().remove(0);
        assert_eq!(
            telegram.rode(&plan.answer),
            Some(expected.into()),
            "{}",
            json_of(&plan.answer)
        );
    }
    // Of these it must be known what became of them.
    update.address = "8899".to_owned();
    for reply in [
        Reply::from("x").named("menu"),
        Reply::photo("https://e.org/1.png"),
        Reply::from("x").quoting("menu"),
    ] {
        let plan = telegram.plan(&update, &[reply.into()]).unwrap();
        assert!(plan.answer.is_empty() && plan.send.len() == 1);
    }
}

/// Without a token one call is all that can be done, whichever it is.
#[test]
fn without_a_token_the_first_rides() {
    let telegram = tokenless();
    let update = said(&json!({}));
    let of = |actions: &[Action]| {
        let plan = telegram.plan(&update, actions).unwrap();
        assert!(plan.send.is_empty());
        json_of(&plan.answer)["method"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    };
    assert_eq!(of(&["a".into(), "b".into()]), "sendMessage");
    assert_eq!(
        of(&[Reply::photo("https://e.org/1.png").into()]),
        "sendPhoto"
    );
    assert_eq!(
        of(&[Action::Delete {
            message: Target::Message("5".to_owned())
        }]),
        "deleteMessage"
    );
    assert_eq!(of(&[call("sendDice", Value::Null)]), "sendDice");
    assert_eq!(of(&[]), "");
    let upload = telegram
        .plan(&update, &[Reply::photo("/tmp/1.png").into()])
        .unwrap_err();
    assert!(upload.contains("token"), "{upload}");
    // A press that says nothing waits no longer.
    let plan = telegram.plan(&press(), &[]).unwrap();
    assert_eq!(json_of(&plan.answer)["method"], "answerCallbackQuery");
}

/// That the bot is writing, where it is seen; a text that grows, in private.
#[test]
fn what_is_shown_for_a_moment() {
    let of = |fields: &Value, text: &str| {
        let calls = telegram::shown_of(&said(fields), text);
        calls
            .iter()
            .for_each(|(method, params)| dump(method, params));
        calls
    };
    let typing = |chat: &str| {
        let params = json!({"chat_id": chat, "action": "typing"});
        ("sendChatAction".to_owned(), params)
    };
    let private = json!({"chat": {"id": 600, "type": "private"}});
    let draft = json!({"chat_id": "600", "draft_id": 2, "text": "So far"});
    let draft = ("sendMessageDraft".to_owned(), draft);
    assert_eq!(of(&private, "So far"), [typing("600"), draft]);
    let long = of(&private, &"😀".repeat(3000)).remove(1).1;
    assert_eq!(long["text"].as_str().unwrap().encode_utf16().count(), 4096);
    assert_eq!(of(&json!({}), "x"), [typing("-1000000000503")]);
    let topic = of(
        &json!({"message_thread_id": 42, "is_topic_message": true}),
        "x",
    );
    assert_eq!(topic[0].1["message_thread_id"], 42);
    let business = json!({"chat": {"id": 600, "type": "private"}, "business_connection_id": "b"});
    assert_eq!(of(&business, "x").len(), 1);
    let channel = json!({"chat": {"id": -1, "type": "channel"}});
    assert!(of(&channel, "x").is_empty());
}

/// What is no message to a chat does not wait for the chat's places.
#[test]
fn what_a_chat_does_not_see_is_not_paced() {
    let telegram = telegram_bot();
    for method in [
        "sendInvoice",
        "copyMessage",
        "forwardMessages",
        "editMessageText",
    ] {
        assert!(telegram.is_paced(&call(method, Value::Null)), "{method}");
    }
    for method in [
        "answerCallbackQuery",
        "answerPreCheckoutQuery",
        "banChatMember",
        "sendChatAction",
        "setMessageReaction",
    ] {
        assert!(!telegram.is_paced(&call(method, Value::Null)), "{method}");
    }
    assert!(telegram.is_paced(&"hi".into()));
}
