//! What the log asks of a disk: few and small calls, so that a simulated disk can answer them too.
//!
//! Owns the traits alone. Nothing here decides when to sync or what an error means.

use std::borrow::Cow;
use std::io;
use std::path::PathBuf;

/// A folder that holds one log.
pub trait Storage {
    /// An open file of the folder.
    type File: StoredFile;

    /// Keeps others out until [`unlock`](Self::unlock), or for as long as this storage lives.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] if another one holds that lock.
    fn lock(&mut self, lock: Lock) -> io::Result<()>;

    /// Lets others in again. Nothing happens if the lock is not held.
    fn unlock(&mut self, lock: Lock);

    /// The names of all files, in any order.
    fn list(&self) -> io::Result<Vec<String>>;

    /// Opens a file that exists.
    fn open(&self, name: &str, access: Access) -> io::Result<Self::File>;

    /// Makes a new, empty file, to read and to write.
    ///
    /// # Errors
    /// [`io::ErrorKind::AlreadyExists`] if there is one of that name.
    fn create(&self, name: &str) -> io::Result<Self::File>;

    /// Gives a file another name, in one step; a file that had that name is gone.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Whether a sync of so many bytes is better begun than waited for.
    fn syncs_beside(&self, _len: u64) -> bool {
        false
    }

    /// Begins what [`StoredFile::sync_data`] does, for the bytes as they are now, and answers at once. The sync before
    /// has been finished.
    ///
    /// # Errors
    /// [`io::ErrorKind::Unsupported`] from a storage that cannot, and never says that it can.
    fn begin_sync(&mut self, _file: &Self::File) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// The outcome of the sync that was begun last, waited for if that is asked; `None` as long as it has none.
    fn finish_sync(&mut self, _wait: bool) -> Option<io::Result<()>> {
        Some(Ok(()))
    }

    /// Takes a name out of the folder.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Answers when the names, as they are now, are on disk.
    fn sync_folder(&self) -> io::Result<()>;

    /// Where the system lets no file be written beyond, which it may change at any time.
    fn size_limit(&self) -> u64 {
        u64::MAX
    }

    /// How a message names a file of the folder; an empty name is the folder itself.
    fn path(&self, name: &str) -> PathBuf;
}

/// What one process alone may do in a folder.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Lock {
    /// Append to the log.
    Server,
    /// Rewrite what is closed. A server may be running.
    Compaction,
}

/// What an existing file is opened for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Access {
    /// Reading alone.
    Read,
    /// Reading and writing.
    Write,
}

/// An open file.
pub trait StoredFile {
    /// Bytes in the file.
    fn size(&self) -> io::Result<u64>;

    /// Reads into `buffer` from `offset` on; answers how many bytes, less than asked for only at
    /// the end.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Writes all of `bytes`.
    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Makes the file `len` bytes long with a block of zeros for every byte that it lacks.
    ///
    /// # Errors
    /// [`io::ErrorKind::Unsupported`] where the system cannot reserve: write zeros instead.
    fn reserve(&mut self, len: u64) -> io::Result<()>;

    /// Cuts the file, or lengthens it without reserving anything.
    fn set_len(&mut self, len: u64) -> io::Result<()>;

    /// Answers when the bytes, as they are now, are on disk, with the file's length.
    fn sync_data(&self) -> io::Result<()>;

    /// From now on the file is asked for [`bytes`](Self::bytes) alone: a real disk keeps the map, and lets
    /// go of the handle, of which a process has few.
    fn let_go(&mut self) {}

    /// Bytes that are in the file and never change again: on a real disk, borrowed from its map.
    ///
    /// # Errors
    /// [`io::ErrorKind::UnexpectedEof`] if they do not lie in the file.
    fn bytes(&self, offset: u64, len: usize) -> io::Result<Cow<'_, [u8]>>;
}
