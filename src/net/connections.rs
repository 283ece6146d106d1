//! All connections, and the lists of those with which something is to be done, so that a turn looks
//! at these alone.
//!
//! It never calls the engine. The lists are hints: whoever takes an id from one looks at the connection again.

use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::net::TcpStream;
use std::sync::Arc;

use polling::{Event, Poller};
use slab::Slab;

use super::buffer::Spares;
use super::connection::{Connection, Pause, Phase};
use super::kernel::Registered;
use super::timetable::Timetable;
use crate::id::{ConnectionId, MonoMillis};
use crate::limits::{BUFFERS_BYTES_MAX, FREED_BYTES_OF_CONNECTION, OUTPUT_BYTES_LOW};

/// The connections and what is to be done with them.
pub(super) struct Connections {
    poller: Arc<Poller>,
    slab: Slab<Connection>,
    /// Memory for buffers.
    pub(super) spares: Spares,
    /// Something happened to them in this turn: they are settled at its end.
    touched: Vec<ConnectionId>,
    /// Those of them that this turn has told something that it has not told others as well: they come before the rest.
    addressed: Vec<ConnectionId>,
    /// Something happened to them in a turn that is over: they are settled once it is on disk.
    pub(super) held: Vec<ConnectionId>,
    /// The same of turns that had very many of them: they are settled in turns to come, in this order.
    backlog: VecDeque<ConnectionId>,
    /// They have input left that can be gone on with in the next turn.
    pub(super) resumable: Vec<ConnectionId>,
    /// The same, after they have had a share of this turn: those that have had none come before them.
    served: Vec<ConnectionId>,
    /// They have a packet that may be for very many, and wait until what was said to others before has gone out.
    pub(super) to_many: VecDeque<ConnectionId>,
    /// There is room for more of their mail.
    roomy: VecDeque<ConnectionId>,
    /// More waits for them than may wait.
    pub(super) slow: Vec<ConnectionId>,
    /// They are over: the engine is told in the next turn.
    pub(super) gone: Vec<ConnectionId>,
    /// They have been told all, and are given time to take it; from the one that has had the most of it on.
    lingering: BTreeSet<(MonoMillis, ConnectionId)>,
    /// When somebody may have been waited for long enough.
    pub(super) deadlines: Timetable,
    /// When to look at what was acknowledged.
    pub(super) looks: Timetable,
}

impl Connections {
    /// No connections.
    pub(super) fn new(poller: Arc<Poller>) -> Self {
        Self {
            poller,
            slab: Slab::new(),
            spares: Spares::default(),
            touched: Vec::new(),
            addressed: Vec::new(),
            held: Vec::new(),
            backlog: VecDeque::new(),
            resumable: Vec::new(),
            served: Vec::new(),
            to_many: VecDeque::new(),
            roomy: VecDeque::new(),
            slow: Vec::new(),
            gone: Vec::new(),
            lingering: BTreeSet::new(),
            deadlines: Timetable::default(),
            looks: Timetable::default(),
        }
    }

    /// Adds a connection.
    pub(super) fn add(&mut self, socket: TcpStream, now: MonoMillis) -> io::Result<ConnectionId> {
        let entry = self.slab.vacant_entry();
        let id = ConnectionId(entry.key());
        let socket = Registered::new(socket, &self.poller, Event::readable(id.0))?;
        entry.insert(Connection::new(socket, id, now));
        self.touch(id);
        Ok(id)
    }

    /// Gives up those that hold the most memory for what waits, where all of them together hold more than they may,
    /// until a good part of it is free. Whoever is given up so has left untaken what it was sent.
    pub(super) fn give_up_largest(&mut self) {
        let mut held = self.spares.held();
        if held <= BUFFERS_BYTES_MAX {
            return;
        }
        let living = self.slab.iter().filter(|(_, connection)| !connection.gone);
        let mut largest: Vec<_> = living
            .map(|(key, connection)| (connection.held(), ConnectionId(key)))
            .filter(|(bytes, _)| *bytes > OUTPUT_BYTES_LOW)
            .collect();
        largest.sort_unstable();
        while held > BUFFERS_BYTES_MAX / 4 * 3
            && let Some((bytes, id)) = largest.pop()
        {
            ::log::info!("connection {id} leaves {bytes} bytes waiting, the most, and is given up");
            held -= bytes;
            self.give_up(id);
        }
    }

    /// Lets go of memory that is kept for connections that are no longer there.
    pub(super) fn let_go(&mut self) {
        self.spares.let_go();
        self.slab.shrink_to_fit();
        let Self {
            touched,
            addressed,
            held,
            backlog,
            resumable,
            served,
            to_many,
            roomy,
            slow,
            gone,
            ..
        } = self;
        for list in [touched, addressed, held, resumable, served, slow, gone] {
            list.shrink_to_fit();
        }
        for list in [backlog, to_many, roomy] {
            list.shrink_to_fit();
        }
    }

    /// How many there are, those that are closed and not yet over included.
    pub(super) fn len(&self) -> usize {
        self.slab.len()
    }

    /// Whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.slab.is_empty()
    }

    /// All ids: for the end of the server alone.
    pub(super) fn ids(&self) -> Vec<ConnectionId> {
        self.slab.iter().map(|(key, _)| ConnectionId(key)).collect()
    }

    /// The connection, unless it is over.
    pub(super) fn get(&mut self, id: ConnectionId) -> Option<&mut Connection> {
        self.slab.get_mut(id.0).filter(|connection| !connection.gone)
    }

    /// The connection, unless it is over, with the memory for its buffers.
    pub(super) fn get_with_spares(
        &mut self,
        id: ConnectionId,
    ) -> Option<(&mut Connection, &mut Spares)> {
        let connection = self.slab.get_mut(id.0).filter(|connection| !connection.gone)?;
        Some((connection, &mut self.spares))
    }

    /// The connection, even if it is over and only waits to be removed.
    pub(super) fn get_even_gone(&mut self, id: ConnectionId) -> Option<&mut Connection> {
        self.slab.get_mut(id.0)
    }

    /// Whether something is to be done that no event announces.
    pub(super) fn has_work(&self) -> bool {
        let lists = [&self.resumable, &self.slow, &self.gone];
        let queues = [&self.backlog, &self.to_many, &self.roomy];
        lists.iter().any(|list| !list.is_empty()) || queues.iter().any(|queue| !queue.is_empty())
    }

    /// Has the connection settled at the end of the turn.
    pub(super) fn touch(&mut self, id: ConnectionId) {
        let Some(connection) = self.slab.get_mut(id.0) else { return };
        if !std::mem::replace(&mut connection.touched, true) {
            self.touched.push(id);
        }
    }

    /// Ends a turn: what it has touched is held. Nothing is held any more of the turn before.
    pub(super) fn hold_touched(&mut self) {
        debug_assert!(self.held.is_empty(), "a turn is let out before the next one is held");
        let Self { touched, addressed, held, slab, .. } = self;
        std::mem::swap(addressed, held);
        let is_other = |id: &ConnectionId| slab.get(id.0).is_some_and(|it| !it.is_addressed);
        held.extend(touched.drain(..).filter(is_other));
        for id in held {
            if let Some(connection) = slab.get_mut(id.0) {
                (connection.touched, connection.is_addressed) = (false, false);
            }
        }
    }

    /// Leaves a connection that is held to a turn to come.
    pub(super) fn put_back(&mut self, id: ConnectionId) {
        let Some(connection) = self.slab.get_mut(id.0) else { return };
        if !std::mem::replace(&mut connection.in_backlog, true) {
            self.backlog.push_back(id);
        }
    }

    /// Whether any were left to a turn to come.
    pub(super) fn has_backlog(&self) -> bool {
        !self.backlog.is_empty()
    }

    /// Takes out the first of those that were left to a turn to come.
    pub(super) fn poll_backlog(&mut self) -> Option<ConnectionId> {
        loop {
            let id = self.backlog.pop_front()?;
            // It may have been settled since, or be over, and another may have its id.
            if self.slab.get(id.0).is_some_and(|connection| connection.in_backlog) {
                return Some(id);
            }
        }
    }

    /// Has the engine told that there is room for more of what waits for the connection.
    pub(super) fn note_room(&mut self, id: ConnectionId) {
        let Some(connection) = self.slab.get_mut(id.0) else { return };
        if !std::mem::replace(&mut connection.is_roomy, true) {
            self.roomy.push_back(id);
        }
    }

    /// How many such connections there are.
    pub(super) fn roomy_count(&self) -> usize {
        self.roomy.len()
    }

    /// Takes out the first of them. Too much may wait for it again.
    pub(super) fn poll_roomy(&mut self) -> Option<ConnectionId> {
        let id = self.roomy.pop_front()?;
        if let Some(connection) = self.slab.get_mut(id.0) {
            connection.is_roomy = false;
        }
        Some(id)
    }

    /// Leaves the connection's next packet where it is, after so many have been taken in this turn.
    pub(super) fn pause(&mut self, id: ConnectionId, pause: Pause, packets: usize) {
        match pause {
            // The engine says when it is ready, and output that is taken is seen when it is.
            Pause::None | Pause::Engine | Pause::Output => {}
            Pause::Turn if packets == 0 => self.resumable.push(id),
            Pause::Turn => self.served.push(id),
            Pause::Line => self.to_many.push_back(id),
            Pause::Receiver(receiver) => {
                if let Some(receiver) = self.get(receiver) {
                    receiver.senders.push(id);
                }
            }
        }
        if let Some(connection) = self.get(id) {
            connection.pause = pause;
        }
    }

    /// All have had their share of this turn.
    pub(super) fn end_shares(&mut self) {
        self.resumable.append(&mut self.served);
    }

    /// Ends the pause: the packet can be tried again. Answers whether there was one.
    pub(super) fn unpause(&mut self, id: ConnectionId) -> bool {
        let Some(connection) = self.get(id) else { return false };
        std::mem::replace(&mut connection.pause, Pause::None) != Pause::None
    }

    /// Queues bytes for the other end, which may be for many others as well. What comes for a connection that is closed
    /// is dropped.
    pub(super) fn queue(
        &mut self,
        id: ConnectionId,
        bytes: &[u8],
        is_for_many: bool,
        now: MonoMillis,
    ) {
        let Some((connection, spares)) = self.get_with_spares(id) else { return };
        if connection.phase != Phase::Open {
            return;
        }
        connection.queue(bytes, now, spares);
        if !is_for_many && !std::mem::replace(&mut connection.is_addressed, true) {
            self.addressed.push(id);
        }
        self.touch(id);
    }

    /// Hands to the system what it takes of a connection's output.
    pub(super) fn write(&mut self, id: ConnectionId, now: MonoMillis) {
        let Some((connection, spares)) = self.get_with_spares(id) else { return };
        match connection.write(now, spares) {
            Ok(true) => connection.look_soon(),
            Ok(false) => {}
            Err(_) => self.give_up(id),
        }
    }

    /// Takes nothing more from the connection; what waits is still sent.
    pub(super) fn close(&mut self, id: ConnectionId, now: MonoMillis) {
        let Some((connection, spares)) = self.get_with_spares(id) else { return };
        if connection.phase == Phase::Open {
            connection.phase = Phase::Flushing { since: now };
            connection.input.clear(spares);
            // Nothing more is passed on to it, so nobody has to wait for it either.
            self.resume_senders(id);
            self.touch(id);
        }
    }

    /// Lets the other end take what it has been told until it closes, or has had enough time.
    pub(super) fn linger(&mut self, id: ConnectionId, now: MonoMillis) {
        if let Some(connection) = self.get(id) {
            connection.phase = Phase::Lingering { since: now };
            self.lingering.insert((now, id));
        }
    }

    /// Gives up those that have lingered the longest, so many at most. Answers whether there were any.
    pub(super) fn give_up_lingering(&mut self, most: usize) -> bool {
        for count in 0..most {
            let Some((_, id)) = self.lingering.pop_first() else { return count > 0 };
            self.give_up(id);
        }
        true
    }

    /// Gives the connection up: it is over, whatever it was doing.
    pub(super) fn give_up(&mut self, id: ConnectionId) {
        let Some(connection) = self.get(id) else { return };
        connection.gone = true;
        self.gone.push(id);
    }

    /// Lets those go on who wait with a packet until there is room in this connection's output.
    pub(super) fn resume_senders(&mut self, id: ConnectionId) {
        if let Some(connection) = self.slab.get_mut(id.0) {
            self.resumable.append(&mut connection.senders);
        }
    }

    /// Removes a connection that is over, and closes its socket.
    pub(super) fn remove(&mut self, id: ConnectionId) {
        self.resume_senders(id);
        let Some(mut connection) = self.slab.try_remove(id.0) else { return };
        if let Phase::Lingering { since } = connection.phase {
            self.lingering.remove(&(since, id));
        }
        self.deadlines.set(id, &mut connection.deadline, None);
        self.looks.set(id, &mut connection.look, None);
        connection.input.clear(&mut self.spares);
        connection.output.clear(&mut self.spares);
        self.spares.note_freed(FREED_BYTES_OF_CONNECTION);
    }

    /// Takes out a connection of which a deadline is due.
    pub(super) fn poll_deadline(&mut self, now: MonoMillis) -> Option<ConnectionId> {
        let id = self.deadlines.poll(now)?;
        if let Some(connection) = self.slab.get_mut(id.0) {
            connection.deadline = None;
        }
        Some(id)
    }

    /// Takes out a connection of which it is time to see what was acknowledged.
    pub(super) fn poll_look(&mut self, now: MonoMillis) -> Option<ConnectionId> {
        let id = self.looks.poll(now)?;
        if let Some(connection) = self.slab.get_mut(id.0) {
            connection.look = None;
        }
        Some(id)
    }

    /// Puts a deadline on the timetable, unless there is an earlier one.
    pub(super) fn set_deadline(&mut self, id: ConnectionId, due: Option<MonoMillis>) {
        if let Some(connection) = self.slab.get_mut(id.0) {
            self.deadlines.set_earlier(id, &mut connection.deadline, due);
        }
    }

    /// Puts a look at what was acknowledged on the timetable, or takes it off.
    pub(super) fn set_look(&mut self, id: ConnectionId, due: Option<MonoMillis>) {
        if let Some(connection) = self.slab.get_mut(id.0) {
            self.looks.set(id, &mut connection.look, due);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    const NOW: MonoMillis = MonoMillis(5);

    /// So many connections, which nothing has happened to, and their other ends.
    fn connections(count: usize) -> (Connections, Vec<ConnectionId>, Vec<TcpStream>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut connections = Connections::new(Arc::new(Poller::new().unwrap()));
        let (mut ids, mut others) = (Vec::new(), Vec::new());
        for _ in 0..count {
            others.push(TcpStream::connect(listener.local_addr().unwrap()).unwrap());
            ids.push(connections.add(listener.accept().unwrap().0, NOW).unwrap());
        }
        connections.hold_touched();
        connections.held.clear();
        (connections, ids, others)
    }

    #[test]
    fn those_who_are_told_something_of_their_own_come_before_the_others() {
        let (mut connections, ids, _others) = connections(5);
        connections.touch(ids[0]);
        connections.queue(ids[1], b"to many", true, NOW);
        connections.queue(ids[2], b"to many", true, NOW);
        connections.queue(ids[3], b"to one", false, NOW);
        connections.queue(ids[2], b"to one", false, NOW);
        connections.queue(ids[3], b"to many", true, NOW);
        connections.hold_touched();
        assert_eq!(connections.held, [3, 2, 0, 1].map(|index: usize| ids[index]));
        connections.held.clear();
        connections.touch(ids[3]);
        connections.hold_touched();
        assert_eq!(connections.held, [ids[3]], "that was another turn");
    }

    #[test]
    fn who_is_left_to_a_turn_to_come_is_taken_once_unless_settled_before() {
        let (mut connections, ids, _others) = connections(4);
        for index in [2, 0, 2, 1, 3] {
            connections.put_back(ids[index]);
        }
        assert!(connections.has_work());
        connections.get(ids[0]).unwrap().in_backlog = false;
        connections.remove(ids[1]);
        assert_eq!(connections.poll_backlog(), Some(ids[2]));
        assert_eq!(connections.poll_backlog(), Some(ids[3]));
        assert_eq!(connections.poll_backlog(), None);
        assert!(!connections.has_backlog() && !connections.has_work());
    }

    #[test]
    fn who_has_had_no_share_of_a_turn_comes_first_in_the_next() {
        let (mut connections, ids, _others) = connections(4);
        connections.pause(ids[0], Pause::Turn, 2);
        connections.pause(ids[1], Pause::Turn, 0);
        connections.pause(ids[2], Pause::Line, 1);
        connections.pause(ids[3], Pause::Turn, 0);
        connections.end_shares();
        assert_eq!(connections.resumable, [ids[1], ids[3], ids[0]]);
        assert_eq!(connections.to_many, [ids[2]]);
        assert!(ids.iter().all(|id| connections.unpause(*id)));
    }

    #[test]
    fn room_for_a_connection_is_noted_once() {
        let (mut connections, ids, _others) = connections(2);
        [1, 0, 1].iter().for_each(|index: &usize| connections.note_room(ids[*index]));
        assert_eq!(connections.roomy_count(), 2);
        assert_eq!(connections.poll_roomy(), Some(ids[1]));
        connections.note_room(ids[1]);
        assert_eq!(
            (connections.poll_roomy(), connections.poll_roomy()),
            (Some(ids[0]), Some(ids[1]))
        );
        assert_eq!(connections.poll_roomy(), None);
    }
}
