//! What it takes to read a log: never more memory than twice the largest batch, whatever is damaged in it.
//!
//! Each log is read by a process of its own, which the system gives no more than that: it ends where it asks for
//! more. The reader reads a MiB at once, so in a log of small batches that counts as the largest.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::convert::Infallible;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use oicq::id::{MonoMillis, UnixMillis};
use oicq::log::format::{
    BATCH_HEADER_LEN, BATCH_PAYLOAD_MAX, BatchHeader, HEADER_LEN, RECORD_PAYLOAD_MAX, seed_of,
};
use oicq::log::{DiskStorage, Durability, End, Log, Options, Reader, Step};
use rustix::process::{Resource, Rlimit, setrlimit};

const MIB: usize = 1 << 20;
const LOG_ID: u64 = 77;
/// What the reader reads at once.
const CHUNK: usize = MIB;
/// For everything else that a process does meanwhile.
const CONSTANT: usize = 512 << 10;
const FOLDER: &str = "OICQ_READ_FOLDER";
const BYTES: &str = "OICQ_READ_BYTES";

/// Writes a log of batches with so many bytes of records.
fn write(folder: &Path, batches: &[usize]) {
    let options = Options { segment_size: 4 << 20, durability: Durability::Never, charset: 1 };
    let storage = DiskStorage::create(folder).unwrap();
    let opened = Log::open(storage, options, LOG_ID, UnixMillis(0), |_| Ok::<_, Infallible>(()));
    let mut log = opened.unwrap().0;
    for batch in batches {
        let mut left = *batch;
        let records = left.div_ceil(RECORD_PAYLOAD_MAX);
        log.make_room(records, left - 4 * records).unwrap();
        while left > 4 {
            let len = (left - 4).min(RECORD_PAYLOAD_MAX - 4);
            log.append(UnixMillis(1), 7, &vec![7; len]).unwrap();
            left -= len + 4;
        }
        log.commit(MonoMillis(0)).unwrap();
    }
    log.close().unwrap();
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> =
        entries.filter(|path| path.extension().is_some_and(|end| end == "log")).collect();
    files.sort();
    files
}

/// Bytes of memory that this process may write to.
fn data_bytes() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmData:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 1024
}

/// In a process of its own: reads the log in a folder to its end, with no more than so many bytes.
#[test]
fn a_reader_in_a_process_of_its_own() {
    let (Ok(folder), Ok(bytes)) = (std::env::var(FOLDER), std::env::var(BYTES)) else { return };
    let allowed = (data_bytes() + bytes.parse::<usize>().unwrap()) as u64;
    setrlimit(Resource::Data, Rlimit { current: Some(allowed), maximum: None }).unwrap();
    let storage = DiskStorage::read_only(Path::new(&folder));
    let mut reader = Reader::open(&storage).unwrap();
    let (mut records, mut damages) = (0, 0);
    loop {
        match reader.next_batch().unwrap() {
            Step::Batch(batch) => records += batch.records().count(),
            Step::End(End::Damaged(_)) => {
                damages += 1;
                reader.resume().unwrap();
            }
            Step::End(_) => break,
        }
    }
    println!("read {records} records over {damages} damages");
}

fn read_with(folder: &Path, bytes: usize) -> Output {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["a_reader_in_a_process_of_its_own", "--exact", "--nocapture"]);
    // With one thread, the test runner does nothing else meanwhile.
    command.arg("--test-threads=1").env(FOLDER, folder).env(BYTES, bytes.to_string());
    command.output().unwrap()
}

/// The line that the reading process has printed.
fn read(folder: &Path, largest: usize, what: &str) -> String {
    let output = read_with(folder, 2 * largest.max(CHUNK) + CONSTANT);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{what}: {said}{errors}");
    let (_, line) = said.split_once("read ").unwrap_or_else(|| panic!("{said}"));
    line.lines().next().unwrap_or_default().to_owned()
}

/// Where each batch of a file begins, and how long it is, by its header.
fn batches(bytes: &[u8]) -> Vec<(usize, usize)> {
    let mut at = usize::try_from(HEADER_LEN).unwrap();
    let mut found = Vec::new();
    while let Some((header, _)) =
        bytes.get(at..).and_then(|rest| BatchHeader::decode(rest, seed_of(LOG_ID)))
    {
        let len = usize::try_from(header.total()).unwrap();
        found.push((at, len));
        at += len;
    }
    found
}

/// Gives a batch's header another length, with a checksum that fits.
fn lie(bytes: &mut [u8], at: usize, payload_len: usize) {
    let (header, _) = BatchHeader::decode(&bytes[at..], seed_of(LOG_ID)).unwrap();
    let header = BatchHeader { payload_len: u32::try_from(payload_len).unwrap(), ..header };
    header.encode(seed_of(LOG_ID), &mut bytes[at..at + BATCH_HEADER_LEN]);
}

fn noise(len: usize) -> Vec<u8> {
    (0..len).map(|index| u8::try_from(index % 251).expect("small")).collect()
}

/// Every way to damage a file, with a name; the batches are those of the file.
type Damage = (&'static str, fn(&mut Vec<u8>, &[(usize, usize)]));

const DAMAGES: &[Damage] = &[
    ("nothing", |_, _| ()),
    ("a bit of the file's header", |bytes, _| bytes[40] ^= 1),
    ("a bit of the first batch's header", |bytes, batches| bytes[batches[0].0 + 9] ^= 1),
    ("a bit of every batch's records", |bytes, batches| {
        batches.iter().for_each(|(from, len)| bytes[from + len / 2] ^= 1);
    }),
    ("a bit of every batch's header", |bytes, batches| {
        batches.iter().for_each(|(from, _)| bytes[from + 5] ^= 0x40);
    }),
    ("every batch says that it is as long as one can be", |bytes, batches| {
        batches.iter().for_each(|(from, _)| lie(bytes, *from, BATCH_PAYLOAD_MAX));
    }),
    ("every batch says that it is empty", |bytes, batches| {
        batches.iter().for_each(|(from, _)| lie(bytes, *from, 0));
    }),
    ("cut in the last batch", |bytes, batches| {
        let (from, len) = *batches.last().unwrap();
        bytes.truncate(from + len / 2);
    }),
    ("noise behind the end", |bytes, _| bytes.extend(noise(100_000))),
    ("half a MiB of noise", |bytes, _| {
        let noise = noise(bytes.len().min(MIB / 2));
        bytes[..noise.len()].copy_from_slice(&noise);
    }),
    ("half a MiB of what batches begin with", |bytes, batches| {
        let start = [0x4F, 0x51, 0x42, 0xB1, 0xFF, 0xFF, 0xFF, 0xFF];
        let more = bytes[batches[0].0..].iter_mut().take(MIB / 2);
        more.zip(start.iter().cycle()).for_each(|(byte, start)| *byte = *start);
    }),
];

/// Reads a log, and again with its longest file and its last one damaged in every way.
fn read_damaged(batch_bytes: &[usize]) {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), batch_bytes);
    let largest = batch_bytes.iter().copied().max().unwrap();
    let mut files = files(folder.path());
    let last = files.pop().unwrap();
    files.sort_by_key(|path| path.metadata().unwrap().len());
    for path in files.pop().into_iter().chain([last]) {
        let before = fs::read(&path).unwrap();
        let batches = batches(&before);
        if batches.is_empty() {
            continue;
        }
        for (what, damage) in DAMAGES {
            let mut bytes = before.clone();
            damage(&mut bytes, &batches);
            fs::write(&path, bytes).unwrap();
            let what = format!("{}, {what}", path.display());
            println!("{what}: read {}", read(folder.path(), largest, &what));
        }
        fs::write(&path, before).unwrap();
    }
}

#[test]
fn a_log_with_one_large_batch_among_small_ones() {
    read_damaged(&[200, 3_000, BATCH_PAYLOAD_MAX, 500, 500]);
}

#[test]
fn a_log_whose_batches_become_larger() {
    read_damaged(&[MIB + 1, MIB * 5 / 4, 2 * MIB + 1, MIB * 5 / 2, 4 * MIB + 9]);
}

#[test]
fn a_log_of_small_batches() {
    read_damaged(&vec![2_000; 3_000]);
}

#[test]
fn with_less_than_its_largest_batch_a_log_is_not_read() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), &[200, BATCH_PAYLOAD_MAX]);
    let line = read(folder.path(), BATCH_PAYLOAD_MAX, "with enough");
    assert_eq!(line, "17 records over 0 damages");
    let output = read_with(folder.path(), BATCH_PAYLOAD_MAX / 2);
    assert!(!output.status.success(), "the bound binds");
}
