//! The files of a recording: names, header, chunks. `FORMAT.md` draws them.
//!
//! Owns the constants and the checks of everything but the entries themselves.

use crate::codec::{Reader, Write};
use crate::id::{Seq, UnixMillis};

/// How a file's name ends.
const NAME_END: &str = ".box";
const NAME_DIGITS: usize = 20;
pub(super) const MAGIC: [u8; 8] = *b"oicqbox\n";
pub(super) const VERSION: u16 = 5;
/// Texts were left out.
const FLAG_BLANKED: u16 = 1;
const FLAGS_KNOWN: u16 = FLAG_BLANKED;
/// Bytes of a header without its checksum, and with it.
const FIELDS_LEN: usize = 52;
pub(super) const HEADER_LEN: usize = FIELDS_LEN + 4;
/// Bytes before a chunk's entries.
pub(super) const CHUNK_HEADER_LEN: usize = 8;
/// What stands behind the last chunk: a chunk has entries. The remains of an older file may follow.
pub(super) const END_MARK: [u8; CHUNK_HEADER_LEN] = [0; CHUNK_HEADER_LEN];
/// Entries of one chunk, in bytes, at most: far more than a server writes at once.
pub(super) const CHUNK_MAX: usize = (1 << 20) + (1 << 17);
/// Bytes of settings and sessions, at most: far more than all connections that there can be take.
pub(super) const KEPT_MAX: usize = 1 << 30;

/// What a file of a recording begins with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Header {
    /// The log that it belongs to.
    pub log_id: u64,
    /// When the server was started: files of one run continue each other.
    pub run: UnixMillis,
    /// The number of its first step.
    pub first_step: u64,
    /// The sequence number that the state is at before that step.
    pub seq: Seq,
    /// Whether fillers stand in place of texts.
    pub is_blanked: bool,
    /// Bytes of settings and sessions behind the header.
    pub(super) kept_len: u32,
}

impl Header {
    /// A header, for a file that is to be written.
    #[must_use]
    pub const fn new(
        log_id: u64,
        run: UnixMillis,
        first_step: u64,
        seq: Seq,
        is_blanked: bool,
    ) -> Self {
        Self { log_id, run, first_step, seq, is_blanked, kept_len: 0 }
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEADER_LEN);
        out.extend_from_slice(&MAGIC);
        out.put_u16(VERSION);
        out.put_u16(if self.is_blanked { FLAG_BLANKED } else { 0 });
        out.put_u64(self.log_id);
        out.put_u64(self.run.0);
        out.put_u64(self.first_step);
        out.put_u64(self.seq.0);
        out.put_u32(self.kept_len);
        // What is not used yet.
        out.put_u32(0);
        debug_assert_eq!(out.len(), FIELDS_LEN);
        out.put_u32(crc32fast::hash(&out));
        out
    }

    /// The header of these bytes, if it is whole and of a version that is known.
    pub(super) fn decode(bytes: &[u8; HEADER_LEN]) -> Result<Self, HeaderFault> {
        let (fields, checksum) = bytes.split_at(FIELDS_LEN);
        let mut reader = Reader::new(fields);
        let mut read = || -> Result<_, crate::codec::Short> {
            let magic = reader.take(MAGIC.len())?;
            let (version, flags) = (reader.u16()?, reader.u16()?);
            let header = Self {
                log_id: reader.u64()?,
                run: UnixMillis(reader.u64()?),
                first_step: reader.u64()?,
                seq: Seq(reader.u64()?),
                is_blanked: flags & FLAG_BLANKED != 0,
                kept_len: reader.u32()?,
            };
            Ok((magic, version, flags, header))
        };
        let (magic, version, flags, header) = read().map_err(|_| HeaderFault::NoHeader)?;
        if magic != MAGIC || checksum != crc32fast::hash(fields).to_be_bytes() {
            return Err(HeaderFault::NoHeader);
        }
        if version != VERSION || flags & !FLAGS_KNOWN != 0 {
            return Err(HeaderFault::OtherVersion);
        }
        Ok(header)
    }

    /// What the checksums behind the header begin with: they fail behind any other header.
    pub(super) fn seed(&self) -> u32 {
        crc32fast::hash(&self.encode())
    }
}

/// What is wrong with a header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum HeaderFault {
    NoHeader,
    OtherVersion,
}

/// A checksum that continues another.
pub(super) fn chained(before: u32, parts: &[&[u8]]) -> u32 {
    let mut hasher = crc32fast::Hasher::new_with_initial(before);
    parts.iter().for_each(|part| hasher.update(part));
    hasher.finalize()
}

/// Puts the header before a chunk's entries, for which room was left at its front.
pub(super) fn seal(chunk: &mut [u8], before: u32) -> u32 {
    let (header, entries) = chunk.split_at_mut(CHUNK_HEADER_LEN);
    let length = u32::try_from(entries.len()).unwrap_or(u32::MAX).to_be_bytes();
    let checksum = chained(before, &[&length, entries]);
    header[..4].copy_from_slice(&length);
    header[4..].copy_from_slice(&checksum.to_be_bytes());
    checksum
}

/// The name of the file that begins with this step.
#[must_use]
pub fn name(first_step: u64) -> String {
    format!("{first_step:0NAME_DIGITS$}{NAME_END}")
}

/// The step that a file's name says it begins with.
pub(super) fn parse_name(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(NAME_END)?;
    let all_digits =
        digits.len() == NAME_DIGITS && digits.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse().ok().filter(|_| all_digits)
}

/// Whether a file of this name is one of a recording.
#[must_use]
pub fn is_box_name(name: &str) -> bool {
    parse_name(name).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: Header = Header {
        log_id: 7,
        run: UnixMillis(1_700_000_000_000),
        first_step: 4_001,
        seq: Seq(12),
        is_blanked: true,
        kept_len: 99,
    };

    #[test]
    fn a_header_comes_back_and_no_other_does() {
        let bytes: [u8; HEADER_LEN] = HEADER.encode().try_into().unwrap();
        assert_eq!(Header::decode(&bytes), Ok(HEADER));
        for bit in 0..HEADER_LEN * 8 {
            let mut flipped = bytes;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Header::decode(&flipped), Err(HeaderFault::NoHeader), "bit {bit}");
        }
        for version in [VERSION - 1, VERSION + 1] {
            let mut other = bytes;
            other[8..10].copy_from_slice(&version.to_be_bytes());
            let checksum = crc32fast::hash(&other[..FIELDS_LEN]);
            other[FIELDS_LEN..].copy_from_slice(&checksum.to_be_bytes());
            assert_eq!(Header::decode(&other), Err(HeaderFault::OtherVersion));
        }
        assert_eq!(Header::decode(&[0; HEADER_LEN]), Err(HeaderFault::NoHeader));
    }

    #[test]
    fn names_are_numbers_of_twenty_digits() {
        assert_eq!(name(4_001), "00000000000000004001.box");
        assert_eq!(parse_name(&name(u64::MAX)), Some(u64::MAX));
        let others = ["4001.box", "00000000000000004001.log", "+0000000000000004001.box", ".box"];
        assert_eq!(others.map(parse_name), [None; 4]);
    }
}
