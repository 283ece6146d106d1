//! Whether an event keeps to the limits that every request is held to (what a log holds beyond them, no server
//! has decided), and whether a state agrees with itself.
//!
//! Owns the checks alone; the limits stand in `limits.rs`. Limits that an operator can set are not checked,
//! since the log does not tell what they were. Whether an event fits the state is for `apply` to say.

use std::fmt;

use super::decide::accounts;
use super::{Event, Friend, RunningDigest, State, User};
use crate::codec::profile::Profile;
use crate::id::ServiceNumber;
use crate::limits::{
    AGE_MAX, DELIVERIES_PER_EVENT, MESSAGE_BYTES, NAME_BYTES, PORTRAIT_MAX, REQUESTS_WAITING,
    SHORT_TEXT_BYTES,
};

/// The highest gender of a profile. Protocol section 4, `0x01`.
const GENDER_MAX: u8 = 2;
/// Friends that one event moves: the packet counts them in one byte. Protocol section 4, `0x09`.
const MOVES: usize = 255;

/// What a limit is counted in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unit {
    /// The bytes of a string.
    Bytes,
    /// The items of a list.
    Items,
    /// The number itself.
    Value,
}

/// A value that is beyond its limit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Beyond {
    /// Which field of the event, or which list that it adds to.
    pub field: &'static str,
    /// What is counted.
    pub unit: Unit,
    /// What there is.
    pub found: usize,
    /// The least that it may be.
    pub min: usize,
    /// The most that it may be.
    pub max: usize,
}

impl fmt::Display for Beyond {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { field, unit, found, min, max } = self;
        match unit {
            Unit::Bytes => write!(f, "{field} has {found} bytes, {min} to {max} are allowed"),
            Unit::Items => write!(f, "{field} has {found} items, {min} to {max} are allowed"),
            Unit::Value => write!(f, "{field} is {found}, {min} to {max} is allowed"),
        }
    }
}

/// Checks an event against all limits, on the state before it.
///
/// # Errors
/// The first value that is beyond its limit.
pub fn check(state: &State, event: &Event<'_>) -> Result<(), Beyond> {
    check_event(event)?;
    let Event::FriendRequested { asker, friend, .. } = event else { return Ok(()) };
    let Some(asked) = state.user(*friend) else { return Ok(()) };
    let again = usize::from(asked.requests().contains(asker));
    let waiting = asked.requests().len() + 1 - again;
    within("list of requests", Unit::Items, waiting, (0, REQUESTS_WAITING))
}

/// Checks an event against those limits for which it stands alone.
///
/// # Errors
/// The first value that is beyond its limit.
pub fn check_event(event: &Event<'_>) -> Result<(), Beyond> {
    match *event {
        Event::Registered { ref profile, .. } | Event::ProfileChanged { ref profile, .. } => {
            check_profile(profile)
        }
        Event::GroupAdded { name, .. } | Event::GroupRenamed { name, .. } => {
            within("name", Unit::Bytes, name.len(), (1, NAME_BYTES))
        }
        Event::FriendsMoved { moves, .. } => {
            within("list of moves", Unit::Items, moves.len(), (1, MOVES))
        }
        Event::FriendRequested { reason, .. } => {
            within("reason", Unit::Bytes, reason.len(), (0, SHORT_TEXT_BYTES))
        }
        Event::MessageSent { content, .. } | Event::MessageBroadcast { content, .. } => {
            within("content", Unit::Bytes, content.len(), (1, MESSAGE_BYTES))
        }
        Event::Delivered { receipts } => {
            within("list of receivers", Unit::Items, receipts.len(), (1, DELIVERIES_PER_EVENT))
        }
        Event::GroupDeleted { .. }
        | Event::RequestRejected { .. }
        | Event::FriendRefused { .. }
        | Event::FriendAdded { .. }
        | Event::FriendDeleted { .. }
        | Event::MonitoringStarted { .. }
        | Event::MonitoringEnded { .. }
        | Event::Lost
        | Event::StateDigest { .. } => Ok(()),
    }
}

fn check_profile(profile: &Profile<'_>) -> Result<(), Beyond> {
    for (field, text, bounds, _) in accounts::texts(profile) {
        within(field, Unit::Bytes, text.len(), bounds)?;
    }
    within("portrait", Unit::Value, profile.portrait.into(), (0, PORTRAIT_MAX.into()))?;
    within("gender", Unit::Value, profile.gender.into(), (0, GENDER_MAX.into()))?;
    within("age", Unit::Value, profile.age.into(), (0, AGE_MAX.into()))
}

fn within(
    field: &'static str,
    unit: Unit,
    found: usize,
    (min, max): (usize, usize),
) -> Result<(), Beyond> {
    let fits = (min..=max).contains(&found);
    if fits { Ok(()) } else { Err(Beyond { field, unit, found, min, max }) }
}

/// Two parts of a state that do not agree. A state made by events never has any.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Contradiction {
    /// What this user's friend list and requests say of others, or those of it.
    Friends(ServiceNumber),
    /// The running digest that the changes have kept, and the one of what is there.
    RunningDigest {
        /// By the changes.
        kept: RunningDigest,
        /// Of what is there.
        counted: RunningDigest,
    },
}

impl fmt::Display for Contradiction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Friends(user) => {
                write!(f, "the friends of user {user} do not know of each other")
            }
            Self::RunningDigest { kept, counted } => {
                write!(f, "the running digest is {kept} instead of {counted}")
            }
        }
    }
}

impl State {
    /// The first contradiction, if there is one. Costs two passes over all users.
    #[must_use]
    pub fn find_contradiction(&self) -> Option<Contradiction> {
        if let Some(user) = self.find_odd_friends() {
            return Some(Contradiction::Friends(user));
        }
        let (kept, counted) = (self.running_digest(), self.recount_running_digest());
        (kept != counted).then_some(Contradiction::RunningDigest { kept, counted })
    }

    /// The first user whose friend list names somebody who is not there, or does not know of it.
    fn find_odd_friends(&self) -> Option<ServiceNumber> {
        let mut listed: u64 = 0;
        for (number, user) in self.users() {
            let knows = |friend: &Friend| {
                friend.number != number
                    && self.user(friend.number).is_some_and(|it| it.is_listed_by(number))
            };
            if !user.friends().iter().all(knows)
                || !user.requests().iter().all(|asker| self.user(*asker).is_some())
            {
                return Some(number);
            }
            listed += user.friends().len() as u64;
        }
        // As many entries in both directions, and all of one found in the other: they are the same.
        let turned: u64 = self.users().map(|(_, user)| user.listed_count() as u64).sum();
        if turned == listed {
            return None;
        }
        let lists = |owner: ServiceNumber, friend| {
            self.user(owner).is_some_and(|owner| owner.friend(friend).is_some())
        };
        let odd = |(number, user): &(ServiceNumber, &User)| {
            !user.listed_by().all(|owner| lists(owner, *number))
        };
        self.users().find(odd).map(|(number, _)| number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::packed::{Moves, Numbers, Receipts};
    use crate::id::{GroupNumber, Place, Seq, UnixMillis};
    use crate::state::{Authentication, Stamp};

    /// An event with so many bytes or items.
    type Make<'a> = dyn Fn(usize) -> Event<'a> + 'a;

    const ONE: ServiceNumber = ServiceNumber::FIRST;

    fn registered(number: ServiceNumber, profile: Profile<'_>) -> Event<'_> {
        let authentication = Authentication::Ask;
        Event::Registered { number, authentication, password_hash: "$", profile }
    }

    #[test]
    fn what_is_at_its_limit_passes_and_what_is_beyond_is_named() {
        let long = [b'x'; MESSAGE_BYTES + 1];
        let profile = Profile { nickname: b"ann", ..Profile::default() };
        let text = |bytes| &long[..bytes];
        for (profile, beyond) in [
            (Profile { nickname: text(64), ..profile }, None),
            (Profile { nickname: text(65), ..profile }, Some("nickname has 65 bytes")),
            (Profile { nickname: b"", ..profile }, Some("nickname has 0 bytes")),
            (Profile { city: text(255), ..profile }, None),
            (Profile { email: text(256), ..profile }, Some("email has 256 bytes")),
            (Profile { hobbies: text(1_024), ..profile }, None),
            (Profile { description: text(1_025), ..profile }, Some("description has 1025 bytes")),
            (Profile { age: 150, portrait: 255, gender: 2, ..profile }, None),
            (Profile { age: 151, ..profile }, Some("age is 151, 0 to 150 is allowed")),
            (Profile { portrait: 256, ..profile }, Some("portrait is 256")),
            (Profile { gender: 3, ..profile }, Some("gender is 3")),
        ] {
            let words =
                check_event(&registered(ONE, profile)).err().map(|beyond| beyond.to_string());
            match (beyond, words) {
                (None, None) => {}
                (Some(beyond), Some(words)) => assert!(words.starts_with(beyond), "{words}"),
                (expected, words) => panic!("{expected:?}, but {words:?}"),
            }
        }
    }

    #[test]
    fn texts_and_lists_are_counted() {
        let long = [b'x'; MESSAGE_BYTES + 1];
        let (owner, group) = (ONE, GroupNumber(2));
        let moves = Moves::pack((0..256).map(|_| (ONE, group)));
        let receipts = Receipts::pack((0..4_097).map(|_| (ONE, Seq(1))));
        let moved = |count| Event::FriendsMoved {
            owner,
            moves: Moves::over(&moves[..count * Moves::ITEM_BYTES]).unwrap(),
        };
        let delivered = |count| Event::Delivered {
            receipts: Receipts::over(&receipts[..count * Receipts::ITEM_BYTES]).unwrap(),
        };
        let said = |bytes| Event::MessageSent { from: ONE, to: ONE, content: &long[..bytes] };
        let broadcast = |bytes| {
            let (content, left_out) = (&long[..bytes], Numbers::default());
            Event::MessageBroadcast { from: ONE, group, content, left_out }
        };
        let named = |bytes| Event::GroupAdded { owner, group, name: &long[..bytes] };
        let renamed = |bytes| Event::GroupRenamed { owner, group, name: &long[..bytes] };
        let asked =
            |bytes| Event::FriendRequested { asker: ONE, friend: ONE, reason: &long[..bytes] };
        let table: &[(&Make<'_>, usize, usize)] = &[
            (&|count| moved(count), 1, 255),
            (&|count| delivered(count), 1, 4_096),
            (&|bytes| said(bytes), 1, 8_192),
            (&|bytes| broadcast(bytes), 1, 8_192),
            (&|bytes| named(bytes), 1, 64),
            (&|bytes| renamed(bytes), 1, 64),
            (&|bytes| asked(bytes), 0, 255),
        ];
        for &(event, min, max) in table {
            let kind = event(min).kind();
            for (count, fits) in [(min, true), (max, true), (max + 1, false)] {
                assert_eq!(check_event(&event(count)).is_ok(), fits, "{kind} of {count}");
            }
            assert!(min == 0 || check_event(&event(min - 1)).is_err(), "{kind} of {}", min - 1);
        }
    }

    #[test]
    fn no_more_requests_wait_than_are_allowed() {
        let mut state = State::default();
        let friend = ONE;
        let ask = |asker| Event::FriendRequested { asker, friend, reason: b"" };
        for index in 0..258 {
            let number = ServiceNumber(ONE.0 + index);
            let stamp = Stamp { seq: Seq(1), time: UnixMillis(1), place: Place(0) };
            let profile = Profile { nickname: b"ann", ..Profile::default() };
            state.apply(stamp, &registered(number, profile), &mut |_| ()).unwrap();
            if (1..=255).contains(&index) {
                assert_eq!(check(&state, &ask(number)), Ok(()));
                state.apply(stamp, &ask(number), &mut |_| ()).unwrap();
            }
        }
        assert_eq!(check(&state, &ask(ServiceNumber(ONE.0 + 255))), Ok(()), "asks again");
        let beyond = check(&state, &ask(ServiceNumber(ONE.0 + 256))).unwrap_err();
        assert_eq!((beyond.found, beyond.max), (256, 255));
    }
}
