//! Reads the command line and hides passwords in it.
//!
//! Called first by `cli/mod.rs`, before there is another thread. An address on the command line
//! (`--storage`, `--from`, `--to` and the like) may hold a password, and `ps` shows the command
//! line to everybody. Children have their own title; here the password is overwritten in place,
//! as database clients do. Until then it is visible: a variable or a file is safer.

use std::ffi::OsString;
use std::ops::Range;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::sync::OnceLock;

use super::sys;

/// As this program was started.
static ORIGINAL: OnceLock<Vec<OsString>> = OnceLock::new();

/// The arguments as they were given; the name of the program is the first.
pub(crate) fn original() -> Vec<OsString> {
    let given = ORIGINAL.get_or_init(|| std::env::args_os().collect());
    given.clone()
}

/// Overwrites what may be a password in what `ps` shows.
pub(crate) fn hide_passwords() {
    // Read before they change: who upgrades is started with them.
    if original()
        .iter()
        .all(|one| secrets(one.as_bytes()).is_empty())
    {
        return;
    }
    sys::change_command_line(|line| {
        for argument in line.split_mut(|byte| *byte == 0) {
            mask(argument);
        }
    });
}

/// A text of ours about the command line, without what may be a password.
pub(crate) fn without_passwords(text: &str) -> String {
    let mut text = text.to_owned();
    for argument in original() {
        let mut masked = argument.clone().into_vec();
        mask(&mut masked);
        let (from, to) = (argument.to_string_lossy(), String::from_utf8_lossy(&masked));
        if from != to {
            text = text.replace(&*from, &to);
        }
    }
    text
}

fn mask(argument: &mut [u8]) {
    for secret in secrets(argument) {
        if let Some(bytes) = argument.get_mut(secret) {
            bytes.fill(b'x');
        }
    }
}

/// What is a password in an argument, or a part of one however it may be read: from the
/// user's end to the last `@`, and values named so.
fn secrets(argument: &[u8]) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let Some(start) = find(argument, b"://").map(|at| at + 3) else {
        return found;
    };
    let rest = &argument[start..];
    if let Some(at) = rest.iter().rposition(|byte| *byte == b'@') {
        let user = rest[..at].iter().position(|b| matches!(b, b':' | b'@'));
        if let Some(user) = user {
            found.push(start + user + 1..start + at);
        }
    }
    if let Some(at) = find(rest, b"password=") {
        let from = start + at + b"password=".len();
        let length = argument[from..].iter().position(|byte| *byte == b'&');
        found.push(from..length.map_or(argument.len(), |length| from + length));
    }
    found
}

fn find(text: &[u8], word: &[u8]) -> Option<usize> {
    text.windows(word.len()).position(|window| window == word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_masked_and_nothing_else() {
        for (given, shown) in [
            ("postgres://bot:a@b/db", "postgres://bot:x@b/db"),
            (
                "--storage=mysql://bot:a:c@b/db?pool=4",
                "--storage=mysql://bot:xxx@b/db?pool=4",
            ),
            ("postgres://bot:a@c@b/db", "postgres://bot:xxx@b/db"),
            ("postgres://bot@a@b/db", "postgres://bot@x@b/db"),
            ("postgres://bot:a/c@b/db", "postgres://bot:xxx@b/db"),
            (
                "postgres://b/db?user=u&password=abc&pool=4",
                "postgres://b/db?user=u&password=xxx&pool=4",
            ),
            ("postgres://bot@b/db", "postgres://bot@b/db"),
            ("https://b.example:8443/", "https://b.example:8443/"),
            ("sqlite:bot.db", "sqlite:bot.db"),
            ("", ""),
        ] {
            let mut bytes = given.as_bytes().to_vec();
            mask(&mut bytes);
            assert_eq!(String::from_utf8(bytes).unwrap(), shown);
        }
    }
}
