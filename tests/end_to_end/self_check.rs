//! The state's digests in a log: the server leaves them when it begins another file and when it stops, and a
//! build that makes another state of the same events is found by whoever reads the log.

use std::convert::Infallible;
use std::fs;
use std::path::Path;

use oicq::codec::packed::Receipts;
use oicq::codec::profile::Profile;
use oicq::id::{MonoMillis, Seq, ServiceNumber, UnixMillis};
use oicq::log::{DiskStorage, Durability, Log, Options, Reader, Step};
use oicq::state::{Authentication, Event, EventKind, RunningDigest, Stamp, State};
use serde_json::Value;
use tempfile::TempDir;

use crate::live::{Server, digest, fails, folder, result, stat, state, texts, tool};

const ANN: ServiceNumber = ServiceNumber(10_001);
const FIRST: &str = "00000000000000000001.log";

/// The kinds of each batch's events, file by file.
fn batches(data: &Path) -> Vec<Vec<Vec<u8>>> {
    let storage = DiskStorage::read_only(data);
    let mut reader = Reader::open(&storage).unwrap();
    let mut files = vec![Vec::new(); reader.segments().len()];
    while let Step::Batch(batch) = reader.next_batch().unwrap() {
        files[batch.segment].push(batch.records().map(|record| record.kind).collect());
    }
    files
}

fn is_digest(kind: &u8) -> bool {
    *kind == EventKind::StateDigest as u8
}

fn digests(data: &Path) -> usize {
    batches(data).iter().flatten().flatten().filter(|kind| is_digest(kind)).count()
}

/// A server whose log has several files, and who is still to get what.
fn rolled() -> (Server, ServiceNumber) {
    let server = Server::start(&["--segment-size", "16KiB"]);
    let (ann, mut bob) = (server.offline_user("ann"), server.user("bob"));
    for round in 0..40 {
        bob.tell(ann, &format!("{round} {}", "x".repeat(2_000)));
    }
    (server, ann)
}

#[test]
fn each_file_but_the_first_has_a_digest_in_its_first_batch_and_a_stop_leaves_one_more() {
    let (mut server, ann) = rolled();
    let data = server.data().to_owned();
    let files = batches(&data);
    assert!(files.len() > 4);
    for (index, file) in files.iter().enumerate() {
        let in_batch = |batch: &Vec<u8>| batch.iter().filter(|kind| is_digest(kind)).count();
        let counts: Vec<_> = file.iter().map(in_batch).collect();
        let rolled = usize::from(index > 0);
        assert_eq!((counts[0], counts.iter().sum()), (rolled, rolled), "file {index}: {file:?}");
        assert!(rolled == 0 || file[0].len() > 1, "no batch of its own: {:?}", file[0]);
    }
    let before = state(&data);
    server.stop_in_place();
    assert_eq!((digests(&data), state(&data)), (files.len(), before));
    assert!(
        batches(&data).into_iter().flatten().next_back().unwrap().last().is_some_and(is_digest)
    );

    // Whoever starts and stops without a change adds nothing.
    let last = digest(&data);
    let mut server = server.again().restart();
    server.stop_in_place();
    assert_eq!(digest(&data), last);
    let mut server = server.again();
    assert_eq!(texts(&server.back(ann).1).len(), 40);
    assert_eq!(server.stop_in_place().stderr, "");
    assert_eq!(digests(&data), files.len() + 1);
    assert!(result("verify", &data, &[]).starts_with("whole: "));
}

#[test]
fn a_new_log_on_which_nothing_happens_stays_empty() {
    let mut server = Server::start(&[]);
    server.stop_in_place();
    assert_eq!(stat(server.data(), "events"), 0);
}

#[test]
fn a_server_that_is_killed_leaves_no_last_digest_and_loses_nothing() {
    let (mut server, ann) = rolled();
    let data = server.data().to_owned();
    let before = (digest(&data), digests(&data));
    server.kill();
    let server = server.again();
    assert_eq!((digest(&data), digests(&data)), before);
    assert_eq!(texts(&server.back(ann).1).len(), 40);
}

#[test]
fn behind_a_base_the_digests_are_those_of_the_state_that_it_restores() {
    let (server, ann) = rolled();
    let data = server.data().to_owned();
    let server = server.restart();
    let middle = (stat(&data, "last_seq") / 2).to_string();
    let kept = |data: &Path| result("replay", data, &["--kind", "state-digest", "--from", &middle]);
    let (before, full) = (digest(&data), kept(&data));
    assert!(full.lines().count() > 2, "{full}");
    let (status, _, errors) = tool("compact", &data, &["--keep-since", &middle]);
    assert_eq!(status, Some(0), "{errors}");
    assert_eq!((digest(&data), kept(&data)), (before, full));
    let copy = folder();
    let (status, _, errors) = tool("backup", &data, &[copy.path().to_str().unwrap()]);
    assert_eq!(status, Some(0), "{errors}");
    assert!(result("verify", copy.path(), &[]).starts_with("whole: "));
    let server = server.restart();
    assert_eq!(texts(&server.back(ann).1).len(), 40);
}

/// Writes a log as a server would, each event a batch of its own.
struct Writer {
    folder: TempDir,
    log: Log<DiskStorage>,
    state: State,
    /// The digests that the log tells, by their sequence numbers.
    digests: Vec<(u64, String)>,
}

impl Writer {
    fn new() -> Self {
        let folder = folder();
        let storage = DiskStorage::create(folder.path()).unwrap();
        let options =
            Options { segment_size: 64 << 10, durability: Durability::Always, charset: 1 };
        let opened = Log::open(storage, options, 7, UnixMillis(1), |_| Ok::<_, Infallible>(()));
        let (log, state) = (opened.unwrap().0, State::default());
        let mut writer = Self { folder, log, state, digests: Vec::new() };
        let profile = Profile { nickname: b"ann", ..Profile::default() };
        let (authentication, password_hash) = (Authentication::Open, "$argon2id$");
        writer.add(&Event::Registered { number: ANN, authentication, password_hash, profile });
        writer
    }

    fn append(&mut self, event: &Event<'_>) -> Stamp {
        let (time, mut payload) = (UnixMillis(1), Vec::new());
        event.encode(&mut payload);
        let (seq, place) = self.log.append(time, event.kind() as u8, &payload).unwrap();
        self.log.commit(MonoMillis(0)).unwrap();
        Stamp { seq, time, place }
    }

    fn add(&mut self, event: &Event<'_>) {
        let stamp = self.append(event);
        self.state.apply(stamp, event, &mut |_| ()).unwrap();
    }

    fn say(&mut self, content: &[u8]) {
        self.add(&Event::MessageSent { from: ANN, to: ANN, content });
    }

    /// The digest of the state, or of another one.
    fn add_digest(&mut self, is_other: bool) {
        let mut bytes = self.state.running_digest().bytes();
        bytes[3] ^= u8::from(is_other);
        let digest = RunningDigest::from_bytes(bytes);
        let Stamp { seq, .. } = self.append(&Event::StateDigest { digest });
        self.digests.push((seq.0, digest.to_string()));
    }

    fn close(self) -> Planted {
        self.log.close().unwrap();
        Planted { folder: self.folder, digests: self.digests }
    }
}

/// A log in a folder.
struct Planted {
    folder: TempDir,
    digests: Vec<(u64, String)>,
}

impl Planted {
    /// Two messages and a digest, four times. From the digest number `differs` on, counted from 1, the digests
    /// are those of another state.
    fn new(differs: usize) -> Self {
        let mut writer = Writer::new();
        for round in 1..=4 {
            writer.say(b"one");
            writer.say(b"two");
            writer.add_digest(round >= differs);
        }
        writer.close()
    }

    fn data(&self) -> &Path {
        self.folder.path()
    }

    /// Breaks the first batch that holds this text.
    fn damage(&self, text: &[u8]) {
        let path = self.data().join(FIRST);
        let mut bytes = fs::read(&path).unwrap();
        let place = bytes.windows(text.len()).position(|part| part == text).unwrap();
        bytes[place] ^= 1;
        fs::write(&path, bytes).unwrap();
    }
}

/// The digests that a whole log tells, by their sequence numbers.
fn told(data: &Path) -> Vec<(u64, String)> {
    let lines = result("replay", data, &["--kind", "state-digest", "--format", "json"]);
    let told = |object: &Value| {
        (object["seq"].as_u64().unwrap(), object["digest"].as_str().unwrap().to_owned())
    };
    objects(&lines).iter().map(told).collect()
}

#[test]
fn a_log_whose_digests_agree_is_whole_whoever_wrote_it() {
    let planted = Planted::new(99);
    assert_eq!(planted.digests.iter().map(|(seq, _)| *seq).collect::<Vec<_>>(), [4, 7, 10, 13]);
    assert!(result("verify", planted.data(), &[]).starts_with("whole: 13 events"));
    let server = Server::start_on(planted.data(), &[]);
    assert_eq!(server.stop().stderr, "");
    assert_eq!(stat(planted.data(), "events"), 13, "the last event was a digest");
}

#[test]
fn no_server_starts_where_this_build_makes_another_state() {
    for (differs, since) in [(1, "no digest stands before it"), (3, "sequence number 7")] {
        let planted = Planted::new(differs);
        let data = planted.data();
        let (seq, _) = planted.digests[differs - 1];
        let (status, said) = fails(data, &[]);
        assert_eq!((status, said.lines().count()), (Some(1), 1), "{said}");
        for part in [
            FIRST,
            &format!("sequence number {seq}: the digest of another state than this build makes"),
            since,
            &format!("run: oicq-tools verify {}", data.display()),
        ] {
            assert!(said.contains(part), "{part:?} in {said}");
        }
    }
}

#[test]
fn tools_stop_at_the_first_digest_of_another_state() {
    let planted = Planted::new(3);
    let data = planted.data();
    let (status, shown, said) = tool("replay", data, &[]);
    assert_eq!((status, shown.lines().count()), (Some(1), 9), "all before it: {shown}");
    assert_eq!(said.lines().count(), 1);
    assert!(said.contains("sequence number 10 holds the digest of another state"), "{said}");
    assert!(said.contains("the last digest that agreed has sequence number 7"), "{said}");
    assert_eq!(result("replay", data, &["--until", "9"]), shown, "what is before it is shown");

    let copy = folder();
    let copy = copy.path().join("copy");
    let failing: [(&str, &[&str]); 3] =
        [("stat", &[]), ("backup", &[copy.to_str().unwrap()]), ("compact", &[])];
    for (command, options) in failing {
        let (status, out, said) = tool(command, data, options);
        assert_eq!((status, &*out), (Some(1), ""), "{command}: {said}");
        let last = said.lines().last().unwrap();
        assert!(last.contains("sequence number 10"), "{command}: {said}");
    }
    assert_eq!(result("replay", data, &["--until", "9"]), shown, "all is as it was");
}

fn objects(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).expect(line)).collect()
}

#[test]
fn verify_tells_another_build_from_damage_and_repair_takes_the_state_of_this_one() {
    let planted = Planted::new(3);
    let data = planted.data();
    let (status, out, said) = tool("verify", data, &[]);
    assert_eq!(status, Some(1));
    let lines: Vec<_> = out.lines().collect();
    assert_eq!(lines.len(), 2, "the first one says it: {out}");
    assert!(lines[0].starts_with("sequence number 10: the digest of another state"), "{out}");
    assert!(lines[1].starts_with("damaged: 13 events"), "{out}");
    assert_eq!(said.lines().count(), 1);
    let part = "this build makes another state of the events 8 to 10 than the one that wrote them";
    assert!(said.contains(part) && said.contains("oicq-tools repair"), "{said}");
    let (_, out, _) = tool("verify", data, &["--format", "json"]);
    let found = &objects(&out)[0];
    assert_eq!(
        (&found["result"], &found["seq"], &found["agreed"]),
        (&"other-state".into(), &10.into(), &7.into())
    );

    let folder = folder();
    let copy = folder.path().join("copy");
    let out = result("repair", data, &[copy.to_str().unwrap()]);
    assert!(
        out.contains("\n2 digests of the state written anew\nsaved: 11 events, 1 user"),
        "{out}"
    );
    assert!(!out.contains("not saved") && !out.contains("nothing was lost"), "{out}");
    assert!(result("verify", &copy, &[]).starts_with("whole: 13 events"));
    let server = Server::start_on(&copy, &[]);
    assert_eq!(server.stop().stderr, "");
}

#[test]
fn behind_a_loss_digests_are_written_anew_until_one_agrees() {
    let mut writer = Writer::new();
    writer.add_digest(false);
    writer.say(b"one");
    writer.add_digest(false);
    writer.say(b"two");
    writer.add_digest(false);
    let receipts = Receipts::pack([(ANN, Seq(4))]);
    writer.add(&Event::Delivered { receipts: Receipts::over(&receipts).unwrap() });
    writer.add_digest(false);
    writer.say(b"three");
    writer.add_digest(false);
    let planted = writer.close();
    let data = planted.data();
    assert_eq!(told(data), planted.digests);

    planted.damage(b"one");
    let (status, out, _) = tool("verify", data, &[]);
    assert_eq!((status, out.lines().count()), (Some(1), 2), "the damage alone: {out}");
    assert!(out.contains("event 3 is lost"), "{out}");
    let folder = folder();
    let copy = folder.path().join("copy");
    let out = result("repair", data, &[copy.to_str().unwrap(), "--format", "json"]);
    let report = objects(&out).pop().unwrap();
    assert_eq!((&report["events"], &report["digests_renewed"]), (&7.into(), &2.into()), "{out}");
    assert_eq!(report["not_saved"], serde_json::json!([[3, 3]]));
    // Once it was delivered, nothing shows any more whether the message was ever there.
    let same: Vec<_> = told(&copy).iter().zip(&planted.digests).map(|(a, b)| a == b).collect();
    assert_eq!(same, [true, false, false, true, true]);
    assert!(result("verify", &copy, &[]).starts_with("whole: 10 events"));
    let server = Server::start_on(&copy, &[]);
    assert_eq!(server.stop().stderr, "");
}

#[test]
fn behind_a_loss_that_has_left_no_trace_another_build_is_found_again() {
    let mut writer = Writer::new();
    writer.say(b"one");
    writer.add_digest(false);
    let receipts = Receipts::pack([(ANN, Seq(2))]);
    writer.add(&Event::Delivered { receipts: Receipts::over(&receipts).unwrap() });
    writer.add_digest(false);
    writer.say(b"two");
    writer.add_digest(true);
    let planted = writer.close();
    planted.damage(b"one");
    let (status, out, said) = tool("verify", planted.data(), &[]);
    let lines: Vec<_> = out.lines().collect();
    assert_eq!((status, lines.len()), (Some(1), 3), "{out}");
    assert!(lines[0].contains("event 2 is lost"), "{out}");
    assert!(lines[1].starts_with("sequence number 7: the digest of another state"), "{out}");
    assert!(said.contains("is damaged in 2 places"), "{said}");
}
