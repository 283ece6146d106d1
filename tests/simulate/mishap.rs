//! What a log can be found in, short of damage, made of one that is whole.
//!
//! Owns the changes of the bytes. All of them are on the disk at once.

#![allow(missing_docs, unreachable_pub, reason = "a part of one test")]

use oicq::log::format::{HEADER_LEN, WITNESS_OFFSETS, parse_segment_name};

use crate::disk::MemDisk;

/// Something that happens to a disk between two servers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mishap {
    Nothing,
    /// Files that were being made are left over.
    Leftovers,
    /// Something that is no batch stands behind the last one.
    TornEnd,
    /// Zeros follow the last file's end, and its next note is torn.
    LongFile,
    /// The last file lacks some zeros.
    ShortFile,
}

impl Mishap {
    pub fn happen(self, disk: &MemDisk) {
        let files = disk.files();
        let last = files.keys().rfind(|name| parse_segment_name(name).is_some());
        let Some(name) = last else { return };
        let mut bytes = files[name].clone();
        let end = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        let end = end.max(usize::try_from(HEADER_LEN).expect("small"));
        match self {
            Self::Nothing => return,
            Self::Leftovers => {
                disk.put("next.tmp", vec![1; 100]);
                disk.put("torn.tmp", vec![1; 100]);
                return;
            }
            Self::TornEnd => {
                let torn = end.next_multiple_of(8) + 8;
                bytes.truncate(torn);
                bytes.resize(torn + 100, 7);
                bytes.resize(files[name].len().max(torn + 100), 0);
            }
            Self::LongFile => {
                bytes.resize(bytes.len() + 777, 0);
                let slot = next_slot(&bytes);
                bytes[slot..slot + 20].fill(3);
            }
            Self::ShortFile => bytes.truncate(end.next_multiple_of(8)),
        }
        disk.take(name);
        disk.put(name, bytes);
    }
}

/// Where the note would go that comes after those in this file: the counter of each stands behind 24 bytes.
fn next_slot(bytes: &[u8]) -> usize {
    let slots = WITNESS_OFFSETS.map(|offset| usize::try_from(offset).expect("small"));
    let counter =
        |slot: usize| u64::from_be_bytes(bytes[slot + 24..slot + 32].try_into().expect("8"));
    let newest = slots.map(counter).into_iter().max().unwrap_or_default();
    slots[usize::from(newest % 2 == 1)]
}
