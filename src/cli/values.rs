//! Sizes and times as they are written on the command line and in config files: `64MiB`, `30s`.
//!
//! Owns how they are read and how they are shown, so that what is shown can be given again. It never
//! judges whether a value is sensible: whoever wants it knows its range.

use std::fmt;

/// The text is no value of the kind that was expected.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ValueError {
    /// What was given.
    pub given: String,
    /// What was expected, in words that end a sentence.
    pub expected: &'static str,
}

impl fmt::Display for ValueError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} was given, expected {}", self.given, self.expected)
    }
}

impl std::error::Error for ValueError {}

const SIZE: &str = "a size such as 4096, 64KiB, 64MiB or 1GiB";
const TIME: &str = "a time with its unit, such as 500ms, 30s or 5min";

/// Units from the largest to the smallest, so that the first one that divides a value shows it shortest.
const SIZE_UNITS: [(&str, u64); 3] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
const TIME_UNITS: [(&str, u64); 3] = [("min", 60_000), ("ms", 1), ("s", 1_000)];

/// Below this, times are shown in seconds: people compare 30s with 180s, not with 3min.
const SHOWN_IN_SECONDS_MS_MAX: u64 = 5 * 60_000;

/// Reads a size in bytes: a whole number, alone or with `KiB`, `MiB` or `GiB`.
pub fn parse_size(text: &str) -> Result<u64, ValueError> {
    let (digits, factor) = split_unit(text, &SIZE_UNITS).unwrap_or((text, 1));
    product(digits, factor).ok_or_else(|| ValueError { given: text.to_owned(), expected: SIZE })
}

/// Reads a time and answers it in milliseconds: a whole number with `ms`, `s` or `min`.
pub fn parse_time(text: &str) -> Result<u64, ValueError> {
    split_unit(text, &TIME_UNITS)
        .and_then(|(digits, factor)| product(digits, factor))
        .ok_or_else(|| ValueError { given: text.to_owned(), expected: TIME })
}

/// A size as [`parse_size`] reads it, in the largest unit that shows it exactly.
#[must_use]
pub fn show_size(bytes: u64) -> String {
    SIZE_UNITS
        .iter()
        .find(|(_, factor)| bytes >= *factor && bytes.is_multiple_of(*factor))
        .map_or_else(|| bytes.to_string(), |(unit, factor)| format!("{}{unit}", bytes / factor))
}

/// A time as [`parse_time`] reads it, in the unit that people would say.
#[must_use]
pub fn show_time(time_ms: u64) -> String {
    if time_ms >= SHOWN_IN_SECONDS_MS_MAX && time_ms.is_multiple_of(60_000) {
        format!("{}min", time_ms / 60_000)
    } else if time_ms.is_multiple_of(1_000) {
        format!("{}s", time_ms / 1_000)
    } else {
        format!("{time_ms}ms")
    }
}

fn split_unit<'a>(text: &'a str, units: &[(&str, u64)]) -> Option<(&'a str, u64)> {
    units.iter().find_map(|(unit, factor)| Some((text.strip_suffix(unit)?, *factor)))
}

/// Digits alone: `str::parse` would take a sign as well.
fn product(digits: &str, factor: u64) -> Option<u64> {
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    digits.parse::<u64>().ok()?.checked_mul(factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_bytes_unless_they_have_a_unit() {
        for (text, bytes) in [
            ("0", 0),
            ("4096", 4_096),
            ("64KiB", 65_536),
            ("64MiB", 64 << 20),
            ("3GiB", 3 << 30),
            ("18446744073709551615", u64::MAX),
        ] {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
        for text in ["", "KiB", "64kb", "64 MiB", "+1", "-1", "1.5MiB", "17179869184GiB", "1B"] {
            assert!(parse_size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn times_need_a_unit() {
        for (text, time_ms) in
            [("0s", 0), ("500ms", 500), ("30s", 30_000), ("180s", 180_000), ("15min", 900_000)]
        {
            assert_eq!(parse_time(text), Ok(time_ms), "{text}");
        }
        for text in ["", "30", "s", "30 s", "-1s", "1h", "1.5s", "18446744073709551615min"] {
            assert!(parse_time(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_shown_can_be_given_again() {
        for bytes in [0, 1, 1_023, 1_024, 1_025, 65_536, 1 << 20, 64 << 20, 5 << 30, u64::MAX] {
            assert_eq!(parse_size(&show_size(bytes)), Ok(bytes));
        }
        for time_ms in [0, 1, 999, 1_000, 1_500, 30_000, 180_000, 300_000, 900_000, u64::MAX] {
            assert_eq!(parse_time(&show_time(time_ms)), Ok(time_ms));
        }
        assert_eq!(show_size(64 << 20), "64MiB");
        assert_eq!(show_size(1_000), "1000");
        assert_eq!(show_time(180_000), "180s");
        assert_eq!(show_time(900_000), "15min");
    }

    #[test]
    fn an_error_names_what_was_given_and_what_was_expected() {
        let error = parse_time("30").unwrap_err().to_string();
        assert_eq!(
            error,
            "\"30\" was given, expected a time with its unit, such as 500ms, 30s or 5min"
        );
    }
}
