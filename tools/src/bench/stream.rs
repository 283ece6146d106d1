//! A socket with what has come of a packet and what is still to be sent, and the kernel's list of sockets to
//! look at. Relays and loads share it: it knows nothing of what is in a packet.
//!
//! One call of the system takes what has come, one sends what there is; buffers stay and nothing is allocated
//! once they are large enough.

use std::io;
use std::net::TcpStream;
use std::time::Duration;

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{AsFd, OwnedFd};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send, sockopt};

/// Bytes of a buffer that a read of any stream finds room in: more than the largest packet that a client sends
/// or a load expects.
pub(crate) const ROOM_BYTES: usize = 128 << 10;

/// Bytes that the kernel holds for a client that does not read.
const NARROW_BYTES: usize = 16 << 10;

/// Waits shorter than this end at their nanosecond, at the price of one more call of the system.
const PRECISE_NS_MAX: u64 = 10_000_000;

/// A connection.
#[derive(Debug)]
pub(crate) struct Stream {
    pub(crate) socket: TcpStream,
    /// What came of a packet whose rest has not come yet.
    begun: Vec<u8>,
    /// What is to be sent: add to it, and [`flush`](Self::flush).
    pub(crate) out: Vec<u8>,
    /// How much of `out` has been sent.
    sent: usize,
    /// Whether the kernel was asked to say when more can be sent.
    waits: bool,
    /// Whether it was asked to say when something has come.
    listens: bool,
}

/// What a read has come to.
pub(crate) enum Read {
    /// So many bytes stand at the start of the room: what had begun, and what came.
    Bytes(usize),
    /// Nothing came.
    Nothing,
    /// The other side has closed.
    End,
}

impl Stream {
    /// Takes a socket that is connected. Packets leave at once, however small they are.
    pub(crate) fn new(socket: TcpStream) -> io::Result<Self> {
        socket.set_nodelay(true)?;
        let (begun, out) = (Vec::new(), Vec::new());
        Ok(Self { socket, begun, out, sent: 0, waits: false, listens: true })
    }

    /// Reads once, without waiting.
    pub(crate) fn read(&mut self, room: &mut [u8]) -> io::Result<Read> {
        let begun = self.begun.len();
        if begun >= room.len() {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a packet is too long"));
        }
        room[..begun].copy_from_slice(&self.begun);
        match recv(&self.socket, &mut room[begun..], RecvFlags::DONTWAIT) {
            Ok((_, 0)) => Ok(Read::End),
            Ok((_, came)) => {
                self.begun.clear();
                Ok(Read::Bytes(begun + came))
            }
            Err(Errno::AGAIN | Errno::INTR) => Ok(Read::Nothing),
            Err(error) => Err(error.into()),
        }
    }

    /// Keeps what was read and is no whole packet yet.
    pub(crate) fn keep(&mut self, rest: &[u8]) {
        self.begun.extend_from_slice(rest);
    }

    /// Sends what there is, as far as the kernel takes it; the rest when it says that there is room.
    pub(crate) fn flush(&mut self, poll: &Poll, key: usize) -> io::Result<()> {
        while self.sent < self.out.len() {
            let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
            match send(&self.socket, &self.out[self.sent..], flags) {
                Ok(count) => self.sent += count,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return self.set_waits(true, poll, key),
                Err(error) => return Err(error.into()),
            }
        }
        self.out.clear();
        self.sent = 0;
        self.set_waits(false, poll, key)
    }

    fn set_waits(&mut self, waits: bool, poll: &Poll, key: usize) -> io::Result<()> {
        if self.waits != waits {
            self.waits = waits;
            self.tell_interest(poll, key)?;
        }
        Ok(())
    }

    /// Has what comes reported, or not: who is deaf never takes it.
    pub(crate) fn set_listens(&mut self, listens: bool, poll: &Poll, key: usize) -> io::Result<()> {
        self.listens = listens;
        self.tell_interest(poll, key)
    }

    /// Takes nothing more of what comes, and lets the kernel hold little of it.
    pub(crate) fn deafen(&mut self, poll: &Poll, key: usize) -> io::Result<()> {
        sockopt::set_socket_recv_buffer_size(&self.socket, NARROW_BYTES)?;
        self.set_listens(false, poll, key)
    }

    /// Closes it with a reset, whatever is under way.
    pub(crate) fn reset(self) {
        let _ = sockopt::set_socket_linger(&self.socket, Some(Duration::ZERO));
    }

    fn tell_interest(&self, poll: &Poll, key: usize) -> io::Result<()> {
        let mut flags = EventFlags::empty();
        flags.set(EventFlags::IN, self.listens);
        flags.set(EventFlags::OUT, self.waits);
        Ok(epoll::modify(&poll.epoll, &self.socket, data(key), flags)?)
    }

    /// What came of a packet whose rest has not come yet, to add to.
    pub(crate) fn begun_mut(&mut self) -> &mut Vec<u8> {
        &mut self.begun
    }
}

/// The kernel's list of sockets.
pub(crate) struct Poll {
    epoll: OwnedFd,
    events: Vec<epoll::Event>,
}

/// A socket on which something has happened.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Happened {
    pub(crate) key: usize,
    /// More can be sent.
    pub(crate) has_room: bool,
    /// Something has come, or the connection is at its end.
    pub(crate) has_bytes: bool,
}

impl Poll {
    /// An empty list that names up to so many sockets at once.
    pub(crate) fn new(events: usize) -> io::Result<Self> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        Ok(Self { epoll, events: Vec::with_capacity(events) })
    }

    /// Puts a socket on the list.
    pub(crate) fn add(&self, socket: impl AsFd, key: usize) -> io::Result<()> {
        Ok(epoll::add(&self.epoll, socket, data(key), EventFlags::IN)?)
    }

    /// Waits until something happens, at most so many nanoseconds; how much has.
    pub(crate) fn wait(&mut self, patience_ns: Option<u64>) -> io::Result<usize> {
        let mut patience = patience_ns.map(timespec);
        // The list itself is waited for in whole milliseconds: too coarse for messages of a steady rate.
        if patience_ns.is_some_and(|ns| (1..PRECISE_NS_MAX).contains(&ns)) {
            let list = &mut [PollFd::new(&self.epoll, PollFlags::IN)];
            match poll(list, patience.as_ref()) {
                Ok(0) | Err(Errno::INTR) => return Ok(0),
                Ok(_) => patience = Some(Timespec::default()),
                Err(error) => return Err(error.into()),
            }
        }
        self.events.clear();
        match epoll::wait(&self.epoll, spare_capacity(&mut self.events), patience.as_ref()) {
            Ok(count) => Ok(count),
            Err(Errno::INTR) => Ok(0),
            Err(error) => Err(error.into()),
        }
    }

    /// What has happened, by its index.
    pub(crate) fn happened(&self, index: usize) -> Happened {
        let event = &self.events[index];
        let (key, flags) = (event.data.u64(), event.flags);
        Happened {
            key: usize::try_from(key).unwrap_or(usize::MAX),
            has_room: flags.contains(EventFlags::OUT),
            has_bytes: flags.intersects(EventFlags::IN | EventFlags::HUP | EventFlags::ERR),
        }
    }
}

/// So many nanoseconds, for the system.
pub(crate) fn timespec(ns: u64) -> Timespec {
    Timespec {
        tv_sec: i64::try_from(ns / 1_000_000_000).unwrap_or(i64::MAX),
        tv_nsec: (ns % 1_000_000_000) as _,
    }
}

fn data(key: usize) -> EventData {
    EventData::new_u64(key as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::clock::Clock;

    #[test]
    fn a_short_wait_is_not_rounded_to_milliseconds() {
        let (mut poll, clock) = (Poll::new(1).unwrap(), Clock::start());
        let mut wait = || {
            let begun = clock.ns();
            assert_eq!(poll.wait(Some(100_000)).unwrap(), 0);
            clock.ns() - begun
        };
        // A busy machine may wake this thread late, but not every time.
        let shortest = (0..1_000).map(|_| wait()).find(|ns| *ns < 1_000_000);
        assert!(shortest.is_some_and(|ns| ns >= 100_000), "{shortest:?}");
    }
}
