//! The real storage: one folder of the file system.
//!
//! Owns the system calls and the rights of what they make (0700 and 0600, the folder's owner). It never retries a
//! failed sync and never hides an error.

use std::borrow::Cow;
use std::cell::OnceCell;
use std::ffi::OsString;
use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use memmap2::Mmap;
use rustix::fs::{FallocateFlags, FlockOperation};
use rustix::io::Errno;
use rustix::process::{Resource, getrlimit};

use super::beside::Syncer;
use super::map::map;
use super::storage::{Access, Lock, Storage, StoredFile};

pub(super) const LOCK_NAME: &str = "LOCK";
pub(super) const COMPACTION_LOCK_NAME: &str = "COMPACT";

/// From so many bytes on a sync is better begun than waited for: below, handing it to another thread costs more than
/// the loop has to do meanwhile.
const SYNC_BESIDE_BYTES: u64 = 16 << 10;

/// A folder on a real disk.
#[derive(Debug)]
pub struct DiskStorage {
    folder: PathBuf,
    /// What messages call it, where that is another name.
    called: Option<PathBuf>,
    /// The files of the locks that are held.
    locks: Vec<Held>,
    /// The folder itself, for syncing: kept open, so that there always is a handle for it.
    handle: Option<File>,
    /// `None` where every sync is waited for.
    syncer: Option<Syncer>,
}

impl DiskStorage {
    /// The folder for a server: made, with what is missing above it, where it does not exist, and
    /// closed to other users, unless it holds something else than a log.
    ///
    /// # Errors
    /// If it cannot be made, or is not a folder.
    pub fn create(folder: &Path) -> io::Result<Self> {
        let missing = folder.ancestors().take_while(|path| !path.as_os_str().is_empty());
        let missing: Vec<_> = missing.take_while(|path| !path.exists()).collect();
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        for made in missing {
            let parent = made.parent().filter(|parent| !parent.as_os_str().is_empty());
            File::open(parent.unwrap_or(Path::new(".")))?.sync_all()?;
        }
        // What belongs to somebody else's files too is left open: the log's own files are closed anyway.
        let mut names =
            std::fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.file_name()));
        let is_own =
            |name: &OsString| name == LOCK_NAME || name.as_encoded_bytes().ends_with(b".log");
        let own = match names.next() {
            None => true,
            Some(first) => is_own(&first?) || names.flatten().any(|name| is_own(&name)),
        };
        let mode = folder.metadata()?.permissions().mode();
        if own && mode & 0o077 != 0 {
            std::fs::set_permissions(folder, Permissions::from_mode(0o700))?;
        }
        let handle = Some(File::open(folder)?);
        Ok(Self { handle, ..Self::read_only(folder) })
    }

    /// The folder for a tool that only reads. Nothing is touched, nothing is looked at yet.
    #[must_use]
    pub fn read_only(folder: &Path) -> Self {
        Self {
            folder: folder.to_path_buf(),
            called: None,
            locks: Vec::new(),
            handle: None,
            syncer: None,
        }
    }

    /// The same folder, where [`begin_sync`](Storage::begin_sync) works, on a thread of its own. It calls `wake` when
    /// there is something to finish.
    ///
    /// # Errors
    /// If the system gives no thread.
    pub fn syncing_beside(self, wake: impl Fn() + Send + 'static) -> io::Result<Self> {
        Ok(Self { syncer: Some(Syncer::start(wake)?), ..self })
    }

    /// The same folder, which messages call by another name: that of what it was unpacked from.
    #[must_use]
    pub fn called(self, name: &Path) -> Self {
        Self { called: Some(name.to_path_buf()), ..self }
    }
}

impl DiskStorage {
    /// What an administrator makes in a folder belongs to the folder's owner, whose server shall read it.
    fn give_to_owner(&self, file: &File) {
        let (Ok(folder), Ok(made)) = (self.folder.metadata(), file.metadata()) else { return };
        if folder.uid() != made.uid() && made.len() == 0 {
            // Where it is not allowed, the file stays with whoever made it.
            let _ = std::os::unix::fs::fchown(file, Some(folder.uid()), Some(folder.gid()));
        }
    }
}

impl Storage for DiskStorage {
    type File = DiskFile;

    fn lock(&mut self, lock: Lock) -> io::Result<()> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let file = options.open(self.folder.join(match lock {
            Lock::Server => LOCK_NAME,
            Lock::Compaction => COMPACTION_LOCK_NAME,
        }))?;
        rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive)?;
        self.give_to_owner(&file);
        self.locks.push(Held { lock, file });
        Ok(())
    }

    fn unlock(&mut self, lock: Lock) {
        self.locks.retain(|held| held.lock != lock);
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&self.folder)? {
            // The log's own names are plain ASCII: any other is somebody else's file.
            names.extend(entry?.file_name().into_string());
        }
        Ok(names)
    }

    fn open(&self, name: &str, access: Access) -> io::Result<DiskFile> {
        let mut options = OpenOptions::new();
        options.read(true).write(access == Access::Write);
        options.open(self.folder.join(name)).map(DiskFile::new)
    }

    fn create(&self, name: &str) -> io::Result<DiskFile> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true).mode(0o600);
        let file = options.open(self.folder.join(name))?;
        self.give_to_owner(&file);
        Ok(DiskFile::new(file))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        std::fs::rename(self.folder.join(from), self.folder.join(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        std::fs::remove_file(self.folder.join(name))
    }

    fn sync_folder(&self) -> io::Result<()> {
        match &self.handle {
            Some(handle) => handle.sync_all(),
            None => File::open(&self.folder)?.sync_all(),
        }
    }

    fn syncs_beside(&self, len: u64) -> bool {
        self.syncer.is_some() && len >= SYNC_BESIDE_BYTES
    }

    fn begin_sync(&mut self, file: &DiskFile) -> io::Result<()> {
        let syncer = self.syncer.as_mut().ok_or(io::ErrorKind::Unsupported)?;
        syncer.begin(file.file()?)
    }

    fn finish_sync(&mut self, wait: bool) -> Option<io::Result<()>> {
        self.syncer.as_mut().map_or(Some(Ok(())), |syncer| syncer.finish(wait))
    }

    fn size_limit(&self) -> u64 {
        getrlimit(Resource::Fsize).current.unwrap_or(u64::MAX)
    }

    fn path(&self, name: &str) -> PathBuf {
        let folder = self.called.as_ref().unwrap_or(&self.folder);
        if name.is_empty() { folder.clone() } else { folder.join(name) }
    }
}

/// A lock that is held, until this is dropped.
#[derive(Debug)]
struct Held {
    lock: Lock,
    file: File,
}

impl Drop for Held {
    fn drop(&mut self) {
        // Closing it would not do at once: a program that is being started elsewhere in this process has it open, too,
        // until it runs.
        let _ = rustix::fs::flock(&self.file, FlockOperation::Unlock);
    }
}

/// A file on a real disk. It is mapped when its bytes are first asked for.
#[derive(Debug)]
pub struct DiskFile {
    /// `None` once it was let go of.
    file: Option<Arc<File>>,
    map: OnceCell<Mmap>,
}

impl DiskFile {
    fn new(file: File) -> Self {
        Self { file: Some(Arc::new(file)), map: OnceCell::new() }
    }

    fn file(&self) -> io::Result<&Arc<File>> {
        self.file.as_ref().ok_or_else(|| io::Error::other("the file is closed"))
    }

    fn mapped(&self) -> io::Result<&Mmap> {
        if let Some(map) = self.map.get() {
            return Ok(map);
        }
        let made = map(self.file()?)?;
        Ok(self.map.get_or_init(|| made))
    }
}

impl StoredFile for DiskFile {
    fn size(&self) -> io::Result<u64> {
        Ok(self.file()?.metadata()?.len())
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.file()?.read_at(&mut buffer[filled..], offset + filled as u64) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }

    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.file()?.write_all_at(bytes, offset)
    }

    fn reserve(&mut self, len: u64) -> io::Result<()> {
        loop {
            match rustix::fs::fallocate(self.file()?, FallocateFlags::empty(), 0, len) {
                Err(Errno::INTR) => {}
                Err(Errno::OPNOTSUPP | Errno::NOSYS) => {
                    return Err(io::ErrorKind::Unsupported.into());
                }
                answer => return Ok(answer?),
            }
        }
    }

    fn set_len(&mut self, len: u64) -> io::Result<()> {
        self.file()?.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file()?.sync_data()
    }

    fn let_go(&mut self) {
        // Without a map the handle is still needed.
        if self.mapped().is_ok() {
            self.file = None;
        }
    }

    fn bytes(&self, offset: u64, len: usize) -> io::Result<Cow<'_, [u8]>> {
        let map = self.mapped()?;
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        let range = start..start.saturating_add(len);
        map.get(range).map(Cow::Borrowed).ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_is_let_go_of_though_a_program_that_is_being_started_has_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let mut first = DiskStorage::create(folder.path()).unwrap();
        let mut second = DiskStorage::read_only(folder.path());
        first.lock(Lock::Server).unwrap();
        let inherited = first.locks[0].file.try_clone().unwrap();
        let error = second.lock(Lock::Server).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        drop(first);
        second.lock(Lock::Server).unwrap();
        drop(inherited);
    }
}
