//! A disk that is full, and has room again.

use std::collections::HashMap;
use std::io::Write;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Mutex;

use turnkey_storage::sqlite::SqliteStorage;
use turnkey_storage::{Commit, Error, LockAfter, ReplyId, Statement, Storage};

use crate::common::{Served, asks, begin, block_on, dialog, last, turn, until};
use crate::processes::TABLES;

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
                .map(crate::common::flat)
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
