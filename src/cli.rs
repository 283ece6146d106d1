//! Command lines: what both programs share, and what the server is called with.

pub mod core_dumps;
pub mod options;
pub mod page;
mod parts;
pub mod progress;
pub mod settings;
mod table;
pub mod values;
