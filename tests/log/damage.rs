//! What is taken for evidence of damage and what is not, and how tools go on behind it.

use super::*;

#[test]
fn segments_of_another_log_are_foreign() {
    let files = stopped(400).files();
    let names: Vec<_> = files.keys().cloned().collect();
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
