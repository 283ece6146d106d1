//! The sample conversation in `data/community`: that it is what the scenario tells, that it leaves the
//! golden log, and that everything of the protocol occurs in it.
//!
//! `OICQ_REWRITE_CAPTURE=1 cargo test --test community` writes it anew; see `data/README.md`.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
#![allow(unreachable_pub, reason = "the modules are this test's own")]

mod kit;

#[path = "community/live.rs"]
mod live;
#[path = "community/people.rs"]
mod people;
#[path = "community/saturday.rs"]
mod saturday;
#[path = "community/scenario.rs"]
mod scenario;
#[path = "community/story.rs"]
mod story;
#[path = "community/sunday.rs"]
mod sunday;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;

use kit::Journal;
use kit::capture::{CaptureError, Line, Step, format_time, parse};
use kit::golden::{Logged, log_folder, packets_file, read_log, read_text};
use kit::play::Player;
use oicq::id::Seq;
use oicq::state::EventKind;
use oicq::wire::server::{Sign, SystemKind};
use oicq::wire::{Code, Notice, RequestType, ServerPacket};

/// What no packet brings about in a server that was started so, has room and goes on.
const CODES_THAT_CANNOT_OCCUR: &[Code] =
    &[Code::RegistrationClosed, Code::StorageFull, Code::Idle, Code::Slow, Code::Shutdown];

/// The file's text, written anew before any test looks at it if that was asked for.
fn text() -> &'static str {
    static TEXT: OnceLock<String> = OnceLock::new();
    TEXT.get_or_init(|| {
        if is_rewriting() {
            std::fs::create_dir_all(packets_file().parent().unwrap()).unwrap();
            std::fs::write(packets_file(), scenario::capture()).unwrap();
        }
        read_text(&packets_file())
    })
}

fn is_rewriting() -> bool {
    std::env::var_os("OICQ_REWRITE_CAPTURE").is_some_and(|value| value == "1")
}

fn lines() -> Vec<Line> {
    parse(text()).unwrap_or_else(|error| panic!("{error}"))
}

fn packets(lines: &[Line]) -> impl Iterator<Item = &[u8]> {
    lines.iter().filter_map(|line| match &line.step {
        Step::Packet(bytes) => Some(bytes.as_slice()),
        _ => None,
    })
}

#[test]
fn the_capture_is_what_the_scenario_tells() {
    assert!(text() == scenario::capture(), "data/community/packets.txt is not what is told");
    assert!(!is_rewriting(), "it was written anew: look at the change, then test without it");
}

#[test]
fn playing_it_gives_the_golden_logs_events_byte_for_byte() {
    let golden = read_log(&log_folder());
    let player = Player::play(Journal::default(), &lines());
    let played: Vec<_> = player.host.entries.iter().map(Logged::from).collect();
    for (index, (played, golden)) in played.iter().zip(&golden.logged).enumerate() {
        assert_eq!(played, golden, "event {}: {:?}", index + 1, golden.event().kind());
    }
    assert_eq!(played.len(), golden.logged.len());
    assert_eq!(player.engine.state().digest(), golden.state.digest());
    assert_eq!(player.host.replay().digest(), golden.state.digest());
}

#[test]
fn it_is_two_days_of_a_community() {
    let lines = lines();
    let days: BTreeSet<_> =
        lines.iter().map(|line| format_time(line.time)[..10].to_owned()).collect();
    assert!(days.iter().eq(["2003-04-12", "2003-04-13"]), "{days:?}");
    let users = read_log(&log_folder()).state.user_count();
    assert!(users >= 8, "{users} users");
    assert!((400..900).contains(&packets(&lines).count()));
    let scenes = text().lines().filter(|line| line.contains(" in the town. ")).count();
    assert!(scenes >= 20, "{scenes} scenes");
}

#[test]
fn no_password_can_be_read_in_a_comment_or_in_an_event() {
    assert!(!text().contains("sample-"));
    let password = b"sample-";
    for logged in read_log(&log_folder()).logged {
        assert!(!logged.payload.windows(password.len()).any(|bytes| bytes == password));
    }
}

#[test]
fn every_packet_type_kind_of_event_and_system_message_occurs() {
    let lines = lines();
    let player = Player::play(Journal::default(), &lines);

    let asked: BTreeSet<_> =
        packets(&lines).filter_map(|bytes| RequestType::from_byte(*bytes.get(3)?)).collect();
    assert!(asked.iter().eq(RequestType::ALL), "{asked:?}");

    let kinds: BTreeSet<_> = player.host.entries.iter().map(|entry| entry.kind).collect();
    // What could not be saved from a damaged log is nothing that a server does; the state's digest and a hash at
    // another cost are nothing that a packet brings about.
    let other = [EventKind::Lost, EventKind::StateDigest, EventKind::PasswordRehashed];
    let known = EventKind::ALL.iter().filter(|kind| !other.contains(kind));
    assert!(kinds.into_iter().eq(known.map(|kind| *kind as u8)));

    let (mut replies, mut system) = (BTreeSet::new(), BTreeSet::new());
    let (mut numbered, mut results) = (BTreeSet::new(), BTreeSet::new());
    for received in &player.received {
        // Each of them decodes, or this panics.
        let packet = received.got.packet();
        replies.insert(packet.packet_type());
        if let ServerPacket::Message { sign: Sign::System(kind), .. } = packet {
            system.insert(kind);
        }
        match packet {
            ServerPacket::Numbered { sign, .. } => {
                numbered.insert(sign == Sign::User);
            }
            ServerPacket::Result { success, id, .. } => {
                results.insert((success, id != Seq::ZERO));
            }
            _ => {}
        }
    }
    assert!(numbered.iter().eq(&[false, true]), "system messages and users' have ids");
    assert!(results.iter().eq(&[(false, false), (true, false), (true, true)]), "{results:?}");
    let all = (0x01..=0x0A).chain([0x11, 0x13, 0x14, 0x15, 0x16, 0x40, 0x41, 0x42, 0x43]);
    assert!(replies.iter().copied().eq(all), "{replies:02X?}");
    let all = [
        SystemKind::Notice,
        SystemKind::Added,
        SystemKind::Asks,
        SystemKind::Agreed,
        SystemKind::Refused,
    ];
    assert!(system.iter().eq(&all), "{system:?}");
}

#[test]
fn every_reason_occurs_that_packets_can_bring_about() {
    let player = Player::play(Journal::default(), &lines());
    let mut found: BTreeMap<Code, BTreeSet<u8>> = BTreeMap::new();
    for received in &player.received {
        if let Some((packet_type, code, _)) = received.got.notice() {
            found.entry(code).or_default().insert(packet_type);
        }
        if let ServerPacket::Result { packet_type, text, .. } = received.got.packet()
            && let Some(why) = Notice::parse_reason(packet_type, text)
        {
            found.entry(why.code).or_default().insert(packet_type);
        }
    }
    for code in Code::ALL {
        let can_occur = !CODES_THAT_CANNOT_OCCUR.contains(code);
        assert_eq!(found.contains_key(code), can_occur, "{code}");
    }
    // A value out of its range in every packet that has one.
    let types =
        [0x01, 0x02, 0x03, 0x04, 0x06, 0x0A, 0x0B, 0x0C, 0x0D, 0x10, 0x12, 0x13, 0x14, 0x17];
    assert!(found[&Code::BadValue].iter().eq(&types), "{:02X?}", found[&Code::BadValue]);
}

#[test]
fn success_and_failure_of_every_reply_that_knows_both_occur() {
    let player = Player::play(Journal::default(), &lines());
    let mut found = BTreeSet::new();
    for received in &player.received {
        let (reply, success) = match received.got.packet() {
            ServerPacket::Registered { success, .. } => (0x01, success),
            ServerPacket::LoggedIn { success, .. } => (0x02, success),
            ServerPacket::Profile { success, .. } => (0x04, success),
            ServerPacket::GroupAdded { success, .. } => (0x05, success),
            ServerPacket::GroupRenamed { success, .. } => (0x06, success),
            ServerPacket::GroupDeleted { success, .. } => (0x07, success),
            ServerPacket::FriendsMoved { success } => (0x08, success),
            ServerPacket::Online { success, .. } => (0x09, success),
            ServerPacket::Found { success, .. } => (0x0A, success),
            ServerPacket::FileAnswered { allow, .. } => (0x14, allow),
            _ => continue,
        };
        found.insert((reply, success));
    }
    assert_eq!(found.len(), 2 * 10, "{found:02X?}");
}

#[test]
fn a_capture_is_read_strictly() {
    let good = "# a comment\n\n\
        2003-04-12T00:30:00.000Z a-1 connect 192.0.2.10\n\
        2003-04-12T00:30:00.000Z a-1 packet 810A011600000004 # 0x16, the beginning of it\n\
        2003-04-12T00:30:00.001Z a-1 end\n";
    assert_eq!(parse(good).unwrap().len(), 3);
    for (wrong, with, at, why) in [
        ("00:30:00.001Z", "00:29:59.999Z", 5, "the time runs backwards"),
        ("00:30:00.001Z", "24:30:00.001Z", 5, "the time is not like 2003-04-12T00:30:00.000Z"),
        (
            "04-12T00:30:00.001Z",
            "02-29T00:30:00.001Z",
            5,
            "the time is not like 2003-04-12T00:30:00.000Z",
        ),
        ("00:30:00.001Z", "00:30:00Z", 5, "the time is not like 2003-04-12T00:30:00.000Z"),
        ("a-1 end", "a-2 end", 5, "no such connection"),
        ("a-1 end", "a-1 connect 192.0.2.10", 5, "the connection's name was used"),
        ("a-1 end", "a-1 end now", 5, "a field too many"),
        ("a-1 end", "a-1  end", 5, "a field is missing"),
        ("a-1 end", "a-1 END", 5, "a line says connect, packet or end"),
        ("a-1 end", "A-1 end", 5, "a connection's name is made of a-z, 0-9 and -"),
        ("a-1 end", "a-1 packet 00", 5, "a connection is left open"),
        ("192.0.2.10", "library", 3, "this is no IP address"),
        ("810A01", "810a01", 4, "this is no string of hex bytes"),
        ("810A01", "810A1", 4, "this is no string of hex bytes"),
        ("packet 810A011600000004 ", "end ", 5, "the connection has ended"),
    ] {
        let text = good.replacen(wrong, with, 1);
        assert_ne!(text, good, "{wrong}");
        assert_eq!(parse(&text), Err(CaptureError { at, why }), "{with}");
    }
}

#[test]
fn it_plays_over_sockets_into_the_real_server() {
    live::play(&lines());
}
