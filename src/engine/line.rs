//! What is said to very many goes out in slices: a broadcast, and that a friend of many is seen otherwise.
//!
//! Owns the line of connections that something was put off for, and how many of them a turn serves. What that is
//! stands elsewhere, where it waits for slow clients as well: messages in their mailboxes (`mail`), how friends are
//! seen in the sessions (`untold`). So nothing overtakes what was put off, and nothing of it is lost with a connection.

use std::collections::{BTreeSet, VecDeque};

use super::kept::{self, KeptError, expect, put_count};
use super::mail::Encoded;
use super::{Engine, Host};
use crate::codec::Reader;
use crate::id::ConnectionId;
use crate::limits::{COPIED_BYTES_PER_TURN, OUTPUT_BYTES_HIGH, TOLD_AT_ONCE, TOLD_PER_TURN};
use crate::wire::{Frame, RequestType};

/// Connections that are served in turns to come, in the order in which something was put off for them.
#[derive(Default)]
pub(super) struct Line(VecDeque<ConnectionId>);

impl Line {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn contains(&self, connection: ConnectionId) -> bool {
        self.0.contains(&connection)
    }

    pub(super) fn let_go(&mut self) {
        self.0.shrink_to_fit();
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
        let Some(peer) = self.peer_mut(connection) else { return };
        if !std::mem::replace(&mut peer.in_line, true) {
            self.line.0.push_back(connection);
        }
    }

    /// Whether a packet may say something to very many while what was said to others is still going out. It waits until
    /// that is over: nobody accepts more of it than is delivered.
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
            let Some(connection) = self.line.0.pop_front() else { return };
            // The connection may have ended, and another may have its id.
            let peer = self.peer_mut(connection);
            if peer.is_some_and(|peer| std::mem::take(&mut peer.in_line)) {
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
            if was_untold && !self.has_untold(connection) {
                // Its own packets have waited for that, and those that others pass on to it.
                self.resumed.push(connection);
            }
        }
    }

    pub(super) fn save_line(&self, out: &mut Vec<u8>) {
        let mut met = BTreeSet::new();
        let in_line = |id: ConnectionId| self.peer(id).is_some_and(|peer| peer.in_line);
        let line: Vec<_> =
            self.line.0.iter().filter(|id| in_line(**id) && met.insert(**id)).collect();
        put_count(out, line.len());
        line.into_iter().for_each(|connection| kept::put_connection(out, *connection));
    }

    pub(super) fn restore_line(&mut self, reader: &mut Reader<'_>) -> Result<(), KeptError> {
        for _ in 0..reader.u32()? {
            let connection = kept::connection(reader)?;
            expect(self.peer(connection).is_some_and(|peer| !peer.in_line))?;
            self.put_in_line(connection);
        }
        Ok(())
    }
}
