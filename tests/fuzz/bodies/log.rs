//! The log and what is made of it: images that are damaged as disks and people damage them, and files and records that
//! were never written by a server, behind checksums that fit.
//!
//! Of a damaged log, what a server takes in is the beginning of what there was, the second start finds the same as
//! the first, a reader finds no less, and what is refused is left as it is. No record leaves a state that does not
//! agree with itself: what does not fit changes nothing, and of a kept state a tool can make one that agrees.

#![allow(missing_docs, unreachable_pub, reason = "a part of tests, and of a fuzz target")]

use std::convert::Infallible;

use oicq::id::{MonoMillis, Place, Seq, UnixMillis};
use oicq::log::{Durability, End, Log, OpenError, Options, Reader, Record, Resumed, Step};
use oicq::state::{Event, EventKind, RecordError, Stamp, State};

use crate::chance::Chance;
use crate::disk::MemDisk;
use crate::forged::forge;
use crate::images::{IMAGES, Image, Item, damage, read};

const OPTIONS: Options =
    Options { segment_size: 16 << 10, durability: Durability::Always, charset: 1 };
/// So many records are made up at most.
const FORGED_MAX: usize = 40;

pub fn run(data: &[u8]) {
    let mut chance = Chance::by_bytes(data);
    IMAGES.with(|images| match chance.below(5) {
        0 => damaged(&images[0], &mut chance),
        1 => damaged(&images[1], &mut chance),
        2 => forged_events(&images[0], &mut chance),
        3 => forged_base(&images[1], &mut chance),
        _ => forged_files(&images[1], &mut chance),
    });
}

/// Does to a log what happens to logs.
fn damaged(image: &Image, chance: &mut Chance) {
    let mut files = image.files.clone();
    while !chance.is_spent() && !files.is_empty() {
        damage(&mut files, &image.files, chance);
    }
    let disk = MemDisk::with_files(&files);
    let seen = read(&disk);
    read_on(&disk);
    assert!(disk.files() == files, "reading changes nothing");
    let taken = match open(&disk) {
        Ok((log, taken)) => {
            drop(log);
            taken
        }
        Err(error) => {
            assert!(!matches!(error, OpenError::Meaning { .. }), "{error}");
            assert!(disk.files() == files, "what is refused is left as it is");
            return;
        }
    };
    assert!(image.items.starts_with(&taken), "something was taken in that was not there");
    assert!(seen.is_some_and(|seen| seen == taken), "a reader finds something else");
    let (mut log, again) = open(&disk).expect("it was opened a moment ago");
    assert!(again == taken, "the second start finds something else");
    let time = taken.last().map_or(UnixMillis(1), |last| last.time);
    log.append(time, EventKind::Lost as u8, b"").expect("there is room");
    log.commit(MonoMillis(0)).expect("the disk is sound");
    log.close().expect("the disk is sound");
    let (_, longer) = open(&disk).expect("it was closed in order");
    assert!(longer.split_last().is_some_and(|(_, before)| before == taken), "it goes on");
}

/// Reads all that can be read, over everything that is damaged. It comes to an end, and numbers go up.
fn read_on(disk: &MemDisk) {
    let Ok((mut reader, _)) = Reader::open_lenient(disk) else { return };
    let mut last = Seq::ZERO;
    for _ in 0..10_000 {
        match reader.next_batch() {
            Ok(Step::Batch(batch)) if batch.base.is_some() => {}
            Ok(Step::Batch(batch)) => {
                assert!(batch.header.first > last, "it is read twice");
                last = batch.header.last();
            }
            Ok(Step::End(End::Damaged(_))) => {
                let resumed =
                    reader.resume_over(&mut |kind, payload| Event::decode(kind, payload).is_ok());
                if matches!(resumed, Ok(Resumed::Finished { .. }) | Err(_)) {
                    return;
                }
            }
            Ok(Step::End(End::Whole | End::Torn(_))) | Err(_) => return,
        }
    }
    panic!("there is no end");
}

type Opened = Result<(Log<MemDisk>, Vec<Item>), OpenError<RecordError>>;

/// Opens a log as a server does, with the state that it makes.
fn open(disk: &MemDisk) -> Opened {
    let (mut state, mut items) = (State::default(), Vec::new());
    let opened = Log::open(disk.clone(), OPTIONS, 7, UnixMillis(1_000), |record| {
        let item = Item::of(record);
        item.take(&mut state)?;
        items.push(item);
        Ok(())
    });
    Ok((opened?.0, items))
}

/// Files that no server has written. Whatever they say, they are taken in the same way twice, or left as they are.
fn forged_files(image: &Image, chance: &mut Chance) {
    let files = forge(image, chance);
    let disk = MemDisk::with_files(&files);
    let seen = read(&disk);
    read_on(&disk);
    assert!(disk.files() == files, "reading changes nothing");
    let Ok((mut log, taken)) = open(&disk) else {
        assert!(disk.files() == files, "what is refused is left as it is");
        return;
    };
    assert!(seen.is_some_and(|seen| seen == taken), "a reader finds something else");
    let time = taken.last().map_or(UnixMillis(1), |last| last.time);
    let added = log.append(time, EventKind::Lost as u8, b"");
    log.commit(MonoMillis(0)).expect("the disk is sound");
    drop(log);
    let (_, again) = open(&disk).expect("it was opened a moment ago");
    let (before, behind) = again.split_at(taken.len());
    assert!(before == taken, "the second start finds something else");
    assert_eq!(behind.len(), usize::from(added.is_ok()));
}

/// Records behind some of the golden ones, made of others of them or of nothing.
fn forged_events(image: &Image, chance: &mut Chance) {
    let mut state = State::default();
    let known = chance.below(image.items.len());
    for item in &image.items[..known] {
        item.take(&mut state).expect("it is a golden one");
    }
    let mut taken = image.items[..known].to_vec();
    for _ in 0..FORGED_MAX {
        if chance.is_spent() {
            break;
        }
        let (seq, time) = (state.last_seq().next(), state.last_time());
        let (kind, payload) = match chance.one_in(4) {
            true => (chance.byte() % 20, chance.bytes(80)),
            false => {
                let Item { kind, payload, .. } = &image.items[chance.below(image.items.len())];
                (*kind, changed(payload, chance))
            }
        };
        let item = Item { seq, time, in_base: false, kind, payload };
        let before = (state.digest(), state.last_seq());
        if item.take(&mut state).is_ok() {
            check_event(&item);
            taken.push(item);
        } else {
            assert!(
                (state.digest(), state.last_seq()) == before,
                "what does not fit has no effect"
            );
        }
        assert_eq!(state.find_contradiction(), None, "kind {kind}");
    }
    check_log(&taken);
}

/// What decodes is encoded to the very bytes that came.
fn check_event(item: &Item) {
    let event = Event::decode(item.kind, &item.payload).expect("it was taken in");
    let mut payload = Vec::new();
    event.encode(&mut payload);
    assert!(payload == item.payload, "{} is encoded otherwise", event.kind());
    assert!(event.text_offset() as usize <= payload.len());
}

/// A log of these records gives them back.
fn check_log(items: &[Item]) {
    let disk = MemDisk::new();
    let nothing = |_: &Record<'_>| Ok::<_, Infallible>(());
    let (mut log, _) = Log::open(disk.clone(), OPTIONS, 7, UnixMillis(1), nothing).expect("new");
    for some in items.chunks(9) {
        for item in some {
            log.append(some[0].time, item.kind, &item.payload).expect("there is room");
        }
        log.commit(MonoMillis(0)).expect("the disk is sound");
    }
    log.close().expect("the disk is sound");
    let (_, again) = open(&disk).expect("all of them fit");
    let bytes = |items: &[Item]| -> Vec<_> {
        items.iter().map(|item| (item.seq, item.kind, item.payload.clone())).collect()
    };
    assert!(bytes(&again) == bytes(items), "the log gives other records back");
}

/// The records of a kept state, some of them changed, lost, doubled or exchanged.
fn forged_base(image: &Image, chance: &mut Chance) {
    let kept = image.items.iter().filter(|item| item.in_base);
    let mut kept: Vec<_> = kept.cloned().collect();
    for _ in 0..FORGED_MAX {
        if chance.is_spent() || kept.is_empty() {
            break;
        }
        let (at, to) = (chance.below(kept.len()), chance.below(kept.len()));
        match chance.below(6) {
            0 => drop(kept.remove(at)),
            1 => kept.insert(to, kept[at].clone()),
            2 => kept.swap(at, to),
            3 => kept[at].payload = chance.bytes(80),
            _ => kept[at].payload = changed(&kept[at].payload, chance),
        }
    }
    let mut state = State::default();
    // A server takes all of it, or nothing.
    let fits = kept.iter().all(|item| item.take(&mut state).is_ok());
    let behind = image.items.iter().filter(|item| !item.in_base);
    if fits && state.find_contradiction().is_none() {
        for item in behind {
            let _ = item.take(&mut state);
            assert_eq!(state.find_contradiction(), None);
        }
    }
    check_settled(&kept);
}

/// A tool takes what fits, and makes a state of it that agrees with itself and can be kept again.
fn check_settled(kept: &[Item]) {
    let mut state = State::default();
    for Item { seq, time, kind, payload, .. } in kept {
        let stamp = Stamp { seq: *seq, time: *time, place: Place(0) };
        let _ = state.restore_partly(stamp, *kind, payload);
    }
    state.settle_partly();
    assert_eq!(state.find_contradiction(), None);
    let stamp = Stamp { seq: state.last_seq(), time: state.last_time(), place: Place(0) };
    let (digest, mut records) = (state.digest(), Vec::new());
    // Texts are not at hand here: messages without any are other messages.
    let text = |_: &_, _: &mut Vec<u8>| Ok::<_, Infallible>(());
    let Ok(()) = state.keep(digest, text, |kind, payload| {
        records.push((kind, payload.to_vec()));
        Ok(())
    });
    let mut again = State::default();
    for (kind, payload) in records {
        assert_eq!(again.restore(stamp, kind, &payload), Ok(()), "what was kept can be restored");
    }
    assert_eq!(again.find_contradiction(), None);
}

/// Bytes of which a few are others, or lost, or more.
fn changed(bytes: &[u8], chance: &mut Chance) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for _ in 0..chance.below(4) {
        let at = chance.below(bytes.len() + 1);
        match (chance.below(5), bytes.get_mut(at)) {
            (0, Some(byte)) => *byte ^= 1 << chance.below(8),
            (1, Some(byte)) => *byte = chance.byte(),
            // Numbers of users and groups are small.
            (2, Some(byte)) => *byte = byte.wrapping_add(chance.pick(&[1, 255, 2, 254])),
            (3, _) => bytes.truncate(at),
            _ => {
                let piece = chance.bytes(8);
                bytes.splice(at..at, piece);
            }
        }
    }
    bytes
}
