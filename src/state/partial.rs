//! A kept state of which records are lost: what the others tell, and how a state is made of them.
//!
//! Owns what is taken more leniently than by [`State::restore`], for tools that save what they can; a server
//! takes a kept state as a whole or not at all.

use std::collections::BTreeSet;

use super::State;
use super::apply::Stamp;
use super::keep::{KeptError, KeptKind, read_end, read_message};
use super::users::Friend;
use crate::codec::packed::{Moves, Numbers};
use crate::codec::{Reader, Short};
use crate::id::{GroupNumber, ServiceNumber};

/// What a record of a kept state says about users.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Told {
    /// It is the one of this user.
    User(ServiceNumber),
    /// It belongs to the first of these users, and names the others.
    OfUser(Vec<ServiceNumber>),
    /// It names these users, and comes behind all of them.
    Names(Vec<ServiceNumber>),
    /// There are so many users in all.
    Count(u64),
}

/// What a record of a kept state says about users, `None` if it is none.
#[must_use]
pub fn told(kind: u8, payload: &[u8]) -> Option<Told> {
    let kind = KeptKind::from_byte(kind)?;
    read_told(kind, &mut Reader::new(payload)).ok().flatten()
}

fn read_told(kind: KeptKind, reader: &mut Reader<'_>) -> Result<Option<Told>, Short> {
    let number = |reader: &mut Reader<'_>| reader.u32().map(ServiceNumber);
    Ok(Some(match kind {
        KeptKind::User => Told::User(number(reader)?),
        KeptKind::Friends => {
            let owner = number(reader)?;
            let friends = Moves::over(reader.rest())?.iter().map(|(friend, _)| friend);
            Told::OfUser([owner].into_iter().chain(friends).collect())
        }
        KeptKind::ListedBy | KeptKind::Requests => {
            let owner = number(reader)?;
            let others = Numbers::over(reader.rest())?.iter();
            Told::OfUser([owner].into_iter().chain(others).collect())
        }
        KeptKind::Message => {
            let Some(message) = read_message(reader)? else { return Ok(None) };
            Told::Names([message.from].into_iter().chain(message.receivers.iter()).collect())
        }
        KeptKind::Monitoring => {
            let mut users = Vec::new();
            while reader.remaining() > 0 {
                reader.u64()?;
                users.extend([number(reader)?, number(reader)?]);
                reader.u8()?;
            }
            Told::Names(users)
        }
        KeptKind::End => Told::Count(read_end(reader)?.0),
    }))
}

impl State {
    /// Takes a record of a kept state in of which others are lost. Whom it belongs to must be there.
    ///
    /// # Errors
    /// If it does not fit. As much of it as fits is taken in then, and the next one may follow.
    pub fn restore_partly(
        &mut self,
        stamp: Stamp,
        kind: u8,
        payload: &[u8],
    ) -> Result<(), KeptError> {
        match KeptKind::from_byte(kind) {
            Some(KeptKind::Friends) => {
                let mut reader = Reader::new(payload);
                let fits = self.restore_some_friends(&mut reader);
                match fits {
                    Ok(true) => Ok(()),
                    Ok(false) => Err(KeptError::Nonsense(KeptKind::Friends)),
                    Err(Short) => Err(KeptError::Malformed(KeptKind::Friends)),
                }
            }
            Some(KeptKind::User)
                if Reader::new(payload).u32().ok().map(ServiceNumber) != self.next_number() =>
            {
                Err(KeptError::Nonsense(KeptKind::User))
            }
            // What it counts is not all there; how many users there should be, the caller has seen to.
            Some(KeptKind::End) => Ok(()),
            _ => self.restore(stamp, kind, payload),
        }
    }

    /// Friends whose group is lost go to group 1, as those of a deleted group do.
    fn restore_some_friends(&mut self, reader: &mut Reader<'_>) -> Result<bool, Short> {
        let owner = ServiceNumber(reader.u32()?);
        let friends = Moves::over(reader.rest())?;
        let Some(mut user) = self.users.change(owner) else { return Ok(false) };
        let mut fits = true;
        for (friend, group) in friends.iter() {
            let group = if user.group(group).is_some() { group } else { GroupNumber::FIRST };
            if user.has_room(group, 1) && friend != owner && user.friend(friend).is_none() {
                user.add_friend(friend, group);
            } else {
                fits = false;
            }
        }
        Ok(fits)
    }

    /// Makes what was restored partly a state that events could have made: the friend lists count, and what
    /// names users who are not there is taken out.
    pub fn settle_partly(&mut self) {
        let all: Vec<_> = self.users().map(|(number, _)| number).collect();
        let count = all.len();
        let is_there = |number: ServiceNumber| {
            number
                .0
                .checked_sub(ServiceNumber::FIRST.0)
                .is_some_and(|index| (index as usize) < count)
        };
        let mut listed: Vec<BTreeSet<ServiceNumber>> = vec![BTreeSet::new(); count];
        for &number in &all {
            let Some(mut user) = self.users.change(number) else { continue };
            let gone = |friend: &&Friend| !is_there(friend.number) || friend.number == number;
            let gone: Vec<_> = user.friends().iter().filter(gone).map(|it| it.number).collect();
            gone.into_iter().for_each(|friend| user.delete_friend(friend));
            let gone = |asker: &&ServiceNumber| !is_there(**asker) || **asker == number;
            let gone: Vec<_> = user.requests().iter().filter(gone).copied().collect();
            for asker in gone {
                user.remove_request(asker);
            }
            for friend in user.friends() {
                listed[(friend.number.0 - ServiceNumber::FIRST.0) as usize].insert(number);
            }
        }
        for (number, listed_by) in all.into_iter().zip(listed) {
            if let Some(mut user) = self.users.change(number) {
                *user.listed_by_mut() = listed_by;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;
    use crate::codec::profile::Profile;
    use crate::id::{Place, Seq, UnixMillis};
    use crate::state::{Authentication, Event};

    const USERS: u32 = 6;

    fn number(index: u32) -> ServiceNumber {
        ServiceNumber(ServiceNumber::FIRST.0 + index)
    }

    fn stamp(seq: u64) -> Stamp {
        Stamp { seq: Seq(seq), time: UnixMillis(seq), place: Place(0) }
    }

    fn registered(index: u32) -> Event<'static> {
        let profile = Profile { nickname: b"ann", ..Profile::default() };
        let authentication = Authentication::Open;
        Event::Registered { number: number(index), authentication, password_hash: "$", profile }
    }

    /// Everybody is a friend of everybody else, waits for somebody, and has a message; two monitor.
    fn state() -> State {
        let mut events: Vec<_> = (0..USERS).map(registered).collect();
        let (group, operator) = (GroupNumber(2), number(0));
        for index in 0..USERS {
            let owner = number(index);
            events.push(Event::GroupAdded { owner, group, name: b"school" });
            for friend in (0..USERS).map(number).filter(|friend| *friend != owner) {
                let group = if friend.0 % 2 == 0 { group } else { GroupNumber::FIRST };
                events.push(Event::FriendAdded { owner, friend, group, agreed: true });
            }
            let other = number((index + 1) % USERS);
            events.push(Event::FriendRequested { asker: owner, friend: other, reason: b"" });
            events.push(Event::MonitoringStarted { operator, watched: owner });
        }
        events.push(Event::MonitoringEnded { operator });
        let mut state = State::default();
        for (seq, event) in (1..).zip(&events) {
            state.apply(stamp(seq), event, &mut |_| ()).unwrap();
        }
        state
    }

    fn records(state: &State) -> Vec<(u8, Vec<u8>)> {
        let mut records = Vec::new();
        let kept = state.keep(
            state.digest(),
            |_, _| Ok::<_, Infallible>(()),
            |kind, payload| {
                records.push((kind, payload.to_vec()));
                Ok(())
            },
        );
        assert!(kept.is_ok());
        records
    }

    fn fill(state: &mut State, count: u32) {
        while let Ok(index) = u32::try_from(state.user_count())
            && index < count
        {
            state.apply(stamp(1), &registered(index), &mut |_| ()).unwrap();
        }
    }

    /// Restores as a tool does: users who are missing are put in.
    fn restore(records: &[(u8, Vec<u8>)]) -> State {
        let mut state = State::default();
        for (kind, payload) in records {
            let index = |user: &ServiceNumber| user.0 - ServiceNumber::FIRST.0;
            fill(
                &mut state,
                match told(*kind, payload) {
                    Some(Told::User(user)) => index(&user),
                    Some(Told::OfUser(users)) => index(&users[0]) + 1,
                    _ => USERS,
                },
            );
            let _ = state.restore_partly(stamp(100), *kind, payload);
        }
        fill(&mut state, USERS);
        state.settle_partly();
        state
    }

    #[test]
    fn a_kept_state_of_which_all_records_are_there_is_the_state() {
        let state = state();
        let all = records(&state);
        assert_eq!(restore(&all).digest(), state.digest());
        let last = all.last().unwrap();
        assert_eq!(told(last.0, &last.1), Some(Told::Count(u64::from(USERS))));
    }

    #[test]
    fn a_kept_state_of_which_any_records_are_lost_becomes_one_without_contradictions() {
        let all = records(&state());
        for from in 0..all.len() {
            for until in from + 1..=all.len() {
                let left = [&all[..from], &all[until..]].concat();
                let state = restore(&left);
                assert_eq!(state.find_contradiction(), None, "without {from} to {until}");
                assert_eq!(state.user_count(), USERS as usize);
                // It can be kept and restored like any other.
                let digest = state.digest();
                let mut again = State::default();
                for (kind, payload) in records(&state) {
                    again.restore(stamp(100), kind, &payload).unwrap();
                }
                assert_eq!(again.digest(), digest, "without {from} to {until}");
            }
        }
    }

    #[test]
    fn friends_whose_group_is_lost_are_in_group_1() {
        let all = records(&state());
        // Without the first user, whose friends come right behind.
        let state = restore(&all[1..]);
        let first = state.user(number(0)).unwrap();
        assert_eq!(first.groups().len(), 1);
        assert_eq!(first.friends_in(GroupNumber::FIRST).count(), USERS as usize - 1);
    }

    #[test]
    fn no_bytes_bring_a_state_down() {
        let all = records(&state());
        for (kind, payload) in &all {
            for length in 0..payload.len() {
                let _ = told(*kind, &payload[..length]);
                let mut state = State::default();
                let _ = state.restore_partly(stamp(1), *kind, &payload[..length]);
                state.settle_partly();
            }
        }
    }

    #[test]
    fn whatever_a_kept_state_says_of_others_is_settled() {
        let (ann, nobody) = (number(0), number(USERS));
        let friends = Moves::pack([(ann, GroupNumber::FIRST), (nobody, GroupNumber::FIRST)]);
        let numbers = Numbers::pack([ann, number(1), nobody]);
        for (kind, list) in [
            (KeptKind::Friends, &friends),
            (KeptKind::ListedBy, &numbers),
            (KeptKind::Requests, &numbers),
        ] {
            let mut state = State::default();
            fill(&mut state, USERS);
            let record = [&ann.0.to_be_bytes()[..], list].concat();
            assert_eq!(state.restore(stamp(100), kind as u8, &record), Ok(()));
            assert_ne!(state.find_contradiction(), None, "{kind}");
            state.settle_partly();
            assert_eq!(state.find_contradiction(), None, "{kind}");
        }
    }
}
