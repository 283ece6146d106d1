//! A state as records: what compaction keeps of all events, and what a state is rebuilt from without them.
//!
//! Owns the kinds and layouts of these records, which `EVENTS.md` lists, in both directions; writing the same
//! state gives the same records. It never looks at files: texts come from the caller, and go to it.

use std::fmt;

use super::mailbox::{MessageKind, Waiting};
use super::users::{Changing, Group, User};
use super::{Authentication, Digest, MonitoringRecord, Stamp, State};
use crate::codec::packed::{Moves, Numbers};
use crate::codec::profile::Profile;
use crate::codec::{Reader, Short, Write};
use crate::id::{GroupNumber, Place, Seq, ServiceNumber, UnixMillis};

/// The kinds of a kept state's records, by the byte that stands in the log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum KeptKind {
    /// A user, without friends.
    User = 1,
    /// Friends of the user before.
    Friends = 2,
    /// Who has the user before in its friend list.
    ListedBy = 3,
    /// Who waits for the answer of the user before.
    Requests = 4,
    /// A message, and in whose mailboxes it waits.
    Message = 5,
    /// Starts and ends of monitoring.
    Monitoring = 6,
    /// Nothing follows: how many users there are, and the digest.
    End = 7,
}

impl KeptKind {
    pub(super) const fn from_byte(byte: u8) -> Option<Self> {
        Some(match byte {
            1 => Self::User,
            2 => Self::Friends,
            3 => Self::ListedBy,
            4 => Self::Requests,
            5 => Self::Message,
            6 => Self::Monitoring,
            7 => Self::End,
            _ => return None,
        })
    }
}

impl fmt::Display for KeptKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::User => "user",
            Self::Friends => "friends",
            Self::ListedBy => "listed-by",
            Self::Requests => "requests",
            Self::Message => "message",
            Self::Monitoring => "monitoring",
            Self::End => "end",
        })
    }
}

/// Why a record is no part of a kept state.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum KeptError {
    /// A kind that this version does not know: a newer one wrote it.
    UnknownKind(u8),
    /// The payload does not fit its kind.
    Malformed(KeptKind),
    /// It does not fit what came before it.
    Nonsense(KeptKind),
}

impl fmt::Display for KeptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownKind(kind) => {
                write!(f, "a kept record of kind {kind}, which only a newer version knows")
            }
            Self::Malformed(kind) => {
                write!(f, "a kept {kind} record whose payload does not fit its kind")
            }
            Self::Nonsense(kind) => {
                write!(f, "a kept {kind} record that does not fit those before it")
            }
        }
    }
}

impl std::error::Error for KeptError {}

/// Numbers in one record: bounds the record.
const NUMBERS_PER_RECORD: usize = 1 << 14;
/// Receivers in one record: bounds what a server does between two turns when it moves its places.
const RECEIVERS_PER_RECORD: usize = 1 << 10;
/// Where in a message's payload its text stands.
const TEXT_OFFSET: u32 = 8 + 8 + 4 + 1 + 2;

/// What tells one posted message from another; all who got it share one record.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct MessageKey {
    seq: Seq,
    from: ServiceNumber,
    kind: MessageKind,
    length: u32,
    checksum: u32,
}

/// A message as a record has it.
pub(super) struct Message<'a> {
    seq: Seq,
    time: UnixMillis,
    pub(super) from: ServiceNumber,
    kind: MessageKind,
    text: &'a [u8],
    pub(super) receivers: Numbers<'a>,
}

impl State {
    /// Writes the state down as records, which go to `record`. `text` appends the text of a waiting
    /// message to the bytes that it is given.
    ///
    /// # Errors
    /// The first one of `record` or `text`.
    pub fn keep<E>(
        &self,
        digest: Digest,
        mut text: impl FnMut(&Waiting, &mut Vec<u8>) -> Result<(), E>,
        mut record: impl FnMut(u8, &[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut out = Vec::new();
        for (number, user) in self.users() {
            keep_user(number, user, &mut out, &mut record)?;
        }
        self.keep_messages(&mut out, &mut text, &mut record)?;
        for entries in self.monitoring().chunks(NUMBERS_PER_RECORD) {
            out.clear();
            for entry in entries {
                out.put_u64(entry.time.0);
                out.put_u32(entry.operator.0);
                out.put_u32(entry.watched.0);
                out.put_u8(u8::from(entry.started));
            }
            record(KeptKind::Monitoring as u8, &out)?;
        }
        out.clear();
        out.put_u64(self.user_count() as u64);
        out.extend_from_slice(&digest.bytes());
        record(KeptKind::End as u8, &out)
    }

    fn keep_messages<E>(
        &self,
        out: &mut Vec<u8>,
        text: &mut impl FnMut(&Waiting, &mut Vec<u8>) -> Result<(), E>,
        record: &mut impl FnMut(u8, &[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut messages = Vec::new();
        for (number, user) in self.users() {
            for (seq, waiting) in user.mailbox().iter() {
                let Waiting { from, kind, length, checksum, .. } = *waiting;
                messages.push((MessageKey { seq, from, kind, length, checksum }, number, *waiting));
            }
        }
        messages.sort_unstable_by_key(|(key, number, _)| (*key, *number));
        let mut words = Vec::new();
        for same in messages.chunk_by(|one, other| one.0 == other.0) {
            let (MessageKey { seq, from, kind, .. }, _, waiting) = same[0];
            words.clear();
            text(&waiting, &mut words)?;
            for receivers in same.chunks(RECEIVERS_PER_RECORD) {
                out.clear();
                out.put_u64(seq.0);
                out.put_u64(waiting.time.0);
                out.put_u32(from.0);
                out.put_u8(kind as u8);
                out.put_string(&words);
                receivers.iter().for_each(|(_, number, _)| Numbers::push(*number, out));
                record(KeptKind::Message as u8, out)?;
            }
        }
        Ok(())
    }

    /// Takes a record of a kept state in. They come in the order in which they were written, into an
    /// empty state. `stamp` has the sequence number and the time that the state is as of.
    ///
    /// # Errors
    /// The state is of no more use then.
    pub fn restore(&mut self, stamp: Stamp, kind: u8, payload: &[u8]) -> Result<(), KeptError> {
        let kind = KeptKind::from_byte(kind).ok_or(KeptError::UnknownKind(kind))?;
        let mut reader = Reader::new(payload);
        let fits = match kind {
            KeptKind::User => self.restore_user(&mut reader),
            KeptKind::Friends => self.restore_friends(&mut reader),
            KeptKind::ListedBy => {
                self.restore_numbers(&mut reader, |user, owners| user.restore_listed_by(owners))
            }
            KeptKind::Requests => self.restore_numbers(&mut reader, |user, askers| {
                askers.iter().for_each(|asker| user.add_request(asker));
            }),
            KeptKind::Message => self.restore_message(&mut reader, stamp),
            KeptKind::Monitoring => self.restore_monitoring(&mut reader),
            KeptKind::End => {
                read_end(&mut reader).map(|(users, _)| users == self.user_count() as u64)
            }
        };
        (self.last_seq, self.last_time) = (stamp.seq, stamp.time);
        match fits {
            Ok(true) if reader.remaining() == 0 => Ok(()),
            Ok(true) | Err(Short) => Err(KeptError::Malformed(kind)),
            Ok(false) => Err(KeptError::Nonsense(kind)),
        }
    }

    /// A record of a state that was kept stands at `place`: those of its messages that still wait have
    /// their texts there from now on.
    pub fn relocate(&mut self, kind: u8, payload: &[u8], place: Place) {
        if kind != KeptKind::Message as u8 {
            return;
        }
        let Ok(Some(message)) = read_message(&mut Reader::new(payload)) else { return };
        let Message { seq, from, kind, .. } = message;
        for number in message.receivers.iter() {
            if let Some(mut user) = self.users.change(number) {
                user.relocate(seq, from, kind, place.offset(TEXT_OFFSET));
            }
        }
    }

    fn restore_user(&mut self, reader: &mut Reader<'_>) -> Result<bool, Short> {
        let number = ServiceNumber(reader.u32()?);
        let registered = UnixMillis(reader.u64()?);
        let authentication = Authentication::from_byte(reader.u8()?).ok_or(Short)?;
        let password_hash = std::str::from_utf8(reader.string()?).map_err(|_| Short)?;
        let profile = Profile::read(reader)?;
        let count = usize::from(reader.u8()?);
        let mut groups: Vec<Group> = Vec::with_capacity(count);
        for _ in 0..count {
            let number = GroupNumber(reader.u8()?);
            groups.push(Group { number, friends: 0, name: reader.string()?.into() });
        }
        let mut user = User::new(&profile, password_hash, authentication, registered);
        let ascending = groups.is_sorted_by(|one, next| one.number < next.number);
        let has_first = groups.first().is_none_or(|first| first.number == GroupNumber::FIRST);
        let fits = self.next_number() == Some(number) && ascending && has_first;
        if fits && !groups.is_empty() {
            user.restore_groups(groups);
        }
        self.users.push(user);
        Ok(fits)
    }

    fn restore_friends(&mut self, reader: &mut Reader<'_>) -> Result<bool, Short> {
        let number = ServiceNumber(reader.u32()?);
        let Some(mut user) = self.users.change(number) else { return Ok(false) };
        Ok(user.restore_friends(Moves::over(reader.rest())?))
    }

    fn restore_numbers(
        &mut self,
        reader: &mut Reader<'_>,
        take: fn(&mut Changing<'_>, Numbers<'_>),
    ) -> Result<bool, Short> {
        let number = ServiceNumber(reader.u32()?);
        let Some(mut user) = self.users.change(number) else { return Ok(false) };
        take(&mut user, Numbers::over(reader.rest())?);
        Ok(true)
    }

    fn restore_message(&mut self, reader: &mut Reader<'_>, stamp: Stamp) -> Result<bool, Short> {
        let Some(message) = read_message(reader)? else { return Ok(false) };
        let Message { seq, time, from, kind, text, receivers } = message;
        let has_been = seq <= stamp.seq && (text.is_empty() || kind.has_text());
        if !has_been || self.user(from).is_none() {
            return Ok(false);
        }
        let length = u32::try_from(text.len()).map_err(|_| Short)?;
        let (checksum, place) = (crc32fast::hash(text), stamp.place.offset(TEXT_OFFSET));
        let waiting = Waiting { from, kind, length, checksum, place, time };
        for number in receivers.iter() {
            let Some(mut user) = self.users.change(number) else { return Ok(false) };
            let last = user.mailbox().iter().next_back().map_or(Seq::ZERO, |(last, _)| last);
            if last >= seq || (number == from && kind != MessageKind::User) {
                return Ok(false);
            }
            user.post(seq, waiting);
        }
        Ok(true)
    }

    fn restore_monitoring(&mut self, reader: &mut Reader<'_>) -> Result<bool, Short> {
        while reader.remaining() > 0 {
            let time = UnixMillis(reader.u64()?);
            let operator = ServiceNumber(reader.u32()?);
            let watched = ServiceNumber(reader.u32()?);
            let started = match reader.u8()? {
                0 => false,
                1 => true,
                _ => return Err(Short),
            };
            if self.user(operator).is_none() || self.user(watched).is_none() {
                return Ok(false);
            }
            if !self.monitoring.take(MonitoringRecord { time, operator, watched, started }) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// The digest that a kept state's last record tells.
#[must_use]
pub fn kept_digest(kind: u8, payload: &[u8]) -> Option<Digest> {
    if kind != KeptKind::End as u8 {
        return None;
    }
    read_end(&mut Reader::new(payload)).ok().map(|(_, digest)| digest)
}

pub(super) fn read_end(reader: &mut Reader<'_>) -> Result<(u64, Digest), Short> {
    let users = reader.u64()?;
    let digest = reader.take(Digest::BYTES)?.try_into().map_err(|_| Short)?;
    Ok((users, Digest::from_bytes(digest)))
}

pub(super) fn read_message<'a>(reader: &mut Reader<'a>) -> Result<Option<Message<'a>>, Short> {
    let (seq, time) = (Seq(reader.u64()?), UnixMillis(reader.u64()?));
    let from = ServiceNumber(reader.u32()?);
    let kind = MessageKind::from_byte(reader.u8()?);
    let text = reader.string()?;
    let receivers = Numbers::over(reader.rest())?;
    Ok(kind.map(|kind| Message { seq, time, from, kind, text, receivers }))
}

fn keep_user<E>(
    number: ServiceNumber,
    user: &User,
    out: &mut Vec<u8>,
    record: &mut impl FnMut(u8, &[u8]) -> Result<(), E>,
) -> Result<(), E> {
    out.clear();
    out.put_u32(number.0);
    out.put_u64(user.registered().0);
    out.put_u8(user.authentication() as u8);
    out.put_string(user.password_hash().as_bytes());
    out.extend_from_slice(user.packed_profile());
    let groups = if user.has_first_group_alone() { &[][..] } else { user.groups() };
    out.put_u8(u8::try_from(groups.len()).unwrap_or(u8::MAX));
    for group in groups {
        out.put_u8(group.number.0);
        out.put_string(&group.name);
    }
    record(KeptKind::User as u8, out)?;
    for friends in user.friends().chunks(NUMBERS_PER_RECORD) {
        out.clear();
        out.put_u32(number.0);
        friends.iter().for_each(|friend| Moves::push((friend.number, friend.group), out));
        record(KeptKind::Friends as u8, out)?;
    }
    let listed_by = user.listed_by();
    keep_numbers(KeptKind::ListedBy, number, listed_by, out, record)?;
    keep_numbers(KeptKind::Requests, number, user.requests().iter().copied(), out, record)
}

fn keep_numbers<E>(
    kind: KeptKind,
    number: ServiceNumber,
    numbers: impl Iterator<Item = ServiceNumber>,
    out: &mut Vec<u8>,
    record: &mut impl FnMut(u8, &[u8]) -> Result<(), E>,
) -> Result<(), E> {
    let mut numbers = numbers.peekable();
    while numbers.peek().is_some() {
        out.clear();
        out.put_u32(number.0);
        numbers.by_ref().take(NUMBERS_PER_RECORD).for_each(|number| Numbers::push(number, out));
        record(kind as u8, out)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::agreement::tests::{ANN, BEN, state};

    const STAMP: Stamp = Stamp { seq: Seq(7), time: UnixMillis(7), place: Place(0) };
    const NOBODY: ServiceNumber = ServiceNumber(10_004);

    /// A record of one message that waits for ann, in which one thing is another.
    fn message(seq: u64, from: ServiceNumber, kind: MessageKind, text: &[u8]) -> Vec<u8> {
        let mut record = Vec::new();
        record.put_u64(seq);
        record.put_u64(1);
        record.put_u32(from.0);
        record.put_u8(kind as u8);
        record.put_string(text);
        Numbers::push(ANN, &mut record);
        record
    }

    fn restored(kind: KeptKind, record: &[u8]) -> (Result<(), KeptError>, State) {
        let mut state = state();
        let result = state.restore(STAMP, kind as u8, record);
        (result, state)
    }

    #[test]
    fn a_message_that_nobody_can_have_sent_does_not_fit() {
        let (user, agreed) = (MessageKind::User, MessageKind::Agreed);
        for (record, fits) in [
            (message(7, BEN, user, b"x"), true),
            (message(7, ANN, user, b"x"), true),
            (message(7, BEN, agreed, b""), true),
            // Of an event that is still to come, from nobody, from oneself, with a text that its kind never has.
            (message(8, BEN, user, b"x"), false),
            (message(7, NOBODY, user, b"x"), false),
            (message(7, ANN, agreed, b""), false),
            (message(7, BEN, agreed, b"x"), false),
            // Ann's mailbox has a message of event 4.
            (message(4, BEN, user, b"x"), false),
        ] {
            let (result, state) = restored(KeptKind::Message, &record);
            assert_eq!(result.is_ok(), fits, "{record:?}");
            assert_eq!(state.find_contradiction(), None, "{record:?}");
        }
    }

    #[test]
    fn groups_out_of_order_are_not_taken() {
        for (numbers, fits) in [
            (&[][..], true),
            (&[1, 2, 9], true),
            (&[2], false),
            (&[1, 3, 2], false),
            (&[1, 1], false),
        ] {
            let mut record = Vec::new();
            record.put_u32(NOBODY.0);
            record.put_u64(7);
            record.put_u8(0);
            record.put_string(b"$");
            Profile { nickname: b"dee", ..Profile::default() }.write(&mut record);
            record.put_u8(u8::try_from(numbers.len()).unwrap());
            for number in numbers {
                record.put_u8(*number);
                record.put_string(b"x");
            }
            let (result, state) = restored(KeptKind::User, &record);
            assert_eq!(result.is_ok(), fits, "{numbers:?}");
            assert_eq!(state.find_contradiction(), None, "{numbers:?}");
        }
    }

    #[test]
    fn a_full_group_takes_no_more_friends() {
        let (first, group) = (NOBODY, GroupNumber::FIRST);
        let friends = (0..256).map(|index| (ServiceNumber(first.0 + index), group));
        let record = [&BEN.0.to_be_bytes()[..], &Moves::pack(friends)].concat();
        let (result, mut state) = restored(KeptKind::Friends, &record);
        assert_eq!(result, Err(KeptError::Nonsense(KeptKind::Friends)));
        state.settle_partly();
        assert_eq!(state.find_contradiction(), None);
    }
}
