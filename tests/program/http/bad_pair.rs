//! A certificate on the disk that is bad is no outage: the one before is served, by workers
//! that start later and after a restart, too.

use std::fs;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::harness::bot::{Bot, SOON, Setup, until};
use crate::harness::certificate::TlsClient;
use crate::http::https::with_certificate;
use crate::operators::admin::get;

const SERVED_ON: &str = "the certificate before is served on: ";

async fn serves(bot: &Bot, client: &TlsClient, expected: &[u8]) {
    for _ in 0..4 {
        assert_eq!(client.served(bot.port).await, expected);
    }
}

#[tokio::test]
async fn a_bad_pair_is_no_outage() {
    let (setup, authority) = with_certificate(Setup::counter());
    let setup = setup.args(&["--admin", "unix:admin.sock"]);
    let client = authority.client(&["http/1.1"]);
    let bot = setup.start().await;
    let first = client.served(bot.port).await;
    // A renewal, so that the pair of the start is not the last good one.
    authority.issue(setup.dir.path());
    bot.wait_for_stderr("serving the new").await;
    let good = client.served(bot.port).await;
    assert_ne!(first, good);
    let kept = setup.path("bot.db-tls");
    let cert = setup.path("cert.pem");
    until("the copy of the new one", SOON, || {
        let kept = fs::read_to_string(&kept).unwrap_or_default();
        kept.contains(&fs::read_to_string(&cert).unwrap())
    })
    .await;
    fs::write(&cert, "a renewal that went wrong").unwrap();
    bot.wait_for_stderr(SERVED_ON).await;
    let worker = bot.worker(0).await;
    kill(Pid::from_raw(worker), Signal::SIGKILL).unwrap();
    bot.successor("turnkey: worker 0", worker).await;
    serves(&bot, &client, &good).await;
    bot.signal(Signal::SIGHUP);
    bot.wait_for_stderr("Reload failed").await;
    serves(&bot, &client, &good).await;
    let check = setup.tool(&["check"]);
    assert_eq!(check.code, Some(1), "{check:?}");
    assert!(check.stdout.contains("cert.pem"), "{check:?}");
    let setup = bot.stop().await;

    // Another start.
    let bot = setup.start().await;
    assert!(bot.stderr().contains(SERVED_ON), "{}", bot.stderr());
    serves(&bot, &client, &good).await;
    authority.issue(setup.dir.path());
    bot.wait_for_stderr("serving the new").await;
    let check = setup.tool(&["check"]);
    assert_eq!(check.code, Some(0), "{check:?}");
    let setup = bot.stop().await;
    use std::os::unix::fs::PermissionsExt;
    let mode = fs::metadata(&kept).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "there is a key in it");

    // Other paths are another certificate: nothing is served in its place.
    fs::write(&cert, "bad").unwrap();
    let other = setup.path("other.pem");
    fs::copy(&cert, &other).unwrap();
    let key = setup.path("key.pem");
    let ended = Setup::counter()
        .storage(Some(setup.database()))
        .args(&[
            "--tls-cert",
            other.to_str().unwrap(),
            "--tls-key",
            key.to_str().unwrap(),
        ])
        .run_to_end();
    assert_eq!(ended.code, Some(2), "{ended:?}");
    // Without HTTPS the key does not stay.
    let plain = Setup::counter()
        .storage(Some(setup.database()))
        .start()
        .await;
    assert!(!kept.exists());
    plain.stop().await.assert_sound();
}

/// In the answer of `/readyz`, which stays 200.
#[tokio::test]
async fn readiness_tells_of_it() {
    let (setup, _) = with_certificate(Setup::counter());
    let bot = setup.args(&["--admin", "127.0.0.1:0"]).start().await;
    let said = bot.stderr();
    let (_, rest) = said.split_once("Status page at http://127.0.0.1:").unwrap();
    let port: u16 = rest.split('/').next().unwrap().parse().unwrap();
    assert_eq!(get(port, "/readyz").await.text(), "ok\n");
    fs::write(bot.setup.path("cert.pem"), "bad").unwrap();
    bot.wait_for_stderr(SERVED_ON).await;
    let answer = get(port, "/readyz").await;
    assert_eq!(answer.status, 200);
    assert!(answer.text().contains(SERVED_ON), "{}", answer.text());
    bot.stop().await;
}
