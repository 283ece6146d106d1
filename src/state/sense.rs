//! Whether an event, or a state, keeps to the limits that every request is held to: what a log holds beyond them,
//! no server has decided.
//!
//! Owns the checks alone; the limits stand in `limits.rs`. Limits that an operator can set are not checked,
//! since the log does not tell what they were. Whether an event fits the state is for `apply` to say, and whether a
//! state agrees with itself is in [`agreement`](super::agreement).

use std::fmt;

use super::decide::accounts;
use super::{Event, MessageKind, State, User};
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
        | Event::StateDigest { .. }
        | Event::PasswordRehashed { .. } => Ok(()),
    }
}

/// Checks a whole state against all limits. Costs a pass over all users.
///
/// # Errors
/// The first user of whom something is beyond its limit, and what.
pub fn check_state(state: &State) -> Result<(), (ServiceNumber, Beyond)> {
    state.users().try_for_each(|(number, user)| check_user(user).map_err(|beyond| (number, beyond)))
}

fn check_user(user: &User) -> Result<(), Beyond> {
    check_profile(&user.profile())?;
    for group in user.groups() {
        within("name of a group", Unit::Bytes, group.name.len(), (1, NAME_BYTES))?;
    }
    within("list of requests", Unit::Items, user.requests().len(), (0, REQUESTS_WAITING))?;
    user.mailbox().iter().try_for_each(|(_, waiting)| {
        let length = usize::try_from(waiting.length).unwrap_or(usize::MAX);
        match waiting.kind {
            MessageKind::User => within("message", Unit::Bytes, length, (1, MESSAGE_BYTES)),
            _ => within("reason", Unit::Bytes, length, (0, SHORT_TEXT_BYTES)),
        }
    })
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
        assert_eq!(check_state(&state), Ok(()));
        let stamp = Stamp { seq: Seq(256), time: UnixMillis(1), place: Place(0) };
        state.apply(stamp, &ask(ServiceNumber(ONE.0 + 256)), &mut |_| ()).unwrap();
        assert_eq!(check_state(&state), Err((friend, beyond)));
    }

    #[test]
    fn a_state_beyond_a_limit_is_found_with_its_user() {
        let long = [b'x'; MESSAGE_BYTES + 1];
        let (two, owner) = (ServiceNumber(ONE.0 + 1), ONE);
        let (group, text) = (GroupNumber(2), |bytes| &long[..bytes]);
        let profile = |bytes| Profile { nickname: text(bytes), ..Profile::default() };
        let found = |event: Event<'_>| {
            let mut state = State::default();
            let pair = [registered(ONE, profile(64)), registered(two, profile(1))];
            for (seq, event) in (1..).zip(pair.iter().chain([&event])) {
                let stamp = Stamp { seq: Seq(seq), time: UnixMillis(1), place: Place(0) };
                state.apply(stamp, event, &mut |_| ()).unwrap();
            }
            assert_eq!(state.find_contradiction(), None, "no limit is part of that");
            let beyond = check_state(&state).err();
            beyond.map(|(user, beyond)| (user, beyond.field, beyond.found))
        };
        let changed = |bytes| Event::ProfileChanged {
            number: two,
            authentication: None,
            password_hash: None,
            profile: profile(bytes),
        };
        let named = |bytes| Event::GroupAdded { owner, group, name: text(bytes) };
        let said = |bytes| Event::MessageSent { from: two, to: ONE, content: text(bytes) };
        let asked = |bytes| Event::FriendRequested { asker: ONE, friend: two, reason: text(bytes) };
        for (event, beyond) in [
            (changed(64), None),
            (changed(65), Some((two, "nickname", 65))),
            (named(64), None),
            (named(0), Some((ONE, "name of a group", 0))),
            (said(MESSAGE_BYTES), None),
            (said(MESSAGE_BYTES + 1), Some((ONE, "message", MESSAGE_BYTES + 1))),
            (asked(255), None),
            (asked(256), Some((two, "reason", 256))),
        ] {
            assert_eq!(found(event), beyond, "{}", event.kind());
        }
    }
}
