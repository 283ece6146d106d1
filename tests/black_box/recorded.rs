//! A server without sockets that is recorded: the real engine over the real log and the real recorder, with the
//! turns of the real loop, and whatever comes of clients.
//!
//! Owns the order of a turn and what clients do by chance. It decides nothing about requests.

#![allow(dead_code, missing_docs, unreachable_pub, reason = "each test uses a part of it")]

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use oicq::black_box::{FOLDER, Options, Recorder, Texts};
use oicq::engine::{
    Engine, Host, Input, Outcome, Overdue, PasswordJob, Settings, StorageFull, Verdict,
};
use oicq::id::{ConnectionId, MonoMillis, Now, Place, Seq, UnixMillis};
use oicq::log::{DiskStorage, Durability, Log};
use oicq::net::Journal;
use oicq::state::{Stamp, State};
use oicq::wire::cut;

use crate::chance::Chance;
use crate::chance::packets::{content, entrance, packet};
use crate::kit::verdict;

/// The log's id.
pub const LOG_ID: u64 = 7;

/// How a server is recorded.
#[derive(Clone, Copy)]
pub struct Form {
    pub bytes_max: u64,
    pub texts: Texts,
}

impl Form {
    /// All of it in one file.
    pub const WHOLE: Self = Self { bytes_max: 1 << 30, texts: Texts::Kept };
}

/// What the engine sees of its surroundings, which are now and then against it.
struct Surroundings<'a> {
    journal: &'a mut Journal,
    recorder: &'a mut Recorder,
    acknowledged: &'a BTreeMap<ConnectionId, u64>,
    waiting: usize,
    is_full: bool,
}

impl Host for Surroundings<'_> {
    fn append(
        &mut self,
        time: UnixMillis,
        kind: u8,
        payload: &[u8],
    ) -> Result<(Seq, Place), StorageFull> {
        let appended = match self.is_full {
            true => Err(StorageFull),
            false => self.journal.append(time, kind, payload),
        };
        self.recorder.record_append(appended.is_ok());
        appended
    }

    fn read(&self, place: Place, length: u32, out: &mut Vec<u8>) {
        self.journal.read(place, length, out);
    }

    fn acknowledged(&mut self, connection: ConnectionId) -> u64 {
        let bytes = self.acknowledged.get(&connection).copied().unwrap_or(0);
        self.recorder.record_acknowledged(bytes);
        bytes
    }

    fn waiting(&mut self, _: ConnectionId) -> usize {
        self.recorder.record_waiting(self.waiting);
        self.waiting
    }
}

/// A run of the server.
pub struct Recorded {
    pub engine: Engine,
    journal: Journal,
    recorder: Recorder,
    now: Now,
    acknowledged: BTreeMap<ConnectionId, u64>,
    /// What each connection was sent, in bytes.
    sent: BTreeMap<ConnectionId, u64>,
    waiting: usize,
    is_full: bool,
    kinds: BTreeMap<ConnectionId, u8>,
    closed: Vec<ConnectionId>,
    job: Option<PasswordJob>,
}

impl Recorded {
    /// A run on a folder, which earlier ones may have left something in.
    pub fn start(folder: &Path, settings: Settings, form: Form, now: Now) -> Self {
        let storage = DiskStorage::create(folder).unwrap();
        let options = oicq::log::Options {
            segment_size: 64 << 10,
            durability: Durability::Never,
            charset: settings.charset.tag(),
        };
        let mut state = State::default();
        let (log, _) = Log::open(storage, options, LOG_ID, UnixMillis(1), |record| {
            let stamp = Stamp { seq: record.seq, time: record.time, place: record.place };
            state.take_record(stamp, record.in_base, record.kind, record.payload).unwrap();
            Ok::<_, Infallible>(())
        })
        .unwrap();
        let Form { bytes_max, texts } = form;
        let recording = Options { bytes_max, texts, log_id: LOG_ID, run: now.wall };
        let mut recorded = Self {
            engine: Engine::new(settings, state),
            journal: Journal::new(log),
            recorder: Recorder::open(&folder.join(FOLDER), recording).unwrap(),
            now,
            acknowledged: BTreeMap::new(),
            sent: BTreeMap::new(),
            waiting: 0,
            is_full: false,
            kinds: BTreeMap::new(),
            closed: Vec::new(),
            job: None,
        };
        recorded.turn(|_| ());
        recorded
    }

    /// The time.
    pub const fn now(&self) -> Now {
        self.now
    }

    /// A turn of the loop.
    pub fn turn(&mut self, inputs: impl FnOnce(&mut Self)) {
        self.recorder.begin_if_due(&self.engine, self.now.mono);
        self.hand(Input::Turn(self.now));
        inputs(self);
        self.hand(Input::Step);
        let mark = self.engine.poll_outbox().mark();
        while let Some(job) = self.engine.poll_password_job() {
            assert!(self.job.replace(job).is_none(), "one password is worked on at a time");
        }
        self.recorder.record_output(&mut self.engine, mark);
        while self.engine.poll_resumed().is_some() {}
        self.recorder.flush();
        self.journal.commit(self.now.mono).unwrap();
        let outbox = self.engine.poll_outbox();
        for (to, bytes) in outbox.sends() {
            *self.sent.entry(to).or_default() += bytes.len() as u64;
        }
        self.closed.extend(outbox.closes());
        outbox.clear();
    }

    /// Hands an input to the engine as the loop does.
    pub fn hand(&mut self, input: Input<'_>) {
        self.recorder.record(&input);
        let mark = self.engine.poll_outbox().mark();
        let (waiting, is_full) = (self.waiting, self.is_full);
        let mut host = Surroundings {
            journal: &mut self.journal,
            recorder: &mut self.recorder,
            acknowledged: &self.acknowledged,
            waiting,
            is_full,
        };
        self.engine.handle(input, &mut host);
        self.recorder.record_output(&mut self.engine, mark);
    }

    /// Something happens.
    pub fn happen(&mut self, chance: &mut Chance) {
        let alive: Vec<_> = self.kinds.keys().copied().collect();
        let some = (!alive.is_empty()).then(|| chance.pick(&alive));
        let what = chance.weighted(&[160, 8, 4, 6, 4, 2, 2, 8, 12]);
        self.turn(|server| match (what, some) {
            (1, _) | (_, None) => server.connect(chance),
            (0, Some(id)) => server.send(id, chance),
            (2, Some(id)) => server.end(id),
            (3, _) => server.pass(chance.pick(&[0, 1, 49, 50, 51, 1_000, 61_000])),
            (4, _) => server.waiting = chance.pick(&[0, 0, 1, 200_000, 300_000]),
            (5, _) => server.is_full = !server.is_full && chance.one_in(3),
            (6, Some(connection)) => {
                let overdue = chance.pick(&[Overdue::Login, Overdue::Idle, Overdue::Slow]);
                server.hand(Input::Overdue { connection, overdue });
            }
            (7, Some(connection)) => server.hand(Input::Room { connection }),
            (_, Some(id)) => server.acknowledge(id, chance),
        });
        for closed in std::mem::take(&mut self.closed) {
            if chance.one_in(2) && self.kinds.contains_key(&closed) {
                self.turn(|server| server.end(closed));
            }
        }
        if self.job.is_some() && chance.one_in(3) {
            self.answer_password();
        }
    }

    /// Time passes.
    pub fn wait(&mut self, millis: u64) {
        self.pass(millis);
        self.turn(|_| ());
    }

    /// The password that is being worked on is done.
    pub fn answer_password(&mut self) {
        if let Some(job) = self.job.take() {
            let Verdict { ticket, outcome } = verdict(&job);
            let outcome = match outcome {
                // Some hashes are of another cost.
                Outcome::Matches(true) if ticket % 3 == 0 => Outcome::MatchesOlder,
                outcome => outcome,
            };
            self.turn(|server| server.hand(Input::Verdict(Verdict { ticket, outcome })));
        }
    }

    /// Ends as a server that is stopped does.
    pub fn stop(mut self) -> Now {
        self.turn(|server| {
            server.is_full = false;
            server.hand(Input::Shutdown);
        });
        let ids: Vec<_> = self.kinds.keys().copied().collect();
        ids.into_iter().for_each(|connection| self.hand(Input::End { connection }));
        self.hand(Input::Flush);
        self.recorder.flush();
        self.journal.commit(self.now.mono).unwrap();
        self.journal.close().unwrap();
        self.now
    }

    fn connect(&mut self, chance: &mut Chance) {
        // The smallest free number, as a server takes it.
        let free = (0..).map(ConnectionId).find(|id| !self.kinds.contains_key(id)).unwrap();
        let kind = if chance.one_in(6) { chance.pick(&[0x05, 0x02, 0x03]) } else { 0x0A };
        self.kinds.insert(free, kind);
        let address = IpAddr::from([192, 0, 2, chance.byte() % 3]);
        self.hand(Input::Connect { connection: free, address });
    }

    fn send(&mut self, connection: ConnectionId, chance: &mut Chance) {
        let kind = self.kinds[&connection];
        let favourite = [10_001, 10_002, 10_003, 10_005, 10_006][connection.0 % 5];
        for _ in 0..=chance.below(3) {
            if !self.engine.is_ready(connection) {
                return;
            }
            let expected = self.engine.expected(connection);
            let in_session = expected.content_bytes_max > 8_192;
            let registered = self.engine.state().user_count() >= 6;
            let inside = in_session && !chance.one_in(60);
            let said = if inside || chance.one_in(20) {
                content(chance, favourite)
            } else {
                entrance(chance, favourite, registered)
            };
            let bytes = packet(chance, kind, said);
            match cut(&bytes, expected) {
                Ok(Some(frame)) => self.hand(Input::Packet { connection, frame }),
                Ok(None) => {}
                Err(error) => self.hand(Input::FrameError { connection, error }),
            }
        }
    }

    fn end(&mut self, connection: ConnectionId) {
        self.hand(Input::End { connection });
        self.kinds.remove(&connection);
        self.acknowledged.remove(&connection);
        self.sent.remove(&connection);
    }

    fn pass(&mut self, millis: u64) {
        self.now.wall = UnixMillis(self.now.wall.0 + millis);
        self.now.mono = MonoMillis(self.now.mono.0 + millis);
    }

    /// The system knows of some bytes that they have arrived; the engine may hear of it later.
    fn acknowledge(&mut self, connection: ConnectionId, chance: &mut Chance) {
        let sent = self.sent.get(&connection).copied().unwrap_or(0);
        let sent = usize::try_from(sent).unwrap();
        let known = self.acknowledged.get(&connection).copied().unwrap_or(0);
        let bytes = known.max(chance.below(sent + 1) as u64);
        self.acknowledged.insert(connection, bytes);
        if chance.one_in(2) {
            self.hand(Input::Acknowledged { connection, bytes });
        }
    }
}

/// Runs of a server on one folder, with so much that happens in each.
pub fn record(
    folder: &Path,
    chance: &mut Chance,
    settings: &Settings,
    form: Form,
    runs: &[usize],
) -> PathBuf {
    let mut now = Now { wall: UnixMillis(1_000_000_000_000), mono: MonoMillis(1_000_000) };
    for happenings in runs {
        let mut server = Recorded::start(folder, settings.clone(), form, now);
        for _ in 0..*happenings {
            server.happen(chance);
        }
        now = if chance.one_in(2) { server.stop() } else { server.now() };
        now.wall.0 += 5_000;
        now.mono.0 = 1_000;
    }
    folder.join(FOLDER)
}
