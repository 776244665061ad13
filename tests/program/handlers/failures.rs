//! A handler process that dies, hangs or breaks the protocol costs nobody else anything.

use std::collections::HashMap;

use serde_json::Value;

use super::{handlers, kill_now, odd};
use crate::harness::bot::{Bot, SOON, until};
use crate::harness::client::{begin, hand_in, join, say};

/// What the handlers noted: each turn's beginning and end, and what was cancelled.
fn turns(bot: &Bot) -> String {
    std::fs::read_to_string(bot.setup.path("mark.turns")).unwrap_or_default()
}

async fn is_dead(bot: &Bot, id: &str) -> Value {
    bot.wait_for_stderr(&format!(" dead show http {id} --storage "))
        .await;
    let shown = bot.setup.tool(&["dead", "show", "http", id, "--json"]);
    assert_eq!(shown.code, Some(0), "{shown:?}");
    serde_json::from_str(&shown.stdout).expect("JSON")
}

/// Whatever one update does to its process: the others that it had run again, uncharged,
/// and are answered; it alone is given up, and its user's next one runs.
#[tokio::test]
async fn one_that_kills_its_process_is_found_and_the_others_are_answered() {
    for (poison, reason) in [
        ("die", "exit code 3"),
        ("kill", "SIGABRT"),
        ("garbage", "no JSON"),
        ("latin", "no UTF-8"),
        ("nan", "no JSON"),
        ("long", "more than 16777216 bytes"),
        ("unknown", "not in hand"),
        ("hello", "a second hello"),
        ("close", "closed descriptor 4"),
    ] {
        let Some(setup) = odd(32) else { return };
        let bot = setup.args(&["--max-attempts", "2"]).start().await;
        let gate = bot.setup.path("gate").display().to_string();
        let mut others = Vec::new();
        for n in 0..20 {
            others.push(begin(bot.port, &format!("user-{n}"), &format!("wait {gate}")).await);
        }
        bot.settled().await;
        let first = handlers(&bot);
        hand_in(bot.port, "eve", poison, "p").await;
        hand_in(bot.port, "eve", "attempt", "q").await;
        until("its process dies", SOON, || {
            let now = handlers(&bot);
            !now.is_empty() && now != first
        })
        .await;
        std::fs::write(&gate, "").expect("the gate");
        for other in others {
            let answer = join(other).await.expect(poison);
            assert_eq!(answer.number(), 1, "{poison}");
        }
        let letter = is_dead(&bot, "p").await;
        let error = letter["error"].as_str().expect("an error");
        assert!(error.contains(reason), "{poison}: {error}");
        assert_eq!(letter["attempts"], 2, "{poison}: {letter}");
        assert_eq!(say(bot.port, "eve", "hi").await.number(), 2, "{poison}");
        bot.stop().await.assert_sound();
    }
}

/// A second answer comes when the turn is done: the process goes, the turn stays.
#[tokio::test]
async fn a_second_answer_changes_nothing() {
    let Some(setup) = odd(1) else { return };
    let bot = setup.start().await;
    // Which of the two comes first is luck of no kind: the line without a reply.
    let answer = say(bot.port, "ann", "twice").await;
    assert_eq!(
        (answer.status, answer.json()["replies"].to_string()),
        (200, "[]".to_owned())
    );
    bot.wait_for_stderr("it broke the protocol: an answer to turn 1, which is not in hand")
        .await;
    assert_eq!(say(bot.port, "ann", "hi").await.number(), 2);
    bot.stop().await.assert_sound();
}

/// A turn that is over its time keeps its user's lane until its answer comes.
#[tokio::test]
async fn a_late_answer_is_waited_for_and_changes_nothing() {
    let Some(setup) = odd(8) else { return };
    let args = ["--turn-timeout", "500ms", "--max-attempts", "1"];
    let bot = setup.args(&args).start().await;
    hand_in(bot.port, "ann", "late 2", "a").await;
    let next = begin(bot.port, "ann", "hi").await;
    assert_eq!(say(bot.port, "bob", "hi").await.number(), 1);
    assert_eq!(join(next).await.expect("an answer").number(), 1);
    let letter = is_dead(&bot, "a").await;
    let error = letter["error"].to_string();
    assert!(error.contains("took longer than 0.5 s"), "{error}");
    let turns = turns(&bot);
    let of_ann: Vec<_> = turns
        .lines()
        .filter(|line| line.contains(" ann "))
        .collect();
    assert_eq!(of_ann[..2], ["begin ann a", "end ann a"], "{turns}");
    assert_eq!(handlers(&bot).len(), 1, "nothing was killed");
    bot.stop().await.assert_sound();
}

/// One that never answers is killed; those beside it run again and are not to blame.
#[tokio::test]
async fn a_turn_that_never_answers_is_killed_with_its_process_only() {
    let Some(setup) = odd(8) else { return };
    // Longer than the five seconds that it then has: the other's time is not over yet.
    let args = ["--turn-timeout", "7s", "--max-attempts", "1"];
    let bot = setup.args(&args).start().await;
    hand_in(bot.port, "ann", "hang", "a").await;
    until("it is told that its time is over", SOON, || {
        turns(&bot).contains("cancel")
    })
    .await;
    let gate = bot.setup.path("gate").display().to_string();
    let other = begin(bot.port, "bob", &format!("wait {gate}")).await;
    bot.wait_for_stderr("did not end after its time-out").await;
    std::fs::write(&gate, "").expect("the gate");
    assert_eq!(join(other).await.expect("an answer").number(), 1);
    assert_eq!(turns(&bot).matches("begin bob").count(), 2);
    let letter = is_dead(&bot, "a").await;
    assert!(
        letter["error"].to_string().contains("took longer than 7 s"),
        "{letter}"
    );
    bot.stop().await.assert_sound();
}

/// Two users' turns never overlap with themselves, whatever dies.
#[tokio::test]
async fn order_holds_while_processes_die() {
    let Some(setup) = odd(16) else { return };
    let bot = setup
        .args(&["--workers", "2", "--max-attempts", "50"])
        .start()
        .await;
    for n in 0..60 {
        if n % 10 == 9 {
            let some = handlers(&bot).into_iter().next();
            some.into_iter().for_each(kill_now);
        }
        hand_in(
            bot.port,
            &format!("user-{}", n % 6),
            "hi",
            &format!("{n:03}"),
        )
        .await;
    }
    until("all turns", SOON, || bot.setup.sum() == 60).await;
    let turns = turns(&bot);
    let mut last: HashMap<&str, &str> = HashMap::new();
    for line in turns.lines() {
        let words: Vec<_> = line.split(' ').collect();
        let [what, user, update] = words[..] else {
            panic!("{line}")
        };
        if what == "begin" {
            let before = last.insert(user, update);
            assert!(before <= Some(update), "{user}: {update} after {before:?}");
        }
    }
    bot.stop().await.assert_sound();
}
