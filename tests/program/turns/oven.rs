//! A real client in a handler: the example `oven`, and a service that is slow and flaky.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::Response;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;

use crate::harness::api::Api;
use crate::harness::bot::Setup;
use crate::platforms::webhooks::{told, vk};

/// Longer than `--ack-after` of the tests.
const BAKING: Duration = Duration::from_millis(300);

/// A service that fails so many times first; its address.
async fn service(failures: u32) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let asked = Arc::new(AtomicU32::new(0));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let asked = asked.clone();
            let answer = service_fn(move |_| {
                let asked = asked.fetch_add(1, Ordering::SeqCst);
                async move {
                    tokio::time::sleep(BAKING).await;
                    let status = if asked < failures { 500 } else { 200 };
                    let answer = Response::builder().status(status);
                    Ok::<_, Infallible>(answer.body(Full::new(Bytes::from("180"))).unwrap())
                }
            });
            let connection = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), answer);
            tokio::spawn(connection);
        }
    });
    format!("http://{address}/degrees")
}

async fn hears(failures: u32, reply: &str) {
    let api = Api::start();
    let args = ["--ack-after", "50ms", "--max-attempts", "3"];
    let setup = Setup::oven().env("OVEN", service(failures).await);
    let bot = api.configure(setup.args(&args)).start().await;
    told(&bot, vk("a", 8, "how hot?"), "ok").await;
    api.receives("8", &[reply]).await;
}

#[tokio::test]
async fn what_a_flaky_service_says_is_told_once() {
    hears(2, "The oven has 180 degrees.").await;
}

#[tokio::test]
async fn a_service_that_never_answers_is_told_of_once() {
    hears(u32::MAX, "The oven does not answer.").await;
}

#[test]
fn a_client_that_cannot_be_made_ends_the_start_in_its_words() {
    let ended = Setup::oven().without_env("OVEN").run_to_end();
    assert_ne!(ended.code, Some(0));
    assert!(ended.stderr.contains("OVEN is not set"), "{ended:?}");
}
