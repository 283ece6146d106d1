//! Clients that have asked for extensions, and the packets that only they get.

use oicq::id::{ConnectionId, Seq, ServiceNumber, UnixMillis};
use oicq::state::EventKind;
use oicq::wire::server::{Presence, Sign, SystemKind};
use oicq::wire::{Code, Request, ServerPacket};

use super::people::{User, got};
use super::{Got, World};

/// What a client can ask for, and all of it.
pub const RESULTS: u32 = 1;
pub const IDS: u32 = 2;
pub const PRESENCE: u32 = 4;
pub const ALL: u32 = RESULTS | IDS | PRESENCE;

/// A result without a text.
pub fn done(packet_type: u8, id: u64) -> Got {
    got(&ServerPacket::Result { packet_type, success: true, id: Seq(id), text: b"" })
}

/// A friend's state.
pub fn seen(number: ServiceNumber, state: Presence) -> Got {
    got(&ServerPacket::FriendPresence { number, state })
}

/// A user's message with its id, as the journal has it under that number.
pub fn numbered(world: &World, id: u64, from: User, text: &[u8]) -> Got {
    numbered_as(world, id, Sign::User, from, text)
}

/// A system message with its id.
pub fn numbered_system(world: &World, id: u64, kind: SystemKind, from: User, text: &[u8]) -> Got {
    numbered_as(world, id, Sign::System(kind), from, text)
}

fn numbered_as(world: &World, id: u64, sign: Sign, from: User, text: &[u8]) -> Got {
    let time = world.time_of(id);
    got(&ServerPacket::Numbered { id: Seq(id), time, sign, number: from.number, text })
}

/// What results and messages that carry ids say.
impl Got {
    /// A result's type, success, id and text.
    pub fn result(&self) -> Option<(u8, bool, u64, String)> {
        match self.packet() {
            ServerPacket::Result { packet_type, success, id: Seq(id), text } => {
                let text = std::str::from_utf8(text).expect("results are ASCII").to_owned();
                Some((packet_type, success, id, text))
            }
            _ => None,
        }
    }

    /// The code of a result that says why something was not done.
    pub fn failed(&self) -> Option<(u8, Code)> {
        let (packet_type, success, id, text) = self.result()?;
        let (code, sentence) = text.split_once(": ")?;
        let code = *Code::ALL.iter().find(|known| known.as_str() == code)?;
        assert!(text.is_ascii() && !sentence.is_empty() && !text.contains('\n'), "{text:?}");
        (!success && id == 0).then_some((packet_type, code))
    }

    /// A message's id.
    pub fn id(&self) -> Option<u64> {
        match self.packet() {
            ServerPacket::Numbered { id: Seq(id), .. } => Some(id),
            _ => None,
        }
    }
}

impl World {
    /// The time of the event with that number.
    pub fn time_of(&self, id: u64) -> UnixMillis {
        self.journal.entries[usize::try_from(id).unwrap() - 1].time
    }

    /// The number of the last event that is no delivery.
    pub fn last_change(&self) -> u64 {
        let delivered = EventKind::Delivered as u8;
        let last = self.journal.entries.iter().rposition(|entry| entry.kind != delivered);
        last.map_or(0, |index| index as u64 + 1)
    }

    /// A connection that has these extensions, and no session yet.
    #[track_caller]
    pub fn asker(&mut self, wanted: u32) -> ConnectionId {
        let at = self.connect();
        let answer = self.ask(at, ServiceNumber::NONE, Request::WantExtensions { wanted });
        assert_eq!(answer, [got(&ServerPacket::Extensions { granted: wanted })]);
        at
    }

    /// A registered user's new session with extensions, and what came after the login's reply.
    #[track_caller]
    pub fn extended_and_mail(&mut self, number: ServiceNumber, wanted: u32) -> (User, Vec<Got>) {
        let at = self.asker(wanted);
        let mail = self.log_in(at, number, 0);
        (User { number, at }, mail)
    }

    /// A registered user's new session with extensions, with whatever waited already looked at.
    #[track_caller]
    pub fn extended(&mut self, number: ServiceNumber, wanted: u32) -> User {
        self.extended_and_mail(number, wanted).0
    }

    /// The same for a user in session, whose session before is over.
    #[track_caller]
    pub fn again(&mut self, user: User, wanted: u32) -> User {
        self.leaves(user);
        self.extended(user.number, wanted)
    }

    /// Says that everything up to this id has arrived.
    pub fn confirms(&mut self, user: User, id: u64) -> Vec<Got> {
        self.asks(user, Request::Arrived { through: Seq(id) })
    }

    /// How many messages wait for a user.
    pub fn waiting(&self, user: User) -> usize {
        self.engine.state().user(user.number).unwrap().mailbox().len()
    }
}
