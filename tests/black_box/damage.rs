//! Whatever becomes of a recording's bytes: nothing panics, and what stands before the damage is replayed. So it
//! is where somebody has made the checksums fit.

use std::fs;
use std::path::Path;

use oicq::black_box::{FOLDER, Recording};

use super::chance::packets::settings;
use super::chance::{self, Chance};
use super::kit::replayed::replay;
use super::recorded::{Form, record};

/// The steps that replay without a difference.
fn steps(folder: &Path) -> u64 {
    let ended = replay(folder);
    assert_eq!(ended.difference, None);
    ended.steps
}

#[test]
fn a_recording_that_was_cut_anywhere_replays_up_to_there() {
    let mut chance = Chance::new(5);
    let folder = tempfile::tempdir().unwrap();
    let settings = settings(&mut chance);
    record(folder.path(), &mut chance, &settings, Form::WHOLE, &[12]);
    let recording = Recording::open(&folder.path().join(FOLDER)).unwrap();
    let path = &recording.files()[0].path;
    let (whole, all) = (fs::read(path).unwrap(), steps(folder.path()));
    let mut before = 0;
    for length in 0..=whole.len() {
        fs::write(path, &whole[..length]).unwrap();
        let steps = steps(folder.path());
        assert!(steps >= before, "{length} bytes lead to {steps} steps, fewer to {before}");
        before = steps;
    }
    assert_eq!(before, all);
}

#[test]
fn flipped_bits_end_a_file_and_lead_to_nothing_that_did_not_happen() {
    for seed in chance::seeds(6) {
        println!("OICQ_SEED={seed}");
        let mut chance = Chance::new(seed);
        let folder = tempfile::tempdir().unwrap();
        let settings = settings(&mut chance);
        let form = Form { bytes_max: 40_000, ..Form::WHOLE };
        record(folder.path(), &mut chance, &settings, form, &[100, 40]);
        let recording = Recording::open(&folder.path().join(FOLDER)).unwrap();
        let all = steps(folder.path());
        for _ in 0..30 {
            let path = &chance.pick(recording.files()).path;
            let whole = fs::read(path).unwrap();
            let mut damaged = whole.clone();
            for _ in 0..=chance.below(3) {
                let place = chance.below(damaged.len());
                damaged[place] ^= 1 << (chance.byte() % 8);
            }
            if chance.one_in(4) {
                damaged.truncate(chance.below(damaged.len()));
            }
            if damaged == whole {
                continue;
            }
            fs::write(path, &damaged).unwrap();
            assert!(steps(folder.path()) < all, "{}: some of it is lost", path.display());
            fs::write(path, &whole).unwrap();
        }
        assert_eq!(steps(folder.path()), all);
    }
}

/// Makes all checksums of a file fit again, as [`FORMAT.md`](../../src/black_box/FORMAT.md) draws them.
fn forge(bytes: &mut [u8]) {
    let u32_at = |bytes: &[u8], at: usize| {
        let field = bytes.get(at..at + 4)?.try_into().ok()?;
        usize::try_from(u32::from_be_bytes(field)).ok()
    };
    let chained = |before: u32, parts: &[&[u8]]| {
        let mut hasher = crc32fast::Hasher::new_with_initial(before);
        parts.iter().for_each(|part| hasher.update(part));
        hasher.finalize()
    };
    let Some(kept_bytes) = u32_at(bytes, 44) else { return };
    let checksum = crc32fast::hash(&bytes[..52]);
    bytes[52..56].copy_from_slice(&checksum.to_be_bytes());
    let mut at = 56 + kept_bytes;
    if at + 4 > bytes.len() {
        return;
    }
    let mut checksum = chained(crc32fast::hash(&bytes[..56]), &[&bytes[56..at]]);
    bytes[at..at + 4].copy_from_slice(&checksum.to_be_bytes());
    at += 4;
    while let Some(length) = u32_at(bytes, at) {
        let end = at + 8 + length;
        if end > bytes.len() {
            return;
        }
        checksum = chained(checksum, &[&bytes[at..at + 4], &bytes[at + 8..end]]);
        bytes[at + 4..at + 8].copy_from_slice(&checksum.to_be_bytes());
        at = end;
    }
}

#[test]
fn whatever_is_forged_with_checksums_that_fit_ends_in_words_and_not_in_a_panic() {
    let mut different = 0;
    for seed in chance::seeds(4) {
        println!("OICQ_SEED={seed}");
        let mut chance = Chance::new(seed);
        let folder = tempfile::tempdir().unwrap();
        let settings = settings(&mut chance);
        let form = Form { bytes_max: 60_000, ..Form::WHOLE };
        record(folder.path(), &mut chance, &settings, form, &[200, 60]);
        let recording = Recording::open(&folder.path().join(FOLDER)).unwrap();
        for _ in 0..100 {
            let path = &chance.pick(recording.files()).path;
            let whole = fs::read(path).unwrap();
            let mut forged = whole.clone();
            for _ in 0..=chance.below(4) {
                let front = if chance.one_in(2) { forged.len().min(600) } else { forged.len() };
                let place = chance.below(front);
                match chance.below(3) {
                    0 => forged[place] = chance.byte(),
                    1 => forged[place] ^= 1 << (chance.byte() % 8),
                    _ => forged[place] = chance.pick(&[0, 1, 0x7F, 0x80, 0xFF]),
                }
            }
            forge(&mut forged);
            fs::write(path, &forged).unwrap();
            let ended = replay(folder.path());
            different += usize::from(ended.difference.is_some() || !ended.skipped.is_empty());
            fs::write(path, &whole).unwrap();
        }
        assert_eq!(replay(folder.path()).difference, None);
    }
    assert!(different > 100, "{different}: the forgeries are believed");
}
