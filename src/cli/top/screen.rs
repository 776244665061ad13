//! The live screen: what is wrong, four charts, what waits, the processes.
//!
//! Called by `top.rs` for each answer. Draws from a [`Status`] alone, on any size of terminal:
//! what does not fit is left out, from the bottom up.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Style, Stylize};
use ratatui::text::Line;
use ratatui::widgets::{Block, BorderType, Paragraph, Row, Sparkline, Table};

use super::text;
use crate::operator::admin::figures::{count, maybe_seconds, rate};
use crate::operator::admin::{ProcessState, Status};

/// Problems on the screen.
const PROBLEMS: usize = 4;

/// A chart: its title, its figure, and the last five minutes.
struct Chart<'a> {
    title: &'a str,
    figure: String,
    points: &'a [f64],
    colour: Color,
}

/// `away`: why the bot did not answer just now; then what is shown is old.
pub(super) fn draw(frame: &mut Frame<'_>, address: &str, status: &Status, away: Option<&str>) {
    let processes = status.workers.len() + usize::from(status.writer.is_some());
    let wrong = wrong_lines(status);
    let rows = u16::try_from(wrong.len()).unwrap_or(u16::MAX);
    let [head, problems, charts, lines, table, foot] = Layout::vertical([
        Constraint::Length(2),
        Constraint::Length(rows),
        Constraint::Length(8),
        Constraint::Length(6),
        Constraint::Max(u16::try_from(processes + 3).unwrap_or(u16::MAX)),
        Constraint::Min(1),
    ])
    .areas(frame.area());
    draw_head(frame, head, status, away);
    frame.render_widget(Paragraph::new(wrong), problems);
    draw_charts(frame, charts, status);
    draw_lines(frame, lines, status);
    draw_processes(frame, table, status);
    let foot_line = Line::from(format!(" {address}    q leaves")).dim();
    frame.render_widget(Paragraph::new(foot_line), foot);
}

fn draw_head(frame: &mut Frame<'_>, area: Rect, status: &Status, away: Option<&str>) {
    let headline = text::headline(status);
    let headline = match (away, &status.not_ready) {
        (Some(reason), _) => Line::from(format!(" {reason}")).white().on_red().bold(),
        (None, Some(_)) => Line::from(format!(" {headline}")).white().on_red().bold(),
        (None, None) => Line::from(format!(" {headline}")).green().bold(),
    };
    let names = text::known_as(status).map(|names| format!("known as {names}; "));
    let database = format!(" {}{}", names.unwrap_or_default(), status.storage);
    let database = Line::from(database).dim();
    frame.render_widget(Paragraph::new(vec![headline, database]), area);
}

/// What is wrong, the most urgent first; of more than [`PROBLEMS`] only how many.
fn wrong_lines(status: &Status) -> Vec<Line<'static>> {
    let told = status.problems.iter().take(PROBLEMS);
    let mut lines: Vec<Line<'static>> = told
        .map(|problem| Line::from(format!(" ! {}", text::wrong(problem))).red())
        .collect();
    if let Some(more @ 1..) = status.problems.len().checked_sub(PROBLEMS) {
        lines.push(Line::from(format!(" ! and {more} more: see the status page")).red());
    }
    lines
}

fn draw_charts(frame: &mut Frame<'_>, area: Rect, status: &Status) {
    let (turns, series) = (&status.turns, &status.series);
    let mut charts = vec![
        Chart {
            title: "turns a second",
            figure: rate(turns.per_second),
            points: &series.turns_per_second,
            colour: Color::Blue,
        },
        Chart {
            title: "p99, arrival to commit",
            figure: maybe_seconds(turns.duration.p99),
            points: &series.p99,
            colour: Color::Yellow,
        },
    ];
    if let Some(commits) = &status.commits {
        charts.push(Chart {
            title: "commits a second",
            figure: rate(commits.per_second),
            points: &series.commits_per_second,
            colour: Color::Green,
        });
    }
    charts.push(Chart {
        title: "in flight",
        figure: count(turns.in_flight),
        points: &series.in_flight,
        colour: Color::Cyan,
    });
    let places = Layout::horizontal(vec![Constraint::Fill(1); charts.len()]).split(area);
    for (chart, place) in charts.iter().zip(places.iter()) {
        draw_chart(frame, *place, chart);
    }
}

fn draw_chart(frame: &mut Frame<'_>, area: Rect, chart: &Chart<'_>) {
    let block = Block::bordered()
        .border_type(BorderType::Rounded)
        .border_style(Style::new().dim())
        .title(Line::from(format!(" {} ", chart.title)));
    let inside = block.inner(area);
    frame.render_widget(block, area);
    let [figure, drawing] =
        Layout::vertical([Constraint::Length(1), Constraint::Min(0)]).areas(inside);
    frame.render_widget(
        Paragraph::new(Line::from(chart.figure.as_str()).bold()),
        figure,
    );
    // Of seconds, the microseconds; the scale is the drawing's own.
    let width = usize::from(drawing.width);
    let last = chart.points.len().saturating_sub(width);
    let points: Vec<u64> = chart.points[last..]
        .iter()
        .map(|p| (p * 1e6) as u64)
        .collect();
    let sparkline = Sparkline::default()
        .data(points)
        .style(Style::new().fg(chart.colour));
    frame.render_widget(sparkline, drawing);
}

fn draw_lines(frame: &mut Frame<'_>, area: Rect, status: &Status) {
    let mut lines = vec![
        ("latency", text::latency(status)),
        ("in flight", text::in_flight(status)),
    ];
    if let Some(commits) = text::commits(status) {
        lines.push(("commits", commits));
    }
    lines.push(("queues", text::queues(status)));
    lines.push(("replies", text::replies(status)));
    let lines: Vec<Line<'_>> = lines
        .into_iter()
        .map(|(name, figures)| Line::from(vec![format!(" {name:<10} ").dim(), figures.into()]))
        .collect();
    frame.render_widget(Paragraph::new(lines), area);
}

fn draw_processes(frame: &mut Frame<'_>, area: Rect, status: &Status) {
    let rows = status.writer.iter().chain(&status.workers).map(|process| {
        let row = Row::new(text::cells(status, process));
        match process.state {
            ProcessState::Serving => row,
            _ => row.red(),
        }
    });
    let widths =
        text::COLUMNS.map(|(_, width)| Constraint::Length(u16::try_from(width).unwrap_or(12)));
    let names = text::COLUMNS.map(|(name, _)| name);
    let table = Table::new(rows, widths)
        .header(Row::new(names).dim())
        .block(
            Block::bordered()
                .border_type(BorderType::Rounded)
                .border_style(Style::new().dim())
                .title(" processes "),
        );
    frame.render_widget(table, area);
}

#[cfg(test)]
mod tests {
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;
    use serde_json::json;

    use super::*;

    fn status() -> Status {
        let process = json!({ "name": "worker 0", "state": "serving", "pid": 4711, "since_ms": 1000,
            "silent_seconds": 0.1, "in_flight": 3, "connections": 4, "requests": 50, "turns": 49,
            "starts": 1, "crashes": 2 });
        let none = json!({ "count": 0, "p50": null, "p90": null, "p99": null, "p999": null });
        serde_json::from_value(json!({
            "version": "1.2.3", "updater": "webhooks", "now_ms": 61_000, "since_ms": 1000,
            "storage": "sqlite:bot.db", "not_ready": null, "workers": [process], "writer": null,
            "starts": 1, "crashes": 2,
            "requests": { "total": 50, "per_second": 1.5, "accepted": 4, "connections": 4 },
            "turns": { "total": 49, "failed": 1, "per_second": 1.5, "duration": none, "in_flight": 3,
                "waiting": 0, "longest": { "dialog": "http:\u{1b}[31mann", "seconds": 2.5 }, "inboxed": 0, "buried": 0 },
            "commits": null,
            "replies": { "sent": 0, "sending": 0, "refused": 0, "too_many": 7 },
            "queues": { "counted": 10000, "inbox": 0, "outbox": 0, "dead": 3,
                "oldest_update": null, "oldest_reply": null },
            "backup": null, "certificate": null, "settings": [],
            "series": { "turns_per_second": [1.0, 2.0, 1.5], "p50": [0.0, 0.0, 0.0], "p99": [0.0, 0.1, 0.2],
                "commits_per_second": [], "in_flight": [3.0, 3.0, 3.0], "waiting": [0.0, 0.0, 0.0] }
        }))
        .unwrap()
    }

    fn drawn(width: u16, height: u16, away: Option<&str>) -> String {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal
            .draw(|frame| draw(frame, "127.0.0.1:8081", &status(), away))
            .unwrap();
        terminal.backend().to_string()
    }

    #[test]
    fn what_is_wrong_stands_first() {
        let mut status = status();
        let problem = |n| crate::operator::admin::Problem {
            what: format!("trouble {n}\u{1b}[31m"),
            remedy: "mend it".to_owned(),
            command: None,
        };
        status.problems = (0..6).map(problem).collect();
        let mut terminal = Terminal::new(TestBackend::new(100, 30)).unwrap();
        terminal
            .draw(|frame| draw(frame, "x", &status, None))
            .unwrap();
        let drawn = terminal.backend().to_string();
        let first = "! trouble 0\u{fffd}[31m. Remedy: mend it";
        assert!(drawn.contains(first), "{drawn}");
        assert!(drawn.contains("and 2 more"), "{drawn}");
        assert!(drawn.find("trouble 0") < drawn.find("turns a second"));
        let text = text::snapshot(&status);
        assert!(text.contains("wrong       trouble 5"), "{text}");
    }

    #[test]
    fn it_says_what_the_platforms_call_the_bot() {
        let mut told = serde_json::to_value(status()).unwrap();
        told["channels"] = json!([
            { "name": "http", "turns": 0 },
            { "name": "telegram", "own_name": "Te\u{1b}a (@tea_bot)", "turns": 0 },
        ]);
        let status: Status = serde_json::from_value(told).unwrap();
        let mut terminal = Terminal::new(TestBackend::new(100, 30)).unwrap();
        terminal
            .draw(|frame| draw(frame, "x", &status, None))
            .unwrap();
        let drawn = terminal.backend().to_string();
        let known_as = "known as Te\u{fffd}a (@tea_bot) on telegram";
        assert!(drawn.contains(known_as), "{drawn}");
        let text = text::snapshot(&status);
        assert!(
            text.contains("known as    Te\u{fffd}a (@tea_bot) on"),
            "{text}"
        );
    }

    #[test]
    fn it_shows_what_there_is_on_any_screen() {
        let wide = drawn(130, 40, None);
        for part in [
            "ready; version 1.2.3",
            "4711",
            "turns a second",
            "3 dead letters",
            "7 times",
            "q leaves",
        ] {
            assert!(wide.contains(part), "{part} is not in\n{wide}");
        }
        // What a user's name may do to a terminal it does not.
        assert!(wide.contains("http:\u{fffd}[31mann 2.5 s"), "{wide}");
        assert!(drawn(130, 40, Some("nobody answers")).contains("nobody answers"));
        for (width, height) in [(1, 1), (20, 5), (80, 24), (300, 100)] {
            drawn(width, height, None);
        }
    }
}
