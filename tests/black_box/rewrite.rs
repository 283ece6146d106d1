//! A recording written anew, with something in it changed.

#![allow(missing_docs, unreachable_pub, reason = "a part of one test")]

use std::fs;

use oicq::black_box::Answer;
use oicq::black_box::{BoxFile, Entry, Header, Writer};
use oicq::engine::{HeldInput, Output};

/// An entry that owns its bytes.
#[derive(Debug)]
pub enum Owned {
    Input(HeldInput),
    Answer(Answer),
    Output(Output),
}

/// Writes a file anew after `change` has had its entries, with valid checksums.
pub fn rewrite(file: &BoxFile, change: impl FnOnce(&mut Vec<Owned>)) {
    let (beginning, mut entries) = file.read().unwrap().unwrap();
    let mut all = Vec::new();
    while let Some(entry) = entries.next().unwrap() {
        all.push(match entry {
            Entry::Input(input) => {
                let mut held = HeldInput::default();
                held.hold(&input);
                Owned::Input(held)
            }
            Entry::Answer(answer) => Owned::Answer(answer),
            Entry::Output(output) => Owned::Output(output),
            Entry::Foretold(foretold) => panic!("{foretold:?} in what a server has recorded"),
        });
    }
    change(&mut all);
    let Header { log_id, run, first_step, seq, is_blanked, .. } = file.header;
    let header = Header::new(log_id, run, first_step, seq, is_blanked);
    let mut bytes = Vec::new();
    let save = |out: &mut Vec<u8>| out.extend_from_slice(&beginning.kept);
    let mut writer = Writer::begin(header, &beginning.settings, save, &mut bytes);
    for entry in &all {
        match entry {
            Owned::Input(held) => writer.input(&held.get()),
            Owned::Answer(answer) => writer.answer(*answer),
            Owned::Output(output) => writer.output(*output),
        }
        if writer.is_full() {
            writer.chunk(|chunk| bytes.extend_from_slice(chunk));
        }
    }
    writer.chunk(|chunk| bytes.extend_from_slice(chunk));
    fs::write(&file.path, bytes).unwrap();
}

/// The number of the step that the entry at this index belongs to.
pub fn step_of(file: &BoxFile, all: &[Owned], index: usize) -> u64 {
    let inputs = all[..=index].iter().filter(|entry| matches!(entry, Owned::Input(_))).count();
    file.header.first_step + inputs as u64 - 1
}
