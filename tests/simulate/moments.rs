//! Moments that chance seldom meets: a server is killed at one call, and the power is cut at another of the
//! next server's.
//!
//! Owns the choice of these moments alone.

#![allow(missing_docs, unreachable_pub, reason = "a part of one test")]

use std::cell::RefCell;
use std::convert::Infallible;
use std::io;
use std::rc::Rc;

use oicq::id::{MonoMillis, Seq, UnixMillis};
use oicq::log::format::segment_name;
use oicq::log::{AppendError, Durability, Failed, Log, OpenError, Record};

use super::mishap::Mishap;
use super::story::{LOG_ID, Story, options};
use super::tool;
use super::workload::{self, Course, Ending, Life};
use crate::chance::Chance;
use crate::disk::{Call, Made, MemDisk, Survival, Unsynced, What};

fn open(disk: &MemDisk) -> (Log<MemDisk>, u64) {
    open_with(disk, Durability::Always)
}

fn open_with(disk: &MemDisk, durability: Durability) -> (Log<MemDisk>, u64) {
    try_open(disk, durability).unwrap_or_else(|error| panic!("{error}"))
}

fn try_open(
    disk: &MemDisk,
    durability: Durability,
) -> Result<(Log<MemDisk>, u64), OpenError<Infallible>> {
    let options = options(durability);
    let each = |_: &Record<'_>| Ok(());
    let (log, recovery) = Log::open(disk.clone(), options, LOG_ID, UnixMillis(0), each)?;
    Ok((log, recovery.last_seq.0))
}

/// A batch of one record.
fn put(log: &mut Log<MemDisk>) {
    log.append(UnixMillis(1), 1, &[7; 900]).unwrap();
    log.commit(MonoMillis(0)).unwrap();
}

/// Copies of the disk, made before each call that is asked for.
fn copies(
    disk: &MemDisk,
    wanted: impl Fn(&Made) -> bool + 'static,
    copy: impl Fn(&MemDisk) -> MemDisk + 'static,
) -> Rc<RefCell<Vec<MemDisk>>> {
    let copies = Rc::new(RefCell::new(Vec::new()));
    let out = copies.clone();
    disk.watch(move |disk, made| {
        if wanted(made) {
            out.borrow_mut().push(copy(disk));
        }
    });
    copies
}

/// What a power cut may leave, in the ways that go furthest.
const FATES: [fn(Unsynced) -> Survival; 5] = [
    |_| Survival::Lost,
    |_| Survival::Kept,
    // The folder's changes alone are lost.
    |one| if one.what == What::Name { Survival::Lost } else { Survival::Kept },
    // Every sector is torn, within what is read of a note or a header.
    |_| Survival::Head(20),
    |_| Survival::Tail(20),
];

/// Kills a server that has some batches at each call of its next ones, until it has begun another segment;
/// and cuts the power at each call of the server after it.
fn kill_and_cut(fate: fn(Unsynced) -> Survival) {
    let disk = MemDisk::new();
    let (mut log, _) = open(&disk);
    (0..10).for_each(|_| put(&mut log));
    let kills = copies(&disk, |_| true, MemDisk::killed);
    (0..5).for_each(|_| put(&mut log));
    disk.unwatch();
    assert_eq!(disk.files().len(), 2, "it has begun another segment");
    for killed in &*kills.borrow() {
        let cuts = copies(killed, |_| true, move |disk| disk.cut(&mut |one| fate(one)));
        let (mut log, there) = open(killed);
        put(&mut log);
        killed.unwatch();
        cuts.borrow_mut().push(killed.cut(&mut |one| fate(one)));
        let (last, earlier) = (there + 1, cuts.borrow());
        let (cut, earlier) = earlier.split_last().unwrap();
        assert_eq!(open(cut).1, last, "what was acknowledged is there");
        for cut in earlier {
            assert!(open(cut).1 >= 10);
        }
    }
}

#[test]
fn a_server_that_follows_a_killed_one_trusts_no_call_that_may_not_have_been_made() {
    FATES.into_iter().for_each(kill_and_cut);
}

#[test]
fn zeros_that_a_failed_sync_has_not_brought_in_place_of_a_torn_end_are_written_again() {
    // Given a torn end of which nothing is on the disk but the torn bytes, though the system shows zeros: the
    // server that wrote these could not sync them.
    let disk = MemDisk::new();
    let (mut log, _) = open(&disk);
    put(&mut log);
    drop(log);
    let name = segment_name(Seq(1));
    let mut bytes = disk.take(&name);
    let end = 1 + bytes.iter().rposition(|byte| *byte != 0).unwrap();
    bytes[end + 500..end + 3000].fill(7);
    disk.put(&name, bytes);
    let starts = disk.killed();
    open(&starts);
    let is_sync = |made: &Made| made.call == Call::Sync && *made.name == *name;
    let at = starts.calls().iter().position(is_sync).unwrap();
    disk.fail_at(disk.trace().len() + at, false, io::ErrorKind::Other);
    assert!(try_open(&disk, Durability::Always).is_err());
    disk.mend();
    // When the next server starts and goes on, and the power goes.
    let (mut log, _) = open(&disk);
    put(&mut log);
    let cut = disk.cut(&mut |_| Survival::Lost);
    // Then nothing stands behind what it has written.
    assert!(cut.files()[&name][end + 1500..].iter().all(|byte| *byte == 0));
    assert_eq!(open(&cut).1, 2);
}

/// So many batches with pauses in between, in which notes are written.
fn put_slowly(log: &mut Log<MemDisk>, batches: u64) -> Result<(), Failed> {
    for at in 0..batches {
        log.append(UnixMillis(1), 1, &[7; 900]).map_err(|error| match error {
            AppendError::Failed(failed) => failed,
            error => panic!("{error}"),
        })?;
        log.commit(MonoMillis(40 * at))?;
        log.housekeep(MonoMillis(40 * at + 20))?;
    }
    Ok(())
}

#[test]
fn what_a_failed_sync_has_not_brought_to_the_disk_is_written_again_notes_included() {
    let whole = MemDisk::new();
    put_slowly(&mut open(&whole).0, 20).unwrap();
    let calls = whole.trace();
    let syncs = (0..calls.len()).filter(|at| calls[*at] == Call::Sync);
    let mut followed = 0;
    for (at, fate) in syncs.flat_map(|at| FATES.map(|fate| (at, fate))) {
        // Given a server that ended because a sync had failed.
        let disk = MemDisk::new();
        disk.fail_at(at, false, io::ErrorKind::Other);
        let failed =
            try_open(&disk, Durability::Always).map(|(mut log, _)| put_slowly(&mut log, 20));
        assert!(!matches!(failed, Ok(Ok(()))));
        disk.mend();
        // When the next one goes on until it has begun other segments, and the power goes.
        let (mut log, there) = open(&disk);
        put_slowly(&mut log, 20).unwrap();
        let cut = disk.cut(&mut |one| fate(one));
        // Then the log opens, and holds all of it.
        assert_eq!(open(&cut).1, there + 20);
        followed += 1;
    }
    assert!(followed > 100, "{followed} failed syncs");
}

/// Writes a batch once in so many milliseconds and does housekeeping whenever it is due; the power is cut at
/// each call.
fn note_and_cut(durability: Durability, pause: u64, fate: fn(Unsynced) -> Survival) {
    let disk = MemDisk::new();
    let cuts = copies(&disk, |_| true, move |disk| disk.cut(&mut |one| fate(one)));
    let (mut log, _) = open_with(&disk, durability);
    for millis in 0..40 * pause {
        let now = MonoMillis(millis);
        if millis % pause == 0 {
            log.append(UnixMillis(1), 1, &[7; 600]).unwrap();
            log.commit(now).unwrap();
        }
        if log.deadline().is_some_and(|due| due <= now) {
            log.housekeep(now).unwrap();
        }
    }
    assert!(disk.files().len() > 2, "it rolls");
    disk.unwatch();
    for cut in &*cuts.borrow() {
        open_with(cut, durability);
    }
}

#[test]
fn a_power_cut_can_tear_one_note_and_never_both() {
    for durability in [Durability::Always, Durability::Interval(30), Durability::Never] {
        for pause in [3, 12] {
            FATES.into_iter().for_each(|fate| note_and_cut(durability, pause, fate));
        }
    }
}

/// A log of several closed segments, and what has happened in it.
fn conversation() -> (MemDisk, Story) {
    let (disk, story) = (MemDisk::new(), Story::new());
    let (ending, durability) = (Ending::Stopped, Durability::Always);
    let life = Life { batches: 80, ending, durability, before: Mishap::Nothing };
    let texts = &[2, 300, 2500];
    let course = Course { lives: vec![life], users: 5, texts, compacts_one_in: 0 };
    workload::run(&disk, &story, Chance::new(1), course).unwrap();
    assert!(story.segments() > 2, "there is something to compact");
    (disk, story)
}

#[test]
fn a_tool_that_is_killed_at_any_call_leaves_one_log_whoever_removes_what_is_left_over() {
    let (disk, story) = conversation();
    let mut calls = 0;
    loop {
        // Given a tool that is killed after so many calls.
        let killed = disk.killed();
        let mut tool = killed.killed_after(calls);
        let done = tool::compact(&mut tool, None).is_ok_and(|files| files > 0);
        drop(tool);
        let then = killed.changes();
        // When the power goes while the next server starts, and what it did is on disk, but nothing that
        // the tool has done since its last sync.
        let cuts = copies(
            &killed,
            |_| true,
            move |disk| {
                disk.cut(&mut |one| if one.stamp > then { Survival::Kept } else { Survival::Lost })
            },
        );
        let (log, ..) = story.open(&killed, Durability::Always, story.events());
        drop(log);
        killed.unwatch();
        // Then there is a log.
        for cut in &*cuts.borrow() {
            story.open(cut, Durability::Always, story.events());
        }
        if done {
            break;
        }
        calls += 1;
    }
    assert!(calls > 20, "it makes more calls than {calls}");
}
