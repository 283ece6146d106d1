//! Calls that fail, each of them at each point where it is made, once or from then on: the server ends in
//! order, and the next one finds everything that was acknowledged. Where want of room is a refusal, it goes on.
//!
//! Owns the ways in which calls fail, and the judgement which of them a server survives.

#![allow(missing_docs, unreachable_pub, reason = "a part of one test")]

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fmt::Display;
use std::rc::Rc;

use oicq::log::{Durability, OpenError};
use rustix::io::Errno;

use super::mishap::Mishap;
use super::story::Story;
use super::tool;
use super::workload::{self, Broke, Course, Ending, Events, Life};
use crate::chance::Chance;
use crate::disk::{Call, Effect, Fails, Fault, Lasts, Made, MemDisk, Survival};

/// Opens, runs, rolls, does housekeeping, stops, and recovers from everything that a log can be found in.
fn course(durability: Durability, compacts_one_in: usize) -> Course {
    let lives = [
        (9, Ending::Stopped, Mishap::Nothing),
        (15, Ending::Killed, Mishap::Leftovers),
        (19, Ending::Killed, Mishap::TornEnd),
        (23, Ending::Killed, Mishap::LongFile),
        (27, Ending::Stopped, Mishap::ShortFile),
    ];
    let life = |(batches, ending, before)| Life { batches, ending, durability, before };
    let lives = lives.map(life).to_vec();
    Course { lives, users: 4, texts: &[2, 900, 2500, 6000], compacts_one_in }
}

/// A way in which a call fails.
#[derive(Clone, Copy, Debug)]
struct Way {
    lasts: Lasts,
    error: Errno,
    effect: Effect,
}

const fn way(lasts: Lasts, error: Errno, effect: Effect) -> Way {
    Way { lasts, error, effect }
}

const BROKEN: [Way; 4] = [
    way(Lasts::Once, Errno::IO, Effect::Nothing),
    way(Lasts::Once, Errno::IO, Effect::Whole),
    way(Lasts::SameCall, Errno::ROFS, Effect::Half),
    way(Lasts::Forever, Errno::IO, Effect::Nothing),
];

const FULL: [Way; 5] = [
    way(Lasts::Once, Errno::NOSPC, Effect::Nothing),
    way(Lasts::Once, Errno::FBIG, Effect::Half),
    way(Lasts::Once, Errno::DQUOT, Effect::Whole),
    way(Lasts::Once, Errno::MFILE, Effect::Nothing),
    way(Lasts::SameCall, Errno::NOSPC, Effect::Half),
];

/// A run of servers on a disk, of which one call failed.
struct Run {
    disk: MemDisk,
    story: Story,
    done: Result<Events, Broke>,
    calls: Vec<Made>,
    /// Which of them a server made while it opened its log.
    at_start: Vec<bool>,
}

fn run(course: &Course, seed: u64, fault: Option<Fault>) -> Run {
    let (disk, story) = (MemDisk::new(), Story::new());
    disk.sync_beside(1);
    if let Some(fault) = fault {
        disk.fail(fault);
    }
    let (at_start, told) = (Rc::new(RefCell::new(Vec::new())), story.clone());
    let out = at_start.clone();
    disk.watch(move |_, _| out.borrow_mut().push(told.is_recovering()));
    let done = workload::run(&disk, &story, Chance::new(seed), course.clone());
    disk.unwatch();
    disk.mend();
    let calls = disk.calls();
    Run { disk, story, done, calls, at_start: at_start.take() }
}

fn fails(at: usize, way: Way) -> Fault {
    let error = Fails::Errno(way.error.raw_os_error());
    Fault { at, lasts: way.lasts, error, effect: way.effect }
}

impl Run {
    /// What must hold after any failure: one line that names what failed, no sync tried again, and nothing
    /// that was acknowledged is lost, however the server is followed.
    fn check(&self, at: usize, way: Way, durability: Durability) {
        let failed = &self.calls[at];
        if let Err(broke) = &self.done {
            let line = assert_one_line(broke);
            let is_named =
                way.lasts == Lasts::Once && ![Call::Rename, Call::Lock].contains(&failed.call);
            assert!(!is_named || line.contains(&*failed.name), "{line:?} names {}", failed.name);
        }
        let is_again = |made: &Made| made.call == Call::Sync && made.file == failed.file;
        let tried_again = self.calls[at + 1..].iter().any(is_again);
        assert!(failed.call != Call::Sync || !tried_again, "a failed sync is tried again");
        self.check_followed(durability, &mut Chance::new(at as u64));
    }

    fn check_followed(&self, durability: Durability, chance: &mut Chance) {
        let (story, safe) = (&self.story, self.story.safe());
        // The power goes, and less or more of what was not synced is there.
        for percent in [0, 50, 100] {
            let cut = self.disk.cut(&mut |_| keep(chance, percent));
            story.open(&cut, durability, safe);
        }
        // The process has ended, and the next one starts. The system may have forgotten what it could not
        // write: before that, or while it is read. What the next one answers with lasts.
        for forgets in [None, Some(0), Some(chance.below(30))] {
            let next = self.disk.killed();
            let (mut calls, mut forgetting) = (0, Chance::new(chance.next()));
            next.watch(move |disk, _| {
                if forgets == Some(calls) {
                    disk.evict(&mut |_| keep(&mut forgetting, 50));
                }
                calls += 1;
            });
            let opened = story.try_open(&next, durability, safe);
            next.unwatch();
            // Who finds that what it has read is gone does not start; who comes later reads what is there.
            let again = |error: OpenError<String>| {
                assert!(forgets.is_some(), "it does not open: {error}");
                assert_one_line(&error);
                story.open(&next, durability, safe)
            };
            let (mut log, _, count) = opened.unwrap_or_else(again);
            let safe = story.go_on(&mut log, count, 1, 20, |_| ());
            let safe = if durability == Durability::Always { safe } else { count };
            let lost = next.cut(&mut |_| Survival::Lost);
            story.open(&lost, durability, safe);
        }
    }

    /// Whether a server can go on without a call.
    fn is_dispensable(&self, at: usize) -> bool {
        let failed = &self.calls[at];
        match failed.call {
            // Nobody waits for a file to be gone; without a look at the folder, a base is found later.
            Call::Remove | Call::List => !self.at_start[at],
            // Whoever does not get the tool's lock leaves its files alone.
            Call::Lock => &*failed.name == "COMPACT",
            _ => false,
        }
    }
}

/// Whoever reads an error reads one line, which names a file or the folder.
fn assert_one_line(error: &impl Display) -> String {
    let line = error.to_string();
    assert!(!line.contains('\n') && line.contains("/disk"), "{line:?}");
    line
}

fn keep(chance: &mut Chance, percent: usize) -> Survival {
    if chance.below(100) < percent { Survival::Kept } else { Survival::Lost }
}

/// Every call fails in each of these ways.
fn fail_every_call(durability: Durability, ways: &[Way]) {
    let (course, seed) = (course(durability, 0), 5);
    let whole = run(&course, seed, None);
    whole.done.as_ref().expect("nothing fails");
    let made: BTreeSet<_> = whole.calls.iter().map(|made| made.call).collect();
    assert!(Call::ALL.iter().all(|call| made.contains(call)), "only {made:?} are made");
    let mut survived = 0;
    for (at, failed) in whole.calls.iter().enumerate() {
        for way in ways {
            let run = run(&course, seed, Some(fails(at, *way)));
            assert_eq!(run.calls[at], *failed, "runs are the same up to there");
            run.check(at, *way, durability);
            if run.done.is_ok() {
                assert!(whole.is_dispensable(at), "{way:?}: goes on after {at}: {failed:?}");
                survived += 1;
            }
        }
    }
    let tried = whole.calls.len() * ways.len();
    println!("{durability:?}: {tried} failing calls, {survived} of them dispensable");
}

#[test]
fn after_any_failed_call_the_server_ends_and_nothing_acknowledged_is_lost() {
    fail_every_call(Durability::Always, &BROKEN);
}

#[test]
fn after_any_failed_call_nothing_that_was_synced_is_lost_in_another_durability() {
    fail_every_call(Durability::Interval(30), &BROKEN[..2]);
}

/// Every call of a run fails once or from then on, in any way.
pub fn fail_somehow(seed: u64) -> u64 {
    let chance = &mut Chance::new(seed);
    let durabilities = [Durability::Always, Durability::Interval(30), Durability::Never];
    let durability = if seed == 1 { Durability::Always } else { chance.pick(&durabilities) };
    let course = course(durability, if seed.is_multiple_of(4) { 0 } else { 8 });
    let whole = run(&course, seed, None);
    let events = whole.done.as_ref().expect("nothing fails");
    assert!(seed != 1 || events.adopted > 0, "a tool compacts beside the server: {events:?}");
    for at in 0..whole.calls.len() {
        let ways: Vec<_> = BROKEN.into_iter().chain(FULL).collect();
        let way = chance.pick(&ways);
        let run = run(&course, seed, Some(fails(at, way)));
        assert_eq!(run.calls[at], whole.calls[at], "runs are the same up to there");
        run.check(at, way, durability);
    }
    whole.calls.len() as u64
}

#[test]
fn want_of_room_for_the_next_segment_is_a_refusal_and_anything_else_ends_the_server() {
    let (course, seed) = (course(Durability::Always, 0), 5);
    let whole = run(&course, seed, None);
    let named = whole.calls.iter().position(|made| made.call == Call::Rename).unwrap();
    let (mut went_on, mut refused) = (0, 0);
    for (at, failed) in whole.calls.iter().enumerate() {
        let makes = [Call::Create, Call::Reserve, Call::Write, Call::Sync, Call::SetLen];
        if !makes.contains(&failed.call) {
            continue;
        }
        let is_next = &*failed.name == "next.tmp" && at > named;
        for way in FULL {
            let run = run(&course, seed, Some(fails(at, way)));
            run.check(at, way, Durability::Always);
            let once = way.lasts == Lasts::Once;
            match &run.done {
                Ok(events) if is_next => {
                    went_on += 1;
                    refused += events.refused;
                }
                Ok(_) => panic!("{way:?}: goes on after {failed:?}"),
                Err(broke) => assert!(!(is_next && once), "{way:?}: {failed:?} ends it: {broke}"),
            }
        }
    }
    println!("went on {went_on} times without room, {refused} changes were refused meanwhile");
    assert!(went_on > 0 && refused > 0);
}

/// Disks of servers that were killed at the calls around a new segment's name, with what was safe then.
fn killed_while_rolling() -> (Story, Vec<(MemDisk, usize)>) {
    let (disk, story) = (MemDisk::new(), Story::new());
    let (killed, told) = (Rc::new(RefCell::new(Vec::new())), story.clone());
    let (out, mut calls_left) = (killed.clone(), 0_usize);
    disk.watch(move |disk, made| {
        if made.call == Call::Rename {
            calls_left = 6;
        }
        if calls_left > 0 {
            out.borrow_mut().push((disk.killed(), told.safe()));
        }
        calls_left = calls_left.saturating_sub(1);
    });
    let done = workload::run(&disk, &story, Chance::new(5), course(Durability::Always, 0));
    done.unwrap();
    disk.unwatch();
    (story, killed.take())
}

#[test]
fn a_start_that_failed_at_any_call_can_be_made_again() {
    let (story, killed) = killed_while_rolling();
    let mut tried = 0;
    for (killed, safe) in &killed {
        let whole = killed.killed();
        story.open(&whole, Durability::Always, *safe);
        // Texts are read when it is open.
        let calls = whole.calls().into_iter().take_while(|made| made.call != Call::Bytes);
        for at in 0..calls.count() {
            let disk = killed.killed();
            disk.fail(fails(at, BROKEN[at % 2]));
            if let Err(error) = story.try_open(&disk, Durability::Always, *safe) {
                assert_one_line(&error);
            }
            disk.mend();
            let cut = disk.cut(&mut |_| Survival::Lost);
            story.open(&cut, Durability::Always, *safe);
            let (.., count) = story.open(&disk, Durability::Always, *safe);
            let cut = disk.cut(&mut |_| Survival::Lost);
            story.open(&cut, Durability::Always, count);
            tried += 1;
        }
    }
    println!("{tried} failing calls of starts");
}

#[test]
fn a_tool_whose_calls_fail_leaves_the_log_and_can_be_run_again() {
    let (disk, story) = (MemDisk::new(), Story::new());
    let (ending, durability) = (Ending::Stopped, Durability::Always);
    let life = Life { batches: 60, ending, durability, before: Mishap::Nothing };
    let texts = &[2, 300, 2500];
    let course = Course { lives: vec![life], users: 5, texts, compacts_one_in: 0 };
    workload::run(&disk, &story, Chance::new(1), course).unwrap();
    let (whole, events) = (disk.killed(), story.events());
    assert!(tool::compact(&mut whole.clone(), None).unwrap() > 0, "there is something to compact");
    for at in 0..whole.calls().len() {
        for way in BROKEN.into_iter().chain(FULL) {
            let disk = disk.killed();
            disk.fail(fails(at, way));
            let failed = tool::compact(&mut disk.clone(), None);
            disk.mend();
            if let Err(error) = &failed {
                assert_one_line(error);
            }
            let cut = disk.cut(&mut |_| Survival::Lost);
            story.open(&cut, durability, events);
            tool::compact(&mut disk.clone(), None).unwrap_or_else(|error| panic!("{error}"));
            story.open(&disk, durability, events);
            let names = disk.files().into_keys();
            let bases = names.filter(|name| name.ends_with(".base")).count();
            assert_eq!(bases, 1, "{way:?} at {at}: it is compacted");
        }
    }
}
