//! Properties of the log's events: each kind comes back as it was written, and neither foreign payloads
//! nor events that do not fit the state before them bring the state down.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that fails panics")]

mod chance;

use oicq::codec::packed::{Moves, Numbers, Receipts};
use oicq::codec::profile::Profile;
use oicq::id::{GroupNumber, Place, Seq, ServiceNumber, UnixMillis};
use oicq::state::event::{Authentication, EventError, EventKind};
use oicq::state::{Event, RunningDigest, Stamp, State};
use proptest::prelude::*;
use proptest::sample::{Index, select};

/// Values for the fields of any event: events borrow, so what they borrow from is drawn first.
#[derive(Clone, Debug)]
struct Raw {
    one: u32,
    other: u32,
    group: u8,
    flag: bool,
    authentication: Option<Authentication>,
    hash: String,
    texts: Vec<Vec<u8>>,
    portrait: u16,
    bytes: [u8; 6],
    moves: Vec<u8>,
    numbers: Vec<u8>,
    receipts: Vec<u8>,
}

/// Numbers from a range that small histories really meet, or any.
fn number(plausible: bool) -> BoxedStrategy<u32> {
    if plausible {
        prop_oneof![12 => 10_001..10_006_u32, 1 => Just(0), 1 => Just(10_007)].boxed()
    } else {
        any::<u32>().boxed()
    }
}

fn group(plausible: bool) -> BoxedStrategy<u8> {
    if plausible { (0..5_u8).boxed() } else { any::<u8>().boxed() }
}

fn text() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        12 => prop::collection::vec(any::<u8>(), 0..12),
        1 => select(vec![255_usize, 8_192, 65_535]).prop_map(|length| vec![b'x'; length]),
    ]
}

fn lists(plausible: bool) -> impl Strategy<Value = (Vec<u8>, Vec<u8>, Vec<u8>)> {
    let moves = prop::collection::vec((number(plausible), group(plausible)), 0..5);
    let numbers = prop::collection::vec(number(plausible), 0..4);
    let seq = if plausible { (0..80_u64).boxed() } else { any::<u64>().boxed() };
    let receipts = prop::collection::vec((number(plausible), seq), 0..4);
    (moves, numbers, receipts).prop_map(|(moves, numbers, receipts)| {
        let moves = moves.into_iter().map(|(one, to)| (ServiceNumber(one), GroupNumber(to)));
        let receipts = receipts.into_iter().map(|(one, seq)| (ServiceNumber(one), Seq(seq)));
        let numbers = numbers.into_iter().map(ServiceNumber);
        (Moves::pack(moves), Numbers::pack(numbers), Receipts::pack(receipts))
    })
}

fn raw(plausible: bool) -> impl Strategy<Value = Raw> {
    let authentications =
        select(vec![Authentication::Open, Authentication::Ask, Authentication::Closed]);
    (
        (number(plausible), number(plausible), group(plausible), any::<bool>()),
        prop::option::of(authentications),
        "[a-z0-9$=,]{1,20}",
        prop::collection::vec(text(), 11),
        any::<u16>(),
        any::<[u8; 6]>(),
        lists(plausible),
    )
        .prop_map(|(ids, authentication, hash, texts, portrait, bytes, lists)| Raw {
            one: ids.0,
            other: ids.1,
            group: ids.2,
            flag: ids.3,
            authentication,
            hash,
            texts,
            portrait,
            bytes,
            moves: lists.0,
            numbers: lists.1,
            receipts: lists.2,
        })
}

impl Raw {
    fn profile(&self) -> Profile<'_> {
        let text = |index: usize| &self.texts[index][..];
        Profile {
            nickname: text(0),
            portrait: self.portrait,
            gender: self.bytes[0],
            age: self.bytes[1],
            real_name: text(1),
            country: self.bytes[2],
            province: self.bytes[3],
            city: text(2),
            address: text(3),
            zip_code: text(4),
            education: self.bytes[4],
            school: text(5),
            occupation: self.bytes[5],
            phone: text(6),
            pager: text(7),
            email: text(8),
            hobbies: text(9),
            description: text(10),
        }
    }

    fn event(&self, kind: EventKind) -> Event<'_> {
        let (one, other) = (ServiceNumber(self.one), ServiceNumber(self.other));
        let (group, name) = (GroupNumber(self.group), &self.texts[0][..]);
        match kind {
            EventKind::Registered => Event::Registered {
                number: one,
                authentication: self.authentication.unwrap_or(Authentication::Open),
                password_hash: &self.hash,
                profile: self.profile(),
            },
            EventKind::ProfileChanged => Event::ProfileChanged {
                number: one,
                authentication: self.authentication,
                password_hash: self.flag.then_some(&self.hash),
                profile: self.profile(),
            },
            EventKind::GroupAdded => Event::GroupAdded { owner: one, group, name },
            EventKind::GroupRenamed => Event::GroupRenamed { owner: one, group, name },
            EventKind::GroupDeleted => Event::GroupDeleted { owner: one, group },
            EventKind::FriendsMoved => {
                Event::FriendsMoved { owner: one, moves: Moves::over(&self.moves).unwrap() }
            }
            EventKind::FriendRequested => {
                Event::FriendRequested { asker: one, friend: other, reason: name }
            }
            EventKind::RequestRejected => Event::RequestRejected { asker: one, friend: other },
            EventKind::FriendRefused => Event::FriendRefused { asker: one, friend: other },
            EventKind::FriendAdded => {
                Event::FriendAdded { owner: one, friend: other, group, agreed: self.flag }
            }
            EventKind::FriendDeleted => Event::FriendDeleted { owner: one, friend: other },
            EventKind::MessageSent => Event::MessageSent { from: one, to: other, content: name },
            EventKind::MessageBroadcast => Event::MessageBroadcast {
                from: one,
                group,
                content: name,
                left_out: Numbers::over(&self.numbers).unwrap(),
            },
            EventKind::Delivered => {
                Event::Delivered { receipts: Receipts::over(&self.receipts).unwrap() }
            }
            EventKind::MonitoringStarted => {
                Event::MonitoringStarted { operator: one, watched: other }
            }
            EventKind::MonitoringEnded => Event::MonitoringEnded { operator: one },
            EventKind::Lost => Event::Lost,
            EventKind::StateDigest => {
                let mut bytes = [self.group; RunningDigest::BYTES];
                bytes[..6].copy_from_slice(&self.bytes);
                Event::StateDigest { digest: RunningDigest::from_bytes(bytes) }
            }
            EventKind::PasswordRehashed => {
                Event::PasswordRehashed { number: one, password_hash: &self.hash }
            }
        }
    }
}

fn encoded(event: &Event<'_>) -> Vec<u8> {
    let mut payload = Vec::new();
    event.encode(&mut payload);
    payload
}

fn stamp(index: usize) -> Stamp {
    let index = index as u64;
    Stamp { seq: Seq(index + 1), time: UnixMillis(1_000 + index), place: Place(index << 32) }
}

/// A state with a few users, so that events have something to fit to.
fn peopled() -> State {
    with_users(5)
}

fn with_users(count: usize) -> State {
    let mut state = State::default();
    for index in 0..count {
        let event = Event::Registered {
            number: ServiceNumber(10_001 + u32::try_from(index).unwrap()),
            authentication: Authentication::Open,
            password_hash: "$",
            profile: Profile { nickname: b"ann", ..Profile::default() },
        };
        state
            .apply_record(stamp(index), EventKind::Registered as u8, &encoded(&event))
            .expect("numbers are counted up");
    }
    state
}

/// Applies records; each one that does not fit leaves the state as it was.
fn apply_all(state: &mut State, records: &[(u8, Vec<u8>)]) {
    for (index, (kind, payload)) in records.iter().enumerate() {
        let before = (state.digest(), state.running_digest(), state.last_seq());
        if state.apply_record(stamp(index + 5), *kind, payload).is_err() {
            let after = (state.digest(), state.running_digest(), state.last_seq());
            assert_eq!(after, before, "kind {kind}");
        }
        assert_eq!(state.find_contradiction(), None, "kind {kind}");
    }
}

/// Applies those records that fit, as a log that was written by this server holds no others.
fn apply_fitting(records: &[(u8, Vec<u8>)]) -> (State, Vec<(u8, Vec<u8>)>) {
    let mut fitting: Vec<(u8, Vec<u8>)> = Vec::new();
    let mut state = peopled();
    for (kind, payload) in records {
        let index = fitting.len() + 5;
        if state.apply_record(stamp(index), *kind, payload).is_ok() {
            fitting.push((*kind, payload.clone()));
        }
    }
    (state, fitting)
}

fn records(plausible: bool) -> impl Strategy<Value = Vec<(u8, Vec<u8>)>> {
    let record = (raw(plausible), select(EventKind::ALL))
        .prop_map(|(raw, kind)| (kind as u8, encoded(&raw.event(kind))));
    prop::collection::vec(record, 0..60)
}

fn changed_records() -> impl Strategy<Value = Vec<(u8, Vec<u8>)>> {
    let changes = prop::collection::vec((any::<Index>(), any::<u8>()), 0..3);
    let record = (raw(true), select(EventKind::ALL), changes).prop_map(|(raw, kind, changes)| {
        let mut payload = encoded(&raw.event(kind));
        let length = payload.len();
        for (place, byte) in changes.into_iter().take_while(|_| length > 0) {
            payload[place.index(length)] = byte;
        }
        (kind as u8, payload)
    });
    let noise = (any::<u8>(), prop::collection::vec(any::<u8>(), 0..30));
    prop::collection::vec(prop_oneof![4 => record, 1 => noise], 0..30)
}

proptest! {
    #![proptest_config(chance::properties(96))]

    #[test]
    fn every_event_comes_back_as_it_was_written(raw in raw(false)) {
        for &kind in EventKind::ALL {
            let event = raw.event(kind);
            prop_assert_eq!(event.kind(), kind);
            let mut payload = encoded(&event);
            prop_assert!(Event::decode(kind as u8, &payload) == Ok(event));
            for length in (0..payload.len()).step_by((payload.len() / 200).max(1)) {
                let error = Event::decode(kind as u8, &payload[..length]).err();
                prop_assert_eq!(error, Some(EventError::Malformed(kind)), "{} bytes", length);
            }
            payload.push(0);
            let error = Event::decode(kind as u8, &payload).err();
            prop_assert_eq!(error, Some(EventError::Longer(kind)));
        }
    }

    #[test]
    fn the_text_of_a_message_stands_where_the_event_says(raw in raw(false)) {
        for kind in [
            EventKind::MessageSent,
            EventKind::MessageBroadcast,
            EventKind::FriendRequested,
        ] {
            let event = raw.event(kind);
            let payload = encoded(&event);
            let start = event.text_offset() as usize;
            let text = &raw.texts[0];
            prop_assert_eq!(&payload[start..start + text.len()], &text[..]);
        }
    }

    #[test]
    fn any_payload_is_refused_or_stands_for_itself(
        kind in prop_oneof![8 => 0..20_u8, 1 => any::<u8>()],
        payload in prop::collection::vec(prop_oneof![3 => 0..4_u8, 1 => any::<u8>()], 0..120),
    ) {
        match Event::decode(kind, &payload) {
            Ok(event) => prop_assert_eq!(encoded(&event), payload),
            Err(EventError::UnknownKind(unknown)) => {
                prop_assert_eq!(unknown, kind);
                prop_assert!(EventKind::from_byte(kind).is_none());
            }
            Err(EventError::Malformed(named) | EventError::Longer(named)) => {
                prop_assert_eq!(named as u8, kind);
            }
            Err(EventError::Nonsense(_) | EventError::OtherState { .. }) => {
                prop_assert!(false, "decoding knows no state");
            }
        }
    }

    #[test]
    fn plausible_events_never_bring_the_state_down(records in records(true)) {
        apply_all(&mut peopled(), &records);
        let (state, fitting) = apply_fitting(&records);
        // The digest of what fits is the same whenever it is made.
        prop_assert_eq!(state.digest(), apply_fitting(&fitting).0.digest());
    }

    #[test]
    fn any_events_never_bring_the_state_down(records in records(false)) {
        apply_all(&mut State::default(), &records);
        apply_all(&mut peopled(), &records);
    }

    #[test]
    fn changed_records_never_bring_the_state_down(records in changed_records()) {
        apply_all(&mut peopled(), &records);
        let _ = apply_fitting(&records);
    }
}

#[test]
fn moves_that_overflow_a_group_leave_every_friend_where_it_was() {
    let mut state = with_users(258);
    let owner = ServiceNumber(10_001);
    let mut index = 258;
    let mut apply = |state: &mut State, event: Event<'_>| {
        index += 1;
        state.apply_record(stamp(index), event.kind() as u8, &encoded(&event))
    };
    let school = GroupNumber(2);
    apply(&mut state, Event::GroupAdded { owner, group: school, name: b"school" }).unwrap();
    for friend in 10_002..10_259 {
        let group = if friend < 10_257 { GroupNumber::FIRST } else { school };
        let friend = ServiceNumber(friend);
        apply(&mut state, Event::FriendAdded { owner, friend, group, agreed: true }).unwrap();
    }
    let moves = |moves: &[(u32, u8)]| {
        Moves::pack(moves.iter().map(|(one, to)| (ServiceNumber(*one), GroupNumber(*to))))
    };
    let digest = state.digest();
    let too_many = moves(&[(10_257, 1), (10_002, 2), (10_258, 1), (10_002, 1), (10_257, 2)]);
    let event = Event::FriendsMoved { owner, moves: Moves::over(&too_many).unwrap() };
    assert!(apply(&mut state, event).is_err());
    assert_eq!(state.digest(), digest);
    let exchange = moves(&[(10_257, 1), (10_002, 2)]);
    let event = Event::FriendsMoved { owner, moves: Moves::over(&exchange).unwrap() };
    apply(&mut state, event).unwrap();
    assert_ne!(state.digest(), digest);
}

#[test]
fn a_broadcast_that_leaves_out_a_stranger_reaches_nobody() {
    let mut state = with_users(3);
    let owner = ServiceNumber(10_001);
    let friend = ServiceNumber(10_002);
    let event = Event::FriendAdded { owner, friend, group: GroupNumber::FIRST, agreed: true };
    state.apply_record(stamp(3), event.kind() as u8, &encoded(&event)).unwrap();
    let digest = state.digest();
    let left_out = Numbers::pack([ServiceNumber(10_003)]);
    let event = Event::MessageBroadcast {
        from: owner,
        group: GroupNumber::ALL,
        content: b"hello",
        left_out: Numbers::over(&left_out).unwrap(),
    };
    let error = state.apply_record(stamp(4), event.kind() as u8, &encoded(&event));
    assert_eq!(error, Err(EventError::Nonsense(EventKind::MessageBroadcast)));
    assert_eq!(state.digest(), digest);
}
