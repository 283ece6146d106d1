//! How a command ends when it does not simply end: the words on standard error and the exit status.
//!
//! Owns the mapping from outcome to status, for all commands alike. It never decides what is a failure.

use std::fmt::Display;
use std::io::{self, Write as _};
use std::process::ExitCode;

/// Why a command did not do what it was asked for.
#[derive(Debug)]
pub(crate) enum Failure {
    /// It was called wrongly: which option, and what was expected. Status 2.
    Usage(String),
    /// It failed: what, where, and what to do. Status 1.
    Failed(String),
    /// Nobody reads the output any more, which is no failure. Status 0.
    ClosedPipe,
}

impl Failure {
    /// A wrong value of an option.
    pub(crate) fn option(name: &str, error: impl Display) -> Self {
        Self::Usage(format!("{name}: {error}"))
    }

    /// The system refused to do something with a file or a folder.
    pub(crate) fn cannot(doing: &str, what: impl Display, error: &io::Error) -> Self {
        Self::Failed(format!("cannot {doing} {what}: {error}; {}", remedy(error)))
    }

    /// What a failed write to standard output means.
    pub(crate) fn output(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::ClosedPipe,
            _ => Self::Failed(format!("cannot write to standard output: {error}")),
        }
    }

    /// What there is to say, for a command that goes on.
    pub(crate) fn words(self) -> String {
        match self {
            Self::Usage(words) | Self::Failed(words) => words,
            Self::ClosedPipe => String::new(),
        }
    }

    /// Says it on standard error, in one line, and gives the exit status.
    pub(crate) fn report(self) -> ExitCode {
        let (line, status) = match self {
            Self::Usage(line) => (format!("{line}; --help shows how it is called"), 2),
            Self::Failed(line) => (line, 1),
            Self::ClosedPipe => return ExitCode::SUCCESS,
        };
        tell(line);
        ExitCode::from(status)
    }
}

/// What to do where the system refused something with a file or a folder.
pub(crate) fn remedy(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory | io::ErrorKind::IsADirectory => {
            "is the path the right one?"
        }
        io::ErrorKind::PermissionDenied => "run this as the user that it belongs to",
        io::ErrorKind::StorageFull => "make room on the disk, and run this again",
        io::ErrorKind::QuotaExceeded => "make room within the quota, and run this again",
        io::ErrorKind::ReadOnlyFilesystem => "name a place that can be written to",
        _ => "the system's own log may say more; see to the disk, and run this again",
    }
}

impl From<lexopt::Error> for Failure {
    fn from(error: lexopt::Error) -> Self {
        Self::Usage(match error {
            lexopt::Error::UnexpectedOption(option) => format!("{option}: there is no such option"),
            lexopt::Error::UnexpectedArgument(value) => {
                format!("{value:?} is one argument too many, expected an option or nothing")
            }
            lexopt::Error::UnexpectedValue { option, value } => {
                format!("{option}: it takes no value, {value:?} was given")
            }
            lexopt::Error::MissingValue { option: Some(option) } => {
                format!("{option}: expected a value behind it")
            }
            lexopt::Error::NonUnicodeValue(value) => format!("{value:?} was given, expected text"),
            other => other.to_string(),
        })
    }
}

/// Says something on standard error, in one line. Whether anybody reads it changes nothing.
pub(crate) fn tell(words: impl Display) {
    let _ = writeln!(io::stderr(), "oicq-tools: {words}");
}

/// Writes a page or a line to standard output.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(|e| Failure::output(&e))
}
