//! Replies go where the message was: into its topic, its business chat, and after their
//! group when it becomes a supergroup.

use serde_json::{Value, json};

use crate::harness::api::{Api, Mood};
use crate::harness::bot::{SOON, Setup, until};
use crate::harness::client::once;
use crate::harness::telegram::webhook;
use crate::platforms::webhooks::told;

const FORUM: i64 = -1_000_000_000_503;

fn said(update: u64, chat: i64, fields: &Value) -> Value {
    let mut message = json!({"message_id": update, "date": 1, "text": "many 2",
        "from": {"id": 600, "is_bot": false, "first_name": "A"},
        "chat": {"id": chat, "type": "supergroup", "title": "S", "is_forum": true}});
    for (name, value) in fields.as_object().expect("an object") {
        message[name] = value.clone();
    }
    json!({"update_id": update, "message": message})
}

/// The fields of all calls that say where, beside the chat.
fn places(api: &Api) -> Vec<Value> {
    let fields = [
        "message_thread_id",
        "direct_messages_topic_id",
        "business_connection_id",
    ];
    let place = |call: crate::harness::api::Call| {
        let found = fields
            .iter()
            .filter_map(|name| Some((*name, call.body.get(*name)?)));
        json!(found.collect::<std::collections::BTreeMap<_, _>>())
    };
    api.calls().into_iter().map(place).collect()
}

#[tokio::test]
async fn replies_stay_in_their_topic() {
    let api = Api::start();
    let bot = api.configure(Setup::commands()).start().await;
    let topic = json!({"message_thread_id": 42, "is_topic_message": true});
    let thread = json!({"message_thread_id": 42});
    let business = json!({"business_connection_id": "b1"});
    let direct = json!({"direct_messages_topic": {"topic_id": 7}});
    let mut expected = Vec::new();
    for (place, (fields, kept)) in [
        (&topic, json!({"message_thread_id": 42})),
        (&thread, json!({})),
        (&direct, json!({"direct_messages_topic_id": 7})),
        (&business, business.clone()),
    ]
    .into_iter()
    .enumerate()
    {
        // Groups of their own, for their limits.
        told(
            &bot,
            webhook(&said(place as u64, FORUM - place as i64, fields)),
            "",
        )
        .await;
        expected.extend([kept.clone(), kept]);
        until("two calls", SOON, || api.calls().len() == expected.len()).await;
    }
    assert_eq!(places(&api), expected);

    // What rides, and a button under a message in a topic.
    let mut asks = said(10, FORUM - 10, &topic);
    asks["message"]["text"] = json!("ask Tea?");
    let rode = once(bot.port, webhook(&asks)).await.json();
    assert_eq!(
        (&rode["message_thread_id"], &rode["text"]),
        (&json!(42), &json!("Tea?"))
    );
    let under = said(0, FORUM - 10, &topic)["message"].take();
    let pressed = json!({"update_id": 11, "callback_query": {"id": "q", "from": {"id": 600},
        "chat_instance": "1", "data": "yes:1", "message": under}});
    assert_eq!(once(bot.port, webhook(&pressed)).await.status, 200);
    until("its reply", SOON, || {
        api.calls().len() == expected.len() + 1
    })
    .await;
    assert_eq!(
        places(&api).pop().unwrap(),
        json!({"message_thread_id": 42})
    );

    // Also what is sent after a crash, from the outbox.
    let before = api.calls().len();
    api.be(
        &(FORUM - 20).to_string(),
        &[Mood::Hanging, Mood::Well, Mood::Well],
    );
    told(&bot, webhook(&said(12, FORUM - 20, &topic)), "").await;
    until("a call that hangs", SOON, || api.calls().len() > before).await;
    let bot = bot.kill_all().await.start().await;
    until("both", SOON, || {
        api.received(&(FORUM - 20).to_string()).len() == 2
    })
    .await;
    for place in places(&api).split_off(before) {
        assert_eq!(place, json!({"message_thread_id": 42}));
    }
    bot.stop().await.assert_sound();
}

/// A reply to a group that became a supergroup goes to its new id, once; and so does the
/// next, without another refusal.
#[tokio::test]
async fn replies_follow_a_group_to_its_new_id() {
    let api = Api::start();
    let setup = Setup::commands().args(&["--workers", "1"]);
    let bot = api.configure(setup).start().await;
    api.be("-777", &[Mood::Moved(-1_000_000_000_777)]);
    told(&bot, webhook(&said(1, -777, &json!({}))), "").await;
    until("two replies", SOON, || api.accepted() == 2).await;
    assert_eq!(api.received("-1000000000777"), ["1.1", "1.2"]);
    assert_eq!(api.calls().len(), 3, "one refusal: {:?}", api.calls());
    // Whoever is moved on and on is not followed.
    let moved = Mood::Moved(-1_000_000_000_999);
    api.be("-888", &[moved]);
    api.be("-1000000000999", &[Mood::Moved(-5)]);
    told(&bot, webhook(&said(2, -888, &json!({}))), "").await;
    bot.wait_for_stderr("upgraded to a supergroup").await;
    until("the second reply", SOON, || {
        api.received("-1000000000999") == ["1.2"]
    })
    .await;
    assert!(api.received("-5").is_empty());
    bot.stop().await.assert_sound();
}

/// Nobody would see it, and platforms refuse it: it is not sent, what is beside it is.
#[tokio::test]
async fn a_reply_of_blanks_is_not_sent() {
    let api = Api::start();
    let bot = api.configure(Setup::echo()).start().await;
    for (update, blank) in [(1_u64, "   "), (2, "\u{200b}\n")] {
        let mut said = said(update, 600, &json!({}));
        said["message"]["text"] = json!(blank);
        let answer = once(bot.port, webhook(&said)).await;
        assert_eq!((answer.status, answer.text().as_str()), (200, ""));
    }
    bot.wait_for_stderr("an empty reply is not sent").await;
    assert!(api.calls().is_empty());
    bot.stop().await;
}
