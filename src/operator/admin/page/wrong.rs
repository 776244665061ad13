//! What stands first on `/status`: whether the bot is ready, how much is wrong and how much waits;
//! then what is wrong, with the remedy; and, below the figures, the last lines of the log.
//!
//! Called by `overview.rs`. Bounds: as many problems as `problems.rs` finds, as many lines as
//! `shared/notable.rs` keeps.

use std::fmt::Write as _;

use turnkey_text::quoted;

use super::super::status::{ProcessState, Status};
use super::escape;
use super::figures::{ago, count};

/// Three figures that a phone shows without scrolling.
pub(super) fn first(html: &mut String, status: &Status) {
    let serving = status.workers.iter();
    let serving = serving.filter(|w| w.state == ProcessState::Serving).count();
    let wrong = status.problems.len() as u64;
    let waiting = match &status.queues {
        Some(queues) if queues.inbox.max(queues.outbox) >= queues.counted => {
            format!("{} or more", count(queues.counted))
        }
        Some(queues) => count(queues.inbox + queues.outbox),
        None => "unknown".to_owned(),
    };
    let _ = write!(
        html,
        "<dl class=\"first\" data-live=\"first\">\
         <div><dt>Workers ready</dt><dd>{serving} of {}</dd></div>\
         <div><dt>Problems</dt><dd{}>{}</dd></div>\
         <div><dt>Waiting</dt><dd>{waiting}</dd></div></dl>",
        status.workers.len(),
        if wrong > 0 { " class=\"bad\"" } else { "" },
        count(wrong),
    );
}

/// What is wrong, or that nothing is.
pub(super) fn problems(html: &mut String, status: &Status) {
    if status.problems.is_empty() {
        html.push_str("<div data-live=\"problem\"><p class=\"note\">Nothing is wrong.</p></div>");
        return;
    }
    html.push_str("<div class=\"note bad wrong\" data-live=\"problem\"><h2>What is wrong</h2><ul>");
    for problem in &status.problems {
        let command = problem
            .command
            .as_deref()
            .map(|command| format!("<br><code class=\"command\">{}</code>", escape(command)));
        let _ = write!(
            html,
            "<li><b>{}.</b> <span class=\"soft\">Remedy: {}.</span>{}</li>",
            escape(problem.what.trim_end_matches('.')),
            escape(&problem.remedy),
            command.unwrap_or_default()
        );
    }
    html.push_str("</ul></div>");
}

/// The last warnings and errors, and how to see more.
pub(super) fn log(html: &mut String, status: &Status) {
    html.push_str("<h2>Last warnings and errors</h2><div data-live=\"log\">");
    if status.log.is_empty() {
        html.push_str("<p class=\"note\">There are none since the start.</p>");
    } else {
        html.push_str("<ol class=\"log card\">");
        for line in &status.log {
            let (class, word) = match &*line.level {
                "ERROR" => ("bad", "error"),
                _ => ("soft", "warning"),
            };
            let _ = write!(
                html,
                "<li><b class=\"{class}\">{word}</b> <small>{}</small><br>{}</li>",
                ago(status.now_ms, line.at_ms),
                escape(&line.text)
            );
        }
        html.push_str("</ol>");
    }
    let more = match &status.log_file {
        Some(file) => format!(
            "All lines are in the log: <code>tail -F {}</code>",
            escape(&quoted(file))
        ),
        None => "All lines go to standard error: where a terminal or a container's log shows it, \
                 or, as a systemd unit, <code>journalctl -u NAME</code>"
            .to_owned(),
    };
    let _ = write!(
        html,
        "<p class=\"soft\">{more}. docs/OPERATING.md explains each; <code>-v</code> logs more.</p></div>"
    );
}
