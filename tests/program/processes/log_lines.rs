//! Every warning and error that the program can log is explained in docs/OPERATING.md.

use std::fs;
use std::path::{Path, PathBuf};

fn sources(directory: &Path, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        // They log nothing while a bot runs.
        if path.is_dir() && !["bench", "cli", "drill", "testing"].contains(&name) {
            sources(&path, into);
        } else if name.ends_with(".rs") {
            into.push(path);
        }
    }
}

/// The format strings of warnings and errors in a file.
fn messages(source: &str) -> Vec<&str> {
    let mut found = Vec::new();
    for level in ["tracing::warn!(", "tracing::error!("] {
        for (at, _) in source.match_indices(level) {
            let rest = &source[at..];
            let Some(start) = rest.find('"') else {
                continue;
            };
            let text = &rest[start + 1..];
            found.push(&text[..text.find('"').unwrap()]);
        }
    }
    found
}

/// The words of a message that stay the same, as they are written.
fn fixed(message: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut depth = 0;
    for c in message.chars() {
        match c {
            '{' => {
                depth += 1;
                parts.push(String::new());
            }
            '}' => depth -= 1,
            _ if depth == 0 => parts.last_mut().unwrap().push(c),
            _ => {}
        }
    }
    parts.retain(|part| part.trim().len() > 3);
    parts
}

#[test]
fn every_warning_and_error_is_explained() {
    let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."));
    let page = fs::read_to_string(root.join("docs/OPERATING.md")).unwrap();
    let (_, page) = page.split_once("## Log lines").unwrap();
    let explained: Vec<&str> = page.split('`').skip(1).step_by(2).collect();
    let mut files = Vec::new();
    sources(&root.join("src"), &mut files);
    sources(&root.join("storage/src"), &mut files);
    let mut missing = Vec::new();
    let mut count = 0;
    for file in files {
        let source = fs::read_to_string(&file).unwrap();
        for message in messages(&source) {
            count += 1;
            let is_explained = explained
                .iter()
                .any(|words| words.trim().len() > 3 && message.contains(words));
            // Some are nothing but what somebody else says.
            if !is_explained && !fixed(message).is_empty() {
                missing.push(format!("{}: {message}", file.display()));
            }
        }
    }
    assert!(count > 50, "only {count} messages were found");
    assert!(missing.is_empty(), "not explained:\n{}", missing.join("\n"));
}
