//! States that are kept in memory, so that the state at any event is near.
//!
//! Owns the rule where they are kept, and how many. A snapshot is a copy of the whole state, and the state at
//! an event is made of the newest snapshot before it and the events between them. The state before the first
//! event is always kept; while the log is read, another is kept after
//!
//! ```text
//! spacing = max(100,000, 4 × users, events of the log × bytes of the state ÷ room)
//! ```
//!
//! events. 100,000 events are applied in some 40 ms, which feels like nothing. Copying a user takes as long as
//! one or two events, so that copies behind every four events for each user take less time than the events. The
//! last term fills the room, which is a quarter of the memory that is free and 4 GiB at most, evenly in time: as
//! the state grows, so does the distance. More than the room is never taken. Of 10 million events with 10,000 users
//! that have 20 friends each, 100 snapshots of 10 MB were kept, and a jump or step took 30 ms at the median and
//! 112 ms at the slowest. With 1,000,000 users the copies are of a gigabyte, and few: a jump or a step back takes one
//! to three seconds.
//!
//! Beside these, a copy is left behind a little before each place that is far from where one was, for the steps
//! back from there: the last four, or as many as an eighth of the room holds.

use std::fs;

use oicq::id::Seq;
use oicq::state::{State, User};

const SPACING_MIN: u64 = 100_000;
const EVENTS_PER_USER: u64 = 4;
const ROOM_MAX: u64 = 4 << 30;
/// Where the system does not tell how much memory is free.
const ROOM_UNKNOWN: u64 = 512 << 20;
const FOOTPRINTS_MAX: u64 = 4;

/// About what is allocated for a user and for each of its parts, as measured.
const USER_BYTES: u64 = size_of::<User>() as u64 + 400;
const GROUP_BYTES: u64 = 48;
const FRIEND_BYTES: u64 = 8;
const LISTED_BYTES: u64 = 8;
const WAITING_BYTES: u64 = 64;

/// How much may be kept.
#[derive(Clone, Copy, Debug)]
pub(super) struct Room {
    pub(super) bytes: u64,
    pub(super) spacing_min: u64,
}

impl Room {
    /// What this machine has.
    pub(super) fn of_this_machine() -> Self {
        let bytes = fs::read_to_string("/proc/meminfo").ok().as_deref().and_then(available);
        let bytes = bytes.map_or(ROOM_UNKNOWN, |bytes| (bytes / 4).min(ROOM_MAX));
        Self { bytes, spacing_min: SPACING_MIN }
    }
}

/// Bytes that programs can have, by what Linux says of its memory.
fn available(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

/// The snapshots of a log.
///
/// While it is read, first [`begin`](Self::begin), then [`pass`](Self::pass) after each event.
pub(super) struct Snapshots {
    room: Room,
    /// How many events the log has, about.
    events: u64,
    /// In the order of their events.
    kept: Vec<State>,
    /// What they take, without the first one.
    used: u64,
    /// Where the rule is looked at next.
    due: Seq,
    /// Copies that were left behind, the newest last.
    footprints: Vec<State>,
}

impl Snapshots {
    /// For a log of about so many events.
    pub(super) const fn new(room: Room, events: u64) -> Self {
        let due = Seq::ZERO;
        Self { room, events, kept: Vec::new(), used: 0, due, footprints: Vec::new() }
    }

    /// Keeps the state before the first event.
    pub(super) fn begin(&mut self, state: &State) {
        self.keep(state);
    }

    /// Keeps the state after an event, if the rule says so.
    pub(super) fn pass(&mut self, state: &State) {
        if state.last_seq() < self.due {
            return;
        }
        let last = self.kept.last().map_or(Seq::ZERO, State::last_seq);
        let bytes = bytes_of(state);
        let due = Seq(last.0.saturating_add(self.spacing(state, bytes)));
        if self.used.saturating_add(bytes) > self.room.bytes {
            self.due = Seq(u64::MAX);
        } else if state.last_seq() < due {
            self.due = due;
        } else {
            self.used += bytes;
            self.keep(state);
        }
    }

    /// The state before the first event.
    pub(super) fn first(&self) -> Option<&State> {
        self.kept.first()
    }

    /// The newest one that has no event behind `seq`.
    pub(super) fn before(&self, seq: Seq) -> Option<&State> {
        let kept = self.kept.partition_point(|state| state.last_seq() <= seq);
        let kept = kept.checked_sub(1).and_then(|index| self.kept.get(index));
        let footprints = self.footprints.iter().filter(|state| state.last_seq() <= seq);
        kept.into_iter().chain(footprints).max_by_key(|state| state.last_seq())
    }

    /// Leaves a copy behind; the oldest make room for it.
    pub(super) fn leave_behind(&mut self, state: &State) {
        let count = (self.room.bytes / 8 / bytes_of(state).max(1)).clamp(1, FOOTPRINTS_MAX);
        let count = usize::try_from(count).unwrap_or(1);
        while self.footprints.len() >= count {
            self.footprints.remove(0);
        }
        self.footprints.push(state.clone());
    }

    fn keep(&mut self, state: &State) {
        self.due = Seq(state.last_seq().0.saturating_add(self.spacing_at_least(state)));
        self.kept.push(state.clone());
    }

    /// What is known of the spacing without a look at every user.
    fn spacing_at_least(&self, state: &State) -> u64 {
        self.room.spacing_min.max(EVENTS_PER_USER * state.user_count() as u64)
    }

    fn spacing(&self, state: &State, bytes: u64) -> u64 {
        let filling = u128::from(self.events) * u128::from(bytes);
        let filling = filling / u128::from(self.room.bytes.max(1));
        self.spacing_at_least(state).max(u64::try_from(filling).unwrap_or(u64::MAX))
    }
}

/// About how much memory a state takes.
fn bytes_of(state: &State) -> u64 {
    let user = |user: &User| {
        USER_BYTES
            + GROUP_BYTES * user.groups().len() as u64
            + FRIEND_BYTES * user.friends().len() as u64
            + LISTED_BYTES * user.listed_count() as u64
            + LISTED_BYTES * user.requests().len() as u64
            + WAITING_BYTES * user.mailbox().len() as u64
    };
    state.users().map(|(_, one)| user(one)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use oicq::codec::profile::Profile;
    use oicq::id::{Place, ServiceNumber, UnixMillis};
    use oicq::state::{Authentication, Event, Stamp};

    fn register(state: &mut State) {
        let number = state.next_number().unwrap();
        let profile = Profile { nickname: b"ann", ..Profile::default() };
        let authentication = Authentication::Open;
        let event = Event::Registered { number, authentication, password_hash: "$", profile };
        apply(state, &event);
    }

    /// Something that makes the state no larger.
    fn change(state: &mut State) {
        let profile = Profile { nickname: b"eve", ..Profile::default() };
        let (number, authentication, password_hash) = (ServiceNumber::FIRST, None, None);
        apply(state, &Event::ProfileChanged { number, authentication, password_hash, profile });
    }

    fn apply(state: &mut State, event: &Event<'_>) {
        let seq = state.last_seq().next();
        let stamp = Stamp { seq, time: UnixMillis(seq.0), place: Place(0) };
        state.apply(stamp, event, &mut |_| ()).unwrap();
    }

    fn kept(snapshots: &Snapshots) -> Vec<u64> {
        snapshots.kept.iter().map(|state| state.last_seq().0).collect()
    }

    #[test]
    fn few_users_are_kept_as_often_as_is_of_use() {
        let mut state = State::default();
        let mut snapshots = Snapshots::new(Room { bytes: 1 << 30, spacing_min: 10 }, 50);
        snapshots.begin(&state);
        register(&mut state);
        snapshots.pass(&state);
        while state.last_seq() < Seq(50) {
            change(&mut state);
            snapshots.pass(&state);
        }
        assert_eq!(kept(&snapshots), [0, 10, 20, 30, 40, 50]);
        for (seq, before) in [(0, 0), (9, 0), (10, 10), (29, 20), (99, 50)] {
            assert_eq!(snapshots.before(Seq(seq)).unwrap().last_seq(), Seq(before));
        }
    }

    #[test]
    fn a_growing_state_is_kept_less_often_and_never_beyond_the_room() {
        let (mut state, events) = (State::default(), 2_000);
        let room = Room { bytes: 250_000, spacing_min: 10 };
        let mut snapshots = Snapshots::new(room, events);
        snapshots.begin(&state);
        for event in 0..events {
            if event % 10 == 0 {
                register(&mut state)
            } else {
                change(&mut state)
            }
            snapshots.pass(&state);
        }
        let gaps: Vec<_> = kept(&snapshots).windows(2).map(|two| two[1] - two[0]).collect();
        assert!(gaps.len() >= 3 && gaps.windows(2).all(|two| two[0] <= two[1]), "{gaps:?}");
        let bytes: u64 = snapshots.kept.iter().map(bytes_of).sum();
        assert!(bytes <= room.bytes, "{bytes}");
    }

    #[test]
    fn what_is_left_behind_is_found_and_makes_room() {
        let mut state = State::default();
        register(&mut state);
        let mut snapshots = Snapshots::new(Room { bytes: 1 << 30, spacing_min: 1_000 }, 100);
        snapshots.begin(&state);
        for _ in 0..9 {
            change(&mut state);
            snapshots.leave_behind(&state);
        }
        let found = [3, 6, 7, 8, 10].map(|seq| snapshots.before(Seq(seq)).unwrap().last_seq().0);
        assert_eq!(found, [1, 1, 7, 8, 10], "the last four and the first state");
    }

    #[test]
    fn the_room_is_what_linux_says() {
        let text = "MemTotal:       24689412 kB\nMemFree: 1 kB\nMemAvailable:   23000000 kB\n";
        assert_eq!(available(text), Some(23_000_000 << 10));
        assert_eq!(available("MemTotal: 5 kB\n"), None);
        assert!(Room::of_this_machine().bytes > 0);
    }
}
