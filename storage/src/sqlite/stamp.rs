//! Moments in the names of files, such as `2026-11-29T10-00-00Z`: names sort as their moments.
//!
//! Called by `backup_directory.rs`. Invariant: what is read as a moment is written the same.

/// Bytes of a moment in a name.
pub(super) const STAMP: usize = 20;

/// `2026-11-29T10-00-00Z` of seconds since 1970: no colon, which other systems do not
/// take in names.
pub(super) fn stamp(seconds: u64) -> String {
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    // Howard Hinnant's civil_from_days, <https://howardhinnant.github.io/date_algorithms.html>.
    let z = days + 719_468;
    let (era, of_era) = (z / 146_097, z % 146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 {
        shifted + 3
    } else {
        shifted - 9
    };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}-{minute:02}-{second:02}Z")
}

/// What [`stamp`] was made of; none of anything else.
pub(super) fn seconds(text: &str) -> Option<u64> {
    let number = |at: std::ops::Range<usize>| text.get(at)?.parse::<u64>().ok();
    let (year, month, day) = (number(0..4)?, number(5..7)?, number(8..10)?);
    let (hour, minute, second) = (number(11..13)?, number(14..16)?, number(17..19)?);
    let year_shifted = year.checked_sub(u64::from(month <= 2))?;
    let (era, of_era) = (year_shifted / 400, year_shifted % 400);
    let shifted = if month > 2 { month - 3 } else { month + 9 };
    let of_year = (153 * shifted + 2) / 5 + day.checked_sub(1)?;
    let days = era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year;
    let seconds = days.checked_sub(719_468)? * 86_400 + hour * 3600 + minute * 60 + second;
    // What is no date does not come back as it was.
    (stamp(seconds) == text).then_some(seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_written_and_read() {
        for (at, text) in [
            (0, "1970-01-01T00-00-00Z"),
            (951_782_399, "2000-02-28T23-59-59Z"),
            (951_782_400, "2000-02-29T00-00-00Z"),
            (1_795_946_400, "2026-11-29T10-00-00Z"),
            (4_107_542_400, "2100-03-01T00-00-00Z"),
        ] {
            assert_eq!(stamp(at), text);
            assert_eq!(seconds(text), Some(at));
        }
        for n in 0..40_000 {
            let at = n * 86_399;
            assert_eq!(seconds(&stamp(at)), Some(at));
        }
        for text in [
            "2026-02-30T10-00-00Z",
            "2026-13-01T10-00-00Z",
            "2026-11-29T10:00:00Z",
            "2026-11-29T25-00-00Z",
            "+026-11-29T10-00-00Z",
            "1969-12-31T00-00-00Z",
            "0000-00-00T00-00-00Z",
        ] {
            assert_eq!(seconds(text), None, "{text}");
        }
    }
}
