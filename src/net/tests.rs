//! Single turns of a server, with real connections: what is taken in which turn, and in what order.
//!
//! Nothing here depends on time. Each turn is begun by the test, once what it is about has reached the server.

use std::collections::BTreeSet;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

use tempfile::TempDir;

use super::reports::Reports;
use super::*;
use crate::cli::settings::Cost;
use crate::codec::packed::Moves;
use crate::codec::profile::Profile;
use crate::codec::secret::Secret;
use crate::id::{GroupNumber, ServiceNumber};
use crate::limits::{
    COPIED_BYTES_PER_TURN, FREED_BYTES, FRIENDS_PER_GROUP, MAIL_BYTES_PER_STEP, PACKETS_EACH_MAX,
    POSTED_PER_TURN, TOLD_AT_ONCE, TOLD_PER_TURN,
};
use crate::log::Durability;
use crate::wire::client::Account;
use crate::wire::{ClientPacket, Kind, Request, ServerPacket, cut_for_client};

const PASSWORD: &[u8] = b"secret";
const TESTED: u8 = 0x16;

/// A server, its turns, and its folder.
struct World {
    server: Server,
    reports: Reports,
    address: SocketAddr,
    _folder: TempDir,
}

/// The other end of a connection.
struct Client {
    stream: TcpStream,
    id: ConnectionId,
    own: ServiceNumber,
    came: Vec<u8>,
}

impl World {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut options = Options {
            data: folder.path().join("store"),
            listen: vec![SocketAddr::from(([127, 0, 0, 1], 0))],
            durability: Durability::Never,
            password_cost: Cost { memory_kib: 8, passes: 1 },
            ..Options::default()
        };
        options.settings.registrations = 0;
        options.settings.connections = 0;
        options.settings.requests_per_second = 0;
        let server = Server::open(&options, &mut |_| ()).unwrap();
        let address = server.addresses().unwrap()[0];
        Self { server, reports: Reports::new(), address, _folder: folder }
    }

    /// One turn, which there has to be something for.
    fn turn(&mut self) {
        self.server.turn(&mut self.reports).unwrap();
    }

    fn connect(&mut self) -> Client {
        let before: BTreeSet<_> = self.server.connections.ids().into_iter().collect();
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_nodelay(true).unwrap();
        loop {
            self.turn();
            let ids = self.server.connections.ids();
            if let Some(id) = ids.into_iter().find(|id| !before.contains(id)) {
                return Client { stream, id, own: ServiceNumber::NONE, came: Vec::new() };
            }
        }
    }

    /// Asks for something, and has it answered. Gives the packets that came.
    fn ask(&mut self, client: &mut Client, request: Request<'_>) -> Vec<(u8, Vec<u8>)> {
        client.say(&client.bytes(request));
        client.say(&client.bytes(Request::Test));
        let mut all = Vec::new();
        while all.last().is_none_or(|(packet_type, _)| *packet_type != TESTED) {
            self.turn();
            all.extend(client.packets());
        }
        all
    }

    /// Registers somebody, on any connection without a session.
    fn register(&mut self, client: &mut Client) -> ServiceNumber {
        let profile = Profile { nickname: b"ann", ..Profile::default() };
        let account = Account { profile, password: Secret::new(PASSWORD), authentication: 0 };
        let answers = self.ask(client, Request::Register(account));
        match ServerPacket::decode(answers[0].0, &answers[0].1).unwrap() {
            ServerPacket::Registered { success: true, number } => number,
            other => panic!("{other:?}"),
        }
    }

    /// Somebody new, in session.
    fn user(&mut self) -> Client {
        let mut client = self.connect();
        let number = self.register(&mut client);
        client.own = number;
        self.ask(&mut client, log_in());
        client
    }

    /// So many who are in somebody's friend list, and not here.
    fn friends(&mut self, of: &mut Client, count: usize) -> Vec<ServiceNumber> {
        let mut registering = self.connect();
        let friend = |_| {
            let friend = self.register(&mut registering);
            self.ask(of, Request::AddFriend { friend });
            friend
        };
        (0..count).map(friend).collect()
    }

    /// Puts all of them into somebody's friend list: into its first group, which is emptied into others.
    fn befriend(&mut self, owner: &mut Client, friends: &[ServiceNumber]) {
        for (some, group) in friends.chunks(FRIENDS_PER_GROUP).zip(GroupNumber::FIRST.0 + 1..) {
            for friend in some {
                self.ask(owner, Request::AddFriend { friend: *friend });
            }
            let moves = Moves::pack(some.iter().map(|friend| (*friend, GroupNumber(group))));
            self.ask(owner, Request::AddGroup { name: b"more" });
            self.ask(owner, Request::MoveFriends(Moves::over(&moves).unwrap()));
        }
    }

    /// So many who are in session.
    fn sessions(&mut self, count: usize) -> Vec<Client> {
        let mut registering = self.connect();
        let session = |_| {
            let own = self.register(&mut registering);
            let mut client = Client { own, ..self.connect() };
            self.ask(&mut client, log_in());
            client
        };
        (0..count).map(session).collect()
    }
}

impl Client {
    fn bytes(&self, request: Request<'_>) -> Vec<u8> {
        let mut bytes = Vec::new();
        ClientPacket { own: self.own, request }.encode(Kind::User, &mut bytes);
        bytes
    }

    /// Over loopback it has reached the server's end at once.
    fn say(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    /// The packets that have come.
    fn packets(&mut self) -> Vec<(u8, Vec<u8>)> {
        self.stream.set_nonblocking(true).unwrap();
        match self.stream.read_to_end(&mut self.came) {
            Ok(_) => {}
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
        }
        self.stream.set_nonblocking(false).unwrap();
        let mut all = Vec::new();
        while let Some(frame) = cut_for_client(&self.came, Kind::User, u32::MAX).unwrap() {
            all.push((frame.header.packet_type, frame.content.to_vec()));
            let length = frame.length();
            self.came.drain(..length);
        }
        all
    }
}

const fn log_in() -> Request<'static> {
    Request::LogIn { password: Secret::new(PASSWORD), mode: 0 }
}

#[test]
fn what_is_sent_to_many_who_have_room_is_spread_over_turns_in_order() {
    let mut world = World::start();
    let mut ann = world.user();
    // More than a turn may send has to wait for them behind the first step of their mail.
    let friends = world.friends(&mut ann, 50);
    for _ in 0..17 {
        world.ask(&mut ann, Request::Broadcast { group: 0, content: &[b'x'; 8_000] });
    }
    let mut clients = Vec::new();
    for number in friends {
        let mut client = world.connect();
        client.own = number;
        client.say(&client.bytes(log_in()));
        while world.server.connections.roomy_count() == 0 {
            world.turn();
        }
        assert_eq!(world.server.connections.poll_roomy(), Some(client.id));
        clients.push(client);
    }

    clients.iter().for_each(|client| world.server.connections.note_room(client.id));
    let most = COPIED_BYTES_PER_TURN.div_ceil(MAIL_BYTES_PER_STEP - 8_192);
    let mut left = &clients[..];
    for _ in 0..2 {
        world.turn();
        let wants_room = |client: &Client| world.server.engine.wants_room(client.id);
        let served = left.iter().take_while(|client| !wants_room(client)).count();
        assert!((most / 2..=most).contains(&served), "{served}, {most} at most");
        left = &left[served..];
        assert!(left.iter().all(wants_room) && !left.is_empty());
        assert_eq!(world.server.connections.roomy_count(), left.len());
    }
}

#[test]
fn who_was_passed_over_in_a_long_turn_comes_first_in_the_next() {
    let mut world = World::start();
    let (mut ann, mut ben, mut cat) = (world.user(), world.user(), world.connect());
    world.friends(&mut ann, POSTED_PER_TURN.div_ceil(PACKETS_EACH_MAX));
    // Each turn begins as if those before had lasted no time.
    let turn = |world: &mut World| {
        world.server.pace = Pace::new();
        world.turn();
    };
    let broadcast = ann.bytes(Request::Broadcast { group: 0, content: b"x" });
    ann.say(&broadcast.repeat(3 * PACKETS_EACH_MAX + 1));
    turn(&mut world);
    assert_eq!(world.server.connections.resumable, [ann.id], "a turn does not take all");
    let broadcast = ben.bytes(Request::Broadcast { group: 0, content: b"x" });
    ben.say(&[broadcast, ben.bytes(Request::Test)].concat());
    cat.say(&cat.bytes(Request::Test));
    turn(&mut world);
    assert_eq!(cat.packets().len(), 1, "what is said to one alone is taken in any turn");
    assert!(ben.packets().is_empty(), "the turn was long before it came to ben");
    turn(&mut world);
    assert_eq!(ben.packets().len(), 1);
    assert_eq!(world.server.connections.resumable, [ann.id], "ann has to wait for the next");
}

/// Turns as if those before had been long, so that each takes one packet from each.
fn slow_turns(world: &mut World, count: usize) {
    for _ in 0..count {
        world.server.pace = Pace::slow();
        world.turn();
    }
}

/// So many sessions that of what somebody says to all of them some are told at the end of the turn, and none after it.
fn very_many(world: &mut World) -> (Vec<Client>, Vec<ServiceNumber>) {
    let sessions = world.sessions(TOLD_AT_ONCE + TOLD_PER_TURN / 2);
    let numbers = sessions.iter().map(|client| client.own).collect();
    (sessions, numbers)
}

#[test]
fn who_has_something_for_very_many_waits_until_those_are_told_who_stood_in_line_before() {
    let mut world = World::start();
    let (mut ann, mut ben) = (world.user(), world.user());
    let (_sessions, friends) = very_many(&mut world);
    world.befriend(&mut ann, &friends);
    world.befriend(&mut ben, &friends);
    let broadcast = |client: &Client| client.bytes(Request::Broadcast { group: 0, content: b"x" });
    ann.say(&broadcast(&ann).repeat(8));
    slow_turns(&mut world, 1);
    ben.say(&[broadcast(&ben), ben.bytes(Request::Test)].concat());
    slow_turns(&mut world, 1);
    assert!(ben.packets().is_empty(), "what ann says is still going out");
    slow_turns(&mut world, 2);
    assert_eq!(ben.packets().len(), 1);
    assert!(!world.server.connections.get(ann.id).unwrap().input.is_empty(), "ann has more to say");
}

#[test]
fn who_is_told_late_of_what_is_said_again_and_again_is_heard_all_the_same() {
    let mut world = World::start();
    let mut ann = world.user();
    let (mut sessions, friends) = very_many(&mut world);
    world.befriend(&mut ann, &friends);
    ann.say(&ann.bytes(Request::Broadcast { group: 0, content: b"x" }).repeat(20));
    slow_turns(&mut world, 1);
    sessions.iter_mut().for_each(|client| client.say(&client.bytes(Request::Test)));
    slow_turns(&mut world, 6);
    for client in &mut sessions {
        let answers =
            client.packets().into_iter().filter(|(packet_type, _)| *packet_type == TESTED);
        assert_eq!(answers.count(), 1);
    }
    assert!(!world.server.connections.get(ann.id).unwrap().input.is_empty(), "ann has more to say");
}

#[cfg(target_os = "linux")]
#[test]
fn memory_is_given_back_in_a_turn_to_which_nothing_comes() {
    let mut world = World::start();
    let mut ann = world.user();
    world.server.freed.note(FREED_BYTES, world.server.now.mono);
    let due = world.server.freed.due().unwrap();
    // Somebody says something again and again, until after it is due.
    while world.server.now.mono <= due {
        ann.say(&ann.bytes(Request::Test));
        world.turn();
    }
    assert!(world.server.freed.due().is_some());
    // So is a password's verdict announced.
    world.server.poller.notify().unwrap();
    world.turn();
    assert!(world.server.freed.due().is_some());
    world.turn();
    assert_eq!(world.server.freed.due(), None);
}
