//! A stop in the middle of a slow turn: it is no attempt, and no failure.

use crate::harness::api::Api;
use crate::harness::bot::Setup;
use crate::harness::programs::has;
use crate::platforms::webhooks::{told, vk};

/// Its patience ends long before the turn does.
const ARGS: [&str; 8] = [
    "--workers",
    "1",
    "--ack-after",
    "50ms",
    "--grace",
    "1s",
    "--max-attempts",
    "1",
];

const IN_PYTHON: &str = "\
import asyncio, turnkey
async def handle(turn):
    await asyncio.sleep(3)
    turn.reply('1')
turnkey.run(handle)
";

const PLAIN: &str = "\
import time, turnkey
def handle(turn):
    time.sleep(3)
    turn.reply('1')
turnkey.run(handle)
";

#[tokio::test]
async fn a_stop_in_the_middle_of_a_turn_is_no_attempt() {
    let mut bots = vec![Setup::commands_in_rust()];
    if has("python3") {
        bots.extend([IN_PYTHON, PLAIN].map(Setup::in_python));
    }
    for setup in bots {
        let api = Api::start();
        let bot = api.configure(setup.args(&ARGS)).start().await;
        told(&bot, vk("a", 8, "sleep 3000"), "ok").await;
        let (setup, stopped) = bot.stop_and_read().await;
        assert!(
            stopped.contains("left in the inbox, for the next start: 1 update"),
            "{stopped}"
        );
        assert!(!stopped.contains("ERROR"), "{stopped}");
        // Had it been one, there would be none left.
        let bot = setup.start().await;
        let said = api.said_to("8", 1).await;
        assert!(said[0].starts_with('1'), "{said:?}");
        bot.stop().await.assert_sound();
    }
}
