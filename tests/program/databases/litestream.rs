//! Litestream beside a bot under load: the box burns down, another one goes on with what
//! was replicated. Skipped, and said so, where Litestream cannot be had.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::harness::bot::{SOON, Setup, skipped, until};
use crate::harness::load::Load;

/// How much of the last turns may be lost: Litestream copies once a second.
const LOST: Duration = Duration::from_secs(5);

fn litestream() -> Command {
    Command::new(
        Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../..")).join("scripts/litestream"),
    )
}

fn can_be_had() -> bool {
    let has = litestream()
        .arg("install")
        .stdin(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    if !has {
        skipped("the Litestream tests, since it could not be installed (see above)");
    }
    has
}

/// Replicates until it is dropped.
struct Replication(Child);

impl Replication {
    fn start(database: &Path, replica: &str) -> Self {
        let child = litestream()
            .args(["replicate", "-log-level", "warn"])
            .arg(database)
            .arg(replica)
            .stdin(Stdio::null())
            .spawn()
            .expect("a shell");
        Replication(child)
    }
}

impl Drop for Replication {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

fn files_below(directory: &Path) -> usize {
    let Ok(entries) = fs::read_dir(directory) else {
        return 0;
    };
    entries
        .flatten()
        .map(|entry| match entry.path().is_dir() {
            true => files_below(&entry.path()),
            false => 1,
        })
        .sum()
}

#[tokio::test]
async fn what_was_replicated_goes_on_elsewhere() {
    if !can_be_had() {
        return;
    }
    let elsewhere = tempfile::tempdir().unwrap();
    let copies = elsewhere.path().join("replica");
    let replica = format!("file://{}", copies.display());
    let setup = Setup::counter().args(&["--workers", "2"]);
    let box_ = setup.path("box");
    fs::create_dir(&box_).unwrap();
    let setup = setup.storage(Some(box_.join("bot.db")));
    let bot = setup.start().await;
    let replication = Replication::start(&bot.setup.database(), &replica);
    let load = Load::start(bot.port);
    until("the first copies", SOON, || files_below(&copies) >= 2).await;
    // Our writer empties its log under Litestream's eyes, again and again.
    let mut counts = Vec::new();
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(8) {
        counts.push((Instant::now(), load.so_far().0));
        tokio::time::sleep(Duration::from_millis(100)).await;
    }

    // The box is gone at once, with all that was on it.
    let burnt = Instant::now();
    for (pid, _) in bot.processes() {
        // The master's death may have ended it.
        let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
    }
    drop(replication);
    bot.gone(SOON).await;
    let answered = load.abandon().await;
    fs::remove_dir_all(&box_).unwrap();

    fs::create_dir(&box_).unwrap();
    let restored = litestream()
        .args(["restore", "-o"])
        .arg(setup.database())
        .arg(&replica)
        .output()
        .unwrap();
    assert!(restored.status.success(), "{restored:?}");
    let next = setup.start().await;
    let kept = setup.sum();
    next.stop().await.assert_sound();
    // Until when everything is there.
    let (until, _) = counts
        .iter()
        .rev()
        .find(|(_, count)| *count <= kept)
        .expect("something is there");
    let lost = burnt - *until;
    writeln!(
        std::io::stderr(),
        "LITESTREAM: of {answered} turns the last {} are lost, those of {:.1} s",
        answered.saturating_sub(kept),
        lost.as_secs_f32()
    )
    .unwrap();
    assert!(lost < LOST, "the turns of {lost:?} are lost");
}
