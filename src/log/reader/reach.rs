//! How far a log reaches, found without reading all of it.
//!
//! Owns the look at the last file alone. It judges nothing: whether what comes before is whole, and how
//! the log ends, only a reading from the beginning tells.

use super::{ReadError, Reader, Step, Storage};
use crate::id::Seq;

impl<S: Storage> Reader<'_, S> {
    /// The last sequence number of the log as it is now, for whoever reads it from the beginning beside a
    /// server that writes on. Of the last file, what follows its first damage does not count.
    ///
    /// # Errors
    /// As [`next_batch`](Self::next_batch).
    pub fn reach(&self) -> Result<Seq, ReadError> {
        let Some(last) = self.segments.last() else { return Ok(Seq::ZERO) };
        let before = Seq(last.first.0.saturating_sub(1));
        let mut reader = Self::over(self.storage, vec![last.clone()], Vec::new());
        reader.mark.seq = before;
        // What it is chained to stands in the file before it.
        reader.adopt = true;
        let mut reach = before;
        while let Step::Batch(batch) = reader.next_batch()? {
            reach = batch.base.unwrap_or_else(|| batch.header.last());
        }
        Ok(reach)
    }
}
