//! Who is refused gets to read why, also one who was still sending; and requests that a
//! proxy may have understood differently are refused.

use std::time::Duration;

use nix::sys::signal::Signal;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::harness::bot::{SOON, Setup};
use crate::harness::client::{connect, raw, say};
use crate::http::https::with_certificate;
use crate::operators::admin::admin_port;

/// A request with a body of 1 MB.
fn upload(line: &str, headers: &str) -> Vec<u8> {
    let length = 1 << 20;
    let mut request =
        format!("{line} HTTP/1.1\r\nHost: localhost\r\n{headers}Content-Length: {length}\r\n\r\n")
            .into_bytes();
    request.resize(request.len() + length, b' ');
    request
}

/// Sends all of it, then reads: as most clients do. The status.
async fn status_of(port: u16, request: &[u8]) -> String {
    let mut stream = connect(port).await;
    stream.write_all(request).await.expect("it is read");
    let mut answer = [0; 12];
    let read = stream.read_exact(&mut answer);
    let read = tokio::time::timeout(SOON, read).await.expect("in time");
    read.expect("an answer");
    String::from_utf8_lossy(&answer[9..]).into_owned()
}

#[tokio::test]
async fn an_upload_that_is_refused_is_told_why() {
    let json = "Content-Type: application/json\r\n";
    let bot = Setup::counter()
        .args(&["--admin", "127.0.0.1:0"])
        .env("TURNKEY_RPC_TOKEN", "token")
        .env("TURNKEY_ADMIN_TOKEN", "token")
        .start()
        .await;
    let admin = admin_port(&bot);
    let of_admin = "Authorization: Bearer token\r\n";
    for (port, line, headers, expected) in [
        (bot.port, "POST /nothing", json, "404"),
        (bot.port, "PUT /http", json, "405"),
        (
            bot.port,
            "POST /http",
            "Content-Type: text/plain\r\n",
            "415",
        ),
        (bot.port, "POST /rpc/http/ann", json, "401"),
        (bot.port, "GET /http/updates/x", json, "404"),
        (bot.port, "POST /http", "Host: b\r\n", "400"),
        (admin, "POST /status", "", "401"),
        (admin, "POST /status", of_admin, "405"),
        (admin, "POST /nothing", of_admin, "405"),
        (admin, "GET /nothing", of_admin, "404"),
    ] {
        for _ in 0..5 {
            let status = status_of(port, &upload(line, headers)).await;
            assert_eq!(status, expected, "{line} {headers}");
        }
    }
    // The same connection goes on after one that was read whole.
    let mut stream = connect(bot.port).await;
    let mut both = upload("POST /nothing", json);
    both.extend(b"GET /http HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    stream.write_all(&both).await.expect("it is read");
    let answers = crate::harness::client::read_to_end(&mut stream).await;
    assert!(answers.starts_with("HTTP/1.1 404"), "{answers}");
    assert!(answers.contains("HTTP/1.1 405"), "{answers}");
    bot.stop().await;
}

#[tokio::test]
async fn an_upload_that_is_one_too_many_is_told_so() {
    let json = "Content-Type: application/json\r\n";
    let bot = Setup::counter()
        .args(&["--rate-per-address", "1"])
        .start()
        .await;
    let request = upload("POST /nothing", json);
    let mut refused = 0;
    for _ in 0..20 {
        let status = status_of(bot.port, &request).await;
        refused += usize::from(status == "429");
        assert!(["404", "429"].contains(&status.as_str()), "{status}");
    }
    assert!(refused > 0, "the limit is not met");
    bot.stop().await;
    let bot = Setup::counter()
        .args(&["--max-connections", "1"])
        .start()
        .await;
    let mut first = crate::harness::client::Connection::open(bot.port).await;
    first.say("ann", "hi").await;
    for _ in 0..5 {
        assert_eq!(status_of(bot.port, &request).await, "503");
    }
    bot.stop().await;
}

/// Who never ends holds a connection for a bounded time, and a stop is not held up by it.
#[tokio::test]
async fn a_refused_body_without_an_end_is_bounded() {
    let bot = Setup::counter()
        .args(&["--body-timeout", "700ms"])
        .start()
        .await;
    let head = "POST /nothing HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\nx";
    let answer = raw(bot.port, head.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
    assert!(answer.contains("connection: close"), "{answer}");
    // One who asks first is told at once and sends nothing.
    let asks = head.replace("\r\n\r\nx", "\r\nExpect: 100-continue\r\n\r\n");
    let answer = raw(bot.port, asks.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
    bot.stop().await;
    let mut bot = Setup::counter().start().await;
    let mut endless = connect(bot.port).await;
    endless.write_all(head.as_bytes()).await.unwrap();
    bot.settled().await;
    bot.signal(Signal::SIGTERM);
    assert_eq!(bot.ended(Duration::from_secs(8)).await, 0);
}

/// A frame of HTTP/2 (RFC 9113, 4.1).
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut frame = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// The body comes a moment after the head, as it does where it is a frame of its own. A
/// server that answers before resets the stream, and some clients (curl 7.88) report that
/// in place of the answer.
#[tokio::test]
async fn http_2_is_not_reset_by_a_refusal() {
    let (setup, authority) = with_certificate(Setup::counter());
    let bot = setup.start().await;
    let client = authority.client(&["h2"]);
    for path in ["/nothing", "/http"] {
        let mut stream = client.connect(bot.port).await.unwrap();
        // :method POST, :scheme https, :path, :authority (RFC 7541, 6).
        let mut head = vec![0x83, 0x87, 0x04, path.len() as u8];
        head.extend(path.as_bytes());
        head.extend(b"\x01\x09localhost");
        let mut begin = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        begin.extend(frame(4, 0, 0, &[]));
        begin.extend(frame(1, 4, 1, &head));
        // The answer to this shows that the head was looked at.
        begin.extend(frame(6, 0, 0, b"pingpong"));
        stream.write_all(&begin).await.unwrap();
        let (mut is_answered, mut is_sent) = (false, false);
        loop {
            let mut head = [0; 9];
            let read = tokio::time::timeout(SOON, stream.read_exact(&mut head)).await;
            read.expect("in time").expect("a frame");
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
            let mut payload = vec![0; length as usize];
            stream.read_exact(&mut payload).await.unwrap();
            match (head[3], head[4]) {
                (3, _) => panic!("{path}: the stream was reset: {payload:?}"),
                (7, _) => panic!("{path}: the connection ends: {payload:?}"),
                (6, 1) if !is_sent => {
                    is_sent = true;
                    // Time for a mistake.
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    let mut body = frame(0, 1, 1, b"{}");
                    body.extend(frame(6, 0, 0, b"pongping"));
                    stream.write_all(&body).await.unwrap();
                }
                (0 | 1, flags) => is_answered |= flags & 1 == 1,
                (6, 1) if is_answered => break,
                // Not answered yet: once more, until it is.
                (6, 1) => {
                    let again = frame(6, 0, 0, b"pongping");
                    stream.write_all(&again).await.unwrap();
                }
                _ => {}
            }
        }
    }
    bot.stop().await;
}

#[tokio::test]
async fn http_1_1_names_one_host() {
    let bot = Setup::counter()
        .args(&["--admin", "127.0.0.1:0"])
        .start()
        .await;
    let admin = admin_port(&bot);
    for (hosts, expected) in [
        ("", "400"),
        ("Host: a\r\nHost: b\r\n", "400"),
        ("Host: a\r\nHost: a\r\n", "400"),
        ("Host: a b\r\n", "400"),
        ("Host: user@a\r\n", "400"),
        ("Host: a:port\r\n", "400"),
        ("Host: localhost\r\n", "200"),
        ("Host: [::1]:80\r\n", "200"),
    ] {
        let request = format!(
            "POST /http HTTP/1.1\r\n{hosts}Content-Type: application/json\r\nConnection: close\r\nContent-Length: 26\r\n\r\n{{\"user_id\":\"h\",\"text\":\"t\"}}"
        );
        let answer = raw(bot.port, request.as_bytes()).await;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {expected}")),
            "{hosts:?}: {answer}"
        );
        let request = format!("GET /healthz HTTP/1.1\r\n{hosts}Connection: close\r\n\r\n");
        let answer = raw(admin, request.as_bytes()).await;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {expected}")),
            "{hosts:?}: {answer}"
        );
    }
    // HTTP/1.0 knew no hosts.
    let old = "GET /healthz HTTP/1.0\r\n\r\n";
    assert!(raw(admin, old.as_bytes()).await.contains(" 200 "));
    assert_eq!(bot.stop().await.count("h"), 2);
}

/// Each is one message to some proxies and two to others; so the connection ends, too.
#[tokio::test]
async fn a_body_is_chunked_once_or_not_at_all() {
    let bot = Setup::counter().start().await;
    let hidden = String::from_utf8(crate::harness::client::raw_message("hidden", "t")).unwrap();
    for (codings, expected) in [
        ("Transfer-Encoding: chunked, chunked\r\n", "400"),
        (
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
            "400",
        ),
        ("Transfer-Encoding: gzip, chunked\r\n", "501"),
        (
            "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n",
            "501",
        ),
        ("Transfer-Encoding: gzip\r\n", "400"),
        ("Transfer-Encoding: chunked, gzip\r\n", "400"),
    ] {
        let request = format!(
            "POST /http HTTP/1.1\r\nHost: a\r\n{codings}Content-Type: application/json\r\n\r\n1a\r\n{{\"user_id\":\"h\",\"text\":\"t\"}}\r\n0\r\n\r\n{hidden}"
        );
        let answer = raw(bot.port, request.as_bytes()).await;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {expected}")),
            "{codings:?}: {answer}"
        );
        assert_eq!(
            answer.matches("HTTP/1.1").count(),
            1,
            "{codings:?}: {answer}"
        );
    }
    assert_eq!(say(bot.port, "ann", "hi").await.number(), 1);
    let setup = bot.stop().await;
    assert_eq!((setup.count("h"), setup.count("hidden")), (0, 0));
}

/// What is no JSON for a reason that can be seen is told that reason.
#[tokio::test]
async fn a_body_in_another_encoding_is_named() {
    let bot = Setup::counter()
        .env("TURNKEY_RPC_TOKEN", "token")
        .start()
        .await;
    let text = "{\"user_id\":\"ann\",\"text\":\"hi\"}";
    let wide =
        |bytes: fn(u16) -> [u8; 2]| -> Vec<u8> { text.encode_utf16().flat_map(bytes).collect() };
    let gzip = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03".to_vec();
    for (body, part) in [
        (
            [b"\xef\xbb\xbf", text.as_bytes()].concat(),
            "byte order mark",
        ),
        (
            [b"\xff\xfe", &wide(u16::to_le_bytes)[..]].concat(),
            "UTF-16",
        ),
        (
            [b"\xfe\xff", &wide(u16::to_be_bytes)[..]].concat(),
            "UTF-16",
        ),
        (wide(u16::to_le_bytes), "UTF-16"),
        (wide(u16::to_be_bytes), "UTF-16"),
        (gzip.clone(), "gzip"),
    ] {
        for path in ["/http", "/telegram"] {
            let answer = crate::harness::client::once(
                bot.port,
                crate::harness::client::post(path, body.clone()),
            );
            let answer = answer.await;
            assert_eq!(answer.status, 400, "{path}: {}", answer.text());
            assert!(answer.error().contains(part), "{path}: {}", answer.text());
        }
        let mut call = crate::harness::client::post("/rpc/http/ann", body);
        let token = "Bearer token".parse().unwrap();
        call.headers_mut().insert("authorization", token);
        let answer = crate::harness::client::once(bot.port, call).await.json();
        let message = answer["error"]["message"].as_str().unwrap();
        assert!(message.contains(part), "{answer}");
        assert_eq!(answer["error"]["code"], -32700);
    }
    // Announced, it is not even looked at.
    let mut packed = crate::harness::client::post("/http", gzip);
    packed
        .headers_mut()
        .insert("content-encoding", "gzip".parse().unwrap());
    let answer = crate::harness::client::once(bot.port, packed).await;
    assert_eq!(answer.status, 415, "{}", answer.text());
    assert!(answer.error().contains("Content-Encoding"));
    let mut plain = crate::harness::client::message("ann", "hi", None);
    plain
        .headers_mut()
        .insert("content-encoding", "identity".parse().unwrap());
    assert_eq!(
        crate::harness::client::once(bot.port, plain).await.number(),
        1
    );
    bot.stop().await;
}
