//! How the sample conversation is written down: people, scenes, and what is said and done in them, as
//! the lines of a capture.
//!
//! Owns the clock of the story and the way from words to packets. What happens is told in `scenario`. An
//! engine plays along, since clients with message ids say which messages they have.

use std::collections::BTreeMap;
use std::net::IpAddr;

use oicq::codec::packed::Moves;
use oicq::codec::profile::Profile;
use oicq::codec::secret::Secret;
use oicq::id::{GroupNumber, ServiceNumber, UnixMillis};
use oicq::wire::client::Account;
use oicq::wire::{ClientPacket, Kind, Request, ServerPacket};

use crate::kit::Journal;
use crate::kit::capture::{self, Step, format_line};
use crate::kit::play::Player;

/// 2003-04-12, 00:00 in the town, eight hours ahead of UTC.
const FIRST_MIDNIGHT: u64 = 1_050_076_800_000;

/// Somebody of the story, with the number that comes of registering in this order.
#[derive(Clone, Copy)]
pub struct Person {
    pub number: u32,
    pub password: &'static str,
    pub profile: Profile<'static>,
    pub authentication: u8,
}

impl Person {
    pub const fn account(&self) -> Account<'static> {
        Account {
            profile: self.profile,
            password: Secret::new(self.password.as_bytes()),
            authentication: self.authentication,
        }
    }
}

/// A connection: who is on it, in which kind of program.
struct Line {
    kind: Kind,
    own: u32,
}

/// The capture as it grows.
pub struct Story {
    text: String,
    now: u64,
    chance: u64,
    lines: BTreeMap<&'static str, Line>,
    player: Player<Journal>,
    /// How much of what the player's clients received has been looked at.
    seen: usize,
}

impl Story {
    pub fn new(head: &str) -> Self {
        let mut story = Self {
            text: String::new(),
            now: FIRST_MIDNIGHT,
            chance: 2003,
            lines: BTreeMap::new(),
            player: Player::new(Journal::default()),
            seen: 0,
        };
        story.comment(head);
        story
    }

    pub fn finish(self) -> String {
        self.text
    }

    /// A new scene at a time of the town, `day` 12 or 13 of April 2003.
    pub fn scene(&mut self, (day, hour, minute): (u64, u64, u64), what: &str) {
        let start = FIRST_MIDNIGHT + (((day - 12) * 24 + hour) * 60 + minute) * 60_000 + 317;
        assert!(start >= self.now, "the scene before lasts until {}", self.now);
        self.now = start;
        self.text.push('\n');
        let day = if day == 12 { "Saturday" } else { "Sunday" };
        self.comment(&format!("{day}, {hour:02}:{minute:02} in the town. {what}"));
    }

    /// A remark inside a scene.
    pub fn note(&mut self, what: &str) {
        self.comment(what);
    }

    /// Comment lines of up to 100 characters.
    fn comment(&mut self, what: &str) {
        for paragraph in what.lines() {
            let mut line = String::from("#");
            for word in paragraph.split_whitespace() {
                if line.chars().count() + 1 + word.chars().count() > 100 {
                    self.text.push_str(&line);
                    self.text.push('\n');
                    line = String::from("#");
                }
                line.push(' ');
                line.push_str(word);
            }
            self.text.push_str(&line);
            self.text.push('\n');
        }
    }

    /// Time passes: so many milliseconds, and a little by chance (which is the same every time).
    pub fn pass(&mut self, millis: u64) {
        self.chance = self.chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        self.now += millis + (self.chance >> 33) % (millis / 2 + 1);
    }

    fn push(&mut self, connection: &str, step: Step) {
        let time = UnixMillis(self.now);
        self.text.push_str(&format_line(time, connection, &step));
        self.text.push('\n');
        let (at, connection) = (self.text.lines().count(), connection.to_owned());
        self.player.play_line(&capture::Line { at, time, connection, step });
        self.confirm();
    }

    /// Clients with message ids say at once what has arrived.
    fn confirm(&mut self) {
        let mut arrived = BTreeMap::new();
        for received in &self.player.received[self.seen..] {
            if let ServerPacket::Numbered { id, .. } = received.got.packet() {
                arrived.insert(received.connection.clone(), id);
            }
        }
        self.seen = self.player.received.len();
        for (name, through) in arrived {
            let Line { kind, own } = self.lines[&*name];
            let packet =
                ClientPacket { own: ServiceNumber(own), request: Request::Arrived { through } };
            let mut bytes = Vec::new();
            packet.encode(kind, &mut bytes);
            self.push(&name, Step::Packet(bytes));
        }
    }

    pub fn connect(&mut self, name: &'static str, address: [u8; 4]) {
        self.connect_as(name, Kind::User, address);
    }

    pub fn connect_as(&mut self, name: &'static str, kind: Kind, address: [u8; 4]) {
        self.pass(400);
        self.lines.insert(name, Line { kind, own: 0 });
        self.push(name, Step::Connect(IpAddr::from(address)));
    }

    pub fn end(&mut self, name: &'static str) {
        self.pass(700);
        self.push(name, Step::End);
    }

    /// Bytes that are no right packet.
    pub fn raw(&mut self, name: &'static str, bytes: &[u8]) {
        self.pass(300);
        self.push(name, Step::Packet(bytes.to_vec()));
    }

    /// A packet from a connection's own number.
    pub fn ask(&mut self, name: &'static str, request: Request<'_>) {
        self.ask_as(name, self.lines[name].own, request);
    }

    /// A packet from a number that need not be the connection's.
    pub fn ask_as(&mut self, name: &'static str, own: u32, request: Request<'_>) {
        let bytes = self.bytes(name, own, request);
        self.raw(name, &bytes);
    }

    pub fn bytes(&self, name: &'static str, own: u32, request: Request<'_>) -> Vec<u8> {
        let mut bytes = Vec::new();
        let packet = ClientPacket { own: ServiceNumber(own), request };
        packet.encode(self.lines[name].kind, &mut bytes);
        bytes
    }

    pub fn register(&mut self, name: &'static str, person: &Person) {
        self.pass(5_000);
        self.ask(name, Request::Register(person.account()));
    }

    /// Mode 0 is online, 1 hidden.
    pub fn log_in(&mut self, name: &'static str, person: &Person, mode: u8) {
        self.lines.get_mut(name).expect("it is connected").own = person.number;
        self.try_log_in(name, person.number, person.password, mode);
    }

    /// A login that fails.
    pub fn try_log_in(&mut self, name: &'static str, number: u32, password: &str, mode: u8) {
        self.pass(1_500);
        let password = Secret::new(password.as_bytes());
        self.ask_as(name, number, Request::LogIn { password, mode });
    }

    /// A message: the longer, the longer it takes to type.
    pub fn say(&mut self, name: &'static str, to: &Person, text: &str) {
        self.pass(1_000 + 90 * text.chars().count().min(400) as u64);
        self.ask(name, send(to.number, text));
    }

    /// Messages of several people to one, all within a few milliseconds.
    pub fn all_say(&mut self, to: &Person, texts: &[(&'static str, &str)]) {
        self.pass(6_000);
        for (name, text) in texts {
            let bytes = self.bytes(name, self.lines[name].own, send(to.number, text));
            self.now += 7;
            self.push(name, Step::Packet(bytes));
        }
    }

    pub fn tell_all(&mut self, name: &'static str, group: u8, text: &str) {
        self.pass(1_000 + 90 * text.chars().count() as u64);
        let (group, content) = (group.into(), text.as_bytes());
        self.ask(name, Request::Broadcast { group, content });
    }

    pub fn add(&mut self, name: &'static str, friend: &Person) {
        self.ask(name, Request::AddFriend { friend: ServiceNumber(friend.number) });
    }

    pub fn ask_friend(&mut self, name: &'static str, friend: &Person, reason: &str) {
        self.pass(2_000);
        let (friend, reason) = (ServiceNumber(friend.number), reason.as_bytes());
        self.ask(name, Request::RequestFriend { friend, reason });
    }

    pub fn answer(&mut self, name: &'static str, friend: &Person, consent: u8) {
        self.pass(1_500);
        self.ask(name, Request::AnswerRequest { friend: ServiceNumber(friend.number), consent });
    }

    pub fn add_group(&mut self, name: &'static str, group_name: &str) {
        self.pass(1_500);
        self.ask(name, Request::AddGroup { name: group_name.as_bytes() });
    }

    pub fn move_friends(&mut self, name: &'static str, moves: &[(&Person, u8)]) {
        self.pass(1_500);
        let moves = moves.iter().map(|(who, to)| (ServiceNumber(who.number), GroupNumber(*to)));
        let moves = Moves::pack(moves);
        self.ask(name, Request::MoveFriends(Moves::over(&moves).expect("whole items")));
    }

    pub fn mode(&mut self, name: &'static str, mode: u8) {
        self.ask(name, Request::SetMode { mode });
        if mode == 4 {
            self.lines.get_mut(name).expect("it is connected").own = 0;
        }
    }

    pub fn look_at(&mut self, name: &'static str, whom: &Person) {
        self.ask(name, Request::ViewProfile { friend: ServiceNumber(whom.number) });
    }

    pub fn search(&mut self, name: &'static str, statement: &str) {
        self.pass(3_000);
        self.ask(name, Request::Search { statement: statement.as_bytes() });
    }

    pub fn who_is_online(&mut self, name: &'static str, start: u32, count: u8, direction: u8) {
        let start = ServiceNumber(start);
        self.ask(name, Request::ListOnline { start, count, direction });
    }

    pub fn test(&mut self, name: &'static str) {
        self.pass(20_000);
        self.ask(name, Request::Test);
    }

    pub fn offer(&mut self, name: &'static str, to: &Person, file: &str, length: usize) {
        self.pass(3_000);
        let length = u32::try_from(length).expect("small files");
        let friend = ServiceNumber(to.number);
        self.ask(name, Request::OfferFile { friend, name: file.as_bytes(), length });
    }

    pub fn answer_file(&mut self, name: &'static str, whom: &Person, allow: u8) {
        self.pass(1_000);
        self.ask(name, Request::AnswerFile { friend: ServiceNumber(whom.number), allow });
    }

    pub fn piece(&mut self, name: &'static str, to: &Person, data: &[u8]) {
        self.ask(name, Request::FilePiece { friend: ServiceNumber(to.number), data });
    }
}

pub fn send(to: u32, text: &str) -> Request<'_> {
    Request::Send { receiver: ServiceNumber(to), content: text.as_bytes() }
}
