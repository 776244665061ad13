//! The workloads that come with the program.
//!
//! Used by `mod.rs`, by `bench workload` and for `--help`. Invariant, held by a test: each is
//! sound, runs on every kind of database and has an invariant.

use super::TURN;

/// By name, the texts of their files.
const SHIPPED: [(&str, &str); 13] = [
    ("append", include_str!("shipped/append.toml")),
    ("bank", include_str!("shipped/bank.toml")),
    (
        "multiwriter-bulk",
        include_str!("shipped/multiwriter-bulk.toml"),
    ),
    (
        "multiwriter-groups",
        include_str!("shipped/multiwriter-groups.toml"),
    ),
    (
        "multiwriter-hot",
        include_str!("shipped/multiwriter-hot.toml"),
    ),
    ("queue", include_str!("shipped/queue.toml")),
    ("read-mostly", include_str!("shipped/read-mostly.toml")),
    ("ycsb-a", include_str!("shipped/ycsb-a.toml")),
    ("ycsb-b", include_str!("shipped/ycsb-b.toml")),
    ("ycsb-c", include_str!("shipped/ycsb-c.toml")),
    ("ycsb-d", include_str!("shipped/ycsb-d.toml")),
    ("ycsb-e", include_str!("shipped/ycsb-e.toml")),
    ("ycsb-f", include_str!("shipped/ycsb-f.toml")),
];

/// The names, that of the one without a file first.
pub(crate) fn names() -> Vec<&'static str> {
    let others = SHIPPED.iter().map(|(name, _)| *name);
    std::iter::once(TURN).chain(others).collect()
}

/// Name and meaning of each, in the same order.
pub(crate) fn abouts() -> impl Iterator<Item = (&'static str, &'static str)> {
    let turn = "lock, read, change and write one user's state: what a bot does";
    let others = SHIPPED.iter().map(|(name, text)| (*name, about(text)));
    std::iter::once((TURN, turn)).chain(others)
}

/// What a text says of itself. It is not read as TOML here: every start of the program makes
/// the text of `--help`, that of a bot too.
fn about(text: &str) -> &str {
    text.lines()
        .find_map(|line| line.strip_prefix("about = \"")?.strip_suffix('"'))
        .unwrap_or_default()
}

/// The text of one.
pub(crate) fn text(name: &str) -> Option<&'static str> {
    let found = SHIPPED.iter().find(|(known, _)| *known == name);
    found.map(|(_, text)| *text)
}

#[cfg(test)]
mod tests {
    use super::super::{Dialect, parse};
    use super::*;

    #[test]
    fn what_comes_with_the_program_is_sound_and_runs_everywhere() {
        for (name, text) in SHIPPED {
            let workload = parse(text).unwrap_or_else(|why| panic!("{name}: {why}"));
            assert_eq!(workload.name, name);
            assert_eq!(workload.about, about(text));
            for dialect in [Dialect::Sqlite, Dialect::Postgres, Dialect::Mysql] {
                workload.runs_on(dialect).unwrap();
            }
            // A read-mostly load has nothing to add up but its rows.
            assert!(!workload.invariants.is_empty(), "{name}");
        }
    }
}
