//! A process that works with the database is this binary again: the test [`child`] is its body.
//! Each has eight tasks; every call is done in one of the ways there are, and what was
//! acknowledged is printed.

use std::io::{BufRead, BufReader, Write as _};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use tokio::task::JoinSet;
use turnkey_storage::sqlite::{Opening, SharedDatabase};
use turnkey_storage::{Database, Error, Write};

const PATH: &str = "TURNKEY_TEST_PATH";

/// No process has the number of another.
const NUMBER: &str = "TURNKEY_TEST_NUMBER";

pub(crate) const ACCOUNTS: i64 = 20;

const TASKS: i64 = 8;

/// Nothing in the tables keeps an operation from being counted twice.
pub(crate) fn opening(path: &std::path::Path) -> Opening {
    Database::open(path).migration(format!(
        "CREATE TABLE account (id INTEGER PRIMARY KEY, balance INTEGER NOT NULL) STRICT;
         WITH RECURSIVE n(x) AS (SELECT 0 UNION ALL SELECT x + 1 FROM n WHERE x < {ACCOUNTS} - 1)
         INSERT INTO account SELECT x, 0 FROM n;
         CREATE TABLE done (operation TEXT NOT NULL, amount INTEGER NOT NULL) STRICT;
         CREATE INDEX done_operation ON done (operation);"
    ))
}

pub(crate) fn start(path: &std::path::Path, number: u64) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["processes::child", "--exact", "--nocapture"])
        .env(PATH, path)
        .env(NUMBER, number.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Not a test: the body of a process that a test starts, and kills.
#[test]
pub(crate) fn child() {
    let Some(path) = std::env::var_os(PATH).map(PathBuf::from) else {
        return;
    };
    let number: i64 = std::env::var(NUMBER).unwrap().parse().unwrap();
    crate::common::runtime().block_on(async {
        let database = Arc::new(opening(&path).await.unwrap());
        let mut tasks = JoinSet::new();
        for task in 0..TASKS {
            let database = database.clone();
            tasks.spawn(async move {
                for round in 0.. {
                    let operation = format!("{number}.{task}.{round}");
                    let from = (number * 7 + task * 3 + round) % ACCOUNTS;
                    let to = (from + 1 + round % (ACCOUNTS - 1)) % ACCOUNTS;
                    let amount = round % 50 + 1;
                    let way = (task + round) % 4;
                    if act(&database, way, &operation, (from, to, amount)).await {
                        let line = format!("ack {way} {operation}\n");
                        std::io::stdout().lock().write_all(line.as_bytes()).unwrap();
                    }
                }
            });
        }
        while let Some(ended) = tasks.join_next().await {
            ended.unwrap();
        }
    });
}

/// A program that takes the write lock when it is told to, and keeps it.
pub(crate) struct Stranger {
    child: Child,
}

pub(crate) fn start_holding(path: &std::path::Path) -> Stranger {
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["processes::stranger", "--exact", "--nocapture"])
        .env(PATH, path)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    Stranger { child }
}

impl Stranger {
    /// Its process's number, once it has the lock.
    pub(crate) fn hold(&mut self) -> u32 {
        self.child
            .stdin
            .as_mut()
            .unwrap()
            .write_all(b"hold\n")
            .unwrap();
        let output = self.child.stdout.as_mut().unwrap();
        let mut lines = BufReader::new(output).lines();
        assert!(lines.any(|line| line.unwrap().contains("held")), "it ended");
        self.child.id()
    }

    pub(crate) fn end(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// Not a test: the body of [`Stranger`].
#[test]
pub(crate) fn stranger() {
    let Some(path) = std::env::var_os(PATH) else {
        return;
    };
    std::io::stdin().read_line(&mut String::new()).unwrap();
    let conn = rusqlite::Connection::open(path).unwrap();
    conn.execute_batch("BEGIN IMMEDIATE").unwrap();
    println!("\nheld");
    std::io::stdin().read_line(&mut String::new()).unwrap();
}

/// Moves an amount; whether that was acknowledged.
async fn act(
    database: &SharedDatabase,
    way: i64,
    operation: &str,
    (from, to, amount): (i64, i64, i64),
) -> bool {
    const TAKE: &str = "UPDATE account SET balance = balance - ?2 WHERE id = ?1";
    const GIVE: &str = "UPDATE account SET balance = balance + ?2 WHERE id = ?1";
    const NOTE: &str = "INSERT INTO done VALUES (?1, ?2)";
    let write = Write::new()
        .run(TAKE, (from, amount))
        .expect(1)
        .run(GIVE, (to, amount))
        .expect(1)
        .run(NOTE, (operation, amount));
    let outcome = match way {
        0 => {
            let moved = database.transaction(async |tx| {
                let sql = "SELECT balance FROM account WHERE id = ?1";
                let found = tx.run(sql, from).await?;
                let balance: i64 = found.rows[0].get("balance")?;
                let set = "UPDATE account SET balance = ?2 WHERE id = ?1";
                tx.expect(1, set, (from, balance - amount)).await?;
                tx.expect(1, GIVE, (to, amount)).await?;
                tx.run(NOTE, (operation, amount)).await?;
                Ok(())
            });
            moved.await
        }
        1 => database.write(write).await.map(drop),
        // Sent twice, as by a caller who got no answer.
        2 => {
            let write = write.key(operation);
            let both = tokio::join!(database.write(write.clone()), database.write(write));
            both.0.and(both.1).map(drop)
        }
        _ => database.write(write.key(operation)).await.map(drop),
    };
    match outcome {
        Ok(()) => true,
        // Only what nobody can send again may be unknown.
        Err(Error::Unavailable(_)) if way == 1 => false,
        // On a machine that stands still for ten seconds.
        Err(Error::Busy(_)) if way == 0 => false,
        Err(error) => panic!("{operation}, way {way}: {error}"),
    }
}
