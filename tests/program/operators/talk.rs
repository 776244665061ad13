//! Who talks to a bot, and what was said: dialogs by name, and a dialog as a conversation; and what
//! the platforms call the bot.

use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::harness::api::whatsapp::whatsapp;
use crate::harness::api::{Api, Mood};
use crate::harness::bot::{Bot, SOON, Setup, url};
use crate::harness::client::{Answer, once};
use crate::harness::telegram::webhook;
use crate::operators::admin::{admin_port, get, setup, until_page};

/// The page of Ann's dialog.
pub(crate) const TALK: &str = "/status/dialogs/telegram/7";

/// What Ann's app sends, who is called so.
pub(crate) fn of(name: &str, update: u64, what: &Value) -> Value {
    let from = json!({"id": 7, "is_bot": false, "first_name": name, "last_name": "Lee",
        "username": "ann_lee", "language_code": "pt-br"});
    let chat = json!({"id": 7, "type": "private"});
    match what.get("data") {
        Some(data) => json!({"update_id": update, "callback_query": {"id": format!("q{update}"),
            "from": from, "data": data, "chat_instance": "1",
            "message": {"message_id": 5, "date": 1, "text": "old", "chat": chat}}}),
        None => {
            let mut message = json!({"message_id": update, "date": 1_700_000_000, "from": from,
                "chat": chat});
            for (field, value) in what.as_object().unwrap() {
                message[field] = value.clone();
            }
            json!({"update_id": update, "message": message})
        }
    }
}

pub(crate) async fn tell(bot: &Bot, update: &Value) -> Answer {
    let answer = once(bot.port, webhook(update)).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer
}

fn list(bot: &Bot, user: &str) -> String {
    let storage = url(&bot.setup.database());
    let args = ["dialogs", "list", "--user", user, "--storage", &storage];
    let ended = bot.setup.bare(&args);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    ended.stdout
}

/// The texts are on the page in this order.
fn in_order(page: &str, texts: &[&str]) {
    let mut from = 0;
    for text in texts {
        let at = page[from..].find(text);
        from += at.unwrap_or_else(|| panic!("no {text:?} behind {from} in {page}"));
    }
}

#[tokio::test]
async fn dialogs_have_the_names_that_platforms_tell_and_are_found_by_them() {
    let api = Api::start();
    let bot = api.configure(setup(Setup::commands())).start().await;
    let port = admin_port(&bot);
    tell(&bot, &of("Änne", 1, &json!({"text": "hi"}))).await;
    let page = get(port, "/status/dialogs").await.text();
    in_order(
        &page,
        &[">Änne Lee</a>", "7, @ann_lee", ">telegram<", ">pt-br<"],
    );
    for user in ["ÄNNE%20l", "ann_lee", "7"] {
        let found = get(port, &format!("/status/dialogs?user={user}")).await;
        assert!(found.text().contains(">Änne Lee</a>"), "{user}");
    }
    let none = get(port, "/status/dialogs?user=zoe").await.text();
    assert!(
        none.contains("No user has a name or an id like that."),
        "{none}"
    );
    let line = list(&bot, "änne");
    assert!(line.contains("telegram:7 "), "{line}");
    assert!(line.contains("Änne Lee, @ann_lee, pt-br"), "{line}");
    assert_eq!(list(&bot, "zoe"), "");
    // A user who is called otherwise from now on, and one who is forgotten.
    tell(&bot, &of("Anna", 2, &json!({"text": "hi"}))).await;
    assert_eq!(list(&bot, "änne"), "");
    assert!(list(&bot, "anna").contains("Anna Lee, "));
    let storage = url(&bot.setup.database());
    let reset = ["dialogs", "reset", "telegram", "7", "--storage", &storage];
    assert_eq!(bot.setup.bare(&reset).code, Some(0));
    assert_eq!(list(&bot, "anna"), "");
    tell(&bot, &of("Anna", 3, &json!({"text": "hi"}))).await;
    assert!(list(&bot, "anna").contains("Anna Lee, "));
    bot.stop().await.assert_sound();
}

#[tokio::test]
async fn a_dialog_is_a_conversation_with_buttons_files_and_what_failed() {
    let api = Api::start();
    let bot = api
        .configure(setup(Setup::commands()))
        .args(&[
            "--history",
            "--max-attempts",
            "3",
            "--max-reply-attempts",
            "1",
        ])
        .start()
        .await;
    let port = admin_port(&bot);
    let photo = json!({"caption": "cup <b>", "photo": [{"file_id": "AgAC",
        "file_unique_id": "u", "width": 90, "height": 67, "file_size": 2048}]});
    let has = async |what: &str| until_page(port, TALK, what, SOON).await;
    for (update, what, said) in [
        (1, json!({"text": "ask Tea?"}), ">Tea?</p>"),
        (2, json!({"data": "no"}), ">2: button no</p>"),
        (3, photo, "photos, AgAC, cup &lt;b&gt;</p>"),
        (4, json!({"text": "keys"}), ">Pick</p>"),
        (5, json!({"text": "Two"}), ">5: Two</p>"),
        (6, json!({"text": "try 2"}), ">6: try 2 (attempt 2)</p>"),
        (
            7,
            json!({"text": "photo https://example.org/a/cat.jpg?key=1"}),
            "cat.jpg</li>",
        ),
    ] {
        tell(&bot, &of("Ann", update, &what)).await;
        has(said).await;
        has("replies to be sent</dt><dd>0<").await;
    }
    api.be("7", &[Mood::Failing, Mood::Failing]);
    tell(&bot, &of("Ann", 8, &json!({"text": "many 2"}))).await;
    let page = has("Not sent, given up</a> after 1 attempt: ").await;
    in_order(
        &page,
        &[
            "<h1>Ann Lee <small>telegram</small></h1>",
            "<dt>language</dt><dd>pt-br</dd>",
            "<li class=\"user\">",
            ">ask Tea?</p>",
            "Ann Lee · <time ",
            "<li class=\"bot\">",
            ">Tea?</p>",
            "<li class=\"pressed\" title=\"no\">",
            "Bot · <time ",
            "pressed a button",
            "cup &lt;b&gt;",
            "<li>photo, 2.0 KiB</li>",
            "<li class=\"pressed\" title=\"says its label\">",
            ">Two</p>",
            ">try 2</p>",
            "Handled after 2 attempts; before: ",
            "<li>photo cat.jpg</li>",
            ">many 2</p>",
            "Not sent, given up</a> after 1 attempt: ",
        ],
    );
    bot.stop().await.assert_sound();
}

/// Without a history there is what waits, or was given up.
#[tokio::test]
async fn without_a_history_a_dialog_shows_what_the_database_has() {
    let api = Api::start();
    let bot = api
        .configure(setup(Setup::commands()))
        .args(&["--max-attempts", "1"])
        .start()
        .await;
    let port = admin_port(&bot);
    tell(&bot, &of("Ann", 1, &json!({"text": "hi"}))).await;
    assert_eq!(get(port, "/status/dialogs/telegram/8").await.status, 404);
    let mut stranger = of("Zoe", 100, &json!({"text": "fail"}));
    for field in ["from", "chat"] {
        stranger["message"][field]["id"] = json!(8);
    }
    tell(&bot, &stranger).await;
    // Its first turn failed: there is no state.
    let given_up = "Given up</a> after 1 attempt: ";
    let page = until_page(port, "/status/dialogs/telegram/8", given_up, SOON).await;
    assert!(page.contains("<dd>none yet</dd>"), "{page}");
    let well = get(port, TALK).await.text();
    assert!(well.contains("Nothing waits and nothing failed."), "{well}");
    tell(&bot, &of("Ann", 2, &json!({"text": "fail"}))).await;
    api.be("7", &[Mood::Held]);
    tell(&bot, &of("Ann", 3, &json!({"text": "many 2"}))).await;
    until_page(port, TALK, given_up, SOON).await;
    let page = until_page(port, TALK, "Not sent yet", SOON).await;
    in_order(&page, &[">fail</p>", given_up, "Not sent yet"]);
    api.calm();
    bot.stop().await.assert_sound();
}

#[tokio::test]
async fn the_platforms_say_what_they_call_the_bot_and_are_asked_once() {
    let api = Api::start();
    let setup = whatsapp(api.configure(setup(Setup::commands())), &api.url());
    let bot = setup.start().await;
    let port = admin_port(&bot);
    let names = async || {
        let told: Value = get(port, "/status.json").await.json();
        let channels = told["channels"].as_array().unwrap();
        let named = channels.iter().filter_map(|channel| {
            let name = channel["own_name"].as_str()?;
            Some(format!("{} {name}", channel["name"].as_str()?))
        });
        named.collect::<Vec<_>>()
    };
    let all = [
        "facebook Page of Tea",
        "telegram Tea <Bot> (@tea_bot)",
        "viber Tea of Viber",
        "vk Tea of VK",
        "whatsapp Tea of WhatsApp",
    ];
    let deadline = Instant::now() + SOON;
    while names().await != all {
        assert!(Instant::now() < deadline, "{:?}", names().await);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let page = get(port, "/status").await.text();
    assert!(
        page.contains("Tea &lt;Bot&gt; (@tea_bot) on telegram"),
        "{page}"
    );
    let top = bot
        .setup
        .bare(&["top", "--once", "--admin", &format!("127.0.0.1:{port}")]);
    assert!(
        top.stdout
            .contains("known as    Page of Tea on facebook, Tea <Bot>"),
        "{top:?}"
    );
    // Whoever takes the first worker's place knows it.
    let first = bot.worker(0).await;
    kill(Pid::from_raw(first), Signal::SIGKILL).unwrap();
    bot.successor("turnkey: worker 0", first).await;
    assert_eq!(names().await, all);
    let mut asked = api.named();
    asked.sort();
    assert_eq!(asked, ["getMe", "get_account_info"]);
    bot.stop().await.assert_sound();
}

#[tokio::test]
async fn a_platform_that_is_away_holds_up_no_start() {
    // Nobody listens there.
    let bot = setup(Setup::commands())
        .args(&["--telegram-api-url", "http://127.0.0.1:9"])
        .env("TURNKEY_TELEGRAM_TOKEN", "123:ABC")
        .start()
        .await;
    let told: Value = get(admin_port(&bot), "/status.json").await.json();
    let channels = told["channels"].as_array().unwrap();
    assert!(channels.iter().all(|c| c["own_name"].is_null()), "{told}");
    assert_eq!(told["not_ready"], Value::Null);
    bot.stop().await.assert_sound();
}
