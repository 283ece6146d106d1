//! Syncs beside the loop: what is not on disk yet is never said to be, and one batch at most is not.

use super::*;

const NOW: MonoMillis = MonoMillis(0);

/// A log on a disk that syncs beside, and says so when it has been asked twice.
fn open_beside(durability: Durability) -> (MemDisk, Log<MemDisk>) {
    let disk = MemDisk::new();
    disk.sync_beside(1);
    let (log, ..) = try_open(disk.clone(), Options { durability, ..OPTIONS }).unwrap();
    (disk, log)
}

/// Enough to be synced beside.
fn append(log: &mut Log<MemDisk>, text: &[u8]) {
    log.append(UnixMillis(1), 7, &text.repeat(300)).unwrap();
}

/// The texts that are left after a power cut that nothing unsynced survives.
fn left(disk: &MemDisk) -> Vec<Vec<u8>> {
    let (.., items) = open(disk.cut_power(true, || false));
    items.into_iter().map(|item| item.3[..item.3.len().min(3)].to_vec()).collect()
}

#[test]
fn a_batch_is_on_disk_when_its_sync_is_over_and_not_before() {
    let (disk, mut log) = open_beside(Durability::Always);
    append(&mut log, b"one");
    log.commit_beside(NOW).unwrap();
    assert!(log.is_syncing());
    assert_eq!(log.deadline(), None, "what else there is to do can wait");
    assert!(left(&disk).is_empty());
    assert!(!log.finish_sync(false).unwrap());
    assert!(log.finish_sync(false).unwrap());
    assert!(!log.is_syncing());
    assert_eq!(left(&disk), [b"one"]);
}

#[test]
fn the_next_batch_waits_for_the_sync_of_the_one_before() {
    let (disk, mut log) = open_beside(Durability::Always);
    for text in [b"one", b"two"] {
        append(&mut log, text);
        log.commit_beside(NOW).unwrap();
    }
    assert!(log.is_syncing());
    assert_eq!(left(&disk), [b"one"]);
    append(&mut log, b"six");
    log.commit(NOW).unwrap();
    assert!(!log.is_syncing());
    assert_eq!(left(&disk), [b"one", b"two", b"six"]);
}

#[test]
fn a_segment_is_not_begun_and_a_log_not_closed_before_all_is_on_disk() {
    let (disk, mut log) = open_beside(Durability::Always);
    append(&mut log, b"one");
    log.commit_beside(NOW).unwrap();
    assert!(log.roll().unwrap());
    assert_eq!(left(&disk), [b"one"]);
    append(&mut log, b"two");
    log.commit_beside(NOW).unwrap();
    log.close().unwrap();
    assert_eq!(left(&disk), [b"one", b"two"]);
}

#[test]
fn after_a_sync_that_failed_nothing_is_believed() {
    let (disk, mut log) = open_beside(Durability::Always);
    append(&mut log, b"one");
    log.commit_beside(NOW).unwrap();
    disk.fail_at(disk.trace().len(), false, io::ErrorKind::Other);
    assert!(log.finish_sync(true).is_err());
    assert!(log.append(UnixMillis(1), 7, b"two").is_err());
    assert!(log.commit_beside(NOW).is_err() && log.finish_sync(true).is_err());
}

#[test]
fn an_interval_goes_on_while_what_came_before_is_synced() {
    let (disk, mut log) = open_beside(Durability::Interval(100));
    log.housekeep(MonoMillis(20)).unwrap();
    log.commit(NOW).unwrap();
    append(&mut log, b"one");
    log.commit_beside(NOW).unwrap();
    assert!(!log.is_syncing(), "nobody waits for it");
    assert_eq!(log.deadline(), Some(MonoMillis(100)));
    log.housekeep(MonoMillis(100)).unwrap();
    append(&mut log, b"two");
    log.commit_beside(MonoMillis(110)).unwrap();
    assert!(left(&disk).is_empty());
    log.housekeep(MonoMillis(120)).unwrap();
    log.housekeep(MonoMillis(130)).unwrap();
    assert_eq!(left(&disk), [b"one"], "the sync was of what there was when it began");
    log.housekeep(MonoMillis(210)).unwrap();
    assert!(log.finish_sync(true).unwrap());
    assert_eq!(left(&disk), [b"one", b"two"]);
}

#[test]
fn never_asks_the_disk_to_begin_before_so_much_is_left_that_closing_a_segment_would_take_long() {
    let disk = MemDisk::new();
    disk.sync_beside(0);
    let options = Options { durability: Durability::Never, segment_size: 16 << 20, ..OPTIONS };
    let (mut log, ..) = try_open(disk.clone(), options).unwrap();
    let begun = || disk.trace().iter().filter(|call| **call == Call::BeginSync).count();
    let long = vec![7; 1 << 20];
    for count in 1..=12_usize {
        log.append(UnixMillis(1), 7, &long).unwrap();
        log.commit(NOW).unwrap();
        assert!(begun() <= count / 4, "{count}");
    }
    assert!(begun() >= 2);
    assert!(left(&disk).len() >= 4);
}
