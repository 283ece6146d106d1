//! Groups of the friend list and moving friends between them: `0x06` to `0x09`.

use oicq::codec::packed::Moves;
use oicq::id::{GroupNumber, ServiceNumber};
use oicq::wire::server::Presence;
use oicq::wire::{Code, Request, ServerPacket};

use crate::kit::people::{NOBODY, User, got};
use crate::kit::{Got, World};

const FIRST: GroupNumber = GroupNumber(1);

fn add(name: &[u8]) -> Request<'_> {
    Request::AddGroup { name }
}

fn rename(group: u8, name: &[u8]) -> Request<'_> {
    Request::RenameGroup { group: GroupNumber(group), name }
}

fn delete(group: u8) -> Request<'static> {
    Request::DeleteGroup { group: GroupNumber(group) }
}

fn added(group: u8, name: &[u8]) -> Got {
    got(&ServerPacket::GroupAdded { success: true, group: GroupNumber(group), name })
}

fn deleted(group: u8) -> Got {
    got(&ServerPacket::GroupDeleted { success: true, group: GroupNumber(group) })
}

/// The numbers in each group, as the owner's next login shows them.
fn list(world: &mut World, owner: User) -> Vec<(u8, Vec<ServiceNumber>)> {
    let list = world.friend_list(owner.number);
    let numbers =
        |friends: Vec<(ServiceNumber, Presence)>| friends.into_iter().map(|shown| shown.0);
    list.into_iter().map(|(group, friends)| (group.0, numbers(friends).collect())).collect()
}

/// Ann with so many friends in group 1, who are out of session.
fn with_friends(size: usize) -> (World, User, Vec<ServiceNumber>) {
    let mut world = World::new();
    let ann = world.user(b"ann");
    let crowd = world.crowd(size);
    for &friend in &crowd {
        world.befriend(ann, friend);
    }
    (world, ann, crowd)
}

/// Ann with 255 friends in group 2 and so many in group 1.
fn with_full_group_2(in_group_1: usize) -> (World, User, Vec<ServiceNumber>) {
    let (mut world, ann, mut crowd) = with_friends(255);
    let full = world.group(ann, b"full");
    let moves: Vec<_> = crowd.iter().map(|&friend| (friend, full)).collect();
    world.moved(ann, &moves);
    for friend in world.crowd(in_group_1) {
        world.befriend(ann, friend);
        crowd.push(friend);
    }
    (world, ann, crowd)
}

#[track_caller]
fn not_moved(world: &mut World, owner: User, moves: &[(ServiceNumber, GroupNumber)], code: Code) {
    let packed = Moves::pack(moves.iter().copied());
    world.refused(owner, Request::MoveFriends(Moves::over(&packed).unwrap()), code);
}

#[test]
fn a_new_group_gets_the_smallest_free_number_from_2_on() {
    let mut world = World::new();
    let ann = world.user(b"ann");
    assert_eq!(world.asks(ann, add(b"a")), [added(2, b"a")]);
    assert_eq!(world.asks(ann, add(b"b")), [added(3, b"b")]);
    assert_eq!(world.asks(ann, add(b"c")), [added(4, b"c")]);
    assert_eq!(world.asks(ann, delete(3)), [deleted(3)]);
    assert_eq!(world.asks(ann, delete(2)), [deleted(2)]);
    assert_eq!(world.asks(ann, add(b"d")), [added(2, b"d")]);
    assert_eq!(world.asks(ann, add(b"e")), [added(3, b"e")]);
    assert_eq!(world.asks(ann, add(b"f")), [added(5, b"f")]);
}

#[test]
fn numbers_go_up_to_255_and_then_the_list_is_full() {
    let mut world = World::new();
    let ann = world.user(b"ann");
    for number in 2..=255 {
        assert_eq!(world.asks(ann, add(b"a")), [added(number, b"a")]);
    }
    let sentence = world.refused(ann, add(b"one too many"), Code::Limit);
    assert!(sentence.contains("group") && sentence.contains("255"), "{sentence}");
    world.asks(ann, delete(77));
    assert_eq!(world.asks(ann, add(b"again")), [added(77, b"again")]);
    assert_eq!(list(&mut world, ann).len(), 255);
}

#[test]
fn each_user_has_groups_of_its_own() {
    let mut world = World::new();
    let (ann, ben) = (world.user(b"ann"), world.user(b"ben"));
    world.group(ann, b"a");
    world.refused(ben, delete(2), Code::UnknownGroup);
    assert_eq!(world.asks(ben, add(b"b")), [added(2, b"b")]);
}

#[test]
fn names_have_1_to_64_bytes_of_one_line() {
    let mut world = World::new();
    let ann = world.user(b"ann");
    let letters = [b'a'; 65];
    for length in [1, 64] {
        assert_eq!(world.asks(ann, add(&letters[..length])).len(), 1);
        let renamed = ServerPacket::GroupRenamed {
            success: true,
            group: GroupNumber(2),
            name: &letters[..length],
        };
        assert_eq!(world.asks(ann, rename(2, &letters[..length])), [got(&renamed)]);
    }
    for name in [&letters[..0], &letters[..], b"a\0", b"a\tb", b"a\n", b"a\x7F", b"a\xFF"] {
        for request in [add(name), rename(2, name)] {
            let sentence = world.refused(ann, request, Code::BadValue);
            assert!(sentence.contains("name"), "{sentence}");
        }
    }
}

#[test]
fn a_group_is_renamed_the_first_too() {
    let mut world = World::new();
    let ann = world.user(b"ann");
    world.group(ann, b"work");
    for (group, name) in [(1, &b"all"[..]), (2, b"play")] {
        let group_number = GroupNumber(group);
        let renamed = ServerPacket::GroupRenamed { success: true, group: group_number, name };
        assert_eq!(world.asks(ann, rename(group, name)), [got(&renamed)]);
    }
    let groups = world.engine.state().user(ann.number).unwrap().groups().to_vec();
    assert_eq!((&groups[0].name[..], &groups[1].name[..]), (&b"all"[..], &b"play"[..]));
}

#[test]
fn unknown_groups_are_neither_renamed_nor_deleted() {
    let mut world = World::new();
    let ann = world.user(b"ann");
    for group in [0, 2, 255] {
        world.refused(ann, rename(group, b"new"), Code::UnknownGroup);
        world.refused(ann, delete(group), Code::UnknownGroup);
    }
}

#[test]
fn group_1_cannot_be_deleted() {
    let mut world = World::new();
    let ann = world.user(b"ann");
    world.refused(ann, delete(1), Code::NotAllowed);
}

#[test]
fn deleting_a_group_moves_its_friends_to_group_1() {
    let (mut world, ann, crowd) = with_friends(3);
    let (work, play) = (world.group(ann, b"work"), world.group(ann, b"play"));
    world.moved(ann, &[(crowd[0], work), (crowd[2], work), (crowd[1], play)]);
    assert_eq!(world.asks(ann, delete(work.0)), [deleted(work.0)]);
    let expected = [(1, vec![crowd[0], crowd[2]]), (play.0, vec![crowd[1]])];
    assert_eq!(list(&mut world, ann), expected);
}

#[test]
fn deleting_a_group_is_refused_where_group_1_has_no_room_for_its_friends() {
    let (mut world, ann, crowd) = with_full_group_2(2);
    let sentence = world.refused(ann, delete(2), Code::Limit);
    assert!(sentence.contains("group 1") && sentence.contains("255"), "{sentence}");
    for friend in &crowd[255..] {
        world.does(ann, Request::DeleteFriend { friend: *friend });
    }
    assert_eq!(world.asks(ann, delete(2)), [deleted(2)]);
    assert_eq!(list(&mut world, ann), [(1, crowd[..255].to_vec())]);
}

#[test]
fn friends_are_moved_between_groups() {
    let (mut world, ann, crowd) = with_friends(3);
    let work = world.group(ann, b"work");
    world.moved(ann, &[(crowd[2], work), (crowd[0], work)]);
    assert_eq!(list(&mut world, ann), [(1, vec![crowd[1]]), (2, vec![crowd[0], crowd[2]])]);
    let ann = world.session(ann.number);
    world.moved(ann, &[(crowd[2], FIRST), (crowd[0], work)]);
    assert_eq!(list(&mut world, ann), [(1, vec![crowd[1], crowd[2]]), (2, vec![crowd[0]])]);
}

#[test]
fn moving_nobody_succeeds() {
    let (mut world, ann, _) = with_friends(1);
    world.moved(ann, &[]);
}

#[test]
fn moving_is_all_or_nothing() {
    let (mut world, ann, crowd) = with_friends(2);
    let work = world.group(ann, b"work");
    let ben = world.user(b"ben");
    let good = (crowd[0], work);
    for stranger in [NOBODY, ben.number, ann.number, ServiceNumber(0)] {
        not_moved(&mut world, ann, &[good, (stranger, work)], Code::UnknownFriend);
    }
    for group in [0, 3, 255] {
        let wrong = (crowd[1], GroupNumber(group));
        not_moved(&mut world, ann, &[good, wrong], Code::UnknownGroup);
        not_moved(&mut world, ann, &[wrong, good], Code::UnknownGroup);
    }
    assert_eq!(list(&mut world, ann), [(1, crowd), (2, vec![])]);
}

#[test]
fn of_a_friend_who_is_named_twice_the_last_counts() {
    let (mut world, ann, crowd) = with_friends(1);
    let (work, play) = (world.group(ann, b"work"), world.group(ann, b"play"));
    world.moved(ann, &[(crowd[0], play), (crowd[0], FIRST), (crowd[0], work)]);
    assert_eq!(list(&mut world, ann), [(1, vec![]), (2, crowd), (3, vec![])]);
}

#[test]
fn a_group_holds_255_friends() {
    let (mut world, ann, crowd) = with_full_group_2(1);
    let full = GroupNumber(2);
    let packed = Moves::pack([(crowd[255], full)]);
    let request = Request::MoveFriends(Moves::over(&packed).unwrap());
    let sentence = world.refused(ann, request, Code::Limit);
    assert!(sentence.contains("group 2") && sentence.contains("255"), "{sentence}");
    let counts: Vec<_> = list(&mut world, ann).iter().map(|(_, friends)| friends.len()).collect();
    assert_eq!(counts, [1, 255]);
}

#[test]
fn the_limit_of_a_group_is_that_of_the_end_state() {
    let (mut world, ann, crowd) = with_full_group_2(1);
    let full = GroupNumber(2);
    // In before out: in between there would be 256.
    world.moved(ann, &[(crowd[255], full), (crowd[0], FIRST)]);
    // In and out again, past a full group.
    world.moved(ann, &[(crowd[0], full), (crowd[0], FIRST)]);
    // Out and in again, so that the end is too much.
    let wrong = [(crowd[1], FIRST), (crowd[0], full), (crowd[1], full)];
    not_moved(&mut world, ann, &wrong, Code::Limit);
    // Those who are in it already count once.
    world.moved(ann, &[(crowd[1], full), (crowd[2], full)]);
    let mut expected = crowd[1..].to_vec();
    expected.sort_unstable();
    assert_eq!(list(&mut world, ann), [(1, vec![crowd[0]]), (2, expected)]);
}

#[test]
fn each_change_of_groups_is_one_event() {
    let (mut world, ann, crowd) = with_friends(2);
    world.settle();
    let events = world.events();
    let work = world.group(ann, b"work");
    world.asks(ann, rename(work.0, b"job"));
    world.moved(ann, &[(crowd[0], work), (crowd[1], work)]);
    world.asks(ann, delete(work.0));
    let expected = ["group-added", "group-renamed", "friends-moved", "group-deleted"];
    assert_eq!(world.event_names(events), expected);
}
