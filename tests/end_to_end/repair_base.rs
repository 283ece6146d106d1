//! `verify` and `repair` over logs that were compacted: whose base is whole, and whose base is hit.

use std::fs;
use std::path::{Path, PathBuf};

use oicq::codec::profile::Profile;
use oicq::codec::secret::Secret;
use oicq::id::{Seq, ServiceNumber};
use oicq::log::format::{SegmentHeader, segment_name};
use oicq::log::{DiskStorage, Reader, Step};
use oicq::wire::client::Account;
use oicq::wire::server::ServerPacket;
use oicq::wire::{Code, Request};
use serde_json::Value;

use crate::live::{Client, PASSWORD, Server, digest, folder, groups, result, texts, tool};

const USERS: u32 = 60;
const FIRST: u32 = 10_001;

fn user(index: u32) -> ServiceNumber {
    ServiceNumber(FIRST + index)
}

/// Many users with much to say about themselves, each a friend of the one before, and a message for each from
/// the one after; compacted, with a few events behind that. The server is stopped.
fn compacted() -> Server {
    let mut server = Server::start(&[]);
    let description = "x".repeat(1_000);
    let mut client = server.connect();
    for index in 0..USERS {
        let nickname = format!("user {index}");
        let (nickname, description) = (nickname.as_bytes(), description.as_bytes());
        let profile = Profile { nickname, description, ..Profile::default() };
        let password = Secret::new(PASSWORD.as_bytes());
        client.send(Request::Register(Account { profile, password, authentication: 0 }));
        let got = client.get();
        assert!(matches!(got.packet(), ServerPacket::Registered { success: true, .. }), "{got:?}");
    }
    for index in 1..USERS {
        let mut one: Client = server.connect();
        one.log_in(user(index));
        one.ask(Request::AddFriend { friend: user(index - 1) });
        one.tell(user(index - 1), &format!("from {index}"));
        // A process that another test is just starting may hold the connection open, and what comes then has arrived.
        one.log_out();
    }
    server.stop_in_place();
    let (status, _, errors) = tool("compact", server.data(), &["--drop-black-box"]);
    assert_eq!(status, Some(0), "{errors}");
    let mut server = server.again();
    let mut last = server.back(user(USERS - 1)).0;
    last.tell(user(0), "behind the base");
    drop(last);
    server.stop_in_place();
    server
}

fn base(data: &Path) -> PathBuf {
    let mut names = fs::read_dir(data).unwrap().map(|entry| entry.unwrap().path());
    names.find(|path| path.extension().is_some_and(|end| end == "base")).expect("it was compacted")
}

/// Where the batches of the base begin and end.
fn base_batches(data: &Path) -> Vec<(usize, usize)> {
    let storage = DiskStorage::read_only(data);
    let mut reader = Reader::open(&storage).unwrap();
    let mut found = Vec::new();
    while let Step::Batch(batch) = reader.next_batch().unwrap() {
        if batch.base.is_some() {
            let start = usize::try_from(batch.offset).unwrap();
            found.push((start, start + usize::try_from(batch.header.total()).unwrap()));
        }
    }
    found
}

fn change(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).unwrap();
    change(&mut bytes);
    fs::write(path, bytes).unwrap();
}

fn objects(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).expect(line)).collect()
}

fn repair(data: &Path, out: &Path) -> Vec<Value> {
    let before = fs::read(base(data)).unwrap();
    let (status, lines, errors) =
        tool("repair", data, &[out.to_str().unwrap(), "--format", "json"]);
    assert_eq!((status, &*errors), (Some(0), ""), "{lines}");
    assert!(fs::read(base(data)).unwrap() == before, "the damaged folder is not touched");
    assert!(result("verify", out, &[]).contains("whole"));
    objects(&lines)
}

#[test]
fn a_compacted_log_that_is_whole_is_copied_with_its_base() {
    let server = compacted();
    let whole = result("verify", server.data(), &[]);
    assert!(whole.starts_with("whole: "), "{whole}");
    let folder = folder();
    let out = folder.path().join("out");
    let last = repair(server.data(), &out).pop().unwrap();
    assert_eq!((&last["result"], &last["users"]), (&"whole".into(), &USERS.into()));
    assert_eq!(digest(&out), digest(server.data()));
    assert_eq!(fs::read(base(&out)).unwrap(), fs::read(base(server.data())).unwrap());
    let again = repair(server.data(), &out).pop().unwrap();
    assert_eq!((&again["written"], &again["digest"]), (&false.into(), &last["digest"]));
    let server = Server::start_on(&out, &[]);
    let expected = ["from 1".to_owned(), "behind the base".to_owned()];
    assert_eq!(texts(&server.back(user(0)).1), expected, "texts are read from the new base");
}

#[test]
fn users_whose_part_of_a_base_is_lost_stay_as_numbers() {
    let server = compacted();
    let batches = base_batches(server.data());
    assert!(batches.len() > 3, "{batches:?}");
    let (start, end) = batches[1];
    change(&base(server.data()), |bytes| bytes[start + 60..end - 8].fill(0));
    let (status, lines, _) = tool("verify", server.data(), &["--format", "json"]);
    assert_eq!(status, Some(1));
    let found = objects(&lines);
    let damage = found.iter().find(|object| object["result"] == "damage").unwrap();
    assert!(damage["base_lost_first"].as_u64() < damage["base_lost_last"].as_u64(), "{damage}");
    assert_eq!(damage["lost_first"], Value::Null, "no event is lost");
    let gone = found.iter().filter(|object| object["result"] == "registration-lost");
    let gone: Vec<_> = gone.map(|object| object["user"].as_u64().unwrap()).collect();
    assert!(gone.len() > 5 && gone.is_sorted(), "{gone:?}");
    assert_eq!(damage["users"], serde_json::json!(gone));

    let folder = folder();
    let out = folder.path().join("out");
    let last = repair(server.data(), &out).pop().unwrap();
    assert_eq!((&last["result"], &last["users"]), (&"repaired".into(), &USERS.into()));
    let mut server = Server::start_on(&out, &["--login-failures", "0"]);
    for index in 0..USERS {
        let number = user(index);
        let mut client = server.connect();
        if gone.contains(&u64::from(number.0)) {
            assert_eq!(client.is_not_let_in(number, PASSWORD).0, Code::BadLogin);
            continue;
        }
        let (reply, waited) = client.log_in_with(number, PASSWORD);
        let friends: Vec<_> = index.checked_sub(1).map(user).into_iter().collect();
        assert_eq!(groups(&reply)[0].2, friends, "user {index}");
        let own = format!("from {}", index + 1);
        let has_own = index + 1 == USERS || texts(&waited).contains(&own);
        assert!(has_own, "user {index} has its message: {waited:?}");
    }
    let said = server.stop_in_place().stderr;
    assert_eq!(said, "");
}

#[test]
fn any_one_batch_of_a_base_costs_what_it_held() {
    let server = compacted();
    let path = base(server.data());
    let (whole, batches) = (fs::read(&path).unwrap(), base_batches(server.data()));
    for (index, (start, _)) in batches.iter().enumerate() {
        change(&path, |bytes| bytes[start + 20] ^= 1);
        let folder = folder();
        let out = folder.path().join("out");
        let found = repair(server.data(), &out);
        let last = found.last().unwrap();
        assert_eq!(last["result"], "repaired", "batch {index}");
        assert_eq!(last["users"], USERS, "batch {index}: {found:?}");
        assert_eq!(last["not_saved"], serde_json::json!([]), "batch {index}");
        let server = Server::start_on(&out, &[]);
        assert_eq!(server.offline_user("new"), user(USERS), "numbers go on");
        fs::write(&path, &whole).unwrap();
    }
}

#[test]
fn the_header_of_a_base_is_not_needed_to_save_it() {
    let server = compacted();
    let whole = digest(server.data());
    for damage in [0..512, 512..1_024, 0..4_096] {
        let path = base(server.data());
        let before = fs::read(&path).unwrap();
        change(&path, |bytes| bytes[damage.clone()].fill(0));
        let (status, text, _) = tool("verify", server.data(), &[]);
        assert_eq!((status, text.lines().count()), (Some(1), 2), "{text}");
        let folder = folder();
        let out = folder.path().join("out");
        let last = repair(server.data(), &out).pop().unwrap();
        assert_eq!(last["result"], "whole", "{damage:?}: {text}");
        assert_eq!(digest(&out), whole);
        fs::write(path, before).unwrap();
    }
}

#[test]
fn a_run_that_was_stopped_behind_the_base_is_gone_on_with() {
    let server = compacted();
    let folder = folder();
    let done = folder.path().join("done");
    let expected = repair(server.data(), &done).pop().unwrap();
    let base_name = base(&done).file_name().unwrap().to_owned();
    for with_segment in [false, true] {
        let out = folder.path().join(format!("out-{with_segment}"));
        fs::create_dir(&out).unwrap();
        fs::copy(done.join(&base_name), out.join(&base_name)).unwrap();
        fs::write(out.join("base.tmp"), [0; 4_096]).unwrap();
        if with_segment {
            let seq: u64 =
                Path::new(&base_name).file_stem().unwrap().to_str().unwrap().parse().unwrap();
            let segment = format!("{:020}.log", seq + 1);
            let mut bytes = fs::read(done.join(&segment)).unwrap();
            bytes[512..].fill(0);
            fs::write(out.join(segment), bytes).unwrap();
        }
        let last = repair(server.data(), &out).pop().unwrap();
        assert_eq!((&last["written"], &last["digest"]), (&true.into(), &expected["digest"]));
        assert!(!out.join("base.tmp").exists());
    }
    // A base of another state is somebody else's.
    let other = compacted();
    let out = folder.path().join("other");
    fs::create_dir(&out).unwrap();
    let bytes = fs::read(base(other.data())).unwrap();
    fs::write(out.join(&base_name), &bytes).unwrap();
    let (status, _, errors) = tool("repair", server.data(), &[out.to_str().unwrap()]);
    assert_eq!((status, errors.lines().count()), (Some(1), 1), "{errors}");
    assert!(errors.contains("is left as it is"), "{errors}");
    assert!(fs::read(out.join(&base_name)).unwrap() == bytes);
}

/// A file behind the log's others, which begins at a number far ahead.
fn forge_behind(data: &Path, first: Seq) {
    let own = fs::read(data.join(segment_name(Seq(1)))).unwrap();
    let (own, _) = SegmentHeader::decode(&own[..4_096]).unwrap();
    let forged = SegmentHeader { first, durable: Seq(first.0 - 1), chain: 9, ..own.clone() };
    let (mut bytes, _) = forged.encode();
    bytes.resize(usize::try_from(own.size).unwrap(), 0);
    fs::write(data.join(segment_name(first)), bytes).unwrap();
}

#[test]
fn before_more_lost_numbers_than_can_be_filled_the_state_is_saved_and_a_server_goes_on_behind_them()
{
    let mut server = Server::start(&[]);
    let (mut ann, ben) = (server.user("ann"), server.offline_user("ben"));
    ann.ask(Request::AddFriend { friend: ben });
    ann.tell(ben, "hello");
    server.stop_in_place();
    let far = Seq(1 << 60);
    forge_behind(server.data(), far);

    let (status, said, _) = tool("verify", server.data(), &[]);
    assert_eq!(status, Some(1), "{said}");
    let own = folder();
    let out = own.path().join("out");
    let (status, said, errors) =
        tool("repair", server.data(), &[out.to_str().unwrap(), "--format", "json"]);
    assert_eq!((status, &*errors), (Some(0), ""), "{said}");
    let told = objects(&said);
    let told = told.last().unwrap();
    assert_eq!((&told["result"], &told["users"]), (&"repaired".into(), &2.into()), "{said}");
    assert_eq!(told["state_as_of"], far.0 - 1);
    assert_eq!(told["last_seq"], far.0 - 1);
    // The same again finds all of it there.
    let (status, said, _) = tool("repair", server.data(), &[out.to_str().unwrap()]);
    assert!(status == Some(0) && said.contains("all there already in"), "{said}");

    let server = Server::start_on(&out, &[]);
    let (mut ben, waited) = server.back(ben);
    assert_eq!(texts(&waited), ["hello"]);
    ben.tell(ann.own, "from afar");
    let mut server = server.crash();
    assert_eq!(texts(&server.back(ann.own).1), ["from afar"]);
    server.stop_in_place();
    assert_eq!(tool("verify", &out, &[]).0, Some(0));
}
