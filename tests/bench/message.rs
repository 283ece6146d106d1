//! The cost of a message between two friends, from the sender's bytes to the receiver's bytes: decode,
//! decide, apply, encode. Turns of 64 messages, whose deliveries are part of the cost.
//!
//! With results and message ids, the sender's results belong to it, and the receiver's confirmations with
//! theirs: one for each turn, or one for each message. What a message leaves in the log is counted in a real one.

mod crowd;

use std::convert::Infallible;
use std::path::Path;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use crowd::{Crowd, Sink, user};
use oicq::codec::secret::Secret;
use oicq::engine::{Engine, Host, Outcome, Settings, StorageFull, Verdict};
use oicq::id::{ConnectionId, MonoMillis, Now, Place, Seq, ServiceNumber, UnixMillis};
use oicq::log::{DiskStorage, Durability, Log, Options, Reader, Record, Step};
use oicq::wire::server::Extensions;
use oicq::wire::{ClientPacket, Kind, Request, cut};

const TURN_MESSAGES: u64 = 64;
const MESSAGE: [u8; 100] = [b'm'; 100];
const SENDER: ConnectionId = ConnectionId(0);
const RECEIVER: ConnectionId = ConnectionId(1);

/// What the two friends' clients are like.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Clients {
    /// The receiver's TCP acknowledges.
    Base,
    /// With results and message ids; the receiver confirms once for all messages of a turn.
    Extended,
    /// The same, but the receiver confirms each message.
    ExtendedOneByOne,
}

impl Clients {
    const ALL: [(Self, &str); 3] = [
        (Self::Base, "base"),
        (Self::Extended, "results and ids"),
        (Self::ExtendedOneByOne, "results and ids, confirmed one by one"),
    ];

    /// Bytes for both in a turn: what arrives, and the results of messages and confirmations.
    const fn turn_bytes(self, messages: usize) -> usize {
        let message = 8 + MESSAGE.len() + 8;
        let (numbered, result) = (message + 16, 8 + 12);
        match self {
            Self::Base => messages * message,
            Self::Extended => messages * (numbered + result) + result,
            Self::ExtendedOneByOne => messages * (numbered + 2 * result),
        }
    }
}

/// Where events go, turn by turn.
trait Turns: Host {
    /// The number of the last event.
    fn last(&self) -> u64;
    fn end_turn(&mut self, now: MonoMillis);
}

impl Turns for Sink {
    fn last(&self) -> u64 {
        self.seq
    }

    fn end_turn(&mut self, _: MonoMillis) {
        self.batch.clear();
    }
}

/// A log in a folder, to be counted afterwards.
struct Logged(Log<DiskStorage>, Seq);

impl Host for Logged {
    fn append(
        &mut self,
        time: UnixMillis,
        kind: u8,
        payload: &[u8],
    ) -> Result<(Seq, Place), StorageFull> {
        let (seq, place) = self.0.append(time, kind, payload).unwrap();
        self.1 = seq;
        Ok((seq, place))
    }

    fn read(&self, place: Place, length: u32, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.0.text(place, length).unwrap());
    }

    fn acknowledged(&mut self, _: ConnectionId) -> u64 {
        u64::MAX
    }

    fn waiting(&mut self, _: ConnectionId) -> usize {
        0
    }
}

impl Turns for Logged {
    fn last(&self) -> u64 {
        self.1.0
    }

    fn end_turn(&mut self, now: MonoMillis) {
        self.0.commit(now).unwrap();
    }
}

struct Bench<H> {
    engine: Engine,
    host: H,
    now: Now,
    clients: Clients,
    receiver: ServiceNumber,
    /// The messages of a turn, as they come from the socket.
    input: Vec<u8>,
    /// How many these are.
    messages: u64,
    /// What the receiver has to say of those of the turn before.
    confirmations: Vec<u8>,
}

impl<H: Turns> Bench<H> {
    fn new(users: u32, clients: Clients, messages: u64, host: H) -> Self {
        let settings = Settings {
            requests_per_second: 0,
            registrations: 0,
            connections: 0,
            ..Settings::default()
        };
        // Two friends from the middle of the crowd.
        let (sender, receiver) = (user(users / 2), user((users / 2 + 17) % users));
        let mut bench = Self {
            engine: Engine::new(settings, Crowd::new(users, 20).state),
            host,
            now: Now { wall: UnixMillis(1_000), mono: MonoMillis(1_000) },
            clients,
            receiver,
            input: Vec::new(),
            messages,
            confirmations: Vec::new(),
        };
        bench.log_in(SENDER, sender);
        bench.log_in(RECEIVER, receiver);
        let request = Request::Send { receiver, content: &MESSAGE };
        for _ in 0..messages {
            ClientPacket { own: sender, request }.encode(Kind::User, &mut bench.input);
        }
        bench
    }

    fn log_in(&mut self, connection: ConnectionId, own: ServiceNumber) {
        self.engine.begin_turn(self.now);
        self.engine.handle_connect(connection, [127, 0, 0, 1].into(), &mut self.host);
        let mut bytes = Vec::new();
        if self.clients != Clients::Base {
            let wanted = Extensions::RESULTS.sum() + Extensions::MESSAGE_IDS.sum();
            let request = Request::WantExtensions { wanted };
            ClientPacket { own, request }.encode(Kind::User, &mut bytes);
        }
        let request = Request::LogIn { password: Secret::new(b"secret"), mode: 0 };
        ClientPacket { own, request }.encode(Kind::User, &mut bytes);
        self.feed(connection, &bytes);
        let job = self.engine.poll_password_job().expect("a login waits for its password");
        let verdict = Verdict { ticket: job.ticket, outcome: Outcome::Matches(true) };
        self.engine.handle_verdict(verdict, &mut self.host);
        self.engine.poll_outbox().clear();
    }

    fn feed(&mut self, connection: ConnectionId, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let expected = self.engine.expected(connection);
            let frame = cut(bytes, expected).unwrap().unwrap();
            bytes = &bytes[frame.length()..];
            self.engine.handle_packet(connection, frame, &mut self.host);
        }
    }

    /// One turn, so many milliseconds after the one before; answers the bytes that both get.
    fn turn(&mut self, after_ms: u64) -> usize {
        self.now.wall.0 += after_ms;
        self.now.mono.0 += after_ms;
        self.engine.begin_turn(self.now);
        let confirmations = std::mem::take(&mut self.confirmations);
        self.feed(RECEIVER, &confirmations);
        self.confirmations = confirmations;
        let before = self.host.last();
        let input = std::mem::take(&mut self.input);
        self.feed(SENDER, &input);
        self.input = input;
        self.confirm(before);
        self.engine.handle_step(&mut self.host);
        self.host.end_turn(self.now.mono);
        let bytes = self.engine.poll_outbox().sends().map(|(_, bytes)| bytes.len()).sum();
        self.engine.poll_outbox().clear();
        if self.clients == Clients::Base {
            self.engine.handle_acknowledged(RECEIVER, u64::MAX);
        }
        bytes
    }

    /// What the receiver says in the next turn of the messages that came after an event.
    fn confirm(&mut self, before: u64) {
        let last = before + self.messages;
        let first = match self.clients {
            Clients::Base => return,
            Clients::Extended => last,
            Clients::ExtendedOneByOne => before + 1,
        };
        self.confirmations.clear();
        for id in first..=last {
            let request = Request::Arrived { through: Seq(id) };
            let packet = ClientPacket { own: self.receiver, request };
            packet.encode(Kind::User, &mut self.confirmations);
        }
    }
}

fn message(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("message of 100 bytes between two friends");
    group.throughput(Throughput::Elements(TURN_MESSAGES));
    for users in [1_000, 1_000_000] {
        for (clients, name) in Clients::ALL {
            let host = Sink { seq: 1 << 40, ..Sink::default() };
            let mut bench = Bench::new(users, clients, TURN_MESSAGES, host);
            bench.turn(1);
            assert_eq!(bench.turn(1), clients.turn_bytes(64), "every message arrives");
            group.bench_function(format!("{users} users, {name}"), |bencher| {
                bencher.iter(|| bench.turn(1));
            });
        }
    }
    group.finish();
}

/// Messages as they are counted for what they leave in the log.
const COUNTED: u64 = 6_400;

/// Events, and bytes of batches.
fn counted(folder: &Path) -> (u64, u64) {
    let storage = DiskStorage::read_only(folder);
    let mut reader = Reader::open(&storage).unwrap();
    let (mut events, mut bytes) = (0, 0);
    while let Step::Batch(batch) = reader.next_batch().unwrap() {
        events += batch.records().count() as u64;
        bytes += batch.header.total();
    }
    (events, bytes)
}

/// What so many messages a turn leave in the log for each of them, deliveries included.
fn show_log(clients: Clients, name: &str, (messages, after_ms, when): (u64, u64, &str)) {
    let folder = tempfile::tempdir().unwrap();
    let storage = DiskStorage::create(folder.path()).unwrap();
    let options = Options { segment_size: 1 << 20, durability: Durability::Never, charset: 1 };
    let nothing = |_: &Record<'_>| Ok::<(), Infallible>(());
    let (log, _) = Log::open(storage, options, 1, UnixMillis(1), nothing).unwrap();
    let mut bench = Bench::new(1_000, clients, messages, Logged(log, Seq::ZERO));
    for _ in 0..COUNTED / messages {
        bench.turn(after_ms);
    }
    bench.input.clear();
    bench.messages = 0;
    bench.turn(1);
    bench.turn(1_000);
    bench.host.0.close().unwrap();
    let (events, bytes) = counted(folder.path());
    assert!(events >= COUNTED, "every message is accepted");
    #[expect(clippy::cast_precision_loss, reason = "to be read by people")]
    let [events, bytes] = [events, bytes].map(|sum| sum as f64 / COUNTED as f64);
    println!("in the log, {when}, {name}: {events:.2} events, {bytes:.0} bytes a message");
}

fn log(_: &mut Criterion) {
    // What `cargo test --benches` and `cargo bench -- --list` ask for is not to be measured.
    if std::env::args().any(|argument| argument == "--test" || argument == "--list") {
        return;
    }
    let alone = (1, 100, "a message alone");
    let among = (TURN_MESSAGES, 1, "one of 64 in a turn");
    for (clients, name) in Clients::ALL {
        show_log(clients, name, alone);
        show_log(clients, name, among);
    }
}

criterion_group!(benches, log, message);
criterion_main!(benches);
