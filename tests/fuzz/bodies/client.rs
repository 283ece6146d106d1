//! The tools' client, with a server that says anything at any time while somebody types.
//!
//! Nothing panics; what is printed is one line of text that leaves the terminal as it is; what is sent are packets
//! that a server understands; received files stay in the folder that was chosen, and take no file's place there.

#![allow(missing_docs, unreachable_pub, reason = "a part of tests, and of a fuzz target")]

use std::fs;
use std::path::Path;

use oicq::codec::charset::Charset;
use oicq::wire::server::Extensions;
use oicq::wire::{ClientPacket, Expected, Kind, RequestType, cut};
use oicq_tools::untrusted::Client;
use tempfile::TempDir;

use crate::chance::Chance;

const COMMANDS: &[&str] = &[
    "register ann password=secret age=20 city=\"New York\"",
    "login 10001 password=secret",
    "login 10001 password=secret hidden",
    "logout",
    "mode busy",
    "mode online",
    "friends",
    "send 10002 hello there",
    "send 10004 to a service",
    "broadcast 1 to all of you",
    "broadcast \"My Friends\" again",
    "profile",
    "profile 10002",
    "change description=\"two\\nlines\" age=21",
    "change password=another",
    "group add work",
    "group rename work play",
    "group delete play",
    "move 10002 work",
    "move 10002 1 10003 2",
    "online",
    "search SELECT * FROM users WHERE age > 20",
    "add 10002 it is me",
    "add 10003",
    "answer 10002 yes",
    "answer 10003 no",
    "remove 10002",
    "monitor 10002",
    "monitor off",
    "file accept 10002",
    "file accept 10003",
    "file reject 10002",
    "test",
];
/// The types of packets from a server that clients of every age get.
const TYPES: [u8; 19] = [
    0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, 0x09, 0x0A, 0x11, 0x13, 0x14, 0x15, 0x16, 0x40,
    0x41, 0x42, 0x43,
];

thread_local! {
    /// What stands beside the folder for received files must stay as it is.
    static FOLDER: TempDir = tempfile::tempdir().expect("there is room");
}

pub fn run(data: &[u8]) {
    let mut chance = Chance::by_bytes(data);
    FOLDER.with(|folder| {
        let downloads = folder.path().join("downloads");
        let offered = folder.path().join("offered.txt");
        fs::create_dir_all(&downloads).expect("there is room");
        fs::write(&offered, b"what is offered").expect("there is room");
        fs::write(downloads.join("a.txt"), b"was there before").expect("there is room");
        talk(&downloads, &offered, &mut chance);
        assert_eq!(fs::read(&offered).expect("it is still there"), b"what is offered");
        let names = fs::read_dir(folder.path()).expect("it is still there").count();
        assert_eq!(names, 2, "something was written beside the folder");
        fs::remove_dir_all(&downloads).expect("it is still there");
    });
}

fn talk(downloads: &Path, offered: &Path, chance: &mut Chance) {
    let charset = chance.pick(&[Charset::Utf8, Charset::Gb18030]);
    let kind = chance.pick(&[Kind::User, Kind::User, Kind::Web, Kind::Fax]);
    let extensions = Extensions::grant(u32::from(chance.byte()));
    let mut client = Client::new(charset, kind, extensions, downloads.to_owned());
    while !chance.is_spent() {
        match chance.weighted(&[6, 12, 1, 1, 1]) {
            0 => {
                let line = chance.pick(COMMANDS);
                let _ = client.command(line);
            }
            1 => {
                let bytes = packet(kind, chance);
                let _ = client.receive(&bytes);
            }
            2 => {
                let _ = client.command(&format!("file send 10002 {}", offered.display()));
            }
            3 => client.send_files(),
            _ => client.lose(),
        }
        check_lines(&mut client);
        for packet in client.packets() {
            check_packet(kind, &packet);
        }
        assert_eq!(fs::read(downloads.join("a.txt")).expect("it is there"), b"was there before");
    }
}

fn check_lines(client: &mut Client) {
    for (line, sentence) in client.lines() {
        let is_plain = |text: &str| !text.chars().any(|c| c.is_control() && c != '\n');
        assert!(is_plain(&line) && !line.contains('\n'), "{line:?}");
        assert!(sentence.is_none_or(|sentence| is_plain(&sentence)), "{line:?}");
    }
}

fn check_packet(kind: Kind, bytes: &[u8]) {
    let expected = Expected { kind: Some(kind), content_bytes_max: 65_536 };
    let frame = cut(bytes, expected).expect("its header is right").expect("it is whole");
    assert_eq!(frame.length(), bytes.len(), "there is more than a packet");
    let packet_type = RequestType::from_byte(frame.header.packet_type).expect("it is known");
    assert!(ClientPacket::decode(packet_type, frame.content).is_ok(), "{packet_type:?}");
}

/// A packet as it should be, but for what chance has changed, or bytes that are none.
fn packet(kind: Kind, chance: &mut Chance) -> Vec<u8> {
    let packet_type = if chance.one_in(32) { chance.byte() } else { chance.pick(&TYPES) };
    let content = if chance.one_in(8) { chance.bytes(40) } else { content(packet_type, chance) };
    let length = u32::try_from(content.len()).expect("it is short");
    let mut bytes = vec![0x81, 0x01, kind as u8, packet_type];
    bytes.extend_from_slice(&length.to_be_bytes());
    bytes.extend_from_slice(&content);
    if chance.one_in(32) {
        let at = chance.below(bytes.len());
        bytes[at] = chance.byte();
    }
    bytes
}

/// The layouts of what servers send, in the protocol's letters; what is repeated stands here twice.
fn layout(packet_type: u8) -> &'static str {
    match packet_type {
        0x01 => "sN",
        0x02 => "s2SgsNTpSSgsNTpS",
        0x03 => "mNSk",
        0x04 => "sNSMTTSTTSSSTSTSSSSS",
        0x05 | 0x06 => "sgS",
        0x07 => "sg",
        0x08 => "s",
        0x09 | 0x0A => "s2NSMTSNSMTS",
        0x11 => "NNS",
        0x13 => "NSL",
        0x14 => "Ns",
        0x15 => "NB",
        0x16 => "N",
        0x40 => "L",
        0x41 => "rsQS",
        0x42 => "QQmNSk",
        _ => "Np",
    }
}

fn content(packet_type: u8, chance: &mut Chance) -> Vec<u8> {
    let mut content = Vec::new();
    for field in layout(packet_type).bytes() {
        match field {
            b's' => content.push(chance.byte() % 2),
            b'2' => content.push(2),
            b'g' => content.push(1 + chance.byte() % 3),
            b'p' => content.push(chance.pick(&[1, 3, 4])),
            b'm' => content.push(1 + chance.byte() % 2),
            b'k' => content.push(chance.byte() % 5),
            b'r' => content.push(chance.pick(&[0x03, 0x04, 0x0D, 0x10, 0x13, 0x14, 0x15, 0x02])),
            b'T' => content.push(chance.byte()),
            b'M' => content.extend_from_slice(&[0, chance.byte()]),
            b'N' => content.extend_from_slice(&[0, 0, 0x27, 0x11 + chance.byte() % 4]),
            b'L' => content.extend_from_slice(&[0, 0, 0, chance.byte() % 16]),
            b'Q' => content.extend_from_slice(&[0, 0, 0, 0, 0, 0, 0, chance.byte() % 64]),
            b'S' => {
                let text = text(chance);
                content.push(0);
                content.push(u8::try_from(text.len()).expect("it is short"));
                content.extend_from_slice(&text);
            }
            _ => content.extend_from_slice(&chance.bytes(20)),
        }
    }
    content
}

fn text(chance: &mut Chance) -> Vec<u8> {
    const TEXTS: [&[u8]; 12] = [
        b"",
        b"ann",
        b"../up.txt",
        b"/etc/passwd",
        b"..",
        b"a.txt",
        b"line\nline\x1b[2J\x07",
        b"\xff\xfe",
        "\u{4f60}\u{597d} \u{202e}txt".as_bytes(),
        b"0x03 mailbox-full: 1 mailbox is full",
        b"0x13 no-transfer: it is over",
        b"throttled: wait",
    ];
    if chance.one_in(4) { chance.bytes(30) } else { chance.pick(&TEXTS).to_vec() }
}
