//! Memory beside the state: how much of it there can be at most, by the options, and when what was freed goes back
//! to the system.
//!
//! It never counts what is held. The bound is a sum of limits that others keep to.

use std::fmt::Display;
use std::fs;

use crate::cli::settings::Options;
use crate::id::MonoMillis;
use crate::limits::{
    BUFFERS_BYTES_MAX, CONTENT_BYTES_BEFORE_LOGIN, COPIED_BYTES_PER_TURN, FILES_LINGERING,
    FREED_BYTES, FREED_MS, FREED_PAUSE_MS, MESSAGE_BYTES, MONITORED_WAITING, OUTBOX_BYTES_PER_TURN,
    OUTPUT_BYTES_MAX, PACKETS_PER_TURN, PASSWORDS_WAITING, READ_BYTES_PER_TURN, SEARCHES_AT_ONCE,
    THROTTLED_KEYS,
};

use super::buffer::SPARES_BYTES_MAX;
use super::reports::REPORTS;

/// What a growing list may take of memory for each byte that it holds.
const GROWTH: u64 = 2;
/// What a connection takes in all tables, lists and the session, in bytes. Idle ones take less than half a KiB.
const CONNECTION_BYTES: u64 = 2 << 10;
/// A message that was sent and not acknowledged, in bytes.
const SENT_BYTES: u64 = 24;
/// The same where a file of the recording begins, and what else it says of a connection, a search statement among it.
const RECORDED_SENT_BYTES: u64 = 20;
const RECORDED_CONNECTION_BYTES: u64 = 2 << 10;
/// What a search statement takes that is understood, in bytes: the shortest conditions are of some 6 bytes.
const QUERY_BYTES: u64 = 24 << 10;
/// What a search takes that is under way, in bytes: the users found, with all that they are sorted by.
const SEARCH_BYTES: u64 = 256 << 10;
/// A message that an operator is still to be sent, in bytes, and where a file of the recording begins.
const MONITORED_BYTES: u64 = 40;
const RECORDED_MONITORED_BYTES: u64 = 20;
/// What is remembered of one who has tried too much, in bytes, and how many of such memories there are.
const THROTTLED_BYTES: u64 = 512;
/// The same where a file of the recording begins.
const RECORDED_THROTTLED_BYTES: u64 = 64;
const THROTTLES: u64 = 3;
/// The program, its threads, and lists that are always there, in bytes.
const FIXED_BYTES: u64 = 8 << 20;

/// How much memory a server may need at most beside its state, in bytes: with so many connections, and in all. The
/// state is what the log says, and grows with it; so do replies with the friend lists that they tell, and what a
/// session is still to be told of friends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bound {
    /// Connections at the same time, with those that are closed and linger.
    pub connections: u64,
    /// Memory for all of it.
    pub bytes: u64,
}

impl Bound {
    /// By the options of a server, how many connections the system has files for, and the memory of the dearest hash
    /// on record in KiB, which is compared with in memory of its own: 0 where all are made by this server.
    #[must_use]
    pub fn of(options: &Options, connections_possible: usize, recorded_kib: u32) -> Self {
        let settings = &options.settings;
        let connections = connections_max(settings.max_connections, connections_possible);
        let connections = connections as u64;
        let cost_kib = options.password_cost.memory_kib;
        let dear_kib = if recorded_kib > cost_kib { recorded_kib } else { 0 };
        let passwords = (u64::from(cost_kib) + u64::from(dear_kib)) * 1_024
            + PASSWORDS_WAITING as u64 * u64::from(CONTENT_BYTES_BEFORE_LOGIN);
        let mailbox = u64::from(settings.mailbox_messages);
        // The beginning of a file of the recording is put together in memory.
        let is_recorded = u64::from(options.black_box_bytes > 0);
        let recorded = is_recorded * (RECORDED_CONNECTION_BYTES + RECORDED_SENT_BYTES * mailbox);
        let recorded_once = THROTTLES * THROTTLED_KEYS as u64 * RECORDED_THROTTLED_BYTES
            + SEARCHES_AT_ONCE as u64 * SEARCH_BYTES;
        let monitored = MONITORED_BYTES + is_recorded * RECORDED_MONITORED_BYTES;
        // A connection waits for one thing at a time; beside it messages are passed on to it in the turn at hand.
        let connection = CONNECTION_BYTES
            + QUERY_BYTES
            + GROWTH * MESSAGE_BYTES as u64
            + GROWTH * SENT_BYTES * mailbox
            + GROWTH * recorded;
        // The output of a turn, and its copies for those whom it goes to, before the largest holders are looked for.
        let output = OUTBOX_BYTES_PER_TURN + COPIED_BYTES_PER_TURN + OUTPUT_BYTES_MAX;
        let turn = 2 * GROWTH * output as u64
            + GROWTH * (REPORTS * READ_BYTES_PER_TURN) as u64
            + GROWTH * (PACKETS_PER_TURN * MESSAGE_BYTES) as u64;
        let operators = settings.operators.len() as u64;
        let others = (BUFFERS_BYTES_MAX + SPARES_BYTES_MAX) as u64
            + turn
            + passwords
            + SEARCHES_AT_ONCE as u64 * SEARCH_BYTES
            + GROWTH * is_recorded * recorded_once
            + operators * GROWTH * MONITORED_WAITING as u64 * monitored
            + THROTTLES * THROTTLED_KEYS as u64 * THROTTLED_BYTES
            + FIXED_BYTES;
        Self { connections, bytes: connections.saturating_mul(connection).saturating_add(others) }
    }

    /// The same in words, with what the process holds now, where that is known: hardly more than the state, before
    /// anybody has connected.
    pub(super) fn beside(self, held: Option<u64>) -> impl Display {
        let mebibytes = |bytes: u64| format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20));
        let now = held.map(|held| format!(", which is {} now", mebibytes(held)));
        let (bytes, now) = (mebibytes(self.bytes), now.unwrap_or_default());
        let connections = self.connections;
        format!(
            "takes at most {bytes} of memory for {connections} connections beside what is stored{now}"
        )
    }
}

/// Memory that the process has for itself alone, in bytes; `None` where the system does not say so.
pub(super) fn held() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"))?;
    Some(line.trim().strip_suffix(" kB")?.parse::<u64>().ok()? * 1_024)
}

/// Connections that there may be, with those that are closed and linger.
pub(super) const fn connections_max(wanted: usize, possible: usize) -> usize {
    let most = if wanted < possible { wanted } else { possible };
    most.saturating_add(FILES_LINGERING)
}

/// What was freed and is still the process's.
#[derive(Default, Debug)]
pub(super) struct Freed {
    bytes: usize,
    due: Option<MonoMillis>,
    /// Not before this is it given back again.
    not_before: MonoMillis,
}

impl Freed {
    /// So much was freed.
    pub(super) fn note(&mut self, bytes: usize, now: MonoMillis) {
        self.bytes += bytes;
        if self.bytes >= FREED_BYTES && self.due.is_none() {
            self.due = Some(now.plus(FREED_MS).max(self.not_before));
        }
    }

    /// When it is to be given back, if there is nothing else to do then.
    pub(super) const fn due(&self) -> Option<MonoMillis> {
        self.due
    }

    /// Whether it is to be given back now, which is then done.
    pub(super) fn take_due(&mut self, now: MonoMillis) -> bool {
        let is_due = self.due.is_some_and(|due| due <= now);
        if is_due {
            *self = Self { not_before: now.plus(FREED_PAUSE_MS), ..Self::default() };
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::settings::Cost;
    use crate::engine::Settings;
    use crate::id::ServiceNumber;

    const MIB: u64 = 1 << 20;

    fn bound(change: impl FnOnce(&mut Options)) -> Bound {
        let mut options = Options::default();
        change(&mut options);
        Bound::of(&options, 20_000, 0)
    }

    fn with(change: impl FnOnce(&mut Settings)) -> u64 {
        bound(|options| {
            options.settings.max_connections = 968;
            change(&mut options.settings);
        })
        .bytes
    }

    #[test]
    fn the_bound_follows_from_the_options() {
        // Of 1,000 connections: 132 KiB each, of which 47 are for messages that were sent, and 43 for the recording.
        // In MiB: 512 for what waits of all and 4 for what waits next, 292 for a turn, 19 and 2 for passwords, 16 for
        // searches, 96 for those who tried too much, 56 for the recording of both, and 8.
        let connections = 1_000 * ((2 + 24 + 16) * 1_024 + 2 * 24 * 1_000 + 2 * (2_048 + 20_000));
        let turn = 2 * 2 * (16 + 1 + 8) + 2 * 64 + 2 * 32;
        let recording = 2 * (12 + 16);
        let others = (512 + 4 + turn + 19 + 2 + 16 + 96 + recording + 8) * MIB;
        assert_eq!(with(|_| ()), connections + others);
        // Each of the options counts for what it allows.
        assert_eq!(with(|it| it.max_connections += 10) - with(|_| ()), connections / 100);
        assert_eq!(with(|it| it.mailbox_messages += 1) - with(|_| ()), (48 + 40) * 1_000);
        let operators = |it: &mut Settings| it.operators = [ServiceNumber::FIRST].into();
        assert_eq!(with(operators) - with(|_| ()), (20 + 10) * MIB);
        let unrecorded = bound(|options| {
            options.settings.max_connections = 968;
            options.black_box_bytes = 0;
        });
        let less = 1_000 * 2 * (2_048 + 20_000) + recording * MIB;
        assert_eq!(with(|_| ()) - unrecorded.bytes, less);
        let dear = Cost { memory_kib: 64 << 10, passes: 1 };
        let more = bound(|options| options.password_cost = dear).bytes - bound(|_| ()).bytes;
        assert_eq!(more, (64 - 19) * MIB);
        // A hash on record that costs more than new ones do counts beside them.
        let recorded =
            |kib| Bound::of(&Options::default(), 20_000, kib).bytes - bound(|_| ()).bytes;
        assert_eq!([8, 19_456, 64 << 10, 2 << 20].map(recorded), [0, 0, 64 * MIB, 2_048 * MIB]);
        // Where nothing is said, the system's files count.
        assert_eq!(bound(|_| ()).connections, 20_032);
        assert_eq!(bound(|options| options.settings.max_connections = 30_000), bound(|_| ()));
        let most = Bound::of(&Options::default(), usize::MAX, u32::MAX);
        assert_eq!(most.bytes, most.bytes.max(u64::MAX / 2), "it does not wrap");
    }

    #[test]
    fn a_bound_is_told_with_what_is_held_where_that_is_known() {
        let bound = Bound { connections: 7, bytes: 3 * MIB / 2 };
        let told = "takes at most 1.5 MiB of memory for 7 connections beside what is stored";
        assert_eq!(bound.beside(None).to_string(), told);
        let told = format!("{told}, which is 2.0 MiB now");
        assert_eq!(bound.beside(Some(2 * MIB)).to_string(), told);
        assert!(cfg!(not(target_os = "linux")) || held() > Some(0));
    }

    #[test]
    fn much_that_was_freed_is_given_back_once_a_little_later() {
        let mut freed = Freed::default();
        let now = MonoMillis(5);
        freed.note(FREED_BYTES - 1, now);
        assert_eq!((freed.due(), freed.take_due(now.plus(1 << 20))), (None, false));
        freed.note(1, now);
        let due = now.plus(FREED_MS);
        freed.note(FREED_BYTES, now.plus(1));
        assert_eq!(freed.due(), Some(due));
        assert!(!freed.take_due(now.plus(FREED_MS - 1)));
        assert!(freed.take_due(due) && !freed.take_due(due));
        freed.note(1, due);
        assert_eq!(freed.due(), None);
    }

    #[test]
    fn what_was_freed_is_not_given_back_again_and_again() {
        let mut freed = Freed::default();
        let mut now = MonoMillis(5);
        let mut times = Vec::new();
        // A MiB is freed every tenth of a second, in half a minute.
        for _ in 0..300 {
            freed.note(FREED_BYTES, now);
            if freed.take_due(now) {
                times.push(now);
            }
            now = now.plus(100);
        }
        let waits = times.windows(2).map(|times| times[1].since(times[0]));
        assert!(waits.eq([FREED_PAUSE_MS; 5]), "{times:?}");
    }
}
