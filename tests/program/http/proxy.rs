//! `--trusted-proxy`: whose word counts for the address in the log and for the limits.

use crate::harness::bot::Setup;
use crate::harness::client::{once, post};

#[tokio::test]
async fn only_trusted_proxies_say_who_it_was() {
    for (trusted, expected) in [
        ("127.0.0.1,10.0.0.0/8", "203.0.113.7"),
        ("10.0.0.0/8", "127.0.0.1"),
    ] {
        let setup = Setup::counter().args(&["-v", "--trusted-proxy", trusted]);
        let bot = setup.start().await;
        let mut request = post("/nowhere", "{}");
        // The first two were written by the client.
        for list in ["9.9.9.9, 8.8.8.8", "203.0.113.7, 10.0.0.1"] {
            let list = list.parse().unwrap();
            request.headers_mut().append("x-forwarded-for", list);
        }
        assert_eq!(once(bot.port, request).await.status, 404);
        let line = format!("404 Not Found to {expected} at \"/nowhere\"");
        bot.wait_for_stderr(&line).await;
        bot.stop().await;
    }
}

/// With a port, in brackets, or in the other header: it is the client that counts.
#[tokio::test]
async fn every_way_of_writing_an_address_counts() {
    let args = [
        "-v",
        "--trusted-proxy",
        "127.0.0.1",
        "--rate-per-address",
        "1",
    ];
    let bot = Setup::counter().args(&args).start().await;
    for (name, value, expected) in [
        ("x-forwarded-for", "203.0.113.5:41234", "203.0.113.5"),
        ("x-forwarded-for", "[2001:db8::1]:443", "2001:db8::1"),
        ("x-forwarded-for", "[2001:db8:1::1]", "2001:db8:1::1"),
        ("forwarded", "for=203.0.113.6;proto=https", "203.0.113.6"),
        ("forwarded", "for=\"[2001:db8:2::1]:443\"", "2001:db8:2::1"),
    ] {
        let asked = || {
            let mut request = post("/nowhere", "{}");
            request.headers_mut().append(name, value.parse().unwrap());
            once(bot.port, request)
        };
        // Each has its own burst; the proxy's would be used up soon.
        for _ in 0..3 {
            assert_eq!(asked().await.status, 404, "{value}");
        }
        let line = format!("404 Not Found to {expected} at \"/nowhere\"");
        bot.wait_for_stderr(&line).await;
    }
    bot.stop().await;
}
