//! Whatever becomes of a recording's bytes: nothing panics, and what stands before the damage is replayed.

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
