//! Conversations: what a bot's author meets in them is what a bot does.

use std::cell::Cell;
use std::rc::Rc;

use super::*;
use crate::author::message::{Chat, File, FileKind};

/// Counts, and does what the text says.
async fn handle(turn: &mut Turn<u64>) -> Result<()> {
    turn.state += 1;
    if let Some(timer) = turn.timer() {
        turn.reply(format!("{} {}", timer.name, timer.data));
        return Ok(());
    }
    if let Some(rpc) = turn.rpc() {
        turn.reply(format!("{} {}", rpc.method, rpc.params));
        return Ok(());
    }
    if let Some(called) = turn.called() {
        turn.reply(format!("{} {}", called.name, called.body));
        return Ok(());
    }
    let text = turn.text().to_owned();
    match text.as_str() {
        "fail" => return Err(Error::msg("no")),
        "tea" => turn.after("4m", "tea", json!("green")),
        "late" => turn.after("soon", "tea", json!(null)),
        "weekly" => turn.every("0 9 * * MON", "Europe/Vienna", "digest", json!(null)),
        "no tea" => turn.cancel("tea"),
        "note" => turn.execute("INSERT INTO notes (words) VALUES (?1)", [text]),
        "notes" => {
            let rows = turn.query("SELECT words FROM notes", ()).await?;
            turn.reply(rows.len().to_string());
        }
        "wrong" => turn.execute("INSERT INTO nowhere VALUES (1)", ()),
        "pay" => {
            let address = turn.callback("paid")?;
            turn.reply(address);
        }
        "who" => {
            let who = turn.ask("getMe", json!({})).await?;
            turn.reply(who["name"].to_string());
        }
        "file" => {
            let file = turn.files()[0].clone();
            let bytes = turn.download(&file, 10).await?;
            turn.draft("so far");
            turn.reply(format!("{bytes:?}"));
        }
        other => turn.reply(format!("{}: {other}", turn.state)),
    }
    Ok(())
}

fn bot() -> Conversation<u64> {
    Conversation::new(handle)
}

fn refused<T>(result: Result<T>, part: &str) {
    let Err(error) = result else {
        panic!("it is refused: {part}")
    };
    assert!(error.to_string().contains(part), "{error}");
}

#[test]
fn each_user_has_a_state_and_a_failure_changes_nothing() {
    let mut bot = bot();
    assert_eq!(bot.say("ann", "hi").unwrap().text(), "1: hi");
    refused(bot.say("ann", "fail"), "no");
    assert_eq!(bot.say("ann", "ho").unwrap().text(), "2: ho");
    assert_eq!(bot.press("bob", "x").unwrap().state, 1);
    assert_eq!(bot.state("ann").unwrap(), 2);
    bot.set_state("ann", &40).unwrap();
    assert_eq!(bot.say("ann", "ho").unwrap().text(), "41: ho");
    assert_eq!(bot.state("nobody").unwrap(), 0);
}

#[test]
fn timers_wait_fire_and_are_cancelled() {
    let mut bot = bot();
    assert_eq!(bot.say("ann", "tea").unwrap().timers, ["tea"]);
    assert_eq!(bot.fire("ann", "tea").unwrap().text(), "tea \"green\"");
    refused(bot.fire("ann", "tea"), "no timer \"tea\"; there are []");
    bot.say("ann", "weekly").unwrap();
    bot.say("ann", "tea").unwrap();
    assert_eq!(bot.fire("ann", "digest").unwrap().timers, ["digest", "tea"]);
    assert_eq!(bot.say("ann", "no tea").unwrap().timers, ["digest"]);
    refused(bot.say("ann", "late"), "\"soon\" is no time");
}

#[test]
fn own_tables_are_those_of_the_engine() {
    let mut bot = bot().migrations(["CREATE TABLE notes (words TEXT NOT NULL)"]);
    bot.say("ann", "note").unwrap();
    assert_eq!(bot.say("bob", "notes").unwrap().text(), "1");
    assert_eq!(bot.query("SELECT * FROM notes", ()).unwrap().len(), 1);
    refused(bot.say("ann", "wrong"), "nowhere");
    assert_eq!(bot.state("ann").unwrap(), 1);
}

#[test]
fn a_step_is_kept_for_the_next_attempt() {
    let paid = Rc::new(Cell::new(0));
    let counts = paid.clone();
    let mut bot = Conversation::new(async move |turn: &mut Turn<()>| {
        let pays = async {
            counts.set(counts.get() + 1);
            Ok(7)
        };
        let receipt: u32 = turn.step("charge", pays).await?;
        match turn.attempt() {
            1 => Err(Error::msg("the parcel service is away")),
            _ => {
                turn.reply(receipt.to_string());
                Ok(())
            }
        }
    });
    refused(bot.say("ann", "buy"), "away");
    let said = bot.again().unwrap();
    assert_eq!((said.text().as_str(), paid.get()), ("7", 1));
    assert_eq!(said.steps["charge"], json!(7));
    refused(bot.again(), "has not failed");
}

#[test]
fn others_call_and_the_platform_answers_as_the_test_says() {
    let mut bot = bot()
        .answering(|method, _| match method {
            "getMe" => Ok(json!({ "name": "Robin" })),
            _ => Err("no".to_owned()),
        })
        .file("x", [1, 2]);
    assert_eq!(bot.say("ann", "who").unwrap().text(), "\"Robin\"");
    let said = bot.rpc("ann", "paid", json!({ "eur": 3 })).unwrap();
    assert_eq!(said.text(), "paid {\"eur\":3}");
    let address = bot.say("ann", "pay").unwrap().text();
    let said = bot.call(&address, json!(5)).unwrap();
    assert_eq!(said.text(), "paid 5");
    refused(bot.call(&address, json!(5)), "no callback is open");
    let mut update = bot.update("ann", "file");
    update.files.push(File {
        id: Some("x".to_owned()),
        ..File::new(FileKind::Photo)
    });
    assert_eq!(bot.send(update.clone()).unwrap().text(), "[1, 2]");
    refused(bot.send(update), "handled before");
}

#[test]
fn a_runtime_is_told_where_it_does_not_belong() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    runtime.block_on(async { refused(bot().say("ann", "hi"), "#[test] fn") });
}

#[test]
fn a_group_is_a_dialog_as_in_a_bot_and_its_timers_know_the_group() {
    let mut bot = Conversation::new(async |turn: &mut Turn<u64>| {
        turn.state += 1;
        if turn.text() == "tea" {
            turn.after("4m", "tea", json!(null));
        }
        let chat = turn.chat().map_or("", |chat| &chat.id);
        turn.reply(format!("{} {} {chat}", turn.dialog_id(), turn.user_id()));
        Ok(())
    });
    let mut update = bot.update("7", "tea");
    update.chat = Some(Chat::group("-1007"));
    let said = bot.send(update).unwrap();
    assert_eq!(said.text(), "7@-1007 7 -1007");
    assert_eq!(bot.state("7@-1007").unwrap(), 1);
    assert_eq!(bot.state("7").unwrap(), 0);
    refused(bot.fire("7", "tea"), "no timer");
    let said = bot.fire("7@-1007", "tea").unwrap();
    assert_eq!((said.text().as_str(), said.state), ("7@-1007 7 -1007", 2));
}

#[test]
fn a_timer_whose_turn_fails_is_still_there() {
    let mut bot = Conversation::new(async |turn: &mut Turn<()>| match turn.timer() {
        None => {
            turn.after("4m", "tea", json!(null));
            Ok(())
        }
        Some(_) if turn.attempt() == 1 => Err(Error::msg("no water")),
        Some(_) => {
            turn.reply("Tea!");
            Ok(())
        }
    });
    bot.say("ann", "tea").unwrap();
    refused(bot.fire("ann", "tea"), "no water");
    refused(bot.fire("ann", "tea"), "no water");
    let said = bot.again().unwrap();
    assert_eq!(said.text(), "Tea!");
    assert!(said.timers.is_empty(), "{:?}", said.timers);
    refused(bot.fire("ann", "tea"), "no timer");
}

#[test]
fn nothing_is_sent_where_a_bot_could_not() {
    let tells = async |turn: &mut Turn<u64>| {
        turn.state += 1;
        turn.reply("I have told them.");
        turn.send_to(turn.text(), "42", "Hello");
        turn.after("4m", "tea", json!(null));
        Ok(())
    };
    let mut bot = Conversation::new(tells).channel("http");
    let why = "reply 2: the channel \"http\" has nobody to send to";
    refused(bot.say("ann", "http"), why);
    assert_eq!(bot.state("ann").unwrap(), 0);
    let said = bot.say("ann", "telegram").unwrap();
    assert_eq!(said.sent_to("42")[0].text, "Hello");
    assert!(said.sent_to("43").is_empty());
    refused(bot.fire("ann", "tea"), "and a timer has none");
}
