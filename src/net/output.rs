//! The second half of a turn: after the commit, what the engine said leaves the server.
//!
//! Each connection that something happened to is settled once: written to, looked at, and re-armed. Nothing
//! is handed to the engine here but how much was acknowledged.

use std::mem;
use std::time::Duration;

use super::Server;
use super::connection::{Pause, Phase};
use super::outside::Clock;
use crate::engine::Input;
use crate::id::ConnectionId;
use crate::limits::{OUTPUT_BYTES_LOW, OUTPUT_BYTES_MAX, WRITING_MS};

impl Server {
    /// Lets out what the turn has made; as long as the disk works on what it rests on, it is held.
    pub(super) fn let_out(&mut self) {
        let Self { engine, connections, now, .. } = self;
        let outbox = engine.poll_outbox();
        let mut last = &b""[..];
        for (id, bytes) in outbox.sends() {
            let is_for_many = std::ptr::eq(bytes, last);
            connections.queue(id, bytes, is_for_many, now.mono);
            last = bytes;
        }
        for &id in outbox.closes() {
            connections.close(id, now.mono);
        }
        outbox.clear();
        self.connections.hold_touched();
        if !self.journal.is_syncing() {
            self.settle_held();
            self.settle_backlog();
        }
    }

    /// Settles the connections of a turn that is on disk. The turn after it may have touched some of them already. Of
    /// very many those beyond the first wait for turns to come: new input is heard before them, and what is said to
    /// few does not wait for what is said to many.
    pub(super) fn settle_held(&mut self) {
        let mut held = mem::take(&mut self.connections.held);
        let mut writing = Writing::default();
        for &id in &held {
            if writing.has_time(&self.clock) {
                self.settle(id);
            } else {
                self.connections.put_back(id);
            }
        }
        held.clear();
        // Nothing is touched while connections are settled: the memory is for the next turn.
        self.connections.held = held;
    }

    /// Settles the next of those that were left over. Whatever waits in their buffers must be on disk: it may be of
    /// any turn.
    pub(super) fn settle_backlog(&mut self) {
        let mut writing = Writing::default();
        while let Some(id) = self.connections.poll_backlog() {
            self.settle(id);
            if !writing.has_time(&self.clock) {
                return;
            }
        }
    }

    fn settle(&mut self, id: ConnectionId) {
        self.connections.write(id, self.now.mono);
        let Some(connection) = self.connections.get(id) else { return };
        connection.in_backlog = false;
        // What a further turn has to say to it stands in the outbox: that turn ends it, if it is to end.
        if !connection.touched {
            self.close_if_done(id);
        }
        self.list_what_goes_on(id);
        self.plan_look(id);
        let deadline = self.next_deadline(id);
        self.connections.set_deadline(id, deadline);
        let Some(connection) = self.connections.get(id) else { return };
        if connection.rearm().is_err() {
            self.connections.give_up(id);
        }
    }

    /// Takes the next step towards a connection's end, where one is to be taken.
    fn close_if_done(&mut self, id: ConnectionId) {
        let now = self.now.mono;
        let Self { engine, connections, .. } = self;
        let Some(connection) = connections.get(id) else { return };
        if !connection.output.is_empty() {
            return;
        }
        match connection.phase {
            Phase::Lingering { .. } => {}
            Phase::Flushing { .. } => {
                let is_over = connection.finish().is_err() || connection.ended.is_some();
                connections.linger(id, now);
                if is_over {
                    connections.give_up(id);
                }
            }
            Phase::Open if connection.ended.is_none() || engine.is_closing(id) => {}
            Phase::Open if !engine.is_ready(id) => connections.pause(id, Pause::Engine),
            Phase::Open => {
                if connection.pause == Pause::None && !engine.wants_room(id) {
                    connection.answered.get_or_insert(now);
                    // Messages that are on their way are waited for, lest they are sent once more.
                    if !engine.awaits_acknowledgement(id) {
                        connections.give_up(id);
                    }
                }
            }
        }
    }

    /// Puts the connection on the lists of what the next turn goes on with.
    fn list_what_goes_on(&mut self, id: ConnectionId) {
        let Self { engine, connections, .. } = self;
        let Some(connection) = connections.get(id) else { return };
        let (output, pause) = (connection.output.len(), connection.pause);
        let open = connection.phase == Phase::Open && !engine.is_closing(id);
        if output < OUTPUT_BYTES_LOW {
            connections.resume_senders(id);
        }
        if !open {
            return;
        }
        if output < OUTPUT_BYTES_LOW && engine.wants_room(id) {
            connections.note_room(id);
        }
        if output > OUTPUT_BYTES_MAX {
            connections.slow.push(id);
        }
        let goes_on = match pause {
            Pause::Output => output < OUTPUT_BYTES_LOW,
            // They are on a list already, or the engine or the receiver puts them on one.
            Pause::None
            | Pause::Turn
            | Pause::PassedOver
            | Pause::Line
            | Pause::Engine
            | Pause::Receiver(_) => false,
        };
        if goes_on {
            connections.resumed.push(id);
        }
    }

    /// Settles when to look at what the other end has acknowledged. What has just been sent cannot have been.
    fn plan_look(&mut self, id: ConnectionId) {
        if self.stopping.is_some() {
            return self.look(id);
        }
        let Self { engine, connections, now, .. } = self;
        if !engine.awaits_acknowledgement(id) {
            connections.set_look(id, None);
        } else if let Some(connection) = connections.get(id)
            && let Some(due) = connection.earlier_look(now.mono)
        {
            connections.set_look(id, Some(due));
        }
    }

    /// Looks at what the other end has acknowledged, if anybody wants to know, and when to look again.
    pub(super) fn look(&mut self, id: ConnectionId) {
        let now = self.now.mono;
        let awaited = self.engine.awaits_acknowledgement(id);
        if awaited && let Some(connection) = self.connections.get(id) {
            let bytes = connection.acknowledged();
            if self.engine.is_news(id, bytes) {
                self.hand(Input::Acknowledged { connection: id, bytes });
            }
        }
        let Self { engine, connections, stopping, .. } = self;
        let Some(connection) = connections.get(id) else { return };
        let lingers = matches!(connection.phase, Phase::Lingering { .. });
        if stopping.is_some() && lingers && connection.is_acknowledged() {
            // A stopping server need not wait for clients to hang up: they have all that it said.
            connections.give_up(id);
            return;
        }
        let awaits = engine.awaits_acknowledgement(id);
        if awaited && !awaits && connection.answered.is_some() {
            connections.give_up(id);
            return;
        }
        let again = awaits || (stopping.is_some() && lingers);
        let due = again.then(|| connection.next_look(now));
        connections.set_look(id, due);
    }
}

/// Connections that are settled between two looks at the clock, the first of which cost none.
const BETWEEN_LOOKS: usize = 16;

/// How long the connections of a turn are being written to.
#[derive(Default)]
struct Writing {
    settled: usize,
    until: Option<Duration>,
    is_over: bool,
}

impl Writing {
    /// Whether there is time for one more.
    fn has_time(&mut self, clock: &Clock) -> bool {
        self.settled += 1;
        if self.settled.is_multiple_of(BETWEEN_LOOKS) {
            let now = clock.since_asked();
            let until = self.until.get_or_insert(now + Duration::from_millis(WRITING_MS));
            self.is_over = now >= *until;
        }
        !self.is_over
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::UnixMillis;

    #[test]
    fn a_few_connections_are_always_written_to_and_no_turn_writes_for_ever() {
        let clock = Clock::new(UnixMillis(0));
        let mut writing = Writing::default();
        assert!((1..BETWEEN_LOOKS).all(|_| writing.has_time(&clock)));
        while writing.has_time(&clock) {}
        assert!(!writing.has_time(&clock), "it stays over");
        assert!(Writing::default().has_time(&clock));
    }
}
