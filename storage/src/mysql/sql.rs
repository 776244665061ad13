//! What an author's statement may do, and how its parameters are written for MySQL.
//!
//! Called by `author.rs`; `lanes/sql.rs` reads the statement.

use mysql_async::Value as My;

use crate::lanes::sql::{Dialect, Token, Tokens, Use};
use crate::{Error, Result, Statement, Value};

/// What a turn's statements may start with. Not what ends the transaction, as whatever
/// makes or changes a table does in MySQL, or outlives it on a shared connection.
const WRITES: &[&str] = &[
    "delete", "insert", "replace", "select", "table", "update", "values", "with",
];

/// What a question may start with.
const READS: &[&str] = &[
    "desc", "describe", "explain", "select", "show", "table", "values", "with",
];

/// A statement as the server takes it.
#[derive(Debug, PartialEq)]
pub(super) struct Prepared {
    /// With a `?` where each value goes.
    pub(super) sql: String,
    /// In the order of those.
    pub(super) params: Vec<My>,
}

/// Writes `?` for `?1`, which may stand more than once; a bare `?` is the one after the
/// largest so far, as in SQLite.
///
/// # Errors
/// [`Error::Statement`] when the statement is none, may not be used in a turn
/// (in a turn) or a question, names a table of ours, or its values do not fit.
pub(super) fn translate(statement: &Statement, purpose: Use) -> Result<Prepared> {
    let (writes, ours) = (purpose == Use::Turn, purpose == Use::Ours);
    let refuse = |why: &str| Err(Error::Statement(format!("{why}: {}", statement.sql)));
    let mut sql = String::with_capacity(statement.sql.len() + 8);
    let mut params = Vec::new();
    let (mut first, mut largest, mut names_ours) = (None, 0_usize, false);
    for token in Tokens::of(&statement.sql, Dialect::MySql) {
        names_ours |= token.is_ours();
        match token {
            Token::Parameter(text) => {
                let number = match &text[1..] {
                    "" => largest + 1,
                    digits => digits.parse().unwrap_or(0),
                };
                largest = largest.max(number);
                let Some(value) = number.checked_sub(1).and_then(|n| statement.params.get(n))
                else {
                    return refuse(&format!(
                        "its parameter ?{number} is none of the {} values that were given",
                        statement.params.len()
                    ));
                };
                // A text and bytes look the same on their way.
                sql.push_str(match value {
                    Value::Blob(_) => "CAST(? AS BINARY)",
                    _ => "?",
                });
                params.push(parameter(value));
            }
            Token::Executed(_) => return refuse("executed comments are not taken"),
            Token::Word(text) => {
                first.get_or_insert_with(|| text.to_ascii_lowercase());
                sql.push_str(text);
            }
            Token::Quoted(text) | Token::Other(text) => sql.push_str(text),
        }
    }
    let Some(first) = first else {
        return refuse("there is no statement in it");
    };
    if largest < statement.params.len() {
        return refuse(&format!(
            "it has {largest} parameters, and {} values were given",
            statement.params.len()
        ));
    }
    if writes && !WRITES.contains(&first.as_str()) {
        return refuse(
            "a turn's statement inserts, updates, deletes or selects; MySQL would commit the turn \
             half-way at another one: make tables in App::migrations",
        );
    }
    if !writes && !ours && !READS.contains(&first.as_str()) {
        return refuse("a question selects, shows or explains");
    }
    if writes && names_ours {
        return refuse("tables whose names start with turnkey_ are not the bot's to use");
    }
    Ok(Prepared { sql, params })
}

fn parameter(value: &Value) -> My {
    match value {
        Value::Null => My::NULL,
        Value::Integer(v) => My::Int(*v),
        Value::Real(v) => My::Double(*v),
        Value::Text(v) => My::Bytes(v.clone().into_bytes()),
        Value::Blob(v) => My::Bytes(v.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(sql: &str, values: &[i64]) -> (String, Vec<My>) {
        let params = values.iter().map(|v| Value::Integer(*v)).collect();
        let statement = Statement {
            sql: sql.to_owned(),
            params,
        };
        let prepared = translate(&statement, Use::Turn).unwrap();
        (prepared.sql, prepared.params)
    }

    #[test]
    fn parameters_are_found_outside_quotes() {
        for (sql, wanted, order) in [
            ("SELECT ?1, ?2", "SELECT ?, ?", &[1, 2][..]),
            ("SELECT ?2, ?1, ?2", "SELECT ?, ?, ?", &[2, 1, 2]),
            ("SELECT ?, ?", "SELECT ?, ?", &[1, 2]),
            ("SELECT ?1, ?", "SELECT ?, ?", &[1, 2]),
            (
                r#"SELECT '?1\'?1', "?1''\"?1", ?1"#,
                r#"SELECT '?1\'?1', "?1''\"?1", ?"#,
                &[1],
            ),
            (
                "SELECT `?1`, a--?1 # ?9\n -- ?9\n -?2 /* ?9 */ -1",
                "SELECT `?1`, a--? # ?9\n -- ?9\n -? /* ?9 */ -1",
                &[1, 2],
            ),
            (
                "SELECT 'é?1', é1 FROM ü WHERE ?1",
                "SELECT 'é?1', é1 FROM ü WHERE ?",
                &[1],
            ),
            ("SELECT '?1", "SELECT '?1", &[]),
            ("SELECT `?1", "SELECT `?1", &[]),
            ("SELECT /* ?1", "SELECT /* ?1", &[]),
        ] {
            let given = order.iter().copied().max().unwrap_or(0);
            let (translated, params) = sent(sql, &Vec::from_iter(1..=given));
            assert_eq!(translated, wanted);
            let values: Vec<My> = order.iter().map(|n| My::Int(*n)).collect();
            assert_eq!(params, values, "{sql}");
        }
        let blob = Statement::new("SELECT ?1", (vec![0_u8],));
        assert_eq!(
            translate(&blob, Use::Question).unwrap().sql,
            "SELECT CAST(? AS BINARY)"
        );
    }

    #[test]
    fn what_a_statement_may_not_do() {
        for sql in [
            "",
            " ; -- nothing",
            "COMMIT",
            "/* x */ begin",
            "SET autocommit = 0",
            "CREATE TABLE a (b TEXT)",
            "TRUNCATE a",
            "/*!40000 DELETE FROM turnkey_lock */",
            "SELECT 1 /*M! INTO OUTFILE 'x' */",
            "DELETE FROM turnkey_lock",
            "DELETE FROM `Turnkey_lock`",
            "DELETE FROM bot.turnkey_lock",
            "REPLACE INTO TURNKEY_SEEN VALUES (1)",
            "SELECT ?1",
            "SELECT ?0",
            "SELECT ?99999999999999999999",
        ] {
            let statement = Statement::new(sql, ());
            assert!(translate(&statement, Use::Turn).is_err(), "{sql}");
        }
        let unused = Statement::new("SELECT ?1", (1, 2));
        assert!(translate(&unused, Use::Turn).is_err());
        let fine = Statement::new("(SELECT 'turnkey_lock', my_turnkey_x)", ());
        assert!(translate(&fine, Use::Turn).is_ok());
        let look = Statement::new("SELECT count(*) FROM turnkey_lock", ());
        assert!(translate(&look, Use::Question).is_ok());
        let write = Statement::new("DELETE FROM a", ());
        assert!(translate(&write, Use::Question).is_err());
    }
}
