//! How far the reading of a log is, in bytes of all that there are.
//!
//! Owns the counting. It knows no clock and prints nothing: whoever wants to show it is told after each
//! batch.

use std::io::ErrorKind;

use super::error::{Doing, Failed};
use super::reader::Segment;
use super::step::Batch;
use super::storage::{Access, Storage, StoredFile};

/// How far the reading of a log is.
///
/// The zeros behind the last batch of a file count as read when the next file begins; those of the last
/// file never do.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Progress {
    /// Bytes of the files that lie behind; never more than `bytes_all`.
    pub bytes: u64,
    /// Bytes of all files, as they were when the reading began.
    pub bytes_all: u64,
    /// Records read so far, those of a base too.
    pub events: u64,
    /// How many files there are.
    pub files: usize,
}

/// Counts batches as they are read.
pub(super) struct Counter {
    /// Where each file begins if all stood one behind the other.
    starts: Vec<u64>,
    pub(super) progress: Progress,
}

impl Counter {
    /// Looks how large the files are.
    pub(super) fn begin<S: Storage>(storage: &S, segments: &[Segment]) -> Result<Self, Failed> {
        let (mut starts, mut bytes_all) = (Vec::with_capacity(segments.len()), 0_u64);
        for segment in segments {
            starts.push(bytes_all);
            let failed = |doing| Failed::at(storage, &segment.name, doing);
            bytes_all += match storage.open(&segment.name, Access::Read) {
                Ok(file) => file.size().map_err(failed(Doing::Read))?,
                // The reader is the one to say what it means that a file is gone.
                Err(error) if error.kind() == ErrorKind::NotFound => 0,
                Err(error) => return Err(failed(Doing::Open)(error)),
            };
        }
        let progress = Progress { bytes_all, files: segments.len(), ..Progress::default() };
        Ok(Self { starts, progress })
    }

    /// Takes in that this batch has been read.
    pub(super) fn count(&mut self, batch: &Batch<'_>) {
        let progress = &mut self.progress;
        progress.events += u64::from(batch.header.count);
        let start = self.starts.get(batch.segment).copied().unwrap_or(progress.bytes_all);
        let end = start + batch.offset + batch.header.total();
        progress.bytes = end.min(progress.bytes_all).max(progress.bytes);
    }
}
