//! What an author meets in `cargo doc` has an example: each verb of a turn, each method of `App`,
//! and each type that the library shows.

use std::fs;

use super::{files, root};

/// What needs none: bounds, and what only stands in the signature of something that has one.
const WITHOUT: [&str; 11] = [
    "MAX_REPLIES",
    "MAX_BYTES",
    "MAX_UPDATE_ID",
    "MAX_USER_ID",
    "AskFuture",
    "LocateFuture",
    "LockFuture",
    "NameFuture",
    "SendFuture",
    "Held",
    "run_with",
];

/// What of the storage and of other crates is shown, too.
const OF_OTHERS: [&str; 8] = [
    "Fence",
    "ReplyId",
    "Seen",
    "DialogKey",
    "Rate",
    "MiMalloc",
    "turnkey_drill",
    "StartResult",
];

struct Item {
    name: String,
    is_function: bool,
    has_example: bool,
}

/// The public items of a file up to its tests, with what stands above each.
fn items(text: &str) -> Vec<Item> {
    let mut found = Vec::new();
    let (mut has_example, mut is_for_tests) = (false, false);
    for line in text.lines().map(str::trim) {
        if is_for_tests && line == "mod tests {" {
            break;
        }
        is_for_tests = line == "#[cfg(test)]";
        if line.starts_with("///") {
            has_example |= line.starts_with("/// ```");
            continue;
        }
        if line.starts_with("#[") {
            continue;
        }
        let words = line.strip_prefix("pub ").unwrap_or_default();
        let words = words.trim_start_matches("async ");
        let (sort, name) = words.split_once(' ').unwrap_or_default();
        if matches!(sort, "fn" | "struct" | "enum" | "trait" | "type" | "const") {
            let is_name = |c: &char| c.is_alphanumeric() || *c == '_';
            found.push(Item {
                name: name.chars().take_while(is_name).collect(),
                is_function: sort == "fn",
                has_example,
            });
        }
        has_example = false;
    }
    found
}

#[test]
fn each_verb_has_an_example() {
    let mut verbs = files(&root().join("src/author"), &["rs"]);
    verbs.push(root().join("src/app.rs"));
    let (mut seen, mut wrong) = (0, Vec::new());
    for file in verbs {
        let text = fs::read_to_string(&file).unwrap();
        if !text.contains("impl<S> Turn<S> {") && !text.contains("impl App {") {
            continue;
        }
        for item in items(&text).iter().filter(|item| item.is_function) {
            seen += 1;
            if !item.has_example && !WITHOUT.contains(&item.name.as_str()) {
                wrong.push(format!("{}: {}", file.display(), item.name));
            }
        }
    }
    assert!(seen > 60, "only {seen} verbs were found");
    assert!(
        wrong.is_empty(),
        "without an example:\n{}",
        wrong.join("\n")
    );
}

#[test]
fn each_type_has_an_example() {
    let library = fs::read_to_string(root().join("src/lib.rs")).unwrap();
    let (_, shown) = library.split_once("pub use app::App;").unwrap();
    let tests = [
        "Answer",
        "Conversation",
        "Launch",
        "Program",
        "Said",
        "Telegram",
        "TelegramCall",
    ];
    let names = shown
        .lines()
        .filter(|line| !line.starts_with("//"))
        .flat_map(|line| line.split(|c: char| !c.is_alphanumeric() && c != '_'));
    let mut sources = files(&root().join("src"), &["rs"]);
    sources.push(root().join("storage/src/value.rs"));
    let all: Vec<Item> = sources
        .iter()
        .flat_map(|file| items(&fs::read_to_string(file).unwrap()))
        .collect();
    let (mut seen, mut wrong) = (0, Vec::new());
    for name in names.chain(tests).chain(["App"]) {
        let is_type = name.starts_with(char::is_uppercase);
        if !is_type || WITHOUT.contains(&name) || OF_OTHERS.contains(&name) {
            continue;
        }
        let mut of_name = all.iter().filter(|item| item.name == name).peekable();
        // What is of another crate is not ours to describe.
        if of_name.peek().is_none() {
            continue;
        }
        seen += 1;
        if !of_name.any(|item| item.has_example) {
            wrong.push(name.to_owned());
        }
    }
    assert!(seen > 50, "only {seen} types were found");
    assert!(wrong.is_empty(), "without an example: {}", wrong.join(", "));
}
