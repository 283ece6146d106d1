//! The numbers that name things, each with a type of its own, and the times.
//!
//! Owns no behaviour beyond ordering, arithmetic on time and printing; it never checks whether what a
//! number names exists.

use std::fmt;

/// A user's number: counted up from [`ServiceNumber::FIRST`], never used twice. Protocol section 4, `0x01`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ServiceNumber(pub u32);

impl ServiceNumber {
    /// Stands for the server itself in notices, and for "nobody" in failure replies.
    pub const NONE: Self = Self(0);
    /// The number that the first registration gets.
    pub const FIRST: Self = Self(10_001);
}

/// A group of one user's friend list. Protocol section 4, `0x06` to `0x09`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct GroupNumber(pub u8);

impl GroupNumber {
    /// In a broadcast: all groups.
    pub const ALL: Self = Self(0);
    /// The group that every user has, and that cannot be deleted.
    pub const FIRST: Self = Self(1);
}

/// The place of an event in the log: the first event has 1, each later one the next number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Seq(pub u64);

impl Seq {
    /// Before the first event.
    pub const ZERO: Self = Self(0);

    /// The number after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

/// Where bytes of an event's payload can be read again. Only the journal that gave it knows what it
/// means; everybody else may move it forward within the same payload.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Place(pub u64);

impl Place {
    /// The place `bytes` further on in the same payload.
    #[must_use]
    pub const fn offset(self, bytes: u32) -> Self {
        Self(self.0 + bytes as u64)
    }
}

/// Wall-clock time in milliseconds since 1970-01-01 00:00 UTC.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct UnixMillis(pub u64);

/// Milliseconds on a clock that never goes backwards and whose zero means nothing: for timeouts.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct MonoMillis(pub u64);

impl MonoMillis {
    /// This time and `millis` more.
    #[must_use]
    pub const fn plus(self, millis: u64) -> Self {
        Self(self.0.saturating_add(millis))
    }

    /// The milliseconds since `earlier`, 0 where that lies ahead.
    #[must_use]
    pub const fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// The earliest of some times, as far as there are any.
    #[must_use]
    pub fn first(dues: &[Option<Self>]) -> Option<Self> {
        // In each turn of the loop: a fold takes a third of the instructions of `flatten` and `min`.
        dues.iter().fold(None, |first, due| match (first, *due) {
            (Some(first), Some(due)) => Some(Self::min(first, due)),
            (first, due) => first.or(due),
        })
    }
}

/// The time of a turn, taken once at its start.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Now {
    /// What events carry; never before the time of the log's last event.
    pub wall: UnixMillis,
    /// What timeouts and rates are counted by.
    pub mono: MonoMillis,
}

/// A connection, for as long as it lives. Reused afterwards; never written to the log.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub usize);

macro_rules! show_as_number {
    ($($name:ident),*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), self.0)
            }
        }
    )*};
}

show_as_number!(ServiceNumber, GroupNumber, Seq, Place, UnixMillis, MonoMillis, ConnectionId);
