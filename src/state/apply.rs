//! What each event does to the state. It decides nothing: it does what the event says, and reports an
//! event that does not fit, which only a damaged or foreign log can hold.

use std::fmt;

use super::event::{Event, EventError, EventKind};
use super::keep::KeptError;
use super::mailbox::{Mailbox, MessageKind, Waiting};
use super::users::{Changing, User};
use super::{MonitoringRecord, RunningDigest, State};
use crate::codec::packed::{Moves, Numbers, Receipts};
use crate::id::{GroupNumber, Place, Seq, ServiceNumber, UnixMillis};
use crate::limits::FRIENDS_PER_GROUP;

/// Records that are looked at ahead: what so many messages change fits the second level of a processor's cache.
const LOOK_AHEAD: usize = 1_024;

/// Where and when an event stands in the log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stamp {
    /// Its sequence number.
    pub seq: Seq,
    /// Its time.
    pub time: UnixMillis,
    /// Where its payload can be read.
    pub place: Place,
}

/// A message that an event has put into a mailbox. Its text is the event's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Posted {
    /// Whose mailbox.
    pub to: ServiceNumber,
    /// Whom it comes from.
    pub from: ServiceNumber,
    /// What it is.
    pub kind: MessageKind,
}

/// The event speaks of something that is not there, or that is there already.
struct Nonsense;

/// Why a record of the log could not be taken in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RecordError {
    /// As an event.
    Event(EventError),
    /// As part of a kept state.
    Kept(KeptError),
}

impl fmt::Display for RecordError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Event(error) => error.fmt(f),
            Self::Kept(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for RecordError {}

impl State {
    /// Takes a record of the log in, be it an event or part of a base.
    pub fn take_record(
        &mut self,
        stamp: Stamp,
        in_base: bool,
        kind: u8,
        payload: &[u8],
    ) -> Result<(), RecordError> {
        if in_base {
            self.restore(stamp, kind, payload).map_err(RecordError::Kept)
        } else {
            self.apply_record(stamp, kind, payload).map_err(RecordError::Event)
        }
    }

    /// Applies an event of the log.
    pub fn apply_record(
        &mut self,
        stamp: Stamp,
        kind: u8,
        payload: &[u8],
    ) -> Result<(), EventError> {
        Event::decoded(kind, payload, |event| self.apply(stamp, event, &mut |_| ()))
    }

    /// Looks at what the next records, which are events, will change, so that it is in the processor's cache when they
    /// are applied: most of a replay's time would be waiting for one user's memory after the other.
    pub fn look_ahead<'a>(&self, records: impl Iterator<Item = (u8, &'a [u8])>) {
        let (mut mailboxes, mut count) = ([None; LOOK_AHEAD], 0);
        let mut note = |number| {
            if let Some(place) = mailboxes.get_mut(count) {
                *place = self.user(number).map(User::mailbox);
                count += 1;
            }
        };
        for (kind, payload) in records.take(LOOK_AHEAD) {
            match EventKind::from_byte(kind) {
                Some(EventKind::MessageSent) => {
                    Event::receiver(payload).into_iter().for_each(&mut note)
                }
                Some(EventKind::Delivered) => {
                    if let Ok(Event::Delivered { receipts }) = Event::decode(kind, payload) {
                        receipts.iter().for_each(|(user, _)| note(user));
                    }
                }
                _ => {}
            }
        }
        // Nothing depends on what is seen, so the processor waits for many of them at once: for the more of them, the
        // less there is to be done for each.
        let looked = mailboxes[..count].iter();
        let empty = looked.filter(|mailbox| mailbox.is_some_and(Mailbox::is_empty)).count();
        // The looks are all that matters: without this they could be left out.
        std::hint::black_box(empty);
    }

    /// Applies an event, and tells of each message that it puts into a mailbox. After an error the state
    /// is as it was.
    pub fn apply(
        &mut self,
        stamp: Stamp,
        event: &Event<'_>,
        posted: &mut impl FnMut(Posted),
    ) -> Result<(), EventError> {
        match *event {
            Event::StateDigest { digest } => self.compare(stamp.seq, digest)?,
            _ => self
                .change(stamp, event, posted)
                .map_err(|Nonsense| EventError::Nonsense(event.kind()))?,
        }
        self.last_seq = stamp.seq;
        self.last_time = stamp.time;
        Ok(())
    }

    /// The state must be that of the server that wrote the digest.
    fn compare(&mut self, seq: Seq, recorded: RunningDigest) -> Result<(), EventError> {
        let actual = self.running_digest();
        if actual != recorded {
            let agreed = self.last_digest;
            return Err(EventError::OtherState { recorded, actual, agreed });
        }
        self.last_digest = seq;
        Ok(())
    }

    fn change(
        &mut self,
        stamp: Stamp,
        event: &Event<'_>,
        posted: &mut impl FnMut(Posted),
    ) -> Result<(), Nonsense> {
        let text_place = stamp.place.offset(event.text_offset());
        let mut post = Post { seq: stamp.seq, time: stamp.time, place: text_place, posted };
        match *event {
            Event::Registered { number, authentication, password_hash, ref profile } => {
                expect(self.next_number() == Some(number))?;
                self.users.push(User::new(profile, password_hash, authentication, stamp.time));
            }
            Event::ProfileChanged { number, authentication, password_hash, ref profile } => {
                self.user_mut(number)?.set_profile(profile, authentication, password_hash);
            }
            Event::GroupAdded { owner, group, name } => {
                let mut user = self.user_mut(owner)?;
                expect(group > GroupNumber::FIRST && user.group(group).is_none())?;
                user.add_group(group, name);
            }
            Event::GroupRenamed { owner, group, name } => {
                let mut user = self.user_mut(owner)?;
                expect(user.group(group).is_some())?;
                user.rename_group(group, name);
            }
            Event::GroupDeleted { owner, group } => self.delete_group(owner, group)?,
            Event::FriendsMoved { owner, moves } => self.move_friends(owner, moves)?,
            Event::FriendRequested { asker, friend, reason } => {
                expect(self.user(asker).is_some() && asker != friend)?;
                let mut user = self.user_mut(friend)?;
                user.add_request(asker);
                post.to(&mut user, friend, asker, MessageKind::Asks, reason);
            }
            Event::RequestRejected { asker, friend } => {
                expect(self.user(asker).is_some())?;
                expect(self.user_mut(friend)?.remove_request(asker))?;
                post.to(&mut self.user_mut(asker)?, asker, friend, MessageKind::Refused, b"");
            }
            Event::FriendRefused { asker, friend } => {
                expect(self.user(friend).is_some() && asker != friend)?;
                post.to(&mut self.user_mut(asker)?, asker, friend, MessageKind::Refused, b"");
            }
            Event::FriendAdded { owner, friend, group, agreed } => {
                self.add_friend(owner, friend, group, agreed, &mut post)?;
            }
            Event::FriendDeleted { owner, friend } => {
                let mut user = self.user_mut(owner)?;
                expect(user.friend(friend).is_some())?;
                user.delete_friend(friend);
                self.user_mut(friend)?.listed_by_mut().remove(&owner);
            }
            Event::MessageSent { from, to, content } => {
                expect(self.user(from).is_some())?;
                post.to(&mut self.user_mut(to)?, to, from, MessageKind::User, content);
            }
            Event::MessageBroadcast { from, group, content, left_out } => {
                self.broadcast(from, group, content, left_out, &mut post)?;
            }
            Event::Delivered { receipts } => self.deliver(receipts)?,
            Event::MonitoringStarted { operator, watched } => {
                self.start_monitoring(stamp.time, operator, watched)?;
            }
            Event::MonitoringEnded { operator } => {
                expect(self.monitoring.end_all(stamp.time, operator))?;
            }
            Event::PasswordRehashed { number, password_hash } => {
                self.user_mut(number)?.set_password_hash(password_hash);
            }
            Event::Lost | Event::StateDigest { .. } => {}
        }
        Ok(())
    }

    fn user_mut(&mut self, number: ServiceNumber) -> Result<Changing<'_>, Nonsense> {
        self.users.change(number).ok_or(Nonsense)
    }

    fn delete_group(&mut self, owner: ServiceNumber, group: GroupNumber) -> Result<(), Nonsense> {
        let mut user = self.user_mut(owner)?;
        expect(group > GroupNumber::FIRST)?;
        let friends = user.group(group).ok_or(Nonsense)?.friends;
        expect(user.has_room(GroupNumber::FIRST, usize::from(friends)))?;
        user.delete_group(group);
        Ok(())
    }

    fn move_friends(&mut self, owner: ServiceNumber, moves: Moves<'_>) -> Result<(), Nonsense> {
        let mut user = self.user_mut(owner)?;
        for (friend, group) in moves.iter() {
            expect(user.friend(friend).is_some() && user.group(group).is_some())?;
        }
        let mut before = Vec::with_capacity(moves.len());
        for (friend, group) in moves.iter() {
            before.extend(user.friend(friend));
            user.move_friend(friend, group);
        }
        let fits =
            user.groups().iter().all(|group| usize::from(group.friends) <= FRIENDS_PER_GROUP);
        if !fits {
            for friend in before.into_iter().rev() {
                user.move_friend(friend.number, friend.group);
            }
        }
        expect(fits)
    }

    fn add_friend(
        &mut self,
        owner: ServiceNumber,
        friend: ServiceNumber,
        group: GroupNumber,
        agreed: bool,
        post: &mut Post<'_, impl FnMut(Posted)>,
    ) -> Result<(), Nonsense> {
        expect(owner != friend && self.user(friend).is_some())?;
        let mut user = self.user_mut(owner)?;
        expect(user.has_room(group, 1) && user.friend(friend).is_none())?;
        user.add_friend(friend, group);
        post.to(&mut user, owner, friend, MessageKind::Agreed, b"");
        let mut added = self.user_mut(friend)?;
        added.remove_request(owner);
        added.listed_by_mut().insert(owner);
        if !agreed {
            post.to(&mut added, friend, owner, MessageKind::Added, b"");
        }
        Ok(())
    }

    fn broadcast(
        &mut self,
        from: ServiceNumber,
        group: GroupNumber,
        content: &[u8],
        left_out: Numbers<'_>,
        post: &mut Post<'_, impl FnMut(Posted)>,
    ) -> Result<(), Nonsense> {
        let mut sender = self.user_mut(from)?;
        expect(group == GroupNumber::ALL || sender.group(group).is_some())?;
        let mut left = left_out.iter().peekable();
        if left.peek().is_some() {
            for friend in sender.friends_in(group) {
                left.next_if_eq(&friend);
            }
            expect(left.next().is_none())?;
        }
        // Lent out while the friends' mailboxes are changed; nobody is among its own friends.
        let friends = sender.take_friends();
        let mut left_out = left_out.iter().peekable();
        let checksum = crc32fast::hash(content);
        for friend in &friends {
            if group != GroupNumber::ALL && friend.group != group {
                continue;
            }
            if left_out.next_if_eq(&friend.number).is_some() {
                continue;
            }
            if let Some(mut user) = self.users.change(friend.number) {
                post.checked(&mut user, friend.number, from, MessageKind::User, content, checksum);
            }
        }
        if let Some(mut sender) = self.users.change(from) {
            sender.give_friends(friends);
        }
        Ok(())
    }

    fn deliver(&mut self, receipts: Receipts<'_>) -> Result<(), Nonsense> {
        expect(receipts.iter().all(|(user, _)| self.user(user).is_some()))?;
        for (user, through) in receipts.iter() {
            self.user_mut(user)?.deliver(through);
        }
        Ok(())
    }

    fn start_monitoring(
        &mut self,
        time: UnixMillis,
        operator: ServiceNumber,
        watched: ServiceNumber,
    ) -> Result<(), Nonsense> {
        expect(self.user(operator).is_some() && self.user(watched).is_some())?;
        expect(self.monitoring.take(MonitoringRecord { time, operator, watched, started: true }))
    }
}

fn expect(fits: bool) -> Result<(), Nonsense> {
    if fits { Ok(()) } else { Err(Nonsense) }
}

/// Puts one event's text into mailboxes.
struct Post<'a, F> {
    seq: Seq,
    time: UnixMillis,
    place: Place,
    posted: &'a mut F,
}

impl<F: FnMut(Posted)> Post<'_, F> {
    fn to(
        &mut self,
        user: &mut Changing<'_>,
        to: ServiceNumber,
        from: ServiceNumber,
        kind: MessageKind,
        text: &[u8],
    ) {
        self.checked(user, to, from, kind, text, crc32fast::hash(text));
    }

    fn checked(
        &mut self,
        user: &mut Changing<'_>,
        to: ServiceNumber,
        from: ServiceNumber,
        kind: MessageKind,
        text: &[u8],
        checksum: u32,
    ) {
        let length = u32::try_from(text.len()).unwrap_or(u32::MAX);
        let (place, time) = (self.place, self.time);
        user.post(self.seq, Waiting { from, kind, length, checksum, place, time });
        (self.posted)(Posted { to, from, kind });
    }
}
