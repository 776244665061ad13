//! Telegram: updates come by webhook; a lone text rides in the answer, other replies
//! go out through the (fake) Bot API, in order, each once, also after a crash.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::api::{Api, Mood};
use crate::harness::bot::{SOON, Setup, count_of, until};
use crate::harness::client::{Answer, Connection, join, once};
use crate::harness::telegram::{text, webhook};

async fn tell(port: u16, update: &Value) -> Answer {
    let answer = once(port, webhook(update)).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer
}

/// Tells something whose replies do not ride in the answer.
async fn tell_silently(port: u16, update: &Value) {
    let answer = tell(port, update).await;
    assert!(answer.body.is_empty(), "Telegram would take it for a call");
}

/// The reply that rides in the answer, and the chat that it is for.
async fn ask(port: u16, update: &Value) -> (String, String) {
    let call = tell(port, update).await.json();
    assert_eq!(call["method"], "sendMessage", "{call}");
    let field = |name: &str| call[name].as_str().expect("a string").to_owned();
    (field("chat_id"), field("text"))
}

fn to(chat: &str, text: &str) -> (String, String) {
    (chat.to_owned(), text.to_owned())
}

#[tokio::test]
async fn the_kinds_that_are_taken_and_those_that_are_not() {
    let api = Api::start();
    let bot = api.configure(Setup::counter()).start().await;
    let port = bot.port;
    assert_eq!(ask(port, &text(1, 7, "hello")).await, to("7", "1: hello"));
    let in_a_group = json!({"update_id": 2, "message": {
        "from": {"id": 7}, "chat": {"id": -100}, "text": "hello again"}});
    // What a user says in a group has a state of its own.
    assert_eq!(ask(port, &in_a_group).await, to("-100", "1: hello again"));
    let captioned = json!({"update_id": 3, "message": {
        "from": {"id": 7}, "chat": {"id": 7}, "caption": "a cat",
        "photo": [{"file_id": "x", "width": 1, "height": 1}]}});
    assert_eq!(ask(port, &captioned).await, to("7", "2: a cat"));
    let pressed = json!({"update_id": 4, "callback_query": {"id": "q1", "from": {"id": 7},
        "message": {"message_id": 1, "chat": {"id": -100}}, "data": "button"}});
    // A button waits for its own answer; the reply is sent.
    for _ in 0..2 {
        assert_eq!(
            tell(port, &pressed).await.json(),
            json!({"method": "answerCallbackQuery", "callback_query_id": "q1"})
        );
    }
    // No `from`: the chat is the user.
    let channel = json!({"update_id": 5, "message": {"chat": {"id": -100}, "text": "anon"}});
    assert_eq!(ask(port, &channel).await, to("-100", "1: anon"));
    until("a reply", SOON, || api.accepted() == 1).await;
    assert_eq!(api.received("-100"), ["2: button"]);
    let sticker = json!({"update_id": 6, "message": {
        "from": {"id": 7}, "chat": {"id": 7}, "sticker": {"file_id": "x"}}});
    assert_eq!(ask(port, &sticker).await, to("7", "3: "));

    for update in 10..30 {
        let kinds = [
            json!({"update_id": update, "my_chat_member": {"chat": {"id": 7}}}),
            json!({"update_id": update, "poll": {"id": "1"}}),
            json!({"update_id": update, "message": {
                "from": {"id": 7}, "chat": {"id": 7}, "pinned_message": {"message_id": 1}}}),
            // A dead letter.
            json!({"update_id": update}),
        ];
        tell_silently(port, &kinds[update as usize % kinds.len()]).await;
    }
    for (update, field) in [
        (
            json!({"message": {"chat": {"id": 7}, "text": "hi"}}),
            "update_id",
        ),
        (
            json!({"update_id": "x", "message": {"chat": {"id": 7}, "text": "hi"}}),
            "update_id",
        ),
    ] {
        let answer = once(port, webhook(&update)).await;
        assert_eq!(answer.status, 400);
        assert!(answer.error().contains(field), "{}", answer.text());
    }
    assert_eq!(api.calls().len(), 1);
    let setup = bot.stop().await;
    let counts = ["7", "7@-100", "-100"].map(|dialog| setup.count(dialog));
    assert_eq!(counts, [3, 2, 1]);
}

/// The one text of a turn makes no call of ours, and comes again byte for byte until there
/// is a newer one; what is more than one text is sent.
#[tokio::test]
async fn a_lone_text_rides_in_the_answer() {
    let api = Api::start();
    let setup = Setup::commands().args(&["--workers", "2"]);
    let bot = api.configure(setup).start().await;
    let first = tell(bot.port, &text(1, 7, "hi")).await;
    assert_eq!(
        first.json(),
        json!({"method": "sendMessage", "chat_id": "7", "text": "1: hi"})
    );
    assert_eq!(first.header("content-type"), "application/json");
    let again = tell(bot.port, &text(1, 7, "hi")).await;
    assert_eq!(again.body, first.body);
    let bot = bot.kill_all().await.start().await;
    let again = tell(bot.port, &text(1, 7, "hi")).await;
    assert_eq!(again.body, first.body);
    let asked = tell(bot.port, &text(2, 7, "ask Tea?")).await;
    assert_eq!(
        asked.json(),
        json!({"method": "sendMessage", "chat_id": "7", "text": "Tea?", "reply_markup":
            {"inline_keyboard": [[{"text": "Yes", "callback_data": "yes:1"}],
                [{"text": "No", "callback_data": "no"}]]}})
    );
    // Now it would come after a newer one.
    tell_silently(bot.port, &text(1, 7, "hi")).await;
    tell_silently(bot.port, &text(3, 7, "silent")).await;
    assert!(api.calls().is_empty());

    tell_silently(bot.port, &text(4, 7, "photo https://example.org/cat.jpg")).await;
    until("a photo", SOON, || api.accepted() == 1).await;
    let long = "x".repeat(4090);
    tell_silently(bot.port, &text(5, 7, &format!("{long} two parts"))).await;
    until("two parts", SOON, || api.accepted() == 3).await;
    let calls = api.calls();
    assert_eq!(calls[0].method, "sendPhoto");
    assert_eq!(
        calls[0].body,
        json!({"chat_id": "7", "photo": "https://example.org/cat.jpg", "caption": "look",
            "reply_markup": {"inline_keyboard": [[{"text": "More", "callback_data": "more"}]]}})
    );
    assert_eq!(
        api.received("7")[1..],
        [format!("5: {long}"), "two parts".to_owned()]
    );
    let setup = bot.stop().await;
    assert_eq!(setup.count("7"), 5);
    setup.assert_sound();
}

#[tokio::test]
async fn the_webhook_secret_is_asked_for() {
    let bot = Setup::counter()
        .env("TURNKEY_TELEGRAM_SECRET", "s3cret")
        .start()
        .await;
    let with = |secret: &str| {
        let mut request = webhook(&text(1, 7, "hi"));
        let name = "x-telegram-bot-api-secret-token";
        request.headers_mut().insert(name, secret.parse().unwrap());
        request
    };
    assert_eq!(once(bot.port, webhook(&text(1, 7, "hi"))).await.status, 401);
    for wrong in ["", "s3cre", "s3cret2", "S3CRET"] {
        assert_eq!(once(bot.port, with(wrong)).await.status, 401, "{wrong}");
    }
    assert_eq!(once(bot.port, with("s3cret")).await.status, 200);
    // No token: the reply stays in the outbox, and stopping does not wait for it.
    assert_eq!(bot.stop().await.count("7"), 1);
}

#[tokio::test]
async fn an_update_that_comes_again_is_handled_and_answered_once() {
    let api = Api::start();
    let bot = api
        .configure(Setup::commands().args(&["--workers", "2"]))
        .start()
        .await;
    let port = bot.port;
    let mut tasks = Vec::new();
    for n in 0..20 {
        let message = ["sleep 200", "many 2"][n % 2];
        let update = text(n as u64 % 2, 7 + n as u64 % 2, message);
        tasks.push(tokio::spawn(async move {
            (message, tell(port, &update).await.text())
        }));
    }
    let mut answers = Vec::new();
    for task in tasks {
        answers.push(join(task).await);
    }
    answers.sort_unstable();
    answers.dedup();
    assert_eq!(answers.len(), 2, "one answer to each: {answers:?}");
    until("two replies", SOON, || api.accepted() == 2).await;
    let setup = bot.stop().await;
    let bot = setup.start().await;
    for _ in 0..5 {
        assert_eq!(
            tell(bot.port, &text(0, 7, "sleep 200")).await.text(),
            answers[1].1
        );
        tell_silently(bot.port, &text(1, 8, "many 2")).await;
    }
    assert_eq!(ask(bot.port, &text(2, 7, "hi")).await, to("7", "2: hi"));
    bot.stop().await;
    assert_eq!(api.received("8"), ["1.1", "1.2"]);
    assert_eq!(api.calls().len(), 2);
}

/// 500, 429 and no answer at all: the replies keep their order, and nobody else
/// waits for them.
#[tokio::test]
async fn replies_keep_their_order_through_floods_and_errors() {
    let api = Api::start();
    let bot = api
        .configure(Setup::commands().args(&["--workers", "2"]))
        .start()
        .await;
    let port = bot.port;
    api.be(
        "7",
        &[Mood::Broken, Mood::Flood(1), Mood::Well, Mood::Broken],
    );
    tell_silently(port, &text(1, 7, "many 3")).await;
    // Waits for the turn before it, its replies included.
    let next = tokio::spawn(async move { tell(port, &text(2, 7, "many 2")).await });
    let other = Instant::now();
    tell(port, &text(3, 8, "many 2")).await;
    until("the replies of another user", SOON, || {
        api.received("8").len() == 2
    })
    .await;
    assert!(other.elapsed() < Duration::from_secs(1));
    join(next).await;
    until("5 replies", SOON, || api.received("7").len() == 5).await;
    assert_eq!(api.received("7"), ["1.1", "1.2", "1.3", "2.1", "2.2"]);
    let calls: Vec<_> = api.calls().into_iter().filter(|c| c.chat == "7").collect();
    let texts: Vec<_> = calls.iter().map(|call| call.text.as_str()).collect();
    assert_eq!(
        texts,
        ["1.1", "1.1", "1.1", "1.2", "1.2", "1.3", "2.1", "2.2"]
    );
    let pause = calls[2].at - calls[1].at;
    assert!(
        pause >= Duration::from_millis(990),
        "retry_after was 1 s, not {pause:?}"
    );
    bot.stop().await.assert_sound();
}

#[tokio::test]
async fn a_user_who_blocked_the_bot_ends_the_reply() {
    let api = Api::start();
    let bot = api.configure(Setup::commands()).start().await;
    api.be("7", &[Mood::Blocked]);
    tell(bot.port, &text(1, 7, "many 2")).await;
    until("the second reply", SOON, || api.accepted() == 1).await;
    bot.wait_for_stderr("blocked by the user").await;
    // That the user has left is a turn, too; what is said in it is sent.
    until("that turn", SOON, || api.accepted() == 2).await;
    let bot = bot.stop().await.start().await;
    assert_eq!(ask(bot.port, &text(2, 7, "hi")).await, to("7", "3: hi"));
    let texts: Vec<_> = api.calls().into_iter().map(|call| call.text).collect();
    assert_eq!(texts[..2], ["1.1", "1.2"], "the first is not tried again");
    assert_eq!(texts.len(), 3, "{texts:?}");
    bot.stop().await;
}

/// Everything is killed after the commit and before the reply is through. After a
/// restart it goes out before newer turns of the user, and also when the user is
/// silent.
#[tokio::test]
async fn replies_of_a_killed_program_go_out_first() {
    let api = Api::start();
    let bot = api
        .configure(Setup::commands().args(&["--workers", "2"]))
        .start()
        .await;
    api.be("7", &[Mood::Well, Mood::Hanging]);
    api.be("8", &[Mood::Hanging]);
    tell(bot.port, &text(1, 7, "many 3")).await;
    tell(bot.port, &text(2, 8, "many 2")).await;
    until("both at their second call", SOON, || api.calls().len() == 3).await;
    let setup = bot.kill_all().await;
    let check = setup.tool(&["check"]);
    assert_eq!(check.code, Some(1), "it left locks: {}", check.stdout);

    let bot = setup.start().await;
    // It rides in its answer, which waits for what is older.
    assert_eq!(ask(bot.port, &text(3, 7, "hi")).await, to("7", "2: hi"));
    assert_eq!(api.received("7"), ["1.1", "1.2", "1.3"]);
    until("5 replies", SOON, || api.accepted() == 5).await;
    assert_eq!(api.received("8"), ["1.1", "1.2"]);
    // Telegram sends again what it saw no answer to.
    tell(bot.port, &text(1, 7, "many 3")).await;
    let setup = bot.stop().await;
    assert_eq!(api.accepted(), 5);
    setup.assert_sound();
}

/// A worker dies between commit and reply: the other one, or its successor, sends it.
#[tokio::test]
async fn replies_of_a_killed_worker_are_sent_by_another() {
    let api = Api::start();
    let bot = api
        .configure(Setup::commands().args(&["--workers", "2"]))
        .start()
        .await;
    api.be("7", &[Mood::Hanging]);
    tell(bot.port, &text(1, 7, "many 2")).await;
    until("a call", SOON, || api.calls().len() == 1).await;
    for index in 0..2 {
        let pid = bot.worker(index).await;
        nix::sys::signal::kill(
            nix::unistd::Pid::from_raw(pid),
            nix::sys::signal::Signal::SIGKILL,
        )
        .unwrap();
    }
    until("two replies", SOON, || api.accepted() == 2).await;
    assert_eq!(api.received("7"), ["1.1", "1.2"]);
    bot.stop().await.assert_sound();
}

/// A stop does not wait out a pause that the platform asked for: the reply stays in
/// the outbox and goes out after the next start, when the pause is over.
#[tokio::test]
async fn a_stop_does_not_wait_for_a_reply_that_must_wait() {
    let api = Api::start();
    let bot = api
        .configure(Setup::commands().args(&["--workers", "2"]))
        .start()
        .await;
    api.be("7", &[Mood::Flood(10)]);
    tell(bot.port, &text(1, 7, "many 2")).await;
    until("a call", SOON, || api.calls().len() == 1).await;
    let asked = Instant::now();
    let setup = bot.stop().await;
    assert!(
        asked.elapsed() < Duration::from_secs(4),
        "it took {:?}",
        asked.elapsed()
    );
    let bot = setup.start().await;
    until("the replies", SOON, || api.received("7") == ["1.1", "1.2"]).await;
    bot.stop().await.assert_sound();
}

const USERS: u64 = 1000;
/// What a chat takes at once.
const UPDATES: u64 = 5;

/// Many connections, updates of all users mixed, those of one user one after another;
/// each reply is sent.
#[tokio::test]
async fn a_thousand_users_are_counted_to_the_last() {
    let api = Api::start();
    let setup = Setup::counter().args(&["--workers", "2", "--telegram-rate", "100000"]);
    let bot = api.configure(setup).start().await;
    let mut tasks = Vec::new();
    let lanes = 50;
    for lane in 0..lanes {
        let mut connection = Connection::open(bot.port).await;
        tasks.push(tokio::spawn(async move {
            for n in 1..=UPDATES {
                for user in (0..USERS).filter(|user| user % lanes == lane) {
                    // A reply to a button is sent.
                    let pressed = json!({"update_id": user * UPDATES + n, "callback_query": {
                        "id": "q", "from": {"id": 1_000_000 + user}, "data": "hi"}});
                    let answer = connection.send(webhook(&pressed)).await;
                    assert_eq!(answer.status, 200, "{}", answer.text());
                }
            }
        }));
    }
    for task in tasks {
        join(task).await;
    }
    let all = (USERS * UPDATES) as usize;
    until("every reply", SOON, || api.accepted() == all).await;
    let lines = bot.stop().await.dump(&[]);
    assert_eq!(lines.len(), USERS as usize);
    assert!(lines.iter().all(|line| count_of(line) == UPDATES));
    let mut received = std::collections::HashMap::new();
    for call in api.calls() {
        let n = received.entry(call.chat.clone()).or_insert(0);
        *n += 1;
        assert_eq!(call.text, format!("{n}: hi"), "to {}", call.chat);
    }
}
