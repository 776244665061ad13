//! Statements for each kind of database: `:name` becomes what its driver wants.
//!
//! Used by `mod.rs` to check a file and by `engines/sql/` to run it. Names in quotes and
//! in comments are left alone, as is PostgreSQL's `::`.

use super::Text;

/// A kind of database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    Sqlite,
    Postgres,
    Mysql,
}

impl Dialect {
    /// As a file names it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Dialect::Sqlite => "sqlite",
            Dialect::Postgres => "postgres",
            Dialect::Mysql => "mysql",
        }
    }
}

/// A statement as a driver takes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Prepared {
    pub(crate) sql: String,
    /// The names of its parameters, in the order in which they are given.
    pub(crate) names: Vec<String>,
    /// It asks for rows.
    pub(crate) reads: bool,
}

impl Prepared {
    pub(crate) fn new(text: &str, dialect: Dialect) -> Self {
        let mut names: Vec<String> = Vec::new();
        let sql = translate(text, |name| match dialect {
            // Each place has its own value.
            Dialect::Mysql => {
                names.push(name.to_owned());
                "?".to_owned()
            }
            _ => {
                let known = names.iter().position(|known| known == name);
                let place = known.unwrap_or_else(|| {
                    names.push(name.to_owned());
                    names.len() - 1
                });
                let mark = if dialect == Dialect::Postgres {
                    '$'
                } else {
                    '?'
                };
                format!("{mark}{}", place + 1)
            }
        });
        let first = sql
            .trim_start()
            .get(..6)
            .unwrap_or_default()
            .to_ascii_lowercase();
        // What is selected for a variable of the session has no rows.
        let reads = first == "select" && !sql.to_ascii_lowercase().contains(" into @");
        Prepared { sql, names, reads }
    }
}

/// That every parameter of a text is known.
pub(super) fn check(here: &str, text: &Text, known: &[&str]) -> Result<(), String> {
    for dialect in [Dialect::Sqlite, Dialect::Postgres, Dialect::Mysql] {
        for sql in text.statements(dialect).unwrap_or_default() {
            if sql.trim().is_empty() {
                return Err(format!("{here}: an empty statement"));
            }
            let unknown = Prepared::new(&sql, dialect)
                .names
                .into_iter()
                .find(|name| !known.contains(&name.as_str()));
            if let Some(name) = unknown {
                return Err(format!(
                    "{here}: the SQL has :{name}, which is none of its parameters ({})",
                    if known.is_empty() {
                        "it has none".to_owned()
                    } else {
                        known.join(", ")
                    }
                ));
            }
        }
    }
    Ok(())
}

/// The text with each `:name` replaced.
fn translate(text: &str, mut parameter: impl FnMut(&str) -> String) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let taken = match c {
            '\'' | '"' | '`' => quoted(rest, c),
            '-' if rest.starts_with("--") => rest.find('\n').unwrap_or(rest.len()),
            ':' if rest.starts_with("::") => 2,
            ':' => {
                let name = &rest[1..];
                let end = name
                    .find(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
                    .unwrap_or(name.len());
                if end > 0 && name.starts_with(|c: char| c.is_ascii_alphabetic()) {
                    out.push_str(&parameter(&name[..end]));
                    rest = &name[end..];
                    continue;
                }
                1
            }
            c => c.len_utf8(),
        };
        out.push_str(&rest[..taken]);
        rest = &rest[taken..];
    }
    out
}

/// The length of what begins with a quote.
fn quoted(text: &str, quote: char) -> usize {
    text[1..].find(quote).map_or(text.len(), |end| end + 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_become_what_each_driver_takes() {
        let text = "UPDATE t SET a = a + :n, b = ':n' WHERE id = :id AND a < :n::int -- :no";
        let of = |dialect| Prepared::new(text, dialect);
        let sqlite = of(Dialect::Sqlite);
        assert_eq!(
            sqlite.sql,
            "UPDATE t SET a = a + ?1, b = ':n' WHERE id = ?2 AND a < ?1::int -- :no"
        );
        assert_eq!(sqlite.names, ["n", "id"]);
        assert!(of(Dialect::Postgres).sql.contains("a < $1::int"));
        assert_eq!(of(Dialect::Mysql).names, ["n", "id", "n"]);
        assert!(!sqlite.reads);
        let reads = |sql| Prepared::new(sql, Dialect::Mysql).reads;
        assert!(reads(" select 1"));
        assert!(!reads("SELECT id INTO @id FROM job"));
        assert!(!reads("x"));
    }
}
