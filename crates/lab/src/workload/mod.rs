//! What is done instead of turns: tables, how they are filled, weighted transactions in SQL,
//! and what must hold afterwards.
//!
//! | file | what |
//! | --- | --- |
//! | `mod.rs` | a workload as its file has it, checked |
//! | `draw.rs` | where parameters come from |
//! | `sql.rs` | the text of a statement for each kind of database |
//! | `shipped.rs` `shipped/` | those that come with the program |
//!
//! Read for `options.rs`, sent to every process of a run, obeyed by `engines/sql/`. Bounds:
//! [`MAX_ROWS`] of a table, [`MAX_PARTS`] of anything else.

mod draw;
pub(crate) mod shipped;
mod sql;

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::Error;

pub(crate) use draw::{Draws, Source};
pub(crate) use sql::{Dialect, Prepared};

/// Rows that a table is filled with.
const MAX_ROWS: u64 = 100_000_000;

/// Tables, transactions, statements, invariants.
const MAX_PARTS: usize = 64;

/// The load that every engine knows by itself: not in a file.
pub(crate) const TURN: &str = "turn";

/// A workload.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Workload {
    pub(crate) name: String,
    /// What it is, in a sentence or two.
    pub(crate) about: String,
    #[serde(rename = "table")]
    pub(crate) tables: Vec<Table>,
    #[serde(rename = "transaction")]
    pub(crate) transactions: Vec<Transaction>,
    #[serde(rename = "invariant", default)]
    pub(crate) invariants: Vec<Invariant>,
}

/// A table, and the rows that it has at the start.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Table {
    pub(crate) name: String,
    pub(crate) create: Text,
    #[serde(default)]
    pub(crate) rows: u64,
    /// Done for each row, whose number is `:row`, from 0.
    pub(crate) insert: Option<Text>,
    #[serde(default)]
    pub(crate) parameters: BTreeMap<String, Source>,
}

/// What a process does, time and again.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Transaction {
    pub(crate) name: String,
    /// Its part of all transactions.
    #[serde(default = "one")]
    pub(crate) weight: u32,
    #[serde(default)]
    pub(crate) read_only: bool,
    #[serde(default)]
    pub(crate) parameters: BTreeMap<String, Source>,
    pub(crate) sql: Text,
}

fn one() -> u32 {
    1
}

/// SQL: one statement or several, for every kind of database or for each.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum Text {
    All(Statements),
    Of(ByDialect),
}

/// SQL for each kind of database.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ByDialect {
    sqlite: Option<Statements>,
    postgres: Option<Statements>,
    mysql: Option<Statements>,
}

/// One statement or several.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum Statements {
    One(String),
    Many(Vec<Statement>),
}

/// A statement; or one that ends in so many times the same values, in which `{i}` is the
/// number of the time, from 0.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum Statement {
    Plain(String),
    #[serde(rename_all = "kebab-case")]
    Repeated {
        sql: String,
        values: String,
        times: usize,
    },
}

/// What must hold after a run.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Invariant {
    /// A query of one whole number.
    pub(crate) sql: Text,
    /// What it is before the first transaction.
    pub(crate) equals: i64,
    /// What each acknowledged transaction adds, by its name.
    #[serde(default)]
    pub(crate) plus: BTreeMap<String, i64>,
}

impl Text {
    /// The statements for a kind of database; none: it is not said for it.
    pub(crate) fn statements(&self, dialect: Dialect) -> Option<Vec<String>> {
        let statements = match (self, dialect) {
            (Text::All(statements), _) => statements,
            (Text::Of(by), Dialect::Sqlite) => by.sqlite.as_ref()?,
            (Text::Of(by), Dialect::Postgres) => by.postgres.as_ref()?,
            (Text::Of(by), Dialect::Mysql) => by.mysql.as_ref()?,
        };
        Some(match statements {
            Statements::One(sql) => vec![sql.clone()],
            Statements::Many(list) => list.iter().map(Statement::text).collect(),
        })
    }
}

impl Statement {
    fn text(&self) -> String {
        match self {
            Statement::Plain(sql) => sql.clone(),
            Statement::Repeated { sql, values, times } => {
                let rows: Vec<String> = (0..*times)
                    .map(|i| values.replace("{i}", &i.to_string()))
                    .collect();
                format!("{sql} {}", rows.join(", "))
            }
        }
    }
}

/// A workload with the text of its file: one that comes with the program, or a file's; none
/// for `turn`.
///
/// # Errors
/// A sentence that names the place and the remedy.
pub(crate) fn load(name: &str) -> crate::error::Result<Option<(Workload, String)>> {
    if name == TURN {
        return Ok(None);
    }
    let text = match shipped::text(name) {
        Some(text) => text.to_owned(),
        None => std::fs::read_to_string(Path::new(name)).map_err(|e| {
            Error::Start(format!(
                "--workload {name}: no workload of this name comes with the program (there are {}), and \
                 the file cannot be read: {}",
                shipped::names().join(", "),
                turnkey_report::files::reason(&e)
            ))
        })?,
    };
    let workload = parse(&text).map_err(|why| Error::Start(format!("--workload {name}: {why}")))?;
    Ok(Some((workload, text)))
}

fn parse(text: &str) -> Result<Workload, String> {
    let workload: Workload = toml::from_str(text).map_err(|e| {
        let place = e.span().map_or(String::new(), |span| {
            let before = &text[..span.start.min(text.len())];
            format!("line {}: ", before.matches('\n').count() + 1)
        });
        format!("{place}{}", e.message())
    })?;
    workload.check()?;
    Ok(workload)
}

impl Workload {
    pub(crate) fn table(&self, name: &str) -> Option<&Table> {
        self.tables.iter().find(|table| table.name == name)
    }

    /// The names of its transactions, in order.
    pub(crate) fn names(&self) -> Vec<String> {
        self.transactions.iter().map(|t| t.name.clone()).collect()
    }

    /// All that the file says, before anything is measured.
    fn check(&self) -> Result<(), String> {
        for (what, count) in [
            ("table", self.tables.len()),
            ("transaction", self.transactions.len()),
        ] {
            if count == 0 || count > MAX_PARTS {
                return Err(format!("there must be 1 to {MAX_PARTS} of [[{what}]]"));
            }
        }
        for table in &self.tables {
            let here = format!("table {:?}", table.name);
            if table.rows > MAX_ROWS {
                return Err(format!("{here}: rows is at most {MAX_ROWS}"));
            }
            if (table.rows > 0) != table.insert.is_some() {
                return Err(format!("{here}: rows and insert go together"));
            }
            let mut known: Vec<&str> = table.parameters.keys().map(String::as_str).collect();
            known.push("row");
            self.check_sources(&here, &table.parameters)?;
            if let Some(insert) = &table.insert {
                sql::check(&here, insert, &known)?;
            }
            sql::check(&here, &table.create, &[])?;
        }
        for transaction in &self.transactions {
            let here = format!("transaction {:?}", transaction.name);
            if self
                .names()
                .iter()
                .filter(|n| **n == transaction.name)
                .count()
                > 1
            {
                return Err(format!(
                    "{here} is there twice; give each a name of its own"
                ));
            }
            if transaction.weight == 0 {
                return Err(format!("{here}: weight is at least 1"));
            }
            self.check_sources(&here, &transaction.parameters)?;
            let known: Vec<&str> = transaction.parameters.keys().map(String::as_str).collect();
            sql::check(&here, &transaction.sql, &known)?;
        }
        for invariant in &self.invariants {
            sql::check("invariant", &invariant.sql, &[])?;
            for name in invariant.plus.keys() {
                if !self.names().contains(name) {
                    return Err(format!(
                        "invariant: plus names {name:?}, and there is no such transaction"
                    ));
                }
            }
        }
        Ok(())
    }

    fn check_sources(
        &self,
        here: &str,
        parameters: &BTreeMap<String, Source>,
    ) -> Result<(), String> {
        for (name, source) in parameters {
            source
                .check(|table| self.table(table).map(|table| table.rows))
                .map_err(|why| format!("{here}: parameter {name}: {why}"))?;
        }
        Ok(())
    }

    /// That every statement is said for a kind of database.
    ///
    /// # Errors
    /// A sentence that names the first that is not.
    pub(crate) fn runs_on(&self, dialect: Dialect) -> Result<(), String> {
        let tables = self.tables.iter().flat_map(|t| {
            std::iter::once(&t.create)
                .chain(&t.insert)
                .map(|x| (&t.name, x))
        });
        let transactions = self.transactions.iter().map(|t| (&t.name, &t.sql));
        for (name, text) in tables.chain(transactions) {
            if text.statements(dialect).is_none() {
                return Err(format!(
                    "the workload {} has no SQL of {name:?} for {}",
                    self.name,
                    dialect.name()
                ));
            }
        }
        Ok(())
    }

    /// Sets the skew of every zipfian choice.
    pub(crate) fn set_skew(&mut self, skew: f64) {
        let tables = self.tables.iter_mut().map(|t| &mut t.parameters);
        let transactions = self.transactions.iter_mut().map(|t| &mut t.parameters);
        for source in tables.chain(transactions).flat_map(|p| p.values_mut()) {
            source.set_skew(skew);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_the_documentation_is_a_workload() {
        let page = include_str!("../../../../docs/LABORATORY.md");
        let example = page.split("```toml\n").nth(1).unwrap();
        let workload = parse(example.split("```").next().unwrap()).unwrap();
        assert_eq!(workload.names(), ["deposit", "look"]);
    }

    #[test]
    fn what_is_wrong_is_named_with_its_place() {
        let base = r#"
name = "mine"
about = "A test."
[[table]]
name = "t"
create = "CREATE TABLE t (id INTEGER PRIMARY KEY)"
rows = 10
insert = "INSERT INTO t VALUES (:row)"
[[transaction]]
name = "touch"
parameters = { id = { uniform = "t" } }
sql = "UPDATE t SET id = :id WHERE id = :id"
"#;
        assert!(parse(base).is_ok());
        for (from, to, word) in [
            ("about", "abuot", "abuot"),
            ("weight", "weight", "mine"),
            ("{ uniform = \"t\" }", "{ uniform = \"u\" }", "\"u\""),
            ("{ uniform = \"t\" }", "{ normal = 1 }", "line "),
            (":id WHERE id = :id", ":id WHERE id = :ix", ":ix"),
            ("rows = 10\n", "", "rows and insert"),
            ("VALUES (:row)", "VALUES (:line)", ":line"),
        ] {
            match parse(&base.replace(from, to)) {
                Ok(workload) => assert_eq!(workload.name, word),
                Err(said) => {
                    assert!(said.contains(word), "{to}: {said}");
                    assert!(!said.contains('\n'), "{said}");
                }
            }
        }
    }
}
