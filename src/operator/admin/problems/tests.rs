//! Each problem is found, and a bot that is well has none.

use std::sync::Arc;

use serde_json::{Value, json};

use super::*;

/// A bot that is well.
fn well() -> Value {
    let none = json!({ "count": 0, "p50": null, "p90": null, "p99": null, "p999": null });
    let process = json!({ "name": "worker 0", "state": "serving", "pid": 4711, "since_ms": 1000,
        "silent_seconds": 0.1, "in_flight": 0, "connections": 0, "requests": 0, "turns": 0,
        "starts": 1, "crashes": 0 });
    json!({
        "version": "1.2.3", "updater": "webhooks", "now_ms": 10_000_000, "since_ms": 1000,
        "storage": "sqlite:my bot.db", "not_ready": null, "workers": [process], "writer": null,
        "starts": 1, "crashes": 0, "disk": { "used_percent": 89, "free": 4096 },
        "requests": { "total": 0, "per_second": 0.0, "accepted": 0, "connections": 0 },
        "turns": { "total": 0, "failed": 0, "per_second": 0.0, "duration": none, "in_flight": 0,
            "waiting": 0, "longest": null, "inboxed": 0, "buried": 0 },
        "commits": null,
        "replies": { "sent": 0, "sending": 0, "refused": 0, "too_many": 0 },
        "queues": { "counted": 10000, "inbox": 0, "outbox": 0, "dead": 0, "dead_replies": 0,
            "oldest_update": null, "oldest_reply": { "dialog": "http:ann", "seconds": 1.0 } },
        "later": { "counted": 10, "waiting": 1, "overdue": 0, "next_ms": 1, "left_out": 0, "schedules": [] },
        "broadcasts": [{ "id": 7, "state": "running", "queued": 1, "sent": 0, "failed": 0, "trouble": "leaves out VK" }],
        "backup": { "dir": "/b", "at_ms": 9_000_000, "failures": 1 },
        "certificate": { "seconds": 700_000.0 }, "settings": [],
        "series": { "turns_per_second": [], "p50": [], "p99": [], "commits_per_second": [],
            "in_flight": [], "waiting": [] }
    })
}

fn found(status: &Value, more: &More) -> Vec<Problem> {
    find(&serde_json::from_value(status.clone()).unwrap(), more)
}

fn nothing() -> More {
    More {
        letters: Arc::new([]),
        replies: Arc::new([]),
        is_unsynchronised: false,
    }
}

#[test]
fn a_bot_that_is_well_has_no_problem() {
    assert_eq!(found(&well(), &nothing()), []);
}

#[test]
fn each_problem_is_told_in_words_with_its_remedy() {
    for (field, value, wanted) in [
        (
            "/not_ready",
            json!("no handler runs: exit 1"),
            "The bot is not ready: no handler runs: exit 1",
        ),
        (
            "/workers/0/state",
            json!("silent"),
            "The worker 0 has given no sign of life for 100 ms",
        ),
        (
            "/certificate/seconds",
            json!(6.5 * 86400.0),
            "The certificate ends in 6 days",
        ),
        (
            "/certificate/seconds",
            json!(-1.0),
            "The certificate has ended",
        ),
        (
            "/certificate/seconds",
            json!(null),
            "There is no certificate yet",
        ),
        (
            "/disk/used_percent",
            json!(93),
            "The disk of the database is 93 % full, 4.0 KiB are free",
        ),
        ("/queues/dead", json!(1), "1 update failed too often"),
        (
            "/queues/oldest_reply/seconds",
            json!(600.0),
            "0 replies wait, the oldest for 10 min 0 s (http:ann)",
        ),
        ("/later/overdue", json!(2), "2 timers are overdue"),
        (
            "/broadcasts/0/state",
            json!("paused"),
            "Broadcast 7 is paused: leaves out VK",
        ),
        (
            "/backup/at_ms",
            json!(null),
            "1 backup failed, there is none",
        ),
    ] {
        let mut status = well();
        *status.pointer_mut(field).unwrap() = value;
        let found = found(&status, &nothing());
        let told: Vec<&str> = found.iter().map(|p| &*p.what).collect();
        assert_eq!(told, [wanted]);
        assert!(!found[0].remedy.is_empty() && !found[0].remedy.ends_with('.'));
    }
}

#[test]
fn what_was_given_up_is_told_by_channel_and_reason_with_a_command_to_copy() {
    let reason = |count, error: &str| Reason {
        channel: "telegram".to_owned(),
        error: error.to_owned(),
        count,
    };
    let more = More {
        letters: Arc::new([reason(1, "no such table")]),
        replies: Arc::new([reason(3, "bot was blocked"), reason(SAMPLE, "too long")]),
        is_unsynchronised: true,
    };
    let found = found(&well(), &more);
    let told: Vec<&str> = found.iter().map(|p| &*p.what).collect();
    assert_eq!(
        told[..3],
        [
            "3 replies cannot be sent to telegram: bot was blocked",
            "1,000 or more replies cannot be sent to telegram: too long",
            "1 update of telegram failed too often and was given up: no such table",
        ]
    );
    assert!(told[3].starts_with("The standby is not synchronous"));
    let command = found[0].command.as_deref().unwrap();
    assert!(
        command.ends_with(" outbox list --dead --storage 'sqlite:my bot.db'"),
        "{command}"
    );
}
