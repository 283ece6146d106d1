//! Servers on a simulated disk whose power is cut at every call that they make, and again while they recover;
//! and whose calls fail, each of them.
//!
//! `OICQ_CUTS` asks for so many power cuts at least, in as many runs as they take; `OICQ_SEED` is the first
//! run's seed, and runs that one alone where no number is asked for.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod chance;
#[path = "simulate/cuts.rs"]
mod cuts;
#[path = "kit/disk.rs"]
mod disk;
#[path = "simulate/failures.rs"]
mod failures;
mod kit;
#[path = "simulate/mishap.rs"]
mod mishap;
#[path = "simulate/moments.rs"]
mod moments;
#[path = "simulate/server.rs"]
mod server;
#[path = "simulate/story.rs"]
mod story;
#[path = "simulate/tool.rs"]
mod tool;
#[path = "simulate/workload.rs"]
mod workload;

use std::cell::RefCell;
use std::panic::{catch_unwind, resume_unwind};
use std::rc::Rc;
use std::sync::Mutex;

use oicq::log::{Durability, Found, TABLE};

use chance::{Chance, asked};
use cuts::{Cutter, Tally};
use disk::MemDisk;
use mishap::Mishap;
use story::Story;
use workload::{Course, Ending, Life};

/// Cuts that `cargo test` makes.
const CUTS: u64 = 20_000;
/// Calls that `cargo test` lets fail by chance, beside those that it lets fail one by one.
const FAULTS: u64 = 500;
/// Cuts at a call, beside the extremes.
const CUTS_PER_CALL: usize = 6;
/// At so many batches a server ends, in a whole run.
const LIVES: [(usize, Ending); 4] =
    [(90, Ending::Stopped), (150, Ending::Killed), (205, Ending::Stopped), (215, Ending::Killed)];

/// A whole run, and how the servers want their log that start after a cut; `None`: any way.
fn course(seed: u64, chance: &mut Chance) -> (Course, Option<Durability>) {
    let (always, interval, never) =
        (Durability::Always, Durability::Interval(30), Durability::Never);
    let durability = [None, Some(always), Some(interval), Some(never)][(seed % 4) as usize];
    let life = |(batches, ending)| {
        let durability = durability.unwrap_or_else(|| chance.pick(&[always, interval, never]));
        Life { batches, ending, durability, before: Mishap::Nothing }
    };
    let course = Course {
        lives: LIVES.into_iter().map(life).collect(),
        users: 9,
        texts: &[2, 30, 100, 300, 900, 2500],
        compacts_one_in: if seed.is_multiple_of(3) { 0 } else { 30 },
    };
    (course, durability)
}

/// One run of the workload with the power cut at each of its calls.
fn run(seed: u64) -> Tally {
    let mut chance = Chance::new(seed);
    let (course, again) = course(seed, &mut chance);
    let (disk, story) = (MemDisk::new(), Story::new());
    if !seed.is_multiple_of(5) {
        disk.sync_beside(u32::try_from(seed % 3).unwrap());
    }
    let cutter = Cutter::new(story.clone(), seed, again, CUTS_PER_CALL);
    let cutter = Rc::new(RefCell::new(cutter));
    let (watcher, told) = (cutter.clone(), story.clone());
    disk.watch(move |disk, made| {
        told.see(made);
        watcher.borrow_mut().at_call(disk);
    });
    let events = workload::run(&disk, &story, chance, course);
    let events = events.unwrap_or_else(|broke| panic!("nothing fails: {broke:?}"));
    disk.unwatch();
    let mut cutter = cutter.borrow_mut();
    cutter.at_call(&disk);
    assert!(story.batches() >= 200, "{} batches", story.batches());
    assert!(story.segments() >= 4, "{} segments", story.segments());
    cutter.tally.compacted = events.compacted;
    cutter.tally.adopted = events.adopted;
    cutter.tally
}

/// Runs with one seed after the other, on all processors, until `count` has come to what is wanted: what the
/// environment variable asks for, or else `usual`. Answers the sum, and the last seed.
fn campaign<T: Default + Clone + Send>(
    variable: &str,
    usual: u64,
    run: fn(u64) -> T,
    add: fn(&mut T, &T),
    count: fn(&T) -> u64,
) -> (T, u64) {
    let (seed, wanted) = (asked("OICQ_SEED"), asked(variable));
    let first = seed.unwrap_or(1);
    // A seed that was asked for is run alone, so that a failure is seen again at once.
    let is_alone = seed.is_some() && wanted.is_none();
    let wanted = wanted.unwrap_or(usual);
    let progress = Mutex::new((T::default(), first));
    let work = || {
        loop {
            let seed = {
                let mut progress = progress.lock().unwrap();
                if count(&progress.0) >= wanted || (is_alone && progress.1 > first) {
                    return;
                }
                progress.1 += 1;
                progress.1 - 1
            };
            let done = catch_unwind(|| run(seed)).unwrap_or_else(|panic| {
                eprintln!("it failed in the run of OICQ_SEED={seed}");
                resume_unwind(panic);
            });
            add(&mut progress.lock().unwrap().0, &done);
        }
    };
    std::thread::scope(|scope| {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let workers: Vec<_> = (0..processors).map(|_| scope.spawn(work)).collect();
        for worker in workers {
            worker.join().unwrap_or_else(|panic| resume_unwind(panic));
        }
    });
    let (sum, next) = progress.into_inner().unwrap();
    (sum, next - 1)
}

#[test]
fn whatever_fails_while_servers_run_and_a_tool_compacts_nothing_acknowledged_is_lost() {
    let (faults, last_seed) = campaign(
        "OICQ_FAULTS",
        FAULTS,
        failures::fail_somehow,
        |sum, more| *sum += more,
        |sum| *sum,
    );
    println!("{faults} failing calls, seeds to {last_seed}");
}

#[test]
fn a_power_cut_at_any_call_loses_nothing_acknowledged_and_leaves_whole_batches() {
    let (tally, last_seed) = campaign("OICQ_CUTS", CUTS, run, Tally::add, |tally| tally.cuts);
    let Tally { cuts, killed, nested, gone_on, compacted, adopted, .. } = tally;
    println!(
        "{cuts} power cuts, {killed} kills, {nested} more while recovering, seeds to {last_seed}"
    );
    println!("{gone_on} logs gone on with, closed and opened again");
    println!("{compacted} compactions beside a server, {adopted} taken into use by it");
    for row in TABLE {
        println!("{:?}: {}", row.found, tally.found(row.found));
    }
    let expected = [
        Found::Nothing,
        Found::Whole,
        Found::Leftover,
        Found::Superseded,
        Found::TornEnd,
        Found::TornSlot,
        Found::Unclosed,
    ];
    // One run alone need not meet them all.
    for found in expected.into_iter().filter(|_| cuts >= CUTS) {
        assert!(tally.found(found) > 0, "{found:?} was never met: what was cut was nothing much");
    }
}
