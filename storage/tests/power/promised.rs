//! What a bot was promised by the moment of a cut, and whether an image holds it.
//!
//! [`Promised`] follows the marks of `session.rs`; [`judge`] looks into an image as the next
//! start of the bot would: it prepares the file, checks it, and reads everything.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fs;
use std::path::Path;

use rusqlite::{Connection, OpenFlags};
use turnkey_storage::Sync;
use turnkey_storage::sqlite::{Files, check, is_current, prepare};

use crate::common::runtime;
use crate::cuts::Promises;
use crate::session::{USERS, goes_on, has_relay, has_reply, has_statement, migrations, turns_of};

/// What was acknowledged, and what was asked for and may be there.
#[derive(Clone, Debug, Default)]
pub(crate) struct Contents {
    /// By user: turns that were acknowledged.
    done: BTreeMap<u64, u64>,
    /// By user: turns that were begun.
    tried: BTreeMap<u64, u64>,
    /// Replies whose mark was acknowledged: user and turn.
    sent: BTreeSet<(u64, u64)>,
    /// Those of which it was asked for.
    sending: BTreeSet<(u64, u64)>,
    plain: BTreeSet<i64>,
}

/// A backup: what it must hold and what it may.
#[derive(Clone, Debug)]
struct Backup {
    name: String,
    least: Contents,
    most: Option<Contents>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Promised {
    now: Contents,
    backups: Vec<Backup>,
    /// The author's migrations: those that were acknowledged, and asked for.
    migrated: usize,
    migrating: usize,
    /// The backup that is being restored.
    restoring: Option<String>,
    /// What was in the databases that were kept beside a restored one, oldest first.
    replaced: Vec<Contents>,
}

impl Promises for Promised {
    fn judge(&self, directory: &Path, goes_on: bool) -> Verdict {
        judge(directory, self, goes_on)
    }

    fn take(&mut self, mark: &str) {
        let words: Vec<&str> = mark.split(' ').collect();
        let number = |at: usize| words[at].parse::<u64>().unwrap();
        let raise = |of: &mut BTreeMap<u64, u64>| {
            let highest = of.entry(number(1)).or_default();
            *highest = number(2).max(*highest);
        };
        match words[0] {
            "try" => raise(&mut self.now.tried),
            "done" => raise(&mut self.now.done),
            "sending" => drop(self.now.sending.insert((number(1), number(2)))),
            "sent" => drop(self.now.sent.insert((number(1), number(2)))),
            "plain" => drop(self.now.plain.insert(number(1) as i64)),
            "migrating" => self.migrating = number(1) as usize,
            "migrated" => self.migrated = number(1) as usize,
            "backing" => self.backups.push(Backup {
                name: words[1].to_owned(),
                least: self.now.clone(),
                most: None,
            }),
            "backed" => {
                let backup = self.backups.last_mut().unwrap();
                backup.most = Some(self.now.clone());
            }
            "restoring" => self.restoring = Some(words[1].to_owned()),
            "restored" => {
                let name = self.restoring.take().unwrap();
                let backup = self.backups.iter().find(|b| b.name == name).unwrap();
                self.replaced.push(std::mem::take(&mut self.now));
                self.now = Contents {
                    tried: backup.most.clone().unwrap().tried,
                    sending: backup.most.clone().unwrap().sending,
                    ..backup.least.clone()
                };
                // It was made before the last one.
                self.migrated -= 1;
            }
            other => panic!("a mark that nobody knows: {other}"),
        }
    }
}

/// What an image turned out to be.
#[derive(Debug, Default)]
pub(crate) struct Verdict {
    /// Promises that it does not keep.
    pub(crate) lost: u64,
    /// What no loss explains: damage, halves of a turn, things that nobody asked for.
    pub(crate) wrong: Vec<String>,
}

/// Looks into an image. `goes_on`: a turn is tried, too.
fn judge(directory: &Path, promised: &Promised, on: bool) -> Verdict {
    let mut verdict = Verdict::default();
    let database = directory.join("bot.db");
    let list = migrations(promised.migrating);
    if !promised.now.done.is_empty() && !database.exists() {
        verdict.wrong.push("the database is gone".to_owned());
        return verdict;
    }
    let whole = migrations(promised.migrated);
    let restoring = promised.restoring.is_some();
    if promised.migrated == promised.migrating
        && promised.migrated > 0
        && !restoring
        && !is_current(&database, &whole).unwrap_or(false)
    {
        verdict.lost += 1;
    }
    let files = Files::of(&database);
    let lock = files.lock().unwrap();
    if let Err(error) = prepare(&database, Sync::Full, &list) {
        verdict
            .wrong
            .push(format!("it cannot be prepared: {error}"));
        return verdict;
    }
    drop(lock);
    match runtime().block_on(check(&database)) {
        Ok(findings) => {
            // Locks that were held when the power failed: the next start frees them.
            let problems = findings.into_iter().map(|finding| finding.problem);
            let problems = problems.filter(|problem| !problem.contains("lock rows were left"));
            verdict.wrong.extend(problems);
        }
        Err(error) => verdict.wrong.push(format!("it cannot be checked: {error}")),
    }
    let live = look(&database, &promised.now, &promised.now);
    let live = match &promised.restoring {
        // The old one or the new one, whole.
        Some(name) if !live.is_well() => {
            let backup = promised.backups.iter().find(|b| b.name == *name).unwrap();
            look(&database, &backup.least, backup.most.as_ref().unwrap())
        }
        _ => live,
    };
    verdict.add("the database", live);
    for backup in &promised.backups {
        let path = directory.join(&backup.name);
        if path.exists() {
            let most = backup.most.as_ref().unwrap_or(&promised.now);
            verdict.add(&backup.name, look(&path, &backup.least, most));
        } else if backup.most.is_some() {
            verdict.lost += 1;
        }
    }
    let kept = kept_beside(directory);
    verdict.lost += promised.replaced.len().saturating_sub(kept.len()) as u64;
    for (name, contents) in kept.iter().zip(&promised.replaced) {
        verdict.add(name, look(&directory.join(name), contents, contents));
    }
    if on && verdict.wrong.is_empty() {
        goes_on(&database, &list);
    }
    verdict
}

/// Databases in whose place another one was restored, oldest first.
fn kept_beside(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut kept: Vec<String> = names
        .filter(|name| name.starts_with("bot.db-before-restore-") && !name.ends_with("-shm"))
        .collect();
    kept.sort_unstable();
    kept
}

impl Verdict {
    pub(crate) fn is_well(&self) -> bool {
        self.lost == 0 && self.wrong.is_empty()
    }

    fn add(&mut self, of: &str, other: Verdict) {
        self.lost += other.lost;
        let wrong = other
            .wrong
            .into_iter()
            .map(|wrong| format!("{of}: {wrong}"));
        self.wrong.extend(wrong);
    }
}

/// Reads everything in a file: it holds at least the one, and at most the other.
fn look(path: &Path, least: &Contents, most: &Contents) -> Verdict {
    let mut verdict = Verdict::default();
    if let Err(error) = try_to_look(path, least, most, &mut verdict) {
        verdict.wrong.push(error.to_string());
    }
    verdict
}

fn try_to_look(
    path: &Path,
    least: &Contents,
    most: &Contents,
    verdict: &mut Verdict,
) -> rusqlite::Result<()> {
    let conn = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    let found: String = conn.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))?;
    if found != "ok" {
        verdict.wrong.push(found);
        return Ok(());
    }
    let texts = |sql: &str| -> rusqlite::Result<HashSet<String>> {
        conn.prepare(sql)?
            .query_map([], |row| row.get(0))?
            .collect()
    };
    let states: BTreeMap<String, String> = conn
        .prepare("SELECT user_id, state FROM turnkey_dialog")?
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<rusqlite::Result<_>>()?;
    let seen = texts("SELECT id FROM turnkey_seen WHERE id <> 'after'")?;
    let ledger = texts("SELECT id FROM ledger")?;
    let inbox = texts("SELECT id FROM turnkey_inbox")?;
    let outbox = texts("SELECT body FROM turnkey_outbox")?;
    let plain: HashSet<i64> = conn
        .prepare("SELECT n FROM plain")?
        .query_map([], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    verdict.lost += least.plain.iter().filter(|n| !plain.contains(n)).count() as u64;
    let mut expected = [const { Vec::new() }; 3];
    let mut replies = 0;
    for user in 0..USERS {
        let turns = states
            .get(&format!("user{user}"))
            .map_or(0, |s| turns_of(s));
        let of = |map: &BTreeMap<u64, u64>| map.get(&user).copied().unwrap_or(0);
        verdict.lost += of(&least.done).saturating_sub(turns);
        if turns > of(&most.tried) {
            let wrong = format!(
                "user {user} has {turns} turns, {} were begun",
                of(&most.tried)
            );
            verdict.wrong.push(wrong);
        }
        for turn in 1..=turns {
            let id = format!("{user}.{turn}");
            if has_reply(turn) {
                let place = (user, turn);
                match outbox.contains(&id) {
                    true if least.sent.contains(&place) => verdict.lost += 1,
                    true => {}
                    false if most.sending.contains(&place) => {}
                    false => verdict.wrong.push(format!("reply {id} is gone")),
                }
                replies += usize::from(outbox.contains(&id));
            }
            if has_statement(turn) {
                expected[1].push(id.clone());
            }
            if has_relay(turn) {
                expected[2].push(format!("relayed {id}"));
            }
            expected[0].push(id);
        }
    }
    for (name, found, expected) in [
        ("update ids", &seen, &expected[0]),
        ("ledger", &ledger, &expected[1]),
        ("inbox", &inbox, &expected[2]),
    ] {
        let missing = expected.iter().find(|id| !found.contains(*id));
        if let Some(missing) = missing {
            verdict.wrong.push(format!("{name}: {missing} is missing"));
        } else if found.len() != expected.len() {
            let (found, expected) = (found.len(), expected.len());
            verdict
                .wrong
                .push(format!("{name}: {found} rows instead of {expected}"));
        }
    }
    if replies != outbox.len() {
        verdict
            .wrong
            .push("a reply that no turn has made".to_owned());
    }
    Ok(())
}
