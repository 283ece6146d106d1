//! A disk in memory, behind the log's storage trait.
//!
//! Owns what is only written apart from what is synced, so that a power cut can lose any part of
//! the difference; calls that fail at will; and a bound on how much room there is. It never does
//! more than a disk would promise.

#![allow(dead_code, unreachable_pub, reason = "each test file uses a part of the kit")]

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;
use std::rc::Rc;

use oicq::log::{Access, Lock, Storage, StoredFile};

const SECTOR: usize = 512;

/// Which call of the storage is made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Call {
    Lock,
    List,
    Open,
    Create,
    Rename,
    Remove,
    SyncFolder,
    Size,
    Read,
    Write,
    Reserve,
    SetLen,
    Sync,
}

#[derive(Default)]
struct Node {
    bytes: Vec<u8>,
    synced: Vec<u8>,
    /// Sectors written since the last sync.
    dirty: BTreeSet<usize>,
}

type NodeRef = Rc<RefCell<Node>>;

#[derive(Default)]
struct Inner {
    names: BTreeMap<String, NodeRef>,
    synced_names: BTreeMap<String, NodeRef>,
    locked: Vec<Lock>,
    capacity: Option<usize>,
    no_reserve: bool,
    trace: Vec<Call>,
    fail: Option<Fail>,
}

#[derive(Clone, Copy)]
struct Fail {
    at: usize,
    forever: bool,
    kind: io::ErrorKind,
}

/// A folder on the disk. Clones are the same folder; the lock goes with the one that took it.
#[derive(Default)]
pub struct MemDisk {
    inner: Rc<RefCell<Inner>>,
    holds: Vec<Lock>,
}

impl Clone for MemDisk {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), holds: Vec::new() }
    }
}

impl Drop for MemDisk {
    fn drop(&mut self) {
        for lock in self.holds.clone() {
            self.unlock(lock);
        }
    }
}

impl MemDisk {
    /// An empty folder.
    pub fn new() -> Self {
        Self::default()
    }

    /// A folder with these files, all synced.
    pub fn with_files(files: &BTreeMap<String, Vec<u8>>) -> Self {
        let disk = Self::new();
        for (name, bytes) in files {
            disk.put(name, bytes.clone());
        }
        disk
    }

    /// All files as they are now.
    pub fn files(&self) -> BTreeMap<String, Vec<u8>> {
        let inner = self.inner.borrow();
        inner.names.iter().map(|(name, node)| (name.clone(), node.borrow().bytes.clone())).collect()
    }

    /// Puts a file there, synced.
    pub fn put(&self, name: &str, bytes: Vec<u8>) {
        let node = Node { synced: bytes.clone(), bytes, dirty: BTreeSet::new() };
        let node = Rc::new(RefCell::new(node));
        let mut inner = self.inner.borrow_mut();
        inner.names.insert(name.to_owned(), node.clone());
        inner.synced_names.insert(name.to_owned(), node);
    }

    /// Takes a file away, for good.
    pub fn take(&self, name: &str) -> Vec<u8> {
        let mut inner = self.inner.borrow_mut();
        inner.synced_names.remove(name);
        inner.names.remove(name).expect("the file is there").borrow().bytes.clone()
    }

    /// How many bytes all files may have together; `None`: any number.
    pub fn set_capacity(&self, bytes: Option<usize>) {
        self.inner.borrow_mut().capacity = bytes;
    }

    /// Reserving is unsupported from now on.
    pub fn refuse_to_reserve(&self) {
        self.inner.borrow_mut().no_reserve = true;
    }

    /// All calls so far.
    pub fn trace(&self) -> Vec<Call> {
        self.inner.borrow().trace.clone()
    }

    /// The call with this index in [`trace`](Self::trace) fails; with `forever` all later ones too.
    pub fn fail_at(&self, at: usize, forever: bool, kind: io::ErrorKind) {
        self.inner.borrow_mut().fail = Some(Fail { at, forever, kind });
    }

    /// The folder after a power cut. `keep` is asked for each unsynced sector whether it reached
    /// the disk; `keep_names` whether names and lengths that were not synced did.
    pub fn cut_power(&self, keep_names: bool, mut keep: impl FnMut() -> bool) -> Self {
        let inner = self.inner.borrow();
        let names = if keep_names { &inner.names } else { &inner.synced_names };
        let mut files = BTreeMap::new();
        for (name, node) in names {
            let node = node.borrow();
            let mut bytes = node.synced.clone();
            for sector in &node.dirty {
                if !keep() {
                    continue;
                }
                let from = sector * SECTOR;
                let until = (from + SECTOR).min(node.bytes.len());
                if from < until {
                    bytes.resize(bytes.len().max(until), 0);
                    bytes[from..until].copy_from_slice(&node.bytes[from..until]);
                }
            }
            files.insert(name.clone(), bytes);
        }
        Self::with_files(&files)
    }

    fn call(&self, call: Call) -> io::Result<()> {
        let mut inner = self.inner.borrow_mut();
        let index = inner.trace.len();
        inner.trace.push(call);
        match inner.fail {
            Some(fail) if index == fail.at || (fail.forever && index > fail.at) => {
                Err(fail.kind.into())
            }
            _ => Ok(()),
        }
    }

    fn check_room(&self, more: usize) -> io::Result<()> {
        let inner = self.inner.borrow();
        let used: usize = inner.names.values().map(|node| node.borrow().bytes.len()).sum();
        match inner.capacity {
            Some(capacity) if used + more > capacity => Err(io::ErrorKind::StorageFull.into()),
            _ => Ok(()),
        }
    }

    fn file(&self, node: NodeRef) -> MemFile {
        MemFile { disk: self.clone(), node }
    }
}

impl Storage for MemDisk {
    type File = MemFile;

    fn lock(&mut self, lock: Lock) -> io::Result<()> {
        self.call(Call::Lock)?;
        let mut inner = self.inner.borrow_mut();
        if inner.locked.contains(&lock) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        inner.locked.push(lock);
        self.holds.push(lock);
        Ok(())
    }

    fn unlock(&mut self, lock: Lock) {
        if self.holds.contains(&lock) {
            self.holds.retain(|held| *held != lock);
            self.inner.borrow_mut().locked.retain(|held| *held != lock);
        }
    }

    fn list(&self) -> io::Result<Vec<String>> {
        self.call(Call::List)?;
        Ok(self.inner.borrow().names.keys().cloned().collect())
    }

    fn open(&self, name: &str, _: Access) -> io::Result<MemFile> {
        self.call(Call::Open)?;
        let node = self.inner.borrow().names.get(name).cloned();
        node.map(|node| self.file(node)).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn create(&self, name: &str) -> io::Result<MemFile> {
        self.call(Call::Create)?;
        let mut inner = self.inner.borrow_mut();
        if inner.names.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let node = NodeRef::default();
        inner.names.insert(name.to_owned(), node.clone());
        drop(inner);
        Ok(self.file(node))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.call(Call::Rename)?;
        let mut inner = self.inner.borrow_mut();
        let node = inner.names.remove(from).ok_or(io::ErrorKind::NotFound)?;
        inner.names.insert(to.to_owned(), node);
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.call(Call::Remove)?;
        let removed = self.inner.borrow_mut().names.remove(name);
        removed.map(|_| ()).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn sync_folder(&self) -> io::Result<()> {
        self.call(Call::SyncFolder)?;
        let mut inner = self.inner.borrow_mut();
        inner.synced_names = inner.names.clone();
        Ok(())
    }

    fn path(&self, name: &str) -> PathBuf {
        PathBuf::from("/disk").join(name)
    }
}

/// An open file of a [`MemDisk`].
pub struct MemFile {
    disk: MemDisk,
    node: NodeRef,
}

impl MemFile {
    fn grow(&self, len: usize) -> io::Result<()> {
        let more = len.saturating_sub(self.node.borrow().bytes.len());
        self.disk.check_room(more)?;
        let mut node = self.node.borrow_mut();
        if more > 0 {
            let old = node.bytes.len();
            node.bytes.resize(len, 0);
            node.dirty.extend(old / SECTOR..len.div_ceil(SECTOR));
        }
        Ok(())
    }
}

fn index(offset: u64) -> usize {
    usize::try_from(offset).expect("the files of a test are small")
}

impl StoredFile for MemFile {
    fn size(&self) -> io::Result<u64> {
        self.disk.call(Call::Size)?;
        Ok(self.node.borrow().bytes.len() as u64)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.disk.call(Call::Read)?;
        let node = self.node.borrow();
        let rest = node.bytes.get(index(offset)..).unwrap_or_default();
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }

    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.disk.call(Call::Write)?;
        let (from, until) = (index(offset), index(offset) + bytes.len());
        self.grow(until)?;
        let mut node = self.node.borrow_mut();
        node.bytes[from..until].copy_from_slice(bytes);
        node.dirty.extend(from / SECTOR..until.div_ceil(SECTOR));
        Ok(())
    }

    fn reserve(&mut self, len: u64) -> io::Result<()> {
        self.disk.call(Call::Reserve)?;
        if self.disk.inner.borrow().no_reserve {
            return Err(io::ErrorKind::Unsupported.into());
        }
        self.grow(index(len))
    }

    fn set_len(&mut self, len: u64) -> io::Result<()> {
        self.disk.call(Call::SetLen)?;
        self.grow(index(len))?;
        self.node.borrow_mut().bytes.truncate(index(len));
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.disk.call(Call::Sync)?;
        let mut node = self.node.borrow_mut();
        let node = &mut *node;
        node.synced.resize(node.bytes.len(), 0);
        for sector in std::mem::take(&mut node.dirty) {
            let from = sector * SECTOR;
            let until = (from + SECTOR).min(node.bytes.len());
            if from < until {
                node.synced[from..until].copy_from_slice(&node.bytes[from..until]);
            }
        }
        Ok(())
    }

    fn bytes(&self, offset: u64, len: usize) -> io::Result<Cow<'_, [u8]>> {
        let node = self.node.borrow();
        let bytes = node.bytes.get(index(offset)..index(offset) + len);
        bytes.map(|bytes| Cow::Owned(bytes.to_vec())).ok_or(io::ErrorKind::UnexpectedEof.into())
    }
}
