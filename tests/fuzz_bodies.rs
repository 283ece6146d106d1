//! What the fuzz targets of `tests/fuzz` do, on the inputs in `data/fuzz` and on changed ones: a target that no longer
//! compiles, or that finds something at once, fails here.
//!
//! `OICQ_SEED` runs the inputs of one seed, `OICQ_SEQUENCES` more of them.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that fails panics")]

#[path = "fuzz/bodies/black_box.rs"]
mod black_box;
mod chance;
#[path = "kit/disk.rs"]
mod disk;
#[path = "fuzz/bodies/engine.rs"]
mod engine;
#[path = "fuzz/bodies/forged.rs"]
mod forged;
#[path = "fuzz/bodies/frame.rs"]
mod frame;
#[path = "fuzz/bodies/images.rs"]
mod images;
#[path = "fuzz/inputs.rs"]
mod inputs;
mod kit;
#[path = "fuzz/bodies/log.rs"]
mod log;
#[path = "black_box/recorded.rs"]
mod recorded;
#[path = "black_box/seal.rs"]
mod seal;
#[path = "fuzz/bodies/search.rs"]
mod search;

use inputs::try_all;

#[test]
fn frame() {
    try_all("frame", 4_000, frame::run);
}

#[test]
fn engine() {
    try_all("engine", 400, engine::run);
}

#[test]
fn search() {
    try_all("search", 4_000, search::run);
}

#[test]
fn log() {
    try_all("log", 600, log::run);
}

#[test]
fn black_box() {
    try_all("black_box", 400, black_box::run);
}
