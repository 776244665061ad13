//! Files that comments and pages name are there.

use std::collections::BTreeSet;
use std::fs;

use super::{files, root};

/// What stands between backticks and looks like the path of a Rust file.
fn named(line: &str) -> impl Iterator<Item = &str> {
    line.split('`').skip(1).step_by(2).filter(|name| {
        let is_path = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '/' | '.' | '-');
        name.ends_with(".rs") && name.chars().all(is_path)
    })
}

#[test]
fn files_that_are_named_exist() {
    let root = root();
    let all = files(&root, &["rs", "md"]);
    let known: BTreeSet<String> = all
        .iter()
        .map(|path| format!("/{}", path.strip_prefix(&root).unwrap().display()))
        .collect();
    let mut wrong = Vec::new();
    let mut seen = 0;
    for path in &all {
        let is_page = path.extension().is_some_and(|e| e == "md");
        let text = fs::read_to_string(path).unwrap();
        for (number, line) in text.lines().enumerate() {
            if !is_page && !line.trim_start().starts_with("//") {
                continue;
            }
            for name in named(line) {
                seen += 1;
                // Of a new bot's project, or of the page's reader.
                let is_ours = !matches!(name, "src/main.rs" | "tests/bot.rs" | "main.rs")
                    && !name.contains("NAME");
                let ending = format!("/{name}");
                if is_ours && !known.iter().any(|file| file.ends_with(&ending)) {
                    let place = path.strip_prefix(&root).unwrap().display();
                    wrong.push(format!("{place}:{}: there is no {name}", number + 1));
                }
            }
        }
    }
    assert!(seen > 100, "only {seen} names were found");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
