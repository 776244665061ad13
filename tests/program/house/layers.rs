//! Imports point one way: a room uses only rooms below it, a crate only crates below it,
//! and no two files of a room import each other, directly or in a circle.
//!
//! A folder's `mod.rs` is the contract of its parts, so it may name them and they it.
//! `cargo test --test program layers -- --nocapture` prints what was read.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use super::root;

/// The rooms of `src/`, from top to bottom. A file at the top is a room of its own.
const ROOMS: &[&str] = &[
    "lib",      // the face of the crate
    "guide",    // text
    "testing",  // for authors: nothing below knows that it is tested
    "tool",     // what the program `turnkey` needs beside `App`
    "app",      // the author's way in
    "cli",      // commands
    "process",  // master, workers, writer as processes
    "worker",   // what runs in a worker
    "operator", // status page, metrics, backups, banner
    "updaters", // how updates arrive
    "turn",     // one update, from begin to end
    "handlers", // who runs the author's code
    "channels", // the platforms
    "net",      // sockets and certificates
    "config",   // settings
    "author",   // what authors see
    "shared",   // what all processes and rooms share
];

/// The crates, each with those that it may use.
const CRATES: &[(&str, &[&str])] = &[
    ("storage", &[]),
    ("crates/text", &[]),
    ("crates/report", &["turnkey_storage", "turnkey_text"]),
    (
        "crates/drill",
        &["turnkey_report", "turnkey_storage", "turnkey_text"],
    ),
    (
        "crates/lab",
        &["turnkey_report", "turnkey_storage", "turnkey_text"],
    ),
    (".", &["turnkey_drill", "turnkey_storage", "turnkey_text"]),
    (
        "crates/tool",
        &[
            "turnkey",
            "turnkey_drill",
            "turnkey_lab",
            "turnkey_report",
            "turnkey_storage",
            "turnkey_text",
        ],
    ),
];

/// A module's path within its crate; empty for the crate's root.
type Module = Vec<String>;

/// The modules of a crate with their code, without comments and unit tests.
fn modules(source: &Path) -> BTreeMap<Module, String> {
    fn walk(directory: &Path, above: &[String], into: &mut BTreeMap<Module, String>) {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            if path.is_dir() {
                walk(&path, &[above, &[name]].concat(), into);
            } else if path.extension().is_some_and(|e| e == "rs") && name != "tests" {
                let text = fs::read_to_string(&path).unwrap();
                let text = text.split("#[cfg(test)]\n").next().unwrap_or_default();
                let code: Vec<&str> = text
                    .lines()
                    .filter(|line| !line.trim_start().starts_with("//"))
                    .collect();
                let module = match name.as_str() {
                    "mod" | "lib" | "main" => above.to_vec(),
                    _ => [above, &[name]].concat(),
                };
                into.insert(module, code.join("\n"));
            }
        }
    }
    let mut found = BTreeMap::new();
    walk(source, &[], &mut found);
    found
}

/// The paths that follow `start` in some code, as lists of names; groups are taken apart.
fn paths(code: &str, start: &str) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices(start) {
        let before = code[..at].chars().next_back();
        if before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == '$' || c == ':') {
            continue;
        }
        let rest = &code[at + start.len()..];
        let names = |text: &str| -> Vec<String> {
            let word = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
            let end = text.find(|c| !word(c)).unwrap_or(text.len());
            let names = text[..end].split("::").filter(|name| !name.is_empty());
            names.map(str::to_owned).collect()
        };
        let first = names(rest);
        let group = rest.find('{').filter(|brace| {
            rest[..*brace]
                .chars()
                .all(|c| c.is_alphanumeric() || c == '_' || c == ':')
        });
        match group {
            None => found.push(first),
            Some(brace) => {
                let mut depth = 0;
                let mut item = String::new();
                for c in rest[brace..].chars() {
                    match c {
                        '{' => depth += 1,
                        '}' => depth -= 1,
                        _ => {}
                    }
                    if (c == ',' && depth == 1) || depth == 0 {
                        found.push([first.clone(), names(item.trim())].concat());
                        item.clear();
                    } else if !(c == '{' && depth == 1) {
                        item.push(c);
                    }
                    if depth == 0 {
                        break;
                    }
                }
            }
        }
    }
    found
}

/// Which modules each one imports.
fn imports(modules: &BTreeMap<Module, String>) -> BTreeMap<Module, BTreeSet<Module>> {
    let known = |path: Vec<String>| {
        let longest = (0..=path.len()).rev().map(|n| path[..n].to_vec());
        longest.into_iter().find(|path| modules.contains_key(path))
    };
    let mut all = BTreeMap::new();
    for (module, code) in modules {
        let mut found = BTreeSet::new();
        let mut add = |base: &[String], start: &str| {
            for path in paths(code, start) {
                found.extend(known([base, &path].concat()));
            }
        };
        add(&[], "crate::");
        add(module, "self::");
        for up in 1..=module.len() {
            let start = "super::".repeat(up);
            for path in paths(code, &start) {
                // Of `super::super::x` only the whole counts.
                if path.first().is_none_or(|name| name != "super") {
                    found.extend(known([&module[..module.len() - up], &path].concat()));
                }
            }
        }
        found.remove(module);
        all.insert(module.clone(), found);
    }
    all
}

#[test]
fn rooms_use_only_rooms_below_them() {
    let modules = modules(&root().join("src"));
    let place = |module: &Module| {
        let room = module.first().map_or("lib", String::as_str);
        let place = ROOMS.iter().position(|known| *known == room);
        place.unwrap_or_else(|| panic!("src/{room} has no place among the rooms: give it one"))
    };
    let mut arrows = 0;
    for (module, imported) in imports(&modules) {
        for import in imported {
            arrows += 1;
            // The face of the crate: `crate::Error`.
            let (from, to) = (place(&module), place(&import));
            assert!(
                import.is_empty() || to >= from,
                "src/{} imports {}, which stands above it",
                module.join("/"),
                import.join("/")
            );
        }
    }
    println!(
        "src: {} files, {arrows} arrows, none points up",
        modules.len()
    );
    assert!(modules.len() > 100 && arrows > 300, "too little was read");
}

#[test]
fn crates_use_only_crates_below_them() {
    for (name, allowed) in CRATES {
        for (module, code) in modules(&root().join(name).join("src")) {
            for (other, _) in CRATES {
                let other = match *other {
                    "." => "turnkey".to_owned(),
                    other => format!("turnkey_{}", other.trim_start_matches("crates/")),
                };
                let is_used = !paths(&code, &format!("{other}::")).is_empty();
                assert!(
                    !is_used || allowed.contains(&other.as_str()),
                    "{name}: {} uses {other}",
                    module.join("/")
                );
            }
        }
    }
}

#[test]
fn no_files_of_a_room_import_each_other_in_a_circle() {
    for (name, _) in CRATES {
        let modules = modules(&root().join(name).join("src"));
        let is_contract = |module: &Module| {
            let below = |other: &Module| other.len() > module.len() && other.starts_with(module);
            modules.keys().any(below)
        };
        let mut arrows = imports(&modules);
        arrows.retain(|module, _| !is_contract(module));
        // Who imports none of those that are left, or is imported by none, is in no circle.
        loop {
            let before = arrows.len();
            let left: BTreeSet<Module> = arrows.keys().cloned().collect();
            for imported in arrows.values_mut() {
                imported.retain(|import| left.contains(import));
            }
            let wanted: BTreeSet<Module> = arrows.values().flatten().cloned().collect();
            arrows.retain(|module, imported| !imported.is_empty() && wanted.contains(module));
            if arrows.len() == before {
                break;
            }
        }
        let circle: Vec<String> = arrows
            .iter()
            .map(|(module, imported)| {
                let imported: Vec<_> = imported.iter().map(|m| m.join("/")).collect();
                format!("{} -> {}", module.join("/"), imported.join(", "))
            })
            .collect();
        assert!(circle.is_empty(), "{name}: {}", circle.join("\n"));
    }
}

#[test]
fn paths_are_read() {
    let code = "use crate::a::b; use crate::c::{d, e::{F, g}}; $crate::h!()";
    let found: Vec<_> = paths(code, "crate::")
        .iter()
        .map(|p| p.join("::"))
        .collect();
    assert_eq!(found, ["a::b", "c::d", "c::e"]);
}
