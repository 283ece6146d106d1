//! What can happen in a sequence, as values: they are chosen with an eye on the model, so that most of
//! them mean something, and a sequence that failed can be run again without some of its steps.

#![allow(missing_docs, unreachable_pub, reason = "a part of one test")]

use std::fmt;

use super::bytes::Bytes;
pub use super::person::Person;
use super::rules::{Connection, FIRST_NUMBER, IDS, Model, Named, Number, Slot};
use crate::chance::{Chance, asked};

pub const SLOTS: usize = 7;
/// Users that a sequence may register; steps name these numbers, and some that nobody has.
pub const USERS: u32 = 7;

/// A search whose meaning the model knows without reading statements.
#[derive(Clone, Debug)]
pub enum Find {
    All { limit: u8 },
    Age { least: u8 },
    Online { is: bool },
    Nickname { start: &'static str },
    Mixed { low: u8, high: u8 },
    Wrong(&'static str),
}

impl Find {
    fn statement(&self) -> String {
        match self {
            Self::All { limit } => format!("SELECT * FROM users LIMIT {limit}"),
            Self::Age { least } => {
                format!("select number, age from users where age >= {least} order by age desc;")
            }
            Self::Online { is } => {
                format!("SELECT nickname FROM users WHERE online = {}", u8::from(*is))
            }
            Self::Nickname { start } => {
                format!("SELECT * FROM users WHERE nickname LIKE '{}%'", start.to_uppercase())
            }
            Self::Mixed { low, high } => format!(
                "SELECT city FROM users WHERE gender IN (1, 2) AND NOT age BETWEEN {low} AND {high} \
                 OR (country <> 0)"
            ),
            Self::Wrong(statement) => (*statement).to_owned(),
        }
    }
}

/// What a client asks for.
#[derive(Clone, Debug)]
pub enum Ask {
    Register(Person),
    LogIn {
        number: Number,
        password: Text,
        mode: u8,
    },
    Send {
        to: Number,
        text: Text,
    },
    Broadcast {
        group: u32,
        text: Text,
    },
    Profile {
        of: Number,
    },
    AddGroup {
        name: Text,
    },
    RenameGroup {
        group: u8,
        name: Text,
    },
    DeleteGroup {
        group: u8,
    },
    Move {
        moves: Vec<(Number, u8)>,
    },
    Online {
        start: Number,
        count: u8,
        direction: u8,
    },
    Search(Find),
    AddFriend {
        friend: Number,
    },
    RequestFriend {
        friend: Number,
        reason: Text,
    },
    DeleteFriend {
        friend: Number,
    },
    Mode {
        mode: u8,
    },
    Monitor {
        watched: Number,
    },
    Change(Person),
    Offer {
        to: Number,
        name: Text,
        length: u32,
    },
    AnswerFile {
        friend: Number,
        allow: u8,
    },
    Piece {
        to: Number,
        data: Text,
    },
    Test,
    Answer {
        asker: Number,
        consent: u8,
    },
    Want {
        wanted: u32,
    },
    /// The id is the server's for what is named, which is known once the step is done.
    Arrived {
        named: Named,
        id: u64,
    },
}

/// Bytes that print shortly.
#[derive(Clone, PartialEq, Eq)]
pub struct Text(pub Vec<u8>);

impl std::ops::Deref for Text {
    type Target = Vec<u8>;

    fn deref(&self) -> &Vec<u8> {
        &self.0
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.len() > 24 {
            write!(f, "{} bytes", self.len())
        } else {
            write!(f, "{:?}", String::from_utf8_lossy(self))
        }
    }
}

impl Ask {
    pub const fn packet_type(&self) -> u8 {
        match self {
            Self::Register(_) => 0x01,
            Self::LogIn { .. } => 0x02,
            Self::Send { .. } => 0x03,
            Self::Broadcast { .. } => 0x04,
            Self::Profile { .. } => 0x05,
            Self::AddGroup { .. } => 0x06,
            Self::RenameGroup { .. } => 0x07,
            Self::DeleteGroup { .. } => 0x08,
            Self::Move { .. } => 0x09,
            Self::Online { .. } => 0x0A,
            Self::Search(_) => 0x0B,
            Self::AddFriend { .. } => 0x0C,
            Self::RequestFriend { .. } => 0x0D,
            Self::DeleteFriend { .. } => 0x0E,
            Self::Mode { .. } => 0x10,
            Self::Monitor { .. } => 0x11,
            Self::Change(_) => 0x12,
            Self::Offer { .. } => 0x13,
            Self::AnswerFile { .. } => 0x14,
            Self::Piece { .. } => 0x15,
            Self::Test => 0x16,
            Self::Answer { .. } => 0x17,
            Self::Want { .. } => 0x40,
            Self::Arrived { .. } => 0x42,
        }
    }

    /// The type of the reply, for those that have one.
    pub const fn reply_type(&self) -> u8 {
        match self.packet_type() {
            shifted @ 0x05..=0x0B => shifted - 1,
            same => same,
        }
    }

    /// The content of the reply that says failure, for those that have one; `sum` is that of extensions.
    pub fn failure_reply(&self, sum: Bytes) -> Option<Bytes> {
        let failed = Bytes::new().t(0);
        match self {
            Self::Register(_) => Some(failed.l(0)),
            Self::LogIn { .. } | Self::Online { .. } | Self::Search(_) => Some(failed.count(0)),
            Self::Profile { of } => {
                let mut nobody = Person::plain("", 0);
                nobody.password.clear();
                Some(nobody.profile(failed.l(*of), true))
            }
            Self::AddGroup { name } => Some(failed.t(0).s(name)),
            Self::RenameGroup { group, name } => Some(failed.t(*group).s(name)),
            Self::DeleteGroup { group } => Some(failed.t(*group)),
            Self::Move { .. } => Some(failed),
            Self::Want { .. } => Some(sum),
            _ => None,
        }
    }

    fn content(&self, own: Number) -> Bytes {
        let start = Bytes::new().l(own);
        match self {
            Self::Register(person) => person.content(Bytes::new()),
            Self::LogIn { number, password, mode } => Bytes::new().l(*number).s(password).t(*mode),
            Self::Send { to, text } => start.l(*to).s(text),
            Self::Broadcast { group, text } => start.l(*group).s(text),
            Self::Profile { of: number }
            | Self::AddFriend { friend: number }
            | Self::DeleteFriend { friend: number }
            | Self::Monitor { watched: number } => start.l(*number),
            Self::AddGroup { name } => start.s(name),
            Self::RenameGroup { group, name } => start.t(*group).s(name),
            Self::DeleteGroup { group: byte } | Self::Mode { mode: byte } => start.t(*byte),
            Self::Move { moves } => moves
                .iter()
                .fold(start.count(moves.len()), |bytes, (friend, to)| bytes.l(*friend).t(*to)),
            Self::Online { start: from, count, direction } => {
                start.l(*from).t(*count).t(*direction)
            }
            Self::Search(find) => start.s(find.statement().as_bytes()),
            Self::RequestFriend { friend, reason } => start.l(*friend).s(reason),
            Self::Change(person) => person.content(start),
            Self::Offer { to, name, length } => start.l(*to).s(name).l(*length),
            Self::AnswerFile { friend: number, allow: byte }
            | Self::Answer { asker: number, consent: byte } => start.l(*number).t(*byte),
            Self::Piece { to, data } => start.l(*to).b(data),
            Self::Test => start,
            Self::Want { wanted } => Bytes::new().l(*wanted),
            Self::Arrived { id, .. } => start.b(&id.to_be_bytes()),
        }
    }

    /// The packet's bytes, with what is done to them.
    pub fn packet(&self, kind: u8, own: Number, mangle: Mangle) -> Vec<u8> {
        let own = if mangle == Mangle::Number { own + 1 } else { own };
        let Bytes(mut content) = self.content(own);
        match (mangle, self) {
            // Data up to the end is never too short by itself.
            (Mangle::Short, Self::Piece { .. }) => content.truncate(7),
            (Mangle::Short, _) => content.truncate(content.len() - 1),
            (Mangle::Long, _) => content.push(0),
            _ => {}
        }
        Bytes(content).framed(kind, self.packet_type())
    }
}

/// What is wrong with an otherwise good packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mangle {
    Nothing,
    Short,
    Long,
    Number,
}

/// Bytes that are no good packet whatever the state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bad {
    FirstByte,
    Sender,
    Receiver,
    Kind,
    TooLarge(u8),
    Type(u8),
}

impl Bad {
    pub fn bytes(self, kind: u8) -> Vec<u8> {
        let other = if kind == 0x0A { 0x03 } else { 0x0A };
        match self {
            Self::FirstByte => vec![0x80, kind, 0x01, 0x16, 0, 0, 0, 0],
            Self::Sender => vec![0x81, 0x01, 0x01, 0x16, 0, 0, 0, 0],
            Self::Receiver => vec![0x81, kind, 0x0A, 0x16, 0, 0, 0, 0],
            Self::Kind => vec![0x81, other, 0x01, 0x16, 0, 0, 0, 0],
            Self::TooLarge(packet_type) => vec![0x81, kind, 0x01, packet_type, 0, 1, 0, 1],
            Self::Type(packet_type) => vec![0x81, kind, 0x01, packet_type, 0, 0, 0, 2, 9, 9],
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overdue {
    Login,
    Idle,
    Slow,
}

/// One step of a sequence.
#[derive(Clone)]
#[allow(clippy::large_enum_variant, reason = "sequences are short")]
pub enum Step {
    Connect(Slot, u8),
    End(Slot),
    /// The other end takes nothing from now on.
    Deaf(Slot),
    /// It has taken everything, and goes on.
    Hear(Slot),
    /// It has taken everything, and nobody has told the engine yet.
    Taken(Slot),
    Overdue(Slot, Overdue),
    Ask(Slot, Ask, Mangle),
    Bad(Slot, Bad),
    Full(bool),
    Pass(u64),
    /// The log is at a point at which the state's digest is written down.
    Checkpoint,
    Restart,
    Shutdown,
}

impl fmt::Debug for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect(slot, kind) => write!(f, "{slot}: connect as 0x{kind:02X}"),
            Self::End(slot) => write!(f, "{slot}: end"),
            Self::Deaf(slot) => write!(f, "{slot}: deaf"),
            Self::Hear(slot) => write!(f, "{slot}: hear"),
            Self::Taken(slot) => write!(f, "{slot}: taken"),
            Self::Overdue(slot, overdue) => write!(f, "{slot}: overdue {overdue:?}"),
            Self::Ask(slot, ask, Mangle::Nothing) => write!(f, "{slot}: {ask:?}"),
            Self::Ask(slot, ask, mangle) => write!(f, "{slot}: {ask:?}, but {mangle:?}"),
            Self::Bad(slot, bad) => write!(f, "{slot}: bad {bad:?}"),
            Self::Full(full) => write!(f, "storage full: {full}"),
            Self::Pass(millis) => write!(f, "{millis} ms pass"),
            Self::Checkpoint => write!(f, "checkpoint"),
            Self::Restart => write!(f, "restart"),
            Self::Shutdown => write!(f, "shutdown, restart"),
        }
    }
}

const TEXTS: &[&str] =
    &["a", "hello", "two\nlines", "你好", "forty bytes of text, to fill a mailbox .."];
const NAMES: &[&str] = &["Family", "Work", "朋友", "x"];
const NICKNAMES: &[&str] = &["ann", "Anna", "bob", "小明"];
const PASSWORDS: &[&str] = &["secret", "another secret"];

fn text(chance: &mut Chance, good: &[&str], limit: usize, least: usize) -> Text {
    let bytes = if chance.one_in(10) {
        match chance.below(6) {
            0 => vec![b'x'; limit],
            1 => vec![b'x'; limit + 1],
            2 => b"a\0b".to_vec(),
            3 => vec![0xFF, 0xFE],
            4 => b"tab\t".to_vec(),
            _ => vec![b'x'; least.saturating_sub(1)],
        }
    } else {
        chance.pick(good).as_bytes().to_vec()
    };
    Text(bytes)
}

fn number(chance: &mut Chance) -> Number {
    if chance.one_in(25) {
        chance.pick(&[0, 1, FIRST_NUMBER - 1, FIRST_NUMBER + 100, Number::MAX])
    } else {
        FIRST_NUMBER + u32::from(chance.byte()) % USERS
    }
}

/// One of `some` mostly, else anyone.
fn number_of(chance: &mut Chance, some: &[Number]) -> Number {
    if some.is_empty() || chance.one_in(4) { number(chance) } else { chance.pick(some) }
}

fn group_of(chance: &mut Chance, model: &Model, own: Number) -> u8 {
    let groups: Vec<u8> = model.users[&own].groups.keys().copied().collect();
    if chance.one_in(10) { chance.pick(&[0, 2, 3, 9, 255]) } else { chance.pick(&groups) }
}

fn person(chance: &mut Chance, change: bool) -> Person {
    let mut person = Person {
        nickname: chance.pick(NICKNAMES).into(),
        portrait: u16::from(chance.byte()),
        password: chance.pick(PASSWORDS).into(),
        gender: chance.byte() % 3,
        age: chance.byte() % 151,
        country: chance.byte() % 3,
        province: chance.byte(),
        education: chance.byte(),
        occupation: chance.byte(),
        private: std::array::from_fn(|_| chance.pick(NAMES).into()),
        city: chance.pick(&["", "北京"]).into(),
        school: chance.pick(NAMES).into(),
        hobbies: chance.pick(TEXTS).into(),
        description: chance.pick(TEXTS).into(),
        authentication: chance.byte() % 3,
    };
    if change && chance.one_in(3) {
        person.password.clear();
    }
    if change && chance.one_in(3) {
        person.authentication = 255;
    }
    if chance.one_in(6) {
        spoil(chance, &mut person);
    }
    person
}

/// Sets one value to its limit, or beyond it.
fn spoil(chance: &mut Chance, person: &mut Person) {
    match chance.below(12) {
        0 => person.nickname = text(chance, &[""], 64, 1).0,
        1 => person.portrait = chance.pick(&[255, 256, u16::MAX]),
        2 => person.password = vec![b'p'; chance.pick(&[1, 5, 6, 64, 65])],
        3 => person.gender = chance.pick(&[2, 3, 255]),
        4 => person.age = chance.pick(&[150, 151, 255]),
        5 => person.city = text(chance, &["x"], 255, 0).0,
        6 => person.school = text(chance, &["x"], 255, 0).0,
        7 => person.hobbies = text(chance, &["a\tb"], 1_024, 0).0,
        8 => person.description = text(chance, &["a\r\n"], 1_024, 0).0,
        9 => person.authentication = chance.pick(&[3, 254]),
        10 => person.password = b"secret\n".to_vec(),
        _ => {
            let index = chance.below(6);
            person.private[index] = text(chance, &["x"], 255, 0).0;
        }
    }
}

fn find(chance: &mut Chance) -> Find {
    let age = chance.byte() % 151;
    match chance.below(7) {
        0 => Find::All { limit: chance.byte() % 9 },
        1 => Find::Age { least: age },
        2 | 3 => Find::Online { is: !chance.one_in(3) },
        4 => Find::Nickname { start: chance.pick(&["an", "b", "zz"]) },
        5 => Find::Mixed { low: age / 2, high: age },
        _ => Find::Wrong(chance.pick(&[
            "",
            "SELECT password FROM users",
            "SELECT * FROM users WHERE email = ''",
            "DELETE FROM users",
            "SELECT * FROM users WHERE nickname > 1",
            "SELECT * FROM users; SELECT * FROM users",
        ])),
    }
}

/// A packet for a connection without a session.
fn outside(chance: &mut Chance, model: &Model, connection: &Connection) -> Ask {
    let few = model.users.len() < USERS as usize;
    let choices = if connection.extensions == 0 { 8 } else { 1 };
    match chance.weighted(&[if few { 8 } else { 1 }, 20, 1, choices]) {
        3 => Ask::Want { wanted: chance.pick(&[7, 7, 7, 1, 2, 3, 4, 6, 0, 8, 0x8000_0005]) },
        0 => Ask::Register(person(chance, false)),
        1 => {
            let service = model.limits.services.iter().find(|one| one.0 == connection.kind);
            let named = service.map(|one| one.1).filter(|_| !chance.one_in(6));
            // Mostly somebody who is not there yet, else sessions would not last.
            let away: Vec<Number> = model.users.keys().copied().collect();
            let away: Vec<Number> =
                away.into_iter().filter(|number| model.slot_of(*number).is_none()).collect();
            let number = named.unwrap_or_else(|| {
                if away.is_empty() || chance.one_in(8) {
                    number(chance)
                } else {
                    chance.pick(&away)
                }
            });
            let right = model.users.get(&number).filter(|_| !chance.one_in(15));
            let password = right.map_or(&b"no secret"[..], |user| &user.person.password);
            let mode = if chance.one_in(30) { 2 } else { u8::from(chance.one_in(5)) };
            Ask::LogIn { number, password: Text(password.to_vec()), mode }
        }
        _ => Ask::Test,
    }
}

/// A packet for a connection in a session.
fn inside(chance: &mut Chance, model: &Model, own: Number) -> Ask {
    let user = &model.users[&own];
    let friends: Vec<Number> = user.friends.keys().copied().collect();
    let askers: Vec<Number> = user.requests.iter().copied().collect();
    let byte = if chance.one_in(20) { 2 } else { chance.byte() % 2 };
    match chance.weighted(&[24, 10, 4, 4, 2, 2, 5, 3, 2, 10, 6, 2, 5, 6, 4, 14, 1, 10, 1]) {
        0 => Ask::Send { to: number_of(chance, &friends), text: text(chance, TEXTS, 8_192, 1) },
        1 => {
            let group = match chance.below(8) {
                0..4 => 0,
                4..7 => group_of(chance, model, own).into(),
                // Four bytes hold numbers that no group has: those are not taken for what is left of them in one.
                _ => 256 + u32::from(group_of(chance, model, own)),
            };
            Ask::Broadcast { group, text: text(chance, TEXTS, 8_192, 1) }
        }
        2 => Ask::Profile { of: number_of(chance, &friends) },
        3 => Ask::AddGroup { name: text(chance, NAMES, 64, 1) },
        4 => Ask::RenameGroup {
            group: group_of(chance, model, own),
            name: text(chance, NAMES, 64, 1),
        },
        5 => Ask::DeleteGroup { group: group_of(chance, model, own) },
        6 => {
            let count = chance.below(4);
            let one =
                |chance: &mut Chance| (number_of(chance, &friends), group_of(chance, model, own));
            Ask::Move { moves: (0..count).map(|_| one(chance)).collect() }
        }
        7 => Ask::Online {
            start: chance.pick(&[0, FIRST_NUMBER + 3, Number::MAX, FIRST_NUMBER]),
            count: chance.pick(&[0, 1, 3, 255]),
            direction: chance.pick(&[1, 2, 1, 2, 1, 2, 0, 3]),
        },
        8 => Ask::Search(find(chance)),
        9 => Ask::AddFriend { friend: number(chance) },
        10 => Ask::RequestFriend { friend: number(chance), reason: text(chance, TEXTS, 255, 0) },
        11 => Ask::DeleteFriend { friend: number_of(chance, &friends) },
        12 => Ask::Mode { mode: chance.pick(&[1, 1, 2, 3, 4, 4, 0, 5]) },
        13 => Ask::Monitor { watched: if chance.one_in(4) { 0 } else { number(chance) } },
        14 => Ask::Change(person(chance, true)),
        15 => file(chance, model, own, &friends, byte),
        16 => Ask::Test,
        17 => Ask::Answer { asker: number_of(chance, &askers), consent: byte },
        _ => outside_in_session(chance, own),
    }
}

fn outside_in_session(chance: &mut Chance, own: Number) -> Ask {
    match chance.below(3) {
        0 => Ask::Register(person(chance, false)),
        1 => Ask::LogIn { number: own, password: Text(b"secret".to_vec()), mode: 0 },
        _ => Ask::Want { wanted: u32::from(chance.byte()) % 16 },
    }
}

fn arrived(chance: &mut Chance) -> Ask {
    let back = chance.below(3);
    let named = chance.pick(&[
        Named::Message(0),
        Named::Message(back),
        Named::Before(back),
        Named::Everything,
        Named::Nothing,
    ]);
    Ask::Arrived { named, id: 0 }
}

fn file(chance: &mut Chance, model: &Model, own: Number, friends: &[Number], byte: u8) -> Ask {
    let partners = |fits: &dyn Fn(Number, Number, bool) -> Option<Number>| -> Vec<Number> {
        let pairs = model.transfers.iter();
        pairs.filter_map(|((from, to), transfer)| fits(*from, *to, transfer.flows)).collect()
    };
    let sends_to = partners(&|from, to, flows| (from == own && flows).then_some(to));
    let may_allow = partners(&|from, to, flows| (to == own && !flows).then_some(from));
    let any = partners(&|from, to, _| match own {
        own if own == from => Some(to),
        own if own == to => Some(from),
        _ => None,
    });
    let weight = |of: &[Number]| if of.is_empty() { 0 } else { 8 };
    match chance.weighted(&[6, 1, 1, weight(&sends_to) * 2, weight(&may_allow), weight(&any) / 4]) {
        0 => {
            let services = model.limits.services.iter().map(|one| one.1);
            let there: Vec<Number> = friends
                .iter()
                .copied()
                .chain(services)
                .filter(|friend| model.slot_of(*friend).is_some())
                .collect();
            Ask::Offer {
                to: number_of(chance, &there),
                name: text(chance, &["a.txt", "b", "a.txt", "b", "a/b", "..", "你.doc"], 255, 1),
                length: chance.pick(&[0, 1, 10, 10, 10, u32::MAX]),
            }
        }
        1 => Ask::AnswerFile { friend: number_of(chance, &any), allow: byte },
        2 | 3 => Ask::Piece {
            to: number_of(chance, &sends_to),
            data: Text(vec![b'd'; chance.pick(&[0, 1, 4, 5, 10, 11])]),
        },
        4 => {
            Ask::AnswerFile { friend: chance.pick(&may_allow), allow: u8::from(!chance.one_in(5)) }
        }
        _ => Ask::AnswerFile { friend: chance.pick(&any), allow: 0 },
    }
}

/// Everything that the model can judge is asked for, also what the protocol leaves to be read either way.
fn strict() -> bool {
    asked("OICQ_STRICT").is_some()
}

/// Whether the protocol settles what a step means; some combinations it leaves open.
pub fn is_settled(model: &Model, step: &Step) -> bool {
    strict()
        || match step {
            Step::Hear(slot) | Step::Taken(slot) => is_settled_delivery(model, *slot),
            Step::Ask(slot, ask, _) => is_settled_ask(model, *slot, ask),
            _ => true,
        }
}

/// Whether it is settled that a delivery counts which is known only now: the log may have no room to
/// tell of it.
fn is_settled_delivery(model: &Model, slot: Slot) -> bool {
    !(model.full && model.has_unacknowledged(slot))
}

fn is_settled_ask(model: &Model, slot: Slot, ask: &Ask) -> bool {
    let own = model.session(slot).map_or(0, |session| session.number);
    let moving = |from, to| model.transfers.contains_key(&(from, to));
    match ask {
        // Whether a delivery counts that the log has no room to tell of.
        Ask::LogIn { number, .. } => {
            !model.full || model.users.get(number).is_none_or(|user| user.mailbox.is_empty())
        }
        // With a transfer each way, a 0 could be about either of them.
        Ask::AnswerFile { friend, allow: 0 } => !(moving(own, *friend) && moving(*friend, own)),
        // Whether there is anything to refuse while the end of an earlier session's monitoring waits.
        Ask::Monitor { .. } => !model.full,
        // Whether a delivery counts that the log has no room to tell of.
        Ask::Arrived { .. } => !model.full,
        // A service program that offers a file to itself.
        Ask::Offer { to, .. } => *to != own,
        _ => true,
    }
}

fn ask(chance: &mut Chance, model: &Model, slot: Slot, connection: &Connection) -> Step {
    let mangle = match chance.below(400) {
        0 => Mangle::Short,
        1 => Mangle::Long,
        2 => Mangle::Number,
        _ => Mangle::Nothing,
    };
    let any = chance.one_in(400) && !model.users.is_empty();
    let confirms = chance.one_in(if connection.has(IDS) { 8 } else { 500 });
    let (wanted, fits_number) = match connection.session {
        session if confirms && (session.is_some() || any) => (arrived(chance), true),
        Some(session) => (inside(chance, model, session.number), true),
        None if any => (inside(chance, model, FIRST_NUMBER), true),
        None => (outside(chance, model, connection), false),
    };
    // A number claimed at login is nobody else's, and data up to the end is never too long.
    let without = matches!(wanted, Ask::Register(_) | Ask::LogIn { .. } | Ask::Want { .. });
    let has_own = fits_number && !without || matches!(wanted, Ask::Test);
    let mangle = match mangle {
        Mangle::Number if !has_own => Mangle::Nothing,
        Mangle::Long if matches!(wanted, Ask::Piece { .. }) => Mangle::Nothing,
        mangle => mangle,
    };
    Step::Ask(slot, wanted, mangle)
}

/// Chooses the next step.
pub fn next(chance: &mut Chance, model: &Model) -> Step {
    // Transfers would end with a session before their data flowed, were they left to chance alone.
    let transfer = model.transfers.iter().nth(chance.below(4));
    if let Some(((from, to), transfer)) = transfer
        && chance.one_in(3)
    {
        let piece = Text(vec![b'd'; chance.pick(&[0, 1, 4, 5, 10, 11])]);
        let (number, ask) = if transfer.flows {
            (from, Ask::Piece { to: *to, data: piece })
        } else {
            (to, Ask::AnswerFile { friend: *from, allow: u8::from(!chance.one_in(5)) })
        };
        let slot = model.slot_of(*number).expect("transfers end with sessions");
        return Step::Ask(slot, ask, Mangle::Nothing);
    }
    let slot = chance.below(SLOTS);
    let Some(connection) = model.connections.get(&slot) else {
        let kind = chance.pick(&[0x0A, 0x0A, 0x0A, 0x0A, 0x03, 0x05]);
        return Step::Connect(slot, kind);
    };
    if connection.closing {
        return if chance.one_in(4) {
            Step::Ask(slot, Ask::Test, Mangle::Nothing)
        } else {
            Step::End(slot)
        };
    }
    match chance.weighted(&[600, 6, 12, 2, 2, 4, 3, 2, 1, 2]) {
        0 => ask(chance, model, slot, connection),
        1 => Step::End(slot),
        2 if connection.deaf && chance.one_in(3) => Step::Taken(slot),
        2 if connection.deaf => Step::Hear(slot),
        2 => Step::Deaf(slot),
        3 => Step::Overdue(slot, overdue(chance, connection)),
        4 => bad(chance, slot),
        5 if model.full || chance.one_in(3) => Step::Full(!model.full),
        5 | 6 => Step::Pass(chance.pick(&[0, 1, 49, 50, 1_000])),
        7 => Step::Restart,
        8 => Step::Shutdown,
        _ => Step::Checkpoint,
    }
}

fn overdue(chance: &mut Chance, connection: &Connection) -> Overdue {
    match (chance.below(2), connection.session) {
        (0, _) => Overdue::Slow,
        (_, None) => Overdue::Login,
        _ => Overdue::Idle,
    }
}

fn bad(chance: &mut Chance, slot: Slot) -> Step {
    let packet_type = chance.byte() % 0x17 + 1;
    let bad = match chance.below(8) {
        0 => Bad::FirstByte,
        1 => Bad::Sender,
        2 => Bad::Receiver,
        3 => Bad::Kind,
        4 => Bad::TooLarge(if packet_type == 0x0F { 0x03 } else { packet_type }),
        _ => Bad::Type(chance.pick(&[0x00, 0x0F, 0x18, 0x41, 0x43, 0xFF])),
    };
    Step::Bad(slot, bad)
}
