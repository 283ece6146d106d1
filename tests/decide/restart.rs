//! A server that starts on what an earlier one has written knows what that one knew.

use std::collections::BTreeSet;

use oicq::engine::Settings;
use oicq::id::{GroupNumber, ServiceNumber};
use oicq::state::EventKind;
use oicq::wire::client::Account;
use oicq::wire::{Request, ServerPacket};

use super::rehash;
use crate::kit::World;
use crate::kit::people::{User, account, full_profile, got, message};

/// A world with this operator, after somebody whose password has a hash of another cost.
fn with_operator(operator: u32) -> World {
    let operators = BTreeSet::from([ServiceNumber(operator)]);
    let settings = Settings { operators, registrations: 0, connections: 0, ..Settings::default() };
    World::over(settings, rehash::older(1))
}

/// What the journal makes is what the engine has.
#[track_caller]
fn agrees(world: &mut World) {
    world.settle();
    assert_eq!(world.journal.replay().digest(), world.digest());
}

#[test]
fn after_every_kind_of_change_the_log_gives_the_same_state() {
    let mut world = with_operator(10_002);
    let eve = world.session(ServiceNumber(10_001));
    assert_eq!(world.event_names(1), ["password-rehashed"]);
    world.leaves(eve);
    let (ann, ben) = (world.user(b"ann"), world.user_who(b"ben", 1));
    let (cay, dan) = (world.user(b"cay"), world.user_who(b"dan", 2));
    agrees(&mut world);
    let work = GroupNumber(2);
    let changes: &[(&str, User, Request<'_>)] = &[
        (
            "profile-changed",
            ann,
            Request::ChangeProfile(Account { profile: full_profile(), ..account(b"ann") }),
        ),
        ("group-added", ann, Request::AddGroup { name: b"work" }),
        ("group-renamed", ann, Request::RenameGroup { group: work, name: b"play" }),
        ("friend-requested", ann, Request::RequestFriend { friend: ben.number, reason: b"me" }),
        ("friend-added", ben, Request::AnswerRequest { friend: ann.number, consent: 1 }),
        ("friend-requested", cay, Request::AddFriend { friend: ben.number }),
        ("request-rejected", ben, Request::AnswerRequest { friend: cay.number, consent: 0 }),
        ("friend-refused", cay, Request::AddFriend { friend: dan.number }),
        ("friend-added", ann, Request::AddFriend { friend: cay.number }),
        ("message-sent", ann, Request::Send { receiver: dan.number, content: b"hi" }),
        ("message-broadcast", ann, Request::Broadcast { group: 1, content: b"all" }),
        ("monitoring-started", ann, Request::Monitor { watched: ben.number }),
        ("monitoring-ended", ann, Request::Monitor { watched: ServiceNumber(0) }),
        ("friend-deleted", ann, Request::DeleteFriend { friend: ben.number }),
    ];
    for &(name, user, request) in changes {
        let (events, digest) = (world.events(), world.digest());
        world.asks(user, request);
        assert_eq!(world.event_names(events)[..1], [name]);
        if name != "group-renamed" {
            assert_ne!(world.digest(), digest, "{name}");
        }
        agrees(&mut world);
    }
    let events = world.events();
    world.moved(ann, &[(cay.number, work)]);
    agrees(&mut world);
    world.asks(ann, Request::DeleteGroup { group: work });
    agrees(&mut world);
    assert_eq!(world.event_names(events), ["friends-moved", "group-deleted"]);
    world.turn(|engine, journal| engine.handle_checkpoint(journal));
    agrees(&mut world);

    let seen: BTreeSet<_> = world.event_names(0).into_iter().collect();
    // What could not be saved from a damaged log is nothing that a server does.
    let all = EventKind::ALL.iter().filter(|kind| **kind != EventKind::Lost);
    let all: BTreeSet<_> = all.map(|kind| kind.name()).collect();
    assert_eq!(seen, all);
}

#[test]
fn a_restart_without_monitoring_changes_nothing() {
    let mut world = World::new();
    let (ann, ben) = world.friends();
    let cay = world.registered(Account { authentication: 1, ..account(b"cay") });
    world.does(ann, Request::RequestFriend { friend: cay, reason: b"please" });
    world.does(ben, Request::Send { receiver: cay, content: b"hi" });
    world.group(ann, b"work");
    world.settle();
    let (digest, events) = (world.digest(), world.events());
    let world = world.restart().restart();
    assert_eq!((world.digest(), world.events()), (digest, events));
}

#[test]
fn passwords_profiles_lists_and_messages_are_known_after_a_restart() {
    let mut world = World::new();
    let (ann, ben) = world.friends();
    let change = Account { profile: full_profile(), ..account(b"ann") };
    world.does(ann, Request::ChangeProfile(change));
    let work = world.group(ann, b"work");
    world.moved(ann, &[(ben.number, work)]);
    world.leaves(ben);
    world.does(ann, Request::Send { receiver: ben.number, content: b"hi" });

    let mut world = world.restart();
    let (ben, mail) = world.session_and_mail(ben.number);
    assert_eq!(mail, [message(ann, b"hi")]);
    let answer = world.asks(ben, Request::ViewProfile { friend: ann.number });
    let profile = full_profile();
    let number = ann.number;
    assert_eq!(answer, [got(&ServerPacket::Profile { success: true, number, profile })]);
    let list = world.friend_list(ann.number);
    assert_eq!((list[0].1.len(), list[1].0, list[1].1.len()), (0, work, 1));
    assert_eq!(list[1].1[0].0, ben.number);
}
