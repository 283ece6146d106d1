//! Plays a capture into an engine, at the times that it tells, as a server would whose clients
//! acknowledge everything at once.
//!
//! Owns the turns, the passwords' hashes and the limits in time that a server would have kept. Where
//! the events go is the host's.

use std::collections::BTreeMap;

use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use argon2::{Algorithm, Argon2, Params, Version};
use oicq::engine::{Engine, Host, Outcome, PasswordJob, Settings, StorageFull, Task, Verdict};
use oicq::id::{ConnectionId, MonoMillis, Now, Place, Seq, ServiceNumber, UnixMillis};
use oicq::limits::LOGIN_TIMEOUT_MS;
use oicq::log::{DiskStorage, Log};
use oicq::state::State;
use oicq::wire::{FIRST_BYTE, Kind, cut};

use super::capture::{Line, Step};
use super::{Got, Journal};

/// How the server of the capture in `data/community` was started: [`settings`], [`SEGMENT_BYTES`] and the
/// rest say the same.
pub const OPTIONS: &[&str] = &[
    "--operator",
    "10001",
    "--service",
    "print=10009",
    "--mailbox-messages",
    "12",
    "--registrations",
    "0",
    "--idle-timeout",
    "360min",
    "--segment-size",
    "16KiB",
    "--password-cost",
    "8,1",
];

const IDLE_TIMEOUT_MS: u64 = 360 * 60_000;
/// So small that two days of a small community fill several.
pub const SEGMENT_BYTES: u64 = 16 << 10;

/// [`OPTIONS`] as far as the engine is concerned.
pub fn settings() -> Settings {
    Settings {
        operators: [ServiceNumber(10_001)].into(),
        services: [(Kind::Print, ServiceNumber(10_009))].into(),
        mailbox_messages: 12,
        registrations: 0,
        ..Settings::default()
    }
}

/// Where the events of a played capture go.
pub trait PlayHost: Host {
    /// The turn is over: what was appended must be there.
    fn commit(&mut self, now: MonoMillis);
    /// All output of a connection up to `bytes` has arrived.
    fn acknowledge(&mut self, connection: ConnectionId, bytes: u64);
}

impl PlayHost for Journal {
    fn commit(&mut self, _: MonoMillis) {}

    fn acknowledge(&mut self, connection: ConnectionId, bytes: u64) {
        self.acknowledged.insert(connection, bytes);
    }
}

/// A log in a folder.
pub struct LogHost {
    pub log: Log<DiskStorage>,
    acknowledged: BTreeMap<ConnectionId, u64>,
}

impl LogHost {
    pub fn new(log: Log<DiskStorage>) -> Self {
        Self { log, acknowledged: BTreeMap::new() }
    }
}

impl Host for LogHost {
    fn append(
        &mut self,
        time: UnixMillis,
        kind: u8,
        payload: &[u8],
    ) -> Result<(Seq, Place), StorageFull> {
        Ok(self.log.append(time, kind, payload).expect("the disk takes it"))
    }

    fn read(&self, place: Place, length: u32, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.log.text(place, length).expect("own events are there"));
    }

    fn acknowledged(&mut self, connection: ConnectionId) -> u64 {
        self.acknowledged.get(&connection).copied().unwrap_or(0)
    }

    fn waiting(&mut self, _: ConnectionId) -> usize {
        0
    }
}

impl PlayHost for LogHost {
    fn commit(&mut self, now: MonoMillis) {
        self.log.commit(now).expect("the disk takes it");
    }

    fn acknowledge(&mut self, connection: ConnectionId, bytes: u64) {
        self.acknowledged.insert(connection, bytes);
    }
}

/// What somebody got, and for which line of the capture (counted from 1).
#[derive(Clone, Debug)]
pub struct Received {
    pub at: usize,
    pub connection: String,
    pub got: Got,
}

/// A connection of the capture.
struct Client {
    id: ConnectionId,
    /// What came and is no whole packet yet.
    partial: Vec<u8>,
    last_byte: u64,
    sent_bytes: u64,
    closed: bool,
}

/// A server in play.
pub struct Player<H> {
    pub engine: Engine,
    pub host: H,
    pub received: Vec<Received>,
    clients: BTreeMap<String, Client>,
    next_id: usize,
    hashes_made: u64,
}

impl<H: PlayHost> Player<H> {
    pub fn new(host: H) -> Self {
        let engine = Engine::new(settings(), State::default());
        let (received, clients) = (Vec::new(), BTreeMap::new());
        Self { engine, host, received, clients, next_id: 0, hashes_made: 0 }
    }

    /// Plays all lines, and what follows them by itself.
    pub fn play(host: H, lines: &[Line]) -> Self {
        let mut player = Self::new(host);
        for line in lines {
            player.play_line(line);
        }
        player.catch_up(u64::MAX);
        player
    }

    /// Plays the next line, and before it what follows the earlier ones by itself.
    pub fn play_line(&mut self, line: &Line) {
        self.catch_up(line.time.0);
        self.check_times(line);
        self.step(line);
    }

    /// Whether the server has closed a connection that has not ended yet.
    pub fn is_closed(&self, connection: &str) -> bool {
        self.clients.get(connection).is_some_and(|client| client.closed)
    }

    /// The turns for which the engine has asked before that time.
    fn catch_up(&mut self, until: u64) {
        while let Some(deadline) = self.engine.deadline().filter(|deadline| deadline.0 < until) {
            self.turn(deadline.0, 0, |_, _| ());
        }
    }

    /// A server would have closed who did nothing for so long.
    fn check_times(&self, line: &Line) {
        for (name, client) in self.clients.iter().filter(|(_, client)| !client.closed) {
            let silent = line.time.0 - client.last_byte;
            assert!(silent < IDLE_TIMEOUT_MS, "line {}: {name} was idle for too long", line.at);
            if let Some(since) = self.engine.sessionless_since(client.id) {
                let waited = line.time.0 - since.0;
                assert!(waited < LOGIN_TIMEOUT_MS, "line {}: {name} did not log in", line.at);
            }
        }
    }

    fn step(&mut self, line: &Line) {
        let (at, time) = (line.at, line.time.0);
        match &line.step {
            Step::Connect(address) => {
                let id = ConnectionId(self.next_id);
                self.next_id += 1;
                let client = Client {
                    id,
                    partial: Vec::new(),
                    last_byte: time,
                    sent_bytes: 0,
                    closed: false,
                };
                self.clients.insert(line.connection.clone(), client);
                self.turn(time, at, |engine, host| engine.handle_connect(id, *address, host));
            }
            Step::Packet(bytes) => self.packet(line, bytes),
            Step::End => {
                let client = self.clients.remove(&line.connection).expect("it is open");
                self.turn(time, at, |engine, host| engine.handle_end(client.id, host));
            }
        }
    }

    /// One line has one packet, or something that a server closes for, or the beginning of a packet that
    /// never ends.
    fn packet(&mut self, line: &Line, bytes: &[u8]) {
        let client = self.clients.get_mut(&line.connection).expect("it is open");
        assert!(!client.closed, "line {}: the server has closed this connection", line.at);
        assert!(client.partial.is_empty(), "line {}: goes on after half a packet", line.at);
        client.last_byte = line.time.0;
        let id = client.id;
        assert!(self.engine.is_ready(id), "line {}: a client that is not waited for", line.at);
        match cut(bytes, self.engine.expected(id)) {
            Ok(Some(frame)) => {
                assert_eq!(frame.length(), bytes.len(), "line {}: one packet a line", line.at);
                self.turn(line.time.0, line.at, |engine, host| {
                    engine.handle_packet(id, frame, host);
                });
            }
            Ok(None) => client.partial.extend_from_slice(bytes),
            Err(error) => {
                self.turn(line.time.0, line.at, |engine, host| {
                    engine.handle_frame_error(id, error, host);
                });
            }
        }
    }

    /// One turn, with passwords and searches in no time.
    fn turn(&mut self, time: u64, at: usize, input: impl FnOnce(&mut Engine, &mut H)) {
        let now = Now { wall: UnixMillis(time), mono: MonoMillis(time) };
        self.engine.begin_turn(now);
        input(&mut self.engine, &mut self.host);
        self.engine.handle_step(&mut self.host);
        while let Some(job) = self.engine.poll_password_job() {
            let verdict = self.judge(&job);
            self.engine.handle_verdict(verdict, &mut self.host);
        }
        while self.engine.has_work() {
            self.engine.handle_step(&mut self.host);
        }
        self.host.commit(now.mono);
        self.collect(at);
        while self.engine.poll_resumed().is_some() {}
        let open: Vec<_> =
            self.clients.values().map(|client| (client.id, client.sent_bytes)).collect();
        for (id, bytes) in open {
            self.host.acknowledge(id, bytes);
            self.engine.handle_acknowledged(id, bytes);
            assert!(!self.engine.wants_room(id), "a mailbox of the capture fits one step");
        }
    }

    fn collect(&mut self, at: usize) {
        let outbox = self.engine.poll_outbox();
        for (to, mut rest) in outbox.sends() {
            let found = self.clients.iter_mut().find(|(_, client)| client.id == to);
            let Some((name, client)) = found else { continue };
            client.sent_bytes += rest.len() as u64;
            while let Some(&[first, sender, receiver, packet_type, a, b, c, d]) = rest.first_chunk()
            {
                assert_eq!([first, sender], [FIRST_BYTE, Kind::Server as u8]);
                let length = u32::from_be_bytes([a, b, c, d]) as usize;
                let (packet, behind) = rest.split_at(8 + length);
                let got = Got { packet_type, receiver, content: packet[8..].to_vec() };
                self.received.push(Received { at, connection: name.clone(), got });
                rest = behind;
            }
            assert!(rest.is_empty(), "whole packets");
        }
        for closed in outbox.closes() {
            for client in self.clients.values_mut().filter(|client| client.id == *closed) {
                client.closed = true;
            }
        }
        outbox.clear();
    }

    /// A real hash at the lowest cost. Its salt is the count of hashes made, so that it is always the same.
    fn judge(&mut self, job: &PasswordJob) -> Verdict {
        let params = Params::new(8, 1, 1, None).expect("the lowest cost");
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        let outcome = match &job.task {
            Task::Hash { password } => {
                self.hashes_made += 1;
                let salt = format!("oicq sample {:04}", self.hashes_made);
                let password = password.as_secret().expose();
                let hash = argon2.hash_password_with_salt(password, salt.as_bytes());
                Outcome::Hashed(hash.expect("a salt of 16 bytes").to_string().into_boxed_str())
            }
            Task::Verify { password, hash } => {
                Outcome::Matches(hash.as_deref().is_some_and(|hash| {
                    argon2.verify_password(password.as_secret().expose(), hash).is_ok()
                }))
            }
        };
        Verdict { ticket: job.ticket, outcome }
    }
}
