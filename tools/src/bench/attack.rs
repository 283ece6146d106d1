//! `oicq-tools bench --attack`: what an honest client notices while somebody means the server ill.
//!
//! Owns the order: two users who write in peace, the same beside the attack, and what is left of it when it is over.
//! The honest ones have a thread of their own; all attackers share another. What an attack does is settled in a file
//! for each.

mod broadcast;
mod churn;
mod deaf;
mod garbage;
mod logins;
mod names;
mod pool;
mod register;
mod report;
mod requests;
mod silent;
mod slow;
mod stored;
mod verdict;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread;
use std::time::Duration;

use oicq::cli::options::Command;
use oicq::cli::page::terminal_width;
use oicq::id::ServiceNumber;
use oicq::limits::{FREED_MS, FREED_PAUSE_MS, LINGER_MS, SHUTDOWN_MS};
use oicq::net::{Bound, connections_possible};
use oicq::wire::server::Extensions;

use self::pool::{Counts, Pool};
use self::stored::Before;
use self::verdict::{Leftovers, Measured, Noticed};
use super::child::{Child, Limits};
use super::load::{Load as _, Shape, pairs};
use super::options::Server;
use super::round::{Latency, Length};
use super::run::Run;
use super::users::{Door, allow_files, sessions_possible};
use super::watch::{Holds, Watch};
use super::{Started, first_that_listens};
use crate::failure::{Failure, print};
use crate::options::{Format, one_of};

/// How far a round of the honest is.
const LOGGING_IN: u8 = 0;
const UNDER_WAY_NOW: u8 = 1;
const OVER: u8 = 2;

/// Messages of the honest users a second: one every 10 ms.
const RATE: u64 = 100;
const BYTES: usize = 100;
/// More than any pause lets be under way.
const UNDER_WAY: usize = 65_536;
/// Between two logins of somebody honest.
const LOGIN_EVERY_NS: u64 = 500_000_000;
/// The longest that one step of an attack waits for something to come.
const TURN_NS: u64 = 5_000_000;
/// How long the attack goes on at least before it is measured.
const WARM_UP_NS: u64 = 1_000_000_000;
/// Between two looks at what the server holds.
const LOOK_EVERY_NS: u64 = 100_000_000;
/// What the server may take to close those who linger or do not read, and a little more.
const AFTERWARDS_NS: u64 = (LINGER_MS + SHUTDOWN_MS + 2_000) * 1_000_000;
/// What it may take from then on to give memory back, and a little more.
const MEMORY_NS: u64 = (FREED_PAUSE_MS + FREED_MS + 1_000) * 1_000_000;
/// Files of the generator that are no attackers' sockets.
const FILES: usize = 32;

/// How to attack.
pub(crate) struct Options {
    pub(crate) server: Server,
    pub(crate) sort: Sort,
    /// Sockets of the attackers at most; where it is not said, what the attack is best with.
    pub(crate) connections: Option<usize>,
    pub(crate) length: Length,
    pub(crate) folder: std::path::PathBuf,
    pub(crate) patience_ns: u64,
    pub(crate) format: Format,
}

/// Which attack.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Sort {
    Silent,
    Slow,
    Churn,
    Garbage,
    Deaf,
    Requests,
    Broadcast,
    Logins,
    Register,
    Names,
}

/// Somebody who means the server ill.
trait Attack {
    /// How many users it needs, of so many sockets.
    fn users(&self, connections: usize) -> usize;

    /// Makes ready what may take its time, before it is measured.
    fn begin(&mut self, pool: &mut Pool<'_>) -> Result<(), Failure>;

    /// Goes on for a little: sends what it has for now, and leaves the waiting to the pool.
    fn go_on(&mut self, pool: &mut Pool<'_>) -> Result<(), Failure>;
}

impl Sort {
    /// All that there are.
    pub(crate) const ALL: [Self; 10] = [
        Self::Silent,
        Self::Slow,
        Self::Churn,
        Self::Garbage,
        Self::Deaf,
        Self::Requests,
        Self::Broadcast,
        Self::Logins,
        Self::Register,
        Self::Names,
    ];

    /// The one with this name.
    pub(crate) fn parse(name: &str) -> Result<Self, Failure> {
        Self::ALL.into_iter().find(|sort| sort.name() == name).ok_or_else(|| {
            let expected = one_of(Self::ALL.into_iter().map(Self::name));
            Failure::option("--attack", format!("{name:?} was given, expected {expected}, or list"))
        })
    }

    /// The name on the command line.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Silent => "silent",
            Self::Slow => "slow",
            Self::Churn => "churn",
            Self::Garbage => "garbage",
            Self::Deaf => "deaf",
            Self::Requests => "requests",
            Self::Broadcast => "broadcast",
            Self::Logins => "logins",
            Self::Register => "register",
            Self::Names => "names",
        }
    }

    /// What it is, in words.
    pub(crate) const fn about(self) -> &'static str {
        match self {
            Self::Silent => "connections that never speak, and stay when they are told to go",
            Self::Slow => "a byte now and then, half a packet and then nothing",
            Self::Churn => {
                "connections that come and go: closed, half closed, reset within a reply"
            }
            Self::Garbage => {
                "the largest packets, lying lengths, random bytes, ten thousand packets at once"
            }
            Self::Deaf => "clients who never read: messages, broadcasts, files, search results",
            Self::Requests => "floods of each request, from one session and from many",
            Self::Broadcast => "broadcasts to as many friends as can be had",
            Self::Logins => "logins all at once, right ones and wrong ones",
            Self::Register => {
                "floods of registrations, friend requests and mail to those who are away"
            }
            Self::Names => "names of users and groups that change all the time",
        }
    }

    /// Whether the server has to keep something for it afterwards.
    const fn leaves_something(self) -> bool {
        match self {
            Self::Silent | Self::Slow | Self::Churn | Self::Garbage | Self::Logins => false,
            Self::Deaf | Self::Requests | Self::Broadcast | Self::Register | Self::Names => true,
        }
    }

    /// Sockets, unless somebody says how many.
    fn connections(self) -> usize {
        match self {
            Self::Silent => sessions_possible().saturating_sub(FILES).max(1),
            Self::Slow | Self::Logins | Self::Garbage => 1_000,
            Self::Churn => 256,
            Self::Deaf | Self::Requests | Self::Register | Self::Names => 100,
            // As many friends as a group holds, and those who write to them.
            Self::Broadcast => 270,
        }
    }

    fn make(self) -> Box<dyn Attack> {
        match self {
            Self::Silent => Box::new(silent::Silent),
            Self::Slow => Box::new(slow::Slow::default()),
            Self::Churn => Box::new(churn::Churn::default()),
            Self::Garbage => Box::new(garbage::Garbage::default()),
            Self::Deaf => Box::new(deaf::Deaf::default()),
            Self::Requests => Box::new(requests::Requests::default()),
            Self::Broadcast => Box::new(broadcast::Broadcast::default()),
            Self::Logins => Box::new(logins::Logins::default()),
            Self::Register => Box::new(register::Register::default()),
            Self::Names => Box::new(names::Names::default()),
        }
    }
}

/// The attacks, a line for each.
pub(crate) fn list() -> String {
    Sort::ALL.map(|sort| format!("{:9}  {}\n", sort.name(), sort.about())).concat()
}

/// Attacks, and prints what came of it. It has failed where the verdict is against the server.
pub(crate) fn measure(options: &Options) -> Result<(), Failure> {
    let measured = Run::over(options.patience_ns, |run| attack(run, options))?;
    print(&report::render(options, &measured))?;
    match measured.verdict().first() {
        None => Ok(()),
        Some(first) => Err(Failure::Failed(format!("{}: {first}", options.sort.name()))),
    }
}

fn attack(run: &Run, options: &Options) -> Result<Measured, Failure> {
    let connections = options.connections.unwrap_or_else(|| options.sort.connections());
    allow_files(connections + FILES)?;
    let mut started = Started::default();
    let address = match &options.server {
        Server::At(addresses) => first_that_listens(addresses)?,
        Server::Start { program, options: of_server } => {
            let folder = started.folder(&options.folder)?;
            started.keep(Child::server(run, program, &folder, Limits::Usual, of_server)?)
        }
    };
    let door = door(run, address);
    let watch = Watch::over(door.process()?);
    let numbers = door.numbers(3)?;
    let numbers = [numbers[0], numbers[1], numbers[2]];
    let honest = Honest { run, address, length: options.length, numbers };
    let mut pool = Pool::new(door, connections)?;
    let mut attack = options.sort.make();
    pool.register(attack.users(connections))?;

    let name = options.sort.name();
    let in_peace = honest.round(format!("{name}, in peace"), || {
        pause(TURN_NS);
        run.look(run.ns())
    })?;
    warm_up(run, options, &mut pool, watch)?;
    let before = settled(run, watch)?;
    let log_before = log_before(options, &mut started)?;
    attack.begin(&mut pool)?;
    let mut worst = Worst { watch, holds: before, due_ns: 0 };
    let attacked = honest.round(format!("{name}, the attack"), || {
        attack.go_on(&mut pool)?;
        pool.turn(TURN_NS)?;
        worst.look(run.ns());
        Ok(())
    })?;
    let open = pool.open_count() as u64;
    pool.leave();
    pool.fetch_mail()?;
    let afterwards = afterwards(run, watch, before)?;
    let bound = bound(&options.server);
    let counts = pool.counts;
    let ended = started.end();
    let stored = match log_before.filter(|_| ended.is_none()) {
        None => Some(0).filter(|_| !options.sort.leaves_something()),
        Some(log_before) => {
            run.doing("what is stored".to_owned(), 0);
            log_before.stored_since(run)?
        }
    };
    let held = Leftovers { before, worst: worst.holds, afterwards, ended, stored, bound };
    Ok(Measured { connections, in_peace, attacked, held, counts, open })
}

/// Attacks for as long as it will be measured, and a second at least: what a server takes when it is first attacked it
/// may keep, as it keeps what it has taken at its start. The same once more must take nothing.
fn warm_up(run: &Run, options: &Options, pool: &mut Pool<'_>, watch: Watch) -> Result<(), Failure> {
    run.doing(format!("{}, to warm up", options.sort.name()), 0);
    let before = settled(run, watch)?;
    let measured_ns = match options.length {
        Length::Time { duration_ns, .. } => duration_ns,
        Length::Messages(_) => 0,
    };
    let until_ns = run.ns().saturating_add(measured_ns.max(WARM_UP_NS));
    let mut attack = options.sort.make();
    attack.begin(pool)?;
    while run.ns() < until_ns {
        run.look(run.ns())?;
        attack.go_on(pool)?;
        pool.turn(TURN_NS)?;
    }
    pool.leave();
    pool.fetch_mail()?;
    afterwards(run, watch, before)?;
    pool.counts = Counts::default();
    Ok(())
}

/// The log as it is, of a server that was started.
fn log_before<'a>(
    options: &'a Options,
    started: &mut Started,
) -> Result<Option<Before<'a>>, Failure> {
    let Server::Start { program, options: of_server } = &options.server else { return Ok(None) };
    Before::of(program, of_server, started.folder(&options.folder)?).map(Some)
}

/// How much memory a server that is started may need at most beside its state. The one that runs does not tell.
fn bound(server: &Server) -> Option<u64> {
    let Server::Start { options, .. } = server else { return None };
    match oicq::cli::options::parse(options.iter().cloned(), terminal_width()) {
        Ok(Command::Serve(serve)) => {
            // The server starts on a new folder: all its hashes are its own.
            Some(Bound::of(&serve.options, connections_possible(), 0).bytes)
        }
        _ => None,
    }
}

fn door(run: &Run, address: SocketAddr) -> Door<'_> {
    Door { run, address, extensions: Extensions::default(), first: None, from: None }
}

/// Those who mean the server well.
#[derive(Clone, Copy)]
struct Honest<'a> {
    run: &'a Run,
    address: SocketAddr,
    length: Length,
    /// One who writes, one who reads, and one who logs in again and again.
    numbers: [ServiceNumber; 3],
}

impl Honest<'_> {
    /// One round of theirs, each on a thread, and beside it something that goes on until it is over: once at least.
    fn round(
        self,
        doing: String,
        mut go_on: impl FnMut() -> Result<(), Failure>,
    ) -> Result<Noticed, Failure> {
        self.run.doing(doing, 0);
        let stage = AtomicU8::new(LOGGING_IN);
        let stage = &stage;
        let (address, length, numbers) = (self.address, self.length, self.numbers);
        let [of_writer, of_newcomer] = [self.run.beside(), self.run.beside()];
        thread::scope(|scope| {
            let writer = scope.spawn(move || {
                let round = write(of_writer, address, length, &numbers[..2], stage);
                stage.store(OVER, Ordering::Release);
                round
            });
            let newcomer = scope.spawn(move || log_in(of_newcomer, address, numbers[2], stage));
            let mut went_on = Ok(());
            while went_on.is_ok() && stage.load(Ordering::Acquire) == LOGGING_IN {
                went_on = self.run.look(self.run.ns());
                pause(TURN_NS);
            }
            while went_on.is_ok() {
                went_on = go_on();
                if stage.load(Ordering::Acquire) == OVER {
                    break;
                }
            }
            let crashed = |_| Failure::Failed("a thread of the measurement has crashed".to_owned());
            let round = writer.join().map_err(crashed)?;
            let (logins, refused) = newcomer.join().map_err(crashed)?;
            went_on?;
            let (messages, lost) = round?;
            Ok(Noticed { messages, lost, logins, refused })
        })
    }
}

/// One writes to another at a steady rate: how long the messages took, and what was lost of them.
fn write(
    run: Run,
    address: SocketAddr,
    length: Length,
    numbers: &[ServiceNumber],
    stage: &AtomicU8,
) -> Result<(Latency, Option<String>), Failure> {
    let extensions = Extensions::default();
    let shape = Shape { bytes: BYTES, under_way: UNDER_WAY, rate: Some(RATE), extensions };
    let mut pair = pairs::prepare(&door(&run, address), numbers, &shape)?;
    stage.store(UNDER_WAY_NOW, Ordering::Release);
    let round = pair.round(Watch::over(None), length, &run);
    match round.and_then(|round| pair.finish(&run).map(|()| round)) {
        Ok(round) => Ok((round.latency, None)),
        Err(Failure::Failed(words)) => Ok((Latency::new(), Some(words))),
        Err(other) => Err(other),
    }
}

/// Logs somebody in again and again, on a new connection each time: how long that took, and what was said where it
/// failed.
fn log_in(
    run: Run,
    address: SocketAddr,
    number: ServiceNumber,
    stage: &AtomicU8,
) -> (Latency, Vec<String>) {
    let (mut took, mut refused) = (Latency::new(), Vec::new());
    let mut due_ns = 0;
    loop {
        match stage.load(Ordering::Acquire) {
            UNDER_WAY_NOW if run.ns() >= due_ns => {}
            OVER => return (took, refused),
            _ => {
                pause(TURN_NS);
                continue;
            }
        }
        let begun_ns = run.ns();
        match door(&run, address).log_in(&[number]) {
            Ok(_) => took.record(run.ns() - begun_ns, 1),
            Err(failure) => refused.push(failure.words()),
        }
        due_ns = begun_ns + LOGIN_EVERY_NS;
    }
}

fn pause(ns: u64) {
    thread::sleep(Duration::from_nanos(ns));
}

/// The most that the server has held.
struct Worst {
    watch: Watch,
    holds: Option<Holds>,
    due_ns: u64,
}

impl Worst {
    fn look(&mut self, now_ns: u64) {
        if now_ns < self.due_ns {
            return;
        }
        self.due_ns = now_ns + LOOK_EVERY_NS;
        if let (Some(worst), Some(now)) = (&mut self.holds, self.watch.holds()) {
            worst.memory = worst.memory.max(now.memory);
            worst.files = worst.files.max(now.files);
        }
    }
}

/// What the server holds once it has closed those who were there in peace.
fn settled(run: &Run, watch: Watch) -> Result<Option<Holds>, Failure> {
    let mut last = watch.holds();
    loop {
        run.look(run.ns())?;
        pause(LOOK_EVERY_NS);
        let now = watch.holds();
        if now.zip(last).is_none_or(|(now, last)| now.files >= last.files) {
            return Ok(now);
        }
        last = now;
    }
}

/// What the server holds once it has closed everything, or has had the time to.
fn afterwards(run: &Run, watch: Watch, before: Option<Holds>) -> Result<Option<Holds>, Failure> {
    run.doing("afterwards".to_owned(), 0);
    let mut until_ns = run.ns() + AFTERWARDS_NS;
    let mut has_closed = false;
    loop {
        run.look(run.ns())?;
        let Some((now, before)) = watch.holds().zip(before) else { return Ok(None) };
        // Memory has its own time, from when the last file was closed, however late that was.
        if !has_closed && now.files <= before.files {
            has_closed = true;
            until_ns = run.ns() + MEMORY_NS;
        }
        if run.ns() >= until_ns || now.is_back(before) {
            return Ok(Some(now));
        }
        pause(LOOK_EVERY_NS);
    }
}
