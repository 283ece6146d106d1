//! Files: they flow as fast as the receiver reads, hold back the sender alone, and end with a word.

use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use oicq::id::ServiceNumber;
use oicq::wire::{Code, Request, ServerPacket};

use crate::kit::Got;
use crate::live::{Client, PASSWORD, Server, heard, message};

const PIECE_BYTES: usize = 32 * 1024;
/// What the server may need more while a file waits, in KiB: its buffers, and room for the allocator.
const GROWTH_KIB_MAX: usize = 6 * 1024;

/// Bytes in which no two pieces are the same.
fn content(bytes: usize) -> Vec<u8> {
    let mut chance = 88_172_645_463_325_252_u64;
    let mut all = Vec::with_capacity(bytes + 8);
    while all.len() < bytes {
        chance ^= chance << 13;
        chance ^= chance >> 7;
        chance ^= chance << 17;
        all.extend(chance.to_le_bytes());
    }
    all.truncate(bytes);
    all
}

fn offer(from: &mut Client, to: &mut Client, length: usize) {
    let length = u32::try_from(length).unwrap();
    from.quietly(Request::OfferFile { friend: to.own, name: b"a.bin", length });
    let offered = ServerPacket::FileOffered { sender: from.own, name: b"a.bin", length };
    assert_eq!(to.get().packet(), offered);
    to.quietly(Request::AnswerFile { friend: from.own, allow: 1 });
    let allowed = ServerPacket::FileAnswered { receiver: to.own, allow: true };
    assert_eq!(from.get().packet(), allowed);
}

/// A user whose sockets hold little.
fn narrow_user(server: &Server, nickname: &str) -> Client {
    let mut client = Client::connect_narrow(server.address());
    let number = client.register(nickname, PASSWORD);
    client.log_in(number);
    client
}

fn pair(server: &Server) -> (Client, Client) {
    let (mut ann, mut bob) = (narrow_user(server, "ann"), narrow_user(server, "bob"));
    ann.befriend(&mut bob);
    (ann, bob)
}

/// Sends a file from a thread, and counts what the system has taken of it.
fn send_file(
    from: &Client,
    to: ServiceNumber,
    file: &[u8],
) -> (JoinHandle<bool>, Arc<AtomicUsize>) {
    let mut stream = from.stream.try_clone().unwrap();
    let pieces: Vec<_> = file
        .chunks(PIECE_BYTES)
        .map(|data| from.bytes(Request::FilePiece { friend: to, data }))
        .collect();
    let taken = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&taken);
    let sender = thread::spawn(move || {
        pieces.iter().all(|piece| {
            counter.fetch_add(PIECE_BYTES, Ordering::SeqCst);
            stream.write_all(piece).is_ok()
        })
    });
    (sender, taken)
}

/// Waits until the sender gets no further.
pub(crate) fn held_back(taken: &AtomicUsize) -> usize {
    let (mut last, mut still) = (0, 0);
    while still < 10 {
        thread::sleep(Duration::from_millis(30));
        let now = taken.load(Ordering::SeqCst);
        still = if now == last && now > 0 { still + 1 } else { 0 };
        last = now;
    }
    last
}

fn receive(client: &mut Client, from: ServiceNumber, length: usize) -> Vec<u8> {
    let mut file = Vec::new();
    while file.len() < length {
        match client.get().packet() {
            ServerPacket::FilePiece { sender, data } if sender == from => {
                file.extend_from_slice(data);
            }
            other => panic!("{other:?}"),
        }
    }
    file
}

fn resident_kib(server: &Server) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn a_receiver_who_does_not_read_holds_back_the_sender_and_nobody_else() {
    let server = Server::start(&[]);
    let (mut ann, mut bob) = pair(&server);
    let (mut kim, mut max) = (server.user("kim"), server.user("max"));
    let file = content(24 << 20);
    offer(&mut ann, &mut bob, file.len());
    let before = resident_kib(&server);
    let (sender, taken) = send_file(&ann, bob.own, &file);
    let stopped = held_back(&taken);
    assert!(stopped < file.len(), "the sender is held back");
    for index in 0..200 {
        kim.tell(max.own, &index.to_string());
        assert_eq!(heard(&max.get()).1, index.to_string());
    }
    let growth = resident_kib(&server).saturating_sub(before);
    assert!(growth < GROWTH_KIB_MAX, "the server's memory has grown by {growth} KiB");
    assert!(receive(&mut bob, ann.own, file.len()) == file, "byte by byte the same");
    assert!(sender.join().unwrap());
    let growth = resident_kib(&server).saturating_sub(before);
    assert!(growth < GROWTH_KIB_MAX, "the server's memory has grown by {growth} KiB");
    assert_eq!((ann.pending(), bob.pending()), (vec![], vec![]));
    let piece = Request::FilePiece { friend: bob.own, data: b"more" };
    assert_eq!(ann.refused(piece), (Code::NoTransfer, 0));
}

#[test]
fn five_megabytes_flow_both_ways_at_once_past_a_slow_reader() {
    let server = Server::start(&[]);
    let (mut ann, mut bob) = pair(&server);
    let file = content(5 << 20);
    offer(&mut ann, &mut bob, file.len());
    offer(&mut bob, &mut ann, file.len());
    let (out, _) = send_file(&ann, bob.own, &file);
    let (back, _) = send_file(&bob, ann.own, &file);
    let (from, to, length) = (bob.own, ann.own, file.len());
    let reader = thread::spawn(move || receive(&mut ann, from, length));
    let mut got = Vec::new();
    while got.len() < length {
        // Slower than the sender, now and then.
        if got.len() % (1 << 20) == 0 {
            thread::sleep(Duration::from_millis(20));
        }
        let piece = bob.get();
        let ServerPacket::FilePiece { data, .. } = piece.packet() else { panic!("{piece:?}") };
        got.extend_from_slice(data);
    }
    assert!(got == file && reader.join().unwrap() == file, "byte by byte the same");
    assert!(out.join().unwrap() && back.join().unwrap());
    assert_ne!(to, from);
}

fn no_transfer(got: &Got) -> bool {
    matches!(got.notice(), Some((0, Code::NoTransfer, _)))
}

#[test]
fn a_receiver_who_dies_in_the_middle_ends_the_transfer() {
    let server = Server::start(&[]);
    let (mut ann, mut bob) = pair(&server);
    let file = content(24 << 20);
    offer(&mut ann, &mut bob, file.len());
    let (sender, taken) = send_file(&ann, bob.own, &file);
    held_back(&taken);
    bob.get();
    bob.reset();
    let first = ann.get();
    assert!(no_transfer(&first), "{first:?}");
    // Pieces that were on their way are refused, each for itself, and nothing is held back any more.
    assert!(sender.join().unwrap());
    let all = ann.pending();
    assert!(all.iter().all(|got| matches!(got.notice(), Some((0x15, Code::NoTransfer, _)))));
}

#[test]
fn a_sender_who_leaves_ends_the_transfer() {
    let server = Server::start(&[]);
    let (mut ann, mut bob) = pair(&server);
    offer(&mut ann, &mut bob, 1_000);
    ann.quietly(Request::FilePiece { friend: bob.own, data: &[1; 999] });
    ann.log_out();
    assert_eq!(receive(&mut bob, ServiceNumber(10_001), 999), [1; 999]);
    assert!(no_transfer(&bob.get()));
}

#[test]
fn rejections_ends_and_pieces_too_long() {
    let server = Server::start(&[]);
    let (mut ann, mut bob) = pair(&server);
    let to_bob = bob.own;
    ann.quietly(Request::OfferFile { friend: to_bob, name: b"x", length: 1 });
    let again = Request::OfferFile { friend: to_bob, name: b"y", length: 1 };
    assert_eq!(ann.refused(again), (Code::Limit, 0), "one at a time");
    bob.get();
    bob.quietly(Request::AnswerFile { friend: ann.own, allow: 0 });
    assert_eq!(ann.get().packet(), ServerPacket::FileAnswered { receiver: to_bob, allow: false });
    assert_eq!(ann.pending(), []);

    offer(&mut ann, &mut bob, 3);
    assert_eq!(
        ann.refused(Request::FilePiece { friend: to_bob, data: b"four" }),
        (Code::NoTransfer, 0)
    );
    assert!(no_transfer(&bob.get()), "the piece too long is not passed on");

    offer(&mut ann, &mut bob, 3);
    ann.quietly(Request::AnswerFile { friend: to_bob, allow: 0 });
    let ended = ServerPacket::FileAnswered { receiver: ann.own, allow: false };
    assert_eq!(bob.get().packet(), ended, "the sender may end it too");
    for name in [&b""[..], b"a/b", b"a\\b", b".", b"..", b"a\nb"] {
        let offer = Request::OfferFile { friend: to_bob, name, length: 1 };
        assert_eq!(ann.refused(offer), (Code::BadValue, 0), "{name:?}");
    }
    bob.log_out();
    let offer = Request::OfferFile { friend: to_bob, name: b"x", length: 1 };
    assert_eq!(ann.refused(offer), (Code::NotOnline, 0));
    let mut kim = server.user("kim");
    let offer = Request::OfferFile { friend: ann.own, name: b"x", length: 1 };
    assert_eq!(kim.refused(offer), (Code::UnknownFriend, 0));
    ann.quietly(message(to_bob, "later"));
}

#[test]
fn empty_files_and_empty_pieces() {
    let server = Server::start(&[]);
    let (mut ann, mut bob) = pair(&server);
    offer(&mut ann, &mut bob, 0);
    let piece = Request::FilePiece { friend: bob.own, data: b"" };
    assert_eq!(ann.refused(piece), (Code::NoTransfer, 0), "it was complete at once");
    offer(&mut ann, &mut bob, 2);
    for data in [&b""[..], b"a", b"", b"b"] {
        ann.quietly(Request::FilePiece { friend: bob.own, data });
        assert_eq!(bob.get().packet(), ServerPacket::FilePiece { sender: ann.own, data });
    }
    assert_eq!(ann.refused(piece), (Code::NoTransfer, 0));
}

#[test]
fn a_held_back_sender_still_reaches_the_end_of_its_connection() {
    let server = Server::start(&[]);
    let (mut ann, mut bob) = pair(&server);
    let file = content(8 << 20);
    offer(&mut ann, &mut bob, file.len());
    let (sender, taken) = send_file(&ann, bob.own, &file);
    held_back(&taken);
    let from = ann.own;
    let mut stream = ann.stream.try_clone().unwrap();
    let behind = ann.bytes(message(bob.own, "that was it"));
    let finish = thread::spawn(move || {
        assert!(sender.join().unwrap());
        stream.write_all(&behind).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
    });
    assert!(receive(&mut bob, from, file.len()) == file);
    finish.join().unwrap();
    assert_eq!(heard(&bob.get()).1, "that was it");
    assert_eq!(ann.rest(), []);
}
