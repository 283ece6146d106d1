//! Does each step to the server and to the model, and compares what every connection gets.

#![allow(missing_docs, unreachable_pub, reason = "a part of one test")]

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use oicq::engine::{self, Settings};
use oicq::id::{ConnectionId, ServiceNumber};
use oicq::wire::Kind;

use super::rules::{Expected, Limits, Model, Named, Slot};
use super::steps::{Ask, Bad, Mangle, Overdue, Step, is_settled};
use crate::kit::{Got, World};

/// A server and the model of it.
pub struct Run {
    world: Option<World>,
    pub model: Model,
    ids: BTreeMap<Slot, ConnectionId>,
    /// Bytes that each connection has got.
    received: BTreeMap<Slot, u64>,
    changes: Changes,
}

/// Which number in the log each of the model's changes has, as far as anybody was told.
#[derive(Default)]
struct Changes(BTreeMap<u64, u64>);

impl Changes {
    /// A change always has the same number, and a later one a higher number. None has 0.
    fn is(&mut self, change: u64, seq: u64) -> bool {
        if change == 0 || seq == 0 {
            return change == seq;
        }
        let before = self.0.range(..change).next_back().is_none_or(|(_, before)| *before < seq);
        let after = self.0.range(change + 1..).next().is_none_or(|(_, after)| *after > seq);
        before && after && *self.0.entry(change).or_insert(seq) == seq
    }

    fn seq(&self, change: u64) -> Option<u64> {
        self.0.get(&change).copied()
    }
}

pub fn settings(limits: &Limits) -> Settings {
    let services = limits.services.iter().map(|(kind, number)| {
        let kind = Kind::of_sender(*kind).expect("a service program's kind");
        (kind, ServiceNumber(*number))
    });
    Settings {
        registration_open: limits.open,
        operators: limits.operators.iter().map(|number| ServiceNumber(*number)).collect(),
        services: services.collect(),
        mailbox_messages: u32::try_from(limits.mail_messages).expect("few"),
        mailbox_bytes: limits.mail_bytes as u64,
        login_failures: 0,
        registrations: 0,
        connections: 0,
        ..Settings::default()
    }
}

impl Run {
    pub fn new(limits: Limits) -> Self {
        Self {
            world: Some(World::with(settings(&limits))),
            model: Model::new(limits),
            ids: BTreeMap::new(),
            received: BTreeMap::new(),
            changes: Changes::default(),
        }
    }

    fn world(&mut self) -> &mut World {
        self.world.as_mut().expect("it is taken within a restart alone")
    }

    /// Does a step on both sides. Steps about connections that are not there do nothing, so that a
    /// sequence stays one when steps are taken out of it.
    pub fn step(&mut self, step: &Step) -> Result<(), String> {
        if !is_settled(&self.model, step) {
            return Ok(());
        }
        self.model.out.clear();
        let seen = self.model.seen();
        match step {
            Step::Connect(slot, kind) => self.connect(*slot, *kind),
            Step::Pass(millis) => self.world().pass(*millis),
            Step::Full(full) => self.set_full(*full),
            Step::Checkpoint => {
                self.world().turn(|engine, journal| engine.handle_checkpoint(journal));
            }
            Step::Restart => self.restart()?,
            Step::Shutdown => {
                self.model.shutdown();
                self.world().turn(|engine, journal| {
                    engine.handle_shutdown(journal);
                    engine.handle_checkpoint(journal);
                });
                self.compare(true)?;
                self.model.out.clear();
                self.restart()?;
            }
            Step::End(slot)
            | Step::Deaf(slot)
            | Step::Hear(slot)
            | Step::Taken(slot)
            | Step::Overdue(slot, _)
            | Step::Ask(slot, ..)
            | Step::Bad(slot, _) => {
                if let Some(id) = self.ids.get(slot).copied() {
                    self.on_connection(*slot, id, step);
                    self.model.tell(&seen);
                }
            }
        }
        self.compare(false)
    }

    fn connect(&mut self, slot: Slot, kind: u8) {
        if self.ids.contains_key(&slot) {
            return;
        }
        let id = self.world().connect();
        self.ids.insert(slot, id);
        self.received.insert(slot, 0);
        self.model.connect(slot, kind);
    }

    fn on_connection(&mut self, slot: Slot, id: ConnectionId, step: &Step) {
        let connection = self.model.connections[&slot].clone();
        match step {
            Step::End(_) => {
                self.model.end(slot);
                self.world().disconnect(id);
                self.world().deaf.retain(|deaf| *deaf != id);
                self.ids.remove(&slot);
                self.received.remove(&slot);
            }
            Step::Deaf(_) if !connection.deaf && !connection.closing => {
                self.set_deaf(slot, true);
                self.world().deaf.push(id);
            }
            Step::Hear(_) if connection.deaf && !connection.closing => self.hear(slot, id),
            Step::Taken(_) if connection.deaf => {
                self.model.acknowledge(slot);
                let bytes = self.received[&slot];
                self.world().journal.acknowledged.insert(id, bytes);
            }
            Step::Overdue(_, overdue) if !connection.closing => {
                self.model.overdue(slot, *overdue);
                let overdue = match overdue {
                    Overdue::Login => engine::Overdue::Login,
                    Overdue::Idle => engine::Overdue::Idle,
                    Overdue::Slow => engine::Overdue::Slow,
                };
                self.world().turn(|engine, journal| engine.handle_overdue(id, overdue, journal));
            }
            Step::Ask(_, ask, mangle) => self.ask(slot, id, ask, *mangle),
            // In the first packet another kind is no change.
            Step::Bad(_, Bad::Kind) if !connection.known => {}
            Step::Bad(_, bad) => {
                self.model.bad(slot, *bad);
                self.world().send_bytes(id, &bad.bytes(connection.kind));
            }
            _ => {}
        }
    }

    fn ask(&mut self, slot: Slot, id: ConnectionId, ask: &Ask, mangle: Mangle) {
        let connection = &self.model.connections[&slot];
        let own = connection.session.map_or(0, |session| session.number);
        let mut ask = ask.clone();
        if let Ask::Arrived { named, id } = &mut ask {
            let seq = |back| connection.named(back).and_then(|change| self.changes.seq(change));
            *id = match *named {
                Named::Nothing => 0,
                Named::Everything => u64::MAX,
                Named::Message(back) => seq(back).unwrap_or(0),
                Named::Before(back) => seq(back).map_or(0, |seq| seq - 1),
            };
        }
        let packet = ask.packet(connection.kind, own, mangle);
        self.model.ask(slot, &ask, mangle);
        self.world().send_bytes(id, &packet);
    }

    fn set_deaf(&mut self, slot: Slot, deaf: bool) {
        if let Some(connection) = self.model.connections.get_mut(&slot) {
            connection.deaf = deaf;
        }
    }

    fn hear(&mut self, slot: Slot, id: ConnectionId) {
        self.set_deaf(slot, false);
        self.model.acknowledge(slot);
        self.world().deaf.retain(|deaf| *deaf != id);
        self.world().pass(0);
    }

    fn set_full(&mut self, full: bool) {
        if full {
            self.write_deliveries();
        }
        self.model.full = full;
        self.world().journal.full = full;
        self.world().pass(0);
    }

    /// A crash may have messages delivered again that were delivered just before. Here it comes when
    /// every delivery has been written, so that it is certain what has to be sent again.
    fn restart(&mut self) -> Result<(), String> {
        self.set_full(false);
        self.write_deliveries();
        self.compare(false)?;
        let world = self.world.take().expect("it is there");
        let (live, replayed) = (world.digest(), world.journal.replay().digest());
        let world = world.restart();
        let restarted = world.digest();
        self.world = Some(world);
        self.ids.clear();
        self.received.clear();
        self.model.restart();
        if live != replayed {
            return Err("the journal replays to another state".into());
        }
        // The new server ends the monitoring that the old one could not, so it may differ from the old.
        let replayed = self.world().journal.replay().digest();
        if restarted == replayed { Ok(()) } else { Err("the restarted state differs".into()) }
    }

    /// Tells the engine what was taken, and gives it the time to write it down.
    fn write_deliveries(&mut self) {
        let taken = self.world().journal.acknowledged.clone();
        self.world().turn(|engine, _| {
            for (id, bytes) in taken {
                engine.handle_acknowledged(id, bytes);
            }
        });
        self.world().pass(100);
    }

    fn compare(&mut self, stopping: bool) -> Result<(), String> {
        for (slot, id) in self.ids.clone() {
            let mut got = self.world().take(id);
            for packet in &got {
                *self.received.entry(slot).or_default() += 8 + packet.content.len() as u64;
            }
            got.retain(|packet| !(stopping && is_about_transfers(packet)));
            let expected = self.model.out.remove(&slot).unwrap_or_default();
            let connection = &self.model.connections[&slot];
            let receiver = if connection.known { connection.kind } else { 0x0A };
            if got.iter().any(|packet| packet.receiver != receiver) {
                return Err(format!("{slot} is not 0x{receiver:02X} in the headers of {got:?}"));
            }
            let closing = connection.closing;
            if self.world().is_closed(id) != closing {
                return Err(format!("{slot} should be closing: {closing}; it got {got:?}"));
            }
            if !self.matches(&got, &expected) {
                let expected: Vec<_> = expected.iter().map(show).collect();
                return Err(format!("{slot} got {got:?}\n  instead of {expected:?}"));
            }
        }
        Ok(())
    }

    /// What one gets as an operator may stand anywhere between what one gets as a user.
    fn matches(&mut self, got: &[Got], expected: &[Expected]) -> bool {
        let (mut got_monitored, got): (Vec<&Got>, Vec<&Got>) =
            got.iter().partition(|packet| packet.packet_type == 0x11);
        let (mut monitored, expected): (Vec<&Expected>, Vec<&Expected>) = expected
            .iter()
            .partition(|packet| matches!(packet, Expected::Packet { packet_type: 0x11, .. }));
        got_monitored.sort_by_key(|packet| packet.content.clone());
        monitored.sort_by_key(|packet| match packet {
            Expected::Packet { content, .. } => content.clone(),
            _ => Vec::new(),
        });
        let mut same = |got: &[&Got], expected: &[&Expected]| {
            let mut pairs = got.iter().zip(expected);
            got.len() == expected.len() && pairs.all(|(got, one)| self.is(got, one))
        };
        same(&got, &expected) && same(&got_monitored, &monitored)
    }

    fn is(&mut self, got: &Got, expected: &Expected) -> bool {
        match expected {
            Expected::Packet { packet_type, content } => {
                got.packet_type == *packet_type && got.content == *content
            }
            Expected::Notice { packet_type, codes } => got
                .notice()
                .is_some_and(|(of, code, _)| of == *packet_type && codes.contains(&code.as_str())),
            Expected::Result { packet_type, success, change, codes } => {
                let Some((of, done, id, text)) = got.result() else { return false };
                let code = text.split_once(": ").map(|(code, _)| code);
                (of, done) == (*packet_type, *success)
                    && (codes.is_empty() && text.is_empty()
                        || code.is_some_and(|code| codes.contains(&code)))
                    && self.changes.is(*change, id)
            }
            Expected::Mail { id, content } => {
                let Some(seq) = got.id() else { return false };
                let time = self.world().time_of(seq).0.to_be_bytes();
                got.content[8..] == [&time[..], content].concat() && self.changes.is(*id, seq)
            }
        }
    }
}

fn is_about_transfers(packet: &Got) -> bool {
    packet.notice().is_some_and(|(_, code, _)| code.as_str() == "no-transfer")
}

fn show(expected: &Expected) -> String {
    match expected {
        Expected::Packet { packet_type, content } => {
            let got = Got { packet_type: *packet_type, receiver: 0x0A, content: content.clone() };
            format!("{got:?}")
        }
        Expected::Notice { packet_type, codes } => format!("notice 0x{packet_type:02X} {codes:?}"),
        Expected::Result { packet_type, success, change, codes } => {
            format!("result 0x{packet_type:02X} {success} change {change} {codes:?}")
        }
        Expected::Mail { id, content } => format!("message of change {id}: {content:?}"),
    }
}

/// Runs steps on a new server; gives the number of the step that went wrong, and what was wrong.
pub fn run(limits: &Limits, steps: &[Step]) -> Result<(), (usize, String)> {
    let mut run = Run::new(limits.clone());
    for (index, step) in steps.iter().enumerate() {
        let done = catch_unwind(AssertUnwindSafe(|| run.step(step)));
        done.unwrap_or_else(|_| Err("panic".into())).map_err(|error| (index, error))?;
    }
    Ok(())
}

/// Takes steps out of a sequence as long as it goes on failing.
pub fn shrink(limits: &Limits, mut steps: Vec<Step>) -> (Vec<Step>, String) {
    let mut why = String::new();
    let mut chunk = steps.len() / 2;
    while chunk > 0 {
        let mut start = 0;
        let before = steps.len();
        while start < steps.len() {
            let end = (start + chunk).min(steps.len());
            let fewer: Vec<Step> = [&steps[..start], &steps[end..]].concat();
            match run(limits, &fewer) {
                Err((index, error)) => {
                    steps = fewer[..=index].to_vec();
                    why = error;
                }
                Ok(()) => start = end,
            }
        }
        if chunk > 1 || steps.len() == before {
            chunk /= 2;
        }
    }
    (steps, why)
}
