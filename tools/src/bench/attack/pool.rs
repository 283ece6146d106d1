//! The attackers' sockets: so many at most, all on one thread, and what the server does to them.
//!
//! Owns sockets, the addresses that they come from, and the counts. What is sent on them, and who hangs up when, an
//! attack settles.

use std::collections::{BTreeMap, VecDeque};
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr};

use oicq::id::ServiceNumber;
use oicq::limits::REGISTRATIONS;
use oicq::wire::server::{Sign, SystemKind};
use oicq::wire::{Code, Kind, Notice, Request, ServerPacket, cut_for_client};

use crate::bench::stream::{Poll, ROOM_BYTES, Read, Stream};
use crate::bench::users::{
    CONTENT_BYTES_MAX, Door, Member, PASSWORD, begin_to_connect, broken, put,
};
use crate::failure::Failure;

const DOING: &str = "the attack";
/// Sockets that are looked at in one turn.
const EVENTS: usize = 1_024;
/// Addresses of this machine that attackers come from. The server counts what it limits for each of them.
const SOURCES: usize = 64;
/// Bytes that wait for a server that takes no more, above which nothing is added.
const OUT_BYTES_MAX: usize = 256 << 10;
/// Users who fetch their mail at once.
const FETCH_AT_ONCE: usize = 64;
/// Mail has all come when nothing comes for so long.
const QUIET_NS: u64 = 300_000_000;

/// What has become of the attackers.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Counts {
    /// Connections that were begun.
    pub(crate) opened: u64,
    /// Of them those that came to nothing.
    pub(crate) refused: u64,
    /// The server has ended them in an orderly way.
    pub(crate) closed: u64,
    /// They have ended with a reset.
    pub(crate) reset: u64,
    /// The attackers have ended them.
    pub(crate) hung_up: u64,
    /// Packets that were put on their way.
    pub(crate) sent: u64,
    /// Packets that came, notices apart.
    pub(crate) answered: u64,
    /// Notices that came, by what they say.
    pub(crate) notices: BTreeMap<&'static str, u64>,
}

/// The sockets of an attack.
pub(crate) struct Pool<'a> {
    door: Door<'a>,
    ends: Vec<Option<End>>,
    free: Vec<usize>,
    max: usize,
    poll: Poll,
    room: Vec<u8>,
    /// Sockets that the server has ended, and when the attacker hangs up.
    ended: VecDeque<(u64, usize)>,
    /// How long an attacker who was told to go stays.
    pub(crate) stays_ns: u64,
    /// Users of the attack.
    pub(crate) users: Vec<ServiceNumber>,
    pub(crate) counts: Counts,
}

struct End {
    stream: Stream,
    own: ServiceNumber,
    /// When the attacker hangs up, once the server has ended it.
    leaves_ns: Option<u64>,
}

impl<'a> Pool<'a> {
    /// No sockets yet, and so many at most.
    pub(crate) fn new(door: Door<'a>, max: usize) -> Result<Self, Failure> {
        Ok(Self {
            door,
            ends: Vec::new(),
            free: Vec::new(),
            max,
            poll: Poll::new(EVENTS).map_err(|error| broken(DOING, &error))?,
            room: vec![0; ROOM_BYTES],
            ended: VecDeque::new(),
            stays_ns: 0,
            users: Vec::new(),
            counts: Counts::default(),
        })
    }

    /// How many sockets there are.
    pub(crate) const fn open_count(&self) -> usize {
        self.ends.len() - self.free.len()
    }

    /// The time, as the measurement counts it.
    pub(crate) fn now_ns(&self) -> u64 {
        self.door.run.ns()
    }

    /// Says what takes its time now.
    pub(crate) fn doing(&self, what: &str) {
        self.door.run.doing(what.to_owned(), 0);
    }

    /// Keys of all sockets that the server has not ended.
    pub(crate) fn keys(&self) -> Vec<usize> {
        let is_open = |end: &Option<End>| end.as_ref().is_some_and(|end| end.leaves_ns.is_none());
        (0..self.ends.len()).filter(|key| is_open(&self.ends[*key])).collect()
    }

    /// Registers the users of the attack, as many from each address as the server allows.
    pub(crate) fn register(&mut self, count: usize) -> Result<(), Failure> {
        let each = if self.is_local() { REGISTRATIONS as usize } else { count };
        while self.users.len() < count {
            let index = self.users.len() / each;
            let door = Door { from: self.source(3 + index / 250, index % 250), ..self.door };
            self.users.extend(door.numbers(each.min(count - self.users.len()))?);
        }
        Ok(())
    }

    /// Logs all users in; their keys.
    pub(crate) fn log_in(&mut self) -> Result<Vec<usize>, Failure> {
        let mut keys = Vec::with_capacity(self.users.len());
        for (index, users) in self.users.clone().chunks(FETCH_AT_ONCE).enumerate() {
            let door = Door { from: self.source(2, index), ..self.door };
            for Member { number, stream, .. } in door.log_in(users)? {
                stream.socket.set_nonblocking(true).map_err(|error| broken(DOING, &error))?;
                self.counts.opened += 1;
                keys.extend(self.add(stream, number)?);
            }
        }
        Ok(keys)
    }

    /// Begins a connection; `None` where there are as many as there may be.
    pub(crate) fn open(&mut self) -> Result<Option<usize>, Failure> {
        if self.open_count() >= self.max {
            return Ok(None);
        }
        let index = usize::try_from(self.counts.opened).unwrap_or(0);
        self.counts.opened += 1;
        match begin_to_connect(self.source(2, index % SOURCES), self.door.address) {
            Ok(socket) => {
                let stream = Stream::new(socket).map_err(|error| broken(DOING, &error))?;
                self.add(stream, ServiceNumber::NONE)
            }
            Err(_) => {
                self.counts.refused += 1;
                Ok(None)
            }
        }
    }

    fn add(&mut self, stream: Stream, own: ServiceNumber) -> Result<Option<usize>, Failure> {
        let key = self.free.pop().unwrap_or(self.ends.len());
        self.poll.add(&stream.socket, key).map_err(|error| broken(DOING, &error))?;
        let end = Some(End { stream, own, leaves_ns: None });
        match self.ends.get_mut(key) {
            Some(slot) => *slot = end,
            None => self.ends.push(end),
        }
        Ok(Some(key))
    }

    /// Sends a request of the socket's user; `false` where the server takes no more for now, or has ended it.
    pub(crate) fn ask(&mut self, key: usize, request: Request<'_>) -> bool {
        let own = self.ends.get(key).and_then(Option::as_ref).map(|end| end.own);
        self.ask_as(key, own.unwrap_or(ServiceNumber::NONE), request)
    }

    /// The same in another's name.
    pub(crate) fn ask_as(&mut self, key: usize, own: ServiceNumber, request: Request<'_>) -> bool {
        let mut bytes = Vec::new();
        put(&mut bytes, own, request);
        self.say(key, &bytes, 1)
    }

    /// Sends bytes, which are so many packets; `false` where the server takes no more for now, or has ended it.
    pub(crate) fn say(&mut self, key: usize, bytes: &[u8], packets: u64) -> bool {
        let Some(end) = self.ends.get_mut(key).and_then(Option::as_mut) else { return false };
        if end.leaves_ns.is_some() || end.stream.out.len() > OUT_BYTES_MAX {
            return false;
        }
        self.counts.sent += packets;
        end.stream.out.extend_from_slice(bytes);
        self.flush(key);
        true
    }

    /// Takes nothing more of what comes, and lets the kernel hold little of it.
    pub(crate) fn deafen(&mut self, key: usize) -> Result<(), Failure> {
        let Some(end) = self.ends.get_mut(key).and_then(Option::as_mut) else { return Ok(()) };
        end.stream.deafen(&self.poll, key).map_err(|error| broken(DOING, &error))
    }

    /// Sends nothing more, and goes on reading.
    pub(crate) fn half_close(&mut self, key: usize) {
        if let Some(end) = self.ends.get(key).and_then(Option::as_ref) {
            let _ = end.stream.socket.shutdown(std::net::Shutdown::Write);
        }
    }

    /// Hangs up.
    pub(crate) fn close(&mut self, key: usize) {
        if self.remove(key).is_some() {
            self.counts.hung_up += 1;
        }
    }

    /// Hangs up with a reset, whatever is under way.
    pub(crate) fn reset(&mut self, key: usize) {
        if let Some(end) = self.remove(key) {
            end.stream.reset();
            self.counts.hung_up += 1;
        }
    }

    /// Waits until something comes, so long at most, and takes it.
    pub(crate) fn turn(&mut self, wait_ns: u64) -> Result<(), Failure> {
        let now = self.now_ns();
        self.door.run.look(now)?;
        while let Some(&(due, key)) = self.ended.front().filter(|(due, _)| *due <= now) {
            self.ended.pop_front();
            // Where the attacker has hung up before, the key may be another's.
            if self.ends[key].as_ref().is_some_and(|end| end.leaves_ns == Some(due)) {
                self.remove(key);
            }
        }
        let count = self.poll.wait(Some(wait_ns)).map_err(|error| broken(DOING, &error))?;
        for index in 0..count {
            let happened = self.poll.happened(index);
            if happened.has_room {
                self.flush(happened.key);
            }
            if happened.has_bytes {
                self.read(happened.key);
            }
        }
        Ok(())
    }

    /// Turns until nothing has come for a while.
    pub(crate) fn settle(&mut self) -> Result<(), Failure> {
        let until_ns = self.now_ns().saturating_add(self.door.run.patience_ns);
        let mut last_ns = self.now_ns();
        while self.now_ns() < until_ns && self.now_ns() < last_ns + QUIET_NS {
            let before = (self.counts.answered, self.counts.closed);
            self.turn(QUIET_NS)?;
            if before != (self.counts.answered, self.counts.closed) {
                last_ns = self.now_ns();
            }
        }
        Ok(())
    }

    /// Hangs up everywhere.
    pub(crate) fn leave(&mut self) {
        (0..self.ends.len()).for_each(|key| self.close(key));
        self.ended.clear();
    }

    /// Has users fetch what waits for them, so that the server need not keep it for them. It is no part of the attack,
    /// and not counted.
    pub(crate) fn fetch_mail(&mut self) -> Result<(), Failure> {
        let counts = self.counts.clone();
        self.doing("fetching the mail of the attack's users");
        for users in self.users.clone().chunks(FETCH_AT_ONCE) {
            for &user in users {
                let Some(key) = self.open()? else { continue };
                self.ask_as(key, user, Request::LogIn { password: PASSWORD, mode: 0 });
            }
            self.settle()?;
            self.leave();
        }
        self.counts = counts;
        Ok(())
    }

    fn flush(&mut self, key: usize) {
        let Some(end) = self.ends[key].as_mut() else { return };
        // A connection that has ended says so where it is read.
        if end.stream.flush(&self.poll, key).is_err() {
            end.stream.out.clear();
        }
    }

    fn read(&mut self, key: usize) {
        let Some(end) = self.ends[key].as_mut().filter(|end| end.leaves_ns.is_none()) else {
            return;
        };
        match end.stream.read(&mut self.room) {
            Ok(Read::Bytes(count)) => {
                let taken = self.counts.take(&self.room[..count]);
                end.stream.keep(&self.room[taken..count]);
            }
            Ok(Read::Nothing) => {}
            Ok(Read::End) => {
                self.counts.closed += 1;
                let leaves_ns = self.door.run.ns() + self.stays_ns;
                end.leaves_ns = Some(leaves_ns);
                // It would be reported again and again.
                let _ = end.stream.set_listens(false, &self.poll, key);
                self.ended.push_back((leaves_ns, key));
            }
            Err(error) => {
                match error.kind() {
                    ErrorKind::ConnectionRefused | ErrorKind::TimedOut => self.counts.refused += 1,
                    _ => self.counts.reset += 1,
                }
                self.remove(key);
            }
        }
    }

    fn remove(&mut self, key: usize) -> Option<End> {
        let end = self.ends.get_mut(key)?.take()?;
        self.free.push(key);
        Some(end)
    }

    fn is_local(&self) -> bool {
        matches!(self.door.address.ip(), IpAddr::V4(ip) if ip.is_loopback())
    }

    /// One of the addresses of this machine, where the server is on it.
    fn source(&self, network: usize, index: usize) -> Option<Ipv4Addr> {
        let byte = |value: usize| u8::try_from(value % 250).unwrap_or(0);
        self.is_local().then(|| Ipv4Addr::new(127, 0, byte(network), byte(index) + 1))
    }
}

impl Counts {
    /// Counts the whole packets among bytes that came; how many bytes they are.
    fn take(&mut self, bytes: &[u8]) -> usize {
        let mut at = 0;
        while let Ok(Some(frame)) = cut_for_client(&bytes[at..], Kind::User, CONTENT_BYTES_MAX) {
            at += frame.length();
            match notice(frame.header.packet_type, frame.content) {
                Some(code) => *self.notices.entry(code.as_str()).or_default() += 1,
                None => self.answered += 1,
            }
        }
        at
    }

    /// How many notices said this.
    #[cfg(test)]
    fn said(&self, code: Code) -> u64 {
        self.notices.get(code.as_str()).copied().unwrap_or(0)
    }
}

fn notice(packet_type: u8, content: &[u8]) -> Option<Code> {
    match ServerPacket::decode(packet_type, content) {
        Ok(ServerPacket::Message { sign: Sign::System(SystemKind::Notice), text, .. }) => {
            Notice::parse(text).map(|notice| notice.code)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_and_notices_are_counted_apart_and_halves_are_kept() {
        let (mut counts, mut bytes) = (Counts::default(), Vec::new());
        let tested = ServerPacket::Tested { number: ServiceNumber::FIRST };
        tested.encode(Kind::User, &mut bytes);
        let mut text = Vec::new();
        Notice::write(0, Code::Slow, "it was", &mut text);
        let (sign, number) = (Sign::System(SystemKind::Notice), ServiceNumber::NONE);
        ServerPacket::Message { sign, number, text: &text }.encode(Kind::User, &mut bytes);
        let whole = bytes.len();
        tested.encode(Kind::User, &mut bytes);
        assert_eq!(counts.take(&bytes[..bytes.len() - 1]), whole);
        assert_eq!((counts.answered, counts.said(Code::Slow)), (1, 1));
        assert_eq!(counts.take(&bytes[whole..]), bytes.len() - whole);
        assert_eq!((counts.answered, counts.said(Code::Idle)), (2, 0));
    }
}
