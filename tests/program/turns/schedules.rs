//! Schedules: `App::every`, `Turn::every`, and what the command `timers` does with them.

use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use super::timers::{listed, says};
use crate::harness::api::Api;
use crate::harness::bot::{Bot, LATER, SOON, Setup, until};
use crate::harness::programs::has;
use crate::harness::server::{Kind, TestServer};
use crate::operators::admin::{admin_port, get};

/// Of no moment that comes while a test runs.
const TEA: &str = "tea=0 9 1 1 *=Europe/Vienna";

fn setup(api: &Api, every: &str) -> Setup {
    let setup = Setup::commands().args(&["--workers", "2", "--max-attempts", "1"]);
    api.configure(setup).env("COMMANDS_EVERY", every)
}

fn names(bot: &Bot) -> Vec<Value> {
    listed(bot).iter().map(|one| one["name"].clone()).collect()
}

/// Has a schedule of the bot's own fire now.
fn fire(setup: &Setup, name: &str) {
    let fired = setup.tool(&["timers", "fire", "cron", name, name]);
    assert_eq!(fired.code, Some(0), "{}", fired.stderr);
}

async fn declared(bot: &Bot, expected: &[&str]) {
    until("the schedules are declared", SOON, || {
        names(bot) == expected
    })
    .await;
}

/// It fires once for all workers, has a state, and goes on; it can say something to others only.
#[tokio::test]
async fn a_schedule_of_the_bot_ticks() {
    let api = Api::start();
    let every = format!("{TEA};reply=0 9 2 1 *=UTC");
    let bot = setup(&api, &every)
        .args(&["--admin", "127.0.0.1:0"])
        .start()
        .await;
    declared(&bot, &["tea", "reply"]).await;
    let before = listed(&bot);
    assert_eq!(
        (&before[0]["channel"], &before[0]["user_id"]),
        (&json!("cron"), &json!("tea"))
    );
    assert_eq!(before[0]["schedule"], "0 9 1 1 * Europe/Vienna");
    fire(&bot.setup, "tea");
    api.receives("7", &["tick tea 1"]).await;
    fire(&bot.setup, "tea");
    api.receives("7", &["tick tea 1", "tick tea 2"]).await;
    let due = |all: &[Value]| all[0]["due_ms"].clone();
    assert_eq!(due(&listed(&bot)), due(&before), "it goes on as before");
    fire(&bot.setup, "reply");
    let why = "has nobody to reply to; say it to a dialog with turn.send_to";
    bot.wait_for_stderr(why).await;
    // Operators see them.
    let status = get(admin_port(&bot), "/status.json").await.json();
    let later = &status["later"];
    assert_eq!(
        (&later["waiting"], &later["overdue"]),
        (&json!(2), &json!(0))
    );
    assert_eq!(later["schedules"][0]["name"], "tea");
    assert_eq!(later["next_ms"], due(&before));
    let page = get(admin_port(&bot), "/status").await.text();
    assert!(page.contains("0 9 1 1 * Europe/Vienna"), "{page}");
    let metrics = get(admin_port(&bot), "/metrics").await.text();
    assert!(
        metrics.contains("turnkey_timers_waiting 2.0\n"),
        "{metrics}"
    );
    bot.stop().await.assert_sound();
}

/// The same in each language.
#[tokio::test]
async fn a_schedule_ticks_in_every_language() {
    for (interpreter, file) in [("python3", "commands.py"), ("node", "commands.mjs")] {
        if !has(interpreter) {
            continue;
        }
        let api = Api::start();
        let setup = api.configure(Setup::handled_by(file));
        let bot = setup.env("COMMANDS_EVERY", TEA).start().await;
        declared(&bot, &["tea"]).await;
        fire(&bot.setup, "tea");
        api.receives("7", &["tick tea 1"]).await;
        says(&bot, 1, 8, "every 0_9_*_*_MON Europe/Vienna mine green").await;
        let fired = bot.setup.tool(&["timers", "fire", "telegram", "8", "mine"]);
        assert_eq!(fired.code, Some(0), "{}", fired.stderr);
        api.receives("8", &["2: timer mine \"green\""]).await;
        assert_eq!(names(&bot).len(), 2);
        bot.stop().await.assert_sound();
    }
}

/// Declared no more, it is gone at the next start; what users set stays.
#[tokio::test]
async fn a_schedule_declared_no_more_is_gone() {
    let api = Api::start();
    let bot = setup(&api, TEA).start().await;
    declared(&bot, &["tea"]).await;
    says(&bot, 1, 7, "after 90d mine x").await;
    let again = bot.stop().await.env("COMMANDS_EVERY", "cake=0 8 1 1 *=UTC");
    let bot = again.start().await;
    until("the other one is declared", SOON, || {
        let mut names = names(&bot);
        names.sort_by_key(Value::to_string);
        names == ["cake", "mine"]
    })
    .await;
    bot.stop().await.assert_sound();
}

/// A change that a reload takes up.
#[tokio::test]
async fn a_reload_declares_anew() {
    let code = |every: &str| {
        format!(
            "import turnkey\ndef handle(turn): pass\nif __name__ == '__main__': turnkey.run(handle, every={every})\n"
        )
    };
    let bot = Setup::in_python(&code("{'tea': ('0 9 1 1 *', 'UTC')}"));
    let bot = bot.args(&["--workers", "2"]).start().await;
    declared(&bot, &["tea"]).await;
    bot.setup.write(
        "bot.py",
        &code("{'tea': ['0 8 1 1 *', 'UTC'], 'cake': ('0 9 1 2 *', 'UTC')}"),
    );
    bot.signal(Signal::SIGHUP);
    declared(&bot, &["tea", "cake"]).await;
    assert_eq!(listed(&bot)[0]["schedule"], "0 8 1 1 * UTC");
    bot.stop().await;
}

/// What came while nothing ran comes once at the next start, and says that it is late.
#[tokio::test]
async fn missed_ticks_come_once_at_the_next_start() {
    let api = Api::start();
    let bot = setup(&api, "tea=*/10 * * * *=UTC").start().await;
    declared(&bot, &["tea"]).await;
    let due = |bot: &Bot| listed(bot)[0]["due_ms"].as_i64().expect("a number");
    let next = due(&bot);
    let setup = bot.stop().await;
    // Hours ago: many were missed.
    let long_ago = next - 6 * 3600 * 1000;
    let moved =
        format!("UPDATE turnkey_timer SET due = {long_ago}, id = 'timer:tick:{long_ago}:tea'");
    setup.open_database().execute_batch(&moved).expect("moved");
    let bot = setup.start().await;
    api.receives("7", &["tick tea 1, late"]).await;
    until("it has moved on", SOON, || due(&bot) >= next).await;
    assert_eq!(api.received("7").len(), 1);
    bot.stop().await.assert_sound();
}

#[tokio::test]
async fn a_user_has_a_schedule_of_their_own() {
    let api = Api::start();
    let bot = setup(&api, "").start().await;
    says(&bot, 1, 7, "every 0_9_*_*_MON Europe/Vienna tea green").await;
    let before = listed(&bot);
    assert_eq!(before[0]["schedule"], "0 9 * * MON Europe/Vienna");
    for n in 2..=3 {
        let fired = bot.setup.tool(&["timers", "fire", "telegram", "7", "tea"]);
        assert_eq!(fired.code, Some(0), "{}", fired.stderr);
        let tick = format!("{n}: timer tea \"green\"");
        until("it ticks", LATER, || api.received("7").contains(&tick)).await;
    }
    assert_eq!(listed(&bot)[0]["due_ms"], before[0]["due_ms"]);
    for (update, wrong, why) in [
        (
            5,
            "every 0_0_31_2_* UTC tea x",
            "it has no moment in the next ten years",
        ),
        (
            6,
            "every 0_9_*_*_* Vienna tea x",
            "\"Vienna\" is no time zone; one is called such as",
        ),
    ] {
        says(&bot, update, 7, wrong).await;
        bot.wait_for_stderr(why).await;
    }
    let shown = bot.setup.tool(&["timers", "list", "telegram", "7"]);
    assert!(
        shown.stdout.contains("(0 9 * * MON Europe/Vienna)"),
        "{}",
        shown.stdout
    );
    says(&bot, 7, 7, "cancel tea").await;
    assert!(listed(&bot).is_empty());
    bot.stop().await.assert_sound();
}

/// While one tick's turn runs, the next ones are left out.
#[tokio::test]
async fn a_tick_behind_one_that_is_not_done_is_left_out() {
    let api = Api::start();
    let name = "sleep 600000";
    let bot = setup(&api, &format!("{name}=0 9 1 1 *=UTC")).args(&["-v"]);
    let bot = bot.start().await;
    declared(&bot, &[name]).await;
    fire(&bot.setup, name);
    let next = |bot: &Bot| listed(bot)[0]["due_ms"].as_i64().expect("a number");
    let now = next(&bot);
    until("it has fired", SOON, || next(&bot) > now).await;
    fire(&bot.setup, name);
    bot.wait_for_stderr("is left out, since the one before is not done")
        .await;
    bot.kill_all().await;
}

#[tokio::test]
async fn what_is_no_schedule_ends_the_start() {
    for (every, why) in [
        (
            "tea=0 0 31 2 *=UTC",
            "it has no moment in the next ten years",
        ),
        ("tea=0 9 * * *=Vienna", "\"Vienna\" is no time zone"),
    ] {
        let ended = Setup::commands().env("COMMANDS_EVERY", every).run_to_end();
        assert_eq!(ended.code, Some(2), "{}", ended.stderr);
        assert!(
            ended.stderr.contains("the schedule \"tea\": "),
            "{}",
            ended.stderr
        );
        assert!(ended.stderr.contains(why), "{}", ended.stderr);
    }
}

/// Everything is killed around the firing, again and again: no tick is lost, none comes twice.
#[tokio::test]
async fn ticks_survive_the_death_of_all() {
    let api = Api::start();
    let mut bot = setup(&api, TEA).start().await;
    declared(&bot, &["tea"]).await;
    let mut random = fastrand::Rng::with_seed(7);
    for round in 1..=8 {
        fire(&bot.setup, "tea");
        // Before, in the midst of it, or after.
        tokio::time::sleep(Duration::from_millis(random.u64(0..700))).await;
        bot = bot.kill_all().await.start().await;
        let tick = format!("tick tea {round}");
        until(&tick, LATER, || api.received("7").contains(&tick)).await;
    }
    let more = "tick tea 9".to_owned();
    assert!(
        !api.received("7").contains(&more),
        "{:?}",
        api.received("7")
    );
    bot.stop().await.assert_sound();
}

/// Two programs with two workers each, as if on two boxes: each tick comes once.
#[tokio::test]
async fn of_two_boxes_one_fires() {
    let Some(server) = TestServer::shared(Kind::Postgres) else {
        return;
    };
    let api = Api::start();
    let url = server.url(&server.create().await);
    let one = setup(&api, TEA).on(url.clone());
    let other = setup(&api, TEA).on(url);
    let (one, other) = tokio::join!(one.start(), other.start());
    declared(&one, &["tea"]).await;
    for round in 1..=8 {
        fire(&one.setup, "tea");
        let tick = format!("tick tea {round}");
        until(&tick, LATER, || api.received("7").contains(&tick)).await;
    }
    let all: Vec<_> = (1..=8).map(|n| format!("tick tea {n}")).collect();
    assert_eq!(api.received("7"), all);
    other.stop().await;
    one.stop().await.assert_sound();
}
