//! One user's client: what it has said and what became of that, what it has heard, and the rules that
//! everything it gets must keep to.

#![allow(missing_docs, unreachable_pub, reason = "a part of one test")]

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use oicq::id::{ConnectionId, Seq, ServiceNumber};
use oicq::wire::server::{Presence, Sign, SystemKind};
use oicq::wire::{ClientPacket, Kind, Notice, Request, ServerPacket, cut_for_client};

use crate::kit::extended::{IDS, PRESENCE, RESULTS};

/// What its sender knows of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Nothing yet, or nothing any more: the connection was lost.
    Unknown,
    /// It is on its way to everybody; with its id, where the sender has results.
    Accepted(Option<u64>),
    /// So many do not get it.
    Partly(usize, Option<u64>),
    Refused,
}

/// A message, a broadcast or a friend request. Its text begins with its place in the list of all.
#[derive(Clone, Debug)]
pub struct Said {
    pub from: ServiceNumber,
    pub to: BTreeSet<ServiceNumber>,
    /// Of friend requests only the newest waits.
    pub is_request: bool,
    pub fate: Fate,
}

/// A packet that the client has sent and that has not been answered.
#[derive(Clone, Copy, Debug)]
enum Asked {
    /// One of all that is said.
    Said(usize),
    Test,
    Other,
}

/// Which clients a user has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// Without message ids.
    Plain,
    WithIds,
    /// Now the one and now the other.
    Both,
}

pub struct Client {
    pub number: ServiceNumber,
    pub style: Style,
    pub link: Option<ConnectionId>,
    /// What it asked for on its link.
    wanted: u32,
    /// What has arrived and was not read, or not all of a packet.
    buffer: Vec<u8>,
    asked: VecDeque<(u8, Asked)>,
    /// The last message on this link, and the latest from each sender.
    last_id: u64,
    latest: BTreeMap<ServiceNumber, usize>,
    states: BTreeMap<ServiceNumber, Presence>,
    /// The ids that it has seen, and which messages they are.
    pub ids: BTreeMap<u64, usize>,
    /// How often it has shown each message: what comes with an id that it has seen it does not show again.
    pub shown: BTreeMap<usize, usize>,
    /// What it has shown for the first time, from each sender.
    pub order: BTreeMap<ServiceNumber, Vec<usize>>,
}

impl Client {
    pub fn new(number: ServiceNumber, style: Style) -> Self {
        Self {
            number,
            style,
            link: None,
            wanted: 0,
            buffer: Vec::new(),
            asked: VecDeque::new(),
            last_id: 0,
            latest: BTreeMap::new(),
            states: BTreeMap::new(),
            ids: BTreeMap::new(),
            shown: BTreeMap::new(),
            order: BTreeMap::new(),
        }
    }

    /// Begins anew on another link, with these extensions.
    pub fn begin(&mut self, link: ConnectionId, wanted: u32) {
        (self.link, self.wanted, self.last_id) = (Some(link), wanted, 0);
        self.buffer.clear();
        self.asked.clear();
        self.latest.clear();
        self.states.clear();
    }

    pub const fn has(&self, extension: u32) -> bool {
        self.wanted & extension != 0
    }

    pub const fn last_id(&self) -> u64 {
        self.last_id
    }

    /// The friends whose states it was told, and how they looked last.
    pub const fn states(&self) -> &BTreeMap<ServiceNumber, Presence> {
        &self.states
    }

    /// The bytes of a packet, whose answer is expected from now on.
    pub fn asks(&mut self, request: Request<'_>, said: Option<usize>) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut add = |request: Request<'_>| {
            ClientPacket { own: self.number, request }.encode(Kind::User, &mut bytes);
            request.packet_type() as u8
        };
        let packet_type = add(request);
        match said {
            _ if matches!(request, Request::WantExtensions { .. }) => {}
            Some(index) => self.asked.push_back((packet_type, Asked::Said(index))),
            None if self.wanted & RESULTS != 0 => {
                self.asked.push_back((packet_type, Asked::Other));
            }
            None => {}
        }
        // Without results, the answer to a connection test shows that what came before it is done.
        if said.is_some() && self.wanted & RESULTS == 0 {
            let packet_type = add(Request::Test);
            self.asked.push_back((packet_type, Asked::Test));
        }
        bytes
    }

    /// Bytes have arrived.
    pub fn take(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    pub const fn has_unread(&self) -> bool {
        !self.buffer.is_empty()
    }

    /// Reads what has arrived.
    pub fn read(&mut self, said: &mut [Said]) -> Result<(), String> {
        loop {
            let buffer = std::mem::take(&mut self.buffer);
            let frame = cut_for_client(&buffer, Kind::User, u32::MAX);
            let Some(frame) = frame.map_err(|error| format!("{error:?}"))? else {
                self.buffer = buffer;
                return Ok(());
            };
            let packet = ServerPacket::decode(frame.header.packet_type, frame.content);
            let packet = packet.map_err(|error| format!("{error}: {frame:?}"))?;
            self.hear(&packet, said)
                .map_err(|why| format!("{}: {why}: {packet:?}", self.number))?;
            self.buffer = buffer[frame.length()..].to_vec();
        }
    }

    fn hear(&mut self, packet: &ServerPacket<'_>, said: &mut [Said]) -> Result<(), String> {
        match *packet {
            ServerPacket::Result { packet_type, success, id, text } => {
                expect(self.has(RESULTS), "nobody asked for results")?;
                self.hear_result(packet_type, success, id, text, said)
            }
            ServerPacket::Message { sign: Sign::System(SystemKind::Notice), text, .. } => {
                let notice = Notice::parse(text).ok_or("no notice")?;
                self.hear_notice(&notice, said)
            }
            ServerPacket::Message { sign, number, text } => {
                expect(!self.has(IDS), "a message without an id")?;
                self.hear_message(sign, number, text, said)?;
                self.show(number, index_of(text)?);
                Ok(())
            }
            ServerPacket::Numbered { id: Seq(id), sign, number, text, .. } => {
                expect(self.has(IDS), "nobody asked for ids")?;
                expect(id > self.last_id, "ids go up on a connection")?;
                self.last_id = id;
                self.hear_message(sign, number, text, said)?;
                let index = index_of(text)?;
                let known = self.ids.insert(id, index);
                expect(known.is_none_or(|known| known == index), "another message has this id")?;
                if known.is_none() || self.style == Style::Both {
                    self.show(number, index);
                }
                Ok(())
            }
            ServerPacket::FriendPresence { number, state } => {
                expect(self.has(PRESENCE), "nobody asked for presence")?;
                let was = self.states.insert(number, state).ok_or("nobody's friend")?;
                expect(was != state, "it looks as it did")
            }
            ServerPacket::LoggedIn { success, ref groups } => {
                expect(success, "the password is right")?;
                let friends = groups.iter().flat_map(|group| &group.friends);
                self.states = friends.map(|friend| (friend.number, friend.state)).collect();
                Ok(())
            }
            ServerPacket::Tested { .. } if !self.has(RESULTS) => self.hear_tested(said),
            ServerPacket::Extensions { granted } => {
                expect(granted == self.wanted, "another sum was wanted")
            }
            _ => Err("nobody asked for that".into()),
        }
    }

    fn hear_result(
        &mut self,
        packet_type: u8,
        success: bool,
        id: Seq,
        text: &[u8],
        said: &mut [Said],
    ) -> Result<(), String> {
        let (asked_type, asked) = self.asked.pop_front().ok_or("nothing was asked")?;
        expect(asked_type == packet_type, "results come in order")?;
        let Asked::Said(index) = asked else {
            return expect(success && id == Seq::ZERO, "it changes nothing");
        };
        said[index].fate = match (success, full(text)) {
            (true, None) => Fate::Accepted(Some(id.0)),
            (true, Some(full)) => Fate::Partly(full, Some(id.0)),
            (false, _) => Fate::Refused,
        };
        expect(success == (id != Seq::ZERO), "what is done has an id")
    }

    fn hear_notice(&mut self, notice: &Notice<'_>, said: &mut [Said]) -> Result<(), String> {
        if notice.packet_type == 0 {
            return Ok(());
        }
        expect(!self.has(RESULTS), "a notice in place of a result")?;
        let (asked_type, asked) = self.asked.pop_front().ok_or("nothing was asked")?;
        expect(asked_type == notice.packet_type, "notices come in order")?;
        let Asked::Said(index) = asked else { return Err("nothing was said".into()) };
        let text = format!("{}: {}", notice.code, notice.sentence);
        said[index].fate = match full(text.as_bytes()) {
            Some(full) if notice.packet_type == 0x04 => Fate::Partly(full, None),
            _ => Fate::Refused,
        };
        Ok(())
    }

    fn hear_tested(&mut self, said: &mut [Said]) -> Result<(), String> {
        loop {
            match self.asked.pop_front().ok_or("no test was asked for")? {
                (_, Asked::Said(index)) => said[index].fate = Fate::Accepted(None),
                (_, Asked::Test) => return Ok(()),
                (_, Asked::Other) => {}
            }
        }
    }

    fn hear_message(
        &mut self,
        sign: Sign,
        from: ServiceNumber,
        text: &[u8],
        said: &[Said],
    ) -> Result<(), String> {
        let index = index_of(text)?;
        let what = said.get(index).ok_or("nobody said that")?;
        expect(what.from == from && what.to.contains(&self.number), "that was for others")?;
        let of_kind = Sign::System(SystemKind::Asks);
        expect(sign == if what.is_request { of_kind } else { Sign::User }, "another kind")?;
        // On one connection nothing comes twice, and what one user says comes in order.
        let latest = self.latest.insert(from, index);
        expect(latest.is_none_or(|latest| latest < index), "out of order")
    }

    fn show(&mut self, from: ServiceNumber, index: usize) {
        let times = self.shown.entry(index).or_default();
        *times += 1;
        if *times == 1 {
            self.order.entry(from).or_default().push(index);
        }
    }
}

fn expect(holds: bool, what: &str) -> Result<(), String> {
    if holds { Ok(()) } else { Err(what.into()) }
}

/// The number at the start of a text.
fn index_of(text: &[u8]) -> Result<usize, String> {
    let text = std::str::from_utf8(text).map_err(|error| error.to_string())?;
    let first = text.split(' ').next().unwrap_or_default();
    first.parse().map_err(|_| "nobody says such things".into())
}

/// How many mailboxes are full, where that is what a text says.
fn full(text: &[u8]) -> Option<usize> {
    let text = std::str::from_utf8(text).ok()?;
    text.strip_prefix("mailbox-full: ")?.split(' ').next()?.parse().ok()
}
