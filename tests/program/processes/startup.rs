//! Ctrl-C at any moment of the start: it ends with code 0 and leaves nothing.

use std::time::Duration;

use crate::harness::bot::{SOON, Setup};
use crate::processes::signals::Terminal;

/// Presses Ctrl-C so long after the program began; what it wrote.
async fn press_after(setup: &Setup, delay: Duration) -> String {
    let (mut terminal, command) = Terminal::run(&setup.run());
    let mut bot = setup.spawn_as(command);
    let exe = format!("/proc/{}/exe", bot.pid());
    let is_begun = || std::fs::read_link(&exe).is_ok_and(|path| path == setup.program());
    crate::harness::bot::until("the program is begun", SOON, is_begun).await;
    tokio::time::sleep(delay).await;
    terminal.press(3);
    let code = bot.ended(SOON).await;
    let stderr = bot.stderr();
    // Before its first line ran the system ends it.
    let too_soon = code == -2 && stderr.is_empty();
    assert!(code == 0 || too_soon, "after {delay:?}: {code}: {stderr}");
    bot.gone(SOON).await;
    assert!(
        !bot.socket().exists(),
        "after {delay:?}: the socket is left"
    );
    for word in ["ERROR", "WARN", "error:", "panicked", "cut off"] {
        assert!(!stderr.contains(word), "after {delay:?}: {stderr}");
    }
    stderr
}

#[tokio::test]
async fn ctrl_c_at_every_moment_of_the_first_second() {
    // Every 10 ms while it starts, and every 100 ms later.
    let delays = (0..30).map(|n| n * 10).chain((3..=10).map(|n| n * 100));
    let mut before_serving = 0;
    for delay in delays {
        let setup = Setup::commands().args(&["--workers", "2"]);
        let stderr = press_after(&setup, Duration::from_millis(delay)).await;
        before_serving += u32::from(!stderr.contains("Started "));
        // The next start finds everything in order.
        if delay % 50 == 0 && setup.database().exists() {
            setup.start().await.stop().await.assert_sound();
        }
    }
    assert!(before_serving > 0, "it was never pressed in time");
}

#[tokio::test]
async fn ctrl_c_while_one_process_starts() {
    for delay in [0, 5, 10, 20, 30, 50, 80, 120, 200] {
        let setup = Setup::commands().args(&["--single-process"]);
        press_after(&setup, Duration::from_millis(delay)).await;
    }
}

/// It waits for the file that another one serves: Ctrl-C need not wait, too.
#[tokio::test]
async fn ctrl_c_while_it_waits_for_the_file() {
    let first = Setup::counter().start().await;
    for args in [&["--workers", "2"][..], &["--single-process"]] {
        let second = first.setup.clone().args(args);
        let mut bot = second.spawn();
        bot.wait_for_stderr("is in use").await;
        bot.signal(nix::sys::signal::Signal::SIGINT);
        assert_eq!(bot.ended(Duration::from_secs(3)).await, 0);
        bot.gone(SOON).await;
    }
    first.stop().await.assert_sound();
}

/// The child that prepares the database is in the middle of something that takes long.
#[tokio::test]
async fn ctrl_c_while_the_database_is_prepared() {
    for keys in [1, 2] {
        let setup = Setup::commands().args(&["--workers", "2"]);
        let other = setup.open_database();
        other.execute_batch("BEGIN EXCLUSIVE").unwrap();
        let (mut terminal, command) = Terminal::run(&setup.run());
        let mut bot = setup.spawn_as(command);
        let preparing = || !bot.children().is_empty();
        crate::harness::bot::until("the child that prepares", SOON, preparing).await;
        for _ in 0..keys {
            terminal.press(3);
            bot.wait_for_stderr("the database is being prepared").await;
        }
        assert_eq!(bot.ended(SOON).await, 0);
        bot.gone(SOON).await;
        let stderr = bot.stderr();
        assert!(stderr.contains("Stopped before it served."), "{stderr}");
        assert!(!stderr.contains("error:"), "{stderr}");
        drop(other);
        setup.start().await.stop().await.assert_sound();
    }
}
