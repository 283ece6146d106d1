//! Extensions: what is granted, and that a connection without them never meets them; results. `0x40`, `0x41`.

use oicq::codec::secret::Secret;
use oicq::engine::{Overdue, Settings};
use oicq::id::{GroupNumber, ServiceNumber};
use oicq::state::Event;
use oicq::wire::client::Account;
use oicq::wire::server::{Presence, Sign, SystemKind};
use oicq::wire::{Code, Kind, Request, ServerPacket, cut};

use crate::kit::extended::{ALL, IDS, PRESENCE, RESULTS, done};
use crate::kit::people::{
    NOBODY, PASSWORD, User, account, bytes_of, full_profile, got, message, one_of_each, raw,
    system, tested,
};
use crate::kit::{Got, World, verdict};

const BEN: ServiceNumber = ServiceNumber(10_002);

fn want(wanted: u32) -> Request<'static> {
    Request::WantExtensions { wanted }
}

fn granted(sum: u32) -> Got {
    got(&ServerPacket::Extensions { granted: sum })
}

fn send(to: ServiceNumber, content: &[u8]) -> Request<'_> {
    Request::Send { receiver: to, content }
}

fn open_settings() -> Settings {
    Settings { registrations: 0, connections: 0, ..Settings::default() }
}

/// Ann with these extensions and ben without any, in each other's friend lists.
fn ann_and_ben(wanted: u32) -> (World, User, User) {
    ann_and_ben_with(open_settings(), wanted)
}

fn ann_and_ben_with(settings: Settings, wanted: u32) -> (World, User, User) {
    let mut world = World::with(settings);
    let (ann, ben) = world.friends();
    let ann = world.again(ann, wanted);
    world.settle();
    world.take(ann.at);
    (world, ann, ben)
}

// What is granted

#[test]
fn any_of_the_three_extensions_is_granted_and_no_other_bit() {
    for sum in 0..=ALL {
        for other_bits in [0, 8, 0x100, 0x8000_0000, !ALL] {
            let mut world = World::new();
            let stranger = world.stranger();
            assert_eq!(world.asks(stranger, want(sum | other_bits)), [granted(sum)]);
        }
    }
}

#[test]
fn the_answer_has_the_sum_in_four_bytes() {
    let mut world = World::new();
    let stranger = world.stranger();
    world.send_bytes(stranger.at, &[0x81, 0x0A, 1, 0x40, 0, 0, 0, 4, 0xFF, 0xFF, 0xFF, 0xFE]);
    let answer = world.take(stranger.at);
    assert_eq!((answer[0].packet_type, &*answer[0].content), (0x40, &[0, 0, 0, 6][..]));
}

#[test]
fn asking_again_replaces_what_was_granted() {
    let mut world = World::new();
    let stranger = world.stranger();
    for (sum, results) in [(ALL, true), (IDS | PRESENCE, false), (RESULTS, true), (0, false)] {
        assert_eq!(world.asks(stranger, want(sum)), [granted(sum)]);
        let answer = world.asks(stranger, Request::Test);
        let expected = [tested(ServiceNumber(0)), done(0x16, 0)];
        assert_eq!(answer, expected[..if results { 2 } else { 1 }], "{sum}");
    }
}

#[test]
fn a_connection_of_any_kind_may_ask() {
    for kind in [Kind::Web, Kind::Fax, Kind::Print, Kind::Chat] {
        let mut world = World::new();
        let stranger = world.stranger();
        world.set_kind(stranger.at, kind);
        let answer = world.asks(stranger, want(RESULTS));
        assert_eq!(
            (answer[0].receiver, answer[0].packet()),
            (kind as u8, ServerPacket::Extensions { granted: RESULTS })
        );
        let answer = world.asks(stranger, Request::Test);
        assert_eq!((answer[1].receiver, answer[1].packet_type), (kind as u8, 0x41));
    }
}

#[test]
fn in_a_session_the_sum_stays_and_asking_is_refused_by_a_notice() {
    for has in 0..=ALL {
        for wanted in [0, ALL, has, !ALL] {
            let (mut world, ann, _) = ann_and_ben(has);
            let answer = world.asks(ann, want(wanted));
            assert_eq!((answer.len(), &answer[0]), (2, &granted(has)), "{answer:?}");
            let (packet_type, code, _) = answer[1].notice().expect("no result");
            assert_eq!((packet_type, code), (0x40, Code::AlreadyLoggedIn));
            let results = world.asks(ann, Request::Test).len() == 2;
            assert_eq!(results, has & RESULTS != 0, "{has} after {wanted} was wanted");
        }
    }
}

#[test]
fn after_a_logout_the_connection_keeps_what_it_has_until_it_asks_again() {
    let (mut world, ann, _) = ann_and_ben(RESULTS);
    let out = User { number: ServiceNumber(0), ..ann };
    assert_eq!(world.asks(ann, Request::SetMode { mode: 4 }), [done(0x10, 0)]);
    assert_eq!(world.asks(out, Request::Test), [tested(out.number), done(0x16, 0)]);
    assert_eq!(world.log_in(ann.at, ann.number, 0), [done(0x02, 0)]);
    world.asks(ann, Request::SetMode { mode: 4 });
    assert_eq!(world.asks(out, want(0)), [granted(0)]);
    assert_eq!(world.log_in(ann.at, ann.number, 0), []);
    assert_eq!(world.asks(ann, Request::Test), [tested(ann.number)]);
}

#[test]
fn extensions_are_a_connections_and_not_a_users() {
    let (mut world, ann, ben) = ann_and_ben(ALL);
    let (ann, mail) = world.session_and_mail(ann.number);
    assert_eq!(mail, []);
    world.does(ben, Request::SetMode { mode: 3 });
    world.does(ben, send(ann.number, b"hi"));
    assert_eq!(world.take(ann.at), [message(ben, b"hi")]);
    world.refused(ann, send(NOBODY, b"hi"), Code::UnknownNumber);
}

#[test]
fn asking_for_extensions_has_no_result_whatever_comes_of_it() {
    let mut world = World::new();
    let at = world.asker(RESULTS);
    world.send_bytes(at, &raw(0x0A, 0x40, &[0, 0, 0, 1]));
    assert_eq!(world.take(at), [granted(RESULTS)]);
    for content in [&[0, 0, 1][..], &[0; 5], &[0; 9_000]] {
        let mut world = World::new();
        let at = world.asker(RESULTS);
        world.send_bytes(at, &raw(0x0A, 0x40, content));
        let code = if content.len() > 8_192 { Code::TooLarge } else { Code::Malformed };
        world.noticed(at, 0x40, code);
        assert!(world.is_closed(at));
    }
}

#[test]
fn asking_for_extensions_too_often_gets_the_unchanged_sum_and_a_notice() {
    for has in [0, RESULTS, ALL] {
        let (mut world, ann) = exhausted(has);
        let answer = world.asks(ann, want(0));
        assert_eq!((answer.len(), &answer[0]), (2, &granted(has)), "{answer:?}");
        let (packet_type, code, _) = answer[1].notice().expect("no result");
        assert_eq!((packet_type, code), (0x40, Code::Throttled));
    }
}

// Results: what they look like

#[test]
fn a_result_has_type_success_id_and_text() {
    let (mut world, ann, ben) = ann_and_ben(RESULTS);
    let answer = world.asks(ann, send(ben.number, b"hi"));
    let id = world.last_change();
    assert_eq!(answer[0].packet_type, 0x41);
    let content = [&[0x03, 1][..], &id.to_be_bytes(), &[0, 0]].concat();
    assert_eq!(answer[0].content, content);

    let answer = world.asks(ann, send(NOBODY, b"hi"));
    let text = b"unknown-number: there is no user 99999";
    let length = u8::try_from(text.len()).unwrap();
    assert_eq!(answer[0].content, [&[0x03, 0][..], &[0; 8], &[0, length], text].concat());
    assert_eq!(answer.len(), 1, "in place of the notice");
}

/// What a connection without results gets instead: notices, where something is said.
fn without_results(answer: &[Got]) -> Vec<Got> {
    let plain = |got: &Got| match got.result() {
        None => Some(got.clone()),
        Some((_, _, _, text)) if text.is_empty() => None,
        Some((packet_type, _, _, text)) => {
            let text = format!("0x{packet_type:02X} {text}").into_bytes();
            let (sign, number) = (Sign::System(SystemKind::Notice), ServiceNumber(0));
            Some(crate::kit::people::got(&ServerPacket::Message { sign, number, text: &text }))
        }
    };
    answer.iter().filter_map(plain).collect()
}

/// A situation in which a client sends something.
type Situation = fn(u32) -> (World, User);

fn stranger(wanted: u32) -> (World, User) {
    let mut world = World::new();
    world.crowd(2);
    let at = world.asker(wanted);
    (world, User { number: ServiceNumber(0), at })
}

fn in_session(wanted: u32) -> (World, User) {
    let (mut world, ann, _) = ann_and_ben(wanted);
    world.asks(ann, Request::AddGroup { name: b"work" });
    (world, ann)
}

fn without_friends(wanted: u32) -> (World, User) {
    let mut world = World::new();
    let ann = world.registered(account(b"ann"));
    let ann = world.extended(ann, wanted);
    (world, ann)
}

fn asked_by_ben(wanted: u32) -> (World, User) {
    let operators = [ServiceNumber(10_001)].into();
    let mut world = World::with(Settings { operators, ..open_settings() });
    let (ann, ben) = (world.user_who(b"ann", 1), world.user_who(b"ben", 2));
    world.does(ben, Request::AddFriend { friend: ann.number });
    let ann = world.again(ann, wanted);
    (world, ann)
}

/// The log cannot grow.
fn without_room(wanted: u32) -> (World, User) {
    let (mut world, ann) = in_session(wanted);
    world.settle();
    world.journal.full = true;
    (world, ann)
}

/// Ann has asked for as much as she may.
fn exhausted(wanted: u32) -> (World, User) {
    let settings = Settings { requests_per_second: 1, requests_burst: 60, ..open_settings() };
    let (mut world, ann, _) = ann_and_ben_with(settings, wanted);
    for _ in 0..60 {
        world.asks(ann, Request::Test);
    }
    (world, ann)
}

const SITUATIONS: &[(&str, Situation)] = &[
    ("a stranger", stranger),
    ("in a session", in_session),
    ("without friends", without_friends),
    ("asked by ben", asked_by_ben),
    ("without room", without_room),
    ("exhausted", exhausted),
];

/// One of each type of packet in its layout, and some that are no good.
fn packets(own: ServiceNumber) -> Vec<Vec<u8>> {
    let moves = oicq::codec::packed::Moves::pack([(BEN, GroupNumber(2))]);
    let mut packets: Vec<_> = one_of_each(BEN, &moves)
        .into_iter()
        .filter(|request| !matches!(request, Request::WantExtensions { .. }))
        .map(|request| bytes_of(Kind::User, own, request))
        .collect();
    let malformed: Vec<_> = packets
        .iter()
        .map(|packet| raw(0x0A, packet[3], &[&packet[8..], &[0]].concat()))
        // What is appended to a piece of a file belongs to it.
        .filter(|packet| packet[3] != 0x15)
        .collect();
    packets.extend(malformed);
    packets.extend([0x00, 0x0F, 0x18, 0x3F, 0x41, 0x43, 0xFF].map(|other| raw(0x0A, other, b"?")));
    packets.push(bytes_of(Kind::User, NOBODY, Request::SetMode { mode: 1 }));
    packets.push(raw(0x0A, 0x03, &vec![0; 65_537]));
    packets.push(raw(0x0A, 0x7F, &vec![0; 65_537]));
    packets.push(raw(0x03, 0x16, &own.0.to_be_bytes()));
    packets.push(raw(0x01, 0x16, &own.0.to_be_bytes()));
    let mut other_receiver = raw(0x0A, 0x16, &own.0.to_be_bytes());
    other_receiver[2] = 0x0A;
    packets.push(other_receiver);
    packets
}

#[test]
fn every_packet_gets_one_result_behind_what_a_client_without_results_gets() {
    for &(name, situation) in SITUATIONS {
        let count = packets(ServiceNumber(0)).len();
        for index in 0..count {
            let send = |wanted| {
                let (mut world, user) = situation(wanted);
                let packet = packets(user.number).swap_remove(index);
                world.take(user.at);
                let events = world.events();
                world.send_bytes(user.at, &packet);
                (packet[3], world.take(user.at), world.is_closed(user.at), world.events() - events)
            };
            let (packet_type, plain, plain_closed, plain_events) = send(0);
            let (_, answer, closed, events) = send(RESULTS);
            let what = format!("0x{packet_type:02X} {name}: {answer:?}");
            assert_eq!(without_results(&answer), plain, "{what}");
            assert_eq!((closed, events), (plain_closed, plain_events), "{what}");
            let results: Vec<_> = answer.iter().filter_map(Got::result).collect();
            assert_eq!(results.len(), 1, "{what}");
            assert_eq!(answer.last().and_then(Got::result), results.first().cloned(), "{what}");
            let refused = answer.last().is_some_and(|last| last.failed().is_some());
            assert_eq!(refused, plain.last().is_some_and(|last| last.notice().is_some()), "{what}");
        }
    }
}

#[test]
fn a_result_names_the_last_change_that_the_packet_made() {
    for &(name, situation) in SITUATIONS {
        for index in 0..packets(ServiceNumber(0)).len() {
            let (mut world, user) = situation(RESULTS);
            world.settle();
            world.take(user.at);
            let (before, digest) = (world.last_change(), world.digest());
            let packet = packets(user.number).swap_remove(index);
            world.send_bytes(user.at, &packet);
            let answer = world.take(user.at);
            let last = answer.last().and_then(Got::result);
            let (packet_type, success, id, _) = last.expect("a result at the end");
            let what = format!("0x{packet_type:02X} {name}: {answer:?}");
            let changed = world.last_change() != before;
            assert_eq!(id, if changed { world.last_change() } else { 0 }, "{what}");
            assert!(success || !changed, "{what}");
            // The same password makes the same hash here, which it does nowhere else.
            assert!(changed == (world.digest() != digest) || packet_type == 0x12, "{what}");
        }
    }
}

// Results: when they come

#[test]
fn a_registration_has_its_result_behind_its_reply_once_the_password_is_hashed() {
    let mut world = World::new();
    let at = world.asker(RESULTS);
    world.hold_passwords = true;
    let nobody = ServiceNumber(0);
    assert_eq!(world.ask(at, nobody, Request::Register(account(b"ann"))), []);
    let job = world.engine.poll_password_job().unwrap();
    world.turn(|engine, journal| engine.handle_verdict(verdict(&job), journal));
    let reply = got(&ServerPacket::Registered { success: true, number: ServiceNumber(10_001) });
    assert_eq!(world.take(at), [reply, done(0x01, world.last_change())]);
}

#[test]
fn a_login_has_its_result_before_the_messages_that_waited() {
    let mut world = World::new();
    let (ann, ben) = world.friends();
    world.leaves(ann);
    for text in [b"one", b"two"] {
        world.does(ben, send(ann.number, text));
    }
    let (_, answer) = world.extended_and_mail(ann.number, RESULTS);
    assert_eq!(answer, [done(0x02, 0), message(ben, b"one"), message(ben, b"two")]);
}

#[test]
fn a_refused_login_has_its_result_behind_the_failure_reply() {
    let mut world = World::new();
    world.crowd(1);
    let at = world.asker(RESULTS);
    let number = ServiceNumber(10_001);
    let log_in =
        |password: &'static [u8]| Request::LogIn { password: Secret::new(password), mode: 0 };
    let failure = got(&ServerPacket::LoggedIn { success: false, groups: Vec::new() });
    for code in [Code::BadLogin; 5].into_iter().chain([Code::Throttled; 2]) {
        let answer = world.ask(at, number, log_in(b"wrong!"));
        assert_eq!((answer.len(), &answer[0]), (2, &failure));
        assert_eq!(answer[1].failed(), Some((0x02, code)));
    }
}

#[test]
fn a_new_password_has_its_result_once_it_is_hashed() {
    let (mut world, ann, _) = ann_and_ben(RESULTS);
    let change = Account { profile: full_profile(), ..account(b"ann") };
    world.hold_passwords = true;
    assert_eq!(world.asks(ann, Request::ChangeProfile(change)), []);
    let job = world.engine.poll_password_job().unwrap();
    world.turn(|engine, journal| engine.handle_verdict(verdict(&job), journal));
    assert_eq!(world.take(ann.at), [done(0x12, world.last_change())]);
    let same_password = Account { password: Secret::new(b""), ..account(b"anna") };
    let answer = world.asks(ann, Request::ChangeProfile(same_password));
    assert_eq!(answer, [done(0x12, world.last_change())]);
}

#[test]
fn what_others_change_while_a_password_is_hashed_is_not_in_the_result() {
    let (mut world, ann, ben) = ann_and_ben(RESULTS);
    world.hold_passwords = true;
    world.asks(ann, Request::ChangeProfile(account(b"anna")));
    world.asks(ben, send(ben.number, b"meanwhile"));
    let job = world.engine.poll_password_job().unwrap();
    world.turn(|engine, journal| engine.handle_verdict(verdict(&job), journal));
    let id = world.last_change();
    assert_eq!(kind_of(&world, id), "profile-changed");
    assert_eq!(world.take(ann.at), [done(0x12, id)]);
}

#[test]
fn what_others_change_while_a_login_or_a_search_is_under_way_is_not_in_the_result() {
    let (mut world, ann, ben) = ann_and_ben(RESULTS);
    let at = world.asker(RESULTS);
    world.hold_passwords = true;
    let log_in = Request::LogIn { password: Secret::new(PASSWORD), mode: 0 };
    assert_eq!(world.ask(at, ann.number, log_in), []);
    world.asks(ben, send(NOBODY, b"refused"));
    world.asks(ben, send(ben.number, b"meanwhile"));
    let job = world.engine.poll_password_job().unwrap();
    world.turn(|engine, journal| engine.handle_verdict(verdict(&job), journal));
    assert_eq!(world.take(at)[1..], [done(0x02, 0)]);

    let packets = [
        bytes_of(Kind::User, ann.number, Request::Search { statement: b"SELECT * FROM users" }),
        bytes_of(Kind::User, ben.number, send(ben.number, b"meanwhile")),
    ];
    world.turn(|engine, journal| {
        for (at, packet) in [at, ben.at].into_iter().zip(&packets) {
            let frame = cut(packet, engine.expected(at)).unwrap().unwrap();
            engine.handle_packet(at, frame, journal);
        }
    });
    assert_eq!(world.take(at)[1..], [done(0x0B, 0)]);
}

#[test]
fn a_search_has_its_result_behind_its_reply() {
    let (mut world, ann, ben) = ann_and_ben(RESULTS);
    let answer = world.asks(ann, Request::Search { statement: b"SELECT * FROM users" });
    assert_eq!((answer.len(), answer[0].packet_type), (2, 0x0A));
    assert_eq!(answer[1], done(0x0B, 0));
    assert_eq!(world.take(ben.at), []);
    let answer = world.asks(ann, Request::Search { statement: b"SELECT" });
    assert_eq!((answer.len(), &*answer[0].content), (2, &[0, 0][..]));
    assert_eq!(answer[1].failed(), Some((0x0B, Code::BadQuery)));
}

#[test]
fn results_leave_in_the_order_of_their_packets() {
    let (mut world, ann, ben) = ann_and_ben(RESULTS);
    let stream: Vec<_> = [
        send(ben.number, b"one"),
        Request::AddGroup { name: b"work" },
        Request::DeleteGroup { group: GroupNumber(1) },
        Request::Search { statement: b"SELECT * FROM users" },
        send(NOBODY, b"two"),
        Request::ChangeProfile(account(b"anna")),
        Request::Test,
    ]
    .into_iter()
    .flat_map(|request| bytes_of(Kind::User, ann.number, request))
    .collect();
    world.send_bytes(ann.at, &stream);
    let answer = world.take(ann.at);
    let types: Vec<_> = answer.iter().map(|got| got.packet_type).collect();
    assert_eq!(types, [0x41, 0x05, 0x41, 0x07, 0x41, 0x0A, 0x41, 0x41, 0x41, 0x16, 0x41]);
    let results: Vec<_> = answer.iter().filter_map(Got::result).collect();
    let of: Vec<_> = results.iter().map(|(of, success, ..)| (*of, *success)).collect();
    let done = [(0x03, true), (0x06, true), (0x08, false), (0x0B, true), (0x03, false)];
    assert_eq!(of[..5], done);
    assert_eq!(of[5..], [(0x12, true), (0x16, true)]);
    assert!(results[0].2 > 0 && results[0].2 < results[1].2 && results[1].2 < results[5].2);
}

#[test]
fn a_logout_has_a_result_though_the_session_is_over() {
    let (mut world, ann, _) = ann_and_ben(RESULTS);
    assert_eq!(world.asks(ann, Request::SetMode { mode: 4 }), [done(0x10, 0)]);
    assert!(!world.is_closed(ann.at));
}

#[test]
fn files_have_results_on_both_sides_and_each_piece_one() {
    let (mut world, ann, ben) = ann_and_ben(RESULTS);
    let ben = world.again(ben, RESULTS);
    let (to_ben, to_ann) = (ben.number, ann.number);
    let offer = Request::OfferFile { friend: to_ben, name: b"a", length: 3 };
    assert_eq!(world.asks(ann, offer), [done(0x13, 0)]);
    assert_eq!(world.take(ben.at).len(), 1, "the offer");
    let allow = Request::AnswerFile { friend: to_ann, allow: 1 };
    assert_eq!(world.asks(ben, allow), [done(0x14, 0)]);
    assert_eq!(world.take(ann.at).len(), 1, "the answer");
    for data in [&b"a"[..], b"", b"b"] {
        let piece = Request::FilePiece { friend: to_ben, data };
        assert_eq!(world.asks(ann, piece), [done(0x15, 0)]);
        assert_eq!(world.take(ben.at).len(), 1, "the piece");
    }
    // Who sent too much has it in the result; the receiver's packets have not caused it.
    let answer = world.asks(ann, Request::FilePiece { friend: to_ben, data: b"too much" });
    assert_eq!(answer[0].failed(), Some((0x15, Code::NoTransfer)));
    world.noticed(ben.at, 0x00, Code::NoTransfer);
}

// Violations

#[test]
fn a_violation_has_a_result_in_place_of_the_notice_and_closes_the_connection() {
    let own = [0, 0, 0x27, 0x11];
    let cases: &[(Vec<u8>, u8, Code)] = &[
        (raw(0x01, 0x16, &own), 0x00, Code::Malformed),
        (raw(0x03, 0x16, &own), 0x00, Code::Malformed),
        ([&[0x81, 0x0A, 0x0A][..], &raw(0x0A, 0x16, &own)[3..]].concat(), 0x00, Code::Malformed),
        (raw(0x0A, 0x03, &vec![0; 65_537]), 0x03, Code::TooLarge),
        (raw(0x0A, 0x16, &[]), 0x16, Code::Malformed),
        (raw(0x0A, 0x16, &[0, 0, 0x27, 0x12]), 0x16, Code::WrongNumber),
    ];
    for (bytes, packet_type, code) in cases {
        let (mut world, ann, _) = ann_and_ben(RESULTS);
        world.send_bytes(ann.at, &[&bytes[..], &raw(0x0A, 0x16, &own)].concat());
        let answer = world.take(ann.at);
        assert_eq!((answer.len(), answer[0].failed()), (1, Some((*packet_type, *code))));
        assert!(world.is_closed(ann.at));
    }
    let mut world = World::new();
    let at = world.asker(RESULTS);
    world.send_bytes(at, &raw(0x0A, 0x10, &[0, 0, 0, 0, 1]));
    let answer = world.take(at);
    assert_eq!((answer.len(), answer[0].failed()), (1, Some((0x10, Code::NotLoggedIn))));
    assert!(world.is_closed(at));
}

#[test]
fn another_first_byte_is_no_packet_and_so_has_a_notice() {
    for wanted in [0, RESULTS, ALL] {
        let (mut world, ann, _) = ann_and_ben(wanted);
        world.send_bytes(ann.at, &[0x80]);
        world.noticed(ann.at, 0x00, Code::Malformed);
        assert!(world.is_closed(ann.at));
    }
}

// What no packet has caused

#[test]
fn what_no_packet_has_caused_is_a_notice() {
    type Ends = fn(&mut World, User);
    let ends: &[(Code, Ends)] = &[
        (Code::Elsewhere, |world, user| _ = world.session(user.number)),
        (Code::Idle, |world, user| {
            world.turn(|engine, journal| engine.handle_overdue(user.at, Overdue::Idle, journal));
        }),
        (Code::Slow, |world, user| {
            world.turn(|engine, journal| engine.handle_overdue(user.at, Overdue::Slow, journal));
        }),
        (Code::Shutdown, |world, _| {
            world.turn(|engine, journal| engine.handle_shutdown(journal));
        }),
    ];
    for (code, end) in ends {
        let (mut world, ann, _) = ann_and_ben(ALL);
        end(&mut world, ann);
        world.ended(ann.at, *code);
    }
    let mut world = World::new();
    let at = world.asker(RESULTS);
    world.turn(|engine, journal| engine.handle_overdue(at, Overdue::Login, journal));
    world.ended(at, Code::Idle);
}

#[test]
fn the_end_of_a_transfer_by_the_other_side_is_a_notice() {
    let (mut world, ann, ben) = ann_and_ben(ALL);
    let offer = Request::OfferFile { friend: ben.number, name: b"a", length: 3 };
    assert_eq!(world.asks(ann, offer), [done(0x13, 0)]);
    world.leaves(ben);
    let answer = world.take(ann.at);
    assert!(answer.iter().all(|got| got.result().is_none()), "{answer:?}");
    let notice = answer.iter().find_map(Got::notice).expect("a notice");
    assert_eq!((notice.0, notice.1), (0x00, Code::NoTransfer));
}

#[test]
fn without_results_failures_are_notices_whatever_else_was_asked_for() {
    for wanted in [IDS, PRESENCE, IDS | PRESENCE] {
        let (mut world, ann, _) = ann_and_ben(wanted);
        world.refused(ann, send(NOBODY, b"hi"), Code::UnknownNumber);
        world.does(ann, Request::SetMode { mode: 2 });
    }
}

// Ids of changes

/// What the event with that number is.
fn kind_of(world: &World, id: u64) -> &'static str {
    let entry = &world.journal.entries[usize::try_from(id).unwrap() - 1];
    Event::decode(entry.kind, &entry.payload).unwrap().kind().name()
}

/// The id in the one result of an answer, which says success.
#[track_caller]
fn id_of(answer: &[Got]) -> u64 {
    let results: Vec<_> = answer.iter().filter_map(Got::result).collect();
    let [(_, true, id, text)] = &results[..] else { panic!("one result, not {answer:?}") };
    assert_eq!(text, "");
    *id
}

#[test]
fn deliveries_that_are_written_along_are_not_the_packets_change() {
    let settings = Settings { mailbox_messages: 1, ..open_settings() };
    let (mut world, ann, ben) = ann_and_ben_with(settings, RESULTS);
    world.deaf.push(ben.at);
    world.asks(ann, send(ben.number, b"one"));
    let bytes: usize = world.take(ben.at).iter().map(|got| 8 + got.content.len()).sum();
    world.takes_unnoticed(ben.at, bytes);
    // The mailbox is full but for what has arrived meanwhile, which is written down first.
    let events = world.events();
    let id = id_of(&world.asks(ann, send(ben.number, b"two")));
    assert_eq!(world.event_names(events), ["delivered", "message-sent"]);
    assert_eq!(kind_of(&world, id), "message-sent");

    world.takes_unnoticed(ben.at, bytes);
    let events = world.events();
    let answer = world.asks(ann, Request::SetMode { mode: 3 });
    world.leaves(ben);
    world.settle();
    assert_eq!((world.event_names(events), answer), (vec!["delivered"], vec![done(0x10, 0)]));
}

#[test]
fn a_login_that_writes_what_has_arrived_down_has_made_no_change() {
    let (mut world, ann, ben) = ann_and_ben(RESULTS);
    world.asks(ben, send(ann.number, b"hi"));
    world.take(ann.at);
    let at = world.asker(RESULTS);
    let events = world.events();
    let mail = world.log_in(at, ann.number, 0);
    assert_eq!((world.event_names(events), mail), (vec!["delivered"], vec![done(0x02, 0)]));
}

#[test]
fn what_changes_nothing_has_the_id_0_and_no_event() {
    let settings = Settings { operators: [ServiceNumber(10_001)].into(), ..open_settings() };
    let (mut world, ann, ben) = ann_and_ben_with(settings, RESULTS);
    let work = world.asks(ann, Request::AddGroup { name: b"work" });
    assert!(id_of(&work) > 0);
    let watch = Request::Monitor { watched: ben.number };
    assert!(id_of(&world.asks(ann, watch)) > 0);
    world.settle();

    let same = Account { password: Secret::new(b""), authentication: 255, ..account(b"ann") };
    let requests = [
        Request::SetMode { mode: 1 },
        Request::SetMode { mode: 3 },
        watch,
        Request::RenameGroup { group: GroupNumber(2), name: b"work" },
        Request::ChangeProfile(same),
        Request::ChangeProfile(Account { authentication: 0, ..same }),
        Request::Broadcast { group: 2, content: b"nobody is in it" },
    ];
    for request in requests {
        let events = world.events();
        assert_eq!(id_of(&world.asks(ann, request)), 0, "{request:?}");
        assert_eq!(world.event_names(events), [""; 0], "{request:?}");
    }
    let (first, work) = (GroupNumber(1), GroupNumber(2));
    let moves: &[&[_]] = &[&[], &[(ben.number, first)], &[(ben.number, work), (ben.number, first)]];
    for moves in moves {
        let events = world.events();
        assert_eq!(id_of(&world.moves(ann, moves)), 0, "{moves:?}");
        assert_eq!(world.event_names(events), [""; 0], "{moves:?}");
    }
    let stop = Request::Monitor { watched: ServiceNumber(0) };
    assert!(id_of(&world.asks(ann, stop)) > 0);
    assert_eq!(id_of(&world.asks(ann, stop)), 0);
}

#[test]
fn what_is_asked_again_and_changes_something_has_an_id_of_its_own() {
    let (mut world, ann, _) = ann_and_ben(RESULTS);
    let cay = world.registered(Account { authentication: 1, ..account(b"cay") });
    let ask = Request::RequestFriend { friend: cay, reason: b"please" };
    let first = id_of(&world.asks(ann, ask));
    let second = id_of(&world.asks(ann, ask));
    assert!(first < second, "{first} {second}");
    assert_eq!(kind_of(&world, second), "friend-requested");
}

#[test]
fn the_end_of_monitoring_is_a_change_of_the_packet_that_ends_it() {
    let settings = Settings { operators: [ServiceNumber(10_001)].into(), ..open_settings() };
    let (mut world, ann, ben) = ann_and_ben_with(settings, RESULTS);
    let watch = Request::Monitor { watched: ben.number };
    world.asks(ann, watch);
    let id = id_of(&world.asks(ann, Request::SetMode { mode: 4 }));
    assert_eq!(kind_of(&world, id), "monitoring-ended");

    world.log_in(ann.at, ann.number, 0);
    world.asks(ann, watch);
    let at = world.asker(RESULTS);
    let id = id_of(&world.log_in(at, ann.number, 0));
    assert_eq!(kind_of(&world, id), "monitoring-ended");
}

#[test]
fn an_operator_who_is_closed_over_a_message_does_not_change_the_messages_id() {
    let settings = Settings {
        operators: [ServiceNumber(10_001)].into(),
        mailbox_messages: 2_000,
        ..open_settings()
    };
    let mut world = World::with(settings);
    let (eve, ann) = (world.user(b"eve"), world.user(b"ann"));
    let ann = world.again(ann, RESULTS);
    for friend in world.crowd(250) {
        world.asks(ann, Request::AddFriend { friend });
    }
    world.does(eve, Request::Monitor { watched: ann.number });
    // Eve takes nothing any more, until there is no room left for what she is to be shown.
    world.journal.waiting = 1 << 20;
    let broadcast = Request::Broadcast { group: 0, content: b"x" };
    while !world.is_closed(eve.at) {
        let id = id_of(&world.asks(ann, broadcast));
        assert_eq!(kind_of(&world, id), "message-broadcast");
    }
    let all = world.event_names(0);
    assert_eq!(all[all.len() - 2..], ["message-broadcast", "monitoring-ended"]);
}

// Broadcasts

#[test]
fn a_broadcast_that_some_did_not_get_is_a_success_that_says_so() {
    let settings = Settings { mailbox_messages: 1, ..open_settings() };
    let mut world = World::with(settings);
    let ann = world.user(b"ann");
    let friends = [world.user(b"ben"), world.user(b"cay"), world.user(b"dan")];
    for friend in friends {
        world.befriend(ann, friend.number);
        world.settle();
    }
    let ann = world.again(ann, RESULTS);
    world.leaves(friends[0]);
    world.leaves(friends[1]);
    let broadcast = Request::Broadcast { group: 0, content: b"hi" };
    assert_eq!(world.asks(ann, send(friends[0].number, b"fills")).len(), 1);

    let answer = world.asks(ann, broadcast);
    assert_eq!(answer.len(), 1, "{answer:?}");
    let (packet_type, success, id, text) = answer[0].result().unwrap();
    assert_eq!((packet_type, success, kind_of(&world, id)), (0x04, true, "message-broadcast"));
    assert_eq!(text, "mailbox-full: 1 mailbox is full");
    assert_eq!(world.take(friends[2].at), [message(ann, b"hi")]);

    world.leaves(friends[2]);
    assert_eq!(world.asks(ann, send(friends[2].number, b"fills")).len(), 1);
    let answer = world.asks(ann, broadcast);
    assert_eq!((answer.len(), answer[0].failed()), (1, Some((0x04, Code::MailboxFull))));
}

#[test]
fn a_friend_requests_system_message_is_its_reply_and_comes_before_the_result() {
    let (mut world, ann, _) = ann_and_ben(RESULTS);
    for (authentication, kind) in [(0, SystemKind::Agreed), (2, SystemKind::Refused)] {
        let cay = world.user_who(b"cay", authentication);
        let answer = world.asks(ann, Request::AddFriend { friend: cay.number });
        assert_eq!(answer, [system(kind, cay), done(0x0C, world.last_change())]);
    }
}

#[test]
fn presence_and_results_do_not_disturb_each_other() {
    let (mut world, ann, ben) = ann_and_ben(RESULTS | PRESENCE);
    world.does(ben, Request::SetMode { mode: 2 });
    assert_eq!(world.take(ann.at), [crate::kit::extended::seen(ben.number, Presence::Offline)]);
    assert_eq!(world.asks(ann, Request::SetMode { mode: 2 }), [done(0x10, 0)]);
}

#[test]
fn a_login_needs_no_extension_to_be_answered_as_ever() {
    let mut world = World::new();
    let ann = world.registered(account(b"ann"));
    let at = world.asker(0);
    let log_in = Request::LogIn { password: Secret::new(PASSWORD), mode: 0 };
    let answer = world.ask(at, ann, log_in);
    assert_eq!((answer.len(), answer[0].packet_type), (1, 0x02));
}
