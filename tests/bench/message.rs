//! The cost of a message between two friends, from the sender's bytes to the receiver's bytes: decode,
//! decide, apply, encode. Turns of 64 messages, whose deliveries are part of the cost.

mod crowd;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use crowd::{Crowd, Sink, user};
use oicq::codec::secret::Secret;
use oicq::engine::{Engine, Outcome, Settings, Verdict};
use oicq::id::{ConnectionId, MonoMillis, Now, UnixMillis};
use oicq::wire::{ClientPacket, Kind, Request, cut};

const TURN_MESSAGES: u64 = 64;
const SENDER: ConnectionId = ConnectionId(0);
const RECEIVER: ConnectionId = ConnectionId(1);

struct Bench {
    engine: Engine,
    host: Sink,
    now: Now,
    /// The messages of a turn, as they come from the socket.
    input: Vec<u8>,
}

impl Bench {
    fn new(users: u32) -> Self {
        let settings = Settings {
            requests_per_second: 0,
            registrations: 0,
            connections: 0,
            ..Settings::default()
        };
        let engine = Engine::new(settings, Crowd::new(users, 20).state);
        let now = Now { wall: UnixMillis(1_000), mono: MonoMillis(1_000) };
        let mut bench = Self { engine, host: Sink::default(), now, input: Vec::new() };
        bench.host.seq = 1 << 40;
        // Two friends from the middle of the crowd.
        let (sender, receiver) = (user(users / 2), user((users / 2 + 17) % users));
        for (connection, number) in [(SENDER, sender), (RECEIVER, receiver)] {
            bench.engine.begin_turn(now);
            bench.engine.handle_connect(connection, [127, 0, 0, 1].into(), &mut bench.host);
            let request = Request::LogIn { password: Secret::new(b"secret"), mode: 0 };
            let mut bytes = Vec::new();
            ClientPacket { own: number, request }.encode(Kind::User, &mut bytes);
            bench.feed(connection, &bytes);
            let job = bench.engine.poll_password_job().expect("a login waits for its password");
            let verdict = Verdict { ticket: job.ticket, outcome: Outcome::Matches(true) };
            bench.engine.handle_verdict(verdict, &mut bench.host);
            bench.engine.poll_outbox().clear();
        }
        let request = Request::Send { receiver, content: &[b'm'; 100] };
        for _ in 0..TURN_MESSAGES {
            ClientPacket { own: sender, request }.encode(Kind::User, &mut bench.input);
        }
        bench
    }

    fn feed(&mut self, connection: ConnectionId, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let expected = self.engine.expected(connection);
            let frame = cut(bytes, expected).unwrap().unwrap();
            bytes = &bytes[frame.length()..];
            self.engine.handle_packet(connection, frame, &mut self.host);
        }
    }

    /// One turn; answers the bytes that the receiver gets.
    fn turn(&mut self) -> usize {
        self.now.wall.0 += 1;
        self.now.mono.0 += 1;
        self.engine.begin_turn(self.now);
        let input = std::mem::take(&mut self.input);
        self.feed(SENDER, &input);
        self.input = input;
        self.engine.handle_step(&mut self.host);
        self.host.batch.clear();
        let bytes = self.engine.poll_outbox().sends().map(|(_, bytes)| bytes.len()).sum();
        self.engine.poll_outbox().clear();
        self.engine.handle_acknowledged(RECEIVER, u64::MAX);
        bytes
    }
}

fn message(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("message of 100 bytes between two friends");
    group.throughput(Throughput::Elements(TURN_MESSAGES));
    for users in [1_000, 1_000_000] {
        let mut bench = Bench::new(users);
        assert_eq!(bench.turn(), 64 * (8 + 8 + 100), "every message arrives");
        group.bench_function(format!("{users} users"), |bencher| bencher.iter(|| bench.turn()));
    }
    group.finish();
}

criterion_group!(benches, message);
criterion_main!(benches);
