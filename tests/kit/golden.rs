//! The golden log and the sample conversation in `data/`: where they are, and reading a log through its
//! public face.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use oicq::id::UnixMillis;
use oicq::log::{DiskStorage, End, Reader, Step};
use oicq::state::{Event, EventKind, Stamp, State};

use super::Entry;

/// An event as it stands in a log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Logged {
    pub time: UnixMillis,
    pub kind: u8,
    pub payload: Vec<u8>,
}

impl From<&Entry> for Logged {
    fn from(entry: &Entry) -> Self {
        Self { time: entry.time, kind: entry.kind, payload: entry.payload.clone() }
    }
}

impl Logged {
    pub fn event(&self) -> Event<'_> {
        Event::decode(self.kind, &self.payload).expect("an event")
    }

    /// The same without what is by chance in it: its time, and a password's hash.
    pub fn without_chance(&self) -> Self {
        let mut event = self.event();
        match &mut event {
            Event::Registered { password_hash, .. }
            | Event::PasswordRehashed { password_hash, .. } => *password_hash = "-",
            Event::ProfileChanged { password_hash: Some(hash), .. } => *hash = "-",
            _ => {}
        }
        let mut payload = Vec::new();
        event.encode(&mut payload);
        Self { time: UnixMillis(0), kind: self.kind, payload }
    }
}

/// The segment files of format version 1.
pub fn log_folder() -> PathBuf {
    data().join("golden/v1")
}

/// What replaying them must give.
pub fn expected_file() -> PathBuf {
    log_folder().join("expected.txt")
}

/// The sample conversation as captured packets.
pub fn packets_file() -> PathBuf {
    data().join("community/packets.txt")
}

fn data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("data")
}

/// A file of `data/` as text.
pub fn read_text(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// All of a log that must be whole.
pub struct WholeLog {
    pub logged: Vec<Logged>,
    /// What they make.
    pub state: State,
    pub batches: usize,
    pub segments: usize,
}

/// Reads all of a log, and takes nothing but a whole one.
pub fn read_log(folder: &Path) -> WholeLog {
    let storage = DiskStorage::read_only(folder);
    let mut reader = Reader::open(&storage).expect("the folder can be listed");
    let (mut logged, mut state, mut batches) = (Vec::new(), State::default(), 0);
    loop {
        match reader.next_batch().expect("the files can be read") {
            Step::Batch(batch) => {
                batches += 1;
                for record in batch.records() {
                    let stamp = Stamp { seq: record.seq, time: record.time, place: record.place };
                    state.apply_record(stamp, record.kind, record.payload).expect("it applies");
                    let (time, kind, payload) = (record.time, record.kind, record.payload.to_vec());
                    logged.push(Logged { time, kind, payload });
                }
            }
            Step::End(End::Whole) => {
                return WholeLog { logged, state, batches, segments: reader.segments().len() };
            }
            Step::End(end) => panic!("{}: {end:?}", folder.display()),
        }
    }
}

/// The lines of `expected.txt`: the digest, the last sequence number, and how many events of each kind.
pub fn summary(log: &WholeLog) -> String {
    let mut counts: BTreeMap<u8, usize> = BTreeMap::new();
    for logged in &log.logged {
        *counts.entry(logged.kind).or_default() += 1;
    }
    let (digest, last_seq) = (log.state.digest(), log.state.last_seq());
    let mut text = format!("digest {digest}\nlast-seq {last_seq}\n");
    for (kind, count) in counts {
        let name = EventKind::from_byte(kind).expect("a known kind").name();
        // Writing into a string does not fail.
        let _ = writeln!(text, "{name} {count}");
    }
    text
}
