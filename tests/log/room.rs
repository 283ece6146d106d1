//! A disk without room: what is refused, what is kept for a stopping server, and that what was taken is never lost
//! for want of room.

use super::*;

const SIZE: u64 = 16 << 10;
/// A sixteenth of the segment.
const RESERVE: u64 = SIZE / 16;
/// A batch of one record of 100 bytes.
const BATCH: u64 = format::batch_len(104);

/// One record in a batch of its own, committed.
fn add<S: Storage>(log: &mut Log<S>, len: usize) -> Result<(), AppendError> {
    log.append(UnixMillis(1), 7, &vec![7; len])?;
    assert!(log.commit(MonoMillis(0)).unwrap(), "what was appended is always written");
    Ok(())
}

/// Adds records until there is no room; answers how many.
fn add_until_full<S: Storage>(log: &mut Log<S>, len: usize) -> u64 {
    for count in 0.. {
        match add(log, len) {
            Ok(()) => {}
            Err(AppendError::Full) => return count,
            Err(error) => panic!("{error}"),
        }
    }
    unreachable!("the disk is bounded")
}

/// A disk with room for one segment, whether it reserves or writes zeros.
fn small_disks() -> [MemDisk; 2] {
    [true, false].map(|reserves| {
        let disk = MemDisk::new();
        if !reserves {
            disk.refuse_to_reserve();
        }
        disk.set_capacity(Some(at(SIZE) + 5000));
        disk
    })
}

fn last_end(disk: &MemDisk) -> u64 {
    batches_of(disk).last().map_or(HEADER_LEN, |batch| batch.2)
}

#[test]
fn without_room_for_another_segment_the_end_of_the_last_one_is_left_to_a_stopping_server() {
    for disk in small_disks() {
        let (mut log, ..) = open(disk.clone());
        let taken = add_until_full(&mut log, 100);
        let end = last_end(&disk);
        assert!((SIZE - RESERVE - BATCH + 1..=SIZE - RESERVE).contains(&end), "ended at {end}");
        assert!(log.is_full());
        assert_eq!(add_until_full(&mut log, 900), 0, "nothing larger either");

        log.release_reserve();
        let more = add_until_full(&mut log, 100);
        assert!(last_end(&disk) > SIZE - BATCH, "all of it");
        assert!(more * BATCH >= RESERVE - BATCH);
        log.close().unwrap();
        let (_, recovery, items) = open(disk.clone());
        assert_eq!((items.len() as u64, recovery.found), (taken + more, vec![Found::Whole]));
    }
}

#[test]
fn a_restart_without_room_refuses_as_before_and_keeps_what_is_left() {
    for disk in small_disks() {
        let (mut log, ..) = open(disk.clone());
        let mut count = add_until_full(&mut log, 100);
        for stops in [true, false, true] {
            if stops {
                log.release_reserve();
                add(&mut log, 20).unwrap();
                count += 1;
                log.close().unwrap();
            } else {
                drop(log);
            }
            let items;
            (log, _, items) = open(disk.clone());
            assert_eq!(items.len() as u64, count);
            assert_eq!(add_until_full(&mut log, 20), 0);
        }
        disk.set_capacity(None);
        log.housekeep(log.deadline().unwrap().plus(1000)).unwrap();
        for _ in 0..100 {
            add(&mut log, 100).unwrap();
        }
        log.close().unwrap();
        assert_eq!(open(disk).2.len() as u64, count + 100);
    }
}

#[test]
fn where_another_segment_can_be_had_each_one_is_filled_to_its_end() {
    let disk = MemDisk::new();
    let (mut log, ..) = open(disk.clone());
    while segments(&disk) < 4 {
        add(&mut log, 100).unwrap();
    }
    let batches = batches_of(&disk);
    for segment in 0..3 {
        let last = batches.iter().rfind(|batch| batch.0 == segment).unwrap();
        assert!(last.2 > SIZE - BATCH, "segment {segment} ends at {}", last.2);
    }
}

#[test]
fn with_the_next_segment_at_hand_a_disk_without_room_takes_all_that_fits_both() {
    let disk = MemDisk::new();
    let (mut log, ..) = open(disk.clone());
    disk.set_capacity(Some(at(2 * SIZE)));
    add_until_full(&mut log, 100);
    let batches = batches_of(&disk);
    let first = batches.iter().rfind(|batch| batch.0 == 0).unwrap();
    assert!(first.2 > SIZE - BATCH, "the first is full");
    assert_eq!(segments(&disk), 2);
    assert!(last_end(&disk) <= SIZE - RESERVE, "of the last one, the end is kept");
}

#[test]
fn what_was_appended_can_always_be_written_whatever_its_length() {
    let mut chance = 2002_u64;
    println!("seed {chance}");
    for round in 0..200 {
        let disk = MemDisk::new();
        let (mut log, ..) = open(disk.clone());
        disk.set_capacity(Some(at(SIZE) * (1 + round % 3) + 100));
        let (mut appended, mut refused, mut now) = (0, 0, 0);
        while refused < 30 {
            chance = chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let len = usize::try_from((chance >> 40) % 1500).unwrap();
            now += (chance >> 33) % 700;
            match log.append(UnixMillis(now / 2000), 7, &vec![7; len]) {
                Ok(_) => appended += 1,
                Err(AppendError::Full) => refused += 1,
                Err(error) => panic!("round {round}: {error}"),
            }
            if chance >> 62 == 0 {
                log.commit(MonoMillis(now)).unwrap();
                log.housekeep(MonoMillis(now)).unwrap();
            }
        }
        log.release_reserve();
        appended += u64::from(log.append(UnixMillis(now), 7, &[7; 16]).is_ok());
        log.commit(MonoMillis(now)).unwrap();
        log.close().unwrap();
        assert_eq!(open(disk).2.len() as u64, appended, "round {round}");
    }
}

#[test]
fn a_folder_without_room_for_another_name_is_a_full_disk() {
    let calls = {
        let disk = MemDisk::new();
        let (mut log, ..) = open(disk.clone());
        while segments(&disk) < 2 {
            add(&mut log, 100).unwrap();
        }
        disk.trace()
    };
    let rename = calls.iter().rposition(|call| *call == Call::Rename).unwrap();
    let disk = MemDisk::new();
    let (mut log, ..) = open(disk.clone());
    disk.fail_at(rename, false, io::ErrorKind::StorageFull);
    let before = add_until_full(&mut log, 100);
    assert_eq!(disk.files().len(), 1, "nothing is left of the file that got no name");
    assert!(log.is_full());
    log.housekeep(log.deadline().unwrap()).unwrap();
    while log.is_full() {
        log.housekeep(log.deadline().unwrap()).unwrap();
    }
    add(&mut log, 100).unwrap();
    assert_eq!(segments(&disk), 2);
    drop(log);
    assert_eq!(open(disk).2.len() as u64, before + 1);
}

/// A log whose last batch is torn, on a disk with so much room beside it.
fn torn(room: usize) -> MemDisk {
    let disk = killed(4);
    let (_, from, to) = *batches_of(&disk).last().unwrap();
    change(&disk, FIRST_FILE, |bytes| bytes[at(from) + 60..at(to)].fill(9));
    disk.set_capacity(Some(at(SIZE) + room));
    disk
}

#[test]
fn a_torn_end_that_cannot_be_saved_is_left_where_it_is() {
    let disk = torn(50);
    let before = disk.files();
    match try_open(disk.clone(), OPTIONS) {
        Err(OpenError::Storage(failed)) => {
            assert!(failed.is_full() && failed.path.ends_with("torn.tmp"), "{failed}");
        }
        other => panic!("{:?}", other.map(|opened| opened.1)),
    }
    assert_eq!(disk.files(), before, "it takes no room itself");
    disk.set_capacity(Some(at(SIZE) + 1000));
    let (_, recovery, items) = open(disk);
    assert_eq!((items.len(), recovery.found), (9, vec![Found::TornEnd]));
}

#[test]
fn a_file_that_was_being_made_gives_its_room_to_a_torn_end() {
    let disk = torn(1000);
    disk.put("next.tmp", vec![0; 1000]);
    let (_, recovery, items) = open(disk);
    assert_eq!((items.len(), recovery.found), (9, vec![Found::Leftover, Found::TornEnd]));
}

#[test]
fn a_short_file_that_cannot_be_filled_in_is_left_as_it_is() {
    let disk = killed(4);
    change(&disk, FIRST_FILE, |bytes| bytes.truncate(8000));
    disk.set_capacity(Some(10_000));
    match refused(&disk, OPTIONS) {
        OpenError::Storage(failed) => assert!(failed.is_full(), "{failed}"),
        error => panic!("{error}"),
    }
    disk.set_capacity(None);
    check_found(&disk, Found::ShortFile, 12);
}
