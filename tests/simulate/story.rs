//! What has happened on a simulated server: every event in its order, the digest after each, where batches
//! ended, and how much must survive whatever comes.
//!
//! Owns the comparison of a log that was opened with all of this. It takes part in nothing: what it knows it
//! was told by the server's host, and by who watches the disk.

#![allow(missing_docs, unreachable_pub, reason = "a part of one test")]

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::rc::Rc;

use oicq::id::{MonoMillis, Place, Seq, UnixMillis};
use oicq::log::{Durability, Log, OpenError, Options, Record, Recovery, locate};
use oicq::state::{Digest, Stamp, State};

use crate::disk::{Call, Made, MemDisk};

/// So small that a few dozen batches fill one.
pub const SEGMENT_BYTES: u64 = 16 << 10;
/// The first log id; another would be another log.
pub const LOG_ID: u64 = 0x0123_4567_89AB_CDEF;

pub const fn options(durability: Durability) -> Options {
    Options { segment_size: SEGMENT_BYTES, durability, charset: 1 }
}

/// An open log, what its recovery has found, and how many events it has.
pub type Opened = (Log<MemDisk>, Recovery, usize);

/// An event as it was appended.
pub struct Happened {
    pub time: UnixMillis,
    pub kind: u8,
    pub payload: Vec<u8>,
}

#[derive(Default)]
struct Told {
    events: Vec<Happened>,
    state: State,
    /// The digest after so many events.
    digests: Vec<Digest>,
    /// How many events there were at the end of each batch.
    ends: BTreeSet<usize>,
    /// The number that places have for the file that is appended to, and how often it has changed.
    file: usize,
    files: usize,
}

/// What has happened; clones are the same story.
#[derive(Clone, Default)]
pub struct Story {
    told: Rc<RefCell<Told>>,
    safe: Rc<Cell<usize>>,
    /// How many events are on disk if the sync that is being made succeeds.
    syncing: Rc<Cell<Option<usize>>>,
    /// The file whose sync is under way beside, and how many there were when it was begun.
    beside: Rc<Cell<Option<(u64, usize)>>>,
    recovering: Rc<Cell<bool>>,
}

impl Story {
    pub fn new() -> Self {
        let story = Self::default();
        let digest = State::default().digest();
        story.told.borrow_mut().digests.push(digest);
        story.told.borrow_mut().ends.insert(0);
        story
    }

    /// An event was appended.
    pub fn tell(&self, time: UnixMillis, kind: u8, payload: &[u8], seq: Seq, place: Place) {
        let mut told = self.told.borrow_mut();
        let told = &mut *told;
        let count = told.events.len();
        assert_eq!(seq.0, count as u64 + 1, "sequence numbers have no gaps");
        let (file, _) = locate(place);
        if std::mem::replace(&mut told.file, file) != file {
            // A batch ends with its segment, and what is before a segment is on disk.
            told.files += 1;
            told.ends.insert(count);
            self.is_safe(count);
        }
        let stamp = Stamp { seq, time, place };
        told.state.apply_record(stamp, kind, payload).expect("own events apply");
        told.digests.push(told.state.digest());
        told.events.push(Happened { time, kind, payload: payload.to_vec() });
    }

    /// The turn's batch was written.
    pub fn end_batch(&self) {
        let mut told = self.told.borrow_mut();
        let count = told.events.len();
        told.ends.insert(count);
    }

    pub fn events(&self) -> usize {
        self.told.borrow().events.len()
    }

    pub fn batches(&self) -> usize {
        self.told.borrow().ends.len() - 1
    }

    pub fn segments(&self) -> usize {
        self.told.borrow().files + 1
    }

    /// How many events must be there after a power cut.
    pub fn safe(&self) -> usize {
        self.safe.get()
    }

    /// So many events must survive from here on.
    pub fn is_safe(&self, count: usize) {
        self.safe.set(self.safe.get().max(count));
    }

    /// While a log is opened, its syncs are not about what was appended.
    pub fn set_recovering(&self, recovering: bool) {
        self.recovering.set(recovering);
    }

    pub fn is_recovering(&self) -> bool {
        self.recovering.get()
    }

    /// A call is about to be made; the one before it has succeeded.
    pub fn see(&self, made: &Made) {
        if let Some(count) = self.syncing.take() {
            self.is_safe(count);
        }
        if !made.name.ends_with(".log") || self.recovering.get() {
            return;
        }
        match made.call {
            Call::BeginSync => self.beside.set(Some((made.file, self.events()))),
            Call::Sync => {
                let begun = self.beside.take();
                let count = begun.filter(|(file, _)| *file == made.file).map(|(_, count)| count);
                self.syncing.set(count.or_else(|| Some(self.events())));
            }
            _ => {}
        }
    }

    /// Opens a log as a server does, and compares all of it with what has happened: so many events at least
    /// are there, in order, equal to the byte (or a base stands for the first of them), whole batches, and
    /// their state has the digest that it had. Answers how many there are.
    pub fn open(&self, disk: &MemDisk, durability: Durability, safe: usize) -> Opened {
        let opened = self.try_open(disk, durability, safe);
        opened.unwrap_or_else(|error| panic!("it does not open: {error}"))
    }

    /// As [`open`](Self::open), of a log that may be refused.
    pub fn try_open(
        &self,
        disk: &MemDisk,
        durability: Durability,
        safe: usize,
    ) -> Result<Opened, OpenError<String>> {
        let mut count = 0;
        let mut state = State::default();
        let told = self.told.borrow();
        let each = |record: &Record<'_>| -> Result<(), String> {
            let stamp = Stamp { seq: record.seq, time: record.time, place: record.place };
            if record.in_base {
                count = usize::try_from(record.seq.0).expect("few");
                let taken = state.take_record(stamp, true, record.kind, record.payload);
                return taken.map_err(|error| error.to_string());
            }
            let Some(happened) = told.events.get(count) else {
                return Err("nothing of the kind has happened".into());
            };
            count += 1;
            let same = record.seq.0 == count as u64
                && (record.time, record.kind) == (happened.time, happened.kind)
                && record.payload == happened.payload;
            if !same {
                return Err("something else has happened".into());
            }
            let applied = state.apply_record(stamp, record.kind, record.payload);
            applied.map_err(|error| error.to_string())
        };
        let now = UnixMillis(1);
        let (log, recovery) = Log::open(disk.clone(), options(durability), LOG_ID, now, each)?;
        assert_eq!(log.next_seq().0, count as u64 + 1, "it goes on behind the last event");
        assert!(count >= safe, "{safe} events were safe, {count} are there");
        // The batch that is being written has all events so far.
        let is_end = told.ends.contains(&count) || count == told.events.len();
        assert!(is_end, "half a batch: {count} events");
        assert!(state.digest() == told.digests[count], "another state after {count} events");
        check_texts(&log, &state);
        Ok((log, recovery, count))
    }

    /// Lets what has happened after `count` events happen again, a batch every `millis` milliseconds; answers
    /// how many events there are then. `each` hears of every batch.
    pub fn go_on(
        &self,
        log: &mut Log<MemDisk>,
        mut count: usize,
        batches: usize,
        millis: usize,
        mut each: impl FnMut(usize),
    ) -> usize {
        let told = self.told.borrow();
        for (end, mono) in told.ends.range(count + 1..).take(batches).zip((0..).step_by(millis)) {
            let mono = MonoMillis(mono);
            for happened in &told.events[count..*end] {
                let added = log.append(happened.time, happened.kind, &happened.payload);
                let (seq, place) = added.unwrap_or_else(|error| panic!("no event: {error}"));
                count += 1;
                assert_eq!(seq.0, count as u64, "sequence numbers have no gaps");
                let length = u32::try_from(happened.payload.len()).expect("small");
                let text = log.text(place, length).unwrap_or_else(|error| panic!("{error}"));
                assert!(text == happened.payload, "another text");
            }
            log.commit(mono).unwrap_or_else(|error| panic!("no batch: {error}"));
            each(count);
            log.housekeep(mono).unwrap_or_else(|error| panic!("no housekeeping: {error}"));
        }
        count
    }
}

/// Every waiting message has the text that it was accepted with.
fn check_texts(log: &Log<MemDisk>, state: &State) {
    let waiting = state.users().flat_map(|(_, user)| user.mailbox().iter());
    for (seq, waiting) in waiting {
        let text = log.text(waiting.place, waiting.length);
        let text = text.unwrap_or_else(|error| panic!("the text of {seq}: {error}"));
        assert!(crc32fast::hash(&text) == waiting.checksum, "another text of {seq}");
    }
}
