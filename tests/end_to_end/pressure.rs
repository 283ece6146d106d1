//! Slow readers, held-back senders and busy endings: where timeouts, limits and flow meet, nobody is
//! closed who does what it can, and no message falls between two connections.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use oicq::id::ServiceNumber;
use oicq::wire::server::ServerPacket;
use oicq::wire::{Code, Request};
use rustix::process::Signal;

use crate::files::held_back;
use crate::live::{Client, PASSWORD, Server, log_in, message, register, texts};

const ANN: ServiceNumber = ServiceNumber(10_001);

fn narrow_user(server: &Server, nickname: &str) -> Client {
    let mut client = Client::connect_narrow(server.address());
    let number = client.register(nickname, PASSWORD);
    client.log_in(number);
    client
}

/// Two friends, and a file of this many bytes that the second has allowed.
fn under_way(server: &Server, bytes: u32) -> (Client, Client) {
    let (mut ann, mut bob) = (narrow_user(server, "ann"), narrow_user(server, "bob"));
    ann.befriend(&mut bob);
    ann.quietly(Request::OfferFile { friend: bob.own, name: b"big", length: bytes });
    assert_eq!(bob.get().packet_type, 0x13);
    bob.quietly(Request::AnswerFile { friend: ann.own, allow: 1 });
    assert_eq!(ann.get().packet_type, 0x14);
    (ann, bob)
}

/// Sends pieces from a thread until they are all taken; whether they were.
fn send_pieces(ann: &Client, bob: ServiceNumber, count: usize) -> thread::JoinHandle<bool> {
    let piece = ann.bytes(Request::FilePiece { friend: bob, data: &[7; 32_768] });
    let mut stream = ann.stream.try_clone().unwrap();
    thread::spawn(move || (0..count).all(|_| stream.write_all(&piece).is_ok()))
}

fn receive_pieces(bob: &mut Client, count: usize) {
    for index in 0..count {
        let got = bob.get();
        let ServerPacket::FilePiece { data, .. } = got.packet() else { panic!("{index}: {got:?}") };
        assert_eq!(data.len(), 32_768);
    }
}

#[test]
fn who_is_held_back_is_not_idle() {
    let server = Server::start(&["--idle-timeout", "1500ms", "--slow-timeout", "1min"]);
    let (ann, mut bob) = under_way(&server, 24 << 20);
    let sender = send_pieces(&ann, bob.own, 768);
    let test = bob.bytes(Request::Test);
    for _ in 0..35 {
        thread::sleep(Duration::from_millis(100));
        bob.send_bytes(&test);
    }
    assert!(!sender.is_finished(), "the file waits for its receiver");
    let mut pieces = 0;
    while pieces < 768 {
        match bob.get().packet() {
            ServerPacket::FilePiece { .. } => {
                pieces += 1;
                if pieces % 64 == 0 {
                    bob.send_bytes(&test);
                }
            }
            ServerPacket::Tested { .. } => {}
            other => panic!("{other:?}"),
        }
    }
    assert!(sender.join().unwrap());
}

#[test]
fn who_reads_slowly_but_steadily_is_not_closed() {
    let server = Server::start(&["--slow-timeout", "2s"]);
    let (ann, mut bob) = under_way(&server, 24 << 20);
    let sender = send_pieces(&ann, bob.own, 768);
    let mut bytes = Vec::new();
    for _ in 0..120 {
        let mut chunk = [0; 10_000];
        bob.stream.read_exact(&mut chunk).unwrap();
        bytes.extend_from_slice(&chunk);
        thread::sleep(Duration::from_millis(50));
    }
    bob.put_back(&bytes);
    receive_pieces(&mut bob, 768);
    assert!(sender.join().unwrap());
}

/// An offer of a file, and its end.
fn offer_and_end(from: &Client, to: ServiceNumber) -> Vec<u8> {
    let offer = from.bytes(Request::OfferFile { friend: to, name: &[b'x'; 255], length: 1 });
    [offer, from.bytes(Request::AnswerFile { friend: to, allow: 0 })].concat()
}

/// Offers files and takes each offer back, from a thread that counts what the system has taken.
fn offer_and_cancel(
    from: &Client,
    to: ServiceNumber,
    count: usize,
    taken: &Arc<AtomicUsize>,
) -> JoinHandle<bool> {
    let pair = offer_and_end(from, to);
    let (mut stream, taken) = (from.stream.try_clone().unwrap(), Arc::clone(taken));
    thread::spawn(move || {
        (0..count).all(|_| {
            taken.fetch_add(1, Ordering::SeqCst);
            stream.write_all(&pair).is_ok()
        })
    })
}

/// As many as one session may make at once, each with its end.
const OFFERS: usize = 4_900;

#[test]
fn offers_wait_for_who_reads_whoever_makes_them() {
    let server = Server::start(&[]);
    let mut ann = narrow_user(&server, "ann");
    let mut others: Vec<_> =
        (0..12).map(|index| narrow_user(&server, &format!("other {index}"))).collect();
    for other in &mut others {
        other.befriend(&mut ann);
    }
    let taken = Arc::default();
    let senders: Vec<_> =
        others.iter().map(|other| offer_and_cancel(other, ann.own, OFFERS, &taken)).collect();
    // Far more than may wait for a connection, had the server taken all of it.
    assert!(held_back(&taken) < 12 * OFFERS);
    let mut offered = BTreeMap::<_, usize>::new();
    for _ in 0..24 * OFFERS {
        let got = ann.get();
        match got.packet() {
            ServerPacket::FileOffered { sender, .. } => *offered.entry(sender).or_default() += 1,
            ServerPacket::FileAnswered { receiver, allow: false } => {
                *offered.entry(receiver).or_default() += 1;
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(offered.into_values().eq([2 * OFFERS; 12]));
    assert!(senders.into_iter().all(|sender| sender.join().unwrap()));
    assert_eq!(ann.pending(), []);
}

#[test]
fn who_offers_to_somebody_who_reads_nothing_waits_as_long_as_that_one_may() {
    let server = Server::start(&["--slow-timeout", "4s", "--requests", "0"]);
    let (mut ann, mut bob) = (narrow_user(&server, "ann"), narrow_user(&server, "bob"));
    ann.befriend(&mut bob);
    // He goes on until the first of them is refused. All of them are more than the system takes before.
    let is_refused = Arc::new(AtomicBool::new(false));
    let pair = offer_and_end(&bob, ann.own);
    let (mut stream, stop) = (bob.stream.try_clone().unwrap(), Arc::clone(&is_refused));
    let test = bob.bytes(Request::Test);
    let sender = thread::spawn(move || {
        let mut most = 0..80_000;
        while !stop.load(Ordering::SeqCst) && most.next().is_some() {
            stream.write_all(&pair).unwrap();
        }
        stream.write_all(&test).unwrap();
        most.len()
    });
    // Ann is closed, and what is offered to her then is refused.
    let mut got = bob.get();
    while let Some((_, code, _)) = got.notice() {
        assert!([Code::NotOnline, Code::NoTransfer].contains(&code), "{got:?}");
        is_refused.fetch_or(code == Code::NotOnline, Ordering::SeqCst);
        got = bob.get();
    }
    assert!(matches!(got.packet(), ServerPacket::Tested { .. }), "{got:?}");
    assert!(is_refused.load(Ordering::SeqCst));
    assert!(sender.join().unwrap() > 0, "everything was taken before the first was refused");
}

#[test]
fn pieces_of_files_do_not_count_as_requests() {
    let server = Server::start(&["--requests", "1,20"]);
    let (ann, mut bob) = under_way(&server, 32_768 * 200);
    let sender = send_pieces(&ann, bob.own, 200);
    receive_pieces(&mut bob, 200);
    assert!(sender.join().unwrap());
}

#[test]
fn no_message_is_lost_between_two_connections_of_one_user() {
    let server = Server::start(&[]);
    let mut ann = narrow_user(&server, "ann");
    let mut bob = server.user("bob");
    let expected: Vec<_> = (0..120).map(|index| format!("{index} {}", "x".repeat(8_000))).collect();
    for text in &expected {
        bob.tell(ANN, text);
    }
    let (_, second) = server.back(ANN);
    let (first, _) = ann.rest_or_reset();
    let (mut all, second) = (texts(&first), texts(&second));
    // What the first has got whole, and the second again, counts once.
    all.retain(|text| !second.contains(text));
    all.extend(second);
    assert!(all == expected, "{} of {} messages, in order", all.len(), expected.len());
}

#[test]
fn failures_count_for_the_address_whatever_the_number() {
    let server = Server::start(&["--login-failures", "2"]);
    let [ann, bob, eve] = ["ann", "bob", "eve"].map(|nickname| server.offline_user(nickname));
    server.connect().are_not_let_in(&[
        (ann, "wrong!", Code::BadLogin),
        (bob, "wrong!", Code::BadLogin),
        (eve, "wrong!", Code::Throttled),
    ]);
}

#[test]
fn a_stop_in_the_middle_of_files_logins_and_searches_is_orderly() {
    let server = Server::start(&["--password-cost", "4096,3"]);
    let (ann, mut bob) = under_way(&server, 1 << 30);
    let sender = send_pieces(&ann, bob.own, 1 << 15);
    bob.get();
    let mut logins: Vec<_> = (0..6)
        .map(|_| {
            let mut client = server.connect();
            client.own = ServiceNumber(77);
            client.send(register("more", PASSWORD, 0));
            client.send(log_in(PASSWORD));
            client
        })
        .collect();
    let mut kim = server.connect();
    assert_eq!(kim.pending(), []);
    server.signal(Signal::TERM);
    let last = |client: &mut Client| {
        let (all, _) = client.rest_or_reset();
        all.last().and_then(|got| got.notice()).map(|(_, code, _)| code)
    };
    for client in &mut logins {
        assert_eq!(last(client), Some(Code::Shutdown));
    }
    assert_eq!(last(&mut bob), Some(Code::Shutdown));
    drop(ann);
    sender.join().unwrap();
    let ended = server.wait();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
}

#[test]
fn a_crowd_that_comes_and_goes_leaves_nothing_behind() {
    let server = Server::start(&["--connections", "0"]);
    let mut ann = server.user("ann");
    let open = || std::fs::read_dir(format!("/proc/{}/fd", server.pid())).unwrap().count();
    let before = open();
    for round in 0..10 {
        let mut crowd: Vec<_> = (0..40).map(|_| server.connect()).collect();
        for client in &mut crowd {
            client.send_bytes(&client.bytes(Request::Test)[..=round % 12]);
        }
        for (index, client) in crowd.into_iter().enumerate() {
            if index % 2 == 0 {
                client.reset();
            }
        }
        ann.tell(ANN, "still");
        ann.get();
    }
    crate::live::wait_for("all connections are closed", || (open() <= before).then_some(()));
}

#[test]
fn a_full_mailbox_on_a_connection_that_takes_nothing() {
    let server = Server::start(&["--mailbox-size", "600KiB"]);
    let ann = narrow_user(&server, "ann");
    let mut bob = server.user("bob");
    let text = "x".repeat(8_000);
    let mut sent = 0;
    // What the kernels hold is delivered; beyond it the messages wait, and then there is no more room.
    let code = loop {
        let all = bob.ask(message(ANN, &format!("{sent} {text}")));
        match all.first().and_then(|got| got.notice()) {
            Some((_, code, _)) => break code,
            None => sent += 1,
        }
        assert!(sent < 5_000, "the mailbox is bounded");
    };
    assert_eq!(code, Code::MailboxFull);
    let mut ann = ann;
    let mut got = texts(&ann.pending());
    while got.len() < sent {
        got.extend(texts(&[ann.get()]));
    }
    assert!((0..sent).all(|index| got[index].starts_with(&format!("{index} "))));
    bob.tell(ANN, "there is room again");
}
