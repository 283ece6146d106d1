//! `oicq-tools bench`: load on a server, and what it does under it; beside it, the relays that show what the machine
//! allows.
//!
//! Owns the order of a measurement: who is started, who is let in, whose turn it is, what is printed. Loads are made in
//! `bench/load`, on one thread.

mod attack;
mod child;
mod clock;
mod load;
mod options;
mod plot;
mod relay;
mod report;
mod round;
mod run;
mod schedule;
mod soak;
mod stream;
mod table;
mod users;
mod watch;

use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};

use lexopt::Parser;
use oicq::id::ServiceNumber;

use self::child::{Child, Limits};
use self::load::idle::Idle;
use self::load::{broadcast, idle, login, pairs};
use self::options::{Call, Load, Options, Server};
use self::relay::Sort;
use self::report::Measured;
use self::run::Run;
use self::users::Door;
use self::watch::Watch;
use crate::ending::Temporary;
use crate::failure::{Failure, print};

pub(crate) use self::options::{ABOUT, ARGUMENTS};

/// Reads the command's options, and does it.
pub(crate) fn run(parser: &mut Parser) -> Result<(), Failure> {
    match options::parse(parser)? {
        None => Ok(()),
        Some(Call::Measure(options)) => measure(&options),
        Some(Call::Attack(options)) => attack::measure(&options),
        Some(Call::Soak(options)) => soak::measure(&options),
        Some(Call::ListAttacks) => print(&attack::list()),
        Some(Call::Table { common, sessions }) => table::measure(&common, sessions),
        Some(Call::Relay { sort, folder }) => child::relay(sort, &folder),
        Some(Call::Become { parent, arguments }) => child::become_child(&parent, &arguments),
    }
}

/// A server or a relay with a load that is ready to begin.
struct Target {
    name: &'static str,
    load: Box<dyn load::Load>,
    watch: Watch,
}

/// What was started for the measurement. The processes end before their folder goes.
#[derive(Default)]
struct Started {
    children: Vec<Child>,
    folder: Option<Temporary>,
}

/// What a measurement has come to.
enum Outcome {
    /// The server's rounds first, those of relays behind them.
    Rounds(Vec<Measured>),
    Idle(Idle),
}

fn measure(options: &Options) -> Result<(), Failure> {
    options.plot.as_deref().map_or(Ok(()), plot::check)?;
    let (users, outcome) = Run::over(options.patience_ns, |run| outcome(run, options))?;
    let head = report::head(options, &users);
    let measured = match outcome {
        Outcome::Idle(idle) => return print(&report::idle(options.format, &head, &idle)),
        Outcome::Rounds(measured) => measured,
    };
    if let Some(file) = &options.plot {
        plot::draw(file, &report::title(options), report::unit(options.load), &measured)?;
    }
    print(&report::rounds(options.format, &head, options.load, &measured))
}

/// The users of the server, and what was measured. When it is there, all that was started has ended.
fn outcome(run: &Run, options: &Options) -> Result<(Vec<ServiceNumber>, Outcome), Failure> {
    users::allow_files(options.load.users().saturating_mul(1 + options.relays.len()))?;
    let mut started = Started::default();
    let address = match &options.server {
        Server::At(addresses) => first_that_listens(addresses)?,
        Server::Start { program, options: of_server } => {
            let folder = started.folder(&options.folder)?;
            started.keep(Child::server(run, program, &folder, Limits::None, of_server)?)
        }
    };
    let door = door(options, run, address, options.first_user);
    let watch = Watch::over(door.process()?);
    let users = door.numbers(options.load.users())?;
    if let Load::Idle(_) = options.load {
        let idle = idle::measure(&door, &users, watch)?;
        return Ok((users, Outcome::Idle(idle)));
    }
    let load = prepare(options, &door, &users)?;
    let mut targets = vec![Target { name: "server", load, watch }];
    for &sort in options.relays {
        targets.push(relay(options, run, sort, &mut started)?);
    }
    let measured = rounds(options, run, &mut targets)?;
    Ok((users, Outcome::Rounds(measured)))
}

impl Started {
    /// A folder of its own.
    fn folder(&mut self, place: &Path) -> Result<PathBuf, Failure> {
        if let Some(folder) = &self.folder {
            return Ok(folder.path().to_owned());
        }
        let folder = Temporary::within(place, |error| {
            let place = place.display();
            Failure::Failed(format!(
                "cannot make a folder in {place}: {error}; name another with --dir"
            ))
        })?;
        Ok(self.folder.insert(folder).path().to_owned())
    }

    fn keep(&mut self, child: Child) -> SocketAddr {
        let address = child.address;
        self.children.push(child);
        address
    }

    /// Ends all processes: what was not in order, in words. The folder stays.
    fn end(&mut self) -> Option<String> {
        let ends = self.children.drain(..).map(Child::stop);
        let wrong: Vec<_> = ends.filter_map(Result::err).collect();
        wrong.first().map(|words| format!("the server {words}"))
    }
}

fn first_that_listens(addresses: &[SocketAddr]) -> Result<SocketAddr, Failure> {
    let mut failed = None;
    for &address in addresses {
        match TcpStream::connect(address) {
            Ok(_) => return Ok(address),
            Err(error) => failed = Some((address, error)),
        }
    }
    Err(Failure::Failed(match failed {
        Some((address, error)) => {
            format!(
                "cannot connect to {address}: {error}; start a server there, or name another address"
            )
        }
        None => "there is no address behind this name; name another".to_owned(),
    }))
}

fn door<'a>(
    options: &Options,
    run: &'a Run,
    address: SocketAddr,
    first: Option<ServiceNumber>,
) -> Door<'a> {
    Door { run, address, extensions: options.shape.extensions, first, from: None }
}

/// Lets the users of a load in.
fn prepare(
    options: &Options,
    door: &Door<'_>,
    users: &[ServiceNumber],
) -> Result<Box<dyn load::Load>, Failure> {
    let shape = &options.shape;
    Ok(match options.load {
        Load::Pairs(_) => Box::new(pairs::prepare(door, users, shape)?),
        Load::Broadcast(_, receivers) => {
            Box::new(broadcast::prepare(door, users, receivers, shape)?)
        }
        Load::Login(_) | Load::Idle(_) => Box::new(login::Logins::prepare(door, users)?),
    })
}

fn relay(
    options: &Options,
    run: &Run,
    sort: Sort,
    started: &mut Started,
) -> Result<Target, Failure> {
    let child = Child::relay(run, sort, &started.folder(&options.folder)?)?;
    let watch = Watch::over(Some(child.id()));
    let door = door(options, run, started.keep(child), None);
    let users = door.numbers(options.load.users())?;
    let load = prepare(options, &door, &users)?;
    Ok(Target { name: sort.title(), load, watch })
}

/// All rounds, each of them with all targets by turns: a moment in which the machine is busy meets every one.
fn rounds(options: &Options, run: &Run, targets: &mut [Target]) -> Result<Vec<Measured>, Failure> {
    let measured = targets.iter().map(|target| Measured { name: target.name, rounds: Vec::new() });
    let mut measured: Vec<_> = measured.collect();
    let turns = (options.rounds * targets.len()) as u64;
    for round in 0..options.rounds {
        for (index, target) in targets.iter_mut().enumerate() {
            run.doing(format!("round {}, {}", round + 1, target.name), turns);
            run.done((round * measured.len() + index) as u64);
            let in_target = |failure| match failure {
                Failure::Failed(words) if index > 0 => {
                    Failure::Failed(format!("{}: {words}", target.name))
                }
                other => other,
            };
            let made = target.load.round(target.watch, options.length, run).map_err(in_target)?;
            measured[index].rounds.push(made);
        }
    }
    targets.iter_mut().try_for_each(|target| target.load.finish(run))?;
    Ok(measured)
}
