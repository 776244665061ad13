//! What is recorded: a bot's life, in one process. It says what it was promised, in order.
//!
//! Started by `recorder.rs` as this binary again: the test [`runs`] is its body. The life: turns
//! of many kinds with checkpoints and a backup beside them, a stop, a migration, more turns, the
//! backup restored, more turns. It begins with whatever is in the directory.

use std::cell::Cell;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use rusqlite::Connection;
use tokio::task::JoinSet;
use turnkey_storage::sqlite::{
    Existing, Files, SqliteStorage, Writer, WriterStats, backup, connect, prepare, restore,
};
use turnkey_storage::{
    Begin, Commit, DialogKey, LockAfter, Owner, Pending, ReplyId, Result, Statement, Storage, Sync,
};

use crate::common::{Served, asks, dialog, flat, last, runtime, turn, until};
use crate::disk::Random;
use crate::recorder::MARKS;

/// The name of [`runs`], for whoever starts it.
pub(crate) const TEST: &str = "session::runs";

pub(crate) const USERS: u64 = 24;

/// What a turn is made of, by its number. Told apart when an image is judged.
pub(crate) fn has_reply(turn: u64) -> bool {
    turn.is_multiple_of(3)
}

pub(crate) fn has_statement(turn: u64) -> bool {
    !turn.is_multiple_of(2)
}

pub(crate) fn has_relay(turn: u64) -> bool {
    turn.is_multiple_of(4)
}

/// The author's first migrations, so many.
pub(crate) fn migrations(count: usize) -> Vec<String> {
    let first = "CREATE TABLE ledger (id TEXT PRIMARY KEY, note INTEGER) STRICT;
         CREATE TABLE plain (n INTEGER PRIMARY KEY) STRICT;";
    let mut list = vec![first.to_owned()];
    list.extend(
        (1..count)
            .map(|n| format!("CREATE TABLE extra{n} (n INTEGER); UPDATE ledger SET note = {n};")),
    );
    list
}

/// What the session was promised, and what it asked for: one line each.
pub(crate) struct Marks(Mutex<File>);

impl Marks {
    pub(crate) fn open(directory: &Path) -> Self {
        let marks = OpenOptions::new()
            .create(true)
            .append(true)
            .open(directory.join(MARKS))
            .unwrap();
        Marks(Mutex::new(marks))
    }

    pub(crate) fn say(&self, line: &str) {
        let mut file = self.0.lock().unwrap();
        file.write_all(format!("{line}\n").as_bytes()).unwrap();
    }
}

struct Life {
    marks: Arc<Marks>,
    directory: PathBuf,
    database: PathBuf,
    sync: Sync,
    seed: u64,
    /// How often turns were served.
    served: Cell<u64>,
}

/// Not a test: the body of a process that is recorded.
#[test]
fn runs() {
    let Some(directory) = std::env::var_os("POWER_DIR").map(PathBuf::from) else {
        return;
    };
    let life = Life {
        marks: Arc::new(Marks::open(&directory)),
        database: directory.join("bot.db"),
        directory,
        sync: match std::env::var("POWER_SYNC").as_deref() {
            Ok("normal") => Sync::Normal,
            _ => Sync::Full,
        },
        seed: std::env::var("POWER_SEED").unwrap().parse().unwrap(),
        served: Cell::new(0),
    };
    life.run();
}

impl Life {
    fn run(&self) {
        let mut migrated = self.migrated().max(1);
        let kept = format!("kept-{}.db", self.seed);
        self.migrate(migrated);
        self.serve(2, Some(&kept));
        migrated += 1;
        self.migrate(migrated);
        self.serve(1, None);
        self.marks.say(&format!("restoring {kept}"));
        let files = Files::of(&self.database);
        let lock = files.lock().unwrap();
        restore(
            &self.directory.join(&kept),
            &files,
            &lock,
            Existing::KeptBeside,
            |_, _| {},
        )
        .unwrap();
        drop(lock);
        self.marks.say("restored");
        // The backup was of before the last migration.
        self.migrate(migrated);
        self.serve(1, None);
    }

    /// How many of the author's migrations the file has.
    fn migrated(&self) -> usize {
        if !self.database.exists() {
            return 0;
        }
        let conn = Connection::open(&self.database).unwrap();
        let sql = "SELECT COUNT(*) FROM turnkey_migration WHERE owner = 'author'";
        conn.query_row(sql, [], |row| row.get::<_, i64>(0))
            .unwrap_or(0) as usize
    }

    fn migrate(&self, to: usize) {
        self.marks.say(&format!("migrating {to}"));
        prepare(&self.database, self.sync, &migrations(to)).unwrap();
        self.marks.say(&format!("migrated {to}"));
    }

    /// Turns until the log was copied so often.
    fn serve(&self, checkpoints: u64, keep: Option<&str>) {
        let files = Files::of(&self.database);
        let lock = files.lock().unwrap();
        let listener = files.bind(&lock).unwrap();
        let copied = Arc::new(AtomicU64::new(0));
        let (stop, theirs) = UnixStream::pair().unwrap();
        let seen = copied.clone();
        let writer = Writer {
            files: files.clone(),
            file: None,
            sync: self.sync,
            listener,
            expected: Vec::new(),
            monitor: Box::new(move |stats: &WriterStats| {
                seen.store(stats.checkpoints, Ordering::Relaxed);
            }),
        };
        let writer: JoinHandle<Result<()>> = std::thread::spawn(move || writer.run(theirs.as_fd()));
        let runtime = runtime();
        runtime.block_on(async {
            let clients = [1, 2].map(|owner| Arc::new(connect(&files, Owner(owner)).unwrap()));
            let enough = Arc::new(AtomicBool::new(false));
            let mut tasks = JoinSet::new();
            for user in 0..USERS {
                let (a, b) = (clients[user as usize % 2].clone(), clients[1].clone());
                let (marks, enough) = (self.marks.clone(), enough.clone());
                let random = Random(self.seed << 8 | user);
                tasks.spawn(async move { turns(&a, b, &marks, user, random, &enough).await });
            }
            let (client, marks, stop) = (clients[0].clone(), self.marks.clone(), enough.clone());
            let mut random =
                Random(self.seed << 8 | 0x80 | self.served.replace(self.served.get() + 1));
            tasks.spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    let n = (random.next() >> 1) as i64;
                    let row = Statement::new("INSERT INTO plain VALUES (?1)", (n,));
                    client.write(vec![row]).await.unwrap();
                    marks.say(&format!("plain {n}"));
                }
            });
            let until_copied = async |times: u64| {
                until("the log is copied", async || {
                    copied.load(Ordering::Relaxed) >= times
                })
                .await;
            };
            until_copied(1).await;
            if let Some(keep) = keep {
                let (from, to) = (self.database.clone(), self.directory.join(keep));
                self.marks.say(&format!("backing {keep}"));
                let made = tokio::task::spawn_blocking(move || backup(&from, &to, |_, _| {}));
                made.await.unwrap().unwrap();
                self.marks.say(&format!("backed {keep}"));
            }
            until_copied(checkpoints).await;
            enough.store(true, Ordering::Relaxed);
            tasks.join_all().await;
        });
        drop(runtime);
        drop(stop);
        writer.join().unwrap().unwrap();
        drop(lock);
    }
}

/// Turns of one user, one after another.
async fn turns(
    client: &SqliteStorage,
    other: Arc<SqliteStorage>,
    marks: &Marks,
    user: u64,
    mut random: Random,
    enough: &AtomicBool,
) {
    let key = dialog(format!("user{user}"));
    let look = Begin {
        update: None,
        ..asks(&key, "")
    };
    let found = client.begin(look).await.map(flat).unwrap();
    let mut turn = found.state.as_deref().map_or(0, turns_of);
    drop(found);
    while !enough.load(Ordering::Relaxed) {
        turn += 1;
        let update = format!("{user}.{turn}");
        marks.say(&format!("try {user} {turn}"));
        let begun = client.begin(asks(&key, &update)).await.map(flat).unwrap();
        let mut grant = begun.grant.unwrap();
        // What leaves the writer can leave the bot.
        for reply in &begun.unsent {
            let (_, before) = reply.body.split_once('.').unwrap();
            marks.say(&format!("done {user} {before}"));
            send(
                client,
                marks,
                &grant,
                user,
                before.parse().unwrap(),
                reply.id,
            )
            .await;
        }
        let mut echo = None;
        if turn.is_multiple_of(5) {
            let (other, asks) = (other.clone(), asks(&key, &update));
            echo = Some(tokio::spawn(async move { other.begin(asks).await }));
            tokio::task::yield_now().await;
        }
        let padding = "x".repeat(random.below(20_000));
        let state = format!("{{\"turns\":{turn},\"padding\":\"{padding}\"}}");
        let kept = has_reply(turn);
        let commit = Commit {
            replies: kept.then(|| update.clone()).into_iter().collect(),
            statements: has_statement(turn)
                .then(|| Statement::new("INSERT INTO ledger (id) VALUES (?1)", (&update,)))
                .into_iter()
                .collect(),
            relays: has_relay(turn)
                .then(|| relay(user, turn))
                .into_iter()
                .collect(),
            lock: match kept {
                true => LockAfter::Kept,
                false => LockAfter::GivenBack,
            },
            ..last(&update, &state)
        };
        client.commit(&mut grant, commit).await.unwrap();
        marks.say(&format!("done {user} {turn}"));
        if kept && !turn.is_multiple_of(2) {
            let reply = ReplyId {
                turn: grant.fence(),
                index: 0,
            };
            marks.say(&format!("sending {user} {turn}"));
            client.end(grant, vec![reply]).await.unwrap();
            marks.say(&format!("sent {user} {turn}"));
        } else {
            drop(grant); // The next turn sends it.
        }
        if let Some(echo) = echo {
            let begun = echo.await.unwrap().map(flat).unwrap();
            assert!(begun.seen.is_some(), "{update} ran twice");
            marks.say(&format!("done {user} {turn}"));
        }
    }
}

async fn send(
    client: &SqliteStorage,
    marks: &Marks,
    grant: &turnkey_storage::Grant,
    user: u64,
    turn: u64,
    reply: ReplyId,
) {
    marks.say(&format!("sending {user} {turn}"));
    client.sent(grant, vec![reply]).await.unwrap();
    marks.say(&format!("sent {user} {turn}"));
}

pub(crate) fn turns_of(state: &str) -> u64 {
    let (_, rest) = state.split_once(':').unwrap();
    let (turns, _) = rest.split_once(',').unwrap();
    turns.parse().unwrap()
}

fn relay(user: u64, turn: u64) -> Pending {
    Pending {
        dialog: DialogKey::new("http", format!("relayed {user}")),
        update: format!("relayed {user}.{turn}"),
        arrived: turn as i64,
        body: b"{}".to_vec(),
        attempts: 0,
        due: 0,
        error: None,
    }
}

/// A writer on an image, and a turn.
pub(crate) fn goes_on(database: &Path, author: &[String]) {
    let author: Vec<&str> = author.iter().map(String::as_str).collect();
    let mut served = Served::at(database, &author);
    served.start_writer(Vec::new());
    runtime().block_on(async { turn(&served.open(), &dialog("after"), "after", "{}").await });
    served.stop_writer().unwrap();
}
