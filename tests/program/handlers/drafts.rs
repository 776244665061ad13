//! What a handler in another language has so far is shown while it works.

use serde_json::{Value, json};

use super::has;
use crate::harness::api::Api;
use crate::harness::bot::{SOON, Setup, until};
use crate::harness::client::once;
use crate::harness::telegram::{text, webhook};
use crate::platforms::webhooks::vk_message;

/// Grows a text, then waits for the file that the message names.
const PYTHON: &str = r#"
import asyncio, os, turnkey

async def handle(turn):
    for words in ["Once"] * 200 + ["Once upon", "Once upon a time"]:
        turn.draft(words)
    await turn.query("SELECT 1")
    while not os.path.exists(turn.text):
        await asyncio.sleep(0.01)
    turn.draft("too late to be seen")
    turn.reply("The end.")

turnkey.run(handle)
"#;

const JAVASCRIPT: &str = r#"
import fs from 'node:fs'
import { run } from 'turnkey'

run(async (turn) => {
  for (const words of [...Array(200).fill('Once'), 'Once upon', 'Once upon a time']) turn.draft(words)
  await turn.query('SELECT 1')
  while (!fs.existsSync(turn.text)) await new Promise((resolve) => setTimeout(resolve, 10))
  turn.draft('too late to be seen')
  turn.reply('The end.')
})
"#;

/// The newest draft is shown, and none after the reply; many at once keep no question away.
#[tokio::test]
async fn drafts_are_shown_while_a_handler_works() {
    for (interpreter, file, code) in [
        ("python3", "bot.py", PYTHON),
        ("node", "bot.mjs", JAVASCRIPT),
    ] {
        if !has(interpreter) {
            continue;
        }
        let api = Api::start();
        let setup = Setup::handled(&[file]).args(&["--workers", "1"]);
        setup.write(file, code);
        let gate = setup.path("gate");
        let bot = api.configure(setup).start().await;
        let update = text(5, 7, &gate.display().to_string());
        let shown = || api.called("sendMessageDraft");
        let is_last = |draft: &Value| draft["text"] == "Once upon a time";
        let opens = async {
            until("the newest draft", SOON, || shown().iter().any(is_last)).await;
            std::fs::write(&gate, "").expect("a gate");
        };
        let (answer, ()) = tokio::join!(once(bot.port, webhook(&update)), opens);
        assert_eq!(answer.status, 200, "{}", answer.text());
        let bot = bot.stop().await;
        bot.assert_sound();
        let drafts = shown();
        assert!((1..=2).contains(&drafts.len()), "{drafts:?}");
        let last =
            json!({"chat_id": "7", "draft_id": drafts[0]["draft_id"], "text": "Once upon a time"});
        assert_eq!(drafts.last(), Some(&last), "{file}");
    }
}

/// Grows a text, each part once its file is there; then says what the message asks for.
const ON_VK: &str = r#"
import asyncio, os, turnkey

async def handle(turn):
    gate, end = turn.text.split()
    turn.draft("Once")
    while not os.path.exists(gate + ".1"):
        await asyncio.sleep(0.01)
    turn.draft("Once upon a time")
    while not os.path.exists(gate + ".2"):
        await asyncio.sleep(0.01)
    if end == "says":
        turn.reply("**The** end.", format="markup", buttons=[[turnkey.Button("More", "more")]])
        turn.reply("Really.")
    elif end == "quotes":
        turn.reply("The end.", quote=True)
    elif end == "fails":
        raise turnkey.GiveUp("no end")

turnkey.run(handle)
"#;

/// There a draft is a message: edited, then replaced by the reply, or deleted.
#[tokio::test]
async fn on_vk_the_reply_takes_the_place_of_the_draft() {
    if !has("python3") {
        return;
    }
    for end in ["says", "quotes", "silent", "fails"] {
        let api = Api::start();
        let setup = Setup::handled(&["bot.py"]).args(&["--workers", "1"]);
        setup.write("bot.py", ON_VK);
        let gate = setup.path("gate");
        let opens = |number: u8| {
            std::fs::write(gate.with_extension(number.to_string()), "").expect("a gate");
        };
        let bot = api.configure(setup).start().await;
        let asks = format!("{} {end}", gate.display());
        let message = json!({"text": asks, "conversation_message_id": 31});
        let methods = |all: &[&str]| -> Vec<Value> {
            let calls = api.calls().into_iter();
            let calls = calls.filter(|call| all.contains(&call.method.as_str()));
            calls.map(|call| call.body).collect()
        };
        let sent = || methods(&["messages.send"]);
        let edited = || methods(&["messages.edit"]);
        let deleted = || methods(&["messages.delete"]);
        let grows = async {
            until("the first draft", SOON, || !sent().is_empty()).await;
            opens(1);
            until("the second", SOON, || !edited().is_empty()).await;
            assert!(deleted().is_empty());
            opens(2);
        };
        let (_, ()) = tokio::join!(once(bot.port, vk_message("e1", 7, message)), grows);
        assert_eq!(sent()[0]["message"], "Once");
        // The number of the message that was sent first.
        let number = api
            .calls()
            .iter()
            .position(|call| call.method == "messages.send")
            .map(|place| (place + 1).to_string());
        let is_it = |call: &Value| call["cmid"].as_str() == number.as_deref();
        assert!(edited().iter().all(is_it), "{:?}", edited());
        assert_eq!(edited()[0]["message"], "Once upon a time");
        match end {
            "says" => {
                until("both replies", SOON, || sent().len() == 2).await;
                let last = edited().pop().expect("an edit");
                assert_eq!((edited().len(), &last["message"]), (2, &json!("The end.")));
                assert!(
                    last["keyboard"]
                        .as_str()
                        .is_some_and(|k| k.contains("More"))
                );
                assert_eq!(sent()[1]["message"], "Really.");
            }
            _ => {
                until("it is deleted", SOON, || !deleted().is_empty()).await;
                assert_eq!(deleted()[0]["cmids"].as_str(), number.as_deref());
                assert_eq!(edited().len(), 1);
                let said = usize::from(end == "quotes");
                assert_eq!(sent().len(), 1 + said, "{end}: {:?}", sent());
            }
        }
        let setup = bot.stop().await;
        assert!(deleted().len() <= 1);
        setup.assert_sound();
    }
}
