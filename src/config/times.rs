//! Times as people write them: `8s`, `90d`.
//!
//! Read by `table/value.rs` for the command line and the file, written by it for the help
//! and the status page. Bounds: [`LONGEST`], [`MAX_DAYS`].

use std::time::Duration;

/// The longest time that can be set, in seconds: a week.
const LONGEST: f64 = 7.0 * 24.0 * 3600.0;

/// The longest time that something is kept, in days: ten years.
const MAX_DAYS: u32 = 3650;

/// For defaults and bounds.
pub(super) const fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// For defaults and bounds.
pub(super) const fn hours(count: u64) -> Duration {
    Duration::from_secs(count * 3600)
}

/// Reads `8s`, `500ms`, `2m` or `1h`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.');
    let (number, unit) = text.split_at(digits.unwrap_or(text.len()));
    let number: f64 = number
        .parse()
        .map_err(|_| format!("{text:?} is not a time such as 8s, 500ms, 2m or 1h"))?;
    let seconds = match unit {
        "ms" => number / 1000.0,
        "s" => number,
        "m" => number * 60.0,
        "h" => number * 3600.0,
        _ => return Err(format!("{text:?} needs a unit: ms, s, m or h, such as 8s")),
    };
    // Nothing here may take no time at all, and nothing waits for longer than this.
    if !(0.001..=LONGEST).contains(&seconds) {
        return Err(format!("{text:?} is not between 1ms and 168h"));
    }
    Ok(Duration::from_secs_f64(seconds))
}

/// Reads `72h` or `90d`: how long something is kept.
pub(super) fn age(text: &str) -> Result<Duration, String> {
    let Some(days) = text.strip_suffix('d') else {
        return duration(text);
    };
    match days.parse() {
        Ok(days @ 1..=MAX_DAYS) => Ok(Duration::from_secs(u64::from(days) * 24 * 3600)),
        _ => Err(format!(
            "{text:?} is not a time such as 72h or 90d, up to {MAX_DAYS}d"
        )),
    }
}

/// As it would be set: in hours where these are whole, from a week on in days.
pub(super) fn written(time: Duration) -> String {
    let seconds = time.as_secs();
    match (time.subsec_millis(), seconds) {
        (0, seconds) if seconds >= 7 * 86_400 && seconds % 86_400 == 0 => {
            format!("{}d", seconds / 86_400)
        }
        (0, seconds) if seconds % 3600 == 0 => format!("{}h", seconds / 3600),
        (0, seconds) => format!("{seconds}s"),
        _ => format!("{}ms", time.as_millis()),
    }
}
