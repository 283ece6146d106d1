//! How long a server takes to start on a large log, before and after the log was compacted.
//!
//! `OICQ_USERS` and `OICQ_MESSAGES` choose another size.

#![allow(clippy::disallowed_methods, reason = "a benchmark reads the clock")]

mod crowd;
mod large;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use large::{Size, compact, write};

const ROUNDS: usize = 3;

/// From the call to the line that says that it listens; the server is killed then.
fn start(folder: &Path) -> Duration {
    let begun = Instant::now();
    let mut child = Command::new(env!("CARGO_BIN_EXE_oicqd"))
        .args(["--listen", "127.0.0.1:0", "--data"])
        .arg(folder)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let took = begun.elapsed();
    assert!(line.starts_with("listening on "), "{line}");
    child.kill().unwrap();
    child.wait().unwrap();
    took
}

fn report(what: &str, folder: &Path) {
    let mut times: Vec<_> = (0..ROUNDS).map(|_| start(folder)).collect();
    times.sort_unstable();
    println!("{what:<24} starts in {:.2?} (median of {ROUNDS}: {times:.2?})", times[ROUNDS / 2]);
}

fn main() {
    // What `cargo test --benches` and `cargo bench -- --list` ask for is not to be measured.
    if std::env::args().any(|argument| argument == "--test" || argument == "--list") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let size = Size::asked(1_000_000, 20, 10_000_000);
    let (events, bytes) = write(folder.path(), size, 64 << 20);
    println!("{size:?}: {events} events, {bytes} bytes");
    report("the whole log", folder.path());
    let begun = Instant::now();
    let (events, before, after) = compact(folder.path());
    let took = begun.elapsed();
    println!("compacted {events} events, {before} bytes into {after} bytes in {took:.2?}");
    report("the compacted log", folder.path());
}
