//! The state's digest in the log: when a server writes it down, what it says, and that nobody notices.

use oicq::engine::Engine;
use oicq::id::{Place, Seq, ServiceNumber};
use oicq::state::{Event, EventError, RunningDigest, Stamp, State};
use oicq::wire::{Code, Request};

use crate::kit::people::message;
use crate::kit::{Entry, Journal, World};

/// The log is at a point from which it may be read later. Answers the kinds of the events that it got.
fn checkpoint(world: &mut World) -> Vec<&'static str> {
    world.settle();
    let events = world.events();
    world.turn(|engine, journal| engine.handle_checkpoint(journal));
    world.event_names(events)
}

/// The digest that an event tells.
fn told(entry: &Entry) -> Option<RunningDigest> {
    match Event::decode(entry.kind, &entry.payload).unwrap() {
        Event::StateDigest { digest } => Some(digest),
        _ => None,
    }
}

#[test]
fn given_a_change_a_checkpoint_writes_the_digest_of_all_that_was_before() {
    let mut world = World::new();
    let (ann, ben) = world.friends();
    world.does(ann, Request::Send { receiver: ben.number, content: b"hi" });
    world.take(ben.at);
    world.settle();
    let before = world.digest();
    assert_eq!(checkpoint(&mut world), ["state-digest"]);
    let last = world.journal.entries.last().unwrap();
    assert_eq!(told(last), Some(world.engine.state().running_digest()));
    assert_eq!(world.engine.state().last_digest(), Seq(world.events() as u64));
    let replayed = world.journal.replay();
    assert_eq!((replayed.last_digest().0, last.time), (world.events() as u64, world.now.wall));
    // It changes nothing, and nobody is told.
    assert_eq!((world.digest(), replayed.digest()), (before, before));
    assert_eq!((world.take(ann.at), world.take(ben.at)), (vec![], vec![]));
}

#[test]
fn given_nothing_new_a_checkpoint_writes_nothing() {
    let mut world = World::new();
    assert_eq!(checkpoint(&mut world), [""; 0], "nothing has ever happened");
    let ann = world.user(b"ann");
    assert_eq!(checkpoint(&mut world), ["state-digest"]);
    assert_eq!(checkpoint(&mut world), [""; 0]);
    // What is refused, and what is only asked, is no change.
    let receiver = ServiceNumber(10_009);
    world.refused(ann, Request::Send { receiver, content: b"hi" }, Code::UnknownNumber);
    world.goes_on(ann);
    assert_eq!(checkpoint(&mut world), [""; 0]);
    world.group(ann, b"work");
    assert_eq!(checkpoint(&mut world), ["state-digest"]);
}

#[test]
fn given_a_log_that_ends_with_a_digest_the_next_server_writes_none_before_a_change() {
    let mut world = World::new();
    world.user(b"ann");
    assert_eq!(checkpoint(&mut world), ["state-digest"]);
    let mut world = world.restart().restart();
    assert_eq!(checkpoint(&mut world), [""; 0]);
    world.user(b"ben");
    let mut world = world.restart();
    assert_eq!(checkpoint(&mut world), ["state-digest"], "the change of an earlier server");
}

/// The same state as compaction keeps it, which tells of no event before it.
fn kept_and_restored(state: &State) -> State {
    let mut restored = State::default();
    let stamp = Stamp { seq: state.last_seq(), time: state.last_time(), place: Place(0) };
    let kept = state.keep(
        state.digest(),
        |_, _| unreachable!("no message waits"),
        |kind, payload| restored.restore(stamp, kind, payload),
    );
    kept.unwrap();
    restored
}

#[test]
fn given_a_recording_that_begins_on_a_base_the_engine_knows_its_last_digest_all_the_same() {
    for is_checked in [false, true] {
        let mut world = World::new();
        world.user(b"ann");
        world.settle();
        if is_checked {
            checkpoint(&mut world);
        }
        let mut kept = Vec::new();
        world.engine.save(&mut kept);
        let state = kept_and_restored(world.engine.state());
        assert_eq!((state.last_seq().0, state.last_digest().0), (world.events() as u64, 0));
        world.engine = Engine::restore(world.settings.clone(), state, &kept, |_| None).unwrap();
        let written: &[&str] = if is_checked { &[] } else { &["state-digest"] };
        assert_eq!(checkpoint(&mut world), written);
    }
}

#[test]
fn given_no_room_a_checkpoint_is_left_out() {
    let mut world = World::new();
    let (ann, ben) = (world.user(b"ann"), world.user(b"ben"));
    world.settle();
    world.journal.full = true;
    assert_eq!(checkpoint(&mut world), [""; 0]);
    assert_eq!((world.take(ann.at), world.take(ben.at)), (vec![], vec![]));
    world.journal.full = false;
    world.does(ann, Request::Send { receiver: ben.number, content: b"hi" });
    assert_eq!(world.take(ben.at), [message(ann, b"hi")]);
    assert_eq!(checkpoint(&mut world), ["state-digest"]);
}

#[test]
fn given_a_stop_the_digest_comes_behind_what_was_delivered() {
    let mut world = World::new();
    let (ann, ben) = (world.user(b"ann"), world.user(b"ben"));
    world.settle();
    let events = world.events();
    world.does(ann, Request::Send { receiver: ben.number, content: b"hi" });
    let stop = |engine: &mut Engine, journal: &mut Journal| {
        engine.handle_shutdown(journal);
        engine.flush_deliveries(journal);
        engine.handle_checkpoint(journal);
    };
    world.turn(stop);
    assert_eq!(world.event_names(events), ["message-sent", "delivered", "state-digest"]);
    assert_eq!(world.journal.replay().last_digest(), Seq(world.events() as u64));
}

#[test]
fn given_the_digest_of_another_state_a_replay_goes_no_further() {
    let mut world = World::new();
    world.user(b"ann");
    checkpoint(&mut world);
    let agreed = Seq(world.events() as u64);
    world.user(b"ben");
    checkpoint(&mut world);
    world.user(b"cay");
    let entries = &mut world.journal.entries;
    let at = entries.iter().rposition(|entry| told(entry).is_some()).unwrap();
    let actual = told(&entries[at]).unwrap();
    entries[at].payload[15] ^= 1;
    let recorded = told(&entries[at]).unwrap();

    let mut state = State::default();
    let mut applied = (1..).zip(&world.journal.entries).map(|(seq, entry)| {
        let stamp = Stamp { seq: Seq(seq), time: entry.time, place: Place(0) };
        state.apply_record(stamp, entry.kind, &entry.payload)
    });
    let refused = applied.find_map(Result::err);
    drop(applied);
    assert_eq!(refused, Some(EventError::OtherState { recorded, actual, agreed }));
    assert_eq!((state.last_seq().0, state.user_count()), (at as u64, 2));
}
