//! The tools that answer questions about a log, over the sample log: what they answer, in which shapes, and
//! what they say where there is no answer.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "asking/bisect.rs"]
mod bisect;
#[path = "asking/diff.rs"]
mod diff;
#[path = "../src/documented.rs"]
mod documented;
#[path = "asking/packed.rs"]
mod packed;
#[path = "asking/replay.rs"]
mod replay;
#[path = "asking/why.rs"]
mod why;

use std::convert::Infallible;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use oicq::codec::profile::Profile;
use oicq::id::{MonoMillis, ServiceNumber, UnixMillis};
use oicq::log::{DiskStorage, Durability, Log, Options};
use oicq::state::{Authentication, Event};
use serde_json::Value;
use tempfile::TempDir;

/// The last event of the sample log.
const LAST: u64 = 547;

const ANN: ServiceNumber = ServiceNumber(10_001);
const BEN: ServiceNumber = ServiceNumber(10_002);
const CAT: ServiceNumber = ServiceNumber(10_003);

/// The sample log.
fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../data/golden/v1")
}

/// A copy of the sample log that may be changed.
fn copied() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for name in fs::read_dir(golden()).unwrap().map(|entry| entry.unwrap().file_name()) {
        fs::copy(golden().join(&name), folder.path().join(&name)).unwrap();
    }
    folder
}

/// The sample log without its history up to a sequence number, as well as that goes: it begins behind one of its
/// files.
fn compacted(keep_since: &str) -> TempDir {
    let folder = copied();
    let path = folder.path().to_str().unwrap();
    succeeds(&["compact", path, "--keep-since", keep_since]);
    folder
}

/// The sample log with a flipped bit in its third file, which begins with sequence number 221.
fn damaged() -> TempDir {
    let folder = copied();
    let file = folder.path().join("00000000000000000221.log");
    let mut bytes = fs::read(&file).unwrap();
    bytes[8_000] ^= 1;
    fs::write(&file, bytes).unwrap();
    folder
}

/// Three users.
fn people() -> Vec<Event<'static>> {
    let registered = |(number, nickname): (_, &'static str)| Event::Registered {
        number,
        authentication: Authentication::Ask,
        password_hash: "$",
        profile: Profile { nickname: nickname.as_bytes(), ..Profile::default() },
    };
    [(ANN, "ann"), (BEN, "ben"), (CAT, "cat")].map(registered).to_vec()
}

/// A log of these events, a second after each other.
fn written(events: &[Event<'_>]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let storage = DiskStorage::create(folder.path()).unwrap();
    let options = Options { segment_size: 16 << 10, durability: Durability::Never, charset: 1 };
    let opened = Log::open(storage, options, 1, UnixMillis(0), |_| Ok::<_, Infallible>(()));
    let (mut log, _) = opened.unwrap();
    for (second, event) in (1..).zip(events) {
        let mut payload = Vec::new();
        event.encode(&mut payload);
        log.append(UnixMillis(second * 1_000), event.kind() as u8, &payload).unwrap();
        log.commit(MonoMillis(0)).unwrap();
    }
    log.close().unwrap();
    folder
}

/// A call with `$LOG` replaced by a folder: status, standard output, standard error.
fn call(log: &Path, arguments: &[&str]) -> (Option<i32>, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_oicq-tools"));
    for argument in arguments {
        if *argument == "$LOG" {
            command.arg(log)
        } else {
            command.arg(argument)
        };
    }
    let output = command.stdin(Stdio::null()).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

/// What a call prints that does not fail.
fn answers(log: &Path, arguments: &[&str]) -> String {
    let (status, out, errors) = call(log, arguments);
    assert_eq!((status, &*errors), (Some(0), ""), "{arguments:?}");
    out
}

fn succeeds(arguments: &[&str]) {
    let (status, _, errors) = call(Path::new(""), arguments);
    assert_eq!(status, Some(0), "{arguments:?}: {errors}");
}

/// The objects that a call prints.
fn objects(log: &Path, arguments: &[&str]) -> Vec<Value> {
    let out = answers(log, &[arguments, &["--format", "json"]].concat());
    out.lines().map(|line| serde_json::from_str(line).expect(line)).collect()
}

/// The call fails with this status and one line that says all of this.
fn fails(log: &Path, arguments: &[&str], status: i32, said: &[&str]) -> String {
    let (is, out, errors) = call(log, arguments);
    assert_eq!((is, errors.lines().count()), (Some(status), 1), "{arguments:?}: {out}{errors}");
    for said in said {
        assert!(errors.contains(said), "{arguments:?}: {said:?} in {errors}");
    }
    out
}

#[test]
fn pages_fit_and_name_what_there_is() {
    let (_, list, _) = call(Path::new(""), &["--help"]);
    for (command, named) in [
        ("replay", &["--at TIME", "--until SEQ", "--black-box", "--connection N", "NO_COLOR"][..]),
        ("diff", &["--user NUMBER", "--format FORMAT"]),
        ("bisect", &["-- COMMAND [ARG ...]", "125", "jq -e"]),
        ("pack", &["--redact", "--format FORMAT"]),
        ("why", &["friend A B", "message ID", "login NUMBER TIME", "monitor NUMBER"]),
    ] {
        let page = answers(Path::new(""), &[command, "--help"]);
        assert!(page.lines().all(|line| line.chars().count() <= 80), "{page}");
        assert!(named.iter().all(|name| page.contains(name)), "{named:?} in {page}");
        assert!(list.contains(&format!("  {command} DIR")), "{command} in {list}");
    }
}

#[test]
fn there_is_no_answer_without_a_log() {
    let folder = tempfile::tempdir().unwrap();
    for arguments in [
        &["replay", "$LOG"][..],
        &["diff", "$LOG", "1", "2"],
        &["why", "$LOG", "message", "1"],
        &["bisect", "$LOG", "--", "true"],
    ] {
        let out = fails(folder.path(), arguments, 1, &["there is no log here"]);
        assert_eq!(out, "");
    }
}

#[test]
fn notes_that_nobody_reads_end_nothing() {
    let (log, folder) = (copied(), tempfile::tempdir().unwrap());
    let log = log.path().to_str().unwrap();
    let copy = folder.path().join("copy");
    for arguments in [&["backup", log, copy.to_str().unwrap()][..], &["compact", log]] {
        let (reading, errors) = std::io::pipe().unwrap();
        drop(reading);
        let mut command = Command::new(env!("CARGO_BIN_EXE_oicq-tools"));
        let output = command.args(arguments).stdin(Stdio::null()).stderr(errors).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{arguments:?}");
        assert!(String::from_utf8(output.stdout).unwrap().contains("digest "), "{arguments:?}");
    }
}
