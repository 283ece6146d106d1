//! Changed, cut, swapped, repeated and removed bytes: all of it is found, and nothing of it is read as data.

use super::*;

/// A small log that takes in all: two segments, the last one with a few batches.
fn two_segments() -> MemDisk {
    let disk = MemDisk::new();
    let (mut log, ..) = open(disk.clone());
    while segments(&disk) < 2 {
        fill(&mut log, 1);
    }
    fill(&mut log, 2);
    log.close().unwrap();
    disk
}

/// Opens a changed log; answers whether it was taken for torn. It must be a prefix of what it was.
fn judge(files: &BTreeMap<String, Vec<u8>>, whole: &[Item], what: &str) -> Option<usize> {
    match try_open(MemDisk::with_files(files), OPTIONS) {
        Ok((_, _, items)) => {
            assert!(whole.starts_with(&items), "{what}: read what was never written");
            Some(items.len())
        }
        Err(OpenError::Damaged(damage)) => {
            assert!(damage.to_string().contains("offset"), "{what}");
            None
        }
        Err(error) => panic!("{what}: {error}"),
    }
}

#[test]
fn every_changed_byte_is_found_and_only_the_last_batch_can_be_torn() {
    let disk = two_segments();
    let whole = open(MemDisk::with_files(&disk.files())).2;
    let batches = batches_of(&disk);
    let (last, before_last) = (batches[batches.len() - 1], whole.len() - 3);
    let files = disk.files();
    let mut changed = files.clone();
    for (segment, (name, bytes)) in files.iter().enumerate() {
        let end = batches.iter().rfind(|batch| batch.0 == segment).expect("it has batches").2;
        // Zeros behind the end are looked at here and there.
        let tail = (at(end)..bytes.len()).step_by(509);
        // So are the zeros between the slots and the batches.
        let blank = (1536..at(HEADER_LEN)).step_by(31);
        for offset in (0..1536).chain(blank).chain(at(HEADER_LEN)..at(end)).chain(tail) {
            let mask = if offset % 3 == 0 { 0xFF } else { 1 << (offset % 8) };
            changed.get_mut(name).unwrap()[offset] ^= mask;
            let kept = judge(&changed, &whole, &format!("{name}, byte {offset}"));
            changed.get_mut(name).unwrap()[offset] ^= mask;
            let in_last = segment == last.0;
            let slot = WITNESS_OFFSETS.iter().any(|slot| offset as u64 / 512 == slot / 512);
            let expected = if !in_last {
                None
            } else if slot || offset as u64 >= last.2 {
                Some(whole.len())
            } else if offset as u64 >= last.1 {
                Some(before_last)
            } else {
                None
            };
            assert_eq!(kept, expected, "{name}, byte {offset}");
        }
    }
}

#[test]
fn a_log_that_was_cut_anywhere_is_a_prefix_or_damaged() {
    let disk = two_segments();
    let whole = open(MemDisk::with_files(&disk.files())).2;
    let batches = batches_of(&disk);
    let last = batches[batches.len() - 1];
    let files = disk.files();
    for (segment, (name, bytes)) in files.iter().enumerate() {
        for len in (0..bytes.len()).step_by(7) {
            let mut changed = files.clone();
            changed.get_mut(name).unwrap().truncate(len);
            let kept = judge(&changed, &whole, &format!("{name}, cut at {len}"));
            // Of the padding behind a batch, nothing can be missing.
            let needed = last.2 - 7;
            let expected = match len as u64 {
                _ if segment != last.0 => None,
                len if len >= last.2 => Some(whole.len()),
                len if len >= needed => kept,
                len if len >= last.1 => Some(whole.len() - 3),
                _ => None,
            };
            assert_eq!(kept, expected, "{name}, cut at {len}");
        }
    }
}

#[test]
fn segments_cannot_be_swapped_repeated_removed_or_taken_from_elsewhere() {
    let files = stopped(400).files();
    let names: Vec<_> = files.keys().cloned().collect();
    for name in &names {
        let mut changed = files.clone();
        changed.remove(name);
        damage(&MemDisk::with_files(&changed));
    }
    for pair in names.windows(2) {
        let mut changed = files.clone();
        changed.insert(pair[0].clone(), files[&pair[1]].clone());
        assert!(matches!(damage(&MemDisk::with_files(&changed)).what, What::SegmentName));
        changed.insert(pair[1].clone(), files[&pair[0]].clone());
        damage(&MemDisk::with_files(&changed));
    }
    let other = MemDisk::new();
    let opened = Log::open(other.clone(), OPTIONS, 99, UnixMillis(0), |_| Ok::<_, Infallible>(()));
    fill(&mut opened.unwrap().0, 400);
    for name in &names[1..] {
        let mut changed = files.clone();
        changed.insert(name.clone(), other.files()[name].clone());
        assert_eq!(damage(&MemDisk::with_files(&changed)).what, What::SegmentForeign);
    }
}

#[test]
fn batches_cannot_be_swapped_repeated_or_put_in_again() {
    let disk = stopped(6);
    let batches = batches_of(&disk);
    let bytes = disk.files()[FIRST_FILE].clone();
    let range = |index: usize| at(batches[index].1)..at(batches[index].2);
    let with = |parts: &[usize]| {
        let mut changed = bytes[..at(HEADER_LEN)].to_vec();
        parts.iter().for_each(|part| changed.extend_from_slice(&bytes[range(*part)]));
        changed.resize(bytes.len(), 0);
        let disk = MemDisk::new();
        disk.put(FIRST_FILE, changed);
        disk
    };
    for parts in [
        &[0, 1, 2, 4, 3, 5][..],
        &[0, 1, 2, 3, 5, 4],
        &[0, 0, 1, 2, 3, 4, 5],
        &[0, 1, 2, 3, 4, 5, 5],
        &[0, 1, 2, 3, 4, 5, 2],
        &[0, 1, 2, 4, 5],
        &[0, 1, 2, 3],
        &[1, 2, 3, 4, 5],
    ] {
        damage(&with(parts));
    }
    assert_eq!(open(with(&[0, 1, 2, 3, 4])).2.len(), 15, "a last batch that never came");
}

#[test]
fn a_batch_made_up_in_a_message_is_no_evidence() {
    let disk = MemDisk::new();
    let (mut log, ..) = open(disk.clone());
    let forged = format::BatchHeader {
        payload_len: 8,
        first: Seq(100),
        time: UnixMillis(9),
        durable: Seq(99),
        count: 1,
        flags: 0,
        chain: 0,
    };
    let mut text = [0; 400];
    for shift in 0..8 {
        // The writer of a message does not know the log's id.
        forged.encode(format::seed_of(0), &mut text[shift * 49..]);
    }
    log.append(UnixMillis(1), 7, &text).unwrap();
    log.commit(MonoMillis(0)).unwrap();
    drop(log);
    change(&disk, FIRST_FILE, |bytes| bytes[at(HEADER_LEN) + 20] ^= 1);
    assert!(open(disk).1.torn.is_some());
}

#[test]
fn tools_go_on_behind_damage_and_say_what_was_lost() {
    let disk = stopped(400);
    let batches = batches_of(&disk);
    let names: Vec<_> = disk.files().into_keys().collect();
    let (segment, offset, _) = batches[20];
    change(&disk, &names[segment], |bytes| bytes[at(offset) + 60] ^= 1);
    disk.take(&names[2]);
    let missing = |name: &str| format::parse_segment_name(name).unwrap().0;

    let mut reader = Reader::open(&disk).unwrap();
    let (mut read, mut lost) = (0, Vec::new());
    loop {
        match reader.next_batch().unwrap() {
            Step::Batch(batch) => read += batch.records().count(),
            Step::End(End::Damaged(_)) => lost.push(reader.resume().unwrap()),
            Step::End(end) => {
                assert_eq!(end, End::Whole);
                break;
            }
        }
    }
    let first = Resumed::Lost { first: Seq(61), last: Seq(63) };
    let second =
        Resumed::Lost { first: Seq(missing(&names[2])), last: Seq(missing(&names[3]) - 1) };
    assert_eq!(lost, [first, second]);
    let gone = 3 + missing(&names[3]) - missing(&names[2]);
    assert_eq!(read as u64, 1200 - gone);
}

#[test]
fn a_reader_beside_a_live_server_never_cries_damage() {
    let disk = MemDisk::new();
    let log = RefCell::new(open(disk.clone()).0);
    fill(&mut log.borrow_mut(), 3);
    let mut reader = Reader::open(&disk).unwrap();
    let mut read = 0;
    for _ in 0..600 {
        match reader.next_batch().unwrap() {
            Step::Batch(batch) => read += batch.records().count(),
            Step::End(end) => {
                assert_eq!(end, End::Whole);
                break;
            }
        }
        fill(&mut log.borrow_mut(), 2);
        for _ in 0..3 {
            log.borrow_mut().housekeep(MonoMillis(100)).unwrap();
        }
    }
    assert!(read >= 9);
}
