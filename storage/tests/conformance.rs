//! What every engine promises, as one list of cases that runs on each of them.
//!
//! A case is an async function that gets an [`Engine`]: an empty database that
//! any number of clients can be opened on, each as another owner, as if from
//! another process. To add an engine, implement [`Engine`] and name it in
//! `on_every_engine!`. To add a case, write the function and name it at the end.

#![allow(clippy::unwrap_used)]

mod common;
mod keeping;

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

#[cfg(all(feature = "mysql", feature = "postgres"))]
use common::server::{Kind, TestServer};
use common::{LONG, Served, asks, begin, dialog, last, turn, until};
use keeping::*;
use tokio::task::JoinSet;
use turnkey_storage::{
    Arrival, Begin, Commit, DialogKey, Error, Grant, LockAfter, ReplyId, Seen, Statement, Storage,
    Value,
};

type Client = Arc<dyn Storage>;

/// A database of its own, empty but for the tables of [`AUTHOR`].
trait Engine {
    /// None, and a line on stderr, when its server cannot be had.
    fn start() -> Option<Self>
    where
        Self: Sized;

    /// Connects another owner. Dropping all of its clones ends its life.
    fn open(&self) -> Client;

    /// Whether the author's own text columns can hold a NUL character.
    fn text_holds_nul(&self) -> bool;

    /// What stands between `INSERT …` and what to do where the name is taken.
    fn upsert(&self) -> &'static str;

    /// Stops, and panics when something is left that should not be.
    fn finish(self)
    where
        Self: Sized;
}

/// The author's tables, in words that every engine understands.
const AUTHOR: [&str; 2] = [
    "CREATE TABLE booking (name VARCHAR(100) PRIMARY KEY, seats INTEGER NOT NULL)",
    "CREATE TABLE note (body TEXT)",
];

struct Sqlite(Served);

impl Engine for Sqlite {
    fn start() -> Option<Self> {
        Some(Sqlite(Served::start(&AUTHOR)))
    }

    fn open(&self) -> Client {
        Arc::new(self.0.open())
    }

    fn text_holds_nul(&self) -> bool {
        true
    }

    fn upsert(&self) -> &'static str {
        "ON CONFLICT (name) DO UPDATE SET"
    }

    fn finish(self) {
        self.0.finish();
    }
}

/// A database of a server that the tests of this binary share, and its address.
#[cfg(all(feature = "mysql", feature = "postgres"))]
struct OnServer<const MYSQL: bool, const ODD: bool>(String);

#[cfg(all(feature = "mysql", feature = "postgres"))]
type Postgres = OnServer<false, false>;
#[cfg(all(feature = "mysql", feature = "postgres"))]
type Mysql = OnServer<true, false>;

/// Servers whose every default is an odd one: all cases hold on them too.
#[cfg(all(feature = "mysql", feature = "postgres"))]
type OddPostgres = OnServer<false, true>;
#[cfg(all(feature = "mysql", feature = "postgres"))]
type OddMysql = OnServer<true, true>;

#[cfg(all(feature = "mysql", feature = "postgres"))]
impl<const MYSQL: bool, const ODD: bool> OnServer<MYSQL, ODD> {
    const KIND: Kind = match MYSQL {
        true => Kind::Mysql,
        false => Kind::Postgres,
    };
}

#[cfg(all(feature = "mysql", feature = "postgres"))]
impl<const MYSQL: bool, const ODD: bool> Engine for OnServer<MYSQL, ODD> {
    fn start() -> Option<Self> {
        let server = match ODD {
            true => TestServer::shared_odd(Self::KIND),
            false => TestServer::shared(Self::KIND),
        }?;
        // Half a MiB is more than MySQL's TEXT holds.
        let author = AUTHOR.map(|sql| match MYSQL {
            true => sql.replace("TEXT", "LONGTEXT"),
            false => sql.to_owned(),
        });
        let author = author.each_ref().map(String::as_str);
        let name = common::block_on(server.prepared(&author));
        Some(OnServer(server.url(&name)))
    }

    fn open(&self) -> Client {
        Self::KIND.open(&self.0)
    }

    fn text_holds_nul(&self) -> bool {
        MYSQL
    }

    fn upsert(&self) -> &'static str {
        match MYSQL {
            true => "ON DUPLICATE KEY UPDATE",
            false => "ON CONFLICT (name) DO UPDATE SET",
        }
    }

    fn finish(self) {
        let mut findings = common::block_on(Self::KIND.check(&self.0)).unwrap();
        // Some cases store texts that are no JSON, on purpose; and some end with
        // locks held, which nobody is left to free.
        findings.retain(|finding| {
            !finding.problem.contains("not JSON") && !finding.problem.contains("gone")
        });
        assert_eq!(findings, []);
    }
}

fn run<E: Engine>(case: impl AsyncFnOnce(&dyn Engine)) {
    // None: it has said why it cannot run here.
    if let Some(engine) = E::start() {
        common::block_on(case(&engine));
        engine.finish();
    }
}

macro_rules! on_engine {
    ($module:ident, $engine:ty; $($case:ident)*) => {
        mod $module {
            $(#[test]
            fn $case() {
                super::run::<$engine>(super::$case);
            })*
        }
    };
}

macro_rules! on_every_engine {
    ($($case:ident)*) => {
        on_engine!(sqlite, super::Sqlite; $($case)*);
        #[cfg(all(feature = "mysql", feature = "postgres"))]
        on_engine!(postgres, super::Postgres; $($case)*);
        #[cfg(all(feature = "mysql", feature = "postgres"))]
        on_engine!(mysql, super::Mysql; $($case)*);
        #[cfg(all(feature = "mysql", feature = "postgres"))]
        on_engine!(odd_postgres, super::OddPostgres; $($case)*);
        #[cfg(all(feature = "mysql", feature = "postgres"))]
        on_engine!(odd_mysql, super::OddMysql; $($case)*);
    };
}

/// Waits until everything the client has sent so far has arrived: answers of one
/// client's requests that wait for nothing come in order.
async fn arrived(client: &Client) {
    client.dialogs_with_unsent(1).await.unwrap();
}

/// A future that has taken its first step: its request is on its way.
async fn started<T: Send + 'static>(
    future: impl Future<Output = T> + Send + 'static,
) -> Pin<Box<dyn Future<Output = T> + Send>> {
    let mut future = Box::pin(future);
    let first = std::future::poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx))).await;
    match first {
        Poll::Ready(early) => Box::pin(std::future::ready(early)),
        Poll::Pending => future,
    }
}

async fn begin_later(
    client: &Client,
    dialog: &DialogKey,
    update: &str,
) -> tokio::task::JoinHandle<turnkey_storage::Result<common::Flat>> {
    let (client, begin) = (client.clone(), asks(dialog, update));
    tokio::spawn(started(async move { client.begin(begin).await.map(common::flat) }).await)
}

async fn rows(client: &Client, sql: &str) -> Vec<Vec<Value>> {
    let rows = client.query(None, Statement::new(sql, ())).await.unwrap();
    rows.iter().map(|row| row.values().to_vec()).collect()
}

async fn count(client: &Client, table: &str) -> i64 {
    match rows(client, &format!("SELECT COUNT(*) FROM {table}")).await[0][0] {
        Value::Integer(count) => count,
        ref other => panic!("{other:?}"),
    }
}

async fn no_lock_rows(client: &Client) {
    until("no lock row is left", async || {
        count(client, "turnkey_lock").await == 0
    })
    .await;
}

fn book(name: &str, seats: i64) -> Statement {
    Statement::new("INSERT INTO booking VALUES (?1, ?2)", (name, seats))
}

fn keep(update: &str, state: &str) -> Commit {
    Commit {
        lock: LockAfter::Kept,
        ..last(update, state)
    }
}

async fn a_turn_goes_round(engine: &dyn Engine) {
    let client = engine.open();
    let begun = begin(&*client, &dialog(1), "u1").await;
    assert_eq!((&begun.seen, &begun.state), (&None, &None));
    assert_eq!(begun.unsent, []);
    let mut grant = begun.grant.unwrap();
    assert_eq!(grant.dialog(), &dialog(1));
    client
        .commit(&mut grant, keep("u1", r#"{"n":1}"#))
        .await
        .unwrap();
    client.end(grant, Vec::new()).await.unwrap();
    let begun = begin(&*client, &dialog(1), "u2").await;
    assert_eq!(begun.state.as_deref(), Some(r#"{"n":1}"#));
    client.end(begun.grant.unwrap(), Vec::new()).await.unwrap();
    no_lock_rows(&client).await;
}

async fn a_new_dialog_has_no_state_and_later_it_has(engine: &dyn Engine) {
    let (a, b) = (engine.open(), engine.open());
    assert_eq!(turn(&*a, &dialog(1), "u1", "1").await, None);
    assert_eq!(turn(&*b, &dialog(1), "u2", "2").await.as_deref(), Some("1"));
    assert_eq!(turn(&*a, &dialog(1), "u3", "3").await.as_deref(), Some("2"));
    assert_eq!(turn(&*b, &dialog(2), "u4", "1").await, None);
    // The same user on another channel is another dialog.
    let other = DialogKey::new("viber", "1");
    assert_eq!(turn(&*b, &other, "u1", "1").await, None);
}

async fn a_turn_may_commit_more_than_once(engine: &dyn Engine) {
    let client = engine.open();
    let mut grant = begin(&*client, &dialog(1), "u1").await.grant.unwrap();
    client.commit(&mut grant, keep("u1", "1")).await.unwrap();
    // Sent again, as after a lost answer: it changes nothing.
    client.commit(&mut grant, keep("u1", "9")).await.unwrap();
    client.commit(&mut grant, keep("u1b", "2")).await.unwrap();
    drop(grant);
    assert_eq!(
        turn(&*client, &dialog(1), "u2", "3").await.as_deref(),
        Some("2")
    );
}

async fn waiters_are_served_in_order_of_arrival(engine: &dyn Engine) {
    let clients = [engine.open(), engine.open()];
    let held = begin(&*clients[0], &dialog(1), "first")
        .await
        .grant
        .unwrap();
    let order = Arc::new(Mutex::new(Vec::new()));
    let mut tasks = JoinSet::new();
    for n in 0..20_usize {
        let (client, order) = (clients[n % 3 % 2].clone(), order.clone());
        let future = started(async move {
            let begun = begin(&*client, &dialog(1), &format!("u{n}")).await;
            order.lock().unwrap().push(n);
            let mut grant = begun.grant.unwrap();
            let state = format!("{n}");
            // Some end with the commit, some after it, some without one.
            match n % 3 {
                0 => {
                    let commit = last(&format!("u{n}"), &state);
                    client.commit(&mut grant, commit).await.unwrap();
                }
                1 => {
                    let commit = keep(&format!("u{n}"), &state);
                    client.commit(&mut grant, commit).await.unwrap();
                    client.end(grant, Vec::new()).await.unwrap();
                }
                _ => drop(grant),
            }
        });
        tasks.spawn(future.await);
    }
    for client in &clients {
        arrived(client).await;
    }
    drop(held);
    tasks.join_all().await;
    assert_eq!(*order.lock().unwrap(), Vec::from_iter(0..20));
}

async fn dialogs_do_not_wait_for_each_other(engine: &dyn Engine) {
    let (a, b) = (engine.open(), engine.open());
    let held = begin(&*a, &dialog("slow"), "u").await.grant.unwrap();
    let waits = begin_later(&a, &dialog("slow"), "u2").await;
    for n in 0..50 {
        // By the client whose own turn is slow, and by another one.
        for (who, client) in [("a", &a), ("b", &b)] {
            turn(&**client, &dialog(n), &format!("{who}{n}"), "1").await;
        }
    }
    assert!(!waits.is_finished());
    drop(held);
    assert!(waits.await.unwrap().unwrap().grant.is_some());
}

async fn a_dropped_grant_gives_the_lock_back(engine: &dyn Engine) {
    let (a, b) = (engine.open(), engine.open());
    let held = begin(&*a, &dialog(1), "u1").await;
    let waits = begin_later(&b, &dialog(1), "u2").await;
    arrived(&b).await;
    drop(held);
    drop(waits.await.unwrap().unwrap());
    assert_eq!(turn(&*a, &dialog(1), "u3", "1").await, None);
    no_lock_rows(&a).await;
}

async fn a_late_fence_is_refused(engine: &dyn Engine) {
    let (a, b) = (engine.open(), engine.open());
    turn(&*a, &dialog(1), "u0", "0").await;
    let mut late = begin(&*a, &dialog(1), "u1").await.grant.unwrap();
    let waits = begin_later(&b, &dialog(1), "u2").await;
    arrived(&b).await;
    // The life of `a` ends, `b` takes over; what `a` had on its way comes after.
    drop(a);
    let begun = waits.await.unwrap().unwrap();
    let mut grant = begun.grant.unwrap();
    assert!(grant.fence() > late.fence());
    for commit in [keep("u1", "late"), last("u1", "late")] {
        let refused = b.commit(&mut late, commit).await;
        assert_eq!(refused, Err(Error::Stale));
    }
    // Nor does it give away a lock that is another's by now.
    b.end(late, Vec::new()).await.unwrap();
    let third = begin_later(&b, &dialog(1), "u3").await;
    arrived(&b).await;
    assert!(!third.is_finished());
    b.commit(&mut grant, last("u2", "2")).await.unwrap();
    let begun = third.await.unwrap().unwrap();
    assert_eq!(begun.state.as_deref(), Some("2"));
}

async fn locks_of_a_dead_owner_are_freed(engine: &dyn Engine) {
    let (a, b) = (engine.open(), engine.open());
    let (mut grants, mut waiting) = (Vec::new(), Vec::new());
    for n in 0..20 {
        grants.push(begin(&*a, &dialog(n), "u").await.grant.unwrap());
        waiting.push(begin_later(&a, &dialog(n), "dead too").await);
    }
    until("the rows are in the file", async || {
        count(&b, "turnkey_lock").await == 20
    })
    .await;
    for waits in waiting {
        waits.abort(); // Each has a clone of `a`.
        assert!(waits.await.unwrap_err().is_cancelled());
    }
    drop(a);
    no_lock_rows(&b).await;
    for n in 0..20 {
        turn(&*b, &dialog(n), &format!("u{n}"), "1").await;
    }
}

async fn a_seen_update_gets_its_stored_answer(engine: &dyn Engine) {
    let (a, b) = (engine.open(), engine.open());
    let seen = Seen {
        digest: vec![0, 1, 255, b'\''],
        answer: (0..=255).collect(),
    };
    let mut grant = begin(&*a, &dialog(1), "u1").await.grant.unwrap();
    let commit = Commit {
        digest: seen.digest.clone(),
        answer: seen.answer.clone(),
        ..last("u1", "1")
    };
    a.commit(&mut grant, commit).await.unwrap();
    for client in [&a, &b] {
        for dialog in [dialog(1), dialog(2)] {
            let begun = begin(&**client, &dialog, "u1").await;
            assert_eq!(begun.seen.as_ref(), Some(&seen));
            assert!(begun.grant.is_none() && begun.unsent.is_empty());
        }
    }
    // The id belongs to its channel.
    let begun = begin(&*a, &DialogKey::new("viber", "1"), "u1").await;
    assert!(begun.seen.is_none() && begun.grant.is_some());
    // Empty digest and answer are an answer all the same.
    let mut grant = begin(&*a, &dialog(1), "u2").await.grant.unwrap();
    let commit = Commit {
        update: "u2".into(),
        state: "2".into(),
        lock: LockAfter::GivenBack,
        ..Commit::default()
    };
    a.commit(&mut grant, commit).await.unwrap();
    let again = begin(&*b, &dialog(1), "u2").await.seen.unwrap();
    assert_eq!((again.digest, again.answer), (Vec::new(), Vec::new()));
    drop(begun);
    no_lock_rows(&a).await;
}

async fn an_update_of_another_dialog_is_seen_at_commit(engine: &dyn Engine) {
    let (a, b) = (engine.open(), engine.open());
    let mut one = begin(&*a, &dialog(1), "u").await.grant.unwrap();
    let mut two = begin(&*b, &dialog(2), "u").await.grant.unwrap();
    a.commit(&mut one, last("u", "1")).await.unwrap();
    let commit = Commit {
        statements: vec![book("two", 2)],
        ..last("u", "2")
    };
    assert_eq!(b.commit(&mut two, commit).await, Err(Error::Seen));
    assert_eq!(count(&a, "booking").await, 0);
    // The lock is still held, and the turn may do something else.
    b.commit(&mut two, last("other", "2")).await.unwrap();
    assert_eq!(turn(&*a, &dialog(2), "u3", "3").await.as_deref(), Some("2"));
}

async fn a_duplicate_in_flight_waits(engine: &dyn Engine) {
    let (a, b) = (engine.open(), engine.open());
    for round in 0..20 {
        let update = format!("u{round}");
        let mut grant = begin(&*a, &dialog(1), &update).await.grant.unwrap();
        let same = begin_later(&b, &dialog(1), &update).await;
        arrived(&b).await;
        assert!(!same.is_finished());
        a.commit(&mut grant, last(&update, "1")).await.unwrap();
        let begun = same.await.unwrap().unwrap();
        assert_eq!(begun.seen.unwrap().answer, b"answer");
        assert!(begun.grant.is_none());
    }
    // When the first one fails, the duplicate is a turn like any other.
    let grant = begin(&*a, &dialog(1), "failed").await.grant.unwrap();
    let same = begin_later(&b, &dialog(1), "failed").await;
    drop(grant);
    let begun = same.await.unwrap().unwrap();
    assert!(begun.seen.is_none() && begun.grant.is_some());
}

async fn statements_commit_with_the_turn(engine: &dyn Engine) {
    let client = engine.open();
    let mut grant = begin(&*client, &dialog(1), "u1").await.grant.unwrap();
    let commit = Commit {
        statements: vec![
            book("ann", 2),
            Statement::new("UPDATE booking SET seats = seats + ?1", (3,)),
            Statement::new("INSERT INTO note VALUES (?1)", (None::<String>,)),
        ],
        ..keep("u1", "1")
    };
    client.commit(&mut grant, commit.clone()).await.unwrap();
    // Sent again: the primary key must not turn it into a failure.
    client.commit(&mut grant, commit).await.unwrap();
    let rows = client
        .query(
            Some(&grant),
            Statement::new("SELECT name, seats FROM booking WHERE seats > ?1", (1,)),
        )
        .await
        .unwrap();
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0].get::<String>("name").unwrap(), "ann");
    assert_eq!(rows[0].get::<i64>("seats").unwrap(), 5);
    assert_eq!(count(&client, "note").await, 1);
}

async fn statements_that_fail_undo_the_turn(engine: &dyn Engine) {
    let client = engine.open();
    turn(&*client, &dialog(1), "u0", "0").await;
    let mut grant = begin(&*client, &dialog(1), "u1").await.grant.unwrap();
    let bad = [
        vec![book("ann", 1), book("ann", 2)],
        vec![book("ann", 1), Statement::new("nonsense", ())],
        vec![
            book("ann", 1),
            Statement::new("INSERT INTO no_table VALUES (1)", ()),
        ],
        vec![
            book("ann", 1),
            Statement::new("INSERT INTO note VALUES (?1)", ()),
        ],
        vec![
            book("ann", 1),
            Statement::new("INSERT INTO note VALUES (1)", (1,)),
        ],
        vec![book("ann", 1), Statement::new("", ())],
        vec![Statement::new(
            "INSERT INTO note VALUES ('a'); INSERT INTO note VALUES ('b')",
            (),
        )],
    ];
    for statements in bad {
        let what = format!("{statements:?}");
        // Others commit in the same moment: they are not concerned.
        let other = tokio::spawn({
            let (client, user) = (client.clone(), what.clone());
            async move { turn(&*client, &dialog(&user), &user, "1").await }
        });
        let commit = Commit {
            statements,
            replies: vec!["never".into()],
            ..last("u1", "1")
        };
        let failed = client.commit(&mut grant, commit).await;
        assert!(
            matches!(failed, Err(Error::Statement(_))),
            "{what}: {failed:?}"
        );
        assert_eq!(other.await.unwrap(), None);
        assert_eq!(count(&client, "booking").await, 0, "{what}");
        assert_eq!(count(&client, "note").await, 0, "{what}");
    }
    client.commit(&mut grant, last("u1", "1")).await.unwrap();
    let begun = begin(&*client, &dialog(1), "u2").await;
    assert_eq!(begun.state.as_deref(), Some("1"));
    assert_eq!(begun.unsent, []);
}

async fn statements_stay_off_our_tables(engine: &dyn Engine) {
    let client = engine.open();
    turn(&*client, &dialog(1), "u0", "0").await;
    let mut grant = begin(&*client, &dialog(1), "u1").await.grant.unwrap();
    for sql in [
        "DELETE FROM turnkey_lock",
        "DELETE FROM TURNKEY_SEEN",
        "UPDATE turnkey_dialog SET state = '9'",
        "INSERT INTO turnkey_history VALUES (1, 1, 1, '')",
        "REPLACE INTO main.turnkey_history VALUES (1, 1, 1, '')",
        "WITH x AS (SELECT 1) DELETE FROM turnkey_outbox",
        "DROP TABLE turnkey_outbox",
        "ALTER TABLE turnkey_outbox RENAME TO mine",
        "CREATE TABLE turnkey_mine (a TEXT)",
        "CREATE TABLE Turnkey_mine (a TEXT)",
        "CREATE INDEX mine ON turnkey_dialog (state)",
        "CREATE TRIGGER mine AFTER UPDATE ON turnkey_dialog BEGIN DELETE FROM note; END",
        "CREATE TEMP TRIGGER mine AFTER UPDATE ON turnkey_dialog BEGIN DELETE FROM note; END",
        "CREATE TEMP TABLE turnkey_dialog (a TEXT)",
        "CREATE TEMP VIEW mine AS SELECT 1",
        "DROP INDEX sqlite_autoindex_turnkey_dialog_1",
        "PRAGMA synchronous = OFF",
        "PRAGMA user_version",
        "ATTACH DATABASE ':memory:' AS other",
        "DETACH DATABASE main",
        "COMMIT",
        "ROLLBACK",
        "BEGIN",
        "END",
        "SAVEPOINT mine",
        "RELEASE turn",
        "ROLLBACK TO turn",
        "VACUUM",
    ] {
        let commit = Commit {
            statements: vec![Statement::new(sql, ())],
            ..last("u1", "1")
        };
        let refused = client.commit(&mut grant, commit).await;
        assert!(
            matches!(refused, Err(Error::Statement(_))),
            "{sql}: {refused:?}"
        );
    }
    // A trigger of the author's on the author's table does not get there either.
    let commit = Commit {
        statements: vec![
            Statement::new(
                "CREATE TRIGGER mine AFTER INSERT ON note BEGIN DELETE FROM turnkey_dialog; END",
                (),
            ),
            Statement::new("INSERT INTO note VALUES ('x')", ()),
        ],
        ..last("u1", "1")
    };
    let refused = client.commit(&mut grant, commit).await;
    assert!(matches!(refused, Err(Error::Statement(_))), "{refused:?}");
    client.commit(&mut grant, last("u1", "1")).await.unwrap();
    assert_eq!(
        turn(&*client, &dialog(1), "u2", "2").await.as_deref(),
        Some("1")
    );
}

async fn unsent_replies_come_back_in_order(engine: &dyn Engine) {
    let (a, b) = (engine.open(), engine.open());
    let mut committed = Vec::new();
    let bodies = |unsent: &[turnkey_storage::Unsent]| -> Vec<String> {
        unsent.iter().map(|reply| reply.body.clone()).collect()
    };
    for n in 0..3 {
        let begun = begin(&*a, &dialog(1), &format!("u{n}")).await;
        assert_eq!(bodies(&begun.unsent), committed);
        let mut grant = begun.grant.unwrap();
        let replies: Vec<_> = (0..12).map(|i| format!("{n}.{i}")).collect();
        committed.extend(replies.clone());
        let commit = Commit {
            replies,
            ..keep(&format!("u{n}"), "1")
        };
        a.commit(&mut grant, commit).await.unwrap();
        // The turn dies here: whoever comes next sends them.
    }
    // Seen, but with something left to send: that comes with the lock.
    let begun = begin(&*b, &dialog(1), "u0").await;
    assert_eq!(begun.seen.unwrap().answer, b"answer");
    assert_eq!(bodies(&begun.unsent), committed);
    let grant = begun.grant.unwrap();
    let ids: Vec<ReplyId> = begun.unsent.iter().map(|reply| reply.id).collect();
    assert!(ids.is_sorted());
    b.sent(&grant, ids[..5].to_vec()).await.unwrap();
    b.sent(&grant, ids[..5].to_vec()).await.unwrap(); // Again: no harm.
    b.sent(&grant, Vec::new()).await.unwrap();
    drop(grant);
    // Without an update: only to send.
    let only_send = Begin {
        update: None,
        ..asks(&dialog(1), "")
    };
    let begun = a.begin(only_send.clone()).await.map(common::flat).unwrap();
    assert_eq!(bodies(&begun.unsent), committed[5..]);
    a.end(begun.grant.unwrap(), ids[5..].to_vec())
        .await
        .unwrap();
    let begun = b.begin(only_send).await.map(common::flat).unwrap();
    assert_eq!(begun.unsent, []);
    drop(begun);
    assert!(begin(&*a, &dialog(1), "u0").await.grant.is_none());
    assert_eq!(count(&a, "turnkey_outbox").await, 0);
}

async fn dialogs_with_unsent_are_those_without_a_turn(engine: &dyn Engine) {
    let (a, b) = (engine.open(), engine.open());
    let mut held = Vec::new();
    for n in 0..6 {
        let mut grant = begin(&*a, &dialog(n), &format!("u{n}"))
            .await
            .grant
            .unwrap();
        let commit = Commit {
            replies: if n == 5 {
                vec![]
            } else {
                vec!["hello".into(), "you".into()]
            },
            ..keep(&format!("u{n}"), "1")
        };
        a.commit(&mut grant, commit).await.unwrap();
        if n % 2 == 0 {
            held.push(grant);
        }
    }
    arrived(&a).await; // The drops.
    let users = async |limit| -> Vec<String> {
        let dialogs = b.dialogs_with_unsent(limit).await.unwrap();
        dialogs.into_iter().map(|d| d.user_id).collect()
    };
    assert_eq!(users(10).await, ["1", "3"]);
    assert_eq!(users(1).await, ["1"]);
    assert_eq!(users(0).await, [""; 0]);
    held.clear();
    arrived(&a).await;
    assert_eq!(users(10).await, ["0", "1", "2", "3", "4"]);
    drop(a);
}

async fn texts_of_all_kinds(engine: &dyn Engine) {
    let (a, b) = (engine.open(), engine.open());
    let texts = [
        String::new(),
        "\0".to_owned(),
        "a\0b\0".to_owned(),
        "Ünïcödé 日本語 🦀 e\u{301} \u{202e} \u{feff}".to_owned(),
        "'; DROP TABLE turnkey_dialog; --".to_owned(),
        "%_\\\"`\r\n\t".to_owned(),
        format!("\"{}\"", "x".repeat(512 << 10)),
    ];
    for text in &texts {
        // The author's column: PostgreSQL's text takes no NUL, and says so.
        let note = match engine.text_holds_nul() {
            true => text.clone(),
            false => text.replace('\0', ""),
        };
        // Long texts are for states, not for names.
        let name: String = text.chars().take(20).collect();
        let who = DialogKey::new("http", name.clone());
        let update = format!("update {name}");
        let begun = begin(&*a, &who, &update).await;
        assert_eq!(begun.state, None, "{name:?}");
        let mut grant = begun.grant.unwrap();
        let commit = Commit {
            replies: vec![text.clone(), text.clone()],
            history: Some(text.clone()),
            answer: text.clone().into_bytes(),
            statements: vec![Statement::new(
                "INSERT INTO note VALUES (?1)",
                (note.as_str(),),
            )],
            ..keep(&update, text)
        };
        a.commit(&mut grant, commit).await.unwrap();
        drop(grant);
        let begun = begin(&*b, &who, &update).await;
        assert_eq!(begun.state.as_ref(), Some(text));
        assert_eq!(begun.seen.unwrap().answer, text.as_bytes());
        let bodies: Vec<_> = begun.unsent.iter().map(|reply| &reply.body).collect();
        assert_eq!(bodies, [text, text]);
        let ids = begun.unsent.iter().map(|reply| reply.id).collect();
        b.end(begun.grant.unwrap(), ids).await.unwrap();
    }
    // An empty id is an id.
    turn(&*a, &dialog("empty id"), "", "1").await;
    assert!(begin(&*a, &dialog("empty id"), "").await.seen.is_some());
    let notes = rows(&a, "SELECT body FROM note").await;
    for text in texts
        .iter()
        .filter(|t| engine.text_holds_nul() || !t.contains('\0'))
    {
        assert!(notes.contains(&vec![Value::Text(text.clone())]));
    }
}

async fn a_query_sees_the_turn_before(engine: &dyn Engine) {
    let clients = [engine.open(), engine.open()];
    let looked = Arc::new(AtomicU64::new(0));
    let upsert = engine.upsert();
    let mut tasks = JoinSet::new();
    for task in 0..24_usize {
        let (client, looked) = (clients[task % 2].clone(), looked.clone());
        tasks.spawn(async move {
            let user = task % 4;
            for round in 0..20 {
                let update = format!("{task}.{round}");
                let begun = begin(&*client, &dialog(user), &update).await;
                let mut grant = begun.grant.unwrap();
                let turns: i64 = begun.state.as_deref().unwrap_or("0").parse().unwrap();
                let seats = Statement::new(
                    "SELECT seats FROM booking WHERE name = ?1",
                    (user.to_string(),),
                );
                let found = client.query(Some(&grant), seats).await.unwrap();
                let seats = found.first().map_or(0, |row| row.get("seats").unwrap());
                assert_eq!(seats, turns, "what the state says was committed");
                looked.fetch_add(1, Ordering::Relaxed);
                let commit = Commit {
                    statements: vec![Statement::new(
                        format!(
                            "INSERT INTO booking VALUES (?1, 1) {upsert} seats = booking.seats + 1"
                        ),
                        (user.to_string(),),
                    )],
                    ..last(&update, &(turns + 1).to_string())
                };
                client.commit(&mut grant, commit).await.unwrap();
            }
        });
    }
    tasks.join_all().await;
    assert_eq!(looked.load(Ordering::Relaxed), 24 * 20);
}

async fn a_query_only_reads(engine: &dyn Engine) {
    let client = engine.open();
    for sql in [
        "INSERT INTO note VALUES ('x')",
        "DELETE FROM turnkey_dialog",
        "CREATE TABLE mine (a TEXT)",
        "PRAGMA user_version = 9",
        "SELECT * FROM no_table",
        "nonsense",
        "SELECT 1 WHERE 1 = ?1",
    ] {
        let refused = client.query(None, Statement::new(sql, ())).await;
        assert!(
            matches!(refused, Err(Error::Statement(_))),
            "{sql}: {refused:?}"
        );
    }
    assert_eq!(count(&client, "note").await, 0);
    let values = [
        Value::Null,
        Value::Integer(i64::MIN),
        Value::Real(1.5),
        Value::Text("a\0é".into()),
        Value::Blob(vec![0, 255]),
    ];
    for value in values {
        let row = Statement::new("SELECT ?1 AS it", [value.clone()]);
        if !engine.text_holds_nul() && value == Value::Text("a\0é".into()) {
            let refused = client.query(None, row).await;
            assert!(matches!(refused, Err(Error::Statement(why)) if why.contains("NUL")));
            continue;
        }
        let rows = client.query(None, row).await.unwrap();
        assert_eq!(rows[0].get::<Value>("it").unwrap(), value);
        assert_eq!(rows[0].columns(), ["it"]);
    }
    // A transaction that a query leaves open would show an old state for ever.
    let _ = client.query(None, Statement::new("BEGIN", ())).await;
    count(&client, "note").await;
    let mut grant = begin(&*client, &dialog(1), "u1").await.grant.unwrap();
    let commit = Commit {
        statements: vec![Statement::new("INSERT INTO note VALUES ('x')", ())],
        ..last("u1", "1")
    };
    client.commit(&mut grant, commit).await.unwrap();
    assert_eq!(count(&client, "note").await, 1);
}

/// A turn that begins again keeps its place, though its request comes later.
async fn an_earlier_arrival_is_served_earlier(engine: &dyn Engine) {
    let (a, b) = (engine.open(), engine.open());
    let held = begin(&*a, &dialog(1), "u1").await.grant.unwrap();
    let earlier = Begin {
        arrived: Arrival::now(),
        ..asks(&dialog(1), "again")
    };
    tokio::time::sleep(Duration::from_millis(20)).await;
    let later = begin_later(&a, &dialog(1), "u2").await;
    arrived(&a).await;
    let client = b.clone();
    let again =
        tokio::spawn(started(async move { client.begin(earlier).await.map(common::flat) }).await);
    arrived(&b).await;
    drop(held);
    let first = again.await.unwrap().unwrap().grant.unwrap();
    let second_waits = !later.is_finished();
    let second = tokio::spawn(async move { later.await.unwrap().unwrap().grant.unwrap() });
    let fence = first.fence();
    drop(first);
    assert!(second_waits && second.await.unwrap().fence() > fence);
}

async fn a_wait_that_runs_out_is_busy(engine: &dyn Engine) {
    let (a, b) = (engine.open(), engine.open());
    let held = begin(&*a, &dialog(1), "u1").await.grant.unwrap();
    for client in [&a, &b] {
        arrived(client).await; // Connected, or it would be "not there".
        let short = Begin {
            arrived: Arrival::now(),
            wait: Duration::from_millis(30),
            ..asks(&dialog(1), "short")
        };
        let busy = client.begin(short).await.map(common::flat);
        assert!(matches!(busy, Err(Error::Busy(_))), "{busy:?}");
    }
    let waits = begin_later(&b, &dialog(1), "u2").await;
    arrived(&b).await;
    drop(held);
    drop(waits.await.unwrap().unwrap());
    // Time-outs and grants that cross each other leave no lock behind.
    let mut tasks = JoinSet::new();
    for n in 0..200_u64 {
        let client = if n % 2 == 0 { a.clone() } else { b.clone() };
        tasks.spawn(async move {
            let short = Begin {
                arrived: Arrival::now(),
                wait: Duration::from_micros(n * 20),
                ..asks(&dialog(n % 3), &format!("x{n}"))
            };
            match client.begin(short).await.map(common::flat) {
                Ok(begun) => drop(begun.grant.unwrap()),
                Err(Error::Busy(_)) => {}
                Err(other) => panic!("{other}"),
            }
        });
    }
    tasks.join_all().await;
    for n in 0..3 {
        turn(&*a, &dialog(n), &format!("last{n}"), "1").await;
    }
    no_lock_rows(&a).await;
}

async fn a_flood_on_one_dialog_is_refused(engine: &dyn Engine) {
    let (a, b) = (engine.open(), engine.open());
    let held = begin(&*a, &dialog(1), "u").await.grant.unwrap();
    let mut waiting = JoinSet::new();
    for n in 0..1000 {
        let (client, begin) = (a.clone(), asks(&dialog(1), &format!("u{n}")));
        waiting.spawn(started(async move { client.begin(begin).await.map(common::flat) }).await);
    }
    arrived(&a).await;
    for client in [&a, &b] {
        let refused = client
            .begin(asks(&dialog(1), "one too many"))
            .await
            .map(common::flat);
        assert!(matches!(refused, Err(Error::Busy(_))), "{refused:?}");
    }
    turn(&*b, &dialog(2), "another user", "1").await;
    drop(held);
    let mut served = 0;
    while let Some(begun) = waiting.join_next().await {
        served += u32::from(begun.unwrap().unwrap().grant.is_some());
    }
    assert_eq!(served, 1000);
}

async fn ten_thousand_turns_in_flight(engine: &dyn Engine) {
    let client = engine.open();
    let all = Arc::new(tokio::sync::Barrier::new(10_000));
    let mut tasks = JoinSet::new();
    for n in 0..10_000 {
        let (client, all) = (client.clone(), all.clone());
        tasks.spawn(async move {
            let update = format!("u{n}");
            let mut grant = begin(&*client, &dialog(n), &update).await.grant.unwrap();
            // All of them hold their locks at once.
            all.wait().await;
            client.commit(&mut grant, last(&update, "1")).await.unwrap();
        });
    }
    tasks.join_all().await;
    assert_eq!(count(&client, "turnkey_dialog").await, 10_000);
    no_lock_rows(&client).await;
}

async fn no_update_is_lost_on_hot_dialogs(engine: &dyn Engine) {
    let clients: Vec<Client> = (0..5).map(|_| engine.open()).collect();
    let mut tasks = JoinSet::new();
    for task in 0..50_usize {
        let client = clients[task % clients.len()].clone();
        tasks.spawn(async move {
            let mut acknowledged: HashMap<String, i64> = HashMap::new();
            for round in 0..40 {
                let user = match round % 3 {
                    0 => format!("cold{}", (task * 40 + round) % 200),
                    _ => format!("hot{}", (task + round) % 5),
                };
                let update = format!("{task}.{round}");
                let begun = begin(&*client, &dialog(&user), &update).await;
                let n: i64 = begun.state.as_deref().unwrap_or("0").parse().unwrap();
                let mut grant: Grant = begun.grant.unwrap();
                if round % 7 == 0 {
                    tokio::task::yield_now().await; // A handler that takes a while.
                }
                if round % 11 == 0 {
                    continue; // A handler that fails: nothing changes.
                }
                let commit = Commit {
                    lock: match round % 2 == 0 {
                        true => LockAfter::GivenBack,
                        false => LockAfter::Kept,
                    },
                    ..last(&update, &(n + 1).to_string())
                };
                client.commit(&mut grant, commit).await.unwrap();
                *acknowledged.entry(user).or_default() += 1;
            }
            acknowledged
        });
    }
    let mut sums: HashMap<String, i64> = HashMap::new();
    for acknowledged in tasks.join_all().await {
        for (user, n) in acknowledged {
            *sums.entry(user).or_default() += n;
        }
    }
    let stored: HashMap<String, i64> =
        rows(&clients[0], "SELECT user_id, state FROM turnkey_dialog")
            .await
            .into_iter()
            .map(|row| match &row[..] {
                [Value::Text(user), Value::Text(state)] => (user.clone(), state.parse().unwrap()),
                // MySQL's engine keeps its keys as bytes.
                [Value::Blob(user), Value::Text(state)] => {
                    let user = String::from_utf8(user.clone()).unwrap();
                    (user, state.parse().unwrap())
                }
                other => panic!("{other:?}"),
            })
            .collect();
    assert_eq!(stored, sums);
    no_lock_rows(&clients[0]).await;
}

async fn abandoned_begins_leave_no_lock(engine: &dyn Engine) {
    let (a, b) = (engine.open(), engine.open());
    let held = begin(&*a, &dialog(0), "held").await.grant.unwrap();
    for n in 0..300_u64 {
        // Dialog 0 is held: these wait. The others are granted at about the
        // moment in which their caller goes away.
        let client = if n % 2 == 0 { &a } else { &b };
        let future = started({
            let (client, begin) = (client.clone(), asks(&dialog(n % 4), &format!("u{n}")));
            async move { client.begin(begin).await.map(common::flat) }
        });
        let future = future.await;
        match n % 3 {
            0 => drop(future),
            1 => {
                let task = tokio::spawn(future);
                tokio::task::yield_now().await;
                task.abort();
            }
            _ => drop(tokio::time::timeout(Duration::from_micros(n * 5), future).await),
        }
    }
    // They gave their places up too: there is room for a thousand others.
    for n in 0..1001 {
        let (client, begin) = (a.clone(), asks(&dialog(0), &format!("flood{n}")));
        drop(started(async move { client.begin(begin).await.map(common::flat) }).await);
    }
    let waits = begin_later(&a, &dialog(0), "not refused").await;
    arrived(&a).await;
    drop(held);
    drop(waits.await.unwrap().unwrap());
    for n in 0..4 {
        let begun = tokio::time::timeout(LONG, begin(&*b, &dialog(n), "last")).await;
        drop(begun.expect("somebody still holds it"));
    }
    no_lock_rows(&a).await;
}

async fn a_client_in_use_may_be_dropped(engine: &dyn Engine) {
    let (a, b) = (engine.open(), engine.open());
    let grant = begin(&*a, &dialog(1), "u1").await.grant.unwrap();
    drop(a);
    drop(grant); // Its storage is gone: nothing happens.
    turn(&*b, &dialog(1), "u2", "1").await;
}

on_every_engine! {
    a_turn_goes_round
    a_new_dialog_has_no_state_and_later_it_has
    a_turn_may_commit_more_than_once
    waiters_are_served_in_order_of_arrival
    dialogs_do_not_wait_for_each_other
    a_dropped_grant_gives_the_lock_back
    a_late_fence_is_refused
    locks_of_a_dead_owner_are_freed
    a_seen_update_gets_its_stored_answer
    an_update_of_another_dialog_is_seen_at_commit
    a_duplicate_in_flight_waits
    statements_commit_with_the_turn
    statements_that_fail_undo_the_turn
    statements_stay_off_our_tables
    unsent_replies_come_back_in_order
    dialogs_with_unsent_are_those_without_a_turn
    texts_of_all_kinds
    a_query_sees_the_turn_before
    a_query_only_reads
    an_earlier_arrival_is_served_earlier
    a_wait_that_runs_out_is_busy
    a_flood_on_one_dialog_is_refused
    ten_thousand_turns_in_flight
    no_update_is_lost_on_hot_dialogs
    abandoned_begins_leave_no_lock
    a_client_in_use_may_be_dropped
    what_is_in_the_inbox_goes_first_in_the_order_of_arrival
    one_that_waited_for_the_lock_learns_what_came_meanwhile
    a_commit_takes_its_update_out_of_the_inbox
    many_commits_take_out_what_is_theirs
    the_inbox_takes_an_update_once_and_up_to_its_bounds
    what_is_due_in_a_day_is_due_now
    the_inbox_says_which_dialogs_are_due
    relays_arrive_with_their_commit
    relays_go_with_all_else_that_a_commit_has
    a_relay_that_is_known_already_is_left_alone
    a_commit_that_fails_relays_nothing
    a_late_fence_relays_nothing
    a_turn_may_relay_to_its_own_dialog
    many_commits_relay_to_each_other
    one_commit_may_relay_to_many
    updates_are_relayed_outside_of_a_turn
    an_update_that_is_buried_is_answered_and_out_of_the_way
    dead_letters_are_listed_tried_again_and_dropped
    a_reply_that_is_given_up_is_out_of_the_way
    dead_replies_are_listed_tried_again_and_dropped
    it_is_known_whether_a_turn_was_overtaken
    pauses_are_kept_until_they_are_over
    marks_are_kept_for_each_channel
    a_message_is_found_by_its_name
    names_of_any_kind_are_kept_and_long_ones_refused
    a_name_that_many_set_at_once_is_one_row
    a_reset_forgets_the_names_too
    the_names_are_not_the_authors_to_change
    a_broadcast_goes_through_its_dialogs_step_by_step
    a_step_is_taken_once_and_not_of_a_paused_broadcast
    a_broadcast_goes_to_those_that_were_chosen
    a_wrong_condition_is_refused_in_the_databases_words
    a_broadcast_counts_each_dialog_once
    a_stopped_broadcast_leaves_nothing_in_the_inbox
    many_boxes_take_steps_of_one_broadcast
    old_broadcasts_are_forgotten
    a_reset_forgets_the_state_even_under_a_turn
    an_operator_sees_dialogs_and_what_waits
    a_sweep_deletes_what_is_old_and_comes_to_an_end
}
