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
use crate::engine::Ticket;
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
    /// They have input left of which nothing was taken in this turn, since it was long before it came to them: they
    /// come first in the next one.
    pub(super) passed_over: Vec<ConnectionId>,
    /// What their next packets have waited for is over, and may begin again: they come before all others.
    pub(super) resumed: Vec<ConnectionId>,
    /// They have input left that can be gone on with in the next turn.
    pub(super) resumable: Vec<ConnectionId>,
    /// They have a packet that may be for very many, and wait until those have been told who stood in line before.
    to_many: VecDeque<ConnectionId>,
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
            passed_over: Vec::new(),
            backlog: VecDeque::new(),
            resumed: Vec::new(),
            resumable: Vec::new(),
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

    /// Gives up those that hold the most memory for what waits, where all of them together hold more than they may.
    pub(super) fn give_up_largest(&mut self) {
        self.give_up_beyond(BUFFERS_BYTES_MAX);
    }

    /// Those that hold much go until a quarter of the memory is free, and where they are not enough, of the others as
    /// many as it takes to free a sixteenth: they may only be in the middle of a packet. As much has to come in before
    /// all are looked through again.
    fn give_up_beyond(&mut self, bytes_max: usize) {
        if self.spares.held() <= bytes_max {
            return;
        }
        let all = self.slab.iter();
        let holding = all.map(|(key, connection)| (connection.held(), ConnectionId(key)));
        let mut largest: Vec<_> = holding.filter(|(bytes, _)| *bytes > 0).collect();
        largest.sort_unstable();
        while let Some((bytes, id)) = largest.pop() {
            let part = if bytes > OUTPUT_BYTES_LOW { 4 } else { 16 };
            if self.spares.held() <= bytes_max - bytes_max / part {
                return;
            }
            ::log::info!("connection {id} has {bytes} bytes waiting, the most, and is given up");
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
            passed_over,
            resumed,
            resumable,
            to_many,
            roomy,
            slow,
            gone,
            ..
        } = self;
        for list in [touched, addressed, held, passed_over, resumed, resumable, slow, gone] {
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
        let lists = [&self.passed_over, &self.resumed, &self.resumable, &self.slow, &self.gone];
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

    /// Has the next packet, which may be for very many, wait until everybody has been told who stands in line before
    /// `end`. Of a packet that has begun to wait before, that stays as it was.
    pub(super) fn wait_for_line(&mut self, id: ConnectionId, end: Ticket) {
        let Some(connection) = self.get(id) else { return };
        if connection.line_end.is_none() {
            connection.line_end = Some(end);
            self.to_many.push_back(id);
        }
    }

    /// Takes out the first of those whose packet may be for very many, if that has waited for long enough: until the
    /// line `is_through` where it ended before.
    pub(super) fn poll_to_many(
        &mut self,
        is_through: impl Fn(Ticket) -> bool,
    ) -> Option<ConnectionId> {
        while let Some(&id) = self.to_many.front() {
            // It may be over, and another may have its id.
            let connection = self.slab.get_mut(id.0);
            let waits = connection.and_then(|it| it.line_end.map(|end| (it, end)));
            if waits.as_ref().is_some_and(|(_, end)| !is_through(*end)) {
                return None;
            }
            self.to_many.pop_front();
            if let Some((connection, _)) = waits {
                (connection.line_end, connection.has_waited) = (None, true);
                return Some(id);
            }
        }
        None
    }

    /// The packet that may be for very many is taken.
    pub(super) fn end_wait_for_line(&mut self, id: ConnectionId) {
        if let Some(connection) = self.slab.get_mut(id.0) {
            (connection.line_end, connection.has_waited) = (None, false);
        }
    }

    /// Those that have input left since an earlier turn, in the order in which they are gone on with.
    pub(super) fn take_resumable(&mut self) -> impl Iterator<Item = ConnectionId> + use<> {
        let passed_over = std::mem::take(&mut self.passed_over);
        passed_over.into_iter().chain(std::mem::take(&mut self.resumable))
    }

    /// How many there are of them.
    pub(super) const fn resumable_count(&self) -> usize {
        self.passed_over.len() + self.resumed.len() + self.resumable.len()
    }

    /// Leaves the connection's next packet where it is.
    pub(super) fn pause(&mut self, id: ConnectionId, pause: Pause) {
        match pause {
            // The line and the engine say when they are ready, and output that is taken is seen when it is.
            Pause::None | Pause::Line | Pause::Engine | Pause::Output => {}
            Pause::PassedOver => self.passed_over.push(id),
            Pause::Turn => self.resumable.push(id),
            Pause::Receiver(receiver) => {
                // Where it is over, whoever waits for it goes on when it is removed.
                match self.slab.get_mut(receiver.0) {
                    Some(receiver) if receiver.senders.last() == Some(&id) => {}
                    Some(receiver) => receiver.senders.push(id),
                    None => self.resumed.push(id),
                }
            }
        }
        if let Some(connection) = self.get(id) {
            connection.pause = pause;
        }
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

    /// Gives the connection up: it is over, whatever it was doing. The memory for what waited is free at once.
    pub(super) fn give_up(&mut self, id: ConnectionId) {
        let Some((connection, spares)) = self.get_with_spares(id) else { return };
        connection.gone = true;
        connection.input.clear(spares);
        connection.output.clear(spares);
        self.gone.push(id);
    }

    /// Lets those go on who wait with a packet until there is room in this connection's output.
    pub(super) fn resume_senders(&mut self, id: ConnectionId) {
        if let Some(connection) = self.slab.get_mut(id.0) {
            self.resumed.append(&mut connection.senders);
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
    use crate::engine::{Engine, Settings};
    use crate::state::State;

    const KIB: usize = 1 << 10;
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
    fn who_was_passed_over_in_a_turn_comes_first_in_the_next() {
        let (mut connections, ids, _others) = connections(4);
        let pauses = [Pause::Turn, Pause::PassedOver, Pause::Line, Pause::PassedOver];
        ids.iter().zip(pauses).for_each(|(id, pause)| connections.pause(*id, pause));
        assert_eq!(connections.resumable_count(), 3);
        assert!(connections.take_resumable().eq([1, 3, 0].map(|index: usize| ids[index])));
        assert!(ids.iter().all(|id| connections.unpause(*id)));
    }

    #[test]
    fn who_waits_for_the_line_is_taken_in_order_and_once_unless_it_is_over() {
        let (mut connections, ids, _others) = connections(4);
        let end = Engine::new(Settings::default(), State::default()).line_end();
        for index in [1, 0, 1, 2, 3] {
            connections.wait_for_line(ids[index], end);
        }
        assert_eq!(connections.poll_to_many(|_| false), None);
        connections.remove(ids[1]);
        connections.end_wait_for_line(ids[0]);
        assert_eq!(connections.poll_to_many(|_| true), Some(ids[2]));
        assert!(connections.get(ids[2]).unwrap().has_waited);
        assert_eq!(connections.poll_to_many(|_| true), Some(ids[3]));
        assert!(connections.poll_to_many(|_| true).is_none() && !connections.has_work());
    }

    #[test]
    fn who_waits_for_a_receiver_that_is_over_goes_on_when_it_is_removed() {
        let (mut connections, ids, _others) = connections(3);
        connections.give_up(ids[1]);
        connections.pause(ids[0], Pause::Receiver(ids[1]));
        connections.pause(ids[0], Pause::Receiver(ids[1]));
        assert!(connections.resumed.is_empty());
        connections.remove(ids[1]);
        assert_eq!(connections.resumed, [ids[0]]);
        connections.pause(ids[2], Pause::Receiver(ids[1]));
        assert_eq!(connections.resumed, [ids[0], ids[2]]);
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

    /// Connections that hold so many bytes each, as input and as output by turns, and their other ends.
    fn holding(all: &[usize]) -> (Connections, Vec<TcpStream>) {
        let (mut connections, ids, others) = connections(all.len());
        for (at, (id, bytes)) in ids.into_iter().zip(all).enumerate() {
            let (connection, spares) = connections.get_with_spares(id).unwrap();
            let buffer = if at % 2 == 0 { &mut connection.input } else { &mut connection.output };
            buffer.push(&vec![7; *bytes], spares);
        }
        (connections, others)
    }

    /// What those hold that are given up where all together may hold so many bytes.
    fn given_up(all: &[usize], bytes_max: usize) -> Vec<usize> {
        let (mut connections, _others) = holding(all);
        connections.give_up_beyond(bytes_max);
        let held: usize = connections.slab.iter().map(|(_, connection)| connection.held()).sum();
        assert!(held <= bytes_max && held == connections.spares.held(), "{held}");
        let gone = std::mem::take(&mut connections.gone);
        connections.give_up_beyond(bytes_max);
        assert!(connections.gone.is_empty(), "once is enough");
        gone.iter().map(|id| all[id.0]).collect()
    }

    #[test]
    fn nobody_is_given_up_while_all_may_hold_what_they_hold() {
        assert_eq!(given_up(&[300 * KIB, 60 * KIB, 0], 360 * KIB), [0; 0]);
    }

    #[test]
    fn those_that_hold_the_most_are_given_up_first_whatever_it_is() {
        let all = [100 * KIB, 10 * KIB, 300 * KIB, 200 * KIB, 0];
        assert_eq!(given_up(&all, 609 * KIB), [300 * KIB]);
        assert_eq!(given_up(&all, 350 * KIB), [300 * KIB, 200 * KIB]);
    }

    #[test]
    fn where_many_hold_little_so_many_of_them_are_given_up_as_it_takes() {
        // Each of them holds less than what is much.
        let all = [[0, 63 * KIB].repeat(65), vec![33 * KIB]].concat();
        let gone = given_up(&all, 4 << 20);
        assert_eq!(gone, [63 * KIB; 5], "of {} KiB", 65 * 63 + 33);
        // Those that hold much go first, and further than that.
        let all = [[60 * KIB].repeat(30), [80 * KIB].repeat(30)].concat();
        let gone = given_up(&all, 4 << 20);
        assert_eq!(gone, [80 * KIB; 15]);
        let all = [[60 * KIB].repeat(70), [80 * KIB].repeat(2)].concat();
        let gone = given_up(&all, 4 << 20);
        assert_eq!(gone, [[80 * KIB].repeat(2), [60 * KIB].repeat(6)].concat());
    }
}
