//! Figures formatted for people, on the page and in `turnkey top`: short, and with their unit.

use std::time::{Duration, SystemTime};

pub(crate) use turnkey_text::numbers::grouped as count;

/// A rate: 12,345, 12.3, 0.
pub(crate) fn rate(number: f64) -> String {
    match number {
        n if n >= 99.95 => count(n.round() as u64),
        n if n >= 0.05 => format!("{n:.1}"),
        _ => "0".to_owned(),
    }
}

/// Seconds with a unit that fits: 830 µs, 1.24 ms, 12.4 ms, 3.2 s, 4 min 10 s, 2 d 3 h.
pub(crate) fn seconds(s: f64) -> String {
    let whole = s.max(0.0) as u64;
    match s {
        s if s < 0.001 => format!("{:.0} µs", s.max(0.0) * 1e6),
        s if s < 0.01 => format!("{:.2} ms", s * 1e3),
        s if s < 0.1 => format!("{:.1} ms", s * 1e3),
        s if s < 1.0 => format!("{:.0} ms", s * 1e3),
        s if s < 60.0 => format!("{s:.1} s"),
        s if s < 3600.0 => format!("{} min {} s", whole / 60, whole % 60),
        s if s < 86_400.0 => format!("{} h {} min", whole / 3600, whole / 60 % 60),
        _ => format!("{} d {} h", whole / 86_400, whole / 3600 % 24),
    }
}

/// The same, or a dash.
pub(crate) fn maybe_seconds(s: Option<f64>) -> String {
    s.map_or_else(|| "-".to_owned(), seconds)
}

/// 4,096 as 4.0 KiB.
pub(crate) fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1024.0;
    let mut unit = 0;
    while value >= 1023.95 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

/// A moment, in milliseconds since 1970: `Sun, 29 Nov 2026 01:53:08 GMT`.
pub(crate) fn moment(ms: u64) -> String {
    // Later than the year 9999, which a damaged row may say, is no date.
    let latest = 253_402_300_799_000;
    httpdate::fmt_http_date(SystemTime::UNIX_EPOCH + Duration::from_millis(ms.min(latest)))
}

/// A moment in words of its own, such as how long ago it was, for people and programs.
pub(crate) fn time(ms: u64, hint: &str, words: &str) -> String {
    let moment = moment(ms);
    format!(
        "<time datetime=\"{}\" title=\"{hint}{moment}\">{words}</time>",
        iso(&moment)
    )
}

/// How long ago that was, with the moment as a hint: just now, 12.3 s ago.
pub(crate) fn ago(now_ms: u64, ms: u64) -> String {
    let words = match now_ms.saturating_sub(ms) {
        0..1000 => "just now".to_owned(),
        age => format!("{} ago", seconds(age as f64 / 1000.0)),
    };
    time(ms, "", &words)
}

/// `Sun, 29 Nov 2026 01:53:08 GMT` as `2026-11-29T01:53:08Z`.
fn iso(moment: &str) -> String {
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let words: Vec<&str> = moment.split(' ').collect();
    let [_, day, month, year, time, _] = words[..] else {
        return String::new();
    };
    let month = MONTHS.iter().position(|name| *name == month);
    format!("{year}-{:02}-{day}T{time}Z", month.map_or(0, |n| n + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_a_moment_ago_has_no_milliseconds() {
        assert!(ago(5000, 4995).ends_with(">just now</time>"));
        assert!(ago(5000, 9000).ends_with(">just now</time>"));
        assert!(ago(14_500, 2000).ends_with(">12.5 s ago</time>"));
    }

    #[test]
    fn figures_are_short_and_have_units() {
        assert_eq!(count(1_234_567), "1,234,567");
        assert_eq!(
            (rate(12.34), rate(99_999.6)),
            ("12.3".into(), "100,000".into())
        );
        assert_eq!(seconds(0.000_83), "830 µs");
        assert_eq!(seconds(0.001_236), "1.24 ms");
        assert_eq!(seconds(59.0), "59.0 s");
        assert_eq!(seconds(250.0), "4 min 10 s");
        assert_eq!(seconds(7_260.0), "2 h 1 min");
        assert_eq!(seconds(183_600.0), "2 d 3 h");
        assert_eq!(
            (bytes(1023), bytes(4096)),
            ("1023 B".into(), "4.0 KiB".into())
        );
        assert_eq!(moment(0), "Thu, 01 Jan 1970 00:00:00 GMT");
        assert!(moment(u64::MAX).contains("9999"));
        assert_eq!(iso(&moment(1_795_917_188_000)), "2026-11-29T01:53:08Z");
        assert_eq!(iso(&moment(0)), "1970-01-01T00:00:00Z");
    }
}
