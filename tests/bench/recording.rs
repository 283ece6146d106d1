//! What recording the input costs: messages that a real server accepts and delivers in a second with the black box and
//! without, between 50 pairs of users of whom each has one message under way.
//!
//! Two servers are measured by turns, so that a moment in which the machine is busy meets both. How long a server has
//! kept its processor busy says it best: it hardly depends on what else runs.
//! `OICQ_ROUNDS` says how often.

#![allow(clippy::disallowed_methods, reason = "a benchmark reads the clock")]

mod crowd;
mod load;
mod server;

use std::path::Path;

use load::{Load, allow_sockets, median};
use server::{Server, start};

const PAIRS: u32 = 50;

/// A server under load, and what a message has cost it in each round.
struct Measured {
    server: Server,
    load: Load,
    rates: Vec<f64>,
    busy_ns: Vec<f64>,
}

impl Measured {
    fn new(folder: &Path, options: &[&str], is_extended: bool) -> Self {
        let (server, address) = start(folder, options);
        let load = Load::new(&address, PAIRS, 0, is_extended);
        Self { server, load, rates: Vec::new(), busy_ns: Vec::new() }
    }

    fn round(&mut self) -> (f64, f64) {
        let (busy, arrived) = (self.server.busy_ns(), self.load.arrived());
        let rate = self.load.round();
        let busy = (self.server.busy_ns() - busy) as f64;
        let busy_ns = busy / (self.load.arrived() - arrived) as f64;
        self.rates.push(rate);
        self.busy_ns.push(busy_ns);
        (rate, busy_ns)
    }
}

fn measure(durability: &str, is_extended: bool, rounds: usize) {
    let options = |size| ["--durability", durability, "--black-box", size];
    let folders = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let mut recorded = Measured::new(folders[0].path(), &options("64MiB"), is_extended);
    let mut plain = Measured::new(folders[1].path(), &options("0"), is_extended);
    let (mut rates, mut busy) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        let (with, without) = (recorded.round(), plain.round());
        rates.push(with.0 / without.0);
        busy.push(with.1 / without.1);
    }
    let clients = if is_extended { "results and ids" } else { "base" };
    println!(
        "durability {durability:>6}, {clients:>15}: {:>7.0} messages/s recorded, {:>7.0} not, ratio {}; \
         busy {:>6.0} ns a message recorded, {:>6.0} not, ratio {}",
        median(recorded.rates),
        median(plain.rates),
        spread(rates),
        median(recorded.busy_ns),
        median(plain.busy_ns),
        spread(busy),
    );
}

fn spread(ratios: Vec<f64>) -> String {
    let least = ratios.iter().copied().fold(f64::INFINITY, f64::min);
    let most = ratios.iter().copied().fold(0.0, f64::max);
    format!("{:.3} ({least:.3} to {most:.3})", median(ratios))
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
