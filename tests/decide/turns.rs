//! What happens to connections between two looks at them: searches whose connection ends, clients that are
//! slow to take what they are sent, a log without room.

use oicq::codec::secret::Secret;
use oicq::engine::{Overdue, Settings};
use oicq::id::ServiceNumber;
use oicq::wire::{Kind, Request, ServerPacket, cut};

use crate::kit::World;
use crate::kit::people::{PASSWORD, User, bytes_of, got, message};

fn search(world: &mut World, users: &[User], then: impl FnOnce(&mut World)) {
    let request = Request::Search { statement: b"SELECT * FROM users WHERE age = 99" };
    // All of it within one turn, so that no search gets further than to its place in the queue.
    for user in users {
        let bytes = bytes_of(Kind::User, user.number, request);
        world.engine.begin_turn(world.now);
        let frame = cut(&bytes, world.engine.expected(user.at)).unwrap().unwrap();
        world.engine.handle_packet(user.at, frame, &mut world.journal);
    }
    then(world);
}

#[test]
fn a_connection_that_is_closed_while_its_search_waits_stays_closed() {
    let settings =
        Settings { max_connections: 2, connections: 0, registrations: 0, ..Settings::default() };
    let mut world = World::with(settings);
    let ann = world.user(b"ann");
    let ben = world.user(b"ben");
    search(&mut world, &[ann, ben], |world| {
        world.turn(|engine, journal| engine.handle_overdue(ann.at, Overdue::Slow, journal));
    });
    assert!(world.engine.is_closing(ann.at));
    world.disconnect(ann.at);

    // There is room for one more beside ben, and for no second one.
    let eve = world.connect();
    assert!(world.engine.is_ready(eve) && !world.is_closed(eve));
    let mia = world.connect();
    assert!(world.is_closed(eve) && !world.is_closed(mia) && !world.is_closed(ben.at));
}

#[test]
fn a_connection_whose_password_is_looked_at_makes_room_last() {
    let settings =
        Settings { max_connections: 3, connections: 0, registrations: 0, ..Settings::default() };
    let mut world = World::with(settings);
    let ann = world.user(b"ann");
    world.leaves(ann);
    world.hold_passwords = true;
    let [waits, idle] = [world.connect(), world.connect()];
    let password = Secret::new(PASSWORD);
    assert_eq!(world.ask(waits, ann.number, Request::LogIn { password, mode: 0 }), []);
    let later = world.connect();
    let _ = world.connect();
    assert!(world.is_closed(idle) && !world.is_closed(later), "the oldest that waits for nothing");
    let [other, another] = [later, world.connect()];
    assert!(world.is_closed(other) && !world.is_closed(waits));
    world.disconnect(another);

    // Where all of them are looked at, none makes room; in session and out of it again, it does.
    world.hold_passwords = false;
    world.pass(1);
    assert_eq!(world.engine.connection_of(ann.number), Some(waits));
    let ann = User { number: ann.number, at: waits };
    world.asks(ann, Request::SetMode { mode: 4 });
    let all: Vec<_> = (0..4).map(|_| world.connect()).collect();
    assert!(world.is_closed(waits) && !world.is_closed(all[3]));
}

#[test]
fn where_every_password_is_looked_at_a_new_connection_is_turned_away() {
    let settings =
        Settings { max_connections: 1, connections: 0, registrations: 0, ..Settings::default() };
    let mut world = World::with(settings);
    world.hold_passwords = true;
    let waits = world.connect();
    let password = Secret::new(PASSWORD);
    assert_eq!(world.ask(waits, ServiceNumber(10_001), Request::LogIn { password, mode: 0 }), []);
    let new = world.connect();
    assert!(world.is_closed(new) && !world.is_closed(waits));
}

#[test]
fn a_slow_client_gets_its_messages_in_order_once_it_takes_them() {
    let mut world = World::new();
    let ann = world.user(b"ann");
    let ben = world.user(b"ben");
    world.does(ann, Request::Send { receiver: ben.number, content: b"one" });
    world.journal.waiting = 1 << 20;
    world.does(ann, Request::Send { receiver: ben.number, content: b"two" });
    world.does(ann, Request::Send { receiver: ben.number, content: b"three" });
    assert_eq!(world.take(ben.at), [message(ann, b"one")]);
    assert!(world.engine.wants_room(ben.at) && !world.engine.is_ready(ben.at));

    world.journal.waiting = 0;
    world.pass(1);
    assert_eq!(world.take(ben.at), [message(ann, b"two"), message(ann, b"three")]);
    assert!(world.engine.is_ready(ben.at));
    world.does(ann, Request::Send { receiver: ben.number, content: b"four" });
    assert_eq!(world.take(ben.at), [message(ann, b"four")]);
}

#[test]
fn what_has_arrived_is_not_sent_again_even_if_the_log_has_no_room_to_say_so() {
    let mut world = World::new();
    let ann = world.user(b"ann");
    let ben = world.user(b"ben");
    world.does(ann, Request::Send { receiver: ben.number, content: b"one" });
    assert_eq!(world.take(ben.at), [message(ann, b"one")]);
    world.journal.full = true;
    world.disconnect(ben.at);
    let (_, mail) = world.session_and_mail(ben.number);
    assert_eq!(mail, []);
}

#[test]
fn a_client_that_is_no_longer_slow_gets_messages_at_once_again() {
    let mut world = World::new();
    let ann = world.user(b"ann");
    let ben = world.user(b"ben");
    world.journal.waiting = 1 << 20;
    world.does(ann, Request::Send { receiver: ben.number, content: b"one" });
    world.does(ann, Request::Send { receiver: ben.number, content: b"two" });
    world.journal.waiting = 0;
    world.pass(1);
    assert_eq!(world.take(ben.at), [message(ann, b"one"), message(ann, b"two")]);

    // Nobody would look at the connection again, were the message left for later.
    let request = Request::Send { receiver: ben.number, content: b"three" };
    let bytes = bytes_of(Kind::User, ann.number, request);
    let frame = cut(&bytes, world.engine.expected(ann.at)).unwrap().unwrap();
    world.turn(|engine, journal| {
        engine.handle_packet(ann.at, frame, journal);
        assert!(!engine.wants_room(ben.at));
    });
    assert_eq!(world.take(ben.at), [message(ann, b"three")]);
}

#[test]
fn what_a_slow_client_is_sent_during_its_search_comes_behind_the_result() {
    let mut world = World::new();
    let ann = world.user(b"ann");
    let ben = world.user(b"ben");
    search(&mut world, &[ben], |world| {
        world.journal.waiting = 1 << 20;
        let request = Request::Send { receiver: ben.number, content: b"one" };
        let bytes = bytes_of(Kind::User, ann.number, request);
        let frame = cut(&bytes, world.engine.expected(ann.at)).unwrap().unwrap();
        world.engine.handle_packet(ann.at, frame, &mut world.journal);
        world.journal.waiting = 0;
        world.pass(1);
    });
    let nobody = got(&ServerPacket::Found { success: true, users: Vec::new() });
    assert_eq!(world.take(ben.at), [nobody, message(ann, b"one")]);
}

#[test]
fn a_slow_operator_gets_what_it_monitors_in_order_once_it_takes_it() {
    let operators = [ServiceNumber(10_003)].into();
    let mut world = World::with(Settings {
        operators,
        connections: 0,
        registrations: 0,
        ..Settings::default()
    });
    let ann = world.user(b"ann");
    let ben = world.user(b"ben");
    let eve = world.user(b"eve");
    world.does(eve, Request::Monitor { watched: ann.number });
    let monitored = |text| got(&ServerPacket::Monitored { from: ann.number, to: ben.number, text });
    world.does(ann, Request::Send { receiver: ben.number, content: b"one" });
    world.journal.waiting = 1 << 20;
    world.does(ann, Request::Send { receiver: ben.number, content: b"two" });
    world.journal.waiting = 0;
    assert_eq!(world.take(eve.at), [monitored(b"one")]);
    assert!(world.engine.wants_room(eve.at) && world.engine.is_ready(eve.at));
    world.pass(1);
    world.does(ann, Request::Send { receiver: ben.number, content: b"three" });
    assert_eq!(world.take(eve.at), [monitored(b"two"), monitored(b"three")]);
}
