//! Turso as an engine of the laboratory: docs/ENGINES.md is the protocol.
//!
//! `engine-turso` writes a log as SQLite does and takes the lock first; `engine-turso --mvcc`
//! has PRAGMA journal_mode = 'mvcc' and BEGIN CONCURRENT: writers of different rows do not wait
//! for each other, and one that loses tries again. A connection for each turn in flight.

use std::io::BufRead;
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};
use serde_json::Value;
use turso::{Builder, Connection, Database, Error};

type Any<T> = Result<T, Box<dyn std::error::Error>>;

fn now() -> u64 {
    clock_gettime(ClockId::CLOCK_MONOTONIC)
        .map_or(0, |t| t.tv_sec() as u64 * 1_000_000_000 + t.tv_nsec() as u64)
}

fn number(what: &Value, name: &str) -> u64 {
    what[name].as_u64().unwrap_or_default()
}

fn is_mvcc() -> bool {
    std::env::args().any(|argument| argument == "--mvcc")
}

async fn connect(db: &Database, order: &Value) -> Any<Connection> {
    let conn = db.connect()?;
    conn.busy_timeout(Duration::from_secs(5))?;
    if is_mvcc() {
        conn.pragma_update("journal_mode", "'mvcc'").await?;
    }
    let sync = order["sync"].as_str().unwrap_or("full");
    conn.pragma_update("synchronous", sync).await?;
    Ok(conn)
}

async fn one(conn: &Connection, sql: &str, value: u64) -> Any<u64> {
    let mut rows = conn.prepare_cached(sql).await?.query((value as i64,)).await?;
    let mut first = 0;
    while let Some(row) = rows.next().await? {
        first = row.get::<i64>(0)? as u64;
    }
    Ok(first)
}

async fn turn(conn: &Connection, user: u64, pad: &str) -> Any<()> {
    let begin = if is_mvcc() { "BEGIN CONCURRENT" } else { "BEGIN IMMEDIATE" };
    conn.execute(begin, ()).await?;
    let count = one(conn, "SELECT count FROM state WHERE user = ?", user).await?;
    let sql = "UPDATE state SET count = ?, pad = ? WHERE user = ?";
    let mut update = conn.prepare_cached(sql).await?;
    update.execute((count as i64 + 1, pad, user as i64)).await?;
    conn.execute("COMMIT", ()).await?;
    Ok(())
}

/// One client: its turns, as lines.
async fn client(conn: Connection, order: Value, window: Value, lane: u64) -> Any<String> {
    let (begin, until) = (number(&window, "begin"), number(&window, "until"));
    let mut chance = fastrand::Rng::with_seed(number(&window, "seed") * 4096 + lane);
    let pad = "x".repeat(number(&order, "state_bytes") as usize);
    let step = window["rate"].as_f64().map(|rate| 1e9 / rate);
    let (mut number_of, mut lines) = (lane, String::new());
    loop {
        // On a schedule a turn's latency counts from when it was due.
        let began = step.map_or_else(|| now().max(begin), |step| begin + (number_of as f64 * step) as u64);
        if began.max(now()) >= until {
            break;
        }
        tokio::time::sleep(Duration::from_nanos(began.saturating_sub(now()))).await;
        let user = chance.u64(..number(&order, "users"));
        while let Err(error) = turn(&conn, user, &pad).await {
            let again = matches!(error.downcast_ref(), Some(Error::Busy(_) | Error::BusySnapshot(_)));
            if !again && !error.to_string().contains("conflict") {
                return Err(error);
            }
            lines += "fail conflict\n";
            drop(conn.execute("ROLLBACK", ()).await);
            tokio::task::yield_now().await;
        }
        lines += &format!("t {began} {}\n", now());
        number_of += number(&order, "in_flight");
    }
    while let Some(due) = step.map(|step| begin + (number_of as f64 * step) as u64).filter(|due| *due < until) {
        lines += &format!("late {due}\n");
        number_of += number(&order, "in_flight");
    }
    Ok(lines)
}

async fn fill(conn: &Connection, order: &Value) -> Any<()> {
    let sql = "CREATE TABLE state (user INTEGER PRIMARY KEY, count INTEGER NOT NULL, pad TEXT NOT NULL)";
    conn.execute(sql, ()).await?;
    conn.execute("BEGIN", ()).await?;
    let pad = "x".repeat(number(order, "state_bytes") as usize);
    for user in 0..number(order, "users") {
        let mut insert = conn.prepare_cached("INSERT INTO state VALUES (?, 0, ?)").await?;
        insert.execute((user as i64, pad.as_str())).await?;
    }
    conn.execute("COMMIT", ()).await?;
    Ok(())
}

async fn serve() -> Any<()> {
    let (mut order, mut opened) = (Value::Null, None);
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let (verb, what) = line.split_once(' ').unwrap_or((&line, "{}"));
        let what: Value = serde_json::from_str(what)?;
        if verb == "open" {
            let path = format!("{}/turso.db", what["directory"].as_str().unwrap_or("."));
            let several = number(&what, "processes") > 1;
            let db = Builder::new_local(&path).experimental_multiprocess_wal(several).build().await?;
            let conn = connect(&db, &what).await?;
            (order, opened) = (what, Some((db, conn)));
            println!("ready");
            continue;
        }
        let (db, conn) = opened.as_ref().ok_or("open comes first")?;
        match verb {
            "fill" => {
                fill(conn, &order).await?;
                println!("filled");
            }
            "run" => {
                let lanes = tokio::task::LocalSet::new();
                let ended = lanes.run_until(async {
                    let mut all = Vec::new();
                    for lane in 0..number(&order, "in_flight") {
                        let conn = connect(db, &order).await?;
                        let client = client(conn, order.clone(), what.clone(), lane);
                        all.push(tokio::task::spawn_local(client));
                    }
                    let mut lines = String::new();
                    for lane in all {
                        lines += &lane.await??;
                    }
                    Any::Ok(lines)
                });
                println!("{}done", ended.await?);
            }
            _ => println!("sum {}", one(conn, "SELECT sum(count) FROM state WHERE user >= ?", 0).await?),
        }
    }
    Ok(())
}

fn main() -> Any<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    runtime.block_on(serve())
}
