//! The server's log: appends records, seals batches, syncs, begins segments.
//!
//! Owns the open batch, the active segment and the order of writes and syncs. It never reads
//! batches back to decide anything, and never goes on after a failed write or sync.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io;

use super::adoption::Adoption;
use super::error::{AppendError, Doing, Failed};
use super::format::{
    ALIGNMENT, BATCH_HEADER_LEN, BATCH_PAYLOAD_MAX, BatchHeader, HEADER_LEN, Mark,
    RECORD_HEADER_LEN, RECORD_PAYLOAD_MAX, SEGMENT_SIZE_MAX, SEGMENT_SIZE_MIN, SegmentHeader,
    WITNESS_OFFSETS, Witness, base_name, batch_len, checksum, encode_record_header, seed_of,
    segment_name,
};
use super::prepare::{Prepared, discard};
use super::step::{locate, place_at};
use super::storage::{Storage, StoredFile};
use crate::id::{MonoMillis, Place, Seq, UnixMillis};
use crate::limits::{LOG_RESERVE_BYTES, LOG_RESERVE_PART};

/// A witness is written with every so many batches: each costs a sync 15 % more time.
const BATCHES_PER_WITNESS: u32 = 64;
/// A witness that lags behind is written after so many milliseconds without one; zeros are filled in and
/// the next segment is made so long after they are wanted, which under light load is an idle turn.
const IDLE_MILLIS: u64 = 10;
/// Room for the open batch at the start, in bytes: few turns have more to say.
const BATCH_CAPACITY: usize = 64 << 10;

/// Bytes after which the disk is asked to begin, where nobody waits for it: what is left when a segment is closed, and
/// must be waited for, is no more than that.
const UNSYNCED_BYTES: u64 = 4 << 20;

/// How a batch that must be on disk gets there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Sync {
    /// At once.
    Now,
    /// Beside, if the storage can.
    Beside,
}

/// When a batch must be on disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Durability {
    /// When [`Log::commit`] answers.
    Always,
    /// So many milliseconds after it at most.
    Interval(u64),
    /// When the system likes; a closed segment, when the next one begins.
    Never,
}

/// How a server wants its log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Options {
    /// Bytes of a segment file; brought between `SEGMENT_SIZE_MIN` and `SEGMENT_SIZE_MAX`, and up
    /// to whole pages.
    pub segment_size: u64,
    /// When a batch must be on disk.
    pub durability: Durability,
    /// Which charset the text is in; a log keeps the one that it began with.
    pub charset: u8,
}

impl Options {
    pub(super) fn bounded(mut self) -> Self {
        let size = self.segment_size.clamp(SEGMENT_SIZE_MIN, SEGMENT_SIZE_MAX);
        self.segment_size = size.next_multiple_of(HEADER_LEN);
        self
    }

    pub(super) fn is_weak(&self) -> bool {
        self.durability != Durability::Always
    }
}

/// A log that is open for appending.
///
/// In a turn: [`append`](Self::append) as often as needed ([`make_room`](Self::make_room) first,
/// where several records must share a batch), then [`commit`](Self::commit) before anything is
/// acknowledged. Between turns: [`housekeep`](Self::housekeep) when [`deadline`](Self::deadline)
/// has come. In the end: [`close`](Self::close). After [`Failed`] every call fails: end the
/// process.
pub struct Log<S: Storage> {
    pub(super) storage: S,
    pub(super) options: Options,
    pub(super) log_id: u64,
    pub(super) seed: u32,
    /// Base and closed segments, by the number that places have for each. The active one's follows.
    pub(super) files: BTreeMap<usize, Closed<S::File>>,
    pub(super) active_id: usize,
    next_id: usize,
    /// The newest base that was looked at, be it in use or not.
    pub(super) looked_at: Option<Seq>,
    pub(super) adoption: Option<Adoption>,
    /// A segment has been begun since it was last asked.
    pub(super) rolled: bool,
    /// What a base has taken the place of is still held, up to here.
    pub(super) superseded: Option<Seq>,
    pub(super) active: Active<S::File>,
    pub(super) batch: OpenBatch,
    pub(super) last: Mark,
    pub(super) time: UnixMillis,
    pub(super) next: Option<Prepared<S::File>>,
    /// Where the system let no file be written beyond when it was last asked.
    pub(super) size_limit: u64,
    pub(super) reserve_released: bool,
    pub(super) timers: Timers,
    pub(super) failed: Option<Failed>,
}

/// A file that is only read.
pub(super) struct Closed<F> {
    pub(super) file: F,
    /// Its first sequence number; of a base, the first one behind it.
    pub(super) first: Seq,
    pub(super) is_base: bool,
}

impl<F> Closed<F> {
    fn name(&self) -> String {
        if self.is_base { base_name(Seq(self.first.0 - 1)) } else { segment_name(self.first) }
    }
}

/// The segment that is appended to.
pub(super) struct Active<F> {
    pub(super) file: F,
    pub(super) header: SegmentHeader,
    /// Zeros have been written up to here.
    pub(super) zeroed: u64,
    /// Everything up to here is on disk.
    pub(super) synced: Mark,
    /// What was on disk when the last batch was written: what a witness tells.
    pub(super) proven: Mark,
    /// What the latest witness tells, and its counter.
    pub(super) noted: Seq,
    pub(super) counter: u64,
    /// The latest witness may not be on disk: until it is, the other slot is the one that cannot be torn.
    pub(super) note_in_flight: bool,
    syncing: Option<Syncing>,
    pub(super) batches_unnoted: u32,
}

/// A sync that is under way beside.
#[derive(Clone, Copy)]
struct Syncing {
    /// What will be on disk then.
    mark: Mark,
    /// The latest witness, too.
    note: bool,
}

/// The records that were appended since the last commit, behind room for the batch's header.
pub(super) struct OpenBatch {
    bytes: Vec<u8>,
    count: u32,
    time: UnixMillis,
}

impl OpenBatch {
    pub(super) fn new() -> Self {
        let mut bytes = Vec::with_capacity(BATCH_CAPACITY);
        bytes.resize(BATCH_HEADER_LEN, 0);
        Self { bytes, count: 0, time: UnixMillis(0) }
    }

    const fn payload_len(&self) -> usize {
        self.bytes.len() - BATCH_HEADER_LEN
    }

    fn clear(&mut self) {
        self.bytes.truncate(BATCH_HEADER_LEN);
        self.count = 0;
    }

    /// Holds no more memory than most batches need, whatever the largest one has needed.
    fn let_go(&mut self) {
        self.bytes.shrink_to(BATCH_CAPACITY);
    }
}

/// Since when something has been waiting to be done.
#[derive(Default)]
pub(super) struct Timers {
    pub(super) clock: MonoMillis,
    pub(super) unsynced: Option<MonoMillis>,
    pub(super) unnoted: Option<MonoMillis>,
    pub(super) unprepared: Option<MonoMillis>,
    /// There was no room for a segment; the time of the next try.
    pub(super) full_until: Option<MonoMillis>,
}

impl<S: Storage> Log<S> {
    /// A log that goes on in `active`, behind these files in their order. All of it is on disk.
    pub(super) fn assemble(
        storage: S,
        options: Options,
        files: Vec<Closed<S::File>>,
        active: Active<S::File>,
        time: UnixMillis,
    ) -> Self {
        let log_id = active.header.log_id;
        let start = Some(MonoMillis(0));
        let unnoted = start.filter(|_| active.noted < active.proven.seq);
        let base = files.first().filter(|first| first.is_base);
        Self {
            storage,
            options,
            log_id,
            seed: seed_of(log_id),
            looked_at: base.map(|base| Seq(base.first.0 - 1)),
            active_id: files.len(),
            next_id: files.len() + 1,
            files: files.into_iter().enumerate().collect(),
            rolled: false,
            adoption: None,
            superseded: None,
            last: active.synced,
            active,
            batch: OpenBatch::new(),
            time,
            next: None,
            size_limit: u64::MAX,
            reserve_released: false,
            timers: Timers { unnoted, unprepared: start, ..Timers::default() },
            failed: None,
        }
    }

    /// A number for another file in places: never one that was used before.
    pub(super) const fn take_file_id(&mut self) -> usize {
        let id = self.next_id;
        self.next_id += 1;
        id
    }

    /// The sequence number that the next record gets.
    #[must_use]
    pub const fn next_seq(&self) -> Seq {
        Seq(self.last.seq.0 + self.batch.count as u64 + 1)
    }

    /// The time of the last record, 0 in an empty log; no later record has an earlier one.
    #[must_use]
    pub const fn last_time(&self) -> UnixMillis {
        self.time
    }

    /// The random number that all segments of this log carry.
    #[must_use]
    pub const fn log_id(&self) -> u64 {
        self.log_id
    }

    /// Whether a segment has been begun since [`take_rolled`](Self::take_rolled).
    #[must_use]
    pub const fn has_rolled(&self) -> bool {
        self.rolled
    }

    /// Whether a segment has been begun since this was last asked.
    pub const fn take_rolled(&mut self) -> bool {
        std::mem::replace(&mut self.rolled, false)
    }

    /// Appends a record to the open batch; answers its number and where its payload can be read.
    ///
    /// A time before [`last_time`](Self::last_time) becomes that one. A batch has one time: another
    /// one writes the open batch first, and so does a record that does not fit with it.
    ///
    /// # Errors
    /// [`AppendError::Full`] and [`AppendError::TooLong`] change nothing.
    pub fn append(
        &mut self,
        time: UnixMillis,
        kind: u8,
        payload: &[u8],
    ) -> Result<(Seq, Place), AppendError> {
        if payload.len() > RECORD_PAYLOAD_MAX {
            return Err(AppendError::TooLong { len: payload.len() });
        }
        self.check()?;
        let time = time.max(self.time);
        if self.batch.count > 0 && time != self.batch.time {
            self.write_batch(Sync::Now)?;
        }
        self.make_room(1, payload.len())?;
        let seq = self.next_seq();
        self.batch.bytes.extend_from_slice(&encode_record_header(kind, payload.len()));
        let offset = self.last.end + self.batch.bytes.len() as u64;
        self.batch.bytes.extend_from_slice(payload);
        self.batch.count += 1;
        self.batch.time = time;
        self.time = time;
        Ok((seq, place_at(self.active_id, offset)))
    }

    /// Lets go of memory that only the largest batches have needed.
    pub fn let_go_memory(&mut self) {
        self.batch.let_go();
    }

    /// Lets the rest of the log be filled even where no other segment can be had. A server that stops calls
    /// it: what is known to be delivered then is not sent again after the next start.
    pub const fn release_reserve(&mut self) {
        self.reserve_released = true;
    }

    /// Whether there was no room for another segment when it was last tried.
    #[must_use]
    pub const fn is_full(&self) -> bool {
        self.timers.full_until.is_some()
    }

    /// Sees to it that so many records with so many bytes of payload in all go into one batch, if
    /// they are appended next and with one time.
    ///
    /// # Errors
    /// As [`append`](Self::append).
    pub fn make_room(&mut self, records: usize, payload_len: usize) -> Result<(), AppendError> {
        self.check()?;
        let more = payload_len.saturating_add(records.saturating_mul(RECORD_HEADER_LEN));
        if more > BATCH_PAYLOAD_MAX {
            return Err(AppendError::TooLong { len: more });
        }
        let open = self.batch.payload_len();
        let (mut end, mut joins) = (self.last.end + batch_len(open + more), true);
        if self.batch.count == 0 {
            self.size_limit = self.storage.size_limit();
        } else if open + more > BATCH_PAYLOAD_MAX || end > self.limit() {
            (end, joins) = (self.last.end + batch_len(open) + batch_len(more), false);
        }
        if end > self.limit() {
            return self.begin_segment(more);
        }
        let reserve = LOG_RESERVE_BYTES.min(self.active.header.size / LOG_RESERVE_PART);
        if end > self.limit().saturating_sub(reserve) && !self.reserve_released {
            self.secure_next()?;
        }
        if joins { Ok(()) } else { Ok(self.write_batch(Sync::Now)?) }
    }

    /// Where nothing can be written beyond in the active segment.
    pub(super) fn limit(&self) -> u64 {
        self.active.header.size.min(self.size_limit)
    }

    /// Closes the active segment, if it has a batch, so that it can be compacted. Answers whether it has.
    ///
    /// # Errors
    /// As [`append`](Self::append).
    pub fn roll(&mut self) -> Result<bool, AppendError> {
        self.check()?;
        if self.is_unused() {
            return Ok(false);
        }
        self.begin_segment(0)?;
        Ok(true)
    }

    /// Writes the open batch and, with [`Durability::Always`], syncs it. Answers whether there was
    /// one.
    ///
    /// # Errors
    /// If the storage fails: then nothing of the batch may be acknowledged.
    pub fn commit(&mut self, now: MonoMillis) -> Result<bool, Failed> {
        self.check()?;
        self.timers.clock = now;
        let written = self.batch.count > 0;
        self.write_batch(Sync::Now)?;
        self.sync_when_due()?;
        Ok(written)
    }

    /// As [`commit`](Self::commit), but a large batch is synced beside, where the storage can do that: nothing of it
    /// may be acknowledged before [`finish_sync`](Self::finish_sync) answers `true`. Waits for the sync of the batch
    /// before, so that it never is more than the last batch that a power cut may tear.
    ///
    /// # Errors
    /// As [`commit`](Self::commit).
    pub fn commit_beside(&mut self, now: MonoMillis) -> Result<(), Failed> {
        if !self.syncs_beside() {
            return self.commit(now).map(drop);
        }
        self.check()?;
        self.timers.clock = now;
        self.write_batch(Sync::Beside)
    }

    /// Whether [`commit_beside`](Self::commit_beside) would leave a sync under way.
    #[must_use]
    pub fn syncs_beside(&self) -> bool {
        let len = self.batch.payload_len() as u64;
        self.options.durability == Durability::Always && self.storage.syncs_beside(len)
    }

    /// Whether a sync is under way that must be over before anything further is acknowledged: of a batch, or of zeros
    /// ahead of the next one.
    #[must_use]
    pub fn is_syncing(&self) -> bool {
        self.options.durability == Durability::Always && self.active.syncing.is_some()
    }

    /// Whether no sync is under way beside any more, after waiting for it if that is asked.
    ///
    /// # Errors
    /// If it has failed: then nothing of the last batch may be acknowledged.
    pub fn finish_sync(&mut self, wait: bool) -> Result<bool, Failed> {
        self.check()?;
        let Some(Syncing { mark, note }) = self.active.syncing else { return Ok(true) };
        let Some(done) = self.storage.finish_sync(wait) else { return Ok(false) };
        let done = done.map_err(|error| self.failed_at(Doing::Sync)(error));
        self.latch(done)?;
        self.active.syncing = None;
        self.active.synced = mark;
        self.active.note_in_flight &= !note;
        Ok(true)
    }

    /// When [`housekeep`](Self::housekeep) is wanted.
    #[must_use]
    pub fn deadline(&self) -> Option<MonoMillis> {
        if self.is_syncing() {
            return None;
        }
        let timers = &self.timers;
        let prepare = timers.full_until.or(timers.unprepared.map(|at| at.plus(IDLE_MILLIS)));
        let note = timers.unnoted.map(|at| at.plus(IDLE_MILLIS));
        MonoMillis::first(&[self.sync_deadline(), note, prepare])
    }

    /// Does what is due, in pieces of a MiB at most: syncs, writes a witness, fills in zeros, makes
    /// the next segment. Never call it between [`append`](Self::append) and
    /// [`commit`](Self::commit) of a turn.
    ///
    /// # Errors
    /// If the storage fails. Having no room for the next segment is no failure.
    pub fn housekeep(&mut self, now: MonoMillis) -> Result<(), Failed> {
        self.check()?;
        self.timers.clock = now;
        self.size_limit = self.storage.size_limit();
        if !self.finish_sync(false)? && self.is_syncing() {
            return Ok(());
        }
        self.sync_when_due()?;
        let due = |at: Option<MonoMillis>| at.is_some_and(|at| now >= at.plus(IDLE_MILLIS));
        if due(self.timers.unnoted) {
            let done = self.note();
            self.latch(done)?;
        }
        match self.timers.full_until {
            Some(at) if now < at => Ok(()),
            Some(_) => self.prepare_next(),
            None if due(self.timers.unprepared) => self.prepare(),
            None => Ok(()),
        }
    }

    /// Bytes of a record's payload, which the record's [`Place`] tells, moved forward or not.
    ///
    /// # Errors
    /// If the place is not in this log, or the storage fails.
    pub fn text(&self, place: Place, len: u32) -> Result<Cow<'_, [u8]>, Failed> {
        let ((id, offset), len) = (locate(place), len as usize);
        let failed = |name: &str, error| Failed::at(&self.storage, name, Doing::Read)(error);
        let missing = || io::Error::from(io::ErrorKind::UnexpectedEof);
        if let Some(closed) = self.files.get(&id) {
            let bytes = closed.file.bytes(offset, len);
            return bytes.map_err(|error| failed(&closed.name(), error));
        }
        if id != self.active_id {
            return Err(failed("", missing()));
        }
        let name = || segment_name(self.active.header.first);
        let Some(skip) = offset.checked_sub(self.last.end) else {
            let bytes = self.active.file.bytes(offset, len);
            return bytes.map_err(|error| failed(&name(), error));
        };
        let skip = usize::try_from(skip).unwrap_or(usize::MAX);
        let bytes = self.batch.bytes.get(skip..skip.saturating_add(len));
        bytes.map(Cow::Borrowed).ok_or_else(|| failed(&name(), missing()))
    }

    /// Writes and syncs everything, and takes the prepared segment away.
    ///
    /// # Errors
    /// If the storage fails; what was not committed before may be lost then.
    pub fn close(mut self) -> Result<(), Failed> {
        self.check()?;
        self.write_batch(Sync::Now)?;
        self.sync()?;
        if self.active.noted < self.active.proven.seq {
            let noted = self.note();
            self.latch(noted)?;
            self.sync()?;
        }
        self.next = None;
        discard(&self.storage);
        Ok(())
    }

    pub(super) fn check(&self) -> Result<(), Failed> {
        self.failed.clone().map_or(Ok(()), Err)
    }

    pub(super) fn latch<T>(&mut self, done: Result<T, Failed>) -> Result<T, Failed> {
        if let Err(failed) = &done {
            self.failed = Some(failed.clone());
        }
        done
    }

    pub(super) fn failed_at(&self, doing: Doing) -> impl FnOnce(io::Error) -> Failed + use<S> {
        let path = self.storage.path(&segment_name(self.active.header.first));
        move |error| Failed { doing, path, error: error.into() }
    }

    /// Seals the open batch and writes it behind the last one.
    pub(super) fn write_batch(&mut self, how: Sync) -> Result<(), Failed> {
        if self.batch.count == 0 {
            return Ok(());
        }
        if self.is_syncing() {
            self.finish_sync(true)?;
        }
        let sum = self.seal();
        let done = self.active.file.write_at(&self.batch.bytes, self.last.end);
        let done = done.map_err(|error| self.failed_at(Doing::Write)(error));
        self.latch(done)?;
        self.active.proven = self.active.synced;
        self.active.batches_unnoted += 1;
        if self.active.batches_unnoted >= BATCHES_PER_WITNESS {
            let noted = self.note();
            self.latch(noted)?;
        }
        let seq = Seq(self.last.seq.0 + u64::from(self.batch.count));
        let len = self.batch.bytes.len() as u64;
        let end = self.last.end + len;
        self.last = Mark { seq, end, checksum: sum };
        self.batch.clear();
        let clock = self.timers.clock;
        match (self.options.durability, how) {
            (Durability::Always, Sync::Now) => self.sync()?,
            (Durability::Always, Sync::Beside) => self.begin_sync_of(len)?,
            (Durability::Interval(_) | Durability::Never, _) => {
                self.timers.unsynced.get_or_insert(clock);
            }
        }
        if self.active.noted < self.active.proven.seq {
            self.timers.unnoted.get_or_insert(clock);
        }
        if self.wants_zeros() || self.wants_next() {
            self.timers.unprepared.get_or_insert(clock);
        }
        Ok(())
    }

    /// Puts header, checksum and padding around the records; answers the batch's checksum.
    fn seal(&mut self) -> u32 {
        let payload_len = self.batch.payload_len();
        let header = BatchHeader {
            payload_len: u32::try_from(payload_len).expect("append bounds the open batch"),
            first: self.last.seq.next(),
            time: self.batch.time,
            durable: self.active.synced.seq,
            count: self.batch.count,
            flags: 0,
            chain: self.last.checksum,
        };
        let bytes = &mut self.batch.bytes;
        let crc = header.encode(self.seed, bytes);
        let sum = checksum(crc, &bytes[BATCH_HEADER_LEN..]);
        bytes.extend_from_slice(&sum.to_be_bytes());
        bytes.resize(bytes.len().next_multiple_of(ALIGNMENT), 0);
        assert_eq!(bytes.len() as u64, header.total(), "a batch is as long as its header says");
        assert!(self.last.end + header.total() <= self.active.header.size, "append made room");
        sum
    }

    pub(super) fn sync(&mut self) -> Result<(), Failed> {
        self.finish_sync(true)?;
        let done = self.active.sync();
        let done = done.map_err(|error| self.failed_at(Doing::Sync)(error));
        self.latch(done)?;
        self.active.synced = self.last;
        self.timers.unsynced = None;
        Ok(())
    }

    /// Begins a sync beside. None is under way.
    pub(super) fn begin_sync(&mut self) -> Result<(), Failed> {
        let begun = self.storage.begin_sync(&self.active.file);
        let begun = begun.map_err(|error| self.failed_at(Doing::Sync)(error));
        self.latch(begun)?;
        self.active.syncing = Some(Syncing { mark: self.last, note: self.active.note_in_flight });
        self.timers.unsynced = None;
        Ok(())
    }

    fn sync_deadline(&self) -> Option<MonoMillis> {
        let Durability::Interval(millis) = self.options.durability else { return None };
        self.timers.unsynced.map(|at| at.plus(millis))
    }

    /// Syncs where the durability asks for it, or the disk had better begin.
    fn sync_when_due(&mut self) -> Result<(), Failed> {
        let due = match self.options.durability {
            Durability::Always => false,
            Durability::Interval(_) => {
                self.sync_deadline().is_some_and(|at| self.timers.clock >= at)
            }
            Durability::Never => self.finish_sync(false)? && self.unsynced() >= UNSYNCED_BYTES,
        };
        if !due {
            return Ok(());
        }
        // A sync that is still under way is of what came before: only its time was too long.
        self.finish_sync(true)?;
        match self.options.durability {
            _ if self.storage.syncs_beside(self.unsynced()) => self.begin_sync(),
            Durability::Never => Ok(()),
            Durability::Always | Durability::Interval(_) => self.sync(),
        }
    }

    /// Bytes of batches that are not known to be on disk.
    const fn unsynced(&self) -> u64 {
        self.last.end - self.active.synced.end
    }

    /// Writes what is proven into the witness slot whose turn it is; the next sync takes it along. Where that
    /// has not come since the last one, there is nothing to write: a power cut could tear both.
    pub(super) fn note(&mut self) -> Result<(), Failed> {
        self.active.batches_unnoted = 0;
        self.timers.unnoted = None;
        // A note only helps to judge a torn end: it can wait for a higher limit on the size of files.
        let is_new = self.active.noted < self.active.proven.seq;
        if !is_new || self.active.note_in_flight || self.limit() < HEADER_LEN {
            return Ok(());
        }
        let done = self.active.note(self.active.proven, self.options.is_weak(), false, self.seed);
        done.map_err(|error| self.failed_at(Doing::Write)(error))
    }
}

impl<F: StoredFile> Active<F> {
    /// A segment that has a header, and no batch.
    pub(super) const fn new(file: F, header: SegmentHeader, crc: u32, zeroed: u64) -> Self {
        let mark = Mark { seq: header.durable, end: HEADER_LEN, checksum: crc };
        Self {
            file,
            zeroed,
            synced: mark,
            proven: mark,
            noted: header.durable,
            counter: 0,
            note_in_flight: false,
            syncing: None,
            batches_unnoted: 0,
            header,
        }
    }

    /// Writes a witness into the slot whose turn it is.
    pub(super) fn note(
        &mut self,
        mark: Mark,
        weak: bool,
        closed: bool,
        seed: u32,
    ) -> io::Result<()> {
        let note = Witness { mark, counter: self.counter + 1, weak, closed };
        self.file.write_at(&note.encode(seed), WITNESS_OFFSETS[note.slot()])?;
        self.counter = note.counter;
        self.noted = mark.seq;
        self.note_in_flight = true;
        Ok(())
    }

    /// Syncs what was written, notes included.
    pub(super) fn sync(&mut self) -> io::Result<()> {
        self.file.sync_data()?;
        self.note_in_flight = false;
        Ok(())
    }
}
