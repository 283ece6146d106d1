//! Whatever becomes of a recording's bytes: nothing panics, and what stands before the damage is replayed.

use std::fs;
use std::path::Path;

use oicq::black_box::{Answer, FOLDER, LogHistory, Recording, Replay};
use oicq::engine::{Engine, KeptError, Settings};
use oicq::id::{MonoMillis, Now, UnixMillis};
use oicq::log::DiskStorage;

use super::chance::packets::settings;
use super::chance::{self, Chance};
use super::kit::replayed::replay;
use super::recorded::{Form, Recorded, record};
use super::rewrite::{Owned, rewrite};
use super::seal::{HEADER, length, seal};

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

#[test]
fn nothing_panics_where_the_checksums_are_right_all_the_same() {
    let (mut replayed, mut tried) = (0, 0);
    for seed in chance::seeds(8) {
        println!("OICQ_SEED={seed}");
        let mut chance = Chance::new(seed);
        let folder = tempfile::tempdir().unwrap();
        let settings = settings(&mut chance);
        let form = Form { bytes_max: 60_000, ..Form::WHOLE };
        let boxes = record(folder.path(), &mut chance, &settings, form, &[120, 60]);
        let recording = Recording::open(&boxes).unwrap();
        for _ in 0..40 {
            let file = chance.pick(recording.files());
            let whole = fs::read(&file.path).unwrap();
            let mut damaged = whole.clone();
            // The settings and sessions are a small part of it, and the one with most in it.
            let kept = HEADER.end + length(&whole, 44).unwrap();
            for _ in 0..=chance.below(2) {
                let end = chance.pick(&[HEADER.start, kept, kept, whole.len()]);
                // Behind the name of the format and its version.
                let at = 12 + chance.below(end - 12);
                let value = chance.byte();
                match chance.below(3) {
                    0 => damaged[at] = value,
                    1 => damaged[at] ^= 1 << (value % 8),
                    _ => damaged[at..end.min(at + 8)].fill(0xFF),
                }
            }
            seal(&mut damaged);
            fs::write(&file.path, &damaged).unwrap();
            replayed += u64::from(may_be_replayed(folder.path()));
            tried += 1;
            fs::write(&file.path, &whole).unwrap();
        }
    }
    assert!(replayed * 2 > tried, "{replayed} of {tried} lead anywhere");
}

#[test]
fn sessions_that_have_counted_too_far_are_none() {
    let mut chance = Chance::new(5);
    let folder = tempfile::tempdir().unwrap();
    let now = Now { wall: UnixMillis(1_000_000_000_000), mono: MonoMillis(1_000_000) };
    let mut server = Recorded::start(folder.path(), Settings::default(), Form::WHOLE, now);
    // A connection, which has been sent nothing.
    server.happen(&mut chance);
    let mut kept = Vec::new();
    server.engine.save(&mut kept);
    let restored = |kept: &[u8]| {
        let state = server.engine.state().clone();
        Engine::restore(Settings::default(), state, kept, |_| None).map(drop)
    };
    assert_eq!(restored(&kept), Ok(()));
    for (what, at, count) in [("arrivals", 16, 1), ("bytes of output", 63, 0), ("tickets", 80, 0)] {
        let mut damaged = kept.clone();
        let field: &mut [u8; 8] = (&mut damaged[at..at + 8]).try_into().unwrap();
        assert_eq!(*field, u64::to_be_bytes(count), "{what}");
        *field = [0xFF; 8];
        assert_eq!(restored(&damaged), Err(KeptError::Layout), "{what}");
    }
}

#[test]
fn no_number_that_an_answer_can_tell_is_too_large() {
    let mut changed = 0;
    for seed in chance::seeds(8) {
        println!("OICQ_SEED={seed}");
        let mut chance = Chance::new(seed);
        let folder = tempfile::tempdir().unwrap();
        let settings = settings(&mut chance);
        record(folder.path(), &mut chance, &settings, Form::WHOLE, &[200]);
        let recording = Recording::open(&folder.path().join(FOLDER)).unwrap();
        rewrite(&recording.files()[0], |all| {
            for entry in all {
                let Owned::Answer(answer) = entry else { continue };
                changed += 1;
                match answer {
                    Answer::Waiting { bytes, .. } | Answer::Acknowledged(bytes) => {
                        *bytes = u64::MAX
                    }
                    Answer::Full { .. } => {}
                }
            }
        });
        // That something goes differently is no wonder.
        assert!(may_be_replayed(folder.path()));
    }
    assert!(changed > 0, "there are such answers");
}

/// Does all that is done with a recording, and takes whatever comes of it. Whether a step was taken.
fn may_be_replayed(folder: &Path) -> bool {
    let recording = Recording::open(&folder.join(FOLDER)).unwrap();
    let _ = recording.last_step();
    let log_id = recording.files().first().map_or(0, |file| file.header.log_id);
    let _ = recording.needs_from(log_id, Default::default());
    let storage = DiskStorage::read_only(folder);
    let wanted = recording.texts_wanted().unwrap();
    let history = LogHistory::open(&storage, wanted).unwrap();
    Replay::new(&recording, history).run(&mut ()).is_ok_and(|ended| ended.steps > 0)
}
