//! The log, as a replay needs it: the state at a sequence number, the events behind it, and texts.
//!
//! Reads the log once, forwards. Owns nothing of what the events mean but what the state makes of them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::io;

use crate::id::{Place, Seq, UnixMillis};
use crate::log::{Access, Damage, End, ReadError, Reader, Step, Storage, StoredFile as _, locate};
use crate::state::{Event, RecordError, Stamp, State};

/// An event of the log.
#[derive(Clone, PartialEq, Eq)]
pub struct Logged {
    /// Its sequence number.
    pub seq: Seq,
    /// Its time.
    pub time: UnixMillis,
    /// Its kind, as it stands in the log.
    pub kind: u8,
    /// Its payload.
    pub payload: Vec<u8>,
    place: Place,
}

impl fmt::Debug for Logged {
    /// Without the payload, which may be long and hold what is nobody's business.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seq, time, kind, payload, .. } = self;
        let bytes = payload.len();
        write!(f, "Logged({seq} at {time}, kind {kind}, {bytes} bytes)")
    }
}

impl Logged {
    /// An event that a replay has made.
    pub(super) fn made(seq: Seq, time: UnixMillis, kind: u8, payload: &[u8], place: Place) -> Self {
        Self { seq, time, kind, payload: payload.to_vec(), place }
    }
}

/// Why the log does not give what a replay needs.
#[derive(Debug)]
pub enum HistoryError {
    /// It cannot be read.
    Read(ReadError),
    /// It is damaged.
    Damaged(Damage),
    /// An event does not fit the state before it.
    Record(Seq, RecordError),
    /// A text cannot be read again.
    Text(io::Error),
}

impl fmt::Display for HistoryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read(error) => error.fmt(f),
            Self::Damaged(damage) => damage.fmt(f),
            Self::Record(seq, error) => write!(f, "sequence number {seq}: {error}"),
            Self::Text(error) => write!(f, "the text of a message cannot be read: {error}"),
        }
    }
}

impl std::error::Error for HistoryError {}

/// Where a replay takes state, events and texts from.
pub trait History {
    /// The log's id, once anything of it is known.
    fn log_id(&self) -> Option<u64>;

    /// The state at a sequence number; `None` where the log does not show it: before what compaction has kept,
    /// behind its end, or before what was asked for earlier.
    ///
    /// # Errors
    /// If the log cannot be read.
    fn state_at(&mut self, seq: Seq) -> Result<Option<State>, HistoryError>;

    /// The event behind the last one that was taken, or behind the state that was asked for last.
    ///
    /// # Errors
    /// If the log cannot be read.
    fn peek(&mut self) -> Result<Option<&Logged>, HistoryError>;

    /// Takes the event that was looked at.
    ///
    /// # Errors
    /// If it does not fit the state before it.
    fn take(&mut self) -> Result<(), HistoryError>;

    /// Where the text of an event can be read, if it is one of those that were to be remembered.
    fn text_place(&self, seq: Seq) -> Option<Place>;

    /// Appends a text of the log.
    ///
    /// # Errors
    /// If it cannot be read.
    fn read(&self, place: Place, length: u32, out: &mut Vec<u8>) -> Result<(), HistoryError>;
}

/// A log in its files.
pub struct LogHistory<'s, S: Storage> {
    storage: &'s S,
    reader: Reader<'s, S>,
    state: State,
    /// What has been read and not yet been taken.
    ahead: VecDeque<Logged>,
    ended: bool,
    remembered: BTreeSet<Seq>,
    places: BTreeMap<Seq, Place>,
    /// Is told how many bytes have been read.
    progress: Box<dyn FnMut(u64) + 's>,
    closed_bytes: u64,
    segment: usize,
    bytes: u64,
}

impl<'s, S: Storage> LogHistory<'s, S> {
    /// Begins to read a log. The places of these events' texts are remembered on the way.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn open(storage: &'s S, remembered: BTreeSet<Seq>) -> Result<Self, HistoryError> {
        let mut reader = Reader::open(storage).map_err(HistoryError::Read)?;
        // The header with the log's id is read along.
        reader.charset().map_err(HistoryError::Read)?;
        Ok(Self {
            storage,
            reader,
            state: State::default(),
            ahead: VecDeque::new(),
            ended: false,
            remembered,
            places: BTreeMap::new(),
            progress: Box::new(|_| ()),
            closed_bytes: 0,
            segment: 0,
            bytes: 0,
        })
    }

    /// The same, and `progress` gets the bytes of the log that have been read.
    #[must_use]
    pub fn telling(mut self, progress: impl FnMut(u64) + 's) -> Self {
        self.progress = Box::new(progress);
        self
    }

    /// Reads another batch, unless the log has ended.
    fn load(&mut self) -> Result<(), HistoryError> {
        let batch = match self.reader.next_batch().map_err(HistoryError::Read)? {
            Step::Batch(batch) => batch,
            Step::End(End::Damaged(damage)) => return Err(HistoryError::Damaged(damage)),
            Step::End(End::Whole | End::Torn(_)) => {
                self.ended = true;
                return Ok(());
            }
        };
        if batch.segment != self.segment {
            (self.closed_bytes, self.segment) = (self.bytes, batch.segment);
        }
        self.bytes = self.closed_bytes + batch.offset + batch.header.total();
        (self.progress)(self.bytes);
        for record in batch.records() {
            let (seq, time, place) = (record.seq, record.time, record.place);
            if record.in_base {
                let stamp = Stamp { seq, time, place };
                let taken = self.state.take_record(stamp, true, record.kind, record.payload);
                taken.map_err(|error| HistoryError::Record(seq, error))?;
                continue;
            }
            let (kind, payload) = (record.kind, record.payload.to_vec());
            self.ahead.push_back(Logged { seq, time, kind, payload, place });
        }
        Ok(())
    }

    fn fill(&mut self) -> Result<(), HistoryError> {
        while self.ahead.is_empty() && !self.ended {
            self.load()?;
        }
        Ok(())
    }
}

impl<S: Storage> History for LogHistory<'_, S> {
    fn log_id(&self) -> Option<u64> {
        let headers = self.reader.segments().iter().filter_map(|segment| segment.header.as_ref());
        headers.map(|header| header.log_id).next()
    }

    fn state_at(&mut self, seq: Seq) -> Result<Option<State>, HistoryError> {
        // A base ends with the first event behind it, or with the log.
        self.fill()?;
        while self.state.last_seq() < seq && self.peek()?.is_some() {
            self.take()?;
        }
        Ok((self.state.last_seq() == seq).then(|| self.state.clone()))
    }

    fn peek(&mut self) -> Result<Option<&Logged>, HistoryError> {
        self.fill()?;
        Ok(self.ahead.front())
    }

    fn take(&mut self) -> Result<(), HistoryError> {
        let Some(logged) = self.ahead.pop_front() else { return Ok(()) };
        let Logged { seq, time, kind, payload, place } = logged;
        let stamp = Stamp { seq, time, place };
        let nonsense = |error| HistoryError::Record(seq, RecordError::Event(error));
        let event = Event::decode(kind, &payload).map_err(nonsense)?;
        self.state.apply(stamp, &event, &mut |_| ()).map_err(nonsense)?;
        if self.remembered.contains(&seq) {
            self.places.insert(seq, place.offset(event.text_offset()));
        }
        Ok(())
    }

    fn text_place(&self, seq: Seq) -> Option<Place> {
        self.places.get(&seq).copied()
    }

    fn read(&self, place: Place, length: u32, out: &mut Vec<u8>) -> Result<(), HistoryError> {
        let (segment, offset) = locate(place);
        let gone = || HistoryError::Text(io::ErrorKind::NotFound.into());
        let segment = self.reader.segments().get(segment).ok_or_else(gone)?;
        let file = self.storage.open(&segment.name, Access::Read).map_err(HistoryError::Text)?;
        let start = out.len();
        out.resize(start + usize::try_from(length).unwrap_or(usize::MAX), 0);
        let read = file.read_at(&mut out[start..], offset).map_err(HistoryError::Text)?;
        if start + read < out.len() {
            return Err(HistoryError::Text(io::ErrorKind::UnexpectedEof.into()));
        }
        Ok(())
    }
}
