//! The golden log of each format version: it replays to its digest forever, and a server opens it.
//!
//! `OICQ_REWRITE_GOLDEN=1 cargo test --test golden` makes the log of the newest version anew; see
//! `data/README.md`.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod kit;

use std::convert::Infallible;
use std::fs;
use std::sync::OnceLock;

use kit::capture::parse;
use kit::golden::{expected_file, log_folder, packets_file, read_log, read_text, summary};
use kit::play::{LogHost, Player, SEGMENT_BYTES};
use oicq::codec::charset::Charset;
use oicq::log::{DiskStorage, Durability, Found, Log, Options};
use oicq::state::{EventError, Stamp, State};
use tempfile::TempDir;

const OPTIONS: Options =
    Options { segment_size: SEGMENT_BYTES, durability: Durability::Always, charset: 1 };
/// By chance in a real log, and always the same here.
const LOG_ID: u64 = 0x2003_0412_2003_0413;

/// Makes the log anew if that was asked for, once, before any test looks at it.
fn settle() -> bool {
    static REWRITTEN: OnceLock<bool> = OnceLock::new();
    *REWRITTEN.get_or_init(|| {
        let asked = std::env::var_os("OICQ_REWRITE_GOLDEN").is_some_and(|value| value == "1");
        if asked {
            rewrite();
        }
        asked
    })
}

/// The log that the packets leave, in a folder for a while.
fn make() -> TempDir {
    let lines = parse(&read_text(&packets_file())).unwrap_or_else(|error| panic!("{error}"));
    let folder = tempfile::tempdir().unwrap();
    let storage = DiskStorage::create(folder.path()).unwrap();
    let start = lines[0].time;
    let (log, _) = Log::open(storage, OPTIONS, LOG_ID, start, |_| Ok::<_, Infallible>(())).unwrap();
    let player = Player::play(LogHost::new(log), &lines);
    player.host.log.close().unwrap();
    folder
}

fn rewrite() {
    let made = make();
    let folder = log_folder();
    fs::create_dir_all(&folder).unwrap();
    for file in fs::read_dir(&folder).unwrap() {
        fs::remove_file(file.unwrap().path()).unwrap();
    }
    for name in segment_names(made.path()) {
        fs::write(folder.join(&name), fs::read(made.path().join(&name)).unwrap()).unwrap();
    }
    fs::write(expected_file(), summary(&read_log(&folder))).unwrap();
}

fn segment_names(folder: &std::path::Path) -> Vec<String> {
    let names = fs::read_dir(folder).unwrap();
    let names = names.map(|file| file.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.filter(|name| name.ends_with(".log")).collect();
    names.sort();
    names
}

#[test]
fn it_is_made_anew_only_when_that_is_asked_for() {
    assert!(!settle(), "data/golden/v1 was made anew: look at the change, then test without it");
}

#[test]
fn the_golden_log_is_whole_and_replays_to_its_digest() {
    settle();
    let log = read_log(&log_folder());
    assert_eq!(summary(&log), read_text(&expected_file()));
    assert!(log.segments >= 3, "a log that has rolled, {} segments", log.segments);
    assert!(log.batches < log.logged.len(), "batches of one event and of several");
}

#[test]
fn a_server_opens_a_copy_of_it_and_has_the_same_state() {
    settle();
    let golden = read_log(&log_folder());
    let copy = tempfile::tempdir().unwrap();
    for name in segment_names(&log_folder()) {
        fs::copy(log_folder().join(&name), copy.path().join(&name)).unwrap();
    }
    let options = Options { charset: Charset::Utf8.tag(), ..OPTIONS };
    let mut state = State::default();
    let storage = DiskStorage::create(copy.path()).unwrap();
    let each = |record: &oicq::log::Record<'_>| -> Result<(), EventError> {
        let stamp = Stamp { seq: record.seq, time: record.time, place: record.place };
        state.apply_record(stamp, record.kind, record.payload)
    };
    let (log, recovery) = Log::open(storage, options, 1, golden.state.last_time(), each).unwrap();
    assert_eq!(recovery.found, [Found::Whole]);
    assert_eq!(recovery.segments, golden.segments);
    assert_eq!(recovery.last_seq, golden.state.last_seq());
    assert_eq!(recovery.events, golden.logged.len() as u64);
    assert_eq!(log.log_id(), LOG_ID);
    assert_eq!(state.digest(), golden.state.digest());

    log.close().unwrap();
    let again = read_log(copy.path());
    assert_eq!(again.logged, golden.logged, "opening and closing adds nothing");
    assert_eq!(again.state.digest(), golden.state.digest());
}

/// What the format may change without a new version (notes, zeros) need not be the same bytes; the
/// events must.
#[test]
fn making_it_anew_gives_the_same_events() {
    settle();
    let made = read_log(make().path());
    assert_eq!(made.logged, read_log(&log_folder()).logged);
}
