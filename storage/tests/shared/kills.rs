//! Any process is killed at any moment, the one that writes above all: sums stay exact, what was
//! acknowledged is there, nothing is there twice. `TURNKEY_KILLS` says how often
//! (`scripts/soak`).

use std::collections::HashSet;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Child;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rusqlite::Connection;
use turnkey_storage::sqlite::check;

use crate::common::{LONG, block_on, runtime};
use crate::place::place;
use crate::processes::{ACCOUNTS, opening, start};

const PROCESSES: usize = 4;

struct Running {
    child: Child,
    /// Reads what it prints, to the end.
    reader: JoinHandle<()>,
}

/// What the processes have printed.
#[derive(Default)]
struct Acknowledged {
    operations: Mutex<HashSet<String>>,
    count: AtomicU64,
}

fn run(path: &Path, number: u64, acknowledged: &Arc<Acknowledged>) -> Running {
    let mut child = start(path, number);
    let output = BufReader::new(child.stdout.take().unwrap());
    let acknowledged = acknowledged.clone();
    let reader = std::thread::spawn(move || {
        for line in output.lines() {
            let line = line.unwrap();
            let Some((_, operation)) = line.strip_prefix("ack ").and_then(|l| l.split_once(' '))
            else {
                assert!(!line.contains("panicked"), "{line}");
                continue;
            };
            let new = acknowledged
                .operations
                .lock()
                .unwrap()
                .insert(operation.to_owned());
            assert!(new, "{operation} was acknowledged twice");
            acknowledged.count.fetch_add(1, Ordering::Relaxed);
        }
    });
    Running { child, reader }
}

/// Who holds the lock on the file: the kernel knows.
fn writing(path: &Path) -> Option<u32> {
    use std::os::unix::fs::MetadataExt;
    let lock = std::fs::metadata(path.with_file_name("app.db-lock")).ok()?;
    let locks = std::fs::read_to_string("/proc/locks").ok()?;
    let inode = format!(":{}", lock.ino());
    let mut lines = locks.lines().filter(|line| line.contains("FLOCK"));
    let line = lines.find(|line| line.split_whitespace().any(|word| word.ends_with(&inode)))?;
    line.split_whitespace().nth(4)?.parse().ok()
}

fn wait_for(acknowledged: &Acknowledged, more: u64) -> Duration {
    let goal = acknowledged.count.load(Ordering::Relaxed) + more;
    let begun = Instant::now();
    while acknowledged.count.load(Ordering::Relaxed) < goal {
        assert!(begun.elapsed() < LONG, "nothing is acknowledged any more");
        std::thread::sleep(Duration::from_micros(200));
    }
    begun.elapsed()
}

#[test]
fn killed_processes_lose_and_repeat_nothing() {
    let kills = std::env::var("TURNKEY_KILLS").map_or(50, |kills| kills.parse().unwrap());
    let (_dir, path) = place();
    let acknowledged = Arc::new(Acknowledged::default());
    let mut processes: Vec<Running> = (0..PROCESSES as u64)
        .map(|number| run(&path, number, &acknowledged))
        .collect();
    let (mut writers, mut slowest) = (0, Duration::ZERO);
    for kill in 0..kills {
        wait_for(&acknowledged, 20 + kill * 37 % 90);
        // Two times of three the one that writes, else any.
        let writer = writing(&path).filter(|_| kill % 3 < 2);
        let place = writer.and_then(|id| processes.iter().position(|p| p.child.id() == id));
        writers += usize::from(place.is_some());
        let place = place.unwrap_or(kill as usize % PROCESSES);
        let mut killed = processes.swap_remove(place);
        assert!(
            killed.child.try_wait().unwrap().is_none(),
            "it ended by itself"
        );
        killed.child.kill().unwrap();
        killed.child.wait().unwrap();
        killed.reader.join().unwrap();
        slowest = slowest.max(wait_for(&acknowledged, 1));
        processes.push(run(&path, PROCESSES as u64 + kill, &acknowledged));
    }
    wait_for(&acknowledged, 100);
    // All at once.
    for process in &mut processes {
        process.child.kill().unwrap();
    }
    for mut process in processes {
        process.child.wait().unwrap();
        process.reader.join().unwrap();
    }
    // Opened again, it goes on.
    block_on(async {
        let database = opening(&path).await.unwrap();
        database.close().await;
    });
    assert_eq!(runtime().block_on(check(&path)).unwrap(), []);
    let conn = Connection::open(&path).unwrap();
    let one = |sql: &str| conn.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();
    assert_eq!(one("SELECT sum(balance) FROM account"), 0);
    assert_eq!(one("SELECT count(*) FROM account"), ACCOUNTS);
    let twice = "SELECT count(*) FROM (SELECT 1 FROM done GROUP BY operation HAVING count(*) > 1)";
    assert_eq!(one(twice), 0, "operations took effect twice");
    let done: HashSet<String> = conn
        .prepare("SELECT operation FROM done")
        .unwrap()
        .query_map([], |row| row.get(0))
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap();
    let acknowledged = acknowledged.operations.lock().unwrap();
    let lost: Vec<_> = acknowledged.difference(&done).collect();
    assert!(
        lost.is_empty(),
        "{} of {} are lost: {:?}",
        lost.len(),
        acknowledged.len(),
        lost.first()
    );
    println!(
        "KILLS {kills} processes, {writers} of them writing: {} operations acknowledged, {} done, the longest pause {slowest:?}",
        acknowledged.len(),
        done.len()
    );
}
