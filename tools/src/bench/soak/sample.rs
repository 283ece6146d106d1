//! What is looked at each second of a long run, and what has happened in it.
//!
//! Owns the samples. What they mean is settled in `verdict`.

use super::crowd::Crowd;
use super::upkeep::Upkeep;
use crate::bench::watch::{Sample as Processor, Watch, Work};

/// Between two samples.
pub(super) const EVERY_NS: u64 = 1_000_000_000;
/// So long after a restart, what it has held up still shows in the times of messages.
const SHOWS_NS: u64 = 5_000_000_000;

/// One look.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Sample {
    /// When, in nanoseconds since the load began.
    pub(super) at_ns: u64,
    /// Since the sample before.
    pub(super) elapsed_ns: u64,
    /// Messages that have arrived since then.
    pub(super) arrivals: u64,
    /// How long they took, of those that were not for somebody away or deaf.
    pub(super) times: Option<Times>,
    /// The server's memory of its own, and its open files but for the log's.
    pub(super) memory: Option<u64>,
    pub(super) files: Option<u64>,
    /// Bytes of all files in the log's folder.
    pub(super) bytes: u64,
    /// Messages that have not arrived.
    pub(super) waiting: u64,
    /// Acts that were not answered.
    pub(super) under_way: u64,
    pub(super) in_session: u64,
    pub(super) connections: u64,
    /// Users on record.
    pub(super) users: u64,
    pub(super) work: Work,
    /// How many servers there were before this one.
    pub(super) life: usize,
    /// How long this one runs.
    pub(super) age_ns: u64,
    /// A server stops, or has started a moment ago.
    pub(super) is_disturbed: bool,
}

/// Shares of the times of messages, in nanoseconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Times {
    pub(super) p50: u64,
    pub(super) p99: u64,
    pub(super) p999: u64,
    pub(super) max: u64,
}

/// What is marked in the picture.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Mark {
    Stop,
    Kill,
    Started,
    /// Bytes of the log's folder afterwards.
    Compacted {
        bytes: u64,
    },
}

impl Mark {
    /// For programs.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Kill => "kill",
            Self::Started => "started",
            Self::Compacted { .. } => "compacted",
        }
    }
}

/// Makes samples.
pub(super) struct Sampler {
    begun_ns: u64,
    last_ns: u64,
    watch: Watch,
    processor: Processor,
    started_ns: u64,
    life: usize,
    /// Whether a server has ended since the last sample.
    was_down: bool,
}

impl Sampler {
    /// Begins now.
    pub(super) fn begin(now_ns: u64, watch: Watch) -> Self {
        Self {
            begun_ns: now_ns,
            last_ns: now_ns,
            watch,
            processor: watch.sample(now_ns),
            started_ns: now_ns.saturating_sub(SHOWS_NS),
            life: 0,
            was_down: false,
        }
    }

    /// When the next look is due.
    pub(super) const fn due_ns(&self) -> u64 {
        self.last_ns + EVERY_NS
    }

    /// Another server has started.
    pub(super) fn server_started(&mut self, now_ns: u64, watch: Watch) {
        self.watch = watch;
        self.processor = watch.sample(now_ns);
        (self.started_ns, self.was_down) = (now_ns, true);
        self.life += 1;
    }

    /// Looks, and begins to count anew.
    pub(super) fn look(&mut self, now_ns: u64, crowd: &mut Crowd<'_>, upkeep: &Upkeep) -> Sample {
        let processor = self.watch.sample(now_ns);
        let holds = self.watch.holds();
        let books = &mut crowd.books;
        let window = &books.window;
        let times = (window.count() > 0).then(|| Times {
            p50: window.quantile(0.5),
            p99: window.quantile(0.99),
            p999: window.quantile(0.999),
            max: window.quantile(1.0),
        });
        books.window.clear();
        let arrivals = std::mem::take(&mut books.arrivals);
        let (waiting, registered) = (books.ledger.waiting(), books.tally.registered);
        let age_ns = now_ns - self.started_ns;
        let sample = Sample {
            at_ns: now_ns - self.begun_ns,
            elapsed_ns: now_ns - self.last_ns,
            arrivals,
            times,
            memory: holds.map(|holds| holds.memory),
            files: holds.map(|holds| holds.files),
            bytes: upkeep.bytes(),
            waiting,
            under_way: crowd.under_way as u64,
            in_session: crowd.in_session() as u64,
            connections: crowd.connections() as u64,
            users: crowd.people() as u64 + registered,
            work: Work::between(&self.processor, &processor),
            life: self.life,
            age_ns,
            is_disturbed: !upkeep.is_up() || self.was_down || age_ns < SHOWS_NS,
        };
        (self.last_ns, self.processor, self.was_down) = (now_ns, processor, false);
        sample
    }
}

impl Sample {
    /// Messages that arrived in a second.
    pub(super) fn rate(&self) -> u64 {
        let rate = u128::from(self.arrivals) * 1_000_000_000 / u128::from(self.elapsed_ns.max(1));
        u64::try_from(rate).unwrap_or(u64::MAX)
    }
}
