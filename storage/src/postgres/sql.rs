//! What an author's statement may do, and how its parameters are written for
//! PostgreSQL.
//!
//! Called by `author.rs`; `lanes/sql.rs` reads the statement.

use crate::lanes::sql::{Dialect, Token, Tokens, Use};
use crate::{Error, Result};

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
/// (in a turn) names a table of ours.
pub(super) fn translate(sql: &str, purpose: Use) -> Result<String> {
    let writes = purpose == Use::Turn;
    let mut out = String::with_capacity(sql.len() + 8);
    let mut words: Vec<String> = Vec::new(); // The first few.
    let mut names_ours = false;
    for token in Tokens::of(sql, Dialect::Postgres) {
        names_ours |= token.is_ours();
        match token {
            Token::Parameter(text) if text.len() > 1 => {
                out.push('$');
                out.push_str(&text[1..]);
            }
            Token::Word(text) => {
                if words.len() < 5 {
                    words.push(text.to_ascii_lowercase());
                }
                out.push_str(text);
            }
            Token::Quoted(text) | Token::Parameter(text) | Token::Other(text) => {
                out.push_str(text);
            }
            #[cfg(feature = "mysql")]
            Token::Executed(text) => out.push_str(text),
        }
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
            assert_eq!(translate(sql, Use::Turn).unwrap(), sent);
        }
        for open in [
            "SELECT '?1",
            "SELECT \"?1",
            "SELECT /* ?1",
            "SELECT $$ ?1",
            "SELECT ?",
        ] {
            assert_eq!(translate(open, Use::Turn).unwrap(), open);
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
            assert!(translate(sql, Use::Turn).is_err(), "{sql}");
        }
        assert!(translate("SELECT 'turnkey_lock', my_turnkey_x", Use::Turn).is_ok());
        assert!(translate("SELECT count(*) FROM turnkey_lock", Use::Question).is_ok());
    }
}
