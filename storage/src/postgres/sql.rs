//! Reads an author's statement just far enough: where its parameters stand, what
//! it starts with, whether it names a table of ours.
//!
//! Called by `author.rs`. Not a parser: it only knows what is quoted and what is
//! a comment. It guards against slips; who wants to break in does not need it:
//! the author's program has the password.

use crate::{Error, Result};

const OURS: &str = "turnkey_";

/// What would end or outlive the transaction that the statement runs in. The
/// connection is not the author's alone.
const SESSION: &[&str] = &[
    "abort",
    "begin",
    "checkpoint",
    "close",
    "commit",
    "deallocate",
    "declare",
    "discard",
    "end",
    "execute",
    "fetch",
    "listen",
    "load",
    "prepare",
    "release",
    "reset",
    "rollback",
    "savepoint",
    "set",
    "start",
    "unlisten",
];

/// A statement as the server takes it: `$1` for `?1`, which may both be used.
///
/// # Errors
/// [`Error::Statement`] when the statement is none, would end the transaction, or
/// (`writes`) names a table of ours.
pub(super) fn translate(sql: &str, writes: bool) -> Result<String> {
    let mut out = String::with_capacity(sql.len() + 8);
    let mut words: Vec<String> = Vec::new(); // The first few.
    let mut names_ours = false;
    let mut rest = sql;
    while let Some(c) = rest.chars().next() {
        let length = match c {
            '\'' => quoted(rest, '\''),
            '"' => {
                let length = quoted(rest, '"');
                names_ours |= is_ours(&rest[1..length]);
                length
            }
            '-' if rest.starts_with("--") => rest.find('\n').map_or(rest.len(), |n| n + 1),
            '/' if rest.starts_with("/*") => comment(rest),
            '$' => dollar_quoted(rest).unwrap_or(1),
            '?' if rest[1..].starts_with(|c: char| c.is_ascii_digit()) => {
                out.push('$');
                rest = &rest[1..];
                continue;
            }
            c if c.is_alphabetic() || c == '_' => {
                let length = word(rest);
                names_ours |= is_ours(&rest[..length]);
                if words.len() < 5 {
                    words.push(rest[..length].to_ascii_lowercase());
                }
                length
            }
            c if c.is_ascii_digit() => word(rest),
            c => c.len_utf8(),
        };
        out.push_str(&rest[..length]);
        rest = &rest[length..];
    }
    let refuse = |why: &str| Err(Error::Statement(format!("{why}: {sql}")));
    let Some(first) = words.first() else {
        return refuse("there is no statement in it");
    };
    if SESSION.contains(&first.as_str()) {
        return refuse("a statement cannot end its transaction or change its connection");
    }
    let temporary = |word: &String| word == "temp" || word == "temporary";
    if writes && first == "create" && words.iter().any(temporary) {
        return refuse("temporary tables would outlive the turn on a shared connection");
    }
    if writes && names_ours {
        return refuse("tables whose names start with turnkey_ are not the bot's to use");
    }
    Ok(out)
}

fn is_ours(name: &str) -> bool {
    name.get(..OURS.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(OURS))
}

/// Bytes of the name or number at the start.
fn word(text: &str) -> usize {
    text.find(|c: char| !c.is_alphanumeric() && c != '_' && c != '$')
        .unwrap_or(text.len())
}

/// Bytes of the quoted text at the start. A doubled quote ends one and starts the
/// next, which comes to the same. Backslashes count in E'…' alone.
fn quoted(text: &str, quote: char) -> usize {
    text[1..].find(quote).map_or(text.len(), |n| n + 2)
}

/// Bytes of the comment at the start; they nest.
fn comment(text: &str) -> usize {
    let mut depth = 0_u32;
    let mut at = 0;
    while at < text.len() {
        if text[at..].starts_with("/*") {
            depth += 1;
            at += 2;
        } else if text[at..].starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += text[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    text.len()
}

/// Bytes of `$$…$$` or `$tag$…$tag$` at the start, if it is one.
fn dollar_quoted(text: &str) -> Option<usize> {
    let end = text[1..].find('$')? + 2;
    let tag = &text[..end];
    let inner = &tag[1..end - 1];
    if inner.starts_with(|c: char| c.is_ascii_digit())
        || !inner.chars().all(|c| c.is_alphanumeric() || c == '_')
    {
        return None;
    }
    Some(
        text[end..]
            .find(tag)
            .map_or(text.len(), |n| end + n + tag.len()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_found_outside_quotes() {
        for (sql, sent) in [
            ("SELECT ?1, ?2", "SELECT $1, $2"),
            ("SELECT $1, ?12", "SELECT $1, $12"),
            (
                "SELECT '?1' || ?1 || 'it''s ?2'",
                "SELECT '?1' || $1 || 'it''s ?2'",
            ),
            (
                "SELECT \"?1\", a ? 'b' -- ?1\n, ?1",
                "SELECT \"?1\", a ? 'b' -- ?1\n, $1",
            ),
            (
                "SELECT /* ?1 /* ?1 */ ?1 */ ?1",
                "SELECT /* ?1 /* ?1 */ ?1 */ $1",
            ),
            (
                "SELECT $$?1$$, $a$?1$$?1$a$, ?1",
                "SELECT $$?1$$, $a$?1$$?1$a$, $1",
            ),
            (
                "SELECT 'é?1', é1 FROM ü WHERE ?1",
                "SELECT 'é?1', é1 FROM ü WHERE $1",
            ),
        ] {
            assert_eq!(translate(sql, true).unwrap(), sent);
        }
        for open in [
            "SELECT '?1",
            "SELECT \"?1",
            "SELECT /* ?1",
            "SELECT $$ ?1",
            "SELECT ?",
        ] {
            assert_eq!(translate(open, true).unwrap(), open);
        }
    }

    #[test]
    fn what_a_statement_may_not_do() {
        for sql in [
            "",
            " ; -- nothing",
            "COMMIT",
            "/* x */ begin",
            "SET ROLE other",
            "CREATE OR REPLACE TEMP VIEW v AS SELECT 1",
            "DELETE FROM turnkey_lock",
            "DELETE FROM \"Turnkey_lock\"",
            "drop table TURNKEY_SEEN",
        ] {
            assert!(translate(sql, true).is_err(), "{sql}");
        }
        assert!(translate("SELECT 'turnkey_lock', my_turnkey_x", true).is_ok());
        assert!(translate("SELECT count(*) FROM turnkey_lock", false).is_ok());
    }
}
