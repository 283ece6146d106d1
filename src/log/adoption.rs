//! Taking a base into use that a tool has made while the log is open.
//!
//! Owns the way from the sight of a newer base to letting go of what it replaces. Nothing of it is
//! needed for what is appended meanwhile: until the last step all places, old and new, can be read.

use std::fmt;
use std::path::PathBuf;

use super::base::unread;
use super::error::{Damage, Doing, Failed, ReadError};
use super::format::{HEADER_LEN, SegmentHeader, parse_base_name};
use super::reader::{Position, Reader, Segment};
use super::step::{End, Record, Step, locate, place_at};
use super::storage::{Access, Storage, StoredFile};
use super::writer::{Closed, Log};
use crate::id::Seq;

/// A base on its way into use.
pub(super) struct Adoption {
    segment: Segment,
    /// `None` before its header was read.
    position: Option<Position>,
    seq: Seq,
    /// The file's number in places.
    file: usize,
    /// The newest base that was looked at before this one.
    before: Option<Seq>,
}

/// Why a base is not taken into use. The log goes on with what it has.
#[derive(Debug)]
pub enum AdoptError {
    /// It cannot be read.
    Read(ReadError),
    /// It is not as it was written.
    Damaged(Damage),
    /// It does not belong to this log as it is now.
    Foreign {
        /// Its file.
        file: PathBuf,
    },
}

impl<E: Into<ReadError>> From<E> for AdoptError {
    fn from(error: E) -> Self {
        Self::Read(error.into())
    }
}

impl fmt::Display for AdoptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read(error) => error.fmt(f),
            Self::Damaged(damage) => damage.fmt(f),
            Self::Foreign { file } => write!(f, "{}: not a base of this log", file.display()),
        }
    }
}

impl std::error::Error for AdoptError {}

impl<S: Storage> Log<S> {
    /// Looks whether a tool has compacted the log, and begins to take its base into use;
    /// [`adopt`](Self::adopt) goes on with it.
    ///
    /// # Errors
    /// If the folder cannot be listed or the base not be opened.
    pub fn look_for_base(&mut self) -> Result<(), AdoptError> {
        let names = self.storage.list().map_err(Failed::at(&self.storage, "", Doing::List))?;
        let newest = names.iter().filter_map(|name| Some((parse_base_name(name)?, name))).max();
        let Some((seq, name)) = newest.filter(|(seq, _)| Some(*seq) > self.looked_at) else {
            return Ok(());
        };
        let failed = Failed::at(&self.storage, name, Doing::Open);
        let mut file = self.storage.open(name, Access::Read).map_err(failed)?;
        // Its texts are going to be read from it for a long time: better to know at once that they can.
        let header = header_of(&file).map_err(Failed::at(&self.storage, name, Doing::Read))?;
        let before = self.looked_at.replace(seq);
        if !header.is_some_and(|header| self.is_continued(&header, seq)) {
            return Err(AdoptError::Foreign { file: self.storage.path(name) });
        }
        file.let_go();
        let id = self.take_file_id();
        self.files.insert(id, Closed { file, first: seq.next(), is_base: true });
        let segment = unread(name.clone(), seq);
        self.adoption = Some(Adoption { segment, position: None, seq, file: id, before });
        Ok(())
    }

    /// Whether a base of `seq` with this header is one of this log, and one of its segments follows it.
    fn is_continued(&self, base: &SegmentHeader, seq: Seq) -> bool {
        let next = if seq.next() == self.active.header.first {
            Some(self.active.header.clone())
        } else {
            let mut closed = self.files.values().filter(|closed| !closed.is_base);
            let next = closed.find(|closed| closed.first == seq.next());
            next.and_then(|next| header_of(&next.file).ok().flatten())
        };
        let own = &self.active.header;
        base.is_base
            && (base.log_id, base.charset, base.durable) == (own.log_id, own.charset, seq)
            && next.is_some_and(|next| next.chain == base.chain)
    }

    /// Whether a base is on its way into use.
    #[must_use]
    pub const fn is_adopting(&self) -> bool {
        self.adoption.is_some()
    }

    /// Reads the next batch of the base, and hands its records to `each` with the places that their
    /// payloads have in it. Answers whether that was the last one; what refers to payloads in front
    /// of the base then does so through these places, and [`let_go`](Self::let_go) may follow.
    ///
    /// # Errors
    /// If the base is not taken into use. The places handed out so far stay good.
    pub fn adopt(&mut self, each: impl FnMut(&Record<'_>)) -> Result<bool, AdoptError> {
        let Some(mut adoption) = self.adoption.take() else { return Ok(true) };
        let done = adoption.step(&self.storage, each).inspect_err(|error| {
            if matches!(error, AdoptError::Read(ReadError::Storage(_))) {
                // It may be possible later: the next look finds it again.
                self.looked_at = adoption.before;
            }
        })?;
        if done {
            self.superseded = Some(adoption.seq);
        } else {
            self.adoption = Some(adoption);
        }
        Ok(done)
    }

    /// Whether files are held whose place a base has taken.
    #[must_use]
    pub const fn holds_superseded(&self) -> bool {
        self.superseded.is_some()
    }

    /// Lets go of the next of the files whose place a base has taken, and answers whether it was the last:
    /// with its last user a large file costs time. Nothing may refer to their payloads any more.
    pub fn let_go(&mut self) -> bool {
        let Some(seq) = self.superseded else { return true };
        let mut files = self.files.iter().filter(|(_, closed)| closed.first <= seq);
        let (next, more) = (files.next().map(|(id, _)| *id), files.next().is_some());
        if let Some(id) = next {
            self.files.remove(&id);
        }
        if !more {
            self.superseded = None;
        }
        !more
    }
}

impl Adoption {
    fn step<S: Storage>(
        &mut self,
        storage: &S,
        mut each: impl FnMut(&Record<'_>),
    ) -> Result<bool, AdoptError> {
        let mut reader = Reader::over(storage, vec![self.segment.clone()], Vec::new());
        reader.read_little();
        if let Some(position) = self.position {
            reader.go_to(position)?;
        }
        match reader.next_batch()? {
            Step::Batch(batch) => {
                for record in batch.records() {
                    let place = place_at(self.file, locate(record.place).1);
                    each(&Record { place, ..record });
                }
            }
            Step::End(End::Damaged(damage)) => return Err(AdoptError::Damaged(damage)),
            Step::End(_) => return Err(self.foreign(storage)),
        }
        if self.position.is_none() {
            self.segment = reader.segments()[0].clone();
        }
        self.position = Some(reader.position());
        Ok(reader.has_read_base())
    }

    fn foreign<S: Storage>(&self, storage: &S) -> AdoptError {
        AdoptError::Foreign { file: storage.path(&self.segment.name) }
    }
}

/// A file's header; `None` if it does not pass its check.
fn header_of<F: StoredFile>(file: &F) -> std::io::Result<Option<SegmentHeader>> {
    let block_len = usize::try_from(HEADER_LEN).expect("the header is one page");
    let block = file.bytes(0, block_len)?;
    Ok(SegmentHeader::decode(&block).ok().map(|(header, _)| header))
}
