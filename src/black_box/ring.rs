//! The files of a recording on disk: the oldest give way to the newest.
//!
//! Owns names, sizes and removal. It never syncs, never reads back what it wrote, and touches no file of
//! another name.

use std::collections::VecDeque;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, IoSlice};
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use super::format::{END_MARK, name, parse_name};

/// The whole is kept in so many files: one eighth is what a newer file costs of the oldest.
const FILES: u64 = 8;

/// The files, and the one that is written to.
pub(super) struct Ring {
    folder: PathBuf,
    bytes_max: u64,
    /// A file's place on disk is used again for a newer one, whose end may be followed by what was there before.
    reuses: bool,
    /// Each file but the current one, the oldest first.
    closed: VecDeque<Closed>,
    current: Option<Current>,
}

/// A file that is as long as it will ever be.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Closed {
    first_step: u64,
    length: u64,
}

struct Current {
    first_step: u64,
    file: File,
    /// Where the next bytes go, and where what stands in the file ends, an older one's remains included.
    end: u64,
    length: u64,
    /// Where it counts as full.
    full: u64,
}

impl Ring {
    /// The files of a folder, which is made where it does not exist.
    pub(super) fn open(folder: &Path, bytes_max: u64, reuses: bool) -> io::Result<Self> {
        make(folder)?;
        let mut closed = Vec::new();
        for entry in std::fs::read_dir(folder)? {
            let entry = entry?;
            if let Some(first_step) = entry.file_name().to_str().and_then(parse_name) {
                closed.push(Closed { first_step, length: entry.metadata()?.len() });
            }
        }
        closed.sort_unstable();
        let folder = folder.to_owned();
        Ok(Self { folder, bytes_max, reuses, closed: closed.into(), current: None })
    }

    /// Begins a file with these bytes, after as many of the oldest as have to are gone.
    pub(super) fn begin(&mut self, first_step: u64, bytes: &[u8]) -> io::Result<()> {
        self.end();
        // What a file begins with is paid for by at least as much behind it.
        let full = (self.bytes_max / FILES).max((bytes.len() as u64).saturating_mul(2));
        // Somebody may have removed it, with all that it held.
        make(&self.folder)?;
        let path = self.path(first_step);
        // Blocks that are there already are written to at a fraction of the cost of new ones.
        let reused = self
            .make_room(full)
            .filter(|oldest| std::fs::rename(self.path(oldest.first_step), &path).is_ok());
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(reused.is_none()).mode(0o600);
        let file = options.open(&path)?;
        self.closed.retain(|closed| closed.first_step != first_step);
        let length = reused.map_or(0, |closed| closed.length);
        let mut current = Current { first_step, file, end: 0, length, full };
        if let Err(error) = current.append(bytes) {
            // Nobody would count it, and the next try has another name.
            remove(&path);
            return Err(error);
        }
        self.current = Some(current);
        Ok(())
    }

    /// Adds bytes to the current file. After an error nothing may be added to it any more.
    pub(super) fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let Some(current) = &mut self.current else { return Ok(()) };
        let written = current.append(bytes);
        if written.is_err() {
            self.end();
        }
        written
    }

    /// Whether it is time for another file.
    pub(super) fn is_full(&self) -> bool {
        self.current.as_ref().is_some_and(|current| current.end >= current.full)
    }

    fn end(&mut self) {
        if let Some(Current { first_step, length, .. }) = self.current.take() {
            self.closed.push_back(Closed { first_step, length });
        }
    }

    /// Removes the oldest files, so that there is room for another. The last of them is left to be reused where it is
    /// no larger than that. The newest stays, however large a single turn has made it: it has what happened last.
    fn make_room(&mut self, more: u64) -> Option<Closed> {
        let mut all = self.closed.iter().map(|closed| closed.length).sum::<u64>();
        while all.saturating_add(more) > self.bytes_max
            && self.closed.len() > 1
            && let Some(oldest) = self.closed.pop_front()
        {
            all -= oldest.length;
            let is_last = all.saturating_add(more) <= self.bytes_max;
            if is_last && all.saturating_add(oldest.length) <= self.bytes_max && self.reuses {
                return Some(oldest);
            }
            remove(&self.path(oldest.first_step));
        }
        None
    }

    fn path(&self, first_step: u64) -> PathBuf {
        self.folder.join(name(first_step))
    }
}

impl Current {
    /// Writes bytes and an end mark, which the next bytes replace.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let parts = [IoSlice::new(bytes), IoSlice::new(&END_MARK)];
        let write = || rustix::io::pwritev(&self.file, &parts, self.end);
        let written = rustix::io::retry_on_intr(write)?;
        let end = self.end + bytes.len() as u64;
        if written < bytes.len() + END_MARK.len() {
            let rest = bytes.get(written..).unwrap_or_default();
            self.file.write_all_at(rest, end - rest.len() as u64)?;
            self.file.write_all_at(&END_MARK, end)?;
        }
        self.end = end;
        self.length = self.length.max(end + END_MARK.len() as u64);
        Ok(())
    }
}

fn make(folder: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

/// Removes a file. One that somebody else has removed is gone as well.
fn remove(path: &Path) {
    if let Err(error) = std::fs::remove_file(path) {
        ::log::debug!("{}: {error}", path.display());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(folder).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn the_oldest_files_give_way_and_all_stay_within_the_size() {
        for reuses in [false, true] {
            let folder = tempfile::tempdir().unwrap();
            let folder = folder.path().join("black-box");
            let mut ring = Ring::open(&folder, 8_000, reuses).unwrap();
            for step in 1..=50 {
                ring.begin(step, &[1; 100]).unwrap();
                while !ring.is_full() {
                    ring.append(&[2; 50]).unwrap();
                }
                let bytes: u64 = std::fs::read_dir(&folder)
                    .unwrap()
                    .map(|entry| entry.unwrap().metadata().unwrap().len())
                    .sum();
                assert!(bytes <= 8_000, "{bytes} bytes after step {step}");
            }
            assert_eq!(names(&folder), (44..=50).map(name).collect::<Vec<_>>());
        }
    }

    #[test]
    fn what_is_written_ends_with_a_mark_whatever_stood_there_before() {
        let folder = tempfile::tempdir().unwrap();
        let mut ring = Ring::open(folder.path(), 8_000, true).unwrap();
        let inode = |step| {
            let metadata = std::fs::metadata(folder.path().join(name(step))).unwrap();
            std::os::unix::fs::MetadataExt::ino(&metadata)
        };
        for step in 1..=7 {
            ring.begin(step, &[0xEE; 10]).unwrap();
            ring.append(&[0xEE; 1_000]).unwrap();
        }
        let oldest = inode(1);
        ring.begin(8, &[1; 10]).unwrap();
        assert_eq!(inode(8), oldest, "the oldest has become the newest");
        ring.append(&[2; 20]).unwrap();
        let bytes = std::fs::read(folder.path().join(name(8))).unwrap();
        assert_eq!(bytes[..30], [&[1; 10][..], &[2; 20]].concat());
        assert_eq!(bytes[30..38], END_MARK);
        assert_eq!(bytes[38..1_000], [0xEE; 962]);
    }

    #[test]
    fn what_an_earlier_run_has_left_counts_and_what_is_not_its_own_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("notes.txt"), [0; 9_000]).unwrap();
        let mut ring = Ring::open(folder.path(), 8_000, true).unwrap();
        (1..=8).for_each(|step| ring.begin(step, &[1; 900]).unwrap());
        let mut ring = Ring::open(folder.path(), 8_000, true).unwrap();
        ring.begin(9, &[1; 1_000]).unwrap();
        let names = names(folder.path());
        assert!(names.contains(&name(9)) && names.contains(&"notes.txt".to_owned()));
        assert!(!names.contains(&name(1)) && names.contains(&name(8)), "{names:?}");
    }

    #[test]
    fn a_file_that_could_not_be_begun_is_not_left_behind() {
        let folder = tempfile::tempdir().unwrap();
        let mut ring = Ring::open(folder.path(), 8_000, true).unwrap();
        ring.begin(1, &[1; 900]).unwrap();
        for step in 2..20 {
            // A disk without room.
            std::os::unix::fs::symlink("/dev/full", folder.path().join(name(step))).unwrap();
            assert!(ring.begin(step, &[1; 900]).is_err());
        }
        assert_eq!(names(folder.path()), [name(1)]);
    }

    #[test]
    fn a_folder_that_somebody_has_removed_is_made_again() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("black-box");
        let mut ring = Ring::open(&folder, 8_000, true).unwrap();
        ring.begin(1, &[1; 900]).unwrap();
        std::fs::remove_dir_all(&folder).unwrap();
        ring.append(&[2; 100]).unwrap();
        ring.begin(2, &[1; 900]).unwrap();
        assert_eq!(names(&folder), [name(2)]);
    }

    #[test]
    fn a_file_that_begins_with_much_gets_as_much_behind_it() {
        let folder = tempfile::tempdir().unwrap();
        let mut ring = Ring::open(folder.path(), 800, true).unwrap();
        ring.begin(1, &[1; 5_000]).unwrap();
        ring.append(&[2; 4_900]).unwrap();
        assert!(!ring.is_full());
        ring.append(&[2; 100]).unwrap();
        assert!(ring.is_full());
        ring.begin(2, &[1; 5_000]).unwrap();
        assert_eq!(names(folder.path()), [name(1), name(2)], "what happened last stays");
        ring.begin(3, &[1; 5_000]).unwrap();
        assert_eq!(names(folder.path()), [name(2), name(3)]);
    }
}
