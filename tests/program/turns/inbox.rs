//! Turns that take longer than `--ack-after`: their updates are acknowledged once they
//! are in the inbox, and take effect exactly once and in their order, whatever is killed.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::Request;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;

use crate::harness::api::Api;
use crate::harness::bot::{Bot, LATER, SOON, Setup, until};
use crate::harness::client::{begin, join, message, once, say};
use crate::harness::telegram::{text, webhook};
use crate::platforms::webhooks::{batch, facebook, facebook_text, told, vk};

async fn start(api: &Api, args: &[&str]) -> Bot {
    let setup = Setup::commands().args(&["--workers", "2"]).args(args);
    api.configure(setup).start().await
}

/// The same as `message`, not to be waited for.
fn respond_async(user: &str, text: &str, id: Option<&str>) -> Request<Full<Bytes>> {
    let mut request = message(user, text, id);
    let prefer = "wait=10, Respond-Async; x=1".parse().unwrap();
    request.headers_mut().insert("prefer", prefer);
    request
}

fn get(path: &str) -> Request<Full<Bytes>> {
    Request::get(path)
        .header("host", "localhost")
        .body(Full::default())
        .unwrap()
}

#[tokio::test]
async fn a_slow_turn_is_acknowledged_and_committed_later() {
    let api = Api::start();
    let bot = start(&api, &["--ack-after", "200ms"]).await;
    // Nothing rides in an answer that leaves before the turn is done.
    let slow = webhook(&text(1, 7, "sleep 4000"));
    let answer = once(bot.port, slow).await;
    assert_eq!((answer.status, answer.text().as_str()), (200, ""));
    assert!(api.calls().is_empty(), "too slow to prove anything");
    // The same again, and those that wait behind it.
    for update in [text(1, 7, "sleep 4000"), text(2, 7, "hi"), text(3, 7, "ho")] {
        let answer = once(bot.port, webhook(&update)).await;
        assert_eq!((answer.status, answer.text().as_str()), (200, ""));
    }
    // A button stops waiting with its turn, which may have a toast for it.
    let pressed = json!({"update_id": 4, "callback_query": {"id": "q1", "from": {"id": 7},
        "message": {"message_id": 1, "chat": {"id": 7}}, "data": "b"}});
    let answer = once(bot.port, webhook(&pressed)).await;
    assert_eq!((answer.status, answer.text().as_str()), (200, ""));
    told(&bot, vk("e1", 8, "sleep 1000"), "ok").await;
    let all = ["1: sleep 4000", "2: hi", "3: ho", "4: button b"];
    api.receives("7", &all).await;
    api.receives("8", &["1: sleep 1000"]).await;
    let mut answered = api.queues.registrations();
    answered.retain(|call| call.method == "answerCallbackQuery");
    assert_eq!(answered.len(), 1, "{answered:?}");
    let again = once(bot.port, webhook(&text(1, 7, "sleep 4000"))).await;
    assert_eq!((again.status, again.text().as_str()), (200, ""));
    // A quick one is answered by its commit, as ever.
    let quick = once(bot.port, webhook(&text(5, 7, "hi"))).await;
    assert_eq!(quick.json()["text"], "5: hi");
    let setup = bot.stop().await;
    assert_eq!(setup.count("7"), 5);
    setup.assert_sound();
}

/// Each update of a batch on its own; their order is that of the batch.
#[tokio::test]
async fn a_batch_with_a_slow_update_is_acknowledged_as_a_whole() {
    let api = Api::start();
    let bot = start(&api, &["--ack-after", "200ms"]).await;
    let events = [
        facebook_text("m_1", "1", "sleep 3000"),
        facebook_text("m_2", "1", "b"),
        facebook_text("m_3", "2", "hi"),
        facebook_text("m_4", "1", "c"),
    ];
    for _ in 0..2 {
        told(&bot, facebook(batch(&events)), "").await;
    }
    let bot = bot.kill_all().await.start().await;
    api.receives("1", &["1: sleep 3000", "2: b", "3: c"]).await;
    api.receives("2", &["1: hi"]).await;
    bot.stop().await.assert_sound();
}

/// Sends each user's updates, all of which are acknowledged; the first one is slow.
async fn acknowledged(bot: &Bot, users: std::ops::Range<u64>, from: u64) {
    for user in users {
        for n in from..from + 4 {
            let said = if n == 0 { "sleep 2000" } else { "hi" };
            told(bot, vk(&format!("{user}-{n}"), user, said), "ok").await;
        }
    }
}

async fn in_order(api: &Api, users: std::ops::Range<u64>, updates: u64) {
    for user in users {
        let said = |n| if n == 1 { "sleep 2000" } else { "hi" };
        let all: Vec<String> = (1..=updates).map(|n| format!("{n}: {}", said(n))).collect();
        let all: Vec<&str> = all.iter().map(String::as_str).collect();
        api.receives(&user.to_string(), &all).await;
    }
}

/// Everything is killed between acknowledgement and commit. Those of one user are
/// overtaken by newer updates nowhere; the others' user stays silent.
#[tokio::test]
async fn acknowledged_updates_of_a_killed_program_run_once_and_in_order() {
    let api = Api::start();
    let bot = start(&api, &["--ack-after", "50ms"]).await;
    acknowledged(&bot, 1..5, 0).await;
    let bot = bot.kill_all().await.start().await;
    acknowledged(&bot, 1..3, 4).await;
    in_order(&api, 1..3, 8).await;
    in_order(&api, 3..5, 4).await;
    // The platform sends some again.
    acknowledged(&bot, 1..5, 0).await;
    let setup = bot.stop().await;
    assert_eq!(setup.sum(), 24);
    setup.assert_sound();
}

/// Both workers and the writer, one after another, while updates wait: two workers look
/// for what is left, and none of it runs twice.
#[tokio::test]
async fn acknowledged_updates_outlive_workers_and_the_writer() {
    let api = Api::start();
    let bot = start(&api, &["--ack-after", "50ms"]).await;
    acknowledged(&bot, 1..7, 0).await;
    let writer = bot.writer().await;
    for pid in [bot.worker(0).await, writer, bot.worker(1).await] {
        kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
    }
    bot.successor("turnkey: writer", writer).await;
    in_order(&api, 1..7, 4).await;
    let setup = bot.stop().await;
    assert_eq!(setup.sum(), 24);
    setup.assert_sound();
}

#[tokio::test]
async fn a_caller_may_ask_later() {
    let token = "s3cret";
    let args = [
        "--workers",
        "2",
        "--max-attempts",
        "2",
        "--ack-after",
        "50ms",
    ];
    let setup = Setup::commands().args(&args);
    let bot = setup.env("TURNKEY_HTTP_TOKEN", token).start().await;
    let port = bot.port;
    let with_token = |mut request: Request<Full<Bytes>>| {
        let bearer = format!("Bearer {token}").parse().unwrap();
        request.headers_mut().insert("authorization", bearer);
        request
    };
    let id = "a/b c?ä%2F#";
    let slow = || with_token(respond_async("ann", "sleep 3000", Some(id)));
    let accepted = once(port, slow()).await;
    assert_eq!(accepted.status, 202, "{}", accepted.text());
    assert_eq!(accepted.header("preference-applied"), "respond-async");
    assert_eq!(accepted.json(), json!({"id": id, "status": "pending"}));
    let address = accepted.header("location").to_owned();
    assert_eq!(address, "/http/updates/a%2Fb%20c%3F%C3%A4%252F%23");
    assert_eq!(once(port, get(&address)).await.status, 401);
    let ask = async || once(port, with_token(get(&address))).await;
    let pending = ask().await;
    assert_eq!((pending.status, pending.json()), (202, accepted.json()));
    // The same again is the same; another under its id is not.
    assert_eq!(once(port, slow()).await.status, 202);
    let other = with_token(respond_async("ann", "other", Some(id)));
    assert_eq!(once(port, other).await.status, 409);
    // Who does not ask for it waits for the answer, longer than --ack-after.
    let waits = once(port, with_token(message("ann", "hi", Some("w")))).await;
    assert_eq!(waits.replies(), ["2: hi"]);
    let done = ask().await;
    assert_eq!(done.replies(), ["1: sleep 3000"]);
    let again = once(port, slow()).await;
    assert_eq!((again.status, again.body), (200, done.body));

    // Without an id of the caller's own, one is made up.
    let made_up = once(port, with_token(respond_async("ann", "hi", None))).await;
    let made_up = made_up.header("location").to_owned();
    loop {
        let answer = once(port, with_token(get(&made_up))).await;
        if answer.status != 202 {
            assert_eq!(answer.replies(), ["3: hi"]);
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }

    // One that is given up: that it was, not why.
    let fails = || with_token(respond_async("ann", "fail", Some("f")));
    assert_eq!(once(port, fails()).await.status, 202);
    bot.wait_for_stderr(&format!(
        "({} dead show http f --storage sqlite:{})",
        bot.setup.program().file_name().unwrap().display(),
        bot.setup.database().display()
    ))
    .await;
    let dead = once(port, with_token(get("/http/updates/f"))).await;
    assert_eq!(dead.status, 410);
    assert!(!dead.text().contains("told to fail"), "{}", dead.text());
    for (said, status) in [("fail", 410), ("other", 409)] {
        let again = once(port, with_token(message("ann", said, Some("f")))).await;
        assert_eq!(again.status, status, "{}", again.text());
    }

    let unknown = once(port, with_token(get("/http/updates/nobody"))).await;
    assert_eq!(unknown.status, 404);
    let bad = once(port, with_token(get("/http/updates/%ff"))).await;
    assert_eq!(bad.status, 400);
    let post = with_token(crate::harness::client::post("/http/updates/f", "{}"));
    assert_eq!(once(port, post).await.status, 405);
    bot.stop().await.assert_sound();
}

#[tokio::test]
async fn the_inbox_is_bounded() {
    let args = ["--max-pending", "3", "--max-pending-per-user", "2"];
    let bot = Setup::commands().args(&args).start().await;
    let send = async |user: &str, id: &str| {
        once(bot.port, respond_async(user, "sleep 60000", Some(id))).await
    };
    assert_eq!(send("ann", "a1").await.status, 202);
    assert_eq!(send("ann", "a2").await.status, 202);
    let refused = send("ann", "a3").await;
    assert_eq!((refused.status, refused.header("retry-after")), (503, "1"));
    assert_eq!(send("ann", "a2").await.status, 202, "it is there already");
    assert_eq!(send("bob", "b1").await.status, 202);
    assert_eq!(send("cid", "c1").await.status, 503);
    let unknown = once(bot.port, get("/http/updates/c1")).await;
    assert_eq!(unknown.status, 404, "it was refused");
    bot.kill_all().await;
}

/// A stop waits for a handler of an accepted update while there is time; then it stays
/// in the inbox, as those behind it. Nothing of it is cut off.
#[tokio::test]
async fn a_stop_leaves_accepted_updates_in_the_inbox() {
    let api = Api::start();
    let mut bot = start(&api, &["--ack-after", "50ms", "--grace", "4s"]).await;
    told(&bot, vk("e1", 1, "sleep 600000"), "ok").await;
    told(&bot, vk("e2", 1, "hi"), "ok").await;
    told(&bot, vk("e3", 2, "sleep 1500"), "ok").await;
    bot.signal(Signal::SIGTERM);
    assert_eq!(bot.ended(SOON).await, 0, "nothing was cut off");
    bot.gone(SOON).await;
    let stderr = bot.stderr();
    assert!(!stderr.contains("cut off"), "{stderr}");
    assert!(!stderr.contains("WARN"), "a calm stop: {stderr}");
    assert_eq!(api.received("2"), ["1: sleep 1500"]);
    assert!(api.received("1").is_empty());
    let bot = bot
        .setup
        .clone()
        .args(&["--turn-timeout", "1s", "--max-attempts", "2"]);
    let bot = bot.start().await;
    bot.wait_for_stderr(" dead show vk e1 --storage ").await;
    api.receives("1", &["1: hi"]).await;
    bot.stop().await.assert_sound();
}

/// Plain HTTP is what it was: its caller waits, however long the turn takes.
#[tokio::test]
async fn who_waits_for_the_answer_gets_it() {
    let bot = Setup::commands()
        .args(&["--ack-after", "20ms"])
        .start()
        .await;
    let slow = begin(bot.port, "ann", "sleep 1000").await;
    bot.settled().await;
    assert_eq!(say(bot.port, "ann", "hi").await.replies(), ["2: hi"]);
    assert_eq!(join(slow).await.unwrap().replies(), ["1: sleep 1000"]);
    assert_eq!(say(bot.port, "ann", "fail").await.status, 503);
    bot.stop().await;
}

/// What is older than asked for goes, what is younger stays.
#[tokio::test]
async fn old_ids_and_turns_are_forgotten() {
    let args = ["--history", "--keep-history", "100h", "--keep-seen", "48h"];
    let setup = Setup::counter().args(&args).args(&["--keep-names", "60h"]);
    let bot = setup.start().await;
    for n in 0..250 {
        let id = format!("m{n}");
        once(bot.port, message("ann", "hi", Some(&id)))
            .await
            .number();
    }
    let setup = bot.stop().await;
    {
        let file = setup.open_database();
        let now = "CAST(strftime('%s', 'now') AS INTEGER) * 1000";
        for n in 0..2 {
            let name = format!(
                "INSERT INTO turnkey_message (channel, user_id, name, message, at)
                 VALUES ('telegram', '7', 'menu {n}', '5', {now} - {hours} * 3600000)",
                hours = [61, 59][n],
            );
            let taken = format!(
                "INSERT INTO turnkey_taken (turn, n, channel, user_id, body, message, at)
                 VALUES (5, {n}, 'whatsapp', '7', '{{}}', 'wamid.{n}', {now} - {hours} * 3600000)",
                hours = [49, 47][n],
            );
            assert_eq!(file.execute(&name, []).unwrap(), 1);
            assert_eq!(file.execute(&taken, []).unwrap(), 1);
        }
        let ago = |hours: i64| format!("at = at - {}", hours * 3_600_000);
        for (table, condition, hours) in [
            ("turnkey_seen", "id <> 'm7'", 49),
            ("turnkey_seen", "id = 'm7'", 47),
            ("turnkey_history", "id <= 200", 101),
        ] {
            let age = format!("UPDATE {table} SET {} WHERE {condition}", ago(hours));
            assert!(file.execute(&age, []).unwrap() > 0);
        }
    }
    let count = |table: &str| {
        let file = rusqlite::Connection::open_with_flags(
            setup.database(),
            rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY,
        );
        let count = format!("SELECT COUNT(*) FROM {table}");
        file.unwrap()
            .query_row(&count, [], |row| row.get::<_, i64>(0))
            .unwrap()
    };
    let bot = setup.start().await;
    until("one id, fifty turns, one name, one copy", SOON, || {
        let of = ["seen", "history", "message", "taken"];
        of.map(|table| count(&format!("turnkey_{table}"))) == [1, 50, 1, 1]
    })
    .await;
    // What is known is answered as before, what was forgotten is new.
    let known = once(bot.port, message("ann", "hi", Some("m7"))).await;
    assert_eq!(known.replies(), ["8: hi"]);
    let forgotten = once(bot.port, message("ann", "hi", Some("m8"))).await;
    assert_eq!(forgotten.replies(), ["251: hi"]);
    bot.stop().await.assert_sound();
}

/// The clock was a day ahead when the update was accepted, and was put right while nothing
/// ran: it waits no day, and nobody overtakes it.
#[tokio::test]
async fn a_clock_that_is_put_right_changes_no_order() {
    let api = Api::start();
    let bot = start(&api, &["--ack-after", "200ms"]).await;
    let answer = once(bot.port, webhook(&text(1, 7, "sleep 4000"))).await;
    assert_eq!((answer.status, answer.text().as_str()), (200, ""));
    let setup = bot.kill_all().await;
    assert!(api.received("7").is_empty(), "too slow to prove anything");
    let day: i64 = 86_400_000;
    let file = setup.open_database();
    let put_off = "UPDATE turnkey_inbox SET arrived = arrived + 1000 * ?1, due = ?2";
    let due = turnkey_storage::clock::now_ms() + day;
    assert_eq!(file.execute(put_off, [day, due]).unwrap(), 1);
    drop(file);
    let bot = setup.start().await;
    let answer = once(bot.port, webhook(&text(2, 7, "hi"))).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let both = ["1: sleep 4000", "2: hi"];
    until("both to be handled", LATER, || bot.setup.count("7") == 2).await;
    // The last may ride in the answer.
    let rode = match answer.text().is_empty() {
        true => None,
        false => answer.json()["text"].as_str().map(str::to_owned),
    };
    let sent = both.len() - usize::from(rode.is_some());
    until("both to be sent", LATER, || api.received("7").len() == sent).await;
    let received: Vec<String> = api.received("7").into_iter().chain(rode).collect();
    assert_eq!(received, both);
    bot.stop().await.assert_sound();
}
