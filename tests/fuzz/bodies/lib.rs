//! What the fuzz targets do. Ordinary tests do the same on known inputs: `tests/fuzz_bodies.rs` and, for what the
//! tools do, `tools/tests/fuzz_bodies.rs`.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a target that fails panics")]

pub mod black_box;
pub mod client;
#[path = "../../chance/mod.rs"]
mod chance;
#[path = "../../kit/disk.rs"]
mod disk;
pub mod engine;
mod forged;
pub mod frame;
mod images;
#[path = "../../kit/mod.rs"]
mod kit;
pub mod log;
#[path = "../../black_box/recorded.rs"]
mod recorded;
pub mod repair;
#[path = "../../black_box/seal.rs"]
mod seal;
pub mod search;
