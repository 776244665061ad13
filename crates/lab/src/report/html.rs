//! `report.html`: one file that needs nothing else, light and dark, on screen and paper.
//!
//! Says first what was found, in one sentence that is computed, never written by hand;
//! then the machine, the charts, how it was measured, and every median.

use std::fmt::Write as _;

use super::super::measure::NOISY;
use super::super::results::{Knee, Median, Results, case_name, engine_with};
use super::super::verdict::{count, durability, headline, losses};
use super::super::{judge, sweep, table, workload};
use super::charts::Chart;
use turnkey_report::figures::{short, thousands, time};
use turnkey_report::page;
use turnkey_report::svg::escape;
use turnkey_text::numbers::counted;

/// The whole page.
pub(super) fn draw(results: &Results, charts: &[Chart]) -> String {
    let mut body = String::new();
    let _ = write!(
        body,
        "<h1>Turnkey storage laboratory</h1>\n<p class=\"headline\">{}</p>\n{}<p class=\"soft\">{}</p>\n",
        escape(&headline(results)),
        losses(results).map_or(String::new(), |losses| format!(
            "<p>{}</p>\n",
            escape(&losses)
        )),
        escape(&verdict(results))
    );
    facts(&mut body, results);
    warnings(&mut body, results);
    let mut sync = "";
    for chart in charts {
        if chart.sync != sync {
            sync = &chart.sync;
            let _ = writeln!(body, "<h2>Sync {sync}: {}</h2>", escape(durability(sync)));
        }
        let _ = writeln!(
            body,
            "<figure>{}{}</div><figcaption>{}</figcaption></figure>",
            page::region("sheet", &chart.name),
            chart.svg,
            escape(&chart.caption)
        );
    }
    knees(&mut body, results);
    effects(&mut body, results);
    method(&mut body, results);
    medians(&mut body, results);
    repeat(&mut body, results);
    setup(&mut body, results);
    page::page("Turnkey storage laboratory", &body)
}

fn verdict(results: &Results) -> String {
    let failed = results.runs.iter().filter(|run| !run.is_good()).count();
    let all = results.runs.len();
    let cut = match results.interrupted {
        true => " It was interrupted: not all runs that were planned are here.",
        false => "",
    };
    if failed > 0 {
        let of = counted(all as u64, "run");
        return format!("{failed} of {of} FAILED; what failed is left out of the figures.{cut}");
    }
    let after = match all {
        1 => "the run".to_owned(),
        all => format!("each of the {all} runs"),
    };
    format!(
        "No turn was lost: after {after}, {} the acknowledged turns.{cut}",
        match results.settings.workload.as_str() {
            workload::TURN => "the counters in the database added up to",
            _ => "the invariants held for",
        }
    )
}

fn facts(body: &mut String, results: &Results) {
    let machine = &results.machine;
    let facts = [
        (
            "Processor",
            format!("{} x {}", machine.processors, machine.processor),
        ),
        (
            "Memory",
            format!(
                "{:.1} GiB",
                machine.memory_bytes as f64 / f64::from(1 << 30)
            ),
        ),
        ("Kernel", machine.kernel.clone()),
        (
            "File system",
            format!(
                "{} on {}{}",
                results.file_system.kind,
                results.file_system.device,
                match results.file_system.options.as_str() {
                    "" => String::new(),
                    options => format!(" ({options})"),
                }
            ),
        ),
        (
            "A sync of 4 KiB",
            format!(
                "{} appended, {} overwritten",
                time(results.disk_sync.append_us),
                time(results.disk_sync.overwrite_us)
            ),
        ),
        ("Versions", results.versions_line()),
    ];
    body.push_str("<div class=\"facts\">\n");
    for (name, value) in facts {
        let _ = writeln!(body, "<div><b>{name}</b>{}</div>", escape(&value));
    }
    body.push_str("</div>\n");
}

fn warnings(body: &mut String, results: &Results) {
    let mut lines: Vec<String> = results.warnings.iter().map(|w| escape(w)).collect();
    let noisy = results
        .medians
        .iter()
        .filter(|row| row.others_share.is_some_and(|share| share > NOISY))
        .count();
    if noisy > 0 {
        lines.push(format!(
            "In {noisy} of {} rows, others used more than {:.0} % of the machine during a run: they are marked.",
            results.medians.len(),
            NOISY * 100.0
        ));
    }
    for row in results.medians.iter().filter(|row| row.starved_runs > 0) {
        lines.push(format!(
            "{}: <b>{}</b>: a process completed less than a tenth of an even share (the slowest {} of it, the median)",
            escape(&case_name(&row.engine, &row.situation)),
            table::starved(row),
            table::percent(row.slowest_share)
        ));
    }
    if results.settings.repeat < judge::ENOUGH {
        lines.push(format!(
            "Fewer than {} runs of each situation: no difference is claimed.",
            judge::ENOUGH
        ));
    }
    for run in results.runs.iter().filter(|run| !run.is_good()) {
        lines.push(format!(
            "<span class=\"bad\">FAILED</span> {}, repeat {}: {}",
            escape(&case_name(&run.engine, &run.situation)),
            run.repeat,
            escape(run.failed.as_deref().unwrap_or_default())
        ));
    }
    if lines.is_empty() {
        return;
    }
    body.push_str("<div class=\"note\"><b>Mind</b><ul>\n");
    for line in lines {
        let _ = writeln!(body, "<li>{line}</li>");
    }
    body.push_str("</ul></div>\n");
}

fn method(body: &mut String, results: &Results) {
    let plan = &results.settings;
    let sizes: Vec<String> = plan.state_bytes.iter().map(usize::to_string).collect();
    let work = match plan.workload.as_str() {
        workload::TURN => format!(
            "A turn takes the lock of one of {} users at random, reads the state, adds one to its counter, writes it ({} bytes of JSON) and gives the lock back.",
            thousands(plan.users as f64),
            sizes.join(" or ")
        ),
        name => format!(
            "A turn is one transaction of the workload {}.",
            escape(name)
        ),
    };
    let pace = match plan.rates.is_empty() {
        true => {
            "Clients are real processes; each always has the given number of turns in flight and starts the next when one ends (closed loop). What an engine does not let begin while it stalls is not measured: p99 hides it, the maximum shows it."
        }
        false => {
            "Clients are real processes; turns are due on a schedule that waits for nobody (open loop). A latency counts from when its turn was due, so a stall shows in all that were due meanwhile."
        }
    };
    let _ = write!(
        body,
        "<h2>How it was measured</h2>\n<ul>\n\
         <li>{work} It counts when its commit was acknowledged.</li>\n\
         <li>{pace} The handler itself takes no time.</li>\n\
         <li>All processes begin at the same moment; {} s of warm-up, then a window of {} s. Each run has a fresh database, filled anew.</li>\n\
         <li>{} of each situation; engines take turns within a repeat, and every second repeat goes backwards. Figures are medians; intervals are expanded percentile bootstraps at 95 %. Where two overlap, no difference is shown (~).</li>\n\
         <li>Slowest: the turns of the slowest process, of an even share. Below a tenth it has starved, and the engine is not compared.</li>\n\
         <li>Turns that began in the window and ended after it count for the latencies.</li>\n\
         <li>Processor time is that of all processes: clients, writer, database server (/proc, ticks of 10 ms).</li>\n\
         </ul>\n<h3>The engines</h3>\n<dl>\n",
        plan.warm_up_seconds,
        plan.seconds,
        match plan.repeat {
            1 => "One run".to_owned(),
            many => format!("{many} runs"),
        },
    );
    for engine in &plan.engines {
        let about = results.engines.get(engine);
        let _ = writeln!(
            body,
            "<dt>{}</dt><dd>{}</dd>",
            escape(engine),
            escape(about.map_or("", String::as_str))
        );
    }
    body.push_str("</dl>\n");
}

/// A table of these columns; the first is left, the others right.
fn small_table(body: &mut String, title: &str, head: &[&str], rows: &[Vec<String>]) {
    let _ = write!(
        body,
        "<h2>{title}</h2>\n{}<table><thead><tr>",
        page::region("scroll", title)
    );
    for name in head {
        let _ = write!(body, "<th scope=\"col\">{name}</th>");
    }
    body.push_str("</tr></thead><tbody>\n");
    for row in rows {
        body.push_str("<tr>");
        for cell in row {
            let _ = write!(body, "<td>{}</td>", escape(cell));
        }
        body.push_str("</tr>\n");
    }
    body.push_str("</tbody></table></div>\n");
}

fn knees(body: &mut String, results: &Results) {
    if results.knees.is_empty() {
        return;
    }
    let row = |found: &Knee| {
        vec![
            engine_with(&found.engine, &found.situation),
            format!(
                "{}, {}",
                count(found.situation.processes, "process", "processes"),
                found.situation.sync
            ),
            table::knee(found),
        ]
    };
    let rows: Vec<_> = results.knees.iter().map(row).collect();
    small_table(
        body,
        "Where it breaks",
        &["engine", "situation", "found"],
        &rows,
    );
    let _ = writeln!(
        body,
        "<p class=\"soft\">An engine keeps up where at least {:.0} % of what was due was completed within the window, at this rate and at every lower one.</p>",
        sweep::KEPT_UP * 100.0
    );
}

fn effects(body: &mut String, results: &Results) {
    if results.effects.is_empty() {
        return;
    }
    let rows: Vec<_> = results.effects.iter().map(table::effect).collect();
    let head = [
        "setting",
        "engine",
        "pairs",
        "times turns/s",
        "said of it",
        "times p99",
        "said of it",
    ];
    small_table(body, "What the settings did", &head, &rows);
    body.push_str(
        "<p class=\"soft\">In pairs of runs of the same repeat that differ in nothing else; in parentheses the 95 % interval.</p>\n",
    );
}

fn repeat(body: &mut String, results: &Results) {
    if results.command.is_empty() {
        return;
    }
    let _ = writeln!(
        body,
        "<h2>To repeat it</h2>\n{}<code>{}</code></div>",
        page::region("note", "The command"),
        escape(&results.command_line())
    );
    if let Some(file) = &results.settings.workload_file {
        let _ = writeln!(
            body,
            "<details><summary>The workload {}</summary><pre>{}</pre></details>",
            escape(&results.settings.workload),
            escape(file)
        );
    }
}

/// The columns of the table, as HTML.
const COLUMNS: [&str; 18] = [
    "engine",
    "turns/s",
    "95 %",
    "kept",
    "slowest",
    "times<br>sqlite-direct",
    "times<br>postgres",
    "p50",
    "p90",
    "p99",
    "p99.9",
    "max",
    "CPU &#181;s<br>a turn",
    "turns a<br>commit",
    "syncs<br>a turn",
    "KiB to the<br>device a turn",
    "others",
    "errors",
];

fn medians(body: &mut String, results: &Results) {
    let _ = write!(
        body,
        "<h2>All medians</h2>\n{}<table><thead><tr>",
        page::region("scroll", "All medians")
    );
    for name in COLUMNS {
        let class = if name == "errors" {
            " class=\"left\""
        } else {
            ""
        };
        let _ = write!(body, "<th scope=\"col\"{class}>{name}</th>");
    }
    body.push_str("</tr></thead><tbody>\n");
    let mut rows: Vec<&Median> = results.medians.iter().collect();
    rows.sort_by_key(|row| row.situation.without_settings());
    let mut situation = None;
    for row in rows {
        let here = row.situation.without_settings();
        if situation.as_ref() != Some(&here) {
            let sizes = results.settings.state_bytes.len();
            let _ = writeln!(
                body,
                "<tr class=\"situation\"><td colspan=\"{}\">{}</td></tr>",
                COLUMNS.len(),
                escape(&table::heading(&here, sizes))
            );
            situation = Some(here);
        }
        body.push_str(&line(row));
    }
    body.push_str(
        "</tbody></table></div>\n<p class=\"soft\">Others: the largest share of the machine that was used by \
         something else during a run, the kernel's own threads included. Syncs: counted by the writer; for \
         PostgreSQL by pg_stat_wal; for MySQL and MariaDB by Innodb_data_fsyncs; for sqlite-direct and sqlite-naive the flushes of the whole device. \
         KiB to the device: what reached the block device below the database, other programs' too. \
         A dash: not known.</p>\n",
    );
}

fn line(row: &Median) -> String {
    if row.runs == 0 {
        return format!(
            "<tr><td>{}</td><td colspan=\"{}\" class=\"left bad\">FAILED in {}</td></tr>\n",
            escape(&engine_with(&row.engine, &row.situation)),
            COLUMNS.len() - 1,
            counted(row.failed as u64, "run")
        );
    }
    let l = &row.latency_us;
    let mut errors: Vec<String> = row
        .errors_by_kind
        .iter()
        .map(|(kind, count)| format!("{} {}", thousands(*count as f64), escape(kind)))
        .collect();
    if row.starved_runs > 0 {
        errors.push(format!("<b>{}</b>", table::starved(row)));
    }
    if row.failed > 0 {
        errors.push(format!(
            "<span class=\"bad\">{} FAILED</span>",
            counted(row.failed as u64, "run")
        ));
    }
    let others = row.others_share.map_or("-".to_owned(), |share| {
        let mark = if share > NOISY { " (noisy)" } else { "" };
        format!("{:.0} %{mark}", share * 100.0)
    });
    let cells = [
        escape(&engine_with(&row.engine, &row.situation)),
        format!("<b>{}</b>", thousands(row.turns_per_second)),
        table::range(row.turns_per_second_interval),
        table::percent(row.completed_share),
        table::percent(row.slowest_share),
        table::beside(row, judge::BASES[0]),
        table::beside(row, judge::BASES[1]),
        time(l.p50),
        time(l.p90),
        time(l.p99),
        time(l.p99_9),
        time(l.max),
        short(row.cpu_us_per_turn.total),
        short(row.turns_per_commit),
        escape(&short(row.syncs_per_turn)),
        short(row.device_bytes_per_turn.map(|bytes| bytes / 1024.0)),
        others,
    ];
    let mut text = String::from("<tr>");
    for cell in cells {
        let _ = write!(text, "<td>{cell}</td>");
    }
    let _ = writeln!(text, "<td class=\"left\">{}</td></tr>", errors.join(", "));
    text
}

fn setup(body: &mut String, results: &Results) {
    body.push_str("<h2>Settings</h2>\n");
    for (name, lines) in &results.setup {
        let _ = writeln!(
            body,
            "<details><summary>{}</summary><p><code>{}</code></p></details>",
            escape(name),
            escape(&lines.join(", "))
        );
    }
    for (engine, settings) in results.in_force.iter().filter(|(_, all)| !all.is_empty()) {
        let pairs = settings
            .iter()
            .map(|(name, value)| format!("{name}={value}"));
        let _ = writeln!(
            body,
            "<details><summary>In force: {}</summary><p><code>{}</code></p></details>",
            escape(engine),
            escape(&pairs.collect::<Vec<_>>().join(", "))
        );
    }
    let _ = writeln!(
        body,
        "<p class=\"soft\">Every number of every run is in <code>results.json</code>; <code>turnkey bench report results.json --out DIR</code> draws this page again.</p>"
    );
}

#[cfg(test)]
mod tests {
    use super::super::{all_charts, tests::sample};
    use super::*;

    #[test]
    fn the_page_needs_nothing_from_outside_and_has_no_script() {
        let results = sample();
        let page = draw(&results, &all_charts(&results));
        assert!(!page.contains("<script"), "no JavaScript");
        for outside in ["src=", "href=", "@import", "url("] {
            assert!(!page.contains(outside), "{outside}");
        }
        assert!(page.contains("prefers-color-scheme:dark"));
        for row in &results.medians {
            assert!(page.contains(&thousands(row.turns_per_second)), "{row:?}");
        }
    }

    #[test]
    fn failures_are_shown() {
        let mut results = sample();
        results.runs[0].failed = Some("2 acknowledged turns were <lost>".to_owned());
        let page = draw(&results, &[]);
        assert!(page.contains("FAILED"));
        assert!(page.contains("&lt;lost&gt;") && !page.contains("<lost>"));
    }
}
