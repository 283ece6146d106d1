//! Opening a log for a server: read all of it, mend what a crash may leave behind, refuse the rest.
//!
//! Owns the table of recovery and the repairs in it. It never judges bytes (the reader does), and
//! never changes anything before the whole log has been read and found good.

use std::path::PathBuf;

use super::base;
use super::base::BASE_NAME;
use super::error::{Doing, Failed, OpenError, ReadError};
use super::format::{
    BATCH_HEADER_LEN, BatchHeader, CHECKSUM_LEN, HEADER_LEN, Mark, SegmentHeader, Slots,
    WITNESS_OFFSETS, checksum, seed_of, segment_name,
};
use super::prepare::{NEXT_NAME, Prepared, reserve, write_zeros};
use super::progress::{Counter, Progress};
use super::reader::{Reader, Segment, open_listed};
use super::step::{Batch, End, Record, Step, Torn, locate};
use super::storage::{Access, Lock, Storage, StoredFile};
use super::writer::{Active, Closed, Log, Options};
use crate::id::{Seq, UnixMillis};

/// The name of a torn end's copy while it is being made.
const TORN_NAME: &str = "torn.tmp";
/// Bytes copied at once.
const COPY_CHUNK: usize = 1 << 20;

/// Every state that a log can be found in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Found {
    /// No segment.
    Nothing,
    /// All segments end behind their last batch.
    Whole,
    /// A file that was being made.
    Leftover,
    /// Files whose place a base has taken.
    Superseded,
    /// Something behind the last batch that nothing shows to have been on disk.
    TornEnd,
    /// The last file lacks zeros at its end.
    ShortFile,
    /// The last file has too many bytes.
    LongFile,
    /// One bad witness slot beside a good one, where a write may have been torn.
    TornSlot,
    /// The second to last segment does not say yet that another one follows.
    Unclosed,
    /// What had been on disk is not as it was written.
    Damage,
    /// A newer version, or features that this code does not know.
    Newer,
    /// Another charset than the server's.
    OtherCharset,
    /// A server holds the folder.
    InUse,
    /// The system does not let a file be read or written.
    Unreadable,
}

/// What becomes of a log that is found so. Behind a colon stands the exit status, where the log settles it.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// The state.
    pub found: Found,
    /// What the server does.
    pub server: &'static str,
    /// What each tool does, in the order of [`TOOLS`].
    pub tools: [&'static str; TOOLS.len()],
}

/// The tools of the table.
pub const TOOLS: [&str; 5] = ["replay, stat", "verify", "repair", "backup", "compact"];

const fn row(found: Found, server: &'static str, tools: [&'static str; TOOLS.len()]) -> Row {
    Row { found, server, tools }
}

/// The table of recovery; `FORMAT.md` has the same.
pub const TABLE: &[Row] = &[
    row(
        Found::Nothing,
        "makes the first segment",
        [
            "there is no log",
            "there is no log: 1",
            "there is no log: 1",
            "there is no log: 1",
            "there is no log: 1",
        ],
    ),
    row(
        Found::Whole,
        "writes and syncs the last batch again, goes on",
        ["shows it", "whole: 0", "copies it", "copies it", "compacts it"],
    ),
    row(
        Found::Leftover,
        "removes it",
        [
            "passes it over",
            "passes it over",
            "passes it over",
            "passes it over",
            "removes `base.tmp`",
        ],
    ),
    row(
        Found::Superseded,
        "removes them",
        [
            "passes them over",
            "passes them over",
            "passes them over",
            "passes them over",
            "removes them",
        ],
    ),
    row(
        Found::TornEnd,
        "saves it as `.torn`, puts zeros in its place, reports it",
        [
            "shows what is before it",
            "reports it; whole: 0",
            "leaves it out",
            "leaves it out",
            "without a server: as a server does",
        ],
    ),
    row(
        Found::ShortFile,
        "reads zeros there, fills them in",
        [
            "reads zeros there",
            "reads zeros there",
            "reads zeros there",
            "reads zeros there",
            "without a server: as a server does",
        ],
    ),
    row(
        Found::LongFile,
        "cuts it to its length; bytes that are not 0: a torn end, or damage",
        [
            "the same, without the cut",
            "the same, without the cut",
            "the same, without the cut",
            "the same, without the cut",
            "without a server: as a server does",
        ],
    ),
    row(
        Found::TornSlot,
        "writes a new note over it",
        [
            "passes it over",
            "passes it over",
            "passes it over",
            "passes it over",
            "without a server: as a server does",
        ],
    ),
    row(
        Found::Unclosed,
        "notes it",
        [
            "passes it over",
            "passes it over",
            "passes it over",
            "notes it in the copy",
            "without a server: as a server does",
        ],
    ),
    row(
        Found::Damage,
        "does not start: file, offset, sequence number",
        [
            "shows what is before it: 1",
            "reports it, goes on behind it: 1",
            "saves what is whole, lists the rest by number: 0",
            "copies nothing: 1",
            "changes nothing: 1",
        ],
    ),
    row(
        Found::Newer,
        "does not start",
        [
            "does not read it: 1",
            "does not read it: 1",
            "does not read it: 1",
            "does not read it: 1",
            "does not read it: 1",
        ],
    ),
    row(
        Found::OtherCharset,
        "does not start",
        ["reads it", "reads it", "copies it", "copies it", "compacts it"],
    ),
    row(
        Found::InUse,
        "does not start",
        [
            "reads what is there",
            "reads what is there",
            "reads what is there",
            "copies what is there",
            "leaves the last file as it is",
        ],
    ),
    row(
        Found::Unreadable,
        "does not start: file and the system's words",
        [
            "the same: 1",
            "reports it as damage: 1",
            "takes it for damage: 0",
            "the same: 1",
            "the same: 1",
        ],
    ),
];

/// What opening a log found and did.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Recovery {
    /// The last sequence number.
    pub last_seq: Seq,
    /// The time of the last record, 0 in an empty log.
    pub last_time: UnixMillis,
    /// How many records were read.
    pub events: u64,
    /// Bytes of all batches.
    pub bytes: u64,
    /// How many segment files there are.
    pub segments: usize,
    /// The torn end that was cut off, and the file that it was saved to.
    pub torn: Option<(Torn, PathBuf)>,
    /// The rows of the table that applied.
    pub found: Vec<Found>,
}

/// What reading the log found out.
struct Replay {
    segments: Vec<Segment>,
    mark: Mark,
    mark_before: Mark,
    closed_mark: Mark,
    durable: Seq,
    torn: Option<Torn>,
}

/// What is rebuilt from the log's records.
pub trait Rebuild<E> {
    /// These records come next: whoever likes can have a look at what they will need.
    fn look_ahead(&mut self, _batch: &Batch<'_>) {}

    /// Takes the next record in.
    fn take(&mut self, record: &Record<'_>) -> Result<(), E>;
}

impl<E, F: FnMut(&Record<'_>) -> Result<(), E>> Rebuild<E> for F {
    fn take(&mut self, record: &Record<'_>) -> Result<(), E> {
        self(record)
    }
}

impl<S: Storage> Log<S> {
    /// Opens the log for appending, or begins one, with `fresh_log_id`, where there is none. Hands
    /// every record to `each`, in order.
    ///
    /// # Errors
    /// As in [`TABLE`]. Nothing has been changed then, unless the storage failed during a repair,
    /// which the next call does again.
    pub fn open<E>(
        storage: S,
        options: Options,
        fresh_log_id: u64,
        now: UnixMillis,
        each: impl FnMut(&Record<'_>) -> Result<(), E>,
    ) -> Result<(Self, Recovery), OpenError<E>> {
        Self::open_watched(storage, options, fresh_log_id, now, each, |_| ())
    }

    /// The same, and tells `watch` after each batch how far it is.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_watched<E>(
        mut storage: S,
        options: Options,
        fresh_log_id: u64,
        now: UnixMillis,
        mut each: impl Rebuild<E>,
        mut watch: impl FnMut(&Progress),
    ) -> Result<(Self, Recovery), OpenError<E>> {
        let options = options.bounded();
        match storage.lock(Lock::Server) {
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                return Err(OpenError::InUse { folder: storage.path("") });
            }
            locked => locked.map_err(Failed::at(&storage, "", Doing::Lock))?,
        }
        let mut recovery = Recovery::default();
        let replay = replay(&storage, options.charset, &mut recovery, &mut each, &mut watch)?;
        // Only the base that was read may take the place of anything.
        let base = replay.segments.first().and_then(Segment::base);
        remove_leftovers(&mut storage, base, &mut recovery)?;
        let log = if replay.segments.is_empty() {
            recovery.found.push(Found::Nothing);
            create(storage, options, fresh_log_id, now)?
        } else {
            reopen(storage, options, &replay, &mut recovery)?
        };
        recovery.segments = log.files.len() + 1;
        if recovery.found.is_empty() {
            recovery.found.push(Found::Whole);
        }
        Ok((log, recovery))
    }
}

fn replay<S: Storage, E>(
    storage: &S,
    charset: u8,
    recovery: &mut Recovery,
    each: &mut impl Rebuild<E>,
    watch: &mut impl FnMut(&Progress),
) -> Result<Replay, OpenError<E>> {
    let mut reader = Reader::open(storage)?;
    if let Some(found) = reader.charset()?.filter(|found| *found != charset) {
        let file = storage.path(&reader.segments()[0].name);
        return Err(OpenError::Charset { file, found, wanted: charset });
    }
    let mut counter = Counter::begin(storage, reader.segments())?;
    let end = loop {
        let batch = match reader.next_batch()? {
            Step::Batch(batch) => batch,
            Step::End(end) => break end,
        };
        let segment = batch.segment;
        if batch.base.is_none() {
            recovery.events += u64::from(batch.header.count);
        }
        recovery.bytes += batch.header.total();
        counter.count(&batch);
        each.look_ahead(&batch);
        let refused = batch.records().find_map(|record| {
            let error = each.take(&record).err()?;
            Some((record.seq, locate(record.place).1, error))
        });
        if let Some((seq, offset, error)) = refused {
            let file = storage.path(&reader.segments()[segment].name);
            return Err(OpenError::Meaning { file, offset, seq, error });
        }
        watch(&counter.progress);
    };
    let torn = match end {
        End::Whole => None,
        End::Torn(torn) => Some(torn),
        End::Damaged(damage) => return Err(OpenError::Damaged(damage)),
    };
    (recovery.last_seq, recovery.last_time) = (reader.mark.seq, reader.time);
    let Reader { segments, mark, mark_before, closed_mark, durable, .. } = reader;
    Ok(Replay { segments, mark, mark_before, closed_mark, durable, torn })
}

fn remove_leftovers<S: Storage>(
    storage: &mut S,
    base: Option<Seq>,
    recovery: &mut Recovery,
) -> Result<(), Failed> {
    let names = storage.list().map_err(Failed::at(storage, "", Doing::List))?;
    for name in names.iter().filter(|name| [NEXT_NAME, TORN_NAME].contains(&name.as_str())) {
        storage.remove(name).map_err(Failed::at(storage, name, Doing::Remove))?;
        recovery.found.push(Found::Leftover);
    }
    // A compaction that is running works on a file of its own, and collects by itself.
    if storage.lock(Lock::Compaction).is_err() {
        return Ok(());
    }
    if names.iter().any(|name| name == BASE_NAME) {
        base::discard(storage);
        recovery.found.push(Found::Leftover);
    }
    let collected = base.map_or(Ok(0), |base| base::collect(storage, base));
    storage.unlock(Lock::Compaction);
    if collected? > 0 {
        recovery.found.push(Found::Superseded);
    }
    Ok(())
}

/// Makes the first segment of a log.
fn create<S: Storage>(
    storage: S,
    options: Options,
    log_id: u64,
    now: UnixMillis,
) -> Result<Log<S>, Failed> {
    let header = SegmentHeader {
        charset: options.charset,
        is_base: false,
        weak: options.is_weak(),
        log_id,
        generation: 0,
        first: Seq(1),
        durable: Seq::ZERO,
        size: options.segment_size,
        created: now,
        chain: 0,
    };
    let mut made = Prepared::begin(&storage, header.size)?.finish(&storage)?;
    let crc = made.put_header(&storage, &header)?;
    let zeroed = made.zeroed;
    let file = made.publish(&storage, &header)?;
    let active = Active::new(file, header, crc, zeroed);
    Ok(Log::assemble(storage, options, Vec::new(), active, UnixMillis(0)))
}

/// Mends the last segment, makes sure that all of it is on disk, and goes on in it.
fn reopen<S: Storage>(
    storage: S,
    options: Options,
    replay: &Replay,
    recovery: &mut Recovery,
) -> Result<Log<S>, ReadError> {
    let (last, earlier) = replay.segments.split_last().expect("the log has a segment");
    let header = last.header.clone().expect("the reader has read every header");
    // Whoever named the last segment may not have come to this, and what follows depends on it.
    storage.sync_folder().map_err(Failed::at(&storage, "", Doing::Sync))?;
    let mut closed = Vec::with_capacity(earlier.len());
    for segment in earlier {
        let mut file = open_listed(&storage, segment)?;
        file.let_go();
        let Segment { first, is_base, .. } = *segment;
        closed.push(Closed { file, first, is_base });
    }
    if let Some(segment) = earlier.last().filter(|segment| !segment.is_base) {
        let next_has_batch = replay.mark.end > HEADER_LEN;
        note_closed(&storage, segment, replay.closed_mark, next_has_batch, recovery)?;
    }
    let failed = |doing| Failed::at(&storage, &last.name, doing);
    let mut file = storage.open(&last.name, Access::Write).map_err(failed(Doing::Open))?;
    let mut torn_len = saved_len(&storage, replay.mark.seq)?;
    if let Some(torn) = &replay.torn {
        let saved = save_torn(&storage, &file, &last.name, torn)?;
        recovery.torn = Some((torn.clone(), saved));
        recovery.found.push(Found::TornEnd);
        torn_len = torn_len.max(torn.bytes);
    }
    fit_length(&mut file, last.len, header.size, recovery).map_err(failed(Doing::Reserve))?;
    let blank_len = torn_len.min(header.size.saturating_sub(replay.mark.end));
    write_zeros(&mut file, replay.mark.end, blank_len).map_err(failed(Doing::Write))?;
    write_again(&storage, &mut file, &header, replay)?;
    let seed = seed_of(header.log_id);
    write_notes_again(&mut file, &last.slots, seed).map_err(failed(Doing::Write))?;
    file.sync_data().map_err(failed(Doing::Sync))?;

    let crc = header.encode().1;
    let mut active = Active::new(file, header, crc, replay.mark.end);
    mend_slots(&mut active, last, &options, recovery).map_err(failed(Doing::Write))?;
    active.synced = replay.mark;
    if replay.durable >= replay.mark_before.seq {
        active.proven = replay.mark_before;
    }
    Ok(Log::assemble(storage, options, closed, active, recovery.last_time))
}

/// A crash may have come between the new segment's name and the old one's note of it, or between the note
/// and its sync: a batch in the new segment shows that both are behind it.
pub(super) fn note_closed<S: Storage>(
    storage: &S,
    segment: &Segment,
    closed_mark: Mark,
    next_has_batch: bool,
    recovery: &mut Recovery,
) -> Result<(), Failed> {
    let newest = segment.slots.newest();
    let is_noted = newest.is_some_and(|note| note.closed) && segment.slots.bad_count() == 0;
    if is_noted && next_has_batch {
        return Ok(());
    }
    let failed = |doing| Failed::at(storage, &segment.name, doing);
    let header = segment.header.clone().expect("the reader has read every header");
    let (seed, crc) = (seed_of(header.log_id), header.encode().1);
    let file = match storage.open(&segment.name, Access::Write) {
        // Compacted since: what the base holds needs no note.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        opened => opened.map_err(failed(Doing::Open))?,
    };
    let mut active = Active::new(file, header, crc, 0);
    active.counter = newest.map_or(0, |note| note.counter);
    let mut slots = segment.slots;
    write_notes_again(&mut active.file, &slots, seed).map_err(failed(Doing::Write))?;
    active.sync().map_err(failed(Doing::Sync))?;
    let mut wanted = !is_noted;
    while wanted || slots.bad_count() > 0 {
        active.note(closed_mark, segment.is_weak(), true, seed).map_err(failed(Doing::Write))?;
        active.sync().map_err(failed(Doing::Sync))?;
        cover(&mut slots, active.counter);
        wanted = false;
    }
    if !is_noted {
        recovery.found.push(Found::Unclosed);
    }
    Ok(())
}

/// The note with this counter has gone over what its slot held.
const fn cover(slots: &mut Slots, counter: u64) {
    slots.bad[if counter % 2 == 1 { 0 } else { 1 }] = false;
}

/// Copies a torn end into a file of its own, which is on disk when this answers.
fn save_torn<S: Storage>(
    storage: &S,
    file: &S::File,
    name: &str,
    torn: &Torn,
) -> Result<PathBuf, Failed> {
    let names = storage.list().map_err(Failed::at(storage, "", Doing::List))?;
    let mut target = format!("{:020}.torn", torn.after.0);
    let mut copy = 2;
    while names.contains(&target) {
        target = format!("{:020}-{copy}.torn", torn.after.0);
        copy += 1;
    }
    let copied = copy_torn(storage, file, name, torn);
    let named = copied.and_then(|()| {
        storage.rename(TORN_NAME, &target).map_err(Failed::at(storage, &target, Doing::Rename))
    });
    if named.is_err() {
        // Half a copy is worth nothing, and may take the room that the next start needs.
        let _ = storage.remove(TORN_NAME);
    }
    named?;
    storage.sync_folder().map_err(Failed::at(storage, "", Doing::Sync))?;
    Ok(storage.path(&target))
}

fn copy_torn<S: Storage>(
    storage: &S,
    file: &S::File,
    name: &str,
    torn: &Torn,
) -> Result<(), Failed> {
    let failed = |doing| Failed::at(storage, TORN_NAME, doing);
    let mut out = storage.create(TORN_NAME).map_err(failed(Doing::Create))?;
    let mut buffer = vec![0; COPY_CHUNK];
    let mut done = 0;
    while done < torn.bytes {
        let want = COPY_CHUNK.min(usize::try_from(torn.bytes - done).unwrap_or(COPY_CHUNK));
        let count = file.read_at(&mut buffer[..want], torn.offset + done);
        let count = count.map_err(Failed::at(storage, name, Doing::Read))?;
        if count == 0 {
            break;
        }
        out.write_at(&buffer[..count], done).map_err(failed(Doing::Write))?;
        done += count as u64;
    }
    out.sync_data().map_err(failed(Doing::Sync))
}

/// Bytes of the longest torn end that was saved behind `seq`: the zeros that went to its place are in memory
/// alone if their sync has failed.
fn saved_len<S: Storage>(storage: &S, seq: Seq) -> Result<u64, Failed> {
    let names = storage.list().map_err(Failed::at(storage, "", Doing::List))?;
    let start = format!("{:020}", seq.0);
    let mut longest = 0;
    for name in names.iter().filter(|name| name.starts_with(&start) && name.ends_with(".torn")) {
        let file = storage.open(name, Access::Read);
        let file = file.map_err(Failed::at(storage, name, Doing::Open))?;
        longest = file.size().map_err(Failed::at(storage, name, Doing::Read))?.max(longest);
    }
    Ok(longest)
}

/// Gives the last segment's file the length that its header says.
fn fit_length<F: StoredFile>(
    file: &mut F,
    len: u64,
    size: u64,
    recovery: &mut Recovery,
) -> std::io::Result<()> {
    if len < size {
        recovery.found.push(Found::ShortFile);
        if reserve(file, size)? {
            write_zeros(file, len, size - len)?;
        }
    } else if len > size {
        recovery.found.push(Found::LongFile);
        file.set_len(size)?;
    }
    Ok(())
}

/// Writes the batches that may not be on disk once more: after a failed sync the system can take pages for
/// written that are not, and a sync alone would pass them over. It can also forget these pages, so each batch
/// is checked again: what stands there must still be what was handed out.
fn write_again<S: Storage>(
    storage: &S,
    file: &mut S::File,
    header: &SegmentHeader,
    replay: &Replay,
) -> Result<(), Failed> {
    let name = segment_name(header.first);
    let failed = |doing| Failed::at(storage, &name, doing);
    let changed = || failed(Doing::Read)(std::io::Error::other("it changed since it was read"));
    let seed = seed_of(header.log_id);
    let mut mark = match replay.durable {
        durable if durable >= replay.mark.seq => replay.mark,
        durable if durable >= replay.mark_before.seq => replay.mark_before,
        _ => Mark { seq: header.durable, end: HEADER_LEN, checksum: header.encode().1 },
    };
    let mut bytes = Vec::new();
    while mark.end < replay.mark.end {
        bytes.resize(BATCH_HEADER_LEN, 0);
        file.read_at(&mut bytes, mark.end).map_err(failed(Doing::Read))?;
        let (batch, crc) = BatchHeader::decode(&bytes, seed)
            .filter(|(batch, _)| mark.end + batch.total() <= replay.mark.end)
            .ok_or_else(changed)?;
        bytes.resize(usize::try_from(batch.total()).expect("batches are bounded"), 0);
        let (_, rest) = bytes.split_at_mut(BATCH_HEADER_LEN);
        let rest_at = mark.end + BATCH_HEADER_LEN as u64;
        file.read_at(rest, rest_at).map_err(failed(Doing::Read))?;
        let (payload, sum) = rest.split_at(batch.payload_len as usize);
        let checksum = checksum(crc, payload);
        if batch.chain != mark.checksum || sum[..CHECKSUM_LEN] != checksum.to_be_bytes() {
            return Err(changed());
        }
        file.write_at(&bytes, mark.end).map_err(failed(Doing::Write))?;
        mark = Mark { seq: batch.last(), end: mark.end + batch.total(), checksum };
    }
    if mark == replay.mark { Ok(()) } else { Err(changed()) }
}

/// As [`write_again`], of the notes.
fn write_notes_again<F: StoredFile>(file: &mut F, slots: &Slots, seed: u32) -> std::io::Result<()> {
    for note in slots.notes.into_iter().flatten() {
        file.write_at(&note.encode(seed), WITNESS_OFFSETS[note.slot()])?;
    }
    Ok(())
}

/// Writes over a bad slot, and notes a change of durability before a batch can depend on it.
fn mend_slots<F: StoredFile>(
    active: &mut Active<F>,
    segment: &Segment,
    options: &Options,
    recovery: &mut Recovery,
) -> std::io::Result<()> {
    let newest = segment.slots.newest();
    let mark = newest.map_or(active.synced, |note| note.mark);
    let weak = options.is_weak();
    let seed = seed_of(active.header.log_id);
    active.counter = newest.map_or(0, |note| note.counter);
    active.noted = mark.seq;
    let mut slots = segment.slots;
    if slots.bad_count() > 0 {
        recovery.found.push(Found::TornSlot);
    }
    let mut wanted = segment.is_weak() != weak;
    while wanted || slots.bad_count() > 0 {
        active.note(mark, weak, false, seed)?;
        active.sync()?;
        cover(&mut slots, active.counter);
        wanted = false;
    }
    Ok(())
}
