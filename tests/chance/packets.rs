//! Packets as clients might send them, sensible and not, for tests that try whatever comes.

#![allow(dead_code, missing_docs, unreachable_pub, reason = "each test uses a part of it")]

use oicq::codec::charset::Charset;
use oicq::engine::Settings;
use oicq::id::ServiceNumber;
use oicq::wire::Kind;

use super::Chance;

/// The layouts of what clients send, in the protocol's letters; the number of one's own first where it is.
const LAYOUTS: &[(u8, &str)] = &[
    (0x01, "SMSTTSTTSSSTSTSSSSST"),
    (0x02, "LST"),
    (0x03, "LLS"),
    (0x04, "LTS"),
    (0x05, "LL"),
    (0x06, "LS"),
    (0x07, "LTS"),
    (0x08, "LT"),
    (0x09, "LTLTLT"),
    (0x0A, "LLTT"),
    (0x0B, "LS"),
    (0x0C, "LL"),
    (0x0D, "LLS"),
    (0x0E, "LL"),
    (0x10, "LT"),
    (0x11, "LL"),
    (0x12, "LSMSTTSTTSSSTSTSSSSST"),
    (0x13, "LLSL"),
    (0x14, "LLT"),
    (0x15, "LLB"),
    (0x16, "L"),
    (0x17, "LLT"),
    (0x40, "L"),
    (0x42, "LLL"),
];

const TEXTS: &[&[u8]] = &[
    b"",
    b"secret",
    b"secret",
    b"ann",
    b"a.txt",
    "你好".as_bytes(),
    b"\xC4\xE3",
    b"two\nlines",
    b"a\0b",
    b"SELECT * FROM users WHERE online = 1 OR nickname LIKE '%n_' ORDER BY age DESC LIMIT 3",
    b"SELECT",
];

fn text(chance: &mut Chance) -> Vec<u8> {
    match chance.below(40) {
        0 => vec![b'x'; chance.pick(&[64, 65, 255, 256, 1_024, 1_025, 8_192, 8_193])],
        1 => (0..chance.below(9)).map(|_| chance.byte()).collect(),
        _ => chance.pick(TEXTS).to_vec(),
    }
}

fn number(chance: &mut Chance, own: u32) -> u32 {
    match chance.below(12) {
        0 => own,
        1 => chance.pick(&[0, 1, u32::MAX, 10_000, 10_020]),
        _ => 10_001 + u32::from(chance.byte() % 6),
    }
}

/// A good registration or login, without which sequences would rarely get anywhere; before it, perhaps,
/// a choice of extensions.
pub fn entrance(chance: &mut Chance, own: u32, registered: bool) -> (u8, Vec<u8>) {
    if chance.one_in(3) {
        return (0x40, vec![0, 0, 0, chance.byte() % 16]);
    }
    let secret = [0, 6, b's', b'e', b'c', b'r', b'e', b't'];
    if !registered {
        let authentication = chance.byte() % 3;
        let head = [&[0, 1, b'n', 0, 7][..], &secret].concat();
        (0x01, [&head[..], &[0; 26], &[authentication]].concat())
    } else {
        (0x02, [&own.to_be_bytes()[..], &secret, &[chance.byte() % 2]].concat())
    }
}

/// Any request, with values that mean something mostly.
pub fn content(chance: &mut Chance, own: u32) -> (u8, Vec<u8>) {
    let (mut packet_type, mut layout) = chance.pick(LAYOUTS);
    // What several users do with one another is met often enough only if it is tried often.
    if chance.one_in(2) {
        let common = [0x03, 0x04, 0x0C, 0x11, 0x13, 0x14, 0x15, 0x17, 0x42];
        let wanted = chance.pick(&common);
        let known = LAYOUTS.iter().find(|known| known.0 == wanted);
        (packet_type, layout) = *known.expect("they are all listed");
    }
    let mut content = Vec::new();
    for (index, field) in layout.chars().enumerate() {
        match field {
            'T' if packet_type == 0x09 && index == 1 => content.push(2),
            'T' => content.push(if chance.one_in(9) { chance.byte() } else { chance.byte() % 4 }),
            'M' => content.extend_from_slice(&[chance.byte() % 2, chance.byte()]),
            'L' if index == 0 && !chance.one_in(200) => {
                content.extend_from_slice(&own.to_be_bytes())
            }
            // Ids of messages that there may be.
            'L' if packet_type == 0x42 && !chance.one_in(9) => {
                let low = if index == 2 { chance.byte() } else { 0 };
                content.extend_from_slice(&[0, 0, 0, low]);
            }
            'L' => content.extend_from_slice(&number(chance, own).to_be_bytes()),
            'S' => {
                let text = text(chance);
                let length = u16::try_from(text.len()).expect("texts are that short");
                content.extend_from_slice(&length.to_be_bytes());
                content.extend_from_slice(&text);
            }
            _ => content.extend_from_slice(&text(chance)),
        }
    }
    (packet_type, content)
}

/// The packet's bytes, of which some are wrong now and then.
pub fn packet(chance: &mut Chance, kind: u8, (packet_type, content): (u8, Vec<u8>)) -> Vec<u8> {
    let mut bytes = vec![0x81, kind, 0x01, packet_type];
    bytes.extend_from_slice(&u32::try_from(content.len()).expect("it is short").to_be_bytes());
    bytes.extend_from_slice(&content);
    if chance.one_in(60) {
        for _ in 0..=chance.below(3) {
            let place = chance.below(bytes.len());
            bytes[place] = chance.byte();
        }
    }
    if chance.one_in(200) {
        bytes.truncate(chance.below(bytes.len()));
    }
    bytes
}

/// Settings that make limits matter.
pub fn settings(chance: &mut Chance) -> Settings {
    let few = |chance: &mut Chance, some: u32| if chance.one_in(2) { 0 } else { some };
    let charset = chance.pick(&[Charset::Utf8, Charset::Utf8, Charset::Gb18030]);
    Settings {
        charset,
        registration_open: true,
        operators: [ServiceNumber(10_002), ServiceNumber(10_003)].into(),
        services: [(Kind::Chat, ServiceNumber(10_004)), (Kind::Fax, ServiceNumber(10_020))].into(),
        max_connections: if chance.one_in(3) { 4 } else { usize::MAX },
        login_failures: few(chance, 3),
        registrations: few(chance, 6),
        connections: few(chance, 30),
        requests_per_second: few(chance, 20),
        requests_burst: few(chance, 50),
        mailbox_messages: chance.pick(&[0, 1, 4, 1_000]),
        mailbox_bytes: chance.pick(&[0, 20, 10_000, 1 << 20]),
    }
}
