//! The walk over logs that no test from outside can make: with sectors that cannot be read, with events beyond
//! their limits, on a disk that does not read the same twice.

use std::borrow::Cow;
use std::cell::Cell;
use std::convert::Infallible;
use std::io;
use std::ops::Range;
use std::path::PathBuf;

use indicatif::ProgressBar;
use oicq::codec::profile::Profile;
use oicq::id::{GroupNumber, MonoMillis, Seq, ServiceNumber, UnixMillis};
use oicq::log::format::{
    BATCH_HEADER_LEN, BatchHeader, SegmentHeader, batch_len, checksum, encode_record_header,
    seed_of, segment_name,
};
use oicq::log::{
    Access, DiskFile, DiskStorage, Durability, Lock, Log, Options, Reader, Step, Storage,
    StoredFile,
};
use oicq::state::{Authentication, Event, EventKind, State, User, Waiting};
use tempfile::TempDir;

use super::{
    Base, Bytes, Salvaged, Sink, Stretch, Survey, Text, folded, survey, walk, write_json,
    write_text,
};
use crate::failure::Failure;

const OPTIONS: Options =
    Options { segment_size: 1 << 20, durability: Durability::Always, charset: 1 };

fn registered(number: u32, nickname: &'static [u8]) -> Event<'static> {
    Event::Registered {
        number: ServiceNumber(number),
        authentication: Authentication::Open,
        password_hash: "$",
        profile: Profile { nickname, ..Profile::default() },
    }
}

fn said(from: u32, to: u32, content: &'static [u8]) -> Event<'static> {
    Event::MessageSent { from: ServiceNumber(from), to: ServiceNumber(to), content }
}

/// A log with these events, each a batch of its own, at 1001 ms and so on.
fn log_of(events: &[Event<'_>]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let storage = DiskStorage::create(folder.path()).unwrap();
    let opened = Log::open(storage, OPTIONS, 7, UnixMillis(1_000), |_| Ok::<_, Infallible>(()));
    let mut log = opened.unwrap().0;
    for event in events {
        let mut payload = Vec::new();
        event.encode(&mut payload);
        let time = UnixMillis(1_000 + log.next_seq().0);
        log.append(time, event.kind() as u8, &payload).unwrap();
        log.commit(MonoMillis(0)).unwrap();
    }
    log.close().unwrap();
    folder
}

/// Where each batch begins and ends in the one file.
fn places(folder: &TempDir) -> Vec<Range<u64>> {
    let storage = DiskStorage::read_only(folder.path());
    let mut reader = Reader::open(&storage).unwrap();
    let mut places = Vec::new();
    while let Step::Batch(batch) = reader.next_batch().unwrap() {
        places.push(batch.offset..batch.offset + batch.header.total());
    }
    places
}

/// A disk that cannot read some bytes; from some call on, if that is said.
struct BadDisk {
    disk: DiskStorage,
    bad: Range<u64>,
    reads_left: Cell<usize>,
}

struct BadFile<'d> {
    file: DiskFile,
    disk: &'d BadDisk,
}

impl BadDisk {
    fn new(folder: &TempDir, bad: Range<u64>) -> Self {
        let disk = DiskStorage::read_only(folder.path());
        Self { disk, bad, reads_left: Cell::new(0) }
    }
}

fn read_only<T>() -> io::Result<T> {
    Err(io::ErrorKind::ReadOnlyFilesystem.into())
}

impl<'d> Storage for &'d BadDisk {
    type File = BadFile<'d>;

    fn lock(&mut self, _: Lock) -> io::Result<()> {
        read_only()
    }

    fn unlock(&mut self, _: Lock) {}

    fn list(&self) -> io::Result<Vec<String>> {
        self.disk.list()
    }

    fn open(&self, name: &str, access: Access) -> io::Result<BadFile<'d>> {
        assert_eq!(access, Access::Read, "a damaged log is only read");
        Ok(BadFile { file: self.disk.open(name, access)?, disk: self })
    }

    fn create(&self, _: &str) -> io::Result<BadFile<'d>> {
        read_only()
    }

    fn rename(&self, _: &str, _: &str) -> io::Result<()> {
        read_only()
    }

    fn remove(&self, _: &str) -> io::Result<()> {
        read_only()
    }

    fn sync_folder(&self) -> io::Result<()> {
        read_only()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.disk.path(name)
    }
}

impl StoredFile for BadFile<'_> {
    fn size(&self) -> io::Result<u64> {
        self.file.size()
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let bad = &self.disk.bad;
        if offset < bad.end && bad.start < offset + buffer.len() as u64 {
            let left = &self.disk.reads_left;
            if left.get() == 0 {
                buffer.fill(0xEE);
                return Err(io::Error::from_raw_os_error(5));
            }
            left.set(left.get() - 1);
        }
        self.file.read_at(buffer, offset)
    }

    fn write_at(&mut self, _: &[u8], _: u64) -> io::Result<()> {
        read_only()
    }

    fn reserve(&mut self, _: u64) -> io::Result<()> {
        read_only()
    }

    fn set_len(&mut self, _: u64) -> io::Result<()> {
        read_only()
    }

    fn sync_data(&self) -> io::Result<()> {
        read_only()
    }

    fn bytes(&self, _: u64, _: usize) -> io::Result<Cow<'_, [u8]>> {
        read_only()
    }
}

/// Keeps all that it is given: time, kind, payload of each record, and how many bases, with the texts that wait there.
#[derive(Default)]
struct Kept {
    records: Vec<(u64, EventKind, Vec<u8>)>,
    bases: usize,
    texts: Vec<Vec<u8>>,
}

impl Sink for Kept {
    fn take(&mut self, time: UnixMillis, records: &[Bytes<'_>]) -> Result<(), Failure> {
        let all = records.iter().map(|(kind, payload)| (time.0, *kind, payload.to_vec()));
        self.records.extend(all);
        Ok(())
    }

    fn take_base(&mut self, _: &Base, state: &State, text: &mut Text<'_>) -> Result<(), Failure> {
        self.bases += 1;
        let mut texts = Vec::new();
        let text = |waiting: &Waiting, out: &mut Vec<u8>| {
            let from = out.len();
            text(waiting, out)?;
            texts.push(out[from..].to_vec());
            Ok::<_, Failure>(())
        };
        state.keep(state.digest(), text, |_, _| Ok(()))?;
        self.texts.extend(texts);
        Ok(())
    }
}

impl Kept {
    fn kinds(&self) -> Vec<EventKind> {
        self.records.iter().map(|(_, kind, _)| *kind).collect()
    }
}

fn salvage<S: Storage>(storage: &S) -> (Survey, Salvaged, Kept) {
    let bar = ProgressBar::hidden();
    let survey = survey(storage, &bar).unwrap();
    let mut kept = Kept::default();
    let salvaged = walk(storage, &survey, &mut kept, &bar).unwrap();
    (survey, salvaged, kept)
}

fn lines(survey: &Survey, salvaged: &Salvaged) -> (Vec<String>, Vec<serde_json::Value>) {
    let (mut text, mut json) = (Vec::new(), Vec::new());
    write_text(survey, salvaged, &mut text).unwrap();
    write_json(survey, salvaged, &mut json).unwrap();
    let text = String::from_utf8(text).unwrap().lines().map(str::to_owned).collect();
    let json = String::from_utf8(json).unwrap();
    (text, json.lines().map(|line| serde_json::from_str(line).unwrap()).collect())
}

fn not_saved(survey: &Survey, salvaged: &Salvaged) -> Vec<(u64, u64)> {
    let all = salvaged.not_saved(survey);
    all.into_iter().map(|stretch| (stretch.first.0, stretch.last.0)).collect()
}

#[test]
fn a_sector_that_cannot_be_read_is_reported_and_gone_around() {
    let mut events = vec![registered(10_001, b"ann"), registered(10_002, b"bob")];
    events.extend((0..60).map(|_| said(10_001, 10_002, b"hello")));
    let folder = log_of(&events);
    let places = places(&folder);
    let sector = places[20].start / 512 * 512;
    let bad = sector..sector + 512;
    let hit = |place: &Range<u64>| place.start < bad.end && bad.start < place.end;
    let first = places.iter().position(hit).unwrap() as u64 + 1;
    let last = places.iter().rposition(hit).unwrap() as u64 + 1;
    let (survey, salvaged, kept) = salvage(&&BadDisk::new(&folder, bad));
    assert_eq!(not_saved(&survey, &salvaged), [(first, last)]);
    assert_eq!(kept.records.len(), events.len());
    for (seq, (time, kind, payload)) in (1..).zip(&kept.records) {
        if (first..=last).contains(&seq) {
            assert_eq!((*kind, &payload[..]), (EventKind::Lost, &b""[..]));
            assert_eq!(*time, 1_000 + first - 1, "the time of the last one before");
        } else {
            let mut expected = Vec::new();
            events[usize::try_from(seq).unwrap() - 1].encode(&mut expected);
            assert_eq!((*time, payload), (1_000 + seq, &expected));
        }
    }
    let (text, json) = lines(&survey, &salvaged);
    assert_eq!((text.len(), json.len()), (1, 1));
    let part = format!("512 bytes at offset {sector} cannot be read: Input/output error");
    assert!(text[0].contains(&part), "{text:?}");
    let part = format!("events {first} to {last} are lost; which users it touches is not known");
    assert!(text[0].contains(&part), "{text:?}");
    let nobody = serde_json::json!([]);
    assert_eq!((&json[0]["users"], &json[0]["users_perhaps"]), (&nobody, &nobody));
    assert!(json[0]["what"].as_str().unwrap().contains("cannot be read"), "{json:?}");
}

#[test]
fn a_disk_that_does_not_read_the_same_twice_is_not_relied_on() {
    let events: Vec<_> = (10_001..10_040).map(|number| registered(number, b"ann")).collect();
    let folder = log_of(&events);
    let place = places(&folder)[10].clone();
    let disk = BadDisk::new(&folder, place);
    let bar = ProgressBar::hidden();
    disk.reads_left.set(usize::MAX);
    let good = survey(&&disk, &bar).unwrap();
    assert!(good.harms.is_empty());
    disk.reads_left.set(0);
    let Err(Failure::Failed(why)) = walk(&&disk, &good, &mut (), &bar) else {
        panic!("it went on")
    };
    assert!(why.contains("does not read the same twice"), "{why}");
    let bad = survey(&&disk, &bar).unwrap();
    assert_eq!(bad.harms.len(), 1);
    disk.reads_left.set(usize::MAX);
    let Err(Failure::Failed(why)) = walk(&&disk, &bad, &mut (), &bar) else { panic!("it went on") };
    assert!(why.contains("does not read the same twice"), "{why}");
}

#[test]
fn lost_registrations_are_shown_by_later_ones_and_by_who_is_named() {
    let events = [
        registered(10_001, b"ann"),
        registered(10_002, b"bob"),
        said(10_001, 10_002, b"hello"),
        registered(10_003, b"cay"),
        registered(10_004, b"dan"),
        registered(10_005, b"eve"),
        said(10_001, 10_005, b"hello"),
        said(10_006, 10_001, b"nobody knows this one"),
    ];
    let folder = log_of(&events);
    let places = places(&folder);
    let storage = DiskStorage::read_only(folder.path());
    let name = storage.list().unwrap().into_iter().find(|name| name.ends_with(".log")).unwrap();
    let path = folder.path().join(name);
    let mut bytes = std::fs::read(&path).unwrap();
    for lost in [1, 3, 5] {
        bytes[usize::try_from(places[lost].start).unwrap() + 60] ^= 1;
    }
    std::fs::write(&path, bytes).unwrap();
    let (survey, salvaged, kept) = salvage(&storage);
    assert_eq!(not_saved(&survey, &salvaged), [(2, 2), (4, 4), (6, 6), (8, 8)]);
    let substitute = EventKind::Registered;
    assert_eq!(
        kept.kinds()[1..6],
        [substitute, EventKind::MessageSent, substitute, EventKind::Registered, substitute]
    );
    assert_eq!(kept.kinds()[7], EventKind::Lost, "nothing shows that there was such a user");
    let nickname = |user: &User| String::from_utf8_lossy(user.profile().nickname).into_owned();
    let users = salvaged.state.users();
    let numbers: Vec<_> = users.map(|(number, user)| (number.0, nickname(user))).collect();
    let (text, json) = lines(&survey, &salvaged);
    let named = |nickname: &str| nickname.to_owned();
    assert_eq!(numbers.len(), 5, "{text:?}");
    assert_eq!(numbers[1], (10_002, named("?")));
    assert_eq!(numbers[3], (10_004, named("dan")));
    assert!(!salvaged.can_log_in(ServiceNumber(10_002)));
    assert!(salvaged.can_log_in(ServiceNumber(10_001)));
    let lost = json.iter().filter(|object| object["result"] == "registration-lost");
    let lost: Vec<_> = lost.map(|object| object["user"].as_u64().unwrap()).collect();
    assert_eq!(lost, [10_002, 10_003, 10_005]);
    assert!(text.iter().any(|line| line.starts_with("sequence number 8: a message-sent event")));
}

#[test]
fn what_is_beyond_its_limit_is_left_out_and_a_registration_keeps_its_number() {
    static LONG: [u8; 9_000] = [b'x'; 9_000];
    let (owner, group) = (ServiceNumber(10_002), GroupNumber(2));
    let folder = log_of(&[
        registered(10_001, &LONG[..65]),
        registered(10_002, b"bob"),
        said(10_002, 10_001, &LONG[..8_192]),
        said(10_002, 10_001, &LONG[..8_193]),
        Event::GroupAdded { owner, group, name: b"" },
        Event::GroupAdded { owner, group, name: b"school" },
    ]);
    let (survey, salvaged, kept) = salvage(&DiskStorage::read_only(folder.path()));
    assert_eq!(not_saved(&survey, &salvaged), [(1, 1), (4, 5)]);
    assert_eq!((salvaged.kept, salvaged.lost, salvaged.senseless), (3, 0, 3));
    assert!(salvaged.opens(), "a server starts on such a log");
    assert_eq!(kept.kinds()[0], EventKind::Registered);
    let (text, _) = lines(&survey, &salvaged);
    for (line, part) in text.iter().zip([
        "sequence number 1: a registered event whose nickname has 65 bytes, 1 to 64 are allowed",
        "user 10001: the registration is lost",
        "sequence number 4: a message-sent event whose content has 8193 bytes",
        "sequence number 5: a group-added event whose name has 0 bytes",
    ]) {
        assert!(line.starts_with(part), "{part} in {text:?}");
    }
    assert_eq!(text.len(), 4, "{text:?}");
}

/// A log of so many registrations in small files; the files in order.
fn rolled(count: u32) -> (TempDir, Vec<PathBuf>) {
    let folder = tempfile::tempdir().unwrap();
    let storage = DiskStorage::create(folder.path()).unwrap();
    let options = Options { segment_size: 16 << 10, ..OPTIONS };
    let opened = Log::open(storage, options, 7, UnixMillis(1_000), |_| Ok::<_, Infallible>(()));
    let mut log = opened.unwrap().0;
    for index in 0..count {
        let mut payload = Vec::new();
        registered(10_001 + index, b"ann").encode(&mut payload);
        log.append(UnixMillis(2_000), EventKind::Registered as u8, &payload).unwrap();
        if index % 100 == 99 {
            log.commit(MonoMillis(0)).unwrap();
        }
    }
    log.close().unwrap();
    let names = DiskStorage::read_only(folder.path()).list().unwrap();
    let names = names.into_iter().filter(|name| name.ends_with(".log"));
    let mut paths: Vec<_> = names.map(|name| folder.path().join(name)).collect();
    paths.sort();
    (folder, paths)
}

#[test]
fn more_lost_events_than_one_batch_of_fillers_has_are_filled() {
    let (folder, paths) = rolled(9_000);
    for path in &paths[..paths.len() - 1] {
        std::fs::remove_file(path).unwrap();
    }
    let (survey, salvaged, kept) = salvage(&DiskStorage::read_only(folder.path()));
    assert_eq!((salvaged.state.user_count(), kept.records.len()), (9_000, 9_000));
    assert_eq!(salvaged.lost + salvaged.kept, 9_000);
    assert!(salvaged.lost > 8_192 && salvaged.lost < 9_000, "{}", salvaged.lost);
    assert!(
        kept.records.iter().all(|(time, ..)| *time == 2_000),
        "the time of the first that there is"
    );
    let (text, json) = lines(&survey, &salvaged);
    assert_eq!(text.len(), 2, "users in a row are one line: {text:?}");
    assert_eq!(json.len() as u64, 1 + salvaged.lost);
    assert_eq!(salvaged.state.last_seq(), Seq(9_000));
}

#[test]
fn the_names_of_files_that_cannot_be_read_tell_of_events_within_reason() {
    let (folder, paths) = rolled(3_000);
    let number = |path: &PathBuf| path.file_stem().unwrap().to_str().unwrap().parse().unwrap();
    let first: u64 = number(&paths[paths.len() - 2]);
    let last: u64 = number(&paths[paths.len() - 1]);
    for path in &paths[paths.len() - 2..] {
        std::fs::write(path, b"").unwrap();
    }
    let storage = DiskStorage::read_only(folder.path());
    let (survey, salvaged, kept) = salvage(&storage);
    assert_eq!(not_saved(&survey, &salvaged), [(first, last - 1)]);
    assert_eq!(kept.records.len() as u64, last - 1);
    let (text, json) = lines(&survey, &salvaged);
    assert!(text[0].contains(&format!("events {first} to {} are lost", last - 1)), "{text:?}");
    assert!(text[1].contains(&format!("all from event {last} on is lost")), "{text:?}");
    let unknown: Vec<_> = json.iter().map(|object| object["end_unknown"] == true).collect();
    assert_eq!(unknown, [false, true]);

    let wild = folder.path().join(format!("{:020}.log", 5_000_000_000_000_u64));
    std::fs::write(wild, b"").unwrap();
    let (survey, salvaged, _) = salvage(&storage);
    assert_eq!(not_saved(&survey, &salvaged), [(first, last - 1)]);
    let (text, _) = lines(&survey, &salvaged);
    assert!(text.iter().skip(1).all(|line| line.contains("on is lost")), "{text:?}");
}

#[test]
fn events_that_only_a_newer_version_knows_are_named() {
    let folder = log_of(&[registered(10_001, b"ann"), said(10_001, 10_001, b"x")]);
    let storage = DiskStorage::create(folder.path()).unwrap();
    let opened = Log::open(storage, OPTIONS, 7, UnixMillis(0), |_| Ok::<_, Infallible>(()));
    let mut log = opened.unwrap().0;
    log.append(UnixMillis(3_000), 200, b"of tomorrow").unwrap();
    log.close().unwrap();
    let (survey, salvaged, _) = salvage(&DiskStorage::read_only(folder.path()));
    assert_eq!(survey.newer.map(|(seq, _)| seq), Some(Seq(3)));
    assert_eq!(salvaged.places(), 1);
}

/// A log's numbers up to which everything is honest in the tests that follow: two users, and a message that waits.
const HONEST: u64 = 3;
/// No log comes so far in the time that there is.
const FAR: Seq = Seq(1 << 60);

fn honest() -> [Event<'static>; 3] {
    [registered(10_001, b"ann"), registered(10_002, b"bob"), said(10_001, 10_002, b"hello")]
}

/// A batch as the format has it, of one event, with any number.
fn forged_batch(event: &Event<'_>, first: Seq, durable: Seq, chain: u32) -> Vec<u8> {
    let mut payload = Vec::new();
    event.encode(&mut payload);
    let mut record = encode_record_header(event.kind() as u8, payload.len()).to_vec();
    record.extend(payload);
    let payload_len = u32::try_from(record.len()).unwrap();
    let time = UnixMillis(5_000);
    let header = BatchHeader { payload_len, first, time, durable, count: 1, flags: 0, chain };
    let mut bytes = vec![0; BATCH_HEADER_LEN];
    let sum = header.encode(seed_of(7), &mut bytes);
    bytes.extend(&record);
    bytes.extend(checksum(sum, &record).to_be_bytes());
    bytes.resize(usize::try_from(batch_len(record.len())).unwrap(), 0);
    bytes
}

/// A file that begins at a number far ahead and holds one event, with the name that it should have.
fn forge_file(folder: &TempDir, event: &Event<'_>) {
    let (charset, size, created) = (OPTIONS.charset, 16 << 10, UnixMillis(5_000));
    let (first, durable) = (FAR, Seq(FAR.0 - 1));
    let header = SegmentHeader {
        charset,
        is_base: false,
        weak: false,
        log_id: 7,
        generation: 0,
        first,
        durable,
        size,
        created,
        chain: 9,
    };
    let (mut bytes, crc) = header.encode();
    bytes.extend(forged_batch(event, first, durable, crc));
    bytes.resize(16 << 10, 0);
    std::fs::write(folder.path().join(segment_name(first)), bytes).unwrap();
}

#[test]
fn a_batch_with_a_number_that_its_file_has_no_room_for_hides_none_behind_it() {
    let mut events = honest().to_vec();
    events.push(said(10_002, 10_001, b"to be forged"));
    events.push(said(10_002, 10_001, b"hello, ann"));
    let folder = log_of(&events);
    let place = places(&folder)[3].clone();
    let forged = forged_batch(&said(10_002, 10_001, b"forged words"), FAR, Seq(HONEST), 0);
    assert_eq!(forged.len() as u64, place.end - place.start, "it fits into the place");
    let path = folder.path().join(segment_name(Seq(1)));
    let mut bytes = std::fs::read(&path).unwrap();
    let at = usize::try_from(place.start).unwrap();
    bytes[at..at + forged.len()].copy_from_slice(&forged);
    std::fs::write(&path, bytes).unwrap();

    let (survey, salvaged, kept) = salvage(&DiskStorage::read_only(folder.path()));
    assert_eq!(not_saved(&survey, &salvaged), [(4, 4)]);
    assert_eq!((salvaged.kept, salvaged.state.last_seq()), (4, Seq(5)));
    assert_eq!((kept.records.len(), kept.bases), (5, 0), "each number has its record");
}

#[test]
fn a_file_with_a_number_far_ahead_costs_no_more_than_its_bytes() {
    let folder = log_of(&honest());
    forge_file(&folder, &said(10_001, 10_002, b"from far away"));
    let (survey, salvaged, kept) = salvage(&DiskStorage::read_only(folder.path()));
    assert_eq!(not_saved(&survey, &salvaged), [(HONEST + 1, FAR.0 - 1)]);
    assert_eq!((salvaged.kept, salvaged.lost), (HONEST + 1, FAR.0 - 1 - HONEST));
    assert_eq!(survey.folded, Some(Seq(FAR.0 - 1)));
    assert_eq!(
        (kept.records.len(), kept.bases),
        (1, 1),
        "the state before it, and the event itself"
    );
    assert_eq!(kept.texts, [b"hello"], "what waits in the state is read where it stands");
    let state = &salvaged.state;
    assert_eq!((state.user_count(), state.last_seq()), (2, FAR));
    assert_eq!(state.user(ServiceNumber(10_002)).unwrap().mailbox().len(), 2);
    let (text, json) = lines(&survey, &salvaged);
    let stretch = format!("events {} to {} are lost", HONEST + 1, FAR.0 - 1);
    assert!(text.len() == json.len() && text.iter().any(|it| it.contains(&stretch)), "{text:?}");
}

#[test]
fn who_is_named_behind_many_lost_numbers_does_not_bring_billions_of_users() {
    let folder = log_of(&honest());
    forge_file(&folder, &said(10_001, u32::MAX - 1, b"to everybody"));
    let (survey, salvaged, kept) = salvage(&DiskStorage::read_only(folder.path()));
    assert!(survey.substitutes.is_empty());
    assert_eq!((salvaged.senseless, salvaged.state.user_count()), (1, 2));
    assert_eq!(kept.kinds(), [EventKind::Lost]);
}

#[test]
fn stretches_are_filled_until_there_are_too_many_from_the_last_one_on() {
    let stretch = |first, last| Stretch { first: Seq(first), last: Seq(last) };
    let lost = [stretch(2, 11), stretch(20, 29), stretch(31, 40)];
    assert_eq!(folded(&lost, 30), None);
    assert_eq!(folded(&lost, 29), Some(Seq(11)));
    assert_eq!(folded(&lost, 20), Some(Seq(11)));
    assert_eq!(folded(&lost, 19), Some(Seq(29)));
    assert_eq!(folded(&lost, 0), Some(Seq(40)));
    assert_eq!(folded(&[], 0), None);
}
