//! The data folder: who may see it, who may use it, and what a server does with a log that is not whole.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use oicq::id::ServiceNumber;

use crate::live::{
    Server, digest, fails, folder, oicqd, result, stat, state, texts, tool, wait_for,
};

const FIRST: &str = "00000000000000000001.log";
const HEADER_BYTES: usize = 4096;

/// A log with two users and messages that wait for the first of them; the server is killed.
fn killed(messages: usize) -> Server {
    let mut server = Server::start(&[]);
    let ann = server.offline_user("ann");
    let mut bob = server.user("bob");
    for index in 0..messages {
        bob.tell(ann, &format!("message {index}"));
    }
    drop(bob);
    server.kill();
    server
}

fn log(server: &Server) -> PathBuf {
    server.data().join(FIRST)
}

fn change(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).unwrap();
    change(&mut bytes);
    fs::write(path, bytes).unwrap();
}

fn one_line(errors: &str) {
    assert_eq!(errors.lines().count(), 1, "{errors}");
}

#[test]
fn folder_and_files_are_closed_to_others() {
    let server = Server::start(&[]);
    server.user("ann");
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode(server.data()), 0o700);
    let mut names = Vec::new();
    for entry in fs::read_dir(server.data()).unwrap() {
        let entry = entry.unwrap();
        names.push(entry.file_name().into_string().unwrap());
        let expected = if entry.path().is_dir() { 0o700 } else { 0o600 };
        assert_eq!(mode(&entry.path()), expected, "{names:?}");
    }
    for entry in fs::read_dir(server.data().join("black-box")).unwrap() {
        assert_eq!(mode(&entry.unwrap().path()), 0o600);
    }
    names.sort();
    assert!(names.contains(&"LOCK".to_owned()) && names.contains(&FIRST.to_owned()), "{names:?}");
}

#[test]
fn folders_are_made_all_the_way() {
    let folder = folder();
    let data = folder.path().join("a/b/store");
    let server = Server::start_on(&data, &[]);
    server.user("ann");
    server.stop();
    assert!(data.join(FIRST).exists());
}

#[test]
fn a_folder_in_use_is_named_and_left_alone() {
    let server = Server::start(&[]);
    let mut ann = server.user("ann");
    let (status, errors) = fails(server.data(), &[]);
    assert_eq!(status, Some(1), "{errors}");
    one_line(&errors);
    assert!(errors.contains(server.data().to_str().unwrap()), "{errors}");
    assert!(errors.contains("stop that one"), "what to do: {errors}");
    ann.tell(ann.own, "still here");
    server.stop();
}

#[test]
fn a_folder_that_cannot_be_is_named() {
    let folder = folder();
    let file = folder.path().join("file");
    fs::write(&file, "x").unwrap();
    for data in [file.clone(), file.join("store"), PathBuf::from("/proc/no/store")] {
        let (status, errors) = fails(&data, &[]);
        assert_eq!(status, Some(1), "{errors}");
        one_line(&errors);
        assert!(errors.contains(data.to_str().unwrap()), "{errors}");
        assert!(errors.contains("another folder behind --data"), "what to do: {errors}");
    }
    assert_eq!(fs::read(&file).unwrap(), b"x");
}

#[test]
fn a_damaged_log_is_not_started_on() {
    let server = killed(60);
    let path = log(&server);
    let used = usize::try_from(stat(server.data(), "bytes")).unwrap();
    let at = HEADER_BYTES + (used - HEADER_BYTES) / 4;
    change(&path, |bytes| bytes[at] ^= 0x10);
    let before = fs::read(&path).unwrap();
    let (status, errors) = fails(server.data(), &[]);
    assert_eq!(status, Some(1), "{errors}");
    one_line(&errors);
    for word in [path.to_str().unwrap(), "offset", "sequence number", "oicq-tools verify"] {
        assert!(errors.contains(word), "{word} in {errors}");
    }
    assert!(fs::read(&path).unwrap() == before, "nothing has been changed");
    let advice = errors.trim_end().split_once("; run: oicq-tools ").unwrap().1;
    assert_eq!(advice, format!("verify {}", server.data().display()), "as it can be typed");
    let (status, out, errors) = tool("verify", server.data(), &[]);
    assert_eq!((status, errors.lines().count()), (Some(1), 1), "{errors}");
    assert!(out.contains("damaged") && out.contains(FIRST), "{out}");
    for (command, options) in [("replay", &["--digest"][..]), ("stat", &[]), ("replay", &[])] {
        let (status, _, errors) = tool(command, server.data(), options);
        assert_eq!(status, Some(1), "{command}: {errors}");
        assert!(errors.contains("oicq-tools verify"), "{errors}");
    }
    let (_, out, _) = tool("verify", server.data(), &["--format", "json"]);
    let first: serde_json::Value = serde_json::from_str(out.lines().next().unwrap()).unwrap();
    let offset = usize::try_from(first["offset"].as_u64().unwrap()).unwrap();
    assert!(offset <= at && at < offset + 4096, "{first}");
    assert!(first["seq"].as_u64().is_some(), "{first}");
    change(&path, |bytes| bytes[at] ^= 0x10);
    let server = server.again();
    assert_eq!(texts(&server.back(ServiceNumber(10_001)).1).len(), 60, "nothing was lost");
}

#[test]
fn every_part_of_the_log_is_guarded() {
    let server = killed(20);
    let path = log(&server);
    let used = usize::try_from(stat(server.data(), "bytes")).unwrap();
    let middle = HEADER_BYTES + (used - HEADER_BYTES) / 2;
    for at in [0, 8, 10, 33, 50, 84, 4096, 4100, 4104, 4112, 4120, 4136, 4144, 4150, middle] {
        change(&path, |bytes| bytes[at] ^= 0x40);
        let (status, errors) = fails(server.data(), &[]);
        assert_eq!(status, Some(1), "byte {at}: {errors}");
        one_line(&errors);
        let (status, _, _) = tool("verify", server.data(), &[]);
        assert_eq!(status, Some(1), "byte {at}");
        change(&path, |bytes| bytes[at] ^= 0x40);
    }
    assert_eq!(tool("verify", server.data(), &[]).0, Some(0));
}

#[test]
fn a_torn_end_is_cut_off_kept_and_reported() {
    let server = killed(10);
    let path = log(&server);
    let used = usize::try_from(stat(server.data(), "bytes")).unwrap();
    let last = stat(server.data(), "last_seq");
    change(&path, |bytes| bytes[used - 24..].fill(0));
    let (status, out, errors) = tool("verify", server.data(), &["--format", "json"]);
    assert_eq!((status, &*errors), (Some(0), ""), "a torn end is whole");
    let report: serde_json::Value = serde_json::from_str(out.lines().last().unwrap()).unwrap();
    let after = report["torn"]["after"].as_u64().unwrap();
    let torn_bytes = report["torn"]["bytes"].as_u64().unwrap();
    assert!(after < last, "{out}");
    let before = state(server.data());
    assert_eq!(digest(server.data()), format!("{before} seq {after}\n"));

    let mut server = server.again();
    let said = server.stop_in_place().stderr;
    one_line(&said);
    assert!(said.contains(&after.to_string()) && said.contains(&torn_bytes.to_string()), "{said}");
    let torn = server.data().join(format!("{after:020}.torn"));
    assert!(torn.exists(), "{said}");
    // What was cut off is not made up for; the stop has written the state's digest.
    assert_eq!(digest(server.data()), format!("{before} seq {}\n", after + 1));
    let mut server = server.again();
    let waited = texts(&server.back(ServiceNumber(10_001)).1);
    assert_eq!(waited, (0..waited.len()).map(|i| format!("message {i}")).collect::<Vec<_>>());
    assert_eq!(server.stop_in_place().stderr, "", "it is reported once");
    assert!(torn.exists() && result("verify", server.data(), &[]).contains("whole"));
}

/// Gives the header block another version or features, with a checksum that fits.
fn reseal(bytes: &mut [u8], at: usize, value: u8) {
    bytes[at] = value;
    let mut crc = crc32fast::Hasher::new_with_initial(0x4F49_4351);
    crc.update(&bytes[..84]);
    bytes[84..88].copy_from_slice(&crc.finalize().to_be_bytes());
}

#[test]
fn a_newer_format_is_not_touched() {
    for (at, value) in [(9, 2), (8, 1), (23, 2), (16, 0x80)] {
        let server = killed(3);
        let path = log(&server);
        change(&path, |bytes| reseal(bytes, at, value));
        let before = fs::read(&path).unwrap();
        let (status, errors) = fails(server.data(), &[]);
        assert_eq!(status, Some(1), "byte {at}: {errors}");
        one_line(&errors);
        assert!(errors.contains("newer"), "byte {at}: {errors}");
        let (status, _, errors) = tool("stat", server.data(), &[]);
        assert_eq!(status, Some(1), "byte {at}: {errors}");
        assert!(fs::read(&path).unwrap() == before);
    }
}

#[test]
fn another_charset_is_refused_and_tools_speak_utf_8() {
    let mut server = Server::start(&["--charset", "gb18030"]);
    let ann = server.offline_user("ann");
    let mut bob = server.user("bob");
    let content = [0xC4, 0xE3, 0xBA, 0xC3];
    bob.quietly(oicq::wire::Request::Send { receiver: ann, content: &content });
    server.kill();
    let (status, errors) = fails(server.data(), &[]);
    assert_eq!(status, Some(1), "{errors}");
    one_line(&errors);
    assert!(errors.contains("gb18030"), "{errors}");
    let shown = result("replay", server.data(), &["--format", "json", "--kind", "message-sent"]);
    assert!(shown.contains("你好"), "{shown}");
}

#[test]
fn leftovers_of_files_that_were_being_made_do_no_harm() {
    let server = killed(5);
    let before = digest(server.data());
    for name in ["next.tmp", "torn.tmp"] {
        fs::write(server.data().join(name), [0x5A; 5_000]).unwrap();
    }
    assert_eq!(digest(server.data()), before);
    let server = server.again();
    assert_eq!(digest(server.data()), before);
    assert_eq!(texts(&server.back(ServiceNumber(10_001)).1).len(), 5);
}

#[test]
fn a_copied_folder_is_all_that_a_move_needs() {
    let mut server = killed(5);
    let before = digest(server.data());
    let folder = folder();
    let copy = folder.path().join("copy");
    fs::create_dir(&copy).unwrap();
    for entry in fs::read_dir(server.data()).unwrap() {
        let entry = entry.unwrap();
        // What is recorded for engineers is no part of what a server needs.
        if entry.path().is_dir() {
            continue;
        }
        fs::copy(entry.path(), copy.join(entry.file_name())).unwrap();
    }
    server = server.again();
    let other = Server::start_on(&copy, &[]);
    assert_eq!(digest(&copy), before);
    assert_eq!(texts(&other.back(ServiceNumber(10_001)).1).len(), 5);
    server.stop();
}

#[test]
fn an_empty_log_is_a_log() {
    let server = Server::start(&[]);
    let whole = digest(server.data());
    assert!(whole.ends_with(" seq 0\n"), "{whole}");
    assert_eq!(result("replay", server.data(), &[]), "");
    assert!(result("verify", server.data(), &[]).contains("whole"));
    assert_eq!((stat(server.data(), "users"), stat(server.data(), "last_seq")), (0, 0));
    let server = server.restart();
    assert_eq!(digest(server.data()), whole);
}

#[test]
fn a_file_that_was_cut_short_behind_its_end_is_whole() {
    let server = killed(5);
    let before = digest(server.data());
    let used = stat(server.data(), "bytes");
    change(&log(&server), |bytes| bytes.truncate(usize::try_from(used).unwrap()));
    assert_eq!(digest(server.data()), before);
    assert_eq!(tool("verify", server.data(), &[]).0, Some(0));
    let server = server.again();
    assert_eq!(texts(&server.back(ServiceNumber(10_001)).1).len(), 5);
}

/// A log of several files, whose server is killed; the files' names in order.
fn rolled() -> (Server, Vec<PathBuf>) {
    let mut server = Server::start(&[]);
    let ann = server.offline_user("ann");
    let mut bob = server.user("bob");
    for _ in 0..40 {
        bob.tell(ann, &"x".repeat(8_000));
    }
    server.kill();
    let entries = fs::read_dir(server.data()).unwrap().map(|entry| entry.unwrap().path());
    let mut names: Vec<_> =
        entries.filter(|path| path.extension().is_some_and(|end| end == "log")).collect();
    names.sort();
    assert!(names.len() > 3, "{names:?}");
    (server, names)
}

#[test]
fn a_file_that_is_gone_swapped_or_cut_is_damage() {
    let (server, names) = rolled();
    let refuses = |what: &str| {
        let (status, errors) = fails(server.data(), &[]);
        assert_eq!(status, Some(1), "{what}: {errors}");
        one_line(&errors);
        assert!(errors.contains("oicq-tools verify"), "{what}: {errors}");
        assert_eq!(tool("verify", server.data(), &[]).0, Some(1), "{what}");
    };
    let away = server.data().join("away");
    for name in &names[..names.len() - 1] {
        fs::rename(name, &away).unwrap();
        refuses("gone");
        fs::rename(&away, name).unwrap();
    }
    let (one, two) = (fs::read(&names[1]).unwrap(), fs::read(&names[2]).unwrap());
    fs::write(&names[1], &two).unwrap();
    fs::write(&names[2], &one).unwrap();
    refuses("swapped");
    fs::write(&names[1], &one).unwrap();
    fs::write(&names[2], &two).unwrap();
    change(&names[1], |bytes| bytes.truncate(20_000));
    refuses("cut");
    fs::write(&names[1], b"").unwrap();
    refuses("empty");
    fs::write(&names[1], &one).unwrap();
    let last = names.len() - 1;
    let whole = fs::read(&names[last]).unwrap();
    fs::rename(&names[last], &away).unwrap();
    refuses("the last file is gone");
    fs::write(&names[last], whole).unwrap();
    assert_eq!(tool("verify", server.data(), &[]).0, Some(0));
    assert_eq!(texts(&server.again().back(ServiceNumber(10_001)).1).len(), 40);
}

#[test]
fn of_two_servers_that_start_at_once_one_runs() {
    let folder = folder();
    let data = folder.path().join("store");
    let mut children: Vec<_> = (0..2)
        .map(|_| {
            let mut command = oicqd(&data, &[]);
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
        })
        .collect();
    let ended = wait_for("one of them gives up", || {
        children.iter_mut().position(|child| child.try_wait().unwrap().is_some())
    });
    let loser = children.remove(ended).wait_with_output().unwrap();
    assert_eq!((loser.status.code(), loser.stdout.len()), (Some(1), 0));
    one_line(std::str::from_utf8(&loser.stderr).unwrap());
    let mut line = String::new();
    let mut winner = children.remove(0);
    let mut out = BufReader::new(winner.stdout.take().unwrap());
    out.read_line(&mut line).unwrap();
    winner.kill().unwrap();
    winner.wait().unwrap();
    assert!(line.starts_with("listening on 127.0.0.1:"), "{line}");
}

#[test]
fn a_folder_that_was_open_to_others_is_closed() {
    let folder = folder();
    let data = folder.path().join("store");
    fs::create_dir(&data).unwrap();
    fs::set_permissions(&data, fs::Permissions::from_mode(0o755)).unwrap();
    let server = Server::start_on(&data, &[]);
    server.user("ann");
    assert_eq!(fs::metadata(&data).unwrap().permissions().mode() & 0o7777, 0o700);
    for entry in fs::read_dir(&data).unwrap() {
        let found = entry.unwrap().metadata().unwrap();
        let expected = if found.is_dir() { 0o700 } else { 0o600 };
        assert_eq!(found.permissions().mode() & 0o7777, expected);
    }
}
