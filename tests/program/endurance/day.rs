//! A day in small: a bot on HTTPS under load, and all that happens to it in a long life.
//! Backups, two new versions, a new certificate, a reload, a full disk and its end; on
//! PostgreSQL a restart of the server. No acknowledged turn may be lost, no request may
//! fail but those that the disk or the server made fail, and memory must not grow.
//!
//! A short one is a test like the others; `scripts/day` runs longer ones, by means of the
//! variable `DAY_SECONDS`, and its lines that start with DAY are the figures.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::harness::bot::{Bot, SOON, Setup, until};
use crate::harness::certificate::{Authority, TlsClient};
use crate::harness::client::Target;
use crate::harness::load::Load;
use crate::harness::proc::memory;
use crate::harness::server::{Kind, TestServer};
use crate::harness::small_disk::SmallDisk;

/// Parts of the day, each as long as the others.
const PARTS: u32 = 6;

/// MiB: enough for the longest day's turns.
const DISK: u32 = 256;

/// How much more memory the last part may take than the first, in KiB: what the allocators
/// of processes that were started anew differ by. A leak shows in a longer day.
const GROWTH: u64 = 20 << 10;

struct Day {
    bot: Bot,
    /// The master: after an upgrade no child of ours.
    master: i32,
    load: Load,
    client: TlsClient,
    authority: Authority,
    certificates: PathBuf,
    part: Duration,
}

impl Day {
    async fn begin(setup: Setup, load: impl Fn(u16, &TlsClient) -> Load) -> Self {
        let certificates = setup.path("certificates");
        fs::create_dir(&certificates).unwrap();
        let authority = Authority::new();
        let (cert, key) = authority.issue(&certificates);
        let (cert, key) = (cert.display().to_string(), key.display().to_string());
        let bot = setup
            .args(&["--workers", "2", "--tls-cert", &cert, "--tls-key", &key])
            .start()
            .await;
        let client = authority.client(&["http/1.1"]);
        Day {
            master: bot.pid(),
            load: load(bot.port, &client),
            bot,
            client,
            authority,
            certificates,
            part: Duration::from_secs(seconds().into()) / PARTS,
        }
    }

    /// A part of the day in which nothing happens; memory at its end, in KiB, without that
    /// of a backup that may be under way.
    async fn pass(&self) -> u64 {
        tokio::time::sleep(self.part).await;
        self.bot
            .processes()
            .iter()
            .filter(|(_, title)| !title.contains("backup"))
            .map(|(pid, _)| memory(*pid))
            .sum()
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.master), signal).unwrap();
    }

    async fn upgrade(&mut self) {
        let before = self.bot.stderr().matches("serves from now on").count();
        self.signal(Signal::SIGUSR2);
        until("the new program serves", SOON, || {
            self.bot.stderr().matches("serves from now on").count() > before
        })
        .await;
        let old = self.master;
        self.master = self.bot.successor_program().await;
        until("the old program has left", SOON, || {
            !Path::new(&format!("/proc/{old}/fd/0")).exists()
        })
        .await;
    }

    async fn certificate(&self) {
        let before = self.client.served(self.bot.port).await;
        self.authority.issue(&self.certificates);
        let deadline = Instant::now() + SOON;
        while self.client.served(self.bot.port).await == before {
            assert!(
                Instant::now() < deadline,
                "the old certificate is served on"
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn reload(&self) {
        let before = self.bot.stderr().matches("Reloaded").count();
        self.signal(Signal::SIGHUP);
        until("the reload", SOON, || {
            self.bot.stderr().matches("Reloaded").count() > before
        })
        .await;
    }

    /// Turns go on.
    async fn flows(&self) {
        let (before, _) = self.load.so_far();
        until("turns go on", SOON, || self.load.so_far().0 > before + 50).await;
    }

    /// Ends it; the turns that were answered, and the requests that were not.
    async fn end(self, what: &str, first: u64, last: u64) -> (Setup, u64, u64) {
        self.signal(Signal::SIGTERM);
        self.bot.gone(SOON).await;
        let verdict = self.load.end().await;
        assert!(verdict.cut.is_empty(), "{verdict:?}");
        let stderr = self.bot.stderr();
        assert!(!stderr.contains("cut off"), "{stderr}");
        assert!(
            last <= first + GROWTH,
            "memory grew from {first} to {last} KiB"
        );
        let seconds = (self.part * PARTS).as_secs();
        say(&format!(
            "on {what}: {seconds} s, {} turns answered, {} requests told to come again, none failed; memory {} to {} MiB",
            verdict.answered,
            verdict.busy,
            first >> 10,
            last >> 10,
        ));
        (self.bot.setup.clone(), verdict.answered, verdict.busy)
    }
}

/// How long a day is.
fn seconds() -> u32 {
    let seconds = std::env::var("DAY_SECONDS").ok();
    seconds.map_or(12, |text| text.parse().expect("DAY_SECONDS"))
}

/// A line of figures, past the test runner.
fn say(line: &str) {
    let mut stderr = std::io::stderr();
    writeln!(stderr, "DAY {line}").unwrap();
}

/// The sum of the counters in each backup, oldest first; each must be sound.
fn sums_of(setup: &Setup, backups: &Path) -> Vec<u64> {
    let files = fs::read_dir(backups).unwrap().flatten();
    let mut files: Vec<PathBuf> = files
        .map(|file| file.path())
        .filter(|path| path.extension().is_some_and(|e| e == "db"))
        .collect();
    files.sort();
    files
        .into_iter()
        .map(|file| {
            let of = setup.clone().storage(Some(file));
            // It is of a moment at which turns were under way: their locks are in it.
            let check = of.tool(&["check"]);
            let found = check.stdout.lines();
            let wrong: Vec<&str> = found.filter(|line| !line.contains("lock row")).collect();
            let is_sound = check.code == Some(0) || wrong.is_empty();
            assert!(is_sound && check.stderr.is_empty(), "{check:?}");
            of.sum()
        })
        .collect()
}

fn over_tls(port: u16, client: &TlsClient) -> Load {
    Load::start(Target::Tls(port, client.clone()))
}

#[tokio::test]
async fn a_day_on_sqlite() {
    let setup = Setup::counter();
    let Some(disk) = SmallDisk::mount(&setup, DISK) else {
        return;
    };
    let backups = setup.path("backups");
    // Twice in each part.
    let every = format!("{}ms", (seconds() * 1000 / PARTS / 2).max(1000));
    let setup = setup
        .storage(Some(disk.path().join("bot.db")))
        .args(&["--backup-dir", backups.to_str().unwrap()])
        .args(&["--backup-every", &every, "--backup-keep", "1000"]);
    let mut day = Day::begin(setup, over_tls).await;
    day.flows().await;
    let first = day.pass().await;
    day.upgrade().await;
    day.pass().await;
    day.certificate().await;
    day.reload().await;
    day.pass().await;
    let (_, busy) = day.load.so_far();
    assert_eq!(busy, 0, "requests failed without a reason");
    disk.fill();
    until("the disk is full", SOON, || day.load.so_far().1 > 20).await;
    disk.free();
    day.flows().await;
    day.pass().await;
    let (_, busy) = day.load.so_far();
    day.upgrade().await;
    day.pass().await;
    let last = day.pass().await;
    assert_eq!(
        day.load.so_far().1,
        busy,
        "requests failed without a reason"
    );
    let (setup, answered, _) = day.end("SQLite", first, last).await;
    assert_eq!(setup.sum(), answered);
    setup.assert_sound();
    let sums = sums_of(&setup, &backups);
    assert!(sums.len() >= PARTS as usize, "backups: {sums:?}");
    assert!(sums.is_sorted(), "a backup lost turns: {sums:?}");
    assert!(sums.last() <= Some(&answered), "{sums:?}");
    say(&format!("{} backups, all sound", sums.len()));
}

#[tokio::test]
async fn a_day_on_postgres() {
    let Some(server) = TestServer::start(Kind::Postgres) else {
        return;
    };
    let database = server.create().await;
    let setup = Setup::counter().on(server.url(&database));
    let mut day = Day::begin(setup, over_tls).await;
    day.flows().await;
    let first = day.pass().await;
    day.upgrade().await;
    day.pass().await;
    day.certificate().await;
    day.pass().await;
    assert_eq!(day.load.so_far().1, 0, "requests failed without a reason");
    server.stop();
    server.start_again();
    day.flows().await;
    day.reload().await;
    day.pass().await;
    day.flows().await;
    let (_, busy) = day.load.so_far();
    day.upgrade().await;
    day.pass().await;
    let last = day.pass().await;
    assert_eq!(
        day.load.so_far().1,
        busy,
        "requests failed without a reason"
    );
    let (_, answered, _) = day.end("PostgreSQL", first, last).await;
    let dialogs = Kind::Postgres.dump(&server.url(&database), false).await;
    let sum: u64 = dialogs
        .iter()
        .map(|line| {
            let state: serde_json::Value = serde_json::from_str(&line.state).unwrap();
            state["count"].as_u64().unwrap()
        })
        .sum();
    assert_eq!(sum, answered);
}
