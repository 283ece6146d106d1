//! The first half of a turn: what has come in reaches the engine.
//!
//! Packets of a connection are handed in in order, each when the one before is done with; those that have to
//! wait stay in the connection's buffer, and nothing more is read meanwhile. Nothing is sent from here.

use std::mem;

use zeroize::Zeroize;

use super::connection::{Came, Pause, Phase};
use super::listener::Accepted;
use super::reports::{Report, Reports};
use super::{KEY_LISTENERS, KEY_SIGNALS, KEY_WATCH, Server, ServerError};
use crate::engine::{Input, Overdue};
use crate::id::{ConnectionId, MonoMillis};
use crate::limits::{
    ACCEPT_PAUSE_MS, ACCEPTS_PER_TURN, COPIED_BYTES_PER_TURN, FILES_LINGERING, FLUSH_MS, LINGER_MS,
    LOOKS_AT_ONCE, OUTBOX_BYTES_PER_TURN, OUTPUT_BYTES_HIGH, OUTPUT_BYTES_LOW, POSTED_PER_TURN,
    SHUTDOWN_MS,
};
use crate::wire::{Frame, RequestType, cut, may_have_password};

/// What is due with a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Due {
    /// The engine says why, and closes it.
    Overdue(Overdue),
    /// It has been told all that it will be told, and was given time to take it.
    GivenUp,
}

impl Server {
    /// Takes in all inputs of a turn.
    pub(super) fn take_in(&mut self, reports: &Reports) -> Result<(), ServerError> {
        if self.signals.asked_to_stop() && self.stopping.is_none() {
            self.stop();
        }
        self.take_verdicts()?;
        if self.accepting_from.is_some_and(|from| from <= self.now.mono) {
            self.accepting_from = None;
            self.report_listeners(true);
            (0..self.listeners.len()).for_each(|at| self.accept(at));
        }
        self.pace.begin(self.connections.resumable_count() + reports.iter().count());
        self.go_on_with_resumed();
        // Those that have waited since an earlier turn come before those that have just been reported, and who may say
        // something to very many comes before those who might do so as well.
        let engine = &self.engine;
        if let Some(id) = self.connections.poll_to_many(|end| engine.is_line_through(end)) {
            self.resume(id);
        }
        for id in self.connections.take_resumable() {
            self.resume(id);
        }
        for report in reports.iter() {
            match report.key {
                KEY_SIGNALS => {}
                KEY_WATCH => self.look_for_base(),
                KEY_LISTENERS.. => self.accept(report.key - KEY_LISTENERS),
                _ => self.handle_report(report),
            }
        }
        self.give_room();
        for id in mem::take(&mut self.connections.slow) {
            if self.connections.get(id).is_some() && !self.engine.is_closing(id) {
                self.hand(Input::Overdue { connection: id, overdue: Overdue::Slow });
            }
        }
        for _ in 0..LOOKS_AT_ONCE {
            let Some(id) = self.connections.poll_look(self.now.mono) else { break };
            self.look(id);
        }
        for _ in 0..LOOKS_AT_ONCE {
            let Some(id) = self.connections.poll_deadline(self.now.mono) else { break };
            self.handle_deadline(id);
        }
        self.pace.end(|| self.clock.since_asked());
        Ok(())
    }

    /// Tells the engine where there is room for more of what waits: in turns, where all that comes of it is very much.
    fn give_room(&mut self) {
        let copied = self.engine.poll_outbox().copied();
        let bytes_max = COPIED_BYTES_PER_TURN.max(copied + COPIED_BYTES_PER_TURN / 8);
        for _ in 0..self.connections.roomy_count() {
            if self.engine.poll_outbox().copied() >= bytes_max {
                return;
            }
            let Some(id) = self.connections.poll_roomy() else { return };
            self.connections.touch(id);
            // Something else may have been sent to it meanwhile.
            let has_room = self.output_waiting(id) < OUTPUT_BYTES_LOW;
            if has_room && self.connections.get(id).is_some() && self.engine.wants_room(id) {
                self.hand(Input::Room { connection: id });
            }
        }
    }

    /// Tells the engine of the connections that are over. They are removed at the end of the turn, so that
    /// no id means two connections within one.
    pub(super) fn end_gone(&mut self) -> Vec<ConnectionId> {
        let mut gone = mem::take(&mut self.connections.gone);
        let mut ended = 0;
        let posted = self.engine.posted();
        while ended < gone.len() && self.engine.posted() - posted < POSTED_PER_TURN {
            let id = gone[ended];
            ended += 1;
            ::log::debug!("connection {id} is over");
            self.hand(Input::End { connection: id });
        }
        // Many may be told of each. None is over yet of whom the engine is still to be told.
        self.connections.gone.splice(..0, gone.drain(ended..));
        gone
    }

    fn look_for_base(&mut self) {
        if let Some(watch) = &self.watch {
            watch.clear();
        }
        self.journal.look_for_base();
    }

    fn stop(&mut self) {
        ::log::info!("stopping");
        self.stopping = Some(self.now.mono);
        self.accepting_from = None;
        self.signals.stop_reporting();
        self.listeners.clear();
        self.journal.release_reserve();
        self.hand(Input::Shutdown);
        // Those that linger already are no longer given all the time that they would have had.
        for id in self.connections.ids() {
            self.connections.touch(id);
        }
    }

    fn take_verdicts(&mut self) -> Result<(), ServerError> {
        while let Some(verdict) = self.passwords.poll_verdict()? {
            self.hand(Input::Verdict(verdict));
        }
        self.list_resumed();
        Ok(())
    }

    /// Lists the connections that the engine has become ready for.
    pub(super) fn list_resumed(&mut self) {
        while let Some(id) = self.engine.poll_resumed() {
            self.connections.resumed.push(id);
        }
    }

    fn accept(&mut self, at: usize) {
        let mut accepted = 0;
        while let Some(listener) = self.listeners.get(at).filter(|_| accepted < ACCEPTS_PER_TURN) {
            accepted += 1;
            if self.connections.len() >= self.files_max {
                // Those that were turned away and have not hung up give way: their files are free in the next turn.
                if self.connections.give_up_lingering(FILES_LINGERING) {
                    return;
                }
                return self.pause_accepting();
            }
            match listener.accept() {
                Accepted::Connection(socket, peer) => {
                    self.starved = false;
                    match self.connections.add(socket, self.now.mono) {
                        Ok(connection) => {
                            self.hand(Input::Connect { connection, address: peer.ip() });
                        }
                        Err(error) => ::log::warn!("cannot serve a new connection: {error}"),
                    }
                }
                Accepted::Gone => {}
                Accepted::Nobody => break,
                Accepted::Starved(error) => {
                    if !mem::replace(&mut self.starved, true) {
                        ::log::warn!("cannot accept connections for a while: {error}");
                    }
                    return self.pause_accepting();
                }
            }
        }
    }

    /// Those who wait would be reported again at once, and again in vain.
    fn pause_accepting(&mut self) {
        self.accepting_from = Some(self.now.mono.plus(ACCEPT_PAUSE_MS));
        self.report_listeners(false);
    }

    fn report_listeners(&self, wanted: bool) {
        for listener in &self.listeners {
            if let Err(error) = listener.report(wanted) {
                ::log::error!("cannot wait for connections: {error}");
            }
        }
    }

    fn handle_report(&mut self, report: Report) {
        let id = ConnectionId(report.key);
        let Some(connection) = self.connections.get(id) else { return };
        let reads = connection.reads();
        self.connections.touch(id);
        if report.readable && reads {
            self.read(id);
        } else if report.hung_up {
            // Nothing can be sent any more, and it would be reported again and again.
            self.connections.give_up(id);
        }
    }

    /// Reads once, into the buffer that all connections share; what is left of it goes into the connection's own. No
    /// password stays in the shared one, and of the connection's own it is known whether there is one in it.
    fn read(&mut self, id: ConnectionId) {
        let mut buffer = mem::take(&mut self.buffer);
        if let Some((connection, spares)) = self.connections.get_with_spares(id) {
            let phase = connection.phase;
            match connection.read(&mut buffer) {
                Came::Nothing => {}
                Came::Broken => self.connections.give_up(id),
                Came::End => {
                    connection.ended = Some(self.now.mono);
                    match phase {
                        Phase::Open => self.go_on(id),
                        Phase::Flushing { .. } | Phase::Lingering { .. } => {
                            self.connections.give_up(id);
                        }
                    }
                }
                Came::Bytes(count) => {
                    connection.came = self.now.mono;
                    if phase != Phase::Open {
                        // What comes after the end is thrown away, whatever it is.
                        buffer[..count].zeroize();
                    } else if connection.input.is_empty() {
                        let taken = self.hand_in(id, &mut buffer[..count]);
                        self.keep(id, &mut buffer[taken..count]);
                    } else {
                        connection.input.push(&buffer[..count], spares);
                        if may_have_password(connection.input.waiting()) {
                            connection.input.keep_secret();
                            buffer[..count].zeroize();
                        }
                        self.go_on(id);
                    }
                }
            }
        }
        self.buffer = buffer;
    }

    /// Keeps what is left of a read, which is nothing where all packets were whole and taken.
    fn keep(&mut self, id: ConnectionId, rest: &mut [u8]) {
        if rest.is_empty() {
            return;
        }
        let is_secret = may_have_password(rest);
        if let Some((connection, spares)) = self.connections.get_with_spares(id) {
            connection.input.push(rest, spares);
            if is_secret {
                connection.input.keep_secret();
            }
        }
        if is_secret {
            rest.zeroize();
        }
    }

    /// Takes a packet from each of those who have waited for something that is over: before anybody says something to
    /// many, which they would have to wait for again. As far as that is half of what a turn may send.
    fn go_on_with_resumed(&mut self) {
        let mut resumed = mem::take(&mut self.connections.resumed).into_iter();
        self.only_resumed = true;
        while self.engine.poll_outbox().len() < OUTBOX_BYTES_PER_TURN / 2
            && let Some(id) = resumed.next()
        {
            self.resume(id);
        }
        self.only_resumed = false;
        self.connections.resumed.splice(..0, resumed);
    }

    /// Goes on with packets that had to wait.
    fn resume(&mut self, id: ConnectionId) {
        self.connections.touch(id);
        if self.connections.unpause(id) {
            let now = self.now.mono;
            if let Some(connection) = self.connections.get(id) {
                // The client could not be heard while the server did not listen.
                connection.came = now;
            }
            self.go_on(id);
        }
    }

    /// Hands in what the connection's own buffer holds.
    fn go_on(&mut self, id: ConnectionId) {
        let Some(connection) = self.connections.get(id) else { return };
        let mut input = mem::take(&mut connection.input);
        let taken = self.hand_in(id, input.waiting_mut());
        match self.connections.get_with_spares(id) {
            Some((connection, spares)) => {
                input.take(taken, spares);
                connection.input = input;
            }
            None => input.clear(&mut self.connections.spares),
        }
    }

    /// Hands packets to the engine until one has to wait or is not complete. Answers how many bytes are
    /// done with. Packets with a password in them are wiped, and so is what nobody will look at.
    fn hand_in(&mut self, id: ConnectionId, bytes: &mut [u8]) -> usize {
        let mut taken = 0;
        let mut packets = 0;
        loop {
            if self.engine.is_closing(id) {
                bytes[taken..].zeroize();
                return bytes.len();
            }
            if !self.engine.is_ready(id) {
                self.connections.pause(id, Pause::Engine);
                return taken;
            }
            match cut(&bytes[taken..], self.engine.expected(id)) {
                Ok(None) => return taken,
                Ok(Some(frame)) => {
                    let pause = self.pause_before(id, &frame, packets);
                    if pause != Pause::None {
                        self.connections.pause(id, pause);
                        return taken;
                    }
                    let packet_type = RequestType::from_byte(frame.header.packet_type);
                    if may_be_for_many(&frame) {
                        self.connections.end_wait_for_line(id);
                    }
                    let rest = taken + frame.length();
                    self.hand(Input::Packet { connection: id, frame });
                    if packet_type.is_some_and(RequestType::has_password) {
                        bytes[taken..rest].zeroize();
                    }
                    taken = rest;
                    packets += 1;
                    self.pace.count();
                }
                Err(error) => {
                    self.hand(Input::FrameError { connection: id, error });
                    bytes[taken..].zeroize();
                    return bytes.len();
                }
            }
        }
    }

    /// Whether a packet that the engine would take has to wait all the same.
    fn pause_before(&mut self, id: ConnectionId, frame: &Frame<'_>, packets: usize) -> Pause {
        let is_for_many = may_be_for_many(frame);
        if self.only_resumed && (packets > 0 || is_for_many) {
            return Pause::Turn;
        }
        let made = self.engine.poll_outbox().len();
        let is_full = made >= OUTBOX_BYTES_PER_TURN || is_for_many && self.says_much();
        if packets >= self.pace.each() || is_full {
            return if packets > 0 { Pause::Turn } else { Pause::PassedOver };
        }
        if is_for_many && self.waits_for_line(id, frame) {
            self.connections.wait_for_line(id, self.engine.line_end());
            return Pause::Line;
        }
        if self.is_behind(id) {
            return Pause::Output;
        }
        match self.engine.passes_on_to(id, frame) {
            Some(receiver) if self.is_behind(receiver) => Pause::Receiver(receiver),
            _ => Pause::None,
        }
    }

    /// Whether this turn has said so much to many that no more of it begins.
    fn says_much(&mut self) -> bool {
        let copied = self.engine.poll_outbox().copied();
        self.engine.posted() >= POSTED_PER_TURN || copied >= COPIED_BYTES_PER_TURN
    }

    /// Whether what a packet may say to very many waits, and has not waited for long enough.
    fn waits_for_line(&mut self, id: ConnectionId, frame: &Frame<'_>) -> bool {
        let has_waited = self.connections.get(id).is_none_or(|connection| connection.has_waited);
        !has_waited && self.engine.waits_for_line(id, frame)
    }

    /// Whether a client must take some of what it is sent before anything more is done for it.
    fn is_behind(&mut self, id: ConnectionId) -> bool {
        self.output_waiting(id) > OUTPUT_BYTES_HIGH || self.engine.is_told_later(id)
    }

    /// Output that waits for a connection, with what this turn has made so far.
    fn output_waiting(&mut self, id: ConnectionId) -> usize {
        let queued = self.engine.queued(id);
        self.connections.get(id).map_or(0, |connection| connection.output.len() + queued)
    }

    fn handle_deadline(&mut self, id: ConnectionId) {
        // It is settled at the end of the turn in any case, which puts its next deadline on the timetable.
        self.connections.touch(id);
        let now = self.now.mono;
        let mut due = self.next_due(id).filter(|(at, _)| *at <= now);
        if due.is_some()
            && self.connections.get(id).is_some_and(|connection| connection.note_taken(now))
        {
            due = self.next_due(id).filter(|(at, _)| *at <= now);
        }
        match due {
            Some((_, Due::GivenUp)) => self.connections.give_up(id),
            Some((_, Due::Overdue(overdue))) => {
                self.hand(Input::Overdue { connection: id, overdue });
            }
            None => {}
        }
    }

    /// When something is due with a connection at the latest.
    pub(super) fn next_deadline(&mut self, id: ConnectionId) -> Option<MonoMillis> {
        let (at, _) = self.next_due(id)?;
        let is_open = self.connections.get(id)?.phase == Phase::Open;
        // How long one that is closed is waited for depends on how many others there are: that is looked at again.
        Some(if is_open { at } else { at.min(self.now.mono.plus(LINGER_MS)) })
    }

    fn next_due(&mut self, id: ConnectionId) -> Option<(MonoMillis, Due)> {
        let connection = self.connections.get(id)?;
        let until = match connection.phase {
            Phase::Open => return self.next_due_while_open(id),
            Phase::Flushing { since } => self.takes_until(id, since)?,
            Phase::Lingering { since } if connection.is_acknowledged() => {
                connection.taken.max(since).plus(LINGER_MS)
            }
            // What the system holds of it would be lost if it were given up.
            Phase::Lingering { since } => self.takes_until(id, since)?,
        };
        Some((until, Due::GivenUp))
    }

    /// How long a connection that has been closed is given to take what waits for it: as long as any other while it
    /// takes some now and then, but not for ever. Where it holds the file that somebody else needs, not so long.
    fn takes_until(&mut self, id: ConnectionId, since: MonoMillis) -> Option<MonoMillis> {
        if self.stopping.is_some() {
            return Some(since.plus(SHUTDOWN_MS));
        }
        let is_crowded = self.connections.len() >= self.files_max;
        let (nothing_ms, all_ms) = match is_crowded {
            false => (self.timeouts.slow_ms, FLUSH_MS),
            true => (LINGER_MS, SHUTDOWN_MS),
        };
        let taken = self.connections.get(id)?.taken;
        Some(taken.plus(nothing_ms).max(since.plus(LINGER_MS)).min(since.plus(all_ms)))
    }

    fn next_due_while_open(&mut self, id: ConnectionId) -> Option<(MonoMillis, Due)> {
        let Self { connections, engine, timeouts, .. } = self;
        let connection = connections.get(id)?;
        let login = engine.sessionless_since(id).map(|since| since.plus(timeouts.login_ms));
        let idle = connection.reads().then(|| connection.came.plus(timeouts.idle_ms));
        let slow = (!connection.output.is_empty()).then(|| connection.taken.plus(timeouts.slow_ms));
        let answered = connection.answered.map(|since| since.plus(LINGER_MS));
        let dues = [
            (login, Due::Overdue(Overdue::Login)),
            (idle, Due::Overdue(Overdue::Idle)),
            (slow, Due::Overdue(Overdue::Slow)),
            (answered, Due::GivenUp),
        ];
        let mut first = None;
        for (at, due) in dues {
            if let Some(at) = at
                && first.is_none_or(|(earlier, _)| at < earlier)
            {
                first = Some((at, due));
            }
        }
        first
    }
}

/// Whether it may be much work: as much as there are friends.
fn may_be_for_many(frame: &Frame<'_>) -> bool {
    let packet_type = RequestType::from_byte(frame.header.packet_type);
    matches!(packet_type, Some(RequestType::Broadcast | RequestType::SetMode))
}
