//! Making segment files: under another name, whole, and on disk before they get theirs.
//!
//! Owns the file that the next segment will be. It never decides when one is wanted.

use super::error::{Doing, Failed};
use super::format::{HEADER_LEN, SegmentHeader, segment_name};
use super::storage::{Storage, StoredFile};

/// The name of a segment that is being made.
pub(super) const NEXT_NAME: &str = "next.tmp";

/// How far ahead of the append position a segment is filled with zeros. A sync of blocks that are
/// reserved but were never written takes twice as long as one of blocks that hold zeros.
pub(super) const ZERO_AHEAD: u64 = 1 << 20;

/// Zeros written at once, and with that the most work of one call.
pub(super) const ZERO_STEP: u64 = 1 << 20;

static ZEROS: [u8; 64 << 10] = [0; 64 << 10];

/// Writes `len` zeros from `from` on.
pub(super) fn write_zeros<F: StoredFile>(file: &mut F, from: u64, len: u64) -> std::io::Result<()> {
    let mut done = 0;
    while done < len {
        let step = ZEROS.len().min(usize::try_from(len - done).unwrap_or(ZEROS.len()));
        file.write_at(&ZEROS[..step], from + done)?;
        done += step as u64;
    }
    Ok(())
}

/// Gives a file `size` bytes that are all on the disk, from `len` bytes that are; answers whether
/// those behind `len` still have to be filled with zeros to be so.
pub(super) fn reserve<F: StoredFile>(file: &mut F, size: u64) -> std::io::Result<bool> {
    match file.reserve(size) {
        Ok(()) => Ok(false),
        Err(error) if error.kind() == std::io::ErrorKind::Unsupported => Ok(true),
        Err(error) => Err(error),
    }
}

/// A segment file that has no header and no name yet.
pub(super) struct Prepared<F> {
    file: F,
    pub(super) size: u64,
    pub(super) zeroed: u64,
    /// How far zeros must be written before the file is ready.
    goal: u64,
    pub(super) ready: bool,
}

impl<F: StoredFile> Prepared<F> {
    /// Makes the file and reserves `size` bytes. Nothing is left of it if that fails.
    pub(super) fn begin<S: Storage<File = F>>(storage: &S, size: u64) -> Result<Self, Failed> {
        let failed = |doing| Failed::at(storage, NEXT_NAME, doing);
        let mut file = match storage.create(NEXT_NAME) {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                storage.remove(NEXT_NAME).map_err(failed(Doing::Remove))?;
                storage.create(NEXT_NAME)
            }
            answer => answer,
        }
        .map_err(failed(Doing::Create))?;
        match reserve(&mut file, size) {
            Ok(unsupported) => {
                let goal = if unsupported { size } else { size.min(HEADER_LEN + ZERO_AHEAD) };
                Ok(Self { file, size, zeroed: 0, goal, ready: false })
            }
            Err(error) => {
                discard(storage);
                Err(failed(Doing::Reserve)(error))
            }
        }
    }

    /// Does a bounded piece of the work, which `ready` shows the end of. Nothing is left of the
    /// file if that fails.
    pub(super) fn step<S: Storage<File = F>>(&mut self, storage: &S) -> Result<(), Failed> {
        let failed = |doing| Failed::at(storage, NEXT_NAME, doing);
        let len = ZERO_STEP.min(self.goal - self.zeroed);
        let mut done = write_zeros(&mut self.file, self.zeroed, len).map_err(failed(Doing::Write));
        self.zeroed += len;
        if done.is_ok() && self.zeroed == self.goal {
            done = self.file.sync_data().map_err(failed(Doing::Sync));
            self.ready = done.is_ok();
        }
        if done.is_err() {
            discard(storage);
        }
        done
    }

    /// Does all the work that is left.
    pub(super) fn finish<S: Storage<File = F>>(mut self, storage: &S) -> Result<Self, Failed> {
        while !self.ready {
            self.step(storage)?;
        }
        Ok(self)
    }

    /// Writes the header and syncs; answers the header's checksum.
    pub(super) fn put_header<S: Storage<File = F>>(
        &mut self,
        storage: &S,
        header: &SegmentHeader,
    ) -> Result<u32, Failed> {
        assert!(self.ready && header.size == self.size, "a segment is whole before its header");
        let failed = |doing| Failed::at(storage, NEXT_NAME, doing);
        let (block, crc) = header.encode();
        self.file.write_at(&block, 0).map_err(failed(Doing::Write))?;
        self.file.sync_data().map_err(failed(Doing::Sync))?;
        Ok(crc)
    }

    /// Gives the file its name and syncs the folder.
    pub(super) fn publish<S: Storage<File = F>>(
        self,
        storage: &S,
        header: &SegmentHeader,
    ) -> Result<F, Failed> {
        let name = segment_name(header.first);
        let failed = |doing| Failed::at(storage, &name, doing);
        storage.rename(NEXT_NAME, &name).map_err(failed(Doing::Rename))?;
        storage.sync_folder().map_err(Failed::at(storage, "", Doing::Sync))?;
        Ok(self.file)
    }
}

/// Takes the file away. Where that fails it stays behind: the next one that is made replaces it.
pub(super) fn discard<S: Storage>(storage: &S) {
    let _ = storage.remove(NEXT_NAME);
}

/// Whether the file still has the name that it was made under.
pub(super) fn is_unnamed<S: Storage>(storage: &S) -> bool {
    storage.list().is_ok_and(|names| names.iter().any(|name| name == NEXT_NAME))
}
