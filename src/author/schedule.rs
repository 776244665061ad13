//! [`Schedule`]: the moments of a cron expression in a time zone.
//!
//! Read from what an author writes (`App::every`, `Turn::every`) and from what the database
//! has; `turn/ticking.rs` asks for the next moment each time one has come. Invariants: what
//! cannot be read, or never comes, is refused when it is read; the moments only grow. Bounds:
//! [`LONGEST_CRON`], [`LONGEST_ZONE`], [`YEARS`].
//!
//! Days and hours are those of the clock on the wall. Where a zone sets it, each moment still
//! comes once: one within the hour that is left out comes at the end of the gap, and one within
//! the hour that comes twice in the first of both. A schedule for every hour (`*`) goes by the
//! time that passes instead: through both hours, and over the gap.
//!
//! Time zones are those of the box (`/usr/share/zoneinfo`), which its updates keep right; a box
//! that has none uses the ones that the program carries.

use std::fmt;

use cronexpr::{Crontab, MakeTimestamp};
use jiff::civil::DateTime;
use jiff::tz::{AmbiguousOffset, TimeZone};
use jiff::{Timestamp, ToSpan};

/// Bytes of a cron expression.
const LONGEST_CRON: usize = 160;

/// Bytes of a time zone's name.
const LONGEST_ZONE: usize = 64;

/// The next moment is looked for so far ahead, in steps: leap days can be eight years apart.
const YEARS: i64 = 12;

/// A step: cronexpr looks four years ahead, so that none falls between two of these.
const STEP: i64 = 3;

/// When something is to happen again and again.
#[derive(Clone)]
pub(crate) struct Schedule {
    cron: String,
    zone: String,
    times: Times,
    tz: TimeZone,
}

/// What the expression is compared with.
#[derive(Clone)]
enum Times {
    /// The clock on the wall: the expression is read as if that were UTC.
    Wall(Crontab),
    /// The time that passes in the zone.
    Passing(Crontab),
}

impl Schedule {
    /// Reads five fields, and the zone in which they hold.
    ///
    /// # Errors
    /// A sentence: what is wrong, or that it never comes.
    pub(crate) fn new(cron: &str, zone: &str) -> Result<Self, String> {
        let fields: Vec<&str> = cron.split_ascii_whitespace().collect();
        let refused = |why: &str| {
            let cron: String = cron.chars().take(LONGEST_CRON).collect();
            format!(
                "{cron:?} is no schedule such as \"0 9 * * MON\" (minute, hour, day of the month, month, day of the week): {why}"
            )
        };
        if cron.len() > LONGEST_CRON {
            return Err(refused(&format!("it has more than {LONGEST_CRON} bytes")));
        }
        let [_, hour, ..] = fields[..] else {
            return Err(refused("it has too few fields"));
        };
        if fields.len() != 5 {
            return Err(refused(&format!("it has {} fields", fields.len())));
        }
        let tz = (zone.len() <= LONGEST_ZONE)
            .then(|| TimeZone::get(zone).ok())
            .flatten()
            .ok_or_else(|| {
                let zone: String = zone.chars().take(LONGEST_ZONE).collect();
                format!(
                    "{zone:?} is no time zone; one is called such as Europe/Vienna, America/New_York or UTC"
                )
            })?;
        let cron = fields.join(" ");
        let read = |zone: &str| {
            cronexpr::parse_crontab(&format!("{cron} {zone}")).map_err(|e| {
                let whole = e.to_string();
                refused(whole.rsplit_once("^ ").map_or(&*whole, |(_, why)| why))
            })
        };
        let times = match hour {
            "*" | "*/1" | "0-23" => Times::Passing(read(zone)?),
            _ => Times::Wall(read("UTC")?),
        };
        let schedule = Schedule {
            cron,
            zone: zone.to_owned(),
            times,
            tz,
        };
        match schedule.after(Timestamp::now()) {
            Some(_) => Ok(schedule),
            None => Err(refused("it has no moment in the next ten years")),
        }
    }

    /// Reads what [`fmt::Display`] wrote.
    ///
    /// # Errors
    /// As [`Schedule::new`].
    pub(crate) fn read(text: &str) -> Result<Self, String> {
        let (cron, zone) = text.rsplit_once(' ').unwrap_or((text, ""));
        Schedule::new(cron, zone)
    }

    /// The first moment after this one (milliseconds since 1970); none if there is none in ten
    /// years.
    pub(crate) fn next(&self, after: i64) -> Option<i64> {
        let next = self.after(Timestamp::from_millisecond(after).ok()?)?;
        Some(next.as_millisecond())
    }

    fn after(&self, after: Timestamp) -> Option<Timestamp> {
        match &self.times {
            Times::Passing(times) => search(times, after),
            Times::Wall(times) => {
                let mut wall = as_utc(self.tz.to_datetime(after))?;
                loop {
                    wall = search(times, wall)?;
                    let next = self.moment(TimeZone::UTC.to_datetime(wall))?;
                    // In the second of two hours, the first has had them; at most two hours.
                    if next > after {
                        return Some(next);
                    }
                }
            }
        }
    }

    /// When the clock on the wall shows this for the first time, or first goes past it. Later
    /// times never have earlier moments.
    fn moment(&self, wall: DateTime) -> Option<Timestamp> {
        let ambiguous = self.tz.to_ambiguous_timestamp(wall);
        match ambiguous.offset() {
            AmbiguousOffset::Gap { before, .. } => {
                let within = before.to_timestamp(wall).ok()?;
                let next = within.checked_add(1.second()).ok()?;
                let change = self.tz.preceding(next).next()?;
                Some(change.timestamp())
            }
            AmbiguousOffset::Unambiguous { .. } | AmbiguousOffset::Fold { .. } => {
                ambiguous.earlier().ok()
            }
        }
    }
}

fn as_utc(wall: DateTime) -> Option<Timestamp> {
    TimeZone::UTC.to_timestamp(wall).ok()
}

fn search(times: &Crontab, after: Timestamp) -> Option<Timestamp> {
    (0..YEARS / STEP).find_map(|step| {
        let from = TimeZone::UTC.to_datetime(after);
        let from = as_utc(from.checked_add((step * STEP).years()).ok()?)?;
        let next = times.find_next(MakeTimestamp(from)).ok()?;
        Some(next.timestamp())
    })
}

impl fmt::Display for Schedule {
    /// As the database has it: the five fields and the zone, with spaces between.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.cron, self.zone)
    }
}

impl fmt::Debug for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Schedule({self})")
    }
}

impl PartialEq for Schedule {
    fn eq(&self, other: &Self) -> bool {
        (&self.cron, &self.zone) == (&other.cron, &other.zone)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule(cron: &str, zone: &str) -> Schedule {
        Schedule::new(cron, zone).unwrap()
    }

    /// The moments after this one, as the clock on the wall shows them.
    fn moments(cron: &str, zone: &str, after: &str, count: usize) -> Vec<String> {
        let schedule = schedule(cron, zone);
        let mut at = after.parse::<Timestamp>().unwrap().as_millisecond();
        let mut shown = Vec::new();
        for _ in 0..count {
            let next = schedule.next(at).unwrap();
            assert!(next > at, "{cron} {zone}: {next} after {at}");
            at = next;
            let moment = Timestamp::from_millisecond(at).unwrap();
            let moment = moment.to_zoned(schedule.tz.clone());
            shown.push(moment.strftime("%m-%d %H:%M %:z").to_string());
        }
        shown
    }

    fn refusal(cron: &str, zone: &str) -> String {
        Schedule::new(cron, zone).unwrap_err()
    }

    #[test]
    fn the_hour_that_is_left_out_comes_at_its_end() {
        let vienna = |cron, count| moments(cron, "Europe/Vienna", "2026-03-28T11:00:00Z", count);
        for cron in ["30 2 * * *", "0 2 * * *", "59 2 * * *"] {
            let shown = vienna(cron, 2);
            assert_eq!(shown[0], "03-29 03:00 +02:00", "{cron}");
            assert!(shown[1].starts_with("03-30 02:"), "{cron}: {shown:?}");
        }
        // What else comes then comes once with it.
        assert_eq!(
            vienna("0,30 1-3 * * *", 5),
            [
                "03-29 01:00 +01:00",
                "03-29 01:30 +01:00",
                "03-29 03:00 +02:00",
                "03-29 03:30 +02:00",
                "03-30 01:00 +02:00"
            ]
        );
        assert_eq!(vienna("30 2 29 3 *", 1), ["03-29 03:00 +02:00"]);
        // Half an hour, and midnight.
        assert_eq!(
            moments(
                "29,35 2 * * *",
                "Australia/Lord_Howe",
                "2026-10-03T12:00:00Z",
                3
            ),
            [
                "10-04 02:30 +11:00",
                "10-04 02:35 +11:00",
                "10-05 02:29 +11:00"
            ]
        );
        assert_eq!(
            moments("0 0 * * *", "America/Santiago", "2026-09-05T12:00:00Z", 2),
            ["09-06 01:00 -03:00", "09-07 00:00 -03:00"]
        );
        // A whole day.
        assert_eq!(
            moments("0 9 * * *", "Pacific/Apia", "2011-12-29T12:00:00Z", 3),
            [
                "12-29 09:00 -10:00",
                "12-31 00:00 +14:00",
                "12-31 09:00 +14:00"
            ]
        );
    }

    #[test]
    fn the_hour_that_comes_twice_comes_in_the_first() {
        let vienna = |cron, count| moments(cron, "Europe/Vienna", "2026-10-24T22:00:00Z", count);
        assert_eq!(
            vienna("30 2 * * *", 2),
            ["10-25 02:30 +02:00", "10-26 02:30 +01:00"]
        );
        assert_eq!(
            vienna("*/30 2,3 * * *", 5),
            [
                "10-25 02:00 +02:00",
                "10-25 02:30 +02:00",
                "10-25 03:00 +01:00",
                "10-25 03:30 +01:00",
                "10-26 02:00 +01:00"
            ]
        );
        // Asked within the second.
        assert_eq!(
            moments("*/5 2 * * *", "Europe/Vienna", "2026-10-25T01:10:00Z", 1),
            ["10-26 02:00 +01:00"]
        );
        assert_eq!(
            moments(
                "40 1 * * *",
                "Australia/Lord_Howe",
                "2026-04-04T12:00:00Z",
                2
            ),
            ["04-05 01:40 +11:00", "04-06 01:40 +10:30"]
        );
    }

    #[test]
    fn every_hour_is_every_hour_that_passes() {
        for cron in ["30 * * * *", "30 */1 * * *", "30 0-23 * * *"] {
            assert_eq!(
                moments(cron, "Europe/Vienna", "2026-10-24T23:00:00Z", 4),
                [
                    "10-25 01:30 +02:00",
                    "10-25 02:30 +02:00",
                    "10-25 02:30 +01:00",
                    "10-25 03:30 +01:00"
                ]
            );
            assert_eq!(
                moments(cron, "Europe/Vienna", "2026-03-29T00:00:00Z", 2),
                ["03-29 01:30 +01:00", "03-29 03:30 +02:00"]
            );
        }
    }

    /// A minute at a time: whatever the clock on the wall shows or passes for the first time.
    #[test]
    fn it_is_as_somebody_who_watches_the_clock_would_say() {
        for (zone, from) in [
            ("Europe/Vienna", "2026-03-28T00:00:00Z"),
            ("Europe/Vienna", "2026-10-24T00:00:00Z"),
            ("Australia/Lord_Howe", "2026-10-03T00:00:00Z"),
            ("Australia/Lord_Howe", "2026-04-03T12:00:00Z"),
            ("America/Santiago", "2026-09-05T00:00:00Z"),
            ("Pacific/Apia", "2011-12-29T00:00:00Z"),
            ("Asia/Kathmandu", "2026-03-28T00:00:00Z"),
        ] {
            for (minutes, hours) in [
                (&[0][..], &[0][..]),
                (&[30], &[1, 2, 3]),
                (&[0, 15, 29, 31, 59], &[0, 1, 2, 3, 23]),
                (&[20, 40], &[2]),
            ] {
                let list = |numbers: &[i8]| {
                    let texts: Vec<_> = numbers.iter().map(i8::to_string).collect();
                    texts.join(",")
                };
                let cron = format!("{} {} * * *", list(minutes), list(hours));
                let schedule = schedule(&cron, zone);
                let begin: Timestamp = from.parse().unwrap();
                let mut seen = schedule.tz.to_datetime(begin);
                let mut expected = Vec::new();
                for minute in 1..3 * 24 * 60 {
                    let now = begin + i64::from(minute).minutes();
                    let shown = schedule.tz.to_datetime(now);
                    let mut is_tick = false;
                    while seen < shown {
                        seen += 1.minute();
                        is_tick |= minutes.contains(&seen.minute()) && hours.contains(&seen.hour());
                    }
                    if is_tick {
                        expected.push(now);
                    }
                }
                let mut at = begin;
                for moment in expected {
                    at = schedule.after(at).unwrap();
                    assert_eq!(at, moment, "{cron} in {zone}");
                }
            }
        }
    }

    #[test]
    fn months_end_when_they_end() {
        let utc = |cron, after, count| moments(cron, "UTC", after, count);
        let of_2027 = "2026-12-31T12:00:00Z";
        assert_eq!(
            utc("0 0 L * *", of_2027, 3),
            [
                "01-31 00:00 +00:00",
                "02-28 00:00 +00:00",
                "03-31 00:00 +00:00"
            ]
        );
        assert_eq!(
            utc("0 0 31 * *", of_2027, 3),
            [
                "01-31 00:00 +00:00",
                "03-31 00:00 +00:00",
                "05-31 00:00 +00:00"
            ]
        );
        let years = |cron, after: &str, count| {
            let schedule = schedule(cron, "UTC");
            let mut at: Timestamp = after.parse().unwrap();
            let mut years = Vec::new();
            for _ in 0..count {
                at = schedule.after(at).unwrap();
                years.push(TimeZone::UTC.to_datetime(at).year());
            }
            years
        };
        assert_eq!(years("0 0 29 2 *", of_2027, 3), [2028, 2032, 2036]);
        // 2100 is no leap year.
        assert_eq!(years("0 0 29 2 *", "2092-03-01T00:00:00Z", 2), [2096, 2104]);
    }

    #[test]
    fn what_is_no_schedule_is_refused_with_the_reason() {
        for (cron, why) in [
            ("0 0 31 2 *", "it has no moment in the next ten years"),
            ("0 0 30 2 *", "it has no moment in the next ten years"),
            (
                "0 0 31 4,6,9,11 *",
                "it has no moment in the next ten years",
            ),
            ("", "it has too few fields"),
            ("@daily", "it has too few fields"),
            ("0 9 * *", "it has 4 fields"),
            ("0 0 9 * * *", "it has 6 fields"),
            ("61 9 * * *", "must be in range 0..=59; found 61"),
            ("0 9 * * FOO", "malformed expression"),
            ("H 9 * * *", "malformed expression"),
            ("ä 9 * * *", "malformed expression"),
            ("5-1 9 * * *", "ascending order"),
            (&"1,".repeat(200), "it has more than 160 bytes"),
        ] {
            let refused = refusal(cron, "UTC");
            assert!(refused.contains(why), "{cron}: {refused}");
            assert!(refused.contains(" is no schedule such as"), "{refused}");
            assert!(!refused.contains('\n'), "{refused}");
        }
        for zone in [
            "Vienna",
            "",
            "Europe/Vienna ",
            "../etc/passwd",
            &"x".repeat(99),
        ] {
            let refused = refusal("0 9 * * *", zone);
            assert!(
                refused.contains(" is no time zone; one is called such as Europe/Vienna"),
                "{refused}"
            );
        }
    }

    #[test]
    fn what_is_stored_is_read() {
        let monday = schedule(" 0 9  * * mon ", "Europe/Vienna");
        assert_eq!(monday.to_string(), "0 9 * * mon Europe/Vienna");
        assert_eq!(Schedule::read(&monday.to_string()), Ok(monday));
        assert!(Schedule::read("").is_err());
        let shown = moments("0 9 * * MON", "Europe/Vienna", "2026-10-24T00:00:00Z", 2);
        assert_eq!(shown, ["10-26 09:00 +01:00", "11-02 09:00 +01:00"]);
    }
}
