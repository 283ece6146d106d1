//! What those fuzz targets of `tests/fuzz` do that try the tools, on the inputs in `data/fuzz` and on changed ones.
//!
//! `OICQ_SEED` runs the inputs of one seed, `OICQ_SEQUENCES` more of them.

#[path = "../../tests/chance/mod.rs"]
mod chance;
#[path = "../../tests/fuzz/bodies/client.rs"]
mod client;
#[path = "../../tests/kit/disk.rs"]
mod disk;
#[path = "../../tests/fuzz/bodies/forged.rs"]
mod forged;
#[path = "../../tests/fuzz/bodies/images.rs"]
mod images;
#[path = "../../tests/fuzz/inputs.rs"]
mod inputs;
#[path = "../../tests/fuzz/bodies/repair.rs"]
mod repair;

use inputs::try_all;

#[test]
fn client() {
    try_all("client", 1_500, client::run);
}

#[test]
fn repair() {
    try_all("repair", 200, repair::run);
}
