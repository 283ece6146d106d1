//! What clients do in a simulated run: they register, add friends, sort them into groups, talk, broadcast,
//! come and go; servers stop, are killed, and start again.
//!
//! Owns the choice of what is asked for next, all of it by chance with a seed. Whether it is granted is the
//! server's decision.

#![allow(missing_docs, unreachable_pub, reason = "a part of one test")]

use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;

use oicq::codec::packed::Moves;
use oicq::codec::profile::Profile;
use oicq::codec::secret::Secret;
use oicq::compaction::{CompactionError, KeepSince};
use oicq::id::{ConnectionId, GroupNumber, Now, Seq, ServiceNumber};
use oicq::log::{Durability, Failed};
use oicq::wire::Request;
use oicq::wire::client::Account;

use super::cuts::Lots;
use super::mishap::Mishap;
use super::server::{BEGINNING, OPERATOR, Server, StartError, packet};
use super::story::Story;
use super::tool;
use crate::chance::Chance;
use crate::disk::{Made, MemDisk};

/// How a run goes.
#[derive(Clone)]
pub struct Course {
    /// At so many batches the server of this life ends: stopped in order, or killed.
    pub lives: Vec<Life>,
    pub users: usize,
    /// Texts have one of these lengths.
    pub texts: &'static [usize],
    /// A tool compacts the log once in so many steps; 0: never.
    pub compacts_one_in: usize,
}

#[derive(Clone, Copy, Debug)]
pub struct Life {
    pub batches: usize,
    pub ending: Ending,
    pub durability: Durability,
    /// What happens to the disk before it.
    pub before: Mishap,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ending {
    Stopped,
    Killed,
}

const PASSWORD: &[u8] = b"secret";

/// Why a run came to an end too soon.
#[derive(Debug)]
pub enum Broke {
    Start(StartError),
    Run(Failed),
}

impl fmt::Display for Broke {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Start(StartError::Open(error)) => error.fmt(f),
            Self::Start(StartError::Run(failed)) | Self::Run(failed) => failed.fmt(f),
        }
    }
}

impl From<Failed> for Broke {
    fn from(error: Failed) -> Self {
        Self::Run(error)
    }
}

impl From<StartError> for Broke {
    fn from(error: StartError) -> Self {
        Self::Start(error)
    }
}

/// How often things have happened in a run.
#[derive(Clone, Copy, Default, Debug)]
pub struct Events {
    /// Changes were refused for want of room.
    pub refused: u64,
    /// A tool has compacted the log.
    pub compacted: u64,
    /// A tool could not, or was killed.
    pub not_compacted: u64,
    /// A server has taken a compacted log into use.
    pub adopted: u64,
}

/// The server and its clients.
struct Crowd {
    disk: MemDisk,
    story: Story,
    course: Course,
    life: usize,
    server: Option<Server>,
    now: Now,
    lots: Lots,
    steps: usize,
    /// Who is in session, and where.
    online: Vec<(ServiceNumber, ConnectionId)>,
    events: Events,
}

/// Runs servers on the disk, one after the other, and a tool beside them.
pub fn run(disk: &MemDisk, story: &Story, chance: Chance, course: Course) -> Result<Events, Broke> {
    let compacts_one_in = course.compacts_one_in;
    let lots = Rc::new(RefCell::new(chance));
    let crowd = Crowd {
        disk: disk.clone(),
        story: story.clone(),
        course,
        life: 0,
        server: None,
        now: BEGINNING,
        lots: lots.clone(),
        steps: 0,
        online: Vec::new(),
        events: Events::default(),
    };
    let crowd = Rc::new(RefCell::new(crowd));
    loop {
        let goes_on = crowd.borrow_mut().step()?;
        if !goes_on {
            return Ok(crowd.borrow().events);
        }
        let compacts = compacts_one_in > 0 && lots.borrow_mut().one_in(compacts_one_in);
        if compacts {
            compact_beside(disk, &crowd, &lots)?;
        }
    }
}

/// A tool compacts the log while the server goes on between its calls; some tools are killed on the way.
fn compact_beside(disk: &MemDisk, crowd: &Rc<RefCell<Crowd>>, lots: &Lots) -> Result<(), Broke> {
    let (broke, other, chance) = (Rc::new(RefCell::new(None)), crowd.clone(), lots.clone());
    let out = broke.clone();
    let turn = move |_: &Made| {
        let has_turn = chance.borrow_mut().one_in(4) && out.borrow().is_none();
        if has_turn {
            let mut crowd = other.borrow_mut();
            crowd.look_for_base();
            let stepped = crowd.step();
            *out.borrow_mut() = stepped.err();
        }
    };
    let mut tool = disk.between_turns(turn);
    let (is_killed, calls) = {
        let mut chance = lots.borrow_mut();
        (chance.one_in(3), chance.below(60))
    };
    if is_killed {
        tool = tool.killed_after(calls);
    }
    let keep_since = keep_since(&mut lots.borrow_mut(), crowd.borrow().story.events());
    let done = tool::compact(&mut tool, keep_since);
    let mut crowd = crowd.borrow_mut();
    crowd.note_compaction(&done);
    crowd.look_for_base();
    let broke = broke.borrow_mut().take();
    broke.map_or(Ok(()), Err)
}

fn keep_since(chance: &mut Chance, events: usize) -> Option<KeepSince> {
    let seq = Seq(chance.below(events + 1) as u64);
    chance.one_in(4).then_some(KeepSince::Seq(seq))
}

fn account(nickname: &[u8], authentication: u8) -> Account<'_> {
    Account {
        profile: Profile { nickname, ..Profile::default() },
        password: Secret::new(PASSWORD),
        authentication,
    }
}

impl Crowd {
    /// Does something; answers whether there is more to do.
    fn step(&mut self) -> Result<bool, Broke> {
        let stepped = self.try_step();
        if stepped.is_err()
            && let Some(server) = self.server.take()
        {
            server.assert_ended(&self.disk);
        }
        stepped
    }

    fn try_step(&mut self) -> Result<bool, Broke> {
        let Some(life) = self.course.lives.get(self.life).copied() else { return Ok(false) };
        self.steps += 1;
        if self.server.is_none() {
            life.before.happen(&self.disk);
            let server = Server::open(self.own_disk(), life.durability, &self.story, self.now)?;
            self.server = Some(server);
            return Ok(true);
        }
        // Where every change is refused, no batch is ever written.
        if self.story.batches() < life.batches && self.steps < 20 * life.batches {
            self.ask_for_something()?;
            return Ok(true);
        }
        let server = self.server.take().expect("it was just there");
        self.events.refused += server.surroundings.refused;
        self.events.adopted += server.adopted;
        self.online.clear();
        self.life += 1;
        self.now = match life.ending {
            Ending::Stopped => server.stop()?,
            Ending::Killed => server.now,
        };
        self.now.wall.0 += 1000;
        self.now.mono.0 += 1000;
        Ok(true)
    }

    /// The server's own handle: now and then, a whole compaction comes between two of its calls.
    fn own_disk(&self) -> MemDisk {
        if self.course.compacts_one_in == 0 {
            return self.disk.clone();
        }
        let (disk, story) = (self.disk.clone(), self.story.clone());
        let mut chance = Chance::new(self.lots.borrow_mut().next());
        self.disk.between_turns(move |_| {
            if chance.one_in(200) {
                let keep_since = keep_since(&mut chance, story.events());
                // Whether it can or not is nothing to the server.
                let _ = tool::compact(&mut disk.clone(), keep_since);
            }
        })
    }

    fn look_for_base(&mut self) {
        if let Some(server) = &mut self.server {
            server.look_for_base();
        }
    }

    fn note_compaction(&mut self, done: &Result<usize, CompactionError>) {
        match done {
            Ok(0) => {}
            Ok(_) => self.events.compacted += 1,
            Err(_) => self.events.not_compacted += 1,
        }
    }

    fn server(&mut self) -> &mut Server {
        self.server.as_mut().expect("somebody is served")
    }

    fn ask_for_something(&mut self) -> Result<(), Failed> {
        let server = self.server.as_ref().expect("somebody is served");
        let known = server.engine.state().user_count();
        self.online.retain(|(_, at)| !server.is_closed(*at));
        let (present, users) = (self.online.len(), self.course.users);
        let away = known - present;
        let registers = if known < 3 {
            60
        } else if known < users {
            6
        } else {
            0
        };
        let arrives = if away > 0 { 3 + 3 * away } else { 0 };
        let weights = [registers, arrives, present.min(4), 20 * present, 8];
        let lots = self.lots.clone();
        let mut chance = lots.borrow_mut();
        let choice = chance.weighted(&weights);
        let chance = &mut *chance;
        match choice {
            0 => self.register(known, chance),
            1 => self.arrive(known, chance),
            2 => self.leave(chance),
            3 => self.ask(chance),
            _ => self.server().pass(chance.pick(&[1, 12, 60, 400, 1500])),
        }
    }

    fn register(&mut self, known: usize, chance: &mut Chance) -> Result<(), Failed> {
        let at = self.server().connect()?;
        let nickname = format!("user {known}");
        let account = account(nickname.as_bytes(), u8::from(chance.one_in(2)));
        let register = packet(ServiceNumber::NONE, Request::Register(account));
        self.server().packets(&[(at, register)])?;
        self.server().disconnect(at)
    }

    fn arrive(&mut self, known: usize, chance: &mut Chance) -> Result<(), Failed> {
        let numbers = (0..known).map(|index| OPERATOR.0 + u32::try_from(index).expect("few"));
        let away: Vec<_> = numbers
            .map(ServiceNumber)
            .filter(|number| self.online.iter().all(|(online, _)| online != number))
            .collect();
        let number = chance.pick(&away);
        let at = self.server().connect()?;
        self.server().set_deaf(at, chance.one_in(4));
        let request = Request::LogIn { password: Secret::new(PASSWORD), mode: 0 };
        self.server().packets(&[(at, packet(number, request))])?;
        self.online.push((number, at));
        Ok(())
    }

    fn leave(&mut self, chance: &mut Chance) -> Result<(), Failed> {
        let (_, at) = self.online.swap_remove(chance.below(self.online.len()));
        self.server().disconnect(at)
    }

    /// Some requests in one turn.
    fn ask(&mut self, chance: &mut Chance) -> Result<(), Failed> {
        let millis = chance.pick(&[0, 1, 1, 3, 20]);
        self.server().now.wall.0 += millis;
        self.server().now.mono.0 += millis;
        let mut packets = Vec::new();
        for _ in 0..chance.pick(&[1, 1, 1, 2, 5]) {
            let (own, at) = chance.pick(&self.online);
            packets.push((at, self.request(own, chance)));
        }
        if chance.one_in(10) {
            let (_, at) = chance.pick(&self.online);
            self.server().set_deaf(at, chance.one_in(2));
        }
        self.server().packets(&packets)
    }

    fn request(&mut self, own: ServiceNumber, chance: &mut Chance) -> Vec<u8> {
        let texts = self.course.texts;
        let state = self.server().engine.state();
        let user = state.user(own).expect("it is in session");
        let anyone = |chance: &mut Chance| {
            OPERATOR.0 + u32::try_from(chance.below(state.user_count())).expect("few")
        };
        let someone = ServiceNumber(anyone(chance));
        let friends: Vec<_> = user.friends().iter().map(|friend| friend.number).collect();
        let friend = |chance: &mut Chance| {
            if friends.is_empty() { someone } else { chance.pick(&friends) }
        };
        let groups: Vec<_> = user.groups().iter().map(|group| group.number).collect();
        let text = vec![b'a' + chance.byte() % 26; chance.pick(texts)];
        let asker = user.requests().iter().next().copied();
        let moves = Moves::pack([(friend(chance), chance.pick(&groups))]);
        let monitors = if own == OPERATOR { 4 } else { 0 };
        let answers = if asker.is_some() { 12 } else { 0 };
        let weights = [20, 6, 4, 2, 2, 3, 12, 3, 2, 2, answers, monitors];
        let request = match chance.weighted(&weights) {
            0 => Request::Send { receiver: friend(chance), content: &text },
            1 => Request::Broadcast { group: GroupNumber::ALL.0.into(), content: &text },
            2 => Request::AddGroup { name: b"another" },
            3 => Request::RenameGroup { group: chance.pick(&groups), name: b"a new name" },
            4 => Request::DeleteGroup { group: chance.pick(&groups) },
            5 => Request::MoveFriends(Moves::over(&moves).expect("it was packed just so")),
            6 => Request::AddFriend { friend: someone },
            7 => Request::RequestFriend { friend: someone, reason: b"it is me" },
            8 => Request::DeleteFriend { friend: friend(chance) },
            9 => Request::ChangeProfile(account(b"renamed", chance.byte() % 3)),
            10 => Request::AnswerRequest {
                friend: asker.expect("somebody asks"),
                consent: chance.byte() % 2,
            },
            _ => Request::Monitor { watched: someone },
        };
        packet(own, request)
    }
}
