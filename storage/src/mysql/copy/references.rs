//! Foreign keys of the tables that are copied, and whether they hold.
//!
//! Used by `mod.rs` only: rows are written while the server does not look at foreign keys.

use mysql_async::Row;

use super::super::conn::{Columns, Conn, Tried};
use super::super::literal::Sql;
use super::rows::quoted;

/// A foreign key.
pub(super) struct Reference {
    pub(super) child: String,
    pub(super) parent: String,
    parent_schema: String,
    /// Of the child, and what they refer to.
    columns: Vec<(String, String)>,
}

impl Reference {
    /// The question how many rows refer to none.
    pub(super) fn broken(&self) -> String {
        let pairs = || self.columns.iter().map(|(c, p)| (quoted(c), quoted(p)));
        let joined: Vec<String> = pairs().map(|(c, p)| format!("c.{c}=p.{p}")).collect();
        let there: Vec<String> = pairs().map(|(c, _)| format!("c.{c} IS NOT NULL")).collect();
        let gone: Vec<String> = pairs().map(|(_, p)| format!("p.{p} IS NULL")).collect();
        format!(
            "SELECT COUNT(*) FROM {} c LEFT JOIN {}.{} p ON {} WHERE {} AND {}",
            quoted(&self.child),
            quoted(&self.parent_schema),
            quoted(&self.parent),
            joined.join(" AND "),
            there.join(" AND "),
            gone.join(" AND "),
        )
    }
}

/// Every foreign key of one of these tables, or to one of them.
pub(super) async fn references(conn: &mut Conn, tables: &[String]) -> Tried<Vec<Reference>> {
    let ask = "SELECT CONSTRAINT_NAME,TABLE_NAME,REFERENCED_TABLE_SCHEMA,REFERENCED_TABLE_NAME,\
               COLUMN_NAME,REFERENCED_COLUMN_NAME FROM information_schema.KEY_COLUMN_USAGE \
               WHERE TABLE_SCHEMA=DATABASE() AND REFERENCED_TABLE_NAME IS NOT NULL \
               ORDER BY TABLE_NAME,CONSTRAINT_NAME,ORDINAL_POSITION";
    let mut references: Vec<(String, Reference)> = Vec::new();
    for answer in conn.run(&Sql::new(ask)).await? {
        for mut row in answer.rows {
            let row: &mut Row = &mut row;
            let (name, child) = (row.text(0)?, row.text(1)?);
            let pair = (row.text(4)?, row.text(5)?);
            match references.last_mut() {
                Some((last, reference)) if *last == name && reference.child == child => {
                    reference.columns.push(pair);
                }
                _ => references.push((
                    name,
                    Reference {
                        child,
                        parent_schema: row.text(2)?,
                        parent: row.text(3)?,
                        columns: vec![pair],
                    },
                )),
            }
        }
    }
    let named = |table: &String| tables.iter().any(|t| t.eq_ignore_ascii_case(table));
    let references = references.into_iter().map(|(_, reference)| reference);
    Ok(references
        .filter(|r| named(&r.child) || named(&r.parent))
        .collect())
}
