//! The log as the engine sees it: events go in, payloads come out.
//!
//! Owns the latch: after the log has failed once, nothing is believed any more, every further event
//! is refused, and the turn cannot be committed, so that nothing of it is released. It never
//! retries, and it never knows what a payload means.

use std::cell::OnceCell;

use crate::engine::StorageFull;
use crate::id::{MonoMillis, Place, Seq, UnixMillis};
use crate::log::{AdoptError, AppendError, DiskStorage, Failed, Log, Record, Storage};

/// The open log, and whether it can still be trusted.
pub struct Journal<S: Storage = DiskStorage> {
    log: Log<S>,
    broken: OnceCell<Failed>,
    /// A change was refused, and there has been no room for another log file since. Said when it begins and
    /// when it is over.
    full: bool,
}

impl<S: Storage> Journal<S> {
    /// A journal over a log that has just been opened.
    pub const fn new(log: Log<S>) -> Self {
        Self { log, broken: OnceCell::new(), full: false }
    }

    /// The time of the last event.
    pub fn last_time(&self) -> UnixMillis {
        self.log.last_time()
    }

    /// The log's id.
    pub fn log_id(&self) -> u64 {
        self.log.log_id()
    }

    /// Adds an event to the open batch.
    pub fn append(
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
                self.latch(failed);
                Err(StorageFull)
            }
        }
    }

    /// Appends the bytes of an earlier payload to `out`.
    pub fn read(&self, place: Place, length: u32, out: &mut Vec<u8>) {
        match self.log.text(place, length) {
            Ok(text) => out.extend_from_slice(&text),
            Err(failed) => self.latch(failed),
        }
    }

    /// Seals the open batch, and syncs it as far as the durability asks. An error ends the process.
    ///
    /// # Errors
    /// If anything has failed since the journal was opened.
    pub fn commit(&mut self, now: MonoMillis) -> Result<(), Failed> {
        self.check()?;
        self.log.commit(now).map(drop)
    }

    /// As [`Journal::commit`], but a large batch is synced beside: nothing that rests on it is let out before
    /// [`Journal::finish_sync`] answers `true`. Nothing is under way before it.
    ///
    /// # Errors
    /// As [`Journal::commit`].
    pub fn commit_beside(&mut self, now: MonoMillis) -> Result<(), Failed> {
        self.check()?;
        self.log.commit_beside(now)
    }

    /// Whether what was committed is not on disk yet, and must be before anything that rests on it is let out.
    pub fn is_syncing(&self) -> bool {
        self.log.is_syncing()
    }

    /// Whether the next [`Journal::commit_beside`] would leave a sync under way.
    pub fn syncs_beside(&self) -> bool {
        self.log.syncs_beside()
    }

    /// Whether everything that was committed is on disk, after waiting for it if that is asked.
    ///
    /// # Errors
    /// As [`Journal::commit`].
    pub fn finish_sync(&mut self, wait: bool) -> Result<bool, Failed> {
        self.log.finish_sync(wait)
    }

    /// When [`Journal::housekeep`] has something to do.
    pub fn deadline(&self) -> Option<MonoMillis> {
        self.log.deadline()
    }

    /// Does a little of what can be done ahead of need.
    ///
    /// # Errors
    /// As [`Journal::commit`].
    pub fn housekeep(&mut self, now: MonoMillis) -> Result<(), Failed> {
        self.check()?;
        self.log.housekeep(now)?;
        self.note_room();
        Ok(())
    }

    /// From now on what is left of the log may be filled, even where it cannot grow.
    pub const fn release_reserve(&mut self) {
        self.log.release_reserve();
    }

    /// Whether the log goes on in another file since the last [`adopt`](Self::adopt).
    pub const fn has_rolled(&self) -> bool {
        self.log.has_rolled()
    }

    /// Looks whether a tool has compacted the log.
    pub fn look_for_base(&mut self) {
        if let Err(error) = self.log.look_for_base() {
            not_adopted(&error);
        }
    }

    /// Whether there is more to [`adopt`](Self::adopt).
    pub fn is_adopting(&self) -> bool {
        self.log.is_adopting()
    }

    /// Takes the next piece of a compacted log into use: `each` gets records and their places in it.
    pub fn adopt(&mut self, each: impl FnMut(&Record<'_>)) {
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
    pub fn holds_superseded(&self) -> bool {
        self.log.holds_superseded()
    }

    /// Lets go of them.
    pub fn let_go(&mut self) {
        if self.log.let_go() {
            ::log::info!("the compacted log is in use");
        }
    }

    /// Lets go of memory that only the largest turns have needed.
    pub fn let_go_memory(&mut self) {
        self.log.let_go_memory();
    }

    /// Syncs and closes the log.
    ///
    /// # Errors
    /// As [`Journal::commit`].
    pub fn close(self) -> Result<(), Failed> {
        self.check()?;
        self.log.close()
    }

    /// A small change may still fit where a large one was refused: only another log file is room.
    fn note_room(&mut self) {
        if self.full && !self.log.is_full() {
            self.full = false;
            ::log::warn!("there is room on the disk again: changes are taken");
        }
    }

    /// Whether anything has failed: what the engine says since then is let out to nobody.
    pub fn has_failed(&self) -> bool {
        self.broken.get().is_some()
    }

    /// Whether the log is still believed.
    ///
    /// # Errors
    /// What has failed first since the journal was opened.
    pub fn check(&self) -> Result<(), Failed> {
        self.broken.get().cloned().map_or(Ok(()), Err)
    }

    fn latch(&self, failed: Failed) {
        // The first failure is the one that says what happened.
        let _ = self.broken.set(failed);
    }
}

/// The log goes on with the files that it has, whatever became of the compacted one.
fn not_adopted(error: &AdoptError) {
    ::log::warn!("the compacted log is not taken into use before the next start: {error}");
}
