//! What the server is called with: the command line and the config file, read into a plain struct.
//!
//! Owns the order in which they count, and the errors with their exit status. What each option takes is in
//! `table`. It never acts on an option: it opens nothing but the config file.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use lexopt::Arg;

use super::settings::Options;
use super::table::{Draft, FLAGS, Flag, Take, page};
use super::values::ValueError;

/// What the program was called for.
#[derive(Debug)]
pub enum Command {
    /// Show this page.
    Help(String),
    /// Say the version.
    Version,
    /// Serve.
    Serve(Box<Serve>),
}

/// What to serve with.
#[derive(Clone, Debug, Default)]
pub struct Serve {
    /// The server's options.
    pub options: Options,
    /// How much more than warnings is said on standard error.
    pub verbose: u8,
}

/// Why the program cannot do what it was called for.
#[derive(Debug)]
pub enum OptionError {
    /// It was called wrongly.
    Usage {
        /// Where the wrong option stands.
        origin: Origin,
        /// What is wrong.
        wrong: Wrong,
    },
    /// The config file cannot be read.
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
}

/// Where an option stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Origin {
    /// On the command line.
    CommandLine,
    /// In a config file.
    File {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
    },
}

/// What is wrong with an option.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Wrong {
    /// There is no such option.
    Unknown(String),
    /// It needs a value and has none.
    NoValue {
        /// The option.
        option: &'static str,
        /// What its value is called.
        value: &'static str,
    },
    /// It takes no value and has one.
    TakesNoValue(&'static str),
    /// Its value is another than expected.
    Value {
        /// The option.
        option: &'static str,
        /// What was given and what was expected.
        error: ValueError,
    },
    /// Something that is no option.
    Argument(String),
    /// It cannot stand in a config file.
    NotInFile(&'static str),
}

impl OptionError {
    /// The exit status that goes with it.
    #[must_use]
    pub const fn status(&self) -> u8 {
        match self {
            Self::Usage { .. } => 2,
            Self::File { .. } => 1,
        }
    }
}

/// Reads the command line, without the program's name, and the config file that it names.
pub fn parse(
    args: impl IntoIterator<Item = OsString>,
    terminal_width: usize,
) -> Result<Command, OptionError> {
    let here = |wrong| OptionError::Usage { origin: Origin::CommandLine, wrong };
    let line = match read_command_line(args).map_err(here)? {
        CommandLine::Help => return Ok(Command::Help(page().render(terminal_width))),
        CommandLine::Version => return Ok(Command::Version),
        CommandLine::Options(line) => line,
    };
    let mut draft = Draft::default();
    if let Some(path) = &line.config {
        read_file(path, &mut draft)?;
    }
    draft.begin_origin();
    for (flag, value) in line.given {
        set(&mut draft, flag, value).map_err(here)?;
    }
    Ok(Command::Serve(Box::new(draft.serve)))
}

enum CommandLine {
    Help,
    Version,
    Options(Line),
}

/// The options of a command line, in order.
#[derive(Default)]
struct Line {
    config: Option<PathBuf>,
    given: Vec<(&'static Flag, Option<OsString>)>,
}

fn read_command_line(args: impl IntoIterator<Item = OsString>) -> Result<CommandLine, Wrong> {
    let mut parser = lexopt::Parser::from_args(args);
    let mut line = Line::default();
    while let Some(arg) = parser.next().map_err(|error| wrong_argument(&error))? {
        let flag = match arg {
            Arg::Long(name) => find(name).ok_or_else(|| Wrong::Unknown(format!("--{name}")))?,
            Arg::Short(letter) => {
                let known = FLAGS.iter().find(|flag| flag.short == Some(letter));
                known.ok_or_else(|| Wrong::Unknown(format!("-{letter}")))?
            }
            Arg::Value(value) => return Err(Wrong::Argument(value.to_string_lossy().into_owned())),
        };
        match flag.take {
            Take::Help | Take::Version => {
                // A value behind `--help=` would only be complained about with the next argument.
                if let Err(error @ lexopt::Error::UnexpectedValue { .. }) = parser.next() {
                    return Err(wrong_argument(&error));
                }
                let help = matches!(flag.take, Take::Help);
                return Ok(if help { CommandLine::Help } else { CommandLine::Version });
            }
            Take::Config => line.config = Some(take_value(&mut parser, flag)?.into()),
            Take::Flag(_) => line.given.push((flag, None)),
            Take::Value(..) | Take::Path(_) => {
                let value = take_value(&mut parser, flag)?;
                line.given.push((flag, Some(value)));
            }
        }
    }
    Ok(CommandLine::Options(line))
}

/// The option's value: behind `=`, or the next argument unless that is an option itself.
fn take_value(parser: &mut lexopt::Parser, flag: &'static Flag) -> Result<OsString, Wrong> {
    if let Some(value) = parser.optional_value() {
        return Ok(value);
    }
    let missing = || Wrong::NoValue { option: flag.long, value: flag.value };
    let value = parser.value().map_err(|_| missing())?;
    let is_option = value.len() > 1 && value.as_bytes().starts_with(b"-");
    if is_option { Err(missing()) } else { Ok(value) }
}

fn wrong_argument(error: &lexopt::Error) -> Wrong {
    match error {
        lexopt::Error::UnexpectedValue { option, .. } => {
            let name = option.trim_start_matches('-');
            let short = |flag: &&Flag| flag.short.is_some_and(|letter| name == letter.to_string());
            match find(name).or_else(|| FLAGS.iter().find(short)) {
                Some(flag) => Wrong::TakesNoValue(flag.long),
                None => Wrong::Unknown(option.clone()),
            }
        }
        other => Wrong::Argument(other.to_string()),
    }
}

fn find(long: &str) -> Option<&'static Flag> {
    FLAGS.iter().find(|flag| flag.long == long)
}

fn set(draft: &mut Draft, flag: &'static Flag, value: Option<OsString>) -> Result<(), Wrong> {
    draft.begin_option(flag);
    let missing = Wrong::NoValue { option: flag.long, value: flag.value };
    let named = |error| Wrong::Value { option: flag.long, error };
    match (&flag.take, value) {
        (Take::Flag(set), None) => {
            set(draft);
            Ok(())
        }
        (Take::Value(set, expected), Some(value)) => {
            let unreadable =
                || ValueError { given: value.to_string_lossy().into_owned(), expected };
            let text = value.to_str().ok_or_else(unreadable).map_err(named)?;
            set(draft, text).map_err(named)
        }
        (Take::Path(set), Some(value)) if !value.is_empty() => {
            set(draft, value);
            Ok(())
        }
        (Take::Flag(_), Some(_)) => Err(Wrong::TakesNoValue(flag.long)),
        (Take::Value(..) | Take::Path(_), _) => Err(missing),
        (Take::Help | Take::Version | Take::Config, _) => Err(Wrong::NotInFile(flag.long)),
    }
}

fn read_file(path: &Path, draft: &mut Draft) -> Result<(), OptionError> {
    let content =
        fs::read(path).map_err(|error| OptionError::File { path: path.to_owned(), error })?;
    draft.begin_origin();
    for (at, line) in content.split(|byte| *byte == b'\n').enumerate() {
        read_line(line, draft).map_err(|wrong| OptionError::Usage {
            origin: Origin::File { path: path.to_owned(), line: at + 1 },
            wrong,
        })?;
    }
    Ok(())
}

/// One line of a config file: `--name value`, `--name=value`, `--name`, or nothing.
fn read_line(line: &[u8], draft: &mut Draft) -> Result<(), Wrong> {
    let line = without_comment(line).trim_ascii();
    if line.is_empty() {
        return Ok(());
    }
    let text = || String::from_utf8_lossy(line).into_owned();
    let option = line.strip_prefix(b"--").ok_or_else(|| Wrong::Argument(text()))?;
    let end = option.iter().position(|byte| *byte == b'=' || byte.is_ascii_whitespace());
    let (name, value) = match end {
        Some(end) => (&option[..end], Some(option[end + 1..].trim_ascii())),
        None => (option, None),
    };
    let name = OsStr::from_bytes(name).to_string_lossy();
    let flag = find(&name).ok_or_else(|| Wrong::Unknown(format!("--{name}")))?;
    set(draft, flag, value.map(|value| OsString::from_vec(value.to_vec())))
}

/// A comment begins with a `#` at the start of the line or behind a blank.
fn without_comment(line: &[u8]) -> &[u8] {
    let begins = |at: &usize| {
        line[*at] == b'#' && at.checked_sub(1).is_none_or(|at| line[at].is_ascii_whitespace())
    };
    let end = (0..line.len()).find(begins).unwrap_or(line.len());
    &line[..end]
}

impl fmt::Display for OptionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage { origin: Origin::CommandLine, wrong } => {
                write!(f, "{wrong} (oicqd -h lists the options)")
            }
            Self::Usage { origin: Origin::File { path, line }, wrong } => {
                write!(f, "{}:{line}: {wrong}", path.display())
            }
            Self::File { path, error } => {
                let path = path.display();
                write!(
                    f,
                    "cannot read the config file {path}: {error}; name another behind --config, or none"
                )
            }
        }
    }
}

impl std::error::Error for OptionError {}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown(option) => write!(f, "{option}: there is no such option"),
            Self::NoValue { option, value } => write!(f, "--{option}: expected {value} behind it"),
            Self::TakesNoValue(option) => write!(f, "--{option}: takes no value"),
            Self::Value { option, error } => write!(f, "--{option}: {error}"),
            Self::Argument(text) => write!(f, "{text:?} was given, expected an option"),
            Self::NotInFile(option) => write!(f, "--{option}: only for the command line"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::log::Durability;

    fn command(args: &[&str]) -> Result<Command, OptionError> {
        parse(args.iter().map(OsString::from), 80)
    }

    fn serve(args: &[&str]) -> Serve {
        match command(args) {
            Ok(Command::Serve(serve)) => *serve,
            other => panic!("{args:?}: {other:?}"),
        }
    }

    fn wrong(args: &[&str]) -> String {
        let error = command(args).unwrap_err();
        assert_eq!(error.status(), 2, "{args:?}");
        let line = error.to_string();
        assert!(!line.contains('\n'));
        line
    }

    fn config(content: &[u8]) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(content).unwrap();
        file
    }

    #[test]
    fn of_an_option_that_is_given_twice_the_last_counts_and_flags_add_up() {
        let serve = serve(&["-d", "a", "--data=b", "-vv", "--verbose", "--idle-timeout", "2s"]);
        assert_eq!(serve.options.data, PathBuf::from("b"));
        assert_eq!(serve.verbose, 3);
        assert_eq!(serve.options.timeouts.idle_ms, 2_000);
    }

    #[test]
    fn a_value_can_be_attached_and_an_option_is_no_value() {
        assert_eq!(serve(&["-dx"]).options.data, PathBuf::from("x"));
        assert_eq!(serve(&["--data=--x"]).options.data, PathBuf::from("--x"));
        assert!(wrong(&["--data", "--help"]).starts_with("--data: expected DIR behind it"));
        assert!(wrong(&["--data"]).starts_with("--data: expected DIR behind it"));
        assert!(wrong(&["--data="]).starts_with("--data: expected DIR behind it"));
        assert!(wrong(&["--verbose=5"]).starts_with("--verbose: takes no value"));
        assert!(wrong(&["--help=5"]).starts_with("--help: takes no value"));
    }

    #[test]
    fn what_is_no_option_is_named() {
        assert!(wrong(&["--port", "80"]).starts_with("--port: there is no such option"));
        assert!(wrong(&["-x"]).starts_with("-x: there is no such option"));
        assert!(wrong(&["data"]).starts_with("\"data\" was given, expected an option"));
        let line = wrong(&["--idle-timeout", "30"]);
        assert!(line.starts_with("--idle-timeout: \"30\" was given, expected a time"), "{line}");
    }

    #[test]
    fn help_and_version_are_answered_whatever_else_there_is() {
        assert!(matches!(command(&["-V"]), Ok(Command::Version)));
        assert!(matches!(command(&["-v", "--version"]), Ok(Command::Version)));
        let Ok(Command::Help(page)) = command(&["-h", "--nonsense"]) else { panic!("no help") };
        for flag in FLAGS {
            assert!(page.contains(&format!("--{}", flag.long)), "{}", flag.long);
        }
        assert!(page.lines().all(|line| line.len() <= 80));
        for default in ["[127.0.0.1:8000]", "[data/store]", "[64MiB]", "[19456,2]", "[180s]"] {
            assert!(page.contains(default), "{default}");
        }
    }

    #[test]
    fn a_file_gives_options_and_the_command_line_wins() {
        let file = config(
            b"# the house's server\n\n--data /srv/oicq # where it lies\n--listen=[::1]:1\r\n\
              --listen 127.0.0.1:2\n  --durability interval=20ms\n--verbose\n--operator 10001\n",
        );
        let path = file.path().to_str().unwrap();
        let from_file = serve(&["-c", path]);
        assert_eq!(from_file.options.data, PathBuf::from("/srv/oicq"));
        assert_eq!(from_file.options.durability, Durability::Interval(20));
        assert_eq!(from_file.options.listen.len(), 2);
        assert_eq!((from_file.verbose, from_file.options.settings.operators.len()), (1, 1));

        let both = serve(&["--listen", "127.0.0.1:3", "-c", path, "-d", "here"]);
        assert_eq!(both.options.listen, ["127.0.0.1:3".parse().unwrap()]);
        assert_eq!(both.options.data, PathBuf::from("here"));
        assert_eq!(both.options.durability, Durability::Interval(20));
    }

    #[test]
    fn an_error_in_a_file_names_file_and_line() {
        for (content, says) in [
            ("\n--listen nowhere\n", ":2: --listen: \"nowhere\" was given, expected "),
            ("--port 1", ":1: --port: there is no such option"),
            ("listen 127.0.0.1:1", ":1: \"listen 127.0.0.1:1\" was given, expected an option"),
            ("--help", ":1: --help: only for the command line"),
            ("--config other", ":1: --config: only for the command line"),
            ("--verbose 3", ":1: --verbose: takes no value"),
            ("#\n#\n--data", ":3: --data: expected DIR behind it"),
            ("--charset \u{FF}", ":1: --charset: "),
        ] {
            let bytes: Vec<u8> = content.chars().map(|c| u8::try_from(c).unwrap()).collect();
            let file = config(&bytes);
            let path = file.path().to_str().unwrap();
            let line = wrong(&["-c", path]);
            assert!(line.starts_with(&format!("{path}{says}")), "{line}");
        }
    }

    #[test]
    fn a_file_that_is_not_there_is_no_wrong_call() {
        let error = command(&["-c", "/nonexistent/oicqd.conf"]).unwrap_err();
        assert_eq!(error.status(), 1);
        assert!(error.to_string().contains("/nonexistent/oicqd.conf"));
    }
}
