//! Whoever asks is answered first, and once: presses of buttons, questions before a payment.

use super::*;
use crate::harness::api::Mood;
use crate::platforms::polling;

#[tokio::test]
async fn a_toast_rides_and_the_message_is_edited() {
    let api = Api::start();
    let bot = start(&api).await;
    tell(
        &bot,
        &asked(1, 7, &json!([{"text": "old", "name": "m"}, {"text": "x"}])),
    )
    .await;
    until("a menu", SOON, || api.shown("7").len() == 2).await;
    let id = api.shown("7")[0].id;
    let does = json!([{"edit": true, "text": "new"}, {"toast": "Saved", "alert": true}]);
    let press = pressed(2, 7, id, &format!("do {does}"));
    for _ in 0..2 {
        // Telegram asks again where it did not get the answer: the same one.
        let answer = tell(&bot, &press).await.json();
        let said = json!({"method": "answerCallbackQuery", "callback_query_id": "q2",
            "text": "Saved", "show_alert": true});
        assert_eq!(answer, said);
    }
    until("an edit", SOON, || texts(&api, "7") == ["new", "x"]).await;
    assert_eq!(api.calls().len(), 3, "{:?}", api.calls());
    // Without a toast it ends as well.
    let answer = tell(&bot, &pressed(3, 7, id, "do []")).await.json();
    assert_eq!(
        answer,
        json!({"method": "answerCallbackQuery", "callback_query_id": "q3"})
    );
    bot.stop().await.assert_sound();
}

/// A turn that takes longer than `--ack-after` answers the press itself, once, before all else.
#[tokio::test]
async fn a_slow_turn_can_show_a_toast_too() {
    let api = Api::start();
    let bot = start_with(&api, &["--ack-after", "200ms"]).await;
    let slow = pressed(1, 7, 5, r#"slow 1000 do [{"text":"a"},{"toast":"Done"}]"#);
    assert_eq!(tell(&bot, &slow).await.text(), "");
    let plain = pressed(2, 7, 5, r#"slow 1000 do [{"text":"b"}]"#);
    assert_eq!(tell(&bot, &plain).await.text(), "");
    until("both replies", SOON, || texts(&api, "7") == ["a", "b"]).await;
    let answers = api.queues.registrations();
    let answers: Vec<_> = answers.iter().map(|call| call.fields.clone()).collect();
    let done = json!({"callback_query_id": "q1", "text": "Done"});
    assert_eq!(answers, [done, json!({"callback_query_id": "q2"})]);
    bot.stop().await.assert_sound();
}

#[tokio::test]
async fn polled_presses_are_answered_by_calls() {
    let api = Api::start();
    let bot = polling::telegram(&api, Setup::anything()).start().await;
    let toast = json!([{"text": "a"}, {"toast": "Saved"}]);
    api.queues.push([
        pressed(1, 7, 5, &format!("do {toast}")),
        pressed(2, 7, 5, "do []"),
    ]);
    until("two answers", SOON, || {
        api.queues.registrations().len() == 2
    })
    .await;
    let answers: Vec<_> = api.queues.registrations();
    assert_eq!(answers[0].fields["text"], "Saved");
    assert_eq!(answers[1].fields["callback_query_id"], "q2");
    until("a reply", SOON, || texts(&api, "7") == ["a"]).await;
    bot.stop().await.assert_sound();
}

fn checkout(update: u64, payload: &str) -> Value {
    json!({"update_id": update, "pre_checkout_query": {"id": format!("p{update}"), "currency": "XTR",
        "total_amount": 1, "invoice_payload": payload,
        "from": {"id": 7, "is_bot": false, "first_name": "Ann"}}})
}

/// Ten seconds is all that Telegram waits: the answer is in the webhook's answer, or the
/// first call.
#[tokio::test]
async fn a_payment_is_answered_before_all_else() {
    let api = Api::start();
    let bot = start(&api).await;
    let accepts =
        json!([{"text": "thanks"}, {"call": "answerPreCheckoutQuery", "params": {"ok": true}}]);
    let answer = tell(&bot, &checkout(1, &format!("do {accepts}")))
        .await
        .json();
    assert_eq!(
        answer,
        json!({"method": "answerPreCheckoutQuery", "pre_checkout_query_id": "p1", "ok": true})
    );
    until("thanks", SOON, || texts(&api, "7") == ["thanks"]).await;
    bot.stop().await.assert_sound();

    let api = Api::start();
    let bot = polling::telegram(&api, Setup::anything()).start().await;
    // Tried again, since nobody posts it again.
    api.be("?", &[Mood::Broken]);
    api.queues.push([checkout(1, &format!("do {accepts}"))]);
    let calls = calls(&api, 3).await;
    let methods: Vec<_> = calls.iter().map(|call| call.method.as_str()).collect();
    assert_eq!(
        methods,
        [
            "answerPreCheckoutQuery",
            "answerPreCheckoutQuery",
            "sendMessage"
        ]
    );
    assert_eq!(
        calls[1].body,
        json!({"pre_checkout_query_id": "p1", "ok": true})
    );
    bot.stop().await.assert_sound();
}

/// Somebody who waits for an answer does not wait for the places of a chat that is full.
#[tokio::test]
async fn answers_do_not_wait_for_the_chats_places() {
    let api = Api::start();
    let bot = polling::telegram(&api, Setup::anything()).start().await;
    let many: Vec<_> = (0..7).map(|n| json!({"text": n.to_string()})).collect();
    api.queues.push([
        asked(1, 7, &json!(many)),
        checkout(
            2,
            r#"do [{"call":"answerPreCheckoutQuery","params":{"ok":true}}]"#,
        ),
    ]);
    let calls = calls(&api, 8).await;
    let last = &calls[7];
    assert_eq!(last.method, "answerPreCheckoutQuery");
    let waited = last.at.duration_since(calls[6].at);
    assert!(waited < std::time::Duration::from_millis(700), "{waited:?}");
    bot.stop().await.assert_sound();
}
