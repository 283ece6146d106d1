//! One client's connection: its socket, what was read and not yet handed in, what waits to be sent.
//!
//! It never looks into a packet, and knows nothing of other connections but whom it waits for.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};

use polling::Event;

use super::buffer::{Buffer, Spares};
use super::kernel::{self, Registered};
use crate::engine::Ticket;
use crate::id::{ConnectionId, MonoMillis};
use crate::limits::{ACKNOWLEDGED_MS_MAX, ACKNOWLEDGED_MS_MIN, WRITE_BYTES_MAX};

/// How far the end of a connection has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Phase {
    /// Packets are taken.
    Open,
    /// The engine has closed it: nothing more is taken, what waits is still sent.
    Flushing {
        /// Since when.
        since: MonoMillis,
    },
    /// All is sent. What still comes is read and thrown away, until the other end closes too: closing over
    /// unread bytes would make the system take back what was sent last.
    Lingering {
        /// Since when.
        since: MonoMillis,
    },
}

/// Why the next packet is not handed to the engine. As long as it is not, nothing is read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Pause {
    /// It is, as soon as it is complete.
    None,
    /// The connection has had its share of this turn.
    Turn,
    /// It has had nothing of it, for the turn was long before.
    PassedOver,
    /// What was said to very many is still going out, and the packet may say more to as many.
    Line,
    /// The engine does something else for the connection first.
    Engine,
    /// Too much output waits: the client must take some of it first.
    Output,
    /// The packet is to be passed on, and too much output waits for its receiver.
    Receiver(ConnectionId),
}

/// A connection.
#[derive(Debug)]
pub(super) struct Connection {
    socket: Registered<TcpStream>,
    id: ConnectionId,
    /// Bytes that were read and not handed in.
    pub(super) input: Buffer,
    /// Bytes that were released and not sent.
    pub(super) output: Buffer,
    sent: u64,
    acknowledged: u64,
    pub(super) phase: Phase,
    pub(super) pause: Pause,
    /// When the other end closed its sending side.
    pub(super) ended: Option<MonoMillis>,
    /// When everything was sent that the other end asked for before it closed its sending side.
    pub(super) answered: Option<MonoMillis>,
    /// When the last byte came.
    pub(super) came: MonoMillis,
    /// When the client last took some of the output, or there was none.
    pub(super) taken: MonoMillis,
    /// How much was acknowledged then.
    taken_through: u64,
    /// Those who wait with a packet that is passed on until there is room in the output.
    pub(super) senders: Vec<ConnectionId>,
    /// The entry among the deadlines.
    pub(super) deadline: Option<MonoMillis>,
    /// The entry among the looks at what is acknowledged.
    pub(super) look: Option<MonoMillis>,
    look_delay_ms: u64,
    /// What the poller was told to report: readable, writable.
    armed: (bool, bool),
    /// It is in the list of connections that this turn touched.
    pub(super) touched: bool,
    /// It is in the list of those that this turn has told something of their own.
    pub(super) is_addressed: bool,
    /// It is in the list of those that are settled in a turn to come.
    pub(super) in_backlog: bool,
    /// It is in the list of those that have room for more of what waits.
    pub(super) is_roomy: bool,
    /// What its packet that may be for very many waits for, while it waits.
    pub(super) line_end: Option<Ticket>,
    /// That packet has waited for long enough.
    pub(super) has_waited: bool,
    /// It is gone, or given up: it will be removed.
    pub(super) gone: bool,
}

/// What came of a read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Came {
    /// So many bytes.
    Bytes(usize),
    /// None for now.
    Nothing,
    /// The other end has closed its sending side.
    End,
    /// The connection is broken.
    Broken,
}

/// What the poller is to report: the one place where that is settled.
pub(super) fn interest(connection: &Connection) -> Event {
    let readable = connection.ended.is_none()
        && match connection.phase {
            Phase::Open => connection.pause == Pause::None,
            Phase::Flushing { .. } => false,
            Phase::Lingering { .. } => true,
        };
    let writable = !connection.output.is_empty();
    Event::new(connection.id.0, readable, writable)
}

impl Connection {
    /// A connection that has just been accepted, and is registered as readable.
    pub(super) fn new(socket: Registered<TcpStream>, id: ConnectionId, now: MonoMillis) -> Self {
        Self {
            socket,
            id,
            input: Buffer::default(),
            output: Buffer::default(),
            sent: 0,
            acknowledged: 0,
            phase: Phase::Open,
            pause: Pause::None,
            ended: None,
            answered: None,
            came: now,
            taken: now,
            taken_through: 0,
            senders: Vec::new(),
            deadline: None,
            look: None,
            look_delay_ms: ACKNOWLEDGED_MS_MIN,
            armed: (true, false),
            touched: false,
            is_addressed: false,
            in_backlog: false,
            is_roomy: false,
            line_end: None,
            has_waited: false,
            gone: false,
        }
    }

    /// How much memory it holds for what waits, in bytes.
    pub(super) const fn held(&self) -> usize {
        self.input.held() + self.output.held()
    }

    /// Whether the poller may report that something can be read, as far as it was told.
    pub(super) fn reads(&self) -> bool {
        interest(self).readable
    }

    /// Reads what fits.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> Came {
        loop {
            return match (&*self.socket).read(buffer) {
                Ok(0) => Came::End,
                Ok(count) => Came::Bytes(count),
                Err(error) => match error.kind() {
                    io::ErrorKind::Interrupted => continue,
                    io::ErrorKind::WouldBlock => Came::Nothing,
                    _ => Came::Broken,
                },
            };
        }
    }

    /// Queues bytes for the other end.
    pub(super) fn queue(&mut self, bytes: &[u8], now: MonoMillis, spares: &mut Spares) {
        if self.output.is_empty() {
            self.taken = now;
        }
        self.output.push(bytes, spares);
    }

    /// Hands to the system what it takes of the output. Answers whether it took any.
    pub(super) fn write(&mut self, now: MonoMillis, spares: &mut Spares) -> io::Result<bool> {
        if self.output.is_empty() {
            return Ok(false);
        }
        let waiting = self.output.waiting();
        let waiting = &waiting[..waiting.len().min(WRITE_BYTES_MAX)];
        let written = loop {
            match (&*self.socket).write(waiting) {
                Ok(count) => break count,
                Err(error) => match error.kind() {
                    io::ErrorKind::Interrupted => {}
                    io::ErrorKind::WouldBlock => return Ok(false),
                    _ => return Err(error),
                },
            }
        };
        self.output.take(written, spares);
        self.sent += u64::try_from(written).unwrap_or(u64::MAX);
        self.taken = now;
        if !self.output.is_empty() {
            self.taken_through = self.acknowledged();
        }
        Ok(written > 0)
    }

    /// Whether the client has taken some of what was sent since that was last noted, which is noted now. The
    /// system takes more of the output only once the client has taken a good deal of what it holds already.
    pub(super) fn note_taken(&mut self, now: MonoMillis) -> bool {
        let acknowledged = self.acknowledged();
        let taken = acknowledged > self.taken_through;
        if taken {
            (self.taken, self.taken_through) = (now, acknowledged);
        }
        taken
    }

    /// Tells the other end that nothing more comes.
    pub(super) fn finish(&mut self) -> io::Result<()> {
        self.socket.shutdown(Shutdown::Write)
    }

    /// How many bytes of all that were ever sent the other end has acknowledged. Where the system cannot
    /// tell: those that were handed to it.
    pub(super) fn acknowledged(&mut self) -> u64 {
        let unacknowledged = kernel::unacknowledged(&self.socket).unwrap_or(0);
        // The end of what is sent counts as a byte, too: the count never goes back for it.
        self.acknowledged = self.acknowledged.max(self.sent.saturating_sub(unacknowledged));
        self.acknowledged
    }

    /// Whether the other end has acknowledged all, the end included.
    pub(super) fn is_acknowledged(&self) -> bool {
        kernel::unacknowledged(&self.socket).unwrap_or(0) == 0
    }

    /// When to look next at what is acknowledged; each time later, until something is.
    pub(super) fn next_look(&mut self, now: MonoMillis) -> MonoMillis {
        let due = now.plus(self.look_delay_ms);
        self.look_delay_ms = (self.look_delay_ms * 2).min(ACKNOWLEDGED_MS_MAX);
        due
    }

    /// When to look next, if that is earlier than what is planned: nothing is, or something has been sent since.
    pub(super) fn earlier_look(&mut self, now: MonoMillis) -> Option<MonoMillis> {
        let soon = now.plus(ACKNOWLEDGED_MS_MIN);
        let is_soon = self.look_delay_ms == ACKNOWLEDGED_MS_MIN;
        let is_planned = self.look.is_some_and(|due| due <= soon || !is_soon);
        (!is_planned).then(|| self.next_look(now))
    }

    /// Looks are frequent again: something was sent.
    pub(super) fn look_soon(&mut self) {
        self.look_delay_ms = ACKNOWLEDGED_MS_MIN;
    }

    /// Tells the poller what to report, where that has changed.
    pub(super) fn rearm(&mut self) -> io::Result<()> {
        let event = interest(self);
        let wanted = (event.readable, event.writable);
        if self.armed != wanted {
            self.socket.set_interest(event)?;
            self.armed = wanted;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::sync::Arc;

    use polling::Poller;

    use super::*;

    const NOW: MonoMillis = MonoMillis(5);

    fn pair() -> (Connection, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let there = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (here, _) = listener.accept().unwrap();
        here.set_nonblocking(true).unwrap();
        let poller = Arc::new(Poller::new().unwrap());
        let here = Registered::new(here, &poller, Event::readable(3)).unwrap();
        (Connection::new(here, ConnectionId(3), NOW), there)
    }

    fn wants(connection: &Connection) -> (bool, bool) {
        let event = interest(connection);
        assert_eq!(event.key, 3);
        (event.readable, event.writable)
    }

    #[test]
    fn a_connection_is_small() {
        assert!(size_of::<Connection>() <= 320, "{}", size_of::<Connection>());
    }

    #[test]
    fn nothing_is_read_while_the_next_packet_has_to_wait() {
        let (mut connection, _there) = pair();
        assert_eq!(wants(&connection), (true, false));
        for pause in [
            Pause::Turn,
            Pause::PassedOver,
            Pause::Line,
            Pause::Engine,
            Pause::Output,
            Pause::Receiver(ConnectionId(1)),
        ] {
            connection.pause = pause;
            assert_eq!(wants(&connection), (false, false), "{pause:?}");
        }
        connection.output.push(b"x", &mut Spares::default());
        assert_eq!(wants(&connection), (false, true));
        connection.pause = Pause::None;
        assert_eq!(wants(&connection), (true, true));
    }

    #[test]
    fn the_end_is_read_once_and_a_closed_connection_only_to_throw_away() {
        let (mut connection, _there) = pair();
        connection.phase = Phase::Flushing { since: NOW };
        assert_eq!(wants(&connection), (false, false));
        connection.phase = Phase::Lingering { since: NOW };
        assert_eq!(wants(&connection), (true, false));
        connection.ended = Some(NOW);
        assert_eq!(wants(&connection), (false, false));
        connection.phase = Phase::Open;
        assert_eq!(wants(&connection), (false, false));
    }

    #[test]
    fn what_the_system_does_not_take_waits_and_counts_as_not_acknowledged() {
        let (mut connection, mut there) = pair();
        let mut spares = Spares::default();
        let (mut queued, mut passed) = (0_u64, MonoMillis(6));
        while connection.output.is_empty() {
            connection.queue(&[7; 100_000], passed, &mut spares);
            queued += 100_000;
            passed = passed.plus(1);
            connection.write(passed, &mut spares).unwrap();
        }
        let waiting = u64::try_from(connection.output.len()).unwrap();
        assert_eq!(connection.sent + waiting, queued);
        assert!(connection.acknowledged() < queued);

        there.set_nonblocking(false).unwrap();
        let reader = std::thread::spawn(move || {
            let mut bytes = Vec::new();
            there.read_to_end(&mut bytes).unwrap();
            bytes.len()
        });
        while !connection.output.is_empty() {
            connection.write(passed, &mut spares).unwrap();
        }
        while connection.acknowledged() < queued {
            std::thread::yield_now();
        }
        connection.finish().unwrap();
        assert_eq!(u64::try_from(reader.join().unwrap()).unwrap(), queued);
        while !connection.is_acknowledged() {
            std::thread::yield_now();
        }
        assert_eq!(connection.acknowledged(), queued);
    }

    #[test]
    fn the_end_and_a_broken_connection_are_told_apart() {
        let (mut connection, there) = pair();
        let mut buffer = [0; 16];
        assert_eq!(connection.read(&mut buffer), Came::Nothing);
        drop(there);
        assert_eq!(connection.read(&mut buffer), Came::End);
    }

    #[test]
    fn a_look_is_brought_forward_by_what_is_sent_and_by_nothing_else() {
        let (mut connection, _there) = pair();
        let first = connection.earlier_look(NOW);
        assert_eq!(first, Some(NOW.plus(1)));
        connection.look = first;
        connection.look_soon();
        assert_eq!(connection.earlier_look(NOW), None, "it is soon enough");
        connection.look = Some(NOW.plus(250));
        assert_eq!(connection.earlier_look(NOW), Some(NOW.plus(1)));
        assert_eq!(connection.earlier_look(NOW), None, "nothing was sent since");
    }

    #[test]
    fn looks_become_rarer_until_something_is_sent() {
        let (mut connection, _there) = pair();
        let delays: Vec<u64> = (0..10).map(|_| connection.next_look(NOW).since(NOW)).collect();
        assert_eq!(delays, [1, 2, 4, 8, 16, 32, 64, 128, 250, 250]);
        connection.look_soon();
        assert_eq!(connection.next_look(NOW).since(NOW), 1);
    }
}
