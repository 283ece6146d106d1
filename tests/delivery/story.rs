//! A sequence: users who say things, connections that break, servers that end; and what must have arrived
//! once everything has calmed down.

#![allow(missing_docs, unreachable_pub, reason = "a part of one test")]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use oicq::codec::secret::Secret;
use oicq::engine::{Overdue, Settings};
use oicq::id::{ConnectionId, GroupNumber, Seq, ServiceNumber};
use oicq::wire::Request;
use oicq::wire::client::Account;
use oicq::wire::server::Presence;

use super::client::{Client, Fate, Said, Style};
use super::server::{Crash, Server};
use crate::chance::{Chance, asked};
use crate::kit::World;
use crate::kit::extended::{ALL, IDS, PRESENCE};
use crate::kit::people::{PASSWORD, account};

pub struct Story {
    chance: Chance,
    server: Server,
    clients: Vec<Client>,
    friends: BTreeMap<ServiceNumber, Vec<ServiceNumber>>,
    said: Vec<Said>,
    /// Bytes that fill up texts.
    filling: usize,
    /// Once in so many turns the server is killed.
    kill_one_in: usize,
    told: Vec<String>,
}

impl fmt::Display for Story {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for client in &self.clients {
            writeln!(f, "  {} is {:?}", client.number, client.style)?;
        }
        for line in &self.told {
            writeln!(f, "  {line}")?;
        }
        Ok(())
    }
}

/// Users that anyone may add, and users who are asked first and are nobody's friends.
const OPEN: usize = 4;
const ASKED: usize = 2;

fn settings(chance: &mut Chance) -> Settings {
    Settings {
        login_failures: 0,
        registrations: 0,
        connections: 0,
        requests_per_second: 0,
        mailbox_messages: chance.pick(&[2, 5, 30, 1_000]),
        mailbox_bytes: chance.pick(&[100, 40_000, 1 << 20]),
        ..Settings::default()
    }
}

impl Story {
    pub fn new(seed: u64) -> Self {
        let mut chance = Chance::new(seed);
        let settings = settings(&mut chance);
        let mut world = World::with(Settings { registrations: 0, ..settings.clone() });
        let open = world.crowd(OPEN);
        let mut numbers = open.clone();
        for _ in 0..ASKED {
            numbers.push(world.registered(Account { authentication: 1, ..account(b"asked") }));
        }
        let mut friends: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for number in &numbers {
            let user = world.session(*number);
            for friend in open.iter().filter(|friend| *friend != number) {
                if !chance.one_in(3) {
                    world.befriend(user, *friend);
                    friends.entry(*number).or_default().push(*friend);
                }
            }
            world.leaves(user);
        }
        for number in &numbers {
            let user = world.session(*number);
            world.settle();
            world.leaves(user);
        }
        let styles = [Style::Plain, Style::WithIds, Style::WithIds, Style::Both];
        let clients =
            numbers.iter().map(|number| Client::new(*number, chance.pick(&styles))).collect();
        let weight = chance.pick(&[1, 1, 50, 5_000]);
        let filling = chance.pick(&[0, 0, 20, 3_000]);
        let kill_one_in = chance.pick(&[30, 200, 1_000]);
        let server = Server::new(settings, world.journal.entries, world.now, weight);
        let (said, told) = (Vec::new(), Vec::new());
        Self { chance, server, clients, friends, said, filling, kill_one_in, told }
    }

    pub fn play(&mut self) -> Result<(), String> {
        let steps = asked("OICQ_STEPS").unwrap_or(400);
        for _ in 0..steps {
            self.step()?;
        }
        self.tell("it calms down");
        self.server.outside.journal.full = false;
        self.everybody_comes_back()?;
        self.check()?;
        // All of it is written down: nobody gets anything again, whoever ends now.
        self.server.pass(100);
        self.server.turn(None, |_, _| ());
        for client in &self.clients {
            let user = self.server.engine.state().user(client.number).expect("it is registered");
            if !user.mailbox().is_empty() {
                return Err(format!(
                    "{} messages wait for {}",
                    user.mailbox().len(),
                    client.number
                ));
            }
        }
        let shown: Vec<_> = self.clients.iter().map(|client| client.shown.clone()).collect();
        self.crash()?;
        self.everybody_comes_back()?;
        let still: Vec<_> = self.clients.iter().map(|client| client.shown.clone()).collect();
        if shown == still { Ok(()) } else { Err("something came once more".into()) }
    }

    fn tell(&mut self, what: impl Into<String>) {
        self.told.push(what.into());
    }

    fn step(&mut self) -> Result<(), String> {
        let who = self.chance.below(self.clients.len());
        match self.chance.weighted(&[40, 80, 80, 80, 16, 5, 8, 1, 1, 2, 10]) {
            0 if self.clients[who].link.is_none() => self.connect(who),
            0 => self.set_mode(who),
            1 => self.say(who),
            2 => return self.take_in(),
            3 => return self.deliver_some(),
            4 => self.confirm(who),
            5 => self.lose(who),
            6 => return self.end_one_that_is_over(),
            7 => self.is_overdue(who),
            8 => return self.stop(),
            9 => {
                let full = !self.server.outside.journal.full && self.chance.one_in(2);
                self.tell(format!("no room: {full}"));
                self.server.outside.journal.full = full;
            }
            _ => {
                let millis = self.chance.pick(&[1, 10, 49, 50, 500]);
                self.tell(format!("{millis} ms pass"));
                self.server.pass(millis);
                return self.take_in();
            }
        }
        Ok(())
    }

    /// Where the server is killed in its next turn, if it is.
    fn fate(&mut self) -> Option<Crash> {
        self.chance.one_in(self.kill_one_in).then(|| match self.chance.below(3) {
            0 => Crash::BeforeCommit,
            1 => Crash::BeforeRelease,
            _ => Crash::Within(1 + self.chance.below(3)),
        })
    }

    fn connect(&mut self, who: usize) {
        let wanted = match self.clients[who].style {
            Style::Plain => self.chance.byte() & u8::try_from(ALL & !IDS).expect("three bits"),
            Style::WithIds => self.chance.byte() & 7 | 2,
            Style::Both => self.chance.byte() & 7,
        };
        self.connect_with(who, u32::from(wanted));
    }

    fn connect_with(&mut self, who: usize, wanted: u32) {
        let link = self.server.connect();
        let client = &mut self.clients[who];
        let number = client.number;
        client.begin(link, wanted);
        let mut bytes = client.asks(Request::WantExtensions { wanted }, None);
        bytes
            .extend(client.asks(Request::LogIn { password: Secret::new(PASSWORD), mode: 0 }, None));
        self.tell(format!("{number} logs in on {link} with {wanted}"));
        self.send(who, &bytes);
    }

    /// The client's bytes go out; nobody knows whether they arrive.
    fn send(&mut self, who: usize, bytes: &[u8]) {
        let link = self.clients[who].link.and_then(|link| self.server.outside.links.get_mut(&link));
        if let Some(link) = link {
            link.input.extend_from_slice(bytes);
        }
    }

    fn set_mode(&mut self, who: usize) {
        if !self.chance.one_in(4) {
            return;
        }
        let mode = self.chance.pick(&[1, 2, 3]);
        let bytes = self.clients[who].asks(Request::SetMode { mode }, None);
        self.send(who, &bytes);
    }

    fn say(&mut self, who: usize) {
        if self.clients[who].link.is_none() {
            return;
        }
        let index = self.said.len();
        let filling = if self.chance.one_in(2) { self.filling } else { 0 };
        let from = self.clients[who].number;
        let any = self.clients[self.chance.below(OPEN + ASKED)].number;
        let friends = self.friends.get(&from).cloned().unwrap_or_default();
        let requested = self.clients[OPEN + self.chance.below(ASKED)].number;
        let (to, is_request) = match self.chance.below(8) {
            0 | 1 if !friends.is_empty() => (friends.into_iter().collect(), false),
            2 if requested != from => (BTreeSet::from([requested]), true),
            _ => (BTreeSet::from([any]), false),
        };
        let is_broadcast = to.len() > 1;
        let receiver = *to.first().expect("it is for somebody");
        let filling = if is_request { filling.min(200) } else { filling };
        let text = format!("{index} {}", "x".repeat(filling));
        let content = text.as_bytes();
        let request = match (is_request, is_broadcast) {
            (true, _) => Request::RequestFriend { friend: receiver, reason: content },
            (_, true) => Request::Broadcast { group: GroupNumber::ALL.0.into(), content },
            _ => Request::Send { receiver, content },
        };
        let bytes = self.clients[who].asks(request, Some(index));
        self.tell(format!(
            "{from} says {index} to {to:?}{}",
            if is_request { ", asking" } else { "" }
        ));
        self.said.push(Said { from, to, is_request, fate: Fate::Unknown });
        self.send(who, &bytes);
    }

    fn confirm(&mut self, who: usize) {
        let client = &mut self.clients[who];
        let through = client.last_id();
        if client.link.is_some() && client.has(IDS) && through > 0 {
            let through = Seq(through - u64::from(self.chance.one_in(4)));
            let bytes = client.asks(Request::Arrived { through }, None);
            self.tell(format!("{} has everything up to {through}", self.clients[who].number));
            self.send(who, &bytes);
        }
    }

    fn take_in(&mut self) -> Result<(), String> {
        let crash = self.fate();
        if let Some(crash) = crash {
            self.tell(format!("the server is killed: {crash:?}"));
        }
        if self.server.take_in(&mut self.chance, crash) { Ok(()) } else { self.crash() }
    }

    /// Some of what is under way arrives.
    fn deliver_some(&mut self) -> Result<(), String> {
        for who in 0..self.clients.len() {
            if !self.chance.one_in(3) {
                self.deliver_some_to(who)?;
            }
        }
        Ok(())
    }

    fn deliver_some_to(&mut self, who: usize) -> Result<(), String> {
        let Some(id) = self.clients[who].link else { return Ok(()) };
        let Some(link) = self.server.outside.links.get_mut(&id) else { return Ok(()) };
        let all = link.under_way.len();
        let count = if self.chance.one_in(3) { self.chance.below(all + 1) } else { all };
        let knows = !self.chance.one_in(3);
        self.deliver(who, id, count, knows);
        // Where messages have ids, what has arrived may be lost with the client that has not read it.
        if !self.clients[who].has(IDS) || !self.chance.one_in(4) {
            self.clients[who].read(&mut self.said)?;
        }
        // A client whose server has closed the connection notices once it has read everything.
        let link = &self.server.outside.links[&id];
        if link.is_closed && link.under_way.is_empty() && !self.clients[who].has_unread() {
            self.clients[who].link = None;
        }
        Ok(())
    }

    /// So many bytes arrive; whether the server's system knows that.
    fn deliver(&mut self, who: usize, id: ConnectionId, count: usize, knows: bool) {
        let link = self.server.outside.links.get_mut(&id).expect("the client is on it");
        let bytes: Vec<u8> = link.under_way.drain(..count).collect();
        link.arrived += bytes.len() as u64;
        if knows {
            link.acknowledged = link.arrived;
        }
        self.clients[who].take(&bytes);
    }

    /// The client's end is gone. The server learns of it later, and of what had arrived perhaps never.
    fn lose(&mut self, who: usize) {
        let Some(id) = self.clients[who].link.take() else { return };
        let knows = self.chance.one_in(2);
        let keeps_input = self.chance.one_in(2);
        if let Some(link) = self.server.outside.links.get_mut(&id) {
            if knows {
                link.acknowledged = link.arrived;
            }
            if !keeps_input {
                // A packet that has come in part is as good as none.
                link.input.clear();
            }
        }
        self.tell(format!("{} loses {id}", self.clients[who].number));
    }

    fn end_one_that_is_over(&mut self) -> Result<(), String> {
        let in_use: Vec<_> = self.clients.iter().filter_map(|client| client.link).collect();
        let over = self.server.outside.links.keys().find(|id| !in_use.contains(id));
        let Some(id) = over.copied() else { return Ok(()) };
        let crash = self.fate();
        self.tell(format!("the server sees the end of {id} {crash:?}"));
        if self.server.end(id, crash) { Ok(()) } else { self.crash() }
    }

    fn is_overdue(&mut self, who: usize) {
        let Some(id) = self.clients[who].link else { return };
        let overdue = self.chance.pick(&[Overdue::Idle, Overdue::Slow]);
        self.tell(format!("{id} is overdue"));
        self.server.turn(None, |engine, outside| engine.handle_overdue(id, overdue, outside));
    }

    /// The server is killed. What had left it may still arrive.
    fn crash(&mut self) -> Result<(), String> {
        self.tell("killed");
        self.arrive_at_last()?;
        self.server.restart();
        self.clients.iter_mut().for_each(|client| client.link = None);
        Ok(())
    }

    fn arrive_at_last(&mut self) -> Result<(), String> {
        for who in 0..self.clients.len() {
            let Some(id) = self.clients[who].link else { continue };
            let Some(link) = self.server.outside.links.get(&id) else { continue };
            let count = self.chance.below(link.under_way.len() + 1);
            let knows = self.chance.one_in(2);
            self.deliver(who, id, count, knows);
            if !self.clients[who].has(IDS) || self.chance.one_in(2) {
                self.clients[who].read(&mut self.said)?;
            }
        }
        Ok(())
    }

    fn stop(&mut self) -> Result<(), String> {
        self.tell("stopped");
        self.arrive_at_last()?;
        self.server.stop();
        self.server.restart();
        self.clients.iter_mut().for_each(|client| client.link = None);
        Ok(())
    }

    /// Everybody logs in anew, everything arrives, and what has an id is confirmed.
    fn everybody_comes_back(&mut self) -> Result<(), String> {
        for client in &mut self.clients {
            client.link = None;
        }
        let links: Vec<_> = self.server.outside.links.keys().copied().collect();
        for id in links {
            self.server.end(id, None);
        }
        for who in 0..self.clients.len() {
            let wanted = match self.clients[who].style {
                Style::Plain => ALL & !IDS,
                Style::WithIds | Style::Both => ALL,
            };
            self.connect_with(who, wanted);
        }
        while self.is_busy() {
            self.server.take_in(&mut self.chance, None);
            for who in 0..self.clients.len() {
                let id = self.clients[who].link.expect("everybody is there");
                let count = self.server.outside.links[&id].under_way.len();
                let before = self.clients[who].last_id();
                self.deliver(who, id, count, true);
                self.clients[who].read(&mut self.said)?;
                let client = &mut self.clients[who];
                if client.last_id() > before {
                    let through = Seq(client.last_id());
                    let bytes = client.asks(Request::Arrived { through }, None);
                    self.send(who, &bytes);
                }
            }
        }
        self.server.turn(None, |engine, outside| {
            let ids: Vec<_> = outside.links.keys().copied().collect();
            for id in ids {
                engine.handle_acknowledged(id, outside.links[&id].acknowledged);
            }
        });
        self.check_states()
    }

    fn is_busy(&mut self) -> bool {
        let under_way = self.server.outside.links.values().any(|link| !link.under_way.is_empty());
        under_way || self.server.has_input()
    }

    /// Everybody is online, and seen so.
    fn check_states(&self) -> Result<(), String> {
        for client in self.clients.iter().filter(|client| client.has(PRESENCE)) {
            let friends = self.friends.get(&client.number).cloned().unwrap_or_default();
            let online = friends.into_iter().map(|friend| (friend, Presence::Online)).collect();
            if *client.states() != online {
                return Err(format!("{} sees {:?}", client.number, client.states()));
            }
        }
        Ok(())
    }

    fn check(&self) -> Result<(), String> {
        for (index, said) in self.said.iter().enumerate() {
            self.check_said(index, said).map_err(|why| format!("{index}: {why}: {said:?}"))?;
        }
        for client in &self.clients {
            for order in client.order.values() {
                if !order.is_sorted() {
                    return Err(format!("{} has shown {order:?}", client.number));
                }
            }
            let twice = client.shown.iter().find(|(_, times)| **times > 1);
            if let (Style::WithIds, Some((index, _))) = (client.style, twice) {
                return Err(format!("{} has shown {index} twice", client.number));
            }
        }
        Ok(())
    }

    fn check_said(&self, index: usize, said: &Said) -> Result<(), String> {
        let client = |number: &ServiceNumber| {
            self.clients.iter().find(|client| client.number == *number).expect("it is registered")
        };
        let got = said.to.iter().filter(|to| client(to).shown.contains_key(&index)).count();
        let expected = match said.fate {
            Fate::Accepted(_) if said.is_request && got == 0 => {
                let newer = self.said[index + 1..].iter().enumerate();
                let mut newer = newer.filter(|(_, newer)| {
                    newer.is_request && (newer.from, &newer.to) == (said.from, &said.to)
                });
                let receiver = client(said.to.first().expect("it is for somebody"));
                let is_replaced =
                    newer.any(|(later, _)| receiver.shown.contains_key(&(index + 1 + later)));
                return if is_replaced { Ok(()) } else { Err("it was lost".into()) };
            }
            Fate::Accepted(_) => said.to.len(),
            Fate::Partly(full, _) => said.to.len() - full,
            Fate::Refused => 0,
            Fate::Unknown => got,
        };
        if got != expected {
            return Err(format!("{got} of {expected} got it"));
        }
        let (Fate::Accepted(Some(id)) | Fate::Partly(_, Some(id))) = said.fate else {
            return Ok(());
        };
        for to in &said.to {
            let mut ids = client(to).ids.iter().filter(|(_, it)| **it == index);
            if let Some((other, _)) = ids.find(|(other, _)| **other != id) {
                return Err(format!("its id was {id}, and {to} got it with {other}"));
            }
        }
        Ok(())
    }
}
