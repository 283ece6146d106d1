//! Bases: what compaction makes of the closed part of a log.
//!
//! Owns how a base is written, checked and put into the place of what it replaces; `FORMAT.md` has the
//! steps. Its records are the caller's: what a state is made of is never known here.

use super::error::{Doing, Failed, ReadError};
use super::format::{
    ALIGNMENT, BASE_BATCH_PAYLOAD, BATCH_HEADER_LEN, BatchHeader, HEADER_LEN, Mark,
    RECORD_HEADER_LEN, SegmentHeader, Slots, WITNESS_OFFSETS, Witness, base_name, batch_len,
    checksum, encode_record_header, parse_base_name, parse_segment_name, seed_of,
};
use super::prepare::{Prepared, reserve, write_zeros};
use super::reader::{Reader, Segment};
use super::storage::{Storage, StoredFile};
use super::writer::Options;
use crate::id::{Seq, UnixMillis};

/// The name of a base that is being made.
pub(super) const BASE_NAME: &str = "base.tmp";
/// Bytes written at once.
const WRITE_STEP: usize = 1 << 20;
/// Bytes after which what was written is synced, so that no single sync is so long that a server's
/// own syncs wait behind it.
pub(super) const SYNC_STEP: u64 = 4 << 20;

/// What a base says about the log that it belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Origin {
    /// The charset tag of the log.
    pub charset: u8,
    /// The log's id.
    pub log_id: u64,
    /// One more than that of the base before; 1 for the first.
    pub generation: u64,
    /// The sequence number that the base holds the state of: the last one of a closed segment.
    pub seq: Seq,
    /// The time of its event.
    pub time: UnixMillis,
    /// Checksum of the last batch of that segment.
    pub chain: u32,
}

/// Counts how long a base becomes, record by record, without writing it.
#[derive(Clone, Copy, Debug)]
pub struct BaseSize {
    batches: u64,
    payload_len: usize,
}

impl Default for BaseSize {
    fn default() -> Self {
        Self { batches: HEADER_LEN, payload_len: 0 }
    }
}

impl BaseSize {
    /// Takes a record with so many bytes of payload into account.
    pub const fn add(&mut self, payload_len: usize) {
        if is_batch_full(self.payload_len, payload_len) {
            self.batches += batch_len(self.payload_len);
            self.payload_len = 0;
        }
        self.payload_len += RECORD_HEADER_LEN + payload_len;
    }

    /// Bytes of the file.
    #[must_use]
    pub const fn total(&self) -> u64 {
        let open = if self.payload_len > 0 { batch_len(self.payload_len) } else { 0 };
        (self.batches + open).next_multiple_of(HEADER_LEN)
    }
}

/// Whether a record with so many bytes goes into a batch behind the open one.
const fn is_batch_full(open_len: usize, payload_len: usize) -> bool {
    open_len > 0 && open_len + RECORD_HEADER_LEN + payload_len > BASE_BATCH_PAYLOAD
}

/// A base that is being written, under a name of its own.
pub struct BaseWriter<'s, S: Storage> {
    storage: &'s S,
    file: S::File,
    header: SegmentHeader,
    header_block: Vec<u8>,
    seed: u32,
    time: UnixMillis,
    /// Whole batches that are not written yet, and the open one behind them.
    bytes: Vec<u8>,
    open_at: usize,
    open_count: u32,
    mark: Mark,
    /// Where `bytes` begins in the file.
    written: u64,
    synced: u64,
}

impl<'s, S: Storage> BaseWriter<'s, S> {
    /// Begins a base of exactly `size` bytes, all of which are had at once or not at all.
    ///
    /// # Errors
    /// If there is no room, or the storage fails. Nothing is left of the file then.
    pub fn begin(storage: &'s S, origin: &Origin, size: u64) -> Result<Self, Failed> {
        let failed = |doing| Failed::at(storage, BASE_NAME, doing);
        let header = SegmentHeader {
            charset: origin.charset,
            is_base: true,
            weak: false,
            log_id: origin.log_id,
            generation: origin.generation,
            first: origin.seq.next(),
            durable: origin.seq,
            size,
            created: origin.time,
            chain: origin.chain,
        };
        let (header_block, crc) = header.encode();
        let mut file = match storage.create(BASE_NAME) {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                storage.remove(BASE_NAME).map_err(failed(Doing::Remove))?;
                storage.create(BASE_NAME)
            }
            answer => answer,
        }
        .map_err(failed(Doing::Create))?;
        let reserved = match reserve(&mut file, size) {
            Ok(true) => write_zeros(&mut file, 0, size).map_err(failed(Doing::Write)),
            Ok(false) => Ok(()),
            Err(error) => Err(failed(Doing::Reserve)(error)),
        };
        if let Err(failed) = reserved {
            discard(storage);
            return Err(failed);
        }
        Ok(Self {
            storage,
            file,
            seed: seed_of(header.log_id),
            header,
            header_block,
            time: origin.time,
            bytes: vec![0; BATCH_HEADER_LEN],
            open_at: 0,
            open_count: 0,
            mark: Mark { seq: Seq::ZERO, end: HEADER_LEN, checksum: crc },
            written: HEADER_LEN,
            synced: HEADER_LEN,
        })
    }

    /// Adds a record.
    ///
    /// # Errors
    /// If the storage fails.
    pub fn append(&mut self, kind: u8, payload: &[u8]) -> Result<(), Failed> {
        let open_len = self.bytes.len() - self.open_at - BATCH_HEADER_LEN;
        if is_batch_full(open_len, payload.len()) {
            self.seal();
            if self.bytes.len() >= WRITE_STEP {
                self.write()?;
            }
            self.bytes.resize(self.open_at + BATCH_HEADER_LEN, 0);
        }
        self.bytes.extend_from_slice(&encode_record_header(kind, payload.len()));
        self.bytes.extend_from_slice(payload);
        self.open_count += 1;
        Ok(())
    }

    /// Bytes of batches so far.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.mark.end - HEADER_LEN
    }

    /// Writes the rest and the header, and syncs. The base is whole then, but has no name yet.
    ///
    /// # Errors
    /// If the storage fails.
    pub fn finish(mut self) -> Result<(), Failed> {
        if self.open_count > 0 {
            self.seal();
        } else {
            self.bytes.truncate(self.open_at);
        }
        self.write()?;
        let note = Witness { mark: self.mark, counter: 1, weak: false, closed: true };
        let mut block = std::mem::take(&mut self.header_block);
        let slot = usize::try_from(WITNESS_OFFSETS[note.slot()]).unwrap_or_default();
        let sector = note.encode(self.seed);
        block[slot..slot + sector.len()].copy_from_slice(&sector);
        let failed = |doing| Failed::at(self.storage, BASE_NAME, doing);
        self.file.write_at(&block, 0).map_err(failed(Doing::Write))?;
        self.file.sync_data().map_err(failed(Doing::Sync))
    }

    /// Puts header, checksum and padding around the open records.
    fn seal(&mut self) {
        let payload_len = self.bytes.len() - self.open_at - BATCH_HEADER_LEN;
        let header = BatchHeader {
            payload_len: u32::try_from(payload_len).expect("records of a base are bounded"),
            first: self.mark.seq.next(),
            time: self.time,
            durable: self.mark.seq,
            count: self.open_count,
            flags: 0,
            chain: self.mark.checksum,
        };
        let batch = &mut self.bytes[self.open_at..];
        let crc = header.encode(self.seed, batch);
        let sum = checksum(crc, &batch[BATCH_HEADER_LEN..]);
        self.bytes.extend_from_slice(&sum.to_be_bytes());
        self.bytes.resize(self.bytes.len().next_multiple_of(ALIGNMENT), 0);
        self.open_at = self.bytes.len();
        self.open_count = 0;
        let end = self.mark.end + header.total();
        self.mark = Mark { seq: header.last(), end, checksum: sum };
    }

    fn write(&mut self) -> Result<(), Failed> {
        let failed = |doing| Failed::at(self.storage, BASE_NAME, doing);
        assert!(self.mark.end <= self.header.size, "a base is as long as was counted");
        self.file.write_at(&self.bytes, self.written).map_err(failed(Doing::Write))?;
        self.written = self.mark.end;
        self.bytes.clear();
        self.open_at = 0;
        if self.written - self.synced >= SYNC_STEP {
            self.file.sync_data().map_err(failed(Doing::Sync))?;
            self.synced = self.written;
        }
        Ok(())
    }
}

/// A reader of the base that was finished and has no name yet.
#[must_use]
pub fn read_draft<'s, S: Storage>(storage: &'s S, origin: &Origin) -> Reader<'s, S> {
    let name = BASE_NAME.to_owned();
    Reader::over(storage, vec![unread(name, origin.seq)], Vec::new())
}

pub(super) fn unread(name: String, seq: Seq) -> Segment {
    let slots = Slots::default();
    Segment { name, is_base: true, first: seq.next(), header: None, slots, len: 0 }
}

/// Gives the finished base its name: from here on it stands for all that it replaces.
///
/// # Errors
/// If the storage fails. The log is then what it was before, or what it is afterwards.
pub fn publish<S: Storage>(storage: &S, origin: &Origin) -> Result<(), Failed> {
    publish_as(storage, origin.seq)
}

pub(super) fn publish_as<S: Storage>(storage: &S, seq: Seq) -> Result<(), Failed> {
    let name = base_name(seq);
    // The segment behind the base may have got its name a moment ago: it must not be younger on the
    // disk than the base's.
    storage.sync_folder().map_err(Failed::at(storage, "", Doing::Sync))?;
    let renamed = storage.rename(BASE_NAME, &name);
    renamed.map_err(Failed::at(storage, &name, Doing::Rename))?;
    storage.sync_folder().map_err(Failed::at(storage, "", Doing::Sync))
}

/// Makes the segment that a log goes on with behind a base that stands alone.
///
/// # Errors
/// If there is no room, or the storage fails. The base stands alone then, which no log does.
pub fn continue_behind<S: Storage>(
    storage: &S,
    origin: &Origin,
    options: Options,
) -> Result<(), Failed> {
    let header = SegmentHeader {
        charset: origin.charset,
        is_base: false,
        weak: options.is_weak(),
        log_id: origin.log_id,
        generation: 0,
        first: origin.seq.next(),
        durable: origin.seq,
        size: options.bounded().segment_size,
        created: origin.time,
        chain: origin.chain,
    };
    let mut made = Prepared::begin(storage, header.size)?.finish(storage)?;
    made.put_header(storage, &header)?;
    made.publish(storage, &header).map(|_| ())
}

/// Removes what the base of `seq` replaces, which has been read and found good; answers how many files.
///
/// # Errors
/// If the storage fails. What is left can be removed at any later time.
pub fn collect<S: Storage>(storage: &S, seq: Seq) -> Result<usize, Failed> {
    let names = storage.list().map_err(Failed::at(storage, "", Doing::List))?;
    let is_superseded = |name: &str| {
        parse_segment_name(name).is_some_and(|first| first <= seq)
            || parse_base_name(name).is_some_and(|base| base < seq)
    };
    let superseded: Vec<_> = names.iter().filter(|name| is_superseded(name)).collect();
    if !superseded.is_empty() {
        // Whoever named the base may not have come to this: without it the removals could be on disk first.
        storage.sync_folder().map_err(Failed::at(storage, "", Doing::Sync))?;
    }
    let mut removed = 0;
    for name in superseded {
        match storage.remove(name) {
            // The server collects, too.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            answer => {
                answer.map_err(Failed::at(storage, name, Doing::Remove))?;
                removed += 1;
            }
        }
    }
    Ok(removed)
}

/// Takes the unfinished base away, if there is one.
pub fn discard<S: Storage>(storage: &S) {
    // Where that fails it stays behind: the next one that is made replaces it.
    let _ = storage.remove(BASE_NAME);
}

impl<S: Storage> Reader<'_, S> {
    /// Whether all batches of the base that is being read have been read.
    #[must_use]
    pub fn has_read_base(&self) -> bool {
        let first = self.segments().first();
        let note = first.filter(|first| first.is_base).and_then(|base| base.slots.newest());
        note.is_some_and(|note| note.mark == self.mark())
    }

    /// The header of a file of the log, before its turn has come.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn peek_header(&self, index: usize) -> Result<Option<SegmentHeader>, ReadError> {
        let Some(segment) = self.segments().get(index) else { return Ok(None) };
        let file = super::reader::open_listed(self.storage(), segment)?;
        let mut block = vec![0; usize::try_from(HEADER_LEN).unwrap_or_default()];
        let count = file.read_at(&mut block, 0);
        count.map_err(Failed::at(self.storage(), &segment.name, Doing::Read))?;
        Ok(SegmentHeader::decode(&block).ok().map(|(header, _)| header))
    }
}
