//! The friend list that the reply to a login shows: a long one is made in slices, of which a turn takes one.
//!
//! Owns what of a list is made, and that it is the user's as it is at its end. Whoever waits for one is not in session
//! yet; what follows is in `login`.

use super::kept::{self, KeptError};
use super::peer::{Sessions, Stage};
use super::{Engine, Host};
use crate::codec::profile::Profile;
use crate::codec::{Reader, Write};
use crate::id::{ConnectionId, ServiceNumber};
use crate::limits::{FRIENDS_PER_SLICE, GROUP_NUMBER_MAX};
use crate::state::{State, User};
use crate::wire::server::{FriendEntry, Presence};
use crate::wire::{Kind, ServerPacket};

/// A friend list in the making, and the login that it is for.
pub(super) struct Listing {
    pub(super) number: ServiceNumber,
    pub(super) mode: Presence,
    /// Friends that it has, from the first one on.
    done: usize,
    /// The entries of each of the user's groups, as the reply has them.
    groups: Vec<Vec<u8>>,
    /// It has begun anew, and is made in one slice: whoever changes a list again and again delays nobody's login.
    at_once: bool,
}

/// How far a list has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Progress {
    /// There are more friends.
    More,
    /// Another session has changed the list meanwhile: it begins anew.
    Anew,
    /// It shows every friend as it is now.
    Whole,
}

impl Listing {
    pub(super) const fn new(number: ServiceNumber, mode: Presence) -> Self {
        Self { number, mode, done: 0, groups: Vec::new(), at_once: false }
    }

    /// Adds a slice of the friends.
    pub(super) fn advance(&mut self, state: &State, sessions: &Sessions) -> Progress {
        let Some(user) = state.user(self.number) else { return Progress::Whole };
        let is_first = self.done == 0;
        if is_first {
            self.groups.resize(user.groups().len(), Vec::new());
        }
        let Some(next) = user.friends().get(self.done..).filter(|_| self.fits(user)) else {
            return self.begin_anew();
        };
        let most = if self.at_once { usize::MAX } else { FRIENDS_PER_SLICE };
        let (places, next) = (places(user), &next[..next.len().min(most)]);
        for friend in next {
            let other = state.user(friend.number);
            let (nickname, portrait) = other.map(User::nickname_and_portrait).unwrap_or_default();
            let entry = FriendEntry {
                number: friend.number,
                portrait: u8::try_from(portrait).unwrap_or(u8::MAX),
                state: sessions.presence(friend.number),
                nickname,
            };
            entry.write(&mut self.groups[places[usize::from(friend.group.0)]]);
        }
        self.done += next.len();
        match next.is_empty() {
            _ if is_first && self.done == user.friends().len() => Progress::Whole,
            false => Progress::More,
            true if self.bring_up_to_date(user, sessions) => Progress::Whole,
            true => self.begin_anew(),
        }
    }

    fn fits(&self, user: &User) -> bool {
        self.groups.len() == user.groups().len()
    }

    fn begin_anew(&mut self) -> Progress {
        *self = Self { at_once: true, ..Self::new(self.number, self.mode) };
        Progress::Anew
    }

    /// Gives each friend the state that it has by now. Whether those in the list are the friends, in their groups.
    fn bring_up_to_date(&mut self, user: &User, sessions: &Sessions) -> bool {
        let places = places(user);
        let mut rest: Vec<_> = self.groups.iter_mut().map(Vec::as_mut_slice).collect();
        for friend in user.friends() {
            let entries = &mut rest[places[usize::from(friend.group.0)]];
            let state = sessions.presence(friend.number);
            let Some(length) = FriendEntry::set_state(entries, friend.number, state) else {
                return false;
            };
            *entries = &mut std::mem::take(entries)[length..];
        }
        rest.iter().all(|entries| entries.is_empty())
    }

    /// Appends the reply to a login that has succeeded, with a list that is whole.
    pub(super) fn encode(&self, state: &State, receiver: Kind, out: &mut Vec<u8>) {
        let groups = state.user(self.number).map_or(&[][..], User::groups);
        let groups = groups.iter().zip(&self.groups).map(|(group, entries)| {
            let friends = u8::try_from(group.friends).unwrap_or(u8::MAX);
            (&*group.name, group.number, friends, &**entries)
        });
        ServerPacket::encode_login(receiver, groups, out);
    }

    pub(super) fn save(&self, out: &mut Vec<u8>) {
        out.put_u32(self.number.0);
        out.put_u8(self.mode as u8);
        out.put_u8(u8::from(self.at_once));
        kept::put_count(out, self.done);
        kept::put_count(out, self.groups.len());
        for entries in &self.groups {
            kept::put_count(out, entries.len());
            out.extend_from_slice(entries);
        }
    }

    pub(super) fn restore(reader: &mut Reader<'_>) -> Result<Self, KeptError> {
        let number = kept::number(reader)?;
        let mode = Presence::from_byte(reader.u8()?).ok_or(KeptError::Layout)?;
        let at_once = kept::flag(reader)?;
        let done = usize::try_from(reader.u32()?).map_err(|_| KeptError::Layout)?;
        let mut left = done;
        let groups = kept::list(reader, |reader| {
            let length = usize::try_from(reader.u32()?).map_err(|_| KeptError::Layout)?;
            let entries = reader.take(length)?;
            let mut inner = Reader::new(entries);
            while inner.remaining() > 0 {
                FriendEntry::read(&mut inner).map_err(|_| KeptError::Layout)?;
                left = left.checked_sub(1).ok_or(KeptError::Nonsense)?;
            }
            Ok(entries.to_vec())
        })?;
        kept::expect(left == 0 && groups.len() <= usize::from(GROUP_NUMBER_MAX))?;
        Ok(Self { number, mode, done, groups, at_once })
    }

    /// Puts other nicknames in the place of those that it has.
    pub(super) fn exchange_nicknames(&mut self, other: &mut impl FnMut(&Profile<'_>) -> Vec<u8>) {
        for entries in &mut self.groups {
            let mut exchanged = Vec::with_capacity(entries.len());
            let mut reader = Reader::new(entries);
            while let Ok(friend) = FriendEntry::read(&mut reader) {
                let profile = other(&Profile { nickname: friend.nickname, ..Profile::default() });
                let (nickname, _) = Profile::nickname_and_portrait(&profile);
                FriendEntry { nickname, ..friend }.write(&mut exchanged);
            }
            *entries = exchanged;
        }
    }
}

/// At which place of a user's groups each number is found.
fn places(user: &User) -> [usize; 256] {
    let mut places = [0; 256];
    for (place, group) in user.groups().iter().enumerate() {
        places[usize::from(group.number.0)] = place;
    }
    places
}

impl Engine {
    /// Makes the friend list for a login, at once where it is short. The session begins when it is whole.
    pub(super) fn list_friends(
        &mut self,
        connection: ConnectionId,
        mut listing: Listing,
        host: &mut impl Host,
    ) {
        let friends = self.state.user(listing.number).map_or(0, |user| user.friends().len());
        if friends <= FRIENDS_PER_SLICE {
            listing.advance(&self.state, &self.sessions);
            self.enter(connection, &listing, host);
        } else {
            self.set_stage(connection, |peer| peer.stage = Stage::Listing(Box::new(listing)));
            self.listings.push_back(connection);
        }
    }

    /// Makes the next slice of the list whose turn it is: the first, until it is whole, so that only one takes memory.
    pub(super) fn advance_listing(&mut self, host: &mut impl Host) {
        let Some(connection) = self.listings.pop_front() else { return };
        let Self { peers, state, sessions, .. } = self;
        let peer = peers.get_mut(connection.0).and_then(Option::as_mut);
        // The connection may have ended, and another may have its id.
        let Some(Stage::Listing(listing)) = peer.map(|peer| &mut peer.stage) else { return };
        match listing.advance(state, sessions) {
            Progress::More => self.listings.push_front(connection),
            Progress::Anew => self.listings.push_back(connection),
            Progress::Whole => {
                let whole = Listing::new(listing.number, listing.mode);
                let listing = std::mem::replace(&mut **listing, whole);
                self.last_change = crate::id::Seq::ZERO;
                self.enter(connection, &listing, host);
                self.emit_presence(host);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{GroupNumber, Place, Seq, UnixMillis};
    use crate::state::{Authentication, Event, Stamp};

    const ANN: ServiceNumber = ServiceNumber::FIRST;

    /// Ann and as many others, who are all in two groups of hers by turns.
    fn state(friends: u32) -> State {
        let mut state = State::default();
        for index in 0..=friends {
            let number = ServiceNumber(ANN.0 + index);
            let nickname = format!("user {index}");
            let profile =
                Profile { nickname: nickname.as_bytes(), portrait: 7, ..Profile::default() };
            let (authentication, password_hash) = (Authentication::Open, "$");
            apply(
                &mut state,
                &Event::Registered { number, authentication, password_hash, profile },
            );
        }
        let group = GroupNumber(2);
        apply(&mut state, &Event::GroupAdded { owner: ANN, group, name: b"two" });
        for index in 1..=friends {
            add(&mut state, index, GroupNumber(u8::try_from(index % 2 + 1).unwrap()));
        }
        state
    }

    fn add(state: &mut State, index: u32, group: GroupNumber) {
        let friend = ServiceNumber(ANN.0 + index);
        apply(state, &Event::FriendAdded { owner: ANN, friend, group, agreed: true });
    }

    fn apply(state: &mut State, event: &Event<'_>) {
        let stamp = Stamp { seq: state.last_seq().next(), time: UnixMillis(1), place: Place(0) };
        state.apply(stamp, event, &mut |_| ()).unwrap();
        assert!(state.last_seq() > Seq::ZERO);
    }

    fn reply(listing: &Listing, state: &State) -> Vec<u8> {
        let mut out = Vec::new();
        listing.encode(state, Kind::User, &mut out);
        out
    }

    /// A list of ten friends of whom six have been made, though a slice would take all of them.
    fn half(state: &State, sessions: &Sessions) -> Listing {
        let mut listing = Listing::new(ANN, Presence::Online);
        assert_eq!(listing.advance(state, sessions), Progress::Whole);
        listing.done = 6;
        for entries in &mut listing.groups {
            let mut reader = Reader::new(entries);
            for _ in 0..3 {
                FriendEntry::read(&mut reader).unwrap();
            }
            let length = entries.len() - reader.remaining();
            entries.truncate(length);
        }
        listing
    }

    #[test]
    fn a_list_that_was_made_in_slices_is_the_same_as_one_made_at_once() {
        let (state, mut sessions) = (state(10), Sessions::default());
        let mut listing = half(&state, &sessions);
        // One of those in the list and one of the others are seen otherwise meanwhile.
        sessions.show(ServiceNumber(ANN.0 + 2), Presence::DoNotDisturb);
        sessions.show(ServiceNumber(ANN.0 + 9), Presence::Online);
        assert_eq!(listing.advance(&state, &sessions), Progress::More);
        assert_eq!(listing.advance(&state, &sessions), Progress::Whole);
        let mut at_once = Listing::new(ANN, Presence::Online);
        assert_eq!(at_once.advance(&state, &sessions), Progress::Whole);
        assert_eq!(reply(&listing, &state), reply(&at_once, &state));
    }

    #[test]
    fn a_list_that_is_changed_meanwhile_begins_anew() {
        let (before, sessions) = (state(10), Sessions::default());
        let deleted = ServiceNumber(ANN.0 + 3);
        let moved = crate::codec::packed::Moves::pack([(deleted, GroupNumber(1))]);
        let moves = crate::codec::packed::Moves::over(&moved).unwrap();
        for change in [
            Event::FriendDeleted { owner: ANN, friend: deleted },
            Event::FriendsMoved { owner: ANN, moves },
            Event::GroupAdded { owner: ANN, group: GroupNumber(3), name: b"three" },
            Event::GroupDeleted { owner: ANN, group: GroupNumber(2) },
        ] {
            let (mut state, mut listing) = (before.clone(), half(&before, &sessions));
            apply(&mut state, &change);
            while listing.advance(&state, &sessions) == Progress::More {}
            assert!(listing.done == 0 && listing.at_once, "{:?}", change.kind());
            assert_eq!(listing.advance(&state, &sessions), Progress::Whole, "{:?}", change.kind());
        }
        // What its turn has not come to is as it is then, and so is a name.
        let (mut state, mut listing) = (before.clone(), half(&before, &sessions));
        let group = GroupNumber(2);
        apply(&mut state, &Event::GroupRenamed { owner: ANN, group, name: b"zwei" });
        apply(&mut state, &Event::FriendDeleted { owner: ANN, friend: ServiceNumber(ANN.0 + 9) });
        assert_eq!(listing.advance(&state, &sessions), Progress::More);
        assert_eq!(listing.advance(&state, &sessions), Progress::Whole);
        assert!(reply(&listing, &state).windows(4).any(|bytes| bytes == b"zwei"));
    }

    #[test]
    fn what_is_kept_of_a_list_is_a_list_or_nothing() {
        let (state, sessions) = (state(10), Sessions::default());
        let listing = half(&state, &sessions);
        let mut kept = Vec::new();
        listing.save(&mut kept);
        for length in 0..kept.len() {
            assert!(Listing::restore(&mut Reader::new(&kept[..length])).is_err(), "{length}");
        }
        for at in 0..kept.len() {
            let mut other = kept.clone();
            other[at] ^= 1;
            let Ok(mut odd) = Listing::restore(&mut Reader::new(&other)) else { continue };
            // Whatever it is, it ends as the list of whoever it says, or begins anew.
            while odd.advance(&state, &sessions) != Progress::Whole {}
        }
        let mut again = Listing::restore(&mut Reader::new(&kept)).unwrap();
        assert_eq!(again.advance(&state, &sessions), Progress::More);
        assert_eq!(again.advance(&state, &sessions), Progress::Whole);
    }

    #[test]
    fn nicknames_can_be_exchanged() {
        let (state, sessions) = (state(10), Sessions::default());
        let mut listing = half(&state, &sessions);
        listing.exchange_nicknames(&mut |profile| {
            let nickname = vec![b'x'; profile.nickname.len()];
            let mut packed = Vec::new();
            Profile { nickname: &nickname, ..Profile::default() }.write(&mut packed);
            packed
        });
        let mut kept = Vec::new();
        listing.save(&mut kept);
        assert!(!kept.windows(4).any(|bytes| bytes == b"user"));
        let mut again = Listing::restore(&mut Reader::new(&kept)).unwrap();
        assert_eq!(again.advance(&state, &sessions), Progress::More);
        assert_eq!(again.advance(&state, &sessions), Progress::Whole);
    }
}
