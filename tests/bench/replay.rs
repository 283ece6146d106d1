//! How fast a log becomes a state again, beside how fast the same file is only read and checksummed.

mod crowd;
mod large;

use std::path::Path;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use large::{Size, write};
use oicq::log::{DiskStorage, Reader, Step};
use oicq::state::{Stamp, State};

const USERS: u32 = 20_000;
const FRIENDS: u32 = 10;
const MESSAGES: u32 = 10_000_000;

fn only_read(folder: &Path) -> u64 {
    let storage = DiskStorage::read_only(folder);
    let mut reader = Reader::open(&storage).unwrap();
    let mut batches = 0;
    while let Step::Batch(batch) = reader.next_batch().unwrap() {
        batches += u64::from(batch.header.count);
    }
    batches
}

/// The file's bytes in large pieces through the checksum, without a look at what they are.
fn only_checksum(folder: &Path, bytes: u64) -> u32 {
    use std::io::Read;
    let mut names: Vec<_> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    names.retain(|name| name.extension().is_some_and(|extension| extension == "log"));
    names.sort();
    let (mut buffer, mut left, mut checksum) = (vec![0; 1 << 20], bytes, crc32fast::Hasher::new());
    for name in names {
        let mut file = std::fs::File::open(name).unwrap();
        loop {
            let read = file.read(&mut buffer).unwrap();
            let used = usize::try_from(left.min(read as u64)).unwrap();
            checksum.update(&buffer[..used]);
            left -= used as u64;
            if read == 0 || left == 0 {
                break;
            }
        }
    }
    checksum.finalize()
}

fn replayed(folder: &Path) -> State {
    let storage = DiskStorage::read_only(folder);
    let mut reader = Reader::open(&storage).unwrap();
    let mut state = State::default();
    while let Step::Batch(batch) = reader.next_batch().unwrap() {
        state.look_ahead(batch.records().map(|record| (record.kind, record.payload)));
        for record in batch.records() {
            let stamp = Stamp { seq: record.seq, time: record.time, place: record.place };
            state.apply_record(stamp, record.kind, record.payload).unwrap();
        }
    }
    state
}

fn replay(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().unwrap();
    let size = Size::asked(USERS, FRIENDS, MESSAGES);
    let (events, bytes) = write(folder.path(), size, 64 << 20);
    println!("a log of {events} events in {bytes} bytes");
    assert_eq!(only_read(folder.path()), events);
    for (unit, throughput) in
        [("events", Throughput::Elements(events)), ("bytes", Throughput::Bytes(bytes))]
    {
        let mut group = criterion.benchmark_group(format!("log, in {unit}"));
        group.sample_size(10).throughput(throughput);
        group.bench_function("checksummed", |bencher| {
            bencher.iter(|| only_checksum(folder.path(), bytes));
        });
        group.bench_function("read and checked", |bencher| {
            bencher.iter(|| only_read(folder.path()));
        });
        group.bench_function("replayed", |bencher| {
            bencher.iter_with_large_drop(|| replayed(folder.path()));
        });
        group.finish();
    }
}

criterion_group!(benches, replay);
criterion_main!(benches);
