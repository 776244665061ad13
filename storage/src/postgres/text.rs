//! Escapes texts that PostgreSQL cannot store: its TEXT allows no NUL.
//!
//! Used for all our own texts. A NUL is stored as the two characters U+0001 `0`, and U+0001
//! itself as U+0001 `1`; other texts stay as they are, so that people can read the tables. JSON
//! never contains either of them unescaped.

use std::borrow::Cow;

const MARK: char = '\u{1}';

/// As it is stored.
pub(super) fn stored(text: &str) -> Cow<'_, str> {
    if !text.bytes().any(|b| b <= 1) {
        return Cow::Borrowed(text);
    }
    let mut stored = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        match c {
            '\0' => stored.push_str("\u{1}0"),
            MARK => stored.push_str("\u{1}1"),
            c => stored.push(c),
        }
    }
    Cow::Owned(stored)
}

/// As it was.
pub(super) fn original(stored: String) -> String {
    if !stored.contains(MARK) {
        return stored;
    }
    let mut text = String::with_capacity(stored.len());
    let mut chars = stored.chars();
    while let Some(c) = chars.next() {
        match (c, c == MARK) {
            (c, false) => text.push(c),
            (_, true) => match chars.next() {
                Some('0') => text.push('\0'),
                _ => text.push(MARK),
            },
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_comes_back() {
        for text in [
            "",
            "a",
            "\0",
            "\u{1}",
            "\u{1}0",
            "a\0\u{1}\u{1}1\0b",
            "\u{2}é",
        ] {
            let kept = stored(text).into_owned();
            assert!(!kept.contains('\0'));
            assert_eq!(original(kept), text);
        }
    }
}
