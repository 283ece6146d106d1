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
}
