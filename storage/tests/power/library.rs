//! What is recorded of a shared database, what was promised, and whether an image holds it.
//!
//! The session moves amounts between accounts, in each of the ways there are; in the middle the
//! writer leaves and another goes on. Every operation has a key, and an image is asked for all of
//! them again: none may take effect twice.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::task::JoinSet;
use turnkey_storage::sqlite::{SharedDatabase, check};
use turnkey_storage::{Database, Write};

use crate::common::{runtime, until};
use crate::cuts::Promises;
use crate::disk::Random;
use crate::promised::Verdict;
use crate::session::Marks;

/// The name of [`runs`].
pub(crate) const TEST: &str = "library::runs";

const ACCOUNTS: u64 = 10;

/// Operations of a session.
const OPERATIONS: u64 = 3000;

/// Not a test: the body of a process that is recorded.
#[test]
fn runs() {
    let Some(directory) = std::env::var_os("POWER_DIR").map(PathBuf::from) else {
        return;
    };
    let seed: u64 = std::env::var("POWER_SEED").unwrap().parse().unwrap();
    let marks = Arc::new(Marks::open(&directory));
    runtime().block_on(async {
        let path = directory.join("bot.db");
        let (first, second) = (open(&path).await, open(&path).await);
        let count = Arc::new(AtomicU64::new(0));
        let mut tasks = JoinSet::new();
        for task in 0..16 {
            let (database, marks, count) = (second.clone(), marks.clone(), count.clone());
            let mut random = Random(seed << 8 | task);
            tasks.spawn(async move {
                while count.fetch_add(1, Ordering::Relaxed) < OPERATIONS {
                    let operation = random.next() >> 16;
                    marks.say(&format!("asked {operation}"));
                    act(&database, operation).await;
                    marks.say(&format!("did {operation}"));
                }
            });
        }
        until("half of it is done", async || {
            count.load(Ordering::Relaxed) > OPERATIONS / 2
        })
        .await;
        first.close().await;
        tasks.join_all().await;
        second.close().await;
    });
}

async fn open(path: &Path) -> SharedDatabase {
    let tables = format!(
        "CREATE TABLE account (id INTEGER PRIMARY KEY, balance INTEGER NOT NULL) STRICT;
         WITH RECURSIVE n(x) AS (SELECT 0 UNION ALL SELECT x + 1 FROM n WHERE x < {ACCOUNTS} - 1)
         INSERT INTO account SELECT x, 0 FROM n;
         CREATE TABLE done (operation INTEGER NOT NULL, body BLOB NOT NULL) STRICT;"
    );
    Database::open(path).migration(tables).await.unwrap()
}

const MOVE: &str = "UPDATE account SET balance = balance + ?2 WHERE id = ?1";

const NOTE: &str = "INSERT INTO done VALUES (?1, zeroblob(?2))";

/// An operation's number says what it is: from whom, to whom, how much, the bytes of its note.
fn parts(operation: u64) -> (u64, u64, i64, u64) {
    let (from, to) = (operation % ACCOUNTS, (operation / 16) % ACCOUNTS);
    (from, to, (operation % 1000) as i64, operation % 20_000)
}

fn is_interactive(operation: u64) -> bool {
    operation.is_multiple_of(4)
}

async fn act(database: &SharedDatabase, operation: u64) {
    if !is_interactive(operation) {
        database.write(keyed(operation)).await.unwrap();
        return;
    }
    let (from, to, amount, size) = parts(operation);
    let moved = database.transaction(|tx| async move {
        tx.expect(1, MOVE, (from, -amount)).await?;
        tx.expect(1, MOVE, (to, amount)).await?;
        tx.run(NOTE, (operation, size)).await
    });
    moved.await.unwrap();
}

fn keyed(operation: u64) -> Write {
    let (from, to, amount, size) = parts(operation);
    Write::new()
        .run(MOVE, (from, -amount))
        .expect(1)
        .run(MOVE, (to, amount))
        .expect(1)
        .run(NOTE, (operation, size))
        .key(operation.to_string())
}

#[derive(Clone, Default)]
pub(crate) struct Promised {
    asked: BTreeSet<u64>,
    did: BTreeSet<u64>,
}

impl Promises for Promised {
    fn take(&mut self, mark: &str) {
        let (word, operation) = mark.split_once(' ').unwrap();
        let operation = operation.parse().unwrap();
        match word {
            "asked" => self.asked.insert(operation),
            _ => self.did.insert(operation),
        };
    }

    fn judge(&self, directory: &Path, goes_on: bool) -> Verdict {
        let mut verdict = Verdict::default();
        let path = directory.join("bot.db");
        runtime().block_on(async {
            let database = open(&path).await;
            self.look(&database, &mut verdict).await;
            if goes_on {
                let with_key = self.asked.iter().filter(|n| !is_interactive(**n));
                for operation in with_key {
                    database.write(keyed(*operation)).await.unwrap();
                }
                self.look(&database, &mut verdict).await;
            }
            database.close().await;
            let findings = check(&path).await.unwrap();
            verdict
                .wrong
                .extend(findings.into_iter().map(|finding| finding.problem));
        });
        verdict
    }
}

impl Promised {
    async fn look(&self, database: &SharedDatabase, verdict: &mut Verdict) {
        let (done, sum) = database
            .read(|conn| {
                let done: Vec<u64> = conn
                    .prepare("SELECT operation FROM done")?
                    .query_map([], |row| row.get::<_, i64>(0).map(|n| n as u64))?
                    .collect::<Result<_, _>>()?;
                let sum = "SELECT sum(balance) FROM account";
                let sum: i64 = conn.query_row(sum, [], |row| row.get(0))?;
                Ok((done, sum))
            })
            .await
            .unwrap();
        let once: BTreeSet<u64> = done.iter().copied().collect();
        if once.len() != done.len() {
            verdict
                .wrong
                .push("an operation took effect twice".to_owned());
        }
        if sum != 0 {
            verdict.wrong.push(format!("the sum is {sum}"));
        }
        if !once.is_subset(&self.asked) {
            verdict
                .wrong
                .push("an operation that nobody asked for".to_owned());
        }
        verdict.lost += self.did.difference(&once).count() as u64;
    }
}
