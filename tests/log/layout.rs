//! Small logs of which every byte is known, and the rules of the format that say what a change of their bytes is.
//!
//! The rules are written down anew from `FORMAT.md`: they look at which bytes have changed, never at what the reader
//! thinks of them.

use super::*;
use oicq::log::format::{BATCH_HEADER_LEN, SECTOR_LEN, Slots, seed_of};
use oicq::log::{BaseSize, BaseWriter, Origin, collect, publish};

pub(crate) type Files = BTreeMap<String, Vec<u8>>;

/// How the log under test was left.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Left {
    /// Stopped in order.
    Stopped,
    /// Killed after notes had been written.
    Killed,
    /// Killed before any note was written to the last segment.
    Unnoted,
    /// Killed when the last segment had just been begun.
    Unused,
    /// Killed, and batches were not synced one by one.
    Weak,
    /// Stopped, and the first segment was compacted.
    Compacted,
}

pub(crate) const ALL_LEFT: [Left; 6] =
    [Left::Stopped, Left::Killed, Left::Unnoted, Left::Unused, Left::Weak, Left::Compacted];

pub(crate) struct BatchAt {
    pub(crate) from: usize,
    pub(crate) to: usize,
    pub(crate) first: u64,
    pub(crate) durable: u64,
    /// Records of the log up to its end.
    pub(crate) items: usize,
}

pub(crate) struct SegmentAt {
    pub(crate) name: String,
    /// The number in its name.
    pub(crate) number: u64,
    pub(crate) is_base: bool,
    pub(crate) batches: Vec<BatchAt>,
}

impl SegmentAt {
    /// Where the zeros begin.
    pub(crate) fn end(&self) -> usize {
        self.batches.last().map_or(at(HEADER_LEN), |batch| batch.to)
    }
}

/// A log, and all that there is to know about it.
pub(crate) struct Known {
    pub(crate) files: Files,
    pub(crate) segments: Vec<SegmentAt>,
    pub(crate) items: Vec<Item>,
    pub(crate) options: Options,
    /// The folder's files as they were while the log was written, each time with how many records it had.
    pub(crate) history: Vec<(Files, usize)>,
}

/// What must become of a changed log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Verdict {
    /// It opens with so many records.
    Opens(usize),
    /// It is damaged in this segment, at the first or the second offset, and this is the first number that it
    /// touches.
    Damaged { segment: usize, offsets: [usize; 2], seq: u64 },
}

const BATCHES: [usize; 3] = [3, 4, 4];
const RECORDS: usize = 2;

/// What record number `seq` says in these logs. One in each segment is longer than a sector.
fn text(seq: u64, batch: usize) -> Vec<u8> {
    let len = if batch == 1 && seq % RECORDS as u64 == 1 { 700 } else { 37 };
    (0..len).map(|index| u8::try_from((seq * 31 + index) % 251 + 1).expect("small")).collect()
}

impl Known {
    pub(crate) fn build(left: Left) -> Self {
        let durability = if left == Left::Weak { Durability::Never } else { Durability::Always };
        let options = Options { durability, ..OPTIONS };
        let disk = MemDisk::new();
        let (mut log, ..) = try_open(disk.clone(), options).unwrap();
        let (mut history, mut now, last) = (Vec::new(), 0, BATCHES.len() - 1);
        for (segment, batches) in BATCHES.into_iter().enumerate() {
            if segment > 0 {
                // More than is left in this one, and less than fits the next.
                log.make_room(1, 12_000).unwrap();
                history.push((disk.files(), at(log.next_seq().0 - 1)));
            }
            for batch in 0..if segment == last && left == Left::Unused { 0 } else { batches } {
                let time = UnixMillis(1000 + log.next_seq().0);
                for _ in 0..RECORDS {
                    log.append(time, 7, &text(log.next_seq().0, batch)).unwrap();
                }
                log.commit(MonoMillis(now)).unwrap();
                history.push((disk.files(), at(log.next_seq().0 - 1)));
                now += 20;
                if segment != last || left != Left::Unnoted {
                    log.housekeep(MonoMillis(now)).unwrap();
                    history.push((disk.files(), at(log.next_seq().0 - 1)));
                }
            }
        }
        if [Left::Stopped, Left::Compacted].contains(&left) {
            log.close().unwrap();
        }
        if left == Left::Compacted {
            history.clear();
            compact(&disk);
        }
        Self::read(disk.files(), options, history)
    }

    fn read(files: Files, options: Options, history: Vec<(Files, usize)>) -> Self {
        let disk = MemDisk::with_files(&files);
        let mut segments = Vec::new();
        for name in files.keys() {
            let number = name.split('.').next().and_then(|digits| digits.parse().ok()).unwrap();
            let is_base = name.ends_with(".base");
            segments.push(SegmentAt { name: name.clone(), number, is_base, batches: Vec::new() });
        }
        let (mut reader, mut items) = (Reader::open(&disk).unwrap(), Vec::new());
        while let Step::Batch(batch) = reader.next_batch().unwrap() {
            items.extend(batch.records().map(|r| (r.seq.0, r.time.0, r.kind, r.payload.to_vec())));
            segments[batch.segment].batches.push(BatchAt {
                from: at(batch.offset),
                to: at(batch.offset + batch.header.total()),
                first: batch.header.first.0,
                durable: batch.header.durable.0,
                items: items.len(),
            });
        }
        Self { files, segments, items, options, history }
    }

    pub(crate) fn is_strong(&self) -> bool {
        self.options.durability == Durability::Always
    }

    /// Records in front of a batch.
    pub(crate) fn items_before(&self, segment: usize, batch: usize) -> usize {
        let before = self.segments[..segment].iter().flat_map(|segment| &segment.batches);
        let before = before.chain(&self.segments[segment].batches[..batch]);
        before.last().map_or(0, |batch| batch.items)
    }

    /// Where a record stands among the items; a base's records count on their own.
    pub(crate) fn index_of(&self, in_base: bool, number: Seq) -> usize {
        let bases = self.segments.iter().filter(|segment| segment.is_base);
        let in_bases = bases.flat_map(|base| &base.batches).last().map_or(0, |batch| batch.items);
        if in_base { at(number.0 - 1) } else { at(number.0 - self.first_event()) + in_bases }
    }

    /// The number of the first event that the log holds.
    pub(crate) fn first_event(&self) -> u64 {
        let mut behind = self.segments.iter().filter(|segment| !segment.is_base);
        behind.next().map_or(1, |segment| segment.number)
    }

    /// The number that a damage names which begins at a batch, or behind all of them.
    pub(crate) fn seq_at(&self, segment: usize, batch: usize) -> u64 {
        let SegmentAt { number, is_base, batches, .. } = &self.segments[segment];
        match batches.get(batch) {
            _ if *is_base => *number,
            Some(batch) => batch.first,
            None => number + batches.len() as u64 * RECORDS as u64,
        }
    }

    /// Whether a note of a segment says that this number had been on disk.
    pub(crate) fn is_noted(&self, segment: usize, seq: u64) -> bool {
        let block = &self.files[&self.segments[segment].name][..at(HEADER_LEN)];
        let notes = Slots::decode(block, seed_of(LOG_ID)).notes;
        notes.into_iter().flatten().any(|note| note.mark.seq.0 >= seq)
    }

    /// What the format says of files of the same names whose bytes differ in any way.
    pub(crate) fn judge(&self, changed: &Files) -> Verdict {
        for (index, segment) in self.segments.iter().enumerate() {
            let (before, after) = (&self.files[&segment.name], &changed[&segment.name]);
            if before != after {
                let mut bytes = after.clone();
                bytes.resize(after.len().max(before.len()), 0);
                let case = Case { known: self, index, segment, before, bytes, len: after.len() };
                if let Some(verdict) = case.judge_block().or_else(|| case.judge_batches()) {
                    return verdict;
                }
            }
        }
        Verdict::Opens(self.items.len())
    }
}

/// Puts a base into the place of the first segment.
fn compact(disk: &MemDisk) {
    let name = disk.files().into_keys().nth(1).unwrap();
    let header = format::SegmentHeader::decode(&disk.files()[&name][..at(HEADER_LEN)]).unwrap().0;
    let origin = Origin {
        charset: OPTIONS.charset,
        log_id: LOG_ID,
        generation: 1,
        seq: header.durable,
        time: UnixMillis(1000),
        chain: header.chain,
    };
    // Three batches.
    let records: Vec<_> = (0..5_u8).map(|kind| (kind, vec![kind + 1; 7_000])).collect();
    let mut size = BaseSize::default();
    records.iter().for_each(|(_, payload)| size.add(payload.len()));
    let mut base = BaseWriter::begin(disk, &origin, size.total()).unwrap();
    records.iter().for_each(|(kind, payload)| base.append(*kind, payload).unwrap());
    base.finish().unwrap();
    publish(disk, &origin).unwrap();
    collect(disk, origin.seq).unwrap();
}

/// One changed segment.
struct Case<'a> {
    known: &'a Known,
    index: usize,
    segment: &'a SegmentAt,
    before: &'a [u8],
    /// What is there: behind the end of the file, zeros.
    bytes: Vec<u8>,
    /// Bytes of the file.
    len: usize,
}

impl Case<'_> {
    fn is_changed(&self, range: std::ops::Range<usize>) -> bool {
        self.bytes.get(range.clone()) != self.before.get(range)
    }

    fn is_zero_from(&self, from: usize) -> bool {
        format::is_zero(&self.bytes[from..])
    }

    fn damaged(&self, offsets: [usize; 2], batch: usize) -> Option<Verdict> {
        let seq = self.known.seq_at(self.index, batch);
        Some(Verdict::Damaged { segment: self.index, offsets, seq })
    }

    fn is_last(&self) -> bool {
        self.index + 1 == self.known.segments.len()
    }

    fn notes(&self) -> [Option<format::Witness>; 2] {
        Slots::decode(&self.bytes[..at(HEADER_LEN)], seed_of(LOG_ID)).notes
    }

    /// The header block: nothing of it may change, but for a note that may have been torn.
    fn judge_block(&self) -> Option<Verdict> {
        let (header, slots) = (0..SECTOR_LEN, SECTOR_LEN..3 * SECTOR_LEN);
        let is_cut = self.len < at(HEADER_LEN);
        if is_cut || self.is_changed(header) || self.is_changed(slots.end..at(HEADER_LEN)) {
            return self.damaged([0, 0], 0);
        }
        if !self.is_changed(slots) || self.may_notes_be_so() {
            return None;
        }
        self.damaged([SECTOR_LEN, 2 * SECTOR_LEN], 0)
    }

    /// Each note was on disk before the next one was written, so there are the newest one and, in the other slot, the
    /// one before it, unless that slot was being written again.
    fn may_notes_be_so(&self) -> bool {
        let notes = self.notes();
        let counters = notes.map(|note| note.map(|note| note.counter));
        let newest = counters.into_iter().flatten().max().unwrap_or(0);
        let is_blank = |slot: usize| {
            let from = SECTOR_LEN * (slot + 1);
            format::is_zero(&self.bytes[from..from + SECTOR_LEN])
        };
        let own = if newest % 2 == 1 { 0 } else { 1 };
        let (own_fits, other) = (newest > 0 || is_blank(own), 1 - own);
        let before = newest.saturating_sub(1);
        let other_fits = counters[other].map_or(before == 0 && is_blank(other), |c| c == before);
        let is_torn = counters[other].is_none();
        // The notes of a segment behind which batches follow were synced, and say so.
        let behind = &self.known.segments[self.index + 1..];
        let in_doubt = behind.is_empty() || (behind.len() == 1 && behind[0].batches.is_empty());
        let closed = notes.iter().flatten().any(|note| note.counter == newest && note.closed);
        match own_fits {
            true if in_doubt && !self.segment.is_base => other_fits || is_torn,
            true => other_fits && closed,
            false => false,
        }
    }

    fn judge_batches(&self) -> Option<Verdict> {
        let (batches, end, size) = (&self.segment.batches, self.segment.end(), self.before.len());
        let changed = |batch: &BatchAt| self.is_changed(batch.from..batch.to);
        match batches.iter().position(changed) {
            Some(bad) if self.is_last() && !self.was_on_disk(bad) => {
                Some(Verdict::Opens(self.known.items_before(self.index, bad)))
            }
            Some(bad) => self.damaged([batches[bad].from; 2], bad),
            None if self.is_last() => None,
            None if !self.is_zero_from(end) => self.damaged([end; 2], batches.len()),
            None if self.len != size => self.damaged([self.len.min(size); 2], batches.len()),
            None => None,
        }
    }

    /// Whether anything shows that a batch of the last segment had been on disk, or that what is in its place cannot
    /// be a part of it.
    fn was_on_disk(&self, bad: usize) -> bool {
        let (batch, strong) = (&self.segment.batches[bad], self.known.is_strong());
        let header_stands =
            |batch: &BatchAt| !self.is_changed(batch.from..batch.from + BATCH_HEADER_LEN);
        let later =
            &mut self.segment.batches[bad + 1..].iter().filter(|later| header_stands(later));
        // A torn batch reaches no further than its own header says.
        let too_far = strong && header_stands(batch) && !self.is_zero_from(batch.to);
        too_far
            || later.any(|later| strong || later.durable >= batch.first)
            || self.notes().iter().flatten().any(|note| note.mark.seq.0 >= batch.first)
    }
}
