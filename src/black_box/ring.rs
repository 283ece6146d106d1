//! The files of a recording on disk: the oldest give way to the newest.
//!
//! Owns names, sizes and removal. It never syncs, never reads back what it wrote, and touches no file of
//! another name.

use std::collections::VecDeque;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use super::format::{name, parse_name};

/// The whole is kept in so many files: one eighth is what a newer file costs of the oldest.
const FILES: u64 = 8;

/// The files, and the one that is written to.
pub(super) struct Ring {
    folder: PathBuf,
    bytes_max: u64,
    /// The first step and the bytes of each file but the current one, the oldest first.
    closed: VecDeque<(u64, u64)>,
    current: Option<Current>,
}

struct Current {
    first_step: u64,
    file: File,
    bytes: u64,
    /// How many bytes make it full.
    bytes_full: u64,
}

impl Ring {
    /// The files of a folder, which is made where it does not exist.
    pub(super) fn open(folder: &Path, bytes_max: u64) -> io::Result<Self> {
        make(folder)?;
        let mut closed = Vec::new();
        for entry in std::fs::read_dir(folder)? {
            let entry = entry?;
            if let Some(first_step) = entry.file_name().to_str().and_then(parse_name) {
                closed.push((first_step, entry.metadata()?.len()));
            }
        }
        closed.sort_unstable();
        let folder = folder.to_owned();
        Ok(Self { folder, bytes_max, closed: closed.into(), current: None })
    }

    /// Begins a file with these bytes, after as many of the oldest as have to are gone.
    pub(super) fn begin(&mut self, first_step: u64, bytes: &[u8]) -> io::Result<()> {
        self.end();
        let length = bytes.len() as u64;
        // What a file begins with is paid for by at least as much behind it.
        let bytes_full = (self.bytes_max / FILES).max(length.saturating_mul(2));
        self.make_room(bytes_full);
        // Somebody may have removed it, with all that it held.
        make(&self.folder)?;
        let path = self.path(first_step);
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        let mut file = options.open(&path)?;
        self.closed.retain(|(closed, _)| *closed != first_step);
        if let Err(error) = file.write_all(bytes) {
            // Nobody would count it, and the next try has another name.
            remove(&path);
            return Err(error);
        }
        self.current = Some(Current { first_step, file, bytes: length, bytes_full });
        Ok(())
    }

    /// Adds bytes to the current file. After an error nothing may be added to it any more.
    pub(super) fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let Some(current) = &mut self.current else { return Ok(()) };
        let written = current.file.write_all(bytes);
        current.bytes += bytes.len() as u64;
        if written.is_err() {
            self.end();
        }
        written
    }

    /// Whether it is time for another file.
    pub(super) fn is_full(&self) -> bool {
        self.current.as_ref().is_some_and(|current| current.bytes >= current.bytes_full)
    }

    fn end(&mut self) {
        if let Some(Current { first_step, bytes, .. }) = self.current.take() {
            self.closed.push_back((first_step, bytes));
        }
    }

    fn make_room(&mut self, more: u64) {
        let mut all = self.closed.iter().map(|(_, bytes)| bytes).sum::<u64>();
        while all.saturating_add(more) > self.bytes_max
            && let Some((first_step, bytes)) = self.closed.pop_front()
        {
            remove(&self.path(first_step));
            all -= bytes;
        }
    }

    fn path(&self, first_step: u64) -> PathBuf {
        self.folder.join(name(first_step))
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
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("black-box");
        let mut ring = Ring::open(&folder, 8_000).unwrap();
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
        assert_eq!(names(&folder), (43..=50).map(name).collect::<Vec<_>>());
    }

    #[test]
    fn what_an_earlier_run_has_left_counts_and_what_is_not_its_own_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("notes.txt"), [0; 9_000]).unwrap();
        let mut ring = Ring::open(folder.path(), 8_000).unwrap();
        (1..=8).for_each(|step| ring.begin(step, &[1; 900]).unwrap());
        let mut ring = Ring::open(folder.path(), 8_000).unwrap();
        ring.begin(9, &[1; 1_000]).unwrap();
        let names = names(folder.path());
        assert!(names.contains(&name(9)) && names.contains(&"notes.txt".to_owned()));
        assert!(!names.contains(&name(1)) && names.contains(&name(8)), "{names:?}");
    }

    #[test]
    fn a_file_that_could_not_be_begun_is_not_left_behind() {
        let folder = tempfile::tempdir().unwrap();
        let mut ring = Ring::open(folder.path(), 8_000).unwrap();
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
        let mut ring = Ring::open(&folder, 8_000).unwrap();
        ring.begin(1, &[1; 900]).unwrap();
        std::fs::remove_dir_all(&folder).unwrap();
        ring.append(&[2; 100]).unwrap();
        ring.begin(2, &[1; 900]).unwrap();
        assert_eq!(names(&folder), [name(2)]);
    }

    #[test]
    fn a_file_that_begins_with_much_gets_as_much_behind_it() {
        let folder = tempfile::tempdir().unwrap();
        let mut ring = Ring::open(folder.path(), 800).unwrap();
        ring.begin(1, &[1; 5_000]).unwrap();
        ring.append(&[2; 4_900]).unwrap();
        assert!(!ring.is_full());
        ring.append(&[2; 100]).unwrap();
        assert!(ring.is_full());
        ring.begin(2, &[1; 5_000]).unwrap();
        assert_eq!(names(folder.path()), [name(2)]);
    }
}
