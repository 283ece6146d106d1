//! What the tests share: an engine with a journal in memory and a clock of its own, and clients that
//! speak to it in packets.

#![allow(dead_code, missing_docs, unreachable_pub, reason = "each test uses a part of it")]
#![allow(clippy::cast_possible_truncation, reason = "places are made of small indexes")]

pub mod capture;
pub mod extended;
pub mod golden;
pub mod people;
pub mod play;
pub mod replayed;

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;

use oicq::engine::{Engine, Host, Outcome, PasswordJob, Settings, StorageFull, Task, Verdict};
use oicq::id::{ConnectionId, MonoMillis, Now, Place, Seq, ServiceNumber, UnixMillis};
use oicq::state::{Digest, Event, Mailbox, MessageKind, Stamp, State, sense};
use oicq::wire::server::{Sign, SystemKind};
use oicq::wire::{ClientPacket, Code, Expected, Frame, Kind, Notice, Request, ServerPacket, cut};

/// So many users at most are looked at after each turn: what that costs grows with them.
const CHECKED_USERS: usize = 12;

/// A record of the journal in memory.
#[derive(Clone, Debug)]
pub struct Entry {
    pub time: UnixMillis,
    pub kind: u8,
    pub payload: Vec<u8>,
}

/// A journal in memory; a place is the record's index and the offset in its payload.
#[derive(Default)]
pub struct Journal {
    pub entries: Vec<Entry>,
    /// No room for further events.
    pub full: bool,
    /// What every connection is slow to take, in bytes.
    pub waiting: usize,
    /// What each connection's other end has taken, in bytes.
    pub acknowledged: BTreeMap<ConnectionId, u64>,
}

impl Journal {
    /// The state that the journal's events make.
    pub fn replay(&self) -> State {
        let mut state = State::default();
        for (index, entry) in self.entries.iter().enumerate() {
            let seq = Seq(index as u64 + 1);
            let stamp = Stamp { seq, time: entry.time, place: Place((index as u64) << 32) };
            state.apply_record(stamp, entry.kind, &entry.payload).expect("own events apply");
        }
        state
    }
}

impl Host for Journal {
    fn append(
        &mut self,
        time: UnixMillis,
        kind: u8,
        payload: &[u8],
    ) -> Result<(Seq, Place), StorageFull> {
        if self.full {
            return Err(StorageFull);
        }
        let index = self.entries.len() as u64;
        self.entries.push(Entry { time, kind, payload: payload.to_vec() });
        Ok((Seq(index + 1), Place(index << 32)))
    }

    fn read(&self, place: Place, length: u32, out: &mut Vec<u8>) {
        let (index, offset) = ((place.0 >> 32) as usize, (place.0 & 0xFFFF_FFFF) as usize);
        out.extend_from_slice(&self.entries[index].payload[offset..offset + length as usize]);
    }

    fn acknowledged(&mut self, connection: ConnectionId) -> u64 {
        self.acknowledged.get(&connection).copied().unwrap_or(0)
    }

    fn waiting(&mut self, _connection: ConnectionId) -> usize {
        self.waiting
    }
}

/// A packet as a client has got it.
#[derive(Clone, PartialEq, Eq)]
pub struct Got {
    pub packet_type: u8,
    pub receiver: u8,
    pub content: Vec<u8>,
}

impl Got {
    pub fn packet(&self) -> ServerPacket<'_> {
        ServerPacket::decode(self.packet_type, &self.content).expect("the server's packets decode")
    }

    /// The notice's refused type and code, if it is one.
    pub fn notice(&self) -> Option<(u8, Code, String)> {
        match self.packet() {
            ServerPacket::Message { sign: Sign::System(SystemKind::Notice), text, .. } => {
                let notice = Notice::parse(text).expect("a notice is one line of its shape");
                Some((notice.packet_type, notice.code, notice.sentence.to_owned()))
            }
            _ => None,
        }
    }
}

impl std::fmt::Debug for Got {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.notice() {
            Some((packet_type, code, sentence)) => {
                write!(f, "notice 0x{packet_type:02X} {code}: {sentence}")
            }
            None => self.packet().fmt(f),
        }
    }
}

/// An engine, its journal, its clock and its connections.
pub struct World {
    pub engine: Engine,
    pub journal: Journal,
    pub settings: Settings,
    pub now: Now,
    /// Packets that connections have got and the test has not looked at.
    inboxes: BTreeMap<ConnectionId, VecDeque<Got>>,
    sent_bytes: BTreeMap<ConnectionId, u64>,
    closed: Vec<ConnectionId>,
    next_connection: usize,
    /// Connections whose other end takes nothing.
    pub deaf: Vec<ConnectionId>,
    kinds: BTreeMap<ConnectionId, Kind>,
    /// Password jobs are left to the test.
    pub hold_passwords: bool,
}

impl World {
    pub fn new() -> Self {
        Self::with(Settings { registrations: 0, connections: 0, ..Settings::default() })
    }

    pub fn with(settings: Settings) -> Self {
        Self::over(settings, Journal::default())
    }

    /// A server that starts on what an earlier one has written.
    pub fn over(settings: Settings, journal: Journal) -> Self {
        let mut world = Self {
            engine: Engine::new(settings.clone(), journal.replay()),
            journal,
            settings,
            now: Now { wall: UnixMillis(1_000_000_000_000), mono: MonoMillis(1_000_000) },
            inboxes: BTreeMap::new(),
            sent_bytes: BTreeMap::new(),
            closed: Vec::new(),
            next_connection: 0,
            deaf: Vec::new(),
            kinds: BTreeMap::new(),
            hold_passwords: false,
        };
        world.turn(|_, _| ());
        world
    }

    /// Ends the server without a word, and starts another on its journal.
    pub fn restart(self) -> Self {
        let Self { settings, journal, now, next_connection, .. } = self;
        let entries = journal.entries;
        let mut world = Self::over(settings, Journal { entries, ..Journal::default() });
        world.now = now;
        world.next_connection = next_connection;
        world
    }

    /// The state's digest; all that is known agrees with itself.
    #[track_caller]
    pub fn digest(&self) -> Digest {
        self.check();
        self.engine.state().digest()
    }

    /// Whether all that is known agrees with itself: the state, the engine beside it, and the texts that wait.
    #[track_caller]
    pub fn check(&self) {
        let state = self.engine.state();
        assert_eq!(state.find_contradiction(), None);
        assert_eq!(self.engine.find_contradiction(), None);
        assert_eq!(sense::check_state(state), Ok(()));
        for (number, user) in state.users() {
            let lists =
                |asker: &ServiceNumber| state.user(*asker).unwrap().friend(number).is_some();
            assert!(!user.requests().iter().any(lists), "a friend of {number} waits for an answer");
            self.check_mailbox(user.mailbox());
        }
    }

    /// The texts are where they are said to be, and users have not been let in beyond what a mailbox holds.
    #[track_caller]
    fn check_mailbox(&self, mailbox: &Mailbox) {
        let (mut messages, mut bytes, mut text) = (0, 0, Vec::new());
        for (seq, waiting) in mailbox.iter() {
            text.clear();
            self.journal.read(waiting.place, waiting.length, &mut text);
            assert_eq!(crc32fast::hash(&text), waiting.checksum, "the text of message {seq}");
            if waiting.kind == MessageKind::User {
                (messages, bytes) = (messages + 1, bytes + u64::from(waiting.length));
            }
        }
        let Settings { mailbox_messages, mailbox_bytes, .. } = self.settings;
        assert!(
            messages <= mailbox_messages && bytes <= mailbox_bytes,
            "{messages}, {bytes} bytes"
        );
    }

    pub fn events(&self) -> usize {
        self.journal.entries.len()
    }

    /// The kinds of the events from the index `from` on.
    pub fn event_names(&self, from: usize) -> Vec<&'static str> {
        self.journal.entries[from..]
            .iter()
            .map(|entry| Event::decode(entry.kind, &entry.payload).unwrap().kind().name())
            .collect()
    }

    /// Lets time pass, in milliseconds.
    pub fn pass(&mut self, millis: u64) {
        self.now.wall.0 += millis;
        self.now.mono.0 += millis;
        self.turn(|_, _| ());
    }

    /// One turn: inputs, the end of the turn, passwords (hashed in no time), output to the inboxes.
    pub fn turn<T>(&mut self, inputs: impl FnOnce(&mut Engine, &mut Journal) -> T) -> T {
        self.engine.begin_turn(self.now);
        let result = inputs(&mut self.engine, &mut self.journal);
        self.engine.handle_step(&mut self.journal);
        self.collect();
        while !self.hold_passwords
            && let Some(job) = self.engine.poll_password_job()
        {
            self.engine.handle_verdict(verdict(&job), &mut self.journal);
            self.collect();
        }
        self.collect();
        while self.engine.has_work() {
            self.engine.begin_turn(self.now);
            self.engine.handle_step(&mut self.journal);
            self.collect();
        }
        while self.engine.poll_resumed().is_some() {}
        if self.engine.state().user_count() <= CHECKED_USERS {
            self.check();
        }
        self.acknowledge();
        result
    }

    fn collect(&mut self) {
        let outbox = self.engine.poll_outbox();
        for (to, bytes) in outbox.sends() {
            let mut rest = bytes;
            *self.sent_bytes.entry(to).or_default() += bytes.len() as u64;
            while !rest.is_empty() {
                let length = u32::from_be_bytes(rest[4..8].try_into().unwrap()) as usize;
                assert_eq!(rest[..2], [0x81, 0x01], "header from the server");
                let got = Got {
                    packet_type: rest[3],
                    receiver: rest[2],
                    content: rest[8..8 + length].to_vec(),
                };
                self.inboxes.entry(to).or_default().push_back(got);
                rest = &rest[8 + length..];
            }
        }
        self.closed.extend(outbox.closes());
        outbox.clear();
    }

    /// Tells the engine what has arrived, as the net does after each write.
    fn acknowledge(&mut self) {
        let mut more_room = Vec::new();
        for (connection, bytes) in &self.sent_bytes {
            if self.deaf.contains(connection) {
                continue;
            }
            self.journal.acknowledged.insert(*connection, *bytes);
            self.engine.handle_acknowledged(*connection, *bytes);
            if self.journal.waiting == 0 && self.engine.wants_room(*connection) {
                more_room.push(*connection);
            }
        }
        if !more_room.is_empty() {
            self.turn(|engine, journal| {
                for connection in more_room {
                    engine.handle_room(connection, journal);
                }
            });
        }
    }

    pub fn connect(&mut self) -> ConnectionId {
        self.connect_from([127, 0, 0, 1].into())
    }

    pub fn connect_from(&mut self, address: IpAddr) -> ConnectionId {
        let connection = ConnectionId(self.next_connection);
        self.next_connection += 1;
        self.turn(|engine, journal| engine.handle_connect(connection, address, journal));
        connection
    }

    /// The connection ends, as by a reset.
    pub fn disconnect(&mut self, connection: ConnectionId) {
        self.sent_bytes.remove(&connection);
        self.turn(|engine, journal| engine.handle_end(connection, journal));
    }

    pub fn set_kind(&mut self, connection: ConnectionId, kind: Kind) {
        self.kinds.insert(connection, kind);
    }

    /// Sends a packet and gives what this connection gets for it (and got before).
    pub fn ask(
        &mut self,
        connection: ConnectionId,
        own: ServiceNumber,
        request: Request<'_>,
    ) -> Vec<Got> {
        let mut bytes = Vec::new();
        let kind = self.kinds.get(&connection).copied().unwrap_or(Kind::User);
        ClientPacket { own, request }.encode(kind, &mut bytes);
        self.send_bytes(connection, &bytes);
        self.take(connection)
    }

    /// Sends bytes as they are; whole packets, or something wrong.
    pub fn send_bytes(&mut self, connection: ConnectionId, bytes: &[u8]) {
        let mut rest = bytes;
        while !rest.is_empty() && self.engine.is_ready(connection) {
            let expected: Expected = self.engine.expected(connection);
            match cut(rest, expected) {
                Ok(Some(frame)) => {
                    let frame: Frame<'_> = frame;
                    rest = &rest[frame.length()..];
                    self.turn(|engine, journal| engine.handle_packet(connection, frame, journal));
                }
                Ok(None) => return,
                Err(error) => {
                    self.turn(|engine, journal| {
                        engine.handle_frame_error(connection, error, journal);
                    });
                    return;
                }
            }
        }
    }

    /// What a connection has got since it was last asked.
    pub fn take(&mut self, connection: ConnectionId) -> Vec<Got> {
        self.inboxes.remove(&connection).unwrap_or_default().into()
    }

    pub fn is_closed(&self, connection: ConnectionId) -> bool {
        self.closed.contains(&connection)
    }
}

/// What a "hash" begins with that a server of another cost has made.
pub const OLDER_MARK: &str = "$older$";

/// A verdict in no time: the "hash" is the password itself, marked.
pub fn verdict(job: &PasswordJob) -> Verdict {
    let mark = |password: &[u8]| format!("$plain${}", String::from_utf8_lossy(password));
    let outcome = match &job.task {
        Task::Hash { password } => {
            Outcome::Hashed(mark(password.as_secret().expose()).into_boxed_str())
        }
        Task::Verify { password, hash } => {
            let password = password.as_secret().expose();
            let older = hash.as_deref().and_then(|hash| hash.strip_prefix(OLDER_MARK));
            match older.filter(|older| older.as_bytes() == password) {
                Some(_) => Outcome::MatchesOlder,
                None => Outcome::Matches(hash.as_deref() == Some(mark(password).as_str())),
            }
        }
    };
    Verdict { ticket: job.ticket, outcome }
}
