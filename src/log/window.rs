//! A stretch of a file in memory, moved forwards in large steps; and the search for batches in it.
//!
//! Owns the reader's one buffer: a chunk, or the largest batch met so far, which is why reading takes less
//! than twice as much even while the buffer grows. Behind the end of the file it shows zeros, as a
//! preallocated segment has them; so it does, where it was told to pass over them, for pieces that cannot be
//! read, which it remembers. It never judges what it shows.

use std::io;
use std::ops::Range;

use super::error::{Cause, What};
use super::format::{ALIGNMENT, BATCH_HEADER_LEN, BATCH_MAGIC, BatchHeader, SECTOR_LEN, is_zero};
use super::storage::StoredFile;

/// Bytes read at once: large enough that the calls cost nothing beside the checksums.
const CHUNK: usize = 1 << 20;
/// Where a chunk cannot be read, it is read in pieces of these sizes: what systems keep in memory as one,
/// and what disks lose as one.
const PIECES: [u64; 2] = [4096, SECTOR_LEN as u64];

#[derive(Default)]
pub(super) struct Window {
    bytes: Vec<u8>,
    start: u64,
    filled: usize,
    /// Bytes read at once: [`CHUNK`], less for a small file.
    chunk: usize,
    /// Bytes read at once, at most, where less than [`CHUNK`] is wanted.
    bound: Option<usize>,
    /// Whether pieces that cannot be read are passed over; else they are errors.
    lenient: bool,
    /// The pieces of the file that could not be read, in order, with nothing between neighbours of one cause.
    unreadable: Vec<Gap>,
}

#[derive(Clone)]
struct Gap {
    range: Range<u64>,
    cause: Cause,
}

impl Window {
    /// A window that passes over what cannot be read.
    pub(super) fn lenient() -> Self {
        Self { lenient: true, ..Self::default() }
    }

    /// Makes ready for a file of `len` bytes.
    pub(super) fn begin(&mut self, len: u64) {
        self.filled = 0;
        self.unreadable.clear();
        let most = self.bound.unwrap_or(CHUNK);
        self.chunk = usize::try_from(len).unwrap_or(CHUNK).clamp(SECTOR_LEN, most);
    }

    /// Reads so many bytes at once at most, from the next file on, unless a batch has more.
    pub(super) const fn bound(&mut self, most: usize) {
        self.bound = Some(most);
    }

    pub(super) const fn is_lenient(&self) -> bool {
        self.lenient
    }

    /// Forgets what was read, so that the file is asked again.
    pub(super) const fn clear(&mut self) {
        self.filled = 0;
    }

    /// The bytes in the window from `offset` on, if all `len` of them are in it.
    pub(super) fn peek(&self, offset: u64, len: usize) -> Option<&[u8]> {
        let skip = usize::try_from(offset.checked_sub(self.start)?).ok()?;
        self.bytes[..self.filled].get(skip..skip.checked_add(len)?)
    }

    /// `len` bytes of `file` from `offset` on, zeros behind its end.
    pub(super) fn get<F: StoredFile>(
        &mut self,
        file: &F,
        offset: u64,
        len: usize,
    ) -> io::Result<&[u8]> {
        if self.peek(offset, len).is_none() {
            self.move_to(file, offset, len.max(self.chunk))?;
        }
        Ok(self.peek(offset, len).expect("the window was just filled from there on"))
    }

    fn move_to<F: StoredFile>(&mut self, file: &F, offset: u64, len: usize) -> io::Result<()> {
        let skip = offset.checked_sub(self.start).and_then(|skip| usize::try_from(skip).ok());
        let kept = skip.filter(|skip| *skip < self.filled).map_or(0..0, |skip| skip..self.filled);
        self.filled = 0;
        if self.bytes.len() < len {
            // Exactly as much as is wanted: to grow by more would be a bound that nobody knows.
            let mut bytes = vec![0; len];
            bytes[..kept.len()].copy_from_slice(&self.bytes[kept.clone()]);
            self.bytes = bytes;
        } else {
            self.bytes.copy_within(kept.clone(), 0);
        }
        let kept = kept.len();
        let count = if self.lenient {
            self.read_over(file, offset, kept..len)
        } else {
            file.read_at(&mut self.bytes[kept..len], offset + kept as u64)?
        };
        self.bytes[kept + count..len].fill(0);
        self.start = offset;
        self.filled = len;
        Ok(())
    }

    /// Fills `part` of the buffer, which begins at `start` in the file, piece by piece where it must;
    /// answers how many bytes there were.
    fn read_over<F: StoredFile>(&mut self, file: &F, start: u64, part: Range<usize>) -> usize {
        let mut bytes = std::mem::take(&mut self.bytes);
        let first = start + part.start as u64;
        let count = self.read_pieces(file, first, &mut bytes[part], &PIECES);
        self.bytes = bytes;
        count
    }

    fn read_pieces<F: StoredFile>(
        &mut self,
        file: &F,
        from: u64,
        buffer: &mut [u8],
        sizes: &[u64],
    ) -> usize {
        let until = from + buffer.len() as u64;
        let error = match self.unreadable(from..until) {
            None => match file.read_at(buffer, from) {
                Ok(count) => return count,
                Err(error) => Some(error),
            },
            Some(_) => None,
        };
        let [size, smaller @ ..] = sizes else {
            buffer.fill(0);
            if let Some(error) = error {
                // Of a sector that cannot be read, no part is asked for again.
                let sector = SECTOR_LEN as u64;
                let whole = from / sector * sector..until.next_multiple_of(sector);
                self.remember(whole, Cause::of(&error));
            }
            return buffer.len();
        };
        let mut at = from;
        while at < until {
            let end = ((at / size + 1) * size).min(until);
            let piece = &mut buffer[index(at - from)..index(end - from)];
            let (wanted, count) = (piece.len(), self.read_pieces(file, at, piece, smaller));
            if count < wanted {
                return index(at - from) + count;
            }
            at = end;
        }
        buffer.len()
    }

    fn remember(&mut self, mut range: Range<u64>, cause: Cause) {
        let mut index = self.unreadable.partition_point(|gap| gap.range.start < range.start);
        if let Some(before) = index.checked_sub(1).map(|before| &self.unreadable[before])
            && before.range.end == range.start
            && before.cause == cause
        {
            range.start = before.range.start;
            index -= 1;
            self.unreadable.remove(index);
        }
        match self.unreadable.get_mut(index) {
            Some(behind) if behind.range.start == range.end && behind.cause == cause => {
                behind.range.start = range.start;
            }
            _ => self.unreadable.insert(index, Gap { range, cause }),
        }
    }

    /// What could not be read of a stretch that the window has shown.
    pub(super) fn unreadable(&self, stretch: Range<u64>) -> Option<What> {
        let index = self.unreadable.partition_point(|gap| gap.range.end <= stretch.start);
        let gap = self.unreadable.get(index).filter(|gap| gap.range.start < stretch.end)?;
        let Range { start: at, end } = gap.range;
        Some(What::Unreadable { at, bytes: end - at, cause: gap.cause })
    }

    /// Looks at every place from `from` to `until` where a batch may begin, and hands the headers
    /// of this log to `found` until it answers `true`. Answers where the last byte ends that is not
    /// 0, as far as it looked, rounded up to the alignment.
    pub(super) fn search<F: StoredFile>(
        &mut self,
        file: &F,
        from: u64,
        until: u64,
        seed: u32,
        mut found: impl FnMut(u64, &BatchHeader) -> bool,
    ) -> io::Result<Option<u64>> {
        let mut last = None;
        let mut at = from.next_multiple_of(ALIGNMENT as u64);
        while at < until {
            let step = self.chunk.min(usize::try_from(until - at).unwrap_or(CHUNK));
            let chunk = self.get(file, at, step + BATCH_HEADER_LEN)?;
            let mut skip = 0;
            while skip < step {
                let rest = &chunk[skip..];
                if rest[..ALIGNMENT] == [0; ALIGNMENT] {
                    let blank = |len: &usize| rest.get(..*len).is_some_and(is_zero);
                    skip += [4096, SECTOR_LEN].into_iter().find(blank).unwrap_or(ALIGNMENT);
                    continue;
                }
                let offset = at + skip as u64;
                last = Some(offset + ALIGNMENT as u64);
                if rest[..4] == BATCH_MAGIC.to_be_bytes()
                    && let Some((header, _)) = BatchHeader::decode(rest, seed)
                    && found(offset, &header)
                {
                    return Ok(last);
                }
                skip += ALIGNMENT;
            }
            at += step as u64;
        }
        Ok(last)
    }
}

fn index(distance: u64) -> usize {
    usize::try_from(distance).expect("a distance within the buffer")
}
