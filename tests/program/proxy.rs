//! `--trusted-proxy`: whose word counts for the address in the log.

use crate::bot::Setup;
use crate::client::{once, post};

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
