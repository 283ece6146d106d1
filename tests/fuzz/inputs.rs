//! Inputs for the fuzz targets, without a fuzzer: those of `data/fuzz`, and changed ones.

#![allow(missing_docs, unreachable_pub, reason = "a part of tests")]

use std::fs;
use std::path::{Path, PathBuf};

use crate::chance::{Chance, seeds};

/// Inputs that nothing was changed of begin with so many bytes.
const FRESH_BYTES: usize = 300;

/// Runs a target on its inputs, and on so many changed ones. Which input that fails is told.
pub fn try_all(target: &str, changed: u64, run: fn(&[u8])) {
    let known = known(target);
    assert!(!known.is_empty(), "there are inputs in data/fuzz/{target}");
    for (path, bytes) in &known {
        // Shown when the test fails.
        println!("{}", path.display());
        run(bytes);
    }
    for seed in seeds(changed) {
        println!("OICQ_SEED={seed}");
        run(&input(&known, &mut Chance::new(seed)));
    }
}

/// The inputs in `data/fuzz`, in the order of their names.
fn known(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = root.ancestors().map(|folder| folder.join("data/fuzz")).find(|it| it.is_dir());
    let folder = folder.expect("data/fuzz is there").join(target);
    let entries = fs::read_dir(&folder).unwrap_or_else(|it| panic!("{}: {it}", folder.display()));
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.into_iter().map(|path| (path.clone(), fs::read(path).unwrap())).collect()
}

/// One that is known with changes, the end of another behind it, or one of chance alone.
fn input(known: &[(PathBuf, Vec<u8>)], chance: &mut Chance) -> Vec<u8> {
    let mut bytes = chance.pick(known).1;
    match chance.below(8) {
        0 => return (0..chance.below(FRESH_BYTES)).map(|_| chance.byte()).collect(),
        1 => {
            let other = chance.pick(known).1;
            bytes.truncate(chance.below(bytes.len() + 1));
            bytes.extend_from_slice(&other[chance.below(other.len() + 1)..]);
        }
        _ => {}
    }
    for _ in 0..=chance.below(6) {
        let at = chance.below(bytes.len() + 1);
        match (chance.below(6), bytes.get_mut(at)) {
            (0 | 1, Some(byte)) => *byte = chance.byte(),
            (2, Some(byte)) => *byte ^= 1 << chance.below(8),
            (3, Some(_)) => drop(bytes.remove(at)),
            (4, _) => bytes.truncate(at),
            _ => bytes.insert(at, chance.byte()),
        }
    }
    bytes
}
