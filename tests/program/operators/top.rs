//! `turnkey top`: a running bot in a terminal, and as text and JSON without one.

use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use nix::pty::{Winsize, openpty};
use nix::sys::termios::{LocalFlags, tcgetattr};
use serde_json::Value;

use crate::harness::bot::{Bot, SOON, Setup, until};
use crate::harness::client::say;
use crate::operators::admin::{admin_port, setup};

fn top(bot: &Bot, args: &[&str]) -> crate::harness::bot::Ended {
    let admin = format!("127.0.0.1:{}", admin_port(bot));
    bot.setup
        .bare(&[&["top", "--admin", &admin], args].concat())
}

#[tokio::test]
async fn without_a_terminal_it_prints_one_look() {
    let bot = setup(Setup::counter()).start().await;
    for _ in 0..3 {
        assert_eq!(say(bot.port, "ann", "hi").await.status, 200);
    }
    for args in [&["--once"][..], &[]] {
        let looked = top(&bot, args);
        assert_eq!(looked.code, Some(0), "{}", looked.stderr);
        let text = &looked.stdout;
        for part in [
            "ready; version",
            "3 so far",
            "worker 0",
            "worker 1",
            "writer",
        ] {
            assert!(text.contains(part), "{part} is not in\n{text}");
        }
        assert!(!text.contains('\u{1b}'), "{text}");
    }
    let looked = top(&bot, &["--json"]);
    let told: Value = serde_json::from_str(&looked.stdout).unwrap();
    assert_eq!(told["turns"]["total"], 3);
    let admin = format!("127.0.0.1:{}", admin_port(&bot));
    bot.stop().await.assert_sound();
    let nobody = Setup::counter().bare(&["top", "--admin", &admin]);
    assert_eq!((nobody.code, &*nobody.stdout), (Some(2), ""));
    assert!(
        nobody.stderr.contains("start the bot with --admin"),
        "{}",
        nobody.stderr
    );
}

#[tokio::test]
async fn a_token_is_brought_when_there_is_one() {
    let bot = setup(Setup::counter())
        .env("TURNKEY_ADMIN_TOKEN", "operators-only")
        .start()
        .await;
    // The environment of the bot is that of its tools.
    assert_eq!(top(&bot, &["--once"]).code, Some(0));
    let other = Setup::counter();
    let admin = format!("127.0.0.1:{}", admin_port(&bot));
    let refused = other.bare(&["top", "--once", "--admin", &admin]);
    assert_eq!(refused.code, Some(2));
    assert!(
        refused.stderr.contains("set TURNKEY_ADMIN_TOKEN"),
        "{}",
        refused.stderr
    );
    bot.stop().await.assert_sound();
}

/// The keys that leave, and a bot that goes away meanwhile.
#[tokio::test]
async fn in_a_terminal_it_is_live_and_leaves_the_terminal_as_it_was() {
    for (key, bot_goes) in [("q", false), ("\u{3}", true)] {
        let bot = setup(Setup::counter()).start().await;
        let size = Winsize {
            ws_row: 40,
            ws_col: 130,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        let pty = openpty(Some(&size), None).unwrap();
        let before = tcgetattr(&pty.slave).unwrap();
        let mut command = bot.setup.command();
        let admin = format!("127.0.0.1:{}", admin_port(&bot));
        command
            .args(["top", "--admin", &admin])
            .env("TERM", "xterm");
        let slave = || Stdio::from(pty.slave.try_clone().unwrap());
        command.stdin(slave()).stdout(slave()).stderr(slave());
        command.process_group(0);
        let mut child = command.spawn().unwrap();
        let mut keyboard = File::from(pty.master.try_clone().unwrap());
        let mut screen = File::from(pty.master);
        let shown = Arc::new(Mutex::new(String::new()));
        let written = shown.clone();
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(count @ 1..) = screen.read(&mut bytes) {
                let text = String::from_utf8_lossy(&bytes[..count]).into_owned();
                written.lock().unwrap().push_str(&text);
            }
        });
        let has = |part: &str| shown.lock().unwrap().contains(part);
        until("the screen is drawn", SOON, || {
            has("turns a second") && has("q leaves")
        })
        .await;
        assert!(
            !tcgetattr(&pty.slave)
                .unwrap()
                .local_flags
                .contains(LocalFlags::ICANON)
        );
        // It is drawn again by itself.
        let drawn = shown.lock().unwrap().len();
        assert_eq!(say(bot.port, "ann", "hi").await.number(), 1);
        until("it is live", SOON, || shown.lock().unwrap().len() > drawn).await;
        let bot = if bot_goes {
            bot.stop().await;
            until("it says that nobody answers", SOON, || {
                has("nobody answers")
            })
            .await;
            None
        } else {
            Some(bot)
        };
        keyboard.write_all(key.as_bytes()).unwrap();
        let begun = Instant::now();
        let mut status = None;
        until("it ends", SOON, || {
            status = child.try_wait().unwrap();
            status.is_some()
        })
        .await;
        assert!(status.unwrap().success(), "{}", shown.lock().unwrap());
        assert!(begun.elapsed() < SOON / 2, "it leaves at once");
        let after = tcgetattr(&pty.slave).unwrap();
        assert_eq!(after.local_flags, before.local_flags);
        assert_eq!(after.input_flags, before.input_flags);
        // The screen of before is back, and its cursor.
        until("the other screen is left", SOON, || {
            has("\u{1b}[?1049l") && has("\u{1b}[?25h")
        })
        .await;
        if let Some(bot) = bot {
            bot.stop().await.assert_sound();
        }
    }
}
