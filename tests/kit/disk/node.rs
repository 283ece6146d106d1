//! A file of the simulated disk: its bytes as programs see them, and each sector's versions since it was
//! last known to be on disk.
//!
//! Owns what a sync settles, what a failed sync leaves behind, and what a power cut may make of a file. It
//! knows no names and no calls. Sectors are shared between a file and its copies until they are written.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::rc::Rc;

/// The least that a disk writes as a whole; and even that may be torn.
pub const SECTOR: usize = 512;

/// The bytes of a sector; `None`: zeros.
type Sector = Option<Rc<[u8; SECTOR]>>;

/// Something that is not on disk for certain.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Unsynced {
    /// Counts up with everything that is done to a disk.
    pub stamp: u64,
    pub what: What,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum What {
    /// A folder operation.
    Name,
    /// A file's new length.
    Length,
    /// A version of a sector.
    Sector,
}

/// What a power cut makes of something unsynced.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Survival {
    Lost,
    Kept,
    /// Of a sector, so many bytes at its beginning were written; of anything else, all.
    Head(usize),
    /// Of a sector, what follows so many bytes was written; of anything else, all.
    Tail(usize),
}

/// Decides what a power cut makes of each thing that is unsynced.
pub type Fate<'a> = &'a mut dyn FnMut(Unsynced) -> Survival;

/// A sector that may differ from what is on disk.
#[derive(Clone)]
struct Dirty {
    on_disk: Sector,
    versions: Vec<(u64, Sector)>,
    /// A sync of it has failed since it was last written: the system takes it for clean.
    dropped: bool,
}

impl Dirty {
    fn after_cut(&self, fate: Fate<'_>) -> Sector {
        let mut content = self.on_disk.clone();
        for (stamp, version) in &self.versions {
            content = match fate(Unsynced { stamp: *stamp, what: What::Sector }) {
                Survival::Lost => content,
                Survival::Kept => version.clone(),
                Survival::Head(at) => torn(version, &content, at),
                Survival::Tail(at) => torn(&content, version, at),
            };
        }
        content
    }
}

fn torn(head: &Sector, tail: &Sector, at: usize) -> Sector {
    let mut bytes = tail.as_ref().map_or([0; SECTOR], |tail| **tail);
    match head {
        Some(head) => bytes[..at].copy_from_slice(&head[..at]),
        None => bytes[..at].fill(0),
    }
    sector(bytes)
}

fn sector(bytes: [u8; SECTOR]) -> Sector {
    (bytes != [0; SECTOR]).then(|| Rc::new(bytes))
}

/// Counts everything that is done to a disk.
/// Clones are the same counter.
#[derive(Clone, Default)]
pub struct Stamps(Rc<Cell<u64>>);

impl Stamps {
    pub fn next(&self) -> u64 {
        self.0.set(self.0.get() + 1);
        self.0.get()
    }

    /// A counter of its own that goes on from here.
    pub fn copy(&self) -> Self {
        Self(Rc::new(Cell::new(self.count())))
    }

    /// How much has been done.
    pub fn count(&self) -> u64 {
        self.0.get()
    }
}

/// A file.
#[derive(Clone, Default)]
pub struct Node {
    len: usize,
    sectors: Rc<Vec<Sector>>,
    /// The length on disk, and those since.
    disk_len: usize,
    lengths: Vec<(u64, usize)>,
    dirty: BTreeMap<usize, Dirty>,
}

impl Node {
    /// A file with these bytes, all on disk.
    pub fn synced(bytes: &[u8]) -> Self {
        let mut node = Self::default();
        node.write(bytes, 0, &Stamps::default());
        node.sync();
        node
    }

    pub const fn len(&self) -> usize {
        self.len
    }

    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = vec![0; self.len];
        self.read(&mut bytes, 0);
        bytes
    }

    /// Fills `buffer` from `offset` on; answers how many bytes there were.
    pub fn read(&self, buffer: &mut [u8], offset: usize) -> usize {
        let count = buffer.len().min(self.len.saturating_sub(offset));
        let mut done = 0;
        while done < count {
            let (index, skip) = ((offset + done) / SECTOR, (offset + done) % SECTOR);
            let step = (SECTOR - skip).min(count - done);
            let part = &mut buffer[done..done + step];
            match &self.sectors[index] {
                Some(bytes) => part.copy_from_slice(&bytes[skip..skip + step]),
                None => part.fill(0),
            }
            done += step;
        }
        count
    }

    /// Writes within the file or behind its end.
    pub fn write(&mut self, bytes: &[u8], offset: usize, stamps: &Stamps) {
        if offset + bytes.len() > self.len {
            self.set_len(offset + bytes.len(), stamps);
        }
        let mut done = 0;
        while done < bytes.len() {
            let (index, skip) = ((offset + done) / SECTOR, (offset + done) % SECTOR);
            let step = (SECTOR - skip).min(bytes.len() - done);
            let mut content = self.sectors[index].as_ref().map_or([0; SECTOR], |old| **old);
            content[skip..skip + step].copy_from_slice(&bytes[done..done + step]);
            self.put(index, sector(content), stamps);
            done += step;
        }
    }

    pub fn set_len(&mut self, len: usize, stamps: &Stamps) {
        if len == self.len {
            return;
        }
        if len < self.len && !len.is_multiple_of(SECTOR) {
            let index = len / SECTOR;
            let mut content = self.sectors[index].as_ref().map_or([0; SECTOR], |old| **old);
            content[len % SECTOR..].fill(0);
            self.put(index, sector(content), stamps);
        }
        for index in len.div_ceil(SECTOR)..self.sectors.len() {
            self.put(index, None, stamps);
        }
        Rc::make_mut(&mut self.sectors).resize(len.div_ceil(SECTOR), None);
        self.len = len;
        self.lengths.push((stamps.next(), len));
    }

    fn put(&mut self, index: usize, content: Sector, stamps: &Stamps) {
        let old = &self.sectors[index];
        // What stands there already changes nothing, unless the system has to be told to write it.
        if *old == content && self.dirty.get(&index).is_none_or(|dirty| !dirty.dropped) {
            return;
        }
        let on_disk = old.clone();
        let fresh = || Dirty { on_disk, versions: Vec::new(), dropped: false };
        let dirty = self.dirty.entry(index).or_insert_with(fresh);
        dirty.versions.push((stamps.next(), content.clone()));
        dirty.dropped = false;
        Rc::make_mut(&mut self.sectors)[index] = content;
    }

    /// What was done up to `stamp` is on disk, as [`sync`](Self::sync) would have left it then.
    pub fn sync_through(&mut self, stamp: u64) {
        while let Some(&(at, len)) = self.lengths.first()
            && at <= stamp
        {
            self.disk_len = len;
            self.lengths.remove(0);
        }
        self.dirty.retain(|_, dirty| {
            let count = dirty.versions.iter().take_while(|(at, _)| *at <= stamp).count();
            if !dirty.dropped
                && let Some((_, content)) = dirty.versions.drain(..count).next_back()
            {
                dirty.on_disk = content;
            }
            !dirty.versions.is_empty()
        });
    }

    /// Everything is on disk, but for what an earlier sync has failed to write and the system has forgotten.
    pub fn sync(&mut self) {
        self.disk_len = self.len;
        self.lengths.clear();
        self.dirty.retain(|_, dirty| dirty.dropped);
    }

    /// Any of it may be on disk; and the system takes all for written.
    pub fn fail_sync(&mut self) {
        self.dirty.values_mut().for_each(|dirty| dirty.dropped = true);
    }

    /// The system reads from the disk again what it takes for clean.
    pub fn evict(&mut self, fate: Fate<'_>) {
        let dropped: Vec<_> = self.dirty.extract_if(.., |_, dirty| dirty.dropped).collect();
        let sectors = Rc::make_mut(&mut self.sectors);
        for (index, dirty) in dropped {
            if let Some(sector) = sectors.get_mut(index) {
                *sector = dirty.after_cut(fate);
            }
        }
    }

    /// The file after a power cut.
    pub fn after_cut(&self, fate: Fate<'_>) -> Self {
        let mut len = self.disk_len;
        for &(stamp, length) in &self.lengths {
            if fate(Unsynced { stamp, what: What::Length }) != Survival::Lost {
                len = length;
            }
        }
        let mut sectors = self.sectors.clone();
        for (&index, dirty) in &self.dirty {
            let content = dirty.after_cut(fate);
            if sectors.get(index) != Some(&content) {
                let sectors = Rc::make_mut(&mut sectors);
                sectors.resize(sectors.len().max(index + 1), None);
                sectors[index] = content;
            }
        }
        if sectors.len() != len.div_ceil(SECTOR) {
            Rc::make_mut(&mut sectors).resize(len.div_ceil(SECTOR), None);
        }
        if let Some(Some(last)) = sectors.get(len / SECTOR)
            && last[len % SECTOR..] != [0; SECTOR][len % SECTOR..]
        {
            // Behind a file's end there is nothing, whatever a sector held there.
            let mut content = **last;
            content[len % SECTOR..].fill(0);
            Rc::make_mut(&mut sectors)[len / SECTOR] = sector(content);
        }
        Self { len, sectors, disk_len: len, lengths: Vec::new(), dirty: BTreeMap::new() }
    }

    /// Everything that a power cut decides about.
    pub fn unsynced(&self) -> impl Iterator<Item = Unsynced> {
        let lengths = self.lengths.iter().map(|(stamp, _)| (*stamp, What::Length));
        let sectors = self.dirty.values().flat_map(|dirty| &dirty.versions);
        let sectors = sectors.map(|(stamp, _)| (*stamp, What::Sector));
        lengths.chain(sectors).map(|(stamp, what)| Unsynced { stamp, what })
    }
}
