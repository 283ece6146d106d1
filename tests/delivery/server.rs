//! A server and its network, with a crash at any point: what was not committed is lost, what was not released
//! is never sent, and what had left the server may still arrive.

#![allow(missing_docs, unreachable_pub, reason = "a part of one test")]

use std::collections::BTreeMap;

use oicq::engine::{Engine, Host, Settings, StorageFull};
use oicq::id::{ConnectionId, Now, Place, Seq, UnixMillis};
use oicq::limits::OUTPUT_BYTES_LOW;
use oicq::wire::cut;

use crate::chance::Chance;
use crate::kit::{Entry, Journal, verdict};

/// A connection as the network has it.
#[derive(Default)]
pub struct Link {
    /// What has left the server and has not arrived.
    pub under_way: Vec<u8>,
    /// How many bytes have arrived, and of how many of them the server's system knows that.
    pub arrived: u64,
    pub acknowledged: u64,
    /// What has come from the client and was not handed in.
    pub input: Vec<u8>,
    /// The server has closed it: nothing more is sent.
    pub is_closed: bool,
}

/// The journal and the links: what the engine sees of its surroundings.
#[derive(Default)]
pub struct Outside {
    pub journal: Journal,
    committed: usize,
    pub links: BTreeMap<ConnectionId, Link>,
    /// As how many a byte under way counts: makes clients slow whose messages are few.
    pub weight: usize,
}

impl Host for Outside {
    fn append(
        &mut self,
        time: UnixMillis,
        kind: u8,
        payload: &[u8],
    ) -> Result<(Seq, Place), StorageFull> {
        self.journal.append(time, kind, payload)
    }

    fn read(&self, place: Place, length: u32, out: &mut Vec<u8>) {
        self.journal.read(place, length, out);
    }

    fn acknowledged(&mut self, connection: ConnectionId) -> u64 {
        self.links.get(&connection).map_or(0, |link| link.acknowledged)
    }

    fn waiting(&mut self, connection: ConnectionId) -> usize {
        self.links.get(&connection).map_or(0, |link| link.under_way.len() * self.weight)
    }
}

/// Where in a turn the server is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crash {
    BeforeCommit,
    BeforeRelease,
    /// After so many sends.
    Within(usize),
}

pub struct Server {
    pub engine: Engine,
    pub outside: Outside,
    settings: Settings,
    pub now: Now,
}

impl Server {
    pub fn new(settings: Settings, entries: Vec<Entry>, now: Now, weight: usize) -> Self {
        let journal = Journal { entries, ..Journal::default() };
        let engine = Engine::new(settings.clone(), journal.replay());
        let committed = journal.entries.len();
        let outside = Outside { journal, committed, weight, ..Outside::default() };
        let mut server = Self { engine, outside, settings, now };
        server.turn(None, |_, _| ());
        server
    }

    /// One turn. Answers whether the server lives.
    pub fn turn(
        &mut self,
        crash: Option<Crash>,
        inputs: impl FnOnce(&mut Engine, &mut Outside),
    ) -> bool {
        let Self { engine, outside, .. } = self;
        engine.begin_turn(self.now);
        inputs(engine, outside);
        engine.handle_step(outside);
        while let Some(job) = engine.poll_password_job() {
            engine.handle_verdict(verdict(&job), outside);
        }
        while engine.has_work() {
            engine.handle_step(outside);
        }
        while engine.poll_resumed().is_some() {}
        if crash == Some(Crash::BeforeCommit) {
            return false;
        }
        outside.committed = outside.journal.entries.len();
        let releases = match crash {
            Some(Crash::Within(sends)) => sends,
            Some(_) => 0,
            None => usize::MAX,
        };
        let outbox = engine.poll_outbox();
        for (to, bytes) in outbox.sends().take(releases) {
            if let Some(link) = outside.links.get_mut(&to) {
                assert!(!link.is_closed, "nothing is sent on a closed connection");
                link.under_way.extend_from_slice(bytes);
            }
        }
        for closed in outbox.closes() {
            if let Some(link) = outside.links.get_mut(closed) {
                link.is_closed = true;
            }
        }
        outbox.clear();
        crash.is_none()
    }

    /// Hands in what has come, in the connections' order, and lets go on what has room.
    pub fn take_in(&mut self, chance: &mut Chance, crash: Option<Crash>) -> bool {
        let ids: Vec<_> = self.outside.links.keys().copied().collect();
        let counts: Vec<_> = ids.iter().map(|_| chance.pick(&[0, 1, 2, 9, 9])).collect();
        let looks: Vec<_> = ids.iter().map(|_| chance.one_in(2)).collect();
        self.turn(crash, |engine, outside| {
            for ((id, count), look) in ids.into_iter().zip(counts).zip(looks) {
                if look && engine.awaits_acknowledgement(id) {
                    engine.handle_acknowledged(id, outside.acknowledged(id));
                }
                if engine.wants_room(id) && outside.waiting(id) < OUTPUT_BYTES_LOW {
                    engine.handle_room(id, outside);
                }
                hand_in(engine, outside, id, count);
            }
        })
    }

    /// Whether anything has come that could be handed in, or waits for room that there is.
    pub fn has_input(&mut self) -> bool {
        let Self { engine, outside, .. } = self;
        let links = outside.links.iter();
        links.into_iter().any(|(id, link)| {
            !link.is_closed
                && (!link.input.is_empty() && engine.is_ready(*id)
                    || engine.wants_room(*id) && link.under_way.is_empty())
        })
    }

    /// A new connection, with the smallest id that is free.
    pub fn connect(&mut self) -> ConnectionId {
        let taken = &self.outside.links;
        let free = (0..).map(ConnectionId).find(|id| !taken.contains_key(id));
        let id = free.expect("there are more ids than connections");
        self.outside.links.insert(id, Link::default());
        self.turn(None, |engine, outside| {
            engine.handle_connect(id, [127, 0, 0, 1].into(), outside);
        });
        id
    }

    /// The server learns that a connection is over. Answers whether it lives.
    pub fn end(&mut self, id: ConnectionId, crash: Option<Crash>) -> bool {
        let lives = self.turn(crash, |engine, outside| engine.handle_end(id, outside));
        self.outside.links.remove(&id);
        lives
    }

    /// Stops the server as one should: everybody is told, and what has arrived is written down.
    pub fn stop(&mut self) {
        self.turn(None, |engine, outside| engine.handle_shutdown(outside));
        let ids: Vec<_> = self.outside.links.keys().copied().collect();
        self.turn(None, |engine, outside| {
            for id in ids {
                engine.handle_end(id, outside);
            }
            engine.flush_deliveries(outside);
            engine.handle_checkpoint(outside);
        });
    }

    /// Another server on what was committed. The links are gone.
    pub fn restart(&mut self) {
        let mut entries = std::mem::take(&mut self.outside.journal.entries);
        entries.truncate(self.outside.committed);
        *self = Self::new(self.settings.clone(), entries, self.now, self.outside.weight);
    }

    pub fn pass(&mut self, millis: u64) {
        self.now.wall.0 += millis;
        self.now.mono.0 += millis;
    }
}

fn hand_in(engine: &mut Engine, outside: &mut Outside, id: ConnectionId, count: usize) {
    let Some(link) = outside.links.get_mut(&id).filter(|link| !link.is_closed) else { return };
    let input = std::mem::take(&mut link.input);
    let mut taken = 0;
    for _ in 0..count {
        if !engine.is_ready(id) {
            break;
        }
        let frame = cut(&input[taken..], engine.expected(id)).expect("clients send packets");
        let Some(frame) = frame else { break };
        engine.handle_packet(id, frame, outside);
        taken += frame.length();
    }
    if let Some(link) = outside.links.get_mut(&id) {
        link.input = input[taken..].to_vec();
    }
}
