//! `report.html`: what was found, in one computed sentence; why, and what helps; the table; a
//! timeline for each scenario and load; what the server printed; how to read it; the machine.

use std::fmt::Write as _;

use super::super::results::{Report, Round};
use super::super::table::{COLUMNS, Row, rows, shown};
use super::timeline::Timeline;
use turnkey_report::machine::Machine;
use turnkey_report::page;
use turnkey_report::svg::escape;

pub(super) fn draw(report: &Report, timelines: &[Timeline]) -> String {
    let mut body = format!(
        "<h1>Turnkey drill</h1>\n<p class=\"headline\">{}</p>\n<p class=\"soft\"><code>{}</code></p>\n",
        escape(report.verdict().trim()),
        escape(&report.command)
    );
    if let Some(sentence) = report.database() {
        let _ = writeln!(body, "<p class=\"soft\">{}</p>", escape(&sentence));
    }
    for note in &report.notes {
        let _ = writeln!(body, "<p>{}</p>", escape(note));
    }
    problems(&mut body, report);
    causes(&mut body, report);
    table(&mut body, report);
    body.push_str("<h2>Timelines</h2>\n");
    for timeline in timelines {
        let _ = writeln!(
            body,
            "<figure>{}{}</div><figcaption>{}</figcaption></figure>",
            page::region("sheet", timeline.file.trim_end_matches(".svg")),
            timeline.svg,
            escape(&timeline.caption)
        );
    }
    outputs(&mut body, report);
    method(&mut body, report);
    facts(&mut body, report);
    page::page("Turnkey drill", &body)
}

fn facts(body: &mut String, report: &Report) {
    let machine = Machine::this();
    let facts = [
        (
            "Processor",
            format!("{} x {}", machine.processors, machine.processor),
        ),
        ("Kernel", machine.kernel),
        ("Program", report.program.clone()),
        ("Seed", report.seed.to_string()),
    ];
    body.push_str("<div class=\"facts\">\n");
    for (name, value) in facts {
        let _ = writeln!(body, "<div><b>{name}</b>{}</div>", escape(&value));
    }
    body.push_str("</div>\n");
}

fn problems(body: &mut String, report: &Report) {
    let faulty: Vec<&Round> = report
        .rounds
        .iter()
        .filter(|round| !round.is_clean())
        .collect();
    if faulty.is_empty() {
        return;
    }
    body.push_str("<div class=\"note\"><b>Not clean</b><ul>\n");
    for round in faulty {
        let _ = writeln!(
            body,
            "<li><span class=\"bad\">{}</span>: {}</li>",
            escape(&round.name()),
            escape(&round.problems.join("; "))
        );
    }
    body.push_str("</ul></div>\n");
}

fn causes(body: &mut String, report: &Report) {
    let findings = report.findings();
    if findings.is_empty() {
        return;
    }
    body.push_str("<h2>Why, and what helps</h2>\n<ul>\n");
    for finding in findings {
        let _ = writeln!(
            body,
            "<li><b>{} {}</b><br>Likely: {}.<br>Remedy: {}. <span class=\"soft\">{}</span></li>",
            finding.number,
            prose(finding.what),
            prose(finding.likely),
            prose(finding.remedy),
            escape(&finding.page)
        );
    }
    body.push_str("</ul>\n");
}

/// A sentence for people, in which words of programs stand between backticks.
fn prose(text: &str) -> String {
    let mut html = String::new();
    for (index, part) in text.split('`').enumerate() {
        let part = escape(part);
        match index % 2 {
            0 => html.push_str(&part),
            _ => html.push_str(&format!("<code>{part}</code>")),
        }
    }
    html
}

/// What a phone shows of a row without being scrolled: which scenario, which load, how it went.
fn columns(shown: &[usize]) -> Vec<usize> {
    match shown {
        [scenario, load, others @ .., verdict] => [&[*scenario, *load, *verdict], others].concat(),
        few => few.to_vec(),
    }
}

fn table(body: &mut String, report: &Report) {
    let _ = write!(
        body,
        "<h2>All rounds</h2>\n{}<table><thead><tr>",
        page::region("scroll", "All rounds")
    );
    let rows: Vec<Vec<String>> = rows(report).iter().map(Row::cells).collect();
    let shown = columns(&shown(&rows));
    for [first, second] in shown.iter().map(|column| COLUMNS[*column]) {
        // That which says whether all is well need not call itself so on a terminal.
        let name = if first.is_empty() { "verdict" } else { first };
        let _ = write!(body, "<th scope=\"col\">{name}<br>{second}</th>");
    }
    body.push_str("</tr></thead><tbody>\n");
    for row in rows {
        body.push_str("<tr>");
        for cell in shown.iter().map(|column| row[*column].as_str()) {
            let class = if cell == "FAILED" {
                " class=\"bad\""
            } else {
                ""
            };
            let _ = write!(body, "<td{class}>{}</td>", escape(cell));
        }
        body.push_str("</tr>\n");
    }
    body.push_str("</tbody></table></div>\n");
}

fn outputs(body: &mut String, report: &Report) {
    let printed: Vec<&Round> = report
        .rounds
        .iter()
        .filter(|round| !round.output.is_empty())
        .collect();
    if printed.is_empty() {
        return;
    }
    body.push_str("<h2>What it printed</h2>\n");
    for round in printed {
        let _ = writeln!(
            body,
            "<details><summary>{}</summary>{}<pre>{}</pre></div></details>",
            escape(&round.name()),
            page::region("output", &format!("Output of {}", round.name())),
            escape(&round.output)
        );
    }
}

fn method(body: &mut String, report: &Report) {
    body.push_str("<h2>How to read it</h2>\n<ul>\n");
    body.push_str(match report.rounds.iter().any(|round| round.done_by.is_some()) {
        true => "<li>The signal is the moment in which the command of --do was started, in the middle of the load.</li>\n",
        false => "<li>The server runs in the foreground of a terminal of its own; Ctrl-C is typed there, and the kernel signals the whole group.</li>\n",
    });
    body.push_str(
        "<li>A request is <b>cut</b> when its connection was accepted and then reset or closed without a whole answer. A client that cannot connect after the signal is <b>refused</b>: as it should be when a server stops, and a fault where the service goes on; these tries are no requests. What was cut is related to what could be: the requests under way at the signal, and those that began later.</li>\n\
         <li>Clients look whether a kept-alive connection was closed before they use it again, and never send a request twice.</li>\n\
         <li>Some requests are held on purpose, after connecting, in the middle of their head or body, or while their answer is read, and go on up to --latency after the signal.</li>\n\
         <li>Other faults: answered twice, with an error of 500 or above (503 with Retry-After is counted apart, as declined; so is a stream of HTTP/2 above the last one of GOAWAY), with another status than expected (--expect-status), not answered in time, or refused while the server should serve.</li>\n\
         <li>What lasts, a WebSocket or a stream of events, is <b>told</b> when it ends with a close frame or between two events, and cut otherwise.</li>\n\
         <li>Lost as must: held by the worker that was killed or stopped, or cut by the second Ctrl-C.</li>\n\
         </ul>\n<p class=\"soft\">Every number is in <code>results.json</code>. docs/DRILL.md has the method and its limits.</p>\n",
    );
}
