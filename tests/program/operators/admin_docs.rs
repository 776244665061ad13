//! What `docs/` says of metrics is what `/metrics` gives; and other people's programs
//! can read both: Prometheus's own parser of OpenMetrics, and `promtool`.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::harness::bot::{SOON, Setup, skipped};
use crate::harness::client::{Connection, Target};
use crate::http::https::with_certificate;
use crate::operators::admin::{admin_port, get, setup};

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

/// The names in a text that begin with `turnkey_`.
fn names(text: &str) -> BTreeSet<String> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.match_indices("turnkey_")
        .filter(|(at, _)| !text[..*at].ends_with(is_part))
        .map(|(at, _)| text[at..].chars().take_while(|c| is_part(*c)).collect())
        .collect()
}

/// What a bot that is well gives.
async fn metrics() -> String {
    let backups = Setup::counter();
    let dir = backups.path("backups");
    let setup = setup(backups).args(&["--backup-dir", dir.to_str().unwrap()]);
    let (setup, authority) = with_certificate(setup);
    let bot = setup.start().await;
    let target = Target::Tls(bot.port, authority.client(&["http/1.1"]));
    let mut connection = Connection::try_open_at(&target).await.unwrap();
    assert_eq!(connection.say("ann", "hi").await.number(), 1);
    let deadline = Instant::now() + SOON;
    loop {
        let text = get(admin_port(&bot), "/metrics").await.text();
        // The first backup is made soon after the start.
        if text.contains("\nturnkey_last_backup_time_seconds ") {
            bot.stop().await;
            return text;
        }
        assert!(Instant::now() < deadline, "no backup: {text}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn each_metric_of_the_docs_is_given_and_each_that_is_given_is_in_them() {
    let text = metrics().await;
    let samples: BTreeSet<String> = text
        .lines()
        .filter(|line| !line.starts_with('#'))
        .flat_map(names)
        .collect();
    let base = |name: &String| name.strip_suffix("_bucket").map(str::to_owned);
    let histograms: Vec<String> = samples.iter().filter_map(base).collect();
    assert_eq!(histograms.len(), 2);
    let samples: BTreeSet<String> = samples.into_iter().chain(histograms).collect();
    assert!(samples.len() > 30, "{samples:?}");
    for file in ["docs/METRICS.md", "docs/alerts.yml", "docs/grafana.json"] {
        let page = fs::read_to_string(root().join(file)).unwrap();
        let named = names(&page);
        assert!(named.len() > 8, "{file}: {named:?}");
        let unknown: Vec<_> = named.difference(&samples).collect();
        assert!(
            unknown.is_empty(),
            "{file} names {unknown:?}, which nobody gives"
        );
    }
    let page = fs::read_to_string(root().join("docs/METRICS.md")).unwrap();
    let documented = names(&page);
    for sample in &samples {
        let of_histogram = ["_bucket", "_sum", "_count"]
            .iter()
            .any(|end| sample.ends_with(end));
        assert!(
            of_histogram || documented.contains(sample),
            "{sample} is not in docs/METRICS.md"
        );
    }
}

#[tokio::test]
async fn prometheus_own_parser_reads_it() {
    let text = metrics().await;
    let mut parser = Command::new(root().join("scripts/openmetrics"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A parser that is missing reads nothing.
    drop(parser.stdin.take().unwrap().write_all(text.as_bytes()));
    let parsed = parser.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&parsed.stderr);
    if parsed.status.code() == Some(77) {
        return skipped(said.trim());
    }
    assert!(parsed.status.success(), "{said}\n{text}");
    let families = String::from_utf8_lossy(&parsed.stdout);
    assert!(
        families.contains("histogram turnkey_turn_duration_seconds"),
        "{families}"
    );
    assert!(families.contains("counter turnkey_turns"), "{families}");
}

#[test]
fn the_alerts_are_rules_that_prometheus_takes() {
    let file = root().join("docs/alerts.yml");
    match Command::new("promtool")
        .args(["check", "rules"])
        .arg(file)
        .output()
    {
        Err(_) => skipped("no promtool; apt-get install prometheus"),
        Ok(checked) => {
            let said = [checked.stdout, checked.stderr].concat();
            assert!(
                checked.status.success(),
                "{}",
                String::from_utf8_lossy(&said)
            );
        }
    }
}

#[test]
fn the_dashboard_is_one_that_grafana_imports() {
    let page = fs::read_to_string(root().join("docs/grafana.json")).unwrap();
    let board: serde_json::Value = serde_json::from_str(&page).unwrap();
    assert!(board["__inputs"][0]["type"] == "datasource" && board["schemaVersion"].is_u64());
    let panels = board["panels"].as_array().unwrap();
    let ids: BTreeSet<_> = panels.iter().map(|p| p["id"].as_u64()).collect();
    assert_eq!(ids.len(), panels.len(), "each panel has an id of its own");
    for panel in panels {
        let title = panel["title"].as_str().unwrap();
        assert!(panel["gridPos"]["w"].as_u64() <= Some(24), "{title}");
        for target in panel["targets"].as_array().unwrap() {
            assert!(
                target["expr"].as_str().unwrap().contains("turnkey_"),
                "{title}"
            );
        }
    }
}
