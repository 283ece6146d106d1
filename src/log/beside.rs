//! Syncs that are done beside the loop, which goes on meanwhile.
//!
//! Owns the thread that waits for the disk, one sync at a time, and nothing else: it never writes, and what a sync
//! means is for others to know.

use std::fmt;
use std::fs::File;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::thread;

/// The loop's end of the thread.
pub(super) struct Syncer {
    files: SyncSender<Arc<File>>,
    answers: Receiver<io::Result<()>>,
    under_way: bool,
}

impl Syncer {
    /// Starts the thread. It calls `wake` after each sync; it ends with this.
    pub(super) fn start(wake: impl Fn() + Send + 'static) -> io::Result<Self> {
        let (files, files_taken) = sync_channel::<Arc<File>>(1);
        let (answers_given, answers) = sync_channel(1);
        let work = move || {
            for file in files_taken {
                let answer = file.sync_data();
                drop(file);
                if answers_given.send(answer).is_err() {
                    return;
                }
                wake();
            }
        };
        thread::Builder::new().name("sync".to_owned()).spawn(work)?;
        Ok(Self { files, answers, under_way: false })
    }

    /// Begins to sync a file. The one before has been [finished](Self::finish).
    pub(super) fn begin(&mut self, file: &Arc<File>) -> io::Result<()> {
        self.files.try_send(Arc::clone(file)).map_err(|_| gone())?;
        self.under_way = true;
        Ok(())
    }

    /// The outcome of the sync that is under way, waited for if that is asked; `None` as long as it has none.
    pub(super) fn finish(&mut self, wait: bool) -> Option<io::Result<()>> {
        if !self.under_way {
            return Some(Ok(()));
        }
        let answer = if wait {
            self.answers.recv().map_err(|_| TryRecvError::Disconnected)
        } else {
            self.answers.try_recv()
        };
        let outcome = match answer {
            Err(TryRecvError::Empty) => return None,
            Err(TryRecvError::Disconnected) => Err(gone()),
            Ok(outcome) => outcome,
        };
        self.under_way = false;
        Some(outcome)
    }
}

impl fmt::Debug for Syncer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Syncer").field("under_way", &self.under_way).finish_non_exhaustive()
    }
}

fn gone() -> io::Error {
    io::Error::other("the thread that syncs has ended")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sync_is_begun_its_end_is_told_and_its_outcome_can_be_waited_for() {
        let (woken, wakes) = sync_channel(1);
        let mut syncer = Syncer::start(move || woken.send(()).unwrap()).unwrap();
        assert!(matches!(syncer.finish(true), Some(Ok(()))), "nothing is under way");
        let file = Arc::new(tempfile::tempfile().unwrap());
        syncer.begin(&file).unwrap();
        wakes.recv().unwrap();
        assert!(matches!(syncer.finish(false), Some(Ok(()))), "it has said that it is over");
        syncer.begin(&file).unwrap();
        assert!(matches!(syncer.finish(true), Some(Ok(()))));
        wakes.recv().unwrap();
    }

    #[test]
    fn what_the_system_says_of_a_sync_that_fails_is_passed_on() {
        let mut syncer = Syncer::start(|| ()).unwrap();
        let (reader, _writer) = std::io::pipe().unwrap();
        let pipe = Arc::new(File::from(std::os::fd::OwnedFd::from(reader)));
        syncer.begin(&pipe).unwrap();
        let error = syncer.finish(true).unwrap().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "a pipe cannot be synced");
        assert!(matches!(syncer.finish(false), Some(Ok(()))), "it is told once");
    }
}
