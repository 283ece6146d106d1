//! Compaction over a real conversation: the state stays the same, what was deleted is gone, and an open log
//! takes the base into use.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "kit/disk.rs"]
mod disk;
mod kit;

use std::collections::BTreeMap;

use disk::MemDisk;
use kit::golden::log_folder;
use oicq::compaction::{CompactionError, KeepSince, Plan, collect};
use oicq::id::{GroupNumber, MonoMillis, Place, Seq, ServiceNumber, UnixMillis};
use oicq::log::{
    AdoptError, Durability, End, Log, OpenError, Options, Reader, Resumed, Step, format,
};
use oicq::state::{Digest, Event, RecordError, Stamp, State};

const OPTIONS: Options =
    Options { segment_size: 16 << 10, durability: Durability::Always, charset: 1 };

/// The golden log, on a disk in memory.
fn golden() -> MemDisk {
    let disk = MemDisk::new();
    for entry in std::fs::read_dir(log_folder()).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        if format::parse_segment_name(&name).is_some() {
            disk.put(&name, std::fs::read(entry.path()).unwrap());
        }
    }
    disk
}

fn try_open(disk: &MemDisk) -> Result<(Log<MemDisk>, State), OpenError<RecordError>> {
    let mut state = State::default();
    let (log, _) = Log::open(disk.clone(), OPTIONS, 1, UnixMillis(0), |record| {
        let stamp = Stamp { seq: record.seq, time: record.time, place: record.place };
        state.take_record(stamp, record.in_base, record.kind, record.payload)
    })?;
    Ok((log, state))
}

fn open(disk: &MemDisk) -> (Log<MemDisk>, State) {
    try_open(disk).unwrap_or_else(|error| panic!("{error}"))
}

fn compact(disk: &MemDisk, keep: Option<KeepSince>) -> Option<Seq> {
    let plan = Plan::new(disk, keep, |_| ()).unwrap()?;
    let (seq, needed) = (plan.seq(), plan.needed());
    let draft = plan.write(disk, |_| ()).unwrap();
    assert_eq!(disk.files()["base.tmp"].len() as u64, needed, "it takes what it said");
    draft.check(disk, |_| ()).unwrap().publish(disk).unwrap();
    Some(seq)
}

/// All events' sequence numbers, and whether there is a base.
fn numbers(disk: &MemDisk) -> (bool, Vec<u64>) {
    let mut reader = Reader::open(disk).unwrap();
    let (mut base, mut numbers) = (false, Vec::new());
    while let Step::Batch(batch) = reader.next_batch().unwrap() {
        base |= batch.base.is_some();
        if batch.base.is_none() {
            numbers.extend(batch.records().map(|record| record.seq.0));
        }
    }
    (base, numbers)
}

/// Every waiting message has the text that it was accepted with.
fn check_texts(log: &Log<MemDisk>, state: &State) -> usize {
    let mut checked = 0;
    for (_, user) in state.users() {
        for (_, waiting) in user.mailbox().iter() {
            let text = log.text(waiting.place, waiting.length).unwrap();
            assert_eq!(crc32fast::hash(&text), waiting.checksum);
            checked += 1;
        }
    }
    checked
}

fn record(log: &mut Log<MemDisk>, state: &mut State, event: &Event<'_>) {
    let mut payload = Vec::new();
    event.encode(&mut payload);
    let time = log.last_time();
    let (seq, place) = log.append(time, event.kind() as u8, &payload).unwrap();
    state.apply(Stamp { seq, time, place }, event, &mut |_| ()).unwrap();
    log.commit(MonoMillis(0)).unwrap();
}

fn places(state: &State) -> Vec<(Seq, Place)> {
    let mailboxes = state.users().flat_map(|(_, user)| user.mailbox().iter());
    mailboxes.map(|(seq, waiting)| (seq, waiting.place)).collect()
}

fn digest(disk: &MemDisk) -> (Digest, Seq) {
    let state = open(disk).1;
    (state.digest(), state.last_seq())
}

#[test]
fn the_state_stays_the_same_and_the_files_become_smaller() {
    let disk = golden();
    let before = digest(&disk);
    let bytes = |disk: &MemDisk| disk.files().values().map(Vec::len).sum::<usize>();
    let (bytes_before, last) = (bytes(&disk), before.1);
    let (base, all) = numbers(&disk);
    assert!(!base && all.iter().copied().eq(1..=last.0));
    let seq = compact(&disk, None).unwrap();
    assert_eq!(digest(&disk), before);
    let (base, left) = numbers(&disk);
    assert!(base && left.iter().copied().eq(seq.0 + 1..=last.0));
    assert!(bytes(&disk) < bytes_before / 2, "{} of {bytes_before}", bytes(&disk));
    assert_eq!(disk.files().len(), 2, "a base and the file that is appended to");
    let (log, state) = open(&disk);
    assert!(check_texts(&log, &state) > 0, "the community leaves messages waiting");
    assert!(state.find_contradiction().is_none());
    assert_eq!(compact(&disk, None), None, "nothing is closed any more");
}

#[test]
fn the_log_goes_on_behind_a_base_and_is_compacted_again() {
    let disk = golden();
    let first = compact(&disk, None).unwrap();
    let (mut log, mut state) = open(&disk);
    let mut reference = MemDisk::new();
    for _ in 0..200 {
        let number = state.users().next().unwrap().0;
        let name = format!("a name {}", log.next_seq());
        let event =
            Event::GroupRenamed { owner: number, group: GroupNumber::FIRST, name: name.as_bytes() };
        record(&mut log, &mut state, &event);
        reference = MemDisk::with_files(&disk.files());
    }
    drop(log);
    assert_eq!(digest(&reference), (state.digest(), state.last_seq()));
    let second = compact(&disk, None).unwrap();
    assert!(second > first);
    assert_eq!(digest(&disk), (state.digest(), state.last_seq()));
    let header = Reader::open(&disk).unwrap().peek_header(0).unwrap().unwrap();
    assert_eq!((header.generation, header.is_base), (2, true));
}

#[test]
fn history_is_kept_from_the_wanted_point_on() {
    let (_, all) = numbers(&golden());
    let last = *all.last().unwrap();
    for seq in [1, 2, last / 2, last, last + 100] {
        let disk = golden();
        let before = digest(&disk);
        compact(&disk, Some(KeepSince::Seq(Seq(seq))));
        assert_eq!(digest(&disk), before);
        let (_, left) = numbers(&disk);
        assert!(left[0] <= seq && left.last() == Some(&last), "{seq} is kept: from {}", left[0]);
    }
    let mut times = BTreeMap::new();
    let disk = golden();
    let mut reader = Reader::open(&disk).unwrap();
    while let Step::Batch(batch) = reader.next_batch().unwrap() {
        times.extend(batch.records().map(|record| (record.seq.0, record.time)));
    }
    for (seq, time) in times.iter().step_by(50) {
        let disk = golden();
        compact(&disk, Some(KeepSince::Time(*time)));
        let (_, left) = numbers(&disk);
        let first = times.iter().find(|(_, other)| *other >= time).unwrap().0;
        assert!(left[0] <= *first, "{seq}: from {}, wanted {first}", left[0]);
    }
}

#[test]
fn what_was_delivered_and_deleted_is_gone_from_the_bytes() {
    let disk = golden();
    let (_, state) = open(&disk);
    let waiting: Vec<Seq> = places(&state).iter().map(|(seq, _)| *seq).collect();
    let mut delivered = Vec::new();
    let mut reader = Reader::open(&disk).unwrap();
    let closed = reader.segments().len() - 1;
    while let Step::Batch(batch) = reader.next_batch().unwrap() {
        for record in batch.records().filter(|_| batch.segment < closed) {
            if let Ok(Event::MessageSent { content, .. }) =
                Event::decode(record.kind, record.payload)
                && !waiting.contains(&record.seq)
                && content.len() > 20
            {
                delivered.push(content.to_vec());
            }
        }
    }
    assert!(delivered.len() > 10);
    compact(&disk, None).unwrap();
    let base = disk.files().into_iter().find(|(name, _)| name.ends_with(".base")).unwrap().1;
    for text in delivered {
        assert!(!base.windows(text.len()).any(|window| window == text));
    }
}

#[test]
fn an_open_log_takes_the_base_into_use_without_a_restart() {
    let disk = golden();
    let (mut log, mut state) = open(&disk);
    let (from, to) = (ServiceNumber::FIRST, ServiceNumber(10_002));
    for number in 0..500 {
        let text = format!("message {number} ").repeat(10);
        let event = Event::MessageSent { from, to, content: text.as_bytes() };
        record(&mut log, &mut state, &event);
    }
    let before = places(&state);
    log.look_for_base().unwrap();
    assert!(!log.is_adopting(), "there is none");
    compact(&disk, None).unwrap();
    log.look_for_base().unwrap();
    assert!(log.is_adopting());
    let mut steps = 0;
    while !log.adopt(|record| state.relocate(record.kind, record.payload, record.place)).unwrap() {
        check_texts(&log, &state);
        steps += 1;
    }
    assert!(steps > 1, "it is done piece by piece");
    assert!(log.holds_superseded());
    while !log.let_go() {}
    let after = places(&state);
    assert_eq!(before.len(), after.len());
    let moved = before.iter().zip(&after).filter(|(old, new)| old.1 != new.1).count();
    assert!(moved > 0);
    check_texts(&log, &state);
    let gone = before.iter().zip(&after).find(|(old, new)| old.1 != new.1).unwrap().0.1;
    assert!(log.text(gone, 1).is_err(), "the old file is let go of");
    log.look_for_base().unwrap();
    assert!(!log.is_adopting(), "once is enough");
    let (seq, place) = log.append(log.last_time(), 200, b"still here").unwrap();
    log.commit(MonoMillis(1)).unwrap();
    assert_eq!(seq.next(), log.next_seq());
    assert_eq!(&*log.text(place, 10).unwrap(), b"still here");
}

#[test]
fn any_flipped_byte_of_a_base_is_found() {
    let disk = golden();
    compact(&disk, None).unwrap();
    let files = disk.files();
    let (name, bytes) = files.iter().find(|(name, _)| name.ends_with(".base")).unwrap();
    let mut tried = 0;
    for byte in (0..bytes.len()).step_by(5) {
        let mut changed = files.clone();
        changed.get_mut(name).unwrap()[byte] ^= 1 << (byte % 8);
        let disk = MemDisk::with_files(&changed);
        match try_open(&disk) {
            Err(OpenError::Damaged(damage)) => assert!(damage.file.ends_with(name)),
            Err(error) => panic!("byte {byte}: {error}"),
            Ok(_) => panic!("byte {byte}: it opened"),
        }
        tried += 1;
    }
    assert!(tried > 1_000);
    let mut without = files.clone();
    without.retain(|other, _| other == name);
    let error = try_open(&MemDisk::with_files(&without)).err().unwrap();
    assert!(matches!(error, OpenError::Damaged(_)), "what follows the base is missing: {error}");
    let mut without = files.clone();
    without.remove(name);
    let error = try_open(&MemDisk::with_files(&without)).err().unwrap();
    assert!(matches!(error, OpenError::Damaged(_)), "the base is missing: {error}");
}

#[test]
fn a_log_that_is_compacted_while_it_is_read_says_so() {
    let disk = golden();
    let mut reader = Reader::open(&disk).unwrap();
    assert!(matches!(reader.next_batch(), Ok(Step::Batch(_))));
    compact(&disk, None).unwrap();
    let error = loop {
        match reader.next_batch() {
            Ok(Step::Batch(_)) => {}
            Ok(Step::End(end)) => panic!("{end:?}"),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, oicq::log::ReadError::Compacted), "{error}");
}

#[test]
fn a_base_that_is_damaged_costs_none_of_the_files_that_it_replaces() {
    let disk = golden();
    let before = disk.files();
    compact(&disk, None).unwrap();
    let name = disk.files().into_keys().find(|name| name.ends_with(".base")).unwrap();
    let mut bytes = disk.take(&name);
    bytes[4_200] ^= 1;
    disk.put(&name, bytes);
    before.iter().for_each(|(name, bytes)| disk.put(name, bytes.clone()));
    let files = disk.files();
    assert!(matches!(collect(&disk), Err(CompactionError::Damaged(_))));
    assert!(matches!(try_open(&disk), Err(OpenError::Damaged(_))));
    assert_eq!(disk.files(), files, "nothing is removed");
    // Without the damaged base the log is what it was.
    disk.take(&name);
    assert_eq!(digest(&disk), digest(&golden()));
}

#[test]
fn a_stray_name_takes_nothing_away() {
    let disk = golden();
    disk.put("18446744073709551615.base", vec![1; 100]);
    let files = disk.files();
    assert_eq!(collect(&disk).unwrap(), 0);
    let (mut log, _) = open(&disk);
    log.look_for_base().unwrap();
    assert!(!log.is_adopting());
    assert!(files.keys().all(|name| disk.files().contains_key(name)));
}

#[test]
fn a_base_under_another_name_is_damage_and_no_news() {
    let disk = golden();
    compact(&disk, None).unwrap();
    let files = disk.files();
    let name = files.keys().find(|name| name.ends_with(".base")).unwrap();
    for others in [true, false] {
        let disk = MemDisk::with_files(&files);
        disk.put("00000000004294967296.base", disk.take(name));
        if !others {
            let names = files.keys().filter(|other| *other != name);
            names.for_each(|other| drop(disk.take(other)));
        }
        let (mut reader, _) = Reader::open_lenient(&disk).unwrap();
        let mut damaged = 0;
        loop {
            match reader.next_batch().unwrap() {
                Step::Batch(_) => {}
                Step::End(End::Damaged(_)) => {
                    damaged += 1;
                    if matches!(reader.resume().unwrap(), Resumed::Finished { .. }) {
                        break;
                    }
                }
                Step::End(_) => break,
            }
        }
        assert!(damaged > 0, "with the files behind it: {others}");
    }
}

#[test]
fn an_open_log_takes_no_base_that_it_does_not_continue() {
    let compacted = golden();
    compact(&compacted, None).unwrap();
    let files = compacted.files();
    let (name, base) = files.iter().find(|(name, _)| name.ends_with(".base")).unwrap();
    for (at, bits) in [(32, 1), (80, 1), (10, 3)] {
        let disk = golden();
        let (mut log, state) = open(&disk);
        let mut foreign = base.clone();
        foreign[at] ^= bits;
        // As its own header says, it is whole: the log's id, the chain, the charset are others.
        let crc = crc32fast::Hasher::new_with_initial(0x4F49_4351);
        let crc = [crc].map(|mut crc| {
            crc.update(&foreign[..84]);
            crc.finalize()
        });
        foreign[84..88].copy_from_slice(&crc[0].to_be_bytes());
        disk.put(name, foreign);
        assert!(matches!(log.look_for_base(), Err(AdoptError::Foreign { .. })), "offset {at}");
        assert!(!log.is_adopting());
        check_texts(&log, &state);
    }
}
