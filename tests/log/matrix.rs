//! The damage matrix: small logs that are cut, extended, flipped, zeroed and shuffled in every way. Whatever is no
//! torn end is found, by the server and by a reader that goes on to the end; nothing of it is read as data.
//!
//! How many damages were tried is printed. `OICQ_DAMAGES=N` cuts at every byte and flips every bit of all logs,
//! and adds N damages to each that are made up of several.

use super::layout::{ALL_LEFT, Files, Known, Left, Verdict};
use super::*;
use oicq::log::format::SECTOR_LEN;

/// One log that is damaged again and again.
pub(crate) struct Bench {
    pub(crate) known: Known,
    pub(crate) left: Left,
    files: Files,
    pub(crate) tried: usize,
}

impl Bench {
    fn new(left: Left) -> Self {
        let known = Known::build(left);
        Self { files: known.files.clone(), known, left, tried: 0 }
    }

    pub(crate) fn bytes(&self, segment: usize) -> &[u8] {
        &self.known.files[&self.known.segments[segment].name]
    }

    pub(crate) fn segments(&self) -> std::ops::Range<usize> {
        0..self.known.segments.len()
    }

    /// Changes one file, looks at what becomes of it, and puts it back.
    pub(crate) fn with(&mut self, segment: usize, what: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let name = &self.known.segments[segment].name;
        let bytes = self.files.get_mut(name).unwrap();
        let before = bytes.clone();
        change(bytes);
        let expected = self.known.judge(&self.files);
        let what = format!("{:?}, {name}: {what}", self.left);
        self.tried += 1;
        self.check(&self.files, &expected, &what);
        *self.files.get_mut(name).unwrap() = before;
    }

    pub(crate) fn check(&self, files: &Files, expected: &Verdict, what: &str) {
        let read = self.read(files, what);
        assert!(self.fits(&read, expected), "{what}: {read:?}, not {expected:?}");
        // The server reads with the same reader: that it stops at a damage is looked at for some of them.
        if wanted() > 0 || matches!(expected, Verdict::Opens(_)) || self.tried.is_multiple_of(4) {
            let opened = self.open(files, what);
            assert!(self.fits(&opened, expected), "{what}: opened as {opened:?}, not {expected:?}");
        }
    }

    /// Files that must be found damaged, wherever that shows first.
    pub(crate) fn is_damaged(&mut self, files: &Files, seq: Option<u64>, what: &str) {
        self.tried += 1;
        let what = format!("{:?}: {what}", self.left);
        for found in [self.read(files, &what), self.open(files, &what)] {
            let found = found.expect_err(&what);
            assert!(seq.is_none_or(|seq| found.seq == Seq(seq)), "{what}: {found}, not {seq:?}");
        }
    }

    fn fits(&self, found: &Result<usize, Damage>, expected: &Verdict) -> bool {
        match (found, expected) {
            (Ok(count), Verdict::Opens(expected)) => count == expected,
            (Err(damage), Verdict::Damaged { segment, offsets, seq }) => {
                damage.file.ends_with(&self.known.segments[*segment].name)
                    && offsets.contains(&at(damage.offset))
                    && damage.seq == Seq(*seq)
            }
            _ => false,
        }
    }

    /// As a tool does it: to the end, over all damage. Answers the first damage, or how many records there are.
    fn read(&self, files: &Files, what: &str) -> Result<usize, Damage> {
        let disk = MemDisk::with_files(files);
        let mut reader = Reader::open(&disk).unwrap();
        let (mut count, mut next, mut damages) = (0, 0, Vec::new());
        // The first number that is neither read nor said to be lost.
        let has_base = files.keys().any(|name| name.ends_with(".base"));
        let mut expected = if has_base { self.known.first_event() } else { 1 };
        loop {
            match reader.next_batch().unwrap_or_else(|error| panic!("{what}: {error}")) {
                Step::Batch(batch) => {
                    let from = self.known.index_of(batch.base.is_some(), batch.header.first);
                    assert!(from >= next, "{what}: batch {} comes again", batch.header.first);
                    next = from;
                    let number = batch.header.first.0;
                    assert!(batch.base.is_some() || number == expected, "{what}: then {number}");
                    for record in batch.records() {
                        let item = &self.known.items[next];
                        let is_true = record.seq.0 == item.0
                            && (record.time.0, record.kind) == (item.1, item.2)
                            && record.payload == item.3;
                        assert!(is_true, "{what}: {} is not what was written", record.seq);
                        (count, next) = (count + 1, next + 1);
                        expected += u64::from(batch.base.is_none());
                    }
                }
                Step::End(End::Damaged(damage)) => {
                    damages.push(damage);
                    assert!(damages.len() < 50, "{what}: it does not come to an end");
                    if let Resumed::Lost { first, last } = reader.resume().unwrap() {
                        assert_eq!(first, Seq(expected), "{what}: lost up to {last}");
                        expected = last.0 + 1;
                    }
                }
                Step::End(_) => return damages.into_iter().next().map_or(Ok(count), Err),
            }
        }
    }

    /// As the server does it.
    fn open(&self, files: &Files, what: &str) -> Result<usize, Damage> {
        let disk = MemDisk::with_files(files);
        match try_open(disk.clone(), self.known.options) {
            Ok((log, _, items)) => {
                assert!(self.known.items.starts_with(&items), "{what}: not what was written");
                drop(log);
                let again = try_open(disk, self.known.options);
                let again = again.unwrap_or_else(|error| panic!("{what}, again: {error}"));
                assert_eq!(again.2, items, "{what}: the next start finds the same");
                Ok(items.len())
            }
            Err(OpenError::Damaged(damage)) => {
                assert!(disk.files() == *files, "{what}: what is refused is not touched");
                Err(damage)
            }
            Err(error) => panic!("{what}: {error}"),
        }
    }
}

/// How thorough to be: 0 unless the environment says more.
fn wanted() -> usize {
    std::env::var("OICQ_DAMAGES").ok().and_then(|value| value.parse().ok()).unwrap_or(0)
}

/// Does the same to all logs, each on a thread of its own, and prints how many damages that were.
pub(crate) fn on_all(what: &str, damage: impl Fn(&mut Bench) + Sync) {
    let run = |left| {
        let mut bench = Bench::new(left);
        damage(&mut bench);
        bench.tried
    };
    let run = &run;
    let tried: usize = std::thread::scope(|scope| {
        let threads = ALL_LEFT.map(|left| scope.spawn(move || run(left)));
        threads.into_iter().map(|thread| thread.join().expect("the damages are found")).sum()
    });
    println!("{tried} damages tried: {what}");
}

/// Bytes that mean nothing, none of them 0.
fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut chance = Chance(seed);
    (0..len).map(|_| u8::try_from(chance.below(255) + 1).expect("small")).collect()
}

/// A small generator; its seed stands in the test.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from((self.0 >> 33) % bound as u64).unwrap()
    }
}

#[test]
fn cut_at_every_byte() {
    on_all("files cut", |bench| {
        for segment in bench.segments() {
            let end = bench.known.segments[segment].end();
            for len in 0..bench.bytes(segment).len() {
                // All that is in use, of one log; of the rest some.
                let step = match bench.left {
                    _ if wanted() > 0 => 1,
                    Left::Stopped if len >= at(HEADER_LEN) && len < end + 64 => 1,
                    _ => 37,
                };
                if len % step == 0 {
                    bench.with(segment, &format!("cut at {len}"), |bytes| bytes.truncate(len));
                }
            }
        }
    });
}

#[test]
fn extended_with_zeros_and_noise() {
    on_all("files extended", |bench| {
        for segment in bench.segments() {
            let (size, end) = (bench.bytes(segment).len(), bench.known.segments[segment].end());
            for from in [size, end, end + 3, 5000] {
                for more in [1, 7, 8, 9, 48, 511, 512, 513, 4095, 4096, 12_288, 20_000] {
                    for (what, bytes) in [("zeros", vec![0; more]), ("noise", noise(9, more))] {
                        let what = format!("cut at {from}, then {more} of {what}");
                        bench.with(segment, &what, |file| {
                            file.truncate(from);
                            file.extend(bytes);
                        });
                    }
                }
            }
        }
    });
}

#[test]
fn every_bit_flipped() {
    on_all("bits flipped", |bench| {
        for segment in bench.segments() {
            let end = bench.known.segments[segment].end();
            let is_base = bench.known.segments[segment].is_base;
            for byte in 0..bench.bytes(segment).len() {
                let used = byte < 3 * SECTOR_LEN || (at(HEADER_LEN)..end).contains(&byte);
                let bits = match bench.left {
                    _ if wanted() > 0 => 0..8,
                    // All of one log; of the others, and of the zeros, some.
                    Left::Stopped if used => 0..8,
                    Left::Compacted if is_base && byte % 31 > 0 => 0..0,
                    _ if used && byte % 7 == 0 || byte % 61 == 0 => byte % 8..byte % 8 + 1,
                    _ => 0..0,
                };
                for bit in bits {
                    let what = format!("byte {byte}, bit {bit}");
                    bench.with(segment, &what, |bytes| bytes[byte] ^= 1 << bit);
                }
            }
        }
    });
}

#[test]
fn each_sector_zeroed_set_and_overwritten() {
    on_all("sectors overwritten", |bench| {
        let step = if wanted() > 0 { 8 } else { 128 };
        for segment in bench.segments() {
            for from in (0..bench.bytes(segment).len() - SECTOR_LEN).step_by(step) {
                let patterns = [vec![0; SECTOR_LEN], vec![0xFF; SECTOR_LEN], noise(7, SECTOR_LEN)];
                for (what, pattern) in ["0", "FF", "noise"].into_iter().zip(patterns) {
                    let what = format!("{what} from {from} on");
                    bench.with(segment, &what, |bytes| {
                        bytes[from..from + SECTOR_LEN].copy_from_slice(&pattern);
                    });
                }
            }
        }
    });
}

#[test]
fn several_damages_at_once() {
    let seed = 4711;
    println!("seed {seed}");
    on_all("made up of several", |bench| {
        let mut chance = Chance(seed);
        for round in 0..wanted().max(500) {
            let segment = chance.below(bench.known.segments.len());
            bench.with(segment, &format!("round {round} of seed {seed}"), |bytes| {
                for _ in 0..1 + chance.below(4) {
                    let from = chance.below(bytes.len().min(6000));
                    let to = bytes.len().min(from + 1 + chance.below(700));
                    match chance.below(6) {
                        0 => bytes[from] ^= 1 << chance.below(8),
                        1 => bytes[from..to].fill(0),
                        2 => bytes[from..to].copy_from_slice(&noise(round as u64, to - from)),
                        3 => bytes.extend(vec![0; to - from]),
                        4 => bytes.extend(noise(round as u64, to - from)),
                        _ if chance.below(4) == 0 => bytes.truncate(to),
                        _ => {}
                    }
                    if bytes.is_empty() {
                        bytes.push(0);
                    }
                }
            });
        }
    });
}
