//! Points in time as people write them on a command line.
//!
//! Owns the forms that are understood, for all commands alike. What the time is now it never asks.

use jiff::tz::TimeZone;
use jiff::{Timestamp, civil};
use oicq::id::UnixMillis;

/// What [`parse`] expects, for an error or a help page.
pub(crate) const FORMS: &str =
    "a date or time in UTC such as 2026-11-22, 2026-11-22 03:12 or 2026-11-22T03:12:00.250Z";

/// Reads RFC 3339; without an offset, a time or a date in UTC as everything that the tools show. A date is
/// its first moment.
pub(crate) fn parse(text: &str) -> Option<UnixMillis> {
    let time = text.parse::<Timestamp>().ok().or_else(|| {
        let civil = text.parse::<civil::DateTime>().ok()?;
        Some(civil.to_zoned(TimeZone::UTC).ok()?.timestamp())
    })?;
    u64::try_from(time.as_millisecond()).ok().map(UnixMillis)
}

/// The first millisecond and the last of what is meant: all of a day where it is a date, else a point.
pub(crate) fn parse_span(text: &str) -> Option<(UnixMillis, UnixMillis)> {
    let first = parse(text)?;
    let is_date = !text.contains(['T', 't', ' ', ':']);
    let last = if is_date { UnixMillis(first.0.saturating_add(DAY_MS - 1)) } else { first };
    Some((first, last))
}

const DAY_MS: u64 = 24 * 60 * 60 * 1_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_and_times_are_in_utc_unless_they_say_otherwise() {
        let day = 1_050_105_600_000; // 2003-04-12
        for (text, millis) in [
            ("2003-04-12", Some(day)),
            ("2003-04-12 08:30", Some(day + 30_600_000)),
            ("2003-04-12T08:30", Some(day + 30_600_000)),
            ("2003-04-12 08:30:01", Some(day + 30_601_000)),
            ("2003-04-12T08:30:01.382Z", Some(day + 30_601_382)),
            ("2003-04-12T08:30:01+08:00", Some(day + 1_801_000)),
            ("1970-01-01T00:00:00Z", Some(0)),
            ("1969-12-31", None),
            ("2003-02-30", None),
            ("08:30", None),
            ("yesterday", None),
            ("", None),
        ] {
            assert_eq!(parse(text), millis.map(UnixMillis), "{text}");
        }
    }

    #[test]
    fn a_date_is_a_day_and_a_time_is_a_point() {
        let day = 1_050_105_600_000; // 2003-04-12
        let span = |text| parse_span(text).map(|(first, last)| (first.0 - day, last.0 - day));
        assert_eq!(span("2003-04-12"), Some((0, 86_399_999)));
        for text in ["2003-04-12T00:00", "2003-04-12 00:00:00", "2003-04-12T00:00:00.000Z"] {
            assert_eq!(span(text), Some((0, 0)), "{text}");
        }
        assert_eq!(span("yesterday"), None);
    }
}
