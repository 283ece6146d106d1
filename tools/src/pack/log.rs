//! The log in a packed file: a state as of one sequence number, and events behind it.
//!
//! Owns how it is put together in a folder that nobody else uses. The bytes are written by the server's own log.

use std::convert::Infallible;
use std::path::Path;

use oicq::id::{MonoMillis, Seq, UnixMillis};
use oicq::log::format::SegmentHeader;
use oicq::log::{
    self, AppendError, BaseSize, BaseWriter, DiskStorage, Durability, Failed, Log, Options, Origin,
};

use crate::failure::Failure;

/// Bytes of a file: what is left of the last one is zeros, of which next to nothing is left when they are packed.
const SEGMENT_BYTES: u64 = 1 << 20;
/// Bytes of events in one batch, about.
const BATCH_BYTES: usize = 64 << 10;

/// A log that is being written.
pub(super) struct PackedLog {
    log: Log<DiskStorage>,
    last: Seq,
    /// Bytes in the open batch.
    open_bytes: usize,
}

impl PackedLog {
    /// Begins with the records of a state as of `seq`; with nothing where that is zero.
    pub(super) fn begin(
        folder: &Path,
        header: &SegmentHeader,
        seq: Seq,
        time: UnixMillis,
        records: &[(u8, Vec<u8>)],
    ) -> Result<Self, Failure> {
        let SegmentHeader { charset, log_id, created, .. } = *header;
        let (segment_size, durability) = (SEGMENT_BYTES, Durability::Never);
        let options = Options { segment_size, durability, charset };
        if seq > Seq::ZERO {
            let storage = create(folder)?;
            let origin = Origin { charset, log_id, generation: 1, seq, time, chain: 0 };
            write_base(&storage, &origin, records).map_err(unwritten)?;
            log::continue_behind(&storage, &origin, options).map_err(unwritten)?;
        }
        let nothing = |_: &log::Record<'_>| Ok::<_, Infallible>(());
        let opened = Log::open(create(folder)?, options, log_id, created, nothing);
        let (log, recovery) = opened.map_err(|error| Failure::Failed(error.to_string()))?;
        debug_assert_eq!(recovery.last_seq, seq);
        Ok(Self { log, last: seq, open_bytes: 0 })
    }

    /// Adds an event.
    pub(super) fn append(
        &mut self,
        time: UnixMillis,
        kind: u8,
        payload: &[u8],
    ) -> Result<Seq, Failure> {
        let appended = self.log.append(time, kind, payload);
        let (seq, _) = appended.map_err(not_appended)?;
        self.last = seq;
        self.open_bytes += payload.len();
        if self.open_bytes >= BATCH_BYTES {
            self.commit()?;
        }
        Ok(seq)
    }

    /// Closes it; the last sequence number.
    pub(super) fn finish(mut self) -> Result<Seq, Failure> {
        self.commit()?;
        self.log.close().map_err(unwritten)?;
        Ok(self.last)
    }

    fn commit(&mut self) -> Result<(), Failure> {
        self.open_bytes = 0;
        self.log.commit(MonoMillis(0)).map(drop).map_err(unwritten)
    }
}

fn create(folder: &Path) -> Result<DiskStorage, Failure> {
    let cannot = |error| Failure::cannot("write to", folder.display(), &error);
    DiskStorage::create(folder).map_err(cannot)
}

fn write_base(
    storage: &DiskStorage,
    origin: &Origin,
    records: &[(u8, Vec<u8>)],
) -> Result<(), Failed> {
    let mut size = BaseSize::default();
    records.iter().for_each(|(_, payload)| size.add(payload.len()));
    let mut writer = BaseWriter::begin(storage, origin, size.total())?;
    records.iter().try_for_each(|(kind, payload)| writer.append(*kind, payload))?;
    writer.finish()?;
    log::publish(storage, origin)
}

fn unwritten(failed: Failed) -> Failure {
    not_appended(failed.into())
}

fn not_appended(error: AppendError) -> Failure {
    Failure::Failed(match error {
        AppendError::Full => "there is no room for the temporary folder".to_owned(),
        error => error.to_string(),
    })
}
