//! What can be saved of a log of which anything is damaged, or forged: the walk that `verify` and `repair` report and
//! write from.
//!
//! It comes to an end, and what is saved agrees with itself, keeps to the limits, and is made again by the records that
//! are written. What is told of it is lines of text.

#![allow(missing_docs, unreachable_pub, reason = "a part of tests, and of a fuzz target")]

use oicq::state::sense;
use oicq_tools::untrusted::save;

use crate::chance::Chance;
use crate::disk::MemDisk;
use crate::forged::forge;
use crate::images::{IMAGES, damage};

pub fn run(data: &[u8]) {
    let mut chance = Chance::by_bytes(data);
    IMAGES.with(|images| {
        let image = &images[chance.below(images.len())];
        let is_forged = chance.one_in(3);
        let mut files =
            if is_forged { forge(&images[1], &mut chance) } else { image.files.clone() };
        let whole = files.clone();
        while !chance.is_spent() && !files.is_empty() {
            damage(&mut files, &whole, &mut chance);
        }
        let disk = MemDisk::with_files(&files);
        let saved = save(&disk).unwrap_or_else(|error| panic!("{error}"));
        assert!(disk.files() == files, "nothing is written there");
        let Some(saved) = saved else { return };
        for state in [&saved.state, &saved.written] {
            assert_eq!(state.find_contradiction(), None);
            assert_eq!(sense::check_state(state), Ok(()));
            assert_eq!(state.last_seq(), saved.last);
        }
        assert!(saved.state.digest() == saved.written.digest(), "it is written otherwise");
        let is_text = |text: &str| !text.chars().any(|c| c.is_control() && c != '\n');
        assert!(is_text(&saved.report), "{:?}", saved.report);
        for line in saved.report_json.lines() {
            assert!(line.starts_with('{') && line.ends_with('}') && is_text(line), "{line}");
        }
        if files == image.files {
            assert!(saved.report.is_empty(), "{}", saved.report);
        }
    });
}
