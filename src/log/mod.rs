//! The log: an append-only sequence of records in segment files.
//!
//! Owns the files, their bytes, syncing, and the judgement of what is found after a crash. A record
//! is a kind and bytes; what they mean is never known here. `FORMAT.md` has every byte and the
//! table of recovery.

mod adoption;
mod ahead;
pub mod backup;
mod base;
mod beside;
mod disk;
mod error;
pub mod format;
mod map;
mod prepare;
mod progress;
mod reader;
mod recovery;
mod step;
mod storage;
mod window;
mod writer;

/// What a server keeps beside its log, in a folder of this name. The log's own tools leave it alone.
pub const BLACK_BOX: &str = "black-box";

pub use adoption::AdoptError;
pub use base::{
    BaseSize, BaseWriter, Origin, collect, continue_behind, discard, publish, read_draft,
};
pub use disk::{DiskFile, DiskStorage};
pub use error::{AppendError, Cause, Damage, Doing, Failed, OpenError, ReadError, What};
pub use progress::Progress;
pub use reader::{Bookmark, Identity, Reader, Segment};
pub use recovery::{Found, Rebuild, Recovery, Row, TABLE, TOOLS};
pub use step::{Batch, End, Record, Resumed, Step, Torn, locate};
pub use storage::{Access, Lock, Storage, StoredFile};
pub use writer::{Durability, Log, Options};
