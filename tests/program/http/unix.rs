//! `--listen unix:PATH`: a socket for a proxy on this machine.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::harness::bot::{SOON, Setup};
use crate::harness::client::{Connection, Target, post};
use crate::harness::load::Load;

fn setup() -> (Setup, std::path::PathBuf) {
    let setup = Setup::counter();
    let path = setup.path("bot.sock");
    let listen = format!("unix:{}", path.display());
    let setup = setup
        .without_port()
        .args(&["-v", "--workers", "2", "--listen", &listen]);
    (setup, path)
}

#[tokio::test]
async fn a_proxy_reaches_it_and_says_for_whom() {
    let (setup, path) = setup();
    // What a program left that was killed.
    drop(UnixListener::bind(&path).unwrap());
    let bot = setup.start().await;
    let mode = fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o666);
    let target = Target::Unix(path.clone());
    let mut connection = Connection::try_open_at(&target).await.unwrap();
    assert_eq!(connection.say("ann", "hi").await.number(), 1);
    let mut request = post("/nowhere", "{}");
    let client = "203.0.113.7".parse().unwrap();
    request.headers_mut().insert("x-forwarded-for", client);
    assert_eq!(connection.send(request).await.status, 404);
    bot.wait_for_stderr("404 Not Found to 203.0.113.7").await;
    // One more cannot have it.
    let second = setup.clone().storage(Some(setup.path("other.db")));
    let ended = second.run_to_end();
    assert_eq!(ended.code, Some(75), "{ended:?}");
    assert!(
        ended.stderr.contains("another program listens there"),
        "{ended:?}"
    );
    drop(connection);
    bot.stop().await.assert_sound();
    assert!(!path.exists(), "the socket's file is left");
}

#[tokio::test]
async fn a_file_that_is_no_socket_stays() {
    let (setup, path) = setup();
    fs::write(&path, "precious").unwrap();
    let ended = setup.run_to_end();
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(ended.stderr.contains("no socket"), "{ended:?}");
    assert_eq!(fs::read(&path).unwrap(), b"precious");
}

#[tokio::test]
async fn reload_upgrade_and_stop_fail_no_request() {
    let (setup, path) = setup();
    let mut bot = setup.start().await;
    let load = Load::start(Target::Unix(path.clone()));
    bot.signal(Signal::SIGHUP);
    bot.wait_for_stderr("Reloaded").await;
    bot.signal(Signal::SIGUSR2);
    let new = bot.successor_program().await;
    assert_eq!(bot.ended(SOON).await, 0, "{}", bot.stderr());
    kill(Pid::from_raw(new), Signal::SIGINT).unwrap();
    bot.gone(SOON).await;
    let verdict = load.end().await;
    assert!(verdict.cut.is_empty(), "{verdict:?}");
    assert_eq!(setup.sum(), verdict.answered);
    assert!(!path.exists(), "the socket's file is left");
}
