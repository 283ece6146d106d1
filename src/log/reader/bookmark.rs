//! Going back in a log that has been read, to read a part of it again.
//!
//! Owns bookmarks, and how a reader turns to one. What is read behind it passes every check once more, but for
//! the one against notes that were written before it.

use super::super::error::{Doing, Failed, ReadError, What};
use super::super::format::{BatchHeader, Mark, seed_of};
use super::super::step::Batch;
use super::super::storage::{Storage, StoredFile};
use super::{Reader, State, open_listed};
use crate::id::{Seq, UnixMillis};

/// The place in front of a batch, in a log whose files are still the same.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bookmark {
    segment: usize,
    offset: u64,
    first: Seq,
    time: UnixMillis,
    durable: Seq,
    chain: u32,
}

impl Bookmark {
    /// The place in front of a batch of events; a part of a base cannot be turned to.
    #[must_use]
    pub const fn before(batch: &Batch<'_>) -> Option<Self> {
        if batch.base.is_some() {
            return None;
        }
        let BatchHeader { first, time, durable, chain, .. } = batch.header;
        Some(Self { segment: batch.segment, offset: batch.offset, first, time, durable, chain })
    }

    /// The sequence number of the first event behind it.
    #[must_use]
    pub const fn first(&self) -> Seq {
        self.first
    }

    /// The time of that event.
    #[must_use]
    pub const fn time(&self) -> UnixMillis {
        self.time
    }
}

impl<S: Storage> Reader<'_, S> {
    /// Goes on in front of the batch that the bookmark was made of, be it by this reader or by another one of
    /// the same log.
    ///
    /// # Errors
    /// If the file cannot be read, or is gone since the log was compacted.
    pub fn turn_to(&mut self, bookmark: &Bookmark) -> Result<(), ReadError> {
        let Bookmark { segment: index, offset, first, time, durable, chain } = *bookmark;
        if self.file.is_none() || self.index != index {
            self.open_segment(index)?;
        }
        self.mark = Mark { seq: Seq(first.0 - 1), end: offset, checksum: chain };
        self.mark_before = self.mark;
        self.batch_durable = durable;
        self.time = time;
        self.pending = [None; 2];
        self.adopt = false;
        self.read_again_at = None;
        self.state = match &self.segments[index].header {
            Some(header) => {
                self.seed.get_or_insert(seed_of(header.log_id));
                State::Read
            }
            None => State::Ended(self.damage(0, What::SegmentHeader)),
        };
        Ok(())
    }

    /// Opens a file of the log whose turn may not have come yet.
    fn open_segment(&mut self, index: usize) -> Result<(), ReadError> {
        let segment = self.segments.get(index).ok_or(ReadError::Compacted)?;
        let file = open_listed(self.storage, segment)?;
        let size = file.size();
        let len = size.map_err(Failed::at(self.storage, &segment.name, Doing::Read))?;
        if segment.header.is_none() {
            self.segments[index].header = self.peek_header(index)?;
        }
        self.segments[index].len = len;
        self.window.begin(len);
        self.file = Some(file);
        self.index = index;
        Ok(())
    }
}
