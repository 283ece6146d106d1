//! Operators who monitor conversations: `0x11`.

use std::collections::BTreeSet;

use oicq::engine::Settings;
use oicq::id::{ServiceNumber, UnixMillis};
use oicq::state::Event;
use oicq::wire::server::SystemKind;
use oicq::wire::{Code, Request, ServerPacket};

use crate::kit::people::{NOBODY, User, account, got, message, system};
use crate::kit::{Got, World};

fn watch(watched: User) -> Request<'static> {
    Request::Monitor { watched: watched.number }
}

fn stop() -> Request<'static> {
    Request::Monitor { watched: ServiceNumber(0) }
}

fn send(to: User, content: &[u8]) -> Request<'_> {
    Request::Send { receiver: to.number, content }
}

fn monitored(from: User, to: User, text: &[u8]) -> Got {
    got(&ServerPacket::Monitored { from: from.number, to: to.number, text })
}

/// The operator and three users, all in session. Users 10001 and 10002 are operators.
fn office() -> (World, User, [User; 3]) {
    office_with(Settings::default())
}

fn office_with(settings: Settings) -> (World, User, [User; 3]) {
    let operators = BTreeSet::from([ServiceNumber(10_001), ServiceNumber(10_002)]);
    let settings = Settings { operators, registrations: 0, connections: 0, ..settings };
    let mut world = World::with(settings);
    let operator = world.user(b"operator");
    world.registered(account(b"another operator"));
    let users = [world.user(b"ann"), world.user(b"ben"), world.user(b"cay")];
    (world, operator, users)
}

fn monitoring_events(world: &World) -> Vec<(UnixMillis, &'static str)> {
    let names = world.event_names(0);
    let times = world.journal.entries.iter().map(|entry| entry.time);
    times.zip(names).filter(|(_, name)| name.starts_with("monitoring")).collect()
}

#[test]
fn only_operators_monitor() {
    let (mut world, _, [ann, ben, _]) = office();
    world.refused(ann, watch(ben), Code::NotAllowed);
    world.refused(ann, stop(), Code::NotAllowed);
    world.refused(ann, watch(User { number: NOBODY, ..ben }), Code::NotAllowed);
    world.does(ben, send(ann, b"hi"));
    assert_eq!(world.take(ann.at), [message(ben, b"hi")]);
}

#[test]
fn an_unknown_number_cannot_be_monitored() {
    let (mut world, operator, [ann, ..]) = office();
    world.refused(operator, watch(User { number: NOBODY, ..ann }), Code::UnknownNumber);
}

#[test]
fn messages_to_and_from_the_watched_user_are_also_sent_to_the_operator() {
    let (mut world, operator, [ann, ben, cay]) = office();
    world.does(operator, watch(ann));
    world.does(ann, send(ben, b"from"));
    assert_eq!(world.take(operator.at), [monitored(ann, ben, b"from")]);
    assert_eq!(world.take(ben.at), [message(ann, b"from")]);
    world.does(cay, send(ann, b"to"));
    assert_eq!(world.take(operator.at), [monitored(cay, ann, b"to")]);
    world.does(cay, send(ben, b"between others"));
    assert_eq!(world.take(operator.at), []);
}

#[test]
fn messages_to_one_who_is_offline_are_monitored_when_they_are_sent_and_not_when_they_come() {
    let (mut world, operator, [ann, ben, _]) = office();
    world.does(operator, watch(ann));
    world.leaves(ben);
    world.does(ann, send(ben, b"hi"));
    assert_eq!(world.take(operator.at), [monitored(ann, ben, b"hi")]);
    world.session(ben.number);
    assert_eq!(world.take(operator.at), []);
}

#[test]
fn a_message_between_two_watched_users_is_sent_once() {
    let (mut world, operator, [ann, ben, _]) = office();
    world.does(operator, watch(ann));
    world.does(operator, watch(ben));
    world.does(ann, send(ben, b"hi"));
    assert_eq!(world.take(operator.at), [monitored(ann, ben, b"hi")]);
    assert_eq!(world.asks(ann, send(ann, b"note")), [message(ann, b"note")]);
    assert_eq!(world.take(operator.at), [monitored(ann, ann, b"note")]);
}

#[test]
fn a_broadcast_is_sent_once_for_each_receiver() {
    let (mut world, operator, [ann, ben, cay]) = office();
    world.befriend(ann, ben.number);
    world.befriend(ann, cay.number);
    world.does(operator, watch(ann));
    world.does(operator, watch(ben));
    world.does(ann, Request::Broadcast { group: 0, content: b"hi" });
    let both = [monitored(ann, ben, b"hi"), monitored(ann, cay, b"hi")];
    assert_eq!(world.take(operator.at), both);
}

#[test]
fn of_a_broadcast_only_what_the_watched_receiver_gets_is_sent() {
    let (mut world, operator, [ann, ben, cay]) = office();
    world.befriend(ann, ben.number);
    world.befriend(ann, cay.number);
    world.does(operator, watch(cay));
    world.does(ann, Request::Broadcast { group: 0, content: b"hi" });
    assert_eq!(world.take(operator.at), [monitored(ann, cay, b"hi")]);
}

#[test]
fn system_messages_and_refused_messages_are_not_monitored() {
    let (mut world, operator, [ann, ben, _]) = office();
    world.does(operator, watch(ann));
    world.befriend(ann, ben.number);
    world.refused(ann, send(User { number: NOBODY, ..ben }, b"hi"), Code::UnknownNumber);
    world.refused(ann, send(ben, b""), Code::BadValue);
    assert_eq!(world.take(operator.at), []);
    let again = world.asks(ben, Request::AddFriend { friend: ann.number });
    assert_eq!(again, [system(SystemKind::Agreed, ann)]);
    let dan = world.user_who(b"dan", 1);
    world.does(ann, Request::RequestFriend { friend: dan.number, reason: b"please" });
    assert_eq!(world.take(operator.at), []);
}

#[test]
fn an_operators_own_messages_are_monitored_like_others() {
    let (mut world, operator, [ann, ..]) = office();
    world.does(operator, watch(ann));
    world.take(ann.at);
    world.does(ann, send(operator, b"hi"));
    let mut received = world.take(operator.at);
    received.sort_by_key(|got| got.packet_type);
    assert_eq!(received, [message(ann, b"hi"), monitored(ann, operator, b"hi")]);
}

#[test]
fn each_operator_monitors_on_its_own() {
    let (mut world, one, [ann, ben, _]) = office();
    let other = world.session(ServiceNumber(10_002));
    world.does(one, watch(ann));
    world.does(other, watch(ben));
    world.does(ann, send(ben, b"both"));
    assert_eq!(world.take(one.at), [monitored(ann, ben, b"both")]);
    assert_eq!(world.take(other.at), [monitored(ann, ben, b"both")]);
    world.does(one, stop());
    world.does(ann, send(ben, b"one"));
    assert_eq!(world.take(one.at), []);
    assert_eq!(world.take(other.at), [monitored(ann, ben, b"one")]);
}

#[test]
fn watched_0_ends_all_of_ones_monitoring() {
    let (mut world, operator, [ann, ben, cay]) = office();
    world.does(operator, watch(ann));
    world.does(operator, watch(ben));
    world.does(operator, stop());
    world.does(ann, send(cay, b"hi"));
    world.does(cay, send(ben, b"hi"));
    assert_eq!(world.take(operator.at), []);
}

#[test]
fn stopping_what_never_began_is_done_silently() {
    let (mut world, operator, _) = office();
    world.does(operator, stop());
}

#[test]
fn each_start_and_each_end_stands_in_the_log_with_its_time() {
    let (mut world, operator, [ann, ben, _]) = office();
    let mut expected = Vec::new();
    for (request, name) in [
        (watch(ann), "monitoring-started"),
        (watch(ben), "monitoring-started"),
        (stop(), "monitoring-ended"),
        (watch(ann), "monitoring-started"),
    ] {
        world.pass(1_000);
        world.does(operator, request);
        expected.push((world.now.wall, name));
    }
    assert_eq!(monitoring_events(&world), expected);
    let first = world.journal.entries.iter().find(|entry| entry.time == expected[0].0).unwrap();
    let started = Event::decode(first.kind, &first.payload).unwrap();
    let (operator, watched) = (operator.number, ann.number);
    assert!(started == Event::MonitoringStarted { operator, watched });
}

/// A way in which a session ends.
type Ends = fn(&mut World, User);

#[test]
fn the_end_of_the_session_ends_monitoring_and_stands_in_the_log() {
    let ends: &[(&str, Ends)] = &[
        ("reset", |world, user| world.leaves(user)),
        ("mode 4", |world, user| world.does(user, Request::SetMode { mode: 4 })),
        ("elsewhere", |world, user| _ = world.session(user.number)),
        ("violation", |world, user| world.send_bytes(user.at, &[0x80])),
    ];
    for &(how, end) in ends {
        let (mut world, operator, [ann, ben, _]) = office();
        world.does(operator, watch(ann));
        world.pass(1_000);
        end(&mut world, operator);
        let ended = (world.now.wall, "monitoring-ended");
        assert_eq!(monitoring_events(&world)[1..], [ended], "{how}");
        let operator = world.session(operator.number);
        world.does(ann, send(ben, b"hi"));
        assert_eq!(world.take(operator.at), [], "{how}");
    }
}

#[test]
fn monitoring_ends_with_the_server_and_the_end_stands_in_the_log() {
    let (mut world, operator, [ann, ben, _]) = office();
    world.does(operator, watch(ann));
    let mut world = world.restart();
    let names: Vec<_> = monitoring_events(&world).into_iter().map(|(_, name)| name).collect();
    assert_eq!(names, ["monitoring-started", "monitoring-ended"]);
    let (operator, ann) = (world.session(operator.number), world.session(ann.number));
    world.does(ann, send(ben, b"hi"));
    assert_eq!(world.take(operator.at), []);
}

#[test]
fn monitoring_that_ends_while_the_log_is_full_ends_in_the_log_once_there_is_room() {
    let (mut world, operator, [ann, ben, _]) = office();
    world.does(operator, watch(ann));
    world.settle();
    world.journal.full = true;
    world.leaves(operator);
    world.settle();
    assert_eq!(monitoring_events(&world).len(), 1);
    world.journal.full = false;
    world.settle();
    assert_eq!(monitoring_events(&world).len(), 2);
    let operator = world.session(operator.number);
    world.does(ann, send(ben, b"hi"));
    assert_eq!(world.take(operator.at), []);
}

#[test]
fn without_a_session_nothing_is_monitored_even_while_the_log_is_full() {
    let (mut world, operator, [ann, ..]) = office();
    world.does(operator, watch(ann));
    world.settle();
    world.journal.full = true;
    world.does(operator, Request::SetMode { mode: 4 });
    world.log_in(operator.at, operator.number, 0);
    world.refused(operator, watch(ann), Code::StorageFull);
    world.journal.full = false;
    world.settle();
    assert_eq!(world.asks(ann, send(ann, b"note")), [message(ann, b"note")]);
    assert_eq!(world.take(operator.at), []);
}

#[test]
fn a_broadcast_is_not_monitored_for_those_whose_mailboxes_are_full() {
    let settings = Settings { mailbox_messages: 1, ..Settings::default() };
    let (mut world, operator, [ann, ben, cay]) = office_with(settings);
    world.befriend(ann, ben.number);
    world.befriend(ann, cay.number);
    world.leaves(ben);
    world.does(ann, send(ben, b"fills"));
    world.does(operator, watch(ann));
    world.asks(ann, Request::Broadcast { group: 0, content: b"hi" });
    assert_eq!(world.take(operator.at), [monitored(ann, cay, b"hi")]);
}

#[test]
fn what_a_new_session_monitors_is_not_ended_by_the_end_of_the_one_before() {
    let (mut world, operator, [ann, ben, _]) = office();
    world.does(operator, watch(ann));
    world.settle();
    world.journal.full = true;
    world.leaves(operator);
    let operator = world.session(operator.number);
    world.journal.full = false;
    world.does(operator, watch(ben));
    assert_eq!(world.asks(ben, send(ben, b"note")), [message(ben, b"note")]);
    assert_eq!(world.take(operator.at), [monitored(ben, ben, b"note")]);
    assert_eq!(world.asks(ann, send(ann, b"note")), [message(ann, b"note")]);
    assert_eq!(world.take(operator.at), [], "that was the session before");
}
