//! HTTPS from files, and HTTP/2.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::{TokioExecutor, TokioIo};
use nix::sys::signal::Signal;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinHandle;

use crate::harness::bot::{Bot, SOON, Setup, until};
use crate::harness::certificate::{Authority, TlsClient};
use crate::harness::client::{Answer, Connection, Failure, Target, join, tcp};
use crate::harness::load::Load;

/// A bot with a certificate of a new authority's.
pub(crate) fn with_certificate(setup: Setup) -> (Setup, Authority) {
    let authority = Authority::new();
    let (cert, key) = authority.issue(setup.dir.path());
    let (cert, key) = (cert.display().to_string(), key.display().to_string());
    let setup = setup.args(&["--tls-cert", &cert, "--tls-key", &key]);
    (setup, authority)
}

/// A connection of many requests.
struct Http2(SendRequest<Full<Bytes>>);

impl Http2 {
    async fn open(port: u16, authority: &Authority) -> Self {
        Self::try_open(port, authority).await.expect("a connection")
    }

    async fn try_open(port: u16, authority: &Authority) -> Option<Self> {
        let stream = authority.client(&["h2"]).connect(port).await.ok()?;
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        let io = TokioIo::new(stream);
        let (sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), io)
            .await
            .ok()?;
        tokio::spawn(connection);
        Some(Http2(sender))
    }

    fn say(&self, user: &str, text: &str) -> JoinHandle<Result<Answer, Failure>> {
        let body = json!({ "user_id": user, "text": text }).to_string();
        let request = Request::post("https://localhost/http")
            .header("content-type", "application/json")
            .body(Full::from(body))
            .unwrap();
        let mut sender = self.0.clone();
        tokio::spawn(async move {
            sender.ready().await?;
            let (head, body) = sender.send_request(request).await?.into_parts();
            Ok(Answer {
                status: head.status.as_u16(),
                headers: head.headers,
                body: body.collect().await?.to_bytes(),
            })
        })
    }
}

#[tokio::test]
async fn many_requests_share_a_connection() {
    let (setup, authority) = with_certificate(Setup::counter().args(&["--workers", "2"]));
    let bot = setup.start().await;
    assert!(
        bot.stderr().contains(" on https://localhost:"),
        "{}",
        bot.stderr()
    );
    let connection = Http2::open(bot.port, &authority).await;
    // More than may run at once.
    let asked: Vec<_> = (0..150)
        .map(|n| {
            (
                n,
                connection.say(&format!("user-{}", n % 50), &format!("m{n}")),
            )
        })
        .collect();
    let mut sum = 0;
    for (n, answer) in asked {
        let answer = join(answer).await.unwrap();
        assert!(
            answer.replies()[0].ends_with(&format!(": m{n}")),
            "{answer:?}"
        );
        sum += answer.number();
    }
    assert_eq!(sum, 50 * (1 + 2 + 3));
    // Others speak HTTP/1.1.
    let target = Target::Tls(bot.port, authority.client(&["http/1.1"]));
    let mut plain = Connection::try_open_at(&target).await.unwrap();
    assert_eq!(plain.say("ann", "hi").await.number(), 1);
    assert_eq!(plain.say("ann", "hi").await.number(), 2);
    bot.stop().await.assert_sound();
}

#[tokio::test]
async fn what_is_no_handshake_harms_nobody() {
    let limits = ["--header-timeout", "1s"];
    let (setup, authority) = with_certificate(Setup::counter().args(&limits));
    let bot = setup.start().await;
    let mut plain = tcp(bot.port).await.unwrap();
    plain
        .write_all(b"POST /http HTTP/1.1\r\n\r\n")
        .await
        .unwrap();
    let mut silent = tcp(bot.port).await.unwrap();
    for stream in [&mut plain, &mut silent] {
        let mut rest = Vec::new();
        let end = tokio::time::timeout(SOON, stream.read_to_end(&mut rest)).await;
        assert!(end.is_ok(), "it was not closed");
        assert!(!rest.starts_with(b"HTTP"), "{rest:?}");
    }
    // The authority is not one that the world trusts.
    let stranger = Authority::new().client(&[]);
    assert!(stranger.connect(bot.port).await.is_err());
    let answer = Http2::open(bot.port, &authority).await.say("ann", "hi");
    assert_eq!(join(answer).await.unwrap().number(), 1);
    bot.stop().await;
}

#[tokio::test]
async fn a_stop_answers_what_is_in_flight() {
    let (setup, authority) = with_certificate(Setup::commands().args(&["--workers", "2"]));
    let mut bot = setup.start().await;
    let connection = Http2::open(bot.port, &authority).await;
    let slow: Vec<_> = (0..20)
        .map(|n| connection.say(&format!("slow-{n}"), "sleep 700"))
        .collect();
    // It comes after them on the same connection.
    join(connection.say("ann", "hi")).await.unwrap();
    let load = Load::start(Target::Tls(bot.port, authority.client(&["http/1.1"])));
    tokio::time::sleep(Duration::from_millis(200)).await;
    // One that stays silent.
    let silent = tcp(bot.port).await.unwrap();
    bot.signal(Signal::SIGINT);
    let stopping = Instant::now();
    assert_eq!(bot.ended(SOON).await, 0, "{}", bot.stderr());
    assert!(
        stopping.elapsed() < Duration::from_secs(6),
        "it was held up"
    );
    drop(silent);
    for answer in slow {
        assert_eq!(join(answer).await.unwrap().status, 200);
    }
    let verdict = load.end().await;
    assert!(verdict.cut.is_empty(), "{verdict:?}");
    assert!(bot.stderr().contains("nothing lost"), "{}", bot.stderr());
}

/// Requests over HTTP/2, many at once, until told to stop; what failed of them. A request
/// that the server says it has not looked at is sent again, as every client does.
async fn talk(
    port: u16,
    authority: Arc<Authority>,
    user: String,
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicU64>,
) {
    while !stop.load(Ordering::Relaxed) {
        let Some(connection) = Http2::try_open(port, &authority).await else {
            // The door is closed.
            tokio::time::sleep(Duration::from_millis(5)).await;
            continue;
        };
        'asking: while !stop.load(Ordering::Relaxed) {
            let asked: Vec<_> = (0..4).map(|_| connection.say(&user, "hi")).collect();
            let mut is_over = false;
            for answer in asked {
                match join(answer).await {
                    Ok(answer) if answer.status == 200 => {
                        answered.fetch_add(1, Ordering::Relaxed);
                    }
                    Ok(answer) => panic!("{}: {}", answer.status, answer.text()),
                    Err(error) if was_refused(&error) => is_over = true,
                    Err(error) => panic!("cut: {error:?}"),
                }
            }
            if is_over {
                break 'asking;
            }
        }
    }
}

/// Whether the server never looked at it: it came after GOAWAY (RFC 9113, 8.7).
fn was_refused(error: &Failure) -> bool {
    let Some(error) = error.downcast_ref::<hyper::Error>() else {
        return false;
    };
    let text = format!("{error:?}");
    error.is_canceled()
        || error.is_closed()
        || text.contains("GoAway") && text.contains("NO_ERROR")
        || text.contains("REFUSED_STREAM")
}

#[tokio::test]
async fn http_2_is_cut_by_no_reload_and_no_stop() {
    let (setup, authority) = with_certificate(Setup::counter().args(&["--workers", "2"]));
    let mut bot = setup.start().await;
    let authority = Arc::new(authority);
    let stop = Arc::new(AtomicBool::new(false));
    let answered = Arc::new(AtomicU64::new(0));
    let talking: Vec<_> = (0..6)
        .map(|n| {
            let (authority, stop) = (authority.clone(), stop.clone());
            let user = format!("user-{n}");
            tokio::spawn(talk(bot.port, authority, user, stop, answered.clone()))
        })
        .collect();
    let flows = async || {
        let before = answered.load(Ordering::Relaxed);
        until("turns", SOON, || {
            answered.load(Ordering::Relaxed) > before + 100
        })
        .await;
    };
    flows().await;
    for round in 1..=2 {
        bot.signal(Signal::SIGHUP);
        until("a reload", SOON, || {
            bot.stderr().matches("Reloaded").count() == round
        })
        .await;
        flows().await;
    }
    bot.signal(Signal::SIGTERM);
    assert_eq!(bot.ended(SOON).await, 0, "{}", bot.stderr());
    stop.store(true, Ordering::Relaxed);
    for one in talking {
        join(one).await;
    }
    assert_eq!(bot.setup.sum(), answered.load(Ordering::Relaxed));
}

async fn served_changes(bot: &Bot, client: &TlsClient, before: &[u8]) {
    let deadline = tokio::time::Instant::now() + SOON;
    // Both workers, whoever takes the connection.
    let mut in_a_row = 0;
    while in_a_row < 20 {
        assert!(
            tokio::time::Instant::now() < deadline,
            "the old one is served on"
        );
        in_a_row = match client.served(bot.port).await == before {
            true => 0,
            false => in_a_row + 1,
        };
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_new_certificate_is_served_without_a_gap() {
    let (setup, authority) = with_certificate(Setup::counter().args(&["--workers", "2"]));
    let bot = setup.start().await;
    let client = authority.client(&["http/1.1"]);
    let load = Load::start(Target::Tls(bot.port, client.clone()));
    let first = client.served(bot.port).await;
    authority.issue(setup.dir.path());
    served_changes(&bot, &client, &first).await;
    // And at once, where somebody says so.
    let second = client.served(bot.port).await;
    authority.issue(setup.dir.path());
    bot.signal(Signal::SIGHUP);
    bot.wait_for_stderr("Reloaded").await;
    served_changes(&bot, &client, &second).await;
    // One that is broken replaces nothing.
    let third = client.served(bot.port).await;
    let cert = setup.path("cert.pem");
    fs::write(&cert, "no certificate").unwrap();
    bot.wait_for_stderr("the certificate before is served on")
        .await;
    bot.signal(Signal::SIGHUP);
    bot.wait_for_stderr("Reload failed").await;
    assert_eq!(client.served(bot.port).await, third);
    let answered = load.end_unharmed().await;
    assert_eq!(bot.stop().await.sum(), answered);
}

#[tokio::test]
async fn an_upgrade_keeps_https() {
    let (setup, authority) = with_certificate(Setup::counter().args(&["--workers", "2"]));
    let mut bot = setup.start().await;
    let client = authority.client(&["http/1.1"]);
    let load = Load::start(Target::Tls(bot.port, client.clone()));
    bot.signal(Signal::SIGUSR2);
    let new = bot.successor_program().await;
    assert_eq!(bot.ended(SOON).await, 0, "{}", bot.stderr());
    client.served(bot.port).await;
    load.end_unharmed().await;
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(new), Signal::SIGTERM).unwrap();
    bot.gone(SOON).await;
}

#[tokio::test]
async fn a_wrong_pair_is_refused_at_the_start() {
    let (setup, _) = with_certificate(Setup::counter());
    let other = tempfile::tempdir().unwrap();
    let (cert, key) = Authority::new().issue(other.path());
    let missing = other.path().join("none.pem");
    let cases = [
        (
            setup.path("cert.pem"),
            key.clone(),
            "do not belong together",
        ),
        (missing.clone(), key.clone(), "none.pem"),
        (key.clone(), key.clone(), "holds no certificate"),
        (cert.clone(), cert.clone(), "holds no private key"),
    ];
    for (cert, key, reason) in cases {
        let (cert, key) = (cert.display().to_string(), key.display().to_string());
        let ended = Setup::counter()
            .args(&["--tls-cert", &cert, "--tls-key", &key])
            .run_to_end();
        assert_eq!(ended.code, Some(2), "{ended:?}");
        assert!(ended.stderr.contains(reason), "{ended:?}");
    }
}
