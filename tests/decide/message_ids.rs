//! Messages with ids, and their confirmation: `0x42` in both directions.

use oicq::engine::Settings;
use oicq::id::{Seq, ServiceNumber};
use oicq::limits::DELIVERIES_PER_EVENT;
use oicq::state::{Event, EventKind};
use oicq::wire::client::Account;
use oicq::wire::server::SystemKind;
use oicq::wire::{Code, Kind, Request, ServerPacket, cut};

use crate::kit::extended::{ALL, IDS, PRESENCE, RESULTS, done, numbered, numbered_system};
use crate::kit::people::{User, account, bytes_of, got, message, raw, system, tested};
use crate::kit::{Got, World};

fn send(to: User, content: &[u8]) -> Request<'_> {
    Request::Send { receiver: to.number, content }
}

fn arrived(through: u64) -> Request<'static> {
    Request::Arrived { through: Seq(through) }
}

fn with_mailboxes(mailbox_messages: u32) -> World {
    let settings = Settings { mailbox_messages, ..Settings::default() };
    World::with(Settings { registrations: 0, connections: 0, ..settings })
}

/// Ann without extensions, and ben whose messages have ids.
fn ann_and_ben() -> (World, User, User) {
    ann_and_ben_in(World::new())
}

fn ann_and_ben_in(mut world: World) -> (World, User, User) {
    let (ann, ben) = (world.user(b"ann"), world.user(b"ben"));
    let ben = world.again(ben, IDS);
    (world, ann, ben)
}

/// Ann sends messages that ben gets; their ids.
fn messages(world: &mut World, ann: User, ben: User, texts: &[&[u8]]) -> Vec<u64> {
    texts
        .iter()
        .map(|text| {
            world.does(ann, send(ben, text));
            let id = world.last_change();
            assert_eq!(world.take(ben.at), [numbered(world, id, ann, text)]);
            // Times that differ show which one is sent again.
            world.pass(1_000);
            id
        })
        .collect()
}

/// Whom deliveries are for, and up to which number, event by event.
fn deliveries(world: &World, from: usize) -> Vec<Vec<(ServiceNumber, u64)>> {
    let of_deliveries = |payload: &Vec<u8>| match Event::decode(EventKind::Delivered as u8, payload)
        .expect("own events decode")
    {
        Event::Delivered { receipts } => {
            receipts.iter().map(|(user, through)| (user, through.0)).collect()
        }
        other => unreachable!("{}", other.kind().name()),
    };
    let entries = world.journal.entries[from..].iter();
    let delivered = entries.filter(|entry| entry.kind == EventKind::Delivered as u8);
    delivered.map(|entry| of_deliveries(&entry.payload)).collect()
}

// What is sent

#[test]
fn a_message_has_its_id_and_time_before_what_it_has_ever_had() {
    let (mut world, ann, ben) = ann_and_ben();
    world.does(ann, send(ben, b"hi"));
    let (id, time) = (world.last_change(), world.now.wall.0);
    let received = world.take(ben.at);
    assert_eq!(received[0].packet_type, 0x42);
    let as_ever = [2, 0, 0, 0x27, 0x11, 0, 2, b'h', b'i', 0];
    assert_eq!(
        received[0].content,
        [&id.to_be_bytes()[..], &time.to_be_bytes(), &as_ever].concat()
    );
}

#[test]
fn the_id_is_the_one_in_the_senders_result() {
    let (mut world, ann, ben) = ann_and_ben();
    let ann = world.again(ann, RESULTS);
    let answer = world.asks(ann, send(ben, b"hi"));
    let (_, _, id, _) = answer[0].result().unwrap();
    assert_eq!(world.take(ben.at), [numbered(&world, id, ann, b"hi")]);
}

#[test]
fn system_messages_have_ids_too() {
    let mut world = World::new();
    let (ann, ben) = (world.user_who(b"ann", 1), world.user(b"ben"));
    let cay = world.user_who(b"cay", 2);
    let (ann, ben) = (world.again(ann, IDS), world.again(ben, IDS));
    let asks = Request::RequestFriend { friend: ann.number, reason: b"it is me" };
    let answer = |consent| Request::AnswerRequest { friend: ben.number, consent };
    let add = |friend: User| Request::AddFriend { friend: friend.number };
    // Who asks for what; who is told by whom, and what.
    let steps = [
        (ann, add(ben), ben, ann, SystemKind::Added),
        (ben, asks, ann, ben, SystemKind::Asks),
        (ann, answer(0), ben, ann, SystemKind::Refused),
        (ben, asks, ann, ben, SystemKind::Asks),
        (ann, answer(1), ben, ann, SystemKind::Agreed),
        (ann, add(cay), ann, cay, SystemKind::Refused),
    ];
    for (user, request, receiver, from, kind) in steps {
        world.take(receiver.at);
        let answer = world.asks(user, request);
        let received = if user == receiver { answer } else { world.take(receiver.at) };
        let text: &[u8] = if kind == SystemKind::Asks { b"it is me" } else { b"" };
        let expected = numbered_system(&world, world.last_change(), kind, from, text);
        assert_eq!(received, [expected], "{request:?}");
    }
}

#[test]
fn who_is_added_and_who_adds_get_the_same_id() {
    let (mut world, ann, ben) = ann_and_ben();
    let ann = world.again(ann, IDS);
    let answer = world.asks(ann, Request::AddFriend { friend: ben.number });
    let id = world.last_change();
    assert_eq!(answer, [numbered_system(&world, id, SystemKind::Agreed, ben, b"")]);
    let told = [numbered_system(&world, id, SystemKind::Added, ann, b"")];
    assert_eq!(world.take(ben.at), told);
}

#[test]
fn of_one_broadcast_each_receiver_gets_the_packet_that_it_asked_for() {
    let mut world = World::new();
    let ann = world.user(b"ann");
    let friends = world.crowd(6);
    for friend in &friends {
        world.befriend(ann, *friend);
    }
    for friend in &friends {
        let settled = world.session(*friend);
        world.settle();
        world.leaves(settled);
    }
    let wanted = [IDS, 0, RESULTS | PRESENCE, ALL, IDS];
    let receivers: Vec<_> = friends
        .iter()
        .zip(wanted)
        .map(|(friend, wanted)| world.extended(*friend, wanted))
        .collect();
    world.does(ann, Request::Broadcast { group: 0, content: b"hi" });
    let id = world.last_change();
    let with_id = numbered(&world, id, ann, b"hi");
    for (receiver, wanted) in receivers.into_iter().zip(wanted) {
        let expected = if wanted & IDS != 0 { with_id.clone() } else { message(ann, b"hi") };
        assert_eq!(world.take(receiver.at), [expected], "{wanted}");
    }
    world.pass(5_000);
    assert_eq!(world.extended_and_mail(friends[5], IDS).1, [with_id], "who was offline");
}

#[test]
fn a_message_goes_to_the_kind_of_its_receiver() {
    let (mut world, ann, ben) = ann_and_ben();
    world.leaves(ben);
    let at = world.connect();
    world.set_kind(at, Kind::Web);
    world.ask(at, ServiceNumber(0), Request::WantExtensions { wanted: IDS });
    world.log_in(at, ben.number, 0);
    world.does(ann, send(ben, b"hi"));
    let received = world.take(at);
    assert_eq!((received[0].receiver, received[0].packet_type), (Kind::Web as u8, 0x42));
}

#[test]
fn ones_own_message_comes_before_its_result() {
    let mut world = World::new();
    let ann = world.user(b"ann");
    let ann = world.again(ann, RESULTS | IDS);
    let answer = world.asks(ann, send(ann, b"note"));
    let id = world.last_change();
    assert_eq!(answer, [numbered(&world, id, ann, b"note"), done(0x03, id)]);
}

#[test]
fn what_is_monitored_has_no_id() {
    let settings = Settings {
        operators: [ServiceNumber(10_002)].into(),
        registrations: 0,
        ..Settings::default()
    };
    let (mut world, ann, ben) = ann_and_ben_in(World::with(settings));
    world.does(ben, Request::Monitor { watched: ann.number });
    let other = world.registered(account(b"cay"));
    world.does(ann, Request::Send { receiver: other, content: b"psst" });
    let (from, to, text) = (ann.number, other, &b"psst"[..]);
    assert_eq!(world.take(ben.at), [got(&ServerPacket::Monitored { from, to, text })]);
}

#[test]
fn a_slow_client_gets_its_messages_in_order_once_it_takes_them() {
    let (mut world, ann, ben) = ann_and_ben();
    let mut ids = messages(&mut world, ann, ben, &[b"one"]);
    world.journal.waiting = 1 << 20;
    for text in [b"two", b"six"] {
        world.does(ann, send(ben, text));
        ids.push(world.last_change());
        world.pass(1_000);
    }
    assert_eq!(world.take(ben.at), []);
    world.journal.waiting = 0;
    world.pass(1);
    let expected = [numbered(&world, ids[1], ann, b"two"), numbered(&world, ids[2], ann, b"six")];
    assert_eq!(world.take(ben.at), expected);
}

// When it is delivered

#[test]
fn bytes_that_were_acknowledged_do_not_deliver_a_message_with_an_id() {
    let (mut world, ann, ben) = ann_and_ben();
    let ids = messages(&mut world, ann, ben, &[b"one", b"two"]);
    world.settle();
    assert_eq!(world.waiting(ben), 2);
    assert!(!world.engine.awaits_acknowledgement(ben.at), "nobody has to look at the connection");
    world.leaves(ben);
    let (_, mail) = world.extended_and_mail(ben.number, IDS);
    let again = [numbered(&world, ids[0], ann, b"one"), numbered(&world, ids[1], ann, b"two")];
    assert_eq!(mail, again);
}

/// A way in which what was not confirmed is sent again.
type Again = fn(World, User) -> (World, Vec<Got>);

const AGAIN: &[(&str, Again)] = &[
    ("lost connection", |mut world, ben| {
        world.leaves(ben);
        let mail = world.extended_and_mail(ben.number, IDS).1;
        (world, mail)
    }),
    ("another connection", |mut world, ben| {
        let mail = world.extended_and_mail(ben.number, IDS).1;
        (world, mail)
    }),
    ("logout", |mut world, ben| {
        world.does(ben, Request::SetMode { mode: 4 });
        let mail = world.log_in(ben.at, ben.number, 0);
        (world, mail)
    }),
    ("kill", |world, ben| {
        let mut world = world.restart();
        let mail = world.extended_and_mail(ben.number, IDS).1;
        (world, mail)
    }),
    ("shutdown", |mut world, ben| {
        world.turn(|engine, journal| engine.handle_shutdown(journal));
        let mut world = world.restart();
        world.pass(10_000);
        let mail = world.extended_and_mail(ben.number, IDS).1;
        (world, mail)
    }),
];

#[test]
fn what_was_not_confirmed_is_sent_again_with_the_same_id_and_time_and_in_order() {
    for (how, again) in AGAIN {
        let (mut world, ann, ben) = ann_and_ben();
        let ids = messages(&mut world, ann, ben, &[b"one", b"two", b"six"]);
        assert_eq!(world.confirms(ben, ids[0]), []);
        world.settle();
        let (world, mail) = again(world, ben);
        let expected =
            [numbered(&world, ids[1], ann, b"two"), numbered(&world, ids[2], ann, b"six")];
        assert_eq!(mail, expected, "{how}");
    }
}

#[test]
fn what_was_confirmed_is_not_sent_again() {
    for (how, again) in AGAIN {
        let (mut world, ann, ben) = ann_and_ben();
        let ids = messages(&mut world, ann, ben, &[b"one", b"two"]);
        assert_eq!(world.confirms(ben, ids[1]), []);
        world.settle();
        assert_eq!(world.waiting(ben), 0);
        assert_eq!(again(world, ben).1, [], "{how}");
    }
}

#[test]
fn what_was_confirmed_just_before_the_next_login_is_not_sent_again() {
    let (mut world, ann, ben) = ann_and_ben();
    let ids = messages(&mut world, ann, ben, &[b"one"]);
    assert_eq!(world.confirms(ben, ids[0]), []);
    assert_eq!(world.extended_and_mail(ben.number, IDS).1, []);
}

#[test]
fn what_was_confirmed_and_not_yet_written_down_comes_again_after_a_kill_with_its_id() {
    let (mut world, ann, ben) = ann_and_ben();
    let ids = messages(&mut world, ann, ben, &[b"one"]);
    assert_eq!(world.confirms(ben, ids[0]), []);
    let mut world = world.restart();
    let again = [numbered(&world, ids[0], ann, b"one")];
    assert_eq!(world.extended_and_mail(ben.number, IDS).1, again);
}

#[test]
fn a_confirmation_is_written_down_soon_and_with_those_of_others() {
    let (mut world, ann, ben) = ann_and_ben();
    let cay = world.user(b"cay");
    let cay = world.again(cay, IDS);
    let to_ben = messages(&mut world, ann, ben, &[b"one", b"two"]);
    let to_cay = messages(&mut world, ann, cay, &[b"one"]);
    world.settle();
    let events = world.events();
    world.confirms(ben, to_ben[0]);
    world.confirms(cay, to_cay[0]);
    world.confirms(ben, to_ben[1]);
    assert_eq!(world.events(), events, "nobody waits for it");
    let deadline = world.engine.deadline().expect("a turn is asked for");
    world.pass(deadline.since(world.now.mono));
    let both = vec![(ben.number, to_ben[1]), (cay.number, to_cay[0])];
    assert_eq!(deliveries(&world, events), [both]);
    assert_eq!((world.waiting(ben), world.waiting(cay)), (0, 0));
    assert_eq!(world.engine.deadline(), None);
}

#[test]
fn what_has_arrived_at_more_users_than_one_event_holds_makes_several() {
    let mut world = World::new();
    let ann = world.user(b"ann");
    let crowd = world.crowd(DELIVERIES_PER_EVENT + 1);
    for receiver in &crowd {
        world.does(ann, Request::Send { receiver: *receiver, content: b"hi" });
    }
    // While there is no room for them they become many.
    world.journal.full = true;
    for number in &crowd {
        let user = world.session(*number);
        world.leaves(user);
    }
    let events = world.events();
    world.journal.full = false;
    world.settle();
    let written = deliveries(&world, events);
    let sizes: Vec<_> = written.iter().map(Vec::len).collect();
    assert_eq!(sizes, [DELIVERIES_PER_EVENT, 1]);
    assert!(written.iter().flatten().map(|(user, _)| *user).eq(crowd), "each of them once");
}

#[test]
fn a_confirmation_goes_along_with_the_changes_of_its_turn() {
    let (mut world, ann, ben) = ann_and_ben();
    let ids = messages(&mut world, ann, ben, &[b"one"]);
    world.settle();
    let events = world.events();
    let packets = [
        bytes_of(Kind::User, ben.number, arrived(ids[0])),
        bytes_of(Kind::User, ben.number, send(ann, b"got it")),
    ];
    world.turn(|engine, journal| {
        for packet in &packets {
            let frame = cut(packet, engine.expected(ben.at)).unwrap().unwrap();
            engine.handle_packet(ben.at, frame, journal);
        }
    });
    assert_eq!(world.event_names(events)[..2], ["message-sent", "delivered"]);
}

#[test]
fn a_confirmation_covers_what_was_sent_up_to_its_id_and_nothing_else() {
    // Which of three messages is named, moved by so much; how many are left.
    for (named, moved, left) in [(0, 0, 2), (1, 0, 1), (2, 0, 0), (0, -1, 3), (1, -1, 2)] {
        let (mut world, ann, ben) = ann_and_ben();
        let ids = messages(&mut world, ann, ben, &[b"one", b"two", b"six"]);
        world.confirms(ben, ids[named].saturating_add_signed(moved));
        world.settle();
        assert_eq!(world.waiting(ben), left, "{named} {moved}");
    }
}

#[test]
fn a_confirmation_of_what_was_never_sent_covers_what_was() {
    let (mut world, ann, ben) = ann_and_ben();
    messages(&mut world, ann, ben, &[b"one", b"two"]);
    assert_eq!(world.confirms(ben, u64::MAX), []);
    world.settle();
    assert_eq!(world.waiting(ben), 0);
    let ids = messages(&mut world, ann, ben, &[b"later"]);
    world.settle();
    assert_eq!(world.waiting(ben), 1, "what came later was not meant");
    world.leaves(ben);
    let again = [numbered(&world, ids[0], ann, b"later")];
    assert_eq!(world.extended_and_mail(ben.number, IDS).1, again);
}

#[test]
fn confirmations_of_nothing_do_nothing() {
    let (mut world, ann, ben) = ann_and_ben();
    for id in [0, 1, u64::MAX] {
        assert_eq!(world.confirms(ben, id), []);
    }
    let ids = messages(&mut world, ann, ben, &[b"one", b"two"]);
    world.confirms(ben, ids[1]);
    world.settle();
    let events = world.events();
    for id in [ids[1], ids[0], 0, u64::MAX, ids[1]] {
        assert_eq!(world.confirms(ben, id), []);
        world.settle();
    }
    assert_eq!(world.event_names(events), [""; 0]);
    world.goes_on(ben);
}

#[test]
fn a_confirmation_in_another_users_session_on_the_same_connection_does_not_count() {
    let (mut world, ann, ben) = ann_and_ben();
    let cay = world.registered(account(b"cay"));
    let ids = messages(&mut world, ann, ben, &[b"one"]);
    world.does(ben, Request::SetMode { mode: 4 });
    assert_eq!(world.log_in(ben.at, cay, 0), []);
    let cay = User { number: cay, at: ben.at };
    for id in [ids[0], u64::MAX] {
        assert_eq!(world.confirms(cay, id), []);
    }
    world.settle();
    assert_eq!(world.waiting(ben), 1);
    let again = [numbered(&world, ids[0], ann, b"one")];
    assert_eq!(world.extended_and_mail(ben.number, IDS).1, again);
}

#[test]
fn in_a_new_session_on_the_same_connection_what_it_is_sent_again_can_be_confirmed() {
    let (mut world, ann, ben) = ann_and_ben();
    let ids = messages(&mut world, ann, ben, &[b"one", b"two"]);
    world.does(ben, Request::SetMode { mode: 4 });
    assert_eq!(world.log_in(ben.at, ben.number, 0).len(), 2);
    world.confirms(ben, ids[0]);
    world.settle();
    assert_eq!(world.waiting(ben), 1);
}

#[test]
fn mail_that_is_sent_in_steps_is_confirmed_as_far_as_it_was_sent() {
    let mut world = World::new();
    let ann = world.user(b"ann");
    let ben = world.user(b"ben");
    world.leaves(ben);
    let texts: Vec<_> =
        (0..30_u8).map(|index| [&[b'a' + index % 26][..], &[b'.'; 8_000]].concat()).collect();
    let ids: Vec<_> = texts
        .iter()
        .map(|text| {
            world.does(ann, send(ben, text));
            world.last_change()
        })
        .collect();
    let at = world.asker(IDS);
    world.deaf.push(at);
    let first = world.log_in(at, ben.number, 0);
    assert!((1..30).contains(&first.len()), "a step of {}", first.len());
    assert!(!world.engine.is_ready(at), "packets wait until the mail is sent");
    // The rest is sent as soon as there is room, and what came meanwhile behind it.
    world.does(ann, send(ben, b"last"));
    let last = world.last_change();
    world.deaf.clear();
    world.settle();
    let rest = world.take(at);
    let all: Vec<_> = first.iter().chain(&rest).filter_map(Got::id).collect();
    assert_eq!(all, [&ids[..], &[last]].concat());
    let ben = User { at, ..ben };
    world.confirms(ben, ids[first.len() - 1]);
    world.settle();
    assert_eq!(world.waiting(ben), rest.len());
    let (_, again) = world.extended_and_mail(ben.number, IDS);
    assert!(again == rest, "{} of {}", again.len(), rest.len());
}

// Mailboxes

#[test]
fn a_message_fills_the_mailbox_until_it_is_confirmed() {
    let (mut world, ann, ben) = ann_and_ben_in(with_mailboxes(1));
    let ids = messages(&mut world, ann, ben, &[b"one"]);
    world.refused(ann, send(ben, b"two"), Code::MailboxFull);
    // Nothing of it is written down yet, and the mailbox is looked into all the same.
    world.confirms(ben, ids[0]);
    world.does(ann, send(ben, b"two"));
    assert_eq!(world.take(ben.at), [numbered(&world, world.last_change(), ann, b"two")]);
}

#[test]
fn a_newer_system_message_has_an_id_of_its_own_and_comes_alone() {
    let mut world = World::new();
    let (ann, ben) = (world.user(b"ann"), world.user_who(b"ben", 1));
    let ben = world.again(ben, IDS);
    let mut ids = Vec::new();
    for reason in [b"one", b"two"] {
        world.does(ann, Request::RequestFriend { friend: ben.number, reason });
        ids.push(world.last_change());
        let asks = numbered_system(&world, world.last_change(), SystemKind::Asks, ann, reason);
        assert_eq!(world.take(ben.at), [asks]);
    }
    assert!(ids[0] < ids[1]);
    world.leaves(ben);
    let asks = numbered_system(&world, ids[1], SystemKind::Asks, ann, b"two");
    assert_eq!(world.extended_and_mail(ben.number, IDS).1, [asks]);
}

#[test]
fn while_the_log_is_full_confirmations_are_taken_and_written_down_later() {
    let (mut world, ann, ben) = ann_and_ben();
    let ids = messages(&mut world, ann, ben, &[b"one", b"two"]);
    world.settle();
    world.journal.full = true;
    assert_eq!(world.confirms(ben, ids[0]), []);
    world.settle();
    world.leaves(ben);
    let two = [numbered(&world, ids[1], ann, b"two")];
    let (ben, mail) = world.extended_and_mail(ben.number, IDS);
    assert_eq!(mail, two, "what has arrived is not sent again");
    world.journal.full = false;
    world.settle();
    world.leaves(ben);
    let mut world = world.restart();
    assert_eq!(world.extended_and_mail(ben.number, IDS).1, two);
}

// With and without ids, one after the other

#[test]
fn what_was_not_confirmed_comes_to_a_client_without_ids_as_ever() {
    let (mut world, ann, ben) = ann_and_ben();
    messages(&mut world, ann, ben, &[b"one"]);
    let (ben, mail) = world.session_and_mail(ben.number);
    assert_eq!(mail, [message(ann, b"one")]);
    world.settle();
    assert_eq!(world.waiting(ben), 0, "now its bytes were acknowledged");
}

#[test]
fn what_was_not_acknowledged_comes_with_its_id_to_a_client_that_asked() {
    let mut world = World::new();
    let (ann, ben) = (world.user(b"ann"), world.user(b"ben"));
    world.deaf.push(ben.at);
    world.does(ann, send(ben, b"one"));
    let id = world.last_change();
    world.leaves(ben);
    let one = [numbered(&world, id, ann, b"one")];
    assert_eq!(world.extended_and_mail(ben.number, IDS).1, one);
}

#[test]
fn bytes_that_a_session_without_ids_was_sent_count_when_they_are_acknowledged() {
    let mut world = World::new();
    let (ann, ben) = (world.user(b"ann"), world.user(b"ben"));
    world.deaf.push(ben.at);
    world.does(ann, send(ben, b"one"));
    let one = message(ann, b"one");
    assert_eq!(world.take(ben.at), [one]);
    world.does(ben, Request::SetMode { mode: 4 });
    // On the same connection, with ids: it is not known yet whether it has arrived.
    world.ask(ben.at, ServiceNumber(0), Request::WantExtensions { wanted: IDS });
    assert_eq!(world.log_in(ben.at, ben.number, 0).len(), 1);
    world.deaf.clear();
    world.settle();
    world.settle();
    assert_eq!(world.waiting(ben), 0);
}

#[test]
fn what_has_been_delivered_is_not_delivered_a_second_time() {
    let mut world = World::new();
    let (ann, ben) = (world.user(b"ann"), world.user(b"ben"));
    world.deaf.push(ben.at);
    world.does(ann, send(ben, b"one"));
    let id = world.last_change();
    // It is on its way on the first connection when it is sent on the second.
    let (again, mail) = world.extended_and_mail(ben.number, IDS);
    assert_eq!(mail, [numbered(&world, id, ann, b"one")]);
    let events = world.events();
    world.deaf.clear();
    world.settle();
    world.settle();
    assert_eq!(world.event_names(events), ["delivered"]);
    world.confirms(again, id);
    world.settle();
    assert_eq!(world.event_names(events), ["delivered"], "that changes nothing");
    assert_eq!(world.engine.deadline(), None);
}

// What a confirmation has to keep to

#[test]
fn a_confirmation_has_a_result_with_the_id_0() {
    let (mut world, ann, ben) = ann_and_ben();
    let ben = world.again(ben, IDS | RESULTS);
    let ids = messages(&mut world, ann, ben, &[b"one"]);
    let events = world.events();
    for id in [ids[0], ids[0], 0, u64::MAX] {
        assert_eq!(world.confirms(ben, id), [done(0x42, 0)]);
        world.settle();
    }
    assert_eq!(world.event_names(events), ["delivered"]);
}

#[test]
fn without_ids_a_confirmation_is_an_unknown_type() {
    for wanted in [0, RESULTS, PRESENCE, RESULTS | PRESENCE] {
        let mut world = World::new();
        let ann = world.registered(account(b"ann"));
        let at = world.asker(wanted);
        for user in [User { number: ServiceNumber(0), at }, User { number: ann, at }] {
            if user.number == ann {
                world.log_in(at, ann, 0);
            }
            for content in [&[0; 12][..], &[7; 3], b""] {
                world.send_bytes(at, &raw(0x0A, 0x42, content));
                let answer = world.take(at);
                let said =
                    answer[0].failed().or(answer[0].notice().map(|(of, code, _)| (of, code)));
                assert_eq!((answer.len(), said), (1, Some((0x42, Code::UnknownType))));
                assert_eq!(answer[0].result().is_some(), wanted & RESULTS != 0);
            }
            let answer = world.asks(user, Request::Test);
            assert_eq!(answer[0], tested(user.number), "it goes on");
        }
    }
}

#[test]
fn a_confirmation_needs_a_session_and_is_a_violation_before_one() {
    let mut world = World::new();
    let stranger = User { number: ServiceNumber(0), at: world.asker(IDS) };
    let bytes = bytes_of(Kind::User, stranger.number, arrived(0));
    world.violated(stranger, &bytes, 0x42, Code::NotLoggedIn);
}

#[test]
fn a_confirmation_carries_ones_own_number_and_one_id() {
    let whole = bytes_of(Kind::User, ServiceNumber(10_002), arrived(9)).split_off(8);
    let mut wrong: Vec<_> = (0..whole.len()).map(|length| whole[..length].to_vec()).collect();
    wrong.push([&whole[..], &[0]].concat());
    for content in wrong {
        let (mut world, _, ben) = ann_and_ben();
        world.violated(ben, &raw(0x0A, 0x42, &content), 0x42, Code::Malformed);
    }
    let (mut world, ann, ben) = ann_and_ben();
    let bytes = bytes_of(Kind::User, ann.number, arrived(9));
    world.violated(ben, &bytes, 0x42, Code::WrongNumber);
}

#[test]
fn notices_and_whatever_else_is_no_message_have_no_id() {
    let (mut world, ann, ben) = ann_and_ben();
    world.refused(ben, Request::DeleteFriend { friend: ann.number }, Code::UnknownFriend);
    let ben = world.again(ben, PRESENCE | IDS);
    let agreed = world.asks(ben, Request::AddFriend { friend: ann.number });
    assert_eq!(agreed.len(), 2);
    assert_eq!((agreed[0].packet_type, agreed[1].packet_type), (0x42, 0x43));
    assert_eq!(world.take(ann.at), [system(SystemKind::Added, ben)]);
}

#[test]
fn a_message_keeps_its_id_while_its_receivers_account_changes() {
    let (mut world, ann, ben) = ann_and_ben();
    let ids = messages(&mut world, ann, ben, &[b"one"]);
    let change = Account { authentication: 1, ..account(b"benjamin") };
    world.does(ben, Request::ChangeProfile(change));
    world.leaves(ben);
    let one = [numbered(&world, ids[0], ann, b"one")];
    assert_eq!(world.extended_and_mail(ben.number, IDS).1, one);
}
