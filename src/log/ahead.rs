//! What the log does ahead of need: zeros in front of the append position, and the next segment.
//!
//! Owns when that is done, in pieces, and how one segment follows another. It never appends a record.

use super::error::{AppendError, Doing, Failed};
use super::format::{HEADER_LEN, SegmentHeader, batch_len};
use super::prepare::{Prepared, ZERO_AHEAD, ZERO_STEP, discard, is_unnamed, write_zeros};
use super::storage::{Storage, StoredFile};
use super::writer::{Active, Closed, Durability, Log, Sync, Timers};

/// After so many milliseconds it is tried again whether there is room for a segment.
const RETRY_MILLIS: u64 = 1000;
/// Zeros that are written by themselves, in bytes: the next batch waits until they are on disk.
const ZEROS_ALONE: u64 = 128 << 10;
/// Zeros that are written along with a batch, in lengths of the batch.
const ZEROS_ALONG: u64 = 4;

impl<S: Storage> Log<S> {
    /// Whether commits will soon meet blocks without zeros. Only a sync in each commit suffers from
    /// it.
    pub(super) fn wants_zeros(&self) -> bool {
        let zeroed = self.active.zeroed.max(self.last.end);
        self.options.durability == Durability::Always
            && zeroed < self.limit()
            && zeroed < self.last.end + ZERO_AHEAD / 2
    }

    pub(super) fn wants_next(&self) -> bool {
        let ready = self.next.as_ref().is_some_and(|next| next.ready);
        !ready && self.last.end > self.active.header.size / 2
    }

    /// One piece of work that makes later commits cheap.
    pub(super) fn prepare(&mut self) -> Result<(), Failed> {
        if self.wants_zeros() {
            self.fill_in_zeros(ZEROS_ALONE)?;
            if self.storage.syncs_beside(ZEROS_ALONE) {
                self.begin_sync()?;
            } else {
                self.sync()?;
            }
        } else if self.wants_next() {
            self.prepare_next()?;
        }
        if !self.wants_zeros() && !self.wants_next() {
            self.timers.unprepared = None;
        }
        Ok(())
    }

    /// Begins the sync of a batch, and does the same along with it and beside it: so much that the zeros keep ahead of
    /// large batches, which may leave no other time for it.
    pub(super) fn begin_sync_of(&mut self, batch_len: u64) -> Result<(), Failed> {
        if self.wants_zeros() {
            self.fill_in_zeros((ZEROS_ALONG * batch_len).next_multiple_of(HEADER_LEN))?;
        }
        self.begin_sync()?;
        if self.wants_next() && !self.waits_for_room() {
            self.prepare_next()?;
        }
        Ok(())
    }

    fn fill_in_zeros(&mut self, len: u64) -> Result<(), Failed> {
        let from = self.active.zeroed.max(self.last.end);
        let len = len.min(ZERO_STEP).min(self.limit() - from);
        let done = write_zeros(&mut self.active.file, from, len);
        let done = done.map_err(|error| self.failed_at(Doing::Write)(error));
        self.latch(done)?;
        self.active.zeroed = from + len;
        Ok(())
    }

    pub(super) fn prepare_next(&mut self) -> Result<(), Failed> {
        if self.check_limit(self.options.segment_size).is_err() {
            return Ok(());
        }
        let done = match self.next.take() {
            None => Prepared::begin(&self.storage, self.options.segment_size),
            Some(mut next) => next.step(&self.storage).map(|()| next),
        };
        match done {
            Ok(next) => {
                if next.ready {
                    self.timers.full_until = None;
                }
                self.next = Some(next);
                Ok(())
            }
            Err(failed) if failed.is_full() => {
                self.wait_for_room();
                Ok(())
            }
            Err(failed) => self.latch(Err(failed)),
        }
    }

    /// Has the next segment's file at hand: then this one may be filled to its end.
    pub(super) fn secure_next(&mut self) -> Result<(), AppendError> {
        self.check_limit(self.options.segment_size)?;
        if self.next.as_ref().is_some_and(|next| next.ready) {
            return Ok(());
        }
        match self.take_next(self.options.segment_size) {
            Err(failed) => Err(self.full_or_failed(failed)),
            Ok(None) => Err(AppendError::Full),
            Ok(next) => {
                self.next = next;
                self.timers.full_until = None;
                Ok(())
            }
        }
    }

    /// Begins a segment that has room for a batch with so many bytes of records. The open batch, if
    /// there is one, still goes to the old one.
    pub(super) fn begin_segment(&mut self, payload_len: usize) -> Result<(), AppendError> {
        let needed = (HEADER_LEN + batch_len(payload_len)).next_multiple_of(HEADER_LEN);
        let size = self.options.segment_size.max(needed);
        self.check_limit(size)?;
        self.finish_sync(true)?;
        let mut file = match self.take_next(size) {
            Err(failed) => return Err(self.full_or_failed(failed)),
            Ok(None) => return Err(AppendError::Full),
            Ok(Some(file)) => file,
        };
        // With this the old segment is closed, and all of it on disk: the new header says so.
        self.write_batch(Sync::Now)?;
        if self.active.synced != self.last || self.active.note_in_flight {
            self.sync()?;
        }
        let header = SegmentHeader {
            weak: self.options.is_weak(),
            first: self.last.seq.next(),
            durable: self.last.seq,
            size,
            created: self.time,
            chain: if self.is_unused() { self.active.header.chain } else { self.last.checksum },
            ..self.active.header.clone()
        };
        let crc = match file.put_header(&self.storage, &header) {
            Ok(crc) => crc,
            Err(failed) => {
                discard(&self.storage);
                return Err(self.full_or_failed(failed));
            }
        };
        let zeroed = file.zeroed;
        let file = match file.publish(&self.storage, &header) {
            // The old name still stands: it is as if there had been no file. Where it does not, a call that
            // failed has had its effect, and nothing may be appended in front of what it has named.
            Err(failed) if failed.doing == Doing::Rename && is_unnamed(&self.storage) => {
                discard(&self.storage);
                return Err(self.full_or_failed(failed));
            }
            published => self.latch(published)?,
        };
        if !self.is_unused() {
            let closed = self.note_closed();
            self.latch(closed)?;
        }
        self.activate(Active::new(file, header, crc, zeroed));
        Ok(())
    }

    /// A segment file without a header; `None` while there was none to be had a moment ago.
    pub(super) fn take_next(&mut self, size: u64) -> Result<Option<Prepared<S::File>>, Failed> {
        if let Some(next) = self.next.take().filter(|next| next.size == size) {
            return next.finish(&self.storage).map(Some);
        }
        if self.waits_for_room() {
            return Ok(None);
        }
        Prepared::begin(&self.storage, size)?.finish(&self.storage).map(Some)
    }

    pub(super) fn full_or_failed(&mut self, failed: Failed) -> AppendError {
        if failed.is_full() {
            self.wait_for_room();
            return AppendError::Full;
        }
        self.failed = Some(failed.clone());
        AppendError::Failed(failed)
    }

    pub(super) fn wait_for_room(&mut self) {
        self.timers.full_until = Some(self.timers.clock.plus(RETRY_MILLIS));
    }

    /// Whether there was no room a moment ago.
    fn waits_for_room(&self) -> bool {
        self.timers.full_until.is_some_and(|until| self.timers.clock < until)
    }

    /// Whether the system lets a segment of that size be written to its end.
    pub(super) fn check_limit(&mut self, size: u64) -> Result<(), AppendError> {
        if size <= self.size_limit {
            return Ok(());
        }
        self.wait_for_room();
        Err(AppendError::Full)
    }

    /// Whether the active segment has no batch: then one of the same name takes its place.
    pub(super) const fn is_unused(&self) -> bool {
        self.last.end == HEADER_LEN
    }

    /// Notes in the old segment that another one follows, so that its loss would show.
    pub(super) fn note_closed(&mut self) -> Result<(), Failed> {
        let done = self.active.note(self.last, self.options.is_weak(), true, self.seed);
        done.map_err(|error| self.failed_at(Doing::Write)(error))?;
        self.active.sync().map_err(|error| self.failed_at(Doing::Sync)(error))
    }

    pub(super) fn activate(&mut self, active: Active<S::File>) {
        self.rolled = true;
        let mut old = std::mem::replace(&mut self.active, active);
        if self.last.end != HEADER_LEN {
            old.file.let_go();
            let closed = Closed { file: old.file, first: old.header.first, is_base: false };
            self.files.insert(self.active_id, closed);
            self.active_id = self.take_file_id();
        }
        self.last = self.active.synced;
        self.timers = Timers { clock: self.timers.clock, ..Timers::default() };
    }
}
