//! Bad, large, strange and slow input: each is told what is wrong, and harms nobody
//! else.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::Full;
use hyper::Request;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::harness::bot::{SOON, Setup, until};
use crate::harness::client::{
    self, Connection, begin, connect, join, message, once, post, raw, raw_message, read_to_end, say,
};
use crate::harness::proc::raise_open_files;

#[tokio::test]
async fn bad_json_is_told_where_and_which_field() {
    let bot = Setup::counter().start().await;
    for (body, parts) in [
        ("", &["not JSON"][..]),
        ("hello", &["not JSON", "line 1 column 1"]),
        (
            "{\"user_id\":\"ann\",\n\"text\":}",
            &["not JSON", "line 2 column 8"],
        ),
        (
            "{\"user_id\":\"ann\",\"text\":\"hi\"} x",
            &["not JSON", "trailing"],
        ),
        ("{}", &["`user_id`"]),
        ("{\"user_id\":\"ann\"}", &["`text`"]),
        ("{\"user_id\":7,\"text\":\"hi\"}", &["`user_id`", "string"]),
        (
            "{\"user_id\":\"ann\",\"text\":[\"hi\"]}",
            &["`text`", "string"],
        ),
        (
            "{\"user_id\":\"ann\",\"text\":\"hi\",\"id\":1}",
            &["`id`", "string"],
        ),
        ("[]", &["an object with the fields"]),
        (
            "{\"user_id\":\"\",\"text\":\"hi\"}",
            &["`user_id`", "1 to 256"],
        ),
    ] {
        let answer = once(bot.port, post("/http", body)).await;
        assert_eq!(answer.status, 400, "{body}: {}", answer.text());
        for part in parts {
            assert!(answer.error().contains(part), "{body}: {}", answer.text());
        }
    }
    let not_utf8 = once(bot.port, post("/http", &b"{\"user_id\":\"\xff\"}"[..])).await;
    assert_eq!(not_utf8.status, 400);
    assert!(not_utf8.error().contains("unicode"), "{}", not_utf8.text());
    let long = once(bot.port, message(&"x".repeat(1000), "hi", None)).await;
    assert_eq!(long.status, 400);
    assert!(long.error().contains("user_id") && long.error().contains("256"));
    assert!(bot.stop().await.dump(&[]).is_empty());
}

#[tokio::test]
async fn wrong_paths_methods_and_types() {
    let bot = Setup::counter().start().await;
    for path in ["/", "/nothing", "/http/", "/http/x", "//http", "/Http"] {
        let answer = once(bot.port, post(path, "{}")).await;
        assert_eq!(answer.status, 404, "{path}");
        assert!(!answer.error().is_empty());
    }
    for method in ["GET", "PUT", "DELETE", "HEAD", "OPTIONS", "BREW"] {
        let request = Request::builder()
            .method(method)
            .uri("/http")
            .header("host", "x");
        let answer = once(bot.port, request.body(Full::default()).unwrap()).await;
        assert_eq!(
            (answer.status, answer.header("allow")),
            (405, "POST"),
            "{method}"
        );
    }
    let body = r#"{"user_id":"ann","text":"hi"}"#;
    for media_type in [
        "",
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/jsonx",
    ] {
        let mut request = post("/http", body);
        request
            .headers_mut()
            .insert("content-type", media_type.parse().unwrap());
        let answer = once(bot.port, request).await;
        assert_eq!(answer.status, 415, "{media_type}");
        assert!(answer.error().contains("application/json"));
    }
    for media_type in ["application/json; charset=utf-8", "Application/JSON"] {
        let mut request = post("/http", body);
        request
            .headers_mut()
            .insert("content-type", media_type.parse().unwrap());
        assert_eq!(once(bot.port, request).await.status, 200, "{media_type}");
    }
    bot.stop().await;
}

/// A request whose body is 4 MB, announced or in chunks.
fn large(chunked: bool) -> (String, Vec<u8>) {
    let length = 4 << 20;
    let how = if chunked {
        "Transfer-Encoding: chunked".to_owned()
    } else {
        format!("Content-Length: {length}")
    };
    let head = format!(
        "POST /http HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n{how}\r\n\r\n"
    );
    let mut body = vec![b' '; length];
    if chunked {
        body = body
            .chunks(1 << 16)
            .flat_map(|chunk| [b"10000\r\n", chunk, b"\r\n"].concat())
            .collect();
        body.extend(b"0\r\n\r\n");
    }
    (head, body)
}

/// The client gets to read the answer: it sends everything before it reads.
#[tokio::test]
async fn a_body_that_is_too_large_is_told_so() {
    let bot = Setup::counter()
        .args(&["--max-body", "300000"])
        .start()
        .await;
    for chunked in [false, true] {
        for _ in 0..5 {
            let (head, body) = large(chunked);
            let mut stream = connect(bot.port).await;
            stream.write_all(head.as_bytes()).await.unwrap();
            stream.write_all(&body).await.unwrap();
            let mut answer = [0; 12];
            stream.read_exact(&mut answer).await.unwrap();
            assert_eq!(&answer, b"HTTP/1.1 413", "chunked: {chunked}");
        }
    }
    // One who asks first is told at once.
    let (head, _) = large(false);
    let head = head.replace("\r\n\r\n", "\r\nExpect: 100-continue\r\n\r\n");
    let answer = raw(bot.port, head.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    assert!(answer.contains("300000 bytes"), "{answer}");
    // The largest that is taken.
    let padding = 300_000 - json!({"user_id":"ann","text":""}).to_string().len();
    let fits = message("ann", &"x".repeat(padding), None);
    assert_eq!(once(bot.port, fits).await.status, 200);
    let over = message("ann", &"x".repeat(padding + 1), None);
    assert_eq!(once(bot.port, over).await.status, 413);
    bot.stop().await;
}

/// Also an answer that does not depend on the body reaches who sends one.
#[tokio::test]
async fn a_refused_request_with_a_body_gets_its_answer() {
    let bot = Setup::counter().start().await;
    for (path, media_type, status) in [
        ("/nothing", "application/json", "404"),
        ("/http", "text/plain", "415"),
    ] {
        for _ in 0..5 {
            let mut request = format!(
                "POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: {media_type}\r\nContent-Length: 900000\r\n\r\n"
            )
            .into_bytes();
            request.resize(request.len() + 900_000, b' ');
            let mut stream = connect(bot.port).await;
            stream.write_all(&request).await.expect("it is read");
            let mut answer = [0; 12];
            stream.read_exact(&mut answer).await.expect("an answer");
            assert_eq!(answer, format!("HTTP/1.1 {status}").as_bytes());
        }
    }
    bot.stop().await;
}

#[tokio::test]
async fn a_head_that_is_too_large_is_told_so() {
    let bot = Setup::counter()
        .args(&["--max-header", "8192"])
        .start()
        .await;
    let long = format!(
        "GET /http HTTP/1.1\r\nHost: x\r\nX-Long: {}\r\n\r\n",
        "x".repeat(9000)
    );
    let many = format!(
        "GET /http HTTP/1.1\r\n{}\r\n",
        "X-One: more\r\n".repeat(100)
    );
    for request in [long, many] {
        let answer = raw(bot.port, request.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
    }
    let answer = raw(bot.port, b"this is not HTTP\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    assert_eq!(say(bot.port, "ann", "hi").await.number(), 1);
    bot.stop().await;
}

#[tokio::test]
async fn the_bearer_token_is_asked_for() {
    let bot = Setup::counter()
        .env("TURNKEY_HTTP_TOKEN", "open sesame")
        .start()
        .await;
    let with = |value: &str| {
        let mut request = message("ann", "hi", None);
        request
            .headers_mut()
            .insert("authorization", value.parse().unwrap());
        request
    };
    for wrong in [
        "Bearer open sesam",
        "Bearer open sesame2",
        "Basic open sesame",
        "Bearer ",
    ] {
        let answer = once(bot.port, with(wrong)).await;
        assert_eq!(answer.status, 401, "{wrong}");
        assert!(!answer.text().contains("sesame"));
    }
    assert_eq!(say(bot.port, "ann", "hi").await.status, 401);
    assert_eq!(once(bot.port, with("Bearer open sesame")).await.number(), 1);
    bot.stop().await;
}

#[tokio::test]
async fn one_turn_too_many_is_told_to_come_back() {
    let bot = Setup::commands().args(&["--max-turns", "1"]).start().await;
    let port = bot.port;
    let slow = begin(port, "ann", "sleep 2500").await;
    bot.settled().await;
    let refused = say(port, "bob", "hi").await;
    assert_eq!(refused.status, 503, "{}", refused.text());
    assert_eq!(refused.header("retry-after"), "1");
    assert_eq!(join(slow).await.unwrap().number(), 1);
    assert_eq!(say(port, "bob", "hi").await.number(), 1);
    bot.stop().await;
}

#[tokio::test]
async fn one_connection_too_many_is_told_to_come_back() {
    let bot = Setup::counter()
        .args(&["--max-connections", "1"])
        .start()
        .await;
    let mut first = Connection::open(bot.port).await;
    assert_eq!(first.say("ann", "hi").await.number(), 1);
    let refused = say(bot.port, "bob", "hi").await;
    assert_eq!(refused.status, 503, "{}", refused.text());
    assert_eq!(
        (refused.header("retry-after"), refused.header("connection")),
        ("1", "close")
    );
    assert_eq!(first.say("ann", "hi").await.number(), 2);
    drop(first);
    until("a free place", SOON, || bot_has_no_connection(&bot)).await;
    assert_eq!(say(bot.port, "bob", "hi").await.number(), 1);
    bot.stop().await;
}

fn bot_has_no_connection(bot: &crate::harness::bot::Bot) -> bool {
    crate::harness::proc::established(bot.port).is_empty()
}

#[tokio::test]
async fn a_wait_behind_a_slow_turn_of_the_same_user_is_bounded() {
    let bot = Setup::commands()
        .args(&["--lock-wait", "200ms"])
        .start()
        .await;
    let port = bot.port;
    let slow = begin(port, "ann", "sleep 3000").await;
    bot.settled().await;
    let refused = say(port, "ann", "hi").await;
    assert_eq!((refused.status, refused.header("retry-after")), (503, "1"));
    assert_eq!(join(slow).await.unwrap().number(), 1);
    assert_eq!(say(port, "ann", "hi").await.number(), 2);
    bot.stop().await.assert_sound();
}

#[tokio::test]
async fn text_of_every_kind_comes_back_unchanged() {
    let bot = Setup::counter().start().await;
    let half_a_mebibyte = "ж".repeat(1 << 18);
    let texts = [
        "",
        "NUL \0 in \0 the middle",
        "😀👩‍👩‍👧‍👦🇺🇳",
        "\u{202e}right to left\u{202c} \u{200f}\u{feff}",
        "\"quotes\" \\ \r\n\t \u{7f} \u{2028}",
        "'; DROP TABLE turnkey_dialog; --",
        half_a_mebibyte.as_str(),
    ];
    for (n, text) in texts.iter().enumerate() {
        let answer = say(bot.port, "ann", text).await;
        assert_eq!(answer.replies(), [format!("{}: {text}", n + 1)]);
    }
    for user in ["\0", "😀", "\u{202e}", "a b", "'", "%", &"x".repeat(256)] {
        for n in 1..=2 {
            assert_eq!(say(bot.port, user, "hi").await.number(), n, "{user:?}");
        }
    }
    let setup = bot.stop().await;
    assert_eq!((setup.count("\0"), setup.count("\u{202e}")), (2, 2));
    setup.assert_sound();
}

/// Clients that send a byte now and then are cut off in time; meanwhile, and with
/// thousands of idle connections besides, others are served at once.
#[tokio::test]
async fn slow_and_idle_clients_are_cut_off_and_hold_up_nobody() {
    raise_open_files();
    let limits = ["--header-timeout", "700ms", "--body-timeout", "700ms"];
    let bot = Setup::counter().args(&limits).start().await;
    let port = bot.port;
    let mut idle = Vec::new();
    for _ in 0..2000 {
        idle.push(connect(port).await);
    }
    let mut tasks = Vec::new();
    for client in 0..20 {
        tasks.push(tokio::spawn(async move {
            let request = raw_message("slow", &"x".repeat(300));
            let body = request.windows(4).position(|w| w == b"\r\n\r\n").unwrap() + 4;
            let in_head = client % 2 == 0;
            let mut stream = connect(port).await;
            let from = if in_head { 0 } else { body };
            stream.write_all(&request[..from]).await.unwrap();
            let started = Instant::now();
            for byte in &request[from..] {
                // It fails once the other side has closed.
                if stream.write_all(&[*byte]).await.is_err() {
                    break;
                }
                let mut answer = [0; 12];
                let wait = Duration::from_millis(50);
                match tokio::time::timeout(wait, stream.read(&mut answer)).await {
                    Err(_) => {}
                    Ok(Ok(12)) => {
                        assert!(!in_head && &answer == b"HTTP/1.1 408");
                        return started.elapsed();
                    }
                    Ok(end) => {
                        assert!(in_head, "a slow body gets an answer, not {end:?}");
                        break;
                    }
                }
                assert!(started.elapsed() < SOON, "it is not cut off");
            }
            started.elapsed()
        }));
    }
    let mut best = Duration::MAX;
    for n in 1..=10 {
        let asked = Instant::now();
        assert_eq!(say(port, "ann", "hi").await.number(), n);
        best = best.min(asked.elapsed());
    }
    assert!(best < Duration::from_millis(300), "it took {best:?}");
    for task in tasks {
        let cut_after = join(task).await;
        assert!(
            cut_after < Duration::from_secs(5),
            "cut off after {cut_after:?}"
        );
    }
    drop(idle);
    let setup = bot.stop().await;
    assert_eq!(setup.count("slow"), 0);
}

/// Many systems allow a process 1024 open files unless it asks for more.
#[tokio::test]
async fn a_low_limit_of_open_files_is_raised() {
    raise_open_files();
    let bot = Setup::counter().open_files(100).start().await;
    let mut idle = Vec::new();
    for _ in 0..300 {
        idle.push(connect(bot.port).await);
    }
    assert_eq!(say(bot.port, "ann", "hi").await.number(), 1);
    assert!(!bot.stderr().contains("ERROR"), "{}", bot.stderr());
    drop(idle);
    bot.stop().await;
}

#[tokio::test]
async fn idle_connections_are_closed_in_good_order() {
    let bot = Setup::counter()
        .args(&["--idle-timeout", "300ms"])
        .start()
        .await;
    let mut silent = connect(bot.port).await;
    let mut spoke = connect(bot.port).await;
    spoke.write_all(&raw_message("ann", "hi")).await.unwrap();
    let opened = Instant::now();
    assert_eq!(read_to_end(&mut silent).await, "");
    assert!(
        read_to_end(&mut spoke)
            .await
            .ends_with(r#"{"replies":[{"text":"1: hi"}]}"#)
    );
    assert!(opened.elapsed() < Duration::from_secs(5));
    bot.stop().await;
}

/// A worker frees the buffers of a connection that was idle for a second; its next request is
/// one like any other, also when it comes in pieces, and a stop does not wait for it.
#[tokio::test]
async fn a_connection_that_slept_is_answered() {
    // It looks twice in this time.
    let bot = Setup::counter()
        .args(&["--header-timeout", "600ms"])
        .start()
        .await;
    let mut stream = connect(bot.port).await;
    for n in 1..=3 {
        let message = raw_message("ann", "hi");
        let (first, rest) = message.split_at(if n == 3 { 1 } else { message.len() });
        stream.write_all(first).await.unwrap();
        tokio::task::yield_now().await;
        stream.write_all(rest).await.unwrap();
        let end = format!(r#"{{"replies":[{{"text":"{n}: hi"}}]}}"#);
        let mut answer = Vec::new();
        while !answer.ends_with(end.as_bytes()) {
            let read = tokio::time::timeout(SOON, stream.read_buf(&mut answer)).await;
            assert_ne!(read.unwrap().unwrap(), 0, "{answer:?}");
        }
        tokio::time::sleep(Duration::from_millis(1800)).await; // What is tested.
    }
    let stopped = Instant::now();
    bot.stop().await;
    assert!(stopped.elapsed() < Duration::from_secs(5));
    assert_eq!(read_to_end(&mut stream).await, "");
}

/// HTTP/1.0, `Expect: 100-continue`, chunks, a trailing half-close.
#[tokio::test]
async fn other_ways_of_sending() {
    let bot = Setup::counter().start().await;
    let old = b"POST /http HTTP/1.0\r\nContent-Type: application/json\r\nContent-Length: 29\r\n\r\n{\"user_id\":\"ann\",\"text\":\"hi\"}";
    assert!(raw(bot.port, old).await.contains("1: hi"));
    let chunks = b"POST /http HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{\"use\r\n18\r\nr_id\":\"ann\",\"text\":\"hi\"}\r\n0\r\n\r\n";
    assert!(raw(bot.port, chunks).await.contains("2: hi"));
    let expect = b"POST /http HTTP/1.1\r\nHost: x\r\nConnection: close\r\nExpect: 100-continue\r\nContent-Type: application/json\r\nContent-Length: 29\r\n\r\n{\"user_id\":\"ann\",\"text\":\"hi\"}";
    let answer = raw(bot.port, expect).await;
    assert!(
        answer.starts_with("HTTP/1.1 100") && answer.contains("3: hi"),
        "{answer}"
    );
    let unused: Request<Full<Bytes>> = message("ann", "hi", None);
    assert_eq!(client::once(bot.port, unused).await.number(), 4);
    bot.stop().await;
}

/// One line, and then a count, however often it happens.
#[tokio::test]
async fn no_more_files_is_one_line_and_then_a_count() {
    let bot = Setup::counter().args(&["--workers", "1"]).start().await;
    let worker = bot.worker(0).await.to_string();
    let open = std::fs::read_dir(format!("/proc/{worker}/fd"))
        .unwrap()
        .count();
    let limit = |most: usize| {
        let limit = format!("--nofile={most}:");
        let set = std::process::Command::new("prlimit")
            .args(["--pid", &worker, &limit])
            .status();
        assert!(set.is_ok_and(|status| status.success()));
    };
    limit(open);
    let waiting = connect(bot.port).await;
    bot.wait_for_stderr("cannot accept a connection: ").await;
    bot.wait_for_stderr(" in the meantime)").await;
    let lines = bot.stderr().matches("cannot accept a connection: ").count();
    assert_eq!(lines, 2, "{}", bot.stderr());
    limit(1024);
    drop(waiting);
    assert_eq!(say(bot.port, "ann", "hi").await.number(), 1);
    bot.stop().await.assert_sound();
}
