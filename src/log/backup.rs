//! Backups: a second folder that holds a log as of one batch, and that later takes up only what is new.
//!
//! Owns the order in which the copy's files get their names: the copy is a log at any moment, of the run
//! before, of this one, or as of the end of a file in between; where a base has to come together with the
//! segment behind it, a kill just between the two is mended by the next run. It only reads the log that it
//! copies, and never touches a folder that holds anything else than a copy of that log.

mod copier;

use std::fmt;
use std::io;
use std::path::PathBuf;

use self::copier::{Copier, Source, equal};
use super::BLACK_BOX;
use super::base::BASE_NAME;
use super::disk::{COMPACTION_LOCK_NAME, LOCK_NAME};
use super::error::{Damage, Doing, Failed, ReadError};
use super::format::{HEADER_LEN, Mark, SegmentHeader, parse_base_name, parse_segment_name};
use super::prepare::NEXT_NAME;
use super::progress::Counter;
use super::reader::{Reader, Segment, open_listed};
use super::step::{End, Step};
use super::storage::{Lock, Storage, StoredFile};
use crate::id::Seq;

const LOCK_NAMES: [&str; 2] = [LOCK_NAME, COMPACTION_LOCK_NAME];

/// What a backup is doing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stage {
    /// Reading the log that is to be copied.
    Reading,
    /// Reading the copy that is there.
    Comparing,
    /// Copying what it lacks.
    Copying,
}

/// Told how many bytes of how many are done.
pub type Watch<'a> = dyn FnMut(Stage, u64, u64) + 'a;

/// Why a copy was not made, or not finished.
#[derive(Debug)]
pub enum BackupError {
    /// A log cannot be read.
    Read(ReadError),
    /// The copy cannot be written.
    Storage(Failed),
    /// The log that is to be copied is damaged.
    Damaged(Damage),
    /// A file of the log is another one than it was a moment ago. Beginning again will do.
    Changed,
    /// The folder for the copy is not touched.
    Refused {
        /// The folder.
        folder: PathBuf,
        /// Why.
        why: Refusal,
    },
}

/// Why a folder is not taken for a copy.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// A server or a tool uses it.
    InUse,
    /// It holds a file that is no part of a copy.
    Stranger(String),
    /// It holds another log.
    OtherLog,
    /// It holds something that the log does not: a server ran on it, or the log is an older one.
    Diverged(String),
    /// What it holds is damaged.
    Damaged(Damage),
}

/// A log as it was found: what there is to copy.
pub struct Survey {
    parts: Vec<Part>,
    /// The last sequence number.
    pub last_seq: Seq,
    /// How many events it holds; what a base holds is not counted.
    pub events: u64,
}

/// What a finished backup has done.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Copied {
    /// Bytes of the log that were copied.
    pub bytes: u64,
    /// Bytes of the log: headers and batches.
    pub bytes_all: u64,
    /// Files that something was copied to.
    pub files: usize,
    /// Files of the copy.
    pub files_all: usize,
}

/// One file of a log, and where it ends.
#[derive(Clone)]
struct Part {
    segment: Segment,
    /// The end of its last batch, or of its header.
    end: Mark,
    /// Where its last batch begins.
    last_at: u64,
}

impl Part {
    const fn is_unused(&self) -> bool {
        self.end.end == HEADER_LEN
    }

    fn header(&self) -> &SegmentHeader {
        self.segment.header.as_ref().expect("the reader has read every header")
    }

    /// The last sequence number that it stands for, with the checksum of its batch; batches of a base count
    /// on their own.
    fn log_end(&self) -> Mark {
        let header = self.header();
        let base = Mark { seq: header.durable, end: self.end.end, checksum: header.chain };
        if self.segment.is_base { base } else { self.end }
    }

    /// Whether nothing has been written behind what a backup has put here: a server notes what was on disk
    /// before its last batch, never that batch itself.
    fn is_as_copied(&self) -> bool {
        let noted = self.segment.slots.newest().is_some_and(|note| note.mark == self.end);
        if self.is_unused() { self.segment.len == HEADER_LEN } else { noted }
    }
}

impl Survey {
    /// Reads a log from its beginning to its last whole batch. A server may be writing to it.
    ///
    /// # Errors
    /// If it is damaged or cannot be read.
    pub fn of<S: Storage>(storage: &S, watch: &mut Watch<'_>) -> Result<Self, BackupError> {
        let (mut survey, end) = Self::read(Reader::open(storage)?, Stage::Reading, watch)?;
        if let End::Damaged(damage) = end {
            return Err(BackupError::Damaged(damage));
        }
        // An empty segment at the end says nothing that the end of the one before does not, and a server
        // may put another one in its place at any time. Only a base cannot do without.
        while let [.., before, last] = &survey.parts[..]
            && last.is_unused()
            && !before.segment.is_base
        {
            survey.parts.pop();
        }
        Ok(survey)
    }

    fn read<S: Storage>(
        mut reader: Reader<'_, S>,
        stage: Stage,
        watch: &mut Watch<'_>,
    ) -> Result<(Self, End), BackupError> {
        let mut counter = Counter::begin(reader.storage(), reader.segments())?;
        let (mut ends, mut events) = (Vec::new(), 0);
        let end = loop {
            let (segment, last_at) = match reader.next_batch()? {
                Step::Batch(batch) => {
                    counter.count(&batch);
                    events += if batch.base.is_none() { u64::from(batch.header.count) } else { 0 };
                    (batch.segment, batch.offset)
                }
                Step::End(end) => break end,
            };
            ends.resize(segment + 1, None);
            ends[segment] = Some((reader.mark(), last_at));
            watch(stage, counter.progress.bytes, counter.progress.bytes_all);
        };
        ends.resize(reader.segments().len(), None);
        let parts = reader.segments().iter().zip(ends).filter_map(|(segment, end)| {
            let header = segment.header.as_ref()?;
            let unused =
                || Mark { seq: header.durable, end: HEADER_LEN, checksum: header.encode().1 };
            let (end, last_at) = end.unwrap_or_else(|| (unused(), HEADER_LEN));
            Some(Part { segment: segment.clone(), end, last_at })
        });
        let parts: Vec<_> = parts.collect();
        let last_seq = parts.last().map_or(Seq::ZERO, |part| part.log_end().seq);
        Ok((Self { parts, last_seq, events }, end))
    }

    /// Makes the folder `to` a copy of this log, which is in `from`. Whatever stops it, the next call goes
    /// on.
    ///
    /// # Errors
    /// If the folder is refused, and is as it was then; or if a storage fails.
    pub fn copy_into<S: Storage, T: Storage>(
        &self,
        from: &S,
        to: &mut T,
        watch: &mut Watch<'_>,
    ) -> Result<Copied, BackupError> {
        let names = self.check(to)?;
        let done = self.take(from, to, watch);
        if let Err(BackupError::Refused { why, .. }) = &done
            && *why != Refusal::InUse
        {
            // What taking the locks has made goes with them.
            for name in LOCK_NAMES.iter().filter(|name| !names.iter().any(|found| found == *name)) {
                let _ = to.remove(name);
            }
        }
        done
    }

    /// What can be known of a folder without locking it, and so without leaving a trace: that it holds
    /// nothing but files of this log, or what looks so. Answers their names.
    ///
    /// # Errors
    /// If the folder is refused, or cannot be read.
    pub fn check<T: Storage>(&self, to: &T) -> Result<Vec<String>, BackupError> {
        let refused = |why| Err(BackupError::Refused { folder: to.path(""), why });
        let names = to.list().map_err(Failed::at(to, "", Doing::List))?;
        if let Some(name) = names.iter().find(|name| !is_part(name)) {
            return refused(Refusal::Stranger(name.clone()));
        }
        let mut reader = Reader::open(to)?;
        reader.charset()?;
        let first = reader.segments().first().and_then(|segment| segment.header.as_ref());
        match first {
            Some(header) if Some(header.log_id) != self.log_id() => refused(Refusal::OtherLog),
            _ => Ok(names),
        }
    }

    fn take<S: Storage, T: Storage>(
        &self,
        from: &S,
        to: &mut T,
        watch: &mut Watch<'_>,
    ) -> Result<Copied, BackupError> {
        for lock in [Lock::Server, Lock::Compaction] {
            match to.lock(lock) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let folder = to.path("");
                    return Err(BackupError::Refused { folder, why: Refusal::InUse });
                }
                locked => locked.map_err(Failed::at(to, "", Doing::Lock))?,
            }
        }
        let there = self.survey_copy(to, watch)?;
        self.compare(from, to, &there)?;
        self.sync_end(from)?;
        Copier::new(from, to, there.parts, watch).run(&self.parts)
    }

    fn base(&self) -> Option<&Part> {
        self.parts.first().filter(|part| part.segment.is_base)
    }

    fn log_id(&self) -> Option<u64> {
        self.parts.first().map(|part| part.header().log_id)
    }

    /// What the copy holds, when what a killed run has left is mended.
    fn survey_copy<T: Storage>(
        &self,
        to: &T,
        watch: &mut Watch<'_>,
    ) -> Result<Survey, BackupError> {
        let reader = Reader::open(to)?;
        let mut segments = reader.segments().to_vec();
        let (there, end) = Self::read(reader, Stage::Comparing, watch)?;
        let refused = |why| Err(BackupError::Refused { folder: to.path(""), why });
        let damage = match end {
            End::Whole => return Ok(there),
            End::Torn(torn) => {
                let file = torn.file.file_name().unwrap_or_default();
                return refused(Refusal::Diverged(file.to_string_lossy().into_owned()));
            }
            End::Damaged(damage) => damage,
        };
        // A segment that was to come with a base, which has not got its name any more: all is well without it.
        let Some(orphan) = segments.pop() else { return refused(Refusal::Damaged(damage)) };
        let without = Reader::over(to, segments, Vec::new());
        match Self::read(without, Stage::Comparing, watch)? {
            (there, End::Whole) if self.is_announced(to, &orphan)? => {
                let name = &orphan.name;
                to.remove(name).map_err(Failed::at(to, name, Doing::Remove))?;
                to.sync_folder().map_err(Failed::at(to, "", Doing::Sync))?;
                Ok(there)
            }
            _ => refused(Refusal::Damaged(damage)),
        }
    }

    /// Whether a file of the copy is a header of this log, and nothing else.
    fn is_announced<T: Storage>(&self, to: &T, segment: &Segment) -> Result<bool, BackupError> {
        let source = Source::open(to, segment)?;
        let len = source.file.size().map_err(Failed::at(to, &segment.name, Doing::Read))?;
        let mut block = vec![0; usize::try_from(HEADER_LEN).unwrap_or_default()];
        if len != HEADER_LEN {
            return Ok(false);
        }
        source.read(&mut block, 0)?;
        let header = SegmentHeader::decode(&block).ok().map(|(header, _)| header);
        Ok(header.is_some_and(|header| Some(header.log_id) == self.log_id() && !header.is_base))
    }

    /// Whether what the copy holds is what this log began with.
    fn compare<S: Storage, T: Storage>(
        &self,
        from: &S,
        to: &T,
        there: &Survey,
    ) -> Result<(), BackupError> {
        let behind = self.base().map_or(Seq::ZERO, |base| base.segment.first);
        for (index, part) in there.parts.iter().enumerate() {
            let is_last = there.parts[index + 1..].iter().all(Part::is_unused);
            let same = if part.segment.first < behind {
                // What the base holds the state of is gone from the log. The segment behind it is chained
                // to it; without that, nothing may have been added to the copy.
                !is_last || self.base_follows(part)
            } else {
                self.continues(from, to, part, is_last)?
            };
            if !same {
                let why = Refusal::Diverged(part.segment.name.clone());
                return Err(BackupError::Refused { folder: to.path(""), why });
            }
        }
        Ok(())
    }

    /// Whether the base can take the place of a copy that ends here.
    fn base_follows(&self, part: &Part) -> bool {
        let Some(base) = self.base() else { return false };
        let (end, base) = (part.log_end(), base.header());
        end.seq < base.durable && part.is_as_copied()
            || end.seq == base.durable && end.checksum == base.chain
    }

    /// Whether a file of the copy is one of this log, as it was some time ago if it is the copy's last.
    fn continues<S: Storage, T: Storage>(
        &self,
        from: &S,
        to: &T,
        part: &Part,
        is_last: bool,
    ) -> Result<bool, BackupError> {
        let Some(own) = self.parts.iter().find(|own| own.segment.name == part.segment.name) else {
            // The log may have an empty segment there, too.
            return Ok(part.is_unused() && is_last && part.is_as_copied());
        };
        if part.is_unused() && is_last {
            return Ok(true);
        }
        if own.header() != part.header() || part.end.seq > own.end.seq {
            return Ok(false);
        }
        if part.end == own.end {
            return Ok(true);
        }
        Ok(is_last && !part.segment.is_base && part.end.end < own.end.end && {
            // Every batch carries the checksum of the one before.
            let ours = Source::open(from, &own.segment)?;
            let theirs = Source::open(to, &part.segment)?;
            equal(&ours, &theirs, part.last_at, part.end.end)?
        })
    }

    /// Sees to it that a power cut cannot take from the log what the copy has: all but the last file is on
    /// disk, whatever the durability.
    fn sync_end<S: Storage>(&self, from: &S) -> Result<(), BackupError> {
        let Some(last) = self.parts.last() else { return Ok(()) };
        let file = open_listed(from, &last.segment)?;
        let failed = Failed::at(from, &last.segment.name, Doing::Sync);
        Ok(file.sync_data().map_err(failed)?)
    }
}

/// Whether a copy of a log may have a file of that name.
fn is_part(name: &str) -> bool {
    parse_segment_name(name).is_some()
        || parse_base_name(name).is_some()
        || [NEXT_NAME, BASE_NAME].contains(&name)
        || LOCK_NAMES.contains(&name)
        // A server has been started on the copy.
        || name == BLACK_BOX
}

impl From<ReadError> for BackupError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Compacted => Self::Changed,
            error => Self::Read(error),
        }
    }
}

impl From<Failed> for BackupError {
    fn from(error: Failed) -> Self {
        Self::Storage(error)
    }
}

impl fmt::Display for BackupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read(error) => error.fmt(f),
            Self::Storage(failed) => failed.fmt(f),
            Self::Damaged(damage) => damage.fmt(f),
            Self::Changed => f.write_str("the log is being rewritten; try again"),
            Self::Refused { folder, why } => write!(f, "{}: {why}", folder.display()),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InUse => f.write_str("a server or another tool uses it"),
            Self::Stranger(name) => write!(f, "it holds {name}, which is no part of a backup"),
            Self::OtherLog => f.write_str("it holds another log"),
            Self::Diverged(name) => {
                write!(f, "its {name} is not what the log has there; a server may have run on it")
            }
            Self::Damaged(damage) => write!(f, "the backup there is damaged: {damage}"),
        }
    }
}

impl std::error::Error for BackupError {}
