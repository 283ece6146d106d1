//! The bytes of a recording's file as they grow: what it begins with, then entries, a chunk at a time.
//!
//! Owns the order of entries and the chain of checksums. It writes to no file: whoever asks for a chunk does that.

use super::entry::{self, Answer};
use super::format::{CHUNK_HEADER_LEN, HEADER_LEN, Header, chained, seal};
use crate::codec::{Reader, Short};
use crate::engine::{Foretold, Input, Output, Settings};
use crate::id::{MonoMillis, Now, UnixMillis};

/// A chunk of so many bytes is ended before its turn is: it is checked and written while it is still in the processor's
/// nearest memory, and takes no more of that.
const CHUNK_WRITTEN: usize = 1 << 14;

/// Writes a file. [`Writer::begin`], then entries, with [`Writer::chunk`] at the end of each turn.
#[derive(Default)]
pub struct Writer {
    now: Now,
    checksum: u32,
    /// The entries of the chunk that is open, behind room for its header.
    chunk: Vec<u8>,
}

impl Writer {
    /// Begins a file, and appends what stands at its front. `save` appends what the engine
    /// [saves](crate::engine::Engine::save): there is no more than one copy of that, which many sessions make large.
    pub fn begin(
        mut header: Header,
        settings: &Settings,
        save: impl FnOnce(&mut Vec<u8>),
        out: &mut Vec<u8>,
    ) -> Self {
        let start = out.len();
        out.extend_from_slice(&[0; HEADER_LEN]);
        settings.write(out);
        let saved_from = out.len();
        save(out);
        let beginning = &out[start + HEADER_LEN..];
        header.kept_len = u32::try_from(beginning.len()).unwrap_or(u32::MAX);
        let checksum = chained(header.seed(), &[beginning]);
        let now = kept_at(&out[saved_from..]).unwrap_or_default();
        out[start..start + HEADER_LEN].copy_from_slice(&header.encode());
        out.extend_from_slice(&checksum.to_be_bytes());
        Self { now, checksum, chunk: vec![0; CHUNK_HEADER_LEN] }
    }

    /// An input: a step.
    pub fn input(&mut self, input: &Input<'_>) {
        entry::write_input(input, &mut self.now, &mut self.chunk);
    }

    /// What the engine was answered while it handled the input.
    pub fn answer(&mut self, answer: Answer) {
        entry::write_answer(answer, &mut self.chunk);
    }

    /// What the search that the input asks for comes to.
    pub fn foretold(&mut self, foretold: &Foretold) {
        entry::write_foretold(foretold, &mut self.chunk);
    }

    /// What the input has led to.
    pub fn output(&mut self, output: Output) {
        entry::write_output(output, &mut self.chunk);
    }

    /// Whether the open chunk has grown so large that it must be ended.
    #[must_use]
    pub const fn is_full(&self) -> bool {
        self.chunk.len() > CHUNK_WRITTEN
    }

    /// Ends the open chunk and hands its bytes out, unless there is nothing in it.
    pub fn chunk<T>(&mut self, write: impl FnOnce(&[u8]) -> T) -> Option<T> {
        if self.chunk.len() <= CHUNK_HEADER_LEN {
            return None;
        }
        self.checksum = seal(&mut self.chunk, self.checksum);
        let written = write(&self.chunk);
        self.chunk.truncate(CHUNK_HEADER_LEN);
        Some(written)
    }
}

/// The time at which an engine has saved these bytes.
pub(super) fn kept_at(kept: &[u8]) -> Result<Now, Short> {
    let mut reader = Reader::new(kept);
    let (mono, wall) = (MonoMillis(reader.u64()?), UnixMillis(reader.u64()?));
    Ok(Now { wall, mono })
}
