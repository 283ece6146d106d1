//! Violations and refusals: which comes first, what is said, and that nothing changes. Section 3.

use oicq::codec::packed::Moves;
use oicq::codec::secret::Secret;
use oicq::id::{GroupNumber, ServiceNumber};
use oicq::wire::client::Account;
use oicq::wire::{Code, Kind, Request, RequestType, ServerPacket};

use crate::kit::people::{
    NOBODY, PASSWORD, User, account, bytes_of, full_profile, got, message, numbers, one_of_each,
    raw,
};
use crate::kit::{Got, World};

const BEN: ServiceNumber = ServiceNumber(10_002);

/// The types that any client may send. What the base protocol does not list is unknown without extensions.
const TYPES: &[u8] = &[
    0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, 0x09, 0x0A, 0x0B, 0x0C, 0x0D, 0x0E, 0x10, 0x11,
    0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x40,
];

/// The types that need no session.
const WITHOUT_SESSION: &[u8] = &[0x01, 0x02, 0x16, 0x40];

/// The types that a session refuses as soon as it sees them.
const REFUSED_IN_SESSION: &[u8] = &[0x01, 0x02, 0x40];

/// Requests of every type with a friend to move, so that every field is there.
fn requests(moves: &[u8]) -> Vec<(u8, Request<'_>)> {
    let requests = one_of_each(BEN, moves);
    requests.into_iter().map(|request| (request.packet_type() as u8, request)).collect()
}

fn moves() -> Vec<u8> {
    Moves::pack([(BEN, GroupNumber(1))])
}

/// The content of a packet.
fn content(own: ServiceNumber, request: Request<'_>) -> Vec<u8> {
    bytes_of(Kind::User, own, request).split_off(8)
}

/// Ann is in session as 10001, ben is registered as 10002.
fn with_session() -> (World, User) {
    let mut world = World::new();
    let ann = world.user(b"ann");
    world.registered(account(b"ben"));
    (world, ann)
}

/// A client without a session; 10001 and 10002 are registered.
fn without_session() -> (World, User) {
    let mut world = World::new();
    world.crowd(2);
    let stranger = world.stranger();
    (world, stranger)
}

// Types

#[test]
fn the_types_are_those_of_the_protocol() {
    let known: Vec<_> = RequestType::ALL.iter().map(|known| *known as u8).collect();
    // The last is known to connections with message ids alone.
    assert_eq!(known, [TYPES, &[0x42]].concat());
    let made: Vec<_> = requests(&moves()).iter().map(|(packet_type, _)| *packet_type).collect();
    assert_eq!(made, TYPES);
}

#[test]
fn unknown_types_are_refused_before_login_and_in_a_session_whatever_the_content() {
    for (mut world, user) in [with_session(), without_session()] {
        for packet_type in (0..=255).filter(|packet_type| !TYPES.contains(packet_type)) {
            for content in [&b""[..], &user.number.0.to_be_bytes(), &[0xFF; 300]] {
                world.settle();
                let (digest, events) = (world.digest(), world.events());
                world.send_bytes(user.at, &raw(0x0A, packet_type, content));
                world.noticed(user.at, packet_type, Code::UnknownType);
                assert_eq!((world.digest(), world.events()), (digest, events));
            }
            world.goes_on(user);
        }
    }
}

#[test]
fn types_that_only_the_server_sends_are_unknown() {
    for packet_type in [0x41, 0x42, 0x43] {
        let (mut world, ann) = with_session();
        let content = [&ann.number.0.to_be_bytes()[..], &[0; 8]].concat();
        world.send_bytes(ann.at, &raw(0x0A, packet_type, &content));
        world.noticed(ann.at, packet_type, Code::UnknownType);
        world.goes_on(ann);
    }
}

// Sessions

#[test]
fn what_needs_a_session_is_a_violation_before_there_is_one_whatever_the_content() {
    let moves = moves();
    for (packet_type, request) in requests(&moves) {
        if WITHOUT_SESSION.contains(&packet_type) {
            continue;
        }
        for content in
            [content(BEN, request), content(ServiceNumber(0), request), vec![], vec![7; 9]]
        {
            let (mut world, stranger) = without_session();
            let bytes = raw(0x0A, packet_type, &content);
            world.violated(stranger, &bytes, packet_type, Code::NotLoggedIn);
        }
    }
}

#[test]
fn what_starts_a_connection_is_refused_in_a_session() {
    for request in [
        Request::Register(account(b"eve")),
        Request::LogIn { password: Secret::new(PASSWORD), mode: 0 },
        Request::LogIn { password: Secret::new(b"wrong!"), mode: 9 },
    ] {
        let (mut world, ann) = with_session();
        world.refused(ann, request, Code::AlreadyLoggedIn);
    }
}

#[test]
fn extensions_are_answered_before_login_and_in_a_session_also_refused() {
    let (mut world, stranger) = without_session();
    let want = Request::WantExtensions { wanted: 0 };
    let none = got(&ServerPacket::Extensions { granted: 0 });
    assert_eq!(world.asks(stranger, want), std::slice::from_ref(&none));
    let other_bits = Request::WantExtensions { wanted: 0xFFFF_FFF8 };
    assert_eq!(world.asks(stranger, other_bits), std::slice::from_ref(&none));
    world.log_in(stranger.at, BEN, 0);
    let ben = User { number: BEN, ..stranger };
    let answer = world.asks(ben, want);
    assert_eq!(answer[0], none);
    let (packet_type, code, _) = answer[1].notice().unwrap();
    assert_eq!((packet_type, code, answer.len()), (0x40, Code::AlreadyLoggedIn, 2));
    world.goes_on(ben);
}

// Layout

#[test]
fn content_that_ends_too_early_is_a_violation_at_every_byte() {
    let moves = moves();
    for (packet_type, request) in requests(&moves) {
        // Where the data of a piece begins the rest is data.
        let whole = content(ServiceNumber(10_001), request);
        for length in 0..whole.len() {
            malformed(packet_type, &whole[..length]);
        }
    }
}

#[test]
fn content_that_goes_on_after_its_fields_is_a_violation() {
    let moves = moves();
    for (packet_type, request) in requests(&moves) {
        if packet_type != 0x15 {
            let mut longer = content(ServiceNumber(10_001), request);
            longer.push(0);
            malformed(packet_type, &longer);
        }
    }
}

/// A violation in a session, or before login where the type belongs there.
#[track_caller]
fn malformed(packet_type: u8, content: &[u8]) {
    let bytes = raw(0x0A, packet_type, content);
    if !REFUSED_IN_SESSION.contains(&packet_type) {
        let (mut world, ann) = with_session();
        world.violated(ann, &bytes, packet_type, Code::Malformed);
    }
    if WITHOUT_SESSION.contains(&packet_type) {
        let (mut world, stranger) = without_session();
        world.violated(stranger, &bytes, packet_type, Code::Malformed);
    }
}

#[test]
fn strings_and_lists_that_claim_more_than_there_is_are_violations() {
    let own = [0, 0, 0x27, 0x11];
    let contents: &[(u8, &[u8])] = &[
        (0x06, &[0xFF, 0xFF, b'a']),
        (0x03, &[0, 0, 0x27, 0x12, 0xFF, 0xFF]),
        (0x09, &[255, 0, 0, 0x27, 0x12, 1]),
        (0x09, &[0, 0, 0, 0x27, 0x12, 1]),
        (0x0B, &[0, 1]),
    ];
    for (packet_type, rest) in contents {
        malformed(*packet_type, &[&own[..], rest].concat());
    }
}

// Own number

#[test]
fn another_number_than_ones_own_is_a_violation_for_every_type() {
    let moves = moves();
    for (packet_type, request) in requests(&moves) {
        if REFUSED_IN_SESSION.contains(&packet_type) {
            continue;
        }
        for own in [ServiceNumber(0), BEN, NOBODY, ServiceNumber(u32::MAX)] {
            let (mut world, ann) = with_session();
            let bytes = bytes_of(Kind::User, own, request);
            world.violated(ann, &bytes, packet_type, Code::WrongNumber);
        }
    }
}

// The order of the checks

#[test]
fn a_packet_is_checked_in_the_protocols_order() {
    let long = vec![0; 65_537];
    let own = [0, 0, 0x27, 0x11];
    let other = [0, 0, 0x27, 0x12];
    let mode = |number: [u8; 4], mode| [&number[..], &[mode]].concat();
    let header = |start: [u8; 3], packet: Vec<u8>| [&start[..], &packet[3..]].concat();
    // What is wrong, and with what comes later wrong too; the type of the notice; its code.
    let cases: &[(&str, Vec<u8>, u8, Code)] = &[
        ("first byte", header([0x80, 0x01, 0x0A], raw(0x0A, 0x7F, &long)), 0, Code::Malformed),
        ("sender", header([0x81, 0x01, 0x0A], raw(0x0A, 0x7F, &long)), 0, Code::Malformed),
        ("change of kind", header([0x81, 0x03, 0x0A], raw(0x0A, 3, &long)), 0, Code::Malformed),
        ("receiver", header([0x81, 0x0A, 0x0A], raw(0x0A, 0x03, &long)), 0, Code::Malformed),
        ("length", raw(0x0A, 0x03, &long), 0x03, Code::TooLarge),
        ("layout", raw(0x0A, 0x10, &[&mode(other, 9)[..], &[0]].concat()), 0x10, Code::Malformed),
        ("layout", raw(0x0A, 0x10, &other), 0x10, Code::Malformed),
        ("own number", raw(0x0A, 0x10, &mode(other, 9)), 0x10, Code::WrongNumber),
    ];
    for (what, bytes, packet_type, code) in cases {
        let (mut world, ann) = with_session();
        world.send_bytes(ann.at, bytes);
        let sentence = world.noticed(ann.at, *packet_type, *code);
        assert!(world.is_closed(ann.at), "{what}: {sentence}");
    }
    let (mut world, ann) = with_session();
    world.send_bytes(ann.at, &raw(0x0A, 0x10, &mode(own, 9)));
    world.noticed(ann.at, 0x10, Code::BadValue);
    world.goes_on(ann);
}

#[test]
fn a_length_over_the_limit_comes_before_an_unknown_type() {
    let (mut world, ann) = with_session();
    world.send_bytes(ann.at, &raw(0x0A, 0x7F, &vec![0; 65_537]));
    let answer = world.take(ann.at);
    assert_eq!(answer.len(), 1);
    assert_eq!(answer[0].notice().unwrap().1, Code::TooLarge);
    assert!(world.is_closed(ann.at));
}

// Headers

#[test]
fn any_other_first_byte_is_a_violation() {
    for byte in [0x00, 0x01, 0x02, 0x80, 0x82, 0xFF, b'G'] {
        for (mut world, user) in [with_session(), without_session()] {
            let mut bytes = bytes_of(Kind::User, user.number, Request::Test);
            bytes[0] = byte;
            world.violated(user, &bytes, 0x00, Code::Malformed);
        }
    }
}

#[test]
fn any_unknown_or_disallowed_kind_of_sender_is_a_violation() {
    for kind in (0..=255).filter(|kind| ![0x02, 0x03, 0x04, 0x05, 0x0A].contains(kind)) {
        let (mut world, stranger) = without_session();
        let bytes = raw(kind, 0x16, &[0; 4]);
        world.violated(stranger, &bytes, 0x00, Code::Malformed);
    }
}

#[test]
fn any_other_receiver_than_the_server_is_a_violation() {
    for receiver in (0..=255).filter(|receiver| *receiver != 0x01) {
        let (mut world, stranger) = without_session();
        let mut bytes = bytes_of(Kind::User, ServiceNumber(0), Request::Test);
        bytes[2] = receiver;
        world.violated(stranger, &bytes, 0x00, Code::Malformed);
    }
}

#[test]
fn a_connection_keeps_the_kind_of_its_first_packet() {
    let kinds = [Kind::User, Kind::Web, Kind::Fax, Kind::Print, Kind::Chat];
    for first in kinds {
        for second in kinds {
            let mut world = World::new();
            let stranger = world.stranger();
            // Even an unknown type has a kind.
            world.send_bytes(stranger.at, &raw(first as u8, 0x7F, b""));
            world.noticed(stranger.at, 0x7F, Code::UnknownType);
            let bytes = bytes_of(second, ServiceNumber(0), Request::Test);
            if first == second {
                world.send_bytes(stranger.at, &bytes);
                assert_eq!(world.take(stranger.at)[0].packet_type, 0x16);
            } else {
                world.violated(stranger, &bytes, 0x00, Code::Malformed);
            }
        }
    }
}

#[test]
fn packets_go_to_the_kind_of_the_connection_and_to_a_user_before_there_is_one() {
    for kind in [Kind::User, Kind::Web, Kind::Fax, Kind::Print, Kind::Chat] {
        let mut world = World::new();
        let at = world.connect();
        let test = bytes_of(kind, ServiceNumber(0), Request::Test);
        world.send_bytes(at, &test);
        world.send_bytes(at, &[0x80]);
        let receivers: Vec<_> = world.take(at).iter().map(|got| got.receiver).collect();
        assert_eq!(receivers, [kind as u8; 2]);
    }
    let mut world = World::new();
    let at = world.connect();
    world.send_bytes(at, &[0x81, 0x07]);
    assert_eq!(world.take(at)[0].receiver, 0x0A);
}

// What violations and refusals leave as it is

#[test]
fn what_came_before_a_violation_is_not_undone_and_what_comes_after_is_not_read() {
    let mut world = World::new();
    let (ann, ben) = (world.user(b"ann"), world.user(b"ben"));
    let send =
        |content| bytes_of(Kind::User, ann.number, Request::Send { receiver: ben.number, content });
    let stream = [send(b"before"), raw(0x0A, 0x16, b""), send(b"after")].concat();
    world.send_bytes(ann.at, &stream);
    assert_eq!(world.take(ben.at), [message(ann, b"before")]);
    world.noticed(ann.at, 0x16, Code::Malformed);
    assert!(world.is_closed(ann.at));
    assert_eq!(world.online(ben), [ben.number], "the session has ended");
}

#[test]
fn replies_leave_in_the_order_of_their_requests_refused_ones_too() {
    let (mut world, ann) = with_session();
    let stream: Vec<_> = [
        Request::AddGroup { name: b"work" },
        Request::DeleteGroup { group: GroupNumber(1) },
        Request::ViewProfile { friend: BEN },
        Request::Send { receiver: NOBODY, content: b"hi" },
        Request::Test,
    ]
    .into_iter()
    .flat_map(|request| bytes_of(Kind::User, ann.number, request))
    .collect();
    world.send_bytes(ann.at, &stream);
    let types: Vec<_> = world.take(ann.at).iter().map(|got| got.packet_type).collect();
    assert_eq!(types, [0x05, 0x07, 0x03, 0x04, 0x03, 0x16]);
}

#[test]
fn a_violation_on_one_connection_leaves_the_others() {
    let (mut world, ann) = with_session();
    let other = world.session(BEN);
    world.violated(ann, &[0x80], 0x00, Code::Malformed);
    assert_eq!(world.take(other.at), []);
    world.goes_on(other);
}

// Failure replies and notices, byte by byte

#[test]
fn failure_replies_have_the_layout_of_success_with_what_is_known() {
    let letters = [b'a'; 65];
    let named = |start: &[u8]| [start, &[0, 65], &letters].concat();
    let wrong = Moves::pack([(BEN, GroupNumber(1))]);
    let profile = [&[0, 0, 1, 0x86, 0x9F][..], &[0; 30]].concat();
    let first = GroupNumber(1);
    let cases: &[(Request<'_>, u8, Vec<u8>)] = &[
        (Request::Register(account(b"eve")), 0x01, vec![0; 5]),
        (Request::LogIn { password: Secret::new(PASSWORD), mode: 0 }, 0x02, vec![0; 2]),
        (Request::ViewProfile { friend: NOBODY }, 0x04, profile),
        (Request::AddGroup { name: &letters }, 0x05, named(&[0, 0])),
        (Request::RenameGroup { group: first, name: &letters }, 0x06, named(&[0, 1])),
        (Request::DeleteGroup { group: GroupNumber(9) }, 0x07, vec![0, 9]),
        (Request::MoveFriends(Moves::over(&wrong).unwrap()), 0x08, vec![0]),
        (Request::ListOnline { start: BEN, count: 9, direction: 9 }, 0x09, vec![0, 0]),
        (Request::Search { statement: b"?" }, 0x0A, vec![0, 0]),
    ];
    for (request, packet_type, content) in cases {
        let (mut world, ann) = with_session();
        let answer = world.asks(ann, *request);
        assert_eq!(answer.len(), 2, "{answer:?}");
        assert_eq!(answer[0].packet_type, *packet_type, "{answer:?}");
        assert_eq!(answer[0].content, *content, "{answer:?}");
        assert!(answer[1].notice().is_some(), "{answer:?}");
    }
}

#[test]
fn a_failure_reply_gives_back_even_a_name_that_is_far_too_long() {
    let (mut world, ann) = with_session();
    let name = vec![0xFF; 60_000];
    for request in [
        Request::AddGroup { name: &name },
        Request::RenameGroup { group: GroupNumber(7), name: &name },
    ] {
        let answer = world.asks(ann, request);
        assert_eq!(answer[0].content[4..], name[..]);
    }
}

#[test]
fn a_notice_is_a_system_message_from_0_with_one_line_of_ascii() {
    let (mut world, ann) = with_session();
    world.send_bytes(ann.at, &raw(0x0A, 0xAB, b""));
    world.asks(ann, Request::Test);
    world.send_bytes(ann.at, &raw(0x0A, 0xAB, b""));
    let Got { packet_type, content, .. } = world.take(ann.at).remove(0);
    assert_eq!(packet_type, 0x03);
    assert_eq!(content[..5], [1, 0, 0, 0, 0], "sign 1, number 0");
    assert_eq!(content.last(), Some(&0), "kind 0");
    let text = &content[7..content.len() - 1];
    assert_eq!(usize::from(u16::from_be_bytes([content[5], content[6]])), text.len());
    assert!(text.starts_with(b"0xAB unknown-type: "), "{}", text.escape_ascii());
    assert!(text.iter().all(|byte| (b' '..=b'~').contains(byte)), "{}", text.escape_ascii());
}

// A log that cannot grow

#[test]
fn while_the_log_is_full_changes_are_refused_and_work_again_once_there_is_room() {
    let mut world = World::new();
    let (ann, ben) = world.friends();
    let cay = world.user_who(b"cay", 1);
    let dan = world.user_who(b"dan", 2);
    let eve = world.user(b"eve");
    world.does(eve, Request::AddFriend { friend: cay.number });
    world.group(ann, b"work");
    let moves = Moves::pack([(ben.number, GroupNumber(2))]);
    let changes: &[(User, Request<'_>)] = &[
        (ann, Request::Send { receiver: ben.number, content: b"hi" }),
        (ann, Request::Broadcast { group: 0, content: b"hi" }),
        (ann, Request::AddGroup { name: b"play" }),
        (ann, Request::RenameGroup { group: GroupNumber(1), name: b"all" }),
        (ann, Request::MoveFriends(Moves::over(&moves).unwrap())),
        (ann, Request::DeleteGroup { group: GroupNumber(2) }),
        (ann, Request::AddFriend { friend: eve.number }),
        (ann, Request::RequestFriend { friend: cay.number, reason: b"me" }),
        (ann, Request::RequestFriend { friend: dan.number, reason: b"me" }),
        (cay, Request::AnswerRequest { friend: eve.number, consent: 1 }),
        (ann, Request::DeleteFriend { friend: ben.number }),
        (ann, Request::ChangeProfile(Account { profile: full_profile(), ..account(b"") })),
        (ann, Request::ChangeProfile(Account { password: Secret::new(b""), ..account(b"anna") })),
    ];
    world.settle();
    world.journal.full = true;
    for &(user, request) in changes {
        world.take(ben.at);
        world.refused(user, request, Code::StorageFull);
        assert_eq!(world.take(ben.at), []);
    }
    let stranger = world.stranger();
    world.refused(stranger, Request::Register(account(b"new")), Code::StorageFull);
    world.journal.full = false;
    for &(user, request) in changes {
        let events = world.events();
        world.asks(user, request);
        assert!(world.events() > events, "{request:?}");
    }
    world.registered(account(b"new"));
}

#[test]
fn while_the_log_is_full_reading_presence_and_files_go_on() {
    let mut world = World::new();
    let (ann, ben) = world.friends();
    world.settle();
    world.journal.full = true;
    let answer = world.asks(ann, Request::ViewProfile { friend: ben.number });
    assert_eq!(answer[0].content[0], 1);
    assert_eq!(world.search(ann, "SELECT * FROM users"), [ann.number, ben.number]);
    world.does(ben, Request::SetMode { mode: 2 });
    let start = ServiceNumber(0);
    let online = world.asks(ann, Request::ListOnline { start, count: 9, direction: 2 });
    assert_eq!(numbers(&online), [ann.number]);
    world.does(ben, Request::SetMode { mode: 4 });
    world.log_in(ben.at, ben.number, 0);
    world.does(ann, Request::OfferFile { friend: ben.number, name: b"a", length: 1 });
    assert_eq!(world.take(ben.at).len(), 1);
}

#[test]
fn while_the_log_is_full_waiting_messages_come_and_are_not_sent_again_once_there_is_room() {
    let mut world = World::new();
    let ann = world.user(b"ann");
    let ben = world.registered(account(b"ben"));
    world.does(ann, Request::Send { receiver: ben, content: b"hi" });
    world.settle();
    world.journal.full = true;
    let (session, mail) = world.session_and_mail(ben);
    assert_eq!(mail, [message(ann, b"hi")]);
    world.settle();
    world.journal.full = false;
    world.settle();
    world.leaves(session);
    let mut world = world.restart();
    let (_, mail) = world.session_and_mail(ben);
    assert_eq!(mail, []);
}
