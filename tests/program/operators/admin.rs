//! `--admin`: what an operator is told of a running bot, and who is told nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::Request;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tokio::io::AsyncWriteExt;
use turnkey_storage::dead::{self, DeadLetter};
use turnkey_storage::sqlite::{Files, connect as open_file, random_owner};
use turnkey_storage::{DialogKey, Storage};

use crate::harness::api::{Api, Mood};
use crate::harness::bot::{Bot, SOON, Setup, until};
use crate::harness::client::{
    Answer, Connection, Target, begin, connect, join, once, read_to_end, say, try_once,
};
use crate::harness::telegram::{text, webhook};

/// What a user may call himself.
const HOSTILE: &str = "\"><script>alert('1')</script><img src=x onerror=alert(2)>\u{202e}";

const JSON_TYPE: &str = "application/json";

pub(crate) fn setup(setup: Setup) -> Setup {
    setup.args(&["--workers", "2", "--admin", "127.0.0.1:0"])
}

/// The port of its admin address.
pub(crate) fn admin_port(bot: &Bot) -> u16 {
    let stderr = bot.stderr();
    let line = stderr
        .lines()
        .find_map(|line| line.strip_prefix("Status page at http://127.0.0.1:"));
    let (port, _) = line.expect("its address").split_once('/').expect("a path");
    port.parse().expect("a port")
}

fn request(method: &str, path: &str, headers: &[(&str, &str)]) -> Request<Full<Bytes>> {
    let mut request = Request::builder().method(method).uri(path);
    if !headers.iter().any(|(name, _)| *name == "host") {
        request = request.header("host", "localhost");
    }
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(Full::default()).unwrap()
}

pub(crate) async fn get_with(port: u16, path: &str, headers: &[(&str, &str)]) -> Answer {
    once(port, request("GET", path, headers)).await
}

pub(crate) async fn get(port: u16, path: &str) -> Answer {
    get_with(port, path, &[]).await
}

async fn status(port: u16) -> Value {
    let answer = get(port, "/status.json").await;
    assert_eq!(
        (answer.status, answer.header("content-type")),
        (200, JSON_TYPE)
    );
    answer.json()
}

/// A figure of `/metrics`: the sample with exactly this name and labels.
async fn metric(port: u16, name: &str) -> f64 {
    let text = get(port, "/metrics").await.text();
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {name} in\n{text}"))
        .parse()
        .expect("a number")
}

/// Waits until a page says this: the page.
pub(crate) async fn until_page(port: u16, path: &str, part: &str, limit: Duration) -> String {
    let deadline = std::time::Instant::now() + limit;
    loop {
        let page = get(port, path).await.text();
        if page.contains(part) {
            return page;
        }
        assert!(
            std::time::Instant::now() < deadline,
            "no {part:?} on {path}: {page}"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Waits until a path is answered so.
async fn until_answered(port: u16, path: &str, wanted: u16) -> Answer {
    let deadline = std::time::Instant::now() + SOON;
    loop {
        let answer = get(port, path).await;
        if answer.status == wanted {
            return answer;
        }
        assert!(
            std::time::Instant::now() < deadline,
            "{path} is still {}: {}",
            answer.status,
            answer.text()
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn the_figures_add_up_with_the_turns_that_were_made() {
    let bot = setup(Setup::commands()).start().await;
    let port = admin_port(&bot);
    assert_eq!(get(port, "/healthz").await.text(), "ok\n");
    until_answered(port, "/readyz", 200).await;
    for n in 0..20 {
        let user = format!("user{}", n % 3);
        assert_eq!(say(bot.port, &user, "hi").await.status, 200);
    }
    assert_eq!(say(bot.port, "ann", "fail").await.status, 503);
    for (name, wanted) in [
        ("turnkey_turns_total", 20.0),
        ("turnkey_turn_duration_seconds_count", 20.0),
        ("turnkey_turn_duration_seconds_bucket{le=\"+Inf\"}", 20.0),
        ("turnkey_turn_failures_total", 1.0),
        ("turnkey_http_requests_total", 21.0),
        ("turnkey_workers{state=\"serving\"}", 2.0),
        ("turnkey_process_starts_total", 3.0),
        ("turnkey_process_crashes_total", 0.0),
        ("turnkey_writer_up", 1.0),
        ("turnkey_ready", 1.0),
        ("turnkey_dead_letters", 0.0),
    ] {
        assert_eq!(metric(port, name).await, wanted, "{name}");
    }
    let sum = metric(port, "turnkey_turn_duration_seconds_sum").await;
    assert!(sum > 0.0 && sum < SOON.as_secs_f64(), "{sum}");
    let commits = metric(port, "turnkey_commits_total").await;
    assert!((1.0..=60.0).contains(&commits), "{commits}");
    let waits = metric(port, "turnkey_sync_duration_seconds_count").await;
    assert!(
        waits >= 20.0,
        "each of these turns waited for the disk: {waits}"
    );
    let told = status(port).await;
    assert_eq!(told["turns"]["total"], 20);
    assert_eq!(told["not_ready"], Value::Null);
    assert_eq!(told["workers"].as_array().unwrap().len(), 2);
    let pids: Vec<_> = told["workers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|w| w["pid"].as_i64())
        .collect();
    for index in 0..2 {
        let pid = i64::from(bot.worker(index).await);
        assert!(pids.contains(&Some(pid)), "{pids:?}");
    }
    assert_eq!(told["writer"]["pid"], bot.writer().await);
    bot.stop().await.assert_sound();
}

#[tokio::test]
async fn answers_are_kept_by_nobody_and_nothing_is_changed_here() {
    let bot = setup(Setup::counter()).start().await;
    let port = admin_port(&bot);
    for (path, media_type) in [
        ("/healthz", "text/plain; charset=utf-8"),
        ("/readyz", "text/plain; charset=utf-8"),
        (
            "/metrics",
            "application/openmetrics-text; version=1.0.0; charset=utf-8",
        ),
        ("/status", "text/html; charset=utf-8"),
        ("/status.json", JSON_TYPE),
        ("/status/style.css", "text/css; charset=utf-8"),
        ("/status/live.js", "text/javascript; charset=utf-8"),
        ("/status/dialogs", "text/html; charset=utf-8"),
        ("/status/dead", "text/html; charset=utf-8"),
    ] {
        let answer = get(port, path).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        assert_eq!(answer.header("content-type"), media_type);
        assert_eq!(answer.header("cache-control"), "no-store", "{path}");
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
        let policy = answer.header("content-security-policy");
        assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"));
        for method in ["POST", "PUT", "DELETE", "OPTIONS"] {
            let answer = once(port, request(method, path, &[])).await;
            assert_eq!((answer.status, answer.header("allow")), (405, "GET, HEAD"));
        }
        // What operators are told the world is not.
        assert_ne!(get(bot.port, path).await.status, 200, "{path}");
    }
    assert_eq!(get(port, "/").await.header("location"), "/status");
    for path in ["/nowhere", "/status/", "/status/dialogs/x", "/http"] {
        assert_eq!(get(port, path).await.status, 404, "{path}");
    }
    let long = format!("/status/dialogs?user={}", "x".repeat(3000));
    assert_eq!(get(port, &long).await.status, 414);
    bot.stop().await.assert_sound();
}

#[tokio::test]
async fn with_a_token_it_is_asked_for_and_no_secret_is_told() {
    let bot = setup(Setup::counter())
        .env("TURNKEY_ADMIN_TOKEN", "operators-only")
        .env("TURNKEY_HTTP_TOKEN", "secret-of-http")
        .env("TURNKEY_RPC_TOKEN", "secret-of-rpc")
        .env("TURNKEY_TELEGRAM_SECRET", "secret-of-telegram")
        .start()
        .await;
    let port = admin_port(&bot);
    for path in [
        "/healthz",
        "/readyz",
        "/metrics",
        "/status",
        "/status.json",
        "/nowhere",
    ] {
        for wrong in [
            None,
            Some("Bearer operators-onl"),
            Some("Basic b3BlcmF0b3Jz"),
        ] {
            let header = wrong.map(|value| ("authorization", value));
            let answer = get_with(port, path, header.as_slice()).await;
            assert_eq!(answer.status, 401, "{path} with {wrong:?}");
            assert!(answer.header("www-authenticate").contains("Bearer"));
        }
        let right = [
            ("authorization", "Bearer operators-only"),
            // Another name is no danger to whoever must bring a token.
            ("host", "bot.example"),
        ];
        let answer = get_with(port, path, &right).await;
        assert_eq!(answer.status, if path == "/nowhere" { 404 } else { 200 });
        let text = answer.text();
        assert!(
            !text.contains("secret-of") && !text.contains("operators-only"),
            "{text}"
        );
    }
    // A browser asks its user: any name, and the token as the password.
    let browser = [("authorization", "Basic bWU6b3BlcmF0b3JzLW9ubHk=")];
    assert_eq!(get_with(port, "/status", &browser).await.status, 200);
    bot.stop().await.assert_sound();
}

#[tokio::test]
async fn a_page_elsewhere_cannot_make_a_browser_ask_for_it() {
    let bot = setup(Setup::counter()).start().await;
    let port = admin_port(&bot);
    for host in ["evil.example", "evil.example:8081", "192.168.1.1"] {
        let answer = get_with(port, "/status.json", &[("host", host)]).await;
        assert_eq!(answer.status, 421, "{host}");
        assert!(answer.text().contains("localhost"), "{}", answer.text());
    }
    for host in ["localhost:1", "127.0.0.1", "[::1]:8081"] {
        let answer = get_with(port, "/status.json", &[("host", host)]).await;
        assert_eq!(answer.status, 200, "{host}");
    }
    bot.stop().await.assert_sound();
}

#[tokio::test]
async fn a_unix_socket_is_for_its_user_alone_and_works_in_a_single_process() {
    use std::os::unix::fs::PermissionsExt;
    let setup = Setup::counter();
    let path = setup.path("admin.sock");
    let listen = format!("unix:{}", path.display());
    let bot = setup
        .args(&["--single-process", "--admin", &listen])
        .start()
        .await;
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(say(bot.port, "ann", "hi").await.number(), 1);
    let mut connection = Connection::try_open_at(&Target::Unix(path.clone()))
        .await
        .unwrap();
    let told = connection
        .send(request("GET", "/status.json", &[("host", "x.example")]))
        .await
        .json();
    assert_eq!(
        (&told["turns"]["total"], &told["not_ready"]),
        (&1.into(), &Value::Null)
    );
    drop(connection);
    bot.stop().await.assert_sound();
    assert!(!path.exists(), "the socket's file is left");
}

#[tokio::test]
async fn what_users_wrote_stays_text() {
    let bot = setup(Setup::counter()).args(&["--history"]).start().await;
    let port = admin_port(&bot);
    assert_eq!(say(bot.port, HOSTILE, HOSTILE).await.number(), 1);
    let files = Files::of(&bot.setup.database());
    let storage: Arc<dyn Storage> = Arc::new(open_file(&files, random_owner().unwrap()).unwrap());
    let letter = DeadLetter {
        dialog: DialogKey::new("http", HOSTILE),
        update: HOSTILE.to_owned(),
        arrived: 1_000,
        digest: Vec::new(),
        answer: Vec::new(),
        body: format!("not JSON {HOSTILE}").into_bytes(),
        error: HOSTILE.to_owned(),
        attempts: 5,
        died: 2_000,
    };
    dead::bury(&*storage, &letter).await.unwrap();
    drop(storage);
    let query: String = form_urlencoded::Serializer::new(String::new())
        .append_pair("user", HOSTILE)
        .finish();
    let found = get(port, &format!("/status/dialogs?{query}")).await.text();
    let link = found
        .split("href=\"")
        .find(|part| part.starts_with("/status/dialogs/http/"));
    let link = link
        .expect("the dialog is found")
        .split('"')
        .next()
        .unwrap();
    let one = get(port, link).await;
    assert_eq!(one.status, 200, "{}", one.text());
    assert!(
        one.text().contains("&quot;count&quot;: 1"),
        "{}",
        one.text()
    );
    let pages = [
        found.clone(),
        one.text(),
        get(port, "/status/dead").await.text(),
        get(port, "/status").await.text(),
        get(port, &format!("/status/dialogs/{query}/{query}"))
            .await
            .text(),
    ];
    for page in pages {
        for tag in ["<script>", "<img", "alert('", "\u{202e}"] {
            assert!(!page.contains(tag), "{tag} in\n{page}");
        }
    }
    let letters = get(port, "/status/dead").await.text();
    assert!(
        letters.contains("&lt;script&gt;alert(&#39;1&#39;)"),
        "{letters}"
    );
    until_metric(port, "turnkey_dead_letters", |n| n == 1.0).await;
    assert!(
        get(port, "/status")
            .await
            .text()
            .contains("href=\"/status/dead\">1<")
    );
    bot.stop().await;
}

#[tokio::test]
async fn it_is_not_ready_while_the_writer_hangs() {
    let bot = setup(Setup::counter()).start().await;
    let port = admin_port(&bot);
    until_answered(port, "/readyz", 200).await;
    let writer = Pid::from_raw(bot.writer().await);
    kill(writer, Signal::SIGSTOP).unwrap();
    // First it does not answer, and after some seconds it is known why.
    let mut answer = until_answered(port, "/readyz", 503).await;
    let deadline = std::time::Instant::now() + SOON;
    while !answer.text().contains("the writer is silent") {
        assert_eq!(answer.status, 503, "{}", answer.text());
        assert!(std::time::Instant::now() < deadline, "{}", answer.text());
        answer = get(port, "/readyz").await;
    }
    assert_eq!(
        get(port, "/healthz").await.status,
        200,
        "this process answers"
    );
    assert_eq!(metric(port, "turnkey_ready").await, 0.0);
    assert!(get(port, "/status").await.text().contains("not ready"));
    kill(writer, Signal::SIGCONT).unwrap();
    until_answered(port, "/readyz", 200).await;
    bot.stop().await.assert_sound();
}

#[tokio::test]
async fn it_is_not_ready_while_it_stops() {
    let bot = setup(Setup::commands()).start().await;
    let port = admin_port(&bot);
    let gate = bot.setup.path("gate");
    let slow = begin(bot.port, "ann", &format!("gate {} done", gate.display())).await;
    let waits = bot.setup.path("gate.http.ann");
    until("the turn waits", SOON, || waits.exists()).await;
    let deadline = std::time::Instant::now() + SOON;
    bot.signal(Signal::SIGTERM);
    let answer = loop {
        // Whoever asks now for the first time is answered, too.
        match try_once(port, request("GET", "/readyz", &[])).await {
            Ok(answer) if answer.status == 503 => break answer,
            Ok(answer) => assert_eq!(answer.status, 200),
            Err(error) => panic!("nobody answers: {error}"),
        }
        assert!(std::time::Instant::now() < deadline, "it stays ready");
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert!(
        answer.text().contains("no worker serves"),
        "{}",
        answer.text()
    );
    std::fs::write(&gate, "").unwrap();
    assert_eq!(join(slow).await.unwrap().number(), 1);
    // Operators who stay hold up no stop.
    let mut bot = bot;
    assert_eq!(bot.ended(SOON).await, 0, "{}", bot.stderr());
}

#[tokio::test]
async fn a_crash_is_counted_and_who_waits_is_named() {
    let bot = setup(Setup::commands()).start().await;
    let port = admin_port(&bot);
    let worker = bot.worker(0).await;
    kill(Pid::from_raw(worker), Signal::SIGKILL).unwrap();
    bot.successor("turnkey: worker 0", worker).await;
    let deadline = std::time::Instant::now() + SOON;
    loop {
        let told = status(port).await;
        let serving = told["workers"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|w| w["state"] == "serving")
            .count();
        if (&told["crashes"], &told["starts"], serving) == (&1.into(), &4.into(), 2) {
            break;
        }
        assert!(std::time::Instant::now() < deadline, "{told}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let gate = bot.setup.path("gate");
    let slow = begin(bot.port, "ann", &format!("gate {} done", gate.display())).await;
    loop {
        let told = status(port).await;
        if told["turns"]["longest"]["dialog"] == "http:ann" {
            assert_eq!(told["turns"]["in_flight"], 1);
            break;
        }
        assert!(std::time::Instant::now() < deadline, "{told}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    std::fs::write(&gate, "").unwrap();
    join(slow).await.unwrap();
    loop {
        if status(port).await["turns"]["longest"].is_null() {
            break;
        }
        assert!(std::time::Instant::now() < deadline, "she waits no more");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    bot.stop().await.assert_sound();
}

/// A figure that is looked at once a second, once it is what it should be.
async fn until_metric(port: u16, name: &str, is_so: impl Fn(f64) -> bool) {
    let deadline = std::time::Instant::now() + SOON;
    loop {
        let value = metric(port, name).await;
        if is_so(value) {
            return;
        }
        assert!(
            std::time::Instant::now() < deadline,
            "{name} is still {value}"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn replies_that_cannot_be_sent_are_seen() {
    let api = Api::start();
    let bot = api.configure(setup(Setup::commands())).start().await;
    let port = admin_port(&bot);
    // Told "too many" once, then held until the test lets go.
    api.be("7", &[Mood::Flood(1), Mood::Held]);
    let answer = once(bot.port, webhook(&text(1, 7, "many 2"))).await;
    assert_eq!(answer.status, 200);
    until_metric(port, "turnkey_platform_too_many_total", |n| n == 1.0).await;
    until_metric(port, "turnkey_replies_sending", |n| n == 2.0).await;
    until_metric(port, "turnkey_outbox_replies", |n| n == 2.0).await;
    until_metric(port, "turnkey_outbox_lag_seconds", |s| s > 0.5).await;
    until_metric(port, "turnkey_longest_wait_seconds", |s| s > 0.5).await;
    let told = status(port).await;
    assert_eq!(told["queues"]["oldest_reply"]["dialog"], "telegram:7");
    // Its turn is committed all the same, and in time.
    assert_eq!(told["turns"]["total"], 1);
    api.calm();
    api.release();
    until_metric(port, "turnkey_replies_sent_total", |n| n == 2.0).await;
    until_metric(port, "turnkey_outbox_replies", |n| n == 0.0).await;
    until_metric(port, "turnkey_outbox_lag_seconds", |s| s == 0.0).await;
    bot.stop().await.assert_sound();
}

#[tokio::test]
async fn slow_and_greedy_clients_are_cut_off() {
    let bot = setup(Setup::counter()).start().await;
    let port = admin_port(&bot);
    let mut slow = connect(port).await;
    slow.write_all(b"GET /status HTTP/1.1\r\nHost: local")
        .await
        .unwrap();
    let mut greedy = connect(port).await;
    let head = format!(
        "GET /status HTTP/1.1\r\nHost: localhost\r\nX: {}",
        "x".repeat(20 << 10)
    );
    greedy.write_all(head.as_bytes()).await.unwrap();
    assert!(read_to_end(&mut greedy).await.starts_with("HTTP/1.1 431"));
    let said = read_to_end(&mut slow).await;
    assert!(
        said.is_empty() || said.starts_with("HTTP/1.1 408"),
        "{said}"
    );
    assert_eq!(get(port, "/healthz").await.status, 200);
    // A flood of silent ones leaves the bot itself alone.
    let mut silent = Vec::new();
    for _ in 0..200 {
        silent.push(connect(port).await);
    }
    assert_eq!(say(bot.port, "ann", "hi").await.number(), 1);
    drop(silent);
    bot.stop().await.assert_sound();
}

/// A balancer in front of it must not take it out.
#[tokio::test]
async fn it_is_ready_all_through_a_reload_and_an_upgrade() {
    let mut bot = setup(Setup::counter()).start().await;
    let port = admin_port(&bot);
    let stop = Arc::new(AtomicBool::new(false));
    let over = stop.clone();
    let probes = tokio::spawn(async move {
        let mut count = 0;
        while !over.load(Ordering::Relaxed) {
            let answer = get(port, "/readyz").await;
            assert_eq!(answer.status, 200, "{}", answer.text());
            count += 1;
        }
        count
    });
    bot.signal(Signal::SIGHUP);
    bot.wait_for_stderr("Reloaded").await;
    bot.signal(Signal::SIGUSR2);
    let new = bot.successor_program().await;
    assert_eq!(bot.ended(SOON).await, 0);
    get(port, "/readyz").await;
    stop.store(true, Ordering::Relaxed);
    // Each look is a write, too, and waits for the next writer.
    assert!(crate::harness::client::join(probes).await > 5);
    kill(Pid::from_raw(new), Signal::SIGTERM).unwrap();
    bot.gone(SOON).await;
}
