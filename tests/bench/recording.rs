//! What recording the input costs: messages that a real server accepts and delivers in a second with the black box and
//! without, between 50 pairs of users of whom each has one message under way.
//!
//! Two servers are measured by turns, so that a moment in which the machine is busy meets both.
//! `OICQ_ROUNDS` says how often.

#![allow(clippy::disallowed_methods, reason = "a benchmark reads the clock")]

mod crowd;
mod load;
mod server;

use load::{Load, allow_sockets, median};
use server::start;

const PAIRS: u32 = 50;

fn measure(durability: &str, is_extended: bool, rounds: usize) {
    let options = |size| ["--durability", durability, "--black-box", size];
    let folders = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let (_recorded, recorded) = start(folders[0].path(), &options("64MiB"));
    let (_plain, plain) = start(folders[1].path(), &options("0"));
    let mut recorded = Load::new(&recorded, PAIRS, 0, is_extended);
    let mut plain = Load::new(&plain, PAIRS, 0, is_extended);
    let (mut of_recorded, mut of_plain, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rounds {
        let pair = (recorded.round(), plain.round());
        of_recorded.push(pair.0);
        of_plain.push(pair.1);
        ratios.push(pair.0 / pair.1);
    }
    let clients = if is_extended { "results and ids" } else { "base" };
    println!(
        "durability {durability:>6}, {clients:>15}: {:>8.0} messages/s recorded, {:>8.0} not; \
         ratio {:.3}, from {:.3} to {:.3}",
        median(of_recorded),
        median(of_plain),
        median(ratios.clone()),
        ratios.iter().copied().fold(f64::INFINITY, f64::min),
        ratios.iter().copied().fold(0.0, f64::max),
    );
}

fn main() {
    // What `cargo test --benches` and `cargo bench -- --list` ask for is not to be measured.
    if std::env::args().any(|argument| argument == "--test" || argument == "--list") {
        return;
    }
    allow_sockets();
    let rounds = std::env::var("OICQ_ROUNDS").map_or(7, |rounds| rounds.parse().unwrap());
    println!("{PAIRS} pairs, medians of {rounds} rounds");
    for durability in ["never", "always"] {
        for is_extended in [false, true] {
            measure(durability, is_extended, rounds);
        }
    }
}
