//! Logs that are whole, and what happens to logs: the golden one, and the same compacted.

#![allow(dead_code, missing_docs, unreachable_pub, reason = "each target uses a part of it")]

use std::collections::BTreeMap;

use oicq::compaction::Plan;
use oicq::id::{Place, Seq, UnixMillis};
use oicq::log::{End, Reader, Record, Step};
use oicq::state::{RecordError, Stamp, State};

use crate::chance::Chance;
use crate::disk::MemDisk;

macro_rules! golden {
    ($name:literal) => {
        ($name, include_bytes!(concat!("../../../data/golden/v1/", $name)))
    };
}
/// The segments of the golden log.
const GOLDEN: [(&str, &[u8]); 5] = [
    golden!("00000000000000000001.log"),
    golden!("00000000000000000119.log"),
    golden!("00000000000000000221.log"),
    golden!("00000000000000000340.log"),
    golden!("00000000000000000463.log"),
];

pub type Files = BTreeMap<String, Vec<u8>>;

/// A record, and whether it is part of a base.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Item {
    pub seq: Seq,
    pub time: UnixMillis,
    pub in_base: bool,
    pub kind: u8,
    pub payload: Vec<u8>,
}

impl Item {
    pub fn of(record: &Record<'_>) -> Self {
        let Record { seq, time, in_base, kind, payload, .. } = *record;
        Self { seq, time, in_base, kind, payload: payload.to_vec() }
    }

    pub fn take(&self, state: &mut State) -> Result<(), RecordError> {
        let stamp = Stamp { seq: self.seq, time: self.time, place: Place(0) };
        state.take_record(stamp, self.in_base, self.kind, &self.payload)
    }
}

/// A log that is whole.
pub struct Image {
    pub files: Files,
    pub items: Vec<Item>,
}

thread_local! {
    /// The golden log, and the same with all but its last file compacted.
    pub static IMAGES: [Image; 2] = {
        let files: Files =
            GOLDEN.iter().map(|(name, bytes)| ((*name).to_owned(), bytes.to_vec())).collect();
        let disk = MemDisk::with_files(&files);
        let plan = Plan::new(&disk, [], |_| ()).expect("it is whole").expect("there is a file");
        let draft = plan.write(&disk, |_| ()).expect("there is room");
        let checked = draft.check(&disk, |_| ()).expect("it is the same");
        checked.publish(&disk).expect("the disk is sound");
        [files, disk.files()].map(|files| {
            let items = read(&MemDisk::with_files(&files)).expect("it is whole");
            Image { files, items }
        })
    };
}

/// Something of a log is lost, or other than it was.
pub fn damage(files: &mut Files, before: &Files, chance: &mut Chance) {
    let names: Vec<_> = files.keys().cloned().collect();
    let name = chance.pick(&names);
    let other = chance.pick(&names);
    let length = files[&name].len();
    let (at, from) = (chance.below(length + 1), chance.below(length + 1));
    let count = chance.pick(&[1, 4, 8, 48, 512, 4_096]).min(length - at);
    let bytes = files.get_mut(&name).expect("it is one of them");
    match chance.below(9) {
        0 | 1 if count > 0 => bytes[at] ^= 1 << chance.below(8),
        2 => bytes[at..at + count].fill(0),
        3 => bytes[at..at + count].fill(0xFF),
        4 => bytes.truncate(at),
        5 => bytes.resize(length + count, 0),
        6 => {
            files.remove(&name);
        }
        7 => {
            // Bytes from another place, of this file or of another one.
            let piece: Vec<_> =
                files[&other].get(from..).unwrap_or_default().iter().take(count).copied().collect();
            let bytes = files.get_mut(&name).expect("it is one of them");
            bytes[at..at + piece.len()].copy_from_slice(&piece);
        }
        _ => {
            // Two files change places, or one is what it was before.
            let moved = files.insert(name.clone(), before[&other].clone());
            if chance.one_in(2) {
                files.extend(moved.map(|moved| (other, moved)));
            }
        }
    }
}

/// All records that a reader of sound logs finds; `None` where it ends with damage.
pub fn read(disk: &MemDisk) -> Option<Vec<Item>> {
    let mut reader = Reader::open(disk).expect("the disk is sound");
    let mut items = Vec::new();
    loop {
        match reader.next_batch() {
            Ok(Step::Batch(batch)) => items.extend(batch.records().map(|record| Item::of(&record))),
            Ok(Step::End(End::Damaged(_))) | Err(_) => return None,
            Ok(Step::End(End::Whole | End::Torn(_))) => return Some(items),
        }
    }
}
