//! What is said to very many goes out in slices: a broadcast, and that a friend of many is seen otherwise.
//!
//! Owns the line of connections that something was put off for, and how many of them a turn serves. What that is
//! stands elsewhere, where it waits for slow clients as well: messages in their mailboxes (`mail`), how friends are
//! seen in the sessions (`untold`). So nothing of it is lost with a connection, and no message, answer or offer of a
//! file overtakes what was put off. How a friend is seen may: where that and messages wait, it is told first.

use std::collections::VecDeque;
use std::num::NonZeroU64;

use super::kept::{self, KeptError, expect, put_count};
use super::mail::Encoded;
use super::{Engine, Host};
use crate::codec::Reader;
use crate::id::ConnectionId;
use crate::limits::{COPIED_BYTES_PER_TURN, OUTPUT_BYTES_HIGH, TOLD_AT_ONCE, TOLD_PER_TURN};
use crate::wire::{Frame, RequestType};

/// A place in the line. Those behind have higher ones.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Ticket(NonZeroU64);

/// Connections that are served in turns to come, in the order in which something was put off for them.
pub(super) struct Line {
    /// Each with its ticket. Where its peer has not got that one, the connection is over, and another has its id.
    queue: VecDeque<(ConnectionId, Ticket)>,
    next: Ticket,
}

impl Default for Line {
    fn default() -> Self {
        Self { queue: VecDeque::new(), next: Ticket(NonZeroU64::MIN) }
    }
}

impl Line {
    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    pub(super) fn contains(&self, connection: ConnectionId, ticket: Ticket) -> bool {
        self.queue.contains(&(connection, ticket))
    }

    /// The place of whoever comes next.
    pub(super) const fn end(&self) -> Ticket {
        self.next
    }

    fn push(&mut self, connection: ConnectionId) -> Ticket {
        let ticket = self.next;
        self.next = Ticket(ticket.0.saturating_add(1));
        self.queue.push_back((connection, ticket));
        ticket
    }

    pub(super) fn let_go(&mut self) {
        self.queue.shrink_to_fit();
    }
}

impl Engine {
    /// Whether one more of those who are told the same waits for a turn to come, after so many have been told at once.
    /// What is said to one alone never does.
    pub(super) fn is_put_off(&self, told: usize) -> bool {
        told >= TOLD_AT_ONCE || told > 0 && self.outbox.copied() >= COPIED_BYTES_PER_TURN
    }

    /// Has a connection served in a turn to come.
    pub(super) fn put_in_line(&mut self, connection: ConnectionId) {
        let Self { peers, line, .. } = self;
        let Some(peer) = peers.get_mut(connection.0).and_then(Option::as_mut) else { return };
        peer.in_line.get_or_insert_with(|| line.push(connection));
    }

    /// The place in the line that whoever comes next will have.
    #[must_use]
    pub const fn line_end(&self) -> Ticket {
        self.line.end()
    }

    /// Whether everybody has been served who stood in line before this place.
    #[must_use]
    pub fn is_line_through(&self, end: Ticket) -> bool {
        self.line.queue.front().is_none_or(|(_, first)| *first >= end)
    }

    /// Whether a packet may say something to very many while what was said to others is still going out. It waits until
    /// those have been told who stand in line by then: nobody accepts more of it than is delivered.
    #[must_use]
    pub fn waits_for_line(&self, connection: ConnectionId, frame: &Frame<'_>) -> bool {
        if self.line.is_empty() {
            return false;
        }
        let number = self.session(connection).map(|session| session.number);
        let Some(user) = number.and_then(|number| self.state.user(number)) else { return false };
        match RequestType::from_byte(frame.header.packet_type) {
            Some(RequestType::Broadcast) => {
                let friends = user.friends().len();
                friends > TOLD_AT_ONCE || friends * frame.content.len() > COPIED_BYTES_PER_TURN
            }
            Some(RequestType::SetMode) => user.listed_count() > TOLD_AT_ONCE,
            _ => false,
        }
    }

    /// Serves the first of the line.
    pub(super) fn advance_line(&mut self, host: &mut impl Host) {
        let (mut served, mut encoded) = (0, Encoded::default());
        // Whatever else the turn has to say, they get a part of it.
        let bytes_max = COPIED_BYTES_PER_TURN.max(self.outbox.copied() + COPIED_BYTES_PER_TURN / 8);
        while served < TOLD_PER_TURN && self.outbox.copied() < bytes_max {
            let Some((connection, ticket)) = self.line.queue.pop_front() else { return };
            if let Some(peer) = self.peer_mut(connection).filter(|it| it.in_line == Some(ticket)) {
                peer.in_line = None;
                self.serve(connection, &mut encoded, host);
                served += 1;
            }
        }
    }

    fn serve(&mut self, connection: ConnectionId, encoded: &mut Encoded, host: &mut impl Host) {
        // Where the client is slow, there is room for it later, which is an input of its own.
        if self.wants_room(connection) && self.output_waiting(connection, host) <= OUTPUT_BYTES_HIGH
        {
            let was_untold = self.has_untold(connection);
            self.send_waiting(connection, encoded, host);
            if self.has_untold(connection) {
                // All that there was may have come to nothing, which makes no room for more.
                self.put_in_line(connection);
            } else if was_untold {
                // Its own packets have waited for that, and those that others pass on to it.
                self.resumed.push(connection);
            }
        }
    }

    pub(super) fn save_line(&self, out: &mut Vec<u8>) {
        let counts = |(id, ticket): &&(ConnectionId, Ticket)| {
            self.peer(*id).is_some_and(|peer| peer.in_line == Some(*ticket))
        };
        let line: Vec<_> = self.line.queue.iter().filter(counts).collect();
        put_count(out, line.len());
        line.into_iter().for_each(|(connection, _)| kept::put_connection(out, *connection));
    }

    pub(super) fn restore_line(&mut self, reader: &mut Reader<'_>) -> Result<(), KeptError> {
        for _ in 0..reader.u32()? {
            let connection = kept::connection(reader)?;
            expect(self.peer(connection).is_some_and(|peer| peer.in_line.is_none()))?;
            self.put_in_line(connection);
        }
        Ok(())
    }
}
