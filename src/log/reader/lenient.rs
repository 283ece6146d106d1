//! How tools read a log that is damaged: over what cannot be read, in the order of the headers, whatever
//! the files are called, and into what is left of batches that fail their check.
//!
//! Owns what is known of a log whose first header may be gone. Nothing here makes damage good: it is
//! reported as it is to everybody, and a server never reads like this.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;

use super::super::error::{Cause, Doing, Failed, ReadError, What};
use super::super::format::{
    BATCH_HEADER_LEN, BatchHeader, HEADER_LEN, HeaderFault, RECORD_HEADER_LEN, RECORD_PAYLOAD_MAX,
    SegmentHeader, base_name, seed_of, segment_name,
};
use super::super::storage::{Storage, StoredFile};
use super::super::window::Window;
use super::{Reader, Segment, State, open_listed};
use crate::id::{Seq, UnixMillis};
use crate::limits::SEGMENT_BYTES;

/// What a log says about itself as a whole.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Identity {
    /// The random number that all segments of this log carry.
    pub log_id: u64,
    /// Which charset the text is in; the meaning is the caller's.
    pub charset: u8,
    /// Bytes of a segment file.
    pub segment_size: u64,
    /// When the first segment was made.
    pub created: UnixMillis,
    /// Whether a header that passes its check says so. Else it is what a damaged one seems to say, and the
    /// batches prove it or not.
    pub certain: bool,
}

impl<'s, S: Storage> Reader<'s, S> {
    /// As [`open`](Self::open), for a tool that is to get at all that can be read. What the storage cannot
    /// read is damage and no error. The log is that of most headers, and its segments are read in the order
    /// of their headers, so that one damaged or foreign file does not hide the others.
    ///
    /// # Errors
    /// If the folder cannot be listed, a file may not be opened, or is newer than this program.
    pub fn open_lenient(storage: &'s S) -> Result<(Self, Option<Identity>), ReadError> {
        let mut reader = Self::open(storage)?;
        reader.window = Window::lenient();
        let mut headers = Vec::with_capacity(reader.segments.len());
        let mut votes: BTreeMap<u64, usize> = BTreeMap::new();
        for segment in &reader.segments {
            let (header, certain) = reader.header_of(segment)?;
            if certain {
                *votes.entry(header.log_id).or_default() += 1;
            }
            headers.push((header, certain));
        }
        let Some((claimed, _)) = headers.first() else { return Ok((reader, None)) };
        let most = votes.values().copied().max();
        let is_most = |header: &SegmentHeader| votes.get(&header.log_id).copied() == most;
        let first = headers.iter().find(|(header, certain)| *certain && is_most(header));
        let log_id = first.map_or(claimed.log_id, |(header, _)| header.log_id);
        let own = |(header, certain): &&(SegmentHeader, bool)| *certain && header.log_id == log_id;
        for (segment, said) in reader.segments.iter_mut().zip(&headers) {
            segment.len = said.0.size;
            if own(&said) {
                (segment.is_base, segment.first) = (said.0.is_base, said.0.first);
            }
        }
        reader.segments.sort_by_key(|segment| (!segment.is_base, segment.first));
        // A base is one, and comes first: of several, that of the latest state.
        let bases = reader.segments.iter().filter(|segment| segment.is_base).count();
        let older = reader.segments.drain(..bases.saturating_sub(1));
        reader.superseded.extend(older.map(|segment| segment.name));
        reader.seed = Some(seed_of(log_id));
        let oldest =
            headers.iter().filter(own).min_by_key(|(header, _)| (header.is_base, header.first));
        let (header, certain) = oldest.map_or((claimed, false), |(header, _)| (header, true));
        let identity = Identity {
            log_id,
            charset: header.charset,
            segment_size: if header.is_base { SEGMENT_BYTES } else { header.size },
            created: header.created,
            certain,
        };
        Ok((reader, Some(identity)))
    }

    /// A segment's header, and whether it passes its check; else what it seems to say.
    fn header_of(&self, segment: &Segment) -> Result<(SegmentHeader, bool), ReadError> {
        let failed = |doing| Failed::at(self.storage, &segment.name, doing);
        let mut window = Window::lenient();
        window.begin(HEADER_LEN);
        let mut len = 0;
        let block = match open_listed(self.storage, segment) {
            Err(ReadError::Storage(failed)) if is_passed_over(&failed.error) => &[],
            opened => {
                let file = opened?;
                len = file.size().map_err(failed(Doing::Read))?;
                let block_len = usize::try_from(HEADER_LEN).expect("the header is one page");
                window.get(&file, 0, block_len).map_err(failed(Doing::Read))?
            }
        };
        match SegmentHeader::decode(block) {
            Ok((header, _)) => Ok((header, true)),
            Err(HeaderFault::Newer(newer)) => {
                Err(ReadError::Newer { file: self.storage.path(&segment.name), newer })
            }
            Err(HeaderFault::Invalid) => Ok((SegmentHeader::claimed(block, len), false)),
        }
    }

    /// A segment that cannot be opened is damage as a whole.
    pub(super) fn end_unopened(&mut self, error: &io::Error) {
        self.file = None;
        self.mark.end = HEADER_LEN;
        self.adopt = false;
        let what = What::Unreadable { at: 0, bytes: 0, cause: Cause::of(error) };
        self.state = State::Ended(self.damage(0, what));
    }

    /// Whether so high a number can stand here, as far as the file's header tells: a record in front takes bytes.
    pub(super) fn has_room_before(&self, offset: u64, number: Seq) -> bool {
        let segment = self.segment();
        let own = |header: &&SegmentHeader| Some(seed_of(header.log_id)) == self.seed;
        let Some(header) = segment.header.as_ref().filter(own) else { return true };
        let first = if segment.is_base { Seq(1) } else { header.first };
        let records_max = (offset - HEADER_LEN) / RECORD_HEADER_LEN as u64;
        number.0.saturating_sub(first.0) <= records_max
    }

    /// Hands out the records of a batch whose header passes its check, as far as they can be told apart.
    pub(super) fn hand_out(
        &mut self,
        offset: u64,
        header: &BatchHeader,
        remains: &mut dyn FnMut(u8, &[u8]) -> bool,
    ) -> Result<(), ReadError> {
        let from = offset + BATCH_HEADER_LEN as u64;
        // Whatever the header says, there are no records behind the end of the file.
        let until = self.segment().len.min(from + u64::from(header.payload_len));
        self.hand_out_records(from..until, header.count, remains)
    }

    /// Hands out what stands where the next batch's records should, if its header does not pass its check.
    pub(super) fn hand_out_stray(
        &mut self,
        remains: &mut dyn FnMut(u8, &[u8]) -> bool,
    ) -> Result<(), ReadError> {
        let (seed, until) = (self.seed.unwrap_or_default(), self.segment().len);
        let (storage, name) = (self.storage, self.segments[self.index].name.clone());
        let failed = |error| Failed::at(storage, &name, Doing::Read)(error);
        let Some(file) = self.file.as_ref() else { return Ok(()) };
        let start = self.window.get(file, self.mark.end, BATCH_HEADER_LEN).map_err(failed)?;
        if BatchHeader::decode(start, seed).is_some() {
            return Ok(());
        }
        let from = self.mark.end + BATCH_HEADER_LEN as u64;
        self.hand_out_records(from..until, u32::MAX, remains)
    }

    /// Hands out what looks like records, one by one, so that no more than one is in memory.
    fn hand_out_records(
        &mut self,
        within: Range<u64>,
        most: u32,
        remains: &mut dyn FnMut(u8, &[u8]) -> bool,
    ) -> Result<(), ReadError> {
        let (storage, name) = (self.storage, &self.segments[self.index].name);
        let failed = |error| Failed::at(storage, name, Doing::Read)(error);
        let Some(file) = self.file.as_ref() else { return Ok(()) };
        let (mut at, mut count) = (within.start, 0);
        while at < within.end && count < most {
            let head = self.window.get(file, at, RECORD_HEADER_LEN).map_err(failed)?;
            let length =
                usize::from(head[1]) << 16 | usize::from(head[2]) << 8 | usize::from(head[3]);
            let total = RECORD_HEADER_LEN + length;
            if length > RECORD_PAYLOAD_MAX || at + total as u64 > within.end {
                break;
            }
            let record = self.window.get(file, at, total).map_err(failed)?;
            if !remains(record[0], &record[RECORD_HEADER_LEN..]) {
                break;
            }
            (at, count) = (at + total as u64, count + 1);
        }
        Ok(())
    }
}

/// Whether a file's name is the one that its header asks for.
pub(super) fn is_named_after(segment: &Segment, header: &SegmentHeader) -> bool {
    let name = if segment.is_base { base_name(header.durable) } else { segment_name(header.first) };
    segment.name == name
}

/// Whether a file that cannot be opened is the disk's fault, and not that of rights or of a name.
pub(super) fn is_passed_over(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let errno = Errno::from_io_error(error);
    matches!(errno, Some(Errno::IO | Errno::UCLEAN | Errno::BADMSG | Errno::NXIO))
}
