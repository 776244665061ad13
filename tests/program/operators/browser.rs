//! The status page in a real browser: Debian's Chromium, which loads it, runs its script
//! under its policy, and shows what a hostile user wrote as text. `scripts/screenshots`
//! takes pictures of the same pages.

use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use turnkey_storage::sqlite::{Files, connect, random_owner};

use crate::harness::bot::{Bot, Ended, Setup, finish, skipped};
use crate::harness::client::say;
use crate::operators::admin::{admin_port, get, setup, until_page};
use crate::operators::operator::bury;
use crate::operators::talk::{TALK, of, tell};

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

/// The validators of `scripts/pages`, on files that need no others.
pub(crate) fn validate(setup: &Setup, files: &[&str]) {
    let mut pages = setup.command_of(script());
    pages.args(files);
    let ended = finish(pages, 3 * PATIENCE);
    assert_eq!(
        (ended.code, &*ended.stdout),
        (Some(0), ""),
        "{}",
        ended.stderr
    );
}

fn script() -> String {
    format!(
        "{}/scripts/pages",
        concat!(env!("CARGO_MANIFEST_DIR"), "/../..")
    )
}

/// Whether they are there; said where they are not.
pub(crate) fn can_validate(setup: &Setup) -> bool {
    if !is_installed() {
        skipped("the pages tests: no chromium; apt-get install chromium");
        return false;
    }
    let mut install = setup.command_of(script());
    install.arg("install");
    let ended = finish(install, PATIENCE);
    if ended.code != Some(0) {
        skipped("the pages tests: npm could not install their validators");
    }
    ended.code == Some(0)
}

/// A page with its style in it, as a file.
async fn save(setup: &Setup, port: u16, path: &str, name: &str) {
    let page = get(port, path).await.text();
    let style = get(port, "/status/style.css").await.text();
    let link = "<link rel=\"stylesheet\" href=\"/status/style.css\">";
    assert!(page.contains(link), "{page}");
    let page = page.replace(link, &format!("<style>{style}</style>"));
    let script = "<script src=\"/status/live.js\" defer></script>";
    std::fs::write(setup.path(name), page.replace(script, "")).unwrap();
}

#[tokio::test]
async fn the_status_pages_are_well_formed_and_can_be_used_without_a_mouse() {
    let bot = setup(Setup::commands()).args(&["--history"]).start().await;
    if !can_validate(&bot.setup) {
        return bot.stop().await.assert_sound();
    }
    let port = admin_port(&bot);
    let empty = get(port, "/status/dialogs").await.text();
    assert!(empty.contains("There are no dialogs yet."), "{empty}");
    let odd = "odd \u{ffff}\u{fdd0}\u{85} <b>\"";
    for user in ["ann", "a-user-with-a-long-name-".repeat(8).as_str()] {
        say(bot.port, user, odd).await.number();
    }
    converse(&bot, port).await;
    let none = get(port, "/status/dialogs?user=zoe").await.text();
    assert!(
        none.contains("No user has a name or an id like that."),
        "{none}"
    );
    let files = Files::of(&bot.setup.database());
    let storage = Arc::new(connect(&files, random_owner().unwrap()).unwrap());
    bury(storage, "u1").await;
    let mut names = Vec::new();
    for (path, name) in [
        ("/status", "status.html"),
        ("/status/dialogs", "dialogs.html"),
        ("/status/dialogs?user=zoe", "none.html"),
        ("/status/dialogs/http/ann", "dialog.html"),
        ("/status/dialogs/telegram/7", "talk.html"),
        ("/status?charts=1d", "day.html"),
        ("/status/dead", "dead.html"),
        ("/status/act?do=drop&reply=1.0", "act.html"),
        ("/status/dialogs/http/zoe", "sorry.html"),
    ] {
        save(&bot.setup, port, path, name).await;
        names.push(name);
    }
    // Each moment is one for programs, too.
    let page = get(port, "/status/dialogs/http/ann").await.text();
    assert!(page.contains("<time datetime=\"20"), "{page}");
    validate(&bot.setup, &names);
    bot.stop().await.assert_sound();
}

/// Somebody whom the platform names says something of every sort.
async fn converse(bot: &Bot, port: u16) {
    for (update, what) in [
        (
            1,
            json!({"text": "ask A long question with https://example.org/an-address-without-any-space-in-it?and=more"}),
        ),
        (2, json!({"data": "no"})),
        (3, json!({"text": "album"})),
        (4, json!({"text": "try 2"})),
    ] {
        tell(bot, &of("Maximiliana-Alexandra-von-und-zu", update, &what)).await;
    }
    until_page(port, TALK, "Handled after 2 attempts", PATIENCE).await;
}

#[test]
fn the_reports_are_well_formed_and_can_be_used_without_a_mouse() {
    let setup = Setup::counter();
    // What a server prints may be anything.
    let odd = "start \u{ffff} \u{fffe} \u{1ffff} \u{fdd0} \u{b} \u{85} <testcase> ]]> &";
    let text = format!("echo '{odd}'; exec \"$0\" drops");
    let drill = [
        "drill", "--before", "200ms", "--load", "new", "--out", "drill",
    ];
    let junit = ["--junit", "drill.xml", "--", "sh", "-c", &text];
    let program = crate::harness::bot::example("faulty");
    let program = [program.to_str().unwrap()];
    let ended = setup.bare_within(&[&drill[..], &junit, &program].concat(), PATIENCE);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    for file in ["drill.xml", "drill/report.html"] {
        let text = std::fs::read_to_string(setup.path(file)).unwrap();
        assert!(text.contains("&lt;testcase&gt;"), "{file}: it is quoted");
        for c in [
            '\u{ffff}',
            '\u{fffe}',
            '\u{1ffff}',
            '\u{fdd0}',
            '\u{b}',
            '\u{85}',
        ] {
            assert!(!text.contains(c), "{file} has {c:?}");
        }
    }
    let python = "import sys, xml.dom.minidom; xml.dom.minidom.parse(sys.argv[1])";
    let mut parser = setup.command_of("python3");
    parser.args(["-c", python, "drill.xml"]);
    let parsed = finish(parser, PATIENCE);
    assert_eq!(parsed.code, Some(0), "{}", parsed.stderr);

    let sample = concat!(env!("CARGO_MANIFEST_DIR"), "/../lab/src/report/sample.json");
    let drawn = setup.bare(&["bench", "report", sample, "--out", "bench"]);
    assert_eq!(drawn.code, Some(0), "{}", drawn.stderr);
    if can_validate(&setup) {
        validate(&setup, &["drill/report.html", "bench/report.html"]);
    }
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
