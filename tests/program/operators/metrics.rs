//! `/metrics`: the two formats.

use crate::harness::bot::Setup;
use crate::harness::client::say;
use crate::operators::admin::{admin_port, get_with, setup};

/// Older scrapers know the classic format only: each line of it is one that they can read.
#[tokio::test]
async fn metrics_come_in_the_format_that_is_asked_for() {
    let bot = setup(Setup::counter()).start().await;
    let port = admin_port(&bot);
    say(bot.port, "ann", "hi").await;
    let accept = [("accept", "text/plain;version=0.0.4;q=1,*/*;q=0.1")];
    let classic = get_with(port, "/metrics", &accept).await;
    assert_eq!(
        classic.header("content-type"),
        "text/plain; version=0.0.4; charset=utf-8"
    );
    let text = classic.text();
    let mut types = std::collections::HashMap::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').expect("a kind");
            assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
            assert!(
                types.insert(name.to_owned(), kind).is_none(),
                "{line} twice"
            );
        } else if !line.starts_with("# HELP ") {
            assert!(!line.starts_with('#'), "{line}");
            let name = line.split(['{', ' ']).next().expect("a name");
            let of_histogram = ["_bucket", "_sum", "_count"];
            let family = of_histogram
                .iter()
                .find_map(|end| name.strip_suffix(end))
                .filter(|family| types.get(*family) == Some(&"histogram"));
            let kind = types.get(family.unwrap_or(name));
            assert!(kind.is_some(), "{line} has no type in\n{text}");
            assert_eq!(name.ends_with("_total"), kind == Some(&"counter"), "{line}");
        }
    }
    assert!(text.contains("\nturnkey_turns_total 1\n"), "{text}");
    assert!(text.contains("turnkey_build_info{version="), "{text}");
    let accept =
        "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
    let open = get_with(port, "/metrics", &[("accept", accept)]).await;
    assert!(
        open.header("content-type")
            .starts_with("application/openmetrics-text")
    );
    assert!(open.text().ends_with("# EOF\n"));
    bot.stop().await;
}
