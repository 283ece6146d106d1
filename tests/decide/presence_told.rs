//! Friends' states as they change, to those who asked: `0x43`.

use oicq::engine::{Overdue, Settings};
use oicq::id::{GroupNumber, ServiceNumber};
use oicq::wire::client::Account;
use oicq::wire::server::Presence::{self, DoNotDisturb, Offline, Online};
use oicq::wire::server::SystemKind;
use oicq::wire::{Code, Kind, Request, ServerPacket};

use crate::kit::extended::{ALL, IDS, PRESENCE, RESULTS, done, seen};
use crate::kit::people::{User, account, message, system};
use crate::kit::{Got, World};

const fn mode(mode: u8) -> Request<'static> {
    Request::SetMode { mode }
}

const fn add(friend: ServiceNumber) -> Request<'static> {
    Request::AddFriend { friend }
}

/// Ann, who is told of ben, and ben, both in session and in each other's friend lists.
fn ann_and_ben() -> (World, User, User) {
    let mut world = World::new();
    let (ann, ben) = world.friends();
    let ann = world.again(ann, PRESENCE);
    assert_eq!(world.take(ann.at), []);
    (world, ann, ben)
}

#[test]
fn a_state_is_a_number_and_a_byte() {
    let (mut world, ann, ben) = ann_and_ben();
    world.does(ben, mode(3));
    let told = world.take(ann.at);
    assert_eq!((told.len(), told[0].packet_type), (1, 0x43));
    assert_eq!(told[0].content, [0, 0, 0x27, 0x12, 3]);
}

/// Something that ben does, or that happens to him.
type Deed = fn(&mut World, User) -> User;

/// Logs ben in on a new connection: the session before, if there is one, makes room.
fn comes(world: &mut World, ben: User, mode: u8) -> User {
    let at = world.connect();
    world.log_in(at, ben.number, mode);
    User { at, ..ben }
}

const LOGS_IN: Deed = |world, ben| comes(world, ben, 0);
const LOGS_IN_HIDDEN: Deed = |world, ben| comes(world, ben, 1);
const SHOWS: Deed = |world, ben| {
    world.does(ben, mode(1));
    ben
};
const HIDES: Deed = |world, ben| {
    world.does(ben, mode(2));
    ben
};
const KEEPS_OTHERS_AWAY: Deed = |world, ben| {
    world.does(ben, mode(3));
    ben
};
const LOGS_OUT: Deed = |world, ben| {
    world.does(ben, mode(4));
    ben
};
const LOSES_CONNECTION: Deed = |world, ben| {
    world.leaves(ben);
    ben
};
const SENDS_NONSENSE: Deed = |world, ben| {
    world.send_bytes(ben.at, &[0x80]);
    ben
};
const IS_IDLE: Deed = |world, ben| {
    world.turn(|engine, journal| engine.handle_overdue(ben.at, Overdue::Idle, journal));
    ben
};
const IS_SLOW: Deed = |world, ben| {
    world.turn(|engine, journal| engine.handle_overdue(ben.at, Overdue::Slow, journal));
    ben
};

/// What ben does, one thing after the other, and what ann is told of it. He begins online.
const STORIES: &[&[(&str, Deed, Option<Presence>)]] = &[
    &[
        ("shows himself, as he did", SHOWS, None),
        ("do not disturb", KEEPS_OTHERS_AWAY, Some(DoNotDisturb)),
        ("do not disturb, as before", KEEPS_OTHERS_AWAY, None),
        ("hides", HIDES, Some(Offline)),
        ("hides, as before", HIDES, None),
        ("shows himself", SHOWS, Some(Online)),
        ("hides", HIDES, Some(Offline)),
        ("do not disturb", KEEPS_OTHERS_AWAY, Some(DoNotDisturb)),
        ("shows himself", SHOWS, Some(Online)),
        ("logs out", LOGS_OUT, Some(Offline)),
        ("his connection is lost after that", LOSES_CONNECTION, None),
        ("logs in", LOGS_IN, Some(Online)),
        ("his connection is lost", LOSES_CONNECTION, Some(Offline)),
        ("logs in hidden", LOGS_IN_HIDDEN, None),
        ("logs out, hidden", LOGS_OUT, None),
        ("logs in hidden", LOGS_IN_HIDDEN, None),
        ("his connection is lost, hidden", LOSES_CONNECTION, None),
    ],
    &[
        ("logs in elsewhere", LOGS_IN, None),
        ("and again", LOGS_IN, None),
        ("logs in elsewhere, hidden", LOGS_IN_HIDDEN, Some(Offline)),
        ("and again", LOGS_IN_HIDDEN, None),
        ("logs in elsewhere, visible", LOGS_IN, Some(Online)),
        ("do not disturb", KEEPS_OTHERS_AWAY, Some(DoNotDisturb)),
        ("logs in elsewhere", LOGS_IN, Some(Online)),
    ],
    &[
        ("sends nonsense", SENDS_NONSENSE, Some(Offline)),
        ("his connection ends", LOSES_CONNECTION, None),
        ("logs in", LOGS_IN, Some(Online)),
        ("is idle", IS_IDLE, Some(Offline)),
        ("logs in", LOGS_IN, Some(Online)),
        ("is slow", IS_SLOW, Some(Offline)),
        ("logs in hidden", LOGS_IN_HIDDEN, None),
        ("sends nonsense, hidden", SENDS_NONSENSE, None),
    ],
];

#[test]
fn each_change_that_can_be_seen_is_told_once() {
    for story in STORIES {
        let (mut world, ann, mut ben) = ann_and_ben();
        for (what, deed, told) in *story {
            ben = deed(&mut world, ben);
            let expected = Vec::from_iter(told.map(|state| seen(ben.number, state)));
            assert_eq!(world.take(ann.at), expected, "{what}");
            world.pass(1_000);
            assert_eq!(world.take(ann.at), [], "{what}, later");
        }
    }
}

#[test]
fn only_those_who_asked_are_told() {
    for wanted in 0..=ALL {
        let (mut world, ann, ben) = ann_and_ben();
        let ann = world.again(ann, wanted);
        world.does(ben, mode(2));
        let expected = if wanted & PRESENCE != 0 { 1 } else { 0 };
        assert_eq!(world.take(ann.at).len(), expected, "{wanted}");
    }
}

#[test]
fn who_does_not_ask_in_its_next_session_is_not_told_any_more() {
    let (mut world, ann, ben) = ann_and_ben();
    world.does(ann, mode(4));
    world.does(ben, mode(3));
    assert_eq!(world.take(ann.at), [], "without a session nobody has friends");
    world.ask(ann.at, ServiceNumber(0), Request::WantExtensions { wanted: RESULTS | IDS });
    world.log_in(ann.at, ann.number, 0);
    world.does(ben, mode(1));
    assert_eq!(world.take(ann.at), []);
    let ann = world.session(ann.number);
    world.does(ben, mode(3));
    assert_eq!(world.take(ann.at), []);
}

#[test]
fn only_the_friend_lists_of_those_who_are_told_count() {
    let mut world = World::new();
    let (ann, ben) = (world.user(b"ann"), world.user(b"ben"));
    world.befriend(ann, ben.number);
    let (ann, ben) = (world.again(ann, PRESENCE), world.again(ben, PRESENCE));
    world.take(ann.at);
    world.does(ben, mode(3));
    assert_eq!(world.take(ann.at), [seen(ben.number, DoNotDisturb)]);
    // Ben has not added her.
    world.does(ann, mode(3));
    world.leaves(ann);
    assert_eq!(world.take(ben.at), []);
}

#[test]
fn one_who_is_hidden_is_told_of_others() {
    let (mut world, ann, ben) = ann_and_ben();
    world.does(ann, mode(2));
    world.does(ben, mode(3));
    assert_eq!(world.take(ann.at), [seen(ben.number, DoNotDisturb)]);
}

#[test]
fn nobody_is_told_of_itself_nor_of_what_the_login_reply_has_shown() {
    let (mut world, ann, ben) = ann_and_ben();
    let ben = world.again(ben, ALL);
    let ben_offline_and_back = [seen(ben.number, Offline), seen(ben.number, Online)];
    assert_eq!(world.take(ann.at), ben_offline_and_back);
    assert_eq!(world.asks(ben, mode(3)), [done(0x10, 0)]);
    world.leaves(ann);
    world.take(ben.at);
    let (ann, mail) = world.extended_and_mail(ann.number, ALL);
    assert_eq!(mail, [done(0x02, 0)]);
    assert_eq!(world.take(ben.at), [seen(ann.number, Online)]);
}

#[test]
fn a_friend_who_comes_is_told_before_its_first_message() {
    let (mut world, ann, ben) = ann_and_ben();
    world.leaves(ben);
    world.take(ann.at);
    let ben = world.session(ben.number);
    world.does(ben, Request::Send { receiver: ann.number, content: b"hi" });
    assert_eq!(world.take(ann.at), [seen(ben.number, Online), message(ben, b"hi")]);
}

// Friends who are added and deleted

/// Ann, who is told of her friends, and has none.
fn alone() -> (World, User) {
    let mut world = World::new();
    let ann = world.registered(account(b"ann"));
    let ann = world.extended(ann, PRESENCE);
    (world, ann)
}

/// Ben's modes before he is added, and how he looks then.
const STATES: &[(&str, Deed, Presence)] = &[
    ("online", SHOWS, Online),
    ("hidden", HIDES, Offline),
    ("do not disturb", KEEPS_OTHERS_AWAY, DoNotDisturb),
    ("logged out", LOGS_OUT, Offline),
    ("away", LOSES_CONNECTION, Offline),
];

#[test]
fn a_friend_that_is_added_is_told_with_its_state() {
    for (what, deed, state) in STATES {
        let (mut world, ann) = alone();
        let ben = world.user(b"ben");
        deed(&mut world, ben);
        let expected = [system(SystemKind::Agreed, ben), seen(ben.number, *state)];
        assert_eq!(world.asks(ann, add(ben.number)), expected, "{what}");
        world.settle();
        assert_eq!(world.take(ann.at), [], "{what}: once");
    }
}

#[test]
fn a_friend_that_agrees_is_told_with_its_state() {
    for (what, deed, state) in &STATES[..3] {
        let (mut world, ann) = alone();
        let ben = world.user_who(b"ben", 1);
        deed(&mut world, ben);
        assert_eq!(world.asks(ann, add(ben.number)), [], "{what}: it is not added yet");
        let agree = Request::AnswerRequest { friend: ann.number, consent: 1 };
        world.asks(ben, agree);
        let expected = [system(SystemKind::Agreed, ben), seen(ben.number, *state)];
        assert_eq!(world.take(ann.at), expected, "{what}");
    }
}

#[test]
fn a_friend_that_agrees_while_the_asker_is_away_is_in_its_next_login_reply_alone() {
    let (mut world, ann) = alone();
    let ben = world.user_who(b"ben", 1);
    world.asks(ann, add(ben.number));
    world.leaves(ann);
    world.take(ben.at);
    world.does(ben, Request::AnswerRequest { friend: ann.number, consent: 1 });
    let (_, mail) = world.extended_and_mail(ann.number, PRESENCE);
    assert_eq!(mail, [system(SystemKind::Agreed, ben)]);
}

#[test]
fn who_is_added_or_refuses_is_told_nothing_and_nobody_else_is() {
    let (mut world, ann) = alone();
    let (ben, cay) = (world.user(b"ben"), world.user_who(b"cay", 2));
    let ben = world.again(ben, PRESENCE);
    world.asks(ann, add(ben.number));
    assert_eq!(world.take(ben.at), [system(SystemKind::Added, ann)]);
    assert_eq!(world.asks(ann, add(cay.number)), [system(SystemKind::Refused, cay)]);
    let dan = world.user_who(b"dan", 1);
    world.asks(ann, add(dan.number));
    world.take(dan.at);
    world.does(dan, Request::AnswerRequest { friend: ann.number, consent: 0 });
    assert_eq!(world.take(ann.at), [system(SystemKind::Refused, dan)]);
    world.does(dan, mode(3));
    assert_eq!(world.take(ann.at), []);
}

#[test]
fn from_then_on_the_new_friends_changes_are_told() {
    let (mut world, ann) = alone();
    let ben = world.user(b"ben");
    world.asks(ann, add(ben.number));
    world.does(ben, mode(3));
    world.leaves(ben);
    let expected = [seen(ben.number, DoNotDisturb), seen(ben.number, Offline)];
    assert_eq!(world.take(ann.at), expected);
}

#[test]
fn nothing_is_told_when_a_friend_is_deleted_nor_afterwards() {
    let (mut world, ann, ben) = ann_and_ben();
    assert_eq!(world.asks(ann, Request::DeleteFriend { friend: ben.number }), []);
    world.does(ben, mode(3));
    world.leaves(ben);
    assert_eq!(world.take(ann.at), []);
    let expected = [system(SystemKind::Agreed, ben), seen(ben.number, Offline)];
    assert_eq!(world.asks(ann, add(ben.number)), expected, "added again, told again");
}

#[test]
fn moving_friends_and_groups_tells_nothing() {
    let (mut world, ann, ben) = ann_and_ben();
    let work = world.group(ann, b"work");
    world.moved(ann, &[(ben.number, work)]);
    assert_eq!(world.asks(ann, Request::DeleteGroup { group: GroupNumber(2) }).len(), 1);
}

// Order, storms and the log

#[test]
fn a_new_friends_state_comes_with_the_news_and_before_the_result() {
    let mut world = World::new();
    let ann = world.registered(account(b"ann"));
    let ann = world.extended(ann, ALL);
    let ben = world.user(b"ben");
    let answer = world.asks(ann, add(ben.number));
    let types: Vec<_> = answer.iter().map(|got| got.packet_type).collect();
    assert_eq!(types, [0x42, 0x43, 0x41], "what adding says, and then its result");
    // Her own login ends another's session: nothing of that is about a friend.
    let (_, mail) = world.extended_and_mail(ann.number, ALL);
    assert_eq!(mail[0], done(0x02, 0));
}

#[test]
fn states_are_no_events_and_need_no_room_in_the_log() {
    let (mut world, ann, ben) = ann_and_ben();
    world.settle();
    world.journal.full = true;
    let events = world.events();
    world.does(ben, mode(2));
    world.does(ben, mode(1));
    world.leaves(ben);
    let expected = [Offline, Online, Offline].map(|state| seen(ben.number, state));
    assert_eq!(world.take(ann.at), expected);
    assert_eq!(world.event_names(events), [""; 0]);
}

#[test]
fn states_come_while_a_password_is_under_way_and_before_the_mail_that_waits() {
    let (mut world, ann, ben) = ann_and_ben();
    world.hold_passwords = true;
    let change = Account { authentication: 1, ..account(b"anna") };
    assert_eq!(world.asks(ann, Request::ChangeProfile(change)), []);
    world.does(ben, mode(3));
    assert_eq!(world.take(ann.at), [seen(ben.number, DoNotDisturb)]);
    world.hold_passwords = false;
    world.settle();

    world.journal.waiting = 1 << 20;
    world.does(ben, Request::Send { receiver: ann.number, content: b"later" });
    world.does(ben, mode(1));
    assert_eq!(world.take(ann.at), []);
    world.journal.waiting = 0;
    world.settle();
    assert_eq!(world.take(ann.at), [seen(ben.number, Online), message(ben, b"later")]);
}

#[test]
fn of_many_who_have_a_friend_each_one_who_asked_is_told_once() {
    let mut world = World::new();
    let ben = world.user(b"ben");
    let crowd = world.crowd(90);
    for number in &crowd {
        let user = world.session(*number);
        world.befriend(user, ben.number);
    }
    // A third asks, a third does not, a third is not there; and there are some who do not know him.
    let mut sessions = Vec::new();
    for (index, number) in crowd.iter().enumerate() {
        let before = world.session(*number);
        world.leaves(before);
        match index % 3 {
            0 => sessions.push((world.extended(*number, ALL), true)),
            1 => sessions.push((world.session(*number), false)),
            _ => {}
        }
    }
    for number in world.crowd(20) {
        sessions.push((world.extended(number, ALL), false));
    }
    sessions.iter().for_each(|(user, _)| _ = world.take(user.at));
    for state in [(3, DoNotDisturb), (2, Offline), (1, Online)] {
        world.does(ben, mode(state.0));
        for (user, is_told) in &sessions {
            let expected = Vec::from_iter(is_told.then(|| seen(ben.number, state.1)));
            assert_eq!(world.take(user.at), expected);
        }
    }
}

#[test]
fn telling_many_counts_as_much_work_as_writing_to_them() {
    let mut world = World::new();
    let ben = world.user(b"ben");
    for number in world.crowd(30) {
        let user = world.session(number);
        world.befriend(user, ben.number);
        world.again(user, PRESENCE);
    }
    world.does(ben, mode(3));
    assert!(world.engine.posted() >= 30, "{} looks", world.engine.posted());
    // Where nobody asked there is nobody to look at, however many have the friend.
    let mut world = World::new();
    let ben = world.user(b"ben");
    for number in world.crowd(30) {
        let user = world.session(number);
        world.befriend(user, ben.number);
    }
    world.does(ben, mode(3));
    assert_eq!(world.engine.posted(), 0);
}

#[test]
fn who_is_slow_to_take_what_it_is_sent_is_told_the_latest_once_it_does() {
    let (mut world, ann, ben) = ann_and_ben();
    let [cay, dan, eve] = [&b"cay"[..], b"dan", b"eve"].map(|nickname| world.user(nickname));
    world.asks(ann, add(cay.number));
    world.asks(ann, add(dan.number));
    world.journal.waiting = 1 << 20;
    for change in [2, 1, 2, 3] {
        world.does(ben, mode(change));
    }
    for change in [3, 1] {
        world.does(cay, mode(change));
    }
    world.does(dan, mode(2));
    world.does(ann, Request::DeleteFriend { friend: dan.number });
    world.does(ann, add(eve.number));
    assert_eq!(world.take(ann.at), []);
    world.journal.waiting = 0;
    world.pass(1);
    let told = world.take(ann.at);
    let states: Vec<_> = told.iter().filter(|got| got.packet_type == 0x43).cloned().collect();
    // What cay's state came back to was told before, and dan is no friend any more.
    assert_eq!(states, [seen(ben.number, DoNotDisturb), seen(eve.number, Online)]);
    world.does(ben, mode(1));
    assert_eq!(world.take(ann.at), [seen(ben.number, Online)], "at once again");
}

#[test]
fn a_server_that_stops_says_so_and_nothing_of_those_who_go() {
    let (mut world, ann, _) = ann_and_ben();
    world.turn(|engine, journal| engine.handle_shutdown(journal));
    world.ended(ann.at, Code::Shutdown);
}

#[test]
fn after_a_restart_states_are_told_as_before() {
    let (world, ann, ben) = ann_and_ben();
    let mut world = world.restart();
    let ann = world.extended(ann.number, PRESENCE);
    let ben = world.session(ben.number);
    assert_eq!(world.take(ann.at), [seen(ben.number, Online)]);
}

#[test]
fn states_go_to_the_kind_of_the_connection_and_are_told_of_service_programs_too() {
    let services = [(Kind::Print, ServiceNumber(10_001))].into();
    let settings = Settings { services, registrations: 0, ..Settings::default() };
    let mut world = World::with(settings);
    let print = world.registered(account(b"print"));
    let ann = world.registered(account(b"ann"));
    let at = world.connect();
    world.set_kind(at, Kind::Web);
    world.ask(at, ServiceNumber(0), Request::WantExtensions { wanted: PRESENCE });
    world.log_in(at, ann, 0);
    world.ask(at, ann, add(print));
    let printer = world.connect();
    world.set_kind(printer, Kind::Print);
    world.log_in(printer, print, 0);
    let told = world.take(at);
    assert_eq!((told.len(), told[0].receiver), (1, Kind::Web as u8));
    let expected = ServerPacket::FriendPresence { number: print, state: Online };
    assert_eq!(Got::packet(&told[0]), expected);
}
