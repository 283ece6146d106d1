//! A segment file as a slice of memory, for reading alone.
//!
//! Owns the log's one unsafe call. It never writes through the map and never looks at what it maps.

#![allow(unsafe_code)]

use std::fs::File;
use std::io;

use memmap2::Mmap;

/// Maps the whole of a file as long as it is now.
///
/// Whoever calls it keeps two promises, which the log's writer alone can keep and does: the file is
/// never cut while the map lives (the folder is locked, and segments keep their size), and only
/// bytes that are not written to any more are looked at through it.
pub(super) fn map(file: &File) -> io::Result<Mmap> {
    // SAFETY: the bytes behind a `&[u8]` must not change while it lives. The map is made of a
    // segment in a folder that this process holds the lock of. Segments are append-only: a slice is
    // only ever taken of a record in a batch that is already written, and no write goes to such
    // bytes again. A segment is never cut once its batches can be read, so every page of the map
    // stays backed.
    unsafe { Mmap::map(file) }
}
