//! What the engine knows of each connection: kind, stage, session. And who is in session where.

use std::collections::{BTreeSet, VecDeque};
use std::net::IpAddr;

use super::foretold::Foregone;
use super::line::Ticket;
use super::listing::Listing;
use super::monitoring::Monitoring;
use super::throttle::Bucket;
use super::untold::Untold;
use crate::id::{ConnectionId, MonoMillis, Seq, ServiceNumber};
use crate::state::decide::search::Search;
use crate::wire::Kind;
use crate::wire::server::{Extensions, Presence};

/// A user on a connection, from login to logout.
pub(super) struct Session {
    pub(super) number: ServiceNumber,
    pub(super) requests: Bucket,
    /// The last message that was sent on this connection.
    pub(super) sent_through: Seq,
    /// What the client has said to have, on a connection with message ids.
    pub(super) confirmed: Seq,
    /// Messages were left in the mailbox while a search or a password was under way and the client slow.
    pub(super) mail_left: bool,
    /// `None` in a session that monitors nobody: few do.
    pub(super) monitoring: Option<Box<Monitoring>>,
    /// `None` where the client has been told everything.
    pub(super) untold: Option<Box<Untold>>,
}

/// What a connection's next packet waits for.
pub(super) enum Stage {
    /// Nothing.
    Ready,
    /// A password is being hashed or compared: the job's ticket.
    Password(u64),
    /// A search is on its way through the users.
    Search(Box<Search>),
    /// So does one whose outcome is known.
    Foregone(Box<Foregone>),
    /// The friend list for the reply to its login is being made.
    Listing(Box<Listing>),
    /// What waits in the mailbox is being sent, as the client takes it.
    Mail,
    /// The engine has closed the connection.
    Closing,
}

/// A message that was sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Sent {
    /// Up to which byte of the connection's output it goes.
    pub(super) end: u64,
    /// Whom it was for.
    pub(super) to: ServiceNumber,
    pub(super) seq: Seq,
}

/// A connection.
pub(super) struct Peer {
    pub(super) address: IpAddr,
    /// The kind of its first packet.
    pub(super) kind: Option<Kind>,
    pub(super) stage: Stage,
    pub(super) extensions: Extensions,
    pub(super) session: Option<Box<Session>>,
    /// Since when there has been no session.
    pub(super) sessionless_since: MonoMillis,
    /// Which it was of all that came, or lost their session; the smallest came first.
    pub(super) arrival: u64,
    /// Messages that the other end has not acknowledged. They outlive the session that they were sent to.
    pub(super) unacknowledged: VecDeque<Sent>,
    /// Bytes of all output so far.
    pub(super) emitted: u64,
    /// `emitted` when the turn `queued_turn` began.
    pub(super) queued_from: u64,
    pub(super) queued_turn: u64,
    /// It is served in a turn to come: its place in the line.
    pub(super) in_line: Option<Ticket>,
}

/// When a connection without a session makes room for another, where there are as many as there may be: by arrival,
/// and those last whose password waits or is looked at, or was right, for they may be about to have a session.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum MakesRoom {
    Sooner(u64),
    Later(u64),
}

impl Peer {
    /// Its place among those without a session, as long as it is one of them.
    pub(super) const fn makes_room(&self) -> MakesRoom {
        match self.stage {
            Stage::Password(_) | Stage::Listing(_) => MakesRoom::Later(self.arrival),
            _ => MakesRoom::Sooner(self.arrival),
        }
    }

    pub(super) fn is_closing(&self) -> bool {
        matches!(self.stage, Stage::Closing)
    }

    /// What the connection waited for is over: it is ready, or mail that was left meanwhile is sent first.
    pub(super) fn go_on(&mut self) {
        let left =
            self.session.as_mut().is_some_and(|session| std::mem::take(&mut session.mail_left));
        self.stage = if left { Stage::Mail } else { Stage::Ready };
    }

    pub(super) fn kind(&self) -> Kind {
        self.kind.unwrap_or(Kind::User)
    }
}

/// Which user is in session on which connection, and who can be seen.
#[derive(Default)]
pub(super) struct Sessions {
    /// By number from the first on: the connection's id and one, 0 where there is no session.
    connections: Vec<usize>,
    /// In the same way how each is shown: whoever logs in asks for every friend, and no depth of a tree is paid for it.
    shown: Vec<Presence>,
    /// Whom that shows, for those who page through them.
    visible: BTreeSet<ServiceNumber>,
}

impl Sessions {
    pub(super) fn get(&self, number: ServiceNumber) -> Option<ConnectionId> {
        let index = index(number)?;
        self.connections.get(index)?.checked_sub(1).map(ConnectionId)
    }

    pub(super) fn start(&mut self, number: ServiceNumber, connection: ConnectionId) {
        let Some(index) = self.make_room(number) else { return };
        self.connections[index] = connection.0 + 1;
    }

    fn make_room(&mut self, number: ServiceNumber) -> Option<usize> {
        let index = index(number)?;
        if index >= self.connections.len() {
            self.connections.resize(index + 1, 0);
            self.shown.resize(index + 1, Presence::Offline);
        }
        Some(index)
    }

    pub(super) fn end(&mut self, number: ServiceNumber) {
        self.show(number, Presence::Offline);
        if let Some(entry) = index(number).and_then(|index| self.connections.get_mut(index)) {
            *entry = 0;
        }
    }

    /// How a user in session is shown from now on: as [`Presence::Offline`] when hidden.
    pub(super) fn show(&mut self, number: ServiceNumber, presence: Presence) {
        let Some(index) = self.make_room(number) else { return };
        self.shown[index] = presence;
        if presence == Presence::Offline {
            self.visible.remove(&number);
        } else {
            self.visible.insert(number);
        }
    }

    /// All who are in session, and on which connections, in ascending order.
    pub(super) fn all(&self) -> impl Iterator<Item = (ServiceNumber, ConnectionId)> {
        let numbers = (ServiceNumber::FIRST.0..).map(ServiceNumber);
        let entries = numbers.zip(&self.connections);
        entries.filter_map(|(number, entry)| Some((number, ConnectionId(entry.checked_sub(1)?))))
    }

    /// All who can be seen, and how.
    pub(super) fn all_visible(&self) -> impl Iterator<Item = (ServiceNumber, Presence)> {
        self.visible.iter().map(|number| (*number, self.presence(*number)))
    }

    /// How the user looks to others.
    pub(super) fn presence(&self, number: ServiceNumber) -> Presence {
        let shown = index(number).and_then(|index| self.shown.get(index));
        shown.copied().unwrap_or(Presence::Offline)
    }

    /// Whether others see the user online.
    pub(super) fn is_visible(&self, number: ServiceNumber) -> bool {
        self.presence(number) != Presence::Offline
    }

    /// Who can be seen, from `start` on towards larger numbers.
    pub(super) fn visible_up_from(
        &self,
        start: ServiceNumber,
    ) -> impl Iterator<Item = ServiceNumber> {
        self.visible.range(start..).copied()
    }

    /// Who can be seen, from `start` on towards smaller numbers.
    pub(super) fn visible_down_from(
        &self,
        start: ServiceNumber,
    ) -> impl Iterator<Item = ServiceNumber> {
        self.visible.range(..=start).rev().copied()
    }
}

fn index(number: ServiceNumber) -> Option<usize> {
    number.0.checked_sub(ServiceNumber::FIRST.0).and_then(|index| usize::try_from(index).ok())
}
