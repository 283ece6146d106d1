//! `oicq-tools backup`: copies of a log that a server is writing, brought up to date, interrupted, and started
//! on; and the folders that it does not take.

use std::collections::BTreeMap;
use std::fs;
use std::ops::Range;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use oicq::id::ServiceNumber;
use serde_json::Value;

use crate::live::{
    Client, Server, digest, folder, oicqd, result, stat, texts, tool, tools, tools_program,
};

fn arguments<'a>(data: &'a Path, out: &'a Path) -> [&'a str; 3] {
    ["backup", data.to_str().unwrap(), out.to_str().unwrap()]
}

/// What a backup that succeeds prints.
fn backup(data: &Path, out: &Path) -> String {
    let output = tools(&arguments(data, out));
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(0), "{errors}");
    assert!(errors.starts_with("oicq-tools: copied ") && errors.lines().count() == 1, "{errors}");
    String::from_utf8(output.stdout).unwrap()
}

/// The same as an object.
fn figures(data: &Path, out: &Path) -> Value {
    let output = tools(&[&arguments(data, out)[..], &["--format", "json"]].concat());
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), &*errors), (Some(0), ""));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn number(object: &Value, key: &str) -> u64 {
    object[key].as_u64().unwrap_or_else(|| panic!("{key} in {object}"))
}

/// The sequence number in a line `digest HEX seq N`.
fn seq(line: &str) -> String {
    let words: Vec<_> = line.split_whitespace().collect();
    assert!(words.len() == 4 && words[0] == "digest" && words[2] == "seq", "{line}");
    words[3].to_owned()
}

/// A backup into a folder that is not taken: what is said.
fn refused(data: &Path, out: &Path) -> String {
    let output = tools(&arguments(data, out));
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0), "{errors}");
    assert_eq!(errors.lines().count(), 1, "{errors}");
    errors
}

/// Everything in a folder: names, rights and bytes.
fn contents(folder: &Path) -> BTreeMap<PathBuf, (u32, Vec<u8>)> {
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode();
    let mut all = BTreeMap::from([(folder.to_owned(), (mode(folder), Vec::new()))]);
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all.extend(contents(&path));
        } else {
            all.insert(path.clone(), (mode(&path), fs::read(&path).unwrap()));
        }
    }
    all
}

/// A server with a user who is absent, and one who writes to that user.
fn begin() -> (Server, Client) {
    let server = Server::start(&["--mailbox-messages", "100000", "--mailbox-size", "64MiB"]);
    assert_eq!(server.offline_user("absent"), ABSENT);
    let bob = server.user("bob");
    (server, bob)
}

/// Messages of 2 KB, with numbers.
fn tell(bob: &mut Client, numbers: Range<usize>) {
    for index in numbers {
        bob.tell(ABSENT, &format!("{index} {}", "x".repeat(2_000)));
    }
}

/// A server on which so many messages wait.
fn waiting(messages: usize) -> (Server, Client) {
    let (server, mut bob) = begin();
    tell(&mut bob, 0..messages);
    (server, bob)
}

const ABSENT: ServiceNumber = ServiceNumber(10_001);

/// What waits for the absent user on a server that starts on the copy.
fn waits_on(out: &Path) -> usize {
    let server = Server::start_on(out, &["--mailbox-messages", "100000"]);
    let waited = texts(&server.back(ABSENT).1);
    for (index, text) in waited.iter().enumerate() {
        assert!(text.starts_with(&format!("{index} ")), "{text}");
    }
    let ended = server.stop();
    assert_eq!(ended.stderr, "");
    waited.len()
}

#[test]
fn copies_under_load_are_the_log_as_of_their_numbers() {
    const MESSAGES: usize = 1_200;
    let (server, mut bob) = begin();
    let data = server.data().to_owned();
    let place = folder();
    let out = place.path().join("copy");
    let writer = std::thread::spawn(move || tell(&mut bob, 0..MESSAGES));
    let (mut last, mut rounds) = (0, 0);
    while !writer.is_finished() {
        let line = backup(&data, &out);
        assert_eq!(line, result("replay", &data, &["--digest", "--until", &seq(&line)]));
        assert_eq!(line, digest(&out));
        assert!(result("verify", &out, &[]).contains("whole"));
        let now: u64 = seq(&line).parse().unwrap();
        assert!(now >= last, "{now} after {last}");
        (last, rounds) = (now, rounds + 1);
    }
    writer.join().unwrap();
    assert!(rounds > 1 && stat(&data, "files") > 5, "{rounds} copies, and the log has rolled");
    let line = backup(&data, &out);
    assert_eq!(line, digest(&data));
    assert_eq!(waits_on(&out), MESSAGES);
    server.stop();
}

#[test]
fn run_again_it_copies_what_is_new_and_says_so() {
    let (server, mut bob) = waiting(60);
    let (data, place) = (server.data().to_owned(), folder());
    let out = place.path().join("a/copy");
    let first = figures(&data, &out);
    for key in ["seq", "events", "bytes", "bytes_copied", "files", "files_copied"] {
        assert!(first[key].is_u64(), "{key} in {first}");
    }
    assert_eq!(
        format!("digest {} seq {}\n", first["digest"].as_str().unwrap(), first["seq"]),
        digest(&data)
    );
    assert_eq!(number(&first, "bytes"), number(&first, "bytes_copied"));
    assert_eq!(number(&first, "files"), number(&first, "files_copied"));
    assert_eq!(number(&first, "events"), stat(&data, "events"));
    let again = figures(&data, &out);
    assert_eq!((number(&again, "bytes_copied"), number(&again, "files_copied")), (0, 0));

    tell(&mut bob, 60..70);
    let more = figures(&data, &out);
    assert_eq!(number(&more, "bytes") - number(&first, "bytes"), number(&more, "bytes_copied"));
    assert!(number(&more, "bytes_copied") < 30_000, "{more}");
    assert_eq!(figures(&data, &out)["digest"], more["digest"]);

    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode(&out), 0o700);
    for entry in fs::read_dir(&out).unwrap() {
        assert_eq!(mode(&entry.unwrap().path()), 0o600);
    }
    assert_eq!(waits_on(&out), 70);
}

#[test]
fn killed_in_the_middle_it_goes_on_when_it_is_run_again() {
    let (server, _) = waiting(300);
    let (data, place) = (server.data().to_owned(), folder());
    let spawn = |out: &Path| {
        let mut command = Command::new(tools_program());
        command.args(arguments(&data, out)).stdin(Stdio::null()).stdout(Stdio::null());
        command.stderr(Stdio::null()).spawn().unwrap()
    };
    for files in [0, 1, 2, 3, 5, 8] {
        let out = place.path().join(format!("copy {files}"));
        let mut running = spawn(&out);
        let has_ended = |running: &mut std::process::Child| running.try_wait().unwrap().is_some();
        let mut found = 0;
        while found <= files && !has_ended(&mut running) {
            found = fs::read_dir(&out).map_or(0, Iterator::count);
        }
        // It may have come to its end before: then there is nothing left to do for the next run.
        let _ = running.kill();
        running.wait().unwrap();
        let has_log = |name: &str| name.ends_with(".log");
        let names = fs::read_dir(&out).into_iter().flatten();
        if names.flatten().any(|entry| has_log(&entry.file_name().to_string_lossy())) {
            assert!(result("verify", &out, &[]).contains("whole"), "what is there is a log");
        }
        assert_eq!(backup(&data, &out), digest(&data));
        let left = fs::read_dir(&out).unwrap().map(|entry| entry.unwrap().file_name());
        assert!(!left.into_iter().any(|name| name.to_string_lossy().ends_with(".tmp")));
    }
}

/// Runs a backup under a limit of so many blocks for a file, which kills whoever goes beyond it.
fn limited(data: &Path, out: &Path, blocks: u32) -> Output {
    let mut command = Command::new("sh");
    command.arg("-c").arg(format!("ulimit -f {blocks}; exec \"$0\" \"$@\""));
    command.arg(tools_program()).args(arguments(data, out)).stdin(Stdio::null());
    command.output().unwrap()
}

#[test]
fn killed_within_a_file_it_goes_on_with_that_file() {
    let (server, mut bob) = waiting(20);
    let (data, place) = (server.data().to_owned(), folder());
    let out = place.path().join("copy");
    let first = backup(&data, &out);
    tell(&mut bob, 20..200);
    let output = limited(&data, &out, 40);
    assert!(output.status.signal().is_some() || output.status.code() == Some(1), "{output:?}");
    assert_eq!(digest(&out), first, "the copy is what it was");
    assert_eq!(backup(&data, &out), digest(&data));
    assert_eq!(waits_on(&out), 200);
}

#[test]
fn a_copy_of_a_compacted_log_is_compacted() {
    let (server, mut bob) = waiting(100);
    let (data, place) = (server.data().to_owned(), folder());
    let (old, fresh) = (place.path().join("old"), place.path().join("fresh"));
    backup(&data, &old);
    tell(&mut bob, 100..140);
    let (status, said, errors) = tool("compact", &data, &["--drop-black-box"]);
    assert_eq!(status, Some(0), "{said}{errors}");
    assert!(said.starts_with("compacted "), "{said}");
    tell(&mut bob, 140..150);
    for out in [&old, &fresh] {
        assert_eq!(backup(&data, out), digest(&data));
        assert_eq!(digest(out), digest(&data));
        let names = |folder: &Path| {
            let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
            let names = names.map(|name| name.into_string().unwrap());
            let mut names: Vec<_> =
                names.filter(|name| name.ends_with(".log") || name.ends_with(".base")).collect();
            names.sort();
            names
        };
        assert_eq!(names(out), names(&data));
        assert_eq!(stat(out, "first_seq"), stat(&data, "first_seq"));
        assert_eq!(waits_on(out), 150);
    }
}

#[test]
fn folders_that_hold_something_else_are_not_touched() {
    let ((server, _), (other, _), place) = (waiting(40), waiting(1), folder());
    let data = server.data();
    let at = |name: &str| place.path().join(name);

    fs::create_dir(at("letters")).unwrap();
    fs::write(at("letters").join("letter.txt"), "dear").unwrap();
    fs::create_dir_all(at("folders/inner")).unwrap();
    fs::write(at("file"), "").unwrap();
    // A log whose server has ended, one that a server uses, and a copy on which a server ran.
    backup(other.data(), &at("another log"));
    backup(data, &at("used"));
    let used = Server::start_on(&at("used"), &[]);
    backup(data, &at("gone on"));
    Server::start_on(&at("gone on"), &[]).user("new").log_out();
    backup(data, &at("damaged"));
    let first = at("damaged").join("00000000000000000001.log");
    let mut bytes = fs::read(&first).unwrap();
    bytes[5_000] ^= 1;
    fs::write(&first, bytes).unwrap();

    for (name, why) in [
        ("letters", "letter.txt"),
        ("folders", "inner"),
        ("file", "file"),
        ("another log", "another log"),
        ("used", "uses it"),
        ("gone on", "server"),
        ("damaged", "damaged"),
    ] {
        let out = at(name);
        let before = out.is_dir().then(|| contents(&out));
        let said = refused(data, &out);
        assert!(said.contains(why) && said.contains(out.to_str().unwrap()), "{said}");
        assert_eq!(out.is_dir().then(|| contents(&out)), before, "{name} is as it was");
    }
    used.stop();

    let above = data.parent().unwrap();
    let link = at("link");
    std::os::unix::fs::symlink(data, &link).unwrap();
    for out in [data, above, &data.join("copy"), &data.join("a/b/../c"), &link, &link.join("copy")]
    {
        let before = contents(above);
        let said = refused(data, out);
        assert!(said.contains("folder of the log"), "{said}");
        assert!(contents(above).keys().eq(before.keys()), "{}", out.display());
    }
}

#[test]
fn a_log_that_is_damaged_or_not_there_is_not_copied() {
    let place = folder();
    let (nothing, out) = (place.path().join("nothing"), place.path().join("copy"));
    assert!(refused(&nothing, &out).contains("nothing"));
    assert!(refused(place.path(), &out).contains("no log"));
    let (mut server, _) = waiting(40);
    server.kill();
    let first = server.data().join("00000000000000000001.log");
    let mut bytes = fs::read(&first).unwrap();
    bytes[6_000] ^= 1;
    fs::write(&first, bytes).unwrap();
    let said = refused(server.data(), &out);
    assert!(said.contains("oicq-tools verify"), "{said}");
    assert!(!out.exists(), "no folder is made for it");
}

#[test]
fn a_server_does_not_start_on_a_copy_that_is_being_made() {
    // The lock is the server's own, so that neither can come in the way of the other.
    let (server, _) = waiting(5);
    let place = folder();
    let out = place.path().join("copy");
    backup(server.data(), &out);
    let held = fs::File::options().write(true).open(out.join("LOCK")).unwrap();
    rustix::fs::flock(&held, rustix::fs::FlockOperation::NonBlockingLockExclusive).unwrap();
    assert!(refused(server.data(), &out).contains("uses it"));
    let output = oicqd(&out, &[]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    drop(held);
    backup(server.data(), &out);
}

#[test]
fn it_is_called_with_two_folders() {
    let place = folder();
    let path = place.path().to_str().unwrap();
    for (arguments, said) in [
        (&["backup"][..], "DIR"),
        (&["backup", path], "OUT"),
        (&["backup", path, path, path], "too many"),
        (&["backup", path, path, "--format", "xml"], "--format"),
        (&["backup", path, path, "--frob"], "--frob"),
    ] {
        let output = tools(arguments);
        let errors = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0), "{arguments:?}");
        assert!(errors.contains(said) && errors.lines().count() == 1, "{errors}");
    }
    let page = String::from_utf8(tools(&["backup", "-h"]).stdout).unwrap();
    assert!(page.lines().all(|line| line.chars().count() <= 80), "{page}");
    assert!(page.contains("DIR OUT") && page.contains("[text]"), "{page}");
    let all = String::from_utf8(tools(&["-h"]).stdout).unwrap();
    assert!(all.contains("backup DIR OUT"), "{all}");
}
