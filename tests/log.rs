//! The log through its public face, on a disk in memory and on a real one.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "log/beside.rs"]
mod beside;
#[path = "log/bookmarks.rs"]
mod bookmarks;
#[path = "log/damage.rs"]
mod damage;
#[path = "kit/disk.rs"]
mod disk;
#[path = "log/layout.rs"]
mod layout;
#[path = "log/lenient.rs"]
mod lenient;
#[path = "log/matrix.rs"]
mod matrix;
#[path = "log/room.rs"]
mod room;
#[path = "log/shuffle.rs"]
mod shuffle;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io;

use disk::{Call, MemDisk};
use oicq::id::{MonoMillis, Place, Seq, UnixMillis};
use oicq::log::format::{self, HEADER_LEN};
use oicq::log::{
    AppendError, BaseSize, BaseWriter, Damage, DiskStorage, Durability, End, Found, Log, OpenError,
    Options, Origin, Reader, Recovery, Resumed, Step, Storage, StoredFile, TABLE, TOOLS, What,
    collect, publish,
};
use proptest::prelude::*;

const OPTIONS: Options =
    Options { segment_size: 16 << 10, durability: Durability::Always, charset: 1 };
const LOG_ID: u64 = 0x0123_4567_89AB_CDEF;
const FIRST_FILE: &str = "00000000000000000001.log";

type Item = (u64, u64, u8, Vec<u8>);
type Opened<S> = (Log<S>, Recovery, Vec<Item>);

fn try_open<S: Storage>(storage: S, options: Options) -> Result<Opened<S>, OpenError<Infallible>> {
    let mut items = Vec::new();
    let (log, recovery) = Log::open(storage, options, LOG_ID, UnixMillis(1000), |record| {
        items.push((record.seq.0, record.time.0, record.kind, record.payload.to_vec()));
        Ok(())
    })?;
    assert_eq!(log.next_seq(), recovery.last_seq.next());
    Ok((log, recovery, items))
}

fn open<S: Storage>(storage: S) -> Opened<S> {
    try_open(storage, OPTIONS).unwrap_or_else(|error| panic!("{error}"))
}

fn refused(disk: &MemDisk, options: Options) -> OpenError<Infallible> {
    let before = disk.files();
    let error = match try_open(disk.clone(), options) {
        Err(error) => error,
        Ok(_) => panic!("it opened"),
    };
    assert_eq!(disk.files(), before, "a log that is refused is not touched");
    error
}

fn damage(disk: &MemDisk) -> Damage {
    match refused(disk, OPTIONS) {
        OpenError::Damaged(damage) => damage,
        error => panic!("{error}"),
    }
}

/// What record number `seq` says in these tests.
fn payload(seq: u64) -> Vec<u8> {
    format!("record {seq} ").repeat(1 + usize::try_from(seq % 7).expect("small")).into_bytes()
}

/// Appends `batches` batches of three records.
fn fill<S: Storage>(log: &mut Log<S>, batches: u64) {
    for _ in 0..batches {
        let time = UnixMillis(1000 + log.next_seq().0);
        for _ in 0..3 {
            let seq = log.next_seq().0;
            log.append(time, 7, &payload(seq)).unwrap();
        }
        assert!(log.commit(MonoMillis(0)).unwrap());
    }
}

/// A log of so many batches whose server was killed.
fn killed(batches: u64) -> MemDisk {
    let disk = MemDisk::new();
    let (mut log, ..) = open(disk.clone());
    fill(&mut log, batches);
    disk
}

/// A log of so many batches whose server was stopped.
fn stopped(batches: u64) -> MemDisk {
    let disk = MemDisk::new();
    let (mut log, ..) = open(disk.clone());
    fill(&mut log, batches);
    log.close().unwrap();
    disk
}

fn check_items(items: &[Item], count: u64) {
    assert_eq!(items.len() as u64, count);
    for (seq, item) in (1..).zip(items) {
        assert_eq!((item.0, item.2), (seq, 7));
        assert_eq!(item.3, payload(seq));
    }
}

/// Where each batch of a file begins and ends, by the reader.
fn batches_of(disk: &MemDisk) -> Vec<(usize, u64, u64)> {
    let mut reader = Reader::open(disk).unwrap();
    let mut found = Vec::new();
    while let Step::Batch(batch) = reader.next_batch().unwrap() {
        found.push((batch.segment, batch.offset, batch.offset + batch.header.total()));
    }
    found
}

/// How many segments there are; a file that is being made is none.
fn segments(disk: &MemDisk) -> usize {
    disk.files().keys().filter(|name| format::parse_segment_name(name).is_some()).count()
}

fn change(disk: &MemDisk, name: &str, with: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = disk.take(name);
    with(&mut bytes);
    disk.put(name, bytes);
}

fn at(offset: u64) -> usize {
    usize::try_from(offset).expect("small")
}

#[test]
fn what_was_committed_comes_back_in_order_over_many_segments() {
    let disk = stopped(400);
    assert!(disk.files().len() > 3, "it rolls");
    assert!(!disk.files().contains_key("next.tmp"));
    let (mut log, recovery, items) = open(disk.clone());
    check_items(&items, 1200);
    assert_eq!((recovery.events, recovery.last_seq), (1200, Seq(1200)));
    assert_eq!(recovery.last_time, UnixMillis(1000 + 1198));
    assert_eq!(recovery.segments, disk.files().len());
    fill(&mut log, 10);
    drop(log);
    check_items(&open(disk).2, 1230);
}

#[test]
fn the_last_file_alone_tells_how_far_a_log_reaches() {
    let reach = |disk: &MemDisk| Reader::open(disk).unwrap().reach().unwrap();
    let disk = MemDisk::new();
    assert_eq!(reach(&disk), Seq::ZERO, "no log");
    let (mut log, ..) = open(disk.clone());
    for batches in 0..400 {
        assert_eq!(reach(&disk), Seq(3 * batches));
        fill(&mut log, 1);
    }
    assert!(segments(&disk) > 3, "it rolls");
    let last =
        disk.files().keys().rfind(|name| format::parse_segment_name(name).is_some()).cloned();
    let (_, start, _) = batches_of(&disk).pop().unwrap();
    change(&disk, &last.unwrap(), |bytes| bytes[at(start) + 40] ^= 1);
    assert_eq!(reach(&disk), Seq(1197), "up to the first damage");
}

#[test]
fn a_real_folder_keeps_a_log_and_its_text_can_be_read_at_any_time() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a/b");
    let mut places = Vec::new();
    let (mut log, ..) = open(DiskStorage::create(&path).unwrap());
    for round in 0..3000_u64 {
        let seq = log.next_seq().0;
        places.push(log.append(UnixMillis(5), 7, &payload(seq)).unwrap().1);
        if round % 5 == 0 {
            log.commit(MonoMillis(round)).unwrap();
            log.housekeep(MonoMillis(round)).unwrap();
        }
    }
    check_texts(&log, &places);
    log.close().unwrap();
    let mode = |path: &std::path::Path| {
        use std::os::unix::fs::PermissionsExt;
        path.metadata().unwrap().permissions().mode() & 0o777
    };
    assert_eq!((mode(&path), mode(&path.join(FIRST_FILE))), (0o700, 0o600));
    let (log, _, items) = open(DiskStorage::create(&path).unwrap());
    check_items(&items, 3000);
    check_texts(&log, &places);
    let busy = try_open(DiskStorage::create(&path).unwrap(), OPTIONS);
    assert!(matches!(busy, Err(OpenError::InUse { .. })));
}

fn check_texts<S: Storage>(log: &Log<S>, places: &[Place]) {
    for (seq, place) in (1..).zip(places) {
        let wanted = payload(seq);
        let text = log.text(*place, u32::try_from(wanted.len()).unwrap()).unwrap();
        assert_eq!(text, wanted, "record {seq}");
        assert_eq!(&*log.text(place.offset(3), 3).unwrap(), &wanted[3..6]);
    }
    assert!(log.text(Place(u64::MAX), 1).is_err());
}

#[test]
fn time_never_runs_backwards_and_another_time_is_another_batch() {
    let disk = MemDisk::new();
    let (mut log, ..) = open(disk.clone());
    for time in [50, 40, 60] {
        log.append(UnixMillis(time), 1, b"x").unwrap();
    }
    assert_eq!(log.last_time(), UnixMillis(60));
    log.commit(MonoMillis(0)).unwrap();
    drop(log);
    assert_eq!(batches_of(&disk).len(), 2);
    let times: Vec<_> = open(disk).2.into_iter().map(|item| item.1).collect();
    assert_eq!(times, [50, 50, 60]);
}

#[test]
fn a_batch_larger_than_a_segment_makes_a_larger_one() {
    let disk = MemDisk::new();
    let (mut log, ..) = open(disk.clone());
    let large = vec![9; 100_000];
    log.append(UnixMillis(1), 1, &large).unwrap();
    log.commit(MonoMillis(0)).unwrap();
    log.append(UnixMillis(1), 1, b"small").unwrap();
    log.append(UnixMillis(1), 1, &large).unwrap();
    log.close().unwrap();
    let (_, _, items) = open(disk);
    assert_eq!(items.len(), 3);
    assert_eq!((&items[0].3, &items[2].3), (&large, &large));
}

#[test]
fn bounds_are_kept_and_what_is_too_long_changes_nothing() {
    let (mut log, ..) = open(MemDisk::new());
    let long = vec![0; format::RECORD_PAYLOAD_MAX + 1];
    assert!(matches!(log.append(UnixMillis(1), 1, &long), Err(AppendError::TooLong { .. })));
    let far = format::BATCH_PAYLOAD_MAX;
    assert!(matches!(log.make_room(1, far), Err(AppendError::TooLong { .. })));
    assert_eq!(log.next_seq(), Seq(1));
    assert!(!log.commit(MonoMillis(0)).unwrap());
}

#[test]
fn records_that_were_given_room_share_a_batch() {
    let disk = MemDisk::new();
    let (mut log, ..) = open(disk.clone());
    for _ in 0..40 {
        log.make_room(3, 3000).unwrap();
        for _ in 0..3 {
            log.append(UnixMillis(1), 1, &[5; 1000]).unwrap();
        }
        log.commit(MonoMillis(0)).unwrap();
    }
    assert!(disk.files().len() > 2);
    assert_eq!(batches_of(&disk).len(), 40);
}

#[test]
fn an_interval_syncs_when_it_is_over_and_never_does_not() {
    for (durability, synced) in [(Durability::Interval(100), true), (Durability::Never, false)] {
        let disk = MemDisk::new();
        let options = Options { durability, ..OPTIONS };
        let (mut log, ..) = try_open(disk.clone(), options).unwrap();
        log.housekeep(MonoMillis(20)).unwrap();
        log.commit(MonoMillis(1000)).unwrap();
        let syncs = || disk.trace().iter().filter(|call| **call == Call::Sync).count();
        let before = syncs();
        fill_at(&mut log, MonoMillis(1000));
        assert_eq!(syncs(), before);
        assert_eq!(log.deadline().is_some(), synced);
        if synced {
            assert_eq!(log.deadline(), Some(MonoMillis(1100)));
        }
        log.housekeep(MonoMillis(1099)).unwrap();
        assert_eq!(syncs(), before);
        log.housekeep(MonoMillis(1100)).unwrap();
        assert_eq!(syncs() > before, synced);
        drop(log);
        let (.., items) = open(disk.cut_power(true, || false));
        assert_eq!(!items.is_empty(), synced);
    }
}

fn fill_at(log: &mut Log<MemDisk>, now: MonoMillis) {
    log.append(UnixMillis(5), 7, &payload(1)).unwrap();
    log.commit(now).unwrap();
}

#[test]
fn idle_turns_make_the_next_segment_and_then_want_nothing() {
    let disk = MemDisk::new();
    let (mut log, ..) = open(disk.clone());
    while !disk.files().contains_key("next.tmp") {
        fill(&mut log, 1);
        assert!(log.next_seq() < Seq(1000), "it is made before it is needed");
        let mut calls = 0;
        while let Some(deadline) = log.deadline() {
            log.housekeep(deadline).unwrap();
            calls += 1;
            assert!(calls < 20, "housekeeping comes to an end");
        }
    }
    assert_eq!(disk.files().len(), 2);
    let count = log.next_seq().0 - 1 + 180;
    let creates = || disk.trace().iter().filter(|call| **call == Call::Create).count();
    let before = creates();
    fill(&mut log, 60);
    assert_eq!(creates(), before, "the segment was there already");
    drop(log);
    check_items(&open(disk).2, count);
}

#[test]
fn a_full_disk_is_a_refusal_that_ends_when_there_is_room() {
    let disk = MemDisk::new();
    let (mut log, ..) = open(disk.clone());
    disk.set_capacity(Some(20 << 10));
    let mut now = MonoMillis(5000);
    let refused = loop {
        match log.append(UnixMillis(1), 7, &payload(log.next_seq().0)) {
            Ok(_) => {}
            Err(error) => break error,
        }
        log.commit(now).unwrap();
    };
    assert!(matches!(refused, AppendError::Full));
    let last = log.next_seq();
    for _ in 0..3 {
        now = log.deadline().unwrap().max(now);
        log.housekeep(now).unwrap();
        assert!(matches!(log.append(UnixMillis(1), 7, &[1; 900]), Err(AppendError::Full)));
    }
    assert!(!disk.files().contains_key("next.tmp"));
    check_items(&open(MemDisk::with_files(&disk.files())).2, last.0 - 1);

    disk.set_capacity(None);
    for _ in 0..4 {
        now = log.deadline().unwrap_or(now).max(now);
        log.housekeep(now).unwrap();
    }
    fill(&mut log, 3);
    log.close().unwrap();
    check_items(&open(disk).2, last.0 + 8);
}

#[test]
fn where_nothing_can_be_reserved_zeros_are_written() {
    let disk = MemDisk::new();
    disk.refuse_to_reserve();
    let (mut log, ..) = open(disk.clone());
    fill(&mut log, 200);
    assert!(disk.files().values().all(|bytes| bytes.len() == 16 << 10));
    drop(log);
    check_items(&open(disk).2, 600);
}

#[test]
fn after_a_failed_call_nothing_is_acknowledged_and_nothing_acknowledged_is_lost() {
    let run = |disk: &MemDisk| -> u64 {
        let mut acknowledged = 0;
        let Ok((mut log, ..)) = try_open(disk.clone(), OPTIONS) else { return 0 };
        let mut failed = false;
        for now in 0..200 {
            let seq = log.next_seq().0;
            let appended = log.append(UnixMillis(1), 7, &payload(seq));
            let done = appended.is_ok() && log.commit(MonoMillis(now)).is_ok();
            assert!(!(failed && done), "failure is latched");
            failed |= !done;
            if done {
                acknowledged = seq;
            }
            failed |= log.housekeep(MonoMillis(now)).is_err();
        }
        acknowledged
    };
    let disk = MemDisk::new();
    run(&disk);
    let calls = disk.trace().len();
    for call in (0..calls).step_by(3) {
        for kind in [io::ErrorKind::Other, io::ErrorKind::BrokenPipe] {
            let disk = MemDisk::new();
            disk.fail_at(call, kind == io::ErrorKind::Other, kind);
            let acknowledged = run(&disk);
            let image = disk.cut_power(call % 2 == 0, || false);
            let items = open(image).2;
            assert!(items.len() as u64 >= acknowledged, "call {call}: {kind}");
            check_items(&items, items.len() as u64);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// The power is cut at any call; any of the unsynced sectors are on the disk; and again while
    /// it recovers. What was acknowledged is there, and nothing in the wrong order.
    #[test]
    fn a_power_cut_loses_nothing_acknowledged(
        call in 0_usize..900,
        again in 0_usize..60,
        seed in any::<u64>(),
        weak in any::<bool>(),
        names in any::<bool>(),
    ) {
        let mut chance = seed | 1;
        let mut coin = move || {
            chance ^= chance << 13;
            chance ^= chance >> 7;
            chance ^= chance << 17;
            chance & 1 == 1
        };
        let durability = if weak { Durability::Never } else { Durability::Always };
        let options = Options { durability, ..OPTIONS };
        let disk = MemDisk::new();
        disk.fail_at(call, true, io::ErrorKind::Other);
        let mut acknowledged = 0;
        if let Ok((mut log, ..)) = try_open(disk.clone(), options) {
            for now in 0..150 {
                let seq = log.next_seq().0;
                let appended = log.append(UnixMillis(1), 7, &payload(seq));
                if appended.is_err() || log.commit(MonoMillis(now)).is_err() {
                    break;
                }
                acknowledged = seq;
                let _ = log.housekeep(MonoMillis(now));
            }
        }
        let image = disk.cut_power(names, &mut coin);
        image.fail_at(again, true, io::ErrorKind::Other);
        drop(try_open(image.clone(), options));
        let image = image.cut_power(!names, &mut coin);
        let items = open(image).2;
        prop_assert!(weak || items.len() as u64 >= acknowledged);
        check_items(&items, items.len() as u64);
    }

    /// Bytes that nobody wrote are refused or read, but never a panic.
    #[test]
    fn any_bytes_may_stand_in_a_segment(
        bytes in proptest::collection::vec(any::<u8>(), 0..6000),
        keep in 0_usize..6000,
    ) {
        let disk = killed(4);
        change(&disk, FIRST_FILE, |file| {
            file.truncate(keep);
            file.extend_from_slice(&bytes);
        });
        let _ = try_open(disk, OPTIONS);
    }
}

/// A log for each row of the table; the row's outcome is checked where it is made.
fn check_row(found: Found) {
    let disk = killed(4);
    let end = at(batches_of(&disk).last().unwrap().2);
    match found {
        Found::Nothing => check_found(&MemDisk::new(), found, 0),
        Found::Whole => check_found(&disk, found, 12),
        Found::Leftover => {
            disk.put("next.tmp", vec![1; 100]);
            disk.put("torn.tmp", vec![1; 100]);
            check_found(&disk, found, 12);
            assert_eq!(disk.files().len(), 1);
        }
        Found::Superseded => check_superseded(),
        Found::TornEnd => check_torn_end(&disk, end),
        Found::ShortFile => {
            change(&disk, FIRST_FILE, |bytes| bytes.truncate(end));
            check_found(&disk, found, 12);
            assert_eq!(disk.files()[FIRST_FILE].len(), 16 << 10);
        }
        Found::LongFile => {
            change(&disk, FIRST_FILE, |bytes| bytes.extend([0; 777]));
            check_found(&disk, found, 12);
            change(&disk, FIRST_FILE, |bytes| bytes.extend([1; 777]));
            check_found(&disk, found, 12);
            assert_eq!(disk.files()[FIRST_FILE].len(), 16 << 10);
        }
        Found::TornSlot => {
            let disk = stopped(150);
            let name = disk.files().into_keys().next_back().unwrap();
            change(&disk, &name, |bytes| bytes[600] ^= 1);
            check_found(&disk, found, 450);
            check_found(&disk, Found::Whole, 450);
            change(&disk, &name, |bytes| {
                bytes[600] ^= 1;
                bytes[1100] ^= 1;
            });
            assert_eq!(damage(&disk).what, What::WitnessSlots);
        }
        Found::Unclosed => check_unclosed(),
        Found::Damage => {
            change(&disk, FIRST_FILE, |bytes| bytes[at(HEADER_LEN) + 50] ^= 1);
            let damage = damage(&disk);
            assert_eq!((damage.offset, damage.seq), (HEADER_LEN, Seq(1)));
            assert_eq!(damage.what, What::BatchPayload);
        }
        Found::Newer => check_newer(&disk),
        Found::OtherCharset => {
            let error = refused(&disk, Options { charset: 2, ..OPTIONS });
            assert!(matches!(error, OpenError::Charset { found: 1, wanted: 2, .. }));
            assert_eq!(batches_of(&disk).len(), 4);
        }
        Found::InUse => {
            let holder = open(disk.clone());
            assert!(matches!(refused(&disk, OPTIONS), OpenError::InUse { .. }));
            assert_eq!(batches_of(&disk).len(), 4);
            drop(holder);
            check_found(&disk, Found::Whole, 12);
        }
        Found::Unreadable => {
            let read = MemDisk::with_files(&disk.files());
            read.fail_at(4, true, io::ErrorKind::PermissionDenied);
            let error = refused(&read, OPTIONS);
            assert!(matches!(error, OpenError::Storage(_)), "{error}");
        }
    }
}

/// A base of two records takes the place of three segments, of which two come back.
fn check_superseded() {
    let disk = stopped(400);
    let before = disk.files();
    let names: Vec<_> = before.keys().cloned().collect();
    let header = Reader::open(&disk).unwrap().peek_header(3).unwrap().unwrap();
    let origin = Origin {
        charset: header.charset,
        log_id: header.log_id,
        generation: 1,
        seq: header.durable,
        time: UnixMillis(7),
        chain: header.chain,
    };
    let mut size = BaseSize::default();
    [3, 5].into_iter().for_each(|len| size.add(len));
    let mut writer = BaseWriter::begin(&disk, &origin, size.total()).unwrap();
    writer.append(1, b"one").unwrap();
    writer.append(2, b"other").unwrap();
    writer.finish().unwrap();
    publish(&disk, &origin).unwrap();
    assert_eq!(collect(&disk, origin.seq).unwrap(), 3);
    assert_eq!(collect(&disk, origin.seq).unwrap(), 0);
    names[1..3].iter().for_each(|name| disk.put(name, before[name].clone()));
    assert_eq!(Reader::open(&disk).unwrap().reach().unwrap(), Seq(1200));
    for found in [Found::Superseded, Found::Whole] {
        let (log, recovery, items) = open(disk.clone());
        assert_eq!(recovery.found, [found]);
        assert!(names[..3].iter().all(|name| !disk.files().contains_key(name)));
        let seq = origin.seq.0;
        assert_eq!(items[0], (seq, 7, 1, b"one".to_vec()));
        assert_eq!(items[1], (seq, 7, 2, b"other".to_vec()));
        assert_eq!((items[2].0, &items[2].3), (seq + 1, &payload(seq + 1)));
        assert_eq!((items.len() as u64, log.next_seq()), (2 + 1200 - seq, Seq(1201)));
    }
}

fn check_found(disk: &MemDisk, found: Found, count: u64) {
    let (_, recovery, items) = open(disk.clone());
    assert!(recovery.found.contains(&found), "{found:?} among {:?}", recovery.found);
    check_items(&items, count);
    check_items(&open(disk.clone()).2, count);
}

fn check_torn_end(disk: &MemDisk, end: usize) {
    for copy in ["00000000000000000009.torn", "00000000000000000009-2.torn"] {
        change(disk, FIRST_FILE, |bytes| bytes[end - 20] ^= 1);
        let torn_bytes = disk.files()[FIRST_FILE].clone();
        let (mut log, recovery, items) = open(disk.clone());
        check_items(&items, 9);
        let (torn, saved) = recovery.torn.unwrap();
        assert_eq!((torn.after, recovery.found), (Seq(9), vec![Found::TornEnd]));
        assert!(saved.ends_with(copy));
        let from = at(torn.offset);
        assert_eq!(disk.files()[copy], torn_bytes[from..from + at(torn.bytes)]);
        assert!(disk.files()[FIRST_FILE][from..].iter().all(|byte| *byte == 0));
        fill(&mut log, 1);
    }
    check_found(disk, Found::Whole, 12);
}

/// The power goes between the name of a new segment and the note of it in the old one.
fn check_unclosed() {
    let disk = MemDisk::new();
    let (mut log, ..) = open(disk.clone());
    let mut images = Vec::new();
    while segments(&disk) < 2 {
        images.push(disk.files());
        fill(&mut log, 1);
    }
    drop(log);
    let second = disk.files().into_keys().next_back().unwrap();
    let mut image = images.pop().unwrap();
    let closed_at = at(batches_of(&disk).iter().rfind(|batch| batch.0 == 0).unwrap().2);
    let first = image.get_mut(FIRST_FILE).unwrap();
    first[at(HEADER_LEN)..closed_at]
        .copy_from_slice(&disk.files()[FIRST_FILE][at(HEADER_LEN)..closed_at]);
    let mut empty = disk.files()[&second].clone();
    empty[at(HEADER_LEN)..].fill(0);
    image.insert(second.clone(), empty);
    let image = MemDisk::with_files(&image);
    let count = second[..20].parse::<u64>().unwrap() - 1;
    check_found(&image, Found::Unclosed, count);
    image.take(&second);
    assert_eq!(damage(&image).what, What::Missing);
}

fn check_newer(disk: &MemDisk) {
    let files = disk.files();
    let with = |offset: usize, bytes: &[u8], crc: std::ops::Range<usize>, seed: u32| {
        let disk = MemDisk::with_files(&files);
        change(&disk, FIRST_FILE, |file| {
            file[offset..offset + bytes.len()].copy_from_slice(bytes);
            let sum = format::checksum(seed, &file[crc.clone()]);
            file[crc.end..crc.end + 4].copy_from_slice(&sum.to_be_bytes());
        });
        refused(&disk, OPTIONS)
    };
    let start = at(HEADER_LEN);
    let batch = start..start + 44;
    for error in [
        with(8, &[0, 2], 0..84, 0x4F49_4351),
        with(16, &[0x80], 0..84, 0x4F49_4351),
        with(start + 39, &[1], batch, format::seed_of(LOG_ID)),
    ] {
        assert!(matches!(error, OpenError::Newer { .. }), "{error}");
    }
}

#[test]
fn every_row_of_the_table_holds() {
    for row in TABLE {
        check_row(row.found);
    }
}

#[test]
fn the_table_in_the_format_is_the_one_in_the_code() {
    let format = include_str!("../src/log/FORMAT.md");
    assert!(format.contains(&format!("| found | the server | {} |", TOOLS.join(" | "))));
    for row in TABLE {
        let tools = row.tools.join(" | ");
        let line = format!("| {:?} | {} | {tools} |", row.found, row.server);
        assert!(format.contains(&line), "FORMAT.md lacks: {line}");
    }
}

#[test]
fn noise_too_far_behind_the_end_is_damage_unless_durability_is_weak() {
    for (durability, torn) in [(Durability::Always, false), (Durability::Never, true)] {
        let disk = MemDisk::new();
        let options = Options { segment_size: 20 << 20, durability, ..OPTIONS };
        drop(try_open(disk.clone(), options).unwrap());
        change(&disk, FIRST_FILE, |bytes| bytes[18 << 20] = 1);
        assert_eq!(try_open(disk, options).is_ok(), torn);
    }
}

#[test]
fn without_a_wish_for_durability_a_lost_batch_takes_the_later_ones_along() {
    let disk = MemDisk::new();
    let options = Options { durability: Durability::Never, ..OPTIONS };
    let (mut log, ..) = try_open(disk.clone(), options).unwrap();
    fill(&mut log, 6);
    drop(log);
    let batches = batches_of(&disk);
    change(&disk, FIRST_FILE, |bytes| bytes[at(batches[2].1)..at(batches[2].2)].fill(0));
    let (_, recovery, items) = try_open(disk, options).unwrap();
    check_items(&items, 6);
    assert!(recovery.torn.is_some());
}

#[test]
fn what_the_caller_cannot_make_sense_of_is_named() {
    let disk = killed(4);
    let opened = Log::open(disk, OPTIONS, LOG_ID, UnixMillis(0), |record| {
        if record.seq == Seq(5) { Err("nonsense") } else { Ok(()) }
    });
    match opened.err() {
        Some(OpenError::Meaning { seq, error, offset, .. }) => {
            assert_eq!((seq, error), (Seq(5), "nonsense"));
            assert!(offset > HEADER_LEN);
        }
        _ => panic!("it opened"),
    }
}

#[test]
fn a_folder_that_cannot_be_used_is_an_error_with_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, b"").unwrap();
    assert!(DiskStorage::create(&file).is_err());
    let storage = DiskStorage::read_only(&folder.path().join("nowhere"));
    let error = Reader::open(&storage).err().map(|error| error.to_string()).unwrap();
    assert!(error.contains("nowhere"), "{error}");
    assert!(storage.open("x", oicq::log::Access::Read).is_err());
}

/// The example in `FORMAT.md`: two batches, the first of two records.
fn example() -> Vec<u8> {
    let disk = MemDisk::new();
    let (mut log, ..) = open(disk.clone());
    log.append(UnixMillis(1500), 1, b"ann").unwrap();
    log.append(UnixMillis(1500), 2, b"hello").unwrap();
    log.commit(MonoMillis(0)).unwrap();
    log.append(UnixMillis(2500), 2, b"bye").unwrap();
    log.commit(MonoMillis(0)).unwrap();
    log.close().unwrap();
    let file = disk.open(FIRST_FILE, oicq::log::Access::Read).unwrap();
    file.bytes(0, 4300).unwrap().into_owned()
}

#[test]
fn the_example_in_the_format_is_what_the_code_writes() {
    let format = include_str!("../src/log/FORMAT.md");
    let mut dump = String::new();
    let mut gap = false;
    for (row, line) in (0..).step_by(16).zip(example().chunks(16)) {
        if line.iter().all(|byte| *byte == 0) {
            gap = true;
            continue;
        }
        if std::mem::take(&mut gap) {
            dump.push_str("*\n");
        }
        dump.push_str(&format!("{row:04x} "));
        line.iter().for_each(|byte| dump.push_str(&format!(" {byte:02x}")));
        dump.push('\n');
    }
    assert!(format.contains(&dump), "the dump is now:\n{dump}");
}
