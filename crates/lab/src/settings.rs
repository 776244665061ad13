//! Settings of one's own: `--pragma page_size=1024,4096` and `-c work_mem=4MB,64MB`, and the
//! matrix that several of them make.
//!
//! Made by `plan.rs`. A pragma that SQLite does not take as it was written is refused
//! before the first run: SQLite itself ignores it without a word. Bounds: [`MAX_COMBINATIONS`].

use std::collections::BTreeMap;

use rusqlite::Connection;

use crate::error::Error;

/// Of one kind of engine.
pub(crate) const MAX_COMBINATIONS: usize = 64;

/// A setting with the values to try, the first of which the others are compared with.
pub(crate) type Choice = (String, Vec<String>);

/// Pragmas that belong to other options, and which.
const OTHERS: [(&str, &str); 2] = [
    ("synchronous", "--sync says what a commit survives"),
    ("busy_timeout", "every engine here waits 5 s"),
];

/// Pragmas that Turnkey's writer keeps to itself.
const WRITERS: [&str; 8] = [
    "busy_timeout",
    "foreign_keys",
    "journal_mode",
    "journal_size_limit",
    "locking_mode",
    "query_only",
    "synchronous",
    "wal_autocheckpoint",
];

/// Whether Turnkey's own engine for SQLite can have a pragma as it is set.
pub(crate) fn is_for_our_writer(name: &str) -> bool {
    !WRITERS.contains(&name)
}

/// `name=value,value` of an option, several of which may be about the same name.
pub(crate) fn choices(flag: &str, given: &[String]) -> crate::error::Result<Vec<Choice>> {
    let mut choices: Vec<Choice> = Vec::new();
    for text in given {
        let refuse = |why: &str| {
            Err(Error::Start(format!(
                "{flag} {text}: {why}; write {flag} NAME=VALUE, or NAME=VALUE,VALUE to compare values"
            )))
        };
        let Some((name, values)) = text.split_once('=') else {
            return refuse("there is no =");
        };
        let name = name.trim().to_ascii_lowercase();
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '.';
        if name.is_empty() || !name.chars().all(is_name) {
            return refuse("a name is letters, digits and _");
        }
        let is_value = |c: char| c.is_ascii_alphanumeric() || "_-+.%/ ".contains(c);
        for value in values.split(',').map(str::trim) {
            if value.is_empty() || !value.chars().all(is_value) {
                return refuse("a value is missing, or has a character that no value has");
            }
            let value = value.to_owned();
            match choices.iter_mut().find(|(known, _)| *known == name) {
                Some((_, values)) if values.contains(&value) => {}
                Some((_, values)) => values.push(value),
                None => choices.push((name.clone(), vec![value])),
            }
        }
    }
    if combinations(&choices, |_| true).len() > MAX_COMBINATIONS {
        return Err(Error::Start(format!(
            "{flag}: these lists make more than {MAX_COMBINATIONS} combinations; shorten one of them"
        )));
    }
    Ok(choices)
}

/// Every combination of those that an engine can have; one without any if there are none.
pub(crate) fn combinations(
    choices: &[Choice],
    has: impl Fn(&str) -> bool,
) -> Vec<BTreeMap<String, String>> {
    let mut all = vec![BTreeMap::new()];
    for (name, values) in choices.iter().filter(|(name, _)| has(name)) {
        all = all
            .iter()
            .flat_map(|one| {
                values.iter().map(move |value| {
                    let mut more: BTreeMap<String, String> = one.clone();
                    more.insert(name.clone(), value.clone());
                    more
                })
            })
            .take(MAX_COMBINATIONS + 1)
            .collect();
    }
    all
}

/// That SQLite takes these pragmas as they were written.
///
/// # Errors
/// A sentence that names the one that it does not.
pub(crate) fn check_pragmas(choices: &[Choice]) -> crate::error::Result<()> {
    let directory = tempfile::tempdir()?;
    for (name, values) in choices {
        if let Some((_, why)) = OTHERS.iter().find(|(other, _)| other == name) {
            return Err(Error::Start(format!(
                "--pragma {name}: {why}; leave it out"
            )));
        }
        for value in values {
            let path = directory.path().join("try.db");
            drop(std::fs::remove_file(&path));
            let conn = Connection::open(&path)?;
            let before = read(&conn, name)?.ok_or_else(|| {
                Error::Start(format!(
                    "--pragma {name}: SQLite {} has no pragma of this name that can be read back",
                    rusqlite::version()
                ))
            })?;
            set(&conn, name, value)?;
            let after = read(&conn, name)?.unwrap_or_default();
            if !is_same(value, &after) && before == after {
                return Err(Error::Start(format!(
                    "--pragma {name}={value}: SQLite does not take this value and keeps {after}"
                )));
            }
        }
    }
    Ok(())
}

/// Words and numbers for the same: a pragma answers with numbers.
fn is_same(wanted: &str, found: &str) -> bool {
    let number = |text: &str| match text.to_ascii_lowercase().as_str() {
        "on" | "yes" | "true" => Some(1),
        "off" | "no" | "false" | "default" => Some(0),
        other => other.parse::<i64>().ok(),
    };
    wanted.eq_ignore_ascii_case(found) || number(wanted).is_some_and(|n| number(found) == Some(n))
        // Named levels, such as temp_store=memory, are read as their numbers.
        || number(wanted).is_none() && found.parse::<i64>().is_ok()
}

/// Sets one; what it answers is not looked at.
pub(crate) fn set(conn: &Connection, name: &str, value: &str) -> rusqlite::Result<()> {
    conn.prepare(&format!("PRAGMA {name} = {value}"))?
        .query([])?
        .next()
        .map(drop)
}

/// It belongs to the file, and counts only before that has a page.
pub(crate) fn is_of_file(name: &str) -> bool {
    matches!(name, "page_size" | "auto_vacuum" | "encoding")
}

fn read(conn: &Connection, name: &str) -> rusqlite::Result<Option<String>> {
    let mut statement = conn.prepare(&format!("PRAGMA {name}"))?;
    if statement.column_count() == 0 {
        return Ok(None);
    }
    let mut rows = statement.query([])?;
    let Some(row) = rows.next()? else {
        return Ok(None);
    };
    Ok(Some(match row.get_ref(0)? {
        rusqlite::types::ValueRef::Integer(number) => number.to_string(),
        rusqlite::types::ValueRef::Real(number) => number.to_string(),
        rusqlite::types::ValueRef::Text(text) => String::from_utf8_lossy(text).into_owned(),
        _ => return Ok(None),
    }))
}

/// Pragmas that do something when they are read, or list what is in the file.
const NOT_SETTINGS: [&str; 12] = [
    "data_version",
    "freelist_count",
    "incremental_vacuum",
    "integrity_check",
    "optimize",
    "page_count",
    "quick_check",
    "schema_version",
    "shrink_memory",
    "user_version",
    "wal_checkpoint",
    "foreign_key_check",
];

/// Every pragma of one value that a connection has.
pub(crate) fn in_force(conn: &Connection) -> rusqlite::Result<BTreeMap<String, String>> {
    let names = conn
        .prepare("SELECT name FROM pragma_pragma_list")?
        .query_map([], |row| row.get(0))?
        .collect::<Result<Vec<String>, _>>()?;
    let mut found = BTreeMap::new();
    for name in names {
        let lists = name.ends_with("_list") || name.ends_with("_info") || name.ends_with("_xinfo");
        if lists || NOT_SETTINGS.contains(&name.as_str()) || name == "compile_options" {
            continue;
        }
        if let Ok(Some(value)) = read(conn, &name) {
            found.insert(name, value);
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(texts: &[&str]) -> crate::error::Result<Vec<Choice>> {
        let texts: Vec<String> = texts.iter().map(|&text| text.to_owned()).collect();
        choices("--pragma", &texts)
    }

    #[test]
    fn lists_make_a_matrix_of_what_an_engine_can_have() {
        let choices =
            given(&["page_size=1024, 4096", "Cache_Size=-2000", "page_size=4096"]).unwrap();
        assert_eq!(choices[0].1, ["1024", "4096"]);
        let all = combinations(&choices, |_| true);
        assert_eq!(all.len(), 2);
        assert_eq!(all[1]["page_size"], "4096");
        assert_eq!(all[1]["cache_size"], "-2000");
        assert_eq!(combinations(&choices, |_| false), [BTreeMap::new()]);
        let many: Vec<String> = (0..9).map(|n| format!("p{n}=1,2")).collect();
        assert!(super::choices("--pragma", &many).is_err());
    }

    #[test]
    fn what_sqlite_would_ignore_is_refused() {
        for (text, word) in [
            ("page_size", "there is no ="),
            ("page_size=", "a value is missing"),
            ("page size=1", "a name is"),
            ("cache_size=1;DROP", "character"),
        ] {
            let said = given(&[text]).unwrap_err().to_string();
            assert!(said.contains(word), "{text}: {said}");
        }
        let check = |text: &str| check_pragmas(&given(&[text]).unwrap());
        for (text, word) in [
            ("page_size=1000", "keeps 4096"),
            ("pagesize=1024", "no pragma of this name"),
            ("synchronous=off", "--sync"),
        ] {
            let said = check(text).unwrap_err().to_string();
            assert!(said.contains(word), "{text}: {said}");
        }
        for text in [
            "page_size=1024,4096,65536",
            "wal_autocheckpoint=1000,0",
            "cache_size=-2000",
            "mmap_size=0,268435456",
            "temp_store=memory",
            "journal_mode=wal,delete",
            "secure_delete=on,off,fast",
        ] {
            check(text).unwrap_or_else(|e| panic!("{text}: {e}"));
        }
    }

    #[test]
    fn a_connection_tells_all_its_settings() {
        let conn = Connection::open_in_memory().unwrap();
        let found = in_force(&conn).unwrap();
        for name in ["page_size", "cache_size", "synchronous", "foreign_keys"] {
            assert!(found.contains_key(name), "{found:?}");
        }
        assert!(!found.contains_key("integrity_check"));
    }
}
