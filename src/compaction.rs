//! Compaction: the closed files of a log become one base with the same state.
//!
//! Owns the steps, each a type that only the step before gives out: plan, draft, checked draft. Between them the
//! log on the disk is what it was; with the last one the base takes the place of what it holds. A server may
//! be running all the time. What files look like is the log's, what records mean the state's.

use std::fmt;
use std::path::PathBuf;

use crate::id::{Place, Seq, UnixMillis};
use crate::log::{
    self, Access, BaseSize, BaseWriter, Damage, End, Failed, Origin, ReadError, Reader, Segment,
    Step, Storage, StoredFile, locate,
};
use crate::state::{Digest, RecordError, Stamp, State, Waiting, kept_digest};

/// From where on the log's history is kept, beside what no file holds alone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum KeepSince {
    /// The file with this sequence number, and all behind it.
    Seq(Seq),
    /// The file with the first event at this time or later, and all behind it.
    Time(UnixMillis),
}

/// Why a log was not compacted. It is what it was.
#[derive(Debug)]
pub enum CompactionError {
    /// It cannot be read.
    Read(ReadError),
    /// The base cannot be written.
    Storage(Failed),
    /// It is damaged.
    Damaged(Damage),
    /// A record makes no sense.
    Record {
        /// Its sequence number; that of the base for a record of a base.
        seq: Seq,
        /// Why.
        error: RecordError,
    },
    /// The text of a waiting message is not what it was when it was accepted.
    Text {
        /// The segment file, or the base.
        file: PathBuf,
        /// Where in the file, in bytes.
        offset: u64,
    },
    /// The base does not make the state that the files make.
    Differs {
        /// The state's digest by the files.
        wanted: Digest,
        /// By the base.
        found: Digest,
    },
}

impl From<ReadError> for CompactionError {
    fn from(error: ReadError) -> Self {
        Self::Read(error)
    }
}

impl From<Failed> for CompactionError {
    fn from(error: Failed) -> Self {
        Self::Storage(error)
    }
}

impl fmt::Display for CompactionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read(error) => error.fmt(f),
            Self::Storage(error) => error.fmt(f),
            Self::Damaged(damage) => damage.fmt(f),
            Self::Record { seq, error } => write!(f, "sequence number {seq}: {error}"),
            Self::Text { file, offset } => {
                let file = file.display();
                write!(f, "{file}: the text of a message at offset {offset} is not what it was")
            }
            Self::Differs { wanted, found } => {
                write!(f, "the compacted log has the digest {found} instead of {wanted}")
            }
        }
    }
}

impl std::error::Error for CompactionError {}

/// What is to be compacted, and what it comes to.
pub struct Plan {
    origin: Origin,
    state: State,
    digest: Digest,
    size: u64,
    replaced: Vec<Segment>,
    events: u64,
}

/// A base that is written, and not in use.
pub struct Draft {
    origin: Origin,
    digest: Digest,
}

/// A base that is written, and holds the same state as the files.
pub struct Checked {
    origin: Origin,
}

impl Plan {
    /// Reads what is closed and need not be kept for any of the points, and finds out what would become of it; `None`
    /// if there is nothing to compact. `progress` gets the bytes of files that were read.
    ///
    /// # Errors
    /// If the log cannot be read or is damaged.
    pub fn new<S: Storage>(
        storage: &S,
        keep_since: impl IntoIterator<Item = KeepSince>,
        mut progress: impl FnMut(u64),
    ) -> Result<Option<Self>, CompactionError> {
        let mut reader = Reader::open(storage)?;
        let count = count_replaced(&reader, keep_since)?;
        if reader.segments()[..count].iter().all(|segment| segment.is_base) {
            return Ok(None);
        }
        let Some(next) = reader.peek_header(count)? else { return Ok(None) };
        let mut state = State::default();
        let mut events = 0;
        let mut done = Progress::default();
        loop {
            match reader.next_batch()? {
                Step::Batch(batch) if batch.segment < count => {
                    progress(done.at(batch.segment, batch.offset + batch.header.total()));
                    for record in batch.records() {
                        take(&mut state, &record)?;
                        events += u64::from(!record.in_base);
                    }
                }
                Step::End(End::Damaged(damage)) if state.last_seq() < next.durable => {
                    return Err(CompactionError::Damaged(damage));
                }
                Step::End(End::Damaged(damage)) => {
                    let replaced = &reader.segments()[..count];
                    if replaced.iter().any(|segment| storage.path(&segment.name) == damage.file) {
                        return Err(CompactionError::Damaged(damage));
                    }
                    // It lies behind what is compacted: whoever uses the log will say so.
                    break;
                }
                Step::Batch(_) | Step::End(_) => break,
            }
        }
        let replaced = reader.segments()[..count].to_vec();
        let generation = replaced[0].header.as_ref().map_or(0, |header| header.generation);
        let origin = Origin {
            charset: next.charset,
            log_id: next.log_id,
            generation: if replaced[0].is_base { generation + 1 } else { 1 },
            seq: next.durable,
            time: state.last_time(),
            chain: next.chain,
        };
        let digest = state.digest();
        let size = kept_size(&state, digest);
        Ok(Some(Self { origin, state, digest, size, replaced, events }))
    }

    /// The sequence number as of which the base will hold the state. Events up to it can no longer be
    /// shown afterwards.
    #[must_use]
    pub const fn seq(&self) -> Seq {
        self.origin.seq
    }

    /// Room on the disk that the base takes, in bytes, while what it replaces is still there.
    #[must_use]
    pub const fn needed(&self) -> u64 {
        self.size
    }

    /// Bytes of the files that the base replaces.
    #[must_use]
    pub fn replaced_bytes(&self) -> u64 {
        self.replaced.iter().map(|segment| segment.len).sum()
    }

    /// How many files the base replaces.
    #[must_use]
    pub const fn replaced_files(&self) -> usize {
        self.replaced.len()
    }

    /// How many events the base replaces.
    #[must_use]
    pub const fn events(&self) -> u64 {
        self.events
    }

    /// The digest of the state.
    #[must_use]
    pub const fn digest(&self) -> Digest {
        self.digest
    }

    /// Writes the base, under a name that nobody takes for one. `progress` gets the bytes written.
    ///
    /// # Errors
    /// If there is no room, or the storage fails; nothing is left of the base then.
    pub fn write<S: Storage>(
        self,
        storage: &S,
        mut progress: impl FnMut(u64),
    ) -> Result<Draft, CompactionError> {
        let mut writer = BaseWriter::begin(storage, &self.origin, self.size)?;
        let mut texts = Texts { storage, segments: &self.replaced, open: None };
        let kept = self.state.keep(
            self.digest,
            |waiting, out| texts.read(waiting, out),
            |kind, payload| {
                writer.append(kind, payload)?;
                progress(writer.bytes());
                Ok(())
            },
        );
        let written = kept.and_then(|()| Ok(writer.finish()?));
        if let Err(error) = written {
            log::discard(storage);
            return Err(error);
        }
        Ok(Draft { origin: self.origin, digest: self.digest })
    }
}

impl Draft {
    /// Reads the base back, and compares its state with that of the files. `progress` gets the bytes read.
    ///
    /// # Errors
    /// If it is not the same; nothing is left of the base then.
    pub fn check<S: Storage>(
        self,
        storage: &S,
        progress: impl FnMut(u64),
    ) -> Result<Checked, CompactionError> {
        let checked = self.read_back(storage, progress);
        if checked.is_err() {
            log::discard(storage);
        }
        checked.map(|()| Checked { origin: self.origin })
    }

    fn read_back<S: Storage>(
        &self,
        storage: &S,
        mut progress: impl FnMut(u64),
    ) -> Result<(), CompactionError> {
        let mut reader = log::read_draft(storage, &self.origin);
        let mut state = State::default();
        let mut told = None;
        while !reader.has_read_base() {
            match reader.next_batch()? {
                Step::Batch(batch) => {
                    progress(batch.offset + batch.header.total());
                    for record in batch.records() {
                        take(&mut state, &record)?;
                        told = kept_digest(record.kind, record.payload);
                    }
                }
                Step::End(End::Damaged(damage)) => return Err(CompactionError::Damaged(damage)),
                Step::End(_) => break,
            }
        }
        let (wanted, found) = (self.digest, state.digest());
        let same = found == wanted && told == Some(wanted) && state.find_contradiction().is_none();
        if same { Ok(()) } else { Err(CompactionError::Differs { wanted, found }) }
    }
}

impl Checked {
    /// Puts the base into the place of what it replaces, and removes that. Answers how many files.
    ///
    /// # Errors
    /// If the storage fails: the log is then whole with or without the base, and the next compaction or start
    /// of a server collects what is left over.
    pub fn publish<S: Storage>(self, storage: &S) -> Result<usize, CompactionError> {
        log::publish(storage, &self.origin)?;
        Ok(log::collect(storage, self.origin.seq)?)
    }
}

/// Removes what an earlier compaction has left: files whose place a base has taken, once that base has been
/// read and found good, and found to be continued. Answers how many files.
///
/// # Errors
/// If the log cannot be read or is damaged; nothing is removed then.
pub fn collect<S: Storage>(storage: &S) -> Result<usize, CompactionError> {
    let mut reader = Reader::open(storage)?;
    let base = reader.segments().first().filter(|first| first.is_base);
    let Some(first) = base.map(|base| base.first).filter(|_| !reader.superseded().is_empty())
    else {
        return Ok(0);
    };
    loop {
        match reader.next_batch()? {
            Step::Batch(batch) if batch.base.is_some() => {}
            Step::End(End::Damaged(damage)) => return Err(CompactionError::Damaged(damage)),
            Step::Batch(_) | Step::End(_) => break,
        }
    }
    Ok(log::collect(storage, Seq(first.0 - 1))?)
}

/// The files that a compaction would replace which keeps the history since these points.
///
/// # Errors
/// If the log cannot be read.
pub fn replaceable<S: Storage>(
    storage: &S,
    keep_since: impl IntoIterator<Item = KeepSince>,
) -> Result<Vec<Segment>, ReadError> {
    let reader = Reader::open(storage)?;
    let count = count_replaced(&reader, keep_since)?;
    Ok(reader.segments()[..count].to_vec())
}

/// How many files from the first on are replaced: never the last one, which a server appends to.
fn count_replaced<S: Storage>(
    reader: &Reader<'_, S>,
    keep_since: impl IntoIterator<Item = KeepSince>,
) -> Result<usize, ReadError> {
    let segments = reader.segments();
    let mut count = segments.len().saturating_sub(1);
    for point in keep_since {
        count = match point {
            KeepSince::Seq(seq) => {
                let kept = segments.iter().rposition(|it| !it.is_base && it.first <= seq);
                count.min(kept.unwrap_or(0))
            }
            KeepSince::Time(time) => {
                let mut before = 0;
                // A file carries the time of the last event before it.
                while before < count
                    && reader.peek_header(before + 1)?.is_some_and(|next| next.created < time)
                {
                    before += 1;
                }
                before
            }
        };
    }
    Ok(count)
}

fn take(state: &mut State, record: &log::Record<'_>) -> Result<(), CompactionError> {
    let log::Record { seq, in_base, time, kind, payload, place } = *record;
    state
        .take_record(Stamp { seq, time, place }, in_base, kind, payload)
        .map_err(|error| CompactionError::Record { seq, error })
}

/// Bytes of the base that would hold this state.
#[must_use]
pub fn kept_size(state: &State, digest: Digest) -> u64 {
    let mut size = BaseSize::default();
    let text = |waiting: &Waiting, out: &mut Vec<u8>| {
        let length = usize::try_from(waiting.length).unwrap_or_default();
        out.resize(out.len() + length, 0);
        Ok::<_, std::convert::Infallible>(())
    };
    let Ok(()) = state.keep(digest, text, |_, payload| {
        size.add(payload.len());
        Ok(())
    });
    size.total()
}

/// Bytes of files that were read, however these follow each other.
#[derive(Default)]
struct Progress {
    segment: usize,
    before: u64,
    here: u64,
}

impl Progress {
    const fn at(&mut self, segment: usize, offset: u64) -> u64 {
        if segment != self.segment {
            self.before += self.here;
            self.segment = segment;
        }
        self.here = offset;
        self.before + self.here
    }
}

/// Reads the texts of waiting messages, which mostly follow each other in one file.
struct Texts<'a, S: Storage> {
    storage: &'a S,
    segments: &'a [Segment],
    open: Option<(usize, S::File)>,
}

impl<S: Storage> Texts<'_, S> {
    fn read(&mut self, waiting: &Waiting, out: &mut Vec<u8>) -> Result<(), CompactionError> {
        let from = out.len();
        out.resize(from + usize::try_from(waiting.length).unwrap_or_default(), 0);
        self.fill(waiting.place, &mut out[from..])?;
        if crc32fast::hash(&out[from..]) == waiting.checksum {
            Ok(())
        } else {
            let (index, offset) = locate(waiting.place);
            let name = self.segments.get(index).map_or("", |segment| &segment.name);
            Err(CompactionError::Text { file: self.storage.path(name), offset })
        }
    }

    fn fill(&mut self, place: Place, text: &mut [u8]) -> Result<(), CompactionError> {
        let (index, offset) = locate(place);
        let name = self.segments.get(index).map_or("", |segment| &segment.name);
        let failed = |doing| Failed::at(self.storage, name, doing);
        let file = match &mut self.open {
            Some((open, file)) if *open == index => file,
            open => {
                let file = self.storage.open(name, Access::Read);
                &mut open.insert((index, file.map_err(failed(log::Doing::Open))?)).1
            }
        };
        file.read_at(text, offset).map_err(failed(log::Doing::Read))?;
        Ok(())
    }
}
