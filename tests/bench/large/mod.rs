//! Large logs for the benchmarks, and their compaction.

#![allow(dead_code, unreachable_pub, reason = "each benchmark uses a part of it")]

use std::convert::Infallible;
use std::path::Path;

use oicq::codec::packed::Receipts;
use oicq::compaction::Plan;
use oicq::id::{MonoMillis, Seq, ServiceNumber, UnixMillis};
use oicq::log::{DiskStorage, Durability, Log, Options, Reader, Record, Step};
use oicq::state::Event;

use super::crowd;

/// How many events go into one batch.
const BATCH: u64 = 64;

/// What a log is made of.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    pub users: u32,
    pub friends: u32,
    pub messages: u32,
}

impl Size {
    /// This size, unless the environment asks for another.
    pub fn asked(users: u32, friends: u32, messages: u32) -> Self {
        let asked = |name: &str| std::env::var(name).ok()?.parse().ok();
        Self {
            users: asked("OICQ_USERS").unwrap_or(users),
            friends: asked("OICQ_FRIENDS").unwrap_or(friends),
            messages: asked("OICQ_MESSAGES").unwrap_or(messages),
        }
    }
}

/// Appends events, and notes what of them has to be delivered.
struct Writer {
    log: Log<DiskStorage>,
    payload: Vec<u8>,
    events: u64,
    receipts: Vec<(ServiceNumber, Seq)>,
}

impl Writer {
    fn add(&mut self, event: &Event<'_>) -> Seq {
        self.payload.clear();
        event.encode(&mut self.payload);
        self.events += 1;
        let (seq, _) = self.log.append(UnixMillis(1), event.kind() as u8, &self.payload).unwrap();
        if self.events.is_multiple_of(BATCH) {
            self.log.commit(MonoMillis(1)).unwrap();
        }
        seq
    }

    fn receive(&mut self, user: ServiceNumber, seq: Seq) {
        self.receipts.push((user, seq));
        if self.receipts.len() as u64 == BATCH {
            self.deliver();
        }
    }

    fn deliver(&mut self) {
        let mut all = std::mem::take(&mut self.receipts);
        all.sort_unstable();
        // Of several for one user the last counts.
        let next = all.iter().skip(1).map(|(user, _)| Some(*user)).chain([None]);
        let last = all.iter().zip(next).filter(|((user, _), next)| Some(*user) != *next);
        let bytes = Receipts::pack(last.map(|(receipt, _)| *receipt));
        self.add(&Event::Delivered { receipts: Receipts::over(&bytes).unwrap() });
    }
}

/// Writes a log of registrations, friendships, and messages that are delivered in batches. Answers how
/// many events, and bytes of batches, there are.
pub fn write(folder: &Path, size: Size, segment_size: u64) -> (u64, u64) {
    let storage = DiskStorage::create(folder).unwrap();
    let options = Options { segment_size, durability: Durability::Never, charset: 1 };
    let nothing = |_: &Record<'_>| Ok::<(), Infallible>(());
    let (log, _) = Log::open(storage, options, 1, UnixMillis(1), nothing).unwrap();
    let mut writer = Writer { log, payload: Vec::new(), events: 0, receipts: Vec::new() };
    crowd::events(size.users, size.friends, |event| {
        let seq = writer.add(event);
        if let Event::FriendAdded { owner, .. } = *event {
            writer.receive(owner, seq);
        }
    });
    for message in 0..size.messages {
        let from = crowd::user(message % size.users);
        let to = crowd::user(message.wrapping_mul(7919) % size.users);
        let seq = writer.add(&Event::MessageSent { from, to, content: &[b'm'; 100] });
        writer.receive(to, seq);
    }
    writer.deliver();
    let events = writer.events;
    writer.log.close().unwrap();
    let storage = DiskStorage::read_only(folder);
    let mut reader = Reader::open(&storage).unwrap();
    let mut bytes = 0;
    while let Step::Batch(batch) = reader.next_batch().unwrap() {
        bytes += batch.header.total();
    }
    (events, bytes)
}

/// Compacts what is closed. Answers how many events it were, and bytes before and after.
pub fn compact(folder: &Path) -> (u64, u64, u64) {
    let storage = DiskStorage::read_only(folder);
    let plan = Plan::new(&storage, None, |_| ()).unwrap().expect("several files are closed");
    let result = (plan.events(), plan.replaced_bytes(), plan.needed());
    let draft = plan.write(&storage, |_| ()).unwrap();
    draft.check(&storage, |_| ()).unwrap().publish(&storage).unwrap();
    result
}
