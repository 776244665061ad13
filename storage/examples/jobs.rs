//! A queue of jobs that four processes work at, in one SQLite file.
//!
//! `cargo run -p turnkey-storage --example jobs -- 1000` puts a thousand jobs into `jobs.db` in
//! the temporary directory, starts four workers, waits until all is done and says who did what.
//! Kill any of the processes meanwhile: a job whose worker died is taken again when its time is
//! over, and no job gets two results.

use std::process::{Command, ExitCode};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use turnkey_storage::sqlite::SharedDatabase;
use turnkey_storage::{Database, Error, Result, Write};

const WORKERS: usize = 4;

/// A job that is not done so many milliseconds after it was taken is another worker's.
const LEASE: i64 = 2000;

async fn open() -> Result<SharedDatabase> {
    Database::open(std::env::temp_dir().join("jobs.db"))
        .migration(
            "CREATE TABLE job (
                 id INTEGER PRIMARY KEY,
                 what TEXT NOT NULL,
                 worker INTEGER,
                 taken_until INTEGER NOT NULL DEFAULT 0,
                 result TEXT
             ) STRICT;
             CREATE INDEX job_open ON job (taken_until) WHERE result IS NULL;",
        )
        .await
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_millis() as i64)
}

async fn add(database: &SharedDatabase, jobs: u32) -> Result<()> {
    let mut write = Write::new();
    for n in 0..jobs {
        write = write.run("INSERT INTO job (what) VALUES (?1)", format!("job {n}"));
    }
    database.write(write).await.map(drop)
}

/// Takes the job that has waited longest: one statement, so nobody else can have it too.
async fn take(database: &SharedDatabase, worker: u32) -> Result<Option<(i64, String)>> {
    let taken = database
        .write(Write::new().run(
            "UPDATE job SET worker = ?1, taken_until = ?2 + ?3 WHERE id = (
                 SELECT id FROM job WHERE result IS NULL AND taken_until < ?2
                 ORDER BY taken_until, id LIMIT 1)
             RETURNING id, what",
            (worker, now(), LEASE),
        ))
        .await?;
    taken[0].rows.first().map(|row| row.to()).transpose()
}

/// Keeps the result, unless the job was taken from this worker meanwhile.
async fn finish(database: &SharedDatabase, worker: u32, job: i64, result: String) -> Result<()> {
    let write = Write::new()
        .run(
            "UPDATE job SET result = ?3 WHERE id = ?1 AND worker = ?2 AND result IS NULL",
            (job, worker, result),
        )
        .expect(1)
        // When nobody answered, it may be sent again.
        .key(format!("job {job}"));
    match database.write(write).await {
        Err(Error::Rows { .. }) => Ok(()),
        other => other.map(drop),
    }
}

async fn left(database: &SharedDatabase) -> Result<i64> {
    let sql = "SELECT count(*) FROM job WHERE result IS NULL";
    database
        .read(move |conn| conn.query_row(sql, [], |row| row.get(0)))
        .await
}

async fn work(database: &SharedDatabase) -> Result<()> {
    let worker = std::process::id();
    while left(database).await? > 0 {
        match take(database, worker).await? {
            Some((job, what)) => finish(database, worker, job, what.to_uppercase()).await?,
            // The rest is under way, or waits for a worker that died.
            None => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
    Ok(())
}

async fn all(jobs: u32) -> Result<()> {
    let database = open().await?;
    add(&database, jobs).await?;
    let begun = Instant::now();
    let program = std::env::current_exe().map_err(|e| Error::Unavailable(e.to_string()))?;
    let workers: Vec<_> = (0..WORKERS)
        .filter_map(|_| Command::new(&program).arg("work").spawn().ok())
        .collect();
    while left(&database).await? > 0 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    println!("{jobs} jobs in {:.1?}", begun.elapsed());
    for mut worker in workers {
        let id = worker.id();
        // It may have been killed, to see what happens.
        drop(worker.wait());
        let sql = "SELECT count(*) FROM job WHERE worker = ?1";
        let read = database.read(move |conn| conn.query_row(sql, [id], |row| row.get::<_, i64>(0)));
        println!("process {id} did {}", read.await?);
    }
    database.close().await;
    Ok(())
}

#[tokio::main]
async fn main() -> ExitCode {
    let argument = std::env::args().nth(1);
    let done = match argument.as_deref() {
        Some("work") => match open().await {
            Ok(database) => {
                let done = work(&database).await;
                database.close().await;
                done
            }
            Err(error) => Err(error),
        },
        jobs => all(jobs.and_then(|jobs| jobs.parse().ok()).unwrap_or(1000)).await,
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
