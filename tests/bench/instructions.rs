//! Instructions that the real server's loop spends on a message, a login, a change of presence: from the bytes in its
//! sockets to the bytes in its sockets. Other than times they repeat, however busy the machine is.
//!
//! Owns what is on record, and what has grown since. It fails where a figure has grown by more than a tenth.
//! The system's own work is not counted, nor is the comparing of passwords, which is dear on purpose.

mod counted;
mod crowd;
mod large;

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use counted::command::{run, say};
use counted::scenarios::{FRIENDS, Figure, Messages, broadcast, login, messages, presence};
use counted::{Counted, valgrind};
use large::{Size, write};
use lexopt::{Arg, Parser, ValueExt};
use oicq::cli::page::{Page, Row, terminal_width};
use serde_json::{Value, json};

/// Where the figures are on record.
const RECORD: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/bench/instructions.json");
/// What a figure may be of the one on record.
const GROWN_MAX: f64 = 1.10;
/// How a new figure is put on record.
const HOW: &str = "cargo bench --bench instructions -- --record";

const SEGMENT_BYTES: u64 = 64 << 20;
/// Friends of everybody in the crowd that broadcasts are sent in.
const MANY_FRIENDS: u32 = 100;
const USERS: u32 = 2_000;

/// What the server was started with, and on what log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Server {
    AsItIs,
    Unrecorded,
    Unsynced,
    /// On a log of users with many friends.
    Popular,
}

impl Server {
    const ALL: [Self; 4] = [Self::AsItIs, Self::Unrecorded, Self::Unsynced, Self::Popular];

    const fn options(self) -> &'static [&'static str] {
        match self {
            Self::AsItIs | Self::Popular => &[],
            Self::Unrecorded => &["--black-box", "0"],
            Self::Unsynced => &["--durability", "never"],
        }
    }

    const fn friends(self) -> u32 {
        match self {
            Self::Popular => MANY_FRIENDS,
            Self::AsItIs | Self::Unrecorded | Self::Unsynced => FRIENDS,
        }
    }
}

struct Scenario {
    name: &'static str,
    server: Server,
    count: fn(&mut Counted) -> Figure,
}

const fn scenario(
    name: &'static str,
    server: Server,
    count: fn(&mut Counted) -> Figure,
) -> Scenario {
    Scenario { name, server, count }
}

fn base(server: &mut Counted, pairs: u32, each: u32) -> Figure {
    messages(server, 0, Messages { is_extended: false, pairs, each })
}

fn extended(server: &mut Counted, pairs: u32, each: u32) -> Figure {
    messages(server, 0, Messages { is_extended: true, pairs, each })
}

const SCENARIOS: &[Scenario] = &[
    scenario("message, base, 50 pairs with 16", Server::AsItIs, |on| base(on, 50, 16)),
    scenario("message, base, 50 pairs with 1", Server::AsItIs, |on| base(on, 50, 1)),
    scenario("message, extended, 50 pairs with 16", Server::AsItIs, |on| extended(on, 50, 16)),
    scenario("message, extended, 50 pairs with 1", Server::AsItIs, |on| extended(on, 50, 1)),
    scenario("login, 20 friends", Server::AsItIs, |on| login(on, 0)),
    scenario("presence, told to 20 friends", Server::AsItIs, |on| presence(on, 0)),
    scenario("unrecorded, base, 50 pairs with 16", Server::Unrecorded, |on| base(on, 50, 16)),
    scenario("unrecorded, extended, 50 pairs with 16", Server::Unrecorded, |on| {
        extended(on, 50, 16)
    }),
    scenario("unsynced, base, 50 pairs with 16", Server::Unsynced, |on| base(on, 50, 16)),
    scenario("unsynced, extended, 50 pairs with 16", Server::Unsynced, |on| extended(on, 50, 16)),
    scenario("unsynced, base, alone", Server::Unsynced, |on| base(on, 1, 1)),
    scenario("unsynced, extended, alone", Server::Unsynced, |on| extended(on, 1, 1)),
    scenario("broadcast to 100, each delivery", Server::Popular, |on| {
        broadcast(on, 0, USERS, MANY_FRIENDS)
    }),
];

/// What is asked for.
#[derive(Default)]
struct Asked {
    records: bool,
    /// Where to keep what was counted, by function and line.
    profiles: Option<PathBuf>,
    /// Parts of the names of what is counted; without any, all of it is.
    names: Vec<String>,
}

impl Asked {
    fn wants(&self, scenario: &Scenario) -> bool {
        self.names.is_empty() || self.names.iter().any(|name| scenario.name.contains(name))
    }
}

fn main() -> ExitCode {
    run(parse(Parser::from_env()), |asked| measure(&asked))
}

fn parse(mut parser: Parser) -> Result<Option<Asked>, lexopt::Error> {
    let (mut asked, mut is_bench) = (Asked::default(), false);
    while let Some(argument) = parser.next()? {
        match argument {
            Arg::Short('h') | Arg::Long("help") => {
                say(&page().render(terminal_width()));
                return Ok(None);
            }
            Arg::Long("record") => asked.records = true,
            Arg::Long("profiles") => asked.profiles = Some(parser.value()?.into()),
            // `cargo bench` says that it is one; `cargo test --benches` does not.
            Arg::Long("bench") => is_bench = true,
            Arg::Long("test" | "list") => return Ok(None),
            Arg::Value(name) => asked.names.push(name.string()?),
            other => return Err(other.unexpected()),
        }
    }
    if asked.records && !asked.names.is_empty() {
        return Err("--record counts everything, lest figures of two builds stand together".into());
    }
    Ok(is_bench.then_some(asked))
}

fn page() -> Page {
    let rows = vec![
        Row::new("    --record", "put the figures on record instead of comparing them"),
        Row::new("    --profiles DIR", "keep there what was counted, for callgrind_annotate"),
        Row::new("-h, --help", "this page"),
    ];
    let names = SCENARIOS.iter().map(|scenario| format!("\n  {}", scenario.name));
    Page::new("cargo bench --bench instructions -- [OPTIONS] [NAME...]")
        .about(
            "Counts the instructions of the server's loop, with valgrind, and compares them with those on record in \
             tests/bench/instructions.json. It fails where they are more by over 10 %.",
        )
        .section("Options", rows)
        .note("NAME is a part of the names of what is to be counted:".to_owned() + &names.collect::<String>())
        .note(
            "Messages have 100 bytes. \"50 pairs with 16\": 50 users send 16 each, all of which arrive in one turn of \
             the loop. A delivery belongs to its message, with extended clients the result and one confirmation for \
             all that a client has got, too. A login is that of a user whose friends are offline, without its \
             password.",
        )
}

/// Counts, and compares or records. Answers whether nothing has grown too much.
fn measure(asked: &Asked) -> Result<bool, String> {
    if !SCENARIOS.iter().any(|scenario| asked.wants(scenario)) {
        return Err("nothing has such a name: `-- --help` shows the names".to_owned());
    }
    let made_with = made_with()?;
    let record = if asked.records { None } else { Some(Record::read()?) };
    match &record {
        Some(record) => record.introduce(&made_with),
        None => say("instructions of the server's loop for each, and how far rounds are apart:\n"),
    }
    let (mut counted, mut complaints) = (BTreeMap::new(), Vec::new());
    for server in Server::ALL {
        let wanted = SCENARIOS.iter().filter(|one| one.server == server && asked.wants(one));
        let wanted: Vec<_> = wanted.collect();
        if wanted.is_empty() {
            continue;
        }
        let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
        let size = Size { users: USERS, friends: server.friends(), messages: 0 };
        write(folder.path(), size, SEGMENT_BYTES);
        let mut running = Counted::start(folder.path(), server.options())
            .map_err(|error| format!("the server did not start under valgrind: {error}"))?;
        for Scenario { name, count, .. } in wanted {
            let figure = count(&mut running);
            counted.insert(*name, figure.each);
            if let Some(folder) = &asked.profiles {
                running.keep(folder, name)?;
            }
            complaints.extend(report(name, figure, record.as_ref()));
        }
    }
    match record {
        Some(record) => Ok(record.conclude(asked, &complaints)),
        None => write_record(&made_with, &counted).map(|()| true),
    }
}

/// Shows a figure. Answers what is to be said at the end, if it is not what it should be.
fn report(name: &str, figure: Figure, record: Option<&Record>) -> Option<String> {
    let Figure { each, spread } = figure;
    let shown = format!("{name:<40} {each:>9.1}  ±{spread:.2} %");
    let Some(record) = record else {
        say(&shown);
        return None;
    };
    let Some(&before) = record.figures.get(name) else {
        say(&format!("{shown}  not on record"));
        return Some(format!("{name}: {each:.1} now, and nothing on record"));
    };
    let change = 100.0 * (each / before - 1.0);
    say(&format!("{shown}  {before:>9.1} on record  {change:>+6.1} %"));
    (each > before * GROWN_MAX)
        .then(|| format!("{name}: {before:.1} before, {each:.1} now, {change:+.1} %"))
}

/// The figures on record, and what they were made with.
struct Record {
    made_with: Vec<(String, String)>,
    figures: BTreeMap<String, f64>,
}

impl Record {
    fn read() -> Result<Self, String> {
        let damaged = |why: &str| format!("{RECORD}: {why}; make it anew: {HOW}");
        let text = fs::read_to_string(RECORD).map_err(|error| damaged(&error.to_string()))?;
        let json: Value =
            serde_json::from_str(&text).map_err(|error| damaged(&error.to_string()))?;
        let object = |name: &str| {
            json[name].as_object().ok_or_else(|| damaged(&format!("there is no object {name:?}")))
        };
        let made_with = object("made with")?.iter();
        let made_with = made_with
            .map(|(name, value)| (name.clone(), value.as_str().unwrap_or_default().to_owned()));
        let figures = object("figures")?.iter();
        let figures = figures.filter_map(|(name, value)| Some((name.clone(), value.as_f64()?)));
        Ok(Self { made_with: made_with.collect(), figures: figures.collect() })
    }

    /// What the figures are, and which of them were made otherwise.
    fn introduce(&self, made_with: &[(String, String)]) {
        say("instructions of the server's loop for each, and how far rounds are apart");
        for (name, now) in made_with {
            let before = self.made_with.iter().find(|(other, _)| other == name);
            let before = before.map_or("unknown", |(_, before)| before.as_str());
            if before != now {
                say(&format!(
                    "{name}: {now}, on record {before}: figures may differ by that alone"
                ));
            }
        }
        say("");
    }

    /// What of it all is wrong. Answers whether nothing is.
    fn conclude(&self, asked: &Asked, complaints: &[String]) -> bool {
        if asked.names.is_empty() {
            let has = |name: &str| SCENARIOS.iter().any(|scenario| scenario.name == name);
            for name in self.figures.keys().filter(|name| !has(name)) {
                say(&format!("{name}: on record, but no longer counted"));
            }
        }
        if complaints.is_empty() {
            return true;
        }
        eprintln!("\n{}", complaints.join("\n"));
        eprintln!("At most 10 % more are allowed. If it is meant to be so, record it: {HOW}");
        false
    }
}

/// Compiler, target and counter. They all have a say in what is counted.
fn made_with() -> Result<Vec<(String, String)>, String> {
    let binary = env!("CARGO_BIN_EXE_oicqd");
    let binary = fs::read(binary).map_err(|error| format!("{binary}: {error}"))?;
    // Compilers leave their name in what they make.
    let mark = b"rustc version ";
    let compiler = binary.windows(mark.len()).position(|window| window == mark).map_or_else(
        || "unknown".to_owned(),
        |at| {
            let name = binary[at..].split(|byte| !(b' '..=b'~').contains(byte)).next();
            String::from_utf8_lossy(name.unwrap_or_default()).into_owned()
        },
    );
    let target = format!("{}-{}", std::env::consts::ARCH, std::env::consts::OS);
    let all = [("compiler", compiler), ("counter", valgrind()?), ("target", target)];
    Ok(all.map(|(name, value)| (name.to_owned(), value)).to_vec())
}

fn write_record(
    made_with: &[(String, String)],
    counted: &BTreeMap<&str, f64>,
) -> Result<(), String> {
    let made_with: BTreeMap<_, _> = made_with.iter().cloned().collect();
    let figures: BTreeMap<_, _> =
        counted.iter().map(|(name, each)| (name, (each * 10.0).round() / 10.0)).collect();
    let json = json!({ "made with": made_with, "figures": figures });
    fs::write(RECORD, format!("{json:#}\n")).map_err(|error| format!("{RECORD}: {error}"))?;
    say(&format!("\nrecorded in {RECORD}"));
    Ok(())
}
