//! Backups on disks in memory: what a copy holds, what it costs to bring it up to date, what every interruption
//! leaves of it, and which folders are not taken.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod chance;
#[path = "kit/disk.rs"]
mod disk;
mod kit;

use std::collections::BTreeMap;
use std::io::ErrorKind;

use chance::Chance;
use disk::MemDisk;
use kit::golden::log_folder;
use oicq::compaction::Plan;
use oicq::id::{MonoMillis, Place, Seq, UnixMillis};
use oicq::log::backup::{BackupError, Copied, Refusal, Survey};
use oicq::log::{
    DiskStorage, Durability, End, Lock, Log, OpenError, Options, Reader, Step, Storage,
};
use oicq::state::{Digest, RecordError, Stamp, State};

const OPTIONS: Options =
    Options { segment_size: 16 << 10, durability: Durability::Always, charset: 1 };
const LOG_ID: u64 = 0x0123_4567_89AB_CDEF;

type Files = BTreeMap<String, Vec<u8>>;

/// An event as it is appended: time, kind, payload.
type Entry = (UnixMillis, u8, Vec<u8>);

/// A record as it is read: number, whether it is part of a base, time, kind, payload.
type Item = (u64, bool, u64, u8, Vec<u8>);

/// A conversation to make logs of.
fn conversation() -> Vec<Entry> {
    let storage = DiskStorage::read_only(&log_folder());
    let mut reader = Reader::open(&storage).unwrap();
    let mut entries = Vec::new();
    while let Step::Batch(batch) = reader.next_batch().unwrap() {
        entries.extend(batch.records().map(|r| (r.time, r.kind, r.payload.to_vec())));
    }
    entries
}

fn open(disk: &MemDisk, options: Options) -> Result<(Log<MemDisk>, State), OpenError<RecordError>> {
    let mut state = State::default();
    let (log, _) = Log::open(disk.clone(), options, LOG_ID, UnixMillis(0), |record| {
        let stamp = Stamp { seq: record.seq, time: record.time, place: record.place };
        state.take_record(stamp, record.in_base, record.kind, record.payload)
    })?;
    Ok((log, state))
}

/// Appends what comes next in the conversation, up to this sequence number.
fn grow_with(disk: &MemDisk, entries: &[Entry], until: usize, options: Options) -> Log<MemDisk> {
    let (mut log, _) = open(disk, options).unwrap_or_else(|error| panic!("{error}"));
    let done = usize::try_from(log.next_seq().0 - 1).unwrap();
    for (time, kind, payload) in &entries[done..until] {
        log.append(*time, *kind, payload).unwrap();
        log.commit(MonoMillis(0)).unwrap();
    }
    log
}

fn grow(disk: &MemDisk, entries: &[Entry], until: usize) {
    drop(grow_with(disk, entries, until, OPTIONS));
}

/// A log of the conversation up to this sequence number.
fn log_of(entries: &[Entry], until: usize) -> MemDisk {
    let disk = MemDisk::new();
    grow(&disk, entries, until);
    disk
}

fn compact(disk: &MemDisk) -> Seq {
    let plan = Plan::new(disk, None, |_| ()).unwrap().expect("there is something to compact");
    let seq = plan.seq();
    plan.write(disk, |_| ()).unwrap().check(disk, |_| ()).unwrap().publish(disk).unwrap();
    seq
}

fn survey(from: &MemDisk) -> Result<Survey, BackupError> {
    Survey::of(from, &mut |_, _, _| ())
}

fn copy(from: &MemDisk, to: &MemDisk) -> Result<Copied, BackupError> {
    survey(from)?.copy_into(from, &mut to.clone(), &mut |_, _, _| ())
}

/// Everything in a log, which is whole.
fn items(disk: &MemDisk) -> Vec<Item> {
    let mut reader = Reader::open(disk).unwrap();
    let mut items = Vec::new();
    loop {
        match reader.next_batch().unwrap() {
            Step::Batch(batch) => items.extend(
                batch.records().map(|r| (r.seq.0, r.in_base, r.time.0, r.kind, r.payload.to_vec())),
            ),
            Step::End(end) => {
                assert_eq!(end, End::Whole);
                return items;
            }
        }
    }
}

/// What a server that starts on these files makes of them: its state's digest and last sequence number.
fn started(files: &Files) -> Result<(Digest, Seq), OpenError<RecordError>> {
    let (mut log, state) = open(&MemDisk::with_files(files), OPTIONS)?;
    let end = (state.digest(), state.last_seq());
    assert_eq!(log.next_seq(), end.1.next());
    log.append(log.last_time(), 200, b"it goes on").unwrap();
    log.commit(MonoMillis(0)).unwrap();
    Ok(end)
}

/// The digest after each event of the conversation.
fn digests(entries: &[Entry]) -> Vec<Digest> {
    let mut state = State::default();
    let mut digests = vec![state.digest()];
    for (seq, (time, kind, payload)) in (1..).zip(entries) {
        let stamp = Stamp { seq: Seq(seq), time: *time, place: Place(0) };
        state.take_record(stamp, false, *kind, payload).unwrap();
        digests.push(state.digest());
    }
    digests
}

fn refusal(done: Result<Copied, BackupError>) -> Refusal {
    match done {
        Err(BackupError::Refused { why, .. }) => why,
        other => panic!("not refused: {other:?}"),
    }
}

#[test]
fn a_copy_is_the_log_and_takes_up_only_what_is_new() {
    let entries = conversation();
    let (from, to) = (MemDisk::new(), MemDisk::new());
    let mut before = 0;
    for until in (0..=entries.len()).step_by(13) {
        grow(&from, &entries, until);
        let wanted = items(&from);
        let copied = copy(&from, &to).unwrap();
        assert_eq!(items(&to), wanted);
        assert_eq!(copied.bytes, copied.bytes_all - before, "until {until}: only what is new");
        assert!(copied.files <= 2, "until {until}: 13 events fill no more than one file");
        before = copied.bytes_all;
        let files = to.files();
        assert_eq!(started(&files).unwrap().1, Seq(until as u64));
        let again = copy(&from, &to).unwrap();
        assert_eq!((again.bytes, again.files, again.bytes_all), (0, 0, before));
        assert!(to.files() == files, "with nothing new it is left alone");
    }
    let mut files = to.files();
    assert!(files.len() >= 5);
    files.pop_last();
    let error = started(&files).unwrap_err();
    assert!(matches!(error, OpenError::Damaged(_)), "the loss of a file shows: {error}");
}

#[test]
fn a_copy_follows_when_the_log_is_compacted() {
    let entries = conversation();
    let (from, to) = (MemDisk::new(), MemDisk::new());
    let mut bases = 0;
    for (step, until) in (20..=entries.len()).step_by(17).enumerate() {
        grow(&from, &entries, until);
        if step % 9 == 8 {
            bases = compact(&from).0;
        }
        let copied = copy(&from, &to).unwrap();
        assert_eq!(items(&to), items(&from), "until {until}");
        assert_eq!(copied.files_all, to.files().len(), "what the base replaces is gone");
        assert_eq!(started(&to.files()).unwrap().1, Seq(until as u64));
        assert_eq!(copy(&from, &to).unwrap().bytes, 0);
        let fresh = MemDisk::new();
        copy(&from, &fresh).unwrap();
        assert_eq!(items(&fresh), items(&from), "until {until}, into an empty folder");
    }
    assert!(bases > 300, "it was compacted more than once");
}

#[test]
fn a_copy_that_is_long_out_of_date_gets_the_base() {
    let entries = conversation();
    for until in [0, 1, 50, 130, 230, 400] {
        let (from, to) = (log_of(&entries, until), MemDisk::new());
        copy(&from, &to).unwrap();
        grow(&from, &entries, entries.len());
        let base = compact(&from);
        copy(&from, &to).unwrap();
        assert!(base.0 > 400 && items(&to) == items(&from), "until {until}");
    }
}

/// Folders before a run, and the log that is copied.
struct Scene {
    name: &'static str,
    from: MemDisk,
    to: Files,
    /// A base comes in front of a segment that the copy does not have yet.
    leaps: bool,
}

fn scenes(entries: &[Entry]) -> Vec<Scene> {
    let copied = |from: &MemDisk| {
        let to = MemDisk::new();
        copy(from, &to).unwrap();
        to.files()
    };
    let scene = |name, before: usize, compacted: &[usize], until, leaps| {
        let from = log_of(entries, before);
        let to = if before == 0 { Files::new() } else { copied(&from) };
        for at in compacted {
            grow(&from, entries, *at);
            compact(&from);
        }
        grow(&from, entries, until);
        Scene { name, from, to, leaps }
    };
    let mut scenes = vec![
        scene("into an empty folder", 0, &[], 350, false),
        scene("some batches more", 130, &[], 150, false),
        scene("a file more", 200, &[], 240, false),
        scene("several files more", 60, &[], 500, false),
        scene("of a compacted log, into an empty folder", 0, &[300], 400, true),
        scene("compacted up to before the copy's end", 290, &[300], 350, false),
        scene("compacted beyond the copy's end", 60, &[300], 350, true),
    ];
    let from = log_of(entries, 250);
    compact(&from);
    let to = copied(&from);
    grow(&from, entries, 500);
    compact(&from);
    scenes.push(Scene { name: "compacted again", from, to, leaps: true });
    scenes
}

#[test]
fn every_interruption_leaves_a_log_that_the_next_run_brings_up_to_date() {
    let entries = conversation();
    let digests = digests(&entries);
    let (mut images, mut leaps) = (0, 0);
    for scene in scenes(&entries) {
        let wanted = items(&scene.from);
        let first = started(&scene.to).map_or(Seq::ZERO, |end| end.1);
        let whole = MemDisk::with_files(&scene.to);
        copy(&scene.from, &whole).unwrap();
        let mut chance = Chance::new(2_002);
        for call in 0..whole.trace().len() {
            let disk = MemDisk::with_files(&scene.to);
            disk.fail_at(call, true, ErrorKind::Other);
            assert!(copy(&scene.from, &disk).is_err(), "{}, call {call}", scene.name);
            // Killed, and the power cut with any part of what was not synced.
            let mut left = vec![disk.files()];
            for names in [false, true] {
                left.push(disk.cut_power(names, || chance.one_in(2)).files());
            }
            for (image, files) in left.iter().enumerate() {
                images += 1;
                let place = format!("{}, call {call}, image {image}", scene.name);
                match started(files) {
                    Ok((digest, seq)) => {
                        assert!(seq >= first, "{place}: {seq}");
                        assert_eq!(digest, digests[usize::try_from(seq.0).unwrap()], "{place}");
                    }
                    Err(error) => {
                        assert!(scene.leaps, "{place}: {error}");
                        leaps += 1;
                    }
                }
                let disk = MemDisk::with_files(files);
                copy(&scene.from, &disk).unwrap_or_else(|error| panic!("{place}: {error}"));
                assert!(items(&disk) == wanted, "{place}");
                started(&disk.files()).unwrap_or_else(|error| panic!("{place}: {error}"));
            }
        }
    }
    println!("{images} interruptions, {leaps} of them between a segment's name and its base's");
    assert!(images > 1_000 && leaps * 20 < images, "{leaps} of {images}");
}

#[test]
fn a_call_that_fails_once_is_an_error_and_the_next_run_goes_on() {
    let entries = conversation();
    for scene in scenes(&entries) {
        let wanted = items(&scene.from);
        let whole = MemDisk::with_files(&scene.to);
        copy(&scene.from, &whole).unwrap();
        let mut failed = 0;
        for call in 0..whole.trace().len() {
            let disk = MemDisk::with_files(&scene.to);
            disk.fail_at(call, false, ErrorKind::StorageFull);
            failed += usize::from(copy(&scene.from, &disk).is_err());
            copy(&scene.from, &disk).unwrap();
            assert!(items(&disk) == wanted, "{}, call {call}", scene.name);
        }
        assert!(failed > 10, "{}: {failed}", scene.name);
    }
}

#[test]
fn other_folders_are_refused_and_left_as_they_are() {
    let entries = conversation();
    let from = log_of(&entries, 200);
    let mut copied = MemDisk::new();
    copy(&from, &copied).unwrap();
    let files = copied.files();
    let check = |disk: &MemDisk, from: &MemDisk, what: &str| {
        let before = disk.files();
        let why = refusal(copy(from, disk));
        assert!(disk.files() == before, "{what}: it is not touched");
        why
    };

    let stranger = MemDisk::with_files(&files);
    stranger.put("letter.txt", b"dear".to_vec());
    let why = check(&stranger, &from, "a stranger");
    assert_eq!(why, Refusal::Stranger("letter.txt".to_owned()));

    let other = MemDisk::new();
    Log::open(other.clone(), OPTIONS, 77, UnixMillis(0), |_| Ok::<_, ()>(())).unwrap();
    assert_eq!(check(&other, &from, "another log"), Refusal::OtherLog);

    copied.lock(Lock::Server).unwrap();
    assert_eq!(check(&copied.clone(), &from, "in use"), Refusal::InUse);
    copied.unlock(Lock::Server);
    copied.lock(Lock::Compaction).unwrap();
    assert_eq!(check(&copied.clone(), &from, "being compacted"), Refusal::InUse);

    let last = files.keys().next_back().unwrap();
    let mut damaged = files.clone();
    let bytes = damaged.get_mut(last).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    let why = check(&MemDisk::with_files(&damaged), &from, "damaged");
    assert!(matches!(why, Refusal::Damaged(_)), "{why}");

    let ahead = log_of(&entries, 150);
    let why = check(&MemDisk::with_files(&files), &ahead, "an older log");
    assert!(matches!(why, Refusal::Diverged(_)), "{why}");
}

#[test]
fn a_copy_that_a_server_has_added_to_is_refused() {
    let entries = conversation();
    for (before, own, compacts) in
        [(150, 1, false), (150, 60, false), (150, 1, true), (150, 200, true), (205, 3, true)]
    {
        let (from, to) = (log_of(&entries, before), MemDisk::new());
        copy(&from, &to).unwrap();
        let (mut log, _) = open(&to, OPTIONS).unwrap();
        for _ in 0..own {
            log.append(log.last_time(), 200, &[b'x'; 300]).unwrap();
            log.commit(MonoMillis(0)).unwrap();
        }
        log.close().unwrap();
        grow(&from, &entries, entries.len());
        if compacts {
            compact(&from);
        }
        let files = to.files();
        let why = refusal(copy(&from, &to));
        assert!(matches!(why, Refusal::Diverged(_)), "{own} after {before}: {why}");
        assert!(to.files() == files);
    }
}

#[test]
fn a_copy_on_which_a_server_was_only_tried_out_is_still_taken() {
    let entries = conversation();
    for durability in [Durability::Always, Durability::Never] {
        for compacts in [false, true] {
            let (from, to) = (log_of(&entries, 150), MemDisk::new());
            copy(&from, &to).unwrap();
            let options = Options { durability, ..OPTIONS };
            open(&to, options).unwrap().0.close().unwrap();
            grow(&from, &entries, 500);
            if compacts {
                compact(&from);
            }
            copy(&from, &to).unwrap();
            assert_eq!(items(&to), items(&from));
        }
    }
}

#[test]
fn a_damaged_log_is_not_copied_and_a_torn_end_is_left_out() {
    let entries = conversation();
    let from = log_of(&entries, 300);
    let files = from.files();
    let first = files.keys().next().unwrap();
    let mut damaged = files.clone();
    damaged.get_mut(first).unwrap()[5_000] ^= 1;
    let to = MemDisk::new();
    let error = copy(&MemDisk::with_files(&damaged), &to).unwrap_err();
    assert!(matches!(error, BackupError::Damaged(_)), "{error}");
    assert!(to.files().is_empty());

    let mut torn = files.clone();
    let (name, bytes) = torn.iter_mut().next_back().unwrap();
    let used = bytes.iter().rposition(|byte| *byte != 0).unwrap();
    bytes[used - 3..=used].fill(0);
    let name = name.clone();
    let torn = MemDisk::with_files(&torn);
    copy(&torn, &to).unwrap();
    assert_eq!(items(&to), items(&from)[..299]);
    assert!(to.files()[&name].len() < used);
}

#[test]
fn what_the_copy_has_a_power_cut_cannot_take_from_the_log() {
    let entries = conversation();
    let options = Options { durability: Durability::Never, ..OPTIONS };
    let (from, to) = (MemDisk::new(), MemDisk::new());
    for until in [100, 250, 260] {
        let _running = grow_with(&from, &entries, until, options);
        copy(&from, &to).unwrap();
    }
    let from = from.cut_power(false, || false);
    assert_eq!(items(&to), items(&from));
    copy(&from, &to).unwrap();
}

#[test]
fn a_log_that_is_rewritten_while_it_is_copied_is_copied_from_the_beginning() {
    let entries = conversation();
    for (before, until) in [(0, 400), (200, 400), (400, 500)] {
        let (from, to) = (log_of(&entries, before), MemDisk::new());
        copy(&from, &to).unwrap();
        grow(&from, &entries, until);
        let seen = survey(&from).unwrap();
        compact(&from);
        let done = seen.copy_into(&from, &mut to.clone(), &mut |_, _, _| ());
        assert!(matches!(done, Err(BackupError::Changed)), "{before} to {until}: {done:?}");
        copy(&from, &to).unwrap();
        assert_eq!(items(&to), items(&from));
    }
}

#[test]
fn an_empty_file_that_a_larger_one_has_replaced_is_noticed() {
    let from = log_of(&[], 0);
    let seen = survey(&from).unwrap();
    let (mut log, _) = open(&from, OPTIONS).unwrap();
    log.append(UnixMillis(1), 200, &[1; 100_000]).unwrap();
    log.commit(MonoMillis(0)).unwrap();
    let to = MemDisk::new();
    let done = seen.copy_into(&from, &mut to.clone(), &mut |_, _, _| ());
    assert!(matches!(done, Err(BackupError::Changed)), "{done:?}");
    copy(&from, &to).unwrap();
    assert_eq!(items(&to), items(&from));
    // The same with a copy that has the empty file.
    let (from, to) = (log_of(&[], 0), MemDisk::new());
    assert_eq!(copy(&from, &to).unwrap().files, 1);
    let (mut log, _) = open(&from, OPTIONS).unwrap();
    log.append(UnixMillis(1), 200, &[1; 100_000]).unwrap();
    log.commit(MonoMillis(0)).unwrap();
    copy(&from, &to).unwrap();
    assert_eq!(items(&to), items(&from));
}
