//! The folder that a repaired log is written to.
//!
//! Owns the decision whether a folder may be written to, and goes on with a log that an earlier run has begun
//! there: what is there is compared record by record, and nothing is opened for writing before all of it has
//! been found to be what would be written. The bytes are written by the server's own log.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::fs;
use std::path::{Path, PathBuf};

use oicq::compaction::kept_size;
use oicq::id::{MonoMillis, Seq, UnixMillis};
use oicq::log::format::{parse_base_name, parse_segment_name};
use oicq::log::{
    self, Access, AppendError, BLACK_BOX, BaseWriter, DiskStorage, Durability, End, Failed,
    Identity, Lock, Log, Options, Origin, Reader, Step, Storage, StoredFile, Torn,
};
use oicq::state::{Digest, EventKind, State, kept_digest};

use crate::failure::Failure;
use crate::salvage::{Base, Bytes, Sink, Text};

/// Held by whoever writes to the folder.
const LOCK: &str = "LOCK";
/// Held by whoever compacts it.
const COMPACT: &str = "COMPACT";
/// Files that were being made: worth nothing.
const DRAFTS: [&str; 2] = ["next.tmp", "base.tmp"];
/// So many batches are written between two syncs: the writer's clock counts batches.
const BATCHES_PER_SYNC: u64 = 1_000;
/// Zeros written at once.
const ZEROS: [u8; 4_096] = [0; 4_096];

/// A folder that may hold the log, as far as its names tell.
pub(super) struct Target {
    folder: PathBuf,
}

impl Target {
    /// Looks at a folder, which need not exist, and changes nothing.
    ///
    /// # Errors
    /// If it is the damaged log's own, or holds anything else than a log, or a server uses it.
    pub(super) fn find(source: &Path, folder: &Path) -> Result<Self, Failure> {
        let shown = folder.display();
        let resolve = |path: &Path| {
            resolved(path).map_err(|error| {
                Failure::Failed(format!("cannot find {}: {error}", path.display()))
            })
        };
        if resolve(folder)?.starts_with(resolve(source)?) {
            let source = source.display();
            return Err(Failure::Failed(format!(
                "{shown} is in {source}, which is not touched; name another folder"
            )));
        }
        let target = Self { folder: folder.to_path_buf() };
        if !folder.exists() {
            return Ok(target);
        }
        let cannot = |error| Failure::cannot("read", &shown, &error);
        let mut is_locked = false;
        for entry in fs::read_dir(folder).map_err(cannot)? {
            let name = entry.map_err(cannot)?.file_name();
            let own = name.to_str().is_some_and(|name| {
                [LOCK, COMPACT, BLACK_BOX].contains(&name)
                    || DRAFTS.contains(&name)
                    || parse_segment_name(name).is_some()
                    || parse_base_name(name).is_some()
            });
            if !own {
                return Err(target.refused(&format!("it holds {}", Path::new(&name).display())));
            }
            is_locked |= name == LOCK;
        }
        if is_locked {
            target.lock()?;
        }
        Ok(target)
    }

    /// Keeps servers out of a folder that has a lock.
    fn lock(&self) -> Result<DiskStorage, Failure> {
        let mut storage = DiskStorage::read_only(&self.folder);
        match storage.lock(Lock::Server) {
            Ok(()) => Ok(storage),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                let folder = self.folder.display();
                Err(Failure::Failed(format!("{folder}: a server, or another repair, uses it")))
            }
            Err(error) => {
                Err(Failure::Failed(format!("cannot lock {}: {error}", self.folder.display())))
            }
        }
    }

    fn refused(&self, why: &str) -> Failure {
        let folder = self.folder.display();
        Failure::Failed(format!(
            "{folder}: {why}, and is left as it is; name a folder that is empty or does not exist"
        ))
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The folder, for reading.
    pub(super) fn storage(&self) -> DiskStorage {
        DiskStorage::read_only(&self.folder)
    }
}

/// The path without links, of which the end need not exist.
fn resolved(path: &Path) -> std::io::Result<PathBuf> {
    match path.canonicalize() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let absolute = std::path::absolute(path)?;
            match (absolute.parent(), absolute.file_name()) {
                (Some(parent), Some(name)) => Ok(resolved(parent)?.join(name)),
                _ => Err(error),
            }
        }
        resolved => resolved,
    }
}

/// Takes what is saved, and sees to it that the folder holds it.
pub(super) struct Writer<'s> {
    target: &'s Target,
    options: Options,
    identity: Identity,
    /// The last number that the folder holds, but for the batch that is kept back.
    last: Seq,
    stage: Stage<'s>,
    /// The batch to be written next. When the last one is written, all before it is on disk, and shown to be:
    /// without that, damage to it would look like a torn end.
    kept_back: Option<(UnixMillis, Vec<Owned>)>,
    clock: MonoMillis,
}

/// A record that is kept for a while.
type Owned = (EventKind, Vec<u8>);

enum Stage<'s> {
    /// What is there is what would be written, so far.
    Comparing(Box<Comparison<'s>>),
    Writing(Box<Log<DiskStorage>>),
}

struct Comparison<'s> {
    /// `None` where there is nothing, or nothing more.
    reader: Option<Reader<'s, DiskStorage>>,
    /// Records of one batch that have been read and not compared.
    records: VecDeque<(UnixMillis, u8, Vec<u8>)>,
}

/// What became of the folder.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Outcome {
    Written,
    /// All of it was there already.
    Complete,
}

impl<'s> Writer<'s> {
    /// Begins with what is there; `storage` is that of the same folder.
    pub(super) fn new(
        target: &'s Target,
        storage: &'s DiskStorage,
        identity: Identity,
    ) -> Result<Self, Failure> {
        let options = Options {
            segment_size: identity.segment_size,
            durability: Durability::Interval(BATCHES_PER_SYNC),
            charset: identity.charset,
        };
        let mut reader = None;
        if target.folder.exists() {
            let mut there = Reader::open(storage).map_err(|error| unusable(target, &error))?;
            let charset = there.charset().map_err(|error| unusable(target, &error))?;
            let header = there.segments().first().and_then(|segment| segment.header.as_ref());
            let own = header.is_none_or(|header| header.log_id == identity.log_id);
            if !own || charset.is_some_and(|charset| charset != identity.charset) {
                return Err(target.refused("it holds another log"));
            }
            reader = Some(there).filter(|there| !there.segments().is_empty());
        }
        let stage = Stage::Comparing(Box::new(Comparison { reader, records: VecDeque::new() }));
        let (last, kept_back, clock) = (Seq::ZERO, None, MonoMillis(0));
        Ok(Self { target, options, identity, last, stage, kept_back, clock })
    }

    /// Answers whether the next record is there; `false` where the log there ends in front of it.
    fn compare(&mut self, time: UnixMillis, (kind, payload): &Bytes<'_>) -> Result<bool, Failure> {
        let Stage::Comparing(comparison) = &mut self.stage else { return Ok(false) };
        match comparison.next(self.target)? {
            None => Ok(false),
            Some((of, its_kind, its_payload)) => {
                if (of, its_kind, &*its_payload) == (time, *kind as u8, payload) {
                    self.last = self.last.next();
                    return Ok(true);
                }
                let seq = self.last.next();
                Err(self.target.refused(&format!(
                    "from sequence number {seq} on it holds something else than would be written"
                )))
            }
        }
    }

    /// Writes from here on.
    fn writing(&mut self) -> Result<&mut Log<DiskStorage>, Failure> {
        if let Stage::Comparing(comparison) = &mut self.stage {
            let torn = comparison.torn(self.target)?;
            let log = begin(self.target, self.options, &self.identity, torn, self.last)?;
            self.stage = Stage::Writing(Box::new(log));
        }
        match &mut self.stage {
            Stage::Writing(log) => Ok(log),
            Stage::Comparing(_) => Err(self.target.refused("it is being read")),
        }
    }

    /// Makes sure that the log ends here, and that all of it is on disk.
    pub(super) fn finish(mut self) -> Result<Outcome, Failure> {
        if let Stage::Comparing(comparison) = &mut self.stage {
            if comparison.next(self.target)?.is_some() {
                let last = self.last;
                return Err(self.target.refused(&format!(
                    "it holds the repaired log, and goes on behind sequence number {last}"
                )));
            }
            if comparison.torn(self.target)?.is_none() && comparison.reader.is_some() {
                return self.sync();
            }
        }
        self.writing()?;
        self.commit(BATCHES_PER_SYNC)?;
        self.write_kept_back()?;
        let Stage::Writing(log) = self.stage else { return Ok(Outcome::Complete) };
        log.close().map_err(|failed| Failure::Failed(failed.to_string()))?;
        Ok(Outcome::Written)
    }

    /// An earlier run may have been stopped before all that it wrote was on disk.
    fn sync(self) -> Result<Outcome, Failure> {
        let storage = self.target.storage();
        let synced = storage.list().and_then(|names| {
            for name in names.iter().filter(|name| parse_segment_name(name).is_some()) {
                storage.open(name, Access::Read)?.sync_data()?;
            }
            storage.sync_folder()
        });
        let folder = self.target.folder.display();
        synced.map_err(|error| Failure::Failed(format!("cannot sync {folder}: {error}")))?;
        Ok(Outcome::Complete)
    }

    fn write_kept_back(&mut self) -> Result<(), Failure> {
        let Some((time, records)) = self.kept_back.take() else { return Ok(()) };
        let folder = self.target.folder.display().to_string();
        let unwritten = |error| unwritten(&folder, &error);
        let log = self.writing()?;
        let bytes = records.iter().map(|(_, payload)| payload.len()).sum();
        log.make_room(records.len(), bytes).map_err(unwritten)?;
        for (kind, payload) in &records {
            log.append(time, *kind as u8, payload).map_err(unwritten)?;
        }
        self.commit(1)?;
        self.last = Seq(self.last.0 + records.len() as u64);
        Ok(())
    }

    /// Seals a batch, if one is open, and syncs where so many more make enough.
    fn commit(&mut self, batches: u64) -> Result<(), Failure> {
        let folder = self.target.folder.display().to_string();
        self.clock = self.clock.plus(batches);
        let clock = self.clock;
        let committed = self.writing()?.commit(clock);
        committed.map(|_| ()).map_err(|failed| unwritten(&folder, &failed.into()))
    }
}

impl Sink for Writer<'_> {
    fn take(&mut self, time: UnixMillis, records: &[Bytes<'_>]) -> Result<(), Failure> {
        let mut there = 0;
        while there < records.len() && self.compare(time, &records[there])? {
            there += 1;
        }
        let missing = &records[there..];
        if missing.is_empty() {
            return Ok(());
        }
        self.writing()?;
        self.write_kept_back()?;
        let missing = missing.iter().map(|(kind, payload)| (*kind, payload.to_vec()));
        self.kept_back = Some((time, missing.collect()));
        Ok(())
    }

    fn take_base(
        &mut self,
        base: &Base,
        state: &State,
        text: &mut Text<'_>,
    ) -> Result<(), Failure> {
        let Stage::Comparing(comparison) = &mut self.stage else {
            return Err(self.target.refused("it has no room in front for a base"));
        };
        let (origin, digest) = (&base.origin, state.digest());
        self.last = origin.seq;
        if comparison.reader.is_some() {
            comparison.base(self.target, origin, digest)?;
            if !comparison.is_base_alone() {
                return Ok(());
            }
        } else {
            write_base(self.target, origin, state, text)?;
        }
        comparison.reader = None;
        let storage = self.target.lock()?;
        let made = log::continue_behind(&storage, origin, self.options);
        made.map_err(|failed| unwritten(&self.target.folder.display().to_string(), &failed.into()))
    }
}

/// Writes a base of this state, and gives it its name.
fn write_base(
    target: &Target,
    origin: &Origin,
    state: &State,
    text: &mut Text<'_>,
) -> Result<(), Failure> {
    let folder = target.folder.display().to_string();
    let cannot = |error| Failure::cannot("make", &folder, &error);
    drop(DiskStorage::create(&target.folder).map_err(cannot)?);
    let storage = target.lock()?;
    let unwritten = |failed: Failed| unwritten(&folder, &failed.into());
    let digest = state.digest();
    let size = kept_size(state, digest);
    let mut writer = BaseWriter::begin(&storage, origin, size).map_err(unwritten)?;
    state.keep(digest, text, |kind, payload| writer.append(kind, payload).map_err(unwritten))?;
    writer.finish().map_err(unwritten)?;
    log::publish(&storage, origin).map_err(unwritten)
}

impl Comparison<'_> {
    /// The next record that is there.
    fn next(&mut self, target: &Target) -> Result<Option<(UnixMillis, u8, Vec<u8>)>, Failure> {
        let Some(reader) = &mut self.reader else { return Ok(None) };
        if self.records.is_empty()
            && let Step::Batch(batch) =
                reader.next_batch().map_err(|error| unusable(target, &error))?
        {
            if batch.base.is_some() {
                return Err(target.refused("it holds a base where there is none"));
            }
            let records = batch.records();
            self.records
                .extend(records.map(|record| (record.time, record.kind, record.payload.to_vec())));
        }
        Ok(self.records.pop_front())
    }

    /// Reads the base that is there; it must be of the same state.
    fn base(&mut self, target: &Target, origin: &Origin, digest: Digest) -> Result<(), Failure> {
        let other = || target.refused("it holds something else than would be written");
        let Some(reader) = &mut self.reader else { return Ok(()) };
        loop {
            let told = match reader.next_batch().map_err(|error| unusable(target, &error))? {
                Step::Batch(batch) if batch.base == Some(origin.seq) => {
                    let last = batch.records().last();
                    last.and_then(|record| kept_digest(record.kind, record.payload))
                }
                Step::Batch(_) | Step::End(_) => return Err(other()),
            };
            if reader.has_read_base() {
                return if told == Some(digest) { Ok(()) } else { Err(other()) };
            }
        }
    }

    /// Whether an earlier run was stopped before there was a segment behind the base.
    fn is_base_alone(&self) -> bool {
        self.reader.as_ref().is_some_and(|reader| reader.segments().len() == 1)
    }

    /// What an earlier run was writing when it was stopped; the log there has been read to its end.
    fn torn(&mut self, target: &Target) -> Result<Option<Torn>, Failure> {
        let Some(reader) = &mut self.reader else { return Ok(None) };
        match reader.next_batch().map_err(|error| unusable(target, &error))? {
            Step::End(End::Torn(torn)) => Ok(Some(torn)),
            Step::End(End::Damaged(damage)) => {
                Err(target.refused(&format!("it holds a log that is damaged itself ({damage})")))
            }
            Step::End(End::Whole) | Step::Batch(_) => Ok(None),
        }
    }
}

fn unusable(target: &Target, error: &oicq::log::ReadError) -> Failure {
    target.refused(&format!("it cannot be gone on with ({error})"))
}

fn unwritten(folder: &str, error: &AppendError) -> Failure {
    Failure::Failed(match error {
        AppendError::Full => format!(
            "{folder}: there is no room on the disk; make room, and run the same again: it goes on \
             where it stopped"
        ),
        error => format!("{folder}: {error}"),
    })
}

/// Opens the folder's log behind `last`, or begins it. What an earlier run has left torn is its own, and is
/// wiped out.
fn begin(
    target: &Target,
    options: Options,
    identity: &Identity,
    torn: Option<Torn>,
    last: Seq,
) -> Result<Log<DiskStorage>, Failure> {
    let cannot = |doing: &str, error: &dyn std::fmt::Display| {
        Failure::Failed(format!("cannot {doing} {}: {error}", target.folder.display()))
    };
    let storage = DiskStorage::create(&target.folder).map_err(|error| cannot("make", &error))?;
    if let Some(torn) = torn {
        let locked = target.lock()?;
        wipe(&locked, &torn).map_err(|error| cannot("write to", &error))?;
    }
    let (log_id, created) = (identity.log_id, identity.created);
    let opened = Log::open(storage, options, log_id, created, |_| Ok::<_, Infallible>(()));
    let (log, recovery) = opened.map_err(|error| Failure::Failed(error.to_string()))?;
    if recovery.last_seq != last {
        return Err(target.refused("it is being written to"));
    }
    Ok(log)
}

fn wipe(storage: &DiskStorage, torn: &Torn) -> std::io::Result<()> {
    let name = torn.file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let mut file = storage.open(name, Access::Write)?;
    let end = torn.offset + torn.bytes;
    for at in (torn.offset..end).step_by(ZEROS.len()) {
        let len = ZEROS.len().min(usize::try_from(end - at).unwrap_or(ZEROS.len()));
        file.write_at(&ZEROS[..len], at)?;
    }
    file.sync_data()
}
