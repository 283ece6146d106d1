//! The watch over the log's folder: the server learns at once when a tool has compacted the log.
//!
//! Owns the system's watch alone. Where the system has none to give, the log still looks by itself whenever
//! it begins a file. It never touches the folder.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;

use polling::{Event, Poller};
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};

use super::kernel::Registered;

/// Bytes of reports that are taken at once: a few hundred.
const REPORTS: usize = 8 << 10;

/// A folder in which files may get their names.
#[derive(Debug)]
pub(super) struct Watch {
    reports: Registered<OwnedFd>,
}

impl Watch {
    /// Begins to watch; the poller wakes up with `key` when a file of the folder gets its name.
    pub(super) fn new(folder: &Path, poller: &Arc<Poller>, key: usize) -> io::Result<Self> {
        let reports = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
        inotify::add_watch(&reports, folder, WatchFlags::MOVED_TO)?;
        Ok(Self { reports: Registered::new(reports, poller, Event::readable(key))? })
    }

    /// Takes all reports, whatever they say.
    pub(super) fn clear(&self) {
        let mut reports = [0; REPORTS];
        while rustix::io::read(&*self.reports, &mut reports).is_ok_and(|count| count > 0) {}
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use polling::Events;

    use super::*;

    #[test]
    fn a_name_wakes_the_poller_once() {
        let folder = tempfile::tempdir().unwrap();
        let poller = Arc::new(Poller::new().unwrap());
        let watch = Watch::new(folder.path(), &poller, 7).unwrap();
        let mut events = Events::new();
        for round in 0..3 {
            std::fs::write(folder.path().join("made"), b"").unwrap();
            poller.wait(&mut events, Some(Duration::ZERO)).unwrap();
            assert!(events.is_empty(), "making a file is no name for it");
            std::fs::rename(folder.path().join("made"), folder.path().join(format!("{round}")))
                .unwrap();
            poller.wait(&mut events, None).unwrap();
            assert_eq!(events.iter().map(|event| event.key).collect::<Vec<_>>(), [7]);
            watch.clear();
            events.clear();
        }
    }
}
