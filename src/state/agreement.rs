//! Whether a state agrees with itself: every index with what it indexes, every count with what it counts, every
//! number with a user who is there.
//!
//! Owns the list of what must agree, and the words for what does not. What one part says of itself, that part
//! looks at; what it says of others is looked at here. Limits are in [`sense`](super::sense): a log may hold what
//! no server has decided, and its state agrees with itself all the same.

use std::fmt;

use super::{MessageKind, RunningDigest, State, User};
use crate::id::{GroupNumber, Seq, ServiceNumber};

/// Two parts of a state that do not agree. A state made by events never has any.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Contradiction {
    /// Users do not stand at the places that their numbers name.
    Places,
    /// What is kept of this user, with itself or with what is kept of others.
    User(ServiceNumber, Flaw),
    /// Whom this operator monitors: by the starts and ends so far, by the operator and by those who are monitored.
    Monitoring(ServiceNumber),
    /// The last event that told the running digest comes after the last event.
    LastDigest {
        /// The one.
        told: Seq,
        /// The other.
        last: Seq,
    },
    /// The running digest that the changes have kept, and the one of what is there.
    RunningDigest {
        /// By the changes.
        kept: RunningDigest,
        /// Of what is there.
        counted: RunningDigest,
    },
}

/// What of a user does not agree.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Flaw {
    /// The bytes of the profile are none.
    Profile,
    /// The groups do not begin with group 1, or are not in ascending order.
    Groups,
    /// A group does not count the friends that are in it, or has more than it may.
    Count(GroupNumber),
    /// The friends are not in ascending order.
    Friends,
    /// A friend is in a group that is not there.
    Group(ServiceNumber),
    /// A friend is nobody, or the user itself.
    Friend(ServiceNumber),
    /// A friend does not know in whose list it is.
    Unlisted(ServiceNumber),
    /// It is kept as a friend of somebody who does not have it in its list.
    Listed(ServiceNumber),
    /// Who waits for an answer is nobody, or the user itself.
    Request(ServiceNumber),
    /// The waiting messages are not in ascending order.
    Order,
    /// What was taken out of the mailbox is not counted, or too much of it is kept.
    Gaps,
    /// The text that waits is not as long as is counted.
    TextBytes,
    /// The system's messages that wait are not those that are kept by sender and kind.
    System,
    /// A message is from nobody, or one of the system's from the user itself.
    Sender(Seq),
    /// A message has a text that its kind never has.
    Text(Seq),
    /// A message is of an event that is still to come.
    Future(Seq),
}

impl fmt::Display for Contradiction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Places => f.write_str("users do not stand at the places of their numbers"),
            Self::User(user, flaw) => write!(f, "user {user}: {flaw}"),
            Self::Monitoring(operator) => {
                write!(f, "it is not the same in all places whom user {operator} monitors")
            }
            Self::LastDigest { told, last } => {
                write!(f, "event {told} has told the digest, and the last event is {last}")
            }
            Self::RunningDigest { kept, counted } => {
                write!(f, "the running digest is {kept} instead of {counted}")
            }
        }
    }
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Profile => f.write_str("the profile cannot be read"),
            Self::Groups => f.write_str("the groups are not in order from group 1 on"),
            Self::Count(group) => write!(f, "group {group} has other friends than it counts"),
            Self::Friends => f.write_str("the friends are not in order"),
            Self::Group(friend) => write!(f, "friend {friend} is in a group that is not there"),
            Self::Friend(friend) => write!(f, "friend {friend} is not another user"),
            Self::Unlisted(friend) => write!(f, "friend {friend} does not know of it"),
            Self::Listed(owner) => {
                write!(f, "it is kept as a friend of {owner}, who has no such friend")
            }
            Self::Request(asker) => {
                write!(f, "{asker}, who waits for an answer, is not another user")
            }
            Self::Order => f.write_str("the waiting messages are not in order"),
            Self::Gaps => f.write_str("the gaps in the mailbox are miscounted, or too many"),
            Self::TextBytes => f.write_str("the waiting text is not as long as it is counted"),
            Self::System => f.write_str("the waiting system messages are others than are known"),
            Self::Sender(seq) => write!(f, "the waiting message {seq} is not from another user"),
            Self::Text(seq) => write!(f, "the waiting message {seq} has a text, and may have none"),
            Self::Future(seq) => write!(f, "the waiting message {seq} is still to come"),
        }
    }
}

impl State {
    /// The first contradiction, if there is one. Costs two passes over all users.
    #[must_use]
    pub fn find_contradiction(&self) -> Option<Contradiction> {
        if !self.users.are_in_place() {
            return Some(Contradiction::Places);
        }
        if let Some((user, flaw)) = self.find_flaw() {
            return Some(Contradiction::User(user, flaw));
        }
        if let Some(operator) = self.monitoring.find_odd(|number| self.user(number).is_some()) {
            return Some(Contradiction::Monitoring(operator));
        }
        let (told, last) = (self.last_digest, self.last_seq);
        if told > last {
            return Some(Contradiction::LastDigest { told, last });
        }
        let (kept, counted) = (self.running_digest(), self.recount_running_digest());
        (kept != counted).then_some(Contradiction::RunningDigest { kept, counted })
    }

    fn find_flaw(&self) -> Option<(ServiceNumber, Flaw)> {
        let (mut listed, mut turned) = (0_u64, 0_u64);
        for (number, user) in self.users() {
            let flaw = user.find_flaw().or_else(|| self.find_flaw_towards_others(number, user));
            if let Some(flaw) = flaw {
                return Some((number, flaw));
            }
            listed += user.friends().len() as u64;
            turned += user.listed_count() as u64;
        }
        // As many entries in both directions, and all of one found in the other: they are the same.
        if turned == listed {
            return None;
        }
        let lists = |owner: ServiceNumber, friend| {
            self.user(owner).is_some_and(|owner| owner.friend(friend).is_some())
        };
        self.users().find_map(|(number, user)| {
            let owner = user.listed_by().find(|owner| !lists(*owner, number))?;
            Some((number, Flaw::Listed(owner)))
        })
    }

    /// What a user that agrees with itself says of others.
    fn find_flaw_towards_others(&self, number: ServiceNumber, user: &User) -> Option<Flaw> {
        let is_other = |other| other != number && self.user(other).is_some();
        for friend in user.friends() {
            match self.user(friend.number) {
                Some(other) if friend.number != number => {
                    if !other.is_listed_by(number) {
                        return Some(Flaw::Unlisted(friend.number));
                    }
                }
                _ => return Some(Flaw::Friend(friend.number)),
            }
        }
        if let Some(asker) = user.requests().iter().find(|asker| !is_other(**asker)) {
            return Some(Flaw::Request(*asker));
        }
        user.mailbox().iter().find_map(|(seq, waiting)| {
            let is_sender = match waiting.kind {
                MessageKind::User => self.user(waiting.from).is_some(),
                _ => is_other(waiting.from),
            };
            let has_text = waiting.length > 0;
            match () {
                () if !is_sender => Some(Flaw::Sender(seq)),
                () if has_text && !waiting.kind.has_text() => Some(Flaw::Text(seq)),
                () if seq > self.last_seq => Some(Flaw::Future(seq)),
                () => None,
            }
        })
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::codec::profile::Profile;
    use crate::id::{Place, UnixMillis};
    use crate::state::{Authentication, Event, MonitoringRecord, Stamp, Waiting};

    pub(in crate::state) const ANN: ServiceNumber = ServiceNumber(10_001);
    pub(in crate::state) const BEN: ServiceNumber = ServiceNumber(10_002);
    pub(in crate::state) const CAY: ServiceNumber = ServiceNumber(10_003);
    const NOBODY: ServiceNumber = ServiceNumber(10_004);
    const FIRST: GroupNumber = GroupNumber::FIRST;

    /// Ann has ben as a friend, ben waits for cay's answer, messages wait, ann monitors ben.
    pub(in crate::state) fn state() -> State {
        let profile = Profile { nickname: b"ann", ..Profile::default() };
        let (authentication, password_hash) = (Authentication::Ask, "$");
        let registered =
            |number| Event::Registered { number, authentication, password_hash, profile };
        let mut state = State::default();
        for event in [
            registered(ANN),
            registered(BEN),
            registered(CAY),
            Event::FriendAdded { owner: ANN, friend: BEN, group: FIRST, agreed: false },
            Event::FriendRequested { asker: BEN, friend: CAY, reason: b"me" },
            Event::MessageSent { from: CAY, to: CAY, content: b"note" },
            Event::MonitoringStarted { operator: ANN, watched: BEN },
        ] {
            let seq = state.last_seq.next();
            let stamp = Stamp { seq, time: UnixMillis(seq.0), place: Place(0) };
            state.apply(stamp, &event, &mut |_| ()).unwrap();
        }
        state
    }

    fn waiting(from: ServiceNumber, kind: MessageKind, length: u32) -> Waiting {
        let (checksum, place, time) = (0, Place(0), UnixMillis(1));
        Waiting { from, kind, length, checksum, place, time }
    }

    /// What is found after a change that no event makes.
    pub(in crate::state) fn found(change: impl FnOnce(&mut State)) -> Option<Contradiction> {
        let mut state = state();
        change(&mut state);
        state.find_contradiction()
    }

    #[track_caller]
    pub(in crate::state) fn finds(
        user: ServiceNumber,
        flaw: Flaw,
        change: impl FnOnce(&mut State),
    ) {
        assert_eq!(found(change), Some(Contradiction::User(user, flaw)));
    }

    #[test]
    fn a_state_made_by_events_agrees_with_itself() {
        assert_eq!(found(|_| ()), None);
        assert_eq!(State::default().find_contradiction(), None);
    }

    #[test]
    fn friends_are_users_who_know_of_it() {
        let listed = |state: &mut State, user, owner| {
            state.users.change(user).unwrap().listed_by_mut().insert(owner);
        };
        let add = |state: &mut State, owner, friend| {
            state.users.change(owner).unwrap().add_friend(friend, FIRST);
        };
        finds(ANN, Flaw::Unlisted(CAY), |state| add(state, ANN, CAY));
        finds(ANN, Flaw::Friend(NOBODY), |state| add(state, ANN, NOBODY));
        finds(CAY, Flaw::Friend(CAY), |state| {
            add(state, CAY, CAY);
            listed(state, CAY, CAY);
        });
        finds(BEN, Flaw::Listed(CAY), |state| listed(state, BEN, CAY));
        finds(CAY, Flaw::Listed(NOBODY), |state| listed(state, CAY, NOBODY));
        // As many in both directions, and not the same ones.
        finds(ANN, Flaw::Unlisted(BEN), |state| {
            state.users.change(BEN).unwrap().listed_by_mut().clear();
            listed(state, BEN, CAY);
        });
    }

    #[test]
    fn others_wait_for_an_answer() {
        for asker in [CAY, NOBODY] {
            finds(CAY, Flaw::Request(asker), |state| {
                state.users.change(CAY).unwrap().add_request(asker);
            });
        }
    }

    #[test]
    fn messages_are_of_users_and_of_events_that_have_been() {
        let post = |seq: u64, message: Waiting| {
            move |state: &mut State| {
                state.last_seq = Seq(8);
                state.users.change(CAY).unwrap().post(Seq(seq), message);
            }
        };
        let kind = MessageKind::Agreed;
        assert_eq!(found(post(8, waiting(BEN, kind, 0))), None);
        finds(CAY, Flaw::Sender(Seq(8)), post(8, waiting(NOBODY, MessageKind::User, 1)));
        finds(CAY, Flaw::Sender(Seq(8)), post(8, waiting(CAY, kind, 0)));
        finds(CAY, Flaw::Text(Seq(8)), post(8, waiting(BEN, kind, 1)));
        finds(CAY, Flaw::Future(Seq(9)), post(9, waiting(BEN, MessageKind::Asks, 1)));
    }

    #[test]
    fn operators_and_whom_they_monitor_are_users() {
        for (operator, watched) in [(NOBODY, ANN), (CAY, NOBODY)] {
            let record = MonitoringRecord { time: UnixMillis(1), operator, watched, started: true };
            let found = found(|state| assert!(state.monitoring.take(record)));
            assert_eq!(found, Some(Contradiction::Monitoring(operator)));
        }
    }

    #[test]
    fn the_last_digest_is_behind_the_last_event() {
        let (told, last) = (Seq(8), Seq(7));
        let found = found(|state| state.last_digest = told);
        assert_eq!(found, Some(Contradiction::LastDigest { told, last }));
    }
}
