//! Processes that are really killed, and a disk that is really full.
//!
//! A writer or a client that is killed is this binary again: the test [`child`]
//! is its body. The test's own process is the supervisor: it keeps the listening
//! socket and starts the next writer on it.

#![allow(clippy::unwrap_used)]

mod common;

use std::collections::{BTreeMap, HashMap};
use std::io::{BufRead, BufReader, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use common::{LONG, Served, asks, begin, block_on, dialog, last, turn, until};
use rusqlite::Connection;
use tokio::task::JoinSet;
use turnkey_storage::broadcasts::{self, Audience, New};
use turnkey_storage::inbox::{self, Pending};
use turnkey_storage::sqlite::{Files, SqliteStorage, Writer, check, connect};
use turnkey_storage::{
    Begin, Commit, DialogKey, Error, LockAfter, Origin, Owner, ReplyId, Statement, Storage, Sync,
    dead,
};

const TASK: &str = "TURNKEY_TEST_TASK";
const PATH: &str = "TURNKEY_TEST_PATH";
/// The writer's expected owners, or the client's own.
const OWNERS: &str = "TURNKEY_TEST_OWNERS";

/// How often the writer is killed.
const KILLS: u64 = 25;

const TABLES: &[&str] = &[
    "CREATE TABLE ledger (id TEXT PRIMARY KEY, user TEXT NOT NULL) STRICT",
    "CREATE TABLE tally (n INTEGER NOT NULL) STRICT; INSERT INTO tally VALUES (0)",
    "CREATE TABLE bulk (body BLOB)",
];

fn as_child(task: &str, path: &Path, owners: &[Owner]) -> Command {
    let owners: Vec<String> = owners.iter().map(|owner| owner.0.to_string()).collect();
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["child", "--exact", "--nocapture"])
        .env(TASK, task)
        .env(PATH, path)
        .env(OWNERS, owners.join(","));
    command
}

/// Not a test: the body of a process that a test starts, and kills.
#[test]
fn child() {
    let Ok(task) = std::env::var(TASK) else {
        return;
    };
    let path = PathBuf::from(std::env::var_os(PATH).unwrap());
    let owners = std::env::var(OWNERS).unwrap();
    let owners = owners.split(',').filter(|owner| !owner.is_empty());
    let owners: Vec<Owner> = owners.map(|owner| Owner(owner.parse().unwrap())).collect();
    match task.as_str() {
        "writer" => {
            let listener = std::io::stdin().as_fd().try_clone_to_owned().unwrap();
            let stop = std::io::stdout().as_fd().try_clone_to_owned().unwrap();
            let writer = Writer {
                files: Files::of(&path),
                file: None,
                sync: Sync::Full,
                listener: UnixListener::from(listener),
                expected: owners,
                monitor: Box::new(|_| {}),
            };
            let ended = writer.run(stop.as_fd());
            // Not through the test harness: it would write to the stop socket.
            std::process::exit(match ended {
                Ok(()) => 0,
                Err(error) => {
                    eprintln!("the writer ended: {error}");
                    1
                }
            });
        }
        "client" => {
            let runtime = common::runtime();
            runtime.block_on(async {
                let client = Arc::new(connect(&Files::of(&path), owners[0]).unwrap());
                let mut tasks = JoinSet::new();
                for task in 0..16_u64 {
                    let client = client.clone();
                    let owner = owners[0].0;
                    tasks.spawn(async move {
                        for round in 0.. {
                            let user = format!("user{}", (task + round) % 5);
                            count_up(&*client, &user, &format!("{owner}.{task}.{round}")).await;
                            let mut out = std::io::stdout().lock();
                            out.write_all(format!("ack {user}\n").as_bytes()).unwrap();
                        }
                    });
                }
                tasks.join_all().await;
            });
        }
        other => panic!("{other}"),
    }
}

/// A turn that adds one to the number in the state.
async fn count_up(storage: &dyn Storage, user: &str, update: &str) {
    let begun = begin(storage, &dialog(user), update).await;
    let n: u64 = begun.state.as_deref().unwrap_or("0").parse().unwrap();
    let mut grant = begun.grant.unwrap();
    let commit = last(update, &(n + 1).to_string());
    storage.commit(&mut grant, commit).await.unwrap();
}

struct WriterProcess {
    child: Child,
    stop: UnixStream,
}

impl WriterProcess {
    fn start(served: &Served, expected: &[Owner]) -> Self {
        let (stop, theirs) = UnixStream::pair().unwrap();
        let listener = OwnedFd::from(served.listener.try_clone().unwrap());
        let child = as_child("writer", &served.files.database, expected)
            .stdin(Stdio::from(listener))
            .stdout(Stdio::from(OwnedFd::from(theirs)))
            .spawn()
            .unwrap();
        WriterProcess { child, stop }
    }

    /// SIGKILL.
    fn kill(mut self) {
        assert!(
            self.child.try_wait().unwrap().is_none(),
            "it ended by itself"
        );
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    fn stop(mut self) {
        drop(self.stop);
        assert!(self.child.wait().unwrap().success());
    }
}

/// What the tasks of a test know of one dialog.
#[derive(Default)]
struct Ledger {
    acknowledged: u64,
    /// Replies in the order in which they were "sent".
    sent: Vec<u64>,
}

type Ledgers = Arc<Mutex<HashMap<String, Ledger>>>;

/// One turn out of many kinds. The state is `[turns, replies]`.
async fn mixed_turn(
    client: &SqliteStorage,
    ledgers: &Ledgers,
    user: &str,
    update: &str,
    kind: u64,
) {
    let begun = begin(client, &dialog(user), update).await;
    assert!(
        begun.seen.is_none(),
        "an update was counted before its turn: {update}"
    );
    let mut grant = begun.grant.unwrap();
    let send = |replies: &[(ReplyId, String)]| -> Vec<ReplyId> {
        let mut ledgers = ledgers.lock().unwrap();
        let ledger = ledgers.entry(user.to_owned()).or_default();
        ledger
            .sent
            .extend(replies.iter().map(|(_, body)| body.parse::<u64>().unwrap()));
        replies.iter().map(|(id, _)| *id).collect()
    };
    if !begun.unsent.is_empty() {
        let unsent: Vec<_> = begun.unsent.into_iter().map(|r| (r.id, r.body)).collect();
        let ids = send(&unsent);
        client.sent(&grant, ids).await.unwrap();
    }
    let text = begun.state.unwrap_or_else(|| "[0,0]".to_owned());
    let (turns, replied) = text[1..text.len() - 1].split_once(',').unwrap();
    let (turns, mut replied): (u64, u64) = (turns.parse().unwrap(), replied.parse().unwrap());
    if kind % 10 == 9 {
        return; // The handler fails.
    }
    let mut replies = Vec::new();
    if kind.is_multiple_of(3) {
        for _ in 0..=kind % 2 {
            replied += 1;
            replies.push(replied.to_string());
        }
    }
    let ids: Vec<_> = (0..)
        .map(|index| ReplyId {
            turn: grant.fence(),
            index,
        })
        .zip(replies.clone())
        .collect();
    let commit = Commit {
        lock: match replies.is_empty() && kind % 4 != 3 {
            true => LockAfter::GivenBack,
            false => LockAfter::Kept,
        },
        replies,
        statements: match kind % 2 {
            0 => vec![],
            // Fails when it is run twice.
            _ => vec![Statement::new(
                "INSERT INTO ledger VALUES (?1, ?2)",
                (update, user),
            )],
        },
        ..last(update, &format!("[{},{replied}]", turns + 1))
    };
    client.commit(&mut grant, commit).await.unwrap();
    ledgers
        .lock()
        .unwrap()
        .entry(user.to_owned())
        .or_default()
        .acknowledged += 1;
    if !ids.is_empty() && !kind.is_multiple_of(5) {
        let ids = send(&ids);
        client.end(grant, ids).await.unwrap();
    }
    // Else the grant is dropped: the replies wait for the next turn.
}

#[test]
fn a_killed_writer_neither_loses_nor_doubles_what_is_in_the_inbox() {
    let dir = tempfile::tempdir().unwrap();
    let served = Served::at(&dir.path().join("bot.db"), TABLES);
    let owner = Owner(1);
    let runtime = common::runtime();
    let client = runtime.block_on(async { Arc::new(connect(&served.files, owner).unwrap()) });
    let done = Arc::new(AtomicBool::new(false));
    let acked = Arc::new(AtomicU64::new(0));
    let mut tasks = JoinSet::new();
    for task in 0..20_u64 {
        let (client, done, acked) = (client.clone(), done.clone(), acked.clone());
        let work = async move {
            // What was accepted, was committed from the inbox, and was buried.
            let (mut left, mut ran, mut dead) = (0_u64, 0_u64, 0_u64);
            let key = dialog(format!("user{task}"));
            let mut round = 0;
            while !done.load(Ordering::Relaxed) {
                round += 1;
                let update = format!("{task}.{round}");
                let pending = Pending {
                    dialog: key.clone(),
                    update: update.clone(),
                    arrived: round,
                    body: update.clone().into_bytes(),
                    attempts: 0,
                    due: 0,
                    error: None,
                };
                let bounds = inbox::Bounds {
                    per_dialog: u32::MAX,
                    all: u32::MAX,
                };
                inbox::accept(&*client, &pending, bounds).await.unwrap();
                left += 1;
                if round % 3 == 0 {
                    let begun = client
                        .begin(Begin {
                            update: None,
                            ..asks(&key, "")
                        })
                        .await
                        .map(common::flat)
                        .unwrap();
                    // In the order of arrival, each once.
                    let oldest = begun.earlier.unwrap();
                    assert_eq!(oldest.arrived as u64, ran + dead + 1);
                    let mut grant = begun.grant.unwrap();
                    if round % 2 == 0 {
                        let letter = dead::DeadLetter {
                            dialog: key.clone(),
                            update: oldest.update,
                            arrived: oldest.arrived,
                            digest: Vec::new(),
                            answer: Vec::new(),
                            body: oldest.body,
                            error: "x".to_owned(),
                            attempts: 1,
                            died: 1,
                        };
                        dead::bury(&*client, &letter).await.unwrap();
                        dead += 1;
                    } else {
                        assert_eq!(begun.state.as_deref().unwrap_or("0"), ran.to_string());
                        let commit = Commit {
                            origin: Origin::Inbox,
                            ..last(&oldest.update, &(ran + 1).to_string())
                        };
                        client.commit(&mut grant, commit).await.unwrap();
                        ran += 1;
                    }
                    left -= 1;
                }
                acked.fetch_add(1, Ordering::Relaxed);
            }
            (left, dead, ran)
        };
        tasks.spawn_on(work, runtime.handle());
    }
    let mut writer = WriterProcess::start(&served, &[owner]);
    for kill in 0..KILLS {
        let before = acked.load(Ordering::Relaxed);
        runtime.block_on(until("some work is done", async || {
            acked.load(Ordering::Relaxed) > before + 20 + kill
        }));
        writer.kill();
        writer = WriterProcess::start(&served, &[owner]);
    }
    done.store(true, Ordering::Relaxed);
    let (mut left, mut dead, mut ran) = (0, 0, 0);
    runtime.block_on(async {
        while let Some(task) = tasks.join_next().await {
            let (l, d, r) = task.unwrap();
            left += l;
            dead += d;
            ran += r;
        }
    });
    drop(client);
    drop(runtime);
    writer.stop();
    let conn = Connection::open(&served.files.database).unwrap();
    let count = |sql: &str| conn.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap() as u64;
    assert_eq!(count("SELECT COUNT(*) FROM turnkey_inbox"), left);
    assert_eq!(count("SELECT COUNT(*) FROM turnkey_dead"), dead);
    assert_eq!(count("SELECT COUNT(*) FROM turnkey_seen"), dead + ran);
    drop(conn);
    served.finish_without_writer();
}

/// Each turn relays to a dialog of its own, and to one that all share.
#[test]
fn a_killed_writer_neither_loses_nor_doubles_a_relay() {
    let dir = tempfile::tempdir().unwrap();
    let served = Served::at(&dir.path().join("bot.db"), TABLES);
    let owner = Owner(1);
    let runtime = common::runtime();
    let client = runtime.block_on(async { Arc::new(connect(&served.files, owner).unwrap()) });
    let done = Arc::new(AtomicBool::new(false));
    let acked = Arc::new(AtomicU64::new(0));
    let mut tasks = JoinSet::new();
    for task in 0..20_u64 {
        let (client, done, acked) = (client.clone(), done.clone(), acked.clone());
        let turns = async move {
            let (mut relayed, mut ran) = (0, 0);
            for round in 0.. {
                if done.load(Ordering::Relaxed) {
                    break;
                }
                let update = format!("{task}.{round}");
                let mut grant = begin(&*client, &dialog(task), &update).await.grant.unwrap();
                let shared = Pending {
                    dialog: dialog("shared"),
                    update: format!("shared {update}"),
                    ..common::relay(&update, round)
                };
                let commit = Commit {
                    statements: match round % 3 {
                        // Fails when it is run twice.
                        0 => vec![Statement::new(
                            "INSERT INTO ledger VALUES (?1, ?2)",
                            (&update, task.to_string()),
                        )],
                        _ => vec![],
                    },
                    relays: vec![common::relay(&update, round), shared],
                    ..last(&update, "1")
                };
                client.commit(&mut grant, commit).await.unwrap();
                relayed += 2;
                acked.fetch_add(1, Ordering::Relaxed);
                if round % 2 == 0 {
                    continue;
                }
                // What was acknowledged comes back in its order, each once.
                let begin = Begin {
                    update: None,
                    ..asks(&dialog(format!("relayed {task}")), "")
                };
                let begun = client.begin(begin).await.map(common::flat).unwrap();
                let oldest = begun.earlier.unwrap();
                assert_eq!(oldest, common::relay(&format!("{task}.{ran}"), ran));
                let commit = Commit {
                    origin: Origin::Inbox,
                    ..last(&oldest.update, "1")
                };
                let mut grant = begun.grant.unwrap();
                client.commit(&mut grant, commit).await.unwrap();
                ran += 1;
            }
            (relayed, ran as u64)
        };
        tasks.spawn_on(turns, runtime.handle());
    }
    let mut writer = WriterProcess::start(&served, &[owner]);
    for kill in 0..KILLS {
        let before = acked.load(Ordering::Relaxed);
        runtime.block_on(until("some work is done", async || {
            acked.load(Ordering::Relaxed) > before + 20 + kill
        }));
        writer.kill();
        writer = WriterProcess::start(&served, &[owner]);
    }
    done.store(true, Ordering::Relaxed);
    let (mut relayed, mut ran) = (0, 0);
    runtime.block_on(async {
        while let Some(task) = tasks.join_next().await {
            let (of_task, ran_by_task) = task.unwrap();
            relayed += of_task;
            ran += ran_by_task;
        }
    });
    drop(client);
    drop(runtime);
    writer.stop();
    let conn = Connection::open(&served.files.database).unwrap();
    let count = |sql: &str| conn.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap() as u64;
    assert_eq!(count("SELECT COUNT(*) FROM turnkey_inbox"), relayed - ran);
    assert_eq!(
        count("SELECT COUNT(*) FROM turnkey_seen"),
        relayed / 2 + ran
    );
    drop(conn);
    served.finish_without_writer();
}

/// One broadcast after the other; each goes to all, and counts each once.
#[test]
fn a_killed_writer_neither_loses_nor_doubles_a_broadcast() {
    const DIALOGS: u64 = 60;
    let dir = tempfile::tempdir().unwrap();
    let served = Served::at(&dir.path().join("bot.db"), TABLES);
    let owner = Owner(1);
    let runtime = common::runtime();
    let client = runtime.block_on(async { Arc::new(connect(&served.files, owner).unwrap()) });
    let mut writer = WriterProcess::start(&served, &[owner]);
    let to = |n: u64| DialogKey::new("telegram", format!("{n:03}"));
    runtime.block_on(async {
        for n in 0..DIALOGS {
            turn(&*client, &to(n), &format!("first {n}"), "1").await;
        }
    });
    let done = Arc::new(AtomicBool::new(false));
    let acked = Arc::new(AtomicU64::new(0));
    let work = {
        let (client, done, acked) = (client.clone(), done.clone(), acked.clone());
        async move {
            let mut made = 0;
            while !done.load(Ordering::Relaxed) {
                let new = New {
                    audience: Audience::default(),
                    body: "{}".to_owned(),
                    rate: None,
                };
                let id = broadcasts::create(&*client, &new).await.unwrap();
                made += 1;
                assert_eq!(id, made);
                say_to_all(&client, id, &acked).await;
            }
            made
        }
    };
    let work = runtime.spawn(work);
    for kill in 0..KILLS {
        let before = acked.load(Ordering::Relaxed);
        runtime.block_on(until("some work is done", async || {
            acked.load(Ordering::Relaxed) > before + 20 + kill
        }));
        writer.kill();
        writer = WriterProcess::start(&served, &[owner]);
    }
    done.store(true, Ordering::Relaxed);
    let made = runtime.block_on(work).unwrap();
    drop(client);
    drop(runtime);
    writer.stop();
    let conn = Connection::open(&served.files.database).unwrap();
    let count = |sql: &str| conn.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap() as u64;
    let whole = format!(
        "SELECT COUNT(*) FROM turnkey_broadcast WHERE queued = {DIALOGS}
             AND sent = {DIALOGS} / 3 * 2 AND failed = {DIALOGS} / 3"
    );
    assert_eq!(count(&whole), made);
    let failed = "SELECT COUNT(*) FROM turnkey_broadcast_failed";
    assert_eq!(count(failed), made * DIALOGS / 3);
    for empty in ["turnkey_inbox", "turnkey_outbox"] {
        assert_eq!(
            count(&format!("SELECT COUNT(*) FROM {empty}")),
            0,
            "{empty}"
        );
    }
    assert_eq!(
        count("SELECT COUNT(*) FROM turnkey_seen"),
        (made + 1) * DIALOGS
    );
    drop(conn);
    served.finish_without_writer();
}

/// Takes all steps of a broadcast, and the turns of its updates; every third dialog refuses it.
async fn say_to_all(client: &Arc<SqliteStorage>, id: u64, acked: &AtomicU64) {
    let storage = &**client;
    let mut dialogs = 0_u64;
    loop {
        let broadcast = broadcasts::get(storage, id).await.unwrap().unwrap();
        let next = broadcasts::next(storage, &broadcast, &["telegram"], 7).await;
        let next = next.unwrap();
        if next.is_empty() {
            return;
        }
        let update = |to: &DialogKey| Pending {
            dialog: to.clone(),
            update: format!("broadcast:{id}:{}", to.user_id),
            arrived: 1000,
            body: b"{}".to_vec(),
            attempts: 0,
            due: 0,
            error: None,
        };
        let rows: Vec<_> = next.iter().map(update).collect();
        broadcasts::step(storage, &broadcast, &rows).await.unwrap();
        for row in rows {
            let asks = asks(&row.dialog, &row.update);
            let begun = client.begin(asks).await.map(common::flat).unwrap();
            let mut grant = begun.grant.unwrap();
            let reply = ReplyId {
                turn: grant.fence(),
                index: 0,
            };
            let commit = Commit {
                replies: vec!["{}".to_owned()],
                origin: Origin::Inbox,
                ..last(&row.update, "1")
            };
            client.commit(&mut grant, commit).await.unwrap();
            match dialogs % 3 {
                0 => broadcasts::refused(storage, id, &row.dialog, reply, "blocked").await,
                _ => broadcasts::sent(storage, id, &row.dialog, reply).await,
            }
            .unwrap();
            dialogs += 1;
            acked.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[test]
fn a_killed_writer_fails_no_call_and_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let served = Served::at(&dir.path().join("bot.db"), TABLES);
    let owners: Vec<Owner> = (1..=3).map(Owner).collect();
    let ledgers = Ledgers::default();
    let (done, acked) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicU64::new(0)),
    );
    let (written, unknown) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let sum = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let runtime = common::runtime();
    let clients: Vec<Arc<SqliteStorage>> = runtime.block_on(async {
        owners
            .iter()
            .map(|owner| Arc::new(connect(&served.files, *owner).unwrap()))
            .collect()
    });
    let mut tasks = JoinSet::new();
    for task in 0..60_u64 {
        let client = clients[task as usize % 3].clone();
        let (ledgers, done, acked) = (ledgers.clone(), done.clone(), acked.clone());
        let turns = async move {
            let mut round = 0;
            while !done.load(Ordering::Relaxed) {
                round += 1;
                let kind = (task * 7919 + round * 104_729) % 1009;
                let user = match kind % 3 {
                    0 => format!("cold{}", kind % 40),
                    _ => format!("hot{}", kind % 3),
                };
                mixed_turn(
                    &client,
                    &ledgers,
                    &user,
                    &format!("{task}.{round}"),
                    kind / 3,
                )
                .await;
                acked.fetch_add(1, Ordering::Relaxed);
            }
        };
        tasks.spawn_on(turns, runtime.handle());
    }
    // Statements outside a turn: at most once, so they alone may fail.
    let (client, stop, ok, lost) = (
        clients[0].clone(),
        done.clone(),
        written.clone(),
        unknown.clone(),
    );
    let writes = async move {
        while !stop.load(Ordering::Relaxed) {
            match client
                .write(vec![Statement::new("UPDATE tally SET n = n + 1", ())])
                .await
            {
                Ok(()) => ok.fetch_add(1, Ordering::Relaxed),
                Err(Error::Unavailable(_)) => lost.fetch_add(1, Ordering::Relaxed),
                Err(other) => panic!("{other}"),
            };
        }
    };
    tasks.spawn_on(writes, runtime.handle());

    let mut writer = WriterProcess::start(&served, &owners);
    for kill in 0..KILLS {
        // At any moment of its life; every fifth one right after it started, so
        // that a take-over is interrupted too.
        let some = if kill % 5 == 4 {
            1
        } else {
            40 + kill * 61 % 170
        };
        let goal = sum(&acked) + some;
        runtime.block_on(until("turns go on", async || {
            sum(&acked) >= goal || tasks.len() < 61
        }));
        writer.kill();
        writer = WriterProcess::start(&served, &owners);
    }
    let goal = sum(&acked) + 100;
    runtime.block_on(until("turns go on", async || {
        sum(&acked) >= goal || tasks.len() < 61
    }));
    done.store(true, Ordering::Relaxed);
    runtime.block_on(async {
        tokio::time::timeout(LONG, tasks.join_all())
            .await
            .expect("a turn hangs");
        // What was left unsent is sent now.
        for user in clients[0].dialogs_with_unsent(1000).await.unwrap() {
            let only_send = Begin {
                update: None,
                ..asks(&user, "")
            };
            let begun = clients[0].begin(only_send).await.map(common::flat).unwrap();
            let mut ledgers = ledgers.lock().unwrap();
            let ledger = ledgers.get_mut(&user.user_id).unwrap();
            ledger
                .sent
                .extend(begun.unsent.iter().map(|r| r.body.parse::<u64>().unwrap()));
        }
    });
    drop(clients);
    drop(runtime);
    writer.stop();

    let conn = Connection::open(&served.files.database).unwrap();
    let stored: BTreeMap<String, String> = conn
        .prepare("SELECT user_id, state FROM turnkey_dialog")
        .unwrap()
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap();
    let ledgers = ledgers.lock().unwrap();
    let expected: BTreeMap<String, String> = ledgers
        .iter()
        .filter(|(_, ledger)| ledger.acknowledged > 0)
        .map(|(user, ledger)| {
            (
                user.clone(),
                format!("[{},{}]", ledger.acknowledged, ledger.sent.len()),
            )
        })
        .collect();
    assert_eq!(stored, expected);
    for (user, ledger) in ledgers.iter() {
        let in_order = Vec::from_iter(1..=ledger.sent.len() as u64);
        assert_eq!(ledger.sent, in_order, "the replies of {user}");
    }
    let one = |sql: &str| conn.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap() as u64;
    let turns: u64 = ledgers.values().map(|ledger| ledger.acknowledged).sum();
    assert_eq!(one("SELECT COUNT(*) FROM turnkey_seen"), turns);
    assert_eq!(
        one("SELECT COUNT(*) FROM ledger WHERE user NOT IN (SELECT user_id FROM turnkey_dialog)"),
        0
    );
    let tally = one("SELECT n FROM tally");
    assert!(
        (sum(&written)..=sum(&written) + sum(&unknown)).contains(&tally),
        "{tally} {written:?} {unknown:?}"
    );
    println!(
        "{turns} turns over {KILLS} kills, {tally} writes of which {unknown:?} were not answered"
    );
    drop(conn);
    served.finish_without_writer();
}

#[test]
fn a_killed_client_frees_its_locks() {
    let served = Served::start(TABLES);
    let done = Arc::new(AtomicBool::new(false));
    let mut acknowledged: HashMap<String, u64> = HashMap::new();
    let mut in_flight = 0;
    block_on(async {
        let clients = [Arc::new(served.open()), Arc::new(served.open())];
        let mut tasks = JoinSet::new();
        for task in 0..16_usize {
            let (client, done) = (clients[task % 2].clone(), done.clone());
            tasks.spawn(async move {
                let mut acknowledged: HashMap<String, u64> = HashMap::new();
                for round in 0.. {
                    if done.load(Ordering::Relaxed) {
                        break;
                    }
                    let user = format!("user{}", (task + round) % 5);
                    count_up(&*client, &user, &format!("{task}.{round}")).await;
                    *acknowledged.entry(user).or_default() += 1;
                }
                acknowledged
            });
        }
        for life in 0..6 {
            let mut child = as_child("client", &served.files.database, &[Owner(1000 + life)])
                .stdout(Stdio::piped())
                .spawn()
                .unwrap();
            let output = BufReader::new(child.stdout.take().unwrap());
            let mut seen = 0;
            for line in output.lines() {
                if let Some(user) = line.unwrap().strip_prefix("ack ") {
                    *acknowledged.entry(user.to_owned()).or_default() += 1;
                    seen += 1;
                    if seen == 100 {
                        child.kill().unwrap(); // What it printed before is still read.
                    }
                }
            }
            child.wait().unwrap();
            in_flight += 16;
        }
        let turns = served.stats().turns;
        until("the others go on", async || {
            served.stats().turns > turns + 100
        })
        .await;
        done.store(true, Ordering::Relaxed);
        for task in tasks.join_all().await {
            for (user, n) in task {
                *acknowledged.entry(user).or_default() += n;
            }
        }
        // While it is served, so the rows must be gone, not only unowned.
        let count = "SELECT COUNT(*) FROM turnkey_lock";
        until("no lock row is left", async || {
            let count =
                clients[0].read(move |conn| conn.query_row(count, [], |row| row.get::<_, i64>(0)));
            count.await.unwrap() == 0
        })
        .await;
        assert_eq!(check(&served.files.database).await.unwrap(), []);
        let mut stored = 0;
        for user in 0..5 {
            let begun = begin(&*clients[0], &dialog(format!("user{user}")), "end").await;
            stored += begun.state.unwrap().parse::<u64>().unwrap();
        }
        let known: u64 = acknowledged.values().sum();
        assert!(
            (known..=known + in_flight).contains(&stored),
            "{known} {stored}"
        );
    });
    served.finish();
}

#[test]
fn a_killed_program_leaves_what_it_committed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("bot.db");
    let mut fences = Vec::new();
    for life in 0..4_u64 {
        let mut served = Served::at(&path, TABLES);
        let writer = (life % 2 == 0).then(|| WriterProcess::start(&served, &[]));
        if writer.is_none() {
            served.start_writer(Vec::new());
        }
        block_on(async {
            let client = served.open();
            let begun = begin(&client, &dialog(1), &format!("u{life}")).await;
            let state = (life > 0).then(|| (life - 1).to_string());
            assert_eq!(begun.state, state);
            let unsent: Vec<_> = begun
                .unsent
                .iter()
                .map(|reply| reply.body.clone())
                .collect();
            assert_eq!(
                unsent,
                Vec::from_iter((0..life).map(|life| format!("reply {life}")))
            );
            let mut grant = begun.grant.unwrap();
            fences.push(grant.fence());
            let commit = Commit {
                replies: vec![format!("reply {life}")],
                lock: LockAfter::Kept,
                ..last(&format!("u{life}"), &life.to_string())
            };
            client.commit(&mut grant, commit).await.unwrap();
            for old in 0..=life {
                let other = dialog(format!("other{old}"));
                let begun = begin(&client, &other, &format!("u{old}")).await;
                assert!(begun.seen.is_some());
            }
            let sql = Statement::new("SELECT 1 FROM turnkey_lock WHERE user_id = '1'", ());
            assert_eq!(client.query(None, sql).await.unwrap().len(), 1);
            match writer {
                // All at once, with the lock in the file.
                Some(writer) => writer.kill(),
                None => drop(grant),
            }
        });
        if life % 2 == 1 {
            served.stop_writer().unwrap();
        }
    }
    assert!(fences.is_sorted_by(|a, b| a < b), "{fences:?}");
    let mut served = Served::at(&path, TABLES);
    served.start_writer(Vec::new());
    served.finish();
}

/// A small disk of its own; unmounted at the end.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn mount(mib: u32) -> Result<Self, String> {
        let dir = tempfile::tempdir().unwrap();
        let output = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={mib}m"), "turnkey-test"])
            .arg(dir.path())
            .output()
            .map_err(|e| e.to_string())?;
        match output.status.success() {
            true => Ok(SmallDisk(dir)),
            false => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
        }
    }

    /// Fills the disk but for so many bytes.
    fn fill(&self, leave: u64) -> PathBuf {
        let path = self.0.path().join("filler");
        let mut file = std::fs::File::create(&path).unwrap();
        let block = [1; 4096];
        let mut written = 0_u64;
        while file.write_all(&block).is_ok() {
            written += 4096;
        }
        file.set_len(written.saturating_sub(leave)).unwrap();
        path
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg("-l").arg(self.0.path()).status();
        if !std::thread::panicking() {
            assert!(unmounted.unwrap().success());
        }
    }
}

#[test]
fn a_full_disk_refuses_and_loses_nothing() {
    let disk = match SmallDisk::mount(96) {
        Ok(disk) => disk,
        Err(why) => {
            println!(
                "SKIPPED: a small disk cannot be mounted here ({why}); run as root to test a full one"
            );
            return;
        }
    };
    let mut served = Served::at(&disk.0.path().join("bot.db"), TABLES);
    served.start_writer(Vec::new());
    block_on(async {
        let (a, b) = (served.open(), served.open());
        let acknowledged: Mutex<HashMap<u64, u64>> = Mutex::default();
        // One turn of a dialog; whether there was room for it.
        let step = async |client: &SqliteStorage, user: u64, update: String| -> bool {
            let begun = begin(client, &dialog(user), &update).await;
            let n: u64 = begun
                .state
                .as_deref()
                .map_or(0, |s| s.trim().parse().unwrap());
            assert_eq!(
                n,
                *acknowledged.lock().unwrap().entry(user).or_default(),
                "user {user}"
            );
            let mut grant = begun.grant.unwrap();
            let commit = Commit {
                // Some room for the state's number, in a text of some pages.
                state: format!("{:>20000}", n + 1),
                lock: match user.is_multiple_of(2) {
                    true => LockAfter::GivenBack,
                    false => LockAfter::Kept,
                },
                ..last(&update, "")
            };
            match client.commit(&mut grant, commit).await {
                Ok(()) => {
                    acknowledged.lock().unwrap().insert(user, n + 1);
                    true
                }
                Err(Error::Full) => false,
                Err(other) => panic!("{other}"),
            }
        };
        for user in 0..6 {
            assert!(step(&a, user, format!("first{user}")).await);
        }
        let unsent = begin(&a, &dialog("unsent"), "u").await;
        let mut grant = unsent.grant.unwrap();
        let commit = Commit {
            replies: vec!["hello".into()],
            lock: LockAfter::Kept,
            ..last("u", "1")
        };
        a.commit(&mut grant, commit).await.unwrap();
        let reply = ReplyId {
            turn: grant.fence(),
            index: 0,
        };

        let filler = disk.fill(0);
        let mut refused = 0;
        for round in 0..100 {
            for user in 0..6 {
                let client = if round % 2 == 0 { &a } else { &b };
                refused += u32::from(!step(client, user, format!("{round}.{user}")).await);
            }
            if refused > 50 {
                break;
            }
        }
        assert!(refused > 50, "the disk was not full");
        // Turns of 20 kB may leave some pages of the log free. How many depends on the time:
        // locks are saved by themselves only when a turn's commit comes late. They are used
        // up by the smallest writes that there are, so that from here on nothing fits.
        let mut in_a_row = 0;
        for tries in 0.. {
            assert!(tries < 2000, "there is room without end");
            let small = Statement::new("INSERT INTO bulk VALUES (zeroblob(1))", ());
            in_a_row = match a.write(vec![small]).await {
                Ok(()) => 0,
                Err(Error::Full) => in_a_row + 1,
                Err(other) => panic!("{other}"),
            };
            if in_a_row == 5 {
                break;
            }
        }
        // Many at once: a whole batch is refused, and every lock is given back.
        let at_once = tokio::join!(
            step(&a, 0, "at once 0".into()),
            step(&a, 1, "at once 1".into()),
            step(&a, 2, "at once 2".into()),
            step(&b, 3, "at once 3".into()),
            step(&b, 4, "at once 4".into()),
            step(&b, 5, "at once 5".into()),
        );
        assert_eq!(at_once, (false, false, false, false, false, false));
        // The lock is given back although the mark cannot be written.
        let mut held = begin(&a, &dialog("kept"), "kept").await.grant.unwrap();
        let big = Commit {
            state: "7".repeat(50_000),
            ..last("kept", "")
        };
        assert_eq!(a.commit(&mut held, big.clone()).await, Err(Error::Full));
        let ended = a.end(grant, vec![reply]).await;
        assert_eq!(ended, Err(Error::Full));
        // What must be durable before it is shown cannot be shown now. A batch that was
        // undone may have left a page or two of the log free: each try takes of them.
        let mut tries = 0..200;
        let refused = loop {
            assert!(tries.next().is_some(), "there is room without end");
            match b
                .begin(asks(&dialog("unsent"), "u"))
                .await
                .map(common::flat)
            {
                Ok(begun) => assert_eq!(begun.unsent.len(), 1),
                Err(refused) => break refused,
            }
        };
        assert_eq!(refused, Error::Full);

        std::fs::remove_file(filler).unwrap();
        let begun = begin(&b, &dialog("unsent"), "u").await;
        assert_eq!(begun.unsent.len(), 1);
        drop(begun);
        // A turn whose lock is still held goes on; one whose lock went with its
        // commit is run again.
        match a.commit(&mut held, big.clone()).await {
            Ok(()) => {}
            Err(Error::Stale) => {
                let mut grant = begin(&a, &dialog("kept"), "kept").await.grant.unwrap();
                a.commit(&mut grant, big).await.unwrap();
            }
            Err(other) => panic!("{other}"),
        }
        for round in 0..20 {
            for user in 0..6 {
                assert!(step(&b, user, format!("after{round}.{user}")).await);
            }
        }

        // No room to copy the log into the database: it waits in the log.
        let bulk = || {
            vec![Statement::new(
                "INSERT INTO bulk VALUES (zeroblob(?1))",
                (1 << 20,),
            )]
        };
        while served.stats().log_bytes < 14 << 20 {
            a.write(bulk()).await.unwrap();
        }
        let filler = disk.fill(4 << 20);
        let mut full = 0;
        while full < 5 {
            match a.write(bulk()).await {
                Ok(()) => {}
                Err(Error::Full) => full += 1,
                Err(other) => panic!("{other}"),
            }
        }
        assert!(served.stats().log_bytes > 16 << 20, "{:?}", served.stats());
        assert_eq!(served.stats().checkpoints, 0);
        std::fs::remove_file(filler).unwrap();
        for user in 0..6 {
            assert!(step(&a, user, format!("last{user}")).await);
        }
        // Each try takes a MiB more of log, and none is made in vain while the disk is not
        // full. A slow machine copies slowly: what is written meanwhile must not fill it.
        until("the log is copied", async || {
            let few = || vec![Statement::new("INSERT INTO bulk VALUES (zeroblob(1))", ())];
            let is_large = served.stats().log_bytes > 40 << 20;
            let more = if is_large { few() } else { bulk() };
            a.write(more).await.unwrap();
            served.stats().checkpoints > 0
        })
        .await;
        turn(&b, &dialog("new"), "new", "1").await;
    });
    served.finish();
}
