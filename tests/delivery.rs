//! Delivery under everything that can go wrong: random sequences of clients with and without message ids,
//! whose connections are lost or half dead, and of servers that are stopped, or killed at any point of a
//! turn. Every accepted message arrives, once by its id where it has one; the order between two users is
//! kept; nobody gets what was not sent to them.
//!
//! `OICQ_SEED` runs the sequence of one seed, `OICQ_SEQUENCES` more of them:
//! `OICQ_SEQUENCES=10000 cargo test --release --test delivery`.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that fails panics")]

mod chance;
mod kit;

#[path = "delivery/client.rs"]
mod client;
#[path = "delivery/server.rs"]
mod server;
#[path = "delivery/story.rs"]
mod story;

use story::Story;

#[test]
fn every_accepted_message_arrives() {
    for seed in chance::seeds(200) {
        // Shown when the test fails.
        println!("OICQ_SEED={seed}");
        let mut story = Story::new(seed);
        if let Err(why) = story.play() {
            panic!("OICQ_SEED={seed}\n{story}\nThen:\n  {why}");
        }
    }
}
