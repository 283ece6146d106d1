//! Turns so large that they are synced beside the loop, one after the other: everybody else is served as ever.

use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};

use oicq::wire::Request;

use crate::live::{Client, PASSWORD, Server, heard, log_in, message, texts, wait_for};

/// Some of these at once are more than a batch that is waited for.
const LARGE: [u8; 8_000] = [b'x'; 8_000];

/// Users who send large messages to somebody who is offline, for as long as this lives.
struct Load {
    stop: Arc<AtomicBool>,
    senders: Vec<JoinHandle<()>>,
}

impl Load {
    fn begin(server: &Server) -> Self {
        let (stop, sink) = (Arc::new(AtomicBool::new(false)), server.offline_user("sink"));
        let sent = Arc::new(AtomicUsize::new(0));
        let sender = |index| {
            let mut client = server.user(&format!("sender {index}"));
            let messages =
                client.bytes(Request::Send { receiver: sink, content: &LARGE }).repeat(64);
            let (stop, sent) = (Arc::clone(&stop), Arc::clone(&sent));
            thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    client.send_bytes(&messages);
                    sent.fetch_add(1, Ordering::Relaxed);
                }
            })
        };
        let load = Self { senders: (0..4).map(sender).collect(), stop: Arc::clone(&stop) };
        // What the system holds on the way is filled: from here on all of them have something in each turn.
        wait_for("the load", || (sent.load(Ordering::Relaxed) >= 80).then_some(()));
        load
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for sender in self.senders.drain(..) {
            // A sender that failed is no news where the test fails.
            let _ = sender.join();
        }
    }
}

fn start() -> Server {
    let limits = ["--requests", "0,0", "--mailbox-messages", "1000000", "--mailbox-size", "4GiB"];
    Server::start(&[&limits[..], &["--black-box", "0"]].concat())
}

#[test]
fn what_waits_is_sent_to_a_client_that_never_pauses() {
    let server = start();
    let victim = server.offline_user("ann");
    let mut bob = server.user("bob");
    for _ in 0..40 {
        bob.send(Request::Send { receiver: victim, content: &LARGE });
    }
    assert_eq!(bob.pending(), []);
    let load = Load::begin(&server);
    // Its bytes are reported in each turn: it is never left alone.
    let mut ann = Client::connect(server.address());
    ann.own = victim;
    let log_in = ann.bytes(log_in(PASSWORD));
    ann.send_bytes(&log_in);
    let mut stream = ann.stream.try_clone().unwrap();
    let tests = ann.bytes(Request::Test).repeat(60_000);
    let flood = thread::spawn(move || stream.write_all(&tests));
    let mut mail = 0;
    while mail < 40 {
        let got = ann.get();
        mail += texts(std::slice::from_ref(&got)).len();
        assert!(
            got.packet_type != 0x16 || mail == 40,
            "{mail} have come before the rest is answered"
        );
    }
    drop(load);
    drop(ann);
    // It may have been told all that it has asked for, or not.
    let _ = flood.join().unwrap();
}

#[test]
fn messages_come_in_order_whatever_the_disk_is_doing() {
    let server = start();
    let _load = Load::begin(&server);
    let (ann, mut bob) = (server.user("ann"), server.user("bob"));
    let text = |index: usize| format!("{index} {}", "y".repeat(3_000));
    let sent = (0..400).map(|index| ann.bytes(message(bob.own, &text(index))));
    let sent = sent.collect::<Vec<_>>().concat();
    let mut stream = ann.stream.try_clone().unwrap();
    let sender = thread::spawn(move || stream.write_all(&sent).unwrap());
    for index in 0..400 {
        assert_eq!(heard(&bob.get()), (ann.own, text(index)));
    }
    sender.join().unwrap();
}
