//! What is wrong, in words, each with its remedy: what the status page, `/status.json` and
//! `turnkey top` show first.
//!
//! [`find`] is called for each status, with what is known of the rest, and asks nobody. The order
//! is that of urgency. Bounds: a problem for each subject here, [`REASONS`] for dead letters and
//! as many for dead replies, one for each broadcast and process that is told of.

use serde::{Deserialize, Serialize};
use turnkey_storage::reasons::{REASONS, Reason, SAMPLE};
use turnkey_text::numbers::{counted, grouped};
use turnkey_text::{program_name, quoted};

use super::page::figures::{bytes, seconds};
use super::status::{ProcessState, Status};

/// Seconds: a certificate that is not renewed by then is looked after by nobody.
const LITTLE_REST: f64 = 7.0 * 86400.0;

/// Of a disk, in percent.
const FULL: u64 = 90;

/// Seconds that a reply may wait: longer than most pauses of a platform.
const SLOW_REPLY: f64 = 120.0;

/// Seconds that an update may wait in the inbox: longer than a turn may take by default.
const SLOW_UPDATE: f64 = 900.0;

/// Seconds after which a backup that fails is missed.
const OLD_BACKUP: f64 = 86400.0;

/// Seconds for which a crash is told of.
const RECENT_CRASH: f64 = 3600.0;

/// A log that is longer than this has readers that keep it from being emptied.
pub(super) const LONG_LOG: u64 = 64 << 20;

const _: () = assert!(REASONS <= 5, "a page has room for so many");

/// Something that a person should look after.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Problem {
    /// A sentence without its full stop.
    pub(crate) what: String,
    /// What to do, in the same way.
    pub(crate) remedy: String,
    /// A command line that shows more or mends it.
    pub(crate) command: Option<String>,
}

/// The disk of the database's file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Disk {
    pub(crate) used_percent: u64,
    /// Bytes that the bot can still write.
    pub(crate) free: u64,
}

/// What is no part of the status itself.
pub(super) struct More<'a> {
    /// Why dead letters and dead replies failed.
    pub(super) letters: &'a [Reason],
    pub(super) replies: &'a [Reason],
    /// A standby may lack turns that were acknowledged.
    pub(super) is_unsynchronised: bool,
}

/// All that is wrong, the most urgent first.
pub(super) fn find(status: &Status, more: &More<'_>) -> Vec<Problem> {
    let found = Found {
        status,
        program: quoted(&program_name()),
        problems: Vec::new(),
    };
    found
        .readiness()
        .processes()
        .disk()
        .certificate()
        .dead_replies(more.replies)
        .dead_letters(more.letters)
        .slow()
        .timers()
        .broadcasts()
        .standby(more.is_unsynchronised)
        .backups()
        .log()
        .problems
}

struct Found<'a> {
    status: &'a Status,
    program: String,
    problems: Vec<Problem>,
}

impl Found<'_> {
    fn add(&mut self, what: String, remedy: impl Into<String>, command: Option<&str>) {
        let command = command.map(|command| {
            // An address of a server may have lost its password: whoever types knows it.
            let storage = match self.status.storage.starts_with("sqlite:") {
                true => format!(" --storage {}", quoted(&self.status.storage)),
                false => String::new(),
            };
            format!("{} {command}{storage}", self.program)
        });
        self.problems.push(Problem {
            what,
            remedy: remedy.into(),
            command,
        });
    }

    fn readiness(mut self) -> Self {
        let Some(why) = &self.status.not_ready else {
            return self;
        };
        let remedy = if why.starts_with("no handler runs") {
            "mend the handler and reload the bot; updates wait meanwhile"
        } else if why.contains("the writer is") || why.contains("no worker serves") {
            "it is started again by itself; if it stays away, the log says why"
        } else if why.contains("write lock") {
            "end the other program that has the file open"
        } else {
            "see to the database; updates wait with the platforms, and the bot goes on by itself"
        };
        self.add(format!("The bot is not ready: {why}"), remedy, None);
        self
    }

    fn processes(mut self) -> Self {
        let status = self.status;
        for process in status.writer.iter().chain(&status.workers) {
            let name = &process.name;
            if process.state == ProcessState::Silent {
                let silent = seconds(process.silent_seconds.unwrap_or_default());
                let what = format!("The {name} has given no sign of life for {silent}");
                let remedy = "it is replaced after --worker-timeout; the log says what it hangs on";
                self.add(what, remedy, None);
            }
            let up = status.now_ms.saturating_sub(process.since_ms) as f64 / 1000.0;
            if process.crashes > 0 && up < RECENT_CRASH {
                let what = format!(
                    "The {name} has crashed, {} so far, and was started again {} ago",
                    counted(process.crashes, "time"),
                    seconds(up)
                );
                self.add(what, "the log says what it was working on", None);
            }
        }
        self
    }

    fn disk(mut self) -> Self {
        if let Some(disk) = self.status.disk.as_ref().filter(|d| d.used_percent >= FULL) {
            let what = format!(
                "The disk of the database is {} % full, {} are free",
                disk.used_percent,
                bytes(disk.free)
            );
            let remedy = "make room, or move the database; when it is full, updates are refused and the platforms send them again later";
            self.add(what, remedy, None);
        }
        self
    }

    fn certificate(mut self) -> Self {
        let Some(ends) = &self.status.certificate else {
            return self;
        };
        let rest = match ends.seconds {
            None => Some("There is no certificate yet".to_owned()),
            Some(rest) if rest <= 0.0 => Some("The certificate has ended".to_owned()),
            Some(rest) if rest < LITTLE_REST => {
                let days = (rest / 86400.0) as u64;
                Some(match days {
                    0 => format!("The certificate ends in {}", seconds(rest)),
                    days => format!("The certificate ends in {}", counted(days, "day")),
                })
            }
            Some(_) => None,
        };
        if let Some(what) = rest {
            let remedy = "renew it and reload the bot; with --tls-domain the log says why it is not renewed by itself";
            self.add(what, remedy, None);
        }
        if let Some(why) = &ends.problem {
            let what = format!("The certificate before is served on: {why}");
            self.add(what, "mend the files and reload the bot", None);
        }
        self
    }

    fn dead_replies(mut self, reasons: &[Reason]) -> Self {
        let remedy = "mend the cause and have them sent again, or drop them";
        let list = Some("outbox list --dead");
        let all = self.status.queues.as_ref().map_or(0, |q| q.dead_replies);
        if reasons.is_empty() && all > 0 {
            self.add(
                format!("{} cannot be sent", counted(all, "reply")),
                remedy,
                list,
            );
        }
        for reason in reasons {
            let many = many(reason.count, "reply");
            let what = format!(
                "{many} cannot be sent to {}: {}",
                reason.channel, reason.error
            );
            self.add(what, remedy, list);
        }
        self
    }

    fn dead_letters(mut self, reasons: &[Reason]) -> Self {
        let remedy = "mend the handler and have them tried again, or drop them";
        let all = self.status.queues.as_ref().map_or(0, |q| q.dead);
        if reasons.is_empty() && all > 0 {
            let what = format!("{} failed too often", counted(all, "update"));
            self.add(what, remedy, Some("dead list"));
        }
        for reason in reasons {
            let what = format!(
                "{} of {} failed too often and {} given up: {}",
                many(reason.count, "update"),
                reason.channel,
                if reason.count == 1 { "was" } else { "were" },
                reason.error
            );
            self.add(what, remedy, Some("dead list"));
        }
        self
    }

    fn slow(mut self) -> Self {
        let Some(queues) = &self.status.queues else {
            return self;
        };
        let or_more = |n: u64, what| match n >= queues.counted {
            true => format!("{} or more", counted(n, what)),
            false => counted(n, what),
        };
        let waiting = [
            (
                or_more(queues.outbox, "reply"),
                &queues.oldest_reply,
                SLOW_REPLY,
                "the platform is away or slows the bot down; they are sent by themselves when it takes them",
                "outbox list",
            ),
            (
                or_more(queues.inbox, "update"),
                &queues.oldest_update,
                SLOW_UPDATE,
                "the handler fails, or takes long; the log says which",
                "dialogs list",
            ),
        ];
        let mut slow = Vec::new();
        for (many, oldest, limit, remedy, command) in waiting {
            if let Some(oldest) = oldest.as_ref().filter(|oldest| oldest.seconds > limit) {
                let verb = if many.starts_with("1 ") {
                    "waits"
                } else {
                    "wait"
                };
                let what = format!(
                    "{many} {verb}, the oldest for {} ({})",
                    seconds(oldest.seconds),
                    oldest.dialog
                );
                slow.push((what, remedy, command));
            }
        }
        for (what, remedy, command) in slow {
            self.add(what, remedy, Some(command));
        }
        self
    }

    fn timers(mut self) -> Self {
        if let Some(later) = self.status.later.as_ref().filter(|later| later.overdue > 0) {
            let is = if later.overdue == 1 { "is" } else { "are" };
            let what = format!("{} {is} overdue", counted(later.overdue, "timer"));
            let remedy = "the handler fails in their turns, or the bot has too much to do; the log says which";
            self.add(what, remedy, Some("timers list"));
        }
        self
    }

    fn broadcasts(mut self) -> Self {
        let status = self.status;
        for broadcast in status.broadcasts.iter().filter(|b| b.state == "paused") {
            if let Some(why) = &broadcast.trouble {
                let what = format!("Broadcast {} is paused: {why}", broadcast.id);
                let command = format!("broadcast resume {}", broadcast.id);
                self.add(what, "mend the cause and resume it", Some(&command));
            }
        }
        self
    }

    fn standby(mut self, is_unsynchronised: bool) -> Self {
        if is_unsynchronised {
            let what = "The standby is not synchronous: one that takes over may lack turns that were acknowledged";
            let remedy = "set synchronous_standby_names on the server, or start with --sync normal if that may be";
            self.add(what.to_owned(), remedy, None);
        }
        self
    }

    fn backups(mut self) -> Self {
        let Some(backup) = self.status.backup.as_ref().filter(|b| b.failures > 0) else {
            return self;
        };
        let age = backup
            .at_ms
            .map(|at| self.status.now_ms.saturating_sub(at) as f64 / 1000.0);
        let newest = match age {
            None => "there is none".to_owned(),
            Some(age) if age > OLD_BACKUP => format!("the newest is {} old", seconds(age)),
            Some(_) => return self,
        };
        let what = format!("{} failed, {newest}", counted(backup.failures, "backup"));
        let remedy = format!(
            "see that {} can be written to; the log says why",
            backup.dir
        );
        self.add(what, remedy, None);
        self
    }

    fn log(mut self) -> Self {
        let long = self
            .status
            .commits
            .as_ref()
            .map(|commits| commits.wal_bytes);
        if let Some(long) = long.filter(|long| *long > LONG_LOG) {
            let what = format!("The write-ahead log has {}", bytes(long));
            let remedy = "some program reads the database without end; close it";
            self.add(what, remedy, None);
        }
        self
    }
}

fn many(count: u64, what: &str) -> String {
    match count >= SAMPLE {
        true => format!("{} or more {}", grouped(count), plural(what)),
        false => counted(count, what),
    }
}

fn plural(what: &str) -> String {
    counted(2, what).trim_start_matches("2 ").to_owned()
}

#[cfg(test)]
pub(super) mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// A bot that is well.
    pub(in crate::operator::admin) fn well() -> Value {
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

    fn found(status: &Value, more: &More<'_>) -> Vec<Problem> {
        find(&serde_json::from_value(status.clone()).unwrap(), more)
    }

    const NOTHING: More<'_> = More {
        letters: &[],
        replies: &[],
        is_unsynchronised: false,
    };

    #[test]
    fn a_bot_that_is_well_has_no_problem() {
        assert_eq!(found(&well(), &NOTHING), []);
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
            let found = found(&status, &NOTHING);
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
            letters: &[reason(1, "no such table")],
            replies: &[reason(3, "bot was blocked"), reason(SAMPLE, "too long")],
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
}
