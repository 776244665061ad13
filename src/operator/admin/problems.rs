//! What is wrong, in words, each with its remedy: what the status page, `/status.json` and
//! `turnkey top` show first.
//!
//! Called for each status, with what is known of the rest; asks nobody. The order
//! is that of urgency. Bounds: a problem for each subject here, [`REASONS`] for dead letters and
//! as many for dead replies, one for each broadcast and process that is told of.

use turnkey_storage::reasons::{REASONS, Reason, SAMPLE};
use turnkey_text::numbers::{counted, grouped};
use turnkey_text::{program_name, quoted};

use super::Admin;
use super::page::figures::{bytes, seconds};
use super::problem::{LONG_LOG, More, Problem};
use super::status::{ProcessState, Status};
use crate::shared::trends::Span;

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

const _: () = assert!(REASONS <= 5, "a page has room for so many");

impl Admin {
    /// How things are now; the charts show this.
    pub(crate) async fn status(&self, span: Span) -> Status {
        let (mut status, more) = self.figures(span).await;
        status.problems = find(&status, &more);
        status
    }
}

/// All that is wrong, the most urgent first.
fn find(status: &Status, more: &More) -> Vec<Problem> {
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
        .dead_replies(&more.replies)
        .dead_letters(&more.letters)
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
mod tests;
