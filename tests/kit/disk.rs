//! A disk in memory, behind the log's storage trait: as bad as a disk may be, and no worse.
//!
//! Owns what is only written apart from what is synced, so that a power cut can lose any part of the
//! difference, torn anywhere; folder operations that were not synced; calls that fail at will; and a
//! bound on how much room there is. It never does more than a disk would promise. Where the power goes
//! within a call, the call's effect is among what was not synced: a cut before each call, and one behind
//! the last, are all cuts that there are.

#![allow(dead_code, missing_docs, unreachable_pub, reason = "each test uses a part of the kit")]
#![allow(unused_imports, reason = "each test uses a part of the kit")]

#[path = "disk/node.rs"]
mod node;

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::rc::Rc;

use oicq::log::{Access, Lock, Storage, StoredFile};

pub use node::{Fate, SECTOR, Survival, Unsynced, What};
use node::{Node, Stamps};

/// From so many bytes on a sync can be done beside: the turns of a test are some larger, some smaller.
const BESIDE_BYTES: u64 = 600;

/// Which call of the storage is made.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
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
    /// A sync is begun beside; its outcome comes as a call of its own.
    BeginSync,
    Bytes,
}

impl Call {
    /// Every call there is.
    pub const ALL: [Self; 15] = [
        Self::Lock,
        Self::List,
        Self::Open,
        Self::Create,
        Self::Rename,
        Self::Remove,
        Self::SyncFolder,
        Self::Size,
        Self::Read,
        Self::Write,
        Self::Reserve,
        Self::SetLen,
        Self::Sync,
        Self::BeginSync,
        Self::Bytes,
    ];
}

/// A call that was made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Made {
    pub call: Call,
    /// The file's name; a rename has the old one, the folder none.
    pub name: Rc<str>,
    /// Which file it is, whatever its name; 0 where no open file was asked.
    pub file: u64,
}

/// A call that fails.
#[derive(Clone, Copy, Debug)]
pub struct Fault {
    /// The call's index in [`MemDisk::trace`].
    pub at: usize,
    pub lasts: Lasts,
    pub error: Fails,
    pub effect: Effect,
}

/// For how long calls fail.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Lasts {
    Once,
    /// Every later call of the same kind fails too.
    SameCall,
    /// Every later call fails too.
    Forever,
}

/// What a failed call says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fails {
    Kind(io::ErrorKind),
    Errno(i32),
}

impl Fails {
    fn error(self) -> io::Error {
        match self {
            Self::Kind(kind) => kind.into(),
            Self::Errno(errno) => io::Error::from_raw_os_error(errno),
        }
    }
}

/// How much a failed call has done all the same.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Effect {
    Nothing,
    /// A write has written half of its bytes; any other call has done nothing.
    Half,
    Whole,
}

struct File {
    id: u64,
    name: RefCell<Rc<str>>,
    node: RefCell<Node>,
}

type FileRef = Rc<File>;

/// A change of the folder, not yet synced.
enum NameChange {
    Put(String, FileRef),
    Move(String, String, FileRef),
    Remove(String),
}

impl NameChange {
    /// The same about the copies of files.
    fn copy(&self, of: &impl Fn(&FileRef) -> FileRef) -> Self {
        match self {
            Self::Put(name, file) => Self::Put(name.clone(), of(file)),
            Self::Move(from, to, file) => Self::Move(from.clone(), to.clone(), of(file)),
            Self::Remove(name) => Self::Remove(name.clone()),
        }
    }

    fn apply(&self, names: &mut BTreeMap<String, FileRef>) {
        match self {
            Self::Put(name, file) => {
                names.insert(name.clone(), file.clone());
            }
            Self::Move(from, to, file) => {
                names.remove(from);
                names.insert(to.clone(), file.clone());
            }
            Self::Remove(name) => {
                names.remove(name);
            }
        }
    }
}

type Watch = Box<dyn FnMut(&MemDisk, &Made)>;
type Turn = Rc<RefCell<Option<Box<dyn FnMut(&Made)>>>>;

/// A sync that is done beside.
struct UnderWay {
    file: FileRef,
    /// What was done before it began.
    stamp: u64,
    /// How often it will still be asked for in vain.
    polls_left: u32,
}

#[derive(Default)]
struct Inner {
    names: BTreeMap<String, FileRef>,
    synced_names: BTreeMap<String, FileRef>,
    name_changes: Vec<(u64, NameChange)>,
    stamps: Stamps,
    file_count: u64,
    locked: Vec<Lock>,
    capacity: Option<usize>,
    no_reserve: bool,
    /// Syncs can be done beside, and are over when they have been asked for so often.
    beside: Option<u32>,
    under_way: Option<UnderWay>,
    trace: Vec<Made>,
    fault: Option<Fault>,
    watch: Option<Watch>,
}

impl Inner {
    fn new_file(&mut self, name: &str, node: Node) -> FileRef {
        self.file_count += 1;
        let name = RefCell::new(name.into());
        Rc::new(File { id: self.file_count, name, node: RefCell::new(node) })
    }

    fn sync_names(&mut self) {
        self.synced_names = self.names.clone();
        self.name_changes.clear();
        self.stamps.next();
    }

    fn change(&mut self, change: NameChange) {
        change.apply(&mut self.names);
        self.name_changes.push((self.stamps.next(), change));
    }
}

/// A folder on the disk. Clones are the same folder; the lock goes with the one that took it.
#[derive(Default)]
pub struct MemDisk {
    inner: Rc<RefCell<Inner>>,
    holds: Vec<Lock>,
    turn: Option<Turn>,
    /// How many more calls this handle and its files make before whoever has it is dead.
    calls_left: Option<Rc<Cell<usize>>>,
}

impl Clone for MemDisk {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            holds: Vec::new(),
            turn: self.turn.clone(),
            calls_left: self.calls_left.clone(),
        }
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
        let bytes = |file: &FileRef| file.node.borrow().bytes();
        inner.names.iter().map(|(name, file)| (name.clone(), bytes(file))).collect()
    }

    /// Puts a file there, synced.
    pub fn put(&self, name: &str, bytes: Vec<u8>) {
        self.put_node(name, Node::synced(&bytes));
    }

    fn put_node(&self, name: &str, node: Node) {
        let mut inner = self.inner.borrow_mut();
        inner.sync_names();
        let file = inner.new_file(name, node);
        inner.names.insert(name.to_owned(), file.clone());
        inner.synced_names.insert(name.to_owned(), file);
    }

    /// Takes a file away, for good.
    pub fn take(&self, name: &str) -> Vec<u8> {
        let mut inner = self.inner.borrow_mut();
        inner.sync_names();
        inner.synced_names.remove(name);
        let file = inner.names.remove(name).expect("the file is there");

        file.node.borrow().bytes()
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
        self.inner.borrow().trace.iter().map(|made| made.call).collect()
    }

    /// All calls so far, with the files that they were about.
    pub fn calls(&self) -> Vec<Made> {
        self.inner.borrow().trace.clone()
    }

    /// The call with this index in [`trace`](Self::trace) fails; with `forever` all later ones too.
    pub fn fail_at(&self, at: usize, forever: bool, kind: io::ErrorKind) {
        let lasts = if forever { Lasts::Forever } else { Lasts::Once };
        self.fail(Fault { at, lasts, error: Fails::Kind(kind), effect: Effect::Nothing });
    }

    /// A call fails.
    pub fn fail(&self, fault: Fault) {
        self.inner.borrow_mut().fault = Some(fault);
    }

    /// Nothing fails from now on.
    pub fn mend(&self) {
        self.inner.borrow_mut().fault = None;
    }

    /// `watch` sees every call just before it is made, whoever makes it. What it does on this disk itself
    /// is not watched.
    pub fn watch(&self, watch: impl FnMut(&Self, &Made) + 'static) {
        self.inner.borrow_mut().watch = Some(Box::new(watch));
    }

    /// Nobody sees the calls from now on.
    pub fn unwatch(&self) {
        self.inner.borrow_mut().watch = None;
    }

    /// The same folder for somebody else, who works on it while others do: `turn` is run before each of
    /// the calls that are made through this handle and its files, and may make calls through another one.
    pub fn between_turns(&self, turn: impl FnMut(&Made) + 'static) -> Self {
        let turn: Box<dyn FnMut(&Made)> = Box::new(turn);
        let mut disk = self.clone();
        disk.turn = Some(Rc::new(RefCell::new(Some(turn))));
        disk
    }

    /// The same folder for somebody who is killed after so many calls: later ones fail and do nothing.
    pub fn killed_after(&self, calls: usize) -> Self {
        let mut disk = self.clone();
        disk.calls_left = Some(Rc::new(Cell::new(calls)));
        disk
    }

    /// Counts everything that is done to the disk; as long as it stays the same, so does each power cut.
    pub fn changes(&self) -> u64 {
        self.inner.borrow().stamps.count()
    }

    /// What a power cut would decide about, from the oldest on.
    pub fn unsynced(&self) -> Vec<Unsynced> {
        let inner = self.inner.borrow();
        let changes = inner.name_changes.iter();
        let mut all: Vec<_> =
            changes.map(|(stamp, _)| Unsynced { stamp: *stamp, what: What::Name }).collect();
        let mut seen = Vec::new();
        for file in inner.all_files() {
            if !seen.contains(&file.id) {
                seen.push(file.id);
                all.extend(file.node.borrow().unsynced());
            }
        }
        all.sort_unstable_by_key(|unsynced| unsynced.stamp);
        all
    }

    /// The folder after a power cut, all of it synced. `fate` is asked about everything that was not; any
    /// subset of the folder's changes may have happened.
    pub fn cut(&self, fate: Fate<'_>) -> Self {
        let inner = self.inner.borrow();
        let mut names = inner.synced_names.clone();
        for (stamp, change) in &inner.name_changes {
            if fate(Unsynced { stamp: *stamp, what: What::Name }) != Survival::Lost {
                change.apply(&mut names);
            }
        }
        let image = Self::new();
        image.inner.borrow_mut().no_reserve = inner.no_reserve;
        for (name, file) in &names {
            image.put_node(name, file.node.borrow().after_cut(fate));
        }
        image
    }

    /// The folder when whoever worked on it was killed: nothing is lost, and what was unsynced still is.
    pub fn killed(&self) -> Self {
        let inner = self.inner.borrow();
        let mut copies = BTreeMap::new();
        for file in inner.all_files() {
            let copy = || {
                let (name, node) = (file.name.clone(), file.node.clone());
                Rc::new(File { id: file.id, name, node })
            };
            copies.entry(file.id).or_insert_with(copy);
        }
        let of = |file: &FileRef| copies[&file.id].clone();
        let all = |names: &BTreeMap<String, FileRef>| {
            names.iter().map(|(name, file)| (name.clone(), of(file))).collect()
        };
        let image = Self::new();
        *image.inner.borrow_mut() = Inner {
            names: all(&inner.names),
            synced_names: all(&inner.synced_names),
            name_changes: inner.name_changes.iter().map(|(at, one)| (*at, one.copy(&of))).collect(),
            stamps: inner.stamps.copy(),
            file_count: inner.file_count,
            capacity: inner.capacity,
            no_reserve: inner.no_reserve,
            beside: inner.beside,
            ..Inner::default()
        };
        image
    }

    /// From now on syncs can be done beside. They are over when they have been asked for so often, or are waited for.
    pub fn sync_beside(&self, polls: u32) {
        self.inner.borrow_mut().beside = Some(polls);
    }

    /// As [`cut`](Self::cut): `keep` is asked for each version of an unsynced sector whether it reached the
    /// disk; `keep_names` says whether names and lengths that were not synced did.
    pub fn cut_power(&self, keep_names: bool, mut keep: impl FnMut() -> bool) -> Self {
        self.cut(&mut |unsynced| match unsynced.what {
            What::Sector if keep() => Survival::Kept,
            What::Name | What::Length if keep_names => Survival::Kept,
            _ => Survival::Lost,
        })
    }

    /// The system reads again from the disk what it takes for clean: after a failed sync, that may be older.
    pub fn evict(&self, fate: Fate<'_>) {
        for file in self.inner.borrow().names.values() {
            file.node.borrow_mut().evict(fate);
        }
    }

    /// Makes a call: `Ok(Some(..))` is the error to answer when as much has been done as the effect says.
    fn call(&self, call: Call, name: &str, file: u64) -> io::Result<Option<Failing>> {
        if let Some(left) = &self.calls_left {
            let rest = left.get().checked_sub(1).ok_or_else(|| io::Error::other("killed"))?;
            left.set(rest);
        }
        let made = Made { call, name: name.into(), file };
        self.let_others(&made);
        let mut inner = self.inner.borrow_mut();
        let index = inner.trace.len();
        inner.trace.push(made);
        let Some(fault) = inner.fault.filter(|fault| index >= fault.at) else { return Ok(None) };
        let fails = match fault.lasts {
            Lasts::Once => index == fault.at,
            Lasts::SameCall => inner.trace[fault.at].call == call,
            Lasts::Forever => true,
        };
        match fault.effect {
            _ if !fails => Ok(None),
            Effect::Nothing if call != Call::Sync => Err(fault.error.error()),
            effect => Ok(Some(Failing { error: fault.error.error(), effect })),
        }
    }

    /// Runs whoever has a turn before a call, and shows the call to whoever watches.
    fn let_others(&self, made: &Made) {
        if let Some(slot) = &self.turn {
            let turn = slot.borrow_mut().take();
            if let Some(mut turn) = turn {
                turn(made);
                slot.borrow_mut().replace(turn);
            }
        }
        let watch = self.inner.borrow_mut().watch.take();
        if let Some(mut watch) = watch {
            watch(self, made);
            self.inner.borrow_mut().watch = Some(watch);
        }
    }

    fn folder_call(&self, call: Call, name: &str) -> io::Result<Option<Failing>> {
        let failing = self.call(call, name, 0)?;
        failing.map_or(Ok(None), |failing| failing.if_whole().map(Some))
    }

    fn check_room(&self, more: usize) -> io::Result<()> {
        let inner = self.inner.borrow();
        let used: usize = inner.names.values().map(|file| file.node.borrow().len()).sum();
        match inner.capacity {
            Some(capacity) if used + more > capacity => Err(io::ErrorKind::StorageFull.into()),
            _ => Ok(()),
        }
    }

    fn file(&self, file: FileRef, access: Access) -> MemFile {
        MemFile { disk: self.clone(), file, access, let_go: false }
    }
}

impl Inner {
    /// Every file that a cut may leave.
    fn all_files(&self) -> impl Iterator<Item = &FileRef> {
        let changed = self.name_changes.iter().filter_map(|(_, change)| match change {
            NameChange::Put(_, file) | NameChange::Move(_, _, file) => Some(file),
            NameChange::Remove(_) => None,
        });
        self.names.values().chain(self.synced_names.values()).chain(changed)
    }
}

/// A call that does something and fails then.
struct Failing {
    error: io::Error,
    effect: Effect,
}

impl Failing {
    /// Of a call that cannot be done by halves.
    fn if_whole(self) -> io::Result<Self> {
        if self.effect == Effect::Whole { Ok(self) } else { Err(self.error) }
    }
}

/// What a call answers that was done.
fn done(failing: Option<Failing>) -> io::Result<()> {
    failing.map_or(Ok(()), |failing| Err(failing.error))
}

impl Storage for MemDisk {
    type File = MemFile;

    fn lock(&mut self, lock: Lock) -> io::Result<()> {
        let name = match lock {
            Lock::Server => "LOCK",
            Lock::Compaction => "COMPACT",
        };
        // A lock that failed is not held, whatever else has happened.
        done(self.call(Call::Lock, name, 0)?)?;
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
            if lock == Lock::Server {
                // A sync that nobody waits for any more may still have its effect, and none is known.
                self.inner.borrow_mut().under_way = None;
            }
            self.inner.borrow_mut().locked.retain(|held| *held != lock);
        }
    }

    fn list(&self) -> io::Result<Vec<String>> {
        done(self.call(Call::List, "", 0)?)?;
        Ok(self.inner.borrow().names.keys().cloned().collect())
    }

    fn open(&self, name: &str, access: Access) -> io::Result<MemFile> {
        done(self.call(Call::Open, name, 0)?)?;
        let file = self.inner.borrow().names.get(name).cloned();
        file.map(|file| self.file(file, access)).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn create(&self, name: &str) -> io::Result<MemFile> {
        let failing = self.folder_call(Call::Create, name)?;
        let mut inner = self.inner.borrow_mut();
        if inner.names.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let file = inner.new_file(name, Node::default());
        inner.change(NameChange::Put(name.to_owned(), file.clone()));
        drop(inner);
        done(failing)?;
        Ok(self.file(file, Access::Write))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let failing = self.folder_call(Call::Rename, from)?;
        let mut inner = self.inner.borrow_mut();
        let file = inner.names.get(from).cloned().ok_or(io::ErrorKind::NotFound)?;
        *file.name.borrow_mut() = to.into();
        inner.change(NameChange::Move(from.to_owned(), to.to_owned(), file));
        done(failing)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let failing = self.folder_call(Call::Remove, name)?;
        let mut inner = self.inner.borrow_mut();
        if !inner.names.contains_key(name) {
            return Err(io::ErrorKind::NotFound.into());
        }
        inner.change(NameChange::Remove(name.to_owned()));
        done(failing)
    }

    fn sync_folder(&self) -> io::Result<()> {
        let failing = self.folder_call(Call::SyncFolder, "")?;
        let mut inner = self.inner.borrow_mut();
        inner.sync_names();
        done(failing)
    }

    fn syncs_beside(&self, len: u64) -> bool {
        self.inner.borrow().beside.is_some_and(|_| len >= BESIDE_BYTES)
    }

    fn begin_sync(&mut self, file: &MemFile) -> io::Result<()> {
        done(file.call(Call::BeginSync)?)?;
        let mut inner = self.inner.borrow_mut();
        let polls_left = inner.beside.ok_or(io::ErrorKind::Unsupported)?;
        assert!(inner.under_way.is_none(), "one sync after the other");
        let stamp = inner.stamps.count();
        inner.under_way = Some(UnderWay { file: file.file.clone(), stamp, polls_left });
        Ok(())
    }

    fn finish_sync(&mut self, wait: bool) -> Option<io::Result<()>> {
        let (file, stamp) = {
            let mut inner = self.inner.borrow_mut();
            let Some(under_way) = &mut inner.under_way else { return Some(Ok(())) };
            if !wait && under_way.polls_left > 0 {
                under_way.polls_left -= 1;
                return None;
            }
            let UnderWay { file, stamp, .. } = inner.under_way.take()?;
            (file, stamp)
        };
        let name = file.name.borrow().clone();
        let failing = match self.call(Call::Sync, &name, file.id) {
            Err(error) => return Some(Err(error)),
            Ok(failing) => failing,
        };
        let mut node = file.node.borrow_mut();
        match &failing {
            Some(failing) if failing.effect != Effect::Whole => node.fail_sync(),
            _ => node.sync_through(stamp),
        }
        self.inner.borrow().stamps.next();
        Some(done(failing))
    }

    fn path(&self, name: &str) -> PathBuf {
        PathBuf::from("/disk").join(name)
    }
}

/// An open file of a [`MemDisk`].
pub struct MemFile {
    disk: MemDisk,
    file: FileRef,
    access: Access,
    let_go: bool,
}

impl MemFile {
    fn call(&self, call: Call) -> io::Result<Option<Failing>> {
        let name = self.file.name.borrow().clone();
        let failing = self.disk.call(call, &name, self.file.id)?;
        let writes = [Call::Write, Call::Reserve, Call::SetLen].contains(&call);
        if (self.let_go && call != Call::Bytes) || (writes && self.access == Access::Read) {
            return Err(io::Error::other("the file is not open for this"));
        }
        Ok(failing)
    }

    fn stamps(&self) -> Stamps {
        self.disk.inner.borrow().stamps.clone()
    }

    fn check_room(&self, len: usize) -> io::Result<()> {
        self.disk.check_room(len.saturating_sub(self.file.node.borrow().len()))
    }
}

fn index(offset: u64) -> usize {
    usize::try_from(offset).expect("the files of a test are small")
}

impl StoredFile for MemFile {
    fn size(&self) -> io::Result<u64> {
        done(self.call(Call::Size)?)?;
        Ok(self.file.node.borrow().len() as u64)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        done(self.call(Call::Read)?)?;
        Ok(self.file.node.borrow().read(buffer, index(offset)))
    }

    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let failing = self.call(Call::Write)?;
        let half = failing.as_ref().is_some_and(|failing| failing.effect == Effect::Half);
        let bytes = if half { &bytes[..bytes.len() / 2] } else { bytes };
        self.check_room(index(offset) + bytes.len())?;
        self.file.node.borrow_mut().write(bytes, index(offset), &self.stamps());
        done(failing)
    }

    fn reserve(&mut self, len: u64) -> io::Result<()> {
        let failing = self.call(Call::Reserve)?.map(Failing::if_whole).transpose()?;
        if self.disk.inner.borrow().no_reserve {
            return Err(io::ErrorKind::Unsupported.into());
        }
        self.check_room(index(len))?;
        let longer = index(len).max(self.file.node.borrow().len());
        self.file.node.borrow_mut().set_len(longer, &self.stamps());
        done(failing)
    }

    fn set_len(&mut self, len: u64) -> io::Result<()> {
        let failing = self.call(Call::SetLen)?.map(Failing::if_whole).transpose()?;
        self.check_room(index(len))?;
        self.file.node.borrow_mut().set_len(index(len), &self.stamps());
        done(failing)
    }

    fn sync_data(&self) -> io::Result<()> {
        let failing = self.call(Call::Sync)?;
        let mut node = self.file.node.borrow_mut();
        match &failing {
            Some(failing) if failing.effect != Effect::Whole => node.fail_sync(),
            _ => node.sync(),
        }
        self.stamps().next();
        done(failing)
    }

    fn let_go(&mut self) {
        self.let_go = true;
    }

    fn bytes(&self, offset: u64, len: usize) -> io::Result<Cow<'_, [u8]>> {
        done(self.call(Call::Bytes)?)?;
        let mut bytes = vec![0; len];
        let count = self.file.node.borrow().read(&mut bytes, index(offset));
        if count < len { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(Cow::Owned(bytes)) }
    }
}
