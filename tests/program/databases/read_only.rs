//! Databases on a disk that can only be read: what need not write there works.

use std::fs;
use std::process::Command;

use crate::harness::bot::{Setup, url};
use crate::harness::client::say;
use crate::harness::small_disk::SmallDisk;

#[tokio::test]
async fn a_backup_on_a_disk_that_can_only_be_read_is_as_good_as_any() {
    let bot = Setup::counter().start().await;
    for n in 1..=5 {
        assert_eq!(say(bot.port, "ann", "hi").await.number(), n);
    }
    let setup = bot.stop().await;
    let Some(disk) = SmallDisk::mount(&setup, 16) else {
        return;
    };
    let backup = disk.path().join("backup.db");
    let made = setup.tool(&["backup", backup.to_str().unwrap()]);
    assert_eq!(made.code, Some(0), "{made:?}");
    // As it is: it says of itself that it has a log, and there is none.
    fs::copy(setup.database(), disk.path().join("a copy%.db")).unwrap();
    let mounted = Command::new("mount")
        .args(["-o", "remount,ro"])
        .arg(disk.path())
        .status();
    assert!(mounted.unwrap().success());
    for name in ["backup.db", "a copy%.db"] {
        let file = disk.path().join(name);
        let from = file.to_str().unwrap();
        let address = url(&file);
        let to = |what: &str| setup.path(&format!("{what} {name}"));
        let new = |what: &str| url(&to(what));
        for args in [
            &["check", "--storage", &address][..],
            &["dump", "--storage", &address],
            &["copy", "--from", &address, "--to", &new("copied")],
            &[
                "backup",
                "--storage",
                &address,
                to("again").to_str().unwrap(),
            ],
            &["restore", "--storage", &new("restored"), from],
        ] {
            let ended = setup.bare(args);
            assert_eq!(ended.code, Some(0), "{args:?}: {ended:?}");
        }
        for what in ["copied", "again", "restored"] {
            let made = setup.clone().storage(Some(to(what)));
            assert_eq!(made.count("ann"), 5, "{what} of {name}");
        }
    }
}
