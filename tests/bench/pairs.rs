//! Messages that a real server accepts and delivers in a second, between pairs of users of whom each has one
//! message under way: with base clients, and with such that have results and message ids.
//!
//! The disk counts: nothing is answered before it is synced. `OICQ_PAIRS` chooses one number of pairs,
//! `OICQ_ROUNDS` how often each is measured.

#![allow(clippy::disallowed_methods, reason = "a benchmark reads the clock")]

mod crowd;
mod load;
mod server;

use load::{Load, allow_sockets, median};
use server::start;

const PAIRS: [u32; 4] = [1, 10, 100, 1_000];

fn measure(pairs: u32, rounds: usize) {
    let folder = tempfile::tempdir().unwrap();
    let (_server, address) = start(folder.path(), &[]);
    let mut base = Load::new(&address, pairs, 0, false);
    let mut extended = Load::new(&address, pairs, 2 * pairs, true);
    let (mut of_base, mut of_extended) = (Vec::new(), Vec::new());
    // By turns, so that a moment in which the machine is busy meets both.
    for _ in 0..rounds {
        of_base.push(base.round());
        of_extended.push(extended.round());
    }
    println!(
        "{pairs:>5} pairs: {:>8.0} messages/s base, {:>8.0} with results and ids \
         (base {of_base:.0?}, with {of_extended:.0?})",
        median(of_base.clone()),
        median(of_extended.clone()),
    );
}

fn main() {
    // What `cargo test --benches` and `cargo bench -- --list` ask for is not to be measured.
    if std::env::args().any(|argument| argument == "--test" || argument == "--list") {
        return;
    }
    allow_sockets();
    let rounds = std::env::var("OICQ_ROUNDS").map_or(5, |rounds| rounds.parse().unwrap());
    let chosen: Option<u32> = std::env::var("OICQ_PAIRS").ok().map(|pairs| pairs.parse().unwrap());
    println!("medians of {rounds} rounds, durability always");
    for pairs in PAIRS.into_iter().filter(|pairs| chosen.is_none_or(|chosen| chosen == *pairs)) {
        measure(pairs, rounds);
    }
}
