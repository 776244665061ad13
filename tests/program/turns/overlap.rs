//! Messages that come shortly after each other, as one turn: `App::overlap`.

use serde_json::{Value, json};

use crate::harness::api::Api;
use crate::harness::bot::{Bot, SOON, Setup, until};
use crate::harness::client::once;
use crate::harness::programs::has;
use crate::harness::telegram::{text, webhook};
use crate::platforms::webhooks::told;
use crate::turns::interrupt::bots;

async fn start(api: &Api, overlap: &str, args: &[&str]) -> Bot {
    let setup = Setup::commands().args(&["--workers", "2"]).args(args);
    let setup = setup.env("COMMANDS_OVERLAP", overlap);
    api.configure(setup).start().await
}

/// Telegram sends these; each is answered without anything riding in the answer.
async fn sent(bot: &Bot, updates: &[Value]) {
    for update in updates {
        told(bot, webhook(update), "").await;
    }
}

/// The numbers are those of the updates.
fn texts(user: u64, all: &[(u64, &str)]) -> Vec<Value> {
    all.iter().map(|(n, said)| text(*n, user, said)).collect()
}

fn part(update: u64, user: u64, album: &str, caption: &str) -> Value {
    let mut part = text(update, user, "");
    let message = part["message"].as_object_mut().expect("a message");
    message.remove("text");
    message.insert("media_group_id".to_owned(), json!(album));
    message.insert("caption".to_owned(), json!(caption));
    let photo =
        json!([{"file_id": format!("p{update}"), "file_unique_id": "u", "width": 1, "height": 1}]);
    message.insert("photo".to_owned(), photo);
    part
}

fn press(update: u64, user: u64, data: &str) -> Value {
    json!({"update_id": update, "callback_query": {
        "id": update.to_string(), "chat_instance": "1", "data": data,
        "from": {"id": user, "is_bot": false, "first_name": "Ann"},
        "message": text(1, user, "Tea?")["message"],
    }})
}

#[tokio::test]
async fn five_quick_messages_are_one_turn() {
    let api = Api::start();
    let bot = start(&api, "burst 700ms", &[]).await;
    let all = [(1, "a"), (2, "b"), (3, "c"), (4, "d"), (5, "e")];
    sent(&bot, &texts(7, &all)).await;
    sent(&bot, &texts(8, &[(11, "alone")])).await;
    let together = "1: a|b|c|d|e as a/b/c/d/e, 0 files";
    api.receives("7", &[together]).await;
    api.receives("8", &["1: alone"]).await;
    // All five are known; the next one is the second turn.
    sent(&bot, &texts(7, &all)).await;
    sent(&bot, &texts(7, &[(6, "f")])).await;
    api.receives("7", &[together, "2: f"]).await;
    bot.stop().await.assert_sound();
}

/// Killed while it waits: nothing is lost, and nothing comes twice.
#[tokio::test]
async fn a_burst_survives_the_death_of_all() {
    let api = Api::start();
    let bot = start(&api, "burst 1s", &[]).await;
    sent(&bot, &texts(7, &[(1, "a"), (2, "b")])).await;
    let bot = bot.kill_all().await.start().await;
    sent(&bot, &texts(7, &[(2, "b"), (3, "c")])).await;
    until("all are there", SOON, || {
        let said = api.received("7").join(" ");
        ["a", "b", "c"].iter().all(|text| said.contains(text))
    })
    .await;
    sent(&bot, &texts(7, &[(1, "a"), (2, "b"), (3, "c"), (4, "end")])).await;
    until("the end is there", SOON, || {
        api.received("7").join(" ").contains("end")
    })
    .await;
    let said = api.received("7").join(" ");
    // Each once as such, and, of several, once more as the text of all.
    for text in ["a", "b", "c", "end"] {
        let words = said.split([' ', '|', ',']);
        assert_eq!(
            words.filter(|word| *word == text).count(),
            1,
            "{text}: {said}"
        );
    }
    bot.stop().await.assert_sound();
}

#[tokio::test]
async fn an_album_is_one_turn_in_its_place() {
    let api = Api::start();
    let bot = start(&api, "albums", &[]).await;
    let mut all = vec![
        part(1, 7, "x", "look"),
        part(2, 7, "x", ""),
        part(3, 7, "x", ""),
        part(4, 7, "y", "more"),
        part(5, 7, "y", ""),
    ];
    sent(&bot, &all[..3]).await;
    sent(&bot, &all[3..]).await;
    // What follows waits for them.
    let next = once(bot.port, webhook(&text(6, 7, "next"))).await.json();
    assert_eq!(next["text"], "3: next");
    let albums = ["1: look|| as look, 3 files", "2: more| as more, 2 files"];
    api.receives("7", &albums).await;
    // A photo alone, and all that is no album, has a turn of its own at once.
    let alone = once(bot.port, webhook(&part(7, 7, "", "one"))).await.json();
    assert_eq!(alone["text"], "4: 1 photos, p7, one");
    all.reverse();
    sent(&bot, &all).await;
    let last = once(bot.port, webhook(&text(8, 7, "last"))).await.json();
    assert_eq!(last["text"], "5: last");
    bot.stop().await.assert_sound();
}

/// What a dialog says of itself holds for it alone, after a restart, too.
#[tokio::test]
async fn a_dialog_has_its_own() {
    for setup in bots() {
        let api = Api::start();
        let setup = setup.args(&["--workers", "2"]);
        let bot = api.configure(setup).start().await;
        sent(&bot, &texts(7, &[(1, "overlap burst 700ms")])).await;
        sent(&bot, &texts(7, &[(2, "a"), (3, "b"), (4, "c")])).await;
        api.receives("7", &["2: a|b|c as a/b/c, 0 files"]).await;
        let other = once(bot.port, webhook(&text(5, 8, "other"))).await.json();
        assert_eq!(other["text"], "1: other");
        let bot = bot.kill_all().await.start().await;
        sent(&bot, &texts(7, &[(6, "d"), (7, "overlap")])).await;
        let together = "3: d|overlap as d/overlap, 0 files";
        api.receives("7", &["2: a|b|c as a/b/c, 0 files", together])
            .await;
        sent(&bot, &texts(7, &[(8, "overlap")])).await;
        until("it is handled", SOON, || bot.setup.count("7") == 4).await;
        let next = once(bot.port, webhook(&text(9, 7, "e"))).await.json();
        assert_eq!(next["text"], "5: e");
        bot.stop().await.assert_sound();
    }
}

/// A handler says it by channel, and one that there is not is refused.
#[tokio::test]
async fn a_channel_has_its_own() {
    if !has("python3") {
        return;
    }
    let bot = |overlap: &str| {
        Setup::in_python(&format!(
            "import turnkey\n\
             def handle(turn): turn.reply(str(len(turn.updates)))\n\
             turnkey.run(handle, overlap={overlap})\n"
        ))
    };
    let api = Api::start();
    let setup = bot("{'telegram': 'burst 700ms', '*': 'latest'}");
    let served = api.configure(setup).start().await;
    sent(&served, &texts(7, &[(1, "a"), (2, "b"), (3, "c")])).await;
    api.receives("7", &["3"]).await;
    served.stop().await.assert_sound();
    let ended = bot("{'telgram': 'latest'}").run_to_end();
    let said =
        "there is no channel \"telgram\" whose messages could overlap; there are http, telegram";
    assert!(ended.stderr.contains(said), "{}", ended.stderr);
}

/// A press is a turn of its own, after what was said before it.
#[tokio::test]
async fn a_press_keeps_its_place() {
    let api = Api::start();
    let bot = start(&api, "burst 500ms", &[]).await;
    sent(&bot, &texts(7, &[(1, "a"), (2, "b")])).await;
    assert_eq!(
        once(bot.port, webhook(&press(3, 7, "yes"))).await.status,
        200
    );
    sent(&bot, &texts(7, &[(4, "c"), (5, "d")])).await;
    api.receives(
        "7",
        &[
            "1: a|b as a/b, 0 files",
            "2: button yes",
            "3: c|d as c/d, 0 files",
        ],
    )
    .await;
    bot.stop().await.assert_sound();
}

/// What fails takes no neighbour along.
#[tokio::test]
async fn one_that_fails_is_given_up_alone() {
    let api = Api::start();
    let bot = start(&api, "burst 300ms", &["--max-attempts", "2"]).await;
    sent(
        &bot,
        &texts(7, &[(1, "a"), (2, "fail"), (3, "b"), (4, "c")]),
    )
    .await;
    api.receives("7", &["1: a", "2: b|c as b/c, 0 files"]).await;
    let dead = bot.setup.tool(&["dead", "list"]);
    assert!(dead.stdout.contains("told to fail"), "{}", dead.stdout);
    bot.stop().await.assert_sound();
}

/// What came during a turn is the next one, for the newest.
#[tokio::test]
async fn only_the_latest_is_answered() {
    let api = Api::start();
    let bot = start(&api, "latest", &[]).await;
    let gate = bot.setup.path("gate");
    let wait = format!("gate {} first", gate.display());
    sent(&bot, &texts(7, &[(1, &wait)])).await;
    let waits = bot.setup.path("gate.telegram.7");
    until("the turn runs", SOON, || waits.exists()).await;
    sent(&bot, &texts(7, &[(2, "x"), (3, "y"), (4, "z")])).await;
    std::fs::write(&gate, "").expect("the gate opens");
    api.receives("7", &["1: first", "2: x|y|z as z, 0 files"])
        .await;
    bot.stop().await.assert_sound();
}
