//! `report.html`: one file that needs nothing else, light and dark, on screen and paper.
//!
//! Says first what was found, in one sentence that is computed, never written by hand;
//! then the machine, the charts, how it was measured, and every median.

use std::fmt::Write as _;

use super::super::measure::NOISY;
use super::super::results::Median;
use super::super::results::Results;
use super::charts::{Chart, durability};
use turnkey_report::figures::{short, thousands, time};
use turnkey_report::page;
use turnkey_report::svg::escape;
use turnkey_text::numbers::counted;

/// The whole page.
pub(super) fn draw(results: &Results, charts: &[Chart]) -> String {
    let mut body = String::new();
    let _ = write!(
        body,
        "<h1>Turnkey storage laboratory</h1>\n<p class=\"headline\">{}</p>\n<p class=\"soft\">{}</p>\n",
        escape(&headline(results)),
        escape(&verdict(results))
    );
    facts(&mut body, results);
    warnings(&mut body, results);
    let mut sync = "";
    for chart in charts {
        if chart.sync != sync {
            sync = chart.sync;
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
    method(&mut body, results);
    medians(&mut body, results);
    setup(&mut body, results);
    page::page("Turnkey storage laboratory", &body)
}

/// What was found where most is asked of the engines: our engine, or the fastest,
/// beside the others.
pub(super) fn headline(results: &Results) -> String {
    let measured = |row: &&Median| row.runs > 0 && row.engine != "sqlite-ceiling";
    let first_sync = results.sync_levels().first().copied().unwrap_or_default();
    let rows: Vec<&Median> = results
        .medians
        .iter()
        .filter(measured)
        .filter(|row| row.sync == first_sync)
        .collect();
    let Some((processes, in_flight)) = rows
        .iter()
        .map(|row| (row.processes, row.in_flight))
        .max_by_key(|(processes, in_flight)| (processes * in_flight, *processes))
    else {
        return "No run could be measured.".to_owned();
    };
    let here: Vec<&&Median> = rows
        .iter()
        .filter(|row| (row.processes, row.in_flight) == (processes, in_flight))
        .collect();
    let ours = here.iter().find(|row| row.engine == "sqlite");
    let fastest = here
        .iter()
        .max_by(|a, b| a.turns_per_second.total_cmp(&b.turns_per_second));
    let Some(row) = ours.or(fastest) else {
        return "No run could be measured.".to_owned();
    };
    let times: Vec<String> = here
        .iter()
        .filter(|other| other.engine != row.engine && other.turns_per_second > 0.0)
        .map(|other| {
            let ratio = row.turns_per_second / other.turns_per_second;
            format!("{} times {}", factor(ratio), other.engine)
        })
        .collect();
    let comparison = match times.split_last() {
        None => String::new(),
        Some((only, [])) => format!(": {only}"),
        Some((last, others)) => format!(": {} and {last}", others.join(", ")),
    };
    let who = match processes {
        1 => "one process".to_owned(),
        many => format!("{many} processes"),
    };
    format!(
        "With {who} and {} in flight in each, {} completed {} turns a second, {}{comparison}.",
        match in_flight {
            1 => "one turn".to_owned(),
            many => format!("{many} turns"),
        },
        row.engine,
        thousands(row.turns_per_second),
        durability(&row.sync)
    )
}

/// A ratio as people say it.
fn factor(ratio: f64) -> String {
    match ratio {
        r if r >= 10.0 => format!("{r:.0}"),
        r if r >= 0.1 => format!("{r:.1}"),
        r => format!("{r:.2}"),
    }
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
        "No turn was lost: after {after}, the counters in the database added up to the acknowledged turns.{cut}"
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
                "{} on {}",
                results.file_system.kind, results.file_system.device
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
    for run in results.runs.iter().filter(|run| !run.is_good()) {
        lines.push(format!(
            "<span class=\"bad\">FAILED</span> {}, {} x {}, {}, repeat {}: {}",
            escape(&run.engine),
            run.processes,
            run.in_flight,
            escape(&run.sync),
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
    let _ = write!(
        body,
        "<h2>How it was measured</h2>\n<ul>\n\
         <li>A turn takes the lock of one of {} users at random, reads the state, adds one to its counter, writes it ({} bytes of JSON) and gives the lock back. It counts when its commit was acknowledged.</li>\n\
         <li>Clients are real processes; each always has the given number of turns in flight and starts the next when one ends. The handler itself takes no time.</li>\n\
         <li>All processes begin at the same moment; {} s of warm-up, then a window of {} s. Each run has a fresh database with a state for each user.</li>\n\
         <li>{} of each situation; engines take turns within a repeat. Figures are medians, the range is the lowest and the highest run.</li>\n\
         <li>Latencies go from the moment a turn is asked for until it is acknowledged. Turns that began in the window and ended after it count for the latencies.</li>\n\
         <li>Processor time is that of all processes: clients, writer, database server (/proc, ticks of 10 ms).</li>\n\
         </ul>\n<h3>The engines</h3>\n<dl>\n",
        thousands(plan.users as f64),
        plan.state_bytes,
        plan.warm_up_seconds,
        plan.seconds,
        match plan.repeat {
            1 => "One run".to_owned(),
            many => format!("{many} runs"),
        },
    );
    for engine in &plan.engines {
        let about = results.engines.get(engine.name());
        let _ = writeln!(
            body,
            "<dt>{}</dt><dd>{}</dd>",
            engine.name(),
            escape(about.map_or("", String::as_str))
        );
    }
    body.push_str("</dl>\n");
}

/// The columns of the table, as HTML.
const COLUMNS: [&str; 16] = [
    "engine",
    "turns/s",
    "lowest to highest",
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
    rows.sort_by_key(|row| (row.sync.clone(), row.processes, row.in_flight));
    let mut situation = None;
    for row in rows {
        let here = (&row.sync, row.processes, row.in_flight);
        if situation != Some(here) {
            let _ = writeln!(
                body,
                "<tr class=\"situation\"><td colspan=\"16\">{} process{}, {} in flight in each, sync {}</td></tr>",
                row.processes,
                if row.processes == 1 { "" } else { "es" },
                row.in_flight,
                escape(&row.sync)
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
            "<tr><td>{}</td><td colspan=\"15\" class=\"left bad\">FAILED in {}</td></tr>\n",
            escape(&row.engine),
            counted(row.failed as u64, "run")
        );
    }
    let ratio = |ratio: Option<f64>| ratio.map_or("-".to_owned(), factor);
    let l = &row.latency_us;
    let mut errors: Vec<String> = row
        .errors_by_kind
        .iter()
        .map(|(kind, count)| format!("{} {}", thousands(*count as f64), escape(kind)))
        .collect();
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
        escape(&row.engine),
        format!("<b>{}</b>", thousands(row.turns_per_second)),
        format!(
            "{} to {}",
            thousands(row.least_turns_per_second),
            thousands(row.most_turns_per_second)
        ),
        ratio(row.ratio_to_sqlite_direct),
        ratio(row.ratio_to_postgres),
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
    let _ = writeln!(
        body,
        "<p class=\"soft\">Every number of every run is in <code>results.json</code>; <code>turnkey bench report results.json --out DIR</code> draws this page again.</p>"
    );
}

#[cfg(test)]
mod tests {
    use super::super::{charts, tests::sample};
    use super::*;

    #[test]
    fn the_page_needs_nothing_from_outside_and_has_no_script() {
        let results = sample();
        let page = draw(&results, &charts::draw(&results));
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
    fn the_headline_is_computed() {
        let mut results = sample();
        let said = headline(&results);
        let (processes, in_flight) = (4, 16);
        assert!(
            said.contains("4 processes and 16 turns in flight"),
            "{said}"
        );
        let find = |results: &Results, engine: &str| {
            results
                .medians
                .iter()
                .position(|row| {
                    row.engine == engine
                        && row.sync == "full"
                        && (row.processes, row.in_flight) == (processes, in_flight)
                })
                .unwrap()
        };
        let ours = find(&results, "sqlite");
        let direct = find(&results, "sqlite-direct");
        results.medians[ours].turns_per_second = 9000.0;
        results.medians[direct].turns_per_second = 6000.0;
        assert!(headline(&results).contains("9,000 turns a second"));
        assert!(headline(&results).contains("1.5 times sqlite-direct"));
        // Also when it is the slower one.
        results.medians[ours].turns_per_second = 3000.0;
        assert!(headline(&results).contains("0.5 times sqlite-direct"));
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
