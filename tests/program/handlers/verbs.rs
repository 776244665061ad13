//! A turn can do the same in each language: docs/HANDLERS.md has a table of its verbs, and none
//! of the three public interfaces has more or fewer than that.

use crate::harness::programs::has;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

/// The languages, as the columns of the table are called.
const LANGUAGES: [&str; 3] = ["Rust", "Python", "JavaScript"];

fn text(file: &str) -> String {
    let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."));
    fs::read_to_string(root.join(file)).unwrap_or_else(|e| panic!("{file}: {e}"))
}

fn name(text: &str) -> String {
    let is_name = |c: &char| c.is_alphanumeric() || *c == '_';
    text.chars().take_while(is_name).collect()
}

/// What the table names for a language: `turn.reply(…)` is `reply`.
fn documented(language: &str) -> BTreeSet<String> {
    let page = text("docs/HANDLERS.md");
    let (_, table) = page.split_once("| | Rust |").expect("the table of verbs");
    let (table, _) = table.split_once("\n\n").expect("its end");
    let column = LANGUAGES
        .iter()
        .position(|one| *one == language)
        .expect("a language");
    let cells = table
        .lines()
        .filter_map(|row| row.split('|').nth(column + 2));
    let verbs = cells.filter_map(|cell| cell.split_once("turn."));
    verbs.map(|(_, verb)| name(verb)).collect()
}

fn rust() -> BTreeSet<String> {
    let of = |file: &str, start: &str| {
        let file = text(&format!("src/author/{file}.rs"));
        let (_, turn) = file.split_once(start).expect("what a turn has");
        turn.to_owned()
    };
    let verbs = [
        "hearing",
        "saying",
        "later",
        "asking",
        "own_sql",
        "quick_messages",
        "coming_back",
    ];
    let verbs = verbs.map(|file| of(file, "impl<S> Turn<S> {")).concat();
    let turn = of("turn", "pub struct Turn<S> {") + &verbs;
    let public = turn
        .lines()
        .filter_map(|line| line.trim_start().strip_prefix("pub "));
    let names = public.map(|item| item.trim_start_matches("async ").trim_start_matches("fn "));
    names.map(name).collect()
}

fn javascript() -> BTreeSet<String> {
    let file = text("sdk/javascript/index.d.ts");
    let members = |interface: &str| -> Vec<String> {
        let begun = format!("export interface {interface}");
        let (_, members) = file.split_once(&begun).expect("the interface");
        let (members, _) = members.split_once("\n}").expect("its end");
        let members = members.lines().skip(1).map(str::trim_start);
        let members = members.map(|line| line.trim_start_matches("readonly "));
        let names = members.map(name).filter(|name| !name.is_empty());
        names.collect()
    };
    // A turn is an update and more.
    [members("Heard {"), members("Turn<")]
        .concat()
        .into_iter()
        .collect()
}

fn python(kind: &str) -> BTreeSet<String> {
    let program = format!(
        "import turnkey; print(*[n for n in dir(turnkey.{kind}) if not n.startswith('_')])"
    );
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/../../sdk/python/src");
    let mut command = Command::new("python3");
    let ended = command
        .env("PYTHONPATH", source)
        .args(["-c", &program])
        .output();
    let ended = ended.expect("python3");
    let names = String::from_utf8(ended.stdout).expect("names");
    names.split_whitespace().map(str::to_owned).collect()
}

#[test]
fn no_language_falls_behind() {
    assert_eq!(rust(), documented("Rust"), "Rust: the code, and the table");
    assert_eq!(
        javascript(),
        documented("JavaScript"),
        "JavaScript: the types, and the table"
    );
    if has("python3") {
        let all = documented("Python");
        let mut plain = all.clone();
        // A plain function cannot wait for two things at once: it looks, with `has_newer`.
        assert!(plain.remove("newer"));
        for (kind, documented) in [("Turn", plain), ("AsyncTurn", all)] {
            assert_eq!(python(kind), documented, "{kind}: the code, and the table");
        }
    }
}
