//! What the commands' options have in common.

use std::ffi::OsString;
use std::fmt::{Debug, Display};
use std::path::PathBuf;
use std::str::FromStr;

use lexopt::{Arg, Parser};

use oicq::cli::page::{Page, terminal_width};

use crate::failure::{Failure, print};

/// How results are printed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Format {
    /// For people.
    Text,
    /// One object a line.
    Json,
}

impl Format {
    /// Reads the value of `--format`.
    pub(crate) fn taken(parser: &mut Parser) -> Result<Self, Failure> {
        let expected = "text or json";
        match &*text(parser, "--format", expected)? {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            other => Err(not_expected("--format", other, expected)),
        }
    }
}

/// Prints what `-h` or `-V` asks for. Neither takes a value.
pub(crate) fn answer(parser: &mut Parser, text: &str) -> Result<(), Failure> {
    match parser.optional_value() {
        Some(value) => Err(Failure::Usage(format!("{value:?}: -h and -V take no value"))),
        None => print(text),
    }
}

/// What `-V` prints.
pub(crate) const VERSION: &str = concat!("oicq-tools ", env!("CARGO_PKG_VERSION"), "\n");

/// Reads what a command takes that knows a folder and `--format` alone; `None` where its page or the version
/// was asked for, and printed.
pub(crate) fn folder_and_format(
    parser: &mut Parser,
    page: impl FnOnce() -> Page,
) -> Result<Option<(PathBuf, Format)>, Failure> {
    let places = ["DIR, the folder of a log"];
    let taken = places_and_format(parser, page, "DIR", places, |_| false)?;
    Ok(taken.map(|([folder], format)| (folder, format)))
}

/// Reads what a command takes that knows places, called so in its errors, `--format`, and flags of its own, which
/// `flag` takes by their long names; `None` where its page or the version was asked for, and printed.
pub(crate) fn places_and_format<const N: usize>(
    parser: &mut Parser,
    page: impl FnOnce() -> Page,
    all: &str,
    places: [&str; N],
    mut flag: impl FnMut(&str) -> bool,
) -> Result<Option<([PathBuf; N], Format)>, Failure> {
    let mut values = [const { None::<OsString> }; N];
    let mut format = Format::Text;
    while let Some(arg) = parser.next()? {
        match arg {
            Arg::Short('h') | Arg::Long("help") => {
                return answer(parser, &page().render(terminal_width())).map(|()| None);
            }
            Arg::Short('V') | Arg::Long("version") => {
                return answer(parser, VERSION).map(|()| None);
            }
            Arg::Long("format") => format = Format::taken(parser)?,
            Arg::Long(name) if flag(name) => {}
            Arg::Value(value) => {
                let at = values.iter().position(Option::is_none).unwrap_or(N - 1);
                positional(&mut values[at], value, all)?;
            }
            other => return Err(other.unexpected().into()),
        }
    }
    let mut taken = [const { PathBuf::new() }; N];
    for ((taken, value), place) in taken.iter_mut().zip(values).zip(places) {
        *taken = required(value, place)?.into();
    }
    Ok(Some((taken, format)))
}

/// The value of an option, read as a number.
pub(crate) fn parsed<T: FromStr>(
    parser: &mut Parser,
    name: &str,
    expected: &str,
) -> Result<T, Failure> {
    let value = text(parser, name, expected)?;
    value.parse().map_err(|_| not_expected(name, value, expected))
}

/// The value of an option, of which this is expected: behind `=`, or the next argument unless that is an option
/// itself.
pub(crate) fn value(
    parser: &mut Parser,
    name: &str,
    expected: impl Display,
) -> Result<OsString, Failure> {
    if let Some(value) = parser.optional_value() {
        return Ok(value);
    }
    let missing = || Failure::option(name, format!("expected {expected} behind it"));
    let value = parser.value().map_err(|_| missing())?;
    let bytes = value.as_encoded_bytes();
    let is_option =
        bytes.first() == Some(&b'-') && bytes.get(1).is_some_and(|it| !it.is_ascii_digit());
    if is_option { Err(missing()) } else { Ok(value) }
}

/// The same, as text.
pub(crate) fn text(
    parser: &mut Parser,
    name: &str,
    expected: impl Display,
) -> Result<String, Failure> {
    let value = value(parser, name, &expected)?;
    value.into_string().map_err(|value| not_expected(name, value, expected))
}

/// The value of an option is another than what was expected.
pub(crate) fn not_expected(name: &str, value: impl Debug, expected: impl Display) -> Failure {
    Failure::option(name, format!("{value:?} was given, expected {expected}"))
}

/// Names of which one is expected, in words.
pub(crate) fn one_of(names: impl Iterator<Item = &'static str>) -> String {
    let names: Vec<_> = names.collect();
    match names.split_last() {
        Some((last, [])) => (*last).to_owned(),
        Some((last, others)) => format!("{} or {last}", others.join(", ")),
        None => String::new(),
    }
}

/// Takes an argument that may stand once.
pub(crate) fn positional(
    slot: &mut Option<OsString>,
    value: OsString,
    name: &str,
) -> Result<(), Failure> {
    match slot {
        Some(_) => Err(Failure::Usage(format!("{value:?} is one argument too many after {name}"))),
        None => {
            *slot = Some(value);
            Ok(())
        }
    }
}

/// An argument that may not be missing.
pub(crate) fn required(slot: Option<OsString>, what: &str) -> Result<OsString, Failure> {
    slot.ok_or_else(|| Failure::Usage(format!("an argument is missing, expected {what}")))
}
