//! A campaign: random damage to random logs. Whatever is done to a log, what `repair` writes of it opens, every
//! event that it keeps is as it was, and every other number is listed.
//!
//! `OICQ_SEQUENCES=5000 cargo test --release --test end_to_end salvage` runs a longer one; `OICQ_SEED=N`
//! repeats one case.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use oicq::codec::packed::{Moves, Numbers, Receipts};
use oicq::codec::profile::Profile;
use oicq::compaction::{KeepSince, Plan};
use oicq::id::{GroupNumber, MonoMillis, Place, Seq, ServiceNumber, UnixMillis};
use oicq::log::{DiskStorage, Durability, End, Log, Options, Reader, Record, Step};
use oicq::state::{Authentication, Digest, Event, EventKind, Stamp, State, sense};
use serde_json::Value;

use crate::chance::{Chance, seeds};
use crate::kit::golden::{Logged, WholeLog, read_log};
use crate::live::{folder, tool};

/// Random logs that are damaged in many ways: as many as give all kinds of events and of files.
const LOGS: usize = 6;
const EVENTS: usize = 330;
const SEQUENCES: u64 = 60;

/// What users say about themselves, so that a state is longer than one batch.
static LONG: [u8; 1_000] = [b'x'; 1_000];

/// A whole log, and what stands in it.
struct Original {
    files: BTreeMap<String, Vec<u8>>,
    logged: Vec<Logged>,
    /// The events of the last batch.
    last_batch: u64,
    digest: Digest,
}

fn originals() -> &'static [Original] {
    static ORIGINALS: OnceLock<Vec<Original>> = OnceLock::new();
    ORIGINALS.get_or_init(|| {
        let make = |seed| original(&mut Chance::new(seed as u64), seed % 2 == 0);
        (1..=LOGS).map(make).collect()
    })
}

/// Appends events that make sense, in batches of a few.
fn original(chance: &mut Chance, is_compacted: bool) -> Original {
    let folder = folder();
    let options = Options { segment_size: 16 << 10, durability: Durability::Always, charset: 1 };
    let storage = DiskStorage::create(folder.path()).unwrap();
    let opened =
        Log::open(storage, options, chance.next(), UnixMillis(1_000), |_| Ok::<_, Infallible>(()));
    let (mut log, _) = opened.unwrap();
    let mut state = State::default();
    let (mut time, mut last_batch) = (1_000, 0);
    while log.next_seq().0 <= EVENTS as u64 {
        time += chance.below(500) as u64;
        last_batch = 0;
        for _ in 0..=chance.below(3) {
            if let Some((kind, payload)) = random_event(&mut state, UnixMillis(time), chance) {
                log.append(UnixMillis(time), kind as u8, &payload).unwrap();
                last_batch += 1;
            }
        }
        // As at a server's rolling, and more often.
        if log.take_rolled() || log.next_seq().0 % 16 == 0 {
            let (kind, payload) = digest_event(&mut state, UnixMillis(time));
            log.append(UnixMillis(time), kind as u8, &payload).unwrap();
            last_batch += 1;
        }
        log.commit(MonoMillis(time)).unwrap();
        if chance.one_in(20) {
            log.housekeep(MonoMillis(time + 20)).unwrap();
        }
    }
    if chance.one_in(2) {
        log.close().unwrap();
    }
    let WholeLog { logged, state, .. } = read_log(folder.path());
    if is_compacted {
        let disk = DiskStorage::read_only(folder.path());
        let since = Some(KeepSince::Seq(Seq(EVENTS as u64 * 2 / 3)));
        let plan = Plan::new(&disk, since, |_| ()).unwrap().expect("there is something closed");
        let draft = plan.write(&disk, |_| ()).unwrap();
        draft.check(&disk, |_| ()).unwrap().publish(&disk).unwrap();
    }
    let digest = state.digest();
    let names = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name());
    let names = names.map(|name| name.into_string().unwrap());
    let names = names.filter(|name| name.ends_with(".log") || name.ends_with(".base"));
    let files = names.map(|name| (name.clone(), fs::read(folder.path().join(name)).unwrap()));
    Original { files: files.collect(), logged, last_batch, digest }
}

/// An event that fits, applied; `None` where none was found at once.
fn random_event(
    state: &mut State,
    time: UnixMillis,
    chance: &mut Chance,
) -> Option<(EventKind, Vec<u8>)> {
    let stamp = Stamp { seq: state.last_seq().next(), time, place: Place(0) };
    for _ in 0..20 {
        let users = u32::try_from(state.user_count()).unwrap();
        let mut user =
            || ServiceNumber(10_001 + u32::try_from(chance.below(users.max(1) as usize)).unwrap());
        let (one, other) = (user(), user());
        let group = GroupNumber(u8::try_from(1 + chance.below(4)).unwrap());
        let text = vec![b'a' + chance.byte() % 26; 1 + chance.below(120)];
        let moves = Moves::pack([(other, group)]);
        let receipts = Receipts::pack([(one, Seq(state.last_seq().0 / 2))]);
        let nickname = &text[..text.len().min(64)];
        let profile = Profile { nickname, description: &LONG, ..Profile::default() };
        let number = ServiceNumber(10_001 + users);
        let authentication = Authentication::Open;
        let event = match chance.below(24) {
            0 => Event::Registered { number, authentication, password_hash: "$", profile },
            2 => {
                let (authentication, password_hash) = (None, chance.one_in(2).then_some("$new"));
                match password_hash {
                    Some(password_hash) if text.len().is_multiple_of(3) => {
                        Event::PasswordRehashed { number: one, password_hash }
                    }
                    _ => Event::ProfileChanged {
                        number: one,
                        authentication,
                        password_hash,
                        profile,
                    },
                }
            }
            3 => Event::GroupAdded { owner: one, group, name: &profile.nickname[..1] },
            4 => Event::GroupRenamed { owner: one, group, name: profile.nickname },
            5 => Event::GroupDeleted { owner: one, group },
            6 => Event::FriendsMoved { owner: one, moves: Moves::over(&moves).unwrap() },
            7 => Event::FriendRequested { asker: one, friend: other, reason: &text },
            8 => Event::RequestRejected { asker: one, friend: other },
            9 => Event::FriendRefused { asker: one, friend: other },
            10..=13 => Event::FriendAdded { owner: one, friend: other, group, agreed: true },
            1 | 14 => Event::FriendDeleted { owner: one, friend: other },
            15 => {
                let left_out = Numbers::default();
                Event::MessageBroadcast { from: one, group, content: &text, left_out }
            }
            16 => Event::Delivered { receipts: Receipts::over(&receipts).unwrap() },
            17 => Event::MonitoringStarted { operator: one, watched: other },
            18 => Event::MonitoringEnded { operator: one },
            _ => Event::MessageSent { from: one, to: other, content: &text },
        };
        if sense::check(state, &event).is_ok() && state.apply(stamp, &event, &mut |_| ()).is_ok() {
            return Some(encoded(&event));
        }
    }
    None
}

/// The state's digest, compared.
fn digest_event(state: &mut State, time: UnixMillis) -> (EventKind, Vec<u8>) {
    let stamp = Stamp { seq: state.last_seq().next(), time, place: Place(0) };
    let event = Event::StateDigest { digest: state.running_digest() };
    state.apply(stamp, &event, &mut |_| ()).unwrap();
    encoded(&event)
}

fn encoded(event: &Event<'_>) -> (EventKind, Vec<u8>) {
    let mut payload = Vec::new();
    event.encode(&mut payload);
    (event.kind(), payload)
}

/// Does something to the files; tells what.
fn damage(files: &mut BTreeMap<String, Vec<u8>>, chance: &mut Chance) -> String {
    let names: Vec<_> = files.keys().cloned().collect();
    let Some(name) = names.get(chance.below(names.len().max(1))).cloned() else {
        return "nothing is left".to_owned();
    };
    let bytes = files.get_mut(&name).expect("it is one of the names");
    let len = bytes.len().max(1);
    let at = chance.below(len);
    let short = 1 + chance.below(64);
    let part = at..(at + short).min(bytes.len());
    match chance.below(12) {
        0..=3 => {
            let bit = 1 << chance.below(8);
            bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= bit);
            format!("{name}: bit {bit} of byte {at}")
        }
        4 => {
            let sectors = at / 512 * 512..((at / 512 + 1 + chance.below(3)) * 512).min(bytes.len());
            let fill = chance.pick(&[0, 0xFF, 0x5A]);
            bytes[sectors.clone()].fill(fill);
            format!("{name}: {sectors:?} filled with {fill}")
        }
        5 => {
            for byte in &mut bytes[part.clone()] {
                *byte = chance.byte();
            }
            format!("{name}: noise in {part:?}")
        }
        6 => {
            bytes.truncate(at);
            format!("{name}: cut at {at}")
        }
        7 => {
            bytes.extend((0..short).map(|_| chance.byte()));
            format!("{name}: {short} bytes more")
        }
        8 => {
            let to = chance.below(len.saturating_sub(short).max(1)) / 8 * 8;
            let from = part.start..part.end.min(part.start + bytes.len().saturating_sub(to));
            bytes.copy_within(from.clone(), to);
            format!("{name}: {from:?} copied to {to}")
        }
        9 => {
            files.remove(&name);
            format!("{name}: gone")
        }
        10 => {
            let other = chance.pick(&names);
            let (one, two) = (files[&name].clone(), files[&other].clone());
            files.insert(name.clone(), two);
            files.insert(other.clone(), one);
            format!("{name} and {other}: swapped")
        }
        _ => {
            let other = format!("{:020}.log", 1 + chance.below(500));
            let copy = files[&name].clone();
            files.insert(other.clone(), copy);
            format!("{name}: copied to {other}")
        }
    }
}

fn write(folder: &Path, files: &BTreeMap<String, Vec<u8>>) {
    fs::create_dir(folder).unwrap();
    for (name, bytes) in files {
        fs::write(folder.join(name), bytes).unwrap();
    }
}

/// Repairs a log with one to four damages, and checks all that is promised. Answers whether there was
/// anything to write.
fn campaign(seed: u64) -> bool {
    let chance = &mut Chance::new(seed);
    let original = &originals()[chance.below(LOGS)];
    let mut files = original.files.clone();
    let done: Vec<_> = (0..=chance.below(4)).map(|_| damage(&mut files, chance)).collect();
    let what = format!("seed {seed}: {}", done.join("; "));
    let folder = folder();
    let (data, out) = (folder.path().join("data"), folder.path().join("out"));
    write(&data, &files);
    let arguments = [out.to_str().unwrap(), "--format", "json"];
    let (status, lines, errors) = tool("repair", &data, &arguments);
    let (verified, _, said) = tool("verify", &data, &[]);
    for (name, bytes) in &files {
        assert!(fs::read(data.join(name)).unwrap() == *bytes, "{what}: {name} was touched");
    }
    if status != Some(0) {
        assert!(errors.lines().count() == 1 && !out.exists(), "{what}: {errors}");
        let nothing = ["no file's header can be read", "there is no log here", "newer"];
        assert!(nothing.iter().any(|why| errors.contains(why)), "{what}: {errors}");
        assert_eq!(verified, Some(1), "{what}");
        return false;
    }
    assert_eq!(errors, "", "{what}");
    let report = check(original, &out, &lines, &what);
    let whole = report["result"] == "whole";
    assert!(whole || verified == Some(1), "{what}: {said}");
    assert_eq!(tool("verify", &out, &[]).0, Some(0), "{what}");
    let (_, again, _) = tool("repair", &data, &arguments);
    let again: Value = serde_json::from_str(again.lines().last().unwrap()).unwrap();
    let same = (&again["written"], &again["digest"]);
    assert_eq!(same, (&false.into(), &report["digest"]), "{what}");
    true
}

/// Reads a log that must be whole: up to which number it begins with a state, its events, and the state.
fn read_out(folder: &Path) -> (u64, Vec<Logged>, State) {
    let storage = DiskStorage::read_only(folder);
    let mut reader = Reader::open(&storage).unwrap();
    let (mut base, mut logged, mut state) = (0, Vec::new(), State::default());
    loop {
        match reader.next_batch().unwrap() {
            Step::Batch(batch) => {
                for record in batch.records() {
                    let Record { seq, time, place, in_base, kind, payload } = record;
                    let stamp = Stamp { seq, time, place };
                    state.take_record(stamp, in_base, kind, payload).unwrap();
                    if in_base {
                        base = seq.0;
                    } else {
                        logged.push(Logged { time, kind, payload: payload.to_vec() });
                    }
                }
            }
            Step::End(end) => {
                assert_eq!(end, End::Whole);
                return (base, logged, state);
            }
        }
    }
}

/// Compares what was written with what there was.
fn check(original: &Original, out: &Path, lines: &str, what: &str) -> Value {
    let report: Value = serde_json::from_str(lines.lines().last().unwrap()).unwrap();
    let pairs: Vec<[u64; 2]> = serde_json::from_value(report["not_saved"].clone()).unwrap();
    let listed = |seq: u64| pairs.iter().any(|[first, last]| (*first..=*last).contains(&seq));
    let (base, repaired, state) = read_out(out);
    assert_eq!(report["digest"], state.digest().to_string(), "{what}");
    assert_eq!(state.find_contradiction(), None, "{what}");
    let (mut kept, mut renewed) = (0, 0);
    for (seq, logged) in (base + 1..).zip(&repaired) {
        let source = original.logged.get(usize::try_from(seq).unwrap() - 1);
        if listed(seq) {
            let filler = [EventKind::Lost as u8, EventKind::Registered as u8];
            assert!(filler.contains(&logged.kind), "{what}: {seq} holds kind {}", logged.kind);
        } else if source.is_some_and(|source| is_other_digest(source, logged)) {
            renewed += 1;
        } else {
            assert_eq!(Some(logged), source, "{what}: sequence number {seq}");
            kept += 1;
        }
    }
    assert_eq!(
        (&report["events"], &report["digests_renewed"]),
        (&kept.into(), &renewed.into()),
        "{what}"
    );
    assert!(renewed == 0 || report["result"] == "repaired", "{what}");
    // What comes behind has left no trace: one batch alone looks like a torn end, and a second damage can hit
    // the note that would tell of more.
    let missing = (original.logged.len() as u64).saturating_sub(state.last_seq().0);
    if report["result"] == "whole" && missing == 0 {
        assert_eq!(state.digest(), original.digest, "{what}");
    }
    let quiet = lines.lines().count() == 1 && report["torn"].is_null();
    let explained = !quiet || missing <= original.last_batch || what.contains("; ");
    assert!(explained, "{what}: {missing} events vanish in silence");
    report
}

/// Whether both are digests, at the same time, of different states.
fn is_other_digest(one: &Logged, other: &Logged) -> bool {
    let kind = EventKind::StateDigest as u8;
    (one.kind, other.kind) == (kind, kind) && one.time == other.time && one != other
}

#[test]
fn whatever_is_damaged_what_is_saved_is_as_it_was_and_the_rest_is_listed() {
    let all: Vec<_> = seeds(SEQUENCES).collect();
    let written = all.iter().filter(|seed| campaign(**seed)).count();
    assert!(written * 10 >= all.len() * 8 || all.len() == 1, "{written} of {}", all.len());
}

#[test]
fn the_logs_of_the_campaign_hold_all_that_can_be_in_a_log() {
    let mut kinds: Vec<_> =
        originals().iter().flat_map(|one| &one.logged).map(|l| l.kind).collect();
    kinds.sort_unstable();
    kinds.dedup();
    let all = EventKind::ALL.iter().filter(|kind| **kind != EventKind::Lost);
    assert_eq!(kinds, all.map(|kind| *kind as u8).collect::<Vec<_>>());
    assert!(originals().iter().all(|original| original.files.len() >= 2), "they have rolled");
    let bases = originals().iter().flat_map(|one| &one.files);
    let bases: Vec<_> = bases.filter(|(name, _)| name.ends_with(".base")).collect();
    assert_eq!(bases.len(), LOGS / 2, "half of them are compacted");
    assert!(bases.iter().all(|(_, bytes)| bytes.len() > 24_000), "in several batches");
    let folder = folder();
    let data: PathBuf = folder.path().join("data");
    write(&data, &originals()[0].files);
    assert_eq!(tool("verify", &data, &[]).0, Some(0));
}
