//! Everything that is remembered: users, groups, friend lists, waiting friend requests, mailboxes,
//! monitoring. All of it can be made again from the log.
//!
//! Owns the data and its indexes; [`State::apply`] is the only thing that changes them, and it decides
//! nothing. It knows no clock, no connection and no packet. What a request amounts to is settled in
//! [`decide`], which only looks.

pub mod agreement;
mod apply;
pub mod blank;
pub mod decide;
mod digest;
pub mod event;
mod keep;
pub mod mailbox;
mod monitoring;
pub mod partial;
mod running;
pub mod sense;
mod users;

pub use agreement::{Contradiction, Flaw};
pub use apply::{Posted, RecordError, Stamp};
pub use digest::Digest;
pub use event::{Authentication, Event, EventError, EventKind};
pub use keep::{KeptError, KeptKind, kept_digest};
pub use mailbox::{Mailbox, MessageKind, Waiting};
pub use monitoring::MonitoringRecord;
pub use running::RunningDigest;
pub use users::{Friend, Group, User};

use crate::id::{Seq, ServiceNumber, UnixMillis};
use monitoring::Monitoring;
use users::Users;

/// The whole state.
#[derive(Clone, Default)]
pub struct State {
    users: Users,
    monitoring: Monitoring,
    /// The last event that told the running digest.
    last_digest: Seq,
    last_seq: Seq,
    last_time: UnixMillis,
}

impl State {
    /// The user of a number.
    #[must_use]
    pub fn user(&self, number: ServiceNumber) -> Option<&User> {
        self.users.get(number)
    }

    /// All users, in ascending order of their numbers.
    pub fn users(&self) -> impl Iterator<Item = (ServiceNumber, &User)> {
        self.users.iter()
    }

    /// How many users there are.
    #[must_use]
    pub fn user_count(&self) -> usize {
        self.users.len()
    }

    /// The number that the next registration gets; `None` when all are used up.
    #[must_use]
    pub fn next_number(&self) -> Option<ServiceNumber> {
        self.users.next_number()
    }

    /// The sequence number of the last event that was applied.
    #[must_use]
    pub const fn last_seq(&self) -> Seq {
        self.last_seq
    }

    /// The time of the last event that was applied.
    #[must_use]
    pub const fn last_time(&self) -> UnixMillis {
        self.last_time
    }

    /// The sequence number of the last event that told the running digest; [`Seq::ZERO`] where none has since
    /// the log's beginning, or its base.
    #[must_use]
    pub const fn last_digest(&self) -> Seq {
        self.last_digest
    }

    /// Who monitors `watched`, in ascending order.
    pub fn watchers(&self, watched: ServiceNumber) -> impl Iterator<Item = ServiceNumber> {
        self.monitoring.watchers(watched)
    }

    /// Whom `operator` monitors, in ascending order.
    pub fn watched_by(&self, operator: ServiceNumber) -> impl Iterator<Item = ServiceNumber> {
        self.monitoring.watched_by(operator)
    }

    /// Whether `operator` monitors `watched`.
    #[must_use]
    pub fn monitors(&self, operator: ServiceNumber, watched: ServiceNumber) -> bool {
        self.monitoring.monitors(operator, watched)
    }

    /// Whether anybody is monitored at all.
    #[must_use]
    pub fn monitors_anyone(&self) -> bool {
        !self.monitoring.is_empty()
    }

    /// All who monitor somebody, in ascending order.
    pub fn operators(&self) -> impl Iterator<Item = ServiceNumber> {
        self.monitoring.operators()
    }

    /// Every start and end of monitoring so far, in order.
    #[must_use]
    pub fn monitoring(&self) -> &[MonitoringRecord] {
        self.monitoring.records()
    }
}
