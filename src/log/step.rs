//! What a reader hands out: batches and their records, and how a log ends.
//!
//! Owns these types alone; the reader decides which of them is the case.

use std::path::PathBuf;

use super::error::Damage;
use super::format::{
    BASE_SIZE_MAX, BATCH_HEADER_LEN, BatchHeader, RECORD_HEADER_LEN, SEGMENT_SIZE_MAX, split_record,
};
use crate::id::{Place, Seq, UnixMillis};

/// What comes next in a log.
#[derive(Debug)]
pub enum Step<'a> {
    /// A batch that passed every check.
    Batch(Batch<'a>),
    /// Nothing more, or nothing more that can be trusted. Every later call answers the same.
    End(End),
}

/// How a log ends.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum End {
    /// Behind the last batch nothing has been written.
    Whole,
    /// Behind the last batch stands something that nothing shows to have been on disk.
    Torn(Torn),
    /// Something that had been on disk is not as it was written.
    Damaged(Damage),
}

/// A torn end.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Torn {
    /// The segment file.
    pub file: PathBuf,
    /// Where the last good batch ends.
    pub offset: u64,
    /// Bytes from there to the last one that is not 0.
    pub bytes: u64,
    /// The last sequence number in front of it.
    pub after: Seq,
}

/// Where [`Reader::resume`] goes on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Resumed {
    /// Nothing was lost.
    Intact,
    /// These sequence numbers, both included, are not to be had.
    Lost {
        /// The first of them.
        first: Seq,
        /// The last of them.
        last: Seq,
    },
    /// Of a base, these records, counted from 1 and both included, are not to be had.
    BaseLost {
        /// The first of them.
        first: u64,
        /// The last of them, where that is known.
        last: Option<u64>,
    },
    /// Nothing follows. What came after the damage is unknown, but for what was on disk.
    Finished {
        /// The last sequence number that anything shows to have been on disk.
        durable: Seq,
    },
}

/// A batch that passed every check.
#[derive(Clone, Copy, Debug)]
pub struct Batch<'a> {
    /// What its header says; in a base, sequence numbers there count the base's own records.
    pub header: BatchHeader,
    /// In a base, the sequence number that it holds the state of.
    pub base: Option<Seq>,
    /// Its segment's index among [`Reader::segments`].
    pub segment: usize,
    /// Where it begins in the segment file.
    pub offset: u64,
    pub(super) payload: &'a [u8],
}

/// One record of a log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Record<'a> {
    /// Its sequence number; in a base, the one that the base holds the state of.
    pub seq: Seq,
    /// Whether it is part of a base, and no event.
    pub in_base: bool,
    /// The time of its batch.
    pub time: UnixMillis,
    /// What kind of event; the meaning is the caller's.
    pub kind: u8,
    /// The event's bytes.
    pub payload: &'a [u8],
    /// Where the payload's first byte can be found again.
    pub place: Place,
}

impl<'a> Batch<'a> {
    /// Its records, in order.
    pub fn records(&self) -> impl Iterator<Item = Record<'a>> + use<'a> {
        let (mut rest, mut number, time) = (self.payload, self.header.first, self.header.time);
        let base = self.base;
        let mut place = place_at(self.segment, self.offset + BATCH_HEADER_LEN as u64);
        std::iter::from_fn(move || {
            let (kind, payload, behind) = split_record(rest)?;
            place.0 += RECORD_HEADER_LEN as u64;
            let (seq, in_base) = (base.unwrap_or(number), base.is_some());
            let record = Record { seq, in_base, time, kind, payload, place };
            place.0 += payload.len() as u64;
            (rest, number) = (behind, number.next());
            Some(record)
        })
    }
}

/// Bits of a place that are the offset: the rest is enough for 16 million files in a server's life.
const OFFSET_BITS: u32 = 40;

const _: () = assert!(BASE_SIZE_MAX <= 1 << OFFSET_BITS && SEGMENT_SIZE_MAX < BASE_SIZE_MAX);

/// A file's index and an offset in it, in one number.
pub(super) const fn place_at(file: usize, offset: u64) -> Place {
    Place((file as u64) << OFFSET_BITS | offset)
}

/// The file's index among [`Reader::segments`](super::Reader::segments) and the offset in it that a
/// reader's place stands for.
#[must_use]
pub fn locate(place: Place) -> (usize, u64) {
    let file = usize::try_from(place.0 >> OFFSET_BITS).unwrap_or(usize::MAX);
    (file, place.0 & ((1 << OFFSET_BITS) - 1))
}
