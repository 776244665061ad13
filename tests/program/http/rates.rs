//! `--rate-per-user` and `--rate-per-address`: more than that is answered 429 and may come
//! again; others do not notice, and nothing that was answered 200 is lost.

use std::time::{Duration, Instant};

use hyper::Request;

use crate::harness::api::Api;
use crate::harness::bot::{Bot, SOON, Setup, until};
use crate::harness::client::{Answer, Connection, message, once, say};
use crate::harness::telegram::text;
use crate::platforms::webhooks::{batch, facebook, facebook_text, vk};

/// A user's limit, and so 3 at once and one more each second.
const ONE: &[&str] = &["--workers", "2", "--rate-per-user", "1"];

/// A connection to each of two workers.
async fn to_both_workers(bot: &Bot) -> Vec<Connection> {
    let mut connections = Vec::new();
    while bot.connections(2).await.contains(&0) {
        let mut connection = Connection::open(bot.port).await;
        connection.say("warm", "up").await;
        connections.push(connection);
        assert!(connections.len() < 200, "one worker takes them all");
    }
    connections
}

fn is_refused(answer: &Answer) {
    assert_eq!(answer.status, 429, "{}", answer.text());
    assert_eq!(answer.header("retry-after"), "1");
}

#[tokio::test]
async fn a_user_has_a_burst_and_a_rate_over_all_workers() {
    let bot = Setup::counter().args(ONE).start().await;
    let mut connections = to_both_workers(&bot).await;
    let begun = Instant::now();
    let mut taken = 0;
    let mut refused = 0;
    // As many again on each connection as all of them may have.
    for n in 0..4 * connections.len().max(2) {
        let count = connections.len();
        let answer = connections[n % count].say("ann", "hi").await;
        match answer.status {
            200 => taken += 1,
            _ => {
                is_refused(&answer);
                assert_eq!(answer.error(), "too many updates of this user");
                refused += 1;
            }
        }
    }
    let most = 3 + begun.elapsed().as_secs() + 1;
    assert!((3..=most).contains(&taken), "{taken} of {most} at most");
    assert!(refused > 0);
    // Nobody else is meant.
    assert_eq!(say(bot.port, "bob", "hi").await.number(), 1);
    // It flows again, and what was taken is there.
    let mut last = None;
    until("a place", SOON, || begun.elapsed() > Duration::from_secs(1)).await;
    let deadline = Instant::now() + SOON;
    while last.is_none() {
        assert!(Instant::now() < deadline, "never again");
        let answer = say(bot.port, "ann", "hi").await;
        last = (answer.status == 200).then(|| answer.number());
    }
    assert_eq!(last, Some(taken + 1));
    let setup = bot.stop().await;
    assert_eq!(setup.count("ann"), taken + 1);
}

/// Telegram's and VK's own way of being told when to come again; what comes again is
/// handled once, and costs its user nothing.
#[tokio::test]
async fn platforms_are_told_to_come_again() {
    let api = Api::start();
    let bot = api.configure(Setup::commands().args(ONE)).start().await;
    for n in 0..3 {
        assert_eq!(
            once(bot.port, vk(&format!("e{n}"), 5, "hi")).await.status,
            200
        );
    }
    let refused = once(bot.port, vk("e3", 5, "hi")).await;
    assert_eq!(refused.status, 429, "{}", refused.text());
    let when = refused.header("retry-after");
    assert!(when.ends_with(" GMT"), "VK takes a date only: {when}");
    // One place is enough for all that is known, and is still there for what is new.
    let asked = Instant::now();
    until("a place", SOON, || asked.elapsed() > Duration::from_secs(1)).await;
    for n in [0, 1, 2, 0, 1, 2, 0, 1, 2, 3] {
        let answer = once(bot.port, vk(&format!("e{n}"), 5, "hi")).await;
        assert_eq!(answer.status, 200, "e{n}");
    }
    until("4 replies", SOON, || api.accepted() == 4).await;
    bot.stop().await;
}

/// A batch of one user that is longer than a burst comes through in the end: what was
/// taken of it before is known and costs nothing.
#[tokio::test]
async fn a_long_batch_gets_past_its_beginning() {
    let api = Api::start();
    let bot = api.configure(Setup::commands().args(ONE)).start().await;
    let events: Vec<_> = (0..5)
        .map(|n| facebook_text(&format!("m_{n}"), "u", "hi"))
        .collect();
    let body = batch(&events);
    assert_eq!(once(bot.port, facebook(body.clone())).await.status, 429);
    let deadline = Instant::now() + SOON;
    while once(bot.port, facebook(body.clone())).await.status != 200 {
        assert!(Instant::now() < deadline, "it never comes through");
        let asked = Instant::now();
        until("a pause", SOON, || {
            asked.elapsed() > Duration::from_millis(200)
        })
        .await;
    }
    let texts: Vec<String> = (1..=5).map(|n| format!("{n}: hi")).collect();
    until("5 replies", SOON, || api.received("u") == texts).await;
    bot.stop().await.assert_sound();
}

#[tokio::test]
async fn a_stranger_cannot_spend_a_users_places() {
    let setup = Setup::counter()
        .args(ONE)
        .env("TURNKEY_HTTP_TOKEN", "secret");
    let bot = setup.start().await;
    for _ in 0..20 {
        assert_eq!(say(bot.port, "ann", "hi").await.status, 401);
    }
    let mut genuine = message("ann", "hi", None);
    let token = "Bearer secret".parse().unwrap();
    genuine.headers_mut().insert("authorization", token);
    assert_eq!(once(bot.port, genuine).await.status, 200);
    bot.stop().await;
}

fn from(client: &str, user: &str) -> Request<http_body_util::Full<bytes::Bytes>> {
    let mut request = message(user, "hi", None);
    let client = client.parse().unwrap();
    request.headers_mut().insert("x-forwarded-for", client);
    request
}

#[tokio::test]
async fn an_address_is_the_clients_not_the_proxys() {
    let args = ["--workers", "2", "--rate-per-address", "1"];
    let setup = Setup::counter().args(&args);
    let bot = setup.args(&["--trusted-proxy", "127.0.0.1"]).start().await;
    let begun = Instant::now();
    let mut answers = Vec::new();
    for n in 0..12 {
        // One connection each, as clients behind a proxy come: to whichever worker.
        let client = format!("2001:db8:0:1::{n}");
        answers.push(once(bot.port, from(&client, &format!("u{n}"))).await);
    }
    let taken = answers.iter().filter(|answer| answer.status == 200).count() as u64;
    let most = 3 + begun.elapsed().as_secs() + 1;
    assert!((3..=most).contains(&taken), "{taken} of {most} at most");
    answers
        .iter()
        .filter(|answer| answer.status != 200)
        .for_each(is_refused);
    let other = once(bot.port, from("2001:db8:0:2::1", "other")).await;
    assert_eq!(other.status, 200);
    // A refusal leaves the connection as it was.
    let mut connection = Connection::open(bot.port).await;
    let mut statuses = Vec::new();
    for _ in 0..5 {
        statuses.push(connection.send(from("192.0.2.7", "x")).await.status);
    }
    assert!(statuses.starts_with(&[200, 200, 200]), "{statuses:?}");
    assert!(statuses.contains(&429), "{statuses:?}");
    assert_eq!(connection.send(from("192.0.2.8", "x")).await.status, 200);
    assert_eq!(bot.stop().await.count("other"), 1);
}

/// Nobody sends a polled update again, so it waits; others do not.
#[tokio::test]
async fn polled_updates_wait_their_turn() {
    let api = Api::start();
    let setup = Setup::commands().without_port();
    let setup = setup.args(&["--telegram-api-url", &api.url(), "--rate-per-user", "1"]);
    let setup = setup.env("TURNKEY_TELEGRAM_TOKEN", crate::harness::api::TOKEN);
    let bot = setup.start().await;
    let begun = Instant::now();
    api.queues.push((1..=5).map(|id| text(id, 7, "hi")));
    api.queues.push([text(6, 8, "hi")]);
    until("a reply to the other", SOON, || {
        api.received("8") == ["1: hi"]
    })
    .await;
    until("5 replies", SOON, || api.received("7").len() == 5).await;
    assert!(
        begun.elapsed() > Duration::from_millis(1900),
        "2 of 5 had to wait"
    );
    assert_eq!(api.received("7")[4], "5: hi");
    bot.stop().await.assert_sound();
}
