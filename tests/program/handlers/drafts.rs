//! What a handler in another language has so far is shown while it works.

use serde_json::{Value, json};

use super::has;
use crate::harness::api::Api;
use crate::harness::bot::{SOON, Setup, until};
use crate::harness::client::once;
use crate::harness::telegram::{text, webhook};

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
