//! redb as an engine of the laboratory: docs/ENGINES.md is the protocol.
//!
//! One thread for each turn in flight; redb lets one of them write at a time, in all
//! processes together (`ConcurrencyMode::MultiWriter`), and syncs at each commit.

use std::io::{BufRead, Write};
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};
use redb::{ConcurrencyMode, Database, Durability, ReadableDatabase, ReadableTable, TableDefinition};
use serde_json::Value;

const STATES: TableDefinition<u64, (u64, &str)> = TableDefinition::new("state");

type Any<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

fn now() -> u64 {
    clock_gettime(ClockId::CLOCK_MONOTONIC)
        .map_or(0, |t| t.tv_sec() as u64 * 1_000_000_000 + t.tv_nsec() as u64)
}

fn number(what: &Value, name: &str) -> u64 {
    what[name].as_u64().unwrap_or_default()
}

fn open(order: &Value) -> Any<Database> {
    let path = format!("{}/states.redb", order["directory"].as_str().unwrap_or("."));
    let mut builder = Database::builder();
    if number(order, "processes") > 1 {
        builder.set_concurrency_mode(ConcurrencyMode::MultiWriter);
    }
    Ok(builder.create(path)?)
}

fn write(db: &Database, order: &Value, work: impl FnOnce(&mut redb::Table<u64, (u64, &'static str)>) -> Any<()>) -> Any<()> {
    let mut writing = db.begin_write()?;
    if order["sync"] == "normal" {
        writing.set_durability(Durability::None)?;
    }
    work(&mut writing.open_table(STATES)?)?;
    Ok(writing.commit()?)
}

/// One client: its turns, as lines.
fn client(db: &Database, order: &Value, window: &Value, lane: u64) -> Any<String> {
    let (begin, until) = (number(window, "begin"), number(window, "until"));
    let lanes = number(order, "in_flight");
    let mut chance = fastrand::Rng::with_seed(number(window, "seed") * 4096 + lane);
    let pad = "x".repeat(number(order, "state_bytes") as usize);
    let step = window["rate"].as_f64().map(|rate| 1e9 / rate);
    let (mut turn, mut lines) = (lane, String::new());
    loop {
        // On a schedule a turn's latency counts from when it was due.
        let began = step.map_or_else(|| now().max(begin), |step| begin + (turn as f64 * step) as u64);
        if began.max(now()) >= until {
            break;
        }
        std::thread::sleep(Duration::from_nanos(began.saturating_sub(now())));
        let user = chance.u64(..number(order, "users"));
        write(db, order, |states| {
            let count = states.get(user)?.map_or(0, |state| state.value().0);
            states.insert(user, (count + 1, pad.as_str()))?;
            Ok(())
        })?;
        lines += &format!("t {began} {}\n", now());
        turn += lanes;
    }
    while let Some(due) = step.map(|step| begin + (turn as f64 * step) as u64).filter(|due| *due < until) {
        lines += &format!("late {due}\n");
        turn += lanes;
    }
    Ok(lines)
}

fn main() -> Any<()> {
    let (mut order, mut opened) = (Value::Null, None);
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let (verb, what) = line.split_once(' ').unwrap_or((&line, "{}"));
        let what: Value = serde_json::from_str(what)?;
        if verb == "open" {
            opened = Some(open(&what)?);
            order = what;
            println!("ready");
            continue;
        }
        let db = opened.as_ref().ok_or("open comes first")?;
        match verb {
            "fill" => {
                let pad = "x".repeat(number(&order, "state_bytes") as usize);
                write(db, &Value::Null, |states| {
                    (0..number(&order, "users")).try_for_each(|user| Ok(states.insert(user, (0, pad.as_str())).map(drop)?))
                })?;
                println!("filled");
            }
            "run" => {
                let ended: Vec<Any<String>> = std::thread::scope(|scope| {
                    let lanes = (0..number(&order, "in_flight")).map(|lane| scope.spawn({
                        let (order, what) = (&order, &what);
                        move || client(db, order, what, lane)
                    }));
                    let lanes: Vec<_> = lanes.collect();
                    lanes.into_iter().map(|lane| lane.join().unwrap_or_else(|_| Err("a lane panicked".into()))).collect()
                });
                for lines in ended {
                    std::io::stdout().write_all(lines?.as_bytes())?;
                }
                println!("done");
            }
            _ => {
                let states = db.begin_read()?.open_table(STATES)?;
                let sum: u64 = states.iter()?.map(|row| row.map_or(0, |(_, state)| state.value().0)).sum();
                println!("sum {sum}");
            }
        }
    }
    Ok(())
}
