//! How much and how often: contents, logins, registrations, connections, requests, and times. Section 7.

use std::net::IpAddr;

use oicq::codec::secret::Secret;
use oicq::engine::{Engine, Outcome, Overdue, Settings, Verdict};
use oicq::id::{ConnectionId, ServiceNumber};
use oicq::limits::{PASSWORDS_WAITING, PASSWORDS_WAITING_EACH};
use oicq::wire::{Code, Kind, Request, ServerPacket};

use crate::kit::people::{PASSWORD, User, account, bytes_of, failure, message, raw};
use crate::kit::{Got, Journal, World};

const HERE: [u8; 4] = [192, 0, 2, 1];
const THERE: [u8; 4] = [198, 51, 100, 1];

fn log_in(password: &[u8]) -> Request<'_> {
    Request::LogIn { password: Secret::new(password), mode: 0 }
}

/// The failure reply, then a notice of this code; gives its sentence.
#[track_caller]
fn refusal(answer: &[Got], request: &Request<'_>, code: Code) -> String {
    let [replies @ .., notice] = answer else { panic!("a notice, not nothing") };
    let (packet_type, refused, sentence) = notice.notice().expect("a notice");
    assert_eq!((packet_type, refused), (request.packet_type() as u8, code), "{sentence}");
    assert_eq!(replies, Vec::from_iter(failure(request)));
    sentence
}

/// A login with the wrong password from an address.
#[track_caller]
fn fails(world: &mut World, address: impl Into<IpAddr>, number: ServiceNumber) {
    let at = world.connect_from(address.into());
    let request = log_in(b"wrong!");
    let answer = world.ask(at, number, request);
    refusal(&answer, &request, Code::BadLogin);
    world.disconnect(at);
}

/// A login with the right password from an address is not looked at; gives the sentence.
#[track_caller]
fn is_throttled(world: &mut World, address: impl Into<IpAddr>, number: ServiceNumber) -> String {
    let at = world.connect_from(address.into());
    let request = log_in(PASSWORD);
    let answer = world.ask(at, number, request);
    let sentence = refusal(&answer, &request, Code::Throttled);
    assert!(!world.is_closed(at), "a refusal closes nothing");
    world.disconnect(at);
    sentence
}

/// A login with the right password from an address.
#[track_caller]
fn succeeds(world: &mut World, address: impl Into<IpAddr>, number: ServiceNumber) {
    let at = world.connect_from(address.into());
    assert_eq!(world.log_in(at, number, 0), []);
    world.disconnect(at);
}

// Contents

#[test]
fn content_has_up_to_8192_bytes_before_login_and_65536_in_a_session() {
    for (in_session, most) in [(false, 8_192), (true, 65_536)] {
        let mut world = World::new();
        let user = if in_session { world.user(b"ann") } else { world.stranger() };
        let content = vec![0; most + 1];
        // A type that nobody knows, so that the length alone decides.
        world.send_bytes(user.at, &raw(0x0A, 0x7F, &content[..most]));
        world.noticed(user.at, 0x7F, Code::UnknownType);
        world.violated(user, &raw(0x0A, 0x03, &content), 0x03, Code::TooLarge);
    }
}

#[test]
fn the_limit_of_content_follows_the_session() {
    let mut world = World::new();
    let ann = world.user(b"ann");
    world.does(ann, Request::SetMode { mode: 4 });
    let user = User { number: ServiceNumber(0), at: ann.at };
    world.violated(user, &raw(0x0A, 0x02, &[0; 8_193]), 0x02, Code::TooLarge);
}

#[test]
fn a_header_is_enough_to_be_too_large() {
    let mut world = World::new();
    let ann = world.user(b"ann");
    world.send_bytes(ann.at, &[0x81, 0x0A, 0x01, 0x03, 0xFF, 0xFF, 0xFF, 0xFF]);
    world.noticed(ann.at, 0x03, Code::TooLarge);
    assert!(world.is_closed(ann.at));
}

// Failed logins

#[test]
fn after_five_failures_for_a_number_even_the_right_password_is_not_looked_at() {
    let mut world = World::new();
    let ann = world.registered(account(b"ann"));
    for last in 1..=5 {
        fails(&mut world, [10, 0, 0, last], ann);
    }
    let sentence = is_throttled(&mut world, [10, 0, 0, 6], ann);
    assert!(sentence.contains("1 s"), "{sentence}");
}

#[test]
fn after_five_failures_from_an_address_no_number_is_looked_at_there() {
    let mut world = World::new();
    let crowd = world.crowd(6);
    for &number in &crowd[..5] {
        fails(&mut world, HERE, number);
    }
    is_throttled(&mut world, HERE, crowd[5]);
    succeeds(&mut world, THERE, crowd[5]);
}

#[test]
fn failures_with_unknown_numbers_count_too() {
    let mut world = World::new();
    let ann = world.registered(account(b"ann"));
    for number in 1..=5 {
        fails(&mut world, HERE, ServiceNumber(number));
    }
    is_throttled(&mut world, HERE, ann);
}

#[test]
fn four_failures_throttle_nobody() {
    let mut world = World::new();
    let ann = world.registered(account(b"ann"));
    for _ in 0..4 {
        fails(&mut world, HERE, ann);
    }
    succeeds(&mut world, HERE, ann);
}

#[test]
fn the_time_to_wait_doubles_with_each_further_try_up_to_15_minutes() {
    let mut world = World::new();
    let ann = world.registered(account(b"ann"));
    for last in 1..=5 {
        fails(&mut world, [10, 0, 0, last], ann);
    }
    let waits: Vec<_> =
        (6..=18).map(|last| is_throttled(&mut world, [10, 0, 0, last], ann)).collect();
    for (sentence, seconds) in waits.iter().zip([1, 2, 4, 8, 16, 32, 64]) {
        assert!(sentence.ends_with(&format!(" {seconds} s")), "{seconds} s: {sentence}");
    }
    for sentence in &waits[10..] {
        assert!(sentence.ends_with(" 15 min"), "{sentence}");
    }
}

#[test]
fn who_has_waited_is_looked_at_again() {
    let mut world = World::new();
    let ann = world.registered(account(b"ann"));
    for last in 1..=5 {
        fails(&mut world, [10, 0, 0, last], ann);
    }
    is_throttled(&mut world, HERE, ann);
    is_throttled(&mut world, HERE, ann);
    world.pass(2_000);
    succeeds(&mut world, HERE, ann);
}

#[test]
fn a_success_clears_the_number() {
    let mut world = World::new();
    let ann = world.registered(account(b"ann"));
    for last in 1..=4 {
        fails(&mut world, [10, 0, 0, last], ann);
    }
    succeeds(&mut world, THERE, ann);
    for last in 5..=8 {
        fails(&mut world, [10, 0, 0, last], ann);
    }
    succeeds(&mut world, THERE, ann);
}

#[test]
fn the_right_password_of_another_kind_of_program_clears_nothing() {
    let ann = ServiceNumber(10_001);
    let services = [(Kind::Fax, ann)].into();
    let mut world = World::with(Settings { services, ..Settings::default() });
    world.registered(account(b"ann"));
    for last in 1..=4 {
        fails(&mut world, [10, 0, 0, last], ann);
    }
    let (at, request) = (world.connect_from(THERE.into()), log_in(PASSWORD));
    refusal(&world.ask(at, ann, request), &request, Code::NotAllowed);
    fails(&mut world, [10, 0, 0, 5], ann);
    is_throttled(&mut world, THERE, ann);
}

#[test]
fn failures_count_for_a_minute() {
    let mut world = World::new();
    let ann = world.registered(account(b"ann"));
    for _ in 0..4 {
        fails(&mut world, HERE, ann);
    }
    world.pass(60_001);
    for _ in 0..4 {
        fails(&mut world, HERE, ann);
    }
    succeeds(&mut world, HERE, ann);
}

#[test]
fn what_is_counted_does_not_outlive_the_server() {
    let mut world = World::new();
    let ann = world.registered(account(b"ann"));
    for _ in 0..5 {
        fails(&mut world, HERE, ann);
    }
    let mut world = world.restart();
    succeeds(&mut world, HERE, ann);
}

#[test]
fn how_many_logins_may_fail_can_be_set() {
    let mut world = World::with(Settings { login_failures: 2, ..Settings::default() });
    let ann = world.registered(account(b"ann"));
    fails(&mut world, HERE, ann);
    fails(&mut world, HERE, ann);
    is_throttled(&mut world, HERE, ann);
}

#[test]
fn throttled_logins_leave_sessions_alone() {
    let mut world = World::new();
    let ann = world.user(b"ann");
    for _ in 0..5 {
        fails(&mut world, HERE, ann.number);
    }
    is_throttled(&mut world, HERE, ann.number);
    assert_eq!(world.take(ann.at), []);
    world.goes_on(ann);
}

// Registrations

#[track_caller]
fn registers(world: &mut World, address: [u8; 4]) {
    let at = world.connect_from(address.into());
    let answer = world.ask(at, ServiceNumber(0), Request::Register(account(b"any")));
    assert!(matches!(answer[..], [ref one] if one.content[0] == 1), "{answer:?}");
}

#[track_caller]
fn may_not_register(world: &mut World, address: [u8; 4]) {
    let at = world.connect_from(address.into());
    let events = world.events();
    let request = Request::Register(account(b"any"));
    let answer = world.ask(at, ServiceNumber(0), request);
    let sentence = refusal(&answer, &request, Code::Throttled);
    assert!(sentence.ends_with(" s") || sentence.ends_with(" min"), "{sentence}");
    assert_eq!(world.events(), events);
}

#[test]
fn ten_registrations_a_minute_come_from_an_address() {
    let mut world = World::with(Settings::default());
    for _ in 0..10 {
        registers(&mut world, HERE);
    }
    may_not_register(&mut world, HERE);
    registers(&mut world, THERE);
    world.pass(61_000);
    registers(&mut world, HERE);
}

/// In which order passwords are worked on.
fn tickets(engine: &mut Engine, journal: &mut Journal) -> Vec<u64> {
    let mut tickets = Vec::new();
    while let Some(job) = engine.poll_password_job() {
        tickets.push(job.ticket);
        let verdict = Verdict { ticket: job.ticket, outcome: Outcome::Matches(false) };
        engine.handle_verdict(verdict, journal);
    }
    tickets
}

#[test]
fn addresses_take_turns_with_their_passwords() {
    let settings = Settings::default();
    let mut world = World::with(settings.clone());
    world.hold_passwords = true;
    let addresses = [HERE, HERE, HERE, HERE, THERE, THERE];
    let asked = addresses.map(|address| {
        let at = world.connect_from(address.into());
        assert_eq!(world.ask(at, ServiceNumber(0), Request::Register(account(b"any"))), []);
        at
    });
    world.disconnect(asked[1]);
    let mut kept = Vec::new();
    world.engine.save(&mut kept);
    let state = world.journal.replay();
    let mut restored = Engine::restore(settings, state, &kept, |_| None).unwrap();
    let expected = [1, 5, 3, 6, 4];
    assert_eq!(tickets(&mut world.engine, &mut world.journal), expected);
    assert_eq!(
        tickets(&mut restored, &mut world.journal),
        expected,
        "and after a restart of a replay"
    );
}

#[test]
fn where_very_many_passwords_wait_an_address_has_few_of_them() {
    let mut world = World::new();
    world.hold_passwords = true;
    let any = Request::Register(account(b"any"));
    let mut ask = |address: [u8; 4]| {
        let at = world.connect_from(address.into());
        (at, world.ask(at, ServiceNumber(0), any))
    };
    // As long as there are not many, they may all come from one address.
    for _ in 0..PASSWORDS_WAITING {
        assert_eq!(ask(HERE).1, []);
    }
    let told = refusal(&ask(HERE).1, &any, Code::Throttled);
    assert!(told.ends_with("wait 5 s"), "{told}");
    for _ in 0..PASSWORDS_WAITING_EACH {
        assert_eq!(ask(THERE).1, []);
    }
    let (refused, answer) = ask(THERE);
    refusal(&answer, &any, Code::Throttled);
    // A refusal closes nothing, and once fewer wait there is room again.
    let before = tickets(&mut world.engine, &mut world.journal).len();
    assert_eq!(before, PASSWORDS_WAITING + PASSWORDS_WAITING_EACH);
    assert_eq!(world.ask(refused, ServiceNumber(0), any), []);
}

#[test]
fn who_has_hung_up_has_no_password_looked_at() {
    let settings = Settings::default();
    let mut world = World::with(settings.clone());
    let (ann, ben) = (world.user(b"ann"), world.user(b"ben"));
    world.hold_passwords = true;
    for user in [ann, ben] {
        assert_eq!(world.asks(user, Request::ChangeProfile(account(b"other"))), []);
    }
    world.turn(|engine, _| assert_eq!(engine.poll_password_job().map(|job| job.ticket), Some(5)));
    world.disconnect(ben.at);
    let mut kept = Vec::new();
    world.engine.save(&mut kept);
    let state = world.journal.replay();
    assert!(Engine::restore(settings, state, &kept, |_| None).is_ok());
    let verdict = Verdict { ticket: 5, outcome: Outcome::Hashed("$".into()) };
    world.turn(|engine, journal| engine.handle_verdict(verdict, journal));
    assert_eq!(tickets(&mut world.engine, &mut world.journal), [] as [u64; 0]);
}

#[test]
fn refused_registrations_use_no_number() {
    let mut world = World::with(Settings { registrations: 1, ..Settings::default() });
    registers(&mut world, HERE);
    may_not_register(&mut world, HERE);
    let at = world.connect_from(THERE.into());
    let answer = world.ask(at, ServiceNumber(0), Request::Register(account(b"any")));
    let number = ServiceNumber(10_002);
    assert_eq!(answer[0].packet(), ServerPacket::Registered { success: true, number });
}

// Connections

/// A connection that is closed at once with a notice; gives its sentence.
#[track_caller]
fn may_not_connect(world: &mut World, address: IpAddr) -> String {
    let at = world.connect_from(address);
    assert!(world.is_closed(at));
    world.noticed(at, 0x00, Code::Throttled)
}

#[track_caller]
fn connects(world: &mut World, address: IpAddr) -> ConnectionId {
    let at = world.connect_from(address);
    world.goes_on(User { number: ServiceNumber(0), at });
    at
}

#[test]
fn so_many_connections_a_minute_come_from_an_address() {
    let mut world = World::with(Settings { connections: 3, ..Settings::default() });
    for _ in 0..3 {
        let at = connects(&mut world, HERE.into());
        world.disconnect(at);
    }
    may_not_connect(&mut world, HERE.into());
    connects(&mut world, THERE.into());
    world.pass(60_000);
    connects(&mut world, HERE.into());
}

#[test]
fn no_minute_has_more_of_them_and_the_sentence_says_when_there_is_room() {
    let mut world = World::with(Settings { connections: 3, ..Settings::default() });
    for wait_ms in [0, 20_000, 20_000] {
        world.pass(wait_ms);
        connects(&mut world, HERE.into());
    }
    let told = may_not_connect(&mut world, HERE.into());
    assert!(told.ends_with("wait 20 s"), "{told}");
    world.pass(19_000);
    let told = may_not_connect(&mut world, HERE.into());
    assert!(told.ends_with("wait 1 s"), "{told}");
    world.pass(1_000);
    connects(&mut world, HERE.into());
    may_not_connect(&mut world, HERE.into());
}

#[test]
fn by_default_it_is_a_thousand() {
    let mut world = World::with(Settings::default());
    for _ in 0..1_000 {
        world.connect_from(HERE.into());
    }
    may_not_connect(&mut world, HERE.into());
}

#[test]
fn addresses_of_one_ipv6_network_of_64_bits_count_together() {
    let mut world = World::with(Settings { connections: 2, ..Settings::default() });
    connects(&mut world, "2001:db8:1:2::1".parse().unwrap());
    connects(&mut world, "2001:db8:1:2:ffff:ffff:ffff:ffff".parse().unwrap());
    may_not_connect(&mut world, "2001:db8:1:2:3::".parse().unwrap());
    connects(&mut world, "2001:db8:1:3::1".parse().unwrap());
}

// Requests

/// Ten requests a second, five at once.
fn with_rate() -> World {
    let settings = Settings { requests_per_second: 10, requests_burst: 5, ..Settings::default() };
    World::with(settings)
}

#[test]
fn a_session_makes_so_many_requests_at_once_and_so_many_a_second() {
    let mut world = with_rate();
    let ann = world.user(b"ann");
    let request = Request::AddGroup { name: b"a" };
    for _ in 0..5 {
        assert_eq!(world.asks(ann, request)[0].content[0], 1);
    }
    let events = world.events();
    refusal(&world.asks(ann, request), &request, Code::Throttled);
    assert_eq!(world.events(), events);
    assert!(!world.is_closed(ann.at));
    world.pass(100);
    assert_eq!(world.asks(ann, request)[0].content[0], 1);
    refusal(&world.asks(ann, request), &request, Code::Throttled);
    world.pass(60_000);
    for _ in 0..5 {
        assert_eq!(world.asks(ann, request)[0].content[0], 1);
    }
    refusal(&world.asks(ann, request), &request, Code::Throttled);
}

#[test]
fn sessions_have_their_requests_for_themselves() {
    let mut world = with_rate();
    let (ann, ben) = (world.user(b"ann"), world.user(b"ben"));
    for _ in 0..5 {
        world.goes_on(ann);
    }
    refusal(&world.asks(ann, Request::Test), &Request::Test, Code::Throttled);
    world.goes_on(ben);
}

#[test]
fn pieces_of_files_are_no_requests() {
    let mut world = with_rate();
    let (ann, ben) = world.friends();
    world.does(ann, Request::OfferFile { friend: ben.number, name: b"a", length: 100 });
    world.take(ben.at);
    world.does(ben, Request::AnswerFile { friend: ann.number, allow: 1 });
    world.take(ann.at);
    for _ in 0..50 {
        world.does(ann, Request::FilePiece { friend: ben.number, data: b"x" });
    }
    assert_eq!(world.take(ben.at).len(), 50);
}

#[test]
fn by_default_a_session_makes_10000_requests_at_once_and_1000_a_second() {
    let mut world = World::with(Settings::default());
    let ann = world.user(b"ann");
    let one = bytes_of(Kind::User, ann.number, Request::Test);
    world.send_bytes(ann.at, &one.repeat(10_000));
    assert!(world.take(ann.at).iter().all(|got| got.packet_type == 0x16));
    refusal(&world.asks(ann, Request::Test), &Request::Test, Code::Throttled);
    world.pass(1_000);
    world.send_bytes(ann.at, &one.repeat(1_001));
    let answer = world.take(ann.at);
    assert!(answer[..1_000].iter().all(|got| got.packet_type == 0x16));
    refusal(&answer[1_000..], &Request::Test, Code::Throttled);
}

// Times

#[test]
fn a_registration_and_mode_4_begin_the_time_to_log_in_anew() {
    let mut world = World::new();
    let client = world.stranger();
    let begun = world.now.mono;
    assert_eq!(world.engine.sessionless_since(client.at), Some(begun));
    world.pass(20_000);
    world.goes_on(client);
    assert_eq!(world.engine.sessionless_since(client.at), Some(begun));
    world.asks(client, Request::Register(account(b"ann")));
    assert_eq!(world.engine.sessionless_since(client.at), Some(begun.plus(20_000)));
    world.pass(5_000);
    world.log_in(client.at, ServiceNumber(10_001), 0);
    assert_eq!(world.engine.sessionless_since(client.at), None);
    world.pass(5_000);
    let ann = User { number: ServiceNumber(10_001), at: client.at };
    world.does(ann, Request::SetMode { mode: 4 });
    assert_eq!(world.engine.sessionless_since(client.at), Some(begun.plus(30_000)));
}

#[test]
fn a_refused_registration_does_not_begin_the_time_to_log_in_anew() {
    let mut world = World::new();
    let client = world.stranger();
    let begun = world.now.mono;
    world.refused(client, Request::Register(account(b"")), Code::BadValue);
    assert_eq!(world.engine.sessionless_since(client.at), Some(begun));
}

#[test]
fn who_is_too_late_or_too_slow_is_told_and_closed() {
    let overdue =
        [(Overdue::Login, Code::Idle), (Overdue::Idle, Code::Idle), (Overdue::Slow, Code::Slow)];
    for (overdue, code) in overdue {
        let mut world = World::new();
        let at = world.connect();
        world.turn(|engine, journal| engine.handle_overdue(at, overdue, journal));
        world.ended(at, code);
    }
}

#[test]
fn one_who_is_too_slow_keeps_its_mailbox() {
    let mut world = World::new();
    let (ann, ben) = (world.user(b"ann"), world.user(b"ben"));
    world.deaf.push(ben.at);
    world.does(ann, Request::Send { receiver: ben.number, content: b"hi" });
    world.turn(|engine, journal| engine.handle_overdue(ben.at, Overdue::Slow, journal));
    let (_, mail) = world.session_and_mail(ben.number);
    assert_eq!(mail, [message(ann, b"hi")]);
}

#[test]
fn when_the_server_stops_every_connection_is_told_and_closed() {
    let mut world = World::new();
    let (stranger, ann) = (world.stranger(), world.user(b"ann"));
    world.turn(|engine, journal| engine.handle_shutdown(journal));
    for at in [stranger.at, ann.at] {
        world.ended(at, Code::Shutdown);
    }
}

#[test]
fn a_success_clears_the_number_and_not_the_address() {
    let mut world = World::new();
    let crowd = world.crowd(2);
    for _ in 0..4 {
        fails(&mut world, HERE, crowd[0]);
    }
    succeeds(&mut world, HERE, crowd[0]);
    fails(&mut world, HERE, crowd[1]);
    is_throttled(&mut world, HERE, crowd[0]);
}

/// How many of these answers were no `throttled`.
fn looked_at(answers: &[Vec<Got>]) -> usize {
    let throttled = |got: &Got| got.notice().is_some_and(|(_, code, _)| code == Code::Throttled);
    answers.iter().filter(|answer| !answer.iter().any(throttled)).count()
}

/// The answers to one packet every 1.1 seconds, each on a connection of its own.
fn steadily(world: &mut World, own: ServiceNumber, request: Request<'_>) -> Vec<Vec<Got>> {
    (0..20)
        .map(|_| {
            world.pass(1_100);
            let at = world.connect_from(HERE.into());
            world.ask(at, own, request)
        })
        .collect()
}

#[test]
fn who_goes_on_failing_at_a_steady_pace_is_throttled_too() {
    let mut world = World::new();
    let ann = world.registered(account(b"ann"));
    for _ in 0..5 {
        fails(&mut world, HERE, ann);
    }
    // Over 22 seconds, waits that double from 1 s on let at most five more be looked at.
    let answers = steadily(&mut world, ann, log_in(b"wrong!"));
    assert!(looked_at(&answers) <= 5, "{} of 20 were looked at", looked_at(&answers));
}

#[test]
fn who_goes_on_registering_at_a_steady_pace_is_throttled_too() {
    let mut world = World::with(Settings::default());
    for _ in 0..10 {
        registers(&mut world, HERE);
    }
    let request = Request::Register(account(b"any"));
    let answers = steadily(&mut world, ServiceNumber(0), request);
    assert!(looked_at(&answers) <= 5, "{} of 20 were looked at", looked_at(&answers));
}
