//! `verify` and `repair` over logs that are damaged in every way that can be made: what is told of them, what
//! is saved, and that a server starts on it and its users find what they had.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use oicq::id::{GroupNumber, ServiceNumber};
use oicq::log::{DiskStorage, Reader, Step};
use oicq::wire::{Code, Request};
use serde_json::Value;

use crate::live::{
    PASSWORD, Server, digest, folder, groups, result, texts, tool, tools, tools_program,
};

const FIRST: &str = "00000000000000000001.log";
/// What whoever opens a log leaves beside it.
const LOCKS: [&str; 2] = ["LOCK", "COMPACT"];
const ANN: ServiceNumber = ServiceNumber(10_001);
const BOB: ServiceNumber = ServiceNumber(10_002);
const CAY: ServiceNumber = ServiceNumber(10_003);

type Files = BTreeMap<String, Vec<u8>>;

fn files(folder: &Path) -> Files {
    let entries = fs::read_dir(folder).unwrap().map(Result::unwrap);
    let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
    let entries = entries.filter(|entry| entry.path().is_file());
    entries.map(|entry| (name(&entry.path()), fs::read(entry.path()).unwrap())).collect()
}

/// A batch of a log: where it stands, and its first and last sequence number.
struct Place {
    file: PathBuf,
    start: usize,
    end: usize,
    first: u64,
    last: u64,
}

fn batches(folder: &Path) -> Vec<Place> {
    let storage = DiskStorage::read_only(folder);
    let mut reader = Reader::open(&storage).unwrap();
    let mut found = Vec::new();
    while let Step::Batch(batch) = reader.next_batch().unwrap() {
        let start = usize::try_from(batch.offset).unwrap();
        let end = start + usize::try_from(batch.header.total()).unwrap();
        let (first, last) = (batch.header.first.0, batch.header.last().0);
        found.push((batch.segment, start, end, first, last));
    }
    let file = |segment: usize| folder.join(&reader.segments()[segment].name);
    let place =
        |(segment, start, end, first, last)| Place { file: file(segment), start, end, first, last };
    found.into_iter().map(place).collect()
}

/// The batch that holds an event.
fn batch_of(folder: &Path, seq: u64) -> Place {
    let holds = |place: &Place| (place.first..=place.last).contains(&seq);
    batches(folder).into_iter().find(holds).expect("the event is in the log")
}

/// The first event of a kind that has this in its JSON.
fn event(folder: &Path, kind: &str, part: &str) -> u64 {
    let lines = result("replay", folder, &["--format", "json", "--kind", kind]);
    let line = lines.lines().find(|line| line.contains(part)).expect("it has happened");
    serde_json::from_str::<Value>(line).unwrap()["seq"].as_u64().unwrap()
}

fn change(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).unwrap();
    change(&mut bytes);
    fs::write(path, bytes).unwrap();
}

/// Makes a batch fail its check, without touching what its records name.
fn break_batch(place: &Place) {
    let checksum = place.end - 8;
    change(&place.file, |bytes| bytes[checksum..place.end].iter_mut().for_each(|byte| *byte ^= 1));
}

fn objects(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).expect(line)).collect()
}

/// What `verify` finds, without the last object; the log must be damaged.
fn findings(data: &Path) -> Vec<Value> {
    let (status, out, errors) = tool("verify", data, &["--format", "json"]);
    assert_eq!(status, Some(1), "{out}{errors}");
    let named = errors.contains(&format!("oicq-tools repair {} OUT", data.display()));
    assert!(named && errors.lines().count() == 1, "{errors}");
    let mut objects = objects(&out);
    let last = objects.pop().unwrap();
    assert_eq!(last["result"], "damaged");
    objects
}

fn of<'a>(objects: &'a [Value], result: &str) -> Vec<&'a Value> {
    objects.iter().filter(|object| object["result"] == result).collect()
}

fn repair(data: &Path, out: &Path, options: &[&str]) -> (Option<i32>, String, String) {
    let paths = [out.to_str().unwrap()];
    tool("repair", data, &[&paths, options].concat())
}

/// Repairs, and gives the last object; the damaged folder is as it was, and what was written is whole.
fn repaired(data: &Path, out: &Path) -> Value {
    let before = files(data);
    let (status, lines, errors) = repair(data, out, &["--format", "json"]);
    assert_eq!((status, &*errors), (Some(0), ""), "{lines}");
    assert!(files(data) == before, "the damaged folder is not touched");
    let last = objects(&lines).pop().unwrap();
    assert!(result("verify", out, &[]).contains("whole"));
    let expected =
        format!("digest {} seq {}\n", last["digest"].as_str().unwrap(), last["last_seq"]);
    assert_eq!(digest(out), expected);
    last
}

/// Three users, who are friends and have groups, and messages that wait for the first; the server is stopped.
fn story() -> Server {
    let mut server = Server::start(&[]);
    let (mut ann, mut bob, mut cay) = (server.user("ann"), server.user("bob"), server.user("cay"));
    ann.befriend(&mut bob);
    bob.befriend(&mut cay);
    bob.reply(Request::AddGroup { name: b"school" });
    ann.log_out();
    for index in 0..20 {
        bob.tell(ANN, &format!("message {index}"));
    }
    cay.tell(ANN, "from cay");
    server.stop_in_place();
    server
}

#[test]
fn a_message_that_is_damaged_is_lost_and_all_else_is_kept() {
    let server = story();
    let lost = event(server.data(), "message-sent", "message 7\"");
    let place = batch_of(server.data(), lost);
    assert_eq!((place.first, place.last), (lost, lost), "it stands alone");
    break_batch(&place);

    let found = findings(server.data());
    assert_eq!(found.len(), 1, "{found:?}");
    let expected = [
        ("result", Value::from("damage")),
        ("file", place.file.to_str().unwrap().into()),
        ("offset", place.start.into()),
        ("seq", lost.into()),
        ("lost_first", lost.into()),
        ("lost_last", lost.into()),
        ("end_unknown", false.into()),
        ("users", Value::Array(Vec::new())),
        ("users_perhaps", vec![ANN.0, BOB.0].into()),
    ];
    for (key, value) in expected {
        assert_eq!(found[0][key], value, "{key}");
    }
    let (_, text, _) = tool("verify", server.data(), &[]);
    for part in [&*format!("event {lost} is lost"), "perhaps users 10001, 10002", "damaged: "] {
        assert!(text.contains(part), "{part} in {text}");
    }

    let folder = folder();
    let out = folder.path().join("a/b");
    let last = repaired(server.data(), &out);
    assert_eq!(last["not_saved"], serde_json::json!([[lost, lost]]));
    assert_eq!((&last["result"], &last["written"]), (&"repaired".into(), &true.into()));
    let line = result("replay", &out, &["--kind", "lost"]);
    assert!(line.contains("what stood here could not be saved"), "{line}");
    let server = Server::start_on(&out, &[]);
    let expected: Vec<_> = (0..20)
        .filter(|index| *index != 7)
        .map(|index| format!("message {index}"))
        .chain(["from cay".to_owned()])
        .collect();
    assert_eq!(texts(&server.back(ANN).1), expected);
    let (mut bob, _) = server.back(BOB);
    bob.tell(ANN, "and on");
    server.stop();
}

#[test]
fn a_lost_registration_leaves_a_user_as_whom_nobody_logs_in() {
    let server = story();
    let lost = event(server.data(), "registered", "\"number\":10001");
    let place = batch_of(server.data(), lost);
    change(&place.file, |bytes| bytes[place.start..place.end].fill(0));
    let found = findings(server.data());
    let gone = of(&found, "registration-lost");
    assert_eq!(gone.len(), 1, "{found:?}");
    assert_eq!((&gone[0]["user"], &gone[0]["can_log_in"]), (&ANN.0.into(), &false.into()));
    assert_eq!(of(&found, "damage")[0]["users"], serde_json::json!([ANN.0]));
    assert!(of(&found, "nonsense").is_empty(), "all later events make sense: {found:?}");

    let folder = folder();
    let out = folder.path().join("out");
    let (status, text, errors) = repair(server.data(), &out, &[]);
    assert_eq!((status, &*errors), (Some(0), ""));
    assert!(text.contains("user 10001: the registration is lost; "), "{text}");
    assert!(text.contains("nobody can log in as it"), "{text}");
    let mut server = Server::start_on(&out, &["--login-failures", "0"]);
    for password in [PASSWORD, "AAAAAA", ""] {
        assert_eq!(server.connect().is_not_let_in(ANN, password).0, Code::BadLogin);
    }
    let mut bob = server.connect();
    let (reply, _) = bob.log_in_with(BOB, PASSWORD);
    let groups = groups(&reply);
    assert_eq!(groups[0].2, [ANN, CAY], "friends are kept");
    assert_eq!((groups[1].0, &*groups[1].1), (GroupNumber(2), "school"));
    bob.tell(ANN, "is anybody there?");
    assert_eq!(server.offline_user("dan"), ServiceNumber(10_004), "numbers go on");
    let said = server.stop_in_place().stderr;
    assert_eq!(said, "", "such a user is nothing to complain about");
}

#[test]
fn a_user_who_set_a_new_password_later_can_log_in_again() {
    let mut server = Server::start(&[]);
    let mut ann = server.user("ann");
    server.offline_user("bob");
    let profile = oicq::codec::profile::Profile { nickname: b"Ann", ..Default::default() };
    let password = oicq::codec::secret::Secret::new(b"another");
    let account = oicq::wire::client::Account { profile, password, authentication: 0 };
    ann.quietly(Request::ChangeProfile(account));
    server.stop_in_place();
    break_batch(&batch_of(server.data(), 1));
    let folder = folder();
    let out = folder.path().join("out");
    let (status, text, _) = repair(server.data(), &out, &[]);
    assert_eq!(status, Some(0));
    assert!(text.contains("a later change has set profile and password anew"), "{text}");
    let server = Server::start_on(&out, &[]);
    server.connect().log_in_with(ANN, "another");
}

#[test]
fn events_that_make_no_sense_without_what_is_lost_are_left_out_and_listed() {
    let server = Server::start(&[]);
    let (mut ann, mut bob) = (server.user("ann"), server.user("bob"));
    ann.befriend(&mut bob);
    bob.reply(Request::AddGroup { name: b"school" });
    bob.reply(Request::RenameGroup { group: GroupNumber(2), name: b"work" });
    ann.ask(Request::DeleteFriend { friend: BOB });
    bob.ask(Request::DeleteFriend { friend: ANN });
    let mut server = server;
    server.stop_in_place();
    let data = server.data();
    let lost =
        [event(data, "group-added", "school"), event(data, "friend-added", "\"owner\":10001")];
    let senseless =
        [event(data, "group-renamed", "work"), event(data, "friend-deleted", "\"owner\":10001")];
    let places = lost.map(|seq| batch_of(data, seq));
    for place in &places {
        break_batch(place);
    }
    let found = findings(data);
    let nonsense = of(&found, "nonsense");
    let mut expected = senseless;
    expected.sort_unstable();
    let seqs: Vec<_> = nonsense.iter().map(|object| object["seq"].as_u64().unwrap()).collect();
    assert_eq!(seqs, expected, "{found:?}");
    assert!(nonsense[0]["what"].as_str().unwrap().contains("group-renamed"), "{found:?}");
    assert_eq!(nonsense[0]["users"], serde_json::json!([BOB.0]));
    assert_eq!(nonsense[1]["users"], serde_json::json!([ANN.0, BOB.0]));
    let folder = folder();
    let last = repaired(data, &folder.path().join("out"));
    let lost: u64 = places.iter().map(|place| place.last - place.first + 1).sum();
    assert_eq!((&last["nonsense"], &last["lost"]), (&2.into(), &lost.into()));
}

/// A log of several files with messages for ann that are counted up, whose server was stopped.
fn rolled() -> (Server, Vec<PathBuf>) {
    let mut server = Server::start(&[]);
    server.offline_user("ann");
    let mut bob = server.user("bob");
    for index in 0..40 {
        bob.tell(ANN, &format!("{index} {}", "x".repeat(8_000)));
    }
    server.stop_in_place();
    let names = files(server.data()).into_keys().filter(|name| name.ends_with(".log"));
    let paths: Vec<_> = names.map(|name| server.data().join(name)).collect();
    assert!(paths.len() > 4, "{paths:?}");
    (server, paths)
}

/// The sequence number in a file's name.
fn number(path: &Path) -> u64 {
    path.file_stem().unwrap().to_str().unwrap().parse().unwrap()
}

/// Texts that ann gets of the messages that were counted up.
fn waiting(out: &Path) -> Vec<usize> {
    let server = Server::start_on(out, &[]);
    let texts = texts(&server.back(ANN).1);
    texts.iter().map(|text| text.split(' ').next().unwrap().parse().unwrap()).collect()
}

#[test]
fn every_sort_of_damage_costs_what_it_hits_and_no_more() {
    let (server, paths) = rolled();
    let whole = files(server.data());
    let places = batches(server.data());
    let len = |place: &Place| place.end - place.start;
    let twins = places.windows(2).map(|two| (&two[0], &two[1]));
    let mut twins = twins.filter(|(one, next)| one.file == next.file && len(one) == len(next));
    let twins = twins.next().expect("two messages of one length");
    // What becomes of the files, and which numbers are not saved for it.
    type Case<'a> = (&'a str, Box<dyn Fn() + 'a>, Vec<[u64; 2]>);
    let span = |from: usize, until: usize| [number(&paths[from]), number(&paths[until]) - 1];
    let fill = |place: &Place, byte: u8| {
        change(&place.file, |bytes| bytes[place.start..place.end].fill(byte));
    };
    let cases: Vec<Case<'_>> = vec![
        ("zeros", Box::new(|| fill(&places[8], 0)), vec![[places[8].first, places[8].last]]),
        ("ones", Box::new(|| fill(&places[8], 0xFF)), vec![[places[8].first, places[8].last]]),
        (
            "a batch twice",
            Box::new(|| {
                let (one, next) = twins;
                change(&one.file, |bytes| bytes.copy_within(one.start..one.end, next.start));
            }),
            vec![[twins.1.first, twins.1.last]],
        ),
        ("a file is gone", Box::new(|| fs::remove_file(&paths[1]).unwrap()), vec![span(1, 2)]),
        (
            "two files are gone",
            Box::new(|| {
                fs::remove_file(&paths[1]).unwrap();
                fs::remove_file(&paths[2]).unwrap();
            }),
            vec![span(1, 3)],
        ),
        (
            "the first file is gone",
            Box::new(|| fs::remove_file(&paths[0]).unwrap()),
            vec![span(0, 1)],
        ),
        ("a file is empty", Box::new(|| fs::write(&paths[2], b"").unwrap()), vec![span(2, 3)]),
        (
            "the first header",
            Box::new(|| change(&paths[0], |bytes| bytes[..4_096].fill(0))),
            vec![],
        ),
        ("another header", Box::new(|| change(&paths[2], |bytes| bytes[..512].fill(0x55))), vec![]),
        (
            "two files swapped",
            Box::new(|| {
                fs::rename(&paths[1], server.data().join("away")).unwrap();
                fs::rename(&paths[2], &paths[1]).unwrap();
                fs::rename(server.data().join("away"), &paths[2]).unwrap();
            }),
            vec![],
        ),
        (
            "a copy too many",
            Box::new(|| {
                let copy = server.data().join(format!("{:020}.log", 5_000_000));
                fs::copy(&paths[1], copy).unwrap();
            }),
            vec![],
        ),
        (
            "noise behind the end of a file",
            Box::new(|| {
                change(&paths[1], |bytes| {
                    let len = bytes.len();
                    bytes[len - 9] ^= 1;
                })
            }),
            vec![],
        ),
    ];
    for (what, damage, not_saved) in cases {
        damage();
        let found = findings(server.data());
        assert!(!of(&found, "damage").is_empty(), "{what}");
        let folder = folder();
        let out = folder.path().join("out");
        let last = repaired(server.data(), &out);
        assert_eq!(last["not_saved"], serde_json::json!(not_saved), "{what}");
        assert_eq!(last["last_seq"].as_u64(), places.last().map(|place| place.last), "{what}");
        let lost = |seq: u64| not_saved.iter().any(|[first, last]| (*first..=*last).contains(&seq));
        let registered = !lost(1);
        if registered {
            let sent = result("replay", &out, &["--kind", "message-sent", "--format", "json"]);
            assert_eq!(waiting(&out).len(), sent.lines().count(), "{what}");
        } else {
            let server = Server::start_on(&out, &[]);
            assert_eq!(server.connect().is_not_let_in(ANN, PASSWORD).0, Code::BadLogin, "{what}");
        }
        let _ = fs::remove_file(server.data().join(format!("{:020}.log", 5_000_000)));
        for (name, bytes) in &whole {
            fs::write(server.data().join(name), bytes).unwrap();
        }
    }
    assert_eq!(tool("verify", server.data(), &[]).0, Some(0));
}

#[test]
fn a_log_whose_end_is_gone_says_so() {
    let (server, paths) = rolled();
    let last = number(paths.last().unwrap());
    fs::remove_file(paths.last().unwrap()).unwrap();
    let found = findings(server.data());
    let damage = of(&found, "damage");
    assert_eq!(damage[0]["end_unknown"], true, "{found:?}");
    let (_, text, _) = tool("verify", server.data(), &[]);
    assert!(text.contains(&format!("all from event {last} on is lost")), "{text}");
    let folder = folder();
    let report = repaired(server.data(), &folder.path().join("out"));
    assert_eq!(report["last_seq"], last - 1);
}

#[test]
fn a_torn_end_is_left_behind_and_reported() {
    let mut server = Server::start(&[]);
    server.offline_user("ann");
    let mut bob = server.user("bob");
    bob.tell(ANN, "first");
    bob.tell(ANN, "second");
    server.kill();
    let place = batch_of(server.data(), event(server.data(), "message-sent", "second"));
    change(&place.file, |bytes| bytes[place.end - 8..place.end].fill(0));
    let folder = folder();
    let out = folder.path().join("out");
    let report = repaired(server.data(), &out);
    assert_eq!(
        (&report["result"], &report["torn"]["after"]),
        (&"whole".into(), &(place.first - 1).into())
    );
    assert!(files(&out).keys().all(|name| name.ends_with(".log") || LOCKS.contains(&&**name)));
}

#[test]
fn a_whole_log_is_copied_and_other_files_of_the_folder_are_left_behind() {
    let server = story();
    for name in ["next.tmp", "00000000000000000009.torn", "notes.txt"] {
        fs::write(server.data().join(name), b"left over").unwrap();
    }
    let folder = folder();
    let (status, text, errors) = repair(server.data(), folder.path(), &[]);
    assert_eq!((status, &*errors), (Some(0), ""), "an empty folder is as good as none");
    assert!(text.starts_with("nothing was lost\n"), "{text}");
    assert_eq!(digest(folder.path()), digest(server.data()));
    let names: Vec<_> = files(folder.path()).into_keys().collect();
    assert_eq!(names, [FIRST, "COMPACT", "LOCK"]);
    let replay = |data: &Path| result("replay", data, &[]);
    assert_eq!(replay(folder.path()), replay(server.data()), "times are kept too");
    let server = Server::start_on(folder.path(), &[]);
    assert_eq!(texts(&server.back(ANN).1).len(), 21);
}

#[test]
fn a_charset_and_a_segment_size_are_those_of_the_damaged_log() {
    let mut server = Server::start(&["--charset", "gb18030", "--segment-size", "128KiB"]);
    let ann = server.offline_user("ann");
    let mut bob = server.user("bob");
    bob.quietly(Request::Send { receiver: ann, content: &[0xC4, 0xE3, 0xBA, 0xC3] });
    bob.tell(ann, "x");
    server.stop_in_place();
    break_batch(batches(server.data()).last().unwrap());
    let folder = folder();
    let out = folder.path().join("out");
    repaired(server.data(), &out);
    assert_eq!(fs::metadata(out.join(FIRST)).unwrap().len(), 128 << 10);
    let shown = result("replay", &out, &["--kind", "message-sent"]);
    assert!(shown.contains("你好"), "{shown}");
}

#[test]
fn a_header_that_is_all_there_was_may_still_prove_itself() {
    let server = story();
    // The file's checksum is hit, what it says of the log is not.
    change(&server.data().join(FIRST), |bytes| bytes[84] ^= 1);
    let folder = folder();
    let last = repaired(server.data(), &folder.path().join("out"));
    assert_eq!(last["not_saved"], serde_json::json!([]));

    change(&server.data().join(FIRST), |bytes| bytes[..512].fill(0));
    let out = folder.path().join("other");
    let (status, lines, errors) = repair(server.data(), &out, &[]);
    assert_eq!((status, &*lines, errors.lines().count()), (Some(1), "", 1), "{errors}");
    assert!(errors.contains("no file's header can be read"), "{errors}");
    assert!(!out.exists(), "nothing is made for nothing");
}

/// A log of many small files, so that copying it takes its time.
fn long_log() -> Server {
    let mut server = Server::start(&["--segment-size", "16KiB", "--durability", "never"]);
    server.offline_user("ann");
    let mut bob = server.user("bob");
    let text = "x".repeat(4_000);
    for index in 0..240 {
        bob.tell(ANN, &format!("{index} {text}"));
    }
    server.stop_in_place();
    break_batch(&batches(server.data())[6]);
    server
}

#[test]
fn a_repair_that_was_killed_goes_on_where_it_stopped() {
    let server = long_log();
    let folder = folder();
    let (one, other) = (folder.path().join("one"), folder.path().join("other"));
    let expected = repaired(server.data(), &one);
    let mut killed = 0;
    for files_first in [1, 3, 9, 20] {
        let mut command = Command::new(tools_program());
        command.arg("repair").arg(server.data()).arg(&other);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        // Without a pause between two looks: it is to be met in the middle.
        while fs::read_dir(&other).map_or(0, Iterator::count) <= files_first
            && child.try_wait().unwrap().is_none()
        {}
        child.kill().unwrap();
        killed += usize::from(child.wait().unwrap().code().is_none());
    }
    assert!(killed > 0, "it was stopped in the middle");
    let last = repaired(server.data(), &other);
    assert_eq!(last["digest"], expected["digest"]);
    assert_eq!(last["not_saved"], expected["not_saved"]);
    let again = repaired(server.data(), &other);
    assert_eq!(again["written"], false, "all of it is there");
    let logs = |out: &Path| result("replay", out, &[]);
    assert_eq!(logs(&one), logs(&other));
}

#[test]
fn whatever_an_earlier_run_left_of_a_log_is_gone_on_with() {
    let server = long_log();
    let folder = folder();
    let done = folder.path().join("done");
    let expected = repaired(server.data(), &done);
    let whole = files(&done);
    let places = batches(&done);
    let names: Vec<_> = whole.keys().filter(|name| name.ends_with(".log")).cloned().collect();
    for (case, cut) in [0, 1, 2, 7, places.len() / 2, places.len() - 1].into_iter().enumerate() {
        let out = folder.path().join(format!("out-{case}"));
        fs::create_dir(&out).unwrap();
        let place = &places[cut];
        let file = place.file.file_name().unwrap().to_str().unwrap();
        for name in names.iter().filter(|name| name.as_str() <= file) {
            let mut bytes = whole[name].clone();
            if name == file {
                // The batch was being written: half of it is there, and nothing behind.
                bytes[512..1_536].fill(0);
                bytes[(place.start + place.end) / 2..].fill(0);
            }
            fs::write(out.join(name), bytes).unwrap();
        }
        fs::write(out.join("next.tmp"), [0; 4_096]).unwrap();
        let last = repaired(server.data(), &out);
        assert_eq!((&last["written"], &last["digest"]), (&true.into(), &expected["digest"]));
        let left = files(&out);
        assert!(
            left.keys().all(|name| LOCKS.contains(&&**name) || names.contains(name)),
            "cut at {cut}"
        );
    }
}

#[test]
fn a_folder_that_holds_anything_else_is_left_as_it_is() {
    let server = story();
    break_batch(&batches(server.data())[4]);
    let folder = folder();
    let at = |name: &str| folder.path().join(name);
    let done = at("done");
    repaired(server.data(), &done);

    let gone_on = at("gone on");
    repaired(server.data(), &gone_on);
    let mut later = Server::start_on(&gone_on, &[]);
    later.offline_user("dan");
    later.stop_in_place();

    let other = story();
    fs::create_dir(at("foreign")).unwrap();
    fs::write(at("foreign").join("notes.txt"), b"mine").unwrap();
    fs::create_dir(at("torn")).unwrap();
    fs::copy(done.join(FIRST), at("torn").join(FIRST)).unwrap();
    fs::write(at("torn").join("00000000000000000003.torn"), b"mine").unwrap();
    fs::create_dir(at("damaged")).unwrap();
    fs::copy(done.join(FIRST), at("damaged").join(FIRST)).unwrap();
    change(&at("damaged").join(FIRST), |bytes| bytes[4_096 + 60] ^= 1);
    fs::create_dir(at("changed")).unwrap();
    fs::copy(server.data().join(FIRST), at("changed").join(FIRST)).unwrap();
    fs::write(at("file"), b"mine").unwrap();
    symlink(server.data(), at("link")).unwrap();

    let cases = [
        (at("foreign"), "notes.txt"),
        (at("torn"), "00000000000000000003.torn"),
        (at("damaged"), "damaged"),
        (at("changed"), "damaged"),
        (gone_on, "goes on behind"),
        (other.data().to_owned(), "another log"),
        (at("file"), "file"),
        (at("link"), "is in"),
        (server.data().to_owned(), "is in"),
        (server.data().join("new"), "is in"),
        (server.data().join("../store/new"), "is in"),
        (folder.path().to_owned(), "it holds"),
        (PathBuf::from("/proc/no/store"), "/proc/no/store"),
    ];
    for (out, said) in cases {
        let before = out.is_dir().then(|| files(&out));
        let (status, lines, errors) = repair(server.data(), &out, &[]);
        assert_eq!(
            (status, &*lines, errors.lines().count()),
            (Some(1), "", 1),
            "{out:?}: {errors}"
        );
        assert!(errors.contains(said), "{said} in {errors}");
        assert!(out.is_dir().then(|| files(&out)) == before, "{out:?} is left as it is");
    }
    assert_eq!(fs::read(at("file")).unwrap(), b"mine");
    assert!(!server.data().join("new").exists());
}

#[test]
fn a_folder_in_use_is_left_to_its_server() {
    let damaged = story();
    break_batch(&batches(damaged.data())[4]);
    let folder = folder();
    let out = folder.path().join("out");
    repaired(damaged.data(), &out);
    let running = Server::start_on(&out, &[]);
    let (status, _, errors) = repair(damaged.data(), &out, &[]);
    assert_eq!((status, errors.lines().count()), (Some(1), 1), "{errors}");
    assert!(errors.contains("another repair, uses it"), "{errors}");
    assert_eq!(texts(&running.back(ANN).1).len(), 21);
    running.stop();
}

#[test]
fn repair_is_called_with_two_folders() {
    let folder = folder();
    let path = folder.path().to_str().unwrap();
    for (arguments, said) in [
        (&["repair"][..], "DIR"),
        (&["repair", path], "OUT"),
        (&["repair", path, path, "more"], "more"),
        (&["repair", path, path, "--format", "xml"], "--format"),
        (&["repair", path, path, "--force"], "--force"),
    ] {
        let output = tools(arguments);
        let errors = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0), "{arguments:?}");
        assert!(errors.contains(said) && errors.lines().count() == 1, "{arguments:?}: {errors}");
    }
    let (status, _, errors) = tool("repair", folder.path(), &["/nowhere/out"]);
    assert_eq!(status, Some(1), "{errors}");
    assert!(errors.contains("no log"), "{errors}");
}
