//! Adding, asking, answering and deleting friends, and who is told of it: `0x0C`, `0x0D`, `0x0E`, `0x17`.

use oicq::id::{GroupNumber, ServiceNumber};
use oicq::wire::client::Account;
use oicq::wire::server::{Presence, SystemKind};
use oicq::wire::{Code, Request};

use crate::kit::World;
use crate::kit::people::{NOBODY, User, account, system, system_text};

fn add(friend: User) -> Request<'static> {
    Request::AddFriend { friend: friend.number }
}

fn ask(friend: User, reason: &[u8]) -> Request<'_> {
    Request::RequestFriend { friend: friend.number, reason }
}

fn answer(asker: User, consent: u8) -> Request<'static> {
    Request::AnswerRequest { friend: asker.number, consent }
}

fn delete(friend: User) -> Request<'static> {
    Request::DeleteFriend { friend: friend.number }
}

fn authenticate(authentication: u8) -> Request<'static> {
    Request::ChangeProfile(Account { authentication, ..account(b"ann") })
}

/// Everybody in a friend list, whatever the group.
fn friends_of(world: &World, owner: User) -> Vec<ServiceNumber> {
    let owner = world.engine.state().user(owner.number).unwrap();
    owner.friends().iter().map(|friend| friend.number).collect()
}

/// Ann, whom the given setting guards, and ben who would like to add her.
fn pair(authentication: u8) -> (World, User, User) {
    let mut world = World::new();
    let ann = world.user_who(b"ann", authentication);
    let ben = world.user(b"ben");
    (world, ann, ben)
}

/// A group 1 with no room.
fn fill_group_1(world: &mut World, owner: User) -> Vec<ServiceNumber> {
    let crowd = world.crowd(255);
    for &friend in &crowd {
        world.befriend(owner, friend);
    }
    crowd
}

// By authentication

#[test]
fn one_whom_anyone_may_add_is_added_to_group_1_and_both_are_told() {
    for request in [add as fn(User) -> Request<'static>, |friend| ask(friend, b"a reason")] {
        let (mut world, ann, ben) = pair(0);
        let events = world.events();
        let to_ben = world.asks(ben, request(ann));
        assert_eq!(to_ben, [system(SystemKind::Agreed, ann)]);
        assert_eq!(world.take(ann.at), [system(SystemKind::Added, ben)]);
        assert_eq!(world.event_names(events)[..1], ["friend-added"]);
        let list = world.friend_list(ben.number);
        assert_eq!(list, [(GroupNumber(1), vec![(ann.number, Presence::Online)])]);
    }
}

#[test]
fn a_friend_list_has_one_direction() {
    let (mut world, ann, ben) = pair(0);
    world.befriend(ben, ann.number);
    assert_eq!(friends_of(&world, ben), [ann.number]);
    assert_eq!(friends_of(&world, ann), []);
    world.befriend(ann, ben.number);
    assert_eq!(friends_of(&world, ann), [ben.number]);
}

#[test]
fn one_who_wants_to_be_asked_is_sent_the_reason_and_nobody_is_added_yet() {
    let (mut world, ann, ben) = pair(1);
    let events = world.events();
    world.does(ben, ask(ann, b"we met\r\nin\tHarbin"));
    let told = system_text(SystemKind::Asks, ben, b"we met\r\nin\tHarbin");
    assert_eq!(world.take(ann.at), [told]);
    assert_eq!(world.event_names(events)[..1], ["friend-requested"]);
    assert_eq!(friends_of(&world, ben), []);
}

#[test]
fn adding_one_who_wants_to_be_asked_asks_with_an_empty_reason() {
    let (mut world, ann, ben) = pair(1);
    world.does(ben, add(ann));
    assert_eq!(world.take(ann.at), [system(SystemKind::Asks, ben)]);
}

#[test]
fn one_whom_nobody_may_add_learns_nothing_and_the_asker_is_refused() {
    for request in [add as fn(User) -> Request<'static>, |friend| ask(friend, b"a reason")] {
        let (mut world, ann, ben) = pair(2);
        let to_ben = world.asks(ben, request(ann));
        assert_eq!(to_ben, [system(SystemKind::Refused, ann)]);
        assert_eq!(world.take(ann.at), []);
        assert_eq!(friends_of(&world, ben), []);
        world.refused(ann, answer(ben, 1), Code::NoRequest);
    }
}

#[test]
fn system_messages_to_users_carry_sign_1_their_kind_and_the_number() {
    let (mut world, ann, ben) = pair(1);
    world.does(ben, ask(ann, b"me"));
    let asks = world.take(ann.at);
    assert_eq!(asks[0].packet_type, 0x03);
    assert_eq!(asks[0].content, [1, 0, 0, 0x27, 0x12, 0, 2, b'm', b'e', 2]);
    world.does(ann, answer(ben, 1));
    let agreed = world.take(ben.at);
    assert_eq!(agreed[0].content, [1, 0, 0, 0x27, 0x11, 0, 0, 3]);
}

#[test]
fn all_four_kinds_wait_for_the_next_login() {
    let (mut world, ann, ben) = pair(0);
    let (cay, dan) = (world.user_who(b"cay", 1), world.user_who(b"dan", 1));
    world.does(ann, authenticate(1));
    world.does(ann, add(cay));
    world.does(ann, add(dan));
    world.leaves(ann);
    world.does(ben, ask(ann, b"please"));
    world.does(cay, answer(ann, 1));
    world.does(dan, answer(ann, 0));
    let (ann, mail) = world.session_and_mail(ann.number);
    let waited = [
        system_text(SystemKind::Asks, ben, b"please"),
        system(SystemKind::Agreed, cay),
        system(SystemKind::Refused, dan),
    ];
    assert_eq!(mail, waited);
    world.does(ann, authenticate(0));
    world.leaves(ann);
    world.befriend(dan, ann.number);
    let (_, mail) = world.session_and_mail(ann.number);
    assert_eq!(mail, [system(SystemKind::Added, dan)]);
}

// What is refused

#[test]
fn nobody_adds_an_unknown_number_or_itself_or_a_friend_again() {
    let (mut world, ann, ben) = pair(0);
    let nobody = User { number: NOBODY, ..ann };
    world.befriend(ben, ann.number);
    for request in [add as fn(User) -> Request<'static>, |friend| ask(friend, b"a reason")] {
        world.refused(ben, request(nobody), Code::UnknownNumber);
        let sentence = world.refused(ben, request(ben), Code::BadValue);
        assert!(sentence.contains("friend"), "{sentence}");
        world.refused(ben, request(ann), Code::AlreadyFriend);
    }
    for authentication in [1, 2] {
        world.does(ann, authenticate(authentication));
        world.refused(ben, add(ann), Code::AlreadyFriend);
    }
    assert_eq!(world.take(ann.at), []);
}

#[test]
fn a_reason_has_up_to_255_bytes_of_text() {
    let letters = [b'a'; 256];
    for authentication in [0, 1] {
        let (mut world, ann, ben) = pair(authentication);
        for reason in [&letters[..], b"a\0", b"a\x7F", b"a\xFF"] {
            let sentence = world.refused(ben, ask(ann, reason), Code::BadValue);
            assert!(sentence.contains("reason"), "{sentence}");
        }
        assert_eq!(world.take(ann.at), []);
    }
    let (mut world, ann, ben) = pair(1);
    for reason in [&letters[..0], &letters[..255]] {
        world.does(ben, ask(ann, reason));
        assert_eq!(world.take(ann.at), [system_text(SystemKind::Asks, ben, reason)]);
    }
}

#[test]
fn an_answer_is_0_or_1() {
    let (mut world, ann, ben) = pair(1);
    world.does(ben, add(ann));
    for consent in [2, 255] {
        let sentence = world.refused(ann, answer(ben, consent), Code::BadValue);
        assert!(sentence.contains("consent"), "{sentence}");
    }
    world.does(ann, answer(ben, 1));
}

#[test]
fn nobody_answers_one_who_does_not_wait() {
    let (mut world, ann, ben) = pair(1);
    world.does(ben, add(ann));
    for consent in [0, 1] {
        world.refused(ben, answer(ann, consent), Code::NoRequest);
        world.refused(ann, answer(User { number: NOBODY, ..ben }, consent), Code::NoRequest);
        world.refused(ann, answer(ann, consent), Code::NoRequest);
    }
}

// Answers

#[test]
fn agreeing_adds_the_friend_to_the_askers_group_1_and_tells_the_asker() {
    let (mut world, ann, ben) = pair(1);
    world.does(ben, add(ann));
    world.does(ann, answer(ben, 1));
    assert_eq!(world.take(ben.at), [system(SystemKind::Agreed, ann)]);
    assert_eq!(friends_of(&world, ann), []);
    let list = world.friend_list(ben.number);
    assert_eq!(list, [(GroupNumber(1), vec![(ann.number, Presence::Online)])]);
}

#[test]
fn rejecting_adds_nobody_and_tells_the_asker() {
    let (mut world, ann, ben) = pair(1);
    world.does(ben, add(ann));
    world.does(ann, answer(ben, 0));
    assert_eq!(world.take(ben.at), [system(SystemKind::Refused, ann)]);
    assert_eq!(friends_of(&world, ben), []);
}

#[test]
fn an_answered_request_is_over() {
    for consent in [0, 1] {
        let (mut world, ann, ben) = pair(1);
        world.does(ben, add(ann));
        world.does(ann, answer(ben, consent));
        world.refused(ann, answer(ben, 0), Code::NoRequest);
        world.refused(ann, answer(ben, 1), Code::NoRequest);
    }
}

#[test]
fn one_who_was_rejected_may_ask_again() {
    let (mut world, ann, ben) = pair(1);
    for _ in 0..2 {
        world.does(ben, ask(ann, b"again"));
        assert_eq!(world.take(ann.at), [system_text(SystemKind::Asks, ben, b"again")]);
        world.does(ann, answer(ben, 0));
        assert_eq!(world.take(ben.at), [system(SystemKind::Refused, ann)]);
    }
}

#[test]
fn a_request_waits_through_the_ends_of_sessions_and_restarts() {
    let (mut world, ann, ben) = pair(1);
    world.does(ben, add(ann));
    world.leaves(ann);
    world.leaves(ben);
    let mut world = world.restart();
    let ann = world.session(ann.number);
    world.does(ann, answer(ben, 1));
    let (ben, mail) = world.session_and_mail(ben.number);
    assert_eq!(mail, [system(SystemKind::Agreed, ann)]);
    assert_eq!(friends_of(&world, ben), [ann.number]);
}

#[test]
fn asking_again_sends_the_new_reason_anew() {
    let (mut world, ann, ben) = pair(1);
    for reason in [b"one", b"two"] {
        world.does(ben, ask(ann, reason));
        assert_eq!(world.take(ann.at), [system_text(SystemKind::Asks, ben, reason)]);
    }
    world.does(ann, answer(ben, 1));
    world.refused(ann, answer(ben, 1), Code::NoRequest);
}

#[test]
fn two_may_ask_each_other_and_each_answers_on_its_own() {
    let mut world = World::new();
    let (ann, ben) = (world.user_who(b"ann", 1), world.user_who(b"ben", 1));
    world.does(ann, add(ben));
    world.does(ben, add(ann));
    world.does(ann, answer(ben, 1));
    assert_eq!((friends_of(&world, ann), friends_of(&world, ben)), (vec![], vec![ann.number]));
    world.does(ben, answer(ann, 0));
    assert_eq!(friends_of(&world, ann), []);
}

// Requests that wait

#[test]
fn up_to_255_requests_wait_and_asking_again_takes_no_further_place() {
    let mut world = World::new();
    let ann = world.user_who(b"ann", 1);
    let askers: Vec<_> = (0..255).map(|_| world.user(b"asker")).collect();
    for &asker in &askers {
        world.does(asker, add(ann));
    }
    world.does(askers[7], ask(ann, b"again"));
    let late = world.user(b"late");
    let sentence = world.refused(late, add(ann), Code::Limit);
    assert!(sentence.contains("request") && sentence.contains("255"), "{sentence}");
    world.does(ann, answer(askers[9], 0));
    world.does(late, add(ann));
}

#[test]
fn a_change_of_authentication_leaves_requests_waiting() {
    for authentication in [0, 2] {
        let (mut world, ann, ben) = pair(1);
        world.does(ben, add(ann));
        world.does(ann, authenticate(authentication));
        world.does(ann, answer(ben, 1));
        assert_eq!(friends_of(&world, ben), [ann.number]);
    }
}

#[test]
fn a_request_ends_when_the_friend_is_added_otherwise() {
    let (mut world, ann, ben) = pair(1);
    world.does(ben, add(ann));
    world.does(ann, authenticate(0));
    world.befriend(ben, ann.number);
    world.refused(ann, answer(ben, 1), Code::NoRequest);
    // Nor does it come back.
    world.does(ben, delete(ann));
    world.refused(ann, answer(ben, 1), Code::NoRequest);
}

#[test]
fn a_refusal_by_authentication_2_leaves_an_earlier_request_waiting() {
    let (mut world, ann, ben) = pair(1);
    world.does(ben, add(ann));
    world.does(ann, authenticate(2));
    world.take(ann.at);
    assert_eq!(world.asks(ben, add(ann)), [system(SystemKind::Refused, ann)]);
    assert_eq!(world.take(ann.at), []);
    world.does(ann, answer(ben, 1));
    assert_eq!(world.take(ben.at), [system(SystemKind::Agreed, ann)]);
}

// A full group 1

#[test]
fn adding_is_refused_where_the_askers_group_1_is_full_and_nobody_is_told() {
    let (mut world, ann, ben) = pair(0);
    let crowd = fill_group_1(&mut world, ben);
    let sentence = world.refused(ben, add(ann), Code::Limit);
    assert!(sentence.contains("group 1") && sentence.contains("255"), "{sentence}");
    assert_eq!(world.take(ann.at), []);
    world.does(ben, delete(User { number: crowd[3], ..ben }));
    world.befriend(ben, ann.number);
}

#[test]
fn room_in_group_1_does_not_matter_when_one_asks() {
    let (mut world, ann, ben) = pair(1);
    let cay = world.user_who(b"cay", 2);
    fill_group_1(&mut world, ben);
    world.does(ben, add(ann));
    assert_eq!(world.take(ann.at), [system(SystemKind::Asks, ben)]);
    assert_eq!(world.asks(ben, add(cay)), [system(SystemKind::Refused, cay)]);
}

#[test]
fn agreeing_is_refused_while_the_askers_group_1_is_full_and_the_request_goes_on_waiting() {
    let (mut world, ann, ben) = pair(1);
    world.does(ben, add(ann));
    let crowd = fill_group_1(&mut world, ben);
    let sentence = world.refused(ann, answer(ben, 1), Code::Limit);
    assert!(sentence.contains("255"), "{sentence}");
    assert_eq!(world.take(ben.at), []);
    let away = world.group(ben, b"away");
    world.moved(ben, &[(crowd[0], away)]);
    world.does(ann, answer(ben, 1));
    assert_eq!(world.take(ben.at), [system(SystemKind::Agreed, ann)]);
}

#[test]
fn rejecting_needs_no_room() {
    let (mut world, ann, ben) = pair(1);
    world.does(ben, add(ann));
    fill_group_1(&mut world, ben);
    world.does(ann, answer(ben, 0));
    assert_eq!(world.take(ben.at), [system(SystemKind::Refused, ann)]);
}

// 0x0E

#[test]
fn deleting_a_friend_is_silent_and_changes_ones_own_list_alone() {
    let mut world = World::new();
    let (ann, ben) = world.friends();
    world.settle();
    let events = world.events();
    world.does(ann, delete(ben));
    assert_eq!(world.event_names(events), ["friend-deleted"]);
    assert_eq!(friends_of(&world, ann), []);
    assert_eq!(friends_of(&world, ben), [ann.number]);
    assert_eq!(world.take(ben.at), []);
}

#[test]
fn a_friend_is_deleted_from_any_group() {
    let mut world = World::new();
    let (ann, ben) = world.friends();
    let work = world.group(ann, b"work");
    world.moved(ann, &[(ben.number, work)]);
    world.does(ann, delete(ben));
    assert_eq!(world.friend_list(ann.number), [(GroupNumber(1), vec![]), (work, vec![])]);
}

#[test]
fn one_who_is_no_friend_cannot_be_deleted() {
    let (mut world, ann, ben) = pair(0);
    world.befriend(ben, ann.number);
    world.refused(ann, delete(ben), Code::UnknownFriend);
    world.refused(ann, delete(ann), Code::UnknownFriend);
    world.does(ben, delete(ann));
    world.refused(ben, delete(ann), Code::UnknownFriend);
}

#[test]
fn a_deleted_friend_can_be_added_again_and_comes_to_group_1() {
    let mut world = World::new();
    let (ann, ben) = world.friends();
    let work = world.group(ann, b"work");
    world.moved(ann, &[(ben.number, work)]);
    world.does(ann, delete(ben));
    world.befriend(ann, ben.number);
    let expected = [(GroupNumber(1), vec![(ben.number, Presence::Online)]), (work, vec![])];
    assert_eq!(world.friend_list(ann.number), expected);
}
