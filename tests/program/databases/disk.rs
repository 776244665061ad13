//! A full disk: turns are refused, nothing acknowledged is lost, and once there is
//! room they go on.

use crate::harness::bot::{SOON, Setup, until};
use crate::harness::client::say;
use crate::harness::small_disk::SmallDisk;

#[tokio::test]
async fn a_full_disk_refuses_turns_and_loses_none() {
    let setup = Setup::counter().args(&["--workers", "2"]);
    let Some(disk) = SmallDisk::mount(&setup, 3) else {
        return;
    };
    let database = disk.path().join("bot.db");
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
                    assert!(answer.error().contains("no room"), "{}", answer.text());
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
    let Some(disk) = SmallDisk::mount(&setup, 3) else {
        return;
    };
    disk.fill();
    let ended = setup.storage(Some(disk.path().join("bot.db"))).run_to_end();
    assert_eq!(ended.code, Some(75), "{ended:?}");
    assert!(ended.stderr.contains("full"), "{ended:?}");
}
