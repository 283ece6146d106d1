//! The OICQ server as a library: what the server, its tools and its tests share.

// Tests may fail by panicking; what serves clients and reads logs may not.
#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::panic, clippy::cast_possible_truncation))]

pub mod black_box;
pub mod cli;
pub mod codec;
pub mod compaction;
pub mod engine;
pub mod id;
pub mod limits;
pub mod log;
pub mod net;
pub mod state;
pub mod wire;
