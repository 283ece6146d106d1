//! The engine, to which all happens that can happen to one: connections come, send whatever there is, are deaf,
//! end, time out; passwords take their time, the disk fills up, the server restarts in either way.
//!
//! After each turn the state and the engine are looked at for what does not agree, and so are the texts that wait.
//! What is sent are packets, and nobody gets an extension that it did not ask for; closed connections get nothing
//! more. The log makes the same state again, and so does all that is kept of state and engine.

#![allow(dead_code, missing_docs, unreachable_pub, reason = "each test uses a part of it")]

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};

use oicq::engine::{Engine, Host as _, Overdue, PasswordJob};
use oicq::id::{ConnectionId, Place, Seq};
use oicq::state::{Stamp, State, Waiting};
use oicq::wire::server::{Sign, SystemKind};
use oicq::wire::{Kind, ServerPacket};

use crate::chance::Chance;
use crate::chance::packets::{content, entrance, packet, settings};
use crate::kit::extended::{ALL, IDS, PRESENCE, RESULTS};
use crate::kit::{Got, World, verdict};

/// A server to which happens what the bytes say.
pub fn run(data: &[u8]) {
    happen(&mut Chance::by_bytes(data), 400);
}

/// A server to which so much happens at most.
pub fn happen(chance: &mut Chance, steps: usize) {
    let world = World::with(settings(chance));
    let mut fuzz = Fuzz { world, peers: BTreeMap::new(), jobs: Vec::new() };
    for _ in 0..steps {
        if chance.is_spent() {
            break;
        }
        fuzz = fuzz.step(chance);
    }
    fuzz.check_replay();
    fuzz.check_restored();
    drop(fuzz.restart(chance.one_in(2)));
}

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

    /// The journal makes the same state again, and so does the state when it is kept as records.
    fn check_replay(&self) {
        let replayed = self.world.journal.replay().digest();
        let digest = self.world.digest();
        assert!(digest == replayed, "the journal makes the same state again");
        let (state, mut restored) = (self.world.engine.state(), State::default());
        let stamp = Stamp { seq: state.last_seq(), time: state.last_time(), place: Place(0) };
        let text = |waiting: &Waiting, out: &mut Vec<u8>| {
            self.world.journal.read(waiting.place, waiting.length, out);
            Ok(())
        };
        let kept = state.keep(digest, text, |kind, payload| restored.restore(stamp, kind, payload));
        assert_eq!(kept, Ok(()), "what was kept can be restored");
        assert_eq!(restored.find_contradiction(), None);
        assert!(restored.digest() == digest, "what was kept makes the same state again");
    }

    /// What the engine knows beside the state can be kept too.
    fn check_restored(&self) {
        let engine = &self.world.engine;
        let (mut kept, mut again) = (Vec::new(), Vec::new());
        engine.save(&mut kept);
        let place = |seq: Seq| Some(Place(seq.0));
        let (settings, state) = (engine.settings().clone(), engine.state().clone());
        let restored = Engine::restore(settings, state, &kept, place).expect("it was just kept");
        assert_eq!(restored.find_contradiction(), None);
        restored.save(&mut again);
        assert!(kept == again, "what is kept of it is the same again");
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
