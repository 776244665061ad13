//! What authors bring themselves: the examples `custom_channel` and `custom_lock`, as whole
//! programs, and the check that they can run on a lock of theirs.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use turnkey::testing::check_user_lock;
use turnkey::{DialogKey, Held, LockFuture, UserLock};

use crate::harness::bot::{SOON, Setup, until};
use crate::harness::client::{Answer, begin, join, once, post, say};
use crate::platforms::webhooks::signature;

#[allow(dead_code, unreachable_pub)]
#[path = "../../../examples/custom_lock.rs"]
mod custom_lock;

const SECRET: &str = "secret of the desk";

/// The desk: remembers answers by their keys, and is down at first.
#[derive(Clone, Default)]
struct Desk(Arc<Mutex<(u32, HashMap<String, Value>)>>);

impl Desk {
    async fn start(&self) -> u16 {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let desk = self.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let desk = desk.clone();
                let service = service_fn(move |request| desk.clone().answer(request));
                let connection = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service);
                tokio::spawn(connection);
            }
        });
        port
    }

    async fn answer(
        self,
        request: Request<hyper::body::Incoming>,
    ) -> Result<Response<Full<Bytes>>, Infallible> {
        let (head, body) = request.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let key = head.headers["idempotency-key"].to_str().unwrap().to_owned();
        let mut state = self.0.lock().unwrap();
        let response = Response::builder();
        if state.0 > 0 {
            state.0 -= 1;
            let response = response.status(429).header("retry-after", "1");
            return Ok(response.body(Full::default()).unwrap());
        }
        state.1.insert(key, serde_json::from_slice(&body).unwrap());
        Ok(response.body(Full::default()).unwrap())
    }

    fn texts(&self, customer: &str) -> Vec<String> {
        let answers = &self.0.lock().unwrap().1;
        let of_customer = answers.values().filter(|a| a["customer"] == customer);
        let mut texts: Vec<_> = of_customer
            .map(|a| a["text"].as_str().unwrap().to_owned())
            .collect();
        texts.sort();
        texts
    }
}

fn event(id: &str, customer: &str, text: &str) -> Request<Full<Bytes>> {
    let event = json!({"event": "message", "id": id, "customer": customer, "text": text});
    signed(&event.to_string())
}

fn signed(body: &str) -> Request<Full<Bytes>> {
    let mut request = post("/desk", body.to_owned());
    let signature = signature(SECRET, body.as_bytes()).parse().unwrap();
    request.headers_mut().insert("x-desk-signature", signature);
    request
}

async fn status(port: u16, request: Request<Full<Bytes>>) -> u16 {
    let Answer { status, .. } = once(port, request).await;
    status
}

#[tokio::test]
async fn a_channel_of_ones_own() {
    let desk = Desk::default();
    let url = format!("http://127.0.0.1:{}", desk.start().await);
    let setup = Setup::custom_channel()
        .args(&["--workers", "2"])
        .env("DESK_SECRET", SECRET)
        .env("DESK_URL", url);
    let bot = setup.start().await;
    let line = bot.stderr();
    assert!(
        line.starts_with("Serving /http, /telegram, /desk.\n"),
        "{line}"
    );
    desk.0.lock().unwrap().0 = 2;
    for _ in 0..3 {
        assert_eq!(status(bot.port, event("m-1", "ann", "hi")).await, 200);
    }
    assert_eq!(status(bot.port, event("m-2", "ann", "again")).await, 200);
    until("two answers", SOON, || {
        desk.texts("ann") == ["1: hi", "2: again"]
    })
    .await;
    assert_eq!(status(bot.port, post("/desk", "{}")).await, 401);
    assert_eq!(status(bot.port, signed("{}")).await, 400);
    assert_eq!(status(bot.port, event("", "ann", "hi")).await, 400);
    assert_eq!(status(bot.port, signed(r#"{"event":"typing"}"#)).await, 200);
    // An answer that a crash may have cut off is sent again under its key.
    desk.0.lock().unwrap().0 = 1;
    assert_eq!(status(bot.port, event("m-3", "ann", "third")).await, 200);
    let bot = bot.kill_all().await.start().await;
    until("three answers", SOON, || desk.texts("ann").len() == 3).await;
    bot.stop().await.assert_sound();
    assert_eq!(desk.texts("ann"), ["1: hi", "2: again", "3: third"]);
    // What is missing is said, and ends the start.
    let ended = Setup::custom_channel().run_to_end();
    assert_eq!(ended.code, Some(3), "{ended:?}");
    assert!(ended.stderr.contains("DESK_SECRET is not set"), "{ended:?}");
}

#[test]
fn the_examples_lock_keeps_its_promises() {
    let directory = tempfile::tempdir().unwrap();
    check_user_lock(|| custom_lock::FileLock::new(directory.path())).unwrap();
}

/// Each breaks one promise.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wrong {
    /// Everybody gets it.
    Open,
    /// One for all users.
    Coarse,
    /// Each worker has its own.
    Alone,
    /// It is never given back.
    Kept,
}

struct WrongLock(Wrong, Arc<tokio::sync::Mutex<()>>);

impl UserLock for WrongLock {
    fn acquire<'a>(&'a self, user: &'a DialogKey) -> LockFuture<'a> {
        Box::pin(async move {
            if self.0 == Wrong::Open || self.0 != Wrong::Coarse && user.user_id != "ann" {
                return Ok(Box::new(()) as Box<dyn Held>);
            }
            let held = self.1.clone().lock_owned().await;
            if self.0 == Wrong::Kept {
                std::mem::forget(held);
                return Ok(Box::new(()));
            }
            Ok(Box::new(held))
        })
    }
}

#[test]
fn a_wrong_lock_is_found_out() {
    for (wrong, promise) in [
        (Wrong::Open, "one holder, in one worker"),
        (Wrong::Coarse, "nobody else waits"),
        (Wrong::Alone, "one holder, in two workers"),
        (Wrong::Kept, "given back"),
    ] {
        let shared = Arc::new(tokio::sync::Mutex::new(()));
        let found = check_user_lock(|| {
            let own = || Arc::new(tokio::sync::Mutex::new(()));
            let lock = if wrong == Wrong::Alone {
                own()
            } else {
                shared.clone()
            };
            Ok(WrongLock(wrong, lock))
        });
        let reason = found.expect_err(promise).to_string();
        assert!(reason.contains(promise), "{reason}");
    }
}

#[tokio::test]
async fn a_user_lock_of_ones_own() {
    let setup = Setup::custom_lock().args(&["--workers", "2", "--lock-wait", "2s"]);
    let bot = setup.start().await;
    assert_eq!(say(bot.port, "ann", "hi").await.number(), 1);
    let locks = bot.setup.path("locks");
    let files = || std::fs::read_dir(&locks).unwrap();
    let file = files().next().expect("a lock file").unwrap().path();
    // Another program holds it: ann waits, bob does not.
    let held = std::fs::File::open(&file).unwrap();
    held.lock().unwrap();
    let waiting = begin(bot.port, "ann", "later").await;
    assert_eq!(say(bot.port, "bob", "hi").await.number(), 1);
    let asked = Instant::now();
    let busy = say(bot.port, "ann", "too late").await;
    assert_eq!(busy.status, 503, "{}", busy.text());
    assert!(busy.error().contains("user lock"), "{}", busy.text());
    assert!(asked.elapsed() >= Duration::from_millis(1900));
    assert_eq!(join(waiting).await.unwrap().status, 503);
    drop(held);
    assert_eq!(say(bot.port, "ann", "now").await.number(), 2);
    // Given back after every turn, and by a worker that dies.
    let mut turns = Vec::new();
    for _ in 0..50 {
        turns.push(begin(bot.port, "ann", "hi").await);
    }
    let mut numbers: Vec<u64> = Vec::new();
    for turn in turns {
        numbers.push(join(turn).await.unwrap().number());
    }
    numbers.sort_unstable();
    assert_eq!(numbers, (3..=52).collect::<Vec<_>>());
    for index in 0..2 {
        let pid = bot.worker(index).await;
        kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
        bot.successor(&format!("turnkey: worker {index}"), pid)
            .await;
    }
    until("both are back", SOON, || bot.children().len() == 3).await;
    assert_eq!(say(bot.port, "ann", "hi").await.number(), 53);
    bot.stop().await.assert_sound();
}
