//! What a reader hands out: batches and their records, and how a log ends.
//!
//! Owns these types alone; the reader decides which of them is the case.

use std::path::PathBuf;

use super::error::Damage;
use super::format::{BATCH_HEADER_LEN, BatchHeader, RECORD_HEADER_LEN, split_record};
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
    /// Nothing follows. What came after the damage is unknown, but for what was on disk.
    Finished {
        /// The last sequence number that anything shows to have been on disk.
        durable: Seq,
    },
}

/// A batch that passed every check.
#[derive(Clone, Copy, Debug)]
pub struct Batch<'a> {
    /// What its header says.
    pub header: BatchHeader,
    /// Its segment's index among [`Reader::segments`].
    pub segment: usize,
    /// Where it begins in the segment file.
    pub offset: u64,
    pub(super) payload: &'a [u8],
}

/// One record of a log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Record<'a> {
    /// Its sequence number.
    pub seq: Seq,
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
        let (mut rest, mut seq, time) = (self.payload, self.header.first, self.header.time);
        let mut place = place_at(self.segment, self.offset + BATCH_HEADER_LEN as u64);
        std::iter::from_fn(move || {
            let (kind, payload, behind) = split_record(rest)?;
            place.0 += RECORD_HEADER_LEN as u64;
            let record = Record { seq, time, kind, payload, place };
            place.0 += payload.len() as u64;
            (rest, seq) = (behind, seq.next());
            Some(record)
        })
    }
}

/// A segment's index and an offset in its file, in one number.
pub(super) const fn place_at(segment: usize, offset: u64) -> Place {
    Place((segment as u64) << 32 | offset)
}

/// The segment's index and the offset in its file that a place stands for.
#[must_use]
pub fn locate(place: Place) -> (usize, u64) {
    (usize::try_from(place.0 >> 32).unwrap_or(usize::MAX), place.0 & u64::from(u32::MAX))
}
