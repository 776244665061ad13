//! A bot that polls and is called by other systems meanwhile.

use bytes::Bytes;
use http_body_util::Full;
use hyper::Request;
use nix::sys::signal::Signal;
use serde_json::json;

use crate::harness::api::Api;
use crate::harness::bot::{SOON, Setup, until};
use crate::harness::client::{message, once, post};
use crate::harness::telegram::text;
use crate::operators::admin::{admin_port, get};
use crate::platforms::polling::telegram;

fn with_token(mut request: Request<Full<Bytes>>, token: &str) -> Request<Full<Bytes>> {
    let value = format!("Bearer {token}").parse().unwrap();
    request.headers_mut().insert("authorization", value);
    request
}

#[tokio::test]
async fn rpc_and_http_are_served_beside_polling() {
    let api = Api::start();
    let setup = telegram(&api, Setup::commands())
        .args(&[
            "--updater",
            "polling",
            "--port",
            "0",
            "--admin",
            "127.0.0.1:0",
        ])
        .env("TURNKEY_RPC_TOKEN", "of the shop")
        .env("TURNKEY_HTTP_TOKEN", "of the page")
        .env("TURNKEY_TELEGRAM_SECRET", "s3cret");
    let bot = setup.start().await;
    let said = bot.stderr();
    assert!(
        said.contains("serving /http, /rpc/… to other systems"),
        "{said}"
    );
    assert!(
        said.contains("Started polling updater on http://localhost:"),
        "{said}"
    );
    api.queues.push([text(1, 7, "hi")]);
    until("a reply", SOON, || api.received("7").len() == 1).await;
    let call = json!({"jsonrpc": "2.0", "id": 1, "method": "paid", "params": [7]}).to_string();
    let called = with_token(post("/rpc/telegram/7", call.clone()), "of the shop");
    let answer = once(bot.port, called).await;
    assert_eq!(answer.json()["result"]["replies"], 1, "{}", answer.text());
    until("a second reply", SOON, || api.received("7").len() == 2).await;
    assert_eq!(api.received("7"), ["1: hi", "2: rpc paid [7]"]);
    let plain = with_token(message("ann", "hi", None), "of the page");
    assert_eq!(once(bot.port, plain).await.number(), 1);
    assert_eq!(once(bot.port, message("ann", "hi", None)).await.status, 401);
    // What platforms post to is not there: nobody could tell a forged update.
    for path in ["/telegram", "/vk", "/viber", "/nothing"] {
        assert_eq!(once(bot.port, post(path, "{}")).await.status, 404, "{path}");
    }
    assert_eq!(get(admin_port(&bot), "/readyz").await.status, 200);
    bot.signal(Signal::SIGHUP);
    bot.wait_for_stderr("Reloaded").await;
    let called = with_token(post("/rpc/telegram/7", call), "of the shop");
    assert_eq!(once(bot.port, called).await.text(), answer.text());
    let setup = bot.stop().await;
    setup.assert_sound();
    // Without its token /http is not served, and without any nothing listens.
    let setup = setup.without_env("TURNKEY_HTTP_TOKEN");
    let bot = setup.start().await;
    assert_eq!(once(bot.port, message("ann", "hi", None)).await.status, 404);
    let status = once(bot.port, post("/http/updates/1", "")).await.status;
    assert_eq!(status, 404);
    bot.stop().await;
    // An address at which nothing would be served is a mistake.
    let ended = setup.without_env("TURNKEY_RPC_TOKEN").run_to_end();
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(ended.stderr.contains("TURNKEY_RPC_TOKEN"), "{ended:?}");
}

/// A token of another system's makes no bot deaf that was not told to listen to posts.
#[tokio::test]
async fn a_token_for_calls_leaves_a_polling_bot_polling() {
    let api = Api::start();
    let setup = telegram(&api, Setup::counter().without_port())
        .args(&["--listen", "unix:bot.sock", "--updater", "polling"])
        .env("TURNKEY_RPC_TOKEN", "of the shop");
    let bot = setup.start().await;
    assert!(
        bot.stderr().contains("Started polling updater on unix:"),
        "{}",
        bot.stderr()
    );
    api.queues.push([text(1, 7, "hi")]);
    until("a reply", SOON, || api.received("7").len() == 1).await;
    bot.stop().await;
}
