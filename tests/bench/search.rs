//! A search over a million users: how long it takes, and how long the longest of its slices holds up
//! everybody else.

mod crowd;

use std::time::{Duration, Instant};

use crowd::Crowd;
use oicq::codec::charset::Charset;
use oicq::id::ServiceNumber;
use oicq::limits::SEARCH_SLICE_STEPS;
use oicq::state::User;
use oicq::state::decide::search::{Query, Search};

const USERS: u32 = 1_000_000;
const ROUNDS: usize = 5;

const STATEMENTS: &[&str] = &[
    "SELECT * FROM users WHERE number = 500000",
    "SELECT * FROM users WHERE age > 65 ORDER BY nickname DESC LIMIT 10",
    "SELECT * FROM users WHERE nickname LIKE '%nobody%' OR city LIKE '%海'",
    "SELECT * FROM users WHERE description LIKE '%l%i%k%e%s%o%l%d%m%a%c%h%i%n%e%s%x' ORDER BY city, age",
];

#[allow(clippy::disallowed_methods, reason = "a benchmark measures time")]
fn now() -> Instant {
    Instant::now()
}

#[allow(clippy::disallowed_methods, reason = "a benchmark measures time")]
fn since(start: Instant) -> Duration {
    start.elapsed()
}

/// The time of the whole search, and of each slice.
fn run(crowd: &Crowd, statement: &str) -> (Duration, Vec<Duration>) {
    let query =
        Query::parse(statement.as_bytes(), Charset::Utf8).expect("the statements are right");
    let mut search = Search::new(query);
    let last = ServiceNumber(ServiceNumber::FIRST.0 + USERS - 1);
    let profile = |number| crowd.state.user(number).map(User::profile);
    let (start, mut slices) = (now(), Vec::new());
    loop {
        let slice = now();
        let complete = search.advance(last, profile, |_| false, SEARCH_SLICE_STEPS);
        slices.push(since(slice));
        if complete {
            return (since(start), slices);
        }
    }
}

fn main() {
    // What `cargo test --benches` and `cargo bench -- --list` ask for is not to be measured.
    if std::env::args().any(|argument| argument == "--test" || argument == "--list") {
        return;
    }
    let crowd = Crowd::new(USERS, 0);
    println!("{:>10} {:>8} {:>12} {:>12}  statement", "total", "slices", "slice p99", "slice max");
    for statement in STATEMENTS {
        let mut rounds: Vec<_> = (0..ROUNDS).map(|_| run(&crowd, statement)).collect();
        rounds.sort_by_key(|(total, _)| *total);
        let (total, _) = rounds[ROUNDS / 2];
        let mut slices: Vec<_> = rounds.into_iter().flat_map(|(_, slices)| slices).collect();
        slices.sort();
        let (p99, max) = (slices[slices.len() * 99 / 100], slices[slices.len() - 1]);
        let count = slices.len() / ROUNDS;
        println!("{total:>10.1?} {count:>8} {p99:>12.1?} {max:>12.1?}  {statement}");
    }
}
