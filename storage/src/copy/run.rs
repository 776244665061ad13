//! The order of a copy: names, rows, comparison, end.
//!
//! Called by `tools.rs`. Engines implement the two sides; `mod.rs` says what they promise.

use super::{
    Compared, CopySource, CopyTarget, OURS, Progress, Report, Rows, Summary, Table, Wanted,
};
use crate::{About, Error, FORGOTTEN, Fence, OpenError, Result, Value};

/// The columns that hold fences.
const FENCES: &[&str] = &["version", "fence", "turn"];

/// Copies everything. Dropped half-way, the target keeps its mark.
///
/// # Errors
/// [`Error::Open`] with the remedy.
pub async fn run(
    source: &dyn CopySource,
    target: &dyn CopyTarget,
    author: &[String],
    wanted: &Wanted,
    mut progress: impl FnMut(Progress<'_>),
) -> Result<Report> {
    let there = source.tables().await?;
    let named = match wanted {
        Wanted::All => there.clone(),
        Wanted::Named(names) => check_names(names, source).await?,
    };
    let left_out = |table: &String| !named.iter().any(|name| same_name(name, table));
    let left_out = there.into_iter().filter(left_out).collect();
    target.start(author, &named).await?;
    let mut tables = ours();
    for name in target.order(named).await? {
        tables.push(author_table(name, source, target).await?);
    }
    let mut total = 0;
    for table in &tables {
        total += source.count(&table.name).await?;
    }

    let mut last = source.last_fence().await?;
    let mut done = 0;
    for table in &tables {
        let mut batches = source.read(table);
        while let Some(rows) = batches.recv().await {
            let rows = rows?;
            done += rows.len() as u64;
            last = last.max(largest_fence(table, &rows));
            target.write(table, rows).await?;
            progress(Progress {
                comparing: false,
                table: &table.name,
                done,
                total,
            });
        }
    }
    if done != total {
        return Err(Error::Open(
            OpenError::new(format!("{done} of {total} rows could be read"))
                .remedy("run check on the database that is copied from"),
        ));
    }
    target.numbers(last, &tables).await?;

    let mut report = Report {
        tables: Vec::new(),
        left_out,
    };
    done = 0;
    for table in &tables {
        let compared = compare(source, target, table, |rows| {
            progress(Progress {
                comparing: true,
                table: &table.name,
                done: done + rows,
                total,
            });
        });
        let compared = compared.await?;
        done += compared.from.rows;
        report.tables.push(compared);
    }
    if !source.unchanged().await? {
        return Err(Error::open(
            "the database that is copied from changed meanwhile; stop everything that writes to it, then copy again"
                .to_owned(),
        ));
    }
    if report.same() {
        target.finish().await?;
    }
    Ok(report)
}

/// Of a table without any it is 0.
fn largest_fence(table: &Table, rows: &Rows) -> Fence {
    let is_fence = |column: &String| table.ours && FENCES.contains(&column.as_str());
    let Some(at) = table.columns.iter().position(is_fence) else {
        return Fence(0);
    };
    let fences = rows.iter().filter_map(|row| match row[at] {
        // A state that was forgotten has none.
        Value::Integer(fence) if fence as u64 & FORGOTTEN == 0 => Some(Fence(fence as u64)),
        _ => None,
    });
    fences.max().unwrap_or(Fence(0))
}

/// Reads a table on both sides at once; `each` hears how many rows of the source are
/// done.
async fn compare(
    source: &dyn CopySource,
    target: &dyn CopyTarget,
    table: &Table,
    mut each: impl FnMut(u64),
) -> Result<Compared> {
    let mut both = [Summary::default(), Summary::default()];
    let (mut from, mut to) = (source.read(table), target.read(table));
    while !both.iter().all(|side| side.ended) {
        let (side, rows) = tokio::select! {
            rows = from.recv(), if !both[0].ended => (0, rows),
            rows = to.recv(), if !both[1].ended => (1, rows),
        };
        both[side].add(rows.transpose()?);
        if side == 0 {
            each(both[0].rows);
        }
    }
    let [from, to] = both;
    Ok(Compared {
        table: table.name.clone(),
        from,
        to,
    })
}

fn ours() -> Vec<Table> {
    let table = |(name, columns, key): &(&str, &[&str], usize)| Table {
        name: (*name).to_owned(),
        columns: columns.iter().map(|c| (*c).to_owned()).collect(),
        key: *key,
        ours: true,
    };
    OURS.iter().map(table).collect()
}

/// Before anything is changed: a slip of the pen is no reason to mark the target.
async fn check_names(names: &[String], source: &dyn CopySource) -> Result<Vec<String>> {
    let mut checked: Vec<String> = Vec::new();
    for name in names {
        if name.to_ascii_lowercase().starts_with("turnkey_") {
            return Err(Error::Open(
                OpenError::new("tables of turnkey are copied by themselves")
                    .about(About::Table(name.clone()))
                    .remedy("name your own"),
            ));
        }
        if source.columns(name).await?.is_none() {
            return Err(Error::Open(
                OpenError::new("the database that is copied from has no such table")
                    .about(About::Table(name.clone()))
                    .remedy(format!(
                        "its own are: {}",
                        source.tables().await?.join(", ")
                    )),
            ));
        }
        if !checked.iter().any(|other| same_name(other, name)) {
            checked.push(name.clone());
        }
    }
    Ok(checked)
}

/// For SQLite they are one table, and the servers make them one where they are not told
/// otherwise.
fn same_name(a: &str, b: &str) -> bool {
    a.eq_ignore_ascii_case(b)
}

/// Both sides must have the table with the same columns, in whatever order.
async fn author_table(
    name: String,
    source: &dyn CopySource,
    target: &dyn CopyTarget,
) -> Result<Table> {
    let Some(columns) = source.columns(&name).await? else {
        return Err(Error::open(format!("the table {name} is gone")));
    };
    let Some(there) = target.columns(&name).await? else {
        return Err(Error::open(format!(
            "the target has no table {name}: run the copy command of your own bot, whose migrations make it, or make it by hand"
        )));
    };
    let sorted = |columns: &[String]| {
        let mut names: Vec<String> = columns.iter().map(|c| c.to_lowercase()).collect();
        names.sort_unstable();
        names
    };
    if sorted(&columns) != sorted(&there) {
        return Err(Error::Open(
            OpenError::new(format!(
                "the table {name} has the columns {} in the source and {} in the target",
                columns.join(", "),
                there.join(", ")
            ))
            .remedy("make them the same"),
        ));
    }
    Ok(Table {
        name,
        columns,
        key: 0,
        ours: false,
    })
}
