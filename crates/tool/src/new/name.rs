//! Names that a bot can have.
//!
//! Called by `new.rs`. Invariant: a name needs no quotes anywhere, in units, in paths, in
//! TOML and in JSON. Bound: [`LONGEST_NAME`].

use anyhow::bail;

use super::lang::Lang;

/// A program's longest name: the kernel shows 15 bytes of it, systemd's users have 31.
const LONGEST_NAME: usize = 31;

/// Words that cargo refuses as a package's name, and names of crates that the project
/// itself uses.
const TAKEN: &[&str] = &[
    "abstract",
    "alloc",
    "as",
    "async",
    "await",
    "become",
    "box",
    "break",
    "build",
    "const",
    "continue",
    "core",
    "crate",
    "deps",
    "do",
    "dyn",
    "else",
    "enum",
    "examples",
    "extern",
    "false",
    "final",
    "fn",
    "for",
    "if",
    "impl",
    "in",
    "incremental",
    "let",
    "loop",
    "macro",
    "match",
    "mod",
    "move",
    "mut",
    "override",
    "priv",
    "proc_macro",
    "pub",
    "ref",
    "return",
    "self",
    "serde",
    "static",
    "std",
    "struct",
    "super",
    "test",
    "trait",
    "true",
    "try",
    "turnkey",
    "type",
    "typeof",
    "unsafe",
    "unsized",
    "use",
    "virtual",
    "where",
    "while",
    "yield",
];

/// Words that another program of a project has: ours, and npm.
const TAKEN_ELSEWHERE: &[&str] = &["turnkey", "node_modules"];

/// Whether it can be a bot's name.
///
/// # Errors
/// It is not, with a better one.
pub(super) fn check(name: &str, lang: Lang) -> anyhow::Result<()> {
    let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_';
    if !name.starts_with(|c: char| c.is_ascii_lowercase())
        || !name.chars().all(is_plain)
        || name.len() > LONGEST_NAME
    {
        bail!(
            "a bot's name has up to {LONGEST_NAME} of a to z, digits, - and _, a letter first, such as my-bot; not {name:?}"
        );
    }
    let (taken, whom) = match lang {
        Lang::Rust => (TAKEN, "Rust"),
        Lang::Python | Lang::Js => (TAKEN_ELSEWHERE, "Turnkey"),
    };
    if taken.contains(&name) {
        bail!(
            "{name:?} means something else to {whom} or to the project; take another name, such as {name}-bot"
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_names_are_refused_with_a_better_one() {
        for good in ["a", "mybot", "my-bot_2"] {
            check(good, Lang::Rust).unwrap();
        }
        for bad in [
            "",
            "Bot",
            "2bot",
            "-bot",
            "my bot",
            "../bot",
            "bót",
            &"a".repeat(32),
        ] {
            let error = check(bad, Lang::Python).unwrap_err().to_string();
            assert!(error.contains("my-bot"), "{bad}: {error}");
        }
        for taken in ["turnkey", "test", "async", "serde"] {
            let error = check(taken, Lang::Rust).unwrap_err().to_string();
            assert!(error.contains(&format!("{taken}-bot")), "{error}");
        }
        check("async", Lang::Js).unwrap();
        let error = check("turnkey", Lang::Js).unwrap_err().to_string();
        assert!(error.contains("turnkey-bot"), "{error}");
    }
}
