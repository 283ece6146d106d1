//! How long the heaviest requests keep everybody else waiting: a login with the longest friend list there can be, a
//! broadcast to as many friends, and a change of presence that as many are told of as there can be connections.
//!
//! Owns the figures of the engine alone, in time of the processor: how long the turn takes in which the request comes,
//! and the longest of those after it, and what is held back at once. Nothing is written to sockets: how the server as
//! a whole fares is what `oicq-tools bench --attack broadcast` asks.

mod crowd;

use std::time::Duration;

use crowd::{Crowd, Sink, registration, user};
use oicq::codec::packed::Receipts;
use oicq::codec::secret::Secret;
use oicq::engine::{Engine, Outcome, Settings, Verdict};
use oicq::id::{ConnectionId, GroupNumber, MonoMillis, Now, ServiceNumber, UnixMillis};
use oicq::limits::{FRIENDS_PER_GROUP, GROUP_NUMBER_MAX};
use oicq::state::Event;
use oicq::wire::server::Extensions;
use oicq::wire::{ClientPacket, Kind, Request, cut};
use rustix::time::{ClockId, clock_gettime};

/// Users on record: far more than the processor's caches hold.
const USERS: u32 = 300_000;
/// Friends stand so far apart.
const DISTANCE: u32 = 4;
/// Friends in session: as many as a usual system has files for.
const ONLINE: u32 = 18_000;
const TEXT: [u8; 4_000] = [b'x'; 4_000];
const POPULAR: ConnectionId = ConnectionId(0);
/// Each is done so often: the middle one counts.
const ROUNDS: usize = 9;

/// A crowd with one user who lists as many as can be listed, and whom they list.
fn popular() -> Crowd {
    let mut crowd = Crowd::new(0, 0);
    for index in 0..USERS {
        let name = format!("the user with the index {index}");
        crowd.apply(&registration(index, name.as_bytes()));
    }
    let mut friends = (1..).map(|index| user(index * DISTANCE));
    for group in (GroupNumber::FIRST.0..=GROUP_NUMBER_MAX).map(GroupNumber) {
        if group > GroupNumber::FIRST {
            crowd.apply(&Event::GroupAdded { owner: user(0), group, name: b"one of the groups" });
        }
        for friend in friends.by_ref().take(FRIENDS_PER_GROUP) {
            befriend(&mut crowd, user(0), friend, group);
            befriend(&mut crowd, friend, user(0), GroupNumber::FIRST);
        }
    }
    crowd
}

/// Puts one into the friend list of the other, who is told of it and has it.
fn befriend(crowd: &mut Crowd, owner: ServiceNumber, friend: ServiceNumber, group: GroupNumber) {
    crowd.apply(&Event::FriendAdded { owner, friend, group, agreed: true });
    let receipt = Receipts::pack([(owner, crowd.seq)]);
    crowd.apply(&Event::Delivered { receipts: Receipts::over(&receipt).unwrap() });
}

/// Time of the processor that this thread has had: other processes do not count.
fn passed() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::try_from(time).expect("it does not run backwards")
}

/// What came of something.
struct Round {
    /// How long its own turn took, and the longest after it.
    first: Duration,
    longest_after: Duration,
    turns: usize,
    /// The most that a turn has held back: bytes that were made, bytes for everybody together, and packets.
    made: usize,
    copied: usize,
    packets: usize,
}

struct World {
    engine: Engine,
    host: Sink,
    now: Now,
}

impl World {
    fn new(crowd: Crowd) -> Self {
        let settings = Settings { requests_per_second: 0, connections: 0, ..Settings::default() };
        let host = Sink { seq: crowd.seq.0, ..Sink::default() };
        let now = Now { wall: UnixMillis(1_000), mono: MonoMillis(1_000) };
        Self { engine: Engine::new(settings, crowd.state), host, now }
    }

    fn turn(&mut self, after_ms: u64) {
        self.now.wall.0 += after_ms;
        self.now.mono.0 += after_ms;
        self.host.batch.clear();
        self.engine.begin_turn(self.now);
    }

    fn ask(&mut self, connection: ConnectionId, own: ServiceNumber, request: Request<'_>) {
        let mut bytes = Vec::new();
        ClientPacket { own, request }.encode(Kind::User, &mut bytes);
        let frame = cut(&bytes, self.engine.expected(connection)).unwrap().unwrap();
        self.engine.handle_packet(connection, frame, &mut self.host);
    }

    /// Connects, and sends a login, whose password is right.
    fn begin_login(&mut self, connection: ConnectionId, own: ServiceNumber) -> Verdict {
        self.engine.handle_connect(connection, [127, 0, 0, 1].into(), &mut self.host);
        let wanted = Extensions::PRESENCE.sum();
        self.ask(connection, ServiceNumber::NONE, Request::WantExtensions { wanted });
        self.ask(connection, own, Request::LogIn { password: Secret::new(b"secret"), mode: 0 });
        let job = self.engine.poll_password_job().expect("a login waits for its password");
        Verdict { ticket: job.ticket, outcome: Outcome::Matches(true) }
    }

    /// A turn with this input, and those that it takes until nothing is left to do.
    fn round(&mut self, input: impl FnOnce(&mut Self)) -> Round {
        let mut round = Round {
            first: Duration::ZERO,
            longest_after: Duration::ZERO,
            turns: 0,
            made: 0,
            copied: 0,
            packets: 0,
        };
        self.turn(1);
        let mut begun = passed();
        input(self);
        loop {
            self.engine.handle_step(&mut self.host);
            let lasted = passed() - begun;
            match round.turns {
                0 => round.first = lasted,
                _ => round.longest_after = round.longest_after.max(lasted),
            }
            round.turns += 1;
            let outbox = self.engine.poll_outbox();
            round.made = round.made.max(outbox.len());
            round.packets = round.packets.max(outbox.sends().count());
            let copied = outbox.sends().map(|(_, bytes)| bytes.len()).sum();
            round.copied = round.copied.max(copied);
            outbox.clear();
            if !self.engine.has_work() {
                break;
            }
            self.turn(1);
            begun = passed();
        }
        self.take_all();
        round
    }

    /// Everybody has got everything, and that is written down.
    fn take_all(&mut self) {
        for id in 0..=ONLINE as usize {
            self.engine.handle_acknowledged(ConnectionId(id), u64::MAX);
        }
        self.turn(2_000);
        self.engine.handle_step(&mut self.host);
        self.engine.poll_outbox().clear();
    }

    fn log_in(&mut self) {
        let verdict = self.begin_login(POPULAR, user(0));
        self.engine.handle_verdict(verdict, &mut self.host);
    }

    fn broadcast(&mut self) {
        self.ask(POPULAR, user(0), Request::Broadcast { group: 0, content: &TEXT });
    }
}

fn show(what: &str, mut rounds: Vec<Round>) {
    rounds.sort_unstable_by_key(|round| round.first);
    let most = |of: fn(&Round) -> usize| rounds.iter().map(of).max().unwrap_or_default();
    let mut after: Vec<_> = rounds.iter().map(|round| round.longest_after).collect();
    after.sort_unstable();
    println!(
        "{what}: {:.1?} in its turn, {:.1?} in the longest of {} after it;\n    held back at once: {} KiB, {} KiB with \
         copies, in {} packets",
        rounds[ROUNDS / 2].first,
        after[ROUNDS / 2],
        most(|round| round.turns) - 1,
        most(|round| round.made) >> 10,
        most(|round| round.copied) >> 10,
        most(|round| round.packets),
    );
}

fn main() {
    // What `cargo test --benches` and `cargo bench -- --list` ask for is not to be measured.
    if std::env::args().any(|argument| argument == "--test" || argument == "--list") {
        return;
    }
    let mut world = World::new(popular());
    world.turn(1);
    for index in 1..=ONLINE {
        // Three in four of the friends, spread over all, are somewhere else.
        let (at, number) = (ConnectionId(index as usize), user(index * DISTANCE * 3));
        let verdict = world.begin_login(at, number);
        world.engine.handle_verdict(verdict, &mut world.host);
        world.engine.poll_outbox().clear();
    }
    let mut logins = Vec::new();
    for _ in 0..ROUNDS {
        logins.push(world.round(World::log_in));
        world.round(|world| world.engine.handle_end(POPULAR, &mut world.host));
    }
    show("login, 65025 friends, told to 18000", logins);
    world.round(World::log_in);
    let hide_and_show = [2, 1].into_iter().cycle().take(ROUNDS);
    let presence =
        |mode| world.round(|world| world.ask(POPULAR, user(0), Request::SetMode { mode }));
    show("presence, told to 18000", hide_and_show.map(presence).collect());
    let broadcasts = (0..ROUNDS).map(|_| world.round(World::broadcast)).collect();
    show("broadcast, 65025 friends, 18000 of them in session", broadcasts);
    let is_full = |world: &World| {
        let friend = world.engine.state().user(user(DISTANCE)).expect("it is there");
        friend.mailbox().text_bytes() + TEXT.len() as u64 > 1 << 20
    };
    while !is_full(&world) {
        world.round(World::broadcast);
    }
    let broadcasts = (0..ROUNDS).map(|_| world.round(World::broadcast)).collect();
    show("broadcast, the mailboxes of the others are full", broadcasts);
}
