//! `oicq-tools client`: options, connecting, and the threads that the client is made of.
//!
//! Owns the command line of the client. What it does once it runs stands in `client/`.

mod clock;
mod commands;
mod connection;
mod events;
mod extensions;
mod fields;
mod files;
mod help;
mod input;
pub(crate) mod offline;
mod output;
mod reconnect;
mod replies;
mod run;
mod secrecy;
mod seen;
mod session;
#[cfg(test)]
mod testing;
mod view;
mod words;

use std::fs::File;
use std::io::{self, IsTerminal as _, Read as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::mpsc::sync_channel;

use lexopt::{Arg, ValueExt as _};
use oicq::cli::core_dumps;
use oicq::cli::page::{Page, Row, terminal_width};
use oicq::cli::values::{parse_time, show_time};
use oicq::codec::charset::Charset;
use oicq::codec::secret::SecretBuf;
use oicq::id::ServiceNumber;
use oicq::wire::Kind;
use oicq::wire::server::Extensions;
use zeroize::Zeroizing;

use crate::echo;
use crate::ending;
use crate::failure::Failure;
use crate::options::{VERSION, answer, text, value};
use commands::Command;
use output::Output;
use run::{Runner, Settings, State};
use session::{Session, Setup};

/// What follows the command's name.
pub(crate) const ARGUMENTS: &str = "ADDR";
/// What the command does.
pub(crate) const ABOUT: &str = "a client for the terminal, and for scripts";

/// Inputs that may wait for the main thread: beyond it the socket's backpressure does the rest.
const INPUTS_WAITING: usize = 64;
/// How long a `wait` waits, unless told otherwise.
const WAIT_MS: u64 = 10_000;
/// How long people's clients try to come back, unless told otherwise. A script is told what has happened.
const RECONNECT_MS: u64 = 600_000;

/// What the command line says.
#[derive(Debug)]
struct Options {
    server: String,
    charset: Charset,
    downloads: PathBuf,
    number: Option<ServiceNumber>,
    hidden: bool,
    password_file: Option<PathBuf>,
    script: bool,
    kind: Kind,
    window: usize,
    wait_ms: u64,
    reconnect_ms: Option<u64>,
    extensions: Extensions,
}

/// What the command line asks for.
enum Call {
    Help,
    Version,
    Run(Box<Options>),
}

/// Reads the rest of the command line, and runs the client.
pub(crate) fn run(parser: &mut lexopt::Parser) -> Result<(), Failure> {
    match parse(parser)? {
        Call::Help => answer(parser, &page().render(terminal_width())),
        Call::Version => answer(parser, VERSION),
        Call::Run(options) => start(*options),
    }
}

fn parse(parser: &mut lexopt::Parser) -> Result<Call, Failure> {
    let mut server = None;
    let mut options = Options {
        server: String::new(),
        charset: Charset::default(),
        downloads: PathBuf::from("."),
        number: None,
        hidden: false,
        password_file: None,
        script: false,
        kind: Kind::User,
        window: 1,
        wait_ms: WAIT_MS,
        reconnect_ms: None,
        extensions: Extensions::ALL,
    };
    while let Some(argument) = parser.next()? {
        match argument {
            Arg::Short('h') | Arg::Long("help") => return Ok(Call::Help),
            Arg::Short('V') | Arg::Long("version") => return Ok(Call::Version),
            Arg::Long("charset") => {
                options.charset = read(parser, "--charset", "utf-8 or gb18030", charset_of)?;
            }
            Arg::Long("downloads") => {
                options.downloads = value(parser, "--downloads", "DIR, a folder")?.into()
            }
            Arg::Short('n') | Arg::Long("number") => {
                options.number =
                    Some(read(parser, "--number", "a service number such as 10001", number_of)?);
            }
            Arg::Long("hidden") => options.hidden = true,
            Arg::Long("password-file") => {
                options.password_file = Some(value(parser, "--password-file", "FILE")?.into());
            }
            Arg::Long("script") => options.script = true,
            Arg::Long("kind") => {
                options.kind = read(parser, "--kind", "user, web, fax, print or chat", kind_of)?
            }
            Arg::Long("pipeline") => {
                options.window = read(parser, "--pipeline", "a number from 1 to 10000", window_of)?
            }
            Arg::Long("wait") => {
                options.wait_ms = read(parser, "--wait", "a time such as 5s", time_of)?
            }
            Arg::Long("reconnect") => {
                options.reconnect_ms =
                    Some(read(parser, "--reconnect", "a time such as 5s", time_of)?);
            }
            Arg::Long("extensions") => {
                options.extensions = read(
                    parser,
                    "--extensions",
                    "all, none, or some of results,ids,presence",
                    extensions::parse_list,
                )?;
            }
            Arg::Value(address) if server.is_none() => server = Some(address.string()?),
            other => return Err(other.unexpected().into()),
        }
    }
    options.server = server
        .ok_or_else(|| Failure::Usage("ADDR is missing, expected one as 127.0.0.1:8000".into()))?;
    Ok(Call::Run(Box::new(options)))
}

/// An option's value, or an error that names the option.
fn read<T>(
    parser: &mut lexopt::Parser,
    name: &str,
    expected: &str,
    read: impl FnOnce(&str) -> Result<T, String>,
) -> Result<T, Failure> {
    read(&text(parser, name, expected)?).map_err(|error| Failure::option(name, error))
}

fn charset_of(text: &str) -> Result<Charset, String> {
    Charset::from_name(text).ok_or_else(|| format!("{text:?} was given, expected utf-8 or gb18030"))
}

fn number_of(text: &str) -> Result<ServiceNumber, String> {
    let number = text.parse().ok().filter(|number| *number > 0).map(ServiceNumber);
    number.ok_or_else(|| format!("{text:?} was given, expected a service number such as 10001"))
}

fn time_of(text: &str) -> Result<u64, String> {
    parse_time(text).map_err(|error| error.to_string())
}

fn window_of(text: &str) -> Result<usize, String> {
    let window = text.parse().ok().filter(|window| (1..=10_000).contains(window));
    window.ok_or_else(|| format!("{text:?} was given, expected a number from 1 to 10000"))
}

fn kind_of(text: &str) -> Result<Kind, String> {
    const KINDS: [(&str, Kind); 5] = [
        ("user", Kind::User),
        ("web", Kind::Web),
        ("fax", Kind::Fax),
        ("print", Kind::Print),
        ("chat", Kind::Chat),
    ];
    let known = KINDS.iter().find(|(name, _)| *name == text).map(|(_, kind)| *kind);
    known.ok_or_else(|| format!("{text:?} was given, expected user, web, fax, print or chat"))
}

fn page() -> Page {
    Page::new("oicq-tools client [OPTIONS] ADDR")
        .about(
            "Talks to the server at ADDR (HOST:PORT). On a terminal one types commands and sees what comes \
             in. Otherwise commands are read from standard input, one a line, and each event is one line \
             on standard output.",
        )
        .section(
            "Options",
            vec![
                Row::new("-n, --number NUMBER", "log in as this user at once"),
                Row::new("    --hidden", "log in hidden"),
                Row::new(
                    "    --password-file FILE",
                    "its first line is the password of every login and registration without one",
                ),
                Row::new("    --downloads DIR", "where received files go").or("."),
                Row::new("    --charset NAME", "the server's: utf-8 or gb18030").or("utf-8"),
                Row::new("    --script", "read a script, even from a terminal"),
                Row::new("    --pipeline N", "commands under way at once in a script").or("1"),
                Row::new("    --wait TIME", "how long a wait waits that does not say it")
                    .or(show_time(WAIT_MS)),
                Row::new(
                    "    --reconnect TIME",
                    "after a lost connection, how long to try to come back and log in again",
                )
                .or(format!("{} for people, 0s in a script", show_time(RECONNECT_MS))),
                Row::new(
                    "    --extensions LIST",
                    "what to ask the server for: all, none, or some of results,ids,presence",
                )
                .or("all"),
                Row::new("    --kind KIND", "what to be: user, web, fax, print or chat").or("user"),
                Row::new("-h, --help", "this page"),
                Row::new("-V, --version", "the version"),
            ],
        )
        .section("Commands", help::rows())
        .note(
            "In a script, a line that starts with # is a comment, and a password that a command lacks is \
             the next line (where it is typed it does not show, and a new user's is asked for twice). Each \
             command ends with a line done or refused before the next one is read. The end of the input \
             waits for all answers and for files under way; quit does not. A line that is no command, a \
             wait whose time passes and a lost connection end with status 1; a refusal does not. With \
             --reconnect a command that was under way when the connection was lost ends with a line \
             unanswered: it may have been done.",
        )
        .note(help::VALUES)
        .note("help events lists what an output line can be. For example:")
        .note(
            "  register ann password=secret age=20\n  login 10001 password=secret\n  \
             send 10002 hello there\n  wait message from=10002 5s",
        )
        .note(
            "  connected server=127.0.0.1:8000\n  registered number=10001\n  done command=register\n  \
             logged-in number=10001 groups=1 friends=0\n  done command=login\n  sent id=3 to=10002\n  \
             done command=send\n  \
             message from=10002 id=4 time=2003-04-12T06:00:00.317Z text=\"hello ann\"",
        )
}

fn start(options: Options) -> Result<(), Failure> {
    // Before there is a password to be found in one.
    core_dumps::turn_off()
        .map_err(|error| Failure::Failed(format!("cannot turn off core dumps: {error}")))?;
    let password =
        options.password_file.as_deref().map(|path| read_password(path, options.charset));
    let password = password.transpose()?;
    let first = options.number.map(|number| Command::LogIn {
        number,
        hidden: options.hidden,
        password: None,
    });
    let stream = TcpStream::connect(&*options.server).map_err(|error| {
        let server = &options.server;
        Failure::Failed(format!("cannot connect to {server}: {error}; is the server running?"))
    })?;
    let (sender, inputs) = sync_channel(INPUTS_WAITING);
    let is_typed = io::stdin().is_terminal();
    if is_typed {
        // A signal in the middle of a line or of a password must not leave the terminal as it is then.
        ending::watch()?;
    }
    let people = is_typed && !options.script && io::stdout().is_terminal();
    let (asks, output) = if people {
        echo::note();
        let (asks, printer) = input::start_terminal(sender.clone())
            .map_err(|error| Failure::Failed(format!("cannot use the terminal: {error}")))?;
        (asks, Output::terminal(printer))
    } else {
        (input::start_plain(sender.clone(), is_typed), Output::plain())
    };
    let reconnect_ms = options.reconnect_ms.unwrap_or(if people { RECONNECT_MS } else { 0 });
    let mut runner = Runner {
        session: Session::new(Setup {
            charset: options.charset,
            kind: options.kind,
            downloads: options.downloads,
            extensions: options.extensions,
            returns: reconnect_ms > 0,
        }),
        settings: Settings {
            server: options.server.clone(),
            charset: options.charset,
            password,
            is_typed,
            window: options.window,
            wait_ms: options.wait_ms,
            reconnect_ms,
        },
        output,
        inputs,
        sender,
        asks,
        to_server: None,
        connection: 0,
        state: State::new(first),
    };
    runner
        .start_connection(stream)
        .map_err(|error| Failure::Failed(format!("{}: {error}", options.server)))?;
    let ended = runner.run();
    // A line or a password may still be awaited.
    echo::put_back_for_good();
    ended
}

fn read_password(path: &Path, charset: Charset) -> Result<SecretBuf, Failure> {
    let mut text = Zeroizing::new(String::with_capacity(input::LINE_BYTES));
    let read = File::open(path).and_then(|mut file| file.read_to_string(&mut text));
    read.map_err(|error| {
        Failure::cannot("read", format_args!("the password file {}", path.display()), &error)
    })?;
    Ok(fields::password(text.lines().next().unwrap_or_default(), charset))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(arguments: &[&str]) -> Result<Options, String> {
        match parse(&mut lexopt::Parser::from_args(arguments)) {
            Ok(Call::Run(options)) => Ok(*options),
            Ok(_) => Err("a page".to_owned()),
            Err(Failure::Usage(line)) => Err(line),
            Err(other) => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_page_fits_any_terminal() {
        for width in 40..=100 {
            let page = page().render(width);
            let widest = page.lines().max_by_key(|line| line.chars().count()).unwrap();
            assert!(widest.chars().count() <= width, "{width}: {widest}");
        }
    }

    #[test]
    fn options_are_read_and_the_last_one_counts() {
        let arguments = ["x:1", "--charset=gb18030", "-n", "10001", "--number", "10002"];
        let options = options(&arguments).unwrap();
        assert_eq!((&*options.server, options.charset), ("x:1", Charset::Gb18030));
        assert_eq!(options.number, Some(ServiceNumber(10_002)));
        assert_eq!((options.window, options.wait_ms), (1, 10_000));
        assert_eq!((options.reconnect_ms, options.extensions), (None, Extensions::ALL));
    }

    #[test]
    fn extensions_are_chosen_by_name() {
        for (list, sum) in [
            ("all", 7),
            ("none", 0),
            ("results", 1),
            ("ids", 2),
            ("presence,results", 5),
            ("ids,ids", 2),
        ] {
            let options = options(&["x:1", "--extensions", list]).unwrap();
            assert_eq!(options.extensions.sum(), sum, "{list}");
        }
    }

    #[test]
    fn wrong_options_are_named_with_what_was_expected() {
        for (arguments, expected) in [
            (&[][..], "ADDR is missing"),
            (&["x:1", "--charset", "latin1"], "--charset: \"latin1\" was given, expected utf-8"),
            (&["x:1", "--number", "-5"], "--number: "),
            (&["x:1", "--number"], "--number"),
            (&["x:1", "--wait", "5"], "--wait: \"5\" was given, expected a time"),
            (&["x:1", "--pipeline", "0"], "--pipeline: "),
            (&["x:1", "--kind", "server"], "--kind: "),
            (&["x:1", "--reconnect", "1"], "--reconnect: \"1\" was given, expected a time"),
            (&["x:1", "--extensions", "ids,color"], "--extensions: \"color\" was given"),
            (&["x:1", "--extensions", ""], "--extensions: \"\" was given"),
            (&["x:1", "--script=yes"], "--script"),
            (&["x:1", "--bogus"], "--bogus"),
            (&["x:1", "y:2"], "y:2"),
        ] {
            let error = options(arguments).unwrap_err();
            assert!(error.contains(expected), "{arguments:?}: {error}");
        }
    }
}
