//! Imports point one way: a file uses only what stands below it.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// What each part may import, all of it below the part itself.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    (
        "lib",
        &[
            "app",
            "channels",
            "error",
            "handler",
            "message",
            "pacing",
            "testing",
            "user_lock",
        ],
    ),
    ("main", &[]),
    // Text.
    ("guide", &[]),
    ("app", &["channels", "cli", "error", "handler", "user_lock"]),
    (
        "cli",
        &[
            "admin",
            "app",
            "backup",
            "bench",
            "config",
            "database",
            "drill",
            "exit",
            "logfile",
            "master",
            "notices",
            "privileges",
            "running",
            "single",
        ],
    ),
    // For authors: nothing below knows that it is tested.
    ("testing", &["error", "message", "user_lock"]),
    // Nothing below knows that it is measured.
    (
        "bench",
        &["config", "database", "error", "notices", "report", "stop"],
    ),
    (
        "drill",
        &["config", "database", "error", "notices", "report", "stop"],
    ),
    ("report", &["error"]),
    ("stop", &[]),
    (
        "single",
        &[
            "acme",
            "app",
            "backup",
            "channels",
            "config",
            "database",
            "error",
            "exit",
            "logfile",
            "master",
            "notices",
            "privileges",
            "listener",
            "running",
            "scoreboard",
            "tls",
            "worker",
            "writer",
        ],
    ),
    (
        "master",
        &[
            "acme",
            "app",
            "backup",
            "channels",
            "config",
            "control",
            "database",
            "error",
            "exit",
            "logfile",
            "notices",
            "privileges",
            "listener",
            "running",
            "scoreboard",
            "systemd",
            "tls",
            "worker",
            "writer",
        ],
    ),
    ("writer", &["scoreboard"]),
    (
        "worker",
        &[
            "admin",
            "acme",
            "app",
            "backup",
            "channels",
            "config",
            "database",
            "inbox",
            "listener",
            "network",
            "outbox",
            "recovery",
            "scoreboard",
            "sweep",
            "tls",
            "turn",
            "updaters",
        ],
    ),
    (
        "admin",
        &[
            "channels",
            "config",
            "listener",
            "notices",
            "scoreboard",
            "tls",
            "turn",
        ],
    ),
    ("notices", &["config", "database", "scoreboard"]),
    (
        "updaters",
        &[
            "channels",
            "config",
            "error",
            "message",
            "scoreboard",
            "turn",
        ],
    ),
    ("recovery", &["message", "turn"]),
    ("sweep", &["inbox", "turn"]),
    ("backup", &["config", "database", "scoreboard"]),
    (
        "turn",
        &[
            "attempts",
            "channels",
            "error",
            "handler",
            "inbox",
            "message",
            "outbox",
            "rate",
            "scoreboard",
            "user_lock",
        ],
    ),
    // The one pair that knows each other: a turn sends its replies, and what is
    // found in the outbox is sent in a turn.
    ("outbox", &["channels", "message", "scoreboard", "turn"]),
    (
        "attempts",
        &["channels", "error", "inbox", "message", "scoreboard"],
    ),
    ("inbox", &["message", "scoreboard"]),
    ("channels", &["config", "error", "message", "pacing"]),
    ("user_lock", &["error", "message"]),
    ("handler", &["error", "message"]),
    ("database", &["config", "error", "running"]),
    ("privileges", &["config", "error"]),
    ("acme", &["config", "tls"]),
    ("tls", &["config", "error"]),
    ("config", &["error", "network"]),
    ("network", &["error"]),
    ("message", &[]),
    ("error", &[]),
    ("scoreboard", &["pacing", "rate"]),
    ("pacing", &[]),
    ("rate", &[]),
    ("listener", &[]),
    ("control", &[]),
    ("logfile", &[]),
    ("systemd", &[]),
    ("running", &[]),
    ("exit", &[]),
];

/// The names after `crate::`, also in groups.
fn imports(source: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (at, _) in source.match_indices("crate::") {
        // `$crate::` and `turnkey_storage::…` are none of ours; a doc link may be.
        let line_start = source[..at].rfind('\n').map_or(0, |n| n + 1);
        if source[line_start..at].trim_start().starts_with("//") {
            continue;
        }
        let rest = &source[at + "crate::".len()..];
        let group = match rest.strip_prefix('{') {
            Some(group) => &group[..group.find("};").expect("the end of a group")],
            None => rest,
        };
        let parts: Vec<&str> = if rest.starts_with('{') {
            group.split(',').collect()
        } else {
            vec![group]
        };
        for part in parts {
            let name: String = part
                .trim()
                .chars()
                .take_while(|c| c.is_alphanumeric() || *c == '_')
                .collect();
            found.push(name);
        }
    }
    found
}

fn sources(directory: &Path, top: Option<&str>, into: &mut BTreeMap<String, Vec<String>>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        if path.is_dir() {
            sources(&path, Some(top.unwrap_or(&name)), into);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            // Unit tests may look anywhere.
            let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
            let part = top.unwrap_or(&name).to_owned();
            into.entry(part).or_default().extend(imports(text));
        }
    }
}

#[test]
fn imports_point_one_way() {
    let mut parts = BTreeMap::new();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    sources(&source, None, &mut parts);
    assert!(parts.len() > 10, "only {parts:?} were found in {source:?}");
    for (part, imports) in &parts {
        let (_, allowed) = MAY_IMPORT
            .iter()
            .find(|(name, _)| name == part)
            .unwrap_or_else(|| panic!("src/{part} has no place among the layers yet: give it one"));
        for import in imports {
            // The face of the crate: `crate::Error`, `crate::Result`.
            let is_face = import.starts_with(char::is_uppercase);
            assert!(
                is_face || import == part || allowed.contains(&import.as_str()),
                "src/{part} imports {import}, which does not stand below it"
            );
        }
    }
}

/// The list itself goes downwards only.
#[test]
fn the_layers_have_an_order() {
    let place = |part: &str| MAY_IMPORT.iter().position(|(name, _)| *name == part);
    for (part, allowed) in MAY_IMPORT {
        for import in *allowed {
            let known = [
                ("outbox", "turn"),
                ("cli", "app"),
                ("master", "app"),
                ("single", "app"),
                ("worker", "app"),
            ];
            assert!(
                place(import) > place(part) || known.contains(&(*part, *import)),
                "{part} stands below {import}"
            );
        }
    }
}
