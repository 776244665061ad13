//! A message that comes again, known by its id, gets the stored answer; the handler
//! does not run a second time.

use hyper::Request;

use crate::harness::bot::{Bot, Setup};
use crate::harness::client::{Connection, join, message, once, post, say};

/// A message whose id is in the header.
fn keyed(text: &str, key: &str) -> Request<http_body_util::Full<bytes::Bytes>> {
    let mut request = message("ann", text, None);
    let headers = request.headers_mut();
    headers.insert("idempotency-key", key.parse().unwrap());
    request
}

/// Both ways of giving an id, and the conflict.
pub(crate) async fn same_id_same_answer(bot: &Bot) {
    let port = bot.port;
    let first = once(port, message("ann", "hi", Some("m1"))).await;
    assert_eq!(first.replies(), ["1: hi"]);
    let by_key = once(port, keyed("hi", "m2")).await;
    assert_eq!(by_key.replies(), ["2: hi"]);
    for _ in 0..3 {
        let again = once(port, message("ann", "hi", Some("m1"))).await;
        assert_eq!((again.status, &again.body), (200, &first.body));
        let again = once(port, keyed("hi", "m2")).await;
        assert_eq!((again.status, &again.body), (200, &by_key.body));
    }
    let other = once(port, message("ann", "other", Some("m1"))).await;
    assert_eq!(other.status, 409, "{}", other.text());
    assert_eq!(once(port, keyed("other", "m2")).await.status, 409);
    // Another user's message under the same id is another body.
    let other = once(port, message("bob", "hi", Some("m1"))).await;
    assert_eq!(other.status, 409, "{}", other.text());
    assert_eq!(say(port, "ann", "hi").await.replies(), ["3: hi"]);
}

/// Twenty times the same message while its handler runs.
pub(crate) async fn same_id_in_flight(bot: &Bot) {
    let mut tasks = Vec::new();
    for _ in 0..20 {
        let mut connection = Connection::open(bot.port).await;
        tasks.push(tokio::spawn(async move {
            connection
                .send(message("eve", "sleep 300", Some("once")))
                .await
        }));
    }
    for task in tasks {
        assert_eq!(join(task).await.replies(), ["1: sleep 300"]);
    }
    assert_eq!(say(bot.port, "eve", "hi").await.number(), 2);
}

#[tokio::test]
async fn the_same_id_gets_the_stored_answer_also_after_a_restart() {
    let bot = Setup::counter().args(&["--workers", "2"]).start().await;
    same_id_same_answer(&bot).await;
    let before = once(bot.port, message("ann", "hi", Some("m1"))).await;
    let bot = bot.stop().await.start().await;
    let after = once(bot.port, message("ann", "hi", Some("m1"))).await;
    assert_eq!((after.status, after.body), (200, before.body));
    let other = once(bot.port, message("ann", "other", Some("m1"))).await;
    assert_eq!(other.status, 409);
    assert_eq!(say(bot.port, "ann", "hi").await.number(), 4);
    // Also when it was killed.
    let bot = bot.kill_all().await.start().await;
    assert_eq!(once(bot.port, keyed("hi", "m2")).await.replies(), ["2: hi"]);
    assert_eq!(say(bot.port, "ann", "hi").await.number(), 5);
    bot.stop().await;
}

#[tokio::test]
async fn the_same_id_in_flight_runs_the_handler_once() {
    let bot = Setup::commands().args(&["--workers", "2"]).start().await;
    same_id_in_flight(&bot).await;
    assert_eq!(bot.stop().await.count("eve"), 2);
}

#[tokio::test]
async fn ids_that_cannot_be_are_refused() {
    let bot = Setup::counter().start().await;
    for id in ["", "~mine", &"x".repeat(257)] {
        let answer = once(bot.port, message("ann", "hi", Some(id))).await;
        assert_eq!(answer.status, 400, "{id:?}: {}", answer.text());
        assert!(answer.error().contains("id"), "{}", answer.text());
    }
    // An id that is null is none.
    let body = r#"{"user_id":"ann","text":"hi","id":null}"#;
    assert_eq!(once(bot.port, post("/http", body)).await.number(), 1);
    let longest = "x".repeat(256);
    assert_eq!(
        once(bot.port, message("ann", "hi", Some(&longest)))
            .await
            .number(),
        2
    );
    bot.stop().await;
}
