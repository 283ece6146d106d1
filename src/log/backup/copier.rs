//! Bringing a copy of a log up to date: its files are put together under names of their own, and get theirs in an
//! order in which the copy is a log at any moment.
//!
//! Owns that order. It never judges whether the folder may be written to: `backup` has done so.

use std::collections::BTreeSet;
use std::io;

use super::{BackupError, Copied, Part, Stage, Watch};
use crate::log::base::{self, BASE_NAME, SYNC_STEP};
use crate::log::error::{Doing, Failed};
use crate::log::format::{
    HEADER_LEN, Mark, SECTOR_LEN, SegmentHeader, Slots, WITNESS_OFFSETS, Witness, seed_of,
};
use crate::log::prepare::NEXT_NAME;
use crate::log::reader::{Segment, open_listed};
use crate::log::recovery::{Recovery, note_closed};
use crate::log::storage::{Access, Storage, StoredFile};

/// Bytes copied at once.
const COPY_STEP: usize = 1 << 20;

/// A file of a log, opened for reading, and how to name it.
pub(super) struct Source<'a, S: Storage> {
    storage: &'a S,
    name: &'a str,
    pub(super) file: S::File,
}

impl<'a, S: Storage> Source<'a, S> {
    pub(super) fn open(storage: &'a S, segment: &'a Segment) -> Result<Self, BackupError> {
        Ok(Self { storage, name: &segment.name, file: open_listed(storage, segment)? })
    }

    /// All of `buffer` from `offset` on.
    pub(super) fn read(&self, buffer: &mut [u8], offset: u64) -> Result<(), Failed> {
        let failed = Failed::at(self.storage, self.name, Doing::Read);
        match self.file.read_at(buffer, offset) {
            Ok(count) if count < buffer.len() => Err(failed(io::ErrorKind::UnexpectedEof.into())),
            answer => answer.map(drop).map_err(failed),
        }
    }
}

/// Calls `each` with where a step begins and how long it is, for all steps of a stretch.
fn steps<E>(
    from: u64,
    until: u64,
    mut each: impl FnMut(u64, usize) -> Result<(), E>,
) -> Result<(), E> {
    let mut at = from;
    while at < until {
        let len = COPY_STEP.min(usize::try_from(until - at).unwrap_or(COPY_STEP));
        each(at, len)?;
        at += len as u64;
    }
    Ok(())
}

/// Whether two files have the same bytes from `from` to `until`.
pub(super) fn equal<S: Storage, T: Storage>(
    one: &Source<'_, S>,
    other: &Source<'_, T>,
    from: u64,
    until: u64,
) -> Result<bool, Failed> {
    let (mut ones, mut others) = (vec![0; COPY_STEP], vec![0; COPY_STEP]);
    let mut same = true;
    steps(from, until, |at, len| {
        one.read(&mut ones[..len], at)?;
        other.read(&mut others[..len], at)?;
        same &= ones[..len] == others[..len];
        Ok::<_, Failed>(())
    })?;
    Ok(same)
}

/// A file of the copy that is being made, under a name of its own.
struct Draft<'a, T: Storage> {
    storage: &'a T,
    name: &'static str,
    file: T::File,
    unsynced: u64,
}

impl<'a, T: Storage> Draft<'a, T> {
    fn begin(storage: &'a T, name: &'static str) -> Result<Self, Failed> {
        let failed = |doing| Failed::at(storage, name, doing);
        let made = match storage.create(name) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                storage.remove(name).map_err(failed(Doing::Remove))?;
                storage.create(name)
            }
            made => made,
        };
        Ok(Self { storage, name, file: made.map_err(failed(Doing::Create))?, unsynced: 0 })
    }

    fn write(&mut self, bytes: &[u8], offset: u64) -> Result<(), Failed> {
        let failed = |doing| Failed::at(self.storage, self.name, doing);
        self.file.write_at(bytes, offset).map_err(failed(Doing::Write))?;
        self.unsynced += bytes.len() as u64;
        if self.unsynced >= SYNC_STEP {
            self.file.sync_data().map_err(failed(Doing::Sync))?;
            self.unsynced = 0;
        }
        Ok(())
    }

    /// Copies a stretch, and tells `each` how many bytes of it went.
    fn fill<S: Storage>(
        &mut self,
        source: &Source<'_, S>,
        from: u64,
        until: u64,
        mut each: impl FnMut(u64),
    ) -> Result<(), Failed> {
        let mut buffer = vec![0; COPY_STEP];
        steps(from, until, |at, len| {
            source.read(&mut buffer[..len], at)?;
            self.write(&buffer[..len], at)?;
            each(len as u64);
            Ok(())
        })
    }

    /// Gives the file its length, and has all of it on disk.
    fn finish(mut self, len: u64) -> Result<(), Failed> {
        let failed = |doing| Failed::at(self.storage, self.name, doing);
        self.file.set_len(len).map_err(failed(Doing::Cut))?;
        self.file.sync_data().map_err(failed(Doing::Sync))
    }
}

/// The block in front of a file's batches, without notes; the file is still the one that was surveyed.
fn header_block<S: Storage>(source: &Source<'_, S>, part: &Part) -> Result<Vec<u8>, BackupError> {
    let mut block = vec![0; usize::try_from(HEADER_LEN).unwrap_or_default()];
    source.read(&mut block, 0)?;
    match SegmentHeader::decode(&block) {
        Ok((header, _)) if header == *part.header() => {}
        _ => return Err(BackupError::Changed),
    }
    block[SECTOR_LEN..3 * SECTOR_LEN].fill(0);
    Ok(block)
}

/// Puts a note of the end of all batches into the block, where there are any.
fn put_note(block: &mut [u8], part: &Part) -> Slots {
    let mut slots = Slots::default();
    if part.is_unused() {
        return slots;
    }
    let (weak, closed) = (part.segment.is_weak(), part.segment.is_base);
    let note = Witness { mark: part.end, counter: 1, weak, closed };
    let sector = note.encode(seed_of(part.header().log_id));
    let at = usize::try_from(WITNESS_OFFSETS[note.slot()]).unwrap_or_default();
    block[at..at + SECTOR_LEN].copy_from_slice(&sector);
    slots.notes[note.slot()] = Some(note);
    slots
}

/// Brings a copy up to date, file by file.
pub(super) struct Copier<'a, 'w, S: Storage, T: Storage> {
    from: &'a S,
    to: &'a T,
    /// The copy's files as they are now.
    there: Vec<Part>,
    touched: BTreeSet<String>,
    copied: u64,
    /// Bytes that are to be copied.
    wanted: u64,
    watch: &'a mut Watch<'w>,
}

impl<'a, 'w, S: Storage, T: Storage> Copier<'a, 'w, S, T> {
    /// For a copy with these files.
    pub(super) const fn new(
        from: &'a S,
        to: &'a T,
        there: Vec<Part>,
        watch: &'a mut Watch<'w>,
    ) -> Self {
        Self { from, to, there, touched: BTreeSet::new(), copied: 0, wanted: 0, watch }
    }

    /// Makes the copy's files what these parts are.
    pub(super) fn run(mut self, parts: &[Part]) -> Result<Copied, BackupError> {
        let bytes_all = parts.iter().map(|part| part.end.end).sum();
        self.wanted = parts.iter().map(|part| part.end.end - self.kept(part)).sum();
        let done = self.copy(parts);
        if done.is_err() {
            // Where that fails they stay behind, and the next ones that are made replace them.
            let _ = self.to.remove(NEXT_NAME);
            base::discard(self.to);
        }
        let (files, files_all) = (self.touched.len(), parts.len());
        done.map(|()| Copied { bytes: self.copied, bytes_all, files, files_all })
    }

    fn copy(&mut self, parts: &[Part]) -> Result<(), BackupError> {
        let segments = match parts {
            [first, segments @ ..] if first.segment.is_base => {
                self.bring_base(first, segments)?;
                segments
            }
            segments => segments,
        };
        for (index, part) in segments.iter().enumerate() {
            let next = segments.get(index + 1);
            self.bring(part, next.is_none())?;
            if let Some(next) = next {
                // As a server begins a segment: it gets its name, then the one before is closed, and only
                // then it holds batches.
                self.announce(next)?;
                let now = self.there(part).expect("it was just brought");
                note_closed(self.to, &now.segment, now.end, false, &mut Recovery::default())?;
            }
        }
        if let Some(base) = parts.first().and_then(|first| first.segment.base()) {
            base::collect(self.to, base)?;
        }
        self.sync_folder()
    }

    fn there(&self, part: &Part) -> Option<&Part> {
        self.there.iter().find(|there| there.segment.name == part.segment.name)
    }

    /// What the copy has of this very file.
    fn same(&self, part: &Part) -> Option<&Part> {
        self.there(part).filter(|there| there.header() == part.header())
    }

    /// Up to where the copy has what this file holds.
    fn kept(&self, part: &Part) -> u64 {
        self.same(part).map_or(0, |there| there.end.end)
    }

    /// Takes note that a file of the copy is another one now.
    fn replace(&mut self, part: Part) {
        self.there.retain(|there| there.segment.name != part.segment.name);
        self.there.push(part);
    }

    /// The base, which counts as soon as it has its name: the segment behind it is there before.
    fn bring_base(&mut self, base: &Part, segments: &[Part]) -> Result<(), BackupError> {
        if self.there(base).is_some() {
            return Ok(());
        }
        let source = Source::open(self.from, &base.segment)?;
        let mut block = header_block(&source, base)?;
        put_note(&mut block, base);
        let mut draft = Draft::begin(self.to, BASE_NAME)?;
        draft.write(&block, 0)?;
        self.fill(&mut draft, &source, base, 0)?;
        draft.finish(base.header().size)?;
        if let Some(behind) = segments.first() {
            self.announce(behind)?;
        }
        base::publish_as(self.to, base.header().durable)?;
        self.replace(base.clone());
        Ok(())
    }

    /// Gives a segment its name, without a batch, unless the copy has it.
    fn announce(&mut self, part: &Part) -> Result<(), BackupError> {
        let has_batches = self.there(part).is_some_and(|there| !there.is_unused());
        if has_batches || self.same(part).is_some() {
            return Ok(());
        }
        let header = part.header();
        let end = Mark { seq: header.durable, end: HEADER_LEN, checksum: header.encode().1 };
        self.make(&Part { end, last_at: HEADER_LEN, ..part.clone() }, HEADER_LEN)
    }

    /// Makes the copy's file hold what this one holds. The last one ends behind its last batch: a server
    /// that is started on the copy fills it up.
    fn bring(&mut self, part: &Part, is_last: bool) -> Result<(), BackupError> {
        let len = if is_last { part.end.end } else { part.header().size };
        match self.same(part).filter(|there| there.end == part.end).cloned() {
            Some(there) => self.grow(there, len),
            None => self.make(part, len),
        }
    }

    /// A segment behind which another one comes has its full length.
    fn grow(&mut self, mut there: Part, len: u64) -> Result<(), BackupError> {
        if there.segment.len >= len {
            return Ok(());
        }
        let failed = |doing| Failed::at(self.to, &there.segment.name, doing);
        let opened = self.to.open(&there.segment.name, Access::Write);
        let mut file = opened.map_err(failed(Doing::Open))?;
        file.set_len(len).map_err(failed(Doing::Cut))?;
        file.sync_data().map_err(failed(Doing::Sync))?;
        there.segment.len = len;
        self.replace(there);
        Ok(())
    }

    /// Puts a segment together from what the copy has of it and what is new, and gives it its name.
    fn make(&mut self, part: &Part, len: u64) -> Result<(), BackupError> {
        let source = Source::open(self.from, &part.segment)?;
        let mut block = header_block(&source, part)?;
        let slots = put_note(&mut block, part);
        let mut draft = Draft::begin(self.to, NEXT_NAME)?;
        draft.write(&block, 0)?;
        if let Some(there) = self.same(part) {
            let old = Source::open(self.to, &there.segment)?;
            draft.fill(&old, HEADER_LEN, there.end.end, |_| ())?;
        }
        self.fill(&mut draft, &source, part, self.kept(part))?;
        draft.finish(len)?;
        let name = &part.segment.name;
        let renamed = self.to.rename(NEXT_NAME, name);
        renamed.map_err(Failed::at(self.to, name, Doing::Rename))?;
        self.sync_folder()?;
        let segment = Segment { slots, len, ..part.segment.clone() };
        self.replace(Part { segment, ..part.clone() });
        Ok(())
    }

    /// Copies what is new of a file, of which the copy has so many bytes.
    fn fill(
        &mut self,
        draft: &mut Draft<'_, T>,
        source: &Source<'_, S>,
        part: &Part,
        kept: u64,
    ) -> Result<(), BackupError> {
        self.touched.insert(part.segment.name.clone());
        let Self { copied, wanted, watch, .. } = self;
        if kept == 0 {
            *copied += HEADER_LEN;
        }
        draft.fill(source, kept.max(HEADER_LEN), part.end.end, |bytes| {
            *copied += bytes;
            watch(Stage::Copying, *copied, *wanted);
        })?;
        Ok(())
    }

    fn sync_folder(&self) -> Result<(), BackupError> {
        Ok(self.to.sync_folder().map_err(Failed::at(self.to, "", Doing::Sync))?)
    }
}
