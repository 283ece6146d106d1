//! The parts that the server's options are made of: numbers, pairs, kinds and modes.
//!
//! Each takes its text whole or not at all; which option it belongs to is settled in `table`.

use std::str::FromStr;

use super::values::{ValueError, parse_time};
use crate::id::ServiceNumber;
use crate::log::Durability;
use crate::wire::Kind;

pub(super) const LIMIT_EXPECTED: &str = "a number, or 0 for no limit";
pub(super) const TIMEOUT_EXPECTED: &str = "a time longer than 0, such as 500ms, 30s or 5min";

/// What was given where something else was expected.
pub(super) fn wrong(given: &str, expected: &'static str) -> ValueError {
    ValueError { given: given.to_owned(), expected }
}

/// Digits alone: `parse` would take a sign as well.
pub(super) fn number<N: FromStr>(text: &str) -> Option<N> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

/// Two numbers with a comma between them.
pub(super) fn pair(text: &str) -> Option<(u32, u32)> {
    let (one, other) = text.split_once(',')?;
    Some((number(one)?, number(other)?))
}

/// A number that an account can have.
pub(super) fn service_number(text: &str) -> Option<ServiceNumber> {
    number(text).map(ServiceNumber).filter(|number| *number >= ServiceNumber::FIRST)
}

/// `KIND=NUMBER`.
pub(super) fn service(text: &str) -> Option<(Kind, ServiceNumber)> {
    let (kind, number) = text.split_once('=')?;
    let kind = match kind {
        "fax" => Kind::Fax,
        "print" => Kind::Print,
        "chat" => Kind::Chat,
        _ => return None,
    };
    Some((kind, service_number(number)?))
}

/// `always`, `never` or `interval=TIME`.
pub(super) fn durability(text: &str) -> Option<Durability> {
    match text {
        "always" => Some(Durability::Always),
        "never" => Some(Durability::Never),
        _ => {
            let time_ms = parse_time(text.strip_prefix("interval=")?).ok()?;
            (time_ms > 0).then_some(Durability::Interval(time_ms))
        }
    }
}

/// Sets a time that must be longer than nothing.
pub(super) fn set_timeout(timeout_ms: &mut u64, text: &str) -> Result<(), ValueError> {
    let given = parse_time(text).ok().filter(|time_ms| *time_ms > 0);
    *timeout_ms = given.ok_or_else(|| wrong(text, TIMEOUT_EXPECTED))?;
    Ok(())
}

/// Sets a number of which 0 means that there is no limit.
pub(super) fn set_limit(limit: &mut u32, text: &str) -> Result<(), ValueError> {
    *limit = number(text).ok_or_else(|| wrong(text, LIMIT_EXPECTED))?;
    Ok(())
}
