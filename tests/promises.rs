//! What the log promises, one test for each, in the words of the README. The simulation, the matrix of damages and the
//! end-to-end tests go further in each direction; here it can be read in one place what is meant.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod chance;
#[path = "kit/disk.rs"]
mod disk;
mod kit;

use std::cell::RefCell;
use std::convert::Infallible;
use std::io;
use std::rc::Rc;

use chance::Chance;
use disk::{Call, MemDisk};
use kit::golden::{expected_file, log_folder};
use oicq::compaction::Plan;
use oicq::id::{MonoMillis, Seq, UnixMillis};
use oicq::log::format::{self, HEADER_LEN, SegmentHeader};
use oicq::log::{AppendError, Durability, Log, OpenError, Options, Storage};
use oicq::state::{Digest, Stamp, State};

const OPTIONS: Options =
    Options { segment_size: 16 << 10, durability: Durability::Always, charset: 1 };
/// Records in each batch.
const BATCH: u64 = 3;

type Items = Vec<(u64, Vec<u8>)>;

fn try_open<S: Storage>(disk: S) -> Result<(Log<S>, Items), OpenError<Infallible>> {
    let mut items = Vec::new();
    let (log, _) = Log::open(disk, OPTIONS, 7, UnixMillis(1), |record| {
        items.push((record.seq.0, record.payload.to_vec()));
        Ok(())
    })?;
    Ok((log, items))
}

fn open(disk: &MemDisk) -> (Log<MemDisk>, Items) {
    try_open(disk.clone()).unwrap_or_else(|error| panic!("{error}"))
}

fn payload(seq: u64) -> Vec<u8> {
    format!("change {seq} ").repeat(1 + usize::try_from(seq % 9).unwrap()).into_bytes()
}

/// Appends a batch and acknowledges it.
fn batch(log: &mut Log<MemDisk>) {
    let time = UnixMillis(log.next_seq().0);
    for _ in 0..BATCH {
        let seq = log.next_seq().0;
        log.append(time, 1, &payload(seq)).unwrap();
    }
    log.commit(MonoMillis(0)).unwrap();
}

fn filled(batches: u64) -> (MemDisk, Log<MemDisk>) {
    let disk = MemDisk::new();
    let mut log = open(&disk).0;
    (0..batches).for_each(|_| batch(&mut log));
    (disk, log)
}

/// The records are the first ones that were appended, whole batches of them; answers how many.
fn is_prefix(items: &Items) -> u64 {
    for (expected, (seq, bytes)) in (1..).zip(items) {
        assert_eq!((*seq, bytes), (expected, &payload(expected)));
    }
    let count = items.len() as u64;
    assert_eq!(count % BATCH, 0, "a batch is whole");
    count
}

fn change(disk: &MemDisk, name: &str, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = disk.take(name);
    change(&mut bytes);
    disk.put(name, bytes);
}

fn last_name(disk: &MemDisk) -> String {
    disk.files().into_keys().rfind(|name| name.ends_with(".log")).unwrap()
}

fn at(offset: u64) -> usize {
    usize::try_from(offset).unwrap()
}

#[test]
fn promise_1_an_acknowledged_change_is_never_lost() {
    let (disk, mut log) = filled(0);
    for acknowledged in 1..=150 {
        batch(&mut log);
        for keep_names in [false, true] {
            let after = disk.cut_power(keep_names, || false);
            assert!(is_prefix(&open(&after).1) >= acknowledged * BATCH);
        }
    }
    assert!(disk.files().len() > 2, "over several segments");
}

#[test]
fn promise_2_a_batch_is_all_or_nothing_and_the_log_a_prefix() {
    let seed = 2;
    let mut chance = Chance::new(seed);
    let cuts = Rc::new(RefCell::new(Vec::new()));
    let (disk, mut log) = filled(0);
    let seen = Rc::clone(&cuts);
    disk.watch(move |disk, _| {
        let keep_names = chance.next().is_multiple_of(2);
        seen.borrow_mut().push(disk.cut_power(keep_names, || chance.next().is_multiple_of(2)));
    });
    (0..60).for_each(|_| batch(&mut log));
    disk.unwatch();
    for (call, image) in cuts.borrow().iter().enumerate() {
        let (_, items) = try_open(image.clone())
            .unwrap_or_else(|error| panic!("seed {seed}, call {call}: {error}"));
        is_prefix(&items);
    }
    assert!(cuts.borrow().len() > 80);
}

#[test]
fn promise_3_damage_is_never_read_as_data_nor_passed_over() {
    let (disk, log) = filled(12);
    drop(log);
    let name = last_name(&disk);
    let bytes = disk.files()[&name].clone();
    let last_batch =
        bytes.windows(4).rposition(|it| it == format::BATCH_MAGIC.to_be_bytes()).unwrap();
    for byte in (0..last_batch).chain([last_batch + 20, bytes.len() - 1]) {
        let damaged = MemDisk::with_files(&disk.files());
        change(&damaged, &name, |bytes| bytes[byte] ^= 0x10);
        match try_open(damaged) {
            Err(OpenError::Damaged(damage)) => assert!(damage.file.ends_with(&name)),
            Err(OpenError::Newer { .. }) => panic!("byte {byte}: taken for another version"),
            Err(error) => panic!("byte {byte}: {error}"),
            // A note beside a good one, the last batch, and what is behind it, may be a torn write.
            Ok((_, items)) => {
                let is_slot = (512..1536).contains(&byte);
                assert!(byte >= last_batch || is_slot, "byte {byte} was passed over");
                is_prefix(&items);
            }
        }
    }
}

#[test]
fn promise_4_a_torn_end_and_damage_are_told_apart() {
    let (disk, log) = filled(12);
    drop(log);
    let name = last_name(&disk);
    let batches: Vec<_> = disk.files()[&name]
        .windows(4)
        .enumerate()
        .filter(|(_, it)| *it == format::BATCH_MAGIC.to_be_bytes())
        .map(|(at, _)| at)
        .collect();
    let torn = MemDisk::with_files(&disk.files());
    change(&torn, &name, |bytes| bytes[batches[11] + 60..].fill(0));
    assert_eq!(is_prefix(&open(&torn).1), 11 * BATCH);
    let saved = torn.files().into_keys().find(|name| name.ends_with(".torn"));
    assert_eq!(saved.unwrap(), "00000000000000000033.torn");
    let damaged = MemDisk::with_files(&disk.files());
    change(&damaged, &name, |bytes| bytes[batches[10] + 60..].fill(0));
    // The last batch says nothing any more: but a note says that those before it were on disk.
    let (mut log, _) = open(&disk);
    log.housekeep(MonoMillis(1_000)).unwrap();
    log.close().unwrap();
    change(&disk, &name, |bytes| bytes[batches[5] + 60..].fill(0));
    let Err(OpenError::Damaged(damage)) = try_open(disk) else { panic!("it opened") };
    assert_eq!((damage.offset, damage.seq), (batches[5] as u64, Seq(5 * BATCH + 1)));
}

#[test]
fn promise_5_after_a_failed_sync_nothing_is_believed() {
    let (disk, mut log) = filled(5);
    let calls = disk.trace().len();
    log.append(UnixMillis(99), 1, &payload(16)).unwrap();
    let sync = calls + 1;
    disk.fail_at(sync, false, io::ErrorKind::Other);
    assert!(log.commit(MonoMillis(0)).is_err());
    assert_eq!(disk.trace()[sync], Call::Sync);
    assert!(log.append(UnixMillis(99), 1, b"more").is_err());
    assert!(log.commit(MonoMillis(0)).is_err() && log.close().is_err());
    assert_eq!(disk.trace().len(), sync + 1, "nothing is tried again");
    let before = disk.trace().len();
    let (_, items) = open(&disk);
    assert!(items.len() >= 15);
    let calls = &disk.trace()[before..];
    let written = calls.iter().position(|call| *call == Call::Write).unwrap();
    assert!(
        calls[written..].contains(&Call::Sync),
        "what is read back is written and synced again"
    );
}

#[test]
fn promise_6_disk_full_is_a_refusal_and_ends_when_there_is_room() {
    let (disk, mut log) = filled(1);
    disk.set_capacity(Some(20 << 10));
    let refused = loop {
        match log.append(UnixMillis(1), 1, &[1; 200]) {
            Ok(_) => drop(log.commit(MonoMillis(0)).unwrap()),
            Err(error) => break error,
        }
    };
    assert!(matches!(refused, AppendError::Full), "{refused}");
    assert!(matches!(log.append(UnixMillis(1), 1, &[1; 9_000]), Err(AppendError::Full)));
    disk.set_capacity(None);
    for second in 1..20 {
        log.housekeep(MonoMillis(second * 1_000)).unwrap();
    }
    log.append(UnixMillis(1), 1, &[1; 9_000]).unwrap();
    log.commit(MonoMillis(0)).unwrap();
}

#[test]
fn promise_7_a_segment_exists_whole_or_not_at_all() {
    let images = Rc::new(RefCell::new(Vec::new()));
    let (disk, mut log) = filled(0);
    let seen = Rc::clone(&images);
    disk.watch(move |disk, _| {
        for keep_names in [false, true] {
            seen.borrow_mut().push(disk.cut_power(keep_names, || false));
        }
    });
    while disk.files().len() < 4 {
        batch(&mut log);
        log.housekeep(MonoMillis(log.next_seq().0 * 100)).unwrap();
    }
    disk.unwatch();
    for image in images.borrow().iter() {
        for (name, bytes) in image.files() {
            let Some(first) = format::parse_segment_name(&name) else { continue };
            let (header, _) = SegmentHeader::decode(&bytes[..at(HEADER_LEN)]).expect("a header");
            assert_eq!((header.first, header.size), (first, bytes.len() as u64));
        }
    }
}

/// The golden log on a disk in memory, and what it must replay to.
fn golden() -> (MemDisk, String) {
    let disk = MemDisk::new();
    for entry in std::fs::read_dir(log_folder()).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        if format::parse_segment_name(&name).is_some() {
            disk.put(&name, std::fs::read(entry.path()).unwrap());
        }
    }
    (disk, std::fs::read_to_string(expected_file()).unwrap())
}

fn digest(disk: &MemDisk) -> Digest {
    let mut state = State::default();
    let opened = Log::open(disk.clone(), OPTIONS, 7, UnixMillis(1), |record| {
        let stamp = Stamp { seq: record.seq, time: record.time, place: record.place };
        state.take_record(stamp, record.in_base, record.kind, record.payload)
    });
    opened.map(drop).unwrap_or_else(|error| panic!("{error}"));
    state.digest()
}

#[test]
fn promise_8_compaction_never_changes_the_state_wherever_it_is_cut() {
    let (disk, _) = golden();
    let before = digest(&disk);
    let images = Rc::new(RefCell::new(Vec::new()));
    let seen = Rc::clone(&images);
    disk.watch(move |disk, _| {
        for keep in [false, true] {
            seen.borrow_mut().push(disk.cut_power(keep, || keep));
        }
    });
    let plan = Plan::new(&disk, None, |_| ()).unwrap().unwrap();
    let draft = plan.write(&disk, |_| ()).unwrap();
    draft.check(&disk, |_| ()).unwrap().publish(&disk).unwrap();
    disk.unwatch();
    assert_eq!(digest(&disk), before);
    assert!(images.borrow().len() > 20);
    for image in images.borrow().iter() {
        assert_eq!(digest(image), before, "before, or after it: nothing else");
        assert!(!image.files().contains_key("base.tmp"), "what is left over is collected");
    }
}

#[test]
fn promise_9_old_logs_open() {
    let (disk, expected) = golden();
    assert!(expected.contains(&digest(&disk).to_string()), "{expected}");
}
