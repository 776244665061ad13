//! Backups of a file that is written to, and the way back.

use crate::bot::{Setup, url};
use crate::client::say;

#[tokio::test]
async fn a_backup_of_a_running_bot_is_whole_and_can_be_restored() {
    let bot = Setup::counter().args(&["--workers", "2"]).start().await;
    for n in 1..=20 {
        assert_eq!(say(bot.port, "ann", "hi").await.number(), n);
    }
    // Others go on meanwhile.
    let port = bot.port;
    let load = tokio::spawn(async move {
        for n in 1..=200 {
            assert_eq!(
                say(port, &format!("load{}", n % 7), "hi").await.number(),
                (n - 1) / 7 + 1
            );
        }
    });
    let setup = bot.setup.clone();
    let (file, storage) = (setup.path("copy.db"), url(&setup.database()));
    let file_name = file.to_str().unwrap().to_owned();
    let backup = {
        let (setup, storage, to) = (setup.clone(), storage.clone(), file_name.clone());
        let run = move || setup.bare(&["backup", "--storage", &storage, &to, "--json"]);
        tokio::task::spawn_blocking(run).await.unwrap()
    };
    assert_eq!(backup.code, Some(0), "{}", backup.stderr);
    load.await.unwrap();
    for n in 21..=25 {
        assert_eq!(say(bot.port, "ann", "hi").await.number(), n);
    }

    // A second one under the same name would hide which is which.
    let again = setup.bare(&["backup", "--storage", &storage, &file_name]);
    assert_eq!(again.code, Some(2));
    assert!(again.stderr.contains("exists already"), "{}", again.stderr);
    // Nobody restores under a running bot.
    let restore = ["restore", "--storage", &storage, &file_name, "--replace"];
    let used = setup.bare_within(&restore, crate::bot::SOON);
    assert!(used.stderr.contains("in use"), "{}", used.stderr);

    let setup = bot.stop().await;
    let refused = setup.bare(&["restore", "--storage", &storage, &file_name]);
    assert!(refused.stderr.contains("--replace"), "{}", refused.stderr);
    let restored = setup.bare(&restore);
    assert_eq!(restored.code, Some(0), "{}", restored.stderr);
    assert!(
        restored.stdout.contains("before-restore"),
        "{}",
        restored.stdout
    );
    assert_eq!(setup.count("ann"), 20);
    setup.assert_sound();
    let bot = setup.start().await;
    assert_eq!(say(bot.port, "ann", "hi").await.number(), 21);
    bot.stop().await;
}

#[tokio::test]
async fn a_backup_of_something_else_is_refused() {
    let setup = Setup::counter();
    let to = setup.path("copy.db");
    let to = to.to_str().unwrap();
    let missing = setup.bare(&["backup", "--storage", &url(&setup.database()), to]);
    assert_eq!(missing.code, Some(2));
    assert!(
        missing.stderr.contains("there is no file"),
        "{}",
        missing.stderr
    );
    std::fs::write(setup.database(), vec![7; 9000]).unwrap();
    let strange = setup.bare(&["backup", "--storage", &url(&setup.database()), to]);
    assert_eq!(strange.code, Some(2));
    assert!(
        strange.stderr.contains("not a SQLite database"),
        "{}",
        strange.stderr
    );
    assert!(!std::path::Path::new(to).exists());
}
