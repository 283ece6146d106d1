//! The engine under arbitrary inputs: whatever comes, it does not panic, what it sends are packets, closed
//! connections get nothing more, nobody gets an extension that it did not ask for, and the journal always
//! makes the same state again.
//!
//! `OICQ_SEED` runs the sequence of one seed, `OICQ_SEQUENCES` more of them.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that fails panics")]

mod chance;
mod kit;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};

use chance::Chance;
use chance::packets::{content, entrance, packet, settings};
use kit::extended::{ALL, IDS, PRESENCE, RESULTS};
use kit::{Got, World, verdict};
use oicq::engine::{Overdue, PasswordJob};
use oicq::id::ConnectionId;
use oicq::wire::server::{Sign, SystemKind};
use oicq::wire::{Code, Kind, ServerPacket};

/// What the sequence knows of one connection.
struct Peer {
    kind: u8,
    /// Nothing more may come to it.
    closed: bool,
    received: u64,
    /// The sum of the extensions that it has.
    granted: u32,
}

impl Peer {
    /// Whether a packet of this type may come to it, and what else a client without extensions never sees.
    fn may_get(&mut self, packet: &Got) -> bool {
        let has = |extension: u32| self.granted & extension != 0;
        match packet.packet() {
            ServerPacket::Result { .. } => has(RESULTS),
            ServerPacket::Numbered { .. } => has(IDS),
            ServerPacket::FriendPresence { .. } => has(PRESENCE),
            ServerPacket::Message { sign, .. } => {
                !has(IDS) || sign == Sign::System(SystemKind::Notice)
            }
            ServerPacket::Extensions { granted } => {
                self.granted = granted;
                granted <= ALL
            }
            _ => true,
        }
    }
}

struct Fuzz {
    world: World,
    peers: BTreeMap<ConnectionId, Peer>,
    jobs: Vec<PasswordJob>,
}

impl Fuzz {
    fn step(mut self, chance: &mut Chance) -> Self {
        let peer = self.peers.keys().copied().nth(chance.below(self.peers.len().max(1)));
        match (chance.weighted(&[160, 8, 4, 6, 4, 2, 2, 1, 1, 1, 8, 2]), peer) {
            (1, _) | (_, None) => self.connect(chance),
            (0, Some(id)) => self.send(id, chance),
            (2, Some(id)) => {
                self.world.disconnect(id);
                self.peers.remove(&id);
            }
            (3, _) => self.world.pass(chance.pick(&[0, 1, 49, 50, 51, 1_000, 60_000, 1 << 40])),
            (4, Some(id)) if self.world.deaf.contains(&id) => {
                self.world.deaf.retain(|deaf| *deaf != id);
            }
            (4, Some(id)) => self.world.deaf.push(id),
            (5, _) => self.world.journal.full = !self.world.journal.full && chance.one_in(3),
            (6, Some(id)) => {
                let overdue = chance.pick(&[Overdue::Login, Overdue::Idle, Overdue::Slow]);
                self.world.turn(|engine, journal| engine.handle_overdue(id, overdue, journal));
            }
            (7, _) => return self.restart(chance.one_in(3)),
            (8, _) => self.world.hold_passwords = !self.world.hold_passwords,
            (9, Some(id)) => self.world.turn(|engine, journal| engine.handle_room(id, journal)),
            (11, _) => self.world.turn(|engine, journal| engine.handle_checkpoint(journal)),
            (_, Some(id)) => self.acknowledge_some(id, chance),
        }
        self.answer_passwords(chance);
        self.look();
        self
    }

    fn connect(&mut self, chance: &mut Chance) {
        let six = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, u16::from(chance.byte()));
        let four = [192, 0, 2, chance.byte() % 3];
        let address = if chance.one_in(4) { six.into() } else { IpAddr::from(four) };
        let id = self.world.connect_from(address);
        let kind =
            if chance.one_in(6) { chance.pick(&[0x05, 0x05, 0x02, 0x04, 0x03]) } else { 0x0A };
        self.peers.insert(id, Peer { kind, closed: false, received: 0, granted: 0 });
    }

    fn send(&mut self, id: ConnectionId, chance: &mut Chance) {
        // Each connection has a favourite number, which it mostly claims.
        let kind = self.peers[&id].kind;
        let favourite = match kind {
            0x05 => 10_004,
            _ => [10_001, 10_002, 10_003, 10_005, 10_006][id.0 % 5],
        };
        let mut bytes = Vec::new();
        for _ in 0..=chance.below(3) {
            let in_session = self.world.engine.expected(id).content_bytes_max > 8_192;
            let registered = self.world.engine.state().user_count() >= 6;
            let inside = in_session && !chance.one_in(60);
            let said = if inside || chance.one_in(20) {
                content(chance, favourite)
            } else {
                entrance(chance, favourite, registered)
            };
            bytes.extend_from_slice(&packet(chance, kind, said));
            if chance.one_in(2) {
                self.world.send_bytes(id, &std::mem::take(&mut bytes));
            }
        }
        self.world.send_bytes(id, &bytes);
    }

    /// The system knows of some bytes that they have arrived; the engine may hear of it later.
    fn acknowledge_some(&mut self, id: ConnectionId, chance: &mut Chance) {
        let received = usize::try_from(self.peers[&id].received).unwrap();
        let known = self.world.journal.acknowledged.get(&id).copied().unwrap_or(0);
        let bytes = known.max(chance.below(received + 1) as u64);
        self.world.journal.acknowledged.insert(id, bytes);
        if chance.one_in(2) {
            self.world.turn(|engine, _| engine.handle_acknowledged(id, bytes));
        }
    }

    /// Passwords take their time, and are done in any order.
    fn answer_passwords(&mut self, chance: &mut Chance) {
        if self.world.hold_passwords {
            while let Some(job) = self.world.engine.poll_password_job() {
                self.jobs.push(job);
            }
        }
        while !self.jobs.is_empty() && (!self.world.hold_passwords || chance.one_in(3)) {
            let job = self.jobs.swap_remove(chance.below(self.jobs.len()));
            let done = verdict(&job);
            self.world.turn(|engine, journal| engine.handle_verdict(done, journal));
        }
    }

    /// Ends the server in either way, and starts another.
    fn restart(mut self, in_order: bool) -> Self {
        if in_order {
            self.world.turn(|engine, journal| engine.handle_shutdown(journal));
            self.world.turn(|engine, journal| engine.handle_checkpoint(journal));
            self.look();
            assert!(self.peers.values().all(|peer| peer.closed), "everybody is closed");
        }
        self.check_replay();
        let mut world = self.world.restart();
        world.hold_passwords = false;
        let fuzz = Self { world, peers: BTreeMap::new(), jobs: Vec::new() };
        fuzz.check_replay();
        fuzz
    }

    fn check_replay(&self) {
        let replayed = self.world.journal.replay().digest();
        assert!(self.world.digest() == replayed, "the journal makes the same state again");
    }

    /// Looks at all that has been sent.
    fn look(&mut self) {
        for (id, peer) in &mut self.peers {
            let got = self.world.take(*id);
            assert!(!peer.closed || got.is_empty(), "{id:?} is closed, and gets {got:?}");
            for packet in &got {
                // Decodes it, and panics if it is none.
                let _ = (packet.packet(), packet.notice());
                let kind = self.world.engine.expected(*id).kind.unwrap_or(Kind::User);
                assert!([kind as u8, Kind::User as u8].contains(&packet.receiver), "{packet:?}");
                assert!(peer.may_get(packet), "{id:?} has {} and gets {packet:?}", peer.granted);
                peer.received += 8 + packet.content.len() as u64;
            }
            peer.closed = self.world.is_closed(*id);
            assert_eq!(peer.closed, self.world.engine.is_closing(*id), "{id:?}");
        }
    }
}

#[test]
fn no_input_brings_the_engine_down() {
    for seed in chance::seeds(60) {
        // Shown when the test fails.
        println!("OICQ_SEED={seed}");
        let mut chance = Chance::new(seed);
        let world = World::with(settings(&mut chance));
        let mut fuzz = Fuzz { world, peers: BTreeMap::new(), jobs: Vec::new() };
        for _ in 0..300 {
            fuzz = fuzz.step(&mut chance);
        }
        fuzz.check_replay();
        let in_order = chance.one_in(2);
        drop(fuzz.restart(in_order));
    }
}

/// What can be wrong with a packet, in the order in which it is checked, and what is told of it.
const CHECKS: [(u8, Code); 9] = [
    (0x00, Code::Malformed),
    (0x00, Code::Malformed),
    (0x00, Code::Malformed),
    (0x03, Code::TooLarge),
    (0x99, Code::UnknownType),
    (0x03, Code::NotLoggedIn),
    (0x03, Code::Malformed),
    (0x03, Code::WrongNumber),
    (0x03, Code::UnknownNumber),
];

fn faulty(wrong: impl Fn(usize) -> bool, own: u32) -> Vec<u8> {
    let claimed = if wrong(7) { own + 1 } else { own };
    let receiver: u32 = if wrong(8) { 9 } else { own };
    let text = if wrong(6) { &[0, 9, b'a'][..] } else { &[0, 1, b'a'] };
    let content = [&claimed.to_be_bytes()[..], &receiver.to_be_bytes(), text].concat();
    let length: u32 =
        if wrong(3) { 65_537 } else { u32::try_from(content.len()).expect("it is short") };
    let header = [
        if wrong(0) { 0x18 } else { 0x81 },
        if wrong(1) { 0x01 } else { 0x0A },
        if wrong(2) { 0x0A } else { 0x01 },
        if wrong(4) { 0x99 } else { 0x03 },
    ];
    [&header[..], &length.to_be_bytes(), &content].concat()
}

#[test]
fn the_first_check_that_fails_is_told() {
    let (_, registration) = (0x01, [&[0, 1, b'n', 0, 7, 0, 6][..], b"secret", &[0; 27]].concat());
    for faults in 1_u32..1 << CHECKS.len() {
        let wrong = |check: usize| faults >> check & 1 == 1;
        let mut world = World::new();
        let id = world.connect();
        let length = u8::try_from(registration.len()).expect("it is short");
        world.send_bytes(id, &[&[0x81, 0x0A, 1, 1, 0, 0, 0, length][..], &registration].concat());
        if !wrong(5) {
            let log_in =
                [&[0x81, 0x0A, 1, 2, 0, 0, 0, 13, 0, 0, 0x27, 0x11, 0, 6][..], b"secret\0"];
            world.send_bytes(id, &log_in.concat());
        }
        let entered = world.take(id).len();
        assert_eq!(entered, if wrong(5) { 1 } else { 2 });
        world.send_bytes(id, &faulty(wrong, 10_001));
        let first = faults.trailing_zeros() as usize;
        let (packet_type, code) = CHECKS[first];
        let got = world.take(id);
        let [notice] = &got[..] else { panic!("{faults:09b}: {got:?}") };
        let (of, told, _) = notice.notice().expect("a notice");
        assert_eq!(told, code, "{faults:09b}: {notice:?}");
        // A type that nobody knows may be too large as well: the notice may name it or not.
        assert!(of == packet_type || first == 3 && wrong(4), "{faults:09b}: {notice:?}");
        let refusal = matches!(code, Code::UnknownType | Code::UnknownNumber);
        assert_eq!(world.is_closed(id), !refusal, "{faults:09b}");
    }
}
