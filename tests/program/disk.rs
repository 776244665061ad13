//! A full disk: turns are refused, nothing acknowledged is lost, and once there is
//! room they go on.

use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

use tempfile::TempDir;

use crate::bot::{SOON, Setup, skipped, until};
use crate::client::say;

/// A small file system in memory; unmounted when dropped, and only then is the
/// directory that holds it removed.
pub(crate) struct SmallDisk(pub(crate) PathBuf, #[expect(dead_code)] Arc<TempDir>);

impl SmallDisk {
    pub(crate) fn mount(setup: &Setup) -> Option<Self> {
        let at = &setup.path("disk");
        fs::create_dir(at).unwrap();
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=3m", "tmpfs"])
            .arg(at)
            .output();
        match mount {
            Ok(output) if output.status.success() => {
                Some(SmallDisk(at.to_owned(), setup.dir.clone()))
            }
            other => {
                skipped(&format!("a full disk (mounting takes root): {other:?}"));
                None
            }
        }
    }

    pub(crate) fn fill(&self) {
        let mut file = File::create(self.0.join("filler")).unwrap();
        while file.write_all(&[1; 4096]).is_ok() {}
    }

    pub(crate) fn free(&self) {
        fs::remove_file(self.0.join("filler")).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let umount = Command::new("umount").arg("-l").arg(&self.0).status();
        assert!(
            umount.is_ok_and(|status| status.success()),
            "cannot unmount {:?}",
            self.0
        );
    }
}

#[tokio::test]
async fn a_full_disk_refuses_turns_and_loses_none() {
    let setup = Setup::counter().args(&["--workers", "2"]);
    let Some(disk) = SmallDisk::mount(&setup) else {
        return;
    };
    let database = disk.0.join("bot.db");
    let bot = setup.storage(Some(database)).start().await;
    let text = "x".repeat(2000);
    let mut acknowledged = 0;
    for round in 1..=3 {
        for user in 0..20 {
            assert_eq!(
                say(bot.port, &format!("user-{user}"), &text).await.status,
                200
            );
            acknowledged += 1;
        }
        disk.fill();
        let mut refused = 0;
        // The log may still have room that it took before.
        for n in 0..3000 {
            let answer = say(bot.port, &format!("user-{}", n % 20), &text).await;
            match answer.status {
                200 => acknowledged += 1,
                503 => {
                    assert_eq!(answer.header("retry-after"), "1");
                    assert!(answer.error().contains("full"), "{}", answer.text());
                    refused += 1;
                }
                other => panic!("{other}: {}", answer.text()),
            }
            if refused == 30 {
                break;
            }
        }
        assert_eq!(refused, 30, "the disk did not fill");
        disk.free();
        let port = bot.port;
        // The first ones may find the writer still recovering.
        let mut status = 0;
        for _ in 0..100 {
            status = say(port, "probe", "hi").await.status;
            if status == 200 {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        assert_eq!(status, 200, "round {round}");
        acknowledged += 1;
        assert_eq!(bot.setup.sum(), acknowledged);
    }
    until("a sound file", SOON, || {
        bot.setup.tool(&["check"]).code == Some(0)
    })
    .await;
    let setup = bot.stop().await;
    assert_eq!(setup.sum(), acknowledged);
    setup.assert_sound();
}

/// A start on a full disk says so.
#[tokio::test]
async fn a_start_on_a_full_disk_is_refused() {
    let setup = Setup::counter();
    let Some(disk) = SmallDisk::mount(&setup) else {
        return;
    };
    disk.fill();
    let ended = setup.storage(Some(disk.0.join("bot.db"))).run_to_end();
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(ended.stderr.contains("full"), "{ended:?}");
}
