//! The one reader of logs: recovery and all tools see a log through it.
//!
//! Owns the order of the checks, and the judgement whether what fails one is a torn end or damage.
//! It only reads, with `pread` and in bounded memory, and never repairs, skips or guesses. How tools read
//! what is damaged stands in `reader/lenient.rs`, how far a log reaches in `reader/reach.rs`, how a reader goes
//! back in `reader/bookmark.rs`.

mod bookmark;
mod lenient;
mod reach;

pub use bookmark::Bookmark;
pub use lenient::Identity;

use super::error::{Damage, Doing, Failed, ReadError, What};
use super::format::{
    BASE_BATCH_PAYLOAD, BATCH_HEADER_LEN, BATCH_MAX, BatchHeader, CHECKSUM_LEN, FLAGS_KNOWN,
    HEADER_LEN, HeaderFault, Mark, Newer, SegmentHeader, Slots, WITNESS_OFFSETS, Witness, checksum,
    is_zero, parse_base_name, parse_segment_name, seed_of, split_record,
};
use super::step::{Batch, End, Resumed, Step, Torn};
use super::storage::{Access, Storage, StoredFile};
use super::window::Window;
use crate::id::{Seq, UnixMillis};

/// Reads a log from its first batch to its end.
///
/// Call [`next_batch`](Self::next_batch) until it answers [`Step::End`]. After
/// [`End::Damaged`], [`resume`](Self::resume) goes on behind the damage. A server may be writing to
/// the log meanwhile: the batch that it is just writing may show as a torn end.
pub struct Reader<'s, S: Storage> {
    storage: &'s S,
    pub(super) segments: Vec<Segment>,
    superseded: Vec<String>,
    index: usize,
    file: Option<S::File>,
    window: Window,
    seed: Option<u32>,
    state: State,
    /// The end of what has been read, and of what had been read before the last batch.
    pub(super) mark: Mark,
    pub(super) mark_before: Mark,
    /// The end of the segment before this one.
    pub(super) closed_mark: Mark,
    /// The last sequence number that anything shows to have been on disk.
    pub(super) durable: Seq,
    batch_durable: Seq,
    pub(super) time: UnixMillis,
    /// Notes that no batch has confirmed yet.
    pending: [Option<Witness>; 2],
    /// Behind damage, a segment need not continue what was read.
    adopt: bool,
    read_again_at: Option<u64>,
}

/// A segment file, or the base before the first one, as far as it has been read.
#[derive(Clone, Debug)]
pub struct Segment {
    /// The file's name in the folder.
    pub name: String,
    /// Whether it is a base.
    pub is_base: bool,
    /// The first sequence number, by its name; of a base, the first one behind it. Read leniently, by its
    /// header where that is whole.
    pub first: Seq,
    /// Its header, once it has been read.
    pub header: Option<SegmentHeader>,
    /// Its witness slots, once they have been read.
    pub slots: Slots,
    /// Bytes of the file, once it has been opened.
    pub len: u64,
}

impl Segment {
    /// Whether batches in it may have been written before earlier ones were on disk.
    #[must_use]
    pub fn is_weak(&self) -> bool {
        let header = self.header.as_ref().is_some_and(|header| header.weak);
        self.slots.newest().map_or(header, |note| note.weak)
    }

    /// The sequence number that it holds the state of, if it is a base.
    pub(super) fn base(&self) -> Option<Seq> {
        self.is_base.then(|| Seq(self.first.0 - 1))
    }

    /// Where no batch can reach beyond.
    fn limit(&self) -> u64 {
        self.header.as_ref().map_or(self.len, |header| header.size)
    }
}

/// Where a reader stands in a file.
#[derive(Clone, Copy)]
pub(super) struct Position {
    pub(super) mark: Mark,
    batch_durable: Seq,
    time: UnixMillis,
    pending: [Option<Witness>; 2],
    seed: Option<u32>,
}

#[derive(Debug)]
enum State {
    /// Before a segment's header.
    Enter,
    /// Behind the header or a batch.
    Read,
    Ended(End),
}

/// The files of a log.
struct Listing {
    /// The newest base, if there is one, and the segments behind it, in order.
    segments: Vec<Segment>,
    /// What that base has made superfluous.
    superseded: Vec<String>,
}

fn list_segments<S: Storage>(storage: &S) -> Result<Listing, Failed> {
    let names = storage.list().map_err(Failed::at(storage, "", Doing::List))?;
    let segment = |name: String| {
        let base = parse_base_name(&name);
        let first = base.map(Seq::next);
        let first = first.or_else(|| parse_segment_name(&name))?;
        let is_base = base.is_some();
        Some(Segment { name, is_base, first, header: None, slots: Slots::default(), len: 0 })
    };
    let mut segments: Vec<_> = names.into_iter().filter_map(segment).collect();
    segments.sort_unstable_by_key(|segment| (segment.first, !segment.is_base));
    let newest = segments.iter().rposition(|segment| segment.is_base).unwrap_or(0);
    let superseded = segments.drain(..newest).map(|segment| segment.name).collect();
    Ok(Listing { segments, superseded })
}

/// Opens a file that had been listed, and that compaction may have taken away since.
pub(super) fn open_listed<S: Storage>(
    storage: &S,
    segment: &Segment,
) -> Result<S::File, ReadError> {
    let error = match storage.open(&segment.name, Access::Read) {
        Ok(file) => return Ok(file),
        Err(error) => error,
    };
    let is_superseded = |base: &Segment| base.is_base && base.first > segment.first;
    let compacted = error.kind() == std::io::ErrorKind::NotFound
        && list_segments(storage).is_ok_and(|now| now.segments.first().is_some_and(is_superseded));
    if compacted {
        return Err(ReadError::Compacted);
    }
    Err(Failed::at(storage, &segment.name, Doing::Open)(error).into())
}

/// What stands at a place.
enum Verdict {
    Good(BatchHeader, u32),
    /// A full header's worth of zeros, or no room for a header.
    Empty,
    /// Something that fails a check; as many bytes from here belong to it, at most.
    Bad {
        what: What,
        reach: u64,
    },
}

impl<'s, S: Storage> Reader<'s, S> {
    /// Finds the segment files; reads none of them yet. A folder without any is an empty log.
    ///
    /// # Errors
    /// If the folder cannot be listed.
    pub fn open(storage: &'s S) -> Result<Self, ReadError> {
        let Listing { segments, superseded } = list_segments(storage)?;
        Ok(Self::over(storage, segments, superseded))
    }

    /// A reader of these files.
    pub(super) fn over(storage: &'s S, segments: Vec<Segment>, superseded: Vec<String>) -> Self {
        let state = if segments.is_empty() { State::Ended(End::Whole) } else { State::Enter };
        Self {
            storage,
            segments,
            superseded,
            index: 0,
            file: None,
            window: Window::default(),
            seed: None,
            state,
            mark: Mark::default(),
            mark_before: Mark::default(),
            closed_mark: Mark::default(),
            durable: Seq::ZERO,
            batch_durable: Seq::ZERO,
            time: UnixMillis(0),
            pending: [None; 2],
            adopt: false,
            read_again_at: None,
        }
    }

    /// The base, if the log has one, and the segments behind it, in order; headers and slots are known
    /// of those that have been read.
    #[must_use]
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// The names of files whose place the base has taken, and which nobody has removed yet.
    #[must_use]
    pub fn superseded(&self) -> &[String] {
        &self.superseded
    }

    /// Where the last batch that was read ends; what has not been read yet begins there.
    #[must_use]
    pub const fn mark(&self) -> Mark {
        self.mark
    }

    /// The charset tag of the log, `None` if there is no header that tells it.
    ///
    /// # Errors
    /// As [`next_batch`](Self::next_batch).
    pub fn charset(&mut self) -> Result<Option<u8>, ReadError> {
        if self.index == 0 && matches!(self.state, State::Enter) {
            self.enter()?;
        }
        let header = self.segments.first().and_then(|segment| segment.header.as_ref());
        Ok(header.map(|header| header.charset))
    }

    /// The next batch, or how the log ends.
    ///
    /// # Errors
    /// If a file cannot be read, or is newer than this program, or the log was compacted meanwhile.
    pub fn next_batch(&mut self) -> Result<Step<'_>, ReadError> {
        loop {
            match &self.state {
                State::Ended(end) => return Ok(Step::End(end.clone())),
                State::Enter => self.enter()?,
                State::Read => {
                    let offset = self.mark.end;
                    match self.examine(offset)? {
                        Verdict::Good(header, sum) if self.accept(&header, sum) => {
                            return Ok(Step::Batch(self.batch_at(offset, header)));
                        }
                        Verdict::Good(..) => {}
                        Verdict::Empty => self.judge(None, BATCH_MAX)?,
                        Verdict::Bad { what, reach } => self.judge(Some(what), reach)?,
                    }
                }
            }
        }
    }

    /// Goes on behind damage, at the next batch that is whole in itself.
    ///
    /// # Errors
    /// As [`next_batch`](Self::next_batch).
    pub fn resume(&mut self) -> Result<Resumed, ReadError> {
        self.resume_over(&mut |_, _| false)
    }

    /// The same, and hands to `remains` what may be records of the damaged stretch: kind and payload, which
    /// no checksum vouches for. Where it answers `false`, what follows makes no sense either, and is left out.
    ///
    /// # Errors
    /// As [`next_batch`](Self::next_batch).
    pub fn resume_over(
        &mut self,
        remains: &mut dyn FnMut(u8, &[u8]) -> bool,
    ) -> Result<Resumed, ReadError> {
        if !matches!(self.state, State::Ended(End::Damaged(_))) {
            return Ok(Resumed::Finished { durable: self.durable });
        }
        self.pending = [None; 2];
        let mut expected = self.mark.seq.next();
        let base = self.segment().base();
        // A base counts its records on its own: its batches are no others', whatever their numbers.
        let header = self.segment().header.as_ref();
        let is_misnamed = header.is_some_and(|header| header.is_base != base.is_some());
        let found = if is_misnamed { None } else { self.find_batch(expected, remains)? };
        let first = if let Some((offset, header)) = found {
            let before = Seq(header.first.0 - 1);
            self.mark = Mark { seq: before, end: offset, checksum: header.chain };
            self.batch_durable = header.durable;
            self.time = header.time;
            self.state = State::Read;
            header.first
        } else if let Some(next) = self.segments.get(self.index + 1) {
            let noted = self.segment().slots.newest().map(|note| note.mark.seq.0);
            let (first, own) = (next.first, expected.0);
            expected = base.map_or(expected, Seq::next);
            let base_lost = base.is_some() && noted.is_none_or(|noted| noted >= own);
            // Whether the next file follows its own header tells, where part of a base is to be named here.
            let first = if base_lost { expected } else { first.max(expected) };
            self.mark.seq = Seq(first.0 - 1);
            self.index += 1;
            self.adopt = true;
            self.state = State::Enter;
            if base_lost {
                self.mark_before = self.mark;
                return Ok(Resumed::BaseLost { first: own, last: noted });
            }
            first
        } else {
            self.state = State::Ended(End::Whole);
            return Ok(Resumed::Finished { durable: self.durable });
        };
        self.mark_before = self.mark;
        if first == expected {
            return Ok(Resumed::Intact);
        }
        if base.is_some() && self.segment().is_base {
            return Ok(Resumed::BaseLost { first: expected.0, last: Some(first.0 - 1) });
        }
        Ok(Resumed::Lost { first: expected, last: Seq(first.0 - 1) })
    }

    /// How far this reader has come in its one file, for another one to go on there.
    pub(super) const fn position(&self) -> Position {
        let Self { mark, batch_durable, time, pending, seed, .. } = *self;
        Position { mark, batch_durable, time, pending, seed }
    }

    /// Goes on where another reader of the same one file had come to.
    pub(super) fn go_to(&mut self, position: Position) -> Result<(), ReadError> {
        let segment = &self.segments[0];
        self.file = Some(open_listed(self.storage, segment)?);
        self.window.begin(segment.len);
        Position {
            mark: self.mark,
            batch_durable: self.batch_durable,
            time: self.time,
            pending: self.pending,
            seed: self.seed,
        } = position;
        self.mark_before = self.mark;
        self.state = State::Read;
        Ok(())
    }

    /// Reads no more at once than a batch of a base needs.
    pub(super) const fn read_little(&mut self) {
        self.window.bound(2 * BASE_BATCH_PAYLOAD);
    }

    pub(super) const fn storage(&self) -> &'s S {
        self.storage
    }

    fn segment(&self) -> &Segment {
        &self.segments[self.index]
    }

    const fn is_last(&self) -> bool {
        self.index + 1 == self.segments.len()
    }

    fn damage(&self, offset: u64, what: What) -> End {
        let file = self.storage.path(&self.segment().name);
        // All of a base stands for one sequence number.
        let seq = match self.segment().base() {
            Some(base) if what == What::Missing => base.next(),
            Some(base) => base,
            None => self.mark.seq.next(),
        };
        End::Damaged(Damage { file, offset, seq, what })
    }

    fn batch_at(&self, offset: u64, header: BatchHeader) -> Batch<'_> {
        let payload =
            self.window.peek(offset + BATCH_HEADER_LEN as u64, header.payload_len as usize);
        let payload = payload.expect("a batch that was examined is in the window");
        Batch { header, base: self.segment().base(), segment: self.index, offset, payload }
    }

    /// Opens the segment and checks its header and slots.
    fn enter(&mut self) -> Result<(), ReadError> {
        let (storage, segment) = (self.storage, &mut self.segments[self.index]);
        let failed = |doing| Failed::at(storage, &segment.name, doing);
        let file = match open_listed(storage, segment) {
            Err(ReadError::Storage(failed))
                if self.window.is_lenient() && lenient::is_passed_over(&failed.error) =>
            {
                self.end_unopened(&failed.error);
                return Ok(());
            }
            opened => opened?,
        };
        segment.len = file.size().map_err(failed(Doing::Read))?;
        if segment.is_base {
            self.mark.seq = Seq::ZERO;
        }
        self.window.begin(self.segments[self.index].len);
        self.read_again_at = None;
        self.mark.end = HEADER_LEN;
        let adopt = std::mem::take(&mut self.adopt);
        let block_len = usize::try_from(HEADER_LEN).expect("the header is one page");
        let failed = Failed::at(self.storage, &self.segments[self.index].name, Doing::Read);
        let block = self.window.get(&file, 0, block_len).map_err(failed)?;
        let claimed = seed_of(SegmentHeader::claimed_log_id(block));
        let seed = *self.seed.get_or_insert(claimed);
        let slots = Slots::decode(block, seed);
        // A segment gets its name when all of it is on disk: without its header, it was cut.
        let decoded = match self.segments[self.index].len {
            len if len < HEADER_LEN => Err(HeaderFault::Invalid),
            _ => SegmentHeader::decode(block),
        };
        self.file = Some(file);
        let unreadable = self.window.unreadable(0..HEADER_LEN);
        let (header, crc) = match decoded {
            Ok(decoded) => decoded,
            Err(HeaderFault::Invalid) => {
                let what = unreadable.unwrap_or(What::SegmentHeader);
                self.state = State::Ended(self.damage(0, what));
                return Ok(());
            }
            Err(HeaderFault::Newer(newer)) => return Err(self.newer(newer)),
        };
        let fault = self.header_fault(&header, seed, adopt).or(unreadable);
        // What another log says about itself is nothing to this one.
        if !header.is_base && seed_of(header.log_id) == seed {
            self.durable = self.durable.max(header.durable);
        }
        let segment = &mut self.segments[self.index];
        (segment.header, segment.slots) = (Some(header), slots);
        if let Some(what) = fault {
            self.state = State::Ended(self.damage(0, what));
            return Ok(());
        }
        self.mark.checksum = crc;
        self.mark_before = self.mark;
        self.batch_durable = self.mark.seq;
        self.state = State::Read;
        self.check_slots(slots)
    }

    fn header_fault(&self, header: &SegmentHeader, seed: u32, adopt: bool) -> Option<What> {
        let segment = self.segment();
        let expected = if segment.is_base { segment.first } else { self.mark.seq.next() };
        let chain = match self.index {
            0 if segment.is_base => header.chain,
            0 => 0,
            _ => self.mark.checksum,
        };
        let charset =
            self.segments[0].header.as_ref().map_or(header.charset, |first| first.charset);
        if seed_of(header.log_id) != seed || header.charset != charset {
            Some(What::SegmentForeign)
        } else if header.first != segment.first
            || header.is_base != segment.is_base
            || (self.window.is_lenient() && !lenient::is_named_after(segment, header))
        {
            Some(What::SegmentName)
        } else if header.first > expected {
            Some(What::Missing)
        } else if header.first < expected || (header.chain != chain && !adopt) {
            Some(What::SegmentChain)
        } else {
            None
        }
    }

    fn check_slots(&mut self, mut slots: Slots) -> Result<(), ReadError> {
        let is_base = self.segment().is_base;
        let mut excused = self.excuses(&slots)?;
        if !excused {
            // A live server may have been writing to them, or have closed the segment since.
            slots = self.read_slots_again()?;
            excused = self.excuses(&slots)?;
        }
        self.pending = slots.notes;
        for note in slots.notes.into_iter().flatten().filter(|_| !is_base) {
            self.durable = self.durable.max(note.mark.seq);
        }
        if !excused {
            let slot = usize::from(slots.bad[1] && !slots.bad[0]);
            self.state = State::Ended(self.damage(WITNESS_OFFSETS[slot], What::WitnessSlots));
        } else if let Some(slot) = self.contradicted(self.mark) {
            self.state = State::Ended(self.damage(WITNESS_OFFSETS[slot], What::WitnessWrong));
        }
        Ok(())
    }

    /// Whether slots are as they may be found. A bad one is a torn write only where nothing was synced behind
    /// that write.
    fn excuses(&self, slots: &Slots) -> Result<bool, ReadError> {
        Ok(match () {
            // A base is written as a whole, with its last note.
            () if self.segment().is_base || slots.say_closed() => slots.say_closed(),
            () if self.is_last() => slots.may_be_torn(),
            () => slots.may_be_torn() && self.next_is_unused()?,
        })
    }

    fn read_slots_again(&mut self) -> Result<Slots, ReadError> {
        let failed = Failed::at(self.storage, &self.segments[self.index].name, Doing::Read);
        let file = self.file.as_ref().expect("a segment is entered before its slots are checked");
        let seed = self.seed.expect("entering a segment finds the seed");
        let block_len = usize::try_from(HEADER_LEN).expect("the header is one page");
        self.window.clear();
        let slots = Slots::decode(self.window.get(file, 0, block_len).map_err(failed)?, seed);
        self.segments[self.index].slots = slots;
        Ok(slots)
    }

    /// Whether the segment behind this one is the last, and has no batch yet.
    fn next_is_unused(&self) -> Result<bool, ReadError> {
        let Some([next]) = self.segments.get(self.index + 1..) else { return Ok(false) };
        let failed = Failed::at(self.storage, &next.name, Doing::Read);
        let file = open_listed(self.storage, next)?;
        let mut start = [0; BATCH_HEADER_LEN];
        match file.read_at(&mut start, HEADER_LEN) {
            Err(_) if self.window.is_lenient() => Ok(false),
            read => Ok(is_zero(&start[..read.map_err(failed)?])),
        }
    }

    /// The slot whose note does not fit a log that has a batch end at `mark`.
    fn contradicted(&mut self, mark: Mark) -> Option<usize> {
        for slot in 0..2 {
            let Some(note) = self.pending[slot] else { continue };
            if note.mark.seq <= mark.seq {
                self.pending[slot] = None;
                if note.mark != mark {
                    return Some(slot);
                }
            }
        }
        None
    }

    /// Looks at one place without judging it.
    fn examine(&mut self, offset: u64) -> Result<Verdict, ReadError> {
        let limit = self.segment().limit();
        if offset + BATCH_HEADER_LEN as u64 > limit {
            return Ok(Verdict::Empty);
        }
        let failed = Failed::at(self.storage, &self.segments[self.index].name, Doing::Read);
        let file = self.file.as_ref().expect("a segment is entered before its batches");
        let seed = self.seed.expect("entering a segment finds the seed");
        let start = self.window.get(file, offset, BATCH_HEADER_LEN).map_err(failed)?;
        let decoded = BatchHeader::decode(start, seed);
        let empty = is_zero(start);
        let unreadable = self.window.unreadable(offset..offset + BATCH_HEADER_LEN as u64);
        let (header, crc) = match (decoded, unreadable) {
            (Some(decoded), None) => decoded,
            (None, None) if empty => return Ok(Verdict::Empty),
            (_, unreadable) => {
                let what = unreadable.unwrap_or(What::BatchHeader);
                return Ok(Verdict::Bad { what, reach: BATCH_MAX });
            }
        };
        let bad = |what| Ok(Verdict::Bad { what, reach: header.total() });
        if header.flags & !FLAGS_KNOWN != 0 {
            let version = super::format::VERSION;
            return Err(self.newer(Newer { version, features: 0, flags: header.flags }));
        }
        let in_order = header.first == self.mark.seq.next()
            && header.chain == self.mark.checksum
            && header.durable >= self.batch_durable
            && header.time >= self.time;
        if !in_order || offset + header.total() > limit {
            return bad(What::BatchOrder);
        }
        match self.check_payload(offset, &header, crc)? {
            Ok(sum) => Ok(Verdict::Good(header, sum)),
            Err(what) => bad(what),
        }
    }

    /// Checks what follows a batch's header; answers the batch's checksum.
    fn check_payload(
        &mut self,
        offset: u64,
        header: &BatchHeader,
        crc: u32,
    ) -> Result<Result<u32, What>, ReadError> {
        let total = usize::try_from(header.total()).expect("batches are bounded");
        let failed = Failed::at(self.storage, &self.segments[self.index].name, Doing::Read);
        let file = self.file.as_ref().expect("a segment is entered before its batches");
        self.window.get(file, offset, total).map_err(failed)?;
        if let Some(what) = self.window.unreadable(offset..offset + header.total()) {
            return Ok(Err(what));
        }
        let bytes = self.window.peek(offset, total).expect("the window was just filled there");
        let (payload, rest) = bytes[BATCH_HEADER_LEN..].split_at(header.payload_len as usize);
        let sum = checksum(crc, payload);
        if rest[..CHECKSUM_LEN] != sum.to_be_bytes() {
            return Ok(Err(What::BatchPayload));
        }
        if !is_zero(&rest[CHECKSUM_LEN..]) {
            return Ok(Err(What::Padding));
        }
        let (mut records, mut count) = (payload, 0);
        while let Some((_, _, behind)) = split_record(records) {
            (records, count) = (behind, count + 1);
        }
        let add_up = records.is_empty() && count == header.count;
        Ok(if add_up { Ok(sum) } else { Err(What::Records) })
    }

    /// Takes a good batch in, unless a witness contradicts it.
    fn accept(&mut self, header: &BatchHeader, sum: u32) -> bool {
        let end = self.mark.end + header.total();
        let mark = Mark { seq: header.last(), end, checksum: sum };
        if let Some(slot) = self.contradicted(mark) {
            self.state = State::Ended(self.damage(WITNESS_OFFSETS[slot], What::WitnessWrong));
            return false;
        }
        self.mark_before = std::mem::replace(&mut self.mark, mark);
        if !self.segment().is_base {
            self.durable = self.durable.max(header.durable);
        }
        self.batch_durable = header.durable;
        self.time = header.time;
        true
    }

    /// Decides what it means that no good batch stands here.
    fn judge(&mut self, fault: Option<What>, reach: u64) -> Result<(), ReadError> {
        let closed = self.segment().slots.newest().is_some_and(|note| note.closed);
        if self.is_last() && closed {
            self.list_again()?;
        }
        let end = if self.is_last() {
            Some(self.judge_last(fault, reach, closed)?)
        } else {
            self.judge_closed(fault)?
        };
        let Some(end) = end else {
            if let Some(base) = self.segment().base() {
                let chain = self.segment().header.as_ref().map(|header| header.chain);
                // Without its header, nothing tells what the segment behind it is chained to.
                self.adopt = chain.is_none();
                let (end, checksum) = (self.mark.end, chain.unwrap_or_default());
                self.mark = Mark { seq: base, end, checksum };
            }
            self.closed_mark = self.mark;
            self.index += 1;
            self.state = State::Enter;
            return Ok(());
        };
        // A live server may have finished this batch, and shown so, after it went into the window.
        if matches!(end, End::Damaged(_)) && self.read_again_at != Some(self.mark.end) {
            self.read_again_at = Some(self.mark.end);
            self.window.clear();
            return Ok(());
        }
        self.state = State::Ended(end);
        Ok(())
    }

    /// A closed segment was synced as a whole: whatever fails in it is damage.
    fn judge_closed(&mut self, fault: Option<What>) -> Result<Option<End>, ReadError> {
        let from = self.mark.end;
        if let Some(what) = fault {
            return Ok(Some(self.damage(from, what)));
        }
        let (last, _) = self.search_tail(from)?;
        let (segment, next) = (self.segment(), &self.segments[self.index + 1]);
        let (expected, found) = (segment.limit(), segment.len);
        let continued = segment.base().unwrap_or(self.mark.seq).next();
        let noted = self.pending.iter().flatten().any(|note| note.mark.seq > self.mark.seq);
        let unreadable = self.window.unreadable(from..expected.max(found));
        let missing = next.first > continued;
        Ok(if let Some(what) = unreadable {
            Some(self.damage(from, what))
        } else if last.is_some() {
            Some(self.damage(from, What::Noise))
        } else if found != expected {
            let offset = if noted || missing { from } else { found.min(expected) };
            Some(self.damage(offset, What::Length { expected, found }))
        } else if noted {
            Some(self.damage(from, What::Vanished))
        } else if missing {
            Some(self.damage(from, What::Missing))
        } else {
            None
        })
    }

    /// A live server may have begun a segment since the folder was listed.
    fn list_again(&mut self) -> Result<(), ReadError> {
        let last = self.segment();
        let (last, behind_base) = (last.first, last.base().is_some());
        let Listing { segments, .. } = list_segments(self.storage)?;
        // One that was there is no news, whatever its name says: it, or the one in its place, may be misnamed.
        let known = || self.segments.iter().map(|it| &it.name).chain(&self.superseded);
        let is_new = |base: &Segment| known().all(|name| *name != base.name);
        let is_ahead = |base: &&Segment| base.is_base && base.first > last;
        if segments.first().filter(is_ahead).is_some_and(is_new) {
            return Err(ReadError::Compacted);
        }
        let is_next = |segment: &Segment| {
            !segment.is_base && (segment.first > last || (behind_base && segment.first == last))
        };
        self.segments.extend(segments.into_iter().filter(is_next));
        Ok(())
    }

    /// In the last segment, what nothing shows to have been on disk is a torn end.
    fn judge_last(
        &mut self,
        fault: Option<What>,
        reach: u64,
        closed: bool,
    ) -> Result<End, ReadError> {
        let from = self.mark.end;
        let (last, later) = self.search_tail(from)?;
        let segment = self.segment();
        let was_durable = later || self.durable > self.mark.seq;
        let unreadable = self.window.unreadable(from..segment.limit().max(segment.len));
        // A torn write leaves zeros or what was to be written: never a batch of another place.
        let impossible = matches!(fault, Some(What::BatchOrder | What::Records));
        let too_far = |last: u64| !segment.is_weak() && last > from + reach;
        Ok(match last {
            _ if was_durable || impossible => self.damage(from, fault.unwrap_or(What::Vanished)),
            _ if let Some(what) = unreadable => self.damage(from, what),
            _ if closed => self.damage(from, What::Missing),
            None => End::Whole,
            Some(last) if too_far(last) => self.damage(from, What::Noise),
            Some(last) => {
                let file = self.storage.path(&segment.name);
                End::Torn(Torn { file, offset: from, bytes: last - from, after: self.mark.seq })
            }
        })
    }

    /// Where the last byte ends that is not 0, and whether another batch shows that what belongs here had
    /// been on disk: a later one says so, and where one is written at a time, any.
    fn search_tail(&mut self, from: u64) -> Result<(Option<u64>, bool), ReadError> {
        let (expected, mut later) = (self.mark.seq.next(), false);
        let one_at_a_time = !self.segment().is_weak();
        let until = self.segment().len;
        let failed = Failed::at(self.storage, &self.segments[self.index].name, Doing::Read);
        let file = self.file.as_ref().expect("a segment is entered before its batches");
        let seed = self.seed.expect("entering a segment finds the seed");
        let last = self.window.search(file, from, until, seed, |offset, header| {
            later |= header.durable >= expected || (one_at_a_time && offset > from);
            false
        });
        Ok((last.map_err(failed)?, later))
    }

    /// The next batch of the current segment that is whole in itself and not before `expected`.
    fn find_batch(
        &mut self,
        expected: Seq,
        remains: &mut dyn FnMut(u8, &[u8]) -> bool,
    ) -> Result<Option<(u64, BatchHeader)>, ReadError> {
        if self.file.is_none() {
            return Ok(None);
        }
        self.hand_out_stray(remains)?;
        let mut from = self.mark.end;
        loop {
            let (until, limit) = (self.segment().len, self.segment().limit());
            let failed = Failed::at(self.storage, &self.segments[self.index].name, Doing::Read);
            let file = self.file.as_ref().expect("only an entered segment can be damaged");
            let seed = self.seed.expect("entering a segment finds the seed");
            let mut found = None;
            let search = self.window.search(file, from, until, seed, |offset, header| {
                found = (header.first >= expected).then_some((offset, *header));
                found.is_some()
            });
            search.map_err(failed)?;
            let Some((offset, header)) = found else { return Ok(None) };
            if !self.has_room_before(offset, header.first) {
                from = offset + super::format::ALIGNMENT as u64;
                continue;
            }
            let mut start = [0; BATCH_HEADER_LEN];
            let crc = header.encode(seed, &mut start);
            // As far as the reader itself will go.
            let inside = offset + header.total() <= limit;
            if inside && self.check_payload(offset, &header, crc)?.is_ok() {
                return Ok(Some((offset, header)));
            }
            self.hand_out(offset, &header, remains)?;
            from = offset + super::format::ALIGNMENT as u64;
        }
    }

    fn newer(&self, newer: Newer) -> ReadError {
        ReadError::Newer { file: self.storage.path(&self.segment().name), newer }
    }
}
