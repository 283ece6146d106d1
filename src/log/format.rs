//! The bytes of a segment file: header, witness slots, batches, records; `FORMAT.md` explains them.
//!
//! Owns the layout, its constants, and encoding and decoding side by side. It never touches a file,
//! and never decides what a fault means: it answers whether bytes are what they claim to be.

use byteorder::ByteOrder;

use crate::codec::Order;
use crate::id::{Seq, UnixMillis};
use crate::limits::COUNT_MAX;

/// First bytes of a segment file. A byte above 127, a line ending and an end-of-file mark show a
/// copy that went through a text filter.
pub const SEGMENT_MAGIC: [u8; 8] = *b"\x89OICQ\r\n\x1a";
/// First bytes of a batch.
pub const BATCH_MAGIC: u32 = 0x4F51_42B1;
/// First bytes of a witness slot.
pub const WITNESS_MAGIC: u32 = 0x4F51_57B1;
/// The version that this code writes, and the newest that it reads.
pub const VERSION: u16 = 1;
/// Incompatible feature: the file is a base. Its records are a state, and numbered on their own.
pub const FEATURE_BASE: u64 = 1;
/// Incompatible features that this code knows. Unknown ones close the log to it.
pub const FEATURES_KNOWN: u64 = FEATURE_BASE;
/// Batch flags that this code knows: none yet. Unknown ones close the log to it.
pub const FLAGS_KNOWN: u32 = 0;

/// Bytes in front of the first batch: one page, so that batches begin on a page of their own.
pub const HEADER_LEN: u64 = 4096;
/// The least that a disk writes as a whole. Header and slots each have one of their own, so that a
/// torn write of one leaves the others alone.
pub const SECTOR_LEN: usize = 512;
/// Where the two witness slots begin.
pub const WITNESS_OFFSETS: [u64; 2] = [512, 1024];
/// Bytes of a batch's header.
pub const BATCH_HEADER_LEN: usize = 48;
/// Bytes of the checksum behind a batch's records.
pub const CHECKSUM_LEN: usize = 4;
/// Bytes of a record's header: kind and length.
pub const RECORD_HEADER_LEN: usize = 4;
/// Batches begin at multiples of this, so that a search for them takes few steps.
pub const ALIGNMENT: usize = 8;

/// Longest payload of one record, in bytes: no event comes near, and the length field holds 16
/// times it.
pub const RECORD_PAYLOAD_MAX: usize = 1 << 20;
/// Most bytes of records in one batch. Bounds the memory of every reader, and how far behind the
/// last good batch a torn one can reach.
pub const BATCH_PAYLOAD_MAX: usize = 16 << 20;
/// Most bytes of a whole batch.
pub const BATCH_MAX: u64 = batch_len(BATCH_PAYLOAD_MAX);
/// Smallest segment, in bytes: the header and room for a few batches. Tests like it small.
pub const SEGMENT_SIZE_MIN: u64 = 16 << 10;
/// Largest segment, in bytes: a file that everything can still handle.
pub const SEGMENT_SIZE_MAX: u64 = 2 << 30;
/// Largest base, in bytes: an offset must fit into the bits that a `Place` has for it.
pub const BASE_SIZE_MAX: u64 = 1 << 40;
/// Bytes of records after which a batch of a base is closed: what a server takes up between two turns.
pub const BASE_BATCH_PAYLOAD: usize = 16 << 10;

const _: () = assert!(RECORD_PAYLOAD_MAX < 1 << 24, "a record's length has three bytes");
const _: () = assert!(RECORD_PAYLOAD_MAX + RECORD_HEADER_LEN <= BATCH_PAYLOAD_MAX);
const _: () = assert!(SEGMENT_SIZE_MAX + BATCH_MAX + HEADER_LEN <= u32::MAX as u64);
const _: () = assert!(HEADER_LEN.is_multiple_of(ALIGNMENT as u64));
const _: () = assert!(BATCH_HEADER_LEN.is_multiple_of(ALIGNMENT));

/// Initial value of the checksums that no log id can seed. Not 0, so that zeros are never valid.
const SEED: u32 = 0x4F49_4351;

/// Bytes of a whole batch with so many bytes of records: header, records, checksum, padding.
#[must_use]
pub const fn batch_len(payload_len: usize) -> u64 {
    (BATCH_HEADER_LEN + payload_len + CHECKSUM_LEN).next_multiple_of(ALIGNMENT) as u64
}

/// CRC-32 (the one of zlib) of `bytes`, carried on from `initial`.
#[must_use]
pub fn checksum(initial: u32, bytes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new_with_initial(initial);
    hasher.update(bytes);
    hasher.finalize()
}

/// What the checksums of a log's batches and slots begin with. It comes from the log's random id,
/// so that bytes from another log, and batches made up in a message's text, are never valid.
#[must_use]
pub fn seed_of(log_id: u64) -> u32 {
    checksum(SEED, &log_id.to_be_bytes())
}

/// The file name of the segment whose first sequence number is `first`.
#[must_use]
pub fn segment_name(first: Seq) -> String {
    format!("{first:020}.log", first = first.0)
}

/// The first sequence number that a segment's file name tells, `None` for any other name.
#[must_use]
pub fn parse_segment_name(name: &str) -> Option<Seq> {
    parse_digits(name.strip_suffix(".log")?)
}

/// The file name of the base that holds the state as of `seq`.
#[must_use]
pub fn base_name(seq: Seq) -> String {
    format!("{seq:020}.base", seq = seq.0)
}

/// The sequence number that a base's file name tells, `None` for any other name.
#[must_use]
pub fn parse_base_name(name: &str) -> Option<Seq> {
    // Behind the highest number there is none that a segment could begin with.
    parse_digits(name.strip_suffix(".base")?).filter(|seq| seq.0 < COUNT_MAX - 1)
}

fn parse_digits(digits: &str) -> Option<Seq> {
    let plain = digits.len() == 20 && digits.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse().ok().filter(|number| plain && *number < COUNT_MAX).map(Seq)
}

/// The format is newer than this code.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Newer {
    /// The version in the segment's header.
    pub version: u16,
    /// Incompatible features that this code does not know.
    pub features: u64,
    /// Batch flags that this code does not know.
    pub flags: u32,
}

/// Why a segment's header was not taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HeaderFault {
    /// Not a header, or not as it was written.
    Invalid,
    /// As it was written, by a newer program.
    Newer(Newer),
}

/// The start of a segment file.
///
/// ```text
///  0  magic             8     40  generation        8     80  chain             4
///  8  version           2     48  first seq         8     84  CRC of 0..84      4
/// 10  charset           1     56  durable           8     88  zeros to 512
/// 11  weak              1     64  segment size      8    512  witness slot 0  512
/// 12  header length     4     72  created           8   1024  witness slot 1  512
/// 16  incompatible      8                               1536  zeros to 4096
/// 24  compatible        8
/// 32  log id            8
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SegmentHeader {
    /// Which charset the log's text is in; the meaning is the caller's.
    pub charset: u8,
    /// Whether it is a base: what compaction has made of everything before `first`.
    pub is_base: bool,
    /// Whether batches may be written before earlier ones are on disk (`interval`, `never`).
    pub weak: bool,
    /// The same random number in all segments of a log.
    pub log_id: u64,
    /// Of a base: how many times the log has been compacted with it. 0 in a segment.
    pub generation: u64,
    /// Sequence number of the first record; of a base, of the first one behind it.
    pub first: Seq,
    /// Last sequence number on disk when the segment was made: always the one before `first`.
    pub durable: Seq,
    /// Bytes of the file.
    pub size: u64,
    /// When the segment was made.
    pub created: UnixMillis,
    /// Checksum of the last batch of the segment before, or of its header if it has none; 0 in the
    /// first. Of a base, of the last segment that it replaces: what the segment behind it is chained to.
    pub chain: u32,
}

/// Where the header's checksum stands, in this and every later version.
const HEADER_CRC_AT: usize = 84;
const HEADER_END: usize = HEADER_CRC_AT + 4;

impl SegmentHeader {
    /// The whole block in front of the batches, slots empty; and the header's checksum, which the
    /// first batch is chained to.
    #[must_use]
    pub fn encode(&self) -> (Vec<u8>, u32) {
        let header_len = u32::try_from(HEADER_LEN).expect("the header is one page");
        let mut block = vec![0; usize::try_from(HEADER_LEN).expect("the header is one page")];
        block[..8].copy_from_slice(&SEGMENT_MAGIC);
        Order::write_u16(&mut block[8..], VERSION);
        block[10] = self.charset;
        block[11] = u8::from(self.weak);
        Order::write_u32(&mut block[12..], header_len);
        Order::write_u64(&mut block[16..], if self.is_base { FEATURE_BASE } else { 0 });
        Order::write_u64(&mut block[24..], 0);
        Order::write_u64(&mut block[32..], self.log_id);
        Order::write_u64(&mut block[40..], self.generation);
        Order::write_u64(&mut block[48..], self.first.0);
        Order::write_u64(&mut block[56..], self.durable.0);
        Order::write_u64(&mut block[64..], self.size);
        Order::write_u64(&mut block[72..], self.created.0);
        Order::write_u32(&mut block[80..], self.chain);
        let crc = checksum(SEED, &block[..HEADER_CRC_AT]);
        Order::write_u32(&mut block[HEADER_CRC_AT..], crc);
        (block, crc)
    }

    /// Reads the block in front of the batches; answers the header and its checksum.
    pub fn decode(block: &[u8]) -> Result<(Self, u32), HeaderFault> {
        if block.len() < HEADER_END || block[..8] != SEGMENT_MAGIC {
            return Err(HeaderFault::Invalid);
        }
        let crc = Order::read_u32(&block[HEADER_CRC_AT..]);
        if crc != checksum(SEED, &block[..HEADER_CRC_AT]) {
            return Err(HeaderFault::Invalid);
        }
        let version = Order::read_u16(&block[8..]);
        let features = Order::read_u64(&block[16..]) & !FEATURES_KNOWN;
        if version != VERSION || features != 0 {
            return Err(HeaderFault::Newer(Newer { version, features, flags: 0 }));
        }
        let header = Self::read(block);
        let zeros = [HEADER_END..SECTOR_LEN, 3 * SECTOR_LEN..block.len()];
        // A compatible feature may keep something there that older readers pass over.
        let blank = Order::read_u64(&block[24..]) != 0
            || zeros.into_iter().all(|range| block.get(range).is_some_and(is_zero));
        let sound = blank
            && block.len() as u64 == HEADER_LEN
            && u64::from(Order::read_u32(&block[12..])) == HEADER_LEN
            && block[11] <= 1
            && (1..COUNT_MAX).contains(&header.first.0)
            && header.durable.0 == header.first.0 - 1
            && header.generation < COUNT_MAX
            && header.size.is_multiple_of(HEADER_LEN)
            && header.size > HEADER_LEN
            && header.size <= if header.is_base { BASE_SIZE_MAX } else { u64::from(u32::MAX) };
        if sound { Ok((header, crc)) } else { Err(HeaderFault::Invalid) }
    }

    /// What a block claims whose header is damaged, in a file of `len` bytes: a guess that the batches prove
    /// or not.
    #[must_use]
    pub fn claimed(block: &[u8], len: u64) -> Self {
        let zeros = [0; HEADER_END];
        Self { size: len, ..Self::read(if block.len() < HEADER_END { &zeros } else { block }) }
    }

    fn read(block: &[u8]) -> Self {
        Self {
            charset: block[10],
            is_base: Order::read_u64(&block[16..]) & FEATURE_BASE != 0,
            weak: block[11] != 0,
            log_id: Order::read_u64(&block[32..]),
            generation: Order::read_u64(&block[40..]),
            first: Seq(Order::read_u64(&block[48..])),
            durable: Seq(Order::read_u64(&block[56..])),
            size: Order::read_u64(&block[64..]),
            created: UnixMillis(Order::read_u64(&block[72..])),
            chain: Order::read_u32(&block[80..]),
        }
    }

    /// The log id that a block claims whose header is damaged: a guess that the batches prove or
    /// not.
    #[must_use]
    pub fn claimed_log_id(block: &[u8]) -> u64 {
        block.get(32..40).map_or(0, Order::read_u64)
    }
}

/// The end of a batch (or of the header, before the first one), as everything behind it refers to
/// it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Mark {
    /// The last sequence number in front of this place.
    pub seq: Seq,
    /// Offset in the segment file of what follows.
    pub end: u64,
    /// Checksum of the batch in front of this place, or of the header.
    pub checksum: u32,
}

/// A note of what was on disk, written now and then with the next batch.
///
/// ```text
///  0  magic      4    16  end offset  8    32  weak              1    36  CRC of 0..36     4
///  4  checksum   4    24  counter     8    33  closed            1    40  zeros to 512
///  8  durable    8                         34  zeros             2
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Witness {
    /// A batch that was on disk when this was written.
    pub mark: Mark,
    /// Goes up by one with each note; odd ones go to slot 0, even ones to slot 1.
    pub counter: u64,
    /// As in the header, from here on.
    pub weak: bool,
    /// Nothing follows in this segment, and the next one exists.
    pub closed: bool,
}

const WITNESS_CRC_AT: usize = 36;
const WITNESS_END: usize = WITNESS_CRC_AT + 4;

impl Witness {
    /// The slot that this note goes to.
    #[must_use]
    pub const fn slot(&self) -> usize {
        if self.counter % 2 == 1 { 0 } else { 1 }
    }

    /// The slot's sector.
    #[must_use]
    pub fn encode(&self, seed: u32) -> [u8; SECTOR_LEN] {
        let mut sector = [0; SECTOR_LEN];
        Order::write_u32(&mut sector[0..], WITNESS_MAGIC);
        Order::write_u32(&mut sector[4..], self.mark.checksum);
        Order::write_u64(&mut sector[8..], self.mark.seq.0);
        Order::write_u64(&mut sector[16..], self.mark.end);
        Order::write_u64(&mut sector[24..], self.counter);
        sector[32] = u8::from(self.weak);
        sector[33] = u8::from(self.closed);
        let crc = checksum(seed, &sector[..WITNESS_CRC_AT]);
        Order::write_u32(&mut sector[WITNESS_CRC_AT..], crc);
        sector
    }

    /// Reads a slot's sector; `None` if it does not hold a note of this log, as it was written.
    #[must_use]
    pub fn decode(sector: &[u8], seed: u32) -> Option<Self> {
        let sound = sector.len() == SECTOR_LEN
            && Order::read_u32(sector) == WITNESS_MAGIC
            && Order::read_u32(&sector[WITNESS_CRC_AT..])
                == checksum(seed, &sector[..WITNESS_CRC_AT])
            && sector[32] <= 1
            && sector[33] <= 1
            && Order::read_u64(&sector[8..]) < COUNT_MAX
            && Order::read_u64(&sector[16..]) < COUNT_MAX
            && (1..COUNT_MAX).contains(&Order::read_u64(&sector[24..]))
            && is_zero(&sector[34..WITNESS_CRC_AT])
            && is_zero(&sector[WITNESS_END..]);
        sound.then(|| Self {
            mark: Mark {
                checksum: Order::read_u32(&sector[4..]),
                seq: Seq(Order::read_u64(&sector[8..])),
                end: Order::read_u64(&sector[16..]),
            },
            counter: Order::read_u64(&sector[24..]),
            weak: sector[32] == 1,
            closed: sector[33] == 1,
        })
    }
}

/// The two witness slots of a segment, as they were found.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Slots {
    /// The notes that could be read.
    pub notes: [Option<Witness>; 2],
    /// Which slots do not hold the note that must be there, or nothing where there was none yet.
    pub bad: [bool; 2],
}

impl Slots {
    /// Reads both slots out of the block in front of the batches.
    #[must_use]
    pub fn decode(block: &[u8], seed: u32) -> Self {
        let (mut slots, mut blank) = (Self::default(), [false; 2]);
        for (index, offset) in [(0, SECTOR_LEN), (1, 2 * SECTOR_LEN)] {
            let sector = &block[offset..offset + SECTOR_LEN];
            slots.notes[index] = Witness::decode(sector, seed).filter(|note| note.slot() == index);
            blank[index] = is_zero(sector);
        }
        // Each note is on disk before the next one is written, and the first goes to slot 0.
        let newest = slots.newest().map_or(0, |note| note.counter);
        let before = newest.saturating_sub(1);
        for (index, blank) in blank.into_iter().enumerate() {
            slots.bad[index] = match slots.notes[index] {
                Some(note) => ![newest, before].contains(&note.counter),
                None => !blank || before > 0,
            };
        }
        slots
    }

    /// Whether both are as a power cut can leave them: the write of the next note may have been torn.
    #[must_use]
    pub fn may_be_torn(&self) -> bool {
        let newest = self.newest().map_or(0, |note| note.counter);
        let next = if newest.is_multiple_of(2) { 0 } else { 1 };
        !self.bad[1 - next] && (!self.bad[next] || self.notes[next].is_none())
    }

    /// Whether they say that nothing follows in this segment, as they do once the next one has a batch.
    #[must_use]
    pub fn say_closed(&self) -> bool {
        self.bad_count() == 0 && self.newest().is_some_and(|note| note.closed)
    }

    /// The latest note.
    #[must_use]
    pub fn newest(&self) -> Option<Witness> {
        self.notes.into_iter().flatten().max_by_key(|note| note.counter)
    }

    /// How many slots are bad.
    #[must_use]
    pub fn bad_count(&self) -> usize {
        self.bad.into_iter().filter(|bad| *bad).count()
    }
}

/// The start of a batch.
///
/// ```text
///  0  magic             4    16  time              8    36  flags             4
///  4  payload length    4    24  durable           8    40  chain             4
///  8  first seq         8    32  count             4    44  CRC of 0..44      4
/// 48  records, one after another: kind 1, length 3, payload
///     checksum of the records, carried on from the header's CRC 4, zeros to a multiple of 8
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BatchHeader {
    /// Bytes of all records.
    pub payload_len: u32,
    /// Sequence number of the first record; each one has the next.
    pub first: Seq,
    /// The time of all its records.
    pub time: UnixMillis,
    /// Last sequence number that was known to be on disk when the batch was written.
    pub durable: Seq,
    /// How many records; never 0.
    pub count: u32,
    /// None are known yet.
    pub flags: u32,
    /// Checksum of the batch before it, or of the segment's header.
    pub chain: u32,
}

const BATCH_CRC_AT: usize = 44;

impl BatchHeader {
    /// Writes the header to the front of `out`; answers its checksum, which the records' one begins
    /// with.
    pub fn encode(&self, seed: u32, out: &mut [u8]) -> u32 {
        Order::write_u32(&mut out[0..], BATCH_MAGIC);
        Order::write_u32(&mut out[4..], self.payload_len);
        Order::write_u64(&mut out[8..], self.first.0);
        Order::write_u64(&mut out[16..], self.time.0);
        Order::write_u64(&mut out[24..], self.durable.0);
        Order::write_u32(&mut out[32..], self.count);
        Order::write_u32(&mut out[36..], self.flags);
        Order::write_u32(&mut out[40..], self.chain);
        let crc = checksum(seed, &out[..BATCH_CRC_AT]);
        Order::write_u32(&mut out[BATCH_CRC_AT..], crc);
        crc
    }

    /// Reads a header and its checksum; `None` if it is not one of this log, as it was written.
    #[must_use]
    pub fn decode(bytes: &[u8], seed: u32) -> Option<(Self, u32)> {
        if bytes.len() < BATCH_HEADER_LEN || Order::read_u32(bytes) != BATCH_MAGIC {
            return None;
        }
        let crc = Order::read_u32(&bytes[BATCH_CRC_AT..]);
        let header = Self {
            payload_len: Order::read_u32(&bytes[4..]),
            first: Seq(Order::read_u64(&bytes[8..])),
            time: UnixMillis(Order::read_u64(&bytes[16..])),
            durable: Seq(Order::read_u64(&bytes[24..])),
            count: Order::read_u32(&bytes[32..]),
            flags: Order::read_u32(&bytes[36..]),
            chain: Order::read_u32(&bytes[40..]),
        };
        let sound = crc == checksum(seed, &bytes[..BATCH_CRC_AT])
            && header.payload_len as usize <= BATCH_PAYLOAD_MAX
            && header.count >= 1
            && header.durable < header.first
            && header.first.0 < COUNT_MAX;
        sound.then_some((header, crc))
    }

    /// Bytes of the whole batch.
    #[must_use]
    pub const fn total(&self) -> u64 {
        batch_len(self.payload_len as usize)
    }

    /// Sequence number of the last record.
    #[must_use]
    pub const fn last(&self) -> Seq {
        Seq(self.first.0 + self.count as u64 - 1)
    }
}

/// A record's header: the kind, then the length in three bytes.
///
/// # Panics
/// If `length` is above [`RECORD_PAYLOAD_MAX`], which every caller has checked.
#[must_use]
pub fn encode_record_header(kind: u8, length: usize) -> [u8; RECORD_HEADER_LEN] {
    assert!(length <= RECORD_PAYLOAD_MAX, "records are bounded where they are appended");
    let length = u32::try_from(length).expect("a record's length fits 24 bits").to_be_bytes();
    [kind, length[1], length[2], length[3]]
}

/// Takes one record off the front of a batch's payload: kind, payload, and what follows.
#[must_use]
pub fn split_record(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (head, rest) = bytes.split_first_chunk::<RECORD_HEADER_LEN>()?;
    let length = Order::read_u24(&head[1..]) as usize;
    let (payload, rest) = rest.split_at_checked(length)?;
    Some((head[0], payload, rest))
}

/// Whether all bytes are 0.
#[must_use]
pub fn is_zero(bytes: &[u8]) -> bool {
    static ZEROS: [u8; 4096] = [0; 4096];
    bytes.chunks(ZEROS.len()).all(|chunk| chunk == &ZEROS[..chunk.len()])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> SegmentHeader {
        SegmentHeader {
            charset: 1,
            is_base: false,
            weak: false,
            log_id: 7,
            generation: 0,
            first: Seq(10),
            durable: Seq(9),
            size: 65536,
            created: UnixMillis(5),
            chain: 77,
        }
    }

    #[test]
    fn a_segment_header_comes_back_and_no_flipped_bit_does() {
        let (mut block, crc) = header().encode();
        assert_eq!(SegmentHeader::decode(&block), Ok((header(), crc)));
        for byte in (0..SECTOR_LEN).chain(3 * SECTOR_LEN..block.len()) {
            block[byte] ^= 1 << (byte % 8);
            assert_eq!(SegmentHeader::decode(&block), Err(HeaderFault::Invalid), "byte {byte}");
            block[byte] ^= 1 << (byte % 8);
        }
    }

    #[test]
    fn numbers_that_no_log_comes_to_are_not_as_they_were_written() {
        let header_with = |change: fn(&mut SegmentHeader)| {
            let mut header = header();
            change(&mut header);
            SegmentHeader::decode(&header.encode().0).is_ok()
        };
        let (last, beyond) = (Seq(COUNT_MAX - 1), Seq(COUNT_MAX));
        assert!(
            header_with(|it| (it.first, it.durable) = (Seq(COUNT_MAX - 1), Seq(COUNT_MAX - 2)))
        );
        assert!(!header_with(|it| (it.first, it.durable) = (Seq(COUNT_MAX), Seq(COUNT_MAX - 1))));
        // The number behind it is none.
        assert!(!header_with(|it| it.durable = Seq(u64::MAX)));
        assert!(!header_with(|it| (it.first, it.durable) = (Seq(0), Seq(u64::MAX))));
        assert!(!header_with(|it| it.generation = COUNT_MAX));
        for (first, count, sound) in [(last, 1, true), (last, u32::MAX, true), (beyond, 1, false)] {
            let (payload_len, time, durable) = (1, UnixMillis(6), Seq(4));
            let header =
                BatchHeader { payload_len, first, time, durable, count, flags: 0, chain: 8 };
            let mut bytes = [0; BATCH_HEADER_LEN];
            header.encode(11, &mut bytes);
            assert_eq!(BatchHeader::decode(&bytes, 11).is_some(), sound, "{first}");
        }
        for (seq, end, counter, sound) in [
            (last, COUNT_MAX - 1, COUNT_MAX - 1, true),
            (beyond, 1, 1, false),
            (last, COUNT_MAX, 1, false),
            (last, 1, COUNT_MAX, false),
            (last, 1, 0, false),
        ] {
            let mark = Mark { seq, end, checksum: 9 };
            let sector = Witness { mark, counter, weak: true, closed: false }.encode(11);
            assert_eq!(Witness::decode(&sector, 11).is_some(), sound, "{seq}, {end}, {counter}");
        }
    }

    #[test]
    fn a_newer_version_or_feature_is_told_from_damage() {
        for (at, value) in [(9, 2), (23, 2)] {
            let (mut block, _) = header().encode();
            block[at] = value;
            let crc = checksum(SEED, &block[..HEADER_CRC_AT]);
            Order::write_u32(&mut block[HEADER_CRC_AT..], crc);
            assert!(matches!(SegmentHeader::decode(&block), Err(HeaderFault::Newer(_))));
        }
    }

    #[test]
    fn zeros_are_neither_header_nor_batch_nor_witness() {
        let zeros = [0; 4096];
        assert_eq!(SegmentHeader::decode(&zeros), Err(HeaderFault::Invalid));
        assert_eq!(BatchHeader::decode(&zeros, seed_of(0)), None);
        assert_eq!(Witness::decode(&zeros[..SECTOR_LEN], seed_of(0)), None);
        assert_ne!(checksum(SEED, &zeros[..HEADER_CRC_AT]), 0);
    }

    #[test]
    fn a_witness_comes_back_and_no_flipped_bit_does() {
        let mark = Mark { seq: Seq(4), end: 4160, checksum: 9 };
        let note = Witness { mark, counter: 3, weak: true, closed: false };
        let mut sector = note.encode(11);
        assert_eq!(Witness::decode(&sector, 11), Some(note));
        assert_eq!(Witness::decode(&sector, 12), None);
        for bit in 0..SECTOR_LEN * 8 {
            sector[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Witness::decode(&sector, 11), None, "bit {bit}");
            sector[bit / 8] ^= 1 << (bit % 8);
        }
    }

    #[test]
    fn a_batch_header_comes_back_and_no_flipped_bit_does() {
        let header = BatchHeader {
            payload_len: 100,
            first: Seq(5),
            time: UnixMillis(6),
            durable: Seq(4),
            count: 3,
            flags: 0,
            chain: 8,
        };
        let mut bytes = [0; BATCH_HEADER_LEN];
        let crc = header.encode(11, &mut bytes);
        assert_eq!(BatchHeader::decode(&bytes, 11), Some((header, crc)));
        assert_eq!(header.last(), Seq(7));
        assert_eq!(header.total(), 152);
        for bit in 0..BATCH_HEADER_LEN * 8 {
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(BatchHeader::decode(&bytes, 11), None, "bit {bit}");
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
    }

    #[test]
    fn only_twenty_digits_name_a_segment() {
        assert_eq!(parse_segment_name(&segment_name(Seq(123))), Some(Seq(123)));
        for name in ["1.log", "next.tmp", "+0000000000000000001.log", "99999999999999999999.log"] {
            assert_eq!(parse_segment_name(name), None, "{name}");
        }
        // As high as numbers go.
        assert_eq!(parse_segment_name("04611686018427387903.log"), Some(Seq(COUNT_MAX - 1)));
        assert_eq!(parse_segment_name("04611686018427387904.log"), None);
        assert_eq!(parse_base_name("04611686018427387902.base"), Some(Seq(COUNT_MAX - 2)));
        assert_eq!(parse_base_name("04611686018427387903.base"), None);
    }
}
