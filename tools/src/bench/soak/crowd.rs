//! All users and their connections, on one thread: who is there, who hangs up and how, who comes back when.
//!
//! Owns the sockets. What users say and hear stands in `person`; what they do when, in `plan`.

use std::collections::{BTreeSet, VecDeque};
use std::net::{Shutdown, SocketAddr};

use oicq::codec::profile::Profile;
use oicq::id::ServiceNumber;
use oicq::wire::client::Account;
use oicq::wire::{Kind, Request, ServerPacket, cut_for_client};

use super::person::{Books, Person, Stage};
use super::plan::{Act, Leave};
use crate::bench::run::Run;
use crate::bench::stream::{Poll, ROOM_BYTES, Read, Stream};
use crate::bench::users::{PASSWORD, begin_to_connect, broken, put};
use crate::failure::Failure;

const DOING: &str = "the load";
/// Sockets that are looked at in one turn.
const EVENTS: usize = 1_024;
/// Who could not connect tries again after so long.
const AGAIN_NS: u64 = 50_000_000;
/// Bytes that wait for a server that takes no more, above which nothing is added.
const OUT_BYTES_MAX: usize = 256 << 10;
/// Acts that wait for users to be in session, and answers that are waited for: far more than any pause makes.
pub(super) const BEHIND_MAX: usize = 4_000_000;

/// All users.
pub(super) struct Crowd<'a> {
    run: &'a Run,
    address: SocketAddr,
    members: Vec<Member>,
    /// Connections on which somebody registers. Their keys follow those of the members.
    newcomers: Vec<Option<Stream>>,
    poll: Poll,
    room: Vec<u8>,
    /// Who comes back, or listens again, when.
    returns: BTreeSet<(u64, usize)>,
    /// Who has something to say.
    touched: Vec<usize>,
    pub(super) books: Books,
    /// Acts that were not answered, or not begun.
    pub(super) under_way: usize,
}

/// A user and its connection.
struct Member {
    person: Person,
    stream: Option<Stream>,
    /// What it is to do, and when that was due.
    to_do: VecDeque<(u64, Act)>,
    is_touched: bool,
    is_deaf: bool,
}

impl<'a> Crowd<'a> {
    /// Users with these numbers, one after the other, who come as soon as there is a turn.
    pub(super) fn new(
        run: &'a Run,
        address: SocketAddr,
        numbers: &[ServiceNumber],
    ) -> Result<Self, Failure> {
        let books = Books::new(numbers.len(), numbers.first().map_or(0, |number| number.0));
        let member = |index| Member {
            person: Person::new(index, &books),
            stream: None,
            to_do: VecDeque::new(),
            is_touched: false,
            is_deaf: false,
        };
        Ok(Self {
            run,
            address,
            members: (0..numbers.len()).map(member).collect(),
            newcomers: Vec::new(),
            poll: Poll::new(EVENTS).map_err(|error| broken(DOING, &error))?,
            room: vec![0; ROOM_BYTES],
            returns: (0..numbers.len()).map(|index| (0, index)).collect(),
            touched: Vec::new(),
            books,
            under_way: 0,
        })
    }

    /// Where the server is from now on.
    pub(super) const fn server_is_at(&mut self, address: SocketAddr) {
        self.address = address;
    }

    /// What they have written down. They all hang up.
    pub(super) fn into_books(self) -> Books {
        self.books
    }

    /// How many are in session.
    pub(super) fn in_session(&self) -> usize {
        self.members
            .iter()
            .filter(|member| member.person.stage == Stage::In && !member.is_deaf)
            .count()
    }

    /// How many users there are.
    pub(super) const fn people(&self) -> usize {
        self.members.len()
    }

    /// How many connections there are.
    pub(super) fn connections(&self) -> usize {
        let newcomers = self.newcomers.iter().flatten().count();
        newcomers + self.members.iter().filter(|member| member.stream.is_some()).count()
    }

    /// Somebody has something to do that was due then.
    pub(super) fn act(&mut self, by: usize, act: Act, due_ns: u64) {
        let member = &mut self.members[by];
        member.to_do.push_back((due_ns, act));
        self.under_way += 1;
        self.touch(by);
    }

    /// Somebody hangs up, and comes back at that time.
    pub(super) fn leave(&mut self, who: usize, how: Leave, until_ns: u64) {
        let now = self.run.ns();
        let member = &mut self.members[who];
        if member.person.stage != Stage::In || member.is_deaf {
            return;
        }
        self.books.excuse(who, until_ns);
        if !member.person.is_extended && how == Leave::Reset {
            // What has come is read first; what comes meanwhile is lost to it, as to any such client.
            self.read(who, now);
            if self.members[who].stream.is_none() {
                // The server had ended the connection already.
                return;
            }
            self.books.ledger.cut(who);
        }
        let member = &mut self.members[who];
        let Some(stream) = &mut member.stream else { return };
        if how == Leave::HalfPacket {
            let whole = stream.out.len();
            put(&mut stream.out, ServiceNumber::FIRST, Request::Test);
            stream.out.truncate(stream.out.len() - 2);
            debug_assert!(stream.out.len() > whole);
            let _ = stream.flush(&self.poll, who);
        }
        if how == Leave::Reset {
            member.stream.take().into_iter().for_each(Stream::reset);
        } else if !member.person.is_extended {
            // What is on its way to it is read to its end, so that nothing is lost to it.
            let _ = stream.socket.shutdown(Shutdown::Write);
            member.person.stage = Stage::Leaving;
            self.returns.insert((until_ns, who));
            return;
        }
        self.hang_up(who, until_ns);
    }

    /// Somebody reads nothing until then.
    pub(super) fn deafen(&mut self, who: usize, until_ns: u64) -> Result<(), Failure> {
        let member = &mut self.members[who];
        let Some(stream) = member.stream.as_mut().filter(|_| member.person.stage == Stage::In)
        else {
            return Ok(());
        };
        stream.deafen(&self.poll, who).map_err(|error| broken(DOING, &error))?;
        member.is_deaf = true;
        self.books.excuse(who, until_ns);
        self.returns.insert((until_ns, who));
        Ok(())
    }

    /// A new user registers, on a connection of its own.
    pub(super) fn register(&mut self) -> Result<(), Failure> {
        let Ok(mut stream) = begin_to_connect(None, self.address).and_then(Stream::new) else {
            return Ok(());
        };
        let profile = Profile { nickname: b"newcomer", ..Profile::default() };
        let account = Account { profile, password: PASSWORD, authentication: 0 };
        put(&mut stream.out, ServiceNumber::NONE, Request::Register(account));
        let free = self.newcomers.iter().position(Option::is_none);
        let slot = free.unwrap_or(self.newcomers.len());
        let key = self.members.len() + slot;
        self.poll.add(&stream.socket, key).map_err(|error| broken(DOING, &error))?;
        let _ = stream.flush(&self.poll, key);
        match self.newcomers.get_mut(slot) {
            Some(empty) => *empty = Some(stream),
            None => self.newcomers.push(Some(stream)),
        }
        Ok(())
    }

    /// Everybody who is away comes back, and everybody deaf listens.
    pub(super) fn call_back(&mut self) {
        let who = std::mem::take(&mut self.returns).into_iter().map(|(_, who)| (0, who));
        self.returns = who.collect();
    }

    /// Lets people come back and say what they have to, waits until something comes, so long at most, and takes it.
    pub(super) fn turn(&mut self, wait_ns: u64) -> Result<(), Failure> {
        let now = self.run.ns();
        while let Some(&(due, who)) = self.returns.first().filter(|(due, _)| *due <= now) {
            self.returns.remove(&(due, who));
            self.come_back(who, now)?;
        }
        self.say_what_is_due();
        if self.under_way > BEHIND_MAX {
            return Err(Failure::Failed(format!(
                "the server is {BEHIND_MAX} requests behind; a lower --rate leaves it time"
            )));
        }
        let until_return =
            self.returns.first().map_or(u64::MAX, |(due, _)| due.saturating_sub(self.run.ns()));
        let count = self
            .poll
            .wait(Some(wait_ns.min(until_return)))
            .map_err(|error| broken(DOING, &error))?;
        let now = self.run.ns();
        for index in 0..count {
            let happened = self.poll.happened(index);
            if happened.has_room {
                self.has_room(happened.key);
            }
            if happened.has_bytes {
                self.read(happened.key, now);
            }
        }
        self.say_what_is_due();
        Ok(())
    }

    fn come_back(&mut self, who: usize, now_ns: u64) -> Result<(), Failure> {
        let member = &mut self.members[who];
        if let Some(stream) = &mut member.stream {
            if std::mem::take(&mut member.is_deaf) {
                let hears = stream.set_listens(true, &self.poll, who);
                hears.map_err(|error| broken(DOING, &error))?;
            } else if member.person.stage == Stage::Leaving {
                // The server has not ended it yet.
                self.returns.insert((now_ns + AGAIN_NS, who));
            }
            return Ok(());
        }
        let Ok(mut stream) = begin_to_connect(None, self.address).and_then(Stream::new) else {
            self.returns.insert((now_ns + AGAIN_NS, who));
            return Ok(());
        };
        self.poll.add(&stream.socket, who).map_err(|error| broken(DOING, &error))?;
        member.person.log_in(&mut stream.out);
        member.stream = Some(stream);
        self.flush(who);
        Ok(())
    }

    fn say_what_is_due(&mut self) {
        while let Some(who) = self.touched.pop() {
            let member = &mut self.members[who];
            member.is_touched = false;
            let Some(stream) = &mut member.stream else { continue };
            while member.person.stage == Stage::In && stream.out.len() < OUT_BYTES_MAX {
                let Some((due_ns, act)) = member.to_do.pop_front() else { break };
                member.person.act(act, due_ns, &mut self.books, &mut stream.out);
            }
            self.flush(who);
        }
    }

    fn touch(&mut self, who: usize) {
        let member = &mut self.members[who];
        if !std::mem::replace(&mut member.is_touched, true) {
            self.touched.push(who);
        }
    }

    fn has_room(&mut self, key: usize) {
        self.flush(key);
        if key < self.members.len() {
            self.touch(key);
        }
    }

    fn flush(&mut self, key: usize) {
        let stream = match self.members.get_mut(key) {
            Some(member) => member.stream.as_mut(),
            None => self.newcomers[key - self.members.len()].as_mut(),
        };
        if let Some(stream) = stream
            && stream.flush(&self.poll, key).is_err()
        {
            // What it said is read first: the end shows there.
            stream.out.clear();
        }
    }

    /// Takes all that has come on a connection.
    fn read(&mut self, key: usize, now_ns: u64) {
        if key >= self.members.len() {
            return self.read_newcomer(key - self.members.len());
        }
        loop {
            let member = &mut self.members[key];
            let Some(stream) = &mut member.stream else { return };
            match stream.read(&mut self.room) {
                Ok(Read::Bytes(count)) => {
                    let before = member.person.under_way();
                    let bytes = &self.room[..count];
                    let taken = member.person.hear(bytes, now_ns, &mut self.books, &mut stream.out);
                    stream.keep(&bytes[taken..]);
                    self.under_way -= before - member.person.under_way();
                    self.touch(key);
                }
                Ok(Read::Nothing) => return,
                // It comes back as soon as it can, if it was not about to stay away.
                Ok(Read::End) | Err(_) => {
                    let until_ns = now_ns.max(match member.person.stage {
                        Stage::Leaving => self.books.excused_ns(key),
                        _ => now_ns + AGAIN_NS,
                    });
                    return self.hang_up(key, until_ns);
                }
            }
        }
    }

    fn hang_up(&mut self, who: usize, until_ns: u64) {
        let member = &mut self.members[who];
        self.under_way -= member.person.under_way();
        member.person.disconnected(&mut self.books);
        (member.stream, member.is_deaf) = (None, false);
        self.returns.retain(|(_, other)| *other != who);
        self.returns.insert((until_ns, who));
    }

    fn read_newcomer(&mut self, slot: usize) {
        let Some(stream) = self.newcomers.get_mut(slot).and_then(Option::as_mut) else { return };
        match stream.read(&mut self.room) {
            Ok(Read::Bytes(count)) => {
                let bytes = &self.room[..count];
                match cut_for_client(bytes, Kind::User, ROOM_BYTES as u32) {
                    Ok(Some(frame)) => {
                        match ServerPacket::decode(frame.header.packet_type, frame.content) {
                            Ok(ServerPacket::Registered { success: true, .. }) => {
                                self.books.tally.registered += 1
                            }
                            // A server that stops says so.
                            Ok(ServerPacket::Message { .. }) => {}
                            _ => self.books.ledger.told("a registration is refused".to_owned()),
                        }
                        self.newcomers[slot] = None;
                    }
                    Ok(None) => stream.keep(bytes),
                    Err(_) => self
                        .books
                        .ledger
                        .told("bytes that are no packet, at a registration".to_owned()),
                }
            }
            Ok(Read::Nothing) => {}
            Ok(Read::End) | Err(_) => self.newcomers[slot] = None,
        }
    }
}
