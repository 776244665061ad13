//! The status page in a real browser: Debian's Chromium, which loads it, runs its script
//! under its policy, and shows what a hostile user wrote as text. `scripts/screenshots`
//! takes pictures of the same pages.

use std::process::Command;
use std::time::Duration;

use crate::admin::{admin_port, get, setup};
use crate::bot::{Ended, Setup, finish, skipped};
use crate::client::say;

/// Chromium's own, on a machine that is busy with other tests.
const PATIENCE: Duration = Duration::from_secs(90);

const HOSTILE: &str =
    "<script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">";

fn is_installed() -> bool {
    Command::new("chromium").arg("--version").output().is_ok()
}

/// Loads a page, lets its clock run for some seconds, and gives the document as it is
/// then, and what was said on the console.
fn load(setup: &Setup, port: u16, path: &str) -> Ended {
    let mut chromium = setup.command_of("chromium");
    chromium.args([
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--enable-logging=stderr",
        "--virtual-time-budget=7000",
        "--dump-dom",
    ]);
    let profile = tempfile::tempdir().unwrap();
    chromium.arg(format!("--user-data-dir={}", profile.path().display()));
    chromium.arg(format!("http://127.0.0.1:{port}{path}"));
    let ended = finish(chromium, PATIENCE);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    // A policy that refuses the page's own script or style is told there.
    for complaint in ["Content Security Policy", "Uncaught", "Refused to"] {
        assert!(!ended.stderr.contains(complaint), "{}", ended.stderr);
    }
    ended
}

#[tokio::test]
async fn the_page_is_live_in_chromium_and_what_users_wrote_does_nothing() {
    if !is_installed() {
        return skipped("no chromium; apt-get install chromium");
    }
    let bot = setup(Setup::counter()).args(&["--history"]).start().await;
    let port = admin_port(&bot);
    for n in 1..=3 {
        assert_eq!(say(bot.port, HOSTILE, HOSTILE).await.number(), n);
    }
    let page = load(&bot.setup, port, "/status").stdout;
    assert!(
        page.contains("<span id=\"live\" class=\"on\">live</span>"),
        "{page}"
    );
    assert!(
        page.contains("<dt>since the start</dt><dd>3</dd>"),
        "{page}"
    );
    assert!(page.contains("<title>Status - Turnkey</title>"), "{page}");
    for path in ["/status/dialogs?user=owned".to_owned(), {
        let user =
            percent_encoding::utf8_percent_encode(HOSTILE, percent_encoding::NON_ALPHANUMERIC);
        format!("/status/dialogs/http/{user}")
    }] {
        let page = load(&bot.setup, port, &path).stdout;
        assert!(page.contains("&lt;script&gt;document.title"), "{page}");
        assert!(
            !page.contains("<img") && !page.contains("<title>owned"),
            "{page}"
        );
    }
    // Without JavaScript the figures are there; only nothing keeps them fresh.
    let page = get(port, "/status").await.text();
    assert!(
        page.contains("<dt>since the start</dt><dd>3</dd>"),
        "{page}"
    );
    assert!(page.contains("<span id=\"live\" hidden>"), "{page}");
    bot.stop().await.assert_sound();
}
