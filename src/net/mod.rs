//! The server: everything put together around one loop. Each turn of it takes what has come in, hands it
//! to the engine, commits what the engine decided, and only then lets anything out.
//!
//! One thread does all of it but hashing passwords, and waiting for the disk where there is something to do
//! meanwhile: the next turn's input can be taken in while the last turn's batch is synced, whose output is held until
//! then. Here are the order of a turn and the start and the end
//! of the server; `input` and `output` have the two halves of a turn. Nothing here judges a packet.

mod buffer;
mod connection;
mod connections;
mod error;
mod input;
mod journal;
mod kernel;
mod listener;
mod memory;
mod output;
mod outside;
mod pace;
mod passwords;
mod reports;
mod signals;
mod start;
#[cfg(test)]
mod tests;
mod timetable;
mod watch;

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use polling::Poller;

use crate::black_box::{self, Recorder};
use crate::cli::progress::Reading;
use crate::cli::settings::{Options, Timeouts};
use crate::engine::{Engine, Host, Input, StorageFull};
use crate::id::{ConnectionId, MonoMillis, Now, Place, Seq, UnixMillis};
use crate::limits::{READ_BYTES_PER_TURN, SHUTDOWN_MS};
use crate::log::{Batch, DiskStorage, Log, OpenError, Rebuild, Record, Recovery};
use crate::state::{RecordError, Stamp, State};

use connections::Connections;
use listener::Listener;
use memory::{Freed, connections_max};
use outside::Clock;
use pace::Pace;
use passwords::{OnRecord, Passwords};
use reports::Reports;
use signals::Signals;
use start::Start;
use watch::Watch;

pub use error::ServerError;
pub use journal::Journal;
pub use listener::connections_possible;
pub use memory::Bound;

/// Poller keys from the top; connections count from 0, and the poller keeps the highest for itself.
const KEY_SIGNALS: usize = usize::MAX - 1;
const KEY_WATCH: usize = usize::MAX - 2;
const KEY_LISTENERS: usize = usize::MAX / 2;

/// How often a log is read again because it was compacted while it was read.
const OPENING_TRIES: u32 = 5;

/// A server that is ready. [`Server::open`], then [`Server::run`].
pub struct Server {
    engine: Engine,
    /// `None` where the latest input is not to be kept, or cannot be.
    black_box: Option<Recorder>,
    journal: Journal,
    passwords: Passwords,
    signals: Signals,
    /// `None` where the system gave none.
    watch: Option<Watch>,
    listeners: Vec<Listener>,
    connections: Connections,
    poller: Arc<Poller>,
    clock: Clock,
    now: Now,
    timeouts: Timeouts,
    /// What all connections are read into, one after the other.
    buffer: Box<[u8]>,
    /// Connections that there may be, with those that are closed and linger.
    files_max: usize,
    /// How many packets a turn takes.
    pace: Pace,
    /// Those who have waited go on, by one packet each.
    only_resumed: bool,
    /// What was freed and not given back to the system.
    freed: Freed,
    /// Nothing is accepted before this: there was no file for a connection.
    accepting_from: Option<MonoMillis>,
    /// That has been said, and no connection was accepted since.
    starved: bool,
    /// When the server began to stop.
    stopping: Option<MonoMillis>,
}

/// What the engine sees of its surroundings.
struct Surroundings<'a> {
    journal: &'a mut Journal,
    connections: &'a mut Connections,
    black_box: Option<&'a mut Recorder>,
}

impl Host for Surroundings<'_> {
    fn append(
        &mut self,
        time: UnixMillis,
        kind: u8,
        payload: &[u8],
    ) -> Result<(Seq, Place), StorageFull> {
        let appended = self.journal.append(time, kind, payload);
        if let Some(black_box) = &mut self.black_box {
            black_box.record_append(appended.is_ok());
        }
        appended
    }

    fn read(&self, place: Place, length: u32, out: &mut Vec<u8>) {
        self.journal.read(place, length, out);
    }

    fn acknowledged(&mut self, connection: ConnectionId) -> u64 {
        let connection = self.connections.get_even_gone(connection);
        let bytes = connection.map_or(0, |connection| connection.acknowledged());
        if let Some(black_box) = &mut self.black_box {
            black_box.record_acknowledged(bytes);
        }
        bytes
    }

    fn waiting(&mut self, connection: ConnectionId) -> usize {
        let connection = self.connections.get(connection);
        let bytes = connection.map_or(0, |connection| connection.output.len());
        if let Some(black_box) = &mut self.black_box {
            black_box.record_waiting(bytes);
        }
        bytes
    }
}

impl Server {
    /// Opens the log, rebuilds the state from it and listens. Tells `show` now and then how far the
    /// reading of the log is, and when it is done.
    pub fn open(options: &Options, show: &mut dyn FnMut(&Reading)) -> Result<Self, ServerError> {
        let poller = Poller::new().map_err(ServerError::at("make a poller"))?;
        let poller = Arc::new(poller);
        // Before the log: a port in use is found out at once, and leaves no new folder behind.
        let listeners = listen(&options.listen, &poller)?;
        Signals::ignore().map_err(ServerError::at("take signals"))?;
        // Also before the log, which takes a file for each of its own.
        let possible = connections_possible();
        let start_clock = Clock::new(UnixMillis(0));
        let (state, journal) =
            recover(options, &poller, Start::begin(&mut || start_clock.mono(), show))?;
        let passwords = Passwords::start(options.password_cost, Arc::clone(&poller))
            .map_err(ServerError::at("start the thread for passwords"))?;
        let mut settings = options.settings.clone();
        if (possible + 1..usize::MAX).contains(&settings.max_connections) {
            ::log::warn!("the system allows files for {possible} connections, no more");
        }
        settings.max_connections = settings.max_connections.min(possible);
        let mut clock = Clock::new(journal.last_time());
        let now = clock.now();
        let mut server = Self {
            engine: Engine::new(settings, state),
            black_box: record(options, journal.log_id()),
            journal,
            passwords,
            // Until here a signal ends the process: nothing has been promised to anyone.
            signals: Signals::watch(&poller, KEY_SIGNALS)
                .map_err(ServerError::at("watch for signals"))?,
            watch: watch(&options.data, &poller),
            listeners,
            connections: Connections::new(Arc::clone(&poller)),
            poller,
            clock,
            now,
            timeouts: options.timeouts,
            buffer: vec![0; READ_BYTES_PER_TURN].into_boxed_slice(),
            files_max: connections_max(options.settings.max_connections, possible),
            pace: Pace::new(),
            only_resumed: false,
            freed: Freed::default(),
            accepting_from: None,
            starved: false,
            stopping: None,
        };
        // Reading the log has taken much that is not needed any more.
        kernel::give_memory_back();
        tell_memory(options, possible, server.engine.state());
        // A tool may have compacted the log between the reading and the watch.
        server.journal.look_for_base();
        server.begin_turn();
        // What the last run left open is ended before anybody connects.
        server.hand(Input::Step);
        server.note_rolled();
        server.commit()?;
        Ok(server)
    }

    /// Where the server listens, with the real ports.
    pub fn addresses(&self) -> Result<Vec<SocketAddr>, ServerError> {
        let addresses = self.listeners.iter().map(Listener::address).collect::<Result<_, _>>();
        addresses.map_err(ServerError::at("ask for the port"))
    }

    /// Serves until a signal stops it.
    pub fn run(mut self) -> Result<(), ServerError> {
        let mut reports = Reports::new();
        while !self.is_done() {
            self.turn(&mut reports)?;
        }
        self.journal.finish_sync(true)?;
        self.settle_held();
        while self.connections.has_backlog() {
            self.settle_backlog();
        }
        for id in self.connections.ids() {
            self.hand(Input::End { connection: id });
            self.connections.remove(id);
        }
        self.hand(Input::Flush);
        self.hand(Input::Checkpoint);
        self.commit()?;
        self.journal.close()?;
        Ok(())
    }

    /// One turn of the loop. What it lets out is committed before.
    fn turn(&mut self, reports: &mut Reports) -> Result<(), ServerError> {
        let has_work = self.has_work();
        let timeout = if has_work { Some(Duration::ZERO) } else { self.until_deadline() };
        reports.wait(&self.poller, timeout).map_err(ServerError::at("wait for the poller"))?;
        self.now = self.clock.now();
        // Whatever the durability: a sync that has failed ends the server.
        self.journal.finish_sync(false)?;
        if !self.journal.is_syncing() && reports.is_empty() {
            self.settle_held();
        }
        self.begin_turn();

        self.take_in(reports)?;
        let removable = self.end_gone();
        self.hand(Input::Step);
        self.submit_passwords()?;
        self.note_rolled();
        self.list_resumed();

        self.commit()?;
        self.let_out();
        for id in removable {
            self.connections.remove(id);
        }
        self.connections.give_up_largest();
        self.give_back(!has_work && reports.is_quiet());
        if self.journal.deadline().is_some_and(|due| due <= self.now.mono) {
            self.journal.housekeep(self.now.mono)?;
        }
        self.adopt();
        Ok(())
    }

    /// Where the turn has begun another file of the log, the state's digest is written down, in the batch of the
    /// event that has begun it: it costs no sync of its own.
    fn note_rolled(&mut self) {
        if self.journal.has_rolled() {
            self.hand(Input::Checkpoint);
        }
    }

    /// Takes the next piece of what a tool has compacted into use.
    fn adopt(&mut self) {
        let Self { engine, journal, .. } = self;
        journal.adopt(|record| engine.relocate(record.kind, record.payload, record.place));
        if journal.holds_superseded() && !engine.holds_places() {
            journal.let_go();
        }
    }

    /// Whether there is something to do that nothing will announce.
    fn has_work(&self) -> bool {
        let lets_go = self.journal.holds_superseded() && !self.engine.holds_places();
        let has_work = self.engine.has_work() || self.connections.has_work();
        has_work || lets_go || self.journal.is_adopting()
    }

    /// How long the poller may wait where there is nothing to do.
    fn until_deadline(&self) -> Option<Duration> {
        let deadlines = [
            self.engine.deadline(),
            self.journal.deadline(),
            self.connections.deadlines.first(),
            self.connections.looks.first(),
            // The end of a sync is announced.
            self.freed.due().filter(|_| !self.journal.is_syncing()),
            self.accepting_from,
            self.stopping.map(|since| since.plus(SHUTDOWN_MS)),
        ];
        let first = MonoMillis::first(&deadlines)?;
        Some(Duration::from_millis(first.since(self.now.mono)))
    }

    /// Gives back to the system what was freed, at a time when nobody waits for anything: in a turn to which nothing
    /// has come, that leaves nothing to do, and of which nothing is still to reach the disk.
    fn give_back(&mut self, is_quiet: bool) {
        self.freed.note(self.connections.spares.take_freed(), self.now.mono);
        let is_quiet = is_quiet && !self.has_work() && !self.journal.is_syncing();
        if is_quiet && self.freed.take_due(self.now.mono) {
            self.connections.let_go();
            self.engine.let_go();
            self.journal.let_go_memory();
            kernel::give_memory_back();
        }
    }

    fn is_done(&self) -> bool {
        let waited = |since| self.now.mono.since(since) >= SHUTDOWN_MS;
        self.stopping.is_some_and(|since| self.connections.is_empty() || waited(since))
    }

    /// Tells the engine the time. A new file of the recording begins between two turns alone.
    fn begin_turn(&mut self) {
        if let Some(black_box) = &mut self.black_box {
            black_box.begin_if_due(&self.engine, self.now.mono);
        }
        self.hand(Input::Turn(self.now));
    }

    /// Hands an input to the engine: it is recorded before, and what comes of it after. No input goes another way.
    fn hand(&mut self, input: Input<'_>) {
        let Self { engine, journal, connections, black_box, .. } = self;
        let Some(black_box) = black_box else {
            engine.handle(input, &mut Surroundings { journal, connections, black_box: None });
            return;
        };
        black_box.record(&input);
        let mark = engine.poll_outbox().mark();
        let black_box = Some(&mut *black_box);
        engine.handle(input, &mut Surroundings { journal, connections, black_box });
        if self.journal.has_failed() {
            // What comes of half an answer would be found to differ, and nobody will get it.
            self.black_box = None;
        } else if let Some(black_box) = &mut self.black_box {
            black_box.record_output(engine, mark);
        }
    }

    /// Gives the next password to the worker. Who has tried too often is refused by the look for it.
    fn submit_passwords(&mut self) -> Result<(), ServerError> {
        let mark = self.engine.poll_outbox().mark();
        while let Some(job) = self.engine.poll_password_job() {
            self.passwords.submit(job)?;
        }
        if let Some(black_box) = &mut self.black_box {
            black_box.record_output(&mut self.engine, mark);
        }
        Ok(())
    }

    /// Brings the turn's changes to disk. What has led to them is written first, which waits for nothing: when
    /// something goes wrong here, it is what one wants to see.
    fn commit(&mut self) -> Result<(), ServerError> {
        if let Some(black_box) = &mut self.black_box {
            black_box.flush();
        }
        if self.journal.is_syncing() {
            self.journal.finish_sync(true)?;
        }
        // Where something has failed, nobody hears anything more, not even of the turn before.
        self.journal.check()?;
        if self.journal.syncs_beside() {
            // While the disk works on this turn's batch, what the turn before has made goes out.
            self.journal.commit_beside(self.now.mono)?;
            self.settle_held();
            self.settle_backlog();
            // What comes of this turn waits for the disk in any case.
            while self.connections.has_backlog() && !self.journal.finish_sync(false)? {
                self.settle_backlog();
            }
        } else {
            self.settle_held();
            self.journal.commit(self.now.mono)?;
        }
        Ok(())
    }
}

fn listen(addresses: &[SocketAddr], poller: &Arc<Poller>) -> Result<Vec<Listener>, ServerError> {
    let bind = |(at, &address): (usize, &SocketAddr)| {
        Listener::bind(address, poller, KEY_LISTENERS + at)
            .map_err(|error| ServerError::Listen { address, error })
    };
    addresses.iter().enumerate().map(bind).collect()
}

/// Says how much memory it may take, and who is shut out since it would take more.
fn tell_memory(options: &Options, connections_possible: usize, state: &State) {
    let OnRecord { memory_kib_max, too_dear } = OnRecord::of(state);
    let bound = Bound::of(options, connections_possible, memory_kib_max);
    ::log::info!("{}", bound.beside(memory::held()));
    if too_dear > 0 {
        ::log::warn!(
            "{too_dear} users cannot log in: to compare their passwords would cost more than a server takes on; \
             start the version that made the hashes, with a lower --password-cost, and have them change their passwords"
        );
    }
}

/// Opens the log and rebuilds the state from it.
fn recover(
    options: &Options,
    poller: &Arc<Poller>,
    mut start: Start<'_>,
) -> Result<(State, Journal), ServerError> {
    let folder = &options.data;
    let log_options = crate::log::Options {
        segment_size: options.segment_bytes,
        durability: options.durability,
        charset: options.settings.charset.tag(),
    };
    let fresh_log_id = outside::random().map_err(|error| ServerError::System {
        doing: "draw random bytes",
        error: io::Error::other(error.to_string()),
    })?;
    let fresh_log_id = u64::from_ne_bytes(fresh_log_id);
    let mut tries = OPENING_TRIES;
    loop {
        let storage = DiskStorage::create(folder)
            .map_err(|error| ServerError::Folder { folder: folder.clone(), error })?;
        let waker = Arc::clone(poller);
        let wake = move || {
            // Nobody is left to wake where this fails.
            let _ = waker.notify();
        };
        let storage = storage
            .syncing_beside(wake)
            .map_err(ServerError::at("start the thread that waits for the disk"))?;
        let mut state = State::default();
        let now = outside::wall();
        let opened = Log::open_watched(
            storage,
            log_options,
            fresh_log_id,
            now,
            Rebuilding(&mut state),
            |progress| start.handle(progress),
        );
        match opened {
            Ok((log, recovery)) => {
                start.end();
                report(&recovery);
                return Ok((state, Journal::new(log)));
            }
            Err(OpenError::Compacted) if tries > 0 => tries -= 1,
            Err(error) => return Err(ServerError::Open { folder: folder.clone(), error }),
        }
    }
}

/// The state that the log's records make.
struct Rebuilding<'a>(&'a mut State);

impl Rebuild<RecordError> for Rebuilding<'_> {
    fn look_ahead(&mut self, batch: &Batch<'_>) {
        if batch.base.is_none() {
            self.0.look_ahead(batch.records().map(|record| (record.kind, record.payload)));
        }
    }

    fn take(&mut self, record: &Record<'_>) -> Result<(), RecordError> {
        let Record { seq, time, kind, payload, place, in_base } = *record;
        self.0.take_record(Stamp { seq, time, place }, in_base, kind, payload)
    }
}

/// Begins to record the input, where that is wanted. A server that cannot be recorded serves all the same.
fn record(options: &Options, log_id: u64) -> Option<Recorder> {
    if options.black_box_bytes == 0 {
        return None;
    }
    let folder = options.data.join(black_box::FOLDER);
    let recording = black_box::Options {
        bytes_max: options.black_box_bytes,
        texts: options.black_box_texts,
        log_id,
        run: outside::wall(),
    };
    let recorder = Recorder::open(&folder, recording).inspect_err(|error| {
        ::log::warn!("{}: the latest input is not recorded: {error}", folder.display());
    });
    recorder.ok()
}

/// Watches the log's folder, where the system can.
fn watch(folder: &Path, poller: &Arc<Poller>) -> Option<Watch> {
    let watch = Watch::new(folder, poller, KEY_WATCH);
    watch.inspect_err(|error| ::log::info!("cannot watch {}: {error}", folder.display())).ok()
}

/// Says what was cut off, which nobody should learn by chance.
fn report(recovery: &Recovery) {
    if let Some((torn, saved)) = &recovery.torn {
        ::log::warn!(
            "{}: cut off a torn end of {} bytes after sequence number {}, kept in {}",
            torn.file.display(),
            torn.bytes,
            torn.after,
            saved.display()
        );
    }
    ::log::info!("{} events in {} files read", recovery.events, recovery.segments);
}
