//! The log as the engine sees it: events go in, payloads come out.
//!
//! Owns the latch: after the log has failed once, nothing is believed any more, every further event
//! is refused, and the turn cannot be committed, so that nothing of it is released. It never
//! retries, and it never knows what a payload means.

use std::cell::OnceCell;
use std::fmt;
use std::io;

use crate::engine::StorageFull;
use crate::id::{MonoMillis, Place, Seq, UnixMillis};
use crate::log::{AdoptError, AppendError, DiskStorage, Failed, Log, Record};

/// Why the log cannot be gone on with.
#[derive(Debug)]
pub enum JournalError {
    /// It could not be written or synced.
    Log(Failed),
    /// What it holds could not be read again.
    Text {
        /// Where.
        place: Place,
        /// How.
        error: io::Error,
    },
}

impl fmt::Display for JournalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Log(failed) => failed.fmt(f),
            Self::Text { place, error } => {
                write!(f, "cannot read the log again at place {place}: {error}")
            }
        }
    }
}

impl std::error::Error for JournalError {}

/// The open log, and whether it can still be trusted.
pub(super) struct Journal {
    log: Log<DiskStorage>,
    broken: OnceCell<JournalError>,
    /// A change was refused, and there has been no room for another log file since. Said when it begins and
    /// when it is over.
    full: bool,
}

impl Journal {
    /// A journal over a log that has just been opened.
    pub(super) fn new(log: Log<DiskStorage>) -> Self {
        Self { log, broken: OnceCell::new(), full: false }
    }

    /// The time of the last event.
    pub(super) fn last_time(&self) -> UnixMillis {
        self.log.last_time()
    }

    /// Adds an event to the open batch.
    pub(super) fn append(
        &mut self,
        time: UnixMillis,
        kind: u8,
        payload: &[u8],
    ) -> Result<(Seq, Place), StorageFull> {
        if self.broken.get().is_some() {
            return Err(StorageFull);
        }
        match self.log.append(time, kind, payload) {
            Ok(added) => {
                self.note_room();
                Ok(added)
            }
            Err(AppendError::Full) => {
                if !std::mem::replace(&mut self.full, true) {
                    ::log::warn!("the disk is full: changes are refused until there is room");
                }
                Err(StorageFull)
            }
            Err(AppendError::TooLong { len }) => {
                // Packets are bounded far below what a record holds.
                ::log::error!("an event of kind {kind} has {len} bytes, too many for the log");
                Err(StorageFull)
            }
            Err(AppendError::Failed(failed)) => {
                self.latch(JournalError::Log(failed));
                Err(StorageFull)
            }
        }
    }

    /// Appends the bytes of an earlier payload to `out`.
    pub(super) fn read(&self, place: Place, length: u32, out: &mut Vec<u8>) {
        match self.log.text(place, length) {
            Ok(text) => out.extend_from_slice(&text),
            Err(error) => self.latch(JournalError::Text { place, error }),
        }
    }

    /// Seals the open batch, and syncs it as far as the durability asks. An error ends the process.
    pub(super) fn commit(&mut self, now: MonoMillis) -> Result<(), JournalError> {
        if let Some(broken) = self.broken.take() {
            return Err(broken);
        }
        self.log.commit(now).map(drop).map_err(JournalError::Log)
    }

    /// When [`Journal::commit`] has something to do even without an event.
    pub(super) fn deadline(&self) -> Option<MonoMillis> {
        self.log.deadline()
    }

    /// Does a little of what can be done ahead of need.
    pub(super) fn housekeep(&mut self, now: MonoMillis) -> Result<(), JournalError> {
        self.log.housekeep(now).map_err(JournalError::Log)?;
        self.note_room();
        Ok(())
    }

    /// From now on what is left of the log may be filled, even where it cannot grow.
    pub(super) const fn release_reserve(&mut self) {
        self.log.release_reserve();
    }

    /// Looks whether a tool has compacted the log.
    pub(super) fn look_for_base(&mut self) {
        if let Err(error) = self.log.look_for_base() {
            not_adopted(&error);
        }
    }

    /// Whether there is more to [`adopt`](Self::adopt).
    pub(super) fn is_adopting(&self) -> bool {
        self.log.is_adopting()
    }

    /// Takes the next piece of a compacted log into use: `each` gets records and their places in it.
    pub(super) fn adopt(&mut self, each: impl FnMut(&Record<'_>)) {
        if self.log.take_rolled() {
            self.look_for_base();
        }
        if self.log.is_adopting()
            && let Err(error) = self.log.adopt(each)
        {
            not_adopted(&error);
        }
    }

    /// Whether files are held that a compacted log no longer has.
    pub(super) fn holds_superseded(&self) -> bool {
        self.log.holds_superseded()
    }

    /// Lets go of them.
    pub(super) fn let_go(&mut self) {
        self.log.let_go();
        ::log::info!("the compacted log is in use");
    }

    /// Syncs and closes the log.
    pub(super) fn close(self) -> Result<(), JournalError> {
        self.log.close().map_err(JournalError::Log)
    }

    /// A small change may still fit where a large one was refused: only another log file is room.
    fn note_room(&mut self) {
        if self.full && !self.log.is_full() {
            self.full = false;
            ::log::warn!("there is room on the disk again: changes are taken");
        }
    }

    fn latch(&self, error: JournalError) {
        // The first failure is the one that says what happened.
        let _ = self.broken.set(error);
    }
}

/// The log goes on with the files that it has, whatever became of the compacted one.
fn not_adopted(error: &AdoptError) {
    ::log::warn!("the compacted log is not taken into use before the next start: {error}");
}
