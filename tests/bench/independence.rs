//! What a thing costs does not depend on how many users are on record, nor on how many others are connected: a
//! message, a login, a change of presence, each with a few and with many of both, in instructions of the server's loop.
//!
//! Owns what is compared with what. It fails where something costs over 5 % more.

mod counted;
mod crowd;
mod large;

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use counted::clients::Client;
use counted::command::{run, say};
use counted::scenarios::{FRIENDS, Figure, Messages, login, messages, presence};
use counted::{Counted, valgrind};
use crowd::user;
use large::{Size, compact, write};
use lexopt::{Arg, Parser, ValueExt};
use oicq::cli::page::{Page, Row, terminal_width};
use oicq::wire::server::Extensions;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What one with many may be of that with a few.
const GROWN_MAX: f64 = 1.05;
const USERS_FEW: u32 = 1_000;
const USERS: u32 = 1_000_000;
/// Pairs that send messages are the only ones connected then.
const PAIRS: u32 = 5;
const UNDER_WAY: u32 = 16;
/// Idle ones. They are more than any user's friends: of those who list a user and those who want to be told of
/// friends, the server goes through the fewer.
const CONNECTIONS_FEW: u32 = 32;
const CONNECTIONS: u32 = 18_000;
/// Files that neither this process nor the server can have for idle connections.
const FILES_OTHERWISE: u64 = 256;
/// Idle users stand so far before and behind the first of those who are counted that they are no friends of theirs.
const IDLE_BELOW: u32 = 384;
const IDLE_ABOVE: u32 = 500;
/// Log files of which several are full, so that they can be compacted.
const SEGMENT_BYTES_FEW: u64 = 256 << 10;
const SEGMENT_BYTES: u64 = 16 << 20;

/// Counts something that the users from a first one on do.
type Count = fn(&mut Counted, u32) -> Figure;

const SCENARIOS: [(&str, Count); 4] = [
    ("message, base clients", |on, first| pairs(on, first, false)),
    ("message, extended clients", |on, first| pairs(on, first, true)),
    ("login, 20 friends", login),
    ("presence, told to 20 friends", presence),
];

fn pairs(server: &mut Counted, first: u32, is_extended: bool) -> Figure {
    messages(server, first, Messages { is_extended, pairs: PAIRS, each: UNDER_WAY })
}

/// What is asked for.
struct Asked {
    users: u32,
    connections: u32,
    /// Where to keep what was counted, by function and line.
    profiles: Option<PathBuf>,
}

fn main() -> ExitCode {
    run(parse(Parser::from_env()), |asked| measure(&asked))
}

fn parse(mut parser: Parser) -> Result<Option<Asked>, lexopt::Error> {
    let mut asked = Asked { users: USERS, connections: CONNECTIONS, profiles: None };
    let mut is_bench = false;
    while let Some(argument) = parser.next()? {
        match argument {
            Arg::Short('h') | Arg::Long("help") => {
                say(&page().render(terminal_width()));
                return Ok(None);
            }
            Arg::Long("users") => asked.users = number(&mut parser, "--users")?,
            Arg::Long("connections") => asked.connections = number(&mut parser, "--connections")?,
            Arg::Long("profiles") => asked.profiles = Some(parser.value()?.into()),
            // `cargo bench` says that it is one; `cargo test --benches` does not.
            Arg::Long("bench") => is_bench = true,
            Arg::Long("test" | "list") => return Ok(None),
            other => return Err(other.unexpected()),
        }
    }
    // Half of the idle ones have numbers below those who are counted, and half above.
    if asked.users < USERS_FEW.max(asked.connections.saturating_mul(2)) {
        return Err("--users must be 1000, and twice as many as --connections, at least".into());
    }
    Ok(is_bench.then_some(asked))
}

fn number(parser: &mut Parser, option: &str) -> Result<u32, lexopt::Error> {
    let value = parser.value()?;
    value.parse().map_err(|_| format!("{option}: {value:?} was given, expected a number").into())
}

fn page() -> Page {
    let rows = vec![
        Row::new("    --users N", "how many are many").or(USERS.to_string()),
        Row::new("    --connections N", "how many of these are many, if the system allows it")
            .or(CONNECTIONS.to_string()),
        Row::new("    --profiles DIR", "keep there what was counted, for callgrind_annotate"),
        Row::new("-h, --help", "this page"),
    ];
    Page::new("cargo bench --bench independence -- [OPTIONS]")
        .about(
            "Counts the instructions of the server's loop, with valgrind, with few and many users on record, and with \
             few and many connected. It fails where the same thing costs over 5 % more with many.",
        )
        .section("Options", rows)
        .note(
            "Every user has 20 friends. Messages have 100 bytes, 5 pairs with 16 each under way. Those who are \
             connected besides are in session and idle. The large log takes 1 GB in the folder for temporary files.",
        )
}

/// Counts all there is. Answers whether nothing depends on what it should not.
fn measure(asked: &Asked) -> Result<bool, String> {
    valgrind()?;
    let connections = possible(asked.connections);
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let few = {
        let mut server = prepare(&folder.path().join("few"), USERS_FEW, SEGMENT_BYTES_FEW)?;
        let first = first(USERS_FEW);
        let _idle = idle(&mut server, first, 0..CONNECTIONS_FEW);
        count(&mut server, first, asked, "few of both")?
    };
    let mut server = prepare(&folder.path().join("many"), asked.users, SEGMENT_BYTES)?;
    let first = first(asked.users);
    let _idle = idle(&mut server, first, 0..CONNECTIONS_FEW);
    let many = count(&mut server, first, asked, "many users")?;
    eprintln!("connecting {connections} more");
    let _more = idle(&mut server, first, CONNECTIONS_FEW..CONNECTIONS_FEW + connections);
    let connected = count(&mut server, first, asked, "many of both")?;

    say("instructions of the server's loop for each\n");
    let mut complaints = Vec::new();
    let users = format!("{} users instead of {USERS_FEW}", asked.users);
    compare(&users, &few, &many, &mut complaints);
    let besides = format!("{connections} connected besides, with {} users", asked.users);
    compare(&besides, &many, &connected, &mut complaints);
    if !complaints.is_empty() {
        eprintln!("{}\nAt most 5 % more are allowed.", complaints.join("\n"));
    }
    Ok(complaints.is_empty())
}

/// The first of those who are counted: not far from the middle.
const fn first(users: u32) -> u32 {
    users / 5 * 2
}

/// Sessions that say nothing, of users on both sides of those who are counted; they want to be told of their friends.
fn idle(server: &mut Counted, first: u32, users: Range<u32>) -> Vec<Client> {
    let address = server.address().to_owned();
    let mut sessions = Vec::new();
    server.uncounted(|| {
        for index in users {
            let number = match index % 2 {
                0 => first + IDLE_ABOVE + index / 2,
                _ => first - IDLE_BELOW - index / 2,
            };
            let mut session = Client::connect(&address, user(number));
            session.begin_session(Extensions::ALL.sum());
            sessions.push(session);
        }
    });
    sessions
}

/// Counts everything, with the users from the `first` on.
fn count(
    server: &mut Counted,
    first: u32,
    asked: &Asked,
    stage: &str,
) -> Result<Vec<Figure>, String> {
    let mut figures = Vec::new();
    for (name, count) in SCENARIOS {
        figures.push(count(server, first));
        if let Some(folder) = &asked.profiles {
            server.keep(folder, &format!("{name}, {stage}"))?;
        }
    }
    Ok(figures)
}

/// A server on a compacted log of so many users.
fn prepare(folder: &Path, users: u32, segment_bytes: u64) -> Result<Counted, String> {
    eprintln!("writing a log of {users} users, and starting a server on it");
    write(folder, Size { users, friends: FRIENDS, messages: 0 }, segment_bytes);
    compact(folder);
    Counted::start(folder, &[])
        .map_err(|error| format!("the server did not start under valgrind: {error}"))
}

/// How many of these connections the system has files for.
fn possible(connections: u32) -> u32 {
    let files = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: files, maximum: files }).unwrap();
    let files = files.unwrap_or(u64::MAX).saturating_sub(FILES_OTHERWISE);
    let possible = u32::try_from(files).unwrap_or(u32::MAX).min(connections);
    if possible < connections {
        say(&format!("the system has files for {possible} connections, not for {connections}"));
    }
    possible
}

/// Shows what has changed, and notes what has grown too much.
fn compare(what: &str, before: &[Figure], after: &[Figure], complaints: &mut Vec<String>) {
    say(&format!("{what}:"));
    for (((name, _), before), after) in SCENARIOS.iter().zip(before).zip(after) {
        let change = 100.0 * (after.each / before.each - 1.0);
        let line =
            format!("{name:<30} {:>9.1} → {:>9.1}  {change:>+6.2} %", before.each, after.each);
        say(&format!("  {line}  (±{:.2} %)", before.spread.max(after.spread)));
        if after.each > before.each * GROWN_MAX {
            complaints.push(format!("{what}: {line}"));
        }
    }
}
