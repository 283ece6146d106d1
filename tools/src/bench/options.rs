//! What `oicq-tools bench` is called with, read into plain structs, and its help page.
//!
//! Owns defaults, and which options belong to which load. It opens nothing and connects to nothing, but for asking
//! which addresses a name stands for.

use std::ffi::OsString;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::path::PathBuf;

use lexopt::{Arg, Parser, ValueExt as _};
use oicq::cli::page::{Page, Row, terminal_width};
use oicq::cli::values::parse_time;
use oicq::id::ServiceNumber;
use oicq::limits::MESSAGE_BYTES;
use oicq::wire::server::Extensions;

use super::attack::{self, Sort as Attack};
use super::child::BECOME;
use super::load::Shape;
use super::load::broadcast::RECEIVERS_MAX;
use super::relay::Sort;
use super::round::Length;
use crate::failure::Failure;
use crate::options::{Format, VERSION, answer, one_of, parsed, required, text, value};

/// What the command takes, for the list of commands.
pub(crate) const ARGUMENTS: &str = "ADDR";
/// What it does, for the list of commands.
pub(crate) const ABOUT: &str =
    "load on a server: messages a second, latencies, memory of sessions, attacks";

/// What to do.
pub(crate) enum Call {
    /// Measure.
    Measure(Box<Options>),
    /// Measure the loads of the table, with so many idle sessions at most. It is in each of them as it is here, but for
    /// what the table settles.
    Table { common: Box<Options>, sessions: usize },
    /// Attack.
    Attack(Box<attack::Options>),
    /// Say which attacks there are.
    ListAttacks,
    /// Be a relay.
    Relay { sort: Sort, folder: PathBuf },
    /// Be the beginning of a child of the process with this number.
    Become { parent: OsString, arguments: Vec<OsString> },
}

/// How to measure.
#[derive(Clone)]
pub(crate) struct Options {
    pub(crate) server: Server,
    pub(crate) load: Load,
    pub(crate) shape: Shape,
    pub(crate) rounds: usize,
    pub(crate) length: Length,
    /// Relays that are measured beside the server.
    pub(crate) relays: &'static [Sort],
    pub(crate) folder: PathBuf,
    /// The first of the users that exist.
    pub(crate) first_user: Option<ServiceNumber>,
    pub(crate) patience_ns: u64,
    pub(crate) format: Format,
    pub(crate) plot: Option<PathBuf>,
}

/// Which server.
#[derive(Clone)]
pub(crate) enum Server {
    /// One that runs, at the first of these where somebody listens.
    At(Vec<SocketAddr>),
    /// One that is started.
    Start { program: PathBuf, options: Vec<OsString> },
}

/// What the load is made of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Load {
    /// So many pairs of users.
    Pairs(usize),
    /// So many writers, with so many receivers each.
    Broadcast(usize, usize),
    /// So many sessions that do nothing.
    Idle(usize),
    /// So many connections on which users log in.
    Login(usize),
}

impl Load {
    /// How many users it needs.
    pub(crate) const fn users(self) -> usize {
        match self {
            Self::Pairs(pairs) => pairs.saturating_mul(2),
            Self::Broadcast(writers, receivers) => writers.saturating_mul(1 + receivers),
            Self::Idle(count) | Self::Login(count) => count,
        }
    }
}

const ROUNDS: usize = 5;
const DURATION: &str = "3s";
const WARM_UP: &str = "500ms";
const ATTACK_DURATION: &str = "10s";
const PATIENCE: &str = "30s";
const PAIRS: usize = 50;
const UNDER_WAY: usize = 16;
/// With a rate, more may be under way: it is the rate that is chosen, not the number.
pub(crate) const UNDER_WAY_STEADY: usize = 1_024;
const BYTES: usize = 100;
const RECEIVERS: usize = 100;
const IDLE_SESSIONS: usize = 1_000;
/// Those of the table, where the system allows them.
const IDLE_SESSIONS_TABLE: usize = 18_000;
const LOGINS: usize = 16;
/// A connection is idle while the others are measured, and servers close it after 180 s.
const ROUND_NS_MAX: u64 = 40_000_000_000;
const USERS_MAX: usize = 1_000_000;
const NS_PER_MS: u64 = 1_000_000;

/// The command line as it stands there; `None` where an option was not given.
#[derive(Default)]
struct Draft {
    address: Option<OsString>,
    serve: Option<PathBuf>,
    server_options: Vec<OsString>,
    load: Option<String>,
    pairs: Option<usize>,
    under_way: Option<usize>,
    bytes: Option<usize>,
    rate: Option<u64>,
    receivers: Option<usize>,
    connections: Option<usize>,
    clients: Option<String>,
    rounds: Option<usize>,
    duration_ns: Option<u64>,
    warm_up_ns: Option<u64>,
    messages: Option<u64>,
    ceiling: bool,
    table: bool,
    attack: Option<String>,
    relay: Option<Sort>,
    folder: Option<PathBuf>,
    first_user: Option<u32>,
    patience_ns: Option<u64>,
    format: Option<Format>,
    plot: Option<PathBuf>,
    is_own_server: bool,
}

/// Reads the command's options; `None` where its page or the version was asked for, and printed.
pub(crate) fn parse(parser: &mut Parser) -> Result<Option<Call>, Failure> {
    let mut draft = Draft::default();
    loop {
        if draft.serve.is_some() && is_at_rest(parser) {
            draft.server_options = parser.raw_args()?.skip(1).collect();
            break;
        }
        let Some(arg) = parser.next()? else { break };
        match arg {
            Arg::Short('h') | Arg::Long("help") => {
                return answer(parser, &page().render(terminal_width())).map(|()| None);
            }
            Arg::Short('V') | Arg::Long("version") => {
                return answer(parser, VERSION).map(|()| None);
            }
            Arg::Long(name) if format!("--{name}") == BECOME => {
                let parent = parser.value()?;
                let arguments = parser.raw_args()?.collect();
                return Ok(Some(Call::Become { parent, arguments }));
            }
            Arg::Value(value) => crate::options::positional(&mut draft.address, value, "ADDR")?,
            Arg::Long(name) => {
                let name = name.to_owned();
                draft.take(&name, parser)?;
            }
            other => return Err(other.unexpected().into()),
        }
    }
    draft.finish().map(Some)
}

/// Whether what comes next is `--`, behind which nothing is this command's.
fn is_at_rest(parser: &mut Parser) -> bool {
    parser.try_raw_args().is_some_and(|rest| rest.peek().is_some_and(|next| next == "--"))
}

impl Draft {
    fn take(&mut self, name: &str, parser: &mut Parser) -> Result<(), Failure> {
        match name {
            "serve" => self.serve = Some(value(parser, "--serve", "PROGRAM, a server's")?.into()),
            "load" => self.load = Some(text(parser, "--load", "pairs, broadcast, idle or login")?),
            "pairs" => self.pairs = Some(count(parser, "--pairs", USERS_MAX)?),
            "under-way" => self.under_way = Some(count(parser, "--under-way", 1 << 20)?),
            "bytes" => self.bytes = Some(count(parser, "--bytes", MESSAGE_BYTES)?),
            "rate" => self.rate = Some(count(parser, "--rate", 1 << 32)? as u64),
            "receivers" => self.receivers = Some(count(parser, "--receivers", RECEIVERS_MAX)?),
            "connections" => self.connections = Some(count(parser, "--connections", USERS_MAX)?),
            "clients" => self.clients = Some(text(parser, "--clients", "base or extended")?),
            "rounds" => self.rounds = Some(count(parser, "--rounds", 100_000)?),
            "duration" => self.duration_ns = Some(time(parser, "--duration")?),
            "warm-up" => self.warm_up_ns = Some(time(parser, "--warm-up")?),
            "messages" => self.messages = Some(count(parser, "--messages", usize::MAX)? as u64),
            "ceiling" => self.ceiling = true,
            "table" => self.table = true,
            "attack" => {
                self.attack = Some(text(parser, "--attack", "the name of an attack, or list")?)
            }
            "relay" => self.relay = Some(sort(&text(parser, "--relay", "bare or durable")?)?),
            "dir" => self.folder = Some(value(parser, "--dir", "DIR, a folder")?.into()),
            "users" => {
                let expected = "the number of the first of the users that exist";
                self.first_user = Some(parsed(parser, "--users", expected)?);
            }
            "patience" => self.patience_ns = Some(time(parser, "--patience")?),
            "format" => self.format = Some(Format::taken(parser)?),
            "plot" => self.plot = Some(value(parser, "--plot", "FILE, which is written")?.into()),
            "yes-i-own-this-server" => self.is_own_server = true,
            other => return Err(Arg::Long(other).unexpected().into()),
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Call, Failure> {
        let folder = self.folder.take().unwrap_or_else(|| ".".into());
        if let Some(sort) = self.relay {
            return Ok(Call::Relay { sort, folder });
        }
        if let Some(name) = self.attack.take() {
            if name == "list" {
                return Ok(Call::ListAttacks);
            }
            return self
                .attack(Attack::parse(&name)?, folder)
                .map(|options| Call::Attack(Box::new(options)));
        }
        let table_sessions = if self.table { Some(self.table_sessions()?) } else { None };
        let load = self.load()?;
        let shape = self.shape(load)?;
        let relays: &[_] = if self.ceiling || self.table { &Sort::ALL } else { &[] };
        let length = self.length(relays.len() + 1)?;
        let patience_ns = match self.patience_ns {
            Some(ns) => ns,
            None => ns(PATIENCE),
        };
        let options = Box::new(Options {
            server: self.server()?,
            load,
            shape,
            rounds: self.rounds.unwrap_or(ROUNDS),
            length,
            relays,
            folder,
            first_user: self.first_user.map(ServiceNumber),
            patience_ns,
            format: self.format.unwrap_or(Format::Text),
            plot: self.plot.take(),
        });
        Ok(match table_sessions {
            Some(sessions) => Call::Table { common: options, sessions },
            None => Call::Measure(options),
        })
    }

    /// An attack settles what its users and its attackers do.
    fn attack(&mut self, sort: Attack, folder: PathBuf) -> Result<attack::Options, Failure> {
        let settled = self.of_a_load().into_iter();
        let others = [
            ("--table", self.table),
            ("--rounds", self.rounds.is_some()),
            ("--warm-up", self.warm_up_ns.is_some()),
        ];
        if let Some((option, _)) = settled.chain(others).find(|(_, given)| *given) {
            return Err(Failure::option(option, "it is not for --attack"));
        }
        if self.messages.is_none() {
            self.warm_up_ns = Some(0);
            self.duration_ns.get_or_insert_with(|| ns(ATTACK_DURATION));
        }
        Ok(attack::Options {
            length: self.length(1)?,
            server: self.server()?,
            sort,
            connections: self.connections,
            folder,
            patience_ns: self.patience_ns.unwrap_or_else(|| ns(PATIENCE)),
            format: self.format.unwrap_or(Format::Text),
        })
    }

    /// How many idle sessions the table has, which settles what its loads are, and which servers they are for.
    fn table_sessions(&mut self) -> Result<usize, Failure> {
        if let Some((option, _)) = self.of_a_load().into_iter().find(|(_, given)| *given) {
            return Err(Failure::option(
                option,
                "it is not for --table, which has loads of its own",
            ));
        }
        if self.serve.is_none() {
            let error = "it starts servers of its own: expected --serve with a program to start";
            return Err(Failure::option("--table", error));
        }
        Ok(self.connections.take().unwrap_or(IDLE_SESSIONS_TABLE))
    }

    /// What a load is made of, and whether it was given.
    fn of_a_load(&self) -> [(&'static str, bool); 10] {
        [
            ("--load", self.load.is_some()),
            ("--pairs", self.pairs.is_some()),
            ("--under-way", self.under_way.is_some()),
            ("--bytes", self.bytes.is_some()),
            ("--rate", self.rate.is_some()),
            ("--receivers", self.receivers.is_some()),
            ("--clients", self.clients.is_some()),
            ("--users", self.first_user.is_some()),
            ("--ceiling", self.ceiling),
            ("--plot", self.plot.is_some()),
        ]
    }

    fn server(&mut self) -> Result<Server, Failure> {
        let options = std::mem::take(&mut self.server_options);
        match (self.serve.take(), self.address.take()) {
            (Some(_), Some(address)) => Err(Failure::Usage(format!(
                "--serve starts a server, and {address:?} names another: one of the two"
            ))),
            (Some(program), None) => Ok(Server::Start { program, options }),
            (None, address) => {
                let expected = "ADDR, where a server listens, or --serve with a program to start";
                let address = required(address, expected)?.string()?;
                resolve(&address, self.is_own_server).map(Server::At)
            }
        }
    }

    fn load(&self) -> Result<Load, Failure> {
        let name = self.load.as_deref().unwrap_or("pairs");
        let only = |option: &str, given: bool, loads: &[&str]| match given && !loads.contains(&name)
        {
            true => Err(Failure::option(
                option,
                format!("it is for --load {}", loads.join(" and --load ")),
            )),
            false => Ok(()),
        };
        let messages = ["pairs", "broadcast"];
        only("--pairs", self.pairs.is_some(), &messages)?;
        only("--under-way", self.under_way.is_some(), &messages)?;
        only("--bytes", self.bytes.is_some(), &messages)?;
        only("--rate", self.rate.is_some(), &messages)?;
        only("--receivers", self.receivers.is_some(), &["broadcast"])?;
        only("--connections", self.connections.is_some(), &["idle", "login"])?;
        only("--ceiling", self.ceiling, &messages)?;
        let by_rounds = ["pairs", "broadcast", "login"];
        only("--plot", self.plot.is_some(), &by_rounds)?;
        only("--rounds", self.rounds.is_some(), &by_rounds)?;
        only("--duration", self.duration_ns.is_some(), &by_rounds)?;
        only("--warm-up", self.warm_up_ns.is_some(), &by_rounds)?;
        only("--messages", self.messages.is_some(), &by_rounds)?;
        match name {
            "pairs" => Ok(Load::Pairs(self.pairs.unwrap_or(PAIRS))),
            "broadcast" => {
                let (writers, receivers) =
                    (self.pairs.unwrap_or(1), self.receivers.unwrap_or(RECEIVERS));
                Ok(Load::Broadcast(writers, receivers))
            }
            "idle" => Ok(Load::Idle(self.connections.unwrap_or(IDLE_SESSIONS))),
            "login" => Ok(Load::Login(self.connections.unwrap_or(LOGINS))),
            other => {
                let expected = "pairs, broadcast, idle or login";
                Err(Failure::option("--load", format!("{other:?} was given, expected {expected}")))
            }
        }
    }

    fn shape(&self, load: Load) -> Result<Shape, Failure> {
        let extensions = match self.clients.as_deref() {
            None | Some("base") => Extensions::default(),
            Some("extended") => extended(),
            Some(other) => {
                let error = format!("{other:?} was given, expected base or extended");
                return Err(Failure::option("--clients", error));
            }
        };
        let bytes = self.bytes.unwrap_or(BYTES);
        let usual = if self.rate.is_some() { UNDER_WAY_STEADY } else { UNDER_WAY };
        let under_way = self.under_way.unwrap_or(usual);
        let users = load.users();
        if users > USERS_MAX {
            let error = format!("{users} users are too many, {USERS_MAX} are allowed");
            return Err(Failure::option("--pairs", error));
        }
        Ok(Shape { bytes, under_way, rate: self.rate, extensions })
    }

    fn length(&self, targets: usize) -> Result<Length, Failure> {
        if let Some(messages) = self.messages {
            for (option, given) in
                [("--duration", self.duration_ns), ("--warm-up", self.warm_up_ns)]
            {
                if given.is_some() {
                    return Err(Failure::option(option, "a round of --messages has no time"));
                }
            }
            return Ok(Length::Messages(messages));
        }
        let warm_up_ns = self.warm_up_ns.unwrap_or(ns(WARM_UP));
        let duration_ns = self.duration_ns.unwrap_or(ns(DURATION));
        if duration_ns == 0 {
            return Err(Failure::option("--duration", "expected a time longer than 0"));
        }
        let all_ns = warm_up_ns.saturating_add(duration_ns).saturating_mul(targets as u64);
        if all_ns > 3 * ROUND_NS_MAX {
            return Err(Failure::option(
                "--duration",
                "servers close connections that are idle for so long; take more rounds, of up to 40s each",
            ));
        }
        Ok(Length::Time { warm_up_ns, duration_ns })
    }
}

/// What extended clients ask for.
pub(crate) const fn extended() -> Extensions {
    Extensions::grant(Extensions::RESULTS.sum() + Extensions::MESSAGE_IDS.sum())
}

/// The addresses behind a name: of this machine, unless somebody says that it is theirs.
fn resolve(address: &str, is_own_server: bool) -> Result<Vec<SocketAddr>, Failure> {
    let found = address.to_socket_addrs().map_err(|error| {
        Failure::Usage(format!("{address}: {error}; expected an address such as 127.0.0.1:8000"))
    })?;
    let found: Vec<_> = found.collect();
    if is_own_server || found.iter().all(|address| address.ip().is_loopback()) {
        return Ok(found);
    }
    Err(Failure::Usage(format!(
        "{address} is another machine, for whose server this load is an attack; if it is yours, say \
         --yes-i-own-this-server"
    )))
}

fn sort(name: &str) -> Result<Sort, Failure> {
    Sort::ALL.into_iter().find(|sort| sort.name() == name).ok_or_else(|| {
        let expected = one_of(Sort::ALL.into_iter().map(Sort::name));
        Failure::option("--relay", format!("{name:?} was given, expected {expected}"))
    })
}

fn count(parser: &mut Parser, name: &str, max: usize) -> Result<usize, Failure> {
    let expected = match max {
        usize::MAX => "a whole number of at least 1".to_owned(),
        _ => format!("a whole number from 1 to {max}"),
    };
    let count: usize = parsed(parser, name, &expected)?;
    if (1..=max).contains(&count) {
        return Ok(count);
    }
    Err(Failure::option(name, format!("{count} was given, expected {expected}")))
}

fn time(parser: &mut Parser, name: &str) -> Result<u64, Failure> {
    let value = text(parser, name, "a time with its unit, such as 500ms, 30s or 5min")?;
    let ms = parse_time(&value).map_err(|error| Failure::option(name, error))?;
    Ok(ms.saturating_mul(NS_PER_MS))
}

/// Nanoseconds of a time that stands in this file.
fn ns(time: &str) -> u64 {
    parse_time(time).unwrap_or_default().saturating_mul(NS_PER_MS)
}

fn page() -> Page {
    Page::new("oicq-tools bench ADDR [OPTIONS], or \
               oicq-tools bench --serve PROGRAM [--table] [OPTIONS] [-- SERVER OPTIONS]")
        .about(
            "Puts load on the server at ADDR, such as 127.0.0.1:8000, and measures what it does. \
             Users are registered for it and stay there: take a server whose data may be thrown \
             away. With --serve, PROGRAM (an oicqd) is started for the measurement alone, without \
             limits on what users may do (or with its usual ones, for an attack), in a new folder \
             that is removed afterwards. Every message is checked byte by byte: one that is lost, \
             doubled, changed or out of order fails the measurement.",
        )
        .section("The load", load_rows())
        .section("The measurement", measurement_rows())
        .section("The result", result_rows())
        .note(
            "A server with its usual limits refuses most loads, and the error says which of its \
             options to change. All of them: oicqd --registrations 0 --connections 0 \
             --login-failures 0 --requests 0,0. Registrations and logins are quick with \
             --password-cost 8,1.",
        )
        .note(
            "The bare relay passes each message on to its receiver, and each broadcast to all \
             friends, and does nothing else. The durable relay does the same, but nothing leaves \
             it before the messages that came in a turn of its loop are on disk, a broadcast once \
             for all who get it: one write into a file that is full of zeros, one sync. Both are \
             single threads that speak the server's protocol with the same bytes. So they are \
             what this machine, its network and its disk allow a server of one thread. They take \
             turns with the server, round by round, and the ratio is that of neighbouring rounds: \
             a moment in which the machine is busy meets all of them.",
        )
        .note(
            "The table is made of pairs with 16 and with 1 message under way, these once more with \
             base clients and --durability never, a steady rate, broadcasts, idle sessions and \
             logins; each has a server of its own, and relays where it can. Relays that sync are \
             left out where the server does not. It takes some minutes; --messages makes it short, \
             and the figures worthless.",
        )
        .note(
            "What limits it, in the last table: its thread, when that had no time left; the \
             generator, when that had none (the server can do more than is shown); both; else \
             waiting, for the disk, for other programs, or because too little is under way.",
        )
        .note(
            "An attack is one of those that a server meets on the open internet. Beside it a user \
             writes to another every 10 ms, and somebody logs in now and then; first in peace, for \
             as long as the attack takes (--duration, 10s). The server that is started has its \
             usual limits, and attackers come from many addresses of this machine. It has stood the \
             attack, and the status is 0, if nobody honest is refused, no message is lost, 99 % of \
             them arrive within 3 times what it took in peace (or 20 ms), 99.9 % within 100 ms, it takes no more \
             memory than its options allow (oicqd -v says how much), and afterwards has no more memory and open \
             files than before, but for 1 %. --connections says how many sockets attackers may have at once.",
        )
        .note(
            "In JSON each round is an object, and so is the summary of a server or relay, each \
             ratio, the memory of idle sessions, and each row of --table; tools/JSON.md says what \
             is in them.",
        )
        .note(
            "Examples:\n  \
             oicq-tools bench --serve target/release/oicqd --ceiling\n  \
             oicq-tools bench --serve target/release/oicqd --table\n  \
             oicq-tools bench --serve target/release/oicqd --attack silent\n  \
             oicq-tools bench --serve target/release/oicqd --rate 50000 --plot latency.svg -- --durability never\n  \
             oicq-tools bench 127.0.0.1:8000 --load idle --connections 10000",
        )
}

fn load_rows() -> Vec<Row> {
    vec![
        Row::new(
            "--load LOAD",
            "pairs: one user writes to another; broadcast: a user writes to all friends at once; \
             idle: sessions that do nothing; login: users log out and in",
        )
        .or("pairs"),
        Row::new("--pairs N", "pairs, or users who broadcast")
            .or(format!("{PAIRS}; of a broadcast 1")),
        Row::new("--receivers N", "friends that each broadcast goes to").or(RECEIVERS.to_string()),
        Row::new(
            "--under-way N",
            "messages that a writer has under way: the next one follows where one has arrived",
        )
        .or(UNDER_WAY.to_string()),
        Row::new("--bytes N", "text of a message").or(BYTES.to_string()),
        Row::new(
            "--rate N",
            format!(
                "messages a second of all writers together, at equal distances. The time of a message \
                 begins when it should have been sent, however late that is. Of each writer \
                 {UNDER_WAY_STEADY} may be under way then"
            ),
        ),
        Row::new("--connections N", "sessions, or connections on which users log in")
            .or(format!(
                "{IDLE_SESSIONS}; of logins {LOGINS}; idle ones of --table {IDLE_SESSIONS_TABLE}, or as many as \
                 the system allows"
            )),
        Row::new(
            "--clients CLIENTS",
            "base: those of the protocol of 2002; extended: with results and message ids, which \
             are confirmed",
        )
        .or("base"),
        Row::new(
            "--users FIRST",
            "takes users that an earlier run has registered, from this number on",
        ),
    ]
}

fn measurement_rows() -> Vec<Row> {
    vec![
        Row::new("--rounds N", "how often it is measured").or(ROUNDS.to_string()),
        Row::new("--duration TIME", "how long a round is").or(DURATION),
        Row::new("--warm-up TIME", "what comes before each round and is not measured").or(WARM_UP),
        Row::new("--messages N", "a round is so many messages or logins, instead of a time"),
        Row::new(
            "--ceiling",
            "measures two relays beside the server, and how much of their rates it reaches; for \
             pairs and broadcast",
        ),
        Row::new(
            "--table",
            "measures one load after the other, and prints a row of a table for each",
        ),
        Row::new(
            "--attack NAME",
            "attacks, and says what honest users notice of it; list says which attacks there are",
        ),
        Row::new(
            "--dir DIR",
            "where a server and relays that are started have their files; the disk matters",
        )
        .or("."),
        Row::new(
            "--relay RELAY",
            "measures nothing, and runs a relay for others to measure: bare or durable",
        ),
        Row::new("--patience TIME", "how long anything is waited for before it counts as lost")
            .or(PATIENCE),
        Row::new("--yes-i-own-this-server", "lets ADDR be on another machine"),
    ]
}

fn result_rows() -> Vec<Row> {
    vec![
        Row::new(
            "--format FORMAT",
            "text (a table in Markdown, with --table), or json: one object a line",
        )
        .or("text"),
        Row::new("--plot FILE", "draws latencies, and rates over time, as SVG"),
        Row::new("-h, --help", "this page"),
        Row::new("-V, --version", "the version"),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(arguments: &str) -> Result<Call, String> {
        let mut parser = Parser::from_args(arguments.split_whitespace());
        match parse(&mut parser) {
            Ok(call) => Ok(call.unwrap()),
            Err(Failure::Usage(words)) => Err(words),
            Err(other) => panic!("{other:?}"),
        }
    }

    fn options(arguments: &str) -> Options {
        match call(arguments) {
            Ok(Call::Measure(options)) => *options,
            Ok(_) => panic!("no measurement"),
            Err(words) => panic!("{words}"),
        }
    }

    #[test]
    fn what_is_not_said_has_the_defaults_of_the_page() {
        let options = options("127.0.0.1:8000");
        assert!(
            matches!(options.server, Server::At(at) if at == ["127.0.0.1:8000".parse().unwrap()])
        );
        assert_eq!((options.load, options.rounds), (Load::Pairs(50), 5));
        let (warm_up_ns, duration_ns) = (500_000_000, 3_000_000_000);
        assert_eq!(options.length, Length::Time { warm_up_ns, duration_ns });
        let Shape { bytes, under_way, rate, extensions } = options.shape;
        assert_eq!((bytes, under_way, rate, extensions.sum()), (100, 16, None, 0));
        assert_eq!((options.relays.len(), options.patience_ns), (0, 30_000_000_000));
        assert_eq!(options.folder, PathBuf::from("."));
    }

    #[test]
    fn what_stands_behind_the_dashes_is_the_servers() {
        let options =
            options("--serve oicqd --ceiling --rounds 2 -- --durability never --rounds 9");
        let Server::Start { program, options: of_server } = options.server else { panic!() };
        assert_eq!((program, options.rounds), ("oicqd".into(), 2));
        assert_eq!(of_server, ["--durability", "never", "--rounds", "9"]);
        assert_eq!(options.relays, Sort::ALL);
    }

    #[test]
    fn each_load_counts_its_users() {
        for (arguments, load, users) in [
            ("--pairs 3", Load::Pairs(3), 6),
            ("--load broadcast", Load::Broadcast(1, 100), 101),
            ("--load broadcast --pairs 2 --receivers 9", Load::Broadcast(2, 9), 20),
            ("--load idle --connections 7", Load::Idle(7), 7),
            ("--load login", Load::Login(16), 16),
        ] {
            let options = options(&format!("127.0.0.1:1 {arguments}"));
            assert_eq!((options.load, options.load.users()), (load, users), "{arguments}");
        }
    }

    #[test]
    fn steady_rates_have_more_under_way_unless_told_otherwise() {
        let shape = |arguments: &str| options(&format!("127.0.0.1:1 {arguments}")).shape;
        assert_eq!(shape("--rate 5000").under_way, 1_024);
        assert_eq!(shape("--rate 5000 --under-way 3").under_way, 3);
        assert_eq!(shape("--clients extended").extensions.sum(), 3);
    }

    #[test]
    fn the_table_settles_its_loads_and_takes_how_they_are_measured() {
        let arguments = "--serve oicqd --table --rounds 2 --messages 9 -- --black-box 0";
        let Ok(Call::Table { common, sessions }) = call(arguments) else { panic!() };
        assert_eq!((common.rounds, common.length, sessions), (2, Length::Messages(9), 18_000));
        let Server::Start { program, options } = common.server else { panic!() };
        assert_eq!((program, options), ("oicqd".into(), vec!["--black-box".into(), "0".into()]));
        let Ok(Call::Table { sessions, .. }) = call("--serve oicqd --table --connections 7") else {
            panic!()
        };
        assert_eq!(sessions, 7);
        for (arguments, words) in [
            ("127.0.0.1:1 --table", "--table: it starts servers of its own"),
            ("--serve oicqd --table --load pairs", "--load: it is not for --table"),
            ("--serve oicqd --table --ceiling", "--ceiling: it is not for --table"),
            ("--serve oicqd --table --users 10001", "--users: it is not for --table"),
            ("--serve oicqd --table --duration 50s", "take more rounds"),
        ] {
            let said = call(arguments).err().unwrap_or_else(|| panic!("{arguments}"));
            assert!(said.contains(words), "{arguments}: {said}");
        }
    }

    #[test]
    fn an_attack_has_a_server_a_length_and_sockets_and_nothing_else() {
        for sort in Attack::ALL {
            let arguments = format!("127.0.0.1:1 --attack {} --connections 7", sort.name());
            let Ok(Call::Attack(options)) = call(&arguments) else { panic!("{arguments}") };
            assert_eq!((options.sort, options.connections), (sort, Some(7)));
            assert_eq!(options.length, Length::Time { warm_up_ns: 0, duration_ns: 10_000_000_000 });
        }
        assert!(matches!(call("--attack list"), Ok(Call::ListAttacks)));
        for (arguments, words) in [
            ("127.0.0.1:1 --attack fun", "--attack: \"fun\" was given, expected silent, slow"),
            ("127.0.0.1:1 --attack slow --load pairs", "--load: it is not for --attack"),
            ("127.0.0.1:1 --attack slow --rounds 2", "--rounds: it is not for --attack"),
            ("192.0.2.1:1 --attack slow", "--yes-i-own-this-server"),
        ] {
            let said = call(arguments).err().unwrap_or_else(|| panic!("{arguments}"));
            assert!(said.contains(words), "{arguments}: {said}");
        }
    }

    #[test]
    fn relays_are_for_messages_and_broadcasts() {
        for load in ["pairs", "broadcast"] {
            let options = options(&format!("127.0.0.1:1 --load {load} --ceiling"));
            assert_eq!(options.relays, Sort::ALL, "{load}");
        }
    }

    #[test]
    fn other_machines_want_a_word() {
        for address in ["192.0.2.1:8000", "[2001:db8::1]:8000", "0.0.0.0:8000"] {
            let words = call(address).err().unwrap();
            assert!(words.contains("--yes-i-own-this-server"), "{words}");
            options(&format!("{address} --yes-i-own-this-server"));
        }
        for address in ["127.8.0.1:8000", "[::1]:8000"] {
            options(address);
        }
    }

    #[test]
    fn a_wrong_call_says_what_was_expected() {
        for (arguments, words) in [
            ("", "ADDR"),
            ("127.0.0.1", "expected an address such as"),
            ("127.0.0.1:1 127.0.0.1:2", "one argument too many"),
            ("127.0.0.1:1 --serve oicqd", "one of the two"),
            ("127.0.0.1:1 -- --durability never", "one argument too many"),
            ("127.0.0.1:1 --load fun", "--load: \"fun\" was given, expected pairs, broadcast"),
            ("127.0.0.1:1 --pairs 0", "--pairs: 0 was given, expected a whole number from 1"),
            ("127.0.0.1:1 --bytes 8193", "from 1 to 8192"),
            ("127.0.0.1:1 --receivers 5", "--receivers: it is for --load broadcast"),
            (
                "127.0.0.1:1 --load idle --rate 5",
                "--rate: it is for --load pairs and --load broadcast",
            ),
            ("127.0.0.1:1 --load idle --rounds 2", "--rounds: it is for --load pairs"),
            (
                "127.0.0.1:1 --messages 5 --warm-up 1s",
                "--warm-up: a round of --messages has no time",
            ),
            (
                "127.0.0.1:1 --load login --ceiling",
                "--ceiling: it is for --load pairs and --load broadcast",
            ),
            ("127.0.0.1:1 --duration 5", "--duration: \"5\" was given, expected a time"),
            ("127.0.0.1:1 --duration 0s", "longer than 0"),
            ("127.0.0.1:1 --duration 50s --ceiling", "take more rounds"),
            ("127.0.0.1:1 --pairs 600000", "1200000 users are too many"),
            ("127.0.0.1:1 --clients old", "expected base or extended"),
            ("127.0.0.1:1 --relay fast", "expected bare or durable"),
            ("127.0.0.1:1 --format xml", "expected text or json"),
            ("127.0.0.1:1 --fun", "--fun"),
            ("127.0.0.1:1 --ceiling=yes", "yes"),
        ] {
            let said = call(arguments).err().unwrap_or_else(|| panic!("{arguments}"));
            assert!(said.contains(words), "{arguments}: {said}");
        }
    }
}
