//! A server without sockets on a simulated disk: the real engine over the real journal, with the turns of
//! the real loop. What it has released is what its clients were told of.
//!
//! Owns the order of a turn, connections and what they have taken, and the clock, which goes on only when it
//! is told to. It decides nothing about requests.

#![allow(missing_docs, unreachable_pub, reason = "a part of one test")]

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use oicq::engine::{Engine, Host, Settings, StorageFull};
use oicq::id::{ConnectionId, MonoMillis, Now, Place, Seq, ServiceNumber, UnixMillis};
use oicq::log::{Durability, Failed, Log, OpenError, Options, Recovery};
use oicq::net::Journal;
use oicq::state::{Stamp, State};
use oicq::wire::{ClientPacket, Kind, Request, cut};

use super::story::{LOG_ID, Story, options};
use crate::disk::MemDisk;
use crate::kit::verdict;

/// When the first server begins.
pub const BEGINNING: Now = Now { wall: UnixMillis(1_000_000_000_000), mono: MonoMillis(1_000_000) };
/// Who may monitor.
pub const OPERATOR: ServiceNumber = ServiceNumber::FIRST;

/// What the engine sees of its surroundings.
pub struct Surroundings {
    pub journal: Journal<MemDisk>,
    story: Story,
    /// Changes were refused for want of room.
    pub refused: u64,
    taken: BTreeMap<ConnectionId, u64>,
}

impl Host for Surroundings {
    fn append(
        &mut self,
        time: UnixMillis,
        kind: u8,
        payload: &[u8],
    ) -> Result<(Seq, Place), StorageFull> {
        let added = self.journal.append(time, kind, payload);
        match added {
            Ok((seq, place)) => self.story.tell(time, kind, payload, seq, place),
            Err(StorageFull) => {
                self.refused += 1;
                // What came before it may have been written to make room.
                self.story.end_batch();
            }
        }
        added
    }

    fn read(&self, place: Place, length: u32, out: &mut Vec<u8>) {
        self.journal.read(place, length, out);
    }

    fn acknowledged(&mut self, connection: ConnectionId) -> u64 {
        self.taken.get(&connection).copied().unwrap_or(0)
    }

    fn waiting(&mut self, _: ConnectionId) -> usize {
        0
    }
}

/// A client's end of a connection.
#[derive(Default)]
struct Client {
    sent_bytes: u64,
    /// It takes nothing.
    deaf: bool,
    closed: bool,
}

/// What a turn has to say, held until it is on disk.
struct Held {
    events: usize,
    sends: Vec<(ConnectionId, usize)>,
    closes: Vec<ConnectionId>,
}

/// A server that runs, and its clients.
pub struct Server {
    pub engine: Engine,
    pub surroundings: Surroundings,
    pub now: Now,
    durability: Durability,
    /// What the last turn has to say, and after how many events, while its sync is under way.
    held: Option<Held>,
    clients: BTreeMap<ConnectionId, Client>,
    /// Compacted logs that were taken into use.
    pub adopted: u64,
}

fn settings() -> Settings {
    Settings {
        operators: [OPERATOR].into(),
        registrations: 0,
        connections: 0,
        requests_per_second: 0,
        ..Settings::default()
    }
}

impl Server {
    /// Starts a server on what is on the disk, as the real one does.
    pub fn open(
        disk: MemDisk,
        durability: Durability,
        story: &Story,
        mut now: Now,
    ) -> Result<Self, StartError> {
        story.set_recovering(true);
        let opened = recover(&disk, options(durability), now);
        story.set_recovering(false);
        let (log, recovery, state) = opened.map_err(StartError::Open)?;
        assert_eq!(recovery.last_seq.0, story.events() as u64, "nothing is lost in between");
        story.is_safe(story.events());
        let journal = Journal::new(log);
        now.wall = now.wall.max(journal.last_time());
        let story = story.clone();
        let mut server = Self {
            engine: Engine::new(settings(), state),
            surroundings: Surroundings { journal, story, refused: 0, taken: BTreeMap::new() },
            now,
            durability,
            held: None,
            clients: BTreeMap::new(),
            adopted: 0,
        };
        server.look_for_base();
        server.turn(|_, _| ()).map_err(StartError::Run)?;
        Ok(server)
    }

    /// One turn, and what is due after it. Passwords are hashed in no time.
    pub fn turn(
        &mut self,
        input: impl FnOnce(&mut Engine, &mut Surroundings),
    ) -> Result<(), Failed> {
        if !self.surroundings.journal.is_syncing()
            || self.surroundings.journal.finish_sync(false)?
        {
            self.let_out();
        }
        let Self { engine, surroundings, now, .. } = self;
        engine.begin_turn(*now);
        input(engine, surroundings);
        engine.handle_step(surroundings);
        if surroundings.journal.has_rolled() {
            engine.handle_checkpoint(surroundings);
        }
        while let Some(job) = engine.poll_password_job() {
            engine.handle_verdict(verdict(&job), surroundings);
        }
        while engine.has_work() {
            engine.handle_step(surroundings);
        }
        while engine.poll_resumed().is_some() {}
        if surroundings.journal.is_syncing() {
            surroundings.journal.finish_sync(true)?;
        }
        if surroundings.journal.syncs_beside() {
            surroundings.journal.commit_beside(now.mono)?;
            surroundings.story.end_batch();
            self.let_out();
        } else {
            self.let_out();
            self.surroundings.journal.commit(self.now.mono)?;
            self.surroundings.story.end_batch();
        }
        self.hold();
        if !self.surroundings.journal.is_syncing() {
            self.let_out();
        }
        if self.surroundings.journal.deadline().is_some_and(|due| due <= self.now.mono) {
            self.surroundings.journal.housekeep(self.now.mono)?;
        }
        self.adopt();
        Ok(())
    }

    /// Takes the next piece of what a tool has compacted into use, as the real loop does.
    fn adopt(&mut self) {
        let Self { engine, surroundings: Surroundings { journal, .. }, .. } = self;
        journal.adopt(|record| engine.relocate(record.kind, record.payload, record.place));
        if journal.holds_superseded() && !engine.holds_places() {
            journal.let_go();
            self.adopted += 1;
        }
    }

    /// Something has got a name in the folder.
    pub fn look_for_base(&mut self) {
        self.surroundings.journal.look_for_base();
    }

    /// Takes what the turn has to say out of the engine.
    fn hold(&mut self) {
        assert!(self.held.is_none(), "a turn is let out before the next one is held");
        let outbox = self.engine.poll_outbox();
        let sends = outbox.sends().map(|(to, bytes)| (to, bytes.len())).collect();
        let closes = outbox.closes().to_vec();
        outbox.clear();
        self.held = Some(Held { events: self.surroundings.story.events(), sends, closes });
    }

    /// Releases what is held: with this, clients have been told of everything up to there.
    fn let_out(&mut self) {
        let Some(Held { events, sends, closes }) = self.held.take() else { return };
        if self.durability == Durability::Always {
            self.surroundings.story.is_safe(events);
        }
        for (to, len) in sends {
            self.clients.entry(to).or_default().sent_bytes += len as u64;
        }
        for closed in closes {
            self.clients.entry(closed).or_default().closed = true;
        }
        for (id, client) in self.clients.iter().filter(|(_, client)| !client.deaf) {
            self.surroundings.taken.insert(*id, client.sent_bytes);
            self.engine.handle_acknowledged(*id, client.sent_bytes);
        }
    }

    /// Lets so many milliseconds pass, with a turn whenever one is wanted.
    pub fn pass(&mut self, millis: u64) -> Result<(), Failed> {
        let until = self.now.mono.plus(millis);
        loop {
            let is_syncing = self.surroundings.journal.is_syncing();
            let soon = is_syncing.then_some(self.now.mono);
            let deadlines = [self.engine.deadline(), self.surroundings.journal.deadline(), soon];
            let next = deadlines.into_iter().flatten().min().filter(|next| *next < until);
            let next = next.unwrap_or(until).max(self.now.mono);
            self.now.wall.0 += next.since(self.now.mono);
            self.now.mono = next;
            self.turn(|_, _| ())?;
            if next >= until {
                return Ok(());
            }
            // What was done may leave more to do at once; time goes on all the same.
            self.now.mono.0 += 1;
            self.now.wall.0 += 1;
        }
    }

    /// The lowest number that no connection has.
    pub fn free_connection(&self) -> ConnectionId {
        let mut ids = (0..).map(ConnectionId);
        ids.find(|id| !self.clients.contains_key(id)).expect("numbers do not end")
    }

    /// A client connects, within a turn.
    pub fn connect(&mut self) -> Result<ConnectionId, Failed> {
        let id = self.free_connection();
        self.clients.insert(id, Client::default());
        let address = IpAddr::V4(Ipv4Addr::LOCALHOST);
        self.turn(|engine, surroundings| engine.handle_connect(id, address, surroundings))?;
        Ok(id)
    }

    /// A client's end is gone.
    pub fn disconnect(&mut self, id: ConnectionId) -> Result<(), Failed> {
        self.turn(|engine, surroundings| engine.handle_end(id, surroundings))?;
        self.clients.remove(&id);
        self.surroundings.taken.remove(&id);
        Ok(())
    }

    /// After a failure, nothing can be appended, written or synced any more.
    pub fn assert_ended(self, disk: &MemDisk) {
        let Self { surroundings: Surroundings { mut journal, .. }, now, .. } = self;
        let calls = disk.changes();
        assert!(journal.append(now.wall, 1, b"").is_err(), "it still takes events");
        assert!(journal.commit(now.mono).is_err(), "it still commits");
        assert!(journal.housekeep(now.mono).is_err(), "it still does housekeeping");
        assert!(journal.close().is_err(), "it closes as if nothing had been");
        assert_eq!(disk.changes(), calls, "and nothing is written on the way");
    }

    pub fn is_closed(&self, id: ConnectionId) -> bool {
        self.clients.get(&id).is_none_or(|client| client.closed)
    }

    pub fn set_deaf(&mut self, id: ConnectionId, deaf: bool) {
        if let Some(client) = self.clients.get_mut(&id) {
            client.deaf = deaf;
        }
    }

    /// Many packets in one turn.
    pub fn packets(&mut self, packets: &[(ConnectionId, Vec<u8>)]) -> Result<(), Failed> {
        self.turn(|engine, surroundings| {
            for (from, bytes) in packets {
                if !engine.is_ready(*from) {
                    continue;
                }
                if let Ok(Some(frame)) = cut(bytes, engine.expected(*from)) {
                    engine.handle_packet(*from, frame, surroundings);
                }
            }
        })
    }

    /// Stops in order: everybody is told, what is left is written, the log is closed.
    pub fn stop(mut self) -> Result<Now, Failed> {
        self.turn(|engine, surroundings| engine.handle_shutdown(surroundings))?;
        for id in self.clients.keys().copied().collect::<Vec<_>>() {
            self.disconnect(id)?;
        }
        self.turn(|engine, surroundings| {
            engine.flush_deliveries(surroundings);
            engine.handle_checkpoint(surroundings);
        })?;
        let Surroundings { journal, story, .. } = self.surroundings;
        journal.close()?;
        story.is_safe(story.events());
        Ok(self.now)
    }
}

/// Reads the log, again if a tool has compacted it meanwhile.
fn recover(
    disk: &MemDisk,
    options: Options,
    now: Now,
) -> Result<(Log<MemDisk>, Recovery, State), OpenError<String>> {
    loop {
        let mut state = State::default();
        let opened = Log::open(disk.clone(), options, LOG_ID, now.wall, |record| {
            let stamp = Stamp { seq: record.seq, time: record.time, place: record.place };
            let taken = state.take_record(stamp, record.in_base, record.kind, record.payload);
            taken.map_err(|error| error.to_string())
        });
        match opened {
            Err(OpenError::Compacted) => {}
            Err(error) => return Err(error),
            Ok((log, recovery)) => return Ok((log, recovery, state)),
        }
    }
}

/// A client's packet.
pub fn packet(own: ServiceNumber, request: Request<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    ClientPacket { own, request }.encode(Kind::User, &mut bytes);
    bytes
}

/// Why a server did not start.
#[derive(Debug)]
pub enum StartError {
    Open(OpenError<String>),
    Run(Failed),
}
