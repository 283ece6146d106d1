//! Going back in a log that has been read: what is read again is what was read, and is checked again.

use oicq::log::{Bookmark, ReadError};

use super::*;

/// A bookmark of each batch, and the payloads that stand in it.
fn bookmarks(reader: &mut Reader<'_, MemDisk>) -> Vec<(Bookmark, Vec<Vec<u8>>)> {
    let mut found = Vec::new();
    while let Step::Batch(batch) = reader.next_batch().unwrap() {
        let payloads = batch.records().map(|record| record.payload.to_vec()).collect();
        found.extend(Bookmark::before(&batch).map(|bookmark| (bookmark, payloads)));
    }
    found
}

/// What the reader reads next.
fn read(reader: &mut Reader<'_, MemDisk>) -> Option<Vec<Vec<u8>>> {
    match reader.next_batch().unwrap() {
        Step::Batch(batch) => Some(batch.records().map(|record| record.payload.to_vec()).collect()),
        Step::End(End::Whole) => None,
        Step::End(end) => panic!("{end:?}"),
    }
}

#[test]
fn a_reader_goes_back_to_any_batch_and_on_from_there() {
    let disk = stopped(400);
    let mut used = Reader::open(&disk).unwrap();
    let all = bookmarks(&mut used);
    let count = all.len();
    assert!(count >= 400 && all.windows(2).all(|two| two[0].0.first() < two[1].0.first()));
    assert_eq!((all[0].0.first(), all[0].0.time()), (Seq(1), UnixMillis(1001)));
    let mut fresh = Reader::open(&disk).unwrap();
    for at in (0..count).map(|step| (step * 171 + count - 1) % count) {
        for reader in [&mut used, &mut fresh] {
            reader.turn_to(&all[at].0).unwrap();
            for (_, payloads) in &all[at..(at + 40).min(count)] {
                assert_eq!(read(reader).as_ref(), Some(payloads));
            }
        }
    }
    used.turn_to(&all[count - 1].0).unwrap();
    read(&mut used).unwrap();
    assert_eq!(read(&mut used), None, "it ends as it did");
}

#[test]
fn what_has_become_of_the_files_meanwhile_is_seen() {
    let disk = stopped(400);
    let mut reader = Reader::open(&disk).unwrap();
    let all = bookmarks(&mut reader);
    let second = disk.files().into_keys().nth(1).unwrap();
    let first_of_second = format::parse_segment_name(&second).unwrap();
    let at = all.iter().position(|(bookmark, _)| bookmark.first() == first_of_second).unwrap();

    let (_, start, _) = batches_of(&disk)[at];
    change(&disk, &second, |bytes| bytes[start as usize + 60] ^= 1);
    reader.turn_to(&all[0].0).unwrap();
    assert_eq!(read(&mut reader).as_ref(), Some(&all[0].1));
    reader.turn_to(&all[at].0).unwrap();
    let Step::End(End::Damaged(damage)) = reader.next_batch().unwrap() else { panic!("damage") };
    assert_eq!((damage.seq, damage.what), (first_of_second, What::BatchPayload));

    disk.take(&second);
    reader.turn_to(&all[0].0).unwrap();
    assert!(matches!(reader.turn_to(&all[at].0), Err(ReadError::Storage(_))));
    let empty = MemDisk::new();
    let turned = Reader::open(&empty).unwrap().turn_to(&all[0].0);
    assert!(matches!(turned, Err(ReadError::Compacted)), "a bookmark of other files");
}
