//! The black box: whatever happens to a server, what was recorded of it leads to the same output again; what
//! is damaged is replayed as far as it goes, and what goes differently is found.
//!
//! `OICQ_SEED` runs the sequence of one seed, `OICQ_SEQUENCES` more of them.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that fails panics")]

#[path = "black_box/damage.rs"]
mod damage;
#[path = "black_box/packed.rs"]
mod packed;
#[path = "black_box/planted.rs"]
mod planted;
#[path = "black_box/recorded.rs"]
mod recorded;
#[path = "black_box/rewrite.rs"]
mod rewrite;
#[path = "black_box/seal.rs"]
mod seal;
#[path = "black_box/told.rs"]
mod told;

mod chance;
mod kit;
#[path = "kit/live.rs"]
mod live;

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use chance::Chance;
use chance::packets::settings;
use kit::replayed::{identically, replay};
use oicq::black_box::{FOLDER, LogHistory, Recording, Replay, Texts, file_name};
use oicq::engine::{Engine, HeldInput, Input, Settings};
use oicq::id::{ConnectionId, MonoMillis, Now, Place, UnixMillis};
use oicq::log::DiskStorage;
use oicq::wire::{Frame, Header, Kind};
use recorded::{Form, Recorded, record};

/// Bytes of the files of a recording, the oldest first.
fn lengths(folder: &Path) -> Vec<u64> {
    let files = fs::read_dir(folder).unwrap().map(|file| file.unwrap());
    let mut files: Vec<_> = files.map(|file| (file.file_name(), file)).collect();
    files.sort_by(|(one, _), (other, _)| one.cmp(other));
    files.iter().map(|(_, file)| file.metadata().unwrap().len()).collect()
}

#[test]
fn whatever_is_recorded_replays_to_the_same_output() {
    for seed in chance::seeds(24) {
        // Shown when the test fails.
        println!("OICQ_SEED={seed}");
        let mut chance = Chance::new(seed);
        let folder = tempfile::tempdir().unwrap();
        let settings = settings(&mut chance);
        let texts = chance.pick(&[Texts::Kept, Texts::Blanked]);
        // In some, the oldest files give way.
        let form = Form { bytes_max: chance.pick(&[6_000, 60_000, 1 << 30]), texts };
        let recorded = record(folder.path(), &mut chance, &settings, form, &[150, 80, 40]);
        let lengths = lengths(&recorded);
        // The newest closed file stays, however large one turn has made it.
        let newest = lengths.iter().rev().take(2).sum::<u64>();
        assert!(lengths.iter().sum::<u64>() <= form.bytes_max.max(newest));
        assert!(identically(folder.path()) > 50);
        // What an engine has saved makes one that goes on in the same way: each file can be the first.
        let recording = Recording::open(&recorded).unwrap();
        for file in recording.files() {
            let ended = replay(folder.path());
            assert_eq!(ended.difference, None);
            assert_eq!(ended.first_step, Some(file.header.first_step));
            fs::remove_file(&file.path).unwrap();
        }
    }
}

#[test]
fn what_an_engine_saves_is_what_it_saves_once_it_is_restored() {
    for seed in chance::seeds(12) {
        println!("OICQ_SEED={seed}");
        let mut chance = Chance::new(seed);
        let folder = tempfile::tempdir().unwrap();
        let settings = settings(&mut chance);
        let now = Now { wall: UnixMillis(1_000_000_000_000), mono: MonoMillis(1_000_000) };
        let mut server = Recorded::start(folder.path(), settings.clone(), Form::WHOLE, now);
        for _ in 0..200 {
            server.happen(&mut chance);
            let (mut kept, mut again) = (Vec::new(), Vec::new());
            server.engine.save(&mut kept);
            let state = server.engine.state().clone();
            let place = |_| Some(Place::default());
            let restored = Engine::restore(settings.clone(), state, &kept, place).unwrap();
            restored.save(&mut again);
            assert!(kept == again, "it saves other bytes");
            let views = |engine: &Engine| engine.connections().collect::<Vec<_>>();
            assert_eq!(views(&restored), views(&server.engine));
        }
    }
}

#[test]
fn a_recording_that_cannot_be_written_pauses_and_is_taken_up_again() {
    let folder = tempfile::tempdir().unwrap();
    let settings = Settings::default();
    let now = Now { wall: UnixMillis(1_000_000_000_000), mono: MonoMillis(1_000_000) };
    let form = Form { bytes_max: 40_000, ..Form::WHOLE };
    let mut chance = Chance::new(7);
    let mut server = Recorded::start(folder.path(), settings, form, now);
    // A disk without room under every name that the next file can have.
    let name = |step| folder.path().join(FOLDER).join(file_name(step));
    (2..4_000).for_each(|step| symlink("/dev/full", name(step)).unwrap());
    for _ in 0..300 {
        server.happen(&mut chance);
    }
    let before = replay(folder.path());
    assert_eq!((before.difference, before.steps > 20), (None, true));
    for step in 2..4_000 {
        if fs::symlink_metadata(name(step)).is_ok_and(|file| file.is_symlink()) {
            fs::remove_file(name(step)).unwrap();
        }
    }
    server.wait(61_000);
    for _ in 0..40 {
        server.happen(&mut chance);
    }
    let after = replay(folder.path());
    assert_eq!((after.difference, after.first_step), (None, Some(1)));
    assert!(after.steps > before.steps);
    let [(from, to)] = after.missing[..] else { panic!("{:?}", after.missing) };
    assert!(from == before.steps + 1 && to >= from, "{from} to {to}");
}

#[test]
fn a_replay_tells_how_far_it_has_come() {
    let mut chance = Chance::new(11);
    let folder = tempfile::tempdir().unwrap();
    let settings = settings(&mut chance);
    let form = Form { bytes_max: 60_000, ..Form::WHOLE };
    let recorded = record(folder.path(), &mut chance, &settings, form, &[150, 80]);
    let recording = Recording::open(&recorded).unwrap();
    let storage = DiskStorage::read_only(folder.path());
    let history = LogHistory::open(&storage, recording.texts_wanted().unwrap()).unwrap();
    let mut told = Vec::new();
    let replay = Replay::new(&recording, history).telling(|bytes| told.push(bytes));
    assert!(replay.run(&mut ()).unwrap().steps > 50);
    assert!(told.is_sorted() && told.iter().collect::<BTreeSet<_>>().len() > 20);
    assert_eq!(told.last(), Some(&recording.bytes()));
    let marks = 8 * recording.files().len() as u64;
    assert_eq!(
        recording.bytes() + marks,
        lengths(&recorded).iter().sum::<u64>(),
        "no file had been full before"
    );
}

#[test]
fn a_held_input_is_the_one_that_was_held() {
    let mut held = HeldInput::default();
    let header = Header { kind: Kind::User, packet_type: 3, content_length: 5 };
    let connection = ConnectionId(9);
    for content in [&b"hello"[..], b"you", b""] {
        let input = Input::Packet { connection, frame: Frame { header, content } };
        held.hold(&input);
        assert_eq!(format!("{:?}", held.get()), format!("{input:?}"));
    }
    held.hold(&Input::End { connection });
    assert_eq!(format!("{:?}", held.get()), format!("{:?}", Input::End { connection }));
}
