//! Logging in, sessions taking each other's place, and which kind of program may log in: `0x02`.

use std::collections::BTreeMap;

use oicq::codec::secret::Secret;
use oicq::engine::Settings;
use oicq::id::{ConnectionId, GroupNumber, ServiceNumber};
use oicq::wire::client::Account;
use oicq::wire::server::{FriendEntry, GroupEntry, Presence, SystemKind};
use oicq::wire::{Code, Kind, Request, ServerPacket};

use crate::kit::people::{
    NOBODY, PASSWORD, User, account, bytes_of, full_profile, got, message, system,
};
use crate::kit::{Got, World};

fn log_in(mode: u8) -> Request<'static> {
    Request::LogIn { password: Secret::new(PASSWORD), mode }
}

fn with_password(password: &[u8]) -> Request<'_> {
    Request::LogIn { password: Secret::new(password), mode: 0 }
}

fn failed() -> Got {
    got(&ServerPacket::LoggedIn { success: false, groups: Vec::new() })
}

#[test]
fn an_unknown_number_and_a_wrong_password_are_refused_in_the_same_words() {
    let mut world = World::new();
    let ann = world.registered(account(b"ann"));
    let client = world.stranger();
    let wrong = world.refused_as(client, ann, with_password(b"secreT"), Code::BadLogin);
    let unknown = world.refused_as(client, NOBODY, with_password(b"secret"), Code::BadLogin);
    assert_eq!(wrong, unknown);
    let zero = world.refused_as(client, ServiceNumber(0), log_in(0), Code::BadLogin);
    assert_eq!(wrong, zero);
}

#[test]
fn only_modes_0_and_1_log_in() {
    let mut world = World::new();
    let ann = world.registered(account(b"ann"));
    let client = world.stranger();
    for mode in [2, 3, 255] {
        let sentence = world.refused_as(client, ann, log_in(mode), Code::BadValue);
        assert!(sentence.contains("mode"), "{sentence}");
    }
    assert_eq!(world.log_in(client.at, ann, 1), []);
}

#[test]
fn a_password_that_is_no_text_is_a_bad_value() {
    let mut world = World::new();
    let ann = world.registered(account(b"ann"));
    let client = world.stranger();
    for password in [b"secret\xFF", b"secret\0", b"secret\n"] {
        let sentence = world.refused_as(client, ann, with_password(password), Code::BadValue);
        assert!(sentence.contains("password"), "{sentence}");
    }
}

#[test]
fn a_login_is_no_event() {
    let mut world = World::new();
    let ann = world.registered(account(b"ann"));
    let events = world.events();
    world.session(ann);
    world.settle();
    assert_eq!(world.events(), events);
}

#[test]
fn the_reply_lists_groups_and_friends_in_order_with_portrait_state_and_nickname() {
    let mut world = World::new();
    let ann = world.user(b"ann");
    let away = world.registered(Account { profile: full_profile(), ..account(b"") });
    let busy = world.user(b"busy");
    let here = world.user(b"here");
    let hidden = world.user(b"hidden");
    world.does(busy, Request::SetMode { mode: 3 });
    world.does(hidden, Request::SetMode { mode: 2 });
    let (play, work) = (world.group(ann, b"play"), world.group(ann, b"work"));
    for friend in [hidden.number, here.number, busy.number, away] {
        world.befriend(ann, friend);
    }
    world.moved(ann, &[(here.number, work), (busy.number, work)]);
    world.leaves(ann);

    let client = world.connect();
    let answer = world.ask(client, ann.number, log_in(0));

    let friend =
        |number, portrait, state, nickname| FriendEntry { number, portrait, state, nickname };
    let groups = vec![
        GroupEntry {
            name: b"My Friends",
            group: GroupNumber(1),
            friends: vec![
                friend(away, 255, Presence::Offline, b"ann"),
                friend(hidden.number, 0, Presence::Offline, b"hidden"),
            ],
        },
        GroupEntry { name: b"play", group: play, friends: vec![] },
        GroupEntry {
            name: b"work",
            group: work,
            friends: vec![
                friend(busy.number, 0, Presence::DoNotDisturb, b"busy"),
                friend(here.number, 0, Presence::Online, b"here"),
            ],
        },
    ];
    assert_eq!(answer, [got(&ServerPacket::LoggedIn { success: true, groups })]);
}

#[test]
fn one_who_has_no_friend_and_is_listed_by_others_has_an_empty_list() {
    let mut world = World::new();
    let (ann, ben) = (world.user(b"ann"), world.user(b"ben"));
    world.befriend(ann, ben.number);
    assert_eq!(world.friend_list(ben.number), [(GroupNumber(1), vec![])]);
}

#[test]
fn the_waiting_messages_follow_the_reply_oldest_first() {
    let mut world = World::new();
    let ben = world.registered(account(b"ben"));
    let (ann, cay) = (world.user(b"ann"), world.user(b"cay"));
    world.does(ann, Request::Send { receiver: ben, content: b"one" });
    world.befriend(cay, ben);
    world.does(ann, Request::Send { receiver: ben, content: b"two" });
    world.does(cay, Request::Send { receiver: ben, content: b"three" });

    let (_, mail) = world.session_and_mail(ben);

    let waited = [
        message(ann, b"one"),
        system(SystemKind::Added, cay),
        message(ann, b"two"),
        message(cay, b"three"),
    ];
    assert_eq!(mail, waited);
}

#[test]
fn another_login_in_a_session_is_refused_whatever_its_number() {
    let mut world = World::new();
    let ann = world.user(b"ann");
    let ben = world.registered(account(b"ben"));
    for number in [ann.number, ben, NOBODY] {
        world.refused_as(ann, number, log_in(0), Code::AlreadyLoggedIn);
    }
}

#[test]
fn a_login_elsewhere_closes_the_session_before_with_a_notice() {
    let mut world = World::new();
    let before = world.user(b"ann");
    let ben = world.user(b"ben");
    let after = world.session(before.number);
    world.ended(before.at, Code::Elsewhere);
    world.goes_on(after);

    world.does(ben, Request::Send { receiver: before.number, content: b"hi" });
    assert_eq!(world.take(after.at), [message(ben, b"hi")]);
    assert_eq!(world.take(before.at), []);

    world.disconnect(before.at);
    world.goes_on(after);
}

#[test]
fn a_failed_login_elsewhere_leaves_the_session_as_it_is() {
    let mut world = World::new();
    let ann = world.user(b"ann");
    let client = world.stranger();
    world.refused_as(client, ann.number, with_password(b"wrong!"), Code::BadLogin);
    assert_eq!(world.take(ann.at), []);
    world.goes_on(ann);
}

#[test]
fn a_login_elsewhere_is_seen_in_the_mode_that_it_asks_for() {
    let mut world = World::new();
    let (ann, ben) = world.friends();
    for (mode, visible) in [(0, true), (1, false), (0, true)] {
        let client = world.connect();
        world.log_in(client, ann.number, mode);
        assert_eq!(world.online(ben).contains(&ann.number), visible, "mode {mode}");
    }
}

#[test]
fn a_login_that_takes_the_place_of_another_shows_friends_nothing() {
    let mut world = World::new();
    let (ann, ben) = world.friends();
    world.session(ann.number);
    assert_eq!(world.take(ben.at), []);
    assert_eq!(world.online(ben), [ann.number, ben.number]);
}

#[test]
fn a_connection_may_log_in_again_after_mode_4_as_anybody() {
    let mut world = World::new();
    let ann = world.user(b"ann");
    let ben = world.registered(account(b"ben"));
    world.does(ann, Request::SetMode { mode: 4 });
    world.goes_on(User { number: ServiceNumber(0), at: ann.at });
    assert_eq!(world.log_in(ann.at, ben, 0), []);
    world.goes_on(User { number: ben, at: ann.at });
}

// Kinds of programs.

fn with_services(services: &[(Kind, u32)]) -> World {
    let services: BTreeMap<_, _> =
        services.iter().map(|&(kind, number)| (kind, ServiceNumber(number))).collect();
    World::with(Settings { services, registrations: 0, ..Settings::default() })
}

fn connect_as(world: &mut World, kind: Kind) -> ConnectionId {
    let at = world.connect();
    world.set_kind(at, kind);
    at
}

fn for_kind(kind: Kind, packets: &[Got]) -> Vec<Got> {
    packets.iter().cloned().map(|got| Got { receiver: kind as u8, ..got }).collect()
}

#[test]
fn a_web_server_is_treated_as_a_user_is_and_gets_packets_of_its_kind() {
    let mut world = World::new();
    let ann = world.registered(account(b"ann"));
    let at = connect_as(&mut world, Kind::Web);
    let answer = world.ask(at, ann, log_in(0));
    assert_eq!(answer.len(), 1);
    assert_eq!(answer[0].receiver, Kind::Web as u8);
    let ben = world.user(b"ben");
    world.does(ben, Request::Send { receiver: ann, content: b"hi" });
    assert_eq!(world.take(at), for_kind(Kind::Web, &[message(ben, b"hi")]));
}

#[test]
fn a_service_program_logs_in_with_its_number_and_gets_packets_of_its_kind() {
    for kind in [Kind::Fax, Kind::Print, Kind::Chat] {
        let mut world = with_services(&[(kind, 10_001)]);
        let number = world.registered(account(b"service"));
        let at = connect_as(&mut world, kind);
        let answer = world.ask(at, number, log_in(0));
        assert!(matches!(answer[0].packet(), ServerPacket::LoggedIn { success: true, .. }));
        assert_eq!(answer[0].receiver, kind as u8);
    }
}

#[test]
fn a_number_and_a_kind_that_do_not_belong_together_are_not_allowed() {
    // Who is which: 10001 is the fax server, 10002 the chat server, 10003 a user.
    let wrong = [
        (Kind::User, 10_001),
        (Kind::Web, 10_001),
        (Kind::Print, 10_001),
        (Kind::Chat, 10_001),
        (Kind::Fax, 10_002),
        (Kind::Fax, 10_003),
        (Kind::Print, 10_003),
        (Kind::Chat, 10_003),
    ];
    for (kind, number) in wrong {
        let mut world = with_services(&[(Kind::Fax, 10_001), (Kind::Chat, 10_002)]);
        (0..3).for_each(|_| _ = world.registered(account(b"any")));
        let at = connect_as(&mut world, kind);
        let answer = world.ask(at, ServiceNumber(number), log_in(0));
        let context = format!("{number} as {kind:?}: {answer:?}");
        assert_eq!(answer[..1], for_kind(kind, &[failed()]), "{context}");
        let (packet_type, code, _) = answer[1].notice().unwrap();
        assert_eq!((packet_type, code), (0x02, Code::NotAllowed), "{context}");
        assert_eq!(answer.len(), 2, "{context}");
        assert!(!world.is_closed(at), "{context}");
    }
}

#[test]
fn the_password_is_looked_at_before_the_kind() {
    let mut world = with_services(&[(Kind::Fax, 10_001)]);
    let number = world.registered(account(b"fax"));
    let client = world.stranger();
    world.refused_as(client, number, with_password(b"wrong!"), Code::BadLogin);
    world.refused_as(client, number, log_in(0), Code::NotAllowed);
}

#[test]
fn a_service_program_may_be_named_before_it_registers_itself() {
    let mut world = with_services(&[(Kind::Print, 10_002)]);
    world.registered(account(b"ann"));
    let at = connect_as(&mut world, Kind::Print);
    let answer = world.ask(at, ServiceNumber::NONE, Request::Register(account(b"printer")));
    let number = ServiceNumber(10_002);
    let registered = got(&ServerPacket::Registered { success: true, number });
    assert_eq!(answer, for_kind(Kind::Print, &[registered]));
    assert_eq!(world.log_in(at, number, 0), []);
}

#[test]
fn anyone_may_send_a_service_program_messages() {
    let mut world = with_services(&[(Kind::Chat, 10_001)]);
    let number = world.registered(account(b"chat"));
    let at = connect_as(&mut world, Kind::Chat);
    world.log_in(at, number, 0);
    let ann = world.user(b"ann");
    world.does(ann, Request::Send { receiver: number, content: b"hello" });
    assert_eq!(world.take(at), for_kind(Kind::Chat, &[message(ann, b"hello")]));
}

#[test]
fn after_a_logout_what_needs_a_session_is_a_violation() {
    let mut world = World::new();
    let ann = world.user(b"ann");
    world.does(ann, Request::SetMode { mode: 4 });
    let send = Request::Send { receiver: ann.number, content: b"hi" };
    world.violated(ann, &bytes_of(Kind::User, ann.number, send), 0x03, Code::NotLoggedIn);
}
