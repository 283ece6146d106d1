//! Users who log out and in again, each on a connection of its own, as soon as it is in.
//!
//! Connections stay: what is measured is the password and the answer, not the kernel's connecting.

use oicq::id::ServiceNumber;
use oicq::wire::server::Extensions;
use oicq::wire::{Kind, Request, RequestType, ServerPacket, cut_for_client};

use super::Load;
use crate::bench::round::{Length, Round, Tally};
use crate::bench::run::Run;
use crate::bench::stream::{Poll, ROOM_BYTES, Read, Stream};
use crate::bench::users::{
    CONTENT_BYTES_MAX, Door, Member, PASSWORD, broken, closed, put, silent, unexpected,
};
use crate::bench::watch::Watch;
use crate::failure::Failure;

const DOING: &str = "a login";
/// The mode that ends a session.
const OFFLINE: u8 = 4;
const EVENTS: usize = 1_024;
const WAIT_NS_MAX: u64 = 250_000_000;

/// Users, all of them in session between rounds.
pub(crate) struct Logins {
    ends: Vec<End>,
    poll: Poll,
    room: Vec<u8>,
    has_results: bool,
    /// Users who are on their way in.
    under_way: usize,
    /// Logins that may still be begun, where a round has so many.
    left: Option<u64>,
}

struct End {
    own: ServiceNumber,
    stream: Stream,
    /// When the login that is under way was begun.
    start_ns: u64,
    /// What must still come for it: the reply, and the results of logout and login.
    missing: u32,
}

impl Logins {
    /// Lets users in for the first time.
    pub(crate) fn prepare(door: &Door<'_>, numbers: &[ServiceNumber]) -> Result<Self, Failure> {
        let members = door.log_in(numbers)?;
        let poll = Poll::new(EVENTS).map_err(|error| broken("the start", &error))?;
        let mut ends = Vec::with_capacity(members.len());
        for Member { number: own, stream, .. } in members {
            let added = poll.add(&stream.socket, ends.len());
            added.map_err(|error| broken("the start", &error))?;
            ends.push(End { own, stream, start_ns: 0, missing: 0 });
        }
        let has_results = door.extensions.have(Extensions::RESULTS);
        let room = vec![0; ROOM_BYTES];
        Ok(Self { ends, poll, room, has_results, under_way: 0, left: None })
    }

    /// Begins a login of a user who is in.
    fn begin(&mut self, key: usize, now_ns: u64) -> Result<(), Failure> {
        if let Some(left) = &mut self.left {
            let Some(fewer) = left.checked_sub(1) else { return Ok(()) };
            *left = fewer;
        }
        let End { own, stream, start_ns, missing } = &mut self.ends[key];
        put(&mut stream.out, *own, Request::SetMode { mode: OFFLINE });
        put(&mut stream.out, *own, Request::LogIn { password: PASSWORD, mode: 0 });
        (*start_ns, *missing) = (now_ns, if self.has_results { 3 } else { 1 });
        self.under_way += 1;
        stream.flush(&self.poll, key).map_err(|error| broken(DOING, &error))
    }

    /// Takes what has come on a connection; whether its user is in now.
    fn read(&mut self, key: usize) -> Result<bool, Failure> {
        let end = &mut self.ends[key];
        let read = match end.stream.read(&mut self.room) {
            Ok(Read::Bytes(read)) => read,
            Ok(Read::Nothing) => return Ok(false),
            Ok(Read::End) => return Err(closed(DOING)),
            Err(error) => return Err(broken(DOING, &error)),
        };
        let (bytes, mut at) = (&self.room[..read], 0);
        loop {
            let frame = match cut_for_client(&bytes[at..], Kind::User, CONTENT_BYTES_MAX) {
                Ok(Some(frame)) => frame,
                Ok(None) => break,
                Err(_) => return Err(unexpected(DOING, 0, &bytes[at..])),
            };
            at += frame.length();
            let packet_type = frame.header.packet_type;
            let is_expected = match ServerPacket::decode(packet_type, frame.content) {
                Ok(ServerPacket::LoggedIn { success: true, .. }) => true,
                // Why comes behind it.
                Ok(ServerPacket::LoggedIn { success: false, .. }) => continue,
                Ok(ServerPacket::Result { packet_type, success: true, .. }) => {
                    let of = RequestType::from_byte(packet_type);
                    matches!(of, Some(RequestType::SetMode | RequestType::LogIn))
                }
                _ => false,
            };
            if !is_expected || end.missing == 0 {
                return Err(unexpected(DOING, packet_type, frame.content));
            }
            end.missing -= 1;
        }
        end.stream.keep(&bytes[at..]);
        Ok(at > 0 && end.missing == 0)
    }
}

impl Load for Logins {
    fn round(&mut self, watch: Watch, length: Length, run: &Run) -> Result<Round, Failure> {
        let mut now = run.ns();
        let mut tally = Tally::begin(watch, length, now);
        self.left = match length {
            Length::Messages(count) => Some(count),
            Length::Time { .. } => None,
        };
        tally.look(now);
        for key in 0..self.ends.len() {
            self.begin(key, now)?;
        }
        let mut last_ns = now;
        while self.under_way > 0 {
            let wait_ns = tally.next_look_ns().saturating_sub(now).min(WAIT_NS_MAX);
            let count = self.poll.wait(Some(wait_ns)).map_err(|error| broken(DOING, &error))?;
            now = run.ns();
            run.look(now)?;
            let is_open = tally.look(now);
            if count > 0 {
                last_ns = now;
            } else if now > last_ns.saturating_add(run.patience_ns) {
                return Err(silent(DOING, run.patience_ns));
            }
            for index in 0..count {
                let happened = self.poll.happened(index);
                let key = happened.key;
                if happened.has_room {
                    let flushed = self.ends[key].stream.flush(&self.poll, key);
                    flushed.map_err(|error| broken(DOING, &error))?;
                }
                if !happened.has_bytes || !self.read(key)? {
                    continue;
                }
                self.under_way -= 1;
                tally.arrived(now, 1);
                tally.took(self.ends[key].start_ns, now, 1);
                if is_open {
                    self.begin(key, now)?;
                }
            }
        }
        Ok(tally.end(run.ns()))
    }

    fn finish(&mut self, _: &Run) -> Result<(), Failure> {
        Ok(())
    }
}
