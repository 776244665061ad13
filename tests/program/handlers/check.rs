//! `turnkey handler check`: handlers that keep to the protocol pass, and those that break it
//! are told so in words.
//!
//! The handler that breaks it is `faulty.py`, in one way for each name.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use crate::harness::bot::Setup;
use crate::harness::programs::{Ended, finish, has};

/// A whole list, with 15 starts of an interpreter, on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(180);

fn root() -> PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../..")).to_owned()
}

/// `faulty.py` in one of its ways.
fn faulty(way: &str) -> Vec<String> {
    let file = root().join("tests/program/handlers/faulty.py");
    let words = ["python3", file.to_str().unwrap(), way];
    words.map(str::to_owned).to_vec()
}

/// Checks a handler that is a command.
fn check(options: &[&str], handler: &[String]) -> Ended {
    let setup = Setup::counter();
    let mut command = setup.command();
    command.args(["handler", "check"]).args(options);
    command.arg("--").args(handler);
    finish(command, PATIENCE)
}

/// The same, as JSON, with the exit code.
fn checked(options: &[&str], handler: &[String]) -> (Option<i32>, Value) {
    let ended = check(&[&["--json"], options].concat(), handler);
    let json = serde_json::from_str(&ended.stdout);
    (
        ended.code,
        json.unwrap_or_else(|e| panic!("{e}: {ended:?}")),
    )
}

/// A case of a list.
fn case<'a>(whole: &'a Value, name: &str) -> &'a Value {
    let mut all = whole["cases"].as_array().unwrap().iter();
    let found = all.find(|case| case["name"] == name);
    found.unwrap_or_else(|| panic!("no case {name}: {whole:#}"))
}

fn verdicts<'a>(whole: &'a Value, verdict: &str) -> Vec<&'a str> {
    let all = whole["cases"].as_array().unwrap().iter();
    let with = all.filter(|case| case["verdict"] == verdict);
    with.map(|case| case["name"].as_str().unwrap()).collect()
}

#[test]
fn the_counter_in_ruby_passes() {
    if !has("ruby") {
        return;
    }
    let counter = root().join("examples/handlers/counter.rb");
    let handler = ["ruby".to_owned(), counter.to_str().unwrap().to_owned()];
    let ended = check(&[], &handler);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(
        ended.stdout.contains("\ncounter.rb: all is well; "),
        "{ended:?}"
    );
    for line in ended.stdout.lines().take_while(|line| !line.is_empty()) {
        let is_fine = line.starts_with("ok  ") || line.ends_with("it asked nothing");
        assert!(is_fine, "{ended:?}");
    }
}

#[test]
fn a_handler_without_faults_passes() {
    if !has("python3") {
        return;
    }
    let (code, whole) = checked(&[], &faulty("well"));
    assert_eq!(
        (code, &whole["ok"]),
        (Some(0), &Value::Bool(true)),
        "{whole:#}"
    );
    assert_eq!(verdicts(&whole, "not_tried"), ["query"], "{whole:#}");
    assert_eq!(verdicts(&whole, "wrong"), [""; 0], "{whole:#}");
    assert_eq!(whole["handler"]["name"], "faulty.py");
    assert_eq!(whole["remark"], Value::Null);
    // One that answers in another order, several at once.
    let (code, whole) = checked(
        &["--case", "at-once", "--case", "long-text"],
        &faulty("backwards"),
    );
    assert_eq!(code, Some(0), "{whole:#}");
    assert_eq!(
        verdicts(&whole, "ok"),
        ["at-once", "long-text"],
        "{whole:#}"
    );
    assert_eq!(whole["handler"]["concurrency"], 4);
    // One that asks, and is answered.
    let (code, whole) = checked(&["--case", "turn", "--case", "query"], &faulty("asks"));
    assert_eq!(code, Some(0), "{whole:#}");
    assert_eq!(verdicts(&whole, "ok"), ["turn", "query"], "{whole:#}");
}

#[test]
fn a_handler_that_fails_every_turn_passes_with_a_remark() {
    if !has("python3") {
        return;
    }
    let (code, whole) = checked(&[], &faulty("fails"));
    assert_eq!(code, Some(0), "{whole:#}");
    assert_eq!(verdicts(&whole, "wrong"), [""; 0], "{whole:#}");
    let remark = whole["remark"].as_str().unwrap();
    assert!(
        remark.contains("every turn failed") && remark.contains("no, never"),
        "{remark}"
    );
    let reason = &case(&whole, "state")["findings"][0];
    assert!(
        reason.as_str().unwrap().contains("first turn failed"),
        "{reason}"
    );
}

/// Each way, the case that finds it, and the words for it.
const WRONG: [(&str, &str, &str); 23] = [
    ("two-answers", "turn", "a second answer to turn 1"),
    (
        "unknown-id",
        "turn",
        "an answer to turn 1001, which it was never given",
    ),
    ("garbage", "turn", "a line that is no JSON"),
    ("no-hello", "hello", "it said no hello within 3 s"),
    ("prints-hello", "hello", "descriptor 4 is where answers go"),
    (
        "wrong-version",
        "hello",
        "it speaks protocol 7, and this program 1",
    ),
    (
        "echoes-version",
        "newer",
        "it speaks protocol 2, and this program 1",
    ),
    ("second-hello", "turn", "a second hello"),
    ("cancel-twice", "cancel", "a second answer to turn 1"),
    ("answer-first", "hello", "a line before hello"),
    (
        "slow-exit",
        "end",
        "it was still there 2 s after the end of its pipe",
    ),
    (
        "slow-exit",
        "drain",
        "it was still there 2 s after the end of its pipe",
    ),
    ("no-pong", "ping", "ping 1 had no pong within 10 s"),
    (
        "other-pong",
        "ping",
        "a pong with the number 8, which no ping has",
    ),
    ("swallows", "turn", "turn 1 had no answer within 3 s"),
    ("closes-4", "turn", "it closed descriptor 4 and lives on"),
    ("closes-3", "turn", "it does not read turns: Broken pipe"),
    ("invalid-utf8", "turn", "a line that is no UTF-8"),
    ("too-long", "turn", "a line of more than 16777216 bytes"),
    (
        "dies",
        "turn",
        "it ended with exit code 1, with turn 1 in hand\n  told to die",
    ),
    (
        "text-id",
        "turn",
        "invalid type: string \"1\", expected u64",
    ),
    (
        "wrong-field",
        "kinds",
        "replies[0].text: invalid type: integer `7`, expected a string",
    ),
    (
        "knows-all-kinds",
        "unknown",
        "it ended with exit code 1, with turn 1 in hand\n  a kind that is new",
    ),
];

#[test]
fn what_is_wrong_is_said_in_words() {
    if !has("python3") {
        return;
    }
    let tried = |(way, name, words): (&str, &str, &str)| {
        let start = if words.contains("hello within 3 s") || way == "prints-hello" {
            "3s"
        } else {
            "20s"
        };
        let turn = if way == "swallows" { "3s" } else { "20s" };
        let options = [
            "--case",
            name,
            "--handler-start",
            start,
            "--turn-timeout",
            turn,
        ];
        let (code, whole) = checked(&options, &faulty(way));
        assert_eq!(
            (code, &whole["ok"]),
            (Some(1), &Value::Bool(false)),
            "{way}: {whole:#}"
        );
        let case = case(&whole, name);
        assert_eq!(case["verdict"], "wrong", "{way}: {whole:#}");
        let found = case["findings"][0].as_str().unwrap();
        assert!(found.contains(words), "{way}: {found}");
    };
    // Most of the time is spent waiting for what does not come.
    std::thread::scope(|scope| {
        for some in WRONG.chunks(WRONG.len().div_ceil(4)) {
            scope.spawn(move || some.iter().copied().for_each(tried));
        }
    });
}

#[test]
fn what_breaks_nothing_is_a_warning() {
    if !has("python3") {
        return;
    }
    for (way, name, words) in [
        (
            "own-state",
            "state",
            "it fails with the state that it left itself",
        ),
        (
            "own-state",
            "foreign-state",
            "an error of a turn has several lines",
        ),
        (
            "exit-code",
            "end",
            "it ended with exit code 1, not 0\n  told to end so",
        ),
        (
            "leaves-early",
            "drain",
            "did not wait for the end of the pipe",
        ),
        (
            "sigterm",
            "sigterm",
            "it ended with exit code 5 before it answered",
        ),
    ] {
        let (code, whole) = checked(&["--case", name], &faulty(way));
        assert_eq!(code, Some(0), "{way}: {whole:#}");
        assert_eq!(verdicts(&whole, "warning"), [name], "{way}: {whole:#}");
        let found = case(&whole, name)["findings"].as_array().unwrap();
        let says = |finding: &Value| finding.as_str().unwrap().contains(words);
        assert!(found.iter().any(says), "{way}: {found:?}");
    }
    let (code, whole) = checked(&["--case", "turn"], &faulty("asks-lists"));
    assert_eq!(code, Some(1), "{whole:#}");
    let found = case(&whole, "turn")["findings"][0].as_str().unwrap();
    assert!(
        found.contains("a question is refused: params[0]: a list is no value"),
        "{found}"
    );
}

#[test]
fn people_read_what_was_expected_and_what_was_printed() {
    if !has("python3") {
        return;
    }
    let ended = check(
        &["--case", "hello", "--case", "turn", "--case", "ping"],
        &faulty("dies"),
    );
    assert_eq!(ended.code, Some(1), "{ended:?}");
    for words in [
        "ok         hello ",
        "WRONG      turn ",
        "    expected: one answer with its `id`",
        "      told to die\n",
        "faulty.py: 1 of 3 cases went wrong: turn; 1 not tried. docs/HANDLERS.md",
    ] {
        assert!(ended.stdout.contains(words), "{words}: {}", ended.stdout);
    }
    let options = ["--case", "hello", "--case", "turn"];
    let ended = check(&options, &faulty("wrong-version"));
    assert!(
        ended
            .stdout
            .contains("not tried  turn           mend hello first\n"),
        "{ended:?}"
    );
    assert!(
        ended.stdout.contains("the handler: 1 of 2 cases"),
        "{ended:?}"
    );
}

#[test]
fn what_cannot_be_started_is_another_exit_code() {
    let setup = Setup::counter();
    for (args, words) in [
        (
            &["--", "/no/such/program"][..],
            "there is no program /no/such/program",
        ),
        (&["none.py"], "cannot read the handler none.py"),
        (&[], "no handler is named"),
        (
            &["--case", "nothing", "bot.py"],
            "possible values: hello, turn, newer",
        ),
    ] {
        let ended = setup.bare(&[&["handler", "check"], args].concat());
        assert_eq!(ended.code, Some(2), "{ended:?}");
        assert!(ended.stderr.contains(words), "{ended:?}");
    }
    let help = setup.bare(&["handler", "check", "--help"]).stdout;
    for words in [
        "Examples:",
        "turnkey handler check -- ruby counter.rb",
        "Exit code 0",
    ] {
        assert!(help.contains(words), "{help}");
    }
}
