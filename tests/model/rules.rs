//! The protocol's rules once more, written from its text alone: plain maps, no journal, no events. What it
//! predicts is what the server has to send.

#![allow(missing_docs, unreachable_pub, reason = "a part of one test")]

mod extensions;
mod friends;
mod transfers;

use std::collections::{BTreeMap, BTreeSet};

use super::bytes::{Bytes, is_text};
use super::steps::{Ask, Bad, Find, Mangle, Overdue, Person};

pub use extensions::{IDS, Named};

pub type Number = u32;
pub type Slot = usize;

pub const FIRST_NUMBER: Number = 10_001;
const USER_KIND: u8 = 0x0A;
const PER_GROUP: usize = 255;
const REQUESTS: usize = 255;

/// What the server was told at its start, as far as the rules depend on it.
#[derive(Clone, Debug)]
pub struct Limits {
    pub mail_messages: usize,
    pub mail_bytes: usize,
    pub operators: BTreeSet<Number>,
    /// Kind and number of each service program.
    pub services: Vec<(u8, Number)>,
    pub open: bool,
}

/// A packet that a connection has to get.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expected {
    Packet {
        packet_type: u8,
        content: Vec<u8>,
    },
    /// A notice with one of these codes: the protocol does not say which of several failures is told.
    Notice {
        packet_type: u8,
        codes: Vec<&'static str>,
    },
    /// A result with one of these codes, or without a text. Changes are counted; 0 is none.
    Result {
        packet_type: u8,
        success: bool,
        change: u64,
        codes: Vec<&'static str>,
    },
    /// A message with the id of the change that posted it, and what comes behind id and time.
    Mail {
        id: u64,
        content: Vec<u8>,
    },
}

#[derive(Clone, Debug)]
pub struct Mail {
    /// The change that posted it.
    id: u64,
    from: Number,
    kind: u8,
    text: Vec<u8>,
}

#[derive(Clone, Debug)]
pub struct User {
    pub person: Person,
    pub groups: BTreeMap<u8, Vec<u8>>,
    pub friends: BTreeMap<Number, u8>,
    /// Who waits for an answer.
    pub requests: BTreeSet<Number>,
    pub mailbox: Vec<Mail>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Session {
    pub number: Number,
    pub mode: u8,
}

#[derive(Clone, Debug)]
pub struct Connection {
    pub kind: u8,
    /// Whether its first packet has come, so that the server knows its kind.
    pub known: bool,
    pub session: Option<Session>,
    pub deaf: bool,
    pub closing: bool,
    /// The sum of its extensions.
    pub extensions: u8,
    /// The ids of the messages that its session was sent with ids.
    sent: Vec<u64>,
    /// Messages sent on it that its other end has not taken.
    unacknowledged: Vec<(Number, u64)>,
}

#[derive(Clone, Copy, Debug)]
pub struct Transfer {
    pub left: u64,
    pub flows: bool,
}

/// Why a packet is not done.
enum No {
    /// A violation: told and closed.
    Violation(&'static str),
    /// A refusal, with what the protocol leaves open between several reasons.
    Refusal(Vec<&'static str>),
}

type Done = Result<(), No>;

fn no<T>(code: &'static str) -> Result<T, No> {
    Err(No::Refusal(vec![code]))
}

/// Refuses with every reason that holds.
fn check(reasons: &[(bool, &'static str)]) -> Done {
    let codes: Vec<_> = reasons.iter().filter(|reason| reason.0).map(|reason| reason.1).collect();
    if codes.is_empty() { Ok(()) } else { Err(No::Refusal(codes)) }
}

pub struct Model {
    pub limits: Limits,
    pub users: BTreeMap<Number, User>,
    pub connections: BTreeMap<Slot, Connection>,
    pub monitored: BTreeSet<(Number, Number)>,
    pub transfers: BTreeMap<(Number, Number), Transfer>,
    pub full: bool,
    /// What each connection has to get for this step.
    pub out: BTreeMap<Slot, Vec<Expected>>,
    /// How many changes there were, but for deliveries.
    changes: u64,
    /// The last change of the packet at hand; 0 if it made none.
    last_change: u64,
    /// The packet at hand has its result.
    answered: bool,
}

impl Model {
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            users: BTreeMap::new(),
            connections: BTreeMap::new(),
            monitored: BTreeSet::new(),
            transfers: BTreeMap::new(),
            full: false,
            out: BTreeMap::new(),
            changes: 0,
            last_change: 0,
            answered: false,
        }
    }

    // Connections and time.

    pub fn connect(&mut self, slot: Slot, kind: u8) {
        let connection = Connection {
            kind,
            known: false,
            session: None,
            deaf: false,
            closing: false,
            extensions: 0,
            sent: Vec::new(),
            unacknowledged: Vec::new(),
        };
        self.connections.insert(slot, connection);
    }

    pub fn end(&mut self, slot: Slot) {
        self.end_session(slot);
        self.connections.remove(&slot);
    }

    pub fn restart(&mut self) {
        self.connections.clear();
        self.monitored.clear();
        self.transfers.clear();
    }

    pub fn shutdown(&mut self) {
        let living: Vec<Slot> = self
            .connections
            .iter()
            .filter(|(_, one)| !one.closing)
            .map(|(slot, _)| *slot)
            .collect();
        for slot in living {
            self.close(slot, "shutdown");
        }
        // Whoever is told that the server stops needs no word on its transfers: the order in which
        // connections are closed is the server's own business.
        for out in self.out.values_mut() {
            out.retain(|packet| {
                !matches!(packet, Expected::Notice { codes, .. } if codes == &["no-transfer"])
            });
        }
    }

    pub fn overdue(&mut self, slot: Slot, overdue: Overdue) {
        let code = if overdue == Overdue::Slow { "slow" } else { "idle" };
        self.close(slot, code);
    }

    /// The connection's other end has taken everything so far.
    pub fn acknowledge(&mut self, slot: Slot) {
        let Some(connection) = self.connections.get_mut(&slot) else { return };
        for (number, id) in std::mem::take(&mut connection.unacknowledged) {
            self.user_mut(number).mailbox.retain(|mail| mail.id != id);
        }
    }

    pub fn has_unacknowledged(&self, slot: Slot) -> bool {
        self.connections.get(&slot).is_some_and(|one| !one.unacknowledged.is_empty())
    }

    // Looking things up.

    pub fn session(&self, slot: Slot) -> Option<Session> {
        self.connections.get(&slot).and_then(|connection| connection.session)
    }

    pub fn slot_of(&self, number: Number) -> Option<Slot> {
        self.connections
            .iter()
            .find(|(_, connection)| connection.session.is_some_and(|s| s.number == number))
            .map(|(slot, _)| *slot)
    }

    fn visible(&self, number: Number) -> Option<u8> {
        self.slot_of(number)
            .and_then(|slot| self.session(slot))
            .map(|session| session.mode)
            .filter(|mode| matches!(mode, 1 | 3))
    }

    fn user(&self, number: Number) -> &User {
        &self.users[&number]
    }

    fn user_mut(&mut self, number: Number) -> &mut User {
        self.users.get_mut(&number).expect("users are never deleted")
    }

    fn is_service(&self, number: Number) -> bool {
        self.limits.services.iter().any(|(_, service)| *service == number)
    }

    fn in_group(&self, number: Number, group: u8) -> usize {
        self.user(number).friends.values().filter(|of| **of == group).count()
    }

    // Sending.

    fn emit(&mut self, slot: Slot, packet: Expected) {
        if self.connections.get(&slot).is_some_and(|connection| !connection.closing) {
            self.out.entry(slot).or_default().push(packet);
        }
    }

    fn packet(&mut self, slot: Slot, packet_type: u8, content: Bytes) {
        self.emit(slot, Expected::Packet { packet_type, content: content.0 });
    }

    fn notice(&mut self, slot: Slot, packet_type: u8, codes: Vec<&'static str>) {
        self.emit(slot, Expected::Notice { packet_type, codes });
    }

    /// Closed for a reason that no packet has caused.
    fn close(&mut self, slot: Slot, code: &'static str) {
        self.notice(slot, 0, vec![code]);
        self.shut(slot);
    }

    fn violated(&mut self, slot: Slot, packet_type: u8, code: &'static str) {
        self.fail(slot, packet_type, vec![code]);
        self.shut(slot);
    }

    fn shut(&mut self, slot: Slot) {
        if let Some(connection) = self.connections.get_mut(&slot) {
            connection.closing = true;
        }
        self.end_session(slot);
    }

    fn end_session(&mut self, slot: Slot) {
        let Some(connection) = self.connections.get_mut(&slot) else { return };
        connection.sent.clear();
        let Some(Session { number, .. }) = connection.session.take() else { return };
        if self.monitored.iter().any(|(operator, _)| *operator == number) {
            // Where there is no room for it, it is no change of this packet's.
            let _ = self.change();
        }
        self.monitored.retain(|(operator, _)| *operator != number);
        // One word for both directions: the notice does not say which, and who gets it knows of both.
        let others: BTreeSet<Number> = self
            .transfers
            .keys()
            .filter(|(from, to)| *from == number || *to == number)
            .map(|(from, to)| if *from == number { *to } else { *from })
            .collect();
        self.transfers.retain(|(from, to), _| *from != number && *to != number);
        for other in others {
            if let Some(slot) = self.slot_of(other) {
                self.notice(slot, 0, vec!["no-transfer"]);
            }
        }
    }

    /// Puts a message into a mailbox, and sends it at once to whoever is there.
    fn post(&mut self, to: Number, from: Number, kind: u8, text: &[u8]) {
        let mail = Mail { id: self.changes, from, kind, text: text.to_vec() };
        let mailbox = &mut self.user_mut(to).mailbox;
        if kind != 0 {
            mailbox.retain(|waiting| (waiting.kind, waiting.from) != (kind, from));
        }
        mailbox.push(mail.clone());
        if let Some(slot) = self.slot_of(to) {
            self.send_mail(slot, to, &mail);
        }
    }

    fn has_room(&self, number: Number, text: &[u8]) -> bool {
        let mailbox = &self.user(number).mailbox;
        let bytes: usize = mailbox.iter().map(|mail| mail.text.len()).sum();
        mailbox.len() < self.limits.mail_messages && bytes + text.len() <= self.limits.mail_bytes
    }

    fn message(&mut self, from: Number, to: Number, text: &[u8]) {
        self.post(to, from, 0, text);
        let operators: BTreeSet<Number> = self
            .monitored
            .iter()
            .filter(|(_, watched)| *watched == from || *watched == to)
            .map(|(operator, _)| *operator)
            .collect();
        for operator in operators {
            if let Some(slot) = self.slot_of(operator) {
                self.packet(slot, 0x11, Bytes::new().l(from).l(to).s(text));
            }
        }
    }

    // Packets.

    pub fn bad(&mut self, slot: Slot, bad: Bad) {
        let Some(connection) = self.connections.get_mut(&slot) else { return };
        if connection.closing {
            return;
        }
        match bad {
            // This is no packet, so it is none that has a result.
            Bad::FirstByte => self.close(slot, "malformed"),
            Bad::Sender | Bad::Receiver | Bad::Kind => self.violated(slot, 0, "malformed"),
            Bad::TooLarge(packet_type) => {
                connection.known = true;
                self.violated(slot, packet_type, "too-large");
            }
            Bad::Type(packet_type) => {
                connection.known = true;
                self.fail(slot, packet_type, vec!["unknown-type"]);
            }
        }
    }

    pub fn ask(&mut self, slot: Slot, ask: &Ask, mangle: Mangle) {
        let Some(connection) = self.connections.get_mut(&slot) else { return };
        if connection.closing {
            return;
        }
        connection.known = true;
        let session = connection.session;
        let packet_type = ask.packet_type();
        (self.last_change, self.answered) = (0, false);
        let done = match self.check_before_values(slot, session, ask, mangle) {
            Ok(()) => self.values(slot, session.map_or(0, |session| session.number), ask),
            Err(no) => Err(no),
        };
        match done {
            Ok(()) => self.succeed(slot, packet_type),
            Err(No::Violation(code)) => self.violated(slot, packet_type, code),
            Err(No::Refusal(mut codes)) => {
                let sum = self.sum(slot);
                if let Some(content) = ask.failure_reply(sum) {
                    self.packet(slot, ask.reply_type(), content);
                }
                if self.full {
                    codes.push("storage-full");
                }
                self.fail(slot, packet_type, codes);
            }
        }
    }

    fn check_before_values(
        &self,
        slot: Slot,
        session: Option<Session>,
        ask: &Ask,
        mangle: Mangle,
    ) -> Done {
        let length = ask.packet(0, 0, mangle).len() - 8;
        if length > if session.is_some() { 65_536 } else { 8_192 } {
            return Err(No::Violation("too-large"));
        }
        if matches!(ask, Ask::Arrived { .. }) && !self.connections[&slot].has(IDS) {
            return no("unknown-type");
        }
        let outside = matches!(ask, Ask::Register(_) | Ask::LogIn { .. } | Ask::Want { .. });
        if session.is_none() && !outside && !matches!(ask, Ask::Test) {
            return Err(No::Violation("not-logged-in"));
        }
        match mangle {
            // A refusal is for what is understood: what is malformed stays so inside a session.
            Mangle::Nothing if outside && session.is_some() => no("already-logged-in"),
            Mangle::Nothing => Ok(()),
            Mangle::Short | Mangle::Long => Err(No::Violation("malformed")),
            Mangle::Number => Err(No::Violation("wrong-number")),
        }
    }

    /// Refuses what would be a change while the log cannot grow.
    fn change(&mut self) -> Done {
        check(&[(self.full, "storage-full")])?;
        self.changes += 1;
        self.last_change = self.changes;
        Ok(())
    }

    fn values(&mut self, slot: Slot, own: Number, ask: &Ask) -> Done {
        match ask {
            Ask::Register(person) => self.register(slot, person),
            Ask::LogIn { number, password, mode } => self.log_in(slot, *number, password, *mode),
            Ask::Send { to, text } => self.send(own, *to, text),
            Ask::Broadcast { group, text } => self.broadcast(slot, own, *group, text),
            Ask::Profile { of } => self.profile(slot, own, *of),
            Ask::AddGroup { .. } | Ask::RenameGroup { .. } | Ask::DeleteGroup { .. } => {
                self.groups(slot, own, ask)
            }
            Ask::Move { moves } => self.move_friends(slot, own, moves),
            Ask::Online { start, count, direction } => {
                self.online(slot, *start, *count, *direction)
            }
            Ask::Search(find) => self.search(slot, find),
            Ask::AddFriend { friend } => self.request(own, *friend, b""),
            Ask::RequestFriend { friend, reason } => self.request(own, *friend, reason),
            Ask::DeleteFriend { friend } => self.delete_friend(own, *friend),
            Ask::Mode { mode } => self.mode(slot, *mode),
            Ask::Monitor { watched } => self.monitor(own, *watched),
            Ask::Change(person) => self.change_profile(own, person),
            Ask::Offer { to, name, length } => self.offer(own, *to, name, *length),
            Ask::AnswerFile { friend, allow } => self.answer_file(own, *friend, *allow),
            Ask::Piece { to, data } => self.piece(own, *to, data),
            Ask::Test => {
                self.packet(slot, 0x16, Bytes::new().l(own));
                Ok(())
            }
            Ask::Answer { asker, consent } => self.answer(own, *asker, *consent),
            Ask::Want { wanted } => self.want(slot, *wanted),
            Ask::Arrived { named, .. } => self.arrived(slot, own, *named),
        }
    }

    fn register(&mut self, slot: Slot, person: &Person) -> Done {
        check(&[
            (!self.limits.open, "registration-closed"),
            (!person.is_fit() || person.authentication > 2, "bad-value"),
        ])?;
        self.change()?;
        let number = FIRST_NUMBER + u32::try_from(self.users.len()).expect("few users");
        let user = User {
            person: person.clone(),
            groups: [(1, b"My Friends".to_vec())].into(),
            friends: BTreeMap::new(),
            requests: BTreeSet::new(),
            mailbox: Vec::new(),
        };
        self.users.insert(number, user);
        self.packet(slot, 0x01, Bytes::new().t(1).l(number));
        Ok(())
    }

    fn log_in(&mut self, slot: Slot, number: Number, password: &[u8], mode: u8) -> Done {
        let known = self.users.get(&number);
        check(&[
            (known.is_none_or(|user| user.person.password != password), "bad-login"),
            (mode > 1, "bad-value"),
        ])?;
        let kind = self.connections[&slot].kind;
        let service = self.limits.services.iter().find(|(_, service)| *service == number);
        let fits = match service {
            Some((of, _)) => *of == kind,
            None => kind == USER_KIND || kind == 0x03,
        };
        check(&[(!fits, "not-allowed")])?;
        if let Some(old) = self.slot_of(number) {
            self.close(old, "elsewhere");
        }
        let shown = if mode == 0 { 1 } else { 2 };
        let connection = self.connections.get_mut(&slot).expect("it asks");
        connection.session = Some(Session { number, mode: shown });
        let content = self.login_reply(number);
        self.packet(slot, 0x02, content);
        self.succeed(slot, 0x02);
        for mail in self.user(number).mailbox.clone() {
            self.send_mail(slot, number, &mail);
        }
        Ok(())
    }

    fn login_reply(&self, number: Number) -> Bytes {
        let user = self.user(number);
        let mut content = Bytes::new().t(1).count(user.groups.len());
        for (group, name) in &user.groups {
            content = content.s(name).t(*group).count(self.in_group(number, *group));
            for (friend, _) in user.friends.iter().filter(|(_, of)| *of == group) {
                let person = &self.user(*friend).person;
                let portrait = u8::try_from(person.portrait).expect("portraits are that small");
                let state = self.visible(*friend).unwrap_or(4);
                content = content.l(*friend).t(portrait).t(state).s(&person.nickname);
            }
        }
        content
    }

    fn send(&mut self, own: Number, to: Number, text: &[u8]) -> Done {
        check(&[
            (!self.users.contains_key(&to), "unknown-number"),
            (!is_message(text), "bad-value"),
        ])?;
        check(&[(!self.has_room(to, text), "mailbox-full")])?;
        self.change()?;
        self.message(own, to, text);
        Ok(())
    }

    fn broadcast(&mut self, slot: Slot, own: Number, group: u32, text: &[u8]) -> Done {
        let user = self.user(own);
        let groups = user.groups.keys().map(|group| u32::from(*group));
        check(&[
            (group != 0 && !groups.clone().any(|known| known == group), "unknown-group"),
            (!is_message(text), "bad-value"),
        ])?;
        let friends: Vec<Number> = user
            .friends
            .iter()
            .filter(|(_, of)| group == 0 || u32::from(**of) == group)
            .map(|(friend, _)| *friend)
            .collect();
        if friends.is_empty() {
            return Ok(());
        }
        let (room, left_out): (Vec<_>, Vec<_>) =
            friends.into_iter().partition(|friend| self.has_room(*friend, text));
        check(&[(room.is_empty(), "mailbox-full")])?;
        self.change()?;
        for friend in room {
            self.message(own, friend, text);
        }
        if !left_out.is_empty() {
            self.succeed_partly(slot, 0x04, "mailbox-full");
        }
        Ok(())
    }

    fn profile(&mut self, slot: Slot, own: Number, of: Number) -> Done {
        let Some(user) = self.users.get(&of) else { return no("unknown-number") };
        let trusted = own == of || self.user(own).friends.contains_key(&of);
        let content = user.person.profile(Bytes::new().t(1).l(of), trusted);
        self.packet(slot, 0x04, content);
        Ok(())
    }

    fn entries(&self, packet: Bytes, numbers: &[Number]) -> Bytes {
        numbers.iter().fold(packet.count(numbers.len()), |packet, number| {
            let person = &self.user(*number).person;
            let packet = packet.l(*number).s(&person.nickname).m(person.portrait);
            packet.t(person.province).s(&person.city)
        })
    }

    fn online(&mut self, slot: Slot, start: Number, count: u8, direction: u8) -> Done {
        check(&[(!matches!(direction, 1 | 2), "bad-value")])?;
        let visible = self.users.keys().copied().filter(|number| self.visible(*number).is_some());
        let mut walk: Vec<Number> = visible
            .filter(|number| if direction == 1 { *number <= start } else { *number >= start })
            .collect();
        if direction == 1 {
            walk.reverse();
        }
        walk.truncate(usize::from(count));
        let content = self.entries(Bytes::new().t(1), &walk);
        self.packet(slot, 0x09, content);
        Ok(())
    }

    fn search(&mut self, slot: Slot, find: &Find) -> Done {
        let all = self.users.iter();
        let fits = |number: &Number, person: &Person| match find {
            Find::All { .. } => true,
            Find::Age { least, .. } => person.age >= *least,
            Find::Online { is } => self.visible(*number).is_some() == *is,
            Find::Nickname { start } => {
                person.nickname.to_ascii_lowercase().starts_with(start.as_bytes())
            }
            Find::Mixed { low, high } => {
                matches!(person.gender, 1 | 2) && !(*low..=*high).contains(&person.age)
                    || person.country != 0
            }
            Find::Wrong(_) => false,
        };
        let mut found: Vec<(Number, u8)> = all
            .filter(|(number, user)| fits(number, &user.person))
            .map(|(number, user)| (*number, user.person.age))
            .collect();
        match find {
            Find::Wrong(_) => return no("bad-query"),
            Find::All { limit } => found.truncate(usize::from(*limit)),
            Find::Age { .. } => found.sort_by_key(|(number, age)| (u8::MAX - age, *number)),
            _ => {}
        }
        found.truncate(50);
        let numbers: Vec<Number> = found.into_iter().map(|(number, _)| number).collect();
        let content = self.entries(Bytes::new().t(1), &numbers);
        self.packet(slot, 0x0A, content);
        Ok(())
    }

    fn mode(&mut self, slot: Slot, mode: u8) -> Done {
        check(&[(!matches!(mode, 1..=4), "bad-value")])?;
        if mode == 4 {
            self.end_session(slot);
        } else if let Some(connection) = self.connections.get_mut(&slot) {
            connection.session = connection.session.map(|session| Session { mode, ..session });
        }
        Ok(())
    }

    fn monitor(&mut self, own: Number, watched: Number) -> Done {
        check(&[(!self.limits.operators.contains(&own), "not-allowed")])?;
        check(&[(watched != 0 && !self.users.contains_key(&watched), "unknown-number")])?;
        let same = if watched == 0 {
            !self.monitored.iter().any(|(operator, _)| *operator == own)
        } else {
            self.monitored.contains(&(own, watched))
        };
        if same {
            return Ok(());
        }
        self.change()?;
        if watched == 0 {
            self.monitored.retain(|(operator, _)| *operator != own);
        } else {
            self.monitored.insert((own, watched));
        }
        Ok(())
    }

    fn change_profile(&mut self, own: Number, person: &Person) -> Done {
        let mut person = person.clone();
        let old = &self.user(own).person;
        // Even the same password is hashed anew.
        let new_password = !person.password.is_empty();
        if person.password.is_empty() {
            person.password.clone_from(&old.password);
        }
        if person.authentication == 255 {
            person.authentication = old.authentication;
        }
        check(&[(!person.is_fit() || person.authentication > 2, "bad-value")])?;
        if new_password || *old != person {
            self.change()?;
        }
        self.user_mut(own).person = person;
        Ok(())
    }
}

fn is_message(text: &[u8]) -> bool {
    (1..=8_192).contains(&text.len()) && is_text(text, true)
}
