//! Reading what is damaged: over sectors that cannot be read, in the order of the headers, and into what
//! is left of batches that fail their check.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::ops::Range;
use std::path::PathBuf;

use oicq::log::{Access, Identity, Lock};

use super::*;

/// A disk some of whose bytes cannot be read.
struct BadDisk {
    disk: MemDisk,
    bad: Vec<(String, Range<u64>)>,
}

struct BadFile {
    file: disk::MemFile,
    bad: Vec<Range<u64>>,
}

/// What Linux answers for a sector that its disk has given up.
fn input_output_error() -> io::Error {
    io::Error::from_raw_os_error(5)
}

impl Storage for BadDisk {
    type File = BadFile;

    fn lock(&mut self, lock: Lock) -> io::Result<()> {
        self.disk.lock(lock)
    }

    fn unlock(&mut self, lock: Lock) {
        self.disk.unlock(lock);
    }

    fn list(&self) -> io::Result<Vec<String>> {
        self.disk.list()
    }

    fn open(&self, name: &str, access: Access) -> io::Result<BadFile> {
        let own = self.bad.iter().filter(|(file, _)| file == name);
        let bad: Vec<_> = own.map(|(_, range)| range.clone()).collect();
        if bad.contains(&(0..u64::MAX)) {
            return Err(input_output_error());
        }
        Ok(BadFile { file: self.disk.open(name, access)?, bad })
    }

    fn create(&self, _: &str) -> io::Result<BadFile> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn rename(&self, _: &str, _: &str) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn remove(&self, _: &str) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn sync_folder(&self) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.disk.path(name)
    }
}

impl StoredFile for BadFile {
    fn size(&self) -> io::Result<u64> {
        self.file.size()
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let end = offset + buffer.len() as u64;
        if self.bad.iter().any(|bad| bad.start < end && offset < bad.end) {
            buffer.fill(0xEE);
            return Err(input_output_error());
        }
        self.file.read_at(buffer, offset)
    }

    fn write_at(&mut self, _: &[u8], _: u64) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn reserve(&mut self, _: u64) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn set_len(&mut self, _: u64) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn sync_data(&self) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn bytes(&self, offset: u64, len: usize) -> io::Result<Cow<'_, [u8]>> {
        self.file.bytes(offset, len)
    }
}

/// What reading a log to its end came to.
#[derive(Default)]
struct Salvaged {
    items: Vec<Item>,
    damages: Vec<Damage>,
    lost: Vec<Resumed>,
    remains: Vec<(u8, Vec<u8>)>,
}

fn salvage<S: Storage>(disk: &S) -> (Salvaged, Option<Identity>) {
    let (mut reader, identity) = Reader::open_lenient(disk).unwrap();
    let mut all = Salvaged::default();
    loop {
        match reader.next_batch().unwrap() {
            Step::Batch(batch) => {
                all.items.extend(batch.records().map(|record| {
                    (record.seq.0, record.time.0, record.kind, record.payload.to_vec())
                }))
            }
            Step::End(End::Damaged(damage)) => {
                all.damages.push(damage);
                let remains = &mut all.remains;
                let lost = reader.resume_over(&mut |kind, payload| {
                    let own = kind == 7;
                    if own {
                        remains.push((kind, payload.to_vec()));
                    }
                    own
                });
                all.lost.push(lost.unwrap());
            }
            Step::End(_) => return (all, identity),
        }
    }
}

/// Of each batch: its segment, where it stands in the file, and its sequence numbers.
fn numbered_batches(disk: &MemDisk) -> Vec<(usize, Range<u64>, Range<u64>)> {
    let mut reader = Reader::open(disk).unwrap();
    let mut found = Vec::new();
    while let Step::Batch(batch) = reader.next_batch().unwrap() {
        let header = &batch.header;
        let bytes = batch.offset..batch.offset + header.total();
        found.push((batch.segment, bytes, header.first.0..header.last().0 + 1));
    }
    found
}

/// All but these sequence numbers have been read, each as it was written.
fn check_all_but(all: &Salvaged, count: u64, gone: Range<u64>) {
    let seqs = all.items.iter().map(|item| item.0);
    assert!(seqs.clone().is_sorted(), "in order");
    let read: BTreeSet<_> = seqs.collect();
    let missing: Vec<_> = (1..=count).filter(|seq| !read.contains(seq)).collect();
    assert_eq!(missing, gone.collect::<Vec<_>>());
    assert_eq!((read.len() + missing.len()) as u64, count, "nothing else");
    for item in &all.items {
        assert_eq!(item.3, payload(item.0));
    }
}

#[test]
fn a_sector_that_cannot_be_read_costs_the_batches_in_it_and_no_more() {
    let disk = stopped(200);
    let files = disk.files();
    let batches = numbered_batches(&disk);
    let names: Vec<_> = files.keys().cloned().collect();
    for (segment, name) in names.iter().enumerate() {
        let last = segment + 1 == names.len();
        for at in (0..files[name].len() as u64).step_by(512) {
            let bad = at..at + 512;
            let mut hit = batches.iter().filter(|(of, bytes, _)| {
                *of == segment && bytes.start < bad.end && bad.start < bytes.end
            });
            let gone = match (hit.next(), hit.next_back()) {
                (None, _) => 0..0,
                (Some((_, _, only)), None) => only.clone(),
                (Some((_, _, first)), Some((_, _, last))) => first.start..last.end,
            };
            let bad_disk = BadDisk { disk: disk.clone(), bad: vec![(name.clone(), bad.clone())] };
            let (all, identity) = salvage(&bad_disk);
            check_all_but(&all, 600, gone.clone());
            assert!(identity.is_some_and(|identity| identity.log_id == LOG_ID));
            let what = |damage: &Damage| match damage.what {
                What::Unreadable { at, bytes, .. } => Some((at, bytes)),
                _ => None,
            };
            assert_eq!(all.damages.iter().filter_map(what).next(), Some((at, 512)), "{at}");
            let words = all.damages[0].to_string();
            assert!(words.contains("cannot be read: Input/output error"), "{words}");
            match all.lost[0] {
                Resumed::Intact => assert!(gone.is_empty()),
                Resumed::Lost { first, last } => assert_eq!(first.0..last.0 + 1, gone),
                Resumed::Finished { .. } => assert!(last),
                Resumed::BaseLost { .. } => panic!("there is no base"),
            }
            // Whoever is strict does not read on, wherever it is.
            let mut reader = Reader::open(&bad_disk).unwrap();
            let error = std::iter::repeat_with(|| reader.next_batch().map(|_| ()))
                .take(300)
                .find_map(Result::err);
            assert!(matches!(error, Some(oicq::log::ReadError::Storage(_))), "{name}, {at}");
        }
    }
}

#[test]
fn a_file_that_the_disk_cannot_open_costs_that_file() {
    let disk = stopped(400);
    let names: Vec<_> = disk.files().into_keys().collect();
    let first = |name: &str| format::parse_segment_name(name).unwrap().0;
    for pair in names.windows(2) {
        let bad = vec![(pair[0].clone(), 0..u64::MAX)];
        let (all, identity) = salvage(&BadDisk { disk: disk.clone(), bad });
        check_all_but(&all, 1_200, first(&pair[0])..first(&pair[1]));
        assert!(all.damages[0].to_string().contains("cannot be read: Input/output error"));
        assert!(identity.is_some_and(|identity| identity.certain && identity.log_id == LOG_ID));
    }
}

#[test]
fn long_stretches_that_cannot_be_read_are_one_piece() {
    let disk = stopped(400);
    let (name, len) =
        disk.files().into_iter().map(|(name, bytes)| (name, bytes.len())).nth(1).unwrap();
    let bad = vec![(name, 4_096..len as u64)];
    let (all, _) = salvage(&BadDisk { disk, bad });
    assert_eq!(all.damages.len(), 1);
    let What::Unreadable { at, bytes, .. } = all.damages[0].what else { panic!("not that") };
    assert_eq!((at, bytes), (4_096, len as u64 - 4_096));
}

#[test]
fn a_log_is_read_over_any_one_destroyed_header() {
    let disk = stopped(400);
    let names: Vec<_> = disk.files().into_keys().collect();
    for name in &names {
        let changed = MemDisk::with_files(&disk.files());
        change(&changed, name, |bytes| bytes[..at(HEADER_LEN)].fill(0));
        let (all, identity) = salvage(&changed);
        check_all_but(&all, 1_200, 0..0);
        assert_eq!((all.damages.len(), all.damages[0].what), (1, What::SegmentHeader));
        let identity = identity.unwrap();
        assert_eq!((identity.log_id, identity.charset, identity.certain), (LOG_ID, 1, true));
    }
    let changed = stopped(4);
    change(&changed, FIRST_FILE, |bytes| bytes[84] ^= 1);
    let (all, identity) = salvage(&changed);
    check_all_but(&all, 12, 0..0);
    let identity = identity.unwrap();
    assert_eq!((identity.log_id, identity.charset, identity.certain), (LOG_ID, 1, false));
}

#[test]
fn files_are_read_in_the_order_of_their_headers_whatever_they_are_called() {
    let disk = stopped(400);
    let files = disk.files();
    let names: Vec<_> = files.keys().cloned().collect();
    let mut swapped = files.clone();
    swapped.insert(names[1].clone(), files[&names[3]].clone());
    swapped.insert(names[3].clone(), files[&names[1]].clone());
    let (all, _) = salvage(&MemDisk::with_files(&swapped));
    check_all_but(&all, 1_200, 0..0);
    assert!(all.damages.iter().all(|damage| damage.what == What::SegmentName));
    assert_eq!(all.damages.len(), 2);

    let mut repeated = files.clone();
    repeated.insert(format::segment_name(Seq(99_999_999)), files[&names[2]].clone());
    let (all, _) = salvage(&MemDisk::with_files(&repeated));
    check_all_but(&all, 1_200, 0..0);
}

#[test]
fn files_of_another_log_are_passed_over_even_in_front() {
    let other = MemDisk::new();
    let opened = Log::open(other.clone(), OPTIONS, 99, UnixMillis(0), |_| Ok::<_, Infallible>(()));
    fill(&mut opened.unwrap().0, 400);
    let disk = stopped(400);
    let names: Vec<_> = disk.files().into_keys().collect();
    let second = format::parse_segment_name(&names[1]).unwrap().0;
    disk.put(&names[0], other.files()[&names[0]].clone());
    let (all, identity) = salvage(&disk);
    check_all_but(&all, 1_200, 1..second);
    assert_eq!(identity.unwrap().log_id, LOG_ID);
    assert!(all.damages.iter().any(|damage| damage.what == What::SegmentForeign));
}

#[test]
fn what_is_left_of_a_batch_is_handed_out_as_far_as_it_makes_sense() {
    let disk = stopped(10);
    let (_, offset, _) = batches_of(&disk)[4];
    let expected = |seqs: Range<u64>| seqs.map(|seq| (7, payload(seq))).collect::<Vec<_>>();
    let with = |change_at: u64, byte: u8| {
        let changed = MemDisk::with_files(&disk.files());
        change(&changed, FIRST_FILE, |bytes| bytes[at(offset + change_at)] ^= byte);
        let (all, _) = salvage(&changed);
        check_all_but(&all, 30, 13..16);
        all.remains
    };
    assert_eq!(with(20, 1), expected(13..16), "the header does not fit");
    let checksum_at = batches_of(&disk)[4].2 - offset - 8;
    assert_eq!(with(checksum_at, 0xFF), expected(13..16), "the checksum does not fit");
    let second = 48 + 4 + payload(13).len() as u64;
    assert_eq!(with(second, 0x80), expected(13..14), "the second record is of no kind");
    let mut changed = expected(13..16);
    changed[0].1[0] ^= 2;
    assert_eq!(with(52, 2), changed, "a changed text is handed out as it is");
}
