//! Who is seen online, modes and connection tests: `0x0A`, `0x10` and `0x16`.

use oicq::codec::profile::Profile;
use oicq::id::{GroupNumber, ServiceNumber};
use oicq::wire::client::Account;
use oicq::wire::server::{Presence, UserEntry};
use oicq::wire::{Code, Kind, Request, ServerPacket};

use crate::kit::World;
use crate::kit::people::{User, account, bytes_of, full_profile, got, numbers, tested};

fn mode(mode: u8) -> Request<'static> {
    Request::SetMode { mode }
}

fn walk(start: u32, count: u8, direction: u8) -> Request<'static> {
    Request::ListOnline { start: ServiceNumber(start), count, direction }
}

/// Users 10001 to 10006: 10003 is hidden, 10004 is away, 10005 does not want to be disturbed.
fn six() -> (World, User) {
    let mut world = World::new();
    let users: Vec<_> = (0..6).map(|_| world.user(b"any")).collect();
    world.does(users[2], mode(2));
    world.leaves(users[3]);
    world.does(users[4], mode(3));
    (world, users[0])
}

#[test]
fn the_list_of_those_online_walks_the_visible_users_from_the_start_itself_included() {
    let (mut world, asker) = six();
    let walks: &[(Request<'_>, &[u32])] = &[
        (walk(0, 255, 2), &[10_001, 10_002, 10_005, 10_006]),
        (walk(10_002, 255, 2), &[10_002, 10_005, 10_006]),
        (walk(10_003, 255, 2), &[10_005, 10_006]),
        (walk(10_006, 255, 2), &[10_006]),
        (walk(10_007, 255, 2), &[]),
        (walk(u32::MAX, 255, 2), &[]),
        (walk(u32::MAX, 255, 1), &[10_006, 10_005, 10_002, 10_001]),
        (walk(10_005, 255, 1), &[10_005, 10_002, 10_001]),
        (walk(10_004, 255, 1), &[10_002, 10_001]),
        (walk(10_000, 255, 1), &[]),
        (walk(0, 255, 1), &[]),
        (walk(10_002, 2, 2), &[10_002, 10_005]),
        (walk(10_006, 1, 1), &[10_006]),
        (walk(10_001, 0, 2), &[]),
    ];
    for &(request, expected) in walks {
        let found = numbers(&world.asks(asker, request));
        let expected: Vec<_> = expected.iter().copied().map(ServiceNumber).collect();
        assert_eq!(found, expected, "{request:?}");
    }
}

#[test]
fn the_list_of_those_online_shows_nickname_portrait_province_and_city() {
    let mut world = World::new();
    let ann = world.user_with(Account { profile: full_profile(), ..account(b"") });
    let answer = world.asks(ann, walk(0, 255, 2));
    let Profile { nickname, portrait, province, city, .. } = full_profile();
    let users = vec![UserEntry { number: ann.number, nickname, portrait, province, city }];
    assert_eq!(answer, [got(&ServerPacket::Online { success: true, users })]);
}

#[test]
fn a_count_of_255_is_kept_to() {
    let mut world = World::new();
    let ann = world.user(b"ann");
    for _ in 0..256 {
        world.user(b"any");
    }
    assert_eq!(numbers(&world.asks(ann, walk(0, 255, 2))).len(), 255);
}

#[test]
fn a_direction_is_1_or_2() {
    let (mut world, asker) = six();
    for direction in [0, 3, 255] {
        let sentence = world.refused(asker, walk(0, 10, direction), Code::BadValue);
        assert!(sentence.contains("direction"), "{sentence}");
    }
}

#[test]
fn a_mode_is_1_to_4() {
    let mut world = World::new();
    let ann = world.user(b"ann");
    for wrong in [0, 5, 255] {
        let sentence = world.refused(ann, mode(wrong), Code::BadValue);
        assert!(sentence.contains("mode"), "{sentence}");
    }
}

#[test]
fn a_mode_is_what_friends_see_in_their_login_reply_and_who_looks_for_those_online() {
    for (wanted, shown) in [
        (1, Presence::Online),
        (2, Presence::Offline),
        (3, Presence::DoNotDisturb),
        (4, Presence::Offline),
    ] {
        let mut world = World::new();
        let (ann, ben) = world.friends();
        world.does(ben, mode(wanted));
        let list = world.friend_list(ann.number);
        assert_eq!(list, [(GroupNumber(1), vec![(ben.number, shown)])], "mode {wanted}");
        let cay = world.user(b"cay");
        let visible = world.online(cay).contains(&ben.number);
        assert_eq!(visible, shown != Presence::Offline, "mode {wanted}");
    }
}

#[test]
fn modes_go_from_any_to_any() {
    let mut world = World::new();
    let (ann, ben) = (world.user(b"ann"), world.user(b"ben"));
    for (wanted, visible) in [(2, false), (3, true), (2, false), (1, true), (3, true), (1, true)] {
        world.does(ben, mode(wanted));
        assert_eq!(world.online(ann).contains(&ben.number), visible, "mode {wanted}");
    }
}

#[test]
fn one_who_is_hidden_does_not_see_itself_among_those_online() {
    let mut world = World::new();
    let ann = world.user(b"ann");
    world.does(ann, mode(2));
    assert_eq!(world.online(ann), []);
    assert_eq!(world.search(ann, "SELECT * FROM users WHERE online = 1"), []);
}

#[test]
fn one_who_logs_in_hidden_is_not_seen_until_it_shows_itself() {
    let mut world = World::new();
    let ann = world.user(b"ann");
    let ben = world.registered(account(b"ben"));
    let at = world.connect();
    world.log_in(at, ben, 1);
    let ben = User { number: ben, at };
    assert_eq!(world.online(ann), [ann.number]);
    world.does(ben, mode(1));
    assert_eq!(world.online(ann), [ann.number, ben.number]);
}

#[test]
fn the_mode_of_a_session_does_not_outlive_it() {
    for before in [2, 3] {
        let mut world = World::new();
        let (ann, ben) = world.friends();
        world.does(ben, mode(before));
        world.leaves(ben);
        world.session(ben.number);
        let list = world.friend_list(ann.number);
        assert_eq!(list, [(GroupNumber(1), vec![(ben.number, Presence::Online)])]);
    }
}

#[test]
fn mode_4_ends_the_session_and_not_the_connection() {
    let mut world = World::new();
    let (ann, ben) = world.friends();
    world.does(ben, mode(4));
    assert!(!world.is_closed(ben.at));
    assert_eq!(world.online(ann), [ann.number]);
    world.goes_on(User { number: ServiceNumber(0), at: ben.at });
    world.does(ann, Request::Send { receiver: ben.number, content: b"later" });
    assert_eq!(world.take(ben.at), []);
}

#[test]
fn one_whose_connection_ends_is_seen_no_more() {
    let mut world = World::new();
    let (ann, ben) = world.friends();
    world.leaves(ben);
    assert_eq!(world.online(ann), [ann.number]);
}

#[test]
fn modes_are_no_events() {
    let mut world = World::new();
    let ann = world.user(b"ann");
    world.settle();
    let events = world.events();
    for wanted in 1..=4 {
        world.does(ann, mode(wanted));
    }
    assert_eq!(world.event_names(events), [""; 0]);
}

#[test]
fn after_a_restart_nobody_is_online() {
    let mut world = World::new();
    let (ann, _) = world.friends();
    let mut world = world.restart();
    let ann = world.session(ann.number);
    assert_eq!(world.online(ann), [ann.number]);
}

// 0x16

#[test]
fn a_connection_test_comes_back_with_its_number_in_a_session_and_before() {
    let mut world = World::new();
    let stranger = world.stranger();
    assert_eq!(world.asks(stranger, Request::Test), [tested(ServiceNumber(0))]);
    let ann = world.user(b"ann");
    assert_eq!(world.asks(ann, Request::Test), [tested(ann.number)]);
}

#[test]
fn a_connection_test_carries_0_before_login_and_the_own_number_after() {
    let mut world = World::new();
    let ann = world.registered(account(b"ann"));
    let stranger = world.stranger();
    let claimed = bytes_of(Kind::User, ann, Request::Test);
    world.violated(stranger, &claimed, 0x16, Code::WrongNumber);
    let ann = world.session(ann);
    let none = bytes_of(Kind::User, ServiceNumber(0), Request::Test);
    world.violated(ann, &none, 0x16, Code::WrongNumber);
}

#[test]
fn clients_that_did_not_ask_for_presence_hear_nothing_of_their_friends_modes() {
    let mut world = World::new();
    let (ann, ben) = world.friends();
    for wanted in [2, 3, 1, 4] {
        world.does(ben, mode(wanted));
    }
    world.log_in(ben.at, ben.number, 0);
    world.leaves(ben);
    assert_eq!(world.take(ann.at), []);
}
