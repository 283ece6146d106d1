//! A hash that was made at another cost than the server's is made anew once its user has logged in: given such a
//! hash, when the password matches, then the login is answered first, and the log has a new hash soon after.

use oicq::codec::secret::Secret;
use oicq::engine::{PasswordJob, Settings, Task};
use oicq::id::{ConnectionId, ServiceNumber};
use oicq::limits::RENEWALS_WAITING;
use oicq::state::{Authentication, Event, EventKind};
use oicq::wire::client::Account;
use oicq::wire::{Code, Kind, Request, ServerPacket};

use crate::kit::people::{PASSWORD, User, account};
use crate::kit::{Entry, Journal, OLDER_MARK, World, verdict};

const ANN: ServiceNumber = ServiceNumber(10_001);
const BEN: ServiceNumber = ServiceNumber(10_002);

/// What an earlier server has left, which made hashes at another cost: so many users.
pub(super) fn older(users: usize) -> Journal {
    let mut journal = Journal::default();
    let hash = format!("{OLDER_MARK}{}", String::from_utf8_lossy(PASSWORD));
    for number in (ServiceNumber::FIRST.0..).map(ServiceNumber).take(users) {
        let profile = account(b"old").profile;
        let authentication = Authentication::Open;
        let event = Event::Registered { number, authentication, password_hash: &hash, profile };
        let mut payload = Vec::new();
        event.encode(&mut payload);
        let time = oicq::id::UnixMillis(1);
        journal.entries.push(Entry { time, kind: EventKind::Registered as u8, payload });
    }
    journal
}

fn settings() -> Settings {
    Settings { registrations: 0, connections: 0, ..Settings::default() }
}

fn world(users: usize) -> World {
    World::over(settings(), older(users))
}

/// The same, where what is hashed and when is left to the test.
fn slow_world(users: usize) -> World {
    let mut world = world(users);
    world.hold_passwords = true;
    world
}

fn hash_of(world: &World, number: ServiceNumber) -> String {
    world.engine.state().user(number).unwrap().password_hash().to_owned()
}

fn is_old(world: &World, number: ServiceNumber) -> bool {
    hash_of(world, number).starts_with(OLDER_MARK)
}

fn asks_to_log_in(world: &mut World, at: ConnectionId, number: ServiceNumber) {
    world.ask(at, number, Request::LogIn { password: Secret::new(PASSWORD), mode: 0 });
}

/// The password that is worked on next.
fn job(world: &mut World) -> PasswordJob {
    world.engine.poll_password_job().expect("a password waits")
}

fn done(world: &mut World, job: &PasswordJob) {
    world.turn(|engine, journal| engine.handle_verdict(verdict(job), journal));
}

fn is_let_in(world: &mut World, at: ConnectionId) -> bool {
    let is_reply = |got: &crate::kit::Got| {
        matches!(got.packet(), ServerPacket::LoggedIn { success: true, .. })
    };
    world.take(at).iter().any(is_reply)
}

#[test]
fn a_login_brings_the_hash_up_to_date_once() {
    let mut world = world(2);
    let events = world.events();
    let ann = world.session(ANN);
    assert_eq!(world.event_names(events), ["password-rehashed"]);
    assert!(!is_old(&world, ANN) && is_old(&world, BEN), "nobody else's");
    world.leaves(ann);
    let mut world = world.restart();
    world.session(ANN);
    assert_eq!(world.events(), events + 1, "it is up to date");
}

#[test]
fn a_wrong_password_renews_nothing() {
    let mut world = world(1);
    let events = world.events();
    let client = world.stranger();
    let wrong = Request::LogIn { password: Secret::new(b"secreT"), mode: 0 };
    world.refused_as(client, ANN, wrong, Code::BadLogin);
    assert_eq!(world.events(), events);
}

#[test]
fn who_may_not_log_in_as_this_kind_renews_nothing() {
    let services = [(Kind::Fax, ANN)].into();
    let mut world = World::over(Settings { services, ..settings() }, older(1));
    let events = world.events();
    let client = world.stranger();
    let right = Request::LogIn { password: Secret::new(PASSWORD), mode: 0 };
    world.refused_as(client, ANN, right, Code::NotAllowed);
    assert_eq!(world.events(), events);
}

#[test]
fn the_login_is_answered_first_and_other_logins_go_before() {
    let mut world = slow_world(2);
    let (one, other) = (world.connect(), world.connect());
    asks_to_log_in(&mut world, one, ANN);
    asks_to_log_in(&mut world, other, BEN);
    let first = job(&mut world);
    done(&mut world, &first);
    assert!(is_let_in(&mut world, one), "before there is a new hash");
    let second = job(&mut world);
    assert!(matches!(second.task, Task::Verify { .. }), "ben does not wait for ann's new hash");
    done(&mut world, &second);
    for number in [ANN, BEN] {
        let renewal = job(&mut world);
        assert!(matches!(renewal.task, Task::Hash { .. }));
        assert!(world.engine.poll_password_job().is_none(), "one password at a time");
        done(&mut world, &renewal);
        assert!(!is_old(&world, number));
    }
    assert!(world.engine.poll_password_job().is_none());
}

#[test]
fn a_user_who_logs_in_twice_has_one_new_hash() {
    let mut world = slow_world(1);
    let (events, one, other) = (world.events(), world.connect(), world.connect());
    for at in [one, other] {
        asks_to_log_in(&mut world, at, ANN);
    }
    for _ in 0..2 {
        let login = job(&mut world);
        assert!(matches!(login.task, Task::Verify { .. }));
        done(&mut world, &login);
    }
    let renewal = job(&mut world);
    done(&mut world, &renewal);
    assert!(world.engine.poll_password_job().is_none());
    assert_eq!(world.event_names(events), ["password-rehashed"]);
}

#[test]
fn a_user_who_leaves_at_once_has_a_new_hash_all_the_same() {
    let mut world = slow_world(1);
    let at = world.connect();
    asks_to_log_in(&mut world, at, ANN);
    let login = job(&mut world);
    done(&mut world, &login);
    world.leaves(User { number: ANN, at });
    let renewal = job(&mut world);
    done(&mut world, &renewal);
    assert!(!is_old(&world, ANN));
}

#[test]
fn a_password_that_was_changed_meanwhile_stays_changed() {
    let mut world = slow_world(1);
    let at = world.connect();
    asks_to_log_in(&mut world, at, ANN);
    let login = job(&mut world);
    done(&mut world, &login);
    let password = Secret::new(b"another");
    world.ask(at, ANN, Request::ChangeProfile(Account { password, ..account(b"ann") }));
    let change = job(&mut world);
    done(&mut world, &change);
    assert!(world.engine.poll_password_job().is_none(), "the old one needs no new hash any more");
    assert_eq!(hash_of(&world, ANN), "$plain$another");
}

#[test]
fn where_there_is_no_room_the_login_succeeds_and_the_next_one_renews() {
    let mut world = world(1);
    world.journal.full = true;
    let ann = world.session(ANN);
    world.leaves(ann);
    assert!(is_old(&world, ANN));
    world.journal.full = false;
    world.session(ANN);
    assert!(!is_old(&world, ANN));
}

#[test]
fn a_crash_before_the_new_hash_loses_nothing() {
    let mut world = slow_world(1);
    let at = world.connect();
    asks_to_log_in(&mut world, at, ANN);
    let login = job(&mut world);
    done(&mut world, &login);
    let _lost = job(&mut world);
    let mut world = world.restart();
    world.session(ANN);
    assert!(!is_old(&world, ANN));
}

#[test]
fn passwords_that_wait_for_a_new_hash_do_not_pile_up() {
    let users = RENEWALS_WAITING + 10;
    let mut world = slow_world(users);
    let connections: Vec<_> = (0..users).map(|_| world.connect()).collect();
    for (at, number) in connections.iter().zip(ServiceNumber::FIRST.0..) {
        asks_to_log_in(&mut world, *at, ServiceNumber(number));
    }
    for at in connections {
        let login = job(&mut world);
        assert!(matches!(login.task, Task::Verify { .. }));
        done(&mut world, &login);
        assert!(is_let_in(&mut world, at));
    }
    let mut renewed = 0;
    while let Some(renewal) = world.engine.poll_password_job() {
        done(&mut world, &renewal);
        renewed += 1;
    }
    assert_eq!(renewed, RENEWALS_WAITING);
}

#[test]
fn another_verdict_than_a_hash_changes_nothing() {
    let mut world = slow_world(1);
    let at = world.connect();
    asks_to_log_in(&mut world, at, ANN);
    let login = job(&mut world);
    done(&mut world, &login);
    let events = world.events();
    let ticket = job(&mut world).ticket;
    let outcome = oicq::engine::Outcome::Matches(true);
    let other = oicq::engine::Verdict { ticket, outcome };
    world.turn(|engine, journal| engine.handle_verdict(other, journal));
    assert_eq!(world.events(), events);
    assert!(world.engine.poll_password_job().is_none());
}
