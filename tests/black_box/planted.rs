//! What was planted into a recording is found at its step, and nothing before it.

#![allow(missing_docs, unreachable_pub, reason = "a part of one test")]

use std::convert::Infallible;
use std::fs;
use std::path::Path;

use oicq::black_box::{Answer, FOLDER, Recording, Unasked, What};
use oicq::engine::{HeldInput, Input, Settings};
use oicq::id::{ConnectionId, MonoMillis, Seq, UnixMillis};
use oicq::log::{DiskStorage, Durability, Log, Reader, Record, Step};
use oicq::state::Event;

use super::chance::packets::settings;
use super::chance::{self, Chance};
use super::kit::replayed::replay;
use super::recorded::{Form, record};
use super::rewrite::{Owned, rewrite, step_of};

/// What is changed at an entry: what must be found there, if it can be changed so.
type Plant = fn(&mut Vec<Owned>, usize) -> Option<fn(&What) -> bool>;

const PLANTS: [Plant; 5] = [
    // A checksum.
    |all, index| {
        let Owned::Output(output) = &mut all[index] else { return None };
        output.checksum ^= 1;
        Some(|what| matches!(what, What::Output { .. }))
    },
    // An output too few.
    |all, index| {
        let Owned::Output(_) = all[index] else { return None };
        // Where it is the last of all, it may not have been written.
        all[index + 1..].iter().find(|later| matches!(later, Owned::Input(_)))?;
        all.remove(index);
        Some(|what| matches!(what, What::Output { .. }))
    },
    // An answer that nobody asks for.
    |all, index| {
        let Owned::Input(held) = &all[index] else { return None };
        let Input::Step = held.get() else { return None };
        all.insert(index + 1, Owned::Answer(Answer::Full { skipped: 99 }));
        Some(|what| matches!(what, What::Question(Unasked::NotNow(_))))
    },
    // An answer too few.
    |all, index| {
        let Owned::Answer(Answer::Acknowledged(_)) = all[index] else { return None };
        all[index + 1..].iter().find(|later| matches!(later, Owned::Input(_)))?;
        all.remove(index);
        Some(|what| matches!(what, What::Question(_)))
    },
    // An input of nobody.
    |all, index| {
        let Owned::Input(held) = &mut all[index] else { return None };
        let Input::Step = held.get() else { return None };
        let mut other = HeldInput::default();
        other.hold(&Input::End { connection: ConnectionId(900) });
        *held = other;
        Some(|what| matches!(what, What::Input))
    },
];

#[test]
fn each_thing_that_goes_differently_is_found_at_its_step() {
    let mut planted = [0; PLANTS.len()];
    for seed in chance::seeds(8) {
        println!("OICQ_SEED={seed}");
        let mut chance = Chance::new(seed);
        let folder = tempfile::tempdir().unwrap();
        let settings = settings(&mut chance);
        record(folder.path(), &mut chance, &settings, Form::WHOLE, &[150]);
        let recording = Recording::open(&folder.path().join(FOLDER)).unwrap();
        let file = &recording.files()[0];
        for (number, plant) in PLANTS.iter().enumerate() {
            let whole = fs::read(&file.path).unwrap();
            let mut expected = None;
            rewrite(file, |all| {
                let count = all.len();
                let start = chance.below(count);
                for index in (start..count).chain(0..start) {
                    // What comes of the entry before it is known by its step.
                    let step = step_of(file, all, index);
                    if let Some(is_found) = plant(all, index) {
                        expected = Some((step, is_found));
                        break;
                    }
                }
            });
            // Some runs hold nothing to plant it at.
            let Some((step, is_found)) = expected else { continue };
            planted[number] += 1;
            let ended = replay(folder.path());
            let found = ended.difference.unwrap_or_else(|| panic!("plant {number} is not found"));
            assert!(is_found(&found.what), "plant {number}: {found:?}");
            assert_eq!(found.step, step, "plant {number}: {found:?}");
            fs::write(&file.path, whole).unwrap();
        }
    }
    let asked = chance::asked("OICQ_SEED").is_some();
    assert!(asked || planted.iter().all(|count| *count > 0), "{planted:?}");
}

/// The recording of one folder beside a log that has another message at the place of the first one, which is
/// answered.
pub fn with_another_message(from: &Path, to: &Path) -> Seq {
    let mut planted = None;
    let mut records = Vec::new();
    let storage = DiskStorage::read_only(from);
    let mut reader = Reader::open(&storage).unwrap();
    let mut header = None;
    while let Step::Batch(batch) = reader.next_batch().unwrap() {
        for record in batch.records() {
            let mut payload = record.payload.to_vec();
            if planted.is_none()
                && let Ok(Event::MessageSent { from, to, .. }) =
                    Event::decode(record.kind, record.payload)
            {
                payload.clear();
                Event::MessageSent { from, to, content: b"planted" }.encode(&mut payload);
                planted = Some(record.seq);
            }
            records.push((record.time, record.kind, payload));
        }
        header.clone_from(&reader.segments()[0].header);
    }
    let header = header.unwrap();
    let options = oicq::log::Options {
        segment_size: header.size,
        durability: Durability::Never,
        charset: header.charset,
    };
    let storage = DiskStorage::create(to).unwrap();
    let nothing = |_: &Record<'_>| Ok::<_, Infallible>(());
    let opened = Log::open(storage, options, header.log_id, UnixMillis(1), nothing);
    let (mut log, _) = opened.unwrap();
    for (time, kind, payload) in records {
        log.append(time, kind, &payload).unwrap();
        log.commit(MonoMillis(0)).unwrap();
    }
    log.close().unwrap();
    fs::create_dir(to.join(FOLDER)).unwrap();
    for file in fs::read_dir(from.join(FOLDER)).unwrap().map(|file| file.unwrap()) {
        fs::copy(file.path(), to.join(FOLDER).join(file.file_name())).unwrap();
    }
    planted.expect("there is a message")
}

#[test]
fn an_event_that_the_log_has_otherwise_is_found_with_both() {
    let mut chance = Chance::new(3);
    let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    record(folder.path(), &mut chance, &Settings::default(), Form::WHOLE, &[200]);
    let seq = with_another_message(folder.path(), other.path());
    let found = replay(other.path()).difference.unwrap();
    let What::Event { logged, actual } = &found.what else { panic!("{found:?}") };
    assert_eq!((logged.seq, actual.seq), (seq, seq));
    assert_ne!(logged, actual);
}
