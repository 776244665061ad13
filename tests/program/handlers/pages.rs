//! The bots on the pages that a newcomer reads first, README.md and docs/BOT.md, run as they
//! stand there. Their Rust is compiled by the library's own tests (`src/guide.rs`).

use std::fs;
use std::path::Path;

use serde_json::json;

use crate::harness::bot::Setup;
use crate::harness::client::{once, post, say};
use crate::harness::programs::has;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

/// The first block of a page in this language.
fn block(page: &str, language: &str) -> String {
    let text = fs::read_to_string(Path::new(ROOT).join(page)).expect("the page");
    let (_, rest) = text
        .split_once(&format!("\n```{language}\n"))
        .expect("a block");
    rest.split("\n```").next().unwrap_or_default().to_owned()
}

/// What README.md promises of its bots, it says itself.
#[tokio::test]
async fn the_bots_of_the_readme_answer_as_it_says() {
    let promised: serde_json::Value =
        serde_json::from_str(&block("README.md", "json")).expect("JSON");
    let promised = promised["replies"][0]["text"].as_str().expect("a text");
    for (interpreter, language, file) in
        [("python3", "python", "bot.py"), ("node", "js", "bot.mjs")]
    {
        if !has(interpreter) {
            continue;
        }
        let setup = Setup::handled(&[file]);
        setup.write(file, &block("README.md", language));
        let bot = setup.start().await;
        assert_eq!(say(bot.port, "ann", "hi").await.replies(), [promised]);
        assert_eq!(say(bot.port, "ann", "hi").await.replies(), ["2: hi"]);
        bot.stop().await;
    }
}

/// The first piece of docs/BOT.md, tried with `curl` as the page says.
#[tokio::test]
async fn the_menu_can_be_tried_without_a_platform() {
    if !has("python3") {
        return;
    }
    let setup = Setup::handled(&["bot.py"]);
    setup.write("bot.py", &block("docs/BOT.md", "python"));
    let bot = setup.start().await;
    let greeted = say(bot.port, "ann", "/start").await;
    assert_eq!(greeted.replies(), ["Welcome! What would you like?"]);
    let press = json!({ "user_id": "ann", "button": "tea" });
    let pressed = once(bot.port, post("/http", press.to_string())).await;
    assert_eq!(pressed.status, 200, "{}", pressed.text());
    let said = &pressed.json()["replies"];
    assert_eq!(said[0]["toast"], "Noted");
    assert_eq!(
        (&said[1]["edit"], &said[1]["text"]),
        (&json!(true), &json!("tea, cup 1. More?"))
    );
    bot.stop().await;
}

/// Runs a script beside this file on docs/BOT.md.
fn run(interpreter: &str, script: &str) {
    if !has(interpreter) {
        return;
    }
    let setup = Setup::counter();
    let script = format!("{ROOT}/tests/program/handlers/{script}");
    let page = format!("{ROOT}/docs/BOT.md");
    let directory = setup.dir.path().to_str().expect("a path");
    let words = [
        "handler",
        "exec",
        "--",
        interpreter,
        &script,
        &page,
        directory,
    ];
    let ended = setup.bare(&words);
    assert_eq!(ended.code, Some(0), "{}{}", ended.stdout, ended.stderr);
}

#[test]
fn each_piece_in_python_is_a_bot() {
    run("python3", "bot_page.py");
}

#[test]
fn each_piece_in_javascript_is_a_bot() {
    run("node", "bot_page.mjs");
}
