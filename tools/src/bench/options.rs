//! What `oicq-tools bench` is called with, read into plain structs. Its help page stands in `page`.
//!
//! Owns defaults, and which options belong to which load. It opens nothing and connects to nothing, but for asking
//! which addresses a name stands for.

mod page;

use std::ffi::OsString;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::path::PathBuf;

use lexopt::{Arg, Parser, ValueExt as _};
use oicq::cli::page::terminal_width;
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
use super::{clock, soak};
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
    /// Run for long.
    Soak(Box<soak::Options>),
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
/// Users of a long run, half of whose clients are extended ones.
const SOAK_USERS: usize = 256;
/// Each has a connection, and the next one before the server has closed the last.
const SOAK_USERS_MAX: usize = 10_000;
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
    soak_ns: Option<u64>,
    seed: Option<u64>,
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
                return answer(parser, &page::page().render(terminal_width())).map(|()| None);
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
            "soak" => self.soak_ns = Some(time(parser, "--soak")?),
            "seed" => self.seed = Some(parsed(parser, "--seed", "a whole number")?),
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
        if let Some(length_ns) = self.soak_ns {
            return self.soak(length_ns, folder).map(|options| Call::Soak(Box::new(options)));
        }
        if self.seed.is_some() {
            return Err(Failure::option("--seed", "it is for --soak"));
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

    /// A long run settles what its users do, and has a server of its own.
    fn soak(&mut self, length_ns: u64, folder: PathBuf) -> Result<soak::Options, Failure> {
        let settled = self.of_a_load().into_iter();
        let settled = settled.filter(|(option, _)| !["--rate", "--plot"].contains(option));
        let others = [
            ("--table", self.table),
            ("--attack", self.attack.is_some()),
            ("--rounds", self.rounds.is_some()),
            ("--duration", self.duration_ns.is_some()),
            ("--warm-up", self.warm_up_ns.is_some()),
            ("--messages", self.messages.is_some()),
        ];
        if let Some((option, _)) = settled.chain(others).find(|(_, given)| *given) {
            return Err(Failure::option(option, "it is not for --soak"));
        }
        let Server::Start { program, options } = self.server()? else {
            let error = "it restarts its server: expected --serve with a program to start";
            return Err(Failure::option("--soak", error));
        };
        let users = self.connections.unwrap_or(SOAK_USERS);
        if !(soak::PEOPLE_MIN..=SOAK_USERS_MAX).contains(&users) {
            let [least, most] = [soak::PEOPLE_MIN, SOAK_USERS_MAX];
            let error = format!("{users} was given, --soak has {least} to {most} users");
            return Err(Failure::option("--connections", error));
        }
        if length_ns == 0 {
            return Err(Failure::option("--soak", "expected a time longer than 0"));
        }
        Ok(soak::Options {
            program,
            server_options: options,
            length_ns,
            seed: self.seed.unwrap_or_else(clock::seed),
            users,
            rate: self.rate,
            folder,
            patience_ns: self.patience_ns.unwrap_or_else(|| ns(PATIENCE)),
            format: self.format.unwrap_or(Format::Text),
            plot: self.plot.take(),
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

#[cfg(test)]
mod tests;
