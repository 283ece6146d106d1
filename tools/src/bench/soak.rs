//! `oicq-tools bench --soak`: a long run of everything that users do, near to what the server can do, while connections
//! break, and the server is restarted and its log compacted.
//!
//! Owns the order: the users, what the server can do, the run, what is fetched in the end, the verdict. One thread
//! does all of it; what happens comes from a seed.

mod chance;
mod crowd;
mod ledger;
mod letter;
mod person;
mod plan;
mod plot;
mod report;
mod sample;
mod trend;
mod upkeep;
mod verdict;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process;

use oicq::wire::server::Extensions;

use self::crowd::Crowd;
use self::plan::{Act, Event, Pace, Plan, Step, What};
use self::sample::{Mark, Sample, Sampler};
use self::upkeep::{News, Upkeep};
use self::verdict::{Capacity, Measured};
use super::Started;
use super::run::Run;
use super::users::{Door, allow_files};
use super::watch::{Sample as Processor, Watch, Work};
use crate::failure::{Failure, print};
use crate::options::Format;

pub(crate) use self::plan::PEOPLE_MIN;

/// Of what the server can do, in percent.
const SHARE: u64 = 80;
/// Acts that were not answered, for each user, while it is found out what the server can do.
const UNDER_WAY_EACH: usize = 8;
const CAPACITY_NS: u64 = 5_000_000_000;
const CAPACITY_WARM_UP_NS: u64 = 1_000_000_000;
/// The longest wait for something to come.
const TURN_NS: u64 = 5_000_000;
/// Acts that are begun before it is looked what has come.
const AT_ONCE: usize = 512;
/// Nothing comes any more when nothing has come for so long.
const QUIET_NS: u64 = 1_000_000_000;
/// Files of the generator that are no users' sockets.
const FILES: usize = 64;

/// How to run.
pub(crate) struct Options {
    pub(crate) program: PathBuf,
    pub(crate) server_options: Vec<OsString>,
    pub(crate) length_ns: u64,
    pub(crate) seed: u64,
    pub(crate) users: usize,
    /// Requests a second; where it is not said, a share of what the server can do.
    pub(crate) rate: Option<u64>,
    pub(crate) folder: PathBuf,
    pub(crate) patience_ns: u64,
    pub(crate) format: Format,
    pub(crate) plot: Option<PathBuf>,
}

/// Runs, and prints what came of it. It has failed where the verdict is against the server.
pub(crate) fn measure(options: &Options) -> Result<(), Failure> {
    options.plot.as_deref().map_or(Ok(()), super::plot::check)?;
    let measured = Run::until_stopped(options.patience_ns, |run| soak(run, options))?;
    // Neither is lost for the other.
    let printed = print(&report::render(options.format, &measured));
    options.plot.as_deref().map_or(Ok(()), |file| plot::draw(file, &measured))?;
    printed?;
    match measured.failed().first() {
        None => Ok(()),
        Some(first) => Err(Failure::Failed(format!("soak: {first}"))),
    }
}

fn soak(run: &Run, options: &Options) -> Result<Measured, Failure> {
    allow_files(2 * options.users + FILES)?;
    let mut started = Started::default();
    let folder = started.folder(&options.folder)?;
    let (upkeep, address) = Upkeep::start(run, &options.program, &options.server_options, &folder)?;
    let door = Door { run, address, extensions: Extensions::default(), first: None, from: None };
    let numbers = door.numbers(options.users)?;
    // From here on, being told to stop leads to the end, and not into it.
    let calm = run.to_its_end();
    let crowd = Crowd::new(&calm, address, &numbers)?;
    let (samples, marks) = (Vec::new(), Vec::new());
    let mut soak = Soak { run, crowd, upkeep, options, begun_ns: 0, samples, marks };
    soak.befriend()?;
    let capacity = match options.rate {
        Some(_) => None,
        None => Some(soak.capacity()?),
    };
    let share = capacity.map(|all| all.rate * SHARE / 100);
    let rate = options.rate.or(share).unwrap_or(1).max(1);
    soak.begun_ns = run.ns();
    let loaded = soak.load(rate);
    let elapsed_ns = run.ns() - soak.begun_ns;
    // What has gone wrong under load is to be looked at with all that was measured until then.
    match loaded.and_then(|()| soak.fetch()) {
        Ok(()) => {}
        Err(Failure::ClosedPipe) => return Err(Failure::ClosedPipe),
        Err(failure) => soak.crowd.books.ledger.told_of_the_run(failure.words()),
    }
    soak.finish(capacity, rate, elapsed_ns)
}

/// A run that goes on.
struct Soak<'a> {
    /// The one that can be stopped, and has the bar.
    run: &'a Run,
    crowd: Crowd<'a>,
    upkeep: Upkeep,
    options: &'a Options,
    /// When the load began.
    begun_ns: u64,
    samples: Vec<Sample>,
    marks: Vec<(u64, Mark)>,
}

impl Soak<'_> {
    /// Everybody logs in, and adds its friends.
    fn befriend(&mut self) -> Result<(), Failure> {
        let users = self.options.users;
        self.run.doing("making friends".to_owned(), users as u64);
        for who in 0..users {
            for friend in plan::friends(users, who) {
                self.crowd.act(who, Act::Befriend { friend }, self.run.ns());
            }
        }
        self.settle()
    }

    /// Turns until everything was answered and has arrived, and fails where that takes too long.
    fn settle(&mut self) -> Result<(), Failure> {
        let mut last_ns = self.run.ns();
        while self.crowd.under_way > 0 || self.crowd.books.ledger.missing() > 0 {
            let before = (self.crowd.under_way, self.crowd.books.arrivals);
            self.run.look(self.run.ns())?;
            self.crowd.turn(TURN_NS)?;
            if before != (self.crowd.under_way, self.crowd.books.arrivals) {
                last_ns = self.run.ns();
            } else if self.run.ns() > last_ns.saturating_add(self.run.patience_ns) {
                let s = self.run.patience_ns as f64 / 1e9;
                return Err(Failure::Failed(format!("nothing has come from the server for {s} s")));
            }
        }
        Ok(())
    }

    /// How many acts the server answers in a second, where each user has some under way all the time.
    fn capacity(&mut self) -> Result<Capacity, Failure> {
        let seconds = (CAPACITY_WARM_UP_NS + CAPACITY_NS) / 1_000_000_000;
        self.run.doing("finding out what the server can do".to_owned(), seconds);
        let users = self.options.users;
        let mut plan = Plan::new(!self.options.seed, users, 1, Pace::of(u64::MAX));
        let (begun_ns, watch) = (self.run.ns(), self.upkeep.watch());
        let mut measured_from = None;
        loop {
            let now = self.run.ns();
            self.run.look(now)?;
            self.run.done((now - begun_ns) / 1_000_000_000);
            let answered = self.crowd.books.answered;
            let here = || (now, answered, watch.sample(now));
            let (from_ns, before, sample) = match measured_from {
                None if now < begun_ns + CAPACITY_WARM_UP_NS => {
                    (now, answered, Processor::default())
                }
                None => *measured_from.insert(here()),
                Some(from) => from,
            };
            if now >= from_ns + CAPACITY_NS {
                let passed_ns = u128::from(now - from_ns);
                let rate = u128::from(answered - before) * 1_000_000_000 / passed_ns;
                let limit = Work::between(&sample, &watch.sample(now)).limit();
                self.settle()?;
                return Ok(Capacity { rate: u64::try_from(rate).unwrap_or(u64::MAX), limit });
            }
            while self.crowd.under_way < UNDER_WAY_EACH * users {
                let (by, act) = plan.act(0);
                self.crowd.act(by, act, now);
            }
            self.crowd.turn(TURN_NS)?;
        }
    }

    /// The run itself.
    fn load(&mut self, rate: u64) -> Result<(), Failure> {
        let length_ns = self.options.length_ns;
        let mut plan = Plan::new(self.options.seed, self.options.users, rate, Pace::of(length_ns));
        let begun_ns = self.begun_ns;
        self.crowd.books.window.clear();
        self.crowd.books.arrivals = 0;
        let mut sampler = Sampler::begin(begun_ns, self.upkeep.watch());
        self.run.doing(format!("{rate} requests a second"), length_ns / 1_000_000_000);
        loop {
            let now = self.run.ns();
            self.run.tick(now);
            let passed_ns = now - begun_ns;
            if self.run.is_stopped() || passed_ns >= length_ns || self.upkeep.is_gone() {
                return Ok(());
            }
            for _ in 0..AT_ONCE {
                if plan.due_ns() > passed_ns {
                    break;
                }
                self.step(plan.step())?;
            }
            let wait_ns =
                (begun_ns + plan.due_ns()).min(sampler.due_ns()).saturating_sub(self.run.ns());
            self.crowd.turn(wait_ns.min(TURN_NS))?;
            if self.run.ns() >= sampler.due_ns() {
                self.run.done(passed_ns / 1_000_000_000);
                self.keep_up(Some(&mut sampler));
                let sample = sampler.look(self.run.ns(), &mut self.crowd, &self.upkeep);
                self.say(&report::second(&sample))?;
                self.samples.push(sample);
            } else if !self.upkeep.is_up() {
                self.keep_up(Some(&mut sampler));
            }
        }
    }

    fn step(&mut self, step: Step) -> Result<(), Failure> {
        let begun_ns = self.begun_ns;
        let at_ns = begun_ns + step.due_ns;
        match step.what {
            What::Act { by, act } => self.crowd.act(by, act, at_ns),
            What::Event(Event::Leaves { who, how, until_ns }) => {
                self.crowd.leave(who, how, begun_ns + until_ns);
            }
            What::Event(Event::Deaf { who, until_ns }) => {
                self.crowd.deafen(who, begun_ns + until_ns)?
            }
            What::Event(Event::Registers) => self.crowd.register()?,
            What::Event(Event::Restarts { kill }) if self.upkeep.is_up() => {
                self.upkeep.restart(kill, self.run.ns());
                self.mark(step.due_ns, if kill { Mark::Kill } else { Mark::Stop })?;
            }
            What::Event(Event::Restarts { .. }) => {}
            What::Event(Event::Compacts) => self.upkeep.compact()?,
        }
        Ok(())
    }

    /// Sees to the server and to a compaction.
    fn keep_up(&mut self, mut sampler: Option<&mut Sampler>) {
        for news in self.upkeep.look(&self.run.to_its_end()) {
            let now = self.run.ns();
            match news {
                News::Started(address) => {
                    self.crowd.server_is_at(address);
                    if let Some(sampler) = &mut sampler {
                        sampler.server_started(now, self.upkeep.watch());
                    }
                    // Whether anybody reads it changes nothing of the run.
                    let _ = self.mark(now - self.begun_ns, Mark::Started);
                }
                News::Compacted => {
                    let bytes = self.upkeep.bytes();
                    let _ = self.mark(now - self.begun_ns, Mark::Compacted { bytes });
                }
                News::Wrong(words) => self.crowd.books.ledger.told_of_the_run(words),
            }
        }
    }

    fn mark(&mut self, at_ns: u64, mark: Mark) -> Result<(), Failure> {
        self.marks.push((at_ns, mark));
        self.say(&report::happening(at_ns, mark))
    }

    fn say(&self, object: &serde_json::Value) -> Result<(), Failure> {
        match self.options.format {
            Format::Json => self.run.print(&format!("{object}\n")),
            Format::Text => Ok(()),
        }
    }

    /// Everybody comes back, logs in once more, and fetches what waits: what is missing then is lost.
    fn fetch(&mut self) -> Result<(), Failure> {
        self.run.doing("fetching what waits".to_owned(), 0);
        let mut has_asked = false;
        let mut last_ns = self.run.ns();
        loop {
            let now = self.run.ns();
            self.run.tick(now);
            self.keep_up(None);
            if self.upkeep.is_gone() {
                return Ok(());
            }
            self.crowd.call_back();
            let before = (self.crowd.under_way, self.crowd.books.arrivals, self.crowd.in_session());
            self.crowd.turn(TURN_NS)?;
            if before != (self.crowd.under_way, self.crowd.books.arrivals, self.crowd.in_session())
            {
                last_ns = self.run.ns();
            }
            let is_quiet =
                self.crowd.under_way == 0 && self.crowd.in_session() == self.crowd.people();
            let quiet_ns = self.run.ns() - last_ns;
            if is_quiet && !has_asked {
                has_asked = true;
                (0..self.crowd.people()).for_each(|who| self.crowd.act(who, Act::LogInAgain, now));
            } else if is_quiet && quiet_ns >= QUIET_NS && self.crowd.books.ledger.missing() == 0 {
                return Ok(());
            } else if quiet_ns >= self.run.patience_ns {
                if !is_quiet {
                    let words = format!(
                        "{} of {} users are in session, {} requests are not answered, and nothing comes any more",
                        self.crowd.in_session(),
                        self.crowd.people(),
                        self.crowd.under_way
                    );
                    self.crowd.books.ledger.told_of_the_run(words);
                }
                return Ok(());
            }
        }
    }

    fn finish(
        self,
        capacity: Option<Capacity>,
        rate: u64,
        elapsed_ns: u64,
    ) -> Result<Measured, Failure> {
        let Self { run, crowd, upkeep, options, samples, marks, .. } = self;
        run.doing("reading all of the log".to_owned(), 0);
        let (users, mut books) = (crowd.people(), crowd.into_books());
        books.ledger.close();
        let counts = upkeep.counts;
        for words in upkeep.end(run.patience_ns) {
            books.ledger.told_of_the_run(words);
        }
        Ok(Measured {
            seed: options.seed,
            users,
            length_ns: options.length_ns,
            elapsed_ns,
            capacity,
            rate,
            can_look: Watch::over(Some(process::id())).holds().is_some(),
            samples,
            marks,
            messages: books.ledger.counts,
            tally: books.tally,
            upkeep: counts,
            faults: books.ledger.told,
            is_stopped: elapsed_ns < options.length_ns,
        })
    }
}
