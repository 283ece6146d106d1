//! Recordings of the input, changed in places where no server writes such a thing, behind checksums that fit or not.
//!
//! Whatever stands in one, it is read and replayed as far as it goes, and nothing panics. What was not changed is
//! replayed to the same output, and leaves an engine that agrees with itself.

#![allow(missing_docs, unreachable_pub, reason = "a part of tests, and of a fuzz target")]

use std::fs;
use std::path::PathBuf;

use oicq::black_box::{Ended, FOLDER, LogHistory, Recording, Replay};
use oicq::engine::Settings;
use oicq::log::format::parse_segment_name;
use tempfile::TempDir;

use crate::chance::Chance;
use crate::chance::packets::settings;
use crate::disk::MemDisk;
use crate::recorded::{Form, LOG_ID, record};
use crate::seal::{HEADER, length, seal};

/// A server's log, and what was recorded of its two runs.
struct Recorded {
    _folder: TempDir,
    log: MemDisk,
    boxes: PathBuf,
    files: Vec<(PathBuf, Vec<u8>)>,
}

thread_local! {
    /// One without limits, and one whose settings make them matter.
    static RECORDED: [Recorded; 2] = {
        let mut chance = Chance::new(3);
        let limited = settings(&mut chance);
        [Settings { registrations: 0, ..Settings::default() }, limited]
            .map(|settings| recorded(&mut chance, &settings))
    };
}

fn recorded(chance: &mut Chance, settings: &Settings) -> Recorded {
    let folder = tempfile::tempdir().expect("there is room");
    let boxes = record(folder.path(), chance, settings, Form::WHOLE, &[90, 40]);
    let log = MemDisk::new();
    for entry in fs::read_dir(folder.path()).expect("it was just made") {
        let path = entry.expect("it was just made").path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if parse_segment_name(name).is_some() {
            log.put(name, fs::read(&path).expect("it was just made"));
        }
    }
    let recording = Recording::open(&boxes).expect("it was just made");
    let paths = recording.files().iter().map(|file| file.path.clone());
    let files = paths.map(|path| (path.clone(), fs::read(&path).expect("it was just made")));
    let files = files.collect();
    Recorded { _folder: folder, log, boxes, files }
}

pub fn run(data: &[u8]) {
    let mut chance = Chance::by_bytes(data);
    RECORDED.with(|all| {
        let recorded = &all[chance.below(all.len())];
        let (path, whole) = &recorded.files[chance.below(recorded.files.len())];
        let fits = !chance.one_in(8);
        let mut bytes = whole.clone();
        for _ in 0..24 {
            if chance.is_spent() {
                break;
            }
            change(&mut bytes, &mut chance);
        }
        if fits && bytes.len() >= HEADER.end {
            seal(&mut bytes);
        }
        fs::write(path, &bytes).expect("there is room");
        let ended = replay(recorded);
        if bytes == *whole {
            let ended = ended.expect("nothing was changed");
            assert_eq!(ended.difference, None);
            let engine = ended.engine.expect("there is something to begin with");
            assert_eq!(engine.find_contradiction(), None);
        }
        fs::write(path, whole).expect("there is room");
    });
}

/// Does all that is done with a recording.
fn replay(recorded: &Recorded) -> Option<Ended> {
    debug_assert!(recorded.boxes.ends_with(FOLDER));
    let recording = Recording::open(&recorded.boxes).ok()?;
    let _ = recording.last_step();
    let _ = recording.needs_from(LOG_ID, Default::default());
    let wanted = recording.texts_wanted().ok()?;
    let history = LogHistory::open(&recorded.log, wanted).ok()?;
    Replay::new(&recording, history).run(&mut ()).ok()
}

fn change(bytes: &mut Vec<u8>, chance: &mut Chance) {
    let kept = length(bytes, HEADER.start - 8).unwrap_or(0).saturating_add(HEADER.end);
    // The header, settings and sessions, and the steps: the first two are a small part, with most in them.
    let ends = [HEADER.start, kept, kept, bytes.len()];
    let end = chance.pick(&ends).min(bytes.len());
    // Behind the name of the format and its version.
    let at = 12 + chance.below(end.saturating_sub(12).max(1));
    match (chance.below(6), bytes.get_mut(at)) {
        (0, Some(byte)) => *byte = chance.byte(),
        (1, Some(byte)) => *byte ^= 1 << chance.below(8),
        (2, Some(_)) => {
            let end = bytes.len().min(at + chance.pick(&[1, 2, 4, 8]));
            bytes[at..end].fill(chance.pick(&[0, 0xFF]));
        }
        (3, _) => bytes.truncate(at),
        (4, _) => {
            // A value that stands elsewhere.
            let from = 12 + chance.below(bytes.len().saturating_sub(12).max(1));
            let count = chance.pick(&[1, 4, 8]);
            let piece = bytes.get(from..).unwrap_or_default().iter().take(count).copied();
            let piece: Vec<_> = piece.collect();
            if let Some(place) = bytes.get_mut(at..at + piece.len()) {
                place.copy_from_slice(&piece);
            }
        }
        _ => insert_chunk(bytes, kept, chance),
    }
}

/// Puts entries of any bytes between two turns.
fn insert_chunk(bytes: &mut Vec<u8>, kept: usize, chance: &mut Chance) {
    let (mut at, passed) = (kept.saturating_add(4), chance.below(0x1_0000));
    for _ in 0..passed {
        match length(bytes, at).filter(|count| *count > 0 && at + 8 + count < bytes.len()) {
            Some(count) => at += 8 + count,
            None => break,
        }
    }
    let entries = chance.bytes(60);
    if at <= bytes.len() && !entries.is_empty() {
        let count = u32::try_from(entries.len()).expect("they are few").to_be_bytes();
        bytes.splice(at..at, [&count[..], &[0; 4], &entries].concat());
    }
}
