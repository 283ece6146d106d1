//! The running digest: a number for the whole state that every change keeps up to date, so that asking for it
//! costs nothing.
//!
//! Owns what counts and how it is hashed; `EVENTS.md` says it byte by byte, since the number stands in the log.
//! It finds a build that applies an event differently, not a forger: who may choose what stands in a state
//! can find two with the same number. For that there is [`Digest`](super::Digest), at the cost of a pass.

use std::fmt;

use super::monitoring::MonitoringRecord;
use super::{Friend, State, User, Waiting};
use crate::codec::mix::Mixer;
use crate::id::{GroupNumber, Seq, ServiceNumber};

/// The running digest of a state.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct RunningDigest([u8; Self::BYTES]);

impl RunningDigest {
    /// Bytes of a running digest.
    pub const BYTES: usize = 16;

    /// The running digest that these bytes are.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; Self::BYTES]) -> Self {
        Self(bytes)
    }

    /// The running digest's bytes.
    #[must_use]
    pub const fn bytes(self) -> [u8; Self::BYTES] {
        self.0
    }
}

impl fmt::Display for RunningDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl fmt::Debug for RunningDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RunningDigest({self})")
    }
}

impl State {
    /// The running digest, which the changes have kept up to date.
    #[must_use]
    pub fn running_digest(&self) -> RunningDigest {
        let mut sum = self.users.sum();
        sum.join(self.monitoring.sum());
        sum.digest()
    }

    /// The same, made anew from all that is there. Costs a pass over all users.
    #[must_use]
    pub fn recount_running_digest(&self) -> RunningDigest {
        let mut sum = Sum::default();
        for (number, user) in self.users() {
            Item::each_of_user(number, user, |item| sum.add(item));
        }
        for (index, record) in self.monitoring().iter().enumerate() {
            sum.add(Item::monitoring(index, record));
        }
        for operator in self.operators() {
            self.watched_by(operator).for_each(|watched| sum.add(Item::watched(operator, watched)));
        }
        sum.digest()
    }
}

/// The sum of items' hashes, modulo 2^128.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Sum(u128);

impl Sum {
    pub(super) const fn add(&mut self, item: Item) {
        self.0 = self.0.wrapping_add(item.0);
    }

    pub(super) const fn take_out(&mut self, item: Item) {
        self.0 = self.0.wrapping_sub(item.0);
    }

    /// Adds the items of another part of the state.
    const fn join(&mut self, other: Self) {
        self.0 = self.0.wrapping_add(other.0);
    }

    const fn digest(self) -> RunningDigest {
        RunningDigest(self.0.to_be_bytes())
    }
}

/// The sorts of items, by the byte that tells their hashes apart.
#[derive(Clone, Copy)]
#[repr(u8)]
enum Sort {
    User = 1,
    Group = 2,
    Friend = 3,
    Request = 4,
    Message = 5,
    Monitoring = 6,
    Watched = 7,
}

/// The hash of something that counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Item(u128);

impl Item {
    /// What is kept of a user alone.
    pub(super) fn user(number: ServiceNumber, user: &User) -> Self {
        Item(
            mixer(Sort::User, number)
                .word(user.registered().0)
                .word(user.authentication() as u64)
                .text(user.password_hash().as_bytes())
                .text(user.packed_profile())
                .hash(),
        )
    }

    pub(super) fn group(owner: ServiceNumber, group: GroupNumber, name: &[u8]) -> Self {
        Item(mixer(Sort::Group, owner).word(group.0.into()).text(name).hash())
    }

    pub(super) fn friend(owner: ServiceNumber, friend: Friend) -> Self {
        let (number, group) = (u64::from(friend.number.0), u64::from(friend.group.0));
        Item(mixer(Sort::Friend, owner).word(number << 32 | group).hash())
    }

    /// That somebody waits for an answer to a friend request.
    pub(super) fn request(asked: ServiceNumber, asker: ServiceNumber) -> Self {
        Item(mixer(Sort::Request, asked).word(asker.0.into()).hash())
    }

    /// A waiting message. Where its text stands does not count.
    pub(super) fn message(to: ServiceNumber, seq: Seq, waiting: &Waiting) -> Self {
        let Waiting { from, kind, length, checksum, place: _, time } = *waiting;
        Item(
            mixer(Sort::Message, to)
                .word(seq.0)
                .word(time.0)
                .word(u64::from(from.0) << 32 | kind as u64)
                .word(u64::from(length) << 32 | u64::from(checksum))
                .hash(),
        )
    }

    /// A start or an end of monitoring, by its place in the list.
    pub(super) fn monitoring(index: usize, record: &MonitoringRecord) -> Self {
        let MonitoringRecord { time, operator, watched, started } = *record;
        Item(
            mixer(Sort::Monitoring, operator)
                .word(index as u64)
                .word(time.0)
                .word(u64::from(watched.0) << 32 | u64::from(started))
                .hash(),
        )
    }

    /// That an operator monitors somebody.
    pub(super) fn watched(operator: ServiceNumber, watched: ServiceNumber) -> Self {
        Item(mixer(Sort::Watched, operator).word(watched.0.into()).hash())
    }

    /// All items of a user.
    pub(super) fn each_of_user(number: ServiceNumber, user: &User, mut each: impl FnMut(Self)) {
        each(Self::user(number, user));
        user.groups().iter().for_each(|group| each(Self::group(number, group.number, &group.name)));
        user.friends().iter().for_each(|friend| each(Self::friend(number, *friend)));
        user.requests().iter().for_each(|asker| each(Self::request(number, *asker)));
        user.mailbox().iter().for_each(|(seq, waiting)| each(Self::message(number, seq, waiting)));
    }
}

/// The hash of an item begins with its sort and whose it is.
fn mixer(sort: Sort, user: ServiceNumber) -> Mixer {
    Mixer::default().word((sort as u64) << 32 | u64::from(user.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::packed::{Moves, Numbers, Receipts};
    use crate::codec::profile::Profile;
    use crate::id::{Place, UnixMillis};
    use crate::state::{Authentication, Event, EventError, MessageKind, Stamp};

    const ANN: ServiceNumber = ServiceNumber(10_001);
    const BEN: ServiceNumber = ServiceNumber(10_002);
    const CAY: ServiceNumber = ServiceNumber(10_003);
    const WORK: GroupNumber = GroupNumber(2);

    fn item(user: ServiceNumber, words: &[u64]) -> Item {
        Item(words.iter().fold(mixer(Sort::Message, user), |mixer, word| mixer.word(*word)).hash())
    }

    fn profile() -> Profile<'static> {
        Profile { nickname: b"ann", city: b"Shenzhen", age: 20, ..Profile::default() }
    }

    fn user(profile: &Profile<'_>, hash: &str, authentication: Authentication, at: u64) -> User {
        User::new(profile, hash, authentication, UnixMillis(at))
    }

    const WAITING: Waiting = Waiting {
        from: BEN,
        kind: MessageKind::User,
        length: 5,
        checksum: 0x3610_A686,
        place: Place(7),
        time: UnixMillis(1_000),
    };

    const RECORD: MonitoringRecord =
        MonitoringRecord { time: UnixMillis(1_000), operator: ANN, watched: BEN, started: true };

    /// All items differ: none is another one, nor that with one field changed.
    #[track_caller]
    fn all_differ(items: &[Item]) {
        for (index, item) in items.iter().enumerate() {
            assert!(!items[..index].contains(item), "item {index} is like an earlier one");
        }
    }

    #[test]
    fn every_field_of_a_user_counts() {
        let (profile, ask) = (profile(), Authentication::Ask);
        let changed = |change: fn(&mut Profile<'static>)| {
            let mut other = profile;
            change(&mut other);
            Item::user(ANN, &user(&other, "$hash", ask, 9))
        };
        all_differ(&[
            Item::user(ANN, &user(&profile, "$hash", ask, 9)),
            Item::user(BEN, &user(&profile, "$hash", ask, 9)),
            Item::user(ANN, &user(&profile, "$hasg", ask, 9)),
            Item::user(ANN, &user(&profile, "$hash", Authentication::Open, 9)),
            Item::user(ANN, &user(&profile, "$hash", ask, 8)),
            changed(|it| it.nickname = b"anm"),
            changed(|it| it.portrait = 1),
            changed(|it| it.gender = 1),
            changed(|it| it.age = 21),
            changed(|it| it.real_name = b"Ann"),
            changed(|it| it.country = 1),
            changed(|it| it.province = 1),
            changed(|it| it.city = b"Shenzhem"),
            changed(|it| it.address = b"1"),
            changed(|it| it.zip_code = b"1"),
            changed(|it| it.education = 1),
            changed(|it| it.school = b"1"),
            changed(|it| it.occupation = 1),
            changed(|it| it.phone = b"1"),
            changed(|it| it.pager = b"1"),
            changed(|it| it.email = b"1"),
            changed(|it| it.hobbies = b"1"),
            changed(|it| it.description = b"1"),
        ]);
    }

    #[test]
    fn every_field_of_the_other_items_counts() {
        let message = |change: fn(&mut Waiting)| {
            let mut other = WAITING;
            change(&mut other);
            Item::message(ANN, Seq(4), &other)
        };
        let record = |change: fn(&mut MonitoringRecord)| {
            let mut other = RECORD;
            change(&mut other);
            Item::monitoring(3, &other)
        };
        let friend = |owner, number, group| Item::friend(owner, Friend { number, group });
        all_differ(&[
            Item::group(ANN, WORK, b"work"),
            Item::group(BEN, WORK, b"work"),
            Item::group(ANN, GroupNumber(3), b"work"),
            Item::group(ANN, WORK, b"worl"),
            friend(ANN, BEN, WORK),
            friend(CAY, BEN, WORK),
            friend(ANN, CAY, WORK),
            friend(ANN, BEN, GroupNumber(3)),
            Item::request(ANN, BEN),
            Item::request(BEN, ANN),
            Item::request(ANN, CAY),
            Item::message(ANN, Seq(4), &WAITING),
            Item::message(BEN, Seq(4), &WAITING),
            Item::message(ANN, Seq(5), &WAITING),
            message(|it| it.from = CAY),
            message(|it| it.kind = MessageKind::Asks),
            message(|it| it.length = 6),
            message(|it| it.checksum += 1),
            message(|it| it.time.0 += 1),
            Item::monitoring(3, &RECORD),
            Item::monitoring(4, &RECORD),
            record(|it| it.time.0 += 1),
            record(|it| it.operator = CAY),
            record(|it| it.watched = CAY),
            record(|it| it.started = false),
            Item::watched(ANN, BEN),
            Item::watched(BEN, ANN),
            Item::watched(ANN, CAY),
        ]);
        assert_eq!(message(|it| it.place = Place(8)), Item::message(ANN, Seq(4), &WAITING));
    }

    #[test]
    fn exchanged_values_do_not_cancel_out() {
        let friend = |owner: u32, group: u8| {
            let group = GroupNumber(group);
            Item::friend(ServiceNumber(owner), Friend { number: CAY, group })
        };
        for (one, other) in (0..200).flat_map(|one| (0..one).map(move |other| (one, other))) {
            let (one, other) = (20_001 + one, 20_001 + other);
            let (mut sum, mut exchanged) = (Sum::default(), Sum::default());
            for (owner, group) in [(one, 2), (other, 3)] {
                sum.add(friend(owner, group));
                exchanged.add(friend(owner, 5 - group));
            }
            assert_ne!(sum, exchanged, "{one} and {other}");
        }
    }

    #[test]
    fn the_order_of_items_does_not_matter_and_what_is_taken_out_is_gone() {
        let items: Vec<_> = (0..20).map(|n| item(ANN, &[n])).collect();
        let (mut sum, mut reversed) = (Sum::default(), Sum::default());
        items.iter().for_each(|item| sum.add(*item));
        items.iter().rev().for_each(|item| reversed.add(*item));
        assert_eq!(sum, reversed);
        items.iter().for_each(|item| sum.take_out(*item));
        assert_eq!(sum, Sum::default());
    }

    /// Registrations, then every other kind of change; with what each list of items is borrowed from.
    fn events<'a>(moves: &'a [u8], left_out: &'a [u8], receipts: &'a [u8]) -> Vec<Event<'a>> {
        let registered = |number, authentication| {
            let (password_hash, profile) = ("$hash", profile());
            Event::Registered { number, authentication, password_hash, profile }
        };
        let (owner, group, moves) = (ANN, WORK, Moves::over(moves).unwrap());
        let left_out = Numbers::over(left_out).unwrap();
        let other = Profile { nickname: b"anna", ..profile() };
        vec![
            registered(ANN, Authentication::Open),
            registered(BEN, Authentication::Ask),
            registered(CAY, Authentication::Closed),
            Event::ProfileChanged {
                number: ANN,
                authentication: Some(Authentication::Ask),
                password_hash: Some("$other"),
                profile: other,
            },
            Event::ProfileChanged {
                number: BEN,
                authentication: None,
                password_hash: None,
                profile: other,
            },
            Event::GroupAdded { owner, group, name: b"work" },
            Event::GroupRenamed { owner, group, name: b"play" },
            Event::FriendRequested { asker: ANN, friend: BEN, reason: b"me" },
            Event::FriendRequested { asker: ANN, friend: BEN, reason: b"me again" },
            Event::FriendAdded { owner, friend: BEN, group, agreed: true },
            Event::FriendAdded { owner, friend: CAY, group, agreed: false },
            Event::FriendRequested { asker: CAY, friend: BEN, reason: b"" },
            Event::RequestRejected { asker: CAY, friend: BEN },
            Event::FriendRefused { asker: BEN, friend: CAY },
            Event::FriendsMoved { owner, moves },
            Event::MessageSent { from: CAY, to: BEN, content: b"hi" },
            Event::MessageBroadcast {
                from: ANN,
                group: GroupNumber::ALL,
                content: b"all",
                left_out,
            },
            Event::MonitoringStarted { operator: CAY, watched: ANN },
            Event::MonitoringStarted { operator: CAY, watched: BEN },
            Event::MonitoringEnded { operator: CAY },
            Event::MonitoringStarted { operator: CAY, watched: BEN },
            Event::Delivered { receipts: Receipts::over(receipts).unwrap() },
            Event::GroupDeleted { owner, group },
            Event::FriendDeleted { owner, friend: BEN },
            Event::Lost,
        ]
    }

    fn stamp(seq: u64) -> Stamp {
        Stamp { seq: Seq(seq), time: UnixMillis(1_000 + seq), place: Place(seq << 32) }
    }

    /// What each test does with the events.
    fn with_events(each: impl FnOnce(&[Event<'_>])) {
        let moves = Moves::pack([(CAY, WORK), (CAY, GroupNumber::FIRST), (BEN, WORK)]);
        let left_out = Numbers::pack([CAY]);
        let receipts = Receipts::pack([(BEN, Seq(12)), (CAY, Seq(99))]);
        each(&events(&moves, &left_out, &receipts));
    }

    #[test]
    fn each_event_keeps_the_running_digest() {
        with_events(|events| {
            let mut state = State::default();
            assert_eq!(state.running_digest(), RunningDigest::from_bytes([0; 16]));
            for (seq, event) in (1..).zip(events) {
                let before = state.running_digest();
                state.apply(stamp(seq), event, &mut |_| ()).unwrap();
                assert_eq!(state.find_contradiction(), None, "{}", event.kind());
                let changes = *event != Event::Lost;
                assert_eq!(state.running_digest() != before, changes, "{}", event.kind());
            }
            // It stands in logs: this number, made by `EVENTS.md` alone, is never another one.
            let digest = state.running_digest().to_string();
            assert_eq!(digest, "64be996b8923edc2e50ca7662291bf31");
        });
    }

    #[test]
    fn an_event_that_does_not_fit_leaves_the_running_digest() {
        with_events(|events| {
            let mut state = State::default();
            for (seq, event) in (1..).zip(&events[..18]) {
                state.apply(stamp(seq), event, &mut |_| ()).unwrap();
            }
            let before = state.running_digest();
            let moves = Moves::pack([(BEN, GroupNumber::FIRST), (ANN, GroupNumber::FIRST)]);
            let stray = Numbers::pack([ANN]);
            let receipts = Receipts::pack([(BEN, Seq(99)), (ServiceNumber(1), Seq(99))]);
            let (owner, nobody) = (ANN, ServiceNumber(10_009));
            for event in [
                Event::GroupAdded { owner, group: WORK, name: b"twice" },
                Event::GroupDeleted { owner, group: GroupNumber::FIRST },
                Event::FriendAdded { owner, friend: BEN, group: WORK, agreed: false },
                Event::FriendDeleted { owner: BEN, friend: ANN },
                Event::FriendRequested { asker: ANN, friend: nobody, reason: b"" },
                Event::RequestRejected { asker: CAY, friend: ANN },
                Event::FriendsMoved { owner, moves: Moves::over(&moves).unwrap() },
                Event::MessageSent { from: ANN, to: nobody, content: b"" },
                Event::MessageBroadcast {
                    from: ANN,
                    group: WORK,
                    content: b"",
                    left_out: Numbers::over(&stray).unwrap(),
                },
                Event::Delivered { receipts: Receipts::over(&receipts).unwrap() },
                Event::MonitoringStarted { operator: CAY, watched: ANN },
                Event::MonitoringEnded { operator: ANN },
            ] {
                let failed = state.apply(stamp(50), &event, &mut |_| ());
                assert_eq!(failed, Err(EventError::Nonsense(event.kind())));
                assert_eq!(state.running_digest(), before, "{}", event.kind());
                assert_eq!(state.find_contradiction(), None, "{}", event.kind());
            }
            assert_eq!(state.last_seq(), Seq(18));
        });
    }

    #[test]
    fn a_digest_in_the_log_is_compared() {
        let mut state = State::default();
        with_events(|events| {
            for (seq, event) in (1..).zip(events) {
                state.apply(stamp(seq), event, &mut |_| ()).unwrap();
            }
        });
        let (last, actual) = (state.last_seq().0, state.running_digest());
        let recorded = RunningDigest::from_bytes([7; 16]);
        let other = Event::StateDigest { digest: recorded };
        let refused = |agreed| Err(EventError::OtherState { recorded, actual, agreed });
        assert_eq!(state.apply(stamp(last + 1), &other, &mut |_| ()), refused(Seq::ZERO));
        assert_eq!((state.last_seq(), state.last_digest()), (Seq(last), Seq::ZERO));
        let own = Event::StateDigest { digest: actual };
        state.apply(stamp(last + 1), &own, &mut |_| ()).unwrap();
        assert_eq!((state.last_seq(), state.last_digest()), (Seq(last + 1), Seq(last + 1)));
        assert_eq!(state.running_digest(), actual);
        assert_eq!(state.apply(stamp(last + 2), &other, &mut |_| ()), refused(Seq(last + 1)));
    }

    #[test]
    fn a_state_that_was_kept_and_restored_has_the_same_running_digest() {
        let mut state = State::default();
        with_events(|events| {
            for (seq, event) in (1..).zip(&events[..22]) {
                state.apply(stamp(seq), event, &mut |_| ()).unwrap();
                let mut restored = State::default();
                // Texts count through their checksums.
                let text = |waiting: &Waiting, out: &mut Vec<u8>| {
                    let at = usize::try_from(waiting.place.0 >> 32).unwrap() - 1;
                    let mut payload = Vec::new();
                    events[at].encode(&mut payload);
                    let from = usize::try_from(waiting.place.0 & 0xFFFF_FFFF).unwrap();
                    let length = usize::try_from(waiting.length).unwrap();
                    out.extend_from_slice(&payload[from..from + length]);
                    Ok(())
                };
                state
                    .keep(state.digest(), text, |kind, payload| {
                        restored.restore(stamp(seq), kind, payload)
                    })
                    .unwrap();
                assert_eq!(restored.digest(), state.digest(), "{}", event.kind());
                assert_eq!(restored.running_digest(), state.running_digest(), "{}", event.kind());
                assert_eq!(restored.find_contradiction(), None, "{}", event.kind());
            }
        });
    }
}
