//! Files that pass through the server: `0x13` to `0x15`.

use std::collections::BTreeMap;

use oicq::codec::charset::Charset;
use oicq::engine::Settings;
use oicq::id::ServiceNumber;
use oicq::wire::{Code, Kind, Request, ServerPacket, cut};

use crate::kit::people::{NOBODY, User, account, bytes_of, got};
use crate::kit::{Got, World};

fn offer(friend: User, name: &[u8], length: u32) -> Request<'_> {
    Request::OfferFile { friend: friend.number, name, length }
}

fn allow(sender: User) -> Request<'static> {
    Request::AnswerFile { friend: sender.number, allow: 1 }
}

fn reject(other: User) -> Request<'static> {
    Request::AnswerFile { friend: other.number, allow: 0 }
}

fn piece(receiver: User, data: &[u8]) -> Request<'_> {
    Request::FilePiece { friend: receiver.number, data }
}

fn offered(sender: User, name: &[u8], length: u32) -> Got {
    got(&ServerPacket::FileOffered { sender: sender.number, name, length })
}

fn answered(receiver: User, allow: bool) -> Got {
    got(&ServerPacket::FileAnswered { receiver: receiver.number, allow })
}

fn passed(sender: User, data: &[u8]) -> Got {
    got(&ServerPacket::FilePiece { sender: sender.number, data })
}

/// Ann has offered ben a file of this length.
fn offering(length: u32) -> (World, User, User) {
    let mut world = World::new();
    let (ann, ben) = world.friends();
    world.does(ann, offer(ben, b"a.txt", length));
    world.take(ben.at);
    (world, ann, ben)
}

/// Ann sends ben a file of this length.
fn flowing(length: u32) -> (World, User, User) {
    let (mut world, ann, ben) = offering(length);
    world.does(ben, allow(ann));
    world.take(ann.at);
    (world, ann, ben)
}

/// Nothing flows from one to the other, and an offer could be made anew.
#[track_caller]
fn no_transfer(world: &mut World, sender: User, receiver: User) {
    // An empty piece: of a transfer that flows it would be passed on, and not end it.
    world.refused(sender, piece(receiver, b""), Code::NoTransfer);
    world.refused(receiver, allow(sender), Code::NoTransfer);
    world.refused(receiver, reject(sender), Code::NoTransfer);
    world.refused(sender, reject(receiver), Code::NoTransfer);
}

#[test]
fn a_file_goes_from_offer_over_consent_and_pieces_to_its_end() {
    let mut world = World::new();
    let (ann, ben) = world.friends();
    world.settle();
    let (digest, events) = (world.digest(), world.events());

    world.does(ann, offer(ben, b"a.txt", 5));
    assert_eq!(world.take(ben.at), [offered(ann, b"a.txt", 5)]);
    world.does(ben, allow(ann));
    assert_eq!(world.take(ann.at), [answered(ben, true)]);
    for data in [&b"one"[..], b"", b"\0\xFF"] {
        world.does(ann, piece(ben, data));
        assert_eq!(world.take(ben.at), [passed(ann, data)]);
    }

    no_transfer(&mut world, ann, ben);
    assert_eq!((world.digest(), world.events()), (digest, events), "the server keeps no file");
}

#[test]
fn the_packets_carry_the_senders_number_in_place_of_the_two() {
    let (mut world, ann, ben) = offering(5);
    world.does(ben, allow(ann));
    assert_eq!(world.take(ann.at)[0].content, [0, 0, 0x27, 0x12, 1]);
    world.does(ann, piece(ben, b"xyz"));
    assert_eq!(world.take(ben.at)[0].content, [0, 0, 0x27, 0x11, b'x', b'y', b'z']);
}

#[test]
fn a_file_may_have_the_largest_length() {
    let mut world = World::new();
    let (ann, ben) = world.friends();
    world.does(ann, offer(ben, b"a", u32::MAX));
    assert_eq!(world.take(ben.at), [offered(ann, b"a", u32::MAX)]);
    world.does(ben, allow(ann));
    world.does(ann, piece(ben, &[0; 65_528]));
    assert_eq!(world.take(ben.at), [passed(ann, &[0; 65_528])]);
}

// Offers

#[test]
fn file_names_have_1_to_255_bytes_of_one_line_without_path_parts() {
    let letters = [b'a'; 256];
    let mut world = World::new();
    let (ann, ben) = world.friends();
    let names = [&letters[..1], &letters[..255], b"...", b"..a", b".a", b"a b", b"\xE4\xB8\xAD"];
    for name in names {
        world.does(ann, offer(ben, name, 1));
        assert_eq!(world.take(ben.at), [offered(ann, name, 1)]);
        world.does(ann, reject(ben));
        world.take(ben.at);
    }
    let wrong = [
        &letters[..0],
        &letters[..],
        b"a/b",
        b"a\\b",
        b"/",
        b"\\",
        b"a\0",
        b"a\tb",
        b"a\nb",
        b"a\x7F",
        b".",
        b"..",
        b"a\xFF",
    ];
    for name in wrong {
        let sentence = world.refused(ann, offer(ben, name, 1), Code::BadValue);
        assert!(sentence.contains("name"), "{sentence}");
        assert_eq!(world.take(ben.at), []);
    }
}

#[test]
fn in_gb18030_a_backslash_byte_within_a_character_is_no_path_part() {
    let settings = Settings { charset: Charset::Gb18030, ..Settings::default() };
    let mut world = World::with(settings);
    let (ann, ben) = world.friends();
    world.does(ann, offer(ben, b"\x81\x5C.txt", 1));
    assert_eq!(world.take(ben.at), [offered(ann, b"\x81\x5C.txt", 1)]);
    world.refused(ann, offer(ben, b"\xD6\xD0\\a", 1), Code::BadValue);
}

#[test]
fn files_go_to_friends_of_ones_own_list_alone() {
    let mut world = World::new();
    let (ann, ben) = (world.user(b"ann"), world.user(b"ben"));
    world.befriend(ben, ann.number);
    world.refused(ann, offer(ben, b"a.txt", 1), Code::UnknownFriend);
    world.does(ben, offer(ann, b"a.txt", 1));
    assert_eq!(world.take(ann.at), [offered(ben, b"a.txt", 1)]);
    world.does(ann, allow(ben));
    assert_eq!(world.take(ben.at), [answered(ann, true)]);
}

#[test]
fn a_friend_must_be_visibly_online_to_be_offered_a_file() {
    let mut world = World::new();
    let (ann, ben) = world.friends();
    for mode in [2, 4] {
        world.does(ben, Request::SetMode { mode });
        world.refused(ann, offer(ben, b"a.txt", 1), Code::NotOnline);
        assert_eq!(world.take(ben.at), []);
    }
    world.leaves(ben);
    world.refused(ann, offer(ben, b"a.txt", 1), Code::NotOnline);
}

#[test]
fn one_who_does_not_want_to_be_disturbed_is_visibly_online() {
    let mut world = World::new();
    let (ann, ben) = world.friends();
    world.does(ben, Request::SetMode { mode: 3 });
    world.does(ann, offer(ben, b"a.txt", 1));
    assert_eq!(world.take(ben.at), [offered(ann, b"a.txt", 1)]);
}

#[test]
fn one_who_is_hidden_may_offer_and_take_part_in_transfers() {
    let mut world = World::new();
    let (ann, ben) = world.friends();
    world.does(ann, Request::SetMode { mode: 2 });
    world.does(ann, offer(ben, b"a.txt", 1));
    assert_eq!(world.take(ben.at), [offered(ann, b"a.txt", 1)]);
    world.does(ben, allow(ann));
    assert_eq!(world.take(ann.at), [answered(ben, true)]);
}

#[test]
fn a_service_program_takes_files_from_anyone() {
    let services = BTreeMap::from([(Kind::Print, ServiceNumber(10_001))]);
    let mut world = World::with(Settings { services, ..Settings::default() });
    let printer = world.registered(account(b"printer"));
    let ann = world.user(b"ann");
    let printer = User { number: printer, at: world.connect() };
    world.refused(ann, offer(printer, b"a.txt", 1), Code::NotOnline);
    world.set_kind(printer.at, Kind::Print);
    world.log_in(printer.at, printer.number, 0);
    world.does(ann, offer(printer, b"a.txt", 1));
    let got = world.take(printer.at);
    assert_eq!((got[0].receiver, &got[0].content), (0x04, &offered(ann, b"a.txt", 1).content));
    world.does(printer, allow(ann));
    world.take(ann.at);
    world.does(ann, piece(printer, b"x"));
    assert_eq!(world.take(printer.at)[0].content, passed(ann, b"x").content);
}

#[test]
fn one_transfer_at_a_time_goes_between_two_users_in_one_direction() {
    let (mut world, ann, ben) = offering(5);
    world.refused(ann, offer(ben, b"b.txt", 1), Code::Limit);
    assert_eq!(world.take(ben.at), []);
    world.does(ben, allow(ann));
    world.take(ann.at);
    world.refused(ann, offer(ben, b"b.txt", 1), Code::Limit);
    world.does(ann, piece(ben, b"12345"));
    world.take(ben.at);
    world.does(ann, offer(ben, b"b.txt", 1));
}

#[test]
fn transfers_to_others_and_in_the_other_direction_go_on_side_by_side() {
    let (mut world, ann, ben) = flowing(5);
    let cay = world.user(b"cay");
    world.befriend(ann, cay.number);
    world.does(ann, offer(cay, b"c.txt", 1));
    world.take(cay.at);
    world.does(ben, offer(ann, b"b.txt", 2));
    assert_eq!(world.take(ann.at), [offered(ben, b"b.txt", 2)]);
    world.does(ann, allow(ben));
    assert_eq!(world.take(ben.at), [answered(ann, true)]);
    world.does(ann, piece(ben, b"123"));
    world.does(ben, piece(ann, b"xy"));
    assert_eq!(world.take(ann.at), [passed(ben, b"xy")]);
    world.refused(ben, piece(ann, b"z"), Code::NoTransfer);
    world.does(ann, piece(ben, b"45"));
}

// Answers

#[test]
fn nothing_flows_before_the_offer_is_allowed() {
    let (mut world, ann, ben) = offering(5);
    world.refused(ann, piece(ben, b"x"), Code::NoTransfer);
    world.refused(ann, piece(ben, b""), Code::NoTransfer);
    assert_eq!(world.take(ben.at), []);
    // The offer still stands.
    world.does(ben, allow(ann));
    assert_eq!(world.take(ann.at), [answered(ben, true)]);
}

#[test]
fn the_sender_cannot_allow_its_own_offer() {
    let (mut world, ann, ben) = offering(5);
    world.refused(ann, allow(ben), Code::NoTransfer);
    world.refused(ann, piece(ben, b"x"), Code::NoTransfer);
}

#[test]
fn an_offer_is_allowed_once() {
    let (mut world, ann, ben) = flowing(5);
    world.refused(ben, allow(ann), Code::NoTransfer);
    assert_eq!(world.take(ann.at), []);
    world.does(ann, piece(ben, b"12345"));
}

#[test]
fn an_answer_is_0_or_1() {
    let (mut world, ann, ben) = offering(5);
    for wrong in [2, 255] {
        let request = Request::AnswerFile { friend: ann.number, allow: wrong };
        let sentence = world.refused(ben, request, Code::BadValue);
        assert!(sentence.contains("allow"), "{sentence}");
    }
    world.does(ben, allow(ann));
}

#[test]
fn where_nothing_was_offered_there_is_no_transfer() {
    let mut world = World::new();
    let (ann, ben) = world.friends();
    no_transfer(&mut world, ann, ben);
    world.refused(ann, allow(User { number: NOBODY, ..ann }), Code::NoTransfer);
}

#[test]
fn a_rejection_ends_the_offer() {
    let (mut world, ann, ben) = offering(5);
    world.does(ben, reject(ann));
    assert_eq!(world.take(ann.at), [answered(ben, false)]);
    no_transfer(&mut world, ann, ben);
}

#[test]
fn a_rejection_ends_a_transfer_that_flows() {
    let (mut world, ann, ben) = flowing(5);
    world.does(ann, piece(ben, b"12"));
    world.take(ben.at);
    world.does(ben, reject(ann));
    assert_eq!(world.take(ann.at), [answered(ben, false)]);
    no_transfer(&mut world, ann, ben);
}

#[test]
fn the_sender_may_end_its_offer_and_its_transfer() {
    for (mut world, ann, ben) in [offering(5), flowing(5)] {
        world.does(ann, reject(ben));
        assert_eq!(world.take(ben.at), [answered(ann, false)]);
        no_transfer(&mut world, ann, ben);
    }
}

#[test]
fn an_empty_file_is_complete_when_it_is_allowed() {
    let (mut world, ann, ben) = offering(0);
    world.does(ben, allow(ann));
    assert_eq!(world.take(ann.at), [answered(ben, true)]);
    no_transfer(&mut world, ann, ben);
    assert_eq!(world.take(ben.at), []);
}

// Pieces

#[test]
fn a_piece_over_the_length_is_not_passed_on_and_ends_the_transfer() {
    let (mut world, ann, ben) = flowing(5);
    world.does(ann, piece(ben, b"123"));
    world.take(ben.at);
    world.refused(ann, piece(ben, b"456"), Code::NoTransfer);
    world.noticed(ben.at, 0x00, Code::NoTransfer);
    no_transfer(&mut world, ann, ben);
}

#[test]
fn only_the_sender_sends_pieces() {
    let (mut world, ann, ben) = flowing(5);
    world.refused(ben, piece(ann, b"x"), Code::NoTransfer);
    assert_eq!(world.take(ann.at), []);
    world.does(ann, piece(ben, b"12345"));
}

// Ends of sessions

/// A way in which a session ends.
type Ends = fn(&mut World, User);

const ENDS: &[(&str, Ends)] = &[
    ("reset", |world, user| world.leaves(user)),
    ("mode 4", |world, user| world.does(user, Request::SetMode { mode: 4 })),
    ("elsewhere", |world, user| _ = world.session(user.number)),
    ("violation", |world, user| world.send_bytes(user.at, &[0x80])),
];

#[test]
fn the_end_of_either_session_ends_offers_and_transfers_and_the_other_side_is_told() {
    for &(how, end) in ENDS {
        for begin in [offering, flowing] {
            for sender_ends in [true, false] {
                let (mut world, ann, ben) = begin(5);
                let (ends, stays) = if sender_ends { (ann, ben) } else { (ben, ann) };
                end(&mut world, ends);
                let sentence = world.noticed(stays.at, 0x00, Code::NoTransfer);
                assert!(sentence.contains(&ends.number.to_string()), "{how}: {sentence}");
                world.session(ends.number);
                world.refused(stays, piece(ends, b""), Code::NoTransfer);
                world.refused(stays, allow(ends), Code::NoTransfer);
                world.refused(stays, reject(ends), Code::NoTransfer);
            }
        }
    }
}

#[test]
fn the_end_of_a_session_tells_nobody_of_transfers_that_are_over() {
    for &(_, end) in ENDS {
        let (mut world, ann, ben) = flowing(3);
        world.does(ann, piece(ben, b"123"));
        world.take(ben.at);
        end(&mut world, ann);
        assert_eq!(world.take(ben.at), []);
    }
}

#[test]
fn the_end_of_a_session_leaves_the_transfers_of_others() {
    let (mut world, ann, ben) = flowing(3);
    let cay = world.user(b"cay");
    world.befriend(ann, cay.number);
    world.does(ann, offer(cay, b"c.txt", 1));
    world.leaves(cay);
    world.noticed(ann.at, 0x00, Code::NoTransfer);
    world.does(ann, piece(ben, b"123"));
    assert_eq!(world.take(ben.at), [passed(ann, b"123")]);
}

#[test]
fn who_is_slow_to_take_what_it_is_sent_learns_of_ended_transfers_once_it_does() {
    let (mut world, ann, ben) = flowing(3);
    let cay = world.user(b"cay");
    world.befriend(ben, cay.number);
    world.does(ben, offer(cay, b"c.txt", 1));
    world.journal.waiting = 1 << 20;
    world.leaves(cay);
    world.leaves(ann);
    assert_eq!(world.take(ben.at), []);
    assert!(world.engine.has_untold(ben.at) && world.engine.wants_room(ben.at));
    world.journal.waiting = 0;
    world.pass(1);
    let told = world.take(ben.at);
    let codes: Vec<_> = told.iter().map(|got| got.notice().expect("a notice")).collect();
    assert_eq!(codes.len(), 2, "one for each: {told:?}");
    for ((byte, code, sentence), other) in codes.iter().zip([ann, cay]) {
        assert_eq!((*byte, *code), (0x00, Code::NoTransfer));
        assert!(sentence.contains(&other.number.to_string()), "{sentence}");
    }
    assert!(!world.engine.wants_room(ben.at));
}

#[test]
fn the_packets_that_are_passed_on_at_once_are_known_before_they_are_handed_in() {
    let (mut world, ann, ben) = flowing(3);
    let stranger = world.user(b"cay");
    let passed_on = |world: &World, from: User, request: Request<'_>| {
        let bytes = bytes_of(Kind::User, from.number, request);
        let frame = cut(&bytes, world.engine.expected(from.at)).unwrap().unwrap();
        world.engine.passes_on_to(from.at, &frame)
    };
    assert_eq!(passed_on(&world, ann, piece(ben, b"1")), Some(ben.at));
    assert_eq!(passed_on(&world, ann, offer(ben, b"a.txt", 1)), Some(ben.at));
    assert_eq!(passed_on(&world, ann, reject(ben)), Some(ben.at));
    assert_eq!(passed_on(&world, ben, reject(ann)), Some(ann.at));
    let message = Request::Send { receiver: ben.number, content: b"hi" };
    assert_eq!(passed_on(&world, ann, message), None);
    assert_eq!(passed_on(&world, ben, piece(ann, b"1")), None, "nothing flows this way");
    assert_eq!(passed_on(&world, ann, offer(stranger, b"a.txt", 1)), None, "no friend");
    assert_eq!(passed_on(&world, ann, reject(stranger)), None, "nothing is rejected");
    world.does(ben, Request::SetMode { mode: 2 });
    assert_eq!(passed_on(&world, ann, offer(ben, b"a.txt", 1)), None, "ben hides");
    assert_eq!(passed_on(&world, ann, piece(ben, b"1")), Some(ben.at), "the file goes on");
}

#[test]
fn transfers_do_not_outlive_the_server() {
    let (world, ann, ben) = flowing(3);
    let mut world = world.restart();
    let (ann, ben) = (world.session(ann.number), world.session(ben.number));
    no_transfer(&mut world, ann, ben);
}

#[test]
fn nobody_offers_a_file_to_itself() {
    let mut world = World::new();
    let (ann, _) = world.friends();
    world.refused(ann, offer(ann, b"a.txt", 1), Code::UnknownFriend);
}
