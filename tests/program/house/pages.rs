//! The pages: their links lead somewhere, the commands on them exist, and the first one can be
//! read on one screen after the other.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use super::{files, root};
use crate::harness::bot::Setup;

/// Pages that people read in the repository.
fn pages() -> Vec<PathBuf> {
    let mut pages: Vec<PathBuf> = [
        "README.md",
        "FAQ.md",
        "SECURITY.md",
        "CONTRIBUTING.md",
        "sdk/python/README.md",
        "sdk/javascript/README.md",
    ]
    .map(|page| root().join(page))
    .into();
    pages.extend(files(&root().join("docs"), &["md"]));
    pages
}

/// The lines of a page: those in blocks of code, with the block's language, and the others.
fn lines(text: &str) -> impl Iterator<Item = (Option<String>, &str)> {
    let mut block: Option<String> = None;
    text.lines().filter_map(move |line| {
        match (line.trim_start().strip_prefix("```"), &block) {
            (Some(language), None) => block = Some(language.to_owned()),
            (Some(_), Some(_)) => block = None,
            (None, _) => return Some((block.clone(), line)),
        }
        None
    })
}

/// What a heading is called in an address.
fn anchor(heading: &str) -> String {
    let heading = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = |c: &char| c.is_alphanumeric() || matches!(c, '_' | '-' | ' ');
    heading
        .chars()
        .filter(kept)
        .collect::<String>()
        .replace(' ', "-")
}

fn anchors(page: &Path) -> BTreeSet<String> {
    let text = fs::read_to_string(page).unwrap();
    let prose = lines(&text).filter(|(block, line)| block.is_none() && line.starts_with('#'));
    prose.map(|(_, line)| anchor(line)).collect()
}

#[test]
fn links_lead_somewhere() {
    let (mut seen, mut wrong) = (0, Vec::new());
    for page in pages() {
        let text = fs::read_to_string(&page).unwrap();
        for (_, line) in lines(&text).filter(|(block, _)| block.is_none()) {
            for link in line.split("](").skip(1) {
                let link = link.split(')').next().unwrap_or_default();
                if link.contains(':') {
                    continue;
                }
                seen += 1;
                let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
                let target = match file {
                    "" => page.clone(),
                    _ => page.parent().unwrap().join(file),
                };
                let is_page = target.extension().is_some_and(|e| e == "md");
                let is_there = target.exists()
                    && (anchor.is_empty() || !is_page || anchors(&target).contains(anchor));
                if !is_there {
                    wrong.push(format!("{}: {link}", page.display()));
                }
            }
        }
    }
    assert!(seen > 100, "only {seen} links were found");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The command lines of a page that start our program, or one made with it.
fn commands(text: &str) -> Vec<String> {
    let shell = |block: &Option<String>| block.as_deref() == Some("sh");
    let shell = lines(text).filter(|(block, _)| shell(block));
    let whole: String = shell.map(|(_, line)| format!("{line}\n")).collect();
    let whole = whole.replace("\\\n", " ");
    let of_line = |line: &str| {
        let line = line.split(" #").next().unwrap_or_default();
        let is_variable = |word: &&str| {
            let name = word.split('=').next().unwrap_or_default();
            word.contains('=') && name.chars().all(|c| c.is_uppercase() || c == '_')
        };
        let words = line.split_whitespace().skip_while(is_variable);
        let words: Vec<&str> = words
            .take_while(|word| !matches!(*word, "|" | "&"))
            .collect();
        match words.as_slice() {
            ["turnkey" | "mybot" | "bot", rest @ ..] | ["cargo", "run", "--", rest @ ..] => {
                Some(rest.join(" "))
            }
            _ => None,
        }
    };
    whole.lines().filter_map(of_line).collect()
}

/// Every flag of ours on the pages is one that the command has.
#[test]
fn commands_that_are_shown_exist() {
    let setup = Setup::counter();
    let mut helps: BTreeMap<Vec<String>, Option<String>> = BTreeMap::new();
    let mut help = |words: &[&str]| -> Option<String> {
        let key: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        let read = || {
            let mut words = words.to_vec();
            words.push("--help");
            let ended = setup.bare(&words);
            (ended.code == Some(0)).then_some(ended.stdout)
        };
        helps.entry(key).or_insert_with(read).clone()
    };
    let (mut seen, mut wrong) = (0, Vec::new());
    for page in pages() {
        let text = fs::read_to_string(&page).unwrap();
        for line in commands(&text) {
            seen += 1;
            // What stands behind `--` is another program's.
            let ours = line.split(" -- ").next().unwrap_or_default();
            let words: Vec<&str> = ours.split_whitespace().collect();
            let is_command = |word: &&&str| word.chars().all(|c| c.is_ascii_lowercase());
            let named: Vec<&str> = words.iter().take_while(is_command).copied().collect();
            let text = (1..=named.len().min(2))
                .rev()
                .find_map(|count| help(&named[..count]));
            let Some(text) = text else {
                wrong.push(format!("{}: no such command: {line}", page.display()));
                continue;
            };
            for flag in words.iter().filter(|word| word.starts_with("--")) {
                let flag = flag.split('=').next().unwrap_or_default();
                if !text.contains(flag) {
                    wrong.push(format!("{}: {line}: no {flag}", page.display()));
                }
            }
        }
    }
    assert!(seen > 40, "only {seen} commands were found");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Nobody reads a long table before they know what a thing is.
#[test]
fn the_first_page_has_no_long_table() {
    let text = fs::read_to_string(root().join("README.md")).unwrap();
    let mut rows = 0;
    for line in text.lines() {
        rows = if line.starts_with('|') { rows + 1 } else { 0 };
        // With its head and the line below.
        assert!(rows <= 12, "a table of more than ten rows: {line}");
    }
}
