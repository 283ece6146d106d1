//! The black box: the latest input of a running server, kept so that what happened can be made to happen
//! again, step by step.
//!
//! ```text
//! the loop ─► Recorder ─► files ─► Recording ─► Replay ─► the same engine, on the state that the log gives
//! ```
//!
//! Owns the recording's bytes (`FORMAT.md`), the files that they stand in, and the comparison of what was
//! sent then with what is sent now. A recording is never synced, never waited for, and never believed beyond
//! its checksums. It holds no password.

mod entry;
mod format;
mod history;
mod reader;
mod recorder;
mod replay;
mod ring;
mod surroundings;
mod writer;

pub use crate::log::BLACK_BOX as FOLDER;
pub use entry::{Answer, Entry};
pub use format::{Header, is_box_name, name as file_name};
pub use history::{History, HistoryError, LogHistory, Logged};
pub use reader::{Beginning, BoxFile, Entries, Recording, Unreadable};
pub use recorder::{Options, Recorder, Texts};
pub use replay::{
    Actual, Difference, Ended, Observer, Replay, ReplayError, Skipped, Step, Unasked, What, at_step,
};
pub use writer::Writer;
