//! Pairs of users of whom each has one message under way, and how many of these a server takes in a second.
//!
//! A base client sends its next message when the other end has got the one before. With extensions it waits
//! for the result, too, and the other end confirms what it got.

#![allow(dead_code, reason = "each benchmark uses a part of it")]

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use oicq::codec::profile::Profile;
use oicq::codec::secret::Secret;
use oicq::id::{Seq, ServiceNumber};
use oicq::wire::client::Account;
use oicq::wire::server::Extensions;
use oicq::wire::{ClientPacket, Kind, Request, ServerPacket, cut_for_client};
use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::fd::OwnedFd;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::crowd;
use crate::server::{EMPTY_LIST, ask, receive};

/// How long a round is measured, and how long its beginning is not.
const ROUND: Duration = Duration::from_secs(3);
const WARM_UP: Duration = Duration::from_millis(500);
const PATIENCE_S: i64 = 30;
const EVENTS: usize = 1_024;
const CONTENT: [u8; 100] = [b'm'; 100];

/// One end of a pair: a socket and what has come of a packet.
struct End {
    own: ServiceNumber,
    socket: TcpStream,
    input: Vec<u8>,
}

struct Pair {
    writer: End,
    receiver: End,
    message: Vec<u8>,
    /// What the message under way still needs.
    is_accepted: bool,
    has_arrived: bool,
}

impl End {
    fn new(address: &str, own: ServiceNumber, is_extended: bool) -> Self {
        let mut socket = TcpStream::connect(address).unwrap();
        socket.set_nodelay(true).unwrap();
        let password = Secret::new(b"secret");
        let profile = Profile { nickname: b"somebody", ..Profile::default() };
        let account = Account { profile, password, authentication: 0 };
        ask(&mut socket, ServiceNumber::NONE, Request::Register(account), 8 + 5);
        if is_extended {
            let wanted = Extensions::RESULTS.sum() + Extensions::MESSAGE_IDS.sum();
            let mut bytes = Vec::new();
            let request = Request::WantExtensions { wanted };
            ClientPacket { own, request }.encode(Kind::User, &mut bytes);
            socket.write_all(&bytes).unwrap();
            assert_eq!(receive(&mut socket), wanted.to_be_bytes(), "it is granted");
        }
        ask(&mut socket, own, Request::LogIn { password, mode: 0 }, EMPTY_LIST);
        if is_extended {
            receive(&mut socket);
        }
        socket.set_nonblocking(true).unwrap();
        Self { own, socket, input: Vec::new() }
    }

    fn send(&mut self, bytes: &[u8]) {
        // The packets are few and small: there is room for them.
        self.socket.write_all(bytes).unwrap();
    }

    /// Reads what is there, and hands over each packet.
    fn read(&mut self, mut each: impl FnMut(&ServerPacket<'_>)) {
        let mut chunk = [0; 4_096];
        loop {
            match self.socket.read(&mut chunk) {
                Ok(0) => panic!("the server has closed a connection"),
                Ok(count) => self.input.extend_from_slice(&chunk[..count]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => panic!("{error}"),
            }
        }
        let mut start = 0;
        while let Some(frame) = cut_for_client(&self.input[start..], Kind::User, 1 << 16).unwrap() {
            each(&ServerPacket::decode(frame.header.packet_type, frame.content).unwrap());
            start += frame.length();
        }
        self.input.drain(..start);
    }
}

impl Pair {
    fn new(address: &str, first: u32, is_extended: bool) -> Self {
        let [writer, receiver] =
            [0, 1].map(|index| End::new(address, crowd::user(first + index), is_extended));
        let request = Request::Send { receiver: receiver.own, content: &CONTENT };
        let mut message = Vec::new();
        ClientPacket { own: writer.own, request }.encode(Kind::User, &mut message);
        // Without results nobody says that it was accepted.
        Self { writer, receiver, message, is_accepted: !is_extended, has_arrived: false }
    }

    fn handle_writer(&mut self) {
        self.writer.read(|packet| match packet {
            ServerPacket::Result { success: true, .. } => self.is_accepted = true,
            other => panic!("{other:?}"),
        });
    }

    fn handle_receiver(&mut self) {
        let mut arrived = None;
        self.receiver.read(|packet| match packet {
            ServerPacket::Message { .. } => self.has_arrived = true,
            ServerPacket::Numbered { id, .. } => {
                self.has_arrived = true;
                arrived = Some(*id);
            }
            // That of the confirmation.
            ServerPacket::Result { success: true, .. } => {}
            other => panic!("{other:?}"),
        });
        if let Some(through) = arrived {
            self.confirm(through);
        }
    }

    fn confirm(&mut self, through: Seq) {
        let mut bytes = Vec::new();
        let packet = ClientPacket { own: self.receiver.own, request: Request::Arrived { through } };
        packet.encode(Kind::User, &mut bytes);
        self.receiver.send(&bytes);
    }
}

/// Pairs of one sort, and the kernel's list of all their sockets.
pub(crate) struct Load {
    pairs: Vec<Pair>,
    epoll: OwnedFd,
    events: Vec<epoll::Event>,
    is_extended: bool,
    /// Messages that arrived, in all rounds and between them.
    arrived: u64,
}

impl Load {
    /// So many pairs, with the numbers from the crowd's `first` on.
    pub(crate) fn new(address: &str, pairs: u32, first: u32, is_extended: bool) -> Self {
        let pairs: Vec<_> =
            (0..pairs).map(|pair| Pair::new(address, first + 2 * pair, is_extended)).collect();
        let epoll = epoll::create(CreateFlags::CLOEXEC).unwrap();
        for (key, end) in pairs.iter().flat_map(|pair| [&pair.writer, &pair.receiver]).enumerate() {
            let data = EventData::new_u64(key as u64);
            epoll::add(&epoll, &end.socket, data, EventFlags::IN).unwrap();
        }
        Self { pairs, epoll, events: Vec::with_capacity(EVENTS), is_extended, arrived: 0 }
    }

    /// Messages a second that were accepted and got to the other end.
    pub(crate) fn round(&mut self) -> f64 {
        self.pairs.iter_mut().for_each(|pair| pair.writer.send(&pair.message));
        let begun = Instant::now();
        let (mut count, mut since) = (0_u32, None);
        let took = loop {
            let time = begun.elapsed();
            if since.is_none() && time >= WARM_UP {
                (count, since) = (0, Some(time));
            }
            if time >= WARM_UP + ROUND {
                break time - since.unwrap_or_default();
            }
            count += self.turn(true);
        };
        let rate = f64::from(count) / took.as_secs_f64();
        // The messages under way arrive before the next round.
        let mut under_way = self.pairs.len();
        while under_way > 0 {
            under_way -= self.turn(false) as usize;
        }
        rate
    }

    /// Messages that arrived so far, those that no round counts included.
    pub(crate) const fn arrived(&self) -> u64 {
        self.arrived
    }

    /// Takes what has come; answers how many messages are done with. Where it goes on, others follow them.
    fn turn(&mut self, goes_on: bool) -> u32 {
        self.events.clear();
        let patience = Timespec { tv_sec: PATIENCE_S, tv_nsec: 0 };
        epoll::wait(&self.epoll, spare_capacity(&mut self.events), Some(&patience)).unwrap();
        assert!(!self.events.is_empty(), "the server has said nothing for {PATIENCE_S} s");
        let mut done = 0;
        for event in &self.events {
            let key = usize::try_from(event.data.u64()).unwrap();
            let pair = &mut self.pairs[key / 2];
            if key.is_multiple_of(2) {
                pair.handle_writer()
            } else {
                pair.handle_receiver()
            }
            if pair.is_accepted && pair.has_arrived {
                (pair.is_accepted, pair.has_arrived) = (!self.is_extended, false);
                done += 1;
                self.arrived += 1;
                if goes_on {
                    pair.writer.send(&pair.message);
                }
            }
        }
        done
    }
}

/// As many sockets as the system allows.
pub(crate) fn allow_sockets() {
    let files = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: files, maximum: files }).unwrap();
}

pub(crate) fn median(mut rates: Vec<f64>) -> f64 {
    rates.sort_by(f64::total_cmp);
    rates[rates.len() / 2]
}
