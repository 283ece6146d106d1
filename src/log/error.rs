//! What can go wrong with a log, as data, and the one line that says it.
//!
//! Owns the error types of all operations and their words. It never decides what a fault is.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use super::format::Newer;
use super::storage::Storage;
use crate::id::Seq;

/// What the storage was asked for when it failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum Doing {
    Lock,
    List,
    Open,
    Create,
    Read,
    Write,
    Reserve,
    Cut,
    Sync,
    Rename,
    Remove,
}

/// The storage failed.
#[derive(Clone, Debug)]
pub struct Failed {
    /// At what.
    pub doing: Doing,
    /// The file, or the folder.
    pub path: PathBuf,
    /// How.
    pub error: Arc<io::Error>,
}

impl Failed {
    /// Names the file of an error, for `map_err`.
    pub fn at<S: Storage>(storage: &S, name: &str, doing: Doing) -> impl FnOnce(io::Error) -> Self {
        move |error| Self { doing, path: storage.path(name), error: Arc::new(error) }
    }

    /// Whether there was no room (or no file handle) to be had, which may change.
    #[must_use]
    pub fn is_full(&self) -> bool {
        use rustix::io::Errno;
        let errno = Errno::from_io_error(&self.error);
        let starved = matches!(errno, Some(Errno::MFILE | Errno::NFILE));
        starved
            || matches!(
                self.error.kind(),
                io::ErrorKind::StorageFull
                    | io::ErrorKind::QuotaExceeded
                    | io::ErrorKind::FileTooLarge
            )
    }
}

/// A place in the log that is not as it was written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Damage {
    /// The segment file.
    pub file: PathBuf,
    /// Where in the file, in bytes.
    pub offset: u64,
    /// The sequence number that belongs there; the first that it touches.
    pub seq: Seq,
    /// In which way.
    pub what: What,
}

/// The ways in which a place can be damaged.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum What {
    /// The segment's header fails its check.
    SegmentHeader,
    /// The header is another segment's: its first sequence number is not the file name's.
    SegmentName,
    /// The segment belongs to another log.
    SegmentForeign,
    /// The segment does not continue the one before it.
    SegmentChain,
    /// Sequence numbers up to the next segment, or a whole segment, are missing.
    Missing,
    /// A closed segment's file does not have the length that its header says.
    Length {
        /// Bytes that it must have.
        expected: u64,
        /// Bytes that it has.
        found: u64,
    },
    /// Witness slots fail their check, where a torn write cannot explain it.
    WitnessSlots,
    /// A witness slot and the batches contradict each other.
    WitnessWrong,
    /// A batch's header fails its check.
    BatchHeader,
    /// A batch of this log, but not the one that belongs here.
    BatchOrder,
    /// A batch's records fail their check.
    BatchPayload,
    /// The padding behind a batch is not zeros.
    Padding,
    /// A batch's records do not add up, though its checksum holds.
    Records,
    /// There is something where nothing has been written yet.
    Noise,
    /// Nothing is here, but it had been on disk.
    Vanished,
    /// The storage cannot read it.
    Unreadable {
        /// Where in the file.
        at: u64,
        /// How many bytes; 0 for a file that cannot be opened.
        bytes: u64,
        /// Why.
        cause: Cause,
    },
}

/// Why the storage could not read something.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cause {
    kind: io::ErrorKind,
    code: Option<i32>,
}

impl Cause {
    pub(super) fn of(error: &io::Error) -> Self {
        Self { kind: error.kind(), code: error.raw_os_error() }
    }
}

/// A log could not be read on.
#[derive(Clone, Debug)]
pub enum ReadError {
    /// The storage failed.
    Storage(Failed),
    /// A newer program wrote this file.
    Newer {
        /// The segment file.
        file: PathBuf,
        /// What is newer about it.
        newer: Newer,
    },
    /// The log was compacted while it was being read. Reading it again from the start will do.
    Compacted,
}

/// A log could not be opened by a server. `E` is what the caller said about a record's meaning.
#[derive(Debug)]
pub enum OpenError<E> {
    /// Another server holds the folder.
    InUse {
        /// The folder.
        folder: PathBuf,
    },
    /// The storage failed.
    Storage(Failed),
    /// A newer program wrote this file.
    Newer {
        /// The segment file.
        file: PathBuf,
        /// What is newer about it.
        newer: Newer,
    },
    /// The log was compacted while it was being opened. Opening it again will do.
    Compacted,
    /// The log's text is in another charset.
    Charset {
        /// The segment file.
        file: PathBuf,
        /// The log's tag.
        found: u8,
        /// The tag in the options.
        wanted: u8,
    },
    /// Something that was on disk is not as it was written.
    Damaged(Damage),
    /// A record is as it was written, but the caller could not make sense of it.
    Meaning {
        /// The segment file.
        file: PathBuf,
        /// Where the record's payload begins.
        offset: u64,
        /// The record.
        seq: Seq,
        /// What the caller said.
        error: E,
    },
}

/// A record was not appended.
#[derive(Clone, Debug)]
pub enum AppendError {
    /// There is no room for a new segment. Nothing changed; it may work again later.
    Full,
    /// More bytes than a record or a batch may have. Nothing changed.
    TooLong {
        /// The bytes.
        len: usize,
    },
    /// The storage failed. Every later call fails too.
    Failed(Failed),
}

impl From<Failed> for ReadError {
    fn from(failed: Failed) -> Self {
        Self::Storage(failed)
    }
}

impl<E> From<Failed> for OpenError<E> {
    fn from(failed: Failed) -> Self {
        Self::Storage(failed)
    }
}

impl<E> From<ReadError> for OpenError<E> {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Storage(failed) => Self::Storage(failed),
            ReadError::Newer { file, newer } => Self::Newer { file, newer },
            ReadError::Compacted => Self::Compacted,
        }
    }
}

impl From<Failed> for AppendError {
    fn from(failed: Failed) -> Self {
        Self::Failed(failed)
    }
}

impl fmt::Display for Doing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Lock => "lock",
            Self::List => "list",
            Self::Open => "open",
            Self::Create => "make",
            Self::Read => "read",
            Self::Write => "write to",
            Self::Reserve => "reserve room for",
            Self::Cut => "set the length of",
            Self::Sync => "sync",
            Self::Rename => "rename",
            Self::Remove => "remove",
        })
    }
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot {} {}: {}", self.doing, self.path.display(), self.error)
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, offset, seq, what } = self;
        write!(f, "{}: damaged at offset {offset}, sequence number {seq}: {what}", file.display())
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.code {
            Some(code) => io::Error::from_raw_os_error(code).fmt(f),
            None => self.kind.fmt(f),
        }
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::SegmentHeader => "the file's header fails its check",
            Self::SegmentName => "the header is that of another file",
            Self::SegmentForeign => "the file belongs to another log",
            Self::SegmentChain => "the file does not continue the one before it",
            Self::Missing => "what follows here is missing",
            Self::Length { expected, found } => {
                return write!(f, "the file has {found} bytes instead of {expected}");
            }
            Self::WitnessSlots => "the notes of what was on disk fail their check",
            Self::WitnessWrong => "a note of what was on disk contradicts the batches",
            Self::BatchHeader => "a batch's header fails its check",
            Self::BatchOrder => "another batch than the one that belongs here",
            Self::BatchPayload => "a batch's records fail their check",
            Self::Padding => "the padding behind a batch is not zeros",
            Self::Records => "a batch's records do not add up",
            Self::Noise => "something is where nothing has been written",
            Self::Vanished => "what was on disk is gone",
            Self::Unreadable { bytes: 0, cause, .. } => {
                return write!(f, "cannot be read: {cause}");
            }
            Self::Unreadable { at, bytes, cause } => {
                return write!(f, "{bytes} bytes at offset {at} cannot be read: {cause}");
            }
        })
    }
}

const COMPACTED: &str = "the log was compacted meanwhile; try again";

fn show_newer(f: &mut fmt::Formatter<'_>, file: &std::path::Path, newer: &Newer) -> fmt::Result {
    let Newer { version, features, flags } = newer;
    write!(
        f,
        "{}: written by a newer program (format version {version}, features {features:#x}, flags {flags:#x}); \
         use that program, or a newer one",
        file.display()
    )
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Storage(failed) => failed.fmt(f),
            Self::Newer { file, newer } => show_newer(f, file, newer),
            Self::Compacted => f.write_str(COMPACTED),
        }
    }
}

impl<E: fmt::Display> fmt::Display for OpenError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InUse { folder } => write!(f, "{}: another server uses it", folder.display()),
            Self::Storage(failed) => failed.fmt(f),
            Self::Newer { file, newer } => show_newer(f, file, newer),
            Self::Compacted => f.write_str(COMPACTED),
            Self::Charset { file, found, wanted } => {
                write!(f, "{}: written with charset {found}, not {wanted}", file.display())
            }
            Self::Damaged(damage) => damage.fmt(f),
            Self::Meaning { file, offset, seq, error } => {
                write!(f, "{}, offset {offset}, sequence number {seq}: {error}", file.display())
            }
        }
    }
}

impl fmt::Display for AppendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full => f.write_str("there is no room on the disk"),
            Self::TooLong { len } => write!(f, "{len} bytes are too many for the log"),
            Self::Failed(failed) => failed.fmt(f),
        }
    }
}

impl std::error::Error for Failed {}
impl std::error::Error for ReadError {}
impl std::error::Error for AppendError {}
impl<E: fmt::Debug + fmt::Display> std::error::Error for OpenError<E> {}
