//! A stop in the middle of a slow turn: it is no attempt, and no failure.

use crate::harness::api::Api;
use crate::harness::bot::Setup;
use crate::harness::programs::has;
use crate::platforms::webhooks::{told, vk};

/// Its patience ends long before the turn does.
const ARGS: [&str; 8] = [
    "--workers",
    "2",
    "--ack-after",
    "50ms",
    "--grace",
    "6s",
    "--max-attempts",
    "1",
];

const IN_PYTHON: &str = "\
import asyncio, turnkey
async def handle(turn):
    if turn.text != 'hi':
        await asyncio.sleep(7)
    turn.reply('1')
turnkey.run(handle)
";

const PLAIN: &str = "\
import time, turnkey
def handle(turn):
    if turn.text != 'hi':
        time.sleep(7)
    turn.reply('1')
turnkey.run(handle)
";

const GIVEN_UP: &str = "\
import asyncio, turnkey
async def handle(turn):
    raise turnkey.GiveUp('no')
async def sorry(turn, error):
    await asyncio.sleep(7)
    turn.reply('sorry')
turnkey.run(handle, given_up=sorry)
";

async fn a_stop_costs_nothing(setup: Setup) {
    let api = Api::start();
    let bot = api.configure(setup.args(&ARGS)).start().await;
    told(&bot, vk("a", 8, "sleep 7000"), "ok").await;
    // Perhaps it waits in the other worker, for the lock.
    told(&bot, vk("b", 8, "hi"), "ok").await;
    let (setup, stopped) = bot.stop_and_read().await;
    assert!(
        stopped.contains("left in the inbox, for the next start: "),
        "{stopped}"
    );
    assert!(!stopped.contains("ERROR"), "{stopped}");
    // Had it been an attempt, there would be none left.
    let bot = setup.start().await;
    let said = api.said_to("8", 2).await;
    assert!(said[0].starts_with('1'), "{said:?}");
    bot.stop().await.assert_sound();
}

#[tokio::test]
async fn a_stop_in_the_middle_of_a_turn_is_no_attempt() {
    a_stop_costs_nothing(Setup::commands_in_rust()).await;
}

#[tokio::test]
async fn nor_is_it_one_of_a_handler_in_python() {
    if has("python3") {
        a_stop_costs_nothing(Setup::in_python(IN_PYTHON)).await;
    }
}

#[tokio::test]
async fn nor_of_a_plain_function_there() {
    if has("python3") {
        a_stop_costs_nothing(Setup::in_python(PLAIN)).await;
    }
}

/// What its author has given up is not handled again, whenever the bot is stopped.
#[tokio::test]
async fn a_stop_while_somebody_is_told_is_no_attempt_either() {
    if !has("python3") {
        return;
    }
    let api = Api::start();
    let args = &ARGS[..6];
    let setup = Setup::in_python(GIVEN_UP).args(args);
    let bot = api.configure(setup).start().await;
    told(&bot, vk("a", 8, "hi"), "ok").await;
    bot.wait_for_stderr("update a failed (attempt 1 of 10)")
        .await;
    let (setup, _) = bot.stop_and_read().await;
    let bot = setup.start().await;
    assert_eq!(api.said_to("8", 1).await, ["sorry"]);
    let (setup, log) = bot.stop_and_read().await;
    assert!(!log.contains("failed (attempt"), "{log}");
    setup.assert_sound();
}
