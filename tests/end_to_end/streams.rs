//! Streams: packets in any fragmentation, in floods, behind what takes time, and connections that end
//! in every way.

use std::io::Write as _;
use std::thread;

use oicq::id::ServiceNumber;
use oicq::wire::{Code, Kind, Request, ServerPacket};

use crate::kit::Got;
use crate::live::{PASSWORD, Server, heard, log_in, message, register, texts};

const ANN: ServiceNumber = ServiceNumber(10_001);
const BOB: ServiceNumber = ServiceNumber(10_002);

fn types(all: &[Got]) -> Vec<u8> {
    all.iter().map(|got| got.packet_type).collect()
}

#[test]
fn a_conversation_a_byte_at_a_time() {
    let server = Server::start(&[]);
    let mut bob = server.connect();
    let mut bytes = bob.bytes(register("ann", PASSWORD, 0));
    bytes.extend(bob.bytes(register("bob", PASSWORD, 0)));
    bob.own = BOB;
    bytes.extend(bob.bytes(log_in(PASSWORD)));
    bytes.extend(bob.bytes(message(ANN, "slowly")));
    bytes.extend(bob.bytes(Request::AddGroup { name: "慢".as_bytes() }));
    bytes.extend(bob.bytes(Request::Test));
    for byte in bytes {
        bob.send_bytes(&[byte]);
    }
    let all: Vec<Got> = (0..5).map(|_| bob.get()).collect();
    assert_eq!(types(&all), [0x01, 0x01, 0x02, 0x05, 0x16]);
    let (_ann, waited) = server.back(ANN);
    assert_eq!(texts(&waited), ["slowly"]);
}

#[test]
fn a_hundred_packets_in_one_write_are_answered_in_order() {
    let server = Server::start(&[]);
    let mut ann = server.user("ann");
    let mut bytes = Vec::new();
    for index in 0..100_u32 {
        match index % 4 {
            0 => bytes.extend(ann.bytes(message(ANN, &format!("message {index}")))),
            1 => bytes.extend(ann.bytes(Request::ViewProfile { friend: ServiceNumber(index) })),
            2 => bytes.extend(ann.bytes(Request::AddGroup { name: index.to_string().as_bytes() })),
            _ => bytes.extend(ann.bytes(Request::Test)),
        }
    }
    ann.send_bytes(&bytes);
    let mut replies = Vec::new();
    let mut messages = Vec::new();
    while replies.len() < 100 {
        let got = ann.get();
        match got.packet() {
            ServerPacket::Message { .. } if got.notice().is_none() => messages.push(got),
            _ => replies.push(got),
        }
    }
    messages.extend(ann.pending());
    let expected: Vec<String> = (0..25).map(|index| format!("message {}", index * 4)).collect();
    assert_eq!(texts(&messages), expected);
    for (index, four) in replies.chunks(4).enumerate() {
        assert_eq!(types(four), [0x04, 0x03, 0x05, 0x16], "around packet {}", index * 4);
        let number = u32::try_from(index * 4 + 1).unwrap().to_be_bytes();
        assert_eq!(four[0].content[1..5], number);
    }
}

#[test]
fn what_comes_behind_a_login_waits_for_it() {
    let server = Server::start(&["--password-cost", "4096,2"]);
    let number = server.offline_user("ann");
    let mut ann = server.connect();
    ann.own = number;
    let mut bytes = ann.bytes(log_in(PASSWORD));
    bytes.extend(ann.bytes(Request::AddGroup { name: b"early" }));
    bytes.extend(ann.bytes(message(number, "to myself")));
    bytes.extend(ann.bytes(Request::SetMode { mode: 4 }));
    bytes.extend(ann.bytes(log_in("wrong!")));
    bytes.extend(ann.bytes(log_in(PASSWORD)));
    bytes.extend(ann.bytes(Request::Test));
    ann.send_bytes(&bytes);
    let mut all = Vec::new();
    while types(&all).last() != Some(&0x16) {
        all.push(ann.get());
    }
    all.retain(|got| got.packet_type != 0x03 || got.notice().is_some());
    assert_eq!(types(&all), [0x02, 0x05, 0x02, 0x03, 0x02, 0x16], "{all:?}");
    assert_eq!(all[3].notice().unwrap().1, Code::BadLogin);
}

#[test]
fn what_comes_behind_a_search_waits_for_it_and_others_do_not() {
    let server = Server::start(&[]);
    let (mut ann, mut bob) = (server.user("ann"), server.user("bob"));
    let condition = "nickname LIKE '%a%n%' OR description LIKE '%_x%'";
    let statement = format!("SELECT * FROM users WHERE {condition} LIMIT 1");
    let mut bytes = Vec::new();
    for _ in 0..20 {
        bytes.extend(ann.bytes(Request::Search { statement: statement.as_bytes() }));
        bytes.extend(ann.bytes(Request::ListOnline { start: ANN, count: 1, direction: 2 }));
    }
    ann.send_bytes(&bytes);
    bob.tell(BOB, "meanwhile");
    assert_eq!(heard(&bob.get()).1, "meanwhile");
    for _ in 0..20 {
        assert_eq!((ann.get().packet_type, ann.get().packet_type), (0x0A, 0x09));
    }
}

#[test]
fn a_half_closed_client_still_gets_all_replies() {
    let server = Server::start(&["--password-cost", "4096,2"]);
    let ann = server.offline_user("ann");
    server.user("bob").tell(ann, "welcome");
    let mut client = server.connect();
    client.own = ann;
    let mut bytes = client.bytes(log_in(PASSWORD));
    for _ in 0..300 {
        bytes.extend(client.bytes(Request::ViewProfile { friend: ann }));
    }
    bytes.extend(client.bytes(Request::Search { statement: b"select * from users" }));
    bytes.extend(client.bytes(Request::Test));
    client.send_bytes(&bytes);
    client.half_close();
    let all = client.rest();
    assert_eq!(texts(&all), ["welcome"]);
    let replies: Vec<u8> = types(&all).into_iter().filter(|of| *of != 0x03).collect();
    let mut expected = vec![0x02];
    expected.extend([0x04; 300]);
    expected.extend([0x0A, 0x16]);
    assert_eq!(replies, expected);
}

#[test]
fn a_half_closed_client_with_half_a_packet_gets_what_came_before() {
    let server = Server::start(&[]);
    let mut ann = server.user("ann");
    let mut bytes = ann.bytes(Request::Test);
    bytes.extend(&ann.bytes(Request::AddGroup { name: b"half" })[..10]);
    ann.send_bytes(&bytes);
    ann.half_close();
    assert_eq!(types(&ann.rest()), [0x16]);
}

/// A violation: who commits it, the bytes, the notice.
fn violates(server: &Server, logged_in: bool, bytes: &[u8], packet_type: u8, code: Code) {
    let mut client = if logged_in { server.user("bad") } else { server.connect() };
    client.send_bytes(bytes);
    let before = client.is_closed_with(packet_type, code);
    assert_eq!(before, [], "{bytes:?}");
}

#[test]
fn each_violation_gets_its_notice_and_then_the_end() {
    let server = Server::start(&[]);
    server.offline_user("ann");
    let own = ANN.0.to_be_bytes();
    let packet = |head: [u8; 4], content: &[u8]| {
        let length = u32::try_from(content.len()).unwrap().to_be_bytes();
        [&head[..], &length, content].concat()
    };
    let early = |bytes: &[u8], of, code| violates(&server, false, bytes, of, code);
    early(&[0x80], 0, Code::Malformed);
    early(b"GET / HTTP/1.1\r\n\r\n", 0, Code::Malformed);
    early(&[0x81, 0x01], 0, Code::Malformed);
    early(&[0x81, 0x0A, 0x0A], 0, Code::Malformed);
    early(&packet([0x81, 0x0A, 1, 0x03], &own), 0x03, Code::NotLoggedIn);
    early(&[0x81, 0x0A, 1, 0x02, 0, 0, 0x20, 0x01], 0x02, Code::TooLarge);
    early(&packet([0x81, 0x0A, 1, 0x16], &[0; 5]), 0x16, Code::Malformed);
    early(&packet([0x81, 0x0A, 1, 0x16], &own), 0x16, Code::WrongNumber);
    early(&packet([0x81, 0x0A, 1, 0x01], b"\0\x05ann"), 0x01, Code::Malformed);
    let late = |bytes: &[u8], of, code| violates(&server, true, bytes, of, code);
    late(&packet([0x81, 0x0A, 1, 0x16], &own), 0x16, Code::WrongNumber);
    late(&packet([0x81, 0x0A, 1, 0x05], &own), 0x05, Code::Malformed);
    late(&[0x81, 0x0A, 1, 0x15, 0, 1, 0, 1], 0x15, Code::TooLarge);
    late(&packet([0x81, 0x03, 1, 0x16], &own), 0, Code::Malformed);
}

#[test]
fn unknown_types_are_refused_and_the_connection_goes_on() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    for packet_type in [0x00, 0x0F, 0x18, 0x42, 0xFF] {
        client.send_bytes(&[0x81, 0x0A, 1, packet_type, 0, 0, 0, 1, 7]);
        let (_, code, _) = client.get().notice().unwrap();
        assert_eq!(code, Code::UnknownType, "0x{packet_type:02X}");
    }
    assert_eq!(client.pending(), []);
    let number = client.register("ann", PASSWORD);
    client.log_in(number);
    client.send_bytes(&[0x81, 0x0A, 1, 0x0F, 0, 0, 0, 0]);
    assert_eq!(client.pending()[0].notice().unwrap().1, Code::UnknownType);
}

#[test]
fn nothing_behind_a_violation_is_read_and_its_notice_arrives_all_the_same() {
    let server = Server::start(&[]);
    let mut ann = server.user("ann");
    let mut bytes = ann.bytes(message(ANN, "before"));
    bytes.extend([0x81, 0x0A, 1, 0x16, 0, 0, 0, 1, 0]);
    bytes.extend(ann.bytes(message(ANN, "after")));
    let mut stream = ann.stream.try_clone().unwrap();
    let writer = thread::spawn(move || {
        let _ = stream.write_all(&bytes);
        for _ in 0..64 {
            if stream.write_all(&[0x55; 65_536]).is_err() {
                return;
            }
        }
    });
    let all = ann.is_closed_with(0x16, Code::Malformed);
    writer.join().unwrap();
    let mut again = server.connect();
    let waited = again.log_in(ANN);
    let heard: Vec<String> = [texts(&all), texts(&waited)].concat();
    assert!(heard.contains(&"before".to_owned()) && !heard.contains(&"after".to_owned()));
}

#[test]
fn a_reset_in_the_middle_of_anything_harms_nobody() {
    let server = Server::start(&[]);
    let mut ann = server.user("ann");
    for cut in [1, 7, 8, 20, 40] {
        let client = server.connect();
        let bytes = client.bytes(register("half", PASSWORD, 0));
        (&client.stream).write_all(&bytes[..cut]).unwrap();
        client.reset();
    }
    let mut bob = server.user("bob");
    let mut bytes = Vec::new();
    for index in 0..50 {
        bytes.extend(bob.bytes(message(ANN, &index.to_string())));
        bytes.extend(bob.bytes(Request::ViewProfile { friend: ANN }));
    }
    bob.send_bytes(&bytes);
    bob.get();
    bob.reset();
    let got = texts(&ann.pending());
    let expected: Vec<String> = (0..got.len()).map(|index| index.to_string()).collect();
    assert_eq!(got, expected, "what was done of it was done in order");
}

#[test]
fn the_kind_of_a_connection_is_that_of_its_first_packet() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    client.kind = Kind::Chat;
    client.send(Request::Test);
    assert_eq!(client.get().receiver, Kind::Chat as u8);
    let bytes = [0x81, Kind::Print as u8, 1, 0x16, 0, 0, 0, 4, 0, 0, 0, 0];
    client.send_bytes(&bytes);
    client.is_closed_with(0, Code::Malformed);
}

#[test]
fn a_half_closed_client_who_reads_late_still_gets_all_replies() {
    let server = Server::start(&[]);
    let number = server.offline_user("ann");
    let mut client = crate::live::Client::connect_narrow(server.address());
    client.log_in(number);
    let bytes = client.bytes(Request::ViewProfile { friend: number }).repeat(2_000);
    client.send_bytes(&bytes);
    client.half_close();
    // Longer than the server waits for those whom it has nothing more to tell.
    thread::sleep(std::time::Duration::from_millis(2_500));
    assert_eq!(client.rest().len(), 2_000);
}
